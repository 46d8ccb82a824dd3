/*
 * SPDX-License-Identifier: Apache-2.0
 * The summary as JSON: counts, GPU islands, links of each GPU, the fabric, remarks, findings.
 */

#include "tests/topology/graphs.h"
#include "tests/topology/load.h"

#include "base/json.h"
#include "topology/gpu_islands.h"
#include "topology/summary.h"

static json_t *summary_of(const struct weft_topology *t)
{
    char *text = NULL;
    size_t bytes;
    json_t *json = NULL;
    FILE *stream = open_memstream(&text, &bytes);
    assert_non_null(stream);
    assert_int_equal(weft_topology_summary_json(t, stream, NULL), WEFT_OK);
    fclose(stream);
    assert_int_equal(weft_json_parse(text, bytes, "summary", &json, NULL), WEFT_OK);
    free(text);
    return json;
}

/* The number at a path of keys, separated by '.'. */
static int64_t number(const json_t *json, const char *path)
{
    char key[64];
    while (json && *path) {
        size_t length = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        json = json_is_array(json) ? json_array_get(json, (size_t)atoi(key))
                                   : json_object_get(json, key);
        path += length + (path[length] == '.');
    }
    if (!json_is_integer(json))
        fail_msg("no number at %s", path);
    return json_integer_value(json);
}

static void test_cluster(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic("host:3 gpu:4 nvswitch:2@50 nic:2@400");
    json_t *json = summary_of(t);
    assert_int_equal(number(json, "nodes.host"), 3);
    assert_int_equal(number(json, "nodes.gpu"), 12);
    assert_int_equal(number(json, "links"), t->num_links);
    assert_int_equal(number(json, "parts"), 1);
    assert_int_equal(number(json, "islands"), 3);
    assert_int_equal(json_array_size(json_object_get(json, "gpu_islands")), 3);
    assert_int_equal(number(json, "gpu_island_sizes.2"), 4);
    assert_string_equal(json_string_value(json_array_get(
                            json_array_get(json_object_get(json, "gpu_islands"), 1), 3)),
                        "host1/gpu3");
    assert_int_equal(number(json, "gpu_links.host2/gpu1.nvlink"), 2);
    assert_int_equal(number(json, "gpu_links.host2/gpu1.xgmi"), 0);
    assert_int_equal(number(json, "fabric.switches"), 1);
    assert_int_equal(number(json, "fabric.channel_adapters"), 6);
    assert_int_equal(number(json, "fabric.network_links"), 6);
    assert_int_equal(number(json, "remarks.guess"), 0);
    json_decref(json);
    // a link less, a remark more
    remove_link(t, "host2/gpu1", "host2/nvswitch1");
    assert_int_equal(
        weft_topology_add_remark(t, WEFT_REMARK_GUESS, WEFT_SOURCE_FILE, -1, NULL, "a guess"),
        WEFT_OK);
    json = summary_of(t);
    assert_int_equal(number(json, "gpu_links.host2/gpu1.nvlink"), 1);
    assert_int_equal(number(json, "remarks.guess"), 1);
    assert_int_equal(number(json, "findings.0.lost_bandwidth"), 50 * GB);
    json_decref(json);
    weft_topology_destroy(&t);
}

static int islands_of(const struct weft_topology *t)
{
    int count, *island_of = malloc(((size_t)t->num_nodes + 1) * sizeof *island_of);
    assert_non_null(island_of);
    assert_int_equal(weft_topology_gpu_islands(t, island_of, &count, NULL), WEFT_OK);
    for (int i = 0; i < t->num_nodes; i++)
        assert_true(island_of[i] < count &&
                    (island_of[i] < 0 || t->nodes[i].kind == WEFT_NODE_GPU));
    free(island_of);
    return count;
}

static void test_islands(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic("host:2 gpu:4 nic:1");
    json_t *json = summary_of(t);
    assert_int_equal(number(json, "islands"), 1); // no NVLink: the parts
    assert_int_equal(json_array_size(json_object_get(json, "gpu_islands")), 0);
    json_decref(json);
    // two XGMI pairs, then a pair and two GPUs alone; host1 has none and does not count
    int gpu[4];
    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "host0/gpu%d", i);
        gpu[i] = find(t, name);
    }
    add_link(t, WEFT_LINK_XGMI, gpu[0], gpu[1], 50 * GB);
    assert_int_equal(islands_of(t), 3);
    add_link(t, WEFT_LINK_XGMI, gpu[2], gpu[3], 50 * GB);
    assert_int_equal(islands_of(t), 2);
    // a CPU with NVLinks joins nobody
    add_link(t, WEFT_LINK_NVLINK, gpu[0], find(t, "host0/numa0"), 50 * GB);
    add_link(t, WEFT_LINK_NVLINK, gpu[2], find(t, "host0/numa0"), 50 * GB);
    assert_int_equal(islands_of(t), 2);
    // one domain across hosts whose switches nobody sees
    add_link(t, WEFT_LINK_NVLINK, find(t, "host1/gpu0"), find(t, "host1/numa0"), 50 * GB);
    assert_int_equal(islands_of(t), 6);
    set_text(t, "host1/gpu0", "nvlink_domain", "a.1");
    set_text(t, "host0/gpu0", "nvlink_domain", "a.1");
    set_text(t, "host0/gpu3", "nvlink_domain", "a.2");
    assert_int_equal(islands_of(t), 5);
    weft_topology_destroy(&t);
}

