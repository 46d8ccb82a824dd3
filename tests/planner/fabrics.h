/*
 * SPDX-License-Identifier: Apache-2.0
 * Fabrics for tests, from edge lists and synthetic strings, with a rank on every place.
 */
#ifndef WEFT_TESTS_PLANNER_FABRICS_H
#define WEFT_TESTS_PLANNER_FABRICS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collectives/planner/algorithm.h"
#include "collectives/planner/layout_topology.h"
#include "topology/forms.h"
#include "topology/load.h"

// GPUs forward nothing for others, so each has a switch on the ring.
#define RING_OF_4                                                                                  \
    "node a gpu\nnode b gpu\nnode c gpu\nnode d gpu\n"                                             \
    "node sa switch\nnode sb switch\nnode sc switch\nnode sd switch\n"                             \
    "link sa sb 10 both\nlink sb sc 10 both\nlink sc sd 10 both\nlink sd sa 10 both\n"             \
    "link a sa 100 both\nlink b sb 100 both\nlink c sc 100 both\nlink d sd 100 both\n"
#define SLOW_HOST                                                                                  \
    "node net switch\nnode a gpu\nnode b gpu\nnode c gpu\nnode d gpu\n"                            \
    "link a net 100 both\nlink b net 100 both\nlink c net 25 both\nlink d net 100 both\n"

/* `text`: an edge list, or the source of a topology where it holds no line feed. */
static inline struct weft_topology *fabric(const char *text)
{
    struct weft_topology *topology = NULL;
    struct weft_error error = {0};
    weft_status status = strchr(text, '\n')
                             ? weft_topology_import(weft_importer_find("edges"), text, strlen(text),
                                                    "edges", &topology, &error)
                             : weft_topology_load(text, &topology, &error);
    if (status != WEFT_OK)
        fail_msg("%s: %s", text, error.text);
    return topology;
}

static inline struct weft_layout *fabric_layout(const struct weft_topology *topology, int num_ranks)
{
    struct weft_layout *layout = NULL;
    struct weft_layout_origin origin;
    struct weft_error error = {0};
    if (weft_layout_from_topology(topology, num_ranks, &layout, &origin, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    return layout;
}

static inline struct weft_key fabric_key(weft_collective collective, int num_ranks, int size_class)
{
    return (struct weft_key){.collective = collective,
                             .num_ranks = num_ranks,
                             .element_bytes = 4,
                             .size_class = size_class};
}

#endif
