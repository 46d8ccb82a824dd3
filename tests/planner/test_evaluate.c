/*
 * SPDX-License-Identifier: Apache-2.0
 * The flow-level evaluation against times worked out by hand, and folded against whole clusters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/planner/choice.h"
#include "collectives/planner/costs.h"
#include "collectives/planner/evaluate.h"
#include "tests/planner/fabrics.h"
#include "topology/network.h"

/* 1 us to start a message, 2^20 bytes in 100 us; combining 2^20 bytes takes 20 us. */
enum { MESSAGE_PS = 1000000, MIB = 1 << 20, PS_PER_MIB = 100000000, COMBINE_PS_PER_MIB = 20480000 };

static struct weft_costs plain_costs(void)
{
    struct weft_costs costs = {.num_levels = 1,
                               .combine_ps_per_kib = COMBINE_PS_PER_MIB / 1024,
                               .flat_ps = -1,
                               .sharing = 1};
    costs.levels[0].message.num_lines = 1;
    costs.levels[0].message.lines[0] = (struct weft_line){MESSAGE_PS, PS_PER_MIB};
    costs.levels[0].crowd_ps_per_mib = PS_PER_MIB;
    return costs;
}

static struct weft_layout *layout_of(int num_ranks, const struct weft_costs *costs)
{
    struct weft_layout *layout = NULL;
    struct weft_error error = {0};
    int host_of[64];
    const int *group_of[] = {host_of};
    for (int r = 0; r < num_ranks; r++)
        host_of[r] = r / 2;
    if (weft_layout_create(num_ranks, costs, group_of, &layout, &error) != WEFT_OK)
        fail_msg("layout: %s", error.text);
    return layout;
}

