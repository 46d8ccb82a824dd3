/*
 * SPDX-License-Identifier: Apache-2.0
 * The verbs probe: RDMA devices, their ports, addresses and speeds, and whether they reach GPU
 * memory. Devices are matched to NICs by PCI address or interface; others are added. A key of the
 * second port and on ends with its number: "lid", "lid.2". States and addresses are facts of the
 * moment, so their keys begin with "process.".
 *
 * Firmware that does not answer blocks whoever asks, so the probe runs apart, under a deadline.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/rdma_sysfs.h"
#include "base/sysfs.h"
#include "base/verbs_gids.h"
#include "base/verbs_words.h"
#include "topology/apart.h"
#include "topology/gpudirect.h"
#include "topology/guid.h"
#include "topology/probe.h"

enum {
    MAX_DEVICES = 1024,
    MAX_PORTS = 8,      // of one device
    MAX_KEPT_GIDS = 32, // of one device: a node has room for so many attributes only
    KEY_BYTES = 48,
};
static const int64_t timeout_ns = 15000000000;

struct verbs_import {
    const struct weft_verbs *verbs;
    struct weft_topology *topology;
    struct weft_error *error;
    struct weft_sysfs files;
    int host;
};

/* One device, and one port of it. */
struct rdma {
    char name[64];
    int node;
    struct ibv_context *context;
    int num_gids; // kept so far
    int port;
    struct ibv_port_attr attributes;
    uint32_t speed;
};

/* ---- helpers ---- */

static void take_text(const char *from, size_t room, char *to)
{
    snprintf(to, room, "%.*s", (int)room - 1, from);
    weft_make_printable(to);
}

static const char *port_key(const struct rdma *rdma, const char *word, char *key)
{
    if (rdma->port > 1)
        snprintf(key, KEY_BYTES, "%s.%d", word, rdma->port);
    else
        snprintf(key, KEY_BYTES, "%s", word);
    return key;
}

static weft_status set_text(struct verbs_import *im, int node, const char *key, const char *text)
{
    if (!text[0])
        return WEFT_OK;
    return weft_topology_learn_text(im->topology, node, key, text, WEFT_SOURCE_VERBS, im->error);
}

static weft_status set_number(struct verbs_import *im, int node, const char *key, int64_t number)
{
    return weft_topology_learn_number(im->topology, node, key, number, WEFT_SOURCE_VERBS,
                                      im->error);
}

static weft_status set_guid(struct verbs_import *im, int node, const char *key, uint64_t guid)
{
    return weft_topology_learn_guid(im->topology, node, key, be64toh(guid), WEFT_SOURCE_VERBS,
                                    im->error);
}

/* ---- the node of a device ---- */

/* A device that hwloc does not show, such as Soft-RoCE over no PCI device. */
static weft_status add_device(struct verbs_import *im, struct rdma *rdma, const char *interface)
{
    struct weft_topology *t = im->topology;
    char name[WEFT_TOPOLOGY_NAME_BYTES];
    snprintf(name, sizeof name, "%.150s/%s", t->nodes[im->host].name, rdma->name);
    WEFT_TRY(weft_topology_add_twin(t, WEFT_NODE_NIC, name, im->host, &rdma->node, im->error));
    WEFT_TRY(set_text(im, rdma->node, "interface", interface));
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_NUMA)
            continue;
        struct weft_link link = weft_link_make(WEFT_LINK_ROOT, i, rdma->node);
        WEFT_TRY(weft_topology_add_link(t, &link, NULL, im->error));
    }
    return weft_topology_add_remark(
        t, WEFT_REMARK_GUESS, WEFT_SOURCE_VERBS, rdma->node, im->error,
        "%.60s is on no PCI device that can be seen; its place among the "
        "NUMA domains is not known",
        t->nodes[rdma->node].name);
}

static weft_status find_node(struct verbs_import *im, struct rdma *rdma)
{
    struct weft_topology *t = im->topology;
    char target[512], interface[32];
    const char *address = NULL;
    rdma->node = weft_topology_find_text(t, WEFT_NODE_NIC, "rdma_device", rdma->name);
    if (rdma->node < 0 && weft_sysfs_target(&im->files, target, sizeof target,
                                            "sys/class/infiniband/%s/device", rdma->name)) {
        const char *slash = strrchr(target, '/');
        address = slash ? slash + 1 : target;
        rdma->node = weft_topology_find_text(t, WEFT_NODE_NIC, "pci_address", address);
    }
    // a software device names the interface it uses
    bool has_interface = weft_rdma_interface(&im->files, rdma->name, interface, sizeof interface);
    if (rdma->node < 0 && has_interface)
        rdma->node = weft_topology_find_text(t, WEFT_NODE_NIC, "interface", interface);
    if (rdma->node < 0)
        WEFT_TRY(add_device(im, rdma, interface));
    unsigned domain, bus, device, function;
    if (address && sscanf(address, "%x:%x:%x.%x", &domain, &bus, &device, &function) == 4 &&
        !weft_topology_text(t, rdma->node, "pci_address"))
        WEFT_TRY(set_text(im, rdma->node, "pci_address", address));
    return set_text(im, rdma->node, "rdma_device", rdma->name);
}

