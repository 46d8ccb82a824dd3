/*
 * SPDX-License-Identifier: Apache-2.0
 * How two hosts, or two nodes, differ, in words. Parts are paired by name, what is left by order of
 * their kind; then the links and the facts of each pair are held against each other. The work is
 * bounded by the size of the host that is explained, not of the reference: looking ends with the
 * first few differences.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/format.h"
#include "topology/symmetry_private.h"

struct words {
    char *text;
    size_t size, used;
    int count, most;
};

static void say(struct words *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct words *w, const char *format, ...)
{
    char sentence[160];
    if (w->count++ >= w->most)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    size_t bytes = strlen(sentence);
    if (w->used + bytes + 3 > w->size) {
        w->most = 0; // what is named later must not follow a gap
        return;
    }
    w->used += (size_t)snprintf(w->text + w->used, w->size - w->used, "%s%s", w->used ? ", " : "",
                                sentence);
}

static bool is_full(const struct words *w)
{
    return w->count > w->most;
}

static const char *local_name(const struct weft_topology *t, int node)
{
    const char *slash = strchr(t->nodes[node].name, '/');
    return slash && slash[1] ? slash + 1 : t->nodes[node].name;
}

/* ---- links ---- */

/* The end that answers for a link: a GPU or NIC before what it hangs on, else the lower part. */
static int standing(int kind)
{
    switch (kind) {
    case WEFT_NODE_GPU:
        return WEFT_NUM_NODE_KINDS + 1;
    case WEFT_NODE_NIC:
        return WEFT_NUM_NODE_KINDS;
    default:
        return weft_node_kinds[kind].is_switch && kind >= WEFT_NODE_LEAF ? -1 : kind;
    }
}

static int tier(int kind)
{
    return kind == WEFT_NODE_LEAF          ? 1
           : kind == WEFT_NODE_SPINE       ? 2
           : kind == WEFT_NODE_CORE_SWITCH ? 3
                                           : 0;
}

static int feature_of(const struct weft_topology *t, const struct weft_link *link, int node)
{
    int kind = t->nodes[node].kind, other = t->nodes[weft_link_other_end(link, node)].kind;
    if (link->kind != WEFT_LINK_NETWORK || tier(kind) == 0)
        return link->kind;
    if (other == WEFT_NODE_SWITCH || other == WEFT_NODE_AGGREGATOR)
        return link->kind;
    return tier(other) > tier(kind) ? WEFT_FEATURE_UP : WEFT_FEATURE_DOWN;
}

void weft_symmetry_features(const struct weft_symmetry *s, int node, bool all,
                            struct weft_feature features[WEFT_NUM_FEATURES])
{
    const struct weft_topology *t = s->topology;
    const struct weft_adjacency *a = &s->adjacency;
    memset(features, 0, WEFT_NUM_FEATURES * sizeof *features);
    for (int i = a->first[node]; i < a->first[node + 1]; i++) {
        const struct weft_link *link = &t->links[a->link[i]];
        int other = weft_link_other_end(link, node);
        if (!all && standing(t->nodes[node].kind) < standing(t->nodes[other].kind))
            continue;
        struct weft_feature *feature = &features[feature_of(t, link, node)];
        int64_t bandwidth = weft_symmetry_bandwidth(t, link);
        feature->count += link->count;
        if (bandwidth < 0 || feature->bandwidth < 0)
            feature->bandwidth = -1;
        else
            feature->bandwidth = bandwidth > INT64_MAX - feature->bandwidth
                                     ? INT64_MAX
                                     : feature->bandwidth + bandwidth;
    }
}

static const char *const feature_names[WEFT_NUM_FEATURES][2] = {
    [WEFT_LINK_MEMORY] = {"memory link", "memory links"},
    [WEFT_LINK_SOCKET] = {"socket link", "socket links"},
    [WEFT_LINK_ROOT] = {"root link", "root links"},
    [WEFT_LINK_PCIE] = {"PCIe link", "PCIe links"},
    [WEFT_LINK_NVLINK] = {"NVLink", "NVLinks"},
    [WEFT_LINK_XGMI] = {"XGMI link", "XGMI links"},
    [WEFT_LINK_C2C] = {"C2C link", "C2C links"},
    [WEFT_LINK_NETWORK] = {"network link", "network links"},
    [WEFT_FEATURE_DOWN] = {"downlink", "downlinks"},
    [WEFT_FEATURE_UP] = {"uplink", "uplinks"},
};

static void say_feature(struct words *w, const char *name, int feature,
                        const struct weft_feature *is, const struct weft_feature *should)
{
    const char *one = feature_names[feature][0], *several = feature_names[feature][1];
    char now[32], then[32];
    if (is->count != should->count) {
        if (is->count == 0)
            say(w, "%.60s has no %s (of %" PRId64 ")", name, one, should->count);
        else if (is->count < should->count)
            say(w, "%.60s has %" PRId64 " of %" PRId64 " %s", name, is->count, should->count,
                should->count == 1 ? one : several);
        else
            say(w, "%.60s has %" PRId64 " %s instead of %" PRId64, name, is->count,
                is->count == 1 ? one : several, should->count);
        return;
    }
    if (is->bandwidth == should->bandwidth)
        return;
    if (is->bandwidth < 0 || should->bandwidth < 0)
        say(w, "%.60s: speed of its %s is %sknown", name, is->count == 1 ? one : several,
            is->bandwidth < 0 ? "not " : "");
    else
        say(w, "%.60s: %s %s instead of %s", name, is->count == 1 ? one : several,
            weft_format_bandwidth(is->bandwidth, now, sizeof now),
            weft_format_bandwidth(should->bandwidth, then, sizeof then));
}

