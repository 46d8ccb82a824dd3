/*
 * SPDX-License-Identifier: Apache-2.0
 * A topology in a few numbers, as one JSON object for scripts. Its keys are stable; weft-topo(1)
 * says what each means.
 */
#ifndef WEFT_TOPOLOGY_SUMMARY_H
#define WEFT_TOPOLOGY_SUMMARY_H

#include <stdio.h>

#include "topology/graph.h"

enum { WEFT_SUMMARY_MAX_ISLANDS = 64, WEFT_SUMMARY_MAX_ISLAND_GPUS = 1024 };

struct weft_fabric_counts {
    int leaf, spine, core, other; // switches by tier; other: tier not known
    int channel_adapters;         // NICs with a network link or a GUID, and aggregation nodes
    int network_links;            // cables
};

/* Errors: OUT_OF_MEMORY. */
weft_status weft_topology_count_fabric(const struct weft_topology *topology,
                                       struct weft_fabric_counts *counts, struct weft_error *error);
/* Errors: OUT_OF_MEMORY, SYSTEM (the stream failed). */
weft_status weft_topology_summary_json(const struct weft_topology *topology, FILE *stream,
                                       struct weft_error *error);

#endif
