/*
 * SPDX-License-Identifier: Apache-2.0
 * Finders: cables of the fabric that are missing. What should be is read off the siblings: switches
 * of one pod (leaves and spines that reach each other) are cabled alike.
 */
#include <stdlib.h>
#include <string.h>

#include "topology/cables.h"
#include "topology/findings_private.h"
#include "topology/sets.h"

enum { MOST_NAMED = 3, MOST_PORTS = 4, MAX_PORTS = 256, MOST_WORK = 50000000 };

/* A switch among its siblings. */
struct sibling {
    int node, pod, ports;
    int count;    // cables to the other tier
    int fullest;  // of the siblings
    int64_t lost; // bytes per second, by the cables that it lacks
};

struct view {
    const struct weft_topology *topology;
    struct weft_cables cables;
    int *pod;          // by node: the first switch of its pod
    int *leaves;       // of pod p: leaves[pod_start[p]] to leaves[pod_start[p + 1] - 1]
    int *pod_start;    // num_nodes + 2
    int *count;        // by node: scratch, 0 in between
    int64_t *headroom; // by leaf: bytes per second that come from below and do not fit its uplinks
    struct sibling *siblings;
    int num_siblings;
};

static void close_view(struct view *view)
{
    weft_cables_free(&view->cables);
    free(view->pod);
    free(view->headroom);
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

/* What one side of a leaf carries: cables to spines, or to its NICs and whatever else is below. */
static int64_t side_of_leaf(const struct view *v, int leaf, bool up)
{
    const struct weft_topology *t = v->topology;
    int64_t total = 0;
    for (int k = v->cables.starts[leaf]; k < v->cables.starts[leaf + 1]; k++) {
        int kind = t->nodes[v->cables.ends[k].peer].kind;
        int64_t value = weft_figure_best(&t->links[v->cables.ends[k].link].bandwidth).value;
        if (kind == WEFT_NODE_AGGREGATOR || (kind == WEFT_NODE_SPINE) != up || value <= 0)
            continue;
        total = value > INT64_MAX - total ? INT64_MAX : total + value;
    }
    return total;
}

/* The leaves of each pod, and what more of uplinks each could use. */
static void list_leaves(struct view *v)
{
    const struct weft_topology *t = v->topology;
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_LEAF)
            v->pod_start[v->pod[i] + 2]++;
    for (int pod = 0; pod < t->num_nodes; pod++)
        v->pod_start[pod + 2] += v->pod_start[pod + 1];
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_LEAF)
            continue;
        int64_t up = side_of_leaf(v, i, true), down = side_of_leaf(v, i, false);
        v->leaves[v->pod_start[v->pod[i] + 1]++] = i;
        v->headroom[i] = down <= 0 ? INT64_MAX : down > up ? down - up : 0;
    }
}

