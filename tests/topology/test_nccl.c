/*
 * SPDX-License-Identifier: Apache-2.0
 * NCCL's topology XML, in and out: every real file (where ../shared is there) read, written and
 * read again, each trap of these files by name, files of our own for what they lack, machines of
 * other sources written for NCCL, and what must be refused.
 */
#include "tests/topology/compare.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "topology/forms.h"
#include "topology/load.h"
#include "topology/synthetic.h"

/* ---- helpers ---- */

static struct weft_topology *parsed(const char *text)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    if (weft_topology_import(&weft_importer_nccl_xml, text, strlen(text), "own", &t, &error) !=
        WEFT_OK)
        fail_msg("%s\nin\n%s", error.text, text);
    return t;
}

static char *exported(const struct weft_topology *t)
{
    char *text = NULL;
    size_t bytes;
    struct weft_error error = {0};
    FILE *stream = open_memstream(&text, &bytes);
    assert_non_null(stream);
    if (weft_topology_export(&weft_exporter_nccl_xml, t, stream, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    fclose(stream);
    return text;
}

/* XML to graph to XML to graph: the same graph, down to the byte of its JSON form. */
static void check_round_trip(const struct weft_topology *t)
{
    size_t bytes;
    char *xml = exported(t);
    struct weft_topology *back = parsed(xml);
    char *json_1 = written(t, &bytes), *json_2 = written(back, &bytes);
    assert_string_equal(json_1, json_2);
    assert_true(weft_topology_fingerprint(t) == weft_topology_fingerprint(back));
    free(xml);
    free(json_1);
    free(json_2);
    weft_topology_destroy(&back);
}

static struct weft_topology *loaded(const char *file)
{
    char path[512];
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    snprintf(path, sizeof path, "%s/topodata/%s", WEFT_SHARED_DATA, file);
    if (access(path, R_OK) != 0) {
        print_message("no %s: skipped\n", path);
        skip();
    }
    if (weft_topology_load(path, &t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return t;
}

static int node_named(const struct weft_topology *t, const char *name)
{
    int node = weft_topology_find_node(t, name);
    if (node < 0)
        fail_msg("no node %s", name);
    return node;
}

/* The link between two nodes; NULL: none, and more than one fails. */
static const struct weft_link *between(const struct weft_topology *t, const char *a, const char *b)
{
    int x = node_named(t, a), y = node_named(t, b);
    const struct weft_link *found = NULL;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if ((link->from != x || link->to != y) && (link->from != y || link->to != x))
            continue;
        assert_null(found);
        found = link;
    }
    return found;
}

/* Of all links of a kind at a node: how many, bundles counted in full. */
static int num_at(const struct weft_topology *t, int node, int kind)
{
    int sum = 0;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == kind && (t->links[i].from == node || t->links[i].to == node))
            sum += t->links[i].count;
    return sum;
}

static int num_remarks(const struct weft_topology *t, int kind)
{
    int count = 0;
    for (int i = 0; i < t->num_remarks; i++)
        count += (int)t->remarks[i].kind == kind;
    return count;
}

static bool has_remark(const struct weft_topology *t, int kind, const char *part)
{
    for (int i = 0; i < t->num_remarks; i++)
        if ((int)t->remarks[i].kind == kind && strstr(t->remarks[i].text, part))
            return true;
    return false;
}

/* ---- the real files ---- */

static int elements_of(const char *path, const char *name)
{
    char *text = NULL, mark[16];
    size_t bytes = 0;
    int count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(getdelim(&text, &bytes, 0, file) > 0);
    fclose(file);
    snprintf(mark, sizeof mark, "<%s ", name);
    for (const char *at = text; (at = strstr(at, mark)); at++)
        count++;
    free(text);
    return count;
}

static void check_file(const char *path)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    if (weft_topology_load(path, &t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    check_round_trip(t);
    // nothing got lost: the text itself is the judge, not the reader
    int pci = 0, in_tree = 0;
    for (int i = 0; i < t->num_nodes; i++)
        in_tree +=
            weft_topology_text(t, i, "pci_address") && !(t->nodes[i].kind == WEFT_NODE_NVSWITCH);
    pci = elements_of(path, "pci");
    int nets = elements_of(path, "net"), nics = weft_topology_count(t, WEFT_NODE_NIC);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NUMA), elements_of(path, "cpu"));
    assert_true(nics >= nets);
    assert_true(in_tree >= pci);
    assert_true(weft_topology_count(t, WEFT_NODE_GPU) >= elements_of(path, "gpu"));
    assert_int_equal(weft_topology_count(t, WEFT_NODE_DEVICE), 0);
    assert_int_equal(num_remarks(t, WEFT_REMARK_UNREAD), 0);
    int stated = 0, links = 0;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_XGMI)
            links++;
    stated = elements_of(path, "xgmi");
    assert_int_equal(2 * links, stated); // each once, though stated from both sides
    weft_topology_destroy(&t);
}

