/*
 * SPDX-License-Identifier: Apache-2.0
 * pat: parallel aggregated trees, for all-gather and reduce-scatter. The block of each rank has a
 * binomial tree of its own; all trees are the same but for rotation and go on at the same time, so
 * each rank sends one message per round, with a block of every tree in which it sends. An
 * all-gather begins with the far ranks, when there is least to send, and ends with the near ones;
 * reduce-scatter is the same backwards.
 *
 * Near and far are digits: a place in the order of the layout is (group, place in it), and so on
 * inside, as far as all groups of a level have one size. A tree first spreads over the groups, from
 * member to member of the same place, so what is far goes there once; then inside.
 *
 * A rank numbers the blocks it holds in the order in which they come. By these numbers all ranks
 * do the same. Small blocks are kept in scratch in that order, which makes messages of them whole;
 * large ones go from where they belong to where they belong, as a message each.
 */
#include <stdlib.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"

enum {
    small_bytes = 32768,       // blocks worth a copy to make one message of many
    reduce_scatter_class = 23, // half of the blocks wait in scratch
    digits_limit = WEFT_LEVELS_LIMIT,
    rounds_limit = 64,
};

// Of `reach` consecutive places, groups of `within` are one unit; `size` units.
struct digit {
    int within, size;
};

// The blocks `have` .. are added by what numbers 0 .. `have` - 1 become `distance` units on, but
// for those that would pass the last unit.
struct round {
    struct digit digit;
    int distance; // units
    int have;
    int num_moved;
};

struct pat {
    struct weft_builder *builder;
    const struct weft_layout *layout;
    int num_ranks;
    int place;
    bool is_packed;
    int num_rounds; // of an all-gather, far to near
    struct round rounds[rounds_limit];
    int *offsets;   // (ranks) by number: how far behind this place a block began, digit by digit
    int *sources;   // (ranks) by number: the number it had at the sender
    uint32_t store; // packed: first scratch cell
    struct weft_label *cells;
};

static const char *pat_supports(const struct weft_key *key, const struct weft_layout *layout)
{
    (void)layout;
    switch (key->collective) {
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
        break;
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
        if (key->order == WEFT_ORDER_REPRODUCIBLE)
            return "each block has a tree of its own, rotated to its rank";
        if (key->size_class > reduce_scatter_class)
            return "all blocks would wait in scratch, more than 16 MiB";
        break;
    default:
        return "only all_gather and reduce_scatter";
    }
    return key->num_ranks < 2 ? "one rank has nothing to exchange" : NULL;
}

// From the outermost digit in; levels whose groups differ in size are none.
static int find_digits(const struct weft_layout *layout, struct digit *digits)
{
    int reach = layout->num_ranks, num_digits = 0;
    for (int l = weft_layout_top(layout) - 1; l >= 0; l--) {
        const struct weft_groups *groups = &layout->levels[l];
        if (groups->smallest != groups->largest || reach % groups->largest != 0 ||
            reach == groups->largest)
            continue;
        digits[num_digits++] = (struct digit){groups->largest, reach / groups->largest};
        reach = groups->largest;
    }
    if (reach > 1)
        digits[num_digits++] = (struct digit){1, reach};
    return num_digits;
}

static int digit_of(struct digit digit, int place)
{
    return place / digit.within % digit.size;
}

// The place `distance` units of `digit` on, in a circle.
static int move_by(struct digit digit, int place, int distance)
{
    int at = digit_of(digit, place);
    return place + (weft_circle(at, distance, digit.size) - at) * digit.within;
}

static int num_moved(const struct round *round, const int *offsets)
{
    int count = 0;
    for (int i = 0; i < round->have; i++)
        count += digit_of(round->digit, offsets[i]) + round->distance < round->digit.size;
    return count;
}

static void find_rounds(struct pat *pat)
{
    struct digit digits[digits_limit];
    int num_digits = find_digits(pat->layout, digits), have = 1;
    pat->offsets[0] = pat->sources[0] = 0;
    for (int d = 0; d < num_digits; d++)
        for (int k = weft_log2_ceil(digits[d].size) - 1; k >= 0; k--) {
            struct round *round = &pat->rounds[pat->num_rounds++];
            *round = (struct round){digits[d], 1 << k, have, 0};
            round->num_moved = num_moved(round, pat->offsets);
            for (int i = 0; i < round->have; i++) {
                if (digit_of(digits[d], pat->offsets[i]) + (1 << k) >= digits[d].size)
                    continue;
                pat->offsets[have] = pat->offsets[i] + (digits[d].within << k);
                pat->sources[have++] = i;
            }
        }
}

