/*
 * SPDX-License-Identifier: Apache-2.0
 * Throughput-optimal spanning trees (ForestColl's mathematics): a network is packed with out-trees,
 * each rooted at a terminal and reaching all others, that together use no arc beyond its capacity.
 * An edge of a tree joins two terminals and remembers the switches it passes.
 */
#ifndef WEFT_TOPOLOGY_FOREST_H
#define WEFT_TOPOLOGY_FOREST_H

#include "topology/network.h"

struct weft_forest_edge {
    int from, to;  // terminals; in a tree, `from` has been reached before
    int first_hop; // into forest.hops: the vertices between them, in order
    int num_hops;  // 0: an arc of the network joins them
};

struct weft_forest_tree {
    int root;       // terminal
    int64_t weight; // how many identical trees this stands for, >= 1
    int first_edge; // into forest.edges: num_terminals - 1 of them, parents before children
    int depth;      // edges on the longest way from the root
};

struct weft_forest {
    int num_terminals;
    int num_trees; // sorted by (root, ...), deterministic
    struct weft_forest_tree *trees;
    struct weft_forest_edge *edges;
    int *hops;
    int64_t total_weight; // of all trees
    int depth;            // of the deepest
};

struct weft_forest_request {
    const int64_t *capacity; // (num_arcs) how many unit trees may use each arc; 0: none
    const int64_t *weight;   // (num_terminals) how many unit trees are rooted at each, >= 0
};

/* Packs weight[c] trees rooted at each terminal c within the capacities. Both together must be
 * feasible: for every terminal v the flow from all roots (weight each) to v is the sum of weights.
 * Errors: UNSUPPORTED (not feasible: a terminal is named; a switch whose capacities in and out
 * differ; above 1,024 vertices, sums of 2^58 or 2^20 maximum flows), OUT_OF_MEMORY. */
weft_status weft_forest_pack(const struct weft_network *network,
                             const struct weft_forest_request *request, struct weft_forest **forest,
                             struct weft_error *error);
void weft_forest_destroy(struct weft_forest **forest);
/* Proves it: every tree spans and is a tree, weights per root are as asked, and no arc carries more
 * than its capacity. Errors: INTERNAL, naming the tree or arc. */
weft_status weft_forest_check(const struct weft_network *network,
                              const struct weft_forest_request *request,
                              const struct weft_forest *forest, struct weft_error *error);

#endif
