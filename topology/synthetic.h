/*
 * SPDX-License-Identifier: Apache-2.0
 * Topologies from one line of text: "KIND:COUNT[@RATE] ...", separated by spaces, each kind once.
 *
 *   host:4 nvswitch:1 gpu:8 nic:8@400      host:2 numa:2 core:8
 *
 * host counts the hosts; every other count is *per host*, dealt evenly and in order over what holds
 * it (8 cores over 2 NUMA domains: 4 and 4). A host always has one package and one NUMA domain at
 * least. @RATE is the nominal speed of the links that join such a node:
 *
 *   cpu       packages                              no rate
 *   numa      NUMA domains                          GB/s between two of them
 *   core      cores                                 GB/s between core and memory
 *   pcie      PCIe switches                         GB/s up to the NUMA domain
 *   gpu       GPUs, below the PCIe switches         GB/s of its PCIe link
 *   nvswitch  NVSwitches, each joined to each GPU   GB/s of one GPU to one switch
 *   nic       NICs, below the PCIe switches         Gbit/s of its port (network speeds are in bits)
 *
 * A string may instead be one preset, "NAME" or "NAME:COUNT" (presets.h): dgx-h100,
 * superpod-h100:2048, gb200-nvl72:2.
 *
 * Without a rate the link's kind decides (see weft_link_kinds). The NICs of all hosts join one
 * switch "network". Rates may have a decimal point.
 */
#ifndef WEFT_TOPOLOGY_SYNTHETIC_H
#define WEFT_TOPOLOGY_SYNTHETIC_H

#include "topology/graph.h"

/* *topology is in canonical order. Errors: INVALID_FORMAT with column and reason, OUT_OF_MEMORY. */
weft_status weft_topology_from_synthetic(const char *text, struct weft_topology **topology,
                                         struct weft_error *error);

#endif
