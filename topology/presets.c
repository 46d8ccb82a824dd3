/*
 * SPDX-License-Identifier: Apache-2.0
 * The table of presets with the published figures of each box, and the builders of clusters whose
 * network is one switch. The figures are per direction: PCIe 4 and 5 of 16 lanes 31.5 and 63 GB/s,
 * an NVLink 3 or 4 link 25 GB/s, an NVLink 5 link 50 GB/s, an XGMI link of an MI250 50 GB/s.
 */
#include "topology/presets.h"

#include <string.h>

#include "topology/presets_private.h"

#define MB INT64_C(1000000)
#define GB INT64_C(1000000000)

/* What machines of PCIe 5 have in common: a switch for each GPU. */
#define PCIE_5                                                                                     \
    .packages = 2, .numa = 2, .gpus = 8, .pcie_switches = 8, .pcie = 63 * GB, .gpu_pcie = 63 * GB
#define DGX_PCIE_5 PCIE_5, .nics = 8, .nic_prefix = "mlx5_", .nic = 50 * GB, .nvlinks = 18

static const struct weft_preset_box dgx_a100 = {
    .product = "NVIDIA DGX A100",
    .gpu_model = "A100",
    .nic_prefix = "mlx5_",
    .packages = 2,
    .numa = 2,
    .gpus = 8,
    .nics = 8,
    .pcie_switches = 4,
    .pcie = 31500 * MB,
    .gpu_pcie = 31500 * MB,
    .nic = 25 * GB,
    .nvswitches = 6,
    .nvlinks = 12,
    .nvlink = 25 * GB,
};
static const struct weft_preset_box dgx_h100 = {
    .product = "NVIDIA DGX H100",
    .gpu_model = "H100",
    DGX_PCIE_5,
    .nvswitches = 4,
    .nvlink = 25 * GB,
};
static const struct weft_preset_box dgx_b200 = {
    .product = "NVIDIA DGX B200",
    .gpu_model = "B200",
    DGX_PCIE_5,
    .nvswitches = 2,
    .nvlink = 50 * GB,
};
static const struct weft_preset_box p5 = {
    .product = "AWS p5.48xlarge",
    .gpu_model = "H100",
    .nic_prefix = "efa_",
    PCIE_5,
    .nics = 32,
    .nic = 12500 * MB,
    .nvswitches = 4,
    .nvlinks = 18,
    .nvlink = 25 * GB,
};

/* Both dies of an OAM module have 4 links to each other; the rest is between modules. */
static const struct weft_preset_wire mi250_wires[] = {
    {0, 1, 4},   {2, 3, 4},   {4, 5, 4},  {6, 7, 4},   {8, 9, 4},  {10, 11, 4},
    {12, 13, 4}, {14, 15, 4}, {0, 4, 2},  {3, 7, 2},   {8, 12, 2}, {11, 15, 2},
    {0, 2, 1},   {1, 2, 1},   {1, 3, 1},  {1, 5, 1},   {2, 6, 1},  {4, 12, 1},
    {5, 13, 1},  {5, 14, 1},  {6, 13, 1}, {6, 14, 1},  {7, 15, 1}, {8, 10, 1},
    {9, 10, 1},  {9, 11, 1},  {9, 13, 1}, {10, 14, 1}, {0, 0, 0},
};
/* A die's own PCIe port has 8 lanes. */
static const struct weft_preset_box mi250 = {
    .product = "AMD MI250 server",
    .gpu_model = "MI250",
    .nic_prefix = "mlx5_",
    .packages = 2,
    .numa = 4,
    .gpus = 16,
    .nics = 8,
    .pcie_switches = 8,
    .pcie = 31500 * MB,
    .gpu_pcie = 15750 * MB,
    .nic = 25 * GB,
    .xgmi = mi250_wires,
    .xgmi_link = 50 * GB,
};

/* ---- boxes on one switch ---- */

static weft_status build_boxes(const struct weft_preset *preset, int count, struct weft_topology *t,
                               struct weft_error *error)
{
    const struct weft_preset_builder b = {t, error};
    int network, nics[WEFT_PRESET_MAX_NICS];
    WEFT_TRY(weft_preset_add(&b, WEFT_NODE_SWITCH, -1, &network, "network"));
    for (int i = 0; i < count; i++) {
        WEFT_TRY(weft_preset_add_box(&b, preset->box, i, nics));
        for (int j = 0; j < preset->box->nics; j++)
            WEFT_TRY(
                weft_preset_join(&b, WEFT_LINK_NETWORK, nics[j], network, 1, preset->box->nic));
    }
    return WEFT_OK;
}

/* ---- GB200 NVL72 ---- */

enum {
    RACK_TRAYS = 18,
    RACK_SWITCHES = 18, // 9 trays of 2; one of a GPU's 18 NVLinks goes to each
    TRAY_CPUS = 2,
    CPU_GPUS = 2,
    CPU_NICS = 2,
};

