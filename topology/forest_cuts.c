/*
 * SPDX-License-Identifier: Apache-2.0
 * Cuts kept while a forest is made; see forest_private.h. A bit per vertex and cut, the bits of a
 * vertex side by side: which cuts lie between two vertices is a matter of a few words.
 */
#include <stdlib.h>
#include <string.h>

#include "topology/forest_private.h"

bool weft_forest_cuts_init(struct weft_forest_cuts *cuts, int num_vertices)
{
    size_t words = (size_t)num_vertices * WEFT_FOREST_CUT_WORDS;
    *cuts = (struct weft_forest_cuts){.num_vertices = num_vertices};
    cuts->inside = calloc(words + 1, sizeof *cuts->inside);
    cuts->slack = calloc(WEFT_FOREST_MAX_CUTS, sizeof *cuts->slack);
    return cuts->inside && cuts->slack;
}

void weft_forest_cuts_free(struct weft_forest_cuts *cuts)
{
    free(cuts->inside);
    free(cuts->slack);
    *cuts = (struct weft_forest_cuts){0};
}

void weft_forest_cuts_forget(struct weft_forest_cuts *cuts)
{
    cuts->num = cuts->num_ever = 0;
    memset(cuts->inside, 0,
           (size_t)cuts->num_vertices * WEFT_FOREST_CUT_WORDS * sizeof *cuts->inside);
}

bool weft_forest_cuts_has(const struct weft_forest_cuts *cuts, int cut, int vertex)
{
    return cuts->inside[(size_t)vertex * WEFT_FOREST_CUT_WORDS + (size_t)cut / 64] >> (cut % 64) &
           1;
}

int weft_forest_cuts_keep(struct weft_forest_cuts *cuts, const struct weft_maxflow *flow,
                          int64_t slack)
{
    int cut = cuts->num_ever++ % WEFT_FOREST_MAX_CUTS;
    uint64_t bit = (uint64_t)1 << (cut % 64);
    if (cuts->num < WEFT_FOREST_MAX_CUTS)
        cuts->num++;
    for (int v = 0; v < cuts->num_vertices; v++) {
        uint64_t *word = &cuts->inside[(size_t)v * WEFT_FOREST_CUT_WORDS + (size_t)cut / 64];
        *word = weft_maxflow_is_on_source_side(flow, v) ? *word | bit : *word & ~bit;
    }
    cuts->slack[cut] = slack;
    return cut;
}
