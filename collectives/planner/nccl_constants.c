/*
 * SPDX-License-Identifier: Apache-2.0
 * See nccl_constants.h. Rows of Volta that newer releases leave alone, and the bound of NVLS trees,
 * are those of the release before.
 */
#include "collectives/planner/nccl_constants.h"

const char *const weft_nccl_algorithm_names[WEFT_NCCL_ALGORITHMS] = {
    [WEFT_NCCL_TREE] = "tree",
    [WEFT_NCCL_RING] = "ring",
    [WEFT_NCCL_COLLNET_DIRECT] = "collnet-direct",
    [WEFT_NCCL_COLLNET_CHAIN] = "collnet-chain",
    [WEFT_NCCL_NVLS] = "nvls",
    [WEFT_NCCL_NVLS_TREE] = "nvls-tree",
    [WEFT_NCCL_PAT] = "pat",
};
const char *const weft_nccl_protocol_names[WEFT_NCCL_PROTOCOLS] = {"LL", "LL128", "Simple"};

const double weft_nccl_base_us[WEFT_NCCL_ALGORITHMS][WEFT_NCCL_PROTOCOLS] = {
    [WEFT_NCCL_TREE] = {6.8, 14, 8.4},
    [WEFT_NCCL_RING] = {6.6, 14, 8.4},
    [WEFT_NCCL_PAT] = {8, 8, 8},
};

const double weft_nccl_hop_us[NCCL_WIRES][WEFT_NCCL_ALGORITHMS][WEFT_NCCL_PROTOCOLS] =
    {
        [NCCL_NVLINK] =
            {
                [WEFT_NCCL_TREE] = {.6, 1.25, 4},
                [WEFT_NCCL_RING] = {.6, 1.9, 3.4},
                [WEFT_NCCL_COLLNET_DIRECT] = {0, 0, 3.7},
                [WEFT_NCCL_COLLNET_CHAIN] = {0, 0, 2.8},
                [WEFT_NCCL_NVLS] = {0, 0, 25},
                [WEFT_NCCL_NVLS_TREE] = {0, 0, 25},
                [WEFT_NCCL_PAT] = {0, 0, 4},
            },
        [NCCL_PCI] =
            {
                [WEFT_NCCL_TREE] = {1, 1.9, 4},
                [WEFT_NCCL_RING] = {1, 2.5, 5.7},
                [WEFT_NCCL_COLLNET_DIRECT] = {0, 0, 3.7},
                [WEFT_NCCL_COLLNET_CHAIN] = {0, 0, 2.8},
                [WEFT_NCCL_PAT] = {0, 0, 4},
            },
        [NCCL_NET] =
            {
                [WEFT_NCCL_TREE] = {5, 8.5, 14},
                [WEFT_NCCL_RING] = {2.7, 4, 14},
                [WEFT_NCCL_COLLNET_DIRECT] = {0, 0, 31},
                [WEFT_NCCL_COLLNET_CHAIN] = {0, 0, 30},
                [WEFT_NCCL_NVLS] = {0, 0, 18},
                [WEFT_NCCL_NVLS_TREE] = {0, 0, 20.9},
                [WEFT_NCCL_PAT] = {0, 0, 14},
            },
};

weft_nccl_by_scale weft_nccl_ll_most = {
    [NCCL_VOLTA] = {39, 39, 20.4},
    [NCCL_AMPERE] = {87.7, 22.5, 19},
    [NCCL_HOPPER] = {141, 45, 35},
    [NCCL_BLACKWELL] = {282, 90, 70},
};
weft_nccl_by_scale weft_nccl_ring_ll128_most = {
    [NCCL_VOLTA] = {20, 20, 20},
    [NCCL_AMPERE] = {20, 20, 20},
    [NCCL_HOPPER] = {36.7, 36.7, 36.7},
    [NCCL_BLACKWELL] = {73.4, 34.6, 73.4},
};
weft_nccl_by_scale weft_nccl_tree_ll128_most = {
    [NCCL_VOLTA] = {20, 20, 20},
    [NCCL_AMPERE] = {20, 20, 20},
    [NCCL_HOPPER] = {36.7, 36.7, 29},
    [NCCL_BLACKWELL] = {55.6, 31.67, 20},
};
weft_nccl_by_scale weft_nccl_tree_most = {
    [NCCL_VOLTA] = {26.5, 18.5, 10},
    [NCCL_AMPERE] = {24, 23.6, 17.8},
    [NCCL_HOPPER] = {38.7, 41.4, 36},
    [NCCL_BLACKWELL] = {70, 42.8, 24},
};
weft_nccl_by_scale weft_nccl_nvls_tree_most = {
    [NCCL_HOPPER] = {0, 57.7, 45.5},
    [NCCL_BLACKWELL] = {0, 96, 43.8},
};
const double weft_nccl_nvls_efficiency[NCCL_GENERATIONS] = {
    [NCCL_HOPPER] = .85, [NCCL_BLACKWELL] = .74};

const double weft_nccl_tree_correction[WEFT_NCCL_PROTOCOLS][NCCL_CORRECTIONS] = {
    [WEFT_NCCL_LL] = {1,  1,  1,  1,  .9, .8, .7, .7, .7, .7, .6, .5,
                      .4, .4, .5, .6, .7, .8, .9, 1,  1,  1,  1},
    [WEFT_NCCL_LL128] = {1,  1,  1,  1,  1,  .9, .8, .8, .8, .7, .6, .6,
                         .6, .6, .6, .6, .8, .9, .9, .9, .9, 1,  1},
    [WEFT_NCCL_SIMPLE] = {.9, .9, .9, .9, .9, .9, .9, .8, .7, .6, .6, .5,
                          .5, .5, .5, .6, .7, .8, .7, .7, .8, .9, .9},
};
