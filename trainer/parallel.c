/*
 * SPDX-License-Identifier: Apache-2.0
 * See parallel.h. Every call of the library stands between enter() and leave(), so that the time
 * reported as communication is all of it and nothing else.
 */
#include "trainer/parallel.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

// Backward closes once per layer, and no model has more layers than that.
enum { MAX_BUCKETS = 160 };

struct weft_parallel {
    weft_context *context;
    weft_comm *comm;
    struct weft_layout layout;
    int64_t communication_ns;
    // The gradient sum in progress:
    float *gradients;
    size_t count, bucket_floats;
    size_t launched; // floats whose sum has been started
    bool leave_out;
    weft_status status; // first failure
    weft_request buckets[MAX_BUCKETS];
    int num_buckets, num_done;
};

static int64_t enter(void)
{
    return weft_clock_ns();
}

static void leave(struct weft_parallel *parallel, int64_t since)
{
    parallel->communication_ns += weft_clock_ns() - since;
}

static weft_status fail_comm(const struct weft_parallel *parallel, weft_status status,
                             const char *what, struct weft_error *error)
{
    const char *text = weft_comm_error_text(parallel->comm);
    return weft_fail(error, status, "%s: %s", what,
                     text && *text ? text : weft_status_text(status));
}

weft_status weft_parallel_create(struct weft_parallel **parallel, struct weft_error *error)
{
    struct weft_parallel *new = calloc(1, sizeof *new);
    if (!new)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    weft_status status = weft_context_create(&new->context);
    if (status == WEFT_OK)
        status = weft_comm_create_from_environment(new->context, &new->comm, NULL);
    if (status != WEFT_OK) {
        const char *text = weft_context_error_text(new->context); // "": the library has logged why
        weft_fail(error, status, "cannot start: %s", *text ? text : weft_status_text(status));
        weft_parallel_destroy(&new);
        return status;
    }
    new->layout.data_rank = weft_comm_rank(new->comm);
    new->layout.num_data = weft_comm_num_ranks(new->comm);
    *parallel = new;
    return WEFT_OK;
}

weft_status weft_parallel_close(struct weft_parallel *parallel, struct weft_error *error)
{
    weft_status status = weft_comm_finalize(parallel->comm, NULL);
    return status == WEFT_OK ? WEFT_OK : fail_comm(parallel, status, "finalize", error);
}

void weft_parallel_destroy(struct weft_parallel **parallel)
{
    if (!parallel || !*parallel)
        return;
    weft_comm_destroy(&(*parallel)->comm);
    weft_context_destroy(&(*parallel)->context);
    free(*parallel);
    *parallel = NULL;
}

struct weft_layout weft_parallel_layout(const struct weft_parallel *parallel)
{
    return parallel->layout;
}

int64_t weft_parallel_communication_ns(const struct weft_parallel *parallel)
{
    return parallel->communication_ns;
}

weft_status weft_parallel_alloc(struct weft_parallel *parallel, size_t bytes, void **memory,
                                struct weft_error *error)
{
    weft_status status = weft_mem_alloc(parallel->context, bytes, memory);
    if (status != WEFT_OK)
        return weft_fail(error, status, "%zu bytes of shared memory: %s", bytes,
                         weft_context_error_text(parallel->context));
    memset(*memory, 0, bytes);
    return WEFT_OK;
}

void weft_parallel_free(struct weft_parallel *parallel, void *memory)
{
    // It fails only for memory that is not ours, which would be a bug of the caller's.
    weft_status ignored = weft_mem_free(parallel->context, memory);
    (void)ignored;
}

void weft_parallel_gradients_begin(struct weft_parallel *parallel, float *gradients, size_t count,
                                   size_t bucket_floats, bool leave_out)
{
    parallel->gradients = gradients;
    parallel->count = count;
    parallel->bucket_floats = bucket_floats;
    parallel->launched = 0;
    parallel->leave_out = leave_out;
    parallel->status = WEFT_OK;
    parallel->num_buckets = parallel->num_done = 0;
}

// Alone there is nothing to add and no reason to call.
static bool is_alone(const struct weft_parallel *parallel)
{
    return parallel->layout.num_data == 1;
}

