/*
 * SPDX-License-Identifier: Apache-2.0
 * What finding classes (symmetry.c) and putting differences into words (symmetry_words.c) share.
 */
#ifndef WEFT_TOPOLOGY_SYMMETRY_PRIVATE_H
#define WEFT_TOPOLOGY_SYMMETRY_PRIVATE_H

#include "topology/adjacency.h"
#include "topology/symmetry.h"

struct weft_symmetry {
    const struct weft_topology *topology;
    struct weft_adjacency adjacency;
    int num_hosts;
    int *host;                           // num_hosts: nodes
    int *number;                         // num_nodes: which of the hosts contains it; -1: none
    int *first_part;                     // num_hosts + 1: into part
    int *part;                           // nodes by host, then kind, then index
    int *class_of;                       // num_hosts
    int64_t *memory;                     // num_hosts: bytes, all NUMA domains together
    struct weft_symmetry_class *classes; // num_hosts of them at most
    int num_classes;
    uint64_t *facts; // num_nodes: hash of the attributes that count
    int *pair_of;    // num_nodes: scratch of symmetry_words.c, -1 in between
    uint64_t *apart; // hashes of attribute keys that tell things apart, ascending
    int num_apart;
};

/* What links of one sort give a node: `count` cables or lanes, and their bandwidth, -1 where one is
 * not known. Sorts are the link kinds; network links of a switch are told apart by direction. */
enum {
    WEFT_FEATURE_DOWN = WEFT_NUM_LINK_KINDS, // network, to NICs and lower tiers
    WEFT_FEATURE_UP,                         // network, to higher tiers
    WEFT_NUM_FEATURES
};
struct weft_feature {
    int64_t count, bandwidth;
};
/* `all`: also links that the node at the other end answers for. */
void weft_symmetry_features(const struct weft_symmetry *symmetry, int node, bool all,
                            struct weft_feature features[WEFT_NUM_FEATURES]);
/* What a link can do now, as far as it is known: not measured, and not what an idle GPU's link is
 * lowered to; -1: not known. */
int64_t weft_symmetry_bandwidth(const struct weft_topology *topology, const struct weft_link *link);
/* Whether the memory of two hosts differs by more than boots and firmware explain. */
bool weft_symmetry_memory_differs(int64_t a, int64_t b);

#endif
