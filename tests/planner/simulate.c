/*
 * SPDX-License-Identifier: Apache-2.0
 * See simulate.h. Both buffers of a rank are whole logical vectors, of which it owns a window;
 * in place they are one.
 */
#include "tests/planner/simulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t untouched = INT64_C(-0x123456789abc);

struct message {
    uint32_t number; // in its lane
    uint64_t size;
    struct message *next;
    int64_t values[];
};

// What is under way on a lane, in any order: numbers say which send meets which receive.
struct queue {
    struct message *first;
    uint32_t *receivers; // step that receives each message
    uint32_t num_receivers;
};

struct vector {
    int64_t *values;
    uint64_t *ends; // (blocks + 1) element at which each block begins
};

struct runner {
    const struct weft_program *program;
    struct vector input, output;
    int64_t **scratch;
    uint32_t *numbers; // (refs) of lane references: which message of the lane it is
    uint8_t *is_posted, *is_complete;
    uint32_t *missing;                    // (steps) messages that have not come
    uint32_t *next;                       // (steps) of the same channel; num_steps: none
    uint32_t cursor[WEFT_CHANNELS_LIMIT]; // the first that is not posted
    uint32_t *runnable, num_runnable;     // posted, and all messages are there
    uint32_t num_complete;
    enum weft_aliasing aliasing;
};

struct simulation {
    struct runner *ranks;
    struct queue *queues; // (channels, from, to)
    int num_ranks;
    uint32_t num_channels;
    uint64_t count;
    uint64_t random;
    char problem[256];
};

static uint64_t next_random(struct simulation *simulation)
{
    simulation->random ^= simulation->random << 13;
    simulation->random ^= simulation->random >> 7;
    simulation->random ^= simulation->random << 17;
    return simulation->random;
}

// What rank `rank` puts in at element `element` of block `block`.
static int64_t contribution(int rank, uint32_t block, uint64_t element)
{
    return (int64_t)rank * 1000003 + (int64_t)block * 10007 + (int64_t)element * 31 + 1;
}

// Unequal and in part empty where blocks may differ; in place, what one gives another it also gets.
static uint64_t block_size(const struct simulation *simulation, const struct weft_shape *shape,
                           enum weft_space space, uint32_t block)
{
    uint64_t me = (uint64_t)shape->rank, count = simulation->count;
    block %= weft_shape_blocks(shape); // an input of spans has one vector for each part
    if (weft_collective_has_table(shape->collective))
        return count * ((block * 5 + 3) % 4);
    if (shape->collective != WEFT_ALL_TO_ALL_V)
        return count;
    uint64_t from = space == WEFT_OUTPUT ? block : me, to = space == WEFT_OUTPUT ? me : block;
    return count * ((from * to + from + to) % 4);
}

static uint64_t cell_begin(const struct simulation *simulation, const struct runner *runner,
                           enum weft_space space, uint32_t cell)
{
    const struct weft_shape *shape = &runner->program->shape;
    uint32_t block = cell / shape->pieces, piece = cell % shape->pieces;
    const struct vector *vector = space == WEFT_INPUT ? &runner->input : &runner->output;
    return vector->ends[block] +
           block_size(simulation, shape, space, block) * piece / shape->pieces;
}

static uint64_t cell_size(const struct simulation *simulation, const struct runner *runner,
                          enum weft_space space, uint32_t cell)
{
    const struct weft_shape *shape = &runner->program->shape;
    if (space == WEFT_SCRATCH) {
        const struct weft_scratch *like = &runner->program->scratch[cell];
        return cell_size(simulation, runner, like->space, like->cell);
    }
    uint64_t size = block_size(simulation, shape, space, cell / shape->pieces);
    uint32_t piece = cell % shape->pieces;
    return size * (piece + 1) / shape->pieces - size * piece / shape->pieces;
}

static int64_t *cell_values(const struct simulation *simulation, const struct runner *runner,
                            enum weft_space space, uint32_t cell)
{
    if (space == WEFT_SCRATCH)
        return runner->scratch[cell];
    const struct vector *vector = space == WEFT_INPUT ? &runner->input : &runner->output;
    return vector->values + cell_begin(simulation, runner, space, cell);
}

