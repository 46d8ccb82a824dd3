/*
 * SPDX-License-Identifier: Apache-2.0
 * See forest.h: the way from a network to its forest and back to the network's arcs, and the proof
 * of what came out. Arcs that splitting made are used up part by part, so one tree may become
 * several that take different ways between the same terminals.
 */
#include "topology/forest.h"

#include <stdlib.h>
#include <string.h>

#include "topology/forest_private.h"

struct mapper {
    struct weft_forest_split *split;
    struct weft_forest *forest;
    int room_for_trees, room_for_edges, num_hops, room_for_hops;
    int *depth;      // (num_terminals) in the tree at work
    int *stack;      // (num_vertices + 1) ends of arcs yet to be taken apart
    int64_t **taken; // what the tree at work was taken from
    int num_taken, room_for_taken;
};

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the ways of a forest");
}

/* Makes room for `more` behind the first `count` entries of an array. */
static weft_status reserve(void **array, size_t entry_bytes, int count, int more, int *room,
                           struct weft_error *error)
{
    if (count <= INT32_MAX - more && count + more <= *room)
        return WEFT_OK;
    int64_t wanted = 2 * ((int64_t)count + more);
    if (wanted > INT32_MAX)
        return weft_fail(error, WEFT_UNSUPPORTED, "a forest too large");
    void *larger = realloc(*array, (size_t)wanted * entry_bytes);
    if (!larger)
        return no_memory(error);
    *array = larger;
    *room = (int)wanted;
    return WEFT_OK;
}

/* What an arc from u to t with `wanted` units is made of: its own capacity, else the largest part.
 * *via: the switch passed, -1: none. NULL: nothing is left. */
static int64_t *choose(const struct mapper *m, int u, int t, int64_t wanted, int *via)
{
    size_t at = (size_t)u * (size_t)m->split->num_vertices + (size_t)t;
    int64_t *best = m->split->direct[at] > 0 ? &m->split->direct[at] : NULL;
    *via = -1;
    for (int i = m->split->first_part[at]; i >= 0; i = m->split->parts[i].next) {
        if (best && *best >= wanted)
            break;
        if (m->split->parts[i].amount > (best ? *best : 0)) {
            best = &m->split->parts[i].amount;
            *via = m->split->parts[i].via;
        }
    }
    return best;
}

/* Takes *weight units, or as many as all of a way has, from what one tree is made of. */
static weft_status take(struct mapper *m, int64_t *amount, int64_t *weight,
                        struct weft_error *error)
{
    if (*amount < *weight) { // those before get the difference back; this may be one of them
        int64_t less = *weight - *amount;
        for (int i = 0; i < m->num_taken; i++)
            *m->taken[i] += less;
        *weight -= less;
    }
    if (m->num_taken == m->room_for_taken) {
        void *array = m->taken;
        WEFT_TRY(reserve(&array, sizeof(int64_t *), m->num_taken, 1, &m->room_for_taken, error));
        m->taken = array;
    }
    *amount -= *weight;
    m->taken[m->num_taken++] = amount;
    return WEFT_OK;
}

static weft_status add_hop(struct mapper *m, struct weft_forest_edge *edge, int vertex,
                           struct weft_error *error)
{
    for (int i = 0; i < edge->num_hops; i++)
        if (m->forest->hops[edge->first_hop + i] == vertex) { // a way round: not needed
            m->num_hops = edge->first_hop + i + 1;
            edge->num_hops = i + 1;
            return WEFT_OK;
        }
    void *array = m->forest->hops;
    WEFT_TRY(reserve(&array, sizeof(int), m->num_hops, 1, &m->room_for_hops, error));
    m->forest->hops = array;
    m->forest->hops[m->num_hops++] = vertex;
    edge->num_hops++;
    return WEFT_OK;
}

/* The way of one edge through the network. Arcs yet to be taken apart wait on a stack; splitting
 * removed one switch after the other, so it holds at most one arc per switch and one more. */
static weft_status find_way(struct mapper *m, struct weft_forest_edge *edge, int64_t *weight,
                            struct weft_error *error)
{
    int depth = 0, from = edge->from;
    m->stack[depth++] = edge->to;
    edge->first_hop = m->num_hops;
    while (depth > 0) {
        int via, to = m->stack[depth - 1];
        int64_t *amount = choose(m, from, to, *weight, &via);
        if (!amount || depth > m->split->num_vertices)
            return weft_fail(error, WEFT_INTERNAL, "no way left from vertex %d to %d", from, to);
        WEFT_TRY(take(m, amount, weight, error));
        if (via >= 0) {
            m->stack[depth++] = via;
            continue;
        }
        depth--;
        from = to;
        if (depth > 0)
            WEFT_TRY(add_hop(m, edge, to, error));
    }
    return WEFT_OK;
}

