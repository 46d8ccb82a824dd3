/*
 * SPDX-License-Identifier: Apache-2.0
 * The NVML probe: what NVIDIA's driver knows about its GPUs. They are matched to nodes of the PCI
 * tree by address; those that the operating system hides are added. A GPU that does not answer is
 * named, and the others are asked on. NVLinks are in nvml_links.c, the fabric in nvml_fabric.c.
 *
 * The driver may block for ever, so the probe runs apart, under a deadline.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/format.h"
#include "topology/apart.h"
#include "topology/nvml_import.h"
#include "topology/pcie.h"
#include "topology/probe.h"

enum {
    MAX_MIG_INSTANCES = 64,
    MAX_MILLIWATTS = 100000000,
};
static const int64_t timeout_ns =
    30000000000; // without persistence mode a GPU takes seconds to wake

/* ---- helpers ---- */

bool weft_nvml_answered(struct nvml_gpu *gpu, int status, const char *what)
{
    if (status == WEFT_NVML_OK)
        return true;
    bool is_fatal = status == WEFT_NVML_GPU_IS_LOST || status == WEFT_NVML_RESET_REQUIRED;
    if (is_fatal || status == WEFT_NVML_UNKNOWN || status == WEFT_NVML_TIMEOUT) {
        if (gpu->failure == 0 || is_fatal > gpu->is_lost) {
            gpu->failure = status;
            gpu->failed_at = what;
        }
        gpu->is_lost |= is_fatal;
    }
    return false;
}

/* A copy that ends and can be printed, whatever the driver wrote. */
static void take_text(const char *from, size_t room, char *to)
{
    snprintf(to, room, "%.*s", (int)room - 1, from);
    weft_make_printable(to);
    for (size_t end = strlen(to); end > 0 && to[end - 1] == ' '; end--)
        to[end - 1] = '\0';
}

weft_status weft_nvml_set_number(struct nvml_import *im, int node, const char *key,
                                 unsigned long long number, unsigned long long most)
{
    if (number <= most)
        return weft_topology_learn_number(im->topology, node, key, (int64_t)number,
                                          WEFT_SOURCE_NVML, im->error);
    return weft_topology_add_remark(im->topology, WEFT_REMARK_UNREAD, WEFT_SOURCE_NVML, node,
                                    im->error, "%s of %.100s is said to be %llu, which cannot be",
                                    key, im->topology->nodes[node].name, number);
}

weft_status weft_nvml_set_text(struct nvml_import *im, int node, const char *key, const char *text)
{
    if (!text[0])
        return WEFT_OK;
    return weft_topology_learn_text(im->topology, node, key, text, WEFT_SOURCE_NVML, im->error);
}

weft_status weft_nvml_add_node(struct nvml_import *im, int kind, const char *word, int parent,
                               int *node)
{
    char name[WEFT_TOPOLOGY_NAME_BYTES];
    snprintf(name, sizeof name, "%.150s/%.60s", im->topology->nodes[im->host].name, word);
    return weft_topology_add_twin(im->topology, kind, name, parent, node, im->error);
}

bool weft_nvml_address(const struct weft_nvml_pci *pci, char *text)
{
    if (pci->domain == UINT32_MAX || pci->bus > 0xff || pci->device > 0x1f ||
        (pci->domain == 0 && pci->bus == 0 && pci->device == 0))
        return false;
    // the function is only in the text: "00000000:1A:00.0"
    unsigned function = 0;
    size_t bytes = strnlen(pci->address, sizeof pci->address);
    if (bytes > 2 && pci->address[bytes - 2] == '.' && pci->address[bytes - 1] >= '0' &&
        pci->address[bytes - 1] <= '7')
        function = (unsigned)(pci->address[bytes - 1] - '0');
    snprintf(text, NVML_ADDRESS_BYTES, "%04x:%02x:%02x.%x", pci->domain, pci->bus, pci->device,
             function);
    return true;
}

