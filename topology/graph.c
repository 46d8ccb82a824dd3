/*
 * SPDX-License-Identifier: Apache-2.0
 * Storage of the graph: growing arrays of nodes and links, one arena for every string and
 * attribute, one open-addressing hash table from name to node.
 */
#include "topology/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/array.h"
#include "base/format.h"
#include "topology/graph_private.h"

enum {
    ARENA_BLOCK_BYTES = 1 << 16,
    FIRST_INDEX_SLOTS = 64,
    MAX_LINK_COUNT = 1 << 20,
    MAX_ATTRIBUTES = 256,
    MAX_TWINS = 1000, // nodes that would have one name
    MAX_PORT = 1 << 16,
};

struct arena_block {
    struct arena_block *next;
    size_t used, room;
    _Alignas(max_align_t) char bytes[];
};

struct weft_topology_private {
    struct arena_block *blocks;
    int room_nodes, room_links, room_probes, room_remarks;
    int *slots; // node index or -1; a power of two, at most half full
    size_t num_slots;
};

static void *arena_allocate(struct weft_topology_private *private, size_t bytes)
{
    bytes = (bytes + 7) & ~(size_t)7;
    struct arena_block *block = private->blocks;
    if (!block || block->room - block->used < bytes) {
        size_t room = bytes > ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES;
        block = malloc(sizeof *block + room);
        if (!block)
            return NULL;
        *block = (struct arena_block){.next = private->blocks, .room = room};
        private->blocks = block;
    }
    void *memory = block->bytes + block->used;
    block->used += bytes;
    return memory;
}

static char *arena_copy(struct weft_topology_private *private, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = arena_allocate(private, bytes);
    if (copy)
        memcpy(copy, text, bytes);
    return copy;
}

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory");
}

weft_status weft_topology_create(struct weft_topology **topology, struct weft_error *error)
{
    struct weft_topology *made = calloc(1, sizeof *made);
    if (made)
        made->private = calloc(1, sizeof *made->private);
    if (!made || !made->private) {
        weft_topology_destroy(&made);
        return no_memory(error);
    }
    *topology = made;
    return WEFT_OK;
}

void weft_topology_destroy(struct weft_topology **topology)
{
    if (!topology || !*topology)
        return;
    struct weft_topology *t = *topology;
    if (t->private) {
        for (struct arena_block *block = t->private->blocks, *next; block; block = next) {
            next = block->next;
            free(block);
        }
        free(t->private->slots);
    }
    free(t->private);
    free(t->nodes);
    free(t->links);
    free(t->probes);
    free(t->remarks);
    free(t);
    *topology = NULL;
}

/* ---- names ---- */

static weft_status check_text(const char *what, const char *text, size_t shortest,
                              struct weft_error *error)
{
    size_t bytes = 0;
    for (; bytes < WEFT_TOPOLOGY_NAME_BYTES && text[bytes]; bytes++)
        if (text[bytes] < 0x20 || text[bytes] > 0x7e)
            return weft_fail(error, WEFT_INVALID_ARGUMENT,
                             "topology: %s has byte 0x%02x at %zu; only printable ASCII is allowed",
                             what, (unsigned char)text[bytes], bytes);
    if (bytes < shortest || bytes >= WEFT_TOPOLOGY_NAME_BYTES)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "topology: %s is %s", what,
                         bytes < shortest ? "empty" : "longer than 255 bytes");
    return WEFT_OK;
}

/* The slot that holds `name`, or the empty one where it belongs. */
static size_t slot_of(const struct weft_topology *t, const char *name)
{
    size_t mask = t->private->num_slots - 1;
    size_t slot = XXH3_64bits(name, strlen(name)) & mask;
    while (t->private->slots[slot] >= 0 &&
           strcmp(t->nodes[t->private->slots[slot]].name, name) != 0)
        slot = (slot + 1) & mask;
    return slot;
}

weft_status weft_topology_reindex(struct weft_topology *t, size_t num_slots,
                                  struct weft_error *error)
{
    if (num_slots == 0)
        num_slots = t->private->num_slots;
    if (num_slots == 0)
        return WEFT_OK;
    int *slots = malloc(num_slots * sizeof *slots);
    if (!slots)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory for %zu names", num_slots);
    for (size_t i = 0; i < num_slots; i++)
        slots[i] = -1;
    free(t->private->slots);
    t->private->slots = slots;
    t->private->num_slots = num_slots;
    for (int i = 0; i < t->num_nodes; i++)
        slots[slot_of(t, t->nodes[i].name)] = i;
    return WEFT_OK;
}

