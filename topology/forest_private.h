/*
 * SPDX-License-Identifier: Apache-2.0
 * The two halves of packing a forest. forest_split.c (with forest_spread.c) removes the switches:
 * what entered a switch and left it again becomes arcs between its neighbours, until only terminals
 * are left and each can still be reached as well as before. forest_pack.c packs trees into what is
 * left. Both go ahead as far as the cuts seen so far allow, and ask flows afterwards
 * (forest_cuts.c). Splitting remembers what each arc stands for, so that forest.c finds the way
 * back. Private to forest*.c and their tests.
 */
#ifndef WEFT_TOPOLOGY_FOREST_PRIVATE_H
#define WEFT_TOPOLOGY_FOREST_PRIVATE_H

#include "topology/forest.h"
#include "topology/maxflow.h"

/* Dense matrices are kept of networks; larger ones are refused. */
enum { WEFT_FOREST_MAX_VERTICES = 1024 };
/* Of splitting, and of packing; 512 GPUs in regular boxes take a quarter of it. */
enum { WEFT_FOREST_MAX_FLOWS = 1 << 20 };
/* Sums of capacities and of weights stay below. */
#define WEFT_FOREST_MAX_SUM ((int64_t)1 << 58)

/* Cuts that were in the way: a set of vertices each, with a terminal, and what can still be taken
 * from what enters it. Whoever changes capacities keeps `slack` right. */
enum { WEFT_FOREST_MAX_CUTS = 1024, WEFT_FOREST_CUT_WORDS = WEFT_FOREST_MAX_CUTS / 64 };
struct weft_forest_cuts {
    int num_vertices;
    int num, num_ever; // the oldest makes room
    uint64_t *inside;  // (num_vertices, WEFT_FOREST_CUT_WORDS) cuts that hold a vertex
    int64_t *slack;    // (WEFT_FOREST_MAX_CUTS)
};

/* False without memory. Free also after that. */
bool weft_forest_cuts_init(struct weft_forest_cuts *cuts, int num_vertices);
void weft_forest_cuts_free(struct weft_forest_cuts *cuts);
void weft_forest_cuts_forget(struct weft_forest_cuts *cuts); // all of them
bool weft_forest_cuts_has(const struct weft_forest_cuts *cuts, int cut, int vertex);
/* What the last run of `flow` reached, which was less than its limit; returns its number. */
int weft_forest_cuts_keep(struct weft_forest_cuts *cuts, const struct weft_maxflow *flow,
                          int64_t slack);

/* `amount` units of an arc run through the removed switch `via`. */
struct weft_forest_part {
    int via;
    int next; // part of the same arc; -1: last
    int64_t amount;
};

struct weft_forest_split {
    int num_vertices, num_terminals;
    int64_t *capacity; // (num_vertices, num_vertices) now; no switch has any when done
    int64_t *direct;   // (num_vertices, num_vertices) of arcs of the network itself
    int *first_part;   // (num_vertices, num_vertices) -1: none
    struct weft_forest_part *parts;
    int num_parts, room_for_parts;
    bool has_tiers; // a switch joined terminals of several boxes and other switches
};

/* Called after each pair of arcs that was split off, for tests. NULL: nobody looks. */
struct weft_forest_observer {
    void (*split)(void *context, const struct weft_forest_split *split);
    void *context;
};

/* `upwards`: where a switch has tiers, capacity is shared out over what is above it too, as far as
 * that is joined to it; else traffic stays low unless cuts need it above. Errors: UNSUPPORTED (as
 * weft_forest_pack), OUT_OF_MEMORY, INTERNAL (a switch that could not be
 * removed; cannot be). Free with weft_forest_split_free, also after a failure. */
weft_status weft_forest_split_switches(const struct weft_network *network,
                                       const struct weft_forest_request *request, bool upwards,
                                       const struct weft_forest_observer *observer,
                                       struct weft_forest_split *split, struct weft_error *error);
void weft_forest_split_free(struct weft_forest_split *split);

/* Trees over arcs between terminals. */
struct weft_forest_plain_tree {
    int root;
    int64_t weight;
};
struct weft_forest_packing {
    int num_terminals;
    int num_trees, room;
    int depth; // of the deepest
    struct weft_forest_plain_tree *trees;
    int *edges; // (num_trees, num_terminals - 1, 2) from and to, parents before children
};

/* Errors: OUT_OF_MEMORY, INTERNAL (a tree that could not grow; cannot be). Free with
 * weft_forest_packing_free, also after a failure. */
weft_status weft_forest_pack_trees(const struct weft_forest_split *split, const int64_t *weight,
                                   struct weft_forest_packing *packing, struct weft_error *error);
void weft_forest_packing_free(struct weft_forest_packing *packing);

#endif
