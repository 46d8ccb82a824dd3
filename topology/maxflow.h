/*
 * SPDX-License-Identifier: Apache-2.0
 * Maximum flow (Dinic) on a directed graph with integer capacities. Built once, asked many times
 * with other capacities, sources and sinks. Sums of capacities around one vertex must stay below
 * 2^62. Not thread safe; deterministic.
 */
#ifndef WEFT_TOPOLOGY_MAXFLOW_H
#define WEFT_TOPOLOGY_MAXFLOW_H

#include <stdbool.h>
#include <stdint.h>

struct weft_maxflow;

#define WEFT_MAXFLOW_UNLIMITED ((int64_t)1 << 60)

/* Vertices 0 .. num_vertices - 1, no arc yet. NULL without memory. */
struct weft_maxflow *weft_maxflow_create(int num_vertices);
void weft_maxflow_destroy(struct weft_maxflow **maxflow);
/* Adds an arc and its reverse (`backward` capacity, usually 0); returns its number, -1 without
 * memory. */
int weft_maxflow_add(struct weft_maxflow *maxflow, int from, int to, int64_t capacity,
                     int64_t backward);
/* Of arc `arc`, from the next weft_maxflow_run on. */
void weft_maxflow_set(struct weft_maxflow *maxflow, int arc, int64_t capacity, int64_t backward);
/* The flow from `source` to `sink`, or `limit` as soon as it is reached. Starts from no flow. */
int64_t weft_maxflow_run(struct weft_maxflow *maxflow, int source, int sink, int64_t limit);
/* After a run that did not reach its limit: whether `vertex` is on the source's side of the
 * smallest minimum cut. */
bool weft_maxflow_is_on_source_side(const struct weft_maxflow *maxflow, int vertex);
/* After a run: what flows through arc `arc` (negative: backward). */
int64_t weft_maxflow_on(const struct weft_maxflow *maxflow, int arc);

#endif