int weft_topology_find_node(const struct weft_topology *t, const char *name)
{
    return t->private->num_slots ? t->private->slots[slot_of(t, name)] : -1;
}

/* ---- adding ---- */

weft_status weft_topology_add_node(struct weft_topology *t, int kind, const char *name, int parent,
                                   int *node, struct weft_error *error)
{
    if (kind < 0 || kind >= WEFT_NUM_NODE_KINDS)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "topology: %d is no node kind", kind);
    WEFT_TRY(check_text("a node name", name, 1, error));
    if (parent < -1 || parent >= t->num_nodes)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "topology: node \"%s\" has no parent %d",
                         name, parent);
    if (t->num_nodes >= WEFT_TOPOLOGY_MAX_NODES)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "topology: more than %d nodes",
                         WEFT_TOPOLOGY_MAX_NODES);
    if ((size_t)t->num_nodes * 2 >= t->private->num_slots) {
        size_t larger = t->private->num_slots ? t->private->num_slots * 2 : FIRST_INDEX_SLOTS;
        WEFT_TRY(weft_topology_reindex(t, larger, error));
    }
    size_t slot = slot_of(t, name);
    if (t->private->slots[slot] >= 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "topology: two nodes are named \"%s\"",
                         name);
    struct weft_node *nodes =
        weft_array_grow(t->nodes, t->num_nodes, &t->private->room_nodes, sizeof *nodes);
    if (!nodes)
        return no_memory(error);
    t->nodes = nodes;
    char *copy = arena_copy(t->private, name);
    if (!copy)
        return no_memory(error);
    t->nodes[t->num_nodes] = (struct weft_node){.kind = kind, .parent = parent, .name = copy};
    t->private->slots[slot] = t->num_nodes;
    if (node)
        *node = t->num_nodes;
    t->num_nodes++;
    return WEFT_OK;
}

weft_status weft_topology_add_twin(struct weft_topology *t, int kind, const char *name, int parent,
                                   int *node, struct weft_error *error)
{
    char twin[WEFT_TOPOLOGY_NAME_BYTES];
    snprintf(twin, sizeof twin, "%s", name);
    for (int i = 2; i <= MAX_TWINS && weft_topology_find_node(t, twin) >= 0; i++)
        snprintf(twin, sizeof twin, "%.248s~%d", name, i);
    return weft_topology_add_node(t, kind, twin, parent, node, error);
}

static weft_status set_attribute(struct weft_topology *t, int node, struct weft_attribute value,
                                 struct weft_error *error)
{
    if (node < 0 || node >= t->num_nodes)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "topology: there is no node %d", node);
    if ((int)value.source <= WEFT_SOURCE_UNKNOWN || value.source >= WEFT_NUM_SOURCES)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "topology: %d is no source of a number",
                         (int)value.source);
    WEFT_TRY(check_text("an attribute key", value.key, 1, error));
    if (value.text) {
        WEFT_TRY(check_text("an attribute text", value.text, 0, error));
        value.text = arena_copy(t->private, value.text);
        if (!value.text)
            return no_memory(error);
    } else if (value.number < 0) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "topology: \"%s\" is negative (%lld)",
                         value.key, (long long)value.number);
    }
    struct weft_attribute **place = &t->nodes[node].attributes;
    int count = 0;
    for (; *place && strcmp((*place)->key, value.key) < 0; count++)
        place = &(*place)->next;
    bool is_there = *place && strcmp((*place)->key, value.key) == 0;
    for (const struct weft_attribute *after = *place; after; after = after->next)
        count++;
    if (!is_there && count >= MAX_ATTRIBUTES) // lists are searched from their start
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "topology: node \"%s\" has over %d attributes", t->nodes[node].name,
                         MAX_ATTRIBUTES);
    struct weft_attribute *attribute =
        is_there ? *place : arena_allocate(t->private, sizeof *attribute);
    value.next = is_there ? attribute->next : *place;
    value.key = is_there ? attribute->key : arena_copy(t->private, value.key);
    if (!attribute || !value.key)
        return no_memory(error);
    *attribute = value;
    *place = attribute;
    return WEFT_OK;
}

