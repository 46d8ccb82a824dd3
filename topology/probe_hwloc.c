/*
 * SPDX-License-Identifier: Apache-2.0
 * The hwloc probe: host, packages, NUMA domains, cores, caches, and through hwloc_devices.c the PCI
 * tree. One load of hwloc, live or from its XML; the result is the same kind of graph. What the
 * machine does not tell (memory speed, say) is left unknown here.
 */
#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "topology/forms.h"
#include "topology/hwloc_import.h"
#include "topology/probe.h"
#include "topology/xml.h"

enum { MAX_NUMA = 1024 }; // every two of them are joined

weft_status weft_hwloc_add(struct hwloc_import *im, int kind, const char *word, int parent,
                           int *node)
{
    const char *host = im->host >= 0 ? im->topology->nodes[im->host].name : "";
    char name[WEFT_TOPOLOGY_NAME_BYTES];
    snprintf(name, sizeof name, "%.100s%s%.100s", host, host[0] ? "/" : "", word);
    weft_make_printable(name);
    // a twin: an interface may be called numa0
    return weft_topology_add_twin(im->topology, kind, name, parent, node, im->error);
}

weft_status weft_hwloc_set_text(struct hwloc_import *im, int node, const char *key,
                                const char *text)
{
    if (!text || !text[0])
        return WEFT_OK;
    char copy[WEFT_TOPOLOGY_NAME_BYTES];
    snprintf(copy, sizeof copy, "%s", text);
    weft_make_printable(copy);
    for (size_t end = strlen(copy); end > 0 && copy[end - 1] == ' '; end--)
        copy[end - 1] = '\0';
    return weft_topology_set_text(im->topology, node, key, copy, WEFT_SOURCE_HWLOC, im->error);
}

weft_status weft_hwloc_set_number(struct hwloc_import *im, int node, const char *key,
                                  int64_t number)
{
    return weft_topology_set_number(im->topology, node, key, number, WEFT_SOURCE_HWLOC, im->error);
}

int weft_hwloc_node(hwloc_obj_t object)
{
    while (object && !object->userdata)
        object = object->parent;
    return object ? (int)(intptr_t)object->userdata - 1 : -1;
}

static void remember(hwloc_obj_t object, int node)
{
    object->userdata = (void *)(intptr_t)(node + 1);
}

/* ---- host and packages ---- */

