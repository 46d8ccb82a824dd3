/*
 * SPDX-License-Identifier: Apache-2.0
 * Writing NCCL's topology XML: PCI devices, GPUs with their links, NICs; see nccl_write.c.
 */
#include <stdlib.h>
#include <string.h>

#include "topology/nccl_writer.h"
#include "topology/pcie.h"

static void indent_by(const struct weft_nccl_writer *w, int indent)
{
    fprintf(w->stream, "%*s", indent, "");
}

void weft_nccl_write_text(const struct weft_nccl_writer *w, const char *key, const char *text)
{
    fprintf(w->stream, " %s=\"", key);
    for (; *text; text++)
        if (strchr("<>&\"", *text))
            fprintf(w->stream, "&#%d;", *text);
        else
            putc(*text, w->stream);
    putc('"', w->stream);
}

/* The name of the XML attribute under which `a` was kept; NULL: it is none of `element`. */
static const char *kept_name(const struct weft_attribute *a, const char *element, char mark)
{
    size_t bytes = strlen(element);
    if (strncmp(a->key, "nccl.", 5) != 0 || strncmp(a->key + 5, element, bytes) != 0 ||
        a->key[5 + bytes] != mark || !a->text)
        return NULL;
    return a->key + 5 + bytes + 1;
}

static const char *kept(const struct weft_nccl_writer *w, int node, const char *element,
                        const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "nccl.%s.%s", element, name);
    return weft_topology_text(w->topology, node, key);
}

/* Names that a graph of another source brought along need not be names in XML. */
static bool is_xml_name(const char *name)
{
    static const char others[] = "0123456789-.";
    size_t bytes = 0;
    for (; name[bytes]; bytes++)
        if (!((name[bytes] | 32) >= 'a' && (name[bytes] | 32) <= 'z') &&
            !strchr("_:", name[bytes]) && (bytes == 0 || !strchr(others, name[bytes])))
            return false;
    return bytes > 0;
}

void weft_nccl_write_kept(const struct weft_nccl_writer *w, int node, const char *element,
                          const char *const *order)
{
    const struct weft_node *n = &w->topology->nodes[node];
    for (int i = 0; order[i]; i++)
        if (kept(w, node, element, order[i]))
            weft_nccl_write_text(w, order[i], kept(w, node, element, order[i]));
    for (const struct weft_attribute *a = n->attributes; a; a = a->next) {
        const char *name = kept_name(a, element, '.');
        bool is_written = !name || !is_xml_name(name);
        for (int i = 0; order[i] && !is_written; i++)
            is_written = strcmp(order[i], name) == 0;
        if (!is_written)
            weft_nccl_write_text(w, name, a->text);
    }
}

/* Other forms of the graph can be edited: what goes out unescaped must be what the reader made. */
static bool is_one_element(const char *text)
{
    size_t bytes = strlen(text);
    return bytes > 3 && text[0] == '<' && strcspn(text + 1, "<>") == bytes - 2 &&
           text[bytes - 2] == '/';
}

static bool is_hexadecimal(const char *text, size_t bytes)
{
    return strspn(text, "0123456789abcdefABCDEF") >= bytes;
}

void weft_nccl_write_kept_children(const struct weft_nccl_writer *w, int node, const char *element,
                                   int indent)
{
    for (const struct weft_attribute *a = w->topology->nodes[node].attributes; a; a = a->next)
        if (kept_name(a, element, '/') && is_one_element(a->text)) {
            indent_by(w, indent);
            fprintf(w->stream, "%s\n", a->text);
        }
}

/* Ends the start of an element; false: it has no children, so it is complete. */
static bool open_element(const struct weft_nccl_writer *w, bool has_children)
{
    fputs(has_children ? ">\n" : "/>\n", w->stream);
    return has_children;
}

static bool has_kept_children(const struct weft_nccl_writer *w, int node, const char *element)
{
    for (const struct weft_attribute *a = w->topology->nodes[node].attributes; a; a = a->next)
        if (kept_name(a, element, '/'))
            return true;
    return false;
}

static bool has_kept(const struct weft_nccl_writer *w, int node, const char *element)
{
    for (const struct weft_attribute *a = w->topology->nodes[node].attributes; a; a = a->next)
        if (kept_name(a, element, '.') || kept_name(a, element, '/'))
            return true;
    return false;
}