/* ---- ports ---- */

static weft_status read_rate(struct verbs_import *im, const struct rdma *rdma)
{
    char key[KEY_BYTES];
    port_key(rdma, "rate_mbps", key);
    // the kernel may know newer speeds
    int64_t told = weft_rdma_rate_mbps(&im->files, rdma->name, rdma->port);
    if (told > 0)
        WEFT_TRY(weft_topology_learn_number(im->topology, rdma->node, key, told, WEFT_SOURCE_SYSFS,
                                            im->error));
    int64_t mbps = weft_verbs_rate_mbps(rdma->speed, rdma->attributes.active_width);
    if (mbps > 0)
        return set_number(im, rdma->node, key, mbps);
    return weft_topology_add_remark(
        im->topology, WEFT_REMARK_UNREAD, WEFT_SOURCE_VERBS, rdma->node, im->error,
        "port %d of %.60s has speed code %u and width code %u, which "
        "nobody here knows",
        rdma->port, rdma->name, rdma->speed, rdma->attributes.active_width);
}

static weft_status read_state(struct verbs_import *im, const struct rdma *rdma)
{
    char key[KEY_BYTES];
    unsigned state = (unsigned)rdma->attributes.state;
    const char *name = weft_port_state_name(state);
    const char *physical_name = weft_port_physical_state_name(rdma->attributes.phys_state);
    WEFT_TRY(set_text(im, rdma->node, port_key(rdma, "process.port_state", key), name));
    WEFT_TRY(
        set_text(im, rdma->node, port_key(rdma, "process.physical_state", key), physical_name));
    if (state == IBV_PORT_ACTIVE || state == IBV_PORT_ACTIVE_DEFER)
        return read_rate(im, rdma); // that of others means nothing
    return weft_topology_add_remark(im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_VERBS, rdma->node,
                                    im->error, "port %d of %.100s is not active: %s, physically %s",
                                    rdma->port, im->topology->nodes[rdma->node].name, name,
                                    physical_name);
}

/* One entry: kept as text, and as the port's address where it is one. *has_ip: already found. */
static weft_status keep_gid(struct verbs_import *im, const struct rdma *rdma,
                            const struct weft_gid *gid, bool *has_ip)
{
    char text[WEFT_GID_TEXT_BYTES], word[32], key[KEY_BYTES], all[128];
    snprintf(all, sizeof all, "%s, %s%s%s", weft_gid_digits(gid->raw, text),
             weft_gid_kind_name(gid->kind), gid->interface[0] ? ", " : "", gid->interface);
    snprintf(word, sizeof word, "process.gid%d", gid->index);
    WEFT_TRY(set_text(im, rdma->node, port_key(rdma, word, key), all));
    if (gid->kind != WEFT_GID_ROCE_V2 || weft_gid_scope(gid->raw) != WEFT_GID_IPV4 || *has_ip)
        return WEFT_OK;
    *has_ip = true;
    WEFT_TRY(set_text(im, rdma->node, port_key(rdma, "process.roce_ip", key),
                      weft_gid_text(gid->raw, text)));
    WEFT_TRY(set_text(im, rdma->node, port_key(rdma, "roce", key), "v2"));
    return set_number(im, rdma->node, port_key(rdma, "process.roce_gid_index", key), gid->index);
}

static weft_status read_gids(struct verbs_import *im, struct rdma *rdma)
{
    struct weft_gid gids[MAX_KEPT_GIDS];
    bool has_ip = false;
    char key[KEY_BYTES];
    int count =
        weft_verbs_gids(im->verbs, &im->files, rdma->context, rdma->name, (uint8_t)rdma->port,
                        &rdma->attributes, gids, MAX_KEPT_GIDS - rdma->num_gids);
    rdma->num_gids += count;
    for (int i = 0; i < count; i++) {
        union ibv_gid gid;
        memcpy(gid.raw, gids[i].raw, sizeof gid.raw);
        WEFT_TRY(keep_gid(im, rdma, &gids[i], &has_ip));
        if (gids[i].index == 0 && gids[i].kind == WEFT_GID_INFINIBAND)
            WEFT_TRY(set_guid(im, rdma->node, port_key(rdma, "port_guid", key),
                              gid.global.interface_id));
    }
    if (rdma->attributes.link_layer == IBV_LINK_LAYER_ETHERNET && count > 0 && !has_ip)
        WEFT_TRY(weft_topology_add_remark(
            im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_VERBS, rdma->node, im->error,
            "port %d of %.60s has no RoCE v2 address with an IPv4 address", rdma->port,
            rdma->name));
    return WEFT_OK;
}

