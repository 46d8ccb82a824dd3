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

/* Of a step, as its plan has it. */
struct step_form {
    uint16_t lane_sources, lane_destinations;
    bool is_staged;       // received values need room of their own: they cannot go to their place
    uint32_t destination; // its first reference to memory among destinations; NO_REFERENCE: none
};
enum { NO_REFERENCE = UINT32_MAX };

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
    struct step_form *forms; // (steps)

    // Per size.
    bool is_laid_out;
    struct weft_sizes laid_sizes;
    size_t laid_element_bytes;
    size_t *offset;     // (refs) bytes from the beginning of its memory; not of lanes
    size_t *step_bytes; // (steps) of its extent

    // Per launch.
    char *bases[WEFT_LANE]; // input, output, scratch
    struct step_state *states;
    struct run_transfer *transfers;
    uint32_t num_transfers;
    uint32_t next[WEFT_CHANNELS_LIMIT]; // position in channel_steps
    size_t *scratch_offset;             // (scratch + 1) bytes
    char *scratch;
    size_t scratch_room;
};

/* Where a reference to memory is. */
static inline char *weft_run_address(const struct weft_run *run, uint32_t number)
{
    return run->bases[run->program->refs[number].space] + run->offset[number];
}
/* Room 0 of a step takes its result, room 1 + i its i-th source. */
char *weft_run_stage(const struct weft_run *run, uint32_t step, int number);
/* Where everything is in the current launch; nothing is worked out again for equal sizes. Errors:
 * OUT_OF_MEMORY. */
weft_status weft_run_lay_out(struct weft_run *run, struct weft_error *error);

#endif
