/*
 * SPDX-License-Identifier: Apache-2.0
 * Questions about a graph, and what several sources say of one thing held against each other.
 */
#include <stdio.h>
#include <string.h>

#include "topology/graph.h"

int weft_topology_num_nodes(const struct weft_topology *topology)
{
    return topology->num_nodes;
}

int weft_topology_count(const struct weft_topology *topology, int kind)
{
    int count = 0;
    for (int i = 0; i < topology->num_nodes; i++)
        count += topology->nodes[i].kind == kind;
    return count;
}

int weft_topology_ancestor(const struct weft_topology *topology, int node, int kind)
{
    while (node >= 0 && topology->nodes[node].kind != kind)
        node = topology->nodes[node].parent;
    return node;
}

const struct weft_attribute *weft_topology_attribute(const struct weft_topology *topology, int node,
                                                     const char *key)
{
    const struct weft_attribute *attribute = topology->nodes[node].attributes;
    while (attribute && strcmp(attribute->key, key) != 0)
        attribute = attribute->next;
    return attribute;
}

int64_t weft_topology_number(const struct weft_topology *topology, int node, const char *key,
                             int64_t fallback)
{
    const struct weft_attribute *found = weft_topology_attribute(topology, node, key);
    return found && !found->text ? found->number : fallback;
}

const char *weft_topology_text(const struct weft_topology *topology, int node, const char *key)
{
    const struct weft_attribute *found = weft_topology_attribute(topology, node, key);
    return found ? found->text : NULL;
}

int weft_topology_find_text(const struct weft_topology *t, int kind, const char *key,
                            const char *text)
{
    for (int i = 0; i < t->num_nodes; i++) {
        if (kind >= 0 && t->nodes[i].kind != kind)
            continue;
        const char *found = weft_topology_text(t, i, key);
        if (found && strcmp(found, text) == 0)
            return i;
    }
    return -1;
}

/* ---- learning ---- */

/* The nearer to the thing itself, the more: a driver that asks the device, the kernel's tables,
 * what others made of those, what somebody wrote down. */
static int trust(enum weft_source source)
{
    static const int levels[WEFT_NUM_SOURCES] = {
        [WEFT_SOURCE_UNKNOWN] = 0, [WEFT_SOURCE_ASSUMED] = 1, [WEFT_SOURCE_FILE] = 2,
        [WEFT_SOURCE_HWLOC] = 3,   [WEFT_SOURCE_SYSFS] = 4,   [WEFT_SOURCE_VERBS] = 5,
        [WEFT_SOURCE_UMAD] = 5,    [WEFT_SOURCE_NVML] = 5,    [WEFT_SOURCE_MEASURED] = 6,
    };
    return levels[source];
}

/* Two sources, two values (as text): a remark that names both and the one believed. An assumption
 * that gives way to knowledge is no contradiction. */
static weft_status remark_difference(struct weft_topology *t, int node, const char *what,
                                     enum weft_source old_source, const char *old_value,
                                     enum weft_source new_source, const char *new_value,
                                     struct weft_error *error)
{
    if (old_source == WEFT_SOURCE_ASSUMED || new_source == WEFT_SOURCE_ASSUMED)
        return WEFT_OK;
    bool is_new = trust(new_source) >= trust(old_source);
    return weft_topology_add_remark(t, WEFT_REMARK_CONTRADICTION, new_source, node, error,
                                    "%.110s of %.70s: %s says %.24s, %s says %.24s; %s is believed",
                                    what, t->nodes[node].name, weft_source_names[old_source],
                                    old_value, weft_source_names[new_source], new_value,
                                    weft_source_names[is_new ? new_source : old_source]);
}

static const char *value_text(const struct weft_attribute *a, char *text, size_t size)
{
    if (a->text)
        return a->text;
    snprintf(text, size, "%lld", (long long)a->number);
    return text;
}

/* Whether `value` is to be stored. */
static weft_status weigh(struct weft_topology *t, int node, const struct weft_attribute *value,
                         bool *is_to_be_stored, struct weft_error *error)
{
    char old_text[32], new_text[32];
    *is_to_be_stored = true;
    if (node < 0 || node >= t->num_nodes)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "topology: there is no node %d", node);
    const struct weft_attribute *known = weft_topology_attribute(t, node, value->key);
    if (!known)
        return WEFT_OK;
    const char *is = value_text(known, old_text, sizeof old_text);
    const char *says = value_text(value, new_text, sizeof new_text);
    *is_to_be_stored = trust(value->source) >= trust(known->source);
    if (strcmp(is, says) == 0)
        return WEFT_OK;
    return remark_difference(t, node, value->key, known->source, is, value->source, says, error);
}

weft_status weft_topology_learn_number(struct weft_topology *topology, int node, const char *key,
                                       int64_t number, enum weft_source source,
                                       struct weft_error *error)
{
    const struct weft_attribute value = {.key = key, .number = number, .source = source};
    bool is_to_be_stored;
    WEFT_TRY(weigh(topology, node, &value, &is_to_be_stored, error));
    if (!is_to_be_stored)
        return WEFT_OK;
    return weft_topology_set_number(topology, node, key, number, source, error);
}

weft_status weft_topology_learn_text(struct weft_topology *topology, int node, const char *key,
                                     const char *text, enum weft_source source,
                                     struct weft_error *error)
{
    const struct weft_attribute value = {.key = key, .text = text, .source = source};
    bool is_to_be_stored;
    WEFT_TRY(weigh(topology, node, &value, &is_to_be_stored, error));
    if (!is_to_be_stored)
        return WEFT_OK;
    return weft_topology_set_text(topology, node, key, text, source, error);
}

weft_status weft_topology_learn_quantity(struct weft_topology *t, int link, const char *what,
                                         struct weft_quantity *quantity, int64_t value,
                                         enum weft_source source, struct weft_error *error)
{
    if (value < 0 || (int)source <= WEFT_SOURCE_UNKNOWN || source >= WEFT_NUM_SOURCES)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "topology: %s %lld of a link", what,
                         (long long)value);
    const struct weft_quantity known = *quantity;
    if (trust(source) >= trust(known.source))
        *quantity = (struct weft_quantity){value, source};
    if (known.value < 0 || known.value == value)
        return WEFT_OK;
    char old_text[32], new_text[32], name[120];
    snprintf(old_text, sizeof old_text, "%lld", (long long)known.value);
    snprintf(new_text, sizeof new_text, "%lld", (long long)value);
    snprintf(name, sizeof name, "%s of the %s link to %s", what,
             weft_link_kinds[t->links[link].kind].name, t->nodes[t->links[link].from].name);
    return remark_difference(t, t->links[link].to, name, known.source, old_text, source, new_text,
                             error);
}
