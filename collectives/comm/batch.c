/*
 * SPDX-License-Identifier: Apache-2.0
 * The members of a batch are operations that never start: they end when the batch is freed, with
 * its result.
 */
#include "collectives/comm/batch.h"

#include <stdlib.h>
#include <string.h>

enum {
    CACHE_LINE_BYTES = 64,
    BATCH_CALLS_LIMIT = 4096,      // a signature has room for so many
    BATCH_BYTES_LIMIT = 256 << 10, // more go as several
    IN_MEMORY_LIMIT = 4 << 10,     // of a call among ranks that share memory: there a call costs
                                   // less than two copies of more bytes
};

struct weft_batch {
    weft_request result;
    struct weft_operation *members; // by `next`, in order of submission
    char *room;
};

static size_t bytes_of(const struct weft_call *call)
{
    return call->output_elements * call->element_bytes;
}

void weft_batch_pack(struct weft_batch *batch)
{
    char *place = batch->room;
    for (const struct weft_operation *o = batch->members; o; o = o->next) {
        const struct weft_call *call = weft_collective_joinable(o);
        if (call->output_elements)
            memcpy(place, call->desc.send, bytes_of(call));
        place += bytes_of(call);
    }
}

void weft_batch_unpack(const struct weft_batch *batch)
{
    const char *place = batch->room;
    for (const struct weft_operation *o = batch->members; o; o = o->next) {
        const struct weft_call *call = weft_collective_joinable(o);
        if (call->output_elements)
            memcpy(call->desc.recv, place, bytes_of(call));
        place += bytes_of(call);
    }
}

void weft_batch_free(struct weft_batch **batch)
{
    struct weft_batch *gone = *batch;
    *batch = NULL;
    if (!gone)
        return;
    weft_status status = weft_request_status(&gone->result);
    for (struct weft_operation *o = gone->members, *next; o; o = next) {
        next = o->next;
        weft_operation_end(o, status);
    }
    free(gone->room);
    free(gone);
}

/* ---- forming them ---- */

// NULL: it goes alone.
static const struct weft_call *small_call(const struct weft_operation *operation)
{
    const struct weft_call *call = weft_collective_joinable(operation);
    int64_t limit = operation->context->config.join_bytes;
    if (call && operation->comm->is_flat && limit > IN_MEMORY_LIMIT)
        limit = IN_MEMORY_LIMIT;
    return call && limit > 0 && bytes_of(call) <= (size_t)limit ? call : NULL;
}

static bool are_alike(const struct weft_operation *a, const struct weft_operation *b)
{
    const struct weft_call *one = small_call(a), *other = small_call(b);
    return one && other && a->comm == b->comm && one->desc.dtype == other->desc.dtype &&
           one->desc.op == other->desc.op && one->desc.order == other->desc.order;
}

/* What a batch would be made of. */
struct plan {
    unsigned num_calls;
    size_t bytes, elements;
    uint64_t counts; // their hash
    int64_t deadline_ns;
};

static bool add(struct plan *plan, const struct weft_operation *operation)
{
    const struct weft_call *call = small_call(operation);
    if (plan->num_calls == BATCH_CALLS_LIMIT || bytes_of(call) > BATCH_BYTES_LIMIT - plan->bytes)
        return false;
    plan->num_calls++;
    plan->bytes += bytes_of(call);
    plan->elements += call->output_elements;
    plan->counts = weft_hash_mix(plan->counts, call->output_elements);
    if (plan->num_calls == 1 || operation->deadline_ns < plan->deadline_ns)
        plan->deadline_ns = operation->deadline_ns;
    return true;
}

static struct plan plan_batch(const struct weft_operation *first)
{
    struct plan plan = {0};
    if (!small_call(first))
        return plan;
    for (const struct weft_operation *o = first; o; o = o->next)
        if (are_alike(first, o) && !add(&plan, o))
            break;
    return plan;
}

// Of the first operation and those behind it that were planned for; the others stay.
static struct weft_operation *take_members(struct weft_operation *first, unsigned num_calls,
                                           struct weft_operation **rest)
{
    struct weft_operation *members = first, **kept = rest, *last = first, *next;
    *rest = NULL;
    for (struct weft_operation *o = first->next; o; o = next) {
        next = o->next;
        o->next = NULL;
        if (num_calls > 1 && are_alike(first, o)) {
            num_calls--;
            last->next = o;
            last = o;
        } else {
            *kept = o;
            kept = &o->next;
        }
    }
    last->next = NULL;
    return members;
}

static struct weft_batch *new_batch(const struct plan *plan)
{
    size_t room = (plan->bytes + CACHE_LINE_BYTES) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
    struct weft_batch *batch = calloc(1, sizeof *batch);
    if (batch)
        batch->room = aligned_alloc(CACHE_LINE_BYTES, room);
    if (batch && !batch->room)
        weft_batch_free(&batch);
    return batch;
}

static weft_status make_operation(struct weft_batch *batch, const struct weft_operation *first,
                                  const struct plan *plan, struct weft_operation **operation,
                                  struct weft_error *error)
{
    const struct weft_call *call = small_call(first);
    const weft_op_desc desc = {
        .struct_bytes = sizeof desc,
        .collective = WEFT_ALL_REDUCE,
        .send = batch->room,
        .recv = batch->room,
        .count = plan->elements,
        .dtype = call->desc.dtype,
        .op = call->desc.op,
        .order = call->desc.order,
    };
    uint64_t signature = weft_call_signature_joined(&desc, plan->num_calls, plan->counts);
    WEFT_TRY(weft_collective_make_batch(first->comm, &desc, signature, batch, operation, error));
    (*operation)->request = &batch->result;
    (*operation)->deadline_ns = plan->deadline_ns;
    return WEFT_OK;
}

// In place of `first`: the batch that it begins, or itself.
static struct weft_operation *join(struct weft_operation *first)
{
    struct plan plan = plan_batch(first);
    struct weft_operation *operation, *rest;
    struct weft_error why;
    if (plan.num_calls < 2)
        return first;
    struct weft_batch *batch = new_batch(&plan);
    weft_status status = batch ? make_operation(batch, first, &plan, &operation, &why)
                               : weft_fail(&why, WEFT_OUT_OF_MEMORY, "no memory for a batch");
    if (status != WEFT_OK) { // other ranks would wait for it
        weft_batch_free(&batch);
        weft_comm_fail(first->comm, status, true, "%.480s", why.text);
        return first;
    }
    batch->members = take_members(first, plan.num_calls, &rest);
    operation->next = rest;
    return operation;
}

struct weft_operation *weft_batches_form(struct weft_operation *list)
{
    for (struct weft_operation **place = &list; *place; place = &(*place)->next)
        *place = join(*place);
    return list;
}
