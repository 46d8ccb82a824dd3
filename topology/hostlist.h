/*
 * SPDX-License-Identifier: Apache-2.0
 * Slurm's lists of names: "srv[1101-1108,1201],login1" and, with several brackets, every
 * combination. Leading zeros belong to a name: n[01-12] is n01 to n12.
 */
#ifndef WEFT_TOPOLOGY_HOSTLIST_H
#define WEFT_TOPOLOGY_HOSTLIST_H

#include <stdio.h>

#include "topology/lines.h"

enum { WEFT_HOSTLIST_MAX_NAMES = 65536 }; // in one list, as in Slurm

/* Calls `take` for every name in order, until it fails. *room is lowered by the number of names;
 * a list with more, or more than 65536, is refused before any name is taken. Errors are
 * INVALID_FORMAT with the line that `lines` is at, or what `take` returns. */
weft_status weft_hostlist_read(struct weft_lines *lines, struct weft_span list, int *room,
                               weft_status (*take)(void *context, const char *name), void *context);

/* Writes names, which are in the graph's order of names, as one short list. */
void weft_hostlist_write(FILE *stream, const char *const *names, int count);

#endif
