/*
 * SPDX-License-Identifier: Apache-2.0
 * What NCCL 2.28 would choose. NCCL prices every algorithm x protocol with one line, latency +
 * bytes / bandwidth, from constants and from what its search found in the topology, and takes the
 * cheapest. The same arithmetic is done here, so that our plans can be held against it. Nothing of
 * ours depends on it: it predicts another library, in floating point as that library does.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_NCCL_MODEL_H
#define WEFT_COLLECTIVES_PLANNER_NCCL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/error.h"

enum weft_nccl_algorithm {
    WEFT_NCCL_TREE,
    WEFT_NCCL_RING,
    WEFT_NCCL_COLLNET_DIRECT,
    WEFT_NCCL_COLLNET_CHAIN,
    WEFT_NCCL_NVLS,
    WEFT_NCCL_NVLS_TREE,
    WEFT_NCCL_PAT,
    WEFT_NCCL_ALGORITHMS
};
enum weft_nccl_protocol { WEFT_NCCL_LL, WEFT_NCCL_LL128, WEFT_NCCL_SIMPLE, WEFT_NCCL_PROTOCOLS };
extern const char *const weft_nccl_algorithm_names[WEFT_NCCL_ALGORITHMS];
extern const char *const weft_nccl_protocol_names[WEFT_NCCL_PROTOCOLS];

enum weft_nccl_cpu { WEFT_NCCL_CPU_INTEL, WEFT_NCCL_CPU_AMD, WEFT_NCCL_CPU_OTHER };

/* What NCCL's search gives: channels and GB/s of each, inside a node and between nodes. */
struct weft_nccl_graph {
    int channels; // 0: none found
    double intra, inter;
};

/* A node is what NCCL takes for one: a host, or a whole NVLink domain. */
struct weft_nccl_input {
    int num_nodes, num_ranks; // num_ranks is a multiple of num_nodes, or taken as one
    int min_compute_capability, max_compute_capability; // 90: Hopper
    enum weft_nccl_cpu cpu;
    bool has_nvlink;  // joins the GPUs of a node
    bool is_nic_near; // no CPU between GPUs and their NICs; true without a network
    bool has_nvswitch;
    bool allows_nvls, allows_collnet;
    bool is_tree_plain;     // the tree is the pattern that NCCL takes .85 for
    bool has_same_channels; // all channels take the GPUs in the same order
    double net_latency_us;  // as a network plugin states it; those built in state none
    struct weft_nccl_graph ring, tree, nvls;
};

struct weft_nccl_price {
    double time_us; // < 0: not possible
    double latency_us;
    double bandwidth;   // bytes of the vector, GB/s
    const char *reason; // why not possible, else NULL; lives for ever
};

struct weft_nccl_prediction {
    struct weft_nccl_price prices[WEFT_NCCL_ALGORITHMS][WEFT_NCCL_PROTOCOLS];
    enum weft_nccl_algorithm algorithm; // the choice
    enum weft_nccl_protocol protocol;
    int channels; // that the call would run with
    double time_us;
};

/* `bytes` of the whole vector. Errors: INVALID_ARGUMENT (an input out of range), UNSUPPORTED (NCCL
 * prices no such collective), NOT_FOUND (nothing is possible). */
weft_status weft_nccl_predict(const struct weft_nccl_input *input, weft_collective collective,
                              uint64_t bytes, struct weft_nccl_prediction *prediction,
                              struct weft_error *error);

/* Where the choice changes, among powers of two. */
struct weft_nccl_crossover {
    uint64_t bytes; // first size with this choice
    enum weft_nccl_algorithm algorithm;
    enum weft_nccl_protocol protocol;
    double time_us;
};
enum { WEFT_NCCL_MAX_CROSSOVERS = 40 };
/* From `first` (a power of two) to `last`; rows[0] is the choice at `first`. Errors: as above. */
weft_status weft_nccl_crossovers(const struct weft_nccl_input *input, weft_collective collective,
                                 uint64_t first, uint64_t last, struct weft_nccl_crossover *rows,
                                 int *num_rows, struct weft_error *error);

#endif
