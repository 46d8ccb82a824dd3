/*
 * SPDX-License-Identifier: Apache-2.0
 * See verbs_gids.h. One call gets the whole table where the library has it; else each entry is
 * asked for, and what it is read from sysfs.
 */
#include "base/verbs_gids.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_empty(const unsigned char *raw)
{
    static const unsigned char nothing[8];
    return memcmp(raw + 8, nothing, sizeof nothing) == 0; // an empty one has its prefix still
}

static bool is_ethernet(const struct ibv_port_attr *attributes)
{
    return attributes->link_layer == IBV_LINK_LAYER_ETHERNET;
}

static int by_index(const void *a, const void *b)
{
    const struct weft_gid *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

/* The library's own table; -1: it has none. */
static int gids_of_library(const struct weft_verbs *verbs, struct ibv_context *context,
                           uint8_t port, const struct ibv_port_attr *attributes,
                           struct weft_gid *gids, int room)
{
    enum { MAX_ENTRIES = 2 * WEFT_MAX_GIDS }; // of all ports of the device
    if (!verbs->query_gid_table)
        return -1;
    struct ibv_gid_entry *entries = calloc(MAX_ENTRIES, sizeof *entries);
    ssize_t count =
        entries ? verbs->query_gid_table(context, entries, MAX_ENTRIES, 0, sizeof *entries) : -1;
    int kept = 0;
    for (ssize_t i = 0; i < count && i < MAX_ENTRIES; i++) {
        const struct ibv_gid_entry *entry = &entries[i];
        if (entry->port_num != port || entry->gid_index >= WEFT_MAX_GIDS || kept == room ||
            is_empty(entry->gid.raw))
            continue;
        struct weft_gid gid = {.index = (int)entry->gid_index};
        memcpy(gid.raw, entry->gid.raw, sizeof gid.raw);
        gid.kind = !is_ethernet(attributes)                  ? WEFT_GID_INFINIBAND
                   : entry->gid_type == IBV_GID_TYPE_ROCE_V2 ? WEFT_GID_ROCE_V2
                   : entry->gid_type == IBV_GID_TYPE_ROCE_V1 ? WEFT_GID_ROCE_V1
                                                             : WEFT_GID_ROCE_UNKNOWN;
        if (!entry->ndev_ifindex || !if_indextoname(entry->ndev_ifindex, gid.interface))
            gid.interface[0] = '\0';
        gids[kept++] = gid;
    }
    free(entries);
    if (count < 0)
        return -1;
    if (kept)
        qsort(gids, (size_t)kept, sizeof *gids, by_index);
    return kept;
}

static enum weft_gid_kind kind_from_words(const char *words)
{
    return strstr(words, "v2")   ? WEFT_GID_ROCE_V2
           : strstr(words, "v1") ? WEFT_GID_ROCE_V1
                                 : WEFT_GID_ROCE_UNKNOWN;
}

int weft_verbs_gids(const struct weft_verbs *verbs, const struct weft_sysfs *files,
                    struct ibv_context *context, const char *device, uint8_t port,
                    const struct ibv_port_attr *attributes, struct weft_gid *gids, int room)
{
    int kept = gids_of_library(verbs, context, port, attributes, gids, room);
    if (kept >= 0)
        return kept;
    kept = 0;
    for (int i = 0; i < attributes->gid_tbl_len && i < WEFT_MAX_GIDS && kept < room; i++) {
        union ibv_gid raw = {0};
        char words[32];
        if (verbs->query_gid(context, port, i, &raw) != 0)
            break;
        if (is_empty(raw.raw))
            continue;
        struct weft_gid *gid = &gids[kept++];
        *gid = (struct weft_gid){.index = i, .kind = WEFT_GID_INFINIBAND};
        memcpy(gid->raw, raw.raw, sizeof gid->raw);
        weft_sysfs_text(files, words, sizeof words,
                        "sys/class/infiniband/%s/ports/%d/gid_attrs/types/%d", device, port, i);
        weft_sysfs_text(files, gid->interface, sizeof gid->interface,
                        "sys/class/infiniband/%s/ports/%d/gid_attrs/ndevs/%d", device, port, i);
        if (is_ethernet(attributes))
            gid->kind = kind_from_words(words);
    }
    return kept;
}

enum weft_gid_scope weft_gid_scope(const unsigned char raw[16])
{
    static const unsigned char ipv4[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(raw, ipv4, sizeof ipv4) == 0)
        return WEFT_GID_IPV4;
    return raw[0] == 0xfe && (raw[1] & 0xc0) == 0x80 ? WEFT_GID_LINK_LOCAL : WEFT_GID_IPV6_GLOBAL;
}

bool weft_gid_is_routable(const unsigned char raw[16])
{
    enum weft_gid_scope scope = weft_gid_scope(raw);
    const unsigned char *ip = raw + 12;
    if (scope != WEFT_GID_IPV4)
        return scope == WEFT_GID_IPV6_GLOBAL;
    return ip[0] != 127 && ip[0] != 0 && !(ip[0] == 169 && ip[1] == 254);
}

const char *weft_gid_kind_name(enum weft_gid_kind kind)
{
    static const char *const names[] = {
        [WEFT_GID_INFINIBAND] = "InfiniBand",
        [WEFT_GID_ROCE_V1] = "RoCE v1",
        [WEFT_GID_ROCE_V2] = "RoCE v2",
        [WEFT_GID_ROCE_UNKNOWN] = "RoCE of unknown version",
    };
    return names[kind];
}

const char *weft_gid_digits(const unsigned char raw[16], char text[WEFT_GID_TEXT_BYTES])
{
    size_t used = 0;
    for (int i = 0; i < 16; i += 2)
        used += (size_t)snprintf(text + used, WEFT_GID_TEXT_BYTES - used, "%s%02x%02x",
                                 i ? ":" : "", raw[i], raw[i + 1]);
    return text;
}

const char *weft_gid_text(const unsigned char raw[16], char text[WEFT_GID_TEXT_BYTES])
{
    if (weft_gid_scope(raw) != WEFT_GID_IPV4)
        return weft_gid_digits(raw, text);
    snprintf(text, WEFT_GID_TEXT_BYTES, "%u.%u.%u.%u", raw[12], raw[13], raw[14], raw[15]);
    return text;
}
