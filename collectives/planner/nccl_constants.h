/*
 * SPDX-License-Identifier: Apache-2.0
 * The constants of NCCL 2.28's tuning model: facts about that library, in microseconds and GB/s.
 * Private to nccl_model.c.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_NCCL_CONSTANTS_H
#define WEFT_COLLECTIVES_PLANNER_NCCL_CONSTANTS_H

#include "collectives/planner/nccl_model.h"

/* GPU generations, and clusters of 1, 2, more than 2 nodes. */
enum { NCCL_VOLTA, NCCL_AMPERE, NCCL_HOPPER, NCCL_BLACKWELL, NCCL_GENERATIONS };
enum { NCCL_SCALES = 3 };
enum nccl_wire { NCCL_NVLINK, NCCL_PCI, NCCL_NET, NCCL_WIRES };
/* Of the corrections of trees: for powers of two from 64 B. */
enum { NCCL_CORRECTIONS = 23 };

typedef const double weft_nccl_by_scale[NCCL_GENERATIONS][NCCL_SCALES];

extern const double weft_nccl_base_us[WEFT_NCCL_ALGORITHMS][WEFT_NCCL_PROTOCOLS];
extern const double weft_nccl_hop_us[NCCL_WIRES][WEFT_NCCL_ALGORITHMS][WEFT_NCCL_PROTOCOLS];
/* Bounds: LL on all channels together, the others per channel. */
extern weft_nccl_by_scale weft_nccl_ll_most, weft_nccl_ring_ll128_most, weft_nccl_tree_ll128_most,
    weft_nccl_tree_most, weft_nccl_nvls_tree_most;
extern const double weft_nccl_nvls_efficiency[NCCL_GENERATIONS];
extern const double weft_nccl_tree_correction[WEFT_NCCL_PROTOCOLS][NCCL_CORRECTIONS];

#endif
