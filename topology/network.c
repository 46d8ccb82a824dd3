/*
 * SPDX-License-Identifier: Apache-2.0
 * See network.h. The arcs of the whole graph first, then rounds of reductions until nothing changes
 * (network_reduce.c), then numbers for what is left.
 */
#include "topology/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/network_private.h"
#include "topology/sets.h"

void weft_network_destroy(struct weft_network **network)
{
    if (!*network)
        return;
    free((*network)->arcs);
    free((*network)->first);
    free((*network)->node);
    free((*network)->num_merged);
    free(*network);
    *network = NULL;
}

struct weft_network *weft_network_reverse(const struct weft_network *network)
{
    struct weft_network *made = calloc(1, sizeof *made);
    size_t vertices = (size_t)network->num_vertices, arcs = (size_t)network->num_arcs;
    if (!made)
        return NULL;
    *made = *network;
    made->arcs = malloc((arcs + 1) * sizeof *made->arcs);
    made->first = calloc(vertices + 1, sizeof *made->first);
    made->node = malloc((vertices + 1) * sizeof *made->node);
    made->num_merged = malloc((vertices + 1) * sizeof *made->num_merged);
    if (!made->arcs || !made->first || !made->node || !made->num_merged) {
        weft_network_destroy(&made);
        return NULL;
    }
    memcpy(made->node, network->node, vertices * sizeof *made->node);
    memcpy(made->num_merged, network->num_merged, vertices * sizeof *made->num_merged);
    for (size_t i = 0; i < arcs; i++) {
        made->arcs[i] = network->arcs[i];
        made->arcs[i].from = network->arcs[i].to;
        made->arcs[i].to = network->arcs[i].from;
    }
    weft_network_settle(made);
    return made;
}

/* ---- from the graph ---- */

// All nodes that are best at holding ranks, in the order of the graph; *terminals is the caller's.
static weft_status find_terminals(const struct weft_topology *t, int **terminals, int *count,
                                  struct weft_error *error)
{
    int best = 0;
    for (int i = 0; i < t->num_nodes; i++)
        if (weft_node_kinds[t->nodes[i].kind].can_hold_ranks > best)
            best = weft_node_kinds[t->nodes[i].kind].can_hold_ranks;
    *count = 0;
    *terminals = malloc(((size_t)t->num_nodes + 1) * sizeof **terminals);
    if (!*terminals)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a network");
    for (int i = 0; i < t->num_nodes && best > 0; i++)
        if (weft_node_kinds[t->nodes[i].kind].can_hold_ranks == best)
            (*terminals)[(*count)++] = i;
    if (*count)
        return WEFT_OK;
    free(*terminals);
    return weft_fail(error, WEFT_NOT_FOUND, "no node can hold a rank");
}

// Terminals, then what forwards. A node that holds several ranks is a switch with them around it.
static weft_status number_vertices(const struct weft_topology *t,
                                   const struct weft_network_options *options,
                                   struct weft_network *made, int *vertex, struct weft_error *error)
{
    int *ranks = calloc((size_t)t->num_nodes + 1, sizeof *ranks); // on each node
    if (!ranks)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a network");
    made->lane = options->is_unit;
    made->num_terminals = made->num_vertices = options->num_terminals;
    for (int i = 0; i < t->num_nodes; i++)
        vertex[i] = -1;
    weft_status status = WEFT_OK;
    for (int i = 0; i < options->num_terminals; i++) {
        int node = options->terminals[i];
        made->node[i] = node;
        if (node < 0 || node >= t->num_nodes)
            status = weft_fail(error, WEFT_INVALID_ARGUMENT, "node %d does not exist", node);
        else if (ranks[node]++ == 0)
            vertex[node] = i;
        if (status != WEFT_OK)
            break;
    }
    for (int i = 0; i < t->num_nodes && status == WEFT_OK; i++)
        if (ranks[i] > 1 || (ranks[i] == 0 && weft_node_kinds[t->nodes[i].kind].forwards)) {
            vertex[i] = made->num_vertices;
            made->node[made->num_vertices++] = i;
        }
    free(ranks);
    return status;
}

