/*
 * SPDX-License-Identifier: Apache-2.0
 * The graph's own file form, JSON: one line per node and link, in canonical order, so that two
 * dumps can be compared line by line and edited by hand. Reading what was written gives the same
 * graph; writing that gives the same bytes.
 *
 *   {"format": "weft-topology", "version": 1,
 *    "probes": [{"name": "hwloc", "available": true, "reason": ""}],
 *    "remarks": [{"kind": "guess", "source": "file", "node": "a", "text": "..."}],
 *    "nodes": [{"name": "a/numa0", "kind": "numa", "parent": "a", "attributes":
 *                  {"memory_bytes": {"value": 4792209408, "source": "hwloc"}}}],
 *    "links": [{"kind": "pcie", "from": "a/numa0", "to": "a/eth0", "count": 1, "ports": [0, 1],
 *                  "one_way": false, "bandwidth": {"current": {"value": 15750000000, "source":
 * "hwloc"}}}]}
 *
 * Bandwidths are bytes per second, latencies picoseconds, per direction. What is not known is left
 * out. "parent", "attributes", "count" (1), "one_way" (false), "ports" (0: not known), "bandwidth",
 * "latency", "probes" and "remarks" may be left out.
 * A key that is not known is refused: a misspelt one would otherwise be lost silently.
 */
#ifndef WEFT_TOPOLOGY_JSON_H
#define WEFT_TOPOLOGY_JSON_H

#include <stdio.h>

#include "topology/graph.h"

/* Errors: OUT_OF_MEMORY, SYSTEM (the stream failed). The stream is flushed, not closed. */
weft_status weft_topology_write_json(const struct weft_topology *topology, FILE *stream,
                                     struct weft_error *error);
/* The same into fresh memory, which the caller frees; *bytes without the final NUL. Errors:
 * OUT_OF_MEMORY; *text is NULL then. */
weft_status weft_topology_to_json(const struct weft_topology *topology, char **text, size_t *bytes,
                                  struct weft_error *error);
/* `text` as a JSON string, quotes included. Strings in a graph are printable ASCII, so only quotes
 * and backslashes need an escape. */
void weft_json_write_text(FILE *stream, const char *text);
/* `name` is what error sentences call the text. *topology is checked and in canonical order.
 * Errors: INVALID_FORMAT with line and column (syntax) or path, e.g. nodes[3].parent (content). */
weft_status weft_topology_read_json(const char *text, size_t bytes, const char *name,
                                    struct weft_topology **topology, struct weft_error *error);

#endif
