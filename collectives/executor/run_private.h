/*
 * SPDX-License-Identifier: Apache-2.0
 * What the two halves of a run share: its tables and layout (run_layout.c) and its motion (run.c).
 */
#ifndef WEFT_COLLECTIVES_EXECUTOR_RUN_PRIVATE_H
#define WEFT_COLLECTIVES_EXECUTOR_RUN_PRIVATE_H

#include "collectives/executor/run.h"

enum phase { WAITING, RECEIVING, SENDING, COMPLETE };

struct step_state {
    uint32_t pending_dependencies;
    uint16_t pending_messages;
    uint8_t phase;
    char *value; // where the step's result is, once it has one
};

struct run_transfer {
    struct weft_transfer transfer;
    struct weft_run *run;
    uint32_t step;
    uint32_t ref;
    bool is_active;
};

struct weft_run {
    const struct weft_plan *plan;
    const struct weft_program *program;
    struct weft_launch launch;
    bool is_idle, is_pumping, wants_pump;
    uint32_t steps_left;
    uint64_t bytes_sent;
    struct weft_transfer failure;
    int failed_peer;

    // Per plan.
    uint32_t *dependents_first; // (steps + 1)
    uint32_t *dependents;
    uint32_t *channel_first; // (channels + 1)
    uint32_t *channel_steps; // steps by channel
    uint32_t *message_index; // (refs) k of the k-th message of the lane
    uint64_t *lane_hash;     // (refs)
    uint32_t *transfer_of;   // (refs) number in transfers

    // Per launch.
    struct step_state *states;
    struct run_transfer *transfers;
    uint32_t num_transfers;
    uint32_t next[WEFT_CHANNELS_LIMIT]; // position in channel_steps
    size_t *scratch_offset;             // (scratch + 1) bytes
    char *scratch;
    size_t scratch_room;
};

/* Bytes of the extent of a step, in the current launch. */
size_t weft_run_step_bytes(const struct weft_run *run, const struct weft_step *step);
/* Where a memory reference is; NULL for a lane. */
char *weft_run_address(const struct weft_run *run, const struct weft_ref *ref);
int weft_run_lane_sources(const struct weft_run *run, const struct weft_step *step);
int weft_run_lane_destinations(const struct weft_run *run, const struct weft_step *step);
/* Whether received values of a step need room of their own: they cannot go straight to their place.
 */
bool weft_run_needs_stages(const struct weft_step *step, int lanes, int memory_destinations);
/* Room 0 of a step takes its result, room 1 + i its i-th source. */
char *weft_run_stage(const struct weft_run *run, uint32_t step, int number);
/* Lays out scratch cells and stages for the current launch. Errors: OUT_OF_MEMORY. */
weft_status weft_run_lay_out(struct weft_run *run, struct weft_error *error);

#endif
