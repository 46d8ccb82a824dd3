/*
 * SPDX-License-Identifier: Apache-2.0
 * See flat.h, and flat_walk.h for what is read in which order: here it moves bytes.
 */
#include "collectives/executor/flat.h"

#include <stdatomic.h>
#include <string.h>

#include "collectives/executor/flat_walk.h"

struct slot {
    _Atomic uint64_t flag; // generation in the low half, a fold of the history in the high half
    uint64_t call;
    uint64_t sequence;
    char data[];
};

_Static_assert(sizeof(struct slot) == WEFT_FLAT_HEADER_BYTES, "data shares the flag's cache line");

enum {
    LINE_BYTES = 64,
    CALLED_BACK_BYTES = 1024,
    LAG = WEFT_FLAT_SLOTS - 2, // operations by which one that is not read may be behind
    ASKED_BYTES = 256,         // of more lines, too many come before they are written
    STACK_BYTES = 1024,        // of each value on the stack, hence of what is combined at a time
};

// Blocks a rank contributes: 0 none, 1 one, or all of them.
static int contributed_blocks(const struct weft_flat_form *form)
{
    switch (form->collective) {
    case WEFT_REDUCE_SCATTER:
    case WEFT_ALL_TO_ALL:
        return form->num_ranks;
    case WEFT_BROADCAST:
        return form->rank == form->root;
    case WEFT_SCATTER:
        return form->rank == form->root ? form->num_ranks : 0;
    default:
        return 1;
    }
}

static size_t slot_bytes(size_t data_bytes)
{
    return (WEFT_FLAT_HEADER_BYTES + data_bytes + 127) & ~(size_t)127;
}

size_t weft_flat_area_bytes(size_t data_bytes)
{
    return (WEFT_FLAT_RESULTS + 1) * WEFT_FLAT_SLOTS * slot_bytes(data_bytes);
}

// The leader's reads one after another: of its group, of the leaders, and the last hop's.
int weft_flat_group(int num_ranks)
{
    enum { ONE_STAGE_RANKS = 16 }; // below, two more hops cost more than the reads they save
    int best = num_ranks, fewest = num_ranks;
    for (int group = 2; num_ranks > ONE_STAGE_RANKS && group < num_ranks; group *= 2) {
        int reads = group - 1 + (num_ranks + group - 1) / group;
        if (reads <= fewest) {
            best = group;
            fewest = reads;
        }
    }
    return best;
}

bool weft_flat_supports(weft_collective collective, int num_ranks, size_t block_bytes,
                        size_t data_bytes)
{
    switch (collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_BARRIER:
    case WEFT_REDUCE:
    case WEFT_BROADCAST:
    case WEFT_ALL_GATHER:
    case WEFT_GATHER:
        return block_bytes <= data_bytes;
    case WEFT_REDUCE_SCATTER:
    case WEFT_SCATTER:
    case WEFT_ALL_TO_ALL:
        return block_bytes <= data_bytes / (size_t)num_ranks;
    default:
        return false;
    }
}

// The slot of a rank and level for operation number `generation`.
static struct slot *slot_at(const struct weft_flat *flat, int rank, int level, uint32_t generation)
{
    size_t number = (size_t)level * WEFT_FLAT_SLOTS + generation % WEFT_FLAT_SLOTS;
    return (struct slot *)(flat->areas[rank] + number * slot_bytes(flat->data_bytes));
}

static struct slot *slot_of(const struct weft_flat *flat, int rank, int level)
{
    return slot_at(flat, rank, level, flat->generation);
}

// The others have the lines of the next slot in their caches, but read them no more: they can come
// back while this rank waits.
static void call_back_next(const struct weft_flat *flat, size_t bytes)
{
    const char *next =
        (const char *)slot_at(flat, flat->rank, WEFT_FLAT_CONTRIBUTIONS, flat->generation + 1);
    size_t most = bytes < CALLED_BACK_BYTES ? bytes : CALLED_BACK_BYTES;
    for (size_t at = 0; at < most + WEFT_FLAT_HEADER_BYTES; at += LINE_BYTES)
        __builtin_prefetch(next + at, 1);
}

