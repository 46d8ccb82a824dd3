/*
 * SPDX-License-Identifier: Apache-2.0
 * Finders: cables of the fabric that are missing or slow. What should be is read off the siblings:
 * switches of one pod (leaves and spines that reach each other) are cabled alike, and cables
 * between the same kinds of devices run alike.
 */
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/cables.h"
#include "topology/findings_private.h"
#include "topology/sets.h"

enum { MOST_NAMED = 3, MOST_PORTS = 4, MAX_PORTS = 256 };

/* A switch among its siblings. */
struct sibling {
    int node, pod, ports;
    int count;   // cables to the other tier
    int fullest; // of the siblings
};

struct view {
    const struct weft_topology *topology;
    struct weft_cables cables;
    int *pod; // by node: the first switch of its pod
    struct sibling *siblings;
    int num_siblings;
};

static void close_view(struct view *view)
{
    weft_cables_free(&view->cables);
    free(view->pod);
    free(view->siblings);
}

static bool is_tier(const struct weft_topology *t, int node)
{
    return t->nodes[node].kind == WEFT_NODE_LEAF || t->nodes[node].kind == WEFT_NODE_SPINE;
}

static void find_pods(struct view *v)
{
    const struct weft_topology *t = v->topology;
    weft_sets_init(v->pod, t->num_nodes);
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (link->kind == WEFT_LINK_NETWORK && is_tier(t, link->from) && is_tier(t, link->to))
            weft_sets_unite(v->pod, link->from, link->to);
    }
    for (int i = 0; i < t->num_nodes; i++)
        v->pod[i] = weft_sets_root(v->pod, i);
}

static weft_status open_view(struct weft_search *s, struct view *view)
{
    const struct weft_topology *t = s->topology;
    size_t count = (size_t)t->num_nodes + 1;
    *view = (struct view){.topology = t};
    view->pod = malloc(count * sizeof *view->pod);
    view->siblings = malloc(count * sizeof *view->siblings);
    weft_status status = view->pod && view->siblings
                             ? weft_cables_list(t, &view->cables, s->error)
                             : weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    if (status != WEFT_OK)
        close_view(view);
    else
        find_pods(view);
    return status;
}

static bool has_kind(const struct weft_topology *t, int kind)
{
    return weft_topology_count(t, kind) > 0;
}

/* What one cable at `node` to a node of `kind` gives; 0: not known. */
static int64_t cable_bandwidth(const struct view *v, int node, int kind)
{
    int64_t best = 0;
    for (int k = v->cables.starts[node]; k < v->cables.starts[node + 1]; k++) {
        const struct weft_link *link = &v->topology->links[v->cables.ends[k].link];
        int64_t value = weft_figure_best(&link->bandwidth).value / link->count;
        if (v->topology->nodes[v->cables.ends[k].peer].kind == kind && value > best)
            best = value;
    }
    return best;
}

static int64_t times(int64_t value, int64_t count)
{
    return value > INT64_MAX / (count > 0 ? count : 1) ? INT64_MAX : value * count;
}

/* ---- switches with fewer cables than their siblings ---- */

static int compare_siblings(const void *a, const void *b)
{
    const struct sibling *x = a, *y = b;
    if (x->pod != y->pod)
        return x->pod < y->pod ? -1 : 1;
    if (x->ports != y->ports)
        return x->ports < y->ports ? -1 : 1;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

static int compare_lacks(const void *a, const void *b)
{
    const struct sibling *x = a, *y = b;
    int lacks_x = x->fullest - x->count, lacks_y = y->fullest - y->count;
    if (lacks_x != lacks_y)
        return lacks_x > lacks_y ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

/* Leaves by their uplinks, or spines by their downlinks; those that lack most come first. Returns
 * how many lack any. */
static int list_siblings(struct view *v, int kind, int other_kind)
{
    const struct weft_topology *t = v->topology;
    v->num_siblings = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != kind)
            continue;
        struct sibling *one = &v->siblings[v->num_siblings++];
        *one = (struct sibling){.node = i, .pod = v->pod[i]};
        one->ports = (int)(weft_topology_number(t, i, "num_ports", 0) & 0xffff);
        for (int k = v->cables.starts[i]; k < v->cables.starts[i + 1]; k++)
            if (t->nodes[v->cables.ends[k].peer].kind == other_kind)
                one->count = weft_cables_add(one->count, t->links[v->cables.ends[k].link].count);
    }
    qsort(v->siblings, (size_t)v->num_siblings, sizeof *v->siblings, compare_siblings);
    int lacking = 0;
    for (int i = 0; i < v->num_siblings; i++) {
        struct sibling *one = &v->siblings[i];
        bool is_first = i == 0 || one[-1].pod != one->pod || one[-1].ports != one->ports;
        one->fullest = is_first ? one->count : one[-1].fullest;
        lacking += one->count < one->fullest;
    }
    qsort(v->siblings, (size_t)v->num_siblings, sizeof *v->siblings, compare_lacks);
    return lacking;
}

