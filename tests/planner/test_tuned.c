/*
 * SPDX-License-Identifier: Apache-2.0
 * Tables of measured times: what is read, for which sizes and ranks it counts, and that it decides.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collectives/planner/choice.h"
#include "collectives/planner/tuned.h"
#include "tests/planner/layouts.h"

static const int hosts[] = {0, 0, 1, 1};
static const struct weft_tuned_ranks four = {4, hosts, "shm+tcp"};
static const char table[] =
    "{\"format\": \"weft-tuned\", \"version\": 2, \"collective\": \"all_reduce\","
    " \"order\": \"free\", \"num_ranks\": 4, \"links\": \"shm+tcp\", \"hosts\": [0, 0, 1, 1],"
    " \"rounds\": 7, \"sizes\": ["
    "{\"bytes\": 0, \"algorithms\": [{\"name\": \"ring\", \"measured_us\": 1}]},"
    "{\"bytes\": 1000, \"algorithms\": [{\"name\": \"ring\", \"measured_us\": 77}]},"
    "{\"bytes\": 1000, \"algorithms\": [{\"name\": \"ring\", \"measured_us\": 10.5},"
    "                                 {\"name\": \"tree\", \"measured_us\": 8}]},"
    "{\"bytes\": 3048, \"algorithms\": [{\"name\": \"ring\", \"measured_us\": 20.5},"
    "                                 {\"name\": \"tree\", \"measured_us\": 60},"
    "                                 {\"name\": \"direct\", \"measured_us\": 50}]},"
    "{\"bytes\": 8192, \"algorithms\": [{\"name\": \"ring\", \"measured_us\": 30}]}]}\n";

static struct weft_key key_of(int size_class)
{
    return (struct weft_key){.collective = WEFT_ALL_REDUCE,
                             .num_ranks = 4,
                             .element_bytes = 4,
                             .size_class = size_class};
}

static struct weft_tuned *read(const char *text)
{
    struct weft_tuned *tuned = NULL;
    struct weft_error error = {0};
    if (weft_tuned_read(text, strlen(text), "text", &four, &tuned, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return tuned;
}

static int64_t time_of(const struct weft_tuned *tuned, const char *algorithm, int size_class)
{
    struct weft_key key = key_of(size_class);
    return weft_tuned_time(tuned, weft_algorithm_find(algorithm), &key);
}

static void times_lie_on_lines_between_sizes(void **state)
{
    (void)state;
    struct weft_tuned *tuned = read(table);
    assert_int_equal(time_of(tuned, "ring", -1), 10500000);
    assert_int_equal(time_of(tuned, "ring", 9), 10500000);
    assert_int_equal(time_of(tuned, "ring", 10), 10500000 + 10000000 * 24 / 2048);
    assert_int_equal(time_of(tuned, "ring", 11), 10500000 + 10000000 * (int64_t)1048 / 2048);
    assert_int_equal(time_of(tuned, "ring", 13), 30000000);
    assert_int_equal(time_of(tuned, "ring", 14), -1); // nobody timed what is larger
    assert_int_equal(time_of(tuned, "tree", 3), 8000000);
    assert_int_equal(time_of(tuned, "direct", 11), -1); // at one end only
    assert_int_equal(time_of(tuned, "tree", 12), -1);
    assert_int_equal(time_of(tuned, "halving", 11), -1);
    struct weft_key key = key_of(11);
    key.num_leaves = 8;
    assert_int_equal(weft_tuned_time(tuned, weft_algorithm_find("ring"), &key), -1);
    key = key_of(11);
    key.order = WEFT_ORDER_REPRODUCIBLE;
    assert_int_equal(weft_tuned_time(tuned, weft_algorithm_find("ring"), &key), -1);
    key = key_of(11);
    key.collective = WEFT_BROADCAST;
    assert_int_equal(weft_tuned_time(tuned, weft_algorithm_find("ring"), &key), -1);
    weft_tuned_free(&tuned);
    assert_null(tuned);
    assert_int_equal(time_of(NULL, "ring", 11), -1);
}

static void a_file_has_several_tables(void **state)
{
    (void)state;
    char text[3 * sizeof table + 1024];
    struct weft_key key = key_of(7);
    key.collective = WEFT_BROADCAST;
    snprintf(text, sizeof text,
             " \n%s{\"format\": \"weft-tuned\", \"version\": 2, \"collective\": \"all_reduce\","
             "\"order\": \"free\", \"num_ranks\": 2, \"links\": \"tcp\", \"hosts\": [0, 1], "
             "\"sizes\": []}"
             "{\"format\": \"weft-tuned\", \"version\": 2, \"collective\": \"broadcast\","
             "\"order\": \"free\", \"num_ranks\": 4, \"links\": \"shm+tcp\","
             "\"hosts\": [0, 0, 1, 1], \"sizes\": ["
             "{\"bytes\": 128, \"algorithms\": [{\"name\": \"tree\", \"measured_us\": 3}]}]}"
             "\n{\"format\": \"weft-tuned\", \"version\": 2, \"collective\": \"all_reduce\","
             "\"order\": \"free\", \"num_ranks\": 4, \"links\": \"shm+tcp\","
             "\"hosts\": [0, 0, 1, 1], \"sizes\": ["
             "{\"bytes\": 64, \"algorithms\": [{\"name\": \"tree\", \"measured_us\": 5}]}]}\n\n",
             table);
    struct weft_tuned *tuned = read(text);
    assert_int_equal(time_of(tuned, "tree", 6), 5000000); // the later one
    assert_int_equal(time_of(tuned, "ring", 10), -1);
    assert_int_equal(weft_tuned_time(tuned, weft_algorithm_find("tree"), &key), 3000000);
    weft_tuned_free(&tuned);
}

static void other_ranks_have_no_table(void **state)
{
    (void)state;
    const int turned[] = {0, 1, 0, 1}, one_host[] = {0, 0, 0, 0};
    const struct weft_tuned_ranks others[] = {
        {4, turned, "shm+tcp"}, {4, one_host, "shm+tcp"}, {3, hosts, "shm+tcp"}, {4, hosts, "tcp"}};
    struct weft_error error = {0};
    for (size_t i = 0; i <= sizeof others / sizeof *others; i++) {
        struct weft_tuned *tuned = (void *)&error;
        assert_int_equal(weft_tuned_read(table, strlen(table), "text", i < 4 ? &others[i] : NULL,
                                         &tuned, &error),
                         WEFT_OK);
        assert_null(tuned);
    }
}

static void what_is_no_table_is_refused(void **state)
{
    (void)state;
    static const char *const changes[][3] = {
        {"weft-tuned", "weft-tuner", "not what weft bench --tune printed"},
        {"\"version\": 2", "\"version\": 1", "\"version\" is 1"},
        {"\"all_reduce\"", "\"all_produce\"", "all_produce"},
        {"\"free\"", "\"none\"", "there is no order 'none'"},
        {"[0, 0, 1, 1]", "[0, 0, 1, \"a\"]", "\"hosts\" has no whole numbers"},
        {"\"hosts\"", "\"host\"", "\"hosts\" is missing"},
        {"\"links\"", "\"link\"", "\"links\" is missing"},
        {"\"ring\"", "\"rang\"", "there is no algorithm 'rang'"},
        {": 77", ": -1", "\"measured_us\" of ring is no time"},
        {": 77", ": 1e300", "\"measured_us\" of ring is no time"},
        {": 77", ": \"77\"", "\"measured_us\" of ring is no time"},
        {"\"bytes\": 8192", "\"bytes\": 2000", "sizes do not grow"},
        {"\"bytes\": 8192", "\"bytes\": -1", "\"bytes\" is -1"},
        {"\"bytes\": 8192", "\"bytes\": 8.5", "\"bytes\" is not a whole number"},
        {"]}]}\n", "]}]}x", "text:"},
        {"]}]}\n", "]}]", "text:"},
        {"{\"format\"", "3 {\"format\"", "text:"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char text[2 * sizeof table];
        struct weft_error error = {0};
        struct weft_tuned *tuned = NULL;
        const char *at = strstr(table, changes[i][0]);
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - table), table, changes[i][1],
                 at + strlen(changes[i][0]));
        if (weft_tuned_read(text, strlen(text), "text", i % 2 ? &four : NULL, &tuned, &error) !=
            WEFT_INVALID_FORMAT)
            fail_msg("%s for %s is taken", changes[i][1], changes[i][0]);
        if (!strstr(error.text, changes[i][2]))
            fail_msg("'%s' instead of '%s'", error.text, changes[i][2]);
        assert_null(tuned);
    }
    for (size_t length = 0; length < 2; length++) {
        struct weft_error error = {0};
        struct weft_tuned *tuned = NULL;
        assert_int_equal(weft_tuned_read("\n", length, "text", &four, &tuned, &error),
                         WEFT_INVALID_FORMAT);
        assert_string_equal(error.text, "text: has no table");
    }
}

static void measured_times_decide(void **state)
{
    (void)state;
    struct weft_layout *layout = NULL, *same = NULL, *turned = NULL;
    struct weft_error error = {0};
    struct weft_choice priced, choice;
    const int ranks[] = {0, 1, 2, 3}, other[] = {1, 0, 2, 3};
    struct weft_key key = key_of(11);
    assert_int_equal(weft_layout_assumed(4, 2, 1, &layout, &error), WEFT_OK);
    assert_int_equal(weft_choice_make(&key, layout, &priced, &error), WEFT_OK);
    assert_string_not_equal(priced.candidates[0].algorithm->name, "ring");
    layout->tuned = read(table);
    assert_int_equal(weft_choice_make(&key, layout, &choice, &error), WEFT_OK);
    assert_int_equal(choice.num_usable, priced.num_usable);
    // ring is faster than tree; those without a time come after, however cheap
    assert_string_equal(choice.candidates[0].algorithm->name, "ring");
    assert_string_equal(choice.candidates[1].algorithm->name, "tree");
    assert_true(choice.candidates[0].is_measured && choice.candidates[1].is_measured);
    assert_true(!choice.candidates[2].is_measured);
    assert_int_equal(choice.candidates[0].estimate_ps, time_of(layout->tuned, "ring", 11));
    assert_true(choice.candidates[0].latency_ps <= choice.candidates[0].estimate_ps);
    assert_int_equal(weft_algorithm_predict(weft_algorithm_find("ring"), &key, layout),
                     time_of(layout->tuned, "ring", 11));
    // the same ranks again know it, too, others do not
    assert_int_equal(weft_layout_select(layout, ranks, 4, &same, &error), WEFT_OK);
    assert_int_equal(weft_layout_select(layout, other, 4, &turned, &error), WEFT_OK);
    weft_layout_destroy(&layout);
    assert_int_equal(time_of(same->tuned, "tree", 3), 8000000);
    assert_null(turned->tuned);
    weft_layout_destroy(&same);
    weft_layout_destroy(&turned);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_lie_on_lines_between_sizes),
        cmocka_unit_test(a_file_has_several_tables),
        cmocka_unit_test(other_ranks_have_no_table),
        cmocka_unit_test(what_is_no_table_is_refused),
        cmocka_unit_test(measured_times_decide),
    };
    return cmocka_run_group_tests_name("tuned", tests, NULL, NULL);
}
