/*
 * SPDX-License-Identifier: Apache-2.0
 * Faults in well-known machines: a sound one has no finding, and each fault that is made in it is
 * the first finding, names what to look at and costs what it costs.
 */
#include "tests/topology/compare.h"

#include <stdlib.h>
#include <string.h>

#include "topology/adjacency.h"
#include "topology/findings.h"
#include "topology/load.h"

static struct weft_topology *load(const char *source)
{
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_load(source, &t, NULL), WEFT_OK);
    return t;
}

static int node(const struct weft_topology *t, const char *name)
{
    int found = weft_topology_find_node(t, name);
    if (found < 0)
        fail_msg("no node %s", name);
    return found;
}

/* The first link of a kind between two nodes; `b` NULL: to any. */
static struct weft_link *link_of(struct weft_topology *t, int kind, const char *a, const char *b)
{
    int from = node(t, a), to = b ? node(t, b) : -1;
    for (int i = 0; i < t->num_links; i++) {
        struct weft_link *link = &t->links[i];
        if (link->kind == kind && (link->from == from || link->to == from) &&
            (to < 0 || weft_link_other_end(link, from) == to))
            return link;
    }
    fail_msg("no link from %s to %s", a, b ? b : "anything");
    return NULL;
}

static void drop(struct weft_topology *t, const struct weft_link *link)
{
    t->links[link - t->links] = t->links[t->num_links - 1];
    t->num_links--;
}

static void set_nominal(struct weft_link *link, int64_t value)
{
    link->bandwidth.nominal = (struct weft_quantity){value, WEFT_SOURCE_FILE};
}

/* A copy without one node and its links. */
static struct weft_topology *without(struct weft_topology *t, const char *name)
{
    struct weft_topology *made = NULL;
    int gone = node(t, name);
    assert_int_equal(weft_topology_create(&made, NULL), WEFT_OK);
    for (int i = 0; i < t->num_nodes; i++) {
        int parent = t->nodes[i].parent;
        assert_true(parent != gone);
        if (i != gone)
            assert_int_equal(weft_topology_add_node(made, t->nodes[i].kind, t->nodes[i].name,
                                                    parent - (parent > gone), NULL, NULL),
                             WEFT_OK);
    }
    for (int i = 0; i < t->num_links; i++) {
        struct weft_link link = t->links[i];
        if (link.from == gone || link.to == gone)
            continue;
        link.from -= link.from > gone;
        link.to -= link.to > gone;
        assert_int_equal(weft_topology_add_link(made, &link, NULL, NULL), WEFT_OK);
    }
    weft_topology_destroy(&t);
    return made;
}

/* Exchanges what two links lead to, at their ends away from `a` and `b`. */
static void swap_cables(struct weft_topology *t, const char *a, const char *b)
{
    struct weft_link *x = link_of(t, WEFT_LINK_NETWORK, a, NULL);
    struct weft_link *y = link_of(t, WEFT_LINK_NETWORK, b, NULL);
    int *end_x = x->from == node(t, a) ? &x->to : &x->from;
    int *end_y = y->from == node(t, b) ? &y->to : &y->from;
    int *port_x = end_x == &x->to ? &x->to_port : &x->from_port;
    int *port_y = end_y == &y->to ? &y->to_port : &y->from_port;
    int end = *end_x, port = *port_x;
    *end_x = *end_y;
    *port_x = *port_y;
    *end_y = end;
    *port_y = port;
}

