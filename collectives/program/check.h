/*
 * SPDX-License-Identifier: Apache-2.0
 * What the comparison of plans asks of the check when two lane hashes differ: the messages one by
 * one, so that the refusal can name the step. plan.h is the way in for everyone else.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_CHECK_H
#define WEFT_COLLECTIVES_PROGRAM_CHECK_H

#include "collectives/program/plan.h"

struct weft_traced {
    uint32_t step;
    uint64_t hash; // of (label, stamp, extent)
};

/* The messages of one lane in one direction. The caller sets the first three fields, the rest to 0,
 * and frees `messages` in any case. */
struct weft_trace {
    uint32_t peer;
    uint32_t channel;
    bool is_send;
    uint32_t count;
    struct weft_traced *messages;
};

/* `program` has passed the check. */
weft_status weft_check_trace(const struct weft_program *program, struct weft_trace *trace,
                             struct weft_error *error);

#endif
