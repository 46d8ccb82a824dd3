/*
 * SPDX-License-Identifier: Apache-2.0
 * double_tree: pairs of binary trees over the groups of the layout, in which each group is inner in
 * one tree and a leaf in the other, so that both directions of every link work; each tree carries
 * its share of the vector, in pieces that follow one another. Inside a group, a chain (or in a
 * large one a binary tree) leads to the member that speaks for the group, another one for each
 * pair of trees, so that all NICs work.
 *
 * The trees over groups: position p > 0 hangs by its lowest set bit, so odd positions are leaves;
 * the other tree of a pair is the same with positions shifted by one, or mirrored. A request with a
 * root sets the root's group on top of all trees; the trees are those of the other groups.
 *
 * Stamps: a message up from depth d of piece k moves at (height - d + k), a message down to depth d
 * at (height + d + k); times the number of values that a rank takes in one after another.
 */
#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"

enum {
    pairs_limit = 8,    // each tree has a channel up and one down
    children_limit = 8, // <= 3 from other groups, <= 2 inside
    chain_limit = 8,    // members of a group; more make a tree
    small_class = 16,   // up to here one pair of trees
    together_bytes = 8192,
};

struct double_tree {
    struct weft_builder *builder;
    const struct weft_layout *layout;
    const struct weft_groups *groups; // NULL: each rank is one
    int rank;
    int num_groups;
    int root; // -1: none
    int num_trees;
    uint32_t pieces; // of each tree
    int height;      // no rank is deeper
    uint32_t stride; // of stamps
    int tree;        // the one being written
};

static const char *double_tree_supports(const struct weft_key *key,
                                        const struct weft_layout *layout)
{
    (void)layout;
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_REDUCE:
        if (key->order == WEFT_ORDER_REPRODUCIBLE)
            return "combines group by group, each share by a tree of its own";
        break;
    case WEFT_BROADCAST:
        break;
    default:
        return "only all_reduce, reduce and broadcast";
    }
    return key->num_ranks < 2 ? "one rank is no tree" : NULL;
}

static int group_size(const struct double_tree *trees, int group)
{
    return trees->groups ? trees->groups->first[group + 1] - trees->groups->first[group] : 1;
}

static int group_of(const struct double_tree *trees, int rank)
{
    return trees->groups ? trees->groups->of_rank[rank] : weft_layout_place(trees->layout, rank);
}

static int place_in_group(const struct double_tree *trees, int rank)
{
    return trees->groups ? trees->groups->place[rank] : 0;
}

// The place of the member that speaks for a group: another one for each pair of trees, in both of
// which it sends and receives alike; and for each tree where there is only one pair.
static int leader_place(const struct double_tree *trees, int group)
{
    return (trees->num_trees > 2 ? trees->tree / 2 : trees->tree) % group_size(trees, group);
}

// The member of a group that is `order`-th from its top, and the other way round.
static int first_place(const struct double_tree *trees, int group)
{
    if (trees->root >= 0 && group_of(trees, trees->root) == group)
        return place_in_group(trees, trees->root);
    return leader_place(trees, group);
}

static int member(const struct double_tree *trees, int group, int order)
{
    int size = group_size(trees, group);
    int place = (first_place(trees, group) + order) % size;
    return trees->groups ? trees->groups->members[trees->groups->first[group] + place]
                         : weft_layout_at(trees->layout, group);
}

static int order_of(const struct double_tree *trees, int rank)
{
    int group = group_of(trees, rank);
    return weft_circle(place_in_group(trees, rank), -first_place(trees, group),
                       group_size(trees, group));
}

static int arity(int group_size)
{
    return group_size <= chain_limit ? 1 : 2;
}

// The order of the member at which messages of other groups arrive: the top of its group, but for
// the root's group, where all trees have the same top.
static int gate_order(const struct double_tree *trees, int group)
{
    bool has_root = trees->root >= 0 && group_of(trees, trees->root) == group;
    return has_root ? leader_place(trees, group) : 0;
}

// Groups that hang in the trees, and their positions.
static int num_positions(const struct double_tree *trees)
{
    return trees->num_groups - (trees->root >= 0);
}

static int top_group(const struct double_tree *trees)
{
    return trees->root >= 0 ? group_of(trees, trees->root) : -1;
}

static int position_of(const struct double_tree *trees, int group)
{
    int count = num_positions(trees);
    int at =
        trees->root >= 0 ? weft_circle(group, -top_group(trees) - 1, trees->num_groups) : group;
    if (trees->tree % 2 == 0)
        return at;
    return count % 2 ? weft_circle(at, -1, count) : count - 1 - at;
}

