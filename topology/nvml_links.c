/*
 * SPDX-License-Identifier: Apache-2.0
 * NVLinks and C2C links. First every GPU's links are read and bundled by what they lead to; then
 * bundles become links of the graph, once for both ends. Where a virtual machine or a rack hides
 * the other ends, what can be inferred is: as a guess that is named, or not at all.
 */
#include <stdio.h>
#include <string.h>

#include "topology/nvml_import.h"
#include "topology/nvswitch.h"

enum {
    USUAL_NVLINKS = 36, // of the largest GPU, where the driver does not say how many there are
    MAX_C2C_LINKS = 64,
    MAX_LINK_MBPS = 1000000,
};

/* ---- reading one GPU ---- */

static int num_bits(uint64_t mask)
{
    return __builtin_popcountll(mask);
}

/* "3, 5 and 7". */
static const char *list_bits(uint64_t mask, char *text, size_t size)
{
    size_t used = 0;
    int left = num_bits(mask);
    text[0] = '\0';
    for (int i = 0; i < NVML_MAX_NVLINKS && used < size; i++) {
        if (!(mask >> i & 1))
            continue;
        left--;
        used += (size_t)snprintf(text + used, size - used, "%d%s", i,
                                 left > 1 ? ", " : (left == 1 ? " and " : ""));
    }
    return text;
}

/* Payload of one link per direction, by what the library calls its version; -1: not known. The
 * generation itself goes to *generation. */
static int64_t nominal_of_version(unsigned version, int *generation)
{
    static const struct {
        int generation;
        int64_t bandwidth;
    } versions[] = {{0, -1},          {1, 20000000000}, {2, 25000000000}, {2, 25000000000},
                    {3, 25000000000}, {3, 25000000000}, {4, 25000000000}, {5, 50000000000}};
    if (version >= sizeof versions / sizeof versions[0])
        version = 0;
    *generation = versions[version].generation;
    return versions[version].bandwidth;
}

/* What one link should do and what it does. The driver's speed includes overhead, so it counts only
 * where it is less than the payload that there should be. */
static struct nvml_bundle speed_of_link(struct nvml_import *im, struct nvml_gpu *gpu, unsigned link)
{
    struct nvml_bundle one = {.node = -1, .count = 1, .nominal = -1, .current = -1};
    unsigned version = 0;
    int generation = 0;
    if (im->nvml->nvlink_version && !gpu->is_lost &&
        weft_nvml_answered(gpu, im->nvml->nvlink_version(gpu->device, link, &version),
                           "the version of its NVLinks"))
        one.nominal = nominal_of_version(version, &generation);
    if (generation > gpu->nvlink_version)
        gpu->nvlink_version = generation;
    int64_t mbps =
        weft_nvml_field(im, gpu, WEFT_NVML_FIELD_NVLINK_SPEED, link, "the speed of its NVLinks");
    if (mbps > 0 && mbps <= MAX_LINK_MBPS)
        one.current = mbps * 1000000;
    if (one.nominal >= 0 && one.current > one.nominal)
        one.current = one.nominal;
    return one;
}

static int64_t sum_or_unknown(int64_t a, int64_t b)
{
    return a < 0 || b < 0 ? -1 : a + b;
}

static void add_to(struct nvml_bundle *bundle, const struct nvml_bundle *one)
{
    if (bundle->count == 0) {
        *bundle = *one;
        return;
    }
    bundle->count += one->count;
    bundle->nominal = sum_or_unknown(bundle->nominal, one->nominal);
    bundle->current = sum_or_unknown(bundle->current, one->current);
}

static void bundle_link(struct nvml_gpu *gpu, int node, struct nvml_bundle one)
{
    one.node = node;
    for (int i = 0; i < gpu->num_bundles; i++)
        if (gpu->bundles[i].node == node) {
            add_to(&gpu->bundles[i], &one);
            return;
        }
    gpu->bundles[gpu->num_bundles++] = one; // at most one for each link
}

/* The node that a link leads to; -1: it cannot be seen. An NVSwitch that the operating system does
 * not show is added. */
