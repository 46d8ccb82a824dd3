/*
 * SPDX-License-Identifier: Apache-2.0
 * See emit.h.
 */
#include "collectives/planner/emit.h"

weft_status weft_emit_begin(const struct weft_key *key, int rank, uint32_t pieces,
                            const char *algorithm, unsigned aliasing, struct weft_builder **builder,
                            struct weft_error *error)
{
    const struct weft_shape shape = {key->collective, key->num_ranks, rank, key->root, pieces};
    return weft_builder_create(&shape, algorithm, aliasing, builder, error);
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
    enum { together_bytes = 8192 }; // up to here several messages are cheap to hold
    if (key->order == WEFT_ORDER_REPRODUCIBLE)
        return 0;
    return bytes <= together_bytes ? WEFT_REFS_LIMIT : 2;
}

void weft_emit_fold_begin(struct weft_emit_fold *fold, struct weft_builder *builder,
                          struct weft_operand into, int num_values, int width, uint32_t like)
{
    *fold = (struct weft_emit_fold){
        .builder = builder, .into = into, .num_values = num_values, .width = width};
    if (width != 0 || num_values < 3)
        return;
    int height = 1; // the stack holds subtrees of falling heights
    while ((1 << height) < num_values)
        height++;
    fold->stack = weft_builder_scratch(builder, WEFT_INPUT, like, 1);
    for (int i = 1; i < height; i++)
        weft_builder_scratch(builder, WEFT_INPUT, like, 1);
}

static void flush_chain(struct weft_emit_fold *fold)
{
    weft_builder_step(fold->builder, 0, 1, fold->pending, fold->num_pending, &fold->into, 1);
    fold->pending[0] = fold->into;
    fold->num_pending = 1;
}

static struct weft_operand top(const struct weft_emit_fold *fold, int below)
{
    return weft_cells(WEFT_SCRATCH, fold->stack + (uint32_t)(fold->depth - 1 - below));
}

// The last combination of all goes where the result belongs.
static void combine_tree(struct weft_emit_fold *fold, struct weft_operand a, struct weft_operand b,
                         struct weft_operand into)
{
    bool is_last = ++fold->num_combined == fold->num_values - 1;
    weft_builder_combine(fold->builder, 0, 1, a, b, is_last ? fold->into : into);
}

static void push_pair(struct weft_emit_fold *fold)
{
    fold->heights[fold->depth++] = 1;
    combine_tree(fold, fold->pending[0], fold->pending[1], top(fold, 0));
    fold->num_pending = 0;
    while (fold->depth > 1 && fold->heights[fold->depth - 1] == fold->heights[fold->depth - 2]) {
        combine_tree(fold, top(fold, 1), top(fold, 0), top(fold, 1));
        fold->heights[--fold->depth - 1]++;
    }
}

static void added(struct weft_emit_fold *fold)
{
    fold->num_pending++;
    fold->num_added++;
    if (fold->width == 0 && fold->num_pending == 2)
        push_pair(fold);
}

void weft_emit_fold_cell(struct weft_emit_fold *fold, enum weft_space space, uint32_t cell)
{
    if (fold->width && fold->num_pending == fold->width)
        flush_chain(fold);
    fold->pending[fold->num_pending] = weft_cells(space, cell);
    added(fold);
}

void weft_emit_fold_message(struct weft_emit_fold *fold, int peer, uint32_t stamp,
                            struct weft_label label)
{
    if (fold->width && fold->num_pending == fold->width)
        flush_chain(fold);
    fold->labels[fold->num_pending] = label;
    fold->pending[fold->num_pending] = weft_from(peer, stamp, &fold->labels[fold->num_pending]);
    added(fold);
}

void weft_emit_fold_end(struct weft_emit_fold *fold)
{
    if (fold->width || fold->num_values == 1) {
        flush_chain(fold);
        return;
    }
    if (fold->num_pending)
        combine_tree(fold, top(fold, 0), fold->pending[0], top(fold, 0));
    for (; fold->depth > 1; fold->depth--)
        combine_tree(fold, top(fold, 1), top(fold, 0), top(fold, 1));
}

struct weft_label weft_emit_tree_label(int first, int count, uint32_t cell)
{
    if (count == 1)
        return weft_label_leaf(first, cell);
    int half = 1;
    while (2 * half < count)
        half *= 2;
    return weft_label_combine(weft_emit_tree_label(first, half, cell),
                              weft_emit_tree_label(first + half, count - half, cell));
}
