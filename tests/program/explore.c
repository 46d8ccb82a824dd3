/*
 * SPDX-License-Identifier: Apache-2.0
 * See explore.h. A state is one flat array of words; a depth-first walk remembers the states it has
 * seen by a 128-bit hash. A step reads memory whenever a message leaves it and when it completes,
 * and writes when it completes: other moments are other interleavings only where there is a race,
 * and a race is found as a state.
 */
#include "tests/program/explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <cmocka.h>

#include "collectives/program/trees.h"

enum { TEXT_BYTES = 256, RANKS = 8 };

struct transfer {              // one message
    uint32_t sender, receiver; // numbers of steps over all ranks
    uint32_t source;           // of the receiver
    int before;                // the message before it on its lane, or -1
};

struct world {
    const struct weft_program *const *programs;
    int num_ranks;
    const enum weft_aliasing *aliasing;
    bool eager;
    uint32_t first_step[RANKS + 1];
    uint32_t first_location[RANKS + 1];
    int *rank_of_step;
    int *before_in_channel; // (steps) the step before it in its channel, or -1
    uint32_t *first_source; // (steps + 1) where the step's received values stand
    struct transfer *transfers;
    uint32_t num_transfers;
    size_t words; // of a state: steps (0 waiting, 1 posted, 2 complete), transfers, memory, sources
    struct weft_trees *trees;
    uint32_t *stack; // states to look at
    size_t depth, room;
    XXH128_hash_t *seen; // open-addressed
    size_t seen_size, num_seen;
    char *text;
};

static int rank_of(const struct world *world, uint32_t step)
{
    return world->rank_of_step[step];
}
static const struct weft_step *step_of(const struct world *world, uint32_t step)
{
    int rank = rank_of(world, step);
    return &world->programs[rank]->steps[step - world->first_step[rank]];
}
static uint32_t num_steps(const struct world *world)
{
    return world->first_step[world->num_ranks];
}
static uint32_t *moved(const struct world *world, uint32_t *state)
{
    return state + num_steps(world);
}
static uint32_t *location(const struct world *world, uint32_t *state, int rank,
                          const struct weft_ref *ref, uint32_t cell)
{
    return moved(world, state) + world->num_transfers + world->first_location[rank] +
           weft_program_location(world->programs[rank], world->aliasing[rank], ref->space,
                                 ref->index + cell);
}
static uint32_t *received(const struct world *world, uint32_t *state, uint32_t step)
{
    return moved(world, state) + world->num_transfers + world->first_location[world->num_ranks] +
           world->first_source[step];
}

// The k-th message that `from` sends `to` on a channel, as a step; UINT32_MAX when there are fewer.
static uint32_t nth_end(const struct world *world, int owner, int peer, uint32_t channel,
                        bool is_send, uint32_t k, uint32_t *source)
{
    const struct weft_program *program = world->programs[owner];
    for (uint32_t s = 0; s < program->num_steps; s++) {
        const struct weft_step *step = &program->steps[s];
        uint32_t first = is_send ? step->num_sources : 0;
        uint32_t count = is_send ? step->num_destinations : step->num_sources;
        for (uint32_t i = 0; i < count && step->channel == channel; i++) {
            const struct weft_ref *ref = &program->refs[step->first_ref + first + i];
            if (ref->space == WEFT_LANE && ref->index == (uint32_t)peer && k-- == 0) {
                *source = i;
                return world->first_step[owner] + s;
            }
        }
    }
    return UINT32_MAX;
}

static uint64_t extent(const struct world *world, uint32_t step, uint32_t cell)
{
    const struct weft_program *program = world->programs[rank_of(world, step)];
    const struct weft_ref *ref = &program->refs[step_of(world, step)->first_ref];
    while (ref->space == WEFT_LANE)
        ref++;
    return weft_program_extent(program, ref->space, ref->index + cell);
}

static bool fits(const struct world *world, uint32_t sender, uint32_t receiver)
{
    uint32_t cells = step_of(world, sender)->num_cells;
    if (cells != step_of(world, receiver)->num_cells)
        return false;
    for (uint32_t c = 0; c < cells; c++)
        if (extent(world, sender, c) != extent(world, receiver, c))
            return false;
    return true;
}

