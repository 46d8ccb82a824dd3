/*
 * SPDX-License-Identifier: Apache-2.0
 * Layouts for tests: every program must be right on all of them.
 */
#ifndef WEFT_TESTS_PLANNER_LAYOUTS_H
#define WEFT_TESTS_PLANNER_LAYOUTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "collectives/planner/layout.h"

enum { NUM_TEST_LAYOUTS = 6 };

/* One group; pairs; threes, the last one uneven; pairs of pairs; fours of pairs; and pairs of ranks
 * that are far from one another. */
static inline struct weft_layout *make_test_layout(int num_ranks, int number)
{
    static const int groups[NUM_TEST_LAYOUTS - 1][2] = {{1, 1}, {2, 1}, {3, 1}, {2, 2}, {2, 4}};
    struct weft_layout *layout = NULL, *scattered = NULL;
    struct weft_error error = {0};
    int at = number % NUM_TEST_LAYOUTS, like = at < NUM_TEST_LAYOUTS - 1 ? at : 1;
    if (weft_layout_assumed(num_ranks, groups[like][0], groups[like][1], &layout, &error) !=
        WEFT_OK)
        fail_msg("layout: %s", error.text);
    if (at == like)
        return layout;
    int *ranks = test_malloc((size_t)num_ranks * sizeof *ranks);
    for (int i = 0; i < num_ranks; i++) // evens, then odds
        ranks[i] = i < (num_ranks + 1) / 2 ? 2 * i : 2 * (i - (num_ranks + 1) / 2) + 1;
    if (weft_layout_select(layout, ranks, num_ranks, &scattered, &error) != WEFT_OK)
        fail_msg("layout: %s", error.text);
    test_free(ranks);
    weft_layout_destroy(&layout);
    return scattered;
}

#endif
