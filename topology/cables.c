/*
 * SPDX-License-Identifier: Apache-2.0
 * See cables.h.
 */
#include "topology/cables.h"

#include <stdlib.h>

#include "topology/adjacency.h"

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
    struct weft_adjacency links = {0};
    *cables = (struct weft_cables){.topology = t};
    WEFT_TRY(weft_adjacency_create(t, &links, error));
    cables->starts = malloc(((size_t)t->num_nodes + 1) * sizeof *cables->starts);
    cables->ends = malloc(((size_t)t->num_links * 2 + 1) * sizeof *cables->ends);
    int count = 0;
    for (int i = 0; i < t->num_nodes && cables->starts && cables->ends; i++) {
        struct weft_cable_end *own = cables->ends + count;
        cables->starts[i] = count;
        for (int k = links.first[i]; k < links.first[i + 1]; k++) {
            const struct weft_link *link = &t->links[links.link[k]];
            bool is_from = link->from == i;
            if (link->kind == WEFT_LINK_NETWORK)
                cables->ends[count++] =
                    (struct weft_cable_end){.link = links.link[k],
                                            .port = is_from ? link->from_port : link->to_port,
                                            .peer = is_from ? link->to : link->from,
                                            .peer_port = is_from ? link->to_port : link->from_port};
        }
        qsort(own, (size_t)(count - cables->starts[i]), sizeof *own, compare_ends);
    }
    weft_adjacency_destroy(&links);
    if (!cables->starts || !cables->ends)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory");
    cables->starts[t->num_nodes] = count;
    return WEFT_OK;
}

void weft_cables_free(struct weft_cables *cables)
{
    free(cables->starts);
    free(cables->ends);
    *cables = (struct weft_cables){0};
}
