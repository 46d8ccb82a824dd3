/*
 * SPDX-License-Identifier: Apache-2.0
 * A drawing as SVG: containers, then lines, then what lies on top. Every box names its node in
 * data-node and every line its links in data-links, so that scripts (and tests) find them.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/draw_private.h"
#include "topology/forms.h"

enum {
    NAME_PIXELS = 76, // ten characters of a name, in a wide font
    TIGHT_PIXELS = 64,
    SUB_PIXELS = 62, // ten of a second line
    LEGEND_ITEM = 132,
    LEGEND_ROW = 20,
    MANY_LINES = 120,    // then those between switches are drawn fainter
    ASSUMED_STROKE = 13, // what is not known is not shown as wide or narrow
    MAX_TITLE_LINKS = 12,
    MAX_LINE_LINKS = 64, // that a line names, where the page does not list all links
};

static const char *const style_names[] = {
    [WEFT_DRAW_CONTAINER] = "container",
    [WEFT_DRAW_CHIP] = "chip",
    [WEFT_DRAW_BLOCK] = "block",
    [WEFT_DRAW_CELL] = "cell",
    [WEFT_DRAW_MINI] = "mini",
    [WEFT_DRAW_BAR] = "bar",
    [WEFT_DRAW_TAG] = "tag",
};

/* ---- tooltips ---- */

static void write_node_title(const struct weft_drawing *d, const struct weft_draw_box *box,
                             FILE *stream)
{
    const struct weft_node *node = &d->topology->nodes[box->node];
    char value[WEFT_TOPOLOGY_NAME_BYTES + 40];
    fputs("<title>", stream);
    weft_draw_escaped(stream, node->name);
    fprintf(stream, " (%s)", weft_node_kinds[node->kind].singular);
    if (box->count > 1)
        fprintf(stream, "\nand %d more%s", box->count - 1, box->mixed ? "" : " that look like it");
    for (const struct weft_attribute *a = node->attributes; a; a = a->next) {
        weft_draw_value(a, value, sizeof value);
        putc('\n', stream);
        weft_draw_escaped(stream, a->key);
        fputs(": ", stream);
        weft_draw_escaped(stream, value);
        fprintf(stream, " [%s]", weft_source_names[a->source]);
    }
    fputs("</title>", stream);
}

static void write_line_title(const struct weft_drawing *d, const struct weft_draw_line *line,
                             FILE *stream)
{
    const struct weft_topology *t = d->topology;
    char figures[512];
    fputs("<title>", stream);
    if (line->count > 1)
        fprintf(stream, "%d links, together %s%s\n", line->count,
                weft_format_bandwidth(line->bandwidth, figures, sizeof figures),
                line->assumed ? " (assumed)" : "");
    for (int i = 0; i < line->count && i < MAX_TITLE_LINKS; i++) {
        const struct weft_link *link = &t->links[d->line_links[line->first + i]];
        fprintf(stream, "%s%s ", i ? "\n" : "", weft_link_kinds[link->kind].name);
        weft_draw_escaped(stream, t->nodes[link->from].name);
        fputs(link->one_way ? " to " : " and ", stream);
        weft_draw_escaped(stream, t->nodes[link->to].name);
        if (link->count > 1)
            fprintf(stream, ", %d lanes", link->count);
        if (link->from_port || link->to_port)
            fprintf(stream, ", ports %d and %d", link->from_port, link->to_port);
        weft_draw_figures(link, figures, sizeof figures);
        fprintf(stream, "\n%s", figures[0] ? figures : "speed not known");
        if (d->traffic)
            fprintf(stream, "\ntraffic: %s",
                    weft_format_bytes(d->traffic[d->line_links[line->first + i]], figures,
                                      sizeof figures));
    }
    if (line->count > MAX_TITLE_LINKS)
        fprintf(stream, "\nand %d more", line->count - MAX_TITLE_LINKS);
    fputs("</title>", stream);
}

/* ---- boxes ---- */

static void write_text(FILE *stream, const char *class, int x, int y, const char *text, int width,
                       int pixels)
{
    if (!text[0])
        return;
    fprintf(stream, "<text class=\"%s\" x=\"%d\" y=\"%d\">", class, x, y);
    weft_draw_fitted(stream, text, width, pixels);
    fputs("</text>", stream);
}

