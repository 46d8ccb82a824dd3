/*
 * SPDX-License-Identifier: Apache-2.0
 * The text report: opening, findings, closing, and the parts put together so that they fit a
 * screen.
 */
#include "topology/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/findings.h"
#include "topology/gpu_islands.h"
#include "topology/report_private.h"

enum { COLUMNS = WEFT_REPORT_COLUMNS, SCREEN_LINES = 48, MIN_TREE_LINES = 8, MAX_FINDINGS = 8 };

void weft_report_style(const struct weft_report *r, enum weft_report_style style)
{
    static const char *const codes[] = {
        [WEFT_STYLE_PLAIN] = "\033[0m",    [WEFT_STYLE_HEAD] = "\033[1m",
        [WEFT_STYLE_DIM] = "\033[2m",      [WEFT_STYLE_ERROR] = "\033[1;31m",
        [WEFT_STYLE_WARNING] = "\033[33m", [WEFT_STYLE_NOTE] = "\033[36m",
    };
    if (r->options->colour)
        fputs(codes[style], r->stream);
}

const char *weft_report_glyph(const struct weft_report *r, const char *wide, const char *narrow)
{
    return r->options->ascii ? narrow : wide;
}

void weft_report_head(const struct weft_report *r, const char *text)
{
    weft_report_style(r, WEFT_STYLE_HEAD);
    fprintf(r->stream, "%s\n", text);
    weft_report_style(r, WEFT_STYLE_PLAIN);
}

void weft_report_wrap(const struct weft_report *r, const char *text, int indent)
{
    int column = indent;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column > indent && column + 1 + word > COLUMNS) {
            fprintf(r->stream, "\n%*s", indent, "");
            column = indent;
        }
        if (column > indent)
            column += fprintf(r->stream, " ");
        column += fprintf(r->stream, "%.*s", word, text);
        text += word;
        text += strspn(text, " ");
    }
    putc('\n', r->stream);
}

/* ---- opening ---- */

static void write_counts(const struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    char text[512] = "nothing";
    size_t used = 0;
    for (int kind = 0; kind < WEFT_NUM_NODE_KINDS && used < sizeof text; kind++) {
        int count = weft_topology_count(t, kind);
        if (count == 0)
            continue;
        used += (size_t)snprintf(
            text + used, sizeof text - used, "%s%d %s", used ? ", " : "", count,
            count > 1 ? weft_node_kinds[kind].plural : weft_node_kinds[kind].singular);
    }
    fputs("  ", r->stream);
    weft_report_wrap(r, text, 2);
}

static weft_status count_gpu_islands(const struct weft_report *r, int *num_islands)
{
    int *island_of = malloc(((size_t)r->topology->num_nodes + 1) * sizeof *island_of);
    if (!island_of)
        return weft_fail(r->error, WEFT_OUT_OF_MEMORY, "report: no memory");
    weft_status status = weft_topology_gpu_islands(r->topology, island_of, num_islands, r->error);
    free(island_of);
    return status;
}

static weft_status write_opening(const struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    int first_host = 0, num_parts, num_islands, hosts = weft_topology_count(t, WEFT_NODE_HOST);
    WEFT_TRY(weft_topology_islands(t, NULL, &num_parts, r->error));
    WEFT_TRY(count_gpu_islands(r, &num_islands));
    while (first_host < t->num_nodes && t->nodes[first_host].kind != WEFT_NODE_HOST)
        first_host++;
    weft_report_style(r, WEFT_STYLE_HEAD);
    if (hosts > 1)
        fprintf(r->stream, "Topology of %d hosts\n", hosts);
    else
        fprintf(r->stream, "Topology of %.200s\n", hosts ? t->nodes[first_host].name : "no host");
    weft_report_style(r, WEFT_STYLE_PLAIN);
    write_counts(r);
    int64_t memory = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        int64_t bytes = weft_topology_number(t, i, "memory_bytes", 0);
        memory = bytes > INT64_MAX - memory ? INT64_MAX : memory + bytes;
    }
    char text[32];
    fputs("  ", r->stream);
    if (memory > 0)
        fprintf(r->stream, "%s of memory%s", weft_format_bytes(memory, text, sizeof text),
                weft_report_glyph(r, " · ", ", "));
    const char *dot = weft_report_glyph(r, " · ", ", ");
    fprintf(r->stream, "%d link%s%s", t->num_links, t->num_links == 1 ? "" : "s", dot);
    if (num_parts != 1)
        fprintf(r->stream, "%d unconnected parts%s", num_parts, dot);
    if (num_islands)
        fprintf(r->stream, "%d GPU island%s%s", num_islands, num_islands == 1 ? "" : "s", dot);
    fprintf(r->stream, "fingerprint %016" PRIx64 "\n\n", weft_topology_fingerprint(t));
    return WEFT_OK;
}

