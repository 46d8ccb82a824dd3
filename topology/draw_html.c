/*
 * SPDX-License-Identifier: Apache-2.0
 * The page: drawing, findings, remarks, legend, lists of all nodes and links. It is one file that
 * needs no other; its policy allows exactly its own style sheet and script, by their sums, so that
 * no text of a topology could run even if it escaped its quotes.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "topology/draw_lists.h"
#include "topology/findings.h"
#include "topology/forms.h"

enum { PANEL = 300, MAX_REMARKS = 200, MAX_MENTIONS = 16 };

/* ---- which nodes a sentence names ---- */

static bool is_inner(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* The longest name that starts at `text`; returns its length, 0 if there is none. */
static size_t find_name(const struct weft_topology *t, const char *text, int only_host, int *node)
{
    char name[2 * WEFT_TOPOLOGY_NAME_BYTES];
    size_t length = strlen(text);
    for (length = length < 255 ? length : 255; length > 0; length--) {
        if (is_inner(text[length - 1]) && is_inner(text[length]))
            continue; // a name ends where a word ends
        snprintf(name, sizeof name, "%.*s", (int)length, text);
        *node = weft_topology_find_node(t, name);
        if (*node >= 0)
            return length;
        if (only_host < 0)
            continue;
        snprintf(name, sizeof name, "%s/%.*s", t->nodes[only_host].name, (int)length, text);
        *node = weft_topology_find_node(t, name);
        if (*node >= 0)
            return length;
    }
    return 0;
}

/* Words of sentences that are names too, in files that name nothing. */
static bool is_common_word(const char *text, size_t length)
{
    static const char *const words[] = {"host", "network"};
    for (int i = 0; i < 2; i++)
        if (strlen(words[i]) == length && strncmp(words[i], text, length) == 0)
            return true;
    return false;
}

static int find_mentions(const struct weft_topology *t, const char *sentence, int *nodes)
{
    int count = 0, only_host = 0;
    while (only_host < t->num_nodes && t->nodes[only_host].kind != WEFT_NODE_HOST)
        only_host++;
    if (weft_topology_count(t, WEFT_NODE_HOST) != 1)
        only_host = -1;
    for (const char *at = sentence; *at && count < MAX_MENTIONS;) {
        bool starts = at == sentence || !is_inner(at[-1]) || !is_inner(*at);
        size_t length = starts ? find_name(t, at, only_host, &nodes[count]) : 0;
        bool is_word = length > 0 && is_common_word(at, length);
        count += length > 0 && !is_word;
        at += length > 0 ? length : 1;
    }
    return count;
}

static void write_said(const struct weft_drawing *d, const char *class, const char *what, int node,
                       const char *sentence, FILE *stream)
{
    int nodes[MAX_MENTIONS + 1], count = find_mentions(d->topology, sentence, nodes);
    if (node >= 0)
        nodes[count++] = node;
    fprintf(stream, "<li class=\"%s\">", class);
    fputs(count ? "<button class=says data-boxes=\"" : "<p class=says>", stream);
    for (int i = 0; i < count; i++) {
        fputs(i ? " " : "", stream);
        weft_draw_boxes_of(d, nodes[i], stream);
    }
    fprintf(stream, "%s<b>%s</b> ", count ? "\">" : "", what);
    weft_draw_escaped(stream, sentence);
    fputs(count ? "</button>\n" : "</p>\n", stream);
}

/* ---- parts ---- */

static void write_head(const struct weft_drawing *d, FILE *stream)
{
    char text[600];
    fprintf(stream,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
            "style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'\">\n"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
            weft_draw_page_style_hash, weft_draw_page_js_hash);
    weft_draw_title(d->topology, text, sizeof text);
    weft_draw_escaped(stream, text);
    fprintf(stream, "</title>\n<style>%s%s</style></head>\n<body><header><h1>", weft_draw_svg_css,
            weft_draw_page_css);
    weft_draw_escaped(stream, text);
    weft_draw_counts(d->topology, text, sizeof text);
    fprintf(stream, "</h1><p>%s; fingerprint <code>%016" PRIx64 "</code></p></header>\n", text,
            weft_topology_fingerprint(d->topology));
}

static void write_view(const struct weft_drawing *d, FILE *stream)
{
    fputs("<main><section id=\"view\" aria-label=\"Drawing\"><div id=\"tools\"><p>Point at a box "
          "or a line to see what is known about it, and from where. Click: what it is joined to. "
          "Wheel and drag: zoom and move.</p><button id=\"in\" aria-label=\"Zoom in\" title=\"Zoom "
          "in (+)\">+"
          "</button><button id=\"out\" aria-label=\"Zoom out\" title=\"Zoom out (-)\">&minus;"
          "</button><button id=\"fit\" title=\"Show all (0)\">Fit</button></div>\n",
          stream);
    weft_draw_svg(d, stream, false);
    fputs("</section>\n", stream);
}

static weft_status write_findings(const struct weft_drawing *d, FILE *stream)
{
    struct weft_findings findings;
    WEFT_TRY(weft_topology_findings(d->topology, &findings, d->error));
    fputs("<h2>What to know</h2><ol id=\"findings\" class=\"plain\">\n", stream);
    for (int i = 0; i < findings.count; i++) {
        const char *severity = weft_severity_names[findings.items[i].severity];
        write_said(d, severity, severity, -1, findings.items[i].sentence, stream);
    }
    if (findings.count == 0)
        fputs("<li>Nothing stands out.\n", stream);
    fputs("</ol>\n", stream);
    weft_findings_free(&findings);
    return WEFT_OK;
}

static void write_legend(const struct weft_drawing *d, FILE *stream)
{
    char *text = NULL;
    size_t bytes;
    FILE *items = open_memstream(&text, &bytes);
    if (!items)
        return; // a legend is worth no failure
    int height = weft_draw_legend(d, items, 0, 0, PANEL);
    bool is_written = fclose(items) == 0;
    fprintf(stream,
            "<h2>Legend</h2><svg class=\"weft legend\" viewBox=\"0 0 %d %d\" role=\"img\" "
            "aria-label=\"Legend\">\n%s</svg>\n<p class=\"fine\">Widths: bandwidth per direction, "
            "of all "
            "links of the line together.</p>\n",
            PANEL, height + 4, is_written ? text : "");
    free(text);
}

static void write_folded(const struct weft_drawing *d, FILE *stream)
{
    if (d->num_folded > 0)
        fprintf(stream,
                "<p class=\"says\">%d of %d nodes have no box of their own in the drawing: what "
                "looks alike shares one, with its number.</p>\n",
                d->num_folded, d->topology->num_nodes);
    if (d->num_undrawn > 0)
        fprintf(stream, "<p class=\"says\">%d lines are too many and not drawn.</p>\n",
                d->num_undrawn);
}

static void write_origin(const struct weft_drawing *d, FILE *stream)
{
    const struct weft_topology *t = d->topology;
    if (t->num_remarks > 0)
        fputs("<h2>Remarks</h2><ul id=\"remarks\" class=\"plain\">\n", stream);
    for (int i = 0; i < t->num_remarks && i < MAX_REMARKS; i++)
        write_said(d, "remark", weft_remark_names[t->remarks[i].kind], t->remarks[i].node,
                   t->remarks[i].text, stream);
    if (t->num_remarks > MAX_REMARKS)
        fprintf(stream, "<li>and %d more\n", t->num_remarks - MAX_REMARKS);
    fputs(t->num_remarks > 0 ? "</ul>\n" : "", stream);
    if (t->num_probes > 0)
        fputs("<h2>Where this comes from</h2><dl>\n", stream);
    for (int i = 0; i < t->num_probes; i++) {
        fputs("<dt>", stream);
        weft_draw_escaped(stream, t->probes[i].name);
        fprintf(stream, "<dd>%s%s", t->probes[i].available ? "used" : "not used",
                t->probes[i].reason[0] ? ": " : "");
        weft_draw_escaped(stream, t->probes[i].reason);
        putc('\n', stream);
    }
    fputs(t->num_probes > 0 ? "</dl>\n" : "", stream);
}

static weft_status write_page(const struct weft_drawing *d, FILE *stream)
{
    struct weft_listed listed = {.is_full = calloc((size_t)d->topology->num_nodes + 1, 1)};
    if (!listed.is_full)
        return weft_fail(d->error, WEFT_OUT_OF_MEMORY, "drawing: no memory");
    weft_draw_choose_listed(d, &listed);
    write_head(d, stream);
    write_view(d, stream);
    fputs("<aside><input type=\"search\" id=\"search\" placeholder=\"Search a node ( / )\" "
          "aria-label=\"Search a node\" autocomplete=\"off\"><ul id=\"hits\" class=\"plain\" "
          "aria-live=\"polite\"></ul>\n",
          stream);
    weft_status status = write_findings(d, stream);
    write_folded(d, stream);
    write_legend(d, stream);
    write_origin(d, stream);
    fputs("</aside></main>\n<div class=\"lists\">\n", stream);
    weft_draw_nodes(d, &listed, stream);
    weft_draw_links(d, &listed, stream);
    fprintf(stream, "</div>\n<div id=\"tip\" role=\"tooltip\" hidden></div>\n<script>%s</script>\n",
            weft_draw_page_js);
    fputs("</body></html>\n", stream);
    free(listed.is_full);
    return status;
}

static weft_status write_html(const struct weft_topology *topology, FILE *stream,
                              struct weft_error *error)
{
    struct weft_drawing drawing;
    WEFT_TRY(weft_drawing_make(topology, &drawing, error));
    weft_status status = write_page(&drawing, stream);
    weft_drawing_free(&drawing);
    return status;
}

const struct weft_exporter weft_exporter_html = {
    .name = "html",
    .description = "a page with the drawing, findings and every figure's source; one file",
    .write = write_html,
};
