/*
 * SPDX-License-Identifier: Apache-2.0
 * Slurm's topology.conf: the real files come back as they were, what is refused names its line,
 * and what is written of networks that are no tree holds every host exactly once.
 */
#include "tests/topology/load.h"

#include "base/json.h"
#include "topology/findings.h"
#include "topology/synthetic.h"

/* What the form makes of the graph, in fresh memory; NULL with a sentence where it cannot. */
static char *written_as(const char *form, const struct weft_topology *t, struct weft_error *error)
{
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    assert_non_null(stream);
    weft_status status = weft_topology_export(weft_exporter_find(form), t, stream, error);
    fclose(stream);
    if (status == WEFT_OK)
        return text;
    assert_int_equal(status, WEFT_UNSUPPORTED);
    free(text);
    return NULL;
}

/* The same without the first comment, which names the plugin. */
static void assert_written(const char *form, const struct weft_topology *t, const char *wanted)
{
    struct weft_error error = {0};
    char *text = written_as(form, t, &error);
    if (!text)
        fail_msg("%s", error.text);
    assert_int_equal(text[0], '#');
    assert_string_equal(strchr(text, '\n') + 1, wanted);
    free(text);
}

static bool has_host(const struct weft_topology *t, const char *name)
{
    int node = weft_topology_find_node(t, name);
    return node >= 0 && t->nodes[node].kind == WEFT_NODE_HOST;
}

/* ---- real files ---- */

static const struct {
    const char *file, *form;
    int hosts, leaves, spines, cores, islands;
} real[] = {
    {"topograph/expected.slinky-oci-sim-tree.conf", "slurm-tree", 96, 12, 6, 1, 1},
    {"topograph/expected.slinky-dra-block.conf", "slurm-block", 96, 0, 0, 0, 96},
};

static void test_real_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof real / sizeof real[0]; i++) {
        char path[512], *text;
        size_t bytes;
        int islands;
        assert_int_equal(weft_file_read(real_path(real[i].file, path, sizeof path), 1 << 20, &text,
                                        &bytes, NULL),
                         WEFT_OK);
        struct weft_topology *t = load(path); // recognised
        const int counts[][2] = {{WEFT_NODE_HOST, real[i].hosts},
                                 {WEFT_NODE_LEAF, real[i].leaves},
                                 {WEFT_NODE_SPINE, real[i].spines},
                                 {WEFT_NODE_CORE_SWITCH, real[i].cores}};
        for (size_t j = 0; j < 4; j++)
            assert_int_equal(weft_topology_count(t, counts[j][0]), counts[j][1]);
        assert_int_equal(weft_topology_islands(t, NULL, &islands, NULL), WEFT_OK);
        assert_int_equal(islands, real[i].islands);
        assert_true(has_host(t, "srv4208"));
        struct weft_findings findings; // that hosts are not looked into is no fault
        assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
        for (int j = 0; j < findings.count; j++)
            assert_int_equal(findings.items[j].severity, WEFT_SEVERITY_NOTE);
        weft_findings_free(&findings);
        char *json = written(t, &bytes);
        char *again = written_as(real[i].form, t, NULL);
        assert_non_null(again);
        assert_non_null(strstr(again, text)); // to the byte, after a comment of ours
        struct weft_topology *back = imported(&weft_importer_slurm, again);
        char *json_back = written(back, &bytes);
        assert_string_equal(json, json_back);
        weft_topology_destroy(&t);
        weft_topology_destroy(&back);
        free(text);
        free(again);
        free(json);
        free(json_back);
    }
}

/* ---- reading ---- */

