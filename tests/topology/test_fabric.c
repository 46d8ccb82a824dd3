/*
 * SPDX-License-Identifier: Apache-2.0
 * Fabrics from files of ibnetdiscover, ibsim and ibutils: small ones written for one trap each, and
 * the real ones where ../shared is there. What is inside a fabric is asked of the graph, by name
 * and port.
 */
#include "tests/topology/load.h"

#include <glob.h>

#include "topology/fabric.h"

/* ---- asking a graph ---- */

static void assert_host(const struct weft_topology *t, const char *nic, const char *host)
{
    int parent = t->nodes[find(t, nic)].parent;
    if (!host)
        assert_int_equal(parent, -1);
    else
        assert_string_equal(t->nodes[parent].name, host);
    assert_int_equal(t->nodes[find(t, nic)].kind, WEFT_NODE_NIC);
}

/* The only link between two ports, whichever way round; port 0: any. */
static const struct weft_link *cable(const struct weft_topology *t, const char *a, int a_port,
                                     const char *b, int b_port)
{
    const struct weft_link *found = NULL;
    int x = find(t, a), y = find(t, b);
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        bool is_same = link->from == x && link->from_port == a_port && link->to == y &&
                       link->to_port == b_port;
        bool is_turned = link->from == y && link->from_port == b_port && link->to == x &&
                         link->to_port == a_port;
        if (!is_same && !is_turned)
            continue;
        assert_null(found);
        found = link;
    }
    return found;
}

static void assert_text(const struct weft_topology *t, const char *name, const char *key,
                        const char *text)
{
    const char *is = weft_topology_text(t, find(t, name), key);
    if (!is || strcmp(is, text) != 0)
        fail_msg("%s of %s is %s, not %s", key, name, is ? is : "absent", text);
}

/* ---- ibnetdiscover ---- */

/* The pieces of a dump. */
#define SWITCH(digit, name)                                                                        \
    "vendid=0x2c9\ndevid=0xd2f2\nsysimgguid=0x" GUID(digit) "\nswitchguid=0x" GUID(                \
        digit) "(" GUID(digit) ")\nSwitch\t65 \"S-" GUID(digit) "\"\t\t# \"" name                  \
                                                                "\" enhanced port 0 lid 7" digit   \
                                                                " lmc 0\n"
#define ADAPTER(digit, name)                                                                       \
    "\nvendid=0x2c9\ndevid=0x1021\nsysimgguid=0x" GUID(digit) "\ncaguid=0x" GUID(                  \
        digit) "\nCa\t1 \"H-" GUID(digit) "\"\t\t# \"" name "\"\n"
#define GUID(digit) "000000000000000" digit
#define TO_SWITCH(port, digit, p, how)                                                             \
    "[" port "]\t\"S-" GUID(digit) "\"[" p "]\t\t# \"s\" lid 1 " how "\n"
#define TO_ADAPTER(port, digit, how)                                                               \
    "[" port "]\t\"H-" GUID(digit) "\"[1](" GUID(digit) ") \t\t# \"h\" lid 1 " how "\n"
#define UP(digit, p, how)                                                                          \
    "[1](" GUID("f") ") \t\"S-" GUID(digit) "\"[" p "]\t\t# lid 5 lmc 0 \"s\" lid 7 " how "\n"

