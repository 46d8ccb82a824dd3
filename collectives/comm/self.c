/*
 * SPDX-License-Identifier: Apache-2.0
 * Sends of a rank to itself, as all-to-alls written with grouped sends and receives make them: the
 * k-th send meets the k-th receive, and whoever comes second copies.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "collectives/comm/request.h"

struct half {
    struct weft_operation base;
    weft_op_desc desc;
    uint32_t number; // among the sends, or the receives, to itself
    bool is_done;
};

static struct half *find_other_half(const struct half *half);

static weft_status meet(struct half *half)
{
    struct weft_comm *comm = half->base.comm;
    struct half *other = find_other_half(half);
    if (!other)
        return WEFT_IN_PROGRESS;
    const weft_op_desc *send = &half->desc, *recv = &other->desc;
    if (send->collective == WEFT_RECV)
        send = &other->desc, recv = &half->desc;
    if (send->count != recv->count || send->dtype != recv->dtype) {
        weft_comm_fail(comm, WEFT_MISMATCH, true,
                       "rank %d sends itself %zu x %s and receives %zu x %s", comm->rank,
                       send->count, weft_dtypes[send->dtype].name, recv->count,
                       weft_dtypes[recv->dtype].name);
        return comm->status;
    }
    if (send->count && send->send != recv->recv)
        memmove(recv->recv, send->send, send->count * weft_dtypes[send->dtype].bytes);
    other->is_done = true;
    return WEFT_OK;
}

static weft_status half_start(struct weft_operation *operation)
{
    struct half *half = (struct half *)operation;
    struct weft_comm *comm = operation->comm;
    uint32_t *counter =
        half->desc.collective == WEFT_SEND ? &comm->sends[comm->rank] : &comm->receives[comm->rank];
    half->number = (*counter)++;
    return meet(half);
}

static weft_status half_progress(struct weft_operation *operation)
{
    return ((struct half *)operation)->is_done ? WEFT_OK : WEFT_IN_PROGRESS;
}

static void half_release(struct weft_operation *operation)
{
    free(operation);
}

static void half_describe(const struct weft_operation *operation, char *text, size_t bytes)
{
    const struct half *half = (const struct half *)operation;
    snprintf(text, bytes, "a %s of rank %d to itself has no other half",
             weft_collective_names[half->desc.collective], operation->comm->rank);
}

static const struct weft_operation_kind half_kind = {
    .name = "send to itself",
    .start = half_start,
    .progress = half_progress,
    .release = half_release,
    .describe = half_describe,
};

static struct half *find_other_half(const struct half *half)
{
    for (struct weft_operation *o = half->base.context->operations; o; o = o->next) {
        struct half *other = (struct half *)o;
        if (o->kind == &half_kind && o->comm == half->base.comm && !other->is_done &&
            other->desc.collective != half->desc.collective && other->number == half->number)
            return other;
    }
    return NULL;
}

weft_status weft_self_submit(struct weft_comm *comm, const struct weft_call *call,
                             weft_request *request)
{
    struct half *half = calloc(1, sizeof *half);
    if (!half)
        return weft_fail(&comm->error, WEFT_OUT_OF_MEMORY, "no memory for an operation");
    int64_t timeout_ns = call->desc.timeout_ns ? call->desc.timeout_ns : comm->timeout_ns;
    half->base = (struct weft_operation){.kind = &half_kind,
                                         .context = comm->context,
                                         .comm = comm,
                                         .deadline_ns = weft_deadline_after(timeout_ns)};
    half->desc = call->desc;
    return weft_operation_submit(&half->base, request);
}