// The rank whose block has number `i` at `place`.
static int owner(const struct pat *pat, int place, int i)
{
    int at = place;
    for (int left = pat->offsets[i], r = 0; r < pat->num_rounds; r++) {
        struct digit digit = pat->rounds[r].digit;
        if (r && digit.within == pat->rounds[r - 1].digit.within)
            continue;
        at = move_by(digit, at, -(left / digit.within));
        left %= digit.within;
    }
    return weft_layout_at(pat->layout, at);
}

// Where block `i` lies.
static struct weft_operand held(const struct pat *pat, int i)
{
    if (pat->is_packed)
        return weft_cells(WEFT_SCRATCH, pat->store + (uint32_t)i);
    return weft_cells(WEFT_OUTPUT, (uint32_t)owner(pat, pat->place, i));
}

// How many of the numbers from `i` to `end` lie side by side, both here and at who sends them.
static int run_of(const struct pat *pat, int i, int end)
{
    int run = 1;
    if (pat->is_packed)
        while (i + run < end && pat->sources[i + run] == pat->sources[i] + run)
            run++;
    return run;
}

// As many as lie side by side, from the buffer `space` into the store or back.
static void copy_store(const struct pat *pat, enum weft_space space)
{
    int n = pat->num_ranks;
    for (int i = 0, run = 1; i < n; i += run, run = 1) {
        int rank = owner(pat, pat->place, i);
        while (i + run < n && owner(pat, pat->place, i + run) == rank + run)
            run++;
        struct weft_operand plain = weft_cells(space, (uint32_t)rank);
        bool is_out = space == WEFT_OUTPUT;
        weft_builder_move(pat->builder, 0, (uint32_t)run, is_out ? held(pat, i) : plain,
                          is_out ? plain : held(pat, i));
    }
}

static void make_store(struct pat *pat, enum weft_space like)
{
    for (int i = 0; i < pat->num_ranks; i++) {
        uint32_t cell =
            weft_builder_scratch(pat->builder, like, (uint32_t)owner(pat, pat->place, i), 1);
        pat->store = i ? pat->store : cell;
    }
}

static void all_gather(struct pat *pat)
{
    uint32_t own = (uint32_t)weft_layout_at(pat->layout, pat->place), stamp = 0;
    if (pat->is_packed)
        make_store(pat, WEFT_OUTPUT);
    weft_builder_move(pat->builder, 0, 1, weft_cells(WEFT_INPUT, own), held(pat, 0));
    for (int r = 0; r < pat->num_rounds; r++, stamp++) {
        const struct round *round = &pat->rounds[r];
        int end = round->have + round->num_moved;
        int to = weft_layout_at(pat->layout, move_by(round->digit, pat->place, round->distance));
        int from = weft_layout_at(pat->layout, move_by(round->digit, pat->place, -round->distance));
        for (int i = round->have, run; i < end; i += run) {
            run = run_of(pat, i, end);
            for (int c = 0; c < run; c++) {
                int rank = owner(pat, pat->place, i + c);
                pat->cells[c] = weft_label_leaf(rank, (uint32_t)rank);
            }
            weft_builder_move(pat->builder, 0, (uint32_t)run, held(pat, pat->sources[i]),
                              weft_to(to, stamp));
            weft_builder_move(pat->builder, 0, (uint32_t)run, weft_from(from, stamp, pat->cells),
                              held(pat, i));
        }
    }
    if (pat->is_packed)
        copy_store(pat, WEFT_OUTPUT);
}

// What `place` has of its block with offset `offset` after all rounds of a reduction that are, as
// those of an all-gather, at or behind `r`: its own value, then that of each child, near ones
// first.
static struct weft_label partial(const struct pat *pat, int place, int offset, int r, uint32_t cell)
{
    struct weft_label label = weft_label_leaf(weft_layout_at(pat->layout, place), cell);
    for (int at = pat->num_rounds - 1; at >= r; at--) {
        const struct round *round = &pat->rounds[at];
        int unit = digit_of(round->digit, offset);
        if (unit % (2 * round->distance) != 0 || unit + round->distance >= round->digit.size ||
            offset % round->digit.within != 0)
            continue;
        label = weft_label_combine(
            label, partial(pat, move_by(round->digit, place, round->distance),
                           offset + round->distance * round->digit.within, at + 1, cell));
    }
    return label;
}

