/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan --bound`: the exact optimum of a topology alone, without plans, prices or latency.
 * Figures are per GB/s, the unit of edge lists, so fractions are those of the literature.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/divisor.h"
#include "base/dtype.h"
#include "base/format.h"
#include "collectives/planner/bound.h"
#include "collectives/program/shape.h"
#include "tools/plan.h"
#include "tools/plan_ranks.h"
#include "topology/optimum.h"

struct found {
    struct weft_network *network;
    struct weft_optimum optimum; // gathers; of all-reduce, that of the gather
    struct weft_all_reduce_optimum all_reduce;
    bool has_all_reduce;
    int64_t rate; // rooted
    bool *is_in_cut;
    double algbw;   // bytes of the vector per second
    double ms;      // of processor time
    char note[200]; // why the best all-reduce is not known
};

static const double giga = 1e9;

static void release(struct found *found)
{
    if (found->is_in_cut != found->optimum.is_in_cut)
        free(found->is_in_cut);
    weft_optimum_free(&found->optimum);
    weft_all_reduce_optimum_free(&found->all_reduce);
    weft_network_destroy(&found->network);
}

static weft_status make_network(const struct weft_topology *topology,
                                const struct weft_bound_request *request,
                                struct weft_network **network, struct weft_error *error)
{
    struct weft_network_options options = {.link_kinds = request->link_kinds,
                                           .is_unit = request->is_unit};
    int *nodes = NULL;
    if (request->ranks) {
        WEFT_TRY(weft_plan_ranks_nodes(request->ranks, topology, &nodes, error));
        options.terminals = nodes;
        options.num_terminals = request->ranks->num_ranks;
    }
    weft_status status = weft_network_create(topology, &options, network, error);
    free(nodes);
    if (status == WEFT_OK)
        status = weft_network_check(topology, *network, error);
    if (status == WEFT_OK && !weft_collective_is_rooted(request->collective))
        status = weft_network_check_ways(topology, *network, error);
    return status;
}

static weft_status solve_gather(struct found *found, bool reversed, struct weft_error *error)
{
    WEFT_TRY(weft_optimum_all_gather(found->network, reversed, &found->optimum, error));
    found->is_in_cut = found->optimum.is_in_cut;
    found->algbw = found->network->num_terminals * (double)found->optimum.inverse_x.denominator /
                   (double)found->optimum.inverse_x.numerator;
    return WEFT_OK;
}

static weft_status start_rooted(struct found *found, int root, struct weft_error *error)
{
    if (root >= found->network->num_terminals)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "root %d of %d ranks", root,
                         found->network->num_terminals);
    found->is_in_cut = calloc((size_t)found->network->num_vertices + 1, sizeof(bool));
    if (!found->is_in_cut)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a bound");
    return WEFT_OK;
}

static weft_status solve_rooted(struct found *found, bool reversed, int root,
                                struct weft_error *error)
{
    WEFT_TRY(start_rooted(found, root, error));
    WEFT_TRY(weft_optimum_broadcast(found->network, reversed, root, &found->rate, found->is_in_cut,
                                    error));
    if (found->rate == 0)
        return weft_fail(error, WEFT_UNSUPPORTED, "there is no way %s rank %d for all others",
                         reversed ? "to" : "from", root);
    found->algbw = (double)found->rate;
    return WEFT_OK;
}

static weft_status solve_shares(struct found *found, bool reversed, int root,
                                struct weft_error *error)
{
    struct weft_fraction inverse_x;
    WEFT_TRY(start_rooted(found, root, error));
    WEFT_TRY(
        weft_optimum_scatter(found->network, reversed, root, &inverse_x, found->is_in_cut, error));
    found->algbw =
        found->network->num_terminals * (double)inverse_x.denominator / (double)inverse_x.numerator;
    return WEFT_OK;
}

static weft_status solve_all_reduce(struct found *found, struct weft_error *error)
{
    struct weft_error why;
    WEFT_TRY(solve_gather(found, false, error));
    found->algbw /= 2;
    if (found->network->num_terminals > WEFT_BOUND_RANKS)
        snprintf(found->note, sizeof found->note, "not sought above %d ranks", WEFT_BOUND_RANKS);
    else if (weft_optimum_all_reduce(found->network, &found->all_reduce, &why) == WEFT_OK)
        found->has_all_reduce = true;
    else
        snprintf(found->note, sizeof found->note, "%.190s", why.text);
    return WEFT_OK;
}

static weft_status solve(struct found *found, const struct weft_bound_request *request,
                         struct weft_error *error)
{
    switch (request->collective) {
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
        return solve_gather(found, false, error);
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
        return solve_gather(found, true, error);
    case WEFT_BROADCAST:
        return solve_rooted(found, false, request->root, error);
    case WEFT_REDUCE:
        return solve_rooted(found, true, request->root, error);
    case WEFT_SCATTER:
    case WEFT_SCATTER_V:
        return solve_shares(found, false, request->root, error);
    case WEFT_GATHER:
    case WEFT_GATHER_V:
        return solve_shares(found, true, request->root, error);
    case WEFT_ALL_REDUCE:
        return solve_all_reduce(found, error);
    default:
        return weft_fail(error, WEFT_UNSUPPORTED,
                         "--bound knows all_gather, reduce_scatter, broadcast, reduce, gather, "
                         "scatter, all_reduce");
    }
}

static double processor_ms(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

/* ---- words ---- */

// Of a fraction per byte per second, what it is per GB/s (or per lane, where capacities are lanes).
static void write_fraction(struct weft_fraction fraction, bool is_unit, char *text, size_t size)
{
    int64_t unit = is_unit ? 1 : 1000000000;
    int64_t divisor = weft_greatest_divisor(fraction.denominator, unit);
    int64_t denominator = fraction.denominator / divisor;
    __int128 numerator = (__int128)fraction.numerator * (unit / divisor);
    if (denominator == 1)
        snprintf(text, size, "%lld", (long long)numerator);
    else
        snprintf(text, size, "%lld/%lld", (long long)numerator, (long long)denominator);
}

static const char *name_of(const struct weft_topology *topology, const struct found *found,
                           int vertex)
{
    int node = found->network->node[vertex];
    return node < 0 ? "?" : topology->nodes[node].name;
}

// A rate for people, and its unit for scripts.
static const char *rate_text(double rate, bool is_unit, char *text, size_t size)
{
    if (is_unit)
        snprintf(text, size, rate == (int64_t)rate ? "%.0f lanes" : "%.4f lanes", rate);
    else
        weft_format_bandwidth((int64_t)rate, text, size);
    return text;
}

static double unit_of(const struct weft_bound_request *request)
{
    return request->is_unit ? 1 : giga;
}

static int count_in(const struct found *found, bool side, bool terminals_only)
{
    int count = 0,
        end = terminals_only ? found->network->num_terminals : found->network->num_vertices;
    for (int v = 0; v < end; v++)
        count += found->is_in_cut[v] == side;
    return count;
}

static json_t *cut_json(const struct weft_topology *topology, const struct found *found,
                        double unit)
{
    const struct weft_network *network = found->network;
    json_t *nodes = json_array(), *links = json_array();
    int64_t capacity = 0;
    for (int v = 0; v < network->num_vertices; v++)
        if (found->is_in_cut[v])
            json_array_append_new(nodes, json_string(name_of(topology, found, v)));
    for (int i = 0; i < network->num_arcs; i++) {
        const struct weft_arc *arc = &network->arcs[i];
        if (found->is_in_cut[arc->from] == found->is_in_cut[arc->to])
            continue;
        if (found->is_in_cut[arc->from])
            capacity += arc->capacity;
        json_array_append_new(links, json_pack("{s:s, s:s, s:f}", "from",
                                               name_of(topology, found, arc->from), "to",
                                               name_of(topology, found, arc->to), "capacity",
                                               (double)arc->capacity / unit));
    }
    return json_pack("{s:o, s:i, s:o, s:f}", "nodes", nodes, "ranks", count_in(found, true, true),
                     "links", links, "capacity", (double)capacity / unit);
}

static json_t *shares_json(const struct weft_topology *topology, const struct found *found)
{
    json_t *shares = json_object();
    for (int t = 0; t < found->network->num_terminals; t++)
        json_object_set_new(shares, name_of(topology, found, t),
                            json_real(found->all_reduce.shares[t]));
    return shares;
}

static weft_status print_json(const struct weft_topology *topology, const struct found *found,
                              const struct weft_bound_request *request, struct weft_error *error)
{
    double unit = unit_of(request);
    json_t *json = json_pack("{s:s, s:i, s:s, s:i, s:f}", "format", "weft-plan-bound", "version", 1,
                             "collective", weft_collective_names[request->collective], "ranks",
                             found->network->num_terminals, "algbw", found->algbw / unit);
    json_object_set_new(json, "unit", json_string(request->is_unit ? "lanes" : "GB/s"));
    if (found->optimum.k) {
        char inverse[64], u[64];
        write_fraction(found->optimum.inverse_x, request->is_unit, inverse, sizeof inverse);
        write_fraction(found->optimum.u, request->is_unit, u, sizeof u);
        json_object_set_new(json, "inv_x", json_string(inverse));
        json_object_set_new(json, "U", json_string(u));
        json_object_set_new(json, "k", json_integer(found->optimum.k));
    }
    json_object_set_new(json, "label",
                        json_string(request->collective == WEFT_ALL_REDUCE
                                        ? "optimum of equal shards"
                                        : "cut optimum"));
    if (found->has_all_reduce) {
        json_object_set_new(json, "best_algbw", json_real(found->all_reduce.rate / unit));
        json_object_set_new(json, "best_shares", shares_json(topology, found));
    } else if (found->note[0]) {
        json_object_set_new(json, "best_algbw", json_null());
        json_object_set_new(json, "note", json_string(found->note));
    }
    json_object_set_new(json, "cut", cut_json(topology, found, unit));
    json_object_set_new(json, "processor_ms", json_real(found->ms));
    char *text = json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    if (!text)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for JSON");
    puts(text);
    free(text);
    return WEFT_OK;
}

// The side of the cut with fewer vertices, and the links through it.
static void print_cut(const struct weft_topology *topology, const struct found *found, bool is_unit)
{
    enum { NAMES_SHOWN = 12 };
    const struct weft_network *network = found->network;
    bool side = 2 * count_in(found, true, false) <= network->num_vertices;
    int shown = 0, crossing = 0;
    int64_t capacity = 0;
    fputs("In the way:", stdout);
    for (int v = 0; v < network->num_vertices; v++)
        if (found->is_in_cut[v] == side && ++shown <= NAMES_SHOWN)
            printf(" %s", name_of(topology, found, v));
    if (shown > NAMES_SHOWN)
        printf(" and %d more", shown - NAMES_SHOWN);
    for (int i = 0; i < network->num_arcs; i++)
        if (found->is_in_cut[network->arcs[i].from] && !found->is_in_cut[network->arcs[i].to]) {
            capacity += network->arcs[i].capacity;
            crossing++;
        }
    char text[32];
    printf(" against the rest: %d %s, together %s\n", crossing, crossing == 1 ? "link" : "links",
           rate_text((double)capacity, is_unit, text, sizeof text));
}

static void print_text(const struct weft_topology *topology, const struct found *found,
                       const struct weft_bound_request *request)
{
    char rate[32], best[32];
    int n = found->network->num_terminals;
    rate_text(found->algbw, request->is_unit, rate, sizeof rate);
    printf("%s of %d ranks: at most %s of vector%s\n", weft_collective_names[request->collective],
           n, rate, request->collective == WEFT_ALL_REDUCE ? " in equal shards" : "");
    if (found->has_all_reduce)
        printf("in the best shares: at most %s\n",
               rate_text(found->all_reduce.rate, request->is_unit, best, sizeof best));
    else if (found->note[0])
        printf("in the best shares: %s\n", found->note);
    if (found->optimum.k) {
        char inverse[64], u[64];
        write_fraction(found->optimum.inverse_x, request->is_unit, inverse, sizeof inverse);
        write_fraction(found->optimum.u, request->is_unit, u, sizeof u);
        printf("1/x* = %s, U = %s, k = %lld trees per rank\n", inverse, u,
               (long long)found->optimum.k);
    }
    print_cut(topology, found, request->is_unit);
    printf("%.1f ms of processor time on %d vertices and %d arcs\n", found->ms,
           found->network->num_vertices, found->network->num_arcs);
}

weft_status weft_plan_bound(const struct weft_topology *topology,
                            const struct weft_bound_request *request, bool wants_json,
                            struct weft_error *error)
{
    struct found found = {0};
    weft_status status = make_network(topology, request, &found.network, error);
    double start = processor_ms();
    if (status == WEFT_OK)
        status = solve(&found, request, error);
    found.ms = processor_ms() - start;
    if (status == WEFT_OK && wants_json)
        status = print_json(topology, &found, request, error);
    else if (status == WEFT_OK)
        print_text(topology, &found, request);
    release(&found);
    return status;
}
