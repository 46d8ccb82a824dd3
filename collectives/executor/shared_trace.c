/*
 * SPDX-License-Identifier: Apache-2.0
 * An exchange through shared memory, written down as a program. What the program calls messages is
 * memory that others read: what is shown at stamp 0, and slices of sums at stamp 1.
 */
#include "collectives/executor/shared_walk.h"
#include "collectives/program/builder.h"

enum { SHOWN, COMBINED };

struct recorder {
    struct weft_builder *builder;
    const struct weft_shape *shape;
    bool is_mapped;
};

static bool reads(const struct weft_shape *shape, int reader, int block)
{
    bool is_for_all = shape->collective == WEFT_ALL_GATHER || shape->collective == WEFT_BROADCAST;
    if (shape->collective == WEFT_GATHER)
        return reader == shape->root;
    return reader != shape->rank && (is_for_all || reader == block);
}

// Through a stage, what is shown is a copy.
static void record_show(void *argument, int block)
{
    struct recorder *recorder = argument;
    const struct weft_shape *shape = recorder->shape;
    struct weft_operand shown = weft_cells(WEFT_INPUT, (uint32_t)block);
    if (!recorder->is_mapped) {
        struct weft_operand input = shown;
        shown = weft_cells(WEFT_SCRATCH,
                           weft_builder_scratch(recorder->builder, WEFT_INPUT, input.index, 1));
        weft_builder_move(recorder->builder, 0, 1, input, shown);
    }
    for (int reader = 0; reader < shape->num_ranks; reader++)
        if (reads(shape, reader, block))
            weft_builder_move(recorder->builder, 0, 1, shown, weft_to(reader, SHOWN));
}

/* ---- sums ---- */

// A value and what it is made of.
struct value {
    struct weft_operand place;
    struct weft_label label;
};

// The own contribution lies in the input; others' are received.
static struct value contribution(struct recorder *recorder, int rank, uint32_t cell, bool receives)
{
    struct value value = {weft_cells(WEFT_INPUT, cell), weft_label_leaf(rank, cell)};
    if (rank == recorder->shape->rank || !receives)
        return value;
    value.place =
        weft_cells(WEFT_SCRATCH, weft_builder_scratch(recorder->builder, WEFT_INPUT, cell, 1));
    weft_builder_move(recorder->builder, 0, 1, weft_from(rank, SHOWN, &value.label), value.place);
    return value;
}

// As weft_fold does it; without `combines` only the label is found.
static struct value combine(struct recorder *recorder, struct value a, struct value b,
                            bool combines)
{
    struct value sum = {a.place, weft_label_combine(a.label, b.label)};
    if (!combines)
        return sum;
    sum.place = weft_cells(WEFT_SCRATCH,
                           weft_builder_scratch(recorder->builder, WEFT_INPUT, a.label.cell, 1));
    weft_builder_combine(recorder->builder, 0, 1, a.place, b.place, sum.place);
    return sum;
}

// In rank order, or in the canonical tree. All contributions are there before any is combined.
static struct value fold(struct recorder *recorder, uint32_t cell, bool is_done_here)
{
    struct value values[WEFT_FLAT_RANKS_LIMIT], stack[WEFT_FLAT_RANKS_LIMIT];
    int depth = 0, n = recorder->shape->num_ranks;
    bool is_tree = recorder->shape->is_canonical;
    for (int rank = 0; rank < n; rank++)
        values[rank] = contribution(recorder, rank, cell, is_done_here);
    for (int rank = 0; rank < n; rank++) {
        bool is_last = rank == n - 1;
        stack[depth++] = values[rank];
        for (int twos = rank + 1; depth > 1 && (!is_tree || twos % 2 == 0 || is_last); twos /= 2) {
            depth--;
            stack[depth - 1] = combine(recorder, stack[depth - 1], stack[depth], is_done_here);
        }
    }
    return stack[0];
}

static void record_fold(void *argument)
{
    struct recorder *recorder = argument;
    const struct weft_shape *shape = recorder->shape;
    int me = shape->rank;
    struct value sum = fold(recorder, (uint32_t)me, true);
    if (shape->collective != WEFT_REDUCE || shape->root == me)
        weft_builder_move(recorder->builder, 0, 1, sum.place,
                          weft_cells(WEFT_OUTPUT, (uint32_t)me));
    for (int reader = 0; weft_shared_is_sliced(shape->collective) && reader < shape->num_ranks;
         reader++)
        if (reader != me && (shape->collective == WEFT_ALL_REDUCE || reader == shape->root))
            weft_builder_move(recorder->builder, 0, 1, sum.place, weft_to(reader, COMBINED));
}

static void record_fetch(void *argument, int peer)
{
    struct recorder *recorder = argument;
    struct value sum = fold(recorder, (uint32_t)peer, false);
    weft_builder_move(recorder->builder, 0, 1, weft_from(peer, COMBINED, &sum.label),
                      weft_cells(WEFT_OUTPUT, (uint32_t)peer));
}

/* ---- copies ---- */

// The own block goes on a channel of its own: in place it is a copy onto itself, which waits for
// nobody, but the program cannot know that.
static void record_copy(void *argument, int peer, int from, int to)
{
    struct recorder *recorder = argument;
    struct weft_label label = weft_label_leaf(peer, (uint32_t)from);
    struct weft_operand into = weft_cells(WEFT_OUTPUT, (uint32_t)to);
    if (peer == recorder->shape->rank)
        weft_builder_move(recorder->builder, 1, 1, weft_cells(WEFT_INPUT, (uint32_t)from), into);
    else
        weft_builder_move(recorder->builder, 0, 1, weft_from(peer, SHOWN, &label), into);
}

weft_status weft_shared_trace(const struct weft_shape *shape, bool is_mapped,
                              struct weft_program **program, struct weft_error *error)
{
    static const struct weft_shared_actions actions = {record_show, record_fold, record_copy,
                                                       record_fetch};
    struct recorder recorder = {.shape = shape, .is_mapped = is_mapped};
    const struct weft_shared_form form = {shape->collective, shape->root, shape->rank,
                                          shape->num_ranks};
    uint32_t pieces = weft_shared_is_sliced(shape->collective) ? (uint32_t)shape->num_ranks : 1;
    unsigned aliasing = WEFT_OUT_OF_PLACE;
    if (!is_mapped || shape->collective != WEFT_ALL_TO_ALL)
        aliasing |= WEFT_IN_PLACE;
    if (shape->num_ranks < 2 || shape->num_ranks > WEFT_FLAT_RANKS_LIMIT || shape->num_leaves ||
        shape->pieces != pieces || !weft_shared_supports(shape->collective))
        return weft_fail(error, WEFT_UNSUPPORTED, "shared memory does not do this");
    WEFT_TRY(weft_builder_create(shape, "direct", aliasing, &recorder.builder, error));
    weft_shared_show(&form, &actions, &recorder);
    weft_shared_combine(&form, &actions, &recorder);
    weft_shared_collect(&form, &actions, &recorder);
    return weft_builder_finish(&recorder.builder, program, error);
}
