/*
 * SPDX-License-Identifier: Apache-2.0
 * The links of each node, in one array: built once in linear time, for everybody who asks "what
 * hangs on this node" more often than once.
 */
#ifndef WEFT_TOPOLOGY_ADJACENCY_H
#define WEFT_TOPOLOGY_ADJACENCY_H

#include "topology/graph.h"

struct weft_adjacency {
    int *first; // num_nodes + 1: the links of node i are link[first[i]] to link[first[i + 1] - 1]
    int *link;  // indexes of links in ascending order; each link stands at both of its ends
};

/* Errors: OUT_OF_MEMORY. Valid as long as the topology does not change. */
weft_status weft_adjacency_create(const struct weft_topology *topology,
                                  struct weft_adjacency *adjacency, struct weft_error *error);
/* All zero is allowed. */
void weft_adjacency_destroy(struct weft_adjacency *adjacency);

/* The node at the other end. */
static inline int weft_link_other_end(const struct weft_link *link, int node)
{
    return link->from == node ? link->to : link->from;
}

#endif
