/*
 * SPDX-License-Identifier: Apache-2.0
 * See one_hop.h.
 */
#include "collectives/planner/one_hop.h"

#include "collectives/planner/costs.h"
#include "collectives/program/leaves.h"

// Whether `rank` gets a sum, and of which cell.
static bool wants(const struct weft_key *key, int rank, uint32_t *cell)
{
    *cell = key->collective == WEFT_REDUCE_SCATTER ? (uint32_t)rank : 0;
    return key->collective != WEFT_REDUCE || rank == key->root;
}

void weft_one_hop_send_parts(struct weft_builder *builder, const struct weft_emit_parts *parts,
                             int rank, int to, uint32_t block, uint32_t cells)
{
    int first = weft_emit_first_part(parts, rank);
    for (int i = first; i < parts->num_parts && parts->parts[i].rank == rank; i++)
        weft_builder_move(builder, 0, 1,
                          weft_cells(WEFT_INPUT, parts->parts[i].number * cells + block),
                          weft_to(to, weft_emit_part_stamp(parts, i)));
}

void weft_one_hop_fold_parts(struct weft_builder *builder, const struct weft_emit_parts *parts,
                             int rank, uint32_t block, uint32_t cells, struct weft_operand into)
{
    struct weft_emit_fold fold;
    weft_emit_fold_begin(&fold, builder, into, parts->num_parts, 0, block);
    for (int i = 0; i < parts->num_parts; i++) {
        const struct weft_emit_part *part = &parts->parts[i];
        weft_emit_fold_leaves(&fold, parts->num_leaves, part->first, part->count);
        if (part->rank == rank)
            weft_emit_fold_cell(&fold, WEFT_INPUT, part->number * cells + block);
        else
            weft_emit_fold_message(&fold, part->rank, weft_emit_part_stamp(parts, i),
                                   weft_leaves_label(part->first, part->count, block));
    }
    weft_emit_fold_end(&fold);
}

// In rank order.
static void fold_chain(struct weft_builder *builder, int num_ranks, int rank, int width,
                       uint32_t cell, struct weft_operand into)
{
    struct weft_emit_fold fold;
    weft_emit_fold_begin(&fold, builder, into, num_ranks, width, cell);
    for (int from = 0; from < num_ranks; from++) {
        if (from == rank)
            weft_emit_fold_cell(&fold, WEFT_INPUT, cell);
        else
            weft_emit_fold_message(&fold, from, weft_emit_fold_round(width, from),
                                   weft_label_leaf(from, cell));
    }
    weft_emit_fold_end(&fold);
}

// The sum grows in scratch: in place, the output is what our own messages still read, and nobody
// could receive before everybody has sent.
void weft_one_hop_reduce(struct weft_builder *builder, const struct weft_key *key,
                         const struct weft_emit_parts *parts, int rank, int width)
{
    uint32_t cell, cells = key->collective == WEFT_REDUCE_SCATTER ? (uint32_t)key->num_ranks : 1;
    for (int i = 1; i < key->num_ranks; i++) {
        int to = weft_circle(rank, i, key->num_ranks);
        if (!wants(key, to, &cell))
            continue;
        if (width)
            weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, cell),
                              weft_to(to, weft_emit_fold_round(width, rank)));
        else
            weft_one_hop_send_parts(builder, parts, rank, to, cell, cells);
    }
    if (!wants(key, rank, &cell))
        return;
    struct weft_operand sum =
        weft_cells(WEFT_SCRATCH, weft_builder_scratch(builder, WEFT_OUTPUT, cell, 1));
    if (width)
        fold_chain(builder, key->num_ranks, rank, width, cell, sum);
    else
        weft_one_hop_fold_parts(builder, parts, rank, cell, cells, sum);
    weft_builder_move(builder, 0, 1, sum, weft_cells(WEFT_OUTPUT, cell));
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

void weft_one_hop_to_root(struct weft_builder *builder, int num_ranks, int rank, int root)
{
    if (rank != root) {
        weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, (uint32_t)rank), weft_to(root, 0));
        return;
    }
    for (int i = 1; i < num_ranks; i++) {
        int from = weft_circle(root, i, num_ranks);
        struct weft_label block = weft_label_leaf(from, (uint32_t)from);
        weft_builder_move(builder, 0, 1, weft_from(from, 0, &block),
                          weft_cells(WEFT_OUTPUT, (uint32_t)from));
    }
    weft_emit_copy(builder, (uint32_t)rank, 1);
}

void weft_one_hop_from_root(struct weft_builder *builder, int num_ranks, int rank, int root)
{
    struct weft_label block = weft_label_leaf(root, (uint32_t)rank);
    if (rank != root) {
        weft_builder_move(builder, 0, 1, weft_from(root, 0, &block),
                          weft_cells(WEFT_OUTPUT, (uint32_t)rank));
        return;
    }
    for (int i = 1; i < num_ranks; i++) {
        int to = weft_circle(root, i, num_ranks);
        weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, (uint32_t)to), weft_to(to, 0));
    }
    weft_emit_copy(builder, (uint32_t)rank, 1);
}

// Ranks of each level are reached over its links alone; those of all levels at the same time.
int64_t weft_one_hop_root_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    int64_t n = key->num_ranks, block = weft_key_bytes(key) / n, inside = 1;
    struct weft_load own = {.steps = n > 1 ? n : 0, .copied = block};
    __int128 busy = weft_price(key, layout, &own), most = 0;
    for (int l = 0; l <= weft_layout_top(layout) && n > 1; l++) {
        int64_t others = layout->levels[l].largest - inside;
        struct weft_load load = {.level = l,
                                 .rounds = others > 0,
                                 .moved = (__int128)block * others,
                                 .messages = others,
                                 .active = layout->costs.levels[l].fan_ps_per_mib > 0};
        __int128 price = weft_price(key, layout, &load);
        most = price > most ? price : most;
        inside = layout->levels[l].largest;
    }
    if (weft_layout_top(layout) == 0)
        return weft_price_clamp(busy + most);
    // The processor goes on while bytes flow, until the last message is on its way.
    struct weft_load last = {.level = weft_layout_top(layout), .rounds = 1};
    busy += weft_price(key, layout, &last);
    return weft_price_clamp(busy > most ? busy : most);
}

// In place, what arrives waits in scratch until the block it replaces has left.
void weft_one_hop_all_to_all(struct weft_builder *builder, int num_ranks, int rank,
                             unsigned aliasing)
{
    uint32_t own = (uint32_t)rank, num_blocks = (uint32_t)num_ranks, waiting = 0;
    bool is_in_place = aliasing & WEFT_IN_PLACE;
    if (is_in_place)
        waiting = weft_builder_scratch(builder, WEFT_OUTPUT, 0, num_blocks);
    weft_emit_copy(builder, own, 1);
    for (int i = 1; i < num_ranks; i++) {
        int to = weft_circle(rank, -i, num_ranks);
        int from = weft_circle(rank, i, num_ranks);
        uint32_t block = (uint32_t)from;
        struct weft_label value = weft_label_leaf(from, own);
        weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, (uint32_t)to), weft_to(to, 0));
        weft_builder_move(builder, 0, 1, weft_from(from, 0, &value),
                          is_in_place ? weft_cells(WEFT_SCRATCH, waiting + block)
                                      : weft_cells(WEFT_OUTPUT, block));
    }
    for (uint32_t block = 0; is_in_place && block < num_blocks; block++)
        if (block != own)
            weft_builder_move(builder, 0, 1, weft_cells(WEFT_SCRATCH, waiting + block),
                              weft_cells(WEFT_OUTPUT, block));
}
