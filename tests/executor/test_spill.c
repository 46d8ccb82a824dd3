/*
 * SPDX-License-Identifier: Apache-2.0
 * Writing into the caches or past them: the faster way is found, kept, and left when it is no
 * longer the faster one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "collectives/executor/spill.h"

enum { BYTES = 1 << 20 };
static const struct weft_spill_rule rule = {.percent = 87, .trials = 2, .cold = 4};

struct machine {
    int64_t cached_ns, past_ns; // of a stretch
};
static const struct machine near = {100000, 130000}, far = {900000, 200000};

/* Goes through `count` stretches; returns how many of them went past the caches. */
static int go(struct weft_spill *spills, const struct machine *machine, int count)
{
    int past = 0;
    for (int i = 0; i < count; i++) {
        struct weft_spill_stretch stretch = weft_spill_begin(spills, BYTES, &rule);
        stretch.ns = stretch.past ? machine->past_ns : machine->cached_ns;
        stretch.bytes = 3 * BYTES;
        weft_spill_end(&stretch);
        past += stretch.past;
    }
    return past;
}

static void finds_the_faster_way(void **state)
{
    (void)state;
    struct weft_spill spills[WEFT_SPILL_CLASSES] = {0};
    assert_int_equal(go(spills, &near, 10), 2); // trials only
    assert_int_equal(go(spills, &near, WEFT_SPILL_PERIOD), 2);
    memset(spills, 0, sizeof spills);
    go(spills, &far, 10);
    assert_int_equal(go(spills, &far, WEFT_SPILL_PERIOD), WEFT_SPILL_PERIOD - 2);
}

// Until both ways are known the rule says which; then the faster one is used.
static void begins_as_the_rule_says(void **state)
{
    (void)state;
    enum { COLD = 16 };
    static const struct weft_spill_rule begins = {
        .percent = 95, .trials = 4, .cold = COLD, .begins_past = true};
    struct weft_spill spills[WEFT_SPILL_CLASSES] = {0};
    for (int i = 0; i < WEFT_SPILL_PERIOD; i++) {
        struct weft_spill_stretch stretch = weft_spill_begin(spills, BYTES, &begins);
        assert_int_equal(stretch.past, i < COLD || (i >= COLD + 4 && i < COLD + 8));
        assert_true(i >= COLD || !stretch.is_timed);
        stretch.ns = stretch.past ? near.past_ns : near.cached_ns;
        stretch.bytes = BYTES;
        weft_spill_end(&stretch);
    }
}

static void small_gains_are_none(void **state)
{
    (void)state;
    static const struct machine even = {100000, 90000}, better = {100000, 80000};
    struct weft_spill spills[WEFT_SPILL_CLASSES] = {0};
    assert_int_equal(go(spills, &even, WEFT_SPILL_PERIOD), 2);
    go(spills, &better, 10);
    assert_int_equal(go(spills, &better, 100), 100);
}

static void follows_a_machine_that_changes(void **state)
{
    (void)state;
    struct weft_spill spills[WEFT_SPILL_CLASSES] = {0};
    go(spills, &near, 50);
    go(spills, &far, 20); // seen without waiting for the next trial
    assert_int_equal(go(spills, &far, 20), 20);
    go(spills, &near, WEFT_SPILL_PERIOD);
    assert_int_equal(go(spills, &near, 20), 0);
}

// One stretch that something else disturbed says nothing.
static void one_slow_stretch_changes_nothing(void **state)
{
    (void)state;
    static const struct machine preempted = {50000000, 50000000};
    for (int when = 0; when < 40; when++) {
        struct weft_spill spills[WEFT_SPILL_CLASSES] = {0};
        go(spills, &near, when);
        go(spills, &preempted, 1);
        go(spills, &near, 10);
        assert_true(go(spills, &near, 100) <= 2);
    }
}

// However different what they have seen is, a trial is one of all ranks.
static void ranks_try_together(void **state)
{
    (void)state;
    struct weft_spill one[WEFT_SPILL_CLASSES] = {0}, other[WEFT_SPILL_CLASSES] = {0};
    int apart = 0, together = 0;
    for (int i = 0; i < 2 * WEFT_SPILL_PERIOD; i++) {
        int a = go(one, &near, 1), b = go(other, &far, 1);
        apart += a != b;
        together += a == b;
    }
    assert_true(apart > WEFT_SPILL_PERIOD);
    assert_true(together >= 8);
}

// A stretch that only some have begun leaves no trace.
static void what_is_undone_does_not_count(void **state)
{
    (void)state;
    struct weft_spill one[WEFT_SPILL_CLASSES] = {0}, other[WEFT_SPILL_CLASSES] = {0};
    for (int i = 0; i < WEFT_SPILL_PERIOD; i++) {
        struct weft_spill_stretch stretch = weft_spill_begin(other, BYTES, &rule);
        weft_spill_undo(&stretch);
        stretch = weft_spill_begin(other, WEFT_SPILL_LEAST_BYTES - 1, &rule);
        weft_spill_undo(&stretch);
        assert_int_equal(go(one, &far, 1), go(other, &far, 1));
    }
    assert_memory_equal(one, other, sizeof one);
}

static void sizes_are_apart_and_small_ones_left_alone(void **state)
{
    (void)state;
    struct weft_spill spills[WEFT_SPILL_CLASSES] = {0};
    for (int i = 0; i < 1000; i++) {
        struct weft_spill_stretch stretch =
            weft_spill_begin(spills, WEFT_SPILL_LEAST_BYTES - 1, &rule);
        assert_false(stretch.past);
        assert_null(stretch.spill);
    }
    go(spills, &far, 100);
    for (int i = 0; i < WEFT_SPILL_CLASSES; i++)
        assert_int_equal(spills[i].stretches,
                         (size_t)WEFT_SPILL_LEAST_BYTES << i == BYTES ? 100 : 0);
    struct weft_spill_stretch stretch = weft_spill_begin(spills, WEFT_SPILL_LEAST_BYTES, &rule);
    assert_false(stretch.past);
    assert_int_equal(spills[0].stretches, 1);
    stretch = weft_spill_begin(spills, SIZE_MAX, &rule);
    assert_int_equal(spills[WEFT_SPILL_CLASSES - 1].stretches, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_faster_way),
        cmocka_unit_test(begins_as_the_rule_says),
        cmocka_unit_test(small_gains_are_none),
        cmocka_unit_test(follows_a_machine_that_changes),
        cmocka_unit_test(one_slow_stretch_changes_nothing),
        cmocka_unit_test(ranks_try_together),
        cmocka_unit_test(what_is_undone_does_not_count),
        cmocka_unit_test(sizes_are_apart_and_small_ones_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
