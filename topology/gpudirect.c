/*
 * SPDX-License-Identifier: Apache-2.0
 * See gpudirect.h. "yes" means: the drivers can, and the way is fit for it (it stays below one PCIe
 * switch, or the GPU is on a board with the CPU). Judged from files; nothing is registered or sent.
 */
#include "topology/gpudirect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sysfs.h"
#include "topology/pcie.h"

enum {
    MAX_HOPS = 32,
    ADDRESS_BYTES = 16,
    PATH_BYTES = 1024,
};

struct judge {
    struct weft_topology *topology;
    struct weft_error *error;
    struct weft_sysfs files;
    bool is_acs_unknown; // of some port
};

/* ---- the host ---- */

/* Why neither way of the drivers is open; "": one is. */
static void judge_drivers(const struct judge *j, bool has_dmabuf_call, char *reason, size_t size)
{
    char release[64], driver[256];
    int major = 0, minor = 0;
    reason[0] = '\0';
    if (weft_sysfs_exists(&j->files, "sys/module/nvidia_peermem") ||
        weft_sysfs_exists(&j->files, "sys/module/nv_peer_mem"))
        return;
    weft_sysfs_text(&j->files, release, sizeof release, "proc/sys/kernel/osrelease");
    weft_sysfs_text(&j->files, driver, sizeof driver, "proc/driver/nvidia/version");
    bool is_kernel_new =
        sscanf(release, "%d.%d", &major, &minor) == 2 && (major > 5 || (major == 5 && minor >= 12));
    const char *why = NULL;
    if (!driver[0])
        why = "NVIDIA's kernel driver is not loaded";
    else if (!strstr(driver, "Open Kernel Module"))
        why = "NVIDIA's kernel driver is not the open one";
    else if (!is_kernel_new)
        why = "the kernel is older than 5.12";
    else if (!has_dmabuf_call)
        why = "libibverbs cannot register them";
    if (why)
        snprintf(reason, size, "nvidia_peermem is not loaded, and no dma-bufs: %s", why);
}

/* ---- ways ---- */

/* Bridges above a PCI device, from the root down to the device itself. */
static int read_way(const struct judge *j, const char *address, char way[][ADDRESS_BYTES])
{
    char path[PATH_BYTES], *rest = path;
    int count = 0;
    if (!weft_sysfs_target(&j->files, path, sizeof path, "sys/bus/pci/devices/%.20s", address))
        return 0;
    for (char *part; (part = strsep(&rest, "/")) && count < MAX_HOPS;) {
        unsigned domain, bus, device, function;
        if (strlen(part) < ADDRESS_BYTES &&
            sscanf(part, "%x:%x:%x.%x", &domain, &bus, &device, &function) == 4)
            snprintf(way[count++], ADDRESS_BYTES, "%s", part);
    }
    return count;
}

/* Whether the port sends what passes from device to device up to the root complex. */
static bool redirects(struct judge *j, const char *address)
{
    int answer = weft_pcie_redirects(&j->files, "sys/", address);
    j->is_acs_unknown |=
        answer < 0 && weft_sysfs_exists(&j->files, "sys/bus/pci/devices/%.20s/config", address);
    return answer > 0;
}

/* Ports below the first common one, on both ways. */
static bool is_redirected(struct judge *j, const char *a, const char *b)
{
    char ways[2][MAX_HOPS][ADDRESS_BYTES];
    int hops[2] = {read_way(j, a, ways[0]), read_way(j, b, ways[1])};
    int common = 0;
    while (common < hops[0] && common < hops[1] && strcmp(ways[0][common], ways[1][common]) == 0)
        common++;
    for (int side = 0; side < 2; side++)
        for (int i = common; i < hops[side] - 1; i++) // the device is no port
            if (redirects(j, ways[side][i]))
                return true;
    return false;
}

static bool share_switch(const struct weft_topology *t, int a, int b)
{
    for (; a >= 0; a = t->nodes[a].parent)
        for (int up = b; t->nodes[a].kind == WEFT_NODE_PCIE_SWITCH && up >= 0;
             up = t->nodes[up].parent)
            if (up == a)
                return true;
    return false;
}

static bool has_c2c(const struct weft_topology *t, int node)
{
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == WEFT_LINK_C2C &&
            (t->links[i].from == node || t->links[i].to == node))
            return true;
    return false;
}

/* Whether the IOMMU translates what the device sends. */
static bool is_translated(const struct judge *j, const char *address)
{
    char type[32];
    weft_sysfs_text(&j->files, type, sizeof type, "sys/bus/pci/devices/%.20s/iommu_group/type",
                    address);
    return strncmp(type, "DMA", 3) == 0;
}

