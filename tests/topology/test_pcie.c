/*
 * SPDX-License-Identifier: Apache-2.0
 * PCIe in numbers: every spelling of a speed, what lanes carry, and link facts of sysfs trees made
 * here: a narrow slot, a switch, an idle GPU, a virtual function, ACS, and files nobody should
 * trust.
 */
#include "tests/topology/compare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/topology/tree.h"
#include "topology/findings.h"
#include "topology/pcie.h"

static void test_spellings_of_speeds(void **state)
{
    (void)state;
    static const struct {
        const char *speed;
        int64_t rate;
    } cases[] = {
        {"2.5 GT/s", 2500},
        {"2.5 GT/s PCIe", 2500},
        {"5 GT/s", 5000},
        {"5.0 GT/s PCIe", 5000},
        {"8 GT/s", 8000},
        {"8.0 GT/s", 8000},
        {"8GT/s", 8000},
        {"8.0 GT/s PCIe", 8000},
        {"16 GT/s", 16000},
        {"16.0 GT/s PCIe", 16000},
        {"32 GT/s", 32000},
        {"32.0 GT/s PCIe", 32000},
        {"64.0 GT/s PCIe", 64000},
        {"64 gt/s", 64000},
        {"8", 8000},
        {"2.5", 2500},
        {"Gen1", 2500},
        {"Gen 3", 8000},
        {"gen4", 16000},
        {"PCIe Gen5", 32000},
        {" 8 GT/s ", 8000},
        {"", -1},
        {"Unknown", -1},
        {"Unknown speed", -1},
        {"0 GT/s", -1},
        {"0", -1},
        {"-8 GT/s", -1},
        {"nan", -1},
        {"inf GT/s", -1},
        {"15.753846", -1},
        {"0.000000", -1},
        {"99999999999999999999 GT/s", -1},
        {"Gen0", -1},
        {"Gen99", -1},
        {"Gen3.5", -1},
        {"7 GT/s", -1},
        {"160 GT/s", -1},
        {"8 MT/s", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (weft_pcie_rate(cases[i].speed) != cases[i].rate)
            fail_msg("\"%s\" is %lld", cases[i].speed, (long long)weft_pcie_rate(cases[i].speed));
    assert_int_equal(weft_pcie_rate(NULL), -1);
}

static void test_lanes_and_payload(void **state)
{
    (void)state;
    assert_int_equal(weft_pcie_lanes("16"), 16);
    assert_int_equal(weft_pcie_lanes("x16"), 16);
    assert_int_equal(weft_pcie_lanes("0"), -1);
    assert_int_equal(weft_pcie_lanes("255"), -1); // sysfs: unknown
    assert_int_equal(weft_pcie_lanes("63"), -1);
    assert_int_equal(weft_pcie_lanes("-1"), -1);
    assert_int_equal(weft_pcie_lanes(""), -1);
    assert_int_equal(weft_pcie_lanes(NULL), -1);
    // as hwloc prints them: 0.250000, 3.938462, 15.753846
    assert_true(weft_pcie_bandwidth("2.5 GT/s", 1) == 250000000);
    assert_true(weft_pcie_bandwidth("5 GT/s", 8) == 4000000000);
    assert_true(weft_pcie_bandwidth("8 GT/s", 4) == 3938462000);
    assert_true(weft_pcie_bandwidth("8.0 GT/s PCIe", 16) == 15753846000);
    assert_true(weft_pcie_bandwidth("Gen4", 16) == 31507692000);
    assert_true(weft_pcie_bandwidth("32 GT/s", 16) == 63015385000);
    assert_true(weft_pcie_bandwidth("64 GT/s", 16) == 121000000000);
    assert_true(weft_pcie_bandwidth("8 GT/s", 0) == -1);
    assert_true(weft_pcie_bandwidth("8 GT/s", INT64_MAX) == -1);
    assert_true(weft_pcie_bandwidth("", 16) == -1);
}

/* ---- trees ---- */

struct machine {
    char root[64];
    struct weft_topology *t;
    int host, pcie_root;
};

static void begin(struct machine *m)
{
    tree_make(m->root, sizeof m->root);
    assert_int_equal(weft_topology_create(&m->t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_add_node(m->t, WEFT_NODE_HOST, "h", -1, &m->host, NULL),
                     WEFT_OK);
    assert_int_equal(
        weft_topology_add_node(m->t, WEFT_NODE_PCIE_ROOT, "h/r", m->host, &m->pcie_root, NULL),
        WEFT_OK);
}

static void end(struct machine *m)
{
    weft_topology_destroy(&m->t);
    tree_remove(m->root);
}

/* A device of the tree at path (below devices/) with its four link files; NULL: no such file. */
static void put_device(struct machine *m, const char *path, const char *rate_max,
                       const char *lanes_max, const char *rate, const char *lanes)
{
    const char *address = strrchr(path, '/') + 1;
    const char *const files[][2] = {{"max_link_speed", rate_max},
                                    {"max_link_width", lanes_max},
                                    {"current_link_speed", rate},
                                    {"current_link_width", lanes}};
    for (int i = 0; i < 4; i++)
        if (files[i][1])
            tree_put(m->root, files[i][1], "devices/%s/%s", path, files[i][0]);
    tree_put(m->root, "0", "devices/%s/numa_node", path);
    tree_link(m->root, address, "bus/pci/devices", "../../../devices/%s", path);
}

static int add_device(struct machine *m, int kind, const char *name, const char *address,
                      int parent, int *link)
{
    int node;
    assert_int_equal(weft_topology_add_node(m->t, kind, name, parent, &node, NULL), WEFT_OK);
    assert_int_equal(
        weft_topology_set_text(m->t, node, "pci_address", address, WEFT_SOURCE_HWLOC, NULL),
        WEFT_OK);
    const struct weft_link made = weft_link_make(WEFT_LINK_PCIE, parent, node);
    assert_int_equal(weft_topology_add_link(m->t, &made, link, NULL), WEFT_OK);
    return node;
}

static void read_tree(struct machine *m)
{
    struct weft_error error = {0};
    if (weft_pcie_read_sysfs(m->t, m->root, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_int_equal(weft_topology_check(m->t, NULL), WEFT_OK);
}

static void assert_figure(const struct machine *m, int link, int64_t nominal, int64_t current)
{
    const struct weft_figure *bandwidth = &m->t->links[link].bandwidth;
    if (bandwidth->nominal.value != nominal || bandwidth->current.value != current)
        fail_msg("nominal %lld, current %lld", (long long)bandwidth->nominal.value,
                 (long long)bandwidth->current.value);
    if (nominal >= 0)
        assert_int_equal(bandwidth->nominal.source, WEFT_SOURCE_SYSFS);
}

/* Rate and lanes are weakened separately: a Gen4 x8 device in a Gen3 x16 slot is Gen3 x8. */
static void test_weaker_end(void **state)
{
    (void)state;
    struct machine m;
    int link;
    begin(&m);
    put_device(&m, "pci0000:00/0000:00:01.0", "8.0 GT/s PCIe", "16", "8.0 GT/s PCIe", "8");
    put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.0", "16.0 GT/s PCIe", "8", "8.0 GT/s PCIe",
               "8");
    int node = add_device(&m, WEFT_NODE_NIC, "h/n", "0000:01:00.0", m.pcie_root, &link);
    read_tree(&m);
    assert_figure(&m, link, 7876923000, 7876923000);
    assert_int_equal(weft_topology_number(m.t, node, "pcie_lanes_max", 0), 8);
    end(&m);
}

/* Device, downstream port | upstream port (a node), root port: each link on its own side. */
static void test_switch(void **state)
{
    (void)state;
    struct machine m;
    int up, down;
    begin(&m);
    put_device(&m, "pci0000:00/0000:00:01.0", "8 GT/s", "16", "8 GT/s", "4"); // a bad slot
    put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.0", "16 GT/s", "16", "8 GT/s", "4");
    put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0", "16 GT/s", "16", "16 GT/s",
               "16");
    put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0", "16 GT/s",
               "16", "16 GT/s", "16");
    int node = add_device(&m, WEFT_NODE_PCIE_SWITCH, "h/s", "0000:01:00.0", m.pcie_root, &up);
    add_device(&m, WEFT_NODE_GPU, "h/gpu0", "0000:03:00.0", node, &down);
    read_tree(&m);
    assert_figure(&m, up, 15753846000, 3938462000);
    assert_figure(&m, down, 31507692000, 31507692000);
    end(&m);
}

/* The two sides of a switch are no link: Gen4 x4 below and Gen3 x16 above are not Gen3 x4. */
static void test_inside_of_a_switch(void **state)
{
    (void)state;
    struct machine m;
    int link;
    begin(&m);
    put_device(&m, "pci0000:00/0000:00:01.0", "8 GT/s", "16", "8 GT/s", "16");
    put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.0", "8 GT/s", "16", "8 GT/s", "16");
    put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0", "16 GT/s", "4", "16 GT/s",
               "4");
    put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0", "16 GT/s", "4",
               "16 GT/s", "4");
    add_device(&m, WEFT_NODE_NIC, "h/n", "0000:03:00.0", m.pcie_root, &link);
    read_tree(&m);
    assert_figure(&m, link, 7876923000, 7876923000);
    end(&m);
}

