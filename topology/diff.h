/*
 * SPDX-License-Identifier: Apache-2.0
 * Two topologies held against each other: a fabric as it is against its file, a machine today
 * against the reference of last month. Nodes are matched by name; what is left by what tells it
 * apart for good (GUID, UUID, MAC, serial number, within one host its PCI address), so that a new
 * name shows as a new name. Left out: memory sizes, facts about the process that looked, remarks,
 * probes, sources, and measured figures within a tenth of each other. A part whose whole host is
 * only in one topology is not listed by itself.
 */
#ifndef WEFT_TOPOLOGY_DIFF_H
#define WEFT_TOPOLOGY_DIFF_H

#include <stdio.h>

#include "topology/graph.h"

#define WEFT_DIFFERENCE_MAP(X)                                                                     \
    X(NODE_REMOVED, "node-removed", "Only in the first")                                           \
    X(NODE_ADDED, "node-added", "Only in the second")                                              \
    X(NODE_RENAMED, "node-renamed", "Renamed")                                                     \
    X(NODE_MOVED, "node-moved", "Moved")                                                           \
    X(NODE_CHANGED, "node-changed", "Changed")                                                     \
    X(LINK_REMOVED, "link-removed", "Links only in the first")                                     \
    X(LINK_ADDED, "link-added", "Links only in the second")                                        \
    X(LINK_CHANGED, "link-changed", "Links changed")

enum weft_difference_kind {
#define WEFT_DIFFERENCE_ENUM(id, name, title) WEFT_DIFFERENCE_##id,
    WEFT_DIFFERENCE_MAP(WEFT_DIFFERENCE_ENUM)
#undef WEFT_DIFFERENCE_ENUM
        WEFT_NUM_DIFFERENCE_KINDS
};
extern const char *const weft_difference_names[WEFT_NUM_DIFFERENCE_KINDS];

struct weft_difference {
    enum weft_difference_kind kind;
    char *subject; // node, or "a - b (pcie)"
    char *key;     // what changed; "" where the kind says it
    char *before, *after;
    const char *unit; // of before and after where both are numbers: "bytes per second"; "": none
};

struct weft_diff {
    int counts[WEFT_NUM_DIFFERENCE_KINDS]; // all there are
    struct weft_difference *items;         // in order of kind; at most `most` of each
    int num_items;
    int total;
};

/* Errors: OUT_OF_MEMORY. Free with weft_diff_free. */
weft_status weft_topology_diff(const struct weft_topology *before,
                               const struct weft_topology *after, int most, struct weft_diff *diff,
                               struct weft_error *error);
void weft_diff_free(struct weft_diff *diff);

/* Each kind with its number and what is listed of it. Errors: SYSTEM (the stream failed). */
weft_status weft_diff_write_text(const struct weft_diff *diff, FILE *stream,
                                 struct weft_error *error);
weft_status weft_diff_write_json(const struct weft_diff *diff, FILE *stream,
                                 struct weft_error *error);

#endif
