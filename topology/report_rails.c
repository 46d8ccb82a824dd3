/*
 * SPDX-License-Identifier: Apache-2.0
 * The table GPU -> NIC -> rail: for each GPU the nearest NICs of its host, how far they are in the
 * words of nvidia-smi, the narrowest link on the way, what the port does, the leaf switch it hangs
 * on and whether the NIC can reach the GPU's memory. Hosts that are alike are shown once. Ways are
 * found in a graph of that host alone, so the size of the cluster does not matter.
 */
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/findings.h"
#include "topology/report_private.h"
#include "topology/route.h"

enum {
    MAX_ROWS_VERBOSE = 512,
    MAX_NICS = 1024, // of one host that are looked at
    MIN_GPUS = 16,   // and so many GPUs of any host, more as MAX_WORK allows
    MAX_WORK = 2000000,
    MAX_REASONS = 3,
};

/* From near to far. */
enum distance { NVLINK, PIX, PXB, PHB, NODE, SYS, NUM_DISTANCES };

static const struct {
    const char *name, *meaning;
} distances[NUM_DISTANCES] = {
    [NVLINK] = {"NVL", "NVLink or C2C"},          [PIX] = {"PIX", "one PCIe switch between"},
    [PXB] = {"PXB", "several PCIe switches"},     [PHB] = {"PHB", "through the PCIe root"},
    [NODE] = {"NODE", "through the NUMA domain"}, [SYS] = {"SYS", "between NUMA domains"},
};

struct reason {
    char text[WEFT_TOPOLOGY_NAME_BYTES];
    int first, last; // GPUs or NICs it is about
};

struct row {
    char gpu[2][64]; // first and last of equal rows
    int count;       // of them
    char text[200];  // the rest
    bool is_assumed, is_idle;
};

/* One host, and what its rows share. */
struct table {
    const struct weft_report *report;
    int host, end;
    int num_numa;
    int nics[MAX_NICS], num_nics;
    int *local; // of nodes host to end: index in `alone`
    struct weft_topology *alone;
    struct weft_router *router;
    int rail[MAX_NICS]; // leaf switch by NIC; -1: not known
    int num_rails;
    struct row pending;
    bool uses[NUM_DISTANCES], is_assumed, is_idle;
    int rows, left_out;
    struct reason reasons[MAX_REASONS];
    int num_reasons;
};

/* ---- the host alone ---- */

/* Joined to what is outside, it would lend its neighbours' links. */
static weft_status extract(struct table *table)
{
    const struct weft_report *r = table->report;
    const struct weft_topology *t = r->topology;
    char name[24];
    WEFT_TRY(weft_topology_create(&table->alone, r->error));
    for (int i = table->host; i < table->end; i++) {
        snprintf(name, sizeof name, "%d", i - table->host);
        WEFT_TRY(weft_topology_add_node(table->alone, t->nodes[i].kind, name, -1, NULL, r->error));
    }
    for (int i = table->host; i < table->end; i++)
        for (int j = r->adjacency.first[i]; j < r->adjacency.first[i + 1]; j++) {
            struct weft_link link = t->links[r->adjacency.link[j]];
            int other = weft_link_other_end(&link, i);
            if (other < i || other >= table->end) // each link once, inside only
                continue;
            link.from -= table->host;
            link.to -= table->host;
            WEFT_TRY(weft_topology_add_link(table->alone, &link, NULL, r->error));
        }
    return weft_router_create(table->alone, &table->router, r->error);
}

/* The switch that the first cable of a NIC leads to; -1: none is known. */
static int switch_of(const struct weft_report *r, int nic)
{
    const struct weft_topology *t = r->topology;
    for (int j = r->adjacency.first[nic]; j < r->adjacency.first[nic + 1]; j++) {
        const struct weft_link *link = &t->links[r->adjacency.link[j]];
        int other = weft_link_other_end(link, nic);
        if (link->kind == WEFT_LINK_NETWORK && weft_node_kinds[t->nodes[other].kind].is_switch)
            return other;
    }
    return -1;
}

