/*
 * SPDX-License-Identifier: Apache-2.0
 * Edge lists: what is read, what is refused and with which line, that writing gives back what was
 * read, what other graphs become, and that findings, routes and the report cope with GPUs that no
 * host contains.
 */
#include "tests/topology/load.h"

#include "topology/findings.h"
#include "topology/report.h"
#include "topology/route.h"
#include "topology/synthetic.h"

static const char sample[] = "  # two boxes\n"
                             "\n"
                             "node a gpu\n"
                             "node b gpu # the second\n"
                             "\tnode  s%20%25%23 switch\r\n"
                             "link a s%20%25%23 300 both\n"
                             "link b s%20%25%23 0.000001\n"
                             "link s%20%25%23 b 12.5 # comment\n"
                             "link a b 1.5\n"
                             "link b a 1.5\n"
                             "link a b 999999999.999999 both";

static void test_read(void **state)
{
    (void)state;
    struct weft_topology *t = imported(&weft_importer_edges, sample);
    int a = weft_topology_find_node(t, "a"), b = weft_topology_find_node(t, "b");
    int s = weft_topology_find_node(t, "s %#");
    assert_true(a >= 0 && b >= 0 && s >= 0);
    assert_int_equal(t->num_nodes, 3);
    assert_int_equal(t->nodes[a].kind, WEFT_NODE_GPU);
    assert_int_equal(t->nodes[s].kind, WEFT_NODE_SWITCH);
    const struct {
        int from, to;
        bool one_way;
        int64_t bytes;
    } links[] = {{a, s, false, 300000000000}, {b, s, true, 1000},
                 {s, b, true, 12500000000},   {a, b, true, 1500000000},
                 {b, a, true, 1500000000},    {a, b, false, 999999999999999000}};
    assert_int_equal(t->num_links, 6);
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        int found = 0;
        for (int j = 0; j < t->num_links; j++)
            found += t->links[j].from == links[i].from && t->links[j].to == links[i].to &&
                     t->links[j].one_way == links[i].one_way &&
                     t->links[j].kind == WEFT_LINK_NETWORK &&
                     t->links[j].bandwidth.nominal.source == WEFT_SOURCE_FILE &&
                     t->links[j].bandwidth.nominal.value == links[i].bytes;
        if (found != 1)
            fail_msg("link %zu was found %d times", i, found);
    }
    weft_topology_destroy(&t);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct weft_topology *t = imported(&weft_importer_edges, sample);
    char *text = exported(&weft_exporter_edges, t);
    struct weft_topology *back = imported(&weft_importer_edges, text);
    char *again = exported(&weft_exporter_edges, back);
    assert_string_equal(text, again);
    size_t bytes;
    char *json = written(t, &bytes), *json_back = written(back, &bytes);
    assert_string_equal(json, json_back);
    assert_non_null(strstr(text, "link a b 1.5\n"));
    assert_non_null(strstr(text, "link b a 1.5\n"));
    assert_non_null(strstr(text, "link a s%20%25%23 300 both\n"));
    assert_non_null(strstr(text, "link b s%20%25%23 0.000001\n"));
    free(text);
    free(again);
    free(json);
    free(json_back);
    weft_topology_destroy(&t);
    weft_topology_destroy(&back);
}

static const struct {
    const char *text;
    int line;
    const char *why;
} bad[] = {
    {"nodes a gpu", 1, "node or link"},
    {"node", 1, "expected a name"},
    {"node # gpu", 1, "expected a name"},
    {"node a", 1, "gpu or switch"},
    {"node a GPU", 1, "gpu or switch"},
    {"node a gpu switch", 1, "\"switch\" at the end"},
    {"node a gpu\nnode a switch", 2, "two nodes"},
    {"node a% gpu", 1, "%25"},
    {"node a%2 gpu", 1, "%25"},
    {"node a%0a gpu", 1, "0x0a"},
    {"node \xc3\xa4 gpu", 1, "0xc3"},
    {"node a gpu\nlink a b 1", 2, "no node \"b\""},
    {"link a b 1\nnode a gpu\nnode b gpu", 1, "no node \"a\""},
    {"node a gpu\nlink a a 1", 2, "itself"},
    {"node a gpu\nlink a", 2, "expected a name"},
    {"node a gpu\nnode b gpu\n\nlink a b", 4, "expected a capacity"},
    {"node a gpu\nnode b gpu\nlink a b 0", 3, "capacity of 0"},
    {"node a gpu\nnode b gpu\nlink a b 0.000000", 3, "capacity of 0"},
    {"node a gpu\nnode b gpu\nlink a b -1", 3, "above 0"},
    {"node a gpu\nnode b gpu\nlink a b nan", 3, "above 0"},
    {"node a gpu\nnode b gpu\nlink a b NaN", 3, "above 0"},
    {"node a gpu\nnode b gpu\nlink a b inf", 3, "above 0"},
    {"node a gpu\nnode b gpu\nlink a b 1e5", 3, "above 0"},
    {"node a gpu\nnode b gpu\nlink a b 0x10", 3, "above 0"},
    {"node a gpu\nnode b gpu\nlink a b .5", 3, "above 0"},
    {"node a gpu\nnode b gpu\nlink a b 5.", 3, "above 0"},
    {"node a gpu\nnode b gpu\nlink a b 5.x", 3, "above 0"},
    {"node a gpu\nnode b gpu\nlink a b 1.0000001", 3, "6 places"},
    {"node a gpu\nnode b gpu\nlink a b 1000000000", 3, "at most"},
    {"node a gpu\nnode b gpu\nlink a b 99999999999999999999999999", 3, "at most"},
    {"node a gpu\nnode b gpu\nlink a b 1 back", 3, "\"back\""},
    {"node a gpu\nnode b gpu\nlink a b 1 both both", 3, "\"both\""},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(&weft_importer_edges, bad[i].text, bad[i].line, bad[i].why);
    char name[400];
    memset(name, 'x', sizeof name);
    memcpy(name, "node ", 5);
    memcpy(name + sizeof name - 5, " gpu", 5);
    assert_refused(&weft_importer_edges, name, 1, "255");
}

