/*
 * SPDX-License-Identifier: Apache-2.0
 * The NVML probe over a scripted driver: what boxes that are whole, degraded, hidden or split
 * become in the graph, and what is remarked. No GPU is needed; none of this was measured on one.
 */
#include "tests/topology/nvml_graph.h"

/* ---- boxes that are whole ---- */

static void test_h100(void **state)
{
    (void)state;
    struct fake_box box;
    fake_h100(&box);
    struct weft_topology *t = probed(EIGHT, &box);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 4);
    assert_int_equal(count_links(t, WEFT_LINK_NVLINK), 32);
    for (int i = 0; i < 8; i++) {
        char gpu[16];
        snprintf(gpu, sizeof gpu, "host0/gpu%d", i);
        assert_nvlink(t, gpu, "host0/nvswitch0", 5, 25000000000);
        assert_nvlink(t, gpu, "host0/nvswitch1", 5, 25000000000);
        assert_nvlink(t, gpu, "host0/nvswitch2", 4, 25000000000);
        assert_nvlink(t, gpu, "host0/nvswitch3", 4, 25000000000);
        assert_int_equal(number_of(t, gpu, "nvlink_supported"), 18);
        assert_int_equal(number_of(t, gpu, "nvlink_active"), 18);
        assert_int_equal(number_of(t, gpu, "nvlink_version"), 4);
        assert_int_equal(number_of(t, gpu, "index"), i);
    }
    assert_string_equal(text_of(t, "host0/nvswitch2", "pci_address"), "0000:c2:00.0");
    assert_string_equal(text_of(t, "host0/gpu5", "model"), "NVIDIA H100 80GB HBM3");
    assert_string_equal(text_of(t, "host0/gpu5", "uuid"),
                        "GPU-00000000-0000-0000-0000-000000000005");
    assert_true(number_of(t, "host0/gpu5", "memory_bytes") == 80ll << 30);
    assert_int_equal(number_of(t, "host0/gpu5", "power_limit_milliwatts"), 700000);
    assert_int_equal(number_of(t, "host0/gpu5", "process.power_milliwatts"), 71000);
    assert_int_equal(number_of(t, "host0/gpu5", "process.energy_millijoules"), 123456789);
    assert_string_equal(text_of(t, "host0", "nvidia_driver"), "570.86.15");
    assert_string_equal(text_of(t, "host0/gpu5", "nvlink_domain"), "");
    assert_string_equal(text_of(t, "host0/gpu5", "nvlink_domain_reason"),
                        "its cluster UUID is zero");
    assert_int_equal(t->num_remarks, 0);
    assert_int_equal(has_finding(t, "uneven-gpus"), 0);
    assert_int_equal(has_finding(t, "below-nominal"), 0);
    weft_topology_destroy(&t);
}

/* Two boards of eight GPUs, each with six switches of its own; trunks are not told. */
static void test_two_boards(void **state)
{
    (void)state;
    struct fake_box box;
    fake_h100(&box);
    box.count = 16;
    for (int i = 0; i < 16; i++) {
        box.gpus[i] = box.gpus[i % 8];
        box.gpus[i].bus = 0x10 + (unsigned)i;
        box.gpus[i].num_links = 6;
        box.gpus[i].version = 2;
        for (int link = 0; link < 6; link++)
            box.gpus[i].links[link].remote_bus = (unsigned)(0xc0 + i / 8 * 16 + link);
    }
    struct weft_topology *t = probed("host:1 numa:2 pcie:4 gpu:16", &box);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 12);
    assert_int_equal(count_links(t, WEFT_LINK_NVLINK), 16 * 6 + 6);
    assert_int_equal(link_of(t, WEFT_LINK_NVLINK, "host0/nvswitch0", "host0/nvswitch6")->count, 8);
    assert_int_equal(remarks(t, WEFT_REMARK_GUESS, "host0", "form 2 sets"), 1);
    weft_topology_destroy(&t);
}

