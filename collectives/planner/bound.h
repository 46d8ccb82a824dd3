/*
 * SPDX-License-Identifier: Apache-2.0
 * The least time that a collective can take on the links of a layout, whatever the algorithm:
 * latency, software and the order of steps cost nothing, only bytes over cuts count. Predictions
 * are shown as a share of it.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_BOUND_H
#define WEFT_COLLECTIVES_PLANNER_BOUND_H

#include "collectives/planner/algorithm.h"

struct weft_bound {
    const char *reason;       // why there is none; NULL: there is one
    const char *label;        // what it is: "cut optimum", ...
    int64_t ps_per_mib;       // of the logical vector
    int64_t equal_ps_per_mib; // all-reduce: with equal shards on all ranks; else 0
    int num_cut;              // terminals on one side of the bottleneck; 0: not known
    char cut[160];            // the bottleneck in words: "rank 3 against all others"
};

/* Of all-gather, reduce-scatter, broadcast, reduce, gather, scatter: the exact cut optimum.
 * All-reduce: the optimum over all splits of the vector among roots, up to WEFT_BOUND_RANKS ranks;
 * above, that of equal shards. All-to-all: the worst of the cuts around ranks and groups. Errors:
 * OUT_OF_MEMORY. */
enum { WEFT_BOUND_RANKS = 256 };
weft_status weft_bound_find(const struct weft_layout *layout, const struct weft_key *key,
                            struct weft_bound *bound, struct weft_error *error);
/* Picoseconds for `bytes` of logical vector. */
int64_t weft_bound_time(const struct weft_bound *bound, int64_t bytes);

#endif
