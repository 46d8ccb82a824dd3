/*
 * SPDX-License-Identifier: Apache-2.0
 * See program_json.h. Reading takes two passes: one counts, so that every array is allocated once
 * and bounded before, one fills.
 */
#include "collectives/program/program_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "base/json.h"

static const char *const space_keys[] = {"input", "output", "scratch", "lane"};

enum { WHERE_BYTES = 256 };

static json_t *hex_of(weft_sum value, bool is_wide)
{
    char text[40];
    if (is_wide)
        snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, (uint64_t)(value >> 64),
                 (uint64_t)value);
    else
        snprintf(text, sizeof text, "%016" PRIx64, (uint64_t)value);
    return json_string(text);
}

// Appends or sets and forgets whether it worked: the caller asks once at the end (all of these take
// NULL for a failed value and then fail themselves).
struct writer {
    bool has_failed;
};

static void put(struct writer *writer, json_t *object, const char *key, json_t *value)
{
    writer->has_failed |= json_object_set_new(object, key, value) != 0;
}

static void append(struct writer *writer, json_t *array, json_t *value)
{
    writer->has_failed |= json_array_append_new(array, value) != 0;
}

static json_t *write_labels(struct writer *writer, const struct weft_label *labels, uint32_t count)
{
    json_t *array = json_array();
    for (uint32_t c = 0; c < count; c++) {
        if (!labels[c].is_defined) {
            append(writer, array, json_null());
            continue;
        }
        json_t *label = json_object();
        put(writer, label, "cell", json_integer(labels[c].cell));
        put(writer, label, "sum", hex_of(labels[c].sum, true));
        put(writer, label, "tree", hex_of(labels[c].expression, false));
        append(writer, array, label);
    }
    return array;
}

static json_t *write_refs(struct writer *writer, const struct weft_program *program,
                          const struct weft_step *step, bool is_source)
{
    json_t *array = json_array();
    int count = is_source ? step->num_sources : step->num_destinations;
    for (int i = 0; i < count; i++) {
        const struct weft_ref *ref = is_source ? weft_step_source(program, step, i)
                                               : weft_step_destination(program, step, i);
        json_t *object = json_object();
        put(writer, object, space_keys[ref->space], json_integer(ref->index));
        if (ref->space == WEFT_LANE)
            put(writer, object, "stamp", json_integer(ref->stamp));
        if (ref->space == WEFT_LANE && is_source)
            put(writer, object, "labels",
                write_labels(writer, &program->labels[ref->label], step->num_cells));
        append(writer, array, object);
    }
    return array;
}

static json_t *write_step(struct writer *writer, const struct weft_program *program,
                          const struct weft_step *step)
{
    json_t *object = json_object(), *after = json_array();
    for (uint32_t d = 0; d < step->num_dependencies; d++)
        append(writer, after, json_integer(program->dependencies[step->first_dependency + d]));
    put(writer, object, "channel", json_integer(step->channel));
    put(writer, object, "cells", json_integer(step->num_cells));
    put(writer, object, "after", after);
    put(writer, object, "from", write_refs(writer, program, step, true));
    put(writer, object, "into", write_refs(writer, program, step, false));
    return object;
}

static json_t *write_bounds(struct writer *writer, const struct weft_shape *shape)
{
    json_t *array = json_array();
    for (int r = 0; r <= shape->num_ranks; r++)
        append(writer, array, json_integer(shape->leaf_bounds[r]));
    return array;
}

