/*
 * SPDX-License-Identifier: Apache-2.0
 * Ways between ranks; see survey.h. Of very many ranks only some are asked for their ways to all
 * others: evenly spaced ones, so that every host is seen as a destination, and of every kind of
 * place (by its own links) the first.
 */
#include "collectives/planner/survey.h"

#include <stdlib.h>
#include <string.h>

#include "collectives/planner/curve.h"

enum {
    sources_limit = 64,
    work_limit = 1 << 21, // nodes visited by all sources together, if more than a few
    sources_least = 8,
    circle_limit = 72, // ranks of a group whose circle is looked at
};

/* ---- routers ---- */

static const uint32_t direct_kinds = UINT32_C(1) << WEFT_LINK_NVLINK | UINT32_C(1)
                                                                           << WEFT_LINK_XGMI;

// Whether some ranks are joined by direct links alone, from one to the other.
static bool has_neighbours(const struct weft_survey *survey)
{
    const struct weft_topology *t = survey->topology;
    for (int i = 0; i < t->num_links; i++)
        if ((direct_kinds >> t->links[i].kind & 1) && survey->has_rank[t->links[i].from] &&
            survey->has_rank[t->links[i].to])
            return true;
    return false;
}

static weft_status make_routers(struct weft_survey *survey, struct weft_error *error)
{
    const struct weft_topology *t = survey->topology;
    bool has_direct = false;
    WEFT_TRY(weft_router_create(t, &survey->routers[WEFT_SURVEY_ANY], error));
    for (int i = 0; i < t->num_links; i++)
        has_direct |= direct_kinds >> t->links[i].kind & 1;
    survey->has_rank = calloc((size_t)t->num_nodes + 1, sizeof *survey->has_rank);
    if (!survey->has_rank)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for ways");
    for (int r = 0; r < survey->num_ranks; r++)
        survey->has_rank[survey->nodes[r]] = true;
    if (!has_direct || t->nodes[survey->nodes[0]].kind != WEFT_NODE_GPU)
        return WEFT_OK;
    WEFT_TRY(
        weft_router_create_of(t, direct_kinds, NULL, &survey->routers[WEFT_SURVEY_DIRECT], error));
    if (has_neighbours(survey))
        WEFT_TRY(weft_router_create_of(t, direct_kinds, survey->has_rank,
                                       &survey->routers[WEFT_SURVEY_DIRECT_PASSING], error));
    return WEFT_OK;
}

bool weft_survey_passes(const struct weft_survey *survey, const struct weft_route *routes)
{
    for (int i = 0; i < WEFT_SURVEY_ROUTERS; i++)
        if (survey->routers[i] && routes == weft_router_routes(survey->routers[i]))
            return i == WEFT_SURVEY_DIRECT_PASSING || i == WEFT_SURVEY_ANY_PASSING;
    return false;
}

const struct weft_route *weft_survey_routes(const struct weft_survey *survey, int from, int to)
{
    const struct weft_route *routes = NULL;
    for (int i = 0; i < WEFT_SURVEY_ROUTERS; i++) {
        if (!survey->routers[i])
            continue;
        routes = weft_router_between(survey->routers[i], from, to);
        if (routes[to].num_links >= 0)
            break;
    }
    return routes;
}

static int level_of(const struct weft_survey *survey, int a, int b)
{
    int level = 0;
    while (level < survey->num_levels - 1 &&
           survey->levels[level].of_node[a] != survey->levels[level].of_node[b])
        level++;
    return level;
}

// Whether two ranks stand in the same place of their groups of the level below theirs; in a smaller
// group, places begin again.
static bool are_alike(const struct weft_survey *survey, int level, int a, int b)
{
    if (level == 0)
        return true;
    const struct weft_survey_level *below = &survey->levels[level - 1];
    int size_a = below->size[below->of_node[survey->nodes[a]]];
    int size_b = below->size[below->of_node[survey->nodes[b]]];
    return below->place[a] % size_b == below->place[b] ||
           below->place[b] % size_a == below->place[a];
}