/* ---- moving bytes ---- */

struct mover {
    const struct weft_flat *flat;
    const struct weft_flat_call *call;
    const struct weft_flat_stage *stage;
    size_t begin, bytes; // canonical: what of the block is combined now
    const char *values[WEFT_FLAT_STACK];
    char room[WEFT_FLAT_STACK][STACK_BYTES];
};

static const char *block_of(const struct mover *mover, int peer, int from)
{
    // A slot holds contributed blocks from its beginning; a gather's own block is its only one.
    if (mover->call->collective == WEFT_ALL_GATHER || mover->call->collective == WEFT_GATHER)
        from = 0;
    return slot_of(mover->flat, peer, mover->stage->level)->data +
           (size_t)from * mover->call->bytes;
}

static char *output_of(const struct mover *mover, int to)
{
    if (!mover->stage->is_last) // one value, shown at the next level
        return slot_of(mover->flat, mover->flat->rank, mover->stage->level + 1)->data;
    if (mover->call->collective == WEFT_REDUCE_SCATTER || mover->call->collective == WEFT_SCATTER)
        to = 0;
    return (char *)mover->call->recv + (size_t)to * mover->call->bytes;
}

// The own contribution is read where it is: not from the slot, whose lines others fetch meanwhile.
// It may lie where the result goes, of which nothing else has been written yet.
static const char *value_of(const struct mover *mover, int peer, int from)
{
    if (mover->call->collective == WEFT_ALL_GATHER || mover->call->collective == WEFT_GATHER)
        from = 0;
    if (peer == mover->flat->rank && mover->stage->level == WEFT_FLAT_CONTRIBUTIONS)
        return (const char *)mover->call->send + (size_t)from * mover->call->bytes;
    return block_of(mover, peer, from);
}

static void move_copy(void *argument, int peer, int from, int to)
{
    const struct mover *mover = argument;
    char *into = output_of(mover, to);
    const char *source = value_of(mover, peer, from);
    if (mover->call->bytes && into != source)
        memcpy(into, source, mover->call->bytes);
}

static void move_begin(void *argument, int a, int b, int from, int to)
{
    const struct mover *mover = argument;
    if (mover->call->bytes)
        mover->call->reduce(output_of(mover, to), value_of(mover, a, from),
                            value_of(mover, b, from),
                            mover->call->bytes / mover->call->element_bytes);
}

static void move_combine(void *argument, int peer, int from, int to)
{
    const struct mover *mover = argument;
    char *into = output_of(mover, to);
    if (mover->call->bytes)
        mover->call->reduce(into, into, block_of(mover, peer, from),
                            mover->call->bytes / mover->call->element_bytes);
}

static void move_push(void *argument, int depth, int peer, int from)
{
    struct mover *mover = argument;
    mover->values[depth] = value_of(mover, peer, from) + mover->begin;
}

// The value at `depth` into the one below.
static void move_merge(void *argument, int depth)
{
    struct mover *mover = argument;
    char *into = mover->room[depth - 1];
    mover->call->reduce(into, mover->values[depth - 1], mover->values[depth],
                        mover->bytes / mover->call->element_bytes);
    mover->values[depth - 1] = into;
}

static void move_take(void *argument, int to)
{
    const struct mover *mover = argument;
    memcpy(output_of(mover, to) + mover->begin, mover->values[0], mover->bytes);
}

// In canonical order a block is combined in stretches that fit the stack.
static void gather_now(const struct weft_flat *flat, const struct weft_flat_call *call,
                       const struct weft_flat_form *form, const struct weft_flat_stage *stage)
{
    static const struct weft_flat_actions moves = {move_copy, move_begin, move_combine,
                                                   move_push, move_merge, move_take};
    struct mover mover;
    mover.flat = flat;
    mover.call = call;
    mover.stage = stage;
    mover.begin = 0;
    mover.bytes = call->bytes;
    if (!call->is_canonical || stage->count <= 2) {
        weft_flat_gather(form, stage, &moves, &mover);
        return;
    }
    for (; mover.begin < call->bytes; mover.begin += STACK_BYTES) {
        size_t left = call->bytes - mover.begin;
        mover.bytes = left < STACK_BYTES ? left : STACK_BYTES;
        weft_flat_gather(form, stage, &moves, &mover);
    }
}

