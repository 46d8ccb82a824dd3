/*
 * SPDX-License-Identifier: Apache-2.0
 * How long a cache line takes from core to core: two threads play with a ball.
 */
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "collectives/comm/calibrate_private.h"

enum { LINE_ROUNDS = 500, PATIENCE_MS = 1000 };

struct court {
    _Alignas(128) _Atomic uint64_t ball; // odd: the other one's turn
    _Alignas(128) _Atomic bool is_over;
    uint64_t next;
    int64_t budget_ns;
    struct weft_measurement *entry;
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

static void return_balls(void *argument)
{
    struct court *court = argument;
    for (uint64_t turn = 1; await(court, turn); turn += 2)
        atomic_store_explicit(&court->ball, turn + 1, memory_order_release);
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

static void play(void *argument)
{
    struct court *court = argument;
    struct weft_error why = {0};
    const struct weft_sampler sampler = {play_once, court};
    if (weft_calibrate_latency(&sampler, LINE_ROUNDS, court->budget_ns, court->entry, &why) !=
        WEFT_OK)
        snprintf(court->entry->note, sizeof court->entry->note, "%.150s", why.text);
    atomic_store_explicit(&court->is_over, true, memory_order_release);
}

static weft_status measure_cores(const struct weft_topology *t, const struct weft_places *places,
                                 int a, int b, int64_t budget_ns, struct weft_measurements *m,
                                 struct weft_error *error)
{
    const struct weft_place *player = &places->cores[a], *other = &places->cores[b];
    struct court court = {.next = 1,
                          .budget_ns = budget_ns,
                          .entry = weft_measurements_add(m, "cores", t->nodes[player->node].name,
                                                         t->nodes[other->node].name)};
    if (!court.entry)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "calibration: no memory");
    const struct weft_placed_work works[] = {{player->processor, play, &court},
                                             {other->processor, return_balls, &court}};
    return weft_places_run(works, 2, error);
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