/* A name in a smaller font where it needs one; below it up to two lines. */
static void write_chip_words(const struct weft_draw_box *box, const char *label, char *sub,
                             FILE *stream)
{
    int middle = box->x + box->width / 2, width = box->width - 6;
    bool is_long = (int)strlen(label) * NAME_PIXELS > width * 10;
    size_t room = (size_t)width * 10 / SUB_PIXELS, length = strlen(sub), split = 0;
    for (size_t i = 1; length > room && i <= room; i++) // after a blank, else after a hyphen
        split = sub[i - 1] == '-' ? i : split;
    for (size_t i = 1; length > room && i <= room + 1; i++)
        split = sub[i - 1] == ' ' ? i : split;
    int lines = sub[0] ? split > 0 ? 2 : 1 : 0;
    int y = box->y + box->height / 2 + 4 - 6 * lines;
    write_text(stream, is_long ? "name tight" : "name", middle, y, label, width,
               is_long ? TIGHT_PIXELS : NAME_PIXELS);
    if (lines == 2) {
        write_text(stream, "sub", middle, y + 23, sub + split, width, SUB_PIXELS);
        sub[split - (sub[split - 1] == ' ')] = '\0';
    }
    write_text(stream, "sub", middle, y + (lines == 2 ? 12 : 14), sub, width, SUB_PIXELS);
}

/* The whole name if a smaller font makes it fit; of several in a narrow bar only the number. */
static void write_bar_words(const struct weft_draw_box *box, const char *label, FILE *stream)
{
    int middle = box->x + box->width / 2, width = box->width - 2;
    char number[16];
    snprintf(number, sizeof number, "%d", box->count);
    bool is_long = (int)strlen(label) * NAME_PIXELS > width * 10;
    if (is_long && box->count > 1 && (int)strlen(label) * TIGHT_PIXELS > width * 10)
        label = number;
    write_text(stream, is_long ? "name tight" : "name", middle, box->y + 19, label, width,
               is_long ? TIGHT_PIXELS : NAME_PIXELS);
}

static void write_words(const struct weft_drawing *d, int index, FILE *stream)
{
    const struct weft_draw_box *box = &d->boxes[index];
    char label[512], sub[300];
    int middle = box->x + box->width / 2, width = box->width - 8;
    if (box->style == WEFT_DRAW_CELL)
        return;
    weft_draw_label(d, index, label, sizeof label);
    weft_draw_subtitle(d, index, sub, sizeof sub);
    switch (box->style) {
    case WEFT_DRAW_CONTAINER: {
        int used = (int)strlen(label) * NAME_PIXELS / 10 + 10;
        fprintf(stream, "<text class=\"name start\" x=\"%d\" y=\"%d\">", box->x + 7, box->y + 15);
        weft_draw_fitted(stream, label, width, NAME_PIXELS);
        if (sub[0] && width - used > 36) {
            fputs(" <tspan class=\"sub\" dx=\"4\">", stream);
            weft_draw_fitted(stream, sub, width - used, SUB_PIXELS);
            fputs("</tspan>", stream);
        }
        fputs("</text>", stream);
        break;
    }
    case WEFT_DRAW_BLOCK:
        write_text(stream, "sub start", box->x, box->y + 8, label, WEFT_DRAW_BLOCK_LABEL,
                   SUB_PIXELS);
        break;
    case WEFT_DRAW_MINI:
        write_text(stream, "name start", box->x + 7, box->y + 16, label, width, NAME_PIXELS);
        write_text(stream, "sub start", box->x + 7, box->y + 30, sub, width, SUB_PIXELS);
        if (!box->mixed) {
            weft_draw_contents(d, box->node, sub, sizeof sub);
            write_text(stream, "sub start", box->x + 7, box->y + (box->count > 1 ? 43 : 30), sub,
                       width, SUB_PIXELS);
        }
        break;
    case WEFT_DRAW_TAG:
        write_text(stream, "sub", middle, box->y + 14, label, width, SUB_PIXELS);
        break;
    case WEFT_DRAW_BAR:
        write_bar_words(box, label, stream);
        break;
    default:
        write_chip_words(box, label, sub, stream);
    }
}

/* Several alike: the edges of two more show behind. */
static void write_shape(const struct weft_draw_box *box, FILE *stream)
{
    bool is_stack =
        box->count > 1 && (box->style == WEFT_DRAW_MINI || box->style == WEFT_DRAW_CHIP);
    for (int offset = is_stack ? 8 : 0; offset >= 0; offset -= 4)
        fprintf(stream, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>", box->x + offset,
                box->y - offset, box->width, box->height);
}

static bool is_ground(const struct weft_draw_box *box)
{
    return box->style == WEFT_DRAW_CONTAINER || box->style == WEFT_DRAW_MINI;
}