static int group_at(const struct double_tree *trees, int position)
{
    int count = num_positions(trees), at = position;
    if (trees->tree % 2)
        at = count % 2 ? weft_circle(position, 1, count) : count - 1 - position;
    return trees->root >= 0 ? weft_circle(top_group(trees), at + 1, trees->num_groups) : at;
}

// -1 at position 0.
static int parent_position(int position, int count)
{
    int bit = position & -position, up = (position ^ bit) | (bit << 1);
    return position == 0 ? -1 : up < count ? up : position ^ bit;
}

// Left and right; returns how many.
static int child_positions(int position, int count, int *children)
{
    int num = 0, bit = position & -position;
    if (position == 0)
        for (bit = 1; bit < count; bit <<= 1)
            ;
    if (position && bit > 1)
        children[num++] = position - bit / 2;
    for (int low = bit / 2; low > 0; low /= 2)
        if (position + low < count) {
            children[num++] = position + low;
            break;
        }
    return num;
}

// -1 at the top.
static int parent_of(const struct double_tree *trees, int rank)
{
    int group = group_of(trees, rank), order = order_of(trees, rank);
    if (order > 0)
        return member(trees, group, (order - 1) / arity(group_size(trees, group)));
    if (group == top_group(trees))
        return -1;
    int parent = parent_position(position_of(trees, group), num_positions(trees));
    if (parent < 0 && trees->root < 0)
        return -1;
    int above = parent < 0 ? top_group(trees) : group_at(trees, parent);
    return member(trees, above, gate_order(trees, above));
}

// Those inside the group come first.
static int children_of(const struct double_tree *trees, int rank, int *children)
{
    int group = group_of(trees, rank), order = order_of(trees, rank), num = 0;
    int size = group_size(trees, group), ways = arity(size), positions[2], num_positions_below = 0;
    for (int below = ways * order + 1; below <= ways * order + ways && below < size; below++)
        children[num++] = member(trees, group, below);
    if (order != gate_order(trees, group))
        return num;
    if (group == top_group(trees))
        positions[num_positions_below++] = 0;
    else
        num_positions_below =
            child_positions(position_of(trees, group), num_positions(trees), positions);
    for (int i = 0; i < num_positions_below && num_positions(trees) > 0; i++)
        children[num++] = member(trees, group_at(trees, positions[i]), 0);
    return num;
}

static int depth_of(const struct double_tree *trees, int rank)
{
    int depth = 0;
    for (int at = parent_of(trees, rank); at >= 0; at = parent_of(trees, at))
        depth++;
    return depth;
}

// The sum over the subtree of `rank`: its own value, then its children's.
static struct weft_label subtree(const struct double_tree *trees, int rank)
{
    int children[children_limit], num = children_of(trees, rank, children);
    struct weft_label label = weft_label_leaf(rank, 0);
    for (int i = 0; i < num; i++)
        label = weft_label_combine(label, subtree(trees, children[i]));
    return label;
}

// One rank in one tree.
struct node {
    int parent;
    int depth;
    int index; // among the parent's children
    int num_children;
    int children[children_limit];
    struct weft_label sums[children_limit]; // of the children's subtrees
};

static struct node node_of(const struct double_tree *trees, bool reduces)
{
    struct node node = {.parent = parent_of(trees, trees->rank),
                        .depth = depth_of(trees, trees->rank)};
    node.num_children = children_of(trees, trees->rank, node.children);
    for (int i = 0; reduces && i < node.num_children; i++)
        node.sums[i] = subtree(trees, node.children[i]);
    int siblings[children_limit];
    int num = node.parent < 0 ? 0 : children_of(trees, node.parent, siblings);
    for (int i = 0; i < num; i++)
        if (siblings[i] == trees->rank)
            node.index = i;
    return node;
}

static uint16_t channel_of(const struct double_tree *trees, bool goes_down)
{
    return (uint16_t)(trees->tree + (goes_down ? trees->num_trees : 0));
}

// Of the message up from `depth` that is value `index` of its receiver.
static uint32_t stamp_up(const struct double_tree *trees, int depth, int index, uint32_t piece)
{
    uint32_t turn = trees->stride > 1 ? (uint32_t)index : 0;
    return trees->stride * ((uint32_t)(trees->height - depth) + piece) + turn;
}

