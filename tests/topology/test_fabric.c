/*
 * SPDX-License-Identifier: Apache-2.0
 * What a fabric becomes: small dumps of ibnetdiscover, written for one trap each (cables that are
 * stated once, twice or otherwise, names that tell hosts and those that do not).
 */
#include "tests/topology/cabling.h"
#include "tests/topology/load.h"

#include "topology/fabric.h"

static struct weft_topology *read_dump(const char *text)
{
    return imported(&weft_importer_ibnetdiscover, text);
}

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
        read_dump("#\n# Topology file: generated on a day\n#\n" SWITCH("1", "MF0;leaf-1:MQM9701/U1")
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
    assert_string_equal(text_of(t, "leaf-1", "node_guid"), GUID("1"));
    assert_string_equal(text_of(t, "leaf-1", "description"), "MF0;leaf-1:MQM9701/U1");
    assert_string_equal(text_of(t, "leaf-1", "model"), "MQM9701");
    assert_string_equal(text_of(t, "leaf-1", "port0"), "enhanced");
    assert_string_equal(text_of(t, "node1/mlx5_0", "port_guid"), GUID("f"));
    assert_string_equal(text_of(t, "node1/mlx5_0", "rdma_device"), "mlx5_0");
    assert_string_equal(text_of(t, "node1/mlx5_0", "link_layer"), "infiniband");
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
        read_dump(SWITCH("1", "a") TO_SWITCH("3", "2", "4", "4xEDR") "\n" SWITCH("2", "b"));
    assert_non_null(cable(t, "a", 3, "b", 4));
    assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "1 cable stated from one side only"), 1);
    weft_topology_destroy(&t);
}

static void test_sides_that_contradict_are_named(void **state)
{
    (void)state;
    // a says its port 3 goes to b 4; b says its port 4 goes to c 5, and c agrees
    struct weft_topology *t =
        read_dump(SWITCH("1", "a") TO_SWITCH("3", "2", "4", "4xEDR") "\n" SWITCH("2", "b")
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
    struct weft_topology *t = read_dump(SWITCH("1", "a") TO_SWITCH(
        "3", "2", "4", "4xEDR") "\n" SWITCH("2", "b") TO_SWITCH("4", "1", "5", "4xEDR"));
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
        read_dump(SWITCH("1", "a") TO_SWITCH("3", "3", "5", "4xEDR") "\n" SWITCH("2", "b")
                      TO_SWITCH("4", "3", "5", "4xEDR") "\n" SWITCH("3", "c"));
    assert_int_equal(t->num_links, 1);
    assert_non_null(cable(t, "a", 3, "c", 5));
    assert_int_equal(count_remarks(t, WEFT_REMARK_CONTRADICTION, "b port 4"), 1);
    weft_topology_destroy(&t);
}

static void test_a_port_that_is_stated_twice(void **state)
{
    (void)state;
    struct weft_topology *t = read_dump(
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
    struct weft_topology *t = read_dump(SWITCH("1", "a") TO_SWITCH(
        "3", "2", "4", "4xEDR") "\n" SWITCH("2", "b") TO_SWITCH("4", "1", "3", "4xDDR"));
    assert_true(cable(t, "a", 3, "b", 4)->bandwidth.current.value == 2000000000);
    assert_int_equal(count_remarks(t, WEFT_REMARK_CONTRADICTION, "different rates"), 1);
    weft_topology_destroy(&t);
}

static void test_loops_and_ports_beyond(void **state)
{
    (void)state;
    struct weft_topology *t = read_dump(
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
    struct weft_topology *t = read_dump(SWITCH("1", "a") TO_SWITCH(
        "3", "2", "4", "4xBDR") "\n" SWITCH("2", "b") TO_SWITCH("4", "1", "3", "4xBDR"));
    assert_true(cable(t, "a", 3, "b", 4)->bandwidth.current.value == -1);
    assert_int_equal(count_remarks(t, WEFT_REMARK_UNREAD, "2 lines were not understood"), 1);
    weft_topology_destroy(&t);
}

static void test_factory_descriptions_name_no_host(void **state)
{
    (void)state;
    struct weft_topology *t = read_dump(
        SWITCH("1", "a") TO_ADAPTER("1", "a", "4xNDR") TO_ADAPTER("2", "b", "4xNDR")
            TO_ADAPTER("3", "c", "4xNDR") ADAPTER("a", "MT4129 ConnectX7   Mellanox Technologies")
                UP("1", "1", "4xNDR") ADAPTER("b", "localhost HCA-1") UP("1", "2", "4xNDR")
                    ADAPTER("c", "ubuntu mlx5_0") UP("1", "3", "4xNDR"));
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 0);
    assert_host(t, GUID("a"), NULL);
    assert_host(t, GUID("b"), NULL);
    assert_host(t, GUID("c"), NULL);
    assert_string_equal(text_of(t, GUID("c"), "description"), "ubuntu mlx5_0");
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "3 channel adapters do not say"), 1);
    weft_topology_destroy(&t);
}

static void test_a_name_that_two_machines_have_is_no_host(void **state)
{
    (void)state;
    struct weft_topology *t = read_dump(
        SWITCH("1", "a") TO_ADAPTER("1", "a", "4xNDR") TO_ADAPTER("2", "b", "4xNDR")
            TO_ADAPTER("3", "c", "4xNDR") TO_ADAPTER("4", "d", "4xNDR") ADAPTER("a", "box mlx5_0")
                UP("1", "1", "4xNDR") ADAPTER("b", "box mlx5_0") UP("1", "2", "4xNDR")
                    ADAPTER("c", "box mlx5_1") UP("1", "3", "4xNDR") ADAPTER("d", "node7 HCA-2")
                        UP("1", "4", "4xNDR"));
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
    struct weft_topology *t = read_dump(
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
    struct weft_topology *t = read_dump(
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
    struct weft_topology *t = read_dump(
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
    struct weft_topology *t = read_dump(SWITCH("1", "a") "[1]\t\"H-" GUID(
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
    assert_string_equal(text_of(t, "node1/mlx4_0", "port_guid"), "00000000000000b1");
    assert_string_equal(text_of(t, "node1/mlx4_0", "port_guid.2"), "00000000000000b2");
    assert_int_equal(weft_topology_number(t, find(t, "node1/mlx4_0"), "lid.2", -1), 2);
    weft_topology_destroy(&t);
}

static void test_peers_that_nobody_describes(void **state)
{
    (void)state;
    struct weft_topology *t =
        read_dump(SWITCH("1", "a") TO_SWITCH("3", "2", "4", "4xEDR") TO_ADAPTER("1", "a", "4xEDR"));
    assert_int_equal(t->nodes[find(t, GUID("2"))].kind, WEFT_NODE_SPINE);
    assert_int_equal(t->nodes[find(t, GUID("a"))].kind, WEFT_NODE_NIC);
    assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "2 devices are somebody's peer"), 1);
    weft_topology_destroy(&t);
}

static void test_unknown_lines_are_named(void **state)
{
    (void)state;
    struct weft_topology *t =
        read_dump("# Topology file: generated on a day\nChassis 1 (guid 0x5)\n" SWITCH("1", "a")
                      TO_ADAPTER("1", "a", "4xEDR") "\nfirmware=0x12\n");
    assert_int_equal(count_remarks(t, WEFT_REMARK_UNREAD,
                                   "2 lines were not understood (first: line 2, \"Chassis 1"),
                     1);
    weft_topology_destroy(&t);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
