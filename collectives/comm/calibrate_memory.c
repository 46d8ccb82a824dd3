/*
 * SPDX-License-Identifier: Apache-2.0
 * Memory, from one core: copies out of every NUMA domain into the core's own, and the latency of a
 * load, by following a random chain that no prefetcher can. And how long a cache line takes from
 * core to core.
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "collectives/comm/calibrate_private.h"

enum {
    LEAST_BYTES = 4 << 20,
    LINE_BYTES = 64,
    CHAIN_STEPS = 4000,
    LINE_ROUNDS = 500,
    PATIENCE_MS = 1000
};

/* ---- copies ---- */

/* One thread's work: it must run where the memory is wanted. */
struct copying {
    const struct weft_calibrate_options *options;
    struct weft_measurement *entry;
    int processor;
    int domain; // number of the source's domain to the system; -1: wherever the pages come to lie
    bool is_bound;
    char *source, *target;
    char *position; // in the chain
    weft_status status;
    struct weft_error *error;
};

static char *allocate(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static bool bind_memory(void *memory, size_t bytes, int domain)
{
    unsigned long mask[16] = {0};
    const int bits = (int)(8 * sizeof mask[0]);
    if (domain < 0 || domain >= bits * 16)
        return false;
    mask[domain / bits] = 1ul << domain % bits;
    return syscall(SYS_mbind, memory, bytes, MPOL_BIND, mask, sizeof mask * 8, 0) == 0;
}

static weft_status copy_once(void *user, int64_t bytes, int count, int64_t *elapsed_ns,
                             struct weft_error *error)
{
    struct copying *c = user;
    (void)error;
    int64_t start_ns = weft_clock_ns();
    for (int i = 0; i < count; i++) {
        memcpy(c->target, c->source, (size_t)bytes);
        __asm__ volatile("" : : "r"(c->target), "r"(c->source) : "memory"); // it must happen
    }
    *elapsed_ns = weft_clock_ns() - start_ns;
    return WEFT_OK;
}

/* Every line of the source holds the address of the next one of one random circle. */
static void make_chain(char *memory, size_t num_lines)
{
    uint64_t random = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < num_lines; i++)
        ((size_t *)(void *)(memory + i * LINE_BYTES))[1] = i;
    for (size_t i = num_lines - 1; i > 0; i--) { // Sattolo: one circle through all
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t k = (size_t)(random >> 33) % i;
        size_t *a = &((size_t *)(void *)(memory + i * LINE_BYTES))[1];
        size_t *b = &((size_t *)(void *)(memory + k * LINE_BYTES))[1];
        size_t swapped = *a;
        *a = *b;
        *b = swapped;
    }
    for (size_t i = 0; i < num_lines; i++) {
        char *line = memory + i * LINE_BYTES;
        *(char **)(void *)line = memory + ((size_t *)(void *)line)[1] * LINE_BYTES;
    }
}

static weft_status follow_once(void *user, int64_t bytes, int count, int64_t *elapsed_ns,
                               struct weft_error *error)
{
    struct copying *c = user;
    (void)bytes, (void)error;
    char *at = c->position;
    int64_t start_ns = weft_clock_ns();
    for (int i = 0; i < count; i++)
        at = *(char **)(void *)at;
    *elapsed_ns = weft_clock_ns() - start_ns;
    c->position = at;
    return WEFT_OK;
}

