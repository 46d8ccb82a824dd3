/*
 * SPDX-License-Identifier: Apache-2.0
 * What was measured between RDMA devices, as facts about each of them: every way is limited by the
 * slower end, so the fastest way of a device says what it can do itself.
 */
#include <string.h>

#include "topology/measurements.h"

static const char *const what = "verbs-device";
static const char *const key = "process.measured_mbps"; // changes while the machine stays the same

static const char *device_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

static bool is_between_devices(const struct weft_measurement *entry)
{
    return strcmp(entry->what, what) == 0 && entry->from[0] && entry->num_points > 0 &&
           weft_measurement_is_believed(entry);
}

const char *weft_measurements_rdma_device(const struct weft_measurements *m, int index)
{
    int count = 0;
    for (int i = 0; i < 2 * m->num_entries; i++) {
        const struct weft_measurement *entry = &m->entries[i / 2];
        const char *device = device_of(i % 2 ? entry->to : entry->from);
        bool is_new = is_between_devices(entry);
        for (int k = 0; k < i && is_new; k++) {
            const struct weft_measurement *other = &m->entries[k / 2];
            is_new = !is_between_devices(other) ||
                     strcmp(device_of(k % 2 ? other->to : other->from), device) != 0;
        }
        if (is_new && count++ == index)
            return device;
    }
    return NULL;
}

int64_t weft_measurements_rdma_bandwidth(const struct weft_measurements *m, const char *device)
{
    int64_t sends = -1, receives = -1, loops = -1;
    for (int i = 0; i < m->num_entries; i++) {
        const struct weft_measurement *entry = &m->entries[i];
        if (!is_between_devices(entry))
            continue;
        bool is_from = strcmp(device_of(entry->from), device) == 0;
        bool is_to = strcmp(device_of(entry->to), device) == 0;
        int64_t bandwidth = weft_measurement_bandwidth(entry);
        int64_t *best = is_from && is_to ? &loops : is_from ? &sends : is_to ? &receives : NULL;
        if (best && bandwidth > *best)
            *best = bandwidth;
    }
    if (sends < 0 && receives < 0) // its own loop, where it reaches no other
        return loops;
    return sends < 0 || (receives >= 0 && receives < sends) ? receives : sends;
}

const struct weft_measurement *weft_measurements_rdma_best(const struct weft_measurements *m)
{
    const struct weft_measurement *best = NULL;
    int64_t most[2] = {0, 0}; // bandwidth between devices, of loops
    for (int i = 0; i < m->num_entries; i++) {
        const struct weft_measurement *entry = &m->entries[i];
        int64_t *of = &most[strcmp(entry->from, entry->to) == 0];
        if (is_between_devices(entry) && weft_measurement_bandwidth(entry) > *of)
            *of = weft_measurement_bandwidth(entry);
    }
    bool is_loop = most[0] == 0;
    for (int i = 0; i < m->num_entries; i++) {
        const struct weft_measurement *entry = &m->entries[i];
        if (!is_between_devices(entry) || (strcmp(entry->from, entry->to) == 0) != is_loop ||
            weft_measurement_bandwidth(entry) < most[is_loop] / 2)
            continue;
        if (!best || entry->curve[0].time_ps < best->curve[0].time_ps)
            best = entry;
    }
    return best;
}

/* The only cable of a NIC; -1: there is none, or several. */
static int cable_of(const struct weft_topology *t, int nic)
{
    int found = -1;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (link->kind != WEFT_LINK_NETWORK || (link->from != nic && link->to != nic))
            continue;
        if (found >= 0)
            return -1;
        found = i;
    }
    return found;
}

weft_status weft_measurements_apply_rdma(struct weft_topology *t, const struct weft_measurements *m,
                                         int *applied, struct weft_error *error)
{
    const char *device;
    for (int i = 0; (device = weft_measurements_rdma_device(m, i)); i++) {
        int nic = weft_topology_find_text(t, WEFT_NODE_NIC, "rdma_device", device);
        int64_t bandwidth = weft_measurements_rdma_bandwidth(m, device);
        if (nic < 0)
            continue;
        WEFT_TRY(
            weft_topology_set_number(t, nic, key, bandwidth / 125000, WEFT_SOURCE_MEASURED, error));
        int cable = cable_of(t, nic);
        if (cable < 0 || t->links[cable].bandwidth.measured.value >= 0)
            continue;
        t->links[cable].bandwidth.measured =
            (struct weft_quantity){bandwidth, WEFT_SOURCE_MEASURED};
        ++*applied;
    }
    return WEFT_OK;
}
