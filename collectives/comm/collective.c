/*
 * SPDX-License-Identifier: Apache-2.0
 * Collectives and point-to-point from call to wire: flat slots where all ranks share memory and the
 * message is small, else a proved plan run over the transports. Operations of one communicator are
 * numbered in order of submission; the number and the call's signature travel with every message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "collectives/comm/batch.h"
#include "collectives/comm/describe.h"
#include "collectives/comm/in_memory.h"
#include "collectives/comm/progress.h"
#include "collectives/comm/request.h"
#include "collectives/comm/trace.h"
#include "collectives/planner/choice.h"

enum {
    PAIR_LANE = 0x8000,
};

struct collective {
    struct weft_operation base;
    struct weft_call call;
    char *algorithm;          // forced by the caller; NULL: none
    struct weft_batch *batch; // NULL: one call
    uint32_t sequence;
    enum weft_path path;
    bool has_turn;
    uint32_t turn; // among the communicator's operations through shared memory
    struct weft_flat_call flat;
    struct weft_planned planned;
    weft_status result; // of the run; IN_PROGRESS while it lasts
    int64_t begin_ns;   // for the trace
    int64_t lost_ns;    // when a connection was lost; 0: none was
};
_Static_assert(sizeof(struct collective) <= WEFT_OPERATION_BYTES, "fits");

/* ---- mismatches ---- */

void weft_collective_fail_mismatch(struct weft_comm *comm, int peer, uint64_t theirs, uint64_t ours)
{
    char their_text[96], our_text[96];
    weft_call_describe(ours, our_text, sizeof our_text);
    if (theirs == ours) { // found late: who needs nobody has gone on
        weft_comm_fail(comm, WEFT_MISMATCH, true,
                       "before %s rank %d made another small call than rank %d", our_text, peer,
                       comm->rank);
        return;
    }
    weft_call_describe(theirs, their_text, sizeof their_text);
    weft_comm_fail(comm, WEFT_MISMATCH, true, "rank %d calls %s, rank %d calls %s", peer,
                   their_text, comm->rank, our_text);
}

void weft_collective_unexpected(struct weft_comm *comm, int peer,
                                const struct weft_message_key *key, uint64_t call)
{
    if (key->lane >= PAIR_LANE || peer < 0 || comm->status != WEFT_OK)
        return;
    // It may be over here (whoever only sends does not wait for it), but not for the one who sent.
    const struct weft_past_call *ours = &comm->past[key->sequence % WEFT_PAST_CALLS];
    if (ours->call && ours->sequence == key->sequence) {
        if (ours->call != call)
            weft_collective_fail_mismatch(comm, peer, call, ours->call);
        return;
    }
    comm->early[comm->num_early++ % WEFT_EARLY_CALLS] =
        (struct weft_early_call){true, key->sequence, call, peer};
}

void weft_collective_note(struct weft_comm *comm, uint32_t sequence, uint64_t call)
{
    comm->past[sequence % WEFT_PAST_CALLS] = (struct weft_past_call){sequence, call};
    for (unsigned i = 0; i < WEFT_EARLY_CALLS && i < comm->num_early; i++) {
        struct weft_early_call *early = &comm->early[i];
        if (!early->is_valid || early->sequence != sequence)
            continue;
        early->is_valid = false;
        if (early->call != call)
            weft_collective_fail_mismatch(comm, early->peer, early->call, call);
    }
}

/* ---- operations ---- */

void weft_collective_finish(const struct weft_call *call)
{
    const weft_op_desc *desc = &call->desc;
    if (!call->output_elements || !weft_collective_reduces(desc->collective))
        return;
    if (weft_ops[desc->op].scales)
        weft_scale_lookup(desc->dtype)(desc->recv, call->output_elements, call->num_summands);
    else if (weft_ops[desc->op].is_logical && call->num_summands == 1) // nothing was combined
        weft_reduce_lookup(desc->dtype, WEFT_LOGICAL_AND)(desc->recv, desc->recv, desc->recv,
                                                          call->output_elements);
}

