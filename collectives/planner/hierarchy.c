/*
 * SPDX-License-Identifier: Apache-2.0
 * See hierarchy.h.
 */
#include "collectives/planner/hierarchy.h"

#include <stdlib.h>
#include <string.h>

// Shares of a tier are a multiple of all sizes of its groups where this is enough for it.
enum { FINE_SHARES = 64, CELLS_LIMIT = 1 << 16, SUMS_LIMIT = 1 << 19 };

int weft_hierarchy_first(const struct weft_hierarchy *hierarchy, int tier, int group)
{
    const struct weft_groups *groups = hierarchy->tiers[tier].groups;
    int place = groups->first[group];
    if (tier == 0)
        return place;
    const struct weft_groups *below = hierarchy->tiers[tier - 1].groups;
    return place == hierarchy->layout->num_ranks ? below->num_groups
                                                 : below->of_rank[groups->members[place]];
}

int weft_hierarchy_member(const struct weft_hierarchy *hierarchy, int tier, int rank)
{
    const struct weft_groups *groups = hierarchy->tiers[tier].groups;
    if (tier == 0)
        return groups->place[rank];
    return hierarchy->tiers[tier - 1].groups->of_rank[rank] -
           weft_hierarchy_first(hierarchy, tier, groups->of_rank[rank]);
}

int weft_hierarchy_owner(const struct weft_hierarchy *hierarchy, int tier, int group,
                         uint32_t index)
{
    for (; tier >= 0; tier--) {
        uint32_t shares = hierarchy->tiers[tier].shares;
        int first = weft_hierarchy_first(hierarchy, tier, group);
        uint64_t members = (uint64_t)weft_hierarchy_members(hierarchy, tier, group);
        group = first + (int)(index % shares * members / shares);
        index /= shares;
    }
    return weft_layout_at(hierarchy->layout, group);
}

uint32_t weft_hierarchy_home(const struct weft_hierarchy *hierarchy, int rank)
{
    uint32_t index = 0;
    for (int t = 0; t < hierarchy->num_tiers; t++) {
        const struct weft_tier *tier = &hierarchy->tiers[t];
        int members = weft_hierarchy_members(hierarchy, t, tier->groups->of_rank[rank]);
        int member = weft_hierarchy_member(hierarchy, t, rank);
        index = index * tier->shares + weft_share_first(tier->shares, members, member);
    }
    return index;
}

static uint64_t divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// The least common multiple of the sizes, or a multiple of the largest that comes near.
static void share_out(struct weft_hierarchy *hierarchy, int tier, bool is_fine)
{
    struct weft_tier *at = &hierarchy->tiers[tier];
    uint64_t multiple = 1;
    at->smallest = hierarchy->layout->num_ranks;
    at->largest = 1;
    for (int g = 0; g < at->groups->num_groups; g++) {
        int members = weft_hierarchy_members(hierarchy, tier, g);
        at->smallest = members < at->smallest ? members : at->smallest;
        at->largest = members > at->largest ? members : at->largest;
        if (multiple <= FINE_SHARES)
            multiple *= (uint64_t)members / divisor(multiple, (uint64_t)members);
    }
    is_fine = is_fine && at->smallest < at->largest;
    at->shares = (uint32_t)at->largest;
    if (is_fine && multiple <= FINE_SHARES)
        at->shares = (uint32_t)multiple;
    else if (is_fine && at->largest < FINE_SHARES)
        at->shares *= (uint32_t)(FINE_SHARES / at->largest);
}

static bool multiply(struct weft_hierarchy *hierarchy)
{
    uint64_t limit = 2 * (uint64_t)hierarchy->layout->num_ranks, indices = 1, sums = 0;
    uint64_t cells_limit = limit < CELLS_LIMIT ? CELLS_LIMIT : limit;
    uint64_t sums_limit = limit < SUMS_LIMIT ? SUMS_LIMIT : limit;
    for (int t = 0; t < hierarchy->num_tiers; t++) {
        struct weft_tier *tier = &hierarchy->tiers[t];
        indices *= tier->shares;
        sums += indices * (uint64_t)tier->groups->num_groups;
        if (indices > cells_limit || sums > sums_limit)
            return false;
        tier->indices = (uint32_t)indices;
    }
    hierarchy->cells = (uint32_t)indices;
    return true;
}

