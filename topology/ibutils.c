/*
 * SPDX-License-Identifier: Apache-2.0
 * Reads .topo files of ibutils: how a fabric was meant to be cabled. A system opens with a line
 * "TYPE NAME" and lists its cables as "PORT -> TYPE NAME PORT"; one side is enough. What a TYPE has
 * inside stands in files that this reader has not, so each system is one node, and whether it is a
 * switch is told by the cables: an adapter has two ports at most.
 */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "topology/fabric.h"
#include "topology/forms.h"
#include "topology/lines.h"

enum { MAX_ADAPTER_CABLES = 2 };

struct system {
    struct weft_span type, name;
    int device;
    int num_cables;
};

struct ibutils {
    struct weft_lines lines;
    struct weft_fabric *fabric;
    struct weft_error *error;
    struct system *systems; // by device number
    int num_systems, room;
    int open;           // the system whose cables follow, -1: none
    bool has_own_lines; // some system was opened
};

static weft_status find_system(struct ibutils *u, struct weft_span type, struct weft_span name,
                               int *device)
{
    WEFT_TRY(weft_lines_located(&u->lines, weft_fabric_refer(u->fabric, name, device, u->error)));
    if (*device < u->num_systems) {
        struct weft_span known = u->systems[*device].type;
        if (known.bytes != type.bytes || memcmp(known.at, type.at, type.bytes) != 0)
            return weft_lines_refuse(&u->lines, "%.*s is a %.*s here and a %.*s before",
                                     (int)(name.bytes < 60 ? name.bytes : 60), name.at,
                                     (int)(type.bytes < 40 ? type.bytes : 40), type.at,
                                     (int)(known.bytes < 40 ? known.bytes : 40), known.at);
        return WEFT_OK;
    }
    struct system *systems = weft_array_grow(u->systems, u->num_systems, &u->room, sizeof *systems);
    if (!systems)
        return weft_fail(u->error, WEFT_OUT_OF_MEMORY, "ibutils: no memory");
    u->systems = systems;
    u->systems[u->num_systems++] = (struct system){.type = type, .name = name, .device = *device};
    return WEFT_OK;
}

/* "P5", or "L3/P12" on a chassis, where only the last number is a port: those cannot be told apart
 * without the file of the type. */
static weft_status read_port(struct ibutils *u, struct weft_span word, int *port)
{
    int64_t number;
    struct weft_span rest = word;
    if (!weft_span_take(&rest, "P") || !weft_span_number(&rest, 1, WEFT_FABRIC_MAX_PORT, &number) ||
        rest.bytes)
        return weft_lines_refuse(&u->lines, "\"%.*s\" is no port from P1 to P%d",
                                 (int)(word.bytes < 60 ? word.bytes : 60), word.at,
                                 WEFT_FABRIC_MAX_PORT);
    *port = (int)number;
    return WEFT_OK;
}

/* "-4x-5G->" is an arrow too: width and signalling rate of each lane. */
static weft_status read_arrow(struct ibutils *u, struct weft_span word, int64_t *current)
{
    static const struct {
        const char *signalling, *rate;
    } rates[] = {{"2.5G", "SDR"}, {"5G", "DDR"},  {"10G", "QDR"},
                 {"14G", "FDR"},  {"25G", "EDR"}, {"50G", "HDR"}};
    struct weft_span rest = word;
    int64_t lanes;
    if (weft_span_is(word, "->"))
        return WEFT_OK;
    if (weft_span_take(&rest, "-") && weft_span_number(&rest, 1, 12, &lanes) &&
        weft_span_take(&rest, "x-"))
        for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
            struct weft_span end = rest;
            if (!weft_span_take(&end, rates[i].signalling) || !weft_span_is(end, "->"))
                continue;
            const struct weft_span rate = {rates[i].rate, strlen(rates[i].rate)};
            *current = lanes * weft_fabric_lane_bandwidth(rate);
            return WEFT_OK;
        }
    return weft_lines_refuse(&u->lines, "\"%.*s\" is no arrow, such as -> or -4x-5G->",
                             (int)(word.bytes < 60 ? word.bytes : 60), word.at);
}

static weft_status read_cable(struct ibutils *u, struct weft_span rest)
{
    if (u->open < 0)
        return weft_lines_refuse(&u->lines, "a cable before any system");
    struct weft_fabric_port p = weft_fabric_port_make(u->open, 0);
    WEFT_TRY(read_port(u, weft_span_word(&rest), &p.port));
    WEFT_TRY(read_arrow(u, weft_span_word(&rest), &p.nominal));
    struct weft_span type = weft_span_word(&rest), name = weft_span_word(&rest);
    struct weft_span port = weft_span_word(&rest);
    if (port.bytes == 0 || weft_span_trim(rest).bytes)
        return weft_lines_refuse(&u->lines, "a cable is \"PORT -> TYPE NAME PORT\"");
    WEFT_TRY(read_port(u, port, &p.peer_port));
    WEFT_TRY(find_system(u, type, name, &p.peer));
    u->systems[u->open].num_cables++;
    u->systems[p.peer].num_cables++;
    return weft_lines_located(&u->lines, weft_fabric_state(u->fabric, &p, u->error));
}

