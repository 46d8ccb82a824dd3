/*
 * SPDX-License-Identifier: Apache-2.0
 * What must hold of the paths between any two descriptions, whatever is in them: shared by the test
 * and the fuzzer.
 */
#ifndef WEFT_TESTS_TRANSPORT_VERBS_MATCH_RULES_H
#define WEFT_TESTS_TRANSPORT_VERBS_MATCH_RULES_H

#include <stdlib.h>
#include <string.h>

#include "transport/verbs_match.h"

#define RULE(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/* Ports that would be described like this. */
static inline void ports_of(const struct weft_verbs_description *description,
                            struct weft_verbs_ports *ports)
{
    *ports = (struct weft_verbs_ports){.num_devices = 1, .num_ports = description->num_ports};
    memcpy(ports->devices[0].name, "rdma0", 6);
    for (int i = 0; i < description->num_ports; i++) {
        const struct weft_verbs_end *end = &description->ports[i];
        struct weft_verbs_port *port = &ports->ports[i];
        *port = (struct weft_verbs_port){.port = (uint8_t)(i + 1),
                                         .is_near = end->is_near,
                                         .rate_mbps = end->rate_mbps,
                                         .gid = {.index = i, .kind = end->kind},
                                         .prefix_bits = end->prefix_bits,
                                         .pkey = end->pkey};
        memcpy(port->gid.raw, end->gid, sizeof end->gid);
        port->attributes.lid = end->lid;
        port->attributes.active_mtu = (enum ibv_mtu)end->mtu;
    }
}

static inline int check_paths(const struct weft_verbs_description *a,
                              const struct weft_verbs_description *b, struct weft_error *error)
{
    struct weft_verbs_ports ports[2];
    struct weft_verbs_path here[WEFT_VERBS_MAX_PATHS], there[WEFT_VERBS_MAX_PATHS];
    int num_here = 0, num_there = 0;
    struct weft_error other;
    ports_of(a, &ports[0]);
    ports_of(b, &ports[1]);
    weft_status status = weft_verbs_match(&ports[0], a, b, here, &num_here, error);
    RULE(weft_verbs_match(&ports[1], b, a, there, &num_there, &other) == status);
    RULE(num_here == num_there && (status == WEFT_OK) == (num_here > 0));
    int own[WEFT_VERBS_MAX_PORTS] = {0}, peer[WEFT_VERBS_MAX_PORTS] = {0};
    for (int i = 0; i < num_here; i++) {
        const struct weft_verbs_path *p = &here[i], *q = &there[i];
        char text[WEFT_VERBS_PATH_TEXT_BYTES];
        RULE(p->own == q->peer && p->peer == q->own && p->mtu == q->mtu);
        RULE(p->rate_mbps == q->rate_mbps && p->is_spare == q->is_spare);
        RULE(p->is_routed == q->is_routed);
        RULE(p->own >= 0 && p->own < a->num_ports && p->peer >= 0 && p->peer < b->num_ports);
        RULE(weft_verbs_reaches(&a->ports[p->own], &b->ports[p->peer], NULL));
        RULE(p->address.port_num == p->own + 1 && p->address.grh.sgid_index == p->own);
        RULE(memcmp(p->address.grh.dgid.raw, b->ports[p->peer].gid, 16) == 0);
        RULE(p->is_spare || (!own[p->own] && !peer[p->peer])); // each port at most once
        own[p->own]++, peer[p->peer]++;
        RULE(strlen(weft_verbs_path_text(&ports[0], b, p, text)) < sizeof text);
    }
    return num_here;
}

#endif
