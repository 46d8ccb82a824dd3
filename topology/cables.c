/*
 * SPDX-License-Identifier: Apache-2.0
 * See cables.h.
 */
#include "topology/cables.h"

#include <stdlib.h>

bool weft_node_is_fabric_switch(const struct weft_topology *t, int node)
{
    int kind = t->nodes[node].kind;
    return kind == WEFT_NODE_LEAF || kind == WEFT_NODE_SPINE || kind == WEFT_NODE_CORE_SWITCH ||
           kind == WEFT_NODE_SWITCH;
}

static int compare_ends(const void *a, const void *b)
{
    const struct weft_cable_end *x = a, *y = b;
    if (x->port != y->port)
        return x->port < y->port ? -1 : 1;
    return x->link < y->link ? -1 : x->link > y->link;
}

weft_status weft_cables_list(const struct weft_topology *t, struct weft_cables *cables,
                             struct weft_error *error)
{
    *cables = (struct weft_cables){.topology = t};
    cables->starts = calloc((size_t)t->num_nodes + 2, sizeof *cables->starts);
    cables->ends = malloc(((size_t)t->num_links * 2 + 1) * sizeof *cables->ends);
    if (!cables->starts || !cables->ends)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory");
    // starts[n + 2] counts, then starts[n + 1] is where node n is filled, which moves it to its end
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NETWORK) {
            cables->starts[t->links[i].from + 2]++;
            cables->starts[t->links[i].to + 2]++;
        }
    for (int i = 0; i <= t->num_nodes; i++)
        cables->starts[i + 1] += cables->starts[i];
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (link->kind != WEFT_LINK_NETWORK)
            continue;
        cables->ends[cables->starts[link->from + 1]++] =
            (struct weft_cable_end){i, link->from_port, link->to, link->to_port};
        cables->ends[cables->starts[link->to + 1]++] =
            (struct weft_cable_end){i, link->to_port, link->from, link->from_port};
    }
    for (int i = 0; i < t->num_nodes; i++)
        qsort(cables->ends + cables->starts[i], (size_t)(cables->starts[i + 1] - cables->starts[i]),
              sizeof *cables->ends, compare_ends);
    return WEFT_OK;
}

void weft_cables_free(struct weft_cables *cables)
{
    free(cables->starts);
    free(cables->ends);
    *cables = (struct weft_cables){0};
}
