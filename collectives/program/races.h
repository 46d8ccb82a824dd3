/*
 * SPDX-License-Identifier: Apache-2.0
 * The oracle's search for races: every pair of steps of one rank that touch one location, one of
 * them writing, against plain reachability. No cleverness, and nothing shared with precedence.c.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_RACES_H
#define WEFT_COLLECTIVES_PROGRAM_RACES_H

#include "collectives/program/machine.h"

/* No two conflicting steps of `rank` may be in flight together under `aliasing`. `model`: steps
 * that only messages order count as ordered. Errors: UNPROVED, OUT_OF_MEMORY. */
weft_status weft_races_check(const struct weft_machine *machine, int rank,
                             enum weft_aliasing aliasing, bool model, struct weft_error *error);

#endif
