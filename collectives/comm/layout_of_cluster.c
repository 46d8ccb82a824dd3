/*
 * SPDX-License-Identifier: Apache-2.0
 * See layout_of_cluster.h. Two layouts become one: of one rank for each host on the graph, whose
 * levels and network know the links between hosts; and within a host the prices that are given,
 * which know what memory the ranks share.
 */
#include "collectives/comm/layout_of_cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/layout_topology.h"

enum { NO_NODE = -1, MANY_NODES = -2 };

struct mapping {
    const struct weft_topology *t;
    const struct weft_rank_place *ranks;
    int num_ranks, num_hosts;
    int most_ranks, sharing; // on one host, on one place
    int *host;               // (ranks) number of its host, in order of ranks
    int *first;              // (hosts) rank
    int *node;               // (hosts) of the graph
    int *place;              // (ranks) node that holds it
    int *host_of_node;       // (nodes) number of a host of ranks; -1
};

/* ---- hosts ---- */

static void number_hosts(struct mapping *m)
{
    for (int r = 0; r < m->num_ranks; r++) {
        int h = 0;
        while (h < m->num_hosts && m->ranks[m->first[h]].host_id != m->ranks[r].host_id)
            h++;
        if (h == m->num_hosts)
            m->first[m->num_hosts++] = r;
        m->host[r] = h;
    }
}

/* A name may be a host's full one on one side and its short one on the other. */
static bool is_name(const char *a, const char *b)
{
    size_t i = 0;
    while (a[i] && a[i] == b[i])
        i++;
    return (!a[i] || a[i] == '.') && (!b[i] || b[i] == '.') && i > 0 && (!a[i] || !b[i]);
}

/* A name that is there once: an identity is of one boot, and containers are given those of
 * containers that are gone. Machines that share a name have other names in the graph. */
static int find_host(const struct weft_topology *t, const struct weft_rank_place *rank)
{
    char identity[32];
    int node = NO_NODE;
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_HOST && is_name(t->nodes[i].name, rank->host_name))
            node = node == NO_NODE ? i : MANY_NODES;
    if (node >= 0)
        return node;
    snprintf(identity, sizeof identity, "%016" PRIx64, rank->host_id);
    return weft_topology_find_text(t, WEFT_NODE_HOST, "process.host_id", identity);
}

static weft_status find_hosts(struct mapping *m, struct weft_error *error)
{
    for (int h = 0; h < m->num_hosts; h++) {
        const struct weft_rank_place *rank = &m->ranks[m->first[h]];
        m->node[h] = find_host(m->t, rank);
        if (m->node[h] < 0)
            return weft_fail(error, WEFT_NOT_FOUND,
                             "the host of rank %d, '%.64s', is not among its hosts, or is several",
                             m->first[h], rank->host_name);
        int *holder = &m->host_of_node[m->node[h]];
        if (*holder >= 0)
            return weft_fail(error, WEFT_NOT_FOUND,
                             "ranks %d and %d are on two hosts, which both seem to be %.64s",
                             m->first[*holder], m->first[h], m->t->nodes[m->node[h]].name);
        *holder = h;
    }
    return WEFT_OK;
}

/* ---- places ---- */

struct seats {
    int first, last; // places of the host
    int num_places, num_ranks;
};

/* Cores of each host, else NUMA domains: processes work in memory, whatever else there is. next[i]
 * is the place behind place i; behind the last comes the first. */
static void list_places(const struct mapping *m, struct seats *seats, int *next)
{
    const struct weft_topology *t = m->t;
    static const int kinds[] = {WEFT_NODE_CORE, WEFT_NODE_NUMA};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < t->num_nodes; i++) {
            int host = (int)t->nodes[i].kind == kinds[k]
                           ? weft_topology_ancestor(t, i, WEFT_NODE_HOST)
                           : NO_NODE;
            if (host < 0 || m->host_of_node[host] < 0)
                continue;
            struct seats *s = &seats[m->host_of_node[host]];
            if (s->num_places > 0 && (int)t->nodes[s->first].kind != kinds[k])
                continue;
            if (s->num_places++ == 0)
                s->first = i;
            else
                next[s->last] = i;
            next[i] = s->first;
            s->last = i;
        }
}