static weft_status import_host(struct hwloc_import *im)
{
    hwloc_obj_t root = hwloc_get_root_obj(im->hwloc);
    const char *name = hwloc_obj_get_info_by_name(root, "HostName");
    int host;
    im->host = -1;
    char word[128];
    snprintf(word, sizeof word, "%s", name && name[0] ? name : "host");
    for (char *slash = word; (slash = strchr(slash, '/'));) // it ends the host's part of a name
        *slash = '-';
    WEFT_TRY(weft_hwloc_add(im, WEFT_NODE_HOST, word, -1, &host));
    im->host = host;
    remember(root, host);
    static const char *const texts[][2] = {
        {"DMISysVendor", "vendor"},   {"DMIProductName", "product"},
        {"PlatformModel", "product"}, {"OSName", "os"},
        {"OSRelease", "os_release"},  {"Architecture", "architecture"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        WEFT_TRY(weft_hwloc_set_text(im, host, texts[i][1],
                                     hwloc_obj_get_info_by_name(root, texts[i][0])));
    int threads = hwloc_get_nbobjs_by_type(im->hwloc, HWLOC_OBJ_PU);
    WEFT_TRY(weft_hwloc_set_number(im, host, "threads", threads > 0 ? threads : 0));
    return WEFT_OK;
}

/* What this process may use of it; only sensible when the machine is this one. */
static weft_status import_limits(struct hwloc_import *im)
{
    if (!hwloc_topology_is_thissystem(im->hwloc))
        return WEFT_OK;
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    if (!set)
        return weft_fail(im->error, WEFT_OUT_OF_MEMORY, "hwloc: no memory");
    weft_status status = WEFT_OK;
    if (hwloc_get_cpubind(im->hwloc, set, HWLOC_CPUBIND_PROCESS) == 0) {
        hwloc_bitmap_and(set, set, hwloc_topology_get_topology_cpuset(im->hwloc));
        int usable = hwloc_bitmap_weight(set);
        if (usable > 0)
            status = weft_hwloc_set_number(im, im->host, "process.threads", usable);
    }
    hwloc_bitmap_free(set);
    return status;
}

static weft_status import_caches(struct hwloc_import *im, hwloc_obj_t package, int node)
{
    static const struct {
        hwloc_obj_type_t type;
        const char *bytes_key, *count_key;
    } levels[] = {{HWLOC_OBJ_L1CACHE, "l1d_bytes", "l1d_count"},
                  {HWLOC_OBJ_L2CACHE, "l2_bytes", "l2_count"},
                  {HWLOC_OBJ_L3CACHE, "l3_bytes", "l3_count"}};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        int count =
            hwloc_get_nbobjs_inside_cpuset_by_type(im->hwloc, package->cpuset, levels[i].type);
        hwloc_obj_t cache =
            hwloc_get_obj_inside_cpuset_by_type(im->hwloc, package->cpuset, levels[i].type, 0);
        if (count <= 0 || !cache || !cache->attr || cache->attr->cache.size > INT64_MAX)
            continue;
        WEFT_TRY(
            weft_hwloc_set_number(im, node, levels[i].bytes_key, (int64_t)cache->attr->cache.size));
        WEFT_TRY(weft_hwloc_set_number(im, node, levels[i].count_key, count));
    }
    return WEFT_OK;
}

static weft_status import_packages(struct hwloc_import *im)
{
    int count = hwloc_get_nbobjs_by_type(im->hwloc, HWLOC_OBJ_PACKAGE);
    for (int i = 0; i < count; i++) {
        hwloc_obj_t package = hwloc_get_obj_by_type(im->hwloc, HWLOC_OBJ_PACKAGE, (unsigned)i);
        char word[32];
        int node;
        snprintf(word, sizeof word, "cpu%d", i);
        WEFT_TRY(weft_hwloc_add(im, WEFT_NODE_CPU, word, im->host, &node));
        remember(package, node);
        const char *model = hwloc_obj_get_info_by_name(package, "CPUModel");
        if (!model)
            model = hwloc_obj_get_info_by_name(hwloc_get_root_obj(im->hwloc), "CPUModel");
        WEFT_TRY(weft_hwloc_set_text(im, node, "model", model));
        WEFT_TRY(import_caches(im, package, node));
    }
    return WEFT_OK;
}

/* ---- memory and cores ---- */

/* hwloc gives memory without processors (of a GPU, CXL, MCDRAM) the processors that it is near to.
 * It tells by its subtype, or by coming second for the same processors. */
static bool has_processors(struct hwloc_import *im, hwloc_obj_t numa)
{
    if (!numa->cpuset || hwloc_bitmap_iszero(numa->cpuset) ||
        (numa->subtype && strcmp(numa->subtype, "DRAM") != 0))
        return false;
    hwloc_obj_t other = NULL;
    while ((other = hwloc_get_next_obj_by_type(im->hwloc, HWLOC_OBJ_NUMANODE, other)))
        if (other->cpuset && other->os_index < numa->os_index &&
            hwloc_bitmap_isequal(other->cpuset, numa->cpuset))
            return false;
    return true;
}

/* SLIT distances are relative: 10 is local. What a link adds is the difference, of an assumed
 * local latency, so the result is an assumption too. */
static void set_socket_latency(struct weft_link *link, uint64_t distance)
{
    int64_t local_ps = weft_link_kinds[WEFT_LINK_MEMORY].assumed_latency_ps;
    if (distance > 10 && distance < 255)
        link->latency.nominal =
            (struct weft_quantity){local_ps * ((int64_t)distance - 10) / 10, WEFT_SOURCE_ASSUMED};
}

static weft_status join_numa(struct hwloc_import *im, hwloc_obj_t a, hwloc_obj_t b,
                             struct hwloc_distances_s *slit)
{
    struct weft_link link =
        weft_link_make(WEFT_LINK_SOCKET, weft_hwloc_node(a), weft_hwloc_node(b));
    hwloc_uint64_t there, back;
    if (slit && hwloc_distances_obj_pair_values(slit, a, b, &there, &back) == 0)
        set_socket_latency(&link, there > back ? there : back);
    return weft_topology_add_link(im->topology, &link, NULL, im->error);
}

static weft_status join_all_numa(struct hwloc_import *im)
{
    unsigned found = 1;
    struct hwloc_distances_s *slit = NULL;
    if (hwloc_distances_get_by_name(im->hwloc, "NUMALatency", &found, &slit, 0) != 0 || found == 0)
        slit = NULL;
    weft_status status = WEFT_OK;
    int count = hwloc_get_nbobjs_by_type(im->hwloc, HWLOC_OBJ_NUMANODE);
    for (int i = 0; i < count && status == WEFT_OK; i++)
        for (int j = 0; j < i && status == WEFT_OK; j++) {
            hwloc_obj_t a = hwloc_get_obj_by_type(im->hwloc, HWLOC_OBJ_NUMANODE, (unsigned)j);
            hwloc_obj_t b = hwloc_get_obj_by_type(im->hwloc, HWLOC_OBJ_NUMANODE, (unsigned)i);
            if (a->userdata && b->userdata)
                status = join_numa(im, a, b, slit);
        }
    if (slit)
        hwloc_distances_release(im->hwloc, slit);
    return status;
}

static weft_status set_memory(struct hwloc_import *im, hwloc_obj_t numa, int node)
{
    WEFT_TRY(weft_hwloc_set_number(im, node, "os_index", numa->os_index));
    if (!numa->attr || numa->attr->numanode.local_memory == 0 ||
        numa->attr->numanode.local_memory > INT64_MAX)
        return WEFT_OK;
    return weft_hwloc_set_number(im, node, "memory_bytes",
                                 (int64_t)numa->attr->numanode.local_memory);
}

/* Memory without processors (of a GPU on POWER and Grace, CXL) is no place to run and joins
 * nothing: a device below the GPU that it belongs to, else below the host. */
static weft_status import_memory_only(struct hwloc_import *im)
{
    int count = hwloc_get_nbobjs_by_type(im->hwloc, HWLOC_OBJ_NUMANODE), named = 0;
    for (int i = 0; i < count; i++) {
        hwloc_obj_t numa = hwloc_get_obj_by_type(im->hwloc, HWLOC_OBJ_NUMANODE, (unsigned)i);
        if (numa->userdata)
            continue;
        const char *bus = hwloc_obj_get_info_by_name(numa, "PCIBusID");
        int owner = bus ? weft_topology_find_text(im->topology, -1, "pci_address", bus) : -1, node;
        char word[32];
        snprintf(word, sizeof word, "memory%d", named++);
        WEFT_TRY(weft_hwloc_add(im, WEFT_NODE_DEVICE, word, owner >= 0 ? owner : im->host, &node));
        WEFT_TRY(set_memory(im, numa, node));
        WEFT_TRY(weft_hwloc_set_text(im, node, "owner_pci_address", bus));
        WEFT_TRY(weft_hwloc_set_text(im, node, "model",
                                     numa->subtype ? numa->subtype : "memory without processors"));
    }
    return WEFT_OK;
}

static weft_status import_numa(struct hwloc_import *im)
{
    int count = hwloc_get_nbobjs_by_type(im->hwloc, HWLOC_OBJ_NUMANODE);
    if (count > MAX_NUMA)
        return weft_fail(im->error, WEFT_INVALID_FORMAT, "hwloc: more than %d NUMA domains",
                         MAX_NUMA);
    for (int i = 0; i < count; i++) {
        hwloc_obj_t numa = hwloc_get_obj_by_type(im->hwloc, HWLOC_OBJ_NUMANODE, (unsigned)i);
        if (!has_processors(im, numa))
            continue;
        int parent = im->host, node;
        hwloc_obj_t package = NULL;
        while ((package = hwloc_get_next_obj_by_type(im->hwloc, HWLOC_OBJ_PACKAGE, package)))
            if (package->cpuset && hwloc_bitmap_isincluded(numa->cpuset, package->cpuset))
                parent = weft_hwloc_node(package);
        char word[32];
        snprintf(word, sizeof word, "numa%d", i);
        WEFT_TRY(weft_hwloc_add(im, WEFT_NODE_NUMA, word, parent, &node));
        remember(numa, node);
        WEFT_TRY(set_memory(im, numa, node));
    }
    return join_all_numa(im);
}

/* The smallest NUMA domain that holds the core, the first of equals. */
static int numa_of(struct hwloc_import *im, hwloc_obj_t core)
{
    hwloc_obj_t numa = NULL, best = NULL;
    while ((numa = hwloc_get_next_obj_by_type(im->hwloc, HWLOC_OBJ_NUMANODE, numa)))
        if (numa->userdata && core->cpuset && hwloc_bitmap_isincluded(core->cpuset, numa->cpuset) &&
            (!best || hwloc_bitmap_weight(numa->cpuset) < hwloc_bitmap_weight(best->cpuset)))
            best = numa;
    return best ? weft_hwloc_node(best) : -1;
}

static weft_status import_cores(struct hwloc_import *im)
{
    // some virtual machines show threads only
    hwloc_obj_type_t type =
        hwloc_get_nbobjs_by_type(im->hwloc, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    int count = hwloc_get_nbobjs_by_type(im->hwloc, type);
    for (int i = 0; i < count; i++) {
        hwloc_obj_t core = hwloc_get_obj_by_type(im->hwloc, type, (unsigned)i);
        int numa = numa_of(im, core), node;
        char word[32];
        snprintf(word, sizeof word, "core%d", i);
        WEFT_TRY(weft_hwloc_add(im, WEFT_NODE_CORE, word, numa >= 0 ? numa : im->host, &node));
        remember(core, node);
        int threads = core->cpuset ? hwloc_bitmap_weight(core->cpuset) : 1;
        WEFT_TRY(weft_hwloc_set_number(im, node, "threads", threads > 0 ? threads : 1));
        if (core->cpuset && hwloc_bitmap_first(core->cpuset) >= 0)
            WEFT_TRY(
                weft_hwloc_set_number(im, node, "first_thread", hwloc_bitmap_first(core->cpuset)));
        if (numa < 0)
            continue;
        struct weft_link link = weft_link_make(WEFT_LINK_MEMORY, numa, node);
        WEFT_TRY(weft_topology_add_link(im->topology, &link, NULL, im->error));
    }
    return WEFT_OK;
}

/* ---- load ---- */

/* An SXM module always has NVLinks; files of an hwloc without NVML do not show them. (On this
 * machine the nvml probe looks next.) */
static weft_status remark_hidden_nvlinks(struct hwloc_import *im)
{
    const struct weft_topology *t = im->topology;
    int modules = 0, first = -1;
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_NVLINK)
            return WEFT_OK;
    for (int i = 0; i < t->num_nodes; i++) {
        const char *model = weft_topology_text(t, i, "model");
        if (t->nodes[i].kind == WEFT_NODE_GPU && model && strstr(model, "SXM") && modules++ == 0)
            first = i;
    }
    if (modules == 0 || hwloc_topology_is_thissystem(im->hwloc))
        return WEFT_OK;
    return weft_topology_add_remark(
        im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_HWLOC, first, im->error,
        "%d SXM modules, which have NVLinks, but no NVLink is listed", modules);
}

static weft_status import_all(hwloc_topology_t hwloc, struct weft_topology *topology,
                              struct weft_error *error)
{
    struct hwloc_import im = {.hwloc = hwloc, .topology = topology, .error = error, .host = -1};
    WEFT_TRY(import_host(&im));
    WEFT_TRY(import_limits(&im));
    WEFT_TRY(import_packages(&im));
    WEFT_TRY(import_numa(&im));
    WEFT_TRY(import_cores(&im));
    WEFT_TRY(weft_hwloc_import_devices(&im));
    WEFT_TRY(import_memory_only(&im));
    WEFT_TRY(weft_hwloc_import_distances(&im));
    return remark_hidden_nvlinks(&im);
}

/* Components of hwloc that cost more than they tell. opencl and gl open drivers and displays. pci
 * goes through libpciaccess, which leaks and keeps process-wide state, while hwloc's Linux
 * component reads the same from sysfs, without root too; only device names from pci.ids are lost.
 * nvml and cuda may block in a sick driver; the NVML probe asks it under a deadline, and knows
 * more.
 */
static const char *const unwanted[] = {"opencl", "gl", "pci", "nvml", "cuda"};

/* `xml` NULL: this machine (or HWLOC_XMLFILE, which hwloc honours itself). */
static weft_status load(struct weft_topology *topology, const char *xml, size_t bytes,
                        enum hwloc_type_filter_e devices, const char *name, bool *is_this_machine,
                        struct weft_error *error)
{
    hwloc_topology_t hwloc;
    if (bytes >= INT32_MAX)
        return weft_fail(error, WEFT_INVALID_FORMAT, "%s: too long for hwloc", name);
    if (hwloc_topology_init(&hwloc) != 0)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "hwloc: no memory");
    weft_status status = WEFT_OK;
    for (size_t i = 0; !xml && i < sizeof unwanted / sizeof unwanted[0];
         i++) // absent ones: no harm
        hwloc_topology_set_components(hwloc, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, unwanted[i]);
    // the length that hwloc wants includes the final NUL
    if (xml && hwloc_topology_set_xmlbuffer(hwloc, xml, (int)bytes + 1) != 0)
        status = weft_fail(error, WEFT_INVALID_FORMAT, "%s: hwloc does not accept this XML", name);
    if (status == WEFT_OK && (hwloc_topology_set_io_types_filter(hwloc, devices) != 0 ||
                              hwloc_topology_load(hwloc) != 0))
        status = weft_fail(error, xml ? WEFT_INVALID_FORMAT : WEFT_SYSTEM,
                           "%s: hwloc cannot load it", name);
    if (status == WEFT_OK)
        status = import_all(hwloc, topology, error);
    *is_this_machine = status == WEFT_OK && hwloc_topology_is_thissystem(hwloc);
    hwloc_topology_destroy(hwloc);
    return status;
}

