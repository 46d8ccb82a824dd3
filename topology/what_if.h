/*
 * SPDX-License-Identifier: Apache-2.0
 * A topology that does not exist (yet, or any more): a copy with changes, written as
 *
 *   remove NODE          the node, what it contains, and all their links; KIND:NODE names its kind
 *   remove link A B      all links between two nodes
 *   set A B CAPACITY     the links between them carry CAPACITY GB/s per direction, together
 *   add A B CAPACITY     one more link between them, of the kind of those that A has
 *
 * one after another, each on a line or after a ';'. Names as in edge lists (%20 is a blank).
 */
#ifndef WEFT_TOPOLOGY_WHAT_IF_H
#define WEFT_TOPOLOGY_WHAT_IF_H

#include "topology/graph.h"

/* Errors: INVALID_FORMAT ("what-if:LINE: reason"), NOT_FOUND (a node or link that is not there),
 * OUT_OF_MEMORY. */
weft_status weft_topology_what_if(const struct weft_topology *topology, const char *changes,
                                  struct weft_topology **changed, struct weft_error *error);

#endif
