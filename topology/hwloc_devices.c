/*
 * SPDX-License-Identifier: Apache-2.0
 * The device half of the hwloc probe: GPUs and other accelerators, NVSwitches and NICs with the PCI
 * tree between them and memory. A bridge becomes a node only where ways part (a PCIe switch); a
 * chain of ports without a branch is one link, as slow as its slowest part. Storage and the like
 * are only counted.
 *
 * hwloc reads the speed that a PCI link has now (it drops while a GPU idles), so it is `current`.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/guid.h"
#include "topology/hwloc_import.h"

enum {
    MAX_PCI_DEPTH = 64,   // deeper is no real machine
    MAX_JOINED_NUMA = 64, // domains that one device of unknown place is joined to
    VENDOR_NVIDIA = 0x10de,
    VENDOR_AMD = 0x1002,
    VENDOR_INTEL = 0x8086,
};

/* ---- which devices count ---- */

static bool has_osdev(hwloc_obj_t pci, hwloc_obj_osdev_type_t type)
{
    for (hwloc_obj_t child = pci->io_first_child; child; child = child->next_sibling)
        if (child->type == HWLOC_OBJ_OS_DEVICE && child->attr->osdev.type == type)
            return true;
    return false;
}

/* What has a co-processor of the operating system computes, whatever its class (NEC's vector
 * engines are of class 0b40). Server boards have a small VGA chip for the console; a GPU that
 * computes has a wide link. */
static bool is_gpu(hwloc_obj_t pci)
{
    const struct hwloc_pcidev_attr_s *a = &pci->attr->pcidev;
    if (has_osdev(pci, HWLOC_OBJ_OSDEV_COPROC))
        return true;
    if (a->class_id == 0x0302 || a->class_id == 0x1200)
        return a->vendor_id == VENDOR_NVIDIA || a->vendor_id == VENDOR_AMD ||
               a->vendor_id == VENDOR_INTEL;
    if (a->class_id == 0x0300 || a->class_id == 0x0380)
        return a->vendor_id == VENDOR_NVIDIA || (a->vendor_id == VENDOR_AMD && a->linkspeed > 7.0f);
    return false;
}

static bool is_nvswitch(hwloc_obj_t pci)
{
    const struct hwloc_pcidev_attr_s *a = &pci->attr->pcidev;
    return (pci->subtype && strcmp(pci->subtype, "NVSwitch") == 0) ||
           (a->class_id == 0x0680 && a->vendor_id == VENDOR_NVIDIA);
}

static bool is_network(hwloc_obj_t pci)
{
    unsigned class_id = pci->attr->pcidev.class_id;
    return class_id >> 8 == 0x02 || class_id == 0x0c06;
}

static bool is_usable_nic(hwloc_obj_t pci)
{
    return has_osdev(pci, HWLOC_OBJ_OSDEV_NETWORK) || has_osdev(pci, HWLOC_OBJ_OSDEV_OPENFABRICS);
}

/* The node kind that the device becomes; -1: none. */
static int kind_of(hwloc_obj_t pci)
{
    if (is_nvswitch(pci))
        return WEFT_NODE_NVSWITCH;
    if (is_gpu(pci))
        return WEFT_NODE_GPU;
    return is_usable_nic(pci) ? WEFT_NODE_NIC : -1;
}

/* ---- the PCI tree ---- */

/* Whether something below `io` counts. */
static bool leads_somewhere(hwloc_obj_t io, int depth)
{
    if (depth > MAX_PCI_DEPTH)
        return false;
    if (io->type == HWLOC_OBJ_PCI_DEVICE)
        return kind_of(io) >= 0;
    if (io->type != HWLOC_OBJ_BRIDGE)
        return false;
    for (hwloc_obj_t child = io->io_first_child; child; child = child->next_sibling)
        if (leads_somewhere(child, depth + 1))
            return true;
    return false;
}

/* Ways that part below a bridge; the functions of one device share its slot, so they are one. */
static int num_branches(hwloc_obj_t bridge, int depth)
{
    int branches = 0;
    const struct hwloc_pcidev_attr_s *last = NULL;
    for (hwloc_obj_t child = bridge->io_first_child; child; child = child->next_sibling) {
        if (!leads_somewhere(child, depth + 1))
            continue;
        bool is_device = child->type == HWLOC_OBJ_PCI_DEVICE;
        const struct hwloc_pcidev_attr_s *a = is_device ? &child->attr->pcidev : NULL;
        branches += !(a && last && a->bus == last->bus && a->dev == last->dev);
        last = a;
    }
    return branches;
}

