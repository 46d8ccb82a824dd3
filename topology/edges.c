/*
 * SPDX-License-Identifier: Apache-2.0
 * Edge lists: the plainest form of a graph, for people and planners.
 *
 *   node NAME gpu|switch
 *   link A B CAPACITY [both]     # GB/s per direction, from A to B only unless `both` follows
 *
 * A '#' where a word would begin starts a comment. In names, a blank is written %20, '#' %23 and
 * '%' %25, so that any name of a graph can be written. Writing flattens: whatever passes traffic on
 * (PCIe switch, NIC, NUMA domain) is a switch, what cannot (a core) is left out. An edge list that
 * was read is written again as it was, but for order, comments and how numbers are spelled.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "topology/edges.h"
#include "topology/forms.h"
#include "topology/lines.h"

enum { MAX_GIGABYTES = 1000000000, CAPACITY_UNIT = 1000 }; // bytes per second in the sixth place

/* ---- reading ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

weft_status weft_edges_read_name(struct weft_lines *lines, struct weft_span *rest,
                                 char name[WEFT_TOPOLOGY_NAME_BYTES])
{
    struct weft_span word = weft_span_word(rest);
    size_t used = 0;
    if (word.bytes == 0 || word.at[0] == '#')
        return weft_lines_refuse(lines, "expected a name");
    for (size_t i = 0; i < word.bytes; i++) {
        int c = (unsigned char)word.at[i];
        if (used + 1 >= WEFT_TOPOLOGY_NAME_BYTES)
            return weft_lines_refuse(lines, "a name longer than 255 bytes");
        if (c == '%') {
            int high = i + 2 < word.bytes ? hex_digit(word.at[i + 1]) : -1;
            int low = i + 2 < word.bytes ? hex_digit(word.at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return weft_lines_refuse(lines, "a '%%' in a name is written %%25");
            c = high * 16 + low;
            i += 2;
        }
        if (c < 0x20 || c > 0x7e)
            return weft_lines_refuse(lines,
                                     "a name with byte 0x%02x; only printable ASCII may be "
                                     "in it",
                                     (unsigned)c);
        name[used++] = (char)c;
    }
    name[used] = '\0';
    return WEFT_OK;
}

weft_status weft_edges_read_end(struct weft_lines *lines, struct weft_span rest)
{
    char text[40];
    struct weft_span word = weft_span_word(&rest);
    if (word.bytes == 0 || word.at[0] == '#')
        return WEFT_OK;
    return weft_lines_refuse(lines, "\"%s\" at the end of the line",
                             weft_span_copy(word, text, sizeof text));
}

static weft_status read_node(struct weft_lines *lines, struct weft_span rest,
                             struct weft_topology *t)
{
    char name[WEFT_TOPOLOGY_NAME_BYTES], text[40];
    WEFT_TRY(weft_edges_read_name(lines, &rest, name));
    struct weft_span kind = weft_span_word(&rest);
    if (!weft_span_is(kind, "gpu") && !weft_span_is(kind, "switch"))
        return weft_lines_refuse(lines, "node \"%.60s\" is to be gpu or switch, not \"%s\"", name,
                                 weft_span_copy(kind, text, sizeof text));
    WEFT_TRY(weft_edges_read_end(lines, rest));
    int row = weft_span_is(kind, "gpu") ? WEFT_NODE_GPU : WEFT_NODE_SWITCH;
    return weft_lines_located(lines, weft_topology_add_node(t, row, name, -1, NULL, lines->error));
}

// Exact, since the sixth place is a whole number of bytes.
weft_status weft_edges_read_capacity(struct weft_lines *lines, struct weft_span *rest,
                                     int64_t *bytes)
{
    char text[40];
    struct weft_span word = weft_span_word(rest);
    struct weft_span number = word;
    int64_t whole = 0, millionths = 0;
    weft_span_copy(word, text, sizeof text);
    if (word.bytes == 0)
        return weft_lines_refuse(lines, "expected a capacity in GB/s");
    if (word.at[0] >= '0' && word.at[0] <= '9' &&
        !weft_span_number(&number, 0, MAX_GIGABYTES - 1, &whole))
        return weft_lines_refuse(lines, "a capacity of %s GB/s; at most 999999999", text);
    bool has_whole = number.bytes < word.bytes;
    if (weft_span_take(&number, ".")) {
        size_t places = number.bytes;
        if (places > 6)
            return weft_lines_refuse(lines, "a capacity of %s GB/s; at most 6 places", text);
        has_whole &= weft_span_number(&number, 0, 999999, &millionths);
        for (; places < 6; places++)
            millionths *= 10;
    }
    if (!has_whole || number.bytes)
        return weft_lines_refuse(lines,
                                 "a capacity in GB/s is a decimal number above 0, not "
                                 "\"%s\"",
                                 text);
    *bytes = (whole * 1000000 + millionths) * CAPACITY_UNIT;
    if (*bytes == 0)
        return weft_lines_refuse(lines, "a capacity of 0");
    return WEFT_OK;
}

static weft_status read_link(struct weft_lines *lines, struct weft_span rest,
                             struct weft_topology *t)
{
    char name[WEFT_TOPOLOGY_NAME_BYTES];
    int ends[2];
    int64_t bytes;
    for (int i = 0; i < 2; i++) {
        WEFT_TRY(weft_edges_read_name(lines, &rest, name));
        ends[i] = weft_topology_find_node(t, name);
        if (ends[i] < 0)
            return weft_lines_refuse(lines, "no node \"%.120s\" before this line", name);
    }
    WEFT_TRY(weft_edges_read_capacity(lines, &rest, &bytes));
    struct weft_span after = rest;
    bool is_both = weft_span_is(weft_span_word(&after), "both");
    WEFT_TRY(weft_edges_read_end(lines, is_both ? after : rest));
    struct weft_link link = weft_link_make(WEFT_LINK_NETWORK, ends[0], ends[1]);
    link.one_way = !is_both;
    link.bandwidth.nominal = (struct weft_quantity){bytes, WEFT_SOURCE_FILE};
    return weft_lines_located(lines, weft_topology_add_link(t, &link, NULL, lines->error));
}

static weft_status read_edges(const char *text, size_t bytes, const char *name,
                              struct weft_topology *topology, struct weft_error *error)
{
    (void)bytes;
    struct weft_lines lines = weft_lines_start(text, name, error);
    while (weft_lines_next(&lines)) {
        struct weft_span rest = lines.line;
        struct weft_span word = weft_span_word(&rest);
        char copy[40];
        if (word.bytes == 0 || word.at[0] == '#')
            continue;
        if (weft_span_is(word, "node"))
            WEFT_TRY(read_node(&lines, rest, topology));
        else if (weft_span_is(word, "link"))
            WEFT_TRY(read_link(&lines, rest, topology));
        else
            return weft_lines_refuse(&lines, "a line starts with node or link, not \"%s\"",
                                     weft_span_copy(word, copy, sizeof copy));
    }
    return WEFT_OK;
}

/* The first line that is neither empty nor a comment. */
static bool matches_edges(const char *text)
{
    struct weft_lines lines = weft_lines_start(text, "", NULL);
    while (weft_lines_next(&lines)) {
        struct weft_span rest = lines.line;
        struct weft_span word = weft_span_word(&rest);
        if (word.bytes && word.at[0] != '#')
            return weft_span_is(word, "node") || weft_span_is(word, "link");
    }
    return false;
}

