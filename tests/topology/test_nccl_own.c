/*
 * SPDX-License-Identifier: Apache-2.0
 * NCCL's topology XML: files of our own, for what the real ones lack, and what must be refused.
 */
#include "tests/topology/nccl.h"

#define SYSTEM(...) "<system version=\"1\">" __VA_ARGS__ "</system>"
#define CPU(number, ...)                                                                           \
    "<cpu numaid=\"" number "\" affinity=\"f0\" arch=\"x86_64\">" __VA_ARGS__ "</cpu>"
#define PCI(address, pci_class, ...)                                                               \
    "<pci busid=\"" address "\" class=\"" pci_class                                                \
    "\" link_speed=\"16.0 GT/s PCIe\" link_width=\"16\">" __VA_ARGS__ "</pci>"
#define GPU(address, number, ...)                                                                  \
    PCI(address, "0x030200", "<gpu dev=\"" number "\" sm=\"90\">" __VA_ARGS__ "</gpu>")
#define NVLINK(target, count, target_class)                                                        \
    "<nvlink target=\"" target "\" count=\"" count "\" tclass=\"" target_class "\"/>"

static void test_links_that_differ_by_side_are_a_contradiction(void **state)
{
    (void)state;
    struct weft_topology *t = parsed(SYSTEM(CPU(
        "0", GPU("0000:01:00.0", "0", NVLINK("0000:02:00.0", "4", "0x030200"))
                 GPU("0000:02:00.0", "1",
                     NVLINK("0000:01:00.0", "3", "0x030200")
                         NVLINK("0000:03:00.0", "2", "0x030200")) GPU("0000:03:00.0", "2", ""))));
    assert_int_equal(between(t, "host/gpu0", "host/gpu1")->count, 3);
    assert_int_equal(between(t, "host/gpu1", "host/gpu2")->count, 2);
    assert_int_equal(count_remarks(t, WEFT_REMARK_CONTRADICTION, ""), 2);
    assert_true(count_remarks(t, WEFT_REMARK_CONTRADICTION, "3 are believed"));
    assert_true(between(t, "host/gpu0", "host/gpu1")->bandwidth.nominal.value ==
                INT64_C(75000000000));
    weft_topology_destroy(&t);
}

static void test_one_hidden_target_among_switches(void **state)
{
    (void)state;
    struct weft_topology *t = parsed(SYSTEM(
        CPU("0", GPU("0000:01:00.0", "0", NVLINK("0000:0a:00.0", "18", "0x068000"))
                     GPU("0000:02:00.0", "1", NVLINK("fffffff:ff:ff.0", "18", "0x068000")))));
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 1);
    assert_int_equal(num_at(t, find(t, "host/gpu1"), WEFT_LINK_NVLINK), 0);
    assert_true(weft_topology_number(t, find(t, "host/gpu1"), "hidden_nvlink", 0) == 18);
    assert_true(count_remarks(t, WEFT_REMARK_HIDDEN, "fffffff:ff:ff.0"));
    check_round_trip(t);
    weft_topology_destroy(&t);
}

static void test_all_switches_hidden_are_guessed_as_one(void **state)
{
    (void)state;
    struct weft_topology *t = parsed(SYSTEM(
        CPU("0", GPU("0000:01:00.0", "0", NVLINK("fffffff:ffff:ff", "18", "0x068000"))
                     GPU("0000:02:00.0", "1", NVLINK("fffffff:ffff:ff", "18", "0x068000")))));
    assert_int_equal(between(t, "host/gpu0", "host/nvswitch0")->count, 18);
    assert_true(count_remarks(t, WEFT_REMARK_GUESS, "NVSwitches of 2 GPUs show no address"));
    check_round_trip(t);
    weft_topology_destroy(&t);
}

