/*
 * SPDX-License-Identifier: Apache-2.0
 * See protocols.h. The lines are those that NCCL's tuning model has for one hop of a ring, less the
 * latency that this project takes for the wires of such a hop; memory is what vendors publish.
 */
#include "collectives/planner/protocols.h"

#include <stddef.h>
#include <string.h>

#include "topology/graph.h"

enum { num_protocols = 3 }; // flags in every word, flags in every 128 bytes, none

struct protocol {
    int64_t fixed_ps;
    int share_percent; // of the bandwidth
};

#define US INT64_C(1000000)

static const struct protocol nvlink[num_protocols] = {
    {US / 5, 33}, {3 * US / 2, 92}, {3 * US, 100}};
static const struct protocol pcie[num_protocols] = {
    {2 * US / 5, 33}, {19 * US / 10, 92}, {51 * US / 10, 100}};
static const struct protocol network[num_protocols] = {
    {US / 10, 25}, {7 * US / 5, 92}, {57 * US / 5, 100}};

static const struct protocol *const protocols[WEFT_NUM_LINK_KINDS] = {
    [WEFT_LINK_MEMORY] = pcie, [WEFT_LINK_SOCKET] = pcie,     [WEFT_LINK_ROOT] = pcie,
    [WEFT_LINK_PCIE] = pcie,   [WEFT_LINK_NVLINK] = nvlink,   [WEFT_LINK_XGMI] = nvlink,
    [WEFT_LINK_C2C] = nvlink,  [WEFT_LINK_NETWORK] = network,
};

struct weft_curve weft_protocols_curve(int link_kind, int64_t latency_ps, int64_t ps_per_mib)
{
    struct weft_curve curve = {.num_lines = num_protocols};
    for (int i = 0; i < num_protocols; i++) {
        const struct protocol *protocol = &protocols[link_kind][i];
        __int128 slope =
            ((__int128)ps_per_mib * 100 + protocol->share_percent - 1) / protocol->share_percent;
        curve.lines[i] = (struct weft_line){protocol->fixed_ps + latency_ps, (int64_t)slope};
    }
    return curve;
}

struct memory {
    const char *model; // part of the name
    int64_t gigabytes_per_s;
};

int64_t weft_protocols_memory(const char *model)
{
    static const struct memory memories[] = {
        {"GB200", 8000}, {"B200", 8000},  {"B300", 8000},  {"H200", 4800},  {"GH200", 4000},
        {"H100", 3350},  {"H800", 3350},  {"H20", 4000},   {"A100", 1555},  {"A800", 1555},
        {"V100", 900},   {"P100", 732},   {"L40", 864},    {"MI355", 8000}, {"MI300", 5300},
        {"MI250", 1638}, {"MI210", 1638}, {"MI100", 1228},
    };
    int64_t found = 600;
    for (size_t i = 0; model && i < sizeof memories / sizeof *memories; i++)
        if (strstr(model, memories[i].model)) {
            found = memories[i].gigabytes_per_s;
            break;
        }
    return found * 1000000000;
}
