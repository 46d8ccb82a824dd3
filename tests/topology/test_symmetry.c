/*
 * SPDX-License-Identifier: Apache-2.0
 * Classes of hosts that are alike, and the words for what is different elsewhere: links, speeds,
 * parts, facts, memory; names, addresses and order must not matter.
 */
#include "tests/topology/graphs.h"

#include "topology/symmetry.h"

#define CLUSTER "host:8 numa:2 pcie:2@64 gpu:8@64 nvswitch:6@50 nic:8@400"

static void expect(struct weft_topology *t, const char *host, int num_classes, const char *words)
{
    struct weft_symmetry *symmetry = NULL;
    int count;
    char text[240];
    assert_int_equal(weft_symmetry_create(t, &symmetry, NULL), WEFT_OK);
    const struct weft_symmetry_class *classes = weft_symmetry_classes(symmetry, &count);
    int differences =
        weft_symmetry_explain_host(symmetry, find(t, host), classes[0].first, 3, text, sizeof text);
    if (count != num_classes || strcmp(text, words) != 0)
        fail_msg("%d classes, %s: \"%s\"; expected %d, \"%s\"", count, host, text, num_classes,
                 words);
    assert_int_equal(differences > 0, words[0] != '\0');
    assert_int_equal(weft_symmetry_class_of(symmetry, find(t, host)) != 0, words[0] != '\0');
    weft_symmetry_destroy(&symmetry);
    assert_null(symmetry);
}

static void test_links(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic(CLUSTER);
    expect(t, "host5", 1, "");
    remove_link(t, "host5/gpu3", "host5/nvswitch2");
    expect(t, "host5", 2, "gpu3 has 5 of 6 NVLinks");
    expect(t, "host4", 2, "");
    set_current(t, "host6/pcie-switch0", "host6/gpu1", 32 * GB);
    expect(t, "host6", 3, "gpu1: PCIe link 32 GB/s instead of 64 GB/s");
    // an idle GPU is no defect: slow, but all lanes are up (as its siblings say in other words)
    for (int host = 0; host < 8; host++) {
        char name[32];
        snprintf(name, sizeof name, "host%d/gpu2", host);
        set_number(t, name, "pcie_lanes", 16);
        set_number(t, name, "pcie_lanes_max", 16);
    }
    set_current(t, "host7/pcie-switch0", "host7/gpu2", 4 * GB);
    expect(t, "host7", 3, "");
    set_number(t, "host7/gpu2", "pcie_lanes", 4); // but so it is
    expect(t, "host7", 4,
           "gpu2: PCIe link 4 GB/s instead of 64 GB/s, gpu2: PCIe x4 instead of x16");
    set_number(t, "host7/gpu2", "pcie_lanes", 16);
    set_current(t, "host7/nic2", "network", 25 * GB);
    expect(t, "host7", 4, "nic2: network link 25 GB/s instead of 50 GB/s");
    remove_link(t, "host7/nic2", "network");
    expect(t, "host7", 4, "nic2 has no network link (of 1)");
    for (int i = 0; i < 6; i++) {
        char name[32];
        snprintf(name, sizeof name, "host7/nvswitch%d", i);
        remove_link(t, "host7/gpu0", name);
    }
    expect(t, "host7", 4, "gpu0 has no NVLink (of 6), nic2 has no network link (of 1)");
    weft_topology_destroy(&t);
}

/* `victim` of the JSON-free kind: a part that one host has and the others lack, and the reverse. */
static void test_parts(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic(CLUSTER);
    int nic = add_node(t, WEFT_NODE_NIC, "host2/nic8", find(t, "host2/pcie-switch1"));
    add_link(t, WEFT_LINK_PCIE, find(t, "host2/pcie-switch1"), nic, 64 * GB);
    expect(t, "host2", 2, "9 NICs instead of 8");
    for (int i = 0; i < 8; i++)
        if (i != 2 && i != 6) { // now host6 is the one that lacks it
            char name[32], above[32];
            snprintf(name, sizeof name, "host%d/nic8", i);
            snprintf(above, sizeof above, "host%d/pcie-switch1", i);
            nic = add_node(t, WEFT_NODE_NIC, name, find(t, above));
            add_link(t, WEFT_LINK_PCIE, find(t, above), nic, 64 * GB);
        }
    expect(t, "host2", 2, "");
    expect(t, "host6", 2, "no nic8");
    weft_topology_destroy(&t);
}

