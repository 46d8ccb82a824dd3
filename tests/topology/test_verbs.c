/*
 * SPDX-License-Identifier: Apache-2.0
 * The verbs probe over a scripted library and made-up trees of sys and proc: what ports, addresses
 * and ways become in the graph. No RDMA hardware is needed; none of this was measured on it.
 */
#include "tests/topology/compare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/topology/fake_verbs.h"
#include "topology/findings.h"
#include "topology/gpudirect.h"
#include "topology/probe.h"
#include "topology/synthetic.h"

#define MACHINE "host:1 numa:2 pcie:2 gpu:4 nic:2@400"

/* A host as hwloc leaves it: GPUs at 0000:1N:00.0, NICs at 0000:2N:00.0. */
static struct weft_topology *machine(const char *form)
{
    struct weft_topology *t = NULL;
    int gpus = 0, nics = 0;
    assert_int_equal(weft_topology_from_synthetic(form, &t, NULL), WEFT_OK);
    for (int i = 0; i < t->num_nodes; i++) {
        char address[32];
        bool is_gpu = t->nodes[i].kind == WEFT_NODE_GPU;
        if (!is_gpu && t->nodes[i].kind != WEFT_NODE_NIC)
            continue;
        snprintf(address, sizeof address, "0000:%d%d:00.0", is_gpu ? 1 : 2,
                 is_gpu ? gpus++ : nics++);
        assert_int_equal(
            weft_topology_set_text(t, i, "pci_address", address, WEFT_SOURCE_HWLOC, NULL), 0);
    }
    return t;
}

/* The finding about ports; its severity, -1: none. */
static int severity_of_down_ports(const struct weft_topology *t, char *sentence, size_t size)
{
    struct weft_findings findings;
    int severity = -1;
    assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
    for (int i = 0; i < findings.count; i++)
        if (strcmp(findings.items[i].kind, "down-ports") == 0) {
            severity = (int)findings.items[i].severity;
            snprintf(sentence, size, "%s", findings.items[i].sentence);
        }
    weft_findings_free(&findings);
    return severity;
}

