/*
 * SPDX-License-Identifier: Apache-2.0
 * See optimum.h. A source feeds every terminal x; x is possible exactly if every terminal can be
 * reached by all of it, N x. With x = p / q all capacities are multiplied by q, so everything is an
 * integer. A terminal that is not reached gives a cut with a smaller x, which is tried next; each
 * round is at a real cut, so the last one is the optimum itself.
 *
 * Flows run backwards, from the terminal to all sources: near sources are found first, so the
 * search seldom sees the whole network.
 */
#include "topology/optimum.h"

#include <stdlib.h>
#include <string.h>

#include "base/divisor.h"
#include "topology/maxflow.h"

static const int64_t capacity_limit = INT64_C(1) << 58;

struct search {
    const struct weft_network *network;
    bool is_reversed;
    int64_t unit; // divides every capacity
    struct weft_maxflow *flow;
    bool *is_in_cut; // the best cut so far
    bool *is_in;     // a cut under examination
    int64_t inside;  // terminals in the best cut
    int64_t leaving; // what leaves it, in units
};

static int from_of(const struct search *search, const struct weft_arc *arc)
{
    return search->is_reversed ? arc->to : arc->from;
}

static int to_of(const struct search *search, const struct weft_arc *arc)
{
    return search->is_reversed ? arc->from : arc->to;
}

static void release(struct search *search)
{
    weft_maxflow_destroy(&search->flow);
    free(search->is_in_cut);
    free(search->is_in);
}

static weft_status start(struct search *search, const struct weft_network *network,
                         bool is_reversed, struct weft_error *error)
{
    size_t count = (size_t)network->num_vertices + 1;
    *search = (struct search){.network = network, .is_reversed = is_reversed};
    search->flow = weft_maxflow_create(network->num_vertices + 1);
    search->is_in_cut = calloc(count, sizeof(bool));
    search->is_in = calloc(count, sizeof(bool));
    bool is_made = search->flow && search->is_in_cut && search->is_in;
    for (int i = 0; is_made && i < network->num_arcs; i++) {
        const struct weft_arc *arc = &network->arcs[i];
        search->unit = weft_greatest_divisor(arc->capacity, search->unit);
        is_made =
            weft_maxflow_add(search->flow, to_of(search, arc), from_of(search, arc), 0, 0) >= 0;
    }
    for (int t = 0; is_made && t < network->num_terminals; t++)
        is_made = weft_maxflow_add(search->flow, t, network->num_vertices, 0, 0) >= 0;
    if (is_made)
        return WEFT_OK;
    release(search);
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an optimum");
}

// Takes the cut of search->is_in if it is narrower than the best one.
static bool take(struct search *search)
{
    const struct weft_network *network = search->network;
    int64_t inside = 0, leaving = 0;
    for (int t = 0; t < network->num_terminals; t++)
        inside += search->is_in[t];
    for (int i = 0; i < network->num_arcs; i++) {
        const struct weft_arc *arc = &network->arcs[i];
        if (search->is_in[from_of(search, arc)] && !search->is_in[to_of(search, arc)])
            leaving += arc->capacity / search->unit;
    }
    if (search->inside && (__int128)leaving * search->inside >= (__int128)search->leaving * inside)
        return false;
    search->inside = inside;
    search->leaving = leaving;
    memcpy(search->is_in_cut, search->is_in, (size_t)network->num_vertices * sizeof(bool));
    return true;
}

// All but one terminal, for each: no x can be larger than what these allow.
static void take_single_cuts(struct search *search)
{
    const struct weft_network *network = search->network;
    for (int v = 0; v < network->num_vertices; v++)
        search->is_in[v] = true;
    int64_t *entering = calloc((size_t)network->num_vertices + 1, sizeof *entering);
    int narrowest = 0;
    for (int i = 0; entering && i < network->num_arcs; i++)
        entering[to_of(search, &network->arcs[i])] += network->arcs[i].capacity / search->unit;
    for (int t = 1; entering && t < network->num_terminals; t++)
        if (entering[t] < entering[narrowest])
            narrowest = t;
    free(entering);
    search->is_in[narrowest] = false;
    take(search);
}

