/*
 * SPDX-License-Identifier: Apache-2.0
 * What is to be known of the trees of a plan before their price: the load of arcs and lanes, the
 * hops of the slowest way, and how many steps it takes to add children up.
 */
#include <stdlib.h>
#include <string.h>

#include "collectives/planner/forests.h"
#include "collectives/planner/forests_private.h"

int weft_forests_arc(const struct weft_network *network, int from, int to)
{
    int low = network->first[from], high = network->first[from + 1];
    while (low + 1 < high) {
        int middle = low + (high - low) / 2;
        if (network->arcs[middle].to <= to)
            low = middle;
        else
            high = middle;
    }
    return low;
}

// Adds the trees that go over each arc of the network of the layout; `goes_back`: against the
// edges.
static void add_load(const struct weft_network *network, const struct weft_forest *forest,
                     bool goes_back, int64_t *load)
{
    for (int t = 0; t < forest->num_trees; t++)
        for (int e = 0; e < forest->num_terminals - 1; e++) {
            const struct weft_forest_tree *tree = &forest->trees[t];
            const struct weft_forest_edge *edge = &forest->edges[tree->first_edge + e];
            int at = edge->from;
            for (int h = 0; h <= edge->num_hops; h++) {
                int next = h < edge->num_hops ? forest->hops[edge->first_hop + h] : edge->to;
                int arc = goes_back ? weft_forests_arc(network, next, at)
                                    : weft_forests_arc(network, at, next);
                load[arc] += tree->weight;
                at = next;
            }
        }
}

// What the busiest arc takes for a MiB of vector.
static int64_t ps_per_mib(const struct weft_network *network, const struct weft_forest *up,
                          const struct weft_forest *down, int64_t units)
{
    const __int128 mib_ps = (__int128)1000000000000 << 20;
    int64_t *load = calloc((size_t)network->num_arcs + 1, sizeof *load);
    __int128 most = 1;
    if (!load)
        return 0;
    if (up)
        add_load(network, up, true, load);
    if (down)
        add_load(network, down, false, load);
    for (int i = 0; i < network->num_arcs; i++) {
        __int128 price = mib_ps / units * load[i] / network->arcs[i].capacity;
        most = price > most ? price : most;
    }
    free(load);
    return most > INT64_MAX / 4 ? INT64_MAX / 4 : (int64_t)most;
}

static int turns_for(int children)
{
    return children < 1 ? 1 : (children + WEFT_FOREST_FUSED - 1) / WEFT_FOREST_FUSED;
}

bool weft_forests_turns(const struct weft_forest *forest, int number, int *root, int *inner)
{
    const struct weft_forest_tree *tree = &forest->trees[number];
    int *children = calloc((size_t)forest->num_terminals, sizeof *children), most = 0;
    for (int e = 0; children && e < forest->num_terminals - 1; e++) {
        int from = forest->edges[tree->first_edge + e].from;
        children[from]++;
        most = from != tree->root && children[from] > most ? children[from] : most;
    }
    *root = children ? turns_for(children[tree->root]) : 0;
    *inner = turns_for(most);
    free(children);
    return *root > 0;
}

static bool find_rise(struct weft_forest_plan *plan)
{
    int root, inner;
    plan->rise = plan->up ? plan->up->depth : 0;
    for (int t = 0; plan->up && t < plan->up->num_trees; t++) {
        if (!weft_forests_turns(plan->up, t, &root, &inner))
            return false;
        int depth = plan->up->trees[t].depth, rise = depth + root - 1;
        if (inner > 1)
            rise = depth * (root > inner ? root : inner);
        plan->rise = rise > plan->rise ? rise : plan->rise;
        plan->is_wide |= inner > 1;
    }
    for (int t = 0; plan->down && t < plan->down->num_trees; t++) {
        if (!weft_forests_turns(plan->down, t, &root, &inner))
            return false;
        plan->is_wide |= inner > 1;
    }
    return true;
}