static void probe(struct fake_rdma *rdma, const struct fake_tree *tree, struct weft_topology *t)
{
    struct weft_error error = {0};
    const struct weft_verbs verbs = fake_verbs(rdma);
    if (weft_probe_verbs_with(&verbs, tree->root, t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_int_equal(weft_topology_check(t, &error), WEFT_OK);
    assert_int_equal(rdma->num_open, 0);
}

/* mlx5_0: InfiniBand; mlx5_1: RoCE. */
static void two_devices(struct fake_rdma *rdma, const struct fake_tree *tree)
{
    *rdma = (struct fake_rdma){.count = 2};
    for (int i = 0; i < 2; i++) {
        struct fake_device *device = &rdma->devices[i];
        char path[128], target[128];
        snprintf(device->name, sizeof device->name, "mlx5_%d", i);
        snprintf(device->attributes.fw_ver, sizeof device->attributes.fw_ver, "28.39.1002");
        device->attributes.phys_port_cnt = 1;
        device->attributes.node_guid = __builtin_bswap64(0x0002c90300000010ull + (unsigned)i);
        fake_port_up(&device->ports[0], i == 0, 128, 0x0002c90300000020ull + (unsigned)i);
        snprintf(path, sizeof path, "sys/class/infiniband/mlx5_%d/device", i);
        snprintf(target, sizeof target, "../../../../0000:2%d:00.0", i);
        fake_tree_link(tree, path, target);
    }
    union ibv_gid *gids = rdma->devices[1].ports[0].gids;
    gids[1] = gids[0];
    memcpy(gids[2].raw + 10, "\xff\xff\x0a\x01\x02\x03", 6);
    gids[3] = gids[2];
    for (int i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof path, "sys/class/infiniband/mlx5_1/ports/1/gid_attrs/types/%d", i);
        fake_tree_file(tree, path, i % 2 ? "RoCE v2\n" : "IB/RoCE v1\n");
        snprintf(path, sizeof path, "sys/class/infiniband/mlx5_1/ports/1/gid_attrs/ndevs/%d", i);
        fake_tree_file(tree, path, "ens1np0\n");
    }
}

/* ---- devices and ports ---- */

static void test_two_devices(void **state)
{
    (void)state;
    struct fake_tree tree;
    struct fake_rdma rdma;
    fake_tree_create(&tree);
    two_devices(&rdma, &tree);
    struct weft_topology *t = machine("host:1 numa:2 pcie:2 nic:2@400");
    int before = t->num_nodes;
    assert_int_equal(weft_topology_set_text(t, find(t, "host0/nic0"), "node_guid",
                                            "0002:C903:0000:0010", WEFT_SOURCE_HWLOC, NULL),
                     0);
    fake_tree_file(&tree, "sys/class/infiniband/mlx5_0/ports/1/rate", "400 Gb/sec (4X NDR)\n");
    probe(&rdma, &tree, t);
    assert_int_equal(t->num_nodes, before);
    assert_string_equal(text_of(t, "host0/nic0", "rdma_device"), "mlx5_0");
    assert_string_equal(text_of(t, "host0/nic0", "link_layer"), "infiniband");
    assert_string_equal(text_of(t, "host0/nic0", "node_guid"), "0002c90300000010");
    assert_string_equal(text_of(t, "host0/nic0", "port_guid"), "0002c90300000020");
    assert_string_equal(text_of(t, "host0/nic0", "firmware"), "28.39.1002");
    assert_string_equal(text_of(t, "host0/nic0", "process.port_state"), "active");
    assert_string_equal(text_of(t, "host0/nic0", "process.physical_state"), "up");
    assert_string_equal(text_of(t, "host0/nic0", "process.gid0"),
                        "fe80:0000:0000:0000:0002:c903:0000:0020, InfiniBand");
    assert_int_equal(number_of(t, "host0/nic0", "lid"), 42);
    assert_int_equal(number_of(t, "host0/nic0", "rate_mbps"), 400000);
    assert_int_equal(number_of(t, "host0/nic0", "rdma_mtu"), 4096);
    assert_int_equal(number_of(t, "host0/nic0", "num_ports"), 1);
    assert_string_equal(text_of(t, "host0/nic1", "link_layer"), "ethernet");
    assert_string_equal(text_of(t, "host0/nic1", "port_guid"), "");
    assert_int_equal(number_of(t, "host0/nic1", "lid"), -1);
    assert_string_equal(text_of(t, "host0/nic1", "roce"), "v2");
    assert_string_equal(text_of(t, "host0/nic1", "process.roce_ip"), "10.1.2.3");
    assert_int_equal(number_of(t, "host0/nic1", "process.roce_gid_index"), 3);
    assert_string_equal(text_of(t, "host0/nic1", "process.gid2"),
                        "0000:0000:0000:0000:0000:ffff:0a01:0203, RoCE v1, ens1np0");
    assert_int_equal(t->num_remarks, 0);
    weft_topology_destroy(&t);
    fake_tree_destroy(&tree);
}

static void test_second_port(void **state)
{
    (void)state;
    struct fake_tree tree;
    struct fake_rdma rdma;
    fake_tree_create(&tree);
    two_devices(&rdma, &tree);
    rdma.devices[0].attributes.phys_port_cnt = 2;
    fake_port_up(&rdma.devices[0].ports[1], true, 32, 0x77);
    rdma.devices[0].ports[1].attributes.state = IBV_PORT_DOWN;
    rdma.devices[0].ports[1].attributes.phys_state = 3;
    rdma.devices[1].ports[0].status = EIO;
    struct weft_topology *t = machine("host:1 numa:2 pcie:2 nic:2@400");
    probe(&rdma, &tree, t);
    assert_int_equal(number_of(t, "host0/nic0", "num_ports"), 2);
    assert_string_equal(text_of(t, "host0/nic0", "port_guid.2"), "0000000000000077");
    assert_string_equal(text_of(t, "host0/nic0", "process.port_state.2"), "down");
    assert_int_equal(number_of(t, "host0/nic0", "rate_mbps"), 400000);
    assert_int_equal(number_of(t, "host0/nic0", "rate_mbps.2"), -1);
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN,
                                   "port 2 of host0/nic0 is not active: down, physically disabled"),
                     1);
    assert_int_equal(
        count_remarks(t, WEFT_REMARK_HIDDEN, "port 1 of mlx5_1 does not answer: Input"), 1);
    char sentence[400];
    assert_int_equal(severity_of_down_ports(t, sentence, sizeof sentence), WEFT_SEVERITY_NOTE);
    assert_string_equal(sentence, "1 RDMA port is not active (first: host0/nic0).");
    weft_topology_destroy(&t);
    rdma.devices[1].ports[0].status = 0; // a whole device beside one that works
    rdma.devices[1].ports[0].attributes.state = IBV_PORT_INIT;
    t = machine("host:1 numa:2 pcie:2 nic:2@400");
    probe(&rdma, &tree, t);
    assert_int_equal(severity_of_down_ports(t, sentence, sizeof sentence), WEFT_SEVERITY_WARNING);
    assert_string_equal(sentence,
                        "2 RDMA ports are not active, all ports of 1 device (first: host0/nic1).");
    weft_topology_destroy(&t);
    fake_tree_destroy(&tree);
}

