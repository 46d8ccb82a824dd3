/*
 * SPDX-License-Identifier: Apache-2.0
 * See verbs_memory.h. Regions that can be found are in an array, ordered by start; those that were
 * forgotten while in use wait for their last release in a list.
 */
#include "transport/verbs_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/log.h"
#include "transport/verbs_register.h"

struct entry {
    struct weft_verbs_region region; // first: what callers hold
    int access;
    int num_uses;
    bool is_kept;
    bool is_forgotten;
    uint64_t used; // when last, by the clock
    struct entry *next_forgotten;
};

struct weft_verbs_memory {
    struct weft_verbs_registrar registrar;
    int max_kept;
    struct entry **entries; // by start
    int num_entries, room;
    int last_found;
    uint64_t longest; // of the entries, at least
    struct entry *forgotten;
    int num_kept;
    uint64_t clock;
    struct weft_verbs_memory_counts counts;
};

weft_status weft_verbs_memory_create(const struct weft_verbs *verbs, struct ibv_pd *pd,
                                     int max_kept, const char *root,
                                     struct weft_verbs_memory **memory, struct weft_error *error)
{
    struct weft_verbs_memory *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for registrations");
    made->max_kept = max_kept;
    weft_status status = weft_verbs_registrar_open(&made->registrar, verbs, pd, root, error);
    if (status != WEFT_OK) {
        free(made);
        return status;
    }
    *memory = made;
    return WEFT_OK;
}

/* ---- the array ---- */

static uint64_t end_of(const struct entry *entry)
{
    return entry->region.start + entry->region.bytes;
}

/* The first entry that starts behind `start`. */
static int place_behind(const struct weft_verbs_memory *memory, uint64_t start)
{
    int low = 0, high = memory->num_entries;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (memory->entries[middle]->region.start > start)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void insert(struct weft_verbs_memory *memory, struct entry *entry)
{
    int place = place_behind(memory, entry->region.start);
    memmove(memory->entries + place + 1, memory->entries + place,
            (size_t)(memory->num_entries - place) * sizeof(struct entry *));
    memory->entries[place] = entry;
    memory->num_entries++;
    if (entry->region.bytes > memory->longest)
        memory->longest = entry->region.bytes;
    memory->num_kept += entry->is_kept;
}

/* Takes it out of the array; it stays registered. */
static struct entry *take_out(struct weft_verbs_memory *memory, int place)
{
    struct entry *entry = memory->entries[place];
    memory->num_entries--;
    memmove(memory->entries + place, memory->entries + place + 1,
            (size_t)(memory->num_entries - place) * sizeof(struct entry *));
    memory->num_kept -= entry->is_kept;
    if (memory->num_entries == 0)
        memory->longest = 0;
    return entry;
}

static int place_of(const struct weft_verbs_memory *memory, const struct entry *entry)
{
    int place = place_behind(memory, entry->region.start) - 1;
    while (place >= 0 && memory->entries[place] != entry)
        place--;
    return place;
}

static void end_registration(struct weft_verbs_memory *memory, struct entry *entry)
{
    int failure = memory->registrar.verbs->dereg_mr(entry->region.mr);
    if (failure)
        WEFT_LOG(WEFT_LOG_WARN, "%llu bytes of memory cannot be deregistered: %s",
                 (unsigned long long)entry->region.bytes, strerror(failure > 0 ? failure : errno));
    memory->counts.num_regions--;
    memory->counts.bytes -= entry->region.bytes;
    free(entry);
}

void weft_verbs_memory_destroy(struct weft_verbs_memory **memory)
{
    if (!*memory)
        return;
    struct weft_verbs_memory *m = *memory;
    while (m->num_entries > 0)
        end_registration(m, take_out(m, m->num_entries - 1));
    while (m->forgotten) {
        struct entry *entry = m->forgotten;
        m->forgotten = entry->next_forgotten;
        end_registration(m, entry);
    }
    weft_verbs_registrar_close(&m->registrar);
    free(m->entries);
    free(m);
    *memory = NULL;
}

/* ---- finding ---- */

static bool holds(const struct entry *entry, uint64_t start, uint64_t bytes, int access)
{
    return entry->region.start <= start && bytes <= entry->region.bytes &&
           start - entry->region.start <= entry->region.bytes - bytes &&
           (access & ~entry->access) == 0;
}

static struct entry *find(struct weft_verbs_memory *memory, uint64_t start, uint64_t bytes,
                          int access)
{
    if (memory->last_found < memory->num_entries &&
        holds(memory->entries[memory->last_found], start, bytes, access))
        return memory->entries[memory->last_found];
    for (int i = place_behind(memory, start) - 1; i >= 0; i--) {
        const struct entry *entry = memory->entries[i];
        if (start - entry->region.start >= memory->longest)
            break;
        if (!holds(entry, start, bytes, access))
            continue;
        memory->last_found = i;
        return memory->entries[i];
    }
    return NULL;
}

/* ---- registering ---- */

/* Ends the registration that is unused for longest; false: all are in use. */
static bool evict(struct weft_verbs_memory *memory)
{
    int oldest = -1;
    for (int i = 0; i < memory->num_entries; i++)
        if (memory->entries[i]->num_uses == 0 &&
            (oldest < 0 || memory->entries[i]->used < memory->entries[oldest]->used))
            oldest = i;
    if (oldest < 0)
        return false;
    end_registration(memory, take_out(memory, oldest));
    memory->counts.num_evicted++;
    return true;
}

/* Whether there is room for one more kept region, after evictions. */
static bool may_keep(struct weft_verbs_memory *memory)
{
    while (memory->num_kept >= memory->max_kept)
        if (!evict(memory))
            return false;
    return true;
}

/* Unused regions that the new one makes superfluous. */
static void drop_covered(struct weft_verbs_memory *memory, const struct entry *cover)
{
    for (int i = memory->num_entries - 1; i >= 0; i--) {
        const struct entry *entry = memory->entries[i];
        if (entry != cover && entry->num_uses == 0 &&
            holds(cover, entry->region.start, entry->region.bytes, entry->access))
            end_registration(memory, take_out(memory, i));
    }
}

static weft_status add(struct weft_verbs_memory *memory, const struct weft_verbs_range *range,
                       struct entry **added, struct weft_error *error)
{
    struct entry *entry = calloc(1, sizeof *entry);
    struct entry **entries = weft_array_grow(memory->entries, memory->num_entries, &memory->room,
                                             sizeof(struct entry *));
    if (entries)
        memory->entries = entries;
    if (!entry || !entries) {
        free(entry);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a registration");
    }
    bool is_kept = range->is_kept && may_keep(memory);
    struct ibv_mr *mr = NULL;
    weft_status status;
    do // what is not in use gives its place to what will be
        status = weft_verbs_registrar_try(&memory->registrar, range, &mr, error);
    while (status == WEFT_OUT_OF_MEMORY && evict(memory));
    if (status != WEFT_OK) {
        free(entry);
        return status;
    }
    *entry = (struct entry){
        .region = {(uint64_t)(uintptr_t)range->start, range->bytes, mr->lkey, mr->rkey, mr},
        .access = range->access,
        .is_kept = is_kept,
    };
    insert(memory, entry);
    memory->counts.num_registered++;
    memory->counts.num_regions++;
    memory->counts.bytes += range->bytes;
    drop_covered(memory, entry);
    *added = entry;
    return WEFT_OK;
}

static void use(struct weft_verbs_memory *memory, struct entry *entry)
{
    memory->counts.num_in_use += entry->num_uses == 0;
    entry->num_uses++;
    entry->used = ++memory->clock;
}

weft_status weft_verbs_memory_acquire(struct weft_verbs_memory *memory,
                                      const struct weft_verbs_range *range,
                                      const struct weft_verbs_region **region,
                                      struct weft_error *error)
{
    uint64_t start = (uint64_t)(uintptr_t)range->start;
    if (range->bytes == 0 || range->bytes > UINT64_MAX - start)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%llu bytes at %p are no memory",
                         (unsigned long long)range->bytes, range->start);
    struct entry *entry = find(memory, start, range->bytes, range->access);
    if (entry)
        memory->counts.num_found++;
    else
        WEFT_TRY(add(memory, range, &entry, error));
    use(memory, entry);
    *region = &entry->region;
    return WEFT_OK;
}