/* Where some NICs do RDMA the others are for management: GPUs do not talk over them. */
static void list_nics(struct table *table)
{
    const struct weft_topology *t = table->report->topology;
    bool has_rdma = false;
    for (int i = table->host; i < table->end; i++) {
        table->num_numa += t->nodes[i].kind == WEFT_NODE_NUMA;
        has_rdma |= t->nodes[i].kind == WEFT_NODE_NIC && weft_topology_text(t, i, "rdma_device");
    }
    for (int i = table->host; i < table->end && table->num_nics < MAX_NICS; i++) {
        if (t->nodes[i].kind != WEFT_NODE_NIC ||
            (has_rdma && !weft_topology_text(t, i, "rdma_device")))
            continue;
        table->rail[table->num_nics] = switch_of(table->report, i);
        table->nics[table->num_nics++] = i;
    }
}

/* ---- distance ---- */

static bool has_kind(const struct weft_topology *t, int from, int above, int kind)
{
    for (int i = t->nodes[from].parent; i >= 0 && i != above; i = t->nodes[i].parent)
        if (t->nodes[i].kind == kind)
            return true;
    return false;
}

static int nearest_common(const struct weft_topology *t, int a, int b)
{
    for (int x = a; x >= 0; x = t->nodes[x].parent)
        for (int y = b; y >= 0; y = t->nodes[y].parent)
            if (x == y)
                return x;
    return -1;
}

static bool leaves_by(const struct table *table, const struct weft_route *route, int kind)
{
    return route->first_link >= 0 && table->alone->links[route->first_link].kind == kind;
}

static enum distance distance_of(const struct table *table, int gpu, int nic,
                                 const struct weft_route *route)
{
    const struct weft_topology *t = table->report->topology;
    int common = nearest_common(t, gpu, nic);
    int kind = common >= 0 ? t->nodes[common].kind : WEFT_NODE_HOST;
    if (leaves_by(table, route, WEFT_LINK_NVLINK) || leaves_by(table, route, WEFT_LINK_C2C))
        return NVLINK;
    if (kind == WEFT_NODE_PCIE_SWITCH)
        return has_kind(t, gpu, common, WEFT_NODE_PCIE_SWITCH) ||
                       has_kind(t, nic, common, WEFT_NODE_PCIE_SWITCH)
                   ? PXB
                   : PIX;
    if (kind == WEFT_NODE_PCIE_ROOT)
        return PHB;
    return kind == WEFT_NODE_NUMA || table->num_numa < 2 ? NODE : SYS;
}

/* ---- one row ---- */

struct choice {
    enum distance distance;
    struct weft_route route;
};

static int compare_choices(const struct choice *a, const struct choice *b)
{
    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    if (a->route.latency_ps != b->route.latency_ps)
        return a->route.latency_ps < b->route.latency_ps ? -1 : 1;
    if (a->route.bandwidth != b->route.bandwidth)
        return a->route.bandwidth > b->route.bandwidth ? -1 : 1;
    return 0;
}

/* What the cables of a NIC do, bytes per second; 0: not known. */
static int64_t cable_rate(const struct weft_report *r, int nic)
{
    const struct weft_topology *t = r->topology;
    int64_t sum = 0;
    for (int j = r->adjacency.first[nic]; j < r->adjacency.first[nic + 1]; j++) {
        const struct weft_link *link = &t->links[r->adjacency.link[j]];
        int64_t best = weft_figure_best(&link->bandwidth).value;
        if (link->kind == WEFT_LINK_NETWORK && best > 0 && best < INT64_MAX / 16 &&
            sum < INT64_MAX / 16)
            sum += best;
    }
    return sum;
}

/* What the port of a NIC does, in bits as networks are sold; "-": not known. */
static void write_rate(const struct weft_report *r, int nic, char *text, size_t size)
{
    int64_t mbps = weft_topology_number(r->topology, nic, "rate_mbps", 0);
    mbps = mbps > 0 ? mbps : cable_rate(r, nic) * 8 / 1000000;
    if (mbps <= 0)
        snprintf(text, size, "-");
    else if (mbps < 1000)
        snprintf(text, size, "%d Mbit/s", (int)mbps);
    else
        snprintf(text, size, "%.4g Gbit/s", (double)mbps / 1000);
}