static void test_rates(void **state)
{
    (void)state;
    static const struct {
        uint32_t speed;
        uint8_t width;
        int64_t mbps;
    } cases[] = {{1, 2, 10000},       {2, 2, 20000},   {4, 2, 40000},    {8, 2, 40000},
                 {16, 2, 56000},      {32, 2, 100000}, {64, 2, 200000},  {128, 2, 400000},
                 {256, 2, 800000},    {32, 1, 25000},  {64, 16, 100000}, {64, 4, 400000},
                 {32, 8, 300000},     {0, 2, 0},       {3, 2, 0},        {128, 3, 0},
                 {UINT32_MAX, 255, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (weft_verbs_rate_mbps(cases[i].speed, cases[i].width) != cases[i].mbps)
            fail_msg("speed %u, width %u is not %lld", cases[i].speed, cases[i].width,
                     (long long)cases[i].mbps);

    struct fake_tree tree;
    struct fake_rdma rdma;
    fake_tree_create(&tree);
    two_devices(&rdma, &tree);
    rdma.devices[0].is_new = true; // XDR: the code does not fit in 8 bits
    rdma.devices[0].ports[0].attributes.active_speed = 128;
    rdma.devices[0].ports[0].speed = 256;
    rdma.devices[1].ports[0].attributes.active_speed = 0; // a library that does not know it
    fake_tree_file(&tree, "sys/class/infiniband/mlx5_1/ports/1/rate", "800 Gb/sec (4X XDR)\n");
    struct weft_topology *t = machine("host:1 numa:2 pcie:2 nic:2@400");
    probe(&rdma, &tree, t);
    assert_int_equal(number_of(t, "host0/nic0", "rate_mbps"), 800000);
    assert_int_equal(number_of(t, "host0/nic1", "rate_mbps"), 800000);
    assert_int_equal(weft_topology_attribute(t, find(t, "host0/nic1"), "rate_mbps")->source,
                     WEFT_SOURCE_SYSFS);
    assert_int_equal(count_remarks(t, WEFT_REMARK_UNREAD, "speed code 0"), 1);
    weft_topology_destroy(&t);
    // kernel and library disagree
    rdma.devices[1].ports[0].attributes.active_speed = 32;
    t = machine("host:1 numa:2 pcie:2 nic:2@400");
    probe(&rdma, &tree, t);
    assert_int_equal(number_of(t, "host0/nic1", "rate_mbps"), 100000);
    assert_int_equal(
        count_remarks(t, WEFT_REMARK_CONTRADICTION, "sysfs says 800000, verbs says 100000"), 1);
    weft_topology_destroy(&t);
    fake_tree_destroy(&tree);
}

/* Soft-RoCE: no PCI device, an interface that hwloc knows; and one that nobody knows. */
static void test_software_device(void **state)
{
    (void)state;
    struct fake_tree tree;
    struct fake_rdma rdma;
    fake_tree_create(&tree);
    two_devices(&rdma, &tree);
    snprintf(rdma.devices[0].name, 80, "rxe0");
    snprintf(rdma.devices[1].name, 80, "rxe1");
    fake_tree_file(&tree, "sys/class/infiniband/rxe0/parent", "eth0\n");
    fake_tree_file(&tree, "sys/class/infiniband/rxe1/parent", "dummy7\n");
    struct weft_topology *t = machine("host:1 numa:2 nic:1");
    assert_int_equal(weft_topology_set_text(t, find(t, "host0/nic0"), "interface", "eth0",
                                            WEFT_SOURCE_HWLOC, NULL),
                     0);
    probe(&rdma, &tree, t);
    assert_string_equal(text_of(t, "host0/nic0", "rdma_device"), "rxe0");
    assert_string_equal(text_of(t, "host0/rxe1", "interface"), "dummy7");
    assert_int_equal(t->nodes[find(t, "host0/rxe1")].parent, find(t, "host0"));
    assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "host0/rxe1 is on no PCI device"), 1);
    int islands;
    assert_int_equal(weft_topology_islands(t, NULL, &islands, NULL), 0);
    assert_int_equal(islands, 1);
    weft_topology_destroy(&t);
    fake_tree_destroy(&tree);
}

