/*
 * SPDX-License-Identifier: Apache-2.0
 * Two topologies held against each other: nothing, parts gone and new, new names of hosts and
 * devices, numbers with their units, cables by port; as text and as JSON, with and without a bound.
 */
#include "tests/topology/graphs.h"

#include "base/json.h"
#include "topology/diff.h"

#define CLUSTER "host:4 pcie:2@64 gpu:4@64 nvswitch:2@50 nic:4@400"

static struct weft_diff diff_of(const struct weft_topology *a, const struct weft_topology *b)
{
    struct weft_diff diff;
    assert_int_equal(weft_topology_diff(a, b, 100, &diff, NULL), WEFT_OK);
    int total = 0;
    for (int i = 0; i < WEFT_NUM_DIFFERENCE_KINDS; i++)
        total += diff.counts[i];
    assert_int_equal(diff.total, total);
    return diff;
}

/* That nothing but `count` differences of `kind` is found, and what the first says. */
static void expect(const struct weft_topology *a, const struct weft_topology *b,
                   enum weft_difference_kind kind, int count, const char *subject, const char *key,
                   const char *before, const char *after)
{
    struct weft_diff diff = diff_of(a, b);
    if (diff.counts[kind] != count || diff.total != count) {
        weft_diff_write_text(&diff, stderr, NULL);
        fail_msg("%d of kind %s expected", count, weft_difference_names[kind]);
    }
    assert_string_equal(diff.items[0].subject, subject);
    assert_string_equal(diff.items[0].key, key);
    assert_string_equal(diff.items[0].before, before);
    assert_string_equal(diff.items[0].after, after);
    weft_diff_free(&diff);
}

static void test_equal(void **state)
{
    (void)state;
    struct weft_topology *a = synthetic(CLUSTER), *b = synthetic(CLUSTER);
    set_number(b, "host1/numa0", "memory_bytes", 1 << 30);
    set_number(b, "host1", "process.threads", 2);
    link_of(a, "host1/gpu0", "host1/nvswitch0")->bandwidth.measured =
        (struct weft_quantity){40 * GB, WEFT_SOURCE_MEASURED};
    link_of(b, "host1/gpu0", "host1/nvswitch0")->bandwidth.measured =
        (struct weft_quantity){42 * GB, WEFT_SOURCE_MEASURED};
    for (int i = 0; i < b->num_links / 2; i++) { // another order, other ends first
        struct weft_link swap = b->links[i];
        b->links[i] = b->links[b->num_links - 1 - i];
        b->links[b->num_links - 1 - i] = swap;
        int from = b->links[i].from;
        b->links[i].from = b->links[i].to;
        b->links[i].to = from;
    }
    struct weft_diff diff = diff_of(a, b);
    assert_int_equal(diff.total, 0);
    weft_diff_free(&diff);
    weft_topology_destroy(&a);
    weft_topology_destroy(&b);
}

static void test_parts(void **state)
{
    (void)state;
    struct weft_topology *a = synthetic(CLUSTER), *b = synthetic(CLUSTER);
    add_node(b, WEFT_NODE_NIC, "host2/nic9", find(b, "host2"));
    expect(a, b, WEFT_DIFFERENCE_NODE_ADDED, 1, "host2/nic9", "", "", "NIC");
    expect(b, a, WEFT_DIFFERENCE_NODE_REMOVED, 1, "host2/nic9", "", "NIC", "");
    weft_topology_destroy(&b);
    b = synthetic("host:3 pcie:2@64 gpu:4@64 nvswitch:2@50 nic:4@400");
    // host, package, NUMA domain, 2 switches, 4 GPUs, 2 NVSwitches, 4 NICs: one line, not 15
    expect(a, b, WEFT_DIFFERENCE_NODE_REMOVED, 1, "host3", "", "host with 14 parts", "");
    weft_topology_destroy(&b);
    b = synthetic(CLUSTER);
    b->nodes[find(b, "host1/gpu1")].parent = find(b, "host1/pcie-switch1");
    expect(a, b, WEFT_DIFFERENCE_NODE_MOVED, 1, "host1/gpu1", "parent", "host1/pcie-switch0",
           "host1/pcie-switch1");
    weft_topology_destroy(&a);
    weft_topology_destroy(&b);
}

