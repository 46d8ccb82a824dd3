/*
 * SPDX-License-Identifier: Apache-2.0
 * See findings.h. Each finder looks at the whole graph for one thing and says at most a few
 * sentences, however large the cluster is: the number of cases and the first or worst of them.
 */
#include "topology/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"

const char *const weft_severity_names[3] = {"error", "warning", "note"};

struct search {
    const struct weft_topology *topology;
    struct weft_findings *findings;
    const char *kind;
    struct weft_error *error;
};

static weft_status say(struct search *s, enum weft_severity severity, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static weft_status say(struct search *s, enum weft_severity severity, const char *format, ...)
{
    struct weft_findings *all = s->findings;
    struct weft_finding *items = realloc(all->items, (size_t)(all->count + 1) * sizeof *items);
    if (!items)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    all->items = items;
    struct weft_finding *finding = &items[all->count++];
    finding->severity = severity;
    finding->kind = s->kind;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding->sentence, sizeof finding->sentence, format, arguments);
    va_end(arguments);
    return WEFT_OK;
}

static bool holds_ranks(const struct weft_topology *t, int node)
{
    return weft_node_kinds[t->nodes[node].kind].can_hold_ranks > 0;
}

/* ---- errors ---- */

static weft_status find_no_place(struct search *s)
{
    for (int i = 0; i < s->topology->num_nodes; i++)
        if (holds_ranks(s->topology, i))
            return WEFT_OK;
    return say(s, WEFT_SEVERITY_ERROR,
               "Nothing here can hold a rank: no GPU, core or NUMA domain.");
}

/* Only islands on which ranks could live count: an unplugged switch parts nobody. */
static weft_status find_islands(struct search *s)
{
    const struct weft_topology *t = s->topology;
    int num_islands, inhabited = 0, first = -1, second = -1;
    int *island_of = malloc(((size_t)t->num_nodes + 1) * 2 * sizeof *island_of);
    if (!island_of)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    weft_status status = weft_topology_islands(t, island_of, &num_islands, s->error);
    int *seen = island_of + t->num_nodes + 1;
    memset(seen, 0, (size_t)t->num_nodes * sizeof *seen);
    for (int i = 0; status == WEFT_OK && i < t->num_nodes; i++)
        if (holds_ranks(t, i) && !seen[island_of[i]]++) {
            first = inhabited == 0 ? i : first;
            second = inhabited == 1 ? i : second;
            inhabited++;
        }
    free(island_of);
    if (status == WEFT_OK && inhabited > 1)
        status =
            say(s, WEFT_SEVERITY_ERROR,
                "The graph falls into %d islands that no link joins (%.100s is in one, %.100s in "
                "another): ranks on different islands cannot reach each other.",
                inhabited, t->nodes[first].name, t->nodes[second].name);
    return status;
}

/* ---- slow links ---- */

/* What a link does now, as far as it is known and not assumed. */
static int64_t observed(const struct weft_figure *figure)
{
    if (figure->measured.value >= 0)
        return figure->measured.value;
    return figure->current.source == WEFT_SOURCE_ASSUMED ? -1 : figure->current.value;
}

static weft_status find_below_nominal(struct search *s)
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
            if (link->kind != kind || nominal <= 0 || now < 0 ||
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
        WEFT_TRY(say(s, WEFT_SEVERITY_WARNING,
                     "%d %s link%s below nominal; the worst, %.80s to %.80s, gives %s of %s "
                     "(%.0f %%).",
                     count, weft_link_kinds[kind].name, count > 1 ? "s run" : " runs",
                     t->nodes[link->from].name, t->nodes[link->to].name, is, should,
                     worst_share * 100));
    }
    return WEFT_OK;
}

