/*
 * SPDX-License-Identifier: Apache-2.0
 * Fabrics whose GPUs are joined by links from one to the other: rings, tori, meshes, XGMI. Ways
 * pass other GPUs where they have to and only there, and every candidate can be evaluated.
 */
#include "tests/planner/fabrics.h"

#include <stdio.h>

#include "collectives/planner/bound.h"
#include "collectives/planner/choice.h"
#include "collectives/planner/evaluate.h"
#include "collectives/planner/traffic.h"
#include "collectives/planner/ways.h"
#include "topology/network.h"
#include "topology/route.h"

/* ---- edge lists ---- */

enum { TEXT_BYTES = 1 << 14 };

static int add_nodes(char *text, int num_gpus)
{
    int used = 0;
    for (int i = 0; i < num_gpus; i++)
        used += snprintf(text + used, (size_t)(TEXT_BYTES - used), "node gpu%d gpu\n", i);
    return used;
}

static int add_link(char *text, int used, int a, int b)
{
    return snprintf(text + used, (size_t)(TEXT_BYTES - used), "link gpu%d gpu%d 50 both\n", a, b);
}

static struct weft_topology *ring(int num_gpus)
{
    char text[TEXT_BYTES];
    int used = add_nodes(text, num_gpus);
    for (int i = 0; i < num_gpus; i++)
        used += add_link(text, used, i, (i + 1) % num_gpus);
    return fabric(text);
}

static struct weft_topology *torus(int width)
{
    char text[TEXT_BYTES];
    int used = add_nodes(text, width * width);
    for (int y = 0; y < width; y++)
        for (int x = 0; x < width; x++) {
            used += add_link(text, used, y * width + x, y * width + (x + 1) % width);
            used += add_link(text, used, y * width + x, (y + 1) % width * width + x);
        }
    return fabric(text);
}

static struct weft_topology *mesh(int num_gpus)
{
    char text[TEXT_BYTES];
    int used = add_nodes(text, num_gpus);
    for (int a = 0; a < num_gpus; a++)
        for (int b = a + 1; b < num_gpus; b++)
            used += add_link(text, used, a, b);
    return fabric(text);
}

/* ---- ways ---- */

