/*
 * SPDX-License-Identifier: Apache-2.0
 * Exchanges of one hop with one piece per block, for at least two ranks; `flat` and `direct` share
 * them.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_ONE_HOP_H
#define WEFT_COLLECTIVES_PLANNER_ONE_HOP_H

#include "collectives/program/builder.h"

/* All-reduce and barrier: everybody's whole vector to everybody, combined in rank order 0, 1, ...
 */
void weft_one_hop_reduce(struct weft_builder *builder, int num_ranks, int rank);
/* All-gather: the own block to everybody. */
void weft_one_hop_gather(struct weft_builder *builder, int num_ranks, int rank);
void weft_one_hop_broadcast(struct weft_builder *builder, int num_ranks, int rank, int root);

#endif
