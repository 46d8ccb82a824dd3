/*
 * SPDX-License-Identifier: Apache-2.0
 * NVML at its function table: a box described by a table, answered as the library would. Ready-made
 * boxes are the start of a scenario; a test changes what goes wrong in it.
 */
#ifndef WEFT_TESTS_TOPOLOGY_FAKE_NVML_H
#define WEFT_TESTS_TOPOLOGY_FAKE_NVML_H

#include <stdbool.h>
#include <stdint.h>

#include "base/nvml.h"

enum { FAKE_MAX_GPUS = 16, FAKE_MAX_LINKS = 64, FAKE_MAX_MIG = 7 };

struct fake_link {
    bool is_down;
    int remote_type;     // enum weft_nvml_remote; -1: the call is not supported
    unsigned remote_bus; // of domain 0, device 0
    int remote_pci_status;
    bool is_remote_hidden; // the address is all ones
};

struct fake_gpu {
    unsigned domain, bus;
    int handle_status;
    int status; // of every question about it but for its address, when not 0
    char name[WEFT_NVML_NAME_BYTES], uuid[WEFT_NVML_UUID_BYTES];
    bool is_unterminated; // texts fill their buffers
    unsigned long long memory, energy;
    unsigned power, power_limit, generation, generation_max, width, width_max;
    int num_links;
    int dies_at_link;     // asked for the state of this one, it falls off the bus; 0: never
    long long said_links; // what the field says; -1: no such field
    unsigned version;     // of NVLink, as the library counts
    unsigned mbps;
    struct fake_link links[FAKE_MAX_LINKS];
    int num_c2c, c2c_down;
    unsigned c2c_mbps;
    int mig; // -1: not supported
    int num_mig;
    struct fake_gpu *mig_instances[FAKE_MAX_MIG];
    bool has_fabric;
    struct weft_nvml_fabric fabric;
};

struct fake_box {
    int init_status;
    int count_status;
    unsigned count;
    bool is_driver_old; // only the unversioned fabric and no remote type
    bool hangs;         // any question about a GPU's name never returns
    bool crashes;
    int *stuck; // where the process that hangs writes its number and its open files; shared memory
    int num_shutdowns;
    struct fake_gpu gpus[FAKE_MAX_GPUS];
};

/* The table for `box`, which must outlive its use. One at a time. */
struct weft_nvml fake_nvml(struct fake_box *box);

/* 8 GPUs at buses 10h to 17h, 4 NVSwitches at c0h to c3h, 18 NVLinks as 5/5/4/4. */
void fake_h100(struct fake_box *box);
/* A tray: 4 GPUs in domains 8, 9, 18h and 19h, 18 NVLinks each to switches outside, 10 C2C links.
 */
void fake_gb200(struct fake_box *box, unsigned char cluster, unsigned clique);
/* Two GPUs with a bridge of 4 links between them. */
void fake_pair(struct fake_box *box);

#endif
