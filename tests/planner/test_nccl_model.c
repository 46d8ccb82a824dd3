/*
 * SPDX-License-Identifier: Apache-2.0
 * The emulation of NCCL: the reference table, the formulas by hand where a row can be worked out,
 * what is refused, and what presets give.
 */
#include "tests/topology/load.h"

#include <cmocka.h>
#include <math.h>

#include "collectives/planner/nccl_table.h"
#include "collectives/planner/nccl_topology.h"

#define GIB (UINT64_C(1) << 30)

static void reference_is_reproduced(void **state)
{
    (void)state;
    for (int i = 0; i < WEFT_NCCL_REFERENCES; i++) {
        struct weft_nccl_crossover rows[WEFT_NCCL_MAX_CROSSOVERS];
        int num_rows;
        bool is_equal;
        assert_int_equal(
            weft_nccl_reference_check(&weft_nccl_references[i], rows, &num_rows, &is_equal, NULL),
            WEFT_OK);
        if (!is_equal)
            fail_msg("%s differs", weft_nccl_references[i].cluster);
    }
}

static void a_wrong_constant_is_seen(void **state)
{
    (void)state;
    struct weft_nccl_reference other = weft_nccl_references[0];
    struct weft_nccl_crossover rows[WEFT_NCCL_MAX_CROSSOVERS];
    int num_rows;
    bool is_equal;
    other.input.is_tree_plain = true; // the factor that the table leaves out
    assert_int_equal(weft_nccl_reference_check(&other, rows, &num_rows, &is_equal, NULL), WEFT_OK);
    assert_false(is_equal);
    other = weft_nccl_references[0];
    other.input.net_latency_us = 1;
    assert_int_equal(weft_nccl_reference_check(&other, rows, &num_rows, &is_equal, NULL), WEFT_OK);
    assert_false(is_equal);
}

static struct weft_nccl_prediction predict(const struct weft_nccl_input *in,
                                           weft_collective collective, uint64_t bytes)
{
    struct weft_nccl_prediction made;
    assert_int_equal(weft_nccl_predict(in, collective, bytes, &made, NULL), WEFT_OK);
    return made;
}

static void near(double value, double expected)
{
    if (fabs(value - expected) > 1e-6 * fabs(expected))
        fail_msg("%.9g is not %.9g", value, expected);
}

/* 16 ranks on 2 nodes, 8 channels of 45 GB/s, Intel: worked out by hand. */
static void collectives_by_hand(void **state)
{
    (void)state;
    struct weft_nccl_input in = weft_nccl_references[0].input;
    struct weft_nccl_prediction p = predict(&in, WEFT_ALL_GATHER, GIB);
    const struct weft_nccl_price *ring = p.prices[WEFT_NCCL_RING];
    near(ring[WEFT_NCCL_SIMPLE].bandwidth, 360.0 * 16 / 15);
    near(ring[WEFT_NCCL_SIMPLE].latency_us, 8.4 + 14 * 3.4 + 14);
    near(ring[WEFT_NCCL_LL128].bandwidth, 293.6 * 16 / 15); // 8 channels of 36.7
    near(ring[WEFT_NCCL_LL].bandwidth, 39.0 * 16 / 15);
    near(ring[WEFT_NCCL_LL].latency_us, 6.6 + 14 * 1 + 2.7); // the network's overhead of 1 us
    in.cpu = WEFT_NCCL_CPU_AMD;
    p = predict(&in, WEFT_REDUCE_SCATTER, GIB);
    near(p.prices[WEFT_NCCL_RING][WEFT_NCCL_LL].latency_us, 6.6 + 14 * 2 + 2.7);
    near(p.prices[WEFT_NCCL_RING][WEFT_NCCL_SIMPLE].latency_us, 8.4 + 14 * 6 + 14);
    near(p.prices[WEFT_NCCL_RING][WEFT_NCCL_LL].bandwidth, 22.5 * 16 / 15);
    assert_string_equal(p.prices[WEFT_NCCL_TREE][WEFT_NCCL_LL].reason,
                        "not for all-gather and reduce-scatter");
    p = predict(&in, WEFT_BROADCAST, GIB);
    near(p.prices[WEFT_NCCL_RING][WEFT_NCCL_SIMPLE].bandwidth, 360);
    near(p.prices[WEFT_NCCL_RING][WEFT_NCCL_SIMPLE].latency_us, 8.4 + 14);
    in.has_same_channels = false;
    p = predict(&in, WEFT_REDUCE, GIB);
    near(p.prices[WEFT_NCCL_RING][WEFT_NCCL_LL].latency_us, 6.6 + 16 * 2.7);
    in.cpu = WEFT_NCCL_CPU_INTEL;
    p = predict(&in, WEFT_ALL_REDUCE, 8);
    assert_true(p.algorithm == WEFT_NCCL_TREE && p.protocol == WEFT_NCCL_LL);
    near(p.time_us, 6.8 + 2 * (7 * .6 + 5) + 8 / (1000 * 39.0 / 2));
    assert_int_equal(p.channels, 1); // 8 bytes
}

