/*
 * SPDX-License-Identifier: Apache-2.0
 * Matching the nodes of two topologies: names, then identities, then places. Sorting, no search
 * through pairs.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "topology/diff_private.h"

/* What tells a node apart; those in one host only are looked at when hosts are matched. Port GUIDs
 * come first: devices of several ports share the others. */
static const struct {
    const char *key;
    bool is_local;
} identities[] = {
    {"port_guid", false}, {"uuid", false},       {"node_guid", false},  {"mac", false},
    {"serial", false},    {"pci_address", true}, {"rdma_device", true},
};
enum { NUM_IDENTITIES = sizeof identities / sizeof identities[0] };

struct identity {
    uint64_t hash;
    int node;
};

static int compare_identities(const void *x, const void *y)
{
    const struct identity *a = x, *b = y;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return (a->node > b->node) - (a->node < b->node);
}

static void join(struct weft_match *m, int before, int after)
{
    m->after_of[before] = after;
    m->before_of[after] = before;
}

static bool are_free(const struct weft_match *m, int before, int after)
{
    return m->after_of[before] < 0 && m->before_of[after] < 0 &&
           m->before->nodes[before].kind == m->after->nodes[after].kind;
}

/* Two nodes of one name are one, even if the kind has changed (a switch whose tier is known now).
 */
static void match_names(struct weft_match *m)
{
    for (int i = 0; i < m->before->num_nodes; i++) {
        int same = weft_topology_find_node(m->after, m->before->nodes[i].name);
        if (same >= 0)
            join(m, i, same);
    }
}

/* 0: the node is matched already, or has no such identity. `host` is in terms of the graph after.
 */
static uint64_t identity_of(const struct weft_topology *t, int node, int which, int host)
{
    const struct weft_attribute *a = weft_topology_attribute(t, node, identities[which].key);
    if (!a || (a->text && !a->text[0]) || (identities[which].is_local && host < 0))
        return 0;
    uint64_t hash =
        a->text ? XXH3_64bits(a->text, strlen(a->text)) : XXH3_64bits(&a->number, sizeof a->number);
    const int place[] = {t->nodes[node].kind, which, identities[which].is_local ? host : -1};
    return XXH3_64bits_withSeed(place, sizeof place, hash) | 1;
}

static size_t gather(const struct weft_match *m, bool is_after, int which, struct identity *list)
{
    const struct weft_topology *t = is_after ? m->after : m->before;
    const int *matched = is_after ? m->before_of : m->after_of;
    size_t count = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        if (matched[i] >= 0)
            continue;
        int host = weft_topology_ancestor(t, i, WEFT_NODE_HOST);
        if (!is_after && host >= 0)
            host = m->after_of[host];
        uint64_t hash = identity_of(t, i, which, host);
        if (hash)
            list[count++] = (struct identity){hash, i};
    }
    qsort(list, count, sizeof *list, compare_identities);
    return count;
}

/* One identity over all nodes that are left. One that several nodes share tells nothing. */
static weft_status match_identity(struct weft_match *m, int which, struct weft_error *error)
{
    size_t n = (size_t)m->before->num_nodes + (size_t)m->after->num_nodes + 2;
    struct identity *before = malloc(n * sizeof *before);
    if (!before)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "diff: no memory");
    size_t num_before = gather(m, false, which, before);
    struct identity *after = before + num_before;
    size_t num_after = gather(m, true, which, after);
    size_t j = 0;
    for (size_t i = 0; i < num_before; i++) {
        while (j < num_after && after[j].hash < before[i].hash)
            j++;
        if (j == num_after)
            break;
        bool is_shared = (i > 0 && before[i - 1].hash == before[i].hash) ||
                         (i + 1 < num_before && before[i + 1].hash == before[i].hash) ||
                         (j + 1 < num_after && after[j + 1].hash == after[j].hash);
        if (after[j].hash == before[i].hash && !is_shared &&
            are_free(m, before[i].node, after[j].node))
            join(m, before[i].node, after[j].node);
    }
    free(before);
    return WEFT_OK;
}

/* Where parts are the same, what contains them is. */
static void match_upwards(struct weft_match *m)
{
    for (int i = 0; i < m->before->num_nodes; i++) {
        int before = i, after = m->after_of[i];
        while (before >= 0 && after >= 0) {
            before = m->before->nodes[before].parent;
            after = m->after->nodes[after].parent;
            if (before < 0 || after < 0 || !are_free(m, before, after))
                break;
            join(m, before, after);
        }
    }
}

static const char *local_name(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash ? slash + 1 : NULL;
}

/* The parts of a renamed host that keep their names within it. */
static void match_within_hosts(struct weft_match *m)
{
    char name[2 * WEFT_TOPOLOGY_NAME_BYTES];
    for (int i = 0; i < m->before->num_nodes; i++) {
        int host = weft_topology_ancestor(m->before, i, WEFT_NODE_HOST);
        int other_host = host >= 0 ? m->after_of[host] : -1;
        const char *local = local_name(m->before->nodes[i].name);
        if (m->after_of[i] >= 0 || other_host < 0 || !local)
            continue;
        snprintf(name, sizeof name, "%s/%s", m->after->nodes[other_host].name, local);
        int same = weft_topology_find_node(m->after, name);
        if (same >= 0 && are_free(m, i, same))
            join(m, i, same);
    }
}

/* The one host that is not matched yet; -1: none, or several. */
static int lonely_host(const struct weft_topology *t, const int *matched)
{
    int host = -1;
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_HOST && matched[i] < 0) {
            if (host >= 0)
                return -1;
            host = i;
        }
    return host;
}

static int count_parts(const struct weft_topology *t, int host)
{
    int count = 0;
    for (int i = 0; i < t->num_nodes; i++)
        count += weft_topology_ancestor(t, i, WEFT_NODE_HOST) == host;
    return count;
}

/* One host left on either side: the same one with a new name, if each topology has but one, or if
 * they are of one size. */
static void match_last_host(struct weft_match *m)
{
    int before = lonely_host(m->before, m->after_of), after = lonely_host(m->after, m->before_of);
    if (before < 0 || after < 0)
        return;
    bool are_single = weft_topology_count(m->before, WEFT_NODE_HOST) == 1 &&
                      weft_topology_count(m->after, WEFT_NODE_HOST) == 1;
    if (are_single || count_parts(m->before, before) == count_parts(m->after, after))
        join(m, before, after);
}

weft_status weft_match_nodes(struct weft_match *m, struct weft_error *error)
{
    size_t before = (size_t)m->before->num_nodes, after = (size_t)m->after->num_nodes;
    m->after_of = malloc((before + 1) * sizeof *m->after_of);
    m->before_of = malloc((after + 1) * sizeof *m->before_of);
    if (!m->after_of || !m->before_of)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "diff: no memory");
    for (size_t i = 0; i < before; i++)
        m->after_of[i] = -1;
    for (size_t i = 0; i < after; i++)
        m->before_of[i] = -1;
    match_names(m);
    for (int i = 0; i < NUM_IDENTITIES; i++)
        if (!identities[i].is_local)
            WEFT_TRY(match_identity(m, i, error));
    match_upwards(m);
    match_last_host(m);
    match_within_hosts(m);
    for (int i = 0; i < NUM_IDENTITIES; i++)
        if (identities[i].is_local)
            WEFT_TRY(match_identity(m, i, error));
    return WEFT_OK;
}

void weft_match_free(struct weft_match *m)
{
    free(m->after_of);
    free(m->before_of);
    m->after_of = m->before_of = NULL;
}
