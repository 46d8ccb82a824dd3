/*
 * SPDX-License-Identifier: Apache-2.0
 * See label.h. Arithmetic modulo p = 2^61 - 1 with 128-bit products.
 */
#include "collectives/program/label.h"

#include <stdlib.h>

static const uint64_t prime = (UINT64_C(1) << 61) - 1;
static const uint64_t shift = UINT64_C(0x0f3a7c91d5b2e64d); // K; any constant below p but 0

static uint64_t scramble(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t reduce(unsigned __int128 x)
{
    uint64_t folded = (uint64_t)(x & prime) + (uint64_t)(x >> 61);
    return folded >= prime ? folded - prime : folded;
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
    return reduce((unsigned __int128)a * b);
}

static uint64_t add(uint64_t a, uint64_t b)
{
    uint64_t sum = a + b;
    return sum >= prime ? sum - prime : sum;
}

static uint64_t power(uint64_t base, uint64_t exponent)
{
    uint64_t result = 1;
    for (; exponent; exponent >>= 1, base = multiply(base, base))
        if (exponent & 1)
            result = multiply(result, base);
    return result;
}

static uint64_t leaf_expression(int rank)
{
    return scramble(scramble((uint64_t)rank) ^ UINT64_C(0x517cc1b727220a95)) % prime;
}

static weft_sum leaf_sum(int rank)
{
    uint64_t high = scramble((uint64_t)rank * 2 + 1), low = scramble(high ^ (uint64_t)rank);
    return ((weft_sum)high << 64) | low;
}

struct weft_label weft_label_leaf(int rank, uint32_t cell)
{
    return (struct weft_label){leaf_sum(rank), leaf_expression(rank), cell, 1};
}

struct weft_label weft_label_combine(struct weft_label a, struct weft_label b)
{
    uint64_t expression = multiply(add(a.expression, shift), add(b.expression, shift));
    return (struct weft_label){a.sum + b.sum, expression, a.cell, 1};
}

bool weft_label_equal(struct weft_label a, struct weft_label b)
{
    return a.is_defined == b.is_defined && a.cell == b.cell && a.sum == b.sum &&
           a.expression == b.expression;
}

weft_sum weft_label_sum_all(int num_ranks)
{
    weft_sum sum = 0;
    for (int rank = 0; rank < num_ranks; rank++)
        sum += leaf_sum(rank);
    return sum;
}

uint64_t weft_hash_mix(uint64_t hash, uint64_t word)
{
    return scramble(hash ^ scramble(word));
}

// The map x -> scale * x + offset.
struct affine {
    uint64_t scale;
    uint64_t offset;
};

struct weft_folds {
    int num_ranks;
    uint64_t *leaves;      // (num_ranks) expression of the leaf at each place
    struct affine *prefix; // (2 * num_ranks + 1) maps of places [0, i) folded in, in order
    uint64_t *inverse;     // (2 * num_ranks + 1) inverse of prefix[i].scale
    weft_sum *sums;        // (2 * num_ranks + 1)
};

static struct affine fold_in(struct affine map, uint64_t leaf)
{
    uint64_t factor = add(leaf, shift); // x -> (x + K)(leaf + K), after `map`
    return (struct affine){multiply(map.scale, factor), multiply(add(map.offset, shift), factor)};
}

// Montgomery's trick: one inversion for all of them.
static void invert_scales(struct weft_folds *folds, int length)
{
    uint64_t running = 1;
    for (int i = 0; i < length; i++) {
        folds->inverse[i] = running;
        running = multiply(running, folds->prefix[i].scale);
    }
    uint64_t inverse = power(running, prime - 2);
    for (int i = length - 1; i >= 0; i--) {
        folds->inverse[i] = multiply(folds->inverse[i], inverse);
        inverse = multiply(inverse, folds->prefix[i].scale);
    }
}

static struct weft_folds *allocate(int num_ranks)
{
    struct weft_folds *folds = calloc(1, sizeof *folds);
    if (!folds)
        return NULL;
    size_t length = 2 * (size_t)num_ranks + 1;
    folds->num_ranks = num_ranks;
    folds->leaves = malloc((size_t)num_ranks * sizeof *folds->leaves);
    folds->prefix = malloc(length * sizeof *folds->prefix);
    folds->inverse = malloc(length * sizeof *folds->inverse);
    folds->sums = malloc(length * sizeof *folds->sums);
    if (!folds->leaves || !folds->prefix || !folds->inverse || !folds->sums) {
        weft_folds_destroy(&folds);
        return NULL;
    }
    folds->prefix[0] = (struct affine){1, 0};
    folds->sums[0] = 0;
    return folds;
}

// The circle is walked twice: i below 2 * num_ranks.
static void walk_on(struct weft_folds *folds, int i, uint64_t expression, weft_sum sum)
{
    folds->leaves[i % folds->num_ranks] = expression;
    folds->prefix[i + 1] = fold_in(folds->prefix[i], expression);
    folds->sums[i + 1] = folds->sums[i] + sum;
}

struct weft_folds *weft_folds_create(int num_ranks, const int *order)
{
    struct weft_folds *folds = allocate(num_ranks);
    for (int i = 0; folds && i < 2 * num_ranks; i++) {
        int rank = order ? order[i % num_ranks] : i % num_ranks;
        walk_on(folds, i, leaf_expression(rank), leaf_sum(rank));
    }
    if (folds)
        invert_scales(folds, 2 * num_ranks + 1);
    return folds;
}

struct weft_folds *weft_folds_create_of(const struct weft_label *values, int num_values)
{
    struct weft_folds *folds = allocate(num_values);
    for (int i = 0; folds && i < 2 * num_values; i++)
        walk_on(folds, i, values[i % num_values].expression, values[i % num_values].sum);
    if (folds)
        invert_scales(folds, 2 * num_values + 1);
    return folds;
}

void weft_folds_destroy(struct weft_folds **folds)
{
    if (!*folds)
        return;
    free((*folds)->leaves);
    free((*folds)->prefix);
    free((*folds)->inverse);
    free((*folds)->sums);
    free(*folds);
    *folds = NULL;
}

struct weft_label weft_folds_label(const struct weft_folds *folds, int first, int count,
                                   uint32_t cell)
{
    first %= folds->num_ranks;
    first += first < 0 ? folds->num_ranks : 0;
    int begin = first + 1, end = first + count; // places folded into the first leaf
    struct affine before = folds->prefix[begin], after = folds->prefix[end];
    // after = between o before, so between(x) = scale * x + offset with
    uint64_t scale = multiply(after.scale, folds->inverse[begin]);
    uint64_t offset = add(after.offset, prime - multiply(scale, before.offset));
    uint64_t expression = add(multiply(scale, folds->leaves[first]), offset);
    return (struct weft_label){folds->sums[end] - folds->sums[first], expression, cell, 1};
}