static uint64_t flag_word(const struct weft_flat *flat)
{
    return ((flat->history ^ (flat->history >> 32)) << 32) | flat->generation;
}

// Shows what lies in the own slot of the level.
static void raise_flag(struct weft_flat *flat, const struct weft_flat_call *call, int level)
{
    struct slot *mine = slot_of(flat, flat->rank, level);
    mine->call = call->call;
    mine->sequence = call->sequence;
    atomic_store_explicit(&mine->flag, flag_word(flat), memory_order_release);
    flat->num_seen = 0;
}

static void publish(struct weft_flat *flat, const struct weft_flat_call *call,
                    const struct weft_flat_form *form)
{
    flat->generation++;
    flat->history = (flat->history ^ call->call) * 0x9e3779b97f4a7c15u;
    size_t bytes = (size_t)contributed_blocks(form) * call->bytes;
    if (bytes)
        memcpy(slot_of(flat, flat->rank, WEFT_FLAT_CONTRIBUTIONS)->data, call->send, bytes);
    raise_flag(flat, call, WEFT_FLAT_CONTRIBUTIONS);
    if (bytes > 64)
        call_back_next(flat, bytes);
    flat->is_published = true;
    flat->stage = 0;
}

// What this rank will read of a slot is asked for together with the flag: then it comes with it,
// not after it. Where a slot has a block for each rank, that does not pay.
static void ask_for_data(const struct weft_flat_call *call, const struct slot *slot)
{
    bool has_blocks = call->collective == WEFT_REDUCE_SCATTER ||
                      call->collective == WEFT_ALL_TO_ALL || call->collective == WEFT_SCATTER;
    if (has_blocks || call->bytes > ASKED_BYTES)
        return;
    for (size_t at = LINE_BYTES; at < WEFT_FLAT_HEADER_BYTES + call->bytes; at += LINE_BYTES)
        __builtin_prefetch((const char *)slot + at); // the first line is that of the flag
}

// Whether an operation is at most LAG before this rank's, and no further ahead than others can
// be.
static bool is_near(const struct weft_flat *flat, uint32_t generation)
{
    return flat->generation + LAG + 1 - generation <= 2 * LAG + 1;
}

// Whether a rank whose slot is not read has begun an operation that near, so that slots take turns.
// MISMATCH: not the one that this rank had.
static weft_status keeps_up(struct weft_flat *flat, int rank)
{
    const int level = WEFT_FLAT_CONTRIBUTIONS;
    for (uint32_t back = 0; !is_near(flat, flat->begun[rank]); back++) {
        if (back > LAG)
            return WEFT_IN_PROGRESS;
        uint32_t generation = flat->generation - back;
        uint64_t flag = atomic_load_explicit(&slot_at(flat, rank, level, generation)->flag,
                                             memory_order_acquire);
        uint64_t own = atomic_load_explicit(&slot_at(flat, flat->rank, level, generation)->flag,
                                            memory_order_relaxed);
        if ((uint32_t)flag == generation && flag != own)
            return WEFT_MISMATCH;
        if (is_near(flat, (uint32_t)flag))
            flat->begun[rank] = (uint32_t)flag;
    }
    return WEFT_OK;
}

