/*
 * SPDX-License-Identifier: Apache-2.0
 * Presets against what their vendors publish: counts of nodes, cables between tiers, ports of
 * switches, bandwidth of a GPU; and strings that name a preset wrongly.
 */
#include "tests/topology/graphs.h"
#include "tests/topology/load.h"

#include "topology/presets.h"
#include "topology/route.h"

static struct weft_topology *made(const char *text)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    if (weft_topology_from_synthetic(text, &t, &error) != WEFT_OK)
        fail_msg("\"%s\": %s", text, error.text);
    assert_int_equal(weft_topology_check(t, NULL), WEFT_OK);
    return t;
}

/* Links between nodes of two kinds, and of how many single links they are bundled. */
static int count_links(const struct weft_topology *t, int kind_a, int kind_b, int *singles)
{
    int count = 0;
    *singles = 0;
    for (int i = 0; i < t->num_links; i++) {
        int from = t->nodes[t->links[i].from].kind, to = t->nodes[t->links[i].to].kind;
        if ((from == kind_a && to == kind_b) || (from == kind_b && to == kind_a)) {
            count++;
            *singles += t->links[i].count;
        }
    }
    return count;
}

/* NVIDIA's table of the reference architecture: cables of a tier are as many as those below it. */
static const struct {
    const char *text;
    int hosts, leaves, spines, cores, cables;
} superpods[] = {
    {"superpod-h100:64", 64, 16, 8, 0, 512},
    {"superpod-b200:128", 128, 32, 16, 0, 1024},
    {"superpod-h100:256", 256, 64, 32, 0, 2048},
    {"superpod-b200:512", 512, 128, 128, 64, 4096},
    {"superpod-h100:1024", 1024, 256, 256, 128, 8192},
    {"superpod-h100:2048", 2048, 512, 512, 256, 16384},
    // by the same rule: 1 SU, 3, 9, and pods of 16 and 17
    {"superpod-h100:32", 32, 8, 4, 0, 256},
    {"superpod-h100:96", 96, 24, 12, 0, 768},
    {"superpod-h100:288", 288, 72, 72, 36, 2304},
    {"superpod-h100:1056", 1056, 264, 264, 132, 8448},
    {"superpod-h100:2080", 2080, 520, 520, 260, 16640}, // pods of 21, 22 and 22 SUs
};

/* Full bisection: each port of every switch has exactly one cable. */
static void check_ports(const struct weft_topology *t, const char *text)
{
    enum { PORTS = 64 };
    char(*used)[PORTS + 1] = calloc((size_t)t->num_nodes, sizeof *used);
    assert_non_null(used);
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (link->kind != WEFT_LINK_NETWORK)
            continue;
        const int ends[][2] = {{link->from, link->from_port}, {link->to, link->to_port}};
        for (int j = 0; j < 2; j++)
            if (ends[j][1] < 1 || ends[j][1] > PORTS || used[ends[j][0]][ends[j][1]]++)
                fail_msg("\"%s\": port %d of %s", text, ends[j][1], t->nodes[ends[j][0]].name);
    }
    for (int i = 0; i < t->num_nodes; i++) {
        int ports = 0;
        for (int j = 1; j <= PORTS; j++)
            ports += used[i][j];
        bool is_fabric =
            weft_node_kinds[t->nodes[i].kind].is_switch && t->nodes[i].kind >= WEFT_NODE_LEAF;
        if (ports != (is_fabric ? PORTS : t->nodes[i].kind == WEFT_NODE_NIC))
            fail_msg("\"%s\": %s has %d cables", text, t->nodes[i].name, ports);
    }
    free(used);
}

