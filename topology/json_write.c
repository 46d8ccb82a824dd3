/*
 * SPDX-License-Identifier: Apache-2.0
 * Writing the graph as JSON, straight to the stream: millions of nodes need no second copy.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "topology/json.h"

/* Strings in a graph are printable ASCII. */
static void write_text(FILE *stream, const char *text)
{
    putc('"', stream);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putc('\\', stream);
        putc(*text, stream);
    }
    putc('"', stream);
}

static void write_node(const struct weft_topology *t, const struct weft_node *node, FILE *stream)
{
    fputs("{\"name\": ", stream);
    write_text(stream, node->name);
    fprintf(stream, ", \"kind\": \"%s\"", weft_node_kinds[node->kind].name);
    if (node->parent >= 0) {
        fputs(", \"parent\": ", stream);
        write_text(stream, t->nodes[node->parent].name);
    }
    for (const struct weft_attribute *a = node->attributes; a; a = a->next) {
        fputs(a == node->attributes ? ", \"attributes\": {" : ", ", stream);
        write_text(stream, a->key);
        fputs(": {\"value\": ", stream);
        if (a->text)
            write_text(stream, a->text);
        else
            fprintf(stream, "%" PRId64, a->number);
        fprintf(stream, ", \"source\": \"%s\"}%s", weft_source_names[a->source],
                a->next ? "" : "}");
    }
    putc('}', stream);
}

static void write_figure(const struct weft_figure *figure, const char *name, FILE *stream)
{
    static const char *const forms[] = {"nominal", "current", "measured"};
    const struct weft_quantity *values[] = {&figure->nominal, &figure->current, &figure->measured};
    bool any = false;
    for (int i = 0; i < 3; i++) {
        if (values[i]->value < 0)
            continue;
        if (!any)
            fprintf(stream, ", \"%s\": {", name);
        fprintf(stream, "%s\"%s\": {\"value\": %" PRId64 ", \"source\": \"%s\"}", any ? ", " : "",
                forms[i], values[i]->value, weft_source_names[values[i]->source]);
        any = true;
    }
    if (any)
        putc('}', stream);
}

static void write_link(const struct weft_topology *t, const struct weft_link *link, FILE *stream)
{
    fprintf(stream, "{\"kind\": \"%s\", \"from\": ", weft_link_kinds[link->kind].name);
    write_text(stream, t->nodes[link->from].name);
    fputs(", \"to\": ", stream);
    write_text(stream, t->nodes[link->to].name);
    if (link->count != 1)
        fprintf(stream, ", \"count\": %d", link->count);
    write_figure(&link->bandwidth, "bandwidth", stream);
    write_figure(&link->latency, "latency", stream);
    putc('}', stream);
}

static const char *separator(int i)
{
    return i ? ",\n  " : "\n  ";
}

/* The graph must be in canonical order. */
static weft_status write_sorted(const struct weft_topology *t, FILE *stream,
                                struct weft_error *error)
{
    fputs("{\"format\": \"weft-topology\", \"version\": 1,\n \"probes\": [", stream);
    for (int i = 0; i < t->num_probes; i++) {
        fprintf(stream, "%s{\"name\": ", separator(i));
        write_text(stream, t->probes[i].name);
        fprintf(stream,
                ", \"available\": %s, \"reason\": ", t->probes[i].available ? "true" : "false");
        write_text(stream, t->probes[i].reason);
        putc('}', stream);
    }
    fputs("],\n \"nodes\": [", stream);
    for (int i = 0; i < t->num_nodes; i++) {
        fputs(separator(i), stream);
        write_node(t, &t->nodes[i], stream);
    }
    fputs("],\n \"links\": [", stream);
    for (int i = 0; i < t->num_links; i++) {
        fputs(separator(i), stream);
        write_link(t, &t->links[i], stream);
    }
    fputs("]}\n", stream);
    errno = 0;
    if (fflush(stream) != 0 || ferror(stream))
        return weft_fail(error, WEFT_SYSTEM, "writing the topology failed: %s", strerror(errno));
    return WEFT_OK;
}

weft_status weft_topology_write_json(const struct weft_topology *topology, FILE *stream,
                                     struct weft_error *error)
{
    // Sorting is in place; a copy through the same calls that any builder uses keeps `topology`.
    struct weft_topology *copy;
    WEFT_TRY(weft_topology_copy(topology, &copy, error));
    weft_status status = weft_topology_sort(copy, error);
    if (status == WEFT_OK)
        status = write_sorted(copy, stream, error);
    weft_topology_destroy(&copy);
    return status;
}