weft_status weft_program_to_json(const struct weft_program *program, json_t **json,
                                 struct weft_error *error)
{
    const struct weft_shape *shape = &program->shape;
    struct writer writer = {false};
    json_t *object = json_object(), *aliasing = json_array(), *scratch = json_array();
    json_t *steps = json_array(), *results = json_array();
    if (program->aliasing & WEFT_OUT_OF_PLACE)
        append(&writer, aliasing, json_string("out_of_place"));
    if (program->aliasing & WEFT_IN_PLACE)
        append(&writer, aliasing, json_string("in_place"));
    for (uint32_t i = 0; i < program->num_scratch; i++) {
        json_t *cell = json_object();
        put(&writer, cell, "like", json_string(space_keys[program->scratch[i].space]));
        put(&writer, cell, "cell", json_integer(program->scratch[i].cell));
        append(&writer, scratch, cell);
    }
    for (uint32_t i = 0; i < program->num_steps; i++)
        append(&writer, steps, write_step(&writer, program, &program->steps[i]));
    for (uint32_t c = 0; c < weft_shape_output(shape).cells; c++)
        append(&writer, results, hex_of(program->results[c], false));
    put(&writer, object, "algorithm", json_string(program->algorithm));
    put(&writer, object, "collective", json_string(weft_collective_names[shape->collective]));
    put(&writer, object, "num_ranks", json_integer(shape->num_ranks));
    put(&writer, object, "rank", json_integer(shape->rank));
    put(&writer, object, "root", json_integer(shape->root));
    put(&writer, object, "pieces", json_integer(shape->pieces));
    if (shape->is_canonical)
        put(&writer, object, "order", json_string("reproducible"));
    if (shape->num_leaves)
        put(&writer, object, "leaf_bounds", write_bounds(&writer, shape));
    put(&writer, object, "aliasing", aliasing);
    put(&writer, object, "num_channels", json_integer(program->num_channels));
    put(&writer, object, "scratch", scratch);
    put(&writer, object, "steps", steps);
    put(&writer, object, "results", results);
    if (writer.has_failed) {
        json_decref(object);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the JSON of a program");
    }
    *json = object;
    return WEFT_OK;
}

struct reader {
    struct weft_program *program;
    const char *name;
    uint64_t num_cells; // over all references so far
    struct weft_error *error;
};

static weft_status no_memory(struct reader *reader)
{
    return weft_fail(reader->error, WEFT_OUT_OF_MEMORY, "%s: no memory for a program",
                     reader->name);
}

static weft_status bad(struct reader *reader, const char *where, const char *reason)
{
    return weft_fail(reader->error, WEFT_INVALID_FORMAT, "%s: %s", where, reason);
}

// Objects have the keys we know and no others: a misspelt key must not be passed over.
static weft_status check_keys(struct reader *reader, const json_t *object, const char *where,
                              const char *const *keys, size_t num_keys)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return bad(reader, where, "is not an object");
    json_object_foreach((json_t *)object, key, value)
    {
        size_t i = 0;
        while (i < num_keys && strcmp(key, keys[i]) != 0)
            i++;
        if (i == num_keys)
            return weft_fail(reader->error, WEFT_INVALID_FORMAT, "%s: \"%.40s\" means nothing here",
                             where, key);
    }
    return WEFT_OK;
}

static weft_status read_hex(struct reader *reader, const json_t *json, const char *where,
                            size_t digits, weft_sum *value)
{
    const char *text = json_string_value(json);
    if (!text || strlen(text) != digits || strspn(text, "0123456789abcdef") != digits)
        return weft_fail(reader->error, WEFT_INVALID_FORMAT,
                         "%s: is not a string of %zu hexadecimal digits", where, digits);
    *value = 0;
    for (; *text; text++)
        *value = *value << 4 | (weft_sum)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
    return WEFT_OK;
}

static weft_status read_label(struct reader *reader, const json_t *json, const char *where,
                              struct weft_label *label)
{
    static const char *const keys[] = {"cell", "sum", "tree"};
    if (json_is_null(json)) {
        *label = (struct weft_label){0};
        return WEFT_OK;
    }
    int64_t cell;
    weft_sum sum = 0, tree = 0;
    WEFT_TRY(check_keys(reader, json, where, keys, 3));
    WEFT_TRY(weft_json_integer(json, "cell", 0, WEFT_CELLS_LIMIT, where, &cell, reader->error));
    WEFT_TRY(read_hex(reader, json_object_get(json, "sum"), where, 32, &sum));
    WEFT_TRY(read_hex(reader, json_object_get(json, "tree"), where, 16, &tree));
    *label = (struct weft_label){sum, (uint64_t)tree, (uint32_t)cell, 1};
    return WEFT_OK;
}

static weft_status read_labels(struct reader *reader, const json_t *json, const char *where,
                               uint32_t num_cells, struct weft_ref *ref)
{
    struct weft_program *program = reader->program;
    const json_t *labels;
    WEFT_TRY(weft_json_array(json, "labels", where, &labels, reader->error));
    if (json_array_size(labels) != num_cells)
        return bad(reader, where, "has not one label per cell");
    ref->label = program->num_labels;
    for (uint32_t c = 0; c < num_cells; c++) {
        char path[WHERE_BYTES];
        snprintf(path, sizeof path, "%.200s.labels[%u]", where, c);
        WEFT_TRY(read_label(reader, json_array_get(labels, c), path,
                            &program->labels[program->num_labels]));
        program->num_labels++;
    }
    return WEFT_OK;
}

