/*
 * SPDX-License-Identifier: Apache-2.0
 * The tree over spans of leaves; `tree` is its only user.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_TREE_SPANS_H
#define WEFT_COLLECTIVES_PLANNER_TREE_SPANS_H

#include "collectives/planner/algorithm.h"

/* The program of `rank` of an all-reduce or reduce with key->num_leaves, of at least two ranks. */
weft_status weft_tree_spans_emit(const struct weft_key *key, int rank, unsigned aliasing,
                                 struct weft_program **program, struct weft_error *error);
/* `value` from the output of `root` into everybody's, down a binomial tree (tree.c). */
void weft_tree_go_down(struct weft_builder *builder, int num_ranks, int rank, int root,
                       uint32_t first_stamp, struct weft_label value);

#endif
