/*
 * SPDX-License-Identifier: Apache-2.0
 * Memory, from one core: copies out of every NUMA domain into the core's own, and the latency of a
 * load, by following a random chain that no prefetcher can.
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "collectives/comm/calibrate_private.h"

enum { LEAST_BYTES = 4 << 20, LINE_BYTES = 64, CHAIN_STEPS = 4000 };

/* One thread's work: it must run where the memory is wanted. */
struct copying {
    const struct weft_calibrate_options *options;
    struct weft_measurement *entry;
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

static void copy(void *argument)
{
    struct copying *c = argument;
    size_t bytes = (size_t)c->options->max_bytes;
    c->source = allocate(bytes);
    c->target = allocate(bytes);
    c->status = c->source && c->target
                    ? copy_all(c)
                    : weft_fail(c->error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
    if (c->source)
        munmap(c->source, bytes);
    if (c->target)
        munmap(c->target, bytes);
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
    struct copying copying = {.options = options, .entry = entry, .domain = domain, .error = error};
    const struct weft_placed_work work = {places->cores[core].processor, copy, &copying};
    WEFT_TRY(weft_places_run(&work, 1, error));
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
