/*
 * SPDX-License-Identifier: Apache-2.0
 * What the parts of the text report share. Private to report*.c.
 */
#ifndef WEFT_TOPOLOGY_REPORT_PRIVATE_H
#define WEFT_TOPOLOGY_REPORT_PRIVATE_H

#include "topology/adjacency.h"
#include "topology/findings.h"
#include "topology/report.h"
#include "topology/symmetry.h"

enum { WEFT_REPORT_COLUMNS = 98 };

struct weft_report {
    const struct weft_topology *topology; // in canonical order: what a node contains follows it
    const struct weft_report_options *options;
    FILE *stream;
    struct weft_error *error;
    int *end;        // num_nodes: one past the last node that it contains
    uint64_t *shape; // num_nodes: equal for nodes that look alike, contents and links included
    struct weft_symmetry *symmetry;
    struct weft_adjacency adjacency;
    const struct weft_findings *findings;
    bool tight;     // more is to be said than fits a screen: every part shortens itself
    int tree_lines; // most lines that the tree may take
};

enum weft_report_style {
    WEFT_STYLE_PLAIN,
    WEFT_STYLE_HEAD,
    WEFT_STYLE_DIM,
    WEFT_STYLE_ERROR,
    WEFT_STYLE_WARNING,
    WEFT_STYLE_NOTE,
};
/* Turns a style on (PLAIN: off), where colours are wanted. */
void weft_report_style(const struct weft_report *report, enum weft_report_style style);
/* `wide` or, where only ASCII is wanted, `narrow`. */
const char *weft_report_glyph(const struct weft_report *report, const char *wide,
                              const char *narrow);
/* A name without its host. */
const char *weft_report_local_name(const char *name);

/* The bound for a list: none with -v, else as tight as the report has to be. */
int weft_report_most(const struct weft_report *report, int usual, int tight);
/* A head line of a part. */
void weft_report_head(const struct weft_report *report, const char *text);
/* Words of `text` in lines that begin at column `indent`; the first starts there already. */
void weft_report_wrap(const struct weft_report *report, const char *text, int indent);
/* "gpu0-7" for `count` names numbered without a gap (0: not known), else "eth0 ... ib1"; one name
 * if they are equal. */
void weft_report_range(const char *first, const char *last, int count, char *text, size_t size);

/* Fills `end` and `shape`. */
void weft_report_find_shapes(struct weft_report *report);
void weft_report_tree(const struct weft_report *report);
weft_status weft_report_links(const struct weft_report *report);
weft_status weft_report_symmetry(const struct weft_report *report);
/* The table GPU, nearest NICs, rail. */
weft_status weft_report_rails(const struct weft_report *report);

#endif