static weft_status find_remote(struct nvml_import *im, struct nvml_gpu *gpu, unsigned link,
                               int *node, int *type)
{
    const struct weft_nvml *nvml = im->nvml;
    struct weft_nvml_pci pci = {0};
    char address[NVML_ADDRESS_BYTES];
    *node = -1;
    *type = WEFT_NVML_REMOTE_UNKNOWN;
    if (nvml->nvlink_remote_type && !gpu->is_lost &&
        !weft_nvml_answered(gpu, nvml->nvlink_remote_type(gpu->device, link, type),
                            "what its NVLinks lead to"))
        *type = WEFT_NVML_REMOTE_UNKNOWN;
    if (*type == WEFT_NVML_REMOTE_CPU) {
        *node = weft_nvml_memory_of(im, gpu->node);
        return WEFT_OK;
    }
    if (!nvml->nvlink_remote_pci || gpu->is_lost ||
        !weft_nvml_answered(gpu, nvml->nvlink_remote_pci(gpu->device, link, &pci),
                            "what its NVLinks lead to") ||
        !weft_nvml_address(&pci, address))
        return WEFT_OK;
    *node = weft_topology_find_text(im->topology, WEFT_NODE_NVSWITCH, "pci_address", address);
    if (*node < 0)
        *node = weft_topology_find_text(im->topology, WEFT_NODE_GPU, "pci_address", address);
    if (*node < 0 && *type == WEFT_NVML_REMOTE_UNKNOWN)
        *type = WEFT_NVML_REMOTE_GPU; // of a device outside this container, most likely
    if (*node >= 0 || *type != WEFT_NVML_REMOTE_SWITCH)
        return WEFT_OK;
    char word[32];
    snprintf(word, sizeof word, "nvswitch%d",
             weft_topology_count(im->topology, WEFT_NODE_NVSWITCH));
    WEFT_TRY(weft_nvml_add_node(im, WEFT_NODE_NVSWITCH, word, im->host, node));
    return weft_topology_set_text(im->topology, *node, "pci_address", address, WEFT_SOURCE_NVML,
                                  im->error);
}

static weft_status read_link(struct nvml_import *im, struct nvml_gpu *gpu, unsigned link)
{
    int node, type;
    struct nvml_bundle one = speed_of_link(im, gpu, link);
    WEFT_TRY(find_remote(im, gpu, link, &node, &type));
    if (node >= 0 && node != gpu->node) { // some virtual machines give the GPU itself
        bundle_link(gpu, node, one);
        return WEFT_OK;
    }
    add_to(&gpu->hidden, &one);
    gpu->hidden_switches += type == WEFT_NVML_REMOTE_SWITCH;
    gpu->hidden_others +=
        node < 0 && (type == WEFT_NVML_REMOTE_GPU || type == WEFT_NVML_REMOTE_CPU);
    return WEFT_OK;
}

/* How many links to ask about. */
static weft_status count_links(struct nvml_import *im, struct nvml_gpu *gpu, unsigned *count)
{
    int64_t said = weft_nvml_field(im, gpu, WEFT_NVML_FIELD_NVLINK_COUNT, 0, "its NVLinks");
    *count = said < 0 ? USUAL_NVLINKS : (unsigned)said;
    if (said <= NVML_MAX_NVLINKS)
        return WEFT_OK;
    *count = NVML_MAX_NVLINKS;
    return weft_topology_add_remark(
        im->topology, WEFT_REMARK_UNREAD, WEFT_SOURCE_NVML, gpu->node, im->error,
        "%.100s is said to have %lld NVLinks, which cannot be; %d are "
        "looked at",
        im->topology->nodes[gpu->node].name, (long long)said, NVML_MAX_NVLINKS);
}

weft_status weft_nvml_read_links(struct nvml_import *im, struct nvml_gpu *gpu)
{
    unsigned count = 0;
    uint64_t supported = 0, active = 0;
    if (!im->nvml->nvlink_state || gpu->is_lost)
        return WEFT_OK;
    WEFT_TRY(count_links(im, gpu, &count));
    for (unsigned i = 0; i < count && !gpu->is_lost; i++) {
        unsigned is_active = 0;
        int status = im->nvml->nvlink_state(gpu->device, i, &is_active);
        if (status == WEFT_NVML_INVALID_ARGUMENT)
            break; // there are no more
        if (!weft_nvml_answered(gpu, status, "the state of its NVLinks"))
            continue;
        supported |= 1ull << i;
        active |= (uint64_t)(is_active == 1) << i;
        if (is_active == 1 && !gpu->is_split)
            WEFT_TRY(read_link(im, gpu, i));
    }
    gpu->nvlinks_supported = num_bits(supported);
    gpu->nvlinks_active = gpu->is_split ? 0 : num_bits(active);
    gpu->nvlinks_down = gpu->is_split ? 0 : supported & ~active;
    return WEFT_OK;
}