weft_status weft_hwloc_load_system(struct weft_topology *topology, const char *name,
                                   bool *is_this_machine, struct weft_error *error)
{
    return load(topology, NULL, 0, HWLOC_TYPE_FILTER_KEEP_IMPORTANT, name, is_this_machine, error);
}

weft_status weft_probe_hwloc_xml(struct weft_topology *topology, const char *text, size_t bytes,
                                 const char *name, struct weft_error *error)
{
    bool is_this_machine;
    char *older = NULL;
    size_t older_bytes = 0;
    WEFT_TRY(weft_hwloc_downgrade_xml(text, bytes, name, &older, &older_bytes, error));
    weft_status status = weft_hwloc_check_xml(text, bytes, name, error);
    if (status == WEFT_OK)
        status = load(topology, older ? older : text, older ? older_bytes : bytes,
                      HWLOC_TYPE_FILTER_KEEP_IMPORTANT, name, &is_this_machine, error);
    free(older);
    return status;
}

static weft_status read_xml(const char *text, size_t bytes, const char *name,
                            struct weft_topology *topology, struct weft_error *error)
{
    WEFT_TRY(weft_probe_hwloc_xml(topology, text, bytes, name, error));
    return weft_topology_add_probe(topology, "hwloc-xml", true, "", error);
}

