/*
 * SPDX-License-Identifier: Apache-2.0
 * Small fabrics for tests: switches, hosts with NICs, cables with ports and rates, by name.
 */
#ifndef WEFT_TESTS_TOPOLOGY_CABLING_H
#define WEFT_TESTS_TOPOLOGY_CABLING_H

#include "tests/topology/compare.h"

#include <string.h>

#include "topology/graph.h"
#include "topology/tiers.h"

static inline struct weft_topology *new_topology(void)
{
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    return t;
}

static inline int add_switch(struct weft_topology *t, const char *name)
{
    int node;
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_SWITCH, name, -1, &node, NULL), WEFT_OK);
    return node;
}

/* HOST/NIC, with the host where it is new. */
static inline int add_nic(struct weft_topology *t, const char *host, const char *nic)
{
    char name[100];
    int node, parent = weft_topology_find_node(t, host);
    if (parent < 0)
        assert_int_equal(weft_topology_add_node(t, WEFT_NODE_HOST, host, -1, &parent, NULL),
                         WEFT_OK);
    snprintf(name, sizeof name, "%.60s/%.30s", host, nic);
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_NIC, name, parent, &node, NULL), WEFT_OK);
    return node;
}

static inline void join(struct weft_topology *t, int from, int from_port, int to, int to_port,
                        int64_t gigabytes)
{
    struct weft_link link = weft_link_make(WEFT_LINK_NETWORK, from, to);
    link.from_port = from_port;
    link.to_port = to_port;
    link.bandwidth.current = (struct weft_quantity){gigabytes * 1000000000, WEFT_SOURCE_FILE};
    assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), WEFT_OK);
}

/* The cable between two ports is pulled: cables are told apart by names and the port of the first.
 */
static inline void unplug(struct weft_topology *t, const char *name, int port)
{
    int node = weft_topology_find_node(t, name);
    for (int i = 0; i < t->num_links; i++)
        if ((t->links[i].from == node && t->links[i].from_port == port) ||
            (t->links[i].to == node && t->links[i].to_port == port)) {
            t->links[i] = t->links[--t->num_links];
            return;
        }
    fail_msg("no cable in port %d of %s", port, name);
}

static inline struct weft_link *cable_of(struct weft_topology *t, const char *name, int port)
{
    int node = weft_topology_find_node(t, name);
    for (int i = 0; i < t->num_links; i++)
        if ((t->links[i].from == node && t->links[i].from_port == port) ||
            (t->links[i].to == node && t->links[i].to_port == port))
            return &t->links[i];
    fail_msg("no cable in port %d of %s", port, name);
    return NULL;
}

/* A NIC, of that host; NULL: of none. */
static inline void assert_host(const struct weft_topology *t, const char *nic, const char *host)
{
    int parent = t->nodes[find(t, nic)].parent;
    if (!host)
        assert_int_equal(parent, -1);
    else
        assert_string_equal(t->nodes[parent].name, host);
    assert_int_equal(t->nodes[find(t, nic)].kind, WEFT_NODE_NIC);
}

/* The only link between two ports, whichever way round; port 0: any. */
static inline const struct weft_link *cable(const struct weft_topology *t, const char *a,
                                            int a_port, const char *b, int b_port)
{
    const struct weft_link *found = NULL;
    int x = find(t, a), y = find(t, b);
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        bool is_same = link->from == x && link->from_port == a_port && link->to == y &&
                       link->to_port == b_port;
        bool is_turned = link->from == y && link->from_port == b_port && link->to == x &&
                         link->to_port == a_port;
        if (!is_same && !is_turned)
            continue;
        assert_null(found);
        found = link;
    }
    return found;
}

/* A fabric of rails: `pods` groups of `rails` leaves, each leaf with the NIC mlx5_R of all hosts of
 * the group, and one cable of 50 GB/s from each leaf to each spine. Hosts nodePP-HH, leaves
 * rack-leaf-RR-PP (rail, pod), hosts on ports from 1, spines spine-S on ports from 33. */
static inline struct weft_topology *make_rails(int pods, int rails, int hosts, int spines)
{
    struct weft_topology *t = new_topology();
    char name[100], nic[20];
    for (int s = 0; s < spines; s++) {
        snprintf(name, sizeof name, "spine-%d", s);
        add_switch(t, name);
    }
    for (int p = 0; p < pods; p++)
        for (int r = 0; r < rails; r++) {
            snprintf(name, sizeof name, "rack-leaf-%02d-%02d", r, p);
            int leaf = add_switch(t, name);
            for (int h = 0; h < hosts; h++) {
                snprintf(name, sizeof name, "node%02d-%02d", p, h);
                snprintf(nic, sizeof nic, "mlx5_%d", r);
                join(t, add_nic(t, name, nic), 1, leaf, 1 + h, 50);
            }
            for (int s = 0; s < spines; s++) {
                snprintf(name, sizeof name, "spine-%d", s);
                join(t, leaf, 33 + s, weft_topology_find_node(t, name), 1 + p * rails + r, 50);
            }
        }
    assert_int_equal(weft_topology_find_tiers(t, WEFT_SOURCE_FILE, NULL), WEFT_OK);
    return t;
}

static inline int kind_of(const struct weft_topology *t, const char *name)
{
    return t->nodes[find(t, name)].kind;
}

#endif
