/*
 * SPDX-License-Identifier: Apache-2.0
 * A world: the processes that met under one unique id. It owns the connections and the control
 * plane; communicators (the first one and those split from it) are views of it. News of deaths,
 * aborts and failures arrive here and go to the communicators they concern.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "collectives/comm/internal.h"
#include "collectives/planner/costs.h"

/* ---- blobs ---- */

/* Prices, and what all ranks are to read: tables of measured times, then a graph. */
static weft_status read_facts(struct weft_context *context, int num_ranks, uint64_t device_mask,
                              struct weft_process *process, char **text, struct weft_error *error)
{
    char *graph = NULL, *tune = NULL, *both;
    size_t graph_bytes = 0, tune_bytes = 0;
    WEFT_TRY(weft_tune_load(context, &tune, &tune_bytes, error));
    weft_status status =
        weft_costs_of_machine(context, num_ranks, &process->costs, &graph, &graph_bytes, error);
    if (status == WEFT_OK)
        weft_costs_use_rdma(context, device_mask, graph != NULL, &process->costs);
    if (status == WEFT_OK && graph_bytes > 0) {
        both = realloc(tune, tune_bytes + graph_bytes);
        if (both)
            memcpy(both + tune_bytes, graph, graph_bytes);
        else
            status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a topology");
        tune = both ? both : tune;
    }
    free(graph);
    if (status != WEFT_OK) {
        free(tune);
        return status;
    }
    process->graph_bytes = graph_bytes;
    process->tune_bytes = tune_bytes;
    *text = tune;
    return WEFT_OK;
}

weft_status weft_world_make_blob(struct weft_context *context, int rank, int num_ranks,
                                 uint64_t device_mask, struct weft_control **control,
                                 struct weft_process *process, char **text,
                                 struct weft_error *error)
{
    memset(process, 0, sizeof *process);
    memcpy(process->process_id, context->process_id, sizeof process->process_id);
    process->machine_id = context->machine_id;
    process->host_id = context->host_id;
    process->pid = getpid();
    memcpy(process->cores, context->cores, sizeof process->cores);
    for (int i = 0; i < WEFT_DEVICES_LIMIT; i++)
        if (device_mask >> i & 1) {
            process->device_mask |= UINT64_C(1) << i;
            weft_transports[i]->address(context->devices[i], process->addresses[i]);
        }
    process->area_offset = UINT64_MAX;
    process->flat_bytes = (uint64_t)context->config.flat_bytes;
    process->num_cores = (uint32_t)context->num_cores;
    if (gethostname(process->host_name, sizeof process->host_name - 1) != 0)
        process->host_name[0] = '\0';
    if (rank == 0) // everybody uses rank 0's
        WEFT_TRY(read_facts(context, num_ranks, device_mask, process, text, error));
    return weft_control_open(context->config.bootstrap_address, control, process->control_address,
                             error);
}

/* ---- news ---- */

static void on_notice(void *user, const struct weft_notice *notice)
{
    struct weft_world *world = user;
    struct weft_comm *comm;
    switch (notice->kind) {
    case WEFT_NOTICE_DEATH:
        for (comm = world->context->comms; comm; comm = comm->next)
            if (comm->world == world && weft_comm_rank_of(comm, notice->subject) >= 0)
                weft_comm_fail(comm, WEFT_REMOTE, false, "%s", notice->text);
        return;
    case WEFT_NOTICE_ABORT:
    case WEFT_NOTICE_FAILURE:
        comm = weft_comm_find(world, notice->comm, notice->epoch);
        if (comm)
            weft_comm_fail(comm, (weft_status)notice->status, false, "%s", notice->text);
        return;
    }
}

static struct weft_world *world_of(void *user, int *peer)
{
    struct weft_world_peer *entry = user;
    *peer = entry->rank;
    return entry->world;
}

static void on_unexpected(void *user, struct weft_connection *connection,
                          const struct weft_message_key *key, uint64_t call, uint64_t plan,
                          uint64_t bytes)
{
    int peer;
    struct weft_world *world = world_of(connection->user, &peer);
    struct weft_comm *comm = weft_comm_find(world, key->comm, key->epoch);
    (void)user, (void)plan, (void)bytes;
    if (comm)
        weft_collective_unexpected(comm, weft_comm_rank_of(comm, peer), key, call);
}

// Operations that need the peer fail through their transfers; this only says why.
static void on_failed(void *user, struct weft_connection *connection, const char *reason)
{
    int peer;
    struct weft_world *world = world_of(connection->user, &peer);
    (void)user;
    WEFT_LOG(WEFT_LOG_INFO, "connection to rank %d: %s", peer, reason);
    snprintf(world->peers[peer].reason, sizeof world->peers[peer].reason, "%s", reason);
}

const struct weft_device_events weft_world_device_events_prototype = {
    .unexpected = on_unexpected,
    .failed = on_failed,
};

/* ---- life ---- */

