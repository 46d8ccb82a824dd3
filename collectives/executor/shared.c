/*
 * SPDX-License-Identifier: Apache-2.0
 * See shared.h.
 */
#include "collectives/executor/shared.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "collectives/executor/fold.h"
#include "collectives/executor/shared_walk.h"

enum {
    LINE_BYTES = 64,
    RESULTS = 2,
};

/* What a rank says about an operation before its first turn ends. */
struct header {
    _Atomic uint64_t sequence; // + 1; written last
    _Atomic uint64_t call;
    uint64_t is_mapped;
    struct weft_shared_buffer send, recv;
};

struct board {
    alignas(128) _Atomic uint64_t turns;
    alignas(128) struct header headers[2]; // operations take turns with them
};

enum { BOARD_BYTES = 4096 };
_Static_assert(sizeof(struct board) <= BOARD_BYTES, "stages begin at a page");

// Results are slices of a chunk, one for each rank, rounded up to lines.
static size_t result_bytes(size_t stage_bytes)
{
    return stage_bytes / 2 + LINE_BYTES;
}

size_t weft_shared_area_bytes(size_t stage_bytes)
{
    return BOARD_BYTES + WEFT_SHARED_STAGES * stage_bytes + RESULTS * result_bytes(stage_bytes);
}

bool weft_shared_supports(weft_collective collective)
{
    switch (collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_REDUCE:
    case WEFT_REDUCE_SCATTER:
    case WEFT_ALL_GATHER:
    case WEFT_BROADCAST:
    case WEFT_ALL_TO_ALL:
    case WEFT_GATHER:
    case WEFT_SCATTER:
        return true;
    default:
        return false;
    }
}

static struct board *board_of(const struct weft_shared *shared, int rank)
{
    return (struct board *)shared->areas[rank];
}

static char *stage_of(const struct weft_shared *shared, int rank, uint64_t turn)
{
    return shared->areas[rank] + BOARD_BYTES + turn % WEFT_SHARED_STAGES * shared->stage_bytes;
}

