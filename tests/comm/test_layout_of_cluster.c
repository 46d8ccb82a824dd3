/*
 * SPDX-License-Identifier: Apache-2.0
 * Ranks that met, on a graph of several hosts: who is put where, by identity or by name; what the
 * levels cost; and which graphs are not those of the ranks.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "collectives/comm/internal.h"
#include "collectives/comm/layout_of_cluster.h"
#include "collectives/planner/choice.h"
#include "collectives/planner/costs.h"
#include "topology/load.h"
#include "topology/network.h"

enum { HOSTS = 4, LIMIT = 16 };

static const char *const names[HOSTS] = {"host0", "host1", "host2", "host3"};

/* Four hosts with so many cores each at 1 Gbit/s, the last one at a quarter of that if it is slow.
 */
static struct weft_topology *make_graph(const char *description, bool is_slow, bool has_identities)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    if (weft_topology_load(description, &t, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    for (int h = 0; h < HOSTS && has_identities; h++) {
        char identity[24];
        snprintf(identity, sizeof identity, "%016x", 0xa0 + h);
        int node = weft_topology_find_node(t, names[h]);
        assert_int_equal(
            weft_topology_set_text(t, node, "process.host_id", identity, WEFT_SOURCE_SYSFS, NULL),
            WEFT_OK);
    }
    for (int i = 0; i < t->num_links; i++) {
        struct weft_link *link = &t->links[i];
        if (link->kind != WEFT_LINK_NETWORK)
            continue;
        bool is_of_last = weft_topology_ancestor(t, link->from, WEFT_NODE_HOST) ==
                              weft_topology_find_node(t, "host3") ||
                          weft_topology_ancestor(t, link->to, WEFT_NODE_HOST) ==
                              weft_topology_find_node(t, "host3");
        int64_t rate = is_slow && is_of_last ? 30000000 : 120000000;
        link->bandwidth.measured = (struct weft_quantity){rate, WEFT_SOURCE_MEASURED};
        link->latency.measured = (struct weft_quantity){5000000, WEFT_SOURCE_MEASURED};
    }
    return t;
}

/* Rank r on host host[r], which calls itself so. */
static void place(struct weft_rank_place *ranks, int num_ranks, const int *host,
                  const char *const *called)
{
    for (int r = 0; r < num_ranks; r++)
        ranks[r] = (struct weft_rank_place){0xa0 + (uint64_t)host[r], called[host[r]]};
}

static weft_status draw(const struct weft_topology *t, const struct weft_rank_place *ranks,
                        int num_ranks, struct weft_layout **layout, struct weft_error *error)
{
    struct weft_costs costs = weft_costs_assumed(num_ranks, 2);
    // of one machine that would hold them all, in slots and on cores that they share
    assert_true(costs.flat_ps >= 0 && (num_ranks < 3 || costs.sharing > 1));
    weft_level_use_route(&costs.levels[0], 1234000, INT64_C(7000000000));
    return weft_layout_of_cluster(t, ranks, num_ranks, &costs, layout, error);
}

static struct weft_layout *drawn(const struct weft_topology *t, int num_ranks, const int *host,
                                 const char *const *called)
{
    struct weft_rank_place ranks[LIMIT];
    struct weft_layout *layout = NULL;
    struct weft_error error = {0};
    place(ranks, num_ranks, host, called);
    if (draw(t, ranks, num_ranks, &layout, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return layout;
}

static void expect_rate(const struct weft_level_costs *level, int64_t rate)
{
    int64_t expected = (INT64_C(1) << 20) * 1000000 / (rate / 1000000);
    assert_true(level->message.lines[0].ps_per_mib / 1000 == expected / 1000);
}

static void test_levels_and_network(void **state)
{
    (void)state;
    static const int block[] = {0, 0, 1, 1, 2, 2, 3, 3}, cyclic[] = {2, 3, 0, 1, 2, 3, 0, 1};
    struct weft_topology *t = make_graph("host:4 core:2 nic:1@1", false, true);
    for (int turn = 0; turn < 2; turn++) {
        const int *host = turn ? cyclic : block;
        struct weft_layout *layout = drawn(t, 8, host, names);
        assert_int_equal(layout->costs.num_levels, 2);
        for (int a = 0; a < 8; a++)
            for (int b = 0; b < 8; b++)
                assert_int_equal(weft_layout_level(layout, a, b), host[a] != host[b]);
        assert_int_equal(layout->costs.flat_ps, -1);
        assert_int_equal(layout->costs.sharing, 1);
        // within a host what this machine costs, between them what was measured
        expect_rate(&layout->costs.levels[0], 7000000000);
        assert_true(layout->costs.levels[0].message.lines[0].fixed_ps == 1234000);
        expect_rate(&layout->costs.levels[1], 120000000);
        assert_true(layout->costs.levels[1].crowd_ps_per_mib ==
                    2 * layout->costs.levels[1].message.lines[0].ps_per_mib);
        assert_non_null(layout->network);
        assert_int_equal(layout->network->num_terminals, 8);
        weft_layout_destroy(&layout);
    }
    weft_topology_destroy(&t);
}

// The plan that knows of it has trees in which the slow host is a leaf.
static void test_slow_host(void **state)
{
    (void)state;
    static const int host[] = {0, 1, 2, 3};
    const struct weft_key key = {
        .collective = WEFT_ALL_REDUCE, .num_ranks = 4, .size_class = 23, .element_bytes = 4};
    for (int is_slow = 0; is_slow < 2; is_slow++) {
        struct weft_topology *t = make_graph("host:4 core:2 nic:1@1", is_slow, true);
        struct weft_layout *layout = drawn(t, 4, host, names);
        struct weft_choice choice;
        struct weft_error error = {0};
        if (weft_choice_make(&key, layout, &choice, &error) != WEFT_OK)
            fail_msg("%s", error.text);
        const char *pick = choice.candidates[0].algorithm->name;
        assert_int_equal(strcmp(pick, "forest") == 0, is_slow);
        if (is_slow && choice.candidates[0].estimate_ps > INT64_C(300000000000))
            fail_msg("%s takes %" PRId64 " ps", pick, choice.candidates[0].estimate_ps);
        weft_layout_destroy(&layout);
        weft_topology_destroy(&t);
    }
}

static void test_recognised(void **state)
{
    (void)state;
    static const int host[] = {3, 1, 0, 2};
    static const char *const full[] = {"host0.cluster", "host1.cluster", "host2", "host3.a.b"};
    static const char *const others[] = {"a", "b", "c", "d"};
    // by name where identities are of another boot, or were never there
    struct weft_topology *t = make_graph("host:4 core:2 nic:1@1", true, false);
    struct weft_layout *layout = drawn(t, 4, host, full);
    assert_non_null(layout->network);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&t);
    // by name, too, where the identities are now those of others
    t = make_graph("host:4 core:2 nic:1@1", true, true);
    struct weft_rank_place ranks[2] = {{0xa0, "host3"}, {0xa3, "host1"}};
    struct weft_error error = {0};
    assert_int_equal(draw(t, ranks, 2, &layout, &error), WEFT_OK);
    expect_rate(&layout->costs.levels[1], 30000000);
    weft_layout_destroy(&layout);
    ranks[0].host_name = "host2";
    assert_int_equal(draw(t, ranks, 2, &layout, &error), WEFT_OK);
    expect_rate(&layout->costs.levels[1], 120000000);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&t);
    // by identity, whatever they are called now
    t = make_graph("host:4 core:2 nic:1@1", true, true);
    layout = drawn(t, 4, host, others);
    assert_non_null(layout->network);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&t);
}

