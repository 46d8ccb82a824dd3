/*
 * SPDX-License-Identifier: Apache-2.0
 * See evaluate_private.h. Lanes are found by a table of (from, to, distance of blocks, channel):
 * the k-th send of a lane meets its k-th receive.
 */
#include <stdlib.h>

#include "collectives/planner/evaluate_private.h"

enum { bytes_per_kib = 1024 };

struct lane {
    uint64_t key;         // 0: free
    uint32_t first, last; // messages whose receiver is sought
};

struct lanes {
    struct lane *table;
    uint64_t mask;
};

static int64_t piece_begin(int64_t block, int64_t pieces, int64_t cell)
{
    return cell / pieces * block + (int64_t)((__int128)block * (cell % pieces) / pieces);
}

int64_t weft_evaluate_step_bytes(const struct weft_program *program, const struct weft_step *step,
                                 int64_t bytes)
{
    int64_t pieces = program->shape.pieces, block = bytes / weft_shape_blocks(&program->shape);
    const struct weft_ref *refs = &program->refs[step->first_ref];
    int at = 0, num_refs = step->num_sources + step->num_destinations;
    while (at < num_refs && refs[at].space == WEFT_LANE)
        at++;
    if (at < num_refs && refs[at].space != WEFT_SCRATCH)
        return piece_begin(block, pieces, (int64_t)refs[at].index + step->num_cells) -
               piece_begin(block, pieces, refs[at].index);
    int64_t sum = 0;
    for (uint32_t c = 0; c < step->num_cells; c++) {
        int64_t cell = at < num_refs ? program->scratch[refs[at].index + c].cell
                                     : program->labels[refs[0].label + c].cell;
        sum += piece_begin(block, pieces, cell + 1) - piece_begin(block, pieces, cell);
    }
    return sum;
}

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an evaluation");
}

static weft_status count(struct weft_eval_set *set, struct weft_error *error)
{
    uint64_t steps = 0, refs = 0, dependents = 0, channels = 0, messages = 0;
    set->first_step = calloc((size_t)set->fold.block + 1, sizeof *set->first_step);
    set->first_channel = calloc((size_t)set->fold.block + 1, sizeof *set->first_channel);
    if (!set->first_step || !set->first_channel)
        return no_memory(error);
    for (int r = 0; r < set->fold.block; r++) {
        const struct weft_program *program = set->programs[r];
        set->first_step[r] = (uint32_t)steps;
        set->first_channel[r] = (uint32_t)channels;
        steps += program->num_steps;
        refs += program->num_refs;
        dependents += program->num_dependencies;
        channels += program->num_channels;
        for (uint32_t i = 0; i < program->num_steps; i++)
            for (int d = 0; d < program->steps[i].num_destinations; d++)
                messages +=
                    weft_step_destination(program, &program->steps[i], d)->space == WEFT_LANE;
        if (refs > UINT32_MAX / 4 || dependents > UINT32_MAX / 4)
            return weft_fail(error, WEFT_UNSUPPORTED, "too many steps to evaluate");
    }
    set->first_step[set->fold.block] = set->num_steps = (uint32_t)steps;
    set->first_channel[set->fold.block] = set->num_channels = (uint32_t)channels;
    set->num_refs = (uint32_t)refs;
    set->num_dependents = (uint32_t)dependents;
    set->num_messages = (uint32_t)messages;
    set->steps = calloc((size_t)steps + 1, sizeof *set->steps);
    set->dependents = calloc((size_t)dependents + 1, sizeof *set->dependents);
    set->message_of = calloc((size_t)refs + 1, sizeof *set->message_of);
    set->cursor = calloc((size_t)channels + 1, sizeof *set->cursor);
    set->messages = calloc((size_t)messages + 1, sizeof *set->messages);
    if (!set->steps || !set->dependents || !set->message_of || !set->cursor || !set->messages)
        return no_memory(error);
    return WEFT_OK;
}

static int64_t price_of(int64_t bytes, int64_t times, int64_t ps_per_kib)
{
    __int128 price = (__int128)bytes * times * ps_per_kib;
    price = (price + bytes_per_kib - 1) / bytes_per_kib;
    return price > INT64_MAX / 4096 ? INT64_MAX / 4096 : (int64_t)price;
}

