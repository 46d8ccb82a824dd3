/*
 * SPDX-License-Identifier: Apache-2.0
 * The graph: building, every refusal of the check, islands, canonical order, fingerprint.
 */
#include "tests/topology/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/graph.h"

static int node(struct weft_topology *t, int kind, const char *name, int parent)
{
    int index = -1;
    assert_int_equal(weft_topology_add_node(t, kind, name, parent, &index, NULL), WEFT_OK);
    return index;
}

static int join(struct weft_topology *t, int kind, int from, int to, int64_t bandwidth)
{
    struct weft_link link = weft_link_make(kind, from, to);
    int index = -1;
    if (bandwidth >= 0)
        link.bandwidth.nominal = (struct weft_quantity){bandwidth, WEFT_SOURCE_FILE};
    assert_int_equal(weft_topology_add_link(t, &link, &index, NULL), WEFT_OK);
    return index;
}

/* host a { numa { core0, core1 } }, switch s, host b { numa } joined through s */
static struct weft_topology *sample(void)
{
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    int a = node(t, WEFT_NODE_HOST, "a", -1);
    int an = node(t, WEFT_NODE_NUMA, "a/numa0", a);
    int c0 = node(t, WEFT_NODE_CORE, "a/core0", an);
    int c1 = node(t, WEFT_NODE_CORE, "a/core1", an);
    int s = node(t, WEFT_NODE_SWITCH, "s", -1);
    int b = node(t, WEFT_NODE_HOST, "b", -1);
    int bn = node(t, WEFT_NODE_NUMA, "b/numa0", b);
    join(t, WEFT_LINK_MEMORY, an, c0, 10);
    join(t, WEFT_LINK_MEMORY, an, c1, 20);
    join(t, WEFT_LINK_NETWORK, an, s, 30);
    join(t, WEFT_LINK_NETWORK, s, bn, 40);
    return t;
}

static void test_build_and_read(void **state)
{
    (void)state;
    struct weft_topology *t = sample();
    assert_int_equal(weft_topology_num_nodes(t), 7);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_CORE), 2);
    assert_int_equal(weft_topology_find_node(t, "a/core1"), 3);
    assert_int_equal(weft_topology_find_node(t, "a/core2"), -1);
    assert_int_equal(weft_topology_ancestor(t, 3, WEFT_NODE_HOST), 0);
    assert_int_equal(weft_topology_ancestor(t, 3, WEFT_NODE_CORE), 3);
    assert_int_equal(weft_topology_ancestor(t, 3, WEFT_NODE_GPU), -1);
    assert_int_equal(weft_topology_set_number(t, 0, "n", 5, WEFT_SOURCE_HWLOC, NULL), WEFT_OK);
    assert_int_equal(weft_topology_set_text(t, 0, "m", "x", WEFT_SOURCE_HWLOC, NULL), WEFT_OK);
    assert_int_equal(weft_topology_set_number(t, 0, "n", 6, WEFT_SOURCE_HWLOC, NULL), WEFT_OK);
    assert_int_equal(weft_topology_number(t, 0, "n", -1), 6);
    assert_int_equal(weft_topology_number(t, 0, "m", -1), -1);
    assert_string_equal(weft_topology_text(t, 0, "m"), "x");
    assert_null(weft_topology_text(t, 0, "n"));
    assert_string_equal(t->nodes[0].attributes->key, "m"); // sorted
    assert_int_equal(weft_topology_check(t, NULL), WEFT_OK);
    weft_topology_destroy(&t);
    assert_null(t);
    weft_topology_destroy(&t);
    weft_topology_destroy(NULL);
}

