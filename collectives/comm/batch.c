/*
 * SPDX-License-Identifier: Apache-2.0
 * See batch.h. Of what has been joined, only what differs from the first call is kept.
 */
#include "collectives/comm/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum {
    CACHE_LINE_BYTES = 64,
    FIRST_CAPACITY = 16,
    BATCH_CALLS_LIMIT = 4096,            // a signature has room for so many
    BATCH_BYTES_LIMIT = WEFT_ROOM_BYTES, // more go as several
};

struct member {
    const void *send;
    void *recv;
    size_t bytes;
    weft_request *request; // NULL: none
};

struct weft_batch {
    struct weft_batch *next;    // of those of its communicator that are open
    struct weft_operation *own; // the first call's, then that of all
    weft_op_desc first;
    weft_request result;
    struct member *members; // (capacity)
    unsigned num_members, capacity;
    size_t element_bytes, bytes, elements;
    uint64_t counts; // their hash
    int64_t timeout_ns;
    char *room; // NULL: a call that stayed alone
    bool owns_room;
};

static size_t limit_of(const struct weft_comm *comm)
{
    int64_t limit = comm->context->config.join_bytes;
    return limit < BATCH_BYTES_LIMIT ? (size_t)limit : BATCH_BYTES_LIMIT;
}

bool weft_batch_fits(const struct weft_comm *comm, const struct weft_call *call)
{
    return call->desc.collective == WEFT_ALL_REDUCE && !call->desc.algorithm &&
           !call->leaf_bounds && !weft_ops[call->desc.op].multiplies && comm->num_ranks > 1 &&
           limit_of(comm) > 0 && call->block_bytes <= limit_of(comm);
}

/* ---- joining ---- */

static int64_t timeout_of(const struct weft_comm *comm, const weft_op_desc *desc)
{
    return desc->timeout_ns ? desc->timeout_ns : comm->timeout_ns;
}

static bool make_place(struct weft_batch *batch)
{
    if (batch->num_members < batch->capacity)
        return true;
    unsigned capacity = batch->capacity ? 2 * batch->capacity : FIRST_CAPACITY;
    struct member *members = realloc(batch->members, capacity * sizeof *members);
    if (!members)
        return false;
    batch->members = members;
    batch->capacity = capacity;
    return true;
}

static bool add(struct weft_batch *batch, const weft_op_desc *desc, weft_request *request)
{
    if (!make_place(batch))
        return false;
    size_t bytes = desc->count * batch->element_bytes;
    batch->members[batch->num_members++] = (struct member){desc->send, desc->recv, bytes, request};
    batch->bytes += bytes;
    batch->elements += desc->count;
    batch->counts = weft_hash_mix(batch->counts, desc->count);
    if (request)
        weft_request_begin(request, batch->own);
    return true;
}

// As request.c has it: in place, or apart.
static bool are_buffers_good(const weft_op_desc *desc, size_t bytes)
{
    bool are_there = desc->send && desc->recv;
    return bytes == 0 ||
           (are_there && (desc->send == desc->recv ||
                          !weft_buffers_overlap(desc->send, bytes, desc->recv, bytes)));
}

static void leave_open_ones(struct weft_batch *batch)
{
    struct weft_batch **link = &batch->own->comm->batches;
    while (*link && *link != batch)
        link = &(*link)->next;
    if (*link)
        *link = batch->next;
}

static struct weft_batch *find(const struct weft_comm *comm, const weft_op_desc *desc)
{
    struct weft_batch *batch = comm->batches;
    while (batch && !weft_call_is_like(desc, &batch->first))
        batch = batch->next;
    return batch;
}