static void test_a_cable_seen_from_both_sides_is_one_link(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_ibnetdiscover,
                 "#\n# Topology file: generated on a day\n#\n" SWITCH("1", "MF0;leaf-1:MQM9701/U1")
                     TO_ADAPTER("3", "a", "4xNDR")
                         TO_SWITCH("33", "2", "9", "4xNDR") "\n" SWITCH("2", "spine")
                             TO_SWITCH("9", "1", "33", "4xNDR") ADAPTER("a", "node1 mlx5_0")
                                 UP("1", "3", "4xNDR"));
    assert_int_equal(t->num_links, 2);
    assert_true(cable(t, "node1/mlx5_0", 1, "leaf-1", 3)->bandwidth.current.value == 50000000000);
    assert_int_equal(cable(t, "node1/mlx5_0", 1, "leaf-1", 3)->bandwidth.current.source,
                     WEFT_SOURCE_FILE);
    assert_true(cable(t, "leaf-1", 33, "spine", 9)->bandwidth.nominal.value == -1);
    assert_int_equal(t->num_remarks, 0);
    assert_int_equal(t->nodes[find(t, "leaf-1")].kind, WEFT_NODE_LEAF);
    assert_int_equal(t->nodes[find(t, "spine")].kind, WEFT_NODE_SPINE);
    assert_text(t, "leaf-1", "node_guid", GUID("1"));
    assert_text(t, "leaf-1", "description", "MF0;leaf-1:MQM9701/U1");
    assert_text(t, "leaf-1", "model", "MQM9701");
    assert_text(t, "leaf-1", "port0", "enhanced");
    assert_text(t, "node1/mlx5_0", "port_guid", GUID("f"));
    assert_text(t, "node1/mlx5_0", "rdma_device", "mlx5_0");
    assert_text(t, "node1/mlx5_0", "link_layer", "infiniband");
    assert_int_equal(weft_topology_number(t, find(t, "node1/mlx5_0"), "lid", -1), 5);
    assert_int_equal(weft_topology_number(t, find(t, "leaf-1"), "lid", -1), 71);
    assert_int_equal(weft_topology_number(t, find(t, "leaf-1"), "num_ports", -1), 65);
    assert_host(t, "node1/mlx5_0", "node1");
    weft_topology_destroy(&t);
}

static void test_one_side_is_believed_with_a_remark(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_ibnetdiscover,
                 SWITCH("1", "a") TO_SWITCH("3", "2", "4", "4xEDR") "\n" SWITCH("2", "b"));
    assert_non_null(cable(t, "a", 3, "b", 4));
    assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "1 cable stated from one side only"), 1);
    weft_topology_destroy(&t);
}

static void test_sides_that_contradict_are_named(void **state)
{
    (void)state;
    // a says its port 3 goes to b 4; b says its port 4 goes to c 5, and c agrees
    struct weft_topology *t =
        imported(&weft_importer_ibnetdiscover,
                 SWITCH("1", "a") TO_SWITCH("3", "2", "4", "4xEDR") "\n" SWITCH("2", "b")
                     TO_SWITCH("4", "3", "5", "4xEDR") "\n" SWITCH("3", "c")
                         TO_SWITCH("5", "2", "4", "4xEDR"));
    assert_int_equal(t->num_links, 1);
    assert_non_null(cable(t, "b", 4, "c", 5));
    assert_int_equal(count_remarks(t, WEFT_REMARK_CONTRADICTION,
                                   "a port 3 is said to go to b port 4, but b port 4 to c port 5"),
                     1);
    weft_topology_destroy(&t);
}

static void test_sides_that_name_other_ports_of_the_same_devices(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_ibnetdiscover,
                 SWITCH("1", "a") TO_SWITCH("3", "2", "4", "4xEDR") "\n" SWITCH("2", "b")
                     TO_SWITCH("4", "1", "5", "4xEDR"));
    assert_int_equal(t->num_links, 1);
    assert_non_null(cable(t, "a", 5, "b", 4));
    assert_int_equal(count_remarks(t, WEFT_REMARK_CONTRADICTION,
                                   "a port 3 is said to go to b port 4, but b port 4 to a port 5"),
                     1);
    weft_topology_destroy(&t);
}

static void test_two_that_claim_one_port(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_ibnetdiscover,
                 SWITCH("1", "a") TO_SWITCH("3", "3", "5", "4xEDR") "\n" SWITCH("2", "b")
                     TO_SWITCH("4", "3", "5", "4xEDR") "\n" SWITCH("3", "c"));
    assert_int_equal(t->num_links, 1);
    assert_non_null(cable(t, "a", 3, "c", 5));
    assert_int_equal(count_remarks(t, WEFT_REMARK_CONTRADICTION, "b port 4"), 1);
    weft_topology_destroy(&t);
}

static void test_a_port_that_is_stated_twice(void **state)
{
    (void)state;
    struct weft_topology *t = imported(
        &weft_importer_ibnetdiscover,
        SWITCH("1", "a") TO_SWITCH("3", "2", "4", "4xEDR") TO_SWITCH("3", "2", "4", "4xEDR")
            TO_SWITCH("3", "2", "6", "4xEDR") "\n" SWITCH("2", "b")
                TO_SWITCH("4", "1", "3", "4xEDR"));
    assert_int_equal(t->num_links, 1);
    assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "1 cable stated twice by one side"), 1);
    assert_int_equal(
        count_remarks(t, WEFT_REMARK_CONTRADICTION, "a port 3 is said to go to b port 6"), 1);
    weft_topology_destroy(&t);
}

