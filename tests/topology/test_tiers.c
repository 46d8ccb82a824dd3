/*
 * SPDX-License-Identifier: Apache-2.0
 * Leaf, spine, core switch or none of them: regular fabrics, and each irregularity that could fool
 * the search.
 */
#include "tests/topology/cabling.h"

static void find_tiers(struct weft_topology *t)
{
    assert_int_equal(weft_topology_find_tiers(t, WEFT_SOURCE_FILE, NULL), WEFT_OK);
}

static bool has_remark(const struct weft_topology *t, const char *part)
{
    for (int i = 0; i < t->num_remarks; i++)
        if (strstr(t->remarks[i].text, part))
            return true;
    return false;
}

static void add_hosts(struct weft_topology *t, int leaf, int first_port, int count)
{
    for (int i = 0; i < count; i++) {
        char host[60];
        snprintf(host, sizeof host, "h%d-%d", leaf, first_port + i);
        join(t, add_nic(t, host, "mlx5_0"), 1, leaf, first_port + i, 50);
    }
}

static void test_leaf_and_spine(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(2, 4, 8, 3);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_LEAF), 8);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_SPINE), 3);
    assert_int_equal(kind_of(t, "rack-leaf-03-01"), WEFT_NODE_LEAF);
    assert_int_equal(t->num_remarks, 0);
    find_tiers(t); // again: the same
    assert_int_equal(weft_topology_count(t, WEFT_NODE_LEAF), 8);
    assert_int_equal(t->num_remarks, 0);
    weft_topology_destroy(&t);
}

static void test_managers_on_a_spine_make_it_no_leaf(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(2, 4, 16, 3);
    for (int spine = 0; spine < 3; spine++) // on every spine, so that few leaves are outvoted
        add_hosts(t, spine, 60, 2);
    find_tiers(t);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_LEAF), 8);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_SPINE), 3);
    weft_topology_destroy(&t);
}

static void test_aggregation_nodes_make_no_leaf(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(1, 2, 1, 2);
    int aggregator;
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_AGGREGATOR, "an", -1, &aggregator, NULL),
                     WEFT_OK);
    join(t, aggregator, 1, weft_topology_find_node(t, "spine-0"), 65, 50);
    find_tiers(t);
    assert_int_equal(kind_of(t, "spine-0"), WEFT_NODE_SPINE);
    weft_topology_destroy(&t);
}

static void test_a_leaf_with_one_host_stays_a_leaf(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(2, 4, 16, 3);
    int leaf = add_switch(t, "border");
    for (int spine = 0; spine < 3; spine++)
        join(t, leaf, 33 + spine, spine, 50, 50);
    add_hosts(t, leaf, 1, 1);
    find_tiers(t);
    assert_int_equal(kind_of(t, "border"), WEFT_NODE_LEAF);
    weft_topology_destroy(&t);
}

static void test_a_leaf_without_hosts_is_known_by_name(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(2, 4, 16, 3);
    int named = add_switch(t, "IBLEAF-9"), other = add_switch(t, "top");
    for (int spine = 0; spine < 3; spine++) {
        join(t, named, 33 + spine, spine, 50, 50);
        join(t, other, 33 + spine, spine, 51, 50);
    }
    find_tiers(t);
    assert_int_equal(kind_of(t, "IBLEAF-9"), WEFT_NODE_LEAF);
    assert_int_equal(kind_of(t, "top"), WEFT_NODE_CORE_SWITCH);
    assert_true(has_remark(
        t, "1 switch was taken for a leaf by its name, since no NIC is on it (first: IBLEAF-9)"));
    weft_topology_destroy(&t);
}

static void test_names_only_confirm(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(1, 2, 4, 2);
    int leaf = add_switch(t, "new-spine-7");
    join(t, leaf, 33, 0, 50, 50);
    add_hosts(t, leaf, 1, 4);
    find_tiers(t);
    assert_int_equal(kind_of(t, "new-spine-7"), WEFT_NODE_LEAF);
    assert_true(has_remark(t, "1 switch is not where the name says (first: new-spine-7"));
    weft_topology_destroy(&t);
}

static void test_three_tiers_with_a_manager_on_the_core(void **state)
{
    (void)state;
    struct weft_topology *t = new_topology();
    int core[4], middle[4];
    for (int c = 0; c < 4; c++) {
        char name[20];
        snprintf(name, sizeof name, "c%d", c);
        core[c] = add_switch(t, name);
    }
    for (int pod = 0; pod < 2; pod++) {
        char name[20];
        for (int m = 0; m < 2; m++) {
            snprintf(name, sizeof name, "m%d-%d", pod, m);
            middle[m] = add_switch(t, name);
            for (int c = 0; c < 4; c++)
                join(t, middle[m], 33 + c, core[c], 1 + pod * 2 + m, 50);
        }
        for (int l = 0; l < 2; l++) {
            snprintf(name, sizeof name, "l%d-%d", pod, l);
            int leaf = add_switch(t, name);
            add_hosts(t, leaf, 1, 8);
            for (int m = 0; m < 2; m++)
                join(t, leaf, 33 + m, middle[m], 1 + l, 50);
        }
    }
    add_hosts(t, core[0], 60, 1);
    find_tiers(t);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_LEAF), 4);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_SPINE), 4);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_CORE_SWITCH), 4);
    weft_topology_destroy(&t);
}