/* Where most of the fullest siblings of a leaf have the cable of each port: a spine, or -1. */
struct pattern {
    int spine[MAX_PORTS];
    int votes[MAX_PORTS];
    int num_leaves;
};

/* One pass over the cables of one leaf: the first pass finds who can have most votes (Boyer and
 * Moore), the second counts them. */
static void vote(const struct view *v, int leaf, bool is_count, struct pattern *pattern)
{
    for (int k = v->cables.starts[leaf]; k < v->cables.starts[leaf + 1]; k++) {
        const struct weft_cable_end *end = &v->cables.ends[k];
        if (end->port < 1 || end->port >= MAX_PORTS ||
            v->topology->nodes[end->peer].kind != WEFT_NODE_SPINE)
            continue;
        int *votes = &pattern->votes[end->port], *spine = &pattern->spine[end->port];
        if (!is_count && *votes == 0)
            *spine = end->peer;
        if (*spine == end->peer)
            ++*votes;
        else if (!is_count)
            --*votes;
    }
}

static void find_pattern(const struct view *v, const struct sibling *like, struct pattern *pattern)
{
    *pattern = (struct pattern){.num_leaves = 0};
    for (int port = 0; port < MAX_PORTS; port++)
        pattern->spine[port] = -1;
    for (int pass = 0; pass < 2; pass++) {
        memset(pattern->votes, 0, sizeof pattern->votes);
        for (int i = 0; i < v->num_siblings; i++) {
            const struct sibling *one = &v->siblings[i];
            if (one->pod != like->pod || one->ports != like->ports || one->count < one->fullest)
                continue;
            pattern->num_leaves += pass;
            vote(v, one->node, pass > 0, pattern);
        }
    }
}

/* "port 33 to SPINE-01": the cables that the siblings have and this leaf has not. */
static void add_missing_ports(const struct view *v, const struct sibling *leaf,
                              struct weft_sentence *sentence)
{
    struct pattern pattern;
    bool has_cable[MAX_PORTS] = {false};
    int named = 0, missing = 0;
    find_pattern(v, leaf, &pattern);
    for (int k = v->cables.starts[leaf->node]; k < v->cables.starts[leaf->node + 1]; k++)
        if (v->cables.ends[k].port > 0 && v->cables.ends[k].port < MAX_PORTS)
            has_cable[v->cables.ends[k].port] = true;
    for (int port = 1; port < MAX_PORTS; port++) {
        if (has_cable[port] || pattern.spine[port] < 0 ||
            pattern.votes[port] * 2 <= pattern.num_leaves)
            continue;
        if (missing++ < MOST_PORTS && ++named)
            weft_sentence_add(sentence, "%s port %d to %.40s", named > 1 ? "," : ": no cable in",
                              port, v->topology->nodes[pattern.spine[port]].name);
    }
    if (missing > named)
        weft_sentence_add(sentence, " and %d more", missing - named);
}

weft_status weft_find_missing_uplinks(struct weft_search *s)
{
    struct view v;
    if (!has_kind(s->topology, WEFT_NODE_LEAF))
        return WEFT_OK;
    WEFT_TRY(open_view(s, &v));
    weft_status status = WEFT_OK;
    int lacking = list_siblings(&v, WEFT_NODE_LEAF, WEFT_NODE_SPINE);
    if (lacking > 0) {
        const struct sibling *worst = &v.siblings[0];
        struct weft_sentence sentence = {""};
        weft_sentence_add(&sentence,
                          "%d of %d leaf switches have fewer uplinks than the fullest beside them; "
                          "%.60s has %d of %d",
                          lacking, v.num_siblings, s->topology->nodes[worst->node].name,
                          worst->count, worst->fullest);
        add_missing_ports(&v, worst, &sentence);
        for (int i = 1; i < lacking && i < MOST_NAMED; i++)
            weft_sentence_add(&sentence, "; %.60s has %d",
                              s->topology->nodes[v.siblings[i].node].name, v.siblings[i].count);
        weft_sentence_add(&sentence, ".");
        int64_t each = cable_bandwidth(&v, worst->node, WEFT_NODE_SPINE);
        status = weft_search_say(s, WEFT_SEVERITY_WARNING,
                                 times(each, worst->fullest - worst->count), "%s", sentence.text);
    }
    close_view(&v);
    return status;
}

