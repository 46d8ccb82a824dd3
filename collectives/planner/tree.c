/*
 * SPDX-License-Identifier: Apache-2.0
 * tree: a binomial tree, log2(n) hops. In the order of the tree (from the root on around the
 * circle) place p hangs below p without its lowest set bit, and the subtree of p is the places
 * [p, p + lowest bit). Reductions go up, broadcasts down, an all-reduce goes up and down again.
 *
 * From root 0 the order of combination is the canonical one, which makes reductions reproducible; a
 * reproducible reduction to another root goes to rank 0 first and then to its root. Reductions of
 * spans of leaves: tree_spans.c. Blocks that go up or down whole: tree_blocks.c.
 */
#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"
#include "collectives/planner/tree_blocks.h"
#include "collectives/planner/tree_spans.h"

struct tree {
    struct weft_builder *builder;
    int num_ranks;
    int rank;
    int root;
    int place;
    int height; // of the whole tree
    int level;  // 2^level is the lowest set bit of place; at the root: height
    int width;
};

static const char *tree_supports(const struct weft_key *key, const struct weft_layout *layout)
{
    (void)layout;
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_BARRIER:
    case WEFT_REDUCE:
    case WEFT_BROADCAST:
    case WEFT_GATHER:
    case WEFT_GATHER_V:
    case WEFT_SCATTER:
    case WEFT_SCATTER_V:
        return NULL;
    default:
        return "only all_reduce, reduce, broadcast, gather, scatter and barrier";
    }
}

// Where the tree of a request has its root.
static int root_of(const struct weft_key *key)
{
    bool is_canonical = key->order == WEFT_ORDER_REPRODUCIBLE;
    if (key->collective == WEFT_BROADCAST)
        return key->root;
    return key->collective == WEFT_REDUCE && !is_canonical ? key->root : 0;
}

static int rank_at(const struct tree *tree, int place)
{
    return weft_circle(tree->root, place, tree->num_ranks);
}

static bool has_child(const struct tree *tree, int level)
{
    return level < tree->level && tree->place + (1 << level) < tree->num_ranks;
}

// The sum over the subtree of height `level` at `place`.
static struct weft_label subtree(const struct tree *tree, int place, int level)
{
    struct weft_label label = weft_label_leaf(rank_at(tree, place), 0);
    for (int below = 0; below < level && place + (1 << below) < tree->num_ranks; below++)
        label = weft_label_combine(label, subtree(tree, place + (1 << below), below));
    return label;
}

static bool is_leaf(const struct tree *tree)
{
    return !has_child(tree, 0);
}

// The sum of this rank's subtree into `sum`, and from there to the parent.
static void go_up(const struct tree *tree, struct weft_operand sum)
{
    struct weft_emit_fold fold;
    weft_emit_fold_begin(&fold, tree->builder, sum, tree->height + 1, tree->width, 0);
    if (!is_leaf(tree)) {
        weft_emit_fold_cell(&fold, WEFT_INPUT, 0);
        for (int level = 0; has_child(tree, level); level++) {
            int child = tree->place + (1 << level);
            weft_emit_fold_message(&fold, rank_at(tree, child), (uint32_t)level,
                                   subtree(tree, child, level));
        }
        weft_emit_fold_end(&fold);
    }
    if (tree->place)
        weft_builder_move(
            tree->builder, 0, 1, is_leaf(tree) ? weft_cells(WEFT_INPUT, 0) : sum,
            weft_to(rank_at(tree, tree->place - (1 << tree->level)), (uint32_t)tree->level));
}

// `value` from the parent into the output, and on to the children, the farthest first. The root
// sends from `root_space`.
static void go_down(const struct tree *tree, uint32_t first_stamp, struct weft_label value,
                    enum weft_space root_space)
{
    uint32_t last = first_stamp + (uint32_t)tree->height - 1;
    if (tree->place)
        weft_builder_move(tree->builder, 0, 1,
                          weft_from(rank_at(tree, tree->place - (1 << tree->level)),
                                    last - (uint32_t)tree->level, &value),
                          weft_cells(WEFT_OUTPUT, 0));
    for (int level = tree->level - 1; level >= 0; level--)
        if (has_child(tree, level))
            weft_builder_move(
                tree->builder, 0, 1, weft_cells(tree->place ? WEFT_OUTPUT : root_space, 0),
                weft_to(rank_at(tree, tree->place + (1 << level)), last - (uint32_t)level));
}

void weft_tree_go_down(struct weft_builder *builder, int num_ranks, int rank, int root,
                       uint32_t first_stamp, struct weft_label value)
{
    struct tree tree = {.builder = builder,
                        .num_ranks = num_ranks,
                        .rank = rank,
                        .root = root,
                        .place = weft_circle(rank, -root, num_ranks),
                        .height = weft_log2_ceil(num_ranks)};
    tree.level = tree.place ? __builtin_ctz((unsigned)tree.place) : tree.height;
    go_down(&tree, first_stamp, value, WEFT_OUTPUT);
}

