/*
 * SPDX-License-Identifier: Apache-2.0
 * Reading NCCL's topology XML: the nodes of one <pci> or <nic> element, with all that it says.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "topology/nccl_xml.h"
#include "topology/pcie.h"
#include "topology/xml.h"

enum { MAX_SPEED = 10000000 }; // Mb/s; no port does a tenth of it

/* NCCL's gdr="0" or "1", and the attributes that the graph has no place for. */
static weft_status set_attributes(struct weft_nccl_reading *s, const xmlNode *element, int node)
{
    static const char *const gdr_known[] = {"gdr", NULL};
    const char *gdr = weft_xml_text(element, "gdr");
    bool is_yes = gdr && strcmp(gdr, "1") == 0, is_no = gdr && strcmp(gdr, "0") == 0;
    if (is_yes || is_no)
        WEFT_TRY(weft_nccl_set_text(s, element, node, "gpudirect", is_yes ? "yes" : "no"));
    if (is_no)
        WEFT_TRY(
            weft_nccl_set_text(s, element, node, "gpudirect_reason", "gdr=\"0\" in the NCCL file"));
    return weft_nccl_keep_attributes(s, (const char *)element->name, node, element,
                                     gdr_known + !(is_yes || is_no));
}

/* "0x10de"; ids that a file made up (0xffff, 0x0000) are no knowledge. */
static bool read_id(const char *text, unsigned *id)
{
    if (!text || strncmp(text, "0x", 2) != 0 || strlen(text) != 6 ||
        strspn(text + 2, "0123456789abcdefABCDEF") != 4)
        return false;
    *id = (unsigned)strtoul(text + 2, NULL, 16);
    return *id != 0 && *id != 0xffff;
}

static weft_status set_pci(struct weft_nccl_reading *s, const struct weft_nccl_device *device,
                           int node)
{
    static const char *const known[] = {"vendor", "device", "busid", "class", NULL};
    const xmlNode *pci = device->element;
    WEFT_TRY(weft_nccl_set_text(s, pci, node, "pci_address", device->address));
    if (device->pci_class[0])
        WEFT_TRY(weft_nccl_set_text(s, pci, node, "pci_class", device->pci_class));
    const char *vendor = weft_xml_text(pci, "vendor"), *model = weft_xml_text(pci, "device");
    unsigned vendor_id, model_id;
    if (read_id(vendor, &vendor_id) && read_id(model, &model_id)) {
        char id[16];
        snprintf(id, sizeof id, "%04x:%04x", vendor_id & 0xffff, model_id & 0xffff);
        WEFT_TRY(weft_nccl_set_text(s, pci, node, "pci_id", id));
        return weft_nccl_keep_attributes(s, "pci", node, pci, known);
    }
    return weft_nccl_keep_attributes(s, "pci", node, pci, known + 2);
}

/* Mb/s as the port's driver says; -1: it does not know. */
static weft_status set_speed(struct weft_nccl_reading *s, const xmlNode *net, int node)
{
    int64_t speed = -1;
    WEFT_TRY(weft_xml_integer(net, "speed", -1, INT32_MAX, s->name, &speed, s->error));
    if (speed > MAX_SPEED)
        return weft_topology_add_remark(
            s->topology, WEFT_REMARK_CONTRADICTION, WEFT_SOURCE_FILE, node, s->error,
            "%.80s is stated to do %lld Mb/s, which no port does: its rate is taken as unknown",
            s->topology->nodes[node].name, (long long)speed);
    return speed > 0 ? weft_nccl_set_number(s, net, node, "rate_mbps", speed) : WEFT_OK;
}

static weft_status check_latency(struct weft_nccl_reading *s, const xmlNode *net)
{
    const char *text = weft_xml_text(net, "latency");
    if (!text)
        return WEFT_OK;
    char *end;
    double latency = strtod(text, &end);
    if (end == text || *end || !isfinite(latency) || latency < 0)
        return weft_xml_refuse(net, s->name, s->error, "latency=\"%.40s\" is no number from 0 on",
                               text);
    return WEFT_OK;
}