static weft_status read_port(struct verbs_import *im, struct rdma *rdma)
{
    static const char *const layers[] = {"unknown", "infiniband", "ethernet"};
    char key[KEY_BYTES];
    int failure = weft_verbs_query_port(im->verbs, rdma->context, (uint8_t)rdma->port,
                                        &rdma->attributes, &rdma->speed);
    if (failure)
        return weft_topology_add_remark(im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_VERBS,
                                        rdma->node, im->error,
                                        "port %d of %.60s does not answer: %.100s", rdma->port,
                                        rdma->name, strerror(failure > 0 ? failure : errno));
    const struct ibv_port_attr *a = &rdma->attributes;
    // hardware of before link layers were told is InfiniBand
    unsigned layer =
        a->link_layer == IBV_LINK_LAYER_UNSPECIFIED ? IBV_LINK_LAYER_INFINIBAND : a->link_layer;
    rdma->attributes.link_layer = (uint8_t)layer;
    WEFT_TRY(set_text(im, rdma->node, port_key(rdma, "link_layer", key),
                      layer < sizeof layers / sizeof layers[0] ? layers[layer] : layers[0]));
    WEFT_TRY(read_state(im, rdma));
    if (a->lid != 0 && layer == IBV_LINK_LAYER_INFINIBAND)
        WEFT_TRY(set_number(im, rdma->node, port_key(rdma, "lid", key), a->lid));
    if (a->active_mtu >= IBV_MTU_256 && a->active_mtu <= IBV_MTU_4096)
        WEFT_TRY(
            set_number(im, rdma->node, port_key(rdma, "rdma_mtu", key), 128ll << a->active_mtu));
    return read_gids(im, rdma);
}

/* ---- devices ---- */

static weft_status read_device(struct verbs_import *im, struct rdma *rdma)
{
    struct ibv_device_attr attributes = {0};
    int failure = im->verbs->query_device(rdma->context, &attributes);
    if (failure)
        return weft_topology_add_remark(im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_VERBS,
                                        rdma->node, im->error, "%.60s does not answer: %.100s",
                                        rdma->name, strerror(failure > 0 ? failure : errno));
    char firmware[sizeof attributes.fw_ver];
    take_text(attributes.fw_ver, sizeof attributes.fw_ver, firmware);
    WEFT_TRY(set_text(im, rdma->node, "firmware", firmware));
    WEFT_TRY(set_guid(im, rdma->node, "node_guid", attributes.node_guid));
    WEFT_TRY(set_guid(im, rdma->node, "system_guid", attributes.sys_image_guid));
    WEFT_TRY(set_number(im, rdma->node, "num_ports", attributes.phys_port_cnt));
    if (attributes.phys_port_cnt > MAX_PORTS)
        WEFT_TRY(weft_topology_add_remark(im->topology, WEFT_REMARK_UNREAD, WEFT_SOURCE_VERBS,
                                          rdma->node, im->error,
                                          "%.60s is said to have %d ports; %d are looked at",
                                          rdma->name, attributes.phys_port_cnt, MAX_PORTS));
    for (rdma->port = 1; rdma->port <= attributes.phys_port_cnt && rdma->port <= MAX_PORTS;
         rdma->port++)
        WEFT_TRY(read_port(im, rdma));
    return WEFT_OK;
}

static weft_status import_device(struct verbs_import *im, struct ibv_device *device)
{
    struct rdma rdma = {.node = -1};
    const char *name = im->verbs->get_device_name(device);
    if (!name || !name[0])
        return WEFT_OK;
    take_text(name, sizeof rdma.name, rdma.name);
    for (char *slash = rdma.name; (slash = strchr(slash, '/'));) // no way out of its folder
        *slash = '?';
    WEFT_TRY(find_node(im, &rdma));
    errno = 0;
    rdma.context = im->verbs->open_device(device);
    if (!rdma.context)
        return weft_topology_add_remark(im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_VERBS,
                                        rdma.node, im->error, "%.60s cannot be opened: %.100s",
                                        rdma.name, strerror(errno ? errno : ENODEV));
    weft_status status = read_device(im, &rdma);
    im->verbs->close_device(rdma.context);
    return status;
}

