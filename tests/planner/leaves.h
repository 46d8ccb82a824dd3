/*
 * SPDX-License-Identifier: Apache-2.0
 * Leaves for tests of the canonical order: random data of each, their tree written once more from
 * its definition, and spans of them.
 */
#ifndef WEFT_TESTS_PLANNER_LEAVES_H
#define WEFT_TESTS_PLANNER_LEAVES_H

#include <stdint.h>
#include <stdlib.h>

static inline uint64_t leaf_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* Element `element` of a leaf: of very different sizes and both signs, so that order shows. */
static inline float leaf_value(size_t leaf, size_t element)
{
    uint64_t state = leaf * UINT64_C(1000003) + element + 99;
    leaf_random(&state);
    leaf_random(&state);
    float value = (float)leaf_random(&state) / (float)(1 << 28) - 3.9f;
    return value * (float)(1 << (leaf_random(&state) % 12));
}

/* The node over `count` leaves from `first` on. */
static inline float leaf_tree(size_t first, size_t count, size_t element)
{
    size_t left = 1;
    if (count == 1)
        return leaf_value(first, element);
    while (2 * left < count)
        left *= 2;
    volatile float a = leaf_tree(first, left, element);
    volatile float b = leaf_tree(first + left, count - left, element);
    return a + b;
}

/* Random bounds of `num_ranks` spans, empty ones among them; kind 0: as even as can be. */
static inline void leaf_spans(int num_ranks, uint32_t num_leaves, int kind, uint64_t *random,
                              uint32_t *bounds)
{
    bounds[0] = 0;
    for (int r = 1; r < num_ranks; r++) {
        uint32_t even = (uint32_t)((uint64_t)num_leaves * (uint64_t)r / (uint64_t)num_ranks);
        uint32_t left = num_leaves - bounds[r - 1];
        uint32_t wild = bounds[r - 1] + (uint32_t)(leaf_random(random) % (left + 1));
        bounds[r] = kind == 0 ? even : leaf_random(random) % 4 == 0 ? bounds[r - 1] : wild;
    }
    bounds[num_ranks] = num_leaves;
}

#endif
