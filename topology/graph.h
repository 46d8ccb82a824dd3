/*
 * SPDX-License-Identifier: Apache-2.0
 * The topology graph: what is there (nodes, in a tree by containment) and how it is joined (links).
 * Every number carries where it came from. Probes, files and synthetic strings fill it; the
 * planner, the report and the simulator only read it. Fields may be read freely; they are written
 * through the functions below (a file's or probe's graph is then proved sane by
 * weft_topology_check).
 *
 * Links are full duplex unless one_way is set: figures are per direction. Bandwidths are bytes per
 * second, latencies picoseconds. Node kinds, link kinds and sources are rows of tables; code asks
 * the row for a property and never lists kinds. Not thread safe while being built; read-only use
 * is.
 */
#ifndef WEFT_TOPOLOGY_GRAPH_H
#define WEFT_TOPOLOGY_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum {
    WEFT_TOPOLOGY_MAX_NODES = 4000000,
    WEFT_TOPOLOGY_MAX_LINKS = 16000000,
    WEFT_TOPOLOGY_MAX_DEPTH = 64,
    WEFT_TOPOLOGY_MAX_REMARKS = 1000,
    WEFT_TOPOLOGY_NAME_BYTES = 256, // longest name, key or text of an attribute, with its NUL
};

/* X(ID, name in files, singular, plural, ranks, switch, forwards). "ranks" orders what may hold
 * ranks: ranks go to the kind with the highest number that is present; 0 never. "forwards": traffic
 * may pass. */
#define WEFT_NODE_KIND_MAP(X)                                                                      \
    X(HOST, "host", "host", "hosts", 0, false, true)                                               \
    X(CPU, "cpu", "package", "packages", 0, false, true)                                           \
    X(NUMA, "numa", "NUMA domain", "NUMA domains", 1, false, true)                                 \
    X(CORE, "core", "core", "cores", 2, false, false)                                              \
    X(PCIE_ROOT, "pcie-root", "PCIe root", "PCIe roots", 0, true, true)                            \
    X(PCIE_SWITCH, "pcie-switch", "PCIe switch", "PCIe switches", 0, true, true)                   \
    X(GPU, "gpu", "GPU", "GPUs", 3, false, false)                                                  \
    X(NVSWITCH, "nvswitch", "NVSwitch", "NVSwitches", 0, true, true)                               \
    X(NIC, "nic", "NIC", "NICs", 0, false, true)                                                   \
    X(LEAF, "leaf", "leaf switch", "leaf switches", 0, true, true)                                 \
    X(SPINE, "spine", "spine switch", "spine switches", 0, true, true)                             \
    X(CORE_SWITCH, "core-switch", "core switch", "core switches", 0, true, true)                   \
    X(SWITCH, "switch", "switch", "switches", 0, true, true)                                       \
    X(AGGREGATOR, "aggregator", "aggregation node", "aggregation nodes", 0, false, false)          \
    X(DEVICE, "device", "other device", "other devices", 0, false, false)

enum weft_node_kind_id {
#define WEFT_NODE_KIND_ENUM(id, name, singular, plural, ranks, is_switch, forwards) WEFT_NODE_##id,
    WEFT_NODE_KIND_MAP(WEFT_NODE_KIND_ENUM)
#undef WEFT_NODE_KIND_ENUM
        WEFT_NUM_NODE_KINDS
};

struct weft_node_kind {
    const char *name;
    const char *singular, *plural; // as people say it
    int can_hold_ranks;            // 0: no; the highest number present is preferred
    bool is_switch;
    bool forwards;
};
extern const struct weft_node_kind weft_node_kinds[WEFT_NUM_NODE_KINDS];

/* Where a number came from. UNKNOWN goes only with the value -1. */
#define WEFT_SOURCE_MAP(X)                                                                         \
    X(UNKNOWN, "unknown")                                                                          \
    X(HWLOC, "hwloc")                                                                              \
    X(NVML, "nvml")                                                                                \
    X(VERBS, "verbs")                                                                              \
    X(UMAD, "umad")                                                                                \
    X(SYSFS, "sysfs")                                                                              \
    X(FILE, "file")                                                                                \
    X(MEASURED, "measured")                                                                        \
    X(ASSUMED, "assumed")

enum weft_source {
#define WEFT_SOURCE_ENUM(id, name) WEFT_SOURCE_##id,
    WEFT_SOURCE_MAP(WEFT_SOURCE_ENUM)
#undef WEFT_SOURCE_ENUM
        WEFT_NUM_SOURCES
};
extern const char *const weft_source_names[WEFT_NUM_SOURCES];

struct weft_quantity {
    int64_t value; // -1: unknown
    enum weft_source source;
};
#define WEFT_QUANTITY_UNKNOWN ((struct weft_quantity){-1, WEFT_SOURCE_UNKNOWN})

/* What it should be, what it is set to now, what was observed. */
struct weft_figure {
    struct weft_quantity nominal;
    struct weft_quantity current;
    struct weft_quantity measured;
};

/* What a link of a kind is taken to do when nothing at all is known about it. Only routes and the
 * report use these; they are never stored in a graph, so they cannot pass for knowledge. */