static bool match_lane(struct world *world, int from, int to, uint32_t channel)
{
    int before = -1;
    for (uint32_t k = 0;; k++) {
        uint32_t source, unused;
        uint32_t sender = nth_end(world, from, to, channel, true, k, &unused);
        uint32_t receiver = nth_end(world, to, from, channel, false, k, &source);
        if (sender == UINT32_MAX && receiver == UINT32_MAX)
            return true;
        if (sender == UINT32_MAX || receiver == UINT32_MAX || !fits(world, sender, receiver)) {
            snprintf(world->text, TEXT_BYTES, "message %u from %d to %d has no other end", k, from,
                     to);
            return false;
        }
        world->transfers =
            realloc(world->transfers, (world->num_transfers + 1) * sizeof *world->transfers);
        assert_non_null(world->transfers);
        world->transfers[world->num_transfers] =
            (struct transfer){sender, receiver, source, before};
        before = (int)world->num_transfers++;
    }
}

static bool open_world(struct world *world)
{
    for (int rank = 0; rank < world->num_ranks; rank++) {
        const struct weft_program *program = world->programs[rank];
        world->first_step[rank + 1] = world->first_step[rank] + program->num_steps;
        world->first_location[rank + 1] =
            world->first_location[rank] + weft_program_num_locations(program);
    }
    world->first_source = calloc(num_steps(world) + 1, sizeof(uint32_t));
    world->rank_of_step = malloc((num_steps(world) + 1) * sizeof(int));
    world->before_in_channel = malloc((num_steps(world) + 1) * sizeof(int));
    assert_true(world->first_source && world->rank_of_step && world->before_in_channel);
    for (int rank = 0; rank < world->num_ranks; rank++)
        for (uint32_t s = world->first_step[rank]; s < world->first_step[rank + 1]; s++) {
            world->rank_of_step[s] = rank;
            world->before_in_channel[s] = -1;
            for (uint32_t b = world->first_step[rank]; b < s; b++)
                if (step_of(world, b)->channel == step_of(world, s)->channel)
                    world->before_in_channel[s] = (int)b;
        }
    for (uint32_t s = 0; s < num_steps(world); s++)
        world->first_source[s + 1] =
            world->first_source[s] + step_of(world, s)->num_cells * step_of(world, s)->num_sources;
    for (int from = 0; from < world->num_ranks; from++)
        for (int to = 0; to < world->num_ranks; to++)
            for (uint32_t channel = 0; channel < WEFT_CHANNELS_LIMIT && from != to; channel++)
                if (!match_lane(world, from, to, channel))
                    return false;
    world->words = num_steps(world) + world->num_transfers +
                   world->first_location[world->num_ranks] + world->first_source[num_steps(world)];
    world->trees = weft_trees_create((int)weft_shape_leaves(&world->programs[0]->shape));
    assert_non_null(world->trees);
    return true;
}

// The step's value of one cell as things stand now; 0 when it has none.
static uint32_t value_now(const struct world *world, uint32_t *state, uint32_t number,
                          uint32_t cell)
{
    const struct weft_step *step = step_of(world, number);
    int rank = rank_of(world, number);
    uint32_t value = 0, one_cell;
    for (uint32_t i = 0; i < step->num_sources; i++) {
        const struct weft_ref *ref = weft_step_source(world->programs[rank], step, (int)i);
        uint32_t operand = ref->space == WEFT_LANE
                               ? received(world, state, number)[i * step->num_cells + cell]
                               : *location(world, state, rank, ref, cell);
        if (!operand)
            return 0;
        value = i == 0 ? operand : weft_trees_pair(world->trees, value, operand);
    }
    return weft_trees_is_of_one_cell(world->trees, value, &one_cell) ? value : 0;
}

static bool can_post(const struct world *world, const uint32_t *state, uint32_t number)
{
    int rank = rank_of(world, number), before = world->before_in_channel[number];
    uint32_t base = world->first_step[rank];
    const struct weft_step *step = step_of(world, number);
    if (state[number] != 0 || (before >= 0 && state[before] == 0))
        return false;
    for (uint32_t d = 0; d < step->num_dependencies; d++)
        if (state[base + world->programs[rank]->dependencies[step->first_dependency + d]] != 2)
            return false;
    return true;
}