static bool is_hwloc_xml(const char *text)
{
    return weft_xml_has_root(text, "topology");
}

const struct weft_importer weft_importer_hwloc_xml = {
    .name = "hwloc-xml",
    .description = "hwloc XML (lstopo --of xml)",
    .matches = is_hwloc_xml,
    .read = read_xml,
};

static bool hwloc_available(const char **reason)
{
    // an ABI of another generation lays objects out differently
    if (hwloc_get_api_version() >> 16 != HWLOC_API_VERSION >> 16) {
        *reason = "the hwloc that is installed is not of the version Weft was built with";
        return false;
    }
    return true;
}

static weft_status look(struct weft_topology *topology, enum hwloc_type_filter_e devices,
                        struct weft_error *error)
{
    bool is_this_machine;
    WEFT_TRY(load(topology, NULL, 0, devices, "this machine", &is_this_machine, error));
    if (is_this_machine)
        return WEFT_OK;
    int host = 0;
    while (topology->nodes[host].kind != WEFT_NODE_HOST)
        host++; // the import begins with one
    return weft_topology_set_text(topology, host, WEFT_PROBE_ELSEWHERE, "a variable of hwloc",
                                  WEFT_SOURCE_HWLOC, error);
}

static weft_status hwloc_discover(struct weft_topology *topology, struct weft_error *error)
{
    return look(topology, HWLOC_TYPE_FILTER_KEEP_IMPORTANT, error);
}

const struct weft_probe weft_probe_hwloc = {
    .name = "hwloc",
    .phase = WEFT_PROBE_PHASE_HOST,
    .available = hwloc_available,
    .discover = hwloc_discover,
};

static weft_status discover_processors(struct weft_topology *topology, struct weft_error *error)
{
    return look(topology, HWLOC_TYPE_FILTER_KEEP_NONE, error);
}

const struct weft_probe weft_probe_hwloc_processors = {
    .name = "hwloc",
    .phase = WEFT_PROBE_PHASE_HOST,
    .available = hwloc_available,
    .discover = discover_processors,
};