struct weft_link_kind {
    const char *name;
    int64_t assumed_bandwidth;
    int64_t assumed_latency_ps;
};
enum weft_link_kind_id {
    WEFT_LINK_MEMORY,  // core to the memory of its NUMA domain
    WEFT_LINK_SOCKET,  // between NUMA domains of one host
    WEFT_LINK_ROOT,    // root complex (or a device on no known bus) to memory, inside the package
    WEFT_LINK_PCIE,    // PCIe, between two ports
    WEFT_LINK_NVLINK,  // NVLink, to a GPU, NVSwitch or CPU
    WEFT_LINK_XGMI,    // AMD's GPU to GPU link
    WEFT_LINK_C2C,     // coherent CPU to GPU link on one board
    WEFT_LINK_NETWORK, // NIC to switch, switch to switch
    WEFT_NUM_LINK_KINDS
};
extern const struct weft_link_kind weft_link_kinds[WEFT_NUM_LINK_KINDS];

/* One fact about a node. Keys that begin with "process." describe the process that looked (its
 * affinity, say), not the machine: they stay out of fingerprints. */
struct weft_attribute {
    const char *key;
    const char *text; // NULL: `number` holds the value
    int64_t number;
    enum weft_source source;
    struct weft_attribute *next; // sorted by key
};

struct weft_node {
    int kind;         // index into weft_node_kinds
    int parent;       // the node that contains it; -1: none
    const char *name; // unique, e.g. "node7/gpu3"
    struct weft_attribute *attributes;
};

struct weft_link {
    int kind; // index into weft_link_kinds
    int from, to;
    int count;    // lanes bundled, e.g. 6 NVLinks between two GPUs; figures are of the whole bundle
    bool one_way; // carries traffic from `from` to `to` only
    int from_port, to_port; // port numbers as printed on the device; 0: not known
    struct weft_figure bandwidth;
    struct weft_figure latency;
};

/* What whoever filled the graph has to say about it, so that nothing is dropped or guessed
 * silently.
 */
#define WEFT_REMARK_MAP(X)                                                                         \
    X(GUESS, "guess")                 /* it is in the graph, but was inferred */                   \
    X(HIDDEN, "hidden")               /* it should be there, and could not be seen */              \
    X(CONTRADICTION, "contradiction") /* two sources disagree; says which one was believed */      \
    X(UNREAD, "unread")               /* it was in the input, and nobody knows what it means */

enum weft_remark_kind {
#define WEFT_REMARK_ENUM(id, name) WEFT_REMARK_##id,
    WEFT_REMARK_MAP(WEFT_REMARK_ENUM)
#undef WEFT_REMARK_ENUM
        WEFT_NUM_REMARK_KINDS
};
extern const char *const weft_remark_names[WEFT_NUM_REMARK_KINDS];

struct weft_remark {
    enum weft_remark_kind kind;
    enum weft_source source; // who says so
    int node;                // about which node; -1: about all
    const char *text;        // one sentence without the final stop
};

/* What became of one probe: kept in the graph so that a report can say why something is absent. */
struct weft_probe_record {
    const char *name;
    bool available;
    const char *reason; // why not; or a remark; may be ""
};

struct weft_topology {
    struct weft_node *nodes;
    int num_nodes;
    struct weft_link *links;
    int num_links;
    struct weft_probe_record *probes;
    int num_probes;
    struct weft_remark *remarks;
    int num_remarks;
    struct weft_topology_private *private;
};

/* ---- building ---- */

weft_status weft_topology_create(struct weft_topology **topology, struct weft_error *error);
/* Frees all. NULL and pointer to NULL are allowed; clears *topology. */
void weft_topology_destroy(struct weft_topology **topology);

/* A copy in the same order, with everything in it. */
weft_status weft_topology_copy(const struct weft_topology *topology, struct weft_topology **copy,
                               struct weft_error *error);

/* A copy without some nodes and links. is_node_gone (num_nodes), is_link_gone (num_links); NULL:
 * none. Links of a node that is gone go, and a node whose parent is gone must be gone too. */
weft_status weft_topology_copy_part(const struct weft_topology *topology, const bool *is_node_gone,
                                    const bool *is_link_gone, struct weft_topology **copy,
                                    struct weft_error *error);

/* `name` is copied; printable ASCII, 1 to 255 bytes, not yet taken. `parent` exists already or
 * is -1. *node may be NULL. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY; nothing is added then. */
weft_status weft_topology_add_node(struct weft_topology *topology, int kind, const char *name,
                                   int parent, int *node, struct weft_error *error);
/* The same; where the name is taken, the first of "NAME~2", "NAME~3", ... that is free. */
weft_status weft_topology_add_twin(struct weft_topology *topology, int kind, const char *name,
                                   int parent, int *node, struct weft_error *error);
/* Sets or replaces an attribute; strings are copied. Text of other than printable ASCII: as above.
 */
weft_status weft_topology_set_number(struct weft_topology *topology, int node, const char *key,
                                     int64_t number, enum weft_source source,
                                     struct weft_error *error);