static bool can_move(const struct world *world, uint32_t *state, uint32_t number)
{
    const struct transfer *transfer = &world->transfers[number];
    if (moved(world, state)[number] || state[transfer->sender] == 0 ||
        state[transfer->receiver] == 0 ||
        (transfer->before >= 0 && !moved(world, state)[transfer->before]))
        return false;
    for (uint32_t t = 0; t < world->num_transfers; t++)
        if (world->transfers[t].receiver == transfer->sender && !moved(world, state)[t])
            return false;
    return true;
}

static bool can_complete(const struct world *world, uint32_t *state, uint32_t number)
{
    if (state[number] != 1)
        return false;
    for (uint32_t t = 0; t < world->num_transfers; t++)
        if ((world->transfers[t].sender == number || world->transfers[t].receiver == number) &&
            !moved(world, state)[t])
            return false;
    return true;
}

static bool touches(const struct world *world, uint32_t number, uint32_t *state,
                    const uint32_t *where, bool only_writes)
{
    const struct weft_step *step = step_of(world, number);
    int rank = rank_of(world, number);
    uint32_t num_refs = (uint32_t)step->num_sources + step->num_destinations;
    for (uint32_t i = only_writes ? step->num_sources : 0; i < num_refs; i++) {
        const struct weft_ref *ref = &world->programs[rank]->refs[step->first_ref + i];
        for (uint32_t c = 0; ref->space != WEFT_LANE && c < step->num_cells; c++)
            if (location(world, state, rank, ref, c) == where)
                return true;
    }
    return false;
}

// Does a write of `writer` touch anything `other` touches?
static bool disturbs(const struct world *world, uint32_t *state, uint32_t writer, uint32_t other)
{
    const struct weft_step *step = step_of(world, writer);
    int rank = rank_of(world, writer);
    for (int i = 0; i < step->num_destinations; i++) {
        const struct weft_ref *ref = weft_step_destination(world->programs[rank], step, i);
        for (uint32_t c = 0; ref->space != WEFT_LANE && c < step->num_cells; c++)
            if (touches(world, other, state, location(world, state, rank, ref, c), false))
                return true;
    }
    return false;
}

// One step alone: no cell written twice, none read at another offset than it is written.
static bool disturbs_itself(const struct world *world, uint32_t *state, uint32_t number)
{
    const struct weft_step *step = step_of(world, number);
    int rank = rank_of(world, number);
    uint32_t num_refs = (uint32_t)step->num_sources + step->num_destinations;
    for (uint32_t i = step->num_sources; i < num_refs; i++)
        for (uint32_t j = 0; j < num_refs; j++)
            for (uint32_t c = 0; c < step->num_cells; c++)
                for (uint32_t d = 0; d < step->num_cells; d++) {
                    const struct weft_ref *refs = &world->programs[rank]->refs[step->first_ref];
                    if (refs[i].space == WEFT_LANE || refs[j].space == WEFT_LANE ||
                        (i == j && c == d) || (j < step->num_sources && c == d))
                        continue;
                    if (location(world, state, rank, &refs[i], c) ==
                        location(world, state, rank, &refs[j], d))
                        return true;
                }
    return false;
}

static bool is_race(const struct world *world, uint32_t *state, uint32_t posted)
{
    int rank = rank_of(world, posted);
    if (disturbs_itself(world, state, posted))
        return true;
    for (uint32_t s = world->first_step[rank]; s < world->first_step[rank + 1]; s++)
        if (s != posted && state[s] == 1 &&
            (disturbs(world, state, posted, s) || disturbs(world, state, s, posted)))
            return true;
    return false;
}

