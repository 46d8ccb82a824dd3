/*
 * SPDX-License-Identifier: Apache-2.0
 * See cuts.h. Maximum flows are found along shortest ways (Edmonds and Karp) among the links of one
 * kind that are joined to a GPU; all else is a sum and a minimum.
 */
#include "topology/cuts.h"

#include <stdlib.h>
#include <string.h>

#include "topology/adjacency.h"

enum { MAX_FLOW_LINKS = 4096 };
static const int64_t work_allowed = 100000000; // visits of links, for all flows together: about 1 s

/* The cuts around one node that are remembered. */
enum cut { CUT_NVLINK, CUT_XGMI, CUT_NETWORK, NUM_CUTS };

struct weft_cuts {
    const struct weft_topology *topology;
    struct weft_adjacency adjacency;
    struct weft_capacity *capacity; // num_links
    int *pcie_up;                   // num_nodes: the PCIe link to what contains the node; -1: none
    int64_t (*known)[NUM_CUTS];     // num_nodes: losses found so far; -1: not yet
    int64_t work;
    // scratch of one flow, by node: -1 or 0 in between
    int *came_by;           // link by which the search came; -1: not reached
    int *queue;             // num_nodes
    int64_t (*residual)[2]; // num_links: what is left from -> to and to -> from
};

void weft_cuts_destroy(struct weft_cuts **cuts)
{
    if (!cuts || !*cuts)
        return;
    weft_adjacency_destroy(&(*cuts)->adjacency);
    free((*cuts)->capacity);
    free((*cuts)->pcie_up);
    free((*cuts)->known);
    free((*cuts)->came_by);
    free((*cuts)->queue);
    free((*cuts)->residual);
    free(*cuts);
    *cuts = NULL;
}

weft_status weft_cuts_create(const struct weft_topology *t, struct weft_cuts **cuts,
                             struct weft_error *error)
{
    size_t n = (size_t)t->num_nodes + 1, m = (size_t)t->num_links + 1;
    struct weft_cuts *made = calloc(1, sizeof *made);
    if (made) {
        made->topology = t;
        made->capacity = malloc(m * sizeof *made->capacity);
        made->pcie_up = malloc(n * sizeof *made->pcie_up);
        made->known = malloc(n * sizeof *made->known);
        made->came_by = malloc(n * sizeof *made->came_by);
        made->queue = malloc(n * sizeof *made->queue);
        made->residual = malloc(m * sizeof *made->residual);
    }
    weft_status status = WEFT_OK;
    if (!made || !made->capacity || !made->pcie_up || !made->known || !made->came_by ||
        !made->queue || !made->residual)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "cuts: no memory for %zu links", m);
    if (status == WEFT_OK)
        status = weft_adjacency_create(t, &made->adjacency, error);
    if (status != WEFT_OK) {
        weft_cuts_destroy(&made);
        return status;
    }
    for (int i = 0; i < t->num_nodes; i++) {
        made->came_by[i] = made->pcie_up[i] = -1;
        for (int j = 0; j < NUM_CUTS; j++)
            made->known[i][j] = -1;
    }
    for (int i = t->num_links; i-- > 0;) {
        const struct weft_link *link = &t->links[i];
        struct weft_quantity best = weft_link_bandwidth(link);
        // an assumed slot must not hide what a cable loses
        if (link->kind == WEFT_LINK_PCIE && best.source == WEFT_SOURCE_ASSUMED)
            best.value = INT64_MAX;
        made->capacity[i] = (struct weft_capacity){best.value, best.value};
        if (link->kind == WEFT_LINK_PCIE && t->nodes[link->to].parent == link->from)
            made->pcie_up[link->to] = i;
        else if (link->kind == WEFT_LINK_PCIE && t->nodes[link->from].parent == link->to)
            made->pcie_up[link->from] = i;
    }
    *cuts = made;
    return WEFT_OK;
}

void weft_cuts_mark(struct weft_cuts *cuts, int link, int64_t should)
{
    struct weft_capacity *capacity = &cuts->capacity[link];
    capacity->should = should > capacity->is ? should : capacity->is;
}

static int64_t capacity_of(const struct weft_cuts *c, int link, bool as_it_should)
{
    return as_it_should ? c->capacity[link].should : c->capacity[link].is;
}

