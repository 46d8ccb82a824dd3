/*
 * SPDX-License-Identifier: Apache-2.0
 * See verbs_match.h. Pairs are found on the two descriptions alone, the smaller one (as bytes)
 * being the first at both ends: so both get the same. What only this end knows is added afterwards.
 */
#include "transport/verbs_match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/verbs_words.h"
#include "transport/bytes.h"

enum {
    WIRE_VERSION = 2,
    MAX_LID = 0xbfff, // of a single port
    ROUTED_HOP_LIMIT = 64,
    KIND_SHIFT = 0, // fields of the last byte of a port
    MTU_SHIFT = 2,
    NEAR_SHIFT = 5,
    USED_BITS = 0x3f,
    RATE_BITS = 12, // of 16; the rest says how far they are shifted
};
static const char wire_mark[2] = {'W', 'P'};

/* ---- rates: half a per mille is exact enough, from 1 Mb/s to 134 Tb/s ---- */

static uint32_t round_rate(int64_t mbps)
{
    const int64_t most = INT64_C(0xfff) << 15;
    int shift = 0;
    if (mbps > most)
        mbps = most;
    while (mbps >> shift >= 1 << RATE_BITS)
        shift++;
    return (uint32_t)(mbps >> shift << shift);
}

static uint64_t pack_rate(uint32_t mbps)
{
    unsigned shift = 0;
    while (mbps >> shift >= 1 << RATE_BITS)
        shift++;
    return mbps >> shift | shift << RATE_BITS;
}

/* ---- descriptions ---- */

void weft_verbs_describe(const struct weft_verbs_ports *ports,
                         struct weft_verbs_description *description)
{
    *description = (struct weft_verbs_description){.num_ports = ports->num_ports};
    for (int i = 0; i < ports->num_ports; i++) {
        const struct weft_verbs_port *port = &ports->ports[i];
        struct weft_verbs_end *end = &description->ports[i];
        memcpy(end->gid, port->gid.raw, sizeof end->gid);
        end->lid = port->gid.kind == WEFT_GID_INFINIBAND ? port->attributes.lid : 0;
        end->pkey = port->pkey;
        end->rate_mbps = round_rate(port->measured_mbps ? port->measured_mbps : port->rate_mbps);
        end->kind = (uint8_t)port->gid.kind;
        end->mtu = (uint8_t)port->attributes.active_mtu;
        end->prefix_bits = (uint8_t)port->prefix_bits;
        end->is_near = port->is_near;
    }
}

void weft_verbs_description_write(const struct weft_verbs_description *description,
                                  unsigned char wire[WEFT_VERBS_WIRE_BYTES])
{
    struct weft_writer writer = {.next = wire, .left = WEFT_VERBS_WIRE_BYTES};
    memset(wire, 0, WEFT_VERBS_WIRE_BYTES);
    weft_put(&writer, wire_mark, sizeof wire_mark);
    weft_put_integer(&writer, WIRE_VERSION, 1);
    weft_put_integer(&writer, (uint64_t)description->num_ports, 1);
    weft_put_integer(&writer, 0, 4);
    for (int i = 0; i < description->num_ports; i++) {
        const struct weft_verbs_end *end = &description->ports[i];
        weft_put(&writer, end->gid, sizeof end->gid);
        weft_put_integer(&writer, end->lid, 2);
        weft_put_integer(&writer, end->pkey, 2);
        weft_put_integer(&writer, pack_rate(end->rate_mbps), 2);
        weft_put_integer(&writer, end->prefix_bits, 1);
        weft_put_integer(&writer,
                         (uint64_t)(end->kind << KIND_SHIFT | end->mtu << MTU_SHIFT |
                                    end->is_near << NEAR_SHIFT),
                         1);
    }
}

