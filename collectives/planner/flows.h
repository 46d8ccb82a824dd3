/*
 * SPDX-License-Identifier: Apache-2.0
 * Flows that share arcs. Rates are max-min fair: no flow can be faster without slowing one that is
 * no faster, and none is faster than its own limit. Adding and removing flows marks the arcs they
 * use; settling computes new rates for the flows that hang together with marked arcs, and for no
 * others. Integers only: rates in bytes per second, time in picoseconds, work in byte picoseconds
 * per second (bytes * 10^12), so that progress is exact.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_FLOWS_H
#define WEFT_COLLECTIVES_PLANNER_FLOWS_H

#include "base/error.h"

enum { WEFT_ROUTE_LIMIT = 24 };
#define WEFT_RATE_LIMIT (INT64_MAX / 4)

struct weft_flows;

/* `capacity` of each arc in bytes per second, > 0; borrowed. Errors: OUT_OF_MEMORY. */
weft_status weft_flows_create(int num_arcs, const int64_t *capacity, struct weft_flows **flows,
                              struct weft_error *error);
void weft_flows_destroy(struct weft_flows **flows);

/* A flow of `bytes` > 0 over `arcs`, at most `limit` bytes per second; `owner` is what settling
 * names it by. Its number goes to *flow and may be that of one that has ended. Errors:
 * OUT_OF_MEMORY. */
weft_status weft_flows_add(struct weft_flows *flows, const int *arcs, int num_arcs, int64_t bytes,
                           int64_t limit, int64_t now_ps, uint32_t owner, int *flow,
                           struct weft_error *error);
void weft_flows_remove(struct weft_flows *flows, int flow);

/* Called for every flow whose rate has changed, with the time at which it will now end. */
typedef weft_status (*weft_flow_changed_fn)(void *argument, uint32_t owner, int64_t end_ps,
                                            struct weft_error *error);
weft_status weft_flows_settle(struct weft_flows *flows, int64_t now_ps,
                              weft_flow_changed_fn changed, void *argument,
                              struct weft_error *error);
/* Bytes per second, as last settled. */
int64_t weft_flows_rate(const struct weft_flows *flows, int flow);

#endif
