/*
 * SPDX-License-Identifier: Apache-2.0
 * Hosts behind a fabric that nobody can see, grouped by how near they measured to each other:
 * average-linkage clustering of "how many times worse than the best pair", cut where the distance
 * grows most, if it grows by WEFT_GROUPING_GAP_PERCENT at least. Averages over pairs make it robust
 * against single bad pairs; noise below the gap cannot split a group. Pure and deterministic.
 */
#ifndef WEFT_TOPOLOGY_GROUPING_H
#define WEFT_TOPOLOGY_GROUPING_H

#include "topology/graph.h"

enum {
    WEFT_GROUPING_GAP_PERCENT = 150, // from one level to the next
    WEFT_GROUPING_MAX_HOSTS = 2048,
};

/* What was measured between hosts i and j is at [i * num_hosts + j]; the diagonal is not read, the
 * worse of both directions counts, -1 is not measured (neither figure: as far as the farthest). */
struct weft_pairs {
    int num_hosts;
    const int64_t *latency_ps;
    const int64_t *bandwidth; // bytes per second
};

/* group_of has num_hosts entries; groups are numbered by their first host. Errors: INVALID_ARGUMENT
 * (number of hosts), OUT_OF_MEMORY. */
weft_status weft_pairs_group(const struct weft_pairs *pairs, int *group_of, int *num_groups,
                             struct weft_error *error);

/* Adds what the groups say to the graph: a guessed switch per group, joined to ends[i] (the NIC or
 * host node of host i) and, where there are several, to one switch between the groups. Figures are
 * measured ones: of a host the best of its pairs, of a group the median to the others. Errors: as
 * above. */
weft_status weft_topology_add_groups(struct weft_topology *topology, const struct weft_pairs *pairs,
                                     const int *ends, struct weft_error *error);

#endif
