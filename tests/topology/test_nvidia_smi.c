/*
 * SPDX-License-Identifier: Apache-2.0
 * What `nvidia-smi topo -m` prints, from files of our own (fixtures/) in its format: an NVSwitch
 * box with terminal codes, an old driver's text, a mesh that could be a switch, a workstation; and
 * texts that are cut off or broken.
 */
#include "tests/topology/load.h"

#include "topology/route.h"

static struct weft_topology *loaded(const char *file)
{
    char path[512];
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    snprintf(path, sizeof path, "%s/%s", WEFT_FIXTURES, file);
    if (weft_topology_load(path, &t, &error) != WEFT_OK) // recognised by its content
        fail_msg("%s", error.text);
    int node_of_rank[4], num_islands;
    struct weft_route routes[16];
    assert_int_equal(weft_topology_islands(t, NULL, &num_islands, NULL), WEFT_OK);
    assert_int_equal(num_islands, 1);
    assert_int_equal(weft_topology_place(t, 4, node_of_rank, NULL), WEFT_OK);
    assert_int_equal(weft_topology_routes(t, 4, node_of_rank, routes, NULL), WEFT_OK);
    return t;
}

static const char *parent_of(const struct weft_topology *t, const char *name)
{
    int node = weft_topology_find_node(t, name);
    if (node < 0)
        fail_msg("no node %s", name);
    return t->nodes[t->nodes[node].parent].name;
}

/* NVLinks between two nodes; 0: none. */
static int nvlinks(const struct weft_topology *t, const char *a, const char *b)
{
    int x = weft_topology_find_node(t, a), y = weft_topology_find_node(t, b), count = 0;
    assert_true(x >= 0 && y >= 0);
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NVLINK &&
            ((t->links[i].from == x && t->links[i].to == y) ||
             (t->links[i].from == y && t->links[i].to == x)))
            count += t->links[i].count;
    return count;
}

static int num_remarks(const struct weft_topology *t, int kind, const char *part)
{
    int count = 0;
    for (int i = 0; i < t->num_remarks; i++)
        count += (int)t->remarks[i].kind == kind && strstr(t->remarks[i].text, part);
    return count;
}

static void test_nvswitch_box(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("nvidia-smi-nvswitch.txt");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 5);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NUMA), 2);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 1);
    assert_int_equal(nvlinks(t, "host/gpu3", "host/nvswitch0"), 18);
    assert_int_equal(num_remarks(t, WEFT_REMARK_GUESS, "NVSwitches are between"), 1);
    assert_int_equal(num_remarks(t, WEFT_REMARK_GUESS, "PCIe switches and roots are inferred"), 1);
    // PIX: behind one switch; PXB: behind another one above it
    assert_string_equal(parent_of(t, "host/gpu0"), parent_of(t, "host/mlx5_0"));
    assert_string_equal(parent_of(t, parent_of(t, "host/gpu0")), parent_of(t, "host/gpu1"));
    assert_string_not_equal(parent_of(t, "host/gpu2"), parent_of(t, "host/gpu0"));
    // NODE: a root of its own in the domain, which only the NIC's neighbours state
    assert_string_equal(parent_of(t, parent_of(t, "host/mlx5_bond_0")), "host/numa0");
    assert_string_equal(parent_of(t, parent_of(t, parent_of(t, "host/gpu5"))), "host/numa1");
    int numa1 = weft_topology_find_node(t, "host/numa1");
    assert_true(weft_topology_number(t, numa1, "os_index", -1) == 1);
    assert_true(weft_topology_number(t, numa1, "threads", 0) == 112);
    assert_true(weft_topology_number(t, numa1, "first_thread", -1) == 56);
    int nic = weft_topology_find_node(t, "host/mlx5_4");
    assert_string_equal(weft_topology_text(t, nic, "rdma_device"), "mlx5_4");
    assert_int_equal(num_remarks(t, WEFT_REMARK_UNREAD, ""), 0);
    weft_topology_destroy(&t);
}

