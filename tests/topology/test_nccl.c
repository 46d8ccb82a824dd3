/*
 * SPDX-License-Identifier: Apache-2.0
 * NCCL's topology XML, in and out: every real file (where ../shared is there) read, written and
 * read again, each trap of these files by name, and machines of other sources written for NCCL.
 */
#include "tests/topology/nccl.h"

#include <glob.h>

#include "topology/synthetic.h"
#include "topology/xml.h"

/* ---- the real files ---- */

struct elements {
    char *texts[4096];
    int count;
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Each element as its names from the root down, with all attributes of each, sorted. */
static void collect(const xmlNode *element, const char *above, struct elements *all)
{
    char *attributes[32], *text = NULL;
    size_t bytes;
    int count = 0;
    for (const xmlAttr *a = element->properties; a; a = a->next) {
        assert_in_range(count, 0, 31);
        assert_true(asprintf(&attributes[count++], "%s=%s", (const char *)a->name,
                             weft_xml_text(element, (const char *)a->name)) > 0);
    }
    qsort(attributes, (size_t)count, sizeof *attributes, compare_texts);
    FILE *stream = open_memstream(&text, &bytes);
    assert_non_null(stream);
    fprintf(stream, "%s <%s", above, (const char *)element->name);
    for (int i = 0; i < count; i++) {
        fprintf(stream, " %s", attributes[i]);
        free(attributes[i]);
    }
    fclose(stream);
    assert_in_range(all->count, 0, 4095);
    all->texts[all->count++] = text;
    for (const xmlNode *child = weft_xml_element(element->children); child;
         child = weft_xml_element(child->next))
        collect(child, text, all);
}

static struct elements *elements_of(const char *text, size_t bytes)
{
    xmlDoc *document = NULL;
    struct elements *all = calloc(1, sizeof *all);
    assert_non_null(all);
    assert_int_equal(weft_xml_parse(text, bytes, "text", &document, NULL), WEFT_OK);
    collect(xmlDocGetRootElement(document), "", all);
    xmlFreeDoc(document);
    qsort(all->texts, (size_t)all->count, sizeof *all->texts, compare_texts);
    return all;
}

static void free_elements(struct elements *all)
{
    for (int i = 0; i < all->count; i++)
        free(all->texts[i]);
    free(all);
}

static int count_of(const struct elements *all, const char *name)
{
    char mark[16];
    int count = 0;
    snprintf(mark, sizeof mark, "<%s ", name);
    for (int i = 0; i < all->count; i++) {
        const char *last = strrchr(all->texts[i], '<');
        count += last && strncmp(last, mark, strlen(mark)) == 0;
    }
    return count;
}

/* What is written is what was read: every element, every attribute, no more and no less. */
static int check_same_elements(const char *path, const struct weft_topology *t)
{
    char *text = NULL, *xml = exported(&weft_exporter_nccl_xml, t);
    size_t size = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    ssize_t bytes = getdelim(&text, &size, 0, file);
    fclose(file);
    assert_true(bytes > 0);
    struct elements *before = elements_of(text, (size_t)bytes);
    struct elements *after = elements_of(xml, strlen(xml));
    for (int i = 0; i < before->count && i < after->count; i++)
        if (strcmp(before->texts[i], after->texts[i]) != 0)
            fail_msg("%s: %s\nis now %s", path, before->texts[i], after->texts[i]);
    assert_int_equal(before->count, after->count);
    int count = before->count, xgmi = 0;
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NUMA), count_of(before, "cpu"));
    assert_true(weft_topology_count(t, WEFT_NODE_NIC) >= count_of(before, "net"));
    assert_true(weft_topology_count(t, WEFT_NODE_GPU) >= count_of(before, "gpu"));
    for (int i = 0; i < t->num_links; i++)
        xgmi += t->links[i].kind == WEFT_LINK_XGMI;
    assert_int_equal(2 * xgmi, count_of(before, "xgmi")); // once each, though stated twice
    free_elements(before);
    free_elements(after);
    free(text);
    free(xml);
    return count;
}

static int check_file(const char *path)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    if (weft_topology_load(path, &t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    check_round_trip(t);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_DEVICE), 0);
    assert_int_equal(count_remarks(t, WEFT_REMARK_UNREAD, ""), 0);
    int count = check_same_elements(path, t);
    weft_topology_destroy(&t);
    return count;
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
    int elements = 0;
    for (size_t i = 0; i < found.gl_pathc; i++)
        elements += check_file(found.gl_pathv[i]);
    print_message("%zu real files, %d elements\n", found.gl_pathc, elements);
    assert_int_equal(found.gl_pathc, 22);
    globfree(&found);
}

static void test_graph_file_is_refused_by_name(void **state)
{
    (void)state;
    char path[512];
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    real_path("azure/ncv4-graph.xml", path, sizeof path);
    assert_int_equal(weft_topology_load(path, &t, &error), WEFT_INVALID_FORMAT);
    assert_non_null(strstr(error.text, "ncv4-graph.xml:1: "));
    assert_non_null(strstr(error.text, "NCCL_GRAPH_FILE"));
    assert_null(t);
}

