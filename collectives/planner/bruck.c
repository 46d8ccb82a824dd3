/*
 * SPDX-License-Identifier: Apache-2.0
 * bruck: all-gather and all-to-all in ceil(log2(n)) rounds, for any number of ranks. Each rank
 * keeps the blocks in scratch, rotated so that its own is the first; then what it sends in a round
 * is known by index alone, the same on all ranks. Fewest messages, at the price of local copies.
 *
 * All-gather: index i holds the block of the rank i places on, and round k doubles what is there.
 * All-to-all: index i holds a block that must travel i places; in round k those with bit k do so by
 * 2^k places, all in one message.
 */
#include <stdlib.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"

// Blocks are packed in as many steps as there are ranks, and one message waits for half of them.
enum { exchange_limit = 8192 };

struct bruck {
    struct weft_builder *builder;
    const struct weft_layout *layout;
    int num_ranks;
    int place;                // of this rank
    struct weft_label *cells; // (ranks) labels of one message
};

static const char *bruck_supports(const struct weft_key *key, const struct weft_layout *layout)
{
    (void)layout;
    switch (key->collective) {
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
        return key->num_ranks < 2 ? "one rank has nothing to exchange" : NULL;
    case WEFT_ALL_TO_ALL:
        if (key->num_ranks > exchange_limit)
            return "packing blocks for more than 8192 ranks takes too many steps";
        return key->num_ranks < 2 ? "one rank has nothing to exchange" : NULL;
    case WEFT_ALL_TO_ALL_V:
        return "blocks pass through ranks that do not know their sizes";
    default:
        return "only all_gather and all_to_all";
    }
}

static int rank_at(const struct bruck *bruck, int place, int distance)
{
    return weft_layout_at(bruck->layout, weft_circle(place, distance, bruck->num_ranks));
}

// Between cells `scratch` + i and those of the rank `direction` * i places on, for all i, as many
// at a time as lie side by side.
static void copy_rotated(const struct bruck *bruck, uint32_t scratch, enum weft_space space,
                         int direction)
{
    int n = bruck->num_ranks;
    for (int i = 0, run = 1; i < n; i += run, run = 1) {
        int rank = rank_at(bruck, bruck->place, direction * i);
        while (i + run < n && rank_at(bruck, bruck->place, direction * (i + run)) == rank + run)
            run++;
        struct weft_operand rotated = weft_cells(WEFT_SCRATCH, scratch + (uint32_t)i);
        struct weft_operand plain = weft_cells(space, (uint32_t)rank);
        bool is_out = space == WEFT_OUTPUT;
        weft_builder_move(bruck->builder, 0, (uint32_t)run, is_out ? rotated : plain,
                          is_out ? plain : rotated);
    }
}

static void all_gather(const struct bruck *bruck)
{
    int n = bruck->num_ranks;
    uint32_t scratch = 0, stamp = 0;
    for (int i = 0; i < n; i++) {
        uint32_t cell = weft_builder_scratch(bruck->builder, WEFT_OUTPUT,
                                             (uint32_t)rank_at(bruck, bruck->place, i), 1);
        scratch = i ? scratch : cell;
    }
    weft_builder_move(bruck->builder, 0, 1,
                      weft_cells(WEFT_INPUT, (uint32_t)rank_at(bruck, bruck->place, 0)),
                      weft_cells(WEFT_SCRATCH, scratch));
    for (int held = 1; held < n; held *= 2, stamp++) {
        int count = held < n - held ? held : n - held;
        for (int i = 0; i < count; i++) {
            int from = rank_at(bruck, bruck->place, held + i);
            bruck->cells[i] = weft_label_leaf(from, (uint32_t)from);
        }
        weft_builder_move(bruck->builder, 0, (uint32_t)count, weft_cells(WEFT_SCRATCH, scratch),
                          weft_to(rank_at(bruck, bruck->place, -held), stamp));
        weft_builder_move(bruck->builder, 0, (uint32_t)count,
                          weft_from(rank_at(bruck, bruck->place, held), stamp, bruck->cells),
                          weft_cells(WEFT_SCRATCH, scratch + (uint32_t)held));
    }
    copy_rotated(bruck, scratch, WEFT_OUTPUT, 1);
}

// Indices with bit `bit`, run by run, between their cells and a message: `packs` or unpacks.
// Returns how many there are.
static int repack(const struct bruck *bruck, uint32_t scratch, uint32_t message, int bit,
                  bool packs)
{
    int n = bruck->num_ranks, count = 0;
    for (int first = bit; first < n; first += 2 * bit) {
        int run = bit < n - first ? bit : n - first;
        struct weft_operand own = weft_cells(WEFT_SCRATCH, scratch + (uint32_t)first);
        struct weft_operand packed = weft_cells(WEFT_SCRATCH, message + (uint32_t)count);
        weft_builder_move(bruck->builder, 0, (uint32_t)run, packs ? own : packed,
                          packs ? packed : own);
        count += run;
    }
    return count;
}

