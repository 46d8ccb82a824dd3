/*
 * SPDX-License-Identifier: Apache-2.0
 * See nic_counters.h. InfiniBand's counters have standard names (data in words of 4 bytes); those
 * of retransmissions are each driver's own: the table has them all, a port has some.
 */
#include "base/nic_counters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rdma_sysfs.h"

enum { MAX_PORTS = 8 /* of one device */, WORD_BYTES = 4 };

static const char *const retransmits[] = {
    "local_ack_timeout_err", "packet_seq_err",    "implied_nak_seq_err",
    "rnr_nak_retry_err",                                           // mlx5
    "completer_retry_err",                                         // rxe
    "to_retransmits",        "seq_err_naks_rcvd", "rnr_naks_rcvd", // bnxt_re
    "RetransSegs",                                                 // irdma
};

/* One number; false: there is none. */
static bool read_count(const struct weft_sysfs *files, uint64_t *count, const char *folder,
                       const char *name)
{
    int64_t number = weft_sysfs_number(files, -1, "sys/class/%s/%s", folder, name);
    if (number < 0)
        return false;
    *count = (uint64_t)number;
    return true;
}

static void read_port(const struct weft_sysfs *files, const char *device, int port,
                      struct weft_nic_counts *counts)
{
    char folder[192], interface[32];
    uint64_t number;
    *counts = (struct weft_nic_counts){0};
    snprintf(counts->name, sizeof counts->name, "%.63s:%d", device, port);
    snprintf(folder, sizeof folder, "infiniband/%.63s/ports/%d/counters", device, port);
    counts->has_bytes = read_count(files, &counts->sent_bytes, folder, "port_xmit_data") &&
                        read_count(files, &counts->received_bytes, folder, "port_rcv_data");
    counts->sent_bytes *= WORD_BYTES;
    counts->received_bytes *= WORD_BYTES;
    counts->has_packets = read_count(files, &counts->sent_packets, folder, "port_xmit_packets") &&
                          read_count(files, &counts->received_packets, folder, "port_rcv_packets");
    snprintf(folder, sizeof folder, "infiniband/%.63s/ports/%d/hw_counters", device, port);
    for (size_t i = 0; i < sizeof retransmits / sizeof retransmits[0]; i++) {
        if (!read_count(files, &number, folder, retransmits[i]))
            continue;
        counts->has_retransmits = true;
        counts->retransmits += number;
    }
    if (counts->has_bytes)
        return;
    counts->has_packets = read_count(files, &counts->sent_packets, folder, "sent_pkts") &&
                          read_count(files, &counts->received_packets, folder, "rcvd_pkts");
    if (!weft_rdma_interface(files, device, interface, sizeof interface))
        return;
    snprintf(folder, sizeof folder, "net/%s/statistics", interface);
    counts->has_bytes = read_count(files, &counts->sent_bytes, folder, "tx_bytes") &&
                        read_count(files, &counts->received_bytes, folder, "rx_bytes");
}

static int by_name(const void *a, const void *b)
{
    return strverscmp(((const struct weft_nic_counts *)a)->name,
                      ((const struct weft_nic_counts *)b)->name);
}

int weft_nic_counts_read(const struct weft_sysfs *files,
                         struct weft_nic_counts counts[WEFT_NIC_COUNTERS])
{
    DIR *folder = weft_sysfs_list(files, "sys/class/infiniband");
    int count = 0;
    for (const struct dirent *entry; folder && (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        for (int port = 1; port <= MAX_PORTS && count < WEFT_NIC_COUNTERS; port++) {
            if (!weft_sysfs_exists(files, "sys/class/infiniband/%.63s/ports/%d", entry->d_name,
                                   port))
                break;
            read_port(files, entry->d_name, port, &counts[count++]);
        }
    }
    if (folder)
        closedir(folder);
    qsort(counts, (size_t)count, sizeof *counts, by_name);
    return count;
}

int weft_nic_counts_since(const struct weft_nic_counts *before, int num_before,
                          struct weft_nic_counts *counts, int num_counts)
{
    int kept = 0;
    for (int i = 0; i < num_counts; i++) {
        struct weft_nic_counts now = counts[i];
        for (int j = 0; j < num_before; j++) {
            if (strcmp(before[j].name, now.name) != 0)
                continue;
            now.sent_bytes -= before[j].sent_bytes;
            now.received_bytes -= before[j].received_bytes;
            now.sent_packets -= before[j].sent_packets;
            now.received_packets -= before[j].received_packets;
            now.retransmits -= before[j].retransmits;
        }
        if (now.sent_bytes || now.received_bytes || now.sent_packets || now.received_packets ||
            now.retransmits)
            counts[kept++] = now;
    }
    return kept;
}
