/*
 * SPDX-License-Identifier: Apache-2.0
 * Exchanges through shared memory, in two parts: turns and ways (shared.c), and which bytes move in
 * a turn (shared_move.c). What both see of the areas.
 */
#ifndef WEFT_COLLECTIVES_EXECUTOR_SHARED_PRIVATE_H
#define WEFT_COLLECTIVES_EXECUTOR_SHARED_PRIVATE_H

#include <stdalign.h>
#include <stdatomic.h>

#include "collectives/executor/shared_walk.h"

/* What a rank says about an operation before its first turn ends. */
struct shared_header {
    _Atomic uint64_t sequence; // + 1; written last
    _Atomic uint64_t call;
    uint64_t is_mapped;
    uint64_t is_fetched, cannot_fetch;   // it would be; it cannot be on this rank
    uint64_t has_failed;                 // to fetch; written before the turn ends
    uint64_t send_address, recv_address; // in its process
    int64_t told_ns;                     // what the operation before took, where that was timed
    struct weft_shared_buffer send, recv;
};

struct shared_board {
    struct weft_fetch_offer offer;
    // Once this rank has left its buffers are its own; who writes into them says so before.
    alignas(128) _Atomic uint32_t has_left;
    alignas(128) _Atomic uint32_t writers;
    alignas(128) _Atomic uint64_t turns;
    alignas(128) struct shared_header headers[2]; // operations take turns with them
};

enum { SHARED_BOARD_BYTES = 4096, SHARED_LINE_BYTES = 64 };
_Static_assert(sizeof(struct shared_board) <= SHARED_BOARD_BYTES, "stages begin at a page");

static inline struct shared_board *weft_shared_board(const struct weft_shared *shared, int rank)
{
    return (struct shared_board *)shared->areas[rank];
}

static inline struct shared_header *weft_shared_header(const struct weft_shared *shared, int rank)
{
    return &weft_shared_board(shared, rank)->headers[shared->operations % 2];
}

static inline bool weft_shared_is_one_block(weft_collective collective) // a rank's contribution
{
    return collective == WEFT_ALL_GATHER || collective == WEFT_BROADCAST ||
           collective == WEFT_GATHER;
}

// Whether others read the input of rank `rank`.
static inline bool weft_shared_is_shown(const struct weft_flat_call *call, int rank)
{
    if (call->collective == WEFT_BROADCAST || call->collective == WEFT_SCATTER)
        return rank == call->root;
    return call->collective != WEFT_GATHER || rank != call->root;
}

static inline size_t weft_shared_num_chunks(const struct weft_shared *shared,
                                            const struct weft_flat_call *call)
{
    return (call->bytes + shared->chunk_bytes - 1) / shared->chunk_bytes;
}

/* Moves all of it: in place, or fetched. */
void weft_shared_move_whole(struct weft_shared *shared, const struct weft_flat_call *call);
/* What turn `t` of a staged operation moves. Returns how many bytes of chunks that were. */
size_t weft_shared_move_chunks(struct weft_shared *shared, const struct weft_flat_call *call,
                               uint64_t t);

#endif
