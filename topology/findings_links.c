/*
 * SPDX-License-Identifier: Apache-2.0
 * Finders: links that give less than they should, GPUs that have less than their siblings.
 */
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/findings_private.h"

/* ---- slow links ---- */

/* What a link does now, as far as it is known and not assumed. */
static int64_t observed(const struct weft_figure *figure)
{
    if (figure->measured.value >= 0)
        return figure->measured.value;
    return figure->current.source == WEFT_SOURCE_ASSUMED ? -1 : figure->current.value;
}

static bool has_gpu(const struct weft_topology *t, const struct weft_link *link)
{
    return t->nodes[link->from].kind == WEFT_NODE_GPU || t->nodes[link->to].kind == WEFT_NODE_GPU;
}

/* A GPU's PCIe link with all its lanes, but slower than it can be: what an idle GPU does to save
 * power, so it is no loss until it is seen under load. */
static bool may_idle(const struct weft_topology *t, const struct weft_link *link)
{
    int gpu = t->nodes[link->from].kind == WEFT_NODE_GPU ? link->from : link->to;
    const struct weft_figure *bandwidth = &link->bandwidth;
    return link->kind == WEFT_LINK_PCIE && has_gpu(t, link) && bandwidth->measured.value < 0 &&
           bandwidth->current.value > 0 &&
           bandwidth->current.value < bandwidth->nominal.value / 100 * 97 &&
           weft_topology_number(t, gpu, "pcie_lanes", 0) ==
               weft_topology_number(t, gpu, "pcie_lanes_max", -1);
}

weft_status weft_find_below_nominal(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    for (int kind = 0; kind < WEFT_NUM_LINK_KINDS; kind++) {
        int count = 0, worst = -1;
        double worst_share = 1;
        for (int i = 0; i < t->num_links; i++) {
            const struct weft_link *link = &t->links[i];
            int64_t nominal = link->bandwidth.nominal.value, now = observed(&link->bandwidth);
            // a measured link loses some per cent to headers
            double tolerated = link->bandwidth.measured.value >= 0 ? 0.75 : 0.97;
            if (link->kind != kind || nominal <= 0 || now < 0 || may_idle(t, link) ||
                (double)now >= tolerated * (double)nominal)
                continue;
            count++;
            if ((double)now / (double)nominal < worst_share) {
                worst_share = (double)now / (double)nominal;
                worst = i;
            }
        }
        if (count == 0)
            continue;
        const struct weft_link *link = &t->links[worst];
        char is[32], should[32];
        weft_format_bandwidth(observed(&link->bandwidth), is, sizeof is);
        weft_format_bandwidth(link->bandwidth.nominal.value, should, sizeof should);
        WEFT_TRY(weft_search_say(
            s, WEFT_SEVERITY_WARNING, 0,
            "%d %s link%s below nominal; the worst, %.80s to %.80s, gives %s of %s "
            "(%.0f %%).",
            count, weft_link_kinds[kind].name, count > 1 ? "s run" : " runs",
            t->nodes[link->from].name, t->nodes[link->to].name, is, should, worst_share * 100));
    }
    return WEFT_OK;
}

/* No GPU that anyone computes with has a PCIe link this slow, but an idle one saves power so. */
weft_status weft_find_idle(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int count = 0, first = -1;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        bool is_slow = link->kind == WEFT_LINK_PCIE && has_gpu(t, link) &&
                       link->bandwidth.measured.value < 0 && link->bandwidth.current.value > 0 &&
                       link->bandwidth.current.value < 5000000000;
        if ((is_slow || may_idle(t, link)) && count++ == 0)
            first = i;
    }
    if (count == 0)
        return WEFT_OK;
    char now[32];
    weft_format_bandwidth(t->links[first].bandwidth.current.value, now, sizeof now);
    return weft_search_say(
        s, WEFT_SEVERITY_NOTE, 0,
        "%d PCIe link%s of GPUs %s slow now (first: %.80s to %.80s, %s). An idle GPU or bridge "
        "lowers its link to save power; look again under load.",
        count, count > 1 ? "s" : "", count > 1 ? "are" : "is", t->nodes[t->links[first].from].name,
        t->nodes[t->links[first].to].name, now);
}