/* A chain without a node in the middle counts as its narrowest link. */
static void test_narrowest_bridge_counts(void **state)
{
    (void)state;
    struct machine m;
    int link;
    begin(&m);
    put_device(&m, "pci0000:00/0000:00:01.0", "8 GT/s", "4", "5 GT/s", "4");
    put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.0", "16 GT/s", "16", "5 GT/s", "4");
    put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0", "16 GT/s", "16", "16 GT/s",
               "16");
    put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0", "16 GT/s",
               "16", "16 GT/s", "16");
    add_device(&m, WEFT_NODE_NIC, "h/n", "0000:03:00.0", m.pcie_root, &link);
    read_tree(&m);
    assert_figure(&m, link, 3938462000, 2000000000);
    end(&m);
}

/* hwloc's figure is the same up to its rounding, or a contradiction that is said. */
static void test_against_hwloc(void **state)
{
    (void)state;
    for (int differs = 0; differs < 2; differs++) {
        struct machine m;
        int link;
        begin(&m);
        put_device(&m, "pci0000:00/0000:00:01.0", "8 GT/s", "16", "8 GT/s", "16");
        add_device(&m, WEFT_NODE_NIC, "h/n", "0000:00:01.0", m.pcie_root, &link);
        m.t->links[link].bandwidth.current =
            (struct weft_quantity){differs ? 7876923000 : 15753847000, WEFT_SOURCE_HWLOC};
        read_tree(&m);
        assert_figure(&m, link, 15753846000, 15753846000);
        assert_int_equal(count_remarks(m.t, WEFT_REMARK_CONTRADICTION, ""), differs);
        end(&m);
    }
}

