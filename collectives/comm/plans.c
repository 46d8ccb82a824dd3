/*
 * SPDX-License-Identifier: Apache-2.0
 * The plans of a communicator, made on first use: choose by the agreed key, emit this rank's
 * program, prove it, make runs. A plan that fails its check is a bug; it is logged and the next
 * candidate is taken, on every rank alike, since every rank's program fails or the lanes disagree.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collectives/comm/internal.h"
#include "collectives/planner/choice.h"

enum { IDLE_RUNS_LIMIT = 4 };

struct weft_plans_entry {
    struct weft_plans_entry *next;
    struct weft_key key;
    uint32_t *leaf_bounds; // the key's
    int rank;
    bool is_in_place;
    const struct weft_algorithm *algorithm; // of the plan
    const struct weft_algorithm *forced;    // NULL: chosen
    int64_t predicted_ps;
    struct weft_plan *plan;
    struct weft_run *idle[IDLE_RUNS_LIMIT];
    int num_idle;
};

struct weft_plans {
    struct weft_plans_entry *entries; // most recently used first
};

static bool is_same_key(const struct weft_key *a, const struct weft_key *b)
{
    return a->collective == b->collective && a->num_ranks == b->num_ranks && a->root == b->root &&
           a->element_bytes == b->element_bytes && a->size_class == b->size_class &&
           a->order == b->order && a->num_leaves == b->num_leaves &&
           (!a->num_leaves || !memcmp(a->leaf_bounds, b->leaf_bounds,
                                      ((size_t)a->num_ranks + 1) * sizeof *a->leaf_bounds));
}

static struct weft_plans_entry *find_entry(struct weft_plans *plans, const struct weft_key *key,
                                           bool is_in_place, const struct weft_algorithm *forced)
{
    for (struct weft_plans_entry **link = &plans->entries; *link; link = &(*link)->next) {
        struct weft_plans_entry *entry = *link;
        if (entry->is_in_place != is_in_place || entry->forced != forced ||
            !is_same_key(&entry->key, key))
            continue;
        *link = entry->next;
        entry->next = plans->entries;
        plans->entries = entry;
        return entry;
    }
    return NULL;
}

static weft_status make_plan(struct weft_comm *comm, struct weft_plans_entry *entry,
                             struct weft_error *error)
{
    // One program serves both aliasings, except for exchanges and inputs of several parts.
    bool is_one =
        entry->key.collective == WEFT_ALL_TO_ALL || entry->key.collective == WEFT_ALL_TO_ALL_V;
    const uint32_t *span = entry->leaf_bounds ? entry->leaf_bounds + entry->rank : NULL;
    is_one |= span && weft_leaf_parts(span[0], span[1], entry->key.num_leaves, NULL) > 1;
    unsigned both = WEFT_OUT_OF_PLACE | WEFT_IN_PLACE;
    unsigned one = entry->is_in_place ? WEFT_IN_PLACE : WEFT_OUT_OF_PLACE;
    const struct weft_plan_request request = {
        .key = entry->key,
        .rank = entry->rank,
        .aliasing = is_one ? one : both,
        .layout = comm->layout,
        .algorithm = entry->forced ? entry->forced->name : NULL,
    };
    WEFT_TRY(weft_plan_make(&request, &entry->plan, &entry->algorithm, error));
    entry->predicted_ps = weft_algorithm_predict(entry->algorithm, &entry->key, comm->layout);
    return WEFT_OK;
}

static void destroy_entry(struct weft_plans_entry *entry)
{
    for (int i = 0; i < entry->num_idle; i++)
        weft_run_destroy(&entry->idle[i]);
    weft_plan_destroy(&entry->plan);
    free(entry->leaf_bounds);
    free(entry);
}

// A name given with the call must be able to do it; WEFT_ALGORITHM is a wish where it can.
static weft_status find_forced(const struct weft_comm *comm, const struct weft_key *key,
                               const char *name, const struct weft_algorithm **algorithm,
                               struct weft_error *error)
{
    struct weft_forced forced;
    if (name)
        return weft_algorithm_require(name, key, comm->layout, algorithm, error);
    *algorithm = NULL;
    if (!*comm->context->config.algorithm)
        return WEFT_OK;
    WEFT_TRY(weft_forced_parse(comm->context->config.algorithm, &forced, error));
    const struct weft_algorithm *wish = forced.algorithms[key->collective];
    *algorithm = wish && !weft_algorithm_refusal(wish, key, comm->layout) ? wish : NULL;
    return WEFT_OK;
}

weft_status weft_plans_get(struct weft_comm *comm, const struct weft_key *key, int rank,
                           const char *forced, bool is_in_place, struct weft_planned *planned,
                           struct weft_error *error)
{
    const struct weft_algorithm *algorithm = NULL;
    if (!comm->plans)
        comm->plans = calloc(1, sizeof *comm->plans);
    if (!comm->plans)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for plans");
    WEFT_TRY(find_forced(comm, key, forced, &algorithm, error));
    struct weft_plans_entry *entry = find_entry(comm->plans, key, is_in_place, algorithm);
    if (!entry) {
        entry = calloc(1, sizeof *entry);
        if (!entry)
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a plan");
        entry->key = *key;
        if (key->num_leaves) {
            size_t bytes = ((size_t)key->num_ranks + 1) * sizeof *entry->leaf_bounds;
            entry->key.leaf_bounds = entry->leaf_bounds = malloc(bytes);
            if (!entry->leaf_bounds) {
                free(entry);
                return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a plan");
            }
            memcpy(entry->leaf_bounds, key->leaf_bounds, bytes);
        }
        entry->rank = rank;
        entry->is_in_place = is_in_place;
        entry->forced = algorithm;
        weft_status status = make_plan(comm, entry, error);
        if (status != WEFT_OK) {
            destroy_entry(entry);
            return status;
        }
        entry->next = comm->plans->entries;
        comm->plans->entries = entry;
    }
    struct weft_run *run = NULL;
    if (entry->num_idle > 0)
        run = entry->idle[--entry->num_idle];
    else
        WEFT_TRY(weft_run_create(entry->plan, &run, error));
    *planned =
        (struct weft_planned){entry->plan, run, entry->algorithm->name, entry->predicted_ps, entry};
    return WEFT_OK;
}

void weft_plans_return(struct weft_comm *comm, struct weft_planned *planned)
{
    (void)comm;
    if (!planned->run)
        return;
    if (!weft_run_is_idle(planned->run))
        weft_run_cancel(planned->run);
    if (planned->entry->num_idle < IDLE_RUNS_LIMIT)
        planned->entry->idle[planned->entry->num_idle++] = planned->run;
    else
        weft_run_destroy(&planned->run);
    planned->run = NULL;
}

void weft_plans_destroy(struct weft_plans **plans)
{
    if (!*plans)
        return;
    for (struct weft_plans_entry *entry = (*plans)->entries, *next; entry; entry = next) {
        next = entry->next;
        destroy_entry(entry);
    }
    free(*plans);
    *plans = NULL;
}
