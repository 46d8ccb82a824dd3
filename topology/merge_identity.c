/*
 * SPDX-License-Identifier: Apache-2.0
 * Which nodes of different graphs are one thing: hosts first, then what has a GUID, then hosts that
 * only a fabric named, then everything by its name within its host. Each step sorts the nodes by
 * what would make them equal and joins the runs, so no step is quadratic.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "topology/merge_private.h"

/* ---- hosts ---- */

static void find_hosts(struct weft_merge *m)
{
    for (int i = 0; i < m->num_nodes; i++) {
        int g = m->graph_of[i];
        int host = weft_topology_ancestor(m->graphs[g], i - m->first[g], WEFT_NODE_HOST);
        m->host[i] = host < 0 ? -1 : m->first[g] + host;
        int kind = weft_merge_node(m, i)->kind;
        if (host >= 0 && kind != WEFT_NODE_HOST && kind != WEFT_NODE_NIC)
            m->is_full[m->host[i]] = true;
    }
    for (int i = 0; i < m->num_nodes; i++)
        if (m->host[i] == i && weft_merge_text(m, i, "process.host_id"))
            m->is_own[i] = m->is_full[i] = true;
}

static uint64_t hash_text(const char *text, uint64_t seed)
{
    return XXH3_64bits_withSeed(text, strlen(text), seed);
}

// The sum does not depend on the order of a host's nodes.
static uint64_t hash_content(const struct weft_merge *m, int node)
{
    const struct weft_node *n = weft_merge_node(m, node);
    uint64_t hash = hash_text(n->name, (uint64_t)n->kind);
    for (const struct weft_attribute *a = n->attributes; a; a = a->next) {
        if (strncmp(a->key, "process.", 8) == 0)
            continue;
        hash = hash_text(a->key, hash);
        hash = a->text ? hash_text(a->text, hash)
                       : XXH3_64bits_withSeed(&a->number, sizeof a->number, hash);
    }
    return hash;
}

static void find_identities(struct weft_merge *m)
{
    for (int i = 0; i < m->num_nodes; i++)
        if (m->host[i] >= 0 && !m->is_own[m->host[i]])
            m->identity[m->host[i]] += hash_content(m, i);
    for (int i = 0; i < m->num_nodes; i++)
        if (m->is_own[i])
            m->identity[i] = hash_text(weft_merge_text(m, i, "process.host_id"), 0);
}

/* ---- sorting by what makes equal ---- */

struct claim {
    int class;        // only nodes of one class can be one
    int within;       // root of the host, or -1
    uint64_t number;  // identity; 0 where texts decide
    const char *text; // GUID or name; "" where numbers decide
    int graph, node;
};

static int compare_claims(const void *x, const void *y)
{
    const struct claim *a = x, *b = y;
    if (a->class != b->class)
        return a->class < b->class ? -1 : 1;
    if (a->within != b->within)
        return a->within < b->within ? -1 : 1;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    int difference = strcmp(a->text, b->text);
    return difference ? difference : (a->node > b->node) - (a->node < b->node);
}

static bool are_equal(const struct claim *a, const struct claim *b)
{
    return a->class == b->class && a->within == b->within && a->number == b->number &&
           strcmp(a->text, b->text) == 0;
}

/* Sorts and calls `run` for each run of equal claims. */
static void for_each_run(struct weft_merge *m, struct claim *claims, int num_claims,
                         void (*run)(struct weft_merge *m, const struct claim *claims, int count))
{
    if (num_claims > 0)
        qsort(claims, (size_t)num_claims, sizeof *claims, compare_claims);
    for (int i = 0, end; i < num_claims; i = end) {
        for (end = i + 1; end < num_claims && are_equal(&claims[i], &claims[end]);)
            end++;
        run(m, claims + i, end - i);
    }
}

static void join_all(struct weft_merge *m, const struct claim *claims, int count)
{
    for (int i = 1; i < count; i++)
        weft_merge_join(m, claims[0].node, claims[i].node);
}

/* What one graph gives to two nodes (the ports of an adapter), or two machines have (cloned
 * firmware), tells nothing. */
static void join_unless_ambiguous(struct weft_merge *m, const struct claim *claims, int count)
{
    int machine = -1;
    for (int i = 0; i < count; i++) { // sorted by node, so by graph
        if (i > 0 && claims[i].graph == claims[i - 1].graph)
            return;
        int host = m->host[claims[i].node];
        if (host < 0 || !m->is_full[host])
            continue;
        if (machine >= 0 && weft_merge_root(m, host) != machine)
            return;
        machine = weft_merge_root(m, host);
    }
    join_all(m, claims, count);
}

static bool contradict(const struct weft_merge *m, int a, int b, const char *key)
{
    const char *of_a = weft_merge_text(m, a, key), *of_b = weft_merge_text(m, b, key);
    return of_a && of_b && strcmp(of_a, of_b) != 0;
}

/* The same name on the same host; a name may be stale where a GUID says otherwise. */
static void join_unless_contradicted(struct weft_merge *m, const struct claim *claims, int count)
{
    for (int i = 1; i < count; i++) {
        int a = claims[0].node, b = claims[i].node;
        if (claims[i].graph != claims[0].graph && !contradict(m, a, b, "node_guid") &&
            !contradict(m, a, b, "port_guid"))
            weft_merge_join(m, a, b);
    }
}

