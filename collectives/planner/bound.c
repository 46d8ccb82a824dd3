/*
 * SPDX-License-Identifier: Apache-2.0
 * See bound.h.
 */
#include "collectives/planner/bound.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collectives/planner/costs.h"
#include "topology/maxflow.h"
#include "topology/optimum.h"

static const double ps_per_mib_second = 1e12 * (1 << 20);

int64_t weft_bound_time(const struct weft_bound *bound, int64_t bytes)
{
    return weft_price_clamp(weft_curve_slope(bytes, bound->ps_per_mib));
}

// "ranks 0-7 against all others", from the side of the cut that has fewer ranks.
static void describe(const bool *is_in, int num_ranks, struct weft_bound *bound)
{
    int count = 0, first = -1, last = -1;
    for (int r = 0; r < num_ranks; r++)
        count += is_in[r];
    bool side = 2 * count <= num_ranks;
    for (int r = 0; r < num_ranks; r++)
        if (is_in[r] == side) {
            first = first < 0 ? r : first;
            last = r;
        }
    bound->num_cut = side ? count : num_ranks - count;
    if (bound->num_cut < 1)
        return;
    if (bound->num_cut == 1)
        snprintf(bound->cut, sizeof bound->cut, "rank %d against all others", first);
    else if (last - first + 1 == bound->num_cut)
        snprintf(bound->cut, sizeof bound->cut, "ranks %d-%d against all others", first, last);
    else
        snprintf(bound->cut, sizeof bound->cut, "%d ranks between %d and %d against all others",
                 bound->num_cut, first, last);
}

static int64_t from_rate(double bytes_per_s)
{
    double ps = ps_per_mib_second / bytes_per_s;
    return ps < 1 ? 1 : ps > 1e18 ? (int64_t)1e18 : (int64_t)ps;
}

// The vector is N shares, and 1 / x is the time of one.
static int64_t from_inverse(struct weft_fraction inverse_x, int num_ranks)
{
    __int128 ps =
        ((__int128)1000000000000 << 20) / num_ranks * inverse_x.numerator / inverse_x.denominator;
    return weft_price_clamp(ps);
}

static weft_status find_gather(const struct weft_layout *layout, bool is_reversed,
                               struct weft_bound *bound, struct weft_error *error)
{
    struct weft_optimum optimum = {0};
    WEFT_TRY(weft_optimum_all_gather(layout->network, is_reversed, &optimum, error));
    bound->label = "cut optimum";
    bound->ps_per_mib = from_inverse(optimum.inverse_x, layout->num_ranks);
    describe(optimum.is_in_cut, layout->num_ranks, bound);
    weft_optimum_free(&optimum);
    return WEFT_OK;
}

static weft_status find_rooted(const struct weft_layout *layout, bool is_reversed, int root,
                               struct weft_bound *bound, struct weft_error *error)
{
    int64_t rate = 0;
    bool *is_in = calloc((size_t)layout->network->num_vertices + 1, sizeof *is_in);
    if (!is_in)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a bound");
    weft_status status =
        weft_optimum_broadcast(layout->network, is_reversed, root, &rate, is_in, error);
    if (status == WEFT_OK) {
        bound->label = "cut optimum";
        bound->ps_per_mib = weft_curve_slope_of(rate);
        describe(is_in, layout->num_ranks, bound);
    }
    free(is_in);
    return status;
}

// Every other rank's share over the links around the root and farther out.
static weft_status find_shares(const struct weft_layout *layout, bool is_reversed, int root,
                               struct weft_bound *bound, struct weft_error *error)
{
    struct weft_fraction inverse_x;
    bool *is_in = calloc((size_t)layout->network->num_vertices + 1, sizeof *is_in);
    if (!is_in)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a bound");
    weft_status status =
        weft_optimum_scatter(layout->network, is_reversed, root, &inverse_x, is_in, error);
    if (status == WEFT_OK) {
        bound->label = "cut optimum";
        bound->ps_per_mib = from_inverse(inverse_x, layout->num_ranks);
        describe(is_in, layout->num_ranks, bound);
    }
    free(is_in);
    return status;
}

static weft_status find_all_reduce(const struct weft_layout *layout, struct weft_bound *bound,
                                   struct weft_error *error)
{
    struct weft_all_reduce_optimum optimum = {0};
    WEFT_TRY(find_gather(layout, false, bound, error));
    bound->equal_ps_per_mib = 2 * bound->ps_per_mib;
    bound->ps_per_mib = bound->equal_ps_per_mib;
    bound->label = "optimum of equal shards";
    if (layout->num_ranks > WEFT_BOUND_RANKS)
        return WEFT_OK;
    weft_status status = weft_optimum_all_reduce(layout->network, &optimum, error);
    if (status == WEFT_UNSUPPORTED) // built without a solver
        return WEFT_OK;
    if (status == WEFT_OK) {
        bound->label = "optimum over all shares";
        bound->ps_per_mib = from_rate(optimum.rate);
    }
    weft_all_reduce_optimum_free(&optimum);
    return status;
}

