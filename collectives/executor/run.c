/*
 * SPDX-License-Identifier: Apache-2.0
 * See run.h. A step goes through: waiting -> receiving (its lane sources) -> sending (its lane
 * destinations) -> complete; steps without lanes go through all of it when they post.
 */
#include <string.h>

#include "collectives/executor/run_private.h"

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
        uint32_t ref = step->first_ref + (uint32_t)i;
        values[i] = run->program->refs[ref].space == WEFT_LANE ? weft_run_stage(run, number, 1 + i)
                                                               : weft_run_address(run, ref);
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
    state->pending_messages = (uint16_t)(run->forms[number].lane_destinations + 1);
    for (int i = 0; i < step->num_destinations && run->forms[number].lane_destinations; i++) {
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

static bool is_later_source(const struct weft_run *run, const struct weft_step *step,
                            const char *place)
{
    for (int i = 2; i < step->num_sources; i++) {
        uint32_t ref = step->first_ref + (uint32_t)i;
        if (run->program->refs[ref].space != WEFT_LANE && weft_run_address(run, ref) == place)
            return true;
    }
    return false;
}

// All sources are there: computes the result unless receiving has done so, spreads and sends it.
static void execute(struct weft_run *run, uint32_t number)
{
    const struct weft_step *step = &run->program->steps[number];
    const struct step_form *form = &run->forms[number];
    bool has_place = form->destination != NO_REFERENCE;
    size_t bytes = run->step_bytes[number];
    char *value;
    if (!form->is_staged && form->lane_sources > 0) {
        value = weft_run_address(run, form->destination); // received, or combined by the sink
    } else if (!form->is_staged && !has_place) {
        value = weft_run_address(run, step->first_ref);
    } else {
        value =
            has_place ? weft_run_address(run, form->destination) : weft_run_stage(run, number, 0);
        if (form->is_staged && has_place && is_later_source(run, step, value)) {
            fold(run, number, weft_run_stage(run, number, 0), bytes);
            copy(value, weft_run_stage(run, number, 0), bytes);
        } else {
            fold(run, number, value, bytes);
        }
    }
    for (uint32_t i = 0; has_place && i < step->num_destinations; i++) {
        uint32_t ref = step->first_ref + step->num_sources + i;
        if (run->program->refs[ref].space != WEFT_LANE && ref != form->destination)
            copy(weft_run_address(run, ref), value, bytes);
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
    uint32_t other = step->first_ref + (run->program->refs[step->first_ref].space == WEFT_LANE);
    run->launch.reduce(weft_run_address(run, run->forms[mine->step].destination) + offset,
                       weft_run_address(run, other) + offset, data,
                       bytes / run->launch.element_bytes);
}

static void receive(struct weft_run *run, uint32_t number)
{
    const struct weft_step *step = &run->program->steps[number];
    const struct step_form *form = &run->forms[number];
    struct step_state *state = &run->states[number];
    state->phase = RECEIVING;
    state->pending_messages = (uint16_t)(form->lane_sources + 1);
    for (int i = 0; i < step->num_sources; i++) {
        uint32_t ref = step->first_ref + (uint32_t)i;
        if (run->program->refs[ref].space != WEFT_LANE)
            continue;
        bool combines = !form->is_staged && step->num_sources == 2;
        void *data = form->is_staged
                         ? weft_run_stage(run, number, 1 + i)
                         : (combines ? NULL : (void *)weft_run_address(run, form->destination));
        weft_status status = post(run, number, ref, false, data, run->step_bytes[number],
                                  combines ? combine_fragment : NULL);
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
    if (run->forms[number].lane_sources > 0)
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
    WEFT_TRY(weft_run_lay_out(run, error));
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
