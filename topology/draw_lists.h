/*
 * SPDX-License-Identifier: Apache-2.0
 * What the lists of a page hold. Private to draw_html.c and draw_lists.c.
 */
#ifndef WEFT_TOPOLOGY_DRAW_LISTS_H
#define WEFT_TOPOLOGY_DRAW_LISTS_H

#include "topology/draw_private.h"

struct weft_listed {
    bool is_whole; // every node
    bool *is_full; // per node; of outermost ones: listed with contents
    int num_full;  // nodes
    int num_named; // outermost nodes of which only the name is listed
};

/* Fills all but is_full itself, which has num_nodes entries. */
void weft_draw_choose_listed(const struct weft_drawing *drawing, struct weft_listed *listed);
void weft_draw_nodes(const struct weft_drawing *drawing, const struct weft_listed *listed,
                     FILE *stream);
void weft_draw_links(const struct weft_drawing *drawing, const struct weft_listed *listed,
                     FILE *stream);
/* "b7 b12": the boxes that show a node. */
void weft_draw_boxes_of(const struct weft_drawing *drawing, int node, FILE *stream);

#endif
