/*
 * SPDX-License-Identifier: Apache-2.0
 * See choice.h.
 */
#include "collectives/planner/choice.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "collectives/planner/costs.h"
#include "collectives/planner/decisions.h"
#include "collectives/planner/tuned.h"

static weft_status check_leaves(const struct weft_key *key, struct weft_error *error)
{
    if (key->order != WEFT_ORDER_REPRODUCIBLE || !weft_collective_reduces(key->collective) ||
        key->collective == WEFT_BARRIER)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "%s: leaf bounds are for reductions in reproducible order",
                         weft_collective_names[key->collective]);
    return weft_leaf_bounds_check(key->num_ranks, key->num_leaves, key->leaf_bounds, error);
}

weft_status weft_key_check(const struct weft_key *key, struct weft_error *error)
{
    const struct weft_shape shape = {
        .collective = key->collective, .num_ranks = key->num_ranks, .root = key->root, .pieces = 1};
    WEFT_TRY(weft_shape_check(&shape, error));
    if (key->num_leaves || key->leaf_bounds)
        WEFT_TRY(check_leaves(key, error));
    if (key->element_bytes < 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "elements of %d bytes", key->element_bytes);
    if (key->size_class < -1 || key->size_class > 62)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "size class %d is not -1 to 62",
                         key->size_class);
    if (key->order != WEFT_ORDER_FREE && key->order != WEFT_ORDER_REPRODUCIBLE)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "order %d does not exist", (int)key->order);
    return WEFT_OK;
}

int weft_size_class(uint64_t bytes)
{
    return bytes ? 63 - __builtin_clzll(bytes) : -1;
}

const char *weft_algorithm_refusal(const struct weft_algorithm *algorithm,
                                   const struct weft_key *key, const struct weft_layout *layout)
{
    bool is_pairwise = key->collective == WEFT_ALL_TO_ALL_V || key->collective == WEFT_SEND ||
                       key->collective == WEFT_RECV;
    const char *reason = algorithm->supports(key, layout);
    if (!reason && is_pairwise && algorithm->counts != WEFT_COUNTS_PAIRWISE)
        reason = "needs sizes that every rank knows";
    if (!reason && key->num_leaves && !algorithm->takes_spans)
        reason = "takes one leaf per rank only";
    return reason;
}

int64_t weft_algorithm_predict(const struct weft_algorithm *algorithm, const struct weft_key *key,
                               const struct weft_layout *layout)
{
    int64_t measured = weft_tuned_time(layout->tuned, algorithm, key);
    return measured >= 0 ? measured : algorithm->estimate(key, layout) + layout->costs.launch_ps;
}

static struct weft_candidate price(const struct weft_algorithm *algorithm,
                                   const struct weft_key *key, const struct weft_layout *layout)
{
    struct weft_candidate candidate = {.algorithm = algorithm,
                                       .reason = weft_algorithm_refusal(algorithm, key, layout),
                                       .estimate_ps = -1,
                                       .latency_ps = -1};
    struct weft_layout weightless = *layout;
    struct weft_ring_hops hops[WEFT_RINGS_WEIGHT];
    for (int c = 0; c < layout->rings.num_rings; c++) {
        hops[c] = layout->rings.hops[c];
        hops[c].ps_per_mib = 0;
        for (int i = 0; i < WEFT_CURVE_LINES; i++)
            hops[c].near.lines[i].ps_per_mib = hops[c].far.lines[i].ps_per_mib = 0;
    }
    weightless.rings.hops = hops;
    for (int l = 0; l < layout->costs.num_levels; l++) {
        struct weft_level_costs *level = &weightless.costs.levels[l];
        level->crowd_ps_per_mib = level->fan_ps_per_mib = level->all_ps_per_mib = 0;
        for (int i = 0; i < WEFT_APART_LIMIT; i++)
            level->apart[0][i].ps_per_mib = level->apart[1][i].ps_per_mib = 0;
        for (int i = 0; i < level->message.num_lines; i++)
            level->message.lines[i].ps_per_mib = 0;
    }
    weightless.costs.combine_ps_per_kib = weightless.costs.copy_ps_per_kib = 0;
    if (candidate.reason)
        return candidate;
    candidate.estimate_ps = weft_algorithm_predict(algorithm, key, layout);
    candidate.is_measured = weft_tuned_time(layout->tuned, algorithm, key) >= 0;
    candidate.latency_ps = algorithm->estimate(key, &weightless) + layout->costs.launch_ps;
    if (candidate.latency_ps > candidate.estimate_ps)
        candidate.latency_ps = candidate.estimate_ps;
    return candidate;
}

