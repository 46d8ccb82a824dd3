/*
 * SPDX-License-Identifier: Apache-2.0
 * A drawing of a topology with traffic on it: what a plan does to the links.
 */
#ifndef WEFT_TOPOLOGY_DRAW_H
#define WEFT_TOPOLOGY_DRAW_H

#include <stdio.h>

#include "topology/graph.h"

/* SVG like the exporter's, of a topology in canonical order (as loaded). bytes[link]: what goes
 * over each link, in the busier direction; links are coloured by the time that takes, against the
 * busiest one. `caption`: a line below the title. Errors: OUT_OF_MEMORY. Failures of the stream are
 * the caller's to notice. */
weft_status weft_topology_draw_traffic(const struct weft_topology *topology, const int64_t *bytes,
                                       const char *caption, FILE *stream, struct weft_error *error);

#endif
