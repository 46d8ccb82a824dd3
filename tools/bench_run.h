/*
 * SPDX-License-Identifier: Apache-2.0
 * Runs the sizes of `weft bench` on one communicator, over the public API alone. Every rank calls
 * the same functions with the same settings; agreement about results goes over the communicator.
 */
#ifndef WEFT_TOOLS_BENCH_RUN_H
#define WEFT_TOOLS_BENCH_RUN_H

#include "base/error.h"
#include "tools/bench_print.h"

enum { WEFT_BENCH_TUNE_ROUNDS = 7 };

struct weft_bench_settings {
    weft_collective collective; // WEFT_SEND stands for send_recv,
    bool in_turns;              // or for ping_pong
    size_t min_bytes, max_bytes, step_bytes;
    int64_t step_factor;
    int warmup_iterations, iterations, check_iterations;
    int dtype;             // -1: all
    int op;                // -1: all
    int root;              // -1: all
    const char *algorithm; // NULL: the planner's choice
    weft_order order;      // reproducible: timed in turns with free, planner's choice
    int tune_rounds;       // of weft_bench_tune, at most WEFT_BENCH_TUNE_ROUNDS
    bool ordinary_buffers; // of malloc; else of weft_mem_alloc
    const char *format;
};

/* The size that follows `bytes`; 0: it is the last. */
size_t weft_bench_next_bytes(const struct weft_bench_settings *settings, size_t bytes);
/* A buffer of the kind that the settings ask for. */
weft_status weft_bench_buffer_make(const struct weft_bench_settings *settings,
                                   weft_context *context, size_t bytes, void **buffer);
weft_status weft_bench_buffer_free(const struct weft_bench_settings *settings,
                                   weft_context *context, void *buffer);

/* Can this be run on so many ranks? INVALID_ARGUMENT (a root that is no rank, no such algorithm)
 * and UNSUPPORTED (the algorithm cannot do it). weft_bench_run asks this first. */
weft_status weft_bench_check(const struct weft_bench_settings *settings, int num_ranks,
                             struct weft_error *error);

/* Runs everything and prints on rank 0, nothing before the first result. *wrong is over all ranks.
 * Errors: those of the operations, OUT_OF_MEMORY, those of weft_bench_check. */
weft_status weft_bench_run(const struct weft_bench_settings *settings, weft_context *context,
                           weft_comm *comm, uint64_t *wrong, struct weft_error *error);

#endif
