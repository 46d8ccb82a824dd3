/*
 * SPDX-License-Identifier: Apache-2.0
 * Large messages among ranks that share memory. Every rank works on its share of all vectors, in
 * memory that all of them see: it combines its slice of everybody's contribution, or takes what is
 * for it, and nobody sends anything. Where all buffers are shared (weft_mem_alloc), ranks read and
 * write them in place: a sum of two vectors costs two reads and two writes of a slice, the least
 * there is. Other buffers go in chunks through stages, so that one chunk is copied in while the one
 * before is combined and the one before that is copied out; or, where nothing is combined, straight
 * from the other process (fetch.h), if the system allows it and that is faster: both are timed as
 * it goes, on all ranks, and what each has seen is told with the next operation, so all decide
 * alike.
 *
 * Turns. A rank counts the turns it has finished in a word of its own area; a turn begins when all
 * others have finished the one before. What is staged in a turn is read in the next one, so of
 * three stages none is written while somebody may still read it; the first turn of an operation
 * waits for nobody. Stages, and results of all-reduces where nothing is staged, are written into
 * the caches or past them (spill.h).
 *
 * As with the flat path, the code that moves the data also writes down what it does as a program,
 * which goes through the check and the oracle. Which end of it moves which part of what goes
 * between a root and another rank is not in the program.
 */
#ifndef WEFT_COLLECTIVES_EXECUTOR_SHARED_H
#define WEFT_COLLECTIVES_EXECUTOR_SHARED_H

#include "base/dtype.h"
#include "collectives/executor/fetch.h"
#include "collectives/executor/flat.h"
#include "collectives/executor/spill.h"
#include "transport/transport.h"

enum { WEFT_SHARED_STAGES = 3 };
enum weft_shared_state {
    WEFT_SHARED_IDLE,
    WEFT_SHARED_ANNOUNCED, // it is not known yet which way all can go
    WEFT_SHARED_STAGED,
    WEFT_SHARED_LEAVING, // done with others' buffers; they may not be with this rank's
};
/* Of what is only copied, where the system allows it. */
enum weft_fetching { WEFT_FETCH_AUTO, WEFT_FETCH_NEVER, WEFT_FETCH_ALWAYS };

/* A buffer that others can map. */
struct weft_shared_buffer {
    struct weft_shared_block block;
    uint64_t within;
};

struct weft_shared {
    int rank, num_ranks;
    size_t stage_bytes;
    char *areas[WEFT_FLAT_RANKS_LIMIT]; // by rank; the own one is written, the rest read
    struct weft_device *device;         // that shares
    struct weft_connection *const *peers;
    size_t cache_bytes; // of the last cache, for all ranks
    uint64_t turns;     // finished
    uint32_t operations;
    struct weft_spill stage_spills[WEFT_NUM_COLLECTIVES][WEFT_SPILL_CLASSES];
    struct weft_spill result_spills[WEFT_SPILL_CLASSES];                 // of mapped all-reduces
    struct weft_spill fetches[WEFT_NUM_COLLECTIVES][WEFT_SPILL_CLASSES]; // way 1: fetched
    enum weft_fetching fetching;
    bool is_reach_known, can_fetch;      // all, as far as is known, each of all others
    int64_t pids[WEFT_FLAT_RANKS_LIMIT]; // that can be read
    struct weft_spill_stretch told;      // the operation before, with the time of this rank
    // The operation under way.
    enum weft_shared_state state;
    bool is_mapped, is_fetched;
    bool streams;                      // results are written past the caches
    struct weft_spill_stretch stretch; // staged
    struct weft_spill_stretch trial;   // staged or fetched: the operation
    int64_t here_ns;                   // when all had come to it
    int ready;          // ranks that are known to have finished the turn before: 0 ... ready - 1
    uint64_t first;     // turn of the operation
    size_t chunk_bytes; // of a block
    const char *sends[WEFT_FLAT_RANKS_LIMIT]; // mapped; fetched: in its process
    char *recvs[WEFT_FLAT_RANKS_LIMIT];
};

/* Bytes of memory of one rank; must be zero before first use. */
size_t weft_shared_area_bytes(size_t stage_bytes);
/* The communicator has failed or is given up: when this returns nobody begins to work in this
 * rank's buffers any more, and nobody writes there but a process that does not get to run. */
void weft_shared_leave(struct weft_shared *shared);
/* Writes into the own area, before others have it, where this process can be read. */
void weft_shared_offer(char *area);
/* Whether the collective can go this way; depends on agreed facts only. */
bool weft_shared_supports(weft_collective collective);
/* Does what can be done of the current operation. IN_PROGRESS: call again (with the same call).
 * MISMATCH: rank *peer made another call, *peer_call. Others: *peer's buffer cannot be mapped. */
weft_status weft_shared_progress(struct weft_shared *shared, const struct weft_flat_call *call,
                                 int *peer, uint64_t *peer_call);
/* Whether `rank` has last gone this way for operation number `sequence`, and with which
 * call: for a rank that made operation `sequence` another way. */
bool weft_shared_peek(const struct weft_shared *shared, int rank, uint32_t sequence,
                      uint64_t *call);
/* Lowest rank that is waited for; -1: none. */
int weft_shared_missing(const struct weft_shared *shared);
/* Whether `rank` has finished the turns that this rank has. */
bool weft_shared_has_come(const struct weft_shared *shared, int rank);

/* The program that is executed, recorded from the code that executes it: in place, or through
 * stages. Sums are of as many pieces as there are ranks; two ranks at least. */
weft_status weft_shared_trace(const struct weft_shape *shape, bool is_mapped,
                              struct weft_program **program, struct weft_error *error);

#endif
