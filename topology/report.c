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

enum { COLUMNS = WEFT_REPORT_COLUMNS, SCREEN_LINES = 49, MIN_TREE_LINES = 7 };

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

int weft_report_most(const struct weft_report *r, int usual, int tight)
{
    if (r->options->verbose)
        return INT32_MAX;
    return r->tight ? tight : usual;
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
        fprintf(r->stream, "Topology of %.200s\n",
                hosts ? t->nodes[first_host].name : "a fabric without hosts");
    weft_report_style(r, WEFT_STYLE_PLAIN);
    write_counts(r);
    int64_t memory = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_NUMA)
            continue;
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

/* Notes about what has a part of its own in the report. */
static bool is_said_below(const struct weft_report *r, const struct weft_finding *finding)
{
    return !r->options->summary && finding->severity == WEFT_SEVERITY_NOTE &&
           (strcmp(finding->kind, "probe") == 0 || strcmp(finding->kind, "different-hosts") == 0);
}

static weft_status write_findings(const struct weft_report *r)
{
    const struct weft_findings *findings = r->findings;
    int written = 0, left_out = 0, most = weft_report_most(r, 8, 5);
    weft_report_head(r, "What to know");
    for (int i = 0; i < findings->count; i++) {
        if (is_said_below(r, &findings->items[i]))
            continue;
        if (written == most && !r->options->summary) {
            left_out++;
            continue;
        }
        write_finding(r, &findings->items[i]);
        written++;
    }
    if (left_out)
        fprintf(r->stream, "  ... and %d less severe (-s or -v shows all)\n", left_out);
    if (written == 0)
        fputs("  Nothing stands out.\n", r->stream);
    putc('\n', r->stream);
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
             "bandwidth of %d and latency of %d of %d links: typical values, until measured",
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

static const char *const remark_titles[WEFT_NUM_REMARK_KINDS] = {
    [WEFT_REMARK_GUESS] = "guessed",
    [WEFT_REMARK_HIDDEN] = "hidden",
    [WEFT_REMARK_CONTRADICTION] = "contradictory",
    [WEFT_REMARK_UNREAD] = "not read",
};

static void write_remarks_of_kind(const struct weft_report *r, int kind, int count)
{
    const struct weft_topology *t = r->topology;
    int written = 0, most = weft_report_most(r, 1, 1);
    for (int i = 0; i < t->num_remarks && written < most; i++) {
        char more[48] = "";
        if ((int)t->remarks[i].kind != kind)
            continue;
        written++;
        if (written == most && count > most)
            snprintf(more, sizeof more, " ... and %d more (-v shows all)", count - most);
        fprintf(r->stream, "  %-13s ", remark_titles[kind]);
        write_remark(r, &t->remarks[i], more);
    }
}

/* Of each kind all, the first and the number, or when room is scarce the number. */
static void write_remarks(const struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    int counts[WEFT_NUM_REMARK_KINDS] = {0};
    char text[200] = "";
    size_t used = 0;
    for (int i = 0; i < t->num_remarks; i++)
        counts[t->remarks[i].kind]++;
    for (int kind = 0; kind < WEFT_NUM_REMARK_KINDS; kind++) {
        if (counts[kind] == 0)
            continue;
        if (!r->tight)
            write_remarks_of_kind(r, kind, counts[kind]);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d %s", used ? ", " : "",
                                 counts[kind], remark_titles[kind]);
    }
    if (r->tight && used)
        fprintf(r->stream, "  %-13s %s (-v shows them)\n", "remarks", text);
}

/* Those that did not run share one line when room is scarce. */
static void write_probes(const struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    char absent[200] = "";
    size_t used = 0;
    for (int i = 0; i < t->num_probes; i++) {
        const struct weft_probe_record *probe = &t->probes[i];
        char text[WEFT_TOPOLOGY_NAME_BYTES + 16];
        if (r->tight && !probe->available) {
            if (used + 70 < sizeof absent)
                used += (size_t)snprintf(absent + used, sizeof absent - used, "%s%.60s",
                                         used ? ", " : "", probe->name);
            continue;
        }
        snprintf(text, sizeof text, "%s%s%s", probe->available ? "used" : "not used",
                 probe->reason[0] ? ": " : "", probe->reason);
        fprintf(r->stream, "  %-13s ", probe->name);
        weft_report_wrap(r, text, 16);
    }
    if (absent[0])
        fprintf(r->stream, "  %-13s %s (-v says why)\n", "not used", absent);
}

static weft_status write_closing(const struct weft_report *r)
{
    weft_report_head(r, "Where this comes from");
    write_probes(r);
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

static weft_status (*const parts[])(const struct weft_report *report) = {
    write_opening,
    write_findings,
    weft_report_symmetry,
    weft_report_rails,
    NULL, // the tree
    weft_report_links,
    write_closing,
};
enum { NUM_PARTS = sizeof parts / sizeof parts[0] };

static weft_status render_parts(struct weft_report *r, char *texts[NUM_PARTS], int *lines)
{
    *lines = 0;
    for (int i = 0; i < NUM_PARTS; i++) {
        free(texts[i]);
        texts[i] = NULL;
        if (parts[i])
            WEFT_TRY(render(r, parts[i], &texts[i], lines));
    }
    return WEFT_OK;
}

/* All parts but the tree are rendered first, shorter if they must: the tree gets what they leave.
 */
static weft_status write_parts(struct weft_report *r)
{
    char *texts[NUM_PARTS] = {0};
    int lines;
    weft_status status = render_parts(r, texts, &lines);
    if (status == WEFT_OK && !r->options->verbose && lines > SCREEN_LINES - MIN_TREE_LINES) {
        r->tight = true;
        status = render_parts(r, texts, &lines);
    }
    int left = SCREEN_LINES - lines, least = r->tight ? MIN_TREE_LINES / 2 : MIN_TREE_LINES;
    r->tree_lines = left > least ? left : least;
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

static weft_status write_body(struct weft_report *r)
{
    if (r->options->summary) {
        WEFT_TRY(write_opening(r));
        return write_findings(r);
    }
    WEFT_TRY(weft_symmetry_create(r->topology, &r->symmetry, r->error));
    WEFT_TRY(weft_adjacency_create(r->topology, &r->adjacency, r->error));
    weft_report_find_shapes(r);
    return write_parts(r);
}

static weft_status write_report(struct weft_report *r)
{
    struct weft_findings findings = {0};
    WEFT_TRY(weft_topology_findings(r->topology, &findings, r->error));
    r->findings = &findings;
    weft_status status = write_body(r);
    weft_findings_free(&findings);
    WEFT_TRY(status);
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
