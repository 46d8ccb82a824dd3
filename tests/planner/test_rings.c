/*
 * SPDX-License-Identifier: Apache-2.0
 * Circles: those found on graphs visit every rank once, keep to direct links and to rails, and
 * weigh what they carry; programs over circles of any weights are proved and compute what they
 * should.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/planner/evaluate.h"
#include "collectives/planner/layout_topology.h"
#include "collectives/planner/rings.h"
#include "collectives/program/plan.h"
#include "tests/planner/layouts.h"
#include "tests/planner/requests.h"
#include "tests/planner/simulate.h"
#include "topology/load.h"

static struct weft_topology *load(const char *source)
{
    struct weft_error error = {0};
    struct weft_topology *topology = NULL;
    if (weft_topology_load(source, &topology, &error) != WEFT_OK)
        fail_msg("%s: %s", source, error.text);
    return topology;
}

static struct weft_layout *layout_of(const struct weft_topology *topology, int num_ranks)
{
    struct weft_error error = {0};
    struct weft_layout *layout = NULL;
    struct weft_layout_origin origin;
    if (weft_layout_from_topology(topology, num_ranks, &layout, &origin, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return layout;
}

static void require_circles(const struct weft_layout *layout)
{
    const struct weft_rings *rings = &layout->rings;
    int n = layout->num_ranks, sum = 0;
    char *seen = test_malloc((size_t)n);
    for (int c = 0; c < rings->num_rings; c++) {
        memset(seen, 0, (size_t)n);
        for (int i = 0; i < n; i++) {
            int rank = rings->order[c * n + i];
            assert_in_range(rank, 0, n - 1);
            assert_false(seen[rank]);
            seen[rank] = 1;
            assert_int_equal(rings->place[c * n + rank], i);
        }
        assert_true(rings->weight[c] >= 1);
        assert_true(rings->hops[c].ps_per_mib > 0);
        sum += rings->weight[c];
    }
    test_free(seen);
    assert_int_equal(rings->total_weight, sum);
    assert_true(sum <= WEFT_RINGS_WEIGHT);
}

/* What all circles carry together, in MB/s of each rank's output. */
static int64_t rate_of(const struct weft_layout *layout)
{
    const struct weft_rings *rings = &layout->rings;
    int64_t slowest = 0;
    for (int c = 0; c < rings->num_rings; c++) {
        int64_t price = rings->hops[c].ps_per_mib * rings->weight[c] / rings->total_weight;
        slowest = price > slowest ? price : slowest;
    }
    return weft_curve_bandwidth(slowest) / 1000000;
}

struct cluster {
    const char *source;
    int num_ranks, num_rings;
    int64_t rate; // MB/s, rounded down to what is asserted at least
    int box;      // ranks that share no NIC with others
};

static void test_circles_of_presets(void **state)
{
    (void)state;
    static const struct cluster clusters[] = {
        {"dgx-a100:2", 16, 8, 199900, 8},        {"dgx-h100:4", 32, 8, 399900, 8},
        {"dgx-h100:3", 24, 8, 399900, 8},        {"dgx-b200:5", 40, 8, 399900, 8},
        {"superpod-h100:64", 512, 8, 399900, 8}, {"p5:4", 32, 8, 399900, 8},
        {"gb200-nvl72:2", 144, 9, 899900, 72},   {"mi250:1", 16, 4, 199900, 16},
        {"mi250:2", 32, 16, 159900, 16},         {"mi250:5", 80, 16, 149900, 16},
    };
    for (size_t i = 0; i < sizeof clusters / sizeof *clusters; i++) {
        const struct cluster *cluster = &clusters[i];
        struct weft_topology *topology = load(cluster->source);
        struct weft_layout *layout = layout_of(topology, cluster->num_ranks);
        const struct weft_rings *rings = &layout->rings;
        int n = cluster->num_ranks, boxes = n / cluster->box;
        require_circles(layout);
        if (rings->num_rings != cluster->num_rings || rate_of(layout) < cluster->rate)
            fail_msg("%s: %d circles of %lld MB/s", cluster->source, rings->num_rings,
                     (long long)rate_of(layout));
        // one hop out of each box, and to the rank of the same place in the next one
        for (int c = 0; c < rings->num_rings && boxes > 1; c++) {
            int num_far = 0;
            for (int k = 0; k < n; k++) {
                int a = rings->order[c * n + k], b = rings->order[c * n + (k + 1) % n];
                if (a / cluster->box == b / cluster->box)
                    continue;
                num_far++;
                assert_int_equal(a % cluster->box, b % cluster->box);
            }
            assert_int_equal(num_far, boxes);
            assert_int_equal(rings->hops[c].num_far, boxes);
        }
        weft_layout_destroy(&layout);
        weft_topology_destroy(&topology);
    }
}

