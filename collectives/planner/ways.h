/*
 * SPDX-License-Identifier: Apache-2.0
 * The arcs that messages share, and which of them a message uses. With a network in the layout,
 * those of the way of least latency, among these the widest: along links from rank to rank where
 * the layout says that ranks are linked so; else past all ranks; through ranks where there is no
 * other. Of equal ones, linked ranks have those that share least with others. Without, arcs made
 * from prices: each rank has one out and one in per level (the curve's best slope), each group one
 * up and one down where a crowd is slower than its ranks are alone. A message of level l > 0 uses
 * those of levels 1 to l, one of level 0 those of level 0.
 *
 * A fold stands for all blocks of `block` consecutive ranks by the first one: an arc then stands
 * for all arcs of its kind, and has the share of their capacity that one block would get.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_WAYS_H
#define WEFT_COLLECTIVES_PLANNER_WAYS_H

#include "collectives/planner/flows.h"
#include "collectives/planner/layout.h"

struct weft_fold {
    int block;      // ranks of a block
    int num_blocks; // 1: everything is there
    bool is_xor;    // blocks are alike when numbers of blocks are XOR-ed, else when shifted
    /* Shifted in each digit of a number: how many blocks a group of the next level has, and so on
     * outwards. 0 digits: the number is one digit. */
    int num_digits;
    int radix[WEFT_LEVELS_LIMIT];
    unsigned xor_digits; // bit d: digit d is XOR-ed after all; its radix is a power of two
};

/* The number of the block that lies to `at` as `by` lies to 0; and the other way round. */
int weft_fold_add(const struct weft_fold *fold, int at, int by);
int weft_fold_distance(const struct weft_fold *fold, int from, int to);

struct weft_ways {
    const struct weft_layout *layout;
    struct weft_fold fold;
    int num_arcs;
    int64_t *capacity; // bytes per second
    int *first_group;  // (levels) of a layout without network: the first arc of groups of a level
    uint64_t *color;   // (vertices) of a network: equal where blocks make them alike
    int *class_of_arc; // (network arcs)
    int **parents;     // (ranks) the last arc on the way to each vertex, once somebody asked
    int64_t *load;     // (network arcs) ways between ranks over each, where these are balanced
};

/* The layout is borrowed. With a fold it must be in order. Errors: OUT_OF_MEMORY. */
weft_status weft_ways_create(const struct weft_layout *layout, struct weft_fold fold,
                             struct weft_ways **ways, struct weft_error *error);
void weft_ways_destroy(struct weft_ways **ways);
struct weft_way {
    int num_arcs;
    int64_t width;      // the rate of its narrowest arc; 0: as prices say
    int64_t latency_ps; // -1: as prices say
};
/* The way between two ranks and its arcs, WEFT_ROUTE_LIMIT at most. Errors: NOT_FOUND (there is
 * none), UNSUPPORTED (too long), OUT_OF_MEMORY. */
weft_status weft_ways_route(struct weft_ways *ways, int from, int to, int *arcs,
                            struct weft_way *way, struct weft_error *error);
/* Whether arcs that one arc stands for are on equally many ways, as far as that is known. */
bool weft_ways_are_even(const struct weft_ways *ways);
/* "out of rank 3 at level 1", "up from group 2 of level 0", "vertex 3 to vertex 9". */
void weft_ways_name(const struct weft_ways *ways, int arc, char *text, size_t bytes);

#endif