/* What a process finds at a moment is no property of the machine. */
static void test_fingerprint(void **state)
{
    (void)state;
    struct fake_box box;
    fake_h100(&box);
    struct weft_topology *t = probed(EIGHT, &box);
    uint64_t fingerprint = weft_topology_fingerprint(t);
    weft_topology_destroy(&t);
    fake_h100(&box);
    box.gpus[2].energy++;
    box.gpus[2].power = 650000;
    box.gpus[2].generation = 1;
    t = probed(EIGHT, &box);
    assert_true(weft_topology_fingerprint(t) == fingerprint);
    weft_topology_destroy(&t);
    fake_h100(&box);
    box.gpus[2].power_limit = 500000;
    t = probed(EIGHT, &box);
    assert_true(weft_topology_fingerprint(t) != fingerprint);
    weft_topology_destroy(&t);
}

/* Switches that hwloc made, and NVLinks that it measured differently. */
static void test_known_before(void **state)
{
    (void)state;
    struct fake_box box;
    fake_h100(&box);
    struct weft_topology *t = machine(EIGHT, &box);
    int node;
    assert_int_equal(
        weft_topology_add_node(t, WEFT_NODE_NVSWITCH, "host0/nvswitch0", 0, &node, NULL), 0);
    assert_int_equal(
        weft_topology_set_text(t, node, "pci_address", "0000:c2:00.0", WEFT_SOURCE_HWLOC, NULL), 0);
    struct weft_link old = weft_link_make(WEFT_LINK_NVLINK, node, find(t, "host0/gpu1"));
    old.bandwidth.current = (struct weft_quantity){75000000000, WEFT_SOURCE_HWLOC};
    assert_int_equal(weft_topology_add_link(t, &old, NULL, NULL), 0);
    const struct weft_nvml nvml = fake_nvml(&box);
    assert_int_equal(weft_probe_nvml_with(&nvml, t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 4);
    assert_int_equal(count_links(t, WEFT_LINK_NVLINK), 32);
    assert_nvlink(t, "host0/gpu1", "host0/nvswitch0", 4, 25000000000);
    assert_int_equal(remarks(t, WEFT_REMARK_CONTRADICTION, "host0/gpu1", "75000000000"), 1);
    weft_topology_destroy(&t);
}

/* GPUs that the operating system does not show. */
static void test_missed_by_hwloc(void **state)
{
    (void)state;
    struct fake_box box;
    fake_pair(&box);
    struct weft_topology *t = probed("host:1 numa:2 core:2", &box);
    int gpu = find(t, "host0/gpu1"), islands;
    assert_int_equal(t->nodes[gpu].parent, find(t, "host0"));
    assert_string_equal(text_of(t, "host0/gpu1", "pci_address"), "0000:11:00.0");
    assert_int_equal(remarks(t, WEFT_REMARK_GUESS, "host0/gpu1", "operating system"), 1);
    assert_true(link_of(t, WEFT_LINK_ROOT, "host0/numa1", "host0/gpu1")->bandwidth.nominal.value ==
                63015385000);
    assert_int_equal(weft_topology_islands(t, NULL, &islands, NULL), 0);
    assert_int_equal(islands, 1);
    weft_topology_destroy(&t);
    assert_int_equal(weft_topology_create(&t, NULL), 0); // not even a host
    box.num_shutdowns = 0;
    const struct weft_nvml nvml = fake_nvml(&box);
    assert_int_equal(weft_probe_nvml_with(&nvml, t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 1);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 2);
    weft_topology_destroy(&t);
}

static void test_pair(void **state)
{
    (void)state;
    struct fake_box box;
    fake_pair(&box);
    struct weft_topology *t = probed("host:1 numa:1 pcie:1 gpu:2", &box);
    const struct weft_link *link = link_of(t, WEFT_LINK_NVLINK, "host0/gpu0", "host0/gpu1");
    assert_int_equal(link->count, 4);
    assert_true(link->bandwidth.nominal.value == 100000000000);
    assert_true(link->bandwidth.current.value == 4ll * 14062000000); // slower than the version says
    assert_int_equal(has_finding(t, "below-nominal"), 1);
    weft_topology_destroy(&t);

    fake_pair(&box); // one end has lost a link, the other does not know
    box.gpus[1].links[2].is_down = true;
    t = probed("host:1 numa:1 pcie:1 gpu:2", &box);
    assert_int_equal(link_of(t, WEFT_LINK_NVLINK, "host0/gpu0", "host0/gpu1")->count, 3);
    assert_int_equal(remarks(t, WEFT_REMARK_CONTRADICTION, NULL, "one end says 4, the other 3"), 1);
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu1", "has 3 of 4 NVLinks: down is 2"),
                     1);
    assert_int_equal(t->num_remarks, 2); // each end is heard once
    weft_topology_destroy(&t);

    fake_pair(&box); // no bridge is plugged in: that is no fault
    for (int i = 0; i < 8; i++)
        box.gpus[i / 4].links[i % 4].is_down = true;
    t = probed("host:1 numa:1 pcie:1 gpu:2", &box);
    assert_int_equal(count_links(t, WEFT_LINK_NVLINK), 0);
    assert_int_equal(number_of(t, "host0/gpu0", "nvlink_active"), 0);
    assert_int_equal(number_of(t, "host0/gpu0", "nvlink_supported"), 0);
    assert_int_equal(number_of(t, "host0/gpu0", "nvlink_ports"), 4);
    assert_int_equal(t->num_remarks, 0);
    weft_topology_destroy(&t);
}