static void test_the_lower_of_two_rates_is_believed(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_ibnetdiscover,
                 SWITCH("1", "a") TO_SWITCH("3", "2", "4", "4xEDR") "\n" SWITCH("2", "b")
                     TO_SWITCH("4", "1", "3", "4xDDR"));
    assert_true(cable(t, "a", 3, "b", 4)->bandwidth.current.value == 2000000000);
    assert_int_equal(count_remarks(t, WEFT_REMARK_CONTRADICTION, "different rates"), 1);
    weft_topology_destroy(&t);
}

static void test_loops_and_ports_beyond(void **state)
{
    (void)state;
    struct weft_topology *t = imported(
        &weft_importer_ibnetdiscover,
        SWITCH("1", "a") TO_SWITCH("3", "1", "4", "4xEDR") TO_SWITCH("4", "1", "3", "4xEDR")
            TO_SWITCH("5", "2", "66", "4xEDR") "\n" SWITCH("2", "b"));
    assert_int_equal(t->num_links, 1);
    assert_int_equal(count_remarks(t, WEFT_REMARK_UNREAD, "from a device to itself"), 1);
    assert_int_equal(count_remarks(t, WEFT_REMARK_CONTRADICTION, "beyond the number of ports"), 1);
    weft_topology_destroy(&t);
}

static void test_rates(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bandwidth;
    } rates[] = {
        {"1xSDR", 250000000},
        {"4xSDR", 1000000000},
        {"4xDDR", 2000000000},
        {"4xQDR", 4000000000},
        {"4xFDR10", 5000000000},
        {"4xFDR", 6818181816},
        {"4xEDR", 12500000000},
        {"4xHDR", 25000000000},
        {"2xHDR", 12500000000},
        {"4xNDR", 50000000000},
        {"2xNDR", 25000000000},
        {"4xXDR", 100000000000},
        {"12xHDR", 75000000000},
        {"8xDDR", 4000000000},
        {"3xHDR", -1},
        {"4xBDR", -1},
        {"4x", -1},
        {"x", -1},
        {"", -1},
        {"99999999999999999999xHDR", -1},
    };
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        const struct weft_span span = {rates[i].text, strlen(rates[i].text)};
        if (weft_fabric_bandwidth(span) != rates[i].bandwidth)
            fail_msg("%s: %lld", rates[i].text, (long long)weft_fabric_bandwidth(span));
    }
    struct weft_topology *t =
        imported(&weft_importer_ibnetdiscover,
                 SWITCH("1", "a") TO_SWITCH("3", "2", "4", "4xBDR") "\n" SWITCH("2", "b")
                     TO_SWITCH("4", "1", "3", "4xBDR"));
    assert_true(cable(t, "a", 3, "b", 4)->bandwidth.current.value == -1);
    assert_int_equal(count_remarks(t, WEFT_REMARK_UNREAD, "2 lines were not understood"), 1);
    weft_topology_destroy(&t);
}

static void test_factory_descriptions_name_no_host(void **state)
{
    (void)state;
    struct weft_topology *t = imported(
        &weft_importer_ibnetdiscover,
        SWITCH("1", "a") TO_ADAPTER("1", "a", "4xNDR") TO_ADAPTER("2", "b", "4xNDR")
            TO_ADAPTER("3", "c", "4xNDR") ADAPTER("a", "MT4129 ConnectX7   Mellanox Technologies")
                UP("1", "1", "4xNDR") ADAPTER("b", "localhost HCA-1") UP("1", "2", "4xNDR")
                    ADAPTER("c", "ubuntu mlx5_0") UP("1", "3", "4xNDR"));
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 0);
    assert_host(t, GUID("a"), NULL);
    assert_host(t, GUID("b"), NULL);
    assert_host(t, GUID("c"), NULL);
    assert_text(t, GUID("c"), "description", "ubuntu mlx5_0");
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "3 channel adapters do not say"), 1);
    weft_topology_destroy(&t);
}

