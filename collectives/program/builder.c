/*
 * SPDX-License-Identifier: Apache-2.0
 * See builder.h. Per location and aliasing it remembers the last writer, the readers since, and the
 * label the location holds; dependencies follow from the first two, declared results from the last.
 */
#include "collectives/program/builder.h"

#include <stdlib.h>
#include <string.h>

#include "collectives/program/leaves.h"

enum { none = UINT32_MAX, num_aliasings = 2 };

struct reader {
    uint32_t step;
    uint32_t next;
};

struct location {
    uint32_t writer;
    uint32_t readers;
    struct weft_label label;
};

enum { waits_limit = 8 };

// A growing array.
struct pool {
    void *data;
    uint32_t count;
    uint32_t room;
};

struct weft_builder {
    struct weft_program *program;
    struct pool steps, refs, dependencies, labels, scratch, readers;
    struct pool locations[num_aliasings]; // out of place, in place
    uint32_t waits[waits_limit];          // earlier steps that the next one waits for
    int num_waits;
    struct weft_error error;
    weft_status status;
};

static const enum weft_aliasing aliasings[num_aliasings] = {WEFT_OUT_OF_PLACE, WEFT_IN_PLACE};

static void *append(struct weft_builder *builder, struct pool *pool, uint32_t count, size_t size)
{
    if (builder->status != WEFT_OK)
        return NULL;
    if (count > pool->room - pool->count) {
        uint64_t room = 2 * ((uint64_t)pool->room + count) + 16;
        void *larger = room < UINT32_MAX ? realloc(pool->data, room * size) : NULL;
        if (!larger) {
            builder->status =
                weft_fail(&builder->error, WEFT_OUT_OF_MEMORY, "no memory for a program");
            return NULL;
        }
        pool->data = larger;
        pool->room = (uint32_t)room;
    }
    void *first = (char *)pool->data + pool->count * size;
    pool->count += count;
    return first;
}

static void add_locations(struct weft_builder *builder, uint32_t count)
{
    for (int a = 0; a < num_aliasings; a++) {
        struct location *first = append(builder, &builder->locations[a], count, sizeof *first);
        for (uint32_t i = 0; first && i < count; i++)
            first[i] = (struct location){.writer = none, .readers = none};
    }
}

static struct location *locate(struct weft_builder *builder, int a, const struct weft_ref *ref,
                               uint32_t cell)
{
    struct location *locations = builder->locations[a].data;
    uint32_t number =
        weft_program_location(builder->program, aliasings[a], ref->space, ref->index + cell);
    return number < builder->locations[a].count ? &locations[number] : NULL;
}

// What the input cells hold: by default one leaf, else one part of the span after another.
static void label_inputs(struct weft_builder *builder, const struct weft_shape *shape)
{
    struct weft_window input = weft_shape_input(shape);
    uint32_t num_parts = weft_shape_parts(shape), cells = num_parts ? input.cells / num_parts : 0;
    for (uint32_t part = 0; builder->status == WEFT_OK && part < num_parts; part++) {
        uint32_t first, count;
        weft_shape_part(shape, part, &first, &count);
        struct weft_label label = weft_leaves_label(first, count, 0);
        for (uint32_t c = 0; c < cells; c++)
            for (int a = 0; a < num_aliasings; a++) {
                const struct weft_ref ref = {.space = WEFT_INPUT,
                                             .index = input.first + part * cells + c};
                label.cell = input.first + c;
                locate(builder, a, &ref, 0)->label = label;
            }
    }
}

weft_status weft_builder_create(const struct weft_shape *shape, const char *algorithm,
                                unsigned aliasing, struct weft_builder **builder,
                                struct weft_error *error)
{
    WEFT_TRY(weft_shape_check(shape, error));
    struct weft_builder *made = calloc(1, sizeof *made);
    struct weft_program *program = calloc(1, sizeof *program);
    if (!made || !program) {
        free(made);
        free(program);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    }
    made->program = program;
    program->shape = *shape;
    if (shape->num_leaves) {
        size_t bytes = ((size_t)shape->num_ranks + 1) * sizeof *program->leaf_bounds;
        program->shape.leaf_bounds = program->leaf_bounds = malloc(bytes);
        if (!program->leaf_bounds) {
            free(made);
            weft_program_destroy(&program);
            return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
        }
        memcpy(program->leaf_bounds, shape->leaf_bounds, bytes);
    }
    program->aliasing = aliasing;
    program->num_channels = 1;
    strncpy(program->algorithm, algorithm, sizeof program->algorithm - 1);
    struct weft_window input = weft_shape_input(shape), output = weft_shape_output(shape);
    add_locations(made, input.cells + output.cells);
    label_inputs(made, shape);
    *builder = made;
    return WEFT_OK;
}

