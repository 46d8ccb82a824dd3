/*
 * SPDX-License-Identifier: Apache-2.0
 * What the files of networks share.
 */
#ifndef WEFT_TOPOLOGY_NETWORK_PRIVATE_H
#define WEFT_TOPOLOGY_NETWORK_PRIVATE_H

#include "topology/network.h"

/* The most that sums of capacities may reach. */
#define WEFT_NETWORK_LIMIT ((int64_t)1 << 58)

/* Sorts the arcs, joins parallel ones, and fills `first`. */
void weft_network_settle(struct weft_network *network);
/* The reductions of network.h. Errors: OUT_OF_MEMORY. */
weft_status weft_network_reduce(struct weft_network *network, struct weft_error *error);

#endif
