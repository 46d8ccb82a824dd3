/*
 * SPDX-License-Identifier: Apache-2.0
 * See emit.h.
 */
#include "collectives/planner/emit.h"

#include <stdlib.h>

#include "collectives/program/leaves.h"

weft_status weft_emit_begin(const struct weft_key *key, int rank, uint32_t pieces,
                            const char *algorithm, unsigned aliasing, struct weft_builder **builder,
                            struct weft_error *error)
{
    struct weft_shape shape = {.collective = key->collective,
                               .num_ranks = key->num_ranks,
                               .rank = rank,
                               .root = key->root,
                               .pieces = pieces};
    if (key->order == WEFT_ORDER_REPRODUCIBLE && weft_collective_reduces(key->collective))
        weft_shape_set_leaves(&shape, key->num_leaves, key->leaf_bounds);
    return weft_builder_create(&shape, algorithm, aliasing, builder, error);
}

int64_t weft_emit_count_parts(const struct weft_key *key)
{
    int64_t count = 0;
    if (!key->num_leaves)
        return key->num_ranks;
    for (int r = 0; r < key->num_ranks; r++)
        count += (int64_t)weft_leaf_parts(key->leaf_bounds[r], key->leaf_bounds[r + 1],
                                          key->num_leaves, NULL);
    return count;
}

weft_status weft_emit_parts_make(const struct weft_key *key, struct weft_emit_parts *parts,
                                 struct weft_error *error)
{
    *parts = (struct weft_emit_parts){.num_leaves = key->num_leaves,
                                      .num_parts = (int)weft_emit_count_parts(key),
                                      .are_spans = key->num_leaves != 0};
    parts->parts = calloc((size_t)parts->num_parts, sizeof *parts->parts);
    if (!parts->parts)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    struct weft_emit_part *next = parts->parts;
    if (!parts->are_spans)
        parts->num_leaves = (uint32_t)key->num_ranks;
    for (int r = 0; r < key->num_ranks; r++) {
        weft_leaf_part own[WEFT_LEAF_PARTS_LIMIT] = {{(size_t)r, (size_t)r + 1}};
        size_t count = 1;
        if (parts->are_spans)
            count =
                weft_leaf_parts(key->leaf_bounds[r], key->leaf_bounds[r + 1], key->num_leaves, own);
        for (size_t i = 0; i < count; i++)
            *next++ = (struct weft_emit_part){r, (uint32_t)i, (uint32_t)own[i].begin,
                                              (uint32_t)(own[i].end - own[i].begin)};
    }
    return WEFT_OK;
}

