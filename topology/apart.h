/*
 * SPDX-License-Identifier: Apache-2.0
 * Discovery in a process of its own. A sick driver may hold a thread in the kernel for ever, and a
 * process with such a thread cannot even exit; so neither this process nor a thread of it asks
 * drivers. Nor does it take up an environment that is meant for hwloc alone, or what a strange file
 * tree makes hwloc do. What the other process found comes back as JSON through a pipe.
 */
#ifndef WEFT_TOPOLOGY_APART_H
#define WEFT_TOPOLOGY_APART_H

#include <stdint.h>

#include "topology/graph.h"

typedef weft_status weft_discover(const void *context, struct weft_topology *topology,
                                  struct weft_error *error);

/* Calls `discover` on a copy of *topology in another process and puts what it made into *topology;
 * on failure that is unchanged. Errors: those of `discover`; TIMEOUT when `timeout_ns` passed
 * (`who` begins the sentence: "NVML"); SYSTEM when the process died or could not be made.
 *
 * The other process holds none of this one's files but those of NVIDIA's driver, ends by itself at
 * the deadline, and is no child of this one, so that it leaves no zombie. SIGCHLD is raised once.
 */
weft_status weft_probe_apart(const char *who, int64_t timeout_ns, weft_discover *discover,
                             const void *context, struct weft_topology *topology,
                             struct weft_error *error);

#endif
