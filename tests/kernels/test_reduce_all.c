/*
 * SPDX-License-Identifier: Apache-2.0
 * Contract of the reductions of many sources to many destinations: every variant this machine runs,
 * every type and operation, random sizes, alignments, numbers and aliasings, against the plain
 * pairwise reductions, which test_reduce.c checks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/reduce_variant.h"

enum { MAX_BUFFERS = 64, MAX_BYTES = 20000, GUARD = 128, BUFFER_BYTES = MAX_BYTES + 2 * GUARD };

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * UINT64_C(0x9e3779b97f4a7c15) >> 16;
}

struct buffers {
    unsigned char sources[MAX_BUFFERS][BUFFER_BYTES], destinations[MAX_BUFFERS][BUFFER_BYTES];
    unsigned char expected[BUFFER_BYTES];
};

struct trial {
    const struct weft_reduce_variant *variant;
    weft_dtype dtype;
    weft_op op;
    size_t count, bytes;
    int num_sources, num_destinations;
    const void *sources[MAX_BUFFERS];
    void *destinations[MAX_BUFFERS];
    uint64_t streams;
};

// Few buffers are more likely than many; buffers start anywhere in a cache line or, as often, at
// its beginning.
static int random_number(void)
{
    uint64_t bits = random_bits();
    return 1 + (int)((bits >> 8) % (bits & 7 ? 4 : MAX_BUFFERS));
}

static size_t random_offset(size_t element_bytes)
{
    switch (random_bits() % 4) {
    case 0:
        return GUARD - 64 + random_bits() % 64;
    case 1:
        return GUARD - 64 + random_bits() % (64 / element_bytes) * element_bytes;
    default:
        return GUARD;
    }
}

// Destinations are apart or, one time in three each, one of the sources that no other one is.
static void place_buffers(struct trial *trial, struct buffers *m)
{
    size_t element_bytes = weft_dtype_bytes(trial->dtype);
    for (int s = 0; s < trial->num_sources; s++) {
        unsigned char *source = m->sources[s];
        for (size_t i = 0; i + 8 <= BUFFER_BYTES; i += 8) {
            uint64_t bits = random_bits() ^ random_bits() << 48;
            memcpy(source + i, &bits, 8);
        }
        trial->sources[s] = source + random_offset(element_bytes);
        if (s > 0 && random_bits() % 8 == 0)
            trial->sources[s] = trial->sources[random_bits() % (unsigned)s]; // read twice
    }
    for (int d = 0; d < trial->num_destinations; d++) {
        memset(m->destinations[d], 0xa5, BUFFER_BYTES);
        trial->destinations[d] = m->destinations[d] + random_offset(element_bytes);
        const unsigned char *source = trial->sources[random_bits() % (unsigned)trial->num_sources];
        for (int other = 0; other < d; other++)
            if (trial->destinations[other] == (const void *)source)
                source = NULL;
        if (source && random_bits() % 3 == 0)
            trial->destinations[d] = (unsigned char *)m + (source - (unsigned char *)m);
    }
}

static const unsigned char *buffer_of(const void *start, const struct buffers *m)
{
    size_t from_m = (size_t)((const unsigned char *)start - (const unsigned char *)m);
    return (const unsigned char *)m + from_m / BUFFER_BYTES * BUFFER_BYTES;
}

static void check_trial(struct trial *trial, struct buffers *m)
{
    weft_reduce_fn pairwise = weft_reduce_plain.reduce[trial->dtype][trial->op];
    static unsigned char around[MAX_BUFFERS][BUFFER_BYTES];
    memcpy(m->expected, trial->sources[0], trial->bytes);
    for (int s = 1; s < trial->num_sources; s++)
        pairwise(m->expected, m->expected, trial->sources[s], trial->count);
    for (int d = 0; d < trial->num_destinations; d++) {
        const unsigned char *buffer = buffer_of(trial->destinations[d], m);
        size_t offset = (size_t)((unsigned char *)trial->destinations[d] - buffer);
        memcpy(around[d], buffer, BUFFER_BYTES);
        memcpy(around[d] + offset, m->expected, trial->bytes);
    }
    trial->variant->reduce_all[trial->dtype][trial->op](
        trial->destinations, trial->num_destinations, trial->sources, trial->num_sources,
        trial->count, trial->streams);
    for (int d = 0; d < trial->num_destinations; d++)
        if (memcmp(around[d], buffer_of(trial->destinations[d], m), BUFFER_BYTES) != 0)
            fail_msg("%s %s %s: %zu elements of %d sources, destination %d of %d%s",
                     trial->variant->name, weft_dtypes[trial->dtype].name, weft_ops[trial->op].name,
                     trial->count, trial->num_sources, d, trial->num_destinations,
                     trial->streams ? ", streamed" : "");
}

static void results_are_those_of_pairwise_reductions(void **state)
{
    (void)state;
    enum { NUM_TRIALS = 40 };
    struct buffers *m = malloc(sizeof *m);
    assert_non_null(m);
    struct trial trial = {0};
    for (int v = 0; (trial.variant = weft_reduce_variant_at(v)); v++)
        for (int dtype = 0; dtype < WEFT_NUM_DTYPES; dtype++)
            for (int op = 0; op < WEFT_NUM_OPS; op++)
                for (int i = 0; weft_op_takes((weft_op)op, (weft_dtype)dtype) && i < NUM_TRIALS;
                     i++) {
                    trial.dtype = (weft_dtype)dtype;
                    trial.op = (weft_op)op;
                    trial.bytes = random_bits() % (random_bits() % 2 ? 300 : MAX_BYTES);
                    trial.count = trial.bytes / weft_dtype_bytes(trial.dtype);
                    trial.bytes = trial.count * weft_dtype_bytes(trial.dtype);
                    trial.num_sources = random_number();
                    trial.num_destinations = random_number();
                    trial.streams = random_bits() % 2 ? random_bits() : 0;
                    place_buffers(&trial, m);
                    check_trial(&trial, m);
                }
    free(m);
}

// An all-reduce of two ranks: its destinations begin at the same place of a line.
static void two_sums_for_two_are_right(void **state)
{
    (void)state;
    enum { NUM_TRIALS = 400, LINE_BYTES = 64 };
    struct buffers *m = malloc(sizeof *m);
    assert_non_null(m);
    struct trial trial = {
        .dtype = WEFT_FLOAT32, .op = WEFT_SUM, .num_sources = 2, .num_destinations = 2};
    for (int v = 0; (trial.variant = weft_reduce_variant_at(v)); v++)
        for (unsigned i = 0; i < NUM_TRIALS; i++) {
            trial.count = random_bits() % (i % 8 < 4 ? 100 : MAX_BYTES / sizeof(float));
            trial.bytes = trial.count * sizeof(float);
            trial.streams = i % 4;
            place_buffers(&trial, m);
            unsigned char *second = m->destinations[1];
            if (buffer_of(trial.destinations[1], m) == second)
                trial.destinations[1] =
                    second + ((uintptr_t)trial.destinations[0] - (uintptr_t)second) % LINE_BYTES;
            check_trial(&trial, m);
        }
    free(m);
}

// Larger than the caches that count: other blocks.
static void large_sums_are_right(void **state)
{
    (void)state;
    enum { BYTES = 3 << 20, COUNT = BYTES / 4 };
    uint32_t *memory[5];
    const struct weft_reduce_variant *variant;
    for (int i = 0; i < 5; i++) {
        memory[i] = malloc(BYTES + 64);
        assert_non_null(memory[i]);
    }
    for (int v = 0; (variant = weft_reduce_variant_at(v)); v++)
        for (int trial = 0; trial < 4; trial++) {
            // Second destinations at another place of a line, and in place.
            void *destinations[2] = {memory[3] + 1, memory[4] + (trial & 1 ? 1 : 2)};
            const void *sources[3] = {memory[0], memory[1] + 3, memory[2]};
            if (trial & 2)
                destinations[0] = memory[2];
            for (int s = 0; s < 3; s++)
                for (size_t i = 0; i < BYTES / 4 + 16; i++)
                    memory[s][i] = (uint32_t)(random_bits() >> 8);
            uint32_t first = memory[0][0] + memory[1][3] + memory[2][0];
            uint64_t expected = 0, got[2] = {0, 0};
            for (size_t i = 0; i < COUNT; i++)
                expected +=
                    (uint64_t)(memory[0][i] + memory[1][i + 3] + memory[2][i]) * (2 * i + 1);
            variant->reduce_all[WEFT_UINT32][WEFT_SUM](destinations, 2, sources, 3, COUNT, false);
            for (int d = 0; d < 2; d++) {
                const uint32_t *result = destinations[d];
                assert_int_equal(result[0], first);
                for (size_t i = 0; i < COUNT; i++)
                    got[d] += (uint64_t)result[i] * (2 * i + 1);
                assert_int_equal(got[d], expected);
            }
        }
    for (int i = 0; i < 5; i++)
        free(memory[i]);
}

static void lookup_gives_the_best_variant(void **state)
{
    (void)state;
    for (int dtype = 0; dtype < WEFT_NUM_DTYPES; dtype++)
        for (int op = 0; op < WEFT_NUM_OPS; op++)
            assert_ptr_equal(weft_reduce_all_lookup((weft_dtype)dtype, (weft_op)op),
                             weft_reduce_variant_at(0)->reduce_all[dtype][op]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_those_of_pairwise_reductions),
        cmocka_unit_test(two_sums_for_two_are_right),
        cmocka_unit_test(large_sums_are_right),
        cmocka_unit_test(lookup_gives_the_best_variant),
    };
    return cmocka_run_group_tests_name("reduce_all", tests, NULL, NULL);
}
