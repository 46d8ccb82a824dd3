/*
 * SPDX-License-Identifier: Apache-2.0
 * The reductions for x86-64 with AVX2 and F16C; compiled with its flags (see CMakeLists.txt).
 * Nothing else may be in this file: the machine may lack these instructions.
 */
#define VARIANT      weft_reduce_x86_v3
#define VARIANT_NAME "x86_v3"
#include "kernels/reduce_loops.inc"