static struct weft_builder *begin(weft_collective collective, int num_ranks, int rank,
                                  uint32_t pieces)
{
    struct weft_builder *builder = NULL;
    struct weft_error error = {0};
    const struct weft_shape shape = {
        .collective = collective, .num_ranks = num_ranks, .rank = rank, .pieces = pieces};
    if (weft_builder_create(&shape, "test", WEFT_OUT_OF_PLACE, &builder, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return builder;
}

static struct weft_program *finish(struct weft_builder *builder)
{
    struct weft_program *program = NULL;
    struct weft_error error = {0};
    if (weft_builder_finish(&builder, &program, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return program;
}

// Evaluates and destroys; the time without launch.
static int64_t time_of(struct weft_layout *layout, struct weft_program **programs, int64_t bytes)
{
    struct weft_evaluation evaluation;
    struct weft_error error = {0};
    const struct weft_fold fold = {.block = layout->num_ranks, .num_blocks = 1};
    if (weft_evaluate_programs(layout, fold, programs, bytes, &evaluation, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    for (int r = 0; r < layout->num_ranks; r++)
        weft_program_destroy(&programs[r]);
    weft_evaluation_free(&evaluation);
    weft_layout_destroy(&layout);
    return evaluation.time_ps;
}

static void send_whole(struct weft_builder *builder, int to)
{
    weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, 0), weft_to(to, 0));
}

static void receive_whole(struct weft_builder *builder, int from)
{
    struct weft_label label = weft_label_leaf(from, 0);
    weft_builder_move(builder, 0, 1, weft_from(from, 0, &label), weft_cells(WEFT_OUTPUT, 0));
}

static void test_one_message(void **state)
{
    (void)state;
    struct weft_costs costs = plain_costs();
    struct weft_program *programs[2];
    costs.launch_ps = 5000000;
    struct weft_builder *a = begin(WEFT_BROADCAST, 2, 0, 1), *b = begin(WEFT_BROADCAST, 2, 1, 1);
    send_whole(a, 1);
    receive_whole(b, 0);
    programs[0] = finish(a), programs[1] = finish(b);
    assert_int_equal(time_of(layout_of(2, &costs), programs, MIB),
                     5000000 + MESSAGE_PS + PS_PER_MIB);
}

// The root sends to two at once: both flow at half the rate. The third message, half as long in
// time alone, is of the curve's second line.
static void test_two_flows_share(void **state)
{
    (void)state;
    struct weft_costs costs = plain_costs();
    struct weft_program *programs[3];
    struct weft_builder *root = begin(WEFT_BROADCAST, 3, 0, 1);
    send_whole(root, 1);
    send_whole(root, 2);
    programs[0] = finish(root);
    for (int r = 1; r < 3; r++) {
        struct weft_builder *builder = begin(WEFT_BROADCAST, 3, r, 1);
        receive_whole(builder, 0);
        programs[r] = finish(builder);
    }
    assert_int_equal(time_of(layout_of(3, &costs), programs, MIB), MESSAGE_PS + 2 * PS_PER_MIB);
}

// A line that is slow but quick to start carries small messages, the other one large ones.
static void test_lines(void **state)
{
    (void)state;
    const int64_t sizes[] = {1024, MIB},
                  wanted[] = {100000 + 4 * PS_PER_MIB / 1024, MESSAGE_PS + PS_PER_MIB};
    for (int i = 0; i < 2; i++) {
        struct weft_costs costs = plain_costs();
        struct weft_program *programs[2];
        costs.levels[0].message.lines[1] = (struct weft_line){100000, 4 * PS_PER_MIB};
        costs.levels[0].message.num_lines = 2;
        struct weft_builder *a = begin(WEFT_BROADCAST, 2, 0, 1);
        struct weft_builder *b = begin(WEFT_BROADCAST, 2, 1, 1);
        send_whole(a, 1);
        receive_whole(b, 0);
        programs[0] = finish(a), programs[1] = finish(b);
        assert_int_equal(time_of(layout_of(2, &costs), programs, sizes[i]), wanted[i]);
    }
}

// Receive, combine and pass on: the second message waits for the combination, which waits for the
// bytes, or where moving needs no processor only for the longer of the two.
static void test_fused_step(void **state)
{
    (void)state;
    for (int overlaps = 0; overlaps < 2; overlaps++)
        for (int is_slow = 0; is_slow < 2; is_slow++) {
            struct weft_costs costs = plain_costs();
            struct weft_program *programs[3];
            const struct weft_label leaf = weft_label_leaf(0, 0);
            const struct weft_label sum = weft_label_combine(leaf, weft_label_leaf(1, 0));
            costs.overlaps = overlaps;
            costs.combine_ps_per_kib *= is_slow ? 10 : 1;
            struct weft_builder *b[3];
            for (int r = 0; r < 3; r++)
                b[r] = begin(WEFT_ALL_REDUCE, 3, r, 1);
            send_whole(b[0], 1);
            weft_builder_combine(b[1], 0, 1, weft_from(0, 0, &leaf), weft_cells(WEFT_INPUT, 0),
                                 weft_to(2, 1));
            weft_builder_combine(b[2], 0, 1, weft_from(1, 1, &sum), weft_cells(WEFT_INPUT, 0),
                                 weft_cells(WEFT_OUTPUT, 0));
            for (int r = 0; r < 3; r++)
                programs[r] = finish(b[r]);
            int64_t combining = (int64_t)COMBINE_PS_PER_MIB * (is_slow ? 10 : 1);
            int64_t moving = PS_PER_MIB;
            int64_t both =
                overlaps ? (combining > moving ? combining : moving) : combining + moving;
            assert_int_equal(time_of(layout_of(3, &costs), programs, MIB), 2 * (MESSAGE_PS + both));
        }
}

static int64_t evaluate_named(const char *name, weft_collective collective,
                              const struct weft_layout *layout, int64_t bytes,
                              enum weft_evaluate_how how, struct weft_fold *fold)
{
    struct weft_evaluation evaluation;
    struct weft_error error = {0};
    const struct weft_key key = {.collective = collective,
                                 .num_ranks = layout->num_ranks,
                                 .element_bytes = 4,
                                 .size_class = weft_size_class((uint64_t)bytes)};
    weft_status status =
        weft_evaluate(weft_algorithm_find(name), &key, layout, bytes, how, &evaluation, &error);
    if (status == WEFT_UNSUPPORTED && how == WEFT_EVALUATE_FOLDED)
        return -1;
    if (status != WEFT_OK)
        fail_msg("%s %s of %d: %s", name, weft_collective_names[collective], layout->num_ranks,
                 error.text);
    if (fold)
        *fold = evaluation.fold;
    weft_evaluation_free(&evaluation);
    return evaluation.time_ps;
}

// 2 (n - 1) rounds of a quarter each; every second one is combined.
static void test_ring_of_four(void **state)
{
    (void)state;
    struct weft_costs costs = plain_costs();
    costs.step_ps = 1000;
    struct weft_layout *layout = layout_of(4, &costs);
    int64_t time =
        evaluate_named("ring", WEFT_ALL_REDUCE, layout, 4 * MIB, WEFT_EVALUATE_ALL, NULL);
    int64_t wanted = 6 * (INT64_C(1) * MESSAGE_PS + PS_PER_MIB) + 3 * COMBINE_PS_PER_MIB;
    // Steps are posted while messages move; the first ones are not hidden.
    assert_true(time >= wanted && time <= wanted + 24 * 1000);
    weft_layout_destroy(&layout);
}

// Four terminals on a switch, one of them with a quarter of the rate: what it sends and gets in a
// direct all-gather takes four times as long as the same of the others.
static void test_star_with_a_slow_host(void **state)
{
    (void)state;
    struct weft_costs costs = plain_costs();
    struct weft_layout *layout = layout_of(4, &costs);
    struct weft_arc arcs[8];
    int first[] = {0, 1, 2, 3, 4, 8}, node[] = {-1, -1, -1, -1, -1}, merged[] = {1, 1, 1, 1, 1};
    int64_t rate = weft_curve_bandwidth(PS_PER_MIB);
    for (int r = 0; r < 4; r++) {
        int64_t capacity = r == 3 ? rate / 4 : rate;
        arcs[r] = (struct weft_arc){r, 4, capacity, 1000, -1};
        arcs[4 + r] = (struct weft_arc){4, r, capacity, 1000, -1};
    }
    struct weft_network network = {.num_vertices = 5,
                                   .num_terminals = 4,
                                   .num_arcs = 8,
                                   .arcs = arcs,
                                   .first = first,
                                   .node = node,
                                   .num_merged = merged};
    struct weft_network *none = layout->network;
    layout->network = &network;
    int64_t time =
        evaluate_named("direct", WEFT_ALL_GATHER, layout, 4 * MIB, WEFT_EVALUATE_ALL, NULL);
    layout->network = none;
    int64_t wanted = MESSAGE_PS + INT64_C(4) * 3 * PS_PER_MIB;
    assert_in_range(time, wanted - wanted / 1000, wanted + wanted / 1000);
    weft_layout_destroy(&layout);
}

static void expect_refusal(struct weft_program **programs, int num_ranks, const char *words)
{
    struct weft_costs costs = plain_costs();
    struct weft_layout *layout = layout_of(num_ranks, &costs);
    struct weft_evaluation evaluation;
    struct weft_error error = {0};
    const struct weft_fold fold = {.block = num_ranks, .num_blocks = 1};
    assert_int_equal(weft_evaluate_programs(layout, fold, programs, MIB, &evaluation, &error),
                     WEFT_UNPROVED);
    if (!strstr(error.text, words))
        fail_msg("'%s' does not say '%s'", error.text, words);
    for (int r = 0; r < num_ranks; r++)
        weft_program_destroy(&programs[r]);
    weft_layout_destroy(&layout);
}

// Both pass on what they receive, and so wait for each other.
static void test_that_waiting_in_a_circle_is_an_error(void **state)
{
    (void)state;
    struct weft_program *programs[2];
    for (int r = 0; r < 2; r++) {
        struct weft_builder *builder = begin(WEFT_ALL_REDUCE, 2, r, 1);
        struct weft_label label = weft_label_leaf(1 - r, 0);
        weft_builder_move(builder, 0, 1, weft_from(1 - r, 0, &label), weft_to(1 - r, 1));
        programs[r] = finish(builder);
    }
    expect_refusal(programs, 2, "rank 0 step 0: waits for ever, for a message");
}

static void test_that_lanes_must_meet(void **state)
{
    (void)state;
    for (int is_sent = 0; is_sent < 2; is_sent++) {
        struct weft_program *programs[2];
        struct weft_builder *a = begin(WEFT_ALL_REDUCE, 2, 0, 1);
        struct weft_builder *b = begin(WEFT_ALL_REDUCE, 2, 1, 1);
        weft_builder_move(a, 0, 1, weft_cells(WEFT_INPUT, 0), weft_cells(WEFT_OUTPUT, 0));
        if (is_sent)
            send_whole(b, 0);
        else
            receive_whole(b, 0);
        programs[0] = finish(a), programs[1] = finish(b);
        expect_refusal(programs, 2,
                       is_sent ? "rank 1 step 0: sends a message that is not received by rank 0"
                               : "rank 1 step 0: waits for a message that nobody sends");
    }
}

static const int clusters[][3] = {{2, 1, 1},  {8, 1, 1},  {16, 4, 1}, {24, 8, 1},
                                  {32, 4, 2}, {64, 8, 4}, {96, 8, 2}, {256, 8, 8}};

// Every algorithm that folds, on every cluster, gives the same time folded and whole.
static void test_that_folds_change_nothing(void **state)
{
    (void)state;
    int num_folded = 0;
    for (size_t i = 0; i < sizeof clusters / sizeof *clusters; i++)
        for (int a = 0; weft_algorithms[a]; a++)
            for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++) {
                const char *name = weft_algorithms[a]->name;
                int64_t bytes = INT64_C(1) << (10 + 7 * (c % 2));
                struct weft_layout *layout = NULL;
                struct weft_error error = {0};
                struct weft_fold fold;
                const struct weft_key key = {.collective = (weft_collective)c,
                                             .num_ranks = clusters[i][0],
                                             .element_bytes = 4,
                                             .size_class = weft_size_class((uint64_t)bytes)};
                assert_int_equal(weft_layout_assumed(clusters[i][0], clusters[i][1], clusters[i][2],
                                                     &layout, &error),
                                 WEFT_OK);
                // Tens of thousands of flows at once are for the command that shows times.
                bool is_wide = clusters[i][0] > 64 && (name[0] == 'f' || name[0] == 'd');
                if (weft_collective_is_pair(key.collective) || is_wide ||
                    weft_algorithm_refusal(weft_algorithms[a], &key, layout)) {
                    weft_layout_destroy(&layout);
                    continue;
                }
                int64_t folded = evaluate_named(name, key.collective, layout, bytes,
                                                WEFT_EVALUATE_FOLDED, &fold);
                if (folded >= 0) {
                    int64_t all = evaluate_named(name, key.collective, layout, bytes,
                                                 WEFT_EVALUATE_ALL, NULL);
                    num_folded++;
                    if (folded - all > all / 500 || all - folded > all / 500)
                        fail_msg("%s %s of %d: %lld folded to %d, %lld in full", name,
                                 weft_collective_names[c], clusters[i][0], (long long)folded,
                                 fold.block, (long long)all);
                }
                weft_layout_destroy(&layout);
            }
    assert_in_range(num_folded, 60, 1000000);
}

// Levels that exchange in different ways still fold: one rank stands for 16,384.
static void test_large_hierarchies_fold(void **state)
{
    (void)state;
    struct weft_topology *topology = fabric("superpod-h100:2048");
    struct weft_layout *layout = fabric_layout(topology, 16384);
    static const int classes[] = {20, 30};
    for (size_t c = 0; c < sizeof classes / sizeof *classes; c++) {
        struct weft_key key = fabric_key(WEFT_ALL_REDUCE, 16384, classes[c]);
        struct weft_evaluation evaluation;
        struct weft_error error = {0};
        const struct weft_algorithm *hierarchical = weft_algorithm_find("hierarchical");
        if (weft_evaluate(hierarchical, &key, layout, INT64_C(1) << classes[c],
                          WEFT_EVALUATE_FOLDED, &evaluation, &error) != WEFT_OK)
            fail_msg("%s", error.text);
        int64_t estimate = hierarchical->estimate(&key, layout);
        assert_int_equal(evaluation.fold.block, 1);
        assert_true(estimate < evaluation.time_ps * 11 / 10 &&
                    evaluation.time_ps < estimate * 11 / 10);
        weft_evaluation_free(&evaluation);
    }
    weft_layout_destroy(&layout);
    weft_topology_destroy(&topology);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_message),
        cmocka_unit_test(test_two_flows_share),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_fused_step),
        cmocka_unit_test(test_ring_of_four),
        cmocka_unit_test(test_star_with_a_slow_host),
        cmocka_unit_test(test_that_waiting_in_a_circle_is_an_error),
        cmocka_unit_test(test_that_lanes_must_meet),
        cmocka_unit_test(test_that_folds_change_nothing),
        cmocka_unit_test(test_large_hierarchies_fold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
