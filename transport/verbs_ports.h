/*
 * SPDX-License-Identifier: Apache-2.0
 * The RDMA ports this process may use: all active ports of all devices, less what WEFT_IB_HCA
 * leaves out, nearest to this process's cores first, then by name. Each knows the one GID and the
 * one partition it uses. Those that WEFT_IB_HCA names are all as good as near.
 *
 * WEFT_IB_HCA: names separated by commas. A name means all devices that begin with it, "=" in front
 * of the list only those of exactly these names, "^" in front all but these ("^=" for both); ":1"
 * behind a name, that port only.
 */
#ifndef WEFT_TRANSPORT_VERBS_PORTS_H
#define WEFT_TRANSPORT_VERBS_PORTS_H

#include <sched.h>

#include "base/verbs_gids.h"
#include "transport/verbs_options.h"
#include "transport/verbs_place.h"

enum {
    WEFT_VERBS_MAX_PORTS = 8,  // that are used
    WEFT_VERBS_NAME_BYTES = 64 // of a device
};

/* An opened device. */
struct weft_verbs_device {
    char name[WEFT_VERBS_NAME_BYTES];
    struct ibv_context *context;
    struct ibv_device_attr attributes;
    int distance; // as NUMA distances: 10 is the nearest; or what is known from elsewhere
};

struct weft_verbs_port {
    int device;                      // index in weft_verbs_ports.devices
    uint8_t port;                    // number, from 1
    bool is_near;                    // as near as the first port
    struct ibv_port_attr attributes; // link layer never unspecified
    int64_t rate_mbps;               // as the port says
    int64_t measured_mbps;           // what it is worth beside the other ports; 0: not measured
    struct weft_gid gid;             // the chosen one
    int prefix_bits;                 // of all 128, that name the address' subnet
    uint16_t pkey;                   // the chosen one, with its membership bit (0x8000)
    uint16_t pkey_index;
};

struct weft_verbs_ports {
    const struct weft_verbs *verbs;
    struct weft_verbs_options options;                      // its strings and `known` are NULL
    int pkey;                                               // the wanted one; -1: the default
    struct weft_verbs_device devices[WEFT_VERBS_MAX_PORTS]; // those with a port below
    struct weft_verbs_port ports[WEFT_VERBS_MAX_PORTS];
    int num_devices, num_ports;
};

/* Opens devices and fills *ports, which keeps `verbs`. `root`: the folder that holds sys ("/", or a
 * made-up tree). `cores`: where this process runs; NULL: as the system says. Close with
 * weft_verbs_ports_close. Errors, *ports then being empty: UNSUPPORTED (no device, or none with an
 * active port, with what was found), INVALID_ARGUMENT (an option asks for what is not there, with
 * what is), SYSTEM. May block as long as a device's firmware does. */
weft_status weft_verbs_ports_find(const struct weft_verbs *verbs,
                                  const struct weft_verbs_options *options, const char *root,
                                  const cpu_set_t *cores, struct weft_verbs_ports *ports,
                                  struct weft_error *error);
/* Closes the devices; what was made on them must be gone. Empties *ports; empty is allowed. */
void weft_verbs_ports_close(struct weft_verbs_ports *ports);

/* Reads a port again, after an event (up, down, GID change). Errors, the port then being as it was:
 * UNSUPPORTED (not active, or its address is gone, with the reason), SYSTEM. *has_moved: its GID or
 * LID is another one than before, so that peers must be told before it is used. */
weft_status weft_verbs_port_renew(struct weft_verbs_ports *ports, int port, const char *root,
                                  bool *has_moved, struct weft_error *error);

/* "mlx5_0:1", for sentences. */
const char *weft_verbs_port_name(const struct weft_verbs_ports *ports, int port, char *text,
                                 size_t size);

#endif
