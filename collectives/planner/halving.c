/*
 * SPDX-License-Identifier: Apache-2.0
 * halving: recursive halving and doubling for any number of ranks. An interval of ranks owns the
 * blocks of the same numbers. To reduce, it splits in two halves (the left one larger by at most
 * one); the i-th rank of the left and the i-th of the right exchange the blocks of each other's
 * half, and each half goes on alone. A left rank without partner gives its blocks to the last rank
 * of the right and gets nothing. After log2(n) rounds each rank owns its own block, complete.
 * Gathering is the same backwards.
 */
#include <stdlib.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"

enum { levels_limit = 32 };

// One split, as this rank sees it.
struct split {
    int low, middle, high; // the interval and where its right half begins
    int partner;           // sends and receives; -1: none (then `extra` takes what we send)
    int extra;             // right rank: the left one without partner, or -1;
                           // left rank without partner: the right one that serves it
    struct weft_label partner_label, extra_label; // what they have combined before this split
};

struct halving {
    struct weft_builder *builder;
    int num_ranks;
    int rank;
    int height;
    int num_levels; // splits until this rank is alone
    struct split splits[levels_limit];
    struct weft_label *labels; // (ranks) during the walk, what each has combined; then the results
    struct weft_label *before; // (ranks) the same one level earlier
    struct weft_label *cells;  // (ranks) labels of one message
};

static const char *halving_supports(const struct weft_key *key, const struct weft_layout *layout)
{
    (void)layout;
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
        return key->order == WEFT_ORDER_REPRODUCIBLE ? "combines far ranks first, not as the tree"
                                                     : NULL;
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
        return NULL;
    default:
        return "only all_reduce, reduce_scatter and all_gather";
    }
}

static int middle_of(int low, int high)
{
    return low + (high - low + 1) / 2;
}

static bool is_left(const struct split *split, int rank)
{
    return rank < split->middle;
}

static struct split split_of(int low, int high, int rank)
{
    int middle = middle_of(low, high), left = middle - low, right = high - middle;
    struct split split = {.low = low, .middle = middle, .high = high, .partner = -1, .extra = -1};
    if (rank >= middle)
        split.partner = rank - left;
    else if (rank - low < right)
        split.partner = rank + left;
    else
        split.extra = high - 1;
    if (rank == high - 1 && left > right)
        split.extra = middle - 1;
    return split;
}

static void find_splits(struct halving *halving)
{
    int low = 0, high = halving->num_ranks;
    while (high - low > 1) {
        struct split *split = &halving->splits[halving->num_levels++];
        *split = split_of(low, high, halving->rank);
        if (is_left(split, halving->rank))
            high = split->middle;
        else
            low = split->middle;
    }
}

// `labels` after one level, from `before`, for the ranks of [low, high), which split at `depth`.
static void combine_interval(struct halving *halving, int low, int high, int depth, int level)
{
    if (high - low < 2)
        return;
    int middle = middle_of(low, high), left = middle - low;
    if (depth < level) {
        combine_interval(halving, low, middle, depth + 1, level);
        combine_interval(halving, middle, high, depth + 1, level);
        return;
    }
    for (int i = middle; i < high; i++)
        halving->labels[i] = halving->labels[i - left] =
            weft_label_combine(halving->before[i], halving->before[i - left]);
    if (left > high - middle)
        halving->labels[high - 1] =
            weft_label_combine(halving->labels[high - 1], halving->before[middle - 1]);
}

// The labels of all ranks, level by level; on the way, those of this rank's peers.
static void find_labels(struct halving *halving)
{
    for (int i = 0; i < halving->num_ranks; i++)
        halving->labels[i] = weft_label_leaf(i, 0);
    for (int level = 0; level < halving->height; level++) {
        for (int i = 0; i < halving->num_ranks; i++)
            halving->before[i] = halving->labels[i];
        if (level < halving->num_levels) {
            struct split *split = &halving->splits[level];
            if (split->partner >= 0)
                split->partner_label = halving->before[split->partner];
            if (split->extra >= 0)
                split->extra_label = halving->before[split->extra];
        }
        combine_interval(halving, 0, halving->num_ranks, 0, level);
    }
}