static weft_status ask(struct weft_survey *survey, int rank, struct weft_error *error)
{
    const struct weft_topology *t = survey->topology;
    const struct weft_route *routes[WEFT_SURVEY_ROUTERS] = {NULL}; // as far as asked for
    int here = survey->nodes[rank];
    for (int peer = 0; peer < survey->num_ranks; peer++) {
        int there = survey->nodes[peer];
        const struct weft_route *route = NULL;
        for (int i = 0; i < WEFT_SURVEY_ROUTERS && (!route || route->num_links < 0); i++) {
            if (i == WEFT_SURVEY_ANY_PASSING && !survey->routers[i])
                WEFT_TRY(weft_router_create_of(t, UINT32_MAX, survey->has_rank, &survey->routers[i],
                                               error));
            if (!survey->routers[i])
                continue;
            routes[i] = routes[i] ? routes[i] : weft_router_from(survey->routers[i], here);
            route = &routes[i][there];
        }
        int level = level_of(survey, here, there);
        struct weft_survey_way *way = &survey->levels[level].way;
        if (route->latency_ps < 0)
            return weft_fail(error, WEFT_NOT_FOUND, "no way from rank %d (%s) to rank %d (%s)",
                             rank, t->nodes[here].name, peer, t->nodes[there].name);
        if (route->num_links < 1 || !are_alike(survey, level, rank, peer))
            continue;
        if (route->latency_ps > way->latency_ps)
            way->latency_ps = route->latency_ps;
        if (way->num_pairs == 0 || route->bandwidth < way->narrowest.bandwidth) {
            way->narrowest = *route;
            way->from = rank;
            way->to = peer;
        }
        way->num_pairs += way->num_pairs < INT32_MAX;
    }
    return WEFT_OK;
}

/* ---- who is asked ---- */

