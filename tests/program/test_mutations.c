/*
 * SPDX-License-Identifier: Apache-2.0
 * The bar of the check: of 20,000 random one-step changes of good programs, the local check with
 * the comparison of lanes accepts exactly what the oracle accepts. Both the samples of this folder
 * and the programs of every algorithm in the planner's table are changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/config.h"
#include "collectives/program/mutate.h"
#include "collectives/program/oracle.h"
#include "tests/program/corpus.h"

enum { MORE_MUTANTS = WEFT_RUNS_SLOWLY ? 2000 : 6000, MOST_RANKS = 6 };
enum { ONE_STEP_MUTANTS = WEFT_RUNS_SLOWLY ? 5000 : 20000 };

static void unchanged_are_accepted(void **state)
{
    (void)state;
    struct corpus *corpus = build_corpus(MOST_RANKS);
    for (int s = 0; s < corpus->count; s++) {
        struct program_set *set = &corpus->sets[s];
        struct weft_error error;
        if (weft_programs_check(set->programs, set->num_ranks, &error) != WEFT_OK ||
            weft_oracle_verify((const struct weft_program *const *)set->programs, set->num_ranks,
                               &error) != WEFT_OK)
            fail_msg("%s: %s", set->name, error.text);
    }
    destroy_corpus(corpus);
}

struct totals {
    uint64_t counts[WEFT_NUM_MUTATIONS][WEFT_NUM_VERDICTS];
    long malformed, by_message, renewed, renewed_accepted, deadlocks, wrong;
};

static void print_totals(const struct totals *totals, long mutants, int num_changes)
{
    static const char *const heads[WEFT_NUM_VERDICTS] = {"refused", "accepted", "restamped",
                                                         "UNSOUND", "INEXACT"};
    if (num_changes > 0)
        printf("%6ld mutants of %d changes (the last:)", mutants, num_changes);
    else
        printf("%6ld mutants that wait more         ", mutants);
    for (int v = 0; v < WEFT_NUM_VERDICTS; v++)
        printf(" %10s", heads[v]);
    for (int m = 0; m < WEFT_NUM_MUTATIONS; m++) {
        printf("\n%-38s", weft_mutation_names[m]);
        for (int v = 0; v < WEFT_NUM_VERDICTS; v++)
            printf(" %10llu", (unsigned long long)totals->counts[m][v]);
    }
    printf(
        "\nbesides %ld malformed; deadlocks %ld; ordered by messages only %ld; judged again with "
        "nothing stale %ld, of which accepted by both %ld; wrong %ld\n",
        totals->malformed, totals->deadlocks, totals->by_message, totals->renewed,
        totals->renewed_accepted, totals->wrong);
}

static void note(struct totals *totals, const struct program_set *set,
                 const struct weft_mutation_report *report)
{
    bool is_wrong =
        report->is_unnamed || report->is_renewed_wrong || report->verdict >= WEFT_WRONGLY_ACCEPTED;
    if (is_wrong && totals->wrong++ < 20)
        print_error("%s: %s: %s%s%s\n  oracle: %s\n  check: %s\n", set->name, report->change,
                    weft_verdict_names[report->verdict],
                    report->is_unnamed ? ", a refusal without rank or step" : "",
                    report->is_renewed_wrong ? ", verdicts differ when renewed" : "",
                    report->oracle.text, report->check.text);
    totals->malformed += report->is_malformed;
    if (report->is_malformed)
        return;
    totals->by_message += report->is_order_by_message;
    totals->renewed += report->is_renewed;
    totals->renewed_accepted += report->is_renewed_accepted;
    totals->deadlocks += strstr(report->oracle.text, "deadlock") != NULL;
    totals->counts[report->mutation][report->verdict]++;
}

// Environment variables make longer runs with other seeds possible by hand.
static long from_environment(const char *name, long fallback)
{
    const char *text = weft_config_environment(name);
    return text ? atol(text) : fallback;
}

static void compare_verdicts(long mutants, int num_changes)
{
    struct corpus *corpus = build_corpus(MOST_RANKS);
    struct weft_random random = {(uint64_t)from_environment("MUTATION_SEED", 1)};
    struct totals totals = {0};
    mutants = from_environment("MUTANTS", mutants);
    for (long i = 0; i < mutants;) {
        struct program_set *set =
            &corpus->sets[weft_random_below(&random, (uint32_t)corpus->count)];
        struct weft_mutation_report report;
        struct weft_error error;
        if (weft_mutation_try(set->programs, set->num_ranks, num_changes, &random, &report, NULL,
                              &error) != WEFT_OK)
            fail_msg("%s: %s", set->name, error.text);
        note(&totals, set, &report);
        i += !report.is_malformed;
    }
    print_totals(&totals, mutants, num_changes);
    destroy_corpus(corpus);
    assert_int_equal(totals.wrong, 0);
}

static void one_step_mutations(void **state)
{
    (void)state;
    compare_verdicts(ONE_STEP_MUTANTS, 1);
}

static void several_changes(void **state)
{
    (void)state;
    for (int num_changes = 2; num_changes <= 8; num_changes *= 2)
        compare_verdicts(MORE_MUTANTS, num_changes);
}

// Nothing but more waiting, of any rank for anything before: deadlocks and harmless delays.
static void only_more_waiting(void **state)
{
    (void)state;
    static const enum weft_mutation kinds[] = {WEFT_ADD_DEPENDENCY, WEFT_ADD_DEPENDENCY,
                                               WEFT_SWAP_STEPS};
    struct corpus *corpus = build_corpus(4);
    struct weft_random random = {11};
    struct totals totals = {0};
    for (int i = 0; i < MORE_MUTANTS; i++) {
        const struct program_set *set =
            &corpus->sets[weft_random_below(&random, (uint32_t)corpus->count)];
        struct program_set changed = *set;
        struct weft_mutation_report report = {0};
        struct weft_error error;
        for (int rank = 0; rank < set->num_ranks; rank++) {
            changed.programs[rank] = weft_program_copy(set->programs[rank]);
            assert_non_null(changed.programs[rank]);
            for (uint32_t k = 0; k < set->programs[rank]->num_steps; k++)
                weft_mutate(changed.programs[rank], kinds[weft_random_below(&random, 3)], &random,
                            report.change);
        }
        if (weft_mutation_judge(changed.programs, set->num_ranks, &report, &error) != WEFT_OK)
            fail_msg("%s: %s", set->name, error.text);
        report.mutation = WEFT_ADD_DEPENDENCY;
        note(&totals, set, &report);
        for (int rank = 0; rank < set->num_ranks; rank++)
            weft_program_destroy(&changed.programs[rank]);
    }
    destroy_corpus(corpus);
    print_totals(&totals, MORE_MUTANTS, 0);
    assert_int_equal(totals.wrong, 0);
    assert_true(totals.deadlocks > MORE_MUTANTS / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_more_waiting),
        cmocka_unit_test(unchanged_are_accepted),
        cmocka_unit_test(one_step_mutations),
        cmocka_unit_test(several_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
