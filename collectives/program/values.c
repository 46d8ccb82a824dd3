/*
 * SPDX-License-Identifier: Apache-2.0
 * See values.h. A step reads memory when it posts and writes it when it completes; a message takes
 * the sender's value along. (Without races every other moment gives the same.)
 */
#include "collectives/program/values.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t values_limit = UINT64_C(1) << 28;

static weft_status lay_out(struct weft_values *values, struct weft_error *error)
{
    const struct weft_machine *machine = values->machine;
    size_t num_ranks = (size_t)machine->num_ranks, num_steps = machine->num_steps;
    values->first_memory = calloc(num_ranks + 1, sizeof(uint64_t));
    values->first_result = calloc(num_steps + 1, sizeof(uint64_t));
    values->first_source = calloc(num_steps + 1, sizeof(uint64_t));
    values->has_result = calloc(num_steps + 1, sizeof(bool));
    if (!values->first_memory || !values->first_result || !values->first_source ||
        !values->has_result)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the oracle");
    for (size_t rank = 0; rank < num_ranks; rank++)
        values->first_memory[rank + 1] =
            values->first_memory[rank] + weft_program_num_locations(machine->programs[rank]);
    for (size_t i = 0; i < num_steps; i++) {
        const struct weft_step *step = weft_machine_step(machine, (uint32_t)i);
        values->first_result[i + 1] = values->first_result[i] + step->num_cells;
        values->first_source[i + 1] =
            values->first_source[i] + (uint64_t)step->num_cells * step->num_sources;
    }
    uint64_t num_memory = values->first_memory[num_ranks];
    uint64_t num_results = values->first_result[num_steps];
    uint64_t num_sources = values->first_source[num_steps];
    if (num_memory > values_limit || num_results > values_limit || num_sources > values_limit)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "too many cells for the oracle");
    values->memory = malloc((num_memory + 1) * sizeof(uint32_t));
    values->results = malloc((num_results + 1) * sizeof(uint32_t));
    values->sources = malloc((num_sources + 1) * sizeof(uint32_t));
    if (!values->memory || !values->results || !values->sources)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the oracle");
    return WEFT_OK;
}

weft_status weft_values_create(const struct weft_machine *machine, struct weft_trees *trees,
                               struct weft_values **values, struct weft_error *error)
{
    struct weft_values *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the oracle");
    made->machine = machine;
    made->trees = trees;
    weft_status status = lay_out(made, error);
    if (status == WEFT_OK)
        *values = made;
    else
        weft_values_destroy(&made);
    return status;
}

void weft_values_destroy(struct weft_values **values)
{
    if (!*values)
        return;
    free((*values)->first_memory);
    free((*values)->first_result);
    free((*values)->first_source);
    free((*values)->memory);
    free((*values)->results);
    free((*values)->sources);
    free((*values)->has_result);
    free(*values);
    *values = NULL;
}

static uint32_t *cell_of(const struct weft_values *values, int rank, enum weft_aliasing aliasing,
                         enum weft_space space, uint32_t cell)
{
    return &values->memory[values->first_memory[rank] +
                           weft_program_location(values->machine->programs[rank], aliasing, space,
                                                 cell)];
}

uint32_t weft_values_cell(const struct weft_values *values, int rank, enum weft_aliasing aliasing,
                          enum weft_space space, uint32_t cell)
{
    return *cell_of(values, rank, aliasing, space, cell);
}

static uint32_t input_tree(struct weft_values *values, int rank, struct weft_window input,
                           uint32_t cell)
{
    const struct weft_shape *shape = &values->machine->programs[rank]->shape;
    uint32_t cells = input.cells / weft_shape_parts(shape), first, count;
    weft_shape_part(shape, (cell - input.first) / cells, &first, &count);
    return weft_trees_canonical(values->trees, first, count,
                                input.first + (cell - input.first) % cells);
}

static weft_status put_inputs(struct weft_values *values, const enum weft_aliasing *aliasing,
                              struct weft_error *error)
{
    const struct weft_machine *machine = values->machine;
    memset(values->memory, 0, values->first_memory[machine->num_ranks] * sizeof(uint32_t));
    for (int rank = 0; rank < machine->num_ranks; rank++) {
        struct weft_window input = weft_shape_input(&machine->programs[rank]->shape);
        for (uint32_t c = input.first; c < input.first + input.cells; c++) {
            uint32_t leaf = input_tree(values, rank, input, c);
            if (!leaf)
                return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the oracle");
            *cell_of(values, rank, aliasing[rank], WEFT_INPUT, c) = leaf;
        }
    }
    return WEFT_OK;
}

