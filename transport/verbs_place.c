/*
 * SPDX-License-Identifier: Apache-2.0
 * See verbs_place.h. All of it comes from sysfs: what is not there is unknown, never an error.
 */
#include "transport/verbs_place.h"

#include <stdlib.h>

#include "base/rdma_sysfs.h"

/* The next range of a list like "0-3,8"; false: its end, or nonsense. */
static bool next_range(const char **list, long *first, long *last)
{
    char *end;
    *first = strtol(*list, &end, 10);
    if (end == *list || *first < 0)
        return false;
    *last = *first;
    if (*end == '-') {
        const char *second = end + 1;
        *last = strtol(second, &end, 10);
        if (end == second || *last < *first)
            return false;
    }
    *list = *end == ',' ? end + 1 : end;
    return true;
}

static bool has_core_of(const char *list, const cpu_set_t *cores)
{
    for (long first, last; next_range(&list, &first, &last);)
        for (long core = first; core <= last && core < CPU_SETSIZE; core++)
            if (CPU_ISSET((size_t)core, cores))
                return true;
    return false;
}

void weft_numa_read(const struct weft_sysfs *files, const cpu_set_t *cores, struct weft_numa *numa)
{
    char text[4096];
    const char *list = text;
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    bool is_known = cores || sched_getaffinity(0, sizeof allowed, &allowed) == 0;
    *numa = (struct weft_numa){0};
    weft_sysfs_text(files, text, sizeof text, "sys/devices/system/node/online");
    for (long first, last; next_range(&list, &first, &last);)
        for (long node = first; node <= last && numa->num_nodes < WEFT_MAX_NUMA_NODES; node++)
            numa->nodes[numa->num_nodes++] = (int)node;
    for (int i = 0; i < numa->num_nodes; i++) {
        weft_sysfs_text(files, text, sizeof text, "sys/devices/system/node/node%d/cpulist",
                        numa->nodes[i]);
        numa->is_own[i] = !is_known || has_core_of(text, cores ? cores : &allowed);
    }
}

int weft_numa_distance(const struct weft_sysfs *files, const struct weft_numa *numa, int node)
{
    char text[4096];
    const char *row = text;
    int least = WEFT_VERBS_DISTANCE_FAR;
    if (numa->num_nodes <= 1)
        return WEFT_VERBS_DISTANCE_NEAR;
    if (node < 0)
        return least;
    weft_sysfs_text(files, text, sizeof text, "sys/devices/system/node/node%d/distance", node);
    for (int i = 0; i < numa->num_nodes; i++) {
        char *end;
        long distance = strtol(row, &end, 10);
        if (end == row)
            break;
        row = end;
        if (numa->is_own[i] && distance >= WEFT_VERBS_DISTANCE_NEAR && distance < least)
            least = (int)distance;
    }
    return least;
}

int weft_verbs_node(const struct weft_sysfs *files, const char *device)
{
    char interface[32];
    const char *class = "infiniband", *name = device;
    if (!weft_sysfs_exists(files, "sys/class/infiniband/%s/device", device)) {
        if (!weft_rdma_interface(files, device, interface, sizeof interface))
            return -1;
        class = "net";
        name = interface;
    }
    return (int)weft_sysfs_number(files, -1, "sys/class/%s/%s/device/numa_node", class, name);
}
