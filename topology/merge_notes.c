/*
 * SPDX-License-Identifier: Apache-2.0
 * Remarks and probe records of many hosts: what only one host says gets its name, what many say
 * stands once with their number.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/merge_private.h"

enum { MAX_NODES_NAMED = 4 }; // a remark on more nodes than this stands once for all of them

/* The host whose graph it is, by name in `merged`; NULL: no host, or several. */
static const char *host_of_graph(const struct weft_merge *m, int graph)
{
    int found = -1;
    for (int i = m->first[graph]; i < m->first[graph + 1]; i++)
        if (m->host[i] == i && m->is_full[i]) {
            if (found >= 0)
                return NULL;
            found = i;
        }
    return found < 0 ? NULL : m->merged->nodes[m->node[weft_merge_root(m, found)]].name;
}

/* ---- remarks ---- */

struct note {
    const struct weft_remark *remark;
    int node; // of `merged`
    int graph;
};

static int compare_subjects(const struct note *a, const struct note *b)
{
    if (a->remark->kind != b->remark->kind)
        return a->remark->kind < b->remark->kind ? -1 : 1;
    if (a->remark->source != b->remark->source)
        return a->remark->source < b->remark->source ? -1 : 1;
    return strcmp(a->remark->text, b->remark->text);
}

static int compare_notes(const void *x, const void *y)
{
    const struct note *a = x, *b = y;
    int difference = compare_subjects(a, b);
    if (difference)
        return difference;
    if (a->node != b->node)
        return a->node < b->node ? -1 : 1;
    return (a->graph > b->graph) - (a->graph < b->graph);
}

/* The notes differ in node and graph only, and are sorted by them. */
static weft_status fold_notes(struct weft_merge *m, const struct note *notes, int count,
                              const char *const *hosts)
{
    const struct weft_remark *remark = notes[0].remark;
    struct weft_topology *t = m->merged;
    int num_nodes = 0, num_graphs = 0;
    for (int i = 0; i < count; i++) {
        bool is_new = i == 0 || notes[i].node != notes[i - 1].node;
        num_nodes += is_new && notes[i].node >= 0;
        num_graphs += notes[i].node < 0 && (is_new || notes[i].graph != notes[i - 1].graph);
    }
    const char *host = hosts[notes[0].graph];
    if (num_graphs == 1 && host && m->num_graphs > 1)
        WEFT_TRY(weft_topology_add_remark(t, remark->kind, remark->source, -1, m->error, "%s: %s",
                                          host, remark->text));
    else if (num_graphs == 1)
        WEFT_TRY(weft_topology_add_remark(t, remark->kind, remark->source, -1, m->error, "%s",
                                          remark->text));
    else if (num_graphs > 1)
        WEFT_TRY(weft_topology_add_remark(t, remark->kind, remark->source, -1, m->error,
                                          "%.220s (%d hosts)", remark->text, num_graphs));
    for (int i = 0; i < count; i++) {
        if (notes[i].node < 0 || (i > 0 && notes[i].node == notes[i - 1].node))
            continue;
        if (num_nodes > MAX_NODES_NAMED)
            return weft_topology_add_remark(t, remark->kind, remark->source, -1, m->error,
                                            "%.150s (on %d nodes, %.60s for one)", remark->text,
                                            num_nodes, t->nodes[notes[i].node].name);
        WEFT_TRY(weft_topology_add_remark(t, remark->kind, remark->source, notes[i].node, m->error,
                                          "%s", remark->text));
    }
    return WEFT_OK;
}

