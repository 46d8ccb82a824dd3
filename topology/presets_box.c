/*
 * SPDX-License-Identifier: Apache-2.0
 * Adding one box of a preset: packages and NUMA domains, one PCIe root with one switch below it as
 * often as the box says, GPUs and NICs dealt over those, NVSwitches or XGMI between the GPUs.
 */
#include <stdarg.h>
#include <stdio.h>

#include "topology/presets_private.h"

weft_status weft_preset_add(const struct weft_preset_builder *b, int kind, int parent, int *node,
                            const char *format, ...)
{
    char name[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return weft_topology_add_node(b->topology, kind, name, parent, node, b->error);
}

weft_status weft_preset_join(const struct weft_preset_builder *b, int kind, int from, int to,
                             int count, int64_t bandwidth)
{
    struct weft_link link = weft_link_make(kind, from, to);
    link.count = count;
    if (bandwidth >= 0)
        link.bandwidth.nominal = (struct weft_quantity){count * bandwidth, WEFT_SOURCE_FILE};
    return weft_topology_add_link(b->topology, &link, NULL, b->error);
}

weft_status weft_preset_cable(const struct weft_preset_builder *b, int from, int from_port, int to,
                              int to_port, int64_t bandwidth)
{
    struct weft_link link = weft_link_make(WEFT_LINK_NETWORK, from, to);
    link.from_port = from_port;
    link.to_port = to_port;
    link.bandwidth.nominal = (struct weft_quantity){bandwidth, WEFT_SOURCE_FILE};
    return weft_topology_add_link(b->topology, &link, NULL, b->error);
}

static weft_status add_processors(const struct weft_preset_builder *b,
                                  const struct weft_preset_box *box, int index, int host,
                                  int *first_numa)
{
    int package = -1, node;
    for (int i = 0; i < box->numa; i++) {
        int per_package = box->numa / box->packages;
        if (i % per_package == 0)
            WEFT_TRY(weft_preset_add(b, WEFT_NODE_CPU, host, &package, "host%d/cpu%d", index,
                                     i / per_package));
        WEFT_TRY(weft_preset_add(b, WEFT_NODE_NUMA, package, &node, "host%d/numa%d", index, i));
        *first_numa = i == 0 ? node : *first_numa;
        // NUMA domains were not added in a row, but each only one package apart from the last
        for (int j = 0, other = *first_numa; j < i; j++) {
            WEFT_TRY(weft_preset_join(b, WEFT_LINK_SOCKET, other, node, 1, -1));
            other += (j + 1) % per_package == 0 ? 2 : 1;
        }
    }
    return WEFT_OK;
}

static weft_status add_devices(const struct weft_preset_builder *b,
                               const struct weft_preset_box *box, int index, int pcie_switch,
                               int number, int *gpus, int *nics)
{
    int gpus_here = box->gpus / box->pcie_switches, nics_here = box->nics / box->pcie_switches;
    for (int i = number * gpus_here; i < (number + 1) * gpus_here; i++) {
        WEFT_TRY(
            weft_preset_add(b, WEFT_NODE_GPU, pcie_switch, &gpus[i], "host%d/gpu%d", index, i));
        WEFT_TRY(weft_topology_set_text(b->topology, gpus[i], "model", box->gpu_model,
                                        WEFT_SOURCE_FILE, b->error));
        WEFT_TRY(weft_preset_join(b, WEFT_LINK_PCIE, pcie_switch, gpus[i], 1, box->gpu_pcie));
    }
    for (int i = number * nics_here; i < (number + 1) * nics_here; i++) {
        WEFT_TRY(weft_preset_add(b, WEFT_NODE_NIC, pcie_switch, &nics[i], "host%d/%s%d", index,
                                 box->nic_prefix, i));
        WEFT_TRY(weft_preset_join(b, WEFT_LINK_PCIE, pcie_switch, nics[i], 1, box->pcie));
    }
    return WEFT_OK;
}

/* A GPU's NVLinks are dealt over the NVSwitches one by one: 18 over 4 gives 5, 5, 4 and 4. */
static weft_status join_gpus(const struct weft_preset_builder *b, const struct weft_preset_box *box,
                             int index, int host, const int *gpus)
{
    for (int i = 0; i < box->nvswitches; i++) {
        int node, links = (box->nvlinks + box->nvswitches - 1 - i) / box->nvswitches;
        WEFT_TRY(
            weft_preset_add(b, WEFT_NODE_NVSWITCH, host, &node, "host%d/nvswitch%d", index, i));
        for (int j = 0; j < box->gpus; j++)
            WEFT_TRY(weft_preset_join(b, WEFT_LINK_NVLINK, gpus[j], node, links, box->nvlink));
    }
    for (const struct weft_preset_wire *wire = box->xgmi; wire && wire->links; wire++)
        WEFT_TRY(weft_preset_join(b, WEFT_LINK_XGMI, gpus[wire->a], gpus[wire->b], wire->links,
                                  box->xgmi_link));
    return WEFT_OK;
}

weft_status weft_preset_add_box(const struct weft_preset_builder *b,
                                const struct weft_preset_box *box, int index,
                                int nics[WEFT_PRESET_MAX_NICS])
{
    int host, first_numa = -1, gpus[WEFT_PRESET_MAX_NICS];
    WEFT_TRY(weft_preset_add(b, WEFT_NODE_HOST, -1, &host, "host%d", index));
    WEFT_TRY(weft_topology_set_text(b->topology, host, "product", box->product, WEFT_SOURCE_FILE,
                                    b->error));
    WEFT_TRY(add_processors(b, box, index, host, &first_numa));
    for (int i = 0; i < box->pcie_switches; i++) {
        int domain = i * box->numa / box->pcie_switches, root, pcie_switch;
        int numa = first_numa + domain + domain / (box->numa / box->packages);
        WEFT_TRY(
            weft_preset_add(b, WEFT_NODE_PCIE_ROOT, numa, &root, "host%d/pcie-root%d", index, i));
        WEFT_TRY(weft_preset_join(b, WEFT_LINK_ROOT, numa, root, 1, -1));
        WEFT_TRY(weft_preset_add(b, WEFT_NODE_PCIE_SWITCH, root, &pcie_switch,
                                 "host%d/pcie-switch%d", index, i));
        WEFT_TRY(weft_preset_join(b, WEFT_LINK_PCIE, root, pcie_switch, 1, box->pcie));
        WEFT_TRY(add_devices(b, box, index, pcie_switch, i, gpus, nics));
    }
    return join_gpus(b, box, index, host, gpus);
}
