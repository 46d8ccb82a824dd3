/*
 * SPDX-License-Identifier: Apache-2.0
 * Operations that make or close communicators: create (meet, build the world), split and duplicate
 * (an all-gather on the parent, then local work), finalize (a barrier). State machines on the
 * progress engine, so that they work inside groups and without blocking. What ends every creation:
 * settle.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "collectives/comm/progress.h"
#include "collectives/comm/settle.h"

/* ---- create ---- */

struct creation {
    struct weft_operation base;
    weft_comm **comm;
    int rank, num_ranks;
    int64_t timeout_ns;
    uint64_t device_mask; // transports that may be used
    bool is_id_known;     // else the context's rendezvous will tell it
    weft_unique_id id;
    struct weft_bootstrap *bootstrap;
    struct weft_control *control;
    struct weft_settling made;
};

static weft_status begin_meeting(struct creation *creation)
{
    struct weft_context *context = creation->base.context;
    struct weft_process process;
    weft_context_fault_point(context, "meeting", creation->rank);
    WEFT_TRY(weft_world_make_blob(context, creation->rank, creation->num_ranks,
                                  creation->device_mask, &creation->control, &process,
                                  &creation->made.text, &context->error));
    creation->made.area = weft_area_make(context);
    process.area_offset = creation->made.area.offset;
    WEFT_TRY(weft_bootstrap_start(&creation->id, creation->rank, creation->num_ranks, &process,
                                  sizeof process, creation->base.deadline_ns, &creation->bootstrap,
                                  &context->error));
    weft_context_watch(context, weft_bootstrap_descriptor(creation->bootstrap));
    return WEFT_OK;
}

static weft_status build_world(struct creation *creation)
{
    struct weft_context *context = creation->base.context;
    struct weft_world *world;
    WEFT_TRY(weft_world_create(context, &creation->id, creation->rank, creation->num_ranks,
                               creation->bootstrap, &creation->control, &world, &context->error));
    int *ranks = malloc((size_t)creation->num_ranks * sizeof *ranks);
    uint64_t *offsets = malloc((size_t)creation->num_ranks * sizeof *offsets);
    struct weft_layout *layout = NULL;
    weft_status status = WEFT_OUT_OF_MEMORY;
    creation->made.offsets = offsets;
    for (int rank = 0; ranks && offsets && rank < creation->num_ranks; rank++) {
        ranks[rank] = rank;
        offsets[rank] = world->processes[rank].area_offset;
    }
    if (ranks && offsets)
        status = weft_layout_of_world(world, &layout, &context->error);
    if (status == WEFT_OK)
        status = weft_settling_expect_text(world, &creation->made, &context->error);
    if (status == WEFT_OK)
        status = weft_comm_make(world, (uint32_t)world->tag, (uint16_t)(world->tag >> 32),
                                creation->rank, creation->num_ranks, ranks, creation->timeout_ns,
                                &layout, &creation->made.comm, &context->error);
    weft_layout_destroy(&layout);
    free(ranks);
    weft_world_release(&world); // the communicator holds it now
    return status;
}

static weft_status creation_start(struct weft_operation *operation)
{
    struct creation *creation = (struct creation *)operation;
    if (!creation->is_id_known)
        return WEFT_IN_PROGRESS;
    weft_status status = begin_meeting(creation);
    return status == WEFT_OK ? WEFT_IN_PROGRESS : status;
}

static weft_status creation_progress(struct weft_operation *operation)
{
    struct creation *creation = (struct creation *)operation;
    struct weft_context *context = operation->context;
    // 1. Learn the id, 2. meet, 3. build the world, 4. attach the slots of ranks that share memory.
    if (!creation->is_id_known) {
        WEFT_TRY(weft_rendezvous_id(context->rendezvous, &creation->id, &context->error));
        creation->is_id_known = true;
        WEFT_TRY(begin_meeting(creation));
    }
    if (!creation->made.comm) {
        WEFT_TRY(weft_bootstrap_progress(creation->bootstrap, &context->error));
        WEFT_TRY(build_world(creation));
        weft_context_fault_point(context, "init", creation->rank);
    }
    WEFT_TRY(weft_settling_progress(&creation->made, operation, &context->error));
    *creation->comm = creation->made.comm;
    creation->made.comm = NULL;
    return WEFT_OK;
}

static void creation_release(struct weft_operation *operation)
{
    struct creation *creation = (struct creation *)operation;
    weft_bootstrap_close(&creation->bootstrap);
    if (!creation->is_id_known) // nobody was met: the next attempt begins anew
        weft_rendezvous_close(&operation->context->rendezvous);
    weft_control_close(&creation->control);
    weft_settling_release(operation->context, &creation->made);
    free(creation);
}