/* ---- links of the graph ---- */

static int find_link(const struct weft_topology *t, int kind, int a, int b)
{
    for (int i = 0; i < t->num_links; i++)
        if (t->links[i].kind == kind && ((t->links[i].from == a && t->links[i].to == b) ||
                                         (t->links[i].from == b && t->links[i].to == a)))
            return i;
    return -1;
}

static weft_status learn_bundle(struct nvml_import *im, int link, const struct nvml_bundle *bundle)
{
    struct weft_figure *bandwidth = &im->topology->links[link].bandwidth;
    if (bundle->nominal >= 0)
        WEFT_TRY(weft_topology_learn_quantity(im->topology, link, "nominal bandwidth",
                                              &bandwidth->nominal, bundle->nominal,
                                              WEFT_SOURCE_NVML, im->error));
    if (bundle->current >= 0)
        WEFT_TRY(weft_topology_learn_quantity(im->topology, link, "current bandwidth",
                                              &bandwidth->current, bundle->current,
                                              WEFT_SOURCE_NVML, im->error));
    return WEFT_OK;
}

/* The bundle as the GPU at its other end sees it; NULL: that is no GPU, or it did not say. */
static const struct nvml_bundle *other_view(const struct nvml_import *im, int from, int to)
{
    for (int i = 0; i < im->num_gpus; i++)
        for (int j = 0; im->gpus[i].node == to && j < im->gpus[i].num_bundles; j++)
            if (im->gpus[i].bundles[j].node == from)
                return &im->gpus[i].bundles[j];
    return NULL;
}

/* A bundle between two GPUs is in both; the one that sees fewer links is believed. */
static weft_status join_bundle(struct nvml_import *im, const struct nvml_gpu *gpu,
                               const struct nvml_bundle *bundle)
{
    struct weft_topology *t = im->topology;
    int to = bundle->node;
    const struct nvml_bundle *other = other_view(im, gpu->node, to);
    if (other && to < gpu->node)
        return WEFT_OK; // joined from there
    if (other && other->count != bundle->count) {
        WEFT_TRY(weft_topology_add_remark(
            t, WEFT_REMARK_CONTRADICTION, WEFT_SOURCE_NVML, gpu->node, im->error,
            "NVLinks of %.70s and %.70s: one end says %d, the other %d; the lower is believed",
            t->nodes[gpu->node].name, t->nodes[to].name, bundle->count, other->count));
        bundle = other->count < bundle->count ? other : bundle;
    }
    int index = find_link(t, WEFT_LINK_NVLINK, gpu->node, to); // hwloc may have put it there
    if (index < 0) {
        const struct weft_link link = weft_link_make(WEFT_LINK_NVLINK, gpu->node, to);
        WEFT_TRY(weft_topology_add_link(t, &link, &index, im->error));
    }
    t->links[index].count = bundle->count;
    return learn_bundle(im, index, bundle);
}

/* ---- what is hidden ---- */

static bool is_usable(const struct nvml_gpu *gpu)
{
    return gpu->node >= 0 && !gpu->is_lost && !gpu->is_split;
}

/* A sibling all of whose links end at switches that are seen, as many links as `gpu` has hidden. */
static const struct nvml_gpu *find_model_of_links(const struct nvml_import *im,
                                                  const struct nvml_gpu *gpu)
{
    for (int i = 0; i < im->num_gpus; i++) {
        const struct nvml_gpu *sibling = &im->gpus[i];
        bool fits = is_usable(sibling) && sibling->hidden.count == 0 && gpu->num_bundles == 0 &&
                    gpu->hidden_others == 0 && sibling->nvlinks_active == gpu->hidden.count;
        for (int j = 0; j < sibling->num_bundles; j++)
            fits &= im->topology->nodes[sibling->bundles[j].node].kind == WEFT_NODE_NVSWITCH;
        if (fits)
            return sibling;
    }
    return NULL;
}

static weft_status copy_pattern(struct nvml_import *im, struct nvml_gpu *gpu,
                                const struct nvml_gpu *sibling)
{
    memcpy(gpu->bundles, sibling->bundles, sizeof gpu->bundles);
    gpu->num_bundles = sibling->num_bundles;
    gpu->hidden.count = 0;
    return weft_topology_add_remark(im->topology, WEFT_REMARK_GUESS, WEFT_SOURCE_NVML, gpu->node,
                                    im->error,
                                    "the driver hides where the %d NVLinks of %.60s lead; they are "
                                    "taken to lead where those of "
                                    "%.60s do",
                                    gpu->nvlinks_active, im->topology->nodes[gpu->node].name,
                                    im->topology->nodes[sibling->node].name);
}

