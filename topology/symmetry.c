/*
 * SPDX-License-Identifier: Apache-2.0
 * See symmetry.h. Finding the classes: facts that count, colours, sorting by colour.
 */
#include "topology/symmetry.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "topology/findings.h"
#include "topology/symmetry_private.h"

enum { ROUNDS = 3 };

static uint64_t mix(uint64_t hash, const void *data, size_t bytes)
{
    return XXH3_64bits_withSeed(data, bytes, hash);
}

static uint64_t mix_integer(uint64_t hash, int64_t value)
{
    return mix(hash, &value, sizeof value);
}

static uint64_t hash_text(const char *text)
{
    return XXH3_64bits(text, strlen(text));
}

/* ---- which facts count ---- */

/* Facts known to tell things apart, or to move by themselves; * ends what is only a beginning or
 * begins what is only an end. */
static const char *const apart_by_nature[] = {
    "process.*",      "nccl.*",          "slurm.*",      "fabric_*",     "*_guid",
    "port_guid*",     "node_guid*",      "*uuid",        "*serial",      "mac",
    "lid*",           "sm_lid",          "*address",     "*gid",         "*gids",
    "interface*",     "rdma_device",     "hostname",     "os_index",     "first_thread",
    "index",          "iommu_group",     "memory_bytes", "memory_numa",  "nvlink_domain",
    "gpudirect_gpus", "os_release",      "description",  "*description", "*_of",
    "bond_*",         "lower_interface",
};

static bool fits(const char *pattern, const char *key)
{
    size_t length = strlen(pattern), bytes = strlen(key);
    if (pattern[0] == '*')
        return bytes >= length - 1 && strcmp(key + bytes - (length - 1), pattern + 1) == 0;
    if (pattern[length - 1] == '*')
        return strncmp(key, pattern, length - 1) == 0;
    return strcmp(pattern, key) == 0;
}

static bool is_apart_by_nature(const char *key)
{
    for (size_t i = 0; i < sizeof apart_by_nature / sizeof apart_by_nature[0]; i++)
        if (fits(apart_by_nature[i], key))
            return true;
    return false;
}

static int compare_hashes(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

static bool is_listed(const struct weft_symmetry *s, uint64_t key)
{
    return s->num_apart &&
           bsearch(&key, s->apart, (size_t)s->num_apart, sizeof key, compare_hashes);
}

bool weft_symmetry_counts(const struct weft_symmetry *s, const char *key)
{
    return !is_apart_by_nature(key) && !is_listed(s, hash_text(key));
}

/* One fact of one host: the key, and a hash of all that the host says under it. */
struct fact {
    uint64_t key, value;
    int host;
};

static int compare_facts(const void *x, const void *y)
{
    const struct fact *a = x, *b = y;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    if (a->host != b->host)
        return a->host < b->host ? -1 : 1;
    return (a->value > b->value) - (a->value < b->value);
}

static uint64_t hash_value(const struct weft_attribute *a)
{
    return a->text ? hash_text(a->text) : mix_integer(13, a->number);
}

/* Facts of one host and key become one; returns how many are left. `facts` is in order. */
static size_t join_facts(struct fact *facts, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept && facts[kept - 1].key == facts[i].key && facts[kept - 1].host == facts[i].host)
            facts[kept - 1].value += facts[i].value;
        else
            facts[kept++] = facts[i];
    return kept;
}

static int compare_by_value(const void *x, const void *y)
{
    const struct fact *a = x, *b = y;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return (a->value > b->value) - (a->value < b->value);
}