static void test_superpods(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof superpods / sizeof superpods[0]; i++) {
        const char *text = superpods[i].text;
        struct weft_topology *t = made(text);
        int singles, cores = superpods[i].cores, islands;
        const int counts[][2] = {{WEFT_NODE_HOST, superpods[i].hosts},
                                 {WEFT_NODE_GPU, superpods[i].hosts * 8},
                                 {WEFT_NODE_LEAF, superpods[i].leaves},
                                 {WEFT_NODE_SPINE, superpods[i].spines},
                                 {WEFT_NODE_CORE_SWITCH, cores}};
        for (size_t j = 0; j < sizeof counts / sizeof counts[0]; j++)
            if (weft_topology_count(t, counts[j][0]) != counts[j][1])
                fail_msg("\"%s\": %d %s, not %d", text, weft_topology_count(t, counts[j][0]),
                         weft_node_kinds[counts[j][0]].plural, counts[j][1]);
        int cables = superpods[i].cables;
        assert_int_equal(count_links(t, WEFT_NODE_NIC, WEFT_NODE_LEAF, &singles), cables);
        assert_int_equal(count_links(t, WEFT_NODE_LEAF, WEFT_NODE_SPINE, &singles), cables);
        assert_int_equal(count_links(t, WEFT_NODE_SPINE, WEFT_NODE_CORE_SWITCH, &singles),
                         cores ? cables : 0);
        assert_int_equal(weft_topology_islands(t, NULL, &islands, NULL), WEFT_OK);
        assert_int_equal(islands, 1);
        check_ports(t, text);
        weft_topology_destroy(&t);
    }
}

/* 127 hosts: what a SuperPOD of 4 SUs has in practice. */
static void test_partial_unit(void **state)
{
    (void)state;
    struct weft_topology *t = made("superpod-h100:127");
    int singles;
    assert_int_equal(weft_topology_count(t, WEFT_NODE_LEAF), 32);
    assert_int_equal(count_links(t, WEFT_NODE_NIC, WEFT_NODE_LEAF, &singles), 127 * 8);
    assert_int_equal(count_links(t, WEFT_NODE_LEAF, WEFT_NODE_SPINE, &singles), 1024);
    weft_topology_destroy(&t);
}

/* NIC r of every host of a unit is on leaf r; other units are two tiers up. */
static void test_rails(void **state)
{
    (void)state;
    struct weft_topology *t = made("superpod-h100:64");
    const struct {
        const char *a, *b;
        int links;
    } ways[] = {{"host0/mlx5_3", "host31/mlx5_3", 2},
                {"host0/mlx5_3", "host32/mlx5_3", 4},
                {"host0/mlx5_3", "su0/leaf3", 1},
                {"host63/mlx5_7", "su1/leaf7", 1}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct weft_route route;
        assert_int_equal(weft_topology_route(t, weft_topology_find_node(t, ways[i].a),
                                             weft_topology_find_node(t, ways[i].b), &route, NULL),
                         WEFT_OK);
        if (route.num_links != ways[i].links)
            fail_msg("%s to %s: %d links", ways[i].a, ways[i].b, route.num_links);
        assert_true(route.bandwidth == 50000000000);
    }
    weft_topology_destroy(&t);
}

static const struct {
    const char *text;
    int gpus, nics, nvswitches;
    int gpu_links;    // NVLink or XGMI links of one GPU; 0: they differ
    int64_t gpu_gbps; // of those together, per direction
    int64_t nic_mbps; // bytes: MB/s
} boxes[] = {
    {"dgx-a100", 8, 8, 6, 12, 300, 25000},
    {"dgx-h100:2", 16, 16, 8, 18, 450, 50000},
    {" dgx-b200:1 ", 8, 8, 2, 18, 900, 50000},
    {"p5:3", 24, 96, 12, 18, 450, 12500},
    {"gb200-nvl72", 72, 72, 18, 18, 900, 50000},
    {"gb200-nvl72:2", 144, 144, 36, 18, 900, 50000},
    {"mi250", 16, 8, 0, 0, 0, 25000},
};

