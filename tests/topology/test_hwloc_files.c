/*
 * SPDX-License-Identifier: Apache-2.0
 * hwloc XML in detail: what is known of the real files by reading them (NVLinks, matrices, names,
 * speeds, what they hide), matrices of our own for what they lack (XGMI, doubled NVLinks, three
 * sets of NVSwitches), and files that must not reach hwloc.
 */
#include "tests/topology/load.h"

#include "topology/findings.h"
#include "topology/nvswitch.h"

static int kind_at(const struct weft_topology *t, int node)
{
    return t->nodes[node].kind;
}

static int nvlinks_of(const struct weft_topology *t, int node)
{
    int count = 0;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NVLINK &&
            (t->links[i].from == node || t->links[i].to == node))
            count += t->links[i].count;
    return count;
}

/* How many sets the GPUs fall into by links of `kind`. */
static int num_domains(const struct weft_topology *t, int kind)
{
    int *set = malloc((size_t)t->num_nodes * sizeof *set), domains = 0;
    assert_non_null(set);
    for (int i = 0; i < t->num_nodes; i++)
        set[i] = i;
    for (bool changes = true; changes;) {
        changes = false;
        for (int i = 0; i < t->num_links; i++) {
            int a = t->links[i].from, b = t->links[i].to;
            if (t->links[i].kind != kind || set[a] == set[b])
                continue;
            set[a] = set[b] = set[a] < set[b] ? set[a] : set[b];
            changes = true;
        }
    }
    for (int i = 0; i < t->num_nodes; i++) {
        bool is_new = t->nodes[i].kind == WEFT_NODE_GPU;
        for (int j = 0; j < i && is_new; j++)
            is_new = t->nodes[j].kind != WEFT_NODE_GPU || set[j] != set[i];
        domains += is_new;
    }
    free(set);
    return domains;
}

static bool has_finding(const struct weft_topology *t, const char *kind)
{
    struct weft_findings findings;
    bool found = false;
    assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
    for (int i = 0; i < findings.count; i++)
        found |= strcmp(findings.items[i].kind, kind) == 0;
    weft_findings_free(&findings);
    return found;
}

/* The trap: no matrix entry joins the two boards' switches. 16 GPUs must be one domain, with six
 * links each, and the trunks as wide as a board's GPUs together (48 links). */
static void test_dgx2_components(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("hwloc/nvidiaDGX2.xml");
    int trunks = 0, trunk_links = 0, to_switches = 0;
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 16);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 12);
    assert_int_equal(num_domains(t, WEFT_LINK_NVLINK), 1);
    for (int i = 0; i < t->num_nodes; i++) {
        if (kind_at(t, i) == WEFT_NODE_GPU)
            assert_int_equal(nvlinks_of(t, i), 6);
        if (kind_at(t, i) == WEFT_NODE_NVSWITCH)
            assert_int_equal(nvlinks_of(t, i), 16);
    }
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (link->kind != WEFT_LINK_NVLINK)
            continue;
        if (kind_at(t, link->from) == WEFT_NODE_GPU || kind_at(t, link->to) == WEFT_NODE_GPU) {
            to_switches++;
            assert_int_equal(link->count, 1);
            assert_true(link->bandwidth.current.value == 25000000000);
            assert_int_equal(link->bandwidth.current.source, WEFT_SOURCE_HWLOC);
        } else {
            trunks++;
            trunk_links += link->count;
            assert_true(link->bandwidth.nominal.value == 200000000000);
            assert_int_equal(link->bandwidth.nominal.source, WEFT_SOURCE_ASSUMED);
            assert_true(link->bandwidth.current.value == -1);
        }
    }
    assert_int_equal(to_switches, 96);
    assert_int_equal(trunks, 6);
    assert_int_equal(trunk_links, 48);
    assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "12 NVSwitches form 2 sets"), 1);
    assert_false(has_finding(t, "gpu-groups"));
    int num_links = t->num_links; // joined already
    assert_int_equal(weft_topology_join_nvswitches(t, WEFT_SOURCE_NVML, NULL), WEFT_OK);
    assert_int_equal(t->num_links, num_links);
    weft_topology_destroy(&t);
}