static void test_a_name_that_two_machines_have_is_no_host(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_ibnetdiscover,
                 SWITCH("1", "a") TO_ADAPTER("1", "a", "4xNDR") TO_ADAPTER("2", "b", "4xNDR")
                     TO_ADAPTER("3", "c", "4xNDR") TO_ADAPTER("4", "d", "4xNDR")
                         ADAPTER("a", "box mlx5_0") UP("1", "1", "4xNDR") ADAPTER("b", "box mlx5_0")
                             UP("1", "2", "4xNDR") ADAPTER("c", "box mlx5_1") UP("1", "3", "4xNDR")
                                 ADAPTER("d", "node7 HCA-2") UP("1", "4", "4xNDR"));
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 1);
    assert_host(t, GUID("a"), NULL);
    assert_host(t, GUID("b"), NULL);
    assert_host(t, GUID("c"), NULL);
    assert_host(t, "node7/HCA-2", "node7"); // the other style of names
    assert_null(weft_topology_text(t, find(t, "node7/HCA-2"), "rdma_device"));
    assert_int_equal(count_remarks(t, WEFT_REMARK_CONTRADICTION, "3 channel adapters share"), 1);
    weft_topology_destroy(&t);
}

static void test_aggregation_nodes_are_no_hosts(void **state)
{
    (void)state;
    struct weft_topology *t = imported(
        &weft_importer_ibnetdiscover,
        SWITCH("1", "a") TO_ADAPTER("1", "a", "4xNDR") TO_ADAPTER("65", "b", "4xNDR")
            ADAPTER("a", "B11-P1-CUFM-02 mlx5_1") UP("1", "1", "4xNDR")
                ADAPTER("b", "Mellanox Technologies Aggregation Node") UP("1", "65", "4xNDR"));
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 1);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 1);
    assert_int_equal(t->nodes[find(t, GUID("b"))].kind, WEFT_NODE_AGGREGATOR);
    assert_host(t, "B11-P1-CUFM-02/mlx5_1", "B11-P1-CUFM-02");
    assert_int_equal(t->num_remarks, 0);
    weft_topology_destroy(&t);
}

#define SHARED_SYSTEM(digit, system, name)                                                         \
    "\nsysimgguid=0x" GUID(system) "\ncaguid=0x" GUID(digit) "\nCa\t1 \"H-" GUID(                  \
        digit) "\"\t\t# \"" name "\"\n"

static void test_adapters_of_one_system_share_a_host(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_ibnetdiscover,
                 SWITCH("1", "a") TO_ADAPTER("1", "a", "4xNDR") TO_ADAPTER("2", "b", "4xNDR")
                     TO_ADAPTER("3", "c", "4xNDR") TO_ADAPTER("4", "d", "4xNDR")
                         SHARED_SYSTEM("a", "5", "node1 mlx5_0") UP("1", "1", "4xNDR")
                             SHARED_SYSTEM("b", "5", "MT4129 x y z") UP("1", "2", "4xNDR")
                                 SHARED_SYSTEM("c", "6", "MT4129 x y z") UP("1", "3", "4xNDR")
                                     SHARED_SYSTEM("d", "6", "MT4129 x y z") UP("1", "4", "4xNDR"));
    assert_host(t, "node1/" GUID("b"), "node1");
    assert_host(t, "host-" GUID("6") "/" GUID("c"), "host-" GUID("6"));
    assert_host(t, "host-" GUID("6") "/" GUID("d"), "host-" GUID("6"));
    assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "3 channel adapters were put into a host"),
                     1);
    weft_topology_destroy(&t);
}

static void test_switch_names_are_unique(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_ibnetdiscover,
                 SWITCH("1", "MF0;chassis:CS7500/L01/U1")
                     TO_SWITCH("1", "2", "1", "4xEDR") "\n" SWITCH("2", "MF0;chassis:CS7500/L02/U1")
                         TO_SWITCH("1", "1", "1", "4xEDR") "\n" SWITCH("3", "")
                             TO_SWITCH("1", "4", "1", "4xEDR") "\n" SWITCH("4", "say \"hi\"")
                                 TO_SWITCH("1", "3", "1", "4xEDR"));
    assert_non_null(cable(t, "chassis-" GUID("1"), 1, "chassis-" GUID("2"), 1));
    assert_non_null(cable(t, GUID("3"), 1, "say \"hi\"", 1));
    weft_topology_destroy(&t);
}

