/*
 * SPDX-License-Identifier: Apache-2.0
 * Probes: what looks at this machine and adds to the graph. They run by phase, each on what the
 * earlier ones left. A library that is missing or a probe that fails is recorded in the graph with
 * its reason and harms nothing else. A new probe is one file and one row in probe.c.
 */
#ifndef WEFT_TOPOLOGY_PROBE_H
#define WEFT_TOPOLOGY_PROBE_H

#include "topology/graph.h"

enum weft_probe_phase {
    WEFT_PROBE_PHASE_HOST,     // host, processors, memory, PCI
    WEFT_PROBE_PHASE_DEVICES,  // more about GPUs and NICs that are there, links between them
    WEFT_PROBE_PHASE_FABRIC,   // switches beyond the host
    WEFT_PROBE_PHASE_FALLBACK, // what nobody else could say
};

struct weft_probe {
    const char *name;
    enum weft_probe_phase phase;
    /* Whether discover can work here; if not, *reason is set to a static sentence. Must not block.
     */
    bool (*available)(const char **reason);
    /* Adds to the graph. On failure the graph is thrown away and the error's text recorded. May
     * block for the time of some system calls. */
    weft_status (*discover)(struct weft_topology *topology, struct weft_error *error);
};

extern const struct weft_probe *const weft_probes[];
extern const int weft_num_probes;

/* Attribute of a host that is not this machine, with who says so (hwloc can be told by variables
 * such as HWLOC_XMLFILE to describe another one). No further probe looks then: what it would see
 * is none of that host's. */
#define WEFT_PROBE_ELSEWHERE "process.elsewhere"

/* Runs all probes on *topology (as a rule empty), which may be moved. Errors: OUT_OF_MEMORY. */
weft_status weft_topology_probe(struct weft_topology **topology, struct weft_error *error);
/* Processors and memory only, in some milliseconds: no device is looked at, no driver and no
 * network asked. What it finds has the names that it has in the whole graph. Errors: OUT_OF_MEMORY.
 */
weft_status weft_topology_probe_processors(struct weft_topology **topology,
                                           struct weft_error *error);

/* hwloc's XML export instead of the live machine. Errors: INVALID_FORMAT, UNSUPPORTED (built
 * without hwloc), OUT_OF_MEMORY. `name` is what error sentences call the text. */
weft_status weft_probe_hwloc_xml(struct weft_topology *topology, const char *text, size_t bytes,
                                 const char *name, struct weft_error *error);

/* The machine of a copied tree (root/sys, root/proc) as hwloc sees it, into a new graph. Runs in
 * another process for up to 60 s. Errors: INVALID_FORMAT, UNSUPPORTED (built without hwloc),
 * TIMEOUT, SYSTEM (hwloc crashed, or no process could be made), OUT_OF_MEMORY. */
weft_status weft_probe_hwloc_fsroot(const char *root, struct weft_topology **topology,
                                    struct weft_error *error);

/* The NVML probe over any function table, in this process; then in another one, under a deadline.
 */
struct weft_nvml;
weft_status weft_probe_nvml_with(const struct weft_nvml *nvml, struct weft_topology *topology,
                                 struct weft_error *error);
weft_status weft_probe_nvml_apart(const struct weft_nvml *nvml, int64_t allowed_ns,
                                  struct weft_topology *topology, struct weft_error *error);
/* The verbs probe over any function table; `root` is the folder of sys and proc ("/"). */
struct weft_verbs;
weft_status weft_probe_verbs_with(const struct weft_verbs *verbs, const char *root,
                                  struct weft_topology *topology, struct weft_error *error);

extern const struct weft_probe weft_probe_hwloc;
extern const struct weft_probe weft_probe_hwloc_processors; // in no phase of weft_probes
extern const struct weft_probe weft_probe_pcie;
extern const struct weft_probe weft_probe_ethernet;
extern const struct weft_probe weft_probe_system;
extern const struct weft_probe weft_probe_umad;
extern const struct weft_probe weft_probe_nvml;
extern const struct weft_probe weft_probe_verbs; // not where WEFT_CORE_ONLY is defined

#endif