/* ---- findings ---- */

static void write_finding(const struct weft_report *r, const struct weft_finding *finding)
{
    static const enum weft_report_style styles[] = {WEFT_STYLE_ERROR, WEFT_STYLE_WARNING,
                                                    WEFT_STYLE_NOTE};
    char text[sizeof finding->sentence + 64], cost[32];
    weft_report_style(r, styles[finding->severity]);
    fprintf(r->stream, "  %-9s", weft_severity_names[finding->severity]);
    weft_report_style(r, WEFT_STYLE_PLAIN);
    snprintf(text, sizeof text, "%s", finding->sentence);
    if (finding->lost_bandwidth > 0)
        snprintf(text, sizeof text, "%s Costs %s.", finding->sentence,
                 weft_format_bandwidth(finding->lost_bandwidth, cost, sizeof cost));
    weft_report_wrap(r, text, 11);
}

static weft_status write_findings(const struct weft_report *r)
{
    struct weft_findings findings;
    WEFT_TRY(weft_topology_findings(r->topology, &findings, r->error));
    weft_report_head(r, "What to know");
    int most = r->options->verbose || r->options->summary ? findings.count : MAX_FINDINGS;
    for (int i = 0; i < findings.count && i < most; i++)
        write_finding(r, &findings.items[i]);
    if (findings.count > most)
        fprintf(r->stream, "  ... and %d less severe (-s or -v shows all)\n",
                findings.count - most);
    if (findings.count == 0)
        fputs("  Nothing stands out.\n", r->stream);
    putc('\n', r->stream);
    weft_findings_free(&findings);
    return WEFT_OK;
}

/* ---- closing ---- */

static void write_assumed(const struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    int bandwidths = 0, latencies = 0;
    for (int i = 0; i < t->num_links; i++) {
        bandwidths += weft_link_bandwidth(&t->links[i]).source == WEFT_SOURCE_ASSUMED;
        latencies += weft_link_latency(&t->links[i]).source == WEFT_SOURCE_ASSUMED;
    }
    if (bandwidths + latencies == 0)
        return;
    char text[200];
    snprintf(text, sizeof text,
             "The bandwidth of %d and the latency of %d of the %d links: what is typical of such a "
             "link, until it is measured.",
             bandwidths, latencies, t->num_links);
    fprintf(r->stream, "  %-13s ", "assumed");
    weft_report_wrap(r, text, 16);
}

static void write_remark(const struct weft_report *r, const struct weft_remark *remark,
                         const char *more)
{
    const char *node = remark->node >= 0 ? r->topology->nodes[remark->node].name : "";
    bool says_where = node[0] && !strstr(remark->text, node);
    char text[640];
    snprintf(text, sizeof text, "%s%s%s [%s]%s", says_where ? node : "", says_where ? ": " : "",
             remark->text, weft_source_names[remark->source], more);
    weft_report_wrap(r, text, 16);
}

/* Of each kind all or, without -v, the first and the number. */
static void write_remarks(const struct weft_report *r)
{
    static const char *const names[WEFT_NUM_REMARK_KINDS] = {
        [WEFT_REMARK_GUESS] = "guessed",
        [WEFT_REMARK_HIDDEN] = "hidden",
        [WEFT_REMARK_CONTRADICTION] = "contradictory",
        [WEFT_REMARK_UNREAD] = "not read",
    };
    const struct weft_topology *t = r->topology;
    for (int kind = 0; kind < WEFT_NUM_REMARK_KINDS; kind++) {
        int count = 0, written = 0, most = r->options->verbose ? t->num_remarks : 1;
        for (int i = 0; i < t->num_remarks; i++)
            count += (int)t->remarks[i].kind == kind;
        for (int i = 0; i < t->num_remarks && written < most; i++) {
            char more[48] = "";
            if ((int)t->remarks[i].kind != kind)
                continue;
            written++;
            if (written == most && count > most)
                snprintf(more, sizeof more, " ... and %d more (-v shows all)", count - most);
            fprintf(r->stream, "  %-13s ", names[kind]);
            write_remark(r, &t->remarks[i], more);
        }
    }
}

static weft_status write_closing(const struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    weft_report_head(r, "Where this comes from");
    for (int i = 0; i < t->num_probes; i++) {
        char text[WEFT_TOPOLOGY_NAME_BYTES + 16];
        snprintf(text, sizeof text, "%s%s%s", t->probes[i].available ? "used" : "not used",
                 t->probes[i].reason[0] ? ": " : "", t->probes[i].reason);
        fprintf(r->stream, "  %-13s ", t->probes[i].name);
        weft_report_wrap(r, text, 16);
    }
    write_assumed(r);
    write_remarks(r);
    return WEFT_OK;
}

