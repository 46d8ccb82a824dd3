/*
 * SPDX-License-Identifier: Apache-2.0
 * The tables of the text report: classes of links with the source of every number, and the way from
 * each GPU to its nearest NIC.
 */
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/report_private.h"
#include "topology/route.h"

enum { MAX_LINK_ROWS = 40, MAX_GPU_ROWS = 16, MAX_GPU_ROWS_VERBOSE = 256 };

/* ---- links ---- */

struct link_class {
    const struct weft_link *link;
    int kind_a, kind_b; // node kinds, the lower first
    int count;
};

static int compare_quantities(const struct weft_quantity *a, const struct weft_quantity *b)
{
    if (a->value != b->value)
        return a->value < b->value ? -1 : 1;
    return (int)a->source - (int)b->source;
}

static int compare_classes(const void *x, const void *y)
{
    const struct link_class *a = x, *b = y;
    const int pairs[][2] = {{a->link->kind, b->link->kind},
                            {a->kind_a, b->kind_a},
                            {a->kind_b, b->kind_b},
                            {b->link->count, a->link->count}};
    for (int i = 0; i < 4; i++)
        if (pairs[i][0] != pairs[i][1])
            return pairs[i][0] < pairs[i][1] ? -1 : 1;
    const struct weft_figure *of_a[] = {&a->link->bandwidth, &a->link->latency};
    const struct weft_figure *of_b[] = {&b->link->bandwidth, &b->link->latency};
    for (int i = 0; i < 2; i++) {
        const struct weft_quantity *forms[][2] = {{&of_b[i]->nominal, &of_a[i]->nominal},
                                                  {&of_b[i]->current, &of_a[i]->current},
                                                  {&of_b[i]->measured, &of_a[i]->measured}};
        for (int j = 0; j < 3; j++) {
            int difference = compare_quantities(forms[j][0], forms[j][1]);
            if (difference)
                return difference;
        }
    }
    return 0;
}

/* "25 GB/s current [hwloc], 50 GB/s nominal [file]"; what nobody knows is the kind's assumption. */
static void write_figure(char *text, size_t size, const struct weft_figure *figure,
                         struct weft_quantity best, const char *(*format)(int64_t, char *, size_t))
{
    static const char *const names[] = {"measured", "current", "nominal"};
    const struct weft_quantity *forms[] = {&figure->measured, &figure->current, &figure->nominal};
    char number[32];
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < 3 && used < size; i++)
        if (forms[i]->value >= 0)
            used += (size_t)snprintf(text + used, size - used, "%s%s %s [%s]", used ? ", " : "",
                                     format(forms[i]->value, number, sizeof number), names[i],
                                     weft_source_names[forms[i]->source]);
    if (used == 0)
        snprintf(text, size, "%s [assumed]", format(best.value, number, sizeof number));
}

static void write_class(const struct weft_report *r, const struct link_class *class)
{
    char between[64], bandwidth[128], latency[128], bundle[24] = "";
    snprintf(between, sizeof between, "%s %s %s", weft_node_kinds[class->kind_a].name,
             weft_report_glyph(r, "–", "-"), weft_node_kinds[class->kind_b].name);
    write_figure(bandwidth, sizeof bandwidth, &class->link->bandwidth,
                 weft_link_bandwidth(class->link), weft_format_bandwidth);
    write_figure(latency, sizeof latency, &class->link->latency, weft_link_latency(class->link),
                 weft_format_latency);
    if (class->link->count > 1)
        snprintf(bundle, sizeof bundle, " x%d", class->link->count);
    // the dash takes three bytes in one column
    int extra = r->options->ascii ? 0 : 2;
    fprintf(r->stream, "  %6d  %-8s %-*s  %-30s %s%s\n", class->count,
            weft_link_kinds[class->link->kind].name, 25 + extra, between, bandwidth, latency,
            bundle);
}

weft_status weft_report_links(const struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    if (t->num_links == 0)
        return WEFT_OK;
    struct link_class *classes = malloc((size_t)t->num_links * sizeof *classes);
    if (!classes)
        return weft_fail(r->error, WEFT_OUT_OF_MEMORY, "report: no memory");
    for (int i = 0; i < t->num_links; i++) {
        int a = t->nodes[t->links[i].from].kind, b = t->nodes[t->links[i].to].kind;
        classes[i] = (struct link_class){&t->links[i], a < b ? a : b, a < b ? b : a, 1};
    }
    qsort(classes, (size_t)t->num_links, sizeof *classes, compare_classes);
    weft_report_style(r, WEFT_STYLE_HEAD);
    fputs("How it is joined (per link and direction)\n", r->stream);
    weft_report_style(r, WEFT_STYLE_DIM);
    fprintf(r->stream, "   links  kind     between                    %-30s latency\n",
            "bandwidth");
    weft_report_style(r, WEFT_STYLE_PLAIN);
    int rows = 0;
    for (int i = 0; i < t->num_links; rows++) {
        struct link_class class = classes[i];
        for (i++; i < t->num_links && compare_classes(&classes[i], &class) == 0; i++)
            class.count++;
        if (rows < MAX_LINK_ROWS || r->options->verbose)
            write_class(r, &class);
    }
    if (rows > MAX_LINK_ROWS && !r->options->verbose)
        fprintf(r->stream, "  ... and %d more classes (-v shows all)\n", rows - MAX_LINK_ROWS);
    putc('\n', r->stream);
    free(classes);
    return WEFT_OK;
}