static weft_status set_pci_attributes(struct hwloc_import *im, int node,
                                      const struct hwloc_pcidev_attr_s *a)
{
    char text[32];
    snprintf(text, sizeof text, "%04x:%02x:%02x.%x", (unsigned)a->domain, a->bus, a->dev, a->func);
    WEFT_TRY(weft_hwloc_set_text(im, node, "pci_address", text));
    if (a->vendor_id == 0 && a->device_id == 0) // unreadable, as one NVSwitch of a DGX-2 was
        return WEFT_OK;
    snprintf(text, sizeof text, "%04x:%04x", a->vendor_id, a->device_id);
    WEFT_TRY(weft_hwloc_set_text(im, node, "pci_id", text));
    snprintf(text, sizeof text, "%04x00", a->class_id);
    return weft_hwloc_set_text(im, node, "pci_class", text);
}

/* Bytes per second from hwloc's GB/s; -1: hwloc does not know. */
static int64_t bytes_per_second(float gigabytes)
{
    if (!(gigabytes > 0.0f) || gigabytes > 1e6f)
        return -1;
    return llround((double)gigabytes * 1e6) * 1000; // hwloc prints six digits
}

static int64_t narrower(int64_t a, int64_t b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return a < b ? a : b;
}

static weft_status join(struct hwloc_import *im, int kind, int from, int to, int64_t bandwidth)
{
    struct weft_link link = weft_link_make(kind, from, to);
    if (bandwidth >= 0)
        link.bandwidth.current = (struct weft_quantity){bandwidth, WEFT_SOURCE_HWLOC};
    return weft_topology_add_link(im->topology, &link, NULL, im->error);
}

/* The fact under the first of `names` that an OS device of `pci` has; NULL: none. */
static const char *osdev_info(hwloc_obj_t pci, const char *const *names, int num_names)
{
    for (int i = 0; i < num_names; i++)
        for (hwloc_obj_t child = pci->io_first_child; child; child = child->next_sibling) {
            const char *found = hwloc_obj_get_info_by_name(child, names[i]);
            if (found && found[0])
                return found;
        }
    return NULL;
}

static weft_status set_gpu_attributes(struct hwloc_import *im, hwloc_obj_t pci, int node)
{
    static const char *const models[] = {"GPUModel", "OpenCLDeviceName", "LevelZeroModel"};
    static const char *const uuids[] = {"NVIDIAUUID", "AMDUUID", "LevelZeroUUID"};
    static const char *const serials[] = {"NVIDIASerial", "AMDSerial", "LevelZeroSerialNumber",
                                          "VectorEngineSerialNumber"};
    char name[64];
    const char *model = osdev_info(pci, models, 3);
    if (!model)
        model = hwloc_obj_get_info_by_name(pci, "PCIDevice");
    for (hwloc_obj_t child = pci->io_first_child; child; child = child->next_sibling) {
        if (child->type != HWLOC_OBJ_OS_DEVICE || !child->subtype ||
            strcmp(child->subtype, "VectorEngine") != 0)
            continue;
        const char *number = hwloc_obj_get_info_by_name(child, "VectorEngineModel");
        snprintf(name, sizeof name, "NEC Vector Engine%s%.20s", number ? " " : "",
                 number ? number : "");
        model = model ? model : name;
        WEFT_TRY(weft_hwloc_set_text(im, node, "accelerator", child->name)); // ve0
    }
    WEFT_TRY(weft_hwloc_set_text(im, node, "uuid", osdev_info(pci, uuids, 3)));
    WEFT_TRY(weft_hwloc_set_text(im, node, "serial", osdev_info(pci, serials, 4)));
    return weft_hwloc_set_text(im, node, "model", model);
}

/* ---- NICs ---- */

/* Old versions of hwloc list RDMA devices as network interfaces. */
static bool is_rdma(hwloc_obj_t osdev)
{
    return osdev->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS ||
           (osdev->name && strncmp(osdev->name, "mlx", 3) == 0 && strchr(osdev->name, '_'));
}

/* The first RDMA device or interface of a PCI function; NULL: none. */
static hwloc_obj_t first_port(hwloc_obj_t pci, bool of_rdma)
{
    for (hwloc_obj_t child = pci->io_first_child; child; child = child->next_sibling)
        if (child->type == HWLOC_OBJ_OS_DEVICE && child->name && is_rdma(child) == of_rdma &&
            (of_rdma || child->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK))
            return child;
    return NULL;
}

/* Of "0002:c903:0000:1234"; other forms set nothing. `skip`: what comes first in a GID. */
static weft_status set_guid(struct hwloc_import *im, int node, const char *key, const char *text,
                            size_t skip)
{
    if (!text || strlen(text) != skip + 19)
        return WEFT_OK;
    return weft_topology_learn_guid(im->topology, node, key, weft_guid_read(text + skip),
                                    WEFT_SOURCE_HWLOC, im->error);
}

