/*
 * SPDX-License-Identifier: Apache-2.0
 * From measured ways to the matrix of hosts that topology/grouping.h takes, for the hosts whose
 * switches nobody saw.
 */
#include <stdlib.h>
#include <string.h>

#include "collectives/comm/calibrate.h"
#include "topology/grouping.h"

enum {
    MAX_SAID = 16, // remarks on interfaces; the rest is counted
    NUM_FIGURES = 5
};

struct grouping {
    struct weft_topology *topology;
    int *place; // by node: index of a host, -1: no host to be grouped
    int *ends;  // by index: its NIC, else its node
    int num_hosts;
    int64_t *figures; // of all that follow
    // By pair of hosts, -1: not measured.
    int64_t *latency_ps, *bandwidth, *reached; // the latter: bytes that `bandwidth` was seen with
    int64_t *messages, *together; // bytes/s: of the library; of the ways that share no interface
};

/* The host that a name of an entry belongs to; an interface need not have a node. */
static int host_of(const struct weft_topology *t, const char *name)
{
    char host[WEFT_TOPOLOGY_NAME_BYTES];
    int node = weft_topology_find_node(t, name);
    if (node >= 0)
        return weft_topology_ancestor(t, node, WEFT_NODE_HOST);
    snprintf(host, sizeof host, "%s", name);
    char *slash = strrchr(host, '/');
    if (!slash)
        return -1;
    *slash = '\0';
    node = weft_topology_find_node(t, host);
    return node >= 0 && t->nodes[node].kind == WEFT_NODE_HOST ? node : -1;
}

static bool is_between_hosts(const struct grouping *g, const struct weft_measurement *entry,
                             int *from, int *to)
{
    *from = host_of(g->topology, entry->from);
    *to = host_of(g->topology, entry->to);
    return *from >= 0 && *to >= 0 && *from != *to;
}

/* has_switch[h]: a switch is linked to something of host h. */
static void find_switches(const struct weft_topology *t, bool *has_switch)
{
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        const int ends[2] = {link->from, link->to};
        for (int k = 0; k < 2 && link->kind == WEFT_LINK_NETWORK; k++) {
            int host = weft_topology_ancestor(t, ends[1 - k], WEFT_NODE_HOST);
            if (weft_node_kinds[t->nodes[ends[k]].kind].is_switch && host >= 0)
                has_switch[host] = true;
        }
    }
}

static bool is_way(const struct weft_measurement *entry)
{
    return strcmp(entry->what, "tcp-interface") == 0;
}

/* A way that is believed, unless one before it has one of its interfaces. Those of two hosts lie
 * together, behind the messages of the library. */
static bool is_way_apart(const struct weft_measurements *m, int i)
{
    const struct weft_measurement *way = &m->entries[i];
    if (!is_way(way) || !weft_measurement_is_believed(way))
        return false;
    for (const struct weft_measurement *other = way - 1; other >= m->entries && is_way(other);
         other--)
        if (weft_measurement_is_believed(other) &&
            (!strcmp(other->from, way->from) || !strcmp(other->to, way->to)))
            return false;
    return true;
}

static void take_entry(struct grouping *g, const struct weft_measurements *m, int index)
{
    const struct weft_measurement *entry = &m->entries[index];
    int from, to;
    if (!is_between_hosts(g, entry, &from, &to) || g->place[from] < 0 || g->place[to] < 0)
        return;
    const struct weft_topology *t = g->topology;
    const char *names[2] = {entry->from, entry->to};
    int hosts[2] = {from, to}, n = g->num_hosts;
    for (int i = 0; i < 2; i++) {
        int node = weft_topology_find_node(t, names[i]), *end = &g->ends[g->place[hosts[i]]];
        if (node >= 0 && t->nodes[node].kind == WEFT_NODE_NIC && entry->num_points > 0 &&
            t->nodes[*end].kind == WEFT_NODE_HOST)
            *end = node;
    }
    int64_t bandwidth = weft_measurement_bandwidth(entry);
    // figures that are not believed are better than none; short curves know bursts and buffers
    int64_t reached = entry->num_points == 0 ? -1
                      : weft_measurement_is_believed(entry)
                          ? entry->curve[entry->num_points - 1].bytes
                          : 0;
    for (int i = 0; i < 2; i++) { // the best way between them
        size_t at = (size_t)g->place[hosts[i]] * (size_t)n + (size_t)g->place[hosts[1 - i]];
        if (entry->least_ps >= 0 && (g->latency_ps[at] < 0 || entry->least_ps < g->latency_ps[at]))
            g->latency_ps[at] = entry->least_ps;
        if (reached > g->reached[at] ||
            (reached == g->reached[at] && bandwidth > g->bandwidth[at])) {
            g->reached[at] = reached;
            g->bandwidth[at] = bandwidth;
        }
        if (!is_way(entry) && bandwidth > g->messages[at])
            g->messages[at] = bandwidth;
        if (is_way_apart(m, index))
            g->together[at] += bandwidth + (g->together[at] < 0);
    }
}

