/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft topo --cluster`: this process is one rank of many, started by any launcher. Each host is
 * probed once, the hosts become one graph, and rank 0 shows it.
 */
#include "base/config.h"
#include "collectives/comm/calibrate.h"
#include "collectives/comm/cluster.h"
#include "tools/topo.h"

enum { MAX_BYTES = 64 << 20 };

static const int64_t default_time_ns = INT64_C(8000000000);

/* New measurements, or on rank 0 those of the cache. */
static weft_status measure(weft_comm *comm, const struct weft_topo_measuring *measuring, bool quiet,
                           struct weft_topology *topology, struct weft_error *error)
{
    struct weft_measurements m = {0};
    int applied;
    bool shows = weft_comm_rank(comm) == 0, has_some = measuring->is_wanted;
    const struct weft_calibrate_options options = {
        .budget_ns = measuring->time_ns ? measuring->time_ns : default_time_ns,
        .max_bytes = MAX_BYTES,
    };
    if (measuring->is_wanted) {
        WEFT_TRY(weft_calibrate_hosts(comm, topology, &options, &m, error));
        // a graph of one host is that host's own: its measurements must not be replaced by none
        if (shows && m.num_entries > 0)
            weft_topo_keep_measurements(&m, stderr);
        else if (shows)
            fputs("one host: there is no pair of hosts to measure\n", stderr);
        if (shows && !quiet && m.num_entries > 0) {
            weft_topo_print_measurements(&m, stdout);
            putchar('\n');
        }
    } else if (shows) {
        WEFT_TRY(weft_measurements_recall(topology, &m, &has_some, error));
    }
    weft_status status = WEFT_OK;
    if (shows && has_some)
        status = weft_measurements_apply(topology, &m, &applied, error);
    if (shows && status == WEFT_OK)
        status = weft_calibrate_group(topology, has_some ? &m : NULL, error);
    weft_measurements_free(&m);
    return status;
}

static weft_status gather(weft_comm *comm, const struct weft_topo_measuring *measuring, bool quiet,
                          struct weft_topology **topology, struct weft_error *error)
{
    struct weft_topology *made = NULL;
    WEFT_TRY(weft_cluster_gather(comm, weft_config_environment("WEFT_TOPOLOGY"), &made, error));
    weft_status status = measure(comm, measuring, quiet, made, error);
    if (status == WEFT_OK) {
        status = weft_comm_finalize(comm, NULL);
        if (status != WEFT_OK)
            weft_fail(error, status, "%s", weft_comm_error_text(comm));
    }
    if (status == WEFT_OK && weft_comm_rank(comm) == 0)
        *topology = made;
    else
        weft_topology_destroy(&made);
    return status;
}

weft_status weft_topo_load_cluster(const struct weft_topo_measuring *measuring, bool quiet,
                                   struct weft_topology **topology, struct weft_error *error)
{
    weft_context *context = NULL;
    weft_comm *comm = NULL;
    weft_status status = weft_context_create(&context);
    if (status != WEFT_OK)
        return weft_fail(error, status, "no context: %s (the line above says why)",
                         weft_status_text(status));
    status = weft_comm_create_from_environment(context, &comm, NULL);
    if (status != WEFT_OK)
        weft_fail(error, status, "%s", weft_context_error_text(context));
    else
        status = gather(comm, measuring, quiet, topology, error);
    weft_comm_destroy(&comm);
    weft_context_destroy(&context);
    return status;
}
