/*
 * SPDX-License-Identifier: Apache-2.0
 * Reading NCCL's topology XML (NCCL_TOPO_FILE, and what NCCL_TOPO_DUMP_FILE writes; RCCL's too).
 * Three steps: collect the <pci> elements in canonical order, number the GPUs, make the nodes; the
 * links between devices follow in nccl_links.c. docs/topology.md says what becomes what.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "topology/forms.h"
#include "topology/nccl_xml.h"
#include "topology/xml.h"

enum {
    MAX_CPUS = 512, // those of a host are joined pairwise
    MAX_DEPTH = 32, // of <pci> in <pci>
};

struct cpu {
    const xmlNode *element;
    const char *host_hash;
    int host_index;
    int64_t numa_id;
    int host, numa; // nodes
};

struct reader {
    struct weft_nccl_reading shared;
    struct cpu cpus[MAX_CPUS];
    int num_cpus, num_hosts;
};

/* ---- 1. collect ---- */

static weft_status no_memory(struct reader *r)
{
    return weft_fail(r->shared.error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", r->shared.name);
}

/* What NCCL makes of it: a <gpu> or <nic> inside says more than the class. */
static int kind_of(const xmlNode *pci, const char *pci_class, const xmlNode **gpu)
{
    *gpu = weft_nccl_child(pci, "gpu");
    if (*gpu)
        return WEFT_NODE_GPU;
    if (weft_nccl_child(pci, "nic"))
        return WEFT_NODE_NIC;
    if (!pci_class[0] && weft_nccl_child(pci, "pci"))
        return WEFT_NODE_PCIE_SWITCH;
    return weft_nccl_kind_of_class(pci_class);
}

static weft_status add_device(struct reader *r, const xmlNode *pci, const struct cpu *cpu,
                              int parent, int *index)
{
    struct weft_nccl_reading *s = &r->shared;
    struct weft_nccl_device device = {.element = pci,
                                      .parent = parent,
                                      .host = cpu->host_index,
                                      .cpu = (int)(cpu - r->cpus),
                                      .number = -1,
                                      .node = -1};
    WEFT_TRY(weft_nccl_read_address(s, pci, "busid", device.address));
    WEFT_TRY(weft_nccl_read_class(s, pci, "class", device.pci_class));
    device.kind = kind_of(pci, device.pci_class, &device.gpu);
    void *room = weft_array_grow(s->devices, s->num_devices, &s->room_devices, sizeof device);
    if (!room)
        return no_memory(r);
    s->devices = room;
    s->devices[s->num_devices] = device;
    *index = s->num_devices++;
    return WEFT_OK;
}

/* Siblings by kind, as the graph sorts them, so that writing and reading again changes no number.
 */
static weft_status collect(struct reader *r, const xmlNode *above, const struct cpu *cpu,
                           int parent, int depth)
{
    static const int kinds[] = {WEFT_NODE_PCIE_SWITCH, WEFT_NODE_GPU, WEFT_NODE_NVSWITCH,
                                WEFT_NODE_NIC, WEFT_NODE_DEVICE};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        for (const xmlNode *child = weft_xml_element(above->children); child;
             child = weft_xml_element(child->next)) {
            char pci_class[8];
            const xmlNode *gpu;
            int index = -1;
            if (!weft_xml_is(child, "pci"))
                continue;
            WEFT_TRY(weft_nccl_read_class(&r->shared, child, "class", pci_class));
            if (kind_of(child, pci_class, &gpu) != kinds[i])
                continue;
            if (depth >= MAX_DEPTH)
                return weft_xml_refuse(child, r->shared.name, r->shared.error,
                                       "nested deeper than %d levels", MAX_DEPTH);
            WEFT_TRY(add_device(r, child, cpu, parent, &index));
            WEFT_TRY(collect(r, child, cpu, index, depth + 1));
        }
    return WEFT_OK;
}

static int compare_cpus(const void *a, const void *b)
{
    const struct cpu *x = a, *y = b;
    if (x->host_index != y->host_index)
        return x->host_index < y->host_index ? -1 : 1;
    if (x->numa_id != y->numa_id)
        return x->numa_id < y->numa_id ? -1 : 1;
    return (int)(xmlGetLineNo(x->element) - xmlGetLineNo(y->element));
}

/* A file of several hosts (a rack that shares NVLink) tells them apart by host_hash. */
static int host_index(struct reader *r, const char *hash)
{
    for (int i = 0; i < r->num_cpus; i++)
        if (strcmp(r->cpus[i].host_hash, hash) == 0)
            return r->cpus[i].host_index;
    return r->num_hosts++;
}

static weft_status collect_cpus(struct reader *r, const xmlNode *system)
{
    struct weft_nccl_reading *s = &r->shared;
    for (const xmlNode *child = weft_xml_element(system->children); child;
         child = weft_xml_element(child->next)) {
        if (!weft_xml_is(child, "cpu"))
            continue;
        if (r->num_cpus == MAX_CPUS)
            return weft_xml_refuse(child, s->name, s->error, "more than %d of them", MAX_CPUS);
        const char *hash = weft_xml_text(child, "host_hash");
        struct cpu cpu = {.element = child, .host_hash = hash ? hash : "", .numa_id = -2};
        WEFT_TRY(weft_xml_integer(child, "numaid", -1, 1000000, s->name, &cpu.numa_id, s->error));
        if (cpu.numa_id < -1)
            return weft_xml_refuse(child, s->name, s->error, "it has no numaid");
        cpu.host_index = host_index(r, cpu.host_hash);
        r->cpus[r->num_cpus++] = cpu;
    }
    if (r->num_cpus == 0)
        return weft_xml_refuse(system, s->name, s->error, "there is no <cpu> in it");
    qsort(r->cpus, (size_t)r->num_cpus, sizeof *r->cpus, compare_cpus);
    for (int i = 0; i < r->num_cpus; i++)
        WEFT_TRY(collect(r, r->cpus[i].element, &r->cpus[i], -1, 0));
    return WEFT_OK;
}

/* ---- 2. number the GPUs ---- */

static int compare_addresses(const void *a, const void *b)
{
    const struct weft_nccl_device *x = *(struct weft_nccl_device *const *)a,
                                  *y = *(struct weft_nccl_device *const *)b;
    if (x->host != y->host)
        return x->host < y->host ? -1 : 1;
    int order = strcmp(x->address, y->address);
    return order ? order : (x > y) - (x < y);
}

/* NVML's index where the file has it, else the next free number in PCI order. */
static weft_status number_gpus(struct weft_nccl_reading *s, struct weft_nccl_device **gpus,
                               bool *is_taken, int count)
{
    for (int i = 0; i < count; i++) {
        int64_t number = -1;
        if (!gpus[i]->gpu)
            continue;
        WEFT_TRY(weft_xml_integer(gpus[i]->gpu, "dev", 0, INT32_MAX, s->name, &number, s->error));
        if (number >= count) { // a part of a machine: others of its GPUs are left out
            gpus[i]->number = (int)number;
        } else if (number >= 0 && !is_taken[number]) {
            gpus[i]->number = (int)number;
            is_taken[number] = true;
        }
    }
    for (int i = 0, next = 0; i < count; i++) {
        if (gpus[i]->number >= 0)
            continue;
        while (is_taken[next])
            next++;
        gpus[i]->number = next;
        is_taken[next] = true;
    }
    return WEFT_OK;
}

static weft_status number_all_gpus(struct reader *r)
{
    struct weft_nccl_reading *s = &r->shared;
    size_t n = (size_t)s->num_devices + 1;
    struct weft_nccl_device **gpus = malloc(n * sizeof *gpus);
    bool *is_taken = malloc(n * sizeof *is_taken);
    weft_status status = gpus && is_taken ? WEFT_OK : no_memory(r);
    int count = 0;
    for (int i = 0; status == WEFT_OK && i < s->num_devices; i++)
        if (s->devices[i].kind == WEFT_NODE_GPU)
            gpus[count++] = &s->devices[i];
    if (status == WEFT_OK)
        qsort(gpus, (size_t)count, sizeof *gpus, compare_addresses);
    for (int first = 0, end; status == WEFT_OK && first < count; first = end) {
        for (end = first + 1; end < count && gpus[end]->host == gpus[first]->host;)
            end++;
        memset(is_taken, 0, n * sizeof *is_taken);
        status = number_gpus(s, gpus + first, is_taken, end - first);
    }
    free(gpus);
    free(is_taken);
    return status;
}

/* ---- hosts and CPUs ---- */

/* Which processors a mask such as "00ff,ff000000" names: how many, and the first. */
static void count_threads(const char *mask, int64_t *threads, int64_t *first)
{
    int64_t bit = 0;
    *threads = 0;
    *first = -1;
    for (size_t i = strlen(mask); i-- > 0;) {
        if (mask[i] == ',')
            continue;
        if (!isxdigit((unsigned char)mask[i])) {
            *threads = 0;
            return;
        }
        const char digit[2] = {mask[i], '\0'};
        unsigned long bits = strtoul(digit, NULL, 16);
        for (int j = 0; j < 4; j++, bit++)
            if (bits >> j & 1) {
                *first = *first < 0 ? bit : *first;
                ++*threads;
            }
    }
}

static weft_status make_host(struct reader *r, const xmlNode *system, struct cpu *cpu)
{
    static const char *const none[] = {NULL}, *const children[] = {"cpu", NULL};
    static const char *const plain = "host";
    struct weft_nccl_reading *s = &r->shared;
    char word[32];
    snprintf(word, sizeof word, r->num_hosts > 1 ? "%s%d" : "%s", plain, cpu->host_index);
    memset(s->counts, 0, sizeof s->counts);
    WEFT_TRY(weft_nccl_add_node(s, WEFT_NODE_HOST, -1, word, -1, &cpu->host));
    if (cpu->host_hash[0])
        WEFT_TRY(
            weft_nccl_set_text(s, cpu->element, cpu->host, "nccl.cpu.host_hash", cpu->host_hash));
    const char *architecture = weft_xml_text(cpu->element, "arch");
    if (architecture && architecture[0])
        WEFT_TRY(weft_nccl_set_text(s, cpu->element, cpu->host, "architecture", architecture));
    if (cpu->host_index > 0)
        return WEFT_OK;
    WEFT_TRY(weft_nccl_keep_attributes(s, "system", cpu->host, system, none));
    return weft_nccl_keep_unknown(s, system, cpu->host, children);
}

static weft_status make_cpu(struct reader *r, struct cpu *cpu)
{
    static const char *const known[] = {"host_hash", "numaid", NULL};
    static const char *const children[] = {"pci", "nic", NULL};
    struct weft_nccl_reading *s = &r->shared;
    const char *mask = weft_xml_text(cpu->element, "affinity");
    char word[32] = "numa-unknown";
    int64_t threads = 0, first = -1;
    if (cpu->numa_id >= 0)
        snprintf(word, sizeof word, "numa%lld", (long long)cpu->numa_id);
    WEFT_TRY(weft_nccl_located(
        s, cpu->element,
        weft_nccl_add_node(s, WEFT_NODE_NUMA, cpu->host, word, cpu->host, &cpu->numa)));
    if (cpu->numa_id >= 0)
        WEFT_TRY(weft_nccl_set_number(s, cpu->element, cpu->numa, "os_index", cpu->numa_id));
    else
        WEFT_TRY(weft_topology_add_remark(
            s->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_FILE, cpu->numa, s->error,
            "the NUMA domain of the devices at %.80s is not known (numaid=\"-1\")",
            s->topology->nodes[cpu->numa].name));
    if (mask && !weft_xml_text(cpu->element, "affinity_offset"))
        count_threads(mask, &threads, &first);
    if (threads > 0) {
        WEFT_TRY(weft_nccl_set_number(s, cpu->element, cpu->numa, "threads", threads));
        WEFT_TRY(weft_nccl_set_number(s, cpu->element, cpu->numa, "first_thread", first));
    }
    WEFT_TRY(weft_nccl_keep_attributes(s, "cpu", cpu->numa, cpu->element, known));
    for (struct cpu *other = r->cpus; other < cpu; other++)
        if (other->host_index == cpu->host_index)
            WEFT_TRY(weft_nccl_join(s, cpu->element, WEFT_LINK_SOCKET, other->numa, cpu->numa, -1));
    return weft_nccl_keep_unknown(s, cpu->element, cpu->numa, children);
}

/* Devices were collected CPU by CPU. */
static weft_status make_nodes(struct reader *r, const xmlNode *system)
{
    struct weft_nccl_reading *s = &r->shared;
    for (int i = 0, device = 0; i < r->num_cpus; i++) {
        struct cpu *cpu = &r->cpus[i];
        if (i > 0 && cpu[-1].host_index == cpu->host_index)
            cpu->host = cpu[-1].host;
        else
            WEFT_TRY(make_host(r, system, cpu));
        WEFT_TRY(make_cpu(r, cpu));
        s->host = cpu->host;
        s->numa = cpu->numa;
        if (device < s->num_devices && s->devices[device].cpu == i) {
            char word[32];
            snprintf(word, sizeof word, "pcie-root%d", s->counts[WEFT_NODE_PCIE_ROOT]++);
            WEFT_TRY(
                weft_nccl_add_node(s, WEFT_NODE_PCIE_ROOT, cpu->host, word, cpu->numa, &s->root));
            WEFT_TRY(weft_nccl_join(s, cpu->element, WEFT_LINK_ROOT, cpu->numa, s->root, -1));
        }
        for (; device < s->num_devices && s->devices[device].cpu == i; device++)
            WEFT_TRY(weft_nccl_make_device(s, device));
        WEFT_TRY(weft_nccl_make_nics(s, NULL, cpu->element, cpu->numa, -1));
    }
    return WEFT_OK;
}

/* ---- what only people can read between the lines ---- */

static weft_status remark_on_all(struct reader *r)
{
    struct weft_nccl_reading *s = &r->shared;
    int bare = 0;
    if (s->num_devices)
        WEFT_TRY(weft_topology_add_remark(
            s->topology, WEFT_REMARK_GUESS, WEFT_SOURCE_FILE, -1, s->error,
            "an NCCL file does not say which devices share a PCIe root: one root is taken for "
            "each NUMA domain"));
    for (int i = 0; i < s->num_devices; i++)
        bare += s->devices[i].kind == WEFT_NODE_GPU && !s->devices[i].gpu;
    if (bare)
        WEFT_TRY(weft_topology_add_remark(
            s->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_FILE, -1, s->error,
            "%d GPU%s in the file without <gpu>: NCCL finds their model and NVLinks where it "
            "runs, so they are not known here",
            bare, bare > 1 ? "s are" : " is"));
    return WEFT_OK;
}

/* Hosts of one file share an NVLink domain, so they run one job: their NICs must have a network,
 * though the file does not say which. Of one host alone nothing is made up. */
static weft_status join_hosts(struct reader *r)
{
    struct weft_nccl_reading *s = &r->shared;
    struct weft_topology *t = s->topology;
    int network = -1;
    for (int i = 0, end = t->num_nodes; i < end && r->num_hosts > 1; i++) {
        if (t->nodes[i].kind != WEFT_NODE_NIC)
            continue;
        if (network < 0) {
            WEFT_TRY(
                weft_topology_add_node(t, WEFT_NODE_SWITCH, "network", -1, &network, s->error));
            WEFT_TRY(weft_topology_add_remark(
                t, WEFT_REMARK_GUESS, WEFT_SOURCE_FILE, network, s->error,
                "the file does not say how the hosts' NICs reach each other: one switch that "
                "joins them all is taken"));
        }
        struct weft_link link = weft_link_make(WEFT_LINK_NETWORK, i, network);
        int64_t rate = weft_topology_number(t, i, "rate_mbps", -1);
        if (rate >= 0)
            link.bandwidth.nominal = (struct weft_quantity){rate * 125000, WEFT_SOURCE_FILE};
        WEFT_TRY(weft_topology_add_link(t, &link, NULL, s->error));
    }
    return WEFT_OK;
}

static weft_status read_system(struct reader *r, const xmlNode *system)
{
    struct weft_nccl_reading *s = &r->shared;
    int64_t version = 0;
    WEFT_TRY(weft_xml_integer(system, "version", 1, 2, s->name, &version, s->error));
    if (version == 0)
        return weft_xml_refuse(system, s->name, s->error, "it has no version (1: NCCL, 2: RCCL)");
    WEFT_TRY(collect_cpus(r, system));
    WEFT_TRY(number_all_gpus(r));
    WEFT_TRY(make_nodes(r, system));
    WEFT_TRY(weft_nccl_join_devices(s));
    WEFT_TRY(join_hosts(r));
    return remark_on_all(r);
}

static weft_status read_document(xmlDoc *document, const char *name, struct weft_topology *topology,
                                 struct weft_error *error)
{
    const xmlNode *root = xmlDocGetRootElement(document);
    if (root && weft_xml_is(root, "graphs"))
        return weft_xml_refuse(root, name, error,
                               "this is an NCCL graph file (NCCL_GRAPH_FILE): rings and trees "
                               "that NCCL chose, not what the machine is made of");
    if (!root || !weft_xml_is(root, "system"))
        return root ? weft_xml_refuse(root, name, error, "expected <system>")
                    : weft_fail(error, WEFT_INVALID_FORMAT, "%.200s:1: empty", name);
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "%.200s: no memory", name);
    r->shared = (struct weft_nccl_reading){.name = name, .topology = topology, .error = error};
    weft_status status = read_system(r, root);
    free(r->shared.devices);
    free(r->shared.statements);
    free(r);
    return status;
}

static weft_status read(const char *text, size_t bytes, const char *name,
                        struct weft_topology *topology, struct weft_error *error)
{
    xmlDoc *document = NULL;
    WEFT_TRY(weft_xml_parse(text, bytes, name, &document, error));
    weft_status status = read_document(document, name, topology, error);
    xmlFreeDoc(document);
    return status;
}

static bool matches(const char *text)
{
    return weft_xml_has_root(text, "system") || weft_xml_has_root(text, "graphs");
}

const struct weft_importer weft_importer_nccl_xml = {
    .name = "nccl-xml",
    .description = "NCCL or RCCL topology XML (NCCL_TOPO_FILE)",
    .matches = matches,
    .read = read,
};