static weft_status set_capacities(struct search *search, struct weft_error *error)
{
    const struct weft_network *network = search->network;
    int64_t divisor = weft_greatest_divisor(search->leaving, search->inside);
    int64_t p = search->leaving / divisor, q = search->inside / divisor;
    for (int i = 0; i < network->num_arcs; i++) {
        int64_t units = network->arcs[i].capacity / search->unit;
        if (units > capacity_limit / q / (network->num_arcs + 1))
            return weft_fail(error, WEFT_UNSUPPORTED,
                             "capacities that have too little in common for an exact optimum");
        weft_maxflow_set(search->flow, i, units * q, 0);
    }
    if (p > capacity_limit / (network->num_terminals + 1))
        return weft_fail(error, WEFT_UNSUPPORTED,
                         "capacities that have too little in common for an exact optimum");
    for (int t = 0; t < network->num_terminals; t++)
        weft_maxflow_set(search->flow, network->num_arcs + t, p, 0);
    return WEFT_OK;
}

// One round: whether a terminal is not reached; the narrowest of the cuts found is taken.
static bool improve(struct search *search)
{
    const struct weft_network *network = search->network;
    int64_t divisor = weft_greatest_divisor(search->leaving, search->inside);
    int64_t all = search->leaving / divisor * network->num_terminals;
    bool is_better = false;
    for (int t = 0; t < network->num_terminals; t++) {
        if (weft_maxflow_run(search->flow, t, network->num_vertices, all) >= all)
            continue;
        for (int v = 0; v < network->num_vertices; v++)
            search->is_in[v] = !weft_maxflow_is_on_source_side(search->flow, v);
        is_better |= take(search);
    }
    return is_better;
}

static struct weft_fraction fraction(int64_t numerator, __int128 denominator)
{
    int64_t divisor = weft_greatest_divisor((int64_t)(denominator % numerator), numerator);
    return (struct weft_fraction){numerator / divisor, (int64_t)(denominator / divisor)};
}

static void finish(struct search *search, struct weft_optimum *optimum)
{
    const struct weft_network *network = search->network;
    optimum->inverse_x = fraction(search->inside, (__int128)search->leaving * search->unit);
    int64_t divisor = weft_greatest_divisor(optimum->inverse_x.denominator, network->lane);
    for (int i = 0; i < network->num_arcs; i++)
        divisor = weft_greatest_divisor(network->arcs[i].capacity, divisor);
    optimum->u = fraction(optimum->inverse_x.numerator, divisor);
    optimum->k = optimum->inverse_x.denominator / divisor;
    optimum->is_in_cut = search->is_in_cut;
    search->is_in_cut = NULL;
    optimum->cut_capacity = search->leaving * search->unit;
    optimum->num_cut_terminals = (int)search->inside;
}

static weft_status check(const struct weft_network *network, struct weft_error *error)
{
    if (network->num_terminals < 2)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "an optimum of %d terminals",
                         network->num_terminals);
    return weft_network_check(NULL, network, error);
}

weft_status weft_optimum_all_gather(const struct weft_network *network, bool reversed,
                                    struct weft_optimum *optimum, struct weft_error *error)
{
    struct search search;
    WEFT_TRY(check(network, error));
    WEFT_TRY(weft_network_check_ways(NULL, network, error));
    WEFT_TRY(start(&search, network, reversed, error));
    take_single_cuts(&search);
    weft_status status;
    do
        status = set_capacities(&search, error);
    while (status == WEFT_OK && improve(&search));
    if (status == WEFT_OK)
        finish(&search, optimum);
    release(&search);
    return status;
}

void weft_optimum_free(struct weft_optimum *optimum)
{
    free(optimum->is_in_cut);
    optimum->is_in_cut = NULL;
}

