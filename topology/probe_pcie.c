/*
 * SPDX-License-Identifier: Apache-2.0
 * PCIe links from sysfs. The path of a device there names all bridges above it. Going up, ports
 * alternate: a device and the port it is plugged into are the two ends of one link, then comes the
 * inside of a switch, then its upstream port and the port above are the next. A link does what the
 * weaker end does, in rate and in lanes separately.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sysfs.h"
#include "topology/pcie.h"
#include "topology/probe.h"

enum {
    MAX_CHAIN = 40, // bridges above a device
    ADDRESS_BYTES = 32,
};

/* A device and the bridges above it, from below. */
struct chain {
    char addresses[MAX_CHAIN][ADDRESS_BYTES];
    int count;
};

/* What one end of a link says; -1: nothing. */
struct port {
    int64_t rate_max, rate, lanes_max, lanes;
};

struct reading {
    struct weft_topology *topology;
    const struct weft_sysfs *sysfs;
    struct weft_error *error;
    int *up_link; // of each node: its PCIe link to its parent, -1: none
    int without_speed, without_numa, first_without_speed;
};

/* ---- reading sysfs ---- */

static bool is_address(const char *text, size_t bytes)
{
    // 0000:1a:00.0; domains may have more digits
    size_t digits = strspn(text, "0123456789abcdef");
    if (bytes >= ADDRESS_BYTES || digits < 4 || digits + 8 != bytes || text[digits] != ':' ||
        text[digits + 3] != ':' || text[digits + 6] != '.')
        return false;
    return strspn(text, "0123456789abcdef:.") >= bytes;
}

/* The chain of `address`; without a path it is the device alone. */
static void read_chain(const struct reading *r, const char *address, struct chain *chain)
{
    char path[1024];
    chain->count = 0;
    if (weft_sysfs_target(r->sysfs, path, sizeof path, "bus/pci/devices/%s", address)) {
        for (size_t end = strlen(path); end > 0 && chain->count < MAX_CHAIN;) {
            size_t start = end;
            while (start > 0 && path[start - 1] != '/')
                start--;
            if (!is_address(path + start, end - start))
                break; // pci0000:00, or above
            memcpy(chain->addresses[chain->count], path + start, end - start);
            chain->addresses[chain->count++][end - start] = '\0';
            end = start > 0 ? start - 1 : 0;
        }
    }
    if (chain->count == 0)
        snprintf(chain->addresses[chain->count++], ADDRESS_BYTES, "%.31s", address);
}

/* The port so many steps above the device at the chain's start, by way of that device's folder: in
 * copies of machines bridges often have no entry of their own among the devices. A virtual function
 * shares the link of its physical one and does not describe it. */
static struct port read_port(const struct reading *r, const struct chain *chain, int steps)
{
    char folder[64 + 4 * MAX_CHAIN], rate_max[32], rate[32], lanes_max[32], lanes[32];
    int used = snprintf(folder, sizeof folder, "bus/pci/devices/%s", chain->addresses[0]);
    for (int i = 0; i < steps; i++)
        used += snprintf(folder + used, sizeof folder - (size_t)used, "/..");
    if (steps == 0 && weft_sysfs_exists(r->sysfs, "%s/physfn", folder))
        snprintf(folder + used, sizeof folder - (size_t)used, "/physfn");
    weft_sysfs_text(r->sysfs, rate_max, sizeof rate_max, "%s/max_link_speed", folder);
    weft_sysfs_text(r->sysfs, lanes_max, sizeof lanes_max, "%s/max_link_width", folder);
    weft_sysfs_text(r->sysfs, rate, sizeof rate, "%s/current_link_speed", folder);
    weft_sysfs_text(r->sysfs, lanes, sizeof lanes, "%s/current_link_width", folder);
    return (struct port){weft_pcie_rate(rate_max), weft_pcie_rate(rate), weft_pcie_lanes(lanes_max),
                         weft_pcie_lanes(lanes)};
}

static int64_t lesser(int64_t a, int64_t b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return a < b ? a : b;
}

static struct port weaker(struct port a, struct port b)
{
    return (struct port){lesser(a.rate_max, b.rate_max), lesser(a.rate, b.rate),
                         lesser(a.lanes_max, b.lanes_max), lesser(a.lanes, b.lanes)};
}

