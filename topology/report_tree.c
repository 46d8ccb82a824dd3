/*
 * SPDX-License-Identifier: Apache-2.0
 * The tree of the text report, with what is alike folded together: equal neighbours become one line
 * ("core0-31"), equal subtrees one line and the first of them.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/format.h"
#include "topology/report_private.h"

enum {
    COLUMNS = WEFT_REPORT_COLUMNS,
    NAME_COLUMNS = 34,
    MAX_DEPTH = WEFT_TOPOLOGY_MAX_DEPTH,
    MAX_OPENED = 32
};

/* ---- which attributes a line shows, in this order; how; and which tell twins apart ---- */

enum attribute_form { FORM_TEXT, FORM_BYTES, FORM_NUMBER, FORM_THREADS, FORM_MBPS };

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
    {"rate_mbps", FORM_MBPS, ""},
    {"interface", FORM_TEXT, ""},
    {"rdma_device", FORM_TEXT, ""},
    {"pci_address", FORM_TEXT, ""},
};

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
        r->shape[i] = weft_symmetry_facts(r->symmetry, i);
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

void weft_report_range(const char *first, const char *last, int count, char *text, size_t size)
{
    size_t prefix = strlen(first);
    while (prefix > 0 && strchr("0123456789", first[prefix - 1]))
        prefix--;
    bool is_numbered = first[prefix] && strncmp(first, last, prefix) == 0 && last[prefix] &&
                       strspn(last + prefix, "0123456789") == strlen(last + prefix);
    if (is_numbered && count > 0)
        is_numbered = strtoll(last + prefix, NULL, 10) - strtoll(first + prefix, NULL, 10) ==
                      (long long)count - 1;
    if (strcmp(first, last) == 0)
        snprintf(text, size, "%.200s", first);
    else
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
    if (form == FORM_MBPS) { // in bits, as networks are sold
        snprintf(text, size, "%.4g Gb/s", (double)a->number / 1000);
        return text;
    }
    snprintf(text, size, form == FORM_THREADS ? "%lld %s%s" : "%lld", (long long)a->number,
             "thread", a->number == 1 ? "" : "s");
    return text;
}

/* Appends to a text of bounded columns; what does not fit is cut. */
struct description {
    char text[1024];
    size_t used, room;
};

