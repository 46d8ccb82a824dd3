/*
 * SPDX-License-Identifier: Apache-2.0
 * Reading the graph from JSON. The text may come from anywhere: every member is checked for
 * presence, type and range, unknown keys are refused, and the finished graph passes the check.
 */
#include <limits.h>
#include <string.h>

#include "base/json.h"
#include "topology/forms.h"
#include "topology/json.h"

struct reader {
    struct weft_topology *topology;
    const char *name; // of the text
    struct weft_error *error;
    char where[512]; // path of the object that is being read
};

static weft_status refuse(struct reader *r, const char *what, const char *detail)
{
    return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: %s%s", r->where, what, detail);
}

static void enter(struct reader *r, const char *array, size_t index)
{
    snprintf(r->where, sizeof r->where, "%.400s: %s[%zu]", r->name, array, index);
}

/* Refuses members whose key is not in `allowed` (ended by NULL). */
static weft_status check_keys(struct reader *r, const json_t *object, const char *const *allowed)
{
    if (!json_is_object(object))
        return refuse(r, "is not an object", "");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        const char *const *known = allowed;
        while (*known && strcmp(*known, key) != 0)
            known++;
        if (!*known)
            return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: unknown key \"%.64s\"", r->where,
                             key);
    }
    return WEFT_OK;
}

/* Puts the place before an error of the graph's own functions. */
static weft_status located(struct reader *r, weft_status status)
{
    if (status == WEFT_INVALID_ARGUMENT || status == WEFT_INVALID_FORMAT) {
        weft_fail_prefix(r->error, "%s", r->where);
        if (r->error)
            r->error->status = WEFT_INVALID_FORMAT;
        return WEFT_INVALID_FORMAT;
    }
    return status;
}

static weft_status read_source(struct reader *r, const json_t *object, enum weft_source *source)
{
    const char *text;
    WEFT_TRY(weft_json_string(object, "source", r->where, &text, r->error));
    int found = weft_source_from_name(text);
    if (found <= WEFT_SOURCE_UNKNOWN)
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: unknown source \"%.64s\"", r->where,
                         text);
    *source = (enum weft_source)found;
    return WEFT_OK;
}

static weft_status read_attribute(struct reader *r, int node, const char *key, const json_t *object)
{
    static const char *const keys[] = {"value", "source", NULL};
    WEFT_TRY(check_keys(r, object, keys));
    enum weft_source source = WEFT_SOURCE_UNKNOWN;
    WEFT_TRY(read_source(r, object, &source));
    const json_t *value = json_object_get(object, "value");
    if (json_is_string(value)) {
        if (strlen(json_string_value(value)) != json_string_length(value))
            return refuse(r, "\"value\" has a NUL in it", "");
        return located(r, weft_topology_set_text(r->topology, node, key, json_string_value(value),
                                                 source, r->error));
    }
    int64_t number;
    WEFT_TRY(weft_json_integer(object, "value", 0, INT64_MAX, r->where, &number, r->error));
    return located(r, weft_topology_set_number(r->topology, node, key, number, source, r->error));
}

static weft_status read_node(struct reader *r, const json_t *object)
{
    static const char *const keys[] = {"name", "kind", "parent", "attributes", NULL};
    WEFT_TRY(check_keys(r, object, keys));
    const char *name, *kind_name;
    WEFT_TRY(weft_json_string(object, "name", r->where, &name, r->error));
    if (strlen(name) != json_string_length(json_object_get(object, "name")))
        return refuse(r, "\"name\" has a NUL in it", "");
    WEFT_TRY(weft_json_string(object, "kind", r->where, &kind_name, r->error));
    int kind = weft_node_kind_from_name(kind_name), node;
    if (kind < 0)
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: unknown kind \"%.64s\"", r->where,
                         kind_name);
    WEFT_TRY(located(r, weft_topology_add_node(r->topology, kind, name, -1, &node, r->error)));
    json_t *attributes = json_object_get(object, "attributes"), *attribute;
    if (attributes && !json_is_object(attributes))
        return refuse(r, "\"attributes\" is not an object", "");
    const char *key;
    size_t end = strlen(r->where);
    json_object_foreach(attributes, key, attribute)
    {
        snprintf(r->where + end, sizeof r->where - end, ".attributes.%.64s", key);
        WEFT_TRY(read_attribute(r, node, key, attribute));
        r->where[end] = '\0';
    }
    return WEFT_OK;
}