static void test_facts_and_figures(void **state)
{
    (void)state;
    struct weft_topology *a = synthetic(CLUSTER), *b = synthetic(CLUSTER);
    set_text(a, "host1/gpu1", "model", "A100");
    set_text(b, "host1/gpu1", "model", "H100");
    expect(a, b, WEFT_DIFFERENCE_NODE_CHANGED, 1, "host1/gpu1", "model", "A100", "H100");
    set_text(b, "host1/gpu1", "model", "A100");
    set_current(b, "host1/gpu1", "host1/nvswitch1", 25 * GB);
    expect(a, b, WEFT_DIFFERENCE_LINK_CHANGED, 1, "host1/gpu1 - host1/nvswitch1 (nvlink)",
           "current bandwidth", "", "25000000000");
    set_current(a, "host1/gpu1", "host1/nvswitch1", 50 * GB);
    expect(a, b, WEFT_DIFFERENCE_LINK_CHANGED, 1, "host1/gpu1 - host1/nvswitch1 (nvlink)",
           "current bandwidth", "50000000000", "25000000000");
    set_current(a, "host1/gpu1", "host1/nvswitch1", 25 * GB);
    link_of(b, "host1/nic3", "network")->latency.nominal =
        (struct weft_quantity){900000, WEFT_SOURCE_FILE};
    expect(a, b, WEFT_DIFFERENCE_LINK_CHANGED, 1, "host1/nic3 - network (network)",
           "nominal latency", "", "900000");
    remove_link(a, "host1/nic3", "network");
    expect(a, b, WEFT_DIFFERENCE_LINK_ADDED, 1, "host1/nic3 - network (network)", "", "", "");
    weft_topology_destroy(&a);
    weft_topology_destroy(&b);
}

/* Two switches with four cables each; one is plugged elsewhere. */
static struct weft_topology *cables(const char *first, const char *guid, int last_port)
{
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    int a = add_node(t, WEFT_NODE_SWITCH, first, -1), b = add_node(t, WEFT_NODE_SWITCH, "b", -1);
    set_text(t, first, "node_guid", guid);
    for (int i = 1; i <= 4; i++) {
        int index = add_link(t, WEFT_LINK_NETWORK, a, b, 25 * GB);
        struct weft_link *link = &t->links[index];
        link->from_port = i;
        link->to_port = i < 4 ? 10 + i : last_port;
    }
    return t;
}

static void test_cables(void **state)
{
    (void)state;
    struct weft_topology *a = cables("a", "01", 14), *b = cables("a", "01", 15);
    struct weft_diff diff = diff_of(a, b);
    assert_int_equal(diff.counts[WEFT_DIFFERENCE_LINK_REMOVED], 1);
    assert_int_equal(diff.counts[WEFT_DIFFERENCE_LINK_ADDED], 1);
    assert_int_equal(diff.total, 2);
    assert_string_equal(diff.items[0].subject, "a[4] - b[14] (network)");
    assert_string_equal(diff.items[1].subject, "a[4] - b[15] (network)");
    weft_diff_free(&diff);
    weft_topology_destroy(&b);
    b = cables("renamed", "01", 14); // the same switch by its GUID, so its cables are the same
    expect(a, b, WEFT_DIFFERENCE_NODE_RENAMED, 1, "a", "name", "a", "renamed");
    weft_topology_destroy(&b);
    b = cables("other", "02", 14);
    diff = diff_of(a, b);
    assert_int_equal(diff.counts[WEFT_DIFFERENCE_NODE_REMOVED], 1);
    assert_int_equal(diff.counts[WEFT_DIFFERENCE_NODE_ADDED], 1);
    assert_int_equal(diff.total, 2);
    weft_diff_free(&diff);
    weft_topology_destroy(&a);
    weft_topology_destroy(&b);
}

