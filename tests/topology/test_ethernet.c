/*
 * SPDX-License-Identifier: Apache-2.0
 * Network interfaces: what bonds carry, how a table becomes nodes, a sysfs tree made here, and the
 * live kernel in a network namespace of the test's own (skipped where the kernel does not allow
 * it).
 */
#include "tests/topology/compare.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/topology/tree.h"
#include "topology/ethernet.h"
#include "topology/probe.h"

#define INTERFACE(name_, index_, rate_)                                                            \
    {                                                                                              \
        .name = name_, .index = index_, .state = "up", .mtu = 1500, .rate_mbps = rate_,            \
        .duplex = 1, .bond_mode = -1                                                               \
    }

static void test_bond_rates(void **state)
{
    (void)state;
    static const struct {
        int mode;
        int64_t all_active, one_inactive;
    } cases[] = {{0, 35000, 25000}, {1, 10000, 25000}, {2, 35000, 25000}, {3, 10000, 25000},
                 {4, 35000, 25000}, {5, 35000, 25000}, {6, 35000, 25000}, {-1, 35000, 25000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weft_interface all[] = {INTERFACE("bond0", 7, -1), INTERFACE("a", 8, 10000),
                                       INTERFACE("b", 9, 25000), INTERFACE("c", 10, 100000)};
        snprintf(all[0].kind, sizeof all[0].kind, "bond");
        all[0].bond_mode = cases[i].mode;
        all[1].master = all[2].master = 7; // c is another's
        assert_true(weft_bond_rate_mbps(all, 4, 0) == cases[i].all_active);
        all[1].is_inactive_slave = true;
        assert_true(weft_bond_rate_mbps(all, 4, 0) == cases[i].one_inactive);
        snprintf(all[2].state, sizeof all[2].state, "down");
        assert_true(weft_bond_rate_mbps(all, 4, 0) == -1); // nothing carries
        snprintf(all[2].state, sizeof all[2].state, "up");
        all[2].rate_mbps = -1;
        assert_true(weft_bond_rate_mbps(all, 4, 0) == -1);
        all[0].rate_mbps = 40000; // then the bond's own word counts
        assert_true(weft_bond_rate_mbps(all, 4, 0) == 40000);
    }
}

static struct weft_topology *make_host(void)
{
    struct weft_topology *t = NULL;
    int host, numa, nic;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_HOST, "h", -1, &host, NULL), WEFT_OK);
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_NUMA, "h/numa0", host, &numa, NULL),
                     WEFT_OK);
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_NIC, "h/mlx5_0", host, &nic, NULL),
                     WEFT_OK);
    assert_int_equal(weft_topology_set_text(t, nic, "interface", "eth0", WEFT_SOURCE_HWLOC, NULL),
                     WEFT_OK);
    return t;
}

