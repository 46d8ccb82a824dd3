/*
 * SPDX-License-Identifier: Apache-2.0
 * The requests the planner's contract tests walk through: collective x ranks x root x order x
 * aliasing x size class.
 */
#ifndef WEFT_TESTS_PLANNER_REQUESTS_H
#define WEFT_TESTS_PLANNER_REQUESTS_H

#include <stdbool.h>

#include "collectives/planner/algorithm.h"

/* Zero it to begin. */
struct request_walk {
    struct weft_key key;
    unsigned aliasing; // or mixed_aliasing
    int state[7];
    uint32_t bounds[65]; // key.leaf_bounds
    bool has_begun;
};

/* Ranks take turns: one out of place, one in place. */
enum { mixed_aliasing = 4 };

bool next_request(struct request_walk *walk);

/* The key as `rank` sees it: a send's peer sees a receive. */
struct request_end {
    struct weft_key key;
    bool takes_part;
};
struct request_end request_end(const struct weft_key *key, int rank);
unsigned request_aliasing(unsigned aliasing, int rank);

#endif
