/*
 * SPDX-License-Identifier: Apache-2.0
 * See rings.h. A box is the outermost group whose ranks reach one another without the network. Each
 * circle passes the boxes in order. It enters box h at the rank by which it left box h - 1, so that
 * every hop between boxes stays on one rail; from box to box the exits of all circles are different
 * ranks, so that all NICs are busy. With an odd number of boxes the last three take turns.
 */
#include "collectives/planner/rings.h"

#include <stdlib.h>
#include <string.h>

#include "collectives/planner/curve.h"

enum {
    rings_limit = 16,
    walk_work = 1 << 12,
    turns = 5
}; // even boxes, odd boxes, and the last three of an odd number

struct finder {
    const struct weft_survey *survey;
    const struct weft_groups *boxes;
    int size; // of each box
    int level;
    int num_rings;
    bool is_free; // through switches, which lead from everywhere to everywhere
    struct weft_box box;
    int64_t rates[rings_limit];
    int rails[rings_limit]; // places in a box
    int *paths;             // [(turn * rings_limit + circle) * size]: places
    int *order;
    int64_t work;
};

/* ---- what a box is like ---- */

// The outermost level whose slowest way needs no network; -1: none.
static int box_level(const struct weft_survey *survey)
{
    const struct weft_topology *t = survey->topology;
    int found = -1;
    for (int l = 0; l < survey->num_levels; l++) {
        const struct weft_survey_way *way = &survey->levels[l].way;
        if (way->num_pairs == 0)
            continue;
        int kind = way->narrowest.narrowest_kind;
        int from = weft_topology_ancestor(t, survey->nodes[way->from], WEFT_NODE_HOST);
        int to = weft_topology_ancestor(t, survey->nodes[way->to], WEFT_NODE_HOST);
        if (kind == WEFT_LINK_NVLINK || kind == WEFT_LINK_XGMI || (from >= 0 && from == to))
            found = l;
    }
    return found;
}

static bool is_direct(const struct weft_link *link)
{
    return link->kind == WEFT_LINK_NVLINK || link->kind == WEFT_LINK_XGMI;
}

// The direct links between the ranks of a box. False: some lead into switches, or there are none.
static bool list_links(const struct finder *f, int number, struct weft_box *box)
{
    const struct weft_survey *survey = f->survey;
    const struct weft_topology *t = survey->topology;
    const int *members = f->boxes->members + f->boxes->first[number];
    bool has_any = false, has_switch = f->size > WEFT_BOX_LIMIT;
    *box = (struct weft_box){.num_ranks = f->size};
    for (int i = 0; i < f->size && !has_switch; i++) {
        int node = survey->nodes[members[i]];
        for (int k = survey->links.first[node]; k < survey->links.first[node + 1]; k++) {
            const struct weft_link *link = &t->links[survey->links.link[k]];
            int other = weft_link_other_end(link, node), j = 0;
            if (!is_direct(link) || (link->one_way && link->from != node))
                continue;
            has_switch |= weft_node_kinds[t->nodes[other].kind].is_switch;
            while (j < f->size && survey->nodes[members[j]] != other)
                j++;
            if (j == f->size)
                continue;
            box->left[i * f->size + j] += weft_link_bandwidth(link).value;
            has_any = true;
        }
    }
    return has_any && !has_switch;
}

/* ---- rails ---- */

// How a rank leaves its box.
struct rail {
    int nic;       // the link of the network that it uses most, beside its NIC; -1: none
    int64_t rate;  // bytes per second alone
    int64_t width; // of all NICs that it uses
};

static struct rail rail_of(const struct weft_survey *survey, struct weft_survey_load *load, int a,
                           int b)
{
    const struct weft_topology *t = survey->topology;
    int from = survey->nodes[a], to = survey->nodes[b];
    struct rail rail = {.nic = -1};
    int64_t most = 0;
    weft_survey_load_clear(load);
    weft_survey_load_add(load, weft_survey_routes(survey, from, to), from, to, 1);
    for (int i = 0; i < load->num_touched; i++) {
        int way = load->touched[i];
        const struct weft_link *link = &t->links[way / 2];
        int tail = way % 2 ? link->to : link->from;
        if (link->kind != WEFT_LINK_NETWORK || t->nodes[tail].kind != WEFT_NODE_NIC)
            continue;
        int64_t width = weft_link_bandwidth(link).value;
        rail.width += width < INT64_C(1) << 40 ? width : INT64_C(1) << 40;
        if (load->on_link[way] > most || (load->on_link[way] == most && way / 2 < rail.nic)) {
            most = load->on_link[way];
            rail.nic = way / 2;
        }
    }
    rail.rate = weft_curve_bandwidth(weft_survey_load_slowest(load));
    return rail;
}