static void test_ncv4_self_loops_are_hidden_links(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("azure/ncv4-topo.xml");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 4);
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, ""), 4);
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
    struct weft_topology *t = load_real("azure/ncv4-topo.xml");
    const struct weft_link *link = between(t, "host/numa0", "host/eth0");
    assert_non_null(link);
    assert_int_equal(link->kind, WEFT_LINK_ROOT);
    assert_true(weft_topology_number(t, find(t, "host/eth0"), "rate_mbps", 0) == 100000);
    weft_topology_destroy(&t);
}

static void test_empty_speed_and_width_zero_are_unknown(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("azure/ncv4-topo.xml");
    const struct weft_link *link = between(t, "host/pcie-root0", "host/gpu0");
    assert_non_null(link);
    assert_true(link->bandwidth.nominal.value == -1);
    weft_topology_destroy(&t);
}

static void check_gpus_that_nccl_fills_in(const char *file, int nics)
{
    struct weft_topology *t = load_real(file);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), nics);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_PCIE_SWITCH), 4);
    assert_true(count_remarks(t, WEFT_REMARK_HIDDEN, "8 GPUs are in the file without <gpu>"));
    char *xml = exported(&weft_exporter_nccl_xml, t); // and NCCL can still fill them in
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
    struct weft_topology *t = load_real("azure/ndv4-topo.xml");
    static const char *const addresses[] = {"0001:00:00.0", "0002:00:00.0", "0003:00:00.0",
                                            "0004:00:00.0", "000b:00:00.0", "000c:00:00.0",
                                            "000d:00:00.0", "000e:00:00.0"};
    for (int i = 0; i < 8; i++) {
        char name[32];
        snprintf(name, sizeof name, "host/gpu%d", i);
        assert_string_equal(weft_topology_text(t, find(t, name), "pci_address"), addresses[i]);
    }
    weft_topology_destroy(&t);
}

static void test_oracle_h100_nvlinks_and_switches(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("oracle/H100-topology.xml");
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
    assert_string_equal(weft_topology_text(t, find(t, "host/nvswitch2"), "pci_address"),
                        "0000:1c:00.0");
    weft_topology_destroy(&t);
}

static void test_oracle_h100_two_ports_on_one_nic(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("oracle/H100-topology.xml");
    int a = find(t, "host/mlx5_0"), b = find(t, "host/mlx5_1");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 16);
    assert_int_equal(t->nodes[a].parent, t->nodes[b].parent);
    assert_string_equal(weft_topology_text(t, a, "pci_address"),
                        weft_topology_text(t, b, "pci_address"));
    assert_true(weft_topology_number(t, a, "rate_mbps", 0) == 180000);
    assert_string_equal(weft_topology_text(t, b, "nccl.net.port"), "2");
    // NCCL prints the bytes of the GUID turned round; 946dae is the vendor's prefix
    assert_string_equal(weft_topology_text(t, a, "system_guid"), "946dae030050709a");
    char *xml = exported(&weft_exporter_nccl_xml, t);
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
    struct weft_topology *t = load_real("oracle/H100-topology.xml");
    int numa0 = find(t, "host/numa0"), numa1 = find(t, "host/numa1");
    assert_true(weft_topology_number(t, numa0, "threads", 0) == 112);
    assert_true(weft_topology_number(t, numa0, "first_thread", -1) == 0);
    assert_true(weft_topology_number(t, numa1, "threads", 0) == 112);
    assert_true(weft_topology_number(t, numa1, "first_thread", -1) == 56);
    weft_topology_destroy(&t);
}

static void test_p5_all_devices_in_one_domain(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("aws/p5.48xl-topo.xml");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 32);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NUMA), 1);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_PCIE_ROOT), 1);
    const struct weft_link *link = between(t, "host/pcie-switch0", "host/rdmap79s0");
    assert_non_null(link); // 16 GT/s on 8 lanes
    assert_true(link->bandwidth.nominal.value == INT64_C(15753846000));
    assert_null(weft_topology_text(t, find(t, "host/rdmap79s0"), "system_guid")); // "0"
    weft_topology_destroy(&t);
}

static void test_4p2h_falls_into_two_xgmi_islands(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("rccl/topo_4p2h.xml");
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
    struct weft_topology *t = load_real("rccl/topo_16p1h.xml");
    assert_int_equal(between(t, "host/gpu0", "host/gpu1")->count, 4);
    assert_int_equal(between(t, "host/gpu0", "host/gpu1")->kind, WEFT_LINK_XGMI);
    assert_true(between(t, "host/gpu0", "host/gpu1")->bandwidth.nominal.value == -1);
    assert_string_equal(weft_topology_text(t, find(t, "host/gpu0"), "nccl.gpu.gcn"), "910");
    char *xml = exported(&weft_exporter_nccl_xml, t);
    assert_non_null(strstr(xml, "<system version=\"2\">"));
    free(xml);
    weft_topology_destroy(&t);
    t = load_real("rccl/topo_8p_940.xml"); // class 0x120000
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
    assert_int_equal(num_at(t, find(t, "host/gpu0"), WEFT_LINK_XGMI), 7);
    weft_topology_destroy(&t);
}

