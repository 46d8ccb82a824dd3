/*
 * SPDX-License-Identifier: Apache-2.0
 * How long emitted programs take, flow by flow: the reference that closed-form estimates are held
 * to. Steps post, run and complete as program.h says. In detail:
 *
 * - A step posts once its rank's processor has spent step_ps on it. A message starts when both ends
 *   have posted and the sender's step has all its data (store and forward, step by step); after the
 *   fixed part of the cheapest line of its level's curve, chosen as if it were alone, its bytes
 *   flow, no faster than that line and shared max-min fairly on the arcs of its way (ways.h). Where
 *   a network says that the way is wider than the curve, all lines are faster by that factor.
 * - A rank's processor does one thing after another: combining, copying from memory to memory,
 *   steps. Combining in a step that receives goes on while the bytes arrive where the prices say
 *   that moving needs no processor (`overlaps`); the longer of the two counts. Where ranks share
 *   cores, all are taken to be busy. launch_ps is paid once.
 * - A message may end up to 1/1024 of its own duration early, so that those which end together are
 *   handled together.
 *
 * Integers; the same on every machine. Blocks are equal and pieces are cut as the executor does.
 * Slots of the flat path are not modelled: its programs are.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_EVALUATE_H
#define WEFT_COLLECTIVES_PLANNER_EVALUATE_H

#include "collectives/planner/algorithm.h"
#include "collectives/planner/ways.h"

struct weft_evaluation {
    int64_t time_ps; // a cut evaluation: of when it was given up
    bool is_cut;
    int64_t num_messages;  // of all ranks
    int64_t busiest_bytes; // through the busiest arc; of a fold, its share
    int busiest_permille;  // of the time at full rate
    char busiest[64];      // its name; "" without messages
    struct weft_fold fold; // num_blocks 1: every rank was there
    int num_arcs;
    int64_t *arc_bytes; // freed by weft_evaluation_free
};
void weft_evaluation_free(struct weft_evaluation *evaluation);

/* Of programs[r] of rank r, r below fold.block; {num_ranks, 1, false} for all ranks. Errors:
 * UNPROVED (they cannot finish or do not fit together; the sentence names rank and step),
 * UNSUPPORTED, NOT_FOUND (no way between two ranks), OUT_OF_MEMORY. */
weft_status weft_evaluate_programs(const struct weft_layout *layout, struct weft_fold fold,
                                   struct weft_program *const *programs, int64_t bytes,
                                   struct weft_evaluation *evaluation, struct weft_error *error);

enum weft_evaluate_how {
    WEFT_EVALUATE_FOLDED_OR_ALL,
    WEFT_EVALUATE_ALL,    // every rank
    WEFT_EVALUATE_FOLDED, // UNSUPPORTED where ranks are not alike
};
/* Emits and evaluates. On clusters whose groups are alike a few ranks stand for all: those of one
 * group, if programs of ranks sampled elsewhere are theirs up to a shift or XOR of group numbers,
 * and their ways pass arcs of the same kinds. Above 2048 ranks only so: else UNSUPPORTED. */
weft_status weft_evaluate(const struct weft_algorithm *algorithm, const struct weft_key *key,
                          const struct weft_layout *layout, int64_t bytes,
                          enum weft_evaluate_how how, struct weft_evaluation *evaluation,
                          struct weft_error *error);
/* The same, given up once it has taken longer than `limit_ps`: for those who want the fastest. */
weft_status weft_evaluate_within(const struct weft_algorithm *algorithm, const struct weft_key *key,
                                 const struct weft_layout *layout, int64_t bytes, int64_t limit_ps,
                                 struct weft_evaluation *evaluation, struct weft_error *error);

/* Bytes that each reference of a step stands for. */
int64_t weft_evaluate_step_bytes(const struct weft_program *program, const struct weft_step *step,
                                 int64_t bytes);

#endif
