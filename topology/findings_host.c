/*
 * SPDX-License-Identifier: Apache-2.0
 * Finders: what the machine is, what of it is hidden, and what cannot work at all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/cables.h"
#include "topology/findings_private.h"
#include "topology/symmetry.h"

static bool holds_ranks(const struct weft_topology *t, int node)
{
    return weft_node_kinds[t->nodes[node].kind].can_hold_ranks > 0;
}

/* ---- errors ---- */

/* There are hosts, and whoever described them did not look inside: a scheduler's file, say. */
static bool are_hosts_closed(const struct weft_topology *t)
{
    int hosts = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        hosts += t->nodes[i].kind == WEFT_NODE_HOST;
        if (t->nodes[i].kind != WEFT_NODE_HOST && t->nodes[i].kind != WEFT_NODE_NIC)
            return false;
    }
    return hosts > 1;
}

weft_status weft_find_no_place(struct weft_search *s)
{
    for (int i = 0; i < s->topology->num_nodes; i++)
        if (holds_ranks(s->topology, i))
            return WEFT_OK;
    if (are_hosts_closed(s->topology))
        return weft_search_say(s, WEFT_SEVERITY_NOTE, 0,
                               "Hosts alone: what is inside them is not known, so nothing here can "
                               "hold a rank.");
    for (int i = 0; i < s->topology->num_nodes; i++)
        if (weft_node_is_fabric_switch(s->topology, i)) // a dump of a subnet is no broken machine
            return weft_search_say(s, WEFT_SEVERITY_NOTE, 0,
                                   "A fabric alone: what is inside its hosts is not known, so "
                                   "nothing here can hold a rank.");
    return weft_search_say(s, WEFT_SEVERITY_ERROR, 0,
                           "Nothing here can hold a rank: no GPU, core or NUMA domain.");
}

/* Only islands on which ranks could live count: an unplugged switch parts nobody. */
weft_status weft_find_islands(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int num_islands, inhabited = 0, first = -1, second = -1;
    int *island_of = malloc(((size_t)t->num_nodes + 1) * 2 * sizeof *island_of);
    if (!island_of)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    weft_status status = weft_topology_islands(t, island_of, &num_islands, s->error);
    int *seen = island_of + t->num_nodes + 1;
    memset(seen, 0, (size_t)t->num_nodes * sizeof *seen);
    for (int i = 0; status == WEFT_OK && i < t->num_nodes; i++)
        if (holds_ranks(t, i) && !seen[island_of[i]]++) {
            first = inhabited == 0 ? i : first;
            second = inhabited == 1 ? i : second;
            inhabited++;
        }
    free(island_of);
    if (status == WEFT_OK && inhabited > 1)
        status = weft_search_say(
            s, WEFT_SEVERITY_ERROR, 0,
            "The graph falls into %d islands that no link joins (%.100s is in one, %.100s in "
            "another): ranks on different islands cannot reach each other.",
            inhabited, t->nodes[first].name, t->nodes[second].name);
    return status;
}

/* ---- what is hidden ---- */

weft_status weft_find_virtual_machine(struct weft_search *s)
{
    static const char *const signs[] = {"KVM",       "QEMU",       "VMware", "Virtual Machine",
                                        "HVM domU",  "Xen",        "Bochs",  "Google Compute",
                                        "OpenStack", "Firecracker"};
    const struct weft_topology *t = s->topology;
    int count = 0, first = -1;
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_HOST)
            continue;
        const char *texts[] = {weft_topology_text(t, i, "vendor"),
                               weft_topology_text(t, i, "product")};
        bool is_virtual = weft_topology_number(t, i, "virtio_devices", 0) > 0;
        for (size_t j = 0; j < sizeof signs / sizeof signs[0]; j++)
            for (int k = 0; k < 2; k++)
                is_virtual |= texts[k] && strstr(texts[k], signs[j]);
        if (is_virtual && count++ == 0)
            first = i;
    }
    if (count == 0)
        return WEFT_OK;
    bool matters = weft_topology_count(t, WEFT_NODE_GPU) > 0;
    return weft_search_say(
        s, matters ? WEFT_SEVERITY_WARNING : WEFT_SEVERITY_NOTE, 0,
        "%.100s is a virtual machine%s: the hypervisor decides which caches, NUMA domains and "
        "PCIe links are visible, and true link speeds may be hidden.",
        t->nodes[first].name, count > 1 ? ", and so are others" : "");
}

