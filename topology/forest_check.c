/*
 * SPDX-License-Identifier: Apache-2.0
 * The proof of a forest, which knows nothing of how it was found.
 */
#include <stdlib.h>
#include <string.h>

#include "topology/forest.h"

struct proof {
    const struct weft_network *network;
    const struct weft_forest_request *request;
    const struct weft_forest *forest;
    int64_t *load;    // (num_arcs)
    int64_t *rooted;  // (num_terminals)
    bool *is_reached; // (num_terminals)
};

static int find_arc(const struct weft_network *network, int from, int to)
{
    int low = network->first[from], high = network->first[from + 1];
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (network->arcs[middle].to < to)
            low = middle + 1;
        else
            high = middle;
    }
    return low < network->first[from + 1] && network->arcs[low].to == to ? low : -1;
}

static weft_status load_way(struct proof *p, int tree, const struct weft_forest_edge *edge,
                            struct weft_error *error)
{
    int at = edge->from;
    for (int i = 0; i <= edge->num_hops; i++) {
        int next = i < edge->num_hops ? p->forest->hops[edge->first_hop + i] : edge->to;
        bool is_switch = next >= p->network->num_terminals && next < p->network->num_vertices;
        if (i < edge->num_hops && !is_switch)
            return weft_fail(error, WEFT_INTERNAL, "tree %d passes %d, which is no switch", tree,
                             next);
        int arc = find_arc(p->network, at, next);
        if (arc < 0)
            return weft_fail(error, WEFT_INTERNAL, "tree %d uses no arc from %d to %d", tree, at,
                             next);
        p->load[arc] += p->forest->trees[tree].weight;
        if (p->load[arc] > p->request->capacity[arc])
            return weft_fail(error, WEFT_INTERNAL, "arc from %d to %d carries more than %lld trees",
                             at, next, (long long)p->request->capacity[arc]);
        at = next;
    }
    return WEFT_OK;
}

static weft_status check_tree(struct proof *p, int index, struct weft_error *error)
{
    const struct weft_forest_tree *tree = &p->forest->trees[index];
    int n = p->network->num_terminals;
    if (tree->root < 0 || tree->root >= n || tree->weight < 1 ||
        tree->weight > p->request->weight[tree->root] - p->rooted[tree->root])
        return weft_fail(error, WEFT_INTERNAL, "tree %d has a wrong root or weight", index);
    p->rooted[tree->root] += tree->weight;
    memset(p->is_reached, 0, (size_t)n * sizeof *p->is_reached);
    p->is_reached[tree->root] = true;
    for (int i = 0; i < n - 1; i++) {
        const struct weft_forest_edge *edge = &p->forest->edges[tree->first_edge + i];
        bool is_known = edge->from >= 0 && edge->from < n && edge->to >= 0 && edge->to < n;
        if (!is_known || !p->is_reached[edge->from] || p->is_reached[edge->to])
            return weft_fail(error, WEFT_INTERNAL, "edge %d of tree %d makes it no tree", i, index);
        p->is_reached[edge->to] = true;
        WEFT_TRY(load_way(p, index, edge, error));
    }
    return WEFT_OK;
}

static weft_status check_all(struct proof *p, struct weft_error *error)
{
    if (p->forest->num_terminals != p->network->num_terminals)
        return weft_fail(error, WEFT_INTERNAL, "a forest of other terminals");
    for (int i = 0; i < p->forest->num_trees; i++)
        WEFT_TRY(check_tree(p, i, error));
    for (int v = 0; v < p->network->num_terminals; v++)
        if (p->rooted[v] != p->request->weight[v])
            return weft_fail(error, WEFT_INTERNAL, "%lld of %lld trees are rooted at terminal %d",
                             (long long)p->rooted[v], (long long)p->request->weight[v], v);
    return WEFT_OK;
}

weft_status weft_forest_check(const struct weft_network *network,
                              const struct weft_forest_request *request,
                              const struct weft_forest *forest, struct weft_error *error)
{
    struct proof p = {.network = network, .request = request, .forest = forest};
    p.load = calloc((size_t)network->num_arcs + 1, sizeof *p.load);
    p.rooted = calloc((size_t)network->num_terminals + 1, sizeof *p.rooted);
    p.is_reached = calloc((size_t)network->num_terminals + 1, sizeof *p.is_reached);
    weft_status status = p.load && p.rooted && p.is_reached
                             ? check_all(&p, error)
                             : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a proof");
    free(p.load);
    free(p.rooted);
    free(p.is_reached);
    return status;
}
