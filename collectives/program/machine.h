/*
 * SPDX-License-Identifier: Apache-2.0
 * The machine of program.h, all ranks at once: sends matched with receives, and every event (a step
 * posts, a message moves, a step completes) with the events it waits for. Every wait is for all of
 * its events, never for one of several, so running whatever can run reaches everything that any
 * interleaving reaches: one run decides deadlock, one run without an event decides what needs it.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_MACHINE_H
#define WEFT_COLLECTIVES_PROGRAM_MACHINE_H

#include "collectives/program/program.h"

struct weft_machine_message {
    uint32_t sender, receiver;           // global numbers of steps
    uint32_t sender_slot, receiver_slot; // of the two references
};

struct weft_machine {
    const struct weft_program *const *programs;
    int num_ranks;
    /* Steps of all ranks are numbered through, and so are their references ("slots", those of a
     * step in the order of its references). */
    uint32_t num_steps, num_slots, num_messages;
    uint32_t *first_step;      // (num_ranks + 1)
    uint32_t *rank_of_step;    // (num_steps)
    uint32_t *first_slot;      // (num_steps + 1)
    uint32_t *message_of_slot; // (num_slots) lanes only
    struct weft_machine_message *messages;
    /* Events: 2 * step posts, 2 * step + 1 completes, 2 * num_steps + message moves. */
    uint32_t num_events;
    uint32_t *num_waits; // (num_events) events it waits for
    uint32_t *first_next;
    uint32_t *next; // those that wait for it
};

static const uint32_t weft_no_event = UINT32_MAX;

/* The programs are valid, programs[r] is rank r's; they must outlive the machine. Errors: UNPROVED
 * for a send or receive without its other end, or with one of another extent; INVALID_ARGUMENT for
 * programs too large for this method; OUT_OF_MEMORY. */
weft_status weft_machine_create(const struct weft_program *const *programs, int num_ranks,
                                struct weft_machine **machine, struct weft_error *error);
void weft_machine_destroy(struct weft_machine **machine);
/* Runs every event that can be reached while `withheld` (or weft_no_event) never happens. `order`
 * (num_events entries) gets them in an order in which they can happen, `happened` (num_events) a
 * mark for each of them. `waits` (num_events) is scratch. Returns how many. */
uint32_t weft_machine_run(const struct weft_machine *machine, uint32_t withheld, uint32_t *order,
                          bool *happened, uint32_t *waits);

static inline const struct weft_program *weft_machine_program(const struct weft_machine *machine,
                                                              uint32_t step)
{
    return machine->programs[machine->rank_of_step[step]];
}
static inline const struct weft_step *weft_machine_step(const struct weft_machine *machine,
                                                        uint32_t step)
{
    uint32_t rank = machine->rank_of_step[step];
    return &machine->programs[rank]->steps[step - machine->first_step[rank]];
}
/* The step's number in its own program. */
static inline uint32_t weft_machine_local(const struct weft_machine *machine, uint32_t step)
{
    return step - machine->first_step[machine->rank_of_step[step]];
}

#endif