/* Lists the keys under which most hosts say something of their own. */
static weft_status find_apart(struct weft_symmetry *s, struct weft_error *error)
{
    const struct weft_topology *t = s->topology;
    size_t count = 0, room = 1;
    for (int i = 0; i < t->num_nodes; i++)
        for (const struct weft_attribute *a = t->nodes[i].attributes; a; a = a->next)
            room += s->number[i] >= 0;
    struct fact *facts = malloc(room * sizeof *facts);
    if (!facts)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "symmetry: no memory");
    for (int i = 0; i < t->num_nodes; i++)
        for (const struct weft_attribute *a = t->nodes[i].attributes; a && s->number[i] >= 0;
             a = a->next)
            if (!is_apart_by_nature(a->key))
                facts[count++] = (struct fact){
                    hash_text(a->key), mix_integer(hash_value(a), t->nodes[i].kind), s->number[i]};
    qsort(facts, count, sizeof *facts, compare_facts);
    count = join_facts(facts, count);
    qsort(facts, count, sizeof *facts, compare_by_value);
    s->apart = malloc((count + 1) * sizeof *s->apart);
    for (size_t i = 0; s->apart && i < count;) {
        size_t start = i;
        int different = 1;
        for (i++; i < count && facts[i].key == facts[start].key; i++)
            different += facts[i].value != facts[i - 1].value;
        if (different > 2 && (size_t)different * 2 > i - start)
            s->apart[s->num_apart++] = facts[start].key;
    }
    free(facts);
    return s->apart ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "symmetry: no memory");
}

static void hash_facts(struct weft_symmetry *s)
{
    const struct weft_topology *t = s->topology;
    for (int i = 0; i < t->num_nodes; i++) {
        uint64_t hash = mix_integer(17, t->nodes[i].kind);
        for (const struct weft_attribute *a = t->nodes[i].attributes; a; a = a->next)
            if (weft_symmetry_counts(s, a->key))
                hash = mix_integer(mix(hash, a->key, strlen(a->key)), (int64_t)hash_value(a));
        s->facts[i] = hash;
    }
}

/* ---- parts of hosts ---- */

static void list_parts(struct weft_symmetry *s)
{
    const struct weft_topology *t = s->topology;
    int *start = s->first_part;
    for (int i = 0; i < t->num_nodes; i++) {
        int host = weft_topology_ancestor(t, i, WEFT_NODE_HOST);
        s->number[i] = -1;
        s->pair_of[i] = -1;
        if (host == i) {
            s->host[s->num_hosts] = i;
            s->number[i] = s->num_hosts++;
        }
    }
    memset(start, 0, ((size_t)s->num_hosts + 2) * sizeof *start);
    for (int i = 0; i < t->num_nodes; i++) {
        int host = weft_topology_ancestor(t, i, WEFT_NODE_HOST);
        if (host < 0)
            continue;
        s->number[i] = s->number[host];
        start[s->number[i] + 2]++;
        if (t->nodes[i].kind == WEFT_NODE_NUMA) {
            int64_t bytes = weft_topology_number(t, i, "memory_bytes", 0);
            int64_t *memory = &s->memory[s->number[i]];
            *memory = bytes > INT64_MAX - *memory ? INT64_MAX : *memory + bytes;
        }
    }
    for (int i = 2; i < s->num_hosts + 2; i++)
        start[i] += start[i - 1];
    for (int kind = 0; kind < WEFT_NUM_NODE_KINDS; kind++)
        for (int i = 0; i < t->num_nodes; i++)
            if (s->number[i] >= 0 && t->nodes[i].kind == kind)
                s->part[start[s->number[i] + 1]++] = i;
}

/* ---- colours ---- */

bool weft_symmetry_memory_differs(int64_t a, int64_t b)
{
    int64_t low = a < b ? a : b, high = a < b ? b : a;
    return (double)low < 0.95 * (double)high;
}

int64_t weft_symmetry_bandwidth(const struct weft_topology *t, const struct weft_link *link)
{
    const struct weft_figure *figure = &link->bandwidth;
    bool is_known = figure->current.value >= 0 && figure->current.source != WEFT_SOURCE_ASSUMED;
    if (is_known && !weft_link_may_be_idle(t, link))
        return figure->current.value;
    return figure->nominal.source == WEFT_SOURCE_ASSUMED ? -1 : figure->nominal.value;
}

