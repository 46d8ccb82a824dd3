/*
 * SPDX-License-Identifier: Apache-2.0
 * Trees of one root where all boxes (the innermost groups) have equally many ranks, made without
 * packing, shallow and for any number of boxes.
 *
 * Ranks at the same place of their boxes are a rail. Every rail has `arity` trees across the other
 * boxes, each with so many children per inner box, and every box is inner in one of them: so each
 * sends as much as it receives. A tree begins at the rank of the root's box that is on the rail,
 * and in every box the rank on the rail passes on to all others of the box. On the root's own rail
 * that would be too much for the root, so there another rank of its box, for each tree a different
 * one, passes on for it.
 */
#include <stdlib.h>

#include "collectives/planner/forests.h"
#include "collectives/planner/forests_private.h"
#include "collectives/planner/ways.h"

enum {
    RANKS_LIMIT = 1024,
    MOST_CHILDREN = WEFT_FOREST_FUSED, // of a step that receives, keeps and passes on
    MOST_ARITY = 8,
    MANY_TREES = 128
};

struct maker {
    const struct weft_layout *layout;
    const struct weft_groups *boxes;
    int size;   // ranks of a box
    int home;   // the root's box
    int own;    // the root's place in it
    int arity;  // different trees of a rail
    int copies; // units of a rail
    int trees;  // that have them; on the root's own rail each has one
    int *order; // (boxes - 1) of one tree: inner ones first; node p has children from arity * p + 1
    int *depth; // (ranks)
    struct weft_ways *ways;
    struct weft_forest *forest;
    int num_edges, num_hops, room_for_hops;
};

static int rank_at(const struct maker *maker, int box, int place)
{
    return maker->boxes->members[maker->boxes->first[box] + place];
}

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for trees");
}

// The most children that leave every box with as much to send as the others: `others` boxes are
// inner in one tree each, and all but its first box are somebody's children.
static int find_arity(int others, int size)
{
    int arity = MOST_CHILDREN - (size - 1);
    arity = arity < 1 || arity > MOST_ARITY ? MOST_ARITY : arity;
    arity = arity > others ? others : arity;
    while (others % arity > 1)
        arity--;
    return arity;
}

static weft_status add_hops(struct maker *maker, struct weft_forest_edge *edge,
                            struct weft_error *error)
{
    const struct weft_network *network = maker->layout->network;
    int arcs[WEFT_ROUTE_LIMIT];
    struct weft_way way;
    WEFT_TRY(weft_ways_route(maker->ways, edge->from, edge->to, arcs, &way, error));
    int num_arcs = way.num_arcs;
    if (maker->num_hops + num_arcs > maker->room_for_hops) {
        int room = 2 * (maker->num_hops + num_arcs) + 1024;
        int *hops = realloc(maker->forest->hops, (size_t)room * sizeof *hops);
        if (!hops)
            return no_memory(error);
        maker->forest->hops = hops;
        maker->room_for_hops = room;
    }
    edge->first_hop = maker->num_hops;
    edge->num_hops = num_arcs - 1;
    for (int i = num_arcs - 1; i > 0; i--) // arcs lead back from the end
        maker->forest->hops[maker->num_hops++] = network->arcs[arcs[i]].to;
    return WEFT_OK;
}

static weft_status add_edge(struct maker *maker, int from, int to, struct weft_error *error)
{
    struct weft_forest *forest = maker->forest;
    struct weft_forest_tree *tree = &forest->trees[forest->num_trees];
    struct weft_forest_edge *edge = &forest->edges[maker->num_edges++];
    *edge = (struct weft_forest_edge){.from = from, .to = to};
    maker->depth[to] = maker->depth[from] + 1;
    if (maker->depth[to] > tree->depth)
        tree->depth = maker->depth[to];
    return add_hops(maker, edge, error);
}

// From the rank at `place` to all of its box but itself, the root and `except`.
static weft_status fill_box(struct maker *maker, int box, int place, int except,
                            struct weft_error *error)
{
    int from = rank_at(maker, box, place);
    for (int p = 0; p < maker->size; p++)
        if (p != place && p != except && !(box == maker->home && p == maker->own))
            WEFT_TRY(add_edge(maker, from, rank_at(maker, box, p), error));
    return WEFT_OK;
}

// Inner boxes of tree `number` of a rail, then the others.
static void find_order(struct maker *maker, int number)
{
    int others = maker->boxes->num_groups - 1, count = 0;
    for (int is_leaf = 0; is_leaf < 2; is_leaf++)
        for (int i = 0; i < others; i++)
            if ((i % maker->arity != number) == is_leaf)
                maker->order[count++] = i < maker->home ? i : i + 1;
}

