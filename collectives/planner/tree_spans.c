/*
 * SPDX-License-Identifier: Apache-2.0
 * See tree_spans.h. Each node of the canonical tree that no span holds whole is computed by the
 * owner of its leftmost leaf. Those that a rank computes all contain the border behind its span, so
 * they lie on one path and each is made of the one below: by folding in, from the bottom up, parts
 * of the rank's own and values of other ranks. What it does not fold in itself (its parts that are
 * right children of nodes beginning before its span, and the top of its path) it sends to the owner
 * of the parent. A value of a node moves at the instant of its parent's height, so stamps rise.
 */
#include "collectives/planner/tree_spans.h"

#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"
#include "collectives/program/leaves.h"

enum { DEPTH_LIMIT = 64 };

struct node {
    uint32_t first, end;
};

struct spans {
    const struct weft_key *key;
    struct weft_builder *builder;
    int rank;
    uint32_t lo, hi; // this rank's span
    int top;         // the owner of leaf 0, who computes the root
    struct weft_emit_parts parts;
};

static uint32_t stamp_of(struct node node)
{
    return (uint32_t)weft_log2_ceil(node.end - node.first) - 1;
}

// Empty spans own nothing.
static int owner_of(const struct weft_key *key, uint32_t leaf)
{
    int low = 0, high = key->num_ranks - 1; // the last rank whose span does not begin after `leaf`
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        if (key->leaf_bounds[middle] <= leaf)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

// The nodes from the root down to the one whose children meet at `border`; how many.
static int path_to_border(const struct weft_key *key, uint32_t border, struct node *path)
{
    struct node node = {0, key->num_leaves};
    for (int depth = 0;;) {
        uint32_t split = node.first + weft_leaves_left(node.end - node.first);
        path[depth++] = node;
        if (split == border)
            return depth;
        if (border < split)
            node.end = split;
        else
            node.first = split;
    }
}

static struct weft_operand own_part(const struct spans *spans, uint32_t first)
{
    int i = weft_emit_first_part(&spans->parts, spans->rank);
    while (spans->parts.parts[i].first != first)
        i++;
    return weft_cells(WEFT_INPUT, spans->parts.parts[i].number);
}

static void send_to_parent(const struct spans *spans, struct weft_operand value, struct node parent)
{
    weft_builder_move(spans->builder, 0, 1, value,
                      weft_to(owner_of(spans->key, parent.first), stamp_of(parent)));
}

// The own parts that are right children of nodes which begin before the span.
static void send_parts(const struct spans *spans)
{
    struct node path[DEPTH_LIMIT];
    int depth =
        spans->lo && spans->lo < spans->hi ? path_to_border(spans->key, spans->lo, path) : 0;
    while (depth-- > 0) {
        struct node parent = path[depth];
        uint32_t split = parent.first + weft_leaves_left(parent.end - parent.first);
        if (split >= spans->lo && parent.end <= spans->hi)
            send_to_parent(spans, own_part(spans, split), parent);
    }
}

// Folds the other child of `node` into the value of the one that is on the path.
static void fold_in(const struct spans *spans, struct weft_emit_fold *fold, struct node node,
                    uint32_t border)
{
    uint32_t split = node.first + weft_leaves_left(node.end - node.first);
    if (border < split || split == border) {
        weft_emit_fold_message(fold, owner_of(spans->key, split), stamp_of(node),
                               weft_leaves_label(split, node.end - split, 0));
        return;
    }
    struct weft_operand part = own_part(spans, node.first);
    weft_emit_fold_cell(fold, WEFT_INPUT, part.index);
}

// The nodes this rank computes; their top into `sum`, and on to its parent.
static void compute_path(const struct spans *spans, struct weft_operand sum)
{
    struct node path[DEPTH_LIMIT];
    if (spans->lo == spans->hi || spans->hi == spans->key->num_leaves)
        return;
    int depth = path_to_border(spans->key, spans->hi, path), top = depth;
    while (top > 0 && path[top - 1].first >= spans->lo)
        top--;
    if (top == depth)
        return;
    const struct weft_key chain = {.order = WEFT_ORDER_FREE};
    struct weft_emit_fold fold;
    weft_emit_fold_begin(&fold, spans->builder, sum, depth - top + 1,
                         weft_emit_fold_width(&chain, weft_key_bytes(spans->key)), 0);
    weft_emit_fold_cell(&fold, WEFT_INPUT, own_part(spans, path[depth - 1].first).index);
    for (int i = depth - 1; i >= top; i--)
        fold_in(spans, &fold, path[i], spans->hi);
    weft_emit_fold_end(&fold);
    if (top > 0)
        send_to_parent(spans, sum, path[top - 1]);
}

static bool computes_nothing(const struct spans *spans)
{
    struct node path[DEPTH_LIMIT];
    if (spans->lo == spans->hi || spans->hi == spans->key->num_leaves)
        return true;
    int depth = path_to_border(spans->key, spans->hi, path);
    return path[depth - 1].first < spans->lo;
}

// The only owner of leaves has the whole as its one part.
static bool owns_all(const struct spans *spans)
{
    return spans->hi - spans->lo == spans->key->num_leaves;
}

static void write_steps(const struct spans *spans)
{
    const struct weft_key *key = spans->key;
    int n = key->num_ranks;
    bool is_all = key->collective == WEFT_ALL_REDUCE;
    uint32_t stamp = (uint32_t)weft_log2_ceil(key->num_leaves);
    struct weft_label all = weft_leaves_label(0, key->num_leaves, 0);
    struct weft_operand sum = weft_cells(WEFT_OUTPUT, 0);
    bool has_output = is_all || (spans->rank == key->root && spans->rank == spans->top);
    send_parts(spans);
    if (owns_all(spans) && has_output)
        weft_emit_copy(spans->builder, 0, 1);
    else if (owns_all(spans))
        sum = weft_cells(WEFT_INPUT, 0);
    else if (!has_output && !computes_nothing(spans))
        sum = weft_cells(WEFT_SCRATCH, weft_builder_scratch(spans->builder, WEFT_INPUT, 0, 1));
    if (!owns_all(spans))
        compute_path(spans, sum);
    if (is_all)
        weft_tree_go_down(spans->builder, n, spans->rank, spans->top, stamp, all);
    else if (key->root != spans->top && spans->rank == spans->top)
        weft_builder_move(spans->builder, 0, 1, sum, weft_to(key->root, stamp));
    else if (key->root != spans->top && spans->rank == key->root)
        weft_builder_move(spans->builder, 0, 1, weft_from(spans->top, stamp, &all),
                          weft_cells(WEFT_OUTPUT, 0));
}

weft_status weft_tree_spans_emit(const struct weft_key *key, int rank, unsigned aliasing,
                                 struct weft_program **program, struct weft_error *error)
{
    struct spans spans = {.key = key,
                          .rank = rank,
                          .lo = key->leaf_bounds[rank],
                          .hi = key->leaf_bounds[rank + 1],
                          .top = owner_of(key, 0)};
    WEFT_TRY(weft_emit_begin(key, rank, 1, "tree", aliasing, &spans.builder, error));
    weft_status status = weft_emit_parts_make(key, &spans.parts, error);
    if (status != WEFT_OK) {
        weft_builder_destroy(&spans.builder);
        return status;
    }
    write_steps(&spans);
    weft_emit_parts_free(&spans.parts);
    return weft_builder_finish(&spans.builder, program, error);
}