static void test_nothing(void **state)
{
    (void)state;
    struct fake_tree tree;
    struct fake_rdma rdma = {0};
    struct weft_error error = {0};
    size_t bytes;
    fake_tree_create(&tree);
    struct weft_topology *t = machine(MACHINE);
    char *before = written(t, &bytes);
    struct weft_verbs verbs = fake_verbs(&rdma);
    assert_int_equal(weft_probe_verbs_with(&verbs, tree.root, t, &error), WEFT_UNSUPPORTED);
    assert_string_equal(error.text, "there is no RDMA device");
    fake_tree_file(&tree, "sys/class/infiniband/mlx5_7/fw_ver", "1\n"); // of a container's host
    assert_int_equal(weft_topology_set_text(t, find(t, "host0/nic1"), "rdma_device", "mlx5_7",
                                            WEFT_SOURCE_HWLOC, NULL),
                     0);
    assert_int_equal(weft_probe_verbs_with(&verbs, tree.root, t, &error), WEFT_OK);
    assert_int_equal(t->num_remarks, 1);
    assert_int_equal(t->remarks[0].node, find(t, "host0/nic1"));
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "mlx5_7 is there, but may not be used"),
                     1);
    weft_topology_destroy(&t);
    t = machine(MACHINE);
    rdma.list_errno = ENOSYS;
    assert_int_equal(weft_probe_verbs_with(&verbs, tree.root, t, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "kernel has no RDMA"));
    rdma.list_errno = EPERM;
    assert_int_equal(weft_probe_verbs_with(&verbs, tree.root, t, &error), WEFT_SYSTEM);
    char *after = written(t, &bytes);
    assert_string_equal(before, after);
    free(before);
    free(after);
    weft_topology_destroy(&t);
    fake_tree_destroy(&tree);
    assert_int_equal(weft_verbs_open("libweft-no-such-library.so", &verbs, &error),
                     WEFT_UNSUPPORTED);
    assert_int_equal(weft_verbs_open("libc.so.6", &verbs, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "ibv_get_device_list"));
    const char *reason = "";
    if (!weft_probe_verbs.available(&reason))
        assert_true(strstr(reason, "RDMA") != NULL);
    // the library that is installed here has all that is asked of it
    if (weft_verbs_open(NULL, &verbs, &error) == WEFT_OK) {
        assert_non_null(verbs.query_gid);
        weft_verbs_close(&verbs);
    }
}