static weft_status read_ref(struct reader *reader, const json_t *json, const char *where,
                            bool is_source, uint32_t num_cells)
{
    static const char *const memory_keys[] = {"input", "output", "scratch"};
    static const char *const lane_keys[] = {"lane", "stamp", "labels"};
    struct weft_ref ref = {0};
    int64_t index, stamp;
    while (ref.space < WEFT_NUM_SPACES && !json_object_get(json, space_keys[ref.space]))
        ref.space++;
    if (ref.space == WEFT_NUM_SPACES)
        return bad(reader, where, "names neither input, output, scratch nor lane");
    bool is_lane = ref.space == WEFT_LANE;
    WEFT_TRY(check_keys(reader, json, where, is_lane ? lane_keys : &memory_keys[ref.space],
                        !is_lane    ? 1
                        : is_source ? 3
                                    : 2));
    WEFT_TRY(weft_json_integer(json, space_keys[ref.space], 0, UINT32_MAX, where, &index,
                               reader->error));
    ref.index = (uint32_t)index;
    if (is_lane) {
        WEFT_TRY(weft_json_integer(json, "stamp", 0, UINT32_MAX, where, &stamp, reader->error));
        ref.stamp = (uint32_t)stamp;
    }
    if (is_lane && is_source)
        WEFT_TRY(read_labels(reader, json, where, num_cells, &ref));
    reader->program->refs[reader->program->num_refs++] = ref;
    return WEFT_OK;
}

static weft_status read_refs(struct reader *reader, const json_t *json, const char *where,
                             bool is_source, uint32_t num_cells, uint8_t *count)
{
    const json_t *array;
    const char *key = is_source ? "from" : "into";
    WEFT_TRY(weft_json_array(json, key, where, &array, reader->error));
    size_t size = json_array_size(array);
    reader->num_cells += size * num_cells;
    if (size > WEFT_REFS_LIMIT || reader->num_cells > WEFT_JSON_CELLS_LIMIT)
        return bad(reader, where, "too many references, or too many cells in all of them");
    for (size_t i = 0; i < size; i++) {
        char path[WHERE_BYTES];
        snprintf(path, sizeof path, "%.200s.%s[%zu]", where, key, i);
        WEFT_TRY(read_ref(reader, json_array_get(array, i), path, is_source, num_cells));
    }
    *count = (uint8_t)size;
    return WEFT_OK;
}

static weft_status read_dependencies(struct reader *reader, const json_t *json, const char *where,
                                     struct weft_step *step)
{
    struct weft_program *program = reader->program;
    const json_t *after;
    WEFT_TRY(weft_json_array(json, "after", where, &after, reader->error));
    if (json_array_size(after) > UINT16_MAX)
        return bad(reader, where, "more than 65535 dependencies");
    step->first_dependency = program->num_dependencies;
    step->num_dependencies = (uint16_t)json_array_size(after);
    for (uint32_t d = 0; d < step->num_dependencies; d++) {
        const json_t *number = json_array_get(after, d);
        if (!json_is_integer(number) || json_integer_value(number) < 0 ||
            json_integer_value(number) >= program->num_steps)
            return bad(reader, where, "\"after\" is not a list of earlier steps");
        program->dependencies[program->num_dependencies++] = (uint32_t)json_integer_value(number);
    }
    return WEFT_OK;
}

static weft_status read_step(struct reader *reader, const json_t *json, uint32_t number)
{
    static const char *const keys[] = {"channel", "cells", "after", "from", "into"};
    struct weft_program *program = reader->program;
    struct weft_step *step = &program->steps[number];
    int64_t channel, cells;
    char where[WHERE_BYTES];
    snprintf(where, sizeof where, "%.100s.steps[%u]", reader->name, number);
    WEFT_TRY(check_keys(reader, json, where, keys, 5));
    WEFT_TRY(weft_json_integer(json, "channel", 0, WEFT_CHANNELS_LIMIT - 1, where, &channel,
                               reader->error));
    WEFT_TRY(weft_json_integer(json, "cells", 1, WEFT_CELLS_LIMIT, where, &cells, reader->error));
    step->channel = (uint16_t)channel;
    step->num_cells = (uint32_t)cells;
    step->first_ref = program->num_refs;
    WEFT_TRY(read_dependencies(reader, json, where, step));
    WEFT_TRY(read_refs(reader, json, where, true, step->num_cells, &step->num_sources));
    return read_refs(reader, json, where, false, step->num_cells, &step->num_destinations);
}

