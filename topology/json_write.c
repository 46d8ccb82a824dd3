/*
 * SPDX-License-Identifier: Apache-2.0
 * Writing the graph as JSON, straight to the stream: millions of nodes need no second copy.
 */
#include "topology/json.h"

#include <inttypes.h>
#include <stdlib.h>

#include "topology/forms.h"

void weft_json_write_text(FILE *stream, const char *text)
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
    weft_json_write_text(stream, node->name);
    fprintf(stream, ", \"kind\": \"%s\"", weft_node_kinds[node->kind].name);
    if (node->parent >= 0) {
        fputs(", \"parent\": ", stream);
        weft_json_write_text(stream, t->nodes[node->parent].name);
    }
    for (const struct weft_attribute *a = node->attributes; a; a = a->next) {
        fputs(a == node->attributes ? ", \"attributes\": {" : ", ", stream);
        weft_json_write_text(stream, a->key);
        fputs(": {\"value\": ", stream);
        if (a->text)
            weft_json_write_text(stream, a->text);
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
    weft_json_write_text(stream, t->nodes[link->from].name);
    fputs(", \"to\": ", stream);
    weft_json_write_text(stream, t->nodes[link->to].name);
    if (link->count != 1)
        fprintf(stream, ", \"count\": %d", link->count);
    if (link->one_way)
        fputs(", \"one_way\": true", stream);
    if (link->from_port || link->to_port)
        fprintf(stream, ", \"ports\": [%d, %d]", link->from_port, link->to_port);
    write_figure(&link->bandwidth, "bandwidth", stream);
    write_figure(&link->latency, "latency", stream);
    putc('}', stream);
}

static const char *separator(int i)
{
    return i ? ",\n  " : "\n  ";
}

static void write_remark(const struct weft_topology *t, const struct weft_remark *remark, int i,
                         FILE *stream)
{
    fprintf(stream, "%s{\"kind\": \"%s\", \"source\": \"%s\"", separator(i),
            weft_remark_names[remark->kind], weft_source_names[remark->source]);
    if (remark->node >= 0) {
        fputs(", \"node\": ", stream);
        weft_json_write_text(stream, t->nodes[remark->node].name);
    }
    fputs(", \"text\": ", stream);
    weft_json_write_text(stream, remark->text);
    putc('}', stream);
}

/* The graph must be in canonical order. */
static weft_status write_sorted(const struct weft_topology *t, FILE *stream,
                                struct weft_error *error)
{
    (void)error;
    fputs("{\"format\": \"weft-topology\", \"version\": 1,\n \"probes\": [", stream);
    for (int i = 0; i < t->num_probes; i++) {
        fprintf(stream, "%s{\"name\": ", separator(i));
        weft_json_write_text(stream, t->probes[i].name);
        fprintf(stream,
                ", \"available\": %s, \"reason\": ", t->probes[i].available ? "true" : "false");
        weft_json_write_text(stream, t->probes[i].reason);
        putc('}', stream);
    }
    if (t->num_remarks)
        fputs("],\n \"remarks\": [", stream);
    for (int i = 0; i < t->num_remarks; i++)
        write_remark(t, &t->remarks[i], i, stream);
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
    return WEFT_OK;
}

const struct weft_exporter weft_exporter_json = {
    .name = "json",
    .description = "Weft's own JSON: everything there is",
    .write = write_sorted,
};

weft_status weft_topology_write_json(const struct weft_topology *topology, FILE *stream,
                                     struct weft_error *error)
{
    return weft_topology_export(&weft_exporter_json, topology, stream, error);
}

weft_status weft_topology_to_json(const struct weft_topology *topology, char **text, size_t *bytes,
                                  struct weft_error *error)
{
    *text = NULL;
    FILE *stream = open_memstream(text, bytes);
    weft_status status = stream ? weft_topology_write_json(topology, stream, error) : WEFT_OK;
    if (stream && fclose(stream) == 0 && status == WEFT_OK)
        return WEFT_OK;
    free(*text);
    *text = NULL;
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory for it as JSON");
}
