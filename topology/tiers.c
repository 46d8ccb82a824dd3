/*
 * SPDX-License-Identifier: Apache-2.0
 * See tiers.h. A leaf is where the bulk of the NICs is: one management host on a spine does not
 * make it a leaf, so switches with far fewer NICs than is usual are decided by their neighbours.
 */
#include "topology/tiers.h"

#include <stdlib.h>
#include <string.h>

#include "topology/cables.h"
#include "topology/sets.h"

struct tiers {
    struct weft_topology *topology;
    enum weft_source source;
    struct weft_error *error;
    struct weft_cables cables;
    int *num_ends;  // by node: cables of a switch to NICs and hosts
    int *num_joins; // cables of a switch to switches
    int *rank;      // distance of a switch from the nearest leaf; -1: none
    int *queue;
    int *island; // the first switch of its connected part
    int usual;   // fewer ends than this are few
};

static bool is_end(const struct weft_topology *t, int node)
{
    int kind = t->nodes[node].kind;
    return !weft_node_is_fabric_switch(t, node) && kind != WEFT_NODE_AGGREGATOR &&
           kind != WEFT_NODE_DEVICE;
}

static bool is_called(const struct weft_topology *t, int node, const char *word)
{
    const char *description = weft_topology_text(t, node, "description");
    return strcasestr(t->nodes[node].name, word) || (description && strcasestr(description, word));
}

static bool is_called_higher(const struct weft_topology *t, int node)
{
    return is_called(t, node, "spine") || is_called(t, node, "core");
}

static void count_cables(struct tiers *s)
{
    const struct weft_topology *t = s->topology;
    for (int i = 0; i < t->num_nodes; i++)
        for (int k = s->cables.starts[i]; k < s->cables.starts[i + 1]; k++) {
            if (!weft_node_is_fabric_switch(t, i))
                continue;
            int count = t->links[s->cables.ends[k].link].count;
            if (weft_node_is_fabric_switch(t, s->cables.ends[k].peer))
                s->num_joins[i] = weft_cables_add(s->num_joins[i], count);
            else if (is_end(t, s->cables.ends[k].peer))
                s->num_ends[i] = weft_cables_add(s->num_ends[i], count);
        }
}

static int compare_numbers(const void *a, const void *b)
{
    const int *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* A quarter of the number of NICs beside the typical NIC. */
static int usual_ends(struct tiers *s)
{
    int count = 0;
    int64_t all = 0, passed = 0;
    for (int i = 0; i < s->topology->num_nodes; i++)
        if (s->num_ends[i] > 0) {
            s->queue[count++] = s->num_ends[i];
            all += s->num_ends[i];
        }
    qsort(s->queue, (size_t)count, sizeof *s->queue, compare_numbers);
    for (int i = 0; i < count; i++) {
        passed += s->queue[i];
        if (passed * 2 >= all)
            return (s->queue[i] + 3) / 4;
    }
    return 1;
}

/* Ranks of all switches from those that have rank 0 now. */
static void spread(struct tiers *s)
{
    const struct weft_topology *t = s->topology;
    int head = 0, tail = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        if (s->rank[i] == 0)
            s->queue[tail++] = i;
        else
            s->rank[i] = -1;
    }
    while (head < tail) {
        int node = s->queue[head++];
        for (int k = s->cables.starts[node]; k < s->cables.starts[node + 1]; k++) {
            int peer = s->cables.ends[k].peer;
            if (!weft_node_is_fabric_switch(t, peer) || s->rank[peer] >= 0)
                continue;
            s->rank[peer] = s->rank[node] + 1;
            s->queue[tail++] = peer;
        }
    }
}