static void test_table_to_graph(void **state)
{
    (void)state;
    struct weft_topology *t = make_host();
    struct weft_interface all[] = {INTERFACE("lo", 1, -1),         INTERFACE("eth0", 2, 25000),
                                   INTERFACE("eth1", 3, 25000),    INTERFACE("bond0", 4, -1),
                                   INTERFACE("bond0.7", 5, 50000), INTERFACE("veth1", 6, 10000),
                                   INTERFACE("docker0", 7, -1),    INTERFACE("cali1", 8, 10000)};
    static const char *const kinds[] = {"", "", "", "bond", "vlan", "veth", "bridge", "veth"};
    for (int i = 0; i < 8; i++)
        snprintf(all[i].kind, sizeof all[i].kind, "%s", kinds[i]);
    all[0].is_loopback = true;
    snprintf(all[0].ipv4, sizeof all[0].ipv4, "127.0.0.1/8");
    all[1].master = all[2].master = 4;
    all[3].bond_mode = 4;
    all[4].lower = 4;
    snprintf(all[4].ipv4, sizeof all[4].ipv4, "10.0.0.1/24");
    snprintf(all[5].ipv6, sizeof all[5].ipv6, "fd00::1/64");
    snprintf(all[6].ipv4, sizeof all[6].ipv4, "172.17.0.1/16");
    snprintf(all[6].state, sizeof all[6].state, "down");
    struct weft_link cable = weft_link_make(WEFT_LINK_NETWORK, find(t, "h/mlx5_0"), 0);
    assert_int_equal(weft_topology_add_link(t, &cable, NULL, NULL), WEFT_OK);
    uint64_t before = weft_topology_fingerprint(t);
    assert_int_equal(weft_ethernet_add(t, all, 8, WEFT_SOURCE_SYSFS, NULL), WEFT_OK);
    assert_int_equal(weft_topology_check(t, NULL), WEFT_OK);
    assert_true(before != weft_topology_fingerprint(t));
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 4);
    assert_int_equal(weft_topology_number(t, find(t, "h/mlx5_0"), "rate_mbps", 0), 25000);
    assert_string_equal(text_of(t, "h/mlx5_0", "bond_master"), "bond0");
    assert_true(t->links[0].bandwidth.current.value == 3125000000);
    assert_int_equal(weft_topology_number(t, find(t, "h/bond0"), "rate_mbps", 0), 50000);
    assert_string_equal(text_of(t, "h/bond0", "bond_slaves"), "eth0 eth1");
    assert_string_equal(text_of(t, "h/bond0", "bond_mode"), "802.3ad");
    assert_string_equal(text_of(t, "h/bond0.7", "lower_interface"), "bond0");
    assert_int_equal(weft_topology_number(t, find(t, "h/bond0.7"), "rate_mbps", 0), 50000);
    assert_string_equal(text_of(t, "h/veth1", "interface_kind"), "veth");
    assert_null(weft_topology_attribute(t, find(t, "h/veth1"), "rate_mbps")); // made up
    // eth1, docker0 and cali1 are no nodes, but counted
    assert_int_equal(weft_topology_number(t, 0, "process.other_interfaces", 0), 3);
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "tells no rate"), 1);
    // addresses and states move without making another machine of it
    uint64_t with_address = weft_topology_fingerprint(t);
    snprintf(all[4].ipv4, sizeof all[4].ipv4, "10.0.0.2/24");
    assert_int_equal(weft_ethernet_add(t, all, 8, WEFT_SOURCE_SYSFS, NULL), WEFT_OK);
    assert_string_equal(text_of(t, "h/bond0.7", "process.ipv4"), "10.0.0.2/24");
    assert_true(with_address == weft_topology_fingerprint(t));
    weft_topology_destroy(&t);
}

static void put_interface(const char *root, const char *name, const char *index, const char *speed)
{
    tree_put(root, index, "class/net/%s/ifindex", name);
    tree_put(root, index, "class/net/%s/iflink", name);
    tree_put(root, speed, "class/net/%s/speed", name);
    tree_put(root, "full\n", "class/net/%s/duplex", name);
    tree_put(root, "up\n", "class/net/%s/operstate", name);
    tree_put(root, "9000\n", "class/net/%s/mtu", name);
    tree_put(root, "1\n", "class/net/%s/type", name);
    tree_put(root, "", "class/net/%s/device/x", name);
}

/* A bond of two ports as a copied sysfs shows it, one of them waiting. */
static void test_sysfs_tree(void **state)
{
    (void)state;
    char root[64];
    tree_make(root, sizeof root);
    put_interface(root, "eth0", "2\n", "10000\n");
    put_interface(root, "eth1", "3\n", "25000\n");
    put_interface(root, "bond0", "4\n", "10000\n");
    put_interface(root, "weird", "99999999999999999999\n", "-1\n");
    tree_put(root, "active-backup 1\n", "class/net/bond0/bonding/mode");
    tree_put(root, "DEVTYPE=bond\nINTERFACE=bond0\n", "class/net/bond0/uevent");
    for (int i = 0; i < 2; i++) {
        tree_put(root, i ? "backup\n" : "active\n", "class/net/eth%d/bonding_slave/state", i);
        tree_link(root, "master", i ? "class/net/eth1" : "class/net/eth0", "../bond0");
    }
    struct weft_topology *t = make_host();
    assert_int_equal(weft_ethernet_read_sysfs(t, root, NULL), WEFT_OK);
    assert_int_equal(weft_topology_check(t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_number(t, find(t, "h/mlx5_0"), "mtu", 0), 9000);
    assert_string_equal(text_of(t, "h/mlx5_0", "bond_master"), "bond0");
    assert_int_equal(weft_topology_number(t, find(t, "h/bond0"), "rate_mbps", 0), 10000);
    assert_string_equal(text_of(t, "h/bond0", "bond_mode"), "active-backup");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 2);
    weft_topology_destroy(&t);
    tree_remove(root);
}

/* ---- the live kernel ---- */

