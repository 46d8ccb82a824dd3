/*
 * SPDX-License-Identifier: Apache-2.0
 * See mutate.h.
 */
#include "collectives/program/mutate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collectives/program/oracle.h"
#include "collectives/program/plan.h"

enum { CHANGE_BYTES = 160, ATTEMPTS = 1000 };

const char *const weft_mutation_names[WEFT_NUM_MUTATIONS] = {
    [WEFT_DROP_STEP] = "step dropped",          [WEFT_SWAP_STEPS] = "steps swapped",
    [WEFT_RETARGET] = "reference retargeted",   [WEFT_RESIZE] = "wrong extent",
    [WEFT_LOSE_DEPENDENCY] = "dependency lost", [WEFT_ADD_DEPENDENCY] = "dependency added",
    [WEFT_SWAP_SOURCES] = "sources swapped",    [WEFT_FALSIFY_STAMP] = "wrong stamp",
    [WEFT_FALSIFY_PROMISE] = "wrong promise",   [WEFT_FALSIFY_RESULT] = "wrong result declared",
};

const char *const weft_verdict_names[WEFT_NUM_VERDICTS] = {
    [WEFT_REFUSED_BY_BOTH] = "refused by both",
    [WEFT_ACCEPTED_BY_BOTH] = "accepted by both",
    [WEFT_ACCEPTED_RESTAMPED] = "accepted by both after restamping",
    [WEFT_WRONGLY_ACCEPTED] = "accepted by the check alone",
    [WEFT_WRONGLY_REFUSED] = "refused by the check alone",
};

uint32_t weft_random_below(struct weft_random *random, uint32_t bound)
{
    random->state = weft_hash_mix(random->state, 1);
    return (uint32_t)((random->state >> 32) * bound >> 32);
}

// Another number than `value` below `bound` (>= 2); a neighbour in half of the cases.
static uint32_t another(struct weft_random *random, uint32_t value, uint32_t bound)
{
    uint32_t other = weft_random_below(random, 2)
                         ? (value + (weft_random_below(random, 2) ? 1 : bound - 1)) % bound
                         : weft_random_below(random, bound);
    return other == value ? (value + 1) % bound : other;
}

static uint32_t *dependencies_of(struct weft_program *program, const struct weft_step *step)
{
    return program->dependencies + step->first_dependency;
}

// Later steps move down by one number; those that depended on the dropped one inherit what it
// depended on, or nothing.
static bool drop_step(struct weft_program *program, uint32_t dropped, bool inherits)
{
    struct weft_step gone = program->steps[dropped];
    size_t room = program->num_dependencies;
    for (uint32_t s = 0; s < program->num_steps; s++)
        room += gone.num_dependencies;
    uint32_t *fresh = malloc((room + 1) * sizeof *fresh), count = 0;
    if (!fresh)
        return false;
    for (uint32_t s = 0; s < program->num_steps; s++) {
        struct weft_step *step = &program->steps[s];
        uint32_t first = count;
        for (uint32_t d = 0; d < step->num_dependencies; d++) {
            uint32_t on = dependencies_of(program, step)[d];
            if (on != dropped)
                fresh[count++] = on > dropped ? on - 1 : on;
            for (uint32_t h = 0; on == dropped && inherits && h < gone.num_dependencies; h++)
                fresh[count++] = dependencies_of(program, &gone)[h];
        }
        step->first_dependency = first;
        step->num_dependencies = (uint16_t)(count - first);
    }
    free(program->dependencies);
    program->dependencies = fresh;
    program->num_dependencies = count;
    program->num_steps--;
    memmove(&program->steps[dropped], &program->steps[dropped + 1],
            (program->num_steps - dropped) * sizeof *program->steps);
    return true;
}