static weft_status merge_remarks(struct weft_merge *m, const char *const *hosts)
{
    size_t room = 1;
    for (int g = 0; g < m->num_graphs; g++)
        room += (size_t)m->graphs[g]->num_remarks;
    struct note *notes = malloc(room * sizeof *notes);
    if (!notes)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    int count = 0;
    for (int g = 0; g < m->num_graphs; g++)
        for (int i = 0; i < m->graphs[g]->num_remarks; i++) {
            const struct weft_remark *remark = &m->graphs[g]->remarks[i];
            int node =
                remark->node < 0 ? -1 : m->node[weft_merge_root(m, m->first[g] + remark->node)];
            notes[count++] = (struct note){remark, node, g};
        }
    if (count)
        qsort(notes, (size_t)count, sizeof *notes, compare_notes);
    weft_status status = WEFT_OK;
    for (int i = 0, end; i < count && status == WEFT_OK; i = end) {
        for (end = i + 1; end < count && compare_subjects(&notes[i], &notes[end]) == 0;)
            end++;
        status = fold_notes(m, notes + i, end - i, hosts);
    }
    free(notes);
    return status;
}

/* ---- probes ---- */

struct record {
    const struct weft_probe_record *probe;
    int place;
    int graph;
};

static int compare_outcomes(const struct record *a, const struct record *b)
{
    int difference = strcmp(a->probe->name, b->probe->name);
    if (!difference)
        difference = (int)b->probe->available - (int)a->probe->available;
    return difference ? difference : strcmp(a->probe->reason, b->probe->reason);
}

static int compare_records(const void *x, const void *y)
{
    const struct record *a = x, *b = y;
    int difference = compare_outcomes(a, b);
    if (difference)
        return difference;
    return a->graph != b->graph ? (a->graph > b->graph) - (a->graph < b->graph)
                                : (a->place > b->place) - (a->place < b->place);
}

static weft_status fold_records(struct weft_merge *m, const struct record *records, int count,
                                const char *const *hosts)
{
    char text[WEFT_TOPOLOGY_NAME_BYTES];
    const struct weft_probe_record *probe = records[0].probe;
    const char *host = hosts[records[0].graph];
    int num_graphs = 0;
    for (int i = 0; i < count; i++)
        num_graphs += i == 0 || records[i].graph != records[i - 1].graph;
    if (num_graphs == m->num_graphs)
        snprintf(text, sizeof text, "%s", probe->reason);
    else if (num_graphs == 1)
        snprintf(text, sizeof text, "%.100s%s%.140s", host ? host : "one host",
                 *probe->reason ? ": " : "", probe->reason);
    else
        snprintf(text, sizeof text, "%d of %d hosts%s%.180s", num_graphs, m->num_graphs,
                 *probe->reason ? ": " : "", probe->reason);
    return weft_topology_add_probe(m->merged, probe->name, probe->available, text, m->error);
}

static weft_status merge_probes(struct weft_merge *m, const char *const *hosts)
{
    size_t room = 1;
    for (int g = 0; g < m->num_graphs; g++)
        room += (size_t)m->graphs[g]->num_probes;
    struct record *records = malloc(room * sizeof *records);
    if (!records)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    int count = 0;
    for (int g = 0; g < m->num_graphs; g++)
        for (int i = 0; i < m->graphs[g]->num_probes; i++)
            records[count++] = (struct record){&m->graphs[g]->probes[i], i, g};
    if (count)
        qsort(records, (size_t)count, sizeof *records, compare_records);
    weft_status status = WEFT_OK;
    for (int i = 0, end; i < count && status == WEFT_OK; i = end) {
        for (end = i + 1; end < count && compare_outcomes(&records[i], &records[end]) == 0;)
            end++;
        status = fold_records(m, records + i, end - i, hosts);
    }
    free(records);
    return status;
}

weft_status weft_merge_notes(struct weft_merge *m)
{
    const char **hosts = malloc((size_t)m->num_graphs * sizeof *hosts);
    if (!hosts)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    for (int g = 0; g < m->num_graphs; g++)
        hosts[g] = host_of_graph(m, g);
    weft_status status = merge_probes(m, hosts);
    if (status == WEFT_OK)
        status = merge_remarks(m, hosts);
    free(hosts);
    return status;
}