/* Why a port as a peer describes it makes no sense; NULL: it does. */
static const char *find_fault(const struct weft_verbs_end *end)
{
    static const unsigned char nothing[8];
    bool is_infiniband = end->kind == WEFT_GID_INFINIBAND;
    if (weft_mtu_bytes(end->mtu) == 0)
        return "its MTU code is unknown";
    if (end->gid[0] == 0xff)
        return "its GID is one of many ports";
    if (memcmp(end->gid + 8, nothing, sizeof nothing) == 0)
        return "its GID is empty";
    if (is_infiniband ? end->lid < 1 || end->lid > MAX_LID : end->lid != 0)
        return "its LID is none of a port";
    if ((end->pkey & WEFT_PKEY_BASE) == 0)
        return "its partition key is none";
    if (is_infiniband ? end->prefix_bits != 64
                      : end->prefix_bits > 128 || (weft_gid_scope(end->gid) == WEFT_GID_IPV4 &&
                                                   end->prefix_bits < WEFT_GID_IPV4_PREFIX_BITS))
        return "its subnet has an impossible size";
    return NULL;
}

static bool is_zero(const struct weft_reader *reader)
{
    for (size_t i = 0; i < reader->left; i++)
        if (reader->next[i])
            return false;
    return true;
}

weft_status weft_verbs_description_read(const unsigned char wire[WEFT_VERBS_WIRE_BYTES],
                                        struct weft_verbs_description *description,
                                        struct weft_error *error)
{
    struct weft_reader reader = {.next = wire, .left = WEFT_VERBS_WIRE_BYTES};
    struct weft_verbs_description read = {0};
    bool is_marked = memcmp(weft_take(&reader, sizeof wire_mark), wire_mark, sizeof wire_mark) == 0;
    int version = (int)weft_take_integer(&reader, 1);
    read.num_ports = (int)weft_take_integer(&reader, 1);
    if (!is_marked || version != WIRE_VERSION)
        return weft_fail(error, WEFT_INVALID_FORMAT,
                         "the peer's RDMA ports are described in an unknown form (version %d)",
                         version);
    if (read.num_ports < 1 || read.num_ports > WEFT_VERBS_MAX_PORTS ||
        weft_take_integer(&reader, 4) != 0)
        return weft_fail(error, WEFT_INVALID_FORMAT,
                         "the peer's description of its RDMA ports has %d of them, not 1 to %d, or "
                         "is damaged",
                         read.num_ports, WEFT_VERBS_MAX_PORTS);
    for (int i = 0; i < read.num_ports; i++) {
        struct weft_verbs_end *end = &read.ports[i];
        memcpy(end->gid, weft_take(&reader, sizeof end->gid), sizeof end->gid);
        end->lid = (uint16_t)weft_take_integer(&reader, 2);
        end->pkey = (uint16_t)weft_take_integer(&reader, 2);
        unsigned rate = (unsigned)weft_take_integer(&reader, 2);
        end->rate_mbps = (rate & ((1 << RATE_BITS) - 1)) << (rate >> RATE_BITS);
        end->prefix_bits = (uint8_t)weft_take_integer(&reader, 1);
        unsigned bits = (unsigned)weft_take_integer(&reader, 1);
        end->kind = bits >> KIND_SHIFT & 3;
        end->mtu = bits >> MTU_SHIFT & 7;
        end->is_near = bits >> NEAR_SHIFT & 1;
        const char *fault = bits & ~(unsigned)USED_BITS         ? "it has unknown flags"
                            : pack_rate(end->rate_mbps) != rate ? "its rate is not a shortest form"
                                                                : find_fault(end);
        if (fault)
            return weft_fail(error, WEFT_INVALID_FORMAT,
                             "the peer's description of its RDMA port %d is wrong: %s", i, fault);
    }
    if (!is_zero(&reader))
        return weft_fail(error, WEFT_INVALID_FORMAT,
                         "the peer's description of its RDMA ports goes on behind its end");
    *description = read;
    return WEFT_OK;
}

/* ---- two ports ---- */

static bool is_ipv4(const struct weft_verbs_end *end)
{
    return weft_gid_scope(end->gid) == WEFT_GID_IPV4;
}