static bool swap_steps(struct weft_program *program, uint32_t one, struct weft_random *random,
                       char *change)
{
    uint32_t other = one, wanted = 1 + weft_random_below(random, 3);
    for (uint32_t s = one + 1; s < program->num_steps && wanted; s++)
        if (program->steps[s].channel == program->steps[one].channel)
            other = s, wanted--;
    if (other == one)
        return false;
    struct weft_step kept = program->steps[one];
    program->steps[one] = program->steps[other];
    program->steps[other] = kept;
    for (uint32_t d = 0; d < program->num_dependencies; d++) {
        uint32_t *on = &program->dependencies[d];
        *on = *on == one ? other : *on == other ? one : *on;
    }
    snprintf(change, CHANGE_BYTES, "steps %u and %u swapped", one, other);
    return true;
}

static bool retarget(struct weft_program *program, uint32_t number, struct weft_random *random,
                     char *change)
{
    struct weft_step *step = &program->steps[number];
    uint32_t i = weft_random_below(random, (uint32_t)step->num_sources + step->num_destinations);
    struct weft_ref *ref = &program->refs[step->first_ref + i];
    if (weft_random_below(random, 6) == 0) {
        uint32_t channel = another(random, step->channel, program->num_channels + 1);
        if (channel == program->num_channels)
            program->num_channels++;
        snprintf(change, CHANGE_BYTES, "step %u: channel %u, was %u", number, channel,
                 step->channel);
        step->channel = (uint16_t)channel;
        return true;
    }
    if (ref->space == WEFT_LANE) {
        uint32_t peer = another(random, ref->index, (uint32_t)program->shape.num_ranks);
        snprintf(change, CHANGE_BYTES, "step %u reference %u: peer %u, was %u", number, i, peer,
                 ref->index);
        ref->index = peer;
        return peer != (uint32_t)program->shape.rank;
    }
    uint32_t space = ref->space, index = ref->index;
    if (weft_random_below(random, 3) == 0)
        ref->space = (uint8_t)another(random, space, WEFT_LANE);
    else
        ref->index = another(random, index, index + 2 + weft_random_below(random, 4));
    snprintf(change, CHANGE_BYTES, "step %u reference %u: space %u cell %u, was space %u cell %u",
             number, i, ref->space, ref->index, space, index);
    return true;
}

static bool resize(struct weft_program *program, uint32_t number, struct weft_random *random,
                   char *change)
{
    struct weft_step *step = &program->steps[number];
    if (program->num_scratch > 0 && weft_random_below(random, 3) == 0) {
        uint32_t i = weft_random_below(random, program->num_scratch);
        uint32_t cell = program->scratch[i].cell;
        program->scratch[i].cell =
            another(random, cell, weft_shape_blocks(&program->shape) * program->shape.pieces + 1);
        snprintf(change, CHANGE_BYTES, "step 0: scratch cell %u like cell %u, was %u", i,
                 program->scratch[i].cell, cell);
        return true;
    }
    uint32_t cells = another(random, step->num_cells, step->num_cells + 3);
    snprintf(change, CHANGE_BYTES, "step %u: %u cells, was %u", number, cells, step->num_cells);
    step->num_cells = cells;
    return cells > 0;
}

static bool lose_dependency(struct weft_program *program, uint32_t number,
                            struct weft_random *random, char *change)
{
    struct weft_step *step = &program->steps[number];
    if (step->num_dependencies == 0)
        return false;
    uint32_t d = weft_random_below(random, step->num_dependencies);
    uint32_t *list = dependencies_of(program, step);
    snprintf(change, CHANGE_BYTES, "step %u: dependency on step %u lost", number, list[d]);
    list[d] = list[step->num_dependencies - 1];
    step->num_dependencies--;
    return true;
}

static bool add_dependency(struct weft_program *program, uint32_t number,
                           struct weft_random *random, char *change)
{
    struct weft_step *step = &program->steps[number];
    if (number == 0)
        return false;
    size_t count = (size_t)program->num_dependencies + step->num_dependencies + 1;
    uint32_t *larger = realloc(program->dependencies, count * sizeof *larger);
    if (!larger)
        return false;
    program->dependencies = larger;
    uint32_t on = weft_random_below(random, number), first = program->num_dependencies;
    memcpy(&larger[first], &larger[step->first_dependency],
           step->num_dependencies * sizeof *larger);
    larger[count - 1] = on;
    step->first_dependency = first;
    step->num_dependencies++;
    program->num_dependencies = (uint32_t)count;
    snprintf(change, CHANGE_BYTES, "step %u: dependency on step %u added", number, on);
    return true;
}

