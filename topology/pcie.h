/*
 * SPDX-License-Identifier: Apache-2.0
 * PCI Express in numbers: what people and kernels write ("8 GT/s", "16.0 GT/s PCIe", "Gen4", "x16")
 * as payload bandwidth, and what sysfs tells about the links of a graph's devices.
 */
#ifndef WEFT_TOPOLOGY_PCIE_H
#define WEFT_TOPOLOGY_PCIE_H

#include "base/sysfs.h"
#include "topology/graph.h"

/* Transfers per second and lane, in millions: "8 GT/s" and "Gen3" are 8000. A number without unit
 * is taken as GT/s. -1: says nothing ("", "Unknown"), or PCI Express has no such rate. */
int64_t weft_pcie_rate(const char *speed);
int64_t weft_pcie_rate_of_generation(int64_t generation);
/* Lanes of "16" or "x16"; -1: says nothing ("0", "255", ""). */
int64_t weft_pcie_lanes(const char *width);
/* Payload of `lanes` lanes at that rate in bytes per second and direction, in whole kilobytes as
 * hwloc prints it: 15.753846 GB/s for 8000 and 16. -1: one of them is unknown. */
int64_t weft_pcie_payload(int64_t rate, int64_t lanes);
/* All in one: speed as for weft_pcie_rate, lanes as a number. */
int64_t weft_pcie_bandwidth(const char *speed, int64_t lanes);

/* Completes the PCIe links of all nodes with a pci_address from the sysfs tree at `root` ("/sys",
 * or the sys folder of a copied tree): nominal is what both ends can do, current what they run at,
 * of the narrowest link on the way up to the parent. Adds pcie_lanes, pcie_lanes_max,
 * virtual_function_of, iommu_group, iommu and acs to the nodes. What sysfs does not show stays as
 * it was, with one HIDDEN remark. Errors: NOT_FOUND (no such root), SYSTEM, OUT_OF_MEMORY. */
weft_status weft_pcie_read_sysfs(struct weft_topology *topology, const char *root,
                                 struct weft_error *error);

/* Whether the bridge at `address` sends what devices below it say to each other up to the root
 * complex (ACS): 1, 0, or -1 where its configuration cannot be read in full (it takes root).
 * `prefix`: from the root of `files` to sysfs, "" or "sys/". */
int weft_pcie_redirects(const struct weft_sysfs *files, const char *prefix, const char *address);

#endif
