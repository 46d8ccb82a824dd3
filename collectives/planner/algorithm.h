/*
 * SPDX-License-Identifier: Apache-2.0
 * What an algorithm is: a name, whether it can do a request, a closed-form price, and a pure
 * function that writes the program of any one rank without building the others'. No I/O, no clock,
 * no state; equal inputs give equal outputs on every machine (prices are integers).
 * A new algorithm is one file and one line in the table.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_ALGORITHM_H
#define WEFT_COLLECTIVES_PLANNER_ALGORITHM_H

#include "collectives/program/builder.h"

/* The only input to the choice of a plan: every field is equal on all ranks of a call (send, recv:
 * the two ends differ in collective and root, on which no choice depends). */
struct weft_key {
    weft_collective collective;
    int num_ranks;
    int root; // broadcast, reduce; send, recv: the peer; otherwise 0
    int element_bytes;
    int size_class; // floor(log2(bytes of the whole logical vector)), -1 for 0 bytes
    weft_order order;
};

/* Prices of this set of ranks, as the slowest pair of ranks sees them. Integers: costs computed
 * from them are equal on all machines. */
struct weft_costs {
    int64_t message_ps;          // fixed cost of one message, end to end
    int64_t transfer_ps_per_kib; // moving 1024 bytes from one rank to another
    int64_t combine_ps_per_kib;  // combining 1024 bytes with 1024 bytes
    int64_t copy_ps_per_kib;
    int64_t step_ps;    // executor overhead per step
    int64_t flat_ps;    // one exchange through flat shared-memory slots; -1: not available
    int64_t flat_bytes; // what one rank may put into such a slot
    int32_t sharing;    // ranks that share one core at the same time, >= 1
    int32_t crossing;   // neighbouring ranks behind one link out of a host, >= 1; 1 on one machine
};

enum weft_counts {
    WEFT_COUNTS_AGREED,   // needs sizes that every rank knows
    WEFT_COUNTS_PAIRWISE, // works when only the two ends of a message know its size
};

/* All slots are mandatory. */
struct weft_algorithm {
    const char *name;
    const char *description; // one line
    enum weft_counts counts;
    /* NULL: yes. Otherwise a static sentence why not. */
    const char *(*supports)(const struct weft_key *key);
    /* Picoseconds, closed form, for the size class's lower edge. */
    int64_t (*estimate)(const struct weft_key *key, const struct weft_costs *costs);
    /* The program of `rank`. `aliasing`: see builder.h; all ranks' programs fit together whatever
     * aliasing each of them was written for. Errors: OUT_OF_MEMORY. */
    weft_status (*emit)(const struct weft_key *key, int rank, unsigned aliasing,
                        struct weft_program **program, struct weft_error *error);
};

/* In the order in which ties are decided; NULL at the end. */
extern const struct weft_algorithm *const weft_algorithms[];
const struct weft_algorithm *weft_algorithm_find(const char *name);

#endif
