/*
 * SPDX-License-Identifier: Apache-2.0
 * Small good programs for the tests of this folder, written with nothing but the builder, so that
 * these tests stand on their own: other shapes (fused steps, two channels, relays) than the
 * planner's algorithms have, at any number of ranks from 2 to 8.
 */
#ifndef WEFT_TESTS_PROGRAM_SAMPLES_H
#define WEFT_TESTS_PROGRAM_SAMPLES_H

#include "collectives/program/builder.h"

struct sample {
    const char *name;
    weft_collective collective;
    uint32_t pieces_per_rank; // pieces = this * num_ranks; 0: one piece
    int most_ranks;
    void (*write)(struct weft_builder *builder, const struct weft_shape *shape);
};

extern const struct sample samples[];
extern const int num_samples;

/* The program of one rank; fails the running test on error. */
struct weft_program *sample_program(const struct sample *sample, int num_ranks, int rank,
                                    unsigned aliasing);
/* Of all ranks, into programs[0 .. num_ranks). */
void sample_programs(const struct sample *sample, int num_ranks, unsigned aliasing,
                     struct weft_program **programs);
void destroy_programs(struct weft_program **programs, int num_ranks);

#endif
