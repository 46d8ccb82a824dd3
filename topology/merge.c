/*
 * SPDX-License-Identifier: Apache-2.0
 * The merge, see merge.h. The graphs are put into the order of their written content first; from
 * there on everything is a function of that list, so the order of the caller's does not show.
 */
#include "topology/merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/json.h"
#include "topology/merge_private.h"
#include "topology/sets.h"

const struct weft_node *weft_merge_node(const struct weft_merge *m, int node)
{
    int g = m->graph_of[node];
    return &m->graphs[g]->nodes[node - m->first[g]];
}

const char *weft_merge_text(const struct weft_merge *m, int node, const char *key)
{
    int g = m->graph_of[node];
    return weft_topology_text(m->graphs[g], node - m->first[g], key);
}

int weft_merge_root(const struct weft_merge *m, int node)
{
    return weft_sets_root(m->set, node);
}

void weft_merge_join(struct weft_merge *m, int a, int b)
{
    m->set[weft_merge_root(m, b)] = weft_merge_root(m, a);
}

const char *weft_merge_local_name(const struct weft_merge *m, int node)
{
    const char *name = weft_merge_node(m, node)->name;
    if (m->host[node] < 0 || m->host[node] == node)
        return name;
    const char *host = weft_merge_node(m, m->host[node])->name;
    size_t bytes = strlen(host);
    return strncmp(name, host, bytes) == 0 && name[bytes] == '/' && name[bytes + 1]
               ? name + bytes + 1
               : name;
}

/* ---- the list of graphs ---- */

struct input {
    const struct weft_topology *graph;
    char *text;
    size_t bytes;
};

static int compare_inputs(const void *x, const void *y)
{
    const struct input *a = x, *b = y;
    return strcmp(a->text, b->text);
}

static weft_status sort_graphs(struct weft_merge *m, const struct weft_topology *const *graphs,
                               int num_graphs)
{
    struct input *inputs = calloc((size_t)num_graphs, sizeof *inputs);
    if (!inputs)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    weft_status status = WEFT_OK;
    for (int i = 0; i < num_graphs && status == WEFT_OK; i++) {
        inputs[i].graph = graphs[i];
        status = weft_topology_to_json(graphs[i], &inputs[i].text, &inputs[i].bytes, m->error);
    }
    if (status == WEFT_OK) {
        qsort(inputs, (size_t)num_graphs, sizeof *inputs, compare_inputs);
        for (int i = 0; i < num_graphs; i++)
            if (i == 0 || compare_inputs(&inputs[i - 1], &inputs[i]) != 0)
                m->graphs[m->num_graphs++] = inputs[i].graph;
    }
    for (int i = 0; i < num_graphs; i++)
        free(inputs[i].text);
    free(inputs);
    return status;
}

static weft_status number_nodes(struct weft_merge *m)
{
    int64_t num_nodes = 0;
    for (int g = 0; g < m->num_graphs; g++) {
        m->first[g] = (int)num_nodes;
        num_nodes += m->graphs[g]->num_nodes;
        if (num_nodes > WEFT_TOPOLOGY_MAX_NODES)
            return weft_fail(m->error, WEFT_INVALID_ARGUMENT, "merge: more than %d nodes",
                             WEFT_TOPOLOGY_MAX_NODES);
    }
    m->first[m->num_graphs] = m->num_nodes = (int)num_nodes;
    size_t n = (size_t)num_nodes + 1;
    m->graph_of = calloc(n, sizeof *m->graph_of);
    m->set = calloc(n, sizeof *m->set);
    m->host = calloc(n, sizeof *m->host);
    m->node = calloc(n, sizeof *m->node);
    m->is_full = calloc(n, sizeof *m->is_full);
    m->is_own = calloc(n, sizeof *m->is_own);
    m->identity = calloc(n, sizeof *m->identity);
    m->rack = calloc(n, sizeof *m->rack);
    if (!m->graph_of || !m->set || !m->host || !m->node || !m->is_full || !m->is_own ||
        !m->identity || !m->rack)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory for %zu nodes", n);
    weft_sets_init(m->set, m->num_nodes);
    for (int g = 0; g < m->num_graphs; g++)
        for (int i = m->first[g]; i < m->first[g + 1]; i++) {
            m->graph_of[i] = g;
            m->node[i] = -1;
        }
    return WEFT_OK;
}

