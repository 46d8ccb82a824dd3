/*
 * SPDX-License-Identifier: Apache-2.0
 * Copied machines: the three real trees, unpacked, against what their notes say; folders that are
 * no machine; and that nothing of it touches this process.
 */
#include "tests/topology/compare.h"

#include <glob.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/topology/tree.h"
#include "topology/load.h"

static char trees[64]; // where the archives are unpacked; "": they are not there

static int unpack(void **state)
{
    (void)state;
    glob_t found;
    if (glob(WEFT_SHARED_DATA "/topodata/hwloc-sysfs/*.tar.bz2", 0, NULL, &found) != 0)
        return 0;
    tree_make(trees, sizeof trees);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char command[1024];
        snprintf(command, sizeof command, "tar -xjf '%s' -C %s", found.gl_pathv[i], trees);
        if (system(command) != 0) {
            print_message("tar cannot unpack %s\n", found.gl_pathv[i]);
            return -1;
        }
    }
    globfree(&found);
    return 0;
}

static int remove_trees(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "chmod -R u+w %s", trees);
    if (trees[0] && system(command) == 0)
        tree_remove(trees);
    return 0;
}

/* The graph of an unpacked tree; skips where there is none. */
static struct weft_topology *load_tree(const char *name)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    char path[256];
    if (!trees[0]) {
        print_message("no copied machines in %s: skipped\n", WEFT_SHARED_DATA);
        skip();
    }
    snprintf(path, sizeof path, "%s/%s", trees, name);
    if (weft_topology_load(path, &t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return t;
}

static const struct weft_link *up_link(const struct weft_topology *t, int node)
{
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].to == node && t->links[i].from == t->nodes[node].parent)
            return &t->links[i];
    return NULL;
}

/* "8 NEC VectorEngine accelerators": they compute, so they are GPUs; four below each PCIe switch,
 * each on a Gen3 x16 link by sysfs. */
static void test_vector_engines(void **state)
{
    (void)state;
    struct weft_topology *t = load_tree("32intel64-2p8co2t+8ve");
    assert_int_equal(weft_topology_count(t, WEFT_NODE_GPU), 8);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_PCIE_SWITCH), 2);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_CORE), 16);
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_GPU)
            continue;
        const struct weft_link *link = up_link(t, i);
        assert_string_equal(weft_topology_text(t, i, "model"), "NEC Vector Engine 1");
        assert_int_equal(strncmp(weft_topology_text(t, i, "accelerator"), "ve", 2), 0);
        assert_int_equal(t->nodes[t->nodes[i].parent].kind, WEFT_NODE_PCIE_SWITCH);
        assert_non_null(link);
        assert_true(link->bandwidth.nominal.value == 15753846000);
        assert_true(link->bandwidth.current.value == 15753846000);
        assert_int_equal(link->bandwidth.nominal.source, WEFT_SOURCE_SYSFS);
        assert_int_equal(weft_topology_number(t, i, "pcie_lanes", 0), 16);
    }
    // 1 Gbit/s where the cable is plugged; sysfs says it
    int nic = weft_topology_find_node(t, "ve/enp96s0f0");
    assert_true(nic >= 0 && weft_topology_number(t, nic, "rate_mbps", 0) == 1000);
    assert_true(weft_topology_number(t, nic, "mtu", 0) == 1500);
    // its slot can do a quarter of what the chip could; the bridge has no entry among the devices
    assert_true(up_link(t, nic)->bandwidth.nominal.value == 250000000);
    weft_topology_destroy(&t);
}

/* "Forced PCI locality": without the variable the roots are near all four packages, with it each is
 * near two. The variable is the caller's, and reaches hwloc in its child. */
static void test_forced_pci_locality(void **state)
{
    (void)state;
    for (int forced = 0; forced < 2; forced++) {
        if (forced)
            setenv("HWLOC_PCI_LOCALITY",
                   "0000:00-09 0x00000055,0x55555555;0000:40-46 0x000000aa,0xaaaaaaaa", 1);
        struct weft_topology *t = load_tree("40intel64-2g2n4c+pci");
        int joints = 0;
        for (int i = 0; i < t->num_links; i++)
            joints += t->links[i].kind == WEFT_LINK_ROOT;
        assert_int_equal(weft_topology_count(t, WEFT_NODE_PCIE_ROOT), 2);
        assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 5);
        assert_int_equal(joints, forced ? 4 : 8);
        int hidden = 0;
        for (int i = 0; i < t->num_remarks; i++)
            hidden += strstr(t->remarks[i].text, "PCIe roots near no NUMA domain") != NULL;
        assert_int_equal(hidden, !forced);
        weft_topology_destroy(&t);
    }
    unsetenv("HWLOC_PCI_LOCALITY");
}