/* Leaves of its pod that have no cable to a spine. */
static void add_unreached(const struct view *v, const struct sibling *spine,
                          struct weft_sentence *sentence, char *reached)
{
    const struct weft_topology *t = v->topology;
    int unreached = 0;
    for (int k = v->cables.starts[spine->node]; k < v->cables.starts[spine->node + 1]; k++)
        reached[v->cables.ends[k].peer] = 1;
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_LEAF && v->pod[i] == spine->pod && !reached[i] &&
            unreached++ < MOST_NAMED)
            weft_sentence_add(sentence, "%s %.60s", unreached == 1 ? ", none to" : ",",
                              t->nodes[i].name);
    if (unreached > MOST_NAMED)
        weft_sentence_add(sentence, " and %d more", unreached - MOST_NAMED);
}

weft_status weft_find_uneven_spines(struct weft_search *s)
{
    struct view v;
    if (!has_kind(s->topology, WEFT_NODE_SPINE))
        return WEFT_OK;
    WEFT_TRY(open_view(s, &v));
    weft_status status = WEFT_OK;
    char *reached = calloc((size_t)s->topology->num_nodes + 1, 1);
    int lacking = reached ? list_siblings(&v, WEFT_NODE_SPINE, WEFT_NODE_LEAF) : 0;
    if (!reached)
        status = weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    if (lacking > 0) {
        const struct sibling *worst = &v.siblings[0];
        struct weft_sentence sentence = {""};
        weft_sentence_add(&sentence,
                          "Uplinks are uneven over spine switches: %d of %d have fewer cables to "
                          "leaves than the fullest beside them; %.60s has %d of %d",
                          lacking, v.num_siblings, s->topology->nodes[worst->node].name,
                          worst->count, worst->fullest);
        add_unreached(&v, worst, &sentence, reached);
        weft_sentence_add(&sentence, ".");
        int64_t each = cable_bandwidth(&v, worst->node, WEFT_NODE_LEAF);
        status = weft_search_say(s, WEFT_SEVERITY_WARNING,
                                 times(each, worst->fullest - worst->count), "%s", sentence.text);
    }
    free(reached);
    close_view(&v);
    return status;
}

/* ---- cables slower than their siblings ---- */

struct cable {
    int low_kind, high_kind;
    const char *device; // what the adapter is, "" where there is none
    int64_t rate, usual;
    int link;
};

static int compare_cables(const void *a, const void *b)
{
    const struct cable *x = a, *y = b;
    if (x->low_kind != y->low_kind)
        return x->low_kind - y->low_kind;
    if (x->high_kind != y->high_kind)
        return x->high_kind - y->high_kind;
    int devices = strcmp(x->device, y->device);
    if (devices)
        return devices;
    if (x->rate != y->rate)
        return x->rate > y->rate ? -1 : 1;
    return x->link < y->link ? -1 : x->link > y->link;
}

static bool is_same_class(const struct cable *a, const struct cable *b)
{
    return a->low_kind == b->low_kind && a->high_kind == b->high_kind &&
           strcmp(a->device, b->device) == 0;
}

static const char *device_of(const struct weft_topology *t, int node)
{
    static const char *const keys[] = {"ib_device", "pci_id", "model"};
    for (int i = 0; i < 3; i++) {
        const char *text = weft_topology_text(t, node, keys[i]);
        if (text && t->nodes[node].kind == WEFT_NODE_NIC)
            return text;
    }
    return "";
}

static int list_rates(const struct weft_topology *t, struct cable *cables)
{
    int count = 0;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        struct weft_quantity rate = link->bandwidth.current;
        if (link->kind != WEFT_LINK_NETWORK || rate.value <= 0 ||
            rate.source == WEFT_SOURCE_ASSUMED)
            continue;
        int from = t->nodes[link->from].kind, to = t->nodes[link->to].kind;
        const char *device = device_of(t, link->from);
        cables[count++] = (struct cable){.low_kind = from < to ? from : to,
                                         .high_kind = from < to ? to : from,
                                         .device = device[0] ? device : device_of(t, link->to),
                                         .rate = rate.value / link->count,
                                         .link = i};
    }
    qsort(cables, (size_t)count, sizeof *cables, compare_cables);
    return count;
}

