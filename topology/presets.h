/*
 * SPDX-License-Identifier: Apache-2.0
 * Clusters that everybody knows, by name: "dgx-h100", "superpod-h100:2048", "gb200-nvl72:2". What
 * a vendor publishes is in the graph as nominal numbers of source `file`, as from any other
 * description; what is not published (names, NUMA domains, which PCIe port) is typical, and a
 * remark of the graph says so. Presets are asked for as synthetic strings (synthetic.h).
 */
#ifndef WEFT_TOPOLOGY_PRESETS_H
#define WEFT_TOPOLOGY_PRESETS_H

#include "topology/graph.h"

struct weft_preset_box;

struct weft_preset {
    const char *name;
    const char *counts;  // what the number behind the colon counts, in the plural
    int most;            // the largest number
    int usual;           // taken where none is given; 0: one must be given
    const char *summary; // one line
    const struct weft_preset_box *box;
    /* Adds everything to an empty graph; `count` is in range. Errors: OUT_OF_MEMORY. */
    weft_status (*build)(const struct weft_preset *preset, int count,
                         struct weft_topology *topology, struct weft_error *error);
};

/* Ended by a row without name. */
extern const struct weft_preset weft_presets[];

/* NULL: there is none. */
const struct weft_preset *weft_preset_find(const char *name);

#endif
