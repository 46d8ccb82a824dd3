/*
 * SPDX-License-Identifier: Apache-2.0
 * Which port talks to which: a description of ports for the wire, and the pairs that follow from
 * two of them. Both ends compute the same pairs, in the same order, so nothing is negotiated.
 */
#ifndef WEFT_TRANSPORT_VERBS_MATCH_H
#define WEFT_TRANSPORT_VERBS_MATCH_H

#include "transport/verbs_ports.h"

enum {
    WEFT_VERBS_WIRE_HEADER_BYTES = 8,
    WEFT_VERBS_WIRE_PORT_BYTES = 24,
    WEFT_VERBS_WIRE_BYTES = // of a description; one of n ports has zeros behind its n-th
    WEFT_VERBS_WIRE_HEADER_BYTES + WEFT_VERBS_MAX_PORTS * WEFT_VERBS_WIRE_PORT_BYTES,
    WEFT_VERBS_MAX_PATHS = WEFT_VERBS_MAX_PORTS,
    WEFT_VERBS_PATH_TEXT_BYTES = 256,
};

/* A port as its peer needs to know it. */
struct weft_verbs_end {
    unsigned char gid[16];
    uint16_t lid;
    uint16_t pkey;
    uint32_t rate_mbps; // measured, else nominal; its upper 12 bits only; 0: unknown
    uint8_t kind;       // enum weft_gid_kind
    uint8_t mtu;        // enum ibv_mtu
    uint8_t prefix_bits;
    bool is_near; // among the nearest to its process
};

struct weft_verbs_description {
    int num_ports;
    struct weft_verbs_end ports[WEFT_VERBS_MAX_PORTS];
};

/* A pair of ports and what a QP over it needs. */
struct weft_verbs_path {
    int own, peer;  // indices of ports
    bool is_spare;  // for when no others work: shares a port with an earlier path, or is farther
    bool is_routed; // the ports are not on one subnet
    enum ibv_mtu mtu;
    uint32_t rate_mbps; // of the slower end; 0: unknown
    uint16_t pkey_index;
    struct ibv_ah_attr address; // with static_rate 0: what the network allows
};

/* This process's ports, as peers get them. */
void weft_verbs_describe(const struct weft_verbs_ports *ports,
                         struct weft_verbs_description *description);
/* To and from WEFT_VERBS_WIRE_BYTES bytes, which are read as hostile: INVALID_FORMAT with the
 * reason, *description then being unchanged. */
void weft_verbs_description_write(const struct weft_verbs_description *description,
                                  unsigned char wire[WEFT_VERBS_WIRE_BYTES]);
weft_status weft_verbs_description_read(const unsigned char wire[WEFT_VERBS_WIRE_BYTES],
                                        struct weft_verbs_description *description,
                                        struct weft_error *error);

/* Whether packets get from one to the other; if not, *why is static text. Symmetric. */
bool weft_verbs_reaches(const struct weft_verbs_end *a, const struct weft_verbs_end *b,
                        const char **why);

/* The pairs of `own` ports with those of `peer`: port i with port i where both have equally many
 * and every such pair is on one subnet; else the k-th of a subnet with the k-th of that subnet;
 * between different subnets only where no two ports share one, and routers can forward. Ports left
 * over follow as spares; so do pairs that are not as near to the two processes as the nearest.
 * Paths are ordered (nearest first), in the same way at both ends: the k-th path here is the k-th
 * of the peer. `described`: `own` as the peer got it. Errors: UNSUPPORTED when no pair can talk,
 * with two ports and the reason. */
weft_status weft_verbs_match(const struct weft_verbs_ports *own,
                             const struct weft_verbs_description *described,
                             const struct weft_verbs_description *peer,
                             struct weft_verbs_path paths[WEFT_VERBS_MAX_PATHS], int *num_paths,
                             struct weft_error *error);

/* "mlx5_0:1 10.0.0.1 to 10.0.0.2, RoCE v2, MTU 1024 (here 4096, there 1024), 100 Gb/s" */
const char *weft_verbs_path_text(const struct weft_verbs_ports *own,
                                 const struct weft_verbs_description *peer,
                                 const struct weft_verbs_path *path,
                                 char text[WEFT_VERBS_PATH_TEXT_BYTES]);

#endif