static void write_box(const struct weft_drawing *d, int index, FILE *stream, bool alone)
{
    const struct weft_draw_box *box = &d->boxes[index];
    const struct weft_node *node = &d->topology->nodes[box->node];
    const char *kind = weft_node_kinds[node->kind].name;
    fprintf(stream, "<g class=\"b n-%s s-%s\" data-node=\"", kind, style_names[box->style]);
    weft_draw_escaped(stream, node->name);
    putc('"', stream);
    if (box->count > 1)
        fprintf(stream, " data-count=\"%d\"%s", box->count, box->mixed ? " data-mixed=\"\"" : "");
    if (!alone) {
        fprintf(stream, " id=\"b%d\" data-n=\"%d\"", index, box->node);
        if (box->style != WEFT_DRAW_BLOCK || box->end == index + 1)
            fputs(" tabindex=\"0\"", stream);
        fputs(" role=\"graphics-symbol\" aria-label=\"", stream);
        weft_draw_escaped(stream, node->name);
        fprintf(stream, ", %s\"", weft_node_kinds[node->kind].singular);
    }
    putc('>', stream);
    if (alone)
        write_node_title(d, box, stream);
    if (box->style != WEFT_DRAW_BLOCK || box->end == index + 1)
        write_shape(box, stream);
    if (!is_ground(box))
        write_words(d, index, stream);
    fputs("</g>\n", stream);
}

/* Names of what lies below the lines lie above them. */
static void write_ground_words(const struct weft_drawing *d, FILE *stream)
{
    fputs("<g class=\"words\">\n", stream);
    for (int i = 0; i < d->num_boxes; i++)
        if (is_ground(&d->boxes[i])) {
            write_words(d, i, stream);
            putc('\n', stream);
        }
    fputs("</g>\n", stream);
}

/* ---- lines ---- */

static void write_way(const struct weft_draw_line *line, FILE *stream)
{
    fprintf(stream, "d=\"M%d %d", line->x1, line->y1);
    int bend = (line->y1 + line->y2) / 2;
    if (line->route == WEFT_ROUTE_BELOW)
        bend = (line->y1 > line->y2 ? line->y1 : line->y2) + line->bend;
    else if (line->route == WEFT_ROUTE_ABOVE)
        bend = (line->y1 < line->y2 ? line->y1 : line->y2) - line->bend;
    if (line->x1 == line->x2)
        fprintf(stream, "V%d\"", line->y2);
    else
        fprintf(stream, "C%d %d %d %d %d %d\"", line->x1, bend, line->x2, bend, line->x2, line->y2);
}

/* "!" in the middle of a line that gives less than it should. */
static void write_mark(const struct weft_draw_line *line, FILE *stream)
{
    int y = (line->y1 + line->y2) / 2;
    if (line->route == WEFT_ROUTE_BELOW)
        y += line->bend * 3 / 4;
    else if (line->route == WEFT_ROUTE_ABOVE)
        y -= line->bend * 3 / 4;
    fprintf(stream,
            "<circle class=\"mark\" cx=\"%d\" cy=\"%d\" r=\"5\"/><text class=\"mark\" x=\"%d\" "
            "y=\"%d\">!</text>",
            (line->x1 + line->x2) / 2, y, (line->x1 + line->x2) / 2, y + 3);
}