/* A Grace processor: one NUMA domain, and its two GPUs share 450 GB/s of C2C. */
static weft_status add_grace(const struct weft_preset_builder *b, int host, int index, int number,
                             int network, int first_switch, int *numa)
{
    int cpu, node, root;
    WEFT_TRY(weft_preset_add(b, WEFT_NODE_CPU, host, &cpu, "host%d/cpu%d", index, number));
    WEFT_TRY(weft_preset_add(b, WEFT_NODE_NUMA, cpu, numa, "host%d/numa%d", index, number));
    for (int i = number * CPU_GPUS; i < (number + 1) * CPU_GPUS; i++) {
        WEFT_TRY(weft_preset_add(b, WEFT_NODE_GPU, *numa, &node, "host%d/gpu%d", index, i));
        WEFT_TRY(weft_topology_set_text(b->topology, node, "model", "GB200", WEFT_SOURCE_FILE,
                                        b->error));
        WEFT_TRY(weft_preset_join(b, WEFT_LINK_C2C, *numa, node, 1, 225 * GB));
        for (int j = 0; j < RACK_SWITCHES; j++)
            WEFT_TRY(weft_preset_join(b, WEFT_LINK_NVLINK, node, first_switch + j, 1, 50 * GB));
    }
    for (int i = number * CPU_NICS; i < (number + 1) * CPU_NICS; i++) {
        WEFT_TRY(
            weft_preset_add(b, WEFT_NODE_PCIE_ROOT, *numa, &root, "host%d/pcie-root%d", index, i));
        WEFT_TRY(weft_preset_join(b, WEFT_LINK_ROOT, *numa, root, 1, -1));
        WEFT_TRY(weft_preset_add(b, WEFT_NODE_NIC, root, &node, "host%d/mlx5_%d", index, i));
        WEFT_TRY(weft_preset_join(b, WEFT_LINK_PCIE, root, node, 1, 63 * GB));
        WEFT_TRY(weft_preset_join(b, WEFT_LINK_NETWORK, node, network, 1, 50 * GB));
    }
    return WEFT_OK;
}

static weft_status build_nvl72(const struct weft_preset *preset, int count, struct weft_topology *t,
                               struct weft_error *error)
{
    (void)preset;
    const struct weft_preset_builder b = {t, error};
    int network, host, numa[TRAY_CPUS];
    WEFT_TRY(weft_preset_add(&b, WEFT_NODE_SWITCH, -1, &network, "network"));
    for (int rack = 0; rack < count; rack++) {
        int first_switch = t->num_nodes;
        for (int i = 0; i < RACK_SWITCHES; i++)
            WEFT_TRY(
                weft_preset_add(&b, WEFT_NODE_NVSWITCH, -1, NULL, "rack%d/nvswitch%d", rack, i));
        for (int index = rack * RACK_TRAYS; index < (rack + 1) * RACK_TRAYS; index++) {
            WEFT_TRY(weft_preset_add(&b, WEFT_NODE_HOST, -1, &host, "host%d", index));
            WEFT_TRY(weft_topology_set_text(t, host, "product", "NVIDIA GB200 NVL72 tray",
                                            WEFT_SOURCE_FILE, error));
            for (int i = 0; i < TRAY_CPUS; i++)
                WEFT_TRY(add_grace(&b, host, index, i, network, first_switch, &numa[i]));
            WEFT_TRY(weft_preset_join(&b, WEFT_LINK_SOCKET, numa[0], numa[1], 1, -1));
        }
    }
    return WEFT_OK;
}

/* ---- table ---- */

const struct weft_preset weft_presets[] = {
    {"dgx-a100", "hosts", 32768, 1, "DGX A100: 8 A100, 6 NVSwitches, 8 x 200 Gbit/s", &dgx_a100,
     build_boxes},
    {"dgx-h100", "hosts", 32768, 1, "DGX H100: 8 H100, 4 NVSwitches, 8 x 400 Gbit/s", &dgx_h100,
     build_boxes},
    {"dgx-b200", "hosts", 32768, 1, "DGX B200: 8 B200, 2 NVSwitches, 8 x 400 Gbit/s", &dgx_b200,
     build_boxes},
    {"superpod-h100", "hosts", 8192, 0,
     "DGX SuperPOD of DGX H100: units of 32 hosts, 8 rails, full bisection", &dgx_h100,
     weft_preset_superpod},
    {"superpod-b200", "hosts", 8192, 0,
     "DGX SuperPOD of DGX B200: units of 32 hosts, 8 rails, full bisection", &dgx_b200,
     weft_preset_superpod},
    {"gb200-nvl72", "racks", 1024, 1,
     "GB200 NVL72: 18 trays of 4 GPUs on 18 NVSwitches, 4 x 400 Gbit/s a tray", NULL, build_nvl72},
    {"p5", "hosts", 32768, 1, "AWS p5.48xlarge: 8 H100, 4 NVSwitches, 32 EFA x 100 Gbit/s", &p5,
     build_boxes},
    {"mi250", "hosts", 32768, 1, "8 MI250 (16 dies) joined by XGMI, 8 x 200 Gbit/s", &mi250,
     build_boxes},
    {NULL, NULL, 0, 0, NULL, NULL, NULL},
};

const struct weft_preset *weft_preset_find(const char *name)
{
    for (const struct weft_preset *preset = weft_presets; preset->name; preset++)
        if (strcmp(preset->name, name) == 0)
            return preset;
    return NULL;
}