/* P100: 40000 MB/s are two NVLink 1; each GPU has two to its sibling and two to its CPU. */
static void test_power8_nvlinks(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("hwloc/power8gpudistances.xml");
    int to_memory = 0, between_gpus = 0;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (link->kind != WEFT_LINK_NVLINK)
            continue;
        assert_int_equal(link->count, 2);
        assert_true(link->bandwidth.current.value == 40000000000);
        to_memory += kind_at(t, link->from) == WEFT_NODE_NUMA;
        between_gpus += kind_at(t, link->from) == WEFT_NODE_GPU;
    }
    assert_int_equal(to_memory, 4);
    assert_int_equal(between_gpus, 2);
    int gpu = weft_topology_find_node(t, "host/gpu0");
    assert_string_equal(weft_topology_text(t, gpu, "uuid"),
                        "GPU-77bf6b9a-6906-5a93-d28b-b77d2c23d1d2");
    assert_string_equal(weft_topology_text(t, gpu, "serial"), "0322716104625");
    weft_topology_destroy(&t);
}

/* Lassen's V100 are SXM modules, but the file has no matrix: that is said. */
static void test_hidden_nvlinks(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("mpibind/coral-lassen.xml");
    assert_int_equal(num_domains(t, WEFT_LINK_NVLINK), 4);
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "4 SXM modules"), 1);
    weft_topology_destroy(&t);
    t = load_real("mpibind/g4dnmetal.xml"); // T4 have none
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "SXM"), 0);
    weft_topology_destroy(&t);
}

static struct weft_figure up_figure(const struct weft_topology *t, const char *name)
{
    int node = weft_topology_find_node(t, name);
    if (node < 0)
        fail_msg("no %s", name);
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_PCIE && t->links[i].to == node)
            return t->links[i].bandwidth;
    fail_msg("no PCIe link to %s", name);
    return (struct weft_figure){.nominal = WEFT_QUANTITY_UNKNOWN};
}

/* The trap: hwloc prints GB/s as floats, and 0.000000 where it knows nothing. */
static void test_link_speed_floats(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("hwloc/power8gpudistances.xml");
    // device 15.753846, port above it 7.876923
    assert_true(up_figure(t, "host/gpu0").current.value == 7876923000);
    assert_int_equal(up_figure(t, "host/gpu0").current.source, WEFT_SOURCE_HWLOC);
    weft_topology_destroy(&t);
    t = load_real("hwloc/32em64t-2n8c2t-pci-wholeio.xml"); // all 0.000000
    assert_true(up_figure(t, "host/gpu0").current.value == -1);
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "without a PCIe speed: 7"), 1);
    assert_true(has_finding(t, "unknown-speed"));
    weft_topology_destroy(&t);
}

/* Names, identities and kinds of devices as the files have them. */
static void test_devices(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("hwloc/32em64t-2n8c2t-pci-wholeio.xml");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 4); // the AMD one by its OpenCL device
    int nic = weft_topology_find_node(t, "host/mlx5_0");
    assert_true(nic >= 0);
    assert_string_equal(weft_topology_text(t, nic, "node_guid"), "248a0703001e39fe");
    assert_string_equal(weft_topology_text(t, nic, "port_guid"), "248a0703001e39fe");
    assert_int_equal(weft_topology_number(t, nic, "lid", 0), 1);
    assert_int_equal(weft_topology_number(t, 0, "other_pci_devices", 0), 3); // two disks, a console
    weft_topology_destroy(&t);
    t = load_real("hwloc/16intel64-manyVFs.xml");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 6);
    assert_int_equal(weft_topology_number(t, 0, "network_functions_without_interface", 0), 12);
    weft_topology_destroy(&t);
    t = load_real("hwloc/devel09-pci.xml"); // an old hwloc lists mlx4_0 as an interface
    nic = weft_topology_find_node(t, "devel09/mlx4_0");
    assert_true(nic >= 0);
    assert_string_equal(weft_topology_text(t, nic, "interface"), "ib0");
    assert_string_equal(weft_topology_text(t, nic, "interfaces"), "ib0 ib1");
    weft_topology_destroy(&t);
    t = load_real("hwloc/nvidiaDGX2.xml"); // one NVSwitch could not be read: no id is made up
    int without_id = 0;
    for (int i = 0; i < t->num_nodes; i++)
        without_id += kind_at(t, i) == WEFT_NODE_NVSWITCH && !weft_topology_text(t, i, "pci_id");
    assert_int_equal(without_id, 1);
    weft_topology_destroy(&t);
}

