/*
 * SPDX-License-Identifier: Apache-2.0
 * See gpu_islands.h. Union-find over the links, then over equal domain names.
 */
#include "topology/gpu_islands.h"
#include "topology/sets.h"

#include <stdlib.h>
#include <string.h>

struct domain {
    const char *name;
    int gpu;
};

static bool is_gpu(const struct weft_topology *t, int node)
{
    return t->nodes[node].kind == WEFT_NODE_GPU;
}

/* A CPU that has NVLinks ends them; it does not join GPUs. */
static bool carries(const struct weft_topology *t, int node)
{
    return is_gpu(t, node) || t->nodes[node].kind == WEFT_NODE_NVSWITCH;
}

static int compare_domains(const void *x, const void *y)
{
    const struct domain *a = x, *b = y;
    int difference = strcmp(a->name, b->name);
    return difference ? difference : (a->gpu > b->gpu) - (a->gpu < b->gpu);
}

static weft_status unite_domains(const struct weft_topology *t, int *up, const bool *is_linked,
                                 struct weft_error *error)
{
    int count = 0;
    for (int i = 0; i < t->num_nodes; i++)
        count += is_gpu(t, i) && is_linked[i] && weft_topology_text(t, i, "nvlink_domain");
    if (count == 0)
        return WEFT_OK;
    struct domain *domains = malloc((size_t)count * sizeof *domains);
    if (!domains)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory to find GPU islands");
    count = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        const char *name =
            is_gpu(t, i) && is_linked[i] ? weft_topology_text(t, i, "nvlink_domain") : NULL;
        if (name)
            domains[count++] = (struct domain){name, i};
    }
    qsort(domains, (size_t)count, sizeof *domains, compare_domains);
    for (int i = 1; i < count; i++)
        if (strcmp(domains[i].name, domains[i - 1].name) == 0)
            weft_sets_unite(up, domains[i - 1].gpu, domains[i].gpu);
    free(domains);
    return WEFT_OK;
}

/* Numbers the roots of those GPUs that count; `number` has an entry per node. */
static int number_islands(const struct weft_topology *t, int *up, const bool *is_linked,
                          const bool *host_has_some, int *island_of, int *number)
{
    int islands = 0;
    for (int i = 0; i < t->num_nodes; i++)
        number[i] = island_of[i] = -1;
    for (int i = 0; i < t->num_nodes; i++) {
        int host = is_gpu(t, i) ? weft_topology_ancestor(t, i, WEFT_NODE_HOST) : -1;
        if (!is_gpu(t, i) || !(is_linked[i] || (host >= 0 && host_has_some[host])))
            continue;
        int root = weft_sets_root(up, i);
        if (number[root] < 0)
            number[root] = islands++;
        island_of[i] = number[root];
    }
    return islands;
}

weft_status weft_topology_gpu_islands(const struct weft_topology *t, int *island_of,
                                      int *num_islands, struct weft_error *error)
{
    size_t n = (size_t)t->num_nodes + 1;
    int *up = malloc(2 * n * sizeof *up);
    bool *is_linked = calloc(2 * n, sizeof *is_linked);
    weft_status status = WEFT_OK;
    if (!up || !is_linked)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory to find GPU islands");
    if (status == WEFT_OK)
        weft_sets_init(up, t->num_nodes);
    for (int i = 0; status == WEFT_OK && i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        if (link->kind != WEFT_LINK_NVLINK && link->kind != WEFT_LINK_XGMI)
            continue;
        is_linked[link->from] = is_linked[link->to] = true;
        if (carries(t, link->from) && carries(t, link->to))
            weft_sets_unite(up, link->from, link->to);
    }
    if (status == WEFT_OK)
        status = unite_domains(t, up, is_linked, error);
    for (int i = 0; status == WEFT_OK && i < t->num_nodes; i++) {
        int host = is_gpu(t, i) && is_linked[i] ? weft_topology_ancestor(t, i, WEFT_NODE_HOST) : -1;
        if (host >= 0)
            is_linked[n + (size_t)host] = true; // second half: hosts that have some
    }
    if (status == WEFT_OK)
        *num_islands = number_islands(t, up, is_linked, is_linked + n, island_of, up + n);
    free(up);
    free(is_linked);
    return status;
}
