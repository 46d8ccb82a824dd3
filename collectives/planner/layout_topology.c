/*
 * SPDX-License-Identifier: Apache-2.0
 * See layout_topology.h: what was surveyed becomes levels with prices.
 */
#include "collectives/planner/layout_topology.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/protocols.h"
#include "collectives/planner/rings.h"
#include "collectives/planner/survey.h"

static int host_of(const struct weft_topology *topology, int node)
{
    int host = weft_topology_ancestor(topology, node, WEFT_NODE_HOST);
    return host < 0 ? node : host;
}

/* ---- which levels stay ---- */

static bool costs_the_same(const struct weft_survey_way *a, const struct weft_survey_way *b)
{
    return a->latency_ps == b->latency_ps && a->alone_ps_per_mib == b->alone_ps_per_mib &&
           a->crowd_ps_per_mib == b->crowd_ps_per_mib;
}

static void drop(struct weft_survey *survey, int level)
{
    weft_survey_level_free(&survey->levels[level]);
    for (int l = level; l + 1 < survey->num_levels; l++)
        survey->levels[l] = survey->levels[l + 1];
    survey->levels[--survey->num_levels] = (struct weft_survey_level){0};
}

// The step from a level to the next that changes prices least, in parts of 1024.
static int least_step(const struct weft_survey *survey)
{
    int least = 0;
    __int128 smallest = -1;
    for (int l = 0; l + 1 < survey->num_levels; l++) {
        const struct weft_survey_way *near = &survey->levels[l].way;
        const struct weft_survey_way *far = &survey->levels[l + 1].way;
        __int128 step = (__int128)1024 * far->crowd_ps_per_mib / (near->crowd_ps_per_mib + 1) +
                        (__int128)1024 * far->latency_ps / (near->latency_ps + 1);
        if (smallest < 0 || step < smallest) {
            smallest = step;
            least = l;
        }
    }
    return least;
}

static void choose_levels(struct weft_survey *survey)
{
    for (int l = survey->num_levels - 2; l >= 0; l--)
        if (survey->levels[l].way.num_pairs == 0 && survey->levels[l].num_groups > 1)
            drop(survey, l); // nobody to talk to; ranks of one place are together further out, too
    for (int l = survey->num_levels - 2; l >= 0; l--)
        if (costs_the_same(&survey->levels[l].way, &survey->levels[l + 1].way))
            drop(survey, l);
    while (survey->num_levels > WEFT_LEVELS_LIMIT)
        drop(survey, least_step(survey));
}

/* ---- prices ---- */

static bool leaves_host(const struct weft_survey *survey, const struct weft_survey_way *way)
{
    return host_of(survey->topology, survey->nodes[way->from]) !=
           host_of(survey->topology, survey->nodes[way->to]);
}

// On a host, bytes of processes go through a buffer that both ranks map: in and out again, twice
// the time of the way.
static void price_processes(const struct weft_survey *survey, const struct weft_survey_way *way,
                            struct weft_level_costs *level)
{
    int64_t factor = leaves_host(survey, way) ? 1 : 2;
    level->message.lines[0].fixed_ps += way->latency_ps;
    level->message.lines[0].ps_per_mib = way->alone_ps_per_mib * factor;
    level->crowd_ps_per_mib = way->crowd_ps_per_mib * factor;
    level->leaves_host = leaves_host(survey, way);
}

static void price_gpus(const struct weft_survey *survey, const struct weft_survey_way *way,
                       struct weft_level_costs *level)
{
    int kind = way->narrowest.narrowest_kind;
    bool is_direct =
        kind == WEFT_LINK_NVLINK || kind == WEFT_LINK_XGMI || !leaves_host(survey, way);
    level->message = weft_protocols_curve(is_direct ? kind : WEFT_LINK_NETWORK, way->latency_ps,
                                          way->alone_ps_per_mib);
    level->latency_ps = way->latency_ps;
    level->crowd_ps_per_mib = way->crowd_ps_per_mib;
}

