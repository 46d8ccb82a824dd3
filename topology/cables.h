/*
 * SPDX-License-Identifier: Apache-2.0
 * The network links of a graph, looked up by node: which cables a switch has, in order of its
 * ports.
 */
#ifndef WEFT_TOPOLOGY_CABLES_H
#define WEFT_TOPOLOGY_CABLES_H

#include "topology/graph.h"

struct weft_cables {
    const struct weft_topology *topology;
    int *starts; // num_nodes + 1: cables of node n are ends starts[n] .. starts[n + 1] - 1
    struct weft_cable_end {
        int link;
        int port; // of this node; 0: not known
        int peer, peer_port;
    } * ends;
};

/* Errors: OUT_OF_MEMORY. Free with weft_cables_free, also after a failure. */
weft_status weft_cables_list(const struct weft_topology *topology, struct weft_cables *cables,
                             struct weft_error *error);
void weft_cables_free(struct weft_cables *cables);
/* Sums of bundled links; a graph may claim more than an int holds, and nobody has so many. */
static inline int weft_cables_add(int sum, int count)
{
    enum { MOST = 1 << 28 };
    return count > MOST - sum ? MOST : sum + count;
}
/* Leaf, spine, core switch, or switch of no known tier. */
bool weft_node_is_fabric_switch(const struct weft_topology *topology, int node);

#endif