static void read_memory(struct weft_values *values, uint32_t number, enum weft_aliasing aliasing)
{
    const struct weft_program *program = weft_machine_program(values->machine, number);
    const struct weft_step *step = weft_machine_step(values->machine, number);
    int rank = (int)values->machine->rank_of_step[number];
    uint32_t *source = &values->sources[values->first_source[number]];
    for (int i = 0; i < step->num_sources; i++, source += step->num_cells) {
        const struct weft_ref *ref = weft_step_source(program, step, i);
        for (uint32_t c = 0; ref->space != WEFT_LANE && c < step->num_cells; c++)
            source[c] = *cell_of(values, rank, aliasing, ref->space, ref->index + c);
    }
}

static weft_status without_meaning(const struct weft_values *values, uint32_t number,
                                   const char *reason, struct weft_error *error)
{
    return weft_fail(error, WEFT_UNPROVED, "rank %u step %u: %s",
                     values->machine->rank_of_step[number],
                     weft_machine_local(values->machine, number), reason);
}

static weft_status compute(struct weft_values *values, uint32_t number, struct weft_error *error)
{
    const struct weft_step *step = weft_machine_step(values->machine, number);
    const uint32_t *sources = &values->sources[values->first_source[number]];
    uint32_t *results = &values->results[values->first_result[number]], cell;
    if (values->has_result[number])
        return WEFT_OK;
    for (uint32_t c = 0; c < step->num_cells; c++) {
        uint32_t value = sources[c];
        for (uint32_t i = 1; value && i < step->num_sources; i++) {
            uint32_t operand = sources[i * (size_t)step->num_cells + c];
            if (operand && !(value = weft_trees_pair(values->trees, value, operand)))
                return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the oracle");
            if (!operand)
                value = 0;
        }
        if (!value)
            return without_meaning(values, number, "reads a cell before it holds a value", error);
        if (!weft_trees_is_of_one_cell(values->trees, value, &cell))
            return without_meaning(values, number, "combines values of different cells", error);
        results[c] = value;
    }
    values->has_result[number] = true;
    return WEFT_OK;
}

static weft_status move_message(struct weft_values *values, uint32_t number,
                                struct weft_error *error)
{
    const struct weft_machine *machine = values->machine;
    const struct weft_machine_message *message = &machine->messages[number];
    WEFT_TRY(compute(values, message->sender, error));
    size_t cells = weft_machine_step(machine, message->receiver)->num_cells;
    size_t source = message->receiver_slot - machine->first_slot[message->receiver];
    memcpy(&values->sources[values->first_source[message->receiver] + source * cells],
           &values->results[values->first_result[message->sender]], cells * sizeof(uint32_t));
    return WEFT_OK;
}

static weft_status complete(struct weft_values *values, uint32_t number,
                            enum weft_aliasing aliasing, struct weft_error *error)
{
    const struct weft_program *program = weft_machine_program(values->machine, number);
    const struct weft_step *step = weft_machine_step(values->machine, number);
    int rank = (int)values->machine->rank_of_step[number];
    WEFT_TRY(compute(values, number, error));
    const uint32_t *results = &values->results[values->first_result[number]];
    for (int i = 0; i < step->num_destinations; i++) {
        const struct weft_ref *ref = weft_step_destination(program, step, i);
        for (uint32_t c = 0; ref->space != WEFT_LANE && c < step->num_cells; c++)
            *cell_of(values, rank, aliasing, ref->space, ref->index + c) = results[c];
    }
    return WEFT_OK;
}

weft_status weft_values_run(struct weft_values *values, const enum weft_aliasing *aliasing,
                            const uint32_t *order, uint32_t count, struct weft_error *error)
{
    const struct weft_machine *machine = values->machine;
    memset(values->has_result, 0, machine->num_steps * sizeof(bool));
    WEFT_TRY(put_inputs(values, aliasing, error));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t event = order[i], step = event / 2;
        if (event >= 2 * machine->num_steps)
            WEFT_TRY(move_message(values, event - 2 * machine->num_steps, error));
        else if (event % 2 == 0)
            read_memory(values, step, aliasing[machine->rank_of_step[step]]);
        else
            WEFT_TRY(complete(values, step, aliasing[machine->rank_of_step[step]], error));
    }
    return WEFT_OK;
}