// How wide the way of an edge is.
static int64_t width_of(const struct weft_network *network, const struct weft_forest *forest,
                        const struct weft_forest_edge *edge, bool goes_back)
{
    int64_t width = INT64_MAX;
    int at = edge->from;
    for (int h = 0; h <= edge->num_hops; h++) {
        int next = h < edge->num_hops ? forest->hops[edge->first_hop + h] : edge->to;
        int arc =
            goes_back ? weft_forests_arc(network, next, at) : weft_forests_arc(network, at, next);
        if (network->arcs[arc].capacity < width)
            width = network->arcs[arc].capacity;
        at = next;
    }
    return width;
}

// Lanes between two ranks: what goes over each, and how wide they are.
static void find_lanes(const struct weft_layout *layout, const struct weft_forest *forest,
                       bool goes_back, int64_t *lanes, struct weft_forest_plan *plan)
{
    const __int128 mib_ps = (__int128)1000000000000 << 20;
    size_t n = (size_t)forest->num_terminals;
    int64_t units = plan->first[plan->num_ranks];
    memset(lanes, 0, n * n * sizeof *lanes);
    for (int t = 0; t < forest->num_trees; t++)
        for (int e = 0; e + 1 < forest->num_terminals; e++) {
            const struct weft_forest_edge *edge = &forest->edges[forest->trees[t].first_edge + e];
            int64_t *lane = &lanes[(size_t)edge->from * n + (size_t)edge->to];
            int level = weft_layout_level(layout, edge->from, edge->to);
            int64_t width = width_of(layout->network, forest, edge, goes_back);
            *lane += forest->trees[t].weight;
            int64_t busy = (int64_t)(mib_ps / units * *lane / width);
            int64_t alone = (int64_t)(mib_ps / width);
            if (busy > plan->lane_ps_per_mib[level])
                plan->lane_ps_per_mib[level] = busy;
            if (alone > plan->hop_ps_per_mib[level])
                plan->hop_ps_per_mib[level] = alone;
        }
}

// A way from a root.
struct way {
    int64_t latency_ps;
    int hops[WEFT_LEVELS_LIMIT];
};

// Adds the hops of the slowest way in a forest.
static void find_hops(const struct weft_layout *layout, const struct weft_forest *forest,
                      struct way *ways, struct weft_forest_plan *plan)
{
    struct way slowest = {0};
    for (int t = 0; t < forest->num_trees; t++) {
        const struct weft_forest_tree *tree = &forest->trees[t];
        ways[tree->root] = (struct way){0};
        for (int e = 0; e + 1 < forest->num_terminals; e++) {
            const struct weft_forest_edge *edge = &forest->edges[tree->first_edge + e];
            int level = weft_layout_level(layout, edge->from, edge->to);
            struct way *way = &ways[edge->to];
            *way = ways[edge->from];
            way->latency_ps += layout->costs.levels[level].message.lines[0].fixed_ps;
            way->hops[level]++;
            if (way->latency_ps > slowest.latency_ps)
                slowest = *way;
        }
    }
    for (int l = 0; l < WEFT_LEVELS_LIMIT; l++)
        plan->hops[l] += slowest.hops[l];
}

static bool find_traffic(const struct weft_layout *layout, struct weft_forest_plan *plan)
{
    size_t n = (size_t)plan->num_ranks;
    int64_t *lanes = calloc(n * n, sizeof *lanes);
    struct way *ways = calloc(n, sizeof *ways);
    bool is_made = lanes && ways;
    const struct weft_forest *forests[] = {plan->up, plan->down};
    for (int i = 0; i < 2 && is_made; i++)
        if (forests[i]) {
            find_lanes(layout, forests[i], i == 0, lanes, plan);
            find_hops(layout, forests[i], ways, plan);
        }
    free(lanes);
    free(ways);
    return is_made;
}

bool weft_forests_measure(const struct weft_layout *layout, struct weft_forest_plan *plan)
{
    plan->ps_per_mib =
        ps_per_mib(layout->network, plan->up, plan->down, plan->first[plan->num_ranks]);
    return plan->ps_per_mib > 0 && find_rise(plan) && find_traffic(layout, plan);
}