static weft_status read_line(struct ibutils *u)
{
    struct weft_span rest = u->lines.line;
    struct weft_span first = weft_span_word(&rest);
    struct weft_span second = weft_span_word(&rest);
    bool is_cable = second.bytes > 1 && second.at[0] == '-' && second.at[second.bytes - 1] == '>';
    if (is_cable)
        return read_cable(u, u->lines.line);
    if (second.bytes == 0 || weft_span_trim(rest).bytes)
        return weft_lines_refuse(&u->lines, "neither a system, \"TYPE NAME\", nor a cable, "
                                            "\"PORT -> TYPE NAME PORT\"");
    u->has_own_lines = true;
    return find_system(u, first, second, &u->open);
}

/* ---- which types are switches ---- */

static int compare_types(const void *a, const void *b)
{
    const struct system *x = a, *y = b;
    size_t bytes = x->type.bytes < y->type.bytes ? x->type.bytes : y->type.bytes;
    int order = memcmp(x->type.at, y->type.at, bytes);
    if (order == 0 && x->type.bytes != y->type.bytes)
        order = x->type.bytes < y->type.bytes ? -1 : 1;
    return order ? order : x->device - y->device;
}

static weft_status declare_systems(struct ibutils *u)
{
    qsort(u->systems, (size_t)u->num_systems, sizeof *u->systems, compare_types);
    for (int first = 0, end; first < u->num_systems; first = end) {
        int most = 0;
        for (end = first;
             end < u->num_systems && u->systems[end].type.bytes == u->systems[first].type.bytes &&
             memcmp(u->systems[end].type.at, u->systems[first].type.at,
                    u->systems[first].type.bytes) == 0;
             end++)
            most = u->systems[end].num_cables > most ? u->systems[end].num_cables : most;
        for (int i = first; i < end; i++) {
            struct weft_fabric_device about = weft_fabric_device_make(
                most > MAX_ADAPTER_CABLES ? WEFT_FABRIC_SWITCH : WEFT_FABRIC_ADAPTER);
            about.description = u->systems[i].name;
            about.model = u->systems[i].type;
            WEFT_TRY(weft_fabric_declare(u->fabric, u->systems[i].device, &about, u->error));
        }
    }
    return WEFT_OK;
}

static weft_status read_all(struct ibutils *u, struct weft_topology *topology)
{
    while (weft_lines_next(&u->lines)) {
        if (u->lines.line.bytes == 0)
            u->open = -1;
        else if (u->lines.line.at[0] != '#')
            WEFT_TRY(read_line(u));
    }
    if (!u->has_own_lines)
        return weft_lines_refuse(&u->lines, "no system in the file");
    WEFT_TRY(declare_systems(u));
    WEFT_TRY(weft_lines_located(&u->lines, weft_fabric_finish(u->fabric, topology, u->error)));
    return weft_topology_add_remark(topology, WEFT_REMARK_GUESS, WEFT_SOURCE_FILE, -1, u->error,
                                    "which systems are switches was told by their cables (an "
                                    "adapter has at most %d); what is inside them is not known",
                                    MAX_ADAPTER_CABLES);
}

static bool ibutils_matches(const char *text)
{
    struct weft_lines lines = weft_lines_start(text, "", NULL);
    bool has_system = false;
    while (weft_lines_next(&lines)) {
        struct weft_span rest = lines.line;
        if (!rest.bytes || rest.at[0] == '#')
            continue;
        struct weft_span first = weft_span_word(&rest), second = weft_span_word(&rest);
        if (has_system)
            return first.at[0] == 'P' && second.bytes > 1 && second.at[0] == '-' &&
                   second.at[second.bytes - 1] == '>';
        if (!second.bytes || weft_span_trim(rest).bytes)
            return false;
        has_system = true;
    }
    return false;
}

static weft_status ibutils_read(const char *text, size_t bytes, const char *name,
                                struct weft_topology *topology, struct weft_error *error)
{
    (void)bytes;
    struct ibutils u = {.lines = weft_lines_start(text, name, error), .error = error, .open = -1};
    WEFT_TRY(weft_fabric_create(WEFT_SOURCE_FILE, false, &u.fabric, error));
    weft_status status = read_all(&u, topology);
    weft_fabric_destroy(&u.fabric);
    free(u.systems);
    return status;
}

const struct weft_importer weft_importer_ibutils = {
    .name = "ibutils",
    .description = ".topo file of ibutils: how a fabric was meant to be cabled",
    .matches = ibutils_matches,
    .read = ibutils_read,
};