// One value in many cells.
static const struct weft_label *spread(struct weft_label *cells, struct weft_label label, int first,
                                       int count)
{
    for (int i = 0; i < count; i++)
        cells[i] = weft_label_at(label, (uint32_t)(first + i));
    return cells;
}

// Where the partial sums of a block lie.
struct place {
    enum weft_space space;
    int shift; // cell minus block
};

static struct weft_operand block_at(struct place place, int block)
{
    return weft_cells(place.space, (uint32_t)(block + place.shift));
}

// What the peers of a split send, combined with what lies in `from`, into `into`.
static void receive_half(struct halving *halving, const struct split *split, uint32_t stamp,
                         struct place from, struct place into)
{
    bool left = is_left(split, halving->rank);
    int first = left ? split->low : split->middle;
    int count = (left ? split->middle : split->high) - first;
    struct weft_label *more = halving->before; // its walk is over
    struct weft_operand sources[3] = {
        block_at(from, first),
        weft_from(split->partner, stamp,
                  spread(halving->cells, split->partner_label, first, count))};
    int num_sources = 2;
    struct weft_operand destination = block_at(into, first);
    if (split->extra >= 0)
        sources[num_sources++] =
            weft_from(split->extra, stamp, spread(more, split->extra_label, first, count));
    weft_builder_step(halving->builder, 0, (uint32_t)count, sources, num_sources, &destination, 1);
}

// Halves until this rank is alone with its block, which then lies in the output. `sums` is where
// partial sums grow.
static void reduce_scatter(struct halving *halving, struct place sums)
{
    struct place from = {WEFT_INPUT, 0}, output = {WEFT_OUTPUT, 0};
    for (int level = 0; level < halving->num_levels; level++) {
        const struct split *split = &halving->splits[level];
        bool left = is_left(split, halving->rank);
        int first = left ? split->middle : split->low;
        int count = (left ? split->high : split->middle) - first;
        int to = split->partner >= 0 ? split->partner : split->extra;
        weft_builder_move(halving->builder, 0, (uint32_t)count, block_at(from, first),
                          weft_to(to, (uint32_t)level));
        if (split->partner < 0)
            continue;
        bool is_last = level == halving->num_levels - 1;
        receive_half(halving, split, (uint32_t)level, from, is_last ? output : sums);
        from = sums;
    }
}

// Doubles from the own block to all of them. `labels`: of complete blocks.
static void all_gather(struct halving *halving, uint32_t first_stamp)
{
    const struct place output = {WEFT_OUTPUT, 0};
    for (int level = halving->num_levels - 1; level >= 0; level--) {
        const struct split *split = &halving->splits[level];
        bool left = is_left(split, halving->rank);
        int own = left ? split->low : split->middle, other = left ? split->middle : split->low;
        int num_own = (left ? split->middle : split->high) - own;
        int num_other = split->high - split->low - num_own;
        uint32_t stamp = first_stamp + (uint32_t)(halving->height - 1 - level);
        if (split->partner >= 0)
            weft_builder_move(halving->builder, 0, (uint32_t)num_own, block_at(output, own),
                              weft_to(split->partner, stamp));
        if (split->extra >= 0 && !left)
            weft_builder_move(halving->builder, 0, (uint32_t)num_own, block_at(output, own),
                              weft_to(split->extra, stamp));
        weft_builder_move(halving->builder, 0, (uint32_t)num_other,
                          weft_from(split->partner >= 0 ? split->partner : split->extra, stamp,
                                    &halving->labels[other]),
                          block_at(output, other));
    }
}

