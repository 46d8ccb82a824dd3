/*
 * SPDX-License-Identifier: Apache-2.0
 * What `weft bench` prints: nccl-tests' table (so that scripts which read it keep working; all that
 * Weft adds are lines that begin with '#'), JSON or CSV. Only rank 0 prints.
 */
#ifndef WEFT_TOOLS_BENCH_PRINT_H
#define WEFT_TOOLS_BENCH_PRINT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/nic_counters.h"
#include "weft/weft.h"

/* One placement (out of place, in place) of one size. */
struct weft_bench_timing {
    bool was_run;
    bool was_checked;
    double mean_us; // over the loop, averaged over the ranks
    double p50_us;  // of the slowest rank's time per iteration
    double p99_us;
    double algorithm_gbps; // GB/s = 10^9 bytes/s
    double bus_gbps;
    uint64_t wrong; // elements, over all ranks
    double free_us; // mean of the same in free order, timed in turns with this one; 0: was not
};

struct weft_bench_row {
    size_t bytes;
    size_t count;
    const char *type;
    const char *op;                      // "none" when nothing is reduced
    int root;                            // -1: no root
    struct weft_bench_timing timings[2]; // out of place, in place
    const char *plan;                    // NULL: not known
    double predicted_us;                 // of the plan, by the planner; 0: not known
    const char *transport;
    const char *free_plan; // of the timings in free order
    const char *buffers;   // "mem" or "malloc"
};

struct weft_bench_header {
    const char *version;
    const char *collective;
    int num_ranks;
    const char *const *rank_lines; // (num_ranks), "pid 12 on host"
    size_t min_bytes, max_bytes, step_bytes;
    int64_t step_factor; // 1: step_bytes is added instead
    int warmup_iterations, iterations, check_iterations;
};

struct weft_bench_end {
    double average_bus_gbps;
    uint64_t wrong;
    const struct weft_nic_counts *nics; // of rank 0's host: RDMA ports that moved something
    int num_nics;
};

struct weft_bench_printer {
    void (*begin)(FILE *stream, const struct weft_bench_header *header);
    void (*row)(FILE *stream, const struct weft_bench_row *row, bool is_first);
    void (*end)(FILE *stream, const struct weft_bench_end *end);
};

/* "nccl", "json" or "csv"; NULL for any other name. */
const struct weft_bench_printer *weft_bench_printer_from_name(const char *name);

#endif
