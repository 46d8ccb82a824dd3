/*
 * SPDX-License-Identifier: Apache-2.0
 * Tricky programs written by hand, each with the verdict it must get from the oracle and from the
 * check. A step is one line: channel, cells, sources > destinations @ dependencies, where i, o, s
 * are cells of input, output and scratch and l a lane. Scratch cell k is like input (or output)
 * cell 0. Witnesses come from the oracle, so that the check has nothing stale to refuse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collectives/program/mutate.h"
#include "collectives/program/oracle.h"

enum { RANKS = 3, STEPS = 8, O = WEFT_OUT_OF_PLACE, I = WEFT_IN_PLACE, B = O | I };

struct example {
    const char *name;
    weft_collective collective;
    int num_ranks;
    uint32_t pieces;
    unsigned aliasing[RANKS];
    const char *steps[RANKS][STEPS];
    const char *refusal; // NULL: right. Else a part of the oracle's sentence
    bool is_right_by_model;
};

static const struct example examples[] = {
    {"exchange",
     WEFT_ALL_REDUCE,
     2,
     2,
     {O, O},
     {{"0 2 i0 > l1", "0 2 l1 i0 > o0"}, {"0 2 i0 > l0", "0 2 l0 i0 > o0"}},
     NULL,
     true},
    {"exchange that overwrites what it sends, in place only",
     WEFT_ALL_REDUCE,
     2,
     2,
     {B, O},
     {{"0 2 i0 > l1", "0 2 l1 i0 > o0"}, {"0 2 i0 > l0", "0 2 l0 i0 > o0"}},
     "rank 0 step 1 (in place)",
     false},
    {"exchange in place on one side, waiting for its send",
     WEFT_ALL_REDUCE,
     2,
     2,
     {B, O},
     {{"0 2 i0 > l1", "0 2 l1 i0 > o0 @0"}, {"0 2 i0 > l0", "0 2 l0 i0 > o0"}},
     NULL,
     true},
    {"exchange in place on both sides, each waiting for its send",
     WEFT_ALL_REDUCE,
     2,
     2,
     {B, B},
     {{"0 2 i0 > l1", "0 2 l1 i0 > o0 @0"}, {"0 2 i0 > l0", "0 2 l0 i0 > o0 @0"}},
     "deadlock",
     false},
    {"two channels in opposite order, not waiting",
     WEFT_BROADCAST,
     2,
     2,
     {B, B},
     {{"0 1 i0 > o0 l1", "1 1 i1 > o1 l1"}, {"1 1 l0 > o1", "0 1 l0 > o0"}},
     NULL,
     true},
    {"two channels in opposite order, each waiting for the first",
     WEFT_BROADCAST,
     2,
     2,
     {B, B},
     {{"0 1 i0 > o0 l1", "1 1 i1 > o1 l1 @0"}, {"1 1 l0 > o1", "0 1 l0 > o0 @0"}},
     "deadlock",
     false},
    {"one lane, received in another order than sent",
     WEFT_ALL_GATHER,
     2,
     2,
     {O, O},
     {{"0 2 i0 > o0", "0 1 i0 > l1", "0 1 i1 > l1", "1 2 l1 > o2"},
      {"0 2 i2 > o2", "0 1 l0 > o1", "0 1 l0 > o0", "1 2 i2 > l0"}},
     "another extent",
     false},
    {"all forward what they receive, nobody begins",
     WEFT_ALL_REDUCE,
     3,
     1,
     {O, O, O},
     {{"0 1 l2 i0 > l1 o0"}, {"0 1 l0 i0 > l2 o0"}, {"0 1 l1 i0 > l0 o0"}},
     "deadlock",
     false},
    {"each rank combines in its own order and says so",
     WEFT_ALL_REDUCE,
     3,
     1,
     {O, O, O},
     {{"0 1 i0 > l1", "0 1 i0 > l2", "0 1 l1 > s0", "0 1 l2 > s1", "0 1 i0 s0 s1 > o0 @2,3"},
      {"0 1 i0 > l0", "0 1 i0 > l2", "0 1 l0 > s0", "0 1 l2 > s1", "0 1 i0 s0 s1 > o0 @2,3"},
      {"0 1 i0 > l0", "0 1 i0 > l1", "0 1 l0 > s0", "0 1 l1 > s1", "0 1 i0 s0 s1 > o0 @2,3"}},
     "another order than on rank 0",
     false},
    {"all ranks combine in rank order",
     WEFT_ALL_REDUCE,
     3,
     1,
     {B, B, B},
     {{"0 1 i0 > l1", "0 1 i0 > l2", "0 1 l1 > s0", "0 1 l2 > s1", "0 1 i0 s0 s1 > o0 @0,1,2,3"},
      {"0 1 i0 > l0", "0 1 i0 > l2", "0 1 l0 > s0", "0 1 l2 > s1", "0 1 s0 i0 s1 > o0 @0,1,2,3"},
      {"0 1 i0 > l0", "0 1 i0 > l1", "0 1 l0 > s0", "0 1 l1 > s1", "0 1 s0 s1 i0 > o0 @0,1,2,3"}},
     NULL,
     true},
    {"received and combined in one step, without waiting: messages of two ranks",
     WEFT_ALL_REDUCE,
     3,
     1,
     {O, O, O},
     {{"0 1 i0 > l1", "0 1 i0 > l2", "0 1 i0 l1 l2 > o0"},
      {"0 1 i0 > l0", "0 1 i0 > l2", "0 1 l0 i0 l2 > o0"},
      {"0 1 i0 > l0", "0 1 i0 > l1", "0 1 l0 l1 i0 > o0"}},
     NULL,
     true},
    // Step 1 reads what step 4 overwrites; that 1 is complete by then is known only because 2,
    // which waits for it, sends, and 3 receives the answer.
    {"ordered by messages of another rank only",
     WEFT_ALL_REDUCE,
     2,
     1,
     {I, B},
     {{"0 1 i0 > s1", "0 1 i0 > l1", "1 1 s1 > l1 @0,1", "2 1 l1 > s0", "2 1 s0 s1 > o0 @3,0"},
      {"0 1 l0 > s0", "1 1 l0 > s1", "2 1 i0 > l0 @1", "0 1 s0 i0 > o0 @0,2"}},
     "rank 0 step 4",
     true},
    {"shifted onto itself",
     WEFT_ALL_GATHER,
     3,
     1,
     {O, O, O},
     {{"0 1 i0 > o0", "0 1 i0 > l1", "0 1 i0 > l2", "0 1 l1 > o1", "0 1 l2 > o2",
       "0 2 o0 > o1 @0,3,4"},
      {"0 1 i1 > o1", "0 1 i1 > l0", "0 1 i1 > l2", "0 1 l0 > o0", "0 1 l2 > o2"},
      {"0 1 i2 > o2", "0 1 i2 > l0", "0 1 i2 > l1", "0 1 l0 > o0", "0 1 l1 > o1"}},
     "different offsets",
     false},
    {"onto itself, unshifted",
     WEFT_ALL_GATHER,
     2,
     1,
     {O, O},
     {{"0 1 i0 > o0", "0 1 i0 > l1", "0 1 l1 > o1", "1 2 o0 > o0 @0,1,2"},
      {"0 1 i1 > o1", "0 1 i1 > l0", "0 1 l0 > o0"}},
     NULL,
     true},
    {"written twice by one step",
     WEFT_BROADCAST,
     2,
     1,
     {B, B},
     {{"0 1 i0 > o0 l1"}, {"0 1 l0 > o0 o0"}},
     "written twice",
     false},
    {"a contribution twice",
     WEFT_ALL_REDUCE,
     2,
     1,
     {O, O},
     {{"0 1 i0 > l1", "0 1 l1 i0 i0 > o0"}, {"0 1 i0 > l0", "0 1 l0 i0 > o0"}},
     "exactly once",
     false},
    {"scratch read before it is written",
     WEFT_BROADCAST,
     2,
     1,
     {B, B},
     {{"0 1 i0 > o0 l1", "0 1 s0 > s1"}, {"0 1 l0 > o0"}},
     "before it holds a value",
     false},
    {"two channels write one cell; the later one waits in its channel for one that waits",
     WEFT_BROADCAST,
     2,
     1,
     {O, B},
     {{"0 1 i0 > o0 l1", "1 1 i0 > l1"},
      {"0 1 l0 > o0", "2 1 o0 > s0 @0", "1 1 o0 > s1 @1", "1 1 l0 > o0"}},
     "rank 1 step 3",
     false},
    {"the same, and it waits for the reader too",
     WEFT_BROADCAST,
     2,
     1,
     {O, B},
     {{"0 1 i0 > o0 l1", "1 1 i0 > l1"},
      {"0 1 l0 > o0", "2 1 o0 > s0 @0", "1 1 s0 > s1 @1", "1 1 l0 > o0"}},
     NULL,
     true},
    {"a message that nobody receives",
     WEFT_BROADCAST,
     2,
     1,
     {B, B},
     {{"0 1 i0 > o0 l1", "1 1 i0 > l1"}, {"0 1 l0 > o0"}},
     "never received",
     false},
    {"a message that nobody sends",
     WEFT_BROADCAST,
     2,
     1,
     {B, B},
     {{"0 1 i0 > o0 l1"}, {"0 1 l0 > o0", "1 1 l0 > s0"}},
     "never sent",
     false},
};

static void add_ref(struct weft_program *program, struct weft_step *step, const char *token,
                    bool is_source)
{
    static const char letters[] = "iosl";
    struct weft_ref *ref = &program->refs[program->num_refs++];
    const char *letter = strchr(letters, token[0]);
    assert_non_null(letter);
    ref->space = (uint8_t)(letter - letters);
    ref->index = (uint32_t)atoi(token + 1);
    step->num_sources += is_source;
    step->num_destinations += !is_source;
    if (ref->space == WEFT_LANE && is_source) {
        ref->label = program->num_labels;
        program->num_labels += step->num_cells;
    }
}

static void add_step(struct weft_program *program, const char *text, bool with_dependencies)
{
    struct weft_step *step = &program->steps[program->num_steps++];
    char copy[100], *rest = NULL;
    assert_true(strlen(text) < sizeof copy);
    strcpy(copy, text);
    step->channel = (uint16_t)atoi(strtok_r(copy, " ", &rest));
    step->num_cells = (uint32_t)atoi(strtok_r(NULL, " ", &rest));
    step->first_ref = program->num_refs;
    step->first_dependency = program->num_dependencies;
    if (step->channel >= program->num_channels)
        program->num_channels = step->channel + 1u;
    bool is_source = true;
    for (char *token = strtok_r(NULL, " ", &rest); token; token = strtok_r(NULL, " ", &rest)) {
        if (strcmp(token, ">") == 0) {
            is_source = false;
        } else if (token[0] != '@') {
            add_ref(program, step, token, is_source);
        } else {
            for (char *digit = token + 1; with_dependencies && *digit; digit += digit[1] ? 2 : 1) {
                program->dependencies[program->num_dependencies++] = (uint32_t)(*digit - '0');
                step->num_dependencies++;
            }
        }
    }
}

static struct weft_program *write_program(const struct example *example, int rank,
                                          bool with_dependencies)
{
    struct weft_program *program = calloc(1, sizeof *program);
    assert_non_null(program);
    program->shape = (struct weft_shape){.collective = example->collective,
                                         .num_ranks = example->num_ranks,
                                         .rank = rank,
                                         .pieces = example->pieces};
    strcpy(program->algorithm, "by hand");
    program->aliasing = example->aliasing[rank];
    program->num_channels = 1;
    program->num_scratch = 2;
    program->steps = calloc(STEPS, sizeof *program->steps);
    program->refs = calloc(STEPS * 4, sizeof *program->refs);
    program->dependencies = calloc(STEPS * 4, sizeof *program->dependencies);
    program->labels = calloc(STEPS * 8, sizeof *program->labels);
    program->scratch = calloc(2, sizeof *program->scratch);
    program->results = calloc(16, sizeof *program->results);
    for (int i = 0; i < 2; i++) // the root of a broadcast alone has an input
        program->scratch[i].space = WEFT_OUTPUT;
    for (int s = 0; s < STEPS && example->steps[rank][s]; s++)
        add_step(program, example->steps[rank][s], with_dependencies);
    struct weft_error error;
    if (weft_program_validate(program, &error) != WEFT_OK)
        fail_msg("%s: %s", example->name, error.text);
    return program;
}

// Witnesses of the example itself if it runs to its end, else of the same steps without
// dependencies if those do.
static void write_programs(const struct example *example, struct weft_program **programs)
{
    struct weft_program *relaxed[RANKS];
    for (int rank = 0; rank < example->num_ranks; rank++) {
        programs[rank] = write_program(example, rank, true);
        relaxed[rank] = write_program(example, rank, false);
    }
    if (weft_oracle_redeclare(programs, example->num_ranks, NULL) != WEFT_OK &&
        weft_oracle_redeclare(relaxed, example->num_ranks, NULL) == WEFT_OK)
        for (int rank = 0; rank < example->num_ranks; rank++) {
            struct weft_program kept = *relaxed[rank];
            relaxed[rank]->dependencies = programs[rank]->dependencies;
            relaxed[rank]->num_dependencies = programs[rank]->num_dependencies;
            programs[rank]->dependencies = kept.dependencies;
            programs[rank]->num_dependencies = kept.num_dependencies;
            for (uint32_t s = 0; s < kept.num_steps; s++) {
                struct weft_step *strict = &programs[rank]->steps[s];
                relaxed[rank]->steps[s].first_dependency = strict->first_dependency;
                relaxed[rank]->steps[s].num_dependencies = strict->num_dependencies;
                strict->num_dependencies = 0;
            }
            struct weft_program *taken = relaxed[rank];
            relaxed[rank] = programs[rank];
            programs[rank] = taken;
        }
    for (int rank = 0; rank < example->num_ranks; rank++)
        weft_program_destroy(&relaxed[rank]);
}

static void verdicts(void **state)
{
    (void)state;
    int failures = 0;
    for (size_t e = 0; e < sizeof examples / sizeof *examples; e++) {
        const struct example *example = &examples[e];
        struct weft_program *programs[RANKS];
        struct weft_error oracle = {0}, check = {0};
        write_programs(example, programs);
        const struct weft_program *const *readable = (const struct weft_program *const *)programs;
        weft_status judged = weft_oracle_verify(readable, example->num_ranks, &oracle);
        weft_status checked = weft_programs_check(programs, example->num_ranks, &check);
        weft_status model = weft_oracle_verify_model(readable, example->num_ranks, NULL);
        bool is_as_said = example->refusal
                              ? judged == WEFT_UNPROVED && strstr(oracle.text, example->refusal) &&
                                    checked == WEFT_UNPROVED && strstr(check.text, "rank ") &&
                                    strstr(check.text, "step ")
                              : judged == WEFT_OK && checked == WEFT_OK;
        if (!is_as_said || (model == WEFT_OK) != example->is_right_by_model) {
            failures++;
            print_error("%s (wanted: %s)\n  oracle: %s\n  check: %s\n  model: %d\n", example->name,
                        example->refusal ? example->refusal : "right", oracle.text, check.text,
                        model == WEFT_OK);
        }
        for (int rank = 0; rank < example->num_ranks; rank++)
            weft_program_destroy(&programs[rank]);
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(verdicts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
