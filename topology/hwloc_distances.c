/*
 * SPDX-License-Identifier: Apache-2.0
 * hwloc's matrices between devices: NVLink and XGMI. Entries are in MB/s per direction; those of
 * one pair of nodes (a GPU is there as several OS devices, a switch may be there port by port) add
 * up to one link, whose `count` is what the GPU's generation gives for that many.
 *
 * Known to be wrong in the wild: NVLink 3 and 4 counted twice by some versions of hwloc, which
 * shows where a GPU would have more than it has links for; and XGMIBandwidth, which some drivers
 * fill with one figure for all pairs, so it is never taken as capacity.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/hwloc_import.h"
#include "topology/nvswitch.h"

enum {
    MAX_OBJECTS = 1024,        // of a matrix
    MAX_MEGABYTES = 100000000, // per second; more is no link
    DEFAULT_MEGABYTES = 25000, // of one NVLink where the GPU is not known
};

/* A matrix over nodes instead of hwloc's objects. */
struct matrix {
    int nodes[MAX_OBJECTS];
    int num_nodes;
    int64_t *values; // num_nodes x num_nodes, MB/s or hops; 0: nothing
};

/* NVLinks of data-centre GPUs: how fast one is, how many a GPU has. */
static const struct nvlink_generation {
    unsigned first, last; // PCI device ids
    int megabytes, links;
} generations[] = {
    {0x15f0, 0x15ff, 20000, 4},  // P100
    {0x1db0, 0x1dbf, 25000, 6},  // V100
    {0x1df0, 0x1dff, 25000, 6},  // V100S and PG503
    {0x20b0, 0x20ff, 25000, 12}, // A100, A800, A30
    {0x2300, 0x237f, 25000, 18}, // H100, H200, GH200
    {0x2900, 0x29ff, 50000, 18}, // B100, B200, GB200
    {0x3180, 0x31ff, 50000, 18}, // B300, GB300
};

static const struct nvlink_generation *generation_of(const struct weft_topology *t, int node)
{
    const char *id = weft_topology_text(t, node, "pci_id");
    if (!id || strncmp(id, "10de:", 5) != 0)
        return NULL;
    unsigned device = (unsigned)strtoul(id + 5, NULL, 16);
    for (size_t i = 0; i < sizeof generations / sizeof generations[0]; i++)
        if (device >= generations[i].first && device <= generations[i].last)
            return &generations[i];
    return NULL;
}

/* ---- reading ---- */

/* The node at an end of a matrix entry. A package stands for its memory. */
static int end_node(struct hwloc_import *im, hwloc_obj_t object)
{
    int node = object ? weft_hwloc_node(object) : -1;
    const struct weft_topology *t = im->topology;
    if (node < 0 || t->nodes[node].kind != WEFT_NODE_CPU)
        return node;
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_NUMA && t->nodes[i].parent == node)
            return i;
    return node;
}

/* Where each object of the matrix went: an index into matrix->nodes, -1 for nowhere. */
static void list_nodes(struct hwloc_import *im, struct hwloc_distances_s *from,
                       struct matrix *matrix, int *place)
{
    for (unsigned i = 0; i < from->nbobjs; i++) {
        int node = end_node(im, from->objs[i]), at = 0;
        while (at < matrix->num_nodes && matrix->nodes[at] != node)
            at++;
        place[i] = node < 0 ? -1 : at;
        if (node >= 0 && at == matrix->num_nodes)
            matrix->nodes[matrix->num_nodes++] = node;
    }
}

/* The larger of both directions; entries of one pair add up when `adds_up`, else the first stays.
 */
static void fill(struct hwloc_distances_s *from, struct matrix *matrix, const int *place,
                 bool adds_up)
{
    unsigned n = from->nbobjs;
    size_t m = (size_t)matrix->num_nodes;
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = i + 1; j < n; j++) {
            uint64_t there = from->values[(size_t)i * n + j],
                     back = from->values[(size_t)j * n + i];
            uint64_t value = there > back ? there : back;
            if (place[i] < 0 || place[j] < 0 || place[i] == place[j] || value > MAX_MEGABYTES)
                continue;
            size_t a = (size_t)(place[i] < place[j] ? place[i] : place[j]);
            size_t b = (size_t)(place[i] < place[j] ? place[j] : place[i]);
            int64_t *sum = &matrix->values[a * m + b];
            if (adds_up || *sum == 0)
                *sum += (int64_t)value;
        }
}

/* Reads hwloc's matrix of that name; num_nodes is 0 where there is none. */
static weft_status read_matrix(struct hwloc_import *im, const char *name, bool adds_up,
                               struct matrix *matrix)
{
    unsigned found = 1;
    struct hwloc_distances_s *from = NULL;
    *matrix = (struct matrix){.values = NULL};
    if (hwloc_distances_get_by_name(im->hwloc, name, &found, &from, 0) != 0 || found == 0)
        return WEFT_OK;
    weft_status status = WEFT_OK;
    int place[MAX_OBJECTS];
    if (from->nbobjs > MAX_OBJECTS) {
        status = weft_fail(im->error, WEFT_INVALID_FORMAT, "hwloc: %s of more than %d objects",
                           name, MAX_OBJECTS);
    } else {
        list_nodes(im, from, matrix, place);
        size_t m = (size_t)matrix->num_nodes;
        matrix->values = calloc(m * m + 1, sizeof *matrix->values);
        if (matrix->values)
            fill(from, matrix, place, adds_up);
        else
            status = weft_fail(im->error, WEFT_OUT_OF_MEMORY, "hwloc: no memory");
    }
    hwloc_distances_release(im->hwloc, from);
    return status;
}

