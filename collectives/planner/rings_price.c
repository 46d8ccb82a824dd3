/*
 * SPDX-License-Identifier: Apache-2.0
 * What circles carry that all run at once: the traffic of all of them on every link; see rings.h.
 * Boxes are mostly alike, so of many only the first two and the last two are looked at; that a box
 * in between is slower is known from the survey, which has seen all boxes.
 */
#include <stdlib.h>

#include "collectives/planner/protocols.h"
#include "collectives/planner/rings.h"

enum { boxes_looked_at = 2, boxes_all = 16 };

struct pricing {
    const struct weft_survey *survey;
    const struct weft_groups *boxes;
    const int *order;
    const int *weight;
    int num_rings;
    struct weft_survey_load all, own, one;
};

// The slowest hop of a kind.
struct slowest {
    int64_t latency_ps;
    int64_t ps_per_mib;
    int kind;
};

// Whether the hop that begins at `place` of a circle is looked at: circles pass boxes one by one.
static bool is_looked_at(const struct pricing *p, int num_passed)
{
    int n = p->boxes->num_groups;
    return n <= boxes_all || num_passed < boxes_looked_at || num_passed >= n - boxes_looked_at;
}

static const int *circle_of(const struct pricing *p, int c)
{
    return p->order + (size_t)c * (size_t)p->survey->num_ranks;
}

// Adds the hops of circle c to `load`; returns how many lead from box to box.
static int add_hops(const struct pricing *p, int c, struct weft_survey_load *load, int weight)
{
    int n = p->survey->num_ranks, num_passed = 0;
    const int *order = circle_of(p, c);
    for (int i = 0; i < n; i++) {
        int a = order[i], b = order[(i + 1) % n];
        int from = p->survey->nodes[a], to = p->survey->nodes[b];
        if (is_looked_at(p, num_passed))
            weft_survey_load_add(load, weft_survey_routes(p->survey, from, to), from, to, weight);
        num_passed += p->boxes->of_rank[a] != p->boxes->of_rank[b];
    }
    return num_passed;
}

// The longest and the narrowest of the hops of circle c, each alone.
static void find_slowest(struct pricing *p, int c, struct slowest *near, struct slowest *far)
{
    int n = p->survey->num_ranks, num_passed = 0;
    const int *order = circle_of(p, c);
    for (int i = 0; i < n; i++) {
        int a = order[i], b = order[(i + 1) % n];
        int from = p->survey->nodes[a], to = p->survey->nodes[b];
        bool is_far = p->boxes->of_rank[a] != p->boxes->of_rank[b];
        struct slowest *slowest = is_far ? far : near;
        if (is_looked_at(p, num_passed)) {
            const struct weft_route *routes = weft_survey_routes(p->survey, from, to);
            weft_survey_load_clear(&p->one);
            weft_survey_load_add(&p->one, routes, from, to, 1);
            int64_t price = weft_survey_load_slowest(&p->one), latency = routes[to].latency_ps;
            if (price >= slowest->ps_per_mib) {
                slowest->ps_per_mib = price;
                slowest->kind = is_far ? WEFT_LINK_NETWORK : routes[to].narrowest_kind;
            }
            slowest->latency_ps = latency > slowest->latency_ps ? latency : slowest->latency_ps;
        }
        num_passed += is_far;
    }
}

// The slowest of the links that circle c uses, with everybody's traffic on it, for a MiB of the
// circle's own.
static int64_t busy_of(struct pricing *p, int c)
{
    struct weft_survey_load *own = &p->own;
    for (int i = 0; i < own->num_touched; i++)
        own->on_link[own->touched[i]] = p->all.on_link[own->touched[i]];
    return weft_survey_load_slowest(own) / p->weight[c];
}

static void price_circle(struct pricing *p, int c, int total_weight, int64_t least_ps,
                         struct weft_ring_hops *hops)
{
    struct slowest near = {0, 0, WEFT_LINK_NVLINK}, far = {0, 0, WEFT_LINK_NETWORK};
    weft_survey_load_clear(&p->own);
    hops->num_far = add_hops(p, c, &p->own, 1);
    find_slowest(p, c, &near, &far);
    hops->ps_per_mib = busy_of(p, c);
    // all weights together pass every box, of which each circle has its share
    int64_t share = least_ps / p->weight[c] * total_weight;
    hops->ps_per_mib = hops->ps_per_mib > share ? hops->ps_per_mib : share;
    hops->near = weft_protocols_curve(near.kind, near.latency_ps, near.ps_per_mib);
    hops->far = weft_protocols_curve(far.kind, far.latency_ps, far.ps_per_mib);
}

// A MiB out of the slowest box, by all of its ranks together.
static int64_t out_of_a_box(const struct weft_survey *survey, const struct weft_groups *boxes,
                            int box_level)
{
    int above = box_level + 1;
    return above < survey->num_levels ? survey->levels[above].way.leave_ps_per_mib / boxes->largest
                                      : 0;
}

weft_status weft_rings_price(const struct weft_survey *survey, const struct weft_layout *layout,
                             int box_level, int num_rings, const int *order, const int *weight,
                             struct weft_ring_hops *hops, struct weft_error *error)
{
    struct pricing p = {.survey = survey,
                        .boxes = &layout->levels[box_level],
                        .order = order,
                        .weight = weight,
                        .num_rings = num_rings};
    int total = 0;
    weft_status status = weft_survey_load_create(survey, &p.all, error);
    if (status == WEFT_OK)
        status = weft_survey_load_create(survey, &p.own, error);
    if (status == WEFT_OK)
        status = weft_survey_load_create(survey, &p.one, error);
    for (int c = 0; status == WEFT_OK && c < num_rings; c++) {
        add_hops(&p, c, &p.all, weight[c]);
        total += weight[c];
    }
    int64_t least_ps = out_of_a_box(survey, p.boxes, box_level);
    for (int c = 0; status == WEFT_OK && c < num_rings; c++)
        price_circle(&p, c, total, least_ps, &hops[c]);
    weft_survey_load_free(&p.all);
    weft_survey_load_free(&p.own);
    weft_survey_load_free(&p.one);
    return status;
}