#define TRAY(hash, first, second)                                                                  \
    "<cpu host_hash=\"" hash "\" numaid=\"0\" arch=\"arm64\">" GPU(                                \
        first, "0",                                                                                \
        NVLINK("fffffff:ffff:ff", "18", "0x068000") "<c2c bw=\"44712\" count=\"10\"/>")            \
        GPU(second, "1", NVLINK("fffffff:ffff:ff", "18", "0x068000")) PCI(                         \
            "0000:09:00.0", "0x020700",                                                            \
            "<nic><net name=\"mlx5_0\" dev=\"0\" speed=\"400000\" port=\"1\"/></nic>") "</cpu>"

static void test_several_hosts_of_one_nvlink_domain(void **state)
{
    (void)state;
    struct weft_topology *t = parsed(SYSTEM(TRAY("0xbeef", "0000:01:00.0", "0000:02:00.0")
                                                TRAY("0xcafe", "0000:01:00.0", "0000:02:00.0")));
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 2);
    assert_int_equal(t->nodes[find(t, "nvswitch0")].parent, -1); // a rack's
    assert_non_null(between(t, "host0/gpu1", "nvswitch0"));
    assert_non_null(between(t, "host1/gpu0", "nvswitch0"));
    assert_string_equal(weft_topology_text(t, find(t, "host1"), "nccl.cpu.host_hash"), "0xcafe");
    const struct weft_link *c2c = between(t, "host0/numa0", "host0/gpu0");
    assert_non_null(c2c);
    assert_int_equal(c2c->kind, WEFT_LINK_C2C);
    assert_int_equal(c2c->count, 10);
    assert_true(c2c->bandwidth.nominal.value == INT64_C(447120000000));
    assert_int_equal(c2c->bandwidth.nominal.source, WEFT_SOURCE_FILE);
    assert_true(between(t, "host1/mlx5_0", "network")->bandwidth.nominal.value ==
                INT64_C(50000000000));
    assert_true(count_remarks(t, WEFT_REMARK_GUESS, "one switch that joins them all"));
    check_round_trip(t);
    weft_topology_destroy(&t);
}

static void test_several_hosts_without_nvlink_stay_in_one_file(void **state)
{
    (void)state;
    struct weft_topology *t = parsed(SYSTEM("<cpu host_hash=\"0x1\" numaid=\"0\">" GPU(
        "0000:01:00.0", "0", "") "</cpu>"
                                 "<cpu host_hash=\"0x2\" numaid=\"0\">" GPU("0000:01:00.0", "0",
                                                                            "") "</cpu>"));
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 2);
    check_round_trip(t);
    weft_topology_destroy(&t);
}

/* Kept elements go out as they are, so they must be elements even when somebody edited the graph.
 */
static void test_edited_attributes_do_not_break_the_file(void **state)
{
    (void)state;
    struct weft_topology *t = parsed(SYSTEM(CPU("0", GPU("0000:01:00.0", "0", ""))));
    int gpu = find(t, "host/gpu0");
    static const char *const edits[][2] = {
        {"nccl.gpu/0", "</gpu><x/>"}, {"nccl.gpu/1", "<a/><b/>"}, {"nccl.gpu.bad name", "1"},
        {"nccl.gpu.odd", "\"<&"},     {"pci_class", "03\" x=\""}, {"pci_id", "10de:\"\"\"\""}};
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++)
        assert_int_equal(
            weft_topology_set_text(t, gpu, edits[i][0], edits[i][1], WEFT_SOURCE_FILE, NULL),
            WEFT_OK);
    char *xml = exported(&weft_exporter_nccl_xml, t);
    struct weft_topology *back = parsed(xml);
    assert_int_equal(weft_topology_count(back, WEFT_NODE_GPU), 1);
    assert_string_equal(weft_topology_text(back, find(back, "host/gpu0"), "nccl.gpu.odd"), "\"<&");
    free(xml);
    weft_topology_destroy(&t);
    weft_topology_destroy(&back);
}

