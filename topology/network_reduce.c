/*
 * SPDX-License-Identifier: Apache-2.0
 * Making a network smaller without changing a cut between terminals:
 *
 *   a switch with one neighbour leads nowhere;
 *   what goes through a switch with two neighbours is limited by the narrower side, so the two are
 *   joined directly at that capacity;
 *   of switches whose capacities towards the same neighbours are in proportion, one with the sums
 *   carries exactly what they carry together: any flow through it divides in that proportion.
 *
 * Only switches whose links are as wide in as out are touched; the others stay for
 * weft_network_check to refuse.
 */
#include <stdlib.h>
#include <string.h>

#include "base/divisor.h"
#include "topology/network_private.h"

static int by_ends(const void *a, const void *b)
{
    const struct weft_arc *left = a, *right = b;
    if (left->from != right->from)
        return left->from < right->from ? -1 : 1;
    if (left->to != right->to)
        return left->to < right->to ? -1 : 1;
    return left->link < right->link ? -1 : left->link > right->link;
}

static int64_t sum(int64_t a, int64_t b)
{
    return a < WEFT_NETWORK_LIMIT - b ? a + b : WEFT_NETWORK_LIMIT;
}

void weft_network_settle(struct weft_network *network)
{
    int kept = 0;
    qsort(network->arcs, (size_t)network->num_arcs, sizeof *network->arcs, by_ends);
    for (int i = 0; i < network->num_arcs; i++) {
        struct weft_arc *arc = &network->arcs[i], *last = &network->arcs[kept - (kept > 0)];
        if (kept > 0 && last->from == arc->from && last->to == arc->to) {
            last->capacity = sum(last->capacity, arc->capacity);
            if (arc->latency_ps < last->latency_ps)
                last->latency_ps = arc->latency_ps;
        } else {
            network->arcs[kept++] = *arc;
        }
    }
    network->num_arcs = kept;
    memset(network->first, 0, ((size_t)network->num_vertices + 1) * sizeof *network->first);
    for (int i = 0; i < kept; i++)
        network->first[network->arcs[i].from + 1]++;
    for (int v = 0; v < network->num_vertices; v++)
        network->first[v + 1] += network->first[v];
}

struct reduction {
    struct weft_network *network;
    int64_t *entering; // (vertices) number of arcs into each
    bool *is_busy;     // (vertices) a neighbour has changed in this round
    bool *is_gone;     // (vertices)
    bool *is_arc_gone; // (arcs)
    struct weft_arc *fresh;
    int num_fresh;
    bool has_changed;
};

// The arc back; -1: there is none.
static int opposite(const struct weft_network *network, int arc)
{
    int from = network->arcs[arc].to, to = network->arcs[arc].from;
    int low = network->first[from], high = network->first[from + 1];
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (network->arcs[middle].to < to)
            low = middle + 1;
        else
            high = middle;
    }
    return low < network->first[from + 1] && network->arcs[low].to == to ? low : -1;
}

static bool is_duplex(const struct reduction *r, int vertex)
{
    const struct weft_network *n = r->network;
    int count = n->first[vertex + 1] - n->first[vertex];
    if (r->entering[vertex] != count)
        return false;
    for (int i = n->first[vertex]; i < n->first[vertex + 1]; i++) {
        int back = opposite(n, i);
        if (back < 0 || n->arcs[back].capacity != n->arcs[i].capacity)
            return false;
    }
    return true;
}

static void remove_vertex(struct reduction *r, int vertex)
{
    const struct weft_network *n = r->network;
    r->is_gone[vertex] = r->has_changed = true;
    for (int i = n->first[vertex]; i < n->first[vertex + 1]; i++) {
        r->is_arc_gone[i] = r->is_arc_gone[opposite(n, i)] = true;
        r->is_busy[n->arcs[i].to] = true;
    }
}

// Two neighbours become one another's.
static void bypass(struct reduction *r, int vertex)
{
    const struct weft_arc *a = &r->network->arcs[r->network->first[vertex]], *b = a + 1;
    bool a_is_narrower = a->capacity <= b->capacity;
    struct weft_arc arc = {.from = a->to,
                           .to = b->to,
                           .capacity = a_is_narrower ? a->capacity : b->capacity,
                           .latency_ps = a->latency_ps + b->latency_ps,
                           .link = a_is_narrower ? a->link : b->link};
    r->fresh[r->num_fresh++] = arc;
    arc.from = b->to, arc.to = a->to;
    r->fresh[r->num_fresh++] = arc;
    remove_vertex(r, vertex);
}

static void simplify(struct reduction *r)
{
    const struct weft_network *n = r->network;
    for (int v = n->num_terminals; v < n->num_vertices; v++) {
        int count = n->first[v + 1] - n->first[v];
        if (count > 2 || r->is_busy[v] || !is_duplex(r, v))
            continue;
        if (count == 2)
            bypass(r, v);
        else
            remove_vertex(r, v);
    }
}

/* ---- switches alike ---- */

struct profile {
    uint64_t hash; // of neighbours and proportions
    int vertex;
    int64_t unit; // divides its capacities
};

