/*
 * SPDX-License-Identifier: Apache-2.0
 * A shared library with NVML's symbols and one GPU, whose every number is another one: what is
 * loaded by name must land in the right place of the table.
 */
#include <stdio.h>

#include "base/nvml.h"

int nvmlInit_v2(void)
{
    return 0;
}

int nvmlShutdown(void)
{
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = 1;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
    static int gpu;
    *device = &gpu;
    return (int)index;
}

int nvmlDeviceGetPciInfo_v3(void *device, struct weft_nvml_pci *pci)
{
    (void)device;
    *pci = (struct weft_nvml_pci){.domain = 2, .bus = 0x3b, .device = 1};
    snprintf(pci->address, sizeof pci->address, "00000002:3B:01.4");
    return 0;
}

int nvmlSystemGetDriverVersion(char *text, unsigned bytes)
{
    snprintf(text, bytes, "stub driver");
    return 0;
}

int nvmlDeviceGetName(void *device, char *text, unsigned bytes)
{
    (void)device;
    snprintf(text, bytes, "stub name");
    return 0;
}

int nvmlDeviceGetUUID(void *device, char *text, unsigned bytes)
{
    (void)device;
    snprintf(text, bytes, "stub uuid");
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *device, struct weft_nvml_memory *memory)
{
    (void)device;
    memory->total = 1001;
    return 0;
}

#define NUMBER(function, type, number)                                                             \
    int function(void *device, type *value)                                                        \
    {                                                                                              \
        (void)device;                                                                              \
        *value = number;                                                                           \
        return 0;                                                                                  \
    }
NUMBER(nvmlDeviceGetPowerUsage, unsigned, 1002)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, 1003)
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, 1004)
NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, 1005)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, 5)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, 3)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, unsigned, 16)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, unsigned, 8)
NUMBER(nvmlDeviceGetMaxMigDeviceCount, unsigned, 7)

int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending)
{
    (void)device;
    *current = 0;
    *pending = 1;
    return 0;
}
