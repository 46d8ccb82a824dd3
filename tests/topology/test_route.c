/*
 * SPDX-License-Identifier: Apache-2.0
 * Routes against Floyd and Warshall on random graphs, the matrix against single routes, placement
 * and locality.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "topology/route.h"
#include "topology/synthetic.h"

enum { MAX_N = 24 };

static unsigned seed_of_random = 1;

static int random_below(int n)
{
    seed_of_random = seed_of_random * 1664525u + 1013904223u;
    return (int)((seed_of_random >> 8) % (unsigned)n);
}

/* Kinds that forward and kinds that do not; few different numbers, so that ties abound. */
static struct weft_topology *random_graph(int n, int num_links)
{
    static const int kinds[] = {WEFT_NODE_NUMA, WEFT_NODE_GPU, WEFT_NODE_SWITCH, WEFT_NODE_NIC};
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    for (int i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(weft_topology_add_node(t, kinds[random_below(4)], name, -1, NULL, NULL),
                         WEFT_OK);
    }
    for (int i = 0; i < num_links; i++) {
        int from = random_below(n), to = random_below(n);
        struct weft_link link = weft_link_make(random_below(WEFT_NUM_LINK_KINDS), from, to);
        if (from == to)
            continue;
        if (random_below(8))
            link.latency.nominal =
                (struct weft_quantity){random_below(4) * INT64_C(50000), WEFT_SOURCE_FILE};
        if (random_below(8))
            link.bandwidth.nominal = (struct weft_quantity){
                1 + random_below(5) * INT64_C(10000000000), WEFT_SOURCE_FILE};
        assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), WEFT_OK);
    }
    return t;
}

struct cost {
    int64_t latency, bandwidth; // latency -1: none
};

static bool is_better(struct cost a, struct cost b)
{
    if (b.latency < 0 || a.latency < 0)
        return a.latency >= 0;
    return a.latency != b.latency ? a.latency < b.latency : a.bandwidth > b.bandwidth;
}

/* The reference: all pairs over intermediate nodes that forward. */
static void floyd_warshall(const struct weft_topology *t, struct cost best[MAX_N][MAX_N])
{
    int n = t->num_nodes;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            best[i][j] = (struct cost){i == j ? 0 : -1, INT64_MAX};
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        struct cost cost = {weft_link_latency(link).value, weft_link_bandwidth(link).value};
        if (is_better(cost, best[link->from][link->to]))
            best[link->from][link->to] = best[link->to][link->from] = cost;
    }
    for (int k = 0; k < n; k++)
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                struct cost a = best[i][k], b = best[k][j];
                if (!weft_node_kinds[t->nodes[k].kind].forwards || a.latency < 0 || b.latency < 0)
                    continue;
                struct cost sum = {a.latency + b.latency,
                                   a.bandwidth < b.bandwidth ? a.bandwidth : b.bandwidth};
                if (is_better(sum, best[i][j]))
                    best[i][j] = sum;
            }
}

/* Follows the links of a route and recomputes everything it claims. */
static void check_links(const struct weft_topology *t, int from, int to,
                        const struct weft_route *route)
{
    int links[MAX_N], num_links = -1, at = from, assumed = 0;
    int64_t latency = 0, bandwidth = INT64_MAX;
    assert_int_equal(weft_topology_route_links(t, from, to, links, MAX_N, &num_links, NULL),
                     WEFT_OK);
    assert_int_equal(num_links, route->num_links);
    assert_int_equal(route->first_link, num_links ? links[0] : -1);
    assert_int_equal(route->last_link, num_links ? links[num_links - 1] : -1);
    int narrowest = -1;
    for (int i = 0; i < num_links; i++) {
        const struct weft_link *link = &t->links[links[i]];
        assert_true(at == link->from || at == link->to);
        at = at == link->from ? link->to : link->from;
        assert_true(i + 1 == num_links || weft_node_kinds[t->nodes[at].kind].forwards);
        struct weft_quantity l = weft_link_latency(link), b = weft_link_bandwidth(link);
        latency += l.value;
        assumed += l.source == WEFT_SOURCE_ASSUMED || b.source == WEFT_SOURCE_ASSUMED;
        if (b.value < bandwidth) {
            bandwidth = b.value;
            narrowest = links[i];
        }
    }
    assert_int_equal(at, to);
    assert_true(latency == route->latency_ps);
    assert_true(bandwidth == route->bandwidth);
    assert_int_equal(narrowest, route->narrowest_link);
    assert_int_equal(narrowest < 0 ? -1 : t->links[narrowest].kind, route->narrowest_kind);
    assert_int_equal(assumed, route->num_assumed);
}

