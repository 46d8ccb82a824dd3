/*
 * SPDX-License-Identifier: Apache-2.0
 * See emit.h.
 */
#include "collectives/planner/emit.h"

weft_status weft_emit_begin(const struct weft_key *key, int rank, uint32_t pieces,
                            const char *algorithm, unsigned aliasing, struct weft_builder **builder,
                            struct weft_error *error)
{
    const struct weft_shape shape = {key->collective, key->num_ranks, rank, key->root, pieces};
    return weft_builder_create(&shape, algorithm, aliasing, builder, error);
}

void weft_emit_copy(struct weft_builder *builder, uint32_t first, uint32_t num_cells)
{
    weft_builder_move(builder, 0, num_cells, weft_cells(WEFT_INPUT, first),
                      weft_cells(WEFT_OUTPUT, first));
}

void weft_emit_alone(struct weft_builder *builder, const struct weft_key *key, uint32_t pieces)
{
    if (key->collective != WEFT_SEND && key->collective != WEFT_RECV)
        weft_emit_copy(builder, 0, pieces);
}

static void flush(struct weft_emit_fold *fold)
{
    weft_builder_step(fold->builder, 0, 1, fold->pending, fold->num_pending, &fold->into, 1);
    fold->pending[0] = fold->into;
    fold->num_pending = 1;
}

void weft_emit_fold_cell(struct weft_emit_fold *fold, enum weft_space space, uint32_t cell)
{
    if (fold->num_pending == WEFT_REFS_LIMIT)
        flush(fold);
    fold->pending[fold->num_pending++] = weft_cells(space, cell);
}

void weft_emit_fold_message(struct weft_emit_fold *fold, int peer, uint32_t stamp,
                            struct weft_label label)
{
    if (fold->num_pending == WEFT_REFS_LIMIT)
        flush(fold);
    fold->labels[fold->num_pending] = label;
    fold->pending[fold->num_pending] = weft_from(peer, stamp, &fold->labels[fold->num_pending]);
    fold->num_pending++;
}

void weft_emit_fold_end(struct weft_emit_fold *fold)
{
    if (fold->num_pending)
        flush(fold);
    fold->num_pending = 0;
}
