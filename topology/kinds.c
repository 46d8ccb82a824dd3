/*
 * SPDX-License-Identifier: Apache-2.0
 * The tables behind graph.h: node kinds, link kinds with what is assumed of them, sources.
 */
#include <string.h>

#include "topology/graph.h"

const struct weft_node_kind weft_node_kinds[WEFT_NUM_NODE_KINDS] = {
#define NODE_KIND_ROW(id, name, singular, plural, ranks, is_switch, forwards)                      \
    {name, singular, plural, ranks, is_switch, forwards},
    WEFT_NODE_KIND_MAP(NODE_KIND_ROW)
#undef NODE_KIND_ROW
};

const char *const weft_source_names[WEFT_NUM_SOURCES] = {
#define SOURCE_ROW(id, name) name,
    WEFT_SOURCE_MAP(SOURCE_ROW)
#undef SOURCE_ROW
};

const char *const weft_remark_names[WEFT_NUM_REMARK_KINDS] = {
#define REMARK_ROW(id, name) name,
    WEFT_REMARK_MAP(REMARK_ROW)
#undef REMARK_ROW
};

#define GB INT64_C(1000000000)
#define NS INT64_C(1000)

/* Where the assumptions come from (calibration replaces them by measurements):
 * memory: one core keeps about 12 cache lines of 64 bytes in flight (x86 line-fill buffers) to DRAM
 *   of about 80 ns, so 64 * 12 / 80 ns = 9.6 GB/s, taken as 10; two cores that meet in memory pay
 *   the latency once each way, so 80 ns per link.
 * socket: one UPI link of 10.4 GT/s carries 2 bytes per transfer, 20.8 GB/s; a remote load takes
 *   about 60 ns longer than a local one.
 * root: as wide as a PCIe 6 port of 16 lanes, 128 GB/s, so that the joint never looks narrower than
 *   what is plugged into it.
 * pcie: generation 3, 16 lanes (8 GT/s, 128b/130b): 15.75 GB/s. DMA reads commonly take 0.5 to 1 us
 *   for the round trip between device and memory, so about 400 ns each way: 100 in the root.
 * nvlink: one NVLink 2 to 4 link, 25 GB/s per direction; loads and stores skip the PCIe protocol
 * and the root complex, so half to two thirds of PCIe's latency. xgmi: the same, 50 GB/s a link.
 * c2c: Grace Hopper's datasheet, 450 GB/s per direction; on one board, nearer still.
 * network: 100 Gbit/s; about 1 us between a NIC and the first switch, cable and NIC included. */
const struct weft_link_kind weft_link_kinds[WEFT_NUM_LINK_KINDS] = {
    [WEFT_LINK_MEMORY] = {"memory", 10 * GB, 80 * NS},
    [WEFT_LINK_SOCKET] = {"socket", 20800 * GB / 1000, 60 * NS},
    [WEFT_LINK_ROOT] = {"root", 128 * GB, 100 * NS},
    [WEFT_LINK_PCIE] = {"pcie", 15750 * GB / 1000, 300 * NS},
    [WEFT_LINK_NVLINK] = {"nvlink", 25 * GB, 200 * NS},
    [WEFT_LINK_XGMI] = {"xgmi", 50 * GB, 200 * NS},
    [WEFT_LINK_C2C] = {"c2c", 450 * GB, 150 * NS},
    [WEFT_LINK_NETWORK] = {"network", 12500 * GB / 1000, 1000 * NS},
};

int weft_node_kind_from_name(const char *name)
{
    for (int i = 0; i < WEFT_NUM_NODE_KINDS; i++)
        if (strcmp(weft_node_kinds[i].name, name) == 0)
            return i;
    return -1;
}

int weft_link_kind_from_name(const char *name)
{
    for (int i = 0; i < WEFT_NUM_LINK_KINDS; i++)
        if (strcmp(weft_link_kinds[i].name, name) == 0)
            return i;
    return -1;
}

int weft_source_from_name(const char *name)
{
    for (int i = 0; i < WEFT_NUM_SOURCES; i++)
        if (strcmp(weft_source_names[i], name) == 0)
            return i;
    return -1;
}

int weft_remark_kind_from_name(const char *name)
{
    for (int i = 0; i < WEFT_NUM_REMARK_KINDS; i++)
        if (strcmp(weft_remark_names[i], name) == 0)
            return i;
    return -1;
}

static bool is_known(const struct weft_quantity *quantity)
{
    return quantity->value >= 0;
}

struct weft_quantity weft_figure_best(const struct weft_figure *figure)
{
    const struct weft_quantity *forms[] = {&figure->measured, &figure->current, &figure->nominal};
    for (int assumed = 0; assumed < 2; assumed++)
        for (int i = 0; i < 3; i++)
            if (is_known(forms[i]) && (forms[i]->source == WEFT_SOURCE_ASSUMED) == assumed)
                return *forms[i];
    return WEFT_QUANTITY_UNKNOWN;
}

struct weft_quantity weft_link_bandwidth(const struct weft_link *link)
{
    struct weft_quantity best = weft_figure_best(&link->bandwidth);
    if (is_known(&best))
        return best;
    int64_t one = weft_link_kinds[link->kind].assumed_bandwidth;
    return (struct weft_quantity){one * link->count, WEFT_SOURCE_ASSUMED};
}

struct weft_quantity weft_link_latency(const struct weft_link *link)
{
    struct weft_quantity best = weft_figure_best(&link->latency);
    if (is_known(&best))
        return best;
    return (struct weft_quantity){weft_link_kinds[link->kind].assumed_latency_ps,
                                  WEFT_SOURCE_ASSUMED};
}
