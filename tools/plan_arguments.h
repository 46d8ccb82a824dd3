/*
 * SPDX-License-Identifier: Apache-2.0
 * What the command line of `weft plan` asks for, and what its files do with that. plan.c reads it,
 * plan_run.c finds the topology and the ranks, the others answer one question each.
 */
#ifndef WEFT_TOOLS_PLAN_ARGUMENTS_H
#define WEFT_TOOLS_PLAN_ARGUMENTS_H

#include <jansson.h>
#include <stdbool.h>

#include "collectives/planner/algorithm.h"
#include "collectives/planner/layout_topology.h"
#include "tools/plan_ranks.h"

struct weft_plan_arguments {
    struct weft_key key;
    struct weft_error error;
    int64_t bytes;
    int64_t ranks, root, rank;
    int64_t leaves;        // 0: one for each rank
    uint32_t *leaf_bounds; // with leaves: the key's
    struct weft_plan_ranks places;
    const char *topology;
    const char *algorithm;
    const char *dump;
    const char *changes;
    const char *svg;
    const char *fit;
    uint32_t link_kinds;
    bool has_collective, has_root, has_rank, has_ranks;
    bool wants_table, wants_reasons, wants_json, wants_upgrades, wants_bound, is_unit, wants_scale,
        wants_nccl, wants_quality, is_quick, wants_evaluation;
    char *spoil; // "ALGORITHM=FACTOR"
};

/* Everything that needs a topology. Errors: bad arguments, and those of all that it calls. */
weft_status weft_plan_run(struct weft_plan_arguments *arguments, struct weft_error *error);

/* Ranks on a topology. */
struct weft_plan_scene {
    struct weft_topology *topology;
    int *nodes; // (ranks)
    struct weft_layout *layout;
    struct weft_layout_origin origin;
};
/* The choice of one size: all candidates and facts, or the dump of a program. */
weft_status weft_plan_explain(const struct weft_plan_arguments *arguments,
                              const struct weft_plan_scene *scene, struct weft_error *error);
/* The choices of all sizes. */
weft_status weft_plan_table(const struct weft_plan_arguments *arguments,
                            const struct weft_plan_scene *scene, struct weft_error *error);

/* `text` and `json` are consumed; NULL stands for one that memory did not suffice for. A line, to
 * a file or, with "-", to standard output. Errors: OUT_OF_MEMORY, NOT_FOUND, SYSTEM. */
weft_status weft_plan_write(const char *path, char *text, struct weft_error *error);
weft_status weft_plan_print_json(json_t *json, struct weft_error *error);

#endif
