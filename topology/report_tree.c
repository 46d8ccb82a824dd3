/*
 * SPDX-License-Identifier: Apache-2.0
 * The tree of the text report, with what is alike folded together: equal neighbours become one line
 * ("core0-31"), equal subtrees one line and the first of them.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/format.h"
#include "topology/report_private.h"

enum { NAME_COLUMNS = 34, MAX_DEPTH = WEFT_TOPOLOGY_MAX_DEPTH };

/* ---- which attributes a line shows, in this order; how; and which tell twins apart ---- */

enum attribute_form { FORM_TEXT, FORM_BYTES, FORM_NUMBER, FORM_THREADS };

static const struct {
    const char *key;
    enum attribute_form form;
    const char *label;
} shown[] = {
    {"product", FORM_TEXT, ""},
    {"model", FORM_TEXT, ""},
    {"os", FORM_TEXT, ""},
    {"os_release", FORM_TEXT, ""},
    {"memory_bytes", FORM_BYTES, ""},
    {"threads", FORM_THREADS, "thread"},
    {"l2_bytes", FORM_BYTES, "L2 "},
    {"l3_bytes", FORM_BYTES, "L3 "},
    {"interface", FORM_TEXT, ""},
    {"pci_address", FORM_TEXT, ""},
};

static const char *const identities[] = {
    "pci_address", "interface",    "rdma_device",  "mac", "node_guid",
    "os_index",    "first_thread", "memory_bytes", NULL,
};

static bool is_identity(const char *key)
{
    for (const char *const *known = identities; *known; known++)
        if (strcmp(*known, key) == 0)
            return true;
    return false;
}

static uint64_t mix(uint64_t hash, const void *data, size_t bytes)
{
    return XXH3_64bits_withSeed(data, bytes, hash);
}

static uint64_t mix_link(const struct weft_link *link, int other_kind)
{
    const struct weft_quantity *parts[] = {&link->bandwidth.nominal,  &link->bandwidth.current,
                                           &link->bandwidth.measured, &link->latency.nominal,
                                           &link->latency.current,    &link->latency.measured};
    const int integers[] = {link->kind, link->count, other_kind};
    uint64_t hash = mix(5, integers, sizeof integers);
    for (int i = 0; i < 6; i++)
        hash = mix(hash, &parts[i]->value, sizeof parts[i]->value);
    return hash;
}

void weft_report_find_shapes(struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    for (int i = 0; i < t->num_nodes; i++) {
        const struct weft_node *node = &t->nodes[i];
        uint64_t hash = mix(7, &node->kind, sizeof node->kind);
        for (const struct weft_attribute *a = node->attributes; a; a = a->next) {
            if (is_identity(a->key))
                continue;
            hash = mix(hash, a->key, strlen(a->key));
            hash = a->text ? mix(hash, a->text, strlen(a->text))
                           : mix(hash, &a->number, sizeof a->number);
        }
        r->shape[i] = hash;
        r->end[i] = i + 1;
    }
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        r->shape[link->from] += mix_link(link, t->nodes[link->to].kind);
        r->shape[link->to] += mix_link(link, t->nodes[link->from].kind);
    }
    for (int i = t->num_nodes; i-- > 0;) { // contents come after what contains them
        int parent = t->nodes[i].parent;
        if (parent < 0)
            continue;
        r->shape[parent] += mix(11, &r->shape[i], sizeof r->shape[i]);
        r->end[parent] = r->end[i] > r->end[parent] ? r->end[i] : r->end[parent];
    }
}

/* ---- lines ---- */

const char *weft_report_local_name(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash && slash[1] ? slash + 1 : name;
}

/* "core0-31" for numbered names, else "eth0 ... ib1". */
static void write_range(const char *first, const char *last, char *text, size_t size)
{
    size_t prefix = strlen(first);
    while (prefix > 0 && strchr("0123456789", first[prefix - 1]))
        prefix--;
    bool is_numbered = first[prefix] && strncmp(first, last, prefix) == 0 && last[prefix] &&
                       strspn(last + prefix, "0123456789") == strlen(last + prefix);
    snprintf(text, size, "%.100s%s%.100s", first, is_numbered ? "-" : " ... ",
             is_numbered ? last + prefix : last);
}

static const char *show_attribute(const struct weft_attribute *a, enum attribute_form form,
                                  char *text, size_t size)
{
    if (a->text)
        return a->text;
    if (form == FORM_BYTES)
        return weft_format_bytes(a->number, text, size);
    snprintf(text, size, form == FORM_THREADS ? "%lld %s%s" : "%lld", (long long)a->number,
             "thread", a->number == 1 ? "" : "s");
    return text;
}