static weft_status set_rdma_attributes(struct hwloc_import *im, hwloc_obj_t osdev, int node)
{
    WEFT_TRY(weft_hwloc_set_text(im, node, "rdma_device", osdev->name));
    WEFT_TRY(set_guid(im, node, "node_guid", hwloc_obj_get_info_by_name(osdev, "NodeGUID"), 0));
    WEFT_TRY(
        set_guid(im, node, "system_guid", hwloc_obj_get_info_by_name(osdev, "SysImageGUID"), 0));
    const char *lid = hwloc_obj_get_info_by_name(osdev, "Port1LID");
    unsigned long number = lid ? strtoul(lid, NULL, 0) : 0;
    if (number == 0 || number >= 0xc000) // not of InfiniBand: a GID of RoCE is no port's GUID
        return WEFT_OK;
    WEFT_TRY(weft_hwloc_set_number(im, node, "lid", (int64_t)number));
    return set_guid(im, node, "port_guid", hwloc_obj_get_info_by_name(osdev, "Port1GID0"), 20);
}

static weft_status set_nic_attributes(struct hwloc_import *im, hwloc_obj_t pci, int node)
{
    hwloc_obj_t interface = first_port(pci, false), rdma = first_port(pci, true);
    char all[WEFT_TOPOLOGY_NAME_BYTES] = "";
    int interfaces = 0;
    for (hwloc_obj_t child = pci->io_first_child; child; child = child->next_sibling)
        if (child->type == HWLOC_OBJ_OS_DEVICE && child->name && !is_rdma(child) &&
            child->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK) {
            size_t used = strlen(all);
            snprintf(all + used, sizeof all - used, "%s%.60s", interfaces++ ? " " : "",
                     child->name);
        }
    if (interface) {
        WEFT_TRY(weft_hwloc_set_text(im, node, "interface", interface->name));
        WEFT_TRY(
            weft_hwloc_set_text(im, node, "mac", hwloc_obj_get_info_by_name(interface, "Address")));
    }
    if (interfaces > 1) // several ports of one function
        WEFT_TRY(weft_hwloc_set_text(im, node, "interfaces", all));
    if (rdma)
        WEFT_TRY(set_rdma_attributes(im, rdma, node));
    return weft_hwloc_set_text(im, node, "model", hwloc_obj_get_info_by_name(pci, "PCIDevice"));
}

/* RDMA devices go by their verbs name, as NCCL and UCX print it; others by their interface. */
static void name_nic(hwloc_obj_t pci, char *word, size_t bytes)
{
    hwloc_obj_t port = first_port(pci, true);
    port = port ? port : first_port(pci, false);
    const struct hwloc_pcidev_attr_s *a = &pci->attr->pcidev;
    if (port)
        snprintf(word, bytes, "%s", port->name);
    else
        snprintf(word, bytes, "nic-%04x:%02x:%02x.%x", (unsigned)a->domain, a->bus, a->dev,
                 a->func);
}

static weft_status import_device(struct hwloc_import *im, hwloc_obj_t pci, int parent,
                                 int64_t bandwidth)
{
    int kind = kind_of(pci), node;
    char word[128];
    if (kind == WEFT_NODE_NIC)
        name_nic(pci, word, sizeof word);
    else
        snprintf(word, sizeof word, "%s%d", weft_node_kinds[kind].name,
                 kind == WEFT_NODE_GPU ? im->num_gpus++ : im->num_nvswitches++);
    WEFT_TRY(weft_hwloc_add(im, kind, word, parent, &node));
    pci->userdata = (void *)(intptr_t)(node + 1);
    WEFT_TRY(set_pci_attributes(im, node, &pci->attr->pcidev));
    if (kind == WEFT_NODE_NIC)
        WEFT_TRY(set_nic_attributes(im, pci, node));
    else
        WEFT_TRY(set_gpu_attributes(im, pci, node));
    bandwidth = narrower(bandwidth, bytes_per_second(pci->attr->pcidev.linkspeed));
    return join(im, WEFT_LINK_PCIE, parent, node, bandwidth);
}

