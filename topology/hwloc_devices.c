/*
 * SPDX-License-Identifier: Apache-2.0
 * The device half of the hwloc probe: GPUs, NVSwitches and NICs with the PCI tree between them and
 * memory. A bridge becomes a node only where ways part (a PCIe switch); a chain of ports without a
 * branch is one link, as slow as its slowest part. Storage and the like are left out.
 *
 * hwloc reads the speed that a PCI link has now (it drops while a GPU idles), so it is `current`.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "topology/hwloc_import.h"

enum {
    MAX_PCI_DEPTH = 64, // deeper is no real machine
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

/* Server boards have a small VGA chip for the console; a GPU that computes has a wide link. */
static bool is_gpu(hwloc_obj_t pci)
{
    const struct hwloc_pcidev_attr_s *a = &pci->attr->pcidev;
    if (a->class_id == 0x0302 || a->class_id == 0x1200)
        return a->vendor_id == VENDOR_NVIDIA || a->vendor_id == VENDOR_AMD ||
               a->vendor_id == VENDOR_INTEL || has_osdev(pci, HWLOC_OBJ_OSDEV_COPROC);
    if (a->class_id == 0x0300 || a->class_id == 0x0380)
        return a->vendor_id == VENDOR_NVIDIA || has_osdev(pci, HWLOC_OBJ_OSDEV_COPROC) ||
               (a->vendor_id == VENDOR_AMD && a->linkspeed > 7.0f);
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
    snprintf(text, sizeof text, "%04x:%04x", a->vendor_id, a->device_id);
    return weft_hwloc_set_text(im, node, "pci_id", text);
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

static weft_status set_gpu_attributes(struct hwloc_import *im, hwloc_obj_t pci, int node)
{
    const char *model = NULL;
    for (hwloc_obj_t child = pci->io_first_child; child; child = child->next_sibling) {
        const char *found = hwloc_obj_get_info_by_name(child, "GPUModel");
        model = found && !model ? found : model;
    }
    if (!model)
        model = hwloc_obj_get_info_by_name(pci, "PCIDevice");
    return weft_hwloc_set_text(im, node, "model", model);
}

static weft_status set_nic_attributes(struct hwloc_import *im, hwloc_obj_t pci, int node)
{
    for (hwloc_obj_t child = pci->io_first_child; child; child = child->next_sibling) {
        if (child->type != HWLOC_OBJ_OS_DEVICE)
            continue;
        if (child->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK) {
            WEFT_TRY(weft_hwloc_set_text(im, node, "interface", child->name));
            WEFT_TRY(
                weft_hwloc_set_text(im, node, "mac", hwloc_obj_get_info_by_name(child, "Address")));
        } else if (child->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS) {
            WEFT_TRY(weft_hwloc_set_text(im, node, "rdma_device", child->name));
            WEFT_TRY(weft_hwloc_set_text(im, node, "node_guid",
                                         hwloc_obj_get_info_by_name(child, "NodeGUID")));
        }
    }
    return weft_hwloc_set_text(im, node, "model", hwloc_obj_get_info_by_name(pci, "PCIDevice"));
}

/* RDMA devices go by their verbs name, as NCCL and UCX print it; others by their interface. */
static void name_nic(hwloc_obj_t pci, char *word, size_t bytes)
{
    const char *interface = NULL, *rdma = NULL;
    for (hwloc_obj_t child = pci->io_first_child; child; child = child->next_sibling) {
        if (child->type != HWLOC_OBJ_OS_DEVICE || !child->name)
            continue;
        if (child->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS)
            rdma = rdma ? rdma : child->name;
        else if (child->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK)
            interface = interface ? interface : child->name;
    }
    const struct hwloc_pcidev_attr_s *a = &pci->attr->pcidev;
    if (rdma || interface)
        snprintf(word, bytes, "%s", rdma ? rdma : interface);
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
    for (int any = 0; any < 2 && found == 0; any++)
        while ((numa = hwloc_get_next_obj_by_type(im->hwloc, HWLOC_OBJ_NUMANODE, numa))) {
            bool is_near =
                any || !place->nodeset || hwloc_bitmap_isset(place->nodeset, numa->os_index);
            if (!numa->userdata || !is_near)
                continue;
            if (node >= 0)
                WEFT_TRY(join(im, WEFT_LINK_ROOT, weft_hwloc_node(numa), node, -1));
            *only_numa = found++ == 0 ? weft_hwloc_node(numa) : im->host;
        }
    return WEFT_OK;
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

weft_status weft_hwloc_import_devices(struct hwloc_import *im)
{
    hwloc_obj_t object = NULL;
    int without_driver = 0, virtual_devices = 0;
    while ((object = hwloc_get_next_bridge(im->hwloc, object)))
        if (object->attr->bridge.upstream_type == HWLOC_OBJ_BRIDGE_HOST)
            WEFT_TRY(import_host_bridge(im, object));
    // without a host bridge the whole tree is hidden, and devices hang on the host
    while ((object = hwloc_get_next_pcidev(im->hwloc, object))) {
        without_driver += is_network(object) && !is_usable_nic(object);
        virtual_devices += object->attr->pcidev.vendor_id == 0x1af4; // virtio
        if (object->userdata || kind_of(object) < 0)
            continue;
        WEFT_TRY(import_device(im, object, im->host, -1));
    }
    while ((object = hwloc_get_next_osdev(im->hwloc, object)))
        WEFT_TRY(import_loose_nic(im, object));
    if (without_driver)
        WEFT_TRY(weft_hwloc_set_number(im, im->host, "network_functions_without_interface",
                                       without_driver));
    if (virtual_devices)
        WEFT_TRY(weft_hwloc_set_number(im, im->host, "virtio_devices", virtual_devices));
    return WEFT_OK;
}

/* ---- distances ---- */

/* The node at an end of a matrix entry. A package stands for its memory. */
static int end_node(struct hwloc_import *im, hwloc_obj_t object)
{
    int node = object ? weft_hwloc_node(object) : -1;
    const struct weft_topology *t = im->topology;
    for (int i = 0; node >= 0 && t->nodes[node].kind == WEFT_NODE_CPU && i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_NUMA && t->nodes[i].parent == node)
            node = i;
    return node;
}

/* Matrices are in MB/s per direction; several ports of one switch add up to one link. */
static weft_status import_matrix(struct hwloc_import *im, struct hwloc_distances_s *matrix,
                                 int link_kind)
{
    unsigned n = matrix->nbobjs;
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = i + 1; j < n; j++) {
            uint64_t there = matrix->values[i * n + j], back = matrix->values[j * n + i];
            uint64_t megabytes = there > back ? there : back;
            int from = end_node(im, matrix->objs[i]), to = end_node(im, matrix->objs[j]);
            if (megabytes == 0 || megabytes > 100000000 || from < 0 || to < 0 || from == to)
                continue;
            WEFT_TRY(join(im, link_kind, from, to, (int64_t)megabytes * 1000000));
        }
    return WEFT_OK;
}

weft_status weft_hwloc_import_distances(struct hwloc_import *im)
{
    static const struct {
        const char *name;
        int link_kind;
    } matrices[] = {{"NVLinkBandwidth", WEFT_LINK_NVLINK}, {"XGMIBandwidth", WEFT_LINK_XGMI}};
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
        unsigned found = 1;
        struct hwloc_distances_s *matrix = NULL;
        if (hwloc_distances_get_by_name(im->hwloc, matrices[i].name, &found, &matrix, 0) != 0 ||
            found == 0)
            continue;
        weft_status status = import_matrix(im, matrix, matrices[i].link_kind);
        hwloc_distances_release(im->hwloc, matrix);
        WEFT_TRY(status);
    }
    return WEFT_OK;
}
