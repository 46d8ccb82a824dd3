/*
 * SPDX-License-Identifier: Apache-2.0
 * The best that a given number of trees can do: the smallest U for which floor(U * capacity) trees
 * on every arc are enough. See optimum.h.
 */
#include "topology/optimum.h"

#include <stdlib.h>

#include "base/divisor.h"
#include "topology/maxflow.h"

struct search {
    const struct weft_network *network;
    const int64_t *weight; // (terminals)
    int64_t total;
    struct weft_maxflow *flow; // the arcs of the network, then one from the source to each root
    int64_t *capacity;         // (arcs)
    int last_short;            // terminal that was not reached last time
};

static void release(struct search *search)
{
    weft_maxflow_destroy(&search->flow);
    free(search->capacity);
}

static bool start(struct search *search, const struct weft_network *network, const int64_t *weight)
{
    *search = (struct search){.network = network, .weight = weight};
    search->flow = weft_maxflow_create(network->num_vertices + 1);
    search->capacity = calloc((size_t)network->num_arcs + 1, sizeof *search->capacity);
    bool is_made = search->flow && search->capacity;
    for (int i = 0; is_made && i < network->num_arcs; i++)
        is_made =
            weft_maxflow_add(search->flow, network->arcs[i].to, network->arcs[i].from, 0, 0) >= 0;
    for (int t = 0; is_made && t < network->num_terminals; t++) {
        search->total += weight[t];
        is_made = weft_maxflow_add(search->flow, t, network->num_vertices, weight[t], 0) >= 0;
    }
    if (!is_made)
        release(search);
    return is_made;
}

// Whether every terminal is reached by all trees within search->capacity. The one that failed last
// is asked first.
static bool is_feasible(struct search *search)
{
    int n = search->network->num_terminals;
    for (int i = 0; i < search->network->num_arcs; i++)
        weft_maxflow_set(search->flow, i, search->capacity[i], 0);
    for (int i = 0; i < n; i++) {
        int terminal = (search->last_short + i) % n;
        if (weft_maxflow_run(search->flow, terminal, search->network->num_vertices, search->total) <
            search->total) {
            search->last_short = terminal;
            return false;
        }
    }
    return true;
}

static int64_t times(struct weft_fraction u, int64_t capacity)
{
    return (int64_t)((__int128)u.numerator * capacity / u.denominator);
}

static bool is_enough(struct search *search, struct weft_fraction u)
{
    for (int i = 0; i < search->network->num_arcs; i++)
        search->capacity[i] = times(u, search->network->arcs[i].capacity);
    return is_feasible(search);
}

static int by_size(const void *a, const void *b)
{
    const int64_t *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

// For each capacity b, the smallest j for which j / b is enough, if that is better than `u`.
static void try_size(struct search *search, int64_t size, struct weft_fraction *u)
{
    int64_t low = 0, high = times(*u, size); // low is too small; is high better than U?
    if ((__int128)high * u->denominator == (__int128)u->numerator * size)
        high--;
    if (high < 1 || !is_enough(search, (struct weft_fraction){high, size}))
        return;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (is_enough(search, (struct weft_fraction){middle, size}))
            high = middle;
        else
            low = middle;
    }
    *u = (struct weft_fraction){high, size};
}

// Floors change where U is a whole multiple of 1 / b, so the smallest U is j / b for some capacity.
static weft_status smallest_u(struct search *search, struct weft_fraction *u,
                              struct weft_error *error)
{
    const struct weft_network *network = search->network;
    int64_t *sizes = malloc(((size_t)network->num_arcs + 1) * sizeof *sizes);
    if (!sizes)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an optimum");
    for (int i = 0; i < network->num_arcs; i++)
        sizes[i] = network->arcs[i].capacity;
    qsort(sizes, (size_t)network->num_arcs, sizeof *sizes, by_size);
    *u = (struct weft_fraction){search->total, sizes[0]}; // every arc may carry all trees
    for (int i = 0; i < network->num_arcs; i++)
        if (i == 0 || sizes[i] != sizes[i - 1])
            try_size(search, sizes[i], u);
    free(sizes);
    return WEFT_OK;
}

weft_status weft_optimum_units(const struct weft_network *network, const int64_t *weight,
                               struct weft_fraction *u, int64_t *capacity, struct weft_error *error)
{
    struct search search;
    WEFT_TRY(weft_network_check(NULL, network, error));
    if (network->num_arcs == 0 || !start(&search, network, weight))
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an optimum");
    weft_status status = smallest_u(&search, u, error);
    for (int i = 0; i < network->num_arcs && capacity; i++)
        capacity[i] = times(*u, network->arcs[i].capacity);
    release(&search);
    if (status != WEFT_OK)
        return status;
    int64_t divisor = weft_greatest_divisor(u->denominator, u->numerator);
    *u = (struct weft_fraction){u->numerator / divisor, u->denominator / divisor};
    return WEFT_OK;
}

bool weft_optimum_is_feasible(const struct weft_network *network, const int64_t *weight,
                              const int64_t *capacity)
{
    struct search search;
    if (!start(&search, network, weight))
        return false;
    for (int i = 0; i < network->num_arcs; i++)
        search.capacity[i] = capacity[i];
    bool is_one = is_feasible(&search);
    release(&search);
    return is_one;
}
