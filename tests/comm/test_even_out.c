/*
 * SPDX-License-Identifier: Apache-2.0
 * Where ranks go that are too many on a core: the choice alone, which depends on nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collectives/comm/even_out.h"

static void expect(const int *cores, int num_ranks, uint64_t mask, const int *wanted)
{
    const uint64_t allowed[WEFT_CORE_WORDS] = {mask};
    for (int rank = 0; rank < num_ranks; rank++)
        assert_int_equal(weft_even_out_choose(cores, num_ranks, rank, allowed), wanted[rank]);
}

static void test_even_stays(void **state)
{
    (void)state;
    expect((const int[]){0, 1, 1, 0}, 4, 3, (const int[]){-1, -1, -1, -1});
    expect((const int[]){0, 1, 1, 0, 0}, 5, 3, (const int[]){-1, -1, -1, -1, -1});
}

static void test_last_ones_move(void **state)
{
    (void)state;
    expect((const int[]){1, 0, 1, 1}, 4, 3, (const int[]){-1, -1, -1, 0});
    expect((const int[]){0, 0, 0, 0}, 4, 3, (const int[]){-1, -1, 1, 1});
}

// Three movers, two free places on one core and one on another; the mask has holes.
static void test_each_finds_another_place(void **state)
{
    (void)state;
    expect((const int[]){9, 9, 9, 9, 9, 5}, 6, 1 << 9 | 1 << 5 | 1 << 2,
           (const int[]){-1, -1, 2, 2, 5, -1});
}

static void test_unknown_and_bound(void **state)
{
    (void)state;
    expect((const int[]){-1, 0, 0, 0}, 4, 3, (const int[]){-1, -1, -1, 1});
    // bound to one core: all of them belong there
    expect((const int[]){0, 0, 0, 0}, 4, 1, (const int[]){-1, -1, -1, -1});
    expect((const int[]){0, 0}, 2, 0, (const int[]){-1, -1});
    expect((const int[]){5000, 0, 0}, 3, 3, (const int[]){-1, -1, -1});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_even_stays),
        cmocka_unit_test(test_last_ones_move),
        cmocka_unit_test(test_each_finds_another_place),
        cmocka_unit_test(test_unknown_and_bound),
    };
    return cmocka_run_group_tests_name("even_out", tests, NULL, NULL);
}
