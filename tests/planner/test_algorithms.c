/*
 * SPDX-License-Identifier: Apache-2.0
 * Contract test over the table of algorithms: for every collective an algorithm supports, every
 * number of ranks, root and aliasing, each rank's program passes the check, all ranks' lanes agree,
 * and writing it again gives the same program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/planner/choice.h"
#include "collectives/program/plan.h"
#include "tests/planner/layouts.h"
#include "tests/planner/requests.h"

static void require_ok(weft_status status, const struct weft_error *error,
                       const struct weft_algorithm *algorithm, const struct weft_key *key,
                       const char *what)
{
    if (status != WEFT_OK)
        fail_msg("%s %s of %d ranks, root %d, size class %d: %s: %s", algorithm->name,
                 weft_collective_names[key->collective], key->num_ranks, key->root, key->size_class,
                 what, error->text);
}

static void require_equal(const struct weft_program *a, const struct weft_program *b)
{
    assert_int_equal(a->num_steps, b->num_steps);
    assert_int_equal(a->num_refs, b->num_refs);
    assert_int_equal(a->num_dependencies, b->num_dependencies);
    assert_int_equal(a->num_labels, b->num_labels);
    assert_int_equal(a->num_scratch, b->num_scratch);
    for (uint32_t i = 0; i < a->num_steps; i++) {
        assert_int_equal(a->steps[i].num_cells, b->steps[i].num_cells);
        assert_int_equal(a->steps[i].first_ref, b->steps[i].first_ref);
        assert_int_equal(a->steps[i].num_dependencies, b->steps[i].num_dependencies);
    }
    for (uint32_t i = 0; i < a->num_refs; i++) {
        assert_int_equal(a->refs[i].space, b->refs[i].space);
        assert_int_equal(a->refs[i].index, b->refs[i].index);
        assert_int_equal(a->refs[i].stamp, b->refs[i].stamp);
    }
    for (uint32_t i = 0; i < a->num_labels; i++)
        assert_true(weft_label_equal(a->labels[i], b->labels[i]));
    for (uint32_t i = 0; i < weft_shape_output(&a->shape).cells; i++)
        assert_true(a->results[i] == b->results[i]);
}

// [first, end) splits at the largest power of two below its length.
static struct weft_label canonical(int first, int end)
{
    int half = 1;
    if (end - first == 1)
        return weft_label_leaf(first, 0);
    while (half * 2 < end - first)
        half *= 2;
    return weft_label_combine(canonical(first, first + half), canonical(first + half, end));
}

// The plan of one rank, written twice.
static struct weft_plan *make_plan(const struct weft_algorithm *algorithm,
                                   const struct weft_key *key, const struct weft_layout *layout,
                                   int rank, unsigned aliasing)
{
    struct weft_error error = {0};
    struct weft_program *program = NULL, *again = NULL;
    struct weft_plan *plan = NULL;
    require_ok(algorithm->emit(key, layout, rank, aliasing, &program, &error), &error, algorithm,
               key, "emit");
    require_ok(algorithm->emit(key, layout, rank, aliasing, &again, &error), &error, algorithm, key,
               "emit again");
    require_equal(program, again);
    weft_program_destroy(&again);
    require_ok(weft_plan_create(&program, &plan, &error), &error, algorithm, key, "check");
    return plan;
}

static void try_request(const struct weft_algorithm *algorithm, const struct weft_key *key,
                        const struct weft_layout *layout, unsigned aliasing)
{
    struct weft_error error = {0};
    struct weft_plan *plans[64] = {0};
    int num_plans = 0;
    for (int i = 0; i < key->num_ranks; i++) {
        struct request_end end = request_end(key, i);
        if (end.takes_part)
            plans[num_plans++] =
                make_plan(algorithm, &end.key, layout, i, request_aliasing(aliasing, i));
    }
    require_ok(weft_plans_agree(plans, num_plans, &error), &error, algorithm, key, "lanes");
    for (int i = 0; i < num_plans; i++)
        weft_plan_destroy(&plans[i]);
}

static void test_every_request_is_proved(void **state)
{
    (void)state;
    struct request_walk walk = {0};
    long num_requests = 0;
    for (int turn = 0; next_request(&walk); turn++) {
        if (WEFT_RUNS_SLOWLY && turn % 5)
            continue;
        struct weft_layout *layout = make_test_layout(walk.key.num_ranks, turn);
        for (int i = 0; weft_algorithms[i]; i++)
            if (!weft_algorithm_refusal(weft_algorithms[i], &walk.key, layout)) {
                try_request(weft_algorithms[i], &walk.key, layout, walk.aliasing);
                num_requests++;
            }
        weft_layout_destroy(&layout);
    }
    print_message("%ld requests\n", num_requests);
    assert_true(num_requests > 1000);
}

static void test_every_collective_has_an_algorithm(void **state)
{
    (void)state;
    const int sizes[] = {1, 2, 3, 17, 100, 16384};
    for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
        for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
            for (int order = WEFT_ORDER_FREE; order <= WEFT_ORDER_REPRODUCIBLE; order++) {
                struct weft_key key = {.collective = (weft_collective)c,
                                       .num_ranks = sizes[n],
                                       .element_bytes = 4,
                                       .size_class = 20,
                                       .order = (weft_order)order};
                bool is_found = false;
                struct weft_layout *layout = make_test_layout(sizes[n], 0);
                for (int i = 0; weft_algorithms[i]; i++)
                    is_found |= !weft_algorithms[i]->supports(&key, layout);
                weft_layout_destroy(&layout);
                if (!is_found)
                    fail_msg("nothing does %s of %d ranks, order %d", weft_collective_names[c],
                             key.num_ranks, order);
            }
}

// Reproducible: every output cell is the canonical tree over the ranks, whoever computes it.
static void test_reproducible_is_canonical(void **state)
{
    (void)state;
    struct request_walk walk = {0};
    long num_cells = 0;
    while (next_request(&walk)) {
        if (walk.key.order != WEFT_ORDER_REPRODUCIBLE || walk.key.num_ranks > 17)
            continue;
        struct weft_layout *layout = make_test_layout(walk.key.num_ranks, (int)(num_cells % 97));
        for (int i = 0; weft_algorithms[i]; i++)
            for (int r = 0; r < walk.key.num_ranks &&
                            !weft_algorithm_refusal(weft_algorithms[i], &walk.key, layout);
                 r++) {
                struct weft_error error = {0};
                struct weft_program *program = NULL;
                int num_leaves =
                    walk.key.num_leaves ? (int)walk.key.num_leaves : walk.key.num_ranks;
                require_ok(weft_algorithms[i]->emit(&walk.key, layout, r, WEFT_OUT_OF_PLACE,
                                                    &program, &error),
                           &error, weft_algorithms[i], &walk.key, "emit");
                uint64_t wanted = canonical(0, num_leaves).expression;
                for (uint32_t c = 0; c < weft_shape_output(&program->shape).cells; c++, num_cells++)
                    assert_true(program->results[c] == wanted);
                weft_program_destroy(&program);
            }
        weft_layout_destroy(&layout);
    }
    assert_true(num_cells > 1000);
}

static void test_one_rank_of_many(void **state)
{
    (void)state;
    const int ranks[] = {0, 1, 8191, 16383};
    struct weft_layout *layout = NULL;
    assert_int_equal(weft_layout_assumed(16384, 8, 32, &layout, NULL), WEFT_OK);
    for (int i = 0; weft_algorithms[i]; i++)
        for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++) {
            struct weft_key key = {.collective = (weft_collective)c,
                                   .num_ranks = 16384,
                                   .root = 7,
                                   .element_bytes = 4,
                                   .size_class = 26};
            if (!weft_collective_is_rooted(key.collective))
                key.root = 0;
            if (weft_algorithms[i]->supports(&key, layout))
                continue;
            for (size_t r = 0; r < sizeof ranks / sizeof *ranks; r++) {
                struct weft_error error = {0};
                struct weft_program *program = NULL;
                struct weft_plan *plan = NULL;
                require_ok(weft_algorithms[i]->emit(&key, layout, ranks[r], WEFT_OUT_OF_PLACE,
                                                    &program, &error),
                           &error, weft_algorithms[i], &key, "emit");
                require_ok(weft_plan_create(&program, &plan, &error), &error, weft_algorithms[i],
                           &key, "check");
                weft_plan_destroy(&plan);
            }
        }
    weft_layout_destroy(&layout);
}

static void test_self_message_is_refused(void **state)
{
    (void)state;
    struct weft_key key = {.collective = WEFT_SEND, .num_ranks = 2, .root = 1, .element_bytes = 4};
    struct weft_error error = {0};
    struct weft_program *program = NULL;
    const struct weft_algorithm *direct = weft_algorithm_find("direct");
    assert_non_null(direct);
    struct weft_layout *layout = make_test_layout(2, 0);
    assert_int_equal(direct->emit(&key, layout, 1, WEFT_OUT_OF_PLACE, &program, &error),
                     WEFT_UNSUPPORTED);
    weft_layout_destroy(&layout);
    assert_null(program);
    assert_non_null(strstr(error.text, "itself"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_request_is_proved),
        cmocka_unit_test(test_every_collective_has_an_algorithm),
        cmocka_unit_test(test_reproducible_is_canonical),
        cmocka_unit_test(test_one_rank_of_many),
        cmocka_unit_test(test_self_message_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
