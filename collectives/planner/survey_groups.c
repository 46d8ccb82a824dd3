/*
 * SPDX-License-Identifier: Apache-2.0
 * Groups of nodes, from near to far; see survey.h. Every level unites what one kind of nearness
 * joins with what was united before it, so the groups are nested whatever the graph looks like.
 */
#include <stdlib.h>
#include <string.h>

#include "collectives/planner/survey.h"
#include "topology/cables.h"
#include "topology/gpu_islands.h"
#include "topology/sets.h"

enum { NUM_INNER = 3, NUM_TIERS = 5, NOT_KNOWN = NUM_TIERS };

struct grouping {
    struct weft_survey *survey;
    int *up;     // (nodes) the sets so far
    int *tier;   // (nodes) of a switch of the network; -1: of everything else
    int *queue;  // (nodes)
    int *island; // (nodes) of a GPU; -1: none
    bool *seen;  // (nodes)
};

/* ---- kinds of nearness inside and around hosts ---- */

static void unite_kind(const struct grouping *g, int kind)
{
    const struct weft_topology *t = g->survey->topology;
    for (int i = 0; i < t->num_nodes; i++) {
        int holder = weft_topology_ancestor(t, i, kind);
        if (holder >= 0)
            weft_sets_unite(g->up, i, holder);
    }
}

static void unite_numa(const struct grouping *g)
{
    unite_kind(g, WEFT_NODE_NUMA);
}

static void unite_hosts(const struct grouping *g)
{
    unite_kind(g, WEFT_NODE_HOST);
}

static void unite_islands(const struct grouping *g)
{
    const struct weft_topology *t = g->survey->topology;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        int from = t->nodes[link->from].kind, to = t->nodes[link->to].kind;
        if ((link->kind == WEFT_LINK_NVLINK || link->kind == WEFT_LINK_XGMI) &&
            (from == WEFT_NODE_GPU || from == WEFT_NODE_NVSWITCH) &&
            (to == WEFT_NODE_GPU || to == WEFT_NODE_NVSWITCH))
            weft_sets_unite(g->up, link->from, link->to);
    }
    // by name of the domain, where switches cannot be seen
    for (int i = 0; i < t->num_nodes; i++)
        g->queue[i] = -1;
    for (int i = 0; i < t->num_nodes; i++) {
        int island = g->island[i];
        if (island < 0)
            continue;
        if (g->queue[island] >= 0)
            weft_sets_unite(g->up, g->queue[island], i);
        g->queue[island] = i;
    }
}

struct nearness {
    const char *groups;
    void (*unite)(const struct grouping *g);
    bool only_gpus;
};
static const struct nearness inner[NUM_INNER] = {
    {"NUMA domains", unite_numa, true},
    {"GPU islands", unite_islands, true},
    {"hosts", unite_hosts, false},
};
enum { NUMA, ISLANDS };

static int count_groups(const struct grouping *g)
{
    const struct weft_survey *survey = g->survey;
    int count = 0;
    memset(g->seen, 0, (size_t)survey->topology->num_nodes * sizeof *g->seen);
    for (int r = 0; r < survey->num_ranks; r++) {
        int root = weft_sets_root(g->up, survey->nodes[r]);
        count += !g->seen[root];
        g->seen[root] = true;
    }
    return count;
}

/* ---- the network ---- */

static bool is_network(const struct weft_topology *t, const struct weft_link *link)
{
    return weft_node_is_fabric_switch(t, link->from) || weft_node_is_fabric_switch(t, link->to);
}

// Switches of no known tier by their distance from what is no switch.
static void find_tiers(const struct grouping *g)
{
    const struct weft_survey *survey = g->survey;
    const struct weft_topology *t = survey->topology;
    int head = 0, tail = 0;
    for (int i = 0; i < t->num_nodes; i++)
        g->tier[i] = weft_node_is_fabric_switch(t, i) ? NOT_KNOWN : -1;
    for (int tier = 0; tier < 3; tier++) {
        static const int kinds[] = {WEFT_NODE_LEAF, WEFT_NODE_SPINE, WEFT_NODE_CORE_SWITCH};
        for (int i = 0; i < t->num_nodes; i++)
            if (t->nodes[i].kind == kinds[tier])
                g->tier[i] = tier;
    }
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        int near = g->tier[link->from] == NOT_KNOWN ? link->from : link->to;
        if (g->tier[near] == NOT_KNOWN && g->tier[weft_link_other_end(link, near)] < 0) {
            g->tier[near] = 0;
            g->queue[tail++] = near;
        }
    }
    while (head < tail) {
        int node = g->queue[head++];
        for (int k = survey->links.first[node]; k < survey->links.first[node + 1]; k++) {
            int other = weft_link_other_end(&t->links[survey->links.link[k]], node);
            if (g->tier[other] != NOT_KNOWN || g->tier[node] + 1 >= NUM_TIERS)
                continue;
            g->tier[other] = g->tier[node] + 1;
            g->queue[tail++] = other;
        }
    }
}