static uint64_t hash_link(const struct weft_topology *t, const struct weft_link *link)
{
    const int64_t parts[] = {link->kind, link->count, link->one_way,
                             weft_symmetry_bandwidth(t, link)};
    return mix(19, parts, sizeof parts);
}

/* One round: a node's colour takes in those of its neighbours in the host, of what contains it, and
 * the kind of what is outside. */
static void refine(const struct weft_symmetry *s, const uint64_t *links, const uint64_t *old,
                   uint64_t *colour)
{
    const struct weft_topology *t = s->topology;
    for (int i = 0; i < t->num_nodes; i++) {
        int parent = t->nodes[i].parent;
        colour[i] = mix_integer(old[i], parent >= 0 ? (int64_t)old[parent] : 0);
    }
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        int ends[] = {link->from, link->to};
        bool is_inside = s->number[link->from] == s->number[link->to];
        for (int j = 0; j < 2; j++) {
            int other = ends[1 - j];
            uint64_t seen = is_inside ? old[other] : (uint64_t)t->nodes[other].kind;
            colour[ends[j]] += mix_integer(links[i] + (uint64_t)j * link->one_way, (int64_t)seen);
        }
    }
}

struct coloured {
    uint64_t colour;
    int host; // number
};

static int compare_coloured(const void *x, const void *y)
{
    const struct coloured *a = x, *b = y;
    if (a->colour != b->colour)
        return a->colour < b->colour ? -1 : 1;
    return (a->host > b->host) - (a->host < b->host);
}

static int compare_classes(const void *x, const void *y)
{
    const struct weft_symmetry_class *a = x, *b = y;
    if (a->num_hosts != b->num_hosts)
        return a->num_hosts > b->num_hosts ? -1 : 1;
    return (a->first > b->first) - (a->first < b->first);
}

static int compare_sizes(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

/* Adds to each host's colour how its memory stands to the usual. */
static weft_status colour_memory(const struct weft_symmetry *s, struct coloured *hosts,
                                 struct weft_error *error)
{
    int64_t *sizes = malloc(((size_t)s->num_hosts + 1) * sizeof *sizes);
    if (!sizes)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "symmetry: no memory");
    memcpy(sizes, s->memory, (size_t)s->num_hosts * sizeof *sizes);
    qsort(sizes, (size_t)s->num_hosts, sizeof *sizes, compare_sizes);
    int64_t usual = sizes[s->num_hosts / 2];
    free(sizes);
    for (int i = 0; i < s->num_hosts; i++)
        if (usual > 0 && weft_symmetry_memory_differs(s->memory[i], usual))
            hosts[i].colour +=
                mix_integer(23, (int64_t)(20.0 * (double)s->memory[i] / (double)usual));
    return WEFT_OK;
}

static void make_classes(struct weft_symmetry *s, struct coloured *hosts)
{
    qsort(hosts, (size_t)s->num_hosts, sizeof *hosts, compare_coloured);
    for (int i = 0; i < s->num_hosts;) {
        struct weft_symmetry_class *class = &s->classes[s->num_classes++];
        *class = (struct weft_symmetry_class){s->host[hosts[i].host], 0};
        uint64_t colour = hosts[i].colour;
        for (; i < s->num_hosts && hosts[i].colour == colour; i++) {
            class->num_hosts++;
            hosts[i].colour = (uint64_t) class->first; // from now on: the first of its class
        }
    }
    qsort(s->classes, (size_t)s->num_classes, sizeof *s->classes, compare_classes);
    for (int i = 0; i < s->num_classes; i++)
        s->class_of[s->number[s->classes[i].first]] = i;
    for (int i = 0; i < s->num_hosts; i++)
        s->class_of[hosts[i].host] = s->class_of[s->number[hosts[i].colour]];
}

