/*
 * SPDX-License-Identifier: Apache-2.0
 * Choosing an algorithm, and the plan that comes of it. A choice is a function of the key and the
 * layout alone, both equal on all ranks, so ranks cannot disagree; ties go to the earlier line of
 * the table. A plan that fails its check is a bug: it is logged, and the next candidate is taken
 * (lane hashes tell should the ranks then differ).
 */
#ifndef WEFT_COLLECTIVES_PLANNER_CHOICE_H
#define WEFT_COLLECTIVES_PLANNER_CHOICE_H

#include "base/dtype.h"
#include "collectives/planner/algorithm.h"
#include "collectives/program/plan.h"

enum { WEFT_CANDIDATES_LIMIT = 16 };

struct weft_candidate {
    const struct weft_algorithm *algorithm;
    const char *reason;  // why not, a static sentence; NULL: it can
    int64_t estimate_ps; // -1 where it cannot
    bool is_measured;    // and not a price
    int64_t latency_ps;  // the part that does not grow with the bytes
};

/* Usable candidates first, the cheapest at the front, those with measured times before those with
 * prices; then the others in table order. */
struct weft_choice {
    struct weft_key key;
    const struct weft_layout *layout;
    int num_candidates;
    int num_usable;
    struct weft_candidate candidates[WEFT_CANDIDATES_LIMIT];
};

/* INVALID_ARGUMENT unless every field is in range. */
weft_status weft_key_check(const struct weft_key *key, struct weft_error *error);
/* floor(log2(bytes)), -1 for 0. */
int weft_size_class(uint64_t bytes);
/* NULL: `algorithm` can do it; else a static sentence why not. */
const char *weft_algorithm_refusal(const struct weft_algorithm *algorithm,
                                   const struct weft_key *key, const struct weft_layout *layout);
/* What it is to take: measured, where the layout has that, else its price. It must support the key.
 */
int64_t weft_algorithm_predict(const struct weft_algorithm *algorithm, const struct weft_key *key,
                               const struct weft_layout *layout);
/* The layout is borrowed. Errors: INVALID_ARGUMENT (key; not of as many ranks as the layout),
 * UNSUPPORTED (nothing can). */
weft_status weft_choice_make(const struct weft_key *key, const struct weft_layout *layout,
                             struct weft_choice *choice, struct weft_error *error);

/* Forced algorithms, one per collective; NULL: the planner chooses. */
struct weft_forced {
    const struct weft_algorithm *algorithms[WEFT_NUM_COLLECTIVES];
};
/* Of WEFT_ALGORITHM: "ring" (wherever it can), or "all_reduce:ring,broadcast:tree"; "" forces
 * nothing. Errors: INVALID_ARGUMENT naming what is not known and what is. */
weft_status weft_forced_parse(const char *text, struct weft_forced *forced,
                              struct weft_error *error);
/* The algorithm of that name if it can do `key`. Errors: INVALID_ARGUMENT (no such name),
 * UNSUPPORTED (why not); both list what is possible. */
weft_status weft_algorithm_require(const char *name, const struct weft_key *key,
                                   const struct weft_layout *layout,
                                   const struct weft_algorithm **algorithm,
                                   struct weft_error *error);

/* The plan of `rank` by the first usable candidate whose program passes its check; the failures are
 * logged. Errors: UNPROVED (all failed), OUT_OF_MEMORY. *algorithm may be NULL. */
weft_status weft_plan_from_choice(const struct weft_choice *choice, int rank, unsigned aliasing,
                                  struct weft_plan **plan, const struct weft_algorithm **algorithm,
                                  struct weft_error *error);

struct weft_decisions;
struct weft_plan_request {
    struct weft_key key;
    int rank;
    unsigned aliasing; // all_to_all(v): one of them
    const struct weft_layout *layout;
    const struct weft_decisions *decisions; // agreed beforehand; NULL: from the layout
    const char *algorithm;                  // forced by name; NULL or "": not
};
/* The plan of this rank. Errors: INVALID_ARGUMENT, UNSUPPORTED, OUT_OF_MEMORY, UNPROVED (a forced
 * algorithm, or all of them, failed the check). *algorithm may be NULL. */
weft_status weft_plan_make(const struct weft_plan_request *request, struct weft_plan **plan,
                           const struct weft_algorithm **algorithm, struct weft_error *error);

#endif
