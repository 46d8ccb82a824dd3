/*
 * SPDX-License-Identifier: Apache-2.0
 * Form of programs; see program.h.
 */
#include "collectives/program/program.h"

#include <stdlib.h>
#include <string.h>

void weft_program_destroy(struct weft_program **program)
{
    if (!*program)
        return;
    free((*program)->steps);
    free((*program)->refs);
    free((*program)->dependencies);
    free((*program)->labels);
    free((*program)->scratch);
    free((*program)->leaf_bounds);
    free((*program)->results);
    free(*program);
    *program = NULL;
}

static void *duplicate(const void *data, size_t count, size_t size)
{
    void *copy = malloc(count * size + 1);
    if (copy && count)
        memcpy(copy, data, count * size);
    return copy;
}

struct weft_program *weft_program_copy(const struct weft_program *program)
{
    struct weft_program *copy = duplicate(program, 1, sizeof *program);
    if (!copy)
        return NULL;
    copy->steps = duplicate(program->steps, program->num_steps, sizeof *copy->steps);
    copy->refs = duplicate(program->refs, program->num_refs, sizeof *copy->refs);
    copy->dependencies =
        duplicate(program->dependencies, program->num_dependencies, sizeof *copy->dependencies);
    copy->labels = duplicate(program->labels, program->num_labels, sizeof *copy->labels);
    copy->scratch = duplicate(program->scratch, program->num_scratch, sizeof *copy->scratch);
    if (program->leaf_bounds)
        copy->leaf_bounds = duplicate(program->leaf_bounds, (size_t)program->shape.num_ranks + 1,
                                      sizeof *copy->leaf_bounds);
    copy->shape.leaf_bounds = copy->leaf_bounds;
    copy->results = duplicate(program->results, weft_shape_output(&program->shape).cells,
                              sizeof *copy->results);
    if (!copy->steps || !copy->refs || !copy->dependencies || !copy->labels || !copy->scratch ||
        !copy->results || !copy->leaf_bounds != !program->leaf_bounds)
        weft_program_destroy(&copy);
    return copy;
}

uint32_t weft_program_num_locations(const struct weft_program *program)
{
    return weft_shape_input(&program->shape).cells + weft_shape_output(&program->shape).cells +
           program->num_scratch;
}

uint32_t weft_program_location(const struct weft_program *program, enum weft_aliasing aliasing,
                               enum weft_space space, uint32_t cell)
{
    struct weft_window input = weft_shape_input(&program->shape);
    struct weft_window output = weft_shape_output(&program->shape);
    if (space == WEFT_SCRATCH)
        return input.cells + output.cells + cell;
    bool is_output = space == WEFT_OUTPUT || (aliasing == WEFT_IN_PLACE && cell >= output.first &&
                                              cell - output.first < output.cells);
    return is_output ? input.cells + (cell - output.first) : cell - input.first;
}

uint64_t weft_program_extent(const struct weft_program *program, enum weft_space space,
                             uint32_t cell)
{
    if (space == WEFT_SCRATCH)
        return weft_shape_extent(&program->shape, program->scratch[cell].space,
                                 program->scratch[cell].cell);
    return weft_shape_extent(&program->shape, space, cell);
}

static weft_status bad(const struct weft_program *program, uint32_t step, struct weft_error *error,
                       const char *reason)
{
    return weft_fail(error, WEFT_INVALID_FORMAT, "rank %d step %u: %s", program->shape.rank, step,
                     reason);
}

static bool is_in_window(struct weft_window window, uint32_t cell, uint32_t num_cells)
{
    return cell >= window.first && num_cells <= window.cells &&
           cell - window.first <= window.cells - num_cells;
}

static struct weft_window window_of(const struct weft_program *program, uint8_t space)
{
    if (space == WEFT_INPUT)
        return weft_shape_input(&program->shape);
    if (space == WEFT_OUTPUT)
        return weft_shape_output(&program->shape);
    return (struct weft_window){0, program->num_scratch};
}

static weft_status validate_ref(const struct weft_program *program, uint32_t number,
                                const struct weft_ref *ref, bool is_source,
                                struct weft_error *error)
{
    const struct weft_step *step = &program->steps[number];
    if (ref->space >= WEFT_NUM_SPACES)
        return bad(program, number, error, "a reference to no known space");
    if (ref->space == WEFT_LANE) {
        if (ref->index >= (uint32_t)program->shape.num_ranks)
            return bad(program, number, error, "a lane to a rank that does not exist");
        if (ref->index == (uint32_t)program->shape.rank)
            return bad(program, number, error, "a lane to itself");
        if (is_source && (ref->label > program->num_labels ||
                          step->num_cells > program->num_labels - ref->label))
            return bad(program, number, error, "a receive without promised labels");
        return WEFT_OK;
    }
    if (!is_in_window(window_of(program, ref->space), ref->index, step->num_cells))
        return bad(program, number, error, "a reference outside its buffer");
    if (!is_source && ref->space == WEFT_INPUT)
        return bad(program, number, error, "writes the input");
    return WEFT_OK;
}