static void test_syntax(void **state)
{
    (void)state;
    struct weft_topology *t = imported(
        &weft_importer_slurm, "# comment\r\n"
                              "switchname = root\tSWITCHES=\"leaf[1-2]\" LinkSpeed=7 # comment\n"
                              "SwitchName=leaf1 \\\r\n"
                              "   Nodes=n[08-11,20],m[1-2]x[01-03]-y \\ # comment\n"
                              "   Foo=bar\n"
                              "\n"
                              "#SwitchName=leaf3 Nodes=z\n"
                              "SwitchName=leaf2 Nodes=login,n08,k[7]");
    static const char *const hosts[] = {"n08",     "n09",     "n10",     "n11",     "n20",
                                        "m1x01-y", "m1x02-y", "m1x03-y", "m2x01-y", "m2x02-y",
                                        "m2x03-y", "login",   "k7"};
    size_t num_hosts = sizeof hosts / sizeof hosts[0];
    for (size_t i = 0; i < num_hosts; i++)
        if (!has_host(t, hosts[i]))
            fail_msg("no host %s", hosts[i]);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), (int)num_hosts);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), (int)num_hosts + 1);
    assert_true(weft_topology_find_node(t, "n08/to-leaf1") >= 0); // it hangs on both leaves
    assert_true(weft_topology_find_node(t, "n08/to-leaf2") >= 0);
    int root = weft_topology_find_node(t, "root"), leaf = weft_topology_find_node(t, "leaf1");
    assert_int_equal(t->nodes[root].kind, WEFT_NODE_SPINE);
    assert_int_equal(t->nodes[leaf].kind, WEFT_NODE_LEAF);
    assert_true(weft_topology_number(t, root, "slurm.link_speed", -1) == 7);
    int unread = 0, guesses = 0;
    for (int i = 0; i < t->num_remarks; i++) {
        unread += t->remarks[i].kind == WEFT_REMARK_UNREAD && strstr(t->remarks[i].text, "Foo=bar");
        guesses += t->remarks[i].kind == WEFT_REMARK_GUESS;
    }
    assert_int_equal(unread, 1);
    assert_int_equal(guesses, 1);
    weft_topology_destroy(&t);
}

/* What a running Slurm prints is a file, too. */
static void test_scontrol(void **state)
{
    (void)state;
    struct weft_topology *t = imported(
        &weft_importer_slurm, "SwitchName=top Level=1 LinkSpeed=1 Nodes=n[1-4] Switches=s[0-1]\n"
                              "SwitchName=s0 Level=0 LinkSpeed=1 Nodes=n[1-2]\n"
                              "SwitchName=s1 Level=0 LinkSpeed=1 Nodes=n[3-4]\n");
    assert_written("slurm-tree", t,
                   "SwitchName=top Switches=s[0-1] LinkSpeed=1\n"
                   "SwitchName=s0 Nodes=n[1-2] LinkSpeed=1\n"
                   "SwitchName=s1 Nodes=n[3-4] LinkSpeed=1\n");
    weft_topology_destroy(&t);
}