static void compare_links(const struct weft_symmetry *s, int node, int reference, bool all,
                          struct words *w)
{
    struct weft_feature is[WEFT_NUM_FEATURES], should[WEFT_NUM_FEATURES];
    weft_symmetry_features(s, node, all, is);
    weft_symmetry_features(s, reference, all, should);
    for (int i = 0; i < WEFT_NUM_FEATURES; i++)
        say_feature(w, local_name(s->topology, node), i, &is[i], &should[i]);
}

/* ---- facts ---- */

static const char *show(const struct weft_attribute *a, char *text, size_t size)
{
    if (a->text)
        return a->text;
    size_t bytes = strlen(a->key);
    if (bytes > 6 && strcmp(a->key + bytes - 6, "_bytes") == 0)
        return weft_format_bytes(a->number, text, size);
    snprintf(text, size, "%" PRId64, a->number);
    return text;
}

static bool is_same_value(const struct weft_attribute *a, const struct weft_attribute *b)
{
    if (!a->text || !b->text)
        return a->text == b->text && a->number == b->number;
    return strcmp(a->text, b->text) == 0;
}

static void say_fact(struct words *w, const char *name, const char *key,
                     const struct weft_attribute *is, const struct weft_attribute *should)
{
    char now[32], then[32];
    if (is && should && strcmp(key, "pcie_lanes") == 0)
        say(w, "%.60s: PCIe x%.20s instead of x%.20s", name, show(is, now, sizeof now),
            show(should, then, sizeof then));
    else if (is && should)
        say(w, "%.60s: %.30s %.40s instead of %.40s", name, key, show(is, now, sizeof now),
            show(should, then, sizeof then));
    else if (is)
        say(w, "%.60s: %.30s %.40s, which others do not have", name, key,
            show(is, now, sizeof now));
    else
        say(w, "%.60s: no %.30s (others %.40s)", name, key, show(should, then, sizeof then));
}

/* Both lists are sorted by key. */
static void compare_facts(const struct weft_symmetry *s, int node, int reference, struct words *w)
{
    const struct weft_topology *t = s->topology;
    if (s->facts[node] == s->facts[reference])
        return;
    const struct weft_attribute *a = t->nodes[node].attributes;
    const struct weft_attribute *b = t->nodes[reference].attributes;
    while (a || b) {
        int order = !a ? 1 : !b ? -1 : strcmp(a->key, b->key);
        const char *key = order <= 0 ? a->key : b->key;
        bool differs = order != 0 || !is_same_value(a, b);
        if (differs && weft_symmetry_counts(s, key))
            say_fact(w, local_name(t, node), key, order <= 0 ? a : NULL, order >= 0 ? b : NULL);
        a = order <= 0 ? a->next : a;
        b = order >= 0 ? b->next : b;
    }
}

/* ---- hosts ---- */

/* The part of `host` that is called as `reference_part` is in its own; -1: none. */
static int namesake(const struct weft_symmetry *s, int host, int reference_part)
{
    const struct weft_topology *t = s->topology;
    char name[2 * WEFT_TOPOLOGY_NAME_BYTES];
    if (t->nodes[reference_part].kind == WEFT_NODE_HOST)
        return host;
    snprintf(name, sizeof name, "%s/%s", t->nodes[host].name, local_name(t, reference_part));
    int node = weft_topology_find_node(t, name);
    bool fits = node >= 0 && s->number[node] == s->number[host] &&
                t->nodes[node].kind == t->nodes[reference_part].kind;
    return fits ? node : -1;
}

struct span {
    int at, end; // into part
};