static uint32_t stamp_down(const struct double_tree *trees, int depth, uint32_t piece)
{
    return trees->stride * ((uint32_t)(trees->height + depth) + piece);
}

// What the children send and the own input, into `sum`: in one step or one after another.
static void combine(const struct double_tree *trees, const struct node *node, uint32_t piece,
                    struct weft_operand sum)
{
    uint32_t cell = (uint32_t)trees->tree * trees->pieces + piece;
    struct weft_operand sources[children_limit + 1] = {weft_cells(WEFT_INPUT, cell)};
    struct weft_label labels[children_limit];
    uint16_t channel = channel_of(trees, false);
    for (int i = 0; i < node->num_children; i++) {
        labels[i] = weft_label_at(node->sums[i], cell);
        sources[i + 1] =
            weft_from(node->children[i], stamp_up(trees, node->depth + 1, i, piece), &labels[i]);
    }
    if (trees->stride == 1) {
        weft_builder_step(trees->builder, channel, 1, sources, node->num_children + 1, &sum, 1);
        return;
    }
    for (int i = 0; i < node->num_children; i++)
        weft_builder_combine(trees->builder, channel, 1, i ? sum : sources[0], sources[i + 1], sum);
}

// `sum`: where the first piece of the tree is added up.
static void go_up(const struct double_tree *trees, const struct node *node, struct weft_operand sum)
{
    for (uint32_t piece = 0; piece < trees->pieces; piece++) {
        struct weft_operand from = weft_cells(sum.space, sum.index + piece);
        if (node->num_children)
            combine(trees, node, piece, from);
        else
            from = weft_cells(WEFT_INPUT, (uint32_t)trees->tree * trees->pieces + piece);
        if (node->parent >= 0)
            weft_builder_move(
                trees->builder, channel_of(trees, false), 1, from,
                weft_to(node->parent, stamp_up(trees, node->depth, node->index, piece)));
    }
}

// `value`: of any piece. The top sends from `top_space`.
static void go_down(const struct double_tree *trees, const struct node *node,
                    struct weft_label value, enum weft_space top_space)
{
    uint16_t channel = channel_of(trees, true);
    for (uint32_t piece = 0; piece < trees->pieces; piece++) {
        uint32_t cell = (uint32_t)trees->tree * trees->pieces + piece;
        struct weft_label label = weft_label_at(value, cell);
        if (node->parent >= 0)
            weft_builder_move(
                trees->builder, channel, 1,
                weft_from(node->parent, stamp_down(trees, node->depth, piece), &label),
                weft_cells(WEFT_OUTPUT, cell));
        for (int i = 0; i < node->num_children; i++)
            weft_builder_move(
                trees->builder, channel, 1,
                weft_cells(node->parent >= 0 ? WEFT_OUTPUT : top_space, cell),
                weft_to(node->children[i], stamp_down(trees, node->depth + 1, piece)));
    }
}

static int top_of(const struct double_tree *trees)
{
    return trees->root >= 0 ? trees->root : member(trees, group_at(trees, 0), 0);
}

static void write_tree(const struct double_tree *trees, const struct weft_key *key)
{
    uint32_t first = (uint32_t)trees->tree * trees->pieces;
    struct node node = node_of(trees, weft_collective_reduces(key->collective));
    struct weft_operand sum = weft_cells(WEFT_OUTPUT, first);
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
        go_up(trees, &node, sum);
        go_down(trees, &node, subtree(trees, top_of(trees)), WEFT_OUTPUT);
        break;
    case WEFT_REDUCE:
        if (node.parent >= 0 && node.num_children)
            sum = weft_cells(WEFT_SCRATCH, weft_builder_scratch(trees->builder, WEFT_INPUT, first,
                                                                trees->pieces));
        go_up(trees, &node, sum);
        break;
    default:
        if (node.parent < 0)
            weft_emit_copy(trees->builder, first, trees->pieces);
        go_down(trees, &node, weft_label_leaf(trees->root, 0), WEFT_INPUT);
        break;
    }
}

// Pieces of about 128 KiB.
static uint32_t pieces_of(const struct weft_key *key, int num_trees)
{
    int doublings = key->size_class - 17 - weft_log2_ceil(num_trees);
    return doublings < 0 ? 1 : doublings > 6 ? 64 : UINT32_C(1) << doublings;
}