void weft_collective_trace(const struct weft_call *call, struct weft_comm *comm,
                           const char *algorithm, const char *transport, uint32_t sequence,
                           int64_t begin_ns, uint64_t sent, int64_t predicted_ps)
{
    const struct weft_trace_event event = {
        .collective = weft_collective_names[call->desc.collective],
        .algorithm = algorithm,
        .transport = transport,
        .sequence = sequence,
        .bytes = call->output_elements * call->element_bytes,
        .bytes_sent = sent,
        .begin_ns = begin_ns,
        .end_ns = weft_clock_ns(),
        .predicted_ps = predicted_ps,
    };
    weft_trace_add(comm, &event);
}

static void run_done(void *argument, weft_status status)
{
    struct collective *collective = argument;
    collective->result = status;
}

static weft_status connect_lanes(struct weft_comm *comm, const struct weft_plan *plan)
{
    uint32_t num_lanes;
    const struct weft_lane *lanes = weft_plan_lanes(plan, &num_lanes);
    for (uint32_t i = 0; i < num_lanes; i++)
        WEFT_TRY(weft_comm_connect(comm, (int)lanes[i].peer, &comm->error));
    return WEFT_OK;
}

static weft_status launch(struct collective *collective)
{
    struct weft_comm *comm = collective->base.comm;
    const struct weft_call *call = &collective->call;
    const weft_op_desc *desc = &call->desc;
    bool is_pair = weft_collective_is_pair(desc->collective);
    WEFT_TRY(weft_plans_get(comm, &call->key, comm->rank, collective->algorithm, call->is_in_place,
                            &collective->planned, &comm->error));
    WEFT_TRY(connect_lanes(comm, collective->planned.plan));
    const struct weft_launch launch = {
        .send = desc->send,
        .recv = desc->recv,
        .sizes = call->sizes,
        .element_bytes = call->element_bytes,
        .reduce = weft_reduce_lookup(desc->dtype, desc->op),
        .key = {.comm = comm->id, .sequence = collective->sequence, .epoch = (uint16_t)comm->epoch},
        .first_lane = is_pair ? PAIR_LANE : 0,
        .call = call->signature,
        .peers = comm->peers,
        .done = run_done,
        .argument = collective,
    };
    return weft_run_launch(collective->planned.run, &launch, &comm->error);
}

static uint32_t next_sequence(struct weft_comm *comm, const weft_op_desc *desc)
{
    if (desc->collective == WEFT_SEND)
        return comm->sends[desc->peer]++;
    if (desc->collective == WEFT_RECV)
        return comm->receives[desc->peer]++;
    return comm->sequence++;
}

static weft_status collective_start(struct weft_operation *operation)
{
    struct collective *collective = (struct collective *)operation;
    struct weft_comm *comm = operation->comm;
    collective->sequence = next_sequence(comm, &collective->call.desc);
    collective->result = WEFT_IN_PROGRESS;
    collective->begin_ns = *comm->context->config.trace ? weft_clock_ns() : 0;
    weft_context_fault_point(operation->context, "collective", comm->rank);
    if (!weft_collective_is_pair(collective->call.desc.collective))
        weft_collective_note(comm, collective->sequence, collective->call.signature);
    weft_call_multiply(&collective->call);
    if (collective->path != WEFT_PATH_PLAN) {
        collective->flat = weft_memory_call(&collective->call, collective->sequence);
        collective->turn = comm->flat_turns++;
        comm->context->flat_waiters++;
        return WEFT_IN_PROGRESS;
    }
    if (collective->batch)
        weft_batch_pack(collective->batch);
    weft_status status = launch(collective);
    if (status != WEFT_OK) { // peers that wait for this rank must hear of it
        struct weft_error why = comm->error;
        weft_comm_fail(comm, status, true, "%.480s", why.text);
    }
    return status == WEFT_OK ? WEFT_IN_PROGRESS : status;
}