/* Cables of `node` to switches of rank 0. */
static int joins_with_leaves(const struct tiers *s, int node)
{
    int count = 0;
    for (int k = s->cables.starts[node]; k < s->cables.starts[node + 1]; k++)
        if (weft_node_is_fabric_switch(s->topology, s->cables.ends[k].peer) &&
            s->rank[s->cables.ends[k].peer] == 0)
            count = weft_cables_add(count, s->topology->links[s->cables.ends[k].link].count);
    return count;
}

/* A switch with a few NICs: the leaf of few hosts, or a higher one that a manager hangs on? */
static bool is_small_leaf(const struct tiers *s, int node, int most_joins_above)
{
    if (s->rank[node] < 0)
        return true; // nothing else near
    if (s->rank[node] == 1)
        return joins_with_leaves(s, node) * 2 <= s->num_joins[node];
    if (is_called(s->topology, node, "leaf") || is_called_higher(s->topology, node))
        return is_called(s->topology, node, "leaf");
    return s->num_joins[node] * 2 <= most_joins_above || most_joins_above == 0;
}

static weft_status find_leaves(struct tiers *s)
{
    const struct weft_topology *t = s->topology;
    int most_joins_above = 0, num_empty = 0, first_empty = -1;
    for (int i = 0; i < t->num_nodes; i++)
        s->rank[i] = s->num_ends[i] >= s->usual ? 0 : -1;
    spread(s);
    for (int i = 0; i < t->num_nodes; i++)
        if (s->rank[i] >= 2 && s->num_ends[i] == 0 && s->num_joins[i] > most_joins_above)
            most_joins_above = s->num_joins[i];
    // decided on the first ranks, set afterwards, so that the order does not matter
    int count = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        if (!weft_node_is_fabric_switch(t, i) || s->rank[i] == 0)
            continue;
        bool is_empty = s->num_ends[i] == 0;
        if (is_empty ? s->rank[i] >= 2 && is_called(t, i, "leaf")
                     : is_small_leaf(s, i, most_joins_above)) {
            s->queue[count++] = i;
            first_empty = is_empty && num_empty++ == 0 ? i : first_empty;
        }
    }
    for (int i = 0; i < count; i++)
        s->rank[s->queue[i]] = 0;
    spread(s);
    if (num_empty == 0)
        return WEFT_OK;
    return weft_topology_add_remark(
        s->topology, WEFT_REMARK_GUESS, s->source, first_empty, s->error,
        "%d switch%s taken for a leaf by its name, since no NIC is on it (first: %.80s)", num_empty,
        num_empty > 1 ? "es were" : " was", t->nodes[first_empty].name);
}

static bool joins_switches(const struct weft_topology *t, const struct weft_link *link)
{
    return link->kind == WEFT_LINK_NETWORK && weft_node_is_fabric_switch(t, link->from) &&
           weft_node_is_fabric_switch(t, link->to);
}

static void find_islands(struct tiers *s)
{
    const struct weft_topology *t = s->topology;
    weft_sets_init(s->island, t->num_nodes);
    for (int i = 0; i < t->num_links; i++)
        if (joins_switches(t, &t->links[i]))
            weft_sets_unite(s->island, t->links[i].from, t->links[i].to);
    for (int i = 0; i < t->num_nodes; i++)
        s->island[i] = weft_sets_root(s->island, i);
}