/* The library sends over several interfaces at once, no single one of which shows what it carries.
 * Its messages count, believed or not, as far as the interfaces together bear them out. */
static void add_up_ways(struct grouping *g)
{
    for (int i = 0; i < g->num_hosts * g->num_hosts; i++) {
        int64_t both = g->messages[i] < g->together[i] ? g->messages[i] : g->together[i];
        if (both > g->bandwidth[i])
            g->bandwidth[i] = both;
    }
}

/* Figures that are not believed are no more than what is believed of either end, and a host of
 * which nothing is believed gets a remark. */
static weft_status doubt(struct grouping *g, struct weft_error *error)
{
    int n = g->num_hosts;
    for (int i = 0; i < n; i++) {
        int64_t best = -1; // that is believed
        bool is_measured = false;
        for (int k = 0; k < n; k++) {
            is_measured |= g->reached[i * n + k] >= 0;
            if (g->reached[i * n + k] > 0 && g->bandwidth[i * n + k] > best)
                best = g->bandwidth[i * n + k];
        }
        for (int k = 0; k < n && best >= 0; k++)
            if (g->reached[i * n + k] == 0 && g->bandwidth[i * n + k] > best)
                g->bandwidth[i * n + k] = g->bandwidth[k * n + i] = best;
        if (is_measured && best < 0)
            WEFT_TRY(weft_topology_add_remark(
                g->topology, WEFT_REMARK_GUESS, WEFT_SOURCE_MEASURED, g->ends[i], error,
                "no measurement of its bandwidth is believed; the figure is the best of them "
                "(more --time may help)"));
    }
    return WEFT_OK;
}

/* ---- interfaces that do not reach every host ---- */

struct reach {
    int nic, host; // of the other end
    bool works;
    int entry;
};

static int compare_reaches(const void *x, const void *y)
{
    const struct reach *a = x, *b = y;
    if (a->nic != b->nic)
        return a->nic < b->nic ? -1 : 1;
    if (a->host != b->host)
        return a->host < b->host ? -1 : 1;
    if (a->works != b->works) // one way that works is enough
        return a->works ? -1 : 1;
    return (a->entry > b->entry) - (a->entry < b->entry);
}

static int list_reaches(const struct weft_topology *t, const struct weft_measurements *m,
                        struct reach *reaches)
{
    int count = 0;
    for (int i = 0; i < m->num_entries; i++) {
        const struct weft_measurement *entry = &m->entries[i];
        int ends[2] = {weft_topology_find_node(t, entry->from),
                       weft_topology_find_node(t, entry->to)};
        if (!is_way(entry) || ends[0] < 0 || ends[1] < 0)
            continue;
        for (int k = 0; k < 2; k++)
            reaches[count++] =
                (struct reach){ends[k], weft_topology_ancestor(t, ends[1 - k], WEFT_NODE_HOST),
                               entry->num_points > 0, i};
    }
    if (count)
        qsort(reaches, (size_t)count, sizeof *reaches, compare_reaches);
    return count;
}

/* The first try of a host that none of one interface's ways reaches; -1: there is none. */
static int find_missed(const struct reach *reaches, int count)
{
    for (int i = 0; i < count; i++)
        if (!reaches[i].works && (i == 0 || reaches[i].host != reaches[i - 1].host))
            return i;
    return -1;
}

/* All tries of one interface, of which one is missed. */
static weft_status say_reach(struct weft_topology *t, const struct weft_measurements *m,
                             const struct reach *reaches, int count, struct weft_error *error)
{
    int tried = 0, reached = 0, missed = find_missed(reaches, count);
    for (int i = 0; i < count; i++)
        if (i == 0 || reaches[i].host != reaches[i - 1].host) {
            tried++;
            reached += reaches[i].works;
        }
    int host = reaches[missed].host;
    return weft_topology_add_remark(t, WEFT_REMARK_HIDDEN, WEFT_SOURCE_MEASURED, reaches[0].nic,
                                    error, "reaches %d of %d hosts by TCP; not %.60s: %.150s",
                                    reached, tried, host < 0 ? "one" : t->nodes[host].name,
                                    m->entries[reaches[missed].entry].note);
}

