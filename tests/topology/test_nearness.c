/*
 * SPDX-License-Identifier: Apache-2.0
 * Which NICs are near: from GPUs and from memory, on files of real machines and a made-up one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "topology/load.h"
#include "topology/nearness.h"

static struct weft_topology *load(const char *source)
{
    struct weft_topology *t = NULL;
    struct weft_error error;
    if (weft_topology_load(source, &t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return t;
}

/* The nearest of the NICs whose names hold `part`, without their host, and how far they are. */
static void must_be_near(const struct weft_topology *t, int from, const char *part, int distance,
                         const char *expected)
{
    int nics[64] = {0}, distances[64], count = 0, least = WEFT_FARTHEST;
    char found[512] = "";
    for (int i = 0; i < t->num_nodes && count < 64; i++)
        if (t->nodes[i].kind == WEFT_NODE_NIC && strstr(t->nodes[i].name, part))
            nics[count++] = i;
    assert_int_equal(weft_nic_distances(t, from, nics, count, distances, NULL), WEFT_OK);
    for (int i = 0; i < count; i++)
        least = distances[i] < least ? distances[i] : least;
    for (int i = 0; i < count; i++)
        if (distances[i] == least)
            snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", *found ? " " : "",
                     strrchr(t->nodes[nics[i]].name, '/') + 1);
    assert_string_equal(found, expected);
    assert_int_equal(least, distance);
}

static int named(const struct weft_topology *t, const char *name)
{
    int node = weft_topology_find_node(t, name);
    if (node < 0)
        fail_msg("there is no %s", name);
    return node;
}

static void test_made_up(void **state)
{
    (void)state;
    struct weft_topology *t = load("dgx-h100:1");
    for (int i = 0; i < 8; i++) { // each GPU and its NIC are below one switch
        char gpu[32], nic[32];
        snprintf(gpu, sizeof gpu, "host0/gpu%d", i);
        snprintf(nic, sizeof nic, "mlx5_%d", i);
        must_be_near(t, named(t, gpu), "mlx5", 10 + 2, nic);
    }
    must_be_near(t, named(t, "host0/numa0"), "mlx5", 10, "mlx5_0 mlx5_1 mlx5_2 mlx5_3");
    must_be_near(t, named(t, "host0/numa1"), "mlx5", 10, "mlx5_4 mlx5_5 mlx5_6 mlx5_7");
    must_be_near(t, named(t, "host0/numa1"), "mlx5_0", 10 + 11, "mlx5_0"); // if it must be
    int nowhere, distance;
    assert_int_equal(weft_topology_add_node(t, WEFT_NODE_NIC, "host0/away", -1, &nowhere, NULL),
                     WEFT_OK);
    assert_int_equal(weft_nic_distances(t, named(t, "host0/numa0"), &nowhere, 1, &distance, NULL),
                     WEFT_OK);
    assert_int_equal(distance, WEFT_FARTHEST);
    assert_int_equal(weft_nic_distances(t, t->num_nodes, &nowhere, 1, &distance, NULL),
                     WEFT_INVALID_ARGUMENT);
    weft_topology_destroy(&t);
}

static const char *file(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/topodata/%s", WEFT_SHARED_DATA, name);
    if (access(path, F_OK) == 0)
        return path;
    print_message("%s is not there\n", path);
    skip();
    return NULL;
}

/* Two NICs behind the switch of each GPU. */
static void test_h100(void **state)
{
    (void)state;
    static const int first[8] = {0, 3, 5, 7, 9, 12, 14, 16};
    struct weft_topology *t = load(file("oracle/H100-topology.xml"));
    for (int i = 0; i < 8; i++) {
        char gpu[32], nics[32];
        snprintf(gpu, sizeof gpu, "host/gpu%d", i);
        snprintf(nics, sizeof nics, "mlx5_%d mlx5_%d", first[i], first[i] + 1);
        must_be_near(t, named(t, gpu), "mlx5", 10 + 4, nics);
    }
    weft_topology_destroy(&t);
}

/* Two sockets with a NIC of two ports each; GPUs are on other roots than the NICs. */
static void test_lassen(void **state)
{
    (void)state;
    struct weft_topology *t = load(file("mpibind/coral-lassen.xml"));
    must_be_near(t, named(t, "lassen28/core7"), "mlx5", 10, "mlx5_0 mlx5_1");
    must_be_near(t, named(t, "lassen28/core20"), "mlx5", 10, "mlx5_2 mlx5_3");
    must_be_near(t, named(t, "lassen28/gpu0"), "mlx5", 10 + 3 + 200, "mlx5_0 mlx5_1");
    must_be_near(t, named(t, "lassen28/gpu3"), "mlx5", 10 + 3 + 200, "mlx5_2 mlx5_3");
    must_be_near(t, named(t, "lassen28/gpu3"), "mlx5_0", 10 + 3 + 200 + 10000, "mlx5_0");
    weft_topology_destroy(&t);
}

/* Four NUMA domains, two GPUs and two NICs below one switch each. */
static void test_ndv4(void **state)
{
    (void)state;
    struct weft_topology *t = load(file("azure/ndv4-topo.xml"));
    must_be_near(t, named(t, "host/gpu0"), "nic", 10 + 2, "nic-0101:00:00.0 nic-0102:00:00.0");
    must_be_near(t, named(t, "host/gpu7"), "nic", 10 + 2, "nic-0107:00:00.0 nic-0108:00:00.0");
    must_be_near(t, named(t, "host/numa0"), "nic", 10, "nic-0103:00:00.0 nic-0104:00:00.0");
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_up),
        cmocka_unit_test(test_h100),
        cmocka_unit_test(test_lassen),
        cmocka_unit_test(test_ndv4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