/* ---- links that are down ---- */

static void test_dead_nvlink(void **state)
{
    (void)state;
    struct fake_box box;
    fake_h100(&box);
    box.gpus[3].links[7].is_down = true;
    struct weft_topology *t = probed(EIGHT, &box);
    assert_nvlink(t, "host0/gpu3", "host0/nvswitch1", 4, 25000000000);
    assert_nvlink(t, "host0/gpu3", "host0/nvswitch0", 5, 25000000000);
    assert_int_equal(number_of(t, "host0/gpu3", "nvlink_active"), 17);
    assert_int_equal(number_of(t, "host0/gpu3", "nvlink_supported"), 18);
    assert_int_equal(t->num_remarks, 1);
    assert_string_equal(t->remarks[0].text, "host0/gpu3 has 17 of 18 NVLinks: down is 7");
    assert_int_equal(has_finding(t, "uneven-gpus"), 1);
    weft_topology_destroy(&t);

    fake_h100(&box);
    box.gpus[3].links[0].is_down = box.gpus[3].links[7].is_down = box.gpus[3].links[17].is_down =
        true;
    t = probed(EIGHT, &box);
    assert_int_equal(
        remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu3", "has 15 of 18 NVLinks: down are 0, 7 and 17"),
        1);
    weft_topology_destroy(&t);
}

static void test_fewer_by_design(void **state)
{
    (void)state;
    struct fake_box box;
    fake_h100(&box);
    for (int i = 0; i < 8; i++)
        box.gpus[i].links[17].is_down = true;
    struct weft_topology *t = probed(EIGHT, &box);
    assert_int_equal(number_of(t, "host0/gpu3", "nvlink_active"), 17);
    assert_int_equal(number_of(t, "host0/gpu3", "nvlink_supported"), 17);
    assert_int_equal(number_of(t, "host0/gpu3", "nvlink_ports"), 18);
    assert_int_equal(t->num_remarks, 1);
    assert_int_equal(remarks(t, WEFT_REMARK_GUESS, "host0", "has 17 of 18 NVLinks up"), 1);
    weft_topology_destroy(&t);
}

/* ---- what is hidden ---- */

static void test_hidden_switch(void **state)
{
    (void)state;
    struct fake_box box;
    for (int way = 0; way < 3; way++) { // no address, the GPU's own address, an error
        fake_h100(&box);
        box.is_driver_old = true;
        for (int i = 0; i < 8 * 18; i++) {
            struct fake_link *link = &box.gpus[i / 18].links[i % 18];
            link->is_remote_hidden = way == 0;
            link->remote_bus = box.gpus[i / 18].bus;
            link->remote_pci_status = way == 2 ? WEFT_NVML_NOT_SUPPORTED : 0;
        }
        struct weft_topology *t = probed(EIGHT, &box);
        assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 1);
        assert_int_equal(count_links(t, WEFT_LINK_NVLINK), 8);
        assert_nvlink(t, "host0/gpu7", "host0/nvswitch0", 18, 25000000000);
        assert_int_equal(t->num_remarks, 1);
        assert_int_equal(remarks(t, WEFT_REMARK_GUESS, "host0/nvswitch0", "8 GPUs with 18"), 1);
        weft_topology_destroy(&t);
    }
}