/* The file was written with HWLOC_PCI_LOCALITY: each root is near two of the four packages. */
static void test_pci_locality(void **state)
{
    (void)state;
    struct weft_topology *t = load_real("hwloc/40intel64-2g2n4c+pcilocality.xml");
    int joints = 0;
    for (int i = 0; i < t->num_links; i++)
        joints += t->links[i].kind == WEFT_LINK_ROOT;
    assert_int_equal(weft_topology_count(t, WEFT_NODE_PCIE_ROOT), 2);
    assert_int_equal(joints, 4);
    assert_false(has_finding(t, "unknown-locality"));
    weft_topology_destroy(&t);
    t = load_real("hwloc/irregulargroups-disallowed.xml");
    assert_true(has_finding(t, "unknown-locality"));
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "PCIe roots near no NUMA domain: 2"), 1);
    weft_topology_destroy(&t);
}

/* ---- machines of our own ---- */

#define SETS " cpuset=\"0x1\" complete_cpuset=\"0x1\" nodeset=\"0x1\" complete_nodeset=\"0x1\" "
#define HEAD                                                                                       \
    "<topology version=\"2.0\"><object type=\"Machine\" os_index=\"0\"" SETS                       \
    "allowed_cpuset=\"0x1\" allowed_nodeset=\"0x1\">"                                              \
    "<object type=\"NUMANode\" os_index=\"0\"" SETS "local_memory=\"4096\"/>"                      \
    "<object type=\"PU\" os_index=\"0\"" SETS "/>"

/* A host with `devices` of one PCI id; matrices as rows of text follow. */
static void write_machine(FILE *stream, int devices, const char *type)
{
    fputs(HEAD "<object type=\"Bridge\" gp_index=\"9\" bridge_type=\"0-1\" depth=\"0\" "
               "bridge_pci=\"0000:[00-09]\">",
          stream);
    for (int i = 0; i < devices; i++)
        fprintf(stream,
                "<object type=\"PCIDev\" gp_index=\"%d\" pci_busid=\"0000:00:%02x.0\" "
                "pci_type=\"%s [0000:0000] 00\" pci_link_speed=\"15.753846\"/>",
                10 + i, i + 1, type);
    fputs("</object></object>", stream);
}

static void write_matrix(FILE *stream, const char *name, int n, const int *values)
{
    char text[4096] = "";
    fprintf(stream, "<distances2hetero nbobjs=\"%d\" kind=\"25\" name=\"%s\">", n, name);
    for (int i = 0; i < n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "PCIDev:%d ", 10 + i);
    fprintf(stream, "<indexes length=\"%zu\">%s</indexes>", strlen(text), text);
    text[0] = '\0';
    for (int i = 0; i < n * n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d ", values[i]);
    fprintf(stream, "<u64values length=\"%zu\">%s</u64values></distances2hetero>", strlen(text),
            text);
}

static struct weft_topology *import_machine(int devices, const char *type, const char *name_1,
                                            const int *values_1, const char *name_2,
                                            const int *values_2)
{
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    assert_non_null(stream);
    write_machine(stream, devices, type);
    write_matrix(stream, name_1, devices, values_1);
    if (name_2)
        write_matrix(stream, name_2, devices, values_2);
    fputs("</topology>", stream);
    fclose(stream);
    struct weft_topology *t = imported(&weft_importer_hwloc_xml, text);
    free(text);
    return t;
}

/* Four GPUs in a ring: hops decide what is direct, and the one bandwidth of all pairs no capacity.
 */
static void test_xgmi_hops(void **state)
{
    (void)state;
    static const int hops[] = {0, 1, 2, 1, 1, 0, 1, 2, 2, 1, 0, 1, 1, 2, 1, 0};
    static const int bandwidth[] = {0,      100000, 100000, 100000, 100000, 0,      100000, 100000,
                                    100000, 100000, 0,      100000, 100000, 100000, 100000, 0};
    struct weft_topology *t =
        import_machine(4, "0380 [1002:7408]", "XGMIHops", hops, "XGMIBandwidth", bandwidth);
    int links = 0;
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 4);
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_XGMI) {
            links++;
            assert_true(weft_figure_best(&t->links[i].bandwidth).value == -1);
        }
    assert_int_equal(links, 4);
    assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "is not taken for capacity"), 1);
    weft_topology_destroy(&t);
    t = import_machine(4, "0380 [1002:7408]", "XGMIBandwidth", bandwidth, NULL, NULL);
    assert_int_equal(num_domains(t, WEFT_LINK_XGMI), 1);
    assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "no XGMIHops: each of the 6 pairs"), 1);
    weft_topology_destroy(&t);
}

