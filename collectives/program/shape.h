/*
 * SPDX-License-Identifier: Apache-2.0
 * What a collective means, without any algorithm: which cells each rank puts in, which it must get
 * out, and whose contributions those are.
 *
 * The logical vector of a collective is `blocks` blocks of `pieces` pieces; a cell is one piece of
 * one block, number block * pieces + piece. Cells have no fixed size: sizes come at launch, from
 * the count (fractions of it), from an agreed table of counts, or from counts that only the two
 * ends of a pair know. Buffers are windows of the logical vector and use its cell numbers: the
 * input of an all-gather at rank r is block r alone, and so is the output of a reduce-scatter.
 *
 * Reproducible reductions combine in the canonical tree over leaves (leaves.h). By default rank r
 * contributes leaf r. Otherwise it contributes the leaves [bounds[r], bounds[r + 1]), and its input
 * is one logical vector after another, one for each part of that span: cell c of part p is input
 * cell p * blocks * pieces + c.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_SHAPE_H
#define WEFT_COLLECTIVES_PROGRAM_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum weft_space {
    WEFT_INPUT,   // the caller's send buffer; never written
    WEFT_OUTPUT,  // the caller's recv buffer
    WEFT_SCRATCH, // temporary cells of the program
    WEFT_LANE,    // a message to or from a peer
    WEFT_NUM_SPACES,
};

enum { WEFT_ALL_RANKS = -1, WEFT_CELLS_LIMIT = 1 << 28 };

struct weft_shape {
    weft_collective collective;
    int num_ranks;
    int rank;
    int root;                    // of rooted collectives; send, recv: the peer; else 0
    uint32_t pieces;             // pieces of a block, >= 1
    bool is_canonical;           // reductions only: outputs are the canonical tree over the leaves
    uint32_t num_leaves;         // 0: one leaf per rank; else is_canonical
    const uint32_t *leaf_bounds; // (num_ranks + 1) with num_leaves; rises from 0 to num_leaves
    uint32_t num_parts;          // with num_leaves: of this rank's span
};

struct weft_window {
    uint32_t first; // first logical cell
    uint32_t cells; // 0: this rank has no such buffer
};

/* Whose contributions an output cell must hold, each exactly once: cell `cell` of the inputs of
 * rank `rank`, or of every rank. */
struct weft_goal {
    uint32_t cell;
    int rank; // or WEFT_ALL_RANKS
};

/* Makes the shape canonical, with these spans (num_leaves 0: one leaf per rank), whose bounds must
 * outlive it; they are checked by weft_shape_check. */
void weft_shape_set_leaves(struct weft_shape *shape, uint32_t num_leaves, const uint32_t *bounds);
/* INVALID_ARGUMENT unless `bounds` cut `num_leaves` leaves into num_ranks spans. */
weft_status weft_leaf_bounds_check(int num_ranks, uint32_t num_leaves, const uint32_t *bounds,
                                   struct weft_error *error);
/* INVALID_ARGUMENT unless every field is in range. */
weft_status weft_shape_check(const struct weft_shape *shape, struct weft_error *error);
uint32_t weft_shape_blocks(const struct weft_shape *shape);
struct weft_window weft_shape_input(const struct weft_shape *shape);
struct weft_window weft_shape_output(const struct weft_shape *shape);
struct weft_goal weft_shape_goal(const struct weft_shape *shape, uint32_t output_cell);
/* Leaves in all: num_ranks unless spans are given. */
static inline uint32_t weft_shape_leaves(const struct weft_shape *shape)
{
    return shape->num_leaves ? shape->num_leaves : (uint32_t)shape->num_ranks;
}
/* Logical vectors in this rank's input. */
static inline uint32_t weft_shape_parts(const struct weft_shape *shape)
{
    return shape->num_leaves ? shape->num_parts : 1;
}
/* The logical cell of an input cell. */
uint32_t weft_shape_cell(const struct weft_shape *shape, uint32_t input_cell);
/* The leaves of part `part` of this rank's input: [*first, *first + *count). */
void weft_shape_part(const struct weft_shape *shape, uint32_t part, uint32_t *first,
                     uint32_t *count);
/* Two cells are known to have the same number of elements exactly if this is equal. */
uint64_t weft_shape_extent(const struct weft_shape *shape, enum weft_space space, uint32_t cell);
/* Whether this rank knows that size: of cells of its buffers, and of all cells of the logical
 * vector where sizes are agreed. */
bool weft_shape_has_extent(const struct weft_shape *shape, enum weft_space space, uint32_t cell);
/* Every rank that has the output must hold the same bits (all-reduce, all-gather, broadcast). */
bool weft_shape_is_replicated(const struct weft_shape *shape);
/* Contributions are combined by an operation (all-reduce, reduce, reduce-scatter, barrier). */
bool weft_collective_reduces(weft_collective collective);
/* send, recv: two ranks take part, each with a program of its own. */
bool weft_collective_is_pair(weft_collective collective);
/* broadcast, reduce, gather(v), scatter(v): `root` is a rank; send, recv: it is the peer. */
bool weft_collective_is_rooted(weft_collective collective);
/* Sizes of blocks come from a table that all ranks agree on: the vector forms but all_to_all_v. */
bool weft_collective_has_table(weft_collective collective);

#endif
