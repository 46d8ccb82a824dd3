/*
 * SPDX-License-Identifier: Apache-2.0
 * What looks alike in a drawing. Two hosts do if they have the same tree of kinds and models, and
 * the same links inside with the same nominal and current bandwidth: names, addresses and measured
 * figures always differ and do not count, a link that came up slower does.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "topology/draw_private.h"

static uint64_t mix(uint64_t hash, const void *data, size_t bytes)
{
    return XXH3_64bits_withSeed(data, bytes, hash);
}

static uint64_t mix_link(const struct weft_link *link, int other_kind, bool leaves)
{
    const int64_t parts[] = {link->kind,
                             link->count,
                             other_kind,
                             leaves,
                             link->bandwidth.nominal.value,
                             link->bandwidth.current.value};
    return mix(3, parts, sizeof parts);
}

void weft_draw_find_shapes(struct weft_drawing *d)
{
    const struct weft_topology *t = d->topology;
    for (int i = 0; i < t->num_nodes; i++) {
        const struct weft_node *node = &t->nodes[i];
        const char *model = weft_topology_text(t, i, "model");
        uint64_t hash = mix(1, &node->kind, sizeof node->kind);
        d->shape[i] = model ? mix(hash, model, strlen(model)) : hash;
        d->end[i] = i + 1;
        d->root[i] = node->parent < 0 ? i : d->root[node->parent];
    }
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        bool leaves = d->root[link->from] != d->root[link->to];
        // a sum, so that the order of links does not matter
        d->shape[link->from] += mix_link(link, t->nodes[link->to].kind, leaves);
        d->shape[link->to] += mix_link(link, t->nodes[link->from].kind, leaves);
    }
    for (int i = t->num_nodes; i-- > 0;) { // contents come after what contains them
        int parent = t->nodes[i].parent;
        if (parent < 0)
            continue;
        d->shape[parent] += mix(2, &d->shape[i], sizeof d->shape[i]);
        if (d->end[i] > d->end[parent])
            d->end[parent] = d->end[i];
    }
}

/* ---- groups ---- */

struct member {
    uint64_t key;
    int index; // in the list of roots
};

static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Which other roots each of them is joined to, as a sum of hashes in `peers` (one per node). */
static void add_peers(const struct weft_drawing *d, uint64_t *peers)
{
    const struct weft_topology *t = d->topology;
    for (int i = 0; i < t->num_links; i++) {
        int from = d->root[t->links[i].from], to = d->root[t->links[i].to];
        if (from == to)
            continue;
        peers[from] += mix(5, &to, sizeof to);
        peers[to] += mix(5, &from, sizeof from);
    }
}

/* Numbers equal keys in the order in which they first appear. `members` is scratch. */
static int number_groups(struct member *members, int count, int *group)
{
    qsort(members, (size_t)count, sizeof *members, compare_members);
    for (int i = 0; i < count; i++) { // the first of its key, for now
        bool is_first = i == 0 || members[i].key != members[i - 1].key;
        group[members[i].index] = is_first ? members[i].index : group[members[i - 1].index];
    }
    int num_groups = 0;
    for (int i = 0; i < count; i++)
        group[i] = group[i] == i ? num_groups++ : group[group[i]];
    return num_groups;
}

weft_status weft_draw_group(const struct weft_drawing *d, const int *roots, int count, int alone,
                            int limit, int *group, int *num_groups, bool *mixed)
{
    *mixed = false;
    *num_groups = count;
    for (int i = 0; i < count; i++)
        group[i] = i;
    if (count <= alone)
        return WEFT_OK;
    size_t n = (size_t)d->topology->num_nodes;
    uint64_t *peers = calloc(n + 1, sizeof *peers);
    struct member *members = malloc((size_t)count * sizeof *members);
    if (!peers || !members) {
        free(peers);
        free(members);
        return weft_fail(d->error, WEFT_OUT_OF_MEMORY, "drawing: no memory");
    }
    add_peers(d, peers);
    // 1. alike and joined to the same; 2. if these are still too many: alike
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < count; i++)
            members[i] =
                (struct member){d->shape[roots[i]] + (round ? 0 : peers[roots[i]] * 31), i};
        *num_groups = number_groups(members, count, group);
        if (*num_groups <= limit)
            break;
    }
    free(peers);
    free(members);
    // 3. the rest together, alike or not
    bool is_over = *num_groups > limit;
    *mixed = is_over && limit > 1;
    for (int i = 0; is_over && i < count; i++)
        if (group[i] >= limit)
            group[i] = limit - 1;
    if (is_over)
        *num_groups = limit;
    return WEFT_OK;
}
