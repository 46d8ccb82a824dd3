/*
 * SPDX-License-Identifier: Apache-2.0
 * The bar of the check: of 12,000 random one-step changes of good programs, the local check with
 * the comparison of lanes accepts exactly what the oracle accepts. Both the samples of this folder
 * and the programs of every algorithm in the planner's table are changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/planner/algorithm.h"
#include "collectives/program/mutate.h"
#include "collectives/program/oracle.h"
#include "tests/program/samples.h"

enum { MUTANTS = 12000, MOST_RANKS = 6, SETS_LIMIT = 2048 };

struct set {
    char name[64];
    int num_ranks;
    struct weft_program *programs[MOST_RANKS];
};

struct corpus {
    struct set sets[SETS_LIMIT];
    int count;
};

static struct set *add_set(struct corpus *corpus, const char *name, const char *collective,
                           int num_ranks)
{
    assert_true(corpus->count < SETS_LIMIT);
    struct set *set = &corpus->sets[corpus->count++];
    snprintf(set->name, sizeof set->name, "%s %s of %d", name, collective, num_ranks);
    set->num_ranks = num_ranks;
    return set;
}

static void add_samples(struct corpus *corpus)
{
    for (int s = 0; s < num_samples; s++)
        for (int n = 2; n <= samples[s].most_ranks && n <= MOST_RANKS; n++)
            for (unsigned aliasing = 1; aliasing <= 3; aliasing++) {
                struct set *set = add_set(corpus, samples[s].name, "sample", n);
                sample_programs(&samples[s], n, aliasing, set->programs);
            }
}

static struct weft_program *emit(const struct weft_algorithm *algorithm, struct weft_key key,
                                 int rank, unsigned aliasing)
{
    struct weft_error error;
    struct weft_program *program;
    if (key.collective == WEFT_SEND && rank == key.root) {
        key.collective = WEFT_RECV;
        key.root = 1 - rank;
    }
    if (algorithm->emit(&key, rank, aliasing, &program, &error) != WEFT_OK)
        fail_msg("%s: %s", algorithm->name, error.text);
    return program;
}

static void add_algorithm(struct corpus *corpus, const struct weft_algorithm *algorithm)
{
    for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
        for (int n = 2; n <= MOST_RANKS; n++)
            for (unsigned aliasing = 1; aliasing <= 3; aliasing++) {
                struct weft_key key = {.collective = (weft_collective)c,
                                       .num_ranks = n,
                                       .root = weft_collective_is_rooted((weft_collective)c),
                                       .element_bytes = 4,
                                       .size_class = 10};
                bool is_exchange = c == WEFT_ALL_TO_ALL || c == WEFT_ALL_TO_ALL_V;
                bool is_pair = c == WEFT_SEND || c == WEFT_RECV;
                if ((is_pair && (n > 2 || c == WEFT_RECV)) || (is_exchange && aliasing == 3) ||
                    algorithm->supports(&key))
                    continue;
                struct set *set = add_set(corpus, algorithm->name, weft_collective_names[c], n);
                for (int rank = 0; rank < n; rank++)
                    set->programs[rank] = emit(algorithm, key, rank, aliasing);
            }
}

static struct corpus *build_corpus(void)
{
    struct corpus *corpus = calloc(1, sizeof *corpus);
    assert_non_null(corpus);
    add_samples(corpus);
    for (int a = 0; weft_algorithms[a]; a++)
        add_algorithm(corpus, weft_algorithms[a]);
    return corpus;
}

static void destroy_corpus(struct corpus *corpus)
{
    for (int s = 0; s < corpus->count; s++)
        destroy_programs(corpus->sets[s].programs, corpus->sets[s].num_ranks);
    free(corpus);
}

static void unchanged_are_accepted(void **state)
{
    (void)state;
    struct corpus *corpus = build_corpus();
    for (int s = 0; s < corpus->count; s++) {
        struct set *set = &corpus->sets[s];
        struct weft_error error;
        if (weft_programs_check(set->programs, set->num_ranks, &error) != WEFT_OK ||
            weft_oracle_verify((const struct weft_program *const *)set->programs, set->num_ranks,
                               &error) != WEFT_OK)
            fail_msg("%s: %s", set->name, error.text);
    }
    destroy_corpus(corpus);
}

static void print_counts(uint64_t counts[WEFT_NUM_MUTATIONS][WEFT_NUM_VERDICTS])
{
    printf("%-24s", "");
    for (int v = 0; v < WEFT_NUM_VERDICTS; v++)
        printf(" %34s", weft_verdict_names[v]);
    printf("\n");
    for (int m = 0; m < WEFT_NUM_MUTATIONS; m++) {
        printf("%-24s", weft_mutation_names[m]);
        for (int v = 0; v < WEFT_NUM_VERDICTS; v++)
            printf(" %34llu", (unsigned long long)counts[m][v]);
        printf("\n");
    }
}

static void check_agrees_with_oracle(void **state)
{
    (void)state;
    struct corpus *corpus = build_corpus();
    const char *seed = getenv("MUTATION_SEED");
    struct weft_random random = {seed ? strtoull(seed, NULL, 0) : 1};
    const char *wanted = getenv("MUTANTS");
    long mutants = wanted ? atol(wanted) : MUTANTS;
    uint64_t counts[WEFT_NUM_MUTATIONS][WEFT_NUM_VERDICTS] = {{0}};
    long malformed = 0, by_message = 0, wrong = 0;
    for (long i = 0; i < mutants;) {
        struct set *set = &corpus->sets[weft_random_below(&random, (uint32_t)corpus->count)];
        struct weft_mutation_report report;
        struct weft_error error;
        weft_status status =
            weft_mutation_try(set->programs, set->num_ranks, &random, &report, NULL, &error);
        if (status != WEFT_OK)
            fail_msg("%s: %s", set->name, error.text);
        if (report.is_unnamed || report.verdict >= WEFT_WRONGLY_ACCEPTED) {
            if (wrong++ < 20)
                print_error("%s: %s: %s\n  oracle: %s\n  check: %s\n", set->name, report.change,
                            report.is_unnamed ? "refusal without rank or step"
                                              : weft_verdict_names[report.verdict],
                            report.oracle.text, report.check.text);
        }
        malformed += report.is_malformed;
        if (report.is_malformed)
            continue;
        i++;
        by_message += report.is_order_by_message;
        counts[report.mutation][report.verdict]++;
    }
    print_counts(counts);
    printf("%ld mutants of %d sets; besides %ld malformed; %ld ordered by messages only\n", mutants,
           corpus->count, malformed, by_message);
    destroy_corpus(corpus);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unchanged_are_accepted),
        cmocka_unit_test(check_agrees_with_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
