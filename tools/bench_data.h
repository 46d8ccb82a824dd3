/*
 * SPDX-License-Identifier: Apache-2.0
 * Inputs of `weft bench` and the check of its outputs. Every element is a function of (salt, rank,
 * position), so any rank can tell what any output must be without talking to the others. Reduced
 * inputs are small whole numbers whose every partial result is exact in the type, so the right
 * answer is one bit pattern whatever the order of the reduction; moved inputs are arbitrary bits.
 */
#ifndef WEFT_TOOLS_BENCH_DATA_H
#define WEFT_TOOLS_BENCH_DATA_H

#include <stdbool.h>

#include "weft/weft.h"

struct weft_bench_case {
    weft_collective collective; // WEFT_SEND: send to the next rank, receive from the one before,
    bool in_turns;              // or: ranks 0 and 1, 2 and 3, ... send to each other in turns
    weft_dtype dtype;
    weft_op op;
    int root;
    int rank;
    int num_ranks;
    size_t count;  // as in weft_op_desc
    uint64_t salt; // different for every run, so that old output is never taken for new
};

/* Elements that this rank sends and receives; 0 where the buffer is not looked at. */
size_t weft_bench_send_elements(const struct weft_bench_case *c);
size_t weft_bench_recv_elements(const struct weft_bench_case *c);
/* The scalar of this rank's pre-multiplied sums: one element. */
void weft_bench_scalar(const struct weft_bench_case *c, void *scalar);
void weft_bench_fill(const struct weft_bench_case *c, void *send);
/* The number of elements of the output that are not what they must be. */
size_t weft_bench_count_wrong(const struct weft_bench_case *c, const void *recv);

/* As nccl-tests does it: the count for a total size of `bytes`, and the bytes of the larger side.
 */
size_t weft_bench_count_for_bytes(weft_collective collective, size_t bytes, size_t element_bytes,
                                  int num_ranks);
size_t weft_bench_total_bytes(weft_collective collective, size_t count, size_t element_bytes,
                              int num_ranks);
/* Bus bandwidth over algorithm bandwidth. */
double weft_bench_bus_factor(weft_collective collective, int num_ranks);

#endif
