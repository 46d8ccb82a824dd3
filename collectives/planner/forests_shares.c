/*
 * SPDX-License-Identifier: Apache-2.0
 * All-reduce on an uneven fabric: the optimum over all shares (topology/optimum.h) gives each root
 * a share and each link a part for the way up and one for the way down, as real numbers. Here they
 * become whole trees. At a switch as many trees must enter as leave it, so parts are rounded
 * together, as a flow of ones between what is rounded down; where the rounded parts are too small
 * for all trees, everything is made a little larger and rounded again.
 */
#include <math.h>
#include <stdlib.h>

#include "collectives/planner/forests_private.h"
#include "topology/maxflow.h"
#include "topology/optimum.h"

enum { STEPS = 64 };

// Whole numbers that sum to `units`, by largest remainders.
static bool round_shares(const double *shares, int count, int64_t units, int64_t *weight)
{
    int64_t left = units;
    double *rest = malloc((size_t)count * sizeof *rest);
    for (int i = 0; rest && i < count; i++) {
        double exact = shares[i] * (double)units;
        weight[i] = (int64_t)floor(exact + 1e-6);
        rest[i] = exact - (double)weight[i];
        left -= weight[i];
    }
    for (; rest && left > 0; left--) {
        int largest = 0;
        for (int i = 1; i < count; i++)
            if (rest[i] > rest[largest] + 1e-9)
                largest = i;
        weight[largest]++;
        rest[largest] -= 1;
    }
    free(rest);
    return rest && left == 0;
}

static int64_t lower(double value)
{
    return (int64_t)floor(value + 1e-6);
}

// Parts `value` times `factor`, to whole ones with nothing lost at switches. Terminals are one
// vertex: what they take and give need not be equal.
static bool round_parts(const struct weft_network *n, const double *value, double factor,
                        int64_t *rounded)
{
    int hub = n->num_vertices, source = hub + 1, sink = hub + 2;
    struct weft_maxflow *flow = weft_maxflow_create(hub + 3);
    int64_t *excess = calloc((size_t)hub + 1, sizeof *excess), wanted = 0;
    bool is_made = flow && excess;
    for (int i = 0; is_made && i < n->num_arcs; i++) {
        int from = n->arcs[i].from < n->num_terminals ? hub : n->arcs[i].from;
        int to = n->arcs[i].to < n->num_terminals ? hub : n->arcs[i].to;
        double exact = value[i] * factor;
        int64_t up = (int64_t)ceil(exact - 1e-6);
        rounded[i] = lower(exact);
        excess[to] += rounded[i];
        excess[from] -= rounded[i];
        is_made = weft_maxflow_add(flow, from, to, from == to ? 0 : up - rounded[i], 0) >= 0;
    }
    for (int v = 0; is_made && v <= hub; v++) {
        if (excess[v] > 0)
            is_made = weft_maxflow_add(flow, source, v, excess[v], 0) >= 0;
        else if (excess[v] < 0)
            is_made = weft_maxflow_add(flow, v, sink, -excess[v], 0) >= 0;
        wanted += excess[v] > 0 ? excess[v] : 0;
    }
    if (is_made)
        is_made = weft_maxflow_run(flow, source, sink, WEFT_MAXFLOW_UNLIMITED) == wanted;
    for (int i = 0; is_made && i < n->num_arcs; i++) {
        bool is_between = n->arcs[i].from < n->num_terminals && n->arcs[i].to < n->num_terminals;
        rounded[i] = is_between ? (int64_t)ceil(value[i] * factor - 1e-6)
                                : rounded[i] + weft_maxflow_on(flow, i);
    }
    weft_maxflow_destroy(&flow);
    free(excess);
    return is_made;
}

// The smallest of a few sizes at which the rounded parts carry all trees.
static bool find_parts(const struct weft_network *n, const double *value, const int64_t *weight,
                       int64_t units, int64_t *rounded)
{
    for (int step = 0; step <= STEPS; step++)
        if (round_parts(n, value, (double)units * (1 + (double)step / STEPS), rounded) &&
            weft_optimum_is_feasible(n, weight, rounded))
            return true;
    return false;
}

static weft_status pack_both(const struct weft_network *network,
                             const struct weft_network *reversed,
                             const struct weft_all_reduce_optimum *optimum, int64_t units,
                             const int64_t *weight, struct weft_forest **up,
                             struct weft_forest **down, struct weft_error *error)
{
    size_t arcs = (size_t)network->num_arcs + 1;
    int64_t *capacity = calloc(arcs, sizeof *capacity);
    double *value = calloc(arcs, sizeof *value);
    weft_status status = WEFT_OK;
    if (!capacity || !value)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for trees");
    const struct weft_forest_request request = {capacity, weight};
    if (status == WEFT_OK && !find_parts(network, optimum->down, weight, units, capacity))
        status = weft_fail(error, WEFT_NOT_FOUND, "no whole number of trees fits");
    if (status == WEFT_OK)
        status = weft_forest_pack(network, &request, down, error);
    for (int i = 0; status == WEFT_OK && i < network->num_arcs; i++)
        value[i] =
            optimum->up[weft_forests_arc(network, reversed->arcs[i].to, reversed->arcs[i].from)];
    if (status == WEFT_OK && !find_parts(reversed, value, weight, units, capacity))
        status = weft_fail(error, WEFT_NOT_FOUND, "no whole number of trees fits");
    if (status == WEFT_OK)
        status = weft_forest_pack(reversed, &request, up, error);
    free(capacity);
    free(value);
    return status;
}

weft_status weft_forests_share(const struct weft_network *network,
                               const struct weft_network *reversed, int64_t units, int64_t *weight,
                               struct weft_forest **up, struct weft_forest **down,
                               struct weft_error *error)
{
    struct weft_all_reduce_optimum optimum;
    *up = *down = NULL;
    WEFT_TRY(weft_optimum_all_reduce(network, &optimum, error));
    weft_status status = WEFT_OK;
    if (optimum.is_equal)
        status = weft_fail(error, WEFT_NOT_FOUND, "equal shares are the best");
    else if (!round_shares(optimum.shares, network->num_terminals, units, weight))
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for trees");
    if (status == WEFT_OK)
        status = pack_both(network, reversed, &optimum, units, weight, up, down, error);
    weft_all_reduce_optimum_free(&optimum);
    if (status != WEFT_OK) {
        weft_forest_destroy(up);
        weft_forest_destroy(down);
    }
    return status;
}
