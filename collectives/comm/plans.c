/*
 * SPDX-License-Identifier: Apache-2.0
 * The plans of a communicator, made on first use: choose by the agreed key, emit this rank's
 * program, prove it, make runs. A plan that fails its check is a bug; it is logged and the next
 * candidate is taken, on every rank alike, since every rank's program fails or the lanes disagree.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "collectives/comm/internal.h"

enum { IDLE_RUNS_LIMIT = 4 };

struct weft_plans_entry {
    struct weft_plans_entry *next;
    struct weft_key key;
    int rank;
    bool is_in_place;
    const struct weft_algorithm *algorithm;
    const struct weft_algorithm *forced;
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
           a->order == b->order;
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

static weft_status emit_and_prove(struct weft_plans_entry *entry, struct weft_error *error)
{
    struct weft_program *program = NULL;
    // One program serves both aliasings where the algorithm can write such a one.
    unsigned both = WEFT_OUT_OF_PLACE | WEFT_IN_PLACE;
    bool is_exchange =
        entry->key.collective == WEFT_ALL_TO_ALL || entry->key.collective == WEFT_ALL_TO_ALL_V;
    unsigned aliasing = !is_exchange         ? both
                        : entry->is_in_place ? WEFT_IN_PLACE
                                             : WEFT_OUT_OF_PLACE;
    WEFT_TRY(entry->algorithm->emit(&entry->key, entry->rank, aliasing, &program, error));
    weft_status status = weft_plan_create(&program, &entry->plan, error);
    weft_program_destroy(&program);
    return status;
}

static weft_status make_entry(struct weft_comm *comm, struct weft_plans_entry *entry,
                              struct weft_error *error)
{
    uint64_t tried = 0;
    for (;;) {
        entry->algorithm = entry->forced;
        entry->predicted_ps = INT64_MAX;
        for (int i = 0; weft_algorithms[i]; i++) {
            const struct weft_algorithm *algorithm = weft_algorithms[i];
            if ((entry->forced && algorithm != entry->forced) || (tried >> i & 1) ||
                algorithm->supports(&entry->key))
                continue;
            int64_t estimate = algorithm->estimate(&entry->key, &comm->costs);
            if (estimate >= entry->predicted_ps)
                continue;
            entry->predicted_ps = estimate;
            entry->algorithm = algorithm;
        }
        if (!entry->algorithm || entry->predicted_ps == INT64_MAX)
            return weft_fail(error, WEFT_UNSUPPORTED, "no algorithm%s%s does %s on %d ranks",
                             entry->forced ? " " : "", entry->forced ? entry->forced->name : "",
                             weft_collective_names[entry->key.collective], comm->num_ranks);
        weft_status status = emit_and_prove(entry, error);
        if (status != WEFT_UNPROVED && status != WEFT_INVALID_FORMAT)
            return status;
        WEFT_LOG(WEFT_LOG_ERROR, "bug: a program of algorithm %s fails its check: %s",
                 entry->algorithm->name, error->text);
        if (entry->forced)
            return status;
        for (int i = 0; weft_algorithms[i]; i++)
            if (weft_algorithms[i] == entry->algorithm)
                tried |= UINT64_C(1) << i;
    }
}

static void destroy_entry(struct weft_plans_entry *entry)
{
    for (int i = 0; i < entry->num_idle; i++)
        weft_run_destroy(&entry->idle[i]);
    weft_plan_destroy(&entry->plan);
    free(entry);
}

// `text` as in WEFT_ALGORITHM: "ring" or "all_reduce:ring,broadcast:tree".
static weft_status find_forced(const char *text, weft_collective collective,
                               const struct weft_algorithm **algorithm, struct weft_error *error)
{
    const char *name = weft_collective_names[collective];
    char entry[64];
    for (const char *at = text; at && *at;) {
        size_t length = strcspn(at, ",");
        snprintf(entry, sizeof entry, "%.*s", (int)length, at);
        char *colon = strchr(entry, ':');
        if (colon)
            *colon = '\0';
        const struct weft_algorithm *found = weft_algorithm_find(colon ? colon + 1 : entry);
        if (!found)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no algorithm '%s'",
                             colon ? colon + 1 : entry);
        // Without a collective it is a wish for those that it can do.
        if (!colon || !strcmp(entry, name))
            *algorithm = found;
        at += length + (at[length] == ',');
    }
    return WEFT_OK;
}

weft_status weft_plans_get(struct weft_comm *comm, const struct weft_key *key, int rank,
                           const char *forced, bool is_in_place, struct weft_planned *planned,
                           struct weft_error *error)
{
    const struct weft_algorithm *algorithm = NULL;
    const char *configured = comm->context->config.algorithm;
    if (!comm->plans)
        comm->plans = calloc(1, sizeof *comm->plans);
    if (!comm->plans)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for plans");
    if (forced || *configured)
        WEFT_TRY(find_forced(forced ? forced : configured, key->collective, &algorithm, error));
    if (!forced && algorithm && algorithm->supports(key))
        algorithm = NULL;
    struct weft_plans_entry *entry = find_entry(comm->plans, key, is_in_place, algorithm);
    if (!entry) {
        entry = calloc(1, sizeof *entry);
        if (!entry)
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a plan");
        entry->key = *key;
        entry->rank = rank;
        entry->is_in_place = is_in_place;
        entry->forced = algorithm;
        weft_status status = make_entry(comm, entry, error);
        if (status != WEFT_OK) {
            free(entry);
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
