/*
 * SPDX-License-Identifier: Apache-2.0
 * Collectives among ranks that share memory: which of them go that way, and how they are polled.
 */
#include "collectives/comm/in_memory.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "collectives/comm/even_out.h"
#include "collectives/comm/trace.h"
#include "collectives/planner/choice.h"

enum {
    FLAT_POLLS = 64,
    CROWDED_POLLS = 100, // before a yield that brings nobody: a few microseconds
};

const char *const weft_path_names[] = {"plan", "flat", "direct"};

int64_t weft_memory_predict(const struct weft_comm *comm, enum weft_path path,
                            const struct weft_call *call)
{
    const struct weft_algorithm *algorithm = weft_algorithm_find(weft_path_names[path]);
    if (!algorithm || weft_algorithm_refusal(algorithm, &call->key, comm->layout))
        return INT64_MAX;
    return weft_algorithm_predict(algorithm, &call->key, comm->layout);
}

struct weft_flat_call weft_memory_call(const struct weft_call *call, uint32_t sequence)
{
    const weft_op_desc *desc = &call->desc;
    return (struct weft_flat_call){
        .collective = desc->collective,
        .root = desc->root,
        .send = desc->send,
        .recv = desc->recv,
        .bytes = call->block_bytes,
        .element_bytes = call->element_bytes,
        .reduce = weft_reduce_lookup(desc->dtype, desc->op),
        .reduce_all = weft_reduce_all_lookup(desc->dtype, desc->op),
        .is_canonical = call->key.order == WEFT_ORDER_REPRODUCIBLE,
        .call = call->signature,
        .sequence = sequence,
    };
}

enum { UNKNOWN, OTHER, SLOTS, DIRECT, IS_MEASURED = 4 }; // a flag

/* What the planner would have. Everybody straight to everybody, in one hop or two: among ranks that
 * share memory, that is reading there. Kept by size class. */
static unsigned choose(struct weft_comm *comm, const struct weft_key *key)
{
    uint8_t *known = &comm->memory_choice[key->collective][key->order][key->size_class];
    struct weft_choice choice;
    if (*known == UNKNOWN) {
        bool is_made = weft_choice_make(key, comm->layout, &choice, NULL) == WEFT_OK;
        const char *best = is_made ? choice.candidates[0].algorithm->name : "";
        *known = !strcmp(best, "direct") ? DIRECT : !strcmp(best, "flat") ? SLOTS : OTHER;
        if (is_made && choice.candidates[0].is_measured)
            *known |= IS_MEASURED;
    }
    return *known;
}

// From agreed facts only: all ranks decide alike.
enum weft_path weft_memory_path(struct weft_comm *comm, const struct weft_call *call)
{
    if (!comm->is_flat || call->tables || call->key.num_leaves)
        return WEFT_PATH_PLAN;
    const char *forced =
        call->desc.algorithm ? call->desc.algorithm : comm->context->config.algorithm;
    bool fits = weft_flat_supports(call->desc.collective, comm->num_ranks, call->block_bytes,
                                   comm->flat_bytes);
    bool is_shared = call->block_bytes > 0 && weft_shared_supports(call->desc.collective);
    if (*forced && fits && !strcmp(forced, "flat"))
        return WEFT_PATH_FLAT;
    if (*forced)
        return is_shared && !strcmp(forced, "direct") ? WEFT_PATH_SHARED : WEFT_PATH_PLAN;
    // Slots are right where they suffice, unless somebody has measured that.
    if (fits && (!comm->layout->tuned || call->key.size_class < 0))
        return WEFT_PATH_FLAT;
    if (!is_shared && !fits)
        return WEFT_PATH_PLAN;
    unsigned choice = choose(comm, &call->key), best = choice & ~IS_MEASURED;
    bool is_measured = choice & IS_MEASURED;
    if (fits && (best == SLOTS || !is_measured))
        return WEFT_PATH_FLAT;
    bool is_plan = best == OTHER || (best == SLOTS && is_measured); // in messages
    return is_shared && !is_plan ? WEFT_PATH_SHARED : WEFT_PATH_PLAN;
}

