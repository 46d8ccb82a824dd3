/*
 * SPDX-License-Identifier: Apache-2.0
 * Where topology and planner meet: the prices of a set of ranks on this machine, or on the topology
 * that WEFT_TOPOLOGY names. Rank 0 asks; everybody uses its answer. What moves here is memory of
 * processes, so processors and memory decide; whoever makes a communicator does not wait for
 * drivers and networks.
 */
#include "base/log.h"
#include "collectives/comm/internal.h"
#include "collectives/planner/costs_topology.h"
#include "topology/load.h"

weft_status weft_costs_of_machine(struct weft_context *context, int num_ranks,
                                  struct weft_costs *costs, struct weft_error *error)
{
    struct weft_topology *topology;
    struct weft_cost_origin origin;
    struct weft_error why;
    bool is_given = *context->config.topology;
    weft_status status = is_given ? weft_topology_load(context->config.topology, &topology, &why)
                                  : weft_topology_load_processors(&topology, &why);
    if (status == WEFT_OK) {
        status = weft_costs_from_topology(topology, num_ranks, costs, &origin, &why);
        weft_topology_destroy(&topology);
    }
    if (status == WEFT_OK)
        return WEFT_OK;
    if (is_given)
        return weft_fail(error, status, "WEFT_TOPOLOGY: %.400s", why.text);
    // A machine that cannot be probed still runs; only the choice rests on assumptions.
    WEFT_LOG(WEFT_LOG_WARN, "prices are assumed: %s", why.text);
    *costs = weft_costs_assumed(num_ranks, context->num_cores);
    return WEFT_OK;
}
