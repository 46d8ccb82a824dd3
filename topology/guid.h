/*
 * SPDX-License-Identifier: Apache-2.0
 * GUIDs of InfiniBand devices, which everybody spells otherwise. In a graph they are 16 hexadecimal
 * digits in lower case, so that equal ones are equal as text.
 */
#ifndef WEFT_TOPOLOGY_GUID_H
#define WEFT_TOPOLOGY_GUID_H

#include "topology/graph.h"

/* With or without "0x" and colons; 0: no GUID. */
uint64_t weft_guid_read(const char *text);

/* As weft_topology_learn_text; 0 changes nothing, and another spelling is no contradiction. */
weft_status weft_topology_learn_guid(struct weft_topology *topology, int node, const char *key,
                                     uint64_t guid, enum weft_source source,
                                     struct weft_error *error);

#endif
