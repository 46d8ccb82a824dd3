/*
 * SPDX-License-Identifier: Apache-2.0
 * See verbs_port_read.h. An address that routers forward is worth most: it works wherever one that
 * they do not forward works.
 */
#include "transport/verbs_port_read.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rdma_sysfs.h"
#include "base/verbs_words.h"

enum { MAX_PKEYS = 128 }; // entries that are looked at

/* ---- needs ---- */

weft_status weft_verbs_port_needs_read(const struct weft_verbs_options *options,
                                       struct weft_verbs_port_needs *needs,
                                       struct weft_error *error)
{
    const struct {
        const char *name;
        int64_t value, low, high;
    } ranges[] = {
        {"WEFT_IB_GID_INDEX", options->gid_index, -1, WEFT_MAX_GIDS - 1},
        {"WEFT_IB_SL", options->service_level, 0, 15},
        {"WEFT_IB_TC", options->traffic_class, 0, 255},
        {"WEFT_IB_TIMEOUT", options->timeout, 1, 31},
        {"WEFT_IB_RETRY", options->retry, 0, 7},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (ranges[i].value < ranges[i].low || ranges[i].value > ranges[i].high)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: %lld is not from %lld to %lld",
                             ranges[i].name, (long long)ranges[i].value, (long long)ranges[i].low,
                             (long long)ranges[i].high);
    int pkey = -1;
    if (options->pkey && options->pkey[0]) {
        char *end;
        errno = 0;
        long number = strtol(options->pkey, &end, 0);
        if (end == options->pkey || *end || errno || number < 0 || number > 0xffff ||
            (number & WEFT_PKEY_BASE) == 0)
            return weft_fail(error, WEFT_INVALID_ARGUMENT,
                             "WEFT_IB_PKEY: '%.40s' is no partition key like 0x8001",
                             options->pkey);
        pkey = (int)number;
    }
    *needs = (struct weft_verbs_port_needs){(int)options->gid_index, pkey};
    return WEFT_OK;
}

/* ---- addresses ---- */

static int worth(const struct weft_gid *gid)
{
    if (gid->kind != WEFT_GID_ROCE_V2)
        return gid->kind == WEFT_GID_ROCE_UNKNOWN ? 0 : 1;
    if (!weft_gid_is_routable(gid->raw))
        return 2;
    return weft_gid_scope(gid->raw) == WEFT_GID_IPV4 ? 4 : 3;
}

/* The GIDs of a port as one line: "0: RoCE v2 10.0.0.1, 1: ..." */
static void list_gids(const struct weft_gid *gids, int count, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "%s", count ? "" : "none");
    for (int i = 0; i < count && used + 80 < size; i++) {
        char address[WEFT_GID_TEXT_BYTES];
        used +=
            (size_t)snprintf(text + used, size - used, "%s%d: %s %s", i ? ", " : "", gids[i].index,
                             weft_gid_kind_name(gids[i].kind), weft_gid_text(gids[i].raw, address));
    }
}

static weft_status choose_gid(const struct weft_verbs_device *device, int wanted,
                              const struct weft_gid *gids, int count, struct weft_verbs_port *port,
                              struct weft_error *error)
{
    const struct weft_gid *chosen = NULL;
    for (int i = 0; i < count; i++) {
        if (wanted >= 0 ? gids[i].index == wanted : !chosen || worth(&gids[i]) > worth(chosen))
            chosen = &gids[i];
    }
    if (!chosen && wanted >= 0) {
        char list[320];
        list_gids(gids, count, list, sizeof list);
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "WEFT_IB_GID_INDEX: %.63s:%d has no GID %d; it has %s", device->name,
                         port->port, wanted, list);
    }
    if (!chosen)
        return weft_fail(error, WEFT_UNSUPPORTED, "has no GID");
    port->gid = *chosen;
    return WEFT_OK;
}

static int count_bits(const void *bytes, size_t count)
{
    const unsigned char *mask = bytes;
    int bits = 0;
    for (size_t i = 0; i < count; i++)
        bits += __builtin_popcount(mask[i]);
    return bits;
}

/* How many leading bits of an address name its subnet, as its interface says. */
static int read_prefix_bits(const struct weft_gid *gid)
{
    bool is_ipv4 = weft_gid_scope(gid->raw) == WEFT_GID_IPV4;
    int bits = is_ipv4 ? WEFT_GID_IPV4_PREFIX_BITS + 24 : 64; // where no interface has the address
    struct ifaddrs *list = NULL;
    if (gid->kind == WEFT_GID_INFINIBAND || getifaddrs(&list) != 0)
        return bits;
    for (const struct ifaddrs *entry = list; entry; entry = entry->ifa_next) {
        if (!entry->ifa_addr || !entry->ifa_netmask)
            continue;
        const void *address = entry->ifa_addr, *mask = entry->ifa_netmask;
        if (is_ipv4 && entry->ifa_addr->sa_family == AF_INET &&
            memcmp(&((const struct sockaddr_in *)address)->sin_addr, gid->raw + 12, 4) == 0)
            bits = WEFT_GID_IPV4_PREFIX_BITS +
                   count_bits(&((const struct sockaddr_in *)mask)->sin_addr, 4);
        if (!is_ipv4 && entry->ifa_addr->sa_family == AF_INET6 &&
            memcmp(&((const struct sockaddr_in6 *)address)->sin6_addr, gid->raw, 16) == 0)
            bits = count_bits(&((const struct sockaddr_in6 *)mask)->sin6_addr, 16);
    }
    freeifaddrs(list);
    return bits;
}

