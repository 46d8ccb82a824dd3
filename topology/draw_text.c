/*
 * SPDX-License-Identifier: Apache-2.0
 * The words of a drawing: labels, values, figures, and the one place where text of strangers is
 * made harmless for XML and HTML.
 */
#include <inttypes.h>
#include <string.h>

#include "base/format.h"
#include "topology/draw_private.h"

static void write_escaped(FILE *stream, unsigned char c)
{
    switch (c) {
    case '&':
        fputs("&amp;", stream);
        return;
    case '<':
        fputs("&lt;", stream);
        return;
    case '>':
        fputs("&gt;", stream);
        return;
    case '"':
        fputs("&quot;", stream);
        return;
    case '\'':
        fputs("&#39;", stream);
        return;
    default: // graphs hold printable ASCII only; lines of a title are ours
        putc(c >= 0x7f || (c < 0x20 && c != '\n') ? '?' : c, stream);
    }
}

void weft_draw_escaped(FILE *stream, const char *text)
{
    for (; *text; text++)
        write_escaped(stream, (unsigned char)*text);
}

void weft_draw_fitted(FILE *stream, const char *text, int width, int pixels)
{
    int room = width * 10 / pixels, length = (int)strlen(text);
    if (length <= room) {
        weft_draw_escaped(stream, text);
        return;
    }
    // what tells names apart is as a rule at their ends
    int head = room > 8 ? (room - 1) / 2 : 0, tail = room - 1 - head;
    for (int i = 0; i < head; i++)
        write_escaped(stream, (unsigned char)text[i]);
    fputs("\xe2\x80\xa6", stream); // an ellipsis
    if (tail > 0)
        weft_draw_escaped(stream, text + length - tail);
}

const char *weft_draw_local_name(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash && slash[1] ? slash + 1 : name;
}

void weft_draw_label(const struct weft_drawing *d, int index, char *text, size_t size)
{
    const struct weft_draw_box *box = &d->boxes[index];
    const struct weft_node *nodes = d->topology->nodes;
    const struct weft_node_kind *kind = &weft_node_kinds[nodes[box->node].kind];
    const char *first = nodes[box->node].name, *last = nodes[box->last].name;
    if (nodes[box->node].parent >= 0) {
        first = weft_draw_local_name(first);
        last = weft_draw_local_name(last);
    }
    if (box->style == WEFT_DRAW_BLOCK)
        snprintf(text, size, "%d %s", box->count, box->count == 1 ? kind->singular : kind->plural);
    else if (box->count == 1 || (box->style == WEFT_DRAW_TAG && !box->mixed))
        snprintf(text, size, "%s", first);
    else if (box->style == WEFT_DRAW_TAG)
        snprintf(text, size, "%s ...", first);
    else if (box->mixed)
        snprintf(text, size, "%d more", box->count);
    else if (box->style == WEFT_DRAW_MINI || box->style == WEFT_DRAW_BAR)
        snprintf(text, size, "%d %s", box->count, kind->plural);
    else if (box->count == 2)
        snprintf(text, size, "%s, %s", first, last);
    else
        snprintf(text, size, "%s ... %s", first, last);
}

void weft_draw_contents(const struct weft_drawing *d, int node, char *text, size_t size)
{
    static const int kinds[] = {WEFT_NODE_GPU, WEFT_NODE_NIC, WEFT_NODE_CORE};
    size_t used = 0;
    text[0] = '\0';
    for (int k = 0; k < 3; k++) {
        int count = 0;
        for (int i = node + 1; i < d->end[node]; i++)
            count += d->topology->nodes[i].kind == kinds[k];
        if (count == 0 || used >= size || (kinds[k] == WEFT_NODE_CORE && used > 0))
            continue;
        const struct weft_node_kind *kind = &weft_node_kinds[kinds[k]];
        used += (size_t)snprintf(text + used, size - used, "%s%d %s", used ? ", " : "", count,
                                 count == 1 ? kind->singular : kind->plural);
    }
}

/* Vendors begin with themselves, and PCI names end with the product in brackets. */
static void write_model(const char *model, char *text, size_t size)
{
    static const char *const prefixes[] = {"NVIDIA Corporation ", "NVIDIA ", "Tesla ",
                                           "Advanced Micro Devices, Inc. ", "AMD "};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(model, prefixes[i], strlen(prefixes[i])) == 0)
            model += strlen(prefixes[i]);
    const char *open = strrchr(model, '['), *close = strrchr(model, ']');
    if (open && close && close > open + 1)
        snprintf(text, size, "%.*s", (int)(close - open - 1), open + 1);
    else
        snprintf(text, size, "%s", model);
}