static const struct weft_finding *find_kind(const struct weft_findings *findings, const char *kind)
{
    for (int i = 0; i < findings->count; i++)
        if (strcmp(findings->items[i].kind, kind) == 0)
            return &findings->items[i];
    return NULL;
}

/* A GPU that saves power is a note and costs nothing; one with half its lanes is a warning. */
static void test_idle_gpu(void **state)
{
    (void)state;
    for (int narrow = 0; narrow < 2; narrow++) {
        struct machine m;
        struct weft_findings findings;
        int link;
        begin(&m);
        put_device(&m, "pci0000:00/0000:00:01.0", "16 GT/s", "16", "8 GT/s", narrow ? "8" : "16");
        put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.0", "16 GT/s", "16", "8 GT/s",
                   narrow ? "8" : "16");
        add_device(&m, WEFT_NODE_GPU, "h/gpu0", "0000:01:00.0", m.pcie_root, &link);
        read_tree(&m);
        assert_figure(&m, link, 31507692000, narrow ? 7876923000 : 15753846000);
        assert_int_equal(weft_topology_findings(m.t, &findings, NULL), WEFT_OK);
        const struct weft_finding *idle = find_kind(&findings, "idle-links");
        const struct weft_finding *slow = find_kind(&findings, "below-nominal");
        assert_true(narrow ? slow != NULL : slow == NULL);
        if (!narrow) {
            assert_non_null(idle);
            assert_int_equal(idle->severity, WEFT_SEVERITY_NOTE);
            assert_true(idle->lost_bandwidth == 0);
        }
        weft_findings_free(&findings);
        end(&m);
    }
}

/* A virtual function shares its physical one's link; ACS of a bridge sends traffic to the root. */
static void test_isolation(void **state)
{
    (void)state;
    for (int redirects = 0; redirects < 2; redirects++) {
        struct machine m;
        unsigned char config[4096] = {0};
        int link;
        begin(&m);
        // extended capabilities: something at 0x100, ACS at 0x140
        memcpy(config + 0x100, (unsigned char[]){0x01, 0x00, 0x01, 0x14}, 4);
        memcpy(config + 0x140, (unsigned char[]){0x0d, 0x00, 0x01, 0x00, 0x1f, 0x00}, 6);
        config[0x146] = redirects ? 0x1d : 0x00;
        put_device(&m, "pci0000:00/0000:00:01.0", "8 GT/s", "16", "8 GT/s", "16");
        tree_put_bytes(m.root, config, sizeof config, "devices/pci0000:00/0000:00:01.0/config");
        put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.0", "8 GT/s", "8", "8 GT/s", "8");
        put_device(&m, "pci0000:00/0000:00:01.0/0000:01:00.2", "Unknown", "0", "Unknown", "0");
        tree_link(m.root, "physfn", "devices/pci0000:00/0000:00:01.0/0000:01:00.2",
                  "../0000:01:00.0");
        tree_link(m.root, "iommu_group", "devices/pci0000:00/0000:00:01.0/0000:01:00.2",
                  "../../../../kernel/iommu_groups/17");
        tree_put(m.root, "DMA-FQ\n", "kernel/iommu_groups/17/type");
        tree_put(m.root, "", "class/iommu/dmar0/empty");
        int node = add_device(&m, WEFT_NODE_NIC, "h/n", "0000:01:00.2", m.pcie_root, &link);
        read_tree(&m);
        assert_figure(&m, link, 7876923000, 7876923000);
        assert_string_equal(weft_topology_text(m.t, node, "virtual_function_of"), "0000:01:00.0");
        assert_int_equal(weft_topology_number(m.t, node, "iommu_group", -1), 17);
        assert_string_equal(weft_topology_text(m.t, node, "iommu"), "DMA-FQ");
        assert_string_equal(weft_topology_text(m.t, m.host, "iommu"), "on");
        assert_string_equal(weft_topology_text(m.t, node, "acs"), redirects ? "redirects" : "off");
        end(&m);
    }
}

