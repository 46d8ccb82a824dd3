/*
 * SPDX-License-Identifier: Apache-2.0
 * Which places of a topology hold ranks, as `weft plan --ranks` says it: a number ("8": the first
 * eight places), or a list of places in the order of the ranks ("0-7,16,9").
 */
#ifndef WEFT_TOOLS_PLAN_RANKS_H
#define WEFT_TOOLS_PLAN_RANKS_H

#include "collectives/planner/layout_topology.h"

enum { WEFT_PLAN_RANKS_LIMIT = 1 << 20 };

struct weft_plan_ranks {
    int num_ranks;
    int *places; // (ranks), in the canonical order of places; NULL: 0, 1, 2, ...
};

/* Errors: INVALID_ARGUMENT (no such form, a place twice, too many), OUT_OF_MEMORY. Free with
 * weft_plan_ranks_free. */
weft_status weft_plan_ranks_parse(const char *text, struct weft_plan_ranks *ranks,
                                  struct weft_error *error);
void weft_plan_ranks_free(struct weft_plan_ranks *ranks);
/* The node of each rank, to be freed. Errors: INVALID_ARGUMENT (a listed place that does not
 * exist), NOT_FOUND (no place at all), OUT_OF_MEMORY. */
weft_status weft_plan_ranks_nodes(const struct weft_plan_ranks *ranks,
                                  const struct weft_topology *topology, int **nodes,
                                  struct weft_error *error);
/* Errors: as weft_layout_from_nodes; INVALID_ARGUMENT (a listed place that does not exist). */
weft_status weft_plan_ranks_layout(const struct weft_plan_ranks *ranks,
                                   const struct weft_topology *topology,
                                   struct weft_layout **layout, struct weft_layout_origin *origin,
                                   struct weft_error *error);
/* How many places a topology has. */
int weft_plan_ranks_places(const struct weft_topology *topology);

#endif