/* A dead link does not make the others' switch less likely; a GPU with other links does. */
static void test_hidden_and_uneven(void **state)
{
    (void)state;
    struct fake_box box;
    fake_h100(&box);
    for (int i = 0; i < 8 * 18; i++)
        box.gpus[i / 18].links[i % 18].is_remote_hidden = true;
    box.gpus[4].links[4].is_down = true;
    struct weft_topology *t = probed(EIGHT, &box);
    assert_nvlink(t, "host0/gpu4", "host0/nvswitch0", 17, 25000000000);
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu4", "17 of 18"), 1);
    weft_topology_destroy(&t);
    box.gpus[4].num_links = 12;
    box.num_shutdowns = 0;
    t = probed(EIGHT, &box);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 0);
    assert_int_equal(count_links(t, WEFT_LINK_NVLINK), 0);
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu4", "other end of 11"), 1);
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu5", "other end of 18"), 1);
    weft_topology_destroy(&t);
}

/* Two GPUs of a box in a virtual machine, and one. */
static void test_few_hidden(void **state)
{
    (void)state;
    struct fake_box box;
    for (int count = 1; count <= 2; count++) {
        fake_h100(&box);
        box.count = (unsigned)count;
        for (int i = 0; i < 8 * 18; i++)
            box.gpus[i / 18].links[i % 18].is_remote_hidden = true;
        struct weft_topology *t =
            probed(count == 1 ? "host:1 numa:1 gpu:1" : "host:1 numa:1 gpu:2", &box);
        assert_int_equal(count_links(t, WEFT_LINK_NVLINK), count == 1 ? 0 : 2);
        assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu0", "other end of 18"),
                         count == 1);
        weft_topology_destroy(&t);
    }
    fake_gb200(&box, 0x5a, 7); // one GPU of a rack reaches others through the switch
    box.count = 1;
    struct weft_topology *t = probed("host:1 numa:1 gpu:1", &box);
    assert_nvlink(t, "host0/gpu0", "host0/nvswitch0", 18, 50000000000);
    weft_topology_destroy(&t);
}

/* Two GPUs of a box without switches in a container: their neighbours are not shown. */
static void test_neighbours_outside(void **state)
{
    (void)state;
    struct fake_box box;
    for (int is_old = 0; is_old < 2; is_old++) {
        fake_pair(&box);
        box.is_driver_old = is_old;
        for (int i = 0; i < 8; i++)
            box.gpus[i / 4].links[i % 4].remote_bus = 0x70 + (unsigned)i;
        struct weft_topology *t = probed("host:1 numa:1 pcie:1 gpu:2", &box);
        assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 0);
        assert_int_equal(count_links(t, WEFT_LINK_NVLINK), 0);
        assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu1", "other end of 4"), 1);
        weft_topology_destroy(&t);
    }
}

/* POWER9: some links of each GPU lead to its CPU. */
static void test_links_to_cpu(void **state)
{
    (void)state;
    struct fake_box box;
    fake_pair(&box);
    for (int i = 0; i < 8; i++)
        if (i % 4 < 2)
            box.gpus[i / 4].links[i % 4].remote_type = WEFT_NVML_REMOTE_CPU;
    box.gpus[0].mbps = box.gpus[1].mbps = 25000;
    struct weft_topology *t = probed("host:1 numa:2 pcie:2 gpu:2", &box);
    assert_nvlink(t, "host0/gpu0", "host0/numa0", 2, 25000000000);
    assert_nvlink(t, "host0/gpu1", "host0/numa1", 2, 25000000000);
    assert_nvlink(t, "host0/gpu0", "host0/gpu1", 2, 25000000000);
    assert_int_equal(t->num_remarks, 0);
    weft_topology_destroy(&t);
}

/* A real box in a cloud: of eight GPUs, one has no address for its switches. */
static void test_one_hidden_of_eight(void **state)
{
    (void)state;
    struct fake_box box;
    fake_h100(&box);
    for (int i = 0; i < 18; i++)
        box.gpus[6].links[i].is_remote_hidden = true;
    struct weft_topology *t = probed(EIGHT, &box);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 4);
    assert_nvlink(t, "host0/gpu6", "host0/nvswitch1", 5, 25000000000);
    assert_nvlink(t, "host0/gpu6", "host0/nvswitch3", 4, 25000000000);
    assert_int_equal(remarks(t, WEFT_REMARK_GUESS, "host0/gpu6", "where those of host0/gpu0"), 1);
    weft_topology_destroy(&t);
}

