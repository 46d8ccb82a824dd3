/*
 * SPDX-License-Identifier: Apache-2.0
 * The local check; plan.h says what it proves. One pass over the steps per aliasing, in step order
 * (dependencies point backwards, so that is a legal order of execution; races being excluded, it
 * shows the values every other order gives), plus one pass for the stamps.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collectives/program/check.h"
#include "collectives/program/leaves.h"
#include "collectives/program/precedence.h"

struct weft_plan {
    struct weft_program *program;
    uint32_t num_lanes;
    struct weft_lane *lanes;
};

struct reader {
    uint32_t step;
    uint32_t next; // number of the next reader, or `none`
};

enum { none = UINT32_MAX };

struct location {
    struct weft_label label;
    uint32_t writer;      // last step that wrote it, or `none`
    uint32_t readers;     // those since
    uint32_t claimed_by;  // step that writes it now (within one step), plus 1
    uint32_t claimed_for; // and which cell of the step
};

struct checker {
    const struct weft_program *program;
    struct weft_precedence *precedence;
    enum weft_aliasing aliasing;
    struct location *locations;
    struct reader *readers;
    size_t num_readers, room_readers;
    uint32_t *lane_of; // (channels, ranks) number of the lane plus 1
    struct weft_lane *lanes;
    uint32_t num_lanes;
    struct weft_trace *trace; // or NULL
    struct weft_error *error;
};

static const char *const space_names[] = {"input", "output", "scratch", "lane"};

static weft_status unproved(struct checker *checker, uint32_t step, const char *reason)
{
    return weft_fail(checker->error, WEFT_UNPROVED, "rank %d step %u (%s): %s",
                     checker->program->shape.rank, step,
                     checker->aliasing == WEFT_IN_PLACE ? "in place" : "out of place", reason);
}

static weft_status unproved_cell(struct checker *checker, uint32_t step, const struct weft_ref *ref,
                                 uint32_t cell, const char *reason, uint32_t other)
{
    char number[32] = "";
    if (other != none)
        snprintf(number, sizeof number, " %u", other);
    return weft_fail(checker->error, WEFT_UNPROVED, "rank %d step %u (%s): %s cell %u %s%s",
                     checker->program->shape.rank, step,
                     checker->aliasing == WEFT_IN_PLACE ? "in place" : "out of place",
                     space_names[ref->space], ref->index + cell, reason, number);
}

// Of what all ranks must declare alike.
static uint64_t hash_results(const struct weft_program *program)
{
    uint64_t hash = 0;
    if (weft_shape_is_replicated(&program->shape)) {
        struct weft_window output = weft_shape_output(&program->shape);
        for (uint32_t c = 0; c < output.cells; c++)
            hash ^= weft_hash_mix(output.first + c, program->results[c]);
    }
    return hash;
}

static uint64_t lane_seed(const struct weft_program *program, uint32_t from, uint32_t to,
                          uint32_t channel, uint64_t results)
{
    const struct weft_shape *shape = &program->shape;
    bool is_pair = weft_collective_is_pair(shape->collective);
    uint64_t hash = weft_hash_mix(0, is_pair ? WEFT_SEND : shape->collective);
    hash = weft_hash_mix(hash, (uint64_t)shape->num_ranks);
    hash = weft_hash_mix(hash, is_pair ? 0 : (uint64_t)shape->root);
    hash = weft_hash_mix(hash, ((uint64_t)shape->pieces << 32) | channel);
    if (shape->is_canonical)
        hash = weft_hash_mix(hash, shape->num_leaves);
    for (int r = 0; shape->num_leaves && r < shape->num_ranks; r++)
        hash = weft_hash_mix(hash, shape->leaf_bounds[r]);
    return weft_hash_mix(hash, ((uint64_t)from << 32) | to) ^ results;
}

static weft_status find_lane(struct checker *checker, uint32_t peer, uint32_t channel,
                             struct weft_lane **lane)
{
    const struct weft_program *program = checker->program;
    uint32_t *number = &checker->lane_of[(size_t)channel * (size_t)program->shape.num_ranks + peer];
    if (!*number) {
        if ((checker->num_lanes & (checker->num_lanes + 1)) == 0) {
            size_t room = 2 * ((size_t)checker->num_lanes + 1);
            struct weft_lane *larger = realloc(checker->lanes, room * sizeof *larger);
            if (!larger)
                return weft_fail(checker->error, WEFT_OUT_OF_MEMORY, "no memory for lanes");
            checker->lanes = larger;
        }
        checker->lanes[checker->num_lanes] = (struct weft_lane){.peer = peer, .channel = channel};
        *number = ++checker->num_lanes;
    }
    *lane = &checker->lanes[*number - 1];
    return WEFT_OK;
}

static uint64_t hash_message(const struct weft_program *program, const struct weft_step *step,
                             uint32_t stamp, const struct weft_label *labels, uint64_t hash)
{
    const struct weft_ref *memory = &program->refs[step->first_ref];
    while (memory->space == WEFT_LANE)
        memory++; // validation has made sure that there is one
    hash = weft_hash_mix(hash, ((uint64_t)step->num_cells << 32) | stamp);
    for (uint32_t c = 0; c < step->num_cells; c++) {
        hash = weft_hash_mix(hash, labels[c].cell);
        hash = weft_hash_mix(hash, labels[c].expression);
        hash = weft_hash_mix(hash, (uint64_t)labels[c].sum);
        hash = weft_hash_mix(hash, (uint64_t)(labels[c].sum >> 64));
        hash = weft_hash_mix(hash, weft_program_extent(program, memory->space, memory->index + c));
    }
    return hash;
}

static weft_status note_message(struct checker *checker, uint32_t number,
                                const struct weft_ref *ref, bool is_send,
                                const struct weft_label *labels)
{
    const struct weft_program *program = checker->program;
    const struct weft_step *step = &program->steps[number];
    struct weft_lane *lane = NULL;
    WEFT_TRY(find_lane(checker, ref->index, step->channel, &lane));
    uint64_t *hash = is_send ? &lane->send_hash : &lane->receive_hash;
    *hash = hash_message(program, step, ref->stamp, labels, *hash);
    lane->num_sends += is_send;
    lane->num_receives += !is_send;
    struct weft_trace *trace = checker->trace;
    if (!trace || trace->peer != ref->index || trace->channel != step->channel ||
        trace->is_send != is_send)
        return WEFT_OK;
    struct weft_traced *larger = realloc(trace->messages, (trace->count + 1) * sizeof *larger);
    if (!larger)
        return weft_fail(checker->error, WEFT_OUT_OF_MEMORY, "no memory for a trace");
    trace->messages = larger;
    trace->messages[trace->count++] =
        (struct weft_traced){number, hash_message(program, step, ref->stamp, labels, 0)};
    return WEFT_OK;
}

static struct location *locate(struct checker *checker, const struct weft_ref *ref, uint32_t cell)
{
    return &checker->locations[weft_program_location(checker->program, checker->aliasing,
                                                     ref->space, ref->index + cell)];
}

static weft_status note_read(struct checker *checker, uint32_t step, const struct weft_ref *ref,
                             uint32_t cell)
{
    struct location *location = locate(checker, ref, cell);
    if (!location->label.is_defined)
        return unproved_cell(checker, step, ref, cell, "is read before it holds a value", none);
    if (location->writer != none &&
        !weft_precedence_is_before(checker->precedence, location->writer, step))
        return unproved_cell(checker, step, ref, cell,
                             "is read while it may still be written by step", location->writer);
    if (checker->num_readers == checker->room_readers) {
        size_t room = checker->room_readers ? checker->room_readers * 2 : 256;
        struct reader *larger = realloc(checker->readers, room * sizeof *larger);
        if (!larger)
            return weft_fail(checker->error, WEFT_OUT_OF_MEMORY, "no memory for the check");
        checker->readers = larger;
        checker->room_readers = room;
    }
    checker->readers[checker->num_readers] = (struct reader){step, location->readers};
    location->readers = (uint32_t)checker->num_readers++;
    return WEFT_OK;
}

static weft_status note_write(struct checker *checker, uint32_t step, const struct weft_ref *ref,
                              uint32_t cell)
{
    struct location *location = locate(checker, ref, cell);
    if (location->claimed_by == step + 1)
        return unproved_cell(checker, step, ref, cell, "is written twice by one step", none);
    if (location->writer != none &&
        !weft_precedence_is_before(checker->precedence, location->writer, step))
        return unproved_cell(checker, step, ref, cell,
                             "is written while it may still be written by step", location->writer);
    for (uint32_t r = location->readers; r != none; r = checker->readers[r].next) {
        uint32_t reader = checker->readers[r].step;
        if (reader != step && !weft_precedence_is_before(checker->precedence, reader, step))
            return unproved_cell(checker, step, ref, cell,
                                 "is written while it may still be read by step", reader);
    }
    location->claimed_by = step + 1;
    location->claimed_for = cell;
    location->writer = step;
    location->readers = none;
    return WEFT_OK;
}

// A source may be the destination itself, but not overlap it shifted.
static weft_status check_no_shift(struct checker *checker, uint32_t number,
                                  const struct weft_step *step)
{
    for (int i = 0; i < step->num_sources; i++) {
        const struct weft_ref *ref = weft_step_source(checker->program, step, i);
        for (uint32_t c = 0; ref->space != WEFT_LANE && c < step->num_cells; c++) {
            struct location *location = locate(checker, ref, c);
            if (location->claimed_by == number + 1 && location->claimed_for != c)
                return unproved_cell(checker, number, ref, c,
                                     "is read and written by one step at different offsets", none);
        }
    }
    return WEFT_OK;
}

static weft_status combine_sources(struct checker *checker, uint32_t number,
                                   const struct weft_step *step, uint32_t cell,
                                   struct weft_label *value)
{
    for (int i = 0; i < step->num_sources; i++) {
        const struct weft_ref *ref = weft_step_source(checker->program, step, i);
        struct weft_label label;
        if (ref->space == WEFT_LANE) {
            label = checker->program->labels[ref->label + cell];
            if (!label.is_defined)
                return unproved(checker, number, "is promised a message without a value");
        } else {
            WEFT_TRY(note_read(checker, number, ref, cell));
            label = locate(checker, ref, cell)->label;
        }
        if (i > 0 && label.cell != value->cell)
            return unproved(checker, number, "combines values of different cells");
        *value = i == 0 ? label : weft_label_combine(*value, label);
    }
    return WEFT_OK;
}

static weft_status walk_step(struct checker *checker, uint32_t number, struct weft_label *values)
{
    const struct weft_program *program = checker->program;
    const struct weft_step *step = &program->steps[number];
    for (uint32_t c = 0; c < step->num_cells; c++)
        WEFT_TRY(combine_sources(checker, number, step, c, &values[c]));
    for (int i = 0; i < step->num_destinations; i++) {
        const struct weft_ref *ref = weft_step_destination(program, step, i);
        for (uint32_t c = 0; ref->space != WEFT_LANE && c < step->num_cells; c++)
            WEFT_TRY(note_write(checker, number, ref, c));
    }
    WEFT_TRY(check_no_shift(checker, number, step));
    for (int i = 0; i < step->num_sources; i++) {
        const struct weft_ref *ref = weft_step_source(program, step, i);
        if (ref->space == WEFT_LANE)
            WEFT_TRY(note_message(checker, number, ref, false, &program->labels[ref->label]));
    }
    for (int i = 0; i < step->num_destinations; i++) {
        const struct weft_ref *ref = weft_step_destination(program, step, i);
        if (ref->space == WEFT_LANE)
            WEFT_TRY(note_message(checker, number, ref, true, values));
        for (uint32_t c = 0; ref->space != WEFT_LANE && c < step->num_cells; c++)
            locate(checker, ref, c)->label = values[c];
    }
    return WEFT_OK;
}

static weft_status check_outputs(struct checker *checker)
{
    const struct weft_program *program = checker->program;
    const struct weft_shape *shape = &program->shape;
    struct weft_window output = weft_shape_output(shape);
    struct weft_label root = {.sum = weft_label_sum_all((int)weft_shape_leaves(shape))};
    if (shape->is_canonical)
        root = weft_leaves_label(0, weft_shape_leaves(shape), 0);
    for (uint32_t c = 0; c < output.cells; c++) {
        struct weft_goal goal = weft_shape_goal(shape, output.first + c);
        weft_sum wanted =
            goal.rank == WEFT_ALL_RANKS ? root.sum : weft_label_leaf(goal.rank, 0).sum;
        const struct weft_ref ref = {.space = WEFT_OUTPUT, .index = output.first + c};
        struct weft_label label = locate(checker, &ref, 0)->label;
        const char *reason = NULL;
        if (!label.is_defined)
            reason = "never gets a value";
        else if (label.cell != goal.cell)
            reason = "ends with the value of another cell";
        else if (label.sum != wanted)
            reason = "does not end with each contribution exactly once";
        else if (shape->is_canonical && label.expression != root.expression)
            reason = "is not combined in the canonical order";
        else if (label.expression != program->results[c])
            reason = "is not combined in the declared order";
        if (reason)
            return weft_fail(checker->error, WEFT_UNPROVED,
                             "rank %d after step %u (%s): output cell %u %s", shape->rank,
                             program->num_steps,
                             checker->aliasing == WEFT_IN_PLACE ? "in place" : "out of place",
                             output.first + c, reason);
    }
    return WEFT_OK;
}

static void start_walk(struct checker *checker, enum weft_aliasing aliasing)
{
    const struct weft_program *program = checker->program;
    struct weft_window input = weft_shape_input(&program->shape);
    checker->aliasing = aliasing;
    checker->num_readers = 0;
    uint32_t num_locations = weft_program_num_locations(program);
    for (uint32_t i = 0; i < num_locations; i++)
        checker->locations[i] = (struct location){.writer = none, .readers = none};
    uint32_t num_parts = weft_shape_parts(&program->shape);
    for (uint32_t part = 0; part < num_parts; part++) {
        uint32_t first, count, cells = input.cells / num_parts;
        weft_shape_part(&program->shape, part, &first, &count);
        struct weft_label label = weft_leaves_label(first, count, 0);
        for (uint32_t c = 0; c < cells; c++) {
            const struct weft_ref ref = {.space = WEFT_INPUT,
                                         .index = input.first + part * cells + c};
            label.cell = input.first + c;
            locate(checker, &ref, 0)->label = label;
        }
    }
    for (uint32_t i = 0; i < checker->num_lanes; i++) {
        struct weft_lane *lane = &checker->lanes[i];
        lane->num_sends = lane->num_receives = 0;
        lane->send_hash = lane->receive_hash = 0;
    }
}

static weft_status walk(struct checker *checker, enum weft_aliasing aliasing,
                        struct weft_label *values)
{
    start_walk(checker, aliasing);
    for (uint32_t i = 0; i < checker->program->num_steps; i++)
        WEFT_TRY(walk_step(checker, i, values));
    return check_outputs(checker);
}

// Both aliasings must send and expect the same messages: peers do not know which one we run.
static weft_status walk_all(struct checker *checker, struct weft_label *values)
{
    unsigned aliasing = checker->program->aliasing;
    if (aliasing & WEFT_OUT_OF_PLACE)
        WEFT_TRY(walk(checker, WEFT_OUT_OF_PLACE, values));
    if (!(aliasing & WEFT_IN_PLACE))
        return WEFT_OK;
    if (!(aliasing & WEFT_OUT_OF_PLACE))
        return walk(checker, WEFT_IN_PLACE, values);
    uint32_t num_lanes = checker->num_lanes;
    uint64_t *sent = malloc((num_lanes + 1) * sizeof *sent);
    if (!sent)
        return weft_fail(checker->error, WEFT_OUT_OF_MEMORY, "no memory for the check");
    for (uint32_t i = 0; i < num_lanes; i++)
        sent[i] = checker->lanes[i].send_hash;
    weft_status status = walk(checker, WEFT_IN_PLACE, values);
    for (uint32_t i = 0; i < num_lanes && status == WEFT_OK; i++)
        if (sent[i] != checker->lanes[i].send_hash)
            status = weft_fail(checker->error, WEFT_UNPROVED,
                               "rank %d up to step %u: sends rank %u other values in place than "
                               "out of place",
                               checker->program->shape.rank, checker->program->num_steps,
                               checker->lanes[i].peer);
    free(sent);
    return status;
}

struct stamps {
    uint32_t *complete; // (steps) earliest instant by which the step is complete
    uint32_t *last;     // (channels, ranks, 2) stamp of the lane's last message, per direction
};

static weft_status stamp_ref(struct checker *checker, struct stamps *stamps, uint32_t number,
                             const struct weft_ref *ref, int is_send, uint32_t post)
{
    const struct weft_program *program = checker->program;
    if (ref->space != WEFT_LANE)
        return WEFT_OK;
    size_t lane = (size_t)program->steps[number].channel * (size_t)program->shape.num_ranks;
    uint32_t *last = &stamps->last[2 * (lane + ref->index) + (size_t)is_send];
    if (ref->stamp < post)
        return unproved(checker, number, "posts only after the stamp of its message: may deadlock");
    if (ref->stamp < *last)
        return unproved(checker, number, "a stamp goes back on its lane: may deadlock");
    *last = ref->stamp;
    if (ref->stamp > stamps->complete[number])
        stamps->complete[number] = ref->stamp;
    return WEFT_OK;
}

static weft_status stamp_step(struct checker *checker, struct stamps *stamps, uint32_t number,
                              uint32_t *channel_post)
{
    const struct weft_program *program = checker->program;
    const struct weft_step *step = &program->steps[number];
    uint32_t post = channel_post[step->channel], arrival = 0;
    bool is_fused = false;
    for (uint32_t d = 0; d < step->num_dependencies; d++) {
        uint32_t before = program->dependencies[step->first_dependency + d];
        // complete[] of a step with messages is an instant after them, hence the strict rise.
        if (stamps->complete[before] > post)
            post = stamps->complete[before];
    }
    channel_post[step->channel] = post;
    stamps->complete[number] = post;
    bool has_messages = false;
    for (int i = 0; i < step->num_sources; i++) {
        const struct weft_ref *ref = weft_step_source(program, step, i);
        WEFT_TRY(stamp_ref(checker, stamps, number, ref, 0, post));
        if (ref->space == WEFT_LANE) {
            has_messages = is_fused = true;
            arrival = ref->stamp > arrival ? ref->stamp : arrival;
        }
    }
    for (int i = 0; i < step->num_destinations; i++) {
        const struct weft_ref *ref = weft_step_destination(program, step, i);
        WEFT_TRY(stamp_ref(checker, stamps, number, ref, 1, post));
        if (ref->space == WEFT_LANE) {
            has_messages = true;
            if (is_fused && ref->stamp <= arrival)
                return unproved(checker, number, "forwards a message before it arrives");
        }
    }
    if (has_messages && stamps->complete[number] == UINT32_MAX)
        return unproved(checker, number, "a stamp is out of range");
    stamps->complete[number] += has_messages;
    return WEFT_OK;
}

static weft_status check_stamps(struct checker *checker)
{
    const struct weft_program *program = checker->program;
    size_t lanes = (size_t)program->num_channels * (size_t)program->shape.num_ranks;
    struct stamps stamps = {calloc((size_t)program->num_steps + 1, sizeof *stamps.complete),
                            calloc(2 * lanes, sizeof *stamps.last)};
    uint32_t channel_post[WEFT_CHANNELS_LIMIT] = {0};
    weft_status status = WEFT_OK;
    if (!stamps.complete || !stamps.last)
        status = weft_fail(checker->error, WEFT_OUT_OF_MEMORY, "no memory for the check");
    for (uint32_t i = 0; i < program->num_steps && status == WEFT_OK; i++)
        status = stamp_step(checker, &stamps, i, channel_post);
    free(stamps.complete);
    free(stamps.last);
    return status;
}

static int by_channel_and_peer(const void *a, const void *b)
{
    const struct weft_lane *left = a, *right = b;
    if (left->channel != right->channel)
        return left->channel < right->channel ? -1 : 1;
    return left->peer < right->peer ? -1 : left->peer > right->peer;
}

static void seal_lanes(struct checker *checker)
{
    const struct weft_program *program = checker->program;
    uint32_t me = (uint32_t)program->shape.rank;
    uint64_t results = hash_results(program);
    for (uint32_t i = 0; i < checker->num_lanes; i++) {
        struct weft_lane *lane = &checker->lanes[i];
        lane->send_hash = weft_hash_mix(lane->send_hash ^ lane->num_sends,
                                        lane_seed(program, me, lane->peer, lane->channel, results));
        lane->receive_hash =
            weft_hash_mix(lane->receive_hash ^ lane->num_receives,
                          lane_seed(program, lane->peer, me, lane->channel, results));
    }
    if (checker->num_lanes)
        qsort(checker->lanes, checker->num_lanes, sizeof *checker->lanes, by_channel_and_peer);
}

static weft_status prepare(struct checker *checker, struct weft_label **values)
{
    const struct weft_program *program = checker->program;
    uint32_t widest = 1;
    for (uint32_t i = 0; i < program->num_steps; i++)
        if (program->steps[i].num_cells > widest)
            widest = program->steps[i].num_cells;
    size_t lanes = (size_t)program->num_channels * (size_t)program->shape.num_ranks;
    *values = malloc(widest * sizeof **values);
    checker->precedence = weft_precedence_create(program);
    checker->locations =
        malloc(((size_t)weft_program_num_locations(program) + 1) * sizeof *checker->locations);
    checker->lane_of = calloc(lanes, sizeof *checker->lane_of);
    if (!*values || !checker->precedence || !checker->locations || !checker->lane_of)
        return weft_fail(checker->error, WEFT_OUT_OF_MEMORY, "no memory for the check");
    return WEFT_OK;
}

// All but the lanes, which a plan keeps.
static void release(struct checker *checker, struct weft_label *values)
{
    free(values);
    free(checker->locations);
    free(checker->readers);
    free(checker->lane_of);
    weft_precedence_destroy(&checker->precedence);
}

static weft_status check(struct checker *checker)
{
    struct weft_label *values = NULL;
    weft_status status = prepare(checker, &values);
    if (status == WEFT_OK)
        status = walk_all(checker, values);
    if (status == WEFT_OK)
        status = check_stamps(checker);
    if (status == WEFT_OK)
        seal_lanes(checker);
    release(checker, values);
    return status;
}

weft_status weft_plan_create(struct weft_program **program, struct weft_plan **plan,
                             struct weft_error *error)
{
    WEFT_TRY(weft_program_validate(*program, error));
    struct checker checker = {.program = *program, .error = error};
    weft_status status = check(&checker);
    struct weft_plan *made = status == WEFT_OK ? malloc(sizeof *made) : NULL;
    if (status == WEFT_OK && !made)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a plan");
    if (status != WEFT_OK) {
        free(checker.lanes);
        return status;
    }
    *made = (struct weft_plan){*program, checker.num_lanes, checker.lanes};
    *program = NULL;
    *plan = made;
    return WEFT_OK;
}

void weft_plan_destroy(struct weft_plan **plan)
{
    if (!*plan)
        return;
    weft_program_destroy(&(*plan)->program);
    free((*plan)->lanes);
    free(*plan);
    *plan = NULL;
}

const struct weft_program *weft_plan_program(const struct weft_plan *plan)
{
    return plan->program;
}

const struct weft_lane *weft_plan_lanes(const struct weft_plan *plan, uint32_t *num_lanes)
{
    *num_lanes = plan->num_lanes;
    return plan->lanes;
}

weft_status weft_check_trace(const struct weft_program *program, struct weft_trace *trace,
                             struct weft_error *error)
{
    struct checker checker = {.program = program, .trace = trace, .error = error};
    struct checker *c = &checker;
    struct weft_label *values = NULL;
    weft_status status = prepare(c, &values);
    if (status == WEFT_OK)
        status = walk(c, program->aliasing & WEFT_OUT_OF_PLACE ? WEFT_OUT_OF_PLACE : WEFT_IN_PLACE,
                      values);
    release(c, values);
    free(checker.lanes);
    return status;
}
