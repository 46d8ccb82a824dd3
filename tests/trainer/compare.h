/*
 * SPDX-License-Identifier: Apache-2.0
 * What the trainer's tests share: arrays of seeded noise in fp32 with the same values in float64,
 * and the distance between an fp32 result and its float64 yardstick.
 */
#ifndef WEFT_TESTS_TRAINER_COMPARE_H
#define WEFT_TESTS_TRAINER_COMPARE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct pair {
    float *narrow;
    double *wide;
    size_t count;
};

/* Noise in (-size, size), the same in both; size 0: zeros. */
static inline struct pair pair_create(size_t count, double size, uint32_t seed)
{
    struct pair pair = {calloc(count + 1, sizeof(float)), calloc(count + 1, sizeof(double)), count};
    assert_non_null(pair.narrow);
    assert_non_null(pair.wide);
    uint64_t state = seed * 2654435761u + 12345;
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        pair.narrow[i] = (float)(((double)(state >> 11) / 9007199254740992.0 * 2 - 1) * size);
        pair.wide[i] = (double)pair.narrow[i];
    }
    return pair;
}

static inline void pair_destroy(struct pair *pair)
{
    free(pair->narrow);
    free(pair->wide);
}

/* |narrow - wide| / |wide| over the whole array. */
static inline double pair_distance(const struct pair *pair)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < pair->count; i++) {
        double d = (double)pair->narrow[i] - pair->wide[i];
        difference += d * d;
        size += pair->wide[i] * pair->wide[i];
    }
    return sqrt(difference / (size > 0 ? size : 1));
}

static inline void assert_near(const struct pair *pair, double limit, const char *what)
{
    double distance = pair_distance(pair);
    if (!(distance <= limit)) // catches NaN too
        fail_msg("%s: relative distance %g, limit %g", what, distance, limit);
}

#endif