/* Whatever the driver says ends up printable, bounded and named. */
static void test_lies(void **state)
{
    (void)state;
    struct fake_tree tree;
    struct fake_rdma rdma;
    fake_tree_create(&tree);
    two_devices(&rdma, &tree);
    struct fake_device *device = &rdma.devices[0];
    memset(device->attributes.fw_ver, 0xff, sizeof device->attributes.fw_ver);
    device->ports[0].attributes.gid_tbl_len = 2000000000;
    device->ports[0].attributes.state = (enum ibv_port_state)99;
    device->ports[0].attributes.phys_state = 200;
    device->ports[0].attributes.active_mtu = (enum ibv_mtu)77;
    device->ports[0].attributes.link_layer = 200;
    memset(rdma.devices[1].name, 'x', sizeof rdma.devices[1].name);
    memcpy(rdma.devices[1].name, "../../../../etc/", 16);
    rdma.devices[1].name[sizeof rdma.devices[1].name - 1] = '\0';
    struct weft_topology *t = machine("host:1 numa:2 pcie:2 nic:2@400");
    probe(&rdma, &tree, t);
    assert_int_equal(strspn(text_of(t, "host0/nic0", "firmware"), "?"), 63);
    assert_string_equal(text_of(t, "host0/nic0", "process.port_state"), "unknown");
    assert_int_equal(number_of(t, "host0/nic0", "rdma_mtu"), -1);
    assert_int_equal(
        count_remarks(t, WEFT_REMARK_HIDDEN, "not active: unknown, physically unknown"), 1);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 3);
    weft_topology_destroy(&t);

    two_devices(&rdma, &tree); // more ports than a device has
    rdma.devices[1].attributes.phys_port_cnt = 255;
    for (int i = 1; i < FAKE_MAX_PORTS; i++)
        rdma.devices[1].ports[i] = rdma.devices[1].ports[0];
    t = machine("host:1 numa:2 pcie:2 nic:2@400");
    probe(&rdma, &tree, t);
    assert_int_equal(number_of(t, "host0/nic1", "rate_mbps.8"), 400000);
    assert_int_equal(count_remarks(t, WEFT_REMARK_UNREAD, "255 ports; 8 are looked at"), 1);
    weft_topology_destroy(&t);

    two_devices(&rdma, &tree);
    rdma.devices[0].cannot_open = true;
    rdma.devices[1].status = EIO;
    t = machine("host:1 numa:2 pcie:2 nic:2@400");
    probe(&rdma, &tree, t);
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "mlx5_0 cannot be opened: Permission"),
                     1);
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "mlx5_1 does not answer: Input/output"),
                     1);
    weft_topology_destroy(&t);
    fake_tree_destroy(&tree);
}

/* ---- GPUDirect ---- */

/* Bridges as in the synthetic machine: two GPUs and one NIC below each of two switches. */
static void make_bus(const struct fake_tree *tree)
{
    static const struct {
        const char *device, *way;
    } devices[] = {{"0000:10:00.0", "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0"},
                   {"0000:11:00.0", "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0"},
                   {"0000:20:00.0", "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:02.0"},
                   {"0000:12:00.0", "pci0000:80/0000:80:01.0/0000:81:00.0/0000:82:00.0"},
                   {"0000:13:00.0", "pci0000:80/0000:80:01.0/0000:81:00.0/0000:82:01.0"},
                   {"0000:21:00.0", "pci0000:80/0000:80:01.0/0000:81:00.0/0000:82:02.0"}};
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        char path[128], target[256];
        snprintf(path, sizeof path, "sys/devices/%s/%s/iommu_group/type", devices[i].way,
                 devices[i].device);
        fake_tree_file(tree, path, "identity\n");
        snprintf(path, sizeof path, "sys/bus/pci/devices/%s", devices[i].device);
        snprintf(target, sizeof target, "../../../devices/%s/%s", devices[i].way,
                 devices[i].device);
        fake_tree_link(tree, path, target);
    }
    fake_tree_file(tree, "proc/sys/kernel/osrelease", "6.8.0-45-generic\n");
    fake_tree_file(tree, "proc/driver/nvidia/version",
                   "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15\n");
}

