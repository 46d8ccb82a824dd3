/*
 * SPDX-License-Identifier: Apache-2.0
 * See nearness.h. The way is the graph's route without its network; what it leads over is counted.
 */
#include "topology/nearness.h"

#include <stdlib.h>

#include "topology/route.h"

enum { NUMA_STEP = 11, DEVICE_ROOT_STEP = 100, DEVICE_NUMA_STEP = 10000 };

static int length(const struct weft_topology *t, const int *links, int num_links, bool is_memory)
{
    int sum = WEFT_NEAREST;
    for (int i = 0; i < num_links; i++) {
        int kind = t->links[links[i]].kind;
        if (is_memory)
            sum += kind == WEFT_LINK_SOCKET ? NUMA_STEP : 0;
        else
            sum += kind == WEFT_LINK_SOCKET ? DEVICE_NUMA_STEP
                   : kind == WEFT_LINK_ROOT ? DEVICE_ROOT_STEP
                                            : 1;
    }
    return sum < WEFT_FARTHEST ? sum : WEFT_FARTHEST;
}

weft_status weft_nic_distances(const struct weft_topology *topology, int from, const int *nics,
                               int num_nics, int *distances, struct weft_error *error)
{
    const uint32_t inside = ((1u << WEFT_NUM_LINK_KINDS) - 1) & ~(1u << WEFT_LINK_NETWORK);
    struct weft_router *router = NULL;
    if (from < 0 || from >= topology->num_nodes)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no node %d", from);
    int kind = topology->nodes[from].kind;
    bool is_memory = kind == WEFT_NODE_NUMA || kind == WEFT_NODE_CORE;
    int *links = malloc(((size_t)topology->num_links + 1) * sizeof *links);
    weft_status status = links ? weft_router_create_of(topology, inside, NULL, &router, error)
                               : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for ways to NICs");
    const struct weft_route *routes = status == WEFT_OK ? weft_router_from(router, from) : NULL;
    for (int i = 0; i < num_nics && routes; i++) {
        const struct weft_route *route = &routes[nics[i]];
        distances[i] = WEFT_FARTHEST;
        if (route->num_links < 0)
            continue;
        weft_router_links(router, nics[i], links);
        distances[i] = length(topology, links, route->num_links, is_memory);
    }
    weft_router_destroy(&router);
    free(links);
    return status;
}
