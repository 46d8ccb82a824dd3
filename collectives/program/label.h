/*
 * SPDX-License-Identifier: Apache-2.0
 * Labels: what a value is made of, in 32 bytes instead of a formula.
 *
 * A label holds the logical cell, a keyed 128-bit sum over the contributing ranks (union is
 * addition, and "each exactly once" is equality with the expected sum), and a fingerprint of the
 * expression: the tree of two-operand combinations, with the two operands of one combination
 * interchangeable (every operation of the library is commutative to the bit) but not regrouped.
 *
 * The fingerprint is a polynomial identity test modulo the prime 2^61 - 1: a contribution of rank r
 * is a pseudo-random x_r, and combining a and b gives (a + K)(b + K). Different trees are different
 * polynomials, so unequal trees collide with probability at most (leaves / 2^61). Folding one more
 * contribution in is an affine map, and affine maps compose, so the label of a long fold costs O(1)
 * from prefix products: that is what lets one rank of 16,384 write down what its peers will send.
 */
#ifndef WEFT_COLLECTIVES_PROGRAM_LABEL_H
#define WEFT_COLLECTIVES_PROGRAM_LABEL_H

#include <stdbool.h>
#include <stdint.h>

typedef unsigned __int128 weft_sum;

struct weft_label {
    weft_sum sum;
    uint64_t expression;
    uint32_t cell;
    uint32_t is_defined; // 0: the location holds no value yet
};

/* The contribution of `rank` at `cell`. */
struct weft_label weft_label_leaf(int rank, uint32_t cell);
/* a combined with b; they must be of one cell. */
struct weft_label weft_label_combine(struct weft_label a, struct weft_label b);
bool weft_label_equal(struct weft_label a, struct weft_label b);
/* Sum over ranks [0, num_ranks). */
weft_sum weft_label_sum_all(int num_ranks);
/* One more word into a running 64-bit hash. */
uint64_t weft_hash_mix(uint64_t hash, uint64_t word);

/* Left folds over consecutive ranks of a circle: x_a, then combined with x_(a+1), and so on. */
struct weft_folds;
/* Over the circle order[0..num_ranks), NULL: 0, 1, 2, ... Returns NULL without memory. */
struct weft_folds *weft_folds_create(int num_ranks, const int *order);
/* The same over a circle of any values instead of ranks. */
struct weft_folds *weft_folds_create_of(const struct weft_label *values, int num_values);
void weft_folds_destroy(struct weft_folds **folds);
/* The fold of `count` places, 1 to num_ranks, that begins at place `first` (modulo num_ranks).
 * O(1). */
struct weft_label weft_folds_label(const struct weft_folds *folds, int first, int count,
                                   uint32_t cell);

#endif