static weft_status copy_all(struct copying *c)
{
    size_t bytes = (size_t)c->options->max_bytes;
    c->is_bound = c->domain < 0 || bind_memory(c->source, bytes, c->domain);
    memset(c->source, 1, bytes);
    memset(c->target, 2, bytes);
    const struct weft_sampler copies = {copy_once, c}, chain = {follow_once, c};
    struct weft_calibrate_options most = *c->options;
    most.budget_ns = most.budget_ns * 3 / 4;
    WEFT_TRY(weft_calibrate_curve(&copies, LINE_BYTES, &most, c->entry, c->error));
    if (bytes >= 2 * LINE_BYTES) {
        make_chain(c->source, bytes / LINE_BYTES);
        c->position = c->source;
        WEFT_TRY(weft_calibrate_latency(&chain, CHAIN_STEPS, c->options->budget_ns / 8, c->entry,
                                        c->error));
    }
    if (!c->is_bound)
        snprintf(c->entry->note, sizeof c->entry->note,
                 "not believed: the memory could not be bound to the domain (%s)", strerror(errno));
    return WEFT_OK;
}

static void *copy_thread(void *argument)
{
    struct copying *c = argument;
    size_t bytes = (size_t)c->options->max_bytes;
    weft_place_bind(c->processor);
    c->source = allocate(bytes);
    c->target = allocate(bytes);
    c->status = c->source && c->target
                    ? copy_all(c)
                    : weft_fail(c->error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
    if (c->source)
        munmap(c->source, bytes);
    if (c->target)
        munmap(c->target, bytes);
    return NULL;
}

static weft_status measure_copies(const struct weft_topology *t, const struct weft_places *places,
                                  int core_of, int memory_of,
                                  const struct weft_calibrate_options *options,
                                  struct weft_measurements *m, struct weft_error *error)
{
    const char *from = t->nodes[places->numa_nodes[memory_of]].name;
    const char *to = t->nodes[places->numa_nodes[core_of]].name;
    int core = weft_places_core(places, core_of, 0);
    if (core < 0)
        return weft_calibrate_absent(m, "memory", from, to, error,
                                     "this process may use no core of %.80s", to);
    struct weft_measurement *entry = weft_measurements_add(m, "memory", from, to);
    if (!entry)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
    int domain = places->num_numa < 2 ? -1
                                      : (int)weft_topology_number(t, places->numa_nodes[memory_of],
                                                                  "os_index", memory_of);
    struct copying copying = {.options = options,
                              .entry = entry,
                              .processor = places->cores[core].processor,
                              .domain = domain,
                              .error = error};
    pthread_t thread; // so that the binding ends with it
    int failed = pthread_create(&thread, NULL, copy_thread, &copying);
    if (failed)
        return weft_fail(error, WEFT_SYSTEM, "calibration: no thread: %s", strerror(failed));
    pthread_join(thread, NULL);
    return copying.status;
}

weft_status weft_calibrate_memory(const struct weft_topology *t, const struct weft_places *places,
                                  const struct weft_calibrate_options *options,
                                  struct weft_measurements *m, struct weft_error *error)
{
    if (places->num_numa == 0)
        return weft_calibrate_absent(m, "memory", "", "", error, "no NUMA domain is known");
    struct weft_calibrate_options slice = *options;
    slice.budget_ns /= places->num_numa * places->num_numa;
    // with many domains, filling the buffers must not take longer than measuring: 1 GB/s is slow
    int64_t affordable = slice.budget_ns > LEAST_BYTES ? slice.budget_ns : LEAST_BYTES;
    slice.max_bytes = slice.max_bytes < affordable ? slice.max_bytes : affordable;
    for (int core_of = 0; core_of < places->num_numa; core_of++)
        for (int memory_of = 0; memory_of < places->num_numa; memory_of++)
            WEFT_TRY(measure_copies(t, places, core_of, memory_of, &slice, m, error));
    return WEFT_OK;
}

/* ---- from core to core ---- */

struct court {
    _Alignas(128) _Atomic uint64_t ball; // odd: the other one's turn
    _Alignas(128) _Atomic bool is_over;
    int processor;
    uint64_t next;
};

/* Until the ball has this value; false: it never came. */
static bool await(struct court *court, uint64_t value)
{
    int64_t deadline_ns = 0;
    for (unsigned spins = 1;; spins++) {
        if (atomic_load_explicit(&court->ball, memory_order_acquire) == value)
            return true;
        if (spins % 4096 != 0)
            continue;
        if (atomic_load_explicit(&court->is_over, memory_order_acquire))
            return false;
        if (deadline_ns == 0)
            deadline_ns = weft_deadline_after(PATIENCE_MS * INT64_C(1000000));
        else if (weft_clock_ns() > deadline_ns)
            return false;
    }
}

static void *return_balls(void *argument)
{
    struct court *court = argument;
    weft_place_bind(court->processor);
    for (uint64_t turn = 1; await(court, turn); turn += 2)
        atomic_store_explicit(&court->ball, turn + 1, memory_order_release);
    return NULL;
}

static weft_status play_once(void *user, int64_t bytes, int count, int64_t *elapsed_ns,
                             struct weft_error *error)
{
    struct court *court = user;
    (void)bytes;
    int64_t start_ns = weft_clock_ns();
    for (int i = 0; i < count; i++, court->next += 2) {
        atomic_store_explicit(&court->ball, court->next, memory_order_release);
        if (!await(court, court->next + 1))
            return weft_fail(error, WEFT_TIMEOUT, "the other core does not answer");
    }
    *elapsed_ns = (weft_clock_ns() - start_ns) / 2;
    return WEFT_OK;
}

struct player {
    struct court *court;
    int processor;
    int64_t budget_ns;
    struct weft_measurement *entry;
    weft_status status;
    struct weft_error error;
};

static void *play(void *argument)
{
    struct player *player = argument;
    weft_place_bind(player->processor);
    const struct weft_sampler sampler = {play_once, player->court};
    player->status = weft_calibrate_latency(&sampler, LINE_ROUNDS, player->budget_ns, player->entry,
                                            &player->error);
    atomic_store_explicit(&player->court->is_over, true, memory_order_release);
    return NULL;
}

static weft_status measure_cores(const struct weft_topology *t, const struct weft_places *places,
                                 int a, int b, int64_t budget_ns, struct weft_measurements *m,
                                 struct weft_error *error)
{
    struct court court = {.processor = places->cores[b].processor, .next = 1};
    struct player player = {.court = &court,
                            .processor = places->cores[a].processor,
                            .budget_ns = budget_ns,
                            .entry = weft_measurements_add(m, "cores",
                                                           t->nodes[places->cores[a].node].name,
                                                           t->nodes[places->cores[b].node].name)};
    pthread_t threads[2];
    if (!player.entry)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
    int failed = pthread_create(&threads[0], NULL, return_balls, &court);
    if (failed)
        return weft_fail(error, WEFT_SYSTEM, "calibration: no thread: %s", strerror(failed));
    failed = pthread_create(&threads[1], NULL, play, &player);
    if (failed)
        atomic_store_explicit(&court.is_over, true, memory_order_release);
    else
        pthread_join(threads[1], NULL);
    pthread_join(threads[0], NULL);
    if (failed)
        return weft_fail(error, WEFT_SYSTEM, "calibration: no thread: %s", strerror(failed));
    if (player.status != WEFT_OK)
        snprintf(player.entry->note, sizeof player.entry->note, "%.150s", player.error.text);
    return WEFT_OK;
}

weft_status weft_calibrate_cores(const struct weft_topology *t, const struct weft_places *places,
                                 const struct weft_calibrate_options *options,
                                 struct weft_measurements *m, struct weft_error *error)
{
    int num_pairs = weft_places_num_pairs(places);
    for (int i = 0; i < num_pairs; i++) {
        int a, b;
        if (weft_places_pair(places, i, &a, &b) && a != b)
            WEFT_TRY(measure_cores(t, places, a, b, options->budget_ns / num_pairs, m, error));
        else if (i == 0)
            WEFT_TRY(weft_calibrate_absent(m, "cores", "", "", error,
                                           "this process may use fewer than two cores"));
    }
    return WEFT_OK;
}