const struct weft_importer weft_importer_edges = {
    .name = "edges",
    .description = "edge list: node NAME gpu|switch, link A B GB/s [both]",
    .matches = matches_edges,
    .read = read_edges,
};

/* ---- writing ---- */

static bool is_written(const struct weft_topology *t, int node)
{
    int kind = t->nodes[node].kind;
    return kind == WEFT_NODE_GPU || weft_node_kinds[kind].forwards;
}

static void write_name(FILE *stream, const char *name)
{
    for (; *name; name++) {
        if (strchr(" #%", *name))
            fprintf(stream, "%%%02X", (unsigned)*name);
        else
            putc(*name, stream);
    }
}

static void write_link(const struct weft_topology *t, const struct weft_link *link, int64_t units,
                       FILE *stream)
{
    fputs("link ", stream);
    write_name(stream, t->nodes[link->from].name);
    putc(' ', stream);
    write_name(stream, t->nodes[link->to].name);
    fprintf(stream, " %" PRId64, units / 1000000);
    char places[8];
    snprintf(places, sizeof places, "%06d", (int)(units % 1000000));
    size_t used = strlen(places);
    while (used > 0 && places[used - 1] == '0')
        used--;
    if (used > 0)
        fprintf(stream, ".%.*s", (int)used, places);
    fputs(link->one_way ? "\n" : " both\n", stream);
}

