/*
 * SPDX-License-Identifier: Apache-2.0
 * What the files around the hwloc probe share: the state of one import. Each hwloc object that
 * became a node has its number, plus one, in `userdata`. Private to topology/.
 */
#ifndef WEFT_TOPOLOGY_HWLOC_IMPORT_H
#define WEFT_TOPOLOGY_HWLOC_IMPORT_H

#include <hwloc.h>

#include "topology/graph.h"

struct hwloc_import {
    hwloc_topology_t hwloc;
    struct weft_topology *topology;
    struct weft_error *error;
    int host;
    int num_gpus, num_nvswitches, num_roots, num_switches;
    int roots_without_place; // PCIe roots near no single NUMA domain
};

/* Adds a node "host/word". The name is made printable. */
weft_status weft_hwloc_add(struct hwloc_import *import, int kind, const char *word, int parent,
                           int *node);
/* Sets an attribute; text is made printable and cut. NULL or "" sets nothing. */
weft_status weft_hwloc_set_text(struct hwloc_import *import, int node, const char *key,
                                const char *text);
weft_status weft_hwloc_set_number(struct hwloc_import *import, int node, const char *key,
                                  int64_t number);
/* The node of the object or of what contains it; -1: none. */
int weft_hwloc_node(hwloc_obj_t object);

/* What hwloc finds by itself: this machine, or what its variables name (*is_this_machine false);
 * `name` is for error sentences. Errors: SYSTEM, OUT_OF_MEMORY. */
weft_status weft_hwloc_load_system(struct weft_topology *topology, const char *name,
                                   bool *is_this_machine, struct weft_error *error);

/* PCI and operating system devices, below what is already there. */
weft_status weft_hwloc_import_devices(struct hwloc_import *import);
/* Matrices of bandwidth between devices. */
weft_status weft_hwloc_import_distances(struct hwloc_import *import);

/* What hwloc must not be given: entities, deep nesting (it recurses), huge counts and indexes.
 * Errors: INVALID_FORMAT "name:LINE: reason", OUT_OF_MEMORY. */
weft_status weft_hwloc_check_xml(const char *text, size_t bytes, const char *name,
                                 struct weft_error *error);
/* hwloc 2 cannot read XML of hwloc 3. The parts that Weft needs differ in little, so a copy in the
 * older form is made: *older is NULL when none is needed, else the caller frees it. */
weft_status weft_hwloc_downgrade_xml(const char *text, size_t bytes, const char *name, char **older,
                                     size_t *older_bytes, struct weft_error *error);

#endif
