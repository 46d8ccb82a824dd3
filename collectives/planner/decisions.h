/*
 * SPDX-License-Identifier: Apache-2.0
 * The decision table: which algorithm for every collective, order and size class, at one number of
 * ranks. One rank makes it from its layout and sends it to the others, so that nothing a rank
 * believes about the machine can make it choose otherwise. The wire form is less than 4 KiB, the
 * same on every machine, and read as hostile.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_DECISIONS_H
#define WEFT_COLLECTIVES_PLANNER_DECISIONS_H

#include "base/dtype.h"
#include "collectives/planner/algorithm.h"

enum {
    WEFT_NUM_ORDERS = 2,
    WEFT_NUM_SIZE_CLASSES = 64, // -1 .. 62
    WEFT_DECISIONS_BYTES = 24 + WEFT_NUM_ORDERS * WEFT_NUM_COLLECTIVES * WEFT_NUM_SIZE_CLASSES,
};
_Static_assert(WEFT_DECISIONS_BYTES <= 4096, "a decision table fits a small message");

struct weft_decisions {
    int32_t num_ranks;
    uint8_t algorithms[WEFT_NUM_ORDERS][WEFT_NUM_COLLECTIVES]
                      [WEFT_NUM_SIZE_CLASSES]; // of the table
};

/* Errors: UNSUPPORTED. */
weft_status weft_decisions_make(const struct weft_layout *layout, struct weft_decisions *decisions,
                                struct weft_error *error);
/* NULL if the table is for another number of ranks. */
const struct weft_algorithm *weft_decisions_algorithm(const struct weft_decisions *decisions,
                                                      const struct weft_key *key);
/* Equal tables, and equal lists of algorithms, have equal hashes. */
uint64_t weft_decisions_hash(const struct weft_decisions *decisions);
/* Fills bytes[WEFT_DECISIONS_BYTES]. */
void weft_decisions_write(const struct weft_decisions *decisions, unsigned char *bytes);
/* Errors: INVALID_FORMAT: not a table, damaged, from a build with other algorithms, of
 * another number of ranks, or with a choice that cannot be. */
weft_status weft_decisions_read(const unsigned char *bytes, size_t num_bytes,
                                const struct weft_layout *layout, struct weft_decisions *decisions,
                                struct weft_error *error);

#endif
