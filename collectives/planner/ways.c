/*
 * SPDX-License-Identifier: Apache-2.0
 * See ways.h. Which arcs of a network are of one kind is found by refining colors: at first ranks
 * have the color of their place in the block, then every vertex that of its neighbourhood, until
 * no more colors appear.
 */
#include "collectives/planner/ways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/network.h"

enum { none = -1, BALANCED_RANKS = 256, BALANCING_ROUNDS = 4 };

void weft_ways_destroy(struct weft_ways **ways)
{
    struct weft_ways *old = *ways;
    if (!old)
        return;
    for (int r = 0; old->parents && r < old->layout->num_ranks; r++)
        free(old->parents[r]);
    free(old->parents);
    free(old->load);
    free(old->capacity);
    free(old->first_group);
    free(old->color);
    free(old->class_of_arc);
    free(old);
    *ways = NULL;
}

/* ---- arcs from prices ---- */

// Digit by digit: `at` plus or minus `by`.
static int shift(const struct weft_fold *fold, int at, int by, bool is_back)
{
    int sum = 0, place = 1;
    for (int d = 0; d < fold->num_digits || d < 1; d++) {
        int radix = fold->num_digits ? fold->radix[d] : fold->num_blocks;
        int digit = is_back ? at % radix + radix - by % radix : at % radix + by % radix;
        if (fold->xor_digits >> d & 1)
            digit = (at % radix) ^ (by % radix);
        sum += digit % radix * place;
        place *= radix;
        at /= radix;
        by /= radix;
    }
    return sum;
}

int weft_fold_add(const struct weft_fold *fold, int at, int by)
{
    return fold->is_xor ? at ^ by : shift(fold, at, by, false);
}

int weft_fold_distance(const struct weft_fold *fold, int from, int to)
{
    return fold->is_xor ? from ^ to : shift(fold, to, from, true);
}

static int64_t best_slope(const struct weft_level_costs *level)
{
    int64_t best = level->message.lines[0].ps_per_mib;
    for (int i = 1; i < level->message.num_lines; i++)
        if (level->message.lines[i].ps_per_mib < best)
            best = level->message.lines[i].ps_per_mib;
    return best;
}

static int64_t rate_of(int64_t ps_per_mib)
{
    int64_t rate = weft_curve_bandwidth(ps_per_mib);
    return rate > WEFT_RATE_LIMIT ? WEFT_RATE_LIMIT : rate < 1 ? 1 : rate;
}

static bool has_group_arcs(const struct weft_layout *layout, int level)
{
    const struct weft_level_costs *above = &layout->costs.levels[level + 1];
    return above->crowd_ps_per_mib > best_slope(above);
}

// Groups of a level in the first block; one where the block is only a part of it.
static int num_folded_groups(const struct weft_ways *ways, int level)
{
    const struct weft_groups *groups = &ways->layout->levels[level];
    return ways->fold.num_blocks == 1 ? groups->num_groups
                                      : groups->of_rank[ways->fold.block - 1] + 1;
}

static int rank_arc(const struct weft_ways *ways, int level, int rank, bool is_in)
{
    return 2 * (level * ways->fold.block + rank % ways->fold.block) + is_in;
}

static int group_arc(const struct weft_ways *ways, int level, int rank, bool is_down)
{
    int first = ways->fold.num_blocks == 1 ? rank : rank % ways->fold.block;
    return ways->first_group[level] + 2 * ways->layout->levels[level].of_rank[first] + is_down;
}