static void test_matches(void **state)
{
    (void)state;
    const struct weft_importer *edges = weft_importer_find("edges");
    assert_true(edges->matches("# x\n\n  node a gpu"));
    assert_true(edges->matches("link a b 1"));
    assert_false(edges->matches(""));
    assert_false(edges->matches("# only\n"));
    assert_false(edges->matches("nodes a"));
    assert_false(edges->matches("# vendid\nvendid=0x2c9\nnode a gpu"));
}

/* The example of the issue's planner: two rings of GPUs without any host. */
static void test_graph_without_host(void **state)
{
    (void)state;
    struct weft_topology *t =
        imported(&weft_importer_edges, "node g0 gpu\nnode g1 gpu\nnode g2 gpu\nnode s switch\n"
                                       "link g0 s 50 both\nlink g1 s 50 both\nlink s g2 25\n");
    int node_of_rank[4], g0 = weft_topology_find_node(t, "g0"),
                         g2 = weft_topology_find_node(t, "g2");
    struct weft_route route, routes[16];
    assert_int_equal(weft_topology_place(t, 4, node_of_rank, NULL), WEFT_OK);
    assert_int_equal(weft_topology_routes(t, 4, node_of_rank, routes, NULL), WEFT_OK);
    assert_int_equal(weft_topology_route(t, g0, g2, &route, NULL), WEFT_OK);
    assert_true(route.bandwidth == 25000000000);
    assert_int_equal(weft_topology_route(t, g2, g0, &route, NULL), WEFT_NOT_FOUND);
    assert_int_equal(weft_topology_locality(t, g0, g2), WEFT_LOCALITY_DIFFERENT_HOST);
    struct weft_findings findings;
    assert_int_equal(weft_topology_findings(t, &findings, NULL), WEFT_OK);
    for (int i = 0; i < findings.count; i++)
        assert_int_not_equal(findings.items[i].severity, WEFT_SEVERITY_ERROR);
    weft_findings_free(&findings);
    for (int verbose = 0; verbose < 2; verbose++) {
        const struct weft_report_options options = {.verbose = verbose};
        char *text = NULL;
        size_t bytes;
        FILE *stream = open_memstream(&text, &bytes);
        assert_int_equal(weft_topology_report(t, &options, stream, NULL), WEFT_OK);
        fclose(stream);
        assert_non_null(strstr(text, "3 GPUs"));
        free(text);
    }
    weft_topology_destroy(&t);
}

/* A box flattened: GPUs can still reach each other, and as fast. */
static void test_flatten(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    assert_int_equal(
        weft_topology_from_synthetic("host:2 core:4 nvswitch:2@100 gpu:4@63.5 nic:2@400", &t, NULL),
        WEFT_OK);
    char *text = exported(&weft_exporter_edges, t);
    struct weft_topology *flat = imported(&weft_importer_edges, text);
    assert_non_null(strstr(text, "# left out: 12 nodes")); // 2 hosts, 2 packages, 8 cores
    assert_non_null(strstr(text, "capacities of 6 links are assumed"));
    assert_int_equal(weft_topology_count(flat, WEFT_NODE_GPU), 8);
    assert_int_equal(weft_topology_find_node(flat, "host0/core0"), -1);
    const char *const pairs[][2] = {
        {"host0/gpu0", "host0/gpu3"}, {"host0/gpu0", "host1/gpu2"}, {"host1/gpu3", "host0/gpu1"}};
    for (size_t i = 0; i < 3; i++) {
        struct weft_route before, after;
        assert_int_equal(weft_topology_route(t, weft_topology_find_node(t, pairs[i][0]),
                                             weft_topology_find_node(t, pairs[i][1]), &before,
                                             NULL),
                         WEFT_OK);
        assert_int_equal(weft_topology_route(flat, weft_topology_find_node(flat, pairs[i][0]),
                                             weft_topology_find_node(flat, pairs[i][1]), &after,
                                             NULL),
                         WEFT_OK);
        assert_true(before.bandwidth == after.bandwidth);
    }
    free(text);
    weft_topology_destroy(&t);
    weft_topology_destroy(&flat);
}

static void test_not_written(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    assert_int_equal(weft_topology_from_synthetic("host:2 core:4 nic:1", &t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_export(weft_exporter_find("edges"), t, stream, &error),
                     WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "no GPU"));
    weft_topology_destroy(&t);
    t = imported(&weft_importer_edges, "node a gpu\nnode b gpu\nlink a b 1");
    t->links[0].bandwidth.nominal.value = INT64_MAX;
    assert_int_equal(weft_topology_export(weft_exporter_find("edges"), t, stream, &error),
                     WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "10^9"));
    fclose(stream);
    free(text);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bad),         cmocka_unit_test(test_matches),
        cmocka_unit_test(test_flatten),     cmocka_unit_test(test_graph_without_host),
        cmocka_unit_test(test_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
