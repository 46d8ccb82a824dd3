/*
 * SPDX-License-Identifier: Apache-2.0
 * Exchanges of one hop with one piece per block, for at least two ranks; `flat` and `direct` share
 * them.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_ONE_HOP_H
#define WEFT_COLLECTIVES_PLANNER_ONE_HOP_H

#include "collectives/planner/emit.h"

/* All-reduce, barrier, reduce, reduce-scatter: contributions go straight to whoever wants them, who
 * combines them in rank order 0, 1, ... `width`: see struct weft_emit_fold. `parts`: those of
 * `key`. */
void weft_one_hop_reduce(struct weft_builder *builder, const struct weft_key *key,
                         const struct weft_emit_parts *parts, int rank, int width);
/* Block `block` of this rank's parts to `to`, and all parts of it, combined into `into`, where
 * blocks are `cells` cells apart from part to part; width 0. */
void weft_one_hop_send_parts(struct weft_builder *builder, const struct weft_emit_parts *parts,
                             int rank, int to, uint32_t block, uint32_t cells);
void weft_one_hop_fold_parts(struct weft_builder *builder, const struct weft_emit_parts *parts,
                             int rank, uint32_t block, uint32_t cells, struct weft_operand into);
/* All-gather: the own block to everybody. */
void weft_one_hop_gather(struct weft_builder *builder, int num_ranks, int rank);
void weft_one_hop_broadcast(struct weft_builder *builder, int num_ranks, int rank, int root);
/* Gather, scatter: every block straight to the root, and from it. */
void weft_one_hop_to_root(struct weft_builder *builder, int num_ranks, int rank, int root);
void weft_one_hop_from_root(struct weft_builder *builder, int num_ranks, int rank, int root);
/* What that takes, all messages being under way at once. */
int64_t weft_one_hop_root_estimate(const struct weft_key *key, const struct weft_layout *layout);
/* `aliasing`: one of them, not both. */
void weft_one_hop_all_to_all(struct weft_builder *builder, int num_ranks, int rank,
                             unsigned aliasing);

#endif
