/*
 * SPDX-License-Identifier: Apache-2.0
 * What the tests of NCCL's topology XML share: reading a text, writing a graph, both in turn, and
 * questions about a graph.
 */
#ifndef WEFT_TESTS_TOPOLOGY_NCCL_H
#define WEFT_TESTS_TOPOLOGY_NCCL_H

#include "tests/topology/compare.h"

#include <stdlib.h>
#include <string.h>

#include "topology/forms.h"

static inline struct weft_topology *parsed(const char *text)
{
    struct weft_topology *t = NULL;
    struct weft_error error = {0};
    if (weft_topology_import(&weft_importer_nccl_xml, text, strlen(text), "own", &t, &error) !=
        WEFT_OK)
        fail_msg("%s\nin\n%s", error.text, text);
    return t;
}

static inline char *exported(const struct weft_topology *t)
{
    char *text = NULL;
    size_t bytes;
    struct weft_error error = {0};
    FILE *stream = open_memstream(&text, &bytes);
    assert_non_null(stream);
    if (weft_topology_export(&weft_exporter_nccl_xml, t, stream, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    fclose(stream);
    return text;
}

/* XML to graph to XML to graph: the same graph, down to the byte of its JSON form. */
static inline void check_round_trip(const struct weft_topology *t)
{
    size_t bytes;
    char *xml = exported(t);
    struct weft_topology *back = parsed(xml);
    char *json_1 = written(t, &bytes), *json_2 = written(back, &bytes);
    assert_string_equal(json_1, json_2);
    assert_true(weft_topology_fingerprint(t) == weft_topology_fingerprint(back));
    free(xml);
    free(json_1);
    free(json_2);
    weft_topology_destroy(&back);
}

static inline int node_named(const struct weft_topology *t, const char *name)
{
    int node = weft_topology_find_node(t, name);
    if (node < 0)
        fail_msg("no node %s", name);
    return node;
}

/* The link between two nodes; NULL: none, and more than one fails. */
static inline const struct weft_link *between(const struct weft_topology *t, const char *a,
                                              const char *b)
{
    int x = node_named(t, a), y = node_named(t, b);
    const struct weft_link *found = NULL;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if ((link->from != x || link->to != y) && (link->from != y || link->to != x))
            continue;
        assert_null(found);
        found = link;
    }
    return found;
}

/* Of all links of a kind at a node: how many, bundles counted in full. */
static inline int num_at(const struct weft_topology *t, int node, int kind)
{
    int sum = 0;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == kind && (t->links[i].from == node || t->links[i].to == node))
            sum += t->links[i].count;
    return sum;
}

static inline int num_remarks(const struct weft_topology *t, int kind)
{
    int count = 0;
    for (int i = 0; i < t->num_remarks; i++)
        count += (int)t->remarks[i].kind == kind;
    return count;
}

static inline bool has_remark(const struct weft_topology *t, int kind, const char *part)
{
    for (int i = 0; i < t->num_remarks; i++)
        if ((int)t->remarks[i].kind == kind && strstr(t->remarks[i].text, part))
            return true;
    return false;
}

#endif