static void write_description(const struct weft_report *r, int node, int count)
{
    const struct weft_topology *t = r->topology;
    const struct weft_node_kind *kind = &weft_node_kinds[t->nodes[node].kind];
    const char *separator = weft_report_glyph(r, " · ", ", ");
    char text[64];
    if (count > 1)
        fprintf(r->stream, "%d %s", count, kind->plural);
    else
        fputs(kind->singular, r->stream);
    bool is_opened = count > 1 && r->end[node] > node + 1;
    fputs(is_opened ? " alike" : "", r->stream);
    weft_report_style(r, WEFT_STYLE_DIM);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        const struct weft_attribute *a = weft_topology_attribute(t, node, shown[i].key);
        bool differs = count > 1 && is_identity(shown[i].key);
        if (!a || (differs && shown[i].form == FORM_TEXT) ||
            (shown[i].form == FORM_THREADS && a->number == 1))
            continue;
        fprintf(r->stream, "%s%s%.50s%s", separator,
                shown[i].form == FORM_THREADS ? "" : shown[i].label,
                show_attribute(a, shown[i].form, text, sizeof text), count > 1 ? " each" : "");
    }
    if (r->options->verbose)
        for (const struct weft_attribute *a = t->nodes[node].attributes; a; a = a->next) {
            fprintf(r->stream, "%s%s=", separator, a->key);
            if (a->text)
                fputs(a->text, r->stream);
            else
                fprintf(r->stream, "%lld", (long long)a->number);
            fprintf(r->stream, " [%s]", weft_source_names[a->source]);
        }
    weft_report_style(r, WEFT_STYLE_PLAIN);
    fputs(is_opened ? "; the first:\n" : "\n", r->stream);
}

/* `prefix` holds one character per level above: '|' where that level goes on, ' ' where not. */
static int write_branches(const struct weft_report *r, const char *prefix, bool is_last)
{
    int columns = 2;
    fputs("  ", r->stream);
    for (const char *level = prefix; *level; level++, columns += 3)
        fputs(*level == '|' ? weft_report_glyph(r, "│  ", "|  ") : "   ", r->stream);
    fputs(is_last ? weft_report_glyph(r, "└─ ", "`- ") : weft_report_glyph(r, "├─ ", "|- "),
          r->stream);
    return columns + 3;
}

static void write_node(const struct weft_report *r, int first, int last, int count, int columns)
{
    const struct weft_topology *t = r->topology;
    bool is_top = t->nodes[first].parent < 0;
    const char *name = t->nodes[first].name, *last_name = t->nodes[last].name;
    char text[224];
    if (!is_top) {
        name = weft_report_local_name(name);
        last_name = weft_report_local_name(last_name);
    }
    if (count > 1)
        write_range(name, last_name, text, sizeof text);
    else
        snprintf(text, sizeof text, "%.200s", name);
    columns += fprintf(r->stream, "%s", text);
    fprintf(r->stream, "%*s", columns < NAME_COLUMNS ? NAME_COLUMNS - columns : 2, "");
    write_description(r, first, count);
}

/* The nodes of one level from `at` to `end`, and what they contain. */
static void write_level(const struct weft_report *r, int at, int end, char *prefix, int depth)
{
    const struct weft_topology *t = r->topology;
    while (at < end) {
        int last = at, count = 1, next = r->end[at];
        while (!r->options->verbose && next < end && r->shape[next] == r->shape[at] &&
               t->nodes[next].kind == t->nodes[at].kind) {
            last = next;
            count++;
            next = r->end[next];
        }
        int columns = 2;
        if (depth == 0)
            fputs("  ", r->stream);
        else
            columns = write_branches(r, prefix, next >= end);
        write_node(r, at, last, count, columns);
        if (depth < MAX_DEPTH) {
            if (depth > 0)
                prefix[depth - 1] = next < end ? '|' : ' ';
            prefix[depth] = '\0';
            write_level(r, at + 1, r->end[at], prefix, depth + 1);
            prefix[depth > 0 ? depth - 1 : 0] = '\0';
        }
        at = next;
    }
}

void weft_report_tree(const struct weft_report *r)
{
    char prefix[MAX_DEPTH + 2] = "";
    weft_report_style(r, WEFT_STYLE_HEAD);
    fputs("What is there\n", r->stream);
    weft_report_style(r, WEFT_STYLE_PLAIN);
    write_level(r, 0, r->topology->num_nodes, prefix, 0);
    putc('\n', r->stream);
}
