/*
 * SPDX-License-Identifier: Apache-2.0
 * What the topology tests share: cmocka with all it needs, a graph as its JSON text, what is asked
 * of a graph by name, and links held against each other. It knows nothing of where a graph came
 * from.
 */
#ifndef WEFT_TESTS_TOPOLOGY_COMPARE_H
#define WEFT_TESTS_TOPOLOGY_COMPARE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <string.h>

#include "topology/json.h"

/* The JSON form in fresh memory; the caller frees it. */
static inline char *written(const struct weft_topology *t, size_t *bytes)
{
    char *text;
    assert_int_equal(weft_topology_to_json(t, &text, bytes, NULL), WEFT_OK);
    return text;
}

static inline int find(const struct weft_topology *t, const char *name)
{
    int node = weft_topology_find_node(t, name);
    if (node < 0)
        fail_msg("no node %s", name);
    return node;
}

/* "" where there is none. */
static inline const char *text_of(const struct weft_topology *t, const char *name, const char *key)
{
    const char *text = weft_topology_text(t, find(t, name), key);
    return text ? text : "";
}

static inline int64_t number_of(const struct weft_topology *t, const char *name, const char *key)
{
    return weft_topology_number(t, find(t, name), key, -1);
}

/* Remarks of the kind that have `part` in them. */
static inline int count_remarks(const struct weft_topology *t, enum weft_remark_kind kind,
                                const char *part)
{
    int count = 0;
    for (int i = 0; i < t->num_remarks; i++)
        count += t->remarks[i].kind == kind && strstr(t->remarks[i].text, part);
    return count;
}

/* Field by field: padding has no value. */
static inline void assert_links_equal(const struct weft_link *a, const struct weft_link *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->from, b->from);
    assert_int_equal(a->to, b->to);
    assert_int_equal(a->count, b->count);
    const struct weft_figure *figures[][2] = {{&a->bandwidth, &b->bandwidth},
                                              {&a->latency, &b->latency}};
    for (int i = 0; i < 2; i++) {
        const struct weft_figure *x = figures[i][0], *y = figures[i][1];
        const struct weft_quantity *forms[][2] = {
            {&x->nominal, &y->nominal}, {&x->current, &y->current}, {&x->measured, &y->measured}};
        for (int j = 0; j < 3; j++) {
            assert_true(forms[j][0]->value == forms[j][1]->value);
            assert_int_equal(forms[j][0]->source, forms[j][1]->source);
        }
    }
}

#endif
