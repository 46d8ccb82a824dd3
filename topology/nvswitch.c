/*
 * SPDX-License-Identifier: Apache-2.0
 * See nvswitch.h. Components come from union-find over NVLinks; switches are then listed by host
 * and component, and the lists of one host are zipped.
 */
#include "topology/nvswitch.h"
#include "topology/sets.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SETS = 16 }; // of one host; more are no machine, and every two of them are joined

struct nvswitch {
    int node, host;
    int set;             // number of its component within the host
    int width;           // NVLinks to GPUs
    int64_t to_gpus;     // their bandwidth; -1: unknown
    int component_index; // root of the component
};

struct nvswitches {
    struct weft_topology *topology;
    struct weft_error *error;
    struct nvswitch *all;
    int count;
    int *up;        // component of each node
    char *has_gpus; // of each component root
};

static void find_components(struct nvswitches *s)
{
    const struct weft_topology *t = s->topology;
    weft_sets_init(s->up, t->num_nodes);
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NVLINK)
            weft_sets_unite(s->up, t->links[i].from, t->links[i].to);
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_GPU)
            s->has_gpus[weft_sets_root(s->up, i)] = 1;
}

static int compare_switches(const void *left, const void *right)
{
    const struct nvswitch *a = left, *b = right;
    if (a->host != b->host)
        return a->host < b->host ? -1 : 1;
    if (a->component_index != b->component_index)
        return a->component_index < b->component_index ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

/* The switches that lie on a host, in a component with GPUs, by host and component. */
static void list_switches(struct nvswitches *s)
{
    const struct weft_topology *t = s->topology;
    for (int i = 0; i < t->num_nodes; i++) {
        int host = weft_topology_ancestor(t, i, WEFT_NODE_HOST), root = weft_sets_root(s->up, i);
        if (t->nodes[i].kind == WEFT_NODE_NVSWITCH && host >= 0 && s->has_gpus[root])
            s->all[s->count++] =
                (struct nvswitch){.node = i, .host = host, .component_index = root};
    }
    qsort(s->all, (size_t)s->count, sizeof *s->all, compare_switches);
    for (int i = 1; i < s->count; i++)
        if (s->all[i].host == s->all[i - 1].host)
            s->all[i].set =
                s->all[i - 1].set + (s->all[i].component_index != s->all[i - 1].component_index);
}

/* `position` (of each node) is scratch. */
static void add_widths(struct nvswitches *s, int *position)
{
    const struct weft_topology *t = s->topology;
    for (int i = 0; i < t->num_nodes; i++)
        position[i] = -1;
    for (int i = 0; i < s->count; i++)
        position[s->all[i].node] = i;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        bool is_from_gpu = t->nodes[link->from].kind == WEFT_NODE_GPU;
        int place = position[is_from_gpu ? link->to : link->from];
        int other = is_from_gpu ? link->from : link->to;
        if (link->kind != WEFT_LINK_NVLINK || place < 0 || t->nodes[other].kind != WEFT_NODE_GPU)
            continue;
        struct nvswitch *nvswitch = &s->all[place];
        int64_t more = weft_figure_best(&link->bandwidth).value;
        nvswitch->width += nvswitch->width < INT32_MAX - link->count ? link->count : 0;
        if (more < 0 || nvswitch->to_gpus < 0 || more > INT64_MAX - nvswitch->to_gpus)
            nvswitch->to_gpus = -1;
        else
            nvswitch->to_gpus += more;
    }
}

/* Switch by switch; the shorter list begins anew. */
static weft_status join_sets(struct nvswitches *s, const struct nvswitch *a, int count_a,
                             const struct nvswitch *b, int count_b)
{
    int count = count_a > count_b ? count_a : count_b;
    for (int i = 0; i < count; i++) {
        const struct nvswitch *left = &a[i % count_a], *right = &b[i % count_b];
        const struct nvswitch *own = count_a >= count_b ? left : right; // of the longer list
        struct weft_link link = weft_link_make(WEFT_LINK_NVLINK, left->node, right->node);
        link.count = own->width > 0 ? own->width : 1;
        if (own->to_gpus > 0)
            link.bandwidth.nominal = (struct weft_quantity){own->to_gpus, WEFT_SOURCE_ASSUMED};
        WEFT_TRY(weft_topology_add_link(s->topology, &link, NULL, s->error));
    }
    return WEFT_OK;
}

static int set_end(const struct nvswitches *s, int first)
{
    int end = first;
    while (end < s->count && s->all[end].host == s->all[first].host &&
           s->all[end].set == s->all[first].set)
        end++;
    return end;
}

/* All sets of the host whose switches are first..end. */
static weft_status join_host(struct nvswitches *s, int first, int end, enum weft_source source)
{
    int sets = s->all[end - 1].set + 1, host = s->all[first].host;
    if (sets == 1)
        return WEFT_OK;
    if (sets > MAX_SETS)
        return weft_topology_add_remark(s->topology, WEFT_REMARK_HIDDEN, source, host, s->error,
                                        "%d separate sets of NVSwitches; too many to guess how "
                                        "they are joined",
                                        sets);
    for (int a = first; a < end; a = set_end(s, a))
        for (int b = set_end(s, a); b < end; b = set_end(s, b))
            WEFT_TRY(join_sets(s, &s->all[a], set_end(s, a) - a, &s->all[b], set_end(s, b) - b));
    return weft_topology_add_remark(
        s->topology, WEFT_REMARK_GUESS, source, host, s->error,
        "%d NVSwitches form %d sets with GPUs that no listed link joins; trunk links between them "
        "are assumed, each as wide as its switch is towards GPUs (%d NVLinks)",
        end - first, sets, s->all[first].width);
}

weft_status weft_topology_join_nvswitches(struct weft_topology *topology, enum weft_source source,
                                          struct weft_error *error)
{
    size_t n = (size_t)topology->num_nodes + 1;
    struct nvswitches s = {.topology = topology, .error = error};
    if (weft_topology_count(topology, WEFT_NODE_NVSWITCH) < 2)
        return WEFT_OK;
    s.up = malloc(2 * n * sizeof *s.up);
    s.has_gpus = calloc(n, 1);
    s.all = calloc((size_t)weft_topology_count(topology, WEFT_NODE_NVSWITCH), sizeof *s.all);
    weft_status status = WEFT_OK;
    if (!s.up || !s.has_gpus || !s.all)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory to join NVSwitches");
    if (status == WEFT_OK) {
        find_components(&s);
        list_switches(&s);
        add_widths(&s, s.up + n);
    }
    for (int i = 0, end; status == WEFT_OK && i < s.count; i = end) {
        for (end = i; end < s.count && s.all[end].host == s.all[i].host;)
            end++;
        status = join_host(&s, i, end, source);
    }
    free(s.all);
    free(s.has_gpus);
    free(s.up);
    return status;
}