static const struct {
    const char *text;
    int line;
    const char *why;
} bad[] = {
    {"SwitchName=a Nodes=n[0-999999999]", 1, "65536 names"},
    {"SwitchName=a Nodes=n[0-99999],m", 1, "65536 names"},
    {"SwitchName=a Nodes=n[0-999]x[0-999]", 1, "65536 names"},
    {"SwitchName=a Nodes=n[0-65535],m[0-65535]", 1, "65536 names"},
    {"SwitchName=a Nodes=n[0-65535]\n\nSwitchName=b Nodes=m[0-65535]\nSwitchName=c Nodes=k", 4,
     "too many names"},
    {"SwitchName=a Nodes=n[0-99999999999999999999]", 1, "numbers"},
    {"SwitchName=a Nodes=n[3-1]", 1, "A <= B"},
    {"SwitchName=a Nodes=n[1-2", 1, "bracket"},
    {"SwitchName=a Nodes=n1-2]", 1, "bracket"},
    {"SwitchName=a Nodes=n[]", 1, "empty bracket"},
    {"SwitchName=a Nodes=n[1,]", 1, "numbers"},
    {"SwitchName=a Nodes=n[1-]", 1, "numbers"},
    {"SwitchName=a Nodes=n[-1]", 1, "numbers"},
    {"SwitchName=a Nodes=n[a-c]", 1, "numbers"},
    {"SwitchName=a Nodes=n[1][1][1][1][1][1][1][1][1]", 1, "8 brackets"},
    {"SwitchName=a Nodes=n1,,n2", 1, "empty name"},
    {"SwitchName=a Nodes=n1,", 1, "empty name"},
    {"SwitchName=a Nodes=n1,n1", 1, "twice"},
    {"SwitchName=a Nodes=n1 Nodes=n2", 1, "Nodes is given twice"},
    {"SwitchName=a", 1, "without Nodes"},
    {"SwitchName=a Nodes=", 1, "KEY=VALUE"},
    {"SwitchName=a Nodes", 1, "KEY=VALUE"},
    {"SwitchName=a what Nodes=n1", 1, "KEY=VALUE"},
    {"SwitchName=a Nodes=n1 Switches=b", 1, "not both"},
    {"SwitchName=a[1-2] Nodes=n1", 1, "no list"},
    {"SwitchName=\xc3\xa4 Nodes=n1", 1, "0xc3"},
    {"SwitchName=a Nodes=\xc3\xa4", 1, "0xc3"},
    {"SwitchName=a Nodes=n1\nSwitchName=a Nodes=n2", 2, "two switches"},
    {"SwitchName=a Nodes=n1\n\nSwitchName=b Switches=a,c", 3, "no switch \"c\""},
    {"SwitchName=a Nodes=n1\nSwitchName=b Switches=a\nSwitchName=c Switches=a", 3,
     "already below the one of line 2"},
    {"SwitchName=a Switches=a", 1, "contains itself"},
    {"SwitchName=x Nodes=n\nSwitchName=a Switches=b,x\nSwitchName=b Switches=a", 1,
     "contains itself"},
    {"SwitchName=a Nodes=a", 1, "both a switch and a node"},
    {"SwitchName=a Nodes=n1 LinkSpeed=-1", 1, "LinkSpeed"},
    {"SwitchName=a Nodes=n1 LinkSpeed=nan", 1, "LinkSpeed"},
    {"SwitchName=a \\\n Nodes=n[\nSwitchName=b Nodes=n1", 1, "bracket"},
    {"SwitchName=a Nodes=n1\nInclude other.conf", 2, "included"},
    {"SwitchName=a Nodes=n1\nNodes=n2", 2, "without SwitchName"},
    {"SwitchName=a BlockName=b Nodes=n2", 1, "in one line"},
    {"BlockName=a Nodes=n1\nBlockName=b Nodes=n1", 2, "already in block \"a\""},
    {"BlockName=a Nodes=n1\nBlockName=a Nodes=n2", 2, "two blocks"},
    {"BlockName=a Nodes=n1 BlockSizes=2", 1, "of its own"},
    {"BlockSizes=2\nBlockSizes=2", 2, "twice"},
    {"BlockName=a Switches=b", 1, "without SwitchName"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(&weft_importer_slurm, bad[i].text, bad[i].line, bad[i].why);
}

static void test_deep(void **state)
{
    (void)state;
    char text[8192];
    size_t used = (size_t)snprintf(text, sizeof text, "SwitchName=s0 Nodes=n\n");
    for (int i = 1; i < 100; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "SwitchName=s%d Switches=s%d\n",
                                 i, i - 1);
    assert_refused(&weft_importer_slurm, text, -1, "48 levels");
}

static void test_matches(void **state)
{
    (void)state;
    const struct weft_importer *slurm = weft_importer_find("slurm");
    assert_true(slurm->matches("\n# x\nSWITCHNAME =a Nodes=b"));
    assert_true(slurm->matches("BlockName=a"));
    assert_true(slurm->matches("blocksizes=4"));
    assert_false(slurm->matches(""));
    assert_false(slurm->matches("SwitchName a"));
    assert_false(slurm->matches("# SwitchName=a\nvendid=0x2c9"));
    assert_false(slurm->matches("SwitchNames=a"));
}

/* ---- writing ---- */

static int node_of(struct weft_topology *t, const char *name, int kind, int parent)
{
    int node = weft_topology_find_node(t, name);
    if (node < 0)
        assert_int_equal(weft_topology_add_node(t, kind, name, parent, &node, NULL), WEFT_OK);
    return node;
}

static void cable(struct weft_topology *t, int a, int b, int64_t gbps)
{
    struct weft_link link = weft_link_make(WEFT_LINK_NETWORK, a, b);
    link.bandwidth.nominal = (struct weft_quantity){gbps * 1000000000, WEFT_SOURCE_FILE};
    assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), WEFT_OK);
}