static char *result_of(const struct weft_shared *shared, int rank, uint64_t turn)
{
    return shared->areas[rank] + BOARD_BYTES + WEFT_SHARED_STAGES * shared->stage_bytes +
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
           ~(size_t)(LINE_BYTES - 1);
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

static bool is_one_block(weft_collective collective) // a rank's contribution
{
    return collective == WEFT_ALL_GATHER || collective == WEFT_BROADCAST ||
           collective == WEFT_GATHER;
}

// Whether others read the input of rank `rank`.
static bool is_shown(const struct weft_flat_call *call, int rank)
{
    if (call->collective == WEFT_BROADCAST || call->collective == WEFT_SCATTER)
        return rank == call->root;
    return call->collective != WEFT_GATHER || rank != call->root;
}

static const char *own_input(const struct mover *mover, int block)
{
    const struct weft_flat_call *call = mover->call;
    if (weft_shared_is_sliced(call->collective))
        return (const char *)call->send + mover->begin + slice_begin(mover, block);
    return (const char *)call->send + offset_of(mover, is_one_block(call->collective) ? 0 : block);
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
    return is_one_block(mover->call->collective) ? 0 : (size_t)block * mover->bytes;
}

static const char *input_of(const struct mover *mover, int rank, int block)
{
    const struct weft_shared *shared = mover->shared;
    if (rank == shared->rank)
        return own_input(mover, block);
    if (!shared->is_mapped)
        return stage_of(shared, rank, mover->staged) + stage_offset(mover, block);
    if (weft_shared_is_sliced(mover->call->collective))
        return shared->sends[rank] + mover->begin + slice_begin(mover, block);
    return shared->sends[rank] +
           offset_of(mover, is_one_block(mover->call->collective) ? 0 : block);
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

static void move_copy(void *argument, int peer, int from, int to)
{
    const struct mover *mover = argument;
    char *into = own_output(mover, to);
    const char *source = input_of(mover, peer, from);
    if (into != source)
        copy(mover, into, source, mover->bytes, mover->shared->streams);
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

static size_t num_chunks(const struct weft_shared *shared, const struct weft_flat_call *call)
{
    return (call->bytes + shared->chunk_bytes - 1) / shared->chunk_bytes;
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

static size_t num_staged_blocks(const struct weft_shared *shared, const struct weft_flat_call *call)
{
    bool is_one = weft_shared_is_sliced(call->collective) || is_one_block(call->collective);
    return is_one ? 1 : (size_t)shared->num_ranks;
}

// Of the blocks of a contribution, as much as fits a stage: turns cost more than what smaller
// chunks would have overlap.
static size_t choose_chunk(const struct weft_shared *shared, const struct weft_flat_call *call)
{
    return shared->stage_bytes / num_staged_blocks(shared, call) & ~(size_t)(LINE_BYTES - 1);
}

static void end_turn(struct weft_shared *shared)
{
    shared->turns++;
    shared->ready = 0;
    atomic_store_explicit(&board_of(shared, shared->rank)->turns, shared->turns,
                          memory_order_release);
}

bool weft_shared_has_come(const struct weft_shared *shared, int rank)
{
    uint64_t turns = atomic_load_explicit(&board_of(shared, rank)->turns, memory_order_acquire);
    return (int64_t)(turns - shared->turns) >= 0;
}

// Whether all others have finished the turns that this rank has.
static bool are_all_here(struct weft_shared *shared)
{
    while (shared->ready < shared->num_ranks && weft_shared_has_come(shared, shared->ready))
        shared->ready++;
    return shared->ready == shared->num_ranks;
}

static bool find_buffer(const struct weft_shared *shared, const void *memory, size_t bytes,
                        struct weft_shared_buffer *buffer)
{
    size_t within;
    if (!shared->device->transport->locate(shared->device, memory, bytes, &buffer->block, &within))
        return false;
    buffer->within = within;
    return true;
}

// Whether others may work in this rank's buffers: all they read or write of them is shared.
static bool can_map(const struct weft_shared *shared, const struct weft_flat_call *call,
                    struct header *header)
{
    bool is_one = weft_shared_is_sliced(call->collective) || is_one_block(call->collective);
    size_t bytes = call->bytes * (is_one ? 1 : (size_t)shared->num_ranks);
    bool is_written = call->collective == WEFT_ALL_REDUCE ||
                      (call->collective == WEFT_REDUCE && call->root == shared->rank);
    // In place, what others have yet to read would be overwritten.
    if (call->collective == WEFT_ALL_TO_ALL && call->send == call->recv)
        return false;
    if (!is_shown(call, shared->rank))
        return true;
    return find_buffer(shared, call->send, bytes, &header->send) &&
           (!is_written || find_buffer(shared, call->recv, bytes, &header->recv));
}

static void open_operation(struct weft_shared *shared, const struct weft_flat_call *call)
{
    struct header *header = &board_of(shared, shared->rank)->headers[++shared->operations % 2];
    header->is_mapped = can_map(shared, call, header);
    atomic_store_explicit(&header->call, call->call, memory_order_relaxed);
    atomic_store_explicit(&header->sequence, call->sequence + UINT64_C(1), memory_order_release);
    shared->state = WEFT_SHARED_ANNOUNCED;
    shared->is_mapped = header->is_mapped;
    shared->first = shared->turns;
    shared->chunk_bytes = choose_chunk(shared, call);
    // All ranks' buffers together: of what fills half the cache, little would be found there again.
    shared->streams = 4 * call->bytes * (size_t)shared->num_ranks > shared->cache_bytes;
}

static const struct header *header_of(const struct weft_shared *shared, int rank)
{
    return &board_of(shared, rank)->headers[shared->operations % 2];
}

static weft_status map_buffer(const struct weft_shared *shared, int rank,
                              const struct weft_shared_buffer *buffer, size_t bytes, char **memory)
{
    const struct weft_shared_buffer copy = *buffer; // a hostile peer may change it meanwhile
    void *mapped;
    if (copy.within > copy.block.bytes || bytes > copy.block.bytes - copy.within)
        return WEFT_INVALID_FORMAT;
    struct weft_connection *peer = shared->peers[rank];
    WEFT_TRY(peer->device->transport->map(peer, &copy.block, false, &mapped));
    *memory = (char *)mapped + copy.within;
    return WEFT_OK;
}

static weft_status map_all(struct weft_shared *shared, const struct weft_flat_call *call, int *peer)
{
    bool is_one = weft_shared_is_sliced(call->collective) || is_one_block(call->collective);
    size_t bytes = call->bytes * (is_one ? 1 : (size_t)shared->num_ranks);
    for (int rank = 0; rank < shared->num_ranks; rank++) {
        const struct header *header = header_of(shared, rank);
        char *send = NULL;
        *peer = rank;
        bool is_reader = call->collective != WEFT_GATHER || shared->rank == call->root;
        bool is_read = is_reader && is_shown(call, rank);
        bool is_written = call->collective == WEFT_ALL_REDUCE ||
                          (call->collective == WEFT_REDUCE && rank == call->root);
        if (rank == shared->rank)
            continue;
        if (is_read)
            WEFT_TRY(map_buffer(shared, rank, &header->send, bytes, &send));
        shared->sends[rank] = send;
        if (is_written)
            WEFT_TRY(map_buffer(shared, rank, &header->recv, bytes, &shared->recvs[rank]));
    }
    return WEFT_OK;
}

// After the first turn everybody's header is there. *mapped: how many can be worked on in place.
static weft_status compare_headers(const struct weft_shared *shared,
                                   const struct weft_flat_call *call, int *mapped, int *peer,
                                   uint64_t *peer_call)
{
    *mapped = 0;
    for (int rank = 0; rank < shared->num_ranks; rank++) {
        const struct header *header = header_of(shared, rank);
        *peer = rank;
        *peer_call = atomic_load_explicit(&header->call, memory_order_relaxed);
        if (*peer_call != call->call)
            return WEFT_MISMATCH;
        *mapped += header->is_mapped != 0;
    }
    return WEFT_OK;
}

static void begin_stretch(struct weft_shared *shared, const struct weft_flat_call *call)
{
    size_t bytes = call->bytes < shared->chunk_bytes ? call->bytes : shared->chunk_bytes;
    shared->stretch =
        weft_spill_begin(shared->spills[call->collective], bytes * num_staged_blocks(shared, call));
}

// Collects chunk t - 2, shows chunk t, combines chunk t - 1. In this order as much as possible lies
// between what one rank writes and another reads of it: it has left the writer's own cache for the
// one that both share. Returns how many bytes of chunks that were.
static size_t move_chunks(struct weft_shared *shared, const struct weft_flat_call *call, uint64_t t)
{
    const struct weft_shared_form form = {call->collective, call->root, shared->rank,
                                          shared->num_ranks};
    uint64_t chunks = num_chunks(shared, call);
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

/* One turn; whether it was the last. What is read in the first turn of a later stretch was written
 * in the one before, so that turn is not timed. */
static bool take_staged_turn(struct weft_shared *shared, const struct weft_flat_call *call)
{
    struct weft_spill_stretch *stretch = &shared->stretch;
    uint64_t t = shared->turns - shared->first;
    uint64_t depth = weft_shared_is_sliced(call->collective) ? 2 : 1;
    bool is_last = t + 1 == num_chunks(shared, call) + depth;
    if (t % WEFT_SPILL_TURNS == 0)
        begin_stretch(shared, call);
    bool is_timed = stretch->is_timed && (t == 0 || t % WEFT_SPILL_TURNS != 0);
    int64_t begin_ns = is_timed ? weft_clock_ns() : 0;
    size_t bytes = move_chunks(shared, call, t);
    if (is_timed) {
        stretch->ns += weft_clock_ns() - begin_ns;
        stretch->bytes += bytes;
    }
    if (is_last || (t + 1) % WEFT_SPILL_TURNS == 0)
        weft_spill_end(stretch);
    end_turn(shared);
    return is_last;
}

static void take_mapped_turn(struct weft_shared *shared, const struct weft_flat_call *call)
{
    const struct weft_shared_form form = {call->collective, call->root, shared->rank,
                                          shared->num_ranks};
    struct mover mover = {.shared = shared, .call = call, .bytes = call->bytes};
    weft_shared_combine(&form, &moves, &mover);
    end_turn(shared);
}

// Everybody has announced itself: in place if that goes on all ranks, else in stages; where some
// have nothing staged yet, all begin anew.
static weft_status choose_way(struct weft_shared *shared, const struct weft_flat_call *call,
                              int *peer, uint64_t *peer_call)
{
    int mapped;
    WEFT_TRY(compare_headers(shared, call, &mapped, peer, peer_call));
    if (mapped == shared->num_ranks) {
        WEFT_TRY(map_all(shared, call, peer));
        take_mapped_turn(shared, call);
        shared->state = WEFT_SHARED_LEAVING;
        return WEFT_OK;
    }
    if (mapped > 0) {
        if (!shared->is_mapped)
            weft_spill_undo(&shared->stretch);
        shared->first = shared->turns;
    }
    shared->is_mapped = false;
    shared->state = WEFT_SHARED_STAGED;
    return WEFT_OK;
}

weft_status weft_shared_progress(struct weft_shared *shared, const struct weft_flat_call *call,
                                 int *peer, uint64_t *peer_call)
{
    if (shared->state == WEFT_SHARED_IDLE) {
        open_operation(shared, call);
        if (shared->is_mapped)
            end_turn(shared);
        else
            (void)take_staged_turn(shared, call); // there is more than one
    }
    while (are_all_here(shared)) {
        if (shared->state == WEFT_SHARED_ANNOUNCED) {
            WEFT_TRY(choose_way(shared, call, peer, peer_call));
            continue;
        }
        // In place, the own buffers are the caller's again when all others are done with them.
        if (shared->state == WEFT_SHARED_LEAVING || take_staged_turn(shared, call)) {
            shared->state = WEFT_SHARED_IDLE;
            return WEFT_OK;
        }
    }
    return WEFT_IN_PROGRESS;
}

bool weft_shared_peek(const struct weft_shared *shared, int rank, uint32_t sequence, uint64_t *call)
{
    const struct board *board = board_of(shared, rank);
    for (int i = 0; i < 2; i++) {
        const struct header *header = &board->headers[i];
        uint64_t number = atomic_load_explicit(&header->sequence, memory_order_acquire);
        if (number != sequence + UINT64_C(1))
            continue;
        *call = atomic_load_explicit(&header->call, memory_order_relaxed);
        return true;
    }
    return false;
}

int weft_shared_missing(const struct weft_shared *shared)
{
    return shared->state != WEFT_SHARED_IDLE && shared->ready < shared->num_ranks ? shared->ready
                                                                                  : -1;
}
