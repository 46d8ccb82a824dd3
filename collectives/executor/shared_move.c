/*
 * SPDX-License-Identifier: Apache-2.0
 * What moves in a turn of an exchange through shared memory, from where, to where.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "collectives/executor/fold.h"
#include "collectives/executor/shared_private.h"

enum {
    RESULTS = 2,
    PAGE_BYTES = 4096,
    PIECE_BYTES = 256 << 10,
    SPLIT_LEAST_BYTES = 32 << 10, // below, what a system call takes by itself is more than it saves
};

// Results are slices of a chunk, one for each rank, rounded up to lines.
static size_t result_bytes(size_t stage_bytes)
{
    return stage_bytes / 2 + SHARED_LINE_BYTES;
}

size_t weft_shared_area_bytes(size_t stage_bytes)
{
    return SHARED_BOARD_BYTES + WEFT_SHARED_STAGES * stage_bytes +
           RESULTS * result_bytes(stage_bytes);
}

static char *stage_of(const struct weft_shared *shared, int rank, uint64_t turn)
{
    return shared->areas[rank] + SHARED_BOARD_BYTES +
           turn % WEFT_SHARED_STAGES * shared->stage_bytes;
}

static char *result_of(const struct weft_shared *shared, int rank, uint64_t turn)
{
    return shared->areas[rank] + SHARED_BOARD_BYTES + WEFT_SHARED_STAGES * shared->stage_bytes +
           turn % RESULTS * result_bytes(shared->stage_bytes);
}

/* ---- places ---- */

// Part of every block that is worked on at once, and what that is for.
struct mover {
    const struct weft_shared *shared;
    const struct weft_flat_call *call;
    size_t begin, bytes; // of a block
    uint64_t staged;     // turn in which it was shown
    uint64_t combined;   // turn in which its slices were combined
};

// Slices begin at cache lines.
static size_t slice_begin(const struct mover *mover, int slice)
{
    size_t n = (size_t)mover->shared->num_ranks;
    if ((size_t)slice == n)
        return mover->bytes;
    return (size_t)((unsigned __int128)mover->bytes * (size_t)slice / n) &
           ~(size_t)(SHARED_LINE_BYTES - 1);
}

static size_t slice_bytes(const struct mover *mover, int slice)
{
    return slice_begin(mover, slice + 1) - slice_begin(mover, slice);
}

// Of the part, within a buffer that begins at block 0.
static size_t offset_of(const struct mover *mover, int block)
{
    return (size_t)block * mover->call->bytes + mover->begin;
}

static const char *own_input(const struct mover *mover, int block)
{
    const struct weft_flat_call *call = mover->call;
    if (weft_shared_is_sliced(call->collective))
        return (const char *)call->send + mover->begin + slice_begin(mover, block);
    return (const char *)call->send +
           offset_of(mover, weft_shared_is_one_block(call->collective) ? 0 : block);
}

static char *own_output(const struct mover *mover, int block)
{
    const struct weft_flat_call *call = mover->call;
    if (weft_shared_is_sliced(call->collective))
        return (char *)call->recv + mover->begin + slice_begin(mover, block);
    bool is_one = call->collective == WEFT_REDUCE_SCATTER || call->collective == WEFT_SCATTER;
    return (char *)call->recv + offset_of(mover, is_one ? 0 : block);
}

// Where a rank's contribution lies in its stage: slices where they are in the chunk, blocks behind
// one another.
static size_t stage_offset(const struct mover *mover, int block)
{
    if (weft_shared_is_sliced(mover->call->collective))
        return slice_begin(mover, block);
    return weft_shared_is_one_block(mover->call->collective) ? 0 : (size_t)block * mover->bytes;
}

static const char *input_of(const struct mover *mover, int rank, int block)
{
    const struct weft_shared *shared = mover->shared;
    if (rank == shared->rank)
        return own_input(mover, block);
    if (!shared->is_mapped && !shared->is_fetched)
        return stage_of(shared, rank, mover->staged) + stage_offset(mover, block);
    if (weft_shared_is_sliced(mover->call->collective))
        return shared->sends[rank] + mover->begin + slice_begin(mover, block);
    return shared->sends[rank] +
           offset_of(mover, weft_shared_is_one_block(mover->call->collective) ? 0 : block);
}

/* ---- moving ---- */