/* ---- parts into one screen ---- */

/* What `write` writes, in fresh memory, and its number of lines. */
static weft_status render(struct weft_report *r,
                          weft_status (*write)(const struct weft_report *report), char **text,
                          int *lines)
{
    size_t bytes = 0;
    FILE *out = r->stream;
    r->stream = open_memstream(text, &bytes);
    weft_status status = WEFT_OUT_OF_MEMORY;
    if (r->stream) {
        status = write(r);
        if (fclose(r->stream) != 0 && status == WEFT_OK)
            status = WEFT_OUT_OF_MEMORY;
    }
    r->stream = out;
    if (status == WEFT_OUT_OF_MEMORY)
        return weft_fail(r->error, status, "report: no memory");
    for (size_t i = 0; i < bytes; i++)
        *lines += (*text)[i] == '\n';
    return status;
}

/* All parts but the tree are rendered first: the tree gets the lines that they leave. */
static weft_status write_parts(struct weft_report *r)
{
    static weft_status (*const parts[])(const struct weft_report *report) = {
        write_opening, write_findings,    weft_report_symmetry, weft_report_rails,
        NULL,          weft_report_links, write_closing};
    enum { NUM_PARTS = sizeof parts / sizeof parts[0] };
    char *texts[NUM_PARTS] = {0};
    int lines = 0;
    weft_status status = WEFT_OK;
    for (int i = 0; i < NUM_PARTS && status == WEFT_OK; i++)
        if (parts[i])
            status = render(r, parts[i], &texts[i], &lines);
    r->tree_lines = SCREEN_LINES - lines > MIN_TREE_LINES ? SCREEN_LINES - lines : MIN_TREE_LINES;
    for (int i = 0; i < NUM_PARTS && status == WEFT_OK; i++) {
        if (parts[i])
            fputs(texts[i], r->stream);
        else
            weft_report_tree(r);
    }
    for (int i = 0; i < NUM_PARTS; i++)
        free(texts[i]);
    return status;
}

static weft_status write_report(struct weft_report *r)
{
    if (r->options->summary) {
        WEFT_TRY(write_opening(r));
        WEFT_TRY(write_findings(r));
    } else {
        WEFT_TRY(weft_symmetry_create(r->topology, &r->symmetry, r->error));
        WEFT_TRY(weft_adjacency_create(r->topology, &r->adjacency, r->error));
        weft_report_find_shapes(r);
        WEFT_TRY(write_parts(r));
    }
    errno = 0;
    if (fflush(r->stream) != 0 || ferror(r->stream))
        return weft_fail(r->error, WEFT_SYSTEM, "writing the report failed: %s", strerror(errno));
    return WEFT_OK;
}

/* Whether contents follow what contains them and names are in order already. */
static weft_status is_sorted(const struct weft_topology *t, bool *sorted, struct weft_error *error)
{
    int *order = malloc(((size_t)t->num_nodes + 1) * sizeof *order);
    if (!order)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "report: no memory");
    weft_status status = weft_topology_order(t, order, error);
    *sorted = true;
    for (int i = 0; status == WEFT_OK && *sorted && i < t->num_nodes; i++)
        *sorted = order[i] == i;
    free(order);
    return status;
}

weft_status weft_topology_report(const struct weft_topology *topology,
                                 const struct weft_report_options *options, FILE *stream,
                                 struct weft_error *error)
{
    bool sorted = false;
    struct weft_topology *copy = NULL;
    WEFT_TRY(is_sorted(topology, &sorted, error));
    if (!sorted)
        WEFT_TRY(weft_topology_copy(topology, &copy, error));
    size_t n = (size_t)topology->num_nodes + 1;
    struct weft_report report = {.topology = copy ? copy : topology,
                                 .options = options,
                                 .stream = stream,
                                 .error = error,
                                 .end = malloc(n * sizeof *report.end),
                                 .shape = malloc(n * sizeof *report.shape)};
    weft_status status = WEFT_OK;
    if (!report.end || !report.shape)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "report: no memory");
    if (status == WEFT_OK && copy)
        status = weft_topology_sort(copy, error);
    if (status == WEFT_OK)
        status = write_report(&report);
    weft_symmetry_destroy(&report.symmetry);
    weft_adjacency_destroy(&report.adjacency);
    free(report.end);
    free(report.shape);
    weft_topology_destroy(&copy);
    return status;
}