static void nvls_pat_and_collnet_by_hand(void **state)
{
    (void)state;
    struct weft_nccl_input in = weft_nccl_references[5].input;
    in.allows_nvls = true;
    in.nvls = (struct weft_nccl_graph){8, 40, 40};
    struct weft_nccl_prediction p = predict(&in, WEFT_ALL_REDUCE, GIB);
    assert_int_equal(p.algorithm, WEFT_NCCL_NVLS);
    // 40 x .85 x 7/8 x 2 on 8 channels, 8 of 14 steps
    near(p.prices[WEFT_NCCL_NVLS][WEFT_NCCL_SIMPLE].bandwidth, 476.0 * 8 / 14);
    near(p.prices[WEFT_NCCL_NVLS][WEFT_NCCL_SIMPLE].latency_us, 25);
    assert_non_null(p.prices[WEFT_NCCL_NVLS_TREE][WEFT_NCCL_SIMPLE].reason);
    assert_non_null(p.prices[WEFT_NCCL_NVLS][WEFT_NCCL_LL].reason);
    p = predict(&in, WEFT_ALL_GATHER, GIB);
    near(p.prices[WEFT_NCCL_NVLS][WEFT_NCCL_SIMPLE].bandwidth, 8 * 40 * .85 * 7 / 8 * 7 / 8);

    in = weft_nccl_references[1].input;
    in.allows_nvls = in.allows_collnet = true;
    in.nvls = (struct weft_nccl_graph){8, 40, 40};
    p = predict(&in, WEFT_ALL_REDUCE, GIB);
    near(p.prices[WEFT_NCCL_NVLS_TREE][WEFT_NCCL_SIMPLE].bandwidth, 320.0 * 32 / 62);
    near(p.prices[WEFT_NCCL_NVLS_TREE][WEFT_NCCL_SIMPLE].latency_us, 25 + 4 * 20.9);
    near(p.prices[WEFT_NCCL_COLLNET_CHAIN][WEFT_NCCL_SIMPLE].latency_us, 14 * 2.8 + 30);
    near(p.prices[WEFT_NCCL_COLLNET_DIRECT][WEFT_NCCL_SIMPLE].latency_us, 2 * (3.7 + 2.8) + 31);
    near(p.prices[WEFT_NCCL_COLLNET_DIRECT][WEFT_NCCL_SIMPLE].bandwidth, 360 * .85 / 2);

    in = weft_nccl_references[7].input;
    p = predict(&in, WEFT_ALL_GATHER, GIB);
    near(p.prices[WEFT_NCCL_PAT][WEFT_NCCL_SIMPLE].bandwidth, .9);
    near(p.prices[WEFT_NCCL_PAT][WEFT_NCCL_SIMPLE].latency_us, 8 + 14 / 3.5 + 2 * 2.8);
}

static void what_is_refused(void **state)
{
    (void)state;
    struct weft_nccl_input in = weft_nccl_references[0].input;
    struct weft_nccl_prediction p;
    assert_int_equal(weft_nccl_predict(&in, WEFT_ALL_TO_ALL, 8, &p, NULL), WEFT_UNSUPPORTED);
    in.num_nodes = 0;
    assert_int_equal(weft_nccl_predict(&in, WEFT_ALL_REDUCE, 8, &p, NULL), WEFT_INVALID_ARGUMENT);
    in = weft_nccl_references[0].input;
    in.ring.channels = 1000000;
    assert_int_equal(weft_nccl_predict(&in, WEFT_ALL_REDUCE, 8, &p, NULL), WEFT_INVALID_ARGUMENT);
    in = weft_nccl_references[0].input;
    in.ring.channels = 0;
    assert_int_equal(weft_nccl_predict(&in, WEFT_BROADCAST, 8, &p, NULL), WEFT_NOT_FOUND);
}

/* What the search is taken to find; the ends of the scale of NCCL's logs. */
static const struct {
    const char *topology;
    int ranks, nodes;
    int capability;
    int channels;
    double inter;
    bool has_nvlink, is_nic_near;
} derived[] = {
    {"dgx-h100", 8, 1, 90, 12, 30, true, true},
    {"dgx-h100:2", 16, 2, 90, 8, 48, true, true},
    {"dgx-h100:4", 32, 4, 90, 8, 48, true, true},
    {"p5:2", 16, 2, 90, 32, 12, true, true},
    {"gb200-nvl72", 72, 1, 100, 16, 45, true, true},
    {"host:2 gpu:1 nic:1@10", 2, 2, 80, 1, 1.2, false, false},
    {"host:1 pcie:1@31.5 gpu:2@31.5", 2, 1, 80, 2, 12, false, true},
};