static void test_against_floyd_warshall(void **state)
{
    (void)state;
    int with_way = 0, without = 0;
    for (int trial = 0; trial < 150; trial++) {
        int n = 2 + random_below(MAX_N - 2);
        struct weft_topology *t = random_graph(n, n + random_below(n * 2));
        struct cost best[MAX_N][MAX_N];
        floyd_warshall(t, best);
        int rank_node[MAX_N];
        for (int i = 0; i < n; i++)
            rank_node[i] = i;
        struct weft_route *matrix = calloc((size_t)(n * n), sizeof *matrix);
        assert_non_null(matrix);
        assert_int_equal(weft_topology_routes(t, n, rank_node, matrix, NULL), WEFT_OK);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                struct weft_route route = {.num_links = -7}, *entry = &matrix[i * n + j];
                struct weft_error error;
                weft_status status = weft_topology_route(t, i, j, &route, &error);
                if (best[i][j].latency < 0) {
                    assert_int_equal(status, WEFT_NOT_FOUND);
                    assert_int_equal(route.num_links, -7); // untouched
                    assert_true(entry->latency_ps == -1 && entry->num_links == -1);
                    without++;
                    continue;
                }
                assert_int_equal(status, WEFT_OK);
                assert_true(route.latency_ps == best[i][j].latency);
                assert_true(i == j || route.bandwidth == best[i][j].bandwidth);
                assert_memory_equal(&route, entry, sizeof route);
                check_links(t, i, j, &route);
                with_way++;
            }
        free(matrix);
        weft_topology_destroy(&t);
    }
    assert_true(with_way > 1000 && without > 100); // the trials had both
}

