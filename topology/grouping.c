/*
 * SPDX-License-Identifier: Apache-2.0
 * Groups from measured pairs. Distances are in thousandths of the best pair's figure; the clusters'
 * are means over pairs, kept as sums so that everything is integers and equal on every machine.
 */
#include "topology/grouping.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    UNIT = 1000,              // distance of the best pair
    FARTHEST = 1000000 * UNIT // of a pair that could not be measured, if none could
};

static int64_t worse(const int64_t *matrix, int n, int i, int j, bool larger_is_better)
{
    int64_t there = matrix[(size_t)i * (size_t)n + (size_t)j];
    int64_t back = matrix[(size_t)j * (size_t)n + (size_t)i];
    if (there < 0 || back < 0)
        return there > back ? there : back;
    return (there < back) == larger_is_better ? there : back;
}

static int64_t ratio(int64_t large, int64_t small)
{
    if (small <= 0)
        return large <= 0 ? UNIT : FARTHEST;
    return large / small >= FARTHEST / UNIT ? FARTHEST : (int64_t)((__int128)large * UNIT / small);
}

/* distances[i * n + j]: the worse of latency and bandwidth, against the best pair of each. */
static void fill_distances(const struct weft_pairs *pairs, int64_t *distances)
{
    int n = pairs->num_hosts;
    int64_t best_latency = INT64_MAX, best_bandwidth = 0, farthest = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++) {
            int64_t latency = worse(pairs->latency_ps, n, i, j, false);
            int64_t bandwidth = worse(pairs->bandwidth, n, i, j, true);
            best_latency = latency >= 0 && latency < best_latency ? latency : best_latency;
            best_bandwidth = bandwidth > best_bandwidth ? bandwidth : best_bandwidth;
        }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++) {
            int64_t latency = worse(pairs->latency_ps, n, i, j, false);
            int64_t bandwidth = worse(pairs->bandwidth, n, i, j, true);
            int64_t by_latency = latency < 0 ? -1 : ratio(latency, best_latency);
            int64_t by_bandwidth = bandwidth < 0 ? -1 : ratio(best_bandwidth, bandwidth);
            int64_t distance = by_latency > by_bandwidth ? by_latency : by_bandwidth;
            farthest = distance > farthest ? distance : farthest;
            distances[i * n + j] = distances[j * n + i] = distance;
        }
    for (int i = 0; i < n * n; i++)
        if (distances[i] < 0)
            distances[i] = farthest > 0 ? farthest : FARTHEST;
}

/* ---- clustering ---- */

struct merging {
    int a, b;       // representatives; b goes into a
    int64_t height; // mean distance
};

struct clusters {
    int n;
    int64_t *sums; // (n * n) of the distances between two clusters
    int *sizes;    // (n) 0: went into another one
    int *nearest;  // (n) the best partner, as far as is known
};

static int64_t mean(const struct clusters *c, int a, int b)
{
    return c->sums[a * c->n + b] / ((int64_t)c->sizes[a] * c->sizes[b]);
}

static int find_nearest(const struct clusters *c, int a)
{
    int best = -1;
    for (int b = 0; b < c->n; b++)
        if (b != a && c->sizes[b] > 0 && (best < 0 || mean(c, a, b) < mean(c, a, best)))
            best = b;
    return best;
}

/* The nearest two clusters; the first of equals. */
static struct merging nearest_pair(const struct clusters *c)
{
    struct merging best = {-1, -1, 0};
    for (int a = 0; a < c->n; a++) {
        if (c->sizes[a] == 0)
            continue;
        int64_t height = mean(c, a, c->nearest[a]);
        if (best.a < 0 || height < best.height)
            best = (struct merging){a, c->nearest[a], height};
    }
    if (best.a > best.b)
        best = (struct merging){best.b, best.a, best.height};
    return best;
}

static void merge(struct clusters *c, int a, int b)
{
    int n = c->n;
    for (int k = 0; k < n; k++) {
        c->sums[a * n + k] += c->sums[b * n + k];
        c->sums[k * n + a] = c->sums[a * n + k];
    }
    c->sizes[a] += c->sizes[b];
    c->sizes[b] = 0;
    for (int k = 0; k < n; k++) {
        if (c->sizes[k] == 0)
            continue;
        if (k == a || c->nearest[k] == a || c->nearest[k] == b)
            c->nearest[k] = find_nearest(c, k);
        else if (mean(c, k, a) < mean(c, k, c->nearest[k]))
            c->nearest[k] = a;
    }
}

