/*
 * SPDX-License-Identifier: Apache-2.0
 * Writing a graph as NCCL's topology XML, so that NCCL takes it as NCCL_TOPO_FILE: no prolog, one
 * blank between attributes, double quotes, as its parser wants them. What came from such a file
 * goes back as it was; for other graphs only what is known is written, and NCCL fills in the rest
 * where it runs. nccl_write_devices.c writes what is below a <cpu>.
 */
#include <stdlib.h>
#include <string.h>

#include "topology/forms.h"
#include "topology/nccl_writer.h"
#include "topology/sets.h"

static weft_status no_memory(struct weft_error *error)
{
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "NCCL XML: no memory");
}

/* ---- what is where ---- */

static bool is_device(int kind)
{
    return kind == WEFT_NODE_PCIE_SWITCH || kind == WEFT_NODE_GPU || kind == WEFT_NODE_NVSWITCH ||
           kind == WEFT_NODE_NIC || kind == WEFT_NODE_DEVICE;
}

/* In canonical order what is below a node follows it. */
static void find_ends(struct weft_nccl_writer *w)
{
    const struct weft_topology *t = w->topology;
    for (int i = 0; i < t->num_nodes; i++)
        w->end[i] = i + 1;
    for (int i = t->num_nodes; i-- > 0;) {
        int parent = t->nodes[i].parent;
        if (parent >= 0 && w->end[i] > w->end[parent])
            w->end[parent] = w->end[i];
    }
}

static void find_links(struct weft_nccl_writer *w)
{
    const struct weft_topology *t = w->topology;
    for (int i = 0; i < t->num_nodes; i++)
        w->up_link[i] = w->first_side[i] = -1;
    for (int i = t->num_links; i-- > 0;) {
        const struct weft_link *link = &t->links[i];
        const int ends[2] = {link->from, link->to};
        for (int side = 2; side-- > 0;) {
            int node = ends[side], other = ends[!side];
            if (link->kind == WEFT_LINK_PCIE && t->nodes[node].parent == other) {
                w->up_link[node] = i;
            } else {
                w->next_side[2 * i + side] = w->first_side[node];
                w->first_side[node] = 2 * i + side;
            }
        }
    }
}

/* Devices of other sources may have no address; these are in a domain that no machine has. */
static void find_addresses(struct weft_nccl_writer *w)
{
    const struct weft_topology *t = w->topology;
    unsigned made = 0;
    for (int i = 0; i < t->num_nodes; i++) {
        w->address[i][0] = '\0';
        if (!is_device(t->nodes[i].kind))
            continue;
        const char *known = weft_topology_text(t, i, "pci_address");
        bool is_rack_switch = t->nodes[i].kind == WEFT_NODE_NVSWITCH &&
                              (w->is_nccl || weft_topology_ancestor(t, i, WEFT_NODE_HOST) < 0);
        if (known)
            snprintf(w->address[i], sizeof w->address[i], "%s", known);
        else if (is_rack_switch)
            snprintf(w->address[i], sizeof w->address[i], "%s", weft_nccl_hidden_address);
        else {
            snprintf(w->address[i], sizeof w->address[i], "%04x:%02x:%02x.0",
                     (0xfffe - (made >> 13)) & 0xffff, made >> 5 & 0xff, made & 31);
            made++;
        }
    }
}

/* NICs of one function are siblings with one address; each points at the next. */
static int compare_nics(const void *a, const void *b, void *context)
{
    const struct weft_nccl_writer *w = context;
    int x = *(const int *)a, y = *(const int *)b;
    int parent_x = w->topology->nodes[x].parent, parent_y = w->topology->nodes[y].parent;
    if (parent_x != parent_y)
        return parent_x < parent_y ? -1 : 1;
    int order = strcmp(w->address[x], w->address[y]);
    return order ? order : (x > y) - (x < y);
}

static weft_status find_groups(struct weft_nccl_writer *w)
{
    const struct weft_topology *t = w->topology;
    int *nics = malloc(((size_t)t->num_nodes + 1) * sizeof *nics), count = 0;
    if (!nics)
        return no_memory(w->error);
    for (int i = 0; i < t->num_nodes; i++) {
        w->next_in_group[i] = -1;
        w->follows[i] = false;
        if (t->nodes[i].kind == WEFT_NODE_NIC)
            nics[count++] = i;
    }
    qsort_r(nics, (size_t)count, sizeof *nics, compare_nics, w);
    for (int i = 1; i < count; i++) {
        int before = nics[i - 1], nic = nics[i];
        if (t->nodes[before].parent == t->nodes[nic].parent &&
            strcmp(w->address[before], w->address[nic]) == 0) {
            w->next_in_group[before] = nic;
            w->follows[nic] = true;
        }
    }
    free(nics);
    return WEFT_OK;
}

