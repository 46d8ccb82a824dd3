/*
 * SPDX-License-Identifier: Apache-2.0
 * relay: all-to-all across groups in two hops. All ranks outside a group, counted from the group's
 * end around the circle, are dealt to its members in equal runs. A member collects what its whole
 * group has for the ranks of its run, and sends each of them one message. So a rank sends one far
 * message for each other group instead of one for each rank there, and what goes to a collector
 * lies side by side in the input. Inside the group blocks go straight to their owners.
 *
 * Blocks are sorted once, by the collector: they arrive by sender and leave by receiver.
 */
#include <stdlib.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"

// Sorting takes a step for each block.
enum { RANKS_LIMIT = 8192 };

// On channel 0: what stays inside the group, and sorting. On channel 1: what leaves it.
enum { INSIDE, ACROSS };

struct relay {
    struct weft_builder *builder;
    const struct weft_layout *layout;
    const struct weft_groups *groups;
    int num_ranks;
    int rank, place, group;
    struct weft_label *labels; // (ranks) of one message
    uint32_t *far;             // (ranks) scratch cell of each message from another group
};

static const char *relay_supports(const struct weft_key *key, const struct weft_layout *layout)
{
    if (key->collective == WEFT_ALL_TO_ALL_V)
        return "blocks pass through ranks that do not know their sizes";
    if (key->collective != WEFT_ALL_TO_ALL)
        return "only all_to_all";
    if (layout && weft_layout_top(layout) == 0)
        return "all ranks are in one group";
    if (key->num_ranks > RANKS_LIMIT)
        return "sorting blocks for more than 8192 ranks takes too many steps";
    return key->num_ranks < 2 ? "one rank has nothing to exchange" : NULL;
}

/* ---- who collects what ---- */

static int size_of(const struct relay *relay, int group)
{
    return relay->groups->first[group + 1] - relay->groups->first[group];
}

// Groups are consecutive in the order of the layout, and numbered in that order.
static int start_of(const struct relay *relay, int group)
{
    return relay->groups->first[group];
}

// The rank outside a group at `distance` from its end, 0 .. num_ranks - size - 1.
static int outside(const struct relay *relay, int group, int distance)
{
    int end = start_of(relay, group) + size_of(relay, group);
    return weft_layout_at(relay->layout, (end + distance) % relay->num_ranks);
}

// Member `member` of a group collects for distances from this one to the next member's first.
static int first_distance(const struct relay *relay, int group, int member)
{
    int size = size_of(relay, group);
    int64_t product = (int64_t)(relay->num_ranks - size) * member;
    return (int)((product + size - 1) / size);
}

static int num_distances(const struct relay *relay, int group, int member)
{
    return first_distance(relay, group, member + 1) - first_distance(relay, group, member);
}

// Which rank of a group collects for the one at `place`, which is outside.
static int collector(const struct relay *relay, int group, int place)
{
    int start = start_of(relay, group), size = size_of(relay, group);
    int64_t distance = weft_circle(place, -(start + size), relay->num_ranks);
    return weft_layout_at(relay->layout,
                          start + (int)(distance * size / (relay->num_ranks - size)));
}

static int member_at(const struct relay *relay, int group, int member)
{
    return weft_layout_at(relay->layout, start_of(relay, group) + member);
}

/* ---- inside the group ---- */

// How many of `count` ranks outside the group, from `distance` on, have numbers side by side.
static int run_outside(const struct relay *relay, int distance, int count)
{
    int run = 1, first = outside(relay, relay->group, distance);
    while (run < count && outside(relay, relay->group, distance + run) == first + run)
        run++;
    return run;
}

static void send_to_collector(const struct relay *relay, int member)
{
    int first = first_distance(relay, relay->group, member);
    int count = num_distances(relay, relay->group, member);
    int to = member_at(relay, relay->group, member);
    for (int i = 0, run; i < count; i += run) {
        run = run_outside(relay, first + i, count - i);
        uint32_t cell = (uint32_t)outside(relay, relay->group, first + i);
        weft_builder_move(relay->builder, INSIDE, (uint32_t)run, weft_cells(WEFT_INPUT, cell),
                          weft_to(to, 0));
    }
}

// What `member` has for this rank's run, side by side from scratch cell `into` on.
static void collect(const struct relay *relay, int own, int member, uint32_t into)
{
    int first = first_distance(relay, relay->group, own);
    int count = num_distances(relay, relay->group, own);
    int from = member_at(relay, relay->group, member);
    for (int i = 0, run; i < count; i += run) {
        run = run_outside(relay, first + i, count - i);
        for (int j = 0; j < run; j++)
            relay->labels[j] =
                weft_label_leaf(from, (uint32_t)outside(relay, relay->group, first + i + j));
        weft_builder_move(relay->builder, INSIDE, (uint32_t)run, weft_from(from, 0, relay->labels),
                          weft_cells(WEFT_SCRATCH, into + (uint32_t)i));
    }
}

