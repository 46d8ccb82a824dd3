/*
 * SPDX-License-Identifier: Apache-2.0
 * How bytes are put on a link: for each kind of link a few protocols, the quick ones with flags
 * among the data, the wide ones with fewer of them. Each is a line: so long before the first byte
 * arrives, beyond what the wire takes, and so much of the wire's bandwidth. And how fast the memory
 * of a GPU is, which decides what combining costs.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_PROTOCOLS_H
#define WEFT_COLLECTIVES_PLANNER_PROTOCOLS_H

#include "collectives/planner/curve.h"

/* Between GPUs, by a way whose slowest part is a link of `link_kind` (WEFT_LINK_PCIE for several),
 * `latency_ps` long and `ps_per_mib` wide. */
struct weft_curve weft_protocols_curve(int link_kind, int64_t latency_ps, int64_t ps_per_mib);
/* Bytes per second of the memory of a GPU of that model; NULL or not known: of a modest one. */
int64_t weft_protocols_memory(const char *model);

#endif