/* Sets `usual` of each cable to what more than half of its class run at; 0: there is no such. */
static void find_usual(struct cable *cables, int count)
{
    for (int first = 0, end; first < count; first = end) {
        for (end = first; end < count && is_same_class(&cables[first], &cables[end]); end++) {}
        // sorted: what more than half have is in the middle
        int64_t middle = cables[first + (end - first) / 2].rate;
        int votes = 0;
        for (int i = first; i < end; i++)
            votes += cables[i].rate == middle;
        for (int i = first; i < end; i++)
            cables[i].usual = votes * 2 > end - first && votes > 2 ? middle : 0;
    }
}

static int compare_loss(const void *a, const void *b)
{
    const struct cable *x = a, *y = b;
    int64_t loss_x = x->usual - x->rate, loss_y = y->usual - y->rate;
    if (loss_x != loss_y)
        return loss_x > loss_y ? -1 : 1;
    return x->link < y->link ? -1 : x->link > y->link;
}

static void add_end(const struct weft_topology *t, int node, int port,
                    struct weft_sentence *sentence)
{
    weft_sentence_add(sentence, "%.60s", t->nodes[node].name);
    if (port > 0)
        weft_sentence_add(sentence, " port %d", port);
}

weft_status weft_find_slow_cables(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    struct cable *cables = malloc(((size_t)t->num_links + 1) * sizeof *cables);
    if (!cables)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    int count = list_rates(t, cables), slow = 0;
    find_usual(cables, count);
    qsort(cables, (size_t)count, sizeof *cables, compare_loss);
    while (slow < count && cables[slow].usual > cables[slow].rate)
        slow++;
    weft_status status = WEFT_OK;
    if (slow > 0) {
        struct weft_sentence sentence = {""};
        weft_sentence_add(&sentence, "%d of %d network cables run%s below others of their kind",
                          slow, count, slow > 1 ? "" : "s");
        for (int i = 0; i < slow && i < MOST_NAMED; i++) {
            const struct weft_link *link = &t->links[cables[i].link];
            char is[32], usual[32];
            weft_sentence_add(&sentence, "%s ", i ? ";" : ":");
            add_end(t, link->from, link->from_port, &sentence);
            weft_sentence_add(&sentence, " to ");
            add_end(t, link->to, link->to_port, &sentence);
            weft_sentence_add(&sentence, " at %s, not %s",
                              weft_format_bandwidth(cables[i].rate, is, sizeof is),
                              weft_format_bandwidth(cables[i].usual, usual, sizeof usual));
        }
        weft_sentence_add(&sentence, ".");
        status = weft_search_say(s, WEFT_SEVERITY_WARNING, cables[0].usual - cables[0].rate, "%s",
                                 sentence.text);
    }
    free(cables);
    return status;
}

/* ---- more bandwidth down than up ---- */

weft_status weft_find_oversubscription(struct weft_search *s)
{
    const struct weft_topology *t = s->topology;
    struct view v;
    if (!has_kind(t, WEFT_NODE_SPINE))
        return WEFT_OK;
    WEFT_TRY(open_view(s, &v));
    int over = 0, leaves = 0, worst = -1;
    double worst_ratio = 1.0, least_ratio = 1e30;
    for (int i = 0; i < t->num_nodes; i++) {
        double down = 0, up = 0;
        bool is_told = true; // links without speed and ports need not be single cables
        for (int k = v.cables.starts[i]; k < v.cables.starts[i + 1]; k++) {
            const struct weft_link *link = &t->links[v.cables.ends[k].link];
            int peer = t->nodes[v.cables.ends[k].peer].kind;
            int64_t known = weft_figure_best(&link->bandwidth).value;
            double value = known > 0 ? (double)known : (double)link->count;
            is_told &= known > 0 || link->from_port || link->to_port;
            if (peer == WEFT_NODE_SPINE)
                up += value;
            else if (peer != WEFT_NODE_AGGREGATOR)
                down += value;
        }
        if (t->nodes[i].kind != WEFT_NODE_LEAF || up <= 0 || !is_told)
            continue;
        leaves++;
        double ratio = down / up;
        over += ratio > 1.001;
        least_ratio = ratio < least_ratio ? ratio : least_ratio;
        if (ratio > worst_ratio) {
            worst_ratio = ratio;
            worst = i;
        }
    }
    weft_status status = WEFT_OK;
    if (over > 0)
        status = weft_search_say(s, WEFT_SEVERITY_NOTE, 0,
                                 "%d of %d leaf switches take in more from their NICs than their "
                                 "uplinks carry: %.2f to %.2f times as much, most of all %.80s.",
                                 over, leaves, least_ratio, worst_ratio, t->nodes[worst].name);
    close_view(&v);
    return status;
}