// All memory references of a step, cell by cell, have the extent of the first one.
static weft_status validate_extents(const struct weft_program *program, uint32_t number,
                                    struct weft_error *error)
{
    const struct weft_step *step = &program->steps[number];
    const struct weft_ref *refs = &program->refs[step->first_ref];
    int num_refs = step->num_sources + step->num_destinations, first = -1;
    for (int i = 0; i < num_refs; i++) {
        if (refs[i].space == WEFT_LANE)
            continue;
        if (first < 0) {
            first = i;
            continue;
        }
        for (uint32_t c = 0; c < step->num_cells; c++)
            if (weft_program_extent(program, refs[i].space, refs[i].index + c) !=
                weft_program_extent(program, refs[first].space, refs[first].index + c))
                return bad(program, number, error, "references of different extent");
    }
    if (first < 0)
        return bad(program, number, error, "no memory reference gives its extent");
    return WEFT_OK;
}

static weft_status validate_step(const struct weft_program *program, uint32_t number,
                                 struct weft_error *error)
{
    const struct weft_step *step = &program->steps[number];
    uint32_t num_refs = (uint32_t)step->num_sources + step->num_destinations;
    if (step->num_sources < 1 || step->num_sources > WEFT_REFS_LIMIT ||
        step->num_destinations < 1 || step->num_destinations > WEFT_REFS_LIMIT)
        return bad(program, number, error, "needs 1 to 16 sources and 1 to 16 destinations");
    if (step->num_cells < 1 || step->channel >= program->num_channels)
        return bad(program, number, error, "no cells, or a channel that does not exist");
    if (step->first_ref > program->num_refs || num_refs > program->num_refs - step->first_ref)
        return bad(program, number, error, "references outside the program");
    if (step->first_dependency > program->num_dependencies ||
        step->num_dependencies > program->num_dependencies - step->first_dependency)
        return bad(program, number, error, "dependencies outside the program");
    for (uint32_t d = 0; d < step->num_dependencies; d++)
        if (program->dependencies[step->first_dependency + d] >= number)
            return bad(program, number, error, "depends on itself or on a later step");
    if (step->num_sources > 1 && !weft_collective_reduces(program->shape.collective))
        return bad(program, number, error, "combines values, but the collective combines nothing");
    for (int i = 0; i < step->num_sources; i++)
        WEFT_TRY(validate_ref(program, number, weft_step_source(program, step, i), true, error));
    for (int i = 0; i < step->num_destinations; i++)
        WEFT_TRY(
            validate_ref(program, number, weft_step_destination(program, step, i), false, error));
    return validate_extents(program, number, error);
}

weft_status weft_program_validate(const struct weft_program *program, struct weft_error *error)
{
    WEFT_TRY(weft_shape_check(&program->shape, error));
    if (program->num_channels < 1 || program->num_channels > WEFT_CHANNELS_LIMIT ||
        program->num_steps > WEFT_STEPS_LIMIT || program->num_scratch > WEFT_CELLS_LIMIT)
        return weft_fail(error, WEFT_INVALID_FORMAT,
                         "rank %d before step 0: %u channels, %u steps, %u scratch cells",
                         program->shape.rank, program->num_channels, program->num_steps,
                         program->num_scratch);
    if (!(program->aliasing & (WEFT_OUT_OF_PLACE | WEFT_IN_PLACE)))
        return weft_fail(error, WEFT_INVALID_FORMAT, "rank %d before step 0: meant for no aliasing",
                         program->shape.rank);
    if ((program->aliasing & WEFT_IN_PLACE) && weft_shape_parts(&program->shape) > 1)
        return weft_fail(error, WEFT_INVALID_FORMAT,
                         "rank %d before step 0: in place with an input of %u parts",
                         program->shape.rank, program->shape.num_parts);
    for (uint32_t i = 0; i < program->num_scratch; i++)
        if (program->scratch[i].space > WEFT_OUTPUT ||
            !weft_shape_has_extent(&program->shape, program->scratch[i].space,
                                   program->scratch[i].cell))
            return weft_fail(error, WEFT_INVALID_FORMAT,
                             "rank %d before step 0: scratch cell %u is like no cell of known size",
                             program->shape.rank, i);
    for (uint32_t i = 0; i < program->num_steps; i++)
        WEFT_TRY(validate_step(program, i, error));
    return WEFT_OK;
}