static weft_status open_view(struct weft_search *s, struct view *view)
{
    const struct weft_topology *t = s->topology;
    size_t count = (size_t)t->num_nodes + 3;
    *view = (struct view){.topology = t};
    view->pod = calloc(count * 4, sizeof *view->pod);
    view->siblings = malloc(count * sizeof *view->siblings);
    view->headroom = calloc(count, sizeof *view->headroom);
    weft_status status = view->pod && view->siblings && view->headroom
                             ? weft_cables_list(t, &view->cables, s->error)
                             : weft_fail(s->error, WEFT_OUT_OF_MEMORY, "findings: no memory");
    if (status != WEFT_OK) {
        close_view(view);
        return status;
    }
    view->leaves = view->pod + count;
    view->pod_start = view->pod + 2 * count;
    view->count = view->pod + 3 * count;
    find_pods(view);
    list_leaves(view);
    return WEFT_OK;
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
    if (x->lost != y->lost)
        return x->lost > y->lost ? -1 : 1;
    if (lacks_x != lacks_y)
        return lacks_x > lacks_y ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

/* What a leaf would carry more with `missing` bytes per second of further uplinks: nothing, if its
 * NICs bring no more than its uplinks take. */
static int64_t gain_of_leaf(const struct view *v, int leaf, int64_t missing)
{
    return v->headroom[leaf] < missing ? v->headroom[leaf] : missing;
}

/* What the leaves that a spine reaches, and those of its pod that it does not, lose together by
 * having fewer cables to it than the leaf with most. */
static int64_t loss_of_spine(const struct view *v, int spine, int64_t each)
{
    const struct weft_topology *t = v->topology;
    const int first = v->pod_start[v->pod[spine]], end = v->pod_start[v->pod[spine] + 1];
    int most = 0;
    int64_t lost = 0;
    for (int k = v->cables.starts[spine]; k < v->cables.starts[spine + 1]; k++) {
        int *count = &v->count[v->cables.ends[k].peer];
        *count = weft_cables_add(*count, t->links[v->cables.ends[k].link].count);
    }
    for (int i = first; i < end; i++)
        most = v->count[v->leaves[i]] > most ? v->count[v->leaves[i]] : most;
    for (int i = first; i < end; i++) {
        int leaf = v->leaves[i], missing = most - v->count[leaf];
        int64_t gain = gain_of_leaf(v, leaf, times(each, missing));
        lost = gain > INT64_MAX - lost ? INT64_MAX : lost + gain;
    }
    for (int k = v->cables.starts[spine]; k < v->cables.starts[spine + 1]; k++)
        v->count[v->cables.ends[k].peer] = 0;
    return lost;
}

/* Leaves by their uplinks, or spines by their downlinks; those that cost most come first, of equal
 * ones those that lack most. Returns how many lack any. */
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
    int64_t work = 0;
    for (int i = 0; i < lacking && work < MOST_WORK; i++) {
        struct sibling *one = &v->siblings[i];
        int64_t each = cable_bandwidth(v, one->node, other_kind);
        if (kind == WEFT_NODE_LEAF) {
            one->lost = gain_of_leaf(v, one->node, times(each, one->fullest - one->count));
            continue;
        }
        one->lost = loss_of_spine(v, one->node, each);
        work += v->pod_start[one->pod + 1] - v->pod_start[one->pod];
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
                          "%d of %d leaf switches %s fewer uplinks than the fullest beside them; "
                          "%.60s has %d of %d",
                          lacking, v.num_siblings, lacking > 1 ? "have" : "has",
                          s->topology->nodes[worst->node].name, worst->count, worst->fullest);
        add_missing_ports(&v, worst, &sentence);
        for (int i = 1; i < lacking && i < MOST_NAMED; i++)
            weft_sentence_add(&sentence, "; %.60s has %d",
                              s->topology->nodes[v.siblings[i].node].name, v.siblings[i].count);
        weft_sentence_add(&sentence, ".");
        status = weft_search_say(s, WEFT_SEVERITY_WARNING, worst->lost, "%s", sentence.text);
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
                          "Uplinks are uneven over spine switches: %d of %d %s fewer cables to "
                          "leaves than the fullest beside them; %.60s has %d of %d",
                          lacking, v.num_siblings, lacking > 1 ? "have" : "has",
                          s->topology->nodes[worst->node].name, worst->count, worst->fullest);
        add_unreached(&v, worst, &sentence, reached);
        weft_sentence_add(&sentence, ".");
        status = weft_search_say(s, WEFT_SEVERITY_WARNING, worst->lost, "%s", sentence.text);
    }
    free(reached);
    close_view(&v);
    return status;
}

weft_status weft_search_loss_without_spines(struct weft_search *s, int missing, int64_t *lost)
{
    const struct weft_topology *t = s->topology;
    const int spines = weft_topology_count(t, WEFT_NODE_SPINE);
    struct view v;
    WEFT_TRY(open_view(s, &v));
    *lost = 0;
    for (int i = 0; i < v.pod_start[t->num_nodes]; i++) {
        int leaf = v.leaves[i];
        int64_t up = side_of_leaf(&v, leaf, true) / (spines > 0 ? spines : 1);
        int64_t gain =
            v.headroom[leaf] == INT64_MAX ? 0 : gain_of_leaf(&v, leaf, times(up, missing));
        *lost = gain > INT64_MAX - *lost ? INT64_MAX : *lost + gain;
    }
    close_view(&v);
    return WEFT_OK;
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
    double worst_ratio = 1.0;
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
        if (ratio <= 1.001)
            continue;
        over++;
        if (ratio > worst_ratio) {
            worst_ratio = ratio;
            worst = i;
        }
    }
    weft_status status = WEFT_OK;
    if (over > 0)
        status = weft_search_say(
            s, WEFT_SEVERITY_NOTE, 0,
            "%d of %d leaf switches %s more from the NICs below than the uplinks "
            "carry: up to %.2f times as much, most of all %.80s.",
            over, leaves, over > 1 ? "take in" : "takes in", worst_ratio, t->nodes[worst].name);
    close_view(&v);
    return status;
}
