/*
 * SPDX-License-Identifier: Apache-2.0
 * See run.h. A step goes through: waiting -> receiving (its lane sources) -> sending (its lane
 * destinations) -> complete; steps without lanes go through all of it when they post.
 */
#include "collectives/executor/run.h"

#include <stdlib.h>
#include <string.h>

enum phase { WAITING, RECEIVING, SENDING, COMPLETE };

struct step_state {
    uint32_t pending_dependencies;
    uint16_t pending_messages;
    uint8_t phase;
    char *value; // where the step's result is, once it has one
};

struct run_transfer {
    struct weft_transfer transfer;
    struct weft_run *run;
    uint32_t step;
    uint32_t ref;
    bool is_active;
};

struct weft_run {
    const struct weft_plan *plan;
    const struct weft_program *program;
    struct weft_launch launch;
    bool is_idle, is_pumping, wants_pump;
    uint32_t steps_left;
    uint64_t bytes_sent;
    struct weft_transfer failure;
    int failed_peer;

    // Per plan.
    uint32_t *dependents_first; // (steps + 1)
    uint32_t *dependents;
    uint32_t *channel_first; // (channels + 1)
    uint32_t *channel_steps; // steps by channel
    uint32_t *message_index; // (refs) k of the k-th message of the lane
    uint64_t *lane_hash;     // (refs)
    uint32_t *transfer_of;   // (refs) number in transfers

    // Per launch.
    struct step_state *states;
    struct run_transfer *transfers;
    uint32_t num_transfers;
    uint32_t next[WEFT_CHANNELS_LIMIT]; // position in channel_steps
    size_t *scratch_offset;             // (scratch + 1) bytes
    char *scratch;
    size_t scratch_room;
    size_t stage_bytes; // where the stages begin within scratch
};

size_t weft_sizes_offset(const struct weft_shape *shape, const struct weft_sizes *sizes,
                         enum weft_space space, uint32_t cell)
{
    uint32_t block = cell / shape->pieces, piece = cell % shape->pieces;
    const size_t *ends = space == WEFT_OUTPUT ? sizes->output_ends : sizes->input_ends;
    size_t begin = ends ? ends[block] : block * sizes->count;
    if (piece == 0)
        return begin;
    size_t size = ends ? ends[block + 1] - ends[block] : sizes->count;
    return begin + (size_t)((unsigned __int128)size * piece / shape->pieces);
}

/* ---- making ready ---- */

static void index_dependents(struct weft_run *run)
{
    const struct weft_program *program = run->program;
    for (uint32_t d = 0; d < program->num_dependencies; d++)
        run->dependents_first[program->dependencies[d] + 1]++;
    for (uint32_t s = 0; s < program->num_steps; s++)
        run->dependents_first[s + 1] += run->dependents_first[s];
    uint32_t *cursor = run->dependents_first;
    for (uint32_t s = 0; s < program->num_steps; s++)
        for (uint32_t d = 0; d < program->steps[s].num_dependencies; d++)
            run->dependents
                [cursor[program->dependencies[program->steps[s].first_dependency + d]]++] = s;
    for (uint32_t s = program->num_steps; s > 0; s--) // the cursors ran one entry ahead
        cursor[s] = cursor[s - 1];
    cursor[0] = 0;
}

static void index_channels(struct weft_run *run)
{
    const struct weft_program *program = run->program;
    uint32_t used = 0;
    for (uint32_t channel = 0; channel < program->num_channels; channel++) {
        run->channel_first[channel] = used;
        for (uint32_t s = 0; s < program->num_steps; s++)
            if (program->steps[s].channel == channel)
                run->channel_steps[used++] = s;
    }
    run->channel_first[program->num_channels] = used;
}