// The vertices of the way from rank to rank, in order; returns how many arcs it has.
static int way_between(const struct weft_layout *layout, int from, int to, int *vertices)
{
    const struct weft_fold all = {.block = layout->num_ranks, .num_blocks = 1};
    struct weft_ways *ways = NULL;
    struct weft_error error = {0};
    struct weft_way way;
    int arcs[WEFT_ROUTE_LIMIT];
    assert_int_equal(weft_ways_create(layout, all, &ways, &error), WEFT_OK);
    if (weft_ways_route(ways, from, to, arcs, &way, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    for (int i = 0; i < way.num_arcs; i++) {
        const struct weft_arc *arc = &layout->network->arcs[arcs[way.num_arcs - 1 - i]];
        vertices[i] = arc->from;
        vertices[i + 1] = arc->to;
    }
    weft_ways_destroy(&ways);
    return way.num_arcs;
}

static int gpus_between(const struct weft_layout *layout, int from, int to)
{
    int vertices[WEFT_ROUTE_LIMIT + 1], count = 0;
    int num_arcs = way_between(layout, from, to, vertices);
    for (int i = 1; i < num_arcs; i++)
        count += vertices[i] < layout->num_ranks;
    return count;
}

static void test_ways_around_a_ring(void **state)
{
    (void)state;
    struct weft_topology *topology = ring(8);
    struct weft_layout *layout = fabric_layout(topology, 8);
    const int wanted[] = {1, 2, 3, 4, 3, 2, 1};
    int vertices[WEFT_ROUTE_LIMIT + 1];
    for (int to = 1; to < 8; to++) {
        assert_int_equal(way_between(layout, 0, to, vertices), wanted[to - 1]);
        assert_int_equal(gpus_between(layout, 0, to), wanted[to - 1] - 1);
    }
    assert_int_equal(way_between(layout, 0, 3, vertices), 3);
    for (int i = 0; i < 4; i++)
        assert_int_equal(vertices[i], i);
    // the slowest pair is four links apart, and one link wide: two ways around would be wider
    int64_t hop = weft_link_kinds[WEFT_LINK_NETWORK].assumed_latency_ps;
    assert_int_equal(layout->costs.num_levels, 1);
    assert_int_equal(layout->costs.levels[0].latency_ps, 4 * hop);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

// A switch is passed, not a rank, even where the way through ranks is wider.
static void test_ways_through_a_switch_go_before(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    int used = add_nodes(text, 4), vertices[WEFT_ROUTE_LIMIT + 1];
    for (int i = 0; i < 4; i++)
        used += add_link(text, used, i, (i + 1) % 4);
    snprintf(text + used, (size_t)(TEXT_BYTES - used),
             "node net switch\nlink gpu0 net 1 both\nlink gpu1 net 1 both\nlink gpu2 net 1 both\n");
    struct weft_topology *topology = fabric(text);
    struct weft_layout *layout = fabric_layout(topology, 4);
    assert_int_equal(way_between(layout, 0, 1, vertices), 1);
    assert_int_equal(way_between(layout, 0, 2, vertices), 2);
    assert_true(vertices[1] >= 4);
    assert_int_equal(way_between(layout, 1, 3, vertices), 2); // 3 is not at the switch
    assert_true(vertices[1] < 4);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

// GPUs that XGMI joins keep to it, though PCIe, or NICs, would lead past the others.
static void test_ways_along_xgmi(void **state)
{
    (void)state;
    static const char *const sources[] = {"mi250:1", "mi250:2"};
    for (int boxes = 1; boxes <= 2; boxes++) {
        struct weft_topology *topology = fabric(sources[boxes - 1]);
        struct weft_layout *layout = fabric_layout(topology, 16 * boxes);
        int vertices[WEFT_ROUTE_LIMIT + 1];
        for (int to = 1; to < 16; to++) {
            int num_arcs = way_between(layout, 0, to, vertices);
            assert_int_equal(gpus_between(layout, 0, to), num_arcs - 1);
        }
        if (boxes == 2) {
            way_between(layout, 0, 19, vertices);
            assert_int_equal(gpus_between(layout, 0, 19), 0);
        }
        assert_true(layout->costs.levels[0].latency_ps < 1400000); // that of PCIe across sockets
        weft_layout_destroy(&layout);
        weft_topology_destroy(&topology);
    }
    // two ranks that no links between ranks join
    struct weft_topology *topology = fabric("mi250:1");
    struct weft_layout *layout = NULL;
    struct weft_layout_origin origin;
    const int nodes[] = {weft_topology_find_node(topology, "host0/gpu0"),
                         weft_topology_find_node(topology, "host0/gpu3")};
    assert_int_equal(weft_layout_from_nodes(topology, nodes, 2, &layout, &origin, NULL), WEFT_OK);
    assert_int_equal(gpus_between(layout, 0, 1), 0);
    assert_true(layout->costs.levels[0].latency_ps >= 1200000);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

/* ---- evaluation ---- */

// What the busiest link carries takes its time.
static void test_all_to_all_on_a_ring(void **state)
{
    (void)state;
    struct weft_topology *topology = ring(4);
    struct weft_layout *layout = fabric_layout(topology, 4);
    const struct weft_key key = fabric_key(WEFT_ALL_TO_ALL, 4, 28);
    const int64_t bytes = INT64_C(1) << 28;
    struct weft_evaluation evaluation;
    struct weft_error error = {0};
    if (weft_evaluate(weft_algorithm_find("flat"), &key, layout, bytes, WEFT_EVALUATE_ALL,
                      &evaluation, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    // blocks of a quarter over links of 50 GB/s: a neighbour's, and two that go two links; with
    // ways that are not spread, a link carries three at most and two at least
    int64_t block_ps = bytes / 4 * 20;
    assert_in_range(evaluation.time_ps, 2 * block_ps, 3 * block_ps + block_ps / 10);
    weft_evaluation_free(&evaluation);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

static void evaluate_all(const struct weft_layout *layout, weft_collective collective, int class)
{
    const struct weft_key key = fabric_key(collective, layout->num_ranks, class);
    struct weft_choice choice;
    struct weft_error error = {0};
    struct weft_bound bound;
    int64_t bytes = INT64_C(1) << class, best = INT64_MAX;
    if (weft_choice_make(&key, layout, &choice, &error) != WEFT_OK ||
        weft_bound_find(layout, &key, &bound, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    int64_t chosen = 0;
    for (int i = 0; i < choice.num_usable; i++) {
        struct weft_evaluation evaluation;
        if (weft_evaluate(choice.candidates[i].algorithm, &key, layout, bytes,
                          WEFT_EVALUATE_FOLDED_OR_ALL, &evaluation, &error) != WEFT_OK)
            fail_msg("%s: %s", choice.candidates[i].algorithm->name, error.text);
        best = evaluation.time_ps < best ? evaluation.time_ps : best;
        chosen = i == 0 ? evaluation.time_ps : chosen;
        weft_evaluation_free(&evaluation);
    }
    if (!bound.reason && best < weft_bound_time(&bound, bytes))
        fail_msg("faster than the bound");
    if (chosen > best + best / 4)
        fail_msg("%s of 2^%d bytes on %d: the choice, %s, takes %lld us, the best %lld us",
                 weft_collective_names[collective], class, layout->num_ranks,
                 choice.candidates[0].algorithm->name, (long long)(chosen / 1000000),
                 (long long)(best / 1000000));
}

static void test_all_candidates(void **state)
{
    (void)state;
    static const weft_collective collectives[] = {
        WEFT_ALL_REDUCE, WEFT_ALL_GATHER, WEFT_REDUCE_SCATTER, WEFT_BROADCAST, WEFT_ALL_TO_ALL};
    struct weft_topology *topologies[] = {ring(8), torus(4), mesh(8), fabric("mi250:1")};
    for (size_t i = 0; i < sizeof topologies / sizeof *topologies; i++) {
        struct weft_layout *layout =
            fabric_layout(topologies[i], weft_topology_count(topologies[i], WEFT_NODE_GPU));
        for (size_t c = 0; c < sizeof collectives / sizeof *collectives; c++)
            for (int class = 10; class <= 22; class += 12)
                evaluate_all(layout, collectives[c], class);
        weft_layout_destroy(&layout);
        weft_topology_destroy(&topologies[i]);
    }
}

// A block that goes two links on counts on both of them.
static void test_traffic_through_gpus(void **state)
{
    (void)state;
    enum { BYTES = 1 << 10 };
    struct weft_topology *topology = ring(4);
    struct weft_layout *layout = fabric_layout(topology, 4);
    struct weft_traffic *traffic = weft_traffic_create(topology);
    const struct weft_key key = fabric_key(WEFT_ALL_TO_ALL, 4, 10);
    struct weft_program *program = NULL;
    struct weft_error error = {0};
    int nodes[4];
    int64_t sum = 0;
    assert_non_null(traffic);
    assert_int_equal(weft_topology_place(topology, 4, nodes, NULL), WEFT_OK);
    if (weft_algorithm_find("flat")->emit(&key, layout, 0, WEFT_OUT_OF_PLACE, &program, &error) !=
            WEFT_OK ||
        weft_traffic_add(traffic, program, nodes, BYTES, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    for (int i = 0; i < topology->num_links; i++)
        sum += weft_traffic_bytes(traffic)[i];
    assert_int_equal(sum, BYTES / 4 * (1 + 2 + 1));
    weft_program_destroy(&program);
    weft_traffic_destroy(&traffic);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways_around_a_ring),
        cmocka_unit_test(test_ways_through_a_switch_go_before),
        cmocka_unit_test(test_ways_along_xgmi),
        cmocka_unit_test(test_all_to_all_on_a_ring),
        cmocka_unit_test(test_all_candidates),
        cmocka_unit_test(test_traffic_through_gpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
