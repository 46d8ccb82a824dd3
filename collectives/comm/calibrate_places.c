/*
 * SPDX-License-Identifier: Apache-2.0
 * Which cores of the graph this process may use, and where threads are put.
 */
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "collectives/comm/calibrate_private.h"

enum { MAX_NUMA = 16, MAX_CORES = 4096, MAX_WORKS = 2 };

/* ---- threads ---- */

static void bind_thread(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (processor < 0 || processor >= CPU_SETSIZE)
        return;
    CPU_SET(processor, &set);
    (void)sched_setaffinity(0, sizeof set, &set); // of this thread
}

struct gate {
    pthread_mutex_t lock; // until all threads are there, or one could not be made
    bool is_open;
};

struct placed_thread {
    pthread_t id;
    struct gate *gate;
    const struct weft_placed_work *work;
};

static void *run_thread(void *argument)
{
    const struct placed_thread *thread = argument;
    bind_thread(thread->work->processor);
    pthread_mutex_lock(&thread->gate->lock);
    bool is_open = thread->gate->is_open;
    pthread_mutex_unlock(&thread->gate->lock);
    if (is_open)
        thread->work->run(thread->work->argument);
    return NULL;
}

weft_status weft_places_run(const struct weft_placed_work *works, int count,
                            struct weft_error *error)
{
    struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct placed_thread threads[MAX_WORKS];
    int num_threads = 0, failed = 0;
    assert(count <= MAX_WORKS);
    pthread_mutex_lock(&gate.lock);
    while (num_threads < count && !failed) {
        struct placed_thread *thread = &threads[num_threads];
        *thread = (struct placed_thread){.gate = &gate, .work = &works[num_threads]};
        failed = pthread_create(&thread->id, NULL, run_thread, thread);
        num_threads += !failed;
    }
    gate.is_open = !failed;
    pthread_mutex_unlock(&gate.lock);
    for (int i = 0; i < num_threads; i++)
        pthread_join(threads[i].id, NULL);
    pthread_mutex_destroy(&gate.lock);
    return failed ? weft_fail(error, WEFT_SYSTEM, "calibration: no thread: %s", strerror(failed))
                  : WEFT_OK;
}

/* ---- places ---- */

static int index_of(const struct weft_places *places, int node)
{
    for (int i = 0; i < places->num_numa; i++)
        if (places->numa_nodes[i] == node)
            return i;
    return -1;
}

weft_status weft_places_find(const struct weft_topology *t, struct weft_places *places,
                             struct weft_error *error)
{
    struct weft_places found = {.cores = malloc(MAX_CORES * sizeof *found.cores),
                                .numa_nodes = malloc(MAX_NUMA * sizeof *found.numa_nodes)};
    if (!found.cores || !found.numa_nodes) {
        weft_places_free(&found);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
    }
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        CPU_SET(0, &allowed);
    for (int i = 0; i < t->num_nodes && found.num_numa < MAX_NUMA; i++)
        if (t->nodes[i].kind == WEFT_NODE_NUMA)
            found.numa_nodes[found.num_numa++] = i;
    int counted = 0;
    for (int i = 0; i < t->num_nodes && found.num_cores < MAX_CORES; i++) {
        if (t->nodes[i].kind != WEFT_NODE_CORE)
            continue;
        int64_t processor = weft_topology_number(t, i, "first_thread", counted++);
        if (processor >= CPU_SETSIZE || !CPU_ISSET((int)processor, &allowed))
            continue;
        int numa = index_of(&found, weft_topology_ancestor(t, i, WEFT_NODE_NUMA));
        found.cores[found.num_cores++] = (struct weft_place){i, (int)processor, numa};
    }
    *places = found;
    return WEFT_OK;
}

void weft_places_free(struct weft_places *places)
{
    free(places->cores);
    free(places->numa_nodes);
    *places = (struct weft_places){0};
}

int weft_places_core(const struct weft_places *places, int numa, int which)
{
    for (int i = 0; i < places->num_cores; i++)
        if (places->cores[i].numa == numa && which-- == 0)
            return i;
    return -1;
}

int weft_places_num_pairs(const struct weft_places *places)
{
    return places->num_numa > 1 ? places->num_numa : 1;
}

bool weft_places_pair(const struct weft_places *places, int pair, int *a, int *b)
{
    if (places->num_cores == 0)
        return false;
    int own = places->cores[0].numa, other = -1;
    *a = 0;
    if (pair == 0) {
        *b = weft_places_core(places, own, 1);
        if (*b < 0)
            *b = 0;
        return true;
    }
    for (int numa = 0; numa < places->num_numa; numa++)
        if (numa != own && --pair == 0)
            other = numa;
    *b = other < 0 ? -1 : weft_places_core(places, other, 0);
    return *b >= 0;
}