static const struct weft_lane *find_lane(const struct weft_lane *lanes, uint32_t num_lanes,
                                         uint32_t channel, uint32_t peer)
{
    uint32_t low = 0, high = num_lanes;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (lanes[middle].channel < channel ||
            (lanes[middle].channel == channel && lanes[middle].peer < peer))
            low = middle + 1;
        else
            high = middle;
    }
    return &lanes[low];
}

// Numbers the messages of every lane and direction, and gives each its transfer.
static weft_status index_messages(struct weft_run *run)
{
    const struct weft_program *program = run->program;
    uint32_t num_lanes;
    const struct weft_lane *lanes = weft_plan_lanes(run->plan, &num_lanes);
    uint32_t *counts = calloc(2 * (size_t)num_lanes + 1, sizeof *counts);
    if (!counts)
        return WEFT_OUT_OF_MEMORY;
    for (uint32_t s = 0; s < program->num_steps; s++) {
        const struct weft_step *step = &program->steps[s];
        for (uint32_t i = 0; i < (uint32_t)step->num_sources + step->num_destinations; i++) {
            uint32_t number = step->first_ref + i;
            const struct weft_ref *ref = &program->refs[number];
            if (ref->space != WEFT_LANE)
                continue;
            const struct weft_lane *lane = find_lane(lanes, num_lanes, step->channel, ref->index);
            bool is_send = i >= step->num_sources;
            run->message_index[number] = counts[2 * (lane - lanes) + is_send]++;
            run->lane_hash[number] = is_send ? lane->send_hash : lane->receive_hash;
            run->transfer_of[number] = run->num_transfers++;
        }
    }
    free(counts);
    run->transfers = calloc((size_t)run->num_transfers + 1, sizeof *run->transfers);
    return run->transfers ? WEFT_OK : WEFT_OUT_OF_MEMORY;
}

weft_status weft_run_create(const struct weft_plan *plan, struct weft_run **run,
                            struct weft_error *error)
{
    const struct weft_program *program = weft_plan_program(plan);
    struct weft_run *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a run");
    size_t steps = program->num_steps, refs = program->num_refs;
    made->plan = plan;
    made->program = program;
    made->is_idle = true;
    made->failed_peer = -1;
    made->dependents_first = calloc(steps + 2, sizeof(uint32_t));
    made->dependents = malloc(((size_t)program->num_dependencies + 1) * sizeof(uint32_t));
    made->channel_first = malloc(((size_t)program->num_channels + 1) * sizeof(uint32_t));
    made->channel_steps = malloc((steps + 1) * sizeof(uint32_t));
    made->message_index = malloc((refs + 1) * sizeof(uint32_t));
    made->lane_hash = malloc((refs + 1) * sizeof(uint64_t));
    made->transfer_of = malloc((refs + 1) * sizeof(uint32_t));
    made->states = calloc(steps + 1, sizeof *made->states);
    made->scratch_offset = malloc(((size_t)program->num_scratch + 1) * sizeof(size_t));
    if (!made->dependents_first || !made->dependents || !made->channel_first ||
        !made->channel_steps || !made->message_index || !made->lane_hash || !made->transfer_of ||
        !made->states || !made->scratch_offset || index_messages(made) != WEFT_OK) {
        weft_run_destroy(&made);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a run");
    }
    index_dependents(made);
    index_channels(made);
    *run = made;
    return WEFT_OK;
}

void weft_run_destroy(struct weft_run **run)
{
    struct weft_run *old = *run;
    if (!old)
        return;
    if (!old->is_idle)
        weft_run_cancel(old);
    void *parts[] = {old->dependents_first, old->dependents, old->channel_first, old->channel_steps,
                     old->message_index,    old->lane_hash,  old->transfer_of,   old->states,
                     old->scratch_offset,   old->transfers,  old->scratch};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        free(parts[i]);
    free(old);
    *run = NULL;
}

bool weft_run_is_idle(const struct weft_run *run)
{
    return run->is_idle;
}

/* ---- where cells are ---- */

