/*
 * SPDX-License-Identifier: Apache-2.0
 * See flat.h. `gather` is the one description of what is read in which order; it is compiled twice,
 * with actions that move bytes and with actions that record a program.
 */
#include "collectives/executor/flat.h"

#include <stdatomic.h>
#include <string.h>

#include "collectives/program/builder.h"

struct slot {
    _Atomic uint64_t flag; // generation in the low half, a fold of `call` in the high half
    uint64_t call;
    uint64_t sequence;
    char data[];
};

_Static_assert(sizeof(struct slot) == WEFT_FLAT_HEADER_BYTES, "data shares the flag's cache line");

// Blocks of contributions: block `from` of rank `peer` into block `to` of the output. In canonical
// order through a stack: push a contribution, combine the two values on top, take the last one out.
struct actions {
    void (*copy)(void *argument, int peer, int from, int to);
    void (*begin)(void *argument, int from, int to); // ranks 0 and 1 combined
    void (*combine)(void *argument, int peer, int from, int to);
    void (*push)(void *argument, int depth, int peer, int from);
    void (*merge)(void *argument, int depth);
    void (*take)(void *argument, int to);
};

enum {
    LINE_BYTES = 64,
    CALLED_BACK_BYTES = 1024,
    STACK_DEPTH = 8,    // 64 ranks: 7 finished subtrees at most, of falling sizes, and a leaf
    STACK_BYTES = 1024, // of each value, hence of what is combined at a time
};

struct form {
    weft_collective collective;
    int root;
    int rank;
    int num_ranks;
    bool is_canonical;
};

// The tree over all ranks: a node is complete when it cannot grow.
static inline __attribute__((always_inline)) void gather_tree(const struct form *form,
                                                              const struct actions *actions,
                                                              void *argument, int from, int to)
{
    int depth = 0;
    for (int peer = 0; peer < form->num_ranks; peer++) {
        bool is_last = peer == form->num_ranks - 1;
        actions->push(argument, depth++, peer, from);
        for (int twos = peer + 1; depth > 1 && (twos % 2 == 0 || is_last); twos /= 2)
            actions->merge(argument, --depth);
    }
    actions->take(argument, to);
}

// Contributions are combined in rank order on every rank, so all get the same bits.
static inline __attribute__((always_inline)) void gather(const struct form *form,
                                                         const struct actions *actions,
                                                         void *argument)
{
    int n = form->num_ranks, me = form->rank;
    int from = form->collective == WEFT_REDUCE_SCATTER ? me : 0;
    int to = form->collective == WEFT_REDUCE_SCATTER ? me : 0;
    switch (form->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_BARRIER:
    case WEFT_REDUCE:
    case WEFT_REDUCE_SCATTER:
        if (form->collective == WEFT_REDUCE && me != form->root)
            return;
        if (form->is_canonical) {
            gather_tree(form, actions, argument, from, to);
            return;
        }
        if (n == 1)
            actions->copy(argument, 0, from, to);
        else
            actions->begin(argument, from, to);
        for (int peer = 2; peer < n; peer++)
            actions->combine(argument, peer, from, to);
        return;
    case WEFT_BROADCAST:
        actions->copy(argument, form->root, 0, 0);
        return;
    case WEFT_ALL_GATHER:
    case WEFT_GATHER:
        for (int peer = 0; peer < n && (form->collective != WEFT_GATHER || me == form->root);
             peer++)
            actions->copy(argument, peer, peer, peer);
        return;
    case WEFT_SCATTER:
        actions->copy(argument, form->root, me, me);
        return;
    case WEFT_ALL_TO_ALL:
        for (int peer = 0; peer < n; peer++)
            actions->copy(argument, peer, me, peer);
        return;
    default:
        return;
    }
}

// Blocks a rank contributes: 0 none, 1 one, or all of them.
static int contributed_blocks(const struct form *form)
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