/* An address whose subnet is nothing but itself is on none: all it reaches is behind routers. */
static bool share_subnet(const struct weft_verbs_end *a, const struct weft_verbs_end *b)
{
    int bits = a->prefix_bits < b->prefix_bits ? a->prefix_bits : b->prefix_bits;
    if (a->prefix_bits == 128 || b->prefix_bits == 128)
        return false;
    int bytes = bits / 8, rest = bits % 8;
    if (memcmp(a->gid, b->gid, (size_t)bytes) != 0)
        return false;
    return rest == 0 || (a->gid[bytes] ^ b->gid[bytes]) >> (8 - rest) == 0;
}

bool weft_verbs_reaches(const struct weft_verbs_end *a, const struct weft_verbs_end *b,
                        const char **why)
{
    bool is_infiniband = a->kind == WEFT_GID_INFINIBAND;
    bool is_near_by = share_subnet(a, b) || memcmp(a->gid, b->gid, sizeof a->gid) == 0;
    const char *reason = NULL;
    if (is_infiniband != (b->kind == WEFT_GID_INFINIBAND))
        reason = "one is on InfiniBand, the other on Ethernet";
    else if (a->kind != b->kind)
        reason = "their GIDs are of different RoCE versions";
    else if (is_infiniband && !is_near_by)
        reason = "their InfiniBand subnet prefixes differ";
    else if (is_ipv4(a) != is_ipv4(b))
        reason = "one has an IPv4 address, the other an IPv6 address";
    else if (!is_near_by && a->kind != WEFT_GID_ROCE_V2)
        reason = "RoCE v1 does not leave its subnet, and theirs differ";
    else if (!is_near_by && !(weft_gid_is_routable(a->gid) && weft_gid_is_routable(b->gid)))
        reason = "an address that is valid on its own link only is on another subnet";
    else if ((a->pkey & WEFT_PKEY_BASE) != (b->pkey & WEFT_PKEY_BASE))
        reason = "they are in different partitions (P_Key)";
    else if (!(a->pkey & WEFT_PKEY_FULL) && !(b->pkey & WEFT_PKEY_FULL))
        reason = "both are limited members of their partition (P_Key)";
    if (reason && why)
        *why = reason;
    return !reason;
}

/* ---- pairs of all ---- */

struct pair {
    int first, second;
    bool is_spare;
    int num_near;
};

struct pairing {
    const struct weft_verbs_description *first, *second;
    bool may[WEFT_VERBS_MAX_PORTS][WEFT_VERBS_MAX_PORTS];      // reach each other
    bool is_local[WEFT_VERBS_MAX_PORTS][WEFT_VERBS_MAX_PORTS]; // on one subnet
    int uses_first[WEFT_VERBS_MAX_PORTS], uses_second[WEFT_VERBS_MAX_PORTS];
    struct pair pairs[WEFT_VERBS_MAX_PATHS];
    int num_pairs;
};

static void add_pair(struct pairing *p, int first, int second, bool is_spare)
{
    if (p->num_pairs == WEFT_VERBS_MAX_PATHS)
        return;
    p->uses_first[first]++;
    p->uses_second[second]++;
    p->pairs[p->num_pairs++] = (struct pair){
        first, second, is_spare, p->first->ports[first].is_near + p->second->ports[second].is_near};
}

/* Whether a pair counts: on one subnet, or with `is_far` any that can talk. */
static bool is_fit(const struct pairing *p, int first, int second, bool is_far)
{
    return p->may[first][second] && (is_far || p->is_local[first][second]);
}

static void pair_unused(struct pairing *p, bool is_far)
{
    int count = p->first->num_ports;
    bool is_straight = count == p->second->num_ports;
    for (int i = 0; i < count && is_straight; i++)
        is_straight = is_fit(p, i, i, is_far);
    for (int i = 0; i < count; i++) {
        for (int j = is_straight ? i : 0; j < p->second->num_ports; j++) {
            if (p->uses_second[j] || !is_fit(p, i, j, is_far))
                continue;
            add_pair(p, i, j, false);
            break;
        }
    }
}

