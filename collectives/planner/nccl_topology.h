/*
 * SPDX-License-Identifier: Apache-2.0
 * What NCCL 2.28 would make of a topology: the input of its price model, and what it would choose
 * there, as a sentence.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_NCCL_TOPOLOGY_H
#define WEFT_COLLECTIVES_PLANNER_NCCL_TOPOLOGY_H

#include "collectives/planner/nccl_model.h"
#include "topology/graph.h"

/* Ranks are placed as by weft_topology_place. `assumed` (may be NULL, size 0) says what the
 * topology does not tell, "" if nothing. Errors: UNSUPPORTED, with the reason why NCCL does not run
 * there (no NVIDIA GPUs, more ranks than GPUs, one rank); those of weft_topology_place;
 * OUT_OF_MEMORY. */
weft_status weft_nccl_input_from_topology(const struct weft_topology *topology, int num_ranks,
                                          struct weft_nccl_input *input, char *assumed, size_t size,
                                          struct weft_error *error);
/* Of ranks on these nodes, at most one on each; NULL: as above. */
weft_status weft_nccl_input_from_nodes(const struct weft_topology *topology, const int *nodes,
                                       int num_ranks, struct weft_nccl_input *input, char *assumed,
                                       size_t size, struct weft_error *error);

enum { WEFT_NCCL_ASSUMED_BYTES = 100 }; // suffice for `assumed`
void weft_nccl_describe(const struct weft_nccl_prediction *prediction, const char *assumed,
                        char *text, size_t size);
/* "NCCL 2.28 would take ring/LL128 with 16 channels and predicts 123 us", with what was assumed:
 * both of the above in one. `prediction` may be NULL. Errors: as above, and those of
 * weft_nccl_predict. */
weft_status weft_nccl_explain(const struct weft_topology *topology, weft_collective collective,
                              int num_ranks, uint64_t bytes,
                              struct weft_nccl_prediction *prediction, char *text, size_t size,
                              struct weft_error *error);

#endif
