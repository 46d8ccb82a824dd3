/*
 * SPDX-License-Identifier: Apache-2.0
 * pairwise: all-to-all in n - 1 rounds, with one partner to send to and one to receive from in
 * each. Partners are found by their places in the order of the layout: place p meets p XOR d when
 * the number of ranks is a power of two; else it sends to p + d and receives from p - d. The
 * distances d are taken near and far by turns, so that the links inside a group and those between
 * groups work side by side. No more than two rounds are under way at once, which is what keeps a
 * rank from sending to everybody together.
 */
#include <stdlib.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"

enum { rounds_under_way = 2 };

struct pairwise {
    struct weft_builder *builder;
    const struct weft_layout *layout;
    int num_ranks;
    int rank;
    bool is_paired;    // partners by XOR
    int near_distance; // less than this is near; 1: all are far
};

static const char *pairwise_supports(const struct weft_key *key, const struct weft_layout *layout)
{
    (void)layout;
    if (key->collective != WEFT_ALL_TO_ALL && key->collective != WEFT_ALL_TO_ALL_V)
        return "only all_to_all";
    return key->num_ranks < 2 ? "one rank has no partner" : NULL;
}

static bool is_power_of_two(int n)
{
    return (n & (n - 1)) == 0;
}

static int near_distance_of(const struct weft_layout *layout)
{
    return weft_layout_top(layout) > 0 ? layout->levels[0].largest : 1;
}

static bool is_near(const struct pairwise *pairwise, int distance)
{
    return distance < pairwise->near_distance ||
           (!pairwise->is_paired && distance > pairwise->num_ranks - pairwise->near_distance);
}

// Distances 1 .. n - 1, the near ones spread evenly among the far ones; equal on all ranks.
static void order_distances(const struct pairwise *pairwise, int *distances)
{
    int n = pairwise->num_ranks, num_near = 0, near = 0, far = 0;
    for (int d = 1; d < n; d++)
        num_near += is_near(pairwise, d);
    for (int round = 0, taken = 0; round < n - 1; round++) {
        bool takes_near = (int64_t)(round + 1) * num_near / (n - 1) > taken;
        int *last = takes_near ? &near : &far;
        do
            ++*last;
        while (is_near(pairwise, *last) != takes_near);
        taken += takes_near;
        distances[round] = *last;
    }
}

static int partner(const struct pairwise *pairwise, int distance)
{
    int place = weft_layout_place(pairwise->layout, pairwise->rank);
    int at = pairwise->is_paired ? place ^ abs(distance)
                                 : weft_circle(place, distance, pairwise->num_ranks);
    return weft_layout_at(pairwise->layout, at);
}

// In place, what arrives waits until the block it replaces has left. Partners by XOR replace the
// block that leaves in the same round, so blocks of one size need a cell per round under way.
static void write_steps(const struct pairwise *pairwise, const struct weft_key *key,
                        bool is_in_place, const int *distances)
{
    struct weft_builder *builder = pairwise->builder;
    int n = pairwise->num_ranks;
    uint32_t own = (uint32_t)pairwise->rank, waiting = 0;
    bool takes_turns = pairwise->is_paired && key->collective == WEFT_ALL_TO_ALL;
    if (is_in_place)
        waiting = weft_builder_scratch(builder, WEFT_OUTPUT, 0,
                                       takes_turns ? rounds_under_way : (uint32_t)n);
    weft_emit_copy(builder, own, 1);
    uint32_t ends[rounds_under_way] = {0};
    for (int round = 0; round < n - 1; round++) {
        int to = partner(pairwise, distances[round]), from = partner(pairwise, -distances[round]);
        uint32_t stamp = (uint32_t)round, *end = &ends[round % rounds_under_way];
        uint32_t cell = waiting + (takes_turns ? stamp % rounds_under_way : (uint32_t)from);
        struct weft_label value = weft_label_leaf(from, own);
        if (round >= rounds_under_way) { // the send and the receive of an earlier round
            weft_builder_wait(builder, *end);
            weft_builder_wait(builder, *end + 1);
        }
        *end = weft_builder_num_steps(builder);
        weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, (uint32_t)to), weft_to(to, stamp));
        weft_builder_move(builder, 0, 1, weft_from(from, stamp, &value),
                          is_in_place ? weft_cells(WEFT_SCRATCH, cell)
                                      : weft_cells(WEFT_OUTPUT, (uint32_t)from));
        if (is_in_place && takes_turns)
            weft_builder_move(builder, 0, 1, weft_cells(WEFT_SCRATCH, cell),
                              weft_cells(WEFT_OUTPUT, (uint32_t)from));
    }
    for (int block = 0; is_in_place && !takes_turns && block < n; block++)
        if (block != pairwise->rank)
            weft_builder_move(builder, 0, 1, weft_cells(WEFT_SCRATCH, waiting + (uint32_t)block),
                              weft_cells(WEFT_OUTPUT, (uint32_t)block));
}

static weft_status pairwise_emit(const struct weft_key *key, const struct weft_layout *layout,
                                 int rank, unsigned aliasing, struct weft_program **program,
                                 struct weft_error *error)
{
    int n = key->num_ranks;
    WEFT_TRY(weft_emit_check_aliasing(key, aliasing, error));
    int *distances = malloc((size_t)n * sizeof *distances);
    if (!distances)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    struct pairwise pairwise = {
        NULL, layout, n, rank, is_power_of_two(n), near_distance_of(layout)};
    weft_status status =
        weft_emit_begin(key, rank, 1, "pairwise", aliasing, &pairwise.builder, error);
    if (status == WEFT_OK) {
        order_distances(&pairwise, distances);
        write_steps(&pairwise, key, aliasing & WEFT_IN_PLACE, distances);
        status = weft_builder_finish(&pairwise.builder, program, error);
    }
    free(distances);
    return status;
}

// Far rounds cross at the top, all ranks of a group at once; the near ones go on beside them.
static int64_t pairwise_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    int64_t n = key->num_ranks, block = weft_key_bytes(key) / n;
    int64_t near = near_distance_of(layout) - 1;
    int64_t far = n - 1 - near;
    struct weft_load inside = {.rounds = (near + rounds_under_way - 1) / rounds_under_way,
                               .steps = 2 * near,
                               .moved = (__int128)block * near};
    struct weft_load across = {.level = weft_layout_top(layout),
                               .is_crowd = true,
                               .rounds = (far + rounds_under_way - 1) / rounds_under_way,
                               .steps = 2 * far,
                               .moved = (__int128)block * far,
                               .copied = block};
    return weft_price_clamp(weft_price(key, layout, &inside) +
                            weft_price_apart(key, layout, &across, n / 2, true));
}

const struct weft_algorithm weft_algorithm_pairwise = {
    .name = "pairwise",
    .description = "all-to-all in rounds, one partner in each, near and far by turns",
    .counts = WEFT_COUNTS_PAIRWISE,
    .supports = pairwise_supports,
    .estimate = pairwise_estimate,
    .emit = pairwise_emit,
};
