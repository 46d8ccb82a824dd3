/*
 * SPDX-License-Identifier: Apache-2.0
 * Synthetic strings: a table of good ones with what they must give, a table of bad ones with the
 * column and reason they must name, and the largest cluster in time.
 */
#include "tests/topology/graphs.h"

#include "base/clock.h"

static const struct {
    const char *text;
    int hosts, numa, cores, gpus, nvswitches, nics, switches, links;
} good[] = {
    {"host:1", 1, 1, 0, 0, 0, 0, 0, 0},
    {"host:2 numa:2 core:8", 2, 4, 16, 0, 0, 0, 0, 2 * (1 + 8)},
    {"  core:3\thost:1\n", 1, 1, 3, 0, 0, 0, 0, 3},
    {"host:1 cpu:2", 1, 2, 0, 0, 0, 0, 0, 1},
    {"host:1 cpu:2 numa:4 core:2", 1, 4, 2, 0, 0, 0, 0, 6 + 2},
    // per host: root, 8 GPUs, 8 x 1 NVLink, 8 NICs with two links each
    {"host:4 nvswitch:1 gpu:8 nic:8@400", 4, 4, 0, 32, 4, 32, 1, 4 * (1 + 8 + 8 + 16)},
    {"host:1 pcie:4 gpu:8@63.5 nvswitch:4@50 numa:2 nic:4@12.5", 1, 2, 0, 8, 4, 4, 1,
     1 + 4 + 8 + 32 + 8},
    {"host:3 nic:1", 3, 3, 0, 0, 0, 3, 1, 3 * (1 + 2)},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct weft_topology *t = NULL;
        struct weft_error error = {0};
        if (weft_topology_from_synthetic(good[i].text, &t, &error) != WEFT_OK)
            fail_msg("\"%s\": %s", good[i].text, error.text);
        assert_int_equal(weft_topology_check(t, &error), WEFT_OK);
        const int counts[][2] = {
            {WEFT_NODE_HOST, good[i].hosts},          {WEFT_NODE_NUMA, good[i].numa},
            {WEFT_NODE_CORE, good[i].cores},          {WEFT_NODE_GPU, good[i].gpus},
            {WEFT_NODE_NVSWITCH, good[i].nvswitches}, {WEFT_NODE_NIC, good[i].nics},
            {WEFT_NODE_SWITCH, good[i].switches}};
        for (size_t j = 0; j < sizeof counts / sizeof counts[0]; j++)
            if (weft_topology_count(t, counts[j][0]) != counts[j][1])
                fail_msg("\"%s\" has %d %s, not %d", good[i].text,
                         weft_topology_count(t, counts[j][0]), weft_node_kinds[counts[j][0]].plural,
                         counts[j][1]);
        assert_int_equal(t->num_links, good[i].links);
        weft_topology_destroy(&t);
    }
}

static const struct {
    const char *text;
    int column;
    const char *why;
} bad[] = {
    {"gpu:8", 1, "no host"},
    {" ", 1, "no host"},
    {"host", 5, "':'"},
    {"host:", 6, "count"},
    {"host:x", 6, "count"},
    {"host:0", 6, "zero"},
    {"host:-1", 6, "count"},
    {"host:1 bogus:3", 8, "bogus"},
    {"host:1 HOST:3", 8, "expected a kind"},
    {"host:1 leaf:3", 8, "leaf"},
    {"host:1 gpu:2 host:3", 14, "twice"},
    {"host:1 gpu:2,nic:3", 13, "space"},
    {"host:2@5", 7, "no @rate"},
    {"host:1 cpu:2@5", 13, "no @rate"},
    {"host:1 gpu:8@", 14, "rate"},
    {"host:1 gpu:8@0", 14, "zero"},
    {"host:1 gpu:8@0.0000000001", 14, "zero"},
    {"host:1 gpu:8@1000001", 14, "above"},
    {"host:1 gpu:8@99999999999999999999999", 14, "above"},
    {"host:1 gpu:8@1.5.2", 17, "space"},
    {"host:4000001", 6, "4000000"},
    {"host:99999999999999999999999999", 6, "4000000"},
    {"host:2000 gpu:2000", 1, "4000000"},
    {"host:4000000 core:4000000", 1, "4000000"},
    {"host:1 numa:10000", 1, "16000000"},
    {"host:1 gpu:5000 nvswitch:5000", 1, "16000000"},
    {"host:1 nvswitch:2", 8, "without gpu"},
    {"host:1 cpu:3 numa:2", 8, "packages"},
    {"host:1 \xc3\xa4:2", 8, "expected a kind"},
    {"host:1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:2", 8, "unknown"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_synthetic_refused(bad[i].text, bad[i].column, bad[i].why);
}

static void test_rates_and_dealing(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    assert_int_equal(
        weft_topology_from_synthetic(
            "host:2 numa:2@20 core:5@7.25 pcie:4@64 gpu:8@63.015 nvswitch:2@450 nic:4@400", &t,
            NULL),
        WEFT_OK);
    const struct {
        const char *a, *b;
        int64_t bandwidth;
        int kind;
    } links[] = {{"host1/numa0", "host1/numa1", 20000000000, WEFT_LINK_SOCKET},
                 {"host0/numa0", "host0/core2", 7250000000, WEFT_LINK_MEMORY},
                 {"host0/numa1", "host0/core3", 7250000000, WEFT_LINK_MEMORY},
                 {"host0/numa1", "host0/pcie-switch2", 64000000000, WEFT_LINK_PCIE},
                 {"host1/pcie-switch3", "host1/gpu6", 63015000000, WEFT_LINK_PCIE},
                 {"host1/gpu6", "host1/nvswitch1", 450000000000, WEFT_LINK_NVLINK},
                 {"host1/nic3", "network", 50000000000, WEFT_LINK_NETWORK},
                 {"host1/nic3", "host1/pcie-switch3", -1, WEFT_LINK_PCIE}};
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        const struct weft_link *link = link_of(t, links[i].a, links[i].b);
        assert_int_equal(link->kind, links[i].kind);
        assert_true(link->bandwidth.nominal.value == links[i].bandwidth);
        assert_int_equal(link->bandwidth.nominal.source,
                         links[i].bandwidth < 0 ? WEFT_SOURCE_UNKNOWN : WEFT_SOURCE_FILE);
        assert_true(link->bandwidth.current.value == -1);
    }
    weft_topology_destroy(&t);
}

/* Measurements are filed under fingerprints and ranks compare them, so they are the same on every
 * architecture and from release to release. Changing this constant orphans what users measured. */
static void test_fingerprint_is_fixed(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_from_synthetic("host:4 nvswitch:1 gpu:8 nic:8@400", &t, NULL),
                     WEFT_OK);
    assert_true(weft_topology_fingerprint(t) == UINT64_C(0x400fc731de51a024));
    weft_topology_destroy(&t);
}

static void test_16384_gpus(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    int64_t start = weft_clock_ns();
    assert_int_equal(weft_topology_from_synthetic("host:2048 nvswitch:4 gpu:8 nic:8@400", &t, NULL),
                     WEFT_OK);
    double seconds = (double)(weft_clock_ns() - start) * 1e-9;
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 16384);
    print_message("16384 GPUs: %d nodes, %d links in %.3f s\n", t->num_nodes, t->num_links,
                  seconds);
#ifdef NDEBUG
    assert_true(seconds < 2);
#endif
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_rates_and_dealing),
        cmocka_unit_test(test_fingerprint_is_fixed),
        cmocka_unit_test(test_16384_gpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
