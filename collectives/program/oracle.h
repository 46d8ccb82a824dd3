/*
 * SPDX-License-Identifier: Apache-2.0
 * The oracle: the brute-force verifier over the programs of all ranks. It shares nothing with the
 * local check but the definition of a program: no promises, no stamps, no fingerprints; it joins
 * all programs into one machine, runs it and looks at every value as the expression it is. Tests
 * and `weft verify` hold the check against it; it must not be used where a plan is made.
 *
 * What it refuses, all under the rendezvous of program.h:
 *  - a message that only one end knows, or whose ends differ in extent; programs that are not of
 *    one collective;
 *  - a deadlock;
 *  - a race: two steps of one rank that touch one location, one of them writing, and that may be in
 *    flight together; or one step that reads and writes overlapping cells at different offsets;
 *  - a value without meaning, used or not: read before written, or combined of different cells;
 *  - an output cell that does not end with exactly the wanted contributions, combined as declared;
 *    a replicated one that is not combined alike on all ranks.
 * Each under every aliasing that a program claims; which one a rank runs is its own choice, so
 * mixed choices are tried too.
 *
 * Whether two steps may be in flight together is decided by what the rank's own program orders, as
 * in precedence.h and for its reason; weft_oracle_verify_model takes the machine at its word.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_ORACLE_H
#define WEFT_COLLECTIVES_PROGRAM_ORACLE_H

#include "collectives/program/program.h"

enum { WEFT_ORACLE_RANKS_LIMIT = 256 };

/* programs[r] is rank r's. Errors: INVALID_ARGUMENT (too many ranks, too large), INVALID_FORMAT (of
 * a program), UNPROVED (the sentence names rank, step and reason), OUT_OF_MEMORY. */
weft_status weft_oracle_verify(const struct weft_program *const *programs, int num_ranks,
                               struct weft_error *error);
/* The same, but two steps also count as ordered when only messages through other ranks order them:
 * exactly what an exploration of all interleavings of the machine finds. */
weft_status weft_oracle_verify_model(const struct weft_program *const *programs, int num_ranks,
                                     struct weft_error *error);
/* Writes new stamps and promises into all programs: those of a run in which everything happens as
 * early as it can. They prove nothing, they only let the check see what is so. On failure (no such
 * run: UNPROVED) the programs are unchanged. */
weft_status weft_oracle_restamp(struct weft_program *const *programs, int num_ranks,
                                struct weft_error *error);
/* The same, and every rank declares as its results whatever it ends with: nothing is stale any
 * more, and what is still wrong is wrong in itself. */
weft_status weft_oracle_redeclare(struct weft_program *const *programs, int num_ranks,
                                  struct weft_error *error);

#endif