/* ---- names ---- */

/* Of a set, the member that knows best what it is: seen from its own host, else from any full one,
 * else the first. */
static weft_status find_best_members(const struct weft_merge *m, int *best)
{
    int *knows = malloc(((size_t)m->num_nodes + 1) * sizeof *knows);
    if (!knows)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    for (int i = 0; i < m->num_nodes; i++)
        knows[i] = -1;
    for (int i = 0; i < m->num_nodes; i++) {
        int root = weft_merge_root(m, i), host = m->host[i];
        bool is_tier = weft_merge_node(m, i)->kind != WEFT_NODE_SWITCH;
        int value = host < 0 ? is_tier : m->is_own[host] ? 4 : m->is_full[host] ? 3 : 2;
        if (value > knows[root]) {
            knows[root] = value;
            best[root] = i;
        }
    }
    free(knows);
    return WEFT_OK;
}

struct named_host {
    const char *name;
    int root;
};

static int compare_named_hosts(const void *x, const void *y)
{
    const struct named_host *a = x, *b = y;
    int difference = strcmp(a->name, b->name);
    return difference ? difference : (a->root > b->root) - (a->root < b->root);
}

/* has_namesake[root]: another machine is called the same. */
static weft_status find_namesakes(const struct weft_merge *m, const int *best, bool *has_namesake)
{
    struct named_host *hosts = malloc(((size_t)m->num_nodes + 1) * sizeof *hosts);
    if (!hosts)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    int count = 0;
    for (int i = 0; i < m->num_nodes; i++)
        if (m->host[i] == i && weft_merge_root(m, i) == i && m->is_full[best[i]])
            hosts[count++] = (struct named_host){weft_merge_node(m, best[i])->name, i};
    if (count)
        qsort(hosts, (size_t)count, sizeof *hosts, compare_named_hosts);
    for (int i = 1; i < count; i++)
        if (strcmp(hosts[i - 1].name, hosts[i].name) == 0)
            has_namesake[hosts[i - 1].root] = has_namesake[hosts[i].root] = true;
    free(hosts);
    return WEFT_OK;
}

static weft_status add_hosts(struct weft_merge *m, const int *best)
{
    bool *has_namesake = calloc((size_t)m->num_nodes + 1, sizeof *has_namesake);
    if (!has_namesake)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    weft_status status = find_namesakes(m, best, has_namesake);
    for (int i = 0; i < m->num_nodes && status == WEFT_OK; i++) {
        int root = weft_merge_root(m, i);
        if (m->host[i] != i || m->node[root] >= 0)
            continue;
        char name[WEFT_TOPOLOGY_NAME_BYTES];
        const char *given = weft_merge_node(m, best[root])->name;
        snprintf(name, sizeof name, "%.200s", given);
        if (has_namesake[root])
            snprintf(name, sizeof name, "%.200s~%08x", given, (unsigned)m->identity[best[root]]);
        status =
            weft_topology_add_twin(m->merged, WEFT_NODE_HOST, name, -1, &m->node[root], m->error);
        if (status == WEFT_OK && has_namesake[root])
            status = weft_topology_add_remark(
                m->merged, WEFT_REMARK_GUESS, WEFT_SOURCE_ASSUMED, m->node[root], m->error,
                "another machine is called %.100s too; the suffix is made of what tells them apart",
                given);
    }
    free(has_namesake);
    return status;
}

static weft_status add_others(struct weft_merge *m, const int *best)
{
    for (int i = 0; i < m->num_nodes; i++) {
        int root = weft_merge_root(m, i), from = best[root];
        if (m->node[root] >= 0)
            continue;
        char name[WEFT_TOPOLOGY_NAME_BYTES];
        const char *local = weft_merge_local_name(m, from);
        bool is_prefixed = local != weft_merge_node(m, from)->name;
        snprintf(name, sizeof name, "%s", local);
        if (m->rack[root])
            weft_merge_rack_name(m->rack[root], name, sizeof name);
        else if (is_prefixed)
            snprintf(name, sizeof name, "%.120s/%.127s",
                     m->merged->nodes[m->node[weft_merge_root(m, m->host[from])]].name, local);
        WEFT_TRY(weft_topology_add_twin(m->merged, weft_merge_node(m, from)->kind, name, -1,
                                        &m->node[root], m->error));
    }
    return WEFT_OK;
}

