/*
 * SPDX-License-Identifier: Apache-2.0
 * The graph check and its islands. The check trusts nothing: it is what stands between a hostile
 * file and code that follows indexes.
 */
#include <stdlib.h>
#include <string.h>

#include "topology/graph.h"
#include "topology/graph_private.h"
#include "topology/sets.h"

static weft_status refuse(struct weft_error *error, const char *name, const char *why)
{
    return weft_fail(error, WEFT_INVALID_FORMAT, "topology: node \"%.255s\" %s", name, why);
}

static weft_status check_nodes(const struct weft_topology *t, struct weft_error *error)
{
    for (int i = 0; i < t->num_nodes; i++) {
        const struct weft_node *node = &t->nodes[i];
        if (!node->name || !node->name[0])
            return weft_fail(error, WEFT_INVALID_FORMAT, "topology: node %d has no name", i);
        if (node->kind < 0 || node->kind >= WEFT_NUM_NODE_KINDS)
            return refuse(error, node->name, "has an unknown kind");
        if (node->parent < -1 || node->parent >= t->num_nodes)
            return refuse(error, node->name, "has a parent that does not exist");
        if (weft_topology_find_node(t, node->name) != i)
            return refuse(error, node->name, "has a name that is not unique");
        for (const struct weft_attribute *a = node->attributes; a; a = a->next)
            if (!a->text && a->number < 0)
                return weft_fail(error, WEFT_INVALID_FORMAT,
                                 "topology: node \"%s\" has a negative number under \"%s\"",
                                 node->name, a->key);
    }
    return WEFT_OK;
}

/* Whether the way up from `node` ends within `steps`. */
static bool reaches_top(const struct weft_topology *t, int node, int steps)
{
    while (node >= 0 && steps-- > 0)
        node = t->nodes[node].parent;
    return node < 0;
}

/* The limit also bounds every walk up and every recursion down that readers of a graph make. */
static weft_status check_parents(const struct weft_topology *t, struct weft_error *error)
{
    for (int i = 0; i < t->num_nodes; i++)
        if (!reaches_top(t, i, WEFT_TOPOLOGY_MAX_DEPTH))
            return refuse(error, t->nodes[i].name,
                          reaches_top(t, i, t->num_nodes) ? "is nested deeper than 64 levels"
                                                          : "contains itself through its parents");
    return WEFT_OK;
}

weft_status weft_topology_check(const struct weft_topology *t, struct weft_error *error)
{
    WEFT_TRY(check_nodes(t, error));
    WEFT_TRY(check_parents(t, error));
    for (int i = 0; i < t->num_links; i++)
        if (weft_link_check(&t->links[i], t->num_nodes, error) != WEFT_OK) {
            weft_fail_prefix(error, "topology: links[%d]", i);
            if (error)
                error->status = WEFT_INVALID_FORMAT;
            return WEFT_INVALID_FORMAT;
        }
    for (int i = 0; i < t->num_remarks; i++)
        if (t->remarks[i].node < -1 || t->remarks[i].node >= t->num_nodes || !t->remarks[i].text)
            return weft_fail(error, WEFT_INVALID_FORMAT,
                             "topology: remarks[%d] is about a node that does not exist", i);
    return WEFT_OK;
}

weft_status weft_topology_islands(const struct weft_topology *t, int *island_of_node,
                                  int *num_islands, struct weft_error *error)
{
    int *up = malloc(((size_t)t->num_nodes + 1) * sizeof *up);
    if (!up)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory to find islands");
    weft_sets_init(up, t->num_nodes);
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].parent >= 0)
            weft_sets_unite(up, i, t->nodes[i].parent);
    for (int i = 0; i < t->num_links; i++)
        weft_sets_unite(up, t->links[i].from, t->links[i].to);
    for (int i = 0; i < t->num_nodes; i++)
        up[i] = weft_sets_root(up, i);
    int islands = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        // a root comes before its members, so up[up[i]] already holds ~number when i is a member
        if (up[i] == i)
            up[i] = ~islands++;
        else
            up[i] = up[up[i]];
        if (island_of_node)
            island_of_node[i] = ~up[i];
    }
    free(up);
    *num_islands = islands;
    return WEFT_OK;
}