static void test_a_ring_has_no_tiers(void **state)
{
    (void)state;
    struct weft_topology *t = new_topology();
    for (int i = 0; i < 5; i++) {
        char name[20];
        snprintf(name, sizeof name, "s%d", i);
        add_hosts(t, add_switch(t, name), 1, 2);
    }
    for (int i = 0; i < 5; i++) {
        char from[20], to[20];
        snprintf(from, sizeof from, "s%d", i);
        snprintf(to, sizeof to, "s%d", (i + 1) % 5);
        join(t, weft_topology_find_node(t, from), 30, weft_topology_find_node(t, to), 31, 50);
    }
    find_tiers(t);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_SWITCH), 5);
    assert_true(has_remark(t, "5 switches are cabled in no tiers (first: s0)"));
    weft_topology_destroy(&t);
}

static void test_one_cable_within_a_tier_is_a_remark(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(1, 4, 4, 2);
    join(t, 0, 60, 1, 61, 50);
    find_tiers(t);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_SPINE), 2);
    assert_true(has_remark(
        t, "1 cable joins switches of one tier (first: spine-0 port 60 to spine-1 port 61"));
    weft_topology_destroy(&t);
}

static void test_islands_are_decided_apart(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(1, 4, 4, 2);
    int a = add_switch(t, "a"), b = add_switch(t, "b"), lonely = add_switch(t, "lonely");
    add_hosts(t, a, 1, 4);
    add_hosts(t, b, 1, 4);
    join(t, a, 33, b, 33, 50);
    find_tiers(t);
    assert_int_equal(kind_of(t, "a"), WEFT_NODE_SWITCH);
    assert_int_equal(kind_of(t, "b"), WEFT_NODE_SWITCH);
    assert_int_equal(t->nodes[lonely].kind, WEFT_NODE_SWITCH);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_LEAF), 4);
    weft_topology_destroy(&t);
}

static void test_far_switches_have_no_tier(void **state)
{
    (void)state;
    struct weft_topology *t = new_topology();
    int chain[6];
    for (int i = 0; i < 6; i++) {
        char name[20];
        snprintf(name, sizeof name, "s%d", i);
        chain[i] = add_switch(t, name);
        if (i > 0)
            join(t, chain[i - 1], 1, chain[i], 2, 50);
    }
    add_hosts(t, chain[0], 5, 2);
    find_tiers(t);
    assert_int_equal(kind_of(t, "s2"), WEFT_NODE_CORE_SWITCH);
    assert_int_equal(kind_of(t, "s3"), WEFT_NODE_SWITCH);
    assert_true(has_remark(t, "3 switches are more than two tiers above any NIC"));
    weft_topology_destroy(&t);
}

static void test_huge_bundles(void **state)
{
    (void)state;
    struct weft_topology *t = make_rails(1, 2, 2, 2);
    for (int i = 0; i < 5000; i++) {
        struct weft_link link = weft_link_make(WEFT_LINK_NETWORK, 0, i % 2 ? 1 : 2);
        link.count = 1 << 20;
        assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), WEFT_OK);
    }
    find_tiers(t); // 5 * 2^30 cables: the sanitizers watch the sums
    assert_int_equal(kind_of(t, "rack-leaf-01-00"), WEFT_NODE_LEAF);
    weft_topology_destroy(&t);
}

/* Slurm's files join hosts, not NICs. */
static void test_hosts_count_as_ends(void **state)
{
    (void)state;
    struct weft_topology *t = new_topology();
    int up = add_switch(t, "up"), down = add_switch(t, "down"), host;
    join(t, down, 0, up, 0, 50);
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_HOST, "h", -1, &host, NULL), WEFT_OK);
    join(t, host, 0, down, 0, 50);
    find_tiers(t);
    assert_int_equal(kind_of(t, "down"), WEFT_NODE_LEAF);
    assert_int_equal(kind_of(t, "up"), WEFT_NODE_SPINE);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaf_and_spine),
        cmocka_unit_test(test_managers_on_a_spine_make_it_no_leaf),
        cmocka_unit_test(test_aggregation_nodes_make_no_leaf),
        cmocka_unit_test(test_a_leaf_with_one_host_stays_a_leaf),
        cmocka_unit_test(test_a_leaf_without_hosts_is_known_by_name),
        cmocka_unit_test(test_names_only_confirm),
        cmocka_unit_test(test_three_tiers_with_a_manager_on_the_core),
        cmocka_unit_test(test_a_ring_has_no_tiers),
        cmocka_unit_test(test_one_cable_within_a_tier_is_a_remark),
        cmocka_unit_test(test_islands_are_decided_apart),
        cmocka_unit_test(test_far_switches_have_no_tier),
        cmocka_unit_test(test_huge_bundles),
        cmocka_unit_test(test_hosts_count_as_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
