/*
 * SPDX-License-Identifier: Apache-2.0
 * The flat path as a program: flat_walk.h with actions that record. What the program calls messages
 * is the slots, written once and read by others; the stamp of a message is the level of its slot.
 */
#include "collectives/executor/flat_walk.h"
#include "collectives/program/builder.h"

struct recorder {
    struct weft_builder *builder;
    const struct weft_shape *shape;
    const struct weft_flat_form *form;
    const struct weft_flat_stage *stage;
    uint32_t first[WEFT_FLAT_RANKS_LIMIT]; // scratch cell of the block read from each other rank
    uint32_t own;                          // scratch copy of the whole input: the own slot
    uint32_t shown;                        // scratch cell: the own slot of a higher level
    uint32_t made;                         // scratch cell: the own slot of the next level
    uint32_t like;                         // an output cell
    struct weft_operand values[WEFT_FLAT_STACK];
};

/* ---- what slots hold ---- */

static struct weft_label slot_label(const struct weft_flat_form *form, enum weft_flat_level level,
                                    int rank, int from);

struct labeller {
    const struct weft_flat_form *form;
    const struct weft_flat_stage *stage;
    struct weft_label value;
    struct weft_label values[WEFT_FLAT_STACK];
};

static struct weft_label label_of(const struct labeller *labeller, int peer, int from)
{
    return slot_label(labeller->form, labeller->stage->level, peer, from);
}

static void label_copy(void *argument, int peer, int from, int to)
{
    struct labeller *labeller = argument;
    (void)to;
    labeller->value = label_of(labeller, peer, from);
}

static void label_begin(void *argument, int a, int b, int from, int to)
{
    struct labeller *labeller = argument;
    (void)to;
    labeller->value = weft_label_combine(label_of(labeller, a, from), label_of(labeller, b, from));
}

static void label_combine(void *argument, int peer, int from, int to)
{
    struct labeller *labeller = argument;
    (void)to;
    labeller->value = weft_label_combine(labeller->value, label_of(labeller, peer, from));
}

static void label_push(void *argument, int depth, int peer, int from)
{
    struct labeller *labeller = argument;
    labeller->values[depth] = label_of(labeller, peer, from);
}

static void label_merge(void *argument, int depth)
{
    struct labeller *labeller = argument;
    labeller->values[depth - 1] =
        weft_label_combine(labeller->values[depth - 1], labeller->values[depth]);
}

static void label_take(void *argument, int to)
{
    struct labeller *labeller = argument;
    (void)to;
    labeller->value = labeller->values[0];
}

// Found by doing what the rank does that shows it.
static struct weft_label slot_label(const struct weft_flat_form *form, enum weft_flat_level level,
                                    int rank, int from)
{
    static const struct weft_flat_actions labels = {label_copy, label_begin, label_combine,
                                                    label_push, label_merge, label_take};
    if (level == WEFT_FLAT_CONTRIBUTIONS)
        return weft_label_leaf(rank, (uint32_t)from);
    struct weft_flat_form theirs = *form;
    struct weft_flat_stage stage;
    struct labeller labeller = {&theirs, &stage, .value = {.is_defined = 0}};
    theirs.rank = rank;
    for (int number = 0; weft_flat_stage_find(&theirs, number, &stage); number++)
        if (stage.level + 1 == level)
            weft_flat_gather(&theirs, &stage, &labels, &labeller);
    return labeller.value;
}

/* ---- what the rank makes of them ---- */

static struct weft_operand slot_operand(struct recorder *recorder, int peer, int from)
{
    if (peer != recorder->shape->rank)
        return weft_cells(WEFT_SCRATCH, recorder->first[peer]);
    if (recorder->stage->level != WEFT_FLAT_CONTRIBUTIONS)
        return weft_cells(WEFT_SCRATCH, recorder->shown);
    return weft_cells(WEFT_SCRATCH,
                      recorder->own + (uint32_t)from - weft_shape_input(recorder->shape).first);
}

