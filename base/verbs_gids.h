/*
 * SPDX-License-Identifier: Apache-2.0
 * The GID table of a port: which addresses it has, and what kind each is. The kind decides how
 * packets are wrapped, so two ends must use the same one.
 */
#ifndef WEFT_BASE_VERBS_GIDS_H
#define WEFT_BASE_VERBS_GIDS_H

#include <stdbool.h>

#include "base/sysfs.h"
#include "base/verbs.h"

enum weft_gid_kind {
    WEFT_GID_INFINIBAND,
    WEFT_GID_ROCE_V1,      // Ethernet frames that no router forwards
    WEFT_GID_ROCE_V2,      // UDP
    WEFT_GID_ROCE_UNKNOWN, // RoCE, and nobody says which version
};

enum weft_gid_scope {
    WEFT_GID_IPV4, // ::ffff:a.b.c.d
    WEFT_GID_IPV6_GLOBAL,
    WEFT_GID_LINK_LOCAL, // fe80::/10; on InfiniBand the default subnet prefix
};

enum {
    WEFT_GID_TEXT_BYTES = 40,
    WEFT_MAX_GIDS = 256,           // of one port, that are looked at
    WEFT_GID_IPV4_PREFIX_BITS = 96 // ahead of an IPv4 address
};

/* A partition key: which partition, and whether as a full member. */
enum { WEFT_PKEY_FULL = 0x8000, WEFT_PKEY_BASE = 0x7fff /* also the default partition */ };

struct weft_gid {
    unsigned char raw[16];
    int index; // in the port's table
    enum weft_gid_kind kind;
    char interface[16]; // "": none is told
};

/* The entries of a port that hold an address, in order of index; at most `room` are written, and
 * WEFT_MAX_GIDS indices looked at. Kinds and interfaces are those of the library where it tells
 * them, else those of sysfs. Returns how many. May block as long as the firmware does. */
int weft_verbs_gids(const struct weft_verbs *verbs, const struct weft_sysfs *files,
                    struct ibv_context *context, const char *device, uint8_t port,
                    const struct ibv_port_attr *attributes, struct weft_gid *gids, int room);

enum weft_gid_scope weft_gid_scope(const unsigned char raw[16]);
/* Whether routers forward to the address. */
bool weft_gid_is_routable(const unsigned char raw[16]);
/* "InfiniBand", "RoCE v2", ... */
const char *weft_gid_kind_name(enum weft_gid_kind kind);
/* 8 groups of 4 hexadecimal digits, as sysfs has it; returns `text`. */
const char *weft_gid_digits(const unsigned char raw[16], char text[WEFT_GID_TEXT_BYTES]);
/* "10.0.0.1" for IPv4, else as weft_gid_digits. */
const char *weft_gid_text(const unsigned char raw[16], char text[WEFT_GID_TEXT_BYTES]);

#endif