size_t weft_flat_area_bytes(size_t data_bytes)
{
    return WEFT_FLAT_SLOTS * ((WEFT_FLAT_HEADER_BYTES + data_bytes + 127) & ~(size_t)127);
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

// The slot of a rank for operation number `generation`.
static struct slot *slot_at(const struct weft_flat *flat, int rank, uint32_t generation)
{
    size_t slot_bytes = weft_flat_area_bytes(flat->data_bytes) / WEFT_FLAT_SLOTS;
    return (struct slot *)(flat->areas[rank] + generation % WEFT_FLAT_SLOTS * slot_bytes);
}

static struct slot *slot_of(const struct weft_flat *flat, int rank)
{
    return slot_at(flat, rank, flat->generation);
}

// The others have the lines of the next slot in their caches, but read them no more: they can come
// back while this rank waits.
static void call_back_next(const struct weft_flat *flat, size_t bytes)
{
    const char *next = (const char *)slot_at(flat, flat->rank, flat->generation + 1);
    size_t most = bytes < CALLED_BACK_BYTES ? bytes : CALLED_BACK_BYTES;
    for (size_t at = 0; at < most + WEFT_FLAT_HEADER_BYTES; at += LINE_BYTES)
        __builtin_prefetch(next + at, 1);
}

/* ---- moving bytes ---- */

struct mover {
    const struct weft_flat *flat;
    const struct weft_flat_call *call;
    size_t begin, bytes; // canonical: what of the block is combined now
    const char *values[STACK_DEPTH];
    char room[STACK_DEPTH][STACK_BYTES];
};

static const char *block_of(const struct mover *mover, int peer, int from)
{
    // A slot holds contributed blocks from its beginning; a gather's own block is its only one.
    if (mover->call->collective == WEFT_ALL_GATHER || mover->call->collective == WEFT_GATHER)
        from = 0;
    return slot_of(mover->flat, peer)->data + (size_t)from * mover->call->bytes;
}

static char *output_of(const struct mover *mover, int to)
{
    if (mover->call->collective == WEFT_REDUCE_SCATTER || mover->call->collective == WEFT_SCATTER)
        to = 0;
    return (char *)mover->call->recv + (size_t)to * mover->call->bytes;
}

static void move_copy(void *argument, int peer, int from, int to)
{
    const struct mover *mover = argument;
    if (mover->call->bytes)
        memcpy(output_of(mover, to), block_of(mover, peer, from), mover->call->bytes);
}

// The own contribution may lie where the sum goes; it is still there now.
static void move_begin(void *argument, int from, int to)
{
    const struct mover *mover = argument;
    const char *values[2];
    for (int peer = 0; peer < 2; peer++)
        values[peer] = peer == mover->flat->rank
                           ? (const char *)mover->call->send + (size_t)from * mover->call->bytes
                           : block_of(mover, peer, from);
    if (mover->call->bytes)
        mover->call->reduce(output_of(mover, to), values[0], values[1],
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
    mover->values[depth] = block_of(mover, peer, from) + mover->begin;
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
static void gather_now(const struct weft_flat *flat, const struct weft_flat_call *call)
{
    static const struct actions moves = {move_copy, move_begin, move_combine,
                                         move_push, move_merge, move_take};
    const struct form form = {call->collective, call->root, flat->rank, flat->num_ranks,
                              call->is_canonical};
    struct mover mover;
    mover.flat = flat;
    mover.call = call;
    if (!call->is_canonical) {
        gather(&form, &moves, &mover);
        return;
    }
    for (mover.begin = 0; mover.begin < call->bytes; mover.begin += STACK_BYTES) {
        size_t left = call->bytes - mover.begin;
        mover.bytes = left < STACK_BYTES ? left : STACK_BYTES;
        gather(&form, &moves, &mover);
    }
}

static uint64_t flag_word(uint32_t generation, uint64_t call)
{
    return ((call ^ (call >> 32)) << 32) | generation;
}

static void publish(struct weft_flat *flat, const struct weft_flat_call *call)
{
    const struct form form = {call->collective, call->root, flat->rank, flat->num_ranks, false};
    struct slot *mine;
    flat->generation++;
    mine = slot_of(flat, flat->rank);
    size_t bytes = (size_t)contributed_blocks(&form) * call->bytes;
    if (bytes)
        memcpy(mine->data, call->send, bytes);
    mine->call = call->call;
    mine->sequence = call->sequence;
    atomic_store_explicit(&mine->flag, flag_word(flat->generation, call->call),
                          memory_order_release);
    if (bytes > 64)
        call_back_next(flat, bytes);
    flat->is_published = true;
    flat->seen = UINT64_C(1) << flat->rank;
}

static bool all_seen(const struct weft_flat *flat)
{
    return flat->seen ==
           (flat->num_ranks == 64 ? UINT64_MAX : (UINT64_C(1) << flat->num_ranks) - 1);
}

weft_status weft_flat_progress(struct weft_flat *flat, const struct weft_flat_call *call, int *peer,
                               uint64_t *peer_call)
{
    if (!flat->is_published)
        publish(flat, call);
    uint64_t wanted = flag_word(flat->generation, call->call);
    for (int rank = 0; rank < flat->num_ranks; rank++) {
        if (flat->seen >> rank & 1)
            continue;
        struct slot *slot = slot_of(flat, rank);
        uint64_t flag = atomic_load_explicit(&slot->flag, memory_order_acquire);
        if ((uint32_t)flag != flat->generation)
            return WEFT_IN_PROGRESS;
        if (flag != wanted || slot->call != call->call) {
            *peer = rank;
            *peer_call = slot->call;
            return WEFT_MISMATCH;
        }
        flat->seen |= UINT64_C(1) << rank;
    }
    if (!all_seen(flat))
        return WEFT_IN_PROGRESS;
    gather_now(flat, call);
    flat->is_published = false;
    return WEFT_OK;
}

bool weft_flat_peek(const struct weft_flat *flat, int rank, uint32_t sequence, uint64_t *call)
{
    // Only a slot of the generation that this rank would use next can be ahead of it.
    struct weft_flat next = *flat;
    next.generation++;
    const struct slot *slot = slot_of(&next, rank);
    uint64_t flag = atomic_load_explicit(&slot->flag, memory_order_acquire);
    if ((uint32_t)flag != next.generation || slot->sequence != sequence)
        return false;
    *call = slot->call;
    return true;
}

int weft_flat_missing(const struct weft_flat *flat)
{
    for (int rank = 0; flat->is_published && rank < flat->num_ranks; rank++)
        if (!(flat->seen >> rank & 1))
            return rank;
    return -1;
}

bool weft_flat_has_come(const struct weft_flat *flat, int rank)
{
    if (flat->seen >> rank & 1)
        return true;
    uint64_t flag = atomic_load_explicit(&slot_of(flat, rank)->flag, memory_order_acquire);
    return (uint32_t)flag == flat->generation;
}

/* ---- recording ---- */

struct recorder {
    struct weft_builder *builder;
    const struct weft_shape *shape;
    uint32_t first[WEFT_FLAT_RANKS_LIMIT]; // scratch cell of the block read from each other rank
    uint32_t own;                          // scratch copy of the whole input: the own slot
    uint32_t like;                         // an output cell
    struct weft_operand values[STACK_DEPTH];
};

static struct weft_operand slot_operand(struct recorder *recorder, int peer, int from)
{
    if (peer == recorder->shape->rank)
        return weft_cells(WEFT_SCRATCH,
                          recorder->own + (uint32_t)from - weft_shape_input(recorder->shape).first);
    return weft_cells(WEFT_SCRATCH, recorder->first[peer]);
}

static void record_copy(void *argument, int peer, int from, int to)
{
    struct recorder *recorder = argument;
    weft_builder_move(recorder->builder, 0, 1, slot_operand(recorder, peer, from),
                      weft_cells(WEFT_OUTPUT, (uint32_t)to));
}

static void record_begin(void *argument, int from, int to)
{
    struct recorder *recorder = argument;
    weft_builder_combine(recorder->builder, 0, 1, slot_operand(recorder, 0, from),
                         slot_operand(recorder, 1, from), weft_cells(WEFT_OUTPUT, (uint32_t)to));
}

static void record_combine(void *argument, int peer, int from, int to)
{
    struct recorder *recorder = argument;
    struct weft_operand output = weft_cells(WEFT_OUTPUT, (uint32_t)to);
    weft_builder_combine(recorder->builder, 0, 1, output, slot_operand(recorder, peer, from),
                         output);
}

static void record_push(void *argument, int depth, int peer, int from)
{
    struct recorder *recorder = argument;
    recorder->values[depth] = slot_operand(recorder, peer, from);
}

static void record_merge(void *argument, int depth)
{
    struct recorder *recorder = argument;
    struct weft_operand into = weft_cells(
        WEFT_SCRATCH, weft_builder_scratch(recorder->builder, WEFT_OUTPUT, recorder->like, 1));
    weft_builder_combine(recorder->builder, 0, 1, recorder->values[depth - 1],
                         recorder->values[depth], into);
    recorder->values[depth - 1] = into;
}

static void record_take(void *argument, int to)
{
    struct recorder *recorder = argument;
    weft_builder_move(recorder->builder, 0, 1, recorder->values[0],
                      weft_cells(WEFT_OUTPUT, (uint32_t)to));
}

static void record_receive(void *argument, int peer, int from, int to)
{
    struct recorder *recorder = argument;
    (void)to;
    if (peer == recorder->shape->rank)
        return;
    struct weft_label label = weft_label_leaf(peer, (uint32_t)from);
    uint32_t extent =
        recorder->shape->collective == WEFT_ALL_TO_ALL ? (uint32_t)peer : (uint32_t)from;
    recorder->first[peer] = weft_builder_scratch(recorder->builder, WEFT_OUTPUT, extent, 1);
    weft_builder_move(recorder->builder, 0, 1, weft_from(peer, 0, &label),
                      weft_cells(WEFT_SCRATCH, recorder->first[peer]));
}

static void receive_begin(void *argument, int from, int to)
{
    record_receive(argument, 0, from, to);
    record_receive(argument, 1, from, to);
}

static void receive_push(void *argument, int depth, int peer, int from)
{
    (void)depth;
    record_receive(argument, peer, from, 0);
}

static void no_merge(void *argument, int depth)
{
    (void)argument;
    (void)depth;
}

static void no_take(void *argument, int to)
{
    (void)argument;
    (void)to;
}

// What the others read out of this rank's slot: found by asking for their reads of it.
struct reads_of_me {
    struct weft_builder *builder;
    int me;
    int reader;
};

static void record_send(void *argument, int peer, int from, int to)
{
    struct reads_of_me *reads = argument;
    (void)to;
    if (peer == reads->me && reads->reader != reads->me)
        weft_builder_move(reads->builder, 0, 1, weft_cells(WEFT_INPUT, (uint32_t)from),
                          weft_to(reads->reader, 0));
}

static void send_begin(void *argument, int from, int to)
{
    record_send(argument, 0, from, to);
    record_send(argument, 1, from, to);
}

static void send_push(void *argument, int depth, int peer, int from)
{
    (void)depth;
    record_send(argument, peer, from, 0);
}

weft_status weft_flat_trace(const struct weft_shape *shape, struct weft_program **program,
                            struct weft_error *error)
{
    static const struct actions receives = {record_receive, receive_begin, record_receive,
                                            receive_push,   no_merge,      no_take};
    static const struct actions sends = {record_send, send_begin, record_send,
                                         send_push,   no_merge,   no_take};
    static const struct actions moves = {record_copy, record_begin, record_combine,
                                         record_push, record_merge, record_take};
    struct recorder recorder = {.shape = shape, .like = weft_shape_output(shape).first};
    if (shape->num_ranks > WEFT_FLAT_RANKS_LIMIT || shape->num_leaves || shape->pieces != 1 ||
        !weft_flat_supports(shape->collective, shape->num_ranks, 0, 0))
        return weft_fail(error, WEFT_UNSUPPORTED, "the flat path does not do this");
    WEFT_TRY(weft_builder_create(shape, "flat", WEFT_OUT_OF_PLACE | WEFT_IN_PLACE,
                                 &recorder.builder, error));
    // 1. What the program calls messages is the slots: written once, read by everybody.
    for (int reader = 0; reader < shape->num_ranks; reader++) {
        const struct form theirs = {shape->collective, shape->root, reader, shape->num_ranks,
                                    shape->is_canonical};
        struct reads_of_me reads = {recorder.builder, shape->rank, reader};
        gather(&theirs, &sends, &reads);
    }
    const struct form form = {shape->collective, shape->root, shape->rank, shape->num_ranks,
                              shape->is_canonical};
    gather(&form, &receives, &recorder);
    // 2. The own contribution is read from the slot too: a copy made before any output is written.
    struct weft_window input = weft_shape_input(shape);
    recorder.own = weft_builder_scratch(recorder.builder, WEFT_INPUT, input.first, input.cells);
    weft_builder_move(recorder.builder, 0, input.cells, weft_cells(WEFT_INPUT, input.first),
                      weft_cells(WEFT_SCRATCH, recorder.own));
    // 3. The reads, in order.
    gather(&form, &moves, &recorder);
    return weft_builder_finish(&recorder.builder, program, error);
}