static void add_arc(struct weft_network *made, int from, int to, const struct weft_arc *like)
{
    struct weft_arc arc = *like;
    arc.from = from, arc.to = to;
    made->arcs[made->num_arcs++] = arc;
}

static void add_arcs(const struct weft_topology *t, const struct weft_network_options *options,
                     const int *vertex, struct weft_network *made)
{
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        int a = vertex[link->from], b = vertex[link->to];
        bool is_wanted = !options->link_kinds || options->link_kinds >> link->kind & 1;
        int64_t capacity = options->is_unit ? link->count : weft_link_bandwidth(link).value;
        const struct weft_arc arc = {
            .capacity = capacity, .latency_ps = weft_link_latency(link).value, .link = i};
        if (a < 0 || b < 0 || !is_wanted || capacity <= 0)
            continue;
        add_arc(made, a, b, &arc);
        if (!link->one_way)
            add_arc(made, b, a, &arc);
    }
}

// Ranks that share a node: each can use all that the node has.
static weft_status hang_ranks(const struct weft_network_options *options, const int *vertex,
                              struct weft_network *made, struct weft_error *error)
{
    int num_arcs = made->num_arcs;
    int64_t *leaving = calloc((size_t)made->num_vertices + 1, sizeof *leaving);
    if (!leaving)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a network");
    for (int i = 0; i < num_arcs; i++)
        if (made->arcs[i].capacity < WEFT_NETWORK_LIMIT - leaving[made->arcs[i].from])
            leaving[made->arcs[i].from] += made->arcs[i].capacity;
    for (int i = 0; i < options->num_terminals; i++) {
        int at = vertex[options->terminals[i]];
        const struct weft_arc arc = {.capacity = leaving[at] ? leaving[at] : 1, .link = -1};
        if (at == i)
            continue;
        add_arc(made, i, at, &arc);
        add_arc(made, at, i, &arc);
    }
    free(leaving);
    return WEFT_OK;
}

static weft_status build(const struct weft_topology *t, const struct weft_network_options *options,
                         struct weft_network *made, struct weft_error *error)
{
    size_t vertices = (size_t)t->num_nodes + (size_t)options->num_terminals + 1;
    size_t arcs = 2 * ((size_t)t->num_links + (size_t)options->num_terminals) + 1;
    int *vertex = malloc(((size_t)t->num_nodes + 1) * sizeof *vertex);
    made->node = malloc(vertices * sizeof *made->node);
    made->num_merged = malloc(vertices * sizeof *made->num_merged);
    made->arcs = malloc(arcs * sizeof *made->arcs);
    made->first = calloc(vertices + 1, sizeof *made->first);
    weft_status status = WEFT_OK;
    if (!vertex || !made->node || !made->num_merged || !made->arcs || !made->first)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a network");
    if (status == WEFT_OK)
        status = number_vertices(t, options, made, vertex, error);
    if (status == WEFT_OK) {
        for (int v = 0; v < made->num_vertices; v++)
            made->num_merged[v] = 1;
        add_arcs(t, options, vertex, made);
        status = hang_ranks(options, vertex, made, error);
        weft_network_settle(made);
    }
    free(vertex);
    return status;
}

weft_status weft_network_create(const struct weft_topology *topology,
                                const struct weft_network_options *options,
                                struct weft_network **network, struct weft_error *error)
{
    struct weft_network_options all = *options;
    int *terminals = NULL;
    if (!all.terminals) {
        WEFT_TRY(find_terminals(topology, &terminals, &all.num_terminals, error));
        all.terminals = terminals;
    }
    struct weft_network *made = calloc(1, sizeof *made);
    weft_status status = WEFT_OK;
    if (!made)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a network");
    else if (all.num_terminals < 1)
        status = weft_fail(error, WEFT_NOT_FOUND, "a network without terminals");
    if (status == WEFT_OK)
        status = build(topology, &all, made, error);
    if (status == WEFT_OK && !all.is_raw)
        status = weft_network_reduce(made, error);
    free(terminals);
    if (status != WEFT_OK) {
        weft_network_destroy(&made);
        return status;
    }
    *network = made;
    return WEFT_OK;
}

/* ---- whether it can be computed on ---- */