static void test_one_host_gets_no_network(void **state)
{
    (void)state;
    struct weft_topology *t =
        parsed(SYSTEM(CPU("0", PCI("0000:09:00.0", "0x020700",
                                   "<nic><net name=\"mlx5_0\" speed=\"400000\"/></nic>"))));
    assert_int_equal(num_at(t, find(t, "host/mlx5_0"), WEFT_LINK_NETWORK), 0);
    assert_true(weft_topology_number(t, find(t, "host/mlx5_0"), "rate_mbps", 0) == 400000);
    weft_topology_destroy(&t);
}

static void test_nvlink_to_the_cpu_and_side_links(void **state)
{
    (void)state;
    struct weft_topology *t = parsed(SYSTEM(
        CPU("8", PCI("0000:01:00.0", "0x060400", "<pcilink target=\"0000:05:00.0\"/>")
                     PCI("0000:05:00.0", "0x060400", "<pcilink target=\"0000:01:00.0\"/>")
                         GPU("0000:02:00.0", "0", NVLINK("0004:04:00.1", "3", "0x068001")))));
    const struct weft_link *link = between(t, "host/numa8", "host/gpu0");
    assert_non_null(link);
    assert_int_equal(link->kind, WEFT_LINK_NVLINK);
    assert_int_equal(link->count, 3);
    link = between(t, "host/pcie-switch0", "host/pcie-switch1");
    assert_non_null(link);
    assert_int_equal(link->kind, WEFT_LINK_PCIE);
    check_round_trip(t);
    weft_topology_destroy(&t);
}

static void test_what_is_unknown_is_kept_or_named(void **state)
{
    (void)state;
    struct weft_topology *t = parsed(SYSTEM("<rack position=\"7\"/>" CPU(
        "0", "<chipset name=\"a &lt; b\"/>" PCI("0000:03:00.0", "0x010802", "")
                 GPU("0000:01:00.0", "0", "<future x=\"1\"><inner/></future>")
                     PCI("0000:02:00.0", "0x020000",
                         "<nic><net name=\"e/0\" rail=\"3\"/><gin dev=\"0\"/></nic>text"))));
    assert_int_equal(weft_topology_count(t, WEFT_NODE_DEVICE), 1);
    assert_string_equal(weft_topology_text(t, find(t, "host/device0"), "pci_class"), "010802");
    assert_string_equal(weft_topology_text(t, find(t, "host/e-0"), "nccl.net.rail"), "3");
    assert_int_equal(count_remarks(t, WEFT_REMARK_UNREAD, ""), 2); // what has children; the text
    assert_true(count_remarks(t, WEFT_REMARK_UNREAD, "line 1: <future>"));
    char *xml = exported(&weft_exporter_nccl_xml, t);
    assert_non_null(strstr(xml, "<rack position=\"7\"/>"));
    assert_non_null(strstr(xml, "<chipset name=\"a &#60; b\"/>"));
    assert_non_null(strstr(xml, "<gin dev=\"0\"/>"));
    assert_non_null(strstr(xml, "name=\"e/0\""));
    struct weft_topology *back = parsed(xml);
    assert_true(weft_topology_fingerprint(t) == weft_topology_fingerprint(back));
    free(xml);
    weft_topology_destroy(&t);
    weft_topology_destroy(&back);
}

