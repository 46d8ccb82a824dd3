/*
 * SPDX-License-Identifier: Apache-2.0
 * See cluster.h. Every rank goes through the same collectives whatever happens to it alone, so a
 * failure of one is told to all instead of being waited for.
 */
#include "collectives/comm/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collectives/comm/internal.h"
#include "topology/json.h"
#include "topology/load.h"
#include "topology/merge.h"

static const int64_t all_limit_bytes = INT64_C(4) << 30; // of everybody's pieces
// A host's driver may be sick, its subnet large. Who dies is noticed without any deadline.
static const int64_t longest_probe_ns = INT64_C(600000000000);

static uint64_t host_of(const struct weft_comm *comm, int rank)
{
    return comm->world->processes[comm->world_ranks[rank]].host_id;
}

bool weft_cluster_is_leader(const weft_comm *comm)
{
    for (int rank = 0; rank < comm->rank; rank++)
        if (host_of(comm, rank) == host_of(comm, comm->rank))
            return false;
    return true;
}

static weft_status comm_failed(const weft_comm *comm, weft_status status, struct weft_error *error)
{
    return weft_fail(error, status, "%s", weft_comm_error_text(comm));
}

weft_status weft_cluster_wait(weft_comm *comm, int64_t timeout_ns, struct weft_error *error)
{
    const weft_op_desc barrier = {.struct_bytes = sizeof barrier,
                                  .collective = WEFT_BARRIER,
                                  .timeout_ns = comm->timeout_ns + timeout_ns};
    weft_status status = weft_submit(comm, &barrier, NULL);
    return status == WEFT_OK ? WEFT_OK : comm_failed(comm, status, error);
}

/* ---- exchange ---- */

/* Places for everybody's piece, each with room for a NUL. */
static weft_status place_pieces(const weft_comm *comm, const int64_t *sizes, size_t *counts,
                                char **all, struct weft_piece **pieces, struct weft_error *error)
{
    int64_t total = 0;
    for (int rank = 0; rank < comm->num_ranks; rank++) {
        int64_t bytes = sizes[rank] < 0 ? WEFT_ERROR_TEXT_BYTES : sizes[rank];
        if (bytes > all_limit_bytes - total)
            return weft_fail(error, WEFT_INVALID_FORMAT,
                             "rank %d has %" PRId64 " bytes for the others: too many", rank,
                             sizes[rank]);
        counts[rank] = (size_t)bytes + 1;
        total += bytes + 1;
    }
    *all = malloc((size_t)total);
    *pieces = malloc((size_t)comm->num_ranks * sizeof **pieces);
    if (!*all || !*pieces)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the pieces of %d ranks",
                         comm->num_ranks);
    char *at = *all;
    for (int rank = 0; rank < comm->num_ranks; rank++) {
        (*pieces)[rank] = (struct weft_piece){at, counts[rank] - 1};
        at += counts[rank];
    }
    return WEFT_OK;
}

/* The first rank that failed speaks for all. */
static weft_status check_pieces(const weft_comm *comm, const int64_t *sizes,
                                const struct weft_piece *pieces, struct weft_error *error)
{
    for (int rank = 0; rank < comm->num_ranks; rank++) {
        bool is_status = -sizes[rank] > WEFT_OK && -sizes[rank] <= WEFT_INTERNAL;
        if (sizes[rank] < 0)
            return weft_fail(error, is_status ? (weft_status)-sizes[rank] : WEFT_REMOTE,
                             "rank %d: %.480s", rank, pieces[rank].data);
    }
    return WEFT_OK;
}

static weft_status exchange(weft_comm *comm, const char *data, int64_t bytes, int64_t *sizes,
                            size_t *counts, char **all, struct weft_piece **pieces,
                            struct weft_error *error)
{
    weft_status status = weft_all_gather(&bytes, sizes, 1, WEFT_INT64, comm, NULL);
    if (status != WEFT_OK)
        return comm_failed(comm, status, error);
    status = place_pieces(comm, sizes, counts, all, pieces, error);
    if (status != WEFT_OK) {
        weft_comm_abort(comm); // the others wait for this rank's piece
        return status;
    }
    char *own = calloc(counts[comm->rank], 1);
    if (!own) {
        weft_comm_abort(comm);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %" PRId64 " bytes", bytes);
    }
    if (bytes < 0)
        snprintf(own, counts[comm->rank], "%s", data);
    else
        memcpy(own, data, (size_t)bytes);
    status = weft_all_gather_v(own, *all, counts, WEFT_UINT8, comm, NULL);
    free(own);
    if (status != WEFT_OK)
        return comm_failed(comm, status, error);
    for (int rank = 0; rank < comm->num_ranks; rank++) // a peer need not have ended its text
        (*all)[(size_t)((*pieces)[rank].data - *all) + (*pieces)[rank].bytes] = '\0';
    return check_pieces(comm, sizes, *pieces, error);
}

weft_status weft_cluster_exchange(weft_comm *comm, const char *data, int64_t bytes, char **all,
                                  struct weft_piece **pieces, struct weft_error *error)
{
    char *made = NULL;
    struct weft_piece *places = NULL;
    size_t n = (size_t)comm->num_ranks;
    int64_t *sizes = malloc(n * sizeof *sizes);
    size_t *counts = malloc(n * sizeof *counts);
    weft_status status = WEFT_OK;
    if (!sizes || !counts) {
        weft_comm_abort(comm);
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %zu ranks", n);
    }
    if (status == WEFT_OK)
        status = exchange(comm, data, bytes, sizes, counts, &made, &places, error);
    free(sizes);
    free(counts);
    if (status != WEFT_OK) {
        free(made);
        free(places);
        return status;
    }
    *all = made;
    *pieces = places;
    return WEFT_OK;
}