/* All n - 1 mergings, nearest first. */
static void cluster(struct clusters *c, struct merging *mergings)
{
    for (int i = 0; i < c->n; i++)
        c->nearest[i] = find_nearest(c, i);
    for (int i = 0; i < c->n - 1; i++) {
        mergings[i] = nearest_pair(c);
        merge(c, mergings[i].a, mergings[i].b);
    }
}

/* How many of the mergings are within groups: up to the largest gap. */
static int find_cut(const struct merging *mergings, int count)
{
    int cut = count;
    int64_t largest = (int64_t)WEFT_GROUPING_GAP_PERCENT * UNIT / 100;
    for (int i = 1; i < count; i++) {
        int64_t before = mergings[i - 1].height;
        int64_t gap = mergings[i].height * UNIT / (before > 0 ? before : 1);
        if (gap >= largest) {
            largest = gap + 1; // of equal gaps the first: the smallest groups
            cut = i;
        }
    }
    return cut;
}

static int number_groups(const struct merging *mergings, int cut, int n, int *group_of)
{
    for (int i = 0; i < n; i++)
        group_of[i] = i;
    for (int i = cut - 1; i >= 0; i--) // b's own mergings came before it went into a
        group_of[mergings[i].b] = group_of[mergings[i].a];
    int num_groups = 0;
    for (int i = 0; i < n; i++)
        if (group_of[i] == i)
            num_groups++;
    return num_groups;
}

/* Turns "the first host of my group" into numbers 0, 1, ... */
static void renumber(int *group_of, int n)
{
    int next = 0;
    for (int i = 0; i < n; i++) // a representative is the lowest of its group
        group_of[i] = group_of[i] == i ? next++ : group_of[group_of[i]];
}

weft_status weft_pairs_group(const struct weft_pairs *pairs, int *group_of, int *num_groups,
                             struct weft_error *error)
{
    int n = pairs->num_hosts;
    if (n < 1 || n > WEFT_GROUPING_MAX_HOSTS)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "grouping: %d hosts, not from 1 to %d", n,
                         WEFT_GROUPING_MAX_HOSTS);
    size_t size = (size_t)n;
    struct clusters c = {.n = n,
                         .sums = calloc(size * size, sizeof *c.sums),
                         .sizes = malloc(size * sizeof *c.sizes),
                         .nearest = malloc(size * sizeof *c.nearest)};
    struct merging *mergings = malloc(size * sizeof *mergings);
    weft_status status = WEFT_OK;
    if (!c.sums || !c.sizes || !c.nearest || !mergings) {
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "grouping: no memory for %d hosts", n);
    } else {
        for (int i = 0; i < n; i++)
            c.sizes[i] = 1;
        fill_distances(pairs, c.sums);
        cluster(&c, mergings);
        *num_groups = number_groups(mergings, find_cut(mergings, n - 1), n, group_of);
        renumber(group_of, n);
    }
    free(c.sums);
    free(c.sizes);
    free(c.nearest);
    free(mergings);
    return status;
}

/* ---- into the graph ---- */