void weft_draw_subtitle(const struct weft_drawing *d, int index, char *text, size_t size)
{
    const struct weft_draw_box *box = &d->boxes[index];
    const struct weft_topology *t = d->topology;
    const struct weft_node_kind *kind = &weft_node_kinds[t->nodes[box->node].kind];
    const char *model = weft_topology_text(t, box->node, "model");
    int64_t memory = weft_topology_number(t, box->node, "memory_bytes", 0);
    char bytes[32];
    text[0] = '\0';
    if (box->style == WEFT_DRAW_MINI && box->count > 1 && !box->mixed) {
        snprintf(text, size, "%s ... %s", t->nodes[box->node].name, t->nodes[box->last].name);
    } else if (box->count > 1 && !box->mixed) {
        snprintf(text, size, "%d %s alike", box->count, kind->plural);
    } else if (box->mixed) {
        snprintf(text, size, "not drawn one by one");
    } else if (box->style == WEFT_DRAW_CONTAINER) {
        if (memory > 0)
            snprintf(text, size, "%s", weft_format_bytes(memory, bytes, sizeof bytes));
        else if (model || weft_topology_text(t, box->node, "product"))
            snprintf(text, size, "%s", model ? model : weft_topology_text(t, box->node, "product"));
    } else if (model) {
        write_model(model, text, size);
    } else if (t->nodes[box->node].kind == WEFT_NODE_NIC) {
        const char *interface = weft_topology_text(t, box->node, "interface");
        if (box->speed > 0)
            snprintf(text, size, "%" PRId64 " Gb/s", box->speed / 125000000);
        else if (interface && strcmp(interface, weft_draw_local_name(t->nodes[box->node].name)))
            snprintf(text, size, "%s", interface);
    }
    const char *label = weft_draw_local_name(t->nodes[box->node].name);
    bool is_said = strncmp(label, kind->name, strlen(kind->name)) == 0 ||
                   (box->style == WEFT_DRAW_CHIP && t->nodes[box->node].kind == WEFT_NODE_NIC);
    if (!text[0] && !is_said)
        snprintf(text, size, "%s", kind->singular);
}

void weft_draw_value(const struct weft_attribute *a, char *text, size_t size)
{
    size_t length = strlen(a->key);
    bool is_size = length > 6 && strcmp(a->key + length - 6, "_bytes") == 0;
    char bytes[32];
    if (a->text)
        snprintf(text, size, "%s", a->text);
    else if (is_size && a->number >= 1024)
        snprintf(text, size, "%s (%" PRId64 ")", weft_format_bytes(a->number, bytes, sizeof bytes),
                 a->number);
    else
        snprintf(text, size, "%" PRId64, a->number);
}

static size_t append_figure(const struct weft_figure *figure, const char *what,
                            const char *(*format)(int64_t, char *, size_t), char *text, size_t size)
{
    static const char *const forms[] = {"nominal", "current", "measured"};
    const struct weft_quantity *values[] = {&figure->nominal, &figure->current, &figure->measured};
    char number[32];
    size_t used = 0;
    for (int i = 0; i < 3; i++)
        if (values[i]->value >= 0 && used < size)
            used +=
                (size_t)snprintf(text + used, size - used, "%s%s%s %s [%s]", used ? ", " : what,
                                 used ? "" : ": ", format(values[i]->value, number, sizeof number),
                                 forms[i], weft_source_names[values[i]->source]);
    return used < size ? used : size - 1;
}

void weft_draw_figures(const struct weft_link *link, char *text, size_t size)
{
    text[0] = '\0';
    size_t used = append_figure(&link->bandwidth, "bandwidth", weft_format_bandwidth, text, size);
    if (used > 0 && used + 2 < size && weft_figure_best(&link->latency).value >= 0) {
        text[used++] = ';';
        text[used++] = ' ';
        text[used] = '\0';
    }
    append_figure(&link->latency, "latency", weft_format_latency, text + used, size - used);
}

/* Linear in the logarithm, in steps of half an octave from 250 MB/s on, without floating point. */
int weft_draw_stroke(int64_t bandwidth)
{
    uint64_t steps = (uint64_t)bandwidth / 250000000;
    int half_octaves = 0;
    steps = steps > UINT32_MAX ? UINT32_MAX : steps;
    for (uint64_t square = steps * steps; square > 1; square /= 2)
        half_octaves++;
    return 6 + 2 * half_octaves;
}

void weft_draw_title(const struct weft_topology *t, char *text, size_t size)
{
    int hosts = weft_topology_count(t, WEFT_NODE_HOST), host = 0;
    while (host < t->num_nodes && t->nodes[host].kind != WEFT_NODE_HOST)
        host++;
    if (hosts == 1)
        snprintf(text, size, "Topology of %s", t->nodes[host].name);
    else
        snprintf(text, size, "Topology of %d hosts", hosts);
}

void weft_draw_counts(const struct weft_topology *t, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int kind = 0; kind < WEFT_NUM_NODE_KINDS && used < size; kind++) {
        int count = weft_topology_count(t, kind);
        if (count > 0)
            used += (size_t)snprintf(text + used, size - used, "%d %s, ", count,
                                     count > 1 ? weft_node_kinds[kind].plural
                                               : weft_node_kinds[kind].singular);
    }
    if (used < size)
        snprintf(text + used, size - used, "%d link%s", t->num_links, t->num_links == 1 ? "" : "s");
}
