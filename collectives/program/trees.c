/*
 * SPDX-License-Identifier: Apache-2.0
 * See trees.h. Nodes in one array, an open-addressed table of their numbers beside it.
 */
#include "collectives/program/trees.h"

#include <stdlib.h>
#include <string.h>

#include "collectives/program/shape.h"

enum { MIXED = UINT32_MAX };

struct node {
    uint32_t left;   // leaf: the rank; pair: the smaller operand, never 0
    uint32_t right;  // leaf: the cell; pair: the larger operand
    uint32_t leaves; // saturating; 1: a leaf
    uint32_t cell;   // of all leaves, or MIXED
    enum { UNKNOWN, COMPLETE, INCOMPLETE } leaves_of_all; // each rank's once; asked again and again
    struct weft_label label;
};

struct weft_trees {
    struct node *nodes; // nodes[0] stands for no value
    uint32_t count, room;
    uint32_t *table; // (table_size, a power of two) numbers of nodes, 0: free
    uint32_t table_size;
    uint32_t num_ranks;
    uint32_t *seen; // (num_ranks) scratch of weft_trees_holds: the last mark at which it was met
    uint32_t mark;
};

struct weft_trees *weft_trees_create(int num_ranks)
{
    struct weft_trees *trees = calloc(1, sizeof *trees);
    if (!trees)
        return NULL;
    trees->room = 1024;
    trees->table_size = 4096;
    trees->nodes = calloc(trees->room, sizeof *trees->nodes);
    trees->table = calloc(trees->table_size, sizeof *trees->table);
    trees->count = 1;
    trees->num_ranks = (uint32_t)num_ranks;
    trees->seen = calloc(trees->num_ranks, sizeof *trees->seen);
    if (!trees->nodes || !trees->table || !trees->seen)
        weft_trees_destroy(&trees);
    return trees;
}

void weft_trees_destroy(struct weft_trees **trees)
{
    if (!*trees)
        return;
    free((*trees)->nodes);
    free((*trees)->table);
    free((*trees)->seen);
    free(*trees);
    *trees = NULL;
}

static uint32_t *slot_of(const struct weft_trees *trees, bool is_leaf, uint32_t left,
                         uint32_t right)
{
    uint64_t hash = weft_hash_mix(is_leaf, ((uint64_t)left << 32) | right);
    for (uint32_t i = (uint32_t)hash;; i++) {
        uint32_t *slot = &trees->table[i & (trees->table_size - 1)];
        const struct node *node = &trees->nodes[*slot];
        if (!*slot ||
            ((node->leaves == 1) == is_leaf && node->left == left && node->right == right))
            return slot;
    }
}

static bool make_room(struct weft_trees *trees)
{
    if (trees->count == trees->room) {
        if (trees->room > UINT32_MAX / 8)
            return false;
        struct node *larger = realloc(trees->nodes, 2 * (size_t)trees->room * sizeof *larger);
        if (!larger)
            return false;
        trees->nodes = larger;
        trees->room *= 2;
    }
    if (trees->count < trees->table_size / 2)
        return true;
    uint32_t *table = calloc(2 * (size_t)trees->table_size, sizeof *table);
    if (!table)
        return false;
    free(trees->table);
    trees->table = table;
    trees->table_size *= 2;
    for (uint32_t i = 1; i < trees->count; i++) {
        const struct node *node = &trees->nodes[i];
        *slot_of(trees, node->leaves == 1, node->left, node->right) = i;
    }
    return true;
}

static uint32_t intern(struct weft_trees *trees, const struct node *node)
{
    if (!make_room(trees))
        return 0;
    uint32_t *slot = slot_of(trees, node->leaves == 1, node->left, node->right);
    if (!*slot) {
        trees->nodes[trees->count] = *node;
        *slot = trees->count++;
    }
    return *slot;
}

uint32_t weft_trees_leaf(struct weft_trees *trees, int rank, uint32_t cell)
{
    const struct node node = {(uint32_t)rank, cell, 1, cell, UNKNOWN, weft_label_leaf(rank, cell)};
    return intern(trees, &node);
}

uint32_t weft_trees_pair(struct weft_trees *trees, uint32_t a, uint32_t b)
{
    const struct node *left = &trees->nodes[a < b ? a : b], *right = &trees->nodes[a < b ? b : a];
    uint32_t leaves =
        left->leaves > UINT32_MAX - right->leaves ? UINT32_MAX : left->leaves + right->leaves;
    const struct node node = {a < b ? a : b, a < b ? b : a,
                              leaves,        left->cell == right->cell ? left->cell : MIXED,
                              UNKNOWN,       weft_label_combine(left->label, right->label)};
    return intern(trees, &node);
}

uint32_t weft_trees_canonical(struct weft_trees *trees, uint32_t first, uint32_t count,
                              uint32_t cell)
{
    uint32_t half = 1;
    if (count == 1)
        return weft_trees_leaf(trees, (int)first, cell);
    while (half < count - half)
        half *= 2;
    uint32_t left = weft_trees_canonical(trees, first, half, cell);
    uint32_t right = weft_trees_canonical(trees, first + half, count - half, cell);
    return left && right ? weft_trees_pair(trees, left, right) : 0;
}

bool weft_trees_is_of_one_cell(const struct weft_trees *trees, uint32_t tree, uint32_t *cell)
{
    *cell = trees->nodes[tree].cell;
    return *cell != MIXED;
}

static bool mark_leaves(struct weft_trees *trees, uint32_t tree)
{
    const struct node *node = &trees->nodes[tree];
    // The recursion is on the smaller tree, so it is at most log2(leaves) deep.
    while (node->leaves > 1) {
        const struct node *left = &trees->nodes[node->left], *right = &trees->nodes[node->right];
        bool left_is_smaller = left->leaves <= right->leaves;
        if (!mark_leaves(trees, left_is_smaller ? node->left : node->right))
            return false;
        node = left_is_smaller ? right : left;
    }
    if (node->left >= trees->num_ranks || trees->seen[node->left] == trees->mark)
        return false;
    trees->seen[node->left] = trees->mark;
    return true;
}

bool weft_trees_holds(struct weft_trees *trees, uint32_t tree, int rank)
{
    struct node *node = &trees->nodes[tree];
    if (tree == 0)
        return false;
    if (rank != WEFT_ALL_RANKS)
        return node->leaves == 1 && node->left == (uint32_t)rank;
    // As many leaves as ranks and no rank twice: each once. (The count first: a tree that combines
    // a value with itself again and again has more leaves than anyone can walk.)
    if (node->leaves != trees->num_ranks)
        return false;
    if (node->leaves_of_all == UNKNOWN) {
        trees->mark++;
        node->leaves_of_all = mark_leaves(trees, tree) ? COMPLETE : INCOMPLETE;
    }
    return node->leaves_of_all == COMPLETE;
}

struct weft_label weft_trees_label(const struct weft_trees *trees, uint32_t tree)
{
    return trees->nodes[tree].label;
}