// Upper bounds for the arrays; what is not an array or object here is refused when it is read.
static weft_status allocate(struct reader *reader, const json_t *steps, const json_t *scratch)
{
    struct weft_program *program = reader->program;
    size_t num_refs = 0, num_dependencies = 0, num_labels = 0, i, k;
    json_t *step, *ref;
    json_array_foreach((json_t *)steps, i, step)
    {
        const json_t *from = json_object_get(step, "from");
        num_refs += json_array_size(from) + json_array_size(json_object_get(step, "into"));
        num_dependencies += json_array_size(json_object_get(step, "after"));
        json_array_foreach((json_t *)from, k, ref) num_labels +=
            json_array_size(json_object_get(ref, "labels"));
    }
    if (json_array_size(steps) > WEFT_STEPS_LIMIT || json_array_size(scratch) > WEFT_CELLS_LIMIT ||
        num_refs > UINT32_MAX / 2 || num_dependencies > UINT32_MAX / 2 ||
        num_labels > UINT32_MAX / 2)
        return bad(reader, reader->name, "too large");
    uint32_t cells = weft_shape_output(&program->shape).cells;
    program->steps = calloc(json_array_size(steps) + 1, sizeof *program->steps);
    program->refs = calloc(num_refs + 1, sizeof *program->refs);
    program->dependencies = calloc(num_dependencies + 1, sizeof *program->dependencies);
    program->labels = calloc(num_labels + 1, sizeof *program->labels);
    program->scratch = calloc(json_array_size(scratch) + 1, sizeof *program->scratch);
    program->results = calloc((size_t)cells + 1, sizeof *program->results);
    if (!program->steps || !program->refs || !program->dependencies || !program->labels ||
        !program->scratch || !program->results)
        return no_memory(reader);
    return WEFT_OK;
}

// "order" and "leaf_bounds" are there only where the order is reproducible, and with spans.
static weft_status read_leaves(struct reader *reader, const json_t *json)
{
    struct weft_shape *shape = &reader->program->shape;
    const char *order;
    const json_t *array;
    if (!json_object_get(json, "order") && !json_object_get(json, "leaf_bounds"))
        return WEFT_OK;
    WEFT_TRY(weft_json_string(json, "order", reader->name, &order, reader->error));
    if (strcmp(order, "reproducible") != 0)
        return bad(reader, reader->name, "\"order\" is not \"reproducible\"");
    shape->is_canonical = true;
    if (!json_object_get(json, "leaf_bounds"))
        return WEFT_OK;
    WEFT_TRY(weft_json_array(json, "leaf_bounds", reader->name, &array, reader->error));
    if (json_array_size(array) != (size_t)shape->num_ranks + 1)
        return bad(reader, reader->name, "\"leaf_bounds\" has not one entry more than ranks");
    uint32_t *bounds = calloc((size_t)shape->num_ranks + 1, sizeof *bounds);
    reader->program->leaf_bounds = bounds;
    if (!bounds)
        return no_memory(reader);
    for (int r = 0; r <= shape->num_ranks; r++) {
        json_int_t bound = json_integer_value(json_array_get(array, (size_t)r));
        if (!json_is_integer(json_array_get(array, (size_t)r)) || bound < 0 ||
            bound > WEFT_LEAVES_LIMIT)
            return bad(reader, reader->name, "\"leaf_bounds\" has an entry out of range");
        bounds[r] = (uint32_t)bound;
    }
    WEFT_TRY(
        weft_leaf_bounds_check(shape->num_ranks, bounds[shape->num_ranks], bounds, reader->error));
    weft_shape_set_leaves(shape, bounds[shape->num_ranks], bounds);
    return WEFT_OK;
}

