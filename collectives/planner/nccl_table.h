/*
 * SPDX-License-Identifier: Apache-2.0
 * The reference that the emulation of NCCL is held to: for eight clusters, the time of 8 B and the
 * sizes at which NCCL's choice for an all-reduce changes.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_NCCL_TABLE_H
#define WEFT_COLLECTIVES_PLANNER_NCCL_TABLE_H

#include "collectives/planner/nccl_model.h"

enum { WEFT_NCCL_REFERENCES = 8, WEFT_NCCL_REFERENCE_CHOICES = 4 };

enum weft_nccl_claim {
    WEFT_NCCL_ALL_CHOICES,   // these and no others
    WEFT_NCCL_LAST_CHOICE,   // the reference states the last one only
    WEFT_NCCL_ONE_ALGORITHM, // the same algorithm at every size
};

struct weft_nccl_reference {
    const char *cluster;
    struct weft_nccl_input input;
    double first_us, accuracy_us; // of 8 B
    enum weft_nccl_claim claim;
    int num_choices;
    struct weft_nccl_choice {
        uint64_t bytes; // from here on
        enum weft_nccl_algorithm algorithm;
        enum weft_nccl_protocol protocol;
    } choices[WEFT_NCCL_REFERENCE_CHOICES];
};
extern const struct weft_nccl_reference weft_nccl_references[WEFT_NCCL_REFERENCES];

/* Our choices, 8 B to 16 GiB, and whether they are the reference's. `rows` has
 * WEFT_NCCL_MAX_CROSSOVERS entries. Errors: those of weft_nccl_crossovers. */
weft_status weft_nccl_reference_check(const struct weft_nccl_reference *reference,
                                      struct weft_nccl_crossover *rows, int *num_rows,
                                      bool *is_equal, struct weft_error *error);

#endif
