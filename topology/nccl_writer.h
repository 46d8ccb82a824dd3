/*
 * SPDX-License-Identifier: Apache-2.0
 * What the two halves of the writer of NCCL's topology XML share. Private to topology/.
 */
#ifndef WEFT_TOPOLOGY_NCCL_WRITER_H
#define WEFT_TOPOLOGY_NCCL_WRITER_H

#include <stdio.h>

#include "topology/nccl_xml.h"

struct weft_nccl_writer {
    const struct weft_topology *topology; // in canonical order
    FILE *stream;
    struct weft_error *error;
    bool is_nccl; // it was read from such a file: nothing is added to what that said
    int num_hosts;
    int *end;           // of each node: the one after the last below it
    int *up_link;       // of each node: the PCIe link to its parent; -1: none
    int *first_side;    // of each node: its first other link, as twice its index plus the end
    int *next_side;     // of each end of a link: the next of the same node
    int *next_in_group; // of each NIC: the next one of the same function
    bool *follows;      // each NIC: it is not the first one of its function
    char (*address)[WEFT_NCCL_ADDRESS_BYTES];
};

/* ` key="text"` */
void weft_nccl_write_text(const struct weft_nccl_writer *writer, const char *key, const char *text);
/* What the reader kept of <element>: those of `order` first, then the rest. */
void weft_nccl_write_kept(const struct weft_nccl_writer *writer, int node, const char *element,
                          const char *const *order);
void weft_nccl_write_kept_children(const struct weft_nccl_writer *writer, int node,
                                   const char *element, int indent);
/* All devices below a node; a PCIe root does not appear. */
void weft_nccl_write_children(const struct weft_nccl_writer *writer, int node, int indent);
void weft_nccl_write_device(const struct weft_nccl_writer *writer, int node, int indent);
/* The NICs right below a node that are on no bus, as one <nic>. */
void weft_nccl_write_loose_nics(const struct weft_nccl_writer *writer, int node);
/* The number at the end of a name; 0: none. */
long long weft_nccl_number_of_name(const char *name);

#endif
