/*
 * SPDX-License-Identifier: Apache-2.0
 * Exchanges of one hop with one piece per block, for at least two ranks; `flat` and `direct` share
 * them.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_ONE_HOP_H
#define WEFT_COLLECTIVES_PLANNER_ONE_HOP_H

#include "collectives/planner/algorithm.h"

/* All-reduce, barrier, reduce, reduce-scatter: contributions go straight to whoever wants them, who
 * combines them in rank order 0, 1, ... `width`: see struct weft_emit_fold. */
void weft_one_hop_reduce(struct weft_builder *builder, const struct weft_key *key, int rank,
                         int width);
/* All-gather: the own block to everybody. */
void weft_one_hop_gather(struct weft_builder *builder, int num_ranks, int rank);
void weft_one_hop_broadcast(struct weft_builder *builder, int num_ranks, int rank, int root);
/* `aliasing`: one of them, not both. */
void weft_one_hop_all_to_all(struct weft_builder *builder, int num_ranks, int rank,
                             unsigned aliasing);

#endif
