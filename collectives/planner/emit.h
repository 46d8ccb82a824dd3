/*
 * SPDX-License-Identifier: Apache-2.0
 * What algorithms share when they write programs.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_EMIT_H
#define WEFT_COLLECTIVES_PLANNER_EMIT_H

#include "collectives/planner/algorithm.h"

/* A builder for `rank`'s program of `key`, with `pieces` pieces in a block. */
weft_status weft_emit_begin(const struct weft_key *key, int rank, uint32_t pieces,
                            const char *algorithm, unsigned aliasing, struct weft_builder **builder,
                            struct weft_error *error);
/* One rank alone: every input cell to its output cell. */
void weft_emit_alone(struct weft_builder *builder, const struct weft_key *key, uint32_t pieces);
/* Input cells to the output cells of the same numbers. */
void weft_emit_copy(struct weft_builder *builder, uint32_t first, uint32_t num_cells);

/* A left fold of many values of one cell, as many in one step as a step can take. Value number i is
 * read in step weft_emit_fold_round(i) of the fold, and so is the least stamp of a message that
 * brings it, counted from the stamp at which the fold begins. `into` must not be one of the later
 * values. Zero the rest. */
struct weft_emit_fold {
    struct weft_builder *builder;
    struct weft_operand into;
    int num_pending;
    struct weft_operand pending[WEFT_REFS_LIMIT];
    struct weft_label labels[WEFT_REFS_LIMIT];
};
void weft_emit_fold_cell(struct weft_emit_fold *fold, enum weft_space space, uint32_t cell);
void weft_emit_fold_message(struct weft_emit_fold *fold, int peer, uint32_t stamp,
                            struct weft_label label);
void weft_emit_fold_end(struct weft_emit_fold *fold);
static inline uint32_t weft_emit_fold_round(int value)
{
    return value ? (uint32_t)(value - 1) / (WEFT_REFS_LIMIT - 1) : 0;
}
/* Steps, and rounds, of a fold of `num_values`. */
static inline uint32_t weft_emit_fold_rounds(int num_values)
{
    return weft_emit_fold_round(num_values - 1) + 1;
}

static inline int weft_circle(int rank, int distance, int num_ranks)
{
    int moved = (rank + distance) % num_ranks;
    return moved < 0 ? moved + num_ranks : moved;
}

static inline struct weft_label weft_label_at(struct weft_label label, uint32_t cell)
{
    label.cell = cell;
    return label;
}

#endif
