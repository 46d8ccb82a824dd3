/*
 * SPDX-License-Identifier: Apache-2.0
 * The reductions of the collectives on the CPU: element-wise loops for every type and operation,
 * compiled once per instruction set and chosen through a table. Same input, same bits on every
 * machine and instruction set.
 *
 * Rules. Integers wrap; logical operations take any value but 0 for true and give 0 or 1. bf16, f16
 * and the two 8-bit types are computed in float and rounded to nearest, ties to even; what is too
 * large becomes infinity, and NaN in E4M3, which has no infinity. Any floating result that is NaN
 * is the canonical quiet NaN (positive, no payload); min and max give NaN when either operand is
 * NaN, and order -0 below +0. So every operation is commutative bit for bit. Operations on more
 * than two operands are not associative: the order is the plan's.
 */
#ifndef WEFT_KERNELS_REDUCE_H
#define WEFT_KERNELS_REDUCE_H

#include <stdint.h>

#include "weft/weft.h"

/* destination[i] = a[i] op b[i]. Any alignment. `destination` may equal `a`, `b` or both exactly;
 * other overlaps are forbidden. Never fails; any thread. */
typedef void (*weft_reduce_fn)(void *destination, const void *a, const void *b, size_t count);
/* Every destination[i] = ((sources[0][i] op sources[1][i]) op sources[2][i]) ..., with the bits of
 * pairwise reductions, reading each source and writing each destination once; of one source, a
 * copy. 1 to 64 sources and destinations. Any alignment, also different ones. A destination may
 * equal a source exactly; other overlaps are forbidden, those of two destinations too. Bit i of
 * `streams`: destination i is written around the caches where the machine can, which is right for
 * results that are not read again before the caches have turned over. They are visible to others,
 * in order, when it returns.
 */
typedef void (*weft_reduce_all_fn)(void *const *destinations, int num_destinations,
                                   const void *const *sources, int num_sources, size_t count,
                                   uint64_t streams);
/* data[i] /= divisor, in place, for the end of AVG; integers truncate toward zero. divisor >= 1. */
typedef void (*weft_scale_fn)(void *data, size_t count, int divisor);

/* destination[i] = source[i] * *scalar, for the beginning of PREMUL_SUM; rounded to the type.
 * `destination` may equal `source`. */
typedef void (*weft_multiply_fn)(void *destination, const void *source, const void *scalar,
                                 size_t count);

/* The fastest loops this machine runs; AVG and PREMUL_SUM are given as SUM. `dtype` and `op` must
 * be valid; NULL where weft_op_takes says no. */
weft_reduce_fn weft_reduce_lookup(weft_dtype dtype, weft_op op);
weft_reduce_all_fn weft_reduce_all_lookup(weft_dtype dtype, weft_op op);
weft_scale_fn weft_scale_lookup(weft_dtype dtype);
weft_multiply_fn weft_multiply_lookup(weft_dtype dtype);

#endif