/* One more port of a host, of this many GB/s. */
static void plug(struct weft_topology *t, const char *host, const char *on, int kind, int64_t gbps)
{
    char nic[64];
    snprintf(nic, sizeof nic, "%s/nic%d", host, t->num_nodes);
    int parent = node_of(t, host, WEFT_NODE_HOST, -1);
    cable(t, node_of(t, nic, WEFT_NODE_NIC, parent), node_of(t, on, kind, -1), gbps);
}

static void join(struct weft_topology *t, const char *low, const char *high, int kind)
{
    cable(t, weft_topology_find_node(t, low), node_of(t, high, kind, -1), 50);
}

static struct weft_topology *empty(void)
{
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    return t;
}

/* Two compute fabrics that only a slower storage network joins; a host that no switch reaches; one
 * that lacks a rail; NICs whose host is not known. */
static void test_planes(void **state)
{
    (void)state;
    struct weft_topology *t = empty();
    static const char *const hosts[][3] = {{"n1", "a0", "a1"}, {"n2", "a0", "a1"},
                                           {"n3", "a0", NULL}, {"n4", "b0", "b1"},
                                           {"n5", "b0", "b1"}, {"n6", "c0", "c1"}};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        for (int j = 1; j < 3; j++)
            if (hosts[i][j])
                plug(t, hosts[i][0], hosts[i][j], WEFT_NODE_LEAF, 50);
        plug(t, hosts[i][0], "storage", WEFT_NODE_LEAF, 25);
    }
    static const char *const low[] = {"a0", "a1", "b0", "b1"};
    for (int i = 0; i < 4; i++) {
        join(t, low[i], "top0", WEFT_NODE_SPINE);
        join(t, low[i], "top1", WEFT_NODE_SPINE);
    }
    plug(t, "server", "storage", WEFT_NODE_LEAF, 25);
    node_of(t, "n7", WEFT_NODE_HOST, -1);
    cable(t, node_of(t, "orphan", WEFT_NODE_NIC, -1), node_of(t, "a0", WEFT_NODE_LEAF, -1), 50);
    assert_written("slurm-tree", t,
                   "# left out: 6 ways of hosts to switches of other fabrics than their widest\n"
                   "# left out: 1 network ports of unknown hosts\n"
                   "# top=top0 ... top1 (2 switches)\n"
                   "SwitchName=top Switches=a,b\n"
                   "# a=a0 ... a1 (2 switches)\n"
                   "SwitchName=a Nodes=n[1-3]\n"
                   "# alone-n7=on no switch that is known\n"
                   "SwitchName=alone-n7 Nodes=n7\n"
                   "# b=b0 ... b1 (2 switches)\n"
                   "SwitchName=b Nodes=n[4-5]\n"
                   "# c=c0 ... c1 (2 switches)\n"
                   "SwitchName=c Nodes=n6\n"
                   "SwitchName=storage Nodes=server\n");
    weft_topology_destroy(&t);
}