static void test_bad_arguments(void **state)
{
    (void)state;
    struct weft_topology *t = random_graph(3, 3);
    struct weft_route route;
    int rank_node[] = {0, 3}, count;
    assert_int_equal(weft_topology_route(t, -1, 0, &route, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_topology_route(t, 0, 3, &route, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_topology_route_links(t, 0, 3, NULL, 0, &count, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_topology_routes(t, 2, rank_node, &route, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_topology_place(t, 0, rank_node, NULL), WEFT_INVALID_ARGUMENT);
    weft_topology_destroy(&t);
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    assert_int_equal(weft_topology_place(t, 1, rank_node, NULL), WEFT_NOT_FOUND);
    weft_topology_destroy(&t);
}

static struct weft_topology *synthetic(const char *text)
{
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_from_synthetic(text, &t, NULL), WEFT_OK);
    return t;
}

static void test_placement(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *places[6]; // of ranks 0 to 5
    } cases[] = {
        {"host:2 numa:2 core:2 gpu:2 nic:1",
         {"host0/gpu0", "host0/gpu1", "host1/gpu0", "host1/gpu1", "host0/gpu0", "host0/gpu1"}},
        {"host:2 core:2",
         {"host0/core0", "host0/core1", "host1/core0", "host1/core1", "host0/core0",
          "host0/core1"}},
        {"host:1 numa:3",
         {"host0/numa0", "host0/numa1", "host0/numa2", "host0/numa0", "host0/numa1",
          "host0/numa2"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weft_topology *t = synthetic(cases[i].text);
        int node_of_rank[6];
        assert_int_equal(weft_topology_place(t, 6, node_of_rank, NULL), WEFT_OK);
        for (int rank = 0; rank < 6; rank++)
            assert_string_equal(t->nodes[node_of_rank[rank]].name, cases[i].places[rank]);
        weft_topology_destroy(&t);
    }
}

static void test_locality(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic("host:2 numa:2 core:4");
    const struct {
        const char *a, *b;
        enum weft_locality expected;
    } cases[] = {{"host0/core0", "host0/core0", WEFT_LOCALITY_SAME_NODE},
                 {"host0/core0", "host0/core1", WEFT_LOCALITY_SAME_NUMA},
                 {"host0/core1", "host0/core2", WEFT_LOCALITY_SAME_HOST},
                 {"host0/core0", "host1/core0", WEFT_LOCALITY_DIFFERENT_HOST}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(weft_topology_locality(t, weft_topology_find_node(t, cases[i].a),
                                                weft_topology_find_node(t, cases[i].b)),
                         cases[i].expected);
    weft_topology_destroy(&t);
}

/* NVLink within a host, the network between hosts; ranks that share a node cost nothing. */
static void test_cluster_routes(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic("host:2 nvswitch:1@450 gpu:2@63 nic:2@400");
    int node_of_rank[5];
    struct weft_route routes[25];
    assert_int_equal(weft_topology_place(t, 5, node_of_rank, NULL), WEFT_OK);
    assert_int_equal(weft_topology_routes(t, 5, node_of_rank, routes, NULL), WEFT_OK);
    assert_int_equal(routes[0 * 5 + 4].num_links, 0);
    assert_true(routes[0 * 5 + 4].bandwidth == INT64_MAX && routes[4].latency_ps == 0);
    const struct weft_route *near = &routes[0 * 5 + 1], *far = &routes[0 * 5 + 2];
    assert_int_equal(near->num_links, 2);
    assert_int_equal(near->narrowest_kind, WEFT_LINK_NVLINK); // not by PCIe, also two links
    assert_true(near->bandwidth == 450000000000);
    assert_int_equal(far->num_links, 6);
    assert_int_equal(far->narrowest_kind, WEFT_LINK_PCIE); // the NIC's slot is assumed slowest
    assert_true(far->latency_ps == 2 * (2 * 300000 + 1000000));
    for (int i = 0; i < 5; i++) // rank 4 shares rank 0's node: the same row
        assert_memory_equal(&routes[i], &routes[20 + i], sizeof routes[0]);
    weft_topology_destroy(&t);
}

// A GPU passes nothing on, but where programs do so.
static void test_ways_through_gpus(void **state)
{
    (void)state;
    struct weft_topology *t = NULL;
    struct weft_router *router = NULL;
    bool passes[4] = {false, true, false, false};
    assert_int_equal(weft_topology_create(&t, NULL), WEFT_OK);
    for (int i = 0; i < 4; i++) {
        char name[8] = {'g', (char)('0' + i)};
        assert_int_equal(weft_topology_add_node(t, WEFT_NODE_GPU, name, -1, NULL, NULL), WEFT_OK);
    }
    for (int i = 0; i < 3; i++) {
        struct weft_link link = weft_link_make(WEFT_LINK_XGMI, i, i + 1);
        assert_int_equal(weft_topology_add_link(t, &link, NULL, NULL), WEFT_OK);
    }
    assert_int_equal(weft_router_create(t, &router, NULL), WEFT_OK);
    assert_int_equal(weft_router_from(router, 0)[1].num_links, 1);
    assert_int_equal(weft_router_from(router, 0)[2].num_links, -1);
    weft_router_destroy(&router);
    assert_int_equal(weft_router_create_of(t, UINT32_MAX, passes, &router, NULL), WEFT_OK);
    assert_int_equal(weft_router_from(router, 0)[2].num_links, 2);
    assert_int_equal(weft_router_from(router, 0)[3].num_links, -1); // 2 passes nothing
    assert_ptr_equal(weft_router_from(router, 0), weft_router_routes(router));
    weft_router_destroy(&router);
    weft_topology_destroy(&t);
}

static void test_large_is_quick(void **state)
{
    (void)state;
    struct weft_topology *t = synthetic("host:2048 nvswitch:4 gpu:8 nic:8@400");
    struct weft_router *router = NULL;
    int64_t start = weft_clock_ns();
    assert_int_equal(weft_router_create(t, &router, NULL), WEFT_OK);
    const struct weft_route *routes =
        weft_router_from(router, weft_topology_find_node(t, "host0/gpu0"));
    assert_int_equal(routes[weft_topology_find_node(t, "host2047/gpu7")].num_links, 6);
    print_message("from one of 16384 GPUs to all: %.1f ms\n",
                  (double)(weft_clock_ns() - start) * 1e-6);
    weft_router_destroy(&router);
    weft_topology_destroy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_floyd_warshall),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_placement),
        cmocka_unit_test(test_locality),
        cmocka_unit_test(test_cluster_routes),
        cmocka_unit_test(test_ways_through_gpus),
        cmocka_unit_test(test_large_is_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
