/*
 * SPDX-License-Identifier: Apache-2.0
 * The lists below a page's drawing: every node with its attributes as a tree, every link with its
 * figures. The drawing's tips are made from them. A graph beyond WEFT_DRAW_MAX_LISTED nodes is
 * listed as far as it is drawn, its other hosts and switches by name; what is left out is said.
 */
#include <stdlib.h>

#include "topology/draw_lists.h"

static void write_attributes(const struct weft_node *node, FILE *stream)
{
    char value[WEFT_TOPOLOGY_NAME_BYTES + 40];
    if (!node->attributes)
        return;
    fputs("<table>", stream);
    for (const struct weft_attribute *a = node->attributes; a; a = a->next) {
        fputs("<tr><th>", stream);
        weft_draw_escaped(stream, a->key);
        fputs("<td>", stream);
        weft_draw_value(a, value, sizeof value);
        weft_draw_escaped(stream, value);
        fprintf(stream, "<td>%s", weft_source_names[a->source]);
    }
    fputs("</table>", stream);
}

void weft_draw_boxes_of(const struct weft_drawing *d, int node, FILE *stream)
{
    int boxes[] = {d->map_box[node], d->inside_box[node]};
    bool any = false;
    for (int i = 0; i < 2; i++)
        if (boxes[i] >= 0) {
            fprintf(stream, "%sb%d", any ? " " : "", boxes[i]);
            any = true;
        }
}

/* Opens an entry that the node's contents may follow in. */
static void open_entry(const struct weft_drawing *d, int index, FILE *stream)
{
    const struct weft_node *node = &d->topology->nodes[index];
    const char *tag = d->end[index] > index + 1 || node->attributes ? "details" : "div";
    fprintf(stream, "<%s class=n id=n%d data-kind=\"%s\" data-boxes=\"", tag, index,
            weft_node_kinds[node->kind].singular);
    weft_draw_boxes_of(d, index, stream);
    fputs("\" data-node=\"", stream);
    weft_draw_escaped(stream, node->name);
    fprintf(stream, "\">%s", tag[1] == 'e' ? "<summary>" : "");
    weft_draw_escaped(stream, node->name);
    fprintf(stream, " <i>%s</i>%s", weft_node_kinds[node->kind].singular,
            tag[1] == 'e' ? "</summary>" : "");
    write_attributes(node, stream);
}

static void close_entry(const struct weft_drawing *d, int index, FILE *stream)
{
    bool is_open = d->end[index] > index + 1 || d->topology->nodes[index].attributes;
    fputs(is_open ? "</details>\n" : "</div>\n", stream);
}

/* Closes `node` and what it is in, up to `until` (the next node's parent). */
static void close_entries(const struct weft_drawing *d, int node, int until, FILE *stream)
{
    for (; node >= 0 && node != until; node = d->topology->nodes[node].parent)
        close_entry(d, node, stream);
}

static void write_whole(const struct weft_drawing *d, int from, int end, FILE *stream)
{
    for (int i = from; i < end; i++) {
        open_entry(d, i, stream);
        close_entries(d, i, i + 1 < end ? d->topology->nodes[i + 1].parent : -1, stream);
    }
}

/* Whether a box was drawn for this root itself, so that its contents are worth listing. */
static bool is_shown(const struct weft_drawing *d, int root)
{
    int map = d->map_box[root];
    return d->inside_box[root] >= 0 || (map >= 0 && d->boxes[map].node == root);
}

void weft_draw_choose_listed(const struct weft_drawing *d, struct weft_listed *listed)
{
    const struct weft_topology *t = d->topology;
    bool all = t->num_nodes <= WEFT_DRAW_MAX_LISTED;
    listed->is_whole = all;
    listed->num_full = listed->num_named = 0;
    for (int i = 0; i < t->num_nodes; i = d->end[i]) {
        int size = d->end[i] - i;
        bool fits = all || (is_shown(d, i) && size <= WEFT_DRAW_MAX_LISTED - listed->num_full);
        if (fits)
            listed->num_full += size;
        else if (listed->num_named < WEFT_DRAW_MAX_LISTED)
            listed->num_named++;
        listed->is_full[i] = fits;
    }
}

void weft_draw_nodes(const struct weft_drawing *d, const struct weft_listed *listed, FILE *stream)
{
    const struct weft_topology *t = d->topology;
    int named = 0;
    if (listed->is_whole)
        fprintf(stream, "<details id=nodes><summary>All %d nodes</summary>\n", t->num_nodes);
    else
        fprintf(stream,
                "<details id=nodes><summary>%d of %d nodes</summary>\n<p>This graph is too large "
                "to list whole. Here is everything that has a box of its own in the drawing, with "
                "its contents (%d nodes), and the names of %d others, without theirs. "
                "<code>weft topo --json</code> writes all.</p>\n",
                listed->num_full + listed->num_named, t->num_nodes, listed->num_full,
                listed->num_named);
    for (int i = 0; i < t->num_nodes; i = d->end[i]) {
        if (listed->is_full[i]) {
            write_whole(d, i, d->end[i], stream);
        } else if (named++ < listed->num_named) {
            fputs("<div class=n data-boxes=\"", stream);
            weft_draw_boxes_of(d, i, stream);
            fputs("\" data-node=\"", stream);
            weft_draw_escaped(stream, t->nodes[i].name);
            fputs("\">", stream);
            weft_draw_escaped(stream, t->nodes[i].name);
            fprintf(stream, " <i>%s, contents not listed</i></div>\n",
                    weft_node_kinds[t->nodes[i].kind].singular);
        }
    }
    fputs("</details>\n", stream);
}

static void write_link(const struct weft_topology *t, int index, FILE *stream)
{
    const struct weft_link *link = &t->links[index];
    char figures[512];
    fprintf(stream, "<tr id=l%d%s><td>%s<td>", index, link->one_way ? " data-way=\"to\"" : "",
            weft_link_kinds[link->kind].name);
    weft_draw_escaped(stream, t->nodes[link->from].name);
    fputs("<td>", stream);
    weft_draw_escaped(stream, t->nodes[link->to].name);
    fprintf(stream, "<td>%d<td>", link->count);
    if (link->from_port || link->to_port)
        fprintf(stream, "%d, %d", link->from_port, link->to_port);
    weft_draw_figures(link, figures, sizeof figures);
    fprintf(stream, "<td>%s\n", figures[0] ? figures : "speed not known");
}

void weft_draw_links(const struct weft_drawing *d, const struct weft_listed *listed, FILE *stream)
{
    const struct weft_topology *t = d->topology;
    int count = 0;
    for (int pass = 0; pass < 2; pass++) {
        int written = 0;
        for (int i = 0; i < t->num_links && written < WEFT_DRAW_MAX_LISTED_LINKS; i++) {
            if (!listed->is_full[d->root[t->links[i].from]] ||
                !listed->is_full[d->root[t->links[i].to]])
                continue;
            written++;
            if (pass == 1)
                write_link(t, i, stream);
        }
        count = written;
        if (pass == 0)
            fprintf(stream,
                    "<details id=links><summary>%s%d%s links</summary>\n<table><thead><tr>"
                    "<th>kind<th>from<th>to<th>lanes<th>ports<th>figures, with their sources"
                    "<tbody>\n",
                    count == t->num_links ? "All " : "", count,
                    count == t->num_links ? "" : " of the");
    }
    fputs("</table>", stream);
    if (count < t->num_links)
        fprintf(stream, "<p>%d more links are not listed: those of nodes that are not.</p>",
                t->num_links - count);
    fputs("</details>\n", stream);
}