static void test_crowded(void **state)
{
    (void)state;
    static const int host[] = {0, 0, 0, 1, 1, 2, 3}; // three ranks on two cores
    struct weft_topology *t = make_graph("host:4 core:2 nic:1@1", false, true);
    struct weft_layout *layout = drawn(t, 7, host, names);
    for (int r = 0; r + 1 < 7; r++)
        assert_int_equal(weft_layout_level(layout, r, r + 1), host[r] != host[r + 1]);
    assert_true(layout->costs.levels[1].crowd_ps_per_mib ==
                3 * layout->costs.levels[1].message.lines[0].ps_per_mib);
    assert_int_equal(layout->costs.sharing, 2);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&t);
}

static void expect_not_found(const struct weft_topology *t, int num_ranks, const int *host,
                             const char *const *called, const char *why)
{
    struct weft_rank_place ranks[LIMIT];
    struct weft_layout *layout = NULL;
    struct weft_error error = {0};
    place(ranks, num_ranks, host, called);
    assert_int_equal(draw(t, ranks, num_ranks, &layout, &error), WEFT_NOT_FOUND);
    assert_null(layout);
    if (!strstr(error.text, why))
        fail_msg("'%s' is not in '%s'", why, error.text);
}

static void test_other_graphs(void **state)
{
    (void)state;
    static const int host[] = {0, 1, 2, 3}, two[] = {0, 1};
    static const char *const strange[] = {"host0", "elsewhere", "host2", "host3"};
    static const char *const twins[] = {"host0", "host0.cluster", "host2", "host3"};
    struct weft_topology *t = make_graph("host:4 core:2 nic:1@1", false, false);
    expect_not_found(t, 4, host, strange, "the host of rank 1, 'elsewhere'");
    expect_not_found(t, 4, host, twins, "ranks 0 and 1 are on two hosts");
    weft_topology_destroy(&t);
    // no way leads from one to the other
    t = make_graph("host:2 core:2", false, false);
    expect_not_found(t, 2, two, names, "no way");
    weft_topology_destroy(&t);
}

