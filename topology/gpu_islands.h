/*
 * SPDX-License-Identifier: Apache-2.0
 * Groups of GPUs that NVLink or XGMI joins: directly, through NVSwitches, or because their drivers
 * name the same NVLink domain (the switches of a rack are visible to none of its hosts).
 */
#ifndef WEFT_TOPOLOGY_GPU_ISLANDS_H
#define WEFT_TOPOLOGY_GPU_ISLANDS_H

#include "topology/graph.h"

/* island_of_node (num_nodes entries): the island of each GPU, -1 for every other node and for GPUs
 * on hosts where no GPU has such a link. A GPU without one is an island of its own where another
 * GPU of its host and model has some. Islands are numbered by their first GPU. *num_islands is 0
 * where the graph has no such link. Errors: OUT_OF_MEMORY. */
weft_status weft_topology_gpu_islands(const struct weft_topology *topology, int *island_of_node,
                                      int *num_islands, struct weft_error *error);

#endif
