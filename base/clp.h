/*
 * SPDX-License-Identifier: Apache-2.0
 * CLP, the linear-program solver of COIN-OR, as a table of functions: loaded where it is installed.
 * Only what is needed of its C interface (Clp_C_Interface.h), whose types are pointers, int and
 * double.
 */
#ifndef WEFT_BASE_CLP_H
#define WEFT_BASE_CLP_H

#include "base/error.h"

struct weft_clp {
    void *(*new_model)(void);
    void (*delete_model)(void *model);
    void (*set_log_level)(void *model, int level);
    void (*set_direction)(void *model, double direction); // 1: minimise, -1: maximise
    /* Rows and columns in compressed form: entries starts[i] .. starts[i + 1] - 1 are row i's. */
    void (*add_rows)(void *model, int count, const double *low, const double *high,
                     const int *starts, const int *columns, const double *values);
    void (*add_columns)(void *model, int count, const double *low, const double *high,
                        const double *objective, const int *starts, const int *rows,
                        const double *values);
    int (*dual)(void *model, int uses_values);
    int (*primal)(void *model, int uses_values);
    int (*status)(void *model); // 0: optimal
    double (*objective)(void *model);
    double *(*solution)(void *model); // of the columns
};

/* Errors: UNSUPPORTED (not installed, with the reason). */
weft_status weft_clp_open(struct weft_clp *clp, struct weft_error *error);

#endif
