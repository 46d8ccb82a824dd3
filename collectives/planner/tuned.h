/*
 * SPDX-License-Identifier: Apache-2.0
 * Tables of measured times, which count instead of prices: what `weft bench --tune --json` printed
 * of the same ranks on the same hosts, over the same transports. A file has any number of tables,
 * one after another; those of other ranks or links are passed over, and a later one replaces an
 * earlier one of the same collective and order.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_TUNED_H
#define WEFT_COLLECTIVES_PLANNER_TUNED_H

#include "collectives/planner/algorithm.h"

struct weft_tuned;

/* Whose tables count. */
struct weft_tuned_ranks {
    int num_ranks;
    const int *hosts;  // (num_ranks) of each rank, numbered from 0 in order of their first ranks
    const char *links; // what joins them, in the words of who measured
};

/* Hostile input; `name` is what error sentences call it. *tuned is NULL where no table is of these
 * ranks. `ranks` NULL: all tables are checked, none is kept. Errors: INVALID_FORMAT,
 * OUT_OF_MEMORY. */
weft_status weft_tuned_read(const char *text, size_t bytes, const char *name,
                            const struct weft_tuned_ranks *ranks, struct weft_tuned **tuned,
                            struct weft_error *error);
/* NULL of NULL. Errors: OUT_OF_MEMORY. */
weft_status weft_tuned_copy(const struct weft_tuned *tuned, struct weft_tuned **copy,
                            struct weft_error *error);
void weft_tuned_free(struct weft_tuned **tuned);

/* Picoseconds at the lower edge of the key's size class, in a straight line between measured sizes,
 * and as the smallest one below it; -1: not measured. `tuned` may be NULL. */
int64_t weft_tuned_time(const struct weft_tuned *tuned, const struct weft_algorithm *algorithm,
                        const struct weft_key *key);

#endif