/* A100 has 12 links of 25 GB/s. Some versions of hwloc say twice as much; that shows in the sum. */
static void test_doubled_nvlinks(void **state)
{
    (void)state;
    for (int doubled = 0; doubled < 2; doubled++) {
        int v = doubled ? 200000 : 100000;
        const int values[] = {0, v, v, v, v, 0, v, v, v, v, 0, v, v, v, v, 0};
        struct weft_topology *t =
            import_machine(4, "0302 [10de:20b0]", "NVLinkBandwidth", values, NULL, NULL);
        for (int i = 0; i < t->num_nodes; i++)
            if (kind_at(t, i) == WEFT_NODE_GPU)
                assert_int_equal(nvlinks_of(t, i), 12);
        for (int i = 0; i < t->num_links; i++)
            if (t->links[i].kind == WEFT_LINK_NVLINK)
                assert_true(t->links[i].bandwidth.current.value == 100000000000);
        assert_int_equal(count_remarks(t, WEFT_REMARK_CONTRADICTION, "were halved"), doubled);
        weft_topology_destroy(&t);
    }
    // B200: 18 links of 50 GB/s
    const int values[] = {0, 900000, 900000, 0};
    struct weft_topology *t =
        import_machine(2, "0302 [10de:2901]", "NVLinkBandwidth", values, NULL, NULL);
    assert_int_equal(nvlinks_of(t, weft_topology_find_node(t, "host/gpu0")), 18);
    assert_int_equal(count_remarks(t, WEFT_REMARK_CONTRADICTION, ""), 0);
    weft_topology_destroy(&t);
}

static int add(struct weft_topology *t, int kind, const char *name, int parent)
{
    int node;
    assert_int_equal(weft_topology_add_node(t, kind, name, parent, &node, NULL), WEFT_OK);
    return node;
}

/* Three sets, one with fewer switches; a fourth switch without GPUs and a second host stay alone.
 */
static void test_nvswitch_sets(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    char name[32];
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    int host = add(t, WEFT_NODE_HOST, "h", -1), other = add(t, WEFT_NODE_HOST, "i", -1);
    static const int switches_of[] = {1, 2, 2};
    for (int set = 0; set < 3; set++) {
        int gpus[2];
        for (int i = 0; i < 2; i++) {
            snprintf(name, sizeof name, "h/gpu%d", 2 * set + i);
            gpus[i] = add(t, WEFT_NODE_GPU, name, host);
        }
        for (int j = 0; j < switches_of[set]; j++) {
            snprintf(name, sizeof name, "h/nvswitch%d", 2 * set + j);
            int node = add(t, WEFT_NODE_NVSWITCH, name, host);
            for (int i = 0; i < 2; i++) {
                struct weft_link link = weft_link_make(WEFT_LINK_NVLINK, gpus[i], node);
                link.count = 4 / switches_of[set];
                assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), WEFT_OK);
            }
        }
    }
    add(t, WEFT_NODE_NVSWITCH, "h/nvswitch9", host);
    int gpu = add(t, WEFT_NODE_GPU, "i/gpu0", other);
    struct weft_link link =
        weft_link_make(WEFT_LINK_NVLINK, gpu, add(t, WEFT_NODE_NVSWITCH, "i/nvswitch0", other));
    assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), WEFT_OK);
    int num_links = t->num_links;
    assert_int_equal(weft_topology_join_nvswitches(t, WEFT_SOURCE_NVML, NULL), WEFT_OK);
    assert_int_equal(t->num_links, num_links + 6); // 2 for each of three pairs of sets
    for (int i = num_links; i < t->num_links; i++)
        assert_int_equal(t->links[i].count, 4); // what the larger set's switches have
    assert_int_equal(num_domains(t, WEFT_LINK_NVLINK), 2);
    assert_int_equal(count_remarks(t, WEFT_REMARK_GUESS, "5 NVSwitches form 3 sets"), 1);
    weft_topology_destroy(&t);
}