// In every box each circle leaves by a rank of its own.
static void test_circles_take_turns(void **state)
{
    (void)state;
    static const char *const sources[] = {"dgx-h100:4", "dgx-h100:5"};
    for (size_t s = 0; s < sizeof sources / sizeof *sources; s++) {
        struct weft_topology *topology = load(sources[s]);
        int n = weft_topology_count(topology, WEFT_NODE_GPU);
        struct weft_layout *layout = layout_of(topology, n);
        int *leaves = test_calloc((size_t)n, sizeof *leaves);
        for (int c = 0; c < layout->rings.num_rings; c++)
            for (int k = 0; k < n; k++) {
                int a = layout->rings.order[c * n + k];
                leaves[a] += a / 8 != layout->rings.order[c * n + (k + 1) % n] / 8;
            }
        for (int r = 0; r < n; r++)
            assert_int_equal(leaves[r], 1);
        test_free(leaves);
        weft_layout_destroy(&layout);
        weft_topology_destroy(&topology);
    }
}

// MI250: every hop in the box is over an XGMI link, and no link carries more than it can.
static void test_circles_keep_to_direct_links(void **state)
{
    (void)state;
    struct weft_topology *topology = load("mi250:1");
    struct weft_layout *layout = layout_of(topology, 16);
    int64_t links[16][16] = {{0}};
    int nodes[16];
    assert_int_equal(weft_topology_place(topology, 16, nodes, NULL), WEFT_OK);
    for (int i = 0; i < topology->num_links; i++)
        for (int a = 0; a < 16; a++)
            for (int b = 0; b < 16; b++) {
                const struct weft_link *link = &topology->links[i];
                if (link->kind == WEFT_LINK_XGMI &&
                    ((link->from == nodes[a] && link->to == nodes[b]) ||
                     (link->to == nodes[a] && link->from == nodes[b])))
                    links[a][b] += weft_link_bandwidth(link).value;
            }
    for (int c = 0; c < layout->rings.num_rings; c++)
        for (int k = 0; k < 16; k++) {
            int a = layout->rings.order[c * 16 + k];
            int b = layout->rings.order[c * 16 + (k + 1) % 16];
            links[a][b] -= INT64_C(50000000000) * layout->rings.weight[c];
            assert_true(links[a][b] >= 0);
        }
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

// A rail with NICs of a quarter of the rate gets a quarter of the weight.
static void test_weights_follow_the_rails(void **state)
{
    (void)state;
    struct weft_topology *topology = load("dgx-h100:4");
    int num_slowed = 0;
    for (int i = 0; i < topology->num_links; i++) {
        struct weft_link *link = &topology->links[i];
        const char *name = topology->nodes[link->from].name;
        if (link->kind == WEFT_LINK_NETWORK && strstr(name, "mlx5_3")) {
            link->bandwidth.nominal.value /= 4;
            num_slowed++;
        }
    }
    assert_int_equal(num_slowed, 4);
    struct weft_layout *layout = layout_of(topology, 32);
    require_circles(layout);
    assert_int_equal(layout->rings.num_rings, 8);
    int num_light = 0, total = 0;
    for (int c = 0; c < 8; c++) {
        num_light += layout->rings.weight[c] == 1;
        total += layout->rings.weight[c];
        assert_true(layout->rings.weight[c] == 1 || layout->rings.weight[c] == 4);
    }
    assert_int_equal(num_light, 2); // both that use the rail
    assert_int_equal(total, 26);
    // 6 circles of 50 and two of 12.5 GB/s, where one weight for all would give 8 of 12.5
    assert_true(rate_of(layout) >= 320000);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

// A box in the middle, which no circle was priced on, still slows all of them.
static void test_a_slow_host_is_seen(void **state)
{
    (void)state;
    struct weft_topology *topology = load("dgx-h100:40");
    for (int i = 0; i < topology->num_links; i++) {
        struct weft_link *link = &topology->links[i];
        const char *name = topology->nodes[link->from].name;
        if (link->kind == WEFT_LINK_NETWORK && strncmp(name, "host17/", 7) == 0)
            link->bandwidth.nominal.value /= 4;
    }
    struct weft_layout *layout = layout_of(topology, 320);
    require_circles(layout);
    assert_in_range(rate_of(layout), 99000, 100100);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

static void test_hamiltonian_search(void **state)
{
    (void)state;
    struct weft_box box = {.num_ranks = 8};
    int path[WEFT_BOX_LIMIT];
    int64_t work = WEFT_BOX_WORK;
    for (int i = 0; i < 8; i++) // a cube
        for (int bit = 1; bit < 8; bit *= 2)
            box.left[i * 8 + (i ^ bit)] = 10;
    assert_true(weft_box_find(&box, 0, -1, 10, &work, path));
    for (int i = 0; i < 8; i++)
        assert_int_equal(__builtin_popcount((unsigned)(path[i] ^ path[(i + 1) % 8])), 1);
    weft_box_take(&box, path, true, 10);
    assert_int_equal(box.left[path[0] * 8 + path[1]], 0);
    assert_int_equal(box.left[path[1] * 8 + path[0]], 10);    // the other direction
    assert_false(weft_box_find(&box, 0, 3, 10, &work, path)); // both have even parity
    assert_true(weft_box_find(&box, 0, 7, 1, &work, path));
    assert_int_equal(path[7], 7);
    assert_int_equal(weft_box_next_rate(&box, INT64_MAX), 10);
    assert_int_equal(weft_box_next_rate(&box, 10), 0);
    work = 2;
    assert_false(weft_box_find(&box, 0, 7, 1, &work, path)); // out of patience
    assert_int_equal(work, 0);
}

// What the closed form says is what a run of the programs, flow by flow, takes.
static void test_estimates_agree_with_flows(void **state)
{
    (void)state;
    static const char *const sources[] = {
        "dgx-a100:1",      "dgx-a100:2", "dgx-h100:1",    "dgx-h100:4", "dgx-b200:3",
        "superpod-h100:8", "p5:4",       "gb200-nvl72:1", "mi250:1",    "mi250:2"};
    static const weft_collective collectives[] = {WEFT_ALL_REDUCE, WEFT_ALL_GATHER,
                                                  WEFT_REDUCE_SCATTER};
    const struct weft_algorithm *ring = weft_algorithm_find("ring");
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        struct weft_topology *topology = load(sources[i]);
        int n = weft_topology_count(topology, WEFT_NODE_GPU);
        struct weft_layout *layout = layout_of(topology, n);
        for (size_t c = 0; c < sizeof collectives / sizeof *collectives; c++) {
            const struct weft_key key = {
                .collective = collectives[c], .num_ranks = n, .element_bytes = 4, .size_class = 28};
            struct weft_evaluation evaluation;
            struct weft_error error = {0};
            if (weft_evaluate(ring, &key, layout, INT64_C(1) << 28, WEFT_EVALUATE_FOLDED_OR_ALL,
                              &evaluation, &error) != WEFT_OK)
                fail_msg("%s: %s", sources[i], error.text);
            int64_t estimate = ring->estimate(&key, layout);
            int64_t permille = (evaluation.time_ps - layout->costs.launch_ps) * 1000 / estimate;
            const int64_t most = 100; // lanes in order, and links shared unevenly
            if (permille < 1000 - most || permille > 1000 + most)
                fail_msg("%s %s: %d permille of the estimate", sources[i],
                         weft_collective_names[key.collective], (int)permille);
            weft_evaluation_free(&evaluation);
        }
        weft_layout_destroy(&layout);
        weft_topology_destroy(&topology);
    }
}

/* ---- programs ---- */

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static struct weft_layout *random_circles(int num_ranks, uint64_t *seed)
{
    struct weft_error error = {0};
    struct weft_layout *layout = make_test_layout(num_ranks, 0);
    int order[4 * 17], weight[4], num_rings = 1 + (int)(next_random(seed) % 4);
    struct weft_ring_hops hops[4] = {{.ps_per_mib = 1}};
    for (int c = 0; c < num_rings; c++) {
        int *circle = order + c * num_ranks;
        weight[c] = 1 + (int)(next_random(seed) % 5);
        for (int i = 0; i < num_ranks; i++) {
            int at = (int)(next_random(seed) % (uint64_t)(i + 1));
            circle[i] = circle[at];
            circle[at] = i;
        }
        hops[c] = (struct weft_ring_hops){.near = layout->costs.levels[0].message,
                                          .far = layout->costs.levels[0].message,
                                          .num_far = num_ranks,
                                          .ps_per_mib = 1000000};
    }
    if (weft_layout_set_rings(layout, num_rings, order, weight, hops, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    require_circles(layout);
    return layout;
}

static void try_request(const struct request_walk *walk, const struct weft_layout *layout,
                        uint64_t seed)
{
    const struct weft_algorithm *ring = weft_algorithm_find("ring");
    struct weft_program *programs[17] = {0};
    struct weft_plan *plans[17] = {0};
    enum weft_aliasing aliasing[17];
    struct weft_error error = {0};
    int n = walk->key.num_ranks;
    for (int r = 0; r < n; r++) {
        unsigned meant = request_aliasing(walk->aliasing, r);
        aliasing[r] = meant & WEFT_IN_PLACE ? WEFT_IN_PLACE : (enum weft_aliasing)meant;
        struct weft_program *again = NULL;
        if (ring->emit(&walk->key, layout, r, meant, &programs[r], &error) != WEFT_OK ||
            ring->emit(&walk->key, layout, r, meant, &again, &error) != WEFT_OK ||
            weft_plan_create(&again, &plans[r], &error) != WEFT_OK)
            fail_msg("%s of %d ranks: %s", weft_collective_names[walk->key.collective], n,
                     error.text);
    }
    if (weft_plans_agree(plans, n, &error) != WEFT_OK)
        fail_msg("%s of %d ranks: %s", weft_collective_names[walk->key.collective], n, error.text);
    const char *problem = simulate(programs, aliasing, n, seed % 3 ? 97 : 7, seed);
    if (problem)
        fail_msg("%s of %d ranks, root %d: %s", weft_collective_names[walk->key.collective], n,
                 walk->key.root, problem);
    for (int r = 0; r < n; r++) {
        weft_program_destroy(&programs[r]);
        weft_plan_destroy(&plans[r]);
    }
}

static void test_programs_of_random_circles(void **state)
{
    (void)state;
    const struct weft_algorithm *ring = weft_algorithm_find("ring");
    struct request_walk walk = {0};
    uint64_t seed = 7;
    long num_requests = 0;
    while (next_request(&walk)) {
        if (walk.key.num_ranks > 17 || ring->supports(&walk.key, NULL))
            continue;
        struct weft_layout *layout = random_circles(walk.key.num_ranks, &seed);
        try_request(&walk, layout, next_random(&seed));
        weft_layout_destroy(&layout);
        num_requests++;
    }
    print_message("%ld requests\n", num_requests);
    assert_true(num_requests > 200);
}

static void test_bad_circles_are_refused(void **state)
{
    (void)state;
    struct weft_layout *layout = make_test_layout(3, 0);
    struct weft_ring_hops hops[2] = {{.ps_per_mib = 1}, {.ps_per_mib = 1}};
    const int twice[] = {0, 1, 1}, outside[] = {0, 1, 3}, good[] = {2, 0, 1, 0, 1, 2};
    const int one[] = {1, 1}, none[] = {0, 1}, many[] = {32, 33};
    assert_int_equal(weft_layout_set_rings(layout, 1, twice, one, hops, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_layout_set_rings(layout, 1, outside, one, hops, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_layout_set_rings(layout, 2, good, none, hops, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_layout_set_rings(layout, 2, good, many, hops, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(layout->rings.num_rings, 0);
    assert_int_equal(weft_layout_set_rings(layout, 2, good, one, hops, NULL), WEFT_OK);
    assert_int_equal(layout->rings.place[0], 1);
    weft_layout_destroy(&layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_circles_of_presets),
        cmocka_unit_test(test_circles_take_turns),
        cmocka_unit_test(test_circles_keep_to_direct_links),
        cmocka_unit_test(test_weights_follow_the_rails),
        cmocka_unit_test(test_a_slow_host_is_seen),
        cmocka_unit_test(test_hamiltonian_search),
        cmocka_unit_test(test_estimates_agree_with_flows),
        cmocka_unit_test(test_programs_of_random_circles),
        cmocka_unit_test(test_bad_circles_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