/* ---- this host ---- */

/* So that machines with one name are told apart, and a host that came twice is one. */
static weft_status mark_host(const weft_comm *comm, struct weft_topology *t,
                             struct weft_error *error)
{
    char identity[32];
    int host = -1, num_hosts = 0;
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_HOST && t->nodes[i].parent < 0) {
            bool is_seen_from_inside = false; // not one that the fabric named
            // what it contains comes right after it
            for (int k = i + 1; k < t->num_nodes && t->nodes[k].parent >= 0; k++)
                is_seen_from_inside |= t->nodes[k].kind != WEFT_NODE_NIC;
            if (is_seen_from_inside) {
                host = i;
                num_hosts++;
            }
        }
    if (num_hosts != 1) // a file about many hosts: they have what identity they have
        return WEFT_OK;
    snprintf(identity, sizeof identity, "%016" PRIx64, host_of(comm, comm->rank));
    return weft_topology_set_text(t, host, "process.host_id", identity, WEFT_SOURCE_SYSFS, error);
}

static weft_status describe_host(const weft_comm *comm, const char *source, char **text,
                                 size_t *bytes, struct weft_error *error)
{
    struct weft_topology *t;
    WEFT_TRY(weft_topology_load(source, &t, error));
    weft_status status = mark_host(comm, t, error);
    if (status == WEFT_OK)
        status = weft_topology_to_json(t, text, bytes, error);
    weft_topology_destroy(&t);
    return status;
}

/* ---- all hosts ---- */

static weft_status read_graphs(const weft_comm *comm, const struct weft_piece *pieces,
                               struct weft_topology **graphs, int *num_graphs,
                               struct weft_error *error)
{
    *num_graphs = 0;
    for (int rank = 0; rank < comm->num_ranks; rank++) {
        char name[32];
        if (pieces[rank].bytes == 0)
            continue;
        snprintf(name, sizeof name, "topology of rank %d", rank);
        WEFT_TRY(weft_topology_read_json(pieces[rank].data, pieces[rank].bytes, name,
                                         &graphs[*num_graphs], error));
        ++*num_graphs;
    }
    return WEFT_OK;
}

static weft_status merge_pieces(const weft_comm *comm, const struct weft_piece *pieces,
                                struct weft_topology **topology, struct weft_error *error)
{
    int num_graphs;
    struct weft_topology **graphs = calloc((size_t)comm->num_ranks, sizeof *graphs);
    if (!graphs)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %d ranks", comm->num_ranks);
    weft_status status = read_graphs(comm, pieces, graphs, &num_graphs, error);
    if (status == WEFT_OK)
        status = weft_topology_merge((const struct weft_topology *const *)graphs, num_graphs,
                                     topology, error);
    for (int i = 0; i < comm->num_ranks; i++)
        weft_topology_destroy(&graphs[i]);
    free(graphs);
    return status;
}

weft_status weft_cluster_agree(weft_comm *comm, const struct weft_topology *topology,
                               weft_status status, struct weft_error *error)
{
    char own[32] = "";
    char *all = NULL;
    struct weft_piece *pieces = NULL;
    if (status == WEFT_OK)
        snprintf(own, sizeof own, "%016" PRIx64, weft_topology_fingerprint(topology));
    WEFT_TRY(weft_cluster_exchange(comm, status == WEFT_OK ? own : error->text,
                                   status == WEFT_OK ? (int64_t)strlen(own) : -(int64_t)status,
                                   &all, &pieces, error));
    for (int rank = 1; rank < comm->num_ranks && status == WEFT_OK; rank++)
        if (strcmp(pieces[rank].data, pieces[0].data) != 0)
            status = weft_fail(error, WEFT_MISMATCH,
                               "rank %d merged to another topology (%.16s) than rank 0 (%.16s)",
                               rank, pieces[rank].data, pieces[0].data);
    free(all);
    free(pieces);
    return status;
}

weft_status weft_cluster_gather(weft_comm *comm, const char *source,
                                struct weft_topology **topology, struct weft_error *error)
{
    char *text = NULL, *all = NULL;
    size_t bytes = 0;
    struct weft_piece *pieces = NULL;
    struct weft_topology *merged = NULL;
    weft_context_fault_point(comm->context, "topology", comm->rank);
    weft_status status = WEFT_OK;
    if (weft_cluster_is_leader(comm))
        status = describe_host(comm, source, &text, &bytes, error);
    struct weft_error late = {0};
    weft_status waited = weft_cluster_wait(comm, longest_probe_ns, &late);
    if (waited != WEFT_OK) {
        free(text);
        return weft_fail(error, waited, "%s", late.text);
    }
    const char *mine = status != WEFT_OK ? error->text : text ? text : "";
    status = weft_cluster_exchange(
        comm, mine, status == WEFT_OK ? (int64_t)bytes : -(int64_t)status, &all, &pieces, error);
    free(text);
    if (status != WEFT_OK)
        return status;
    status = merge_pieces(comm, pieces, &merged, error);
    free(all);
    free(pieces);
    status = weft_cluster_agree(comm, merged, status, error);
    if (status == WEFT_OK)
        *topology = merged;
    else
        weft_topology_destroy(&merged);
    return status;
}