static const char *name_of(const struct weft_topology *topology, const struct weft_network *network,
                           int vertex, char text[64])
{
    if (topology && network->node[vertex] >= 0)
        return topology->nodes[network->node[vertex]].name;
    snprintf(text, 64, "%s %d", vertex < network->num_terminals ? "rank" : "vertex", vertex);
    return text;
}

weft_status weft_network_check(const struct weft_topology *topology,
                               const struct weft_network *network, struct weft_error *error)
{
    int n = network->num_vertices;
    int64_t *surplus = calloc((size_t)n + 1, sizeof *surplus);
    int *sets = malloc(((size_t)n + 1) * sizeof *sets);
    weft_status status = WEFT_OK;
    char a[64], b[64];
    if (!surplus || !sets)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a network");
    else
        weft_sets_init(sets, n);
    for (int i = 0; i < network->num_arcs && status == WEFT_OK; i++) {
        const struct weft_arc *arc = &network->arcs[i];
        surplus[arc->from] -= arc->capacity;
        surplus[arc->to] += arc->capacity;
        weft_sets_unite(sets, arc->from, arc->to);
    }
    for (int v = network->num_terminals; v < n && status == WEFT_OK; v++)
        if (surplus[v])
            status =
                weft_fail(error, WEFT_UNSUPPORTED, "%.64s carries %lld bytes/s more %s than %s",
                          name_of(topology, network, v, a),
                          (long long)(surplus[v] < 0 ? -surplus[v] : surplus[v]),
                          surplus[v] > 0 ? "in" : "out", surplus[v] > 0 ? "out" : "in");
    for (int t = 1; t < network->num_terminals && status == WEFT_OK; t++)
        if (weft_sets_root(sets, t) != weft_sets_root(sets, 0))
            status = weft_fail(error, WEFT_UNSUPPORTED, "there is no way between %.64s and %.64s",
                               name_of(topology, network, 0, a), name_of(topology, network, t, b));
    free(surplus);
    free(sets);
    return status;
}

// Marks what can be reached from terminal 0; `backward`: what it can be reached from.
static bool walk(const struct weft_network *network, bool backward, bool *is_reached)
{
    int n = network->num_vertices, head = 0, tail = 0;
    int *next = calloc((size_t)n + 2, sizeof *next); // arcs of v: order[next[v]] .. next[v + 1]
    int *order = malloc(((size_t)network->num_arcs + 1) * sizeof *order);
    int *queue = malloc(((size_t)n + 1) * sizeof *queue);
    bool has_memory = next && order && queue;
    for (int i = 0; has_memory && i < network->num_arcs; i++)
        next[(backward ? network->arcs[i].to : network->arcs[i].from) + 2]++;
    for (int v = 2; has_memory && v < n + 2; v++)
        next[v] += next[v - 1];
    for (int i = 0; has_memory && i < network->num_arcs; i++)
        order[next[(backward ? network->arcs[i].to : network->arcs[i].from) + 1]++] = i;
    if (has_memory)
        is_reached[queue[tail++] = 0] = true;
    while (head < tail) {
        int v = queue[head++];
        for (int i = next[v]; i < next[v + 1]; i++) {
            const struct weft_arc *arc = &network->arcs[order[i]];
            int other = backward ? arc->from : arc->to;
            if (!is_reached[other])
                is_reached[queue[tail++] = other] = true;
        }
    }
    free(next);
    free(order);
    free(queue);
    return has_memory;
}

weft_status weft_network_check_ways(const struct weft_topology *topology,
                                    const struct weft_network *network, struct weft_error *error)
{
    char a[64], b[64];
    for (int backward = 0; backward < 2; backward++) {
        bool *is_reached = calloc((size_t)network->num_vertices + 1, sizeof *is_reached);
        bool is_known = is_reached && walk(network, backward, is_reached);
        int lost = 0;
        for (int t = 0; is_known && t < network->num_terminals && !lost; t++)
            lost = is_reached[t] ? 0 : t;
        free(is_reached);
        if (!is_known)
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a network");
        if (lost)
            return weft_fail(error, WEFT_UNSUPPORTED, "there is no way from %.64s to %.64s",
                             name_of(topology, network, backward ? lost : 0, a),
                             name_of(topology, network, backward ? 0 : lost, b));
    }
    return WEFT_OK;
}