/* "P9 with V100 NUMA nodes": the GPUs' memory is there by name, and is no place to run. */
static void test_gpu_memory_domains(void **state)
{
    (void)state;
    struct weft_topology *t = load_tree("nvidiagpunumanodes");
    int memories = 0;
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NUMA), 2);
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_DEVICE) {
            memories++;
            assert_string_equal(weft_topology_text(t, i, "model"), "GPUMemory");
            assert_true(weft_topology_number(t, i, "memory_bytes", 0) == INT64_C(16106127360));
            assert_true(weft_topology_number(t, i, "os_index", 0) >= 250);
            assert_non_null(weft_topology_text(t, i, "owner_pci_address"));
        }
    assert_int_equal(memories, 6);
    weft_topology_destroy(&t);
}

static void *load_in_thread(void *name)
{
    struct weft_topology *t = NULL;
    char path[256];
    snprintf(path, sizeof path, "%s/%s", trees, (const char *)name);
    uintptr_t cores = 0;
    for (int i = 0; i < 5; i++) {
        if (weft_topology_load(path, &t, NULL) != WEFT_OK)
            return NULL;
        uintptr_t now = (uintptr_t)weft_topology_count(t, WEFT_NODE_CORE);
        cores = i == 0 || now == cores ? now : 0;
        weft_topology_destroy(&t);
    }
    return (void *)cores;
}

/* Two threads with two trees never see each other's, and this process's variables stay. */
static void test_threads_and_environment(void **state)
{
    (void)state;
    struct weft_topology *t = load_tree("nvidiagpunumanodes"), *live = NULL;
    weft_topology_destroy(&t);
    setenv("HWLOC_FSROOT", "/nonexistent", 1);
    setenv("HWLOC_XMLFILE", "/nonexistent.xml", 1);
    char first[] = "32intel64-2p8co2t+8ve", second[] = "40intel64-2g2n4c+pci";
    pthread_t a, b;
    void *cores_a, *cores_b;
    assert_int_equal(pthread_create(&a, NULL, load_in_thread, first), 0);
#ifdef __SANITIZE_ADDRESS__ // a fork beside a thread that allocates leaves its allocator locked
    pthread_join(a, &cores_a);
    assert_int_equal(pthread_create(&b, NULL, load_in_thread, second), 0);
#else
    assert_int_equal(pthread_create(&b, NULL, load_in_thread, second), 0);
    pthread_join(a, &cores_a);
#endif
    pthread_join(b, &cores_b);
    assert_int_equal((uintptr_t)cores_a, 16);
    assert_int_equal((uintptr_t)cores_b, 40);
    assert_string_equal(getenv("HWLOC_FSROOT"), "/nonexistent");
    assert_string_equal(getenv("HWLOC_XMLFILE"), "/nonexistent.xml");
    unsetenv("HWLOC_FSROOT");
    unsetenv("HWLOC_XMLFILE");
    assert_int_equal(weft_topology_load(NULL, &live, NULL), WEFT_OK);
    assert_true(weft_topology_count(live, WEFT_NODE_CORE) <= sysconf(_SC_NPROCESSORS_CONF));
    weft_topology_destroy(&live);
}

static void test_folders_that_are_no_machine(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    struct weft_error error;
    char root[64];
    tree_make(root, sizeof root);
    assert_int_equal(weft_topology_load(root, &t, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, root));
    assert_non_null(strstr(error.text, "sys/"));
    assert_int_equal(weft_topology_load_as("/etc/passwd", "fsroot", &t, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_topology_load_as("/nonexistent", "fsroot", &t, &error), WEFT_NOT_FOUND);
    assert_int_equal(weft_topology_load_as(root, "hwloc-xml", &t, &error), WEFT_INVALID_ARGUMENT);
    tree_put(root, "x", "sys/devices/system/cpu/online");
    tree_put(root, "x", "proc/cpuinfo");
    // hwloc makes a machine of one processor of it; whatever it is, it must hold
    if (weft_topology_load(root, &t, &error) == WEFT_OK)
        assert_int_equal(weft_topology_check(t, NULL), WEFT_OK);
    weft_topology_destroy(&t);
    tree_remove(root);
}

/* An archive is refused with what to do. */
static void test_archive(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    struct weft_error error;
    const char *path = WEFT_SHARED_DATA "/topodata/hwloc-sysfs/nvidiagpunumanodes.tar.bz2";
    if (access(path, R_OK) != 0) {
        print_message("no copied machines in %s: skipped\n", WEFT_SHARED_DATA);
        skip();
    }
    assert_int_equal(weft_topology_load(path, &t, &error), WEFT_INVALID_FORMAT);
    assert_non_null(strstr(error.text, "a bzip2 archive; unpack it and give the folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector_engines),
        cmocka_unit_test(test_forced_pci_locality),
        cmocka_unit_test(test_gpu_memory_domains),
        cmocka_unit_test(test_threads_and_environment),
        cmocka_unit_test(test_folders_that_are_no_machine),
        cmocka_unit_test(test_archive),
    };
    return cmocka_run_group_tests(tests, unpack, remove_trees);
}
