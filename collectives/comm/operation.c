/*
 * SPDX-License-Identifier: Apache-2.0
 * Operations in flight: submission, groups, deadlines, results, and the public test and wait.
 *
 * A request in the caller's memory is (operation or what was it, status or IN_PROGRESS, context,
 * unused). The operation knows its request and writes the result there when it ends, so the
 * caller's memory is all that outlives it. The status is written last and read first: with a
 * progress thread, weft_test looks at nothing else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "collectives/comm/progress.h"

enum { REQUEST_OPERATION, REQUEST_STATUS, REQUEST_CONTEXT };
enum { SPARE_OPERATIONS = 64 };

/* ---- memory ---- */

void *weft_operation_allocate(struct weft_context *context)
{
    struct weft_operation *spare = context->spare_operations;
    if (!spare)
        return malloc(WEFT_OPERATION_BYTES);
    context->spare_operations = spare->next;
    context->num_spare_operations--;
    return spare;
}

void weft_operation_free(struct weft_operation *operation)
{
    struct weft_context *context = operation->context;
    if (context->num_spare_operations == SPARE_OPERATIONS) {
        free(operation);
        return;
    }
    operation->next = context->spare_operations;
    context->spare_operations = operation;
    context->num_spare_operations++;
}

/* ---- requests ---- */

static void set_request(weft_request *request, struct weft_operation *operation, weft_status status,
                        struct weft_context *context)
{
    request->opaque[REQUEST_OPERATION] = (uint64_t)(uintptr_t)operation;
    request->opaque[REQUEST_CONTEXT] = (uint64_t)(uintptr_t)context;
    __atomic_store_n(&request->opaque[REQUEST_STATUS], (uint64_t)status, __ATOMIC_RELEASE);
}

void weft_request_begin(weft_request *request, struct weft_operation *operation)
{
    set_request(request, operation, WEFT_IN_PROGRESS, operation->context);
}

// The rest of it stays: the caller may be reading.
void weft_request_end(weft_request *request, weft_status status)
{
    __atomic_store_n(&request->opaque[REQUEST_STATUS], (uint64_t)status, __ATOMIC_RELEASE);
}

weft_status weft_request_status(const weft_request *request)
{
    return (weft_status)__atomic_load_n(&request->opaque[REQUEST_STATUS], __ATOMIC_ACQUIRE);
}

static void unlink_operation(struct weft_operation *operation)
{
    if (operation->previous)
        operation->previous->next = operation->next;
    else
        operation->context->operations = operation->next;
    if (operation->next)
        operation->next->previous = operation->previous;
}

static void link_operation(struct weft_operation *operation)
{
    struct weft_context *context = operation->context;
    operation->previous = NULL;
    operation->next = context->operations;
    if (operation->next)
        operation->next->previous = operation;
    context->operations = operation;
}

struct group {
    struct weft_operation base;
    int open; // operations that have not ended, plus one until all are started
    weft_status status;
};
_Static_assert(sizeof(struct group) <= WEFT_OPERATION_BYTES, "fits");

void weft_operation_end(struct weft_operation *operation, weft_status status)
{
    struct group *group = (struct group *)operation->group;
    if (operation->is_started)
        unlink_operation(operation);
    if (operation->is_started && operation->comm)
        operation->comm->outstanding--;
    if (operation->request)
        weft_request_end(operation->request, status);
    operation->kind->release(operation);
    if (!group)
        return;
    group->open--;
    if (group->status == WEFT_OK)
        group->status = status;
}

static void start(struct weft_operation *operation)
{
    operation->is_started = true;
    link_operation(operation);
    if (operation->comm)
        operation->comm->outstanding++;
    weft_status status = operation->kind->start(operation);
    if (status != WEFT_IN_PROGRESS)
        weft_operation_end(operation, status);
}

weft_status weft_operation_start(struct weft_operation *operation, weft_request *request)
{
    operation->request = request;
    weft_request_begin(request, operation);
    start(operation);
    return WEFT_OK;
}

weft_status weft_operation_submit(struct weft_operation *operation, weft_request *request)
{
    struct weft_context *context = operation->context;
    weft_request local;
    if (context->group_depth > 0) {
        operation->request = request;
        if (request)
            weft_request_begin(request, operation);
        if (context->group_last)
            context->group_last->next = operation;
        else
            context->group_first = operation;
        context->group_last = operation;
        operation->next = NULL;
        return WEFT_OK;
    }
    operation->request = request ? request : &local;
    weft_request_begin(operation->request, operation);
    start(operation);
    return request ? WEFT_OK : weft_context_wait(context, &local);
}

// The newest first: an operation started inside another one ends before it.
static struct weft_operation *find_operation(struct weft_context *context, struct weft_comm *comm)
{
    struct weft_operation *operation = context->operations;
    while (operation && comm && operation->comm != comm)
        operation = operation->next;
    return operation;
}

// Collected by an open group, not started yet.
static void drop_collected(struct weft_context *context, struct weft_comm *comm, weft_status status)
{
    struct weft_operation *kept = NULL, *last = NULL, *next;
    for (struct weft_operation *o = context->group_first; o; o = next) {
        next = o->next;
        if (comm && o->comm != comm) {
            *(last ? &last->next : &kept) = o;
            last = o;
            o->next = NULL;
        } else {
            weft_operation_end(o, status);
        }
    }
    context->group_first = kept;
    context->group_last = last;
}

void weft_operations_fail(struct weft_context *context, struct weft_comm *comm, weft_status status)
{
    drop_collected(context, comm, status);
    for (struct weft_operation *o; (o = find_operation(context, comm));)
        weft_operation_end(o, status);
}