static void test_ports_of_one_adapter(void **state)
{
    (void)state;
    struct weft_topology *t = imported(
        &weft_importer_ibnetdiscover,
        SWITCH("1", "a") "[1]\t\"H-" GUID(
            "a") "\"[1](00000000000000b1)\t# \"h\" lid 1 4xFDR\n"
                 "[2][ext 7]\t\"H-" GUID(
                     "a") "\"[2](00000000000000b2)\t# \"h\" lid 2 4xFDR\n"
                          "\ncaguid=0x" GUID("a") "\nCa\t2 \"H-" GUID(
                              "a") "\"\t# \"node1 mlx4_0\"\n"
                                   "[1](00000000000000b1) \"S-" GUID(
                                       "1") "\"[1] # lid 1 lmc 0 \"a\" lid 3 4xFDR\n"
                                            "[2](00000000000000b2) \"S-" GUID(
                                                "1") "\"[2] # lid 2 lmc 0 \"a\" lid 3 4xFDR\n");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 1);
    assert_non_null(cable(t, "node1/mlx4_0", 1, "a", 1));
    assert_non_null(cable(t, "node1/mlx4_0", 2, "a", 2));
    assert_text(t, "node1/mlx4_0", "port_guid", "00000000000000b1");
    assert_text(t, "node1/mlx4_0", "port_guid.2", "00000000000000b2");
    assert_int_equal(weft_topology_number(t, find(t, "node1/mlx4_0"), "lid.2", -1), 2);
    weft_topology_destroy(&t);
}

static void test_peers_that_nobody_describes(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_ibnetdiscover,
                 SWITCH("1", "a") TO_SWITCH("3", "2", "4", "4xEDR") TO_ADAPTER("1", "a", "4xEDR"));
    assert_int_equal(t->nodes[find(t, GUID("2"))].kind, WEFT_NODE_SPINE);
    assert_int_equal(t->nodes[find(t, GUID("a"))].kind, WEFT_NODE_NIC);
    assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "2 devices are somebody's peer"), 1);
    weft_topology_destroy(&t);
}

static void test_unknown_lines_are_named(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_ibnetdiscover,
                 "# Topology file: generated on a day\nChassis 1 (guid 0x5)\n" SWITCH("1", "a")
                     TO_ADAPTER("1", "a", "4xEDR") "\nfirmware=0x12\n");
    assert_int_equal(count_remarks(t, WEFT_REMARK_UNREAD,
                                   "2 lines were not understood (first: line 2, \"Chassis 1"),
                     1);
    weft_topology_destroy(&t);
}

/* ---- ibsim ---- */

static void test_ibsim_options_and_modules(void **state)
{
    (void)state;
    struct weft_topology *t = imported(
        &weft_importer_ibsim, "# a comment\nSwitch 8 \"s1\"\n# inside\n[1] \"h1\"\n"
                              "[2] \"s2\"[1] w=12\n[3] \"s2\"[2] w=1\n[4] \"s2\" [3] w=2 s=4\n"
                              "[5] \"s2\"[5] w=2 e=2\n\nSwitch 8 \"s2\"\n\nHca 2 \"h1\"\n"
                              "[1] \"s1\"[1]\n\nmodule=\"m\"\nSwitch 4 \"s1\"\n[1] \"h2\"[1]\n\n"
                              "Hca 1 \"h2\"\n[1] \"s1\"[1]\n");
    assert_true(cable(t, "h1", 1, "s1", 1)->bandwidth.current.value ==
                -1); // the port is 1 if unsaid
    assert_true(cable(t, "s1", 2, "s2", 1)->bandwidth.current.value == 3000000000);
    assert_true(cable(t, "s1", 3, "s2", 2)->bandwidth.current.value == 250000000);
    assert_true(cable(t, "s1", 4, "s2", 3)->bandwidth.current.value == 4000000000);
    assert_true(cable(t, "s1", 5, "s2", 5)->bandwidth.current.value == 12500000000);
    assert_non_null(cable(t, "m#s1", 1, "m#h2", 1));
    weft_topology_destroy(&t);
}