weft_status weft_topology_set_number(struct weft_topology *topology, int node, const char *key,
                                     int64_t number, enum weft_source source,
                                     struct weft_error *error)
{
    struct weft_attribute value = {.key = key, .number = number, .source = source};
    return set_attribute(topology, node, value, error);
}

weft_status weft_topology_set_text(struct weft_topology *topology, int node, const char *key,
                                   const char *text, enum weft_source source,
                                   struct weft_error *error)
{
    struct weft_attribute value = {.key = key, .text = text, .source = source};
    return set_attribute(topology, node, value, error);
}

struct weft_link weft_link_make(int kind, int from, int to)
{
    const struct weft_figure nothing = {WEFT_QUANTITY_UNKNOWN, WEFT_QUANTITY_UNKNOWN,
                                        WEFT_QUANTITY_UNKNOWN};
    return (struct weft_link){
        .kind = kind, .from = from, .to = to, .count = 1, .bandwidth = nothing, .latency = nothing};
}

static weft_status check_figure(const struct weft_figure *figure, const char *what,
                                struct weft_error *error)
{
    const struct weft_quantity *forms[] = {&figure->nominal, &figure->current, &figure->measured};
    for (int i = 0; i < 3; i++) {
        if (forms[i]->value < -1)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "a link's %s is negative (%lld)", what,
                             (long long)forms[i]->value);
        if ((int)forms[i]->source < 0 || forms[i]->source >= WEFT_NUM_SOURCES ||
            (forms[i]->value >= 0) != (forms[i]->source != WEFT_SOURCE_UNKNOWN))
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "a link's %s has source %d, value %lld",
                             what, (int)forms[i]->source, (long long)forms[i]->value);
    }
    return WEFT_OK;
}

weft_status weft_link_check(const struct weft_link *link, int num_nodes, struct weft_error *error)
{
    if (link->kind < 0 || link->kind >= WEFT_NUM_LINK_KINDS)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d is no link kind", link->kind);
    if (link->from < 0 || link->from >= num_nodes || link->to < 0 || link->to >= num_nodes)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a link joins nodes %d and %d of %d",
                         link->from, link->to, num_nodes);
    if (link->from == link->to)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a link joins node %d with itself",
                         link->from);
    if (link->count < 1 || link->count > MAX_LINK_COUNT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a link has count %d, not from 1 to %d",
                         link->count, MAX_LINK_COUNT);
    if (link->from_port < 0 || link->from_port > MAX_PORT || link->to_port < 0 ||
        link->to_port > MAX_PORT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a link has port %d or %d, not from 0 to %d",
                         link->from_port, link->to_port, MAX_PORT);
    WEFT_TRY(check_figure(&link->bandwidth, "bandwidth", error));
    return check_figure(&link->latency, "latency", error);
}

weft_status weft_topology_add_link(struct weft_topology *t, const struct weft_link *link,
                                   int *index, struct weft_error *error)
{
    if (weft_link_check(link, t->num_nodes, error) != WEFT_OK)
        return weft_fail_prefix(error, "topology");
    if (t->num_links >= WEFT_TOPOLOGY_MAX_LINKS)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "topology: more than %d links",
                         WEFT_TOPOLOGY_MAX_LINKS);
    struct weft_link *links =
        weft_array_grow(t->links, t->num_links, &t->private->room_links, sizeof *links);
    if (!links)
        return no_memory(error);
    t->links = links;
    t->links[t->num_links] = *link;
    if (index)
        *index = t->num_links;
    t->num_links++;
    return WEFT_OK;
}

weft_status weft_topology_add_probe(struct weft_topology *t, const char *name, bool available,
                                    const char *reason, struct weft_error *error)
{
    WEFT_TRY(check_text("a probe name", name, 1, error));
    WEFT_TRY(check_text("a probe's reason", reason, 0, error));
    struct weft_probe_record *probes =
        weft_array_grow(t->probes, t->num_probes, &t->private->room_probes, sizeof *probes);
    if (!probes)
        return no_memory(error);
    t->probes = probes;
    struct weft_probe_record record = {arena_copy(t->private, name), available,
                                       arena_copy(t->private, reason)};
    if (!record.name || !record.reason)
        return no_memory(error);
    t->probes[t->num_probes++] = record;
    return WEFT_OK;
}

