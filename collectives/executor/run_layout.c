/*
 * SPDX-License-Identifier: Apache-2.0
 * A run's tables, made once per plan, and its memory, laid out when sizes change.
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

// Received values that cannot go straight to their place need room of their own.
static struct step_form form_of(const struct weft_program *program, const struct weft_step *step)
{
    struct step_form form = {.destination = NO_REFERENCE};
    for (uint32_t i = 0; i < step->num_sources; i++)
        form.lane_sources += program->refs[step->first_ref + i].space == WEFT_LANE;
    for (uint32_t i = step->num_destinations; i-- > 0;) {
        uint32_t number = step->first_ref + step->num_sources + i;
        if (program->refs[number].space == WEFT_LANE)
            form.lane_destinations++;
        else
            form.destination = number;
    }
    bool has_place = form.destination != NO_REFERENCE;
    form.is_staged = step->num_sources > 2 || form.lane_sources > 1 ||
                     (!has_place && (form.lane_sources > 0 || step->num_sources > 1));
    return form;
}

static bool allocate(struct weft_run *run)
{
    const struct weft_program *program = run->program;
    size_t steps = program->num_steps, refs = program->num_refs;
    run->dependents_first = calloc(steps + 2, sizeof(uint32_t));
    run->dependents = malloc(((size_t)program->num_dependencies + 1) * sizeof(uint32_t));
    run->channel_first = malloc(((size_t)program->num_channels + 1) * sizeof(uint32_t));
    run->channel_steps = malloc((steps + 1) * sizeof(uint32_t));
    run->message_index = malloc((refs + 1) * sizeof(uint32_t));
    run->lane_hash = malloc((refs + 1) * sizeof(uint64_t));
    run->transfer_of = malloc((refs + 1) * sizeof(uint32_t));
    run->forms = malloc((steps + 1) * sizeof *run->forms);
    run->offset = malloc((refs + 1) * sizeof(size_t));
    run->step_bytes = malloc((steps + 1) * sizeof(size_t));
    run->states = calloc(steps + 1, sizeof *run->states);
    run->scratch_offset = malloc(((size_t)program->num_scratch + 1) * sizeof(size_t));
    return run->dependents_first && run->dependents && run->channel_first && run->channel_steps &&
           run->message_index && run->lane_hash && run->transfer_of && run->forms && run->offset &&
           run->step_bytes && run->states && run->scratch_offset;
}

weft_status weft_run_create(const struct weft_plan *plan, struct weft_run **run,
                            struct weft_error *error)
{
    const struct weft_program *program = weft_plan_program(plan);
    struct weft_run *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a run");
    made->plan = plan;
    made->program = program;
    made->is_idle = true;
    made->failed_peer = -1;
    if (!allocate(made) || index_messages(made) != WEFT_OK) {
        weft_run_destroy(&made);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a run");
    }
    for (uint32_t s = 0; s < program->num_steps; s++)
        made->forms[s] = form_of(program, &program->steps[s]);
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
    void *parts[] = {old->dependents_first, old->dependents,    old->channel_first,
                     old->channel_steps,    old->message_index, old->lane_hash,
                     old->transfer_of,      old->forms,         old->offset,
                     old->step_bytes,       old->states,        old->scratch_offset,
                     old->transfers,        old->scratch};
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

static void lay_out_references(struct weft_run *run)
{
    const struct weft_program *program = run->program;
    const size_t first[WEFT_LANE] = {
        offset_bytes(run, WEFT_INPUT, weft_shape_input(&program->shape).first),
        offset_bytes(run, WEFT_OUTPUT, weft_shape_output(&program->shape).first), 0};
    for (uint32_t s = 0; s < program->num_steps; s++) {
        const struct weft_step *step = &program->steps[s];
        for (uint32_t i = step->num_sources + step->num_destinations; i-- > 0;) {
            const struct weft_ref *ref = &program->refs[step->first_ref + i];
            if (ref->space == WEFT_LANE)
                continue;
            size_t offset = offset_bytes(run, ref->space, ref->index);
            run->offset[step->first_ref + i] = offset - first[ref->space];
            run->step_bytes[s] =
                offset_bytes(run, ref->space, ref->index + step->num_cells) - offset;
        }
    }
}

static void lay_out_scratch(struct weft_run *run)
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
}

static size_t room_of(const struct weft_run *run, uint32_t step)
{
    return (run->step_bytes[step] + 63) & ~(size_t)63;
}

// Behind the scratch cells, for each step that needs any; `value` of its state keeps the place.
static weft_status lay_out_stages(struct weft_run *run, struct weft_error *error)
{
    const struct weft_program *program = run->program;
    const size_t first = (run->scratch_offset[program->num_scratch] + 63) & ~(size_t)63;
    for (int pass = 0; pass < 2; pass++) {
        size_t used = first;
        for (uint32_t s = 0; s < program->num_steps; s++) {
            if (!run->forms[s].is_staged)
                continue;
            if (pass == 1)
                run->states[s].value = run->scratch + used;
            used += (1 + (size_t)program->steps[s].num_sources) * room_of(run, s);
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

// Tables of sizes may have changed in place.
static bool is_laid_out_so(const struct weft_run *run)
{
    const struct weft_launch *launch = &run->launch;
    return run->is_laid_out && !launch->sizes.input_ends && !launch->sizes.output_ends &&
           !run->laid_sizes.input_ends && !run->laid_sizes.output_ends &&
           run->laid_sizes.count == launch->sizes.count &&
           run->laid_element_bytes == launch->element_bytes;
}

weft_status weft_run_lay_out(struct weft_run *run, struct weft_error *error)
{
    if (!is_laid_out_so(run)) {
        run->is_laid_out = false;
        lay_out_scratch(run);
        lay_out_references(run);
        WEFT_TRY(lay_out_stages(run, error));
        run->laid_sizes = run->launch.sizes;
        run->laid_element_bytes = run->launch.element_bytes;
        run->is_laid_out = true;
    }
    run->bases[WEFT_INPUT] = (char *)run->launch.send;
    run->bases[WEFT_OUTPUT] = run->launch.recv;
    run->bases[WEFT_SCRATCH] = run->scratch;
    return WEFT_OK;
}

char *weft_run_stage(const struct weft_run *run, uint32_t step, int number)
{
    return run->states[step].value + (size_t)number * room_of(run, step);
}