/* The first finding; frees the topology. */
static void expect_first(struct weft_topology *t, const char *kind, int64_t lost,
                         const char *const *parts)
{
    struct weft_findings findings = {0};
    assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
    if (findings.count == 0)
        fail_msg("no finding where %s should be", kind);
    const struct weft_finding *first = &findings.items[0];
    if (strcmp(first->kind, kind) != 0 || first->lost_bandwidth != lost)
        fail_msg("%s costs %lld, not %s %lld: %s", first->kind, (long long)first->lost_bandwidth,
                 kind, (long long)lost, first->sentence);
    for (int i = 0; parts[i]; i++)
        if (!strstr(first->sentence, parts[i]))
            fail_msg("\"%s\" is not in: %s", parts[i], first->sentence);
    weft_findings_free(&findings);
    weft_topology_destroy(&t);
}
#define EXPECT_FIRST(t, kind, lost, ...)                                                           \
    expect_first(t, kind, lost, (const char *const[]){__VA_ARGS__, NULL})

static void expect_nothing(struct weft_topology *t)
{
    struct weft_findings findings = {0};
    assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
    if (findings.count > 0 && findings.items[0].severity != WEFT_SEVERITY_NOTE)
        fail_msg("%s", findings.items[0].sentence);
    weft_findings_free(&findings);
    weft_topology_destroy(&t);
}

static void test_sound_machines(void **state)
{
    (void)state;
    static const char *const sources[] = {
        "dgx-a100",        "dgx-h100",      "dgx-b200:2", "superpod-h100:64",
        "superpod-b200:9", "gb200-nvl72:2", "p5:2",       "mi250"};
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        struct weft_topology *t = load(sources[i]);
        struct weft_findings findings = {0};
        assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
        if (findings.count > 0)
            fail_msg("%s: %s", sources[i], findings.items[0].sentence);
        weft_topology_destroy(&t);
    }
}

static void test_nvlinks(void **state)
{
    (void)state;
    struct weft_topology *t = load("superpod-h100:64");
    struct weft_link *link = link_of(t, WEFT_LINK_NVLINK, "host5/gpu3", "host5/nvswitch0");
    link->count--;
    set_nominal(link, 100000000000);
    EXPECT_FIRST(t, "uneven-gpus", 25000000000, "host5/gpu3 has 425 GB/s");
    t = load("dgx-h100");
    for (int i = t->num_links; i-- > 0;)
        if (t->links[i].kind == WEFT_LINK_NVLINK && t->links[i].from == node(t, "host0/gpu3"))
            drop(t, &t->links[i]);
    EXPECT_FIRST(t, "uneven-gpus", 450000000000, "host0/gpu3 has 0 B/s, host0/gpu0 450 GB/s");
    t = load("dgx-h100"); // one for the screen needs none
    for (int i = t->num_links; i-- > 0;)
        if (t->links[i].kind == WEFT_LINK_NVLINK && t->links[i].from == node(t, "host0/gpu3"))
            drop(t, &t->links[i]);
    assert_int_equal(
        weft_topology_set_text(t, node(t, "host0/gpu3"), "model", "T400", WEFT_SOURCE_FILE, NULL),
        WEFT_OK);
    expect_nothing(t);
}

