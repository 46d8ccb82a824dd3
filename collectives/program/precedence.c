/*
 * SPDX-License-Identifier: Apache-2.0
 * See precedence.h. Once complete(x) is known at one step of a channel it is known at all later
 * ones, so "known" is one number per channel: the first step there that knows.
 */
#include "collectives/program/precedence.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t never = UINT32_MAX;

struct weft_precedence {
    const struct weft_program *program;
    uint32_t *direct; // (channels, steps) first step of the channel that depends on the step
    uint32_t *after;  // (channels, steps) ... on the step or a later one of the step's own channel
};

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void fill(struct weft_precedence *precedence)
{
    const struct weft_program *program = precedence->program;
    size_t steps = program->num_steps;
    memset(precedence->direct, 0xff, program->num_channels * steps * sizeof *precedence->direct);
    for (uint32_t y = 0; y < steps; y++) {
        const struct weft_step *step = &program->steps[y];
        uint32_t *row = precedence->direct + step->channel * steps;
        for (uint32_t d = 0; d < step->num_dependencies; d++) {
            uint32_t x = program->dependencies[step->first_dependency + d];
            row[x] = smaller(row[x], y);
        }
    }
    uint32_t next_of_channel[WEFT_CHANNELS_LIMIT];
    memset(next_of_channel, 0xff, sizeof next_of_channel);
    for (size_t z = steps; z-- > 0;) {
        uint32_t own = program->steps[z].channel, next = next_of_channel[own];
        for (uint32_t b = 0; b < program->num_channels; b++)
            precedence->after[b * steps + z] =
                smaller(precedence->direct[b * steps + z],
                        next == never ? never : precedence->after[b * steps + next]);
        next_of_channel[own] = (uint32_t)z;
    }
}

struct weft_precedence *weft_precedence_create(const struct weft_program *program)
{
    struct weft_precedence *precedence = calloc(1, sizeof *precedence);
    size_t entries = (size_t)program->num_channels * program->num_steps + 1;
    if (!precedence)
        return NULL;
    precedence->program = program;
    precedence->direct = malloc(entries * sizeof *precedence->direct);
    precedence->after = malloc(entries * sizeof *precedence->after);
    if (!precedence->direct || !precedence->after)
        weft_precedence_destroy(&precedence);
    else
        fill(precedence);
    return precedence;
}

void weft_precedence_destroy(struct weft_precedence **precedence)
{
    if (!*precedence)
        return;
    free((*precedence)->direct);
    free((*precedence)->after);
    free(*precedence);
    *precedence = NULL;
}

bool weft_precedence_is_before(const struct weft_precedence *precedence, uint32_t x, uint32_t y)
{
    const struct weft_program *program = precedence->program;
    uint32_t channels = program->num_channels, target = program->steps[y].channel;
    size_t steps = program->num_steps;
    if (precedence->direct[target * steps + x] <= y)
        return true;
    if (channels == 1)
        return false;
    uint32_t known[WEFT_CHANNELS_LIMIT];
    for (uint32_t c = 0; c < channels; c++)
        known[c] = precedence->direct[c * steps + x];
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t a = 0; a < channels; a++)
            for (uint32_t c = 0; known[a] != never && c < channels; c++)
                if (precedence->after[c * steps + known[a]] < known[c]) {
                    known[c] = precedence->after[c * steps + known[a]];
                    changed = true;
                }
    }
    return known[target] <= y;
}
