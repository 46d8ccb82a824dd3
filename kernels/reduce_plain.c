/*
 * SPDX-License-Identifier: Apache-2.0
 * The reductions for any machine: the compiler's default instruction set.
 */
#define VARIANT      weft_reduce_plain
#define VARIANT_NAME "plain"
#include "kernels/reduce_loops.inc"