/* ---- can it be said? ---- */

/* Hosts go into one file only when NVLink joins them: that is what NCCL uses it for. */
static weft_status check_hosts(struct weft_nccl_writer *w, int *up)
{
    const struct weft_topology *t = w->topology;
    int first = -1, first_gpu = -1;
    const char *domain = NULL;
    weft_sets_init(up, t->num_nodes);
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NVLINK || t->links[i].kind == WEFT_LINK_XGMI)
            weft_sets_unite(up, t->links[i].from, t->links[i].to);
    for (int i = 0; i < t->num_nodes; i++) {
        int host = weft_topology_ancestor(t, i, WEFT_NODE_HOST);
        const char *text = weft_topology_text(t, i, "nvlink_domain");
        if (t->nodes[i].kind != WEFT_NODE_GPU || host < 0)
            continue;
        weft_sets_unite(up, i, host);
        domain = domain ? domain : text;
        first_gpu = first_gpu < 0 && text ? i : first_gpu;
        if (text && strcmp(text, domain) == 0)
            weft_sets_unite(up, i, first_gpu);
    }
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_HOST)
            continue;
        first = first < 0 ? i : first;
        w->num_hosts++;
        // one file said that they belong together, though it shows no NVLink between them
        if (weft_topology_text(t, first, "nccl.system.version") &&
            !weft_topology_text(t, i, "nccl.system.version") &&
            weft_topology_text(t, i, "nccl.cpu.host_hash"))
            continue;
        if (weft_sets_root(up, i) != weft_sets_root(up, first))
            return weft_fail(w->error, WEFT_UNSUPPORTED,
                             "NCCL's topology XML describes one host, or hosts that share an "
                             "NVLink domain; %.100s and %.100s share none",
                             t->nodes[first].name, t->nodes[i].name);
    }
    if (w->num_hosts == 0)
        return weft_fail(w->error, WEFT_UNSUPPORTED,
                         "NCCL's topology XML describes a host; there is none in this graph");
    return WEFT_OK;
}

static weft_status check_links(struct weft_nccl_writer *w)
{
    const struct weft_topology *t = w->topology;
    for (int i = 0; i < t->num_links; i++) {
        const struct weft_link *link = &t->links[i];
        int a = weft_topology_ancestor(t, link->from, WEFT_NODE_HOST);
        int b = weft_topology_ancestor(t, link->to, WEFT_NODE_HOST);
        if ((link->kind == WEFT_LINK_NVLINK || link->kind == WEFT_LINK_XGMI) && a >= 0 && b >= 0 &&
            a != b)
            return weft_fail(w->error, WEFT_UNSUPPORTED,
                             "NCCL's topology XML cannot say that %s leads from %.100s straight "
                             "to another host's %.100s",
                             weft_link_kinds[link->kind].name, t->nodes[link->from].name,
                             t->nodes[link->to].name);
    }
    return WEFT_OK;
}

/* ---- <cpu> ---- */

/* As NCCL names them, from hwloc's names. */
static void write_derived_cpu(const struct weft_nccl_writer *w, int host, int numa)
{
    static const char *const architectures[][2] = {
        {"x86_64", "x86_64"}, {"aarch64", "arm64"}, {"ppc64le", "ppc64"}, {"ppc64", "ppc64"}};
    const struct weft_topology *t = w->topology;
    const char *architecture = weft_topology_text(t, host, "architecture");
    int package = numa >= 0 ? weft_topology_ancestor(t, numa, WEFT_NODE_CPU) : -1;
    const char *model = package >= 0 ? weft_topology_text(t, package, "model") : NULL;
    for (size_t i = 0; architecture && i < sizeof architectures / sizeof architectures[0]; i++)
        if (strcmp(architectures[i][0], architecture) == 0)
            weft_nccl_write_text(w, "arch", architectures[i][1]);
    if (model && strstr(model, "Intel"))
        weft_nccl_write_text(w, "vendor", "GenuineIntel");
    else if (model && strstr(model, "AMD"))
        weft_nccl_write_text(w, "vendor", "AuthenticAMD");
}

static uint64_t hash_of_name(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); // FNV-1a: any number that differs will do
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return hash;
}