weft_status weft_memory_poll(struct weft_comm *comm, enum weft_path path,
                             const struct weft_flat_call *call)
{
    int peer;
    uint64_t theirs;
    weft_status status = path == WEFT_PATH_FLAT
                             ? weft_flat_progress(&comm->flat, call, &peer, &theirs)
                             : weft_shared_progress(&comm->shared, call, &peer, &theirs);
    if (status == WEFT_OK || status == WEFT_IN_PROGRESS)
        return status;
    if (status == WEFT_MISMATCH)
        weft_collective_fail_mismatch(comm, peer, theirs, call->call);
    else
        weft_comm_fail(comm, status, true, "%s: the buffer of rank %d cannot be mapped: %s",
                       weft_call_name(call->collective, call->call), peer,
                       weft_status_text(status));
    return comm->status;
}

int weft_memory_missing(const struct weft_comm *comm, enum weft_path path)
{
    return path == WEFT_PATH_FLAT ? weft_flat_missing(&comm->flat)
                                  : weft_shared_missing(&comm->shared);
}

// Ranks that went through shared memory for this very call number, but not as this one: what a rank
// that waits for them could not see before its deadline.
void weft_memory_compare(struct weft_comm *comm, uint32_t sequence, uint64_t call)
{
    uint64_t theirs;
    for (int rank = 0; comm->is_flat && rank < comm->num_ranks && comm->status == WEFT_OK; rank++)
        if ((weft_flat_peek(&comm->flat, rank, sequence, &theirs) ||
             weft_shared_peek(&comm->shared, rank, sequence, &theirs)) &&
            theirs != call)
            weft_collective_fail_mismatch(comm, rank, theirs, call);
}

// Looks around while others keep this rank waiting. False: the communicator has failed.
static bool may_wait_on(struct weft_comm *comm, enum weft_path path, const struct weft_call *call,
                        uint32_t sequence, int64_t *deadline_ns)
{
    weft_context_progress(comm->context, true);
    weft_memory_compare(comm, sequence, call->signature);
    int64_t timeout_ns = call->desc.timeout_ns ? call->desc.timeout_ns : comm->timeout_ns;
    if (!*deadline_ns)
        *deadline_ns = weft_deadline_after(timeout_ns);
    else if (weft_clock_ns() > *deadline_ns)
        weft_comm_fail(comm, WEFT_TIMEOUT, true,
                       "%s: deadline passed; %s exchange waits for rank %d",
                       weft_call_name(call->desc.collective, call->signature),
                       weft_path_names[path], weft_memory_missing(comm, path));
    return comm->status == WEFT_OK;
}

static weft_status run(struct weft_comm *comm, enum weft_path path, const struct weft_call *call,
                       struct weft_flat_call *flat)
{
    struct weft_context *context = comm->context;
    if (context->is_oversubscribed)
        weft_even_out(comm);
    uint32_t sequence = flat->sequence = comm->sequence++;
    bool is_traced = *context->config.trace;
    int64_t begin_ns = is_traced ? weft_clock_ns() : 0, deadline_ns = 0;
    weft_context_fault_point(context, "collective", comm->rank);
    weft_collective_note(comm, sequence, call->signature);
    weft_status status =
        comm->status == WEFT_OK ? weft_memory_poll(comm, path, flat) : comm->status;
    uint64_t turns = comm->shared.turns;
    unsigned polls = 0;
    for (unsigned idle = 1; status == WEFT_IN_PROGRESS; idle++) {
        if (context->is_oversubscribed && idle < CROWDED_POLLS &&
            !weft_waits_for_own_core(comm, path))
            weft_context_relax();
        else if (idle % FLAT_POLLS == 0 || context->is_oversubscribed) {
            context->flat_waiters++;
            unsigned rounds = context->is_oversubscribed ? idle : idle / FLAT_POLLS * 8;
            weft_context_backoff(context, rounds < INT_MAX ? (int)rounds : INT_MAX);
            context->flat_waiters--;
        }
        if (++polls % (4 * FLAT_POLLS) == 0 &&
            !may_wait_on(comm, path, call, sequence, &deadline_ns))
            break;
        status = weft_memory_poll(comm, path, flat);
        // Long waits are for one turn, not for many together; but where cores are shared, who naps
        // in between leaves them to others.
        if (comm->shared.turns != turns && !context->is_oversubscribed) {
            turns = comm->shared.turns;
            idle = 0;
        }
    }
    if (comm->status != WEFT_OK)
        return comm->status;
    if (status == WEFT_OK)
        weft_collective_finish(call);
    if (is_traced)
        weft_collective_trace(call, comm, weft_path_names[path], "shm", sequence, begin_ns, 0,
                              weft_memory_predict(comm, path, call));
    return status;
}