static void test_fabric(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    int leaf = add_node(t, WEFT_NODE_LEAF, "leaf", -1);
    int spine = add_node(t, WEFT_NODE_SPINE, "spine", -1);
    add_node(t, WEFT_NODE_CORE_SWITCH, "core", -1);
    add_node(t, WEFT_NODE_NIC, "unplugged", -1);
    add_node(t, WEFT_NODE_NIC, "down", -1);
    set_text(t, "down", "node_guid", "0002c90300000001");
    int nic = add_node(t, WEFT_NODE_NIC, "two-cables", -1);
    int aggregator = add_node(t, WEFT_NODE_AGGREGATOR, "sharp", -1);
    add_link(t, WEFT_LINK_NETWORK, nic, leaf, 50 * GB);
    add_link(t, WEFT_LINK_NETWORK, nic, leaf, 50 * GB);
    add_link(t, WEFT_LINK_NETWORK, leaf, spine, 50 * GB);
    add_link(t, WEFT_LINK_NETWORK, aggregator, leaf, 50 * GB);
    json_t *json = summary_of(t);
    assert_int_equal(number(json, "fabric.switches"), 3);
    assert_int_equal(number(json, "fabric.leaf"), 1);
    assert_int_equal(number(json, "fabric.spine"), 1);
    assert_int_equal(number(json, "fabric.core"), 1);
    assert_int_equal(number(json, "fabric.channel_adapters"), 3); // not the unplugged one
    assert_int_equal(number(json, "fabric.network_links"), 4);
    json_decref(json);
    weft_topology_destroy(&t);
}

/* More islands than are listed: sizes are complete. */
static void test_bounds(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic("host:80 gpu:2 nvswitch:1 nic:1");
    json_t *json = summary_of(t);
    assert_int_equal(number(json, "islands"), 80);
    assert_int_equal(json_array_size(json_object_get(json, "gpu_islands")),
                     WEFT_SUMMARY_MAX_ISLANDS);
    assert_int_equal(json_array_size(json_object_get(json, "gpu_island_sizes")), 80);
    assert_int_equal(json_object_size(json_object_get(json, "gpu_links")), 160);
    json_decref(json);
    weft_topology_destroy(&t);
}

static json_t *summary_of_file(const char *file)
{
    struct weft_topology *t = load_real(file);
    json_t *json = summary_of(t);
    weft_topology_destroy(&t);
    return json;
}

/* What is known of real machines and fabrics: switches of each tier, sets of GPUs, links of each.
 */
static void test_real_fabric(void **state)
{
    (void)state;
    json_t *json = summary_of_file("topograph/ibnetdiscover-ndr-40sw.out");
    assert_int_equal(number(json, "fabric.switches"), 40);
    assert_int_equal(number(json, "fabric.channel_adapters"), 582);
    assert_int_equal(number(json, "fabric.leaf"), 31);
    assert_int_equal(number(json, "fabric.spine"), 9);
    json_decref(json);
}

static void check_nvlinks(json_t *json, int gpus, int each)
{
    const char *name;
    json_t *links;
    assert_int_equal(json_object_size(json_object_get(json, "gpu_links")), gpus);
    json_object_foreach(json_object_get(json, "gpu_links"), name, links)
        assert_int_equal(json_integer_value(json_object_get(links, "nvlink")), each);
}

static void test_real_machines(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int islands, gpus, each;
    } machines[] = {
        {"hwloc/nvidiaDGX2.xml", 1, 16, 6},
        {"hwloc/power8gpudistances.xml", 2, 4, -1}, // two at each POWER8
        {"oracle/H100-topology.xml", 1, 8, 18},
        {"rccl/topo_4p2h.xml", 2, 8, -1},
    };
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        json_t *json = summary_of_file(machines[i].file);
        assert_int_equal(number(json, "islands"), machines[i].islands);
        assert_int_equal(number(json, "nodes.gpu"), machines[i].gpus);
        assert_int_equal(number(json, "gpu_island_sizes.0"),
                         machines[i].gpus / machines[i].islands);
        if (machines[i].each > 0)
            check_nvlinks(json, machines[i].gpus, machines[i].each);
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cluster),     cmocka_unit_test(test_islands),
        cmocka_unit_test(test_fabric),      cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_real_fabric), cmocka_unit_test(test_real_machines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