static int compare_values(const void *x, const void *y)
{
    const int64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static struct weft_quantity measured(int64_t value)
{
    return value < 0 ? WEFT_QUANTITY_UNKNOWN : (struct weft_quantity){value, WEFT_SOURCE_MEASURED};
}

/* The best latency and bandwidth of one host, to whomever. */
static struct weft_link host_link(const struct weft_pairs *pairs, int host, int from, int to)
{
    struct weft_link link = weft_link_make(WEFT_LINK_NETWORK, from, to);
    int64_t best_latency = -1, best_bandwidth = -1;
    for (int k = 0; k < pairs->num_hosts; k++) {
        if (k == host)
            continue;
        int64_t latency = worse(pairs->latency_ps, pairs->num_hosts, host, k, false);
        int64_t bandwidth = worse(pairs->bandwidth, pairs->num_hosts, host, k, true);
        if (latency >= 0 && (best_latency < 0 || latency < best_latency))
            best_latency = latency;
        best_bandwidth = bandwidth > best_bandwidth ? bandwidth : best_bandwidth;
    }
    // a pair's way has two such links
    link.latency.measured = measured(best_latency < 0 ? -1 : best_latency / 2);
    link.bandwidth.measured = measured(best_bandwidth);
    return link;
}

/* The medians between one group and the others; values has room for every pair. */
static struct weft_link group_link(const struct weft_pairs *pairs, const int *group_of, int group,
                                   int from, int to, int64_t *values)
{
    struct weft_link link = weft_link_make(WEFT_LINK_NETWORK, from, to);
    struct weft_quantity *results[] = {&link.latency.measured, &link.bandwidth.measured};
    const int64_t *matrices[] = {pairs->latency_ps, pairs->bandwidth};
    for (int form = 0; form < 2; form++) {
        size_t count = 0;
        for (int i = 0; i < pairs->num_hosts; i++)
            for (int k = 0; group_of[i] == group && k < pairs->num_hosts; k++) {
                int64_t value = group_of[k] == group
                                    ? -1
                                    : worse(matrices[form], pairs->num_hosts, i, k, form == 1);
                if (value >= 0)
                    values[count++] = value;
            }
        if (count == 0)
            continue;
        qsort(values, count, sizeof *values, compare_values);
        *results[form] = measured(form == 0 ? values[count / 2] / 4 : values[count / 2]);
    }
    return link; // a way between groups has four links
}

static weft_status add_groups(struct weft_topology *t, const struct weft_pairs *pairs,
                              const int *ends, const int *group_of, int num_groups, int64_t *values,
                              int *switches, struct weft_error *error)
{
    int between = -1;
    bool is_measured = false;
    for (int i = 0; i < pairs->num_hosts * pairs->num_hosts; i++)
        is_measured |= i / pairs->num_hosts != i % pairs->num_hosts &&
                       (pairs->latency_ps[i] >= 0 || pairs->bandwidth[i] >= 0);
    for (int g = 0; g < num_groups; g++) {
        char name[24];
        int num_hosts = 0;
        snprintf(name, sizeof name, "group%d", g);
        WEFT_TRY(weft_topology_add_twin(t, WEFT_NODE_SWITCH, name, -1, &switches[g], error));
        for (int i = 0; i < pairs->num_hosts; i++)
            num_hosts += group_of[i] == g;
        WEFT_TRY(weft_topology_add_remark(
            t, WEFT_REMARK_GUESS, WEFT_SOURCE_MEASURED, switches[g], error,
            "stands for what joins %d host%s: no switch could be seen, they %s", num_hosts,
            num_hosts == 1 ? "" : "s",
            is_measured ? "measured alike" : "only reach each other (--measure tells more)"));
    }
    for (int i = 0; i < pairs->num_hosts; i++) {
        struct weft_link link = host_link(pairs, i, switches[group_of[i]], ends[i]);
        WEFT_TRY(weft_topology_add_link(t, &link, NULL, error));
    }
    if (num_groups < 2)
        return WEFT_OK;
    WEFT_TRY(weft_topology_add_twin(t, WEFT_NODE_SWITCH, "between-groups", -1, &between, error));
    WEFT_TRY(weft_topology_add_remark(t, WEFT_REMARK_GUESS, WEFT_SOURCE_MEASURED, between, error,
                                      "stands for what joins %d groups of hosts", num_groups));
    for (int g = 0; g < num_groups; g++) {
        struct weft_link link = group_link(pairs, group_of, g, between, switches[g], values);
        WEFT_TRY(weft_topology_add_link(t, &link, NULL, error));
    }
    return WEFT_OK;
}

weft_status weft_topology_add_groups(struct weft_topology *t, const struct weft_pairs *pairs,
                                     const int *ends, struct weft_error *error)
{
    int num_groups = 0;
    if (pairs->num_hosts < 1 || pairs->num_hosts > WEFT_GROUPING_MAX_HOSTS)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "grouping: %d hosts", pairs->num_hosts);
    size_t n = (size_t)pairs->num_hosts;
    int *group_of = malloc(2 * n * sizeof *group_of);
    int64_t *values = malloc(n * n * sizeof *values);
    weft_status status = WEFT_OK;
    if (!group_of || !values)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "grouping: no memory");
    if (status == WEFT_OK)
        status = weft_pairs_group(pairs, group_of, &num_groups, error);
    if (status == WEFT_OK)
        status = add_groups(t, pairs, ends, group_of, num_groups, values, group_of + n, error);
    free(group_of);
    free(values);
    return status;
}
