/*
 * SPDX-License-Identifier: Apache-2.0
 * Which hosts hang together on which leaves, for Slurm's tree. Slurm wants every host exactly once,
 * networks have several planes. Three steps:
 *
 * 1. Fabrics are what cables between switches connect. Fabrics with the same hosts and the same
 *    bandwidth are one class (the rails of a network without spine, say). Each host is filed under
 *    the class that gives it most, so that a storage network neither joins nor parts what the
 *    compute network does.
 * 2. Hosts on the same leaves of that class form a group: 32 hosts whose 8 NICs are on 8 rails.
 * 3. A group whose leaves are some of another group's is added to it: a host that lacks a cable
 *    is still where its neighbours are.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "topology/cables.h"
#include "topology/sets.h"
#include "topology/slurm_private.h"

enum { MAX_CANDIDATES = 64 }; // larger groups that one is compared with

void weft_slurm_fabric_fini(struct weft_slurm_fabric *f)
{
    free(f->level);
    free(f->ports);
    free(f->groups);
    free(f->group_of);
    *f = (struct weft_slurm_fabric){0};
}

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "slurm: no memory");
}

static int64_t added(int64_t a, int64_t b)
{
    return b > INT64_MAX - a ? INT64_MAX : a + b;
}

static int compare_ints(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* ---- 1. ports and fabrics ---- */

static int compare_ports(const void *a, const void *b)
{
    const struct weft_slurm_port *x = a, *y = b;
    if (x->host != y->host)
        return compare_ints(x->host, y->host);
    return x->class != y->class ? compare_ints(x->class, y->class) : compare_ints(x->on, y->on);
}

static void sort_ports(struct weft_slurm_fabric *f)
{
    if (f->num_ports)
        qsort(f->ports, (size_t)f->num_ports, sizeof *f->ports, compare_ports);
}

/* One port per host and switch. */
static void collect_ports(const struct weft_topology *t, struct weft_slurm_fabric *f)
{
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        bool is_from = weft_node_is_fabric_switch(t, link->from),
             is_to = weft_node_is_fabric_switch(t, link->to);
        if (link->kind != WEFT_LINK_NETWORK || is_from == is_to)
            continue;
        int end = is_from ? link->to : link->from;
        int host = weft_topology_ancestor(t, end, WEFT_NODE_HOST);
        f->num_unknown_ports += host < 0 && t->nodes[end].kind == WEFT_NODE_NIC;
        if (host >= 0)
            f->ports[f->num_ports++] =
                (struct weft_slurm_port){.host = host,
                                         .on = is_from ? link->from : link->to,
                                         .bandwidth = weft_link_bandwidth(link).value};
    }
    sort_ports(f);
    int kept = 0;
    for (int i = 0; i < f->num_ports; i++) {
        struct weft_slurm_port *last = &f->ports[kept - (kept > 0)];
        if (kept > 0 && last->host == f->ports[i].host && last->on == f->ports[i].on)
            last->bandwidth = added(last->bandwidth, f->ports[i].bandwidth);
        else
            f->ports[kept++] = f->ports[i];
    }
    f->num_ports = kept;
}

struct fabric {
    int root, last_host, num_hosts;
    uint64_t hosts; // hash of the set
    int64_t bandwidth;
};

static int compare_fabrics(const void *a, const void *b)
{
    const struct fabric *x = a, *y = b;
    if (x->num_hosts != y->num_hosts)
        return compare_ints(y->num_hosts, x->num_hosts);
    if (x->bandwidth != y->bandwidth)
        return compare_ints(y->bandwidth, x->bandwidth);
    if (x->hosts != y->hosts)
        return x->hosts < y->hosts ? -1 : 1;
    return compare_ints(x->root, y->root);
}

/* Sets `class` of each port. `up` holds the fabrics, `fabrics` has room for one per node. */
static void find_classes(const struct weft_topology *t, struct weft_slurm_fabric *f, int *up,
                         struct fabric *fabrics)
{
    weft_sets_init(up, t->num_nodes);
    for (int i = 0; i < t->num_nodes; i++)
        fabrics[i] = (struct fabric){.root = i, .last_host = -1};
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NETWORK &&
            weft_node_is_fabric_switch(t, t->links[i].from) &&
            weft_node_is_fabric_switch(t, t->links[i].to))
            weft_sets_unite(up, t->links[i].from, t->links[i].to);
    for (int i = 0; i < f->num_ports; i++) { // by host, so that each counts once per fabric
        struct fabric *fabric = &fabrics[weft_sets_root(up, f->ports[i].on)];
        fabric->bandwidth = added(fabric->bandwidth, f->ports[i].bandwidth);
        if (fabric->last_host == f->ports[i].host)
            continue;
        fabric->last_host = f->ports[i].host;
        fabric->num_hosts++;
        fabric->hosts += XXH3_64bits(&f->ports[i].host, sizeof f->ports[i].host);
    }
    qsort(fabrics, (size_t)t->num_nodes, sizeof *fabrics, compare_fabrics);
    for (int i = 0; i < t->num_nodes; i++)
        weft_sets_root(up, i);
    // up[] of a root is free from here on: it becomes ~class
    for (int i = 0, class = 0; i < t->num_nodes; i++) {
        const struct fabric *before = &fabrics[i - (i > 0)];
        if (fabrics[i].num_hosts != before->num_hosts || fabrics[i].hosts != before->hosts ||
            fabrics[i].bandwidth != before->bandwidth)
            class = i;
        if (up[fabrics[i].root] == fabrics[i].root)
            up[fabrics[i].root] = ~class;
    }
    for (int i = 0; i < f->num_ports; i++) {
        int at = f->ports[i].on;
        while (up[at] >= 0)
            at = up[at];
        f->ports[i].class = ~up[at];
    }
}