static bool is_end_right(const struct world *world, uint32_t *state)
{
    for (int rank = 0; rank < world->num_ranks; rank++) {
        const struct weft_program *program = world->programs[rank];
        struct weft_window output = weft_shape_output(&program->shape);
        for (uint32_t c = 0; c < output.cells; c++) {
            const struct weft_ref ref = {.space = WEFT_OUTPUT, .index = output.first + c};
            struct weft_goal goal = weft_shape_goal(&program->shape, output.first + c);
            uint32_t value = *location(world, state, rank, &ref, 0), cell;
            bool is_right = value && weft_trees_is_of_one_cell(world->trees, value, &cell) &&
                            cell == goal.cell && weft_trees_holds(world->trees, value, goal.rank) &&
                            weft_trees_label(world->trees, value).expression == program->results[c];
            if (is_right && program->shape.is_canonical)
                is_right = value == weft_trees_canonical(world->trees, 0,
                                                         weft_shape_leaves(&program->shape), cell);
            if (is_right && weft_shape_is_replicated(&program->shape))
                is_right = value == *location(world, state, 0, &ref, 0);
            if (!is_right) {
                snprintf(world->text, TEXT_BYTES, "rank %d output %u ends wrong", rank, c);
                return false;
            }
        }
    }
    return true;
}

// False if it was seen before.
static bool remember(struct world *world, const uint32_t *state)
{
    XXH128_hash_t hash = XXH3_128bits(state, world->words * sizeof *state);
    for (size_t i = hash.low64 & (world->seen_size - 1);; i = (i + 1) & (world->seen_size - 1)) {
        XXH128_hash_t *slot = &world->seen[i];
        if (slot->low64 == hash.low64 && slot->high64 == hash.high64)
            return false;
        if (!slot->low64 && !slot->high64) {
            *slot = hash;
            world->num_seen++;
            return true;
        }
    }
}

static void push(struct world *world, const uint32_t *state)
{
    if (!remember(world, state))
        return;
    if (world->depth == world->room) {
        world->room = 2 * world->room + 16;
        world->stack = realloc(world->stack, world->room * world->words * sizeof(uint32_t));
        assert_non_null(world->stack);
    }
    memcpy(world->stack + world->depth++ * world->words, state, world->words * sizeof *state);
}

static bool do_move(struct world *world, uint32_t *state, uint32_t number)
{
    const struct transfer *transfer = &world->transfers[number];
    uint32_t cells = step_of(world, transfer->sender)->num_cells;
    for (uint32_t c = 0; c < cells; c++) {
        uint32_t value = value_now(world, state, transfer->sender, c);
        received(world, state, transfer->receiver)[transfer->source * cells + c] = value;
        if (!value)
            return false;
    }
    moved(world, state)[number] = 1;
    return true;
}

static bool do_complete(struct world *world, uint32_t *state, uint32_t number)
{
    const struct weft_step *step = step_of(world, number);
    int rank = rank_of(world, number);
    uint32_t values[256];
    assert_true(step->num_cells <= 256);
    for (uint32_t c = 0; c < step->num_cells; c++)
        if (!(values[c] = value_now(world, state, number, c)))
            return false;
    for (int i = 0; i < step->num_destinations; i++) {
        const struct weft_ref *ref = weft_step_destination(world->programs[rank], step, i);
        for (uint32_t c = 0; ref->space != WEFT_LANE && c < step->num_cells; c++)
            *location(world, state, rank, ref, c) = values[c];
    }
    // What it received is spent; forgetting it makes equal states equal.
    memset(received(world, state, number), 0,
           step->num_cells * step->num_sources * sizeof(uint32_t));
    state[number] = 2;
    return true;
}

static bool do_post(struct world *world, uint32_t *state, uint32_t number)
{
    state[number] = 1;
    if (!is_race(world, state, number))
        return true;
    int rank = rank_of(world, number);
    snprintf(world->text, TEXT_BYTES, "rank %d step %u: race", rank,
             number - world->first_step[rank]);
    return false;
}

// The state after an event; eagerly, after all posting that it allows.
static bool arrive(struct world *world, uint32_t *state)
{
    for (uint32_t s = 0; world->eager && s < num_steps(world); s++)
        if (can_post(world, state, s) && !do_post(world, state, s))
            return false;
    push(world, state);
    return true;
}

