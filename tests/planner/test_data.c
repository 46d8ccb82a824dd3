/*
 * SPDX-License-Identifier: Apache-2.0
 * Contract test over the table of algorithms, with data: what the programs compute is what the
 * collectives are defined to compute, in and out of place, for counts of 0, 1, odd and unequal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/planner/choice.h"
#include "tests/planner/layouts.h"
#include "tests/planner/requests.h"
#include "tests/planner/simulate.h"

static void emit_all(const struct weft_algorithm *algorithm, const struct request_walk *walk,
                     const struct weft_layout *layout, struct weft_program **programs,
                     enum weft_aliasing *aliasing, bool prefers_in)
{
    for (int r = 0; r < walk->key.num_ranks; r++) {
        struct weft_error error = {0};
        struct request_end end = request_end(&walk->key, r);
        unsigned meant = request_aliasing(walk->aliasing, r);
        enum weft_aliasing first = prefers_in ? WEFT_IN_PLACE : WEFT_OUT_OF_PLACE;
        aliasing[r] = meant & first ? first : (enum weft_aliasing)meant;
        if (end.takes_part &&
            algorithm->emit(&end.key, layout, r, meant, &programs[r], &error) != WEFT_OK)
            fail_msg("%s", error.text);
    }
}

static void try_request(const struct weft_algorithm *algorithm, const struct request_walk *walk,
                        const struct weft_layout *layout)
{
    const uint64_t counts[] = {0, 1, 7, 97};
    for (int in = 0; in <= (walk->aliasing == (WEFT_OUT_OF_PLACE | WEFT_IN_PLACE)); in++) {
        struct weft_program *programs[64] = {0};
        enum weft_aliasing aliasing[64] = {0};
        emit_all(algorithm, walk, layout, programs, aliasing, in);
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            const char *problem =
                simulate(programs, aliasing, walk->key.num_ranks, counts[c], 77 * c + 12345);
            if (problem)
                fail_msg("%s %s of %d ranks, root %d, aliasing %u, count %d: %s", algorithm->name,
                         weft_collective_names[walk->key.collective], walk->key.num_ranks,
                         walk->key.root, walk->aliasing, (int)counts[c], problem);
        }
        for (int r = 0; r < walk->key.num_ranks; r++)
            weft_program_destroy(&programs[r]);
    }
}

static void test_programs_compute_the_collective(void **state)
{
    (void)state;
    struct request_walk walk = {0};
    for (int turn = 0; next_request(&walk); turn++) {
        if (walk.key.num_ranks > 17 || (walk.key.num_ranks > 9 && walk.aliasing != mixed_aliasing &&
                                        walk.aliasing != WEFT_IN_PLACE))
            continue;
        struct weft_layout *layout = make_test_layout(walk.key.num_ranks, turn);
        for (int i = 0; weft_algorithms[i]; i++)
            if (!weft_algorithm_refusal(weft_algorithms[i], &walk.key, layout))
                try_request(weft_algorithms[i], &walk, layout);
        weft_layout_destroy(&layout);
    }
}

// The interpreter is no rubber stamp: a program without one of its steps is found out.
static void test_a_lost_step_is_found(void **state)
{
    (void)state;
    const struct weft_key key = {
        .collective = WEFT_ALL_REDUCE, .num_ranks = 4, .element_bytes = 4, .size_class = 20};
    const enum weft_aliasing aliasing[4] = {WEFT_OUT_OF_PLACE, WEFT_OUT_OF_PLACE, WEFT_OUT_OF_PLACE,
                                            WEFT_OUT_OF_PLACE};
    struct weft_layout *layout = make_test_layout(4, 1);
    for (int i = 0; weft_algorithms[i]; i++) {
        struct weft_program *programs[4] = {0};
        struct weft_error error = {0};
        if (weft_algorithms[i]->supports(&key, layout))
            continue;
        for (int r = 0; r < 4; r++)
            assert_int_equal(
                weft_algorithms[i]->emit(&key, layout, r, WEFT_OUT_OF_PLACE, &programs[r], &error),
                WEFT_OK);
        programs[2]->num_steps--;
        assert_non_null(simulate(programs, aliasing, 4, 8, 3));
        programs[2]->num_steps++;
        assert_null(simulate(programs, aliasing, 4, 8, 3));
        for (int r = 0; r < 4; r++)
            weft_program_destroy(&programs[r]);
    }
    weft_layout_destroy(&layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_programs_compute_the_collective),
        cmocka_unit_test(test_a_lost_step_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