int weft_emit_first_part(const struct weft_emit_parts *parts, int rank)
{
    int low = 0, high = parts->num_parts;
    while (low < high) {
        int middle = (low + high) / 2;
        if (parts->parts[middle].rank < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void weft_emit_parts_free(struct weft_emit_parts *parts)
{
    free(parts->parts);
    parts->parts = NULL;
}

weft_status weft_emit_check_aliasing(const struct weft_key *key, unsigned aliasing,
                                     struct weft_error *error)
{
    bool is_exchange = key->collective == WEFT_ALL_TO_ALL || key->collective == WEFT_ALL_TO_ALL_V;
    if (is_exchange && aliasing == (WEFT_OUT_OF_PLACE | WEFT_IN_PLACE))
        return weft_fail(error, WEFT_UNSUPPORTED,
                         "all-to-all in place and out of place are two programs");
    return WEFT_OK;
}

void weft_emit_copy(struct weft_builder *builder, uint32_t first, uint32_t num_cells)
{
    weft_builder_move(builder, 0, num_cells, weft_cells(WEFT_INPUT, first),
                      weft_cells(WEFT_OUTPUT, first));
}

void weft_emit_alone(struct weft_builder *builder, const struct weft_key *key, uint32_t pieces)
{
    if (key->collective != WEFT_SEND && key->collective != WEFT_RECV)
        weft_emit_copy(builder, 0, pieces);
}

int weft_emit_fold_width(const struct weft_key *key, int64_t bytes)
{
    enum { together_bytes = 8192, together_values = 8 }; // so many messages are cheap to hold
    if (key->order == WEFT_ORDER_REPRODUCIBLE)
        return 0;
    return bytes <= together_bytes ? together_values : 2;
}

void weft_emit_fold_begin(struct weft_emit_fold *fold, struct weft_builder *builder,
                          struct weft_operand into, int num_values, int width, uint32_t like)
{
    *fold = (struct weft_emit_fold){.builder = builder,
                                    .into = into,
                                    .num_values = num_values,
                                    .width = width,
                                    .like = like,
                                    .num_leaves = (uint32_t)num_values,
                                    .count = 1};
}

void weft_emit_fold_leaves(struct weft_emit_fold *fold, uint32_t num_leaves, uint32_t first,
                           uint32_t count)
{
    fold->num_leaves = num_leaves;
    fold->next = first;
    fold->count = count;
}

static void flush_chain(struct weft_emit_fold *fold)
{
    weft_builder_step(fold->builder, 0, 1, fold->pending, fold->num_pending, &fold->into, 1);
    fold->pending[0] = fold->into;
    fold->num_pending = 1;
}

// A scratch cell for the value at the top of the stack.
static struct weft_operand room_at_top(struct weft_emit_fold *fold)
{
    uint32_t *cell = &fold->scratch[fold->depth - 1];
    if (!*cell)
        *cell = 1 + weft_builder_scratch(fold->builder, WEFT_OUTPUT, fold->like, 1);
    return weft_cells(WEFT_SCRATCH, *cell - 1);
}

// The two values at the top into one. The last combination of all goes where the result belongs.
static void combine_top(struct weft_emit_fold *fold)
{
    struct weft_operand b = fold->stack[--fold->depth];
    struct weft_operand *a = &fold->stack[fold->depth - 1];
    bool is_last = ++fold->num_combined == fold->num_values - 1;
    struct weft_operand into = is_last ? fold->into : room_at_top(fold);
    weft_builder_combine(fold->builder, 0, 1, *a, b, into);
    *a = into;
    fold->begins[fold->depth] = fold->begins[fold->depth + 1];
    fold->is_message = false;
}

// A message stays one until it is combined, or the next value comes.
static void push(struct weft_emit_fold *fold, struct weft_operand value)
{
    const uint32_t *begins = fold->begins;
    uint32_t first = fold->next, end = first + fold->count;
    bool is_met = fold->depth &&
                  weft_leaves_are_siblings(fold->num_leaves, begins[fold->depth - 1], first, end);
    if (fold->is_message && !is_met) {
        struct weft_operand room = room_at_top(fold);
        weft_builder_move(fold->builder, 0, 1, fold->stack[fold->depth - 1], room);
        fold->stack[fold->depth - 1] = room;
    }
    fold->is_message = value.space == WEFT_LANE;
    fold->begins[fold->depth] = first;
    fold->stack[fold->depth++] = value;
    fold->begins[fold->depth] = fold->next = end;
    while (fold->depth > 1 &&
           weft_leaves_are_siblings(fold->num_leaves, begins[fold->depth - 2],
                                    begins[fold->depth - 1], begins[fold->depth]))
        combine_top(fold);
}

void weft_emit_fold_cell(struct weft_emit_fold *fold, enum weft_space space, uint32_t cell)
{
    fold->num_added++;
    if (fold->width == 0) {
        push(fold, weft_cells(space, cell));
        return;
    }
    if (fold->num_pending == fold->width)
        flush_chain(fold);
    fold->pending[fold->num_pending++] = weft_cells(space, cell);
}

void weft_emit_fold_message(struct weft_emit_fold *fold, int peer, uint32_t stamp,
                            struct weft_label label)
{
    // Of a tree at most two messages are pending at a time: they take turns.
    int place = fold->width ? fold->num_pending : fold->num_added % 2;
    if (fold->width && fold->num_pending == fold->width) {
        flush_chain(fold);
        place = fold->num_pending;
    }
    fold->num_added++;
    fold->labels[place] = label;
    struct weft_operand value = weft_from(peer, stamp, &fold->labels[place]);
    if (fold->width == 0)
        push(fold, value);
    else
        fold->pending[fold->num_pending++] = value;
}

void weft_emit_fold_end(struct weft_emit_fold *fold)
{
    if (fold->width)
        flush_chain(fold);
    else if (fold->num_values == 1)
        weft_builder_move(fold->builder, 0, 1, fold->stack[0], fold->into);
}

struct weft_label weft_emit_tree_label(int first, int count, uint32_t cell)
{
    return weft_leaves_label((uint32_t)first, (uint32_t)count, cell);
}