static void test_every_real_file_survives_the_round_trip(void **state)
{
    (void)state;
    static const char *const patterns[] = {"rccl/*.xml", "aws/*.xml", "azure/*-topo.xml",
                                           "oracle/*.xml"};
    glob_t found = {0};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        char pattern[512];
        snprintf(pattern, sizeof pattern, "%s/topodata/%s", WEFT_SHARED_DATA, patterns[i]);
        glob(pattern, i ? GLOB_APPEND : 0, NULL, &found);
    }
    if (found.gl_pathc == 0) {
        print_message("no NCCL files in %s: skipped\n", WEFT_SHARED_DATA);
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_file(found.gl_pathv[i]);
    print_message("%zu real files\n", found.gl_pathc);
    assert_int_equal(found.gl_pathc, 22);
    globfree(&found);
}

static void test_graph_file_is_refused_by_name(void **state)
{
    (void)state;
    char path[512];
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    snprintf(path, sizeof path, "%s/topodata/azure/ncv4-graph.xml", WEFT_SHARED_DATA);
    if (access(path, R_OK) != 0) {
        print_message("no %s: skipped\n", path);
        skip();
    }
    assert_int_equal(weft_topology_load(path, &t, &error), WEFT_INVALID_FORMAT);
    assert_non_null(strstr(error.text, "ncv4-graph.xml:1: "));
    assert_non_null(strstr(error.text, "NCCL_GRAPH_FILE"));
    assert_null(t);
}

static void test_ncv4_self_loops_are_hidden_links(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("azure/ncv4-topo.xml");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 4);
    assert_int_equal(num_remarks(t, WEFT_REMARK_HIDDEN), 4);
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_GPU)
            continue;
        assert_true(weft_topology_number(t, i, "hidden_nvlink", 0) == 12);
        assert_int_equal(num_at(t, i, WEFT_LINK_NVLINK), 0);
    }
    weft_topology_destroy(&t);
}

static void test_ncv4_nic_under_the_cpu(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("azure/ncv4-topo.xml");
    const struct weft_link *link = between(t, "host/numa0", "host/eth0");
    assert_non_null(link);
    assert_int_equal(link->kind, WEFT_LINK_ROOT);
    assert_true(weft_topology_number(t, node_named(t, "host/eth0"), "port_rate", 0) ==
                INT64_C(12500000000));
    weft_topology_destroy(&t);
}

static void test_empty_speed_and_width_zero_are_unknown(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("azure/ncv4-topo.xml");
    const struct weft_link *link = between(t, "host/pcie-root0", "host/gpu0");
    assert_non_null(link);
    assert_true(link->bandwidth.current.value == -1);
    weft_topology_destroy(&t);
}

static void check_gpus_that_nccl_fills_in(const char *file, int nics)
{
    struct weft_topology *t = loaded(file);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), nics);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_PCIE_SWITCH), 4);
    assert_true(has_remark(t, WEFT_REMARK_HIDDEN, "8 GPUs are in the file without <gpu>"));
    char *xml = exported(t); // and NCCL can still fill them in
    assert_null(strstr(xml, "<gpu"));
    assert_non_null(strstr(xml, "busid=\"ffff:ff:01.0\""));
    free(xml);
    weft_topology_destroy(&t);
}

static void test_ndv4_and_p4d_have_gpus_without_gpu_elements(void **state)
{
    (void)state;
    check_gpus_that_nccl_fills_in("azure/ndv4-topo.xml", 8);
    check_gpus_that_nccl_fills_in("aws/p4d-24xl-topo.xml", 4);
}

static void test_gpus_without_numbers_count_in_pci_order(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("azure/ndv4-topo.xml");
    static const char *const addresses[] = {"0001:00:00.0", "0002:00:00.0", "0003:00:00.0",
                                            "0004:00:00.0", "000b:00:00.0", "000c:00:00.0",
                                            "000d:00:00.0", "000e:00:00.0"};
    for (int i = 0; i < 8; i++) {
        char name[32];
        snprintf(name, sizeof name, "host/gpu%d", i);
        assert_string_equal(weft_topology_text(t, node_named(t, name), "pci_address"),
                            addresses[i]);
    }
    weft_topology_destroy(&t);
}

static void test_oracle_h100_nvlinks_and_switches(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("oracle/H100-topology.xml");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 4);
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_GPU)
            assert_int_equal(num_at(t, i, WEFT_LINK_NVLINK), 18);
    const struct weft_link *link = between(t, "host/gpu0", "host/nvswitch2"); // 0000:1c:00.0
    assert_non_null(link);
    assert_int_equal(link->count, 5);
    assert_true(link->bandwidth.nominal.value == INT64_C(125000000000));
    assert_int_equal(link->bandwidth.nominal.source, WEFT_SOURCE_ASSUMED);
    assert_string_equal(weft_topology_text(t, node_named(t, "host/nvswitch2"), "pci_address"),
                        "0000:1c:00.0");
    weft_topology_destroy(&t);
}

