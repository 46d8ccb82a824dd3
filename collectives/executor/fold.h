/*
 * SPDX-License-Identifier: Apache-2.0
 * Many vectors into one, at as many places as want it: in rank order or in the canonical tree,
 * piece by piece, so that everything but the vectors themselves stays in the first cache.
 */
#ifndef WEFT_COLLECTIVES_EXECUTOR_FOLD_H
#define WEFT_COLLECTIVES_EXECUTOR_FOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/reduce.h"

enum { WEFT_FOLD_LIMIT = 64 }; // sources

struct weft_fold {
    weft_reduce_fn reduce;         // of the canonical tree
    weft_reduce_all_fn reduce_all; // the same operation; of copies any
    size_t element_bytes;
    bool is_canonical; // source i is leaf i of the tree over all
    uint64_t streams;  // bit i: destination i is written past the caches
    int num_sources;
    const void *sources[WEFT_FOLD_LIMIT];
    int num_destinations; // at least 1; each may be one of the sources exactly
    void *destinations[WEFT_FOLD_LIMIT];
    size_t bytes; // of each; whole elements
};

void weft_fold(const struct weft_fold *fold);

#endif
