/*
 * SPDX-License-Identifier: Apache-2.0
 * Finders: links that give less than they should, GPUs that have less than their siblings.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/cuts.h"
#include "topology/findings_private.h"
#include "topology/gpu_islands.h"

static const int64_t ONE_STREAM = 1250000000; // 10 Gbit/s: what one core's TCP certainly fills
static const int64_t IDLE_BELOW = 5000000000; // less than half of generation 3, 16 lanes

static const char *const labels[WEFT_NUM_LINK_KINDS] = {
    [WEFT_LINK_MEMORY] = "memory", [WEFT_LINK_SOCKET] = "socket",   [WEFT_LINK_ROOT] = "root",
    [WEFT_LINK_PCIE] = "PCIe",     [WEFT_LINK_NVLINK] = "NVLink",   [WEFT_LINK_XGMI] = "XGMI",
    [WEFT_LINK_C2C] = "C2C",       [WEFT_LINK_NETWORK] = "network",
};

/* ---- slow links ---- */

static bool is_judged_by_measuring(const struct weft_link *link)
{
    if (link->bandwidth.measured.value < 0 || link->kind == WEFT_LINK_MEMORY ||
        link->kind == WEFT_LINK_SOCKET)
        return false;
    return link->kind != WEFT_LINK_NETWORK || link->bandwidth.nominal.value <= ONE_STREAM;
}

int64_t weft_link_observed(const struct weft_link *link)
{
    const struct weft_quantity *current = &link->bandwidth.current;
    if (is_judged_by_measuring(link))
        return link->bandwidth.measured.value;
    return current->source == WEFT_SOURCE_ASSUMED ? -1 : current->value;
}

static bool is_gpu_pcie(const struct weft_topology *t, const struct weft_link *link)
{
    return link->kind == WEFT_LINK_PCIE && link->bandwidth.measured.value < 0 &&
           link->bandwidth.current.value > 0 &&
           (t->nodes[link->from].kind == WEFT_NODE_GPU || t->nodes[link->to].kind == WEFT_NODE_GPU);
}

bool weft_link_may_be_idle(const struct weft_topology *t, const struct weft_link *link)
{
    const struct weft_figure *bandwidth = &link->bandwidth;
    if (!is_gpu_pcie(t, link))
        return false;
    if (bandwidth->nominal.value <= 0)
        return bandwidth->current.value < IDLE_BELOW;
    int gpu = t->nodes[link->from].kind == WEFT_NODE_GPU ? link->from : link->to;
    return bandwidth->current.value < bandwidth->nominal.value / 100 * 97 &&
           weft_topology_number(t, gpu, "pcie_lanes", 0) ==
               weft_topology_number(t, gpu, "pcie_lanes_max", -1);
}

/* The share of nominal that a weak link gives; 1: it is not weak. */
static double weakness(const struct weft_topology *t, const struct weft_link *link)
{
    int64_t nominal = link->bandwidth.nominal.value, now = weft_link_observed(link);
    // a measured link loses some per cent to headers
    double tolerated = is_judged_by_measuring(link) ? 0.75 : 0.97;
    if (nominal <= 0 || now < 0 || (double)now >= tolerated * (double)nominal ||
        weft_link_may_be_idle(t, link))
        return 1;
    return (double)now / (double)nominal;
}

/* The weak links of one kind: how many, and that whose cut loses most, of equal ones the weakest.
 */