/* Nobody knows the network: what sockets take, shared by the ranks of a host; and nothing that only
 * ranks of one machine have. */
static void test_without_graph(void **state)
{
    (void)state;
    struct weft_process processes[8] = {{.machine_id = 0}};
    struct weft_context context = {.config.topology = "", .num_cores = 2, .sharing_device = 0};
    struct weft_world world = {.context = &context, .num_ranks = 8, .processes = processes};
    struct weft_error error = {0};
    char *graph = NULL;
    size_t graph_bytes = 0;
    for (int num_hosts = 1; num_hosts <= 4; num_hosts *= 4) {
        struct weft_layout *layout = NULL;
        for (int r = 0; r < 8; r++)
            processes[r] =
                (struct weft_process){.host_id = (uint64_t)(r % num_hosts), .num_cores = 2};
        assert_int_equal(
            weft_costs_of_machine(&context, 8, &processes[0].costs, &graph, &graph_bytes, &error),
            WEFT_OK);
        assert_null(graph);
        processes[0].costs.sharing = num_hosts > 1 ? 1 : 4; // of those of one host
        assert_int_equal(weft_layout_of_world(&world, &layout, &error), WEFT_OK);
        const struct weft_costs *costs = &layout->costs;
        assert_int_equal(costs->num_levels, num_hosts > 1 ? 2 : 1);
        assert_int_equal(costs->flat_ps<0, num_hosts> 1);
        assert_int_equal(costs->sharing, 4); // hosts of one machine: its cores are theirs
        if (num_hosts > 1) {
            const struct weft_line *line = &costs->levels[1].message.lines[0];
            assert_true(line->fixed_ps > 10000000);
            assert_true(line->ps_per_mib > 100 * INT64_C(1000000)); // a MiB in 0.1 ms: 10 GB/s
            assert_true(costs->levels[1].crowd_ps_per_mib == 2 * line->ps_per_mib);
            assert_true(costs->levels[1].leaves_host && !costs->levels[0].leaves_host);
            assert_true(costs->levels[1].busy_ps == 4 * 10000000 / 8 * 9); // 8 ranks on 2 cores
        }
        weft_layout_destroy(&layout);
    }
}

/* Ranks of a host of one core do not meet on the network. */
static void test_one_core(void **state)
{
    (void)state;
    struct weft_context context = {.num_cores = 1, .sharing_device = 0};
    const char *const topologies[] = {"host:2 core:1 nic:1@1", "host:2 core:2 nic:1@1"};
    struct weft_error error = {0};
    for (int i = 0; i < 2; i++) {
        struct weft_costs costs;
        char *graph = NULL;
        size_t graph_bytes = 0;
        context.config.topology = topologies[i];
        assert_int_equal(
            weft_costs_of_machine(&context, 2 + 2 * i, &costs, &graph, &graph_bytes, &error),
            WEFT_OK);
        free(graph);
        const struct weft_line *inside = &costs.levels[0].message.lines[0],
                               *between = &costs.levels[1].message.lines[0];
        assert_int_equal(costs.num_levels, 2);
        assert_true(!costs.levels[0].leaves_host && costs.levels[1].leaves_host);
        assert_true(inside->fixed_ps < between->fixed_ps);
        assert_true(between->ps_per_mib > 8 * INT64_C(1000000000)); // 1 Gbit/s
        assert_true(inside->ps_per_mib < between->ps_per_mib / 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels_and_network), cmocka_unit_test(test_slow_host),
        cmocka_unit_test(test_recognised),         cmocka_unit_test(test_crowded),
        cmocka_unit_test(test_other_graphs),       cmocka_unit_test(test_without_graph),
        cmocka_unit_test(test_one_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