int weft_nvml_memory_of(const struct nvml_import *im, int node)
{
    const struct weft_topology *t = im->topology;
    int numa = weft_topology_ancestor(t, node, WEFT_NODE_NUMA);
    if (numa >= 0)
        return numa;
    int package = weft_topology_ancestor(t, node, WEFT_NODE_CPU), found = 0;
    int above = package >= 0 ? package : im->host;
    for (int i = 0; i < t->num_nodes; i++)
        if (t->nodes[i].kind == WEFT_NODE_NUMA &&
            weft_topology_ancestor(t, i, t->nodes[above].kind) == above && found++ == 0)
            numa = i;
    return found == 1 ? numa : -1;
}

int64_t weft_nvml_field(struct nvml_import *im, struct nvml_gpu *gpu, unsigned id, unsigned scope,
                        const char *what)
{
    struct weft_nvml_field field = {.field_id = id, .scope_id = scope, .value_type = -1};
    if (!im->nvml->field_values || gpu->is_lost ||
        !weft_nvml_answered(gpu, im->nvml->field_values(gpu->device, 1, &field), what) ||
        !weft_nvml_answered(gpu, field.status, what))
        return -1;
    unsigned long long number = 0;
    switch (field.value_type) {
    case WEFT_NVML_DOUBLE:
        if (!(field.value.real >= 0) || field.value.real > 1e18)
            return -1;
        return (int64_t)field.value.real;
    case WEFT_NVML_UNSIGNED_INT:
        number = field.value.unsigned_int;
        break;
    case WEFT_NVML_UNSIGNED_LONG:
    case WEFT_NVML_UNSIGNED_LONG_LONG:
        number = field.value.unsigned_long_long;
        break;
    case WEFT_NVML_SIGNED_LONG_LONG:
        return field.value.signed_long_long < 0 ? -1 : field.value.signed_long_long;
    case WEFT_NVML_SIGNED_INT:
        return field.value.signed_int < 0 ? -1 : field.value.signed_int;
    case WEFT_NVML_UNSIGNED_SHORT:
        number = field.value.unsigned_short;
        break;
    default:
        return -1;
    }
    return number > INT64_MAX ? INT64_MAX : (int64_t)number;
}

/* ---- finding the GPUs ---- */

static weft_status find_host(struct nvml_import *im)
{
    struct weft_topology *t = im->topology;
    for (im->host = 0; im->host < t->num_nodes; im->host++)
        if (t->nodes[im->host].kind == WEFT_NODE_HOST)
            return WEFT_OK;
    struct utsname system;
    char name[WEFT_TOPOLOGY_NAME_BYTES] = "host";
    if (uname(&system) == 0 && system.nodename[0])
        take_text(system.nodename, sizeof system.nodename, name);
    return weft_topology_add_node(t, WEFT_NODE_HOST, name, -1, &im->host, im->error);
}

/* A GPU that the driver knows and the operating system does not show: it hangs on the host, and its
 * way to memory is not known. */
static weft_status add_hidden_gpu(struct nvml_import *im, struct nvml_gpu *gpu, int index)
{
    struct weft_topology *t = im->topology;
    char word[32];
    snprintf(word, sizeof word, "gpu%d", index);
    WEFT_TRY(weft_nvml_add_node(im, WEFT_NODE_GPU, word, im->host, &gpu->node));
    WEFT_TRY(weft_nvml_set_text(im, gpu->node, "pci_address", gpu->address));
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_NUMA)
            continue;
        struct weft_link link = weft_link_make(WEFT_LINK_ROOT, i, gpu->node);
        WEFT_TRY(weft_topology_add_link(t, &link, NULL, im->error));
    }
    return weft_topology_add_remark(t, WEFT_REMARK_GUESS, WEFT_SOURCE_NVML, gpu->node, im->error,
                                    "%.60s is at %s, where the operating system shows no device; "
                                    "its place among the NUMA domains is not known",
                                    t->nodes[gpu->node].name, gpu->address);
}