/* A PCIe root on the host itself that is joined to every NUMA domain: nothing better was known. */
weft_status weft_find_unknown_locality(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    size_t n = (size_t)t->num_nodes + 1;
    int count = 0, first = -1, *num_numa = calloc(2 * n, sizeof *num_numa); // of each host
    if (!num_numa)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    int *num_joints = num_numa + n; // of each PCIe root
    for (int i = 0; i < t->num_nodes; i++) {
        int host = weft_topology_ancestor(t, i, WEFT_NODE_HOST);
        if (t->nodes[i].kind == WEFT_NODE_NUMA && host >= 0)
            num_numa[host]++;
    }
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_ROOT) {
            num_joints[t->links[i].from]++;
            num_joints[t->links[i].to]++;
        }
    for (int i = 0; i < t->num_nodes; i++) {
        int host = t->nodes[i].parent;
        if (t->nodes[i].kind == WEFT_NODE_PCIE_ROOT && host >= 0 && num_numa[host] > 1 &&
            num_joints[i] >= num_numa[host] && count++ == 0)
            first = i;
    }
    free(num_numa);
    if (count == 0)
        return WEFT_OK;
    return weft_search_say(
        s, WEFT_SEVERITY_WARNING, 0,
        "%d PCIe root%s (first: %.100s) %s tied to no NUMA domain (\"NUMA -1\"): the machine "
        "hides which socket the devices below belong to.",
        count, count > 1 ? "s" : "", t->nodes[first].name, count > 1 ? "are" : "is");
}

weft_status weft_find_unknown_speed(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int count = 0, first = -1;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_PCIE &&
            weft_figure_best(&t->links[i].bandwidth).value < 0 && count++ == 0)
            first = i;
    if (count == 0)
        return WEFT_OK;
    const struct weft_link *link = &t->links[first];
    return weft_search_say(
        s, WEFT_SEVERITY_NOTE, 0,
        "%d PCIe link%s no known speed (first: %.80s to %.80s); generation 3, 16 lanes are "
        "assumed until it is measured.",
        count, count > 1 ? "s have" : " has", t->nodes[link->from].name, t->nodes[link->to].name);
}

weft_status weft_find_without_interface(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int64_t count = 0;
    for (int i = 0; i < t->num_nodes; i++)
        count += weft_topology_number(t, i, "network_functions_without_interface", 0) & INT32_MAX;
    if (count == 0)
        return WEFT_OK;
    return weft_search_say(
        s, WEFT_SEVERITY_NOTE, 0,
        "%lld network function%s no interface here (unused virtual functions, no driver, or "
        "hidden by a container) and %s left out.",
        (long long)count, count > 1 ? "s have" : " has", count > 1 ? "are" : "is");
}

weft_status weft_find_limits(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    for (int i = 0; i < t->num_nodes; i++) {
        int64_t all = weft_topology_number(t, i, "threads", -1);
        int64_t usable = weft_topology_number(t, i, "process.threads", all);
        if (t->nodes[i].kind == WEFT_NODE_HOST && usable < all)
            return weft_search_say(
                s, WEFT_SEVERITY_NOTE, 0,
                "This process may use only %lld of the %lld hardware threads of %.100s.",
                (long long)usable, (long long)all, t->nodes[i].name);
    }
    return WEFT_OK;
}

/* Where most hosts are alike, one that is not is a fault until somebody knows better. */
weft_status weft_find_different_hosts(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int num_classes, hosts = weft_topology_count(t, WEFT_NODE_HOST), first = 0;
    if (hosts < 2)
        return WEFT_OK;
    struct weft_symmetry *symmetry = NULL;
    WEFT_TRY(weft_symmetry_create(t, &symmetry, s->error));
    const struct weft_symmetry_class *classes = weft_symmetry_classes(symmetry, &num_classes);
    int others = hosts - classes[0].num_hosts;
    weft_status status = WEFT_OK;
    while (others && weft_symmetry_class_of(symmetry, first) <= 0)
        first++;
    if (others) {
        char text[200];
        weft_symmetry_explain_host(symmetry, first, classes[0].first, 3, text, sizeof text);
        bool is_rare = others < classes[0].num_hosts;
        status =
            weft_search_say(s, is_rare ? WEFT_SEVERITY_WARNING : WEFT_SEVERITY_NOTE, 0,
                            "%d of %d hosts %s from %s: %.50s is the first (against %.50s: "
                            "%s).",
                            others, hosts, others > 1 ? "differ" : "differs",
                            classes[0].num_hosts > 1 ? "the others, which are alike" : "each other",
                            t->nodes[first].name, t->nodes[classes[0].first].name, text);
    }
    weft_symmetry_destroy(&symmetry);
    return status;
}

/* One sentence, however many: a laptop lacks most vendor libraries. */
weft_status weft_find_failed_probes(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int count = 0, first = -1;
    char names[160] = "";
    size_t used = 0;
    for (int i = 0; i < t->num_probes; i++) {
        if (t->probes[i].available)
            continue;
        first = count++ == 0 ? i : first;
        if (used + 70 < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%.60s", used ? ", " : "",
                                     t->probes[i].name);
    }
    if (count == 0)
        return WEFT_OK;
    if (count == 1)
        return weft_search_say(s, WEFT_SEVERITY_NOTE, 0, "The %.60s probe did not run: %.250s.",
                               t->probes[first].name, t->probes[first].reason);
    return weft_search_say(s, WEFT_SEVERITY_NOTE, 0,
                           "%d probes did not run (%s), so what they see is missing; the reasons "
                           "are among the sources.",
                           count, names);
}