static uint64_t mix(uint64_t hash, int64_t value)
{
    hash = (hash ^ (uint64_t)value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ (hash >> 29);
}

// Of what hangs on a node, in whatever order.
static uint64_t look_of(const struct weft_survey *survey, int node)
{
    const struct weft_topology *t = survey->topology;
    uint64_t sum = 0;
    for (int k = survey->links.first[node]; k < survey->links.first[node + 1]; k++) {
        const struct weft_link *link = &t->links[survey->links.link[k]];
        uint64_t hash = mix(1, link->kind);
        hash = mix(hash, weft_link_bandwidth(link).value);
        sum += mix(hash, weft_link_latency(link).value);
    }
    return sum;
}

static weft_status ask_some(struct weft_survey *survey, struct weft_error *error)
{
    int n = survey->num_ranks, most = work_limit / (survey->topology->num_nodes + 1);
    most = most < sources_least ? sources_least : most > sources_limit ? sources_limit : most;
    int num_even = n < most ? n : most, num_looks = 0;
    uint64_t looks[sources_least];
    for (int i = 0; i < num_even; i++)
        WEFT_TRY(ask(survey, (int)((int64_t)i * n / num_even), error));
    for (int r = 0; r < n && num_even < n && num_looks < sources_least; r++) {
        uint64_t look = look_of(survey, survey->nodes[r]);
        int at = 0;
        while (at < num_looks && looks[at] != look)
            at++;
        if (at < num_looks)
            continue;
        looks[num_looks++] = look;
        WEFT_TRY(ask(survey, r, error));
    }
    return WEFT_OK;
}

/* ---- widths ---- */

// The circle of the ranks of one innermost group, all of whom send at once.
static void try_circle(struct weft_survey *survey, struct weft_survey_load *load,
                       const int *members, int count)
{
    struct weft_survey_way *way = &survey->levels[0].way;
    weft_survey_load_clear(load);
    for (int i = 0; i < count; i++) {
        int from = survey->nodes[members[i]], to = survey->nodes[members[(i + 1) % count]];
        weft_survey_load_add(load, weft_survey_routes(survey, from, to), from, to, 1);
    }
    int64_t price = weft_survey_load_slowest(load);
    way->crowd_ps_per_mib = price > way->crowd_ps_per_mib ? price : way->crowd_ps_per_mib;
}

// The groups of the first, a middle and the last rank.
static void try_circles(struct weft_survey *survey, struct weft_survey_load *load)
{
    int n = survey->num_ranks, members[circle_limit];
    const int *group = survey->levels[0].of_node;
    for (int i = 0; i < 3; i++) {
        int like = group[survey->nodes[i == 0 ? 0 : i == 1 ? n / 2 : n - 1]], count = 0;
        for (int r = 0; r < n && count <= circle_limit; r++)
            if (group[survey->nodes[r]] == like) {
                if (count < circle_limit)
                    members[count] = r;
                count++;
            }
        if (count > 1 && count <= circle_limit)
            try_circle(survey, load, members, count);
    }
}

static weft_status price(struct weft_survey *survey, struct weft_survey_load *load,
                         struct weft_error *error)
{
    bool is_gpu = survey->topology->nodes[survey->nodes[0]].kind == WEFT_NODE_GPU;
    for (int l = 0; l < survey->num_levels; l++) {
        struct weft_survey_way *way = &survey->levels[l].way;
        if (way->num_pairs == 0)
            continue;
        int from = survey->nodes[way->from], to = survey->nodes[way->to];
        weft_survey_load_clear(load);
        weft_survey_load_add(load, weft_survey_routes(survey, from, to), from, to, 1);
        way->alone_ps_per_mib = weft_survey_load_slowest(load);
        way->crowd_ps_per_mib = way->alone_ps_per_mib;
        if (l > 0)
            WEFT_TRY(weft_survey_price_crowd(survey, l, error));
        if (way->leave_ps_per_mib > way->crowd_ps_per_mib)
            way->crowd_ps_per_mib = way->leave_ps_per_mib;
    }
    if (is_gpu && survey->levels[0].way.num_pairs > 0)
        try_circles(survey, load);
    return WEFT_OK;
}

weft_status weft_survey_open(struct weft_survey *survey, const struct weft_topology *topology,
                             const int *nodes, int num_ranks, struct weft_error *error)
{
    *survey = (struct weft_survey){.topology = topology, .num_ranks = num_ranks, .nodes = nodes};
    return make_routers(survey, error);
}

weft_status weft_survey_links(struct weft_survey *survey, int from, int to, int *links,
                              int *num_links, struct weft_error *error)
{
    const struct weft_topology *t = survey->topology;
    for (int i = 0; i < WEFT_SURVEY_ROUTERS; i++) {
        if (i == WEFT_SURVEY_ANY_PASSING && !survey->routers[i])
            WEFT_TRY(
                weft_router_create_of(t, UINT32_MAX, survey->has_rank, &survey->routers[i], error));
        if (!survey->routers[i])
            continue;
        *num_links = weft_router_between(survey->routers[i], from, to)[to].num_links;
        if (*num_links < 0)
            continue;
        weft_router_links(survey->routers[i], to, links);
        return WEFT_OK;
    }
    return weft_fail(error, WEFT_NOT_FOUND, "no way from %s to %s", t->nodes[from].name,
                     t->nodes[to].name);
}

weft_status weft_survey_make(struct weft_survey *survey, const struct weft_topology *topology,
                             const int *nodes, int num_ranks, struct weft_error *error)
{
    struct weft_survey_load load = {0};
    WEFT_TRY(weft_survey_open(survey, topology, nodes, num_ranks, error));
    WEFT_TRY(weft_adjacency_create(topology, &survey->links, error));
    WEFT_TRY(weft_survey_find_groups(survey, error));
    WEFT_TRY(ask_some(survey, error));
    weft_status status = weft_survey_load_create(survey, &load, error);
    if (status == WEFT_OK)
        status = price(survey, &load, error);
    weft_survey_load_free(&load);
    return status;
}

void weft_survey_level_free(struct weft_survey_level *level)
{
    free(level->of_node);
    free(level->size);
    free(level->place);
    *level = (struct weft_survey_level){0};
}

void weft_survey_free(struct weft_survey *survey)
{
    for (int l = 0; l < WEFT_SURVEY_LEVELS; l++)
        weft_survey_level_free(&survey->levels[l]);
    weft_adjacency_destroy(&survey->links);
    for (int i = 0; i < WEFT_SURVEY_ROUTERS; i++)
        weft_router_destroy(&survey->routers[i]);
    free(survey->has_rank);
    *survey = (struct weft_survey){0};
}