static weft_status remark_failure(struct nvml_import *im, const struct nvml_gpu *gpu, int index)
{
    if (gpu->failure == 0)
        return WEFT_OK;
    const char *text = weft_nvml_status_text(gpu->failure);
    if (gpu->node >= 0)
        WEFT_TRY(weft_nvml_set_text(im, gpu->node, "fault", text));
    return weft_topology_add_remark(im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_NVML, gpu->node,
                                    im->error, "GPU %d (%s), asked for %s: %s (NVML status %d)",
                                    index, gpu->address[0] ? gpu->address : "address not known",
                                    gpu->failed_at, text, gpu->failure);
}

static weft_status find_gpu(struct nvml_import *im, struct nvml_gpu *gpu, int index)
{
    struct weft_nvml_pci pci = {0};
    gpu->node = -1;
    int status = im->nvml->device_by_index((unsigned)index, &gpu->device);
    if (status == WEFT_NVML_OK && gpu->device) {
        status = im->nvml->device_pci(gpu->device, &pci);
        gpu->failed_at = "its PCI address";
    } else {
        gpu->device = NULL;
        gpu->failed_at = "a handle";
    }
    if (status != WEFT_NVML_OK || !gpu->device || !weft_nvml_address(&pci, gpu->address)) {
        gpu->failure = status != WEFT_NVML_OK ? status : WEFT_NVML_UNKNOWN;
        gpu->is_lost = true; // without an address it has no place in the graph
        return WEFT_OK;
    }
    for (int i = 0; i < index; i++)
        if (strcmp(im->gpus[i].address, gpu->address) == 0) {
            gpu->is_lost = true;
            return weft_topology_add_remark(im->topology, WEFT_REMARK_UNREAD, WEFT_SOURCE_NVML, -1,
                                            im->error, "GPUs %d and %d are both said to be at %s",
                                            i, index, gpu->address);
        }
    gpu->node = weft_topology_find_text(im->topology, WEFT_NODE_GPU, "pci_address", gpu->address);
    if (gpu->node < 0)
        WEFT_TRY(add_hidden_gpu(im, gpu, index));
    return weft_nvml_set_number(im, gpu->node, "index", (unsigned long long)index, NVML_MAX_GPUS);
}

/* ---- one GPU ---- */

static weft_status read_texts(struct nvml_import *im, struct nvml_gpu *gpu)
{
    const struct weft_nvml *nvml = im->nvml;
    char raw[WEFT_NVML_NAME_BYTES] = "", text[WEFT_NVML_NAME_BYTES];
    if (nvml->device_name && !gpu->is_lost &&
        weft_nvml_answered(gpu, nvml->device_name(gpu->device, raw, sizeof raw), "its name")) {
        take_text(raw, sizeof raw, text);
        if (text[0]) // not learned: others word it otherwise, which is no contradiction
            WEFT_TRY(weft_topology_set_text(im->topology, gpu->node, "model", text,
                                            WEFT_SOURCE_NVML, im->error));
    }
    memset(raw, 0, sizeof raw);
    if (nvml->device_uuid && !gpu->is_lost &&
        weft_nvml_answered(gpu, nvml->device_uuid(gpu->device, raw, sizeof raw), "its UUID")) {
        take_text(raw, sizeof raw, text);
        WEFT_TRY(weft_nvml_set_text(im, gpu->node, "uuid", text));
    }
    return WEFT_OK;
}

