/*
 * SPDX-License-Identifier: Apache-2.0
 * Graphs of hosts become one graph of the cluster, whatever their order: names, GUIDs, cables seen
 * from both ends, machines with one name, racks of NVLink, remarks; and two real hosts.
 */
#include "tests/topology/load.h"

#include "topology/merge.h"

static struct weft_topology *graph(void)
{
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    return t;
}

static int node(struct weft_topology *t, int kind, const char *name, int parent, const char *key,
                const char *text)
{
    int made;
    assert_int_equal(weft_topology_add_node(t, kind, name, parent, &made, NULL), WEFT_OK);
    if (key)
        assert_int_equal(weft_topology_set_text(t, made, key, text, WEFT_SOURCE_FILE, NULL), 0);
    return made;
}

static void join(struct weft_topology *t, int kind, int from, int from_port, int to, int to_port)
{
    struct weft_link link = weft_link_make(kind, from, to);
    link.from_port = from_port;
    link.to_port = to_port;
    link.bandwidth.nominal = (struct weft_quantity){50000000000, WEFT_SOURCE_UMAD};
    assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), WEFT_OK);
}

/* Merges in every rotation and reversed: always the same bytes. Frees the graphs. */
static struct weft_topology *merged(struct weft_topology **graphs, int count)
{
    struct weft_topology *first = NULL;
    char *first_text = NULL;
    size_t first_bytes = 0;
    for (int turn = 0; turn < 2 * count; turn++) {
        const struct weft_topology *order[64];
        struct weft_topology *made = NULL;
        struct weft_error error = {0};
        for (int i = 0; i < count; i++)
            order[turn < count ? i : count - 1 - i] = graphs[(i + turn) % count];
        if (weft_topology_merge(order, count, &made, &error) != WEFT_OK)
            fail_msg("%s", error.text);
        size_t bytes;
        char *text = written(made, &bytes);
        if (first) {
            assert_string_equal(text, first_text);
            assert_true(weft_topology_fingerprint(made) == weft_topology_fingerprint(first));
            weft_topology_destroy(&made);
            free(text);
        } else {
            first = made;
            first_text = text;
            first_bytes = bytes;
        }
    }
    assert_true(first_bytes > 0);
    free(first_text);
    for (int i = 0; i < count; i++)
        weft_topology_destroy(&graphs[i]);
    return first;
}

static struct weft_topology *plain_host(const char *name, const char *identity)
{
    char numa[64], core[64], nic[64];
    struct weft_topology *t = graph();
    int host = node(t, WEFT_NODE_HOST, name, -1, "process.host_id", identity);
    snprintf(numa, sizeof numa, "%s/numa0", name);
    snprintf(core, sizeof core, "%s/core0", name);
    snprintf(nic, sizeof nic, "%s/mlx5_0", name);
    int domain = node(t, WEFT_NODE_NUMA, numa, host, NULL, NULL);
    join(t, WEFT_LINK_MEMORY, domain, 0, node(t, WEFT_NODE_CORE, core, domain, NULL, NULL), 0);
    join(t, WEFT_LINK_ROOT, domain, 0, node(t, WEFT_NODE_NIC, nic, host, NULL, NULL), 0);
    return t;
}

static void test_hosts(void **state)
{
    (void)state;
    struct weft_topology *graphs[] = {plain_host("b10", "1"), plain_host("b9", "2"),
                                      plain_host("a", "3")};
    struct weft_topology *t = merged(graphs, 3);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 3);
    assert_int_equal(t->num_nodes, 12);
    assert_int_equal(t->num_links, 6);
    assert_int_equal(t->nodes[find(t, "b9/core0")].parent, find(t, "b9/numa0"));
    assert_true(find(t, "b9") < find(t, "b10")); // canonical
    weft_topology_destroy(&t);
}

static void test_same_host_twice(void **state)
{
    (void)state;
    struct weft_topology *graphs[] = {plain_host("a", "1"), plain_host("a", "1"),
                                      plain_host("a", "1")};
    int host = find(graphs[1], "a"), numa = find(graphs[1], "a/numa0");
    weft_topology_set_number(graphs[1], host, "process.threads", 2, WEFT_SOURCE_HWLOC, NULL);
    weft_topology_set_number(graphs[1], numa, "memory_bytes", 4096, WEFT_SOURCE_HWLOC, NULL);
    weft_topology_set_number(graphs[2], numa, "memory_bytes", 8192, WEFT_SOURCE_FILE, NULL);
    struct weft_topology *t = merged(graphs, 3);
    assert_int_equal(t->num_nodes, 4);
    assert_int_equal(t->num_links, 2);
    assert_int_equal(weft_topology_number(t, find(t, "a/numa0"), "memory_bytes", 0), 4096);
    assert_int_equal(t->num_remarks, 1);
    assert_int_equal(t->remarks[0].kind, WEFT_REMARK_CONTRADICTION);
    weft_topology_destroy(&t);
}

