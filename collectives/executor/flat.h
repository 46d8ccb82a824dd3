/*
 * SPDX-License-Identifier: Apache-2.0
 * The flat path for small messages among ranks that share memory: every rank writes its
 * contribution into a slot of its own, all others read it there; one hop, no copies, no matching. A
 * slot is a header (flag, call) and the data behind it on the same cache lines; the flag is written
 * last (release) and read first (acquire). Slots take turns: a rank that has seen everybody's flag
 * of operation k + 1, which nobody raises before having read k, may write slot k again. Two would
 * do; with four, the next slot's lines can be fetched back early, and who has nothing that a rank
 * needs may be two operations behind it: the root of a broadcast does not wait for the others.
 *
 * Among many ranks, operations that end in one value go through groups (flat_walk.h), so that not
 * everybody reads every slot. No rank ends one before all have begun it; what groups and leaders
 * show lies in slots of its own, and these take turns by the same rule.
 *
 * It is no exception to "only proved plans run": the same code that moves the data, run with other
 * actions, writes down its accesses as a program, which goes through the check and the oracle.
 */
#ifndef WEFT_COLLECTIVES_EXECUTOR_FLAT_H
#define WEFT_COLLECTIVES_EXECUTOR_FLAT_H

#include "collectives/program/program.h"
#include "kernels/reduce.h"

enum { WEFT_FLAT_RANKS_LIMIT = 64, WEFT_FLAT_SLOTS = 4, WEFT_FLAT_HEADER_BYTES = 24 };

struct weft_flat {
    int rank;
    int num_ranks;
    int group;                          // weft_flat_group
    size_t data_bytes;                  // room of a slot
    char *areas[WEFT_FLAT_RANKS_LIMIT]; // by rank; the own one is written, the rest read
    uint32_t generation;                // operations done or begun
    uint64_t history;                   // of their calls: flags differ from then on if one did
    // Operations begun, at least, by rank: of those that were not read.
    uint32_t begun[WEFT_FLAT_RANKS_LIMIT];
    bool is_published; // the current one's contribution is out
    int stage;         // of the current one
    int num_seen;      // flags of the stage that were seen, in its order
    int awaited;       // rank of the next, which shall show something at
    int awaited_level; // this level
};

/* One operation. */
struct weft_flat_call {
    weft_collective collective;
    int root;
    const void *send;
    void *recv;
    size_t bytes; // of a block of the logical vector
    size_t element_bytes;
    weft_reduce_fn reduce;         // NULL where nothing is combined
    weft_reduce_all_fn reduce_all; // the same; for copies any
    bool is_canonical;             // combine in the canonical tree over the ranks
    uint64_t call;                 // signature, compared on all ranks
    uint32_t sequence;             // of the operation in its communicator, for weft_flat_peek
};

/* Bytes of memory of one rank for slots of `data_bytes`; must be zero before first use. */
size_t weft_flat_area_bytes(size_t data_bytes);
/* Ranks of a group: of all groups the fewest reads one after another. num_ranks: no groups. */
int weft_flat_group(int num_ranks);
/* Whether the collective and size can go this way; depends on agreed facts only. */
bool weft_flat_supports(weft_collective collective, int num_ranks, size_t block_bytes,
                        size_t data_bytes);
/* Tries to finish the current operation: publishes once, then looks at the flags. IN_PROGRESS: call
 * again (with the same call). MISMATCH: rank *peer made another call, *peer_call; if that is this
 * one, an earlier one was another. */
weft_status weft_flat_progress(struct weft_flat *flat, const struct weft_flat_call *call, int *peer,
                               uint64_t *peer_call);
/* Whether `rank` has last gone through the slots for operation number `sequence`, and with which
 * call: for a rank that made operation `sequence` another way. */
bool weft_flat_peek(const struct weft_flat *flat, int rank, uint32_t sequence, uint64_t *call);
/* Rank that is waited for; in groups, one that has not begun the current operation, if there is
 * any; -1 without an operation. */
int weft_flat_missing(const struct weft_flat *flat);
/* Whether this rank's operation need not wait for `rank`. */
bool weft_flat_has_come(const struct weft_flat *flat, int rank);

/* The program that the flat path executes, recorded from the code that executes it, in groups
 * of `group` ranks (weft_flat_group, or another power of two; num_ranks: none). */
weft_status weft_flat_trace(const struct weft_shape *shape, int group,
                            struct weft_program **program, struct weft_error *error);

#endif
