/*
 * SPDX-License-Identifier: Apache-2.0
 * See ethernet.h: from the table of interfaces into the graph.
 */
#include "topology/ethernet.h"

#include <stdio.h>
#include <string.h>

enum { MAX_JOINED_NUMA = 64 };

struct adding {
    struct weft_topology *topology;
    const struct weft_interface *all;
    int count, host;
    enum weft_source source;
    struct weft_error *error;
};

static bool is_kind(const struct weft_interface *interface, const char *kind)
{
    return strcmp(interface->kind, kind) == 0;
}

/* Kinds whose driver makes a rate up, or has none. What lies on a real device tells that one's. */
static bool has_real_rate(const struct weft_interface *interface)
{
    static const char *const real[] = {"", "bond", "team", "vlan", "macvlan", "ipvlan", "ipoib"};
    for (size_t i = 0; i < sizeof real / sizeof real[0]; i++)
        if (is_kind(interface, real[i]))
            return interface->rate_mbps > 0;
    return false;
}

int64_t weft_bond_rate_mbps(const struct weft_interface *all, int count, int bond)
{
    int64_t sum = 0, least = -1;
    for (int i = 0; i < count; i++) {
        if (all[i].master != all[bond].index || all[i].is_inactive_slave ||
            strcmp(all[i].state, "up") != 0)
            continue;
        if (!has_real_rate(&all[i]))
            return all[bond].rate_mbps > 0 ? all[bond].rate_mbps : -1;
        sum += all[i].rate_mbps;
        least = least < 0 || all[i].rate_mbps < least ? all[i].rate_mbps : least;
    }
    bool is_one = all[bond].bond_mode == WEFT_BOND_ACTIVE_BACKUP ||
                  all[bond].bond_mode == WEFT_BOND_BROADCAST;
    if (least < 0)
        return -1;
    return is_one ? least : sum;
}

static int64_t rate_of(const struct adding *a, int index)
{
    if (is_kind(&a->all[index], "bond"))
        return weft_bond_rate_mbps(a->all, a->count, index);
    return has_real_rate(&a->all[index]) ? a->all[index].rate_mbps : -1;
}

static const char *name_of(const struct adding *a, int index)
{
    for (int i = 0; index > 0 && i < a->count; i++)
        if (a->all[i].index == index)
            return a->all[i].name;
    return "";
}

static weft_status learn_text(struct adding *a, int node, const char *key, const char *text)
{
    if (!text[0])
        return WEFT_OK;
    return weft_topology_learn_text(a->topology, node, key, text, a->source, a->error);
}

static weft_status learn_number(struct adding *a, int node, const char *key, int64_t number)
{
    if (number < 0)
        return WEFT_OK;
    return weft_topology_learn_number(a->topology, node, key, number, a->source, a->error);
}

/* Addresses and states move, so they are no part of what a machine is. */
static weft_status set_moving(struct adding *a, int node, const char *key, const char *text)
{
    if (!text[0])
        return WEFT_OK;
    return weft_topology_set_text(a->topology, node, key, text, a->source, a->error);
}

static weft_status learn_bond(struct adding *a, int node, const struct weft_interface *bond)
{
    static const char *const modes[] = {"balance-rr", "active-backup", "balance-xor", "broadcast",
                                        "802.3ad",    "balance-tlb",   "balance-alb"};
    char slaves[WEFT_TOPOLOGY_NAME_BYTES] = "";
    for (int i = 0; i < a->count; i++) {
        size_t used = strlen(slaves);
        if (a->all[i].master == bond->index && used + WEFT_INTERFACE_NAME_BYTES + 1 < sizeof slaves)
            snprintf(slaves + used, sizeof slaves - used, "%s%s", used ? " " : "", a->all[i].name);
    }
    WEFT_TRY(learn_text(a, node, "bond_slaves", slaves));
    if (bond->bond_mode >= 0 && bond->bond_mode < (int)(sizeof modes / sizeof modes[0]))
        WEFT_TRY(learn_text(a, node, "bond_mode", modes[bond->bond_mode]));
    return WEFT_OK;
}

/* A rate is what the NIC's cables run at now. Several cables share the NIC in equal parts. */
static weft_status learn_rate(struct adding *a, int node, int64_t rate_mbps)
{
    struct weft_topology *t = a->topology;
    int cables = 0;
    if (rate_mbps <= 0 || rate_mbps > INT64_C(1000000000))
        return WEFT_OK;
    WEFT_TRY(learn_number(a, node, "rate_mbps", rate_mbps));
    for (int i = 0; i < t->num_links; i++)
        cables += t->links[i].kind == WEFT_LINK_NETWORK &&
                  (t->links[i].from == node || t->links[i].to == node);
    for (int i = 0; cables == 1 && i < t->num_links; i++) {
        struct weft_link *link = &t->links[i];
        if (link->kind == WEFT_LINK_NETWORK && (link->from == node || link->to == node))
            WEFT_TRY(weft_topology_learn_quantity(t, i, "current bandwidth",
                                                  &link->bandwidth.current, rate_mbps * 125000,
                                                  a->source, a->error));
    }
    return WEFT_OK;
}