static void test_every_spelling_of_a_pcie_speed(void **state)
{
    (void)state;
    static const struct {
        const char *speed, *width;
        int64_t bandwidth;
    } cases[] = {
        {"2.5 GT/s", "16", INT64_C(4000000000)},
        {"2.5 GT/s PCIe", "1", INT64_C(250000000)},
        {"5 GT/s", "16", INT64_C(8000000000)},
        {"5.0 GT/s PCIe", "16", INT64_C(8000000000)},
        {"8 GT/s", "16", INT64_C(15753846000)},
        {"8.0 GT/s PCIe", "8", INT64_C(7876923000)},
        {"16 GT/s", "16", INT64_C(31507692000)},
        {"16.0 GT/s", "16", INT64_C(31507692000)},
        {"16.0 GT/s PCIe", "4", INT64_C(7876923000)},
        {"32 GT/s", "16", INT64_C(63015385000)},
        {"32.0 GT/s PCIe", "16", INT64_C(63015385000)},
        {"64.0 GT/s PCIe", "16", INT64_C(121000000000)},
        {"", "0", -1},
        {"16 GT/s", "0", -1},
        {"Unknown", "16", -1},
        {"Unknown speed", "16", -1},
        {"15.753846", "16", -1},
        {"nan GT/s", "16", -1},
        {"7 GT/s", "16", -1},
        {"8 GT/s", "255", -1},
        {"160 GT/s", "16", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 SYSTEM("<cpu numaid=\"0\"><pci busid=\"0000:01:00.0\" class=\"0x0300\" "
                        "link_speed=\"%s\" link_width=\"%s\"/></cpu>"),
                 cases[i].speed, cases[i].width);
        struct weft_topology *t = parsed(text);
        int64_t found = between(t, "host/pcie-root0", "host/gpu0")->bandwidth.nominal.value;
        if (found != cases[i].bandwidth)
            fail_msg("%s x%s: %lld", cases[i].speed, cases[i].width, (long long)found);
        check_round_trip(t);
        weft_topology_destroy(&t);
    }
}

static void test_odd_but_legal(void **state)
{
    (void)state;
    struct weft_topology *t = parsed(
        "<?xml version=\"1.0\"?><!-- one --><system version=\"1\" name=\"box\"><!-- two -->"
        "<cpu numaid=\"-1\"><nic><net name=\"eth0\" speed=\"-1\"/><net name=\"eth0\" speed=\"10\"/>"
        "<net name=\"fast\" speed=\"200000000\"/></nic>"
        "<pci busid=\"01:00.0\"><gpu/></pci><pci busid=\"02:00.0\" class=\"0x03\"/>"
        "<pci busid=\"03:00.0\"><nic/></pci><pci busid=\"04:00.0\"><pci busid=\"05:00.0\"/></pci>"
        "</cpu></system>");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 2);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 4);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_PCIE_SWITCH), 1);
    find(t, "host/eth0~2");
    find(t, "host/nic-0000:03:00.0");
    assert_true(count_remarks(t, WEFT_REMARK_HIDDEN, "numaid=\"-1\""));
    assert_true(count_remarks(t, WEFT_REMARK_CONTRADICTION, "200000000 Mb/s"));
    assert_null(weft_topology_attribute(t, find(t, "host/eth0"), "rate_mbps"));
    assert_null(weft_topology_attribute(t, find(t, "host/fast"), "rate_mbps"));
    check_round_trip(t);
    weft_topology_destroy(&t);
}

static void test_order_of_the_file_does_not_matter(void **state)
{
    (void)state;
#define SWITCH_A PCI("0000:10:00.0", "0x060400", GPU("0000:11:00.0", "1", ""))
#define SWITCH_B PCI("0000:20:00.0", "0x060400", GPU("0000:21:00.0", "0", ""))
    struct weft_topology *t = parsed(SYSTEM(CPU("0", SWITCH_A) CPU("1", SWITCH_B)));
    struct weft_topology *turned = parsed(SYSTEM(CPU("1", SWITCH_B) CPU("0", SWITCH_A)));
    assert_true(weft_topology_fingerprint(t) == weft_topology_fingerprint(turned));
    weft_topology_destroy(&t);
    weft_topology_destroy(&turned);
}

/* ---- what must be refused ---- */

