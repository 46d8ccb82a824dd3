/*
 * SPDX-License-Identifier: Apache-2.0
 * Which switch is a leaf, a spine, a core switch: read off the cables, so that every source of a
 * fabric (InfiniBand, Slurm's tree, hosts put together) gets the same answer.
 */
#ifndef WEFT_TOPOLOGY_TIERS_H
#define WEFT_TOPOLOGY_TIERS_H

#include "topology/graph.h"

/* Sets the kind of every switch of the network (kinds leaf, spine, core-switch and switch) by its
 * distance from the switches that have NICs below; `switch` where no tiers can be seen. What was
 * decided against the look of things is remarked on in the name of `source`. Nothing else changes.
 * Errors: OUT_OF_MEMORY. */
weft_status weft_topology_find_tiers(struct weft_topology *topology, enum weft_source source,
                                     struct weft_error *error);

#endif
