/*
 * SPDX-License-Identifier: Apache-2.0
 * Layouts of topologies: the levels of known clusters, selections of ranks in any order, and where
 * prices come from.
 */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collectives/planner/layout_topology.h"
#include "topology/load.h"
#include "topology/network.h"
#include "topology/route.h"

#ifndef WEFT_SHARED_DATA // the build says where it is
#define WEFT_SHARED_DATA "../shared"
#endif

static struct weft_topology *load(const char *source)
{
    struct weft_error error = {0};
    struct weft_topology *topology = NULL;
    if (weft_topology_load(source, &topology, &error) != WEFT_OK)
        fail_msg("%s: %s", source, error.text);
    return topology;
}

static struct weft_layout *layout_of(const struct weft_topology *topology, const int *places,
                                     int num_ranks, struct weft_layout_origin *origin)
{
    struct weft_error error = {0};
    struct weft_layout *layout = NULL;
    int all[2048], nodes[2048];
    assert_int_equal(weft_topology_place(topology, 2048, all, &error), WEFT_OK);
    for (int r = 0; r < num_ranks; r++)
        nodes[r] = all[places ? places[r] : r];
    if (weft_layout_from_nodes(topology, nodes, num_ranks, &layout, origin, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return layout;
}

// Of the widest protocol.
static int64_t slope(const struct weft_layout *layout, int level)
{
    const struct weft_curve *message = &layout->costs.levels[level].message;
    return message->lines[message->num_lines - 1].ps_per_mib;
}

struct expected {
    const char *source;
    int num_ranks, num_levels;
    const char *groups[4];
    int largest[4];
    int64_t alone[4], crowd[4]; // GB/s
};

static void test_levels_of_presets(void **state)
{
    (void)state;
    static const struct expected presets[] = {
        {"dgx-a100", 8, 1, {"GPU islands"}, {8}, {300}, {300}},
        {"dgx-h100:4", 32, 2, {"GPU islands", "clusters"}, {8, 32}, {450, 50}, {450, 50}},
        {"dgx-b200:2", 16, 2, {"GPU islands", "clusters"}, {8, 16}, {900, 50}, {900, 50}},
        {"p5:4", 32, 2, {"GPU islands", "clusters"}, {8, 32}, {450, 50}, {450, 50}},
        // a rack is one island; a GPU alone has both NICs of its processor, two GPUs share them
        {"gb200-nvl72:4", 288, 2, {"GPU islands", "clusters"}, {72, 288}, {900, 100}, {900, 50}},
        {"superpod-h100:64",
         512,
         3,
         {"GPU islands", "leaf groups", "clusters"},
         {8, 256, 512},
         {450, 50, 50},
         {450, 50, 50}},
        {"superpod-b200:16", 128, 2, {"GPU islands", "clusters"}, {8, 128}, {900, 50}, {900, 50}},
        // 16 dies share 8 NICs; in a box the slowest pair is joined by single XGMI links
        {"mi250:2", 32, 2, {"GPU islands", "clusters"}, {16, 32}, {50, 15}, {47, 12}},
        {"host:1 core:8@10", 8, 1, {"hosts"}, {8}, {5}, {5}},
        {"host:4 nvswitch:1@200 gpu:8@200 nic:2@100",
         32,
         2,
         {"GPU islands", "clusters"},
         {8, 32},
         {200, 25},
         {200, 3}},
    };
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        const struct expected *preset = &presets[i];
        struct weft_topology *topology = load(preset->source);
        struct weft_layout_origin origin;
        struct weft_layout *layout = layout_of(topology, NULL, preset->num_ranks, &origin);
        if (layout->costs.num_levels != preset->num_levels)
            fail_msg("%s: %d levels", preset->source, layout->costs.num_levels);
        for (int l = 0; l < preset->num_levels; l++) {
            int64_t crowd = layout->costs.levels[l].crowd_ps_per_mib;
            assert_string_equal(origin.levels[l].groups, preset->groups[l]);
            assert_int_equal(layout->levels[l].largest, preset->largest[l]);
            int64_t alone_gb = weft_curve_bandwidth(slope(layout, l)) / 999000000;
            int64_t crowd_gb = weft_curve_bandwidth(crowd) / 999000000;
            if (alone_gb != preset->alone[l] || crowd_gb != preset->crowd[l])
                fail_msg("%s: level %d: %lld GB/s, in a crowd %lld", preset->source, l,
                         (long long)alone_gb, (long long)crowd_gb);
        }
        weft_layout_destroy(&layout);
        weft_topology_destroy(&topology);
    }
}

// GPUs of both sockets without direct links: the way between the sockets is a level.
static void test_levels_of_a_pcie_box(void **state)
{
    (void)state;
    struct weft_topology *topology = load("host:1 numa:2@20 gpu:8@16");
    struct weft_layout_origin origin;
    struct weft_layout *layout = layout_of(topology, NULL, 8, &origin);
    assert_int_equal(layout->costs.num_levels, 2);
    assert_string_equal(origin.levels[0].groups, "NUMA domains");
    assert_int_equal(layout->levels[0].largest, 4);
    assert_true(layout->costs.levels[1].crowd_ps_per_mib >
                3 * layout->costs.levels[0].crowd_ps_per_mib); // four share the socket's link
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

static void test_selections(void **state)
{
    (void)state;
    struct weft_topology *topology = load("dgx-h100:4");
    struct weft_layout_origin origin;
    // two of one host, far apart in rank, and others in between
    const int places[] = {9, 0, 25, 1, 17, 8};
    struct weft_layout *layout = layout_of(topology, places, 6, &origin);
    assert_int_equal(origin.num_hosts, 4);
    assert_int_equal(origin.num_places, 6);
    assert_int_equal(layout->costs.num_levels, 2);
    assert_false(layout->is_in_order);
    assert_int_equal(weft_layout_level(layout, 0, 5), 0); // places 9 and 8
    assert_int_equal(weft_layout_level(layout, 1, 3), 0);
    assert_int_equal(weft_layout_level(layout, 0, 1), 1);
    weft_layout_destroy(&layout);
    // one rank per host: hosts join nobody
    const int spread[] = {24, 16, 8, 0};
    layout = layout_of(topology, spread, 4, &origin);
    assert_int_equal(layout->costs.num_levels, 1);
    assert_string_equal(origin.levels[0].groups, "clusters");
    assert_int_equal(weft_curve_bandwidth(slope(layout, 0)) / 999000000, 50);
    weft_layout_destroy(&layout);
    // one rank
    layout = layout_of(topology, spread, 1, &origin);
    assert_int_equal(layout->costs.num_levels, 1);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

static void test_bad_nodes_are_refused(void **state)
{
    (void)state;
    struct weft_topology *topology = load("dgx-h100:1");
    struct weft_layout_origin origin;
    struct weft_layout *layout = NULL;
    struct weft_error error = {0};
    int nodes[] = {weft_topology_find_node(topology, "host0/gpu0"),
                   weft_topology_find_node(topology, "network")};
    assert_int_equal(weft_layout_from_nodes(topology, nodes, 2, &layout, &origin, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "network"));
    nodes[1] = topology->num_nodes;
    assert_int_equal(weft_layout_from_nodes(topology, nodes, 2, &layout, &origin, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_layout_from_nodes(topology, nodes, 0, &layout, &origin, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_null(layout);
    weft_topology_destroy(&topology);
}

static void test_groups_must_nest(void **state)
{
    (void)state;
    struct weft_layout *layout = NULL, *assumed = NULL;
    struct weft_error error = {0};
    assert_int_equal(weft_layout_assumed(8, 2, 2, &assumed, &error), WEFT_OK);
    const int inner[] = {0, 0, 1, 1, 2, 2, 3, 3}, outer[] = {0, 0, 0, 1, 1, 1, 1, 1};
    const int *const names[] = {inner, outer};
    assert_int_equal(assumed->costs.num_levels, 3);
    assert_int_equal(weft_layout_create(8, &assumed->costs, names, &layout, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "share a group"));
    assert_null(layout);
    weft_layout_destroy(&assumed);
}

// What was measured on a link goes before what a datasheet says, and the origin tells.
static void test_measured_figures_win(void **state)
{
    (void)state;
    struct weft_topology *topology = load("dgx-h100:2");
    struct weft_layout_origin before, after;
    struct weft_layout *nominal = layout_of(topology, NULL, 16, &before);
    int num_measured = 0;
    for (int i = 0; i < topology->num_links; i++) {
        struct weft_link *link = &topology->links[i];
        if (link->kind != WEFT_LINK_NETWORK)
            continue;
        link->bandwidth.measured = (struct weft_quantity){40000000000, WEFT_SOURCE_MEASURED};
        link->latency.measured = (struct weft_quantity){2500000, WEFT_SOURCE_MEASURED};
        num_measured++;
    }
    assert_int_equal(num_measured, 16);
    struct weft_layout *measured = layout_of(topology, NULL, 16, &after);
    assert_int_equal(before.levels[1].bandwidth, WEFT_SOURCE_FILE);
    assert_int_equal(before.levels[1].latency, WEFT_SOURCE_ASSUMED);
    assert_int_equal(after.levels[1].bandwidth, WEFT_SOURCE_MEASURED);
    assert_int_equal(after.levels[1].latency, WEFT_SOURCE_MEASURED);
    assert_int_equal(weft_curve_bandwidth(slope(measured, 1)) / 999000000, 40);
    // two links of 2.5 us each in place of 1 us each
    assert_int_equal(measured->costs.levels[1].message.lines[0].fixed_ps,
                     nominal->costs.levels[1].message.lines[0].fixed_ps + 3000000);
    assert_int_equal(slope(measured, 0), slope(nominal, 0));
    weft_layout_destroy(&nominal);
    weft_layout_destroy(&measured);
    weft_topology_destroy(&topology);
}

// Of many hosts one is slow: it sets the price of a crowd, wherever it stands.
static void test_the_slowest_host_sets_the_price(void **state)
{
    (void)state;
    struct weft_topology *topology = load("dgx-h100:60");
    struct weft_layout_origin origin;
    for (int i = 0; i < topology->num_links; i++) {
        struct weft_link *link = &topology->links[i];
        if (link->kind == WEFT_LINK_NETWORK &&
            strncmp(topology->nodes[link->from].name, "host37/", 7) == 0)
            link->bandwidth.nominal.value /= 4;
    }
    struct weft_layout *layout = layout_of(topology, NULL, 480, &origin);
    int64_t crowd = layout->costs.levels[1].crowd_ps_per_mib;
    assert_in_range(weft_curve_bandwidth(crowd) / 1000000, 12400, 12600);
    assert_non_null(strstr(origin.levels[1].route, "host37"));
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

// GPUs and NICs, without the processors where nobody needs them; nothing for very many ranks.
static void test_networks(void **state)
{
    (void)state;
    struct weft_topology *topology = load("dgx-h100:4");
    struct weft_layout_origin origin;
    const int places[] = {9, 0, 25, 1};
    struct weft_layout *layout = layout_of(topology, places, 4, &origin);
    assert_non_null(layout->network);
    assert_int_equal(layout->network->num_terminals, 4);
    for (int r = 0; r < 4; r++) {
        char name[32];
        snprintf(name, sizeof name, "host%d/gpu%d", places[r] / 8, places[r] % 8);
        assert_string_equal(topology->nodes[layout->network->node[r]].name, name);
    }
    weft_layout_destroy(&layout);
    layout = layout_of(topology, NULL, 32, &origin);
    for (int v = 0; v < layout->network->num_vertices; v++)
        assert_int_not_equal(topology->nodes[layout->network->node[v]].kind, WEFT_NODE_NUMA);
    for (int i = 0; i < layout->network->num_arcs; i++)
        assert_true(layout->network->arcs[i].capacity == INT64_C(450000000000) ||
                    layout->network->arcs[i].capacity == INT64_C(50000000000));
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
    topology = load("gb200-nvl72:2"); // NICs are on the processors
    layout = layout_of(topology, NULL, 144, &origin);
    assert_int_equal(weft_network_check(topology, layout->network, NULL), WEFT_OK);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
    topology = load("dgx-h100:300");
    assert_int_equal(weft_layout_from_topology(topology, 2400, &layout, &origin, NULL), WEFT_OK);
    assert_null(layout->network);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

static void test_same_input_same_layout(void **state)
{
    (void)state;
    struct weft_topology *topology = load("superpod-h100:40");
    struct weft_layout_origin origin;
    struct weft_layout *a = layout_of(topology, NULL, 320, &origin);
    struct weft_layout *b = layout_of(topology, NULL, 320, &origin);
    assert_memory_equal(&a->costs, &b->costs, sizeof a->costs);
    assert_int_equal(a->rings.num_rings, b->rings.num_rings);
    assert_memory_equal(a->rings.order, b->rings.order,
                        (size_t)a->rings.num_rings * 320 * sizeof *a->rings.order);
    assert_memory_equal(a->rings.hops, b->rings.hops,
                        (size_t)a->rings.num_rings * sizeof *a->rings.hops);
    weft_layout_destroy(&a);
    weft_layout_destroy(&b);
    weft_topology_destroy(&topology);
}

enum { MOST_FILES = 500 };
static char *files[MOST_FILES];
static int num_files;

static int note_file(const char *path, const struct stat *about, int type, struct FTW *where)
{
    (void)about;
    (void)where;
    if (type == FTW_F && num_files < MOST_FILES)
        files[num_files++] = strdup(path);
    return 0;
}

// Every real machine that holds ranks gets a layout, or the sentence says which ranks do not meet.
static void test_real_machines(void **state)
{
    (void)state;
    int num_laid = 0, num_apart = 0, num_empty = 0, num_gpus = 0;
    if (nftw(WEFT_SHARED_DATA "/topodata", note_file, 16, FTW_PHYS) != 0 || num_files == 0) {
        print_message("no real machine files in %s: skipped\n", WEFT_SHARED_DATA);
        skip();
    }
    for (int i = 0; i < num_files; i++) {
        struct weft_topology *topology = NULL;
        struct weft_layout_origin origin;
        struct weft_layout *layout = NULL;
        struct weft_error error = {0};
        if (weft_topology_load(files[i], &topology, &error) == WEFT_OK) {
            int n = weft_topology_count(topology, WEFT_NODE_GPU);
            weft_status status =
                weft_layout_from_topology(topology, n > 0 ? n : 8, &layout, &origin, &error);
            if (status == WEFT_OK) {
                num_laid++;
                num_gpus += origin.place_kind == WEFT_NODE_GPU;
            } else if (status != WEFT_NOT_FOUND) {
                fail_msg("%s: %s", files[i], error.text);
            } else {
                num_apart += strstr(error.text, "no way") != NULL;
                num_empty += strstr(error.text, "no GPU") != NULL;
                assert_true(strstr(error.text, "no way") || strstr(error.text, "no GPU"));
            }
        }
        weft_layout_destroy(&layout);
        weft_topology_destroy(&topology);
        free(files[i]);
    }
    print_message("%d files: %d layouts (%d of GPUs), %d with ranks that do not meet, %d without "
                  "places\n",
                  num_files, num_laid, num_gpus, num_apart, num_empty);
#ifndef WEFT_CORE_ONLY // which reads no XML
    assert_true(num_gpus >= 10);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels_of_presets),
        cmocka_unit_test(test_levels_of_a_pcie_box),
        cmocka_unit_test(test_selections),
        cmocka_unit_test(test_bad_nodes_are_refused),
        cmocka_unit_test(test_groups_must_nest),
        cmocka_unit_test(test_measured_figures_win),
        cmocka_unit_test(test_the_slowest_host_sets_the_price),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_same_input_same_layout),
        cmocka_unit_test(test_real_machines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
