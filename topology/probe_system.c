/*
 * SPDX-License-Identifier: Apache-2.0
 * The last resort: when no probe found a place for a rank, the kernel is asked for the host's name
 * and the number of processors, so that everything works on any machine.
 */
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "topology/probe.h"

enum { MAX_CORES = 1 << 16 };

static bool system_available(const char **reason)
{
    (void)reason;
    return true;
}

static weft_status system_discover(struct weft_topology *t, struct weft_error *error)
{
    for (int i = 0; i < t->num_nodes; i++)
        if (weft_node_kinds[t->nodes[i].kind].can_hold_ranks)
            return WEFT_OK;
    struct utsname system;
    const char *host_name = uname(&system) == 0 && system.nodename[0] ? system.nodename : "host";
    int host = weft_topology_find_node(t, host_name), numa;
    if (host < 0)
        WEFT_TRY(weft_topology_add_node(t, WEFT_NODE_HOST, host_name, -1, &host, error));
    char name[WEFT_TOPOLOGY_NAME_BYTES];
    snprintf(name, sizeof name, "%.200s/numa0", host_name);
    WEFT_TRY(weft_topology_add_node(t, WEFT_NODE_NUMA, name, host, &numa, error));
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page_bytes > 0)
        WEFT_TRY(weft_topology_set_number(t, numa, "memory_bytes", (int64_t)pages * page_bytes,
                                          WEFT_SOURCE_SYSFS, error));
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    for (long i = 0; i < cores && i < MAX_CORES; i++) {
        int core;
        snprintf(name, sizeof name, "%.200s/core%ld", host_name, i);
        WEFT_TRY(weft_topology_add_node(t, WEFT_NODE_CORE, name, numa, &core, error));
        struct weft_link link = weft_link_make(WEFT_LINK_MEMORY, numa, core);
        WEFT_TRY(weft_topology_add_link(t, &link, NULL, error));
    }
    return WEFT_OK;
}

const struct weft_probe weft_probe_system = {
    .name = "system",
    .phase = WEFT_PROBE_PHASE_FALLBACK,
    .available = system_available,
    .discover = system_discover,
};
