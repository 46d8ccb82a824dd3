/*
 * SPDX-License-Identifier: Apache-2.0
 * What the files of the evaluation share: programs laid out flat, steps and messages numbered
 * through, both ends of every message known.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_EVALUATE_PRIVATE_H
#define WEFT_COLLECTIVES_PLANNER_EVALUATE_PRIVATE_H

#include "collectives/planner/evaluate.h"

#define WEFT_NO_NUMBER UINT32_MAX

struct weft_eval_step {
    const struct weft_step *step;
    int rank;
    uint32_t first_ref; // number of its first reference
    uint32_t next;      // in its channel
    uint32_t first_dependent;
    int64_t bytes;
    int64_t local_ps;                 // combining and copying
    int64_t local_end_ps;             // once it has begun; -1: not yet
    uint32_t num_waiting;             // dependencies
    uint16_t num_receives, num_sends; // not yet ended
    bool is_posted, is_complete;
};

struct weft_eval_message {
    uint32_t from_step, to_step;
    int to; // the rank it goes to, as the sender names it
    int64_t begin_ps;
    int64_t end_ps; // while it flows
    int flow;
    uint32_t place; // among those that flow
    uint32_t next;  // in its lane
    bool is_ready, is_awaited;
    bool is_behind; // the one before it in its lane has not ended yet
    bool is_begun;  // its fixed time is over
};

struct weft_eval_set {
    const struct weft_layout *layout;
    struct weft_fold fold;
    struct weft_program *const *programs;
    int64_t bytes;
    uint32_t num_steps, num_refs, num_dependents, num_messages, num_channels;
    uint32_t *first_step, *first_channel; // (block + 1) of each rank
    struct weft_eval_step *steps;
    uint32_t *dependents;
    uint32_t *message_of; // (refs)
    uint32_t *cursor;     // (channels) the next step to post
    struct weft_eval_message *messages;
};
/* Errors: as weft_evaluate_programs. Free in either case. */
weft_status weft_eval_set_make(struct weft_eval_set *set, struct weft_error *error);
void weft_eval_set_free(struct weft_eval_set *set);

/* weft_evaluate_programs, given up after limit_ps. */
weft_status weft_eval_programs_within(const struct weft_layout *layout, struct weft_fold fold,
                                      struct weft_program *const *programs, int64_t bytes,
                                      int64_t limit_ps, struct weft_evaluation *evaluation,
                                      struct weft_error *error);

#endif
