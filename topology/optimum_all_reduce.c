/*
 * SPDX-License-Identifier: Apache-2.0
 * The best all-reduce over all splits of the vector among roots, as a linear program:
 *
 *   maximise the sum of all shares w_r, where
 *   up_a + down_a <= capacity of arc a      reductions and broadcasts share it,
 *   as much down (and up) enters a switch as leaves it      a switch neither copies nor adds up,
 *   for every set S of vertices that lacks a terminal
 *     down over the arcs leaving S  >= shares of the roots in S   (Edmonds: the broadcasts fit)
 *     up over the arcs entering S   >= shares of the roots in S   (the same, backwards).
 *
 * Of shares that are equally good, those of terminals with wide links, as evenly as can be, and of
 * ways the shortest: all of that counts so little that nothing of the sum is given up for it. A
 * root that had everything would be fed by everybody at once.
 *
 * There are too many sets to write down. The program starts with single terminals and all but one;
 * maximum flows under its solution find sets that are violated, which are added, until there are
 * none.
 *
 * Where the sets that hold up the all-gather cut all terminals into p parts, equal shares are the
 * best and no program is needed: every vector enters p - 1 parts on the way down and p - 1 on the
 * way up, so 2 (p - 1) rate <= what enters all parts, which is x N (p - 1), each part being tight.
 */
#include "topology/optimum.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clp.h"
#include "topology/maxflow.h"

enum { ROUNDS_LIMIT = 400 };
static const double scale = 1 << 30; // of the solution, for integer flows; capacities are <= 1
static const double slack = 1e-6;    // by which a set may be violated, relative to all shares
// Prices: of the largest share, of one where links are very narrow, of what arcs carry.
static const double uneven = 1e-4, narrow = 1e-4, used = 1e-6;

struct program {
    const struct weft_network *network;
    struct weft_clp clp;
    void *lp;
    struct weft_maxflow *flow;
    double largest;  // capacity: the unit
    double *leaving; // (terminals) capacity
    bool *is_in;     // (vertices)
    int *columns;    // a row under construction
    double *values;
};

// Columns: shares, then down, then up, then the largest share, then the most that one terminal's
// arc carries, down or up.
static int share_column(int terminal)
{
    return terminal;
}

static int arc_column(const struct program *p, int arc, bool is_up)
{
    return p->network->num_terminals + arc + (is_up ? p->network->num_arcs : 0);
}

static void release(struct program *p)
{
    if (p->lp)
        p->clp.delete_model(p->lp);
    weft_maxflow_destroy(&p->flow);
    free(p->is_in);
    free(p->columns);
    free(p->values);
    free(p->leaving);
}

static void add_row(struct program *p, int count, double low, double high)
{
    const int starts[] = {0, count};
    p->clp.add_rows(p->lp, 1, &low, &high, starts, p->columns, p->values);
}

// The set in p->is_in.
static void add_set(struct program *p, bool is_up)
{
    const struct weft_network *n = p->network;
    int count = 0;
    for (int i = 0; i < n->num_arcs; i++) {
        int from = is_up ? n->arcs[i].to : n->arcs[i].from;
        int to = is_up ? n->arcs[i].from : n->arcs[i].to;
        if (!p->is_in[from] || p->is_in[to])
            continue;
        p->columns[count] = arc_column(p, i, is_up);
        p->values[count++] = 1;
    }
    for (int t = 0; t < n->num_terminals; t++) {
        if (!p->is_in[t])
            continue;
        p->columns[count] = share_column(t);
        p->values[count++] = -1;
    }
    add_row(p, count, 0, DBL_MAX);
}

static void add_balance(struct program *p, int vertex, bool is_up)
{
    const struct weft_network *n = p->network;
    int count = 0;
    for (int i = 0; i < n->num_arcs; i++) {
        bool enters = n->arcs[i].to == vertex, leaves = n->arcs[i].from == vertex;
        if (enters == leaves)
            continue;
        p->columns[count] = arc_column(p, i, is_up);
        p->values[count++] = enters ? 1 : -1;
    }
    add_row(p, count, 0, 0);
}

static void add_at_most(struct program *p, int column, int most)
{
    p->columns[0] = column, p->values[0] = -1;
    p->columns[1] = most, p->values[1] = 1;
    add_row(p, 2, 0, DBL_MAX);
}

static void add_largest(struct program *p)
{
    const struct weft_network *n = p->network;
    int share = n->num_terminals + 2 * n->num_arcs, carried = share + 1;
    for (int t = 0; t < n->num_terminals; t++)
        add_at_most(p, share_column(t), share);
    for (int i = 0; i < n->num_arcs; i++)
        for (int is_up = 0; is_up < 2; is_up++)
            if (n->arcs[i].from < n->num_terminals || n->arcs[i].to < n->num_terminals)
                add_at_most(p, arc_column(p, i, is_up), carried);
}

static void add_first_sets(struct program *p)
{
    const struct weft_network *n = p->network;
    for (int t = 0; t < n->num_terminals; t++)
        for (int all_but = 0; all_but < 2; all_but++) {
            for (int v = 0; v < n->num_vertices; v++)
                p->is_in[v] = (v == t) != all_but;
            add_set(p, false);
            add_set(p, true);
        }
}