static weft_status say_weak_links(struct weft_search *s, struct weft_cuts *cuts, int kind)
{
    const struct weft_topology *t = s->topology;
    int count = 0, worst = -1;
    double least = 1;
    int64_t lost = -1;
    for (int i = 0; i < t->num_links; i++) {
        double share = t->links[i].kind == kind ? weakness(t, &t->links[i]) : 1;
        if (share >= 1)
            continue;
        count++;
        int64_t loss = weft_cuts_loss(cuts, i);
        if (loss < lost || (loss == lost && share >= least))
            continue;
        worst = i;
        lost = loss;
        least = share;
    }
    if (count == 0)
        return WEFT_OK;
    const struct weft_link *link = &t->links[worst];
    char is[32], should[32];
    weft_format_bandwidth(weft_link_observed(link), is, sizeof is);
    weft_format_bandwidth(link->bandwidth.nominal.value, should, sizeof should);
    char ports[2][24] = {"", ""};
    for (int end = 0; end < 2; end++) {
        int port = end ? link->to_port : link->from_port;
        if (port > 0)
            snprintf(ports[end], sizeof ports[end], " port %d", port);
    }
    return weft_search_say(
        s, WEFT_SEVERITY_WARNING, lost,
        "%d %s link%s below nominal; the worst, %.80s%s to %.80s%s, gives %s of %s (%.0f %%).",
        count, labels[kind], count > 1 ? "s run" : " runs", t->nodes[link->from].name, ports[0],
        t->nodes[link->to].name, ports[1], is, should, least * 100);
}

weft_status weft_find_below_nominal(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    struct weft_cuts *cuts = NULL;
    weft_status status = WEFT_OK;
    for (int i = 0; i < t->num_links && status == WEFT_OK; i++) {
        if (weakness(t, &t->links[i]) >= 1)
            continue;
        if (!cuts)
            status = weft_cuts_create(t, &cuts, s->error);
        if (status == WEFT_OK)
            weft_cuts_mark(cuts, i, t->links[i].bandwidth.nominal.value);
    }
    for (int kind = 0; cuts && kind < WEFT_NUM_LINK_KINDS && status == WEFT_OK; kind++)
        status = say_weak_links(s, cuts, kind);
    weft_cuts_destroy(&cuts);
    return status;
}

weft_status weft_find_idle(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int count = 0, first = -1;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        bool is_slow = is_gpu_pcie(t, link) && link->bandwidth.current.value < IDLE_BELOW;
        if ((is_slow || weft_link_may_be_idle(t, link)) && count++ == 0)
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

/* Sum of what links of `kind` give to each node; -1 where one is unknown, may be idle, or is weak
 * (which is said already). num_nodes entries. */
static void sum_bandwidth(const struct weft_topology *t, int kind, int64_t *of_node)
{
    for (int i = 0; i < t->num_nodes; i++)
        of_node[i] = 0;
    for (int i = 0; i < t->num_links; i++) {
        int64_t best = weft_figure_best(&t->links[i].bandwidth).value;
        if (t->links[i].kind != kind)
            continue;
        int ends[] = {t->links[i].from, t->links[i].to};
        for (int j = 0; j < 2; j++) {
            int64_t *sum = &of_node[ends[j]];
            if (best < 0 || *sum < 0 || weft_link_may_be_idle(t, &t->links[i]) ||
                weakness(t, &t->links[i]) < 1)
                *sum = -1;
            else
                *sum = best > INT64_MAX - *sum ? INT64_MAX : *sum + best;
        }
    }
}

/* A GPU among those it is held against: of the same host and model. */
struct peer {
    int gpu, host; // host -1: GPUs without one are held against each other
    const char *model;
};

static int compare_models(const struct peer *x, const struct peer *y)
{
    if (x->host != y->host)
        return x->host < y->host ? -1 : 1;
    return strcmp(x->model, y->model);
}

static int compare_peers(const void *a, const void *b)
{
    const struct peer *x = a, *y = b;
    int order = compare_models(x, y);
    return order ? order : (x->gpu > y->gpu) - (x->gpu < y->gpu);
}

static int list_peers(const struct weft_topology *t, struct peer *peers)
{
    int count = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_GPU)
            continue;
        const char *id = weft_topology_text(t, i, "pci_id");
        const char *model = id ? id : weft_topology_text(t, i, "model");
        peers[count++] = (struct peer){.gpu = i,
                                       .host = weft_topology_ancestor(t, i, WEFT_NODE_HOST),
                                       .model = model ? model : ""};
    }
    qsort(peers, (size_t)count, sizeof *peers, compare_peers);
    return count;
}