static weft_status make_price_arcs(struct weft_ways *ways, struct weft_error *error)
{
    const struct weft_layout *layout = ways->layout;
    int num_levels = layout->costs.num_levels;
    ways->first_group = calloc((size_t)num_levels, sizeof *ways->first_group);
    if (!ways->first_group)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for arcs");
    ways->num_arcs = 2 * num_levels * ways->fold.block;
    for (int l = 0; l < num_levels - 1; l++) {
        ways->first_group[l] = ways->num_arcs;
        ways->num_arcs += 2 * num_folded_groups(ways, l);
    }
    ways->capacity = calloc((size_t)ways->num_arcs, sizeof *ways->capacity);
    if (!ways->capacity)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for arcs");
    for (int l = 0; l < num_levels; l++)
        for (int r = 0; r < 2 * ways->fold.block; r++)
            ways->capacity[2 * l * ways->fold.block + r] =
                rate_of(best_slope(&layout->costs.levels[l]));
    for (int l = 0; l < num_levels - 1; l++)
        for (int g = 0; g < num_folded_groups(ways, l); g++) {
            const struct weft_groups *groups = &layout->levels[l];
            int size = groups->first[g + 1] - groups->first[g];
            if (size > ways->fold.block)
                size = ways->fold.block; // its share of the group's
            __int128 rate = (__int128)size * rate_of(layout->costs.levels[l + 1].crowd_ps_per_mib);
            ways->capacity[ways->first_group[l] + 2 * g] =
                ways->capacity[ways->first_group[l] + 2 * g + 1] =
                    rate > WEFT_RATE_LIMIT ? WEFT_RATE_LIMIT : (int64_t)rate;
        }
    return WEFT_OK;
}

static int price_route(const struct weft_ways *ways, int from, int to, int *arcs)
{
    int level = weft_layout_level(ways->layout, from, to), count = 0;
    for (int l = level ? 1 : 0; l <= level; l++) {
        arcs[count++] = rank_arc(ways, l, from, false);
        arcs[count++] = rank_arc(ways, l, to, true);
        if (l == 0 || !has_group_arcs(ways->layout, l - 1))
            continue;
        arcs[count++] = group_arc(ways, l - 1, from, false);
        arcs[count++] = group_arc(ways, l - 1, to, true);
    }
    return count;
}

/* ---- arcs of a network ---- */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int count_different(uint64_t *numbers, int count)
{
    int different = 0;
    qsort(numbers, (size_t)count, sizeof *numbers, by_number);
    for (int i = 0; i < count; i++)
        if (i == 0 || numbers[i] != numbers[i - 1])
            numbers[different++] = numbers[i];
    return different;
}

static void refine(const struct weft_ways *ways, uint64_t *colors, uint64_t *work)
{
    const struct weft_network *network = ways->layout->network;
    int num_colors = 0;
    for (int v = 0; v < network->num_vertices; v++)
        colors[v] = mix(v < network->num_terminals ? 1 + (uint64_t)(v % ways->fold.block) : 0);
    for (int round = 0; round < network->num_vertices; round++) {
        memcpy(work, colors, (size_t)network->num_vertices * sizeof *work);
        int now = count_different(work, network->num_vertices);
        if (now == num_colors)
            return;
        num_colors = now;
        for (int v = 0; v < network->num_vertices; v++)
            work[v] = mix(colors[v]);
        for (int a = 0; a < network->num_arcs; a++) {
            const struct weft_arc *arc = &network->arcs[a];
            uint64_t price = mix((uint64_t)arc->capacity ^ mix((uint64_t)arc->latency_ps));
            work[arc->from] += mix(colors[arc->to] ^ price);
            work[arc->to] += mix(mix(colors[arc->from] ^ price));
        }
        memcpy(colors, work, (size_t)network->num_vertices * sizeof *work);
    }
}

static uint64_t kind_of_arc(const struct weft_ways *ways, int number)
{
    const struct weft_arc *arc = &ways->layout->network->arcs[number];
    return mix(ways->color[arc->from] ^ mix(ways->color[arc->to] ^ mix((uint64_t)arc->capacity)));
}

static weft_status classify(struct weft_ways *ways, uint64_t *work, uint64_t *kinds)
{
    const struct weft_network *network = ways->layout->network;
    refine(ways, ways->color, work);
    for (int a = 0; a < network->num_arcs; a++)
        kinds[a] = kind_of_arc(ways, a);
    ways->num_arcs = count_different(kinds, network->num_arcs);
    for (int a = 0; a < network->num_arcs; a++) {
        uint64_t kind = kind_of_arc(ways, a);
        const uint64_t *found =
            bsearch(&kind, kinds, (size_t)ways->num_arcs, sizeof *kinds, by_number);
        ways->class_of_arc[a] = (int)(found - kinds);
        ways->capacity[found - kinds] += network->arcs[a].capacity;
    }
    for (int c = 0; c < ways->num_arcs; c++) {
        ways->capacity[c] /= ways->fold.num_blocks;
        ways->capacity[c] += ways->capacity[c] == 0;
    }
    return WEFT_OK;
}

