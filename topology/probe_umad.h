/*
 * SPDX-License-Identifier: Apache-2.0
 * The subnet probe over any function tables, so that tests can script a subnet or a silence.
 */
#ifndef WEFT_TOPOLOGY_PROBE_UMAD_H
#define WEFT_TOPOLOGY_PROBE_UMAD_H

#include "topology/graph.h"

struct weft_umad;
struct weft_ibnetdisc;

/* Looks at the subnets of all ports of this machine for `allowed_ns` at most; then TIMEOUT, and a
 * thread that still waits for answers ends by itself. Functions of *ibnetdisc are called from that
 * thread. Errors: NOT_FOUND (no port has a link), SYSTEM, TIMEOUT, OUT_OF_MEMORY. */
weft_status weft_probe_umad_with(const struct weft_umad *umad,
                                 const struct weft_ibnetdisc *ibnetdisc, int64_t allowed_ns,
                                 struct weft_topology *topology, struct weft_error *error);

#endif
