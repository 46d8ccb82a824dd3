/*
 * SPDX-License-Identifier: Apache-2.0
 * Dijkstra over (latency, then width): both are monotone along a path, so the best prefix makes the
 * best path. Ties end with fewer links, then the lower previous node: the same on every machine.
 */
#include "topology/route.h"

#include <stdlib.h>

#include "topology/adjacency.h"

struct edge {
    int to;
    int link;
    bool assumed;
    int64_t latency_ps;
    int64_t bandwidth;
};

struct weft_router {
    const struct weft_topology *topology;
    const bool *passes;        // num_nodes: what can be passed beside what forwards; NULL: nothing
    struct weft_route *routes; // num_nodes
    int *previous;             // num_nodes: the node before, -1 at the start
    int *heap;                 // num_nodes: nodes to visit, nearest first
    int *place;                // num_nodes: position in the heap; -1: not in it
    int heap_size;
    int *first_edge; // num_nodes + 1
    struct edge *edges;
};

void weft_router_destroy(struct weft_router **router)
{
    if (!router || !*router)
        return;
    free((*router)->routes);
    free((*router)->previous);
    free((*router)->first_edge);
    free((*router)->edges);
    free(*router);
    *router = NULL;
}

static struct edge edge_of(const struct weft_topology *t, int link, int from)
{
    struct weft_quantity latency = weft_link_latency(&t->links[link]);
    struct weft_quantity bandwidth = weft_link_bandwidth(&t->links[link]);
    return (struct edge){.to = weft_link_other_end(&t->links[link], from),
                         .link = link,
                         .assumed = latency.source == WEFT_SOURCE_ASSUMED ||
                                    bandwidth.source == WEFT_SOURCE_ASSUMED,
                         .latency_ps = latency.value,
                         .bandwidth = bandwidth.value};
}

static weft_status list_edges(struct weft_router *r, uint32_t link_kinds, struct weft_error *error)
{
    const struct weft_topology *t = r->topology;
    struct weft_adjacency links;
    int count = 0;
    WEFT_TRY(weft_adjacency_create(t, &links, error));
    for (int i = 0; i < t->num_nodes; i++) {
        r->first_edge[i] = count;
        for (int k = links.first[i]; k < links.first[i + 1]; k++)
            if ((link_kinds >> t->links[links.link[k]].kind & 1) &&
                (!t->links[links.link[k]].one_way || t->links[links.link[k]].from == i))
                r->edges[count++] = edge_of(t, links.link[k], i);
    }
    r->first_edge[t->num_nodes] = count;
    weft_adjacency_destroy(&links);
    return WEFT_OK;
}

weft_status weft_router_create(const struct weft_topology *t, struct weft_router **router,
                               struct weft_error *error)
{
    return weft_router_create_of(t, UINT32_MAX, NULL, router, error);
}

weft_status weft_router_create_of(const struct weft_topology *t, uint32_t link_kinds,
                                  const bool *passes, struct weft_router **router,
                                  struct weft_error *error)
{
    size_t n = (size_t)t->num_nodes, m = (size_t)t->num_links;
    struct weft_router *made = calloc(1, sizeof *made);
    if (made) {
        made->topology = t;
        made->passes = passes;
        made->routes = malloc((n + 1) * sizeof *made->routes);
        made->previous = malloc((n + 1) * 3 * sizeof *made->previous);
        made->first_edge = malloc((n + 1) * sizeof *made->first_edge);
        made->edges = malloc((2 * m + 1) * sizeof *made->edges);
    }
    weft_status status = WEFT_OK;
    if (!made || !made->routes || !made->previous || !made->first_edge || !made->edges)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "routes: no memory for %zu nodes", n);
    if (status == WEFT_OK)
        status = list_edges(made, link_kinds, error);
    if (status != WEFT_OK) {
        weft_router_destroy(&made);
        return status;
    }
    made->heap = made->previous + n;
    made->place = made->heap + n;
    *router = made;
    return WEFT_OK;
}

static bool is_nearer(const struct weft_route *a, const struct weft_route *b)
{
    if (a->latency_ps != b->latency_ps)
        return a->latency_ps < b->latency_ps;
    if (a->bandwidth != b->bandwidth)
        return a->bandwidth > b->bandwidth;
    return a->num_links < b->num_links;
}

/* Order of the heap: nearer first, then by number. */
static bool comes_before(const struct weft_router *r, int a, int b)
{
    if (is_nearer(&r->routes[a], &r->routes[b]))
        return true;
    return !is_nearer(&r->routes[b], &r->routes[a]) && a < b;
}