/* The GPUs that have less than the best of their peers. */
struct uneven {
    int slow, worst, best; // how many; the worst, and the best of its peers
    int64_t lost;
};

static void look_at_peers(const struct peer *peers, int count, const int64_t *sums,
                          struct uneven *found)
{
    int best = peers[0].gpu;
    for (int i = 1; i < count; i++)
        best = sums[peers[i].gpu] > sums[best] ? peers[i].gpu : best;
    for (int i = 0; i < count; i++) {
        int gpu = peers[i].gpu;
        if (sums[gpu] < 0 || (double)sums[gpu] >= 0.95 * (double)sums[best])
            continue;
        found->slow++;
        if (sums[best] - sums[gpu] <= found->lost)
            continue;
        found->lost = sums[best] - sums[gpu];
        found->worst = gpu;
        found->best = best;
    }
}

static weft_status say_uneven(struct weft_search *s, int kind, const int64_t *sums,
                              const struct peer *peers, int count)
{
    const struct weft_topology *t = s->topology;
    struct uneven found = {.worst = -1};
    for (int first = 0, end; first < count; first = end) {
        for (end = first; end < count && compare_models(&peers[first], &peers[end]) == 0; end++) {}
        look_at_peers(peers + first, end - first, sums, &found);
    }
    if (found.slow == 0)
        return WEFT_OK;
    char least[32], most[32];
    return weft_search_say(
        s, WEFT_SEVERITY_WARNING, found.lost,
        "%d of %d GPUs %s less %s bandwidth than others of the same host: %.80s has %s, %.80s %s.",
        found.slow, count, found.slow > 1 ? "have" : "has", labels[kind],
        t->nodes[found.worst].name, weft_format_bandwidth(sums[found.worst], least, sizeof least),
        t->nodes[found.best].name, weft_format_bandwidth(sums[found.best], most, sizeof most));
}

/* GPUs of a host and model are bought alike, so one that has less than the best is worth a look. */
weft_status weft_find_uneven(struct weft_search *s)
{
    size_t n = (size_t)s->topology->num_nodes + 1;
    int64_t *sums = malloc(n * sizeof *sums);
    struct peer *peers = malloc(n * sizeof *peers);
    weft_status status = WEFT_OK;
    if (!sums || !peers)
        status = weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    int count = status == WEFT_OK ? list_peers(s->topology, peers) : 0;
    for (int kind = 0; kind < WEFT_NUM_LINK_KINDS && status == WEFT_OK; kind++) {
        sum_bandwidth(s->topology, kind, sums);
        status = say_uneven(s, kind, sums, peers, count);
    }
    free(sums);
    free(peers);
    return status;
}

/* What the driver says: links that the GPU has and that are not up. */
weft_status weft_find_dead_nvlinks(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    int count = 0, worst = -1;
    int64_t dead = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        int64_t all = weft_topology_number(t, i, "nvlink_supported", -1);
        int64_t up = weft_topology_number(t, i, "nvlink_active", all);
        if (t->nodes[i].kind != WEFT_NODE_GPU || up >= all || all > 1000)
            continue;
        count++;
        worst = all - up > dead ? i : worst;
        dead = all - up > dead ? all - up : dead;
    }
    if (count == 0)
        return WEFT_OK;
    // what one of the worst GPU's links gives, as far as that is known
    int64_t each = 0, links = 0;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NVLINK &&
            (t->links[i].from == worst || t->links[i].to == worst)) {
            int64_t best = weft_figure_best(&t->links[i].bandwidth).value;
            each += best > 0 && best < INT64_MAX / 4096 ? best : 0;
            links += t->links[i].count;
        }
    int64_t all = weft_topology_number(t, worst, "nvlink_supported", 0);
    return weft_search_say(s, WEFT_SEVERITY_WARNING, links > 0 ? each / links * dead : 0,
                           "%d GPU%s NVLinks that are down; the worst, %.80s, has %lld of %lld up.",
                           count, count > 1 ? "s have" : " has", t->nodes[worst].name,
                           (long long)(all - dead), (long long)all);
}

/* ---- GPUs apart ---- */

