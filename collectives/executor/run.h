/*
 * SPDX-License-Identifier: Apache-2.0
 * Executing a plan. A run is a plan made ready once (lookup tables, states, buffers) and launched
 * again and again with other buffers and counts; it takes plans only, so nothing unproved runs.
 *
 * A launch posts every step whose channel predecessor has posted and whose dependencies are
 * complete; completions of messages drive the rest from inside the transports' progress. Per chunk
 * it does no allocation, takes no lock and makes no system call of its own.
 */
#ifndef WEFT_COLLECTIVES_EXECUTOR_RUN_H
#define WEFT_COLLECTIVES_EXECUTOR_RUN_H

#include "collectives/program/plan.h"
#include "kernels/reduce.h"
#include "transport/transport.h"

struct weft_run;

/* Sizes of the cells of one launch, in elements. */
struct weft_sizes {
    size_t count;              // of a block; uniform collectives
    const size_t *input_ends;  // (blocks + 1) prefix sums of the input's block sizes, or NULL
    const size_t *output_ends; // (blocks + 1) the same for the output, or NULL
};

struct weft_launch {
    const void *send;
    void *recv;
    struct weft_sizes sizes; // pointees stay valid until the run ends
    size_t element_bytes;
    weft_reduce_fn reduce;                // NULL where the collective combines nothing
    struct weft_message_key key;          // comm, sequence, epoch; lane and index are filled in
    uint16_t first_lane;                  // added to the channel
    uint64_t call;                        // signature of the call
    struct weft_connection *const *peers; // (num_ranks) by rank; NULL where no lane goes
    /* Called once at the end, from progress or from launch itself: OK, or why not. */
    void (*done)(void *argument, weft_status status);
    void *argument;
};

/* Where a run stands, for the sentence of an error. */
struct weft_run_wait {
    uint32_t step;
    int peer;        // -1: waits for nobody
    bool is_receive; // waits for data from the peer (else: for the peer to take data)
};

/* `plan` must outlive the run. */
weft_status weft_run_create(const struct weft_plan *plan, struct weft_run **run,
                            struct weft_error *error);
/* Cancels what is in flight. NULL allowed; clears *run. */
void weft_run_destroy(struct weft_run **run);
bool weft_run_is_idle(const struct weft_run *run);
/* The run must be idle. Errors (nothing launched): OUT_OF_MEMORY. */
weft_status weft_run_launch(struct weft_run *run, const struct weft_launch *launch,
                            struct weft_error *error);
/* Ends a launch without calling done; its buffers are no longer touched. */
void weft_run_cancel(struct weft_run *run);
/* The earliest step that is posted and not complete; step == num_steps when there is none. */
struct weft_run_wait weft_run_where(const struct weft_run *run);
/* After done with MISMATCH or REMOTE: the peer, and what it sent. */
struct weft_transfer weft_run_failure(const struct weft_run *run, int *peer);
/* Bytes this rank sends in the current or last launch. */
uint64_t weft_run_bytes_sent(const struct weft_run *run);

/* Offset in elements of `cell` in the logical vector of the input or output. */
size_t weft_sizes_offset(const struct weft_shape *shape, const struct weft_sizes *sizes,
                         enum weft_space space, uint32_t cell);

#endif