enum { DONE, NO_NAMESPACE, NO_BOND, WRONG };

static bool runs(const char *command)
{
    return system(command) == 0;
}

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_message("not so: %s\n", #condition);                                             \
            return WRONG;                                                                          \
        }                                                                                          \
    } while (0)

static int check_veth(void)
{
    if (!runs("ip link set lo up && ip link add weft0 type veth peer name weft1 &&"
              "ip link set weft0 mtu 9000 up && ip link set weft1 up &&"
              "ip addr add 10.9.8.7/24 dev weft0 && ip -6 addr add fd09::7/64 dev weft0 nodad"))
        return NO_NAMESPACE;
    struct weft_topology *t = make_host();
    struct weft_error error = {0};
    EXPECT(weft_probe_ethernet.discover(t, &error) == WEFT_OK);
    int node = weft_topology_find_node(t, "h/weft0");
    EXPECT(node >= 0);
    EXPECT(weft_topology_find_node(t, "h/weft1") < 0); // no address: nobody can use it
    EXPECT(weft_topology_find_node(t, "h/lo") < 0);
    EXPECT(weft_topology_number(t, node, "mtu", 0) == 9000);
    EXPECT(strcmp(text_of(t, "h/weft0", "interface_kind"), "veth") == 0);
    EXPECT(strcmp(text_of(t, "h/weft0", "process.ipv4"), "10.9.8.7/24") == 0);
    EXPECT(strcmp(text_of(t, "h/weft0", "process.ipv6"), "fd09::7/64") == 0);
    EXPECT(strcmp(text_of(t, "h/weft0", "process.operstate"), "up") == 0);
    EXPECT(strlen(text_of(t, "h/weft0", "mac")) == 17);
    EXPECT(count_remarks(t, WEFT_REMARK_HIDDEN, "not in this network namespace") ==
           1); // eth0 of make_host
    EXPECT(weft_topology_check(t, NULL) == WEFT_OK);
    weft_topology_destroy(&t);
    return DONE;
}

static int check_bond(void)
{
    if (!runs("ip link add weft0 type dummy 2>/dev/null && ip link add weft1 type dummy &&"
              "ip link add bond7 type bond mode balance-rr miimon 100 2>/dev/null &&"
              "ip link set weft0 master bond7 && ip link set weft1 master bond7 &&"
              "ip link set bond7 mtu 9000 up"))
        return NO_BOND;
    struct weft_topology *t = make_host();
    EXPECT(weft_probe_ethernet.discover(t, NULL) == WEFT_OK);
    EXPECT(weft_topology_find_node(t, "h/bond7") >= 0);
    EXPECT(strcmp(text_of(t, "h/bond7", "bond_slaves"), "weft0 weft1") == 0);
    EXPECT(strcmp(text_of(t, "h/bond7", "bond_mode"), "balance-rr") == 0);
    EXPECT(weft_topology_number(t, find(t, "h/bond7"), "mtu", 0) == 9000);
    weft_topology_destroy(&t);
    return DONE;
}

/* Runs `check` in a child that has a network namespace of its own. */
static void in_namespace(int (*check)(void))
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(unshare(CLONE_NEWNET) == 0 ? check() : NO_NAMESPACE);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_NAMESPACE) {
        print_message("no network namespace or no ip command here: skipped\n");
        skip();
    }
    if (WEXITSTATUS(status) == NO_BOND) {
        print_message("this kernel makes no bond or dummy interface: skipped\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), DONE);
}

static void test_veth_live(void **state)
{
    (void)state;
    in_namespace(check_veth);
}

static void test_bond_live(void **state)
{
    (void)state;
    in_namespace(check_bond);
}

/* Whatever interfaces this machine has, the probe says so twice alike. */
static void test_this_machine(void **state)
{
    (void)state;
    struct weft_topology *t = make_host(), *again = make_host();
    assert_int_equal(weft_probe_ethernet.discover(t, NULL), WEFT_OK);
    assert_int_equal(weft_probe_ethernet.discover(again, NULL), WEFT_OK);
    assert_true(weft_topology_fingerprint(t) == weft_topology_fingerprint(again));
    weft_topology_destroy(&t);
    weft_topology_destroy(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bond_rates), cmocka_unit_test(test_table_to_graph),
        cmocka_unit_test(test_sysfs_tree), cmocka_unit_test(test_veth_live),
        cmocka_unit_test(test_bond_live),  cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