static void unite_tier(const struct grouping *g, int tier)
{
    const struct weft_topology *t = g->survey->topology;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (is_network(t, link) && g->tier[link->from] <= tier && g->tier[link->to] <= tier)
            weft_sets_unite(g->up, link->from, link->to);
    }
}

/* ---- levels ---- */

static weft_status add_level(const struct grouping *g, const char *groups, struct weft_error *error)
{
    struct weft_survey *survey = g->survey;
    int num_nodes = survey->topology->num_nodes, count = count_groups(g);
    struct weft_survey_level *last =
        survey->num_levels > 0 ? &survey->levels[survey->num_levels - 1] : NULL;
    if (!last && count > 1 && count == survey->num_ranks)
        return WEFT_OK;                      // joins nobody
    if (last && last->num_groups == count) { // no more ranks, but more of what is around them
        for (int i = 0; i < num_nodes; i++)
            last->of_node[i] = weft_sets_root(g->up, i);
        memset(last->size, 0, (size_t)num_nodes * sizeof *last->size);
        for (int r = 0; r < survey->num_ranks; r++)
            last->place[r] = last->size[last->of_node[survey->nodes[r]]]++;
        return WEFT_OK;
    }
    struct weft_survey_level *level = &survey->levels[survey->num_levels];
    level->of_node = malloc(((size_t)num_nodes + 1) * sizeof *level->of_node);
    level->size = calloc((size_t)num_nodes + 1, sizeof *level->size);
    level->place = malloc((size_t)survey->num_ranks * sizeof *level->place);
    survey->num_levels++;
    if (!level->of_node || !level->size || !level->place)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for groups");
    for (int i = 0; i < num_nodes; i++)
        level->of_node[i] = weft_sets_root(g->up, i);
    for (int r = 0; r < survey->num_ranks; r++)
        level->place[r] = level->size[level->of_node[survey->nodes[r]]]++;
    level->groups = groups;
    level->num_groups = count;
    return WEFT_OK;
}

// Finer ones first: a GPU island may lie within a host, or hold a rack of them.
static weft_status add_inner(const struct grouping *g, bool is_gpu, struct weft_error *error)
{
    int counts[NUM_INNER], order[NUM_INNER], num_nodes = g->survey->topology->num_nodes;
    weft_sets_init(g->up, num_nodes);
    int num_places = count_groups(g);
    for (int i = 0; i < NUM_INNER; i++) {
        weft_sets_init(g->up, num_nodes);
        inner[i].unite(g);
        counts[i] = count_groups(g);
        int at = i;
        for (; at > 0 && counts[order[at - 1]] < counts[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    weft_sets_init(g->up, num_nodes);
    for (int i = 0; i < NUM_INNER; i++) {
        const struct nearness *nearness = &inner[order[i]];
        if (nearness->only_gpus && !is_gpu)
            continue;
        if (order[i] == NUMA && counts[ISLANDS] < num_places)
            continue; // GPUs with direct links go past the processors
        nearness->unite(g);
        WEFT_TRY(add_level(g, nearness->groups, error));
    }
    return WEFT_OK;
}

static weft_status add_all(const struct grouping *g, struct weft_error *error)
{
    static const char *const names[NUM_TIERS] = {"leaf groups", "pods", "clusters", "networks",
                                                 "networks"};
    const struct weft_topology *t = g->survey->topology;
    bool is_gpu = t->nodes[g->survey->nodes[0]].kind == WEFT_NODE_GPU;
    WEFT_TRY(add_inner(g, is_gpu, error));
    find_tiers(g);
    for (int tier = 0; tier < NUM_TIERS; tier++) {
        unite_tier(g, tier);
        WEFT_TRY(add_level(g, count_groups(g) == 1 ? "clusters" : names[tier], error));
    }
    for (int i = 1; i < t->num_nodes; i++)
        weft_sets_unite(g->up, 0, i);
    return add_level(g, "clusters", error);
}

weft_status weft_survey_find_groups(struct weft_survey *survey, struct weft_error *error)
{
    size_t count = (size_t)survey->topology->num_nodes + 1;
    int *memory = malloc(4 * count * sizeof *memory), num_islands = 0;
    bool *seen = malloc(count * sizeof *seen);
    weft_status status = WEFT_OK;
    if (!memory || !seen)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for groups");
    if (status == WEFT_OK) {
        const struct grouping g = {
            survey, memory, memory + count, memory + 2 * count, memory + 3 * count, seen};
        status = weft_topology_gpu_islands(survey->topology, g.island, &num_islands, error);
        if (status == WEFT_OK)
            status = add_all(&g, error);
    }
    free(memory);
    free(seen);
    return status;
}
