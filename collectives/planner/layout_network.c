/*
 * SPDX-License-Identifier: Apache-2.0
 * The network of a layout: what flows, bounds and forests are computed on. Links that no library
 * uses beside better ones (the processors' own, where GPUs reach one another and all NICs without
 * them) are left out: they would add little and make everything computed on the network slow.
 */
#include <stdlib.h>

#include "collectives/planner/layout_topology.h"
#include "topology/network.h"
#include "topology/sets.h"

enum { network_limit = 2048 }; // ranks

#define KIND(name) (UINT32_C(1) << WEFT_LINK_##name)

// From few kinds to all.
static const uint32_t choices[] = {
    KIND(NVLINK) | KIND(XGMI), // NICs are not asked for
    KIND(NVLINK) | KIND(XGMI) | KIND(PCIE) | KIND(NETWORK),
    KIND(NVLINK) | KIND(XGMI) | KIND(PCIE) | KIND(NETWORK) | KIND(ROOT) | KIND(C2C) | KIND(MEMORY),
    0,
};

struct question {
    const struct weft_topology *t;
    const int *nodes;
    int num_ranks;
    int *up;       // (nodes) sets
    bool *passes;  // (nodes) forwards, or holds a rank
    bool *is_host; // (nodes) with ranks
    bool *is_set;  // (nodes) with ranks
};

static void unite(const struct question *q, uint32_t kinds)
{
    for (int i = 0; i < q->t->num_links; i++) {
        const struct weft_link *link = &q->t->links[i];
        if ((kinds >> link->kind & 1) && q->passes[link->from] && q->passes[link->to])
            weft_sets_unite(q->up, link->from, link->to);
    }
}

static void look_at_ranks(const struct question *q)
{
    for (int i = 0; i < q->t->num_nodes; i++) {
        q->passes[i] = weft_node_kinds[q->t->nodes[i].kind].forwards;
        q->is_host[i] = false;
    }
    for (int r = 0; r < q->num_ranks; r++) {
        int host = weft_topology_ancestor(q->t, q->nodes[r], WEFT_NODE_HOST);
        q->is_host[host < 0 ? q->nodes[r] : host] = true;
        q->passes[q->nodes[r]] = true;
    }
}

// Whether links of these kinds join all ranks and, where the network is among them, each NIC of
// their hosts with a rank there.
static bool is_enough(const struct question *q, uint32_t kinds)
{
    const struct weft_topology *t = q->t;
    weft_sets_init(q->up, t->num_nodes);
    unite(q, kinds & ~KIND(NETWORK));
    for (int i = 0; i < t->num_nodes; i++)
        q->is_set[i] = false;
    for (int r = 0; r < q->num_ranks; r++)
        q->is_set[weft_sets_root(q->up, q->nodes[r])] = true;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        for (int end = 0; end < 2 && kinds & KIND(NETWORK) && link->kind == WEFT_LINK_NETWORK;
             end++) {
            int node = end ? link->to : link->from;
            int host = weft_topology_ancestor(t, node, WEFT_NODE_HOST);
            if (host >= 0 && q->is_host[host] && !q->is_set[weft_sets_root(q->up, node)])
                return false;
        }
    }
    unite(q, kinds & KIND(NETWORK));
    for (int r = 1; r < q->num_ranks; r++)
        if (weft_sets_root(q->up, q->nodes[r]) != weft_sets_root(q->up, q->nodes[0]))
            return false;
    return true;
}

weft_status weft_layout_attach_network(const struct weft_topology *topology, const int *nodes,
                                       struct weft_layout *layout, struct weft_error *error)
{
    size_t count = (size_t)topology->num_nodes + 1;
    struct weft_network_options options = {.terminals = nodes, .num_terminals = layout->num_ranks};
    if (layout->num_ranks > network_limit)
        return WEFT_OK;
    int *up = malloc(count * sizeof *up), at = 0;
    bool *marks = malloc(3 * count * sizeof *marks);
    weft_status status = WEFT_OK;
    if (!up || !marks)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a network");
    if (status == WEFT_OK) {
        const struct question question = {topology, nodes,         layout->num_ranks, up,
                                          marks,    marks + count, marks + 2 * count};
        look_at_ranks(&question);
        while (choices[at] != 0 && !is_enough(&question, choices[at]))
            at++;
        options.link_kinds = choices[at];
        status = weft_network_create(topology, &options, &layout->network, error);
    }
    free(up);
    free(marks);
    return status;
}
