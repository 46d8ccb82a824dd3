/*
 * SPDX-License-Identifier: Apache-2.0
 * See clp.h.
 */
#include "base/clp.h"

#include "base/symbols.h"

static const struct weft_symbol symbols[] = {
    {"Clp_newModel", offsetof(struct weft_clp, new_model)},
    {"Clp_deleteModel", offsetof(struct weft_clp, delete_model)},
    {"Clp_setLogLevel", offsetof(struct weft_clp, set_log_level)},
    {"Clp_setOptimizationDirection", offsetof(struct weft_clp, set_direction)},
    {"Clp_addRows", offsetof(struct weft_clp, add_rows)},
    {"Clp_addColumns", offsetof(struct weft_clp, add_columns)},
    {"Clp_dual", offsetof(struct weft_clp, dual)},
    {"Clp_primal", offsetof(struct weft_clp, primal)},
    {"Clp_status", offsetof(struct weft_clp, status)},
    {"Clp_objectiveValue", offsetof(struct weft_clp, objective)},
    {"Clp_primalColumnSolution", offsetof(struct weft_clp, solution)},
};

enum { NUM_SYMBOLS = sizeof symbols / sizeof symbols[0] };
static const struct weft_library library = {"libClp.so.1", "the solver of linear programs", symbols,
                                            NUM_SYMBOLS, NUM_SYMBOLS};

weft_status weft_clp_open(struct weft_clp *clp, struct weft_error *error)
{
    return weft_symbols_load(&library, NULL, clp, NULL, error);
}
