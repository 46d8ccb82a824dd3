/*
 * SPDX-License-Identifier: Apache-2.0
 * The memory that the ranks of a communicator on one machine see of one another: flat slots for
 * small messages, boards and stages for large ones, room for what is put together. Each rank shares
 * an area of its own and maps the others'.
 *
 * An area outlives its communicator for as long as others may read it: who leaves says so in all
 * areas, and the owner gives its own back when all others have left. Those of ranks that died stay
 * until the context ends.
 */
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "collectives/comm/internal.h"

enum { STAGE_BYTES = 1 << 20, PAGE_BYTES = 4096 };

struct head {
    alignas(128) _Atomic uint32_t departed; // other ranks
    _Atomic int32_t core;                   // the owner runs on, + 1; written where it changes
};

struct weft_buried_area {
    struct weft_buried_area *next;
    struct head *head;
    uint32_t num_others;
};

static size_t flat_room(size_t flat_bytes)
{
    size_t bytes = sizeof(struct head) + weft_flat_area_bytes(flat_bytes);
    return (bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

static uint64_t area_bytes(size_t flat_bytes)
{
    size_t bytes = flat_room(flat_bytes) + weft_shared_area_bytes(STAGE_BYTES) + WEFT_ROOM_BYTES;
    return (bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

struct weft_area weft_area_make(struct weft_context *context)
{
    struct weft_area area = {.offset = UINT64_MAX};
    struct weft_shared_block block;
    struct weft_error why;
    size_t flat_bytes = (size_t)context->config.flat_bytes;
    if (context->sharing_device < 0 || flat_bytes == 0)
        return area;
    struct weft_device *device = context->devices[context->sharing_device];
    weft_areas_tidy(context);
    if (device->transport->share(device, area_bytes(flat_bytes), &area.memory, &block, &why) ==
        WEFT_OK) {
        area.offset = block.offset;
        // What others look at before this rank writes there lies with who touches it first.
        memset(area.memory, 0, flat_room(flat_bytes) + PAGE_BYTES);
        weft_shared_offer((char *)area.memory + flat_room(flat_bytes));
    } else
        WEFT_LOG(WEFT_LOG_WARN, "messages of a new communicator go over the transports: %s",
                 why.text);
    return area;
}

static void unshare(struct weft_context *context, void *memory)
{
    struct weft_device *device = context->devices[context->sharing_device];
    device->transport->unshare(device, memory);
}

void weft_area_drop(struct weft_context *context, struct weft_area *area)
{
    if (area->memory)
        unshare(context, area->memory);
    *area = (struct weft_area){.offset = UINT64_MAX};
}

// Whether all ranks share memory with this one; decided from facts that all ranks have.
static bool all_share_memory(const struct weft_comm *comm, const uint64_t *offsets)
{
    const struct weft_context *context = comm->context;
    int device = context->sharing_device;
    if (comm->num_ranks < 2 || comm->num_ranks > WEFT_FLAT_RANKS_LIMIT || device < 0)
        return false;
    for (int rank = 0; rank < comm->num_ranks; rank++) {
        const struct weft_process *process = &comm->world->processes[comm->world_ranks[rank]];
        const char *reason;
        if (offsets[rank] == UINT64_MAX || process->flat_bytes != comm->flat_bytes ||
            !(process->device_mask >> device & 1))
            return false;
        if (rank != comm->rank &&
            !weft_transports[device]->reachable(context->devices[device],
                                                process->addresses[device], &reason))
            return false;
    }
    return true;
}

static weft_status map_area(struct weft_comm *comm, int rank, uint64_t offset, char **memory,
                            struct weft_error *error)
{
    const struct weft_shared_block block = {offset, area_bytes(comm->flat_bytes)};
    void *mapped;
    WEFT_TRY(weft_comm_connect(comm, rank, error));
    struct weft_connection *peer = comm->peers[rank];
    weft_status status = peer->device->transport->map(peer, &block, true, &mapped);
    if (status == WEFT_OK)
        *memory = mapped;
    return status == WEFT_OK || status == WEFT_IN_PROGRESS
               ? status
               : weft_fail(error, status, "shared memory of rank %d: %s", rank,
                           weft_status_text(status));
}

// Groups spare transfers between cores at the price of hops. Ranks that take turns on a core find
// the slots in its cache, and every hop is a turn of all: there, all read all.
static int choose_group(const struct weft_comm *comm)
{
    uint64_t cores[WEFT_CORE_WORDS] = {0};
    for (int rank = 0; rank < comm->num_ranks; rank++)
        weft_cores_add(cores, comm->world->processes[comm->world_ranks[rank]].cores);
    return weft_cores_count(cores) < comm->num_ranks ? comm->num_ranks
                                                     : weft_flat_group(comm->num_ranks);
}

weft_status weft_area_attach(struct weft_comm *comm, struct weft_area *own, const uint64_t *offsets,
                             struct weft_error *error)
{
    char *areas[WEFT_FLAT_RANKS_LIMIT];
    if (comm->is_flat)
        return WEFT_OK;
    if (!all_share_memory(comm, offsets)) {
        weft_area_drop(comm->context, own);
        return WEFT_OK;
    }
    for (int rank = 0; rank < comm->num_ranks; rank++)
        if (rank != comm->rank)
            WEFT_TRY(map_area(comm, rank, offsets[rank], &areas[rank], error));
    areas[comm->rank] = own->memory;
    for (int rank = 0; rank < comm->num_ranks; rank++) {
        comm->flat.areas[rank] = areas[rank] + sizeof(struct head);
        comm->shared.areas[rank] = areas[rank] + flat_room(comm->flat_bytes);
    }
    comm->flat.rank = comm->shared.rank = comm->rank;
    comm->flat.num_ranks = comm->shared.num_ranks = comm->num_ranks;
    comm->flat.group = choose_group(comm);
    comm->flat.data_bytes = comm->flat_bytes;
    comm->shared.stage_bytes = STAGE_BYTES;
    comm->shared.fetching = comm->context->fetching;
    comm->shared.device = comm->context->devices[comm->context->sharing_device];
    comm->shared.peers = comm->peers;
    comm->shared.cache_bytes = comm->context->cache_bytes;
    comm->is_flat = true;
    memcpy(comm->area_offsets, offsets, (size_t)comm->num_ranks * sizeof *offsets);
    *own = (struct weft_area){.offset = UINT64_MAX}; // the communicator's now
    return WEFT_OK;
}

char *weft_area_room(const struct weft_comm *comm)
{
    return comm->shared.areas[comm->rank] + weft_shared_area_bytes(STAGE_BYTES);
}

static void stop_keeping(const struct weft_comm *comm, int rank)
{
    const struct weft_shared_block block = {comm->area_offsets[rank], area_bytes(comm->flat_bytes)};
    struct weft_connection *peer = comm->peers[rank];
    void *ignored;
    (void)!peer->device->transport->map(peer, &block, false, &ignored);
}

static struct head *head_of(const struct weft_comm *comm, int rank)
{
    return (struct head *)(comm->flat.areas[rank] - sizeof(struct head));
}

void weft_area_set_core(struct weft_comm *comm, int core)
{
    _Atomic int32_t *known = &head_of(comm, comm->rank)->core;
    if (atomic_load_explicit(known, memory_order_relaxed) != core + 1)
        atomic_store_explicit(known, core + 1, memory_order_relaxed);
}

int weft_area_core(const struct weft_comm *comm, int rank)
{
    return atomic_load_explicit(&head_of(comm, rank)->core, memory_order_relaxed) - 1;
}

void weft_area_leave(struct weft_comm *comm)
{
    if (!comm->is_flat)
        return;
    weft_shared_leave(&comm->shared);
    comm->is_flat = false;
    for (int rank = 0; rank < comm->num_ranks; rank++)
        if (rank != comm->rank) {
            atomic_fetch_add_explicit(&head_of(comm, rank)->departed, 1, memory_order_release);
            stop_keeping(comm, rank);
        }
    struct weft_buried_area *buried = malloc(sizeof *buried);
    if (!buried) // it stays until the context ends
        return;
    *buried = (struct weft_buried_area){comm->context->buried_areas, head_of(comm, comm->rank),
                                        (uint32_t)comm->num_ranks - 1};
    comm->context->buried_areas = buried;
    weft_areas_tidy(comm->context);
}

void weft_areas_tidy(struct weft_context *context)
{
    for (struct weft_buried_area **link = &context->buried_areas, *area; (area = *link);) {
        if (atomic_load_explicit(&area->head->departed, memory_order_acquire) < area->num_others) {
            link = &area->next;
            continue;
        }
        *link = area->next;
        unshare(context, area->head);
        free(area);
    }
}

void weft_areas_forget(struct weft_context *context)
{
    while (context->buried_areas) {
        struct weft_buried_area *area = context->buried_areas;
        context->buried_areas = area->next;
        free(area);
    }
}