/* ---- parents and facts ---- */

static void set_parents(struct weft_merge *m, const int *best)
{
    // twice: what the best member says counts, the others only where it says nothing
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < m->num_nodes; i++) {
            int root = weft_merge_root(m, i), parent = weft_merge_node(m, i)->parent;
            struct weft_node *node = &m->merged->nodes[m->node[root]];
            if (parent >= 0 && node->parent < 0 && (pass == 1 || best[root] == i))
                node->parent = m->node[weft_merge_root(m, m->first[m->graph_of[i]] + parent)];
        }
    for (int i = 0; i < m->num_nodes; i++) // what hosts share is below none of them
        if (m->rack[weft_merge_root(m, i)])
            m->merged->nodes[m->node[weft_merge_root(m, i)]].parent = -1;
}

static weft_status learn(struct weft_merge *m, int from, bool is_best)
{
    int node = m->node[weft_merge_root(m, from)];
    for (const struct weft_attribute *a = weft_merge_node(m, from)->attributes; a; a = a->next) {
        // facts about who looked differ from process to process
        bool is_private = strncmp(a->key, "process.", 8) == 0;
        if (is_private && !is_best && weft_topology_attribute(m->merged, node, a->key))
            continue;
        weft_status status =
            is_private && a->text
                ? weft_topology_set_text(m->merged, node, a->key, a->text, a->source, m->error)
            : is_private
                ? weft_topology_set_number(m->merged, node, a->key, a->number, a->source, m->error)
            : a->text
                ? weft_topology_learn_text(m->merged, node, a->key, a->text, a->source, m->error)
                : weft_topology_learn_number(m->merged, node, a->key, a->number, a->source,
                                             m->error);
        WEFT_TRY(status);
    }
    return WEFT_OK;
}

/* The best member speaks last: of equally trusted sources the later one is believed. */
static weft_status learn_all(struct weft_merge *m, const int *best)
{
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < m->num_nodes; i++) {
            bool is_best = best[weft_merge_root(m, i)] == i;
            if (is_best == (pass == 1))
                WEFT_TRY(learn(m, i, is_best));
        }
    return WEFT_OK;
}

static weft_status build(struct weft_merge *m, const int *best)
{
    WEFT_TRY(add_hosts(m, best));
    WEFT_TRY(add_others(m, best));
    set_parents(m, best);
    WEFT_TRY(learn_all(m, best));
    WEFT_TRY(weft_merge_links(m));
    WEFT_TRY(weft_merge_complete_domains(m));
    WEFT_TRY(weft_merge_notes(m));
    if (weft_topology_check(m->merged, m->error) != WEFT_OK)
        return weft_fail_prefix(m->error, "merge");
    return weft_topology_sort(m->merged, m->error);
}

static weft_status merge(struct weft_merge *m)
{
    WEFT_TRY(number_nodes(m));
    WEFT_TRY(weft_merge_identify(m));
    WEFT_TRY(weft_merge_join_domains(m));
    WEFT_TRY(weft_topology_create(&m->merged, m->error));
    int *best = malloc(((size_t)m->num_nodes + 1) * sizeof *best);
    if (!best)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    weft_status status = find_best_members(m, best);
    if (status == WEFT_OK)
        status = build(m, best);
    free(best);
    return status;
}

weft_status weft_topology_merge(const struct weft_topology *const *graphs, int num_graphs,
                                struct weft_topology **merged, struct weft_error *error)
{
    if (num_graphs < 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "merge: there is no graph");
    struct weft_merge m = {.error = error};
    m.graphs = malloc((size_t)num_graphs * sizeof *m.graphs);
    m.first = malloc(((size_t)num_graphs + 1) * sizeof *m.first);
    weft_status status = m.graphs && m.first
                             ? sort_graphs(&m, graphs, num_graphs)
                             : weft_fail(error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    if (status == WEFT_OK)
        status = merge(&m);
    if (status == WEFT_OK)
        *merged = m.merged;
    else
        weft_topology_destroy(&m.merged);
    free(m.graphs);
    free(m.first);
    free(m.graph_of);
    free(m.set);
    free(m.host);
    free(m.node);
    free(m.is_full);
    free(m.is_own);
    free(m.identity);
    free(m.rack);
    return status;
}