/* Whether one switch may stand for all that is hidden: every GPU has NVLinks, as many as the
 * others, and not one of them is seen to lead anywhere. A lone GPU needs one only where its links
 * reach beyond the host. */
static bool can_guess_switch(const struct nvml_import *im)
{
    const struct nvml_gpu *first = NULL;
    int count = 0;
    for (int i = 0; i < im->num_gpus; i++) {
        const struct nvml_gpu *gpu = &im->gpus[i];
        if (!is_usable(gpu))
            continue;
        first = first ? first : gpu;
        count++;
        if (gpu->hidden.count == 0 || gpu->hidden_others > 0 || gpu->num_bundles > 0 ||
            gpu->nvlinks_supported != first->nvlinks_supported ||
            strcmp(gpu->domain, first->domain) != 0)
            return false;
    }
    return count > 1 || (count == 1 && first->domain[0]);
}

static weft_status guess_switch(struct nvml_import *im)
{
    struct weft_topology *t = im->topology;
    char word[32];
    int node = -1, count = 0, links = 0;
    snprintf(word, sizeof word, "nvswitch%d", weft_topology_count(t, WEFT_NODE_NVSWITCH));
    WEFT_TRY(weft_nvml_add_node(im, WEFT_NODE_NVSWITCH, word, im->host, &node));
    for (int i = 0; i < im->num_gpus; i++) {
        struct nvml_gpu *gpu = &im->gpus[i];
        if (!is_usable(gpu))
            continue;
        if (count++ == 0 && gpu->domain[0])
            WEFT_TRY(weft_topology_set_text(t, node, "nvlink_domain", gpu->domain, WEFT_SOURCE_NVML,
                                            im->error));
        links = gpu->nvlinks_supported;
        bundle_link(gpu, node, gpu->hidden);
        gpu->hidden.count = 0;
    }
    return weft_topology_add_remark(
        t, WEFT_REMARK_GUESS, WEFT_SOURCE_NVML, node, im->error,
        "%.60s stands for the NVSwitches that the driver does not show: %d GPU%s with %d NVLinks "
        "each lead%s to them",
        t->nodes[node].name, count, count == 1 ? "" : "s", links, count == 1 ? "s" : "");
}

static weft_status solve_hidden(struct nvml_import *im)
{
    if (can_guess_switch(im))
        return guess_switch(im);
    for (int i = 0; i < im->num_gpus; i++) {
        struct nvml_gpu *gpu = &im->gpus[i];
        if (!is_usable(gpu) || gpu->hidden.count == 0)
            continue;
        const struct nvml_gpu *sibling = find_model_of_links(im, gpu);
        if (sibling) {
            WEFT_TRY(copy_pattern(im, gpu, sibling));
            continue;
        }
        WEFT_TRY(weft_topology_add_remark(
            im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_NVML, gpu->node, im->error,
            "the other end of %d active NVLinks of %.100s cannot be seen%s", gpu->hidden.count,
            im->topology->nodes[gpu->node].name,
            gpu->hidden_switches > 0 ? "; switches, says the driver" : ""));
    }
    return WEFT_OK;
}

/* ---- links that are down ---- */

/* Boards without bridges, and models that are sold with fewer links, have the same number down on
 * every GPU: that is no fault. */
static bool is_by_design(const struct nvml_import *im, const struct nvml_gpu *gpu)
{
    int siblings = 0;
    for (int i = 0; i < im->num_gpus; i++) {
        const struct nvml_gpu *other = &im->gpus[i];
        if (other == gpu || !is_usable(other) || !other->model || !gpu->model ||
            strcmp(other->model, gpu->model) != 0)
            continue;
        siblings++;
        if (other->nvlinks_active != gpu->nvlinks_active)
            return false;
    }
    return siblings > 0 || gpu->nvlinks_active == 0;
}

static weft_status remark_down(struct nvml_import *im, const struct nvml_gpu *gpu)
{
    char links[160];
    return weft_topology_add_remark(im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_NVML, gpu->node,
                                    im->error, "%.60s has %d of %d NVLinks: down %s %s",
                                    im->topology->nodes[gpu->node].name, gpu->nvlinks_active,
                                    gpu->nvlinks_supported,
                                    num_bits(gpu->nvlinks_down) == 1 ? "is" : "are",
                                    list_bits(gpu->nvlinks_down, links, sizeof links));
}