/* `numa` -1: what hangs on no domain. */
static void open_cpu(const struct weft_nccl_writer *w, int host, int numa)
{
    static const char *const order[] = {"affinity", "arch", "vendor", "familyid", "modelid", NULL};
    const struct weft_topology *t = w->topology;
    const char *hash = weft_topology_text(t, host, "nccl.cpu.host_hash");
    fputs("  <cpu", w->stream);
    if (hash)
        weft_nccl_write_text(w, "host_hash", hash);
    else if (w->num_hosts > 1 && !w->is_nccl)
        fprintf(w->stream, " host_hash=\"0x%llx\"",
                (unsigned long long)hash_of_name(t->nodes[host].name));
    long long index = numa >= 0 ? (long long)weft_topology_number(t, numa, "os_index", -1) : -1;
    if (numa >= 0 && index < 0 && !w->is_nccl)
        index = weft_nccl_number_of_name(t->nodes[numa].name);
    fprintf(w->stream, " numaid=\"%lld\"", index);
    if (!w->is_nccl)
        write_derived_cpu(w, host, numa);
    if (numa >= 0)
        weft_nccl_write_kept(w, numa, "cpu", order);
    fputs(">\n", w->stream);
}

static void write_numa(const struct weft_nccl_writer *w, int host, int numa)
{
    open_cpu(w, host, numa);
    weft_nccl_write_children(w, numa, 4);
    weft_nccl_write_loose_nics(w, numa);
    weft_nccl_write_kept_children(w, numa, "cpu", 4);
    fputs("  </cpu>\n", w->stream);
}

/* A device, or a PCIe root, that is below no NUMA domain. */
static bool is_homeless(const struct weft_topology *t, int node)
{
    int kind = t->nodes[node].kind, parent = t->nodes[node].parent;
    if (parent < 0 ||
        (t->nodes[parent].kind != WEFT_NODE_HOST && t->nodes[parent].kind != WEFT_NODE_CPU))
        return false;
    return kind == WEFT_NODE_PCIE_ROOT || (is_device(kind) && kind != WEFT_NODE_NVSWITCH);
}

static void write_host(const struct weft_nccl_writer *w, int host)
{
    const struct weft_topology *t = w->topology;
    bool is_open = false;
    for (int i = host + 1; i < w->end[host]; i++)
        if (t->nodes[i].kind == WEFT_NODE_NUMA)
            write_numa(w, host, i);
    for (int i = host; i < w->end[host]; i++) {
        bool holds = t->nodes[i].kind == WEFT_NODE_HOST || t->nodes[i].kind == WEFT_NODE_CPU;
        for (int j = i + 1; holds && j < w->end[i]; j = w->end[j]) {
            if (!is_homeless(t, j))
                continue;
            if (!is_open)
                open_cpu(w, host, -1);
            is_open = true;
            weft_nccl_write_device(w, j, 4);
        }
        if (is_open && holds)
            weft_nccl_write_loose_nics(w, i);
    }
    if (is_open)
        fputs("  </cpu>\n", w->stream);
}

/* ---- all ---- */

static weft_status write_all(struct weft_nccl_writer *w)
{
    static const char *const order[] = {"version", "name", NULL};
    const struct weft_topology *t = w->topology;
    int first = -1;
    find_ends(w);
    WEFT_TRY(check_hosts(w, w->up_link)); // filled below
    WEFT_TRY(check_links(w));
    for (int i = 0; i < t->num_nodes && first < 0; i++)
        first = t->nodes[i].kind == WEFT_NODE_HOST ? i : -1;
    w->is_nccl = weft_topology_text(t, first, "nccl.system.version") != NULL;
    find_links(w);
    find_addresses(w);
    WEFT_TRY(find_groups(w));
    fputs("<system", w->stream);
    if (!w->is_nccl)
        fputs(" version=\"1\"", w->stream);
    weft_nccl_write_kept(w, first, "system", order);
    fputs(">\n", w->stream);
    for (int i = 0; i < t->num_nodes; i = w->end[i])
        if (t->nodes[i].kind == WEFT_NODE_HOST)
            write_host(w, i);
    weft_nccl_write_kept_children(w, first, "system", 2);
    fputs("</system>\n", w->stream);
    return WEFT_OK;
}

static weft_status write_graph(const struct weft_topology *topology, FILE *stream,
                               struct weft_error *error)
{
    size_t n = (size_t)topology->num_nodes + 1, sides = 2 * (size_t)topology->num_links + 1;
    struct weft_nccl_writer w = {.topology = topology, .stream = stream, .error = error};
    int *numbers = malloc((4 * n + sides) * sizeof *numbers);
    w.address = malloc(n * sizeof *w.address);
    w.follows = malloc(n * sizeof *w.follows);
    weft_status status = numbers && w.address && w.follows ? WEFT_OK : no_memory(error);
    if (status == WEFT_OK) {
        w.end = numbers;
        w.up_link = w.end + n;
        w.first_side = w.up_link + n;
        w.next_in_group = w.first_side + n;
        w.next_side = w.next_in_group + n;
        status = write_all(&w);
    }
    free(numbers);
    free(w.address);
    free(w.follows);
    return status;
}

const struct weft_exporter weft_exporter_nccl_xml = {
    .name = "nccl-xml",
    .description = "NCCL topology XML (NCCL_TOPO_FILE)",
    .write = write_graph,
};