static weft_status find(struct reader *r, const json_t *object, const char *key, int *node)
{
    const char *name;
    WEFT_TRY(weft_json_string(object, key, r->where, &name, r->error));
    *node = weft_topology_find_node(r->topology, name);
    if (*node < 0)
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s.%s: there is no node \"%.128s\"",
                         r->where, key, name);
    return WEFT_OK;
}

static weft_status read_figure(struct reader *r, const json_t *link, const char *key,
                               struct weft_figure *figure)
{
    static const char *const keys[] = {"nominal", "current", "measured", NULL};
    static const char *const value_keys[] = {"value", "source", NULL};
    struct weft_quantity *forms[] = {&figure->nominal, &figure->current, &figure->measured};
    const json_t *object = json_object_get(link, key);
    if (!object)
        return WEFT_OK;
    size_t end = strlen(r->where);
    snprintf(r->where + end, sizeof r->where - end, ".%s", key);
    WEFT_TRY(check_keys(r, object, keys));
    for (int i = 0; i < 3; i++) {
        const json_t *form = json_object_get(object, keys[i]);
        if (!form)
            continue;
        snprintf(r->where + end, sizeof r->where - end, ".%s.%s", key, keys[i]);
        WEFT_TRY(check_keys(r, form, value_keys));
        WEFT_TRY(
            weft_json_integer(form, "value", 0, INT64_MAX, r->where, &forms[i]->value, r->error));
        WEFT_TRY(read_source(r, form, &forms[i]->source));
    }
    r->where[end] = '\0';
    return WEFT_OK;
}

static weft_status read_ports(struct reader *r, const json_t *object, struct weft_link *link)
{
    const json_t *ports = json_object_get(object, "ports");
    if (!ports)
        return WEFT_OK;
    json_int_t from = json_integer_value(json_array_get(ports, 0));
    json_int_t to = json_integer_value(json_array_get(ports, 1));
    bool are_integers = json_is_integer(json_array_get(ports, 0)) &&
                        json_is_integer(json_array_get(ports, 1)) && json_array_size(ports) == 2;
    if (!are_integers || from < 0 || from > INT_MAX || to < 0 || to > INT_MAX)
        return refuse(r, "\"ports\" is no array of two port numbers", "");
    link->from_port = (int)from;
    link->to_port = (int)to;
    return WEFT_OK;
}

static weft_status read_link(struct reader *r, const json_t *object)
{
    static const char *const keys[] = {"kind",  "from",      "to",      "count", "one_way",
                                       "ports", "bandwidth", "latency", NULL};
    WEFT_TRY(check_keys(r, object, keys));
    const char *kind_name;
    WEFT_TRY(weft_json_string(object, "kind", r->where, &kind_name, r->error));
    struct weft_link link = weft_link_make(weft_link_kind_from_name(kind_name), 0, 0);
    if (link.kind < 0)
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: unknown kind \"%.64s\"", r->where,
                         kind_name);
    WEFT_TRY(find(r, object, "from", &link.from));
    WEFT_TRY(find(r, object, "to", &link.to));
    if (json_object_get(object, "count")) {
        int64_t count;
        WEFT_TRY(weft_json_integer(object, "count", 1, INT_MAX, r->where, &count, r->error));
        link.count = (int)count;
    }
    const json_t *one_way = json_object_get(object, "one_way");
    if (one_way && !json_is_boolean(one_way))
        return refuse(r, "\"one_way\" is not true or false", "");
    link.one_way = json_is_true(one_way);
    WEFT_TRY(read_ports(r, object, &link));
    WEFT_TRY(read_figure(r, object, "bandwidth", &link.bandwidth));
    WEFT_TRY(read_figure(r, object, "latency", &link.latency));
    return located(r, weft_topology_add_link(r->topology, &link, NULL, r->error));
}

static weft_status read_probe(struct reader *r, const json_t *object)
{
    static const char *const keys[] = {"name", "available", "reason", NULL};
    WEFT_TRY(check_keys(r, object, keys));
    const char *name, *reason;
    WEFT_TRY(weft_json_string(object, "name", r->where, &name, r->error));
    WEFT_TRY(weft_json_string(object, "reason", r->where, &reason, r->error));
    const json_t *available = json_object_get(object, "available");
    if (!json_is_boolean(available))
        return refuse(r, "\"available\" is not true or false", "");
    return located(
        r, weft_topology_add_probe(r->topology, name, json_is_true(available), reason, r->error));
}

