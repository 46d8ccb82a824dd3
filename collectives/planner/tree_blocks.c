/*
 * SPDX-License-Identifier: Apache-2.0
 * See tree_blocks.h. The tree is that of tree.c: place p, counted from the root around the circle
 * of ranks, hangs below p without its lowest set bit, and has the blocks of the places [p, p +
 * lowest bit) pass through it. A gather collects them in scratch, in order of places, and sends
 * them up in one message. A scatter does the same backwards, the largest subtree first and the next
 * one only when that has left: its blocks have the longest way to go. The root has blocks in order
 * of ranks: a subtree that goes round the end of the circle is two messages there.
 */
#include "collectives/planner/tree_blocks.h"

#include <stdlib.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"

struct tree {
    struct weft_builder *builder;
    int num_ranks;
    int root;
    int place;                 // of this rank
    int height;                // of the whole tree
    int level;                 // 2^level is the lowest set bit of place; at the root: height
    bool is_up;                // gather
    uint32_t room;             // scratch cells of this rank's subtree
    struct weft_label *labels; // (ranks) of one message
};

bool weft_tree_has_blocks(const struct weft_key *key)
{
    switch (key->collective) {
    case WEFT_GATHER:
    case WEFT_GATHER_V:
    case WEFT_SCATTER:
    case WEFT_SCATTER_V:
        return true;
    default:
        return false;
    }
}

static int rank_at(const struct tree *tree, int place)
{
    return weft_circle(tree->root, place, tree->num_ranks);
}

// Places of the subtree of height `level` at `place`.
static int subtree_places(const struct tree *tree, int place, int level)
{
    int left = tree->num_ranks - place;
    return (1 << level) < left ? 1 << level : left;
}

// Where this rank has `count` blocks from that of place `place` on.
static struct weft_operand blocks_at(const struct tree *tree, int place)
{
    enum weft_space own = tree->is_up ? WEFT_INPUT : WEFT_OUTPUT;
    uint32_t rank = (uint32_t)rank_at(tree, place);
    if (tree->place == 0)
        return weft_cells(tree->is_up ? WEFT_OUTPUT : WEFT_INPUT, rank);
    if (subtree_places(tree, tree->place, tree->level) == 1)
        return weft_cells(own, rank);
    return weft_cells(WEFT_SCRATCH, tree->room + (uint32_t)(place - tree->place));
}

// `count` blocks from that of place `place` on, to or from `peer`, as one message.
static void exchange(const struct tree *tree, int place, int count, int peer, bool is_send,
                     uint32_t stamp)
{
    struct weft_operand here = blocks_at(tree, place);
    for (int i = 0; i < count && !is_send; i++) {
        int block = rank_at(tree, place + i);
        tree->labels[i] = weft_label_leaf(tree->is_up ? block : tree->root, (uint32_t)block);
    }
    weft_builder_move(tree->builder, 0, (uint32_t)count,
                      is_send ? here : weft_from(peer, stamp, tree->labels),
                      is_send ? weft_to(peer, stamp) : here);
}

// The blocks of the subtree of height `level` at `child`, over its edge to the parent.
static void cross_edge(const struct tree *tree, int child, int level)
{
    int parent = child - (1 << level), count = subtree_places(tree, child, level);
    bool is_child = tree->place == child, is_send = is_child == tree->is_up;
    int peer = rank_at(tree, is_child ? parent : child);
    uint32_t stamp = (uint32_t)(tree->is_up ? level : tree->height - 1 - level);
    int until_end = tree->num_ranks - rank_at(tree, child); // places before rank 0
    int first = parent == 0 && until_end < count ? until_end : count;
    exchange(tree, child, first, peer, is_send, stamp);
    if (first < count)
        exchange(tree, child + first, count - first, peer, is_send, stamp);
}

// The own block between the buffer and where it travels with others.
static void move_own(const struct tree *tree)
{
    uint32_t rank = (uint32_t)rank_at(tree, tree->place);
    struct weft_operand travelling = blocks_at(tree, tree->place);
    struct weft_operand own = weft_cells(tree->is_up ? WEFT_INPUT : WEFT_OUTPUT, rank);
    if (travelling.space != own.space)
        weft_builder_move(tree->builder, 0, 1, tree->is_up ? own : travelling,
                          tree->is_up ? travelling : own);
}

// What comes in, then what goes on, each as far as possible before the own block is copied.
static void write_steps(struct tree *tree)
{
    int places = subtree_places(tree, tree->place, tree->level);
    for (int i = 0; i < places && places > 1 && tree->place; i++) {
        uint32_t cell = weft_builder_scratch(tree->builder, tree->is_up ? WEFT_INPUT : WEFT_OUTPUT,
                                             (uint32_t)rank_at(tree, tree->place + i), 1);
        tree->room = i ? tree->room : cell;
    }
    if (!tree->is_up && tree->place)
        cross_edge(tree, tree->place, tree->level);
    bool has_sent = false;
    for (int i = 0; i < tree->level; i++) {
        int level = tree->is_up ? i : tree->level - 1 - i, child = tree->place + (1 << level);
        if (child >= tree->num_ranks)
            continue;
        if (has_sent)
            weft_builder_wait(tree->builder, weft_builder_num_steps(tree->builder) - 1);
        cross_edge(tree, child, level);
        has_sent = !tree->is_up;
    }
    move_own(tree);
    if (tree->is_up && tree->place)
        cross_edge(tree, tree->place, tree->level);
}

weft_status weft_tree_blocks_emit(const struct weft_key *key, int rank, unsigned aliasing,
                                  struct weft_program **program, struct weft_error *error)
{
    struct tree tree = {
        .num_ranks = key->num_ranks,
        .root = key->root,
        .place = weft_circle(rank, -key->root, key->num_ranks),
        .height = weft_log2_ceil(key->num_ranks),
        .is_up = key->collective == WEFT_GATHER || key->collective == WEFT_GATHER_V,
    };
    tree.level = tree.place ? __builtin_ctz((unsigned)tree.place) : tree.height;
    tree.labels = malloc((size_t)key->num_ranks * sizeof *tree.labels);
    if (!tree.labels)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    weft_status status = weft_emit_begin(key, rank, 1, "tree", aliasing, &tree.builder, error);
    if (status == WEFT_OK) {
        write_steps(&tree);
        status = weft_builder_finish(&tree.builder, program, error);
    }
    free(tree.labels);
    return status;
}

// Level by level, for the subtrees of a level move at the same time; those grow towards the root.
int64_t weft_tree_blocks_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    int64_t n = key->num_ranks, bytes = weft_key_bytes(key);
    struct weft_load own = {.copied = bytes / n};
    __int128 price = weft_price(key, layout, &own);
    for (int64_t width = 1; width < n; width *= 2) {
        int64_t blocks = width < n - width ? width : n - width, pairs = (n + width) / (2 * width);
        struct weft_load load = {.level = weft_layout_block_level(layout, 2 * width),
                                 .rounds = 1,
                                 .steps = 2,
                                 .moved = (__int128)bytes * blocks / n,
                                 .active = 2 * pairs};
        price += weft_price_apart(key, layout, &load, width, true);
    }
    return weft_price_clamp(price);
}
