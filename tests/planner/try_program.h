/*
 * SPDX-License-Identifier: Apache-2.0
 * All that can be asked of the programs of all ranks for one request: each is proved by the check,
 * their lanes agree, the oracle finds nothing, and they compute the collective.
 */
#ifndef WEFT_TESTS_PLANNER_TRY_PROGRAM_H
#define WEFT_TESTS_PLANNER_TRY_PROGRAM_H

#include "collectives/planner/algorithm.h"

enum { TRY_RANKS_LIMIT = 64 };

/* `aliasing`: as request_aliasing (requests.h) takes it. Steps written, by all ranks together;
 * fails the test otherwise. */
uint64_t try_program(const struct weft_algorithm *algorithm, const struct weft_key *key,
                     const struct weft_layout *layout, unsigned aliasing, uint64_t seed);

#endif
