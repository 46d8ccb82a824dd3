/*
 * SPDX-License-Identifier: Apache-2.0
 * Network interfaces as the operating system lists them, and what of them goes into the graph. Two
 * readers fill the same table: one asks the kernel (the interfaces of one's own network namespace),
 * one reads a copied sysfs.
 */
#ifndef WEFT_TOPOLOGY_ETHERNET_H
#define WEFT_TOPOLOGY_ETHERNET_H

#include "topology/graph.h"

enum {
    WEFT_INTERFACE_NAME_BYTES = 16, // IFNAMSIZ
    WEFT_INTERFACE_ADDRESSES_BYTES = 160,
    WEFT_MAX_INTERFACES = 4096,
};

struct weft_interface {
    char name[WEFT_INTERFACE_NAME_BYTES];
    char kind[WEFT_INTERFACE_NAME_BYTES];  // "veth", "bond", "vlan", ...; "": a device's own
    char state[WEFT_INTERFACE_NAME_BYTES]; // "up", "down", "dormant", ...
    char mac[64];
    char ipv4[WEFT_INTERFACE_ADDRESSES_BYTES]; // "10.0.0.1/24 10.0.1.1/24", no link-local ones
    char ipv6[WEFT_INTERFACE_ADDRESSES_BYTES];
    int index;
    int master; // index of the bond or bridge that it is part of; 0: none
    int lower;  // index of what a VLAN or the like lies on; 0: none
    int64_t mtu;
    int64_t rate_mbps;      // as the driver says; -1: it does not
    int duplex;             // 1 full, 0 half, -1 not known
    int bond_mode;          // of a bond, as the kernel numbers them; -1: no bond, or not known
    bool is_inactive_slave; // part of a bond, but not used by it now
    bool is_loopback;
};

/* The kernel's modes of bonds that are not a sum. */
enum { WEFT_BOND_ACTIVE_BACKUP = 1, WEFT_BOND_BROADCAST = 3 };

/* What a bond carries: the sum over its active slaves, of one of them for active-backup, the least
 * for broadcast. Its own figure where a slave's is unknown; -1: nobody knows. */
int64_t weft_bond_rate_mbps(const struct weft_interface *all, int count, int bond);

/* NIC nodes that have one of these as `interface` learn its facts. Of the others those become nodes
 * that traffic of this host can use: bonds, and interfaces that are up and have an address (a
 * container's veth). The rest is counted on the host. Without a host node nothing happens. Errors:
 * OUT_OF_MEMORY. */
weft_status weft_ethernet_add(struct weft_topology *topology, const struct weft_interface *all,
                              int count, enum weft_source source, struct weft_error *error);

/* weft_ethernet_add with what a copied sysfs says (no addresses there). A tree without interfaces
 * changes nothing. Errors: NOT_FOUND (no such root), SYSTEM, OUT_OF_MEMORY. */
weft_status weft_ethernet_read_sysfs(struct weft_topology *topology, const char *root,
                                     struct weft_error *error);

#endif
