/*
 * SPDX-License-Identifier: Apache-2.0
 * How NCCL's topology XML spells things; see nccl_xml.h. Facts only: nothing here knows a graph
 * beyond its kinds.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/nccl_xml.h"
#include "topology/pcie.h"

const char *const weft_nccl_hidden_address = "fffffff:ff:ff.0";

/* As kernels print them now. */
static const char *const speeds[] = {"2.5 GT/s PCIe",  "5.0 GT/s PCIe",  "8.0 GT/s PCIe",
                                     "16.0 GT/s PCIe", "32.0 GT/s PCIe", "64.0 GT/s PCIe"};

void weft_nccl_pcie_spelling(int64_t bandwidth, const char **link_speed, int *link_width)
{
    *link_speed = "";
    *link_width = 0;
    for (int width = 16; bandwidth > 0 && width >= 1; width /= 2)
        for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++) {
            double share = (double)bandwidth / (double)weft_pcie_bandwidth(speeds[i], width);
            if (share < 0.98 || share > 1.02)
                continue;
            *link_speed = speeds[i];
            *link_width = width;
            return;
        }
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool weft_nccl_is_switch_class(const char *pci_class)
{
    return starts_with(pci_class, "0680") && !weft_nccl_is_cpu_class(pci_class);
}

bool weft_nccl_is_cpu_class(const char *pci_class)
{
    return strcmp(pci_class, "068001") == 0;
}

int weft_nccl_kind_of_class(const char *pci_class)
{
    if (starts_with(pci_class, "0604"))
        return WEFT_NODE_PCIE_SWITCH;
    // NCCL takes every display controller for a GPU; RCCL processing accelerators too
    if (starts_with(pci_class, "03") || starts_with(pci_class, "1200"))
        return WEFT_NODE_GPU;
    if (weft_nccl_is_switch_class(pci_class))
        return WEFT_NODE_NVSWITCH;
    if (starts_with(pci_class, "02") || starts_with(pci_class, "0c06"))
        return WEFT_NODE_NIC;
    return WEFT_NODE_DEVICE;
}

bool weft_nccl_is_hidden(const char *address)
{
    return starts_with(address, "fffffff");
}

int64_t weft_nccl_nvlink_bandwidth(int64_t sm)
{
    if (sm >= 60 && sm < 70)
        return INT64_C(20000000000);
    // 86 and 89 are cards with bridges of other rates
    if ((sm >= 70 && sm <= 80) || (sm >= 90 && sm < 100))
        return INT64_C(25000000000);
    return sm >= 100 && sm < 110 ? INT64_C(50000000000) : -1;
}

bool weft_nccl_turn_guid(const char *text, char *guid)
{
    if (starts_with(text, "0x"))
        text += 2;
    size_t digits = strspn(text, "0123456789abcdefABCDEF");
    if (digits < 1 || digits > 16 || text[digits])
        return false;
    uint64_t number = strtoull(text, NULL, 16), turned = 0;
    for (int i = 0; i < 8; i++)
        turned = turned << 8 | (number >> (8 * i) & 0xff);
    snprintf(guid, 17, "%016" PRIx64, turned);
    return number != 0;
}
