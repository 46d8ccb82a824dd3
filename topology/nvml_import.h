/*
 * SPDX-License-Identifier: Apache-2.0
 * What the files of the NVML probe share: the state of one import. Private to topology/.
 */
#ifndef WEFT_TOPOLOGY_NVML_IMPORT_H
#define WEFT_TOPOLOGY_NVML_IMPORT_H

#include "base/nvml.h"
#include "topology/graph.h"

enum {
    NVML_MAX_GPUS = 256,   // more on one host is a lie
    NVML_MAX_NVLINKS = 64, // of one GPU
    NVML_ADDRESS_BYTES = 32,
};

/* NVLinks of one GPU that lead to the same place. */
struct nvml_bundle {
    int node;
    int count;
    int64_t nominal, current; // of all of them; -1: not known
};

struct nvml_gpu {
    struct weft_nvml_device *device; // NULL: no handle
    int node;                        // -1: it is not in the graph
    char address[NVML_ADDRESS_BYTES];
    int failure; // the first status that speaks of a fault; 0: none
    const char *failed_at;
    bool is_lost;      // no use in asking further
    bool is_split;     // by MIG
    const char *model; // as in the graph; NULL: not known

    int nvlinks_supported, nvlinks_active;
    uint64_t nvlinks_down; // bit: supported, not active
    int nvlink_version;    // the newest generation among its links; 0: not known
    struct nvml_bundle bundles[NVML_MAX_NVLINKS];
    int num_bundles;
    struct nvml_bundle hidden; // links whose other end cannot be seen; node is not used
    int hidden_switches;       // how many of those end at a switch, says the driver
    int hidden_others;         // how many certainly at something else that is not shown here
    int num_c2c;
    char domain[64]; // across hosts, if its links reach beyond this one; "": none
};

struct nvml_import {
    const struct weft_nvml *nvml;
    struct weft_topology *topology;
    struct weft_error *error;
    int host;
    struct nvml_gpu *gpus;
    int num_gpus;
};

/* Whether the call worked. Remembers a status that speaks of a fault. */
bool weft_nvml_answered(struct nvml_gpu *gpu, int status, const char *what);
/* "" sets nothing. */
weft_status weft_nvml_set_text(struct nvml_import *im, int node, const char *key, const char *text);
/* Sets a number of 0 to `most`; others are absurd: left out, and remarked. */
weft_status weft_nvml_set_number(struct nvml_import *im, int node, const char *key,
                                 unsigned long long number, unsigned long long most);
/* Adds a node "HOST/word". */
weft_status weft_nvml_add_node(struct nvml_import *im, int kind, const char *word, int parent,
                               int *node);
/* "0000:1a:00.0"; false: no address of this world ("ffff:ff:ff.0", all zero). */
bool weft_nvml_address(const struct weft_nvml_pci *pci, char *text);
/* The NUMA domain nearest to a device, -1: not known. */
int weft_nvml_memory_of(const struct nvml_import *im, int node);
/* The value of one field, -1: not there. */
int64_t weft_nvml_field(struct nvml_import *im, struct nvml_gpu *gpu, unsigned id, unsigned scope,
                        const char *what);

/* nvml_links.c: reads the NVLinks of a GPU; then, when all are read, joins them. */
weft_status weft_nvml_read_links(struct nvml_import *im, struct nvml_gpu *gpu);
weft_status weft_nvml_join_links(struct nvml_import *im);
/* Joins a GPU with its CPU where a coherent link does. */
weft_status weft_nvml_join_c2c(struct nvml_import *im, struct nvml_gpu *gpu);

/* nvml_fabric.c: what the fabric manager says of a GPU; gpu->domain. After its links are read. */
weft_status weft_nvml_read_fabric(struct nvml_import *im, struct nvml_gpu *gpu);

#endif