static struct vector make_vector(const struct simulation *simulation,
                                 const struct weft_shape *shape, enum weft_space space)
{
    uint32_t blocks = weft_shape_blocks(shape);
    if (space == WEFT_INPUT)
        blocks *= weft_shape_parts(shape);
    struct vector vector = {.ends = calloc(blocks + 1, sizeof *vector.ends)};
    for (uint32_t b = 0; b < blocks; b++)
        vector.ends[b + 1] = vector.ends[b] + block_size(simulation, shape, space, b);
    vector.values = calloc(vector.ends[blocks] + 1, sizeof *vector.values);
    for (uint64_t i = 0; i < vector.ends[blocks]; i++)
        vector.values[i] = untouched;
    return vector;
}

static bool owns(struct weft_window window, const struct weft_shape *shape, uint32_t block)
{
    return block * shape->pieces >= window.first &&
           block * shape->pieces < window.first + window.cells;
}

// What the input has there: the sum of the leaves of its part.
static int64_t put_in(const struct weft_shape *shape, uint32_t block, uint64_t element)
{
    uint32_t first, count, blocks = weft_shape_blocks(shape);
    int64_t sum = 0;
    weft_shape_part(shape, block / blocks, &first, &count);
    for (uint32_t leaf = first; leaf < first + count; leaf++)
        sum += contribution((int)leaf, block % blocks, element);
    return sum;
}

static uint32_t input_blocks(const struct weft_shape *shape)
{
    return weft_shape_blocks(shape) * weft_shape_parts(shape);
}

static void fill_input(struct runner *runner)
{
    const struct weft_shape *shape = &runner->program->shape;
    for (uint32_t b = 0; b < input_blocks(shape); b++)
        for (uint64_t i = runner->input.ends[b]; i < runner->input.ends[b + 1]; i++)
            if (owns(weft_shape_input(shape), shape, b))
                runner->input.values[i] = put_in(shape, b, i - runner->input.ends[b]);
}

static struct queue *lane(struct simulation *simulation, uint32_t channel, int from, int to)
{
    size_t n = (size_t)simulation->num_ranks;
    return &simulation->queues[(channel * n + (size_t)from) * n + (size_t)to];
}

static void add_receiver(struct simulation *simulation, const struct runner *runner,
                         uint32_t number, const struct weft_ref *ref)
{
    struct queue *queue = lane(simulation, runner->program->steps[number].channel, (int)ref->index,
                               runner->program->shape.rank);
    if ((queue->num_receivers & (queue->num_receivers - 1)) == 0)
        queue->receivers =
            realloc(queue->receivers, (2 * queue->num_receivers + 1) * sizeof *queue->receivers);
    queue->receivers[queue->num_receivers++] = number;
    runner->missing[number]++;
}

// Both ends number the messages of a lane, and channels are strung together.
static void number_messages(struct simulation *simulation, struct runner *runner)
{
    const struct weft_program *program = runner->program;
    size_t n = (size_t)simulation->num_ranks;
    uint32_t *sent = calloc(n * simulation->num_channels, sizeof *sent);
    uint32_t *received = calloc(n * simulation->num_channels, sizeof *received);
    for (uint32_t s = 0; s < program->num_steps; s++) {
        const struct weft_step *step = &program->steps[s];
        for (uint32_t i = 0; i < (uint32_t)step->num_sources + step->num_destinations; i++) {
            const struct weft_ref *ref = &program->refs[step->first_ref + i];
            bool is_source = i < step->num_sources;
            if (ref->space != WEFT_LANE)
                continue;
            runner->numbers[step->first_ref + i] =
                (is_source ? received : sent)[step->channel * n + ref->index]++;
            if (is_source)
                add_receiver(simulation, runner, s, ref);
        }
    }
    for (int c = 0; c < WEFT_CHANNELS_LIMIT; c++)
        runner->cursor[c] = program->num_steps;
    for (uint32_t s = program->num_steps; s-- > 0;) {
        runner->next[s] = runner->cursor[program->steps[s].channel];
        runner->cursor[program->steps[s].channel] = s;
    }
    free(sent);
    free(received);
}

