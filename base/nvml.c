/*
 * SPDX-License-Identifier: Apache-2.0
 * See nvml.h. The table of symbols, and loading them.
 */
#include "base/nvml.h"

#include <assert.h>
#include <dlfcn.h>
#include <stddef.h>

#include "base/symbols.h"

static_assert(sizeof(struct weft_nvml_pci) == 68, "layout of the library");
static_assert(sizeof(struct weft_nvml_field) == 40, "layout of the library");
static_assert(sizeof(struct weft_nvml_fabric) == (WEFT_NVML_FABRIC_VERSION_3 & 0xffffff),
              "layout of the library");
static_assert(offsetof(struct weft_nvml_fabric, health_summary) ==
                  (WEFT_NVML_FABRIC_VERSION_2 & 0xffffff),
              "layout of the library");
static_assert(sizeof(struct weft_nvml_fabric_unversioned) == 28, "layout of the library");

static const struct weft_symbol symbols[] = {
    {"nvmlInit_v2", offsetof(struct weft_nvml, init)},
    {"nvmlShutdown", offsetof(struct weft_nvml, shutdown)},
    {"nvmlDeviceGetCount_v2", offsetof(struct weft_nvml, device_count)},
    {"nvmlDeviceGetHandleByIndex_v2", offsetof(struct weft_nvml, device_by_index)},
    {"nvmlDeviceGetPciInfo_v3", offsetof(struct weft_nvml, device_pci)},
    // optional
    {"nvmlSystemGetDriverVersion", offsetof(struct weft_nvml, driver_version)},
    {"nvmlDeviceGetName", offsetof(struct weft_nvml, device_name)},
    {"nvmlDeviceGetUUID", offsetof(struct weft_nvml, device_uuid)},
    {"nvmlDeviceGetMemoryInfo", offsetof(struct weft_nvml, device_memory)},
    {"nvmlDeviceGetPowerUsage", offsetof(struct weft_nvml, power_usage)},
    {"nvmlDeviceGetEnforcedPowerLimit", offsetof(struct weft_nvml, power_limit)},
    {"nvmlDeviceGetPowerManagementDefaultLimit", offsetof(struct weft_nvml, power_default_limit)},
    {"nvmlDeviceGetTotalEnergyConsumption", offsetof(struct weft_nvml, total_energy)},
    {"nvmlDeviceGetMaxPcieLinkGeneration", offsetof(struct weft_nvml, pcie_generation_max)},
    {"nvmlDeviceGetCurrPcieLinkGeneration", offsetof(struct weft_nvml, pcie_generation)},
    {"nvmlDeviceGetMaxPcieLinkWidth", offsetof(struct weft_nvml, pcie_width_max)},
    {"nvmlDeviceGetCurrPcieLinkWidth", offsetof(struct weft_nvml, pcie_width)},
    {"nvmlDeviceGetNvLinkState", offsetof(struct weft_nvml, nvlink_state)},
    {"nvmlDeviceGetNvLinkVersion", offsetof(struct weft_nvml, nvlink_version)},
    {"nvmlDeviceGetNvLinkRemotePciInfo_v2", offsetof(struct weft_nvml, nvlink_remote_pci)},
    {"nvmlDeviceGetNvLinkRemoteDeviceType", offsetof(struct weft_nvml, nvlink_remote_type)},
    {"nvmlDeviceGetFieldValues", offsetof(struct weft_nvml, field_values)},
    {"nvmlDeviceGetMigMode", offsetof(struct weft_nvml, mig_mode)},
    {"nvmlDeviceGetMaxMigDeviceCount", offsetof(struct weft_nvml, mig_max)},
    {"nvmlDeviceGetMigDeviceHandleByIndex", offsetof(struct weft_nvml, mig_by_index)},
    {"nvmlDeviceGetGpuFabricInfoV", offsetof(struct weft_nvml, fabric)},
    {"nvmlDeviceGetGpuFabricInfo", offsetof(struct weft_nvml, fabric_unversioned)},
};

enum { NUM_REQUIRED = 5, NUM_SYMBOLS = sizeof symbols / sizeof symbols[0] };
static const struct weft_library library = {"libnvidia-ml.so.1", "NVIDIA's management library",
                                            symbols, NUM_SYMBOLS, NUM_REQUIRED};

weft_status weft_nvml_open(const char *file, struct weft_nvml *nvml, struct weft_error *error)
{
    struct weft_nvml made = {0};
    WEFT_TRY(weft_symbols_load(&library, file, &made, &made.library, error));
    *nvml = made;
    return WEFT_OK;
}

void weft_nvml_close(struct weft_nvml *nvml)
{
    if (nvml->library)
        dlclose(nvml->library);
    *nvml = (struct weft_nvml){0};
}

const char *weft_nvml_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {WEFT_NVML_OK, "success"},
        {WEFT_NVML_INVALID_ARGUMENT, "invalid argument"},
        {WEFT_NVML_NOT_SUPPORTED, "not supported"},
        {WEFT_NVML_NO_PERMISSION, "no permission"},
        {WEFT_NVML_NOT_FOUND, "not found"},
        {WEFT_NVML_DRIVER_NOT_LOADED, "the driver is not loaded"},
        {WEFT_NVML_TIMEOUT, "the driver timed out"},
        {WEFT_NVML_GPU_IS_LOST, "the GPU is lost (it fell off the bus)"},
        {WEFT_NVML_RESET_REQUIRED, "the GPU needs a reset"},
        {WEFT_NVML_VERSION_MISMATCH, "library and driver are of different versions"},
        {WEFT_NVML_ARGUMENT_VERSION_MISMATCH, "another version of the interface"},
        {WEFT_NVML_GPU_NOT_FOUND, "no GPU found"},
        {WEFT_NVML_UNKNOWN, "Unknown Error"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "an unknown status";
}
