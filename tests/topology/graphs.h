/*
 * SPDX-License-Identifier: Apache-2.0
 * Graphs made for one test: from a synthetic string, then bent; nodes and links found by name.
 */
#ifndef WEFT_TESTS_TOPOLOGY_GRAPHS_H
#define WEFT_TESTS_TOPOLOGY_GRAPHS_H

#include "tests/topology/compare.h"

#include <stdlib.h>
#include <string.h>

#include "topology/synthetic.h"

#define GB INT64_C(1000000000)

static inline struct weft_topology *synthetic(const char *text)
{
    struct weft_topology *t = NULL;
    assert_int_equal(weft_topology_from_synthetic(text, &t, NULL), WEFT_OK);
    return t;
}

/* The string is refused with its column and a sentence that holds `why`. */
static inline void assert_synthetic_refused(const char *text, int column, const char *why)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    char place[32];
    snprintf(place, sizeof place, "column %d:", column);
    assert_int_equal(weft_topology_from_synthetic(text, &t, &error), WEFT_INVALID_FORMAT);
    assert_null(t);
    if (!strstr(error.text, place) || !strstr(error.text, why))
        fail_msg("\"%s\": \"%s\" names not %s and %s", text, error.text, place, why);
}

static inline int link_index(const struct weft_topology *t, const char *a, const char *b)
{
    int x = find(t, a), y = find(t, b);
    for (int i = 0; i < t->num_links; i++)
        if ((t->links[i].from == x && t->links[i].to == y) ||
            (t->links[i].from == y && t->links[i].to == x))
            return i;
    fail_msg("no link between %s and %s", a, b);
    return -1;
}

static inline struct weft_link *link_of(struct weft_topology *t, const char *a, const char *b)
{
    return &t->links[link_index(t, a, b)];
}

static inline void remove_link(struct weft_topology *t, const char *a, const char *b)
{
    int at = link_index(t, a, b);
    t->num_links--;
    memmove(&t->links[at], &t->links[at + 1], (size_t)(t->num_links - at) * sizeof *t->links);
}

static inline void set_current(struct weft_topology *t, const char *a, const char *b,
                               int64_t bandwidth)
{
    link_of(t, a, b)->bandwidth.current = (struct weft_quantity){bandwidth, WEFT_SOURCE_SYSFS};
}

static inline int add_node(struct weft_topology *t, int kind, const char *name, int parent)
{
    int node;
    assert_int_equal(weft_topology_add_node(t, kind, name, parent, &node, NULL), WEFT_OK);
    return node;
}

static inline int add_link(struct weft_topology *t, int kind, int from, int to, int64_t nominal)
{
    int index;
    struct weft_link link = weft_link_make(kind, from, to);
    link.bandwidth.nominal = (struct weft_quantity){nominal, WEFT_SOURCE_FILE};
    assert_int_equal(weft_topology_add_link(t, &link, &index, NULL), WEFT_OK);
    return index;
}

static inline void set_text(struct weft_topology *t, const char *node, const char *key,
                            const char *text)
{
    assert_int_equal(weft_topology_set_text(t, find(t, node), key, text, WEFT_SOURCE_FILE, NULL),
                     WEFT_OK);
}

static inline void set_number(struct weft_topology *t, const char *node, const char *key,
                              int64_t number)
{
    assert_int_equal(
        weft_topology_set_number(t, find(t, node), key, number, WEFT_SOURCE_FILE, NULL), WEFT_OK);
}

#endif