static void put(struct weft_router *r, int position, int node)
{
    r->heap[position] = node;
    r->place[node] = position;
}

static void heap_rise(struct weft_router *r, int position)
{
    int node = r->heap[position];
    while (position > 0 && comes_before(r, node, r->heap[(position - 1) / 2])) {
        put(r, position, r->heap[(position - 1) / 2]);
        position = (position - 1) / 2;
    }
    put(r, position, node);
}

static int heap_take(struct weft_router *r)
{
    int nearest = r->heap[0], node = r->heap[--r->heap_size], position = 0;
    r->place[nearest] = -1;
    if (r->heap_size == 0)
        return nearest;
    for (;;) {
        int child = 2 * position + 1;
        if (child >= r->heap_size)
            break;
        if (child + 1 < r->heap_size && comes_before(r, r->heap[child + 1], r->heap[child]))
            child++;
        if (!comes_before(r, r->heap[child], node))
            break;
        put(r, position, r->heap[child]);
        position = child;
    }
    put(r, position, node);
    return nearest;
}

static struct weft_route extended(const struct weft_router *r, const struct weft_route *route,
                                  const struct edge *edge)
{
    struct weft_route longer = *route;
    longer.latency_ps = route->latency_ps > INT64_MAX - edge->latency_ps
                            ? INT64_MAX
                            : route->latency_ps + edge->latency_ps;
    if (edge->bandwidth < route->bandwidth) {
        longer.bandwidth = edge->bandwidth;
        longer.narrowest_link = edge->link;
        longer.narrowest_kind = r->topology->links[edge->link].kind;
    }
    longer.num_links++;
    longer.num_assumed += edge->assumed;
    longer.last_link = edge->link;
    if (longer.num_links == 1)
        longer.first_link = edge->link;
    return longer;
}

static void relax(struct weft_router *r, int node, const struct edge *edge)
{
    struct weft_route found = extended(r, &r->routes[node], edge);
    struct weft_route *known = &r->routes[edge->to];
    bool is_new = known->num_links < 0;
    if (!is_new && !is_nearer(&found, known))
        return;
    if (!is_new && r->place[edge->to] < 0)
        return; // final; only a link of latency 0 could come here
    *known = found;
    r->previous[edge->to] = node;
    if (is_new)
        put(r, r->heap_size++, edge->to);
    heap_rise(r, r->place[edge->to]);
}

// Until `to` is final; -1: all.
static const struct weft_route *search(struct weft_router *r, int from, int to)
{
    const struct weft_topology *t = r->topology;
    const struct weft_route none = {-1, -1, -1, 0, -1, -1, -1, -1};
    for (int i = 0; i < t->num_nodes; i++) {
        r->routes[i] = none;
        r->place[i] = -1;
    }
    r->routes[from] = (struct weft_route){0, INT64_MAX, 0, 0, -1, -1, -1, -1};
    r->previous[from] = -1;
    r->heap_size = 0;
    put(r, r->heap_size++, from);
    while (r->heap_size > 0) {
        int node = heap_take(r);
        if (node == to)
            break;
        if (node != from && !weft_node_kinds[t->nodes[node].kind].forwards &&
            !(r->passes && r->passes[node]))
            continue;
        for (int i = r->first_edge[node]; i < r->first_edge[node + 1]; i++)
            relax(r, node, &r->edges[i]);
    }
    return r->routes;
}

const struct weft_route *weft_router_from(struct weft_router *r, int from)
{
    return search(r, from, -1);
}

const struct weft_route *weft_router_between(struct weft_router *r, int from, int to)
{
    return search(r, from, to);
}

const struct weft_route *weft_router_routes(const struct weft_router *router)
{
    return router->routes;
}

void weft_router_links(const struct weft_router *router, int to, int *links)
{
    for (int node = to; router->routes[node].num_links > 0; node = router->previous[node])
        links[router->routes[node].num_links - 1] = router->routes[node].last_link;
}

static weft_status check_node(const struct weft_topology *t, int node, struct weft_error *error)
{
    if (node < 0 || node >= t->num_nodes)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "routes: there is no node %d of %d", node,
                         t->num_nodes);
    return WEFT_OK;
}

