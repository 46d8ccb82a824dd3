/*
 * SPDX-License-Identifier: Apache-2.0
 * The tables. A new type or operation is a row here, an enum value at the end of the public enum
 * and its loops in kernels/reduce_loops.inc.
 */
#include "base/dtype.h"

#include <stdio.h>
#include <string.h>

const struct weft_dtype_info weft_dtypes[WEFT_NUM_DTYPES] = {
    [WEFT_FLOAT32] = {"f32", "float", 4, true, true},
    [WEFT_FLOAT64] = {"f64", "double", 8, true, true},
    [WEFT_BFLOAT16] = {"bf16", "bfloat16", 2, true, true},
    [WEFT_FLOAT16] = {"f16", "half", 2, true, true},
    [WEFT_INT32] = {"int32", "int32", 4, false, true},
    [WEFT_INT64] = {"int64", "int64", 8, false, true},
    [WEFT_UINT8] = {"uint8", "uint8", 1, false, false},
    [WEFT_INT8] = {"int8", "int8", 1, false, true},
    [WEFT_INT16] = {"int16", "int16", 2, false, true},
    [WEFT_UINT16] = {"uint16", "uint16", 2, false, false},
    [WEFT_UINT32] = {"uint32", "uint32", 4, false, false},
    [WEFT_UINT64] = {"uint64", "uint64", 8, false, false},
    [WEFT_FLOAT8_E4M3] = {"f8e4m3", "f8e4m3", 1, true, true},
    [WEFT_FLOAT8_E5M2] = {"f8e5m2", "f8e5m2", 1, true, true},
};

const struct weft_op_info weft_ops[WEFT_NUM_OPS] = {
    [WEFT_SUM] = {.name = "sum"},
    [WEFT_PROD] = {.name = "prod"},
    [WEFT_MIN] = {.name = "min"},
    [WEFT_MAX] = {.name = "max"},
    [WEFT_AVG] = {.name = "avg", .scales = true},
    [WEFT_PREMUL_SUM] = {.name = "mulsum", .multiplies = true},
    [WEFT_LOGICAL_AND] = {.name = "land", .needs_integers = true, .is_logical = true},
    [WEFT_LOGICAL_OR] = {.name = "lor", .needs_integers = true, .is_logical = true},
    [WEFT_LOGICAL_XOR] = {.name = "lxor", .needs_integers = true, .is_logical = true},
    [WEFT_BITWISE_AND] = {.name = "band", .needs_integers = true},
    [WEFT_BITWISE_OR] = {.name = "bor", .needs_integers = true},
    [WEFT_BITWISE_XOR] = {.name = "bxor", .needs_integers = true},
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

bool weft_op_takes(weft_op op, weft_dtype dtype)
{
    return !weft_ops[op].needs_integers || !weft_dtypes[dtype].is_floating;
}

weft_status weft_dtype_from_name(const char *name, weft_dtype *dtype, struct weft_error *error)
{
    char list[256] = "";
    size_t used = 0;
    for (int i = 0; i < WEFT_NUM_DTYPES; i++) {
        if (!strcmp(name, weft_dtypes[i].name) || !strcmp(name, weft_dtypes[i].nccl_name)) {
            *dtype = (weft_dtype)i;
            return WEFT_OK;
        }
        used += (size_t)snprintf(list + used, sizeof list - used, " %s", weft_dtypes[i].name);
    }
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "type '%s' is none of%s", name, list);
}

weft_status weft_op_from_name(const char *name, weft_op *op, struct weft_error *error)
{
    char list[256] = "";
    size_t used = 0;
    for (int i = 0; i < WEFT_NUM_OPS; i++) {
        if (!strcmp(name, weft_ops[i].name)) {
            *op = (weft_op)i;
            return WEFT_OK;
        }
        used += (size_t)snprintf(list + used, sizeof list - used, " %s", weft_ops[i].name);
    }
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "operation '%s' is none of%s", name, list);
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
