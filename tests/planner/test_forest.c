/*
 * SPDX-License-Identifier: Apache-2.0
 * forest on random fabrics: programs are proved by the check and the oracle, compute the
 * collective, and load no link beyond what their price says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/planner/algorithm.h"
#include "collectives/planner/facts.h"
#include "collectives/planner/forests.h"
#include "collectives/planner/forests_private.h"
#include "collectives/program/oracle.h"
#include "collectives/program/plan.h"
#include "tests/planner/fabrics.h"
#include "tests/planner/simulate.h"
#include "topology/forms.h"
#include "topology/network.h"

enum { MAX_GPUS = 8, MAX_RANKS = 32 };

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

// GPUs and switches with links of random speed; a path joins all.
static struct weft_topology *random_fabric(uint64_t *random, int *num_gpus)
{
    char text[4096];
    int gpus = 2 + (int)(next_random(random) % (MAX_GPUS - 1));
    int nodes = gpus + (int)(next_random(random) % 3);
    int used = 0;
    for (int i = 0; i < nodes; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "node n%d %s\n", i,
                         i < gpus ? "gpu" : "switch");
    for (int i = 0; i < nodes; i++)
        for (int j = i + 1; j < nodes; j++)
            if (j == i + 1 || next_random(random) % 3 == 0)
                used += snprintf(text + used, sizeof text - (size_t)used, "link n%d n%d %d both\n",
                                 i, j, 1 + (int)(next_random(random) % 6));
    struct weft_topology *topology = NULL;
    struct weft_error error;
    if (weft_topology_import(&weft_importer_edges, text, (size_t)used, "random", &topology,
                             &error) != WEFT_OK)
        fail_msg("%s", error.text);
    *num_gpus = gpus;
    return topology;
}

static struct weft_layout *layout_on(const struct weft_topology *topology, int num_ranks)
{
    struct weft_layout *layout = NULL;
    struct weft_error error;
    const struct weft_network_options all = {0};
    assert_int_equal(weft_layout_assumed(num_ranks, 1, 1, &layout, &error), WEFT_OK);
    if (weft_network_create(topology, &all, &layout->network, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_int_equal(layout->network->num_terminals, num_ranks);
    return layout;
}

static void try_request(const struct weft_layout *layout, const struct weft_key *key,
                        unsigned aliasing)
{
    const struct weft_algorithm *forest = weft_algorithm_find("forest");
    int n = key->num_ranks;
    struct weft_program *programs[MAX_RANKS] = {0};
    struct weft_plan *plans[MAX_RANKS] = {0};
    enum weft_aliasing used[MAX_RANKS];
    struct weft_error error = {0};
    for (int r = 0; r < n; r++) {
        struct weft_program *copy = NULL;
        used[r] = aliasing & WEFT_IN_PLACE && r % 2 ? WEFT_IN_PLACE : WEFT_OUT_OF_PLACE;
        if (forest->emit(key, layout, r, aliasing, &programs[r], &error) != WEFT_OK)
            fail_msg("emit: %s", error.text);
        copy = weft_program_copy(programs[r]);
        if (weft_plan_create(&copy, &plans[r], &error) != WEFT_OK)
            fail_msg("%s of %d ranks, class %d: %s", weft_collective_names[key->collective], n,
                     key->size_class, error.text);
    }
    if (weft_plans_agree(plans, n, &error) != WEFT_OK ||
        weft_oracle_verify((const struct weft_program *const *)programs, n, &error) != WEFT_OK)
        fail_msg("%s of %d ranks: %s", weft_collective_names[key->collective], n, error.text);
    const char *problem = simulate(programs, used, n, 4001, 7);
    if (problem)
        fail_msg("%s of %d ranks: %s", weft_collective_names[key->collective], n, problem);
    for (int r = 0; r < n; r++) {
        weft_program_destroy(&programs[r]);
        weft_plan_destroy(&plans[r]);
    }
}

static void test_random_fabrics(void **state)
{
    (void)state;
    static const weft_collective collectives[] = {WEFT_ALL_REDUCE, WEFT_ALL_GATHER,
                                                  WEFT_REDUCE_SCATTER, WEFT_BROADCAST, WEFT_REDUCE};
    static const int classes[] = {4, 12, 20};
    uint64_t random = 5;
    for (int turn = 0; turn < 60; turn++) {
        int n;
        struct weft_topology *topology = random_fabric(&random, &n);
        struct weft_layout *layout = layout_on(topology, n);
        for (size_t c = 0; c < sizeof collectives / sizeof *collectives; c++) {
            struct weft_key key = {.collective = collectives[c],
                                   .num_ranks = n,
                                   .element_bytes = 4,
                                   .size_class = classes[(turn + (int)c) % 3]};
            const char *reason = NULL;
            if (weft_collective_is_rooted(key.collective))
                key.root = (int)(next_random(&random) % (unsigned)n);
            if (!weft_forests_count(layout, key.collective, key.root, &reason))
                fail_msg("%s", reason);
            try_request(layout, &key,
                        turn % 2 ? WEFT_OUT_OF_PLACE | WEFT_IN_PLACE : WEFT_OUT_OF_PLACE);
        }
        weft_layout_destroy(&layout);
        weft_topology_destroy(&topology);
    }
}

// With no limit on the arcs, what is left of the proof is that trees span and weigh what they
// should.
static void check_spans(const struct weft_layout *layout, const struct weft_forest *forest,
                        const int64_t *weights)
{
    struct weft_error error = {0};
    int64_t *capacity = calloc((size_t)layout->network->num_arcs, sizeof *capacity);
    assert_non_null(capacity);
    for (int a = 0; a < layout->network->num_arcs; a++)
        capacity[a] = INT32_MAX;
    const struct weft_forest_request request = {capacity, weights};
    if (weft_forest_check(layout->network, &request, forest, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    free(capacity);
}

// Boxes of equally many GPUs: trees across them span, fit on the channels, and are proved.
static void test_boxes(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        int num_ranks, depth;
    } clusters[] = {{"dgx-a100:2", 16, 4}, {"dgx-h100:3", 24, 4}, {"superpod-h100:4", 32, 4}};
    uint64_t random = 9;
    for (size_t i = 0; i < sizeof clusters / sizeof *clusters; i++) {
        int n = clusters[i].num_ranks, roots[] = {0, n - 1, (int)(next_random(&random) % 8) + 3};
        struct weft_topology *topology = fabric(clusters[i].source);
        struct weft_layout *layout = fabric_layout(topology, n);
        for (size_t r = 0; r < sizeof roots / sizeof *roots; r++) {
            struct weft_forest *forest = NULL;
            struct weft_error error = {0};
            struct weft_key key = fabric_key(r % 2 ? WEFT_REDUCE : WEFT_BROADCAST, n, 12);
            int64_t weights[MAX_RANKS] = {0};
            if (weft_forests_of_boxes(layout, roots[r], &forest, &error) != WEFT_OK)
                fail_msg("%s: %s", clusters[i].source, error.text);
            weights[roots[r]] = forest->total_weight;
            check_spans(layout, forest, weights);
            assert_true(forest->depth <= clusters[i].depth);
            weft_forest_destroy(&forest);
            key.root = roots[r];
            try_request(layout, &key, WEFT_OUT_OF_PLACE | WEFT_IN_PLACE);
        }
        weft_layout_destroy(&layout);
        weft_topology_destroy(&topology);
    }
}

static void test_no_graph_no_forest(void **state)
{
    (void)state;
    struct weft_layout *layout = NULL;
    struct weft_key key = {.collective = WEFT_ALL_GATHER, .num_ranks = 4, .element_bytes = 4};
    const struct weft_algorithm *forest = weft_algorithm_find("forest");
    assert_int_equal(weft_layout_assumed(4, 1, 1, &layout, NULL), WEFT_OK);
    assert_non_null(forest->supports(&key, layout));
    assert_null(forest->supports(&key, NULL));
    key.collective = WEFT_ALL_TO_ALL;
    assert_non_null(forest->supports(&key, NULL));
    key.collective = WEFT_REDUCE, key.order = WEFT_ORDER_REPRODUCIBLE;
    assert_non_null(forest->supports(&key, NULL));
    weft_layout_destroy(&layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_fabrics),
        cmocka_unit_test(test_boxes),
        cmocka_unit_test(test_no_graph_no_forest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