static struct profile profile_of(const struct weft_network *n, int vertex)
{
    struct profile profile = {.vertex = vertex};
    for (int i = n->first[vertex]; i < n->first[vertex + 1]; i++)
        profile.unit = weft_greatest_divisor(n->arcs[i].capacity, profile.unit);
    for (int i = n->first[vertex]; i < n->first[vertex + 1]; i++) {
        uint64_t word = (uint64_t)n->arcs[i].to * UINT64_C(0x9e3779b97f4a7c15) ^
                        (uint64_t)(n->arcs[i].capacity / profile.unit);
        profile.hash = (profile.hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
        profile.hash ^= profile.hash >> 32;
    }
    return profile;
}

static int by_hash(const void *a, const void *b)
{
    const struct profile *left = a, *right = b;
    if (left->hash != right->hash)
        return left->hash < right->hash ? -1 : 1;
    return left->vertex < right->vertex ? -1 : left->vertex > right->vertex;
}

static bool is_alike(const struct weft_network *n, const struct profile *a, const struct profile *b)
{
    int count = n->first[a->vertex + 1] - n->first[a->vertex];
    if (n->first[b->vertex + 1] - n->first[b->vertex] != count || a->hash != b->hash)
        return false;
    for (int i = 0; i < count; i++) {
        const struct weft_arc *left = &n->arcs[n->first[a->vertex] + i];
        const struct weft_arc *right = &n->arcs[n->first[b->vertex] + i];
        if (left->to != right->to || left->capacity / a->unit != right->capacity / b->unit)
            return false;
    }
    return true;
}

// `vertex` goes; its arcs are added to those of `into`.
static void merge(struct reduction *r, int vertex, int into)
{
    const struct weft_network *n = r->network;
    for (int i = n->first[vertex]; i < n->first[vertex + 1]; i++) {
        struct weft_arc out = n->arcs[i], back = n->arcs[opposite(n, i)];
        out.from = back.to = into;
        r->fresh[r->num_fresh++] = out;
        r->fresh[r->num_fresh++] = back;
    }
    n->num_merged[into] += n->num_merged[vertex];
    remove_vertex(r, vertex);
}

static void merge_alike(struct reduction *r, struct profile *profiles)
{
    const struct weft_network *n = r->network;
    int count = 0;
    for (int v = n->num_terminals; v < n->num_vertices; v++)
        if (!r->is_gone[v] && !r->is_busy[v] && n->first[v + 1] > n->first[v] && is_duplex(r, v))
            profiles[count++] = profile_of(n, v);
    qsort(profiles, (size_t)count, sizeof *profiles, by_hash);
    for (int i = 0, kept = 0; i < count; i++) {
        int vertex = profiles[i].vertex, into = profiles[kept].vertex;
        // Where a neighbour has gone in this round, the next one sees to it.
        if (i == 0 || !is_alike(n, &profiles[kept], &profiles[i]))
            kept = i;
        else if (!r->is_busy[vertex] && !r->is_busy[into])
            merge(r, vertex, into);
    }
}

/* ---- rounds ---- */

// What is left, with new numbers.
static void renumber(struct reduction *r, int *place)
{
    struct weft_network *n = r->network;
    int vertices = 0, arcs = 0;
    for (int v = 0; v < n->num_vertices; v++) {
        place[v] = r->is_gone[v] ? -1 : vertices;
        if (r->is_gone[v])
            continue;
        n->node[vertices] = n->node[v];
        n->num_merged[vertices++] = n->num_merged[v];
    }
    for (int i = 0; i < n->num_arcs; i++)
        if (!r->is_arc_gone[i])
            n->arcs[arcs++] = n->arcs[i];
    for (int i = 0; i < r->num_fresh; i++)
        n->arcs[arcs++] = r->fresh[i];
    for (int i = 0; i < arcs; i++) {
        n->arcs[i].from = place[n->arcs[i].from];
        n->arcs[i].to = place[n->arcs[i].to];
    }
    n->num_vertices = vertices;
    n->num_arcs = arcs;
    weft_network_settle(n);
}

static void reduce_once(struct reduction *r, int *place, struct profile *profiles, bool merges)
{
    size_t vertices = (size_t)r->network->num_vertices, arcs = (size_t)r->network->num_arcs;
    memset(r->entering, 0, vertices * sizeof *r->entering);
    memset(r->is_busy, 0, vertices);
    memset(r->is_gone, 0, vertices);
    memset(r->is_arc_gone, 0, arcs);
    r->num_fresh = 0;
    r->has_changed = false;
    for (size_t i = 0; i < arcs; i++)
        r->entering[r->network->arcs[i].to]++;
    if (merges)
        merge_alike(r, profiles);
    else
        simplify(r);
    if (r->has_changed)
        renumber(r, place);
}

weft_status weft_network_reduce(struct weft_network *network, struct weft_error *error)
{
    size_t vertices = (size_t)network->num_vertices + 1, arcs = (size_t)network->num_arcs + 2;
    struct reduction r = {.network = network,
                          .entering = malloc(vertices * sizeof *r.entering),
                          .is_busy = malloc(vertices),
                          .is_gone = malloc(vertices),
                          .is_arc_gone = malloc(arcs),
                          .fresh = malloc(2 * arcs * sizeof *r.fresh)};
    int *place = malloc(vertices * sizeof *place);
    struct profile *profiles = malloc(vertices * sizeof *profiles);
    bool is_made =
        r.entering && r.is_busy && r.is_gone && r.is_arc_gone && r.fresh && place && profiles;
    // Contractions until there are none, then a merge, until neither changes anything.
    for (bool has_changed = true; is_made && has_changed;) {
        do
            reduce_once(&r, place, profiles, false);
        while (r.has_changed);
        reduce_once(&r, place, profiles, true);
        has_changed = r.has_changed;
    }
    free(r.entering);
    free(r.is_busy);
    free(r.is_gone);
    free(r.is_arc_gone);
    free(r.fresh);
    free(place);
    free(profiles);
    return is_made ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a network");
}
