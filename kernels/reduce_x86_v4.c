/*
 * SPDX-License-Identifier: Apache-2.0
 * The reductions for x86-64 with AVX-512 F, BW, DQ and VL; compiled with its flags (see
 * CMakeLists.txt). Nothing else may be in this file: the machine may lack these instructions.
 */
#define VARIANT      weft_reduce_x86_v4
#define VARIANT_NAME "x86_v4"
#include "kernels/reduce_loops.inc"