static void creation_describe(const struct weft_operation *operation, char *text, size_t bytes)
{
    const struct creation *creation = (const struct creation *)operation;
    if (!creation->is_id_known)
        snprintf(text, bytes, "rank 0 has not published where to meet");
    else if (!creation->made.comm)
        snprintf(text, bytes, "%d ranks have not all arrived", creation->num_ranks);
    else
        snprintf(text, bytes, "the ranks are not all connected");
}

static const struct weft_operation_kind creation_kind = {
    .name = "comm_create",
    .start = creation_start,
    .progress = creation_progress,
    .release = creation_release,
    .describe = creation_describe,
};

static weft_status agree_on_id(struct weft_context *context, const weft_comm_options *options,
                               weft_unique_id *id)
{
    weft_unique_id mine;
    memset(&mine, 0, sizeof mine);
    if (options->id) {
        *id = *options->id;
        return WEFT_OK;
    }
    weft_status status = options->rank == 0 ? weft_unique_id_create(context, &mine) : WEFT_OK;
    weft_unique_id *all = calloc((size_t)options->num_ranks, sizeof *all);
    if (!all)
        return weft_fail(&context->error, WEFT_OUT_OF_MEMORY, "no memory for %d ids",
                         options->num_ranks);
    int failed = options->exchange(options->exchange_argument, &mine, all, sizeof mine);
    *id = all[0];
    free(all);
    // Only now: the other ranks must not wait in vain for rank 0's part of the exchange.
    WEFT_TRY(status);
    return failed ? weft_fail(&context->error, WEFT_SYSTEM, "the caller's exchange failed (%d)",
                              failed)
                  : WEFT_OK;
}

// `id` NULL: the context's rendezvous will tell it.
static weft_status submit_creation(struct weft_context *context, int rank, int num_ranks,
                                   int64_t timeout_ns, const char *transports,
                                   const weft_unique_id *id, weft_comm **comm,
                                   weft_request *request)
{
    uint64_t device_mask;
    WEFT_TRY(weft_context_transports(context, transports, &device_mask, &context->error));
    struct creation *creation = calloc(1, sizeof *creation);
    if (!creation)
        return weft_fail(&context->error, WEFT_OUT_OF_MEMORY, "no memory for a communicator");
    *creation = (struct creation){
        .base = {.kind = &creation_kind,
                 .context = context,
                 .deadline_ns = weft_deadline_after(timeout_ns)},
        .comm = comm,
        .rank = rank,
        .num_ranks = num_ranks,
        .timeout_ns = timeout_ns,
        .device_mask = device_mask,
        .is_id_known = id != NULL,
    };
    if (id)
        creation->id = *id;
    return weft_operation_submit(&creation->base, request);
}

weft_status weft_comm_create(weft_context *context, const weft_comm_options *options,
                             weft_comm **comm, weft_request *request)
{
    weft_unique_id id;
    if (!context || !options || !comm)
        return WEFT_INVALID_ARGUMENT;
    WEFT_ENTER(context);
    struct weft_error *error = &context->error;
    if (options->struct_bytes != sizeof *options)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "weft_comm_options.struct_bytes is %zu, not %zu", options->struct_bytes,
                         sizeof *options);
    if (options->num_ranks < 1 || options->rank < 0 || options->rank >= options->num_ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "rank %d of %d ranks", options->rank,
                         options->num_ranks);
    if (!options->id && !options->exchange)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "neither an id nor an exchange is given");
    if (options->timeout_ns < 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a negative timeout");
    WEFT_TRY(agree_on_id(context, options, &id));
    return submit_creation(context, options->rank, options->num_ranks,
                           options->timeout_ns ? options->timeout_ns : context->config.timeout_ns,
                           options->transports, &id, comm, request);
}

weft_status weft_comm_create_from_environment(weft_context *context, weft_comm **comm,
                                              weft_request *request)
{
    struct weft_launcher_info info;
    weft_unique_id id;
    if (!context || !comm)
        return WEFT_INVALID_ARGUMENT;
    WEFT_ENTER(context);
    int64_t timeout_ns = context->config.timeout_ns;
    WEFT_TRY(weft_launcher_detect(&info, &context->config, &context->error));
    if (info.meeting == WEFT_LAUNCHER_ALONE) {
        WEFT_TRY(weft_unique_id_create(context, &id));
        return submit_creation(context, 0, 1, timeout_ns, NULL, &id, comm, request);
    }
    if (context->rendezvous)
        return weft_fail(&context->error, WEFT_INVALID_USAGE,
                         "the launcher's ranks have met in this context already");
    WEFT_TRY(weft_rendezvous_start(&info, &context->config, weft_deadline_after(timeout_ns),
                                   &context->rendezvous, &context->error));
    weft_context_watch(context, weft_rendezvous_descriptor(context->rendezvous));
    return submit_creation(context, info.rank, info.num_ranks, timeout_ns, NULL, NULL, comm,
                           request);
}

