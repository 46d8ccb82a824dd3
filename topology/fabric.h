/*
 * SPDX-License-Identifier: Apache-2.0
 * Building the graph of an InfiniBand fabric from statements: devices, and what each port of theirs
 * is cabled to. Sources say a cable twice, once from either side; the builder makes one link of it,
 * and a remark where the sides disagree or one is silent. Names, hosts and tiers are then decided
 * with everything in sight, the same way for files and for the live subnet.
 */
#ifndef WEFT_TOPOLOGY_FABRIC_H
#define WEFT_TOPOLOGY_FABRIC_H

#include "topology/graph.h"
#include "topology/lines.h"

enum { WEFT_FABRIC_MAX_PORT = 255 };

enum weft_fabric_role {
    WEFT_FABRIC_UNDECLARED, // somebody's peer, but described nowhere
    WEFT_FABRIC_SWITCH,
    WEFT_FABRIC_ADAPTER,
    WEFT_FABRIC_ROUTER,
};

/* 0, NULL and -1 mean: not stated. */
struct weft_fabric_device {
    enum weft_fabric_role role;
    struct weft_span description; // the node description
    struct weft_span model;
    uint64_t node_guid, system_guid;
    int num_ports;
    int lid;
    int64_t vendor_id, device_id;
    int enhanced_port0; // 1 or 0
};

/* What one side says about a cable. */
struct weft_fabric_port {
    int device, port;
    int peer, peer_port; // peer -1: no cable, only guid and lid are stated
    uint64_t guid;
    int lid;
    int64_t current, nominal; // bytes per second
};

struct weft_fabric;

/* `is_mutual`: this source says each cable from both sides, so that a silent side is remarkable. */
weft_status weft_fabric_create(enum weft_source source, bool is_mutual, struct weft_fabric **fabric,
                               struct weft_error *error);
/* NULL and pointer to NULL are allowed; clears *fabric. */
void weft_fabric_destroy(struct weft_fabric **fabric);
/* The number of the device that the source calls `id`, a new one where it is new. */
weft_status weft_fabric_refer(struct weft_fabric *fabric, struct weft_span id, int *device,
                              struct weft_error *error);
/* Describes a device that was at most referred to so far; spans are copied. INVALID_FORMAT: it is
 * described already. */
weft_status weft_fabric_declare(struct weft_fabric *fabric, int device,
                                const struct weft_fabric_device *about, struct weft_error *error);
bool weft_fabric_is_declared(const struct weft_fabric *fabric, int device);
struct weft_fabric_device weft_fabric_device_make(enum weft_fabric_role role);
struct weft_fabric_port weft_fabric_port_make(int device, int port);
/* INVALID_FORMAT: no such port. */
weft_status weft_fabric_state(struct weft_fabric *fabric, const struct weft_fabric_port *port,
                              struct weft_error *error);
/* Adds all to the graph and finds the tiers. NICs and switches that are there already, by GUID,
 * stay the nodes they are and learn what is new. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY. */
weft_status weft_fabric_finish(struct weft_fabric *fabric, struct weft_topology *topology,
                               struct weft_error *error);

/* Payload of one lane, bytes per second and direction, by the name of its signalling rate ("NDR");
 * -1: no such name. */
int64_t weft_fabric_lane_bandwidth(struct weft_span rate);
/* The same for "4xNDR"; -1: not understood. */
int64_t weft_fabric_bandwidth(struct weft_span width_and_rate);

#endif
