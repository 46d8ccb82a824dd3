/*
 * SPDX-License-Identifier: Apache-2.0
 * See shared.h.
 */
#include "collectives/executor/shared.h"

#include <sched.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "collectives/executor/shared_private.h"

// What is written past the caches has to come back from memory later: small gains are none. The
// first stretches meet pages that nobody has touched.
static const struct weft_spill_rule store_rule = {.percent = 87, .trials = 2, .cold = 4};
// One copy should be faster than two. The first trial of stages touches their pages, and it takes
// some operations until the caches hold what they can: too dear where few of a kind are made.
static const struct weft_spill_rule fetch_rule = {
    .percent = 95, .trials = 4, .cold = 64, .begins_past = true};

static const int64_t patience_ns = 100000000; // with a piece that is being written

void weft_shared_offer(char *area)
{
    ((struct shared_board *)area)->offer = weft_fetch_offer();
}

void weft_shared_leave(struct weft_shared *shared)
{
    struct shared_board *board = weft_shared_board(shared, shared->rank);
    int64_t until = weft_deadline_after(patience_ns);
    atomic_store(&board->has_left, 1);
    while (atomic_load(&board->writers) && weft_clock_ns() < until)
        sched_yield();
}

static bool has_anyone_left(const struct weft_shared *shared)
{
    for (int rank = 0; rank < shared->num_ranks; rank++)
        if (atomic_load_explicit(&weft_shared_board(shared, rank)->has_left, memory_order_acquire))
            return true;
    return false;
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

/* ---- turns ---- */

static size_t num_staged_blocks(const struct weft_shared *shared, const struct weft_flat_call *call)
{
    bool is_one =
        weft_shared_is_sliced(call->collective) || weft_shared_is_one_block(call->collective);
    return is_one ? 1 : (size_t)shared->num_ranks;
}

// Of the blocks of a contribution, as much as fits a stage: turns cost more than what smaller
// chunks would have overlap.
static size_t choose_chunk(const struct weft_shared *shared, const struct weft_flat_call *call)
{
    return shared->stage_bytes / num_staged_blocks(shared, call) & ~(size_t)(SHARED_LINE_BYTES - 1);
}

static void end_turn(struct weft_shared *shared)
{
    shared->turns++;
    shared->ready = 0;
    atomic_store_explicit(&weft_shared_board(shared, shared->rank)->turns, shared->turns,
                          memory_order_release);
}

bool weft_shared_has_come(const struct weft_shared *shared, int rank)
{
    uint64_t turns =
        atomic_load_explicit(&weft_shared_board(shared, rank)->turns, memory_order_acquire);
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

// What others have yet to read would be overwritten.
static bool is_all_to_all_in_place(const struct weft_flat_call *call)
{
    return call->collective == WEFT_ALL_TO_ALL && call->send == call->recv;
}

// Whether others may work in this rank's buffers: all they read or write of them is shared.
static bool can_map(const struct weft_shared *shared, const struct weft_flat_call *call,
                    struct shared_header *header)
{
    bool is_one =
        weft_shared_is_sliced(call->collective) || weft_shared_is_one_block(call->collective);
    size_t bytes = call->bytes * (is_one ? 1 : (size_t)shared->num_ranks);
    bool is_written = call->collective == WEFT_ALL_REDUCE ||
                      (call->collective == WEFT_REDUCE && call->root == shared->rank);
    if (is_all_to_all_in_place(call))
        return false;
    if (!weft_shared_is_shown(call, shared->rank))
        return true;
    return find_buffer(shared, call->send, bytes, &header->send) &&
           (!is_written || find_buffer(shared, call->recv, bytes, &header->recv));
}

/* ---- staged or fetched ---- */

// Whether all others can be read from here.
static bool reaches_all(struct weft_shared *shared)
{
    for (int rank = 0; rank < shared->num_ranks; rank++) {
        const struct weft_fetch_offer offer = weft_shared_board(shared, rank)->offer;
        if (rank != shared->rank && !weft_fetch_reaches(offer))
            return false;
        shared->pids[rank] = offer.pid;
    }
    return true;
}

static bool may_fetch(struct weft_shared *shared)
{
    if (!shared->is_reach_known)
        shared->can_fetch = shared->fetching != WEFT_FETCH_NEVER && reaches_all(shared);
    shared->is_reach_known = true;
    return shared->can_fetch;
}

// Alike on all ranks, once those that cannot fetch have said so.
static struct weft_spill_stretch choose_fetch(struct weft_shared *shared,
                                              const struct weft_flat_call *call)
{
    bool combines =
        weft_shared_is_sliced(call->collective) || call->collective == WEFT_REDUCE_SCATTER;
    if (combines || !may_fetch(shared))
        return (struct weft_spill_stretch){0};
    if (shared->fetching == WEFT_FETCH_ALWAYS)
        return (struct weft_spill_stretch){.past = true};
    return weft_spill_begin(shared->fetches[call->collective],
                            call->bytes * num_staged_blocks(shared, call), &fetch_rule);
}

// What all took for the operation before, which all timed or none.
static void note_told(struct weft_shared *shared)
{
    for (int rank = 0; rank < shared->num_ranks; rank++)
        if (weft_shared_header(shared, rank)->told_ns > shared->told.ns)
            shared->told.ns = weft_shared_header(shared, rank)->told_ns;
    weft_spill_end(&shared->told);
}

// All ranks' buffers together.
static size_t buffer_bytes(const struct weft_shared *shared, const struct weft_flat_call *call)
{
    return 2 * call->bytes * (size_t)shared->num_ranks;
}

static void open_operation(struct weft_shared *shared, const struct weft_flat_call *call)
{
    struct shared_header *header =
        &weft_shared_board(shared, shared->rank)->headers[++shared->operations % 2];
    shared->trial = choose_fetch(shared, call);
    header->is_mapped = can_map(shared, call, header);
    header->is_fetched = shared->trial.past && !is_all_to_all_in_place(call);
    header->cannot_fetch = shared->is_reach_known && !shared->can_fetch;
    header->has_failed = false;
    header->send_address = (uintptr_t)call->send;
    header->recv_address = (uintptr_t)call->recv;
    header->told_ns = shared->told.ns;
    atomic_store_explicit(&header->call, call->call, memory_order_relaxed);
    atomic_store_explicit(&header->sequence, call->sequence + UINT64_C(1), memory_order_release);
    shared->state = WEFT_SHARED_ANNOUNCED;
    shared->is_mapped = header->is_mapped;
    shared->is_fetched = header->is_fetched;
    shared->first = shared->turns;
    shared->chunk_bytes = choose_chunk(shared, call);
    // Of what fills half the cache, little would be found there again.
    shared->streams = buffer_bytes(shared, call) > shared->cache_bytes / 2;
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
    bool is_one =
        weft_shared_is_sliced(call->collective) || weft_shared_is_one_block(call->collective);
    size_t bytes = call->bytes * (is_one ? 1 : (size_t)shared->num_ranks);
    for (int rank = 0; rank < shared->num_ranks; rank++) {
        const struct shared_header *header = weft_shared_header(shared, rank);
        char *send = NULL;
        *peer = rank;
        bool is_reader = call->collective != WEFT_GATHER || shared->rank == call->root;
        bool is_read = is_reader && weft_shared_is_shown(call, rank);
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

/* How many ranks would work on all buffers in place; would fetch; have nothing staged. */
struct tally {
    int mapped, fetched, unstaged;
};

// After the first turn everybody's header is there.
static weft_status compare_headers(struct weft_shared *shared, const struct weft_flat_call *call,
                                   struct tally *tally, int *peer, uint64_t *peer_call)
{
    *tally = (struct tally){0};
    for (int rank = 0; rank < shared->num_ranks; rank++) {
        const struct shared_header *header = weft_shared_header(shared, rank);
        *peer = rank;
        *peer_call = atomic_load_explicit(&header->call, memory_order_relaxed);
        if (*peer_call != call->call)
            return WEFT_MISMATCH;
        tally->mapped += header->is_mapped != 0;
        tally->fetched += header->is_fetched != 0;
        tally->unstaged += header->is_mapped || header->is_fetched;
        shared->can_fetch &= !header->cannot_fetch;
    }
    return WEFT_OK;
}

static void begin_stretch(struct weft_shared *shared, const struct weft_flat_call *call)
{
    size_t bytes = call->bytes < shared->chunk_bytes ? call->bytes : shared->chunk_bytes;
    shared->stretch = weft_spill_begin(shared->stage_spills[call->collective],
                                       bytes * num_staged_blocks(shared, call), &store_rule);
}

/* One turn; whether it was the last. What is read in the first turn of a later stretch was written
 * in the one before, so that turn is not timed. */
static bool take_staged_turn(struct weft_shared *shared, const struct weft_flat_call *call)
{
    struct weft_spill_stretch *stretch = &shared->stretch;
    uint64_t t = shared->turns - shared->first;
    uint64_t depth = weft_shared_is_sliced(call->collective) ? 2 : 1;
    bool is_last = t + 1 == weft_shared_num_chunks(shared, call) + depth;
    if (t % WEFT_SPILL_TURNS == 0)
        begin_stretch(shared, call);
    bool is_timed = stretch->is_timed && (t == 0 || t % WEFT_SPILL_TURNS != 0);
    int64_t begin_ns = is_timed ? weft_clock_ns() : 0;
    size_t bytes = weft_shared_move_chunks(shared, call, t);
    if (is_timed) {
        stretch->ns += weft_clock_ns() - begin_ns;
        stretch->bytes += bytes;
    }
    if (is_last || (t + 1) % WEFT_SPILL_TURNS == 0)
        weft_spill_end(stretch);
    end_turn(shared);
    return is_last;
}

// Whether results that fit the cache might be faster past it: not small ones, nor those that
// replace what they were read from. Of all-reduces only: where less is written the gain is smaller
// than what a change of ways costs the first calls. So does trying what does not fit through the
// caches.
static bool may_stream(const struct weft_shared *shared, const struct weft_flat_call *call)
{
    return call->collective == WEFT_ALL_REDUCE && call->send != call->recv && !shared->streams &&
           buffer_bytes(shared, call) > shared->cache_bytes / 8;
}

static void take_whole_turn(struct weft_shared *shared, const struct weft_flat_call *call)
{
    struct weft_spill_stretch stretch = {.past = shared->streams};
    if (shared->is_mapped && may_stream(shared, call))
        stretch = weft_spill_begin(shared->result_spills, call->bytes, &store_rule);
    shared->streams = stretch.past;
    int64_t begin_ns = stretch.is_timed ? weft_clock_ns() : 0;
    weft_shared_move_whole(shared, call);
    if (stretch.is_timed) {
        stretch.ns = weft_clock_ns() - begin_ns;
        stretch.bytes = call->bytes;
        weft_spill_end(&stretch);
    }
    end_turn(shared);
    shared->state = WEFT_SHARED_LEAVING;
}

static void begin_anew(struct weft_shared *shared)
{
    shared->first = shared->turns;
    shared->is_mapped = shared->is_fetched = false;
    shared->state = WEFT_SHARED_STAGED;
}

// Everybody has announced itself: in place or fetched if that goes on all ranks, else in stages;
// where some have nothing staged yet, all begin anew.
static weft_status choose_way(struct weft_shared *shared, const struct weft_flat_call *call,
                              int *peer, uint64_t *peer_call)
{
    struct tally tally;
    WEFT_TRY(compare_headers(shared, call, &tally, peer, peer_call));
    bool is_mapped = tally.mapped == shared->num_ranks;
    bool is_fetched = !is_mapped && tally.fetched == shared->num_ranks;
    // Nobody can be through with what works in others' buffers, so this has failed for who has
    // left; why comes over the control plane.
    if ((is_mapped || is_fetched) && has_anyone_left(shared))
        return WEFT_IN_PROGRESS;
    note_told(shared);
    if (is_mapped)
        weft_spill_undo(&shared->trial);
    shared->trial.is_timed &= !is_mapped && shared->trial.past == is_fetched;
    if (shared->trial.is_timed)
        shared->here_ns = weft_clock_ns();
    if (is_mapped)
        WEFT_TRY(map_all(shared, call, peer));
    for (int rank = 0; is_fetched && rank < shared->num_ranks; rank++) {
        const struct shared_header *header = weft_shared_header(shared, rank);
        shared->sends[rank] = (const char *)(uintptr_t)header->send_address;
        shared->recvs[rank] = (char *)(uintptr_t)header->recv_address;
    }
    if (is_mapped || is_fetched) {
        shared->is_mapped = is_mapped;
        shared->is_fetched = is_fetched;
        take_whole_turn(shared, call);
        return WEFT_OK;
    }
    shared->state = WEFT_SHARED_STAGED;
    if (tally.unstaged == 0)
        return WEFT_OK;
    if (!shared->is_mapped && !shared->is_fetched)
        weft_spill_undo(&shared->stretch);
    begin_anew(shared);
    shared->trial.ns = 0; // what was staged does not count
    return WEFT_OK;
}

// All are done with this rank's buffers; has any of them failed to fetch?
static bool has_failed_to_fetch(const struct weft_shared *shared)
{
    bool has_failed = false;
    for (int rank = 0; shared->is_fetched && rank < shared->num_ranks; rank++)
        has_failed |= weft_shared_header(shared, rank)->has_failed != 0;
    return has_failed;
}

static void finish(struct weft_shared *shared, const struct weft_flat_call *call)
{
    shared->state = WEFT_SHARED_IDLE;
    shared->told = shared->trial;
    if (!shared->told.is_timed)
        return;
    shared->told.ns += weft_clock_ns() - shared->here_ns;
    shared->told.bytes = call->bytes * num_staged_blocks(shared, call);
}

static void open_turn(struct weft_shared *shared, const struct weft_flat_call *call)
{
    open_operation(shared, call);
    if (shared->is_mapped || shared->is_fetched) {
        end_turn(shared);
        return;
    }
    int64_t begin_ns = shared->trial.is_timed ? weft_clock_ns() : 0;
    (void)take_staged_turn(shared, call); // there is more than one
    if (shared->trial.is_timed)           // later turns count from when all have come
        shared->trial.ns = weft_clock_ns() - begin_ns;
}

weft_status weft_shared_progress(struct weft_shared *shared, const struct weft_flat_call *call,
                                 int *peer, uint64_t *peer_call)
{
    if (shared->state == WEFT_SHARED_IDLE)
        open_turn(shared, call);
    while (are_all_here(shared)) {
        if (shared->state == WEFT_SHARED_ANNOUNCED) {
            WEFT_TRY(choose_way(shared, call, peer, peer_call));
            continue;
        }
        bool is_left = shared->state == WEFT_SHARED_LEAVING;
        if (is_left && has_failed_to_fetch(shared)) { // nothing of the input is lost
            shared->can_fetch = shared->trial.is_timed = false;
            begin_anew(shared);
        } else if (is_left || take_staged_turn(shared, call)) {
            finish(shared, call);
            return WEFT_OK;
        }
    }
    return WEFT_IN_PROGRESS;
}

bool weft_shared_peek(const struct weft_shared *shared, int rank, uint32_t sequence, uint64_t *call)
{
    const struct shared_board *board = weft_shared_board(shared, rank);
    for (int i = 0; i < 2; i++) {
        const struct shared_header *header = &board->headers[i];
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
