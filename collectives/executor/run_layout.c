/*
 * SPDX-License-Identifier: Apache-2.0
 * A run's tables, made once per plan, and its memory, laid out once per launch.
 */
#include <stdlib.h>
#include <string.h>

#include "collectives/executor/run_private.h"

size_t weft_sizes_offset(const struct weft_shape *shape, const struct weft_sizes *sizes,
                         enum weft_space space, uint32_t cell)
{
    const size_t *ends = space == WEFT_OUTPUT ? sizes->output_ends : sizes->input_ends;
    size_t begin = 0; // of the logical vector: an input holds one for each part
    if (space == WEFT_INPUT && shape->num_leaves) {
        uint32_t blocks = weft_shape_blocks(shape), cells = blocks * shape->pieces;
        begin = cell / cells * (ends ? ends[blocks] : blocks * sizes->count);
        cell %= cells;
    }
    uint32_t block = cell / shape->pieces, piece = cell % shape->pieces;
    begin += ends ? ends[block] : block * sizes->count;
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

size_t weft_run_step_bytes(const struct weft_run *run, const struct weft_step *step)
{
    const struct weft_ref *ref = &run->program->refs[step->first_ref];
    while (ref->space == WEFT_LANE) // a valid step has a memory reference
        ref++;
    return offset_bytes(run, ref->space, ref->index + step->num_cells) -
           offset_bytes(run, ref->space, ref->index);
}

char *weft_run_address(const struct weft_run *run, const struct weft_ref *ref)
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
bool weft_run_needs_stages(const struct weft_step *step, int lanes, int memory_destinations)
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

int weft_run_lane_sources(const struct weft_run *run, const struct weft_step *step)
{
    return count_lanes(run, step->first_ref, step->num_sources);
}

int weft_run_lane_destinations(const struct weft_run *run, const struct weft_step *step)
{
    return count_lanes(run, step->first_ref + step->num_sources, step->num_destinations);
}

// Stage 0 of a step takes its result, stage 1 + i its i-th source. Allocated behind the scratch
// cells, per step that needs any; `value` of the step's state keeps the place until it executes.
weft_status weft_run_lay_out(struct weft_run *run, struct weft_error *error)
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
    const size_t first_stage = (used + 63) & ~(size_t)63;
    for (int pass = 0; pass < 2; pass++) {
        used = first_stage;
        for (uint32_t s = 0; s < program->num_steps; s++) {
            const struct weft_step *step = &program->steps[s];
            int outgoing = weft_run_lane_destinations(run, step);
            if (!weft_run_needs_stages(step, weft_run_lane_sources(run, step),
                                       step->num_destinations - outgoing))
                continue;
            if (pass == 1)
                run->states[s].value = run->scratch + used;
            used += (1 + (size_t)step->num_sources) *
                    ((weft_run_step_bytes(run, step) + 63) & ~(size_t)63);
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

char *weft_run_stage(const struct weft_run *run, uint32_t step, int number)
{
    size_t bytes = (weft_run_step_bytes(run, &run->program->steps[step]) + 63) & ~(size_t)63;
    return run->states[step].value + (size_t)number * bytes;
}
