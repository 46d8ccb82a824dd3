/*
 * SPDX-License-Identifier: Apache-2.0
 * What the two halves of the fabric builder share: fabric.c gathers and joins cables,
 * fabric_nodes.c makes nodes of devices.
 */
#ifndef WEFT_TOPOLOGY_FABRIC_PRIVATE_H
#define WEFT_TOPOLOGY_FABRIC_PRIVATE_H

#include "topology/fabric.h"

struct fabric_device {
    char *id;
    char *description, *model; // NULL: not stated
    struct weft_fabric_device about;
    int num_stated;   // ports that something was stated about, by this device
    int node;         // in the graph
    char *host, *nic; // parts of the description; NULL: it names no host
};

struct weft_fabric {
    enum weft_source source;
    bool is_mutual;
    struct fabric_device *devices;
    int num_devices, room_devices;
    struct weft_fabric_port *ports;
    int num_ports, room_ports;
    int *slots; // device by hash of its id, -1: none; a power of two, at most half full
    size_t num_slots;
};

/* Makes or finds a node for every device. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY. */
weft_status weft_fabric_add_nodes(struct weft_fabric *fabric, struct weft_topology *topology,
                                  struct weft_error *error);

#endif
