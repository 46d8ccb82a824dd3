/*
 * SPDX-License-Identifier: Apache-2.0
 * See settle.h. One step after the other, each begun when the one before has ended here.
 */
#include "collectives/comm/settle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static weft_status attach_all(struct weft_settling *settling, struct weft_error *error)
{
    struct weft_comm *comm = settling->comm;
    weft_status status = weft_area_attach(comm, &settling->area, settling->offsets, error);
    if (status == WEFT_REMOTE && weft_comm_awaits_news(comm, &settling->lost_ns))
        return WEFT_IN_PROGRESS;
    if (status == WEFT_OK && !weft_control_is_connected(comm->world->control))
        return WEFT_IN_PROGRESS;
    return status;
}

static weft_status look_at(const struct weft_comm *comm, const weft_request *request,
                           struct weft_error *error)
{
    weft_status status = weft_request_status(request);
    return status == WEFT_OK || status == WEFT_IN_PROGRESS
               ? status
               : weft_fail(error, status, "%s", comm->error.text);
}

weft_status weft_settling_expect_text(const struct weft_world *world,
                                      struct weft_settling *settling, struct weft_error *error)
{
    const struct weft_process *first = &world->processes[0];
    uint64_t graph_bytes = weft_world_has_hosts(world) ? first->graph_bytes : 0;
    if (graph_bytes > WEFT_GRAPH_LIMIT_BYTES || first->tune_bytes > WEFT_TUNE_LIMIT_BYTES)
        return weft_fail(error, WEFT_INVALID_FORMAT,
                         "rank 0 has a topology of %" PRIu64 " and tables of %" PRIu64 " bytes",
                         graph_bytes, first->tune_bytes);
    settling->tune_bytes = (size_t)first->tune_bytes;
    settling->graph_bytes = (size_t)graph_bytes;
    size_t bytes = settling->tune_bytes + settling->graph_bytes;
    if (bytes == 0 || world->rank != 0) {
        free(settling->text);
        settling->text = NULL;
    }
    if (bytes > 0 && world->rank != 0 && !(settling->text = malloc(bytes)))
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a topology");
    return WEFT_OK;
}

static weft_status spread_text(struct weft_settling *settling,
                               const struct weft_operation *operation, struct weft_error *error)
{
    const weft_op_desc spread = {.struct_bytes = sizeof spread,
                                 .collective = WEFT_BROADCAST,
                                 .dtype = WEFT_UINT8,
                                 .send = settling->text,
                                 .recv = settling->text,
                                 .count = settling->tune_bytes + settling->graph_bytes,
                                 .timeout_ns = weft_operation_remaining_ns(operation)};
    return weft_collective_start(settling->comm, &spread, &settling->spread, error);
}

static weft_status take_graph(struct weft_comm *comm, const char *graph, size_t bytes,
                              struct weft_error *error)
{
    struct weft_layout *layout = NULL;
    WEFT_TRY(weft_layout_of_graph(comm->world, graph, bytes, &layout, error));
    if (!layout)
        return WEFT_OK;
    weft_layout_destroy(&comm->layout);
    comm->layout = layout;
    return WEFT_OK;
}

// From here on everybody plans with it.
static weft_status take_text(struct weft_settling *settling, struct weft_error *error)
{
    struct weft_comm *comm = settling->comm;
    const char *graph = settling->text + settling->tune_bytes;
    WEFT_TRY(look_at(comm, &settling->spread, error));
    if (settling->graph_bytes > 0)
        WEFT_TRY(take_graph(comm, graph, settling->graph_bytes, error));
    if (settling->tune_bytes > 0)
        WEFT_TRY(weft_tune_take(comm, settling->text, settling->tune_bytes, error));
    free(settling->text);
    settling->text = NULL;
    weft_plans_destroy(&comm->plans); // those that were made before
    memset(comm->memory_choice, 0, sizeof comm->memory_choice);
    return WEFT_OK;
}

weft_status weft_settling_progress(struct weft_settling *settling,
                                   const struct weft_operation *operation, struct weft_error *error)
{
    struct weft_comm *comm = settling->comm;
    if (settling->is_waiting)
        return look_at(comm, &settling->barrier, error);
    if (comm->status != WEFT_OK)
        return weft_fail(error, comm->status, "%s", comm->error.text);
    weft_status status = WEFT_OK;
    if (!settling->is_attached) {
        status = attach_all(settling, error);
        if (status == WEFT_OK && settling->text)
            status = spread_text(settling, operation, error);
        settling->is_attached = status == WEFT_OK;
    }
    if (status == WEFT_OK && settling->text)
        status = take_text(settling, error);
    if (status != WEFT_OK && status != WEFT_IN_PROGRESS)
        weft_comm_fail(comm, status, true, "%.480s", error->text);
    WEFT_TRY(status);
    settling->is_waiting = true;
    const weft_op_desc barrier = {.struct_bytes = sizeof barrier,
                                  .collective = WEFT_BARRIER,
                                  .timeout_ns = weft_operation_remaining_ns(operation)};
    WEFT_TRY(weft_collective_start(comm, &barrier, &settling->barrier, error));
    return WEFT_IN_PROGRESS;
}

void weft_settling_release(struct weft_context *context, struct weft_settling *settling)
{
    weft_comm_destroy(&settling->comm);
    weft_area_drop(context, &settling->area);
    free(settling->offsets);
    free(settling->text);
}