/* ---- fabrics ---- */

static void test_gb200(void **state)
{
    (void)state;
    struct fake_box box;
    fake_gb200(&box, 0x5a, 7);
    struct weft_topology *t = probed(FOUR, &box);
    assert_string_equal(text_of(t, "host0/gpu3", "nvlink_domain"),
                        "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a.7");
    assert_string_equal(text_of(t, "host0/nvswitch0", "nvlink_domain"),
                        "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a.7");
    assert_string_equal(text_of(t, "host0/gpu3", "fabric_state"), "completed");
    assert_int_equal(number_of(t, "host0/gpu3", "fabric_clique"), 7);
    assert_nvlink(t, "host0/gpu3", "host0/nvswitch0", 18, 50000000000);
    const struct weft_link *c2c = link_of(t, WEFT_LINK_C2C, "host0/numa1", "host0/gpu3");
    assert_int_equal(c2c->count, 10);
    assert_true(c2c->bandwidth.nominal.value == 447120000000);
    assert_int_equal(t->num_remarks, 1); // the guessed switch
    weft_topology_destroy(&t);
}

static void test_gb200_sentinel(void **state)
{
    (void)state;
    struct fake_box box;
    fake_gb200(&box, 0x5a, 32766);
    struct weft_topology *t = probed(FOUR, &box);
    assert_string_equal(text_of(t, "host0/gpu0", "nvlink_domain"),
                        "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a.32766");
    assert_int_equal(remarks(t, WEFT_REMARK_GUESS, "host0/gpu0", "no partition"), 1);
    weft_topology_destroy(&t);
}

/* Same clique, other cluster: not one domain. */
static void test_two_trays(void **state)
{
    (void)state;
    struct fake_box box;
    char first[64];
    fake_gb200(&box, 0x5a, 32766);
    struct weft_topology *t = probed(FOUR, &box);
    snprintf(first, sizeof first, "%s", text_of(t, "host0/gpu0", "nvlink_domain"));
    weft_topology_destroy(&t);
    fake_gb200(&box, 0x5b, 32766);
    t = probed(FOUR, &box);
    assert_string_not_equal(text_of(t, "host0/gpu0", "nvlink_domain"), "");
    assert_string_not_equal(text_of(t, "host0/gpu0", "nvlink_domain"), first);
    weft_topology_destroy(&t);
}

static void assert_no_domain(struct fake_box *box, const char *form, const char *reason)
{
    struct weft_topology *t = probed(form, box);
    assert_string_equal(text_of(t, "host0/gpu1", "nvlink_domain"), "");
    assert_string_equal(text_of(t, "host0/gpu1", "nvlink_domain_reason"), reason);
    weft_topology_destroy(&t);
}

static void test_guards(void **state)
{
    (void)state;
    struct fake_box box;
    fake_gb200(&box, 0, 7);
    assert_no_domain(&box, FOUR, "its cluster UUID is zero");
    fake_gb200(&box, 0x5a, 7);
    box.gpus[1].fabric.state = 2;
    struct weft_topology *t = probed(FOUR, &box);
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu1", "state: in progress"), 1);
    assert_string_equal(text_of(t, "host0/gpu1", "nvlink_domain"), "");
    assert_string_not_equal(text_of(t, "host0/gpu0", "nvlink_domain"), "");
    weft_topology_destroy(&t);
    fake_gb200(&box, 0x5a, 7);
    box.gpus[1].fabric.status = WEFT_NVML_UNKNOWN;
    assert_no_domain(&box, FOUR, "the fabric manager failed");
    fake_gb200(&box, 0x5a, 7);
    for (int i = 0; i < 18; i++)
        box.gpus[1].links[i].is_down = true;
    assert_no_domain(&box, FOUR, "it has no active NVLink");

    fake_h100(&box); // ids that look valid, links that end inside
    for (int i = 0; i < 8; i++)
        memset(box.gpus[i].fabric.cluster, 0x77, 16);
    assert_no_domain(&box, EIGHT, "its NVLinks end on this host");
    for (int i = 0; i < 8 * 18; i++) // the same in a virtual machine
        box.gpus[i / 18].links[i % 18].is_remote_hidden = true;
    box.num_shutdowns = 0;
    assert_no_domain(&box, EIGHT, "machines of its kind have their switches inside");

    fake_gb200(&box, 0x5a, 7); // an older library
    box.is_driver_old = true;
    t = probed(FOUR, &box);
    assert_string_not_equal(text_of(t, "host0/gpu1", "nvlink_domain"), "");
    weft_topology_destroy(&t);
    fake_gb200(&box, 0x5a, 7);
    box.gpus[1].fabric.health_mask = 1 << 0 | 2 << 2 | 1 << 4;
    t = probed(FOUR, &box);
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu1", "degraded bandwidth"), 1);
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu1", "unhealthy route"), 1);
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu1", "recovers"), 0);
    weft_topology_destroy(&t);
}