bool weft_hierarchy_init(struct weft_hierarchy *hierarchy, const struct weft_layout *layout,
                         unsigned levels, bool is_fine)
{
    *hierarchy = (struct weft_hierarchy){.layout = layout};
    for (int l = 0; l <= weft_layout_top(layout); l++) {
        if (l < weft_layout_top(layout) && !(levels >> l & 1))
            continue;
        int tier = hierarchy->num_tiers++;
        hierarchy->tiers[tier] =
            (struct weft_tier){.level = l, .groups = &layout->levels[l], .width = 2};
        share_out(hierarchy, tier, is_fine);
    }
    if (multiply(hierarchy))
        return true;
    for (int t = 0; t < hierarchy->num_tiers; t++)
        hierarchy->tiers[t].shares = (uint32_t)hierarchy->tiers[t].largest;
    return multiply(hierarchy);
}

/* ---- labels ---- */

struct weft_label weft_hierarchy_contribution(const struct weft_hierarchy *hierarchy,
                                              const struct weft_hierarchy_sums *sums, int tier,
                                              int member, uint32_t index)
{
    if (tier == 0)
        return weft_label_leaf(weft_layout_at(hierarchy->layout, member), 0);
    return sums->of[tier - 1][(size_t)member * hierarchy->tiers[tier - 1].indices + index];
}

// Of halving: partners a half apart first. `values` is used up.
static struct weft_label halve(struct weft_label *values, int count)
{
    for (int half = count / 2; half >= 1; half /= 2)
        for (int i = 0; i < half; i++)
            values[i] = weft_label_combine(values[i], values[i + half]);
    return values[0];
}

// The sums that the members of a group own, from what the members contribute.
static weft_status combine(const struct weft_tier *tier, struct weft_label *values, int count,
                           struct weft_label *owned, struct weft_error *error)
{
    if (tier->exchange == WEFT_EXCHANGE_HALVING || count == 1) {
        owned[0] = halve(values, count);
        for (int m = 1; m < count; m++)
            owned[m] = owned[0];
        return WEFT_OK;
    }
    struct weft_folds *folds = weft_folds_create_of(values, count);
    if (!folds)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    for (int m = 0; m < count; m++)
        owned[m] = weft_folds_label(folds, m, count, 0);
    weft_folds_destroy(&folds);
    return WEFT_OK;
}

static weft_status fill(const struct weft_hierarchy *hierarchy, struct weft_hierarchy_sums *sums,
                        int t, struct weft_label *values, struct weft_error *error)
{
    const struct weft_tier *tier = &hierarchy->tiers[t];
    struct weft_label *owned = values + tier->largest, *to = sums->of[t];
    for (int g = 0; g < tier->groups->num_groups; g++) {
        int first = weft_hierarchy_first(hierarchy, t, g);
        int count = weft_hierarchy_members(hierarchy, t, g);
        for (uint32_t x = 0; x < tier->indices / tier->shares; x++) {
            for (int m = 0; m < count; m++)
                values[m] = weft_hierarchy_contribution(hierarchy, sums, t, first + m, x);
            WEFT_TRY(combine(tier, values, count, owned, error));
            for (uint32_t s = 0; s < tier->shares; s++)
                *to++ = owned[(uint64_t)s * (uint64_t)count / tier->shares];
        }
    }
    return WEFT_OK;
}

weft_status weft_hierarchy_sums_create(const struct weft_hierarchy *hierarchy,
                                       struct weft_hierarchy_sums *sums, struct weft_error *error)
{
    weft_status status = WEFT_OK;
    *sums = (struct weft_hierarchy_sums){{NULL}};
    for (int t = 0; t < hierarchy->num_tiers && status == WEFT_OK; t++) {
        const struct weft_tier *tier = &hierarchy->tiers[t];
        struct weft_label *values = malloc(2 * (size_t)tier->largest * sizeof *values);
        sums->of[t] =
            malloc((size_t)tier->groups->num_groups * tier->indices * sizeof *sums->of[t]);
        if (!values || !sums->of[t])
            status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
        else
            status = fill(hierarchy, sums, t, values, error);
        free(values);
    }
    if (status != WEFT_OK)
        weft_hierarchy_sums_destroy(sums);
    return status;
}

void weft_hierarchy_sums_destroy(struct weft_hierarchy_sums *sums)
{
    for (int t = 0; t < WEFT_LEVELS_LIMIT; t++)
        free(sums->of[t]);
    *sums = (struct weft_hierarchy_sums){{NULL}};
}