/* Memory without processors of its own: by subtype, or second for the same processors. */
static void test_memory_without_processors(void **state)
{
    (void)state;
    struct weft_topology *t = imported(
        &weft_importer_hwloc_xml,
        "<topology version=\"2.0\"><object type=\"Machine\" os_index=\"0\" cpuset=\"0x1\" "
        "complete_cpuset=\"0x1\" nodeset=\"0x7\" complete_nodeset=\"0x7\" allowed_cpuset=\"0x1\" "
        "allowed_nodeset=\"0x7\">"
        "<object type=\"NUMANode\" os_index=\"0\"" SETS "local_memory=\"4096\"/>"
        "<object type=\"NUMANode\" os_index=\"1\" subtype=\"GPUMemory\" cpuset=\"0x1\" "
        "complete_cpuset=\"0x1\" nodeset=\"0x2\" complete_nodeset=\"0x2\" local_memory=\"8192\">"
        "<info name=\"PCIBusID\" value=\"0000:00:01.0\"/></object>"
        "<object type=\"NUMANode\" os_index=\"2\" cpuset=\"0x1\" complete_cpuset=\"0x1\" "
        "nodeset=\"0x4\" complete_nodeset=\"0x4\" local_memory=\"16384\"/>"
        "<object type=\"PU\" os_index=\"0\"" SETS "/>"
        "<object type=\"Bridge\" bridge_type=\"0-1\" depth=\"0\" bridge_pci=\"0000:[00-00]\">"
        "<object type=\"PCIDev\" pci_busid=\"0000:00:01.0\" pci_type=\"0302 [10de:1db1] "
        "[0000:0000] 00\" pci_link_speed=\"15.753846\"/></object></object></topology>");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NUMA), 1);
    int gpu = weft_topology_find_node(t, "host/gpu0");
    int gpu_memory = weft_topology_find_node(t, "host/memory0");
    int second = weft_topology_find_node(t, "host/memory1");
    assert_true(gpu >= 0 && gpu_memory >= 0 && second >= 0);
    assert_int_equal(t->nodes[gpu_memory].parent, gpu);
    assert_int_equal(t->nodes[second].parent, weft_topology_find_node(t, "host"));
    assert_int_equal(weft_topology_number(t, gpu_memory, "memory_bytes", 0), 8192);
    weft_topology_destroy(&t);
}

/* What a guest sees of two GPUs: no switch, no speed, virtio beside them. The same board as bare
 * metal hides nothing by that. */
static void test_virtual_machine(void **state)
{
    (void)state;
    for (int is_virtual = 0; is_virtual < 2; is_virtual++) {
        char text[2048];
        snprintf(text, sizeof text,
                 HEAD "<object type=\"Bridge\" bridge_type=\"0-1\" depth=\"0\" "
                      "bridge_pci=\"0000:[00-09]\">"
                      "<object type=\"PCIDev\" pci_busid=\"0000:00:01.0\" pci_type=\"0302 "
                      "[10de:2330] [0000:0000] 00\" pci_link_speed=\"0.000000\"/>"
                      "<object type=\"PCIDev\" pci_busid=\"0000:00:02.0\" pci_type=\"0302 "
                      "[10de:2330] [0000:0000] 00\" pci_link_speed=\"0.000000\"/>"
                      "<object type=\"PCIDev\" pci_busid=\"0000:00:03.0\" pci_type=\"0100 "
                      "[%s:1001] [0000:0000] 00\" pci_link_speed=\"0.000000\"/>"
                      "</object></object></topology>",
                 is_virtual ? "1af4" : "8086");
        struct weft_topology *t = imported(&weft_importer_hwloc_xml, text);
        assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "virtio devices: 1"), is_virtual);
        assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "GPUs at the host bridge"),
                         is_virtual);
        assert_int_equal(count_remarks(t, WEFT_REMARK_HIDDEN, "without a PCIe speed: 2"), 1);
        weft_topology_destroy(&t);
    }
}