/* ---- ibutils ---- */

static void test_ibutils_systems(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_ibutils, "# intended\nMTS800 SW-1\n   P1 -> Cougar H-1 P1\n"
                                         "   P2 -> Cougar H-2 P1\n   P3 -4x-5G-> MTS800 SW-2 P4\n");
    assert_int_equal(t->nodes[find(t, "SW-1")].kind, WEFT_NODE_LEAF);
    assert_int_equal(t->nodes[find(t, "SW-2")].kind,
                     WEFT_NODE_SPINE); // one cable, but its type is one
    assert_host(t, "H-1", NULL);
    assert_text(t, "H-1", "model", "Cougar");
    assert_text(t, "SW-1", "model", "MTS800");
    assert_true(cable(t, "SW-1", 3, "SW-2", 4)->bandwidth.nominal.value == 2000000000);
    assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "told by their cables"), 1);
    weft_topology_destroy(&t);
}

/* ---- refusals ---- */

static const struct {
    const struct weft_importer *importer;
    const char *text;
    int line;
    const char *why;
} refusals[] = {
    {&weft_importer_ibnetdiscover, "", 0, "no switch and no channel adapter"},
    {&weft_importer_ibnetdiscover, "# x\n\n", 2, "no switch and no channel adapter"},
    {&weft_importer_ibnetdiscover, "[1] \"S-1\"[1]\n", 1, "a port outside of any device"},
    {&weft_importer_ibnetdiscover, "Switch 0 \"S-1\"\n", 1, "a device needs a number of ports"},
    {&weft_importer_ibnetdiscover, "Switch 256 \"S-1\"\n", 1, "a device needs a number of ports"},
    {&weft_importer_ibnetdiscover, "Switch -8 \"S-1\"\n", 1, "a device needs a number of ports"},
    {&weft_importer_ibnetdiscover, "Switch 99999999999999999999 \"S-1\"\n", 1, "a device needs"},
    {&weft_importer_ibnetdiscover, "Switch nan \"S-1\"\n", 1, "a device needs a number of ports"},
    {&weft_importer_ibnetdiscover, "Switch 8 S-1\n", 1, "a device needs a \"name\""},
    {&weft_importer_ibnetdiscover, "Switch 8 \"\"\n", 1, "a name of 0 characters"},
    {&weft_importer_ibnetdiscover, "Switch 8 \"S-1\" more\n", 1, "something other than a comment"},
    {&weft_importer_ibnetdiscover, "Switch 8 \"S-1\"\n\nSwitch 8 \"S-1\"\n", 3,
     "\"S-1\" is described a second time"},
    {&weft_importer_ibnetdiscover, "Switch 8 \"S-1\"\n[9] \"S-2\"[1]\n", 2, "port 9 of \"S-1\""},
    {&weft_importer_ibnetdiscover, "Switch 8 \"S-1\"\n[0] \"S-2\"[1]\n", 2, "port 0 of \"S-1\""},
    {&weft_importer_ibnetdiscover, "Switch 8 \"S-1\"\n[1] \"S-2\"[0]\n", 2, "a cable to port 0"},
    {&weft_importer_ibnetdiscover, "Switch 8 \"S-1\"\n[1] \"S-2\"\n", 2, "no [port] after"},
    {&weft_importer_ibnetdiscover, "Switch 8 \"S-1\"\n[-1] \"S-2\"[1]\n", 2, "a port needs"},
    {&weft_importer_ibnetdiscover, "Switch 8 \"S-1\"\n[1 \"S-2\"[1]\n", 2, "a port needs"},
    {&weft_importer_ibnetdiscover, "Switch 8 \"S-1\"\n[1] \"S-2\n", 2, "no \"name\""},
    {&weft_importer_ibnetdiscover, "Switch 8 \"S-1\"\n[1] \"S-2\"[1] w=1\n", 2, "not understood"},
    {&weft_importer_ibnetdiscover, "sysimgguid=0x12345678901234567\n", 1, "sysimgguid is no"},
    {&weft_importer_ibnetdiscover, "vendid=-1\n", 1, "vendid is no number"},
    {&weft_importer_ibnetdiscover, "devid=0xffffffff\n", 1, "an identifier of more than 31"},
    {&weft_importer_ibnetdiscover, "{\"a\": 1}\n", 1, "neither device, port"},
    {&weft_importer_ibsim, "Switch 8 \"S\"\n[1] \"T\"[1] w=32\n", 2, "w is no number from 1 to 31"},
    {&weft_importer_ibsim, "Switch 8 \"S\"\n[1] \"T\"[1] w=1x\n", 2, "w is no number"},
    {&weft_importer_ibsim, "Switch 8 \"S\"\n@[1] \"T\"\n", 2, "an alias"},
    {&weft_importer_ibsim, "Switch 8 \"S\"\n[1] \"@T\"\n", 2, "\"@T\" is an alias"},
    {&weft_importer_ibsim, "include \"other\"\n", 1, "it includes another file"},
    {&weft_importer_ibsim, "module=\"\n", 1, "module needs"},
    {&weft_importer_ibutils, "", 0, "no system"},
    {&weft_importer_ibutils, "A b c d\n", 1, "neither a system"},
    {&weft_importer_ibutils, "P1 -> A b P1\n", 1, "a cable before any system"},
    {&weft_importer_ibutils, "A b\nP0 -> A c P1\n", 2, "\"P0\" is no port"},
    {&weft_importer_ibutils, "A b\nP256 -> A c P1\n", 2, "\"P256\" is no port"},
    {&weft_importer_ibutils, "A b\nP1 -> A c\n", 2, "a cable is"},
    {&weft_importer_ibutils, "A b\nP1 -> A c P1 x\n", 2, "a cable is"},
    {&weft_importer_ibutils, "A b\nP1 -4x-9G-> A c P1\n", 2, "\"-4x-9G->\" is no arrow"},
    {&weft_importer_ibutils, "A b\nP1 -> B b P1\n", 2, "b is a B here and a A before"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        assert_refused(refusals[i].importer, refusals[i].text, refusals[i].line, refusals[i].why);
}

static void test_forms_are_told_apart(void **state)
{
    (void)state;
    const char *dump = "#\nvendid=0x1\nSwitch 8 \"S-" GUID("1") "\"\n";
    const char *net = "# a\n\nSwitch\t8 \"Switch1\"\n";
    const char *intended = "MTS800 a\n P1 -> B c P1\n";
    assert_true(weft_importer_ibnetdiscover.matches(dump) && !weft_importer_ibsim.matches(dump));
    assert_true(weft_importer_ibsim.matches(net) && !weft_importer_ibnetdiscover.matches(net));
    assert_true(weft_importer_ibutils.matches(intended) && !weft_importer_ibsim.matches(intended));
    assert_false(weft_importer_ibutils.matches("SwitchName=a Nodes=b\nSwitchName=c\n"));
    assert_false(weft_importer_ibutils.matches("node a gpu\nlink a b 3\n"));
    assert_false(weft_importer_ibsim.matches("Switch Name\n"));
}

/* ---- the real files ---- */

static int uplinks(const struct weft_topology *t, int leaf)
{
    int count = 0;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].from == leaf || t->links[i].to == leaf) {
            int peer = t->links[i].from == leaf ? t->links[i].to : t->links[i].from;
            count += t->nodes[peer].kind == WEFT_NODE_SPINE;
        }
    return count;
}