static bool goes_before(const struct weft_candidate *a, const struct weft_candidate *b)
{
    if (!a->reason != !b->reason)
        return !a->reason;
    if (a->is_measured != b->is_measured)
        return a->is_measured;
    return !a->reason && a->estimate_ps < b->estimate_ps;
}

// Insertion: stable, so that ties keep the order of the table.
static void insert(struct weft_choice *choice, struct weft_candidate candidate)
{
    int at = choice->num_candidates++;
    for (; at > 0 && goes_before(&candidate, &choice->candidates[at - 1]); at--)
        choice->candidates[at] = choice->candidates[at - 1];
    choice->candidates[at] = candidate;
    choice->num_usable += !candidate.reason;
}

weft_status weft_choice_make(const struct weft_key *key, const struct weft_layout *layout,
                             struct weft_choice *choice, struct weft_error *error)
{
    WEFT_TRY(weft_key_check(key, error));
    if (layout->num_ranks != key->num_ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d ranks on a layout of %d", key->num_ranks,
                         layout->num_ranks);
    struct weft_choice made = {.key = *key, .layout = layout};
    for (int i = 0; weft_algorithms[i] && i < WEFT_CANDIDATES_LIMIT; i++)
        insert(&made, price(weft_algorithms[i], key, layout));
    if (!made.num_usable)
        return weft_fail(error, WEFT_UNSUPPORTED, "no algorithm does %s of %d ranks",
                         weft_collective_names[key->collective], key->num_ranks);
    *choice = made;
    return WEFT_OK;
}

// Names of all algorithms, or of those that can do `key`.
static void list_names(const struct weft_key *key, const struct weft_layout *layout, char *text,
                       size_t bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; weft_algorithms[i] && used < bytes; i++)
        if (!key || !weft_algorithm_refusal(weft_algorithms[i], key, layout))
            used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? " " : "",
                                     weft_algorithms[i]->name);
}

weft_status weft_algorithm_require(const char *name, const struct weft_key *key,
                                   const struct weft_layout *layout,
                                   const struct weft_algorithm **algorithm,
                                   struct weft_error *error)
{
    char possible[256];
    const struct weft_algorithm *found = weft_algorithm_find(name);
    list_names(key, layout, possible, sizeof possible);
    if (!found)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "there is no algorithm '%.32s'; possible for %s: %s", name,
                         weft_collective_names[key->collective], possible);
    const char *reason = weft_algorithm_refusal(found, key, layout);
    if (reason)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s cannot do this %s: %s; possible: %s", name,
                         weft_collective_names[key->collective], reason, possible);
    *algorithm = found;
    return WEFT_OK;
}

// One entry of WEFT_ALGORITHM.
static weft_status force_one(char *entry, struct weft_forced *forced, struct weft_error *error)
{
    char *colon = strchr(entry, ':');
    const char *name = colon ? colon + 1 : entry;
    const struct weft_algorithm *algorithm = weft_algorithm_find(name);
    struct weft_key key = {.num_ranks = 2, .element_bytes = 4, .size_class = 0};
    if (colon) {
        *colon = 0;
        WEFT_TRY(weft_collective_from_name(entry, &key.collective, error));
        WEFT_TRY(weft_algorithm_require(name, &key, NULL, &algorithm, error));
        forced->algorithms[key.collective] = algorithm;
        return WEFT_OK;
    }
    if (!algorithm) {
        char names[256];
        list_names(NULL, NULL, names, sizeof names);
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no algorithm '%.32s' among: %s",
                         name, names);
    }
    for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++) {
        key.collective = (weft_collective)c;
        if (!weft_algorithm_refusal(algorithm, &key, NULL))
            forced->algorithms[c] = algorithm;
    }
    return WEFT_OK;
}

