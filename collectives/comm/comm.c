/*
 * SPDX-License-Identifier: Apache-2.0
 * Communicators: their life after creation, failure, and the queries of the public header. They own
 * no connection: destroying one closes nothing another one uses.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "collectives/comm/progress.h"
#include "collectives/comm/trace.h"

// How long the control plane has to say why a connection ended, and while it still seeks a rank.
static const int64_t news_ns = 1000000000, search_ns = 3000000000;

weft_status weft_comm_make(struct weft_world *world, uint32_t id, uint32_t epoch, int rank,
                           int num_ranks, const int *world_ranks, int64_t timeout_ns,
                           struct weft_layout **layout, struct weft_comm **comm,
                           struct weft_error *error)
{
    if (weft_comm_find(world, id, epoch))
        return weft_fail(error, WEFT_INTERNAL, "communicator id %08x.%04x is in use", id, epoch);
    struct weft_comm *made = calloc(1, sizeof *made);
    size_t n = (size_t)num_ranks;
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a communicator");
    made->context = world->context;
    made->id = id;
    made->epoch = epoch;
    made->rank = rank;
    made->num_ranks = num_ranks;
    made->timeout_ns = timeout_ns;
    made->flat_bytes = (size_t)world->context->config.flat_bytes;
    made->world_ranks = malloc(n * sizeof *made->world_ranks);
    made->peers = calloc(n, sizeof *made->peers);
    made->sends = calloc(n, sizeof *made->sends);
    made->receives = calloc(n, sizeof *made->receives);
    if (!made->world_ranks || !made->peers || !made->sends || !made->receives) {
        weft_comm_destroy(&made);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a communicator");
    }
    memcpy(made->world_ranks, world_ranks, n * sizeof *made->world_ranks);
    made->world = world;
    world->references++;
    made->next = world->context->comms;
    world->context->comms = made;
    made->layout = *layout;
    *layout = NULL;
    *comm = made;
    return WEFT_OK;
}

// weft_comm_abort only leaves a mark, since any thread may call it.
static void notice_abort(struct weft_comm *comm)
{
    if (atomic_load_explicit(&comm->abort_requested, memory_order_acquire))
        weft_comm_fail(comm, WEFT_ABORTED, true, "aborted by rank %d", comm->rank);
}

weft_status weft_comm_check_usable(struct weft_comm *comm)
{
    if (!comm)
        return WEFT_INVALID_ARGUMENT;
    notice_abort(comm);
    if (comm->status != WEFT_OK)
        return comm->status;
    if (comm->is_finalized)
        return weft_fail(&comm->error, WEFT_INVALID_USAGE, "the communicator is finalized");
    return WEFT_OK;
}

int weft_comms_notice_aborts(struct weft_context *context)
{
    int noticed = 0;
    for (struct weft_comm *comm = context->comms; comm; comm = comm->next) {
        bool was_well = comm->status == WEFT_OK;
        notice_abort(comm);
        noticed += was_well && comm->status != WEFT_OK;
    }
    return noticed;
}

void weft_comm_destroy(weft_comm **comm)
{
    if (!comm || !*comm)
        return;
    struct weft_comm *old = *comm;
    WEFT_ENTER(old->context);
    *comm = NULL;
    notice_abort(old);
    if (old->outstanding > 0 && old->status == WEFT_OK)
        weft_comm_fail(old, WEFT_ABORTED, true,
                       "rank %d destroyed the communicator with %d operations "
                       "outstanding",
                       old->rank, old->outstanding);
    weft_operations_fail(old->context, old, WEFT_ABORTED);
    for (struct weft_comm **link = &old->context->comms; *link; link = &(*link)->next)
        if (*link == old) {
            *link = old->next;
            break;
        }
    weft_area_leave(old);
    weft_trace_close(&old->trace);
    weft_plans_destroy(&old->plans);
    weft_layout_destroy(&old->layout);
    weft_world_release(&old->world);
    free(old->world_ranks);
    free(old->peers);
    free(old->sends);
    free(old->recent);
    free(old->last);
    free(old->receives);
    free(old);
}

struct weft_comm *weft_comm_find(struct weft_world *world, uint32_t id, uint32_t epoch)
{
    struct weft_comm *comm = world->context->comms;
    while (comm && (comm->world != world || comm->id != id || comm->epoch != epoch))
        comm = comm->next;
    return comm;
}

int weft_comm_rank_of(const struct weft_comm *comm, int world_rank)
{
    for (int rank = 0; rank < comm->num_ranks; rank++)
        if (comm->world_ranks[rank] == world_rank)
            return rank;
    return -1;
}

void weft_comm_fail(struct weft_comm *comm, weft_status status, bool tell, const char *format, ...)
{
    if (comm->status != WEFT_OK)
        return;
    va_list arguments;
    va_start(arguments, format);
    comm->status = comm->error.status = status;
    vsnprintf(comm->error.text, sizeof comm->error.text, format, arguments);
    va_end(arguments);
    WEFT_LOG(WEFT_LOG_INFO, "rank %d: %s", comm->rank, comm->error.text);
    if (comm->is_flat)
        weft_shared_leave(&comm->shared);
    if (!tell || !comm->world->control)
        return;
    struct weft_notice notice = {
        .kind = status == WEFT_ABORTED ? WEFT_NOTICE_ABORT : WEFT_NOTICE_FAILURE,
        .comm = comm->id,
        .epoch = comm->epoch,
        .subject = comm->world_ranks[comm->rank],
        .status = (int32_t)status,
    };
    snprintf(notice.text, sizeof notice.text, "rank %d: %.220s", comm->rank, comm->error.text);
    weft_control_post(comm->world->control, &notice);
}

bool weft_comm_awaits_news(const struct weft_comm *comm, int64_t *lost_ns)
{
    struct weft_control *control = comm->world->control;
    int64_t now_ns = weft_clock_ns();
    if (!*lost_ns)
        *lost_ns = now_ns;
    int64_t waited_ns = now_ns - *lost_ns;
    if (waited_ns < news_ns)
        return true;
    // A process that was not run for long has not heard yet what lies in its sockets.
    weft_control_progress(control);
    if (comm->status != WEFT_OK)
        return true;
    return waited_ns < search_ns && !weft_control_is_connected(control);
}

weft_status weft_comm_connect(struct weft_comm *comm, int rank, struct weft_error *error)
{
    if (comm->peers[rank] || rank == comm->rank)
        return WEFT_OK;
    WEFT_TRY(weft_world_connect(comm->world, comm->world_ranks[rank], error));
    comm->peers[rank] = comm->world->connections[comm->world_ranks[rank]];
    return WEFT_OK;
}

/* ---- public queries ---- */

void weft_comm_abort(weft_comm *comm)
{
    if (!comm)
        return;
    atomic_store_explicit(&comm->abort_requested, true, memory_order_release);
    uint64_t one = 1;
    ssize_t ignored = write(comm->context->wake, &one, sizeof one);
    (void)ignored; // full means that a wake-up is already on its way
}

weft_status weft_comm_async_error(weft_comm *comm)
{
    if (!comm)
        return WEFT_INVALID_ARGUMENT;
    WEFT_ENTER(comm->context);
    while (comm->status == WEFT_OK && weft_context_progress(comm->context, true) > 0)
        ;
    return comm->status;
}

const char *weft_comm_error_text(const weft_comm *comm)
{
    if (!comm || !comm->context->progress)
        return comm ? comm->error.text : "";
    return weft_progress_text(comm->context->progress, &comm->error);
}

int weft_comm_rank(const weft_comm *comm)
{
    return comm ? comm->rank : -1;
}

int weft_comm_num_ranks(const weft_comm *comm)
{
    return comm ? comm->num_ranks : -1;
}
