/*
 * SPDX-License-Identifier: Apache-2.0
 * What an algorithm is: a name, whether it can do a request on a layout, a closed-form price, and a
 * pure function that writes the program of any one rank without building the others'. No I/O, no
 * clock, no state; equal inputs give equal outputs on every machine (prices are integers). A new
 * algorithm is one file and one line in the table.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_ALGORITHM_H
#define WEFT_COLLECTIVES_PLANNER_ALGORITHM_H

#include "collectives/planner/layout.h"
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
    /* Reproducible reductions; 0 and NULL: one leaf per rank. See shape.h. */
    uint32_t num_leaves;
    const uint32_t *leaf_bounds; // (num_ranks + 1)
};

enum weft_counts {
    WEFT_COUNTS_AGREED,   // needs sizes that every rank knows
    WEFT_COUNTS_PAIRWISE, // works when only the two ends of a message know its size
};

/* All slots are mandatory; false is an answer too. */
struct weft_algorithm {
    const char *name;
    const char *description; // one line
    enum weft_counts counts;
    /* NULL: yes. Otherwise a static sentence why not. `layout` NULL: on a suitable one. */
    const char *(*supports)(const struct weft_key *key, const struct weft_layout *layout);
    /* Picoseconds, closed form, for the size class's lower edge. */
    int64_t (*estimate)(const struct weft_key *key, const struct weft_layout *layout);
    /* The program of `rank`. `aliasing`: see builder.h; all ranks' programs fit together whatever
     * aliasing each of them was written for. Of a rank with several parts: out of place only.
     * Errors: OUT_OF_MEMORY. */
    weft_status (*emit)(const struct weft_key *key, const struct weft_layout *layout, int rank,
                        unsigned aliasing, struct weft_program **program, struct weft_error *error);
    bool takes_spans; // does what it supports with num_leaves in the key too
};

/* In the order in which ties are decided; NULL at the end. */
extern const struct weft_algorithm *const weft_algorithms[];
const struct weft_algorithm *weft_algorithm_find(const char *name);

#endif
