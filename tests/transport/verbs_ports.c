/*
 * SPDX-License-Identifier: Apache-2.0
 * RDMA ports over a scripted library and made-up trees of sys: which are found, what each of them
 * uses, and what a user is told when there is none. No RDMA hardware is needed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/topology/fake_verbs.h"
#include "transport/verbs_ports.h"

struct machine {
    struct fake_rdma rdma;
    struct fake_tree tree;
    struct weft_verbs verbs;
    struct weft_verbs_options options;
    struct weft_verbs_ports ports;
    struct weft_error error;
    cpu_set_t cores;
};

static void set_ipv4(union ibv_gid *gid, int a, int b, int c, int d)
{
    *gid = (union ibv_gid){.raw = {[10] = 0xff,
                                   [11] = 0xff,
                                   [12] = (uint8_t)a,
                                   [13] = (uint8_t)b,
                                   [14] = (uint8_t)c,
                                   [15] = (uint8_t)d}};
}

/* Devices mlx5_0, ... with one RoCE port each, 100 Gb/s: GID 0 is v1, link-local; 1 is v2, the
 * same; 2 is v1 with IPv4, 3 is v2 with IPv4. */
static struct machine *machine(int num_devices)
{
    struct machine *m = calloc(1, sizeof *m);
    fake_tree_create(&m->tree);
    fake_tree_file(&m->tree, "sys/devices/system/node/online", "0-1\n");
    fake_tree_file(&m->tree, "sys/devices/system/node/node0/cpulist", "0-3,8\n");
    fake_tree_file(&m->tree, "sys/devices/system/node/node1/cpulist", "4-7\n");
    fake_tree_file(&m->tree, "sys/devices/system/node/node0/distance", "10 21\n");
    fake_tree_file(&m->tree, "sys/devices/system/node/node1/distance", "21 10\n");
    m->rdma.count = num_devices;
    m->rdma.has_gid_table = true;
    for (int i = 0; i < num_devices; i++) {
        struct fake_device *device = &m->rdma.devices[i];
        struct fake_port *port = &device->ports[0];
        snprintf(device->name, sizeof device->name, "mlx5_%d", i);
        device->attributes.phys_port_cnt = 1;
        fake_port_up(port, false, 32, 0x1122334455660000ull + (unsigned)i);
        port->gids[1] = port->gids[0];
        set_ipv4(&port->gids[2], 10, 0, i, 1);
        port->gids[3] = port->gids[2];
        for (int g = 0; g < FAKE_MAX_GIDS; g++)
            port->kinds[g] = g % 2 ? IBV_GID_TYPE_ROCE_V2 : IBV_GID_TYPE_ROCE_V1;
    }
    m->options = (struct weft_verbs_options)WEFT_VERBS_OPTIONS_DEFAULT;
    CPU_ZERO(&m->cores);
    CPU_SET(1, &m->cores);
    return m;
}

static void set_node(struct machine *m, int device, const char *address, const char *node)
{
    char path[128], target[128];
    snprintf(path, sizeof path, "sys/devices/pci0000:00/%s/numa_node", address);
    fake_tree_file(&m->tree, path, node);
    snprintf(path, sizeof path, "sys/class/infiniband/mlx5_%d/device", device);
    snprintf(target, sizeof target, "../../../devices/pci0000:00/%s", address);
    fake_tree_link(&m->tree, path, target);
}

static weft_status find(struct machine *m)
{
    weft_verbs_ports_close(&m->ports);
    m->verbs = fake_verbs(&m->rdma);
    m->error = (struct weft_error){0};
    return weft_verbs_ports_find(&m->verbs, &m->options, m->tree.root, &m->cores, &m->ports,
                                 &m->error);
}

static void must_find(struct machine *m, const char *names)
{
    char found[512] = "", name[80];
    if (find(m) != WEFT_OK)
        fail_msg("%s", m->error.text);
    for (int i = 0; i < m->ports.num_ports; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", i ? " " : "",
                 weft_verbs_port_name(&m->ports, i, name, sizeof name));
    assert_string_equal(found, names);
}

/* Fails with `status` and exactly this sentence; nothing stays open. */
static void must_refuse(struct machine *m, weft_status status, const char *sentence)
{
    assert_int_equal(find(m), status);
    assert_string_equal(m->error.text, sentence);
    assert_int_equal(m->rdma.num_open, 0);
    assert_int_equal(m->ports.num_ports, 0);
}