/* A port with ACS; the capability is the second of the chain. */
static void make_port(const struct fake_tree *tree, const char *address, const char *way,
                      unsigned char control)
{
    unsigned char config[4096] = {0};
    char path[128], target[256];
    config[0x100] = 0x01; // errors, then at 0x150
    config[0x102] = 0x01;
    config[0x103] = 0x15;
    config[0x150] = 0x0d;
    config[0x152] = 0x01;
    config[0x156] = control;
    snprintf(path, sizeof path, "sys/devices/%s/%s/config", way, address);
    fake_tree_bytes(tree, path, config, sizeof config);
    snprintf(path, sizeof path, "sys/bus/pci/devices/%s", address);
    snprintf(target, sizeof target, "../../../devices/%s/%s", way, address);
    fake_tree_link(tree, path, target);
}

static struct weft_topology *judged(const struct fake_tree *tree, bool has_dmabuf)
{
    struct weft_topology *t = machine(MACHINE);
    struct weft_error error = {0};
    for (int i = 0; i < 2; i++) {
        char name[32];
        snprintf(name, sizeof name, "host0/nic%d", i);
        assert_int_equal(
            weft_topology_set_text(t, find(t, name), "rdma_device", "x", WEFT_SOURCE_VERBS, NULL),
            0);
    }
    if (weft_gpudirect_judge(t, tree->root, has_dmabuf, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return t;
}

static void assert_no(const struct fake_tree *tree, bool has_dmabuf, const char *why)
{
    struct weft_topology *t = judged(tree, has_dmabuf);
    assert_string_equal(text_of(t, "host0/nic0", "gpudirect"), "no");
    if (!strstr(text_of(t, "host0/nic0", "gpudirect_reason"), why))
        fail_msg("\"%s\" does not say \"%s\"", text_of(t, "host0/nic0", "gpudirect_reason"), why);
    assert_string_equal(text_of(t, "host0/gpu0", "gpudirect"), "no");
    weft_topology_destroy(&t);
}

static void assert_yes(const struct fake_tree *tree, bool has_dmabuf)
{
    struct weft_topology *t = judged(tree, has_dmabuf);
    assert_string_equal(text_of(t, "host0/nic0", "gpudirect_reason"), "");
    assert_string_equal(text_of(t, "host0/nic0", "gpudirect"), "yes");
    assert_string_equal(text_of(t, "host0/nic0", "gpudirect_gpus"), "gpu0 gpu1");
    assert_string_equal(text_of(t, "host0/nic1", "gpudirect_gpus"), "gpu2 gpu3");
    assert_string_equal(text_of(t, "host0/gpu3", "gpudirect"), "yes");
    weft_topology_destroy(&t);
}

static void test_gpudirect_drivers(void **state)
{
    (void)state;
    struct fake_tree tree;
    fake_tree_create(&tree);
    make_bus(&tree);
    assert_yes(&tree, true);
    assert_no(&tree, false, "libibverbs cannot register");
    fake_tree_file(&tree, "proc/sys/kernel/osrelease", "5.4.0-100-generic\n");
    assert_no(&tree, true, "older than 5.12");
    fake_tree_file(&tree, "proc/sys/kernel/osrelease", "5.12.0\n");
    assert_yes(&tree, true);
    fake_tree_file(&tree, "proc/driver/nvidia/version",
                   "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54\n");
    assert_no(&tree, true, "not the open one");
    fake_tree_file(&tree, "proc/driver/nvidia/version", "");
    assert_no(&tree, true, "driver is not loaded");
    fake_tree_file(&tree, "sys/module/nvidia_peermem/initstate", "live\n");
    assert_yes(&tree, false); // another way that needs none of these
    fake_tree_destroy(&tree);
}

static void test_gpudirect_ways(void **state)
{
    (void)state;
    struct fake_tree tree;
    fake_tree_create(&tree);
    make_bus(&tree);
    static const char way[] = "pci0000:00/0000:00:01.0/0000:01:00.0";
    make_port(&tree, "0000:02:02.0", way, 0x1d); // above the NIC: redirected
    assert_no(&tree, true, "ACS");
    struct weft_topology *t = judged(&tree, true);
    assert_int_equal(t->num_remarks, 0);
    weft_topology_destroy(&t);
    make_port(&tree, "0000:02:02.0", way, 0x01);
    assert_yes(&tree, true);
    char config[256];
    snprintf(config, sizeof config, "sys/devices/%s/0000:02:02.0/config", way);
    fake_tree_bytes(&tree, config, "\0\0", 2); // what others than root see
    t = judged(&tree, true);
    assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "only root may read"), 1);
    assert_string_equal(text_of(t, "host0/nic0", "gpudirect"), "yes");
    weft_topology_destroy(&t);
    make_port(&tree, "0000:02:02.0", way, 0x01);
    make_port(&tree, "0000:01:00.0", "pci0000:00/0000:00:01.0", 0x1d); // above both: not passed
    assert_yes(&tree, true);
    make_port(&tree, "0000:20:00.0", "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:02.0", 0x1d);
    assert_yes(&tree, true);                     // the NIC's own function
    make_port(&tree, "0000:02:00.0", way, 0x1d); // above one of the GPUs
    t = judged(&tree, true);
    assert_string_equal(text_of(t, "host0/nic0", "gpudirect_gpus"), "gpu1");
    assert_string_equal(text_of(t, "host0/gpu0", "gpudirect"), "no");
    assert_string_equal(text_of(t, "host0/gpu1", "gpudirect"), "yes");
    weft_topology_destroy(&t);
    make_port(&tree, "0000:02:00.0", way, 0);
    fake_tree_file(&tree,
                   "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:02.0/"
                   "0000:20:00.0/iommu_group/type",
                   "DMA-FQ\n");
    assert_no(&tree, true, "IOMMU");
    fake_tree_destroy(&tree);
}