static void start_rank(struct simulation *simulation, struct runner *runner,
                       const struct weft_program *program, enum weft_aliasing aliasing)
{
    const struct weft_shape *shape = &program->shape;
    runner->program = program;
    runner->aliasing = aliasing;
    runner->output = make_vector(simulation, shape, WEFT_OUTPUT);
    runner->input =
        aliasing == WEFT_IN_PLACE ? runner->output : make_vector(simulation, shape, WEFT_INPUT);
    fill_input(runner);
    runner->scratch = calloc(program->num_scratch + 1, sizeof *runner->scratch);
    for (uint32_t c = 0; c < program->num_scratch; c++)
        runner->scratch[c] =
            calloc(cell_size(simulation, runner, WEFT_SCRATCH, c) + 1, sizeof **runner->scratch);
    runner->numbers = calloc(program->num_refs + 1, sizeof *runner->numbers);
    runner->missing = calloc(program->num_steps + 1, sizeof *runner->missing);
    runner->next = calloc(program->num_steps + 1, sizeof *runner->next);
    runner->runnable = calloc(program->num_steps + 1, sizeof *runner->runnable);
    runner->is_posted = calloc(program->num_steps + 1, 1);
    runner->is_complete = calloc(program->num_steps + 1, 1);
    number_messages(simulation, runner);
}

static void stop_rank(struct runner *runner)
{
    if (!runner->program)
        return;
    for (uint32_t c = 0; c < runner->program->num_scratch; c++)
        free(runner->scratch[c]);
    free(runner->scratch);
    free(runner->numbers);
    if (runner->aliasing != WEFT_IN_PLACE) {
        free(runner->input.values);
        free(runner->input.ends);
    }
    free(runner->output.values);
    free(runner->output.ends);
    free(runner->is_posted);
    free(runner->is_complete);
    free(runner->missing);
    free(runner->next);
    free(runner->runnable);
}

// The place in its queue of the message for `ref`; it points to NULL when that is not there yet.
static struct message **find_message(struct simulation *simulation, const struct runner *runner,
                                     const struct weft_step *step, const struct weft_ref *ref)
{
    uint32_t number = runner->numbers[ref - runner->program->refs];
    struct message **place =
        &lane(simulation, step->channel, (int)ref->index, runner->program->shape.rank)->first;
    while (*place && (*place)->number != number)
        place = &(*place)->next;
    return place;
}

static bool is_ready(const struct runner *runner, uint32_t number)
{
    const struct weft_step *step = &runner->program->steps[number];
    for (uint32_t d = 0; d < step->num_dependencies; d++)
        if (!runner->is_complete[runner->program->dependencies[step->first_dependency + d]])
            return false;
    return true;
}

static void post_steps(struct runner *runner)
{
    for (uint32_t c = 0; c < runner->program->num_channels; c++) {
        uint32_t *next = &runner->cursor[c];
        for (; *next < runner->program->num_steps && is_ready(runner, *next);
             *next = runner->next[*next]) {
            runner->is_posted[*next] = 1;
            if (runner->missing[*next] == 0)
                runner->runnable[runner->num_runnable++] = *next;
        }
    }
}

static uint64_t step_size(const struct simulation *simulation, const struct runner *runner,
                          const struct weft_step *step)
{
    const struct weft_ref *ref = &runner->program->refs[step->first_ref];
    while (ref->space == WEFT_LANE)
        ref++;
    uint64_t size = 0;
    for (uint32_t c = 0; c < step->num_cells; c++)
        size += cell_size(simulation, runner, ref->space, ref->index + c);
    return size;
}

