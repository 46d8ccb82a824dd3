/*
 * SPDX-License-Identifier: Apache-2.0
 * See corpus.h.
 */
#include "tests/program/corpus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/planner/choice.h"
#include "tests/planner/layouts.h"
#include "tests/planner/leaves.h"
#include "tests/program/samples.h"

static struct program_set *add_set(struct corpus *corpus, const char *name, const char *collective,
                                   int num_ranks)
{
    assert_true(corpus->count < SETS_LIMIT);
    struct program_set *set = &corpus->sets[corpus->count++];
    snprintf(set->name, sizeof set->name, "%s %s of %d", name, collective, num_ranks);
    set->num_ranks = num_ranks;
    return set;
}

static void add_samples(struct corpus *corpus, int most_ranks)
{
    for (int s = 0; s < num_samples; s++)
        for (int n = 2; n <= samples[s].most_ranks && n <= most_ranks; n++)
            for (unsigned aliasing = 1; aliasing <= 3; aliasing++) {
                struct program_set *set = add_set(corpus, samples[s].name, "sample", n);
                sample_programs(&samples[s], n, aliasing, set->programs);
            }
}

static struct weft_program *emit(const struct weft_algorithm *algorithm, struct weft_key key,
                                 const struct weft_layout *layout, int rank, unsigned aliasing)
{
    struct weft_error error;
    struct weft_program *program;
    if (key.collective == WEFT_SEND && rank == key.root) {
        key.collective = WEFT_RECV;
        key.root = 1 - rank;
    }
    if (algorithm->emit(&key, layout, rank, aliasing, &program, &error) != WEFT_OK)
        fail_msg("%s: %s", algorithm->name, error.text);
    return program;
}

static void add_algorithm(struct corpus *corpus, const struct weft_algorithm *algorithm,
                          int most_ranks)
{
    for (int c = 0; c < WEFT_NUM_COLLECTIVES; c++)
        for (int n = 2; n <= most_ranks; n++)
            for (unsigned aliasing = 1; aliasing <= 3; aliasing++) {
                struct weft_key key = {.collective = (weft_collective)c,
                                       .num_ranks = n,
                                       .root = weft_collective_is_rooted((weft_collective)c),
                                       .element_bytes = 4,
                                       .size_class = 10};
                bool is_exchange = c == WEFT_ALL_TO_ALL || c == WEFT_ALL_TO_ALL_V;
                bool is_pair = c == WEFT_SEND || c == WEFT_RECV;
                struct weft_layout *layout = make_test_layout(n, 1);
                if ((is_pair && (n > 2 || c == WEFT_RECV)) || (is_exchange && aliasing == 3) ||
                    algorithm->supports(&key, layout)) {
                    weft_layout_destroy(&layout);
                    continue;
                }
                struct program_set *set =
                    add_set(corpus, algorithm->name, weft_collective_names[c], n);
                for (int rank = 0; rank < n; rank++)
                    set->programs[rank] = emit(algorithm, key, layout, rank, aliasing);
                weft_layout_destroy(&layout);
            }
}

// Reproducible: one leaf per rank, then random spans.
static void add_reproducible(struct corpus *corpus, const struct weft_algorithm *algorithm,
                             int most_ranks)
{
    static const weft_collective reductions[] = {WEFT_ALL_REDUCE, WEFT_REDUCE, WEFT_REDUCE_SCATTER};
    uint64_t random = 3;
    for (int i = 0; i < 3 * 4; i++)
        for (int n = 2; n <= most_ranks; n++) {
            uint32_t bounds[CORPUS_RANKS_LIMIT + 1];
            struct weft_key key = {.collective = reductions[i % 3],
                                   .num_ranks = n,
                                   .root = reductions[i % 3] == WEFT_REDUCE,
                                   .element_bytes = 4,
                                   .size_class = 10,
                                   .order = WEFT_ORDER_REPRODUCIBLE,
                                   .num_leaves = i < 3 ? 0 : (uint32_t)(2 * n + i),
                                   .leaf_bounds = bounds};
            leaf_spans(n, key.num_leaves, i, &random, bounds);
            struct weft_layout *layout = make_test_layout(n, 1);
            bool can = !weft_algorithm_refusal(algorithm, &key, layout);
            struct program_set *set =
                can ? add_set(corpus, algorithm->name,
                              i < 3 ? "reproducible reduction" : "reduction of spans", n)
                    : NULL;
            for (int rank = 0; can && rank < n; rank++)
                set->programs[rank] = emit(algorithm, key, layout, rank, WEFT_OUT_OF_PLACE);
            weft_layout_destroy(&layout);
        }
}

struct corpus *build_corpus(int most_ranks)
{
    struct corpus *corpus = calloc(1, sizeof *corpus);
    assert_non_null(corpus);
    assert_true(most_ranks <= CORPUS_RANKS_LIMIT);
    add_samples(corpus, most_ranks);
    for (int a = 0; weft_algorithms[a]; a++) {
        add_algorithm(corpus, weft_algorithms[a], most_ranks);
        add_reproducible(corpus, weft_algorithms[a], most_ranks);
    }
    return corpus;
}

void destroy_corpus(struct corpus *corpus)
{
    for (int s = 0; s < corpus->count; s++)
        destroy_programs(corpus->sets[s].programs, corpus->sets[s].num_ranks);
    free(corpus);
}