weft_status weft_unique_id_create(weft_context *context, weft_unique_id *id)
{
    struct weft_meeting *meeting;
    if (!context || !id)
        return WEFT_INVALID_ARGUMENT;
    WEFT_ENTER(context);
    struct weft_served *served = malloc(sizeof *served);
    if (!served)
        return weft_fail(&context->error, WEFT_OUT_OF_MEMORY, "no memory for a meeting");
    weft_status status =
        weft_meeting_open(context->config.bootstrap_address, (int)context->config.bootstrap_port,
                          NULL, &meeting, id, &context->error);
    if (status != WEFT_OK) {
        free(served);
        return status;
    }
    *served = (struct weft_served){meeting, context->served};
    context->served = served;
    weft_context_watch(context, weft_meeting_descriptor(meeting));
    return WEFT_OK;
}

/* ---- split and duplicate ---- */

struct ballot {
    int32_t colour;
    int32_t key;
    uint64_t area_offset;
};

struct split {
    struct weft_operation base;
    weft_comm **child;
    weft_request gathering;
    struct ballot mine;
    struct ballot *all; // (num_ranks)
    int *members;       // (child's ranks) world rank
    struct weft_settling made;
    uint32_t number; // of the split within the parent
};

static weft_status split_start(struct weft_operation *operation)
{
    struct split *split = (struct split *)operation;
    struct weft_comm *parent = operation->comm;
    const weft_op_desc gather = {
        .struct_bytes = sizeof gather,
        .collective = WEFT_ALL_GATHER,
        .dtype = WEFT_UINT8,
        .send = &split->mine,
        .recv = split->all,
        .count = sizeof split->mine,
        .timeout_ns = weft_operation_remaining_ns(operation),
    };
    split->number = parent->splits++;
    weft_context_fault_point(operation->context, "split", parent->rank);
    weft_status status = weft_collective_start(parent, &gather, &split->gathering, &parent->error);
    return status == WEFT_OK ? WEFT_IN_PROGRESS : status;
}

static weft_status count_members(struct split *split, int *num_members, int *rank,
                                 struct weft_layout **layout)
{
    struct weft_comm *parent = split->base.comm;
    int count = 0;
    split->members = malloc((size_t)parent->num_ranks * sizeof *split->members);
    split->made.offsets = malloc((size_t)parent->num_ranks * sizeof *split->made.offsets);
    if (!split->members || !split->made.offsets)
        return weft_fail(&parent->error, WEFT_OUT_OF_MEMORY, "no memory for a communicator");
    // Insertion by (key, old rank); old ranks come in order.
    for (int i = 0; i < parent->num_ranks; i++) {
        int at = count;
        if (split->all[i].colour != split->mine.colour)
            continue;
        for (; at > 0 && split->all[split->members[at - 1]].key > split->all[i].key; at--)
            split->members[at] = split->members[at - 1];
        split->members[at] = i;
        count++;
    }
    WEFT_TRY(weft_layout_select(parent->layout, split->members, count, layout, &parent->error));
    for (int i = 0; i < count; i++) {
        split->made.offsets[i] = split->all[split->members[i]].area_offset;
        if (split->members[i] == parent->rank)
            *rank = i;
        split->members[i] = parent->world_ranks[split->members[i]];
    }
    *num_members = count;
    return WEFT_OK;
}

static weft_status make_child(struct split *split)
{
    struct weft_comm *parent = split->base.comm;
    int num_members = 0, rank = 0;
    struct weft_layout *layout = NULL;
    WEFT_TRY(count_members(split, &num_members, &rank, &layout));
    uint64_t name = weft_hash_mix(((uint64_t)parent->id << 16) | parent->epoch, split->number);
    name = weft_hash_mix(name, (uint64_t)split->mine.colour);
    weft_status status = weft_comm_make(parent->world, (uint32_t)name, (uint16_t)(name >> 32), rank,
                                        num_members, split->members, parent->timeout_ns, &layout,
                                        &split->made.comm, &parent->error);
    weft_layout_destroy(&layout);
    return status;
}

static weft_status split_progress(struct weft_operation *operation)
{
    struct split *split = (struct split *)operation;
    WEFT_TRY(weft_request_status(&split->gathering));
    if (split->mine.colour < 0) {
        *split->child = NULL;
        return WEFT_OK;
    }
    if (!split->made.comm)
        WEFT_TRY(make_child(split));
    WEFT_TRY(weft_settling_progress(&split->made, operation, &operation->comm->error));
    *split->child = split->made.comm;
    split->made.comm = NULL;
    return WEFT_OK;
}

