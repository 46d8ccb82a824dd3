/*
 * SPDX-License-Identifier: Apache-2.0
 * The text report: opening, findings, closing, and the order of the parts.
 */
#include "topology/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/findings.h"
#include "topology/report_private.h"

enum { COLUMNS = 98 };

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

/* ---- opening ---- */

/* Words of `text` in lines that begin at column `indent`. */
static void write_wrapped(const struct weft_report *r, const char *text, int indent)
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

static void write_counts(const struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    char text[512] = "nothing";
    size_t used = 0;
    for (int kind = 0; kind < WEFT_NUM_NODE_KINDS && used < sizeof text; kind++) {
        int count = weft_topology_count(t, kind);
        if (count == 0)
            continue;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d %s",
                                 used ? weft_report_glyph(r, " · ", ", ") : "", count,
                                 count > 1 ? weft_node_kinds[kind].plural
                                           : weft_node_kinds[kind].singular);
    }
    fputs("  ", r->stream);
    write_wrapped(r, text, 2);
}

static weft_status write_opening(const struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    int first_host = 0, num_islands, hosts = weft_topology_count(t, WEFT_NODE_HOST);
    WEFT_TRY(weft_topology_islands(t, NULL, &num_islands, r->error));
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
    fprintf(r->stream, "%d link%s%s%d island%s%sfingerprint %016" PRIx64 "\n\n", t->num_links,
            t->num_links == 1 ? "" : "s", weft_report_glyph(r, " · ", ", "), num_islands,
            num_islands == 1 ? "" : "s", weft_report_glyph(r, " · ", ", "),
            weft_topology_fingerprint(t));
    return WEFT_OK;
}

/* ---- findings ---- */

static weft_status write_findings(const struct weft_report *r)
{
    static const enum weft_report_style styles[] = {WEFT_STYLE_ERROR, WEFT_STYLE_WARNING,
                                                    WEFT_STYLE_NOTE};
    struct weft_findings findings;
    WEFT_TRY(weft_topology_findings(r->topology, &findings, r->error));
    weft_report_style(r, WEFT_STYLE_HEAD);
    fputs("What to know\n", r->stream);
    weft_report_style(r, WEFT_STYLE_PLAIN);
    for (int i = 0; i < findings.count; i++) {
        const struct weft_finding *finding = &findings.items[i];
        weft_report_style(r, styles[finding->severity]);
        fprintf(r->stream, "  %-9s", weft_severity_names[finding->severity]);
        weft_report_style(r, WEFT_STYLE_PLAIN);
        write_wrapped(r, finding->sentence, 11);
    }
    if (findings.count == 0)
        fputs("  Nothing stands out.\n", r->stream);
    putc('\n', r->stream);
    weft_findings_free(&findings);
    return WEFT_OK;
}

/* ---- closing ---- */

static void write_closing(const struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    int bandwidths = 0, latencies = 0;
    for (int i = 0; i < t->num_links; i++) {
        bandwidths += weft_link_bandwidth(&t->links[i]).source == WEFT_SOURCE_ASSUMED;
        latencies += weft_link_latency(&t->links[i]).source == WEFT_SOURCE_ASSUMED;
    }
    weft_report_style(r, WEFT_STYLE_HEAD);
    fputs("Where this comes from\n", r->stream);
    weft_report_style(r, WEFT_STYLE_PLAIN);
    for (int i = 0; i < t->num_probes; i++)
        fprintf(r->stream, "  %-10s %s%s%s\n", t->probes[i].name,
                t->probes[i].available ? "used" : "not used", t->probes[i].reason[0] ? ": " : "",
                t->probes[i].reason);
    if (bandwidths + latencies == 0)
        return;
    char text[200];
    snprintf(text, sizeof text,
             "The bandwidth of %d and the latency of %d of the %d links: what is typical of such a "
             "link, until it is measured.",
             bandwidths, latencies, t->num_links);
    fprintf(r->stream, "  %-10s ", "assumed");
    write_wrapped(r, text, 13);
}

static weft_status write_report(struct weft_report *r)
{
    WEFT_TRY(write_opening(r));
    WEFT_TRY(write_findings(r));
    if (!r->options->summary) {
        weft_report_find_shapes(r);
        weft_report_tree(r);
        WEFT_TRY(weft_report_links(r));
        WEFT_TRY(weft_report_gpu_table(r));
        write_closing(r);
    }
    errno = 0;
    if (fflush(r->stream) != 0 || ferror(r->stream))
        return weft_fail(r->error, WEFT_SYSTEM, "writing the report failed: %s", strerror(errno));
    return WEFT_OK;
}

weft_status weft_topology_report(const struct weft_topology *topology,
                                 const struct weft_report_options *options, FILE *stream,
                                 struct weft_error *error)
{
    struct weft_topology *sorted = NULL;
    WEFT_TRY(weft_topology_copy(topology, &sorted, error));
    size_t n = (size_t)topology->num_nodes + 1;
    struct weft_report report = {.topology = sorted,
                                 .options = options,
                                 .stream = stream,
                                 .error = error,
                                 .end = malloc(n * sizeof *report.end),
                                 .shape = malloc(n * sizeof *report.shape)};
    weft_status status;
    if (!report.end || !report.shape)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "report: no memory");
    else
        status = weft_topology_sort(sorted, error);
    if (status == WEFT_OK)
        status = write_report(&report);
    free(report.end);
    free(report.shape);
    weft_topology_destroy(&sorted);
    return status;
}

/* ---- summary ---- */

static void write_json_text(FILE *stream, const char *text)
{
    putc('"', stream);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putc('\\', stream);
        putc(*text, stream);
    }
    putc('"', stream);
}

weft_status weft_topology_summary_json(const struct weft_topology *t, FILE *stream,
                                       struct weft_error *error)
{
    int num_islands;
    struct weft_findings findings;
    WEFT_TRY(weft_topology_islands(t, NULL, &num_islands, error));
    WEFT_TRY(weft_topology_findings(t, &findings, error));
    fprintf(stream, "{\"format\": \"weft-topology-summary\", \"version\": 1,\n \"nodes\": {");
    for (int kind = 0; kind < WEFT_NUM_NODE_KINDS; kind++)
        fprintf(stream, "%s\"%s\": %d", kind ? ", " : "", weft_node_kinds[kind].name,
                weft_topology_count(t, kind));
    fprintf(stream, "},\n \"links\": %d, \"islands\": %d, \"fingerprint\": \"%016" PRIx64 "\",\n",
            t->num_links, num_islands, weft_topology_fingerprint(t));
    fprintf(stream, " \"findings\": [");
    for (int i = 0; i < findings.count; i++) {
        fprintf(stream,
                "%s{\"severity\": \"%s\", \"kind\": \"%s\", \"sentence\": ", i ? ",\n  " : "\n  ",
                weft_severity_names[findings.items[i].severity], findings.items[i].kind);
        write_json_text(stream, findings.items[i].sentence);
        putc('}', stream);
    }
    fputs("]}\n", stream);
    weft_findings_free(&findings);
    errno = 0;
    if (fflush(stream) != 0 || ferror(stream))
        return weft_fail(error, WEFT_SYSTEM, "writing the summary failed: %s", strerror(errno));
    return WEFT_OK;
}
