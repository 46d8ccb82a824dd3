/*
 * SPDX-License-Identifier: Apache-2.0
 * What the fabric manager says of a GPU, and whether it may be believed. Two GPUs of different
 * hosts share an NVLink domain only if cluster UUID and clique agree, and these lie:
 *
 *  - The clique is a number within a cluster; unrelated racks have the same one. Never a key alone.
 *  - 32766 stands for "no partition": then the UUID alone tells the domain.
 *  - An all-zero UUID comes with the state "completed" on machines that have no fabric.
 *  - Boxes whose NVLinks end at switches inside give ids that look valid. On one host this shows
 * only by the links: none of them leads out where all lead to GPUs and switches that are seen here.
 *    Where the other ends are hidden, a virtual machine looks like a rack; but only NVLink 5, or a
 *    GPU on a board with its CPU (C2C), is built into racks. What is left is a box of NVLink 5 with
 *    hidden switches and ids equal to another box's: two hosts' measurements must tell them apart.
 */
#include <stdio.h>
#include <string.h>

#include "topology/nvml_import.h"

enum { NO_PARTITION = 32766, RACK_GENERATION = 5 };

/* Any form that the library knows, as the newest; false: it has none. */
static bool ask(struct nvml_import *im, struct nvml_gpu *gpu, struct weft_nvml_fabric *fabric)
{
    static const unsigned versions[] = {WEFT_NVML_FABRIC_VERSION_3, WEFT_NVML_FABRIC_VERSION_2};
    for (size_t i = 0; i < 2 && im->nvml->fabric && !gpu->is_lost; i++) {
        *fabric = (struct weft_nvml_fabric){.version = versions[i]};
        if (weft_nvml_answered(gpu, im->nvml->fabric(gpu->device, fabric), "its fabric"))
            return true;
    }
    struct weft_nvml_fabric_unversioned old = {0};
    if (!im->nvml->fabric_unversioned || gpu->is_lost ||
        !weft_nvml_answered(gpu, im->nvml->fabric_unversioned(gpu->device, &old), "its fabric"))
        return false;
    *fabric =
        (struct weft_nvml_fabric){.status = old.status, .clique = old.clique, .state = old.state};
    memcpy(fabric->cluster, old.cluster, sizeof old.cluster);
    return true;
}

static bool is_zero(const unsigned char *bytes, size_t count)
{
    while (count > 0 && bytes[count - 1] == 0)
        count--;
    return count == 0;
}

static void write_uuid(const unsigned char *bytes, char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < WEFT_NVML_CLUSTER_BYTES && used < size; i++) {
        bool has_dash = i == 4 || i == 6 || i == 8 || i == 10;
        used += (size_t)snprintf(text + used, size - used, "%s%02x", has_dash ? "-" : "", bytes[i]);
    }
}

/* Why these ids name no domain beyond this host; NULL: they do. */
static const char *reason_against(const struct nvml_gpu *gpu, const struct weft_nvml_fabric *fabric)
{
    if (fabric->state != WEFT_NVML_FABRIC_COMPLETED)
        return "the fabric manager has not finished with it";
    if (fabric->status != WEFT_NVML_OK)
        return "the fabric manager failed";
    if (is_zero(fabric->cluster, sizeof fabric->cluster))
        return "its cluster UUID is zero";
    if (gpu->is_split)
        return "MIG turns its NVLinks off";
    if (gpu->nvlinks_active == 0)
        return "it has no active NVLink";
    if (gpu->hidden.count == gpu->hidden_others)
        return "its NVLinks end on this host";
    if (gpu->nvlink_version < RACK_GENERATION && gpu->num_c2c == 0)
        return "machines of its kind have their switches inside";
    return NULL;
}

/* Health is two bits each: 1 yes, 2 no, 0 not told. */
static weft_status remark_health(struct nvml_import *im, const struct nvml_gpu *gpu,
                                 unsigned health)
{
    static const struct {
        int shift;
        const char *text;
    } ills[] = {{0, "degraded bandwidth"},
                {2, "a route that recovers"},
                {4, "an unhealthy route"},
                {6, "recovery from a timeout"}};
    for (size_t i = 0; i < sizeof ills / sizeof ills[0]; i++)
        if ((health >> ills[i].shift & 3) == 1)
            WEFT_TRY(weft_topology_add_remark(im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_NVML,
                                              gpu->node, im->error,
                                              "the NVLink fabric of %.100s reports %s",
                                              im->topology->nodes[gpu->node].name, ills[i].text));
    return WEFT_OK;
}

static weft_status read_state(struct nvml_import *im, struct nvml_gpu *gpu,
                              const struct weft_nvml_fabric *fabric)
{
    static const char *const states[] = {"none", "not started", "in progress", "completed"};
    size_t num_states = sizeof states / sizeof states[0];
    WEFT_TRY(weft_nvml_set_text(im, gpu->node, "fabric_state",
                                fabric->state < num_states ? states[fabric->state] : "unknown"));
    WEFT_TRY(remark_health(im, gpu, fabric->health_mask));
    if (fabric->state == WEFT_NVML_FABRIC_COMPLETED && fabric->status == WEFT_NVML_OK)
        return WEFT_OK;
    return weft_topology_add_remark(im->topology, WEFT_REMARK_HIDDEN, WEFT_SOURCE_NVML, gpu->node,
                                    im->error,
                                    "the fabric manager has not put %.100s to work (state: %.20s; "
                                    "%s): NVLink to others may not "
                                    "work",
                                    im->topology->nodes[gpu->node].name,
                                    fabric->state < num_states ? states[fabric->state] : "unknown",
                                    weft_nvml_status_text(fabric->status));
}

weft_status weft_nvml_read_fabric(struct nvml_import *im, struct nvml_gpu *gpu)
{
    struct weft_nvml_fabric fabric;
    char uuid[64];
    if (gpu->is_lost || !ask(im, gpu, &fabric) || fabric.state == 0)
        return WEFT_OK;
    WEFT_TRY(read_state(im, gpu, &fabric));
    if (!is_zero(fabric.cluster, sizeof fabric.cluster)) {
        write_uuid(fabric.cluster, uuid, sizeof uuid);
        WEFT_TRY(weft_nvml_set_text(im, gpu->node, "fabric_cluster", uuid));
        WEFT_TRY(weft_nvml_set_number(im, gpu->node, "fabric_clique", fabric.clique, UINT32_MAX));
    }
    const char *reason = reason_against(gpu, &fabric);
    if (reason)
        return weft_nvml_set_text(im, gpu->node, "nvlink_domain_reason", reason);
    snprintf(gpu->domain, sizeof gpu->domain, "%.40s.%u", uuid, fabric.clique);
    WEFT_TRY(weft_nvml_set_text(im, gpu->node, "nvlink_domain", gpu->domain));
    if (fabric.clique != NO_PARTITION)
        return WEFT_OK;
    return weft_topology_add_remark(
        im->topology, WEFT_REMARK_GUESS, WEFT_SOURCE_NVML, gpu->node, im->error,
        "clique %d of %.60s stands for no partition: all of cluster %.40s is taken for one NVLink "
        "domain",
        NO_PARTITION, im->topology->nodes[gpu->node].name, uuid);
}