weft_status weft_topology_route_links(const struct weft_topology *t, int from, int to, int *links,
                                      int room, int *num_links, struct weft_error *error)
{
    WEFT_TRY(check_node(t, from, error));
    WEFT_TRY(check_node(t, to, error));
    struct weft_router *router;
    WEFT_TRY(weft_router_create(t, &router, error));
    const struct weft_route *routes = weft_router_from(router, from);
    weft_status status = WEFT_OK;
    if (routes[to].num_links < 0)
        status = weft_fail(error, WEFT_NOT_FOUND, "routes: no way from \"%s\" to \"%s\"",
                           t->nodes[from].name, t->nodes[to].name);
    else
        *num_links = routes[to].num_links;
    if (status == WEFT_OK)
        for (int node = to; node != from; node = router->previous[node])
            if (routes[node].num_links <= room)
                links[routes[node].num_links - 1] = routes[node].last_link;
    weft_router_destroy(&router);
    return status;
}

weft_status weft_topology_route(const struct weft_topology *t, int from, int to,
                                struct weft_route *route, struct weft_error *error)
{
    WEFT_TRY(check_node(t, from, error));
    WEFT_TRY(check_node(t, to, error));
    struct weft_router *router;
    WEFT_TRY(weft_router_create(t, &router, error));
    struct weft_route found = weft_router_from(router, from)[to];
    weft_router_destroy(&router);
    if (found.num_links < 0)
        return weft_fail(error, WEFT_NOT_FOUND, "routes: no way from \"%s\" to \"%s\"",
                         t->nodes[from].name, t->nodes[to].name);
    *route = found;
    return WEFT_OK;
}

weft_status weft_topology_routes(const struct weft_topology *t, int num_ranks,
                                 const int *node_of_rank, struct weft_route *routes,
                                 struct weft_error *error)
{
    for (int i = 0; i < num_ranks; i++)
        WEFT_TRY(check_node(t, node_of_rank[i], error));
    struct weft_router *router;
    WEFT_TRY(weft_router_create(t, &router, error));
    int *first_rank = calloc((size_t)t->num_nodes + 1, sizeof *first_rank); // plus 1; 0: none yet
    if (!first_rank) {
        weft_router_destroy(&router);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "routes: no memory for %d ranks", num_ranks);
    }
    for (int i = 0; i < num_ranks; i++) {
        struct weft_route *row = routes + (size_t)i * (size_t)num_ranks;
        int twin = first_rank[node_of_rank[i]] - 1;
        first_rank[node_of_rank[i]] = twin < 0 ? i + 1 : twin + 1;
        if (twin >= 0) {
            for (int j = 0; j < num_ranks; j++)
                row[j] = routes[(size_t)twin * (size_t)num_ranks + (size_t)j];
            continue;
        }
        const struct weft_route *all = weft_router_from(router, node_of_rank[i]);
        for (int j = 0; j < num_ranks; j++)
            row[j] = all[node_of_rank[j]];
    }
    free(first_rank);
    weft_router_destroy(&router);
    return WEFT_OK;
}

weft_status weft_topology_place(const struct weft_topology *t, int num_ranks, int *node_of_rank,
                                struct weft_error *error)
{
    if (num_ranks < 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "placement: %d ranks", num_ranks);
    int best = 0;
    for (int i = 0; i < t->num_nodes; i++)
        if (weft_node_kinds[t->nodes[i].kind].can_hold_ranks > best)
            best = weft_node_kinds[t->nodes[i].kind].can_hold_ranks;
    if (best == 0)
        return weft_fail(error, WEFT_NOT_FOUND,
                         "placement: the topology has no GPU, core or NUMA domain for a rank");
    int *order = malloc((size_t)t->num_nodes * sizeof *order);
    if (!order)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "placement: no memory");
    weft_status status = weft_topology_order(t, order, error);
    int num_places = 0;
    for (int i = 0; status == WEFT_OK && i < t->num_nodes; i++)
        if (weft_node_kinds[t->nodes[order[i]].kind].can_hold_ranks == best)
            order[num_places++] = order[i];
    for (int i = 0; status == WEFT_OK && i < num_ranks; i++)
        node_of_rank[i] = order[i % num_places];
    free(order);
    return status;
}

static bool share(const struct weft_topology *t, int a, int b, int kind)
{
    int of_a = weft_topology_ancestor(t, a, kind), of_b = weft_topology_ancestor(t, b, kind);
    return of_a >= 0 && of_a == of_b;
}

enum weft_locality weft_topology_locality(const struct weft_topology *t, int a, int b)
{
    if (a == b)
        return WEFT_LOCALITY_SAME_NODE;
    if (share(t, a, b, WEFT_NODE_NUMA))
        return WEFT_LOCALITY_SAME_NUMA;
    return share(t, a, b, WEFT_NODE_HOST) ? WEFT_LOCALITY_SAME_HOST : WEFT_LOCALITY_DIFFERENT_HOST;
}