/* Where most cables join switches of one rank (a ring, a mesh), ranks mean nothing. */
static weft_status drop_irregular(struct tiers *s)
{
    const struct weft_topology *t = s->topology;
    int level = 0, first = -1, dropped = 0, first_dropped = -1;
    int *num_level = s->queue; // by island: cables within a rank
    int *num_joins = s->num_ends;
    find_islands(s);
    for (int i = 0; i < t->num_nodes; i++)
        num_level[i] = num_joins[i] = 0;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (!joins_switches(t, link))
            continue;
        num_joins[s->island[link->from]] += 1;
        num_level[s->island[link->from]] += s->rank[link->from] == s->rank[link->to];
    }
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (joins_switches(t, link) && s->rank[link->from] == s->rank[link->to] &&
            num_level[s->island[link->from]] * 2 <= num_joins[s->island[link->from]] &&
            level++ == 0)
            first = i;
    }
    for (int i = 0; i < t->num_nodes; i++)
        if (num_level[s->island[i]] * 2 > num_joins[s->island[i]]) {
            s->rank[i] = -1;
            first_dropped = dropped++ == 0 ? i : first_dropped;
        }
    if (dropped > 0)
        WEFT_TRY(weft_topology_add_remark(
            s->topology, WEFT_REMARK_GUESS, s->source, first_dropped, s->error,
            "%d switches are cabled in no tiers (first: %.80s): most of their cables join switches "
            "that are equally far from NICs",
            dropped, t->nodes[first_dropped].name));
    if (level == 0)
        return WEFT_OK;
    return weft_topology_add_remark(
        s->topology, WEFT_REMARK_GUESS, s->source, -1, s->error,
        "%d cable%s switches of one tier (first: %.60s port %d to %.60s port %d)", level,
        level > 1 ? "s join" : " joins", t->nodes[t->links[first].from].name,
        t->links[first].from_port, t->nodes[t->links[first].to].name, t->links[first].to_port);
}

static weft_status set_kinds(struct tiers *s)
{
    struct weft_topology *t = s->topology;
    int far = 0, first = -1, against = 0, first_against = -1;
    for (int i = 0; i < t->num_nodes; i++) {
        static const int kinds[] = {WEFT_NODE_LEAF, WEFT_NODE_SPINE, WEFT_NODE_CORE_SWITCH};
        if (!weft_node_is_fabric_switch(t, i))
            continue;
        t->nodes[i].kind =
            s->rank[i] >= 0 && s->rank[i] <= 2 ? kinds[s->rank[i]] : WEFT_NODE_SWITCH;
        first = s->rank[i] > 2 && far++ == 0 ? i : first;
        bool is_against = (s->rank[i] == 0 && is_called(t, i, "spine")) ||
                          (s->rank[i] > 0 && is_called(t, i, "leaf"));
        first_against = is_against && against++ == 0 ? i : first_against;
    }
    if (against > 0)
        WEFT_TRY(weft_topology_add_remark(
            t, WEFT_REMARK_CONTRADICTION, s->source, first_against, s->error,
            "%d switch%s not where the name says (first: %.80s, by its cables a %s)", against,
            against > 1 ? "es are" : " is", t->nodes[first_against].name,
            weft_node_kinds[t->nodes[first_against].kind].singular));
    if (far == 0)
        return WEFT_OK;
    return weft_topology_add_remark(
        t, WEFT_REMARK_GUESS, s->source, first, s->error,
        "%d switch%s more than two tiers above any NIC; their tier is not known (first: %.80s)",
        far, far > 1 ? "es are" : " is", t->nodes[first].name);
}

static weft_status decide(struct tiers *s)
{
    count_cables(s);
    s->usual = usual_ends(s);
    WEFT_TRY(find_leaves(s));
    WEFT_TRY(drop_irregular(s));
    return set_kinds(s);
}

weft_status weft_topology_find_tiers(struct weft_topology *topology, enum weft_source source,
                                     struct weft_error *error)
{
    struct tiers s = {.topology = topology, .source = source, .error = error};
    size_t count = (size_t)topology->num_nodes + 1;
    int *memory = calloc(count * 5, sizeof *memory);
    weft_status status = memory ? weft_cables_list(topology, &s.cables, error)
                                : weft_fail(error, WEFT_OUT_OF_MEMORY, "tiers: no memory");
    if (status == WEFT_OK) {
        s.num_ends = memory;
        s.num_joins = memory + count;
        s.rank = memory + count * 2;
        s.queue = memory + count * 3;
        s.island = memory + count * 4;
        status = decide(&s);
    }
    weft_cables_free(&s.cables);
    free(memory);
    return status;
}