// Of the first box: of each set of NICs as many ranks as it takes to keep them busy.
static int list_rails(const struct finder *f, struct weft_survey_load *load, struct rail *rails,
                      int *places)
{
    const int *here = f->boxes->members, *there = here + f->size;
    int count = 0;
    for (int i = 0; i < f->size; i++) {
        struct rail rail = rail_of(f->survey, load, here[i], there[i]);
        int64_t num_alike = 0,
                wanted = rail.rate > 0 ? (rail.width + rail.rate - 1) / rail.rate : 0;
        for (int k = 0; k < count; k++)
            num_alike += rails[k].nic == rail.nic;
        if (rail.nic < 0 || num_alike >= wanted)
            continue;
        rails[count] = rail;
        places[count++] = i;
    }
    for (int i = 0; i < count; i++) {
        int64_t num_alike = 0;
        for (int k = 0; k < count; k++)
            num_alike += rails[k].nic == rails[i].nic;
        int64_t share = rails[i].width / num_alike;
        rails[i].rate = rails[i].rate < share ? rails[i].rate : share;
    }
    return count;
}

// With more rails than are of use, evenly spread ones.
static weft_status find_rails(struct finder *f, struct weft_error *error)
{
    const struct weft_survey *survey = f->survey;
    struct weft_survey_load load;
    int *places = malloc((size_t)f->size * sizeof *places);
    struct rail *rails = malloc((size_t)f->size * sizeof *rails);
    weft_status status = weft_survey_load_create(survey, &load, error);
    if (status == WEFT_OK && (!places || !rails))
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for circles");
    int count = status == WEFT_OK ? list_rails(f, &load, rails, places) : 0;
    if (count > 0 && rails[0].rate > 0) {
        int64_t inner = weft_curve_bandwidth(survey->levels[f->level].way.alone_ps_per_mib);
        int64_t useful = f->is_free ? (inner - 1) / rails[0].rate + 1 : rings_limit;
        f->num_rings = count < rings_limit ? count : rings_limit;
        f->num_rings = useful < f->num_rings ? (int)useful : f->num_rings;
        for (int c = 0; c < f->num_rings; c++) {
            f->rails[c] = places[c * count / f->num_rings];
            f->rates[c] = rails[c * count / f->num_rings].rate;
        }
    }
    weft_survey_load_free(&load);
    free(places);
    free(rails);
    return status;
}

/* ---- circles across boxes ---- */

// Which of the rails circle c leaves box h by.
static int exit_of(const struct finder *f, int c, int h)
{
    int num_boxes = f->boxes->num_groups, ahead = h % 2 == 0;
    if (num_boxes % 2 && h >= num_boxes - 3)
        ahead = h == num_boxes - 1 ? 0 : h - (num_boxes - 3) + 1;
    return (c + ahead) % f->num_rings;
}

static int turn_of(const struct finder *f, int h)
{
    int num_boxes = f->boxes->num_groups;
    return num_boxes % 2 && h >= num_boxes - 3 ? 2 + h - (num_boxes - 3) : h % 2;
}

static void walk_freely(const struct finder *f, int from, int to, int *path)
{
    int count = 0;
    path[count++] = from;
    for (int i = 0; i < f->size; i++)
        if (i != from && i != to)
            path[count++] = i;
    path[count] = to;
}

// Over the links that have most left, so that later circles find some, too; else shared ones.
static bool walk_links(struct finder *f, struct weft_box *box, const struct weft_box *whole,
                       int from, int to, int64_t rate, int *path)
{
    bool is_found = false;
    for (int64_t least = weft_box_next_rate(box, INT64_MAX);
         !is_found && least >= rate && f->work > 0; least = weft_box_next_rate(box, least)) {
        int64_t work = f->work < walk_work ? f->work : walk_work, given = work;
        is_found = weft_box_find(box, from, to, least, &work, path);
        f->work -= given - work;
    }
    if (!is_found)
        is_found = weft_box_find(whole, from, to, 1, &f->work, path);
    if (is_found)
        weft_box_take(box, path, false, rate);
    return is_found;
}

// All circles through a box whose links are `box`, at the turn of box h.
static void walk(struct finder *f, struct weft_box *box, int h, int *paths)
{
    const struct weft_box whole = *box;
    int num_boxes = f->boxes->num_groups;
    for (int c = 0; c < f->num_rings; c++) {
        int from = f->rails[exit_of(f, c, (h + num_boxes - 1) % num_boxes)];
        int to = f->rails[exit_of(f, c, h)], *path = paths + c * f->size;
        if (f->is_free || !walk_links(f, box, &whole, from, to, f->rates[c], path))
            walk_freely(f, from, to, path);
    }
}

static void lay_across(struct finder *f)
{
    struct weft_box first = f->box, own = f->box;
    int num_boxes = f->boxes->num_groups, n = f->survey->num_ranks;
    bool is_walked[turns] = {false};
    int *others = f->paths + turns * rings_limit * f->size; // of a box unlike the first
    for (int h = 0; h < num_boxes; h++) {
        int turn = turn_of(f, h);
        int *paths = f->paths + turn * rings_limit * f->size;
        bool is_like = f->is_free;
        if (!f->is_free) {
            list_links(f, h, &own);
            is_like = memcmp(&own, &first, sizeof own) == 0;
        }
        if (!is_like || !is_walked[turn])
            walk(f, &own, h, is_like ? paths : others);
        is_walked[turn] |= is_like;
        for (int c = 0; c < f->num_rings; c++)
            for (int i = 0; i < f->size; i++)
                f->order[(size_t)c * (size_t)n + (size_t)(h * f->size + i)] =
                    f->boxes
                        ->members[f->boxes->first[h] + (is_like ? paths : others)[c * f->size + i]];
    }
}

