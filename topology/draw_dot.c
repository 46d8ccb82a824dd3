/*
 * SPDX-License-Identifier: Apache-2.0
 * The graph for Graphviz: clusters by containment, one edge per link, nothing folded. Layout and
 * looks are Graphviz's; try `dot -Tsvg`, and `fdp` for large fabrics.
 */
#include <string.h>

#include "topology/draw_private.h"
#include "topology/forms.h"

static const char *node_colour(int kind)
{
    switch (kind) {
    case WEFT_NODE_GPU:
        return "#d6efc6";
    case WEFT_NODE_NVSWITCH:
        return "#aedd91";
    case WEFT_NODE_NIC:
        return "#fde3c4";
    case WEFT_NODE_CPU:
    case WEFT_NODE_NUMA:
    case WEFT_NODE_CORE:
        return "#eaf1fa";
    case WEFT_NODE_PCIE_ROOT:
    case WEFT_NODE_PCIE_SWITCH:
        return "#f0e8da";
    default:
        return weft_node_kinds[kind].is_switch ? "#e6defa" : "#ffffff";
    }
}

static const char *const link_colours[WEFT_NUM_LINK_KINDS] = {
    [WEFT_LINK_MEMORY] = "#7f9cc8", [WEFT_LINK_SOCKET] = "#2f62ad",  [WEFT_LINK_ROOT] = "#8d8069",
    [WEFT_LINK_PCIE] = "#a9742b",   [WEFT_LINK_NVLINK] = "#4b9a1d",  [WEFT_LINK_XGMI] = "#d03a52",
    [WEFT_LINK_C2C] = "#0b8f82",    [WEFT_LINK_NETWORK] = "#7350c8",
};

/* A quoted string: a backslash would begin an escape such as \N, the node's own name. */
static void write_quoted(FILE *stream, const char *text)
{
    putc('"', stream);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putc('\\', stream);
        putc(*text < 0x20 || *text > 0x7e ? '?' : *text, stream);
    }
    putc('"', stream);
}

static void write_node(const struct weft_topology *t, int index, FILE *stream)
{
    const struct weft_node *node = &t->nodes[index];
    fprintf(stream, "n%d [label=", index);
    write_quoted(stream, node->parent < 0 ? node->name : weft_draw_local_name(node->name));
    fputs(", tooltip=", stream);
    write_quoted(stream, node->name);
    fprintf(stream, ", fillcolor=\"%s\"]\n", node_colour(node->kind));
}

static void write_nodes(const struct weft_topology *t, FILE *stream)
{
    int open[WEFT_TOPOLOGY_MAX_DEPTH + 1], depth = 0;
    for (int i = 0; i < t->num_nodes; i++) { // canonical order: what a node contains follows it
        for (; depth > 0 && open[depth - 1] != t->nodes[i].parent; depth--)
            fputs("}\n", stream);
        bool contains = i + 1 < t->num_nodes && t->nodes[i + 1].parent == i;
        if (contains && depth < WEFT_TOPOLOGY_MAX_DEPTH) {
            fprintf(stream, "subgraph cluster_%d { label=\"\"\n", i);
            open[depth++] = i;
        }
        write_node(t, i, stream);
    }
    for (; depth > 0; depth--)
        fputs("}\n", stream);
}

static weft_status write_dot(const struct weft_topology *t, FILE *stream, struct weft_error *error)
{
    (void)error;
    fputs("graph weft {\ncompound=true rankdir=TB style=rounded color=\"#98a2b0\" "
          "fontname=\"Helvetica\"\nnode [shape=box style=\"rounded,filled\" fontname=\"Helvetica\" "
          "fontsize=10 height=0.3]\nedge [fontname=\"Helvetica\" fontsize=8]\n",
          stream);
    write_nodes(t, stream);
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        char text[512];
        int stroke = weft_draw_stroke(weft_link_bandwidth(link).value);
        weft_draw_figures(link, text, sizeof text);
        fprintf(stream, "n%d -- n%d [color=\"%s\" penwidth=%d.%d edgetooltip=", link->from,
                link->to, link_colours[link->kind], stroke / 10, stroke % 10);
        write_quoted(stream, text[0] ? text : weft_link_kinds[link->kind].name);
        if (link->from_port || link->to_port)
            fprintf(stream, " taillabel=\"%d\" headlabel=\"%d\"", link->from_port, link->to_port);
        fprintf(stream, "%s]\n", link->one_way ? " dir=forward" : "");
    }
    fputs("}\n", stream);
    return WEFT_OK;
}

const struct weft_exporter weft_exporter_dot = {
    .name = "dot",
    .description = "Graphviz",
    .write = write_dot,
};
