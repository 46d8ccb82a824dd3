/*
 * SPDX-License-Identifier: Apache-2.0
 * The drawing of a topology, between its layout and what writes it (SVG, HTML). A drawing has two
 * parts: the map (hosts above the fabric's tiers) and, where there are several hosts, the inside of
 * one of each sort. A single host is drawn open in the map itself. Only whole pixels, no floating
 * point: the same graph gives the same bytes everywhere. Private to draw*.c.
 */
#ifndef WEFT_TOPOLOGY_DRAW_PRIVATE_H
#define WEFT_TOPOLOGY_DRAW_PRIVATE_H

#include <stdio.h>

#include "topology/graph.h"

enum {
    WEFT_DRAW_MAX_HOSTS = 16,     // more hosts: those that look alike share a box
    WEFT_DRAW_MAX_GROUPS = 48,    // boxes in the row of hosts
    WEFT_DRAW_MAX_SWITCHES = 64,  // boxes in a tier
    WEFT_DRAW_MAX_INSIDES = 3,    // hosts shown from inside
    WEFT_DRAW_MAX_INSIDE = 1500,  // boxes in one of them
    WEFT_DRAW_MAX_ALIKE = 32,     // neighbours alike in a box, before they share one
    WEFT_DRAW_BLOCK_LABEL = 56,   // pixels left of cells
    WEFT_DRAW_MAX_LINES = 20000,  // further ones are only counted
    WEFT_DRAW_MAX_LISTED = 20000, // nodes that the page lists one by one, whatever they look like
    WEFT_DRAW_MAX_LISTED_LINKS = 100000,
};

enum weft_draw_style {
    WEFT_DRAW_CONTAINER, // a strip with its name, what it contains below
    WEFT_DRAW_CHIP,      // a device
    WEFT_DRAW_BLOCK,     // cells under one label
    WEFT_DRAW_CELL,      // a small square without a label
    WEFT_DRAW_MINI,      // a host, or several alike, from outside
    WEFT_DRAW_BAR,       // a switch of the fabric
    WEFT_DRAW_TAG,       // "goes on to ...", below the inside of a host
};

struct weft_draw_box {
    enum weft_draw_style style;
    int node;   // the node, or the first of those that it stands for
    int last;   // the last of them
    int count;  // how many
    int parent; // box; -1: none; of a tag: the box that it belongs to
    int end;    // one past the last box inside it
    int tag;    // box of its tag; -1: none
    bool mixed; // stands for nodes that do not look alike
    int x, y, width, height;
    int header;    // of a container: height of its strip
    int64_t speed; // of its network links as far as it is known; 0: not
};

enum weft_draw_route { WEFT_ROUTE_DROP, WEFT_ROUTE_CURVE, WEFT_ROUTE_ABOVE, WEFT_ROUTE_BELOW };

struct weft_draw_line {
    int from, to; // boxes
    int kind;     // of link
    bool one_way;
    bool assumed;      // no bandwidth of it is known
    bool slow;         // one of its links runs below what it should
    int first, count;  // its links: drawing->line_links[first ... first + count)
    int64_t bandwidth; // together, per direction
    enum weft_draw_route route;
    int x1, y1, x2, y2;
    int bend; // how far ABOVE and BELOW bend
};

struct weft_draw_caption {
    int x, y;
    bool is_head; // of a part; else of a row
    char text[400];
};

struct weft_drawing {
    const struct weft_topology *topology; // in canonical order: what a node contains follows it
    struct weft_error *error;
    int *end;        // per node: one past the last node that it contains
    int *root;       // per node: the outermost node that contains it
    uint64_t *shape; // per node: equal for nodes that look alike, contents included
    int *map_box;    // per node: the box of the map that shows it, or stands for it
    int *inside_box; // per node: the box of an inside; -1: none

    struct weft_draw_box *boxes;
    int num_boxes, capacity;
    struct weft_draw_line *lines;
    int num_lines;
    int *line_links;
    struct weft_draw_caption captions[16];
    int num_captions;
    int num_undrawn; // lines that were too many
    int num_folded;  // nodes without a box of their own
    int width, height;
    const int64_t *traffic; // per link: bytes in the busier direction; NULL: none is shown
    double peak;            // seconds of the busiest link
};

