/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan --table`: the choices of all sizes, beside the bound and what NCCL would do.
 */
#include <stdio.h>

#include "collectives/planner/explain.h"
#include "tools/plan_arguments.h"

weft_status weft_plan_table(const struct weft_plan_arguments *arguments,
                            const struct weft_plan_scene *scene, struct weft_error *error)
{
    struct weft_table table;
    struct weft_nccl_input input;
    char assumed[WEFT_NCCL_ASSUMED_BYTES];
    struct weft_error why;
    bool has_nccl = weft_nccl_input_from_nodes(scene->topology, scene->nodes, (int)arguments->ranks,
                                               &input, assumed, sizeof assumed, &why) == WEFT_OK;
    WEFT_TRY(
        weft_table_make(&arguments->key, scene->layout, has_nccl ? &input : NULL, &table, error));
    snprintf(table.nccl_note, sizeof table.nccl_note, "%s%.200s",
             has_nccl && assumed[0] ? "assuming " : "", has_nccl ? assumed : why.text);
    if (arguments->wants_json)
        return weft_plan_print_json(weft_table_json(&table), error);
    weft_table_text(&table, stdout);
    return WEFT_OK;
}