static size_t offset_bytes(const struct weft_run *run, enum weft_space space, uint32_t cell)
{
    if (space == WEFT_SCRATCH)
        return run->scratch_offset[cell];
    return run->launch.element_bytes *
           weft_sizes_offset(&run->program->shape, &run->launch.sizes, space, cell);
}

static size_t step_bytes(const struct weft_run *run, const struct weft_step *step)
{
    const struct weft_ref *ref = &run->program->refs[step->first_ref];
    while (ref->space == WEFT_LANE) // a valid step has a memory reference
        ref++;
    return offset_bytes(run, ref->space, ref->index + step->num_cells) -
           offset_bytes(run, ref->space, ref->index);
}

static char *address(const struct weft_run *run, const struct weft_ref *ref)
{
    const struct weft_shape *shape = &run->program->shape;
    switch ((enum weft_space)ref->space) {
    case WEFT_INPUT:
        return (char *)run->launch.send + offset_bytes(run, WEFT_INPUT, ref->index) -
               offset_bytes(run, WEFT_INPUT, weft_shape_input(shape).first);
    case WEFT_OUTPUT:
        return (char *)run->launch.recv + offset_bytes(run, WEFT_OUTPUT, ref->index) -
               offset_bytes(run, WEFT_OUTPUT, weft_shape_output(shape).first);
    case WEFT_SCRATCH:
        return run->scratch + run->scratch_offset[ref->index];
    case WEFT_LANE:
    case WEFT_NUM_SPACES:
        break;
    }
    return NULL;
}

// Which references need room of their own: received values that cannot go straight to their place.
static bool needs_stages(const struct weft_step *step, int lanes, int memory_destinations)
{
    return step->num_sources > 2 || lanes > 1 || (memory_destinations == 0 && lanes > 0) ||
           (memory_destinations == 0 && step->num_sources > 1);
}

static int count_lanes(const struct weft_run *run, uint32_t first_ref, int count)
{
    int lanes = 0;
    for (int i = 0; i < count; i++)
        lanes += run->program->refs[first_ref + (uint32_t)i].space == WEFT_LANE;
    return lanes;
}

static int lane_sources(const struct weft_run *run, const struct weft_step *step)
{
    return count_lanes(run, step->first_ref, step->num_sources);
}

static int lane_destinations(const struct weft_run *run, const struct weft_step *step)
{
    return count_lanes(run, step->first_ref + step->num_sources, step->num_destinations);
}

// Stage 0 of a step takes its result, stage 1 + i its i-th source. Allocated behind the scratch
// cells, per step that needs any; `value` of the step's state keeps the place until it executes.
static weft_status lay_out(struct weft_run *run, struct weft_error *error)
{
    const struct weft_program *program = run->program;
    size_t used = 0;
    for (uint32_t i = 0; i < program->num_scratch; i++) {
        const struct weft_scratch *like = &program->scratch[i];
        run->scratch_offset[i] = used;
        used += offset_bytes(run, like->space, like->cell + 1) -
                offset_bytes(run, like->space, like->cell);
    }
    run->scratch_offset[program->num_scratch] = used;
    run->stage_bytes = used = (used + 63) & ~(size_t)63;
    for (int pass = 0; pass < 2; pass++) {
        used = run->stage_bytes;
        for (uint32_t s = 0; s < program->num_steps; s++) {
            const struct weft_step *step = &program->steps[s];
            int outgoing = lane_destinations(run, step);
            if (!needs_stages(step, lane_sources(run, step), step->num_destinations - outgoing))
                continue;
            if (pass == 1)
                run->states[s].value = run->scratch + used;
            used += (1 + (size_t)step->num_sources) * ((step_bytes(run, step) + 63) & ~(size_t)63);
        }
        if (pass == 0 && used > run->scratch_room) {
            char *larger = realloc(run->scratch, used);
            if (!larger)
                return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %zu scratch bytes",
                                 used);
            run->scratch = larger;
            run->scratch_room = used;
        }
    }
    return WEFT_OK;
}

