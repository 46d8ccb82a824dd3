/*
 * SPDX-License-Identifier: Apache-2.0
 * What programs do to the links of a topology: every message goes the way that weft_topology_route
 * finds.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_TRAFFIC_H
#define WEFT_COLLECTIVES_PLANNER_TRAFFIC_H

#include "collectives/program/program.h"
#include "topology/graph.h"

/* One rank after another is added. */
struct weft_traffic;
/* The topology is borrowed. NULL without memory. */
struct weft_traffic *weft_traffic_create(const struct weft_topology *topology);
void weft_traffic_destroy(struct weft_traffic **traffic);
/* The messages that a rank sends; nodes[r]: where rank r is, always there; the logical vector has
 * `bytes`. Errors: NOT_FOUND (no way), OUT_OF_MEMORY. */
weft_status weft_traffic_add(struct weft_traffic *traffic, const struct weft_program *program,
                             const int *nodes, int64_t bytes, struct weft_error *error);
/* Bytes over each link, in the busier direction: num_links of them, borrowed. */
const int64_t *weft_traffic_bytes(struct weft_traffic *traffic);

#endif
