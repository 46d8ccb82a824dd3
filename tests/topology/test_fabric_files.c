/*
 * SPDX-License-Identifier: Apache-2.0
 * The files that fabrics come from, ibnetdiscover's, ibsim's and ibutils': what is particular to a
 * form, what is refused and with which line, and the real files where ../shared is there.
 */
#include "tests/topology/cabling.h"
#include "tests/topology/load.h"

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
    assert_string_equal(text_of(t, "H-1", "model"), "Cougar");
    assert_string_equal(text_of(t, "SW-1", "model"), "MTS800");
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
    const char *dump = "#\nvendid=0x1\nSwitch 8 \"S-0000000000000001\"\n";
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