// In place, a block that arrives waits until the one it replaces has left.
static void exchange_inside(const struct relay *relay, int own, uint32_t collected,
                            bool is_in_place)
{
    struct weft_builder *builder = relay->builder;
    int size = size_of(relay, relay->group);
    int count = num_distances(relay, relay->group, own);
    uint32_t waiting = 0;
    if (is_in_place && size > 1)
        waiting = weft_builder_scratch(builder, WEFT_OUTPUT, 0, (uint32_t)size);
    weft_emit_copy(builder, (uint32_t)relay->rank, 1);
    for (int i = 1; i < size; i++) {
        int before = (own - i + size) % size, after = (own + i) % size;
        int to = member_at(relay, relay->group, after);
        int from = member_at(relay, relay->group, before);
        struct weft_label label = weft_label_leaf(from, (uint32_t)relay->rank);
        send_to_collector(relay, after);
        weft_builder_move(builder, INSIDE, 1, weft_cells(WEFT_INPUT, (uint32_t)to), weft_to(to, 0));
        collect(relay, own, before, collected + (uint32_t)(before * count));
        weft_builder_move(builder, INSIDE, 1, weft_from(from, 0, &label),
                          is_in_place ? weft_cells(WEFT_SCRATCH, waiting + (uint32_t)before)
                                      : weft_cells(WEFT_OUTPUT, (uint32_t)from));
    }
    for (int i = 1; i < size && is_in_place; i++) {
        int before = (own - i + size) % size;
        weft_builder_move(
            builder, INSIDE, 1, weft_cells(WEFT_SCRATCH, waiting + (uint32_t)before),
            weft_cells(WEFT_OUTPUT, (uint32_t)member_at(relay, relay->group, before)));
    }
}

/* ---- across groups ---- */

static bool is_side_by_side(const struct relay *relay, int group)
{
    int first = member_at(relay, group, 0);
    for (int i = 1; i < size_of(relay, group); i++)
        if (member_at(relay, group, i) != first + i)
            return false;
    return true;
}

// The group `distance` groups back; what it sends has passed as many others on the way.
static int group_before(const struct relay *relay, int distance)
{
    return weft_circle(relay->group, -distance, relay->groups->num_groups);
}

static void receive_far(const struct relay *relay, int distance)
{
    int group = group_before(relay, distance), size = size_of(relay, group);
    struct weft_operand into = weft_cells(WEFT_OUTPUT, (uint32_t)member_at(relay, group, 0));
    for (int i = 0; i < size; i++)
        relay->labels[i] = weft_label_leaf(member_at(relay, group, i), (uint32_t)relay->rank);
    if (!is_side_by_side(relay, group)) {
        relay->far[group] = weft_builder_scratch(relay->builder, WEFT_OUTPUT, 0, (uint32_t)size);
        into = weft_cells(WEFT_SCRATCH, relay->far[group]);
    }
    weft_builder_move(relay->builder, ACROSS, (uint32_t)size,
                      weft_from(collector(relay, group, relay->place), 1, relay->labels), into);
}

// After all: where the ranks of a group have no numbers side by side.
static void spread_far(const struct relay *relay, int distance)
{
    int group = group_before(relay, distance), size = size_of(relay, group);
    for (int i = 0; i < size && !is_side_by_side(relay, group); i++)
        weft_builder_move(relay->builder, INSIDE, 1,
                          weft_cells(WEFT_SCRATCH, relay->far[group] + (uint32_t)i),
                          weft_cells(WEFT_OUTPUT, (uint32_t)member_at(relay, group, i)));
}

// For the ranks of this one's run, the blocks of all members side by side. A run of one is so.
static void sort(const struct relay *relay, int own, uint32_t collected, uint32_t sorted)
{
    int first = first_distance(relay, relay->group, own);
    int count = num_distances(relay, relay->group, own);
    int size = size_of(relay, relay->group);
    for (int i = 0; i < count; i++)
        for (int m = 0; m < size; m++) {
            uint32_t to = (uint32_t)outside(relay, relay->group, first + i);
            struct weft_operand block =
                weft_cells(WEFT_SCRATCH, collected + (uint32_t)(m * count + i));
            if (m == own)
                block = weft_cells(WEFT_INPUT, to);
            if (m == own || count > 1)
                weft_builder_move(relay->builder, INSIDE, 1, block,
                                  weft_cells(WEFT_SCRATCH, sorted + (uint32_t)(i * size + m)));
        }
}

