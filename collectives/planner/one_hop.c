/*
 * SPDX-License-Identifier: Apache-2.0
 * See one_hop.h.
 */
#include "collectives/planner/one_hop.h"

#include "collectives/planner/emit.h"

// The sum grows in scratch: in place, the output is what our own messages still read, and nobody
// could receive before everybody has sent.
void weft_one_hop_reduce(struct weft_builder *builder, int num_ranks, int rank)
{
    uint32_t sum = weft_builder_scratch(builder, WEFT_OUTPUT, 0, 1);
    struct weft_emit_fold fold = {.builder = builder, .into = weft_cells(WEFT_SCRATCH, sum)};
    for (int i = 1; i < num_ranks; i++)
        weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, 0),
                          weft_to(weft_circle(rank, i, num_ranks), weft_emit_fold_round(rank)));
    for (int from = 0; from < num_ranks; from++) {
        if (from == rank)
            weft_emit_fold_cell(&fold, WEFT_INPUT, 0);
        else
            weft_emit_fold_message(&fold, from, weft_emit_fold_round(from),
                                   weft_label_leaf(from, 0));
    }
    weft_emit_fold_end(&fold);
    weft_builder_move(builder, 0, 1, weft_cells(WEFT_SCRATCH, sum), weft_cells(WEFT_OUTPUT, 0));
}

void weft_one_hop_gather(struct weft_builder *builder, int num_ranks, int rank)
{
    weft_emit_copy(builder, (uint32_t)rank, 1);
    for (int i = 1; i < num_ranks; i++) {
        int to = weft_circle(rank, i, num_ranks), from = weft_circle(rank, -i, num_ranks);
        struct weft_label block = weft_label_leaf(from, (uint32_t)from);
        weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, (uint32_t)rank), weft_to(to, 0));
        weft_builder_move(builder, 0, 1, weft_from(from, 0, &block),
                          weft_cells(WEFT_OUTPUT, (uint32_t)from));
    }
}

void weft_one_hop_broadcast(struct weft_builder *builder, int num_ranks, int rank, int root)
{
    struct weft_label value = weft_label_leaf(root, 0);
    if (rank != root) {
        weft_builder_move(builder, 0, 1, weft_from(root, 0, &value), weft_cells(WEFT_OUTPUT, 0));
        return;
    }
    weft_emit_copy(builder, 0, 1);
    for (int i = 1; i < num_ranks; i++)
        weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, 0),
                          weft_to(weft_circle(rank, i, num_ranks), 0));
}