static void unlink_forgotten(struct weft_verbs_memory *memory, struct entry *entry)
{
    struct entry **link = &memory->forgotten;
    while (*link != entry)
        link = &(*link)->next_forgotten;
    *link = entry->next_forgotten;
}

void weft_verbs_memory_release(struct weft_verbs_memory *memory,
                               const struct weft_verbs_region *region)
{
    struct entry *entry = (struct entry *)(uintptr_t)region; // its first member
    if (--entry->num_uses > 0)
        return;
    memory->counts.num_in_use--;
    if (entry->is_forgotten)
        unlink_forgotten(memory, entry);
    else if (!entry->is_kept)
        take_out(memory, place_of(memory, entry));
    else
        return;
    end_registration(memory, entry);
}

int weft_verbs_memory_forget(struct weft_verbs_memory *memory, const void *start, uint64_t bytes)
{
    uint64_t first = (uint64_t)(uintptr_t)start;
    uint64_t end = bytes > UINT64_MAX - first ? UINT64_MAX : first + bytes;
    int num_in_use = 0;
    for (int i = memory->num_entries - 1; i >= 0; i--) {
        if (memory->entries[i]->region.start >= end || end_of(memory->entries[i]) <= first)
            continue;
        struct entry *entry = take_out(memory, i);
        if (entry->num_uses == 0) {
            end_registration(memory, entry);
            continue;
        }
        entry->is_forgotten = true;
        entry->next_forgotten = memory->forgotten;
        memory->forgotten = entry;
        num_in_use++;
    }
    return num_in_use;
}

void weft_verbs_memory_count(const struct weft_verbs_memory *memory,
                             struct weft_verbs_memory_counts *counts)
{
    *counts = memory->counts;
}