static void test_oracle_h100_two_ports_on_one_nic(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("oracle/H100-topology.xml");
    int a = node_named(t, "host/mlx5_0"), b = node_named(t, "host/mlx5_1");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 16);
    assert_int_equal(t->nodes[a].parent, t->nodes[b].parent);
    assert_string_equal(weft_topology_text(t, a, "pci_address"),
                        weft_topology_text(t, b, "pci_address"));
    assert_true(weft_topology_number(t, a, "port_rate", 0) == INT64_C(22500000000));
    assert_string_equal(weft_topology_text(t, b, "nccl.net.port"), "2");
    // NCCL prints the bytes of the GUID turned round; 946dae is the vendor's prefix
    assert_string_equal(weft_topology_text(t, a, "system_guid"), "946dae030050709a");
    char *xml = exported(t);
    int nics = 0;
    for (const char *at = xml; (at = strstr(at, "<nic>")); at++)
        nics++;
    assert_int_equal(nics, 8); // and are one again for NCCL
    free(xml);
    weft_topology_destroy(&t);
}

static void test_oracle_h100_interleaved_affinity_masks(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("oracle/H100-topology.xml");
    int numa0 = node_named(t, "host/numa0"), numa1 = node_named(t, "host/numa1");
    assert_true(weft_topology_number(t, numa0, "threads", 0) == 112);
    assert_true(weft_topology_number(t, numa0, "first_thread", -1) == 0);
    assert_true(weft_topology_number(t, numa1, "threads", 0) == 112);
    assert_true(weft_topology_number(t, numa1, "first_thread", -1) == 56);
    weft_topology_destroy(&t);
}

static void test_p5_all_devices_in_one_domain(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("aws/p5.48xl-topo.xml");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 32);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NUMA), 1);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_PCIE_ROOT), 1);
    const struct weft_link *link = between(t, "host/pcie-switch0", "host/rdmap79s0");
    assert_non_null(link); // 16 GT/s on 8 lanes
    assert_true(link->bandwidth.current.value == INT64_C(15753846000));
    assert_null(weft_topology_text(t, node_named(t, "host/rdmap79s0"), "system_guid")); // "0"
    weft_topology_destroy(&t);
}

static void test_4p2h_falls_into_two_xgmi_islands(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("rccl/topo_4p2h.xml");
    int group[8];
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
    for (int i = 0; i < 8; i++)
        group[i] = i;
    for (int round = 0; round < 8; round++)
        for (int i = 0; i < 8; i++)
            for (int j = 0; j < 8; j++) {
                char a[32], b[32];
                snprintf(a, sizeof a, "host/gpu%d", i);
                snprintf(b, sizeof b, "host/gpu%d", j);
                if (i != j && between(t, a, b) && group[j] < group[i])
                    group[i] = group[j];
            }
    for (int i = 0; i < 8; i++)
        assert_int_equal(group[i], i < 4 ? 0 : 4);
    weft_topology_destroy(&t);
}

static void test_rccl_counts_classes_and_versions(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("rccl/topo_16p1h.xml");
    assert_int_equal(between(t, "host/gpu0", "host/gpu1")->count, 4);
    assert_int_equal(between(t, "host/gpu0", "host/gpu1")->kind, WEFT_LINK_XGMI);
    assert_true(between(t, "host/gpu0", "host/gpu1")->bandwidth.nominal.value == -1);
    assert_string_equal(weft_topology_text(t, node_named(t, "host/gpu0"), "nccl.gpu.gcn"), "910");
    char *xml = exported(t);
    assert_non_null(strstr(xml, "<system version=\"2\">"));
    free(xml);
    weft_topology_destroy(&t);
    t = loaded("rccl/topo_8p_940.xml"); // class 0x120000
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
    assert_int_equal(num_at(t, node_named(t, "host/gpu0"), WEFT_LINK_XGMI), 7);
    weft_topology_destroy(&t);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_real_file_survives_the_round_trip),
        cmocka_unit_test(test_graph_file_is_refused_by_name),
        cmocka_unit_test(test_ncv4_self_loops_are_hidden_links),
        cmocka_unit_test(test_ncv4_nic_under_the_cpu),
        cmocka_unit_test(test_empty_speed_and_width_zero_are_unknown),
        cmocka_unit_test(test_ndv4_and_p4d_have_gpus_without_gpu_elements),
        cmocka_unit_test(test_gpus_without_numbers_count_in_pci_order),
        cmocka_unit_test(test_oracle_h100_nvlinks_and_switches),
        cmocka_unit_test(test_oracle_h100_two_ports_on_one_nic),
        cmocka_unit_test(test_oracle_h100_interleaved_affinity_masks),
        cmocka_unit_test(test_p5_all_devices_in_one_domain),
        cmocka_unit_test(test_4p2h_falls_into_two_xgmi_islands),
        cmocka_unit_test(test_rccl_counts_classes_and_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
