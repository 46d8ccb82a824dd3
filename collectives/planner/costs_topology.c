/*
 * SPDX-License-Identifier: Apache-2.0
 * See costs_topology.h. Of very many ranks only some are asked for their ways to all others: evenly
 * spaced ones, so that every host of a regular cluster is seen as a destination.
 */
#include "collectives/planner/costs_topology.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/route.h"

enum { sources_limit = 64 };

struct survey {
    const struct weft_topology *topology;
    int num_ranks;
    int *places; // (ranks) node of each
    int64_t latency_ps;
    int64_t bandwidth;
    int from, to; // ranks with the narrowest way
    struct weft_route narrowest;
};

static weft_status ask(struct survey *survey, struct weft_router *router, int rank,
                       struct weft_error *error)
{
    const struct weft_route *routes = weft_router_from(router, survey->places[rank]);
    if (!routes)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for routes");
    for (int peer = 0; peer < survey->num_ranks; peer++) {
        const struct weft_route *route = &routes[survey->places[peer]];
        if (route->latency_ps < 0)
            return weft_fail(error, WEFT_NOT_FOUND, "no way from rank %d (%s) to rank %d (%s)",
                             rank, survey->topology->nodes[survey->places[rank]].name, peer,
                             survey->topology->nodes[survey->places[peer]].name);
        if (route->latency_ps > survey->latency_ps)
            survey->latency_ps = route->latency_ps;
        if (route->num_links > 0 && route->bandwidth < survey->bandwidth) {
            survey->bandwidth = route->bandwidth;
            survey->narrowest = *route;
            survey->from = rank;
            survey->to = peer;
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

// The most ranks on one host for one NIC of it, and on one place.
static weft_status count(const struct survey *survey, struct weft_costs *costs,
                         struct weft_cost_origin *origin, struct weft_error *error)
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
        on_host[host_of(topology, survey->places[r])]++;
    }
    int sharing = 1, crossing = 1;
    for (int i = 0; i < topology->num_nodes; i++) {
        int per_nic = nics[i] ? (on_host[i] + nics[i] - 1) / nics[i] : on_host[i];
        origin->num_places += ranks[i] > 0;
        origin->num_hosts += on_host[i] > 0;
        sharing = ranks[i] > sharing ? ranks[i] : sharing;
        crossing = per_nic > crossing ? per_nic : crossing;
    }
    free(ranks);
    free(nics);
    costs->sharing = sharing;
    costs->crossing = origin->num_hosts > 1 ? crossing : 1;
    return WEFT_OK;
}

static void describe(const struct survey *survey, struct weft_cost_origin *origin)
{
    const struct weft_topology *topology = survey->topology;
    const struct weft_node *place = &topology->nodes[survey->places[0]];
    origin->place_kind = place->kind;
    if (survey->narrowest.num_links < 1) {
        snprintf(origin->route, sizeof origin->route, "all ranks on %.64s", place->name);
        return;
    }
    const struct weft_link *link = &topology->links[survey->narrowest.narrowest_link];
    origin->bandwidth = weft_link_bandwidth(link).source;
    origin->latency = weft_link_latency(link).source;
    snprintf(origin->route, sizeof origin->route,
             "rank %d to rank %d, %d links, narrowest: %s between %.64s and %.64s", survey->from,
             survey->to, survey->narrowest.num_links, weft_link_kinds[link->kind].name,
             topology->nodes[link->from].name, topology->nodes[link->to].name);
}

// What only this kind of place changes. On a host, bytes go through a buffer that both ranks map:
// in and out again, twice the time of the way. GPUs combine in their own memory.
static void adapt(const struct survey *survey, bool is_one_host, struct weft_costs *costs)
{
    bool is_gpu = survey->topology->nodes[survey->places[0]].kind == WEFT_NODE_GPU;
    if (is_gpu) {
        costs->combine_ps_per_kib = costs->copy_ps_per_kib = 1500; // 700 GB/s
        costs->step_ps = 2000000;                                  // a kernel launch
    } else if (is_one_host) {
        costs->transfer_ps_per_kib *= 2;
    }
    if (is_gpu || !is_one_host) {
        costs->flat_ps = -1;
        costs->flat_bytes = 0;
    }
}

weft_status weft_costs_from_topology(const struct weft_topology *topology, int num_ranks,
                                     struct weft_costs *costs, struct weft_cost_origin *origin,
                                     struct weft_error *error)
{
    if (num_ranks < 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d ranks", num_ranks);
    struct survey survey = {
        .topology = topology, .num_ranks = num_ranks, .bandwidth = INT64_MAX, .latency_ps = 0};
    struct weft_costs made = weft_costs_assumed(num_ranks, 0);
    struct weft_cost_origin from = {.latency = WEFT_SOURCE_ASSUMED,
                                    .bandwidth = WEFT_SOURCE_ASSUMED};
    survey.places = malloc((size_t)num_ranks * sizeof *survey.places);
    if (!survey.places)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for costs");
    weft_status status = weft_topology_place(topology, num_ranks, survey.places, error);
    if (status == WEFT_OK)
        status = ask_some(&survey, error);
    if (status == WEFT_OK)
        status = count(&survey, &made, &from, error);
    if (status == WEFT_OK) {
        describe(&survey, &from);
        if (survey.narrowest.num_links > 0)
            weft_costs_use_route(&made, made.message_ps + survey.latency_ps, survey.bandwidth);
        adapt(&survey, from.num_hosts == 1, &made);
        status = weft_costs_check(&made, error);
    }
    free(survey.places);
    if (status != WEFT_OK)
        return status;
    *costs = made;
    *origin = from;
    return WEFT_OK;
}
