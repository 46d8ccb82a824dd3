/*
 * SPDX-License-Identifier: Apache-2.0
 * The way of measured times from WEFT_TUNE into a communicator: rank 0 reads the file, all ranks
 * get its text and choose by it. See collectives/planner/tuned.h.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "collectives/comm/describe.h"
#include "collectives/comm/internal.h"
#include "collectives/planner/tuned.h"

enum { LINK_BYTES = WEFT_COMM_LINKS_BYTES / 2 };

weft_status weft_tune_load(struct weft_context *context, char **text, size_t *bytes,
                           struct weft_error *error)
{
    const char *path = context->config.tune;
    struct weft_tuned *none = NULL;
    struct weft_error why;
    char *read = NULL;
    *bytes = 0;
    if (!*path)
        return WEFT_OK;
    weft_status status = weft_file_read(path, WEFT_TUNE_LIMIT_BYTES, &read, bytes, &why);
    if (status == WEFT_OK)
        status = weft_tuned_read(read, *bytes, path, NULL, &none, &why);
    if (status != WEFT_OK) {
        free(read);
        return weft_fail(error, status, "WEFT_TUNE: %.400s", why.text);
    }
    *text = read;
    return WEFT_OK;
}

int weft_comm_hosts(const weft_comm *comm, int *hosts)
{
    int num_hosts = 0;
    for (int r = 0; r < comm->num_ranks; r++) {
        const struct weft_process *processes = comm->world->processes;
        uint64_t host = processes[comm->world_ranks[r]].host_id;
        int first = 0;
        while (processes[comm->world_ranks[first]].host_id != host)
            first++;
        hosts[r] = first < r ? hosts[first] : num_hosts++;
    }
    return num_hosts;
}

// The first that all have, of those that lead there; over several interfaces: "tcp*2".
static void name_transport(const weft_comm *comm, bool leaves_host, char name[LINK_BYTES])
{
    const struct weft_process *processes = comm->world->processes;
    uint64_t mask = UINT64_MAX;
    int i = 0, fewest = INT_MAX;
    for (int r = 0; r < comm->num_ranks; r++)
        mask &= processes[comm->world_ranks[r]].device_mask;
    while (weft_transports[i] &&
           (!(mask >> i & 1) ||
            (leaves_host && weft_transports[i]->capabilities & WEFT_TRANSPORT_SHARES)))
        i++;
    bool is_tcp = weft_transports[i] == &weft_tcp_transport;
    for (int r = 0; r < comm->num_ranks && is_tcp; r++) {
        int has = weft_tcp_address_interfaces(processes[comm->world_ranks[r]].addresses[i]);
        fewest = has < fewest ? has : fewest;
    }
    if (is_tcp && fewest > 1)
        snprintf(name, LINK_BYTES, "%s*%d", weft_tcp_transport.name, fewest);
    else
        snprintf(name, LINK_BYTES, "%s", weft_transports[i] ? weft_transports[i]->name : "");
}

void weft_comm_links(const weft_comm *comm, int num_hosts, char links[WEFT_COMM_LINKS_BYTES])
{
    char within[LINK_BYTES] = "", between[LINK_BYTES] = "";
    if (num_hosts < comm->num_ranks)
        name_transport(comm, false, within);
    if (num_hosts > 1)
        name_transport(comm, true, between);
    bool are_two = *within && *between && strcmp(within, between) != 0;
    snprintf(links, WEFT_COMM_LINKS_BYTES, "%s%s%s", *within ? within : between, are_two ? "+" : "",
             are_two ? between : "");
}

weft_status weft_tune_take(struct weft_comm *comm, const char *text, size_t bytes,
                           struct weft_error *error)
{
    struct weft_tuned *tuned = NULL;
    char links[WEFT_COMM_LINKS_BYTES];
    int *hosts = malloc((size_t)comm->num_ranks * sizeof *hosts);
    if (!hosts)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for measured times");
    weft_comm_links(comm, weft_comm_hosts(comm, hosts), links);
    const struct weft_tuned_ranks ranks = {comm->num_ranks, hosts, links};
    weft_status status = weft_tuned_read(text, bytes, "WEFT_TUNE of rank 0", &ranks, &tuned, error);
    free(hosts);
    WEFT_TRY(status);
    if (!tuned && comm->rank == 0)
        WEFT_LOG(WEFT_LOG_WARN,
                 "WEFT_TUNE: no table is of these %d ranks on these hosts%s%s; prices decide",
                 comm->num_ranks, *links ? " over " : "", links);
    weft_tuned_free(&comm->layout->tuned);
    comm->layout->tuned = tuned;
    return WEFT_OK;
}