/* One host of two GPUs with UUIDs; `nic` is the name of its NIC at one PCI address. */
static void add_box(struct weft_topology *t, const char *host, int number, const char *nic)
{
    char name[64], uuid[32];
    int top = add_node(t, WEFT_NODE_HOST, host, -1);
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s/gpu%d", host, i);
        add_node(t, WEFT_NODE_GPU, name, top);
        snprintf(uuid, sizeof uuid, "GPU-%d-%d", number, i);
        set_text(t, name, "uuid", uuid);
    }
    snprintf(name, sizeof name, "%s/%s", host, nic);
    add_node(t, WEFT_NODE_NIC, name, top);
    set_text(t, name, "pci_address", "0000:1a:00.0");
}

static void test_new_names(void **state)
{
    (void)state;
    struct weft_topology *a = NULL, *b = NULL;
    assert_int_equal(weft_topology_create(&a, NULL), WEFT_OK);
    assert_int_equal(weft_topology_create(&b, NULL), WEFT_OK);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "old%d", i);
        add_box(a, name, i, "mlx5_0");
        snprintf(name, sizeof name, "new%d", i);
        add_box(b, name, i, i == 2 ? "ibp26s0" : "mlx5_0");
    }
    struct weft_diff diff = diff_of(a, b);
    // three hosts by the GPUs in them; their parts follow, but for the NIC with a name of its own
    assert_int_equal(diff.counts[WEFT_DIFFERENCE_NODE_RENAMED], 4);
    assert_int_equal(diff.total, 4);
    assert_string_equal(diff.items[2].before, "old2");
    assert_string_equal(diff.items[2].after, "new2");
    assert_string_equal(diff.items[3].before, "old2/mlx5_0");
    assert_string_equal(diff.items[3].after, "new2/ibp26s0");
    weft_diff_free(&diff);
    weft_topology_destroy(&a);
    weft_topology_destroy(&b);
}

static void test_writing(void **state)
{
    (void)state;
    struct weft_topology *a = synthetic(CLUSTER), *b = synthetic(CLUSTER);
    for (int i = 0; i < 4; i++) {
        char name[32], other[32];
        snprintf(name, sizeof name, "host%d/gpu0", i);
        snprintf(other, sizeof other, "host%d/nvswitch0", i);
        set_current(b, name, other, 25 * GB);
    }
    struct weft_diff diff;
    assert_int_equal(weft_topology_diff(a, b, 3, &diff, NULL), WEFT_OK);
    assert_int_equal(diff.num_items, 3);
    assert_int_equal(diff.total, 4);
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    assert_int_equal(weft_diff_write_text(&diff, stream, NULL), WEFT_OK);
    fclose(stream);
    assert_non_null(strstr(text, "Links changed: 4\n"));
    assert_non_null(strstr(text, "current bandwidth (none) -> 25 GB/s\n"));
    assert_non_null(strstr(text, "and 1 more"));
    free(text);
    stream = open_memstream(&text, &bytes);
    assert_int_equal(weft_diff_write_json(&diff, stream, NULL), WEFT_OK);
    fclose(stream);
    json_t *json = NULL;
    assert_int_equal(weft_json_parse(text, bytes, "diff", &json, NULL), WEFT_OK);
    assert_true(json_is_false(json_object_get(json, "equal")));
    const json_t *first = json_array_get(json_object_get(json, "differences"), 0);
    assert_true(json_is_null(json_object_get(first, "before")));
    assert_true(json_integer_value(json_object_get(first, "after")) == 25 * GB);
    assert_string_equal(json_string_value(json_object_get(first, "unit")), "bytes per second");
    json_decref(json);
    free(text);
    weft_diff_free(&diff);
    weft_topology_destroy(&a);
    weft_topology_destroy(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_facts_and_figures),
        cmocka_unit_test(test_cables),
        cmocka_unit_test(test_new_names),
        cmocka_unit_test(test_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