static void test_real_ndr_fabric(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("topograph/ibnetdiscover-ndr-40sw.out");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_LEAF), 31);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_SPINE), 9);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 542);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_AGGREGATOR), 40);
    assert_int_equal(t->num_links, 1114);
    int factory = 0, fewest = 99, most = 0;
    for (int i = 0; i < t->num_links; i++)
        assert_true(t->links[i].bandwidth.current.value == 50000000000);
    for (int i = 0; i < t->num_nodes; i++) {
        const char *description = weft_topology_text(t, i, "description");
        factory += description && strncmp(description, "MT4129 ConnectX7", 16) == 0;
        if (t->nodes[i].kind == WEFT_NODE_LEAF) {
            assert_non_null(strstr(t->nodes[i].name, "IBLEAF"));
            int count = uplinks(t, i);
            fewest = count < fewest ? count : fewest;
            most = count > most ? count : most;
        } else if (t->nodes[i].kind == WEFT_NODE_SPINE)
            assert_non_null(strstr(t->nodes[i].name, "IBSPINE"));
        else if (t->nodes[i].kind == WEFT_NODE_HOST)
            assert_true(strstr(t->nodes[i].name, "dgx") || strstr(t->nodes[i].name, "CUFM"));
    }
    assert_int_equal(factory, 69);
    assert_int_equal(fewest, 14);
    assert_int_equal(most, 18);
    assert_host(t, "a08-p1-dgx-04-c01/mlx5_5", "a08-p1-dgx-04-c01"); // two styles of names
    assert_host(t, "b05-p1-dgx-05-c08/HCA-6", "b05-p1-dgx-05-c08");
    assert_non_null(cable(t, "a08-p1-dgx-04-c01/mlx5_5", 1, "A09-P1-IBLEAF-04-04", 1));
    assert_non_null(cable(t, "A09-P1-IBLEAF-04-04", 36, "A10-P1-IBSPINE-02", 31));
    weft_topology_destroy(&t);
}