static weft_status explain_failure(struct collective *collective)
{
    struct weft_comm *comm = collective->base.comm;
    int peer;
    struct weft_transfer failed = weft_run_failure(collective->planned.run, &peer);
    const char *name = weft_call_name(collective->call.desc.collective, collective->call.signature);
    if (collective->result == WEFT_MISMATCH && peer >= 0) {
        if (failed.peer_call != failed.call)
            weft_collective_fail_mismatch(comm, peer, failed.peer_call, failed.call);
        else if (failed.peer_plan != failed.plan)
            weft_comm_fail(
                comm, WEFT_MISMATCH, true,
                "%s: rank %d runs another plan than rank %d (is an algorithm forced there "
                "or here?)",
                name, peer, comm->rank);
        else
            weft_comm_fail(comm, WEFT_MISMATCH, true,
                           "%s: rank %d and rank %d disagree about a message: %llu and %zu bytes",
                           name, peer, comm->rank, (unsigned long long)failed.peer_bytes,
                           failed.bytes);
    } else if (collective->result == WEFT_REMOTE && peer >= 0) {
        const char *reason = comm->world->peers[comm->world_ranks[peer]].reason;
        weft_comm_fail(comm, WEFT_REMOTE, true, "%s: rank %d is gone: %s", name, peer,
                       *reason ? reason : "connection lost");
    } else {
        weft_comm_fail(comm, collective->result, true, "%s: %s", name,
                       weft_status_text(collective->result));
    }
    return comm->status;
}

static void trace_end(const struct collective *collective)
{
    struct weft_comm *comm = collective->base.comm;
    if (collective->path == WEFT_PATH_PLAN)
        weft_collective_trace(&collective->call, comm, collective->planned.algorithm,
                              weft_comm_transport(comm), collective->sequence, collective->begin_ns,
                              weft_run_bytes_sent(collective->planned.run),
                              collective->planned.predicted_ps);
    else
        weft_collective_trace(&collective->call, comm, weft_path_names[collective->path], "shm",
                              collective->sequence, collective->begin_ns, 0,
                              weft_memory_predict(comm, collective->path, &collective->call));
}

static weft_status collective_progress(struct weft_operation *operation)
{
    struct collective *collective = (struct collective *)operation;
    struct weft_comm *comm = operation->comm;
    if (collective->path != WEFT_PATH_PLAN) {
        if (collective->turn != comm->flat_turns_over) // in order of submission
            return WEFT_IN_PROGRESS;
        // One that ended badly has left its contribution in the slot: nobody may take that over.
        if (!collective->has_turn && comm->status != WEFT_OK)
            return comm->status;
        if (!collective->has_turn && collective->batch)
            weft_batch_pack(collective->batch);
        collective->has_turn = true;
        WEFT_TRY(weft_memory_poll(comm, collective->path, &collective->flat));
    } else {
        if (collective->result == WEFT_IN_PROGRESS)
            return WEFT_IN_PROGRESS;
        if (collective->result == WEFT_REMOTE && weft_comm_awaits_news(comm, &collective->lost_ns))
            return WEFT_IN_PROGRESS;
        if (collective->result != WEFT_OK)
            return explain_failure(collective);
    }
    weft_collective_finish(&collective->call);
    if (collective->batch)
        weft_batch_unpack(collective->batch);
    if (*comm->context->config.trace)
        trace_end(collective);
    return WEFT_OK;
}

static void drop(struct collective *collective)
{
    weft_call_free(&collective->call);
    free(collective->algorithm);
    weft_operation_free(&collective->base);
}

static void collective_release(struct weft_operation *operation)
{
    struct collective *collective = (struct collective *)operation;
    if (collective->path != WEFT_PATH_PLAN && operation->is_started) {
        operation->context->flat_waiters--;
        operation->comm->flat_turns_over++;
    }
    weft_plans_return(operation->comm, &collective->planned);
    weft_batch_free(&collective->batch);
    drop(collective);
}

static void collective_describe(const struct weft_operation *operation, char *text, size_t bytes)
{
    const struct collective *collective = (const struct collective *)operation;
    const char *name = weft_call_name(collective->call.desc.collective, collective->call.signature);
    bool is_pair = weft_collective_is_pair(collective->call.desc.collective);
    if (!is_pair)
        weft_memory_compare(operation->comm, collective->sequence, collective->call.signature);
    if (collective->path != WEFT_PATH_PLAN) {
        snprintf(text, bytes, "%s #%u: %s exchange waits for rank %d", name, collective->sequence,
                 weft_path_names[collective->path],
                 weft_memory_missing(operation->comm, collective->path));
        return;
    }
    struct weft_run_wait where = weft_run_where(collective->planned.run);
    if (where.peer < 0)
        snprintf(text, bytes, "%s #%u waits for nobody", name, collective->sequence);
    else
        snprintf(text, bytes, "%s #%u (%s): step %u waits for rank %d to %s", name,
                 collective->sequence, collective->planned.algorithm, where.step, where.peer,
                 where.is_receive ? "send" : "receive");
}