static weft_status read_remark(struct reader *r, const json_t *object)
{
    static const char *const keys[] = {"kind", "source", "node", "text", NULL};
    WEFT_TRY(check_keys(r, object, keys));
    const char *kind_name, *text;
    enum weft_source source = WEFT_SOURCE_UNKNOWN;
    int node = -1;
    WEFT_TRY(weft_json_string(object, "kind", r->where, &kind_name, r->error));
    WEFT_TRY(weft_json_string(object, "text", r->where, &text, r->error));
    WEFT_TRY(read_source(r, object, &source));
    if (json_object_get(object, "node"))
        WEFT_TRY(find(r, object, "node", &node));
    int kind = weft_remark_kind_from_name(kind_name);
    if (kind < 0)
        return weft_fail(r->error, WEFT_INVALID_FORMAT, "%s: unknown kind \"%.64s\"", r->where,
                         kind_name);
    return located(r, weft_topology_add_remark(r->topology, (enum weft_remark_kind)kind, source,
                                               node, r->error, "%s", text));
}

static weft_status read_all(struct reader *r, const json_t *root)
{
    static const char *const keys[] = {"format", "version", "probes", "remarks",
                                       "nodes",  "links",   NULL};
    snprintf(r->where, sizeof r->where, "%.400s", r->name);
    WEFT_TRY(check_keys(r, root, keys));
    const char *format;
    WEFT_TRY(weft_json_string(root, "format", r->where, &format, r->error));
    if (strcmp(format, "weft-topology") != 0)
        return refuse(r, "\"format\" is not \"weft-topology\"", "");
    int64_t version;
    WEFT_TRY(weft_json_integer(root, "version", 1, 1, r->where, &version, r->error));
    const json_t *nodes, *links, *probes, *remarks, *item;
    size_t i;
    WEFT_TRY(weft_json_array(root, "nodes", r->where, &nodes, r->error));
    WEFT_TRY(weft_json_array(root, "links", r->where, &links, r->error));
    if (json_object_get(root, "probes")) {
        WEFT_TRY(weft_json_array(root, "probes", r->where, &probes, r->error));
        json_array_foreach(probes, i, item)
        {
            enter(r, "probes", i);
            WEFT_TRY(read_probe(r, item));
        }
    }
    json_array_foreach(nodes, i, item)
    {
        enter(r, "nodes", i);
        WEFT_TRY(read_node(r, item));
    }
    // A parent may come after its children, so they are tied together once all exist.
    json_array_foreach(nodes, i, item)
    {
        enter(r, "nodes", i);
        if (json_object_get(item, "parent"))
            WEFT_TRY(find(r, item, "parent", &r->topology->nodes[i].parent));
    }
    json_array_foreach(links, i, item)
    {
        enter(r, "links", i);
        WEFT_TRY(read_link(r, item));
    }
    if (json_object_get(root, "remarks")) {
        WEFT_TRY(weft_json_array(root, "remarks", r->where, &remarks, r->error));
        json_array_foreach(remarks, i, item)
        {
            enter(r, "remarks", i);
            WEFT_TRY(read_remark(r, item));
        }
    }
    return WEFT_OK;
}

static weft_status read_text(const char *text, size_t bytes, const char *name,
                             struct weft_topology *topology, struct weft_error *error)
{
    json_t *root;
    WEFT_TRY(weft_json_parse(text, bytes, name, &root, error));
    struct reader r = {.topology = topology, .name = name, .error = error};
    weft_status status = read_all(&r, root);
    json_decref(root);
    return status;
}

weft_status weft_topology_read_json(const char *text, size_t bytes, const char *name,
                                    struct weft_topology **topology, struct weft_error *error)
{
    return weft_topology_import(&weft_importer_json, text, bytes, name, topology, error);
}

static bool is_json(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '{';
}

const struct weft_importer weft_importer_json = {
    .name = "json",
    .description = "Weft's own JSON",
    .matches = is_json,
    .read = read_text,
};
