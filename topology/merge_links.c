/*
 * SPDX-License-Identifier: Apache-2.0
 * Links of all graphs as links of one: the same cable, seen by several hosts, stands once. Cables
 * are told apart by their ports; where ports are not known, the k-th link between two nodes of one
 * graph is the k-th of every other.
 */
#include <stdlib.h>

#include "topology/merge_private.h"

struct cable {
    int kind, a, b; // nodes of `merged`; a < b unless one_way
    int port_a, port_b;
    int one_way;
    int place; // among equal ones of its graph
    int graph, link;
};

static int compare_ints(const int *a, const int *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

static int compare_ends(const struct cable *x, const struct cable *y)
{
    const int a[] = {x->kind, x->a, x->b, x->port_a, x->port_b, x->one_way};
    const int b[] = {y->kind, y->a, y->b, y->port_a, y->port_b, y->one_way};
    return compare_ints(a, b, sizeof a / sizeof a[0]);
}

static int compare_by_graph(const void *x, const void *y)
{
    const struct cable *a = x, *b = y;
    const int of_a[] = {a->graph, a->link}, of_b[] = {b->graph, b->link};
    int difference = compare_ends(a, b);
    return difference ? difference : compare_ints(of_a, of_b, 2);
}

static int compare_by_place(const void *x, const void *y)
{
    const struct cable *a = x, *b = y;
    const int of_a[] = {a->place, a->graph, a->link}, of_b[] = {b->place, b->graph, b->link};
    int difference = compare_ends(a, b);
    return difference ? difference : compare_ints(of_a, of_b, 3);
}

static int list_cables(const struct weft_merge *m, struct cable *cables)
{
    int count = 0;
    for (int g = 0; g < m->num_graphs; g++)
        for (int i = 0; i < m->graphs[g]->num_links; i++) {
            const struct weft_link *link = &m->graphs[g]->links[i];
            int from = m->node[weft_merge_root(m, m->first[g] + link->from)];
            int to = m->node[weft_merge_root(m, m->first[g] + link->to)];
            bool turns = from > to && !link->one_way;
            if (from == to) // its ends became one: a cable within one thing
                continue;
            cables[count++] = (struct cable){.kind = link->kind,
                                             .a = turns ? to : from,
                                             .b = turns ? from : to,
                                             .port_a = turns ? link->to_port : link->from_port,
                                             .port_b = turns ? link->from_port : link->to_port,
                                             .one_way = link->one_way,
                                             .graph = g,
                                             .link = i};
        }
    if (count == 0)
        return 0;
    qsort(cables, (size_t)count, sizeof *cables, compare_by_graph);
    for (int i = 1; i < count; i++)
        if (compare_ends(&cables[i - 1], &cables[i]) == 0 && cables[i - 1].graph == cables[i].graph)
            cables[i].place = cables[i - 1].place + 1;
    qsort(cables, (size_t)count, sizeof *cables, compare_by_place);
    return count;
}

static weft_status learn_figure(struct weft_merge *m, int link, const char *const *names,
                                struct weft_figure *known, const struct weft_figure *figure)
{
    const struct weft_quantity *from[] = {&figure->nominal, &figure->current, &figure->measured};
    struct weft_quantity *to[] = {&known->nominal, &known->current, &known->measured};
    for (int i = 0; i < 3; i++)
        if (from[i]->value >= 0)
            WEFT_TRY(weft_topology_learn_quantity(m->merged, link, names[i], to[i], from[i]->value,
                                                  from[i]->source, m->error));
    return WEFT_OK;
}

static weft_status learn_cable(struct weft_merge *m, int index, const struct weft_link *seen)
{
    static const char *const bandwidths[] = {"nominal bandwidth", "current bandwidth",
                                             "measured bandwidth"};
    static const char *const latencies[] = {"nominal latency", "current latency",
                                            "measured latency"};
    struct weft_link *link = &m->merged->links[index];
    if (link->count != seen->count) {
        int larger = link->count > seen->count ? link->count : seen->count;
        WEFT_TRY(weft_topology_add_remark(
            m->merged, WEFT_REMARK_CONTRADICTION, WEFT_SOURCE_FILE, link->from, m->error,
            "a bundle to %.80s has %d links, or %d; believed: %d", m->merged->nodes[link->to].name,
            link->count < seen->count ? link->count : seen->count, larger, larger));
        link->count = larger;
    }
    WEFT_TRY(learn_figure(m, index, bandwidths, &link->bandwidth, &seen->bandwidth));
    return learn_figure(m, index, latencies, &link->latency, &seen->latency);
}

static weft_status add_cables(struct weft_merge *m, const struct cable *cables, int count)
{
    int index = -1;
    for (int i = 0; i < count; i++) {
        const struct cable *cable = &cables[i];
        const struct weft_link *seen = &m->graphs[cable->graph]->links[cable->link];
        bool is_known = i > 0 && compare_ends(&cables[i - 1], cable) == 0 &&
                        cables[i - 1].place == cable->place;
        if (is_known) {
            WEFT_TRY(learn_cable(m, index, seen));
            continue;
        }
        struct weft_link link = *seen;
        link.from = cable->a;
        link.to = cable->b;
        link.from_port = cable->port_a;
        link.to_port = cable->port_b;
        WEFT_TRY(weft_topology_add_link(m->merged, &link, &index, m->error));
    }
    return WEFT_OK;
}

weft_status weft_merge_links(struct weft_merge *m)
{
    size_t count = 1;
    for (int g = 0; g < m->num_graphs; g++)
        count += (size_t)m->graphs[g]->num_links;
    if (count > WEFT_TOPOLOGY_MAX_LINKS)
        return weft_fail(m->error, WEFT_INVALID_ARGUMENT, "merge: more than %d links",
                         WEFT_TOPOLOGY_MAX_LINKS);
    struct cable *cables = malloc(count * sizeof *cables);
    if (!cables)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory for %zu links", count);
    weft_status status = add_cables(m, cables, list_cables(m, cables));
    free(cables);
    return status;
}
