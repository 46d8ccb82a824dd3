/*
 * SPDX-License-Identifier: Apache-2.0
 * The table of compiled variants of the reductions, one per instruction set. Only reduce.c and the
 * tests look at it. A new instruction set is a file like reduce_x86_v3.c and a row in reduce.c.
 */
#ifndef WEFT_KERNELS_REDUCE_VARIANT_H
#define WEFT_KERNELS_REDUCE_VARIANT_H

#include "base/dtype.h"
#include "kernels/reduce.h"

struct weft_reduce_variant {
    const char *name;
    // NULL where the type has no such operation.
    weft_reduce_fn reduce[WEFT_NUM_DTYPES][WEFT_NUM_OPS];
    weft_reduce_all_fn reduce_all[WEFT_NUM_DTYPES][WEFT_NUM_OPS];
    weft_scale_fn scale[WEFT_NUM_DTYPES];
    weft_multiply_fn multiply[WEFT_NUM_DTYPES];
};

extern const struct weft_reduce_variant weft_reduce_plain;
extern const struct weft_reduce_variant weft_reduce_x86_v3;
extern const struct weft_reduce_variant weft_reduce_x86_v4;

/* The i-th variant, best first, that this machine runs; NULL after the last. */
const struct weft_reduce_variant *weft_reduce_variant_at(int index);

#endif
