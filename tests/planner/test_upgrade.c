/*
 * SPDX-License-Identifier: Apache-2.0
 * Which links buy most, where that is plain to see.
 */
#include "tests/planner/fabrics.h"

#include <math.h>

#include "collectives/planner/upgrade.h"

static int upgrades_of(const char *text, int num_ranks, weft_collective collective,
                       struct weft_upgrade *upgrades)
{
    struct weft_topology *topology = fabric(text);
    struct weft_layout *layout = fabric_layout(topology, num_ranks);
    struct weft_key key = fabric_key(collective, num_ranks, 28);
    struct weft_error error;
    int num = -1;
    if (weft_upgrades_find(topology, layout, &key, upgrades, &num, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_in_range(num, 0, WEFT_UPGRADES_LIMIT);
    for (int i = 1; i < num; i++)
        assert_true(upgrades[i].gain <= upgrades[i - 1].gain);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
    return num;
}

static void assert_gain(const struct weft_upgrade *upgrade, double gain)
{
    if (fabs(upgrade->gain - gain) > 1e-6)
        fail_msg("%s: %.6f, not %.6f", upgrade->links, upgrade->gain, gain);
}

// A lone slow link: twice as fast, everything is; the others are of no use.
static void test_slow_host(void **state)
{
    (void)state;
    struct weft_upgrade upgrades[WEFT_UPGRADES_LIMIT];
    int num = upgrades_of(SLOW_HOST, 4, WEFT_ALL_GATHER, upgrades);
    assert_int_equal(num, 1);
    assert_gain(&upgrades[0], 1);
    assert_int_equal(upgrades[0].num_links, 1);
    assert_non_null(strstr(upgrades[0].links, "c"));
    assert_non_null(strstr(upgrades[0].links, "25 GB/s"));
}

// All four links of a ring at once; one alone changes nothing for the ranks at the other side.
static void test_ring_of_4(void **state)
{
    (void)state;
    struct weft_upgrade upgrades[WEFT_UPGRADES_LIMIT];
    int num = upgrades_of(RING_OF_4, 4, WEFT_ALL_GATHER, upgrades);
    assert_int_equal(num, 1);
    assert_gain(&upgrades[0], 1);
    assert_int_equal(upgrades[0].num_links, 4);
    assert_string_equal(upgrades[0].links, "the 4 links between switch and switch of 10 GB/s");
}

// Two boxes of four, 100 GB/s inside and 10 outside: 4 of 8 shares come over 40 GB/s; with 20 GB/s
// outside, 7 over 120 are slower than 4 over 80 are: 7/120 against 4/40 before.
static void test_boxes(void **state)
{
    (void)state;
    char text[2048] = "node net switch\n";
    for (int i = 0; i < 8; i++) {
        size_t used = strlen(text);
        if (i % 4 == 0)
            used += (size_t)snprintf(text + used, sizeof text - used, "node box%d switch\n", i / 4);
        snprintf(text + used, sizeof text - used,
                 "node gpu%d gpu\nlink gpu%d box%d 100 both\nlink gpu%d net 10 both\n", i, i, i / 4,
                 i);
    }
    struct weft_upgrade upgrades[WEFT_UPGRADES_LIMIT];
    int num = upgrades_of(text, 8, WEFT_ALL_GATHER, upgrades);
    assert_true(num >= 1);
    assert_gain(&upgrades[0], 4.0 / 40 / (7.0 / 120) - 1);
    assert_int_equal(upgrades[0].num_links, 8);
    assert_non_null(strstr(upgrades[0].links, "10 GB/s"));
}

static void test_no_bound(void **state)
{
    (void)state;
    struct weft_topology *topology = fabric(RING_OF_4);
    struct weft_layout *layout = fabric_layout(topology, 4);
    struct weft_key key = fabric_key(WEFT_SEND, 4, 28);
    struct weft_upgrade upgrades[WEFT_UPGRADES_LIMIT];
    struct weft_error error = {0};
    int num;
    key.root = 1;
    assert_int_equal(weft_upgrades_find(topology, layout, &key, upgrades, &num, &error),
                     WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "no bound"));
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_host),
        cmocka_unit_test(test_ring_of_4),
        cmocka_unit_test(test_boxes),
        cmocka_unit_test(test_no_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