void weft_builder_destroy(struct weft_builder **builder)
{
    if (!*builder)
        return;
    struct weft_builder *old = *builder;
    struct pool *pools[] = {&old->steps,   &old->refs,    &old->dependencies, &old->labels,
                            &old->scratch, &old->readers, &old->locations[0], &old->locations[1]};
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
        free(pools[i]->data);
    weft_program_destroy(&old->program);
    free(old);
    *builder = NULL;
}

uint32_t weft_builder_scratch(struct weft_builder *builder, enum weft_space space, uint32_t cell,
                              uint32_t count)
{
    uint32_t first = builder->scratch.count;
    struct weft_scratch *cells = append(builder, &builder->scratch, count, sizeof *cells);
    for (uint32_t i = 0; cells && i < count; i++)
        cells[i] = (struct weft_scratch){(uint8_t)space, cell + i};
    builder->program->num_scratch = builder->scratch.count;
    add_locations(builder, count);
    return first;
}

static struct weft_ref add_ref(struct weft_builder *builder, const struct weft_operand *operand,
                               uint32_t num_cells)
{
    struct weft_ref ref = {(uint8_t)operand->space, operand->index, operand->stamp, 0};
    if (operand->labels) {
        ref.label = builder->labels.count;
        struct weft_label *labels = append(builder, &builder->labels, num_cells, sizeof *labels);
        if (labels)
            memcpy(labels, operand->labels, num_cells * sizeof *labels);
    }
    struct weft_ref *added = append(builder, &builder->refs, 1, sizeof *added);
    if (added)
        *added = ref;
    return ref;
}

static void depend(struct weft_builder *builder, struct weft_step *step, uint32_t on)
{
    if (on == none || on == builder->steps.count)
        return;
    uint32_t *dependencies = builder->dependencies.data;
    for (uint32_t d = 0; d < step->num_dependencies; d++)
        if (dependencies[step->first_dependency + d] == on)
            return;
    uint32_t *added = append(builder, &builder->dependencies, 1, sizeof *added);
    if (!added)
        return;
    *added = on;
    if (++step->num_dependencies == UINT16_MAX)
        builder->status = weft_fail(&builder->error, WEFT_INVALID_FORMAT, "too many dependencies");
}

// Reads come first, so that a step which reads and writes one cell does not wait for itself.
static void track_reads(struct weft_builder *builder, struct weft_step *step, int a,
                        const struct weft_ref *ref, struct weft_label *values, bool is_first)
{
    const struct weft_label *promised = builder->labels.data;
    for (uint32_t c = 0; c < step->num_cells && builder->status == WEFT_OK; c++) {
        struct weft_label label;
        if (ref->space == WEFT_LANE) {
            label = promised[ref->label + c];
        } else {
            struct location *location = locate(builder, a, ref, c);
            struct reader *reader = append(builder, &builder->readers, 1, sizeof *reader);
            if (!location || !reader) {
                builder->status = weft_fail(&builder->error, WEFT_INVALID_FORMAT,
                                            "step %u refers to no cell", builder->steps.count);
                return;
            }
            depend(builder, step, location->writer);
            *reader = (struct reader){builder->steps.count, location->readers};
            location->readers = builder->readers.count - 1;
            label = location->label;
        }
        values[c] = is_first ? label : weft_label_combine(values[c], label);
    }
}

static void track_writes(struct weft_builder *builder, struct weft_step *step, int a,
                         const struct weft_ref *ref, const struct weft_label *values)
{
    for (uint32_t c = 0; c < step->num_cells && builder->status == WEFT_OK; c++) {
        struct location *location = locate(builder, a, ref, c);
        if (!location) {
            builder->status = weft_fail(&builder->error, WEFT_INVALID_FORMAT,
                                        "step %u refers to no cell", builder->steps.count);
            return;
        }
        // Whoever has read since waits for the writer already; so does this step if it was the one.
        if (location->readers == none)
            depend(builder, step, location->writer);
        const struct reader *readers = builder->readers.data;
        for (uint32_t r = location->readers; r != none; r = readers[r].next)
            depend(builder, step, readers[r].step);
        location->writer = builder->steps.count;
        location->readers = none;
        location->label = values[c];
    }
}

