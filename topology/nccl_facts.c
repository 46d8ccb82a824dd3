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

const char *const weft_nccl_hidden_address = "fffffff:ff:ff.0";

/* Rates of one lane. Kernels print "8 GT/s", "8.0 GT/s" or "8.0 GT/s PCIe" by version. Payload:
 * 8b/10b coding up to 5 GT/s, 128b/130b up to 32, 242 of 256 bytes of a flit from 64 on. */
static const struct {
    const char *number, *spelling;
    int64_t lane; // bytes per second
} rates[] = {
    {"2.5", "2.5 GT/s PCIe", INT64_C(250000000)},
    {"5", "5.0 GT/s PCIe", INT64_C(500000000)},
    {"8", "8.0 GT/s PCIe", INT64_C(8000000000) * 128 / 130 / 8},
    {"16", "16.0 GT/s PCIe", INT64_C(16000000000) * 128 / 130 / 8},
    {"32", "32.0 GT/s PCIe", INT64_C(32000000000) * 128 / 130 / 8},
    {"64", "64.0 GT/s PCIe", INT64_C(64000000000) * 242 / 256 / 8},
};
enum { NUM_RATES = sizeof rates / sizeof rates[0], MAX_WIDTH = 32 };

static int64_t lanes_bandwidth(int rate, int64_t width)
{
    // six digits of GB/s, as hwloc prints it, so that both say the same of one link
    return (rates[rate].lane * width + 500) / 1000 * 1000;
}

int64_t weft_nccl_pcie_bandwidth(const char *link_speed, int64_t link_width)
{
    if (!link_speed || link_width < 1 || link_width > MAX_WIDTH)
        return -1;
    link_speed += strspn(link_speed, " ");
    size_t digits = strspn(link_speed, "0123456789."), significant = digits;
    const char *unit = link_speed + digits;
    unit += strspn(unit, " ");
    if (strncmp(unit, "GT/s", 4) != 0)
        return -1;
    if (memchr(link_speed, '.', digits)) // 16.0 is 16
        while (significant > 0 && strchr("0.", link_speed[significant - 1]))
            if (link_speed[--significant] == '.')
                break;
    for (int i = 0; i < NUM_RATES; i++)
        if (strlen(rates[i].number) == significant &&
            memcmp(rates[i].number, link_speed, significant) == 0)
            return lanes_bandwidth(i, link_width);
    return -1;
}

void weft_nccl_pcie_spelling(int64_t bandwidth, const char **link_speed, int *link_width)
{
    *link_speed = "";
    *link_width = 0;
    for (int width = 16; bandwidth > 0 && width >= 1; width /= 2)
        for (int i = 0; i < NUM_RATES; i++) {
            double share = (double)bandwidth / (double)lanes_bandwidth(i, width);
            if (share < 0.98 || share > 1.02)
                continue;
            *link_speed = rates[i].spelling;
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