// Of the deepest group of up to `group_size` members: a chain can be deeper than a larger tree.
static int height_inside(int group_size)
{
    int chain = (group_size < chain_limit ? group_size : chain_limit) - 1;
    int tree = weft_log2_ceil(group_size + 1) - 1;
    return tree > chain ? tree : chain;
}

static struct double_tree trees_of(const struct weft_key *key, const struct weft_layout *layout)
{
    const struct weft_groups *groups = weft_layout_top(layout) > 0 ? &layout->levels[0] : NULL;
    int num_groups = groups ? groups->num_groups : key->num_ranks;
    int size = groups ? groups->largest : 1;
    int pairs = key->size_class <= small_class ? 1 : size < pairs_limit ? size : pairs_limit;
    struct double_tree trees = {.layout = layout,
                                .groups = groups,
                                .num_groups = num_groups,
                                .root = weft_collective_is_rooted(key->collective) ? key->root : -1,
                                .num_trees = 2 * pairs,
                                .pieces = pieces_of(key, 2 * pairs)};
    trees.height = 2 * height_inside(size) + weft_log2_ceil(num_groups) + 2;
    int64_t piece = weft_key_bytes(key) / trees.num_trees / trees.pieces;
    trees.stride = piece <= together_bytes ? 1 : children_limit;
    return trees;
}

static weft_status double_tree_emit(const struct weft_key *key, const struct weft_layout *layout,
                                    int rank, unsigned aliasing, struct weft_program **program,
                                    struct weft_error *error)
{
    struct double_tree trees = trees_of(key, layout);
    trees.rank = rank;
    WEFT_TRY(weft_emit_begin(key, rank, (uint32_t)trees.num_trees * trees.pieces, "double_tree",
                             aliasing, &trees.builder, error));
    for (trees.tree = 0; trees.tree < trees.num_trees; trees.tree++)
        write_tree(&trees, key);
    return weft_builder_finish(&trees.builder, program, error);
}

// The first piece goes through the deepest tree; the others follow it at the pace of the busiest
// rank. Between groups an inner rank takes in two pieces up and, on the way down, as many with its
// other tree; large ones one after another, and before them that of its own group. Inside, every
// rank takes in every piece.
static int64_t double_tree_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    struct double_tree trees = trees_of(key, layout);
    int64_t size = trees.groups ? trees.groups->largest : 1;
    bool reduces = weft_collective_reduces(key->collective), has_crowd = trees.num_trees > 2;
    int64_t ways = key->collective == WEFT_ALL_REDUCE ? 2 : 1, rest = trees.pieces - 1;
    int64_t across = ways * (weft_log2_ceil(trees.num_groups) + (trees.root >= 0));
    int64_t inside = ways * height_inside((int)size) * (trees.root >= 0 ? 2 : 1);
    int64_t in_turn = reduces && trees.stride > 1 ? 2 : 1, steps = 2 * ways * trees.num_trees;
    __int128 bytes = weft_key_bytes(key), piece = bytes / trees.num_trees / trees.pieces;
    int top = weft_layout_top(layout);
    struct weft_load first_across = {.level = top,
                                     .is_crowd = has_crowd,
                                     .rounds = across,
                                     .steps = 2 * across,
                                     .moved = 2 * across * piece, // two children share a port
                                     .combined = reduces ? across * piece / ways : 0};
    struct weft_load first_inside = {
        0, false, inside, 2 * inside, inside * piece, reduces ? inside * piece / ways : 0, 0, 0, 0};
    struct weft_load over = {top, has_crowd, in_turn * rest, 0, 2 * ways * piece * rest, 0, 0,
                             0,   0};
    struct weft_load turn = {0, false, rest, 0, piece * rest, 0, 0, 0, 0};
    struct weft_load within = {0, true, 1, steps * trees.pieces, ways * bytes, reduces ? bytes : 0,
                               0, 0,    0};
    __int128 first = weft_price(key, layout, &first_across),
             busy = weft_price(key, layout, &within);
    __int128 follow = weft_price(key, layout, &over);
    if (trees.groups)
        first += weft_price(key, layout, &first_inside);
    if (trees.groups && in_turn > 1)
        follow += weft_price(key, layout, &turn);
    return weft_price_clamp(first + follow > busy ? first + follow : busy);
}

const struct weft_algorithm weft_algorithm_double_tree = {
    .name = "double_tree",
    .description = "pairs of binary trees over groups, each inner in one of them; chains inside",
    .counts = WEFT_COUNTS_AGREED,
    .supports = double_tree_supports,
    .estimate = double_tree_estimate,
    .emit = double_tree_emit,
};