/* Gives each port that has no pair the least used one on the other side. */
static void add_spares(struct pairing *p, bool is_far)
{
    for (int i = 0; i < p->first->num_ports; i++) {
        int best = -1;
        for (int j = 0; j < p->second->num_ports && !p->uses_first[i]; j++)
            if (is_fit(p, i, j, is_far) && (best < 0 || p->uses_second[j] < p->uses_second[best]))
                best = j;
        if (best >= 0)
            add_pair(p, i, best, true);
    }
    for (int j = 0; j < p->second->num_ports; j++) {
        int best = -1;
        for (int i = 0; i < p->first->num_ports && !p->uses_second[j]; i++)
            if (is_fit(p, i, j, is_far) && (best < 0 || p->uses_first[i] < p->uses_first[best]))
                best = i;
        if (best >= 0)
            add_pair(p, best, j, true);
    }
}

static int by_order(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->is_spare != y->is_spare)
        return x->is_spare ? 1 : -1;
    if (x->num_near != y->num_near)
        return x->num_near > y->num_near ? -1 : 1;
    int sums = x->first + x->second - y->first - y->second;
    return sums ? sums : x->first != y->first ? x->first - y->first : x->second - y->second;
}

/* What is farther from the two processes than the nearest pair carries nothing while there are
 * nearer ones. */
static void spare_far_pairs(struct pairing *p)
{
    int nearest = 0;
    for (int i = 0; i < p->num_pairs; i++)
        if (!p->pairs[i].is_spare && p->pairs[i].num_near > nearest)
            nearest = p->pairs[i].num_near;
    for (int i = 0; i < p->num_pairs; i++)
        p->pairs[i].is_spare |= p->pairs[i].num_near < nearest;
}

/* `are_equal`: the descriptions do not say who is first, so only pairs that look alike from both
 * ends will do. */
static void find_pairs(struct pairing *p, bool are_equal)
{
    for (int i = 0; i < p->first->num_ports; i++) {
        for (int j = 0; j < p->second->num_ports; j++) {
            const struct weft_verbs_end *a = &p->first->ports[i], *b = &p->second->ports[j];
            p->may[i][j] = (i == j || !are_equal) && weft_verbs_reaches(a, b, NULL);
            p->is_local[i][j] = share_subnet(a, b);
        }
    }
    bool is_far = false;
    pair_unused(p, is_far);
    if (p->num_pairs == 0) {
        is_far = true;
        pair_unused(p, is_far);
    }
    add_spares(p, is_far);
    spare_far_pairs(p);
    if (p->num_pairs)
        qsort(p->pairs, (size_t)p->num_pairs, sizeof p->pairs[0], by_order);
}

/* ---- paths ---- */

static const char *end_text(const struct weft_verbs_end *end, char *text, size_t size)
{
    char address[WEFT_GID_TEXT_BYTES];
    snprintf(text, size, "%s %s, P_Key 0x%04x", weft_gid_kind_name((enum weft_gid_kind)end->kind),
             weft_gid_text(end->gid, address), end->pkey);
    return text;
}

static weft_status refuse(const struct weft_verbs_ports *own,
                          const struct weft_verbs_description *described,
                          const struct weft_verbs_description *peer, struct weft_error *error)
{
    char name[WEFT_VERBS_NAME_BYTES + 8], here[96], there[96];
    const char *why = "unknown";
    weft_verbs_reaches(&described->ports[0], &peer->ports[0], &why);
    return weft_fail(error, WEFT_UNSUPPORTED,
                     "no RDMA port here reaches one of the peer (%d and %d ports): %s (%s) and its "
                     "first (%s): %s",
                     described->num_ports, peer->num_ports,
                     weft_verbs_port_name(own, 0, name, sizeof name),
                     end_text(&described->ports[0], here, sizeof here),
                     end_text(&peer->ports[0], there, sizeof there), why);
}

static uint32_t slower(uint32_t a, uint32_t b)
{
    return !a || (b && b < a) ? b : a;
}