/* ---- circles within the only box ---- */

static void lay_within(struct finder *f)
{
    int n = f->size, *path = f->paths;
    const int *members = f->boxes->members;
    struct weft_box *box = &f->box;
    int64_t rate = weft_box_next_rate(box, INT64_MAX);
    while (rate > 0 && f->num_rings < rings_limit && f->work > 0) {
        int64_t work = WEFT_BOX_WORK;
        bool is_found = weft_box_find(box, 0, -1, rate, &work, path);
        f->work -= WEFT_BOX_WORK - work;
        if (!is_found) {
            rate = weft_box_next_rate(box, rate);
            continue;
        }
        weft_box_take(box, path, true, rate);
        for (int i = 0; i < n; i++)
            f->order[f->num_rings * n + i] = members[path[i]];
        f->rates[f->num_rings++] = rate;
    }
}

/* ---- weights ---- */

// Small integers in about the ratio of the rates; their sum is at most WEFT_RINGS_WEIGHT.
static void weigh(const struct finder *f, int *weight)
{
    int64_t least = INT64_MAX, best_error = INT64_MAX;
    int best = 1;
    for (int c = 0; c < f->num_rings; c++)
        least = f->rates[c] < least ? f->rates[c] : least;
    // `scale` for the least; the one that is nearest to the ratios, in thousandths
    for (int scale = 1; scale <= WEFT_RINGS_WEIGHT / f->num_rings; scale++) {
        int64_t error = 0, sum = 0;
        for (int c = 0; c < f->num_rings; c++) {
            __int128 exact = (__int128)f->rates[c] * scale * 1000 / least;
            int64_t near =
                (int64_t)((exact + 500) / 1000 < WEFT_RINGS_WEIGHT + 1 ? (exact + 500) / 1000
                                                                       : WEFT_RINGS_WEIGHT + 1);
            int64_t off = (int64_t)exact - near * 1000;
            error += (off < 0 ? -off : off) / scale;
            sum += near;
        }
        if (sum <= WEFT_RINGS_WEIGHT && error < best_error) {
            best_error = error;
            best = scale;
        }
    }
    for (int c = 0; c < f->num_rings; c++) {
        __int128 exact = ((__int128)f->rates[c] * best * 2 + least) / (2 * (__int128)least);
        int most = WEFT_RINGS_WEIGHT / f->num_rings;
        weight[c] = best_error == INT64_MAX && exact > most ? most : (int)exact;
    }
}

/* ---- all together ---- */

// A circle moves as fast as the slower of the two rails that it uses.
static void slow_down(struct finder *f)
{
    int64_t first = f->rates[0];
    for (int c = 0; c < f->num_rings; c++) {
        int64_t next = c + 1 < f->num_rings ? f->rates[c + 1] : first;
        f->rates[c] = f->rates[c] < next ? f->rates[c] : next;
    }
}

static weft_status lay(struct finder *f, struct weft_layout *layout, struct weft_error *error)
{
    struct weft_ring_hops hops[rings_limit];
    int weight[rings_limit];
    f->is_free = !list_links(f, 0, &f->box);
    if (f->boxes->num_groups > 1)
        WEFT_TRY(find_rails(f, error));
    else if (!f->is_free)
        lay_within(f);
    if (f->boxes->num_groups > 1 && f->num_rings > 1) {
        lay_across(f);
        slow_down(f);
    }
    // Three rails at least for the three last turns.
    if (f->num_rings < 1 ||
        (f->boxes->num_groups > 1 && f->num_rings < 2 + f->boxes->num_groups % 2))
        return WEFT_OK;
    weigh(f, weight);
    WEFT_TRY(
        weft_rings_price(f->survey, layout, f->level, f->num_rings, f->order, weight, hops, error));
    return weft_layout_set_rings(layout, f->num_rings, f->order, weight, hops, error);
}

weft_status weft_rings_find(const struct weft_survey *survey, struct weft_layout *layout,
                            struct weft_error *error)
{
    int level = box_level(survey), n = survey->num_ranks;
    if (level < 0 || layout->costs.num_levels != survey->num_levels || layout->costs.sharing > 1)
        return WEFT_OK;
    const struct weft_groups *boxes = &layout->levels[level];
    if (boxes->smallest != boxes->largest || boxes->largest < 3)
        return WEFT_OK;
    struct finder f = {.survey = survey,
                       .boxes = boxes,
                       .size = boxes->largest,
                       .level = level,
                       .work = 16 * WEFT_BOX_WORK};
    f.order = malloc(rings_limit * (size_t)n * sizeof *f.order);
    f.paths = malloc((turns + 1) * rings_limit * (size_t)f.size * sizeof *f.paths);
    weft_status status = WEFT_OK;
    if (!f.order || !f.paths)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for circles");
    if (status == WEFT_OK)
        status = lay(&f, layout, error);
    free(f.order);
    free(f.paths);
    return status;
}
