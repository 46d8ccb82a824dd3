/*
 * SPDX-License-Identifier: Apache-2.0
 * The tree that carries blocks, gather and scatter; `tree` is its only user.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_TREE_BLOCKS_H
#define WEFT_COLLECTIVES_PLANNER_TREE_BLOCKS_H

#include "collectives/planner/algorithm.h"

/* Whether the key is one of those: gather(_v), scatter(_v). */
bool weft_tree_has_blocks(const struct weft_key *key);
/* The program of `rank`, of at least two ranks. */
weft_status weft_tree_blocks_emit(const struct weft_key *key, int rank, unsigned aliasing,
                                  struct weft_program **program, struct weft_error *error);
int64_t weft_tree_blocks_estimate(const struct weft_key *key, const struct weft_layout *layout);

#endif
