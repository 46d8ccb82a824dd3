/*
 * SPDX-License-Identifier: Apache-2.0
 * What the builders of presets share: the shape of one box, and adding such a box to a graph.
 */
#ifndef WEFT_TOPOLOGY_PRESETS_PRIVATE_H
#define WEFT_TOPOLOGY_PRESETS_PRIVATE_H

#include "topology/presets.h"

enum { WEFT_PRESET_MAX_NICS = 32 };

struct weft_preset_wire {
    int a, b;  // GPUs
    int links; // 0 ends a list
};

/* Bandwidths are bytes per second and direction, of one link. Devices are dealt evenly and in
 * order: PCIe switches over packages, GPUs and NICs over PCIe switches. */
struct weft_preset_box {
    const char *product;
    const char *gpu_model;
    const char *nic_prefix; // "mlx5_"
    int packages, numa;
    int gpus, nics, pcie_switches;
    int64_t pcie;     // of 16 lanes: up from a switch, and to a NIC
    int64_t gpu_pcie; // of a GPU's own port
    int64_t nic;      // of a NIC's network port
    int nvswitches, nvlinks;
    int64_t nvlink;
    const struct weft_preset_wire *xgmi; // NULL: none
    int64_t xgmi_link;
};

struct weft_preset_builder {
    struct weft_topology *topology;
    struct weft_error *error;
};

/* A node with a name made by `format`. */
weft_status weft_preset_add(const struct weft_preset_builder *builder, int kind, int parent,
                            int *node, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* `bandwidth` is of one of the `count` links; -1: not published. */
weft_status weft_preset_join(const struct weft_preset_builder *builder, int kind, int from, int to,
                             int count, int64_t bandwidth);
/* A cable of the network, with its ports. */
weft_status weft_preset_cable(const struct weft_preset_builder *builder, int from, int from_port,
                              int to, int to_port, int64_t bandwidth);
/* Host `index` of this kind; its NICs, not yet cabled, go to `nics`. */
weft_status weft_preset_add_box(const struct weft_preset_builder *builder,
                                const struct weft_preset_box *box, int index,
                                int nics[WEFT_PRESET_MAX_NICS]);

/* presets_fabric.c */
weft_status weft_preset_superpod(const struct weft_preset *preset, int count,
                                 struct weft_topology *topology, struct weft_error *error);

#endif
