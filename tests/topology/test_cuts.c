/*
 * SPDX-License-Identifier: Apache-2.0
 * What weak links cost: PCIe trees with narrow places above, flows through NVSwitches and GPUs in a
 * ring, cables, leaf uplinks; the flow against all cuts of small random graphs.
 */
#include "tests/topology/graphs.h"

#include "topology/cuts.h"

/* The loss of the link between a and b when it should give `should`. */
static int64_t loss_of(const struct weft_topology *t, const char *a, const char *b, int64_t should)
{
    struct weft_cuts *cuts = NULL;
    assert_int_equal(weft_cuts_create(t, &cuts, NULL), WEFT_OK);
    int link = link_index(t, a, b);
    assert_int_equal(weft_cuts_loss(cuts, link), 0); // no defect yet
    weft_cuts_destroy(&cuts);
    assert_int_equal(weft_cuts_create(t, &cuts, NULL), WEFT_OK);
    weft_cuts_mark(cuts, link, should);
    int64_t loss = weft_cuts_loss(cuts, link);
    weft_cuts_destroy(&cuts);
    assert_null(cuts);
    return loss;
}

static void test_pcie(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic("host:1 pcie:1@64 gpu:2@64 nic:1@400");
    set_current(t, "host0/pcie-switch0", "host0/gpu1", 32 * GB);
    assert_int_equal(loss_of(t, "host0/pcie-switch0", "host0/gpu1", 64 * GB), 32 * GB);
    // the way above is no wider than the weak link: nothing is lost
    set_current(t, "host0/numa0", "host0/pcie-switch0", 32 * GB);
    assert_int_equal(loss_of(t, "host0/pcie-switch0", "host0/gpu1", 64 * GB), 0);
    // the uplink of two GPUs and a NIC: it, not they, is the cut
    set_current(t, "host0/pcie-switch0", "host0/gpu1", 64 * GB);
    assert_int_equal(loss_of(t, "host0/numa0", "host0/pcie-switch0", 64 * GB), 32 * GB);
    weft_topology_destroy(&t);
}

static void test_several_of_one_cut(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic("host:1 gpu:4 nvswitch:3@50");
    struct weft_cuts *cuts = NULL;
    set_current(t, "host0/gpu1", "host0/nvswitch0", 25 * GB);
    set_current(t, "host0/gpu1", "host0/nvswitch2", 10 * GB);
    assert_int_equal(weft_cuts_create(t, &cuts, NULL), WEFT_OK);
    weft_cuts_mark(cuts, link_index(t, "host0/gpu1", "host0/nvswitch0"), 50 * GB);
    weft_cuts_mark(cuts, link_index(t, "host0/gpu1", "host0/nvswitch2"), 50 * GB);
    assert_int_equal(weft_cuts_loss(cuts, link_index(t, "host0/gpu1", "host0/nvswitch0")), 65 * GB);
    assert_int_equal(weft_cuts_loss(cuts, link_index(t, "host0/gpu1", "host0/nvswitch1")),
                     65 * GB); // the same cut
    assert_int_equal(weft_cuts_loss(cuts, link_index(t, "host0/gpu2", "host0/nvswitch0")), 0);
    weft_cuts_destroy(&cuts);
    weft_topology_destroy(&t);
}

static void test_network(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic("host:2 nic:1@400");
    set_current(t, "host0/nic0", "network", 25 * GB);
    // PCIe is not known, and what is assumed of it does not count
    assert_int_equal(loss_of(t, "host0/nic0", "network", 50 * GB), 25 * GB);
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_PCIE)
            t->links[i].bandwidth.nominal = (struct weft_quantity){16 * GB, WEFT_SOURCE_FILE};
    assert_int_equal(loss_of(t, "host0/nic0", "network", 50 * GB), 0);
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_PCIE)
            t->links[i].bandwidth.nominal = (struct weft_quantity){64 * GB, WEFT_SOURCE_FILE};
    assert_int_equal(loss_of(t, "host0/nic0", "network", 50 * GB), 25 * GB);
    weft_topology_destroy(&t);

    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    int leaf = add_node(t, WEFT_NODE_LEAF, "leaf", -1);
    int spine = add_node(t, WEFT_NODE_SPINE, "spine", -1);
    add_link(t, WEFT_LINK_NETWORK, leaf, spine, 50 * GB);
    int weak = add_link(t, WEFT_LINK_NETWORK, leaf, spine, 50 * GB);
    t->links[weak].bandwidth.current = (struct weft_quantity){10 * GB, WEFT_SOURCE_UMAD};
    for (int i = 0; i < 2; i++) {
        int nic = add_node(t, WEFT_NODE_NIC, i ? "b" : "a", -1);
        add_link(t, WEFT_LINK_NETWORK, nic, leaf, 40 * GB);
    }
    struct weft_cuts *cuts = NULL;
    assert_int_equal(weft_cuts_create(t, &cuts, NULL), WEFT_OK);
    weft_cuts_mark(cuts, weak, 50 * GB);
    assert_int_equal(weft_cuts_loss(cuts, weak), 20 * GB); // 80 come from below, 60 go up
    weft_cuts_destroy(&cuts);
    weft_topology_destroy(&t);
}