static weft_status learn_interface(struct adding *a, int node, int index)
{
    const struct weft_interface *interface = &a->all[index];
    const char *master = name_of(a, interface->master);
    WEFT_TRY(learn_text(a, node, "interface_kind", interface->kind));
    WEFT_TRY(learn_text(a, node, "mac", interface->mac));
    WEFT_TRY(learn_number(a, node, "mtu", interface->mtu));
    WEFT_TRY(learn_rate(a, node, rate_of(a, index)));
    if (interface->duplex >= 0)
        WEFT_TRY(learn_text(a, node, "duplex", interface->duplex ? "full" : "half"));
    for (int i = 0; master[0] && i < a->count; i++)
        if (a->all[i].index == interface->master)
            WEFT_TRY(learn_text(a, node, is_kind(&a->all[i], "bond") ? "bond_master" : "bridge",
                                master));
    WEFT_TRY(learn_text(a, node, "lower_interface", name_of(a, interface->lower)));
    if (is_kind(interface, "bond"))
        WEFT_TRY(learn_bond(a, node, interface));
    WEFT_TRY(set_moving(a, node, "process.operstate", interface->state));
    WEFT_TRY(set_moving(a, node, "process.ipv4", interface->ipv4));
    return set_moving(a, node, "process.ipv6", interface->ipv6);
}

/* An interface on no device: nothing is known of where it is, so it is as near to one NUMA domain
 * as to another. What lies on other interfaces gets no link: their way is its way. */
static weft_status join_memory(struct adding *a, int node)
{
    struct weft_topology *t = a->topology;
    int joined = 0, num_nodes = t->num_nodes;
    for (int i = 0; i < num_nodes && joined < MAX_JOINED_NUMA; i++) {
        if (t->nodes[i].kind != WEFT_NODE_NUMA)
            continue;
        struct weft_link link = weft_link_make(WEFT_LINK_ROOT, i, node);
        WEFT_TRY(weft_topology_add_link(t, &link, NULL, a->error));
        joined++;
    }
    return WEFT_OK;
}

static weft_status add_interface(struct adding *a, int index)
{
    const struct weft_interface *interface = &a->all[index];
    char name[WEFT_TOPOLOGY_NAME_BYTES];
    int node;
    snprintf(name, sizeof name, "%.200s/%s", a->topology->nodes[a->host].name, interface->name);
    WEFT_TRY(weft_topology_add_twin(a->topology, WEFT_NODE_NIC, name, a->host, &node, a->error));
    WEFT_TRY(learn_text(a, node, "interface", interface->name));
    WEFT_TRY(learn_interface(a, node, index));
    bool lies_on_others = interface->lower > 0 || is_kind(interface, "bond");
    return lies_on_others ? WEFT_OK : join_memory(a, node);
}

static bool is_useful(const struct weft_interface *interface)
{
    if (interface->is_loopback)
        return false;
    bool has_address = interface->ipv4[0] || interface->ipv6[0];
    return is_kind(interface, "bond") || (has_address && strcmp(interface->state, "down") != 0);
}

/* Network devices of the machine whose interface is in no table: another namespace has it. */
static weft_status remark_elsewhere(struct adding *a)
{
    const struct weft_topology *t = a->topology;
    int elsewhere = 0, first = -1, num_nodes = t->num_nodes;
    for (int i = 0; i < num_nodes; i++) {
        const char *name = weft_topology_text(t, i, "interface");
        bool is_here = t->nodes[i].kind != WEFT_NODE_NIC || !name;
        for (int j = 0; j < a->count && !is_here; j++)
            is_here = strcmp(a->all[j].name, name) == 0;
        if (!is_here && elsewhere++ == 0)
            first = i;
    }
    if (elsewhere == 0)
        return WEFT_OK;
    return weft_topology_add_remark(a->topology, WEFT_REMARK_HIDDEN, a->source, first, a->error,
                                    "%d network interface%s of this machine %s not in this "
                                    "network namespace",
                                    elsewhere, elsewhere > 1 ? "s" : "",
                                    elsewhere > 1 ? "are" : "is");
}

static weft_status remark_silent(struct adding *a, int without_rate, int first)
{
    if (without_rate == 0)
        return WEFT_OK;
    return weft_topology_add_remark(a->topology, WEFT_REMARK_HIDDEN, a->source, first, a->error,
                                    "%d network interface%s whose driver tells no rate (virtual "
                                    "ones have none of their own)",
                                    without_rate, without_rate > 1 ? "s are up" : " is up");
}

weft_status weft_ethernet_add(struct weft_topology *topology, const struct weft_interface *all,
                              int count, enum weft_source source, struct weft_error *error)
{
    struct adding a = {topology, all, count, -1, source, error};
    int others = 0, without_rate = 0, first = -1;
    for (int i = 0; i < topology->num_nodes && a.host < 0; i++)
        a.host = topology->nodes[i].kind == WEFT_NODE_HOST ? i : -1;
    if (a.host < 0)
        return WEFT_OK;
    for (int i = 0; i < count; i++) {
        int node = weft_topology_find_text(topology, WEFT_NODE_NIC, "interface", all[i].name);
        bool is_silent = !all[i].is_loopback && rate_of(&a, i) < 0 && !strcmp(all[i].state, "up");
        if (node >= 0)
            WEFT_TRY(learn_interface(&a, node, i));
        else if (is_useful(&all[i]))
            WEFT_TRY(add_interface(&a, i));
        else
            others += !all[i].is_loopback;
        if (is_silent && (node >= 0 || is_useful(&all[i])) && without_rate++ == 0)
            first = node >= 0 ? node : topology->num_nodes - 1;
    }
    if (others)
        WEFT_TRY(weft_topology_set_number(topology, a.host, "process.other_interfaces", others,
                                          source, error));
    WEFT_TRY(remark_silent(&a, without_rate, first));
    return remark_elsewhere(&a);
}