static void copy(const struct mover *mover, void *into, const void *source, size_t bytes,
                 bool past_caches)
{
    const struct weft_flat_call *call = mover->call;
    if (past_caches)
        call->reduce_all(&into, 1, &source, 1, bytes / call->element_bytes, 1);
    else
        memcpy(into, source, bytes);
}

static void move_show(void *argument, int block)
{
    const struct mover *mover = argument;
    const struct weft_shared *shared = mover->shared;
    bool is_sliced = weft_shared_is_sliced(mover->call->collective);
    copy(mover, stage_of(shared, shared->rank, mover->staged) + stage_offset(mover, block),
         own_input(mover, block), is_sliced ? slice_bytes(mover, block) : mover->bytes,
         shared->stretch.past);
}

// What has just been read lies in a cache: to write it past that is slower, by as much as 3 times.
static bool is_past(const struct mover *mover, const char *read, const char *written)
{
    return mover->shared->streams && read != written;
}

// Where the slice goes that this rank combines. Returns how many places; bit i of *streams: place i
// is written past the caches.
static int find_destinations(const struct mover *mover, void **destinations, uint64_t *streams)
{
    const struct weft_shared *shared = mover->shared;
    const struct weft_flat_call *call = mover->call;
    int me = shared->rank, count = 0;
    bool is_sum_for_all = call->collective == WEFT_ALL_REDUCE;
    size_t place = mover->begin + slice_begin(mover, me);
    *streams = 0;
    if (call->collective != WEFT_REDUCE || call->root == me) {
        *streams = is_past(mover, own_input(mover, me), own_output(mover, me));
        destinations[count++] = own_output(mover, me);
    }
    if (!weft_shared_is_sliced(call->collective))
        return count;
    if (!shared->is_mapped) {
        if (count == 0 || is_sum_for_all) {
            *streams |= (uint64_t)shared->stretch.past << count;
            destinations[count++] = result_of(shared, me, mover->combined);
        }
        return count;
    }
    for (int rank = 0; rank < shared->num_ranks; rank++)
        if (rank != me && (is_sum_for_all || rank == call->root)) {
            *streams |= (uint64_t)is_past(mover, shared->sends[rank], shared->recvs[rank]) << count;
            destinations[count++] = shared->recvs[rank] + place;
        }
    return count;
}

static void move_fold(void *argument)
{
    const struct mover *mover = argument;
    const struct weft_shared *shared = mover->shared;
    const struct weft_flat_call *call = mover->call;
    bool is_sliced = weft_shared_is_sliced(call->collective);
    struct weft_fold fold = {.reduce = call->reduce,
                             .reduce_all = call->reduce_all,
                             .element_bytes = call->element_bytes,
                             .is_canonical = call->is_canonical,
                             .num_sources = shared->num_ranks,
                             .bytes = is_sliced ? slice_bytes(mover, shared->rank) : mover->bytes};
    fold.num_destinations = find_destinations(mover, fold.destinations, &fold.streams);
    for (int rank = 0; rank < shared->num_ranks; rank++)
        fold.sources[rank] = input_of(mover, rank, shared->rank);
    weft_fold(&fold);
}

/* ---- others' private memory ---- */

static void note_failure(const struct mover *mover, int peer)
{
    const struct weft_shared *shared = mover->shared;
    WEFT_LOG(WEFT_LOG_WARN, "memory of process %lld cannot be reached (%s): it is staged",
             (long long)shared->pids[peer], strerror(errno));
    weft_shared_header(shared, shared->rank)->has_failed = true;
}

// Of what goes between the root and another rank, the root moves the end, so that both work.
static size_t root_share(const struct mover *mover)
{
    size_t share = mover->bytes / (size_t)mover->shared->num_ranks;
    return mover->bytes < SPLIT_LEAST_BYTES ? 0 : share & ~(size_t)(PAGE_BYTES - 1);
}

static void fetch(const struct mover *mover, int peer, const char *source, char *into)
{
    const struct weft_flat_call *call = mover->call;
    size_t begin = 0, end = mover->bytes;
    if (call->collective == WEFT_GATHER)
        begin = end - root_share(mover);
    else if (call->collective == WEFT_BROADCAST || call->collective == WEFT_SCATTER)
        end -= root_share(mover);
    if (!weft_fetch(mover->shared->pids[peer], source + begin, into + begin, end - begin))
        note_failure(mover, peer);
}