static int64_t sum(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t difference(int64_t should, int64_t is)
{
    return should > is ? should - is : 0;
}

/* ---- PCIe ---- */

/* What links of `kind` take out of a node. */
static int64_t egress(const struct weft_cuts *c, int node, int kind, bool as_it_should)
{
    const struct weft_adjacency *a = &c->adjacency;
    int64_t total = 0;
    for (int i = a->first[node]; i < a->first[node + 1]; i++)
        if (c->topology->links[a->link[i]].kind == kind)
            total = sum(total, capacity_of(c, a->link[i], as_it_should));
    return total;
}

/* What a device can take or give by itself: a NIC what its cables carry; others more than any link
 * here, INT64_MAX. */
static int64_t device_flow(const struct weft_cuts *c, int node, bool as_it_should)
{
    const struct weft_topology *t = c->topology;
    if (t->nodes[node].kind != WEFT_NODE_NIC)
        return INT64_MAX;
    int64_t cables = egress(c, node, WEFT_LINK_NETWORK, as_it_should);
    if (cables > 0)
        return cables;
    int64_t mbps = weft_topology_number(t, node, "rate_mbps", 0);
    return mbps > 0 && mbps < INT64_MAX / 125000 ? mbps * 125000 : INT64_MAX;
}

/* What comes up to `node` from the devices below it, each held to the links on its way. */
static int64_t flow_from_below(const struct weft_cuts *c, int node, bool as_it_should)
{
    const struct weft_topology *t = c->topology;
    const struct weft_adjacency *a = &c->adjacency;
    int64_t flow = 0;
    bool is_device = true;
    for (int i = a->first[node]; i < a->first[node + 1]; i++) {
        const struct weft_link *link = &t->links[a->link[i]];
        int below = weft_link_other_end(link, node);
        if (link->kind != WEFT_LINK_PCIE || t->nodes[below].parent != node)
            continue;
        is_device = false;
        // containment is 64 levels deep at most
        flow = sum(flow, smaller(capacity_of(c, a->link[i], as_it_should),
                                 flow_from_below(c, below, as_it_should)));
    }
    return is_device ? device_flow(c, node, as_it_should) : flow;
}

/* The flow from what is below `node` to the top of its PCIe tree, with nobody else on the way. */
static int64_t pcie_flow(const struct weft_cuts *c, int node, bool as_it_should)
{
    int64_t flow = flow_from_below(c, node, as_it_should);
    for (int steps = 0; node >= 0 && steps < WEFT_TOPOLOGY_MAX_DEPTH; steps++) {
        int link = c->pcie_up[node];
        if (link < 0)
            break;
        flow = smaller(flow, capacity_of(c, link, as_it_should));
        node = c->topology->nodes[node].parent;
    }
    return flow;
}

/* ---- NVLink and XGMI ---- */

static bool ends_flow(const struct weft_cuts *c, int node, int source)
{
    return node != source && c->topology->nodes[node].kind == WEFT_NODE_GPU;
}

/* What is left on a link for traffic that leaves `node`. */
static int64_t *left_from(struct weft_cuts *c, int link, int node)
{
    return &c->residual[link][c->topology->links[link].from == node ? 0 : 1];
}

static bool is_of_flow(const struct weft_cuts *c, int link, int kind)
{
    return c->topology->links[link].kind == kind;
}

/* The nodes that links of `kind` join to `source`, into the queue, and the number of their links;
 * stops above the limit. GPUs of the group end the search: what is behind them is not needed, since
 * each is a sink. */
static int gather(struct weft_cuts *c, int source, int kind, int *num_nodes)
{
    const struct weft_topology *t = c->topology;
    const struct weft_adjacency *a = &c->adjacency;
    int used = 0, links = 0;
    c->queue[used++] = source;
    c->came_by[source] = 0;
    for (int at = 0; at < used && links <= MAX_FLOW_LINKS; at++) {
        int node = c->queue[at];
        if (ends_flow(c, node, source))
            continue;
        for (int i = a->first[node]; i < a->first[node + 1]; i++) {
            int other = weft_link_other_end(&t->links[a->link[i]], node);
            c->work++;
            if (!is_of_flow(c, a->link[i], kind))
                continue;
            links++;
            if (c->came_by[other] < 0) {
                c->came_by[other] = 0;
                c->queue[used++] = other;
            }
        }
    }
    for (int i = 0; i < used; i++)
        c->came_by[c->queue[i]] = -1;
    *num_nodes = used;
    return links;
}

/* The nearest GPU that still can be reached from `source`; -1: none. Fills came_by; *used nodes of
 * the queue were reached. */
static int search(struct weft_cuts *c, int source, int kind, int *used)
{
    const struct weft_adjacency *a = &c->adjacency;
    *used = 0;
    c->queue[(*used)++] = source;
    c->came_by[source] = INT32_MAX;
    for (int at = 0; at < *used; at++) {
        int node = c->queue[at];
        if (ends_flow(c, node, source))
            return node;
        for (int i = a->first[node]; i < a->first[node + 1]; i++) {
            int link = a->link[i];
            c->work++;
            if (!is_of_flow(c, link, kind) || *left_from(c, link, node) <= 0)
                continue;
            int other = weft_link_other_end(&c->topology->links[link], node);
            if (c->came_by[other] >= 0)
                continue;
            c->came_by[other] = link;
            c->queue[(*used)++] = other;
        }
    }
    return -1;
}

/* The maximum flow from a GPU to the others of its group, which has `num_nodes` in the queue. */
static int64_t gpu_flow(struct weft_cuts *c, int source, int kind, bool as_it_should)
{
    const struct weft_topology *t = c->topology;
    const struct weft_adjacency *a = &c->adjacency;
    int num_nodes, used;
    gather(c, source, kind, &num_nodes);
    for (int i = 0; i < num_nodes; i++) {
        int node = c->queue[i];
        for (int j = a->first[node]; j < a->first[node + 1]; j++) {
            int64_t capacity = capacity_of(c, a->link[j], as_it_should);
            c->residual[a->link[j]][0] = capacity;
            c->residual[a->link[j]][1] = t->links[a->link[j]].one_way ? 0 : capacity;
        }
        c->work += a->first[node + 1] - a->first[node];
    }
    int64_t flow = 0;
    for (;;) {
        int sink = search(c, source, kind, &used);
        int64_t more = INT64_MAX;
        for (int node = sink; node >= 0 && node != source;) {
            int link = c->came_by[node];
            node = weft_link_other_end(&t->links[link], node);
            more = smaller(more, *left_from(c, link, node));
        }
        for (int node = sink; node >= 0 && node != source;) {
            int link = c->came_by[node];
            *left_from(c, link, node) += more;
            node = weft_link_other_end(&t->links[link], node);
            *left_from(c, link, node) -= more;
        }
        for (int i = 0; i < used; i++)
            c->came_by[c->queue[i]] = -1;
        if (sink < 0 || c->work > work_allowed)
            return flow;
        flow = sum(flow, more);
    }
}

static int64_t gpu_loss(struct weft_cuts *c, int gpu, int kind)
{
    int64_t *loss = &c->known[gpu][kind == WEFT_LINK_NVLINK ? CUT_NVLINK : CUT_XGMI];
    int num_nodes;
    if (*loss >= 0)
        return *loss;
    if (c->work < work_allowed && gather(c, gpu, kind, &num_nodes) <= MAX_FLOW_LINKS) {
        int64_t should = gpu_flow(c, gpu, kind, true), is = gpu_flow(c, gpu, kind, false);
        if (c->work <= work_allowed)
            *loss = difference(should, is);
    }
    if (*loss < 0)
        *loss = difference(egress(c, gpu, kind, true), egress(c, gpu, kind, false));
    return *loss;
}

/* ---- network ---- */

static int tier(const struct weft_topology *t, int node)
{
    switch (t->nodes[node].kind) {
    case WEFT_NODE_LEAF:
        return 1;
    case WEFT_NODE_SPINE:
        return 2;
    case WEFT_NODE_CORE_SWITCH:
        return 3;
    default:
        return weft_node_kinds[t->nodes[node].kind].is_switch ? 4 : 0; // not known: above NICs
    }
}

/* The narrower of what comes from below a switch and what goes up from it. Where there is but one
 * of them, that. */
static int64_t switch_flow(const struct weft_cuts *c, int node, bool as_it_should)
{
    const struct weft_topology *t = c->topology;
    const struct weft_adjacency *a = &c->adjacency;
    int64_t up = 0, down = 0;
    for (int i = a->first[node]; i < a->first[node + 1]; i++) {
        const struct weft_link *link = &t->links[a->link[i]];
        if (link->kind != WEFT_LINK_NETWORK)
            continue;
        int other = tier(t, weft_link_other_end(link, node));
        int64_t *side = other < tier(t, node) ? &down : &up;
        *side = sum(*side, capacity_of(c, a->link[i], as_it_should));
    }
    return down > 0 && up > 0 ? smaller(down, up) : sum(down, up);
}

/* What the end that depends on a cable loses: the NIC, else the switch of the lower tier. */
static int64_t network_loss(struct weft_cuts *c, int index)
{
    const struct weft_topology *t = c->topology;
    const struct weft_link *link = &t->links[index];
    int node = tier(t, link->to) < tier(t, link->from) ? link->to : link->from;
    int64_t *loss = &c->known[node][CUT_NETWORK];
    if (*loss >= 0)
        return *loss;
    int64_t flow[2]; // as it is, as it should be
    for (int should = 0; should < 2; should++)
        flow[should] = tier(t, node) != 0 ? switch_flow(c, node, should)
                                          : smaller(egress(c, node, WEFT_LINK_NETWORK, should),
                                                    pcie_flow(c, node, should));
    return *loss = difference(flow[1], flow[0]);
}

int64_t weft_cuts_loss(struct weft_cuts *c, int index)
{
    const struct weft_topology *t = c->topology;
    const struct weft_link *link = &t->links[index];
    int64_t alone = difference(c->capacity[index].should, c->capacity[index].is), worst = -1;
    if (link->kind == WEFT_LINK_NETWORK)
        return network_loss(c, index);
    if (link->kind == WEFT_LINK_PCIE) {
        int below = t->nodes[link->from].parent == link->to ? link->from : link->to;
        if (c->pcie_up[below] != index)
            return alone; // beside the tree
        return difference(pcie_flow(c, below, true), pcie_flow(c, below, false));
    }
    if (link->kind == WEFT_LINK_NVLINK || link->kind == WEFT_LINK_XGMI)
        for (int end = 0; end < 2; end++) {
            int node = end ? link->to : link->from;
            if (t->nodes[node].kind != WEFT_NODE_GPU)
                continue;
            int64_t of_end = gpu_loss(c, node, link->kind);
            worst = of_end > worst ? of_end : worst;
        }
    return worst >= 0 ? worst : alone;
}
