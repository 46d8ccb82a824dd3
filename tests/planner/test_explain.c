/*
 * SPDX-License-Identifier: Apache-2.0
 * Prices from topologies, and explanations of choices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collectives/planner/explain.h"
#include "topology/synthetic.h"

static struct weft_costs costs_of(const char *synthetic, int num_ranks,
                                  struct weft_cost_origin *origin)
{
    struct weft_error error = {0};
    struct weft_topology *topology = NULL;
    struct weft_costs costs = {0};
    if (weft_topology_from_synthetic(synthetic, &topology, &error) != WEFT_OK ||
        weft_costs_from_topology(topology, num_ranks, &costs, origin, &error) != WEFT_OK)
        fail_msg("%s: %s", synthetic, error.text);
    weft_topology_destroy(&topology);
    return costs;
}

static const char *winner(const struct weft_costs *costs, int num_ranks, int size_class)
{
    const struct weft_key key = {.collective = WEFT_ALL_REDUCE,
                                 .num_ranks = num_ranks,
                                 .element_bytes = 4,
                                 .size_class = size_class};
    struct weft_choice choice;
    assert_int_equal(weft_choice_make(&key, costs, &choice, NULL), WEFT_OK);
    return choice.candidates[0].algorithm->name;
}

static void test_one_host(void **state)
{
    (void)state;
    struct weft_cost_origin origin;
    struct weft_costs costs = costs_of("host:1 core:4@10", 4, &origin);
    assert_int_equal(costs.sharing, 1);
    assert_int_equal(costs.crossing, 1);
    assert_int_equal(origin.num_hosts, 1);
    assert_int_equal(origin.num_places, 4);
    // 10 GB/s, in and out of a buffer: 1024 bytes in 204.8 ns.
    assert_true(costs.transfer_ps_per_kib == 204800);
    assert_string_equal(winner(&costs, 4, 6), "flat");
    costs = costs_of("host:1 core:4@10", 9, &origin);
    assert_int_equal(costs.sharing, 3);
    struct weft_costs faster = costs_of("host:1 core:4@40", 9, &origin);
    assert_true(faster.transfer_ps_per_kib * 4 == costs.transfer_ps_per_kib);
}

static void test_many_hosts(void **state)
{
    (void)state;
    struct weft_cost_origin origin;
    struct weft_costs costs = costs_of("host:4 nvswitch:1@200 gpu:8@200 nic:2@100", 32, &origin);
    assert_int_equal(origin.num_hosts, 4);
    assert_int_equal(origin.num_places, 32);
    assert_int_equal(origin.place_kind, WEFT_NODE_GPU);
    assert_int_equal(costs.crossing, 4); // 8 ranks, 2 NICs
    assert_int_equal(costs.flat_ps, -1);
    // 100 Gbit/s is 12.5 GB/s, if nothing on the way is narrower.
    assert_true(costs.transfer_ps_per_kib >= 81920);
    // Where many ranks share the way out of a host, only neighbours on a ring do not queue up.
    assert_string_equal(winner(&costs, 32, 30), "ring");
    assert_string_not_equal(winner(&costs, 32, 8), "ring");
    costs = costs_of("host:1 nvswitch:1@200 gpu:8@200 nic:2@100", 8, &origin);
    assert_int_equal(costs.crossing, 1);
}

static void test_impossible_places(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_topology *topology = NULL;
    struct weft_costs costs;
    struct weft_cost_origin origin;
    assert_int_equal(weft_topology_from_synthetic("host:2 core:2", &topology, &error), WEFT_OK);
    assert_int_equal(weft_costs_from_topology(topology, 4, &costs, &origin, &error),
                     WEFT_NOT_FOUND); // no network
    assert_non_null(strstr(error.text, "no way"));
    assert_int_equal(weft_costs_from_topology(topology, 2, &costs, &origin, &error), WEFT_OK);
    assert_int_equal(weft_costs_from_topology(topology, 0, &costs, &origin, &error),
                     WEFT_INVALID_ARGUMENT);
    weft_topology_destroy(&topology);
}

static struct weft_explanation make_explanation(struct weft_program_facts *facts, int num_ranks)
{
    struct weft_explanation explanation = {.bytes = 1 << 20, .programs = facts};
    struct weft_error error = {0};
    struct weft_plan_request request = {.key = {.collective = WEFT_ALL_REDUCE,
                                                .num_ranks = num_ranks,
                                                .element_bytes = 4,
                                                .size_class = 20},
                                        .aliasing = WEFT_OUT_OF_PLACE,
                                        .algorithm = "ring"};
    request.costs = costs_of("host:1 core:8", num_ranks, &explanation.origin);
    assert_int_equal(weft_choice_make(&request.key, &request.costs, &explanation.choice, &error),
                     WEFT_OK);
    for (int r = 0; r < num_ranks; r++) {
        struct weft_plan *plan = NULL;
        request.rank = r;
        assert_int_equal(weft_plan_make(&request, &plan, &explanation.chosen, &error), WEFT_OK);
        facts[explanation.num_programs++] = weft_program_facts(plan, explanation.bytes);
        weft_plan_destroy(&plan);
    }
    explanation.is_forced = true;
    return explanation;
}

// What a ring is known to do.
static void test_program_facts(void **state)
{
    (void)state;
    struct weft_program_facts facts[5];
    make_explanation(facts, 5);
    int64_t sent = 0;
    for (int r = 0; r < 5; r++) {
        assert_int_equal(facts[r].num_sends, 8);
        assert_int_equal(facts[r].num_receives, 8);
        assert_int_equal(facts[r].num_steps, 16);
        assert_int_equal(facts[r].num_rounds, 8);
        assert_int_equal(facts[r].num_peers, 2);
        assert_int_equal(facts[r].scratch_bytes, 0);
        sent += facts[r].bytes_sent;
    }
    assert_int_equal(sent, 8 << 20); // every piece over every link but one, twice
}

static void test_text_and_json_tell_the_same(void **state)
{
    (void)state;
    struct weft_program_facts facts[4];
    struct weft_explanation explanation = make_explanation(facts, 4);
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    weft_explain_text(&explanation, true, stream);
    fclose(stream);
    json_t *json = weft_explain_json(&explanation);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "chosen")), "ring");
    assert_non_null(strstr(text, json_string_value(json_object_get(json, "why"))));
    assert_non_null(strstr(text, "was forced"));
    json_t *candidates = json_object_get(json, "candidates");
    int num_algorithms = 0;
    for (; weft_algorithms[num_algorithms]; num_algorithms++)
        assert_non_null(strstr(text, weft_algorithms[num_algorithms]->name));
    assert_int_equal(json_array_size(candidates), num_algorithms);
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(candidates, 0), "predicted_ps")),
        explanation.choice.candidates[0].estimate_ps);
    assert_int_equal(json_array_size(json_object_get(json, "programs")), 4);
    assert_non_null(strstr(text, "[assumed]"));
    json_decref(json);
    free(text);
}

static void test_table_names_every_change(void **state)
{
    (void)state;
    struct weft_cost_origin origin;
    const struct weft_costs costs = costs_of("host:1 core:8", 4, &origin);
    const struct weft_key key = {
        .collective = WEFT_ALL_REDUCE, .num_ranks = 4, .element_bytes = 4, .size_class = 0};
    struct weft_error error = {0};
    json_t *json = NULL;
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    assert_int_equal(weft_explain_table(&key, &costs, stream, &error), WEFT_OK);
    fclose(stream);
    assert_int_equal(weft_explain_table_json(&key, &costs, &json, &error), WEFT_OK);
    json_t *rows = json_object_get(json, "rows");
    assert_int_equal(json_array_size(rows), 28); // 8 B to 1 GiB
    const char *last = "";
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const char *chosen = json_string_value(json_object_get(json_array_get(rows, i), "chosen"));
        char change[64];
        snprintf(change, sizeof change, "%s from ", chosen);
        if (strcmp(chosen, last) != 0)
            assert_non_null(strstr(text, change));
        assert_string_equal(chosen, winner(&costs, 4, (int)i + 3));
        last = chosen;
    }
    json_decref(json);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_host),
        cmocka_unit_test(test_many_hosts),
        cmocka_unit_test(test_impossible_places),
        cmocka_unit_test(test_program_facts),
        cmocka_unit_test(test_text_and_json_tell_the_same),
        cmocka_unit_test(test_table_names_every_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