static weft_status make_network_arcs(struct weft_ways *ways, struct weft_error *error)
{
    const struct weft_network *network = ways->layout->network;
    size_t num_arcs = (size_t)network->num_arcs + 1, num_vertices = (size_t)network->num_vertices;
    ways->capacity = calloc(num_arcs, sizeof *ways->capacity);
    ways->class_of_arc = calloc(num_arcs, sizeof *ways->class_of_arc);
    ways->color = calloc(num_vertices, sizeof *ways->color);
    ways->parents = calloc((size_t)ways->layout->num_ranks, sizeof *ways->parents);
    uint64_t *work = calloc(num_vertices + num_arcs, sizeof *work);
    weft_status status = WEFT_OK;
    if (!ways->capacity || !ways->class_of_arc || !ways->color || !ways->parents || !work)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for arcs");
    else if (ways->fold.num_blocks > 1)
        status = classify(ways, work, work + num_vertices);
    else
        for (ways->num_arcs = 0; ways->num_arcs < network->num_arcs; ways->num_arcs++) {
            ways->capacity[ways->num_arcs] = network->arcs[ways->num_arcs].capacity;
            ways->class_of_arc[ways->num_arcs] = ways->num_arcs;
        }
    free(work);
    return status;
}

// What is known of a vertex while ways from one rank are sought.
struct reached {
    int64_t latency_ps; // -1: not yet
    int64_t width;
    int heap_place; // in the heap; none
    bool is_final;  // a way that goes before was found
};

/* Which ways are found, one kind after another; see survey.h. */
enum passing {
    ALONG_LINKS,   // from rank to rank within a group
    PAST_RANKS,    // through what only forwards
    THROUGH_RANKS, // whatever there is
};

struct search {
    const struct weft_layout *layout;
    const struct weft_network *network;
    struct reached *reached;
    int *heap;
    int size;
    enum passing passing;
    const int64_t *load; // (arcs) ways over each so far; NULL: not looked at
};

static bool is_nearer(const struct search *search, int a, int b)
{
    const struct reached *x = &search->reached[a], *y = &search->reached[b];
    if (x->latency_ps != y->latency_ps)
        return x->latency_ps < y->latency_ps;
    return x->width != y->width ? x->width > y->width : a < b;
}

static void put(struct search *search, int place, int vertex)
{
    search->heap[place] = vertex;
    search->reached[vertex].heap_place = place;
}

static void rise(struct search *search, int vertex)
{
    int place = search->reached[vertex].heap_place;
    if (place == none)
        place = search->size++;
    for (; place > 0 && is_nearer(search, vertex, search->heap[(place - 1) / 2]);
         place = (place - 1) / 2)
        put(search, place, search->heap[(place - 1) / 2]);
    put(search, place, vertex);
}

static int take_nearest(struct search *search)
{
    int nearest = search->heap[0], last = search->heap[--search->size], place = 0;
    for (int child; (child = 2 * place + 1) < search->size; place = child) {
        if (child + 1 < search->size &&
            is_nearer(search, search->heap[child + 1], search->heap[child]))
            child++;
        if (!is_nearer(search, search->heap[child], last))
            break;
        put(search, place, search->heap[child]);
    }
    if (search->size)
        put(search, place, last);
    search->reached[nearest].heap_place = none;
    return nearest;
}

// Whether an arc leads from rank to rank within a group of linked ranks.
static bool is_link(const struct search *search, const struct weft_arc *arc)
{
    const struct weft_layout *layout = search->layout;
    if (arc->from >= layout->num_ranks || arc->to >= layout->num_ranks ||
        layout->linked_levels == 0)
        return false;
    const int *group = layout->levels[layout->linked_levels - 1].of_rank;
    return group[arc->from] == group[arc->to];
}