static char *stage(const struct weft_run *run, uint32_t step, int number)
{
    size_t bytes = (step_bytes(run, &run->program->steps[step]) + 63) & ~(size_t)63;
    return run->states[step].value + (size_t)number * bytes;
}

/* ---- running ---- */

static void pump(struct weft_run *run);

static void finish(struct weft_run *run, weft_status status)
{
    if (run->is_idle)
        return;
    if (status != WEFT_OK)
        weft_run_cancel(run);
    run->is_idle = true;
    run->launch.done(run->launch.argument, status);
}

static void complete_step(struct weft_run *run, uint32_t number)
{
    run->states[number].phase = COMPLETE;
    for (uint32_t d = run->dependents_first[number]; d < run->dependents_first[number + 1]; d++)
        run->states[run->dependents[d]].pending_dependencies--;
    run->steps_left--;
    run->wants_pump = true;
}

static void copy(char *to, const char *from, size_t bytes)
{
    if (to != from && bytes)
        memcpy(to, from, bytes);
}

// Folds all sources, left to right, into `into`; `into` is either no source or one of the first
// two.
static void fold(struct weft_run *run, uint32_t number, char *into, size_t bytes)
{
    const struct weft_step *step = &run->program->steps[number];
    size_t count = bytes / run->launch.element_bytes;
    const char *values[WEFT_REFS_LIMIT];
    for (int i = 0; i < step->num_sources; i++) {
        const struct weft_ref *ref = weft_step_source(run->program, step, i);
        values[i] = ref->space == WEFT_LANE ? stage(run, number, 1 + i) : address(run, ref);
    }
    if (step->num_sources == 1) {
        copy(into, values[0], bytes);
        return;
    }
    run->launch.reduce(into, values[0], values[1], count);
    for (int i = 2; i < step->num_sources; i++)
        run->launch.reduce(into, into, values[i], count);
}

static void message_done(struct weft_transfer *transfer);

static weft_status post(struct weft_run *run, uint32_t step, uint32_t ref_number, bool is_send,
                        void *data, size_t bytes, weft_sink_fn sink)
{
    const struct weft_ref *ref = &run->program->refs[ref_number];
    struct run_transfer *mine = &run->transfers[run->transfer_of[ref_number]];
    struct weft_connection *connection = run->launch.peers[ref->index];
    mine->run = run;
    mine->step = step;
    mine->ref = ref_number;
    mine->is_active = true;
    mine->transfer = (struct weft_transfer){
        .key = run->launch.key,
        .call = run->launch.call,
        .plan = run->lane_hash[ref_number],
        .data = data,
        .bytes = bytes,
        .sink = sink,
        .sink_argument = mine,
        .sink_unit = run->launch.element_bytes,
        .complete = message_done,
    };
    mine->transfer.key.lane =
        (uint16_t)(run->launch.first_lane + run->program->steps[step].channel);
    mine->transfer.key.index = run->message_index[ref_number];
    const struct weft_transport *transport = connection->device->transport;
    weft_status status = is_send ? transport->post_send(connection, &mine->transfer)
                                 : transport->post_recv(connection, &mine->transfer);
    if (status != WEFT_OK)
        mine->is_active = false;
    return status;
}

static void send_value(struct weft_run *run, uint32_t number, char *value, size_t bytes)
{
    const struct weft_step *step = &run->program->steps[number];
    struct step_state *state = &run->states[number];
    state->phase = SENDING;
    state->pending_messages = (uint16_t)(lane_destinations(run, step) + 1);
    for (int i = 0; i < step->num_destinations; i++) {
        uint32_t ref = step->first_ref + step->num_sources + (uint32_t)i;
        if (run->program->refs[ref].space != WEFT_LANE)
            continue;
        run->bytes_sent += bytes;
        weft_status status = post(run, number, ref, true, value, bytes, NULL);
        if (status != WEFT_OK) {
            finish(run, status);
            return;
        }
        if (run->is_idle) // the post itself failed the run
            return;
    }
    if (--state->pending_messages == 0)
        complete_step(run, number);
}