static const struct weft_operation_kind collective_kind = {
    .name = "collective",
    .start = collective_start,
    .progress = collective_progress,
    .release = collective_release,
    .describe = collective_describe,
};

// Checked, and its path chosen.
static weft_status make_collective(struct weft_comm *comm, const weft_op_desc *desc,
                                   struct collective **collective, struct weft_error *error)
{
    struct collective *made = weft_operation_allocate(comm->context);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an operation");
    made->base =
        (struct weft_operation){.kind = &collective_kind, .context = comm->context, .comm = comm};
    weft_status status = weft_call_make(comm, desc, &made->call, error);
    if (status != WEFT_OK) {
        weft_operation_free(&made->base);
        return status;
    }
    made->algorithm = NULL;
    made->batch = NULL;
    made->has_turn = false;
    made->planned = (struct weft_planned){.run = NULL};
    made->lost_ns = 0;
    made->path = weft_memory_path(comm, &made->call);
    *collective = made;
    return WEFT_OK;
}

// It outlives the call that asked for it.
static weft_status keep(struct collective *collective, struct weft_error *error)
{
    weft_op_desc *desc = &collective->call.desc;
    int64_t limit_ns = desc->timeout_ns ? desc->timeout_ns : collective->base.comm->timeout_ns;
    collective->base.deadline_ns = weft_deadline_after(limit_ns);
    collective->algorithm = desc->algorithm ? strdup(desc->algorithm) : NULL;
    if (desc->algorithm && !collective->algorithm) {
        drop(collective);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an operation");
    }
    // The caller's arrays may go away now; what is needed of them is in call.tables.
    desc->send_counts = desc->recv_counts = NULL;
    desc->algorithm = NULL;
    return WEFT_OK;
}

weft_status weft_collective_start(struct weft_comm *comm, const weft_op_desc *desc,
                                  weft_request *request, struct weft_error *error)
{
    struct collective *collective = NULL;
    WEFT_TRY(make_collective(comm, desc, &collective, error));
    WEFT_TRY(keep(collective, error));
    return weft_operation_start(&collective->base, request);
}

/* ---- groups ---- */

// One that others may go with, unless it goes with others itself: weft_batch_join has not seen what
// an older weft_op_desc says.
static weft_status submit_small(struct collective *collective, weft_request *request)
{
    struct weft_comm *comm = collective->base.comm;
    bool is_taken;
    weft_status status =
        weft_batch_join(comm, &collective->call.desc, request, &is_taken, &comm->error);
    if (status != WEFT_OK || is_taken) {
        drop(collective);
        return status;
    }
    WEFT_TRY(keep(collective, &comm->error));
    collective->batch = weft_batch_begin(&collective->base, &collective->call, request);
    if (!collective->batch) {
        drop(collective);
        return weft_fail(&comm->error, WEFT_OUT_OF_MEMORY, "no memory for a batch");
    }
    return weft_operation_submit(&collective->base, weft_batch_result(collective->batch));
}

void weft_collectives_settle(struct weft_operation *list)
{
    for (struct weft_operation *o = list; o; o = o->next) {
        struct collective *collective = (struct collective *)o;
        struct weft_error why;
        if (o->kind != &collective_kind || !collective->batch)
            continue;
        weft_status status =
            weft_batch_close(collective->batch, &collective->call, &collective->path, &why);
        if (status != WEFT_OK) // other ranks would wait for it
            weft_comm_fail(o->comm, status, true, "%.480s", why.text);
    }
}

static bool can_run_now(const struct weft_operation *operation, const struct weft_comm *comm)
{
    const struct collective *collective = (const struct collective *)operation;
    return operation->kind == &collective_kind && operation->comm == comm &&
           collective->path != WEFT_PATH_PLAN && !collective->algorithm;
}

static weft_status run_now(struct collective *collective)
{
    struct weft_comm *comm = collective->base.comm;
    WEFT_TRY(weft_comm_check_usable(comm));
    weft_call_multiply(&collective->call);
    if (collective->batch)
        weft_batch_pack(collective->batch);
    WEFT_TRY(weft_memory_run_now(comm, collective->path, &collective->call));
    if (collective->batch)
        weft_batch_unpack(collective->batch);
    return WEFT_OK;
}