/* nvlink_ports: what the chip has; nvlink_supported: what should be up; nvlink_active: what is. */
static weft_status set_counts(struct nvml_import *im, const struct nvml_gpu *gpu, bool *is_told)
{
    int supported = gpu->nvlinks_supported;
    if (gpu->node < 0 || supported == 0)
        return WEFT_OK;
    WEFT_TRY(
        weft_nvml_set_number(im, gpu->node, "nvlink_ports", (unsigned)supported, NVML_MAX_NVLINKS));
    if (gpu->nvlink_version > 0)
        WEFT_TRY(weft_nvml_set_number(im, gpu->node, "nvlink_version",
                                      (unsigned)gpu->nvlink_version, INT32_MAX));
    if (!is_usable(gpu))
        return WEFT_OK;
    if (gpu->nvlinks_down && is_by_design(im, gpu)) {
        supported = gpu->nvlinks_active;
        if (supported > 0 && !*is_told)
            WEFT_TRY(weft_topology_add_remark(
                im->topology, WEFT_REMARK_GUESS, WEFT_SOURCE_NVML, im->host, im->error,
                "every %.100s here has %d of %d NVLinks up, which is taken for its design",
                gpu->model, supported, gpu->nvlinks_supported));
        *is_told = true;
    } else if (gpu->nvlinks_down) {
        WEFT_TRY(remark_down(im, gpu));
    }
    WEFT_TRY(weft_nvml_set_number(im, gpu->node, "nvlink_supported", (unsigned)supported,
                                  NVML_MAX_NVLINKS));
    return weft_nvml_set_number(im, gpu->node, "nvlink_active", (unsigned)gpu->nvlinks_active,
                                NVML_MAX_NVLINKS);
}

weft_status weft_nvml_join_links(struct nvml_import *im)
{
    bool is_told = false;
    WEFT_TRY(solve_hidden(im));
    for (int i = 0; i < im->num_gpus; i++) {
        WEFT_TRY(set_counts(im, &im->gpus[i], &is_told));
        for (int j = 0; j < im->gpus[i].num_bundles && is_usable(&im->gpus[i]); j++)
            WEFT_TRY(join_bundle(im, &im->gpus[i], &im->gpus[i].bundles[j]));
    }
    return weft_topology_join_nvswitches(im->topology, WEFT_SOURCE_NVML, im->error);
}

/* ---- C2C ---- */

weft_status weft_nvml_join_c2c(struct nvml_import *im, struct nvml_gpu *gpu)
{
    struct weft_topology *t = im->topology;
    int64_t count = weft_nvml_field(im, gpu, WEFT_NVML_FIELD_C2C_COUNT, 0, "its C2C links");
    if (count <= 0)
        return WEFT_OK;
    if (count > MAX_C2C_LINKS)
        return weft_nvml_set_number(im, gpu->node, "C2C links", (unsigned long long)count,
                                    MAX_C2C_LINKS);
    struct nvml_bundle up = {0};
    for (unsigned i = 0; i < (unsigned)count; i++) {
        int64_t is_up = weft_nvml_field(im, gpu, WEFT_NVML_FIELD_C2C_STATUS, i, "its C2C links");
        int64_t mbps = weft_nvml_field(im, gpu, WEFT_NVML_FIELD_C2C_BANDWIDTH, i, "its C2C links");
        bool is_sane = mbps > 0 && mbps <= MAX_LINK_MBPS;
        const struct nvml_bundle one = {-1, 1, is_sane ? mbps * 1000000 : -1, -1};
        if (is_up != 0) // -1: it does not say
            add_to(&up, &one);
    }
    gpu->num_c2c = up.count;
    int memory = weft_nvml_memory_of(im, gpu->node);
    if (up.count < count || memory < 0)
        WEFT_TRY(weft_topology_add_remark(
            t, WEFT_REMARK_HIDDEN, WEFT_SOURCE_NVML, gpu->node, im->error,
            memory < 0 ? "%.60s has %d of %lld C2C links; to which CPU cannot be seen"
                       : "%.60s has %d of %lld C2C links up",
            t->nodes[gpu->node].name, up.count, (long long)count));
    if (up.count == 0 || memory < 0)
        return WEFT_OK;
    struct weft_link link = weft_link_make(WEFT_LINK_C2C, memory, gpu->node);
    int index;
    link.count = up.count;
    WEFT_TRY(weft_topology_add_link(t, &link, &index, im->error));
    return learn_bundle(im, index, &up);
}