// Whether all that the stage reads is there.
static weft_status look(struct weft_flat *flat, const struct weft_flat_call *call,
                        const struct weft_flat_form *form, const struct weft_flat_stage *stage,
                        int *peer, uint64_t *peer_call)
{
    uint64_t wanted = flag_word(flat);
    for (; flat->num_seen < stage->count; flat->num_seen++) {
        int rank = stage->first + flat->num_seen * stage->step;
        if (rank == flat->rank)
            continue;
        flat->awaited = rank;
        flat->awaited_level = stage->level;
        if (!weft_flat_is_read(form, rank)) {
            *peer = rank;
            *peer_call = call->call; // it was an earlier one
            WEFT_TRY(keeps_up(flat, rank));
            continue;
        }
        struct slot *slot = slot_of(flat, rank, stage->level);
        ask_for_data(call, slot);
        uint64_t flag = atomic_load_explicit(&slot->flag, memory_order_acquire);
        if ((uint32_t)flag != flat->generation)
            return WEFT_IN_PROGRESS;
        if (flag != wanted || slot->call != call->call) {
            *peer = rank;
            *peer_call = slot->call;
            return WEFT_MISMATCH;
        }
        flat->begun[rank] = flat->generation;
    }
    return WEFT_OK;
}

weft_status weft_flat_progress(struct weft_flat *flat, const struct weft_flat_call *call, int *peer,
                               uint64_t *peer_call)
{
    const struct weft_flat_form form = weft_flat_form_make(
        call->collective, call->root, flat->rank, flat->num_ranks, flat->group, call->is_canonical);
    struct weft_flat_stage stage;
    if (!flat->is_published)
        publish(flat, call, &form);
    while (weft_flat_stage_find(&form, flat->stage, &stage)) {
        weft_status status = look(flat, call, &form, &stage, peer, peer_call);
        if (status != WEFT_OK)
            return status;
        gather_now(flat, call, &form, &stage);
        flat->stage++;
        if (stage.is_last)
            break;
        raise_flag(flat, call, stage.level + 1);
    }
    flat->is_published = false;
    return WEFT_OK;
}

static bool is_at(const struct weft_flat *flat, int rank, uint32_t generation, uint32_t sequence,
                  uint64_t *call)
{
    const struct slot *slot = slot_at(flat, rank, WEFT_FLAT_CONTRIBUTIONS, generation);
    uint64_t flag = atomic_load_explicit(&slot->flag, memory_order_acquire);
    if ((uint32_t)flag != generation || slot->sequence != sequence)
        return false;
    *call = slot->call;
    return true;
}

// Nobody is so far ahead that the slot of the operation that this rank would begin next is used
// again, and in a group nobody but the leader looks at what a rank has called.
bool weft_flat_peek(const struct weft_flat *flat, int rank, uint32_t sequence, uint64_t *call)
{
    return is_at(flat, rank, flat->generation + 1, sequence, call) ||
           (flat->is_published && rank != flat->rank &&
            is_at(flat, rank, flat->generation, sequence, call));
}

static bool has_shown(const struct weft_flat *flat, int rank, int level)
{
    const struct slot *slot = slot_of(flat, rank, level);
    uint64_t flag = atomic_load_explicit(&slot->flag, memory_order_acquire);
    return (uint32_t)flag == flat->generation;
}

int weft_flat_missing(const struct weft_flat *flat)
{
    bool is_grouped = flat->group < flat->num_ranks;
    if (flat->is_published && !has_shown(flat, flat->awaited, WEFT_FLAT_CONTRIBUTIONS))
        return flat->awaited;
    for (int rank = 0; flat->is_published && is_grouped && rank < flat->num_ranks; rank++)
        if (!has_shown(flat, rank, WEFT_FLAT_CONTRIBUTIONS))
            return rank;
    return flat->is_published ? flat->awaited : -1;
}

// Leaders have more to do than to begin: the own one up to the result, others up to their partial.
bool weft_flat_has_come(const struct weft_flat *flat, int rank)
{
    int level = WEFT_FLAT_CONTRIBUTIONS;
    if (rank % flat->group == 0)
        level = rank == flat->awaited || flat->awaited_level < WEFT_FLAT_RESULTS
                    ? flat->awaited_level
                    : WEFT_FLAT_PARTIALS;
    return has_shown(flat, rank, level);
}