// Of a column in the sum that is maximised.
static double weight_of(const struct program *p, int column)
{
    const struct weft_network *n = p->network;
    double most = 0;
    if (column >= n->num_terminals)
        return column < n->num_terminals + 2 * n->num_arcs ? -used : -uneven;
    for (int t = 0; t < n->num_terminals; t++)
        most = p->leaving[t] > most ? p->leaving[t] : most;
    return 1 - narrow * (most > 0 ? 1 - p->leaving[column] / most : 0);
}

static weft_status start(struct program *p, const struct weft_network *n, struct weft_error *error)
{
    int num_columns = n->num_terminals + 2 * n->num_arcs + 2;
    *p = (struct program){.network = n};
    WEFT_TRY(weft_clp_open(&p->clp, error));
    p->is_in = calloc((size_t)n->num_vertices + 1, sizeof(bool));
    p->columns = calloc((size_t)num_columns + 1, sizeof(int));
    p->values = calloc((size_t)num_columns + 1, sizeof(double));
    p->leaving = calloc((size_t)n->num_terminals + 1, sizeof(double));
    p->flow = weft_maxflow_create(n->num_vertices + 1);
    bool is_made = p->is_in && p->columns && p->values && p->leaving && p->flow;
    for (int i = 0; is_made && i < n->num_arcs; i++) {
        is_made = weft_maxflow_add(p->flow, n->arcs[i].from, n->arcs[i].to, 0, 0) >= 0;
        if ((double)n->arcs[i].capacity > p->largest)
            p->largest = (double)n->arcs[i].capacity;
        if (n->arcs[i].from < n->num_terminals)
            p->leaving[n->arcs[i].from] += (double)n->arcs[i].capacity;
    }
    for (int t = 0; is_made && t < n->num_terminals; t++)
        is_made = weft_maxflow_add(p->flow, n->num_vertices, t, 0, 0) >= 0;
    if (!is_made) {
        release(p);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a linear program");
    }
    p->lp = p->clp.new_model();
    p->clp.set_log_level(p->lp, 0);
    p->clp.set_direction(p->lp, -1);
    const int no_entries[] = {0, 0};
    const double low = 0, high = DBL_MAX;
    for (int c = 0; c < num_columns; c++) {
        double weight = weight_of(p, c);
        p->clp.add_columns(p->lp, 1, &low, &high, &weight, no_entries, p->columns, p->values);
    }
    for (int i = 0; i < n->num_arcs; i++) {
        p->columns[0] = arc_column(p, i, false), p->values[0] = 1;
        p->columns[1] = arc_column(p, i, true), p->values[1] = 1;
        add_row(p, 2, -DBL_MAX, (double)n->arcs[i].capacity / p->largest);
    }
    for (int v = n->num_terminals; v < n->num_vertices; v++) {
        add_balance(p, v, false);
        add_balance(p, v, true);
    }
    add_largest(p);
    add_first_sets(p);
    return WEFT_OK;
}

// Adds the sets that the solution violates; returns how many, -1 without memory. `solution` is a
// copy: adding rows may move that of the solver.
static int separate_way(struct program *p, const double *solution, bool is_up)
{
    const struct weft_network *n = p->network;
    int64_t all = 0;
    int added = 0;
    for (int i = 0; i < n->num_arcs; i++) {
        int64_t value = llround(solution[arc_column(p, i, is_up)] * scale);
        value = value < 0 ? 0 : value;
        weft_maxflow_set(p->flow, i, is_up ? 0 : value, is_up ? value : 0);
    }
    for (int t = 0; t < n->num_terminals; t++) {
        int64_t share = llround(solution[share_column(t)] * scale);
        share = share < 0 ? 0 : share;
        weft_maxflow_set(p->flow, n->num_arcs + t, share, 0);
        all += share;
    }
    int64_t enough = all - (int64_t)((double)all * slack) - n->num_arcs;
    for (int t = 0; t < n->num_terminals; t++) {
        if (weft_maxflow_run(p->flow, n->num_vertices, t, all) >= enough)
            continue;
        for (int v = 0; v < n->num_vertices; v++)
            p->is_in[v] = weft_maxflow_is_on_source_side(p->flow, v);
        add_set(p, is_up);
        added++;
    }
    return added;
}

static int separate(struct program *p)
{
    int count = p->network->num_terminals + 2 * p->network->num_arcs, added = -1;
    double *solution = malloc((size_t)count * sizeof *solution);
    if (solution) {
        memcpy(solution, p->clp.solution(p->lp), (size_t)count * sizeof *solution);
        added = separate_way(p, solution, false) + separate_way(p, solution, true);
    }
    free(solution);
    return added;
}

