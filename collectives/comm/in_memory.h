/*
 * SPDX-License-Identifier: Apache-2.0
 * Collectives among ranks that share memory, and what they share with those over messages.
 */
#ifndef WEFT_COLLECTIVES_COMM_IN_MEMORY_H
#define WEFT_COLLECTIVES_COMM_IN_MEMORY_H

#include "collectives/comm/request.h"

/* How bytes get to the others. */
enum weft_path {
    WEFT_PATH_PLAN,   // messages of a proved plan
    WEFT_PATH_FLAT,   // slots: everybody reads everything
    WEFT_PATH_SHARED, // direct exchange: every rank works on its share of what all see
};
extern const char *const weft_path_names[];

/* From agreed facts only: all ranks decide alike. */
enum weft_path weft_memory_path(struct weft_comm *comm, const struct weft_call *call);
struct weft_flat_call weft_memory_call(const struct weft_call *call, uint32_t sequence);
/* Picoseconds by the planner's prices; INT64_MAX where it has none. */
int64_t weft_memory_predict(const struct weft_comm *comm, enum weft_path path,
                            const struct weft_call *call);
/* One at a time, in order of submission. IN_PROGRESS, OK, or how the communicator has failed. */
weft_status weft_memory_poll(struct weft_comm *comm, enum weft_path path,
                             const struct weft_flat_call *call);
/* Lowest rank that is waited for. */
int weft_memory_missing(const struct weft_comm *comm, enum weft_path path);
/* Fails the communicator if a rank went through shared memory for this call number, but with
 * another call: what a rank that waits for it could not see before its deadline. */
void weft_memory_compare(struct weft_comm *comm, uint32_t sequence, uint64_t call);
/* A blocking operation with nothing else in flight: no operation object, no list, no clock until
 * the others keep us waiting. */
weft_status weft_memory_run_now(struct weft_comm *comm, enum weft_path path,
                                const struct weft_call *call);
/* The same for a call like the last one, which is not checked anew; false if it is not. */
bool weft_memory_repeat(struct weft_comm *comm, const weft_op_desc *desc, weft_status *status);

/* collective.c */
void weft_collective_fail_mismatch(struct weft_comm *comm, int peer, uint64_t theirs,
                                   uint64_t ours);
/* This rank makes call number `sequence`: holds it against what has arrived for that number, and
 * keeps it for what comes later. */
void weft_collective_note(struct weft_comm *comm, uint32_t sequence, uint64_t call);
/* What is left to do with the output: averages divide; logical results are 0 or 1, of a single
 * contribution too. */
void weft_collective_finish(const struct weft_call *call);
void weft_collective_trace(const struct weft_call *call, struct weft_comm *comm,
                           const char *algorithm, const char *transport, uint32_t sequence,
                           int64_t begin_ns, uint64_t sent, int64_t predicted_ps);

#endif
