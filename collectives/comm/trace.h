/*
 * SPDX-License-Identifier: Apache-2.0
 * A Chrome trace of what really ran: one file per rank and communicator in the folder WEFT_TRACE,
 * one complete event per operation, with plan, bytes, and the predicted time beside the measured.
 */
#ifndef WEFT_COLLECTIVES_COMM_TRACE_H
#define WEFT_COLLECTIVES_COMM_TRACE_H

#include "collectives/comm/internal.h"

struct weft_trace_event {
    const char *collective;
    const char *algorithm;
    const char *transport;
    uint32_t sequence;
    uint64_t bytes;      // of the logical vector
    uint64_t bytes_sent; // by this rank
    int64_t begin_ns, end_ns;
    int64_t predicted_ps; // INT64_MAX: not predicted
};

/* Opens the file on first use; a trace that cannot be written is logged once and given up. */
void weft_trace_add(struct weft_comm *comm, const struct weft_trace_event *event);
/* Finishes the file. NULL is allowed; clears *trace. */
void weft_trace_close(struct weft_trace **trace);

#endif
