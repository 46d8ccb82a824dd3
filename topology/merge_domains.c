/*
 * SPDX-License-Identifier: Apache-2.0
 * NVLink domains that span hosts: their GPUs hang on NVSwitches of the rack, which no host can see
 * as a whole. What each host took for its own NVSwitch becomes one for the rack; where hosts saw
 * none, one is added. Both are guesses and say so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/merge_private.h"

void weft_merge_rack_name(const char *domain, char *name, size_t size)
{
    snprintf(name, size, "nvlink-%.200s", domain);
}

struct member {
    const char *domain;
    int host; // root
    int gpu;
};

static int compare_members(const void *x, const void *y)
{
    const struct member *a = x, *b = y;
    int difference = strcmp(a->domain, b->domain);
    if (difference)
        return difference;
    if (a->host != b->host)
        return a->host < b->host ? -1 : 1;
    return (a->gpu > b->gpu) - (a->gpu < b->gpu);
}

/* GPUs that say which domain they are in, sorted by domain; the caller frees *members. */
static weft_status list_members(const struct weft_merge *m, struct member **members, int *count)
{
    struct member *list = malloc(((size_t)m->num_nodes + 1) * sizeof *list);
    if (!list)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    *count = 0;
    for (int i = 0; i < m->num_nodes; i++) {
        const char *domain = weft_merge_text(m, i, "nvlink_domain");
        if (weft_merge_node(m, i)->kind == WEFT_NODE_GPU && domain && *domain && m->host[i] >= 0)
            list[(*count)++] = (struct member){domain, weft_merge_root(m, m->host[i]), i};
    }
    if (*count)
        qsort(list, (size_t)*count, sizeof *list, compare_members);
    *members = list;
    return WEFT_OK;
}

/* The end of the run of one domain that begins at `from`; whether it spans hosts. */
static int domain_end(const struct member *members, int count, int from, bool *spans_hosts)
{
    int end = from + 1;
    *spans_hosts = false;
    for (; end < count && strcmp(members[end].domain, members[from].domain) == 0; end++)
        *spans_hosts |= members[end].host != members[from].host;
    return end;
}

weft_status weft_merge_join_domains(struct weft_merge *m)
{
    struct member *members;
    int count;
    WEFT_TRY(list_members(m, &members, &count));
    int *domain_of = malloc(((size_t)m->num_nodes + 1) * 2 * sizeof *domain_of);
    if (!domain_of) {
        free(members);
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    }
    int *switch_of = domain_of + m->num_nodes + 1; // by domain (its first member)
    for (int i = 0; i < m->num_nodes; i++)
        domain_of[i] = switch_of[i] = -1;
    for (int i = 0, end; i < count; i = end) {
        bool spans_hosts;
        end = domain_end(members, count, i, &spans_hosts);
        for (int k = i; spans_hosts && k < end; k++)
            domain_of[members[k].gpu] = i;
    }
    for (int g = 0; g < m->num_graphs; g++)
        for (int i = 0; i < m->graphs[g]->num_links; i++) {
            const struct weft_link *link = &m->graphs[g]->links[i];
            int a = m->first[g] + link->from, b = m->first[g] + link->to;
            int gpu = domain_of[a] >= 0 ? a : b, other = gpu == a ? b : a;
            if (link->kind != WEFT_LINK_NVLINK || domain_of[gpu] < 0 || m->host[other] < 0 ||
                weft_merge_node(m, other)->kind != WEFT_NODE_NVSWITCH)
                continue;
            int *shared = &switch_of[domain_of[gpu]];
            if (*shared < 0)
                *shared = other;
            weft_merge_join(m, *shared, other);
            m->rack[weft_merge_root(m, *shared)] = members[domain_of[gpu]].domain;
        }
    free(domain_of);
    free(members);
    return WEFT_OK;
}

/* ---- once nodes and links are made ---- */

/* The NVSwitch of the rack that a GPU hangs on, by node of `merged`; -1: none. */
static weft_status find_rack_switches(const struct weft_merge *m, int **rack_of)
{
    const struct weft_topology *t = m->merged;
    int *found = malloc(((size_t)t->num_nodes + 1) * sizeof *found);
    if (!found)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "merge: no memory");
    for (int i = 0; i < t->num_nodes; i++)
        found[i] = -1;
    for (int i = 0; i < t->num_links; i++) {
        const int ends[2] = {t->links[i].from, t->links[i].to};
        for (int k = 0; k < 2; k++)
            if (t->links[i].kind == WEFT_LINK_NVLINK &&
                t->nodes[ends[k]].kind == WEFT_NODE_NVSWITCH && t->nodes[ends[k]].parent < 0)
                found[ends[1 - k]] = ends[k];
    }
    *rack_of = found;
    return WEFT_OK;
}

static weft_status complete(struct weft_merge *m, const struct member *members, int count,
                            const int *rack_of)
{
    struct weft_topology *t = m->merged;
    int rack = -1, last_gpu = -1;
    char name[WEFT_TOPOLOGY_NAME_BYTES];
    weft_merge_rack_name(members[0].domain, name, sizeof name);
    for (int i = 0; i < count && rack < 0; i++)
        rack = rack_of[m->node[weft_merge_root(m, members[i].gpu)]];
    if (rack < 0) {
        if (weft_topology_find_node(t, name) >= 0)
            return WEFT_OK; // somebody uses the name for something else
        WEFT_TRY(weft_topology_add_node(t, WEFT_NODE_NVSWITCH, name, -1, &rack, m->error));
    }
    for (int i = 0; i < count; i++) {
        int gpu = m->node[weft_merge_root(m, members[i].gpu)];
        if (gpu == last_gpu || rack_of[gpu] >= 0)
            continue;
        struct weft_link link = weft_link_make(WEFT_LINK_NVLINK, rack, gpu);
        WEFT_TRY(weft_topology_add_link(t, &link, NULL, m->error));
        last_gpu = gpu;
    }
    if (strcmp(t->nodes[rack].name, name) != 0) // it was seen as the rack's
        return WEFT_OK;
    return weft_topology_add_remark(t, WEFT_REMARK_GUESS, WEFT_SOURCE_NVML, rack, m->error,
                                    "stands for all NVSwitches of the rack, which the hosts of "
                                    "NVLink domain %.80s share",
                                    members[0].domain);
}

weft_status weft_merge_complete_domains(struct weft_merge *m)
{
    struct member *members;
    int count, *rack_of = NULL;
    WEFT_TRY(list_members(m, &members, &count));
    weft_status status = find_rack_switches(m, &rack_of);
    if (status != WEFT_OK) {
        free(members);
        return status;
    }
    for (int i = 0, end; i < count && status == WEFT_OK; i = end) {
        bool spans_hosts;
        end = domain_end(members, count, i, &spans_hosts);
        if (spans_hosts)
            status = complete(m, members + i, end - i, rack_of);
    }
    free(rack_of);
    free(members);
    return status;
}
