/*
 * SPDX-License-Identifier: Apache-2.0
 * See what_if.h.
 */
#include "topology/what_if.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/edges.h"

struct changes {
    struct weft_lines lines;
    struct weft_topology *topology; // a copy, in which figures change and links are added
    bool *is_node_gone;
    bool *is_link_gone; // with room for links that are added
};

static weft_status no_such(struct changes *changes, const char *what, const char *name)
{
    return weft_fail(changes->lines.error, WEFT_NOT_FOUND, "what-if:%d: there is no %s \"%.120s\"",
                     changes->lines.number, what, name);
}

// "host3/nic2" or "nic:host3/nic2".
static weft_status find(struct changes *changes, const char *name, int *node)
{
    const struct weft_topology *t = changes->topology;
    char kind[32];
    const char *colon = strchr(name, ':');
    int row = -1;
    *node = weft_topology_find_node(t, name);
    if (*node < 0 && colon && (size_t)(colon - name) < sizeof kind) {
        memcpy(kind, name, (size_t)(colon - name));
        kind[colon - name] = '\0';
        row = weft_node_kind_from_name(kind);
        *node = row < 0 ? -1 : weft_topology_find_node(t, colon + 1);
    }
    if (*node < 0 || (row >= 0 && t->nodes[*node].kind != row) || changes->is_node_gone[*node])
        return no_such(changes, row < 0 ? "node" : weft_node_kinds[row].singular,
                       row < 0 ? name : colon + 1);
    return WEFT_OK;
}

static weft_status read_node(struct changes *changes, struct weft_span *rest, int *node)
{
    char name[WEFT_TOPOLOGY_NAME_BYTES];
    WEFT_TRY(weft_edges_read_name(&changes->lines, rest, name));
    return find(changes, name, node);
}

static bool joins(const struct weft_link *link, int a, int b)
{
    return (link->from == a && link->to == b) || (link->from == b && link->to == a);
}

static weft_status remove_node(struct changes *changes, struct weft_span rest)
{
    const struct weft_topology *t = changes->topology;
    int node;
    WEFT_TRY(read_node(changes, &rest, &node));
    WEFT_TRY(weft_edges_read_end(&changes->lines, rest));
    for (int i = 0; i < t->num_nodes; i++) {
        int inside = i;
        while (inside >= 0 && inside != node)
            inside = t->nodes[inside].parent;
        changes->is_node_gone[i] |= inside == node;
    }
    return WEFT_OK;
}

// The links between two nodes that follow; *count of them, the first one is *first.
static weft_status read_links(struct changes *changes, struct weft_span *rest, int ends[2],
                              int *first, int *count)
{
    const struct weft_topology *t = changes->topology;
    WEFT_TRY(read_node(changes, rest, &ends[0]));
    WEFT_TRY(read_node(changes, rest, &ends[1]));
    *count = 0;
    for (int i = t->num_links - 1; i >= 0; i--)
        if (joins(&t->links[i], ends[0], ends[1]) && !changes->is_link_gone[i]) {
            *first = i;
            ++*count;
        }
    if (*count)
        return WEFT_OK;
    char names[2 * WEFT_TOPOLOGY_NAME_BYTES + 8];
    snprintf(names, sizeof names, "%s - %s", t->nodes[ends[0]].name, t->nodes[ends[1]].name);
    return no_such(changes, "link", names);
}

static weft_status remove_links(struct changes *changes, struct weft_span rest)
{
    int ends[2], first, count;
    WEFT_TRY(read_links(changes, &rest, ends, &first, &count));
    WEFT_TRY(weft_edges_read_end(&changes->lines, rest));
    for (int i = 0; i < changes->topology->num_links; i++)
        changes->is_link_gone[i] |= joins(&changes->topology->links[i], ends[0], ends[1]);
    return WEFT_OK;
}

static void give(struct weft_link *link, int64_t bandwidth)
{
    link->bandwidth.nominal = (struct weft_quantity){bandwidth, WEFT_SOURCE_ASSUMED};
    link->bandwidth.current = link->bandwidth.measured = WEFT_QUANTITY_UNKNOWN;
}

