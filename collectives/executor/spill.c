/*
 * SPDX-License-Identifier: Apache-2.0
 * See spill.h.
 */
#include "collectives/executor/spill.h"

enum {
    TIMED_EVERY = 8, // stretches, two in a row; looking at the clock is not free
};

static uint32_t least(const uint32_t last[2])
{
    return last[0] < last[1] ? last[0] : last[1];
}

struct weft_spill_stretch weft_spill_begin(struct weft_spill *spills, size_t bytes,
                                           const struct weft_spill_rule *rule)
{
    int size_class = 0;
    if (bytes < WEFT_SPILL_LEAST_BYTES)
        return (struct weft_spill_stretch){0};
    while (size_class < WEFT_SPILL_CLASSES - 1 && bytes >> size_class >= 2 * WEFT_SPILL_LEAST_BYTES)
        size_class++;
    struct weft_spill *spill = &spills[size_class];
    uint32_t number = spill->stretches++;
    uint32_t trial = number % WEFT_SPILL_PERIOD - rule->cold;
    uint64_t cached = least(spill->last[0]), past = least(spill->last[1]);
    bool is_past = cached && past ? past * 100 < cached * rule->percent : rule->begins_past;
    if (trial <
        2 * rule->trials) // past them later: the first call after that misses what was cached
        return (struct weft_spill_stretch){
            .spill = spill, .is_timed = true, .past = trial >= rule->trials};
    bool is_timed = number >= rule->cold && number % TIMED_EVERY < 2;
    return (struct weft_spill_stretch){.spill = spill, .is_timed = is_timed, .past = is_past};
}

void weft_spill_end(const struct weft_spill_stretch *stretch)
{
    if (!stretch->is_timed || stretch->bytes == 0)
        return;
    uint64_t ps = (uint64_t)stretch->ns * 1000 / stretch->bytes;
    uint32_t *last = stretch->spill->last[stretch->past];
    last[1] = last[0];
    last[0] = ps < UINT32_MAX ? (uint32_t)ps : UINT32_MAX;
}

void weft_spill_undo(const struct weft_spill_stretch *stretch)
{
    if (stretch->spill)
        stretch->spill->stretches--;
}
