/*
 * SPDX-License-Identifier: Apache-2.0
 * What links from rank to rank carry when ranks talk in a pattern: one to all, all to all, each to
 * the one that stands some places on. Ways of several links share them, so a level's price between
 * two ranks says little of many; here the links are counted.
 */
#include <stdlib.h>

#include "collectives/planner/layout_topology.h"
#include "collectives/planner/ways.h"
#include "topology/network.h"

struct count {
    const struct weft_layout *layout;
    struct weft_ways *ways;
    int64_t *load;      // (arcs) ways over each
    int64_t longest_ps; // of the ways counted
};

static void begin(struct count *count)
{
    for (int a = 0; a < count->layout->network->num_arcs; a++)
        count->load[a] = 0;
    count->longest_ps = 0;
}

static weft_status add(struct count *count, int from, int to, struct weft_error *error)
{
    int arcs[WEFT_ROUTE_LIMIT];
    struct weft_way way = {0};
    WEFT_TRY(weft_ways_route(count->ways, from, to, arcs, &way, error));
    for (int i = 0; i < way.num_arcs; i++)
        count->load[arcs[i]]++;
    if (way.latency_ps > count->longest_ps)
        count->longest_ps = way.latency_ps;
    return WEFT_OK;
}

// What the busiest arc takes where each way carries a MiB divided by `parts`.
static int64_t busiest(const struct count *count, int parts)
{
    const __int128 mib_ps = (__int128)1000000000000 << 20;
    __int128 most = 0;
    for (int a = 0; a < count->layout->network->num_arcs; a++) {
        __int128 time = mib_ps / parts * count->load[a] / count->layout->network->arcs[a].capacity;
        most = time > most ? time : most;
    }
    return most > INT64_MAX / 4 ? INT64_MAX / 4 : (int64_t)most;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static weft_status count_all(struct count *count, const int *members, int size,
                             struct weft_level_costs *costs, struct weft_error *error)
{
    int64_t fans = 0;
    for (int i = 0; i < size; i++) {
        begin(count);
        for (int j = 0; j < size; j++)
            WEFT_TRY(add(count, members[i], members[j], error));
        fans += busiest(count, size - 1) / size;
    }
    costs->fan_ps_per_mib = larger(costs->fan_ps_per_mib, fans);
    begin(count);
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++)
            WEFT_TRY(add(count, members[i], members[j], error));
    costs->all_ps_per_mib = larger(costs->all_ps_per_mib, busiest(count, size - 1));
    return WEFT_OK;
}

// From each member to the one that stands so many places on or back, or has the number that differs
// so.
static weft_status count_apart(struct count *count, const int *members, int size, int distance,
                               struct weft_level_costs *costs, struct weft_error *error)
{
    int k = __builtin_ctz((unsigned)distance);
    for (int pattern = 0; pattern < 3; pattern++) {
        struct weft_level_apart *apart = &costs->apart[pattern == 2][k];
        begin(count);
        for (int i = 0; i < size; i++) {
            int to = pattern == 0   ? (i + distance) % size
                     : pattern == 1 ? (i + size - distance) % size
                                    : i ^ distance;
            if (to < size)
                WEFT_TRY(add(count, members[i], members[to], error));
        }
        apart->ps_per_mib = larger(apart->ps_per_mib, busiest(count, 1));
        apart->latency_ps = larger(apart->latency_ps, count->longest_ps);
    }
    return WEFT_OK;
}

static weft_status count_groups(struct count *count, int level, struct weft_level_costs *costs,
                                struct weft_error *error)
{
    const struct weft_groups *groups = &count->layout->levels[level];
    for (int g = 0; g < groups->num_groups; g++) {
        const int *members = groups->members + groups->first[g];
        int size = groups->first[g + 1] - groups->first[g];
        if (size < 2)
            continue;
        WEFT_TRY(count_all(count, members, size, costs, error));
        for (int k = 0; k < WEFT_APART_LIMIT && 1 << k < size; k++)
            WEFT_TRY(count_apart(count, members, size, 1 << k, costs, error));
    }
    return WEFT_OK;
}

weft_status weft_layout_price_links(struct weft_layout *layout, struct weft_error *error)
{
    enum { RANKS_LIMIT = 256 };
    int level = layout->linked_levels - 1;
    const struct weft_network *network = layout->network;
    if (network && network->num_vertices == layout->num_ranks)
        level = weft_layout_top(layout);
    if (!network || level != 0 || layout->num_ranks < 2 || layout->num_ranks > RANKS_LIMIT)
        return WEFT_OK;
    const struct weft_fold all = {.block = layout->num_ranks, .num_blocks = 1};
    struct count count = {.layout = layout,
                          .load = calloc((size_t)network->num_arcs + 1, sizeof *count.load)};
    struct weft_level_costs costs = layout->costs.levels[level];
    weft_status status = WEFT_OK;
    if (!count.load)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for links");
    if (status == WEFT_OK)
        status = weft_ways_create(layout, all, &count.ways, error);
    if (status == WEFT_OK)
        status = count_groups(&count, level, &costs, error);
    if (status == WEFT_OK)
        layout->costs.levels[level] = costs;
    weft_ways_destroy(&count.ways);
    free(count.load);
    return status == WEFT_UNSUPPORTED || status == WEFT_NOT_FOUND ? WEFT_OK : status;
}
