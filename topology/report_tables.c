/*
 * SPDX-License-Identifier: Apache-2.0
 * The links of the text report: classes of equal ones, with the source of every number.
 */
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/report_private.h"

enum { MAX_LINK_ROWS = 10 };

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
    char between[64], bandwidth[256], latency[128], bundle[24] = "", number[32];
    snprintf(between, sizeof between, "%s %s %s", weft_node_kinds[class->kind_a].name,
             weft_report_glyph(r, "–", "-"), weft_node_kinds[class->kind_b].name);
    struct weft_quantity best = weft_link_latency(class->link);
    snprintf(latency, sizeof latency, "%s%s", best.source == WEFT_SOURCE_ASSUMED ? "~" : "",
             weft_format_latency(best.value, number, sizeof number));
    write_figure(bandwidth, sizeof bandwidth - sizeof bundle, &class->link->bandwidth,
                 weft_link_bandwidth(class->link), weft_format_bandwidth);
    if (class->link->count > 1)
        snprintf(bundle, sizeof bundle, " (%d lanes)", class->link->count);
    strcat(bandwidth, bundle);
    // the dash takes three bytes in one column
    int extra = r->options->ascii ? 0 : 2;
    fprintf(r->stream, "  %6d %-8s %-*s %-8s ", class->count,
            weft_link_kinds[class->link->kind].name, 25 + extra, between, latency);
    weft_report_wrap(r, bandwidth, 2 + 6 + 1 + 8 + 1 + 25 + 1 + 8 + 1);
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
    weft_report_head(r, "How it is joined (per link and direction; ~ assumed)");
    weft_report_style(r, WEFT_STYLE_DIM);
    fprintf(r->stream, "   links kind     between                   latency  bandwidth\n");
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
