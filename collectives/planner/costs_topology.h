/*
 * SPDX-License-Identifier: Apache-2.0
 * Prices from a topology: ranks are placed, the slowest way between two of them sets the prices,
 * and what the topology does not know stays assumed. Every price says where it comes from.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_COSTS_TOPOLOGY_H
#define WEFT_COLLECTIVES_PLANNER_COSTS_TOPOLOGY_H

#include "collectives/planner/costs.h"
#include "topology/graph.h"

struct weft_cost_origin {
    enum weft_source latency;   // of the route; the software's part of a message is assumed
    enum weft_source bandwidth; // of the route
    int num_hosts;
    int num_places;  // different nodes that hold ranks
    int place_kind;  // of weft_node_kinds
    char route[256]; // the slowest way, in words
};

/* Errors: INVALID_ARGUMENT (num_ranks), NOT_FOUND (no place for ranks, or two of them with no way
 * between them), OUT_OF_MEMORY. */
weft_status weft_costs_from_topology(const struct weft_topology *topology, int num_ranks,
                                     struct weft_costs *costs, struct weft_cost_origin *origin,
                                     struct weft_error *error);

#endif