static void append(struct description *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void append(struct description *d, const char *format, ...)
{
    char piece[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    if (d->used + strlen(piece) <= d->room)
        d->used += (size_t)snprintf(d->text + d->used, sizeof d->text - d->used, "%s", piece);
    else
        d->room = 0; // nothing shorter after a gap
}

/* The usual attributes, as far as there is room; each is cut off whole. */
static void write_attributes(const struct weft_report *r, int node, int count, int columns)
{
    const struct weft_topology *t = r->topology;
    struct description d = {.room = sizeof d.text - 1};
    char text[64];
    if (!r->options->verbose)
        d.room = columns < COLUMNS ? (size_t)(COLUMNS - columns) : 0;
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        const struct weft_attribute *a = weft_topology_attribute(t, node, shown[i].key);
        bool differs = count > 1 && !weft_symmetry_counts(r->symmetry, shown[i].key);
        if (!a || (differs && shown[i].form == FORM_TEXT) ||
            (shown[i].form == FORM_THREADS && a->number == 1))
            continue;
        // a separator is 3 columns, with ASCII 2
        append(&d, "\t%s%.50s%s", shown[i].form == FORM_THREADS ? "" : shown[i].label,
               show_attribute(a, shown[i].form, text, sizeof text), count > 1 ? " each" : "");
        d.room -= d.room > 2 ? 2 : d.room;
    }
    for (const char *at = d.text; *at; at++)
        if (*at == '\t')
            fputs(weft_report_glyph(r, " · ", ", "), r->stream);
        else
            putc(*at, r->stream);
}

static void write_every_attribute(const struct weft_report *r, int node)
{
    for (const struct weft_attribute *a = r->topology->nodes[node].attributes; a; a = a->next) {
        fprintf(r->stream, "%s%s=", weft_report_glyph(r, " · ", ", "), a->key);
        if (a->text)
            fputs(a->text, r->stream);
        else
            fprintf(r->stream, "%lld", (long long)a->number);
        fprintf(r->stream, " [%s]", weft_source_names[a->source]);
    }
}

/* `like`: an earlier node that looks the same and was opened; the node itself: it is the only one
 * of its class, and said to differ; -1: it is opened. */
static void write_description(const struct weft_report *r, int node, int count, int columns,
                              int like)
{
    const struct weft_topology *t = r->topology;
    const struct weft_node_kind *kind = &weft_node_kinds[t->nodes[node].kind];
    if (count > 1)
        columns += fprintf(r->stream, "%d %s", count, kind->plural);
    else
        columns += fprintf(r->stream, "%s", kind->singular);
    if (like >= 0) {
        fprintf(r->stream, like == node ? ", see above for what is different\n" : " like %.60s\n",
                t->nodes[like].name);
        return;
    }
    bool is_opened = count > 1 && r->end[node] > node + 1;
    if (is_opened)
        columns += fprintf(r->stream, " alike") + (int)strlen("; the first:");
    weft_report_style(r, WEFT_STYLE_DIM);
    write_attributes(r, node, count, columns);
    if (r->options->verbose)
        write_every_attribute(r, node);
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

static void write_node(const struct weft_report *r, int first, int last, int count, int columns,
                       int like)
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
        weft_report_range(name, last_name, count, text, sizeof text);
    else
        snprintf(text, sizeof text, "%.200s", name);
    columns += fprintf(r->stream, "%s", text);
    columns += fprintf(r->stream, "%*s", columns < NAME_COLUMNS ? NAME_COLUMNS - columns : 2, "");
    write_description(r, first, count, columns, like);
}

/* Where writing stands: lines beyond the limit are only counted, and of top nodes that look like an
 * earlier one only one line is written. */
struct tree {
    const struct weft_report *report;
    int lines, hidden;
    int opened[MAX_OPENED]; // top nodes
    int num_opened;
    char prefix[MAX_DEPTH + 2];
};

static int opened_like(const struct tree *tree, int node)
{
    const uint64_t *shape = tree->report->shape;
    for (int i = 0; i < tree->num_opened; i++)
        if (shape[tree->opened[i]] == shape[node])
            return tree->opened[i];
    return -1;
}

/* The only host of its class, among others that are alike: the words about it say more than a tree.
 */
static bool is_odd(const struct weft_report *r, int node)
{
    int num_classes, class = weft_symmetry_class_of(r->symmetry, node);
    const struct weft_symmetry_class *classes = weft_symmetry_classes(r->symmetry, &num_classes);
    return class > 0 && 2 * classes[class].num_hosts <= classes[0].num_hosts;
}

/* See write_description. */
static int find_like(struct tree *tree, int node)
{
    int like = opened_like(tree, node);
    if (like >= 0)
        return like;
    if (is_odd(tree->report, node))
        return node;
    if (tree->num_opened < MAX_OPENED)
        tree->opened[tree->num_opened++] = node;
    return -1;
}

static void write_line(struct tree *tree, int at, int last, int count, int depth, bool is_last,
                       int like)
{
    const struct weft_report *r = tree->report;
    if (!r->options->verbose && tree->lines >= r->tree_lines) {
        tree->hidden++;
        return;
    }
    tree->lines++;
    int columns = 2;
    if (depth == 0)
        fputs("  ", r->stream);
    else
        columns = write_branches(r, tree->prefix, is_last);
    write_node(r, at, last, count, columns, like);
}

/* The nodes of one level from `at` to `end`, and what they contain. */
static void write_level(struct tree *tree, int at, int end, int depth)
{
    const struct weft_report *r = tree->report;
    const struct weft_topology *t = r->topology;
    while (at < end) {
        int last = at, count = 1, next = r->end[at], like = -1;
        while (!r->options->verbose && next < end && r->shape[next] == r->shape[at] &&
               t->nodes[next].kind == t->nodes[at].kind) {
            last = next;
            count++;
            next = r->end[next];
        }
        if (depth == 0 && !r->options->verbose && r->end[at] > at + 1)
            like = find_like(tree, at);
        write_line(tree, at, last, count, depth, next >= end, like);
        if (depth < MAX_DEPTH && like < 0) {
            if (depth > 0)
                tree->prefix[depth - 1] = next < end ? '|' : ' ';
            tree->prefix[depth] = '\0';
            write_level(tree, at + 1, r->end[at], depth + 1);
            tree->prefix[depth > 0 ? depth - 1 : 0] = '\0';
        }
        at = next;
    }
}

void weft_report_tree(const struct weft_report *r)
{
    struct tree tree = {.report = r};
    weft_report_head(r, "What is there");
    write_level(&tree, 0, r->topology->num_nodes, 0);
    if (tree.hidden)
        fprintf(r->stream, "  ... and %d more line%s (-v shows all)\n", tree.hidden,
                tree.hidden == 1 ? "" : "s");
    putc('\n', r->stream);
}