// What arrives in round `bit`: index i has come i mod `bit` places already.
static void label_arrivals(const struct bruck *bruck, int bit)
{
    int n = bruck->num_ranks, count = 0, sender = weft_circle(bruck->place, -bit, n);
    for (int i = bit; i < n; i = (i + 1) | bit) {
        int origin = weft_circle(sender, -(i & (bit - 1)), n);
        bruck->cells[count++] = weft_label_leaf(weft_layout_at(bruck->layout, origin),
                                                (uint32_t)rank_at(bruck, origin, i));
    }
}

static void all_to_all(const struct bruck *bruck)
{
    int n = bruck->num_ranks;
    uint32_t stamp = 0;
    uint32_t scratch = weft_builder_scratch(bruck->builder, WEFT_INPUT, 0, (uint32_t)n);
    uint32_t out = weft_builder_scratch(bruck->builder, WEFT_INPUT, 0, (uint32_t)(n + 1) / 2);
    uint32_t in = weft_builder_scratch(bruck->builder, WEFT_INPUT, 0, (uint32_t)(n + 1) / 2);
    copy_rotated(bruck, scratch, WEFT_INPUT, 1);
    for (int bit = 1; bit < n; bit *= 2, stamp++) {
        int count = repack(bruck, scratch, out, bit, true);
        label_arrivals(bruck, bit);
        weft_builder_move(bruck->builder, 0, (uint32_t)count, weft_cells(WEFT_SCRATCH, out),
                          weft_to(rank_at(bruck, bruck->place, bit), stamp));
        weft_builder_move(bruck->builder, 0, (uint32_t)count,
                          weft_from(rank_at(bruck, bruck->place, -bit), stamp, bruck->cells),
                          weft_cells(WEFT_SCRATCH, in));
        repack(bruck, scratch, in, bit, false);
    }
    copy_rotated(bruck, scratch, WEFT_OUTPUT, -1);
}

static weft_status bruck_emit(const struct weft_key *key, const struct weft_layout *layout,
                              int rank, unsigned aliasing, struct weft_program **program,
                              struct weft_error *error)
{
    struct bruck bruck = {NULL, layout, key->num_ranks, weft_layout_place(layout, rank), NULL};
    bruck.cells = malloc((size_t)key->num_ranks * sizeof *bruck.cells);
    if (!bruck.cells)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    weft_status status = weft_emit_begin(key, rank, 1, "bruck", aliasing, &bruck.builder, error);
    if (status == WEFT_OK) {
        if (key->collective == WEFT_ALL_TO_ALL)
            all_to_all(&bruck);
        else
            all_gather(&bruck);
        status = weft_builder_finish(&bruck.builder, program, error);
    }
    free(bruck.cells);
    return status;
}

// Circles leave their groups in every round, at first by one rank of a group, soon by all.
static int64_t bruck_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    int64_t n = key->num_ranks, bytes = weft_key_bytes(key), crossing = 1;
    bool is_exchange = key->collective == WEFT_ALL_TO_ALL;
    int top = weft_layout_top(layout);
    int64_t group = top ? layout->levels[0].largest : n;
    __int128 price = 0;
    for (int64_t bit = 1; bit < n; bit *= 2) {
        int64_t held = bit < n - bit ? bit : n - bit, runs = 0;
        if (is_exchange) {
            held = n / (2 * bit) * bit + (n % (2 * bit) > bit ? n % (2 * bit) - bit : 0);
            runs = (n - bit + 2 * bit - 1) / (2 * bit);
        }
        crossing = bit < group ? bit : group;
        struct weft_load load = {.level = top,
                                 .is_crowd = crossing * 2 > group,
                                 .rounds = 1,
                                 .steps = 2 + 2 * runs,
                                 .moved = (__int128)bytes * held / n};
        struct weft_load repacked = {.copied = is_exchange ? load.moved * 2 : 0};
        price +=
            weft_price_apart(key, layout, &load, bit, false) + weft_price(key, layout, &repacked);
    }
    int64_t turns = is_exchange ? 2 : 1; // rotations; out of order they are copied one by one
    int64_t runs = layout->is_in_order && !is_exchange ? 2 : n;
    struct weft_load own = {.steps = turns * runs, .copied = (__int128)bytes * turns};
    return weft_price_clamp(price + weft_price(key, layout, &own));
}

const struct weft_algorithm weft_algorithm_bruck = {
    .name = "bruck",
    .description = "what is held doubles in each round, around a circle; blocks rotated",
    .counts = WEFT_COUNTS_AGREED,
    .supports = bruck_supports,
    .estimate = bruck_estimate,
    .emit = bruck_emit,
};