static void test_c2c_down(void **state)
{
    (void)state;
    struct fake_box box;
    fake_gb200(&box, 0x5a, 7);
    box.gpus[2].c2c_down = 4;
    struct weft_topology *t = probed(FOUR, &box);
    assert_int_equal(link_of(t, WEFT_LINK_C2C, "host0/numa1", "host0/gpu2")->count, 6);
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu2", "6 of 10 C2C"), 1);
    weft_topology_destroy(&t);
}

/* ---- MIG ---- */

static void test_mig(void **state)
{
    (void)state;
    struct fake_box box;
    static struct fake_gpu instances[2];
    fake_h100(&box);
    box.gpus[2].mig = 1;
    for (int i = 0; i < 2; i++) {
        snprintf(instances[i].name, sizeof instances[i].name, "NVIDIA H100 MIG 3g.40gb");
        snprintf(instances[i].uuid, sizeof instances[i].uuid, "MIG-%d", i);
        instances[i].memory = 40ull << 30;
    }
    box.gpus[2].mig_instances[0] = &instances[0];
    box.gpus[2].mig_instances[4] = &instances[1];
    struct weft_topology *t = probed(EIGHT, &box);
    assert_string_equal(text_of(t, "host0/gpu2", "mig"), "on");
    assert_string_equal(text_of(t, "host0/gpu1", "mig"), "off");
    int instance = find(t, "host0/gpu2-mig4");
    assert_int_equal(t->nodes[instance].parent, find(t, "host0/gpu2"));
    assert_string_equal(text_of(t, "host0/gpu2-mig4", "uuid"), "MIG-1");
    assert_true(number_of(t, "host0/gpu2-mig0", "memory_bytes") == 40ll << 30);
    assert_int_equal(count_links(t, WEFT_LINK_NVLINK), 28); // none of the seventh GPU's
    assert_int_equal(number_of(t, "host0/gpu2", "nvlink_active"), -1);
    assert_int_equal(remarks(t, WEFT_REMARK_HIDDEN, "host0/gpu2", "split by MIG"), 1);
    assert_int_equal(t->num_remarks, 1);
    weft_topology_destroy(&t);
    box.gpus[2].num_mig = 99; // a driver that speaks of 10^9 instances
    box.num_shutdowns = 0;
    t = probed(EIGHT, &box);
    assert_int_equal(remarks(t, WEFT_REMARK_UNREAD, "host0/gpu2", "1000000000"), 1);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h100),
        cmocka_unit_test(test_two_boards),
        cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_known_before),
        cmocka_unit_test(test_missed_by_hwloc),
        cmocka_unit_test(test_pair),
        cmocka_unit_test(test_dead_nvlink),
        cmocka_unit_test(test_fewer_by_design),
        cmocka_unit_test(test_hidden_switch),
        cmocka_unit_test(test_hidden_and_uneven),
        cmocka_unit_test(test_few_hidden),
        cmocka_unit_test(test_neighbours_outside),
        cmocka_unit_test(test_links_to_cpu),
        cmocka_unit_test(test_one_hidden_of_eight),
        cmocka_unit_test(test_gb200),
        cmocka_unit_test(test_gb200_sentinel),
        cmocka_unit_test(test_two_trays),
        cmocka_unit_test(test_guards),
        cmocka_unit_test(test_c2c_down),
        cmocka_unit_test(test_mig),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
