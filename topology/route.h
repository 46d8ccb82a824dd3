/*
 * SPDX-License-Identifier: Apache-2.0
 * Ways through the graph: the route of least latency between two nodes, among those the widest; all
 * routes from one node at once; where ranks live and how near two of them are. Traffic passes only
 * through nodes whose kind forwards (a GPU or a core does not). Numbers are the best known of each
 * link, assumptions included, so a route always has figures; `assumed` says how many links had only
 * an assumption for one of them.
 */
#ifndef WEFT_TOPOLOGY_ROUTE_H
#define WEFT_TOPOLOGY_ROUTE_H

#include "topology/graph.h"

struct weft_route {
    int64_t latency_ps; // sum over the links; -1: there is no route
    int64_t bandwidth;  // bytes per second of the narrowest link; INT64_MAX when there is no link
    int num_links;      // 0 from a node to itself; -1: there is no route
    int num_assumed;    // links of which a figure is only assumed
    int first_link;     // at the `from` end; -1: none
    int last_link;      // at the `to` end; -1: none
    int narrowest_link; // the first narrowest from `from`; -1: none
    int narrowest_kind; // its link kind; -1: none
};

/* One route. Errors: INVALID_ARGUMENT (no such node), NOT_FOUND (no way; names both nodes),
 * OUT_OF_MEMORY. */
weft_status weft_topology_route(const struct weft_topology *topology, int from, int to,
                                struct weft_route *route, struct weft_error *error);
/* The links of that route, from `from` on. At most `room` are written, *num_links counts all. */
weft_status weft_topology_route_links(const struct weft_topology *topology, int from, int to,
                                      int *links, int room, int *num_links,
                                      struct weft_error *error);
/* routes[i * num_ranks + j]: from rank i's node to rank j's. O(d * E log N) for d different nodes.
 * Pairs without a way get latency_ps -1; that is no error. */
weft_status weft_topology_routes(const struct weft_topology *topology, int num_ranks,
                                 const int *node_of_rank, struct weft_route *routes,
                                 struct weft_error *error);

/* The same for many questions: the adjacency is built once. The topology must not change and must
 * outlive the router. */
struct weft_router;
weft_status weft_router_create(const struct weft_topology *topology, struct weft_router **router,
                               struct weft_error *error);
/* Over links of some kinds alone (bit per enum weft_link_kind_id), and also through nodes for which
 * `passes` (nodes; borrowed; NULL: none) is true, whatever their kind. */
weft_status weft_router_create_of(const struct weft_topology *topology, uint32_t link_kinds,
                                  const bool *passes, struct weft_router **router,
                                  struct weft_error *error);
void weft_router_destroy(struct weft_router **router);
/* Routes from `from` to every node: routes[num_nodes], valid until the next call or the end. */
const struct weft_route *weft_router_from(struct weft_router *router, int from);
/* The same, but only those of less latency than the one to `to`, and that one, are final. */
const struct weft_route *weft_router_between(struct weft_router *router, int from, int to);
/* What both of them return, always the same memory. */
const struct weft_route *weft_router_routes(const struct weft_router *router);
/* The links of the route to `to` that was last found, from its beginning on: num_links of them. */
void weft_router_links(const struct weft_router *router, int to, int *links);

/* Ranks to places in canonical order: to GPUs if there are any, else cores, else NUMA domains; more
 * ranks than places start again at the first. Errors: INVALID_ARGUMENT (num_ranks < 1), NOT_FOUND
 * (no node can hold a rank). */
weft_status weft_topology_place(const struct weft_topology *topology, int num_ranks,
                                int *node_of_rank, struct weft_error *error);

enum weft_locality {
    WEFT_LOCALITY_SAME_NODE,
    WEFT_LOCALITY_SAME_NUMA,
    WEFT_LOCALITY_SAME_HOST,
    WEFT_LOCALITY_DIFFERENT_HOST,
};
/* How near two nodes (of two ranks, say) are. */
enum weft_locality weft_topology_locality(const struct weft_topology *topology, int a, int b);

#endif