// The first half this rank receives is the largest it ever holds.
static struct place scratch_for(struct halving *halving)
{
    for (int level = 0; level < halving->num_levels - 1; level++) {
        const struct split *split = &halving->splits[level];
        if (split->partner < 0)
            continue;
        bool left = is_left(split, halving->rank);
        int first = left ? split->low : split->middle;
        int count = (left ? split->middle : split->high) - first;
        uint32_t cell =
            weft_builder_scratch(halving->builder, WEFT_INPUT, (uint32_t)first, (uint32_t)count);
        return (struct place){WEFT_SCRATCH, (int)cell - first};
    }
    return (struct place){WEFT_OUTPUT, 0};
}

static void write_steps(struct halving *halving, const struct weft_key *key)
{
    find_splits(halving);
    find_labels(halving);
    for (int i = 0; i < halving->num_ranks; i++) {
        bool is_sum = weft_collective_reduces(key->collective);
        halving->labels[i] = is_sum ? weft_label_at(halving->labels[i], (uint32_t)i)
                                    : weft_label_leaf(i, (uint32_t)i);
    }
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
        reduce_scatter(halving, (struct place){WEFT_OUTPUT, 0});
        all_gather(halving, (uint32_t)halving->height);
        break;
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
        reduce_scatter(halving, scratch_for(halving));
        break;
    default:
        weft_emit_copy(halving->builder, (uint32_t)halving->rank, 1);
        all_gather(halving, 0);
        break;
    }
}

static weft_status halving_emit(const struct weft_key *key, const struct weft_layout *layout,
                                int rank, unsigned aliasing, struct weft_program **program,
                                struct weft_error *error)
{
    (void)layout;
    int n = key->num_ranks;
    uint32_t pieces = key->collective == WEFT_ALL_REDUCE ? (uint32_t)n : 1;
    struct weft_label *labels = malloc(3 * (size_t)n * sizeof *labels);
    if (!labels)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    struct halving halving = {.num_ranks = n,
                              .rank = rank,
                              .height = weft_log2_ceil(n),
                              .labels = labels,
                              .before = labels + n,
                              .cells = labels + 2 * n};
    weft_status status =
        weft_emit_begin(key, rank, pieces, "halving", aliasing, &halving.builder, error);
    if (status == WEFT_OK) {
        if (n == 1)
            weft_emit_alone(halving.builder, key, pieces);
        else
            write_steps(&halving, key);
        status = weft_builder_finish(&halving.builder, program, error);
    }
    free(labels);
    return status;
}

// Round by round along the left edge, where intervals are largest. All ranks of a group cross
// its links at once, while intervals are wider than groups.
static int64_t halving_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    int64_t bytes = weft_key_bytes(key), n = key->num_ranks;
    bool halves = weft_collective_reduces(key->collective);
    bool doubles = key->collective == WEFT_ALL_REDUCE || !halves;
    __int128 price = 0;
    for (int64_t interval = n; interval > 1; interval = (interval + 1) / 2) {
        __int128 half = (__int128)bytes * ((interval + 1) / 2) / n;
        int level = weft_layout_block_level(layout, interval);
        // The last rank of an odd interval takes in two messages.
        __int128 more = interval % 2 ? 2 : 1;
        struct weft_load down = {level, true, 1, 2, half * more, half * more, 0, 0, 0};
        struct weft_load up = {level, true, 1, 2, half * more, 0, 0, 0, 0};
        price += halves ? weft_price_apart(key, layout, &down, interval / 2, true) : 0;
        price += doubles ? weft_price_apart(key, layout, &up, interval / 2, true) : 0;
    }
    struct weft_load own = {.copied = halves ? 0 : bytes / n};
    return weft_price_clamp(price + weft_price(key, layout, &own));
}

const struct weft_algorithm weft_algorithm_halving = {
    .name = "halving",
    .description = "recursive halving and doubling: partners exchange ever smaller halves",
    .counts = WEFT_COUNTS_AGREED,
    .supports = halving_supports,
    .estimate = halving_estimate,
    .emit = halving_emit,
};