/* ---- what must not reach hwloc ---- */

static void test_deep_nesting(void **state)
{
    (void)state;
    static const int depths[] = {99, 101, 250, 20000};
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        char *text = NULL;
        size_t bytes;
        FILE *stream = open_memstream(&text, &bytes);
        assert_non_null(stream);
        fputs("<topology version=\"2.0\">\n", stream);
        for (int j = 1; j < depths[i]; j++)
            fputs("<object type=\"Group\"" SETS ">\n", stream);
        for (int j = 1; j < depths[i]; j++)
            fputs("</object>", stream);
        fputs("</topology>", stream);
        fclose(stream);
        assert_refused(&weft_importer_hwloc_xml, text, -1,
                       i == 0   ? "NUMANode"
                       : i == 1 ? "input:101: <object>: nested deeper than 100 levels"
                       : i == 2 ? "nested deeper"
                                : "depth");
        free(text);
    }
}

static void test_hostile_files(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"<!DOCTYPE topology [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;\">]>"
         "<topology version=\"2.0\"><object type=\"&b;\"/></topology>",
         "entities are not read"},
        {"<?xml version=\"1.0\" encoding=\"UTF-7\"?><topology version=\"2.0\"/>", "UTF-8"},
        {HEAD "<object type=\"PU\" os_index=\"4000000000\"" SETS "/></object></topology>",
         "os_index"},
        {HEAD "<object type=\"PU\"" SETS "/></object></topology>", "a PU without os_index"},
        {HEAD "<object type=\"NUMANode\" os_index=\"4294967295\"" SETS "/></object></topology>",
         "os_index"},
        {HEAD "<object type=\"PU\" os_index=\"-7\"" SETS "/></object></topology>", "os_index"},
        {HEAD "<object type=\"NUMANode\" os_index=\"nan\"" SETS "/></object></topology>",
         "os_index"},
        {HEAD "<object type=\"Core\" cpuset=\"0x1\" nodeset=\"0x1\" complete_nodeset=\"0x1\"/>"
              "</object></topology>",
         "a Core without complete_cpuset"},
        {HEAD "<object type=\"PCIDev\" cpuset=\"0x1\"/></object></topology>",
         "a PCIDev with cpuset"},
        {HEAD "<object/></object></topology>", "no type"},
        {HEAD "</object><distances2 nbobjs=\"4000000000\"/></topology>", "nbobjs"},
        {HEAD "</object><distances2 nbobjs=\"-1\"/></topology>", "nbobjs"},
        {HEAD "<info name=\"a\" value=\"b\"/></object></topology>",
         "cannot come after an <object>"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(&weft_importer_hwloc_xml, cases[i][0], -1, cases[i][1]);
    static const char *const sets[] = {",0x1", "0x1,",  "0x", "0x123456789", "x",
                                       "",     "0x1,,", "1",  "0xf...f0x1"};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "<topology version=\"2.0\"><object type=\"Machine\" cpuset=\"%s\" "
                 "complete_cpuset=\"0x1\" nodeset=\"0x1\" complete_nodeset=\"0x1\"/></topology>",
                 sets[i]);
        assert_refused(&weft_importer_hwloc_xml, text, -1, "is no set");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dgx2_components), cmocka_unit_test(test_power8_nvlinks),
        cmocka_unit_test(test_hidden_nvlinks),  cmocka_unit_test(test_link_speed_floats),
        cmocka_unit_test(test_devices),         cmocka_unit_test(test_pci_locality),
        cmocka_unit_test(test_xgmi_hops),       cmocka_unit_test(test_doubled_nvlinks),
        cmocka_unit_test(test_nvswitch_sets),   cmocka_unit_test(test_memory_without_processors),
        cmocka_unit_test(test_virtual_machine), cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_hostile_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