static const struct {
    const char *text, *why;
} bad_files[] = {
    {"<system version=\"1", "input:1: "},
    {"<system version=\"1\">", "input:1: "},
    {"<system/>", "input:1: <system>: it has no version"},
    {"<system version=\"3\"><cpu numaid=\"0\"/></system>", "version=\"3\""},
    {"<system version=\"1\"/>", "no <cpu>"},
    {SYSTEM("<cpu/>"), "no numaid"},
    {SYSTEM("<cpu numaid=\"-2\"/>"), "numaid=\"-2\""},
    {SYSTEM("<cpu numaid=\"nan\"/>"), "numaid=\"nan\""},
    {SYSTEM(CPU("0", "\n<pci class=\"0x03\"/>")), "input:2: <pci>: it has no busid"},
    {SYSTEM(CPU("0", "<pci busid=\"gpu zero\"/>")), "no PCI address"},
    {SYSTEM(CPU("0", PCI("0000:01:00.0", "0xface1234", ""))), "no PCI class"},
    {SYSTEM(CPU("0", GPU("0000:01:00.0", "0", "") "\n" GPU("0000:01:00.0", "1", ""))),
     "input:2: <pci>: busid 0000:01:00.0 is that of line 1 too"},
    {SYSTEM(CPU("0", "<pci busid=\"1:0.0\" link_width=\"-16\"/>")), "link_width=\"-16\""},
    {SYSTEM(CPU("0", "<pci busid=\"1:0.0\" link_width=\"99999999999999999999\"/>")),
     "is no number"},
    {SYSTEM(CPU("0", GPU("1:0.0", "-1", ""))), "dev=\"-1\""},
    {SYSTEM(CPU("0", GPU("1:0.0", "0", NVLINK("2:0.0", "1000000", "0x03")))), "count=\"1000000\""},
    {SYSTEM(CPU("0", GPU("1:0.0", "0", NVLINK("2:0.0", "-4", "0x03")))), "count=\"-4\""},
    {SYSTEM(CPU("0", GPU("1:0.0", "0", "<nvlink count=\"4\"/>"))), "it has no target"},
    {SYSTEM(CPU("0", GPU("1:0.0", "0", "<c2c bw=\"inf\" count=\"1\"/>"))), "bw=\"inf\""},
    {SYSTEM(CPU("0", "<nic><net name=\"a\" speed=\"nan\"/></nic>")), "speed=\"nan\""},
    {SYSTEM(CPU("0", "<nic><net name=\"a\" speed=\"-2\"/></nic>")), "speed=\"-2\""},
    {SYSTEM(CPU("0", "<nic><net name=\"a\" latency=\"nan\"/></nic>")), "latency=\"nan\""},
    {SYSTEM(CPU("0", "<nic><net name=\"a\" latency=\"-1\"/></nic>")), "latency=\"-1\""},
    {"<!DOCTYPE system [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>"
     "<system version=\"1\"><cpu numaid=\"0\" affinity=\"&b;\"/></system>",
     "entities are not read"},
    {"<graphs version=\"1\"/>", "NCCL_GRAPH_FILE"},
};

static void test_bad_files_are_refused_with_line_and_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++)
        assert_refused(&weft_importer_nccl_xml, bad_files[i].text, -1, bad_files[i].why);
}

static void check_depth(int depth, const char *why)
{
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    assert_non_null(stream);
    fputs("<system version=\"1\"><cpu numaid=\"0\">\n", stream);
    for (int i = 0; i < depth; i++)
        fprintf(stream, "<pci busid=\"%04x:00:00.0\" class=\"0x060400\">\n", i);
    for (int i = 0; i < depth; i++)
        fputs("</pci>", stream);
    fputs("</cpu></system>", stream);
    fclose(stream);
    if (why) {
        assert_refused(&weft_importer_nccl_xml, text, -1, why);
    } else {
        struct weft_topology *t = parsed(text);
        check_round_trip(t);
        weft_topology_destroy(&t);
    }
    free(text);
}

static void test_deep_nesting(void **state)
{
    (void)state;
    check_depth(32, NULL);
    check_depth(33, "input:34: <pci>: nested deeper than 32 levels");
    check_depth(100, "input:34: <pci>: nested deeper than 32 levels");
    check_depth(10000, "input:"); // the XML library refuses it
}