/* ---- into the graph ---- */

/* Sources print a different number of digits; that is no contradiction. */
static weft_status learn_near(struct reading *r, int link, const char *what,
                              struct weft_quantity *quantity, int64_t value)
{
    int64_t difference =
        quantity->value > value ? quantity->value - value : value - quantity->value;
    if (value < 0)
        return WEFT_OK;
    if (quantity->value >= 0 && difference <= value / 1000) {
        *quantity = (struct weft_quantity){value, WEFT_SOURCE_SYSFS};
        return WEFT_OK;
    }
    return weft_topology_learn_quantity(r->topology, link, what, quantity, value, WEFT_SOURCE_SYSFS,
                                        r->error);
}

static weft_status learn_text(struct reading *r, int node, const char *key, const char *text)
{
    return weft_topology_learn_text(r->topology, node, key, text, WEFT_SOURCE_SYSFS, r->error);
}

static weft_status learn_number(struct reading *r, int node, const char *key, int64_t number)
{
    if (number < 0)
        return WEFT_OK;
    return weft_topology_learn_number(r->topology, node, key, number, WEFT_SOURCE_SYSFS, r->error);
}

static weft_status read_link(struct reading *r, int node, const struct chain *chain)
{
    struct weft_topology *t = r->topology;
    const char *above = weft_topology_text(t, t->nodes[node].parent, "pci_address");
    int64_t nominal = -1, current = -1;
    struct port own = read_port(r, chain, 0);
    for (int i = 0; i < chain->count; i += 2) {
        if (above && strcmp(chain->addresses[i], above) == 0)
            break;
        struct port link = read_port(r, chain, i);
        bool has_partner =
            i + 1 < chain->count && !(above && strcmp(chain->addresses[i + 1], above) == 0);
        if (has_partner)
            link = weaker(link, read_port(r, chain, i + 1));
        if (i == 0)
            own = link;
        nominal = lesser(nominal, weft_pcie_payload(link.rate_max, link.lanes_max));
        current = lesser(current, weft_pcie_payload(link.rate, link.lanes));
        if (!has_partner)
            break;
    }
    struct weft_figure *bandwidth = &t->links[r->up_link[node]].bandwidth;
    WEFT_TRY(learn_near(r, r->up_link[node], "nominal bandwidth", &bandwidth->nominal, nominal));
    WEFT_TRY(learn_near(r, r->up_link[node], "current bandwidth", &bandwidth->current, current));
    WEFT_TRY(learn_number(r, node, "pcie_lanes", own.lanes));
    WEFT_TRY(learn_number(r, node, "pcie_lanes_max", own.lanes_max));
    if (nominal < 0 && current < 0 && bandwidth->nominal.value < 0 &&
        bandwidth->current.value < 0 && r->without_speed++ == 0)
        r->first_without_speed = node;
    return WEFT_OK;
}

/* What decides whether devices can reach each other, or a NIC a GPU, without the root complex. */
static weft_status read_isolation(struct reading *r, int node, const struct chain *chain)
{
    const char *address = chain->addresses[0], *group;
    char path[512], text[64];
    if (weft_sysfs_target(r->sysfs, path, sizeof path, "bus/pci/devices/%s/iommu_group", address)) {
        group = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
        if (group[0] && strspn(group, "0123456789") == strlen(group) && strlen(group) < 10) {
            WEFT_TRY(learn_number(r, node, "iommu_group", atoi(group)));
            if (weft_sysfs_text(r->sysfs, text, sizeof text, "kernel/iommu_groups/%s/type", group))
                WEFT_TRY(learn_text(r, node, "iommu", text));
        }
    }
    if (weft_sysfs_target(r->sysfs, path, sizeof path, "bus/pci/devices/%s/physfn", address)) {
        const char *physical = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
        if (is_address(physical, strlen(physical)))
            WEFT_TRY(learn_text(r, node, "virtual_function_of", physical));
    }
    int acs = chain->count > 1 ? 0 : -1;
    for (int i = 1; i < chain->count && acs == 0; i++)
        acs = weft_pcie_redirects(r->sysfs, "", chain->addresses[i]);
    return acs < 0 ? WEFT_OK : learn_text(r, node, "acs", acs ? "redirects" : "off");
}