static void test_machines_with_one_name(void **state)
{
    (void)state;
    struct weft_topology *graphs[] = {plain_host("localhost", "1"), plain_host("localhost", "2"),
                                      plain_host("other", "3")};
    struct weft_topology *t = merged(graphs, 3);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 3);
    assert_int_equal(weft_topology_find_node(t, "localhost"), -1);
    find(t, "other/core0");
    int num_suffixed = 0;
    for (int i = 0; i < t->num_nodes; i++)
        num_suffixed += strncmp(t->nodes[i].name, "localhost~", 10) == 0;
    assert_int_equal(num_suffixed, 8);
    assert_int_equal(t->num_remarks, 2);
    weft_topology_destroy(&t);
}

/* What every host sees of the fabric: two leaves, a cable, and NICs of hosts it only knows by what
 * they call themselves. */
static void see_fabric(struct weft_topology *t, const char *const *hosts, int num_hosts)
{
    int leaf0 = node(t, WEFT_NODE_LEAF, "leaf-a", -1, "node_guid", "00000000000000a0");
    int leaf1 = node(t, WEFT_NODE_LEAF, "leaf-b", -1, "node_guid", "00000000000000b0");
    join(t, WEFT_LINK_NETWORK, leaf0, 31, leaf1, 32);
    join(t, WEFT_LINK_NETWORK, leaf1, 33, leaf0, 34);
    for (int i = 0; i < num_hosts; i++) {
        char name[64], guid[32];
        snprintf(name, sizeof name, "%s/HCA-1", hosts[i]);
        snprintf(guid, sizeof guid, "00000000000010%02d", i);
        int nic = weft_topology_find_text(t, WEFT_NODE_NIC, "node_guid", guid);
        if (nic < 0) {
            int host = node(t, WEFT_NODE_HOST, hosts[i], -1, NULL, NULL);
            nic = node(t, WEFT_NODE_NIC, name, host, "node_guid", guid);
        }
        join(t, WEFT_LINK_NETWORK, nic, 1, i % 2 ? leaf1 : leaf0, 1 + i);
    }
}

static void test_fabric_seen_by_all(void **state)
{
    (void)state;
    // the fabric knows the third host by another name, and a fourth that runs nothing
    static const char *const names[] = {"n0", "n1", "n2-factory", "n3"};
    static const char *const own[] = {"n0", "n1", "n2.site"};
    struct weft_topology *graphs[3];
    for (int i = 0; i < 3; i++) {
        char nic[64], guid[32];
        struct weft_topology *host = plain_host(own[i], own[i]);
        snprintf(nic, sizeof nic, "%s/mlx5_0", own[i]);
        snprintf(guid, sizeof guid, "00000000000010%02d", i);
        weft_topology_set_text(host, find(host, nic), "node_guid", guid, WEFT_SOURCE_VERBS, NULL);
        see_fabric(host, names, 4);
        graphs[i] = host;
    }
    struct weft_topology *t = merged(graphs, 3);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 4);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 4);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_LEAF), 2);
    assert_int_equal(weft_topology_find_node(t, "n2-factory"), -1);
    find(t, "n3/HCA-1");
    int cables = 0, to_nic = 0;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NETWORK) {
            cables++;
            to_nic += t->links[i].from == find(t, "n2.site/mlx5_0") ||
                      t->links[i].to == find(t, "n2.site/mlx5_0");
        }
    assert_int_equal(cables, 6); // 4 NICs, 2 between the leaves
    assert_int_equal(to_nic, 1);
    int islands;
    assert_int_equal(weft_topology_islands(t, NULL, &islands, NULL), WEFT_OK);
    assert_int_equal(islands, 1);
    weft_topology_destroy(&t);
}