static bool swap_sources(struct weft_program *program, uint32_t number, struct weft_random *random,
                         char *change)
{
    const struct weft_step *step = &program->steps[number];
    if (step->num_sources < 2)
        return false;
    uint32_t a = weft_random_below(random, step->num_sources);
    uint32_t b = another(random, a, step->num_sources);
    struct weft_ref *refs = &program->refs[step->first_ref], kept = refs[a];
    refs[a] = refs[b];
    refs[b] = kept;
    snprintf(change, CHANGE_BYTES, "step %u: sources %u and %u swapped", number, a, b);
    return true;
}

static bool falsify_stamp(struct weft_program *program, uint32_t number, struct weft_random *random,
                          char *change)
{
    const struct weft_step *step = &program->steps[number];
    uint32_t i = weft_random_below(random, (uint32_t)step->num_sources + step->num_destinations);
    struct weft_ref *ref = &program->refs[step->first_ref + i];
    if (ref->space != WEFT_LANE)
        return false;
    uint32_t stamp = another(random, ref->stamp, ref->stamp + 3);
    snprintf(change, CHANGE_BYTES, "step %u reference %u: stamp %u, was %u", number, i, stamp,
             ref->stamp);
    ref->stamp = stamp;
    return true;
}

static bool falsify_promise(struct weft_program *program, uint32_t number,
                            struct weft_random *random, char *change)
{
    const struct weft_step *step = &program->steps[number];
    const struct weft_ref *ref =
        weft_step_source(program, step, (int)weft_random_below(random, step->num_sources));
    if (ref->space != WEFT_LANE)
        return false;
    struct weft_label *label =
        &program->labels[ref->label + weft_random_below(random, step->num_cells)];
    int rank = (int)weft_random_below(random, (uint32_t)program->shape.num_ranks);
    switch (weft_random_below(random, 4)) {
    case 0:
        label->cell++;
        break;
    case 1:
        label->is_defined = 0;
        break;
    case 2: // one contribution more
        *label = weft_label_combine(*label, weft_label_leaf(rank, label->cell));
        break;
    default: // another tree of the same contributions
        label->expression = weft_label_combine(*label, *label).expression;
    }
    snprintf(change, CHANGE_BYTES, "step %u: another label promised", number);
    return true;
}

static bool falsify_result(struct weft_program *program, struct weft_random *random, char *change)
{
    uint32_t cells = weft_shape_output(&program->shape).cells;
    if (cells == 0)
        return false;
    uint32_t cell = weft_random_below(random, cells);
    program->results[cell] ^= 1;
    snprintf(change, CHANGE_BYTES, "result of output %u declared otherwise", cell);
    return true;
}

bool weft_mutate(struct weft_program *program, enum weft_mutation mutation,
                 struct weft_random *random, char change[CHANGE_BYTES])
{
    if (program->num_steps == 0)
        return false;
    uint32_t number = weft_random_below(random, program->num_steps);
    bool inherits;
    switch (mutation) {
    case WEFT_DROP_STEP:
        inherits = weft_random_below(random, 2);
        snprintf(change, CHANGE_BYTES, "step %u dropped, its dependencies %s", number,
                 inherits ? "inherited" : "too");
        return drop_step(program, number, inherits);
    case WEFT_SWAP_STEPS:
        return swap_steps(program, number, random, change);
    case WEFT_RETARGET:
        return retarget(program, number, random, change);
    case WEFT_RESIZE:
        return resize(program, number, random, change);
    case WEFT_LOSE_DEPENDENCY:
        return lose_dependency(program, number, random, change);
    case WEFT_ADD_DEPENDENCY:
        return add_dependency(program, number, random, change);
    case WEFT_SWAP_SOURCES:
        return swap_sources(program, number, random, change);
    case WEFT_FALSIFY_STAMP:
        return falsify_stamp(program, number, random, change);
    case WEFT_FALSIFY_PROMISE:
        return falsify_promise(program, number, random, change);
    case WEFT_FALSIFY_RESULT:
        return falsify_result(program, random, change);
    case WEFT_NUM_MUTATIONS:
        break;
    }
    return false;
}

