/*
 * SPDX-License-Identifier: Apache-2.0
 * The form of programs: every refusal of validation, what the builder adds and what it does not,
 * every disagreement of two plans.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collectives/program/plan.h"
#include "collectives/program/precedence.h"
#include "tests/program/corpus.h"
#include "tests/program/samples.h"

static const struct sample *sample_named(const char *name)
{
    for (int s = 0; s < num_samples; s++)
        if (strcmp(samples[s].name, name) == 0)
            return &samples[s];
    fail_msg("no sample %s", name);
    return NULL;
}

// Step 0 sends an input cell, step 1 combines what comes in with an input cell into an output cell.
static struct weft_program *ring_program(void)
{
    return sample_program(sample_named("ring"), 3, 1, 0);
}

enum breach {
    NO_CHANNEL,
    MANY_STEPS,
    MANY_SCRATCH,
    NO_ALIASING,
    SCRATCH_LIKE_LANE,
    SCRATCH_LIKE_NO_CELL,
    NO_SOURCE,
    MANY_SOURCES,
    NO_DESTINATION,
    NO_CELLS,
    NO_SUCH_CHANNEL,
    REFS_OUTSIDE,
    DEPENDENCIES_OUTSIDE,
    DEPENDS_ON_ITSELF,
    DEPENDS_ON_LATER,
    NO_SUCH_SPACE,
    NO_SUCH_RANK,
    LANE_TO_ITSELF,
    NO_LABELS,
    CELL_OUTSIDE,
    CELLS_OUTSIDE,
    WRITES_INPUT,
    OTHER_EXTENT,
    NO_MEMORY_REFERENCE,
    COMBINES_NOTHING,
    NUM_BREACHES,
};

static const char *commit(struct weft_program *program, enum breach breach)
{
    struct weft_step *send = &program->steps[0], *receive = &program->steps[1];
    struct weft_ref *source = &program->refs[receive->first_ref];
    struct weft_ref *memory = source + 1, *destination = source + 2;
    switch (breach) {
    case NO_CHANNEL:
        program->num_channels = 0;
        return "0 channels";
    case MANY_STEPS:
        program->num_steps = WEFT_STEPS_LIMIT + 1;
        return "16777217 steps";
    case MANY_SCRATCH:
        program->num_scratch = WEFT_CELLS_LIMIT + 1;
        return "scratch cells";
    case NO_ALIASING:
        program->aliasing = 4;
        return "no aliasing";
    case SCRATCH_LIKE_LANE:
        program->num_scratch = 1;
        program->scratch = realloc(program->scratch, sizeof *program->scratch);
        program->scratch[0] = (struct weft_scratch){WEFT_LANE, 0};
        return "like no cell of known size";
    case SCRATCH_LIKE_NO_CELL:
        program->num_scratch = 1;
        program->scratch = realloc(program->scratch, sizeof *program->scratch);
        program->scratch[0] = (struct weft_scratch){WEFT_INPUT, 3};
        return "like no cell of known size";
    case NO_SOURCE:
        send->num_sources = 0;
        return "step 0: needs 1 to 16";
    case MANY_SOURCES:
        send->num_sources = 17;
        return "step 0: needs 1 to 16";
    case NO_DESTINATION:
        send->num_destinations = 0;
        return "step 0: needs 1 to 16";
    case NO_CELLS:
        send->num_cells = 0;
        return "step 0: no cells";
    case NO_SUCH_CHANNEL:
        receive->channel = 1;
        return "step 1: no cells, or a channel";
    case REFS_OUTSIDE:
        receive->first_ref = program->num_refs - 1;
        return "step 1: references outside the program";
    case DEPENDENCIES_OUTSIDE:
        receive->first_dependency = program->num_dependencies;
        receive->num_dependencies = 1;
        return "step 1: dependencies outside the program";
    case DEPENDS_ON_ITSELF:
        receive->num_dependencies = 1;
        program->dependencies[receive->first_dependency] = 1;
        return "step 1: depends on itself";
    case DEPENDS_ON_LATER:
        receive->num_dependencies = 1;
        program->dependencies[receive->first_dependency] = 2;
        return "step 1: depends on itself or on a later";
    case NO_SUCH_SPACE:
        memory->space = WEFT_NUM_SPACES;
        return "step 1: a reference to no known space";
    case NO_SUCH_RANK:
        source->index = 3;
        return "step 1: a lane to a rank";
    case LANE_TO_ITSELF:
        source->index = 1;
        return "step 1: a lane to itself";
    case NO_LABELS:
        source->label = program->num_labels;
        return "step 1: a receive without promised labels";
    case CELL_OUTSIDE:
        memory->index = 3;
        return "step 1: a reference outside its buffer";
    case CELLS_OUTSIDE:
        memory->index = UINT32_MAX;
        return "step 1: a reference outside its buffer";
    case WRITES_INPUT:
        destination->space = WEFT_INPUT;
        return "step 1: writes the input";
    case OTHER_EXTENT:
        destination->index = (destination->index + 1) % 3;
        return "step 1: references of different extent";
    case NO_MEMORY_REFERENCE:
        program->refs[send->first_ref] = *source;
        program->refs[send->first_ref].label = 0;
        return "step 0: no memory reference";
    case COMBINES_NOTHING: // a broadcast has the same buffers at its root
        program->shape.collective = WEFT_BROADCAST;
        program->shape.root = 1;
        return "step 1: combines values";
    case NUM_BREACHES:
        break;
    }
    return NULL;
}

static void every_breach_of_form_is_refused(void **state)
{
    (void)state;
    for (int breach = 0; breach < NUM_BREACHES; breach++) {
        struct weft_program *program = ring_program(), *kept = program;
        struct weft_error error = {0};
        struct weft_plan *plan = NULL;
        assert_int_equal(weft_program_validate(program, &error), WEFT_OK);
        const char *wanted = commit(program, (enum breach)breach);
        weft_status status = weft_program_validate(program, &error);
        if (status != WEFT_INVALID_FORMAT || !strstr(error.text, wanted) ||
            !strstr(error.text, "rank 1") || !strstr(error.text, "step "))
            fail_msg("breach %d: wanted '%s', got '%s'", breach, wanted, error.text);
        // A plan refuses it too and leaves it with its owner.
        assert_int_equal(weft_plan_create(&program, &plan, &error), WEFT_INVALID_FORMAT);
        assert_true(program == kept && !plan);
        weft_program_destroy(&program);
    }
}

static bool touch(const struct weft_program *program, uint32_t a, uint32_t b)
{
    const struct weft_step *one = &program->steps[a], *other = &program->steps[b];
    for (enum weft_aliasing aliasing = 1; aliasing <= 2; aliasing++)
        for (uint32_t i = 0; i < (uint32_t)one->num_sources + one->num_destinations; i++)
            for (uint32_t j = 0; j < (uint32_t)other->num_sources + other->num_destinations; j++) {
                const struct weft_ref *left = &program->refs[one->first_ref + i];
                const struct weft_ref *right = &program->refs[other->first_ref + j];
                bool writes = i >= one->num_sources || j >= other->num_sources;
                if (!(program->aliasing & aliasing) || left->space == WEFT_LANE ||
                    right->space == WEFT_LANE || !writes)
                    continue;
                for (uint32_t c = 0; c < one->num_cells * other->num_cells; c++)
                    if (weft_program_location(program, aliasing, left->space,
                                              left->index + c / other->num_cells) ==
                        weft_program_location(program, aliasing, right->space,
                                              right->index + c % other->num_cells))
                        return true;
            }
    return false;
}

// Takes one dependency away; the check must see it unless the others imply it.
static void test_without(const struct weft_program *program, uint32_t number, uint32_t d,
                         long *needed, long *implied)
{
    struct weft_program *copy = weft_program_copy(program);
    struct weft_step *step = &copy->steps[number];
    uint32_t *list = &copy->dependencies[step->first_dependency], on = list[d];
    list[d] = list[--step->num_dependencies];
    struct weft_precedence *precedence = weft_precedence_create(copy);
    bool is_implied = weft_precedence_is_before(precedence, on, number);
    weft_precedence_destroy(&precedence);
    struct weft_plan *plan = NULL;
    weft_status status = weft_plan_create(&copy, &plan, NULL);
    assert_int_equal(status, is_implied ? WEFT_OK : WEFT_UNPROVED);
    *implied += is_implied;
    *needed += !is_implied;
    weft_plan_destroy(&plan);
    weft_program_destroy(&copy);
}

static void dependencies_are_sufficient_and_needed(void **state)
{
    (void)state;
    struct corpus *corpus = build_corpus(5);
    long needed = 0, implied = 0;
    for (int s = 0; s < corpus->count; s++) {
        const struct weft_program *program = corpus->sets[s].programs[0];
        struct weft_program *copy = weft_program_copy(program);
        struct weft_plan *plan = NULL;
        struct weft_error error;
        if (weft_plan_create(&copy, &plan, &error) != WEFT_OK)
            fail_msg("%s: %s", corpus->sets[s].name, error.text);
        weft_plan_destroy(&plan);
        for (uint32_t i = 0; i < program->num_steps; i++)
            for (uint32_t d = 0; d < program->steps[i].num_dependencies; d++) {
                uint32_t on = program->dependencies[program->steps[i].first_dependency + d];
                for (uint32_t e = 0; e < d; e++)
                    assert_int_not_equal(
                        program->dependencies[program->steps[i].first_dependency + e], on);
                if (strcmp(program->algorithm, "pairwise") == 0)
                    continue; // has few exchanges under way at a time, by choice
                assert_true(touch(program, on, i));
                test_without(program, i, d, &needed, &implied);
            }
    }
    destroy_corpus(corpus);
    print_message("%ld dependencies needed, %ld implied by others\n", needed, implied);
    assert_true(needed > 1000 && implied < needed / 2);
}

static void builder_errors_stick(void **state)
{
    (void)state;
    const struct weft_shape shape = {.collective = WEFT_ALL_REDUCE, .num_ranks = 2, .pieces = 2};
    struct weft_builder *builder = NULL;
    struct weft_program *program = NULL;
    struct weft_error error;
    assert_int_equal(weft_builder_create(&shape, "x", WEFT_OUT_OF_PLACE, &builder, &error),
                     WEFT_OK);
    weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, 9), weft_to(1, 0)); // no such cell
    weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, 0), weft_to(1, 0));
    assert_int_equal(weft_builder_finish(&builder, &program, &error), WEFT_INVALID_FORMAT);
    assert_true(strstr(error.text, "step 0") && !builder && !program);
    assert_int_equal(weft_builder_create(&shape, "x", WEFT_OUT_OF_PLACE, &builder, &error),
                     WEFT_OK);
    weft_builder_move(builder, 0, 1, weft_to(1, 0), weft_cells(WEFT_OUTPUT, 0)); // no promise
    assert_int_equal(weft_builder_finish(&builder, &program, &error), WEFT_INVALID_FORMAT);
    assert_true(strstr(error.text, "without promised labels") && !builder && !program);
    struct weft_shape bad = shape;
    bad.rank = 2;
    assert_int_equal(weft_builder_create(&bad, "x", WEFT_OUT_OF_PLACE, &builder, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_null(builder);
    weft_builder_destroy(&builder);
}

static struct weft_plan *plan_of(struct weft_program *program)
{
    struct weft_plan *plan = NULL;
    struct weft_error error;
    if (weft_plan_create(&program, &plan, &error) != WEFT_OK)
        fail_msg("%s", error.text);
    assert_null(program);
    return plan;
}

static void expect_difference(struct weft_program *one, struct weft_program *other,
                              const char *wanted)
{
    struct weft_plan *plans[2] = {plan_of(one), plan_of(other)};
    struct weft_error error = {0};
    weft_status status = weft_plans_agree(plans, 2, &error);
    if (wanted ? status != WEFT_UNPROVED || !strstr(error.text, wanted) ||
                     !strstr(error.text, "rank ") || !strstr(error.text, "step ")
               : status != WEFT_OK)
        fail_msg("wanted '%s', got '%s'", wanted ? wanted : "agreement", error.text);
    weft_plan_destroy(&plans[0]);
    weft_plan_destroy(&plans[1]);
}

static struct weft_program *program_of(const char *name, int num_ranks, int rank)
{
    return sample_program(sample_named(name), num_ranks, rank, 0);
}

static void plans_that_differ_are_told_apart(void **state)
{
    (void)state;
    expect_difference(program_of("ring", 2, 0), program_of("ring", 2, 1), NULL);
    expect_difference(program_of("ring", 2, 0), program_of("ring", 2, 0), "a second plan of");
    expect_difference(program_of("ring", 2, 0), program_of("ring", 3, 1), "another collective");
    expect_difference(program_of("direct_all_gather", 2, 0),
                      program_of("direct_all_gather_v", 2, 1), "another collective");
    struct weft_program *late = program_of("ring", 2, 1);
    for (uint32_t r = 0; r < late->num_refs; r++)
        late->refs[r].stamp += late->refs[r].space == WEFT_LANE;
    expect_difference(program_of("ring", 2, 0), late, "message 0 to rank 1");

    // Steps of this sample: copy, send, receive.
    struct weft_program *more = program_of("direct_all_gather", 2, 0);
    more->steps = realloc(more->steps, 4 * sizeof *more->steps);
    assert_non_null(more->steps);
    more->steps[more->num_steps++] = more->steps[1];
    expect_difference(more, program_of("direct_all_gather", 2, 1), "which expects only 1");
    struct weft_program *fewer = program_of("direct_all_gather", 2, 0);
    fewer->steps[1] = fewer->steps[--fewer->num_steps];
    expect_difference(fewer, program_of("direct_all_gather", 2, 1), "which sends only 0");

    struct weft_plan *alone = plan_of(program_of("short_reduce", 2, 1));
    uint32_t num_lanes;
    const struct weft_lane *lanes = weft_plan_lanes(alone, &num_lanes);
    assert_true(num_lanes == 1 && lanes[0].peer == 0 && lanes[0].num_receives == 2 &&
                lanes[0].num_sends == 0);
    assert_string_equal(weft_plan_program(alone)->algorithm, "short_reduce");
    weft_plan_destroy(&alone);
    weft_plan_destroy(&alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_breach_of_form_is_refused),
        cmocka_unit_test(dependencies_are_sufficient_and_needed),
        cmocka_unit_test(builder_errors_stick),
        cmocka_unit_test(plans_that_differ_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