static void test_add_refuses(void **state)
{
    (void)state;
    struct weft_topology *t = sample();
    struct weft_error error;
    char long_name[300];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    const struct {
        int kind;
        const char *name;
        int parent;
        const char *why;
    } nodes[] = {{-1, "n", -1, "node kind"},
                 {WEFT_NUM_NODE_KINDS, "n", -1, "node kind"},
                 {WEFT_NODE_GPU, "", -1, "empty"},
                 {WEFT_NODE_GPU, long_name, -1, "255"},
                 {WEFT_NODE_GPU, "a\nb", -1, "0x0a"},
                 {WEFT_NODE_GPU, "\xc3\xa4", -1, "0xc3"},
                 {WEFT_NODE_GPU, "a/core0", -1, "two nodes"},
                 {WEFT_NODE_GPU, "n", 7, "parent"},
                 {WEFT_NODE_GPU, "n", -2, "parent"}};
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        assert_int_equal(
            weft_topology_add_node(t, nodes[i].kind, nodes[i].name, nodes[i].parent, NULL, &error),
            WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.text, nodes[i].why));
        assert_int_equal(t->num_nodes, 7);
    }
    assert_int_equal(weft_topology_set_number(t, 9, "k", 1, WEFT_SOURCE_FILE, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_topology_set_number(t, 0, "k", -1, WEFT_SOURCE_FILE, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_topology_set_number(t, 0, "k", 1, WEFT_SOURCE_UNKNOWN, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_topology_set_text(t, 0, "", "v", WEFT_SOURCE_FILE, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_topology_set_text(t, 0, "k", "\t", WEFT_SOURCE_FILE, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_null(t->nodes[0].attributes);
    weft_status status = WEFT_OK;
    int added = 0;
    for (; status == WEFT_OK && added < 1000; added++) {
        char key[16];
        snprintf(key, sizeof key, "k%03d", added);
        status = weft_topology_set_number(t, 0, key, 1, WEFT_SOURCE_FILE, &error);
    }
    assert_int_equal(status, WEFT_INVALID_ARGUMENT);
    assert_int_equal(added, 257);
    struct weft_link loop = weft_link_make(WEFT_LINK_PCIE, 2, 2);
    assert_int_equal(weft_topology_add_link(t, &loop, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(t->num_links, 4);
    weft_topology_destroy(&t);
}

static void expect_refusal(struct weft_topology *t, const char *why)
{
    struct weft_error error = {0};
    assert_int_equal(weft_topology_check(t, &error), WEFT_INVALID_FORMAT);
    assert_int_equal(error.status, WEFT_INVALID_FORMAT);
    if (!strstr(error.text, why))
        fail_msg("\"%s\" does not say \"%s\"", error.text, why);
}

/* Each broken in one place, as a hostile file or a broken probe could. */
static void test_check_refuses(void **state)
{
    (void)state;
    struct weft_topology *t = sample();
    struct weft_link good = t->links[1];
    t->nodes[3].kind = WEFT_NUM_NODE_KINDS;
    expect_refusal(t, "\"a/core1\" has an unknown kind");
    t->nodes[3].kind = WEFT_NODE_CORE;
    t->nodes[3].parent = 7;
    expect_refusal(t, "parent that does not exist");
    t->nodes[3].parent = 3;
    expect_refusal(t, "contains itself");
    t->nodes[3].parent = 1;
    t->nodes[0].parent = 2; // a in core0 in numa0 in a
    expect_refusal(t, "contains itself");
    t->nodes[0].parent = -1;
    const char *name = t->nodes[3].name;
    t->nodes[3].name = "a/core0";
    expect_refusal(t, "not unique");
    t->nodes[3].name = "";
    expect_refusal(t, "node 3 has no name");
    t->nodes[3].name = name;
    t->links[1].to = 7;
    expect_refusal(t, "links[1]");
    t->links[1] = good;
    t->links[1].from = -1;
    expect_refusal(t, "links[1]");
    t->links[1] = good;
    t->links[1].to = good.from;
    expect_refusal(t, "with itself");
    t->links[1] = good;
    t->links[1].kind = WEFT_NUM_LINK_KINDS;
    expect_refusal(t, "no link kind");
    t->links[1] = good;
    t->links[1].count = 0;
    expect_refusal(t, "count 0");
    t->links[1] = good;
    t->links[1].latency.current = (struct weft_quantity){-5, WEFT_SOURCE_FILE};
    expect_refusal(t, "latency is negative");
    t->links[1] = good;
    t->links[1].bandwidth.measured = (struct weft_quantity){-2, WEFT_SOURCE_FILE};
    expect_refusal(t, "bandwidth is negative");
    t->links[1] = good;
    t->links[1].bandwidth.measured = (struct weft_quantity){7, WEFT_SOURCE_UNKNOWN};
    expect_refusal(t, "source");
    t->links[1].bandwidth.measured = (struct weft_quantity){7, WEFT_NUM_SOURCES};
    expect_refusal(t, "source");
    t->links[1] = good;
    assert_int_equal(weft_topology_set_number(t, 0, "n", 5, WEFT_SOURCE_FILE, NULL), WEFT_OK);
    t->nodes[0].attributes->number = -1;
    expect_refusal(t, "negative number under \"n\"");
    t->nodes[0].attributes->number = 5;
    assert_int_equal(weft_topology_check(t, NULL), WEFT_OK);
    weft_topology_destroy(&t);
}

static void test_islands(void **state)
{
    (void)state;
    struct weft_topology *t = sample();
    int islands, island_of[9];
    assert_int_equal(weft_topology_islands(t, island_of, &islands, NULL), WEFT_OK);
    assert_int_equal(islands, 1);
    t->num_links = 3; // without the link to b
    node(t, WEFT_NODE_SWITCH, "alone", -1);
    assert_int_equal(weft_topology_check(t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_islands(t, island_of, &islands, NULL), WEFT_OK);
    assert_int_equal(islands, 3);
    const int expected[] = {0, 0, 0, 0, 0, 1, 1, 2};
    assert_memory_equal(island_of, expected, sizeof expected);
    weft_topology_destroy(&t);
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_islands(t, NULL, &islands, NULL), WEFT_OK);
    assert_int_equal(islands, 0);
    weft_topology_destroy(&t);
}

static void test_best_known(void **state)
{
    (void)state;
    struct weft_link link = weft_link_make(WEFT_LINK_PCIE, 0, 1);
    link.count = 2;
    assert_int_equal(weft_link_bandwidth(&link).source, WEFT_SOURCE_ASSUMED);
    assert_true(weft_link_bandwidth(&link).value ==
                2 * weft_link_kinds[WEFT_LINK_PCIE].assumed_bandwidth);
    assert_true(weft_figure_best(&link.bandwidth).value == -1);
    link.bandwidth.measured = (struct weft_quantity){1, WEFT_SOURCE_ASSUMED};
    link.bandwidth.nominal = (struct weft_quantity){2, WEFT_SOURCE_FILE};
    assert_true(weft_link_bandwidth(&link).value == 2); // knowledge before assumption
    link.bandwidth.current = (struct weft_quantity){3, WEFT_SOURCE_HWLOC};
    assert_true(weft_link_bandwidth(&link).value == 3);
    link.bandwidth.measured = (struct weft_quantity){4, WEFT_SOURCE_MEASURED};
    assert_true(weft_link_bandwidth(&link).value == 4);
}

/* The sample with its nodes and links added in a shuffled order. */
static struct weft_topology *shuffled(const struct weft_topology *t, unsigned seed)
{
    struct weft_topology *copy = NULL;
    assert_int_equal(weft_topology_create(&copy, NULL), WEFT_OK);
    int position[16], done = 0;
    for (int i = 0; i < t->num_nodes; i++)
        position[i] = -1;
    while (done < t->num_nodes) {
        seed = seed * 1103515245u + 12345u;
        int i = (int)((seed >> 16) % (unsigned)t->num_nodes);
        int parent = t->nodes[i].parent;
        if (position[i] >= 0 || (parent >= 0 && position[parent] < 0))
            continue;
        position[i] =
            node(copy, t->nodes[i].kind, t->nodes[i].name, parent >= 0 ? position[parent] : -1);
        done++;
    }
    for (int i = t->num_links; i-- > 0;) {
        struct weft_link link = t->links[i];
        link.from = position[t->links[i].to];
        link.to = position[t->links[i].from];
        assert_int_equal(weft_topology_add_link(copy, &link, NULL, NULL), WEFT_OK);
    }
    return copy;
}

static void test_order_and_fingerprint(void **state)
{
    (void)state;
    struct weft_topology *t = sample();
    uint64_t fingerprint = weft_topology_fingerprint(t);
    assert_int_equal(weft_topology_sort(t, NULL), WEFT_OK);
    static const char *const order[] = {"a", "a/numa0", "a/core0", "a/core1", "b", "b/numa0", "s"};
    for (int i = 0; i < 7; i++) {
        assert_string_equal(t->nodes[i].name, order[i]);
        assert_int_equal(weft_topology_find_node(t, order[i]), i);
    }
    assert_true(weft_topology_fingerprint(t) == fingerprint);
    for (unsigned seed = 0; seed < 50; seed++) {
        struct weft_topology *other = shuffled(t, seed);
        assert_true(weft_topology_fingerprint(other) == fingerprint);
        assert_int_equal(weft_topology_sort(other, NULL), WEFT_OK);
        for (int i = 0; i < 7; i++) {
            assert_string_equal(other->nodes[i].name, order[i]);
            assert_int_equal(other->nodes[i].parent, t->nodes[i].parent);
        }
        for (int i = 0; i < 4; i++)
            assert_links_equal(&other->links[i], &t->links[i]);
        weft_topology_destroy(&other);
    }
    weft_topology_destroy(&t);
}

static void test_natural_order(void **state)
{
    (void)state;
    static const char *const names[] = {"gpu10", "gpu2", "gpu02", "gpu", "gpu2a", "gpu1"};
    static const char *const sorted[] = {"gpu", "gpu1", "gpu02", "gpu2", "gpu2a", "gpu10"};
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    for (int i = 0; i < 6; i++)
        node(t, WEFT_NODE_GPU, names[i], -1);
    assert_int_equal(weft_topology_sort(t, NULL), WEFT_OK);
    for (int i = 0; i < 6; i++)
        assert_string_equal(t->nodes[i].name, sorted[i]);
    weft_topology_destroy(&t);
}

/* What must change the fingerprint and what must not. */
static void test_fingerprint_sees(void **state)
{
    (void)state;
    struct weft_topology *t = sample();
    uint64_t before = weft_topology_fingerprint(t);
    t->links[0].bandwidth.measured = (struct weft_quantity){9, WEFT_SOURCE_MEASURED};
    t->links[0].latency.current = (struct weft_quantity){9, WEFT_SOURCE_HWLOC};
    assert_int_equal(weft_topology_set_number(t, 0, "process.x", 1, WEFT_SOURCE_HWLOC, NULL), 0);
    assert_int_equal(weft_topology_set_number(t, 1, "memory_bytes", 1, WEFT_SOURCE_HWLOC, NULL), 0);
    assert_true(weft_topology_fingerprint(t) == before);
    t->links[0].bandwidth.nominal.value++;
    assert_true(weft_topology_fingerprint(t) != before);
    t->links[0].bandwidth.nominal.value--;
    t->links[0].count = 2;
    assert_true(weft_topology_fingerprint(t) != before);
    t->links[0].count = 1;
    t->links[0].to = 3;
    assert_true(weft_topology_fingerprint(t) != before);
    t->links[0].to = 2;
    t->nodes[2].parent = 0;
    assert_true(weft_topology_fingerprint(t) != before);
    t->nodes[2].parent = 1;
    t->nodes[2].kind = WEFT_NODE_GPU;
    assert_true(weft_topology_fingerprint(t) != before);
    t->nodes[2].kind = WEFT_NODE_CORE;
    assert_true(weft_topology_fingerprint(t) == before);
    assert_int_equal(weft_topology_set_text(t, 0, "model", "m", WEFT_SOURCE_HWLOC, NULL), 0);
    assert_true(weft_topology_fingerprint(t) != before);
    weft_topology_destroy(&t);
}

/* A pulled cable, a renegotiated rate or another user leave a machine what it is; what a file says
 * of rates is what it is. */
static void test_fingerprint_stays(void **state)
{
    (void)state;
    static const char *const keys[] = {"rate_mbps", "rate_mbps.2", "mtu", "lid.2", "pcie_lanes"};
    struct weft_topology *t = sample();
    uint64_t before = weft_topology_fingerprint(t);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        assert_int_equal(weft_topology_set_number(t, 1, keys[i], 7, WEFT_SOURCE_SYSFS, NULL), 0);
    assert_int_equal(weft_topology_set_text(t, 0, "acs", "off", WEFT_SOURCE_SYSFS, NULL), 0);
    int nic, host = 0;
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_NIC, "veth", host, &nic, NULL), 0);
    assert_int_equal(
        weft_topology_set_text(t, nic, "interface_kind", "veth", WEFT_SOURCE_SYSFS, NULL), 0);
    join(t, WEFT_LINK_ROOT, nic, 1, 5);
    assert_true(weft_topology_fingerprint(t) == before);
    assert_int_equal(
        weft_topology_set_text(t, nic, "interface_kind", "bond", WEFT_SOURCE_SYSFS, NULL), 0);
    assert_true(weft_topology_fingerprint(t) != before);
    weft_topology_destroy(&t);
    t = sample();
    assert_int_equal(weft_topology_set_number(t, 1, "rate_mbps", 7, WEFT_SOURCE_FILE, NULL), 0);
    assert_true(weft_topology_fingerprint(t) != before);
    assert_int_equal(weft_topology_set_number(t, 1, "lanes", 7, WEFT_SOURCE_SYSFS, NULL), 0);
    before = weft_topology_fingerprint(t);
    assert_int_equal(weft_topology_set_number(t, 1, "pcie_lanes_max", 7, WEFT_SOURCE_SYSFS, NULL),
                     0);
    assert_true(weft_topology_fingerprint(t) != before);
    weft_topology_destroy(&t);
}

/* However the keys come, a node has so many and no more; one that is there can be changed. */
static void test_attributes_are_bounded(void **state)
{
    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        struct weft_topology *t = sample();
        char key[16];
        int set = 0;
        for (; set < 1000; set++) {
            snprintf(key, sizeof key, "k%04d", turn ? 1000 - set : set);
            if (weft_topology_set_number(t, 0, key, 1, WEFT_SOURCE_FILE, NULL) != WEFT_OK)
                break;
        }
        assert_in_range(set, 200, 256);
        snprintf(key, sizeof key, "k%04d", turn ? 1000 - set + 1 : set - 1);
        assert_int_equal(weft_topology_set_number(t, 0, key, 2, WEFT_SOURCE_FILE, NULL), WEFT_OK);
        weft_topology_destroy(&t);
    }
}

enum { SMALL = 5, SMALL_LINKS = 3 };

/* A graph of few nodes, node i of it put at place[i]. */
static struct weft_topology *placed(const int *kinds, const int *parents, const int (*ends)[2],
                                    const int *place, bool turns)
{
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    for (int at = 0; at < SMALL; at++) {
        int i = 0;
        while (place[i] != at)
            i++;
        char name[] = {(char)('a' + i), '\0'};
        node(t, kinds[i], name, -1);
    }
    for (int i = 0; i < SMALL; i++)
        t->nodes[place[i]].parent = parents[i] < 0 ? -1 : place[parents[i]];
    for (int i = 0; i < SMALL_LINKS; i++) {
        const int *two = ends[turns ? SMALL_LINKS - 1 - i : i];
        join(t, WEFT_LINK_NETWORK, place[two[turns]], place[two[!turns]], two[0] * 10 + two[1]);
    }
    return t;
}

/* Whatever order a graph is built in, sorting gives the same: also from what is nearly sorted. */
static void test_order_of_building(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int round = 0; round < 3000; round++) {
        int kinds[SMALL], parents[SMALL], place[SMALL], same[SMALL], ends[SMALL_LINKS][2];
        for (int i = 0; i < SMALL; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            kinds[i] = (int)(random >> 33) % 2 ? WEFT_NODE_HOST : WEFT_NODE_CPU;
            parents[i] = (int)(random >> 40) % (i + 1) - 1;
            int other = (int)(random >> 48) % (i + 1); // a shuffle
            place[i] = place[other];
            place[other] = i;
            same[i] = i;
        }
        for (int i = 0; i < SMALL_LINKS; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            ends[i][0] = (int)(random >> 33) % (SMALL - 1);
            ends[i][1] = ends[i][0] + 1 + (int)(random >> 50) % (SMALL - 1 - ends[i][0]);
        }
        struct weft_topology *a = placed(kinds, parents, (const int(*)[2])ends, same, false);
        struct weft_topology *b = placed(kinds, parents, (const int(*)[2])ends, place, true);
        assert_int_equal(weft_topology_sort(a, NULL), WEFT_OK);
        assert_int_equal(weft_topology_sort(b, NULL), WEFT_OK);
        size_t bytes;
        char *text_a = written(a, &bytes), *text_b = written(b, &bytes);
        assert_string_equal(text_a, text_b);
        for (int i = 0; i < SMALL; i++) {
            assert_true(a->nodes[i].parent < i);
            assert_string_equal(a->nodes[i].name, b->nodes[i].name);
            assert_int_equal(weft_topology_find_node(b, b->nodes[i].name), i);
        }
        for (int i = 0; i < SMALL_LINKS; i++)
            assert_links_equal(&a->links[i], &b->links[i]);
        free(text_a);
        free(text_b);
        weft_topology_destroy(&a);
        weft_topology_destroy(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build_and_read),
        cmocka_unit_test(test_add_refuses),
        cmocka_unit_test(test_check_refuses),
        cmocka_unit_test(test_islands),
        cmocka_unit_test(test_best_known),
        cmocka_unit_test(test_order_and_fingerprint),
        cmocka_unit_test(test_order_of_building),
        cmocka_unit_test(test_natural_order),
        cmocka_unit_test(test_fingerprint_sees),
        cmocka_unit_test(test_fingerprint_stays),
        cmocka_unit_test(test_attributes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
