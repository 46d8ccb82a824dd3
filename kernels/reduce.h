/*
 * SPDX-License-Identifier: Apache-2.0
 * The reductions of the collectives on the CPU: element-wise loops for every type and operation,
 * compiled once per instruction set and chosen through a table. Same input, same bits on every
 * machine and instruction set.
 *
 * Rules. Integers wrap. bf16 and f16 are computed in float and rounded to nearest, ties to even.
 * Any floating result that is NaN is the canonical quiet NaN (positive, no payload); min and max
 * give NaN when either operand is NaN, and order -0 below +0. So every operation is commutative bit
 * for bit. Operations on more than two operands are not associative: the order is the plan's.
 */
#ifndef WEFT_KERNELS_REDUCE_H
#define WEFT_KERNELS_REDUCE_H

#include "weft/weft.h"

/* destination[i] = a[i] op b[i]. Any alignment. `destination` may equal `a`, `b` or both exactly;
 * other overlaps are forbidden. Never fails; any thread. */
typedef void (*weft_reduce_fn)(void *destination, const void *a, const void *b, size_t count);
/* data[i] /= divisor, in place, for the end of AVG; integers truncate toward zero. divisor >= 1. */
typedef void (*weft_scale_fn)(void *data, size_t count, int divisor);

/* The fastest loops this machine runs; AVG is given as SUM. `dtype` and `op` must be valid. */
weft_reduce_fn weft_reduce_lookup(weft_dtype dtype, weft_op op);
weft_scale_fn weft_scale_lookup(weft_dtype dtype);

#endif