static weft_status set_net(struct weft_nccl_reading *s, const xmlNode *net, int node)
{
    static const char *const no_children[] = {NULL};
    const char *name = weft_xml_text(net, "name"), *guid = weft_xml_text(net, "guid");
    char turned[17];
    WEFT_TRY(check_latency(s, net));
    WEFT_TRY(set_speed(s, net, node));
    // other names may be interfaces or of plug-ins, and those number their GUIDs as they like
    if (name && strncmp(name, "mlx", 3) == 0) {
        WEFT_TRY(weft_nccl_set_text(s, net, node, "rdma_device", name));
        if (guid && weft_nccl_turn_guid(guid, turned))
            WEFT_TRY(weft_nccl_set_text(s, net, node, "system_guid", turned));
    }
    WEFT_TRY(set_attributes(s, net, node));
    return weft_nccl_keep_unknown(s, net, node, no_children);
}

/* A NIC that is not on any bus hangs on its domain. */
static weft_status make_nic(struct weft_nccl_reading *s, const struct weft_nccl_device *device,
                            const xmlNode *element, const char *word, int parent, int64_t bandwidth,
                            int *node)
{
    WEFT_TRY(weft_nccl_located(s, element,
                               weft_nccl_add_node(s, WEFT_NODE_NIC, s->host, word, parent, node)));
    if (device)
        WEFT_TRY(set_pci(s, device, *node));
    return weft_nccl_join(s, element, device ? WEFT_LINK_PCIE : WEFT_LINK_ROOT, parent, *node,
                          bandwidth);
}

/* Each <net> is a NIC of its own, as it is a verbs device of its own; those of one <pci> share its
 * address. `device` NULL: the <nic> is right under the CPU. */
weft_status weft_nccl_make_nics(struct weft_nccl_reading *s, struct weft_nccl_device *device,
                                const xmlNode *above, int parent, int64_t bandwidth)
{
    static const char *const children[] = {"net", NULL};
    char fallback[WEFT_NCCL_ADDRESS_BYTES + 8] = "nic";
    int node, made = 0;
    if (device)
        snprintf(fallback, sizeof fallback, "nic-%s", device->address);
    for (const xmlNode *nic = weft_nccl_child(above, "nic"); nic;
         nic = weft_xml_element(nic->next)) {
        const xmlNode *net = weft_xml_is(nic, "nic") ? weft_xml_element(nic->children) : NULL;
        for (; net; net = weft_xml_element(net->next)) {
            const char *name = weft_xml_text(net, "name");
            if (!weft_xml_is(net, "net"))
                continue;
            WEFT_TRY(make_nic(s, device, net, name && name[0] ? name : fallback, parent, bandwidth,
                              &node));
            WEFT_TRY(set_net(s, net, node));
            if (device && made++ == 0)
                device->node = node;
        }
    }
    if (device && made == 0)
        WEFT_TRY(make_nic(s, device, above, fallback, parent, bandwidth, &device->node));
    for (const xmlNode *nic = weft_nccl_child(above, "nic"); nic;
         nic = weft_xml_element(nic->next)) {
        node = device ? device->node : s->numa;
        if (!weft_xml_is(nic, "nic"))
            continue;
        WEFT_TRY(weft_nccl_keep_attributes(s, "nic", node, nic, children + 1));
        WEFT_TRY(weft_nccl_keep_unknown(s, nic, node, children));
    }
    return WEFT_OK;
}

