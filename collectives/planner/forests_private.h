/*
 * SPDX-License-Identifier: Apache-2.0
 * What the files of forests share.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_FORESTS_PRIVATE_H
#define WEFT_COLLECTIVES_PLANNER_FORESTS_PRIVATE_H

#include "topology/forest.h"

/* The arc between two vertices; there must be one. */
int weft_forests_arc(const struct weft_network *network, int from, int to);

/* All-reduce where equal shares are not the best: about `units` units dealt among the roots, trees
 * that collect them (on the network reversed) and trees that spread them. weight[num_terminals].
 * Errors: NOT_FOUND (equal shares are the best, or nothing fits), UNSUPPORTED (no solver), those of
 * packing, OUT_OF_MEMORY. */
weft_status weft_forests_share(const struct weft_network *network,
                               const struct weft_network *reversed, int64_t units, int64_t *weight,
                               struct weft_forest **up, struct weft_forest **down,
                               struct weft_error *error);

#endif