weft_status weft_topology_set_text(struct weft_topology *topology, int node, const char *key,
                                   const char *text, enum weft_source source,
                                   struct weft_error *error);
/* A link with nothing known. */
struct weft_link weft_link_make(int kind, int from, int to);
/* Copies *link. Parallel links are allowed. *index may be NULL. */
weft_status weft_topology_add_link(struct weft_topology *topology, const struct weft_link *link,
                                   int *index, struct weft_error *error);
weft_status weft_topology_add_probe(struct weft_topology *topology, const char *name,
                                    bool available, const char *reason, struct weft_error *error);

/* Unprintable characters become '?', and what is too long is cut. After WEFT_TOPOLOGY_MAX_REMARKS
 * further ones are only counted, in a last remark. */
weft_status weft_topology_add_remark(struct weft_topology *topology, enum weft_remark_kind kind,
                                     enum weft_source source, int node, struct weft_error *error,
                                     const char *format, ...) __attribute__((format(printf, 6, 7)));

/* ---- learning: several sources about one thing ---- */

/* As set_number and set_text, for a fact that another source may have stated already: an equal one
 * changes nothing; of different ones that of the more trusted source stays (the later of equals)
 * and a CONTRADICTION remark names both. `text` and `number` as in struct weft_attribute. */
weft_status weft_topology_learn_number(struct weft_topology *topology, int node, const char *key,
                                       int64_t number, enum weft_source source,
                                       struct weft_error *error);
weft_status weft_topology_learn_text(struct weft_topology *topology, int node, const char *key,
                                     const char *text, enum weft_source source,
                                     struct weft_error *error);
/* The same for one quantity of a link; `what` names it in the remark ("nominal bandwidth"). */
weft_status weft_topology_learn_quantity(struct weft_topology *topology, int link, const char *what,
                                         struct weft_quantity *quantity, int64_t value,
                                         enum weft_source source, struct weft_error *error);

/* ---- reading ---- */

int weft_topology_num_nodes(const struct weft_topology *topology);
/* How many of one kind. */
int weft_topology_count(const struct weft_topology *topology, int kind);
/* Index, or -1. */
int weft_topology_find_node(const struct weft_topology *topology, const char *name);
/* The first node of `kind` (-1: any) whose text under `key` is `text`; -1: none. Looks at all. */
int weft_topology_find_text(const struct weft_topology *topology, int kind, const char *key,
                            const char *text);
/* The nearest node of `kind` that contains `node` (itself included), or -1. */
int weft_topology_ancestor(const struct weft_topology *topology, int node, int kind);
const struct weft_attribute *weft_topology_attribute(const struct weft_topology *topology, int node,
                                                     const char *key);
/* The number under `key`, or `fallback`. */
int64_t weft_topology_number(const struct weft_topology *topology, int node, const char *key,
                             int64_t fallback);
/* The text under `key`, or NULL. */
const char *weft_topology_text(const struct weft_topology *topology, int node, const char *key);

/* The best that is known: measured, else current, else nominal; assumed numbers come last. */
struct weft_quantity weft_figure_best(const struct weft_figure *figure);
/* The same for a link, with its kind's assumption when nothing is known. Never unknown. */
struct weft_quantity weft_link_bandwidth(const struct weft_link *link);
struct weft_quantity weft_link_latency(const struct weft_link *link);

/* Index of a row by name, -1 if there is none. */
int weft_node_kind_from_name(const char *name);
int weft_link_kind_from_name(const char *name);
int weft_source_from_name(const char *name);
int weft_remark_kind_from_name(const char *name);

/* ---- whole graph ---- */

/* Indexes in range, names present and unique, parents without cycle and 64 deep at most, no self
 * link, no negative number. Several islands are no error: see weft_topology_islands. INVALID_FORMAT
 * names the first offender. */
weft_status weft_topology_check(const struct weft_topology *topology, struct weft_error *error);
/* Connected parts, by links and containment. island_of_node (may be NULL) has num_nodes entries;
 * islands are numbered by their first node. */
weft_status weft_topology_islands(const struct weft_topology *topology, int *island_of_node,
                                  int *num_islands, struct weft_error *error);
/* The canonical order: each node before what it contains, siblings by kind, then by name with
 * digits compared as numbers. `order` has num_nodes entries. */
weft_status weft_topology_order(const struct weft_topology *topology, int *order,
                                struct weft_error *error);
/* Renumbers nodes and links into canonical order: two graphs of the same content become equal. */
weft_status weft_topology_sort(struct weft_topology *topology, struct weft_error *error);
/* A hash of nodes, attributes, links and nominal numbers; the same for every order of insertion,
 * and for any current or measured number. Left out is what changes while the machine stays the
 * same: memory sizes, states and rates of live ports, rights of the user, interfaces on no device.
 */
uint64_t weft_topology_fingerprint(const struct weft_topology *topology);
/* The same of packages, NUMA domains and cores alone, whose names begin with their host's: it stays
 * when a container's interface comes or goes, or a driver does not answer. */
uint64_t weft_topology_processors_fingerprint(const struct weft_topology *topology);

#endif
