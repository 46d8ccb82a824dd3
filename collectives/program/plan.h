/*
 * SPDX-License-Identifier: Apache-2.0
 * A plan is a program that has been proved. weft_plan_create runs the check and is the only way to
 * make one, so the executor, which takes plans, cannot run an unproved program.
 *
 * What one rank proves alone, given the labels its peers promise to send: no two steps that may be
 * in flight together touch one cell of which one writes (under every aliasing the program claims),
 * nothing undefined is read, every message can move by its stamp given only messages with smaller
 * stamps, and at the end every output cell holds each wanted contribution exactly once, combined in
 * the declared order. Lane hashes make both ends of every lane confirm each other's promises;
 * together, by induction over stamps, that is: the right result on every rank, and no deadlock.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_PLAN_H
#define WEFT_COLLECTIVES_PROGRAM_PLAN_H

#include "collectives/program/program.h"

struct weft_plan;

struct weft_lane {
    uint32_t peer;
    uint32_t channel;
    uint32_t num_sends;
    uint32_t num_receives;
    uint64_t send_hash;    // of the (label, stamp, extent) sequence this rank sends
    uint64_t receive_hash; // of the one it was promised
};

/* Checks `*program`; on success the plan owns it and *program is NULL; on failure it stays with the
 * caller. Errors: INVALID_FORMAT (form), UNPROVED (meaning; the sentence names rank, step, reason),
 * OUT_OF_MEMORY. */
weft_status weft_plan_create(struct weft_program **program, struct weft_plan **plan,
                             struct weft_error *error);
void weft_plan_destroy(struct weft_plan **plan);
const struct weft_program *weft_plan_program(const struct weft_plan *plan);
/* Ordered by (channel, peer). */
const struct weft_lane *weft_plan_lanes(const struct weft_plan *plan, uint32_t *num_lanes);

/* Whether the lanes of two ranks' plans agree: what each sends is what the other was promised.
 * UNPROVED naming the lane otherwise. (At run time the hashes travel with the messages.) */
weft_status weft_plan_compare(const struct weft_plan *a, const struct weft_plan *b,
                              struct weft_error *error);
/* The same for all pairs of num_ranks plans. */
weft_status weft_plans_agree(struct weft_plan *const *plans, int num_ranks,
                             struct weft_error *error);

#endif
