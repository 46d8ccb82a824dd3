/*
 * SPDX-License-Identifier: Apache-2.0
 * The table of algorithms. A new one is one line in each list here, and one file.
 */
#include <string.h>

#include "collectives/planner/algorithm.h"

extern const struct weft_algorithm weft_algorithm_forest;
extern const struct weft_algorithm weft_algorithm_flat;
extern const struct weft_algorithm weft_algorithm_direct;
extern const struct weft_algorithm weft_algorithm_tree;
extern const struct weft_algorithm weft_algorithm_halving;
extern const struct weft_algorithm weft_algorithm_ring;
extern const struct weft_algorithm weft_algorithm_double_tree;
extern const struct weft_algorithm weft_algorithm_bruck;
extern const struct weft_algorithm weft_algorithm_pat;
extern const struct weft_algorithm weft_algorithm_pairwise;
extern const struct weft_algorithm weft_algorithm_relay;
extern const struct weft_algorithm weft_algorithm_hierarchical;

// clang-format off
const struct weft_algorithm *const weft_algorithms[] = {
    &weft_algorithm_flat,
    &weft_algorithm_direct,
    &weft_algorithm_tree,
    &weft_algorithm_halving,
    &weft_algorithm_ring,
    &weft_algorithm_double_tree,
    &weft_algorithm_bruck,
    &weft_algorithm_pat,
    &weft_algorithm_pairwise,
    &weft_algorithm_relay,
    &weft_algorithm_forest,
    &weft_algorithm_hierarchical,
    NULL,
};
// clang-format on

const struct weft_algorithm *weft_algorithm_find(const char *name)
{
    for (int i = 0; weft_algorithms[i]; i++)
        if (strcmp(weft_algorithms[i]->name, name) == 0)
            return weft_algorithms[i];
    return NULL;
}