/* No GPU that anyone computes with has a PCIe link this slow, but an idle one saves power so. */
static weft_status find_idle(struct search *s)
{
    const struct weft_topology *t = s->topology;
    int count = 0, first = -1;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        bool has_gpu =
            t->nodes[link->from].kind == WEFT_NODE_GPU || t->nodes[link->to].kind == WEFT_NODE_GPU;
        if (link->kind == WEFT_LINK_PCIE && has_gpu && link->bandwidth.measured.value < 0 &&
            link->bandwidth.current.value > 0 && link->bandwidth.current.value < 5000000000 &&
            count++ == 0)
            first = i;
    }
    if (count == 0)
        return WEFT_OK;
    char now[32];
    weft_format_bandwidth(t->links[first].bandwidth.current.value, now, sizeof now);
    return say(
        s, WEFT_SEVERITY_NOTE,
        "%d PCIe link%s of GPUs %s very slow (first: %.80s to %.80s, %s). An idle GPU or bridge "
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
static weft_status find_uneven(struct search *s)
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
        status =
            say(s, WEFT_SEVERITY_WARNING,
                "%d of %d GPUs have less %s bandwidth than the others: %.80s has %s, %.80s %s.",
                slow, gpus, weft_link_kinds[kind].name, t->nodes[worst].name, least,
                t->nodes[best].name, most);
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
static weft_status find_gpu_groups(struct search *s)
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
    return say(s, WEFT_SEVERITY_WARNING,
               "The NVLink or XGMI links of %d host%s leave GPUs in separate groups: no such way "
               "leads from %.80s to %.80s. Links between switches may be hidden.",
               hosts, hosts > 1 ? "s" : "", t->nodes[a].name, t->nodes[b].name);
}

/* ---- what is hidden ---- */

static weft_status find_virtual_machine(struct search *s)
{
    static const char *const signs[] = {"KVM",       "QEMU",       "VMware", "Virtual Machine",
                                        "HVM domU",  "Xen",        "Bochs",  "Google Compute",
                                        "OpenStack", "Firecracker"};
    const struct weft_topology *t = s->topology;
    int count = 0, first = -1;
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_HOST)
            continue;
        const char *texts[] = {weft_topology_text(t, i, "vendor"),
                               weft_topology_text(t, i, "product")};
        bool is_virtual = weft_topology_number(t, i, "virtio_devices", 0) > 0;
        for (size_t j = 0; j < sizeof signs / sizeof signs[0]; j++)
            for (int k = 0; k < 2; k++)
                is_virtual |= texts[k] && strstr(texts[k], signs[j]);
        if (is_virtual && count++ == 0)
            first = i;
    }
    if (count == 0)
        return WEFT_OK;
    bool matters = weft_topology_count(t, WEFT_NODE_GPU) > 0;
    return say(
        s, matters ? WEFT_SEVERITY_WARNING : WEFT_SEVERITY_NOTE,
        "%.100s is a virtual machine%s: the hypervisor decides which caches, NUMA domains and "
        "PCIe links are visible, and true link speeds may be hidden.",
        t->nodes[first].name, count > 1 ? ", and so are others" : "");
}

/* A PCIe root on the host itself that is joined to every NUMA domain: nothing better was known. */
static weft_status find_unknown_locality(struct search *s)
{
    const struct weft_topology *t = s->topology;
    size_t n = (size_t)t->num_nodes + 1;
    int count = 0, first = -1, *num_numa = calloc(2 * n, sizeof *num_numa); // of each host
    if (!num_numa)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    int *num_joints = num_numa + n; // of each PCIe root
    for (int i = 0; i < t->num_nodes; i++) {
        int host = weft_topology_ancestor(t, i, WEFT_NODE_HOST);
        if (t->nodes[i].kind == WEFT_NODE_NUMA && host >= 0)
            num_numa[host]++;
    }
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_ROOT) {
            num_joints[t->links[i].from]++;
            num_joints[t->links[i].to]++;
        }
    for (int i = 0; i < t->num_nodes; i++) {
        int host = t->nodes[i].parent;
        if (t->nodes[i].kind == WEFT_NODE_PCIE_ROOT && host >= 0 && num_numa[host] > 1 &&
            num_joints[i] >= num_numa[host] && count++ == 0)
            first = i;
    }
    free(num_numa);
    if (count == 0)
        return WEFT_OK;
    return say(
        s, WEFT_SEVERITY_WARNING,
        "%d PCIe root%s (first: %.100s) %s tied to no NUMA domain (\"NUMA -1\"): the machine "
        "hides which socket the devices below belong to.",
        count, count > 1 ? "s" : "", t->nodes[first].name, count > 1 ? "are" : "is");
}