/* Leaves cabled to each other without a spine; names that Slurm could not read or tell apart. */
static void test_odd_networks(void **state)
{
    (void)state;
    struct weft_topology *t = empty();
    plug(t, "n1", "MF0;sw 1", WEFT_NODE_SWITCH, 50);
    plug(t, "n2", "MF0;sw/1", WEFT_NODE_SWITCH, 50);
    join(t, "MF0;sw 1", "MF0;sw/1", WEFT_NODE_SWITCH);
    assert_written("slurm-tree", t,
                   "# spines=no switches, but cables between what is below\n"
                   "SwitchName=spines Switches=MF0-sw-1,MF0-sw-1-1\n"
                   "# MF0-sw-1=MF0;sw 1\n"
                   "SwitchName=MF0-sw-1 Nodes=n1\n"
                   "# MF0-sw-1-1=MF0;sw/1\n"
                   "SwitchName=MF0-sw-1-1 Nodes=n2\n");
    weft_topology_destroy(&t);
    t = empty(); // tiers that nobody named: by their distance from the hosts
    plug(t, "n1", "x", WEFT_NODE_SWITCH, 50);
    plug(t, "n2", "y", WEFT_NODE_SWITCH, 50);
    join(t, "x", "up", WEFT_NODE_SWITCH);
    join(t, "y", "up", WEFT_NODE_SWITCH);
    join(t, "up", "top", WEFT_NODE_SWITCH);
    assert_written("slurm-tree", t,
                   "SwitchName=top Switches=up\n"
                   "SwitchName=up Switches=x,y\n"
                   "SwitchName=x Nodes=n1\n"
                   "SwitchName=y Nodes=n2\n");
    weft_topology_destroy(&t);
    t = empty(); // the number that tells such groups apart comes last
    for (int i = 1; i < 5; i++) {
        char on[32];
        snprintf(on, sizeof on, "L-%02d-02", i);
        plug(t, "n1", on, WEFT_NODE_LEAF, 50);
    }
    assert_written("slurm-tree", t,
                   "# L-02=L-01-02 ... L-04-02 (4 switches)\n"
                   "SwitchName=L-02 Nodes=n1\n");
    weft_topology_destroy(&t);
}

static void test_refused(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_topology *t = empty();
    assert_null(written_as("slurm-tree", t, &error));
    assert_non_null(strstr(error.text, "no host"));
    plug(t, "node 1", "s", WEFT_NODE_LEAF, 50);
    assert_null(written_as("slurm-tree", t, &error));
    assert_non_null(strstr(error.text, "\"node 1\""));
    assert_null(written_as("slurm-block", t, &error));
    assert_non_null(strstr(error.text, "\"node 1\""));
    weft_topology_destroy(&t);
    t = load("host:2 gpu:4 nvswitch:1");
    assert_null(written_as("slurm-tree", t, &error));
    assert_non_null(strstr(error.text, "no host is on a switch"));
    assert_null(written_as("slurm-block", t, &error));
    assert_non_null(strstr(error.text, "no NVLink domain spans hosts"));
    weft_topology_destroy(&t);
}

static void test_unbalanced(void **state)
{
    (void)state;
    static const char text[] = "SwitchName=top Switches=l1,mid,solo\n"
                               "SwitchName=mid Switches=l[2-3]\n"
                               "SwitchName=solo Switches=l4\n"
                               "SwitchName=l1 Nodes=n[1-9]\n"
                               "SwitchName=l2 Nodes=n[09-10]\n"
                               "SwitchName=l3 Nodes=n[11,13],x\n"
                               "SwitchName=l4 Nodes=n14\n";
    struct weft_topology *t = imported(&weft_importer_slurm, text);
    assert_written("slurm-tree", t, text);
    weft_topology_destroy(&t);
}

/* Leading zeros, gaps, numbers that nearly belong together. */
static void test_lists(void **state)
{
    (void)state;
    static const char *const lists[] = {
        "n[1-3]",
        "n[08-12]",
        "n[8-12]",
        "n[008-101]",
        "a1b[2-3],a2b[1-2]",
        "n[1,3,5-7]",
        "n[1-2],n,n-[1-2]",
        "a,b",
        "n[1,01]",
        "n[99,100]",
        "x-[01-02]-y",
        "123",
        "n000[000000000000000001-000000000000000002]",
    };
    static const char *const wanted[] = {
        "n[1-3]",
        "n[08-12]",
        "n[8-12]",
        "n[008-101]",
        "a1b[2-3],a2b[1-2]",
        "n[1,3,5-7]",
        "n,n-[1-2],n[1-2]",
        "a,b",
        "n[01,1]",
        "n[99-100]",
        "x-01-y,x-02-y",
        "123",
        "n000[000000000000000001-000000000000000002]",
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        char text[200], line[200];
        snprintf(text, sizeof text, "SwitchName=s Nodes=%s", lists[i]);
        snprintf(line, sizeof line, "SwitchName=s Nodes=%s\n", wanted[i]);
        struct weft_topology *t = imported(&weft_importer_slurm, text);
        assert_written("slurm-tree", t, line);
        weft_topology_destroy(&t);
    }
}

