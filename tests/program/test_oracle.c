/*
 * SPDX-License-Identifier: Apache-2.0
 * The oracle on programs whose verdict is known.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "collectives/program/oracle.h"
#include "collectives/program/plan.h"
#include "tests/program/samples.h"

static weft_status check_all(struct weft_program **programs, int num_ranks,
                             struct weft_error *error)
{
    struct weft_plan *plans[8] = {0};
    weft_status status = WEFT_OK;
    for (int rank = 0; rank < num_ranks && status == WEFT_OK; rank++) {
        struct weft_program *copy = weft_program_copy(programs[rank]);
        assert_non_null(copy);
        status = weft_plan_create(&copy, &plans[rank], error);
        weft_program_destroy(&copy);
    }
    if (status == WEFT_OK)
        status = weft_plans_agree(plans, num_ranks, error);
    for (int rank = 0; rank < num_ranks; rank++)
        weft_plan_destroy(&plans[rank]);
    return status;
}

static void accepts_good_programs(void **state)
{
    (void)state;
    for (int s = 0; s < num_samples; s++)
        for (int num_ranks = 2; num_ranks <= samples[s].most_ranks; num_ranks++)
            for (unsigned aliasing = 1; aliasing <= 3; aliasing++) {
                struct weft_program *programs[8];
                struct weft_error error = {0};
                sample_programs(&samples[s], num_ranks, aliasing, programs);
                if (check_all(programs, num_ranks, &error) != WEFT_OK)
                    fail_msg("%s, %d ranks: check: %s", samples[s].name, num_ranks, error.text);
                if (weft_oracle_verify((const struct weft_program *const *)programs, num_ranks,
                                       &error) != WEFT_OK)
                    fail_msg("%s, %d ranks: oracle: %s", samples[s].name, num_ranks, error.text);
                if (weft_oracle_restamp(programs, num_ranks, &error) != WEFT_OK ||
                    check_all(programs, num_ranks, &error) != WEFT_OK)
                    fail_msg("%s, %d ranks: restamped: %s", samples[s].name, num_ranks, error.text);
                destroy_programs(programs, num_ranks);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(accepts_good_programs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