static weft_status add_remark(struct weft_topology *t, struct weft_remark remark,
                              struct weft_error *error)
{
    struct weft_remark *remarks =
        weft_array_grow(t->remarks, t->num_remarks, &t->private->room_remarks, sizeof *remarks);
    if (!remarks)
        return no_memory(error);
    t->remarks = remarks;
    remark.text = arena_copy(t->private, remark.text);
    if (!remark.text)
        return no_memory(error);
    t->remarks[t->num_remarks++] = remark;
    return WEFT_OK;
}

weft_status weft_topology_add_remark(struct weft_topology *t, enum weft_remark_kind kind,
                                     enum weft_source source, int node, struct weft_error *error,
                                     const char *format, ...)
{
    char text[WEFT_TOPOLOGY_NAME_BYTES];
    if ((int)kind < 0 || kind >= WEFT_NUM_REMARK_KINDS || node < -1 || node >= t->num_nodes ||
        (int)source <= WEFT_SOURCE_UNKNOWN || source >= WEFT_NUM_SOURCES)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "topology: a remark of kind %d, node %d",
                         (int)kind, node);
    if (t->num_remarks >= WEFT_TOPOLOGY_MAX_REMARKS)
        return WEFT_OK;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (t->num_remarks == WEFT_TOPOLOGY_MAX_REMARKS - 1) {
        snprintf(text, sizeof text, "further remarks are left out");
        node = -1;
    }
    weft_make_printable(text);
    return add_remark(t, (struct weft_remark){kind, source, node, text}, error);
}

static weft_status copy_attributes(struct weft_topology *to, int node,
                                   const struct weft_attribute *a, struct weft_error *error)
{
    for (; a; a = a->next) {
        const struct weft_attribute value = {a->key, a->text, a->number, a->source, NULL};
        WEFT_TRY(set_attribute(to, node, value, error));
    }
    return WEFT_OK;
}

// Nodes and links that stay, and what there is to say about them. place[i]: of node i; -1: gone.
static weft_status copy_into(const struct weft_topology *t, const int *place,
                             const bool *is_link_gone, struct weft_topology *to,
                             struct weft_error *error)
{
    for (int i = 0; i < t->num_nodes; i++) {
        if (place[i] < 0)
            continue;
        int parent = t->nodes[i].parent;
        WEFT_TRY(weft_topology_add_node(to, t->nodes[i].kind, t->nodes[i].name, -1, NULL, error));
        WEFT_TRY(copy_attributes(to, place[i], t->nodes[i].attributes, error));
        to->nodes[place[i]].parent = parent < 0 ? -1 : place[parent];
    }
    for (int i = 0; i < t->num_links; i++) {
        struct weft_link link = t->links[i];
        if (place[link.from] < 0 || place[link.to] < 0 || (is_link_gone && is_link_gone[i]))
            continue;
        link.from = place[link.from], link.to = place[link.to];
        WEFT_TRY(weft_topology_add_link(to, &link, NULL, error));
    }
    for (int i = 0; i < t->num_probes; i++)
        WEFT_TRY(weft_topology_add_probe(to, t->probes[i].name, t->probes[i].available,
                                         t->probes[i].reason, error));
    for (int i = 0; i < t->num_remarks; i++) {
        struct weft_remark remark = t->remarks[i];
        if (remark.node >= 0 && place[remark.node] < 0)
            continue;
        remark.node = remark.node < 0 ? -1 : place[remark.node];
        WEFT_TRY(add_remark(to, remark, error));
    }
    return WEFT_OK;
}

weft_status weft_topology_copy_part(const struct weft_topology *topology, const bool *is_node_gone,
                                    const bool *is_link_gone, struct weft_topology **copy,
                                    struct weft_error *error)
{
    struct weft_topology *made = NULL;
    int count = 0, *place = malloc(((size_t)topology->num_nodes + 1) * sizeof *place);
    if (!place)
        return no_memory(error);
    for (int i = 0; i < topology->num_nodes; i++)
        place[i] = is_node_gone && is_node_gone[i] ? -1 : count++;
    weft_status status = weft_topology_create(&made, error);
    if (status == WEFT_OK)
        status = copy_into(topology, place, is_link_gone, made, error);
    free(place);
    if (status != WEFT_OK) {
        weft_topology_destroy(&made);
        return status;
    }
    *copy = made;
    return WEFT_OK;
}

weft_status weft_topology_copy(const struct weft_topology *topology, struct weft_topology **copy,
                               struct weft_error *error)
{
    return weft_topology_copy_part(topology, NULL, NULL, copy, error);
}
