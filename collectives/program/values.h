/*
 * SPDX-License-Identifier: Apache-2.0
 * What every step and every memory cell of a machine holds after one run, as trees. The oracle
 * looks at the outputs, the restamping at the messages. Races must have been excluded before.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_VALUES_H
#define WEFT_COLLECTIVES_PROGRAM_VALUES_H

#include "collectives/program/machine.h"
#include "collectives/program/trees.h"

struct weft_values {
    const struct weft_machine *machine;
    struct weft_trees *trees; // not owned
    uint64_t *first_memory;   // (num_ranks + 1)
    uint64_t *first_result;   // (num_steps + 1)
    uint64_t *first_source;   // (num_steps + 1)
    uint32_t *memory;         // tree of every location of every rank
    uint32_t *results;        // (cells) of every step
    uint32_t *sources;        // (sources, cells) of every step
    bool *has_result;         // (num_steps)
};

weft_status weft_values_create(const struct weft_machine *machine, struct weft_trees *trees,
                               struct weft_values **values, struct weft_error *error);
void weft_values_destroy(struct weft_values **values);
/* Runs the events in `order`, rank r under aliasing[r]. Errors: UNPROVED for a value without
 * meaning, OUT_OF_MEMORY. */
weft_status weft_values_run(struct weft_values *values, const enum weft_aliasing *aliasing,
                            const uint32_t *order, uint32_t count, struct weft_error *error);
uint32_t weft_values_cell(const struct weft_values *values, int rank, enum weft_aliasing aliasing,
                          enum weft_space space, uint32_t cell);

#endif
