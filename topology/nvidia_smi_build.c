/*
 * SPDX-License-Identifier: Apache-2.0
 * From the matrix of `nvidia-smi topo -m` to a graph. Devices are grouped four times, each time
 * with a wider notion of near: behind one PCIe switch, behind several, below one host bridge, in
 * one NUMA domain. A group of more than one becomes a node, and the groups nest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/nvidia_smi.h"
#include "topology/sets.h"

enum level { SWITCH, SWITCHES, BRIDGE, DOMAIN, NUM_LEVELS };

enum { MAX_LINKS_OF_A_GPU = 18 }; // of NVLink 2 to 5

struct builder {
    struct weft_smi *m;
    int up[NUM_LEVELS][WEFT_SMI_MAX_DEVICES];   // union-find; the root is a group's first device
    int node[NUM_LEVELS][WEFT_SMI_MAX_DEVICES]; // of each group, by its root; -1: none
    int host;
    int numbers[WEFT_NUM_NODE_KINDS];
};

static weft_status say(struct builder *b, enum weft_remark_kind kind, int node, const char *text)
{
    return weft_topology_add_remark(b->m->topology, kind, WEFT_SOURCE_FILE, node, b->m->error, "%s",
                                    text);
}

/* ---- what is near what ---- */

/* A pair is stated twice. If the two differ, the farther one is believed: what is promised least.
 */
static struct weft_smi_cell cell_of(const struct weft_smi *m, int a, int b)
{
    struct weft_smi_cell x = m->cells[a * m->num_devices + b], y = m->cells[b * m->num_devices + a];
    if (x.distance == y.distance)
        return x.links < y.links ? x : y;
    if (x.distance == WEFT_SMI_UNKNOWN || y.distance == WEFT_SMI_UNKNOWN)
        return x.distance == WEFT_SMI_UNKNOWN ? y : x;
    if (x.distance == WEFT_SMI_NVLINK || y.distance == WEFT_SMI_NVLINK)
        return x.distance == WEFT_SMI_NVLINK ? y : x;
    return x.distance > y.distance ? x : y;
}

static void group(struct builder *b)
{
    const struct weft_smi *m = b->m;
    for (int level = 0; level < NUM_LEVELS; level++) {
        weft_sets_init(b->up[level], m->num_devices);
        for (int i = 0; i < m->num_devices; i++)
            b->node[level][i] = -1;
    }
    for (int i = 0; i < m->num_devices; i++)
        for (int j = 0; j < i; j++) {
            enum weft_smi_distance distance = cell_of(m, i, j).distance;
            for (int level = SWITCH; level < NUM_LEVELS; level++)
                if (distance <= (enum weft_smi_distance)(WEFT_SMI_PIX + level))
                    weft_sets_unite(b->up[level], i, j);
            const struct weft_smi_device *x = &m->devices[i], *y = &m->devices[j];
            bool is_same_numa = x->numa >= 0 && x->numa == y->numa;
            // without that column, GPUs with the same processors are in one domain
            bool is_same_list = x->numa < 0 && y->numa < 0 && x->threads > 0 && y->threads > 0 &&
                                strcmp(x->affinity, y->affinity) == 0;
            if (is_same_numa || is_same_list)
                weft_sets_unite(b->up[DOMAIN], i, j);
        }
}

static weft_status remark_on_cells(struct builder *b)
{
    const struct weft_smi *m = b->m;
    int unequal = 0, unknown = 0, first_a = -1, first_b = -1;
    for (int i = 0; i < m->num_devices; i++)
        for (int j = 0; j < i; j++) {
            struct weft_smi_cell x = m->cells[i * m->num_devices + j],
                                 y = m->cells[j * m->num_devices + i];
            unknown += x.distance == WEFT_SMI_UNKNOWN && y.distance == WEFT_SMI_UNKNOWN;
            if ((x.distance == y.distance && x.links == y.links) || unequal++)
                continue;
            first_a = j;
            first_b = i;
        }
    if (unequal)
        WEFT_TRY(weft_topology_add_remark(
            m->topology, WEFT_REMARK_CONTRADICTION, WEFT_SOURCE_FILE, -1, m->error,
            "%d pair%s of devices differ%s by row (first: %s and %s): the farther is believed",
            unequal, unequal > 1 ? "s" : "", unequal > 1 ? "" : "s", m->devices[first_a].label,
            m->devices[first_b].label));
    if (unknown)
        WEFT_TRY(weft_topology_add_remark(
            m->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_FILE, -1, m->error,
            "how near %d pair%s of devices are is not stated", unknown, unknown > 1 ? "s" : ""));
    return WEFT_OK;
}