static void machine_gone(struct machine *m)
{
    weft_verbs_ports_close(&m->ports);
    assert_int_equal(m->rdma.num_open, 0);
    fake_tree_destroy(&m->tree);
    free(m);
}

static void test_what_a_port_uses(void **state)
{
    (void)state;
    struct machine *m = machine(1);
    char text[WEFT_GID_TEXT_BYTES];
    must_find(m, "mlx5_0:1");
    const struct weft_verbs_port *port = &m->ports.ports[0];
    assert_int_equal(port->gid.index, 3);
    assert_int_equal(port->gid.kind, WEFT_GID_ROCE_V2);
    assert_string_equal(weft_gid_text(port->gid.raw, text), "10.0.0.1");
    assert_int_equal(port->prefix_bits, 96 + 24);
    assert_int_equal(port->rate_mbps, 100000);
    assert_int_equal(port->pkey, 0xffff);
    assert_int_equal(port->pkey_index, 0);
    assert_int_equal(port->attributes.active_mtu, IBV_MTU_4096);
    assert_int_equal(m->rdma.num_open, 1);
    machine_gone(m);
}

/* Each entry is taken away in turn: the next best is chosen. */
static void test_best_gid(void **state)
{
    (void)state;
    struct machine *m = machine(1);
    struct fake_port *port = &m->rdma.devices[0].ports[0];
    must_find(m, "mlx5_0:1");
    assert_int_equal(m->ports.ports[0].gid.index, 3);
    set_ipv4(&port->gids[3], 169, 254, 1, 1); // of its own link only: no better than index 1
    must_find(m, "mlx5_0:1");
    assert_int_equal(m->ports.ports[0].gid.index, 1);
    port->gids[3] = (union ibv_gid){.raw = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}};
    must_find(m, "mlx5_0:1");
    assert_int_equal(m->ports.ports[0].gid.index, 3);
    assert_int_equal(m->ports.ports[0].prefix_bits, 64);
    memset(&port->gids[3], 0, sizeof port->gids[3]);
    memset(&port->gids[1], 0, sizeof port->gids[1]);
    must_find(m, "mlx5_0:1");
    assert_int_equal(m->ports.ports[0].gid.index, 0);
    assert_int_equal(m->ports.ports[0].gid.kind, WEFT_GID_ROCE_V1);
    memset(port->gids, 0, sizeof port->gids);
    must_refuse(m, WEFT_UNSUPPORTED, "no RDMA port is usable: mlx5_0:1 (has no GID)");
    machine_gone(m);
}

/* Libraries without a table: kinds come from sysfs. */
static void test_kinds_from_files(void **state)
{
    (void)state;
    struct machine *m = machine(1);
    m->rdma.has_gid_table = false;
    must_find(m, "mlx5_0:1");
    assert_int_equal(m->ports.ports[0].gid.kind, WEFT_GID_ROCE_UNKNOWN);
    fake_tree_file(&m->tree, "sys/class/infiniband/mlx5_0/ports/1/gid_attrs/types/0",
                   "IB/RoCE v1\n");
    fake_tree_file(&m->tree, "sys/class/infiniband/mlx5_0/ports/1/gid_attrs/types/2", "RoCE v2\n");
    fake_tree_file(&m->tree, "sys/class/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/2", "eth7\n");
    must_find(m, "mlx5_0:1");
    assert_int_equal(m->ports.ports[0].gid.index, 2);
    assert_int_equal(m->ports.ports[0].gid.kind, WEFT_GID_ROCE_V2);
    assert_string_equal(m->ports.ports[0].gid.interface, "eth7");
    machine_gone(m);
}

static void test_gid_index(void **state)
{
    (void)state;
    struct machine *m = machine(1);
    m->options.gid_index = 0;
    must_find(m, "mlx5_0:1");
    assert_int_equal(m->ports.ports[0].gid.index, 0);
    memset(&m->rdma.devices[0].ports[0].gids[1], 0, sizeof(union ibv_gid));
    m->options.gid_index = 1;
    must_refuse(m, WEFT_INVALID_ARGUMENT,
                "WEFT_IB_GID_INDEX: mlx5_0:1 has no GID 1; it has 0: RoCE v1 "
                "fe80:0000:0000:0000:1122:3344:5566:0000, 2: RoCE v1 10.0.0.1, 3: RoCE v2 "
                "10.0.0.1");
    m->options.gid_index = 256;
    must_refuse(m, WEFT_INVALID_ARGUMENT, "WEFT_IB_GID_INDEX: 256 is not from -1 to 255");
    machine_gone(m);
}