/* Ranks of a host that has more of them than places begin again at the first. */
static weft_status find_places(struct mapping *m, struct weft_error *error)
{
    int *next = malloc(((size_t)m->t->num_nodes + 1) * sizeof *next);
    struct seats *seats = calloc((size_t)m->num_hosts, sizeof *seats);
    weft_status status =
        next && seats ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    if (status == WEFT_OK)
        list_places(m, seats, next);
    for (int r = 0; r < m->num_ranks && status == WEFT_OK; r++) {
        struct seats *s = &seats[m->host[r]];
        if (s->num_places == 0) {
            status = weft_fail(error, WEFT_NOT_FOUND, "%.64s has neither cores nor NUMA domains",
                               m->t->nodes[m->node[m->host[r]]].name);
            break;
        }
        m->place[r] = s->last = next[s->last];
        s->num_ranks++;
        int sharing = (s->num_ranks + s->num_places - 1) / s->num_places;
        m->most_ranks = s->num_ranks > m->most_ranks ? s->num_ranks : m->most_ranks;
        m->sharing = sharing > m->sharing ? sharing : m->sharing;
    }
    free(next);
    free(seats);
    return status;
}

/* ---- levels ---- */

static weft_status join(const struct mapping *m, const struct weft_layout *between,
                        const struct weft_costs *of_host, struct weft_layout **layout,
                        struct weft_error *error)
{
    struct weft_costs costs = *of_host;
    const int *group_of[WEFT_LEVELS_LIMIT] = {m->host};
    int skipped = between->costs.num_levels < WEFT_LEVELS_LIMIT ? 0 : 1;
    int *groups = malloc((size_t)m->num_ranks * WEFT_LEVELS_LIMIT * sizeof *groups);
    if (!groups)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    costs.num_levels = 1;
    costs.sharing = m->sharing;
    if (m->num_hosts > 1) {
        costs.flat_ps = -1;
        costs.flat_bytes = 0;
    }
    for (int l = skipped; l < between->costs.num_levels; l++) {
        int *of = groups + (size_t)costs.num_levels * (size_t)m->num_ranks;
        for (int r = 0; r < m->num_ranks; r++)
            of[r] = between->levels[l].of_rank[m->host[r]];
        group_of[costs.num_levels] = of;
        costs.levels[costs.num_levels] = between->costs.levels[l];
        weft_level_share(&costs.levels[costs.num_levels++], m->most_ranks);
    }
    weft_status status = weft_layout_create(m->num_ranks, &costs, group_of, layout, error);
    free(groups);
    return status;
}

static weft_status draw(struct mapping *m, const struct weft_costs *costs,
                        struct weft_layout **layout, struct weft_error *error)
{
    struct weft_layout *between = NULL, *made = NULL;
    struct weft_layout_origin origin;
    number_hosts(m);
    WEFT_TRY(find_hosts(m, error));
    WEFT_TRY(find_places(m, error));
    int *nodes = malloc((size_t)m->num_hosts * sizeof *nodes);
    if (!nodes)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    for (int h = 0; h < m->num_hosts; h++)
        nodes[h] = m->place[m->first[h]];
    weft_status status =
        weft_layout_from_nodes(m->t, nodes, m->num_hosts, &between, &origin, error);
    free(nodes);
    if (status == WEFT_OK)
        status = join(m, between, costs, &made, error);
    weft_layout_destroy(&between);
    if (status == WEFT_OK)
        status = weft_layout_attach_network(m->t, m->place, made, error);
    if (status == WEFT_OK)
        *layout = made;
    else
        weft_layout_destroy(&made);
    return status;
}

weft_status weft_layout_of_cluster(const struct weft_topology *topology,
                                   const struct weft_rank_place *ranks, int num_ranks,
                                   const struct weft_costs *costs, struct weft_layout **layout,
                                   struct weft_error *error)
{
    size_t n = (size_t)num_ranks;
    size_t num_nodes = (size_t)topology->num_nodes;
    int *numbers = calloc(4 * n + num_nodes, sizeof *numbers);
    if (!numbers)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    for (size_t i = 0; i < num_nodes; i++)
        numbers[4 * n + i] = NO_NODE;
    struct mapping mapping = {.t = topology,
                              .ranks = ranks,
                              .num_ranks = num_ranks,
                              .host = numbers,
                              .first = numbers + n,
                              .node = numbers + 2 * n,
                              .place = numbers + 3 * n,
                              .host_of_node = numbers + 4 * n};
    weft_status status = draw(&mapping, costs, layout, error);
    free(numbers);
    return status;
}