static const struct weft_ref *first_memory_destination(const struct weft_run *run,
                                                       const struct weft_step *step)
{
    for (int i = 0; i < step->num_destinations; i++)
        if (weft_step_destination(run->program, step, i)->space != WEFT_LANE)
            return weft_step_destination(run->program, step, i);
    return NULL;
}

static bool is_later_source(const struct weft_run *run, const struct weft_step *step,
                            const char *place)
{
    for (int i = 2; i < step->num_sources; i++) {
        const struct weft_ref *ref = weft_step_source(run->program, step, i);
        if (ref->space != WEFT_LANE && address(run, ref) == place)
            return true;
    }
    return false;
}

// All sources are there: computes the result unless receiving has done so, spreads and sends it.
static void execute(struct weft_run *run, uint32_t number)
{
    const struct weft_step *step = &run->program->steps[number];
    const struct weft_ref *destination = first_memory_destination(run, step);
    size_t bytes = step_bytes(run, step);
    int lanes = lane_sources(run, step);
    bool is_staged =
        needs_stages(step, lanes, step->num_destinations - lane_destinations(run, step));
    char *value;
    if (!is_staged && lanes > 0) {
        value = address(run, destination); // received, or combined by the sink, in place
    } else if (!is_staged && !destination) {
        value = address(run, weft_step_source(run->program, step, 0));
    } else {
        value = destination ? address(run, destination) : stage(run, number, 0);
        if (is_staged && destination && is_later_source(run, step, value)) {
            fold(run, number, stage(run, number, 0), bytes);
            copy(value, stage(run, number, 0), bytes);
        } else {
            fold(run, number, value, bytes);
        }
    }
    for (int i = 0; i < step->num_destinations; i++) {
        const struct weft_ref *ref = weft_step_destination(run->program, step, i);
        if (ref->space != WEFT_LANE && ref != destination)
            copy(address(run, ref), value, bytes);
    }
    send_value(run, number, value, bytes);
}

static void message_done(struct weft_transfer *transfer)
{
    struct run_transfer *mine = (struct run_transfer *)transfer;
    struct weft_run *run = mine->run;
    mine->is_active = false;
    if (transfer->status != WEFT_OK) {
        run->failure = *transfer;
        run->failed_peer = (int)run->program->refs[mine->ref].index;
        finish(run, transfer->status);
        return;
    }
    struct step_state *state = &run->states[mine->step];
    if (--state->pending_messages > 0)
        return;
    if (state->phase == RECEIVING)
        execute(run, mine->step);
    else
        complete_step(run, mine->step);
    pump(run);
}

// Combines an arriving fragment with the step's other source, into the step's first destination.
static void combine_fragment(void *argument, size_t offset, const void *data, size_t bytes)
{
    struct run_transfer *mine = argument;
    struct weft_run *run = mine->run;
    const struct weft_step *step = &run->program->steps[mine->step];
    const struct weft_ref *other = weft_step_source(run->program, step, 0);
    if (other->space == WEFT_LANE)
        other = weft_step_source(run->program, step, 1);
    const struct weft_ref *destination = first_memory_destination(run, step);
    run->launch.reduce(address(run, destination) + offset, address(run, other) + offset, data,
                       bytes / run->launch.element_bytes);
}