// What arrives lands in the first cell written, or is combined there; more cells are copies.
static void price_step(const struct weft_eval_set *set, const struct weft_program *program,
                       struct weft_eval_step *made)
{
    const struct weft_step *step = made->step;
    const struct weft_costs *costs = &set->layout->costs;
    int written = 0;
    for (int i = 0; i < step->num_sources; i++)
        made->num_receives += weft_step_source(program, step, i)->space == WEFT_LANE;
    for (int i = 0; i < step->num_destinations; i++)
        written += weft_step_destination(program, step, i)->space != WEFT_LANE;
    made->num_sends = (uint16_t)(step->num_destinations - written);
    bool is_landed = written > 0 && (made->num_receives > 0 || step->num_sources > 1);
    made->local_ps =
        costs->sharing * (price_of(made->bytes, step->num_sources - 1, costs->combine_ps_per_kib) +
                          price_of(made->bytes, written - is_landed, costs->copy_ps_per_kib));
}

static void lay_out(struct weft_eval_set *set, int rank, uint32_t first_ref)
{
    const struct weft_program *program = set->programs[rank];
    uint32_t *last = set->cursor + set->first_channel[rank]; // while the channels are strung
    for (uint32_t c = 0; c < program->num_channels; c++)
        last[c] = WEFT_NO_NUMBER;
    for (uint32_t i = program->num_steps; i-- > 0;) {
        const struct weft_step *step = &program->steps[i];
        uint32_t number = set->first_step[rank] + i;
        struct weft_eval_step *made = &set->steps[number];
        made->step = step;
        made->rank = rank;
        made->first_ref = first_ref + step->first_ref;
        made->next = last[step->channel];
        made->num_waiting = step->num_dependencies;
        made->local_end_ps = -1;
        made->bytes = weft_evaluate_step_bytes(program, step, set->bytes);
        price_step(set, program, made);
        last[step->channel] = number;
    }
}

// Who waits for whom, turned around.
static void turn_dependencies(struct weft_eval_set *set)
{
    for (int pass = 0; pass < 2; pass++) {
        for (int r = 0; r < set->fold.block; r++)
            for (uint32_t i = 0; i < set->programs[r]->num_steps; i++) {
                const struct weft_step *step = &set->programs[r]->steps[i];
                for (uint32_t d = 0; d < step->num_dependencies; d++) {
                    uint32_t on = set->programs[r]->dependencies[step->first_dependency + d];
                    struct weft_eval_step *before = &set->steps[set->first_step[r] + on];
                    if (pass == 0)
                        before->first_dependent++;
                    else
                        set->dependents[--before->first_dependent] = set->first_step[r] + i;
                }
            }
        uint32_t sum = 0;
        for (uint32_t s = 0; pass == 0 && s <= set->num_steps; s++)
            set->steps[s].first_dependent = sum += set->steps[s].first_dependent;
    }
    set->steps[set->num_steps].first_dependent = set->num_dependents;
}

static struct lane *find_lane(struct lanes *lanes, uint64_t key)
{
    uint64_t hash = key * UINT64_C(0x9e3779b97f4a7c15);
    for (uint64_t i = hash >> 20;; i++) {
        struct lane *lane = &lanes->table[i & lanes->mask];
        if (lane->key == key || !lane->key)
            return lane;
    }
}

// From `from` to `to`, of which one is in the first block.
static uint64_t lane_key(const struct weft_eval_set *set, int from, int to, uint16_t channel)
{
    uint64_t block = (uint64_t)set->fold.block;
    uint64_t a = (uint64_t)from / block, b = (uint64_t)to / block;
    uint64_t distance = (uint64_t)weft_fold_distance(&set->fold, (int)a, (int)b);
    uint64_t ends = ((uint64_t)from % block) * block + (uint64_t)to % block;
    return 1 + ((distance * block * block + ends) * WEFT_CHANNELS_LIMIT + channel);
}

static weft_status lose(const struct weft_eval_set *set, uint32_t number, const char *what,
                        int peer, struct weft_error *error)
{
    int rank = set->steps[number].rank;
    return weft_fail(error, WEFT_UNPROVED, "rank %d step %u: %s rank %d", rank,
                     number - set->first_step[rank], what, peer);
}