/* ---- machines of other sources, written for NCCL ---- */

/* Each GPU and NIC with a PCI address is there again, and each GPU has as many links. */
static void check_written_machine(const struct weft_topology *t, int nvlinks_per_gpu)
{
    char *xml = exported(&weft_exporter_nccl_xml, t);
    struct weft_topology *back = parsed(xml);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU),
                     weft_topology_count(back, WEFT_NODE_GPU));
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC),
                     weft_topology_count(back, WEFT_NODE_NIC));
    for (int i = 0; i < t->num_nodes; i++) {
        const char *address = weft_topology_text(t, i, "pci_address");
        int kind = t->nodes[i].kind, twin = -1;
        if (!address || (kind != WEFT_NODE_GPU && kind != WEFT_NODE_NIC))
            continue;
        twin = weft_topology_find_text(back, kind, "pci_address", address);
        if (twin < 0)
            fail_msg("%s is lost", t->nodes[i].name);
        if (kind == WEFT_NODE_GPU)
            assert_int_equal(num_at(back, twin, WEFT_LINK_NVLINK), nvlinks_per_gpu);
        assert_string_equal(strchr(t->nodes[i].name, '/'), strchr(back->nodes[twin].name, '/'));
    }
    check_round_trip(back);
    free(xml);
    weft_topology_destroy(&back);
}

static void test_hwloc_dgx2_for_nccl(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("hwloc/nvidiaDGX2.xml");
    check_written_machine(t, 6);
    weft_topology_destroy(&t);
}

static void test_hwloc_lassen_for_nccl(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("mpibind/coral-lassen.xml");
    check_written_machine(t, 0); // hwloc was built without NVML there
    char *xml = exported(&weft_exporter_nccl_xml, t);
    // these GPUs sleep at 2.5 GT/s: NCCL must not take that for what they can do
    assert_null(strstr(xml, "2.5 GT/s"));
    assert_non_null(strstr(xml, "8.0 GT/s PCIe"));
    free(xml);
    weft_topology_destroy(&t);
}

static void test_hwloc_power8_for_nccl(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("hwloc/power8gpudistances.xml");
    check_written_machine(t, 4); // to the other GPU of the socket, and to the CPU
    char *xml = exported(&weft_exporter_nccl_xml, t);
    assert_non_null(strstr(xml, "count=\"2\" tclass=\"0x068001\""));
    free(xml);
    weft_topology_destroy(&t);
}

static void test_synthetic_host_for_nccl(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_from_synthetic(
                         "host:1 numa:2 pcie:4@31.5 gpu:8@31.5 nvswitch:4@100 nic:8@400", &t, NULL),
                     WEFT_OK);
    char *xml = exported(&weft_exporter_nccl_xml, t);
    struct weft_topology *back = parsed(xml);
    assert_int_equal(weft_topology_count(back, WEFT_NODE_GPU), 8);
    assert_int_equal(weft_topology_count(back, WEFT_NODE_NVSWITCH), 4);
    assert_int_equal(num_at(back, find(back, "host/gpu5"), WEFT_LINK_NVLINK), 4);
    assert_true(weft_topology_number(back, find(back, "host/nic3"), "rate_mbps", 0) == 400000);
    assert_non_null(strstr(xml, "link_speed=\"16.0 GT/s PCIe\" link_width=\"16\""));
    free(xml);
    weft_topology_destroy(&t);
    weft_topology_destroy(&back);
}

static void test_what_nccl_xml_cannot_say_is_refused(void **state)
{
    (void)state;
    static const char *const texts[][2] = {{"host:2 gpu:2", "host0 and host1 share none"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct weft_topology *t = NULL;
        struct weft_error error = {0};
        char *text = NULL;
        size_t bytes;
        FILE *stream = open_memstream(&text, &bytes);
        assert_int_equal(weft_topology_from_synthetic(texts[i][0], &t, NULL), WEFT_OK);
        assert_int_equal(weft_topology_export(&weft_exporter_nccl_xml, t, stream, &error),
                         WEFT_UNSUPPORTED);
        fclose(stream);
        assert_non_null(strstr(error.text, texts[i][1]));
        assert_int_equal(bytes, 0);
        free(text);
        weft_topology_destroy(&t);
    }
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
        cmocka_unit_test(test_hwloc_dgx2_for_nccl),
        cmocka_unit_test(test_hwloc_lassen_for_nccl),
        cmocka_unit_test(test_hwloc_power8_for_nccl),
        cmocka_unit_test(test_synthetic_host_for_nccl),
        cmocka_unit_test(test_what_nccl_xml_cannot_say_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
