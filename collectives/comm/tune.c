/*
 * SPDX-License-Identifier: Apache-2.0
 * The way of measured times from WEFT_TUNE into a communicator: rank 0 reads the file, all ranks
 * get its text and choose by it. See collectives/planner/tuned.h.
 */
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "collectives/comm/describe.h"
#include "collectives/comm/internal.h"
#include "collectives/planner/tuned.h"

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
        status = weft_tuned_read(read, *bytes, path, NULL, 0, &none, &why);
    if (status != WEFT_OK) {
        free(read);
        return weft_fail(error, status, "WEFT_TUNE: %.400s", why.text);
    }
    *text = read;
    return WEFT_OK;
}

void weft_comm_hosts(const weft_comm *comm, int *hosts)
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
}

weft_status weft_tune_take(struct weft_comm *comm, const char *text, size_t bytes,
                           struct weft_error *error)
{
    struct weft_tuned *tuned = NULL;
    int *hosts = malloc((size_t)comm->num_ranks * sizeof *hosts);
    if (!hosts)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for measured times");
    weft_comm_hosts(comm, hosts);
    weft_status status =
        weft_tuned_read(text, bytes, "WEFT_TUNE of rank 0", hosts, comm->num_ranks, &tuned, error);
    free(hosts);
    WEFT_TRY(status);
    if (!tuned && comm->rank == 0)
        WEFT_LOG(WEFT_LOG_WARN,
                 "WEFT_TUNE: no table is of these %d ranks on these hosts; prices decide",
                 comm->num_ranks);
    weft_tuned_free(&comm->layout->tuned);
    comm->layout->tuned = tuned;
    return WEFT_OK;
}
