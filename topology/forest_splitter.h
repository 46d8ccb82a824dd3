/*
 * SPDX-License-Identifier: Apache-2.0
 * The work in hand while switches are removed: forest_split.c takes pairs of arcs apart as far as
 * cuts allow, forest_spread.c proposes which. Private to these two.
 */
#ifndef WEFT_TOPOLOGY_FOREST_SPLITTER_H
#define WEFT_TOPOLOGY_FOREST_SPLITTER_H

#include "topology/forest_private.h"

struct weft_forest_proposal {
    int u, t;
    int64_t amount;
    int64_t taken; // what the cuts known so far allow
};

// A pair of switch `w` that was split in hope.
struct weft_forest_step {
    int w;
    struct weft_forest_proposal pair;
};

struct weft_forest_share {
    int box, turn;
    int64_t amount, remainder;
};

struct weft_forest_splitter {
    const struct weft_network *network;
    const struct weft_forest_request *request;
    bool upwards;
    const struct weft_forest_observer *observer;
    struct weft_forest_split *split;
    int n;
    int64_t total;             // weight
    int64_t flows;             // asked so far
    struct weft_maxflow *flow; // backward: from a terminal to the common source, vertex n
    int *arc;                  // (n, n) of `flow`; -1: none yet
    int *root_arc;             // (num_terminals)
    struct weft_forest_cuts cuts;
    bool is_certain;                  // whatever is split at the switch at work, no cut gets worse
    int64_t *plain;                   // (n, n) capacities once nothing but real switches is left
    int64_t *box_out;                 // (n) what can leave to each box
    struct weft_forest_share *shares; // (n) of one neighbour, scratch of spreading
    int *chosen;                      // (n) boxes, scratch of spreading
    int *order;                       // (n, 2) switches beside each switch, and itself
    bool *is_at_limit;                // (n, n) pairs of the switch at work
    int64_t *in, *out;  // (n) what is left between the switch at work and its neighbours
    int *box, *members; // (n) scratch of spreading
    int *box_first;     // (n + 1)
    struct weft_forest_proposal *proposals;
    int num_proposals, room;
    bool is_hopeful, is_stuck;
    struct weft_forest_step *steps; // since the last look
    int num_steps, room_for_steps;
};

static inline int64_t *weft_forest_capacity(struct weft_forest_split *split, int from, int to)
{
    return &split->capacity[(size_t)from * (size_t)split->num_vertices + (size_t)to];
}

/* Who is near whom at the switch at work: terminals that arcs stronger than all at that switch join
 * are in one box (splitter->box). */
void weft_forest_find_boxes(struct weft_forest_splitter *s);
/* Adds proposals; splitter->in and out are what is left of the switch. An even spread over boxes:
 */
weft_status weft_forest_spread(struct weft_forest_splitter *s, struct weft_error *error);
/* All that is left: pairs of different boxes, then of one box, then ways back. */
weft_status weft_forest_propose_rest(struct weft_forest_splitter *s, struct weft_error *error);

#endif