static void reduce_scatter(struct pat *pat)
{
    uint32_t own = (uint32_t)weft_layout_at(pat->layout, pat->place), stamp = 0;
    make_store(pat, WEFT_INPUT);
    copy_store(pat, WEFT_INPUT);
    for (int r = pat->num_rounds - 1; r >= 0; r--, stamp++) {
        const struct round *round = &pat->rounds[r];
        int end = round->have + round->num_moved;
        int child = move_by(round->digit, pat->place, round->distance);
        int from = weft_layout_at(pat->layout, child);
        int to = weft_layout_at(pat->layout, move_by(round->digit, pat->place, -round->distance));
        for (int i = round->have, run; i < end; i += run) {
            run = run_of(pat, i, end);
            for (int c = 0; c < run; c++)
                pat->cells[c] = partial(pat, child, pat->offsets[i + c], r + 1,
                                        (uint32_t)owner(pat, child, i + c));
            weft_builder_move(pat->builder, 0, (uint32_t)run, held(pat, i), weft_to(to, stamp));
            struct weft_operand sum = held(pat, pat->sources[i]);
            weft_builder_combine(pat->builder, 0, (uint32_t)run, sum,
                                 weft_from(from, stamp, pat->cells), sum);
        }
    }
    weft_builder_move(pat->builder, 0, 1, held(pat, 0), weft_cells(WEFT_OUTPUT, own));
}

static bool is_packed(const struct weft_key *key)
{
    return weft_collective_reduces(key->collective) ||
           weft_key_bytes(key) / key->num_ranks < small_bytes;
}

static weft_status pat_emit(const struct weft_key *key, const struct weft_layout *layout, int rank,
                            unsigned aliasing, struct weft_program **program,
                            struct weft_error *error)
{
    size_t n = (size_t)key->num_ranks;
    struct pat pat = {.layout = layout,
                      .num_ranks = key->num_ranks,
                      .place = weft_layout_place(layout, rank),
                      .is_packed = is_packed(key)};
    pat.cells = malloc(n * sizeof *pat.cells);
    pat.offsets = malloc(2 * n * sizeof *pat.offsets);
    weft_status status = WEFT_OK;
    if (!pat.cells || !pat.offsets)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    if (status == WEFT_OK)
        status = weft_emit_begin(key, rank, 1, "pat", aliasing, &pat.builder, error);
    if (status == WEFT_OK) {
        pat.sources = pat.offsets + n;
        find_rounds(&pat);
        if (weft_collective_reduces(key->collective))
            reduce_scatter(&pat);
        else
            all_gather(&pat);
        status = weft_builder_finish(&pat.builder, program, error);
    }
    free(pat.cells);
    free(pat.offsets);
    return status;
}

// Where groups differ in size, circles leave them in every round.
static int64_t pat_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    struct digit digits[digits_limit];
    int num_digits = find_digits(layout, digits);
    int64_t bytes = weft_key_bytes(key), n = key->num_ranks, outer = 1;
    bool reduces = weft_collective_reduces(key->collective);
    __int128 price = 0;
    for (int d = 0; d < num_digits; d++) {
        int64_t reach = (int64_t)digits[d].within * digits[d].size;
        int level = 0;
        while (level < weft_layout_top(layout) && layout->levels[level].smallest < reach)
            level++;
        for (int k = weft_log2_ceil(digits[d].size) - 1; k >= 0; k--) {
            int64_t units = (digits[d].size - (INT64_C(1) << k) + (INT64_C(2) << k) - 1) >> (k + 1);
            __int128 moved = (__int128)bytes * units * outer / n;
            struct weft_load load = {.level = level,
                                     .is_crowd = true,
                                     .rounds = 1,
                                     .steps = is_packed(key) ? 4 : 2 * units * outer,
                                     .moved = moved,
                                     .combined = reduces ? moved : 0};
            price += weft_price_apart(key, layout, &load, digits[d].within << k, false);
        }
        outer *= digits[d].size;
    }
    struct weft_load own = {.copied = bytes / n};
    if (is_packed(key))
        own = (struct weft_load){.steps = n, .copied = bytes};
    return weft_price_clamp(price + weft_price(key, layout, &own));
}

const struct weft_algorithm weft_algorithm_pat = {
    .name = "pat",
    .description = "a tree per block, all at once; far partners exchange the least",
    .counts = WEFT_COUNTS_AGREED,
    .supports = pat_supports,
    .estimate = pat_estimate,
    .emit = pat_emit,
};