static weft_status add_statement(struct weft_nccl_reading *s, const xmlNode *element, int device)
{
    static const struct {
        const char *element;
        int kind;
    } kinds[] = {{"nvlink", WEFT_LINK_NVLINK},
                 {"xgmi", WEFT_LINK_XGMI},
                 {"c2c", WEFT_LINK_C2C},
                 {"pcilink", WEFT_LINK_PCIE}};
    struct weft_nccl_statement statement = {
        .element = element, .device = device, .count = 1, .megabytes = -1};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (weft_xml_is(element, kinds[i].element))
            statement.kind = kinds[i].kind;
    WEFT_TRY(weft_xml_integer(element, "count", 0, WEFT_NCCL_MAX_COUNT, s->name, &statement.count,
                              s->error));
    WEFT_TRY(
        weft_xml_integer(element, "bw", 0, 100000000, s->name, &statement.megabytes, s->error));
    if (statement.kind != WEFT_LINK_C2C)
        WEFT_TRY(weft_nccl_read_address(s, element, "target", statement.target));
    WEFT_TRY(weft_nccl_read_class(s, element, "tclass", statement.target_class));
    void *room =
        weft_array_grow(s->statements, s->num_statements, &s->room_statements, sizeof statement);
    if (!room)
        return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", s->name);
    s->statements = room;
    s->statements[s->num_statements++] = statement;
    return WEFT_OK;
}

static weft_status add_statements(struct weft_nccl_reading *s, const xmlNode *above, int device,
                                  const char *const *names)
{
    for (const xmlNode *child = weft_xml_element(above->children); child;
         child = weft_xml_element(child->next))
        for (int i = 0; names[i]; i++)
            if (weft_xml_is(child, names[i]))
                WEFT_TRY(add_statement(s, child, device));
    return WEFT_OK;
}

static weft_status set_gpu(struct weft_nccl_reading *s, int device, int node)
{
    static const char *const children[] = {"nvlink", "xgmi", "c2c", NULL};
    const xmlNode *gpu = s->devices[device].gpu;
    if (!gpu)
        return WEFT_OK;
    if (!gpu->properties && !gpu->children) // says only that it is a GPU
        return weft_nccl_keep_child(s, "pci", node, gpu);
    WEFT_TRY(set_attributes(s, gpu, node));
    WEFT_TRY(add_statements(s, gpu, device, children));
    WEFT_TRY(weft_nccl_keep_unknown(s, gpu, node, children));
    // an address with several <gpu> is one GPU in parts; the graph holds the GPU
    for (const xmlNode *more = weft_xml_element(gpu->next); more;
         more = weft_xml_element(more->next))
        if (weft_xml_is(more, "gpu"))
            WEFT_TRY(weft_nccl_keep_child(s, "pci", node, more));
    return WEFT_OK;
}

weft_status weft_nccl_make_device(struct weft_nccl_reading *s, int index)
{
    static const char *const known[] = {"pci", "gpu", "nic", "pcilink", NULL};
    static const char *const pci_links[] = {"pcilink", NULL};
    struct weft_nccl_device *device = &s->devices[index];
    const xmlNode *pci = device->element;
    int parent = device->parent >= 0 ? s->devices[device->parent].node : s->root;
    int64_t width = 0;
    WEFT_TRY(weft_xml_integer(pci, "link_width", 0, 256, s->name, &width, s->error));
    int64_t bandwidth = weft_pcie_bandwidth(weft_xml_text(pci, "link_speed"), width);
    device->host = s->host;
    if (device->kind == WEFT_NODE_NIC) {
        WEFT_TRY(weft_nccl_make_nics(s, device, pci, parent, bandwidth));
    } else {
        char word[48];
        int number = device->number >= 0 ? device->number : s->counts[device->kind]++;
        snprintf(word, sizeof word, "%s%d", weft_node_kinds[device->kind].name, number);
        WEFT_TRY(weft_nccl_located(
            s, pci, weft_nccl_add_node(s, device->kind, s->host, word, parent, &device->node)));
        WEFT_TRY(set_pci(s, device, device->node));
        WEFT_TRY(set_gpu(s, index, device->node));
        WEFT_TRY(weft_nccl_join(s, pci, WEFT_LINK_PCIE, parent, device->node, bandwidth));
        if (device->gpu && weft_nccl_child(pci, "nic"))
            WEFT_TRY(weft_nccl_keep_child(s, "pci", device->node, weft_nccl_child(pci, "nic")));
    }
    WEFT_TRY(add_statements(s, pci, index, pci_links));
    return weft_nccl_keep_unknown(s, pci, device->node, known);
}
