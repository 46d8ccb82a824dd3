/*
 * SPDX-License-Identifier: Apache-2.0
 * The links of the text report: classes of equal ones, with the source of every number.
 */
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/report_private.h"

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

/* What matters to collectives first; inside the processors last. */
static int rank(int kind)
{
    static const int ranks[WEFT_NUM_LINK_KINDS] = {
        [WEFT_LINK_NETWORK] = 0, [WEFT_LINK_NVLINK] = 1, [WEFT_LINK_XGMI] = 2,
        [WEFT_LINK_C2C] = 3,     [WEFT_LINK_PCIE] = 4,   [WEFT_LINK_ROOT] = 5,
        [WEFT_LINK_SOCKET] = 6,  [WEFT_LINK_MEMORY] = 7,
    };
    return ranks[kind];
}

/* What links of a family have in common: all but what they do now. */
static int compare_families(const struct link_class *a, const struct link_class *b)
{
    const int pairs[][2] = {{rank(a->link->kind), rank(b->link->kind)},
                            {a->kind_a, b->kind_a},
                            {a->kind_b, b->kind_b},
                            {b->link->count, a->link->count}};
    for (int i = 0; i < 4; i++)
        if (pairs[i][0] != pairs[i][1])
            return pairs[i][0] < pairs[i][1] ? -1 : 1;
    return compare_quantities(&b->link->bandwidth.nominal, &a->link->bandwidth.nominal);
}

static int compare_classes(const void *x, const void *y)
{
    const struct link_class *a = x, *b = y;
    const struct weft_figure *bandwidth_a = &a->link->bandwidth, *latency_a = &a->link->latency;
    const struct weft_figure *bandwidth_b = &b->link->bandwidth, *latency_b = &b->link->latency;
    const struct weft_quantity *forms[][2] = {{&bandwidth_b->current, &bandwidth_a->current},
                                              {&bandwidth_b->measured, &bandwidth_a->measured},
                                              {&latency_b->nominal, &latency_a->nominal},
                                              {&latency_b->current, &latency_a->current},
                                              {&latency_b->measured, &latency_a->measured}};
    int difference = compare_families(a, b);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0] && !difference; i++)
        difference = compare_quantities(forms[i][0], forms[i][1]);
    return difference;
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

static void write_row(const struct weft_report *r, const struct link_class *class, int count,
                      const char *bandwidth)
{
    char between[64], latency[48], number[32];
    snprintf(between, sizeof between, "%s %s %s", weft_node_kinds[class->kind_a].name,
             weft_report_glyph(r, "–", "-"), weft_node_kinds[class->kind_b].name);
    struct weft_quantity best = weft_link_latency(class->link);
    snprintf(latency, sizeof latency, "%s%s", best.source == WEFT_SOURCE_ASSUMED ? "~" : "",
             weft_format_latency(best.value, number, sizeof number));
    // the dash takes three bytes in one column
    int extra = r->options->ascii ? 0 : 2;
    fprintf(r->stream, "  %6d %-8s %-*s %-8s ", count, weft_link_kinds[class->link->kind].name,
            25 + extra, between, latency);
    weft_report_wrap(r, bandwidth, 2 + 6 + 1 + 8 + 1 + 25 + 1 + 8 + 1);
}

static void write_class(const struct weft_report *r, const struct link_class *class)
{
    char bandwidth[256];
    write_figure(bandwidth, sizeof bandwidth - 32, &class->link->bandwidth,
                 weft_link_bandwidth(class->link), weft_format_bandwidth);
    if (class->link->count > 1)
        snprintf(bandwidth + strlen(bandwidth), 32, " (%d lanes)", class->link->count);
    write_row(r, class, class->count, bandwidth);
}

/* A family of many classes in one row: from what to what its links do. */
static void write_family(const struct weft_report *r, const struct link_class *classes, int num)
{
    int count = 0;
    int64_t least = INT64_MAX, most = 0;
    for (int i = 0; i < num; i++) {
        int64_t best = weft_link_bandwidth(classes[i].link).value;
        count += classes[i].count;
        least = best < least ? best : least;
        most = best > most ? best : most;
    }
    char bandwidth[128], low[32], high[32];
    snprintf(bandwidth, sizeof bandwidth, "%s to %s (-v shows each)",
             weft_format_bandwidth(least, low, sizeof low),
             weft_format_bandwidth(most, high, sizeof high));
    write_row(r, classes, count, bandwidth);
}

/* Sorts, and joins equal ones; returns how many are left. */
static int join_classes(struct link_class *classes, int num)
{
    int kept = 0;
    qsort(classes, (size_t)num, sizeof *classes, compare_classes);
    for (int i = 0; i < num; i++)
        if (kept && compare_classes(&classes[kept - 1], &classes[i]) == 0)
            classes[kept - 1].count++;
        else
            classes[kept++] = classes[i];
    return kept;
}

static void write_classes(const struct weft_report *r, const struct link_class *classes, int num)
{
    int rows = 0, left_out = 0;
    for (int i = 0, end; i < num; i = end) {
        for (end = i + 1; end < num && compare_families(&classes[i], &classes[end]) == 0;)
            end++;
        bool folds = end - i > weft_report_most(r, 3, 2);
        if (rows + (folds ? 1 : end - i) > weft_report_most(r, 10, 6)) {
            left_out += end - i;
            continue;
        }
        if (folds)
            write_family(r, &classes[i], end - i);
        for (int j = i; !folds && j < end; j++)
            write_class(r, &classes[j]);
        rows += folds ? 1 : end - i;
    }
    if (left_out)
        fprintf(r->stream, "  ... and %d more classes (-v shows all)\n", left_out);
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
    weft_report_head(r, "How it is joined (per link and direction; ~ assumed)");
    weft_report_style(r, WEFT_STYLE_DIM);
    fprintf(r->stream, "   links kind     between                   latency  bandwidth\n");
    weft_report_style(r, WEFT_STYLE_PLAIN);
    write_classes(r, classes, join_classes(classes, t->num_links));
    putc('\n', r->stream);
    free(classes);
    return WEFT_OK;
}