/* Why the way is not fit; NULL: it is. */
static const char *judge_way(struct judge *j, int nic, int gpu)
{
    const struct weft_topology *t = j->topology;
    const char *of_nic = weft_topology_text(t, nic, "pci_address");
    const char *of_gpu = weft_topology_text(t, gpu, "pci_address");
    if (weft_topology_text(t, gpu, "fault"))
        return "the GPU has a fault";
    if (!of_nic || !of_gpu)
        return "it is no PCI device, or its address is hidden";
    if (is_translated(j, of_nic) || is_translated(j, of_gpu))
        return "the IOMMU translates addresses (it should be off or pass them through)";
    if (has_c2c(t, gpu))
        return NULL;
    if (!share_switch(t, nic, gpu))
        return "the way to every GPU crosses a PCIe root complex, as far as can be seen";
    if (is_redirected(j, of_nic, of_gpu))
        return "ACS sends what passes between devices up to the root complex";
    return NULL;
}

/* ---- verdicts ---- */

/* Of other vendors' drivers nothing is known here. */
static bool is_judged(const struct weft_topology *t, int node)
{
    const char *id = weft_topology_text(t, node, "pci_id");
    return t->nodes[node].kind == WEFT_NODE_GPU && (!id || strncmp(id, "10de:", 5) == 0);
}

static weft_status set(struct judge *j, int node, const char *key, const char *text)
{
    return weft_topology_set_text(j->topology, node, key, text, WEFT_SOURCE_SYSFS, j->error);
}

/* *fit of each node: whether it is a GPU that some NIC serves. */
static weft_status judge_nic(struct judge *j, int nic, const char *host_reason, bool *fit)
{
    const struct weft_topology *t = j->topology;
    char gpus[WEFT_TOPOLOGY_NAME_BYTES] = "";
    size_t used = 0;
    int num_gpus = 0;
    const char *reason = NULL;
    for (int i = 0; i < t->num_nodes; i++) {
        if (!is_judged(t, i))
            continue;
        num_gpus++;
        const char *why = judge_way(j, nic, i), *slash = strrchr(t->nodes[i].name, '/');
        if (why) {
            reason = reason ? reason : why;
            continue;
        }
        fit[i] = fit[i] || !host_reason[0];
        if (used < sizeof gpus - 1)
            used += (size_t)snprintf(gpus + used, sizeof gpus - used, "%s%.40s", used ? " " : "",
                                     slash ? slash + 1 : t->nodes[i].name);
    }
    if (num_gpus == 0)
        return WEFT_OK;
    if (host_reason[0] || !gpus[0]) {
        WEFT_TRY(set(j, nic, "gpudirect", "no"));
        return set(j, nic, "gpudirect_reason", host_reason[0] ? host_reason : reason);
    }
    WEFT_TRY(set(j, nic, "gpudirect", "yes"));
    return set(j, nic, "gpudirect_gpus", gpus);
}

static weft_status judge_all(struct judge *j, bool has_dmabuf_call, bool *fit)
{
    const struct weft_topology *t = j->topology;
    char host_reason[WEFT_TOPOLOGY_NAME_BYTES];
    int num_nics = 0;
    judge_drivers(j, has_dmabuf_call, host_reason, sizeof host_reason);
    for (int i = 0; i < t->num_nodes; i++) {
        if (t->nodes[i].kind != WEFT_NODE_NIC || !weft_topology_text(t, i, "rdma_device"))
            continue;
        num_nics++;
        WEFT_TRY(judge_nic(j, i, host_reason, fit));
    }
    for (int i = 0; i < t->num_nodes && num_nics > 0; i++) {
        if (!is_judged(t, i))
            continue;
        WEFT_TRY(set(j, i, "gpudirect", fit[i] ? "yes" : "no"));
        if (!fit[i])
            WEFT_TRY(set(j, i, "gpudirect_reason",
                         host_reason[0] ? host_reason : "no RDMA device has a fit way to it"));
    }
    if (!j->is_acs_unknown)
        return WEFT_OK;
    return weft_topology_add_remark(
        j->topology, WEFT_REMARK_GUESS, WEFT_SOURCE_SYSFS, -1, j->error,
        "only root may read whether PCIe ports send what passes between "
        "devices up to the root complex (ACS): taken for no");
}

weft_status weft_gpudirect_judge(struct weft_topology *topology, const char *root,
                                 bool has_dmabuf_call, struct weft_error *error)
{
    if (weft_topology_count(topology, WEFT_NODE_GPU) == 0)
        return WEFT_OK;
    struct judge j = {.topology = topology, .error = error};
    WEFT_TRY(weft_sysfs_open(root, &j.files, error));
    bool *fit = calloc((size_t)topology->num_nodes, sizeof *fit);
    weft_status status = fit ? judge_all(&j, has_dmabuf_call, fit)
                             : weft_fail(error, WEFT_OUT_OF_MEMORY, "GPUDirect: no memory");
    free(fit);
    weft_sysfs_close(&j.files);
    return status;
}