static void describe(const struct weft_survey *survey, const struct weft_survey_way *way,
                     struct weft_level_origin *origin)
{
    const struct weft_topology *topology = survey->topology;
    origin->latency = origin->bandwidth = WEFT_SOURCE_ASSUMED;
    if (way->num_pairs == 0) {
        snprintf(origin->route, sizeof origin->route, "all ranks on %.64s",
                 topology->nodes[survey->nodes[0]].name);
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

// GPUs combine in their own memory: two values are read and one is written.
static void price_memory(const struct weft_survey *survey, struct weft_costs *costs)
{
    const struct weft_topology *topology = survey->topology;
    int64_t rate = INT64_MAX;
    for (int r = 0; r < survey->num_ranks; r++) {
        const char *model = weft_topology_text(topology, survey->nodes[r], "model");
        int64_t of_rank = weft_protocols_memory(model);
        rate = of_rank < rate ? of_rank : rate;
    }
    costs->copy_ps_per_kib = 2 * INT64_C(1024) * 1000000000000 / rate;
    costs->combine_ps_per_kib = 3 * INT64_C(1024) * 1000000000000 / rate;
    costs->launch_ps = 2000000; // of a kernel
    costs->step_ps = 0;         // it is in the message
    costs->overlaps = 1;
}

static weft_status count(const struct weft_survey *survey, struct weft_layout_origin *origin,
                         int *sharing, struct weft_error *error)
{
    const struct weft_topology *topology = survey->topology;
    int *ranks = calloc((size_t)topology->num_nodes + 1, sizeof *ranks);
    if (!ranks)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for costs");
    for (int r = 0; r < survey->num_ranks; r++) {
        int node = survey->nodes[r];
        origin->num_places += ranks[node]++ == 0;
        *sharing = ranks[node] > *sharing ? ranks[node] : *sharing;
    }
    memset(ranks, 0, (size_t)topology->num_nodes * sizeof *ranks);
    for (int r = 0; r < survey->num_ranks; r++)
        origin->num_hosts += ranks[host_of(topology, survey->nodes[r])]++ == 0;
    free(ranks);
    return WEFT_OK;
}

static weft_status price(const struct weft_survey *survey, struct weft_costs *costs,
                         struct weft_layout_origin *origin, struct weft_error *error)
{
    bool is_gpu = survey->topology->nodes[survey->nodes[0]].kind == WEFT_NODE_GPU;
    *costs = weft_costs_assumed(survey->num_ranks, 0);
    costs->sharing = 1;
    WEFT_TRY(count(survey, origin, &costs->sharing, error));
    costs->num_levels = survey->num_levels;
    const struct weft_level_costs assumed = costs->levels[0];
    for (int l = 0; l < survey->num_levels; l++) {
        const struct weft_survey_way *way = &survey->levels[l].way;
        costs->levels[l] = assumed;
        origin->levels[l].groups = survey->levels[l].groups;
        describe(survey, way, &origin->levels[l]);
        if (way->num_pairs > 0 && is_gpu)
            price_gpus(survey, way, &costs->levels[l]);
        else if (way->num_pairs > 0)
            price_processes(survey, way, &costs->levels[l]);
    }
    if (is_gpu)
        price_memory(survey, costs);
    if (is_gpu || origin->num_hosts > 1) {
        costs->flat_ps = -1;
        costs->flat_bytes = 0;
    }
    return WEFT_OK;
}

/* ---- the layout ---- */

static weft_status create(const struct weft_survey *survey, const struct weft_costs *costs,
                          struct weft_layout **layout, struct weft_error *error)
{
    size_t n = (size_t)survey->num_ranks;
    int *names = malloc(n * WEFT_LEVELS_LIMIT * sizeof *names);
    const int *group_of[WEFT_LEVELS_LIMIT];
    if (!names)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    for (int l = 0; l < survey->num_levels; l++) {
        int *of = names + (size_t)l * n;
        for (size_t r = 0; r < n; r++)
            of[r] = survey->levels[l].of_node[survey->nodes[r]];
        group_of[l] = of;
    }
    weft_status status = weft_layout_create(survey->num_ranks, costs, group_of, layout, error);
    free(names);
    return status;
}

// The levels whose groups hold all ranks that NVLink or XGMI joins without a switch.
static int linked_levels(const struct weft_survey *survey)
{
    const struct weft_topology *t = survey->topology;
    int linked = 0;
    for (int i = 0; i < t->num_links && survey->routers[WEFT_SURVEY_DIRECT_PASSING]; i++) {
        const struct weft_link *link = &t->links[i];
        int level = 0;
        if ((link->kind != WEFT_LINK_NVLINK && link->kind != WEFT_LINK_XGMI) ||
            !survey->has_rank[link->from] || !survey->has_rank[link->to])
            continue;
        while (survey->levels[level].of_node[link->from] != survey->levels[level].of_node[link->to])
            level++;
        linked = level + 1 > linked ? level + 1 : linked;
    }
    return linked;
}

static weft_status check_nodes(const struct weft_topology *topology, const int *nodes,
                               int num_ranks, struct weft_error *error)
{
    if (num_ranks < 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d ranks", num_ranks);
    for (int r = 0; r < num_ranks; r++) {
        if (nodes[r] < 0 || nodes[r] >= topology->num_nodes)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "rank %d on node %d of %d", r, nodes[r],
                             topology->num_nodes);
        const struct weft_node *node = &topology->nodes[nodes[r]];
        if (weft_node_kinds[node->kind].can_hold_ranks == 0)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "rank %d on %s, a %s", r, node->name,
                             weft_node_kinds[node->kind].singular);
    }
    return WEFT_OK;
}

weft_status weft_layout_from_nodes(const struct weft_topology *topology, const int *nodes,
                                   int num_ranks, struct weft_layout **layout,
                                   struct weft_layout_origin *origin, struct weft_error *error)
{
    struct weft_survey survey;
    struct weft_costs costs;
    struct weft_layout_origin made = {0};
    struct weft_layout *drawn = NULL;
    WEFT_TRY(check_nodes(topology, nodes, num_ranks, error));
    weft_status status = weft_survey_make(&survey, topology, nodes, num_ranks, error);
    if (status == WEFT_OK) {
        choose_levels(&survey);
        status = price(&survey, &costs, &made, error);
    }
    if (status == WEFT_OK)
        status = create(&survey, &costs, &drawn, error);
    if (status == WEFT_OK)
        drawn->linked_levels = linked_levels(&survey);
    if (status == WEFT_OK && costs.overlaps)
        status = weft_rings_find(&survey, drawn, error);
    weft_survey_free(&survey);
    if (status == WEFT_OK)
        status = weft_layout_attach_network(topology, nodes, drawn, error);
    if (status == WEFT_OK && costs.overlaps)
        status = weft_layout_price_links(drawn, error);
    if (status != WEFT_OK) {
        weft_layout_destroy(&drawn);
        return status;
    }
    *layout = drawn;
    made.place_kind = topology->nodes[nodes[0]].kind;
    *origin = made;
    return WEFT_OK;
}

weft_status weft_layout_from_topology(const struct weft_topology *topology, int num_ranks,
                                      struct weft_layout **layout,
                                      struct weft_layout_origin *origin, struct weft_error *error)
{
    if (num_ranks < 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d ranks", num_ranks);
    int *nodes = malloc((size_t)num_ranks * sizeof *nodes);
    if (!nodes)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    weft_status status = weft_topology_place(topology, num_ranks, nodes, error);
    if (status == WEFT_OK)
        status = weft_layout_from_nodes(topology, nodes, num_ranks, layout, origin, error);
    free(nodes);
    return status;
}