// Cells of a reference that follow one another need not lie one after another (scratch).
static void read_source(struct simulation *simulation, const struct runner *runner,
                        const struct weft_step *step, const struct weft_ref *ref, bool is_first,
                        int64_t *sum, uint64_t size)
{
    if (ref->space == WEFT_LANE) {
        struct message **place = find_message(simulation, runner, step, ref);
        struct message *message = *place;
        *place = message->next;
        if (message->size != size)
            snprintf(simulation->problem, sizeof simulation->problem,
                     "rank %d gets %llu elements from %u, expects %llu",
                     runner->program->shape.rank, (unsigned long long)message->size, ref->index,
                     (unsigned long long)size);
        for (uint64_t i = 0; i < size && i < message->size; i++)
            sum[i] = (is_first ? 0 : sum[i]) + message->values[i];
        free(message);
        return;
    }
    for (uint32_t c = 0; c < step->num_cells; c++) {
        const int64_t *values = cell_values(simulation, runner, ref->space, ref->index + c);
        uint64_t part = cell_size(simulation, runner, ref->space, ref->index + c);
        for (uint64_t i = 0; i < part; i++)
            sum[i] = (is_first ? 0 : sum[i]) + values[i];
        sum += part;
    }
}

// Nobody may expect it: it is left over in the end.
static void arrive(struct simulation *simulation, const struct queue *queue, uint32_t number,
                   int rank)
{
    struct runner *runner = &simulation->ranks[rank];
    if (number >= queue->num_receivers)
        return;
    uint32_t step = queue->receivers[number];
    if (--runner->missing[step] == 0 && runner->is_posted[step])
        runner->runnable[runner->num_runnable++] = step;
}

static void write_destination(struct simulation *simulation, const struct runner *runner,
                              const struct weft_step *step, const struct weft_ref *ref,
                              const int64_t *sum, uint64_t size)
{
    if (ref->space == WEFT_LANE) {
        struct queue *queue =
            lane(simulation, step->channel, runner->program->shape.rank, (int)ref->index);
        struct message *message = malloc(sizeof *message + size * sizeof *sum);
        message->size = size;
        message->number = runner->numbers[ref - runner->program->refs];
        message->next = queue->first;
        queue->first = message;
        memcpy(message->values, sum, size * sizeof *sum);
        arrive(simulation, queue, message->number, (int)ref->index);
        return;
    }
    for (uint32_t c = 0; c < step->num_cells; c++) {
        uint64_t part = cell_size(simulation, runner, ref->space, ref->index + c);
        memcpy(cell_values(simulation, runner, ref->space, ref->index + c), sum,
               part * sizeof *sum);
        sum += part;
    }
}

static void run_step(struct simulation *simulation, struct runner *runner, uint32_t number)
{
    const struct weft_program *program = runner->program;
    const struct weft_step *step = &program->steps[number];
    uint64_t size = step_size(simulation, runner, step);
    int64_t *sum = calloc(size + 1, sizeof *sum);
    for (int i = 0; i < step->num_sources; i++)
        read_source(simulation, runner, step, weft_step_source(program, step, i), i == 0, sum,
                    size);
    for (int i = 0; i < step->num_destinations; i++)
        write_destination(simulation, runner, step, weft_step_destination(program, step, i), sum,
                          size);
    free(sum);
    runner->is_complete[number] = 1;
    runner->num_complete++;
}

// One random step of a random rank; false if that rank can do nothing.
static bool run_something(struct simulation *simulation, struct runner *runner)
{
    if (!runner->program)
        return false;
    post_steps(runner);
    if (runner->num_runnable == 0)
        return false;
    uint32_t *chosen = &runner->runnable[next_random(simulation) % runner->num_runnable];
    uint32_t number = *chosen;
    *chosen = runner->runnable[--runner->num_runnable];
    run_step(simulation, runner, number);
    return true;
}

static void run_all(struct simulation *simulation)
{
    bool is_moving = true;
    while (is_moving) {
        int start = (int)(next_random(simulation) % (uint64_t)simulation->num_ranks);
        is_moving = false;
        for (int i = 0; i < simulation->num_ranks && !is_moving; i++)
            is_moving =
                run_something(simulation, &simulation->ranks[(start + i) % simulation->num_ranks]);
    }
    for (int r = 0; r < simulation->num_ranks && !simulation->problem[0]; r++)
        if (simulation->ranks[r].program &&
            simulation->ranks[r].num_complete < simulation->ranks[r].program->num_steps)
            snprintf(simulation->problem, sizeof simulation->problem, "deadlock at rank %d", r);
}

