/*
 * SPDX-License-Identifier: Apache-2.0
 * Where topology and planner meet: how the ranks that met lie on their hosts, at prices of this
 * machine, or of the topology that WEFT_TOPOLOGY names. Rank 0 asks; everybody uses its answer.
 * What moves here is memory of processes, so processors and memory decide; whoever makes a
 * communicator does not wait for drivers and networks.
 */
#include <stdlib.h>

#include "base/log.h"
#include "collectives/comm/internal.h"
#include "collectives/planner/costs.h"
#include "collectives/planner/layout_topology.h"
#include "topology/json.h"
#include "topology/load.h"

// Of one message through sockets of one machine, and of its bytes; seen on a 2-core EPYC VM.
static const int64_t socket_latency_ps = 10000000, socket_bandwidth = INT64_C(1500000000);
// What processes that take turns on a core lose of it, in per mille.
static const int64_t turns_per_mille = 125;

// Two levels, whatever the topology had.
static void make_two_levels(struct weft_costs *costs)
{
    if (costs->levels[0].leaves_host) { // nothing is known within hosts: each has one core
        costs->levels[1] = costs->levels[costs->num_levels - 1];
        costs->levels[0] = weft_costs_assumed(1, 0).levels[0];
    } else if (costs->num_levels == 1) { // nothing is known of other hosts
        const struct weft_link_kind *network = &weft_link_kinds[WEFT_LINK_NETWORK];
        costs->levels[1] = costs->levels[0];
        // and what goes there takes sockets, whatever the network is
        weft_level_use_route(&costs->levels[1], socket_latency_ps + network->assumed_latency_ps,
                             network->assumed_bandwidth < socket_bandwidth
                                 ? network->assumed_bandwidth
                                 : socket_bandwidth);
    } else {
        costs->levels[1] = costs->levels[costs->num_levels - 1];
    }
    costs->levels[1].leaves_host = 1;
    costs->num_levels = 2;
}

/* Ranks of a host that share no memory talk through the kernel: no slots, and each byte is copied
 * in and out of it by those who also work. */
static void use_sockets(struct weft_costs *costs)
{
    costs->flat_ps = -1;
    costs->flat_bytes = 0;
    weft_level_use_route(&costs->levels[0], socket_latency_ps, socket_bandwidth);
}

/* What all ranks are to plan with, if it is of several hosts. Ranks read it alike. */
static weft_status write_graph(const struct weft_topology *topology,
                               const struct weft_layout_origin *origin, char **graph, size_t *bytes,
                               struct weft_error *error)
{
    if (weft_topology_count(topology, WEFT_NODE_HOST) < 2 ||
        origin->place_kind == WEFT_NODE_GPU) // whose prices stand for GPUs
        return WEFT_OK;
    WEFT_TRY(weft_topology_to_json(topology, graph, bytes, error));
    if (*bytes > WEFT_GRAPH_LIMIT_BYTES) {
        WEFT_LOG(WEFT_LOG_WARN,
                 "WEFT_TOPOLOGY: %zu bytes are too many for all ranks; hosts are planned alike",
                 *bytes);
        free(*graph);
        *graph = NULL;
        *bytes = 0;
    }
    return WEFT_OK;
}

weft_status weft_costs_of_machine(struct weft_context *context, int num_ranks,
                                  struct weft_costs *costs, char **graph, size_t *graph_bytes,
                                  struct weft_error *error)
{
    struct weft_topology *topology;
    struct weft_layout *layout = NULL;
    struct weft_layout_origin origin;
    struct weft_error why;
    bool is_given = *context->config.topology;
    weft_status status = is_given ? weft_topology_load(context->config.topology, &topology, &why)
                                  : weft_topology_load_processors(&topology, &why);
    if (status == WEFT_OK) {
        status = weft_layout_from_topology(topology, num_ranks, &layout, &origin, &why);
        if (status == WEFT_OK && is_given)
            status = write_graph(topology, &origin, graph, graph_bytes, &why);
        weft_topology_destroy(&topology);
    }
    if (status != WEFT_OK && is_given) {
        weft_layout_destroy(&layout);
        return weft_fail(error, status, "WEFT_TOPOLOGY: %.400s", why.text);
    }
    // A machine that cannot be probed still runs; only the choice rests on assumptions.
    if (status != WEFT_OK)
        WEFT_LOG(WEFT_LOG_WARN, "prices are assumed: %s", why.text);
    *costs = layout ? layout->costs : weft_costs_assumed(num_ranks, context->num_cores);
    make_two_levels(costs);
    if (context->sharing_device < 0 && (!is_given || *graph))
        use_sockets(costs);
    weft_layout_destroy(&layout);
    return WEFT_OK;
}

void weft_costs_use_rdma(const struct weft_context *context, uint64_t device_mask, bool has_graph,
                         struct weft_costs *costs)
{
    struct weft_device *device = NULL;
    unsigned char address[WEFT_ADDRESS_BYTES];
    for (int i = 0; weft_transports[i] && i < WEFT_DEVICES_LIMIT; i++)
        if (weft_transports[i] == &weft_verbs_transport && device_mask >> i & 1)
            device = context->devices[i];
    if (!device)
        return;
    weft_verbs_transport.address(device, address);
    int64_t mbps = weft_verbs_address_mbps(address);
    weft_rdma_price(&context->rdma, mbps, &costs->levels[1]);
    if (context->sharing_device < 0 && (!*context->config.topology || has_graph))
        weft_rdma_price(&context->rdma, mbps, &costs->levels[0]);
}

