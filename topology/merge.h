/*
 * SPDX-License-Identifier: Apache-2.0
 * From the graphs of single hosts, each with what it saw of the fabric, to the one graph of the
 * cluster. The result depends on the set of graphs only, not on their order or on how often one
 * comes, so every rank that merges the same graphs gets the same graph. Pure: reads no machine.
 *
 * What is one:
 *   hosts      the same "process.host_id"; without it, the same content. A host that only a fabric
 *              named (nothing but NICs below it) is the host whose NIC has its GUID, else the only
 *              one with its name.
 *   NICs       the same node_guid, else port_guid, else the same name on the same host
 *   switches   the same node_guid, else the same name; aggregators too
 *   the rest   the same name on the same host
 * A GUID that one graph gives to two nodes says nothing and is not used. Machines that share a name
 * get a suffix made of their identity. GPUs of several hosts with one nvlink_domain hang on one
 * NVSwitch of the rack.
 */
#ifndef WEFT_TOPOLOGY_MERGE_H
#define WEFT_TOPOLOGY_MERGE_H

#include "topology/graph.h"

/* The graphs have passed weft_topology_check; they are only read. *merged has passed it too, and is
 * in canonical order. Errors: INVALID_ARGUMENT (no graph, too many nodes), INVALID_FORMAT (what
 * contains what differs so that it makes a circle), OUT_OF_MEMORY. */
weft_status weft_topology_merge(const struct weft_topology *const *graphs, int num_graphs,
                                struct weft_topology **merged, struct weft_error *error);

#endif