/* ---- GPU to NIC ---- */

static bool share(const struct weft_topology *t, int a, int b, int kind)
{
    int of_a = weft_topology_ancestor(t, a, kind);
    return of_a >= 0 && of_a == weft_topology_ancestor(t, b, kind);
}

static const char *nearness(const struct weft_topology *t, int gpu, int nic)
{
    static const struct {
        int kind;
        const char *text;
    } levels[] = {{WEFT_NODE_PCIE_SWITCH, "same PCIe switch"},
                  {WEFT_NODE_PCIE_ROOT, "same PCIe root"},
                  {WEFT_NODE_NUMA, "same NUMA domain"},
                  {WEFT_NODE_CPU, "same package"}};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (share(t, gpu, nic, levels[i].kind))
            return levels[i].text;
    return "crosses sockets";
}

static bool ties(const struct weft_route *a, const struct weft_route *b)
{
    return a->latency_ps == b->latency_ps && a->bandwidth == b->bandwidth;
}

/* The nearest NIC of the GPU's host; -1: none reachable. */
static int nearest_nic(const struct weft_topology *t, int gpu, const struct weft_route *routes)
{
    int best = -1;
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_NIC || routes[i].num_links < 0 ||
            !share(t, gpu, i, WEFT_NODE_HOST))
            continue;
        if (best < 0 || routes[i].latency_ps < routes[best].latency_ps ||
            (routes[i].latency_ps == routes[best].latency_ps &&
             routes[i].bandwidth > routes[best].bandwidth))
            best = i;
    }
    return best;
}

static void write_gpu_row(const struct weft_report *r, int gpu, const struct weft_route *routes)
{
    const struct weft_topology *t = r->topology;
    int best = nearest_nic(t, gpu, routes);
    const char *name = weft_report_local_name(t->nodes[gpu].name);
    if (best < 0) {
        fprintf(r->stream, "  %-10.40s no NIC on this host can be reached\n", name);
        return;
    }
    char nics[64] = "", bandwidth[32], latency[32];
    size_t used = 0;
    int more = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_NIC || !share(t, gpu, i, WEFT_NODE_HOST) ||
            !ties(&routes[i], &routes[best]))
            continue;
        const char *nic = weft_report_local_name(t->nodes[i].name);
        if (used + strlen(nic) + 2 < 26)
            used += (size_t)snprintf(nics + used, sizeof nics - used, "%s%s", used ? " " : "", nic);
        else
            more++;
    }
    if (more)
        snprintf(nics + used, sizeof nics - used, "%s+%d", used ? " " : "", more);
    fprintf(r->stream, "  %-10.40s %-30s %-17s %-11s %-8s%s\n", name, nics, nearness(t, gpu, best),
            weft_format_bandwidth(routes[best].bandwidth, bandwidth, sizeof bandwidth),
            weft_format_latency(routes[best].latency_ps, latency, sizeof latency),
            routes[best].num_assumed ? " partly assumed" : "");
}

/* Of hosts that look alike only the first is shown. */
weft_status weft_report_gpu_table(const struct weft_report *r)
{
    const struct weft_topology *t = r->topology;
    if (weft_topology_count(t, WEFT_NODE_GPU) == 0 || weft_topology_count(t, WEFT_NODE_NIC) == 0)
        return WEFT_OK;
    struct weft_router *router = NULL;
    WEFT_TRY(weft_router_create(t, &router, r->error));
    weft_report_style(r, WEFT_STYLE_HEAD);
    fputs("From each GPU to its nearest NIC\n", r->stream);
    weft_report_style(r, WEFT_STYLE_DIM);
    fprintf(r->stream, "  %-10s %-30s %-17s %-11s %s\n", "GPU", "nearest NICs", "way", "narrowest",
            "latency");
    weft_report_style(r, WEFT_STYLE_PLAIN);
    int rows = 0, left_out = 0;
    int room = r->options->verbose ? MAX_GPU_ROWS_VERBOSE : MAX_GPU_ROWS;
    uint64_t last_shape = 0;
    for (int i = 0; i < t->num_nodes; i = t->nodes[i].parent < 0 ? r->end[i] : i + 1) {
        if (t->nodes[i].kind != WEFT_NODE_HOST)
            continue;
        bool is_new = rows == 0 || r->shape[i] != last_shape || r->options->verbose;
        last_shape = r->shape[i];
        for (int j = i; is_new && j < r->end[i]; j++) {
            if (t->nodes[j].kind != WEFT_NODE_GPU)
                continue;
            if (rows < room) {
                write_gpu_row(r, j, weft_router_from(router, j));
                rows++;
            } else {
                left_out++;
            }
        }
    }
    if (left_out)
        fprintf(r->stream, "  ... and %d more\n", left_out);
    putc('\n', r->stream);
    weft_router_destroy(&router);
    return WEFT_OK;
}
