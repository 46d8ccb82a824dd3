/*
 * SPDX-License-Identifier: Apache-2.0
 * The words of edge lists, for other forms that are written the same way.
 */
#ifndef WEFT_TOPOLOGY_EDGES_H
#define WEFT_TOPOLOGY_EDGES_H

#include "topology/graph.h"
#include "topology/lines.h"

/* A node's name, in which %20 is a blank. Errors: INVALID_FORMAT with the place. */
weft_status weft_edges_read_name(struct weft_lines *lines, struct weft_span *rest,
                                 char name[WEFT_TOPOLOGY_NAME_BYTES]);
/* A decimal number of GB/s above 0. Errors: as above. */
weft_status weft_edges_read_capacity(struct weft_lines *lines, struct weft_span *rest,
                                     int64_t *bytes);
/* Nothing but a comment may follow. Errors: as above. */
weft_status weft_edges_read_end(struct weft_lines *lines, struct weft_span rest);

#endif