/* Keeps the ports of each host's widest class. */
static void keep_widest(struct weft_slurm_fabric *f)
{
    int kept = 0;
    sort_ports(f);
    for (int i = 0, next; i < f->num_ports; i = next) {
        int best = i, best_end = i;
        int64_t most = -1;
        for (next = i; next < f->num_ports && f->ports[next].host == f->ports[i].host;) {
            int start = next;
            int64_t sum = 0;
            for (; next < f->num_ports && f->ports[next].host == f->ports[i].host &&
                   f->ports[next].class == f->ports[start].class;
                 next++)
                sum = added(sum, f->ports[next].bandwidth);
            if (sum > most) {
                most = sum;
                best = start;
                best_end = next;
            }
        }
        f->num_elsewhere += next - i - (best_end - best);
        memmove(&f->ports[kept], &f->ports[best], (size_t)(best_end - best) * sizeof *f->ports);
        kept += best_end - best;
    }
    f->num_ports = kept;
}

/* ---- levels of switches ---- */

/* What the kind or Slurm's own file says; else how far it is from the hosts. */
static void find_levels(const struct weft_topology *t, struct weft_slurm_fabric *f)
{
    static const int far = WEFT_SLURM_MAX_LEVEL + 1;
    for (int i = 0; i < t->num_nodes; i++) {
        int kind = t->nodes[i].kind;
        int level = kind == WEFT_NODE_SWITCH ? far : kind - WEFT_NODE_LEAF;
        int64_t said = weft_topology_number(t, i, "slurm.level", level);
        f->level[i] = weft_node_is_fabric_switch(t, i) ? (int)(said < far ? said : far) : -1;
    }
    for (int i = 0; i < f->num_ports; i++)
        if (f->level[f->ports[i].on] == far)
            f->level[f->ports[i].on] = 0;
    bool changes = true;
    for (int pass = 0; changes && pass < far; pass++) {
        changes = false;
        for (int i = 0; i < t->num_links; i++) {
            int *a = &f->level[t->links[i].from], *b = &f->level[t->links[i].to];
            if (t->links[i].kind != WEFT_LINK_NETWORK || *a < 0 || *b < 0)
                continue;
            int *higher = *a > *b ? a : b, lower = *a > *b ? *b : *a;
            int node = higher == a ? t->links[i].from : t->links[i].to;
            if (t->nodes[node].kind != WEFT_NODE_SWITCH || *higher <= lower + 1 ||
                weft_topology_number(t, node, "slurm.level", -1) >= 0)
                continue;
            *higher = lower + 1;
            changes = true;
        }
    }
    for (int i = 0; i < t->num_nodes; i++)
        if (f->level[i] > WEFT_SLURM_MAX_LEVEL)
            f->level[i] = 0; // no way to any host
}

/* ---- 2. and 3. groups ---- */

struct leaves {
    int host, first_port, num_ports;
};

static int compare_leaves(const struct weft_slurm_fabric *f, const struct leaves *x,
                          const struct leaves *y)
{
    if (x->num_ports != y->num_ports)
        return compare_ints(y->num_ports, x->num_ports);
    for (int i = 0; i < x->num_ports; i++) {
        int a = f->ports[x->first_port + i].on, b = f->ports[y->first_port + i].on;
        if (a != b)
            return compare_ints(a, b);
    }
    return 0;
}

static int compare_hosts(const void *a, const void *b, void *context)
{
    int difference = compare_leaves(context, a, b);
    return difference
               ? difference
               : compare_ints(((const struct leaves *)a)->host, ((const struct leaves *)b)->host);
}