static weft_status find_unknown_speed(struct search *s)
{
    const struct weft_topology *t = s->topology;
    int count = 0, first = -1;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_PCIE &&
            weft_figure_best(&t->links[i].bandwidth).value < 0 && count++ == 0)
            first = i;
    if (count == 0)
        return WEFT_OK;
    const struct weft_link *link = &t->links[first];
    return say(s, WEFT_SEVERITY_NOTE,
               "%d PCIe link%s no known speed (first: %.80s to %.80s); generation 3, 16 lanes are "
               "assumed until it is measured.",
               count, count > 1 ? "s have" : " has", t->nodes[link->from].name,
               t->nodes[link->to].name);
}

static weft_status find_without_interface(struct search *s)
{
    const struct weft_topology *t = s->topology;
    int64_t count = 0;
    for (int i = 0; i < t->num_nodes; i++)
        count += weft_topology_number(t, i, "network_functions_without_interface", 0) & INT32_MAX;
    if (count == 0)
        return WEFT_OK;
    return say(s, WEFT_SEVERITY_NOTE,
               "%lld network function%s no interface here (unused virtual functions, no driver, or "
               "hidden by a container) and %s left out.",
               (long long)count, count > 1 ? "s have" : " has", count > 1 ? "are" : "is");
}

static weft_status find_limits(struct search *s)
{
    const struct weft_topology *t = s->topology;
    for (int i = 0; i < t->num_nodes; i++) {
        int64_t all = weft_topology_number(t, i, "threads", -1);
        int64_t usable = weft_topology_number(t, i, "process.threads", all);
        if (t->nodes[i].kind == WEFT_NODE_HOST && usable < all)
            return say(s, WEFT_SEVERITY_NOTE,
                       "This process may use only %lld of the %lld hardware threads of %.100s.",
                       (long long)usable, (long long)all, t->nodes[i].name);
    }
    return WEFT_OK;
}

static weft_status find_failed_probes(struct search *s)
{
    const struct weft_topology *t = s->topology;
    for (int i = 0; i < t->num_probes; i++)
        if (!t->probes[i].available)
            WEFT_TRY(say(s, WEFT_SEVERITY_NOTE, "The %.60s probe did not run: %.250s.",
                         t->probes[i].name, t->probes[i].reason));
    return WEFT_OK;
}

/* ---- table ---- */

static const struct {
    const char *kind;
    weft_status (*find)(struct search *search);
} finders[] = {
    {"no-place", find_no_place},
    {"islands", find_islands},
    {"below-nominal", find_below_nominal},
    {"idle-links", find_idle},
    {"uneven-gpus", find_uneven},
    {"gpu-groups", find_gpu_groups},
    {"virtual-machine", find_virtual_machine},
    {"unknown-locality", find_unknown_locality},
    {"unknown-speed", find_unknown_speed},
    {"hidden-network", find_without_interface},
    {"limited-process", find_limits},
    {"probe", find_failed_probes},
};

void weft_findings_free(struct weft_findings *findings)
{
    free(findings->items);
    *findings = (struct weft_findings){0};
}

/* Stable: findings of one severity stay in the order of the table. */
static void rank(struct weft_findings *findings)
{
    for (int i = 1; i < findings->count; i++)
        for (int j = i; j > 0 && findings->items[j].severity < findings->items[j - 1].severity;
             j--) {
            struct weft_finding swap = findings->items[j];
            findings->items[j] = findings->items[j - 1];
            findings->items[j - 1] = swap;
        }
}

weft_status weft_topology_findings(const struct weft_topology *topology,
                                   struct weft_findings *findings, struct weft_error *error)
{
    struct weft_findings found = {0};
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof finders / sizeof finders[0] && status == WEFT_OK; i++) {
        struct search search = {topology, &found, finders[i].kind, error};
        status = finders[i].find(&search);
    }
    if (status != WEFT_OK) {
        weft_findings_free(&found);
        return status;
    }
    rank(&found);
    *findings = found;
    return WEFT_OK;
}