/* Ranks to a core: hosts may be containers of one machine, which all have the same cores. */
static weft_status count_sharing(const struct weft_world *world, int64_t *sharing,
                                 struct weft_error *error)
{
    int *beside = calloc((size_t)world->num_ranks, sizeof *beside); // by first rank of a machine
    if (!beside)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a communicator");
    *sharing = 1;
    for (int r = 0; r < world->num_ranks; r++) {
        int first = 0;
        while (world->processes[first].machine_id != world->processes[r].machine_id)
            first++;
        int64_t cores = world->processes[first].num_cores, ranks = ++beside[first];
        if (cores > 0 && (ranks + cores - 1) / cores > *sharing)
            *sharing = (ranks + cores - 1) / cores;
    }
    free(beside);
    return WEFT_OK;
}

/* What a message through sockets takes is nearly all work of processors, but where the way is long;
 * and then not more than on one machine. */
static weft_status use_processors(const struct weft_world *world, struct weft_layout *layout,
                                  struct weft_error *error)
{
    int64_t sharing = 1;
    WEFT_TRY(count_sharing(world, &sharing, error));
    if (sharing > layout->costs.sharing)
        layout->costs.sharing = (int32_t)sharing;
    for (int l = 0; l < layout->costs.num_levels; l++) {
        struct weft_level_costs *level = &layout->costs.levels[l];
        int64_t one = level->message.lines[0].fixed_ps;
        if (level->leaves_host)
            level->busy_ps = (one < socket_latency_ps ? one : socket_latency_ps) * sharing *
                             (1000 + (sharing > 1 ? turns_per_mille : 0)) / 1000;
    }
    return WEFT_OK;
}

/* Prices of one machine that holds all ranks become those of hosts with at most so many: no slots,
 * fewer ranks to a core, and links that the ranks of a host share. */
static void spread_over_hosts(struct weft_costs *costs, int num_ranks, int most_ranks)
{
    struct weft_level_costs *between = &costs->levels[1];
    costs->flat_ps = -1;
    costs->flat_bytes = 0;
    costs->sharing = (int)(((int64_t)costs->sharing * most_ranks + num_ranks - 1) / num_ranks);
    if (between->crowd_ps_per_mib == // nobody counted
        between->message.lines[between->message.num_lines - 1].ps_per_mib)
        weft_level_share(between, most_ranks);
}

/* Hands a layout over, if it was made, with what is known of the processors. */
static weft_status use(const struct weft_world *world, weft_status status, struct weft_layout *made,
                       struct weft_layout **layout, struct weft_error *error)
{
    if (status == WEFT_OK && weft_world_has_hosts(world))
        status = use_processors(world, made, error);
    if (status == WEFT_OK)
        *layout = made;
    else
        weft_layout_destroy(&made);
    return status;
}

weft_status weft_layout_of_world(const struct weft_world *world, struct weft_layout **layout,
                                 struct weft_error *error)
{
    size_t n = (size_t)world->num_ranks;
    struct weft_costs costs = world->processes[0].costs;
    int *hosts = calloc(2 * n, sizeof *hosts), *on_host = hosts + n, most_ranks = 0;
    if (!hosts)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a communicator");
    for (int r = 0; r < world->num_ranks; r++) {
        // the first rank of the same host
        while (world->processes[hosts[r]].host_id != world->processes[r].host_id)
            hosts[r]++;
        if (++on_host[hosts[r]] > most_ranks)
            most_ranks = on_host[hosts[r]];
    }
    if (weft_world_has_hosts(world))
        spread_over_hosts(&costs, world->num_ranks, most_ranks);
    const int *group_of[] = {hosts};
    struct weft_layout *made = NULL;
    weft_status status = weft_layout_create(world->num_ranks, &costs, group_of, &made, error);
    free(hosts);
    return use(world, status, made, layout, error);
}

bool weft_world_has_hosts(const struct weft_world *world)
{
    for (int r = 1; r < world->num_ranks; r++)
        if (world->processes[r].host_id != world->processes[0].host_id)
            return true;
    return false;
}

/* On hosts of a graph that has been read. */
static weft_status draw(const struct weft_world *world, const struct weft_topology *topology,
                        struct weft_layout **layout, struct weft_error *error)
{
    struct weft_layout *made = NULL;
    struct weft_rank_place *ranks = malloc((size_t)world->num_ranks * sizeof *ranks);
    if (!ranks)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a layout");
    for (int r = 0; r < world->num_ranks; r++)
        ranks[r] =
            (struct weft_rank_place){world->processes[r].host_id, world->processes[r].host_name};
    weft_status status = weft_layout_of_cluster(topology, ranks, world->num_ranks,
                                                &world->processes[0].costs, &made, error);
    free(ranks);
    return use(world, status, made, layout, error);
}

weft_status weft_layout_of_graph(const struct weft_world *world, const char *graph, size_t bytes,
                                 struct weft_layout **layout, struct weft_error *error)
{
    struct weft_topology *topology;
    struct weft_error why;
    WEFT_TRY(weft_topology_read_json(graph, bytes, "topology of rank 0", &topology, error));
    weft_status status = draw(world, topology, layout, &why);
    weft_topology_destroy(&topology);
    if (status == WEFT_OK)
        return WEFT_OK;
    if (status != WEFT_NOT_FOUND)
        return weft_fail(error, status, "WEFT_TOPOLOGY: %.400s", why.text);
    if (world->rank == 0)
        WEFT_LOG(WEFT_LOG_WARN, "WEFT_TOPOLOGY: %.400s; hosts are planned alike", why.text);
    return WEFT_OK;
}