/* Every host once, islands kept apart: whatever was written is read again and counted. */
static void test_every_host_once(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        int hosts, leaves, spines, cores;
    } cases[] = {
        {"superpod-h100:64", 64, 2, 1, 0},    {"superpod-b200:127", 127, 4, 1, 0},
        {"superpod-h100:512", 512, 16, 1, 1}, {"superpod-h100:2048", 2048, 64, 2, 1},
        {"gb200-nvl72:2", 36, 1, 0, 0},       {"dgx-h100:9", 9, 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weft_topology *t = load(cases[i].source);
        struct weft_error error = {0};
        int islands;
        char *text = written_as("slurm-tree", t, &error);
        if (!text)
            fail_msg("%s: %s", cases[i].source, error.text);
        struct weft_topology *back = imported(&weft_importer_slurm, text);
        assert_int_equal(weft_topology_count(back, WEFT_NODE_HOST), cases[i].hosts);
        assert_int_equal(weft_topology_count(back, WEFT_NODE_NIC), cases[i].hosts);
        assert_int_equal(weft_topology_count(back, WEFT_NODE_LEAF), cases[i].leaves);
        assert_int_equal(weft_topology_count(back, WEFT_NODE_SPINE), cases[i].spines);
        assert_int_equal(weft_topology_count(back, WEFT_NODE_CORE_SWITCH), cases[i].cores);
        assert_int_equal(weft_topology_islands(back, NULL, &islands, NULL), WEFT_OK);
        assert_int_equal(islands, 1);
        free(text);
        weft_topology_destroy(&t);
        weft_topology_destroy(&back);
    }
}

/* ---- blocks ---- */

static void test_blocks(void **state)
{
    (void)state;
    struct weft_topology *t = load("gb200-nvl72:2");
    assert_written("slurm-block", t,
                   "BlockName=block0 Nodes=host[0-17]\n"
                   "BlockName=block1 Nodes=host[18-35]\n"
                   "BlockSizes=18\n");
    weft_topology_destroy(&t);
    t = load("host:5 gpu:2 nvswitch:1"); // by what the GPUs report; hosts 0, 2 and 1, 4; 3 alone
    static const char *const domains[] = {"x.1", "y.1", "x.1", "z.1", "y.1"};
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 2; j++) {
            char name[32];
            snprintf(name, sizeof name, "host%d/gpu%d", i, j);
            assert_int_equal(weft_topology_set_text(t, weft_topology_find_node(t, name),
                                                    "nvlink_domain", domains[i], WEFT_SOURCE_NVML,
                                                    NULL),
                             WEFT_OK);
        }
    assert_written("slurm-block", t,
                   "# block0=x.1\n"
                   "BlockName=block0 Nodes=host[0,2]\n"
                   "# block1=y.1\n"
                   "BlockName=block1 Nodes=host[1,4]\n"
                   "BlockSizes=2\n"
                   "# in no block: host3\n");
    weft_topology_destroy(&t);
    static const char text[] = "BlockName=z Nodes=n[1-2]\nBlockName=a Nodes=m\nBlockSizes=1,2\n";
    t = imported(&weft_importer_slurm, text); // the order of blocks has a meaning
    assert_written("slurm-block", t, text);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_files), cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_scontrol),   cmocka_unit_test(test_bad),
        cmocka_unit_test(test_deep),       cmocka_unit_test(test_matches),
        cmocka_unit_test(test_planes),     cmocka_unit_test(test_odd_networks),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_unbalanced),
        cmocka_unit_test(test_lists),      cmocka_unit_test(test_every_host_once),
        cmocka_unit_test(test_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