static void write_line(const struct weft_drawing *d, const struct weft_draw_line *line,
                       FILE *stream, bool alone)
{
    int stroke = line->assumed ? ASSUMED_STROKE : weft_draw_stroke(line->bandwidth);
    int named = line->count;
    bool lists_all = d->topology->num_nodes <= WEFT_DRAW_MAX_LISTED &&
                     d->topology->num_links <= WEFT_DRAW_MAX_LISTED_LINKS;
    if (!lists_all && named > MAX_LINE_LINKS)
        named = MAX_LINE_LINKS;
    bool is_dense = d->num_lines > MANY_LINES && d->boxes[line->from].style == WEFT_DRAW_BAR &&
                    d->boxes[line->to].style == WEFT_DRAW_BAR;
    fprintf(stream, "<g class=\"l k-%s%s%s", weft_link_kinds[line->kind].name,
            is_dense ? " dense" : "", line->assumed ? " assumed" : "");
    if (d->traffic)
        fprintf(stream, " t-%d", weft_draw_heat(d, line));
    fputs("\" data-links=\"", stream);
    for (int i = 0; i < named; i++)
        fprintf(stream, "%s%d", i ? " " : "", d->line_links[line->first + i]);
    putc('"', stream);
    if (line->count > named)
        fprintf(stream, " data-count=\"%d\"", line->count);
    if (!alone) {
        fprintf(stream, " data-from=\"b%d\" data-to=\"b%d\"", line->from, line->to);
        fputs(" tabindex=\"0\" role=\"graphics-symbol\" aria-label=\"", stream);
        fprintf(stream, "%s, ", weft_link_kinds[line->kind].name);
        weft_draw_escaped(stream, d->topology->nodes[d->boxes[line->from].node].name);
        fputs(" and ", stream);
        weft_draw_escaped(stream, d->topology->nodes[d->boxes[line->to].node].name);
        putc('"', stream);
    }
    putc('>', stream);
    if (alone)
        write_line_title(d, line, stream);
    fputs("<path class=\"hit\" ", stream);
    write_way(line, stream);
    fprintf(stream, "/><path stroke-width=\"%d.%d\" ", stroke / 10, stroke % 10);
    write_way(line, stream);
    fprintf(stream, "%s/>", line->one_way ? " marker-end=\"url(#arrow)\"" : "");
    if (line->slow)
        write_mark(line, stream);
    fputs("</g>\n", stream);
}

static bool is_behind(const struct weft_draw_line *line)
{
    return line->route == WEFT_ROUTE_DROP && line->from < line->to;
}

/* ---- legend ---- */

struct legend {
    FILE *stream;
    int left, right;
    int x, y;
};

static void next_item(struct legend *l)
{
    l->x += LEGEND_ITEM;
    if (l->x + LEGEND_ITEM > l->right) {
        l->x = l->left;
        l->y += LEGEND_ROW;
    }
}

static void next_row(struct legend *l)
{
    if (l->x > l->left) {
        l->x = l->left;
        l->y += LEGEND_ROW;
    }
    l->y += 6;
}

static void write_sample(struct legend *l, const char *class, int stroke, const char *text)
{
    fprintf(l->stream,
            "<g class=\"l %s\"><path d=\"M%d %dh24\" stroke-width=\"%d.%d\"/></g>"
            "<text class=\"sub start\" x=\"%d\" y=\"%d\">%s</text>\n",
            class, l->x, l->y + 8, stroke / 10, stroke % 10, l->x + 32, l->y + 12, text);
    next_item(l);
}

static void write_heat(struct legend *l)
{
    static const char *const words[] = {"no traffic", "below 25% of the time", "below 60% of it",
                                        "below 95% of it", "the busiest link"};
    for (int heat = 0; heat < 5; heat++) {
        char class[8];
        snprintf(class, sizeof class, "t-%d", heat);
        write_sample(l, class, 40, words[heat]);
    }
    next_row(l);
}

int weft_draw_legend(const struct weft_drawing *d, FILE *stream, int x, int y, int width)
{
    struct legend l = {stream, x, x + width, x, y};
    bool nodes[WEFT_NUM_NODE_KINDS] = {0}, links[WEFT_NUM_LINK_KINDS] = {0}, assumed = false,
         slow = false;
    for (int i = 0; i < d->num_boxes; i++)
        nodes[d->topology->nodes[d->boxes[i].node].kind] = true;
    for (int i = 0; i < d->num_lines; i++) {
        links[d->lines[i].kind] = true;
        assumed |= d->lines[i].assumed;
        slow |= d->lines[i].slow;
    }
    for (int i = 0; i < WEFT_NUM_NODE_KINDS; i++) {
        if (!nodes[i])
            continue;
        fprintf(stream,
                "<g class=\"n-%s\"><rect class=\"swatch\" x=\"%d\" y=\"%d\" width=\"24\" "
                "height=\"12\"/><text class=\"sub start\" x=\"%d\" y=\"%d\">%s</text></g>\n",
                weft_node_kinds[i].name, l.x, l.y + 2, l.x + 32, l.y + 12,
                weft_node_kinds[i].singular);
        next_item(&l);
    }
    next_row(&l);
    for (int i = 0; i < WEFT_NUM_LINK_KINDS; i++) {
        char class[32];
        snprintf(class, sizeof class, "k-%s", weft_link_kinds[i].name);
        if (links[i])
            write_sample(&l, class, 26, weft_link_kinds[i].name);
    }
    if (slow) {
        fprintf(
            stream,
            "<circle class=\"mark\" cx=\"%d\" cy=\"%d\" r=\"5\"/><text class=\"mark\" x=\"%d\" "
            "y=\"%d\">!</text><text class=\"sub start\" x=\"%d\" y=\"%d\">below nominal</text>\n",
            l.x + 12, l.y + 8, l.x + 12, l.y + 11, l.x + 32, l.y + 12);
        next_item(&l);
    }
    if (assumed)
        write_sample(&l, "assumed", ASSUMED_STROKE, "speed assumed");
    next_row(&l);
    if (d->traffic)
        write_heat(&l);
    for (int64_t gigabytes = 1; d->num_lines && gigabytes <= 1000; gigabytes *= 10) {
        char text[32];
        weft_format_bandwidth(gigabytes * 1000000000, text, sizeof text);
        write_sample(&l, "", weft_draw_stroke(gigabytes * 1000000000), text);
    }
    next_row(&l);
    return l.y - y;
}

