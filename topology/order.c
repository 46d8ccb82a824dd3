/*
 * SPDX-License-Identifier: Apache-2.0
 * Canonical order and fingerprint: what makes two graphs of the same content comparable, whoever
 * built them and in whatever order.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "topology/graph.h"
#include "topology/graph_private.h"

int weft_name_compare(const char *a, const char *b)
{
    const char *first_a = a, *first_b = b;
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            while (*a == '0')
                a++;
            while (*b == '0')
                b++;
            size_t digits_a = strspn(a, "0123456789"), digits_b = strspn(b, "0123456789");
            if (digits_a != digits_b)
                return digits_a < digits_b ? -1 : 1;
            int difference = strncmp(a, b, digits_a);
            if (difference)
                return difference;
            a += digits_a;
            b += digits_b;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++;
            b++;
        }
    }
    if (*a || *b)
        return *a ? 1 : -1;
    return strcmp(first_a, first_b); // 01 and 1
}

static int compare_nodes(const void *a, const void *b, void *context)
{
    const struct weft_topology *t = context;
    const struct weft_node *x = &t->nodes[*(const int *)a], *y = &t->nodes[*(const int *)b];
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return weft_name_compare(x->name, y->name);
}

weft_status weft_topology_order(const struct weft_topology *t, int *order, struct weft_error *error)
{
    size_t n = (size_t)t->num_nodes;
    int *sorted = malloc((n + 1) * 3 * sizeof *sorted);
    if (!sorted)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory to sort %zu nodes", n);
    int *first_child = sorted + n, *next_sibling = first_child + n + 1;
    for (size_t i = 0; i < n; i++)
        sorted[i] = (int)i;
    qsort_r(sorted, n, sizeof *sorted, compare_nodes, (void *)(uintptr_t)t);
    // 1. chain the children of each node, last first, so that every chain is in order
    for (size_t i = 0; i <= n; i++)
        first_child[i] = -1; // entry n: the nodes without parent
    for (size_t i = n; i-- > 0;) {
        int parent = t->nodes[sorted[i]].parent;
        size_t chain = parent < 0 ? n : (size_t)parent;
        next_sibling[sorted[i]] = first_child[chain];
        first_child[chain] = sorted[i];
    }
    // 2. walk the tree: down, else along, else up and along
    int node = first_child[n];
    for (int i = 0; node >= 0; i++) {
        order[i] = node;
        if (first_child[node] >= 0) {
            node = first_child[node];
            continue;
        }
        while (node >= 0 && next_sibling[node] < 0)
            node = t->nodes[node].parent;
        if (node >= 0)
            node = next_sibling[node];
    }
    free(sorted);
    return WEFT_OK;
}

static int compare_integers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_figures(const struct weft_figure *a, const struct weft_figure *b)
{
    const struct weft_quantity *x[] = {&a->nominal, &a->current, &a->measured};
    const struct weft_quantity *y[] = {&b->nominal, &b->current, &b->measured};
    int difference = 0;
    for (int i = 0; i < 3 && !difference; i++) {
        difference = compare_integers(x[i]->value, y[i]->value);
        if (!difference)
            difference = compare_integers(x[i]->source, y[i]->source);
    }
    return difference;
}

static int compare_links(const void *a, const void *b)
{
    const struct weft_link *x = a, *y = b;
    const int pairs[][2] = {
        {x->from, y->from},           {x->to, y->to},           {x->kind, y->kind},
        {x->from_port, y->from_port}, {x->to_port, y->to_port}, {x->count, y->count},
        {x->one_way, y->one_way},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (pairs[i][0] != pairs[i][1])
            return pairs[i][0] < pairs[i][1] ? -1 : 1;
    int difference = compare_figures(&x->bandwidth, &y->bandwidth);
    return difference ? difference : compare_figures(&x->latency, &y->latency);
}

static bool are_links_in_order(const struct weft_topology *t)
{
    for (int i = 0; i < t->num_links; i++)
        if ((t->links[i].to < t->links[i].from && !t->links[i].one_way) ||
            (i > 0 && compare_links(&t->links[i - 1], &t->links[i]) > 0))
            return false;
    return true;
}

/* Whether each node comes right after its container or what that contains, and after its siblings
 * before. `last` has num_nodes + 1 entries. */
static bool are_nodes_in_order(const struct weft_topology *t, int *last)
{
    for (int i = 0; i < t->num_nodes; i++) {
        int parent = t->nodes[i].parent, above = i - 1;
        while (above >= 0 && above > parent) // the way up from the node before must meet the parent
            above = t->nodes[above].parent;
        if (above != parent && parent >= 0)
            return false;
        last[i] = -1;
        int *sibling = &last[parent < 0 ? t->num_nodes : parent];
        if (i == 0)
            *sibling = -1;
        if (*sibling >= 0 && compare_nodes(sibling, &i, (void *)(uintptr_t)t) >= 0)
            return false;
        *sibling = i;
    }
    return true;
}

