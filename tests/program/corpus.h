/*
 * SPDX-License-Identifier: Apache-2.0
 * Good sets of programs to break: the samples of this folder and what every algorithm in the
 * planner's table emits, for every collective, number of ranks and aliasing.
 */
#ifndef WEFT_TESTS_PROGRAM_CORPUS_H
#define WEFT_TESTS_PROGRAM_CORPUS_H

#include "collectives/program/program.h"

enum { CORPUS_RANKS_LIMIT = 6, SETS_LIMIT = 4096 };

struct program_set {
    char name[64];
    int num_ranks;
    struct weft_program *programs[CORPUS_RANKS_LIMIT];
};

struct corpus {
    struct program_set sets[SETS_LIMIT];
    int count;
};

/* 2 to `most_ranks` ranks. Fails the running test on error. */
struct corpus *build_corpus(int most_ranks);
void destroy_corpus(struct corpus *corpus);

#endif