static bool says(const struct weft_topology *t, int node, const char *answer)
{
    const char *text = weft_topology_text(t, node, "gpudirect");
    return text && strcmp(text, answer) == 0;
}

static void note_reason(struct table *table, int gpu, int nic)
{
    const struct weft_topology *t = table->report->topology;
    const char *of_gpu = weft_topology_text(t, gpu, "gpudirect_reason");
    const char *of_nic = weft_topology_text(t, nic, "gpudirect_reason");
    const char *why = says(t, gpu, "no") && of_gpu ? of_gpu : of_nic;
    if (!why)
        return;
    int about = why == of_gpu ? gpu : nic, at = 0;
    while (at < table->num_reasons && strcmp(table->reasons[at].text, why) != 0)
        at++;
    if (at == MAX_REASONS)
        return;
    struct reason *reason = &table->reasons[at];
    if (at == table->num_reasons) {
        *reason = (struct reason){.first = about, .last = about};
        snprintf(reason->text, sizeof reason->text, "%s", why);
        table->num_reasons++;
    }
    reason->first = about < reason->first ? about : reason->first;
    reason->last = about > reason->last ? about : reason->last;
}

/* Of a GPU and the NICs chosen for it: "yes", "no", "some" of them; "-": nobody knows. */
static const char *gpudirect(struct table *table, int gpu, const int *chosen, int count)
{
    const struct weft_topology *t = table->report->topology;
    int yes = 0, no = 0;
    for (int i = 0; i < count; i++) {
        int nic = table->nics[chosen[i]];
        bool is_no = says(t, gpu, "no") || says(t, nic, "no");
        if (is_no)
            note_reason(table, gpu, nic);
        no += is_no;
        yes += !is_no && (says(t, gpu, "yes") || says(t, nic, "yes"));
    }
    if (yes && no)
        return "some";
    return no ? "no" : yes ? "yes" : "-";
}

/* The leaf switches of the chosen NICs: one name, or how many. */
static void write_rail(const struct table *table, const int *chosen, int count, char *text,
                       size_t size)
{
    const struct weft_topology *t = table->report->topology;
    int rail = table->rail[chosen[0]], others = 0;
    for (int i = 1; i < count; i++)
        others += table->rail[chosen[i]] != rail;
    if (rail < 0)
        snprintf(text, size, "-");
    else if (others)
        snprintf(text, size, "%.11s +%d", t->nodes[rail].name, others);
    else
        snprintf(text, size, "%.16s", t->nodes[rail].name);
}

static void write_nics(const struct table *table, const int *chosen, int count, char *text,
                       size_t size)
{
    const struct weft_topology *t = table->report->topology;
    size_t used = 0;
    int written = 0;
    text[0] = '\0';
    for (; written < count; written++) {
        const char *name = weft_report_local_name(t->nodes[table->nics[chosen[written]]].name);
        if (used + strlen(name) + 6 > 22 && written)
            break;
        used += (size_t)snprintf(text + used, size - used, "%s%.20s", used ? " " : "", name);
    }
    if (written < count)
        snprintf(text + used, size - used, " +%d", count - written);
}