weft_status weft_optimum_broadcast(const struct weft_network *network, bool reversed, int root,
                                   int64_t *rate, bool *is_in_cut, struct weft_error *error)
{
    struct search search;
    int64_t least = INT64_MAX;
    WEFT_TRY(check(network, error));
    WEFT_TRY(start(&search, network, reversed, error));
    for (int i = 0; i < network->num_arcs; i++)
        weft_maxflow_set(search.flow, i, network->arcs[i].capacity / search.unit, 0);
    for (int t = 0; t < network->num_terminals; t++) {
        int64_t flow =
            t == root ? INT64_MAX : weft_maxflow_run(search.flow, t, root, WEFT_MAXFLOW_UNLIMITED);
        if (flow >= least)
            continue;
        least = flow;
        for (int v = 0; v < network->num_vertices; v++)
            is_in_cut[v] = !weft_maxflow_is_on_source_side(search.flow, v);
    }
    *rate = least * search.unit;
    release(&search);
    return WEFT_OK;
}

void weft_all_reduce_optimum_free(struct weft_all_reduce_optimum *optimum)
{
    free(optimum->shares);
    free(optimum->up);
    free(optimum->down);
    *optimum = (struct weft_all_reduce_optimum){0};
}

// Takes the cut of search->is_in, which holds the root, if it leaves less for each terminal
// outside.
static bool take_outside(struct search *search)
{
    const struct weft_network *network = search->network;
    int64_t outside = 0, leaving = 0;
    for (int t = 0; t < network->num_terminals; t++)
        outside += !search->is_in[t];
    for (int i = 0; i < network->num_arcs; i++) {
        const struct weft_arc *arc = &network->arcs[i];
        if (search->is_in[from_of(search, arc)] && !search->is_in[to_of(search, arc)])
            leaving += arc->capacity / search->unit;
    }
    if (search->inside && (__int128)leaving * search->inside >= (__int128)search->leaving * outside)
        return false;
    search->inside = outside;
    search->leaving = leaving;
    memcpy(search->is_in_cut, search->is_in, (size_t)network->num_vertices * sizeof(bool));
    return true;
}

// One round: whether the root cannot serve all terminals as well as the best cut so far allows; the
// cut that shows it is taken.
static bool improve_outside(struct search *search, int root)
{
    const struct weft_network *network = search->network;
    int64_t share = search->leaving / weft_greatest_divisor(search->leaving, search->inside);
    int64_t all = share * (network->num_terminals - 1);
    for (int t = 0; t < network->num_terminals; t++)
        weft_maxflow_set(search->flow, network->num_arcs + t, 0, t == root ? 0 : share);
    if (weft_maxflow_run(search->flow, network->num_vertices, root, all) >= all)
        return false;
    for (int v = 0; v < network->num_vertices; v++)
        search->is_in[v] = !weft_maxflow_is_on_source_side(search->flow, v);
    return take_outside(search);
}

weft_status weft_optimum_scatter(const struct weft_network *network, bool reversed, int root,
                                 struct weft_fraction *inverse_x, bool *is_in_cut,
                                 struct weft_error *error)
{
    struct search search;
    WEFT_TRY(check(network, error));
    WEFT_TRY(start(&search, network, reversed, error));
    weft_status status = WEFT_OK;
    search.is_in[root] = true;
    take_outside(&search);
    do
        if (search.leaving > 0)
            status = set_capacities(&search, error);
    while (status == WEFT_OK && search.leaving > 0 && improve_outside(&search, root));
    if (status == WEFT_OK && search.leaving == 0)
        status = weft_fail(error, WEFT_UNSUPPORTED, "there is no way %s rank %d for all others",
                           reversed ? "to" : "from", root);
    if (status == WEFT_OK) {
        *inverse_x = fraction(search.inside, (__int128)search.leaving * search.unit);
        memcpy(is_in_cut, search.is_in_cut, (size_t)network->num_vertices * sizeof(bool));
    }
    release(&search);
    return status;
}
