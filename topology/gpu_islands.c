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

static const char *model_of(const struct weft_topology *t, int gpu)
{
    const char *model = weft_topology_text(t, gpu, "model");
    return model ? model : "";
}

/* A GPU without links lacks them only where one of its model has some, `linked`: a GPU for the
 * screen is none of the others. -1: no GPU of the host has any. */
static bool lacks_links(const struct weft_topology *t, int gpu, int linked)
{
    if (linked < 0)
        return false;
    const char *own = model_of(t, gpu), *other = model_of(t, linked);
    return !own[0] || !other[0] || strcmp(own, other) == 0;
}

/* Numbers the roots of those GPUs that count; `linked_of_host` has a GPU with links of each host,
 * or -1; `number` has an entry per node. */
static int number_islands(const struct weft_topology *t, int *up, const bool *is_linked,
                          const int *linked_of_host, int *island_of, int *number)
{
    int islands = 0;
    for (int i = 0; i < t->num_nodes; i++)
        number[i] = island_of[i] = -1;
    for (int i = 0; i < t->num_nodes; i++) {
        int host = is_gpu(t, i) ? weft_topology_ancestor(t, i, WEFT_NODE_HOST) : -1;
        if (!is_gpu(t, i) ||
            !(is_linked[i] || (host >= 0 && lacks_links(t, i, linked_of_host[host]))))
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
    int *up = malloc(3 * n * sizeof *up);
    bool *is_linked = calloc(n, sizeof *is_linked);
    weft_status status = WEFT_OK;
    if (!up || !is_linked)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "topology: no memory to find GPU islands");
    if (status == WEFT_OK)
        weft_sets_init(up, t->num_nodes);
    int *linked_of_host = up ? up + 2 * n : NULL;
    for (int i = 0; status == WEFT_OK && i < t->num_nodes; i++)
        linked_of_host[i] = -1;
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
            linked_of_host[host] = i;
    }
    if (status == WEFT_OK)
        *num_islands = number_islands(t, up, is_linked, linked_of_host, island_of, up + n);
    free(up);
    free(is_linked);
    return status;
}