static void send_far(const struct relay *relay, int own, uint32_t sorted)
{
    int first = first_distance(relay, relay->group, own);
    int count = num_distances(relay, relay->group, own);
    int size = size_of(relay, relay->group);
    for (int i = 0; i < count; i++)
        weft_builder_move(relay->builder, ACROSS, (uint32_t)size,
                          weft_cells(WEFT_SCRATCH, sorted + (uint32_t)(i * size)),
                          weft_to(outside(relay, relay->group, first + i), 1));
}

static void write_steps(const struct relay *relay, bool is_in_place)
{
    int own = relay->place - start_of(relay, relay->group);
    int count = num_distances(relay, relay->group, own);
    uint32_t blocks = (uint32_t)(count * size_of(relay, relay->group));
    uint32_t collected = 0, sorted = 0;
    if (count > 0)
        sorted = collected = weft_builder_scratch(relay->builder, WEFT_INPUT, 0, blocks);
    if (count > 1)
        sorted = weft_builder_scratch(relay->builder, WEFT_INPUT, 0, blocks);
    exchange_inside(relay, own, collected, is_in_place);
    sort(relay, own, collected, sorted);
    for (int d = 1; d < relay->groups->num_groups; d++)
        receive_far(relay, d);
    send_far(relay, own, sorted);
    for (int d = 1; d < relay->groups->num_groups; d++)
        spread_far(relay, d);
}

/* ---- price, and which groups ---- */

// Sorted messages leave one after the other, while others are still being sorted.
static __int128 price_at(const struct weft_key *key, const struct weft_layout *layout, int level)
{
    const struct weft_groups *groups = &layout->levels[level];
    int64_t n = key->num_ranks, size = groups->largest, block = weft_key_bytes(key) / n;
    int64_t far = n - groups->smallest, runs = layout->is_in_order ? 1 : (far + size - 1) / size;
    int64_t run = (far + groups->smallest - 1) / groups->smallest; // of one collector
    int64_t sorted = run > 1 ? run * size : 1;
    struct weft_load inside = {.level = level,
                               .is_crowd = true,
                               .rounds = size > 1,
                               .steps = 2 * (size - 1) * (1 + runs) + 1,
                               .moved = (__int128)block * (run + 1) * (size - 1),
                               .messages = (size - 1) * (1 + runs)};
    struct weft_load across = {.level = weft_layout_top(layout),
                               .is_crowd = true,
                               .rounds = 1,
                               .steps = sorted + run + groups->num_groups - 1,
                               .moved = (__int128)block * run * size * (n - 1) / far,
                               .copied = (__int128)block * sorted,
                               .messages = (run * (n - 1) + far - 1) / far};
    if (!layout->is_in_order) {
        across.steps += far;
        across.copied += (__int128)block * far;
    }
    return weft_price(key, layout, &inside) + weft_price_at_once(key, layout, &across);
}

static int best_level(const struct weft_key *key, const struct weft_layout *layout)
{
    int best = 0;
    for (int level = 1; level < weft_layout_top(layout); level++)
        if (price_at(key, layout, level) < price_at(key, layout, best))
            best = level;
    return best;
}

static int64_t relay_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    return weft_price_clamp(price_at(key, layout, best_level(key, layout)));
}

static weft_status relay_emit(const struct weft_key *key, const struct weft_layout *layout,
                              int rank, unsigned aliasing, struct weft_program **program,
                              struct weft_error *error)
{
    int n = key->num_ranks;
    const struct weft_groups *groups = &layout->levels[best_level(key, layout)];
    struct relay relay = {.layout = layout,
                          .groups = groups,
                          .num_ranks = n,
                          .rank = rank,
                          .place = weft_layout_place(layout, rank),
                          .group = groups->of_rank[rank]};
    WEFT_TRY(weft_emit_check_aliasing(key, aliasing, error));
    relay.labels = malloc((size_t)n * sizeof *relay.labels);
    relay.far = malloc((size_t)n * sizeof *relay.far);
    weft_status status = WEFT_OUT_OF_MEMORY;
    if (relay.labels && relay.far)
        status = weft_emit_begin(key, rank, 1, "relay", aliasing, &relay.builder, error);
    else
        weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    if (status == WEFT_OK) {
        write_steps(&relay, aliasing & WEFT_IN_PLACE);
        status = weft_builder_finish(&relay.builder, program, error);
    }
    free(relay.labels);
    free(relay.far);
    return status;
}

const struct weft_algorithm weft_algorithm_relay = {
    .name = "relay",
    .description = "all-to-all in two hops; members of a group collect for a share of the others",
    .counts = WEFT_COUNTS_AGREED,
    .supports = relay_supports,
    .estimate = relay_estimate,
    .emit = relay_emit,
};