static void test_old_driver_and_cube_of_nvlinks(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("nvidia-smi-cube.txt");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 2);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 0);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NUMA), 2); // by their processors
    assert_int_equal(nvlinks(t, "host/gpu0", "host/gpu3"), 2);
    assert_int_equal(nvlinks(t, "host/gpu0", "host/gpu1"), 1);
    assert_int_equal(nvlinks(t, "host/gpu0", "host/gpu5"), 0);
    assert_string_equal(parent_of(t, "host/mlx5_1"), parent_of(t, "host/gpu7"));
    assert_string_equal(parent_of(t, parent_of(t, "host/gpu2")), "host/numa0");
    assert_int_equal(num_remarks(t, WEFT_REMARK_GUESS, "state no NUMA domain"), 1);
    assert_int_equal(num_remarks(t, WEFT_REMARK_GUESS, "to each other GPU"),
                     0); // uneven: no switch
    weft_topology_destroy(&t);
}

static void test_even_mesh_could_be_a_switch(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("nvidia-smi-mesh.txt");
    assert_int_equal(nvlinks(t, "host/gpu1", "host/gpu3"), 4);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), 0);
    assert_int_equal(num_remarks(t, WEFT_REMARK_GUESS, "the same with an NVSwitch between"), 1);
    weft_topology_destroy(&t);
}

static void test_workstation_without_nvlink(void **state)
{
    (void)state;
    struct weft_topology *t = loaded("nvidia-smi-workstation.txt");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_PCIE_ROOT), 1); // PHB: one host bridge
    assert_string_equal(parent_of(t, "host/gpu0"), parent_of(t, "host/gpu1"));
    weft_topology_destroy(&t);
}

#define HEAD2 "\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n"
#define HEAD3 "\tGPU0\tGPU1\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n"

static void test_rows_that_disagree_are_a_contradiction(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_nvidia_smi,
                 HEAD2 "GPU0\t X \tPIX\t0-7\t0\tN/A\nGPU1\tSYS\t X \t8-15\t1\tN/A\n");
    assert_int_equal(num_remarks(t, WEFT_REMARK_CONTRADICTION, "GPU0 and GPU1"), 1);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_PCIE_SWITCH), 0); // the farther: SYS
    weft_topology_destroy(&t);
    t = imported(&weft_importer_nvidia_smi,
                 HEAD2 "GPU0\t X \tPIX\t0-7\t0\tN/A\nGPU1\tPIX\t X \t8-15\t1\tN/A\n");
    assert_int_equal(num_remarks(t, WEFT_REMARK_CONTRADICTION, "different NUMA domains"), 1);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NUMA), 1);
    weft_topology_destroy(&t);
    t = imported(&weft_importer_nvidia_smi,
                 HEAD2 "GPU0\t X \tNV4\t0-7\t0\tN/A\nGPU1\tNV2\t X \t0-7\t0\tN/A\n");
    assert_int_equal(nvlinks(t, "host/gpu0", "host/gpu1"), 2);
    weft_topology_destroy(&t);
}

static void test_what_is_not_stated_is_hidden(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_nvidia_smi,
                 HEAD3 "GPU0\t X \tN/A\tSYS\tN/A\tN/A\tN/A\nGPU1\tN/A\t X \tSYS\tN/A\tN/A\t5\n"
                       "NIC0\tSYS\tSYS\t X \n");
    assert_int_equal(num_remarks(t, WEFT_REMARK_HIDDEN, "how near 1 pair"), 1);
    assert_int_equal(num_remarks(t, WEFT_REMARK_HIDDEN, "in which NUMA domain NIC0 is"), 1);
    assert_int_equal(num_remarks(t, WEFT_REMARK_GUESS, "state no NUMA domain"), 1);
    int gpu1 = weft_topology_find_node(t, "host/gpu1");
    assert_true(weft_topology_number(t, gpu1, "memory_numa", -1) == 5);
    assert_null(weft_topology_text(t, weft_topology_find_node(t, "host/NIC0"), "rdma_device"));
    weft_topology_destroy(&t);
}

static void test_other_output_around_the_matrix(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_nvidia_smi,
                 "Wed 10:00\n\n" HEAD2 "GPU0\t X \tSYS\t0-7\t0\tN/A\nGPU1\tSYS\t X \t8-15\t1\tN/A\n"
                 "\nLegend:\n\n  X    = Self\n\nuser@node:~$ uptime\n up 3 days\n");
    assert_int_equal(num_remarks(t, WEFT_REMARK_UNREAD, "2 lines behind the matrix, from line 11"),
                     1);
    assert_int_equal(num_remarks(t, WEFT_REMARK_UNREAD, "1 line before the matrix is left out"), 1);
    weft_topology_destroy(&t);
}

