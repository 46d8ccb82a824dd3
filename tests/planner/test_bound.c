/*
 * SPDX-License-Identifier: Apache-2.0
 * The bound: fabrics whose optimum is plain to see, and predictions that stay above it.
 */
#include "tests/planner/fabrics.h"

#include "collectives/planner/bound.h"
#include "collectives/planner/choice.h"
#include "collectives/planner/costs.h"

static struct weft_bound bound_of(const char *text, int num_ranks, weft_collective collective,
                                  int root)
{
    struct weft_topology *topology = fabric(text);
    struct weft_layout *layout = fabric_layout(topology, num_ranks);
    struct weft_key key = fabric_key(collective, num_ranks, 20);
    struct weft_bound bound;
    struct weft_error error;
    key.root = root;
    if (weft_bound_find(layout, &key, &bound, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
    return bound;
}

// Within a millionth: prices are integers per MiB.
static void assert_time(const struct weft_bound *bound, int64_t bytes, int64_t expected_us)
{
    int64_t time = weft_bound_time(bound, bytes), expected = expected_us * 1000000;
    if (bound->reason || time < expected - expected / 1000000 - 1 ||
        time > expected + expected / 1000000 + 1)
        fail_msg("%lld ps, not %lld us (%s)", (long long)time, (long long)expected_us,
                 bound->reason ? bound->reason : bound->label);
}

// Behind every rank are two links of 10 GB/s. 240 MB: three quarters come over 20 GB/s in 9 ms; the
// whole takes 12.
static void test_ring_of_4(void **state)
{
    (void)state;
    const int64_t bytes = 240000000;
    struct weft_bound bound = bound_of(RING_OF_4, 4, WEFT_ALL_GATHER, 0);
    assert_time(&bound, bytes, 9000);
    assert_string_equal(bound.label, "cut optimum");
    assert_int_equal(bound.num_cut, 1);
    assert_non_null(strstr(bound.cut, "against all others"));
    assert_int_equal(bound.equal_ps_per_mib, 0);
    bound = bound_of(RING_OF_4, 4, WEFT_REDUCE_SCATTER, 0);
    assert_time(&bound, bytes, 9000);
    bound = bound_of(RING_OF_4, 4, WEFT_BROADCAST, 2);
    assert_time(&bound, bytes, 12000);
    bound = bound_of(RING_OF_4, 4, WEFT_REDUCE, 1);
    assert_time(&bound, bytes, 12000);
    bound = bound_of(RING_OF_4, 4, WEFT_ALL_REDUCE, 0);
    assert_time(&bound, bytes, 18000);
    // of a vector of four blocks three leave a rank
    bound = bound_of(RING_OF_4, 4, WEFT_ALL_TO_ALL, 0);
    assert_time(&bound, bytes, 9000);
}

// b is 100 GB/s, of one host 25: 4 S/b with the best shares, 6 S/b with equal ones.
static void test_slow_host(void **state)
{
    (void)state;
    struct weft_bound bound = bound_of(SLOW_HOST, 4, WEFT_ALL_REDUCE, 0);
    struct weft_bound equal = bound;
    equal.ps_per_mib = bound.equal_ps_per_mib;
    assert_time(&equal, 100000000, 6000);
    assert_string_equal(bound.cut, "rank 2 against all others");
    if (strcmp(bound.label, "optimum of equal shards") == 0) {
        print_message("skipped: the best shares: no solver here\n");
        return;
    }
    assert_string_equal(bound.label, "optimum over all shares");
    assert_time(&bound, 100000000, 4000);
    bound = bound_of(SLOW_HOST, 4, WEFT_BROADCAST, 0);
    assert_time(&bound, 100000000, 4000);
}

// Four ranks send half of their vectors through a NIC of 12.5 GB/s: 2 S in all.
static void test_exchange_between_boxes(void **state)
{
    (void)state;
    struct weft_bound bound =
        bound_of("host:2 nvswitch:1@200 gpu:4@200 nic:1@100", 8, WEFT_ALL_TO_ALL, 0);
    assert_time(&bound, 12500000, 2000);
    assert_int_equal(bound.num_cut, 4);
    assert_string_equal(bound.cut, "ranks 0-3 against all others");
}

// Of 240 MB on the ring, three shares of 60 MB enter the root over two links of 10 GB/s. The slow
// host takes 4 ms for the 100 MB that it gets, and 12 ms for those of three others.
static void test_shares_of_a_root(void **state)
{
    (void)state;
    struct weft_bound bound = bound_of(RING_OF_4, 4, WEFT_GATHER, 1);
    assert_string_equal(bound.label, "cut optimum");
    assert_time(&bound, 240000000, 9000);
    bound = bound_of(SLOW_HOST, 4, WEFT_SCATTER, 0);
    assert_time(&bound, 400000000, 4000);
    assert_string_equal(bound.cut, "rank 2 against all others");
    bound = bound_of(SLOW_HOST, 4, WEFT_GATHER_V, 2);
    assert_time(&bound, 400000000, 12000);
}

static void test_no_bound(void **state)
{
    (void)state;
    struct weft_bound bound = bound_of(RING_OF_4, 4, WEFT_SEND, 1);
    assert_non_null(bound.reason);
    assert_null(bound.label);
    bound = bound_of(RING_OF_4, 1, WEFT_ALL_GATHER, 0);
    assert_string_equal(bound.reason, "one rank moves nothing");
}

// What is chosen is never predicted to be faster than possible, and is near it for large sizes.
static void test_predictions_stay_above(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        int ranks;
        double least; // share of the bound at 1 GiB
    } rows[] = {
        {RING_OF_4, 4, 0.9},   {SLOW_HOST, 4, 0.9},           {"dgx-h100:2", 16, 0.85},
        {"dgx-h100:1", 8, .9}, {"superpod-h100:8", 64, 0.85},
    };
    static const weft_collective collectives[] = {WEFT_ALL_GATHER, WEFT_REDUCE_SCATTER,
                                                  WEFT_ALL_REDUCE};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct weft_topology *topology = fabric(rows[i].source);
        struct weft_layout *layout = fabric_layout(topology, rows[i].ranks);
        for (size_t c = 0; c < sizeof collectives / sizeof *collectives; c++)
            for (int size_class = 3; size_class <= 33; size_class++) {
                struct weft_key key = fabric_key(collectives[c], rows[i].ranks, size_class);
                struct weft_choice choice;
                struct weft_bound bound;
                assert_int_equal(weft_choice_make(&key, layout, &choice, NULL), WEFT_OK);
                assert_int_equal(weft_bound_find(layout, &key, &bound, NULL), WEFT_OK);
                double share = (double)weft_bound_time(&bound, weft_key_bytes(&key)) /
                               (double)choice.candidates[0].estimate_ps;
                if (share > 1 || (size_class >= 30 && share < rows[i].least))
                    fail_msg("%.20s, %s of 2^%d: %s has %.3f of the bound", rows[i].source,
                             weft_collective_names[collectives[c]], size_class,
                             choice.candidates[0].algorithm->name, share);
            }
        weft_layout_destroy(&layout);
        weft_topology_destroy(&topology);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring_of_4),
        cmocka_unit_test(test_slow_host),
        cmocka_unit_test(test_exchange_between_boxes),
        cmocka_unit_test(test_shares_of_a_root),
        cmocka_unit_test(test_no_bound),
        cmocka_unit_test(test_predictions_stay_above),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