static weft_status read_shape(struct reader *reader, const json_t *json)
{
    struct weft_shape *shape = &reader->program->shape;
    const char *collective;
    int64_t num_ranks, rank, root, pieces;
    WEFT_TRY(weft_json_string(json, "collective", reader->name, &collective, reader->error));
    weft_status status = weft_collective_from_name(collective, &shape->collective, reader->error);
    if (status != WEFT_OK)
        return bad(reader, reader->name, "\"collective\" is none that exists");
    WEFT_TRY(weft_json_integer(json, "num_ranks", 1, WEFT_JSON_RANKS_LIMIT, reader->name,
                               &num_ranks, reader->error));
    WEFT_TRY(weft_json_integer(json, "rank", 0, num_ranks - 1, reader->name, &rank, reader->error));
    WEFT_TRY(weft_json_integer(json, "root", 0, num_ranks - 1, reader->name, &root, reader->error));
    WEFT_TRY(weft_json_integer(json, "pieces", 1, WEFT_JSON_CELLS_LIMIT, reader->name, &pieces,
                               reader->error));
    shape->num_ranks = (int)num_ranks;
    shape->rank = (int)rank;
    shape->root = (int)root;
    shape->pieces = (uint32_t)pieces;
    WEFT_TRY(read_leaves(reader, json));
    uint32_t num_parts = weft_shape_parts(shape);
    if (pieces * weft_shape_blocks(shape) * (num_parts ? num_parts : 1) > WEFT_JSON_CELLS_LIMIT)
        return bad(reader, reader->name, "too many cells");
    return WEFT_OK;
}

static weft_status read_aliasing(struct reader *reader, const json_t *json)
{
    const json_t *array;
    size_t i;
    json_t *one;
    WEFT_TRY(weft_json_array(json, "aliasing", reader->name, &array, reader->error));
    json_array_foreach((json_t *)array, i, one)
    {
        const char *text = json_is_string(one) ? json_string_value(one) : "";
        unsigned bit = strcmp(text, "out_of_place") == 0 ? WEFT_OUT_OF_PLACE
                       : strcmp(text, "in_place") == 0   ? WEFT_IN_PLACE
                                                         : 0;
        if (!bit || (reader->program->aliasing & bit))
            return bad(
                reader, reader->name,
                "\"aliasing\" lists other than \"out_of_place\" and \"in_place\", once each");
        reader->program->aliasing |= bit;
    }
    return WEFT_OK;
}

static weft_status read_scratch(struct reader *reader, const json_t *array)
{
    static const char *const keys[] = {"like", "cell"};
    struct weft_program *program = reader->program;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *json = json_array_get(array, i);
        char where[WHERE_BYTES];
        const char *like;
        int64_t cell;
        snprintf(where, sizeof where, "%.100s.scratch[%zu]", reader->name, i);
        WEFT_TRY(check_keys(reader, json, where, keys, 2));
        WEFT_TRY(weft_json_string(json, "like", where, &like, reader->error));
        WEFT_TRY(weft_json_integer(json, "cell", 0, WEFT_CELLS_LIMIT, where, &cell, reader->error));
        bool is_input = strcmp(like, "input") == 0;
        if (!is_input && strcmp(like, "output") != 0)
            return bad(reader, where, "\"like\" is neither \"input\" nor \"output\"");
        program->scratch[program->num_scratch++] =
            (struct weft_scratch){is_input ? WEFT_INPUT : WEFT_OUTPUT, (uint32_t)cell};
    }
    return WEFT_OK;
}

static weft_status read_results(struct reader *reader, const json_t *json)
{
    const json_t *array;
    WEFT_TRY(weft_json_array(json, "results", reader->name, &array, reader->error));
    uint32_t cells = weft_shape_output(&reader->program->shape).cells;
    if (json_array_size(array) != cells)
        return bad(reader, reader->name, "\"results\" has not one entry per output cell");
    for (uint32_t c = 0; c < cells; c++) {
        char where[WHERE_BYTES];
        weft_sum value = 0;
        snprintf(where, sizeof where, "%.100s.results[%u]", reader->name, c);
        WEFT_TRY(read_hex(reader, json_array_get(array, c), where, 16, &value));
        reader->program->results[c] = (uint64_t)value;
    }
    return WEFT_OK;
}