weft_status weft_programs_check(struct weft_program *const *programs, int num_ranks,
                                struct weft_error *error)
{
    struct weft_plan **plans = calloc((size_t)num_ranks, sizeof(struct weft_plan *));
    weft_status status =
        plans ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for plans");
    for (int rank = 0; rank < num_ranks && status == WEFT_OK; rank++) {
        struct weft_program *copy = weft_program_copy(programs[rank]);
        status = copy ? weft_plan_create(&copy, &plans[rank], error)
                      : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for plans");
        weft_program_destroy(&copy);
    }
    if (status == WEFT_OK)
        status = weft_plans_agree(plans, num_ranks, error);
    for (int rank = 0; plans && rank < num_ranks; rank++)
        weft_plan_destroy(&plans[rank]);
    free(plans);
    return status;
}

static bool is_refusal(weft_status status)
{
    return status == WEFT_UNPROVED || status == WEFT_INVALID_FORMAT;
}

static bool is_named(const struct weft_error *error)
{
    return strstr(error->text, "rank ") && strstr(error->text, "step ");
}

static weft_status judge(struct weft_program *const *mutants, int num_ranks,
                         struct weft_mutation_report *report, struct weft_error *error)
{
    const struct weft_program *const *readable = (const struct weft_program *const *)mutants;
    struct weft_error unused;
    weft_status oracle = weft_oracle_verify(readable, num_ranks, &report->oracle);
    weft_status check = weft_programs_check(mutants, num_ranks, &report->check);
    if ((oracle != WEFT_OK && !is_refusal(oracle)) || (check != WEFT_OK && !is_refusal(check))) {
        const struct weft_error *failed =
            is_refusal(oracle) || oracle == WEFT_OK ? &report->check : &report->oracle;
        return weft_fail(error, failed->status, "%s", failed->text);
    }
    report->is_malformed = oracle == WEFT_INVALID_FORMAT;
    report->is_unnamed = (oracle != WEFT_OK && !is_named(&report->oracle)) ||
                         (check != WEFT_OK && !is_named(&report->check));
    if (oracle != WEFT_OK) {
        report->verdict = check == WEFT_OK ? WEFT_WRONGLY_ACCEPTED : WEFT_REFUSED_BY_BOTH;
        report->is_order_by_message =
            weft_oracle_verify_model(readable, num_ranks, &unused) == WEFT_OK;
        return WEFT_OK;
    }
    report->verdict = WEFT_ACCEPTED_BY_BOTH;
    if (check != WEFT_OK) {
        // What the first refusal was stays in report->check if the second look refuses too.
        weft_status restamped = weft_oracle_restamp(mutants, num_ranks, &unused);
        if (restamped == WEFT_OUT_OF_MEMORY)
            return weft_fail(error, restamped, "%s", unused.text);
        report->verdict =
            restamped == WEFT_OK && weft_programs_check(mutants, num_ranks, &unused) == WEFT_OK
                ? WEFT_ACCEPTED_RESTAMPED
                : WEFT_WRONGLY_REFUSED;
        if (report->verdict == WEFT_WRONGLY_REFUSED)
            report->check = unused;
    }
    return WEFT_OK;
}