static weft_status solve(struct program *p, struct weft_error *error)
{
    for (int round = 0; round < ROUNDS_LIMIT; round++) {
        // New rows leave the basis dual feasible.
        int result = round ? p->clp.dual(p->lp, 0) : p->clp.primal(p->lp, 0);
        if (result != 0 || p->clp.status(p->lp) != 0)
            return weft_fail(error, WEFT_INTERNAL, "the linear program was not solved");
        int added = separate(p);
        if (added < 0)
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a linear program");
        if (added == 0)
            return WEFT_OK;
    }
    return weft_fail(error, WEFT_INTERNAL, "the linear program did not end in %d rounds",
                     ROUNDS_LIMIT);
}

static weft_status take_solution(const struct program *p, struct weft_all_reduce_optimum *optimum,
                                 struct weft_error *error)
{
    const struct weft_network *n = p->network;
    const double *solution = p->clp.solution(p->lp);
    double all = 0;
    for (int t = 0; t < n->num_terminals; t++)
        all += solution[share_column(t)];
    optimum->shares = calloc((size_t)n->num_terminals + 1, sizeof(double));
    optimum->up = calloc((size_t)n->num_arcs + 1, sizeof(double));
    optimum->down = calloc((size_t)n->num_arcs + 1, sizeof(double));
    if (!optimum->shares || !optimum->up || !optimum->down) {
        weft_all_reduce_optimum_free(optimum);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an optimum");
    }
    optimum->rate = all * p->largest;
    for (int t = 0; t < n->num_terminals; t++)
        optimum->shares[t] = solution[share_column(t)] / all;
    for (int i = 0; i < n->num_arcs; i++) {
        optimum->up[i] = solution[arc_column(p, i, true)] / all;
        optimum->down[i] = solution[arc_column(p, i, false)] / all;
    }
    return WEFT_OK;
}

// For each terminal the smallest tight set around it: its side of a flow at x* (run backwards).
static bool are_parts(struct weft_maxflow *flow, const struct weft_network *n, int64_t all,
                      int *part, bool *is_in)
{
    for (int t = 0; t < n->num_terminals; t++)
        part[t] = -1;
    for (int t = 0; t < n->num_terminals; t++) {
        if (part[t] >= 0)
            continue;
        weft_maxflow_run(flow, t, n->num_vertices, all + 1); // what remains reachable from it
        for (int v = 0; v < n->num_vertices; v++)
            is_in[v] = weft_maxflow_is_on_source_side(flow, v);
        int size = 0;
        for (int other = 0; other < n->num_terminals; other++) {
            if (is_in[other] && part[other] >= 0)
                return false;
            if (is_in[other]) {
                part[other] = t;
                size++;
            }
        }
        if (size == n->num_terminals)
            return false; // nothing smaller is tight around this one
    }
    return true;
}

static weft_status find_parts(const struct weft_network *n, const struct weft_optimum *gather,
                              bool *found, struct weft_error *error)
{
    struct weft_maxflow *flow = weft_maxflow_create(n->num_vertices + 1);
    bool *is_in = calloc((size_t)n->num_vertices + 1, sizeof(bool));
    int *part = calloc((size_t)n->num_terminals, sizeof *part);
    bool is_made = flow && is_in && part;
    for (int i = 0; is_made && i < n->num_arcs; i++)
        is_made = weft_maxflow_add(flow, n->arcs[i].to, n->arcs[i].from,
                                   (int64_t)((__int128)n->arcs[i].capacity * gather->u.numerator /
                                             gather->u.denominator),
                                   0) >= 0;
    for (int t = 0; is_made && t < n->num_terminals; t++)
        is_made = weft_maxflow_add(flow, t, n->num_vertices, gather->k, 0) >= 0;
    if (is_made)
        *found = are_parts(flow, n, gather->k * n->num_terminals, part, is_in);
    weft_maxflow_destroy(&flow);
    free(is_in);
    free(part);
    return is_made ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an optimum");
}

static weft_status share_equally(const struct weft_network *n,
                                 struct weft_all_reduce_optimum *optimum, struct weft_error *error)
{
    optimum->shares = calloc((size_t)n->num_terminals, sizeof(double));
    if (!optimum->shares)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an optimum");
    for (int t = 0; t < n->num_terminals; t++)
        optimum->shares[t] = 1.0 / n->num_terminals;
    optimum->rate = optimum->equal_shard_rate;
    return WEFT_OK;
}

weft_status weft_optimum_all_reduce(const struct weft_network *network,
                                    struct weft_all_reduce_optimum *optimum,
                                    struct weft_error *error)
{
    struct weft_optimum gather = {0};
    struct program program;
    *optimum = (struct weft_all_reduce_optimum){0};
    WEFT_TRY(weft_optimum_all_gather(network, false, &gather, error));
    optimum->equal_shard_rate = network->num_terminals / 2.0 *
                                (double)gather.inverse_x.denominator /
                                (double)gather.inverse_x.numerator;
    weft_status looked = find_parts(network, &gather, &optimum->is_equal, error);
    weft_optimum_free(&gather);
    WEFT_TRY(looked);
    if (optimum->is_equal)
        return share_equally(network, optimum, error);
    WEFT_TRY(start(&program, network, error));
    weft_status status = solve(&program, error);
    if (status == WEFT_OK)
        status = take_solution(&program, optimum, error);
    release(&program);
    return status;
}