// What `inside` ranks send to the others, over what can leave them.
static bool try_cut(const struct weft_layout *layout, struct weft_maxflow *flow, const bool *inside,
                    struct weft_bound *bound)
{
    const struct weft_network *network = layout->network;
    int source = network->num_vertices, sink = source + 1, arcs = network->num_arcs, count = 0;
    for (int r = 0; r < layout->num_ranks; r++) {
        count += inside[r];
        weft_maxflow_set(flow, arcs + 2 * r, inside[r] ? WEFT_MAXFLOW_UNLIMITED : 0, 0);
        weft_maxflow_set(flow, arcs + 2 * r + 1, inside[r] ? 0 : WEFT_MAXFLOW_UNLIMITED, 0);
    }
    int64_t rate = weft_maxflow_run(flow, source, sink, WEFT_MAXFLOW_UNLIMITED);
    double share =
        (double)count * (layout->num_ranks - count) / layout->num_ranks / layout->num_ranks;
    int64_t price = rate > 0 ? from_rate((double)rate / share / layout->num_ranks) : 0;
    if (price <= bound->ps_per_mib)
        return rate > 0;
    bound->ps_per_mib = price;
    describe(inside, layout->num_ranks, bound);
    return true;
}

// Cuts around neighbours in the order of the layout, where links join ranks: no group tells where
// those are few.
static void try_stretches(const struct weft_layout *layout, struct weft_maxflow *flow, bool *inside,
                          struct weft_bound *bound)
{
    enum { RANKS_LIMIT = 64 };
    int n = layout->num_ranks;
    bool is_linked = layout->linked_levels > 0 || layout->network->num_vertices == n;
    for (int first = 0; first < n && is_linked && n <= RANKS_LIMIT; first++)
        for (int size = 2; size <= n / 2; size++) {
            for (int i = 0; i < n; i++)
                inside[weft_layout_at(layout, (first + i) % n)] = i < size;
            try_cut(layout, flow, inside, bound);
        }
}

// Cuts around each rank and each group, up to a number of them; of alike ones the first counts.
static weft_status find_exchange(const struct weft_layout *layout, struct weft_bound *bound,
                                 struct weft_error *error)
{
    enum { CUTS_LIMIT = 64 };
    const struct weft_network *network = layout->network;
    struct weft_maxflow *flow = weft_maxflow_create(network->num_vertices + 2);
    bool *inside = calloc((size_t)layout->num_ranks, sizeof *inside);
    bool is_made = flow && inside;
    for (int i = 0; is_made && i < network->num_arcs; i++)
        is_made = weft_maxflow_add(flow, network->arcs[i].from, network->arcs[i].to,
                                   network->arcs[i].capacity, 0) >= 0;
    for (int r = 0; is_made && r < layout->num_ranks; r++)
        is_made = weft_maxflow_add(flow, network->num_vertices, r, 0, 0) >= 0 &&
                  weft_maxflow_add(flow, r, network->num_vertices + 1, 0, 0) >= 0;
    bound->label = "worst cut around a rank or group";
    for (int l = -1; is_made && l < weft_layout_top(layout); l++) {
        int count = l < 0 ? layout->num_ranks : layout->levels[l].num_groups;
        for (int g = 0; g < count && g < CUTS_LIMIT; g++) {
            for (int r = 0; r < layout->num_ranks; r++)
                inside[r] = l < 0 ? r == g : layout->levels[l].of_rank[r] == g;
            try_cut(layout, flow, inside, bound);
        }
    }
    if (is_made)
        try_stretches(layout, flow, inside, bound);
    weft_maxflow_destroy(&flow);
    free(inside);
    return is_made ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a bound");
}

static weft_status find(const struct weft_layout *layout, const struct weft_key *key,
                        struct weft_bound *bound, struct weft_error *error)
{
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
        return find_all_reduce(layout, bound, error);
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
        return find_gather(layout, false, bound, error);
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
        return find_gather(layout, true, bound, error);
    case WEFT_BROADCAST:
        return find_rooted(layout, false, key->root, bound, error);
    case WEFT_REDUCE:
        return find_rooted(layout, true, key->root, bound, error);
    case WEFT_SCATTER:
    case WEFT_SCATTER_V:
        return find_shares(layout, false, key->root, bound, error);
    case WEFT_GATHER:
    case WEFT_GATHER_V:
        return find_shares(layout, true, key->root, bound, error);
    case WEFT_ALL_TO_ALL:
    case WEFT_ALL_TO_ALL_V:
        return find_exchange(layout, bound, error);
    default:
        bound->reason = "there is no bound for this collective";
        return WEFT_OK;
    }
}

weft_status weft_bound_find(const struct weft_layout *layout, const struct weft_key *key,
                            struct weft_bound *bound, struct weft_error *error)
{
    *bound = (struct weft_bound){0};
    if (!layout->network)
        bound->reason = "the links between the ranks are not known";
    else if (layout->num_ranks < 2)
        bound->reason = "one rank moves nothing";
    else if (weft_network_check(NULL, layout->network, NULL) != WEFT_OK ||
             weft_network_check_ways(NULL, layout->network, NULL) != WEFT_OK)
        bound->reason = "a switch carries more in than out, or a rank cannot be reached";
    return bound->reason ? WEFT_OK : find(layout, key, bound, error);
}
