/*
 * SPDX-License-Identifier: Apache-2.0
 * Where an RDMA device is, and how far from the cores of this process, so that traffic leaves by a
 * near one.
 */
#ifndef WEFT_TRANSPORT_VERBS_PLACE_H
#define WEFT_TRANSPORT_VERBS_PLACE_H

#include <sched.h>

#include "base/sysfs.h"

enum {
    WEFT_MAX_NUMA_NODES = 256,
    WEFT_VERBS_DISTANCE_NEAR = 10, // as firmware says it: the own domain
    WEFT_VERBS_DISTANCE_FAR = 255  // nothing is known about where the device is
};

/* The NUMA domains of this machine, and in which of them this process runs. */
struct weft_numa {
    int num_nodes; // 0: nothing is known
    int nodes[WEFT_MAX_NUMA_NODES];
    bool is_own[WEFT_MAX_NUMA_NODES];
};

/* `cores` NULL: where the system lets this process run. */
void weft_numa_read(const struct weft_sysfs *files, const cpu_set_t *cores, struct weft_numa *numa);
/* From the nearest of the own domains to the domain `node` (-1: unknown). */
int weft_numa_distance(const struct weft_sysfs *files, const struct weft_numa *numa, int node);

/* The NUMA domain of an RDMA device; -1: unknown. A software device is where its interface is. */
int weft_verbs_node(const struct weft_sysfs *files, const char *device);

#endif
