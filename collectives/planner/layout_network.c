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

static void unite(const struct weft_topology *t, uint32_t kinds, int *up)
{
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (kinds >> link->kind & 1)
            weft_sets_unite(up, link->from, link->to);
    }
}

// Whether links of these kinds join all ranks and, where the network is among them, each NIC of
// their hosts with a rank there.
static bool is_enough(const struct weft_topology *t, const int *nodes, int num_ranks,
                      uint32_t kinds, int *up, bool *has_rank, bool *is_of_rank)
{
    weft_sets_init(up, t->num_nodes);
    unite(t, kinds & ~KIND(NETWORK), up);
    for (int i = 0; i < t->num_nodes; i++)
        has_rank[i] = is_of_rank[i] = false;
    for (int r = 0; r < num_ranks; r++) {
        int host = weft_topology_ancestor(t, nodes[r], WEFT_NODE_HOST);
        has_rank[host < 0 ? nodes[r] : host] = true;
        is_of_rank[weft_sets_root(up, nodes[r])] = true;
    }
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        for (int end = 0; end < 2 && kinds & KIND(NETWORK) && link->kind == WEFT_LINK_NETWORK;
             end++) {
            int node = end ? link->to : link->from;
            int host = weft_topology_ancestor(t, node, WEFT_NODE_HOST);
            if (host >= 0 && has_rank[host] && !is_of_rank[weft_sets_root(up, node)])
                return false;
        }
    }
    unite(t, kinds & KIND(NETWORK), up);
    for (int r = 1; r < num_ranks; r++)
        if (weft_sets_root(up, nodes[r]) != weft_sets_root(up, nodes[0]))
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
    bool *marks = malloc(2 * count * sizeof *marks);
    weft_status status = WEFT_OK;
    if (!up || !marks)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a network");
    while (status == WEFT_OK && choices[at] != 0 &&
           !is_enough(topology, nodes, layout->num_ranks, choices[at], up, marks, marks + count))
        at++;
    options.link_kinds = choices[at];
    if (status == WEFT_OK)
        status = weft_network_create(topology, &options, &layout->network, error);
    free(up);
    free(marks);
    return status;
}
