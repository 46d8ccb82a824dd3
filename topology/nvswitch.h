/*
 * SPDX-License-Identifier: Apache-2.0
 * NVSwitches of one host that no source joins: what the probes and importers that see NVLink share.
 */
#ifndef WEFT_TOPOLOGY_NVSWITCH_H
#define WEFT_TOPOLOGY_NVSWITCH_H

#include "topology/graph.h"

/* Drivers tell the links of a GPU, not those between two NVSwitches, so a machine of two boards
 * (DGX-2) falls apart into sets that cannot reach each other. Where NVSwitches of one host lie in
 * several NVLink components that each hold GPUs, every two sets are joined: switch by switch, each
 * trunk as many links wide as the switch has towards GPUs, so that it never looks narrower than
 * what it joins (a DGX-2 has exactly those 8). Trunks are of source `assumed`, with a GUESS remark
 * of `source`. Without such sets nothing changes, so a second call changes nothing either. Errors:
 * OUT_OF_MEMORY. */
weft_status weft_topology_join_nvswitches(struct weft_topology *topology, enum weft_source source,
                                          struct weft_error *error);

#endif
