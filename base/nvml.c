/*
 * SPDX-License-Identifier: Apache-2.0
 * See nvml.h. The table of symbols, and loading them.
 */
#include "base/nvml.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static_assert(sizeof(struct weft_nvml_pci) == 68, "layout of the library");
static_assert(sizeof(struct weft_nvml_field) == 40, "layout of the library");
static_assert(sizeof(struct weft_nvml_fabric) == (WEFT_NVML_FABRIC_VERSION_3 & 0xffffff),
              "layout of the library");
static_assert(offsetof(struct weft_nvml_fabric, health_summary) ==
                  (WEFT_NVML_FABRIC_VERSION_2 & 0xffffff),
              "layout of the library");
static_assert(sizeof(struct weft_nvml_fabric_unversioned) == 28, "layout of the library");

static const struct {
    const char *symbol;
    size_t slot;
    bool is_required;
} symbols[] = {
    {"nvmlInit_v2", offsetof(struct weft_nvml, init), true},
    {"nvmlShutdown", offsetof(struct weft_nvml, shutdown), true},
    {"nvmlDeviceGetCount_v2", offsetof(struct weft_nvml, device_count), true},
    {"nvmlDeviceGetHandleByIndex_v2", offsetof(struct weft_nvml, device_by_index), true},
    {"nvmlDeviceGetPciInfo_v3", offsetof(struct weft_nvml, device_pci), true},
    {"nvmlSystemGetDriverVersion", offsetof(struct weft_nvml, driver_version), false},
    {"nvmlDeviceGetName", offsetof(struct weft_nvml, device_name), false},
    {"nvmlDeviceGetUUID", offsetof(struct weft_nvml, device_uuid), false},
    {"nvmlDeviceGetMemoryInfo", offsetof(struct weft_nvml, device_memory), false},
    {"nvmlDeviceGetPowerUsage", offsetof(struct weft_nvml, power_usage), false},
    {"nvmlDeviceGetEnforcedPowerLimit", offsetof(struct weft_nvml, power_limit), false},
    {"nvmlDeviceGetPowerManagementDefaultLimit", offsetof(struct weft_nvml, power_default_limit),
     false},
    {"nvmlDeviceGetTotalEnergyConsumption", offsetof(struct weft_nvml, total_energy), false},
    {"nvmlDeviceGetMaxPcieLinkGeneration", offsetof(struct weft_nvml, pcie_generation_max), false},
    {"nvmlDeviceGetCurrPcieLinkGeneration", offsetof(struct weft_nvml, pcie_generation), false},
    {"nvmlDeviceGetMaxPcieLinkWidth", offsetof(struct weft_nvml, pcie_width_max), false},
    {"nvmlDeviceGetCurrPcieLinkWidth", offsetof(struct weft_nvml, pcie_width), false},
    {"nvmlDeviceGetNvLinkState", offsetof(struct weft_nvml, nvlink_state), false},
    {"nvmlDeviceGetNvLinkVersion", offsetof(struct weft_nvml, nvlink_version), false},
    {"nvmlDeviceGetNvLinkRemotePciInfo_v2", offsetof(struct weft_nvml, nvlink_remote_pci), false},
    {"nvmlDeviceGetNvLinkRemoteDeviceType", offsetof(struct weft_nvml, nvlink_remote_type), false},
    {"nvmlDeviceGetFieldValues", offsetof(struct weft_nvml, field_values), false},
    {"nvmlDeviceGetMigMode", offsetof(struct weft_nvml, mig_mode), false},
    {"nvmlDeviceGetMaxMigDeviceCount", offsetof(struct weft_nvml, mig_max), false},
    {"nvmlDeviceGetMigDeviceHandleByIndex", offsetof(struct weft_nvml, mig_by_index), false},
    {"nvmlDeviceGetGpuFabricInfoV", offsetof(struct weft_nvml, fabric), false},
    {"nvmlDeviceGetGpuFabricInfo", offsetof(struct weft_nvml, fabric_unversioned), false},
};

weft_status weft_nvml_open(const char *file, struct weft_nvml *nvml, struct weft_error *error)
{
    struct weft_nvml made = {0};
    made.library = dlopen(file ? file : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!made.library)
        return weft_fail(error, WEFT_UNSUPPORTED,
                         "NVIDIA's management library (libnvidia-ml.so.1) is not installed");
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *function = dlsym(made.library, symbols[i].symbol);
        if (!function && symbols[i].is_required) {
            dlclose(made.library);
            return weft_fail(error, WEFT_UNSUPPORTED,
                             "NVIDIA's management library is too old: it has no %s",
                             symbols[i].symbol);
        }
        memcpy((char *)&made + symbols[i].slot, &function, sizeof function);
    }
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