// More ranks on this host than cores that all of them together may run on, or than the quota
// allows.
static bool is_crowded(const struct weft_world *world)
{
    const struct weft_context *context = world->context;
    uint64_t all[WEFT_CORE_WORDS] = {0};
    int ranks = 0;
    for (int rank = 0; rank < world->num_ranks; rank++) {
        const struct weft_process *process = &world->processes[rank];
        if (process->machine_id != context->machine_id)
            continue;
        ranks++;
        weft_cores_add(all, process->cores);
    }
    // A quota shows as fewer cores than the affinity has.
    bool has_quota = context->num_cores < weft_cores_count(context->cores);
    return ranks > (has_quota ? context->num_cores : weft_cores_count(all));
}

static weft_status fill_world(struct weft_world *world, const weft_unique_id *id,
                              const struct weft_bootstrap *bootstrap, struct weft_error *error)
{
    const void **addresses = calloc((size_t)world->num_ranks, sizeof *addresses);
    if (!addresses)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %d ranks", world->num_ranks);
    for (int rank = 0; rank < world->num_ranks; rank++) {
        size_t bytes;
        const void *blob = weft_bootstrap_blob(bootstrap, rank, &bytes);
        if (bytes != sizeof *world->processes) {
            free(addresses);
            return weft_fail(error, WEFT_MISMATCH, "rank %d runs another version of the library",
                             rank);
        }
        memcpy(&world->processes[rank], blob, bytes);
        world->peers[rank] = (struct weft_world_peer){.world = world, .rank = rank};
        addresses[rank] = world->processes[rank].control_address;
    }
    weft_status status = weft_costs_check(&world->processes[0].costs, error);
    if (is_crowded(world))
        world->context->is_oversubscribed = true;
    for (size_t i = 0; i < sizeof id->bytes; i++)
        world->tag = weft_hash_mix(world->tag, (unsigned char)id->bytes[i]);
    const struct weft_control_events events = {.user = world, .notice = on_notice};
    if (status == WEFT_OK)
        status = weft_control_start(world->control, world->rank, world->num_ranks, addresses,
                                    events, error);
    free(addresses);
    return status;
}

weft_status weft_world_create(struct weft_context *context, const weft_unique_id *id, int rank,
                              int num_ranks, const struct weft_bootstrap *bootstrap,
                              struct weft_control **control, struct weft_world **world,
                              struct weft_error *error)
{
    struct weft_world *made = calloc(1, sizeof *made);
    size_t n = (size_t)num_ranks;
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %d ranks", num_ranks);
    *made = (struct weft_world){.context = context,
                                .references = 1,
                                .rank = rank,
                                .num_ranks = num_ranks,
                                .control = *control,
                                .processes = calloc(n, sizeof *made->processes),
                                .connections = calloc(n, sizeof *made->connections),
                                .peers = calloc(n, sizeof *made->peers)};
    *control = NULL;
    made->next = context->worlds;
    context->worlds = made;
    weft_status status = WEFT_OK;
    if (!made->processes || !made->connections || !made->peers)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %d ranks", num_ranks);
    else
        status = fill_world(made, id, bootstrap, error);
    if (status != WEFT_OK) {
        weft_world_release(&made);
        return status;
    }
    weft_context_watch(context, weft_control_descriptor(made->control));
    *world = made;
    return WEFT_OK;
}

void weft_world_release(struct weft_world **world)
{
    struct weft_world *old = *world;
    *world = NULL;
    if (!old || --old->references > 0)
        return;
    for (struct weft_world **link = &old->context->worlds; *link; link = &(*link)->next)
        if (*link == old) {
            *link = old->next;
            break;
        }
    weft_control_close(&old->control);
    for (int rank = 0; old->connections && rank < old->num_ranks; rank++)
        if (old->connections[rank])
            old->connections[rank]->device->transport->disconnect(&old->connections[rank]);
    free(old->processes);
    free(old->connections);
    free(old->peers);
    free(old);
}

weft_status weft_world_connect(struct weft_world *world, int peer, struct weft_error *error)
{
    struct weft_context *context = world->context;
    const struct weft_process *process = &world->processes[peer];
    char reasons[320] = "";
    if (world->connections[peer])
        return WEFT_OK;
    for (int i = 0; weft_transports[i]; i++) {
        const char *reason = context->device_reasons[i];
        bool is_mine = world->processes[world->rank].device_mask >> i & 1;
        if (context->devices[i] && !is_mine)
            reason = "not for this communicator";
        else if (is_mine && !(process->device_mask >> i & 1))
            reason = "the peer does not have it";
        else if (is_mine && weft_transports[i]->reachable(context->devices[i],
                                                          process->addresses[i], &reason)) {
            WEFT_TRY(weft_transports[i]->connect(
                context->devices[i], process->addresses[i], process->process_id, world->tag,
                &world->peers[peer], &world->connections[peer], error));
            context->is_device_busy[i] = true;
            return WEFT_OK;
        }
        size_t used = strlen(reasons);
        snprintf(reasons + used, sizeof reasons - used, "; %s: %.100s", weft_transports[i]->name,
                 reason);
    }
    return weft_fail(error, WEFT_UNSUPPORTED, "no transport reaches rank %d%s", peer, reasons);
}