static void test_gpudirect_places(void **state)
{
    (void)state;
    struct fake_tree tree;
    fake_tree_create(&tree);
    make_bus(&tree);
    struct weft_topology *t = machine("host:1 numa:2 gpu:2 nic:2"); // no switch: all on the root
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_topology_set_text(t, find(t, i ? "host0/nic1" : "host0/nic0"),
                                                "rdma_device", "x", WEFT_SOURCE_VERBS, NULL),
                         0);
    assert_int_equal(weft_gpudirect_judge(t, tree.root, true, NULL), WEFT_OK);
    assert_non_null(strstr(text_of(t, "host0/nic0", "gpudirect_reason"), "root complex"));
    struct weft_link link =
        weft_link_make(WEFT_LINK_C2C, find(t, "host0/numa0"), find(t, "host0/gpu0"));
    assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), 0); // on a board with the CPU
    assert_int_equal(weft_gpudirect_judge(t, tree.root, true, NULL), WEFT_OK);
    assert_string_equal(text_of(t, "host0/nic1", "gpudirect"), "yes");
    assert_string_equal(text_of(t, "host0/nic1", "gpudirect_gpus"), "gpu0");
    weft_topology_destroy(&t);
    t = machine("host:1 numa:2 nic:2"); // nothing to reach
    assert_int_equal(weft_gpudirect_judge(t, tree.root, true, NULL), WEFT_OK);
    assert_string_equal(text_of(t, "host0/nic0", "gpudirect"), "");
    weft_topology_destroy(&t);
    t = machine("host:1 numa:2 pcie:2 gpu:2 nic:2");
    for (int i = 0; i < 2; i++) { // another vendor's
        const char *gpu = i ? "host0/gpu1" : "host0/gpu0", *nic = i ? "host0/nic1" : "host0/nic0";
        assert_int_equal(
            weft_topology_set_text(t, find(t, gpu), "pci_id", "1002:740c", WEFT_SOURCE_HWLOC, NULL),
            0);
        assert_int_equal(
            weft_topology_set_text(t, find(t, nic), "rdma_device", "x", WEFT_SOURCE_VERBS, NULL),
            0);
    }
    assert_int_equal(weft_gpudirect_judge(t, tree.root, true, NULL), WEFT_OK);
    assert_string_equal(text_of(t, "host0/nic0", "gpudirect"), "");
    assert_string_equal(text_of(t, "host0/gpu0", "gpudirect"), "");
    weft_topology_destroy(&t);
    fake_tree_destroy(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_devices),
        cmocka_unit_test(test_second_port),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_software_device),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_gpudirect_drivers),
        cmocka_unit_test(test_gpudirect_ways),
        cmocka_unit_test(test_gpudirect_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
