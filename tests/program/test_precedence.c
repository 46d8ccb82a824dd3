/*
 * SPDX-License-Identifier: Apache-2.0
 * Happens-before against plain reachability, on random programs of many channels.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collectives/program/precedence.h"

enum { STEPS = 40, MOST_CHANNELS = 8, PROGRAMS = 400, MOST_DEPENDENCIES = 3 };

static uint32_t random_below(uint64_t *state, uint32_t bound)
{
    *state = weft_hash_mix(*state, 4);
    return (uint32_t)((*state >> 32) * bound >> 32);
}

// reach[a][b]: event a is not later than event b. Event 2s: step s posts; 2s + 1: it completes.
static void close_over(bool reach[2 * STEPS][2 * STEPS], const struct weft_program *program)
{
    memset(reach, 0, sizeof(bool) * 4 * STEPS * STEPS);
    for (uint32_t s = 0; s < program->num_steps; s++) {
        const struct weft_step *step = &program->steps[s];
        reach[2 * s][2 * s + 1] = true;
        for (uint32_t later = s + 1; later < program->num_steps; later++)
            if (program->steps[later].channel == step->channel)
                reach[2 * s][2 * later] = true;
        for (uint32_t d = 0; d < step->num_dependencies; d++)
            reach[2 * program->dependencies[step->first_dependency + d] + 1][2 * s] = true;
    }
    for (int k = 0; k < 2 * STEPS; k++)
        for (int a = 0; a < 2 * STEPS; a++)
            for (int b = 0; reach[a][k] && b < 2 * STEPS; b++)
                reach[a][b] |= reach[k][b];
}

static void equals_reachability(void **state)
{
    (void)state;
    static bool reach[2 * STEPS][2 * STEPS];
    struct weft_step steps[STEPS];
    uint32_t dependencies[STEPS * MOST_DEPENDENCIES];
    uint64_t random = 1;
    long before = 0, indirect = 0;
    for (int p = 0; p < PROGRAMS; p++) {
        struct weft_program program = {.num_channels = 1 + random_below(&random, MOST_CHANNELS),
                                       .num_steps = STEPS,
                                       .steps = steps,
                                       .dependencies = dependencies};
        uint32_t density = random_below(&random, MOST_DEPENDENCIES + 1);
        for (uint32_t s = 0; s < STEPS; s++) {
            steps[s] = (struct weft_step){
                .channel = (uint16_t)random_below(&random, program.num_channels),
                .first_dependency = program.num_dependencies,
                .num_dependencies = (uint16_t)(s ? random_below(&random, density + 1) : 0)};
            for (uint32_t d = 0; d < steps[s].num_dependencies; d++)
                dependencies[program.num_dependencies++] = random_below(&random, s);
        }
        struct weft_precedence *precedence = weft_precedence_create(&program);
        assert_non_null(precedence);
        close_over(reach, &program);
        for (uint32_t x = 0; x < STEPS; x++)
            for (uint32_t y = x + 1; y < STEPS; y++) {
                bool wanted = reach[2 * x + 1][2 * y];
                assert_int_equal(weft_precedence_is_before(precedence, x, y), wanted);
                before += wanted;
                bool is_direct = false;
                for (uint32_t d = 0; d < steps[y].num_dependencies; d++)
                    is_direct |= dependencies[steps[y].first_dependency + d] == x;
                indirect += wanted && !is_direct;
            }
        weft_precedence_destroy(&precedence);
        assert_null(precedence);
    }
    assert_true(before > 10000 && indirect > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_reachability)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