/* ---- nodes ---- */

static weft_status add(struct builder *b, int kind, const char *word, int parent, int *node)
{
    char name[WEFT_TOPOLOGY_NAME_BYTES];
    snprintf(name, sizeof name, "host/%.100s", word);
    for (char *slash = name + 5; (slash = strchr(slash, '/'));)
        *slash = '-';
    return weft_topology_add_node(b->m->topology, kind, name, parent, node, b->m->error);
}

static weft_status add_numbered(struct builder *b, int kind, int parent, int *node)
{
    char word[48];
    snprintf(word, sizeof word, "%s%d", weft_node_kinds[kind].name, b->numbers[kind]++);
    return add(b, kind, word, parent, node);
}

static weft_status join(struct builder *b, int kind, int from, int to, int count)
{
    struct weft_link link = weft_link_make(kind, from, to);
    link.count = count;
    return weft_topology_add_link(b->m->topology, &link, NULL, b->m->error);
}

static weft_status set_number(struct builder *b, int node, const char *key, int64_t number)
{
    return weft_topology_set_number(b->m->topology, node, key, number, WEFT_SOURCE_FILE,
                                    b->m->error);
}

/* The domain of one group: what its members know of it, the first one first. */
static weft_status add_domain(struct builder *b, int root, int64_t numa, bool is_first_number)
{
    struct weft_smi *m = b->m;
    int node;
    char word[48];
    snprintf(word, sizeof word, "numa%lld", (long long)numa);
    WEFT_TRY(add(b, WEFT_NODE_NUMA, word, b->host, &node));
    b->node[DOMAIN][root] = node;
    if (is_first_number)
        WEFT_TRY(set_number(b, node, "os_index", numa));
    for (int i = 0; i < m->num_devices; i++)
        if (weft_sets_root(b->up[DOMAIN], i) == root && m->devices[i].threads > 0) {
            WEFT_TRY(set_number(b, node, "threads", m->devices[i].threads));
            WEFT_TRY(set_number(b, node, "first_thread", m->devices[i].first_thread));
            break;
        }
    for (int i = 0; i < m->topology->num_nodes; i++)
        if (m->topology->nodes[i].kind == WEFT_NODE_NUMA && i != node)
            WEFT_TRY(join(b, WEFT_LINK_SOCKET, i, node, 1));
    return WEFT_OK;
}

/* The number that the members of a group state for their domain; -1: none. */
static int64_t number_of_domain(const struct builder *b, int *up, int root, bool *is_unequal)
{
    int64_t number = -1;
    for (int i = 0; i < b->m->num_devices; i++) {
        int64_t own = b->m->devices[i].numa;
        if (own < 0 || weft_sets_root(up, i) != root)
            continue;
        *is_unequal |= number >= 0 && own != number;
        number = number < 0 ? own : number;
    }
    return number;
}