static weft_status find_classes(struct weft_symmetry *s, struct weft_error *error)
{
    const struct weft_topology *t = s->topology;
    size_t n = (size_t)t->num_nodes + 1, m = (size_t)t->num_links + 1;
    uint64_t *colours = malloc((2 * n + m) * sizeof *colours);
    struct coloured *hosts = calloc((size_t)s->num_hosts + 1, sizeof *hosts);
    weft_status status = WEFT_OK;
    if (!colours || !hosts)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "symmetry: no memory");
    if (status == WEFT_OK) {
        uint64_t *old = colours, *new = colours + n, *links = new + n;
        for (int i = 0; i < t->num_links; i++)
            links[i] = hash_link(t, &t->links[i]);
        memcpy(old, s->facts, (n - 1) * sizeof *old);
        for (int round = 0; round < ROUNDS; round++) {
            refine(s, links, old, new);
            uint64_t *swap = old;
            old = new;
            new = swap;
        }
        for (int i = 0; i < s->num_hosts; i++)
            hosts[i].host = i;
        for (int i = 0; i < t->num_nodes; i++)
            if (s->number[i] >= 0)
                hosts[s->number[i]].colour += mix_integer(29, (int64_t)old[i]);
        status = s->num_hosts ? colour_memory(s, hosts, error) : WEFT_OK;
    }
    if (status == WEFT_OK)
        make_classes(s, hosts);
    free(colours);
    free(hosts);
    return status;
}

/* ---- life ---- */

void weft_symmetry_destroy(struct weft_symmetry **symmetry)
{
    if (!symmetry || !*symmetry)
        return;
    struct weft_symmetry *s = *symmetry;
    weft_adjacency_destroy(&s->adjacency);
    free(s->host);
    free(s->number);
    free(s->first_part);
    free(s->part);
    free(s->class_of);
    free(s->memory);
    free(s->classes);
    free(s->facts);
    free(s->pair_of);
    free(s->apart);
    free(s);
    *symmetry = NULL;
}

weft_status weft_symmetry_create(const struct weft_topology *t, struct weft_symmetry **symmetry,
                                 struct weft_error *error)
{
    size_t n = (size_t)t->num_nodes + 1;
    size_t hosts = (size_t)weft_topology_count(t, WEFT_NODE_HOST) + 1;
    struct weft_symmetry *s = calloc(1, sizeof *s);
    if (s) {
        s->topology = t;
        s->host = malloc(hosts * sizeof *s->host);
        s->number = malloc(n * sizeof *s->number);
        s->first_part = malloc((hosts + 2) * sizeof *s->first_part);
        s->part = malloc(n * sizeof *s->part);
        s->class_of = calloc(hosts, sizeof *s->class_of);
        s->memory = calloc(hosts, sizeof *s->memory);
        s->classes = malloc(hosts * sizeof *s->classes);
        s->facts = malloc(n * sizeof *s->facts);
        s->pair_of = malloc(n * sizeof *s->pair_of);
    }
    weft_status status = WEFT_OK;
    if (!s || !s->host || !s->number || !s->first_part || !s->part || !s->class_of || !s->memory ||
        !s->classes || !s->facts || !s->pair_of)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "symmetry: no memory for %zu nodes", n);
    if (status == WEFT_OK)
        status = weft_adjacency_create(t, &s->adjacency, error);
    if (status == WEFT_OK) {
        list_parts(s);
        status = find_apart(s, error);
    }
    if (status == WEFT_OK) {
        hash_facts(s);
        status = find_classes(s, error);
    }
    if (status != WEFT_OK) {
        weft_symmetry_destroy(&s);
        return status;
    }
    *symmetry = s;
    return WEFT_OK;
}

const struct weft_symmetry_class *weft_symmetry_classes(const struct weft_symmetry *s,
                                                        int *num_classes)
{
    *num_classes = s->num_classes;
    return s->classes;
}

int weft_symmetry_class_of(const struct weft_symmetry *s, int host)
{
    return s->topology->nodes[host].kind == WEFT_NODE_HOST ? s->class_of[s->number[host]] : -1;
}

uint64_t weft_symmetry_facts(const struct weft_symmetry *s, int node)
{
    return s->facts[node];
}
