/*
 * SPDX-License-Identifier: Apache-2.0
 * What the reader and the writer of NCCL's topology XML share: how the file spells PCIe speeds,
 * classes and hidden addresses, and the state of one reading. What the graph has no place for is
 * kept in attributes: "nccl.ELEMENT.NAME" holds an XML attribute of <ELEMENT> as it was written,
 * "nccl.ELEMENT/N" a whole child element. The writer puts both back. Private to topology/.
 */
#ifndef WEFT_TOPOLOGY_NCCL_XML_H
#define WEFT_TOPOLOGY_NCCL_XML_H

#include <libxml/tree.h>

#include "topology/graph.h"

enum {
    WEFT_NCCL_ADDRESS_BYTES = 24,
    WEFT_NCCL_MAX_COUNT = 4096, // links in one bundle
};

/* ---- nccl_facts.c: spellings ---- */

/* How to spell a PCIe link of about `bandwidth`: the widest one. "" and 0 when no PCIe link does
 * (or for -1). */
void weft_nccl_pcie_spelling(int64_t bandwidth, const char **link_speed, int *link_width);
/* The node kind of a PCI class such as "030200" (no prefix). */
int weft_nccl_kind_of_class(const char *pci_class);
/* Whether an address is what NVML answers where a virtual machine hides the device. */
bool weft_nccl_is_hidden(const char *address);
extern const char *const weft_nccl_hidden_address;
/* Whether a class ("068000") is that of an NVSwitch, or of the NVLink bridge of a CPU. */
bool weft_nccl_is_switch_class(const char *pci_class);
bool weft_nccl_is_cpu_class(const char *pci_class);
/* One NVLink of a GPU of this compute capability (80: A100); -1: not known. */
int64_t weft_nccl_nvlink_bandwidth(int64_t sm);
/* NCCL prints the GUID of a verbs device as the number that its big-endian bytes are on a
 * little-endian machine. `text` "0x9a70500003ae6d94" gives "946dae030050709a" and the reverse;
 * false: no number of 1 to 16 hex digits, or 0. `guid` has 17 bytes. */
bool weft_nccl_turn_guid(const char *text, char *guid);

/* ---- one reading ---- */

/* A <pci> element, in the order in which the nodes are made: the graph's canonical order, so that
 * numbers in names are the same however the file is sorted. */
struct weft_nccl_device {
    const xmlNode *element;
    const xmlNode *gpu; // its <gpu>, or NULL
    int parent;         // index of the device above; -1: the CPU
    int cpu;            // index of the <cpu> it is below
    int host;           // index of the host; its node once nodes are made
    int kind;
    int number; // of a GPU
    int node;
    char address[WEFT_NCCL_ADDRESS_BYTES];
    char pci_class[8]; // "": none
};

/* One <nvlink>, <xgmi>, <c2c> or <pcilink>. */
struct weft_nccl_statement {
    const xmlNode *element;
    int device; // whose
    int kind;   // of the link
    int64_t count;
    int64_t megabytes; // <c2c>: of one link, per second; -1: not stated
    char target[WEFT_NCCL_ADDRESS_BYTES];
    char target_class[8];
};

struct weft_nccl_reading {
    const char *name; // of the text
    struct weft_topology *topology;
    struct weft_error *error;
    struct weft_nccl_device *devices;
    int num_devices, room_devices;
    struct weft_nccl_statement *statements;
    int num_statements, room_statements;
    int host, numa, root;            // nodes: where the devices under way hang
    int counts[WEFT_NUM_NODE_KINDS]; // numbers given in names of this host
};

/* Copies an address in lower case, with the domain; refuses what is none. */
weft_status weft_nccl_read_address(struct weft_nccl_reading *reading, const xmlNode *element,
                                   const char *key, char *address);
/* Copies a class without "0x"; "" where there is none. */
weft_status weft_nccl_read_class(struct weft_nccl_reading *reading, const xmlNode *element,
                                 const char *key, char *pci_class);
/* The first child element of this name; NULL: none. */
const xmlNode *weft_nccl_child(const xmlNode *element, const char *name);
/* Sets "nccl.ELEMENT/N" of `node` to the text of `child`, or remarks on what does not fit. */
weft_status weft_nccl_keep_child(struct weft_nccl_reading *reading, const char *element, int node,
                                 const xmlNode *child);
/* Keeps the attributes of `from`, except those of the list `known` (ended by NULL). */
weft_status weft_nccl_keep_attributes(struct weft_nccl_reading *reading, const char *element,
                                      int node, const xmlNode *from, const char *const *known);
/* Keeps the child elements whose names are not in `known`. */
weft_status weft_nccl_keep_unknown(struct weft_nccl_reading *reading, const xmlNode *above,
                                   int node, const char *const *known);
weft_status weft_nccl_set_text(struct weft_nccl_reading *reading, const xmlNode *element, int node,
                               const char *key, const char *text);
weft_status weft_nccl_set_number(struct weft_nccl_reading *reading, const xmlNode *element,
                                 int node, const char *key, int64_t number);
/* A link with this nominal bandwidth; -1: not known. NCCL reads max_link_speed and max_link_width
 * of a device and of the port above it, so a file says what a PCIe link can do, not what it does.
 */
weft_status weft_nccl_join(struct weft_nccl_reading *reading, const xmlNode *element, int kind,
                           int from, int to, int64_t bandwidth);
/* Adds a node "host/word", with "~2" and so on behind it when the name is taken. */
weft_status weft_nccl_add_node(struct weft_nccl_reading *reading, int kind, int host,
                               const char *word, int parent, int *node);
/* An error of the graph's own functions becomes one of the file at `element`. */
weft_status weft_nccl_located(struct weft_nccl_reading *reading, const xmlNode *element,
                              weft_status status);

/* ---- nccl_devices.c ---- */

/* Makes the nodes of one device, whose parent has its node. */
weft_status weft_nccl_make_device(struct weft_nccl_reading *reading, int device);
/* Makes the NICs of all <nic> of `above`; `device` NULL: they are on no bus. */
weft_status weft_nccl_make_nics(struct weft_nccl_reading *reading, struct weft_nccl_device *device,
                                const xmlNode *above, int parent, int64_t bandwidth);

/* nccl_links.c: turns all statements into links and remarks. */
weft_status weft_nccl_join_devices(struct weft_nccl_reading *reading);

#endif