/* Limits are of the machine; what flows now is a fact of the moment. */
static weft_status read_numbers(struct nvml_import *im, struct nvml_gpu *gpu)
{
    const struct weft_nvml *nvml = im->nvml;
    const struct {
        const char *key;
        int (*get)(struct weft_nvml_device *device, unsigned *milliwatts);
    } powers[] = {{"power_limit_milliwatts", nvml->power_default_limit},
                  {"process.power_limit_milliwatts", nvml->power_limit},
                  {"process.power_milliwatts", nvml->power_usage}};
    for (size_t i = 0; i < sizeof powers / sizeof powers[0]; i++) {
        unsigned milliwatts = 0;
        if (powers[i].get && !gpu->is_lost &&
            weft_nvml_answered(gpu, powers[i].get(gpu->device, &milliwatts), "its power"))
            WEFT_TRY(
                weft_nvml_set_number(im, gpu->node, powers[i].key, milliwatts, MAX_MILLIWATTS));
    }
    unsigned long long millijoules = 0;
    if (nvml->total_energy && !gpu->is_lost &&
        weft_nvml_answered(gpu, nvml->total_energy(gpu->device, &millijoules), "its energy"))
        WEFT_TRY(weft_nvml_set_number(im, gpu->node, "process.energy_millijoules", millijoules,
                                      INT64_MAX));
    struct weft_nvml_memory memory = {0};
    if (nvml->device_memory && !gpu->is_lost &&
        weft_nvml_answered(gpu, nvml->device_memory(gpu->device, &memory), "its memory"))
        WEFT_TRY(weft_nvml_set_number(im, gpu->node, "memory_bytes", memory.total, 1ull << 50));
    return WEFT_OK;
}

/* ---- PCIe ---- */

/* Two sources round differently; that is no contradiction. */
static bool is_about(int64_t a, int64_t b)
{
    return a >= 0 && b >= 0 && llabs(a - b) <= b / 200;
}

static weft_status learn_pcie(struct nvml_import *im, int node, bool is_nominal, int64_t bandwidth)
{
    struct weft_topology *t = im->topology;
    for (int i = 0; i < t->num_links; i++) {
        struct weft_link *link = &t->links[i];
        if ((link->kind != WEFT_LINK_PCIE && link->kind != WEFT_LINK_ROOT) ||
            (link->from != node && link->to != node))
            continue;
        struct weft_quantity *known =
            is_nominal ? &link->bandwidth.nominal : &link->bandwidth.current;
        if (!is_about(known->value, bandwidth))
            WEFT_TRY(weft_topology_learn_quantity(
                t, i, is_nominal ? "nominal bandwidth" : "current bandwidth", known, bandwidth,
                WEFT_SOURCE_NVML, im->error));
    }
    return WEFT_OK;
}

static weft_status read_pcie(struct nvml_import *im, struct nvml_gpu *gpu)
{
    const struct weft_nvml *nvml = im->nvml;
    const struct {
        const char *key;
        int (*generation)(struct weft_nvml_device *device, unsigned *generation);
        int (*width)(struct weft_nvml_device *device, unsigned *lanes);
    } forms[] = {{"pcie", nvml->pcie_generation_max, nvml->pcie_width_max},
                 {"process.pcie", nvml->pcie_generation, nvml->pcie_width}};
    for (int i = 0; i < 2; i++) {
        unsigned generation = 0, lanes = 0;
        if (!forms[i].generation || !forms[i].width || gpu->is_lost ||
            !weft_nvml_answered(gpu, forms[i].generation(gpu->device, &generation),
                                "its PCIe link") ||
            !weft_nvml_answered(gpu, forms[i].width(gpu->device, &lanes), "its PCIe link"))
            continue;
        int64_t bandwidth = weft_pcie_payload(weft_pcie_rate_of_generation(generation), lanes);
        if (bandwidth < 0) {
            WEFT_TRY(weft_topology_add_remark(
                im->topology, WEFT_REMARK_UNREAD, WEFT_SOURCE_NVML, gpu->node, im->error,
                "PCIe generation %u with %u lanes, says NVML of %.100s", generation, lanes,
                im->topology->nodes[gpu->node].name));
            continue;
        }
        char text[48];
        snprintf(text, sizeof text, "generation %u, %u lanes", generation, lanes);
        WEFT_TRY(weft_nvml_set_text(im, gpu->node, forms[i].key, text));
        WEFT_TRY(learn_pcie(im, gpu->node, i == 0, bandwidth));
    }
    return WEFT_OK;
}