static void test_many_cpus_and_many_twins(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    fputs("<system version=\"1\">", stream);
    for (int i = 0; i < 513; i++)
        fprintf(stream, "<cpu numaid=\"%d\"/>", i);
    fputs("</system>", stream);
    fclose(stream);
    assert_refused(&weft_importer_nccl_xml, text, -1, "more than 512");
    free(text);
    stream = open_memstream(&text, &bytes);
    fputs("<system version=\"1\"><cpu numaid=\"0\"><nic>", stream);
    for (int i = 0; i < 20000; i++)
        fputs("<net name=\"a\"/>", stream);
    fputs("</nic></cpu></system>", stream);
    fclose(stream);
    assert_refused(&weft_importer_nccl_xml, text, -1, "two nodes are named");
    free(text);
}

/* More children than digits: their order is kept, too. */
static void test_many_unknown_children_keep_their_order(void **state)
{
    (void)state;
    char children[600] = "", text[1200];
    for (int i = 0; i < 12; i++) {
        size_t used = strlen(children);
        snprintf(children + used, sizeof children - used, "<new part=\"%c\"/>", "cabdlkjihgfe"[i]);
    }
    snprintf(text, sizeof text,
             SYSTEM(CPU("0", "<pci busid=\"0000:01:00.0\" class=\"0x030200\">"
                             "<gpu dev=\"0\">%s</gpu></pci>")),
             children);
    struct weft_topology *t = parsed(text);
    char *xml = exported(&weft_exporter_nccl_xml, t);
    const char *at = xml;
    for (int i = 0; i < 12; i++) {
        char part[32];
        snprintf(part, sizeof part, "<new part=\"%c\"/>", "cabdlkjihgfe"[i]);
        at = strstr(at, part);
        assert_non_null(at);
    }
    check_round_trip(t);
    free(xml);
    weft_topology_destroy(&t);
}

/* A function with two ports is two NICs: a link to it would come back at either. */
static void test_links_to_network_functions_join_nothing(void **state)
{
    (void)state;
    struct weft_topology *t = parsed(SYSTEM(
        CPU("0", "<pci busid=\"0000:01:00.0\" class=\"0x030200\"><gpu dev=\"0\">"
                 "<nvlink target=\"0000:02:00.0\" count=\"5\" tclass=\"0x068000\"/></gpu></pci>"
                 "<pci busid=\"0000:02:00.0\" class=\"0x020000\"><nic><net name=\"b\" dev=\"0\" "
                 "port=\"1\"/><net name=\"a\" dev=\"1\" port=\"2\"/></nic></pci>")));
    int gpu = weft_topology_find_node(t, "host/gpu0");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 2);
    assert_int_equal(weft_topology_number(t, gpu, "hidden_nvlink", 0), 5);
    for (int i = 0; i < t->num_links; i++)
        assert_int_not_equal(t->links[i].kind, WEFT_LINK_NVLINK);
    check_round_trip(t);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links_to_network_functions_join_nothing),
        cmocka_unit_test(test_many_unknown_children_keep_their_order),
        cmocka_unit_test(test_links_that_differ_by_side_are_a_contradiction),
        cmocka_unit_test(test_one_hidden_target_among_switches),
        cmocka_unit_test(test_all_switches_hidden_are_guessed_as_one),
        cmocka_unit_test(test_several_hosts_of_one_nvlink_domain),
        cmocka_unit_test(test_several_hosts_without_nvlink_stay_in_one_file),
        cmocka_unit_test(test_edited_attributes_do_not_break_the_file),
        cmocka_unit_test(test_one_host_gets_no_network),
        cmocka_unit_test(test_nvlink_to_the_cpu_and_side_links),
        cmocka_unit_test(test_what_is_unknown_is_kept_or_named),
        cmocka_unit_test(test_every_spelling_of_a_pcie_speed),
        cmocka_unit_test(test_odd_but_legal),
        cmocka_unit_test(test_order_of_the_file_does_not_matter),
        cmocka_unit_test(test_bad_files_are_refused_with_line_and_reason),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_many_cpus_and_many_twins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
