/*
 * SPDX-License-Identifier: Apache-2.0
 * Traffic on links; see survey.h. A flow is followed back from its end along every link that loses
 * no time, and then handed out from its beginning by what each branch can carry.
 */
#include "collectives/planner/survey.h"

#include <stdlib.h>

#include "collectives/planner/curve.h"

weft_status weft_survey_load_create(const struct weft_survey *survey, struct weft_survey_load *load,
                                    struct weft_error *error)
{
    size_t nodes = (size_t)survey->topology->num_nodes + 1;
    size_t ways = 2 * (size_t)survey->topology->num_links + 1;
    *load = (struct weft_survey_load){.survey = survey};
    load->on_link = calloc(ways, sizeof *load->on_link);
    load->touched = malloc(ways * sizeof *load->touched);
    load->queue = malloc(nodes * sizeof *load->queue);
    load->through = calloc(nodes, sizeof *load->through);
    load->amount = calloc(nodes, sizeof *load->amount);
    if (!load->on_link || !load->touched || !load->queue || !load->through || !load->amount)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for traffic");
    return WEFT_OK;
}

void weft_survey_load_free(struct weft_survey_load *load)
{
    free(load->on_link);
    free(load->touched);
    free(load->queue);
    free(load->through);
    free(load->amount);
    *load = (struct weft_survey_load){0};
}

void weft_survey_load_clear(struct weft_survey_load *load)
{
    for (int i = 0; i < load->num_touched; i++)
        load->on_link[load->touched[i]] = 0;
    load->num_touched = 0;
}

// Whether link `index` leads from `tail` to `head` on a way of about least latency from the start.
static bool is_on_way(const struct weft_survey_load *load, const struct weft_route *routes,
                      int start, int index, int tail, int head)
{
    const struct weft_survey *survey = load->survey;
    const struct weft_topology *t = survey->topology;
    const struct weft_link *link = &t->links[index];
    const struct weft_route *before = &routes[tail], *after = &routes[head];
    if (link->one_way && link->from != tail)
        return false;
    if (before->num_links < 0 || before->num_links + 1 != after->num_links)
        return false;
    if (tail != start && !weft_node_kinds[t->nodes[tail].kind].forwards &&
        !(load->passes_ranks && survey->has_rank[tail]))
        return false;
    int64_t slack = after->latency_ps - before->latency_ps;
    return slack + after->latency_ps / 4 >= weft_link_latency(link).value;
}

static void add_capacity(int64_t *sum, int64_t capacity)
{
    const int64_t most = INT64_C(1) << 60;
    *sum = capacity > most - *sum ? most : *sum + capacity;
}

// Back from `to`: nodes in the queue stand farthest first.
static int collect(struct weft_survey_load *load, const struct weft_route *routes, int from, int to)
{
    const struct weft_survey *survey = load->survey;
    const struct weft_topology *t = survey->topology;
    int head = 0, tail = 0;
    load->queue[tail++] = to;
    load->through[to] = INT64_C(1) << 60;
    while (head < tail) {
        int node = load->queue[head++];
        for (int k = survey->links.first[node]; k < survey->links.first[node + 1]; k++) {
            int index = survey->links.link[k];
            int other = weft_link_other_end(&t->links[index], node);
            if (!is_on_way(load, routes, from, index, other, node))
                continue;
            int64_t width = weft_link_bandwidth(&t->links[index]).value;
            if (load->through[other] == 0)
                load->queue[tail++] = other;
            add_capacity(&load->through[other],
                         width < load->through[node] ? width + (width == 0) : load->through[node]);
        }
    }
    return tail;
}

static void put(struct weft_survey_load *load, int way, int64_t amount)
{
    if (amount <= 0)
        return;
    if (load->on_link[way] == 0)
        load->touched[load->num_touched++] = way;
    add_capacity(&load->on_link[way], amount);
}

static void hand_out(struct weft_survey_load *load, const struct weft_route *routes, int from,
                     int node)
{
    const struct weft_survey *survey = load->survey;
    const struct weft_topology *t = survey->topology;
    int64_t amount = load->amount[node], whole = load->through[node], left = amount;
    for (int k = survey->links.first[node]; k < survey->links.first[node + 1]; k++) {
        int index = survey->links.link[k];
        const struct weft_link *link = &t->links[index];
        int other = weft_link_other_end(link, node);
        if (load->through[other] == 0 || !is_on_way(load, routes, from, index, node, other))
            continue;
        int64_t width = weft_link_bandwidth(link).value;
        width = width < load->through[other] ? width + (width == 0) : load->through[other];
        int64_t share = (int64_t)(((__int128)amount * width + whole - 1) / whole);
        share = share < left ? share : left;
        left -= share;
        put(load, 2 * index + (link->from != node), share);
        add_capacity(&load->amount[other], share);
    }
}

void weft_survey_load_add(struct weft_survey_load *load, const struct weft_route *routes, int from,
                          int to, int weight)
{
    if (from == to || routes[to].num_links < 1)
        return;
    load->passes_ranks = weft_survey_passes(load->survey, routes);
    int count = collect(load, routes, from, to);
    load->amount[from] = (int64_t)weight * WEFT_SURVEY_UNIT;
    for (int i = count - 1; i > 0; i--)
        hand_out(load, routes, from, load->queue[i]);
    for (int i = 0; i < count; i++)
        load->through[load->queue[i]] = load->amount[load->queue[i]] = 0;
}

int64_t weft_survey_load_slowest(const struct weft_survey_load *load)
{
    int64_t slowest = 0;
    for (int i = 0; i < load->num_touched; i++) {
        int way = load->touched[i];
        int64_t width = weft_link_bandwidth(&load->survey->topology->links[way / 2]).value;
        __int128 price = (__int128)weft_curve_slope_of(width < 1 ? 1 : width) * load->on_link[way];
        price = (price + WEFT_SURVEY_UNIT - 1) / WEFT_SURVEY_UNIT;
        const __int128 most = INT64_MAX / 4;
        price = price < most ? price : most;
        slowest = price > slowest ? (int64_t)price : slowest;
    }
    return slowest;
}
