/*
 * SPDX-License-Identifier: Apache-2.0
 * A look at the ground before a layout is drawn: into which groups the graph puts ranks, from near
 * to far, and what the ways between them are. What is kept of it is decided in layout_topology.c.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_SURVEY_H
#define WEFT_COLLECTIVES_PLANNER_SURVEY_H

#include "topology/adjacency.h"
#include "topology/graph.h"
#include "topology/route.h"

enum { WEFT_SURVEY_LEVELS = 10 };

/* The ways between ranks whose smallest common group is of one level, and which have the same place
 * in their groups of the level below: who talks across groups talks to its like there. */
struct weft_survey_way {
    int num_pairs;      // that were looked at; 0: the level joins nobody
    int64_t latency_ps; // the longest
    int from, to;       // ranks with the narrowest way
    struct weft_route narrowest;
    int64_t alone_ps_per_mib; // by all ways of least latency together; 0: no link
    int64_t leave_ps_per_mib; // what a rank gets of what can leave its group of the level below
    int64_t crowd_ps_per_mib; // while all ranks of a group of the level below leave it at once
};

struct weft_survey_level {
    const char *groups; // what they are, in words
    int *of_node;       // (nodes) a name of the group; a node in no group is one of its own
    int num_groups;     // that hold ranks
    int *size;          // (nodes) ranks of the group of that name
    int *place;         // (ranks) among the ranks of its group
    struct weft_survey_way way;
};

/* Ways between GPUs, the first kind that there is: over NVLink and XGMI alone; over these from rank
 * to rank; over all links; over all links and through ranks. */
enum weft_survey_router {
    WEFT_SURVEY_DIRECT,
    WEFT_SURVEY_DIRECT_PASSING,
    WEFT_SURVEY_ANY,
    WEFT_SURVEY_ANY_PASSING,
    WEFT_SURVEY_ROUTERS
};

struct weft_survey {
    const struct weft_topology *topology;
    int num_ranks;
    const int *nodes; // (ranks)
    int num_levels;   // the last one holds all; the groups of each lie within those of the next
    struct weft_survey_level levels[WEFT_SURVEY_LEVELS];
    struct weft_adjacency links;
    struct weft_router *routers[WEFT_SURVEY_ROUTERS]; // NULL: there is none, or no need
    bool *has_rank;                                   // (nodes)
};

/* Groups and ways. The topology and `nodes` are borrowed; every node is in range. Free it also
 * after a failure. Errors: NOT_FOUND (two ranks with no way between them), OUT_OF_MEMORY. */
weft_status weft_survey_make(struct weft_survey *survey, const struct weft_topology *topology,
                             const int *nodes, int num_ranks, struct weft_error *error);
/* Routers alone, for those who only ask for ways. */
weft_status weft_survey_open(struct weft_survey *survey, const struct weft_topology *topology,
                             const int *nodes, int num_ranks, struct weft_error *error);
void weft_survey_free(struct weft_survey *survey);
void weft_survey_level_free(struct weft_survey_level *level);
/* Routes from node `from` by the first router that leads to `to`, final as far as `to`. */
const struct weft_route *weft_survey_routes(const struct weft_survey *survey, int from, int to);
/* The links of the way between two nodes, in order; `links` has room for all of the topology's.
 * Errors: NOT_FOUND, OUT_OF_MEMORY. */
weft_status weft_survey_links(struct weft_survey *survey, int from, int to, int *links,
                              int *num_links, struct weft_error *error);
/* Whether such routes lead through ranks. */
bool weft_survey_passes(const struct weft_survey *survey, const struct weft_route *routes);

/* ---- parts of it ---- */

/* survey_groups.c: fills levels[].groups, of_node, num_groups. */
weft_status weft_survey_find_groups(struct weft_survey *survey, struct weft_error *error);
/* survey_crowd.c: levels[level].way.leave_ps_per_mib, for level >= 1. */
weft_status weft_survey_price_crowd(struct weft_survey *survey, int level,
                                    struct weft_error *error);

/* survey_load.c: traffic spread over links. */
struct weft_survey_load {
    const struct weft_survey *survey;
    bool passes_ranks; // the flow that is being added
    int64_t *on_link;  // (2 * links) per direction, of WEFT_SURVEY_UNIT per flow
    int *touched;      // (2 * links) those that are not 0
    int num_touched;
    int *queue;       // (nodes)
    int64_t *through; // (nodes) capacity onwards; 0: not on the way
    int64_t *amount;  // (nodes)
};
enum { WEFT_SURVEY_UNIT = 1 << 20 };
/* Errors: OUT_OF_MEMORY. Free it also after a failure. */
weft_status weft_survey_load_create(const struct weft_survey *survey, struct weft_survey_load *load,
                                    struct weft_error *error);
void weft_survey_load_free(struct weft_survey_load *load);
void weft_survey_load_clear(struct weft_survey_load *load);
/* A flow of `weight` between two nodes over all ways of least latency, as wide as each of them is.
 * `routes` are from `from`, valid as far as `to`. */
void weft_survey_load_add(struct weft_survey_load *load, const struct weft_route *routes, int from,
                          int to, int weight);
/* What the narrowest link that `flow` uses takes for a MiB of weight 1; `flow` is not added. */
int64_t weft_survey_load_slowest(const struct weft_survey_load *load);

#endif