/* The rest of a GPU's row: all but its name. */
static void write_row(struct table *table, int gpu, struct row *row)
{
    const struct weft_route *routes = weft_router_from(table->router, gpu - table->host);
    struct choice best = {.distance = NUM_DISTANCES};
    int chosen[MAX_NICS], count = 0;
    for (int i = 0; i < table->num_nics; i++) {
        const struct weft_route *route = &routes[table->nics[i] - table->host];
        if (route->num_links < 0)
            continue;
        struct choice choice = {distance_of(table, gpu, table->nics[i], route), *route};
        int order = count ? compare_choices(&choice, &best) : -1;
        if (order < 0) {
            best = choice;
            count = 0;
        }
        if (order <= 0)
            chosen[count++] = i;
    }
    if (count == 0) {
        snprintf(row->text, sizeof row->text, "no NIC of this host can be reached");
        return;
    }
    char nics[64], width[32], narrowest[48], rate[32], rail[64];
    write_nics(table, chosen, count, nics, sizeof nics);
    write_rail(table, chosen, count, rail, sizeof rail);
    write_rate(table->report, table->nics[chosen[0]], rate, sizeof rate);
    const struct weft_link *link = &table->alone->links[best.route.narrowest_link];
    row->is_assumed = weft_link_bandwidth(link).source == WEFT_SOURCE_ASSUMED;
    row->is_idle = weft_link_may_be_idle(table->alone, link);
    snprintf(narrowest, sizeof narrowest, "%s%s %s%s", row->is_assumed ? "~" : "",
             weft_format_bandwidth(best.route.bandwidth, width, sizeof width),
             weft_link_kinds[link->kind].name, row->is_idle ? " ?" : "");
    table->uses[best.distance] = true;
    snprintf(row->text, sizeof row->text, "%-22s  %-4s  %-17s %-10s %-16s  %s", nics,
             distances[best.distance].name, narrowest, rate, rail,
             gpudirect(table, gpu, chosen, count));
}

/* ---- table ---- */

static void flush_row(struct table *table)
{
    struct row *row = &table->pending;
    const struct weft_report *r = table->report;
    char name[224];
    if (!row->gpu[0][0])
        return;
    weft_report_range(row->gpu[0], row->gpu[1], row->count, name, sizeof name);
    int most = weft_report_most(r, 16, 8);
    most = most < MAX_ROWS_VERBOSE ? most : MAX_ROWS_VERBOSE;
    if (table->rows < most)
        fprintf(r->stream, "  %-8.40s %s\n", name, row->text);
    else
        table->left_out++;
    table->is_assumed |= row->is_assumed;
    table->is_idle |= row->is_idle;
    table->rows++;
    row->gpu[0][0] = '\0';
}

static int compare_names(const void *x, const void *y)
{
    return strverscmp(*(const char *const *)x, *(const char *const *)y);
}

/* GPU by GPU in the order of their numbers, whatever part of the host they hang on. */
static void write_gpus(struct table *table, const char **names, int count)
{
    const struct weft_topology *t = table->report->topology;
    // each GPU costs a search through the host: in a monstrous one only some are looked at
    int size = table->alone->num_nodes + table->alone->num_links;
    int most = MIN_GPUS + MAX_WORK / (size + 1);
    qsort(names, (size_t)count, sizeof *names, compare_names);
    for (int i = 0; i < count && i < most; i++) {
        struct row row = {0};
        write_row(table, weft_topology_find_node(t, names[i]), &row);
        const char *name = weft_report_local_name(names[i]);
        if (strcmp(row.text, table->pending.text) != 0 || !table->pending.gpu[0][0]) {
            flush_row(table);
            table->pending = row;
            snprintf(table->pending.gpu[0], sizeof row.gpu[0], "%.60s", name);
        }
        snprintf(table->pending.gpu[1], sizeof row.gpu[1], "%.60s", name);
        table->pending.count++;
    }
    flush_row(table);
    table->left_out += count > most ? count - most : 0;
}

static weft_status write_host(struct table *table)
{
    const struct weft_report *r = table->report;
    const struct weft_topology *t = r->topology;
    list_nics(table);
    if (table->num_nics == 0)
        return WEFT_OK;
    WEFT_TRY(extract(table));
    const char **names = malloc((size_t)(table->end - table->host) * sizeof *names);
    if (!names)
        return weft_fail(r->error, WEFT_OUT_OF_MEMORY, "report: no memory");
    int count = 0;
    for (int i = table->host; i < table->end; i++)
        if (t->nodes[i].kind == WEFT_NODE_GPU)
            names[count++] = t->nodes[i].name;
    write_gpus(table, names, count);
    free(names);
    return WEFT_OK;
}

