/*
 * SPDX-License-Identifier: Apache-2.0
 * A topology as a capacity network: terminals (where ranks are) and switches (everything that only
 * forwards), joined by directed arcs of bytes per second. What flows, cuts, bounds and forests are
 * computed on.
 *
 * It is smaller than the graph without changing any cut between terminals: nodes that lead nowhere
 * are gone, a switch with two neighbours is one arc of the narrower side, and switches that are
 * proportional copies of each other (the NVSwitches of a box, the spines of a plane) are one.
 */
#ifndef WEFT_TOPOLOGY_NETWORK_H
#define WEFT_TOPOLOGY_NETWORK_H

#include "topology/graph.h"

struct weft_arc {
    int from, to;
    int64_t capacity;   // bytes per second, > 0; of all parallel links together
    int64_t latency_ps; // of the links it stands for, one after another
    int link;           // the narrowest link it stands for (the first of several); -1: none
};

struct weft_network {
    int num_vertices;
    int num_terminals; // vertices 0 .. num_terminals - 1, in the order asked for
    int num_arcs;
    struct weft_arc *arcs; // sorted by (from, to), one per pair of vertices
    int *first;            // (num_vertices + 1) arcs of vertex v: first[v] .. first[v + 1] - 1
    int *node;             // (num_vertices) topology node (of merged ones the first); -1: none
    int *num_merged;       // (num_vertices) how many nodes it stands for, >= 1
    int64_t
        lane; // 1 where arcs are bundles of single lanes, each of which takes whole trees; else 0
};

struct weft_network_options {
    const int *terminals; // topology nodes; NULL: all nodes of the preferred kind for ranks, in
                          // canonical order. A node named twice holds several ranks, which share
                          // its links
    int num_terminals;
    uint32_t link_kinds; // bit per enum weft_link_kind_id; 0: all
    bool is_unit;        // every bundle counts its lanes instead of bytes per second
    bool is_raw;         // without the reductions above
};

/* Errors: NOT_FOUND (no terminals), INVALID_ARGUMENT (no such node), OUT_OF_MEMORY. Whether all
 * terminals are joined is for those who need it to ask: weft_network_check. */
weft_status weft_network_create(const struct weft_topology *topology,
                                const struct weft_network_options *options,
                                struct weft_network **network, struct weft_error *error);
void weft_network_destroy(struct weft_network **network);
/* The same with every arc turned round. NULL without memory. */
struct weft_network *weft_network_reverse(const struct weft_network *network);

/* Whether bounds and forests exist here. Errors: UNSUPPORTED, naming a switch whose total capacity
 * in and out differ, or two terminals with no way between them. */
weft_status weft_network_check(const struct weft_topology *topology,
                               const struct weft_network *network, struct weft_error *error);
/* What only goes one way passes the check above, and does for a broadcast. Errors: UNSUPPORTED,
 * naming two terminals with no way from the first to the second; OUT_OF_MEMORY. */
weft_status weft_network_check_ways(const struct weft_topology *topology,
                                    const struct weft_network *network, struct weft_error *error);

#endif
