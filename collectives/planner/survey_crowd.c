/*
 * SPDX-License-Identifier: Apache-2.0
 * What a rank gets while all ranks of its group leave it at once: the most that can flow out of the
 * group, divided by its ranks. The group with the least decides. Linear in the graph but for the
 * flows, each of which stays within its group.
 */
#include <stdlib.h>

#include "collectives/planner/curve.h"
#include "collectives/planner/survey.h"
#include "topology/maxflow.h"

struct crowd {
    const struct weft_survey *survey;
    const int *inner, *outer; // of_node of the level below and of this one
    int *order;               // (nodes) by group
    int *first;               // (nodes + 1) by group's name: where it begins in `order`
    int *number;              // (nodes) place within its group
    int *num_ranks;           // (nodes) on a node
};

static void sort_by_group(struct crowd *c)
{
    int num_nodes = c->survey->topology->num_nodes;
    for (int i = 0; i < num_nodes; i++)
        c->first[c->inner[i] + 1]++;
    for (int i = 0; i < num_nodes; i++)
        c->first[i + 1] += c->first[i];
    for (int i = 0; i < num_nodes; i++)
        c->number[i] = 0;
    int *used = c->number; // by group's name, while sorting
    for (int i = 0; i < num_nodes; i++)
        c->order[c->first[c->inner[i]] + used[c->inner[i]]++] = i;
    for (int g = 0; g < num_nodes; g++)
        for (int k = c->first[g]; k < c->first[g + 1]; k++)
            c->number[c->order[k]] = k - c->first[g];
}

static int64_t capacity_of(const struct weft_link *link)
{
    const int64_t most = INT64_C(1) << 40; // so that sums stay in range
    int64_t width = weft_link_bandwidth(link).value;
    return width < most ? width : most;
}

// The arcs of one node of group `group`: within it, or out of it to `sink`.
static bool add_links(const struct crowd *c, struct weft_maxflow *flow, int group, int node,
                      int sink)
{
    const struct weft_survey *survey = c->survey;
    const struct weft_topology *t = survey->topology;
    bool is_added = true;
    for (int k = survey->links.first[node]; k < survey->links.first[node + 1]; k++) {
        const struct weft_link *link = &t->links[survey->links.link[k]];
        int other = weft_link_other_end(link, node);
        if (link->one_way && link->from != node)
            continue;
        if (c->inner[other] != group && c->outer[other] == c->outer[node])
            is_added &= weft_maxflow_add(flow, c->number[node], sink, capacity_of(link), 0) >= 0;
        else if (c->inner[other] == group && weft_node_kinds[t->nodes[other].kind].forwards)
            is_added &= weft_maxflow_add(flow, c->number[node], c->number[other], capacity_of(link),
                                         0) >= 0;
    }
    return is_added;
}

// Bytes per second out of a group; -1 without memory.
static int64_t leave(const struct crowd *c, int group, int *num_ranks)
{
    int size = c->first[group + 1] - c->first[group], source = size, sink = size + 1;
    struct weft_maxflow *flow = weft_maxflow_create(size + 2);
    bool is_built = flow != NULL;
    *num_ranks = 0;
    for (int k = c->first[group]; is_built && k < c->first[group + 1]; k++) {
        int node = c->order[k];
        bool forwards = weft_node_kinds[c->survey->topology->nodes[node].kind].forwards;
        *num_ranks += c->num_ranks[node];
        if (c->num_ranks[node] > 0)
            is_built &= weft_maxflow_add(flow, source, c->number[node], INT64_C(1) << 50, 0) >= 0;
        if (forwards || c->num_ranks[node] > 0)
            is_built = is_built && add_links(c, flow, group, node, sink);
    }
    int64_t rate = is_built ? weft_maxflow_run(flow, source, sink, WEFT_MAXFLOW_UNLIMITED) : -1;
    weft_maxflow_destroy(&flow);
    return rate;
}

static weft_status price(const struct crowd *c, int64_t *ps_per_mib, struct weft_error *error)
{
    const struct weft_survey *survey = c->survey;
    for (int r = 0; r < survey->num_ranks; r++)
        c->num_ranks[survey->nodes[r]]++;
    for (int r = 0; r < survey->num_ranks; r++) {
        int group = c->inner[survey->nodes[r]], num_ranks;
        if (c->first[group] == c->first[group + 1] || c->num_ranks[survey->nodes[r]] < 0)
            continue;
        int64_t rate = leave(c, group, &num_ranks);
        if (rate < 0)
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for flows");
        for (int k = c->first[group]; k < c->first[group + 1]; k++)
            c->num_ranks[c->order[k]] = -1; // done
        int64_t share = rate / num_ranks;
        if (share > 0 && weft_curve_slope_of(share) > *ps_per_mib)
            *ps_per_mib = weft_curve_slope_of(share);
    }
    return WEFT_OK;
}

weft_status weft_survey_price_crowd(struct weft_survey *survey, int level, struct weft_error *error)
{
    size_t count = (size_t)survey->topology->num_nodes + 1;
    int *memory = calloc(4 * count, sizeof *memory);
    if (!memory)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for flows");
    struct crowd crowd = {survey,
                          survey->levels[level - 1].of_node,
                          survey->levels[level].of_node,
                          memory,
                          memory + count,
                          memory + 2 * count,
                          memory + 3 * count};
    sort_by_group(&crowd);
    weft_status status = price(&crowd, &survey->levels[level].way.leave_ps_per_mib, error);
    free(memory);
    return status;
}