static weft_status add_tree(struct mapper *m, int root, const int *edges, int64_t *weight,
                            struct weft_error *error)
{
    struct weft_forest *forest = m->forest;
    int count = forest->num_terminals - 1, first = forest->num_trees * count, deepest = 0;
    void *array = forest->edges;
    WEFT_TRY(reserve(&array, sizeof *forest->edges, first, count, &m->room_for_edges, error));
    forest->edges = array;
    array = forest->trees;
    WEFT_TRY(
        reserve(&array, sizeof *forest->trees, forest->num_trees, 1, &m->room_for_trees, error));
    forest->trees = array;
    m->num_taken = 0;
    m->depth[root] = 0;
    for (int i = 0; i < count; i++) {
        struct weft_forest_edge *edge = &forest->edges[first + i];
        *edge = (struct weft_forest_edge){.from = edges[2 * i], .to = edges[2 * i + 1]};
        WEFT_TRY(find_way(m, edge, weight, error));
        m->depth[edge->to] = m->depth[edge->from] + 1;
        if (m->depth[edge->to] > deepest)
            deepest = m->depth[edge->to];
    }
    forest->trees[forest->num_trees++] = (struct weft_forest_tree){root, *weight, first, deepest};
    forest->total_weight += *weight;
    if (deepest > forest->depth)
        forest->depth = deepest;
    return WEFT_OK;
}

static int compare_trees(const void *a, const void *b)
{
    const struct weft_forest_tree *x = a, *y = b;
    if (x->root != y->root)
        return x->root < y->root ? -1 : 1;
    return (x->first_edge > y->first_edge) - (x->first_edge < y->first_edge);
}

static weft_status map_trees(struct mapper *m, const struct weft_forest_packing *packing,
                             struct weft_error *error)
{
    size_t ints_per_tree = 2 * (size_t)(packing->num_terminals - 1);
    m->stack = malloc(((size_t)m->split->num_vertices + 1) * sizeof *m->stack);
    m->depth = malloc((size_t)packing->num_terminals * sizeof *m->depth);
    if (!m->stack || !m->depth)
        return no_memory(error);
    for (int i = 0; i < packing->num_trees; i++)
        for (int64_t left = packing->trees[i].weight; left > 0;) {
            int64_t weight = left;
            WEFT_TRY(add_tree(m, packing->trees[i].root, packing->edges + (size_t)i * ints_per_tree,
                              &weight, error));
            left -= weight;
        }
    if (m->forest->num_trees > 0)
        qsort(m->forest->trees, (size_t)m->forest->num_trees, sizeof *m->forest->trees,
              compare_trees);
    return WEFT_OK;
}

/* Where switches have tiers, both ways to remove them are tried: rails need nothing from above,
 * pods do. */
static weft_status split_and_pack(const struct weft_network *network,
                                  const struct weft_forest_request *request,
                                  struct weft_forest_split *split,
                                  struct weft_forest_packing *packing, struct weft_error *error)
{
    enum { SHALLOW = 2 };
    struct weft_forest_split other_split = {0};
    struct weft_forest_packing other = {0};
    WEFT_TRY(weft_forest_split_switches(network, request, false, NULL, split, error));
    WEFT_TRY(weft_forest_pack_trees(split, request->weight, packing, error));
    if (!split->has_tiers || packing->depth <= SHALLOW)
        return WEFT_OK;
    weft_status status =
        weft_forest_split_switches(network, request, true, NULL, &other_split, error);
    if (status == WEFT_OK)
        status = weft_forest_pack_trees(&other_split, request->weight, &other, error);
    if (status == WEFT_OK && other.depth < packing->depth) {
        struct weft_forest_split kept_split = other_split;
        struct weft_forest_packing kept = other;
        other_split = *split;
        other = *packing;
        *split = kept_split;
        *packing = kept;
    }
    weft_forest_split_free(&other_split);
    weft_forest_packing_free(&other);
    return status == WEFT_UNSUPPORTED ? WEFT_OK : status; // too much work: the first will do
}

weft_status weft_forest_pack(const struct weft_network *network,
                             const struct weft_forest_request *request, struct weft_forest **forest,
                             struct weft_error *error)
{
    struct weft_forest_split split = {0};
    struct weft_forest_packing packing = {0};
    struct weft_forest *made = calloc(1, sizeof *made);
    struct mapper m = {.split = &split, .forest = made};
    weft_status status = made ? WEFT_OK : no_memory(error);
    if (status == WEFT_OK)
        status = split_and_pack(network, request, &split, &packing, error);
    if (status == WEFT_OK) {
        made->num_terminals = network->num_terminals;
        status = map_trees(&m, &packing, error);
    }
    weft_forest_split_free(&split);
    weft_forest_packing_free(&packing);
    free(m.stack);
    free(m.depth);
    free(m.taken);
    if (status == WEFT_OK)
        *forest = made;
    else
        weft_forest_destroy(&made);
    return status;
}

void weft_forest_destroy(struct weft_forest **forest)
{
    if (!*forest)
        return;
    free((*forest)->trees);
    free((*forest)->edges);
    free((*forest)->hops);
    free(*forest);
    *forest = NULL;
}
