/*
 * SPDX-License-Identifier: Apache-2.0
 * The tables. A new type or operation is a row here, an enum value at the end of the public enum
 * and its loops in kernels/reduce.c.
 */
#include "base/dtype.h"

#include <stdio.h>
#include <string.h>

const struct weft_dtype_info weft_dtypes[WEFT_NUM_DTYPES] = {
    [WEFT_FLOAT32] = {"f32", "float", 4, true},      [WEFT_FLOAT64] = {"f64", "double", 8, true},
    [WEFT_BFLOAT16] = {"bf16", "bfloat16", 2, true}, [WEFT_FLOAT16] = {"f16", "half", 2, true},
    [WEFT_INT32] = {"int32", "int32", 4, false},     [WEFT_INT64] = {"int64", "int64", 8, false},
    [WEFT_UINT8] = {"uint8", "uint8", 1, false},
};

const struct weft_op_info weft_ops[WEFT_NUM_OPS] = {
    [WEFT_SUM] = {"sum", false}, [WEFT_PROD] = {"prod", false}, [WEFT_MIN] = {"min", false},
    [WEFT_MAX] = {"max", false}, [WEFT_AVG] = {"avg", true},
};

const char *const weft_collective_names[WEFT_NUM_COLLECTIVES] = {
    [WEFT_ALL_REDUCE] = "all_reduce",
    [WEFT_ALL_GATHER] = "all_gather",
    [WEFT_REDUCE_SCATTER] = "reduce_scatter",
    [WEFT_BROADCAST] = "broadcast",
    [WEFT_REDUCE] = "reduce",
    [WEFT_ALL_TO_ALL] = "all_to_all",
    [WEFT_ALL_GATHER_V] = "all_gather_v",
    [WEFT_REDUCE_SCATTER_V] = "reduce_scatter_v",
    [WEFT_ALL_TO_ALL_V] = "all_to_all_v",
    [WEFT_BARRIER] = "barrier",
    [WEFT_SEND] = "send",
    [WEFT_RECV] = "recv",
    [WEFT_GATHER] = "gather",
    [WEFT_GATHER_V] = "gather_v",
    [WEFT_SCATTER] = "scatter",
    [WEFT_SCATTER_V] = "scatter_v",
};

size_t weft_dtype_bytes(weft_dtype dtype)
{
    return (unsigned)dtype < WEFT_NUM_DTYPES ? weft_dtypes[dtype].bytes : 0;
}

weft_status weft_dtype_from_name(const char *name, weft_dtype *dtype, struct weft_error *error)
{
    for (int i = 0; i < WEFT_NUM_DTYPES; i++)
        if (!strcmp(name, weft_dtypes[i].name) || !strcmp(name, weft_dtypes[i].nccl_name)) {
            *dtype = (weft_dtype)i;
            return WEFT_OK;
        }
    return weft_fail(error, WEFT_INVALID_ARGUMENT,
                     "type '%s' is none of f32 f64 bf16 f16 int32 int64 uint8", name);
}

weft_status weft_op_from_name(const char *name, weft_op *op, struct weft_error *error)
{
    for (int i = 0; i < WEFT_NUM_OPS; i++)
        if (!strcmp(name, weft_ops[i].name)) {
            *op = (weft_op)i;
            return WEFT_OK;
        }
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "operation '%s' is none of sum prod min max avg",
                     name);
}

weft_status weft_collective_from_name(const char *name, weft_collective *collective,
                                      struct weft_error *error)
{
    char list[256] = "";
    size_t used = 0;
    for (int i = 0; i < WEFT_NUM_COLLECTIVES; i++) {
        if (!strcmp(name, weft_collective_names[i])) {
            *collective = (weft_collective)i;
            return WEFT_OK;
        }
        used += (size_t)snprintf(list + used, sizeof list - used, " %s", weft_collective_names[i]);
    }
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "collective '%s' is none of%s", name, list);
}