static int class_of(int kind)
{
    bool is_tier =
        kind == WEFT_NODE_LEAF || kind == WEFT_NODE_SPINE || kind == WEFT_NODE_CORE_SWITCH;
    return is_tier ? WEFT_NODE_SWITCH : kind;
}

static struct claim claim_of(const struct weft_merge *m, int node, int within, uint64_t number,
                             const char *text)
{
    return (struct claim){.class = class_of(weft_merge_node(m, node)->kind),
                          .within = within,
                          .number = number,
                          .text = text,
                          .graph = m->graph_of[node],
                          .node = node};
}

/* ---- the steps ---- */

static void join_hosts(struct weft_merge *m, struct claim *claims)
{
    int count = 0;
    for (int i = 0; i < m->num_nodes; i++)
        if (m->host[i] == i && m->is_full[i])
            claims[count++] = claim_of(m, i, -1, m->identity[i], "");
    for_each_run(m, claims, count, join_all);
}

static bool is_guid(const char *text)
{
    return text && text[strspn(text, "0")] != '\0';
}

static void join_guids(struct weft_merge *m, struct claim *claims, const char *key)
{
    int count = 0;
    for (int i = 0; i < m->num_nodes; i++) {
        int class = class_of(weft_merge_node(m, i)->kind);
        const char *guid = weft_merge_text(m, i, key);
        if (is_guid(guid) &&
            (class == WEFT_NODE_NIC || class == WEFT_NODE_SWITCH || class == WEFT_NODE_AGGREGATOR))
            claims[count++] = claim_of(m, i, -1, 0, guid);
    }
    for_each_run(m, claims, count, join_unless_ambiguous);
}

/* A host that a fabric named is the one whose NIC it has. It joins one host only, so that it cannot
 * make two machines one. */
static weft_status join_shells_by_nic(struct weft_merge *m)
{
    int *full_host = malloc(((size_t)m->num_nodes + 1) * sizeof *full_host); // by root of a NIC
    if (!full_host)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    for (int i = 0; i < m->num_nodes; i++)
        full_host[i] = -1;
    for (int i = 0; i < m->num_nodes; i++)
        if (weft_merge_node(m, i)->kind == WEFT_NODE_NIC && m->host[i] >= 0 &&
            m->is_full[m->host[i]] && full_host[weft_merge_root(m, i)] < 0)
            full_host[weft_merge_root(m, i)] = m->host[i];
    for (int i = 0; i < m->num_nodes; i++) {
        int shell = m->host[i], full = full_host[weft_merge_root(m, i)];
        if (weft_merge_node(m, i)->kind == WEFT_NODE_NIC && shell >= 0 && !m->is_full[shell] &&
            weft_merge_root(m, shell) == shell && full >= 0)
            weft_merge_join(m, full, shell);
    }
    free(full_host);
    return WEFT_OK;
}

static void join_shells(struct weft_merge *m, const struct claim *claims, int count)
{
    int full = -1, num_full = 0;
    for (int i = 0; i < count; i++)
        if (m->is_full[claims[i].node] &&
            (full < 0 || weft_merge_root(m, claims[i].node) != weft_merge_root(m, full))) {
            full = claims[i].node;
            num_full++;
        }
    int first = num_full == 1 ? full : -1;
    for (int i = 0; i < count; i++) {
        int shell = claims[i].node;
        bool is_attached = weft_merge_root(m, shell) != shell ||
                           m->is_full[shell]; // by a NIC: shells join nothing else before
        if (is_attached)
            continue;
        if (first >= 0)
            weft_merge_join(m, first, shell);
        else
            first = num_full == 0 ? shell : -1;
    }
}

static void join_shells_by_name(struct weft_merge *m, struct claim *claims)
{
    int count = 0;
    for (int i = 0; i < m->num_nodes; i++)
        if (m->host[i] == i)
            claims[count++] = claim_of(m, i, -1, 0, weft_merge_node(m, i)->name);
    for_each_run(m, claims, count, join_shells);
}

static void join_names(struct weft_merge *m, struct claim *claims)
{
    int count = 0;
    for (int i = 0; i < m->num_nodes; i++)
        if (m->host[i] != i) {
            int within = m->host[i] < 0 ? -1 : weft_merge_root(m, m->host[i]);
            claims[count++] = claim_of(m, i, within, 0, weft_merge_local_name(m, i));
        }
    for_each_run(m, claims, count, join_unless_contradicted);
}

weft_status weft_merge_identify(struct weft_merge *m)
{
    struct claim *claims = malloc(((size_t)m->num_nodes + 1) * sizeof *claims);
    if (!claims)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    find_hosts(m);
    find_identities(m);
    join_hosts(m, claims);
    join_guids(m, claims, "node_guid");
    join_guids(m, claims, "port_guid");
    weft_status status = join_shells_by_nic(m);
    if (status == WEFT_OK) {
        join_shells_by_name(m, claims);
        join_names(m, claims);
    }
    free(claims);
    return status;
}
