/*
 * SPDX-License-Identifier: Apache-2.0
 * hierarchical on random layouts: groups within groups, of unequal sizes, ranks scattered. Every
 * program is proved by the check and the oracle and computes the collective, in and out of place.
 */
#include <string.h>

#include "base/dtype.h"
#include "tests/planner/random_layouts.h"
#include "tests/planner/requests.h"
#include "tests/planner/try_program.h"

enum { NUM_LAYOUTS = WEFT_RUNS_SLOWLY ? 60 : 210 }; // of more than one group

static void test_random_layouts(void **state)
{
    (void)state;
    const struct weft_algorithm *hierarchical = weft_algorithm_find("hierarchical");
    static const int classes[] = {-1, 3, 14, 22, 30};
    static const unsigned aliasings[] = {WEFT_OUT_OF_PLACE, WEFT_IN_PLACE, mixed_aliasing,
                                         WEFT_OUT_OF_PLACE | WEFT_IN_PLACE};
    uint64_t random = 11, num_steps = 0;
    int num_requests = 0, num_layouts = 0;
    for (int turn = 0; num_layouts < NUM_LAYOUTS; turn++) {
        int n = 1 + turn % RANDOM_RANKS_LIMIT;
        struct weft_layout *layout = random_layout(&random, n);
        num_layouts += layout->costs.num_levels > 1;
        for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++) {
            struct weft_key key = {.collective = (weft_collective)c,
                                   .num_ranks = n,
                                   .element_bytes = 4,
                                   .size_class = classes[(turn + c) % 5]};
            if (n > 8 && key.size_class > 10) // many chunks: many steps for the oracle
                key.size_class = n > 20 ? 10 : 14;
            if (weft_collective_is_rooted(key.collective))
                key.root = (int)(next_random(&random) % (unsigned)n);
            if (hierarchical->supports(&key, layout))
                continue;
            num_requests++;
            num_steps += try_program(hierarchical, &key, layout, aliasings[(turn / 5 + c) % 4],
                                     next_random(&random));
        }
        weft_layout_destroy(&layout);
    }
    print_message("%d layouts, %d requests, %llu steps\n", num_layouts, num_requests,
                  (unsigned long long)num_steps);
    assert_true(num_requests >= NUM_LAYOUTS);
}

static void require_refused(const struct weft_key *key, const struct weft_layout *layout,
                            const char *part)
{
    const char *reason = weft_algorithm_find("hierarchical")->supports(key, layout);
    assert_non_null(reason);
    if (!strstr(reason, part))
        fail_msg("refused, but: %s", reason);
}

static void test_what_it_refuses(void **state)
{
    (void)state;
    struct weft_layout *flat = NULL, *groups = NULL;
    struct weft_key key = {.collective = WEFT_ALL_REDUCE, .num_ranks = 8, .element_bytes = 4};
    assert_int_equal(weft_layout_assumed(8, 1, 1, &flat, NULL), WEFT_OK);
    assert_int_equal(weft_layout_assumed(8, 2, 1, &groups, NULL), WEFT_OK);
    assert_null(weft_algorithm_find("hierarchical")->supports(&key, groups));
    require_refused(&key, flat, "one group");
    key.order = WEFT_ORDER_REPRODUCIBLE;
    require_refused(&key, groups, "group by group");
    require_refused(&key, NULL, "group by group");
    key.order = WEFT_ORDER_FREE, key.collective = WEFT_BARRIER;
    require_refused(&key, groups, "only");
    weft_layout_destroy(&flat);
    weft_layout_destroy(&groups);
}

// One group of half the ranks, the others alone: shares times groups would be too many.
static void test_sizes_far_apart_are_refused(void **state)
{
    (void)state;
    enum { ranks = 16384 };
    struct weft_costs costs = weft_costs_assumed(ranks, ranks);
    struct weft_layout *layout = NULL;
    struct weft_key key = {.collective = WEFT_ALL_REDUCE, .num_ranks = ranks, .element_bytes = 4};
    int *names = test_calloc(ranks, sizeof *names);
    const int *const group_of[] = {names};
    costs.num_levels = 2;
    costs.levels[1] = costs.levels[0];
    for (int r = ranks / 2; r < ranks; r++)
        names[r] = r;
    assert_int_equal(weft_layout_create(ranks, &costs, group_of, &layout, NULL), WEFT_OK);
    require_refused(&key, layout, "differ too much");
    weft_layout_destroy(&layout);
    test_free(names);
}

static int64_t num_sent(const struct weft_algorithm *algorithm, const struct weft_key *key,
                        const struct weft_layout *layout, int rank, bool is_far)
{
    struct weft_program *program = NULL;
    struct weft_error error = {0};
    int64_t cells = 0;
    if (algorithm->emit(key, layout, rank, WEFT_OUT_OF_PLACE, &program, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    for (uint32_t i = 0; i < program->num_steps; i++)
        for (int d = 0; d < program->steps[i].num_destinations; d++) {
            const struct weft_ref *to = weft_step_destination(program, &program->steps[i], d);
            if (to->space == WEFT_LANE &&
                (weft_layout_level(layout, rank, (int)to->index) > 0) == is_far)
                cells += program->steps[i].num_cells;
        }
    cells = cells * 1000 / program->shape.pieces;
    weft_program_destroy(&program);
    return cells;
}

// The point of it all: of 4 groups of 8, a rank sends 2 * 7/8 of the vector inside, and 2 * 3/4 of
// an eighth across.
static void test_only_a_share_crosses(void **state)
{
    (void)state;
    struct weft_layout *layout = NULL;
    const struct weft_algorithm *hierarchical = weft_algorithm_find("hierarchical");
    assert_int_equal(weft_layout_assumed(32, 8, 1, &layout, NULL), WEFT_OK);
    for (int size_class = 3; size_class < 33; size_class += 9)
        for (int rank = 0; rank < 32; rank += 5) {
            struct weft_key key = {.collective = WEFT_ALL_REDUCE,
                                   .num_ranks = 32,
                                   .element_bytes = 4,
                                   .size_class = size_class};
            assert_int_equal(num_sent(hierarchical, &key, layout, rank, false), 1750);
            assert_int_equal(num_sent(hierarchical, &key, layout, rank, true), 187);
        }
    weft_layout_destroy(&layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_layouts),
        cmocka_unit_test(test_what_it_refuses),
        cmocka_unit_test(test_sizes_far_apart_are_refused),
        cmocka_unit_test(test_only_a_share_crosses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