/* ---- partitions ---- */

/* The chosen partition: the wanted one, else the default one, else the first; with full membership
 * where the port has both. */
static weft_status choose_pkey(const struct weft_verbs *verbs,
                               const struct weft_verbs_device *device, int wanted,
                               struct weft_verbs_port *port, struct weft_error *error)
{
    char list[160] = "none";
    size_t used = 0;
    int best = 0, base = wanted < 0 ? WEFT_PKEY_BASE : wanted & WEFT_PKEY_BASE;
    for (int i = 0; i < port->attributes.pkey_tbl_len && i < MAX_PKEYS; i++) {
        __be16 raw = 0;
        if (verbs->query_pkey(device->context, port->port, i, &raw) != 0)
            break;
        uint16_t pkey = be16toh(raw);
        if ((pkey & WEFT_PKEY_BASE) == 0)
            continue;
        if (used + 16 < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s0x%04x", used ? ", " : "",
                                     pkey);
        int value = (pkey & WEFT_PKEY_BASE) != base ? wanted < 0 : pkey & WEFT_PKEY_FULL ? 3 : 2;
        if (value > best) {
            best = value;
            port->pkey = pkey;
            port->pkey_index = (uint16_t)i;
        }
    }
    if (best == 0 && wanted >= 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "WEFT_IB_PKEY: %.63s:%d is not in partition 0x%04x; it is in %s",
                         device->name, port->port, wanted, list);
    return best == 0 ? weft_fail(error, WEFT_UNSUPPORTED, "is in no partition") : WEFT_OK;
}

/* ---- the port ---- */

static int64_t read_rate(const struct weft_sysfs *files, const char *device, uint8_t port,
                         const struct ibv_port_attr *attributes, uint32_t speed)
{
    int64_t mbps = weft_verbs_rate_mbps(speed, attributes->active_width);
    // the kernel may know newer speeds
    return mbps ? mbps : weft_rdma_rate_mbps(files, device, port);
}

weft_status weft_verbs_port_read(const struct weft_verbs *verbs, const struct weft_sysfs *files,
                                 const struct weft_verbs_device *device,
                                 const struct weft_verbs_port_needs *needs,
                                 struct weft_verbs_port *port, struct weft_error *error)
{
    struct weft_verbs_port read = *port;
    struct ibv_port_attr *a = &read.attributes;
    uint32_t speed = 0;
    int failure = weft_verbs_query_port(verbs, device->context, read.port, a, &speed);
    if (failure)
        return weft_fail(error, WEFT_SYSTEM, "does not answer: %s",
                         strerror(failure > 0 ? failure : errno));
    if (device->context->device && device->context->device->transport_type != IBV_TRANSPORT_IB)
        return weft_fail(error, WEFT_UNSUPPORTED, "speaks neither InfiniBand nor RoCE");
    if (a->link_layer == IBV_LINK_LAYER_UNSPECIFIED) // hardware of before link layers were told
        a->link_layer = IBV_LINK_LAYER_INFINIBAND;
    if (a->state != IBV_PORT_ACTIVE && a->state != IBV_PORT_ACTIVE_DEFER)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s, physically %s",
                         weft_port_state_name(a->state),
                         weft_port_physical_state_name(a->phys_state));
    if (weft_mtu_bytes(a->active_mtu) == 0)
        return weft_fail(error, WEFT_UNSUPPORTED, "has an unknown MTU, code %u", a->active_mtu);
    struct weft_gid *gids = calloc(WEFT_MAX_GIDS, sizeof *gids);
    if (!gids)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for its GIDs");
    int count = weft_verbs_gids(verbs, files, device->context, device->name, read.port, a, gids,
                                WEFT_MAX_GIDS);
    weft_status status = choose_gid(device, needs->gid_index, gids, count, &read, error);
    free(gids);
    WEFT_TRY(status);
    WEFT_TRY(choose_pkey(verbs, device, needs->pkey, &read, error));
    read.prefix_bits = read_prefix_bits(&read.gid);
    read.rate_mbps = read_rate(files, device->name, read.port, a, speed);
    *port = read;
    return WEFT_OK;
}
