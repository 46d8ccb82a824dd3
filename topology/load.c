/*
 * SPDX-License-Identifier: Apache-2.0
 * See load.h. Files are told apart by how their content starts, never by their name.
 */
#include "topology/load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "topology/json.h"
#include "topology/probe.h"
#include "topology/synthetic.h"

enum { FILE_LIMIT_BYTES = 1 << 30 };

static weft_status read_hwloc_xml(const char *text, size_t bytes, const char *name,
                                  struct weft_topology **topology, struct weft_error *error)
{
    struct weft_topology *made = NULL;
    WEFT_TRY(weft_topology_create(&made, error));
    weft_status status = weft_probe_hwloc_xml(made, text, bytes, name, error);
    if (status == WEFT_OK)
        status = weft_topology_add_probe(made, "hwloc-xml", true, "", error);
    if (status != WEFT_OK) {
        weft_topology_destroy(&made);
        return status;
    }
    *topology = made;
    return WEFT_OK;
}

/* Whether the first element of an XML text is <name ...>; prolog, comments and DOCTYPE are passed.
 */
static bool has_xml_root(const char *text, const char *name)
{
    for (;;) {
        text += strspn(text, " \t\r\n");
        if (*text != '<')
            return false;
        const char *end_mark = strncmp(text, "<!--", 4) == 0 ? "-->" : ">";
        if (text[1] != '?' && text[1] != '!') {
            size_t length = strlen(name);
            return strncmp(text + 1, name, length) == 0 && strchr(" \t\r\n>/", text[length + 1]);
        }
        text = strstr(text, end_mark);
        if (!text)
            return false;
        text += strlen(end_mark);
    }
}

static bool is_hwloc_xml(const char *text)
{
    return has_xml_root(text, "topology");
}

static bool is_json(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '{';
}

/* One row per file form: the first whose `matches` says yes reads the text. */
static const struct {
    const char *name;
    bool (*matches)(const char *text);
    weft_status (*read)(const char *text, size_t bytes, const char *name,
                        struct weft_topology **topology, struct weft_error *error);
} importers[] = {
    {"Weft JSON", is_json, weft_topology_read_json},
    {"hwloc XML", is_hwloc_xml, read_hwloc_xml},
};

static weft_status load_file(const char *path, struct weft_topology **topology,
                             struct weft_error *error)
{
    char *text;
    size_t bytes;
    WEFT_TRY(weft_file_read(path, FILE_LIMIT_BYTES, &text, &bytes, error));
    weft_status status = WEFT_OK;
    size_t i = 0;
    const size_t num_importers = sizeof importers / sizeof importers[0];
    if (strlen(text) != bytes) {
        status = weft_fail(error, WEFT_INVALID_FORMAT, "%s: byte 0 at %zu; this is no text file",
                           path, strlen(text));
        i = num_importers;
    }
    while (i < num_importers && !importers[i].matches(text))
        i++;
    if (i < num_importers)
        status = importers[i].read(text, bytes, path, topology, error);
    else if (status == WEFT_OK)
        status =
            weft_fail(error, WEFT_INVALID_FORMAT,
                      "%s: neither Weft's JSON nor hwloc's XML (no other form is known)", path);
    free(text);
    return status;
}

static weft_status load_any(const char *source, struct weft_topology **topology,
                            struct weft_error *error)
{
    if (!source || !source[0]) {
        WEFT_TRY(weft_topology_create(topology, error));
        return weft_topology_probe(topology, error);
    }
    if (strcmp(source, "-") == 0 || access(source, F_OK) == 0)
        return load_file(source, topology, error);
    // a string with a slash or a dot cannot be synthetic up to its first count: a mistyped path
    if (!strchr(source, ':') && strpbrk(source, "/."))
        return weft_fail(error, WEFT_NOT_FOUND, "%s: no such file", source);
    return weft_topology_from_synthetic(source, topology, error);
}

weft_status weft_topology_load(const char *source, struct weft_topology **topology,
                               struct weft_error *error)
{
    struct weft_topology *made = NULL;
    weft_status status = load_any(source, &made, error);
    if (status == WEFT_OK)
        status = weft_topology_check(made, error);
    if (status == WEFT_OK)
        status = weft_topology_sort(made, error);
    if (status != WEFT_OK) {
        weft_topology_destroy(&made);
        return status;
    }
    *topology = made;
    return WEFT_OK;
}