/* `bandwidth`: the narrowest of the ports passed since `parent`; -1: none known. */
static weft_status import_io(struct hwloc_import *im, hwloc_obj_t io, int parent, int64_t bandwidth,
                             int depth)
{
    if (!leads_somewhere(io, depth))
        return WEFT_OK;
    if (io->type == HWLOC_OBJ_PCI_DEVICE)
        return import_device(im, io, parent, bandwidth);
    bool is_port = io->attr->bridge.upstream_type == HWLOC_OBJ_BRIDGE_PCI;
    if (is_port) {
        const struct hwloc_pcidev_attr_s *a = &io->attr->bridge.upstream.pci;
        bandwidth = narrower(bandwidth, bytes_per_second(a->linkspeed));
    }
    if (is_port && num_branches(io, depth) > 1) {
        char word[32];
        int node;
        snprintf(word, sizeof word, "pcie-switch%d", im->num_switches++);
        WEFT_TRY(weft_hwloc_add(im, WEFT_NODE_PCIE_SWITCH, word, parent, &node));
        WEFT_TRY(set_pci_attributes(im, node, &io->attr->bridge.upstream.pci));
        WEFT_TRY(join(im, WEFT_LINK_PCIE, parent, node, bandwidth));
        parent = node;
        bandwidth = -1;
    }
    for (hwloc_obj_t child = io->io_first_child; child; child = child->next_sibling)
        WEFT_TRY(import_io(im, child, parent, bandwidth, depth + 1));
    return WEFT_OK;
}

/* ---- where the tree meets memory ---- */

/* Joins `node` to each NUMA domain near `place`, or to all when the locality is not known.
 * *only_numa is that domain when it is just one, else the host. */
static weft_status join_memory(struct hwloc_import *im, hwloc_obj_t place, int *only_numa, int node)
{
    hwloc_obj_t numa = NULL;
    int found = 0;
    bool has_many = hwloc_get_nbobjs_by_type(im->hwloc, HWLOC_OBJ_NUMANODE) > MAX_JOINED_NUMA;
    for (int any = 0; any < 2 && found == 0; any++)
        while ((numa = hwloc_get_next_obj_by_type(im->hwloc, HWLOC_OBJ_NUMANODE, numa))) {
            bool is_near = (any && !has_many) ||
                           (place->nodeset && hwloc_bitmap_isset(place->nodeset, numa->os_index));
            if (!numa->userdata || !is_near || found >= MAX_JOINED_NUMA)
                continue;
            if (node >= 0)
                WEFT_TRY(join(im, WEFT_LINK_ROOT, weft_hwloc_node(numa), node, -1));
            *only_numa = found++ == 0 ? weft_hwloc_node(numa) : im->host;
        }
    return WEFT_OK;
}

/* Near all of several NUMA domains, or near none that is there, means that nobody knows. */
static bool is_anywhere(struct hwloc_import *im, hwloc_obj_t place)
{
    hwloc_obj_t numa = NULL;
    int domains = 0, near = 0;
    while ((numa = hwloc_get_next_obj_by_type(im->hwloc, HWLOC_OBJ_NUMANODE, numa)))
        if (numa->userdata) {
            domains++;
            near += place->nodeset && hwloc_bitmap_isset(place->nodeset, numa->os_index);
        }
    return domains > 1 && (near == 0 || near == domains);
}

static weft_status import_host_bridge(struct hwloc_import *im, hwloc_obj_t bridge)
{
    hwloc_obj_t place = hwloc_get_non_io_ancestor_obj(im->hwloc, bridge);
    if (!place || !leads_somewhere(bridge, 0))
        return WEFT_OK;
    int parent = im->host, root;
    WEFT_TRY(join_memory(im, place, &parent, -1));
    char word[32];
    snprintf(word, sizeof word, "pcie-root%d", im->num_roots++);
    WEFT_TRY(weft_hwloc_add(im, WEFT_NODE_PCIE_ROOT, word, parent, &root));
    WEFT_TRY(join_memory(im, place, &parent, root));
    im->roots_without_place += is_anywhere(im, place);
    for (hwloc_obj_t child = bridge->io_first_child; child; child = child->next_sibling)
        WEFT_TRY(import_io(im, child, root, -1, 1));
    return WEFT_OK;
}

/* Interfaces on no PCI device: paravirtual ones (Xen, Hyper-V), USB, on-chip. */
static weft_status import_loose_nic(struct hwloc_import *im, hwloc_obj_t osdev)
{
    if (osdev->attr->osdev.type != HWLOC_OBJ_OSDEV_NETWORK || !osdev->name ||
        strcmp(osdev->name, "lo") == 0)
        return WEFT_OK;
    hwloc_obj_t up = osdev->parent;
    while (up && up->type != HWLOC_OBJ_PCI_DEVICE)
        up = up->parent;
    hwloc_obj_t place = hwloc_get_non_io_ancestor_obj(im->hwloc, osdev);
    if (up || !place)
        return WEFT_OK;
    int parent = im->host, node;
    WEFT_TRY(join_memory(im, place, &parent, -1));
    WEFT_TRY(weft_hwloc_add(im, WEFT_NODE_NIC, osdev->name, parent, &node));
    osdev->userdata = (void *)(intptr_t)(node + 1);
    WEFT_TRY(weft_hwloc_set_text(im, node, "interface", osdev->name));
    return join_memory(im, place, &parent, node);
}