// The own contribution is read where it is, as long as nothing but its own place was written.
static struct weft_operand value_operand(struct recorder *recorder, int peer, int from)
{
    if (peer == recorder->shape->rank && recorder->stage->level == WEFT_FLAT_CONTRIBUTIONS)
        return weft_cells(WEFT_INPUT, (uint32_t)from);
    return slot_operand(recorder, peer, from);
}

static struct weft_operand output_operand(struct recorder *recorder, int to)
{
    return recorder->stage->is_last ? weft_cells(WEFT_OUTPUT, (uint32_t)to)
                                    : weft_cells(WEFT_SCRATCH, recorder->made);
}

static void record_copy(void *argument, int peer, int from, int to)
{
    struct recorder *recorder = argument;
    weft_builder_move(recorder->builder, 0, 1, value_operand(recorder, peer, from),
                      output_operand(recorder, to));
}

static void record_begin(void *argument, int a, int b, int from, int to)
{
    struct recorder *recorder = argument;
    weft_builder_combine(recorder->builder, 0, 1, value_operand(recorder, a, from),
                         value_operand(recorder, b, from), output_operand(recorder, to));
}

static void record_combine(void *argument, int peer, int from, int to)
{
    struct recorder *recorder = argument;
    struct weft_operand output = output_operand(recorder, to);
    weft_builder_combine(recorder->builder, 0, 1, output, slot_operand(recorder, peer, from),
                         output);
}

static void record_push(void *argument, int depth, int peer, int from)
{
    struct recorder *recorder = argument;
    recorder->values[depth] = value_operand(recorder, peer, from);
}

static void record_merge(void *argument, int depth)
{
    struct recorder *recorder = argument;
    struct weft_operand into = weft_cells(
        WEFT_SCRATCH, weft_builder_scratch(recorder->builder, WEFT_OUTPUT, recorder->like, 1));
    weft_builder_combine(recorder->builder, 0, 1, recorder->values[depth - 1],
                         recorder->values[depth], into);
    recorder->values[depth - 1] = into;
}

static void record_take(void *argument, int to)
{
    struct recorder *recorder = argument;
    weft_builder_move(recorder->builder, 0, 1, recorder->values[0], output_operand(recorder, to));
}

/* ---- reads of others' slots ---- */

static void record_receive(void *argument, int peer, int from, int to)
{
    struct recorder *recorder = argument;
    (void)to;
    if (peer == recorder->shape->rank)
        return;
    enum weft_flat_level level = recorder->stage->level;
    struct weft_label label = slot_label(recorder->form, level, peer, from);
    uint32_t extent =
        recorder->shape->collective == WEFT_ALL_TO_ALL ? (uint32_t)peer : (uint32_t)from;
    recorder->first[peer] = weft_builder_scratch(recorder->builder, WEFT_OUTPUT, extent, 1);
    weft_builder_move(recorder->builder, 0, 1, weft_from(peer, (uint32_t)level, &label),
                      weft_cells(WEFT_SCRATCH, recorder->first[peer]));
}

static void receive_begin(void *argument, int a, int b, int from, int to)
{
    record_receive(argument, a, from, to);
    record_receive(argument, b, from, to);
}

static void receive_push(void *argument, int depth, int peer, int from)
{
    (void)depth;
    record_receive(argument, peer, from, 0);
}

static void no_merge(void *argument, int depth)
{
    (void)argument;
    (void)depth;
}

static void no_take(void *argument, int to)
{
    (void)argument;
    (void)to;
}

/* ---- others' reads of the own slot, found by asking for their reads of it ---- */

struct reads_of_me {
    const struct recorder *recorder;
    enum weft_flat_level level;
    int reader;
};

