/*
 * SPDX-License-Identifier: Apache-2.0
 * See try_program.h.
 */
#include "tests/planner/try_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "collectives/program/oracle.h"
#include "collectives/program/plan.h"
#include "tests/planner/requests.h"
#include "tests/planner/simulate.h"

struct all {
    struct weft_program *programs[TRY_RANKS_LIMIT]; // NULL: takes no part
    struct weft_plan *plans[TRY_RANKS_LIMIT];       // of those that do
    enum weft_aliasing used[TRY_RANKS_LIMIT];
    int num_plans;
};

static const char *emit_all(struct all *all, const struct weft_algorithm *algorithm,
                            const struct weft_key *key, const struct weft_layout *layout,
                            unsigned aliasing, struct weft_error *error)
{
    for (int r = 0; r < key->num_ranks; r++) {
        struct request_end end = request_end(key, r);
        unsigned meant = request_aliasing(aliasing, r);
        bool is_both = meant == (WEFT_OUT_OF_PLACE | WEFT_IN_PLACE);
        all->used[r] = is_both ? (r % 2 ? WEFT_IN_PLACE : WEFT_OUT_OF_PLACE) : meant;
        if (!end.takes_part)
            continue;
        if (algorithm->emit(&end.key, layout, r, meant, &all->programs[r], error) != WEFT_OK)
            return "emit";
        struct weft_program *copy = weft_program_copy(all->programs[r]);
        if (weft_plan_create(&copy, &all->plans[all->num_plans++], error) != WEFT_OK)
            return "check";
    }
    return NULL;
}

static const char *ask_all(struct all *all, int num_ranks, uint64_t seed, struct weft_error *error)
{
    const struct weft_program *programs[TRY_RANKS_LIMIT];
    int count = 0;
    if (weft_plans_agree(all->plans, all->num_plans, error) != WEFT_OK)
        return "lanes";
    for (int r = 0; r < num_ranks; r++)
        if (all->programs[r])
            programs[count++] = all->programs[r];
    if (count == num_ranks && weft_oracle_verify(programs, num_ranks, error) != WEFT_OK)
        return "oracle";
    const char *problem =
        simulate(all->programs, all->used, num_ranks, seed % 5 ? 97 + seed % 13 : seed % 3, seed);
    if (problem)
        (void)weft_fail(error, WEFT_UNPROVED, "%s", problem);
    return problem ? "data" : NULL;
}

uint64_t try_program(const struct weft_algorithm *algorithm, const struct weft_key *key,
                     const struct weft_layout *layout, unsigned aliasing, uint64_t seed)
{
    struct all all = {0};
    struct weft_error error = {0};
    uint64_t num_steps = 0;
    const char *problem = emit_all(&all, algorithm, key, layout, aliasing, &error);
    if (!problem)
        problem = ask_all(&all, key->num_ranks, seed, &error);
    if (problem)
        fail_msg("%s %s of %d ranks, root %d, size class %d, aliasing %u: %s: %s", algorithm->name,
                 weft_collective_names[key->collective], key->num_ranks, key->root, key->size_class,
                 aliasing, problem, error.text);
    for (int r = 0; r < key->num_ranks; r++) {
        num_steps += all.programs[r] ? all.programs[r]->num_steps : 0;
        weft_program_destroy(&all.programs[r]);
    }
    for (int i = 0; i < all.num_plans; i++)
        weft_plan_destroy(&all.plans[i]);
    return num_steps;
}