enum { MAX_GROUPS_SAID = 4 };

/* "gpu0 to gpu3 | gpu4 to gpu7" of one host: `first` and `last` say where a group begins and ends,
 * `count` how many GPUs it has. */
struct gpu_group {
    int island, first, last, count;
};

static size_t write_group(const struct weft_topology *t, const struct gpu_group *group, char *text,
                          size_t size)
{
    const char *first = strchr(t->nodes[group->first].name, '/');
    const char *last = strchr(t->nodes[group->last].name, '/');
    first = first ? first + 1 : t->nodes[group->first].name;
    last = last ? last + 1 : t->nodes[group->last].name;
    if (group->count == 1)
        return (size_t)snprintf(text, size, "%.24s", first);
    // numbers in between may belong to another group
    return (size_t)snprintf(text, size, "%.24s%s%.24s (%d)", first,
                            group->count == 2 ? " and " : " ... ", last, group->count);
}

/* The groups of the GPUs of `host`, which all come after it and before `end`. */
static int gather_groups(const struct weft_topology *t, const int *island_of, int host,
                         struct gpu_group groups[MAX_GROUPS_SAID])
{
    int num_groups = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        if (island_of[i] < 0 || weft_topology_ancestor(t, i, WEFT_NODE_HOST) != host)
            continue;
        int at = 0;
        while (at < num_groups && at < MAX_GROUPS_SAID && groups[at].island != island_of[i])
            at++;
        if (at >= MAX_GROUPS_SAID)
            continue;
        if (at == num_groups)
            groups[num_groups++] = (struct gpu_group){island_of[i], i, i, 0};
        groups[at].last = i;
        groups[at].count++;
    }
    return num_groups;
}

static weft_status say_groups(struct weft_search *s, const int *island_of, int host, int hosts)
{
    const struct weft_topology *t = s->topology;
    struct gpu_group groups[MAX_GROUPS_SAID];
    int num_groups = gather_groups(t, island_of, host, groups);
    char text[280] = "", more[48] = "";
    size_t used = 0;
    for (int i = 0; i < num_groups && used + 70 < sizeof text; i++) {
        if (i)
            used += (size_t)snprintf(text + used, sizeof text - used, " | ");
        used += write_group(t, &groups[i], text + used, sizeof text - used);
    }
    if (hosts > 1)
        snprintf(more, sizeof more, " (and %d more host%s)", hosts - 1, hosts > 2 ? "s" : "");
    return weft_search_say(s, WEFT_SEVERITY_WARNING, 0,
                           "NVLink or XGMI leaves the GPUs of %.60s%s in separate groups: %s%s. "
                           "Between groups only PCIe leads.",
                           t->nodes[host].name, more, text,
                           num_groups == MAX_GROUPS_SAID ? " | ..." : "");
}

/* GPUs of one host with NVLink or XGMI, but without a way between them over such links. */
weft_status weft_find_gpu_groups(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    size_t n = (size_t)t->num_nodes + 1;
    int *island_of = malloc(2 * n * sizeof *island_of), num_islands, hosts = 0, first = -1;
    if (!island_of)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    int *island_of_host = island_of + n; // of its first GPU; -1: none yet, -2: several
    weft_status status = weft_topology_gpu_islands(t, island_of, &num_islands, s->error);
    for (int i = 0; i < t->num_nodes; i++)
        island_of_host[i] = -1;
    for (int i = 0; status == WEFT_OK && i < t->num_nodes; i++) {
        int host = island_of[i] >= 0 ? weft_topology_ancestor(t, i, WEFT_NODE_HOST) : -1;
        if (host < 0 || island_of_host[host] == -2 || island_of_host[host] == island_of[i])
            continue;
        if (island_of_host[host] == -1) {
            island_of_host[host] = island_of[i];
            continue;
        }
        island_of_host[host] = -2;
        first = hosts++ == 0 ? host : first;
    }
    if (status == WEFT_OK && hosts > 0)
        status = say_groups(s, island_of, first, hosts);
    free(island_of);
    return status;
}
