/*
 * SPDX-License-Identifier: Apache-2.0
 * Interfaces of a copied sysfs. The live kernel is asked by netlink instead (probe_ethernet.c): its
 * sysfs shows the network namespace of whoever mounted it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sysfs.h"
#include "topology/ethernet.h"

/* sysfs names a few kinds only; the rest shows in what is there. */
static void read_kind(const struct weft_sysfs *sysfs, struct weft_interface *interface)
{
    char lines[1024];
    size_t bytes =
        weft_sysfs_bytes(sysfs, lines, sizeof lines - 1, "class/net/%s/uevent", interface->name);
    lines[bytes] = '\0';
    const char *type = strstr(lines, "DEVTYPE=");
    const char *kind = "";
    if (type)
        snprintf(interface->kind, sizeof interface->kind, "%.*s", (int)strcspn(type + 8, "\n"),
                 type + 8);
    if (interface->kind[0])
        return;
    if (weft_sysfs_exists(sysfs, "class/net/%s/bonding", interface->name))
        kind = "bond";
    else if (weft_sysfs_exists(sysfs, "class/net/%s/bridge", interface->name))
        kind = "bridge";
    else if (weft_sysfs_exists(sysfs, "class/net/%s/tun_flags", interface->name))
        kind = "tun";
    else if (!weft_sysfs_exists(sysfs, "class/net/%s/device", interface->name))
        kind = "virtual";
    snprintf(interface->kind, sizeof interface->kind, "%s", kind);
}

static int read_master(const struct weft_sysfs *sysfs, const char *name)
{
    char path[512];
    if (!weft_sysfs_target(sysfs, path, sizeof path, "class/net/%s/master", name))
        return 0;
    const char *master = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    int64_t index = weft_sysfs_number(sysfs, 0, "class/net/%.31s/ifindex", master);
    return index > 0 && index <= INT32_MAX ? (int)index : 0;
}

static void read_interface(const struct weft_sysfs *sysfs, struct weft_interface *interface)
{
    const char *name = interface->name;
    char text[64], *end;
    int64_t index = weft_sysfs_number(sysfs, 0, "class/net/%s/ifindex", name);
    int64_t lower = weft_sysfs_number(sysfs, 0, "class/net/%s/iflink", name);
    interface->index = index > 0 && index <= INT32_MAX ? (int)index : 0;
    interface->master = read_master(sysfs, name);
    read_kind(sysfs, interface);
    // of a kind that sysfs does not name it may be a veth's peer
    if (lower > 0 && lower <= INT32_MAX && lower != index &&
        strcmp(interface->kind, "virtual") != 0)
        interface->lower = (int)lower;
    weft_sysfs_text(sysfs, interface->state, sizeof interface->state, "class/net/%s/operstate",
                    name);
    weft_sysfs_text(sysfs, interface->mac, sizeof interface->mac, "class/net/%s/address", name);
    interface->mtu = weft_sysfs_number(sysfs, -1, "class/net/%s/mtu", name);
    interface->rate_mbps = weft_sysfs_number(sysfs, -1, "class/net/%s/speed", name);
    if (weft_sysfs_text(sysfs, text, sizeof text, "class/net/%s/duplex", name))
        interface->duplex = strcmp(text, "full") == 0 ? 1 : strcmp(text, "half") == 0 ? 0 : -1;
    interface->is_loopback = weft_sysfs_number(sysfs, 0, "class/net/%s/type", name) == 772;
    if (weft_sysfs_text(sysfs, text, sizeof text, "class/net/%s/bonding/mode", name)) {
        const char *number = strchr(text, ' '); // "802.3ad 4"
        long mode = number ? strtol(number + 1, &end, 10) : -1;
        interface->bond_mode = mode >= 0 && mode < 100 ? (int)mode : -1;
    }
    if (weft_sysfs_text(sysfs, text, sizeof text, "class/net/%s/bonding_slave/state", name))
        interface->is_inactive_slave = strcmp(text, "active") != 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct weft_interface *)a)->name,
                  ((const struct weft_interface *)b)->name);
}

/* Returns how many; names that no kernel gives are passed over. */
static int read_all(const struct weft_sysfs *sysfs, struct weft_interface *all)
{
    DIR *list = weft_sysfs_list(sysfs, "class/net");
    int count = 0;
    for (struct dirent *entry; list && count < WEFT_MAX_INTERFACES && (entry = readdir(list));) {
        const char *name = entry->d_name;
        bool is_printable = true;
        for (const char *at = name; *at; at++)
            is_printable &= *at > 0x20 && *at < 0x7f;
        if (name[0] == '.' || !is_printable || strlen(name) >= WEFT_INTERFACE_NAME_BYTES ||
            !weft_sysfs_exists(sysfs, "class/net/%s/ifindex", name))
            continue;
        all[count] =
            (struct weft_interface){.rate_mbps = -1, .mtu = -1, .duplex = -1, .bond_mode = -1};
        snprintf(all[count].name, sizeof all[count].name, "%s", name);
        read_interface(sysfs, &all[count++]);
    }
    if (list)
        closedir(list);
    qsort(all, (size_t)count, sizeof *all, compare_names);
    return count;
}

weft_status weft_ethernet_read_sysfs(struct weft_topology *topology, const char *root,
                                     struct weft_error *error)
{
    struct weft_sysfs sysfs;
    WEFT_TRY(weft_sysfs_open(root, &sysfs, error));
    struct weft_interface *all = malloc(WEFT_MAX_INTERFACES * sizeof *all);
    weft_status status = WEFT_OK;
    if (!all)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "ethernet: no memory");
    if (status == WEFT_OK)
        status = weft_ethernet_add(topology, all, read_all(&sysfs, all), WEFT_SOURCE_SYSFS, error);
    free(all);
    weft_sysfs_close(&sysfs);
    return status;
}
