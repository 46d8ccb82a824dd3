/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan --what-if` and `--upgrades`: what a change of the fabric would do to a collective, and
 * which change would do most.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/dtype.h"
#include "base/format.h"
#include "collectives/planner/choice.h"
#include "collectives/planner/costs.h"
#include "collectives/planner/layout_topology.h"
#include "collectives/planner/upgrade.h"
#include "collectives/program/shape.h"
#include "tools/plan.h"
#include "topology/what_if.h"

// What a collective does on one topology.
struct outcome {
    int num_ranks;
    const char *algorithm;
    int64_t time_ps;
    struct weft_bound bound;
};

static weft_status find_outcome(const struct weft_topology *topology, const int *nodes,
                                const struct weft_key *key, struct outcome *outcome,
                                struct weft_error *error)
{
    struct weft_layout *layout = NULL;
    struct weft_layout_origin origin;
    struct weft_choice choice;
    WEFT_TRY(weft_layout_from_nodes(topology, nodes, key->num_ranks, &layout, &origin, error));
    weft_status status = weft_choice_make(key, layout, &choice, error);
    if (status == WEFT_OK)
        status = weft_bound_find(layout, key, &outcome->bound, error);
    if (status == WEFT_OK) {
        outcome->num_ranks = key->num_ranks;
        outcome->algorithm = choice.candidates[0].algorithm->name;
        outcome->time_ps = choice.candidates[0].estimate_ps;
    }
    weft_layout_destroy(&layout);
    return status;
}

// The same ranks, in the same order, without those whose nodes are gone.
static weft_status keep_ranks(const struct weft_topology *topology,
                              const struct weft_topology *changed, const int *nodes, int *kept,
                              struct weft_key *key, struct weft_error *error)
{
    int num_kept = 0, root = -1;
    for (int r = 0; r < key->num_ranks; r++) {
        int node = weft_topology_find_node(changed, topology->nodes[nodes[r]].name);
        if (node < 0)
            continue;
        if (r == key->root)
            root = num_kept;
        kept[num_kept++] = node;
    }
    if (num_kept == 0)
        return weft_fail(error, WEFT_NOT_FOUND, "the changes leave no rank");
    if (root < 0 && weft_collective_is_rooted(key->collective))
        return weft_fail(error, WEFT_NOT_FOUND, "the changes remove rank %d, the %s", key->root,
                         weft_collective_is_pair(key->collective) ? "peer" : "root");
    if (key->num_leaves && num_kept < key->num_ranks)
        return weft_fail(error, WEFT_UNSUPPORTED, "the changes remove ranks that hold leaves");
    key->root = root < 0 ? 0 : root;
    key->num_ranks = num_kept;
    return WEFT_OK;
}

static weft_status find_changed(const struct weft_topology *topology, const int *nodes,
                                struct weft_key key, const char *changes, struct outcome *outcome,
                                struct weft_error *error)
{
    struct weft_topology *changed = NULL;
    WEFT_TRY(weft_topology_what_if(topology, changes, &changed, error));
    int *kept = malloc((size_t)key.num_ranks * sizeof *kept);
    weft_status status =
        kept ? keep_ranks(topology, changed, nodes, kept, &key, error)
             : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the ranks of a topology");
    if (status == WEFT_OK)
        status = find_outcome(changed, kept, &key, outcome, error);
    free(kept);
    weft_topology_destroy(&changed);
    return status;
}

// What comes first: the answer.
static void print_conclusion(const struct outcome *now, const struct outcome *then,
                             const char *what, const char *changes)
{
    double factor = (double)then->time_ps / (double)now->time_ps;
    char left[64] = "";
    if (then->num_ranks < now->num_ranks)
        snprintf(left, sizeof left, ", of the %d ranks that are left", then->num_ranks);
    printf("%s would take ", what);
    if (factor > 1.0005)
        printf("%.1f%% longer", 100 * (factor - 1));
    else if (factor < 0.9995)
        printf("%.1f%% less time", 100 * (1 - factor));
    else
        fputs("as long", stdout);
    printf(" after \"%s\"%s.\n", changes, left);
}

static void print_outcome(const char *when, const struct outcome *outcome, int64_t bytes)
{
    char time[32], bound[32], rate[32];
    weft_format_latency(outcome->time_ps, time, sizeof time);
    printf("  %-5s %6d ranks  %-13s %11s", when, outcome->num_ranks, outcome->algorithm, time);
    if (outcome->bound.reason) {
        printf("   no bound: %s\n", outcome->bound.reason);
        return;
    }
    int64_t least = weft_bound_time(&outcome->bound, bytes);
    weft_format_latency(least, bound, sizeof bound);
    weft_format_bandwidth(weft_curve_bandwidth(outcome->bound.ps_per_mib), rate, sizeof rate);
    printf("  %5.1f%% of the bound: %s (%s)", 100 * (double)least / (double)outcome->time_ps, bound,
           rate);
    if (outcome->bound.num_cut)
        printf(", in the way: %s", outcome->bound.cut);
    putchar('\n');
}

static json_t *outcome_json(const struct outcome *outcome, int64_t bytes)
{
    json_t *json = json_pack("{s:i, s:s, s:I}", "ranks", outcome->num_ranks, "algorithm",
                             outcome->algorithm, "predicted_ps", (json_int_t)outcome->time_ps);
    if (outcome->bound.reason) {
        json_object_set_new(json, "bound_ps", json_null());
        json_object_set_new(json, "reason", json_string(outcome->bound.reason));
        return json;
    }
    int64_t least = weft_bound_time(&outcome->bound, bytes);
    json_object_set_new(json, "bound_ps", json_integer(least));
    json_object_set_new(json, "bytes_per_second",
                        json_integer(weft_curve_bandwidth(outcome->bound.ps_per_mib)));
    json_object_set_new(json, "share_of_bound",
                        json_real((double)least / (double)outcome->time_ps));
    json_object_set_new(json, "cut", json_string(outcome->bound.cut));
    return json;
}

weft_status weft_plan_what_if(const struct weft_topology *topology, const int *nodes,
                              const struct weft_key *key, const char *changes, json_t **json,
                              struct weft_error *error)
{
    struct outcome now = {0}, then = {0};
    int64_t bytes = weft_key_bytes(key);
    WEFT_TRY(find_outcome(topology, nodes, key, &now, error));
    WEFT_TRY(find_changed(topology, nodes, *key, changes, &then, error));
    if (json) {
        *json = json_pack("{s:s, s:i, s:s, s:s, s:i, s:i, s:I, s:o, s:o, s:f}", "format",
                          "weft-plan-what-if", "version", 1, "changes", changes, "collective",
                          weft_collective_names[key->collective], "ranks", key->num_ranks,
                          "ranks_left", then.num_ranks, "bytes", (json_int_t)bytes, "now",
                          outcome_json(&now, bytes), "then", outcome_json(&then, bytes), "factor",
                          (double)then.time_ps / (double)now.time_ps);
        return *json ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for JSON");
    }
    char size[32], what[96];
    weft_format_bytes(bytes, size, sizeof size);
    snprintf(what, sizeof what, "%s of %s on %d ranks", weft_collective_names[key->collective],
             size, key->num_ranks);
    print_conclusion(&now, &then, what, changes);
    print_outcome("now", &now, bytes);
    print_outcome("then", &then, bytes);
    return WEFT_OK;
}

/* ---- upgrades ---- */

static json_t *upgrades_json(const struct weft_key *key, const struct weft_upgrade *upgrades,
                             int num)
{
    json_t *rows = json_array();
    for (int i = 0; i < num; i++)
        json_array_append_new(
            rows, json_pack("{s:s, s:i, s:f, s:I}", "links", upgrades[i].links, "num_links",
                            upgrades[i].num_links, "gain", upgrades[i].gain, "bytes_per_second",
                            (json_int_t)weft_curve_bandwidth(upgrades[i].ps_per_mib)));
    return json_pack("{s:s, s:i, s:s, s:i, s:o}", "format", "weft-plan-upgrades", "version", 1,
                     "collective", weft_collective_names[key->collective], "ranks", key->num_ranks,
                     "upgrades", rows);
}

weft_status weft_plan_upgrades(const struct weft_topology *topology,
                               const struct weft_layout *layout, const struct weft_key *key,
                               json_t **json, struct weft_error *error)
{
    struct weft_upgrade upgrades[WEFT_UPGRADES_LIMIT];
    const char *name = weft_collective_names[key->collective];
    int num;
    WEFT_TRY(weft_upgrades_find(topology, layout, key, upgrades, &num, error));
    if (json) {
        *json = upgrades_json(key, upgrades, num);
        return *json ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for JSON");
    }
    if (num == 0) {
        printf("No sort of links alone would raise the bound of %s on %d ranks: several are in the "
               "way at the same time.\n",
               name, key->num_ranks);
        return WEFT_OK;
    }
    printf("The bound of %s on %d ranks would rise most by twice the bandwidth of %s: %+.1f%%.\n",
           name, key->num_ranks, upgrades[0].links, 100 * upgrades[0].gain);
    for (int i = 0; i < num; i++) {
        char rate[32];
        weft_format_bandwidth(weft_curve_bandwidth(upgrades[i].ps_per_mib), rate, sizeof rate);
        printf("  %+6.1f%%  to %-12s %s\n", 100 * upgrades[i].gain, rate, upgrades[i].links);
    }
    return WEFT_OK;
}
