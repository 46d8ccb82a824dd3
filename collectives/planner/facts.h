/*
 * SPDX-License-Identifier: Apache-2.0
 * What a program does, in numbers.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_FACTS_H
#define WEFT_COLLECTIVES_PLANNER_FACTS_H

#include "collectives/program/plan.h"

/* What a step moves when the logical vector has `bytes` (equal blocks). */
int64_t weft_step_bytes(const struct weft_program *program, const struct weft_step *step,
                        int64_t bytes);

/* What one rank's program does with `bytes` of logical vector (equal blocks). */
struct weft_program_facts {
    int rank;
    uint32_t num_steps;
    uint32_t num_sends, num_receives;
    uint32_t num_peers;
    uint32_t num_rounds; // of the global schedule: largest stamp + 1
    int64_t bytes_sent, bytes_received;
    int64_t scratch_bytes;
};
struct weft_program_facts weft_program_facts(const struct weft_plan *plan, int64_t bytes);

#endif