/* x8 in place of x16. */
static void test_half_a_slot(void **state)
{
    (void)state;
    struct weft_topology *t = load("dgx-h100");
    set_nominal(link_of(t, WEFT_LINK_PCIE, "host0/gpu2", NULL), 31500000000);
    EXPECT_FIRST(t, "uneven-gpus", 31500000000, "host0/gpu2 has 31.5 GB/s");
    // a GPU for the screen beside them is no fault
    t = load("host:1 gpu:4@63 nic:1@400");
    set_nominal(link_of(t, WEFT_LINK_PCIE, "host0/gpu2", NULL), 4000000000);
    assert_int_equal(
        weft_topology_set_text(t, node(t, "host0/gpu2"), "model", "T400", WEFT_SOURCE_FILE, NULL),
        WEFT_OK);
    expect_nothing(t);
    t = load("superpod-h100:64");
    set_nominal(link_of(t, WEFT_LINK_PCIE, "host9/mlx5_2", NULL), 31500000000);
    // its cable brings 50 GB/s
    EXPECT_FIRST(t, "narrow-slots", 18500000000,
                 "host9/mlx5_2 has 31.5 GB/s, host9/mlx5_0 63 GB/s");
    t = load("dgx-h100");
    link_of(t, WEFT_LINK_PCIE, "host0/mlx5_2", NULL)->bandwidth.current =
        (struct weft_quantity){31500000000, WEFT_SOURCE_SYSFS};
    EXPECT_FIRST(t, "below-nominal", 18500000000, "host0/pcie-switch2 to host0/mlx5_2", "(50 %)");
    // the costliest is named, not that with the smallest share
    t = load("dgx-h100");
    link_of(t, WEFT_LINK_PCIE, "host0/mlx5_2", NULL)->bandwidth.current =
        (struct weft_quantity){25000000000, WEFT_SOURCE_SYSFS};
    link_of(t, WEFT_LINK_PCIE, "host0/gpu4", NULL)->bandwidth.current =
        (struct weft_quantity){31500000000, WEFT_SOURCE_SYSFS};
    EXPECT_FIRST(t, "below-nominal", 31500000000, "2 PCIe links", "host0/gpu4, gives 31.5 GB/s");
    // a slot that still takes all of the cable is no fault
    t = load("dgx-a100");
    set_nominal(link_of(t, WEFT_LINK_PCIE, "host0/mlx5_2", NULL), 26000000000);
    struct weft_findings findings = {0};
    assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
    assert_int_equal(findings.count, 1);
    assert_int_equal(findings.items[0].severity, WEFT_SEVERITY_NOTE);
    assert_string_equal(findings.items[0].kind, "narrow-slots");
    weft_findings_free(&findings);
    weft_topology_destroy(&t);
}

static void test_far_nic(void **state)
{
    (void)state;
    struct weft_topology *t = load("dgx-h100");
    struct weft_link *link = link_of(t, WEFT_LINK_PCIE, "host0/mlx5_2", NULL);
    *(link->from == node(t, "host0/mlx5_2") ? &link->to : &link->from) =
        node(t, "host0/pcie-switch6");
    t->nodes[node(t, "host0/mlx5_2")].parent = node(t, "host0/pcie-switch6");
    assert_int_equal(weft_topology_sort(t, NULL), WEFT_OK);
    EXPECT_FIRST(t, "far-nics", 0, "1 of 8 GPUs", "host0/gpu2;", "host0/mlx5_2 for one");
}

/* A virtual switch's port at 5 GT/s above devices of 63 GB/s: worth a note. One uplink of four
 * devices, or of the generation before theirs, is how machines are built. */
static void test_narrow_uplinks(void **state)
{
    (void)state;
    struct weft_topology *t = load("dgx-h100");
    set_nominal(link_of(t, WEFT_LINK_PCIE, "host0/pcie-switch5", "host0/pcie-root5"), 8000000000);
    EXPECT_FIRST(t, "narrow-uplinks", 0, "1 PCIe switch gives", "host0/pcie-switch5 8 GB/s",
                 "gpu5 below it 63 GB/s");
    t = load("dgx-h100");
    for (int i = 0; i < 8; i++) {
        char name[40], root[40];
        snprintf(name, sizeof name, "host0/pcie-switch%d", i);
        snprintf(root, sizeof root, "host0/pcie-root%d", i);
        set_nominal(link_of(t, WEFT_LINK_PCIE, name, root), 31500000000);
    }
    struct weft_findings findings = {0};
    assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
    assert_int_equal(findings.count, 0);
    weft_topology_destroy(&t);
}