/* ---- what is hidden, what is left out ---- */

struct counts {
    int without_driver, virtio, others;
    int without_speed; // devices that count
};

static void count_device(struct counts *counts, hwloc_obj_t pci)
{
    const struct hwloc_pcidev_attr_s *a = &pci->attr->pcidev;
    bool matters = kind_of(pci) >= 0;
    counts->without_driver += is_network(pci) && !is_usable_nic(pci);
    counts->virtio += a->vendor_id == 0x1af4;
    counts->others += !matters && !is_network(pci);
    counts->without_speed += matters && bytes_per_second(a->linkspeed) < 0;
}

static weft_status remark_hidden(struct hwloc_import *im, int count, const char *what,
                                 const char *why)
{
    if (count == 0)
        return WEFT_OK;
    return weft_topology_add_remark(im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_HWLOC, im->host,
                                    im->error, "%s: %d; %s", what, count, why);
}

/* Whether the host is a guest, as far as its own words go. */
static bool is_virtual(struct hwloc_import *im, const struct counts *counts)
{
    static const char *const makers[] = {
        "QEMU", "Amazon EC2", "Microsoft Corporation", "Google", "VMware", "Xen", "OpenStack"};
    const char *vendor = weft_topology_text(im->topology, im->host, "vendor");
    const char *product = weft_topology_text(im->topology, im->host, "product");
    size_t length = product ? strlen(product) : 0;
    if (length >= 5 && strcmp(product + length - 5, "metal") == 0) // g4dn.metal
        return false;
    for (size_t i = 0; vendor && i < sizeof makers / sizeof makers[0]; i++)
        if (strncmp(vendor, makers[i], strlen(makers[i])) == 0)
            return true;
    return counts->virtio > 0;
}

/* Guests see GPUs and NICs at the host bridge ("PHB" for all pairs) whatever switches there are. */
static weft_status remark_flat_tree(struct hwloc_import *im, const struct counts *counts)
{
    if (im->num_switches > 0 || im->num_gpus < 2 || !is_virtual(im, counts))
        return WEFT_OK;
    return remark_hidden(im, im->num_gpus, "GPUs at the host bridge of a virtual machine",
                         "PCIe switches between them and to NICs cannot be seen");
}

static weft_status set_counts(struct hwloc_import *im, const struct counts *counts)
{
    const struct {
        const char *key;
        int count;
    } facts[] = {{"network_functions_without_interface", counts->without_driver},
                 {"virtio_devices", counts->virtio},
                 {"other_pci_devices", counts->others}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
        if (facts[i].count)
            WEFT_TRY(weft_hwloc_set_number(im, im->host, facts[i].key, facts[i].count));
    WEFT_TRY(remark_hidden(im, counts->virtio, "virtio devices",
                           "the hypervisor hides what they really are"));
    WEFT_TRY(remark_hidden(im, im->roots_without_place, "PCIe roots near no NUMA domain",
                           "which socket their devices belong to cannot be seen"));
    WEFT_TRY(remark_flat_tree(im, counts));
    if (hwloc_topology_is_thissystem(im->hwloc)) // the pcie probe looks for itself
        return WEFT_OK;
    return remark_hidden(im, counts->without_speed, "GPUs, NVSwitches or NICs without a PCIe speed",
                         "hwloc could not see it");
}

weft_status weft_hwloc_import_devices(struct hwloc_import *im)
{
    hwloc_obj_t object = NULL;
    struct counts counts = {0};
    while ((object = hwloc_get_next_bridge(im->hwloc, object)))
        if (object->attr->bridge.upstream_type == HWLOC_OBJ_BRIDGE_HOST)
            WEFT_TRY(import_host_bridge(im, object));
    // without a host bridge the whole tree is hidden, and devices hang on the host
    while ((object = hwloc_get_next_pcidev(im->hwloc, object))) {
        count_device(&counts, object);
        if (object->userdata || kind_of(object) < 0)
            continue;
        WEFT_TRY(import_device(im, object, im->host, -1));
    }
    while ((object = hwloc_get_next_osdev(im->hwloc, object)))
        WEFT_TRY(import_loose_nic(im, object));
    return set_counts(im, &counts);
}