static void track(struct weft_builder *builder, struct weft_step *step)
{
    struct weft_label *values = malloc(step->num_cells * sizeof *values);
    if (!values)
        builder->status = weft_fail(&builder->error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    for (int a = 0; values && a < num_aliasings; a++) {
        if (!(builder->program->aliasing & aliasings[a]))
            continue;
        for (uint32_t i = 0; i < step->num_sources; i++) {
            const struct weft_ref *refs = builder->refs.data;
            track_reads(builder, step, a, &refs[step->first_ref + i], values, i == 0);
        }
        for (uint32_t i = 0; i < step->num_destinations; i++) {
            const struct weft_ref *refs = builder->refs.data;
            const struct weft_ref *ref = &refs[step->first_ref + step->num_sources + i];
            if (ref->space != WEFT_LANE)
                track_writes(builder, step, a, ref, values);
        }
    }
    free(values);
}

uint32_t weft_builder_num_steps(const struct weft_builder *builder)
{
    return builder->steps.count;
}

void weft_builder_wait(struct weft_builder *builder, uint32_t step)
{
    if (step >= builder->steps.count || builder->num_waits == waits_limit) {
        if (builder->status == WEFT_OK)
            builder->status = weft_fail(&builder->error, WEFT_INVALID_FORMAT,
                                        "step %u cannot wait for %u", builder->steps.count, step);
        return;
    }
    builder->waits[builder->num_waits++] = step;
}

void weft_builder_step(struct weft_builder *builder, uint16_t channel, uint32_t num_cells,
                       const struct weft_operand *sources, int num_sources,
                       const struct weft_operand *destinations, int num_destinations)
{
    struct weft_step step = {.num_cells = num_cells,
                             .first_ref = builder->refs.count,
                             .first_dependency = builder->dependencies.count,
                             .channel = channel,
                             .num_sources = (uint8_t)num_sources,
                             .num_destinations = (uint8_t)num_destinations};
    if (num_cells == 0)
        return;
    if (channel >= builder->program->num_channels)
        builder->program->num_channels = channel + 1u;
    for (int i = 0; i < num_sources; i++) {
        if (sources[i].space == WEFT_LANE && !sources[i].labels && builder->status == WEFT_OK)
            builder->status =
                weft_fail(&builder->error, WEFT_INVALID_FORMAT,
                          "step %u receives without promised labels", builder->steps.count);
        add_ref(builder, &sources[i], num_cells);
    }
    for (int i = 0; i < num_destinations; i++)
        add_ref(builder, &destinations[i], num_cells);
    for (int i = 0; i < builder->num_waits && builder->status == WEFT_OK; i++)
        depend(builder, &step, builder->waits[i]);
    builder->num_waits = 0;
    if (builder->status == WEFT_OK)
        track(builder, &step);
    struct weft_step *added = append(builder, &builder->steps, 1, sizeof *added);
    if (added)
        *added = step;
}

void weft_builder_move(struct weft_builder *builder, uint16_t channel, uint32_t num_cells,
                       struct weft_operand from, struct weft_operand into)
{
    weft_builder_step(builder, channel, num_cells, &from, 1, &into, 1);
}

void weft_builder_combine(struct weft_builder *builder, uint16_t channel, uint32_t num_cells,
                          struct weft_operand a, struct weft_operand b, struct weft_operand into)
{
    const struct weft_operand sources[] = {a, b};
    weft_builder_step(builder, channel, num_cells, sources, 2, &into, 1);
}

static weft_status declare_results(struct weft_builder *builder)
{
    struct weft_window output = weft_shape_output(&builder->program->shape);
    uint64_t *results = calloc((size_t)output.cells + 1, sizeof *results);
    if (!results)
        return weft_fail(&builder->error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    int a = builder->program->aliasing & WEFT_OUT_OF_PLACE ? 0 : 1;
    for (uint32_t c = 0; c < output.cells; c++) {
        const struct weft_ref ref = {.space = WEFT_OUTPUT, .index = output.first + c};
        results[c] = locate(builder, a, &ref, 0)->label.expression;
    }
    builder->program->results = results;
    return WEFT_OK;
}

weft_status weft_builder_finish(struct weft_builder **builder, struct weft_program **program,
                                struct weft_error *error)
{
    struct weft_builder *done = *builder;
    if (done->status == WEFT_OK)
        done->status = declare_results(done);
    weft_status status = done->status;
    if (status == WEFT_OK) {
        struct weft_program *made = done->program;
        made->steps = done->steps.data, made->num_steps = done->steps.count;
        made->refs = done->refs.data, made->num_refs = done->refs.count;
        made->dependencies = done->dependencies.data;
        made->num_dependencies = done->dependencies.count;
        made->labels = done->labels.data, made->num_labels = done->labels.count;
        made->scratch = done->scratch.data, made->num_scratch = done->scratch.count;
        done->steps.data = done->refs.data = done->dependencies.data = NULL;
        done->labels.data = done->scratch.data = NULL;
        done->program = NULL;
        *program = made;
    } else {
        weft_fail(error, status, "%s", done->error.text);
    }
    weft_builder_destroy(builder);
    return status;
}