static void receive(struct weft_run *run, uint32_t number)
{
    const struct weft_step *step = &run->program->steps[number];
    const struct weft_ref *destination = first_memory_destination(run, step);
    size_t bytes = step_bytes(run, step);
    int lanes = lane_sources(run, step);
    bool is_staged =
        needs_stages(step, lanes, step->num_destinations - lane_destinations(run, step));
    struct step_state *state = &run->states[number];
    state->phase = RECEIVING;
    state->pending_messages = (uint16_t)(lanes + 1);
    for (int i = 0; i < step->num_sources; i++) {
        uint32_t ref = step->first_ref + (uint32_t)i;
        if (run->program->refs[ref].space != WEFT_LANE)
            continue;
        bool combines = !is_staged && step->num_sources == 2;
        void *data = is_staged ? stage(run, number, 1 + i)
                               : (combines ? NULL : (void *)address(run, destination));
        weft_status status =
            post(run, number, ref, false, data, bytes, combines ? combine_fragment : NULL);
        if (status != WEFT_OK) {
            finish(run, status);
            return;
        }
        if (run->is_idle)
            return;
    }
    if (--state->pending_messages == 0)
        execute(run, number);
}

static bool post_next(struct weft_run *run, uint32_t channel)
{
    if (run->next[channel] == run->channel_first[channel + 1])
        return false;
    uint32_t number = run->channel_steps[run->next[channel]];
    if (run->states[number].pending_dependencies)
        return false;
    run->next[channel]++;
    if (lane_sources(run, &run->program->steps[number]) > 0)
        receive(run, number);
    else
        execute(run, number);
    return true;
}

// Posts until nothing more can; callbacks that come in meanwhile only ask for another round.
static void pump(struct weft_run *run)
{
    if (run->is_pumping || run->is_idle)
        return;
    run->is_pumping = true;
    do {
        run->wants_pump = false;
        for (uint32_t channel = 0; channel < run->program->num_channels; channel++)
            while (!run->is_idle && post_next(run, channel))
                ;
    } while (run->wants_pump && !run->is_idle);
    run->is_pumping = false;
    if (!run->is_idle && run->steps_left == 0)
        finish(run, WEFT_OK);
}

weft_status weft_run_launch(struct weft_run *run, const struct weft_launch *launch,
                            struct weft_error *error)
{
    const struct weft_program *program = run->program;
    run->launch = *launch;
    WEFT_TRY(lay_out(run, error));
    for (uint32_t s = 0; s < program->num_steps; s++) {
        run->states[s].pending_dependencies = program->steps[s].num_dependencies;
        run->states[s].phase = WAITING;
    }
    for (uint32_t channel = 0; channel < program->num_channels; channel++)
        run->next[channel] = run->channel_first[channel];
    run->steps_left = program->num_steps;
    run->bytes_sent = 0;
    run->failed_peer = -1;
    run->is_idle = false;
    pump(run);
    return WEFT_OK;
}

void weft_run_cancel(struct weft_run *run)
{
    if (run->is_idle)
        return;
    run->is_idle = true;
    for (uint32_t i = 0; i < run->num_transfers; i++) {
        struct run_transfer *mine = &run->transfers[i];
        if (!mine->is_active)
            continue;
        struct weft_connection *connection = run->launch.peers[run->program->refs[mine->ref].index];
        connection->device->transport->cancel(connection, &mine->transfer);
        mine->is_active = false;
    }
}

struct weft_run_wait weft_run_where(const struct weft_run *run)
{
    const struct weft_program *program = run->program;
    for (uint32_t s = 0; s < program->num_steps; s++) {
        const struct weft_step *step = &program->steps[s];
        for (uint32_t i = 0; i < (uint32_t)step->num_sources + step->num_destinations; i++) {
            uint32_t ref = step->first_ref + i;
            if (program->refs[ref].space == WEFT_LANE &&
                run->transfers[run->transfer_of[ref]].is_active)
                return (struct weft_run_wait){s, (int)program->refs[ref].index,
                                              i < step->num_sources};
        }
    }
    return (struct weft_run_wait){program->num_steps, -1, false};
}

struct weft_transfer weft_run_failure(const struct weft_run *run, int *peer)
{
    *peer = run->failed_peer;
    return run->failure;
}

uint64_t weft_run_bytes_sent(const struct weft_run *run)
{
    return run->bytes_sent;
}