static void test_real_ibsim_nets(void **state)
{
    (void)state;
    static const char *const nets[] = {"net", "net.2sw2path", "net.2sw2path4hca2port"};
    static const int links[] = {4, 4, 6};
    for (int i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, "ibsim/%s", nets[i]);
        struct weft_topology *t = load_real(path);
        assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 2);
        assert_int_equal(t->num_nodes, 4);
        assert_int_equal(t->num_links, links[i]);
        weft_topology_destroy(&t);
    }
}

static void test_real_ibutils_files(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int nics, leaves, spines, cores, links;
    } facts[] = {
        {"12-ary-2-tree", 144, 12, 12, 0, 288},
        {"4-ary-2-tree", 16, 4, 4, 0, 32},
        {"4-ary-2-tree-links-at-same-rank-1", 16, 4, 4, 0, 35},
        {"4-ary-2-tree-missing-sw-link", 14, 4, 4, 0, 29},
        {"4-ary-3-tree", 64, 16, 16, 16, 192},
        {"half-4-ary-3-tree", 32, 8, 8, 8, 96},
        {"merge-root-4-ary-3-tree", 64, 16, 16, 8, 192},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "ibutils/%s.topo", facts[i].file);
        struct weft_topology *t = load_real(path);
        assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), facts[i].nics);
        assert_int_equal(weft_topology_count(t, WEFT_NODE_LEAF), facts[i].leaves);
        assert_int_equal(weft_topology_count(t, WEFT_NODE_SPINE), facts[i].spines);
        assert_int_equal(weft_topology_count(t, WEFT_NODE_CORE_SWITCH), facts[i].cores);
        assert_int_equal(t->num_links, facts[i].links);
        assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "3 cables join switches of one tier"),
                         i == 2);
        weft_topology_destroy(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_cable_seen_from_both_sides_is_one_link),
        cmocka_unit_test(test_one_side_is_believed_with_a_remark),
        cmocka_unit_test(test_sides_that_contradict_are_named),
        cmocka_unit_test(test_sides_that_name_other_ports_of_the_same_devices),
        cmocka_unit_test(test_two_that_claim_one_port),
        cmocka_unit_test(test_a_port_that_is_stated_twice),
        cmocka_unit_test(test_the_lower_of_two_rates_is_believed),
        cmocka_unit_test(test_loops_and_ports_beyond),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_factory_descriptions_name_no_host),
        cmocka_unit_test(test_a_name_that_two_machines_have_is_no_host),
        cmocka_unit_test(test_aggregation_nodes_are_no_hosts),
        cmocka_unit_test(test_adapters_of_one_system_share_a_host),
        cmocka_unit_test(test_switch_names_are_unique),
        cmocka_unit_test(test_ports_of_one_adapter),
        cmocka_unit_test(test_peers_that_nobody_describes),
        cmocka_unit_test(test_unknown_lines_are_named),
        cmocka_unit_test(test_ibsim_options_and_modules),
        cmocka_unit_test(test_ibutils_systems),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_forms_are_told_apart),
        cmocka_unit_test(test_real_ndr_fabric),
        cmocka_unit_test(test_real_ibsim_nets),
        cmocka_unit_test(test_real_ibutils_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