/* The first position from `low` up to `high` whose part is of `kind` or a later one. */
static int position_of_kind(const struct weft_symmetry *s, int low, int high, int kind)
{
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (s->topology->nodes[s->part[middle]].kind < kind)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct span parts_of_kind(const struct weft_symmetry *s, int host, int kind)
{
    int first = s->first_part[s->number[host]], end = s->first_part[s->number[host] + 1];
    return (struct span){position_of_kind(s, first, end, kind),
                         position_of_kind(s, first, end, kind + 1)};
}

/* "no mlx5_4", "4 of 8 GPUs are missing: gpu4 ... gpu7", "has 2 NICs more". */
static void say_counts(const struct weft_symmetry *s, struct words *w, int kind,
                       const struct span *is, const struct span *should, int first_missing)
{
    const struct weft_topology *t = s->topology;
    int have = is->end - is->at, want = should->end - should->at;
    const struct weft_node_kind *names = &weft_node_kinds[kind];
    if (have == want - 1 && first_missing >= 0)
        say(w, "no %.60s", local_name(t, first_missing));
    else if (have < want && first_missing >= 0)
        say(w, "%d of %d %s (no %.60s ...)", have, want,
            want == 1 ? names->singular : names->plural, local_name(t, first_missing));
    else if (have != want)
        say(w, "%d %s instead of %d", have, have == 1 ? names->singular : names->plural, want);
}

/* Pairs parts of one kind: pair_of[part of host] is a part of the reference. Names first, then
 * order. Looks at no more of the reference than at the host, and a few. */
static void pair_parts(struct weft_symmetry *s, int host, int reference, int kind, struct words *w)
{
    struct span is = parts_of_kind(s, host, kind), should = parts_of_kind(s, reference, kind);
    int unpaired = is.end - is.at, first_missing = -1, looked = 0;
    int most = 2 * (is.end - is.at) + 64;
    for (int i = should.at; i < should.end && looked < most; i++, looked++) {
        int twin = namesake(s, host, s->part[i]);
        if (twin >= 0 && s->pair_of[twin] < 0) {
            s->pair_of[twin] = s->part[i];
            unpaired--;
        } else if (first_missing < 0) {
            first_missing = s->part[i];
        }
    }
    say_counts(s, w, kind, &is, &should, first_missing);
    if (unpaired == 0)
        return;
    // what has no namesake: in order, with what of the reference nobody took
    int at = is.at;
    for (int i = should.at, steps = 0; i < should.end && steps < most; i++, steps++) {
        if (namesake(s, host, s->part[i]) >= 0)
            continue;
        while (at < is.end && s->pair_of[s->part[at]] >= 0)
            at++;
        if (at == is.end)
            break;
        s->pair_of[s->part[at]] = s->part[i];
    }
}

int weft_symmetry_explain_host(struct weft_symmetry *s, int host, int reference, int most,
                               char *text, size_t size)
{
    const struct weft_topology *t = s->topology;
    struct words w = {.text = text, .size = size, .most = most};
    text[0] = '\0';
    int first = s->first_part[s->number[host]], end = s->first_part[s->number[host] + 1];
    for (int kind = 0; kind < WEFT_NUM_NODE_KINDS; kind++)
        pair_parts(s, host, reference, kind, &w);
    int64_t is = s->memory[s->number[host]], should = s->memory[s->number[reference]];
    char now[32], then[32];
    if (weft_symmetry_memory_differs(is, should))
        say(&w, "%s of memory instead of %s", weft_format_bytes(is, now, sizeof now),
            weft_format_bytes(should, then, sizeof then));
    for (int i = first; i < end && !is_full(&w); i++) { // links first: they cost most
        if (s->pair_of[s->part[i]] >= 0)
            compare_links(s, s->part[i], s->pair_of[s->part[i]], false, &w);
    }
    for (int i = first; i < end && !is_full(&w); i++)
        if (s->pair_of[s->part[i]] >= 0)
            compare_facts(s, s->part[i], s->pair_of[s->part[i]], &w);
    for (int i = first; i < end; i++)
        s->pair_of[s->part[i]] = -1;
    if (w.count == 0 && t->nodes[host].kind == WEFT_NODE_HOST &&
        weft_symmetry_class_of(s, host) != weft_symmetry_class_of(s, reference))
        say(&w, "its parts are joined in another way");
    return w.count;
}

/* ---- peers ---- */

struct peer {
    uint64_t hash;
    int index;
};

static int compare_peers(const void *x, const void *y)
{
    const struct peer *a = x, *b = y;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

weft_status weft_symmetry_compare_peers(const struct weft_symmetry *s, const int *nodes,
                                        int num_nodes, bool *is_other, int *reference,
                                        int *num_others, struct weft_error *error)
{
    struct peer *peers = malloc(((size_t)num_nodes + 1) * sizeof *peers);
    if (!peers)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "symmetry: no memory");
    for (int i = 0; i < num_nodes; i++) {
        struct weft_feature features[WEFT_NUM_FEATURES];
        weft_symmetry_features(s, nodes[i], true, features);
        peers[i] = (struct peer){XXH3_64bits(features, sizeof features), i};
    }
    qsort(peers, (size_t)num_nodes, sizeof *peers, compare_peers);
    int best = 0, best_count = 0;
    for (int i = 0; i < num_nodes;) {
        int start = i;
        while (i < num_nodes && peers[i].hash == peers[start].hash)
            i++;
        if (i - start > best_count ||
            (i - start == best_count && peers[start].index < peers[best].index)) {
            best = start;
            best_count = i - start;
        }
    }
    for (int i = 0; i < num_nodes; i++)
        is_other[peers[i].index] = peers[i].hash != peers[best].hash;
    *reference = num_nodes ? nodes[peers[best].index] : -1;
    *num_others = num_nodes - best_count;
    free(peers);
    return WEFT_OK;
}

int weft_symmetry_explain_node(const struct weft_symmetry *s, int node, int reference, char *text,
                               size_t size)
{
    struct words w = {.text = text, .size = size, .most = 3};
    text[0] = '\0';
    compare_links(s, node, reference, true, &w);
    return w.count;
}