/* Errors: OUT_OF_MEMORY. Free with weft_drawing_free, which takes half-made ones too. */
weft_status weft_drawing_make(const struct weft_topology *topology, struct weft_drawing *drawing,
                              struct weft_error *error);
void weft_drawing_free(struct weft_drawing *drawing);

/* draw_fold.c: fills end, root, shape; then deals roots into groups. */
void weft_draw_find_shapes(struct weft_drawing *drawing);
/* Numbers the groups of the `count` roots from 0, in order of their first; *num_groups are at most
 * `limit`. *mixed: the last group holds what does not look alike. */
weft_status weft_draw_group(const struct weft_drawing *drawing, const int *roots, int count,
                            int alone, int limit, int *group, int *num_groups, bool *mixed);

/* draw_layout.c. A new box at the end; its index, or -1 (the error is set). */
int weft_draw_add_box(struct weft_drawing *drawing, enum weft_draw_style style, int node,
                      int parent);
void weft_draw_add_caption(struct weft_drawing *drawing, int x, int y, bool is_head,
                           const char *format, ...) __attribute__((format(printf, 5, 6)));
/* draw_host.c: the boxes of one host, open, with its upper left corner at x, y. */
weft_status weft_draw_host(struct weft_drawing *drawing, int root, int x, int y, int *box);
/* Tags for what leaves the open host `box`. */
weft_status weft_draw_tags(struct weft_drawing *drawing, int box);
/* draw_lines.c: bundles links into lines and finds their ways. */
weft_status weft_draw_lines(struct weft_drawing *drawing);
/* How far an arc below devices bends whose ends are `distance` apart; it goes 3/4 as deep. */
int weft_draw_bend_below(int distance);

/* draw_text.c: text of strangers, so it is escaped for XML and HTML, in attributes and between
 * tags; what cannot be printed becomes '?'. */
void weft_draw_escaped(FILE *stream, const char *text);
/* The same, cut to about `width` pixels at `pixels` per ten characters, with an ellipsis. */
void weft_draw_fitted(FILE *stream, const char *text, int width, int pixels);
/* A name without its host. */
const char *weft_draw_local_name(const char *name);
/* What a box is called: "gpu0", "host1 - host63", "24 cores". */
void weft_draw_label(const struct weft_drawing *drawing, int box, char *text, size_t size);
/* A second line: model, memory, the names of several; "" if there is nothing to say. */
void weft_draw_subtitle(const struct weft_drawing *drawing, int box, char *text, size_t size);
/* "8 GPUs, 8 NICs": what a host holds. */
void weft_draw_contents(const struct weft_drawing *drawing, int node, char *text, size_t size);
/* A value as people read it, with the exact one where that differs: "256 GiB (274877906944)". */
void weft_draw_value(const struct weft_attribute *attribute, char *text, size_t size);
/* "bandwidth: 25 GB/s nominal [file], 24 GB/s measured [measured]"; both figures, "" if unknown. */
void weft_draw_figures(const struct weft_link *link, char *text, size_t size);
/* Stroke width in tenths of a pixel. */
int weft_draw_stroke(int64_t bandwidth);

/* draw_traffic.c: 0 (nothing) to 4 (the busiest link) of what a line carries. */
int weft_draw_heat(const struct weft_drawing *drawing, const struct weft_draw_line *line);

/* draw_svg.c: <svg> ... </svg>. As a file of its own it brings style, legend and tooltips; inside a
 * page the page has these. */
void weft_draw_svg(const struct weft_drawing *drawing, FILE *stream, bool alone);
/* What the colours and widths of this drawing mean, in rows of `width`; returns the height. */
int weft_draw_legend(const struct weft_drawing *drawing, FILE *stream, int x, int y, int width);
/* "Topology of host7" and "2 hosts, 16 GPUs, ...; 40 links". */
void weft_draw_title(const struct weft_topology *topology, char *text, size_t size);
void weft_draw_counts(const struct weft_topology *topology, char *text, size_t size);

/* Made by draw_page.cmake from the files beside this one. */
extern const char weft_draw_svg_css[];
extern const char weft_draw_page_css[];
extern const char weft_draw_page_js[];
extern const char weft_draw_page_style_hash[]; // of both sheets, one after the other
extern const char weft_draw_page_js_hash[];

#endif