static weft_status say_reaches(struct weft_topology *t, const struct weft_measurements *m,
                               struct weft_error *error)
{
    struct reach *reaches = malloc(((size_t)m->num_entries * 2 + 1) * sizeof *reaches);
    if (!reaches)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "grouping: no memory");
    int count = list_reaches(t, m, reaches), before = t->num_remarks, num_more = 0;
    weft_status status = WEFT_OK;
    for (int i = 0, end; i < count && status == WEFT_OK; i = end) {
        for (end = i + 1; end < count && reaches[end].nic == reaches[i].nic;)
            end++;
        if (find_missed(reaches + i, end - i) < 0)
            continue;
        if (t->num_remarks - before < MAX_SAID)
            status = say_reach(t, m, reaches + i, end - i, error);
        else
            num_more++;
    }
    if (status == WEFT_OK && num_more > 0)
        status =
            weft_topology_add_remark(t, WEFT_REMARK_HIDDEN, WEFT_SOURCE_MEASURED, -1, error,
                                     "%d more interfaces do not reach every host by TCP", num_more);
    free(reaches);
    return status;
}

/* ---- groups ---- */

static weft_status group(struct grouping *g, const struct weft_measurements *m, bool *has_switch,
                         struct weft_error *error)
{
    struct weft_topology *t = g->topology;
    find_switches(t, has_switch);
    for (int i = 0; i < t->num_nodes; i++)
        g->place[i] = -1;
    for (int i = 0; i < t->num_nodes; i++) // ranks were there, so it reaches the others
        if (t->nodes[i].kind == WEFT_NODE_HOST && !has_switch[i] &&
            weft_topology_text(t, i, "process.host_id")) {
            g->ends[g->num_hosts] = i;
            g->place[i] = g->num_hosts++;
        }
    if (g->num_hosts < 2)
        return WEFT_OK;
    if (g->num_hosts > WEFT_GROUPING_MAX_HOSTS)
        return weft_topology_add_remark(t, WEFT_REMARK_HIDDEN, WEFT_SOURCE_MEASURED, -1, error,
                                        "%d hosts are too many to group by measurement",
                                        g->num_hosts);
    size_t size = (size_t)g->num_hosts * (size_t)g->num_hosts;
    int64_t **const figures[NUM_FIGURES] = {&g->latency_ps, &g->bandwidth, &g->reached,
                                            &g->messages, &g->together};
    g->figures = malloc(size * NUM_FIGURES * sizeof *g->figures);
    if (!g->figures)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "grouping: no memory");
    for (size_t i = 0; i < NUM_FIGURES; i++)
        *figures[i] = g->figures + i * size;
    for (size_t i = 0; i < size * NUM_FIGURES; i++)
        g->figures[i] = -1;
    for (int i = 0; m && i < m->num_entries; i++)
        take_entry(g, m, i);
    add_up_ways(g);
    WEFT_TRY(doubt(g, error));
    const struct weft_pairs pairs = {g->num_hosts, g->latency_ps, g->bandwidth};
    WEFT_TRY(weft_topology_add_groups(t, &pairs, g->ends, error));
    return weft_topology_sort(t, error);
}

weft_status weft_calibrate_group(struct weft_topology *topology,
                                 const struct weft_measurements *measurements,
                                 struct weft_error *error)
{
    size_t n = (size_t)topology->num_nodes + 1;
    struct grouping g = {.topology = topology,
                         .place = malloc(n * sizeof *g.place),
                         .ends = malloc(n * sizeof *g.ends)};
    bool *has_switch = calloc(n, sizeof *has_switch);
    weft_status status = g.place && g.ends && has_switch
                             ? WEFT_OK
                             : weft_fail(error, WEFT_OUT_OF_MEMORY, "grouping: no memory");
    if (status == WEFT_OK && measurements)
        status = say_reaches(topology, measurements, error);
    if (status == WEFT_OK)
        status = group(&g, measurements, has_switch, error);
    free(g.place);
    free(g.ends);
    free(g.figures);
    free(has_switch);
    return status;
}
