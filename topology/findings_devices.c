/*
 * SPDX-License-Identifier: Apache-2.0
 * Finders: GPUs and RDMA devices that their drivers say are sick.
 */
#include <stdio.h>
#include <string.h>

#include "topology/findings_private.h"

weft_status weft_find_faulty_gpus(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int count = 0, first = -1;
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_GPU && weft_topology_text(t, i, "fault") && count++ == 0)
            first = i;
    if (count == 0)
        return WEFT_OK;
    return weft_search_say(s, WEFT_SEVERITY_ERROR, 0, "%d GPU%s not answer: %.100s, %.100s.", count,
                           count > 1 ? "s do" : " does", t->nodes[first].name,
                           weft_topology_text(t, first, "fault"));
}

/* Ports of a device, by state; those of no RDMA device: none. */
static void count_ports(const struct weft_topology *t, int node, int *active, int *down)
{
    *active = *down = 0;
    if (t->nodes[node].kind != WEFT_NODE_NIC)
        return;
    for (const struct weft_attribute *a = t->nodes[node].attributes; a; a = a->next) {
        if (!a->text || strncmp(a->key, "process.port_state", 18) != 0)
            continue;
        bool is_active = strncmp(a->text, "active", 6) == 0;
        *active += is_active;
        *down += !is_active;
    }
}

/* A second port without a cable is usual; a device without any, beside others that have one, may be
 * the missing rail. */
weft_status weft_find_down_ports(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int ports = 0, devices = 0, working = 0, first = -1, active, down;
    for (int i = 0; i < t->num_nodes; i++) {
        count_ports(t, i, &active, &down);
        ports += down;
        working += active > 0;
        if (down > 0 && active == 0)
            devices++;
        if (down > 0 && (first < 0 || (active == 0 && devices == 1)))
            first = i;
    }
    if (ports == 0)
        return WEFT_OK;
    char whole[80] = "";
    if (devices > 0)
        snprintf(whole, sizeof whole, ", all ports of %d device%s", devices,
                 devices > 1 ? "s" : "");
    return weft_search_say(s,
                           devices > 0 && working > 0 ? WEFT_SEVERITY_WARNING : WEFT_SEVERITY_NOTE,
                           0, "%d RDMA port%s not active%s (first: %.100s).", ports,
                           ports > 1 ? "s are" : " is", whole, t->nodes[first].name);
}