static void test_cloned_guids_join_nothing(void **state)
{
    (void)state;
    struct weft_topology *graphs[2];
    for (int i = 0; i < 2; i++) {
        graphs[i] = plain_host(i ? "b" : "a", i ? "2" : "1");
        weft_topology_set_text(graphs[i], find(graphs[i], i ? "b/mlx5_0" : "a/mlx5_0"), "node_guid",
                               "0002c90300000001", WEFT_SOURCE_VERBS, NULL);
    }
    struct weft_topology *t = merged(graphs, 2);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 2);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 2);
    weft_topology_destroy(&t);
}

static void test_shells_make_no_two_machines_one(void **state)
{
    (void)state;
    struct weft_topology *graphs[3];
    for (int i = 0; i < 2; i++) {
        graphs[i] = plain_host(i ? "b" : "a", i ? "2" : "1");
        weft_topology_set_text(graphs[i], find(graphs[i], i ? "b/mlx5_0" : "a/mlx5_0"), "node_guid",
                               i ? "0000000000000002" : "0000000000000001", WEFT_SOURCE_VERBS,
                               NULL);
    }
    graphs[2] = graph(); // two factory names that are one
    int shell = node(graphs[2], WEFT_NODE_HOST, "MT4123", -1, NULL, NULL);
    node(graphs[2], WEFT_NODE_NIC, "MT4123/0", shell, "node_guid", "0000000000000001");
    node(graphs[2], WEFT_NODE_NIC, "MT4123/1", shell, "node_guid", "0000000000000002");
    struct weft_topology *t = merged(graphs, 3);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 2);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), 2);
    assert_int_equal(t->nodes[find(t, "b/mlx5_0")].parent, find(t, "b"));
    weft_topology_destroy(&t);
}

static struct weft_topology *nvlink_host(const char *name, const char *domain, bool has_switch)
{
    struct weft_topology *t = plain_host(name, name);
    char text[64];
    int host = find(t, name), nvswitch = -1;
    snprintf(text, sizeof text, "%s/nvswitch0", name);
    if (has_switch)
        nvswitch = node(t, WEFT_NODE_NVSWITCH, text, host, NULL, NULL);
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "%s/gpu%d", name, i);
        int gpu = node(t, WEFT_NODE_GPU, text, host, "nvlink_domain", domain);
        struct weft_link link = weft_link_make(WEFT_LINK_NVLINK, gpu, nvswitch);
        link.count = 18;
        if (has_switch)
            assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), WEFT_OK);
    }
    return t;
}

static void test_nvlink_domains(void **state)
{
    (void)state;
    for (int has_switch = 0; has_switch < 2; has_switch++) {
        struct weft_topology *graphs[] = {nvlink_host("a", "uuid.1", has_switch),
                                          nvlink_host("b", "uuid.1", has_switch),
                                          nvlink_host("c", "uuid.2", has_switch)};
        struct weft_topology *t = merged(graphs, 3);
        int rack = find(t, "nvlink-uuid.1"), to_rack = 0;
        assert_int_equal(t->nodes[rack].parent, -1);
        assert_int_equal(weft_topology_count(t, WEFT_NODE_NVSWITCH), has_switch ? 2 : 1);
        for (int i = 0; i < t->num_links; i++)
            if (t->links[i].from == rack || t->links[i].to == rack) {
                to_rack++;
                assert_int_equal(t->links[i].count, has_switch ? 18 : 1);
            }
        assert_int_equal(to_rack, 8);
        assert_int_equal(t->num_remarks, 1);
        assert_int_equal(t->remarks[0].kind, WEFT_REMARK_GUESS);
        weft_topology_destroy(&t);
    }
}

static void test_notes(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c"};
    struct weft_topology *graphs[3];
    for (int i = 0; i < 3; i++) {
        struct weft_topology *t = graphs[i] = plain_host(names[i], names[i]);
        weft_topology_add_probe(t, "hwloc", true, "", NULL);
        weft_topology_add_probe(t, "nvml", i == 1, i == 1 ? "" : "no library", NULL);
        weft_topology_add_remark(t, WEFT_REMARK_HIDDEN, WEFT_SOURCE_SYSFS, -1, NULL, "all alike");
        if (i == 2)
            weft_topology_add_remark(t, WEFT_REMARK_HIDDEN, WEFT_SOURCE_SYSFS, -1, NULL, "mine");
        for (int k = 0; k < 4; k++)
            weft_topology_add_remark(t, WEFT_REMARK_GUESS, WEFT_SOURCE_SYSFS, k, NULL, "often");
    }
    struct weft_topology *t = merged(graphs, 3);
    assert_int_equal(t->num_remarks, 3);
    assert_string_equal(t->remarks[0].text, "often (on 12 nodes, a for one)");
    assert_string_equal(t->remarks[1].text, "all alike (3 hosts)");
    assert_string_equal(t->remarks[2].text, "c: mine");
    assert_int_equal(t->num_probes, 3);
    assert_string_equal(t->probes[0].reason, "");
    assert_string_equal(t->probes[1].reason, "b");
    assert_true(t->probes[1].available);
    assert_string_equal(t->probes[2].reason, "2 of 3 hosts: no library");
    weft_topology_destroy(&t);
}