/* Groups come out with the largest sets of leaves first. */
static void find_groups(const struct weft_topology *t, struct weft_slurm_fabric *f,
                        struct leaves *hosts)
{
    int count = 0, port = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        f->group_of[i] = -1;
        if (t->nodes[i].kind != WEFT_NODE_HOST)
            continue;
        int first = port;
        while (port < f->num_ports && f->ports[port].host == i)
            port++;
        hosts[count++] = (struct leaves){i, first, port - first};
    }
    qsort_r(hosts, (size_t)count, sizeof *hosts, compare_hosts, f);
    for (int i = 0; i < count; i++) {
        if (i == 0 || hosts[i].num_ports == 0 || compare_leaves(f, &hosts[i - 1], &hosts[i]) != 0)
            f->groups[f->num_groups++] =
                (struct weft_slurm_group){hosts[i].first_port, hosts[i].num_ports, -1};
        f->group_of[hosts[i].host] = f->num_groups - 1;
    }
}

/* Whether the leaves of group `a` are all among those of `b`; both are in order. */
static bool contains(const struct weft_slurm_fabric *f, const struct weft_slurm_group *a,
                     const struct weft_slurm_group *b)
{
    int low = 0;
    for (int i = 0; i < a->num_ports; i++) {
        int on = f->ports[a->first_port + i].on, high = b->num_ports;
        while (low < high) {
            int middle = low + (high - low) / 2;
            if (f->ports[b->first_port + middle].on < on)
                low = middle + 1;
            else
                high = middle;
        }
        if (low == b->num_ports || f->ports[b->first_port + low].on != on)
            return false;
    }
    return true;
}

/* first[n]..first[n + 1] are the places in `list` of the groups on switch n. */
static weft_status add_to_larger(const struct weft_topology *t, struct weft_slurm_fabric *f,
                                 struct weft_error *error)
{
    size_t n = (size_t)t->num_nodes;
    int *first = calloc(n + 2 + (size_t)f->num_ports, sizeof *first);
    if (!first)
        return no_memory(error);
    int *list = first + n + 2;
    for (int i = 0; i < f->num_groups; i++)
        for (int j = 0; j < f->groups[i].num_ports; j++)
            first[f->ports[f->groups[i].first_port + j].on + 2]++;
    for (size_t i = 2; i < n + 2; i++)
        first[i] += first[i - 1];
    for (int i = 0; i < f->num_groups; i++)
        for (int j = 0; j < f->groups[i].num_ports; j++)
            list[first[f->ports[f->groups[i].first_port + j].on + 1]++] = i;
    for (int i = 0; i < f->num_groups; i++) {
        struct weft_slurm_group *group = &f->groups[i];
        int rarest = -1, fewest = 0;
        for (int j = 0; j < group->num_ports; j++) {
            int on = f->ports[group->first_port + j].on;
            if (rarest < 0 || first[on + 1] - first[on] < fewest) {
                rarest = on;
                fewest = first[on + 1] - first[on];
            }
        }
        for (int j = 0; j < fewest && j < MAX_CANDIDATES && group->into < 0; j++) {
            int other = list[first[rarest] + j];
            if (f->groups[other].num_ports <= group->num_ports)
                break;
            if (f->groups[other].into < 0 && contains(f, group, &f->groups[other]))
                group->into = other;
        }
    }
    for (int i = 0; i < t->num_nodes; i++)
        if (f->group_of[i] >= 0 && f->groups[f->group_of[i]].into >= 0)
            f->group_of[i] = f->groups[f->group_of[i]].into;
    free(first);
    return WEFT_OK;
}

weft_status weft_slurm_fabric_find(const struct weft_topology *t, struct weft_slurm_fabric *fabric,
                                   struct weft_error *error)
{
    size_t n = (size_t)t->num_nodes + 1, m = (size_t)t->num_links + 1;
    struct weft_slurm_fabric f = {.level = malloc(n * sizeof *f.level),
                                  .ports = malloc(m * sizeof *f.ports),
                                  .groups = malloc(n * sizeof *f.groups),
                                  .group_of = malloc(n * sizeof *f.group_of)};
    int *up = malloc(n * sizeof *up);
    struct fabric *fabrics = malloc(n * sizeof *fabrics);
    struct leaves *hosts = malloc(n * sizeof *hosts);
    weft_status status = WEFT_OK;
    if (!f.level || !f.ports || !f.groups || !f.group_of || !up || !fabrics || !hosts)
        status = no_memory(error);
    if (status == WEFT_OK) {
        collect_ports(t, &f);
        find_classes(t, &f, up, fabrics);
        find_levels(t, &f);
        keep_widest(&f);
        find_groups(t, &f, hosts);
        status = add_to_larger(t, &f, error);
    }
    if (status == WEFT_OK && f.num_ports == 0)
        status = weft_fail(error, WEFT_UNSUPPORTED,
                           "no host is on a switch here, so there is no tree of switches");
    free(up);
    free(fabrics);
    free(hosts);
    if (status != WEFT_OK)
        weft_slurm_fabric_fini(&f);
    else
        *fabric = f;
    return status;
}
