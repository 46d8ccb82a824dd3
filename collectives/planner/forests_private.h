/*
 * SPDX-License-Identifier: Apache-2.0
 * What the files of forests share.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_FORESTS_PRIVATE_H
#define WEFT_COLLECTIVES_PLANNER_FORESTS_PRIVATE_H

#include "collectives/planner/forests.h"

/* The arc between two vertices; there must be one. */
int weft_forests_arc(const struct weft_network *network, int from, int to);

/* How many steps the root of a tree needs for its children, and the widest other rank. False
 * without memory. */
bool weft_forests_turns(const struct weft_forest *forest, int number, int *root, int *inner);

/* Hops one after another, and how long they take at least. */
struct weft_forest_way {
    int64_t latency_ps;
    int64_t shorter_ps; // by how much links are shorter than the longest ways of their levels
    int hops[WEFT_LEVELS_LIMIT];
};
struct weft_forest_hop {
    int level;
    int64_t shorter_ps;
};
struct weft_forest_hop weft_forests_hop(const struct weft_layout *layout,
                                        const struct weft_forest *forest,
                                        const struct weft_forest_edge *edge);
struct weft_forest_way weft_forests_step(const struct weft_layout *layout,
                                         struct weft_forest_way way, struct weft_forest_hop hop);

/* The slowest way from or to a root where trees share channels: a rank takes a channel's trees one
 * after another, stamp by stamp, so what comes late in one holds up the others. Channels must have
 * been dealt. False without memory. */
bool weft_forests_queue(const struct weft_layout *layout, const struct weft_forest *forest,
                        const uint16_t *channels, bool goes_up, struct weft_forest_way *slowest);

/* Fills all fields of a plan but the trees and the units. False without memory. */
bool weft_forests_measure(const struct weft_layout *layout, struct weft_forest_plan *plan);

/* Deals channels to the trees of a plan; its rise must be known. False without memory. */
bool weft_forests_deal(struct weft_forest_plan *plan);

/* All-reduce where equal shares are not the best: about `units` units dealt among the roots, trees
 * that collect them (on the network reversed) and trees that spread them. weight[num_terminals].
 * Errors: NOT_FOUND (equal shares are the best, or nothing fits), UNSUPPORTED (no solver), those of
 * packing, OUT_OF_MEMORY. */
weft_status weft_forests_share(const struct weft_network *network,
                               const struct weft_network *reversed, int64_t units, int64_t *weight,
                               struct weft_forest **up, struct weft_forest **down,
                               struct weft_error *error);

/* Shallow trees of one root where all boxes have equally many ranks (2 or more); the number of
 * units is total_weight. Errors: NOT_FOUND (boxes that are not so, one box, more than 1,024 ranks,
 * a rank that cannot be reached), UNSUPPORTED, OUT_OF_MEMORY. */
weft_status weft_forests_of_boxes(const struct weft_layout *layout, int root,
                                  struct weft_forest **forest, struct weft_error *error);

#endif