static void test_circles_are_refused(void **state)
{
    (void)state;
    struct weft_topology *graphs[] = {graph(), graph()}, *t = NULL;
    struct weft_error error = {0};
    for (int i = 0; i < 2; i++) { // each contains the other
        int outer = node(graphs[i], WEFT_NODE_SWITCH, i ? "s0" : "s1", -1, NULL, NULL);
        node(graphs[i], WEFT_NODE_SWITCH, i ? "s1" : "s0", outer, NULL, NULL);
    }
    assert_int_equal(
        weft_topology_merge((const struct weft_topology *const *)graphs, 2, &t, &error),
        WEFT_INVALID_FORMAT);
    assert_null(t);
    assert_int_equal(weft_topology_merge(NULL, 0, &t, &error), WEFT_INVALID_ARGUMENT);
    weft_topology_destroy(&graphs[0]);
    weft_topology_destroy(&graphs[1]);
}

static void test_real_hosts(void **state)
{
    (void)state;
    struct weft_topology *graphs[] = {load_real("mpibind/coral-lassen.xml"),
                                      load_real("hwloc/nvidiaDGX2.xml")};
    int num_nodes = graphs[0]->num_nodes + graphs[1]->num_nodes;
    struct weft_topology *t = merged(graphs, 2);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), 2);
    assert_int_equal(t->num_nodes, num_nodes);
    weft_topology_destroy(&t);
}

static void test_real_fabric(void **state)
{
    (void)state;
    struct weft_topology *graphs[3] = {load_real("topograph/ibnetdiscover-ndr-40sw.out")};
    int num_hosts = weft_topology_count(graphs[0], WEFT_NODE_HOST), fabric_links = 0;
    int num_nics = weft_topology_count(graphs[0], WEFT_NODE_NIC), num_links = graphs[0]->num_links;
    const char *guid =
        weft_topology_text(graphs[0], find(graphs[0], "a07-p1-dgx-03-c05/HCA-2"), "node_guid");
    graphs[1] = plain_host("dgx-35", "1"); // calls itself otherwise
    weft_topology_set_text(graphs[1], find(graphs[1], "dgx-35/mlx5_0"), "node_guid", guid,
                           WEFT_SOURCE_VERBS, NULL);
    graphs[2] = plain_host("nameless", "2"); // with a card that nobody described
    weft_topology_set_text(graphs[2], find(graphs[2], "nameless/mlx5_0"), "node_guid",
                           "e09d73030033dc5c", WEFT_SOURCE_VERBS, NULL);
    struct weft_topology *t = merged(graphs, 3);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_HOST), num_hosts + 1);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_NIC), num_nics);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_LEAF), 31);
    assert_int_equal(weft_topology_count(t, WEFT_NODE_SPINE), 9);
    assert_int_equal(weft_topology_find_node(t, "a07-p1-dgx-03-c05"), -1);
    find(t, "dgx-35/HCA-1"); // its siblings came along
    for (int i = 0; i < t->num_links; i++)
        fabric_links += t->links[i].kind == WEFT_LINK_NETWORK;
    assert_int_equal(fabric_links, num_links);
    int nic = find(t, "nameless/mlx5_0"), leaf = -1;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NETWORK && t->links[i].from == nic)
            leaf = t->links[i].to;
        else if (t->links[i].kind == WEFT_LINK_NETWORK && t->links[i].to == nic)
            leaf = t->links[i].from;
    assert_true(leaf >= 0 && t->nodes[leaf].kind == WEFT_NODE_LEAF);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_same_host_twice),
        cmocka_unit_test(test_machines_with_one_name),
        cmocka_unit_test(test_fabric_seen_by_all),
        cmocka_unit_test(test_cloned_guids_join_nothing),
        cmocka_unit_test(test_shells_make_no_two_machines_one),
        cmocka_unit_test(test_nvlink_domains),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_circles_are_refused),
        cmocka_unit_test(test_real_hosts),
        cmocka_unit_test(test_real_fabric),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