/* What is written, and how much of the graph the form has no place for. */
struct survey {
    bool *is_joined; // num_nodes: it is in the list
    int nodes_left_out, links_left_out, links_assumed;
};

/* In units of the sixth place, rounded. */
static int64_t capacity(const struct weft_link *link)
{
    int64_t bytes = weft_link_bandwidth(link).value;
    return bytes / CAPACITY_UNIT + (bytes % CAPACITY_UNIT * 2 >= CAPACITY_UNIT);
}

static bool is_link_written(const struct weft_topology *t, const struct weft_link *link)
{
    return is_written(t, link->from) && is_written(t, link->to) && capacity(link) > 0;
}

static weft_status take_survey(const struct weft_topology *t, struct survey *s,
                               struct weft_error *error)
{
    bool has_gpu = false, has_other_place = false;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (capacity(link) >= MAX_GIGABYTES * INT64_C(1000000))
            return weft_fail(error, WEFT_UNSUPPORTED,
                             "an edge list knows capacities below 10^9 GB/s; the link of %.100s to "
                             "%.100s has more",
                             t->nodes[link->from].name, t->nodes[link->to].name);
        if (!is_link_written(t, link)) {
            s->links_left_out++;
            continue;
        }
        s->is_joined[link->from] = s->is_joined[link->to] = true;
        s->links_assumed += weft_link_bandwidth(link).source == WEFT_SOURCE_ASSUMED;
    }
    for (int i = 0; i < t->num_nodes; i++) {
        const struct weft_node_kind *kind = &weft_node_kinds[t->nodes[i].kind];
        has_gpu |= t->nodes[i].kind == WEFT_NODE_GPU;
        has_other_place |= t->nodes[i].kind != WEFT_NODE_GPU && kind->can_hold_ranks > 0;
        s->is_joined[i] |= t->nodes[i].kind == WEFT_NODE_GPU || kind->is_switch;
        s->is_joined[i] &= is_written(t, i);
        s->nodes_left_out += !s->is_joined[i];
    }
    if (!has_gpu && has_other_place)
        return weft_fail(error, WEFT_UNSUPPORTED,
                         "an edge list knows GPUs and switches only, and there is no GPU here");
    return WEFT_OK;
}

static weft_status write_edges(const struct weft_topology *t, FILE *stream,
                               struct weft_error *error)
{
    struct survey s = {.is_joined = calloc((size_t)t->num_nodes + 1, sizeof *s.is_joined)};
    if (!s.is_joined)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "edge list: no memory");
    weft_status status = take_survey(t, &s, error);
    if (status != WEFT_OK) {
        free(s.is_joined);
        return status;
    }
    fputs("# node NAME gpu|switch; link A B GB/s [both]\n", stream);
    if (s.nodes_left_out + s.links_left_out > 0)
        fprintf(stream, "# left out: %d nodes (hosts, cores, devices) and %d links\n",
                s.nodes_left_out, s.links_left_out);
    if (s.links_assumed > 0)
        fprintf(stream, "# the capacities of %d links are assumed\n", s.links_assumed);
    for (int i = 0; i < t->num_nodes; i++) {
        if (!s.is_joined[i])
            continue;
        fputs("node ", stream);
        write_name(stream, t->nodes[i].name);
        fputs(t->nodes[i].kind == WEFT_NODE_GPU ? " gpu\n" : " switch\n", stream);
    }
    for (int i = 0; i < t->num_links; i++)
        if (is_link_written(t, &t->links[i]))
            write_link(t, &t->links[i], capacity(&t->links[i]), stream);
    free(s.is_joined);
    return WEFT_OK;
}

const struct weft_exporter weft_exporter_edges = {
    .name = "edges",
    .description = "edge list of GPUs and whatever joins them, for planners",
    .write = write_edges,
};