weft_status weft_topology_sort(struct weft_topology *t, struct weft_error *error)
{
    size_t n = (size_t)t->num_nodes;
    if (n == 0)
        return WEFT_OK;
    // most graphs are sorted by whoever read them, and again by whoever is careful
    int *last = malloc((n + 1) * sizeof *last);
    bool is_sorted = last && are_links_in_order(t) && are_nodes_in_order(t, last);
    free(last);
    if (is_sorted)
        return WEFT_OK;
    int *order = malloc(2 * n * sizeof *order);
    struct weft_node *nodes = malloc(n * sizeof *nodes);
    weft_status status = WEFT_OK;
    if (!order || !nodes)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory to sort %zu nodes", n);
    else
        status = weft_topology_order(t, order, error);
    if (status == WEFT_OK) {
        int *position = order + n;
        for (size_t i = 0; i < n; i++)
            position[order[i]] = (int)i;
        for (size_t i = 0; i < n; i++) {
            nodes[i] = t->nodes[order[i]];
            if (nodes[i].parent >= 0)
                nodes[i].parent = position[nodes[i].parent];
        }
        for (int i = 0; i < t->num_links; i++) {
            struct weft_link *link = &t->links[i];
            int a = position[link->from], b = position[link->to];
            bool turns = b < a && !link->one_way;
            link->from = turns ? b : a;
            link->to = turns ? a : b;
            if (turns) {
                int port = link->from_port;
                link->from_port = link->to_port;
                link->to_port = port;
            }
        }
        if (t->num_links)
            qsort(t->links, (size_t)t->num_links, sizeof *t->links, compare_links);
        for (int i = 0; i < t->num_remarks; i++)
            if (t->remarks[i].node >= 0)
                t->remarks[i].node = position[t->remarks[i].node];
        memcpy(t->nodes, nodes, n * sizeof *nodes);
        status = weft_topology_reindex(t, 0, error);
    }
    free(nodes);
    free(order);
    return status;
}

/* ---- fingerprint ---- */

/* Each piece is hashed with the hash so far as its seed, so pieces cannot run into each other. */
static void hash_integer(uint64_t *hash, int64_t value)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)value >> (8 * i));
    *hash = XXH3_64bits_withSeed(bytes, sizeof bytes, *hash);
}

static void hash_text(uint64_t *hash, const char *text)
{
    *hash = XXH3_64bits_withSeed(text, strlen(text), *hash);
}

/* Facts that are true of the moment, or that take rights to see: a pulled cable, a new address or
 * another user must not make another machine of it. What a file says of them is what was meant. */
static bool is_of_the_moment(const struct weft_attribute *a)
{
    static const char *const keys[] = {
        "acs",
        "bond_slaves",
        "duplex",
        "fabric_state",
        "fault",
        "gpudirect",
        "gpudirect_gpus",
        "gpudirect_reason",
        "iommu",
        "iommu_group",
        "lid",
        "mtu",
        "network_functions_without_interface",
        "nvlink_active",
        "pcie_lanes",
        "rate_mbps",
        "rdma_mtu",
    };
    if (strncmp(a->key, "process.", 8) == 0)
        return true;
    // memory sizes move a little from boot to boot, and on balloons; they join nothing
    if (strcmp(a->key, "memory_bytes") == 0)
        return true;
    if (a->source == WEFT_SOURCE_FILE)
        return false;
    size_t bytes = strcspn(a->key, "."); // "rate_mbps.2" is that of port 2
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strlen(keys[i]) == bytes && memcmp(a->key, keys[i], bytes) == 0)
            return true;
    return false;
}

/* An interface on no device comes and goes with a container, a tunnel or its address. */
static bool is_passing(const struct weft_node *node)
{
    for (const struct weft_attribute *a = node->attributes; a; a = a->next)
        if (strcmp(a->key, "interface_kind") == 0)
            return a->text && strcmp(a->text, "bond") != 0;
    return false;
}

static uint64_t hash_node(const struct weft_topology *t, const struct weft_node *node)
{
    uint64_t hash = 1;
    hash_text(&hash, weft_node_kinds[node->kind].name);
    hash_text(&hash, node->name);
    hash_text(&hash, node->parent >= 0 ? t->nodes[node->parent].name : "");
    for (const struct weft_attribute *a = node->attributes; a; a = a->next) {
        if (is_of_the_moment(a))
            continue;
        hash_text(&hash, a->key);
        hash_integer(&hash, a->text ? -1 : a->number);
        hash_text(&hash, a->text ? a->text : "");
    }
    return hash;
}

static uint64_t hash_link(const struct weft_topology *t, const struct weft_link *link)
{
    const char *a = t->nodes[link->from].name, *b = t->nodes[link->to].name;
    bool in_order = link->one_way || strcmp(a, b) < 0;
    uint64_t hash = 2;
    hash_text(&hash, weft_link_kinds[link->kind].name);
    hash_text(&hash, in_order ? a : b);
    hash_text(&hash, in_order ? b : a);
    hash_integer(&hash, link->count);
    hash_integer(&hash, link->bandwidth.nominal.value);
    hash_integer(&hash, link->latency.nominal.value);
    if (link->from_port || link->to_port) {
        hash_integer(&hash, in_order ? link->from_port : link->to_port);
        hash_integer(&hash, in_order ? link->to_port : link->from_port);
    }
    if (link->one_way)
        hash_text(&hash, "one way");
    return hash;
}

uint64_t weft_topology_processors_fingerprint(const struct weft_topology *t)
{
    uint64_t hash = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        int kind = t->nodes[i].kind;
        if (kind == WEFT_NODE_CPU || kind == WEFT_NODE_NUMA || kind == WEFT_NODE_CORE)
            hash += hash_node(t, &t->nodes[i]);
    }
    return hash;
}

/* Addition commutes, so order does not matter; each part is hashed before it is added. */
uint64_t weft_topology_fingerprint(const struct weft_topology *t)
{
    uint64_t nodes = 0, links = 0;
    int num_nodes = 0, num_links = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        if (is_passing(&t->nodes[i]))
            continue;
        nodes += hash_node(t, &t->nodes[i]);
        num_nodes++;
    }
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (is_passing(&t->nodes[link->from]) || is_passing(&t->nodes[link->to]))
            continue;
        links += hash_link(t, link);
        num_links++;
    }
    uint64_t hash = 3;
    hash_integer(&hash, (int64_t)nodes);
    hash_integer(&hash, (int64_t)links);
    hash_integer(&hash, num_nodes);
    hash_integer(&hash, num_links);
    return hash;
}
