/*
 * SPDX-License-Identifier: Apache-2.0
 * The layout of ranks that met, on a graph of several hosts: each is put on a place of the host
 * that it runs on, which is recognised by its name, or else by its identity (topologies of `weft
 * topo --cluster` have it).
 */
#ifndef WEFT_COLLECTIVES_COMM_LAYOUT_OF_CLUSTER_H
#define WEFT_COLLECTIVES_COMM_LAYOUT_OF_CLUSTER_H

#include "collectives/planner/layout.h"
#include "topology/graph.h"

enum { WEFT_HOST_NAME_BYTES = 72 };

struct weft_rank_place {
    uint64_t host_id;      // equal: one host
    const char *host_name; // as the system says
};

/* costs->levels[0]: within a host; between hosts the graph's links decide, and the network of the
 * layout is the graph's. Errors: NOT_FOUND (a host that is not recognised, one without places, two
 * without a way between them), OUT_OF_MEMORY. */
weft_status weft_layout_of_cluster(const struct weft_topology *topology,
                                   const struct weft_rank_place *ranks, int num_ranks,
                                   const struct weft_costs *costs, struct weft_layout **layout,
                                   struct weft_error *error);

#endif
