/*
 * SPDX-License-Identifier: Apache-2.0
 * See upgrade.h. The bound is found anew for each sort of links; of single links only those that
 * leave the bottleneck's side can matter, and of alike ones the first stands for all.
 */
#include "collectives/planner/upgrade.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/network.h"

enum { SORTS_LIMIT = 32 };

// Links that join the same kinds of nodes at the same speed.
struct sort {
    int low_kind, high_kind;
    int64_t capacity;
    int count; // arcs
    int first; // arc
};

struct search {
    const struct weft_topology *topology;
    const struct weft_key *key;
    struct weft_layout layout; // with a network of its own
    struct weft_network network;
    struct sort sorts[SORTS_LIMIT];
    int num_sorts;
    struct weft_bound before;
    struct weft_upgrade *upgrades;
    int *num;
};

static int kind_of(const struct search *search, int vertex)
{
    int node = search->network.node[vertex];
    return node < 0 ? WEFT_NODE_SWITCH : search->topology->nodes[node].kind;
}

static struct sort sort_of(const struct search *search, int arc)
{
    int a = kind_of(search, search->network.arcs[arc].from);
    int b = kind_of(search, search->network.arcs[arc].to);
    return (struct sort){a < b ? a : b, a < b ? b : a, search->network.arcs[arc].capacity, 1, arc};
}

static bool is_alike(const struct sort *a, const struct sort *b)
{
    return a->low_kind == b->low_kind && a->high_kind == b->high_kind && a->capacity == b->capacity;
}

static void find_sorts(struct search *search)
{
    for (int i = 0; i < search->network.num_arcs; i++) {
        struct sort sort = sort_of(search, i);
        int at = 0;
        while (at < search->num_sorts && !is_alike(&search->sorts[at], &sort))
            at++;
        if (at < search->num_sorts)
            search->sorts[at].count++;
        else if (at < SORTS_LIMIT)
            search->sorts[search->num_sorts++] = sort;
    }
}

static void describe(const struct search *search, const struct sort *sort, bool is_single,
                     struct weft_upgrade *upgrade)
{
    char speed[32];
    weft_format_bandwidth(sort->capacity, speed, sizeof speed);
    upgrade->num_links = is_single ? 1 : sort->count / 2;
    const struct weft_arc *arc = &search->network.arcs[sort->first];
    int from = search->network.node[arc->from], to = search->network.node[arc->to];
    if (upgrade->num_links == 1 && from >= 0 && to >= 0)
        snprintf(upgrade->links, sizeof upgrade->links, "the link %.48s - %.48s of %s",
                 search->topology->nodes[from].name, search->topology->nodes[to].name, speed);
    else
        snprintf(upgrade->links, sizeof upgrade->links, "the %d link%s between %s and %s of %s",
                 upgrade->num_links, upgrade->num_links == 1 ? "" : "s",
                 weft_node_kinds[sort->low_kind].singular,
                 weft_node_kinds[sort->high_kind].singular, speed);
}

static void insert(struct search *search, const struct weft_upgrade *upgrade)
{
    int at = *search->num;
    if (at == WEFT_UPGRADES_LIMIT && search->upgrades[--at].gain >= upgrade->gain)
        return;
    for (; at > 0 && search->upgrades[at - 1].gain < upgrade->gain; at--)
        search->upgrades[at] = search->upgrades[at - 1];
    search->upgrades[at] = *upgrade;
    *search->num += *search->num < WEFT_UPGRADES_LIMIT;
}

static bool is_of(const struct search *search, int arc, const struct sort *sort, bool is_single)
{
    const struct weft_arc *one = &search->network.arcs[sort->first];
    const struct weft_arc *other = &search->network.arcs[arc];
    struct sort its = sort_of(search, arc);
    its.capacity = other->capacity;
    if (!is_single)
        return is_alike(&its, sort);
    return (other->from == one->from && other->to == one->to) ||
           (other->from == one->to && other->to == one->from);
}

static weft_status try_sort(struct search *search, const struct sort *sort, bool is_single,
                            struct weft_error *error)
{
    const struct weft_network *real = &search->network;
    struct weft_network changed = *real;
    struct weft_bound bound;
    changed.arcs = malloc(((size_t)real->num_arcs + 1) * sizeof *changed.arcs);
    if (!changed.arcs)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an upgrade");
    memcpy(changed.arcs, real->arcs, (size_t)real->num_arcs * sizeof *changed.arcs);
    for (int i = 0; i < real->num_arcs; i++)
        if (is_of(search, i, sort, is_single))
            changed.arcs[i].capacity *= 2;
    search->layout.network = &changed;
    weft_status status = weft_bound_find(&search->layout, search->key, &bound, error);
    free(changed.arcs);
    if (status != WEFT_OK || bound.reason || bound.ps_per_mib >= search->before.ps_per_mib)
        return status;
    struct weft_upgrade upgrade = {.ps_per_mib = bound.ps_per_mib};
    upgrade.gain = (double)search->before.ps_per_mib / (double)bound.ps_per_mib - 1;
    describe(search, sort, is_single, &upgrade);
    if (upgrade.gain >= 0.001)
        insert(search, &upgrade);
    return WEFT_OK;
}

weft_status weft_upgrades_find(const struct weft_topology *topology,
                               const struct weft_layout *layout, const struct weft_key *key,
                               struct weft_upgrade *upgrades, int *num, struct weft_error *error)
{
    struct search search = {
        .topology = topology, .key = key, .layout = *layout, .upgrades = upgrades, .num = num};
    *num = 0;
    WEFT_TRY(weft_bound_find(layout, key, &search.before, error));
    if (search.before.reason)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s", search.before.reason);
    search.network = *layout->network;
    find_sorts(&search);
    for (int i = 0; i < search.num_sorts; i++) {
        WEFT_TRY(try_sort(&search, &search.sorts[i], false, error));
        if (search.sorts[i].count > 2)
            WEFT_TRY(try_sort(&search, &search.sorts[i], true, error));
    }
    return WEFT_OK;
}
