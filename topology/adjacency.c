/*
 * SPDX-License-Identifier: Apache-2.0
 * See adjacency.h. A counting sort by node.
 */
#include "topology/adjacency.h"

#include <stdlib.h>

weft_status weft_adjacency_create(const struct weft_topology *t, struct weft_adjacency *adjacency,
                                  struct weft_error *error)
{
    size_t n = (size_t)t->num_nodes, m = (size_t)t->num_links;
    // shifted by one, so that filling leaves the starts behind
    int *start = calloc(n + 2, sizeof *start);
    int *link = malloc((2 * m + 1) * sizeof *link);
    if (!start || !link) {
        free(start);
        free(link);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory for %zu links", m);
    }
    for (size_t i = 0; i < m; i++) {
        start[t->links[i].from + 2]++;
        start[t->links[i].to + 2]++;
    }
    for (size_t i = 2; i < n + 2; i++)
        start[i] += start[i - 1];
    for (size_t i = 0; i < m; i++) {
        link[start[t->links[i].from + 1]++] = (int)i;
        link[start[t->links[i].to + 1]++] = (int)i;
    }
    *adjacency = (struct weft_adjacency){.first = start, .link = link};
    return WEFT_OK;
}

void weft_adjacency_destroy(struct weft_adjacency *adjacency)
{
    free(adjacency->first);
    free(adjacency->link);
    *adjacency = (struct weft_adjacency){0};
}