/* A group that only NICs are in states no domain, and may be anywhere: it gets none here. */
static weft_status add_domains(struct builder *b)
{
    const struct weft_smi *m = b->m;
    bool is_unequal = false, is_guess = false;
    int64_t highest = -1;
    int *up = b->up[DOMAIN];
    for (int i = 0; i < m->num_devices; i++) {
        int64_t number = number_of_domain(b, up, weft_sets_root(up, i), &is_unequal);
        highest = number > highest ? number : highest;
        if (up[i] == i && number >= 0)
            WEFT_TRY(add_domain(b, i, number, true));
    }
    for (int i = 0; i < m->num_devices; i++) {
        bool has_gpu = false;
        for (int j = 0; j < m->num_devices; j++)
            has_gpu |= m->devices[j].is_gpu && weft_sets_root(up, j) == i;
        if (up[i] != i || b->node[DOMAIN][i] >= 0 || !has_gpu)
            continue;
        WEFT_TRY(add_domain(b, i, ++highest, false));
        is_guess = true;
    }
    if (is_unequal)
        WEFT_TRY(say(b, WEFT_REMARK_CONTRADICTION, -1,
                     "devices near each other state different NUMA domains: the first one's is "
                     "believed"));
    if (is_guess)
        WEFT_TRY(say(b, WEFT_REMARK_GUESS, -1,
                     "GPUs that state no NUMA domain are put into one by their processors and by "
                     "what is near them"));
    return WEFT_OK;
}

/* A host bridge, or where its domain is not known one joined to all of them. */
static weft_status add_root(struct builder *b, int device, int *node)
{
    struct weft_topology *t = b->m->topology;
    int numa = b->node[DOMAIN][weft_sets_root(b->up[DOMAIN], device)];
    WEFT_TRY(add_numbered(b, WEFT_NODE_PCIE_ROOT, numa >= 0 ? numa : b->host, node));
    if (numa >= 0)
        return join(b, WEFT_LINK_ROOT, numa, *node, 1);
    for (int i = 0, end = t->num_nodes; i < end; i++)
        if (t->nodes[i].kind == WEFT_NODE_NUMA)
            WEFT_TRY(join(b, WEFT_LINK_ROOT, i, *node, 1));
    return weft_topology_add_remark(t, WEFT_REMARK_HIDDEN, WEFT_SOURCE_FILE, *node, b->m->error,
                                    "the matrix does not say in which NUMA domain %s is",
                                    b->m->devices[device].label);
}

/* Whether the group of `device` at `level` joins several groups of the level below. */
static bool parts_ways(struct builder *b, enum level level, int device)
{
    int root = weft_sets_root(b->up[level], device), first = -1;
    for (int i = 0; i < b->m->num_devices; i++) {
        if (weft_sets_root(b->up[level], i) != root)
            continue;
        int below = level == SWITCH ? i : weft_sets_root(b->up[level - 1], i);
        if (first >= 0 && below != first)
            return true;
        first = below;
    }
    return false;
}

/* The node that `device` hangs on, made with all above it when it is the first there. */
static weft_status place_of(struct builder *b, int device, int *place)
{
    int *root = &b->node[BRIDGE][weft_sets_root(b->up[BRIDGE], device)];
    if (*root < 0)
        WEFT_TRY(add_root(b, device, root));
    *place = *root;
    for (int level = SWITCHES; level >= SWITCH; level--) {
        int *node = &b->node[level][weft_sets_root(b->up[level], device)];
        if (!parts_ways(b, (enum level)level, device))
            continue;
        if (*node < 0) {
            WEFT_TRY(add_numbered(b, WEFT_NODE_PCIE_SWITCH, *place, node));
            WEFT_TRY(join(b, WEFT_LINK_PCIE, *place, *node, 1));
        }
        *place = *node;
    }
    return WEFT_OK;
}

static weft_status add_device(struct builder *b, int index)
{
    struct weft_topology *t = b->m->topology;
    struct weft_smi_device *device = &b->m->devices[index];
    char word[80];
    int place;
    WEFT_TRY(place_of(b, index, &place));
    const char *name = device->name[0] ? device->name : device->label;
    if (device->is_gpu)
        snprintf(word, sizeof word, "gpu%lld", (long long)device->number);
    else
        snprintf(word, sizeof word, "%s", name);
    WEFT_TRY(add(b, device->is_gpu ? WEFT_NODE_GPU : WEFT_NODE_NIC, word, place, &device->node));
    // without a legend, NIC0 is only a number of this text
    if (!device->is_gpu && strncmp(name, "NIC", 3) != 0)
        WEFT_TRY(weft_topology_set_text(t, device->node, "rdma_device", name, WEFT_SOURCE_FILE,
                                        b->m->error));
    if (device->memory_numa >= 0)
        WEFT_TRY(set_number(b, device->node, "memory_numa", device->memory_numa));
    return join(b, WEFT_LINK_PCIE, place, device->node, 1);
}