static void record_send(void *argument, int peer, int from, int to)
{
    struct reads_of_me *reads = argument;
    const struct recorder *recorder = reads->recorder;
    int me = recorder->shape->rank;
    (void)to;
    if (peer != me || reads->reader == me)
        return;
    struct weft_operand slot = reads->level == WEFT_FLAT_CONTRIBUTIONS
                                   ? weft_cells(WEFT_INPUT, (uint32_t)from)
                                   : weft_cells(WEFT_SCRATCH, recorder->shown);
    weft_builder_move(recorder->builder, 0, 1, slot,
                      weft_to(reads->reader, (uint32_t)reads->level));
}

static void send_begin(void *argument, int a, int b, int from, int to)
{
    record_send(argument, a, from, to);
    record_send(argument, b, from, to);
}

static void send_push(void *argument, int depth, int peer, int from)
{
    (void)depth;
    record_send(argument, peer, from, 0);
}

static void send_level(const struct recorder *recorder, enum weft_flat_level level)
{
    static const struct weft_flat_actions sends = {record_send, send_begin, record_send,
                                                   send_push,   no_merge,   no_take};
    struct weft_flat_form theirs = *recorder->form;
    struct weft_flat_stage stage;
    for (theirs.rank = 0; theirs.rank < theirs.num_ranks; theirs.rank++)
        for (int number = 0; weft_flat_stage_find(&theirs, number, &stage); number++) {
            struct reads_of_me reads = {recorder, level, theirs.rank};
            if (stage.level == level)
                weft_flat_gather(&theirs, &stage, &sends, &reads);
        }
}

static void record_stage(struct recorder *recorder, const struct weft_flat_stage *stage)
{
    static const struct weft_flat_actions receives = {record_receive, receive_begin, record_receive,
                                                      receive_push,   no_merge,      no_take};
    static const struct weft_flat_actions moves = {record_copy, record_begin, record_combine,
                                                   record_push, record_merge, record_take};
    recorder->stage = stage;
    weft_flat_gather(recorder->form, stage, &receives, recorder);
    // The own slot: read where the output may have been written already.
    if (stage->level == WEFT_FLAT_CONTRIBUTIONS) {
        struct weft_window input = weft_shape_input(recorder->shape);
        recorder->own =
            weft_builder_scratch(recorder->builder, WEFT_INPUT, input.first, input.cells);
        weft_builder_move(recorder->builder, 0, input.cells, weft_cells(WEFT_INPUT, input.first),
                          weft_cells(WEFT_SCRATCH, recorder->own));
    }
    if (!stage->is_last)
        recorder->made = weft_builder_scratch(recorder->builder, WEFT_OUTPUT, recorder->like, 1);
    weft_flat_gather(recorder->form, stage, &moves, recorder);
    recorder->shown = recorder->made;
}

weft_status weft_flat_trace(const struct weft_shape *shape, int group,
                            struct weft_program **program, struct weft_error *error)
{
    const struct weft_flat_form form = weft_flat_form_make(
        shape->collective, shape->root, shape->rank, shape->num_ranks, group, shape->is_canonical);
    struct recorder recorder = {
        .shape = shape, .form = &form, .like = weft_shape_output(shape).first};
    if (shape->num_ranks > WEFT_FLAT_RANKS_LIMIT || shape->num_leaves || shape->pieces != 1 ||
        group < 1 || !weft_flat_supports(shape->collective, shape->num_ranks, 0, 0))
        return weft_fail(error, WEFT_UNSUPPORTED, "the flat path does not do this");
    WEFT_TRY(weft_builder_create(shape, "flat", WEFT_OUT_OF_PLACE | WEFT_IN_PLACE,
                                 &recorder.builder, error));
    // In the order of levels: what others read at one, then what is made of one for the next.
    for (int level = WEFT_FLAT_CONTRIBUTIONS; level <= WEFT_FLAT_RESULTS; level++) {
        struct weft_flat_stage stage;
        send_level(&recorder, (enum weft_flat_level)level);
        for (int number = 0; weft_flat_stage_find(&form, number, &stage); number++)
            if ((int)stage.level == level)
                record_stage(&recorder, &stage);
    }
    return weft_builder_finish(&recorder.builder, program, error);
}
