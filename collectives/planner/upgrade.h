/*
 * SPDX-License-Identifier: Apache-2.0
 * Which links would buy most: the bound of a collective with twice the bandwidth on one link, or on
 * all links of a sort.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_UPGRADE_H
#define WEFT_COLLECTIVES_PLANNER_UPGRADE_H

#include "collectives/planner/bound.h"
#include "topology/graph.h"

enum { WEFT_UPGRADES_LIMIT = 16 };

struct weft_upgrade {
    char links[160];    // "the 64 links between NIC and leaf switch of 50 GB/s"
    int num_links;      // 1: one of them alone, the one named
    int64_t ps_per_mib; // the bound with twice the bandwidth there
    double gain;        // of the rate: 0.25 is a quarter more
};

/* Of the sorts of links of a layout's network (joined kinds of nodes, and bandwidth); all links of
 * a sort, then the best single link. The largest gain first; none without gain. `num` at most
 * WEFT_UPGRADES_LIMIT. Errors: UNSUPPORTED (there is no bound; with the reason), OUT_OF_MEMORY. */
weft_status weft_upgrades_find(const struct weft_topology *topology,
                               const struct weft_layout *layout, const struct weft_key *key,
                               struct weft_upgrade *upgrades, int *num, struct weft_error *error);

#endif
