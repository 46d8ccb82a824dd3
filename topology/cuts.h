/*
 * SPDX-License-Identifier: Apache-2.0
 * What a weak link costs: how many bytes per second the narrowest cut through it gives less than it
 * would if every link gave what it should. A cut is taken near the link, where weak links hurt:
 *
 *   pcie          what hangs below the link, a NIC with no more than its cable, against the top of
 *                 its PCIe tree: the flow upwards through the link, as the ways above it allow
 *   nvlink, xgmi  a GPU against the other GPUs that such links join to it: their maximum flow,
 *                 exact for groups of up to 4,096 links; above, or when many weak links have used
 *                 up the work allowed, what leaves the GPU
 *   network       a NIC: the narrower of its cable and its PCIe way; a switch: the narrower of what
 *                 comes from below it and what goes up from it
 *   others        the link itself
 *
 * A weak link beside a narrower place costs nothing; several weak links of one cut cost their sum.
 * The planner's exact bound, which looks at all cuts, is to replace this.
 */
#ifndef WEFT_TOPOLOGY_CUTS_H
#define WEFT_TOPOLOGY_CUTS_H

#include "topology/graph.h"

/* What link i gives now and what it should give; without a defect the two are equal. */
struct weft_capacity {
    int64_t is, should;
};

struct weft_cuts;
/* Starts with what the graph says: the best known figure of each link (of PCIe links without one:
 * as wide as need be), and no defect. The topology must not change and must outlive the cuts.
 * Errors: OUT_OF_MEMORY. */
weft_status weft_cuts_create(const struct weft_topology *topology, struct weft_cuts **cuts,
                             struct weft_error *error);
void weft_cuts_destroy(struct weft_cuts **cuts);
/* Marks a defect: link `link` should give `should` bytes per second. All defects are marked before
 * the first weft_cuts_loss. */
void weft_cuts_mark(struct weft_cuts *cuts, int link, int64_t should);
/* Bytes per second and direction that the narrowest cut through `link` loses. 0: nothing. */
int64_t weft_cuts_loss(struct weft_cuts *cuts, int link);

#endif