// With nothing stale, what the check refuses it refuses for what the program does.
static weft_status judge_renewed(struct weft_program *const *mutants, int num_ranks,
                                 struct weft_mutation_report *report, struct weft_error *error)
{
    struct weft_error oracle_error, check_error;
    weft_status status = weft_oracle_redeclare(mutants, num_ranks, &oracle_error);
    if (is_refusal(status)) // it has no run, or none with a meaning
        return WEFT_OK;
    if (status != WEFT_OK)
        return weft_fail(error, status, "%s", oracle_error.text);
    weft_status oracle =
        weft_oracle_verify((const struct weft_program *const *)mutants, num_ranks, &oracle_error);
    weft_status check = weft_programs_check(mutants, num_ranks, &check_error);
    report->is_renewed = true;
    report->is_renewed_accepted = oracle == WEFT_OK && check == WEFT_OK;
    report->is_renewed_wrong = (oracle == WEFT_OK) != (check == WEFT_OK);
    report->is_unnamed |= (oracle != WEFT_OK && !is_named(&oracle_error)) ||
                          (check != WEFT_OK && !is_named(&check_error));
    if (report->is_renewed_wrong || report->is_unnamed) {
        if (oracle != WEFT_OK)
            report->oracle = oracle_error;
        if (check != WEFT_OK)
            report->check = check_error;
    }
    return WEFT_OK;
}

weft_status weft_mutation_judge(struct weft_program *const *programs, int num_ranks,
                                struct weft_mutation_report *report, struct weft_error *error)
{
    WEFT_TRY(judge(programs, num_ranks, report, error));
    return report->is_malformed ? WEFT_OK : judge_renewed(programs, num_ranks, report, error);
}

static bool copy_all(struct weft_program *const *programs, int num_ranks,
                     struct weft_program **copies)
{
    bool is_complete = true;
    for (int rank = 0; rank < num_ranks; rank++) {
        copies[rank] = weft_program_copy(programs[rank]);
        is_complete &= copies[rank] != NULL;
    }
    return is_complete;
}

static void destroy_all(struct weft_program **programs, int num_ranks)
{
    for (int rank = 0; rank < num_ranks; rank++)
        weft_program_destroy(&programs[rank]);
}

// One change somewhere in `copies`; false: it found nothing to change.
static bool change_one(struct weft_program **copies, int num_ranks, struct weft_random *random,
                       struct weft_mutation_report *report)
{
    char change[CHANGE_BYTES] = "";
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint32_t rank = weft_random_below(random, (uint32_t)num_ranks);
        struct weft_program *changed = weft_program_copy(copies[rank]);
        if (!changed)
            return false;
        report->mutation = (enum weft_mutation)weft_random_below(random, WEFT_NUM_MUTATIONS);
        if (weft_mutate(changed, report->mutation, random, change)) {
            weft_program_destroy(&copies[rank]);
            copies[rank] = changed;
            snprintf(report->change, sizeof report->change, "rank %u %.120s", rank, change);
            return true;
        }
        weft_program_destroy(&changed);
    }
    return false;
}

static bool are_valid(struct weft_program *const *programs, int num_ranks)
{
    for (int rank = 0; rank < num_ranks; rank++)
        if (weft_program_validate(programs[rank], NULL) != WEFT_OK)
            return false;
    return true;
}

weft_status weft_mutation_try(struct weft_program *const *programs, int num_ranks, int num_changes,
                              struct weft_random *random, struct weft_mutation_report *report,
                              struct weft_program **mutants, struct weft_error *error)
{
    struct weft_mutation_report made = {0};
    struct weft_program **copies = calloc((size_t)num_ranks, sizeof(struct weft_program *));
    if (!copies)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for mutants");
    weft_status status = WEFT_OK;
    if (!copy_all(programs, num_ranks, copies))
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for mutants");
    // A malformed program is not changed further, nor one of which nothing is left.
    bool goes_on = status == WEFT_OK;
    for (int i = 0; i < num_changes && goes_on; i++) {
        goes_on = change_one(copies, num_ranks, random, &made);
        if (!goes_on && i == 0)
            status = weft_fail(error, WEFT_NOT_FOUND, "nothing in these programs to change");
        goes_on = goes_on && are_valid(copies, num_ranks);
    }
    if (status == WEFT_OK && mutants && !copy_all(copies, num_ranks, mutants)) {
        destroy_all(mutants, num_ranks);
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for mutants");
    }
    if (status == WEFT_OK)
        status = weft_mutation_judge(copies, num_ranks, &made, error);
    destroy_all(copies, num_ranks);
    free(copies);
    if (status == WEFT_OK)
        *report = made;
    else if (mutants)
        destroy_all(mutants, num_ranks);
    return status;
}