static const struct {
    const char *text;
    int line;
    const char *why;
} bad_texts[] = {
    {"", 0, "there is no head"},
    {"GPU0 GPU1\n", 1, "there is no head"},
    {HEAD2, 1, "the matrix ends before the row of GPU0"},
    {HEAD2 "GPU0\t X \tSYS\t0-7\t0\tN/A\n", 2, "the matrix ends before the row of GPU1"},
    {HEAD2 "GPU0\t X \n", 2, "the row of GPU0 ends after 1 of 2 cells"},
    {HEAD2 "GPU1\t X \tSYS\n", 2, "expected the row of GPU0, not \"GPU1\""},
    {HEAD2 "GPU0\t X \tSY\n", 2, "\"SY\" is none of X"},
    {HEAD2 "GPU0\t X \tNV\n", 2, "\"NV\" is none of X"},
    {HEAD2 "GPU0\t X \tNV-4\n", 2, "\"NV-4\" is none of X"},
    {HEAD2 "GPU0\t X \tNV99999999999\n", 2, "\"NV99999999999\" is none"},
    {HEAD2 "GPU0\t X \tNVnan\n", 2, "\"NVnan\" is none of X"},
    {HEAD2 "GPU0\t X \t0-7\t0\tN/A\n", 2, "\"0-7\" is none of X"}, // a cell is missing
    {HEAD2 "GPU0\tSYS\t X \n", 2, "the row of GPU0 has no X at its own column"},
    {HEAD2 "GPU0\t X \t X \n", 2, "the row of GPU0 has an X at a column of another device"},
    {"GPU0 GPU0 CPU Affinity\n", 1, "two columns are named \"GPU0\""},
    {"GPU0 a b CPU Affinity\nGPU0 X SYS SYS\na SYS X SYS\nb SYS SYS X\nNIC Legend:\n  a: m\n"
     "  b: m\n",
     1, "topology: two nodes are named \"host/m\""},
};

static void test_bad_texts_are_refused_with_line_and_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_texts / sizeof bad_texts[0]; i++)
        assert_refused(&weft_importer_nvidia_smi, bad_texts[i].text, bad_texts[i].line,
                       bad_texts[i].why);
}

/* Cut off after any byte: refused, or (once the matrix is complete) a graph; never half a one. */
static void test_cut_off_anywhere(void **state)
{
    (void)state;
    char path[512], *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/nvidia-smi-nvswitch.txt", WEFT_FIXTURES);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    ssize_t bytes = getdelim(&text, &size, 0, file);
    fclose(file);
    assert_true(bytes > 0);
    for (ssize_t i = bytes - 1; i >= 0; i--) {
        struct weft_topology *t = NULL;
        struct weft_error error = {0};
        text[i] = '\0';
        weft_status status =
            weft_topology_import(&weft_importer_nvidia_smi, text, (size_t)i, "own", &t, &error);
        if (status == WEFT_OK) {
            assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
            assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 5);
        }
        weft_topology_destroy(&t);
    }
    free(text);
}

static void test_too_many_devices(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    for (int i = 0; i < 257; i++)
        fprintf(stream, "GPU%d ", i);
    fputs("CPU Affinity\n", stream);
    fclose(stream);
    assert_refused(&weft_importer_nvidia_smi, text, 1, "more than 256 devices");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nvswitch_box),
        cmocka_unit_test(test_old_driver_and_cube_of_nvlinks),
        cmocka_unit_test(test_even_mesh_could_be_a_switch),
        cmocka_unit_test(test_workstation_without_nvlink),
        cmocka_unit_test(test_rows_that_disagree_are_a_contradiction),
        cmocka_unit_test(test_what_is_not_stated_is_hidden),
        cmocka_unit_test(test_other_output_around_the_matrix),
        cmocka_unit_test(test_bad_texts_are_refused_with_line_and_reason),
        cmocka_unit_test(test_cut_off_anywhere),
        cmocka_unit_test(test_too_many_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
