/*
 * SPDX-License-Identifier: Apache-2.0
 * Runs the programs of all ranks on integers, in a random one of the orders that the programs'
 * channels and dependencies allow, and compares with the plain definition of the collective.
 */
#ifndef WEFT_TESTS_PLANNER_SIMULATE_H
#define WEFT_TESTS_PLANNER_SIMULATE_H

#include "collectives/program/program.h"

/* programs[rank], NULL where a rank takes no part; aliasing[rank] is how it is called. `count` is
 * what the blocks hold, or about what they hold where blocks differ. Returns NULL if all is right,
 * else what is wrong (valid until the next call). */
const char *simulate(struct weft_program *const *programs, const enum weft_aliasing *aliasing,
                     int num_ranks, uint64_t count, uint64_t seed);

#endif
