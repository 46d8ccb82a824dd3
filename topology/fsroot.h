/*
 * SPDX-License-Identifier: Apache-2.0
 * A copied machine: a folder that holds sys/ and proc/ as hwloc-gather-topology packs them.
 */
#ifndef WEFT_TOPOLOGY_FSROOT_H
#define WEFT_TOPOLOGY_FSROOT_H

#include "topology/graph.h"

/* Its name for --from. */
#define WEFT_FSROOT_FORM "fsroot"

/* Whether there is a folder at `path`, with or without what is needed inside. */
bool weft_fsroot_is_folder(const char *path);
/* Processors, memory and PCI through hwloc in a child process, link speeds and interfaces from the
 * tree's sysfs, checked and in canonical order. Errors: NOT_FOUND, INVALID_ARGUMENT (no sys/ in
 * it), INVALID_FORMAT (hwloc cannot read it), UNSUPPORTED (built without hwloc), TIMEOUT, SYSTEM,
 * OUT_OF_MEMORY. */
weft_status weft_fsroot_load(const char *path, struct weft_topology **topology,
                             struct weft_error *error);

#endif
