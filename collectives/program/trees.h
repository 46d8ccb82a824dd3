/*
 * SPDX-License-Identifier: Apache-2.0
 * Values as what they are: trees of two-operand combinations over leaves (rank, cell), the two
 * operands of a combination interchangeable. Equal trees have equal numbers (hash consing), so the
 * oracle compares values exactly; the fingerprints of label.h are only derived from them. 0 is no
 * value.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_TREES_H
#define WEFT_COLLECTIVES_PROGRAM_TREES_H

#include "collectives/program/label.h"

struct weft_trees;

/* For leaves of `num_ranks` >= 1 ranks (with spans, of as many leaves: leaf l is a leaf of rank l).
 * NULL without memory. */
struct weft_trees *weft_trees_create(int num_ranks);
void weft_trees_destroy(struct weft_trees **trees);
/* Numbers of trees; 0 without memory. `a` and `b` are not 0. */
uint32_t weft_trees_leaf(struct weft_trees *trees, int rank, uint32_t cell);
uint32_t weft_trees_pair(struct weft_trees *trees, uint32_t a, uint32_t b);
/* The canonical tree over leaves [first, first + count), count >= 1. */
uint32_t weft_trees_canonical(struct weft_trees *trees, uint32_t first, uint32_t count,
                              uint32_t cell);
/* Whether all leaves are of one cell, and that cell. */
bool weft_trees_is_of_one_cell(const struct weft_trees *trees, uint32_t tree, uint32_t *cell);
/* Whether the leaves are exactly rank `rank`'s, or with WEFT_ALL_RANKS every rank's once. Cells are
 * not looked at. */
bool weft_trees_holds(struct weft_trees *trees, uint32_t tree, int rank);
/* What label.h says of it. */
struct weft_label weft_trees_label(const struct weft_trees *trees, uint32_t tree);

#endif