static weft_status read_program(struct reader *reader, const json_t *json)
{
    static const char *const keys[] = {
        "algorithm",    "collective", "num_ranks", "rank",    "root",  "pieces",     "aliasing",
        "num_channels", "scratch",    "steps",     "results", "order", "leaf_bounds"};
    struct weft_program *program = reader->program;
    const json_t *steps, *scratch;
    const char *algorithm;
    int64_t num_channels;
    WEFT_TRY(check_keys(reader, json, reader->name, keys, sizeof keys / sizeof *keys));
    WEFT_TRY(weft_json_string(json, "algorithm", reader->name, &algorithm, reader->error));
    if (strlen(algorithm) >= sizeof program->algorithm)
        return bad(reader, reader->name, "\"algorithm\" is longer than 31 bytes");
    snprintf(program->algorithm, sizeof program->algorithm, "%s", algorithm);
    WEFT_TRY(read_shape(reader, json));
    WEFT_TRY(read_aliasing(reader, json));
    WEFT_TRY(weft_json_integer(json, "num_channels", 1, WEFT_CHANNELS_LIMIT, reader->name,
                               &num_channels, reader->error));
    program->num_channels = (uint32_t)num_channels;
    WEFT_TRY(weft_json_array(json, "scratch", reader->name, &scratch, reader->error));
    WEFT_TRY(weft_json_array(json, "steps", reader->name, &steps, reader->error));
    WEFT_TRY(allocate(reader, steps, scratch));
    WEFT_TRY(read_results(reader, json));
    WEFT_TRY(read_scratch(reader, scratch));
    program->num_steps = (uint32_t)json_array_size(steps);
    for (uint32_t i = 0; i < program->num_steps; i++)
        WEFT_TRY(read_step(reader, json_array_get(steps, i), i));
    if (weft_program_validate(program, reader->error) != WEFT_OK)
        return weft_fail_prefix(reader->error, "%s", reader->name);
    return WEFT_OK;
}

weft_status weft_program_from_json(const json_t *json, const char *name,
                                   struct weft_program **program, struct weft_error *error)
{
    struct weft_error unused;
    struct reader reader = {.program = calloc(1, sizeof(struct weft_program)),
                            .name = name,
                            .error = error ? error : &unused};
    if (!reader.program)
        return no_memory(&reader);
    weft_status status = read_program(&reader, json);
    if (status == WEFT_OK)
        *program = reader.program;
    else
        weft_program_destroy(&reader.program);
    return status;
}

static bool is_equal_ref(const struct weft_program *a, const struct weft_ref *left,
                         const struct weft_program *b, const struct weft_ref *right,
                         uint32_t num_labels)
{
    if (left->space != right->space || left->index != right->index ||
        (left->space == WEFT_LANE && left->stamp != right->stamp))
        return false;
    for (uint32_t c = 0; left->space == WEFT_LANE && c < num_labels; c++)
        if (!weft_label_equal(a->labels[left->label + c], b->labels[right->label + c]))
            return false;
    return true;
}

static bool is_equal_step(const struct weft_program *a, const struct weft_program *b,
                          uint32_t number)
{
    const struct weft_step *left = &a->steps[number], *right = &b->steps[number];
    if (left->num_cells != right->num_cells || left->channel != right->channel ||
        left->num_sources != right->num_sources ||
        left->num_destinations != right->num_destinations ||
        left->num_dependencies != right->num_dependencies)
        return false;
    for (uint32_t d = 0; d < left->num_dependencies; d++)
        if (a->dependencies[left->first_dependency + d] !=
            b->dependencies[right->first_dependency + d])
            return false;
    for (int i = 0; i < left->num_sources + left->num_destinations; i++)
        if (!is_equal_ref(a, weft_step_source(a, left, i), b, weft_step_source(b, right, i),
                          i < left->num_sources ? left->num_cells : 0))
            return false;
    return true;
}

bool weft_program_equal(const struct weft_program *a, const struct weft_program *b)
{
    const struct weft_shape *left = &a->shape, *right = &b->shape;
    if (left->collective != right->collective || left->num_ranks != right->num_ranks ||
        left->rank != right->rank || left->root != right->root || left->pieces != right->pieces ||
        strcmp(a->algorithm, b->algorithm) != 0 || a->aliasing != b->aliasing ||
        a->num_channels != b->num_channels || a->num_steps != b->num_steps ||
        a->num_scratch != b->num_scratch)
        return false;
    if (left->is_canonical != right->is_canonical || left->num_leaves != right->num_leaves)
        return false;
    for (int r = 0; left->num_leaves && r <= left->num_ranks; r++)
        if (left->leaf_bounds[r] != right->leaf_bounds[r])
            return false;
    for (uint32_t i = 0; i < a->num_scratch; i++)
        if (a->scratch[i].space != b->scratch[i].space || a->scratch[i].cell != b->scratch[i].cell)
            return false;
    for (uint32_t i = 0; i < a->num_steps; i++)
        if (!is_equal_step(a, b, i))
            return false;
    return memcmp(a->results, b->results, weft_shape_output(left).cells * sizeof *a->results) == 0;
}
