/*
 * SPDX-License-Identifier: Apache-2.0
 * The layout of ranks on a topology: groups and levels follow from what is there, the slowest way
 * between two ranks of a level sets its prices, and what the topology does not know stays assumed.
 * A level stays only if crossing it costs something else than crossing the one below. Every price
 * says where it comes from.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_LAYOUT_TOPOLOGY_H
#define WEFT_COLLECTIVES_PLANNER_LAYOUT_TOPOLOGY_H

#include "collectives/planner/layout.h"
#include "topology/graph.h"

struct weft_level_origin {
    const char *groups;         // what the groups of this level are, in words ("hosts")
    enum weft_source latency;   // of the route; the software's part of a message is assumed
    enum weft_source bandwidth; // of the route
    char route[256];            // the slowest way, in words
};

struct weft_layout_origin {
    struct weft_level_origin levels[WEFT_LEVELS_LIMIT];
    int num_hosts;
    int num_places; // different nodes that hold ranks
    int place_kind; // of weft_node_kinds
};

/* Rank r on node nodes[r]; several ranks may share a node. `nodes` is not needed afterwards.
 * Errors: INVALID_ARGUMENT (num_ranks, a node that does not exist or cannot hold ranks), NOT_FOUND
 * (two ranks with no way between them), OUT_OF_MEMORY. */
weft_status weft_layout_from_nodes(const struct weft_topology *topology, const int *nodes,
                                   int num_ranks, struct weft_layout **layout,
                                   struct weft_layout_origin *origin, struct weft_error *error);
/* Of the first num_ranks places for ranks (weft_topology_place). Errors: as above, and NOT_FOUND
 * where there is no place for ranks. */
weft_status weft_layout_from_topology(const struct weft_topology *topology, int num_ranks,
                                      struct weft_layout **layout,
                                      struct weft_layout_origin *origin, struct weft_error *error);

/* layout_links.c: what patterns of traffic cost where links lead from rank to rank, for up to 256
 * ranks; the network is there. Done by the functions above. Errors: OUT_OF_MEMORY. */
weft_status weft_layout_price_links(struct weft_layout *layout, struct weft_error *error);
/* layout_network.c: the network that joins the ranks, without links that nobody would use beside
 * better ones; none for more than 2,048 ranks. Done by the functions above. Errors: OUT_OF_MEMORY.
 */
weft_status weft_layout_attach_network(const struct weft_topology *topology, const int *nodes,
                                       struct weft_layout *layout, struct weft_error *error);

#endif
