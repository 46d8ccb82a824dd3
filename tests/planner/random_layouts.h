/*
 * SPDX-License-Identifier: Apache-2.0
 * Random layouts: two or three levels, groups of any sizes, ranks in any order.
 */
#ifndef WEFT_TESTS_PLANNER_RANDOM_LAYOUTS_H
#define WEFT_TESTS_PLANNER_RANDOM_LAYOUTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collectives/planner/costs.h"

enum { RANDOM_RANKS_LIMIT = 33 };

static inline unsigned next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(*state >> 33);
}

static inline void shuffle(uint64_t *random, int *values, int count)
{
    for (int i = count - 1; i > 0; i--) {
        int j = (int)(next_random(random) % (unsigned)(i + 1)), kept = values[i];
        values[i] = values[j];
        values[j] = kept;
    }
}

/* `of[i]`: group of each of `count` things; equal sizes or any. Returns the number of groups. */
static inline int random_groups(uint64_t *random, int *of, int count)
{
    int most = 1 + (int)(next_random(random) % 9), groups = 0;
    bool is_even = next_random(random) % 2;
    for (int i = 0; i < count; groups++) {
        int size = is_even ? most : 1 + (int)(next_random(random) % (unsigned)most);
        for (int k = 0; k < size && i < count; k++)
            of[i++] = groups;
    }
    return groups;
}

/* Prices differ too: of a processor that moves the bytes itself, or of machines that need none. */
static inline struct weft_layout *random_layout(uint64_t *random, int num_ranks)
{
    int of[RANDOM_RANKS_LIMIT], names[2][RANDOM_RANKS_LIMIT], above[RANDOM_RANKS_LIMIT];
    int order[RANDOM_RANKS_LIMIT];
    struct weft_costs costs = weft_costs_assumed(num_ranks, num_ranks);
    costs.num_levels = 2 + (int)(next_random(random) % 2);
    for (int l = 0; l < costs.num_levels; l++)
        weft_level_use_route(&costs.levels[l], 1000000 << l, INT64_C(40000000000) >> 2 * l);
    if (next_random(random) % 2) {
        costs.step_ps = 0;
        costs.overlaps = 1;
    }
    for (int i = 0; i < num_ranks; i++)
        order[i] = i;
    if (next_random(random) % 4)
        shuffle(random, order, num_ranks);
    int groups = random_groups(random, of, num_ranks);
    random_groups(random, above, groups);
    for (int i = 0; i < num_ranks; i++) {
        names[0][order[i]] = of[i];
        names[1][order[i]] = above[of[i]];
    }
    const int *const group_of[] = {names[0], names[1]};
    struct weft_layout *layout = NULL;
    struct weft_error error = {0};
    if (weft_layout_create(num_ranks, &costs, group_of, &layout, &error) != WEFT_OK)
        fail_msg("layout: %s", error.text);
    return layout;
}

#endif