bool weft_collectives_run_now(struct weft_operation *list, weft_status *status)
{
    *status = WEFT_OK;
    if (list && (!list->comm || list->comm->outstanding > 0))
        return false;
    for (const struct weft_operation *o = list; o; o = o->next)
        if (!can_run_now(o, list->comm))
            return false;
    for (struct weft_operation *o = list, *next; o; o = next) {
        next = o->next;
        weft_status result = run_now((struct collective *)o);
        weft_operation_end(o, result);
        if (*status == WEFT_OK)
            *status = result;
    }
    return true;
}

/* ---- submission ---- */

weft_status weft_submit(weft_comm *comm, const weft_op_desc *desc, weft_request *request)
{
    struct collective *collective = NULL;
    weft_status status;
    if (!desc || !comm)
        return WEFT_INVALID_ARGUMENT;
    WEFT_ENTER(comm->context);
    WEFT_TRY(weft_comm_check_usable(comm));
    bool is_grouped = comm->context->group_depth > 0, is_taken = false;
    if (is_grouped)
        WEFT_TRY(weft_batch_join(comm, desc, request, &is_taken, &comm->error));
    if (is_taken)
        return WEFT_OK;
    bool is_alone = !request && !is_grouped && comm->outstanding == 0;
    if (is_alone && weft_memory_repeat(comm, desc, &status))
        return status;
    WEFT_TRY(make_collective(comm, desc, &collective, &comm->error));
    struct weft_call *call = &collective->call;
    bool is_own = weft_collective_is_pair(call->desc.collective) && call->desc.peer == comm->rank;
    if (is_own || (is_alone && collective->path != WEFT_PATH_PLAN)) {
        weft_call_multiply(call);
        status = is_own ? weft_self_submit(comm, call, request)
                        : weft_memory_run_now(comm, collective->path, call);
        drop(collective);
        return status;
    }
    if (is_grouped && weft_batch_fits(comm, call))
        return submit_small(collective, request);
    WEFT_TRY(keep(collective, &comm->error));
    return weft_operation_submit(&collective->base, request);
}

/* ---- description ---- */

const char *weft_comm_transport(const struct weft_comm *comm)
{
    WEFT_ENTER(comm->context);
    for (int rank = 0; rank < comm->num_ranks; rank++)
        if (comm->peers[rank])
            return comm->peers[rank]->device->transport->name;
    return "none";
}

const char *weft_comm_describe(weft_comm *comm, const weft_op_desc *desc)
{
    struct weft_call call;
    struct weft_planned planned;
    struct weft_error error;
    WEFT_ENTER(comm->context);
    if (weft_call_make(comm, desc, &call, &error) != WEFT_OK)
        return "invalid";
    enum weft_path path = weft_memory_path(comm, &call);
    weft_status status = path == WEFT_PATH_PLAN
                             ? weft_plans_get(comm, &call.key, comm->rank, desc->algorithm,
                                              call.is_in_place, &planned, &error)
                             : WEFT_OK;
    weft_call_free(&call);
    if (path != WEFT_PATH_PLAN || status != WEFT_OK)
        return path != WEFT_PATH_PLAN ? weft_path_names[path] : "none";
    const char *algorithm = planned.algorithm;
    weft_plans_return(comm, &planned);
    return algorithm;
}

int weft_comm_candidates(weft_comm *comm, const weft_op_desc *desc,
                         struct weft_comm_candidate *candidates, int limit)
{
    struct weft_call call;
    struct weft_choice choice = {0};
    struct weft_error error;
    WEFT_ENTER(comm->context);
    if (weft_call_make(comm, desc, &call, &error) != WEFT_OK)
        return 0;
    weft_status status = weft_choice_make(&call.key, comm->layout, &choice, &error);
    weft_call_free(&call);
    int count = status == WEFT_OK ? choice.num_usable : 0;
    count = count < limit ? count : limit;
    for (int i = 0; i < count; i++)
        candidates[i] = (struct weft_comm_candidate){choice.candidates[i].algorithm->name,
                                                     choice.candidates[i].estimate_ps};
    return count;
}
