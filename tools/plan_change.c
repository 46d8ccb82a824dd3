/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan --what-if` and `--upgrades`: what a change of the fabric would do to a collective, and
 * which change would do most.
 */
#include <jansson.h>
#include <stdio.h>

#include "base/format.h"
#include "collectives/planner/choice.h"
#include "collectives/planner/costs.h"
#include "collectives/planner/layout_topology.h"
#include "collectives/planner/upgrade.h"
#include "tools/plan.h"
#include "topology/what_if.h"

// What a collective does on one topology.
struct outcome {
    const char *algorithm;
    int64_t time_ps;
    struct weft_bound bound;
};

static weft_status find_outcome(const struct weft_topology *topology, const struct weft_key *key,
                                struct outcome *outcome, struct weft_error *error)
{
    struct weft_layout *layout = NULL;
    struct weft_layout_origin origin;
    struct weft_choice choice;
    WEFT_TRY(weft_layout_from_topology(topology, key->num_ranks, &layout, &origin, error));
    weft_status status = weft_choice_make(key, layout, &choice, error);
    if (status == WEFT_OK)
        status = weft_bound_find(layout, key, &outcome->bound, error);
    if (status == WEFT_OK) {
        outcome->algorithm = choice.candidates[0].algorithm->name;
        outcome->time_ps = choice.candidates[0].estimate_ps;
    }
    weft_layout_destroy(&layout);
    return status;
}

static void print_outcome(const char *when, const struct outcome *outcome, int64_t bytes)
{
    char time[32], bound[32], rate[32];
    weft_format_latency(outcome->time_ps, time, sizeof time);
    printf("%-8s %-13s %11s", when, outcome->algorithm, time);
    if (outcome->bound.reason) {
        printf("   no bound: %s\n", outcome->bound.reason);
        return;
    }
    weft_format_latency(weft_bound_time(&outcome->bound, bytes), bound, sizeof bound);
    weft_format_bandwidth(weft_curve_bandwidth(outcome->bound.ps_per_mib), rate, sizeof rate);
    printf("   bound %11s (%s)", bound, rate);
    if (outcome->bound.num_cut)
        printf(", in the way: %s", outcome->bound.cut);
    putchar('\n');
}

static json_t *outcome_json(const struct outcome *outcome, int64_t bytes)
{
    json_t *bound =
        outcome->bound.reason ? json_null() : json_integer(weft_bound_time(&outcome->bound, bytes));
    return json_pack("{s:s, s:I, s:o, s:s}", "algorithm", outcome->algorithm, "predicted_ps",
                     (json_int_t)outcome->time_ps, "bound_ps", bound, "cut", outcome->bound.cut);
}

weft_status weft_plan_what_if(const struct weft_topology *topology, const struct weft_key *key,
                              const char *changes, json_t **json, struct weft_error *error)
{
    struct weft_topology *changed = NULL;
    struct outcome now = {0}, then = {0};
    int64_t bytes = weft_key_bytes(key);
    WEFT_TRY(find_outcome(topology, key, &now, error));
    WEFT_TRY(weft_topology_what_if(topology, changes, &changed, error));
    weft_status status = find_outcome(changed, key, &then, error);
    weft_topology_destroy(&changed);
    WEFT_TRY(status);
    double factor = (double)then.time_ps / (double)now.time_ps;
    if (json) {
        *json = json_pack("{s:s, s:i, s:s, s:s, s:i, s:I, s:o, s:o, s:f}", "format",
                          "weft-plan-what-if", "version", 1, "changes", changes, "collective",
                          weft_collective_names[key->collective], "ranks", key->num_ranks, "bytes",
                          (json_int_t)bytes, "now", outcome_json(&now, bytes), "then",
                          outcome_json(&then, bytes), "factor", factor);
        return *json ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for JSON");
    }
    char size[32];
    weft_format_bytes(bytes, size, sizeof size);
    printf("%s of %s on %d ranks; what if: %s\n", weft_collective_names[key->collective], size,
           key->num_ranks, changes);
    print_outcome("now", &now, bytes);
    print_outcome("then", &then, bytes);
    if (factor > 1.0005)
        printf("It would take %.1f%% longer.\n", 100 * (factor - 1));
    else if (factor < 0.9995)
        printf("It would take %.1f%% less time.\n", 100 * (1 - factor));
    else
        puts("It would take as long.");
    return WEFT_OK;
}

weft_status weft_plan_upgrades(const struct weft_topology *topology,
                               const struct weft_layout *layout, const struct weft_key *key,
                               json_t **json, struct weft_error *error)
{
    struct weft_upgrade upgrades[WEFT_UPGRADES_LIMIT];
    int num;
    WEFT_TRY(weft_upgrades_find(topology, layout, key, upgrades, &num, error));
    if (json) {
        json_t *rows = json_array();
        for (int i = 0; i < num; i++)
            json_array_append_new(
                rows, json_pack("{s:s, s:i, s:f, s:I}", "links", upgrades[i].links, "num_links",
                                upgrades[i].num_links, "gain", upgrades[i].gain, "bytes_per_second",
                                (json_int_t)weft_curve_bandwidth(upgrades[i].ps_per_mib)));
        *json = json_pack("{s:s, s:i, s:s, s:i, s:o}", "format", "weft-plan-upgrades", "version", 1,
                          "collective", weft_collective_names[key->collective], "ranks",
                          key->num_ranks, "upgrades", rows);
        return *json ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for JSON");
    }
    printf("Twice the bandwidth of ... would raise the bound of %s on %d ranks:\n",
           weft_collective_names[key->collective], key->num_ranks);
    for (int i = 0; i < num; i++) {
        char rate[32];
        weft_format_bandwidth(weft_curve_bandwidth(upgrades[i].ps_per_mib), rate, sizeof rate);
        printf("  %+6.1f%%  to %-12s %s\n", 100 * upgrades[i].gain, rate, upgrades[i].links);
    }
    if (num == 0)
        puts("  nothing alone: several sorts of links are in the way at the same time");
    return WEFT_OK;
}