static void all_reduce(const struct tree *tree)
{
    go_up(tree, weft_cells(WEFT_OUTPUT, 0));
    go_down(tree, (uint32_t)tree->height, subtree(tree, 0, tree->height), WEFT_OUTPUT);
}

static void reduce(const struct tree *tree, int wanted_at)
{
    struct weft_operand sum = weft_cells(WEFT_OUTPUT, 0);
    uint32_t stamp = (uint32_t)tree->height; // of the message to a root outside the tree's
    struct weft_label all = subtree(tree, 0, tree->height);
    if (!is_leaf(tree) && (tree->rank != wanted_at || tree->rank != tree->root))
        sum = weft_cells(WEFT_SCRATCH, weft_builder_scratch(tree->builder, WEFT_INPUT, 0, 1));
    go_up(tree, sum);
    if (wanted_at != tree->root && tree->rank == tree->root)
        weft_builder_move(tree->builder, 0, 1, sum, weft_to(wanted_at, stamp));
    if (wanted_at != tree->root && tree->rank == wanted_at)
        weft_builder_move(tree->builder, 0, 1, weft_from(tree->root, stamp, &all),
                          weft_cells(WEFT_OUTPUT, 0));
}

static void write_steps(const struct tree *tree, const struct weft_key *key)
{
    switch (key->collective) {
    case WEFT_REDUCE:
        reduce(tree, key->root);
        break;
    case WEFT_BROADCAST:
        if (tree->place == 0)
            weft_emit_copy(tree->builder, 0, 1);
        go_down(tree, 0, weft_label_leaf(key->root, 0), WEFT_INPUT);
        break;
    default:
        all_reduce(tree);
        break;
    }
}

static weft_status tree_emit(const struct weft_key *key, const struct weft_layout *layout, int rank,
                             unsigned aliasing, struct weft_program **program,
                             struct weft_error *error)
{
    (void)layout;
    struct tree tree = {.num_ranks = key->num_ranks,
                        .rank = rank,
                        .root = root_of(key),
                        .height = weft_log2_ceil(key->num_ranks)};
    tree.place = weft_circle(rank, -tree.root, key->num_ranks);
    tree.level = tree.place ? __builtin_ctz((unsigned)tree.place) : tree.height;
    // A child's sum is one value of a chain, whatever the order: the tree itself is canonical.
    const struct weft_key chain = {.order = WEFT_ORDER_FREE};
    tree.width = weft_emit_fold_width(&chain, weft_key_bytes(key));
    if (weft_tree_has_blocks(key) && key->num_ranks > 1)
        return weft_tree_blocks_emit(key, rank, aliasing, program, error);
    if (key->num_leaves && key->num_ranks > 1)
        return weft_tree_spans_emit(key, rank, aliasing, program, error);
    WEFT_TRY(weft_emit_begin(key, rank, 1, "tree", aliasing, &tree.builder, error));
    if (key->num_ranks == 1)
        weft_emit_alone(tree.builder, key, 1);
    else
        write_steps(&tree, key);
    return weft_builder_finish(&tree.builder, program, error);
}

// Level by level, for the pairs of a level work at the same time.
static int64_t tree_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    int64_t bytes = weft_key_bytes(key);
    int height = weft_log2_ceil(key->num_ranks);
    if (weft_tree_has_blocks(key))
        return weft_tree_blocks_estimate(key, layout);
    bool goes_up = weft_collective_reduces(key->collective);
    bool goes_down = key->collective != WEFT_REDUCE;
    __int128 price = 0;
    int at_once = 0, before = -1; // messages of one rank that leave together over links of a level
    for (int level = 0; level < height; level++) {
        int64_t pairs = (key->num_ranks + (INT64_C(1) << level)) >> (level + 1);
        int at = weft_layout_block_level(layout, INT64_C(2) << level);
        at_once = at == before ? at_once + 1 : 1;
        before = at;
        struct weft_load up = {at, false, 1, 2, bytes, bytes, 0, 2 * pairs, 0};
        struct weft_load down = {at, false, 1, 2, (__int128)bytes * at_once, 0, 0, 2 * pairs, 0};
        int64_t distance = INT64_C(1) << level;
        price += goes_up ? weft_price_apart(key, layout, &up, distance, true) : 0;
        price += goes_down ? weft_price_apart(key, layout, &down, distance, true) : 0;
    }
    struct weft_load on = {weft_layout_top(layout), false, 1, 2, bytes, 0, 0, 2, 0};
    if (key->num_leaves) // every rank may send each of its parts on its own
        price += (weft_emit_count_parts(key) / key->num_ranks) * weft_price(key, layout, &on);
    if (key->collective == WEFT_REDUCE && root_of(key) != key->root)
        price += weft_price(key, layout, &on);
    return weft_price_clamp(price);
}

const struct weft_algorithm weft_algorithm_tree = {
    .name = "tree",
    .description = "a binomial tree, up to the root and down again",
    .counts = WEFT_COUNTS_AGREED,
    .supports = tree_supports,
    .estimate = tree_estimate,
    .emit = tree_emit,
    .takes_spans = true,
};
