/*
 * SPDX-License-Identifier: Apache-2.0
 * Layouts for tests: every program must be right on all of them.
 */
#ifndef WEFT_TESTS_PLANNER_LAYOUTS_H
#define WEFT_TESTS_PLANNER_LAYOUTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "collectives/planner/layout.h"
#include "topology/network.h"

enum { NUM_TEST_LAYOUTS = 6 };

/* Gives a layout a network: every rank at a switch, and odd ranks half as wide. Its forests are
 * worked out as they are for any fabric. */
static inline void attach_star(struct weft_layout *layout)
{
    int n = layout->num_ranks;
    struct weft_network *star = calloc(1, sizeof *star);
    assert_non_null(star);
    star->num_terminals = n;
    star->num_vertices = n + 1;
    star->arcs = calloc(2 * (size_t)n, sizeof *star->arcs);
    star->first = calloc((size_t)n + 2, sizeof *star->first);
    star->node = calloc((size_t)n + 1, sizeof *star->node);
    star->num_merged = calloc((size_t)n + 1, sizeof *star->num_merged);
    for (int i = 0; i < n; i++) {
        int64_t capacity = i % 2 ? 5000000000 : 10000000000;
        star->arcs[i] = (struct weft_arc){.from = i, .to = n, .capacity = capacity, .link = -1};
        star->arcs[n + i] = (struct weft_arc){.from = n, .to = i, .capacity = capacity, .link = -1};
        star->first[i + 1] = i + 1;
    }
    star->num_arcs = star->first[n + 1] = 2 * n;
    layout->network = star;
}

/* One group, whose links are known; pairs; threes, the last one uneven; pairs of pairs; fours of
 * pairs; and pairs of ranks that are far from one another. */
static inline struct weft_layout *make_test_layout(int num_ranks, int number)
{
    static const int groups[NUM_TEST_LAYOUTS - 1][2] = {{1, 1}, {2, 1}, {3, 1}, {2, 2}, {2, 4}};
    struct weft_layout *layout = NULL, *scattered = NULL;
    struct weft_error error = {0};
    int at = number % NUM_TEST_LAYOUTS, like = at < NUM_TEST_LAYOUTS - 1 ? at : 1;
    if (weft_layout_assumed(num_ranks, groups[like][0], groups[like][1], &layout, &error) !=
        WEFT_OK)
        fail_msg("layout: %s", error.text);
    if (at == 0 && num_ranks > 1 && num_ranks <= 33)
        attach_star(layout);
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