static void test_facts(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic(CLUSTER);
    char name[32], value[48];
    for (int host = 0; host < 8; host++)
        for (int gpu = 0; gpu < 8; gpu++) {
            snprintf(name, sizeof name, "host%d/gpu%d", host, gpu);
            snprintf(value, sizeof value, "GPU-%d-%d", host, gpu);
            set_text(t, name, "uuid", value);      // known to tell things apart
            set_text(t, name, "asset_tag", value); // found to
            set_text(t, name, "model", host == 3 && gpu == 7 ? "H200" : "H100");
            set_number(t, name, "process.pid", host * 100 + gpu);
        }
    expect(t, "host3", 2, "gpu7: model H200 instead of H100");
    expect(t, "host2", 2, "");
    for (int host = 0; host < 8; host++)
        for (int numa = 0; numa < 2; numa++) {
            snprintf(name, sizeof name, "host%d/numa%d", host, numa);
            set_number(t, name, "memory_bytes", (INT64_C(512) << 30) + host * 4096);
        }
    expect(t, "host2", 2, ""); // boots differ by pages
    set_number(t, "host4/numa1", "memory_bytes", INT64_C(384) << 30);
    expect(t, "host4", 3, "896 GiB of memory instead of 1 TiB");
    weft_topology_destroy(&t);
}

/* Other names and another order of insertion make no other classes. */
static void test_names(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    int leaf = add_node(t, WEFT_NODE_LEAF, "leaf", -1);
    for (int host = 0; host < 4; host++) {
        char name[48];
        snprintf(name, sizeof name, "h%d", host);
        int top = add_node(t, WEFT_NODE_HOST, name, -1);
        for (int i = 0; i < 4; i++) {
            int n = host % 2 ? 3 - i : i;
            snprintf(name, sizeof name, host % 2 ? "h%d/ibp%ds0" : "h%d/mlx5_%d", host, n);
            int nic = add_node(t, WEFT_NODE_NIC, name, top);
            add_link(t, WEFT_LINK_NETWORK, host % 2 ? leaf : nic, host % 2 ? nic : leaf, 50 * GB);
        }
    }
    expect(t, "h1", 1, "");
    link_of(t, "h1/ibp2s0", "leaf")->bandwidth.current =
        (struct weft_quantity){25 * GB, WEFT_SOURCE_UMAD};
    expect(t, "h1", 2, "ibp2s0: network link 25 GB/s instead of 50 GB/s");
    weft_topology_destroy(&t);
}

/* Leaf switches by their links; the reference is what most are like. */
static void test_peers(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    int leaves[4], spines[2];
    char name[16], text[160];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "leaf%d", i);
        leaves[i] = add_node(t, WEFT_NODE_LEAF, name, -1);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "spine%d", i);
        spines[i] = add_node(t, WEFT_NODE_SPINE, name, -1);
        for (int j = 0; j < 4; j++)
            for (int k = 0; k < 8 - (j == 2 && i == 1); k++)
                add_link(t, WEFT_LINK_NETWORK, leaves[j], spines[i], 50 * GB);
    }
    struct weft_symmetry *symmetry = NULL;
    bool is_other[4];
    int reference, others;
    assert_int_equal(weft_symmetry_create(t, &symmetry, NULL), WEFT_OK);
    assert_int_equal(
        weft_symmetry_compare_peers(symmetry, leaves, 4, is_other, &reference, &others, NULL),
        WEFT_OK);
    assert_int_equal(reference, leaves[0]);
    assert_int_equal(others, 1);
    assert_true(is_other[2] && !is_other[0] && !is_other[1] && !is_other[3]);
    assert_int_equal(weft_symmetry_explain_node(symmetry, leaves[2], reference, text, sizeof text),
                     1);
    assert_string_equal(text, "leaf2 has 15 of 16 uplinks");
    assert_int_equal(weft_symmetry_explain_node(symmetry, leaves[1], reference, text, sizeof text),
                     0);
    weft_symmetry_destroy(&symmetry);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links), cmocka_unit_test(test_parts), cmocka_unit_test(test_facts),
        cmocka_unit_test(test_names), cmocka_unit_test(test_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
