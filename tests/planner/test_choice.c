/*
 * SPDX-License-Identifier: Apache-2.0
 * Prices, choice, forcing, decision tables, and what happens when a chosen program is wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "collectives/planner/choice.h"
#include "collectives/planner/costs.h"
#include "collectives/planner/decisions.h"
#include "tests/planner/layouts.h"

static struct weft_key make_key(weft_collective collective, int num_ranks, int size_class)
{
    return (struct weft_key){.collective = collective,
                             .num_ranks = num_ranks,
                             .element_bytes = 4,
                             .size_class = size_class};
}

static void test_estimates_are_positive_and_monotone(void **state)
{
    (void)state;
    const int ranks[] = {1, 2, 3, 4, 5, 8, 17, 64, 1000, 16384};
    for (int i = 0; weft_algorithms[i]; i++)
        for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
            for (size_t n = 0; n < sizeof ranks / sizeof *ranks; n++)
                for (int kind = 0; kind < 3; kind++) {
                    struct weft_costs costs = weft_costs_assumed(ranks[n], kind == 1 ? 2 : 0);
                    struct weft_layout *layout = NULL;
                    struct weft_key key = make_key((weft_collective)c, ranks[n], -1);
                    int64_t last = 0;
                    if (kind == 2)
                        layout = make_test_layout(ranks[n], 4);
                    else
                        assert_int_equal(weft_layout_create(ranks[n], &costs, NULL, &layout, NULL),
                                         WEFT_OK);
                    for (; !weft_algorithms[i]->supports(&key, layout) && key.size_class <= 33;
                         key.size_class++) {
                        int64_t price = weft_algorithms[i]->estimate(&key, layout);
                        assert_true(price > 0 && price <= INT64_MAX / 4);
                        if (price < last)
                            fail_msg("%s %s of %d ranks: %lld ps at class %d, %lld ps one below",
                                     weft_algorithms[i]->name, weft_collective_names[c], ranks[n],
                                     (long long)price, key.size_class, (long long)last);
                        last = price;
                    }
                    weft_layout_destroy(&layout);
                }
}

static void test_choice_is_sorted_and_deterministic(void **state)
{
    (void)state;
    struct weft_layout *layout = make_test_layout(8, 3);
    for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
        for (int size_class = -1; size_class < 34; size_class++) {
            struct weft_error error = {0};
            struct weft_choice choice, again;
            struct weft_key key = make_key((weft_collective)c, 8, size_class);
            memset(&again, 0xff, sizeof again);
            assert_int_equal(weft_choice_make(&key, layout, &choice, &error), WEFT_OK);
            assert_int_equal(weft_choice_make(&key, layout, &again, &error), WEFT_OK);
            assert_int_equal(choice.num_usable, again.num_usable);
            for (int i = 0; i < choice.num_candidates; i++) {
                const struct weft_candidate *candidate = &choice.candidates[i];
                assert_ptr_equal(candidate->algorithm, again.candidates[i].algorithm);
                assert_int_equal(i < choice.num_usable, candidate->reason == NULL);
                if (i > 0 && i < choice.num_usable)
                    assert_true(candidate[-1].estimate_ps <= candidate->estimate_ps);
                if (!candidate->reason)
                    assert_true(candidate->latency_ps <= candidate->estimate_ps);
            }
        }
    weft_layout_destroy(&layout);
}

// With all prices 0 every estimate is the same: the order of the table decides.
static void test_ties_go_to_the_table(void **state)
{
    (void)state;
    const struct weft_costs free_of_charge = {
        .num_levels = 1, .levels[0].message.num_lines = 1, .flat_ps = -1, .sharing = 1};
    struct weft_layout *layout = NULL;
    const struct weft_key key = make_key(WEFT_ALL_REDUCE, 4, 20);
    struct weft_choice choice;
    assert_int_equal(weft_layout_create(4, &free_of_charge, NULL, &layout, NULL), WEFT_OK);
    assert_int_equal(weft_choice_make(&key, layout, &choice, NULL), WEFT_OK);
    for (int i = 0, at = 0; i < choice.num_usable; i++, at++) {
        while (weft_algorithm_refusal(weft_algorithms[at], &key, layout))
            at++;
        assert_ptr_equal(choice.candidates[i].algorithm, weft_algorithms[at]);
    }
    weft_layout_destroy(&layout);
}

static void test_bad_input_is_refused(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_choice choice;
    const struct weft_costs good = weft_costs_assumed(4, 4);
    struct weft_costs bad = good;
    struct weft_key key = make_key(WEFT_BROADCAST, 4, 20);
    struct weft_layout *layout = make_test_layout(4, 0), *none = NULL;
    bad.levels[0].message.lines[0].fixed_ps = -1;
    assert_int_equal(weft_layout_create(4, &bad, NULL, &none, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "fixed_ps"));
    bad = good;
    bad.sharing = 0;
    assert_int_equal(weft_layout_create(4, &bad, NULL, &none, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_layout_create(0, &good, NULL, &none, &error), WEFT_INVALID_ARGUMENT);
    assert_null(none);
    key.num_ranks = 5;
    assert_int_equal(weft_choice_make(&key, layout, &choice, &error), WEFT_INVALID_ARGUMENT);
    key.num_ranks = 4;
    key.root = 4;
    assert_int_equal(weft_choice_make(&key, layout, &choice, &error), WEFT_INVALID_ARGUMENT);
    key.root = 0, key.num_ranks = 0;
    assert_int_equal(weft_choice_make(&key, layout, &choice, &error), WEFT_INVALID_ARGUMENT);
    key.num_ranks = 4, key.size_class = 63;
    assert_int_equal(weft_choice_make(&key, layout, &choice, &error), WEFT_INVALID_ARGUMENT);
    key.size_class = 20, key.order = (weft_order)7;
    assert_int_equal(weft_choice_make(&key, layout, &choice, &error), WEFT_INVALID_ARGUMENT);
    weft_layout_destroy(&layout);
}

static void test_routes_set_prices(void **state)
{
    (void)state;
    struct weft_level_costs level = weft_costs_assumed(4, 4).levels[0];
    const struct weft_level_costs before = level;
    weft_level_use_route(&level, -1, 0);
    assert_memory_equal(&level, &before, sizeof level);
    weft_level_use_route(&level, 700, INT64_C(1048576) * 1000 * 1000);
    assert_int_equal(level.message.lines[0].fixed_ps, 700);
    assert_int_equal(level.message.lines[0].ps_per_mib, 1000000);
    assert_int_equal(level.crowd_ps_per_mib, 1000000);
    weft_level_use_route(&level, 0, INT64_MAX);
    assert_int_equal(level.message.lines[0].ps_per_mib, 1);
}

static void test_forcing(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_forced forced;
    assert_int_equal(weft_forced_parse("", &forced, &error), WEFT_OK);
    for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
        assert_null(forced.algorithms[c]);
    assert_int_equal(weft_forced_parse("ring", &forced, &error), WEFT_OK);
    assert_string_equal(forced.algorithms[WEFT_ALL_REDUCE]->name, "ring");
    assert_null(forced.algorithms[WEFT_BARRIER]);
    assert_int_equal(weft_forced_parse("all_reduce:tree,broadcast:ring", &forced, &error), WEFT_OK);
    assert_string_equal(forced.algorithms[WEFT_ALL_REDUCE]->name, "tree");
    assert_string_equal(forced.algorithms[WEFT_BROADCAST]->name, "ring");
    assert_null(forced.algorithms[WEFT_REDUCE]);
    const char *const wrong[] = {"rung",  "all_reduce:rung", "all_to_all:ring", "allreduce:ring",
                                 "ring,", ",ring",           "all_reduce:"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        error.text[0] = 0;
        assert_int_not_equal(weft_forced_parse(wrong[i], &forced, &error), WEFT_OK);
        assert_true(error.text[0]);
        assert_string_equal(forced.algorithms[WEFT_ALL_REDUCE]->name, "tree"); // untouched
    }
    const struct weft_key key = make_key(WEFT_ALL_TO_ALL, 4, 20);
    const struct weft_algorithm *algorithm = NULL;
    assert_int_equal(weft_algorithm_require("ring", &key, NULL, &algorithm, &error),
                     WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "direct")); // what is possible
    assert_null(algorithm);
}

// With a layout that the caller destroys.
static struct weft_plan_request make_request(weft_collective collective,
                                             struct weft_layout **layout)
{
    *layout = make_test_layout(4, 0);
    return (struct weft_plan_request){.key = make_key(collective, 4, 20),
                                      .rank = 2,
                                      .aliasing = WEFT_OUT_OF_PLACE,
                                      .layout = *layout};
}

static void test_plans_come_from_the_choice(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_plan *plan = NULL;
    const struct weft_algorithm *algorithm = NULL;
    struct weft_choice choice;
    struct weft_layout *layout;
    struct weft_plan_request request = make_request(WEFT_ALL_REDUCE, &layout);
    assert_int_equal(weft_choice_make(&request.key, layout, &choice, &error), WEFT_OK);
    assert_int_equal(weft_plan_make(&request, &plan, &algorithm, &error), WEFT_OK);
    assert_ptr_equal(algorithm, choice.candidates[0].algorithm);
    assert_string_equal(weft_plan_program(plan)->algorithm, algorithm->name);
    weft_plan_destroy(&plan);

    request.algorithm = "tree";
    assert_int_equal(weft_plan_make(&request, &plan, &algorithm, &error), WEFT_OK);
    assert_string_equal(algorithm->name, "tree");
    weft_plan_destroy(&plan);

    request.algorithm = "nonsense";
    assert_int_equal(weft_plan_make(&request, &plan, &algorithm, &error), WEFT_INVALID_ARGUMENT);
    request.algorithm = NULL;
    request.rank = 4;
    assert_int_equal(weft_plan_make(&request, &plan, &algorithm, &error), WEFT_INVALID_ARGUMENT);
    assert_null(plan);
    weft_layout_destroy(&layout);
}

// A decision wins over local prices, which is what keeps ranks together.
static void test_decisions_overrule_costs(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_decisions decisions;
    struct weft_plan *plan = NULL;
    const struct weft_algorithm *chosen = NULL, *other = NULL;
    struct weft_layout *layout;
    struct weft_plan_request request = make_request(WEFT_ALL_REDUCE, &layout);
    assert_int_equal(weft_decisions_make(layout, &decisions, &error), WEFT_OK);
    chosen = weft_decisions_algorithm(&decisions, &request.key);
    for (int i = 0; weft_algorithms[i]; i++)
        if (weft_algorithms[i] != chosen &&
            !weft_algorithm_refusal(weft_algorithms[i], &request.key, layout))
            other = weft_algorithms[i], decisions.algorithms[0][WEFT_ALL_REDUCE][21] = (uint8_t)i;
    assert_non_null(other);
    request.decisions = &decisions;
    assert_int_equal(weft_plan_make(&request, &plan, &chosen, &error), WEFT_OK);
    assert_ptr_equal(chosen, other);
    weft_plan_destroy(&plan);
    weft_layout_destroy(&layout);
}

static void test_decisions_on_the_wire(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_layout *layout = make_test_layout(6, 1);
    struct weft_decisions decisions, read;
    unsigned char bytes[WEFT_DECISIONS_BYTES];
    assert_int_equal(weft_decisions_make(layout, &decisions, &error), WEFT_OK);
    weft_decisions_write(&decisions, bytes);
    assert_int_equal(weft_decisions_read(bytes, sizeof bytes, layout, &read, &error), WEFT_OK);
    assert_memory_equal(&read, &decisions, sizeof read);
    assert_true(weft_decisions_hash(&read) == weft_decisions_hash(&decisions));
    assert_int_equal(weft_decisions_read(bytes, sizeof bytes - 1, layout, &read, &error),
                     WEFT_INVALID_FORMAT);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 1;
        assert_int_equal(weft_decisions_read(bytes, sizeof bytes, layout, &read, &error),
                         WEFT_INVALID_FORMAT);
        bytes[i] ^= 1;
    }
    // A well-formed table with an impossible choice, and with one beyond the list.
    decisions.algorithms[0][WEFT_ALL_TO_ALL_V][5] = decisions.algorithms[0][WEFT_ALL_REDUCE][40];
    while (!weft_algorithm_refusal(
        weft_algorithms[decisions.algorithms[0][WEFT_ALL_TO_ALL_V][5]],
        &(struct weft_key){
            .collective = WEFT_ALL_TO_ALL_V, .num_ranks = 6, .element_bytes = 1, .size_class = 4},
        layout))
        decisions.algorithms[0][WEFT_ALL_TO_ALL_V][5]++;
    weft_decisions_write(&decisions, bytes);
    assert_int_equal(weft_decisions_read(bytes, sizeof bytes, layout, &read, &error),
                     WEFT_INVALID_FORMAT);
    assert_non_null(strstr(error.text, "all_to_all_v"));
    decisions.algorithms[0][WEFT_ALL_TO_ALL_V][5] = 200;
    weft_decisions_write(&decisions, bytes);
    assert_int_equal(weft_decisions_read(bytes, sizeof bytes, layout, &read, &error),
                     WEFT_INVALID_FORMAT);
    weft_layout_destroy(&layout);
}

// An algorithm with a bug: it forgets its last step.
static weft_status emit_wrong(const struct weft_key *key, const struct weft_layout *layout,
                              int rank, unsigned aliasing, struct weft_program **program,
                              struct weft_error *error)
{
    WEFT_TRY(weft_algorithm_find("ring")->emit(key, layout, rank, aliasing, program, error));
    (*program)->num_steps--;
    return WEFT_OK;
}

static void test_a_wrong_program_is_not_used(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_plan *plan = NULL;
    const struct weft_algorithm *algorithm = NULL;
    struct weft_algorithm wrong = *weft_algorithm_find("ring");
    struct weft_layout *layout;
    const struct weft_plan_request request = make_request(WEFT_ALL_REDUCE, &layout);
    struct weft_choice choice;
    wrong.emit = emit_wrong;
    assert_int_equal(weft_choice_make(&request.key, layout, &choice, &error), WEFT_OK);
    const struct weft_algorithm *second = choice.candidates[1].algorithm;
    choice.candidates[0].algorithm = &wrong;
    weft_log_set_level(WEFT_LOG_NONE);
    assert_int_equal(
        weft_plan_from_choice(&choice, 2, WEFT_OUT_OF_PLACE, &plan, &algorithm, &error), WEFT_OK);
    assert_ptr_equal(algorithm, second);
    weft_plan_destroy(&plan);
    choice.num_usable = 1;
    assert_int_equal(
        weft_plan_from_choice(&choice, 2, WEFT_OUT_OF_PLACE, &plan, &algorithm, &error),
        WEFT_UNPROVED);
    assert_null(plan);
    assert_non_null(strstr(error.text, "exactly once"));
    weft_log_set_level(WEFT_LOG_WARN);
    weft_layout_destroy(&layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_estimates_are_positive_and_monotone),
        cmocka_unit_test(test_choice_is_sorted_and_deterministic),
        cmocka_unit_test(test_ties_go_to_the_table),
        cmocka_unit_test(test_bad_input_is_refused),
        cmocka_unit_test(test_routes_set_prices),
        cmocka_unit_test(test_forcing),
        cmocka_unit_test(test_plans_come_from_the_choice),
        cmocka_unit_test(test_decisions_overrule_costs),
        cmocka_unit_test(test_decisions_on_the_wire),
        cmocka_unit_test(test_a_wrong_program_is_not_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