// Of a message of middling size: a wide way that is a little longer is the nearer one. Links from
// rank to rank are too few for that: each has to be used.
static int64_t time_on(const struct search *search, const struct weft_arc *arc)
{
    const int64_t bytes = search->layout->linked_levels ? 0 : INT64_C(1) << 16;
    return (int64_t)((__int128)bytes * 1000000000000 / arc->capacity);
}

static void spread(struct search *search, int vertex, int *parents)
{
    const struct weft_network *network = search->network;
    for (int a = network->first[vertex]; a < network->first[vertex + 1]; a++) {
        const struct weft_arc *arc = &network->arcs[a];
        const struct reached *here = &search->reached[vertex];
        struct reached *there = &search->reached[arc->to];
        int64_t latency = here->latency_ps + arc->latency_ps + time_on(search, arc);
        int64_t width = here->width < arc->capacity ? here->width : arc->capacity;
        if (there->is_final || (search->passing == ALONG_LINKS && !is_link(search, arc)))
            continue;
        bool is_equal = there->latency_ps == latency && there->width == width;
        bool is_lighter = is_equal && search->load && parents[arc->to] != none &&
                          arc->latency_ps > 0 && search->load[a] < search->load[parents[arc->to]];
        if (is_lighter)
            parents[arc->to] = a;
        if (there->latency_ps >= 0 && (there->latency_ps < latency ||
                                       (there->latency_ps == latency && there->width >= width)))
            continue;
        there->latency_ps = latency;
        there->width = width;
        parents[arc->to] = a;
        if (arc->to >= network->num_terminals || search->passing != PAST_RANKS)
            rise(search, arc->to);
    }
}

// Adds ways of one kind to what no way before leads to.
static void spread_all(struct search *search, enum passing passing, int from, int *parents)
{
    const struct weft_network *network = search->network;
    bool is_missing = false;
    for (int r = 0; r < network->num_terminals; r++)
        is_missing |= search->reached[r].latency_ps < 0;
    if (!is_missing || (passing == ALONG_LINKS && search->layout->linked_levels == 0))
        return;
    search->passing = passing;
    for (int v = 0; v < network->num_vertices; v++) {
        search->reached[v].is_final = search->reached[v].latency_ps >= 0;
        if (passing == THROUGH_RANKS && search->reached[v].is_final && v != from)
            rise(search, v);
    }
    spread(search, from, parents);
    while (search->size)
        spread(search, take_nearest(search), parents);
}

static weft_status find_ways(struct weft_ways *ways, int from, struct weft_error *error)
{
    struct search search = {
        .layout = ways->layout, .network = ways->layout->network, .load = ways->load};
    size_t count = (size_t)search.network->num_vertices;
    int *parents = malloc(count * sizeof *parents);
    search.reached = malloc(count * sizeof *search.reached);
    search.heap = malloc(count * sizeof *search.heap);
    bool is_there = parents && search.reached && search.heap;
    for (size_t v = 0; is_there && v < count; v++) {
        parents[v] = none;
        search.reached[v] = (struct reached){-1, 0, none, false};
    }
    if (is_there) {
        search.reached[from] = (struct reached){0, INT64_MAX, none, false};
        spread_all(&search, ALONG_LINKS, from, parents);
        spread_all(&search, PAST_RANKS, from, parents);
        spread_all(&search, THROUGH_RANKS, from, parents);
    }
    free(search.reached);
    free(search.heap);
    if (!is_there) {
        free(parents);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for ways");
    }
    ways->parents[from] = parents;
    return WEFT_OK;
}

static void add_load(struct weft_ways *ways, int from, int64_t count)
{
    const int *parents = ways->parents[from];
    for (int to = 0; to < ways->layout->num_ranks; to++)
        for (int at = to; at != from && parents[at] != none;
             at = ways->layout->network->arcs[parents[at]].from)
            ways->load[parents[at]] += count;
}

// All ways at once, so that of equal ones those are taken over which fewest others lead.
static weft_status find_balanced_ways(struct weft_ways *ways, struct weft_error *error)
{
    const struct weft_network *network = ways->layout->network;
    ways->load = calloc((size_t)network->num_arcs + 1, sizeof *ways->load);
    if (!ways->load)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for ways");
    for (int round = 0; round < BALANCING_ROUNDS; round++)
        for (int from = 0; from < ways->layout->num_ranks; from++) {
            if (ways->parents[from])
                add_load(ways, from, -1);
            free(ways->parents[from]);
            ways->parents[from] = NULL;
            WEFT_TRY(find_ways(ways, from, error));
            add_load(ways, from, 1);
        }
    return WEFT_OK;
}