/* Sum of what links of `kind` give to each node; -1 where one is unknown. num_nodes entries. */
static void sum_bandwidth(const struct weft_topology *t, int kind, int64_t *of_node)
{
    for (int i = 0; i < t->num_nodes; i++)
        of_node[i] = 0;
    for (int i = 0; i < t->num_links; i++) {
        struct weft_quantity best = weft_figure_best(&t->links[i].bandwidth);
        if (t->links[i].kind != kind)
            continue;
        int ends[] = {t->links[i].from, t->links[i].to};
        for (int j = 0; j < 2; j++) {
            int64_t *sum = &of_node[ends[j]];
            if (best.value < 0 || *sum < 0)
                *sum = -1;
            else
                *sum = best.value > INT64_MAX - *sum ? INT64_MAX : *sum + best.value;
        }
    }
}

/* GPUs are bought alike, so one that has less than the best is worth a look. */
weft_status weft_find_uneven(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int64_t *sums = malloc(((size_t)t->num_nodes + 1) * sizeof *sums);
    if (!sums)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    weft_status status = WEFT_OK;
    for (int kind = 0; kind < WEFT_NUM_LINK_KINDS && status == WEFT_OK; kind++) {
        int gpus = 0, slow = 0, worst = -1, best = -1;
        sum_bandwidth(t, kind, sums);
        for (int i = 0; i < t->num_nodes; i++)
            if (t->nodes[i].kind == WEFT_NODE_GPU && (best < 0 || sums[i] > sums[best]))
                best = i;
        for (int i = 0; i < t->num_nodes; i++) {
            if (t->nodes[i].kind != WEFT_NODE_GPU)
                continue;
            gpus++;
            if (sums[i] < 0 || (double)sums[i] >= 0.95 * (double)sums[best])
                continue;
            slow++;
            worst = worst < 0 || sums[i] < sums[worst] ? i : worst;
        }
        if (slow == 0)
            continue;
        char least[32], most[32];
        weft_format_bandwidth(sums[worst], least, sizeof least);
        weft_format_bandwidth(sums[best], most, sizeof most);
        status = weft_search_say(
            s, WEFT_SEVERITY_WARNING, 0,
            "%d of %d GPUs have less %s bandwidth than the others: %.80s has %s, %.80s %s.", slow,
            gpus, weft_link_kinds[kind].name, t->nodes[worst].name, least, t->nodes[best].name,
            most);
    }
    free(sums);
    return status;
}

static int group_of(int *up, int node)
{
    while (up[node] != node)
        node = up[node] = up[up[node]];
    return node;
}

/* GPUs of one host with NVLink or XGMI, but without a way between them over such links. */
weft_status weft_find_gpu_groups(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    size_t n = (size_t)t->num_nodes;
    int *up = malloc((n + 1) * 3 * sizeof *up), hosts = 0, a = -1, b = -1;
    if (!up)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    int *is_linked = up + n + 1, *first_gpu = is_linked + n + 1; // first_gpu: of a host, plus one
    for (int i = 0; i < t->num_nodes; i++) {
        up[i] = i;
        is_linked[i] = first_gpu[i] = 0;
    }
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (link->kind != WEFT_LINK_NVLINK && link->kind != WEFT_LINK_XGMI)
            continue;
        is_linked[link->from] = is_linked[link->to] = 1;
        up[group_of(up, link->from)] = group_of(up, link->to);
    }
    for (int i = 0; i < t->num_nodes; i++) {
        int host = weft_topology_ancestor(t, i, WEFT_NODE_HOST);
        if (t->nodes[i].kind != WEFT_NODE_GPU || !is_linked[i] || host < 0 || first_gpu[host] < 0)
            continue;
        if (first_gpu[host] == 0)
            first_gpu[host] = i + 1;
        if (group_of(up, first_gpu[host] - 1) == group_of(up, i))
            continue;
        a = hosts == 0 ? first_gpu[host] - 1 : a;
        b = hosts++ == 0 ? i : b;
        first_gpu[host] = -1; // said once
    }
    free(up);
    if (hosts == 0)
        return WEFT_OK;
    return weft_search_say(
        s, WEFT_SEVERITY_WARNING, 0,
        "The NVLink or XGMI links of %d host%s leave GPUs in separate groups: no such way "
        "leads from %.80s to %.80s. Links between switches may be hidden.",
        hosts, hosts > 1 ? "s" : "", t->nodes[a].name, t->nodes[b].name);
}