/* ---- MIG ---- */

static weft_status read_instance(struct nvml_import *im, struct nvml_gpu *gpu, int index)
{
    struct weft_nvml_device *device = NULL;
    char word[64], text[WEFT_NVML_NAME_BYTES], raw[WEFT_NVML_NAME_BYTES] = "";
    if (im->nvml->mig_by_index(gpu->device, (unsigned)index, &device) != WEFT_NVML_OK || !device)
        return WEFT_OK; // places need not be taken
    const char *name = im->topology->nodes[gpu->node].name, *slash = strchr(name, '/');
    int node;
    snprintf(word, sizeof word, "%.40s-mig%d", slash ? slash + 1 : name, index);
    WEFT_TRY(weft_nvml_add_node(im, WEFT_NODE_DEVICE, word, gpu->node, &node));
    if (im->nvml->device_name && im->nvml->device_name(device, raw, sizeof raw) == WEFT_NVML_OK) {
        take_text(raw, sizeof raw, text);
        WEFT_TRY(weft_nvml_set_text(im, node, "model", text));
    }
    memset(raw, 0, sizeof raw);
    if (im->nvml->device_uuid && im->nvml->device_uuid(device, raw, sizeof raw) == WEFT_NVML_OK) {
        take_text(raw, sizeof raw, text);
        WEFT_TRY(weft_nvml_set_text(im, node, "uuid", text));
    }
    struct weft_nvml_memory memory = {0};
    if (im->nvml->device_memory && im->nvml->device_memory(device, &memory) == WEFT_NVML_OK)
        WEFT_TRY(weft_nvml_set_number(im, node, "memory_bytes", memory.total, 1ull << 50));
    return WEFT_OK;
}

static weft_status read_mig(struct nvml_import *im, struct nvml_gpu *gpu)
{
    unsigned current = 0, pending = 0, count = 0;
    if (!im->nvml->mig_mode || gpu->is_lost ||
        !weft_nvml_answered(gpu, im->nvml->mig_mode(gpu->device, &current, &pending), "MIG"))
        return WEFT_OK;
    gpu->is_split = current == 1;
    WEFT_TRY(weft_nvml_set_text(im, gpu->node, "mig", gpu->is_split ? "on" : "off"));
    if (current != pending && current <= 1 && pending <= 1)
        WEFT_TRY(weft_nvml_set_text(im, gpu->node, "mig_after_reset", pending ? "on" : "off"));
    if (!gpu->is_split || !im->nvml->mig_max || !im->nvml->mig_by_index ||
        im->nvml->mig_max(gpu->device, &count) != WEFT_NVML_OK)
        return WEFT_OK;
    if (count > MAX_MIG_INSTANCES) {
        WEFT_TRY(weft_nvml_set_number(im, gpu->node, "MIG instances", count, MAX_MIG_INSTANCES));
        count = MAX_MIG_INSTANCES;
    }
    for (unsigned i = 0; i < count; i++)
        WEFT_TRY(read_instance(im, gpu, (int)i));
    return weft_topology_add_remark(
        im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_NVML, gpu->node, im->error,
        "%.60s is split by MIG: instances reach no other GPU over NVLink or PCIe, so its NVLinks "
        "are left out",
        im->topology->nodes[gpu->node].name);
}

/* ---- the probe ---- */

