/*
 * SPDX-License-Identifier: Apache-2.0
 * The end of every creation: a communicator that was made attaches the slots of ranks that share
 * memory, takes rank 0's graph and measured times if there are any, then waits for everybody to
 * have come this far: a rank that fails right after its creation must not look like a failure of
 * the others' creation.
 */
#ifndef WEFT_COLLECTIVES_COMM_SETTLE_H
#define WEFT_COLLECTIVES_COMM_SETTLE_H

#include "collectives/comm/internal.h"

/* Zero-filled, then what was made before. */
struct weft_settling {
    struct weft_comm *comm; // made, not yet the caller's
    struct weft_area area;  // of this rank; the communicator's once it is attached
    uint64_t *offsets;      // (its ranks) of areas
    char *text;             // rank 0's, on its way to all: measured times, a graph; NULL: none
    size_t tune_bytes, graph_bytes;
    // Its own:
    bool is_attached, is_waiting;
    int64_t lost_ns; // when a connection was lost meanwhile; 0: none was
    weft_request spread, barrier;
};

/* Room for rank 0's text, once the ranks have met; rank 0 has it already. A graph counts in worlds
 * of several hosts only. Errors: INVALID_FORMAT, OUT_OF_MEMORY. */
weft_status weft_settling_expect_text(const struct weft_world *world,
                                      struct weft_settling *settling, struct weft_error *error);
/* IN_PROGRESS, or OK once `comm` is ready to be handed over; as part of `operation`. */
weft_status weft_settling_progress(struct weft_settling *settling,
                                   const struct weft_operation *operation,
                                   struct weft_error *error);
/* What was not handed over. */
void weft_settling_release(struct weft_context *context, struct weft_settling *settling);

#endif
