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

static struct weft_layout *layout_of(const char *synthetic, int num_ranks,
                                     struct weft_layout_origin *origin)
{
    struct weft_error error = {0};
    struct weft_topology *topology = NULL;
    struct weft_layout *layout = NULL;
    if (weft_topology_from_synthetic(synthetic, &topology, &error) != WEFT_OK ||
        weft_layout_from_topology(topology, num_ranks, &layout, origin, &error) != WEFT_OK)
        fail_msg("%s: %s", synthetic, error.text);
    weft_topology_destroy(&topology);
    return layout;
}

static const char *winner(const struct weft_layout *layout, int size_class)
{
    const struct weft_key key = {.collective = WEFT_ALL_REDUCE,
                                 .num_ranks = layout->num_ranks,
                                 .element_bytes = 4,
                                 .size_class = size_class};
    struct weft_choice choice;
    assert_int_equal(weft_choice_make(&key, layout, &choice, NULL), WEFT_OK);
    return choice.candidates[0].algorithm->name;
}

static int64_t slope(const struct weft_layout *layout, int level)
{
    const struct weft_curve *message = &layout->costs.levels[level].message;
    return message->lines[message->num_lines - 1].ps_per_mib; // of the widest protocol
}

static void test_one_host(void **state)
{
    (void)state;
    struct weft_layout_origin origin;
    struct weft_layout *layout = layout_of("host:1 core:4@10", 4, &origin);
    assert_int_equal(layout->costs.sharing, 1);
    assert_int_equal(layout->costs.num_levels, 1);
    assert_int_equal(origin.num_hosts, 1);
    assert_int_equal(origin.num_places, 4);
    // 10 GB/s, in and out of a buffer: 1048576 bytes in 209.7152 us.
    assert_int_equal(slope(layout, 0), 209715200);
    assert_string_equal(winner(layout, 6), "flat");
    weft_layout_destroy(&layout);
    layout = layout_of("host:1 core:4@10", 9, &origin);
    assert_int_equal(layout->costs.sharing, 3);
    struct weft_layout *faster = layout_of("host:1 core:4@40", 9, &origin);
    assert_true(slope(faster, 0) * 4 == slope(layout, 0));
    weft_layout_destroy(&layout);
    weft_layout_destroy(&faster);
}

static void test_many_hosts(void **state)
{
    (void)state;
    struct weft_layout_origin origin;
    const char *cluster = "host:4 nvswitch:1@200 gpu:8@200 nic:2@100";
    struct weft_layout *layout = layout_of(cluster, 32, &origin);
    const struct weft_costs *costs = &layout->costs;
    assert_int_equal(origin.num_hosts, 4);
    assert_int_equal(origin.num_places, 32);
    assert_int_equal(origin.place_kind, WEFT_NODE_GPU);
    assert_int_equal(costs->num_levels, 2);
    assert_int_equal(layout->levels[0].num_groups, 4);
    assert_int_equal(layout->levels[0].largest, 8);
    // 8 ranks share 2 NICs of 12.5 GB/s.
    assert_int_equal(costs->levels[1].crowd_ps_per_mib, 335544320);
    assert_int_equal(costs->flat_ps, -1);
    // Both NICs are equally near: 25 GB/s, if nothing on the way is narrower.
    assert_true(slope(layout, 1) >= 41943040);
    assert_true(slope(layout, 0) < slope(layout, 1));
    assert_string_not_equal(winner(layout, 8), "ring");
    weft_layout_destroy(&layout);
    layout = layout_of("host:4 nvswitch:1@200 gpu:8@200 nic:2@100", 8, &origin);
    assert_int_equal(layout->costs.num_levels, 1); // all on the first host
    weft_layout_destroy(&layout);
}

static void test_impossible_places(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_topology *topology = NULL;
    struct weft_layout *layout = NULL;
    struct weft_layout_origin origin;
    assert_int_equal(weft_topology_from_synthetic("host:2 core:2", &topology, &error), WEFT_OK);
    assert_int_equal(weft_layout_from_topology(topology, 4, &layout, &origin, &error),
                     WEFT_NOT_FOUND); // no network
    assert_non_null(strstr(error.text, "no way"));
    assert_int_equal(weft_layout_from_topology(topology, 0, &layout, &origin, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_null(layout);
    assert_int_equal(weft_layout_from_topology(topology, 2, &layout, &origin, &error), WEFT_OK);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

static struct weft_explanation make_explanation(struct weft_program_facts *facts, int num_ranks,
                                                struct weft_layout **layout)
{
    struct weft_explanation explanation = {.bytes = 1 << 20, .programs = facts};
    struct weft_error error = {0};
    struct weft_plan_request request = {.key = {.collective = WEFT_ALL_REDUCE,
                                                .num_ranks = num_ranks,
                                                .element_bytes = 4,
                                                .size_class = 20},
                                        .aliasing = WEFT_OUT_OF_PLACE,
                                        .algorithm = "ring"};
    *layout = layout_of("host:1 core:8", num_ranks, &explanation.origin);
    request.layout = *layout;
    assert_int_equal(weft_choice_make(&request.key, *layout, &explanation.choice, &error), WEFT_OK);
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
    struct weft_layout *layout;
    make_explanation(facts, 5, &layout);
    weft_layout_destroy(&layout);
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
    struct weft_layout *layout;
    struct weft_explanation explanation = make_explanation(facts, 4, &layout);
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
    weft_layout_destroy(&layout);
}

static void test_table_names_every_change(void **state)
{
    (void)state;
    struct weft_layout_origin origin;
    struct weft_layout *layout = layout_of("host:1 core:8", 4, &origin);
    const struct weft_key key = {
        .collective = WEFT_ALL_REDUCE, .num_ranks = 4, .element_bytes = 4, .size_class = 0};
    struct weft_error error = {0};
    struct weft_table table;
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    assert_int_equal(weft_table_make(&key, layout, NULL, &table, &error), WEFT_OK);
    weft_table_text(&table, stream);
    fclose(stream);
    json_t *json = weft_table_json(&table);
    json_t *rows = json_object_get(json, "rows");
    json_t *crossovers = json_object_get(json, "crossovers");
    assert_int_equal(json_array_size(rows), 31); // 8 B to 8 GiB
    size_t num_changes = 0;
    const char *last = "";
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const char *chosen = json_string_value(json_object_get(json_array_get(rows, i), "chosen"));
        char change[64];
        snprintf(change, sizeof change, "%s from ", chosen);
        if (strcmp(chosen, last) != 0) {
            json_t *named = json_array_get(crossovers, num_changes++);
            assert_non_null(strstr(text, change));
            assert_string_equal(json_string_value(json_object_get(named, "choice")), chosen);
            assert_int_equal(json_integer_value(json_object_get(named, "bytes")), INT64_C(8) << i);
        }
        assert_string_equal(chosen, winner(layout, (int)i + 3));
        last = chosen;
    }
    assert_true(num_changes > 1);
    assert_int_equal(json_array_size(crossovers), num_changes);
    json_decref(json);
    free(text);
    weft_layout_destroy(&layout);
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
