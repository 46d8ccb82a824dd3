/*
 * SPDX-License-Identifier: Apache-2.0
 * What measurements and topology know about this machine's RDMA devices, for the transport, which
 * divides bytes by it, and for prices.
 */
#ifndef WEFT_COLLECTIVES_COMM_RDMA_H
#define WEFT_COLLECTIVES_COMM_RDMA_H

#include "collectives/planner/costs.h"
#include "topology/measurements.h"
#include "transport/verbs_options.h"

struct weft_config;

enum { WEFT_RDMA_KNOWN_LIMIT = 32 };

struct weft_rdma_facts {
    struct weft_verbs_known known[WEFT_RDMA_KNOWN_LIMIT];
    int num_known;
    struct weft_curve message; // of one device to another; num_lines 0: not measured
};

/* From the cache (`weft topo --measure`) and, where WEFT_TOPOLOGY names a file of at most 4 MiB
 * that shows this host, how far the devices are from the memory of this process. What cannot be
 * found out is not known. Reads a few files; does not ask drivers. */
void weft_rdma_facts_find(const struct weft_config *config, struct weft_rdma_facts *facts);

/* The parts of it. `cores`: nodes of the graph that this process may run on, all of `host`. Errors:
 * OUT_OF_MEMORY. */
void weft_rdma_facts_measured(const struct weft_measurements *measurements,
                              struct weft_rdma_facts *facts);
weft_status weft_rdma_facts_near(const struct weft_topology *topology, int host, const int *cores,
                                 int num_cores, struct weft_rdma_facts *facts,
                                 struct weft_error *error);

/* Puts the price of messages over RDMA ports that carry `mbps` together in place of a level's. */
void weft_rdma_price(const struct weft_rdma_facts *facts, int64_t mbps,
                     struct weft_level_costs *level);

#endif