static bool try_step(struct world *world, uint32_t *next, uint32_t s, bool *goes_on)
{
    int rank = rank_of(world, s);
    if (can_post(world, next, s)) {
        if (!do_post(world, next, s))
            return false;
    } else if (can_complete(world, next, s)) {
        if (!do_complete(world, next, s)) {
            snprintf(world->text, TEXT_BYTES, "rank %d step %u: a value without meaning", rank,
                     s - world->first_step[rank]);
            return false;
        }
    } else {
        return true;
    }
    *goes_on = true;
    return arrive(world, next);
}

static bool try_transfer(struct world *world, uint32_t *next, uint32_t t, bool *goes_on)
{
    if (!can_move(world, next, t))
        return true;
    if (!do_move(world, next, t)) {
        snprintf(world->text, TEXT_BYTES, "a message without meaning");
        return false;
    }
    *goes_on = true;
    return arrive(world, next);
}

// All states that follow `state`; `next` is room for one. False: something is wrong, see the text.
static bool expand(struct world *world, const uint32_t *state, uint32_t *next)
{
    bool goes_on = false;
    size_t bytes = world->words * sizeof *state;
    for (uint32_t s = 0; s < num_steps(world); s++) {
        memcpy(next, state, bytes);
        if (!try_step(world, next, s, &goes_on))
            return false;
    }
    for (uint32_t t = 0; t < world->num_transfers; t++) {
        memcpy(next, state, bytes);
        if (!try_transfer(world, next, t, &goes_on))
            return false;
    }
    for (uint32_t s = 0; s < num_steps(world) && !goes_on; s++)
        if (state[s] != 2) {
            snprintf(world->text, TEXT_BYTES, "deadlock");
            return false;
        }
    memcpy(next, state, bytes);
    return goes_on || is_end_right(world, next);
}

static bool push_start(struct world *world, uint32_t *state)
{
    memset(state, 0, world->words * sizeof *state);
    for (int rank = 0; rank < world->num_ranks; rank++) {
        struct weft_window input = weft_shape_input(&world->programs[rank]->shape);
        for (uint32_t c = input.first; c < input.first + input.cells; c++) {
            const struct weft_ref ref = {.space = WEFT_INPUT, .index = c};
            uint32_t first, count;
            uint32_t cells = input.cells / weft_shape_parts(&world->programs[rank]->shape);
            weft_shape_part(&world->programs[rank]->shape, (c - input.first) / cells, &first,
                            &count);
            *location(world, state, rank, &ref, 0) = weft_trees_canonical(
                world->trees, first, count, input.first + (c - input.first) % cells);
        }
    }
    return arrive(world, state);
}

enum explored explore(const struct weft_program *const *programs, int num_ranks,
                      const enum weft_aliasing *aliasing, bool eager, size_t states_limit,
                      size_t *num_states, char text[TEXT_BYTES])
{
    struct world world = {.programs = programs,
                          .num_ranks = num_ranks,
                          .aliasing = aliasing,
                          .eager = eager,
                          .text = text};
    enum explored result = EXPLORED_WRONG;
    uint32_t *state = NULL, *next = NULL;
    assert_true(num_ranks <= RANKS);
    if (!open_world(&world))
        goto done;
    for (world.seen_size = 64; world.seen_size < 4 * states_limit;)
        world.seen_size *= 2;
    world.seen = calloc(world.seen_size, sizeof *world.seen);
    state = malloc((world.words + 1) * sizeof *state);
    next = malloc((world.words + 1) * sizeof *next);
    assert_true(world.seen && state && next);
    if (!push_start(&world, state))
        goto done;
    result = EXPLORED_RIGHT;
    while (world.depth > 0) {
        if (world.num_seen > states_limit) {
            result = EXPLORED_PARTLY;
            break;
        }
        memcpy(state, world.stack + --world.depth * world.words, world.words * sizeof *state);
        if (!expand(&world, state, next)) {
            result = EXPLORED_WRONG;
            break;
        }
    }
done:
    *num_states = world.num_seen;
    free(state);
    free(next);
    free(world.seen);
    free(world.stack);
    free(world.first_source);
    free(world.rank_of_step);
    free(world.before_in_channel);
    free(world.transfers);
    weft_trees_destroy(&world.trees);
    return result;
}
