/*
 * SPDX-License-Identifier: Apache-2.0
 * What graph.c, check.c, order.c and slurm_tree.c share and nobody else may use.
 */
#ifndef WEFT_TOPOLOGY_GRAPH_PRIVATE_H
#define WEFT_TOPOLOGY_GRAPH_PRIVATE_H

#include <stddef.h>

#include "topology/graph.h"

/* Rebuilds the table of names with `num_slots` (a power of two; 0: as many as now). */
weft_status weft_topology_reindex(struct weft_topology *topology, size_t num_slots,
                                  struct weft_error *error);
/* One link of a graph of `num_nodes` nodes. */
weft_status weft_link_check(const struct weft_link *link, int num_nodes, struct weft_error *error);

/* strcmp with runs of digits compared as numbers: gpu2 before gpu10. Total: equal only if same. */
int weft_name_compare(const char *a, const char *b);

#endif