static void test_boxes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof boxes / sizeof boxes[0]; i++) {
        struct weft_topology *t = made(boxes[i].text);
        assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), boxes[i].gpus);
        assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), boxes[i].nics);
        assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), boxes[i].nvswitches);
        for (int gpu = 0; gpu < t->num_nodes; gpu++) {
            int links = 0;
            int64_t bytes = 0;
            if (t->nodes[gpu].kind != WEFT_NODE_GPU)
                continue;
            for (int j = 0; j < t->num_links; j++) {
                const struct weft_link *link = &t->links[j];
                if (link->kind != WEFT_LINK_NVLINK || (link->from != gpu && link->to != gpu))
                    continue;
                links += link->count;
                bytes += link->bandwidth.nominal.value;
            }
            if (links != boxes[i].gpu_links || bytes != boxes[i].gpu_gbps * 1000000000)
                fail_msg("%s: %s has %d NVLinks", boxes[i].text, t->nodes[gpu].name, links);
        }
        for (int j = 0; j < t->num_links; j++)
            if (t->links[j].kind == WEFT_LINK_NETWORK)
                assert_true(t->links[j].bandwidth.nominal.value == boxes[i].nic_mbps * 1000000);
        int remarks = 0;
        for (int j = 0; j < t->num_remarks; j++)
            remarks += t->remarks[j].kind == WEFT_REMARK_GUESS;
        assert_int_equal(remarks, 1);
        weft_topology_destroy(&t);
    }
}

/* The wiring is that of the real machine file, GPU by GPU. */
static void test_mi250_wiring(void **state)
{
    (void)state;
    struct weft_topology *t = made("mi250");
    int links_of[16] = {0}, singles;
    assert_int_equal(count_links(t, WEFT_NODE_GPU, WEFT_NODE_GPU, &singles), 28);
    assert_int_equal(singles, 16 * 4 / 2 + 8 * 2 / 2 + 32 / 2);
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (link->kind != WEFT_LINK_XGMI)
            continue;
        assert_true(link->bandwidth.nominal.value == link->count * INT64_C(50000000000));
        int a = atoi(strrchr(t->nodes[link->from].name, 'u') + 1);
        int b = atoi(strrchr(t->nodes[link->to].name, 'u') + 1);
        assert_true(link->count != 4 || (a ^ b) == 1); // the two dies of a module
        links_of[a] += link->count;
        links_of[b] += link->count;
    }
    for (int i = 0; i < 16; i++)
        assert_int_equal(links_of[i], 7);
    weft_topology_destroy(&t);
}

/* The real file of such a machine has the same links. */
static void test_mi250_file(void **state)
{
    (void)state;
    struct weft_topology *file = load_real("rccl/topo_16p1h.xml"), *t = made("mi250");
    const struct weft_topology *graphs[] = {file, t};
    int links[2][16][16] = {{{0}}};
    for (int g = 0; g < 2; g++)
        for (int i = 0; i < graphs[g]->num_links; i++) {
            const struct weft_link *link = &graphs[g]->links[i];
            if (link->kind != WEFT_LINK_XGMI)
                continue;
            int a = atoi(strrchr(graphs[g]->nodes[link->from].name, 'u') + 1);
            int b = atoi(strrchr(graphs[g]->nodes[link->to].name, 'u') + 1);
            assert_true(a >= 0 && a < 16 && b >= 0 && b < 16);
            links[g][a][b] += link->count;
            links[g][b][a] += link->count;
        }
    assert_memory_equal(links[0], links[1], sizeof links[0]);
    weft_topology_destroy(&file);
    weft_topology_destroy(&t);
}

static const struct {
    const char *text;
    int column;
    const char *why;
} bad[] = {
    {"superpod-h100", 1, "COUNT, from 1 to 8192 hosts"},
    {"superpod-h100:0", 15, "zero"},
    {"superpod-h100:8193", 1, "from 1 to 8192"},
    {"superpod-h100:99999999999999999999", 15, "4000000"},
    {"superpod-h100:x", 15, "count"},
    {"dgx-h100:", 10, "count"},
    {"dgx-h100:2 gpu:8", 12, "alone"},
    {"dgx-h100:2@3", 11, "alone"},
    {"dgx-h200:2", 1, "unknown kind"},
    {"gb200-nvl72:1025", 1, "racks"},
    {"p5:32769", 1, "32768"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_synthetic_refused(bad[i].text, bad[i].column, bad[i].why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_superpods),    cmocka_unit_test(test_partial_unit),
        cmocka_unit_test(test_rails),        cmocka_unit_test(test_boxes),
        cmocka_unit_test(test_mi250_wiring), cmocka_unit_test(test_mi250_file),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
