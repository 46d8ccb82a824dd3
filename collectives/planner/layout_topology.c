/*
 * SPDX-License-Identifier: Apache-2.0
 * See layout_topology.h. Of very many ranks only some are asked for their ways to all others:
 * evenly spaced ones, so that every host of a regular cluster is seen as a destination.
 */
#include "collectives/planner/layout_topology.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collectives/planner/costs.h"
#include "topology/route.h"

enum { sources_limit = 64, IN_HOST = 0, BETWEEN_HOSTS = 1, NUM_LEVELS = 2 };

// The slowest way between two ranks of one level.
struct way {
    int64_t latency_ps;
    int64_t bandwidth;
    int from, to; // ranks with the narrowest way
    struct weft_route narrowest;
};

struct survey {
    const struct weft_topology *topology;
    int num_ranks;
    int *places; // (ranks) node of each
    int *hosts;  // (ranks) host of each; where there is none, its node
    struct way ways[NUM_LEVELS];
};

static weft_status ask(struct survey *survey, struct weft_router *router, int rank,
                       struct weft_error *error)
{
    const struct weft_route *routes = weft_router_from(router, survey->places[rank]);
    if (!routes)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for routes");
    for (int peer = 0; peer < survey->num_ranks; peer++) {
        const struct weft_route *route = &routes[survey->places[peer]];
        struct way *way =
            &survey->ways[survey->hosts[peer] == survey->hosts[rank] ? IN_HOST : BETWEEN_HOSTS];
        if (route->latency_ps < 0)
            return weft_fail(error, WEFT_NOT_FOUND, "no way from rank %d (%s) to rank %d (%s)",
                             rank, survey->topology->nodes[survey->places[rank]].name, peer,
                             survey->topology->nodes[survey->places[peer]].name);
        if (route->latency_ps > way->latency_ps)
            way->latency_ps = route->latency_ps;
        if (route->num_links > 0 && route->bandwidth < way->bandwidth) {
            way->bandwidth = route->bandwidth;
            way->narrowest = *route;
            way->from = rank;
            way->to = peer;
        }
    }
    return WEFT_OK;
}

static weft_status ask_some(struct survey *survey, struct weft_error *error)
{
    struct weft_router *router = NULL;
    WEFT_TRY(weft_router_create(survey->topology, &router, error));
    int num_sources = survey->num_ranks < sources_limit ? survey->num_ranks : sources_limit;
    weft_status status = WEFT_OK;
    for (int i = 0; i < num_sources && status == WEFT_OK; i++)
        status = ask(survey, router, (int)((int64_t)i * survey->num_ranks / num_sources), error);
    weft_router_destroy(&router);
    return status;
}

static int host_of(const struct weft_topology *topology, int node)
{
    int host = weft_topology_ancestor(topology, node, WEFT_NODE_HOST);
    return host < 0 ? node : host;
}

// The most ranks on one place, and on one host for one NIC of it.
static weft_status count(const struct survey *survey, struct weft_layout_origin *origin,
                         int *sharing, int *crossing, struct weft_error *error)
{
    const struct weft_topology *topology = survey->topology;
    int *ranks = calloc(2 * (size_t)topology->num_nodes, sizeof *ranks); // on node; on host
    int *nics = calloc((size_t)topology->num_nodes, sizeof *nics);
    if (!ranks || !nics) {
        free(ranks);
        free(nics);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for costs");
    }
    int *on_host = ranks + topology->num_nodes;
    for (int i = 0; i < topology->num_nodes; i++)
        if (topology->nodes[i].kind == WEFT_NODE_NIC)
            nics[host_of(topology, i)]++;
    for (int r = 0; r < survey->num_ranks; r++) {
        ranks[survey->places[r]]++;
        on_host[survey->hosts[r]]++;
    }
    *sharing = *crossing = 1;
    for (int i = 0; i < topology->num_nodes; i++) {
        int per_nic = nics[i] ? (on_host[i] + nics[i] - 1) / nics[i] : on_host[i];
        origin->num_places += ranks[i] > 0;
        origin->num_hosts += on_host[i] > 0;
        *sharing = ranks[i] > *sharing ? ranks[i] : *sharing;
        *crossing = per_nic > *crossing ? per_nic : *crossing;
    }
    free(ranks);
    free(nics);
    return WEFT_OK;
}