static weft_status read_node(struct reading *r, int node)
{
    const struct weft_topology *t = r->topology;
    const char *address = weft_topology_text(t, node, "pci_address");
    if (!address || !is_address(address, strlen(address)) ||
        !weft_sysfs_exists(r->sysfs, "bus/pci/devices/%s", address))
        return WEFT_OK;
    struct chain chain;
    read_chain(r, address, &chain);
    if (r->up_link[node] >= 0)
        WEFT_TRY(read_link(r, node, &chain));
    if (t->nodes[node].kind == WEFT_NODE_PCIE_SWITCH)
        return WEFT_OK;
    r->without_numa += weft_sysfs_number(r->sysfs, 0, "bus/pci/devices/%s/numa_node", address) < 0;
    return read_isolation(r, node, &chain);
}

static weft_status read_hosts(struct reading *r)
{
    struct weft_topology *t = r->topology;
    int host = -1, units = 0;
    for (int i = 0; i < t->num_nodes && host < 0; i++)
        host = t->nodes[i].kind == WEFT_NODE_HOST ? i : -1;
    if (host < 0)
        return WEFT_OK;
    DIR *list = weft_sysfs_list(r->sysfs, "class/iommu");
    for (struct dirent *entry; list && (entry = readdir(list));)
        units += entry->d_name[0] != '.';
    if (list) {
        closedir(list);
        WEFT_TRY(learn_text(r, host, "iommu", units ? "on" : "off"));
    }
    if (r->without_numa && weft_topology_count(t, WEFT_NODE_NUMA) > 1)
        WEFT_TRY(weft_topology_add_remark(t, WEFT_REMARK_HIDDEN, WEFT_SOURCE_SYSFS, host, r->error,
                                          "%d PCI devices have NUMA node -1: the firmware or the "
                                          "hypervisor does not say which socket is near",
                                          r->without_numa));
    if (r->without_speed)
        WEFT_TRY(weft_topology_add_remark(
            t, WEFT_REMARK_HIDDEN, WEFT_SOURCE_SYSFS, r->first_without_speed, r->error,
            "%d PCI device%s no link speed: a hypervisor hides it, or %s part of the root complex",
            r->without_speed, r->without_speed > 1 ? "s here show" : " here shows",
            r->without_speed > 1 ? "they are" : "it is"));
    return WEFT_OK;
}

weft_status weft_pcie_read_sysfs(struct weft_topology *topology, const char *root,
                                 struct weft_error *error)
{
    struct weft_sysfs sysfs;
    WEFT_TRY(weft_sysfs_open(root, &sysfs, error));
    struct reading r = {.topology = topology, .sysfs = &sysfs, .error = error};
    r.up_link = malloc(((size_t)topology->num_nodes + 1) * sizeof *r.up_link);
    weft_status status = WEFT_OK;
    if (!r.up_link)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "pcie: no memory");
    for (int i = 0; status == WEFT_OK && i < topology->num_nodes; i++)
        r.up_link[i] = -1;
    for (int i = 0; status == WEFT_OK && i < topology->num_links; i++) {
        const struct weft_link *link = &topology->links[i];
        if (link->kind == WEFT_LINK_PCIE && topology->nodes[link->to].parent == link->from)
            r.up_link[link->to] = i;
        else if (link->kind == WEFT_LINK_PCIE && topology->nodes[link->from].parent == link->to)
            r.up_link[link->from] = i;
    }
    for (int i = 0; status == WEFT_OK && i < topology->num_nodes; i++)
        status = read_node(&r, i);
    if (status == WEFT_OK)
        status = read_hosts(&r);
    free(r.up_link);
    weft_sysfs_close(&sysfs);
    return status;
}

/* ---- probe ---- */

static bool pcie_available(const char **reason)
{
    if (access("/sys/bus/pci/devices", R_OK) == 0)
        return true;
    *reason = "no /sys/bus/pci here";
    return false;
}

static weft_status pcie_discover(struct weft_topology *topology, struct weft_error *error)
{
    return weft_pcie_read_sysfs(topology, "/sys", error);
}

const struct weft_probe weft_probe_pcie = {
    .name = "pcie",
    .phase = WEFT_PROBE_PHASE_DEVICES,
    .available = pcie_available,
    .discover = pcie_discover,
};
