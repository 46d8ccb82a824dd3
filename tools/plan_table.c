/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan --table`: the choices of all sizes.
 */
#include "collectives/planner/explain.h"
#include "tools/plan_arguments.h"

weft_status weft_plan_table(const struct weft_plan_arguments *arguments,
                            const struct weft_topology *topology, const struct weft_layout *layout,
                            struct weft_error *error)
{
    json_t *json = NULL;
    (void)topology;
    if (!arguments->wants_json)
        return weft_explain_table(&arguments->key, layout, stdout, error);
    WEFT_TRY(weft_explain_table_json(&arguments->key, layout, &json, error));
    return weft_plan_print_json(json, error);
}