static void describe(const struct survey *survey, const struct way *way,
                     struct weft_level_origin *origin)
{
    const struct weft_topology *topology = survey->topology;
    const struct weft_node *place = &topology->nodes[survey->places[0]];
    origin->latency = origin->bandwidth = WEFT_SOURCE_ASSUMED;
    if (way->narrowest.num_links < 1) {
        snprintf(origin->route, sizeof origin->route, "all ranks on %.64s", place->name);
        return;
    }
    const struct weft_link *link = &topology->links[way->narrowest.narrowest_link];
    origin->bandwidth = weft_link_bandwidth(link).source;
    origin->latency = weft_link_latency(link).source;
    snprintf(origin->route, sizeof origin->route,
             "rank %d to rank %d, %d links, narrowest: %s between %.64s and %.64s", way->from,
             way->to, way->narrowest.num_links, weft_link_kinds[link->kind].name,
             topology->nodes[link->from].name, topology->nodes[link->to].name);
}

// On a host, bytes go through a buffer that both ranks map: in and out again, twice the time of the
// way. GPUs combine in their own memory.
static void adapt(const struct survey *survey, int num_hosts, struct weft_costs *costs)
{
    bool is_gpu = survey->topology->nodes[survey->places[0]].kind == WEFT_NODE_GPU;
    if (is_gpu) {
        costs->combine_ps_per_kib = costs->copy_ps_per_kib = 1500; // 700 GB/s
        costs->launch_ps = 2000000;                                // of a kernel
        costs->step_ps = 0;                                        // it is in the message
        costs->overlaps = 1;
    } else {
        costs->levels[IN_HOST].message.lines[0].ps_per_mib *= 2;
        costs->levels[IN_HOST].crowd_ps_per_mib *= 2;
    }
    if (is_gpu || num_hosts > 1) {
        costs->flat_ps = -1;
        costs->flat_bytes = 0;
    }
}

static weft_status price(const struct survey *survey, struct weft_costs *costs,
                         struct weft_layout_origin *origin, struct weft_error *error)
{
    static const char *const names[NUM_LEVELS] = {"hosts", "clusters"};
    int crossing = 1;
    *costs = weft_costs_assumed(survey->num_ranks, 0);
    WEFT_TRY(count(survey, origin, &costs->sharing, &crossing, error));
    costs->num_levels = NUM_LEVELS;
    costs->levels[BETWEEN_HOSTS] = costs->levels[IN_HOST];
    for (int l = 0; l < NUM_LEVELS; l++) {
        const struct way *way = &survey->ways[l];
        origin->levels[l].groups = names[l];
        describe(survey, way, &origin->levels[l]);
        if (way->narrowest.num_links > 0)
            weft_level_use_route(&costs->levels[l],
                                 costs->levels[l].message.lines[0].fixed_ps + way->latency_ps,
                                 way->bandwidth);
    }
    costs->levels[BETWEEN_HOSTS].crowd_ps_per_mib *= crossing;
    adapt(survey, origin->num_hosts, costs);
    return WEFT_OK;
}

static weft_status look(struct survey *survey, struct weft_layout **layout,
                        struct weft_layout_origin *origin, struct weft_error *error)
{
    struct weft_layout_origin made = {0};
    struct weft_costs costs;
    WEFT_TRY(weft_topology_place(survey->topology, survey->num_ranks, survey->places, error));
    for (int r = 0; r < survey->num_ranks; r++)
        survey->hosts[r] = host_of(survey->topology, survey->places[r]);
    WEFT_TRY(ask_some(survey, error));
    WEFT_TRY(price(survey, &costs, &made, error));
    made.place_kind = survey->topology->nodes[survey->places[0]].kind;
    const int *group_of[] = {survey->hosts};
    WEFT_TRY(weft_layout_create(survey->num_ranks, &costs, group_of, layout, error));
    if ((*layout)->costs.num_levels == 1 && made.num_hosts > 1) // one rank per host
        made.levels[0] = made.levels[BETWEEN_HOSTS];
    *origin = made;
    return WEFT_OK;
}

weft_status weft_layout_from_topology(const struct weft_topology *topology, int num_ranks,
                                      struct weft_layout **layout,
                                      struct weft_layout_origin *origin, struct weft_error *error)
{
    if (num_ranks < 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d ranks", num_ranks);
    struct survey survey = {.topology = topology, .num_ranks = num_ranks};
    for (int l = 0; l < NUM_LEVELS; l++)
        survey.ways[l].bandwidth = INT64_MAX;
    survey.places = malloc((size_t)num_ranks * sizeof *survey.places);
    survey.hosts = malloc((size_t)num_ranks * sizeof *survey.hosts);
    weft_status status = WEFT_OK;
    if (!survey.places || !survey.hosts)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    if (status == WEFT_OK)
        status = look(&survey, layout, origin, error);
    free(survey.places);
    free(survey.hosts);
    return status;
}