static weft_status take_sends(struct weft_eval_set *set, struct lanes *lanes,
                              struct weft_error *error)
{
    uint32_t made = 0;
    for (uint32_t s = 0; s < set->num_steps; s++) {
        const struct weft_eval_step *step = &set->steps[s];
        const struct weft_program *program = set->programs[step->rank];
        for (int d = 0; d < step->step->num_destinations; d++) {
            const struct weft_ref *ref = weft_step_destination(program, step->step, d);
            if (ref->space != WEFT_LANE)
                continue;
            if (ref->index >= (uint32_t)set->layout->num_ranks)
                return lose(set, s, "sends to", (int)ref->index, error);
            struct lane *lane =
                find_lane(lanes, lane_key(set, step->rank, (int)ref->index, step->step->channel));
            bool is_first = !lane->key;
            if (is_first)
                *lane = (struct lane){
                    lane_key(set, step->rank, (int)ref->index, step->step->channel), made, made};
            else
                set->messages[lane->last].next = made;
            lane->last = made;
            set->message_of[step->first_ref + step->step->num_sources + (uint32_t)d] = made;
            set->messages[made++] = (struct weft_eval_message){.from_step = s,
                                                               .to_step = WEFT_NO_NUMBER,
                                                               .to = (int)ref->index,
                                                               .flow = -1,
                                                               .place = WEFT_NO_NUMBER,
                                                               .next = WEFT_NO_NUMBER,
                                                               .is_behind = !is_first};
        }
    }
    return WEFT_OK;
}

static weft_status take_receives(struct weft_eval_set *set, struct lanes *lanes,
                                 struct weft_error *error)
{
    for (uint32_t s = 0; s < set->num_steps; s++) {
        const struct weft_eval_step *step = &set->steps[s];
        const struct weft_program *program = set->programs[step->rank];
        for (int i = 0; i < step->step->num_sources; i++) {
            const struct weft_ref *ref = weft_step_source(program, step->step, i);
            if (ref->space != WEFT_LANE)
                continue;
            struct lane *lane =
                find_lane(lanes, lane_key(set, (int)ref->index, step->rank, step->step->channel));
            if (!lane->key || lane->first == WEFT_NO_NUMBER)
                return lose(set, s, "waits for a message that nobody sends, from", (int)ref->index,
                            error);
            struct weft_eval_message *message = &set->messages[lane->first];
            if (set->fold.num_blocks == 1 && set->steps[message->from_step].bytes != step->bytes)
                return lose(set, s, "expects a message of another size from", (int)ref->index,
                            error);
            message->to_step = s;
            set->message_of[step->first_ref + (uint32_t)i] = lane->first;
            lane->first = message->next;
        }
    }
    for (uint32_t m = 0; m < set->num_messages; m++)
        if (set->messages[m].to_step == WEFT_NO_NUMBER)
            return lose(set, set->messages[m].from_step, "sends a message that is not received by",
                        set->messages[m].to, error);
    return WEFT_OK;
}

weft_status weft_eval_set_make(struct weft_eval_set *set, struct weft_error *error)
{
    struct lanes lanes = {NULL, 64};
    uint32_t first_ref = 0;
    WEFT_TRY(count(set, error));
    for (int r = 0; r < set->fold.block; r++) {
        lay_out(set, r, first_ref);
        first_ref += set->programs[r]->num_refs;
    }
    turn_dependencies(set);
    while (lanes.mask < 2 * (uint64_t)set->num_messages)
        lanes.mask *= 2;
    lanes.table = calloc(lanes.mask, sizeof *lanes.table);
    if (!lanes.table)
        return no_memory(error);
    lanes.mask--;
    weft_status status = take_sends(set, &lanes, error);
    if (status == WEFT_OK)
        status = take_receives(set, &lanes, error);
    free(lanes.table);
    return status;
}

void weft_eval_set_free(struct weft_eval_set *set)
{
    free(set->first_step);
    free(set->first_channel);
    free(set->steps);
    free(set->dependents);
    free(set->message_of);
    free(set->cursor);
    free(set->messages);
}
