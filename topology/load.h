/*
 * SPDX-License-Identifier: Apache-2.0
 * One door for every source of a topology: this machine, a file of any known form, or a synthetic
 * string. A new file form is one importer file and one row in forms.c.
 */
#ifndef WEFT_TOPOLOGY_LOAD_H
#define WEFT_TOPOLOGY_LOAD_H

#include "topology/graph.h"

/* NULL or "": probe this machine. The name of a file that exists ("-": standard input): by content.
 * A folder: a copied machine (fsroot.h).
 * Anything else: a synthetic string (synthetic.h). *topology has passed the check, is in canonical
 * order, and has the measured figures that the cache holds for its fingerprint. Errors:
 * INVALID_FORMAT, NOT_FOUND, SYSTEM, UNSUPPORTED, OUT_OF_MEMORY. */
weft_status weft_topology_load(const char *source, struct weft_topology **topology,
                               struct weft_error *error);
/* This machine's processors and memory only, at once (probe.h), with their measured figures: what
 * the ways between processes of a machine are made of. Errors: SYSTEM, OUT_OF_MEMORY. */
weft_status weft_topology_load_processors(struct weft_topology **topology,
                                          struct weft_error *error);
/* The same with the form of the file forced: the name of an importer (forms.h), "fsroot", or NULL.
 * Besides: INVALID_ARGUMENT for a form that does not exist. */
weft_status weft_topology_load_as(const char *source, const char *form,
                                  struct weft_topology **topology, struct weft_error *error);

#endif
