/*
 * SPDX-License-Identifier: Apache-2.0
 * The oracle against the exploration of every interleaving: good programs and mutants of up to 4
 * ranks. The oracle is asked with the machine taken at its word (weft_oracle_verify_model), because
 * that is what an exploration finds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "collectives/program/mutate.h"
#include "collectives/program/oracle.h"
#include "tests/program/corpus.h"
#include "tests/program/explore.h"

enum { MOST_RANKS = 4, MUTANTS = 1500, MUTANT_STATES = 4000 };
enum { GOOD_STATES = WEFT_RUNS_SLOWLY ? 3000 : 12000 };

struct tally {
    long right, right_of_4, wrong, partly, disagreements;
    size_t states, most_states;
};

// Mixes of aliasings: rank r in place where bit r says so and its program allows it. Of four ranks
// all or every other one.
static enum explored explore_mixes(struct weft_program *const *programs, int num_ranks,
                                   size_t limit, struct tally *tally, char text[256])
{
    enum explored worst = EXPLORED_RIGHT;
    for (unsigned mix = 0; mix < 1u << num_ranks && worst == EXPLORED_RIGHT; mix++) {
        enum weft_aliasing aliasing[MOST_RANKS];
        bool is_allowed = num_ranks < 4 || mix == 0 || mix == 5 || mix == 15;
        for (int rank = 0; rank < num_ranks; rank++) {
            aliasing[rank] = mix >> rank & 1 ? WEFT_IN_PLACE : WEFT_OUT_OF_PLACE;
            is_allowed &= (programs[rank]->aliasing & (unsigned)aliasing[rank]) != 0;
        }
        size_t states;
        if (!is_allowed)
            continue;
        enum explored one = explore((const struct weft_program *const *)programs, num_ranks,
                                    aliasing, num_ranks == 4, limit, &states, text);
        tally->states += states;
        tally->most_states = states > tally->most_states ? states : tally->most_states;
        worst = one == EXPLORED_RIGHT ? worst : one;
    }
    return worst;
}

static void compare(struct weft_program *const *programs, int num_ranks, size_t limit,
                    const char *name, const char *change, struct tally *tally)
{
    char text[256] = "";
    struct weft_error error = {0};
    weft_status oracle =
        weft_oracle_verify_model((const struct weft_program *const *)programs, num_ranks, &error);
    if (oracle == WEFT_INVALID_FORMAT)
        return;
    enum explored explored = explore_mixes(programs, num_ranks, limit, tally, text);
    tally->right += explored == EXPLORED_RIGHT;
    tally->right_of_4 += explored == EXPLORED_RIGHT && num_ranks == 4;
    tally->wrong += explored == EXPLORED_WRONG;
    tally->partly += explored == EXPLORED_PARTLY;
    bool differs = explored == EXPLORED_WRONG   ? oracle == WEFT_OK
                   : explored == EXPLORED_RIGHT ? oracle != WEFT_OK
                                                : false;
    if (differs) {
        tally->disagreements++;
        print_error("%s of %d ranks, %s: explored: %s; oracle: %s\n", name, num_ranks, change,
                    explored == EXPLORED_WRONG ? text : "right", error.text);
    }
}

static void report(const char *what, const struct tally *tally)
{
    printf(
        "%s: %ld right in every interleaving (%ld of them of 4 ranks), %ld wrong in one, %ld too "
        "large to finish; %zu states, at most %zu of one program; disagreements %ld\n",
        what, tally->right, tally->right_of_4, tally->wrong, tally->partly, tally->states,
        tally->most_states, tally->disagreements);
    assert_int_equal(tally->disagreements, 0);
}

static void good_programs(void **state)
{
    (void)state;
    struct tally tally = {0};
    struct corpus *corpus = build_corpus(MOST_RANKS);
    for (int s = 0; s < corpus->count; s++) {
        const struct program_set *set = &corpus->sets[s];
        compare(set->programs, set->num_ranks, GOOD_STATES, set->name, "unchanged", &tally);
    }
    destroy_corpus(corpus);
    report("good programs", &tally);
    assert_int_equal(tally.wrong, 0);
    assert_true(tally.right > 150 && tally.right_of_4 >= 15);
}

static void mutants(void **state)
{
    (void)state;
    struct tally tally = {0};
    struct weft_random random = {7};
    struct corpus *corpus = build_corpus(MOST_RANKS);
    for (int i = 0; i < MUTANTS; i++) {
        const struct program_set *set =
            &corpus->sets[weft_random_below(&random, (uint32_t)corpus->count)];
        struct weft_program *changed[MOST_RANKS];
        struct weft_mutation_report made;
        struct weft_error error;
        if (weft_mutation_try(set->programs, set->num_ranks, 1 + i % 3, &random, &made, changed,
                              &error) != WEFT_OK)
            fail_msg("%s", error.text);
        compare(changed, set->num_ranks, MUTANT_STATES, set->name, made.change, &tally);
        for (int rank = 0; rank < set->num_ranks; rank++)
            weft_program_destroy(&changed[rank]);
    }
    destroy_corpus(corpus);
    report("mutants", &tally);
    assert_true(tally.right > 100 && tally.wrong > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_programs),
        cmocka_unit_test(mutants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