weft_status weft_forced_parse(const char *text, struct weft_forced *forced,
                              struct weft_error *error)
{
    char copy[512], *rest = copy, *entry;
    struct weft_forced made = {{NULL}};
    if (strlen(text) >= sizeof copy)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the list of algorithms is too long");
    memcpy(copy, text, strlen(text) + 1);
    while (*text && (entry = strsep(&rest, ",")))
        WEFT_TRY(force_one(entry, &made, error));
    *forced = made;
    return WEFT_OK;
}

// To the front, if it can do the key.
static void prefer(struct weft_choice *choice, const struct weft_algorithm *algorithm)
{
    for (int i = 1; i < choice->num_usable; i++)
        if (choice->candidates[i].algorithm == algorithm) {
            struct weft_candidate preferred = choice->candidates[i];
            memmove(choice->candidates + 1, choice->candidates, (size_t)i * sizeof preferred);
            choice->candidates[0] = preferred;
        }
}

// A program that fails its check is logged here, where the next one is about to be tried.
static weft_status try_algorithm(const struct weft_algorithm *algorithm, const struct weft_key *key,
                                 const struct weft_layout *layout, int rank, unsigned aliasing,
                                 struct weft_plan **plan, struct weft_error *error)
{
    struct weft_error reason = {0};
    struct weft_program *program = NULL;
    weft_status status = algorithm->emit(key, layout, rank, aliasing, &program, &reason);
    if (status == WEFT_OK)
        status = weft_plan_create(&program, plan, &reason);
    weft_program_destroy(&program);
    if (status == WEFT_UNPROVED || status == WEFT_INVALID_FORMAT) {
        status = weft_fail(error, WEFT_UNPROVED, "%s %s: %.400s", algorithm->name,
                           weft_collective_names[key->collective], reason.text);
        WEFT_LOG(WEFT_LOG_ERROR, "bug in an algorithm: %s %s: %s", algorithm->name,
                 weft_collective_names[key->collective], reason.text);
        return status;
    }
    return status == WEFT_OK ? status : weft_fail(error, status, "%s", reason.text);
}

weft_status weft_plan_from_choice(const struct weft_choice *choice, int rank, unsigned aliasing,
                                  struct weft_plan **plan, const struct weft_algorithm **algorithm,
                                  struct weft_error *error)
{
    weft_status status = WEFT_UNPROVED;
    for (int i = 0; i < choice->num_usable && status == WEFT_UNPROVED; i++) {
        const struct weft_algorithm *candidate = choice->candidates[i].algorithm;
        status =
            try_algorithm(candidate, &choice->key, choice->layout, rank, aliasing, plan, error);
        if (status == WEFT_OK && algorithm)
            *algorithm = candidate;
    }
    return status;
}

weft_status weft_plan_make(const struct weft_plan_request *request, struct weft_plan **plan,
                           const struct weft_algorithm **algorithm, struct weft_error *error)
{
    const struct weft_key *key = &request->key;
    const struct weft_algorithm *used = NULL;
    WEFT_TRY(weft_key_check(key, error));
    if (request->rank < 0 || request->rank >= key->num_ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "rank %d of %d ranks", request->rank,
                         key->num_ranks);
    if (request->algorithm && request->algorithm[0]) {
        WEFT_TRY(weft_algorithm_require(request->algorithm, key, request->layout, &used, error));
        WEFT_TRY(try_algorithm(used, key, request->layout, request->rank, request->aliasing, plan,
                               error));
        if (algorithm)
            *algorithm = used;
        return WEFT_OK;
    }
    struct weft_choice choice;
    WEFT_TRY(weft_choice_make(key, request->layout, &choice, error));
    if (request->decisions)
        prefer(&choice, weft_decisions_algorithm(request->decisions, key));
    return weft_plan_from_choice(&choice, request->rank, request->aliasing, plan, algorithm, error);
}