static void split_release(struct weft_operation *operation)
{
    struct split *split = (struct split *)operation;
    weft_settling_release(operation->context, &split->made);
    free(split->all);
    free(split->members);
    free(split);
}

static void split_describe(const struct weft_operation *operation, char *text, size_t bytes)
{
    const struct split *split = (const struct split *)operation;
    snprintf(text, bytes, "%s",
             split->made.comm ? "the ranks are not all connected" : "not all ranks have called it");
}

static const struct weft_operation_kind split_kind = {
    .name = "comm_split",
    .start = split_start,
    .progress = split_progress,
    .release = split_release,
    .describe = split_describe,
};

weft_status weft_comm_split(weft_comm *comm, int colour, int key, weft_comm **child,
                            weft_request *request)
{
    WEFT_ENTER(comm ? comm->context : NULL);
    WEFT_TRY(weft_comm_check_usable(comm));
    if (!child)
        return weft_fail(&comm->error, WEFT_INVALID_ARGUMENT, "child is NULL");
    struct split *split = calloc(1, sizeof *split);
    if (split)
        split->all = calloc((size_t)comm->num_ranks, sizeof *split->all);
    if (!split || !split->all) {
        free(split);
        return weft_fail(&comm->error, WEFT_OUT_OF_MEMORY, "no memory for a split");
    }
    split->base = (struct weft_operation){.kind = &split_kind,
                                          .context = comm->context,
                                          .comm = comm,
                                          .deadline_ns = weft_deadline_after(comm->timeout_ns)};
    split->child = child;
    split->mine = (struct ballot){.colour = colour, .key = key};
    split->made.area.offset = UINT64_MAX;
    if (colour >= 0)
        split->made.area = weft_area_make(comm->context);
    split->mine.area_offset = split->made.area.offset;
    return weft_operation_submit(&split->base, request);
}

weft_status weft_comm_duplicate(weft_comm *comm, weft_comm **child, weft_request *request)
{
    return weft_comm_split(comm, 0, comm ? comm->rank : 0, child, request);
}

/* ---- finalize ---- */

struct finalization {
    struct weft_operation base;
    bool has_barrier;
    weft_request barrier;
};

static weft_status finalization_start(struct weft_operation *operation)
{
    if (operation->comm->is_finalized) // by another one of the same group
        return weft_fail(&operation->comm->error, WEFT_INVALID_USAGE,
                         "the communicator is finalized");
    operation->comm->is_finalized = true;
    return WEFT_IN_PROGRESS;
}

// The barrier comes last on every rank: it ends when all operations of all ranks have ended.
static weft_status finalization_progress(struct weft_operation *operation)
{
    struct finalization *finalization = (struct finalization *)operation;
    struct weft_comm *comm = operation->comm;
    if (!finalization->has_barrier) {
        const weft_op_desc barrier = {.struct_bytes = sizeof barrier,
                                      .collective = WEFT_BARRIER,
                                      .timeout_ns = weft_operation_remaining_ns(operation)};
        if (comm->outstanding > 1) // this one counts itself
            return WEFT_IN_PROGRESS;
        finalization->has_barrier = true;
        WEFT_TRY(weft_collective_start(comm, &barrier, &finalization->barrier, &comm->error));
        return WEFT_IN_PROGRESS;
    }
    return weft_request_status(&finalization->barrier);
}

static void finalization_release(struct weft_operation *operation)
{
    free(operation);
}

static void finalization_describe(const struct weft_operation *operation, char *text, size_t bytes)
{
    snprintf(text, bytes, "%d operations are outstanding", operation->comm->outstanding - 1);
}

static const struct weft_operation_kind finalization_kind = {
    .name = "comm_finalize",
    .start = finalization_start,
    .progress = finalization_progress,
    .release = finalization_release,
    .describe = finalization_describe,
};

weft_status weft_comm_finalize(weft_comm *comm, weft_request *request)
{
    WEFT_ENTER(comm ? comm->context : NULL);
    WEFT_TRY(weft_comm_check_usable(comm));
    struct finalization *finalization = calloc(1, sizeof *finalization);
    if (!finalization)
        return weft_fail(&comm->error, WEFT_OUT_OF_MEMORY, "no memory to finalize");
    finalization->base =
        (struct weft_operation){.kind = &finalization_kind,
                                .context = comm->context,
                                .comm = comm,
                                .deadline_ns = weft_deadline_after(comm->timeout_ns)};
    return weft_operation_submit(&finalization->base, request);
}
