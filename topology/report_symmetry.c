/*
 * SPDX-License-Identifier: Apache-2.0
 * The part of the text report that says what is alike and what is not: hosts, the GPUs of the
 * usual host, switches of one tier.
 */
#include <stdlib.h>
#include <string.h>

#include "topology/report_private.h"

enum {
    MAX_EXPLAINED = 256, // hosts held against the reference, -v too: each costs its size
    MAX_NAMED = 3,       // hosts with the same difference that are named
};

/* Hosts that differ in the same words. */
struct difference {
    char text[240];
    int hosts[MAX_NAMED];
    int count;
};

static void note_difference(struct difference *differences, int *count, const char *text, int host)
{
    int at = 0;
    while (at < *count && strcmp(differences[at].text, text) != 0)
        at++;
    if (at == *count) {
        memset(&differences[at], 0, sizeof differences[at]);
        snprintf(differences[at].text, sizeof differences[at].text, "%s", text);
        (*count)++;
    }
    if (differences[at].count < MAX_NAMED)
        differences[at].hosts[differences[at].count] = host;
    differences[at].count++;
}

static void write_difference(const struct weft_report *r, const struct difference *d)
{
    const struct weft_topology *t = r->topology;
    char text[512];
    size_t used = 0;
    for (int i = 0; i < d->count && i < MAX_NAMED; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.60s", i ? ", " : "",
                                 t->nodes[d->hosts[i]].name);
    if (d->count > MAX_NAMED)
        used +=
            (size_t)snprintf(text + used, sizeof text - used, " and %d more", d->count - MAX_NAMED);
    snprintf(text + used, sizeof text - used, ": %.240s", d->text);
    fputs("    ", r->stream);
    weft_report_wrap(r, text, 6);
}

static weft_status write_differences(const struct weft_report *r, int reference, int num_others)
{
    const struct weft_topology *t = r->topology;
    struct difference *differences = malloc(MAX_EXPLAINED * sizeof *differences);
    if (!differences)
        return weft_fail(r->error, WEFT_OUT_OF_MEMORY, "report: no memory");
    int count = 0, explained = 0;
    for (int i = 0; i < t->num_nodes && explained < MAX_EXPLAINED; i++) {
        char text[240], more[24] = "";
        if (t->nodes[i].kind != WEFT_NODE_HOST || weft_symmetry_class_of(r->symmetry, i) == 0)
            continue;
        int most = r->options->verbose ? 20 : r->tight ? 1 : 2;
        int found = weft_symmetry_explain_host(r->symmetry, i, reference, most, text,
                                               sizeof text - sizeof more);
        if (found > most)
            snprintf(more, sizeof more, " and more");
        memcpy(text + strlen(text), more, strlen(more) + 1);
        note_difference(differences, &count, text, i);
        explained++;
    }
    int shown = 0, most = weft_report_most(r, 4, 2);
    for (int i = 0; i < count && i < most; i++) {
        write_difference(r, &differences[i]);
        shown += differences[i].count;
    }
    if (shown < num_others)
        fprintf(r->stream, "    ... and %d more host%s differ%s%s\n", num_others - shown,
                num_others - shown == 1 ? "" : "s", num_others - shown == 1 ? "s" : "",
                r->options->verbose ? "" : " (-v shows more)");
    free(differences);
    return WEFT_OK;
}

static weft_status write_hosts(const struct weft_report *r, int num_hosts)
{
    int num_classes;
    const struct weft_symmetry_class *classes = weft_symmetry_classes(r->symmetry, &num_classes);
    const char *name = r->topology->nodes[classes[0].first].name;
    if (num_classes == 1) {
        fprintf(r->stream, "  %d hosts, all alike\n", num_hosts);
        return WEFT_OK;
    }
    if (classes[0].num_hosts == 1)
        fprintf(r->stream, "  %d hosts, no two alike; held against %.60s:\n", num_hosts, name);
    else
        fprintf(r->stream,
                "  %d of %d hosts are alike (%.60s is one); what is different elsewhere:\n",
                classes[0].num_hosts, num_hosts, name);
    return write_differences(r, classes[0].first, num_hosts - classes[0].num_hosts);
}

/* Nodes of one kind from `at` to `end`: those whose links are not as those of most. */
static weft_status write_peers(const struct weft_report *r, int kind, int at, int end,
                               const char *where)
{
    const struct weft_topology *t = r->topology;
    int count = 0, num_others, reference, shown = 0;
    for (int i = at; i < end; i++)
        count += t->nodes[i].kind == kind;
    if (count < 2)
        return WEFT_OK;
    int *nodes = malloc((size_t)count * sizeof *nodes);
    bool *is_other = malloc((size_t)count * sizeof *is_other);
    weft_status status = WEFT_OK;
    if (!nodes || !is_other)
        status = weft_fail(r->error, WEFT_OUT_OF_MEMORY, "report: no memory");
    count = 0;
    for (int i = at; status == WEFT_OK && i < end; i++)
        if (t->nodes[i].kind == kind)
            nodes[count++] = i;
    if (status == WEFT_OK)
        status = weft_symmetry_compare_peers(r->symmetry, nodes, count, is_other, &reference,
                                             &num_others, r->error);
    if (status == WEFT_OK) {
        if (num_others == 0)
            fprintf(r->stream, "  %d %s%s, all alike\n", count, weft_node_kinds[kind].plural,
                    where);
        else
            fprintf(r->stream, "  %d of %d %s%s are alike; not so:\n", count - num_others, count,
                    weft_node_kinds[kind].plural, where);
        int most = weft_report_most(r, 3, 1);
        for (int i = 0; i < count && shown < most; i++) {
            char text[240];
            if (!is_other[i])
                continue;
            weft_symmetry_explain_node(r->symmetry, nodes[i], reference, text, sizeof text);
            fputs("    ", r->stream);
            weft_report_wrap(r, text, 6);
            shown++;
        }
        if (num_others > shown)
            fprintf(r->stream, "    ... and %d more%s\n", num_others - shown,
                    r->options->verbose ? "" : " (-v shows more)");
    }
    free(nodes);
    free(is_other);
    return status;
}

weft_status weft_report_symmetry(const struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    int num_classes, num_hosts = weft_topology_count(t, WEFT_NODE_HOST);
    const struct weft_symmetry_class *classes = weft_symmetry_classes(r->symmetry, &num_classes);
    bool has_gpus = weft_topology_count(t, WEFT_NODE_GPU) > 1;
    int num_switches = weft_topology_count(t, WEFT_NODE_LEAF);
    if (num_hosts < 2 && !has_gpus && num_switches < 2)
        return WEFT_OK;
    weft_report_head(r, "What is alike");
    if (num_hosts > 1)
        WEFT_TRY(write_hosts(r, num_hosts));
    if (num_hosts > 0 && has_gpus) {
        char where[100] = "";
        if (num_hosts > 1)
            snprintf(where, sizeof where, " of %.60s", t->nodes[classes[0].first].name);
        WEFT_TRY(write_peers(r, WEFT_NODE_GPU, classes[0].first, r->end[classes[0].first], where));
    }
    static const int tiers[] = {WEFT_NODE_LEAF, WEFT_NODE_SPINE, WEFT_NODE_CORE_SWITCH};
    for (int i = 0; i < 3; i++)
        WEFT_TRY(write_peers(r, tiers[i], 0, t->num_nodes, ""));
    putc('\n', r->stream);
    return WEFT_OK;
}
