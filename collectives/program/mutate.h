/*
 * SPDX-License-Identifier: Apache-2.0
 * Broken programs on purpose: one step of one rank of a good set of programs is changed, and the
 * local check with the comparison of lanes is held against the oracle. For tests and `weft verify
 * --mutate`; nothing else uses it.
 *
 * The check may refuse what the oracle accepts for one reason only: stamps and promises are
 * witnesses, and a change that does no harm can leave them stale. Such a set is given new ones
 * (weft_oracle_restamp) and must then be accepted. And so that no refusal rests on stale witnesses
 * alone, every mutant that runs to its end is judged once more with all of them renewed
 * (weft_oracle_redeclare): then both must say the same.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_MUTATE_H
#define WEFT_COLLECTIVES_PROGRAM_MUTATE_H

#include "collectives/program/program.h"

enum weft_mutation {
    WEFT_DROP_STEP,
    WEFT_SWAP_STEPS, // of one channel; dependencies follow the steps
    WEFT_RETARGET,   // another cell, space, peer or channel
    WEFT_RESIZE,     // more or fewer cells, or scratch of another extent
    WEFT_LOSE_DEPENDENCY,
    WEFT_ADD_DEPENDENCY,
    WEFT_SWAP_SOURCES,
    WEFT_FALSIFY_STAMP,
    WEFT_FALSIFY_PROMISE,
    WEFT_FALSIFY_RESULT,
    WEFT_NUM_MUTATIONS,
};
extern const char *const weft_mutation_names[WEFT_NUM_MUTATIONS];

enum weft_verdict {
    WEFT_REFUSED_BY_BOTH,
    WEFT_ACCEPTED_BY_BOTH,
    WEFT_ACCEPTED_RESTAMPED, // by the check, once the witnesses were renewed
    WEFT_WRONGLY_ACCEPTED,   // by the check: the one thing that must never happen
    WEFT_WRONGLY_REFUSED,    // by the check, renewed witnesses or not
    WEFT_NUM_VERDICTS,
};
extern const char *const weft_verdict_names[WEFT_NUM_VERDICTS];

struct weft_mutation_report {
    enum weft_mutation mutation; // the last one
    enum weft_verdict verdict;
    bool is_malformed;        // not even a program; both refuse without looking further
    bool is_order_by_message; // a race, but for an order that only other ranks' messages make
    bool is_renewed;          // judged once more with nothing stale; the next two say how
    bool is_renewed_wrong;    // check and oracle differed then
    bool is_renewed_accepted; // both accepted then
    bool is_unnamed;          // a refusal that does not name rank and step
    char change[160];         // what was changed (the last change)
    struct weft_error oracle, check;
};

/* A sequence of numbers that the seed alone decides. */
struct weft_random {
    uint64_t state;
};
uint32_t weft_random_below(struct weft_random *random, uint32_t bound);

/* Changes `program` (rank and step by chance, `mutation` as said) and describes the change. false:
 * nothing in it can be changed so. The result may be malformed. Errors of memory also give false.
 */
bool weft_mutate(struct weft_program *program, enum weft_mutation mutation,
                 struct weft_random *random, char change[160]);
/* Local check of every program and comparison of all lanes; the programs stay the caller's. */
weft_status weft_programs_check(struct weft_program *const *programs, int num_ranks,
                                struct weft_error *error);
/* Holds the check against the oracle over one set of programs, which gets new witnesses and results
 * on the way. `report` gets everything but the change. */
weft_status weft_mutation_judge(struct weft_program *const *programs, int num_ranks,
                                struct weft_mutation_report *report, struct weft_error *error);
/* Copies the set, makes `num_changes` changes by chance (1: a one-step mutation) and judges it. On
 * success *mutants holds the changed programs if `mutants` is not NULL (num_ranks of them, the
 * caller's). */
weft_status weft_mutation_try(struct weft_program *const *programs, int num_ranks, int num_changes,
                              struct weft_random *random, struct weft_mutation_report *report,
                              struct weft_program **mutants, struct weft_error *error);

#endif