static weft_status add_tree(struct maker *maker, int rail, int copy, int weight,
                            struct weft_error *error)
{
    struct weft_forest *forest = maker->forest;
    struct weft_forest_tree *tree = &forest->trees[forest->num_trees];
    int root = rank_at(maker, maker->home, maker->own), others = maker->boxes->num_groups - 1;
    int passes_on = rail; // in the root's box
    if (rail == maker->own) {
        passes_on = copy % (maker->size - 1);
        passes_on += passes_on >= maker->own;
    }
    *tree =
        (struct weft_forest_tree){.root = root, .weight = weight, .first_edge = maker->num_edges};
    maker->depth[root] = 0;
    find_order(maker, copy % maker->arity);
    WEFT_TRY(add_edge(maker, root, rank_at(maker, maker->home, passes_on), error));
    for (int p = 0; p < others; p++) {
        int above = p ? maker->order[(p - 1) / maker->arity] : maker->home;
        WEFT_TRY(add_edge(maker, rank_at(maker, above, rail), rank_at(maker, maker->order[p], rail),
                          error));
    }
    WEFT_TRY(fill_box(maker, maker->home, passes_on, passes_on, error));
    for (int p = 0; p < others; p++)
        WEFT_TRY(fill_box(maker, maker->order[p], rail, rail, error));
    forest->total_weight += weight;
    forest->depth = tree->depth > forest->depth ? tree->depth : forest->depth;
    forest->num_trees++;
    return WEFT_OK;
}

static weft_status add_trees(struct maker *maker, struct weft_error *error)
{
    for (int rail = 0; rail < maker->size; rail++) {
        int trees = rail == maker->own ? maker->copies : maker->trees;
        for (int copy = 0; copy < trees; copy++)
            WEFT_TRY(add_tree(maker, rail, copy, maker->copies / trees, error));
    }
    return WEFT_OK;
}

static weft_status make(struct maker *maker, struct weft_error *error)
{
    const struct weft_fold whole = {.block = maker->layout->num_ranks, .num_blocks = 1};
    size_t n = (size_t)maker->layout->num_ranks;
    size_t trees = (size_t)(maker->size - 1) * (size_t)maker->trees + (size_t)maker->copies;
    maker->forest = calloc(1, sizeof *maker->forest);
    maker->order = calloc((size_t)maker->boxes->num_groups, sizeof *maker->order);
    maker->depth = calloc(n, sizeof *maker->depth);
    if (!maker->forest || !maker->order || !maker->depth)
        return no_memory(error);
    maker->forest->num_terminals = maker->layout->num_ranks;
    maker->forest->trees = calloc(trees, sizeof *maker->forest->trees);
    maker->forest->edges = calloc(trees * (n - 1), sizeof *maker->forest->edges);
    if (!maker->forest->trees || !maker->forest->edges)
        return no_memory(error);
    WEFT_TRY(weft_ways_create(maker->layout, whole, &maker->ways, error));
    return add_trees(maker, error);
}

weft_status weft_forests_of_boxes(const struct weft_layout *layout, int root,
                                  struct weft_forest **forest, struct weft_error *error)
{
    const struct weft_groups *boxes = &layout->levels[0];
    struct maker maker = {.layout = layout, .boxes = boxes, .size = boxes->largest};
    if (boxes->num_groups < 2 || boxes->smallest != boxes->largest || boxes->largest < 2 ||
        layout->num_ranks > RANKS_LIMIT)
        return weft_fail(error, WEFT_NOT_FOUND, "the boxes differ in size, or are one, or many");
    maker.home = boxes->of_rank[root];
    maker.own = boxes->place[root];
    maker.arity = find_arity(boxes->num_groups - 1, maker.size);
    maker.copies = (maker.size - 1 + maker.arity - 1) / maker.arity * maker.arity;
    // Links are shared by lanes equally, so equal trees are better as long as they are not too
    // many.
    maker.trees = maker.size * maker.copies <= MANY_TREES ? maker.copies : maker.arity;
    weft_status status = make(&maker, error);
    weft_ways_destroy(&maker.ways);
    free(maker.order);
    free(maker.depth);
    if (status == WEFT_OK)
        *forest = maker.forest;
    else
        weft_forest_destroy(&maker.forest);
    return status;
}