weft_status weft_batch_join(struct weft_comm *comm, const weft_op_desc *desc, weft_request *request,
                            bool *is_taken, struct weft_error *error)
{
    struct weft_batch *batch = find(comm, desc);
    *is_taken = false;
    if (!batch || desc->count > limit_of(comm) / batch->element_bytes || desc->timeout_ns < 0)
        return WEFT_OK;
    size_t bytes = desc->count * batch->element_bytes;
    if (!are_buffers_good(desc, bytes))
        return WEFT_OK;
    if (batch->num_members == BATCH_CALLS_LIMIT || bytes > BATCH_BYTES_LIMIT - batch->bytes) {
        leave_open_ones(batch); // and the next begins
        return WEFT_OK;
    }
    if (!add(batch, desc, request))
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an operation");
    if (timeout_of(comm, desc) < batch->timeout_ns) {
        batch->timeout_ns = timeout_of(comm, desc);
        int64_t deadline_ns = weft_deadline_after(batch->timeout_ns);
        if (deadline_ns < batch->own->deadline_ns)
            batch->own->deadline_ns = deadline_ns;
    }
    *is_taken = true;
    return WEFT_OK;
}

struct weft_batch *weft_batch_begin(struct weft_operation *first, const struct weft_call *call,
                                    weft_request *request)
{
    struct weft_batch *batch = calloc(1, sizeof *batch);
    if (!batch)
        return NULL;
    batch->own = first;
    batch->first = call->desc;
    batch->element_bytes = call->element_bytes;
    batch->timeout_ns = timeout_of(first->comm, &call->desc);
    if (!add(batch, &call->desc, request)) {
        free(batch);
        return NULL;
    }
    batch->next = first->comm->batches;
    first->comm->batches = batch;
    return batch;
}

weft_request *weft_batch_result(struct weft_batch *batch)
{
    return &batch->result;
}

/* ---- as one ---- */

static weft_status find_room(struct weft_batch *batch, enum weft_path path,
                             struct weft_error *error)
{
    if (path != WEFT_PATH_PLAN) { // such operations take turns
        batch->room = weft_area_room(batch->own->comm);
        return WEFT_OK;
    }
    size_t lines = (batch->bytes + CACHE_LINE_BYTES) / CACHE_LINE_BYTES;
    batch->room = aligned_alloc(CACHE_LINE_BYTES, lines * CACHE_LINE_BYTES);
    batch->owns_room = true;
    return batch->room ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a batch");
}

weft_status weft_batch_close(struct weft_batch *batch, struct weft_call *call, enum weft_path *path,
                             struct weft_error *error)
{
    weft_op_desc whole = batch->first;
    leave_open_ones(batch);
    if (batch->num_members == 1)
        return WEFT_OK;
    whole.count = batch->elements;
    whole.timeout_ns = batch->timeout_ns;
    whole.send = whole.recv = batch; // where it will be depends on the path
    weft_call_free(call);
    WEFT_TRY(weft_call_make(batch->own->comm, &whole, call, error));
    call->signature = weft_call_signature_joined(&whole, batch->num_members, batch->counts);
    *path = weft_memory_path(batch->own->comm, call);
    WEFT_TRY(find_room(batch, *path, error));
    call->desc.send = call->desc.recv = batch->room;
    return WEFT_OK;
}

void weft_batch_pack(const struct weft_batch *batch)
{
    char *place = batch->room;
    for (unsigned i = 0; batch->room && i < batch->num_members; place += batch->members[i++].bytes)
        if (batch->members[i].bytes)
            memcpy(place, batch->members[i].send, batch->members[i].bytes);
}

void weft_batch_unpack(const struct weft_batch *batch)
{
    const char *place = batch->room;
    for (unsigned i = 0; batch->room && i < batch->num_members; place += batch->members[i++].bytes)
        if (batch->members[i].bytes)
            memcpy(batch->members[i].recv, place, batch->members[i].bytes);
}

void weft_batch_free(struct weft_batch **batch)
{
    struct weft_batch *gone = *batch;
    *batch = NULL;
    if (!gone)
        return;
    leave_open_ones(gone);
    weft_status status = weft_request_status(&gone->result);
    for (unsigned i = 0; i < gone->num_members; i++)
        if (gone->members[i].request)
            weft_request_end(gone->members[i].request, status);
    if (gone->owns_room)
        free(gone->room);
    free(gone->members);
    free(gone);
}
