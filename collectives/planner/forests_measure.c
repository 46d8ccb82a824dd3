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

// What goes over each lane, and how wide it is: trees on different channels have lanes of their
// own.
static void find_lanes(const struct weft_layout *layout, const struct weft_forest *forest,
                       const uint16_t *channels, bool goes_back, int64_t *lanes,
                       struct weft_forest_plan *plan)
{
    const __int128 mib_ps = (__int128)1000000000000 << 20;
    size_t n = (size_t)forest->num_terminals;
    int64_t units = plan->first[plan->num_ranks];
    for (int c = 0; c < WEFT_FOREST_CHANNELS; c++) {
        memset(lanes, 0, n * n * sizeof *lanes);
        for (int t = 0; t < forest->num_trees; t++)
            for (int e = 0; channels[t] == c && e + 1 < forest->num_terminals; e++) {
                const struct weft_forest_edge *edge =
                    &forest->edges[forest->trees[t].first_edge + e];
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
}

/* ---- what has to happen before and after an arc is busy ---- */

struct use {
    int64_t load; // trees
    int level;    // of the edge that uses the arc first
    int64_t shorter_ps;
    struct weft_forest_way before, after;
};

struct measurer {
    const struct weft_layout *layout;
    struct use *uses; // (arcs of the network)
    struct weft_forest_way *from_root,
        *below; // (ranks) of one tree: from its root, and the longest below
};

struct weft_forest_hop weft_forests_hop(const struct weft_layout *layout,
                                        const struct weft_forest *forest,
                                        const struct weft_forest_edge *edge)
{
    const struct weft_network *network = layout->network;
    struct weft_forest_hop hop = {.level = weft_layout_level(layout, edge->from, edge->to)};
    int64_t latency_ps = 0, longest_ps = layout->costs.levels[hop.level].latency_ps;
    for (int h = 0, at = edge->from; h <= edge->num_hops; h++) {
        int next = h < edge->num_hops ? forest->hops[edge->first_hop + h] : edge->to;
        latency_ps += network->arcs[weft_forests_arc(network, at, next)].latency_ps;
        at = next;
    }
    hop.shorter_ps = longest_ps > latency_ps ? longest_ps - latency_ps : 0;
    return hop;
}

struct weft_forest_way weft_forests_step(const struct weft_layout *layout,
                                         struct weft_forest_way way, struct weft_forest_hop hop)
{
    way.latency_ps += layout->costs.levels[hop.level].message.lines[0].fixed_ps;
    way.latency_ps -= hop.shorter_ps;
    way.shorter_ps += hop.shorter_ps;
    way.hops[hop.level]++;
    return way;
}

static struct weft_forest_way join(struct weft_forest_way a, const struct weft_forest_way *b)
{
    a.latency_ps += b->latency_ps;
    a.shorter_ps += b->shorter_ps;
    for (int l = 0; l < WEFT_LEVELS_LIMIT; l++)
        a.hops[l] += b->hops[l];
    return a;
}

static void find_tree_ways(const struct measurer *measurer, const struct weft_forest *forest,
                           const struct weft_forest_tree *tree, struct weft_forest_way *slowest)
{
    const struct weft_forest_edge *edges = &forest->edges[tree->first_edge];
    for (int r = 0; r < forest->num_terminals; r++)
        measurer->below[r] = (struct weft_forest_way){0};
    measurer->from_root[tree->root] = (struct weft_forest_way){0};
    for (int e = 0; e + 1 < forest->num_terminals; e++) {
        struct weft_forest_way *way = &measurer->from_root[edges[e].to];
        *way = weft_forests_step(measurer->layout, measurer->from_root[edges[e].from],
                                 weft_forests_hop(measurer->layout, forest, &edges[e]));
        if (way->latency_ps > slowest->latency_ps)
            *slowest = *way;
    }
    for (int e = forest->num_terminals - 2; e >= 0; e--) {
        struct weft_forest_way way =
            weft_forests_step(measurer->layout, measurer->below[edges[e].to],
                              weft_forests_hop(measurer->layout, forest, &edges[e]));
        if (way.latency_ps > measurer->below[edges[e].from].latency_ps)
            measurer->below[edges[e].from] = way;
    }
}

// An arc is busy from the first time that one of its edges has something, and what goes over it
// last has the longest way to go.
static void add_use(struct use *use, int64_t weight, struct weft_forest_hop hop,
                    const struct weft_forest_way *before, const struct weft_forest_way *after)
{
    if (use->load == 0 || before->latency_ps < use->before.latency_ps) {
        use->before = *before;
        use->level = hop.level;
        use->shorter_ps = hop.shorter_ps;
    }
    if (use->load == 0 || after->latency_ps > use->after.latency_ps)
        use->after = *after;
    use->load += weight;
}

/* `goes_back`: against the edges. `other`: all ways before (going down), or after (going up). */
static void add_uses(const struct measurer *measurer, const struct weft_forest *forest,
                     const struct weft_forest_tree *tree, bool goes_back,
                     const struct weft_forest_way *other)
{
    const struct weft_network *network = measurer->layout->network;
    for (int e = 0; e + 1 < forest->num_terminals; e++) {
        const struct weft_forest_edge *edge = &forest->edges[tree->first_edge + e];
        struct weft_forest_hop hop = weft_forests_hop(measurer->layout, forest, edge);
        int at = edge->from;
        struct weft_forest_way near = join(measurer->from_root[edge->from], other);
        const struct weft_forest_way *far = &measurer->below[edge->to];
        for (int h = 0; h <= edge->num_hops; h++) {
            int next = h < edge->num_hops ? forest->hops[edge->first_hop + h] : edge->to;
            int arc = goes_back ? weft_forests_arc(network, next, at)
                                : weft_forests_arc(network, at, next);
            add_use(&measurer->uses[arc], tree->weight, hop, goes_back ? far : &near,
                    goes_back ? &near : far);
            at = next;
        }
    }
}

// Of the arcs that are used in the same way, the busiest; of too many kinds, a busier one takes the
// place of another.
static void keep_use(struct weft_forest_plan *plan, const struct use *use, int64_t ps_per_mib)
{
    struct weft_forest_pressure pressure = {.ps_per_mib = ps_per_mib,
                                            .level = use->level,
                                            .shorter_ps = use->shorter_ps + use->before.shorter_ps +
                                                          use->after.shorter_ps};
    int place = plan->num_pressures;
    for (int l = 0; l < WEFT_LEVELS_LIMIT; l++)
        pressure.hops[l] = use->before.hops[l] + use->after.hops[l];
    for (int i = 0; i < plan->num_pressures; i++)
        if (plan->pressures[i].level == pressure.level &&
            plan->pressures[i].shorter_ps == pressure.shorter_ps &&
            memcmp(plan->pressures[i].hops, pressure.hops, sizeof pressure.hops) == 0)
            place = i;
    for (int i = 0; place == WEFT_FOREST_PRESSURES && i < WEFT_FOREST_PRESSURES; i++)
        if (plan->pressures[i].ps_per_mib < ps_per_mib)
            place = i;
    if (place == WEFT_FOREST_PRESSURES)
        return;
    if (place == plan->num_pressures)
        plan->num_pressures++;
    else if (plan->pressures[place].ps_per_mib >= ps_per_mib)
        return;
    plan->pressures[place] = pressure;
}

static void find_pressures(const struct measurer *measurer, struct weft_forest_plan *plan)
{
    const struct weft_forest *forests[] = {plan->up, plan->down};
    const struct weft_network *network = measurer->layout->network;
    const __int128 mib_ps = (__int128)1000000000000 << 20;
    struct weft_forest_way slowest[2] = {0};
    for (int i = 0; i < 2; i++)
        for (int t = 0; forests[i] && t < forests[i]->num_trees; t++)
            find_tree_ways(measurer, forests[i], &forests[i]->trees[t], &slowest[i]);
    for (int i = 0; i < 2; i++)
        for (int t = 0; forests[i] && t < forests[i]->num_trees; t++) {
            struct weft_forest_way ignored = {0};
            find_tree_ways(measurer, forests[i], &forests[i]->trees[t], &ignored);
            add_uses(measurer, forests[i], &forests[i]->trees[t], i == 0, &slowest[1 - i]);
        }
    for (int a = 0; a < network->num_arcs; a++) {
        const struct use *use = &measurer->uses[a];
        __int128 price =
            mib_ps / plan->first[plan->num_ranks] * use->load / network->arcs[a].capacity;
        price = price > INT64_MAX / 4 ? INT64_MAX / 4 : price < 1 ? 1 : price;
        if (use->load > 0)
            keep_use(plan, use, (int64_t)price);
    }
}

static bool find_hops(const struct weft_layout *layout, struct weft_forest_plan *plan)
{
    struct weft_forest_way up = {0}, down = {0};
    int num_up = plan->up ? plan->up->num_trees : 0;
    if (!weft_forests_queue(layout, plan->up, plan->channels, true, &up) ||
        !weft_forests_queue(layout, plan->down, plan->channels + num_up, false, &down))
        return false;
    plan->shorter_ps = up.shorter_ps + down.shorter_ps;
    for (int l = 0; l < WEFT_LEVELS_LIMIT; l++)
        plan->hops[l] = up.hops[l] + down.hops[l];
    return true;
}

bool weft_forests_measure(const struct weft_layout *layout, struct weft_forest_plan *plan)
{
    size_t n = (size_t)plan->num_ranks;
    int64_t *lanes = calloc(n * n, sizeof *lanes);
    struct measurer measurer = {
        .layout = layout,
        .uses = calloc((size_t)layout->network->num_arcs + 1, sizeof *measurer.uses),
        .from_root = calloc(n, sizeof *measurer.from_root),
        .below = calloc(n, sizeof *measurer.below)};
    bool is_made = lanes && measurer.uses && measurer.from_root && measurer.below &&
                   find_rise(plan) && weft_forests_deal(plan) && find_hops(layout, plan);
    if (is_made) {
        int up = plan->up ? plan->up->num_trees : 0;
        find_pressures(&measurer, plan);
        if (plan->up)
            find_lanes(layout, plan->up, plan->channels, true, lanes, plan);
        if (plan->down)
            find_lanes(layout, plan->down, plan->channels + up, false, lanes, plan);
    }
    free(lanes);
    free(measurer.uses);
    free(measurer.from_root);
    free(measurer.below);
    return is_made;
}
