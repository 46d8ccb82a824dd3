/*
 * SPDX-License-Identifier: Apache-2.0
 * What the parts of the text report share. Private to report*.c.
 */
#ifndef WEFT_TOPOLOGY_REPORT_PRIVATE_H
#define WEFT_TOPOLOGY_REPORT_PRIVATE_H

#include "topology/report.h"

struct weft_report {
    const struct weft_topology *topology; // in canonical order: what a node contains follows it
    const struct weft_report_options *options;
    FILE *stream;
    struct weft_error *error;
    int *end;        // num_nodes: one past the last node that it contains
    uint64_t *shape; // num_nodes: equal for nodes that look alike, contents and links included
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

/* Fills `end` and `shape`. */
void weft_report_find_shapes(struct weft_report *report);
void weft_report_tree(const struct weft_report *report);
weft_status weft_report_links(const struct weft_report *report);
weft_status weft_report_gpu_table(const struct weft_report *report);

#endif