static void write_head(const struct weft_report *r, int host, int num_hosts)
{
    char text[160];
    if (num_hosts > 1)
        snprintf(text, sizeof text, "From each GPU to its nearest NIC (%.60s and %d alike)",
                 r->topology->nodes[host].name, num_hosts - 1);
    else if (weft_topology_count(r->topology, WEFT_NODE_HOST) > 1)
        snprintf(text, sizeof text, "From each GPU to its nearest NIC (%.60s)",
                 r->topology->nodes[host].name);
    else
        snprintf(text, sizeof text, "From each GPU to its nearest NIC");
    weft_report_head(r, text);
    weft_report_style(r, WEFT_STYLE_DIM);
    fprintf(r->stream, "  %-8s %-22s  %-4s  %-17s %-10s %-16s  %s\n", "GPU", "nearest NICs", "way",
            "narrowest", "port", "rail (switch)", "GPUDirect");
    weft_report_style(r, WEFT_STYLE_PLAIN);
}

static void write_notes(const struct table *table)
{
    const struct weft_report *r = table->report;
    const struct weft_topology *t = r->topology;
    char legend[400] = "";
    size_t used = 0;
    if (table->left_out)
        fprintf(r->stream, "  ... and %d more%s\n", table->left_out,
                r->options->verbose ? "" : " (-v shows all)");
    for (int i = 0; i < table->num_reasons; i++) {
        const struct reason *reason = &table->reasons[i];
        char names[224], text[480];
        weft_report_range(weft_report_local_name(t->nodes[reason->first].name),
                          weft_report_local_name(t->nodes[reason->last].name), 0, names,
                          sizeof names);
        snprintf(text, sizeof text, "no GPUDirect for %.60s: %s", names, reason->text);
        fputs("  ", r->stream);
        weft_report_wrap(r, text, 4);
    }
    for (int i = 0; i < NUM_DISTANCES; i++)
        if (table->uses[i])
            used += (size_t)snprintf(legend + used, sizeof legend - used, "%s%s %s",
                                     used ? ", " : "", distances[i].name, distances[i].meaning);
    if (table->is_assumed)
        used +=
            (size_t)snprintf(legend + used, sizeof legend - used, "%s~ assumed", used ? ", " : "");
    if (table->is_idle)
        snprintf(legend + used, sizeof legend - used, "%s? lowered while the GPU is idle, perhaps",
                 used ? ", " : "");
    if (legend[0]) {
        weft_report_style(r, WEFT_STYLE_DIM);
        fputs("  ", r->stream);
        weft_report_wrap(r, legend, 2);
        weft_report_style(r, WEFT_STYLE_PLAIN);
    }
    putc('\n', r->stream);
}

static bool contains(const struct weft_report *r, int host, int kind)
{
    for (int i = host; i < r->end[host]; i++)
        if (r->topology->nodes[i].kind == kind)
            return true;
    return false;
}

/* The classes come largest first; without -v only the first with both GPUs and NICs is shown. */
weft_status weft_report_rails(const struct weft_report *r)
{
    int num_classes, shown = 0;
    const struct weft_symmetry_class *classes = weft_symmetry_classes(r->symmetry, &num_classes);
    struct table *table = malloc(sizeof *table);
    weft_status status = WEFT_OK;
    if (!table)
        return weft_fail(r->error, WEFT_OUT_OF_MEMORY, "report: no memory");
    for (int i = 0; i < num_classes && status == WEFT_OK; i++) {
        int host = classes[i].first;
        if (!contains(r, host, WEFT_NODE_GPU) || !contains(r, host, WEFT_NODE_NIC))
            continue;
        if (shown++ >= (r->options->verbose ? MAX_ROWS_VERBOSE : 1))
            break;
        memset(table, 0, sizeof *table);
        table->report = r;
        table->host = host;
        table->end = r->end[host];
        write_head(r, host, classes[i].num_hosts);
        status = write_host(table);
        if (status == WEFT_OK)
            write_notes(table);
        weft_router_destroy(&table->router);
        weft_topology_destroy(&table->alone);
    }
    free(table);
    return status;
}