bool weft_ways_are_even(const struct weft_ways *ways)
{
    int *like = ways->load ? malloc((size_t)ways->num_arcs * sizeof *like) : NULL;
    bool is_even = like || !ways->load;
    for (int c = 0; like && c < ways->num_arcs; c++)
        like[c] = none;
    for (int a = 0; like && a < ways->layout->network->num_arcs; a++) {
        int class = ways->class_of_arc[a];
        if (like[class] == none)
            like[class] = a;
        is_even &= ways->load[a] == ways->load[like[class]];
    }
    free(like);
    return is_even;
}

static weft_status network_route(struct weft_ways *ways, int from, int to, int *arcs,
                                 struct weft_way *way, struct weft_error *error)
{
    const struct weft_network *network = ways->layout->network;
    if (!ways->parents[from])
        WEFT_TRY(find_ways(ways, from, error));
    const int *parents = ways->parents[from];
    *way = (struct weft_way){.width = INT64_MAX};
    for (int at = to; at != from; at = network->arcs[parents[at]].from) {
        if (parents[at] == none)
            return weft_fail(error, WEFT_NOT_FOUND, "no way from rank %d to rank %d", from, to);
        if (way->num_arcs == WEFT_ROUTE_LIMIT)
            return weft_fail(error, WEFT_UNSUPPORTED,
                             "the way from rank %d to rank %d has more than %d arcs", from, to,
                             WEFT_ROUTE_LIMIT);
        const struct weft_arc *arc = &network->arcs[parents[at]];
        arcs[way->num_arcs++] = ways->class_of_arc[parents[at]];
        way->width = arc->capacity < way->width ? arc->capacity : way->width;
        way->latency_ps += arc->latency_ps;
    }
    return WEFT_OK;
}

/* ---- both ---- */

weft_status weft_ways_create(const struct weft_layout *layout, struct weft_fold fold,
                             struct weft_ways **ways, struct weft_error *error)
{
    struct weft_ways *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for arcs");
    made->layout = layout;
    made->fold = fold;
    weft_status status =
        layout->network ? make_network_arcs(made, error) : make_price_arcs(made, error);
    bool is_linked = layout->network && (layout->linked_levels > 0 ||
                                         layout->network->num_vertices == layout->num_ranks);
    if (status == WEFT_OK && is_linked && layout->num_ranks <= BALANCED_RANKS)
        status = find_balanced_ways(made, error);
    if (status != WEFT_OK) {
        weft_ways_destroy(&made);
        return status;
    }
    *ways = made;
    return WEFT_OK;
}

weft_status weft_ways_route(struct weft_ways *ways, int from, int to, int *arcs,
                            struct weft_way *way, struct weft_error *error)
{
    if (ways->layout->network)
        return network_route(ways, from, to, arcs, way, error);
    *way = (struct weft_way){price_route(ways, from, to, arcs), 0, -1};
    return WEFT_OK;
}

void weft_ways_name(const struct weft_ways *ways, int arc, char *text, size_t bytes)
{
    const struct weft_network *network = ways->layout->network;
    int num_rank_arcs = 2 * ways->layout->costs.num_levels * ways->fold.block;
    if (network) {
        int a = 0;
        while (ways->class_of_arc[a] != arc)
            a++;
        snprintf(text, bytes, "vertex %d to vertex %d", network->arcs[a].from, network->arcs[a].to);
    } else if (arc < num_rank_arcs) {
        snprintf(text, bytes, "%s rank %d at level %d", arc % 2 ? "into" : "out of",
                 arc / 2 % ways->fold.block, arc / 2 / ways->fold.block);
    } else {
        int level = ways->layout->costs.num_levels - 2;
        while (arc < ways->first_group[level])
            level--;
        snprintf(text, bytes, "%s group %d of level %d", arc % 2 ? "down into" : "up from",
                 (arc - ways->first_group[level]) / 2, level);
    }
}