static weft_status read_gpu(struct nvml_import *im, struct nvml_gpu *gpu, int index)
{
    WEFT_TRY(find_gpu(im, gpu, index));
    if (gpu->node >= 0) {
        WEFT_TRY(read_texts(im, gpu));
        WEFT_TRY(read_numbers(im, gpu));
        WEFT_TRY(read_pcie(im, gpu));
        WEFT_TRY(read_mig(im, gpu));
        gpu->model = weft_topology_text(im->topology, gpu->node, "model");
        WEFT_TRY(weft_nvml_read_links(im, gpu));
        WEFT_TRY(weft_nvml_join_c2c(im, gpu));
        WEFT_TRY(weft_nvml_read_fabric(im, gpu));
    }
    return remark_failure(im, gpu, index);
}

static weft_status read_all(struct nvml_import *im)
{
    unsigned count = 0;
    int status = im->nvml->device_count(&count);
    if (status != WEFT_NVML_OK)
        return weft_fail(im->error, WEFT_SYSTEM, "NVML cannot count the GPUs: %s (status %d)",
                         weft_nvml_status_text(status), status);
    if (count > NVML_MAX_GPUS)
        return weft_fail(im->error, WEFT_INVALID_FORMAT, "NVML speaks of %u GPUs", count);
    if (count == 0)
        return WEFT_OK;
    WEFT_TRY(find_host(im));
    char raw[WEFT_NVML_VERSION_BYTES] = "", text[WEFT_NVML_VERSION_BYTES];
    if (im->nvml->driver_version && im->nvml->driver_version(raw, sizeof raw) == WEFT_NVML_OK) {
        take_text(raw, sizeof raw, text);
        WEFT_TRY(weft_nvml_set_text(im, im->host, "nvidia_driver", text));
    }
    im->gpus = calloc(count, sizeof *im->gpus);
    if (!im->gpus)
        return weft_fail(im->error, WEFT_OUT_OF_MEMORY, "NVML: no memory");
    weft_status result = WEFT_OK;
    for (; im->num_gpus < (int)count && result == WEFT_OK; im->num_gpus++)
        result = read_gpu(im, &im->gpus[im->num_gpus], im->num_gpus);
    if (result == WEFT_OK)
        result = weft_nvml_join_links(im);
    free(im->gpus);
    return result;
}

weft_status weft_probe_nvml_with(const struct weft_nvml *nvml, struct weft_topology *topology,
                                 struct weft_error *error)
{
    struct nvml_import im = {.nvml = nvml, .topology = topology, .error = error, .host = -1};
    int status = nvml->init();
    if (status != WEFT_NVML_OK)
        return weft_fail(error, WEFT_UNSUPPORTED, "NVML does not start: %s (status %d)",
                         weft_nvml_status_text(status), status);
    weft_status result = read_all(&im);
    nvml->shutdown();
    return result;
}

static weft_status discover_with(const void *context, struct weft_topology *topology,
                                 struct weft_error *error)
{
    return weft_probe_nvml_with(context, topology, error);
}

weft_status weft_probe_nvml_apart(const struct weft_nvml *nvml, int64_t allowed_ns,
                                  struct weft_topology *topology, struct weft_error *error)
{
    return weft_probe_apart("NVML", allowed_ns, discover_with, nvml, topology, error);
}

static bool nvml_available(const char **reason)
{
    struct weft_nvml nvml;
    if (weft_nvml_open(NULL, &nvml, NULL) == WEFT_OK) {
        weft_nvml_close(&nvml);
        return true;
    }
    *reason = "NVIDIA's management library (libnvidia-ml.so.1) is not installed or too old";
    return false;
}

static weft_status nvml_discover(struct weft_topology *topology, struct weft_error *error)
{
    struct weft_nvml nvml;
    WEFT_TRY(weft_nvml_open(NULL, &nvml, error));
    weft_status status = weft_probe_nvml_apart(&nvml, timeout_ns, topology, error);
    weft_nvml_close(&nvml);
    return status;
}

const struct weft_probe weft_probe_nvml = {
    .name = "nvml",
    .phase = WEFT_PROBE_PHASE_DEVICES,
    .available = nvml_available,
    .discover = nvml_discover,
};