static weft_status late(struct weft_operation *operation)
{
    char where[256];
    operation->kind->describe(operation, where, sizeof where);
    if (!operation->comm)
        return weft_fail(&operation->context->error, WEFT_TIMEOUT, "%s: deadline passed; %s",
                         operation->kind->name, where);
    // The communicator has failed: the next round ends all its operations, newest first.
    weft_comm_fail(operation->comm, WEFT_TIMEOUT, true, "%s: deadline passed; %s",
                   operation->kind->name, where);
    return WEFT_IN_PROGRESS;
}

int weft_operations_progress(struct weft_context *context, bool check_deadlines)
{
    int ended = 0;
    int64_t now = check_deadlines ? weft_clock_ns() : 0;
    for (struct weft_operation *o = context->operations, *next; o; o = next) {
        // What can still end well does, even if its communicator has failed meanwhile.
        weft_status status = o->kind->progress(o);
        if (status == WEFT_IN_PROGRESS && o->comm && o->comm->status != WEFT_OK)
            status = o->comm->status;
        if (status == WEFT_IN_PROGRESS && check_deadlines && now > o->deadline_ns) {
            status = late(o);
            if (status == WEFT_IN_PROGRESS) // its communicator failed: begin again with the newest
                return ended + 1;
        }
        next = o->next; // ending an operation unlinks no other one
        if (status == WEFT_IN_PROGRESS)
            continue;
        ended++;
        weft_operation_end(o, status);
    }
    return ended;
}

int64_t weft_operation_remaining_ns(const struct weft_operation *operation)
{
    int64_t left_ns = operation->deadline_ns - weft_clock_ns();
    return left_ns > 0 ? left_ns : 1;
}

int64_t weft_operations_next_deadline(const struct weft_context *context)
{
    int64_t soonest = INT64_MAX;
    for (const struct weft_operation *o = context->operations; o; o = o->next)
        if (o->deadline_ns < soonest)
            soonest = o->deadline_ns;
    return soonest;
}

/* ---- groups ---- */

static weft_status group_start(struct weft_operation *operation)
{
    (void)operation;
    return WEFT_IN_PROGRESS;
}

static weft_status group_progress(struct weft_operation *operation)
{
    struct group *group = (struct group *)operation;
    return group->open ? WEFT_IN_PROGRESS : group->status;
}

static void group_release(struct weft_operation *operation)
{
    struct weft_context *context = operation->context;
    for (struct weft_operation *o = context->operations; o; o = o->next)
        if (o->group == operation)
            o->group = NULL;
    weft_operation_free(operation);
}

static void group_describe(const struct weft_operation *operation, char *text, size_t bytes)
{
    snprintf(text, bytes, "%d operations of the group are not done",
             ((const struct group *)operation)->open);
}

static const struct weft_operation_kind group_kind = {
    .name = "group",
    .start = group_start,
    .progress = group_progress,
    .release = group_release,
    .describe = group_describe,
};

weft_status weft_group_begin(weft_context *context)
{
    if (!context)
        return WEFT_INVALID_ARGUMENT;
    WEFT_ENTER(context);
    context->group_depth++;
    return WEFT_OK;
}

weft_status weft_group_end(weft_context *context, weft_request *request)
{
    if (!context)
        return WEFT_INVALID_ARGUMENT;
    WEFT_ENTER(context);
    if (context->group_depth == 0)
        return weft_fail(&context->error, WEFT_INVALID_USAGE, "group_end without group_begin");
    if (--context->group_depth > 0) {
        if (request) // only the outermost end acts; an inner one has nothing to wait for
            set_request(request, NULL, WEFT_OK, context);
        return WEFT_OK;
    }
    struct weft_operation *list = context->group_first;
    context->group_first = context->group_last = NULL;
    weft_collectives_settle(list);
    weft_status status;
    if (!request && weft_collectives_run_now(list, &status))
        return status;
    struct group *group = weft_operation_allocate(context);
    weft_request local;
    if (!group) {
        while (list) {
            struct weft_operation *next = list->next;
            weft_operation_end(list, WEFT_OUT_OF_MEMORY);
            list = next;
        }
        return weft_fail(&context->error, WEFT_OUT_OF_MEMORY, "no memory for a group");
    }
    *group = (struct group){
        .base = {.kind = &group_kind, .context = context, .deadline_ns = INT64_MAX}, .open = 1};
    weft_operation_start(&group->base, request ? request : &local);
    while (list) {
        struct weft_operation *next = list->next;
        list->group = &group->base;
        group->open++;
        weft_status usable = list->comm ? weft_comm_check_usable(list->comm) : WEFT_OK;
        if (usable == WEFT_OK) // it may have failed, or been finalized, since it was collected
            start(list);
        else
            weft_operation_end(list, usable);
        list = next;
    }
    group->open--;
    return request ? WEFT_OK : weft_context_wait(context, &local);
}

/* ---- public ---- */

static weft_context *context_of(const weft_request *request)
{
    return (weft_context *)(uintptr_t)request->opaque[REQUEST_CONTEXT];
}

weft_status weft_test(weft_request *request)
{
    if (!request)
        return WEFT_INVALID_ARGUMENT;
    if (weft_request_status(request) == WEFT_IN_PROGRESS && !context_of(request)->progress)
        weft_context_progress(context_of(request), true);
    return weft_request_status(request);
}

weft_status weft_wait(weft_request *request)
{
    if (!request)
        return WEFT_INVALID_ARGUMENT;
    if (weft_request_status(request) != WEFT_IN_PROGRESS)
        return weft_request_status(request);
    WEFT_ENTER(context_of(request));
    if (context_of(request)->group_depth > 0)
        return weft_fail(&context_of(request)->error, WEFT_INVALID_USAGE,
                         "wait between group_begin and group_end would never end");
    return weft_context_wait(context_of(request), request);
}