/* ---- the same call again ---- */

struct weft_memory_last {
    enum weft_path path;
    struct weft_call call;
    struct weft_flat_call flat;
    size_t send_bytes, recv_bytes;
    size_t shift; // of send from recv, in place
};

static void remember(struct weft_comm *comm, enum weft_path path, const struct weft_call *call,
                     const struct weft_flat_call *flat)
{
    size_t n = (size_t)comm->num_ranks, block = call->block_bytes,
           before = block * (size_t)comm->rank;
    struct weft_memory_last last = {path, *call, *flat, block, block, 0};
    switch (call->desc.collective) {
    case WEFT_ALL_REDUCE:
        break;
    case WEFT_ALL_GATHER:
        last.recv_bytes = n * block;
        last.shift = before;
        break;
    case WEFT_REDUCE_SCATTER:
        last.send_bytes = n * block;
        last.shift = -before;
        break;
    case WEFT_ALL_TO_ALL:
        last.send_bytes = last.recv_bytes = n * block;
        break;
    default: // roots have other buffers than others
        return;
    }
    if (!comm->last)
        comm->last = malloc(sizeof *comm->last);
    if (comm->last)
        *comm->last = last;
}

weft_status weft_memory_run_now(struct weft_comm *comm, enum weft_path path,
                                const struct weft_call *call)
{
    struct weft_flat_call flat = weft_memory_call(call, 0);
    if (!call->desc.algorithm && call->block_bytes > 0 && !weft_ops[call->desc.op].multiplies &&
        !weft_call_is_joined(call->signature))
        remember(comm, path, call, &flat);
    return run(comm, path, call, &flat);
}

// Everything but the buffers is as it was; what has counts or names is not remembered.
static bool is_same_call(const weft_op_desc *a, const weft_op_desc *b)
{
    return weft_call_is_like(a, b) && a->count == b->count && a->root == b->root &&
           a->timeout_ns == b->timeout_ns;
}

// As request.c has it: in place, or apart.
static bool are_buffers_good(const struct weft_memory_last *last, const weft_op_desc *desc)
{
    bool is_in_place = (uintptr_t)desc->send == (uintptr_t)desc->recv + last->shift;
    return desc->send && desc->recv &&
           (is_in_place ||
            !weft_buffers_overlap(desc->send, last->send_bytes, desc->recv, last->recv_bytes));
}

bool weft_memory_repeat(struct weft_comm *comm, const weft_op_desc *desc, weft_status *status)
{
    struct weft_memory_last *last = comm->last;
    if (!last || !is_same_call(desc, &last->call.desc) || !are_buffers_good(last, desc))
        return false;
    last->flat.send = last->call.desc.send = desc->send;
    last->flat.recv = last->call.desc.recv = desc->recv;
    *status = run(comm, last->path, &last->call, &last->flat);
    return true;
}
