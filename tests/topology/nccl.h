/*
 * SPDX-License-Identifier: Apache-2.0
 * What the tests of NCCL's topology XML share: reading a text, reading and writing in turn, and
 * questions about a graph.
 */
#ifndef WEFT_TESTS_TOPOLOGY_NCCL_H
#define WEFT_TESTS_TOPOLOGY_NCCL_H

#include "tests/topology/load.h"

static inline struct weft_topology *parsed(const char *text)
{
    return imported(&weft_importer_nccl_xml, text);
}

/* XML to graph to XML to graph: the same graph, down to the byte of its JSON form. */
static inline void check_round_trip(const struct weft_topology *t)
{
    size_t bytes;
    char *xml = exported(&weft_exporter_nccl_xml, t);
    struct weft_topology *back = parsed(xml);
    char *json_1 = written(t, &bytes), *json_2 = written(back, &bytes);
    assert_string_equal(json_1, json_2);
    assert_true(weft_topology_fingerprint(t) == weft_topology_fingerprint(back));
    free(xml);
    free(json_1);
    free(json_2);
    weft_topology_destroy(&back);
}

/* The link between two nodes; NULL: none, and more than one fails. */
static inline const struct weft_link *between(const struct weft_topology *t, const char *a,
                                              const char *b)
{
    int x = find(t, a), y = find(t, b);
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

#endif