static void test_names(void **state)
{
    (void)state;
    struct machine *m = machine(3);
    m->rdma.devices[0].attributes.phys_port_cnt = 2;
    m->rdma.devices[0].ports[1] = m->rdma.devices[0].ports[0];
    snprintf(m->rdma.devices[2].name, sizeof m->rdma.devices[2].name, "mlx5_11");
    snprintf(m->rdma.devices[1].name, sizeof m->rdma.devices[1].name, "mlx5_2");
    static const struct {
        const char *wanted, *found;
    } cases[] = {
        {"", "mlx5_0:1 mlx5_0:2 mlx5_2:1 mlx5_11:1"},
        {"mlx5", "mlx5_0:1 mlx5_0:2 mlx5_2:1 mlx5_11:1"},
        {"mlx5_0", "mlx5_0:1 mlx5_0:2"},
        {"mlx5_0:2,mlx5_1", "mlx5_0:2 mlx5_11:1"},
        {"=mlx5_11", "mlx5_11:1"},
        {"^mlx5_0", "mlx5_2:1 mlx5_11:1"},
        {"^mlx5_0:2", "mlx5_0:1 mlx5_2:1 mlx5_11:1"},
        {"^=mlx5_0,mlx5_1", "mlx5_2:1 mlx5_11:1"},
        {"^hfi1", "mlx5_0:1 mlx5_0:2 mlx5_2:1 mlx5_11:1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        m->options.hca = cases[i].wanted;
        must_find(m, cases[i].found);
    }
    static const struct {
        const char *wanted, *sentence;
    } mistakes[] = {
        {"=mlx5_1", "WEFT_IB_HCA: nothing here is called 'mlx5_1'; there is: mlx5_0, mlx5_2, "
                    "mlx5_11"},
        {"mlx5_0,mlx4", "WEFT_IB_HCA: nothing here is called 'mlx4'; there is: mlx5_0, mlx5_2, "
                        "mlx5_11"},
        {"mlx5_0:3", "WEFT_IB_HCA: nothing here is called 'mlx5_0:3'; there is: mlx5_0, mlx5_2, "
                     "mlx5_11"},
        {"mlx5_0:1,", "WEFT_IB_HCA: '' is no device name"},
        {"^", "WEFT_IB_HCA: '' is no device name"},
        {":1", "WEFT_IB_HCA: ':1' is no device name"},
        {"a:b", "WEFT_IB_HCA: 'a:b' does not end with a port from 1 to 255"},
        {"a:", "WEFT_IB_HCA: 'a:' does not end with a port from 1 to 255"},
        {"a:99999999999", "WEFT_IB_HCA: 'a:99999999999' does not end with a port from 1 to 255"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        m->options.hca = mistakes[i].wanted;
        must_refuse(m, WEFT_INVALID_ARGUMENT, mistakes[i].sentence);
    }
    m->rdma.devices[2].cannot_open = true;
    m->options.hca = "mlx5_11:2";
    must_refuse(m, WEFT_UNSUPPORTED,
                "no RDMA port is usable: mlx5_0 (left out by WEFT_IB_HCA), mlx5_2 (left out by "
                "WEFT_IB_HCA), mlx5_11 (cannot be opened: Permission denied)");
    m->options.hca = "^mlx5";
    must_refuse(m, WEFT_UNSUPPORTED,
                "no RDMA port is usable: mlx5_0 (left out by WEFT_IB_HCA), mlx5_2 (left out by "
                "WEFT_IB_HCA), mlx5_11 (left out by WEFT_IB_HCA)");
    machine_gone(m);
}

static void test_nothing_usable(void **state)
{
    (void)state;
    struct machine *m = machine(3);
    m->rdma.devices[0].ports[0].attributes.state = IBV_PORT_DOWN;
    m->rdma.devices[0].ports[0].attributes.phys_state = 3;
    m->rdma.devices[1].cannot_open = true;
    m->rdma.devices[2].device.transport_type = IBV_TRANSPORT_IWARP;
    must_refuse(m, WEFT_UNSUPPORTED,
                "no RDMA port is usable: mlx5_0:1 (down, physically disabled), mlx5_1 (cannot be "
                "opened: Permission denied), mlx5_2:1 (speaks neither InfiniBand nor RoCE)");
    m->rdma.devices[2].device.transport_type = IBV_TRANSPORT_IB;
    must_find(m, "mlx5_2:1"); // one is enough
    m->rdma.devices[2].status = EIO;
    m->rdma.devices[0].ports[0].status = EIO;
    must_refuse(m, WEFT_UNSUPPORTED,
                "no RDMA port is usable: mlx5_0:1 (does not answer: Input/output error), mlx5_1 "
                "(cannot be opened: Permission denied), mlx5_2 (does not answer: Input/output "
                "error)");
    m->rdma.count = 0;
    must_refuse(m, WEFT_UNSUPPORTED, "there is no RDMA device");
    fake_tree_file(&m->tree, "sys/class/infiniband/mlx5_7/ports/1/state", "4: ACTIVE\n");
    must_refuse(m, WEFT_UNSUPPORTED,
                "the kernel has RDMA devices (mlx5_7), but libibverbs lists none: no "
                "/dev/infiniband/uverbs, or no driver for them");
    m->rdma.list_errno = ENOSYS;
    must_refuse(m, WEFT_UNSUPPORTED, "the kernel has no RDMA");
    m->rdma.list_errno = EPERM;
    must_refuse(m, WEFT_SYSTEM, "RDMA devices cannot be listed: Operation not permitted");
    machine_gone(m);
}

/* However much there is to say, it is one line that fits. */
static void test_long_stories(void **state)
{
    (void)state;
    struct machine *m = machine(FAKE_MAX_DEVICES);
    for (int i = 0; i < m->rdma.count; i++) {
        memset(m->rdma.devices[i].name, 'a' + i, 70);
        m->rdma.devices[i].ports[0].attributes.state = IBV_PORT_DOWN;
    }
    assert_int_equal(find(m), WEFT_UNSUPPORTED);
    assert_non_null(strstr(m->error.text, "aaa:1 (down, physically up), bbb"));
    assert_non_null(strstr(m->error.text, ", ..."));
    assert_true(strlen(m->error.text) < 420);
    machine_gone(m);
}

static void test_partitions(void **state)
{
    (void)state;
    struct machine *m = machine(1);
    uint16_t *pkeys = m->rdma.devices[0].ports[0].pkeys;
    pkeys[0] = 0x7fff; // limited
    pkeys[1] = 0x8002;
    pkeys[2] = 0xffff;
    pkeys[3] = 0x0003;
    static const struct {
        const char *wanted;
        uint16_t key, index;
    } cases[] = {{"", 0xffff, 2}, {"0x7fff", 0xffff, 2}, {"32770", 0x8002, 1}, {"0x8003", 3, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        m->options.pkey = cases[i].wanted;
        must_find(m, "mlx5_0:1");
        assert_int_equal(m->ports.ports[0].pkey, cases[i].key);
        assert_int_equal(m->ports.ports[0].pkey_index, cases[i].index);
    }
    m->options.pkey = "0x8004";
    must_refuse(m, WEFT_INVALID_ARGUMENT,
                "WEFT_IB_PKEY: mlx5_0:1 is not in partition 0x8004; it is in 0x7fff, 0x8002, "
                "0xffff, 0x0003");
    static const char *const nonsense[] = {"x", "0x10000", "0x8000", "0x", "-1"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        m->options.pkey = nonsense[i];
        assert_int_equal(find(m), WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(m->error.text, "is no partition key like 0x8001"));
    }
    m->options.pkey = NULL; // no default partition: the first
    pkeys[0] = 0, pkeys[2] = 0x9000;
    must_find(m, "mlx5_0:1");
    assert_int_equal(m->ports.ports[0].pkey, 0x8002);
    memset(pkeys, 0, sizeof m->rdma.devices[0].ports[0].pkeys);
    must_refuse(m, WEFT_UNSUPPORTED, "no RDMA port is usable: mlx5_0:1 (is in no partition)");
    machine_gone(m);
}

static void test_ranges(void **state)
{
    (void)state;
    struct machine *m = machine(1);
    m->options.service_level = 16;
    must_refuse(m, WEFT_INVALID_ARGUMENT, "WEFT_IB_SL: 16 is not from 0 to 15");
    m->options.service_level = 15;
    m->options.traffic_class = -1;
    must_refuse(m, WEFT_INVALID_ARGUMENT, "WEFT_IB_TC: -1 is not from 0 to 255");
    m->options.traffic_class = 255;
    m->options.timeout = 0;
    must_refuse(m, WEFT_INVALID_ARGUMENT, "WEFT_IB_TIMEOUT: 0 is not from 1 to 31");
    m->options.timeout = 31;
    m->options.retry = 8;
    must_refuse(m, WEFT_INVALID_ARGUMENT, "WEFT_IB_RETRY: 8 is not from 0 to 7");
    m->options.retry = 7;
    must_find(m, "mlx5_0:1");
    machine_gone(m);
}

/* Devices on the NUMA domain of the process's core first; unknown ones last; names decide ties. */
static void test_nearest_first(void **state)
{
    (void)state;
    struct machine *m = machine(4);
    set_node(m, 0, "0000:81:00.0", "1\n");
    set_node(m, 1, "0000:82:00.0", "1\n");
    set_node(m, 3, "0000:01:00.1", "0\n");
    must_find(m, "mlx5_3:1 mlx5_0:1 mlx5_1:1 mlx5_2:1");
    const struct weft_verbs_ports *ports = &m->ports;
    assert_int_equal(ports->devices[ports->ports[0].device].distance, 10);
    assert_int_equal(ports->devices[ports->ports[1].device].distance, 21);
    assert_int_equal(ports->devices[ports->ports[3].device].distance, WEFT_VERBS_DISTANCE_FAR);
    assert_true(ports->ports[0].is_near);
    assert_false(ports->ports[1].is_near);
    CPU_ZERO(&m->cores);
    CPU_SET(5, &m->cores);
    must_find(m, "mlx5_0:1 mlx5_1:1 mlx5_3:1 mlx5_2:1");
    assert_true(m->ports.ports[1].is_near);
    CPU_SET(8, &m->cores); // on both
    must_find(m, "mlx5_0:1 mlx5_1:1 mlx5_3:1 mlx5_2:1");
    assert_true(m->ports.ports[2].is_near);
    // a software device is where its interface is
    fake_tree_file(&m->tree, "sys/class/infiniband/mlx5_2/parent", "eth0\n");
    fake_tree_file(&m->tree, "sys/devices/pci0000:00/0000:03:00.0/numa_node", "0\n");
    fake_tree_link(&m->tree, "sys/class/net/eth0/device",
                   "../../../devices/pci0000:00/0000:03:00.0");
    must_find(m, "mlx5_0:1 mlx5_1:1 mlx5_2:1 mlx5_3:1");
    machine_gone(m);
}

static void must_measure(struct machine *m, int64_t first, int64_t second)
{
    assert_int_equal(find(m), WEFT_OK);
    assert_true(m->ports.ports[0].measured_mbps == first);
    assert_true(m->ports.ports[1].measured_mbps == second);
}

/* What is known from elsewhere: rates where they are known of all ports, and unequal ones where
 * they differ by more than measurements do; distances where they are known of all devices. */
static void test_known(void **state)
{
    (void)state;
    struct machine *m = machine(2);
    struct weft_verbs_known known[] = {{"mlx5_9", 7, 3}, {"mlx5_1", 160, -1}, {"mlx5_0", 320, 21}};
    m->options.known = known;
    must_measure(m, 0, 0);
    m->options.num_known = 2;
    must_measure(m, 0, 0); // not of mlx5_0
    m->options.num_known = 3;
    must_measure(m, 320, 160);
    assert_true(m->ports.ports[1].is_near); // how far mlx5_1 is nobody knows
    assert_true(m->ports.num_ports == 2 && m->ports.options.known == NULL);
    known[1].measured_mbps = 280;
    must_measure(m, 320, 320);
    known[1].measured_mbps = 265;
    must_measure(m, 320, 265);
    fake_port_up(&m->rdma.devices[1].ports[0], true, 64, 0xabcdef); // another kind of port
    known[1].measured_mbps = 300;
    must_measure(m, 320, 300);
    // two ports carried that together
    known[1].measured_mbps = 320;
    m->rdma.devices[0].attributes.phys_port_cnt = 2;
    m->rdma.devices[0].ports[1] = m->rdma.devices[0].ports[0];
    must_measure(m, 160, 160);
    assert_true(m->ports.ports[2].measured_mbps == 320);
    m->rdma.devices[0].attributes.phys_port_cnt = 1;

    known[1].distance = 10;
    must_find(m, "mlx5_1:1 mlx5_0:1");
    assert_true(m->ports.ports[0].is_near);
    assert_false(m->ports.ports[1].is_near);
    m->options.hca = "mlx5_"; // whoever names them wants them all
    must_find(m, "mlx5_1:1 mlx5_0:1");
    assert_true(m->ports.ports[1].is_near);
    m->options.hca = "^mlx5_7";
    must_find(m, "mlx5_1:1 mlx5_0:1");
    assert_false(m->ports.ports[1].is_near);
    machine_gone(m);
}

static void test_too_many(void **state)
{
    (void)state;
    struct machine *m = machine(10);
    set_node(m, 9, "0000:01:00.0", "0\n");
    must_find(m, "mlx5_9:1 mlx5_0:1 mlx5_1:1 mlx5_2:1 mlx5_3:1 mlx5_4:1 mlx5_5:1 mlx5_6:1");
    assert_int_equal(m->rdma.num_open, 8);
    machine_gone(m);
}

static void test_infiniband(void **state)
{
    (void)state;
    struct machine *m = machine(1);
    fake_port_up(&m->rdma.devices[0].ports[0], true, 64, 0xabcdef);
    memset(&m->rdma.devices[0].ports[0].gids[1], 0, 3 * sizeof(union ibv_gid));
    must_find(m, "mlx5_0:1");
    assert_int_equal(m->ports.ports[0].gid.kind, WEFT_GID_INFINIBAND);
    assert_int_equal(m->ports.ports[0].prefix_bits, 64);
    assert_int_equal(m->ports.ports[0].rate_mbps, 200000);
    // speeds that nobody here knows: as the kernel says
    m->rdma.devices[0].ports[0].attributes.active_speed = 3;
    fake_tree_file(&m->tree, "sys/class/infiniband/mlx5_0/ports/1/rate", "800 Gb/sec (4X XDR)\n");
    m->rdma.devices[0].ports[0].attributes.link_layer = IBV_LINK_LAYER_UNSPECIFIED;
    must_find(m, "mlx5_0:1");
    assert_int_equal(m->ports.ports[0].rate_mbps, 800000);
    assert_int_equal(m->ports.ports[0].attributes.link_layer, IBV_LINK_LAYER_INFINIBAND);
    machine_gone(m);
}

static void test_renew(void **state)
{
    (void)state;
    struct machine *m = machine(2);
    bool has_moved = true;
    must_find(m, "mlx5_0:1 mlx5_1:1");
    struct fake_port *port = &m->rdma.devices[1].ports[0];
    assert_int_equal(weft_verbs_port_renew(&m->ports, 1, m->tree.root, &has_moved, &m->error), 0);
    assert_false(has_moved);
    port->attributes.state = IBV_PORT_DOWN;
    struct weft_verbs_port before = m->ports.ports[1];
    assert_int_equal(weft_verbs_port_renew(&m->ports, 1, m->tree.root, &has_moved, &m->error),
                     WEFT_UNSUPPORTED);
    assert_string_equal(m->error.text, "mlx5_1:1: down, physically up");
    assert_memory_equal(&before, &m->ports.ports[1], sizeof before);
    port->attributes.state = IBV_PORT_ACTIVE;
    set_ipv4(&port->gids[3], 10, 0, 9, 9);
    assert_int_equal(weft_verbs_port_renew(&m->ports, 1, m->tree.root, &has_moved, &m->error), 0);
    assert_true(has_moved);
    assert_int_equal(m->ports.ports[1].gid.raw[14], 9);
    machine_gone(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_port_uses),
        cmocka_unit_test(test_best_gid),
        cmocka_unit_test(test_kinds_from_files),
        cmocka_unit_test(test_gid_index),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_nothing_usable),
        cmocka_unit_test(test_long_stories),
        cmocka_unit_test(test_partitions),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_nearest_first),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_infiniband),
        cmocka_unit_test(test_renew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
