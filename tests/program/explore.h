/*
 * SPDX-License-Identifier: Apache-2.0
 * The most naive judge: walks through every interleaving of posting, moving and completing that
 * program.h allows, memory contents included, and looks for a state in which two conflicting steps
 * are in flight, nothing can go on, or the end is wrong. For small programs; the oracle, which
 * argues that one order is enough, is held against it.
 */
#ifndef WEFT_TESTS_PROGRAM_EXPLORE_H
#define WEFT_TESTS_PROGRAM_EXPLORE_H

#include "collectives/program/program.h"

enum explored {
    EXPLORED_RIGHT,  // every interleaving ends right
    EXPLORED_WRONG,  // this one does not: see the text
    EXPLORED_PARTLY, // nothing wrong in the states that were allowed
};

/* Valid programs of up to 8 ranks; rank r runs under aliasing[r]. `eager`: steps post as soon as
 * they can. That leaves nothing out (posting changes no memory and stands in no other event's way,
 * and more steps in flight are more races) and makes four ranks small enough. *num_states: seen. */
enum explored explore(const struct weft_program *const *programs, int num_ranks,
                      const enum weft_aliasing *aliasing, bool eager, size_t states_limit,
                      size_t *num_states, char text[256]);

#endif
