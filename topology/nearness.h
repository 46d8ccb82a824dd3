/*
 * SPDX-License-Identifier: Apache-2.0
 * How far NICs are from where data lies: what decides by which of them it leaves.
 */
#ifndef WEFT_TOPOLOGY_NEARNESS_H
#define WEFT_TOPOLOGY_NEARNESS_H

#include "topology/graph.h"

enum { WEFT_NEAREST = 10, WEFT_FARTHEST = 1 << 20 };

/* distances[i]: from data at node `from` to nics[i], on the scale of NUMA distances; WEFT_NEAREST
 * is the nearest that there can be, WEFT_FARTHEST: no way inside the host. From memory (a NUMA
 * domain, or a core's) only ways between NUMA domains count: however many PCIe switches are before
 * a NIC, all that comes from memory passes the root. From a device such as a GPU each link counts,
 * ways through memory more than those below one root, ways between NUMA domains most. Errors:
 * INVALID_ARGUMENT (no such node), OUT_OF_MEMORY. */
weft_status weft_nic_distances(const struct weft_topology *topology, int from, const int *nics,
                               int num_nics, int *distances, struct weft_error *error);

#endif
