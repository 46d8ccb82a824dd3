/*
 * SPDX-License-Identifier: Apache-2.0
 * See network.h. Without reductions.
 */
#include "topology/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/route.h"

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

static int by_ends(const void *a, const void *b)
{
    const struct weft_arc *left = a, *right = b;
    if (left->from != right->from)
        return left->from < right->from ? -1 : 1;
    return left->to < right->to ? -1 : left->to > right->to;
}

weft_status weft_network_create(const struct weft_topology *t,
                                const struct weft_network_options *options,
                                struct weft_network **network, struct weft_error *error)
{
    struct weft_network *n = calloc(1, sizeof *n);
    int count = options->terminals ? options->num_terminals : 0;
    int *vertex = malloc((size_t)t->num_nodes * sizeof *vertex);
    int *places = malloc(((size_t)t->num_nodes + 1) * sizeof *places);
    if (options->terminals) {
        memcpy(places, options->terminals, (size_t)count * sizeof *places);
    } else {
        int best = 0;
        for (int i = 0; i < t->num_nodes; i++)
            if (weft_node_kinds[t->nodes[i].kind].can_hold_ranks > best)
                best = weft_node_kinds[t->nodes[i].kind].can_hold_ranks;
        for (int i = 0; i < t->num_nodes; i++)
            if (weft_node_kinds[t->nodes[i].kind].can_hold_ranks == best)
                places[count++] = i;
    }
    (void)error;
    n->num_terminals = count;
    n->node = malloc(((size_t)t->num_nodes + 1) * sizeof(int));
    n->num_merged = malloc(((size_t)t->num_nodes + 1) * sizeof(int));
    n->arcs = malloc((2 * (size_t)t->num_links + 1) * sizeof *n->arcs);
    for (int i = 0; i < t->num_nodes; i++)
        vertex[i] = -1;
    for (int i = 0; i < count; i++)
        vertex[places[i]] = n->num_vertices, n->node[n->num_vertices++] = places[i];
    for (int i = 0; i < t->num_nodes; i++)
        if (vertex[i] < 0 && weft_node_kinds[t->nodes[i].kind].forwards)
            vertex[i] = n->num_vertices, n->node[n->num_vertices++] = i;
    for (int i = 0; i < n->num_vertices; i++)
        n->num_merged[i] = 1;
    n->first = calloc((size_t)n->num_vertices + 1, sizeof(int));
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *l = &t->links[i];
        int a = vertex[l->from], b = vertex[l->to];
        if (a < 0 || b < 0)
            continue;
        int64_t c = weft_link_bandwidth(l).value, lat = weft_link_latency(l).value;
        n->arcs[n->num_arcs++] = (struct weft_arc){a, b, c, lat, i};
        if (!l->one_way)
            n->arcs[n->num_arcs++] = (struct weft_arc){b, a, c, lat, i};
    }
    qsort(n->arcs, (size_t)n->num_arcs, sizeof *n->arcs, by_ends);
    int kept = 0;
    for (int i = 0; i < n->num_arcs; i++) {
        if (kept && n->arcs[kept - 1].from == n->arcs[i].from &&
            n->arcs[kept - 1].to == n->arcs[i].to)
            n->arcs[kept - 1].capacity += n->arcs[i].capacity;
        else
            n->arcs[kept++] = n->arcs[i];
    }
    n->num_arcs = kept;
    for (int i = 0; i < kept; i++)
        n->first[n->arcs[i].from + 1]++;
    for (int v = 0; v < n->num_vertices; v++)
        n->first[v + 1] += n->first[v];
    free(vertex);
    free(places);
    *network = n;
    return WEFT_OK;
}

weft_status weft_network_check(const struct weft_topology *topology,
                               const struct weft_network *network, struct weft_error *error)
{
    (void)topology, (void)network, (void)error;
    return WEFT_OK;
}