// The definition of the collectives, once more and independent of weft_shape_goal.
static int64_t expected(const struct weft_shape *shape, uint32_t block, uint64_t element)
{
    int64_t sum = 0;
    switch (shape->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_REDUCE:
    case WEFT_BARRIER:
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
        for (uint32_t leaf = 0; leaf < weft_shape_leaves(shape); leaf++)
            sum += contribution((int)leaf, block, element);
        return sum;
    case WEFT_BROADCAST:
    case WEFT_RECV:
        return contribution(shape->root, 0, element);
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
    case WEFT_GATHER:
    case WEFT_GATHER_V:
        return contribution((int)block, block, element);
    case WEFT_SCATTER:
    case WEFT_SCATTER_V:
        return contribution(shape->root, block, element);
    case WEFT_ALL_TO_ALL:
    case WEFT_ALL_TO_ALL_V:
        return contribution((int)block, (uint32_t)shape->rank, element);
    case WEFT_SEND:
        break;
    }
    return untouched;
}

static void compare_rank(struct simulation *simulation, const struct runner *runner)
{
    const struct weft_shape *shape = &runner->program->shape;
    for (uint32_t b = 0; b < weft_shape_blocks(shape); b++)
        for (uint64_t i = runner->output.ends[b]; i < runner->output.ends[b + 1]; i++) {
            bool is_output = owns(weft_shape_output(shape), shape, b);
            if (!is_output && runner->aliasing == WEFT_IN_PLACE)
                continue;
            int64_t wanted = is_output ? expected(shape, b, i - runner->output.ends[b]) : untouched;
            if (runner->output.values[i] != wanted)
                snprintf(simulation->problem, sizeof simulation->problem,
                         "rank %d block %u element %llu is %lld, not %lld", shape->rank, b,
                         (unsigned long long)(i - runner->output.ends[b]),
                         (long long)runner->output.values[i], (long long)wanted);
        }
    for (uint32_t b = 0; runner->aliasing != WEFT_IN_PLACE && b < input_blocks(shape); b++)
        for (uint64_t i = runner->input.ends[b]; i < runner->input.ends[b + 1]; i++)
            if (owns(weft_shape_input(shape), shape, b) &&
                runner->input.values[i] != put_in(shape, b, i - runner->input.ends[b]))
                snprintf(simulation->problem, sizeof simulation->problem,
                         "rank %d wrote into its input", shape->rank);
}

const char *simulate(struct weft_program *const *programs, const enum weft_aliasing *aliasing,
                     int num_ranks, uint64_t count, uint64_t seed)
{
    static char problem[256];
    struct simulation simulation = {
        .num_ranks = num_ranks, .num_channels = 1, .count = count, .random = seed | 1};
    for (int r = 0; r < num_ranks; r++)
        if (programs[r] && programs[r]->num_channels > simulation.num_channels)
            simulation.num_channels = programs[r]->num_channels;
    size_t num_queues = (size_t)simulation.num_channels * (size_t)num_ranks * (size_t)num_ranks;
    simulation.ranks = calloc((size_t)num_ranks, sizeof *simulation.ranks);
    simulation.queues = calloc(num_queues, sizeof *simulation.queues);
    for (int r = 0; r < num_ranks; r++)
        if (programs[r])
            start_rank(&simulation, &simulation.ranks[r], programs[r], aliasing[r]);
    run_all(&simulation);
    for (int r = 0; r < num_ranks && !simulation.problem[0]; r++)
        if (programs[r])
            compare_rank(&simulation, &simulation.ranks[r]);
    for (size_t q = 0; q < num_queues; q++) {
        free(simulation.queues[q].receivers);
        while (simulation.queues[q].first) {
            struct message *message = simulation.queues[q].first;
            simulation.queues[q].first = message->next;
            free(message);
            if (!simulation.problem[0])
                snprintf(simulation.problem, sizeof simulation.problem, "a message is left over");
        }
    }
    for (int r = 0; r < num_ranks; r++)
        stop_rank(&simulation.ranks[r]);
    free(simulation.ranks);
    free(simulation.queues);
    memcpy(problem, simulation.problem, sizeof problem);
    return problem[0] ? problem : NULL;
}