/* ---- the flow against all cuts ---- */

enum { NUM_NODES = 7, NUM_GPUS = 3 };

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* GPU 0 against GPUs 1 and 2 of the group: the narrowest of all cuts, other GPUs let nothing by. */
static int64_t narrowest_cut(const struct weft_topology *t, const int64_t *capacity)
{
    int64_t least = INT64_MAX;
    for (unsigned side = 0; side < 1u << NUM_NODES; side++) {
        bool is_cut = (side & 1) && !(side & 6);
        int64_t through = 0;
        for (int i = 0; i < t->num_links; i++) {
            const struct weft_link *link = &t->links[i];
            bool from = side >> link->from & 1, to = side >> link->to & 1;
            if ((from && !to) || (!link->one_way && to && !from))
                through += capacity[i];
        }
        if (is_cut && through < least)
            least = through;
    }
    return least;
}

static void test_flow_is_cut(void **state)
{
    (void)state;
    uint32_t seed = 7;
    int lossy = 0;
    for (int round = 0; round < 400; round++) {
        struct weft_topology *t = NULL;
        char name[8];
        int64_t is[64], should[64];
        assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
        for (int i = 0; i < NUM_NODES; i++) {
            snprintf(name, sizeof name, "n%d", i);
            add_node(t, i < NUM_GPUS ? WEFT_NODE_GPU : WEFT_NODE_NVSWITCH, name, -1);
        }
        for (int a = 0; a < NUM_NODES; a++)
            for (int b = 0; b < NUM_NODES; b++)
                if (a != b && next_random(&seed) % 3 == 0 && t->num_links < 64) {
                    int link = add_link(t, WEFT_LINK_NVLINK, a, b, 1 + next_random(&seed) % 20);
                    t->links[link].one_way = next_random(&seed) % 2;
                }
        struct weft_cuts *cuts = NULL;
        assert_int_equal(weft_cuts_create(t, &cuts, NULL), WEFT_OK);
        int of_gpu = -1;
        for (int i = 0; i < t->num_links; i++) {
            is[i] = should[i] = t->links[i].bandwidth.nominal.value;
            if (next_random(&seed) % 4 == 0)
                should[i] += next_random(&seed) % 30;
            weft_cuts_mark(cuts, i, should[i]);
            bool joins_first = t->links[i].from == 0 || t->links[i].to == 0;
            int other = t->links[i].from == 0 ? t->links[i].to : t->links[i].from;
            of_gpu = joins_first && other >= NUM_GPUS ? i : of_gpu;
        }
        if (of_gpu >= 0) {
            int64_t expected = narrowest_cut(t, should) - narrowest_cut(t, is);
            assert_int_equal(weft_cuts_loss(cuts, of_gpu), expected);
            lossy += expected > 0;
        }
        weft_cuts_destroy(&cuts);
        weft_topology_destroy(&t);
    }
    assert_true(lossy > 50);
}

/* A group beyond the limit, every link weak: what leaves the GPU. */
static void test_large_group(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic("host:1 gpu:600 nvswitch:9@50");
    struct weft_cuts *cuts = NULL;
    assert_int_equal(weft_cuts_create(t, &cuts, NULL), WEFT_OK);
    int64_t most = 0;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NVLINK)
            weft_cuts_mark(cuts, i, 60 * GB);
    for (int i = 0; i < t->num_links; i++) {
        int64_t loss = weft_cuts_loss(cuts, i);
        most = loss > most ? loss : most;
    }
    assert_int_equal(most, 90 * GB);
    weft_cuts_destroy(&cuts);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pcie),        cmocka_unit_test(test_several_of_one_cut),
        cmocka_unit_test(test_network),     cmocka_unit_test(test_flow_is_cut),
        cmocka_unit_test(test_large_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