static int64_t value_at(const struct matrix *matrix, int i, int j)
{
    return matrix
        ->values[(size_t)(i < j ? i : j) * (size_t)matrix->num_nodes + (size_t)(i < j ? j : i)];
}

/* ---- NVLink ---- */

/* 2 where a GPU would have more than its links carry, and exactly half fits; else 1. */
static weft_status find_divisor(struct hwloc_import *im, const struct matrix *matrix, int *divisor)
{
    *divisor = 1;
    for (int i = 0; i < matrix->num_nodes; i++) {
        const struct nvlink_generation *gpu = generation_of(im->topology, matrix->nodes[i]);
        int64_t sum = 0, limit = gpu ? (int64_t)gpu->megabytes * gpu->links : 0;
        for (int j = 0; j < matrix->num_nodes; j++)
            sum += j == i ? 0 : value_at(matrix, i, j);
        if (!gpu || sum <= limit)
            continue;
        *divisor = sum <= 2 * limit ? 2 : 1;
        return weft_topology_add_remark(
            im->topology, WEFT_REMARK_CONTRADICTION, WEFT_SOURCE_HWLOC, matrix->nodes[i], im->error,
            "NVLinkBandwidth adds up to %lld MB/s, but its %d NVLinks carry %lld; %s",
            (long long)sum, gpu->links, (long long)limit,
            *divisor == 2 ? "all entries were halved (some versions of hwloc count both directions)"
                          : "the entries were kept");
    }
    return WEFT_OK;
}

static weft_status join_nvlinks(struct hwloc_import *im, const struct matrix *matrix)
{
    int divisor;
    WEFT_TRY(find_divisor(im, matrix, &divisor));
    for (int i = 0; i < matrix->num_nodes; i++)
        for (int j = i + 1; j < matrix->num_nodes; j++) {
            int64_t megabytes = value_at(matrix, i, j) / divisor;
            const struct nvlink_generation *gpu = generation_of(im->topology, matrix->nodes[i]);
            if (!gpu)
                gpu = generation_of(im->topology, matrix->nodes[j]);
            int64_t one = gpu ? gpu->megabytes : DEFAULT_MEGABYTES;
            if (megabytes <= 0 || megabytes > MAX_MEGABYTES)
                continue;
            struct weft_link link =
                weft_link_make(WEFT_LINK_NVLINK, matrix->nodes[i], matrix->nodes[j]);
            link.count = (int)((megabytes + one / 2) / one);
            link.count = link.count > 0 ? link.count : 1;
            link.bandwidth.current = (struct weft_quantity){megabytes * 1000000, WEFT_SOURCE_HWLOC};
            WEFT_TRY(weft_topology_add_link(im->topology, &link, NULL, im->error));
        }
    return weft_topology_join_nvswitches(im->topology, WEFT_SOURCE_HWLOC, im->error);
}

/* ---- XGMI ---- */

/* Direct links are pairs one hop apart; without hops, those that have a bandwidth. What one carries
 * is left to measurement. */
static weft_status join_xgmi(struct hwloc_import *im, const struct matrix *hops,
                             const struct matrix *bandwidth)
{
    const struct matrix *matrix = hops->num_nodes ? hops : bandwidth;
    int64_t least = INT64_MAX, most = 0;
    int links = 0;
    for (int i = 0; i < matrix->num_nodes; i++)
        for (int j = i + 1; j < matrix->num_nodes; j++) {
            int64_t value = value_at(matrix, i, j);
            if (hops->num_nodes ? value != 1 : value <= 0)
                continue;
            struct weft_link link =
                weft_link_make(WEFT_LINK_XGMI, matrix->nodes[i], matrix->nodes[j]);
            WEFT_TRY(weft_topology_add_link(im->topology, &link, NULL, im->error));
            links++;
        }
    for (int i = 0; i < bandwidth->num_nodes; i++)
        for (int j = i + 1; j < bandwidth->num_nodes; j++) {
            int64_t value = value_at(bandwidth, i, j);
            least = value > 0 && value < least ? value : least;
            most = value > most ? value : most;
        }
    if (links && !hops->num_nodes)
        WEFT_TRY(weft_topology_add_remark(im->topology, WEFT_REMARK_GUESS, WEFT_SOURCE_HWLOC,
                                          im->host, im->error,
                                          "no XGMIHops: each of the %d pairs with an "
                                          "XGMIBandwidth is taken for a direct link",
                                          links));
    if (most == 0)
        return WEFT_OK;
    return weft_topology_add_remark(
        im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_HWLOC, im->host, im->error,
        "XGMIBandwidth (%lld to %lld MB/s) is not taken for capacity: drivers are known to give "
        "one figure for all pairs; what an XGMI link carries is unknown until measured",
        (long long)least, (long long)most);
}

weft_status weft_hwloc_import_distances(struct hwloc_import *im)
{
    struct matrix nvlink = {.values = NULL}, hops = {.values = NULL}, bandwidth = {.values = NULL};
    weft_status status = read_matrix(im, "NVLinkBandwidth", true, &nvlink);
    if (status == WEFT_OK)
        status = read_matrix(im, "XGMIHops", false, &hops);
    if (status == WEFT_OK)
        status = read_matrix(im, "XGMIBandwidth", true, &bandwidth);
    if (status == WEFT_OK)
        status = join_nvlinks(im, &nvlink);
    if (status == WEFT_OK)
        status = join_xgmi(im, &hops, &bandwidth);
    free(nvlink.values);
    free(hops.values);
    free(bandwidth.values);
    return status;
}