// Into a buffer of a rank that may give it up at any time: it waits for the piece under way.
static void push(const struct mover *mover, int peer, char *address, const char *from, size_t bytes)
{
    struct shared_board *board = weft_shared_board(mover->shared, peer);
    bool is_good = true;
    atomic_fetch_add(&board->writers, 1);
    for (size_t at = 0; is_good && at < bytes && !atomic_load(&board->has_left);
         at += PIECE_BYTES) {
        size_t left = bytes - at;
        is_good = weft_push(mover->shared->pids[peer], address + at, from + at,
                            left < PIECE_BYTES ? left : PIECE_BYTES);
    }
    if (!is_good)
        note_failure(mover, peer);
    atomic_fetch_sub(&board->writers, 1);
}

// What others do not fetch of the own contribution.
static void push_all(const struct mover *mover)
{
    const struct weft_shared *shared = mover->shared;
    const struct weft_flat_call *call = mover->call;
    int me = shared->rank, root = call->root;
    size_t share = root_share(mover), kept = mover->bytes - share;
    if (call->collective == WEFT_GATHER && me != root)
        push(mover, root, shared->recvs[root] + offset_of(mover, me), call->send, kept);
    bool is_split = call->collective == WEFT_BROADCAST || call->collective == WEFT_SCATTER;
    for (int peer = 0; is_split && me == root && peer < shared->num_ranks; peer++)
        if (peer != me)
            push(mover, peer, shared->recvs[peer] + kept, own_input(mover, peer) + kept, share);
}

static void move_copy(void *argument, int peer, int from, int to)
{
    const struct mover *mover = argument;
    const struct weft_shared *shared = mover->shared;
    char *into = own_output(mover, to);
    const char *source = input_of(mover, peer, from);
    if (shared->is_fetched && peer != shared->rank)
        fetch(mover, peer, source, into);
    else if (into != source)
        copy(mover, into, source, mover->bytes, shared->streams);
}

static void move_fetch(void *argument, int peer)
{
    const struct mover *mover = argument;
    char *into = own_output(mover, peer);
    copy(mover, into, result_of(mover->shared, peer, mover->combined), slice_bytes(mover, peer),
         is_past(mover, own_input(mover, peer), into));
}

static const struct weft_shared_actions moves = {move_show, move_fold, move_copy, move_fetch};

/* ---- turns ---- */

void weft_shared_move_whole(struct weft_shared *shared, const struct weft_flat_call *call)
{
    const struct weft_shared_form form = {call->collective, call->root, shared->rank,
                                          shared->num_ranks};
    struct mover mover = {.shared = shared, .call = call, .bytes = call->bytes};
    if (shared->is_fetched)
        push_all(&mover);
    weft_shared_combine(&form, &moves, &mover);
}

static struct mover chunk_mover(const struct weft_shared *shared, const struct weft_flat_call *call,
                                uint64_t chunk)
{
    size_t begin = (size_t)chunk * shared->chunk_bytes, left = call->bytes - begin;
    return (struct mover){.shared = shared,
                          .call = call,
                          .begin = begin,
                          .bytes = left < shared->chunk_bytes ? left : shared->chunk_bytes,
                          .staged = shared->first + chunk,
                          .combined = shared->first + chunk + 1};
}

// Collects chunk t - 2, shows chunk t, combines chunk t - 1. In this order as much as possible lies
// between what one rank writes and another reads of it: it has left the writer's own cache for the
// one that both share. Returns how many bytes of chunks that were.
size_t weft_shared_move_chunks(struct weft_shared *shared, const struct weft_flat_call *call,
                               uint64_t t)
{
    const struct weft_shared_form form = {call->collective, call->root, shared->rank,
                                          shared->num_ranks};
    uint64_t chunks = weft_shared_num_chunks(shared, call);
    size_t bytes = 0;
    struct mover mover;
    if (weft_shared_is_sliced(call->collective) && t >= 2) {
        mover = chunk_mover(shared, call, t - 2);
        weft_shared_collect(&form, &moves, &mover);
        bytes += mover.bytes;
    }
    if (t < chunks) {
        mover = chunk_mover(shared, call, t);
        weft_shared_show(&form, &moves, &mover);
        bytes += mover.bytes;
    }
    if (t >= 1 && t - 1 < chunks) {
        mover = chunk_mover(shared, call, t - 1);
        weft_shared_combine(&form, &moves, &mover);
        bytes += mover.bytes;
    }
    return bytes;
}