static void presets_give(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof derived / sizeof derived[0]; i++) {
        struct weft_topology *t = load(derived[i].topology);
        struct weft_nccl_input in;
        struct weft_error error = {0};
        char assumed[100];
        if (weft_nccl_input_from_topology(t, derived[i].ranks, &in, assumed, sizeof assumed,
                                          &error) != WEFT_OK)
            fail_msg("%s: %s", derived[i].topology, error.text);
        weft_topology_destroy(&t);
        if (in.num_nodes != derived[i].nodes ||
            in.min_compute_capability != derived[i].capability ||
            in.ring.channels != derived[i].channels || in.ring.inter != derived[i].inter ||
            in.has_nvlink != derived[i].has_nvlink || in.is_nic_near != derived[i].is_nic_near)
            fail_msg("%s: %d nodes, sm %d, %d channels of %g, NVLink %d, near %d",
                     derived[i].topology, in.num_nodes, in.min_compute_capability, in.ring.channels,
                     in.ring.inter, in.has_nvlink, in.is_nic_near);
    }
}

static void a_sentence(void **state)
{
    (void)state;
    struct weft_topology *t = load("dgx-h100:2");
    struct weft_nccl_prediction p;
    struct weft_error error = {0};
    char text[200];
    assert_int_equal(
        weft_nccl_explain(t, WEFT_ALL_REDUCE, 16, 1 << 26, &p, text, sizeof text, &error), WEFT_OK);
    assert_string_equal(text, "NCCL 2.28 would take nvls-tree/Simple with 8 channels and predicts "
                              "339 us; assuming Intel processors");
    assert_int_equal(p.algorithm, WEFT_NCCL_NVLS_TREE);
    assert_int_equal(
        weft_nccl_explain(t, WEFT_ALL_GATHER, 16, 1 << 26, &p, text, sizeof text, &error), WEFT_OK);
    assert_non_null(strstr(text, "take ring/Simple with 16 channels and predicts "));
    assert_int_equal(weft_nccl_explain(t, WEFT_ALL_REDUCE, 17, 8, NULL, text, sizeof text, &error),
                     WEFT_UNSUPPORTED);
    assert_int_equal(weft_nccl_explain(t, WEFT_ALL_REDUCE, 1, 8, NULL, text, sizeof text, &error),
                     WEFT_UNSUPPORTED);
    weft_topology_destroy(&t);
    const char *const others[] = {"host:1 core:4", "mi250"};
    for (int i = 0; i < 2; i++) {
        t = load(others[i]);
        assert_int_equal(
            weft_nccl_explain(t, WEFT_ALL_REDUCE, 4, 8, NULL, text, sizeof text, &error),
            WEFT_UNSUPPORTED);
        weft_topology_destroy(&t);
    }
}

/* Real machines: an answer or a reason. */
static void real_files_are_answered(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int ranks;
        weft_status status;
    } files[] = {
        {"aws/p5.48xl-topo.xml", 8, WEFT_OK},          {"aws/p4d-24xl-topo.xml", 8, WEFT_OK},
        {"oracle/H100-topology.xml", 8, WEFT_OK},      {"azure/ncv4-topo.xml", 4, WEFT_OK},
        {"mpibind/coral-lassen.xml", 4, WEFT_OK},      {"hwloc/nvidiaDGX2.xml", 16, WEFT_OK},
        {"rccl/topo_8p_940.xml", 8, WEFT_UNSUPPORTED}, {"rccl/topo_4p1h.xml", 4, WEFT_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct weft_topology *t = load_real(files[i].file);
        struct weft_error error = {0};
        char text[200] = "";
        weft_status status = weft_nccl_explain(t, WEFT_ALL_REDUCE, files[i].ranks, 1 << 20, NULL,
                                               text, sizeof text, &error);
        weft_topology_destroy(&t);
        print_message("%s: %s\n", files[i].file, status == WEFT_OK ? text : error.text);
        assert_int_equal(status, files[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_is_reproduced),
        cmocka_unit_test(a_wrong_constant_is_seen),
        cmocka_unit_test(collectives_by_hand),
        cmocka_unit_test(nvls_pat_and_collnet_by_hand),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(presets_give),
        cmocka_unit_test(a_sentence),
        cmocka_unit_test(real_files_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
