/*
 * SPDX-License-Identifier: Apache-2.0
 * A topology as text for people: what this is, what to know about it, the tree, the links with
 * where each number came from, the way from each GPU to its NIC, what was assumed. What is alike is
 * shown once, so a cluster of thousands fits the screen too. Writes to the given stream only.
 */
#ifndef WEFT_TOPOLOGY_REPORT_H
#define WEFT_TOPOLOGY_REPORT_H

#include <stdio.h>

#include "topology/graph.h"

struct weft_report_options {
    bool verbose; // everything, nothing folded
    bool summary; // only what it is and what to know
    bool colour;  // ANSI colours
    bool ascii;   // no characters beyond ASCII
};

/* Errors: OUT_OF_MEMORY, SYSTEM (the stream failed). */
weft_status weft_topology_report(const struct weft_topology *topology,
                                 const struct weft_report_options *options, FILE *stream,
                                 struct weft_error *error);

#endif