static void fill_path(const struct weft_verbs_ports *own, const struct weft_verbs_end *here,
                      const struct weft_verbs_end *there, struct weft_verbs_path *path)
{
    const struct weft_verbs_port *port = &own->ports[path->own];
    bool is_infiniband = there->kind == WEFT_GID_INFINIBAND;
    path->is_routed = !share_subnet(here, there);
    path->mtu = (enum ibv_mtu)(here->mtu < there->mtu ? here->mtu : there->mtu);
    path->rate_mbps = slower(here->rate_mbps, there->rate_mbps);
    path->pkey_index = port->pkey_index;
    path->address = (struct ibv_ah_attr){
        .dlid = there->lid,
        .sl = (uint8_t)own->options.service_level,
        .is_global = !is_infiniband || (port->attributes.flags & IBV_QPF_GRH_REQUIRED),
        .port_num = port->port,
        .grh =
            {
                .sgid_index = (uint8_t)port->gid.index,
                .hop_limit = there->kind == WEFT_GID_ROCE_V2 ? ROUTED_HOP_LIMIT : 1,
                .traffic_class = (uint8_t)own->options.traffic_class,
            },
    };
    memcpy(path->address.grh.dgid.raw, there->gid, sizeof there->gid);
}

weft_status weft_verbs_match(const struct weft_verbs_ports *own,
                             const struct weft_verbs_description *described,
                             const struct weft_verbs_description *peer,
                             struct weft_verbs_path paths[WEFT_VERBS_MAX_PATHS], int *num_paths,
                             struct weft_error *error)
{
    unsigned char here[WEFT_VERBS_WIRE_BYTES], there[WEFT_VERBS_WIRE_BYTES];
    weft_verbs_description_write(described, here);
    weft_verbs_description_write(peer, there);
    int order = memcmp(here, there, sizeof here);
    bool is_first = order <= 0;
    struct pairing p = {.first = is_first ? described : peer,
                        .second = is_first ? peer : described};
    find_pairs(&p, order == 0);
    if (p.num_pairs == 0)
        return refuse(own, described, peer, error);
    for (int i = 0; i < p.num_pairs; i++) {
        const struct pair *pair = &p.pairs[i];
        paths[i] = (struct weft_verbs_path){
            .own = is_first ? pair->first : pair->second,
            .peer = is_first ? pair->second : pair->first,
            .is_spare = pair->is_spare,
        };
        fill_path(own, &described->ports[paths[i].own], &peer->ports[paths[i].peer], &paths[i]);
    }
    *num_paths = p.num_pairs;
    return WEFT_OK;
}

const char *weft_verbs_path_text(const struct weft_verbs_ports *own,
                                 const struct weft_verbs_description *peer,
                                 const struct weft_verbs_path *path,
                                 char text[WEFT_VERBS_PATH_TEXT_BYTES])
{
    const struct weft_verbs_port *port = &own->ports[path->own];
    const struct weft_verbs_end *there = &peer->ports[path->peer];
    char name[WEFT_VERBS_NAME_BYTES + 8], from[WEFT_GID_TEXT_BYTES], to[WEFT_GID_TEXT_BYTES];
    char mtus[48] = "";
    if (port->attributes.active_mtu != (enum ibv_mtu)there->mtu)
        snprintf(mtus, sizeof mtus, " (here %d, there %d)",
                 weft_mtu_bytes(port->attributes.active_mtu), weft_mtu_bytes(there->mtu));
    snprintf(text, WEFT_VERBS_PATH_TEXT_BYTES, "%s %s to %s%s, %s, MTU %d%s, %.4g Gb/s%s",
             weft_verbs_port_name(own, path->own, name, sizeof name),
             weft_gid_text(port->gid.raw, from), weft_gid_text(there->gid, to),
             path->is_routed ? " (another subnet)" : "",
             weft_gid_kind_name((enum weft_gid_kind)there->kind), weft_mtu_bytes(path->mtu), mtus,
             path->rate_mbps / 1000.0, path->is_spare ? ", spare" : "");
    return text;
}