/* What a virtual machine hides is said once, not guessed. */
static void test_hidden(void **state)
{
    (void)state;
    struct machine m;
    int a, b;
    begin(&m);
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_topology_add_node(m.t, WEFT_NODE_NUMA, i ? "h/numa1" : "h/numa0",
                                                m.host, NULL, NULL),
                         WEFT_OK);
    put_device(&m, "pci0000:00/0000:00:01.0", NULL, NULL, NULL, NULL);
    put_device(&m, "pci0000:00/0000:00:02.0", "Unknown", "255", "", "0");
    tree_put(m.root, "-1", "devices/pci0000:00/0000:00:01.0/numa_node");
    add_device(&m, WEFT_NODE_NIC, "h/a", "0000:00:01.0", m.pcie_root, &a);
    add_device(&m, WEFT_NODE_NIC, "h/b", "0000:00:02.0", m.pcie_root, &b);
    read_tree(&m);
    assert_figure(&m, a, -1, -1);
    assert_figure(&m, b, -1, -1);
    assert_int_equal(count_remarks(m.t, WEFT_REMARK_HIDDEN, ""), 2);
    assert_non_null(strstr(m.t->remarks[0].text, "1 PCI devices have NUMA node -1"));
    assert_non_null(strstr(m.t->remarks[1].text, "2 PCI devices here show no link speed"));
    end(&m);
}

/* A copied tree is not to be trusted: a pipe must not make anybody wait, a link not lead outside.
 */
static void test_hostile_tree(void **state)
{
    (void)state;
    struct machine m;
    char path[256];
    int a, b, c;
    begin(&m);
    put_device(&m, "pci0000:00/0000:00:01.0", NULL, "16", "8 GT/s", "16");
    snprintf(path, sizeof path, "%s/devices/pci0000:00/0000:00:01.0/max_link_speed", m.root);
    assert_int_equal(mkfifo(path, 0600), 0);
    put_device(&m, "pci0000:00/0000:00:02.0", "8 GT/s\nmore", "16", "8 GT/s", "16");
    tree_put(m.root, "1", "bus/pci/devices/0000:00:03.0/numa_node"); // a folder, no link
    char outside[64];
    tree_make(outside, sizeof outside);
    tree_put(outside, "8 GT/s", "speed");
    tree_link(m.root, "max_link_speed", "bus/pci/devices/0000:00:03.0", "%s/speed", outside);
    tree_put(m.root, "16", "bus/pci/devices/0000:00:03.0/max_link_width");
    add_device(&m, WEFT_NODE_NIC, "h/a", "0000:00:01.0", m.pcie_root, &a);
    add_device(&m, WEFT_NODE_NIC, "h/b", "0000:00:02.0", m.pcie_root, &b);
    add_device(&m, WEFT_NODE_NIC, "h/c", "0000:00:03.0", m.pcie_root, &c);
    add_device(&m, WEFT_NODE_NIC, "h/d", "../../../../etc/passwd", m.pcie_root, NULL);
    read_tree(&m);
    assert_figure(&m, a, -1, 15753846000);
    assert_figure(&m, b, 15753846000, 15753846000);
    // what lies outside counts only where the kernel cannot keep a path below its root (before 5.6)
    bool has_openat2 = syscall(SYS_openat2, -1, "", NULL, 0) == 0 || errno != ENOSYS;
    assert_figure(&m, c, has_openat2 ? -1 : 15753846000, -1);
    struct weft_error error;
    assert_int_equal(weft_pcie_read_sysfs(m.t, "/nonexistent", &error), WEFT_NOT_FOUND);
    tree_remove(outside);
    end(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings_of_speeds), cmocka_unit_test(test_lanes_and_payload),
        cmocka_unit_test(test_weaker_end),          cmocka_unit_test(test_switch),
        cmocka_unit_test(test_inside_of_a_switch),  cmocka_unit_test(test_narrowest_bridge_counts),
        cmocka_unit_test(test_against_hwloc),       cmocka_unit_test(test_idle_gpu),
        cmocka_unit_test(test_isolation),           cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_hostile_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
