/*
 * SPDX-License-Identifier: Apache-2.0
 * Tables of element types and reduction operations: names as users write them, sizes, traits. What
 * the operations compute is in kernels/reduce.h.
 */
#ifndef WEFT_BASE_DTYPE_H
#define WEFT_BASE_DTYPE_H

#include <stdbool.h>

#include "base/error.h"

struct weft_dtype_info {
    const char *name;      // weft's name
    const char *nccl_name; // as nccl-tests' -d takes and prints it
    size_t bytes;
    bool is_floating;
    bool is_signed;
};

struct weft_op_info {
    const char *name;
    bool scales;         // divides by the number of ranks at the end
    bool multiplies;     // each contribution by a scalar, at the beginning
    bool needs_integers; // floating types do not have it
    bool is_logical;     // gives 0 or 1
};

enum { WEFT_NUM_DTYPES = 14, WEFT_NUM_OPS = 12, WEFT_NUM_COLLECTIVES = 16 };

extern const struct weft_dtype_info weft_dtypes[WEFT_NUM_DTYPES];
extern const struct weft_op_info weft_ops[WEFT_NUM_OPS];
/* "all_reduce" and so on, indexed by weft_collective. */
extern const char *const weft_collective_names[WEFT_NUM_COLLECTIVES];

/* Whether elements of `dtype` can be reduced with `op`; both must be valid. */
bool weft_op_takes(weft_op op, weft_dtype dtype);

weft_status weft_dtype_from_name(const char *name, weft_dtype *dtype, struct weft_error *error);
weft_status weft_op_from_name(const char *name, weft_op *op, struct weft_error *error);
weft_status weft_collective_from_name(const char *name, weft_collective *collective,
                                      struct weft_error *error);

#endif