void weft_parallel_gradients_closed(void *argument, size_t end)
{
    struct weft_parallel *parallel = argument;
    size_t length = end - parallel->launched;
    float *bucket = parallel->gradients + parallel->launched;
    if (parallel->status != WEFT_OK)
        return;
    int64_t since = enter();
    if (length > 0 && (length >= parallel->bucket_floats || end == parallel->count ||
                       parallel->num_buckets == MAX_BUCKETS - 1)) {
        if (parallel->leave_out)
            memset(bucket, 0, length * sizeof *bucket);
        if (!is_alone(parallel)) {
            parallel->status =
                weft_all_reduce(bucket, bucket, length, WEFT_FLOAT32, WEFT_SUM, parallel->comm,
                                &parallel->buckets[parallel->num_buckets]);
            parallel->num_buckets += parallel->status == WEFT_OK;
        }
        parallel->launched = end;
    }
    // Backward is the only one who can drive earlier buckets on: poll the oldest.
    if (parallel->status == WEFT_OK && parallel->num_done < parallel->num_buckets) {
        weft_status status = weft_test(&parallel->buckets[parallel->num_done]);
        if (status != WEFT_IN_PROGRESS)
            parallel->num_done++;
        if (status != WEFT_IN_PROGRESS && status != WEFT_OK)
            parallel->status = status;
    }
    leave(parallel, since);
}

weft_status weft_parallel_gradients_finish(struct weft_parallel *parallel, struct weft_error *error)
{
    int64_t since = enter();
    // After a failure the rest is still waited for: the buffers are in use until then.
    for (; parallel->num_done < parallel->num_buckets; parallel->num_done++) {
        weft_status status = weft_wait(&parallel->buckets[parallel->num_done]);
        if (parallel->status == WEFT_OK)
            parallel->status = status;
    }
    leave(parallel, since);
    if (parallel->status != WEFT_OK)
        return fail_comm(parallel, parallel->status, "sum of gradients", error);
    return WEFT_OK;
}

weft_status weft_parallel_sum(struct weft_parallel *parallel, double *values, size_t count,
                              struct weft_error *error)
{
    if (is_alone(parallel))
        return WEFT_OK;
    int64_t since = enter();
    weft_status status =
        weft_all_reduce(values, values, count, WEFT_FLOAT64, WEFT_SUM, parallel->comm, NULL);
    leave(parallel, since);
    return status == WEFT_OK ? WEFT_OK : fail_comm(parallel, status, "sum", error);
}

weft_status weft_parallel_broadcast(struct weft_parallel *parallel, void *data, size_t bytes,
                                    struct weft_error *error)
{
    if (is_alone(parallel))
        return WEFT_OK;
    int64_t since = enter();
    weft_status status = weft_broadcast(data, data, bytes, WEFT_UINT8, 0, parallel->comm, NULL);
    leave(parallel, since);
    return status == WEFT_OK ? WEFT_OK : fail_comm(parallel, status, "broadcast", error);
}

weft_status weft_parallel_share_outcome(struct weft_parallel *parallel, weft_status own,
                                        struct weft_error *error)
{
    uint32_t outcome = (uint32_t)own;
    WEFT_TRY(weft_parallel_broadcast(parallel, &outcome, sizeof outcome, error));
    if (parallel->layout.data_rank == 0 || outcome == WEFT_OK)
        return (weft_status)outcome;
    return weft_fail(error, (weft_status)outcome, "%s", "");
}

weft_status weft_parallel_agree(struct weft_parallel *parallel, uint64_t value, const char *what,
                                struct weft_error *error)
{
    if (is_alone(parallel))
        return WEFT_OK;
    // The largest of v and of -v agree only if all values are equal. 62 bits keep both in range.
    int64_t kept = (int64_t)(value >> 2);
    int64_t ends[2] = {kept, -kept};
    int64_t since = enter();
    weft_status status = weft_all_reduce(ends, ends, 2, WEFT_INT64, WEFT_MAX, parallel->comm, NULL);
    leave(parallel, since);
    if (status != WEFT_OK)
        return fail_comm(parallel, status, what, error);
    if (ends[0] != -ends[1])
        return weft_fail(error, WEFT_MISMATCH, "%s differs between ranks", what);
    return WEFT_OK;
}
