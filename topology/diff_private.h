/*
 * SPDX-License-Identifier: Apache-2.0
 * Which node of one topology is which of the other: diff_match.c finds it, diff.c uses it.
 */
#ifndef WEFT_TOPOLOGY_DIFF_PRIVATE_H
#define WEFT_TOPOLOGY_DIFF_PRIVATE_H

#include "topology/diff.h"

struct weft_match {
    const struct weft_topology *before, *after;
    int *after_of;  // of each node before: the node after; -1: gone
    int *before_of; // the other way round; -1: new
};

/* Errors: OUT_OF_MEMORY. Free with weft_match_free, also after a failure. */
weft_status weft_match_nodes(struct weft_match *match, struct weft_error *error);
void weft_match_free(struct weft_match *match);

#endif