static void test_slow_cables(void **state)
{
    (void)state;
    struct weft_topology *t = load("superpod-h100:64");
    set_nominal(link_of(t, WEFT_LINK_NETWORK, "su0/leaf3", "spine0"), 25000000000);
    EXPECT_FIRST(t, "slow-cables", 25000000000, "su0/leaf3 port 33 to spine0 port");
    t = load("superpod-h100:64");
    set_nominal(link_of(t, WEFT_LINK_NETWORK, "host7/mlx5_3", NULL), 12500000000);
    EXPECT_FIRST(t, "slow-cables", 37500000000, "host7/mlx5_3 port 1 to su0/leaf3 port 8");
    // of a leaf with a NIC less the other uplinks have room
    t = load("superpod-h100:64");
    set_nominal(link_of(t, WEFT_LINK_NETWORK, "su0/leaf3", "spine0"), 25000000000);
    drop(t, link_of(t, WEFT_LINK_NETWORK, "host0/mlx5_3", NULL));
    struct weft_findings findings = {0};
    assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
    assert_string_equal(findings.items[1].kind, "slow-cables");
    assert_int_equal(findings.items[1].lost_bandwidth, 0);
    weft_findings_free(&findings);
    weft_topology_destroy(&t);
    t = load("superpod-h100:64");
    link_of(t, WEFT_LINK_NETWORK, "su0/leaf3", "spine0")->bandwidth.current =
        (struct weft_quantity){25000000000, WEFT_SOURCE_UMAD};
    EXPECT_FIRST(t, "below-nominal", 25000000000, "su0/leaf3 port 33 to spine0 port");
}

static void test_swapped_cables(void **state)
{
    (void)state;
    struct weft_topology *t = load("superpod-h100:64");
    swap_cables(t, "host7/mlx5_3", "host9/mlx5_4");
    EXPECT_FIRST(t, "other-rail", 0, "2 NICs", "host7/mlx5_3 is on su0/leaf4 port 10",
                 "host9/mlx5_4 is on su0/leaf3 port 8");
    t = load("superpod-h100:64"); // the same rail of two units
    swap_cables(t, "host7/mlx5_3", "host40/mlx5_3");
    EXPECT_FIRST(t, "other-unit", 0, "2 NICs", "host7/mlx5_3 is on su1/leaf3 port 9",
                 "host40/mlx5_3 is on su0/leaf3 port 8");
}

static void test_absent_switches(void **state)
{
    (void)state;
    struct weft_topology *t = without(load("superpod-h100:64"), "spine2");
    // 16 leaves with 4 cables of 50 GB/s less, all of which their 32 NICs would fill
    EXPECT_FIRST(t, "missing-spine", 3200000000000, ": spine2.");
    t = without(load("superpod-h100:64"), "su0/leaf2");
    EXPECT_FIRST(t, "uncabled-nics", 50000000000, "32 NICs have no cable", "host0/mlx5_2,");
}

static void test_pulled_cables(void **state)
{
    (void)state;
    struct weft_topology *t = load("dgx-h100");
    drop(t, link_of(t, WEFT_LINK_NETWORK, "host0/mlx5_3", NULL));
    EXPECT_FIRST(t, "uncabled-nics", 50000000000, "1 NIC has no cable", ": host0/mlx5_3.");
    t = load("superpod-h100:64");
    drop(t, link_of(t, WEFT_LINK_NETWORK, "su0/leaf0", "spine2"));
    EXPECT_FIRST(t, "missing-uplinks", 50000000000, "su0/leaf0 has 31 of 32", "port 35 to spine2");
    // with a NIC pulled as well nothing is lost by the missing uplink
    t = load("superpod-h100:64");
    drop(t, link_of(t, WEFT_LINK_NETWORK, "su0/leaf0", "spine2"));
    drop(t, link_of(t, WEFT_LINK_NETWORK, "host0/mlx5_0", NULL));
    EXPECT_FIRST(t, "uncabled-nics", 50000000000, "host0/mlx5_0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound_machines), cmocka_unit_test(test_nvlinks),
        cmocka_unit_test(test_half_a_slot),    cmocka_unit_test(test_far_nic),
        cmocka_unit_test(test_narrow_uplinks), cmocka_unit_test(test_slow_cables),
        cmocka_unit_test(test_swapped_cables), cmocka_unit_test(test_absent_switches),
        cmocka_unit_test(test_pulled_cables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
