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
/* All that is combined: the parts of all ranks' spans, in the order of their leaves; by default
 * each rank's one leaf. */
struct weft_emit_part {
    int rank;
    uint32_t number;       // among the rank's parts
    uint32_t first, count; // leaves
};
struct weft_emit_parts {
    uint32_t num_leaves;
    int num_parts;
    struct weft_emit_part *parts;
    bool are_spans;
};
/* Errors: OUT_OF_MEMORY. */
weft_status weft_emit_parts_make(const struct weft_key *key, struct weft_emit_parts *parts,
                                 struct weft_error *error);
void weft_emit_parts_free(struct weft_emit_parts *parts);
/* Number of the first part of `rank` or of a later rank. O(log). */
int weft_emit_first_part(const struct weft_emit_parts *parts, int rank);
/* How many that would be. */
int64_t weft_emit_count_parts(const struct weft_key *key);
/* Stamp at which the canonical fold of all parts reads part i, counted from its beginning. */
static inline uint32_t weft_emit_part_stamp(const struct weft_emit_parts *parts, int i)
{
    return (uint32_t)(parts->are_spans ? i : i / 2);
}
static inline uint32_t weft_emit_part_stamps(const struct weft_emit_parts *parts)
{
    return weft_emit_part_stamp(parts, parts->num_parts - 1) + 1;
}

/* All-to-all in place and out of place are two programs: UNSUPPORTED for both in one. */
weft_status weft_emit_check_aliasing(const struct weft_key *key, unsigned aliasing,
                                     struct weft_error *error);
/* One rank alone: every input cell to its output cell. */
void weft_emit_alone(struct weft_builder *builder, const struct weft_key *key, uint32_t pieces);
/* Input cells to the output cells of the same numbers. */
void weft_emit_copy(struct weft_builder *builder, uint32_t first, uint32_t num_cells);

/* A reduction of many values of one cell into one place. Values are added in order, as messages or
 * as memory cells; value i is read in round weft_emit_fold_round(width, i), and so is the least
 * stamp of a message that brings it, counted from the stamp at which the reduction begins.
 *
 * Chains combine left to right, `width` operands in one step: 2 streams a large message straight
 * into the sum, more take small ones in together. Trees (width 0) combine in the canonical order:
 * values are the nodes that weft_emit_fold_leaves tells, by default leaves 0 .. num_values - 1.
 * `into` must not be one of the later values of a chain. */
struct weft_emit_fold {
    struct weft_builder *builder;
    struct weft_operand into;
    int num_values; // all that will be added; >= 1
    int width;
    int num_added;
    int num_pending;
    struct weft_operand pending[WEFT_REFS_LIMIT];
    struct weft_label labels[WEFT_REFS_LIMIT];
    uint32_t like;
    uint32_t num_leaves;  // tree
    uint32_t next, count; // tree: first leaf of the next value, and its number of leaves
    int num_combined;     // tree: combinations so far
    int depth;            // tree: finished subtrees
    bool is_message;      // tree: the last of them is a message not yet received
    struct weft_operand stack[64];
    uint32_t begins[65];  // tree: first leaf of each; begins[depth]: end of the last
    uint32_t scratch[64]; // tree: a cell for each depth, plus 1; 0: none yet
};
/* `like`: of trees, an output cell of this rank as large as the values. */
void weft_emit_fold_begin(struct weft_emit_fold *fold, struct weft_builder *builder,
                          struct weft_operand into, int num_values, int width, uint32_t like);
/* Width for messages of `bytes`; 0 where the order must be canonical. Equal on all ranks. */
int weft_emit_fold_width(const struct weft_key *key, int64_t bytes);
void weft_emit_fold_cell(struct weft_emit_fold *fold, enum weft_space space, uint32_t cell);
void weft_emit_fold_message(struct weft_emit_fold *fold, int peer, uint32_t stamp,
                            struct weft_label label);
/* Tree: the next value is the canonical node over leaves [first, first + count) of `num_leaves`. */
void weft_emit_fold_leaves(struct weft_emit_fold *fold, uint32_t num_leaves, uint32_t first,
                           uint32_t count);
/* After the last value. */
void weft_emit_fold_end(struct weft_emit_fold *fold);
static inline uint32_t weft_emit_fold_round(int width, int value)
{
    if (width == 0)
        return (uint32_t)value / 2;
    return value ? (uint32_t)(value - 1) / (uint32_t)(width - 1) : 0;
}
/* Rounds of a reduction of `num_values`. */
static inline uint32_t weft_emit_fold_rounds(int width, int num_values)
{
    return weft_emit_fold_round(width, num_values - 1) + 1;
}
/* What the canonical tree makes of ranks [first, first + count). */
struct weft_label weft_emit_tree_label(int first, int count, uint32_t cell);

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