/* ---- NVLink ---- */

/* NVLinks in the row of a GPU: their sum over all peers, and the most to one. */
static int links_of(const struct weft_smi *m, int gpu, int *most)
{
    int sum = 0;
    *most = 0;
    for (int i = 0; i < m->num_devices; i++) {
        struct weft_smi_cell cell = i == gpu ? (struct weft_smi_cell){0} : cell_of(m, gpu, i);
        if (cell.distance != WEFT_SMI_NVLINK)
            continue;
        sum += cell.links;
        *most = cell.links > *most ? cell.links : *most;
    }
    return sum;
}

/* More links than a GPU has can only be the same ones counted for each peer: there are switches
 * between. How many is not visible; one stands for all. */
static weft_status join_by_switch(struct builder *b)
{
    struct weft_smi *m = b->m;
    int node, most;
    WEFT_TRY(add_numbered(b, WEFT_NODE_NVSWITCH, b->host, &node));
    for (int i = 0; i < m->num_devices; i++)
        if (links_of(m, i, &most))
            WEFT_TRY(join(b, WEFT_LINK_NVLINK, m->devices[i].node, node, most));
    return weft_topology_add_remark(
        m->topology, WEFT_REMARK_GUESS, WEFT_SOURCE_FILE, node, m->error,
        "every GPU has NVLinks to more GPUs than it has links for (%d), so NVSwitches are between: "
        "how many is not visible, and one is taken",
        MAX_LINKS_OF_A_GPU);
}

static weft_status join_directly(struct builder *b)
{
    struct weft_smi *m = b->m;
    int pairs = 0, gpus = 0, most, links = 0;
    bool is_even = true;
    for (int i = 0; i < m->num_devices; i++) {
        gpus += links_of(m, i, &most) > 0;
        for (int j = 0; j < i; j++) {
            struct weft_smi_cell cell = cell_of(m, i, j);
            if (cell.distance != WEFT_SMI_NVLINK)
                continue;
            WEFT_TRY(join(b, WEFT_LINK_NVLINK, m->devices[j].node, m->devices[i].node, cell.links));
            is_even &= pairs == 0 || cell.links == links;
            links = cell.links;
            pairs++;
        }
    }
    if (gpus < 3 || !is_even || pairs != gpus * (gpus - 1) / 2)
        return WEFT_OK;
    return weft_topology_add_remark(
        m->topology, WEFT_REMARK_GUESS, WEFT_SOURCE_FILE, -1, m->error,
        "%d GPUs have %d NVLink%s to each other GPU: links from GPU to GPU are taken, but the "
        "matrix would look the same with an NVSwitch between",
        gpus, links, links > 1 ? "s" : "");
}

static weft_status join_gpus(struct builder *b)
{
    bool has_switch = false;
    int most;
    for (int i = 0; i < b->m->num_devices; i++)
        has_switch |= links_of(b->m, i, &most) > MAX_LINKS_OF_A_GPU;
    return has_switch ? join_by_switch(b) : join_directly(b);
}

/* ---- all ---- */

static weft_status build(struct builder *b)
{
    struct weft_smi *m = b->m;
    WEFT_TRY(weft_topology_add_node(m->topology, WEFT_NODE_HOST, "host", -1, &b->host, m->error));
    group(b);
    WEFT_TRY(add_domains(b));
    for (int i = 0; i < m->num_devices; i++)
        WEFT_TRY(add_device(b, i));
    WEFT_TRY(join_gpus(b));
    WEFT_TRY(say(b, WEFT_REMARK_GUESS, -1,
                 "PCIe switches and roots are inferred from how near devices are to each other; "
                 "NVLink hides that between GPUs, and no speed is known"));
    return remark_on_cells(b);
}

weft_status weft_smi_build(struct weft_smi *m)
{
    struct builder *b = calloc(1, sizeof *b);
    if (!b)
        return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "no memory");
    b->m = m;
    weft_status status = build(b);
    free(b);
    return status;
}