static const char *local_name(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

long long weft_nccl_number_of_name(const char *name)
{
    const char *end = name + strlen(name);
    while (end > name && end[-1] >= '0' && end[-1] <= '9')
        end--;
    long long number = strtoll(end, NULL, 10);
    return number > INT32_MAX ? 0 : number;
}

static void write_gpudirect(const struct weft_nccl_writer *w, int node)
{
    const char *text = weft_topology_text(w->topology, node, "gpudirect");
    if (text)
        weft_nccl_write_text(w, "gdr", strcmp(text, "yes") == 0 ? "1" : "0");
}

/* ---- <pci> ---- */

static const char *class_of(const struct weft_nccl_writer *w, int node)
{
    const struct weft_topology *t = w->topology;
    const char *known = weft_topology_text(t, node, "pci_class");
    if (known && known[0] && is_hexadecimal(known, strlen(known)))
        return known;
    switch (t->nodes[node].kind) {
    case WEFT_NODE_PCIE_SWITCH:
        return "060400";
    case WEFT_NODE_GPU:
        return "030200";
    case WEFT_NODE_NVSWITCH:
        return "068000";
    case WEFT_NODE_NIC:
        return "020000";
    case WEFT_NODE_DEVICE:
        return "088000"; // some system peripheral
    default:
        return "068001"; // a CPU's bridge to NVLink
    }
}

/* What a link can do; -1: not known. One that is known only by what it does now may be asleep if
 * that is little: left out, NCCL finds out where it runs. */
static int64_t pcie_bandwidth(const struct weft_nccl_writer *w, int node)
{
    enum { MAY_SLEEP_BELOW = 5 }; // GB/s
    int link = w->up_link[node];
    if (link < 0)
        return -1;
    const struct weft_figure *figure = &w->topology->links[link].bandwidth;
    if (figure->nominal.value >= 0 || w->is_nccl)
        return figure->nominal.value;
    return figure->current.value >= MAY_SLEEP_BELOW * INT64_C(1000000000) ? figure->current.value
                                                                          : -1;
}

/* As the file had it, as long as that is still what the link says. */
static void write_pcie_speed(const struct weft_nccl_writer *w, int node)
{
    const char *speed = kept(w, node, "pci", "link_speed");
    const char *width = kept(w, node, "pci", "link_width");
    int64_t bandwidth = pcie_bandwidth(w, node);
    int base = width && strncmp(width, "0x", 2) == 0 ? 16 : 10; // as it was read
    int64_t then = width ? weft_pcie_bandwidth(speed, strtoll(width, NULL, base)) : -1;
    if (then == bandwidth) {
        if (speed)
            weft_nccl_write_text(w, "link_speed", speed);
        if (width)
            weft_nccl_write_text(w, "link_width", width);
        return;
    }
    int lanes;
    weft_nccl_pcie_spelling(bandwidth, &speed, &lanes);
    fprintf(w->stream, " link_speed=\"%s\" link_width=\"%d\"", speed, lanes);
}

static void write_pci_attributes(const struct weft_nccl_writer *w, int node)
{
    static const char *const order[] = {"vendor", "device", "subsystem_vendor", "subsystem_device",
                                        NULL};
    const char *id = weft_topology_text(w->topology, node, "pci_id");
    const char *known_class = weft_topology_text(w->topology, node, "pci_class");
    weft_nccl_write_text(w, "busid", w->address[node]);
    if (known_class || !w->is_nccl)
        fprintf(w->stream, " class=\"0x%s\"", class_of(w, node));
    if (id && strlen(id) == 9 && id[4] == ':' && is_hexadecimal(id, 4) && is_hexadecimal(id + 5, 4))
        fprintf(w->stream, " vendor=\"0x%.4s\" device=\"0x%s\"", id, id + 5);
    for (int i = 0; order[i]; i++)
        if (kept(w, node, "pci", order[i]))
            weft_nccl_write_text(w, order[i], kept(w, node, "pci", order[i]));
    write_pcie_speed(w, node);
    for (const struct weft_attribute *a = w->topology->nodes[node].attributes; a; a = a->next) {
        const char *name = kept_name(a, "pci", '.');
        bool is_written = !name || !is_xml_name(name) || strcmp(name, "link_speed") == 0 ||
                          strcmp(name, "link_width") == 0;
        for (int i = 0; order[i] && !is_written; i++)
            is_written = strcmp(order[i], name) == 0;
        if (!is_written)
            weft_nccl_write_text(w, name, a->text);
    }
}

/* ---- <gpu> ---- */

static bool is_gpu_link(int kind)
{
    return kind == WEFT_LINK_NVLINK || kind == WEFT_LINK_XGMI || kind == WEFT_LINK_C2C;
}

static bool has_gpu_link(const struct weft_nccl_writer *w, int node)
{
    for (int side = w->first_side[node]; side >= 0; side = w->next_side[side])
        if (is_gpu_link(w->topology->links[side / 2].kind))
            return true;
    return false;
}

static int count_of(const struct weft_link *link)
{
    return link->count > WEFT_NCCL_MAX_COUNT ? WEFT_NCCL_MAX_COUNT : link->count;
}

static void write_gpu_link(const struct weft_nccl_writer *w, int node, const struct weft_link *link,
                           int other, int indent)
{
    const struct weft_topology *t = w->topology;
    indent_by(w, indent);
    if (link->kind == WEFT_LINK_C2C) {
        int64_t all = weft_figure_best(&link->bandwidth).value;
        fputs("<c2c", w->stream);
        if (all >= 0)
            fprintf(w->stream, " bw=\"%lld\"", (long long)(all / link->count / 1000000));
        fprintf(w->stream, " count=\"%d\"/>\n", count_of(link));
        return;
    }
    const char *target = w->address[other];
    if (!target[0])
        target = weft_topology_text(t, node, "nccl.cpu_target");
    fprintf(w->stream, "<%s", weft_link_kinds[link->kind].name);
    weft_nccl_write_text(w, "target", target ? target : "ffff:ff:00.0");
    fprintf(w->stream, " count=\"%d\" tclass=\"0x%s\"/>\n", count_of(link), class_of(w, other));
}

static void write_gpu(const struct weft_nccl_writer *w, int node, int indent)
{
    static const char *const order[] = {"dev", "sm", "rank", NULL};
    const struct weft_topology *t = w->topology;
    long long hidden = 0;
    bool has_children = has_gpu_link(w, node);
    if (!has_children && !has_kept(w, node, "gpu") && !weft_topology_text(t, node, "gpudirect"))
        return;
    indent_by(w, indent);
    fputs("<gpu", w->stream);
    if (!w->is_nccl && !kept(w, node, "gpu", "dev")) {
        long long number = weft_nccl_number_of_name(t->nodes[node].name);
        fprintf(w->stream, " dev=\"%lld\" rank=\"%lld\"", number, number);
    }
    weft_nccl_write_kept(w, node, "gpu", order);
    write_gpudirect(w, node);
    if (!open_element(w, has_children || has_kept_children(w, node, "gpu")))
        return;
    for (int side = w->first_side[node]; side >= 0; side = w->next_side[side]) {
        const struct weft_link *link = &t->links[side / 2];
        int other = side % 2 ? link->from : link->to;
        if (!is_gpu_link(link->kind))
            continue;
        if (link->kind == WEFT_LINK_NVLINK && weft_nccl_is_hidden(w->address[other]))
            hidden += count_of(link);
        else
            write_gpu_link(w, node, link, other, indent + 2);
    }
    if (hidden) { // all switches of a rack are one to NCCL
        indent_by(w, indent + 2);
        fprintf(w->stream, "<nvlink target=\"%s\" count=\"%lld\" tclass=\"0x068000\"/>\n",
                weft_nccl_hidden_address, hidden);
    }
    weft_nccl_write_kept_children(w, node, "gpu", indent + 2);
    indent_by(w, indent);
    fputs("</gpu>\n", w->stream);
}

/* ---- <nic> ---- */

/* Mb/s: what the port does, or the links that leave it. */
static long long speed_of(const struct weft_nccl_writer *w, int nic)
{
    const struct weft_topology *t = w->topology;
    int64_t rate = weft_topology_number(t, nic, "rate_mbps", -1), links = 0;
    for (int side = w->first_side[nic]; rate < 0 && side >= 0; side = w->next_side[side]) {
        const struct weft_link *link = &t->links[side / 2];
        int64_t best = weft_figure_best(&link->bandwidth).value;
        if (link->kind == WEFT_LINK_NETWORK && best > 0 && best < INT64_MAX / 2 - links)
            links += best;
    }
    return rate >= 0 ? rate : links / 125000;
}

static void write_derived_net(const struct weft_nccl_writer *w, int nic)
{
    const struct weft_topology *t = w->topology;
    const char *guid = weft_topology_text(t, nic, "system_guid");
    char turned[17];
    weft_nccl_write_text(w, "name", local_name(t->nodes[nic].name));
    if (speed_of(w, nic) > 0 && speed_of(w, nic) <= INT32_MAX)
        fprintf(w->stream, " speed=\"%lld\"", speed_of(w, nic));
    if (guid && weft_nccl_turn_guid(guid, turned))
        fprintf(w->stream, " guid=\"0x%s\"", turned);
}

static void write_net(const struct weft_nccl_writer *w, int nic, int indent)
{
    static const char *const order[] = {"name",    "dev",  "speed",   "port",
                                        "latency", "guid", "maxconn", NULL};
    if (w->is_nccl && !has_kept(w, nic, "net") &&
        !weft_topology_text(w->topology, nic, "gpudirect"))
        return;
    indent_by(w, indent);
    fputs("<net", w->stream);
    if (!w->is_nccl && !has_kept(w, nic, "net"))
        write_derived_net(w, nic);
    weft_nccl_write_kept(w, nic, "net", order);
    write_gpudirect(w, nic);
    if (!open_element(w, has_kept_children(w, nic, "net")))
        return;
    weft_nccl_write_kept_children(w, nic, "net", indent + 2);
    indent_by(w, indent);
    fputs("</net>\n", w->stream);
}

/* A file may name a network function alone, and leave the rest to NCCL. */
static bool is_bare(const struct weft_nccl_writer *w, int nic)
{
    return w->is_nccl && w->next_in_group[nic] < 0 && !has_kept(w, nic, "net") &&
           !has_kept(w, nic, "nic") && !weft_topology_text(w->topology, nic, "gpudirect") &&
           weft_nccl_kind_of_class(class_of(w, nic)) == WEFT_NODE_NIC &&
           weft_topology_text(w->topology, nic, "pci_class");
}

static void write_nic(const struct weft_nccl_writer *w, int nic, int indent)
{
    static const char *const order[] = {NULL};
    indent_by(w, indent);
    fputs("<nic", w->stream);
    for (int i = nic; i >= 0; i = w->next_in_group[i])
        if (has_kept(w, i, "nic"))
            weft_nccl_write_kept(w, i, "nic", order);
    fputs(">\n", w->stream);
    for (int i = nic; i >= 0; i = w->next_in_group[i])
        write_net(w, i, indent + 2);
    for (int i = nic; i >= 0; i = w->next_in_group[i])
        weft_nccl_write_kept_children(w, i, "nic", indent + 2);
    indent_by(w, indent);
    fputs("</nic>\n", w->stream);
}

static bool is_loose_nic(const struct weft_topology *t, int node)
{
    int parent = t->nodes[node].parent;
    if (t->nodes[node].kind != WEFT_NODE_NIC || weft_topology_text(t, node, "pci_address"))
        return false;
    int above = parent < 0 ? -1 : t->nodes[parent].kind;
    return above == WEFT_NODE_NUMA || above == WEFT_NODE_HOST || above == WEFT_NODE_CPU;
}

void weft_nccl_write_loose_nics(const struct weft_nccl_writer *w, int node)
{
    static const char *const order[] = {NULL};
    bool is_needed = has_kept(w, node, "nic");
    for (int i = node + 1; i < w->end[node] && !is_needed; i = w->end[i])
        is_needed = is_loose_nic(w->topology, i);
    if (!is_needed)
        return;
    fputs("    <nic", w->stream);
    weft_nccl_write_kept(w, node, "nic", order);
    fputs(">\n", w->stream);
    for (int i = node + 1; i < w->end[node]; i = w->end[i])
        if (is_loose_nic(w->topology, i))
            write_net(w, i, 6);
    weft_nccl_write_kept_children(w, node, "nic", 6);
    fputs("    </nic>\n", w->stream);
}

/* ---- the tree ---- */

/* Links between PCIe switches that do not go up or down. */
static void write_pci_links(const struct weft_nccl_writer *w, int node, int indent)
{
    const struct weft_topology *t = w->topology;
    for (int side = w->first_side[node]; side >= 0; side = w->next_side[side]) {
        const struct weft_link *link = &t->links[side / 2];
        int other = side % 2 ? link->from : link->to;
        if (link->kind != WEFT_LINK_PCIE || !w->address[other][0] || t->nodes[other].parent == node)
            continue;
        indent_by(w, indent);
        fprintf(w->stream, "<pcilink target=\"%s\"/>\n", w->address[other]);
    }
}

void weft_nccl_write_device(const struct weft_nccl_writer *w, int node, int indent)
{
    const struct weft_topology *t = w->topology;
    int kind = t->nodes[node].kind;
    if (kind == WEFT_NODE_PCIE_ROOT) {
        weft_nccl_write_children(w, node, indent);
        return;
    }
    if (is_loose_nic(t, node) || w->follows[node] || !w->address[node][0])
        return;
    indent_by(w, indent);
    fputs("<pci", w->stream);
    write_pci_attributes(w, node);
    fputs(">\n", w->stream);
    if (kind == WEFT_NODE_GPU)
        write_gpu(w, node, indent + 2);
    if (kind == WEFT_NODE_NIC && !is_bare(w, node))
        write_nic(w, node, indent + 2);
    for (int i = node; i >= 0; i = kind == WEFT_NODE_NIC ? w->next_in_group[i] : -1) {
        weft_nccl_write_children(w, i, indent + 2);
        write_pci_links(w, i, indent + 2);
        weft_nccl_write_kept_children(w, i, "pci", indent + 2);
    }
    indent_by(w, indent);
    fputs("</pci>\n", w->stream);
}

void weft_nccl_write_children(const struct weft_nccl_writer *w, int node, int indent)
{
    for (int i = node + 1; i < w->end[node]; i = w->end[i])
        weft_nccl_write_device(w, i, indent);
}
