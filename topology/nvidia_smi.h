/*
 * SPDX-License-Identifier: Apache-2.0
 * The matrix of `nvidia-smi topo -m`, between its reader and what rebuilds the machine from it.
 * Private to topology/.
 */
#ifndef WEFT_TOPOLOGY_NVIDIA_SMI_H
#define WEFT_TOPOLOGY_NVIDIA_SMI_H

#include "topology/graph.h"

enum { WEFT_SMI_MAX_DEVICES = 256 };

/* From near to far. */
enum weft_smi_distance {
    WEFT_SMI_SELF,
    WEFT_SMI_PIX,     // one PCIe switch at most
    WEFT_SMI_PXB,     // several PCIe switches
    WEFT_SMI_PHB,     // a host bridge
    WEFT_SMI_NODE,    // several host bridges of a NUMA domain
    WEFT_SMI_SYS,     // NUMA domains
    WEFT_SMI_NVLINK,  // which hides the way over PCIe
    WEFT_SMI_UNKNOWN, // the driver could not say
};

struct weft_smi_cell {
    enum weft_smi_distance distance;
    int links; // NVLinks
};

struct weft_smi_device {
    char label[24]; // "GPU0", "NIC3", "mlx5_0"
    char name[64];  // of a NIC, from the legend; "": none
    bool is_gpu;
    int64_t number; // of a GPU
    char affinity[64];
    int64_t threads, first_thread; // threads 0: not known
    int64_t numa, memory_numa;     // -1: not known
    int node;
};

struct weft_smi {
    struct weft_topology *topology;
    struct weft_error *error;
    struct weft_smi_device devices[WEFT_SMI_MAX_DEVICES];
    int num_devices;
    struct weft_smi_cell *cells; // (num_devices, num_devices), row by row
    bool has_numa;               // the text has a column of NUMA domains
    int head_line;
};

/* Fills the graph. Errors: of the graph's functions. */
weft_status weft_smi_build(struct weft_smi *matrix);

#endif
