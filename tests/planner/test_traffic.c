/*
 * SPDX-License-Identifier: Apache-2.0
 * Bytes on links: a ring counted by hand, and what leaves and enters ranks against what their
 * programs say.
 */
#include "tests/planner/fabrics.h"

#include "collectives/planner/choice.h"
#include "collectives/planner/facts.h"
#include "collectives/planner/traffic.h"

enum { BYTES = 1 << 20 };

static void add_program(struct weft_traffic *traffic, const struct weft_choice *choice,
                        const struct weft_algorithm *algorithm, int rank, const int *nodes,
                        struct weft_program_facts *facts)
{
    struct weft_plan *plan = NULL;
    struct weft_error error;
    const struct weft_plan_request request = {.key = choice->key,
                                              .rank = rank,
                                              .aliasing = WEFT_OUT_OF_PLACE,
                                              .layout = choice->layout,
                                              .algorithm = algorithm->name};
    if (weft_plan_make(&request, &plan, NULL, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    if (weft_traffic_add(traffic, weft_plan_program(plan), nodes, BYTES, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    *facts = weft_program_facts(plan, BYTES);
    weft_plan_destroy(&plan);
}

static const struct weft_algorithm *algorithm_of(const struct weft_choice *choice, const char *name)
{
    for (int i = 0; i < choice->num_usable; i++)
        if (strcmp(choice->candidates[i].algorithm->name, name) == 0)
            return choice->candidates[i].algorithm;
    fail_msg("no %s", name);
    return NULL;
}

// Of a ring over 0, 1, 2, 3 on these nodes.
static struct weft_traffic *ring_traffic(const struct weft_topology *topology, const char *places,
                                         weft_collective collective)
{
    struct weft_layout *layout = NULL;
    struct weft_choice choice;
    struct weft_program_facts facts;
    struct weft_key key = fabric_key(collective, 4, 20);
    int nodes[4];
    for (int r = 0; r < 4; r++)
        nodes[r] = weft_topology_find_node(topology, (char[]){places[r], 0});
    assert_int_equal(weft_layout_assumed(4, 1, 1, &layout, NULL), WEFT_OK);
    assert_int_equal(weft_choice_make(&key, layout, &choice, NULL), WEFT_OK);
    struct weft_traffic *traffic = weft_traffic_create(topology);
    assert_non_null(traffic);
    for (int r = 0; r < 4; r++)
        add_program(traffic, &choice, algorithm_of(&choice, "ring"), r, nodes, &facts);
    weft_layout_destroy(&layout);
    return traffic;
}

// The sum over the links between switches; all of them carry between `least` and `most` quarters.
static int64_t around(const struct weft_topology *topology, struct weft_traffic *traffic, int least,
                      int most)
{
    int64_t all = 0;
    for (int i = 0; i < topology->num_links; i++) {
        const struct weft_link *link = &topology->links[i];
        int64_t bytes = weft_traffic_bytes(traffic)[i];
        if (topology->nodes[link->from].kind == WEFT_NODE_GPU ||
            topology->nodes[link->to].kind == WEFT_NODE_GPU)
            continue;
        assert_in_range(bytes, BYTES / 4 * least, BYTES / 4 * most);
        all += bytes;
    }
    weft_traffic_destroy(&traffic);
    return all;
}

// Each rank passes on three quarters of the vector, and twice that to reduce it as well.
static void test_ring_on_a_ring(void **state)
{
    (void)state;
    struct weft_topology *topology = fabric(RING_OF_4);
    struct weft_traffic *traffic = ring_traffic(topology, "abcd", WEFT_ALL_GATHER);
    assert_int_equal(around(topology, traffic, 3, 3), 4 * BYTES / 4 * 3);
    traffic = ring_traffic(topology, "abcd", WEFT_ALL_REDUCE);
    assert_int_equal(around(topology, traffic, 6, 6), 4 * BYTES / 4 * 6);
    // a to c and b to d are two hops each, c to b and d to a one: six, some in both directions
    traffic = ring_traffic(topology, "acbd", WEFT_ALL_GATHER);
    assert_in_range(around(topology, traffic, 0, 6), 3 * BYTES / 4 * 3, 6 * BYTES / 4 * 3);
    weft_topology_destroy(&topology);
}

// A rank's only link carries what it sends one way and what it receives the other way.
static void test_conservation(void **state)
{
    (void)state;
    struct weft_topology *topology = fabric(SLOW_HOST);
    struct weft_layout *layout = fabric_layout(topology, 4);
    int nodes[4], checked = 0;
    for (int r = 0; r < 4; r++)
        nodes[r] = weft_topology_find_node(topology, (char[]){"abcd"[r], 0});
    static const weft_collective collectives[] = {WEFT_ALL_REDUCE, WEFT_ALL_GATHER, WEFT_BROADCAST,
                                                  WEFT_REDUCE_SCATTER, WEFT_ALL_TO_ALL};
    for (size_t c = 0; c < sizeof collectives / sizeof *collectives; c++) {
        struct weft_key key = fabric_key(collectives[c], 4, 20);
        struct weft_choice choice;
        assert_int_equal(weft_choice_make(&key, layout, &choice, NULL), WEFT_OK);
        for (int i = 0; i < choice.num_usable; i++) {
            struct weft_program_facts facts[4];
            struct weft_traffic *traffic = weft_traffic_create(topology);
            for (int r = 0; r < 4; r++)
                add_program(traffic, &choice, choice.candidates[i].algorithm, r, nodes, &facts[r]);
            for (int l = 0; l < topology->num_links; l++)
                for (int r = 0; r < 4; r++) {
                    const struct weft_link *link = &topology->links[l];
                    int64_t sent = facts[r].bytes_sent, received = facts[r].bytes_received;
                    if (link->from != nodes[r] && link->to != nodes[r])
                        continue;
                    assert_true(sent + received > 0);
                    assert_int_equal(weft_traffic_bytes(traffic)[l],
                                     sent > received ? sent : received);
                    checked++;
                }
            weft_traffic_destroy(&traffic);
        }
    }
    assert_true(checked >= 4 * 4 * 5);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring_on_a_ring),
        cmocka_unit_test(test_conservation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