/* ---- all ---- */

static void write_head(const struct weft_drawing *d, FILE *stream, bool alone, int width,
                       int height)
{
    char text[600];
    fprintf(stream, "<svg class=\"weft\" id=\"drawing\" xmlns=\"http://www.w3.org/2000/svg\" ");
    if (alone)
        fprintf(stream, "width=\"%d\" height=\"%d\" ", width, height);
    fprintf(stream,
            "viewBox=\"%d 0 %d %d\" aria-labelledby=\"drawing-title\" "
            "aria-describedby=\"drawing-desc\">\n<title id=\"drawing-title\">",
            alone ? 0 : (d->width - width) / 2, width, height);
    weft_draw_title(d->topology, text, sizeof text);
    weft_draw_escaped(stream, text);
    fputs("</title>\n<desc id=\"drawing-desc\">", stream);
    weft_draw_counts(d->topology, text, sizeof text);
    weft_draw_escaped(stream, text);
    fputs("</desc>\n", stream);
    if (alone)
        fprintf(stream, "<style>\n%s</style>\n", weft_draw_svg_css);
    fputs("<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"9\" "
          "markerHeight=\"9\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">"
          "<path d=\"M0 0L8 4L0 8Z\" fill=\"#7d8794\"/></marker></defs>\n",
          stream);
}

void weft_draw_svg(const struct weft_drawing *d, FILE *stream, bool alone)
{
    int least = alone ? 600 : 1000; // small drawings are not blown up; the legend has room
    int width = d->width < least ? least : d->width;
    int legend_height = alone ? 8 + 3 * 6 + 6 * LEGEND_ROW + 30 : 0;
    write_head(d, stream, alone, width, d->height + legend_height);
    int line = 0; // they are sorted by where they start
    for (int i = 0; i < d->num_boxes; i++) {
        if (is_ground(&d->boxes[i]))
            write_box(d, i, stream, alone);
        for (; line < d->num_lines && d->lines[line].from <= i; line++)
            if (is_behind(&d->lines[line])) // goes behind what else its box contains
                write_line(d, &d->lines[line], stream, alone);
    }
    for (int i = 0; i < d->num_lines; i++)
        if (!is_behind(&d->lines[i]))
            write_line(d, &d->lines[i], stream, alone);
    for (int i = 0; i < d->num_boxes; i++)
        if (!is_ground(&d->boxes[i]))
            write_box(d, i, stream, alone);
    write_ground_words(d, stream);
    for (int i = 0; i < d->num_captions; i++) {
        const struct weft_draw_caption *caption = &d->captions[i];
        write_text(stream, caption->is_head ? "caption" : "row", caption->x, caption->y,
                   caption->text, 4000, 70);
        putc('\n', stream);
    }
    if (alone) {
        int y = d->height + 8, used = weft_draw_legend(d, stream, 16, y, width - 32);
        if (d->num_folded > 0)
            fprintf(stream,
                    "<text class=\"sub start\" x=\"16\" y=\"%d\">%d of %d nodes have no box of "
                    "their own: what looks alike shares one.</text>\n",
                    y + used + 12, d->num_folded, d->topology->num_nodes);
    }
    fputs("</svg>\n", stream);
}

static weft_status write_svg(const struct weft_topology *topology, FILE *stream,
                             struct weft_error *error)
{
    struct weft_drawing drawing;
    WEFT_TRY(weft_drawing_make(topology, &drawing, error));
    weft_draw_svg(&drawing, stream, true);
    weft_drawing_free(&drawing);
    return WEFT_OK;
}

const struct weft_exporter weft_exporter_svg = {
    .name = "svg",
    .description = "a drawing, with tooltips and without script",
    .write = write_svg,
};