static bool is_listed(const struct verbs_import *im, struct ibv_device **list, int count,
                      const char *name)
{
    for (int i = 0; i < count && list[i]; i++) {
        const char *listed = im->verbs->get_device_name(list[i]);
        if (listed && strncmp(listed, name, 63) == 0)
            return true;
    }
    return false;
}

/* A container shows the devices of the whole host, but not the files through which they are used.
 */
static weft_status remark_unlisted(struct verbs_import *im, struct ibv_device **list, int count)
{
    DIR *folder = weft_sysfs_list(&im->files, "sys/class/infiniband");
    weft_status status = WEFT_OK;
    int looked_at = 0;
    for (struct dirent *entry;
         folder && status == WEFT_OK && looked_at < MAX_DEVICES && (entry = readdir(folder));) {
        const char *name = entry->d_name;
        if (name[0] == '.' || is_listed(im, list, count, name))
            continue;
        looked_at++;
        int node =
            weft_topology_find_text(im->topology, WEFT_NODE_NIC, "rdma_device", entry->d_name);
        status = weft_topology_add_remark(
            im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_VERBS, node >= 0 ? node : im->host,
            im->error,
            "%.60s is there, but may not be used here: libibverbs does not list it (no "
            "/dev/infiniband/uverbs, or no driver for it)",
            name);
    }
    if (folder)
        closedir(folder);
    return status == WEFT_OK && looked_at == 0 && count == 0
               ? weft_fail(im->error, WEFT_UNSUPPORTED, "there is no RDMA device")
               : status;
}

static weft_status import_all(struct verbs_import *im)
{
    struct ibv_device *nothing[] = {NULL};
    struct weft_topology *t = im->topology;
    int count = 0;
    errno = 0;
    struct ibv_device **list = im->verbs->get_device_list(&count);
    if (!list && errno == ENOSYS)
        return weft_fail(im->error, WEFT_UNSUPPORTED, "the kernel has no RDMA");
    if (!list && errno)
        return weft_fail(im->error, WEFT_SYSTEM, "verbs cannot list devices: %s", strerror(errno));
    count = list && count > 0 ? count : 0;
    weft_status status = WEFT_OK;
    for (im->host = 0; im->host < t->num_nodes; im->host++)
        if (t->nodes[im->host].kind == WEFT_NODE_HOST)
            break;
    if (im->host == t->num_nodes)
        status = weft_topology_add_node(t, WEFT_NODE_HOST, "host", -1, &im->host, im->error);
    for (int i = 0; i < count && i < MAX_DEVICES && list[i] && status == WEFT_OK; i++)
        status = import_device(im, list[i]);
    if (status == WEFT_OK)
        status = remark_unlisted(im, list ? list : nothing, count);
    if (list)
        im->verbs->free_device_list(list);
    return status;
}

weft_status weft_probe_verbs_with(const struct weft_verbs *verbs, const char *root,
                                  struct weft_topology *topology, struct weft_error *error)
{
    struct verbs_import im = {.verbs = verbs, .topology = topology, .error = error, .host = -1};
    WEFT_TRY(weft_sysfs_open(root, &im.files, error));
    weft_status status = import_all(&im);
    weft_sysfs_close(&im.files);
    if (status == WEFT_OK)
        status = weft_gpudirect_judge(topology, root, verbs->reg_dmabuf_mr != NULL, error);
    return status;
}

static weft_status discover_with(const void *context, struct weft_topology *topology,
                                 struct weft_error *error)
{
    return weft_probe_verbs_with(context, "/", topology, error);
}

static bool verbs_available(const char **reason)
{
    struct weft_verbs verbs;
    struct weft_sysfs files;
    bool has_devices = false;
    if (weft_verbs_open(NULL, &verbs, NULL) != WEFT_OK) {
        *reason = "the RDMA verbs library (libibverbs.so.1) is not installed or too old";
        return false;
    }
    weft_verbs_close(&verbs);
    if (weft_sysfs_open("/", &files, NULL) == WEFT_OK) {
        has_devices = weft_sysfs_exists(&files, "sys/class/infiniband");
        weft_sysfs_close(&files);
    }
    *reason = "there is no RDMA device (no /sys/class/infiniband)";
    return has_devices;
}

static weft_status verbs_discover(struct weft_topology *topology, struct weft_error *error)
{
    struct weft_verbs verbs;
    WEFT_TRY(weft_verbs_open(NULL, &verbs, error));
    weft_status status =
        weft_probe_apart("RDMA verbs", timeout_ns, discover_with, &verbs, topology, error);
    weft_verbs_close(&verbs);
    return status;
}

const struct weft_probe weft_probe_verbs = {
    .name = "verbs",
    .phase = WEFT_PROBE_PHASE_DEVICES,
    .available = verbs_available,
    .discover = verbs_discover,
};
