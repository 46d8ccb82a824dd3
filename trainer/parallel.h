/*
 * SPDX-License-Identifier: Apache-2.0
 * The trainer's only contact with other ranks: who is where in the layout, the gradient buffer
 * reduced in buckets while backward still runs, small sums, broadcast. All of it is calls of the
 * public API (weft/weft.h), and the time spent inside them is counted.
 *
 * Every function that communicates is collective: all ranks call the same ones in the same order.
 */
#ifndef WEFT_TRAINER_PARALLEL_H
#define WEFT_TRAINER_PARALLEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Where this rank stands. Tensor and pipeline coordinates will be more fields. */
struct weft_layout {
    int data_rank;
    int num_data;
};

struct weft_parallel;

/* Meets the other ranks that the launcher started (without one: alone). */
weft_status weft_parallel_create(struct weft_parallel **parallel, struct weft_error *error);
/* Collective: returns when all ranks are done; afterwards only destroy. */
weft_status weft_parallel_close(struct weft_parallel *parallel, struct weft_error *error);
/* Local. Without a close before it, the other ranks' operations end with an error. */
void weft_parallel_destroy(struct weft_parallel **parallel);

struct weft_layout weft_parallel_layout(const struct weft_parallel *parallel);
/* Time this rank has spent in communication calls since it was created. */
int64_t weft_parallel_communication_ns(const struct weft_parallel *parallel);

/* Zeroed memory that peers may reach without a copy; free it before destroy. */
weft_status weft_parallel_alloc(struct weft_parallel *parallel, size_t bytes, void **memory,
                                struct weft_error *error);
void weft_parallel_free(struct weft_parallel *parallel, void *memory);

/* Sums gradients[0, count) over all ranks, in place, in this order: begin; then closed() each time
 * a longer front part is final (the last time all of it), which starts the sum of what has gathered
 * once it is `bucket_floats` long; then finish, which waits for all. `leave_out`: this rank
 * contributes zeros, to see that a lost contribution is noticed. */
void weft_parallel_gradients_begin(struct weft_parallel *parallel, float *gradients, size_t count,
                                   size_t bucket_floats, bool leave_out);
/* Shaped as weft_gradient_closed. An error is kept until finish. */
void weft_parallel_gradients_closed(void *parallel, size_t end);
weft_status weft_parallel_gradients_finish(struct weft_parallel *parallel,
                                           struct weft_error *error);

/* Sums each value over all ranks, in place. */
weft_status weft_parallel_sum(struct weft_parallel *parallel, double *values, size_t count,
                              struct weft_error *error);
/* From data rank 0. */
weft_status weft_parallel_broadcast(struct weft_parallel *parallel, void *data, size_t bytes,
                                    struct weft_error *error);
/* Rank 0's outcome becomes everyone's: all return its status; only rank 0 keeps the sentence, the
 * others get an empty one, so that it is told once. */
weft_status weft_parallel_share_outcome(struct weft_parallel *parallel, weft_status own,
                                        struct weft_error *error);
/* MISMATCH on every rank unless `value` is equal on all; `what` names it in the sentence. */
weft_status weft_parallel_agree(struct weft_parallel *parallel, uint64_t value, const char *what,
                                struct weft_error *error);

#endif
