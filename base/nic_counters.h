/*
 * SPDX-License-Identifier: Apache-2.0
 * What the RDMA ports of this machine have moved so far, as their drivers count it (sysfs).
 * Counters are of the whole machine, not of this process.
 */
#ifndef WEFT_BASE_NIC_COUNTERS_H
#define WEFT_BASE_NIC_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sysfs.h"

enum { WEFT_NIC_COUNTERS = 64 }; // ports that are looked at

struct weft_nic_counts {
    char name[80]; // "mlx5_0:1"
    bool has_bytes, has_packets, has_retransmits;
    uint64_t sent_bytes, received_bytes; // of a software device: of its interface, all traffic
    uint64_t sent_packets, received_packets;
    uint64_t retransmits; // reasons to send packets again: time-outs, gaps, receivers not ready
};

/* All ports by name; returns how many. Does not fail: what is not told is 0, and said so. */
int weft_nic_counts_read(const struct weft_sysfs *files,
                         struct weft_nic_counts counts[WEFT_NIC_COUNTERS]);
/* What has been added since `before`, in place; ports that were not there before keep theirs. Ports
 * that moved nothing are left out; returns how many remain. */
int weft_nic_counts_since(const struct weft_nic_counts *before, int num_before,
                          struct weft_nic_counts *counts, int num_counts);

#endif