static weft_status set_links(struct changes *changes, struct weft_span rest)
{
    int ends[2], first, count;
    int64_t capacity;
    WEFT_TRY(read_links(changes, &rest, ends, &first, &count));
    WEFT_TRY(weft_edges_read_capacity(&changes->lines, &rest, &capacity));
    WEFT_TRY(weft_edges_read_end(&changes->lines, rest));
    for (int i = first; i < changes->topology->num_links; i++)
        if (joins(&changes->topology->links[i], ends[0], ends[1]) && !changes->is_link_gone[i])
            give(&changes->topology->links[i], capacity / count);
    return WEFT_OK;
}

static weft_status add_link(struct changes *changes, struct weft_span rest)
{
    struct weft_topology *t = changes->topology;
    int ends[2], kind = WEFT_LINK_NETWORK;
    int64_t capacity;
    WEFT_TRY(read_node(changes, &rest, &ends[0]));
    WEFT_TRY(read_node(changes, &rest, &ends[1]));
    WEFT_TRY(weft_edges_read_capacity(&changes->lines, &rest, &capacity));
    WEFT_TRY(weft_edges_read_end(&changes->lines, rest));
    for (int i = t->num_links - 1; i >= 0; i--)
        if (t->links[i].from == ends[0] || t->links[i].to == ends[0])
            kind = t->links[i].kind;
    struct weft_link link = weft_link_make(kind, ends[0], ends[1]);
    give(&link, capacity);
    return weft_lines_located(&changes->lines,
                              weft_topology_add_link(t, &link, NULL, changes->lines.error));
}

static weft_status apply(struct changes *changes)
{
    while (weft_lines_next(&changes->lines)) {
        struct weft_span rest = changes->lines.line;
        struct weft_span word = weft_span_word(&rest), after = rest;
        char text[40];
        if (word.bytes == 0 || word.at[0] == '#')
            continue;
        if (weft_span_is(word, "remove") && weft_span_is(weft_span_word(&after), "link"))
            WEFT_TRY(remove_links(changes, after));
        else if (weft_span_is(word, "remove"))
            WEFT_TRY(remove_node(changes, rest));
        else if (weft_span_is(word, "set"))
            WEFT_TRY(set_links(changes, rest));
        else if (weft_span_is(word, "add"))
            WEFT_TRY(add_link(changes, rest));
        else
            return weft_lines_refuse(&changes->lines, "\"%s\" is none of remove, set, add",
                                     weft_span_copy(word, text, sizeof text));
    }
    return WEFT_OK;
}

weft_status weft_topology_what_if(const struct weft_topology *topology, const char *text,
                                  struct weft_topology **changed, struct weft_error *error)
{
    struct changes changes = {0};
    char *lines = strdup(text);
    for (char *c = lines; c && *c; c++)
        if (*c == ';')
            *c = '\n';
    weft_status status = WEFT_OUT_OF_MEMORY;
    changes.is_node_gone = calloc((size_t)topology->num_nodes + 1, sizeof(bool));
    if (lines && changes.is_node_gone)
        status = weft_topology_copy(topology, &changes.topology, error);
    else
        weft_fail(error, status, "no memory for a topology");
    if (status == WEFT_OK) {
        // Room for the links that lines may add, each line at most one.
        changes.is_link_gone = calloc((size_t)topology->num_links + strlen(lines) + 1, 1);
        changes.lines = weft_lines_start(lines, "what-if", error);
        status = changes.is_link_gone ? apply(&changes)
                                      : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory");
    }
    if (status == WEFT_OK)
        status = weft_topology_copy_part(changes.topology, changes.is_node_gone,
                                         changes.is_link_gone, changed, error);
    weft_topology_destroy(&changes.topology);
    free(changes.is_node_gone);
    free(changes.is_link_gone);
    free(lines);
    return status;
}
