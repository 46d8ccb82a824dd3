/*
 * SPDX-License-Identifier: Apache-2.0
 * Random numbers without a state: a number is a function of a key and a counter. So what is drawn
 * depends on what it is for (this tensor's element, this step's sequence), never on which rank
 * draws it or on what was drawn before.
 */
#ifndef WEFT_TRAINER_RANDOM_H
#define WEFT_TRAINER_RANDOM_H

#include <math.h>
#include <stdint.h>

/* Mixes 64 bits so that every input bit touches every output bit (the finaliser of SplitMix64). */
static inline uint64_t weft_random_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint64_t weft_random_key(uint64_t key, uint64_t part)
{
    return weft_random_mix(key * 0x9e3779b97f4a7c15u + weft_random_mix(part + 0x632be59bd9b4e019u));
}

static inline uint64_t weft_random_bits(uint64_t key, uint64_t counter)
{
    return weft_random_mix(weft_random_mix(key) + counter * 0x9e3779b97f4a7c15u);
}

/* In [0, 1). */
static inline double weft_random_uniform(uint64_t key, uint64_t counter)
{
    return (double)(weft_random_bits(key, counter) >> 11) * 0x1p-53;
}

/* In [0, limit), limit >= 1; the bias is below limit / 2^64. */
static inline uint64_t weft_random_below(uint64_t key, uint64_t counter, uint64_t limit)
{
    return weft_random_bits(key, counter) % limit;
}

/* Standard normal; uses the counters 2 * counter and 2 * counter + 1. */
static inline double weft_random_normal(uint64_t key, uint64_t counter)
{
    double radius = 1.0 - weft_random_uniform(key, 2 * counter); // never 0
    double angle = weft_random_uniform(key, 2 * counter + 1);
    return sqrt(-2.0 * log(radius)) * cos(6.283185307179586477 * angle);
}

#endif
