/*
 * SPDX-License-Identifier: Apache-2.0
 * How a vector is shared out in groups within groups. A tier is a level of the layout that is used;
 * the members of one of its groups are the groups of the tier below (of the lowest: ranks). The
 * vector is cut into as many shares as the lowest tier has, each of these into as many as the next
 * has, and so on: a cell is a number in mixed radix, the lowest tier's digit first. In a group, a
 * digit says which member owns the cell; that member's own group says by the digits below which
 * rank. All groups of a tier have equally many shares, so groups of unequal size own unequally many
 * per member, and ranks with the same cells in different groups find each other by arithmetic.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_HIERARCHY_H
#define WEFT_COLLECTIVES_PLANNER_HIERARCHY_H

#include "collectives/planner/algorithm.h"

/* How the members of a group exchange. */
enum weft_exchange {
    WEFT_EXCHANGE_DIRECT,  // everybody with everybody at once
    WEFT_EXCHANGE_HALVING, // halving and doubling; a power of two of members in each group
    WEFT_NUM_EXCHANGES,
};

struct weft_tier {
    int level; // of the layout
    const struct weft_groups *groups;
    int smallest, largest; // members of a group
    uint32_t shares;       // >= largest
    uint32_t indices;      // product of the shares up to this tier
    enum weft_exchange exchange;
    int width; // direct: values combined in one step
};

struct weft_hierarchy {
    const struct weft_layout *layout;
    int num_tiers;
    struct weft_tier tiers[WEFT_LEVELS_LIMIT];
    uint32_t cells; // of the whole vector
};

/* With the levels whose bits are set in `levels` (the top always). `is_fine`: more shares than
 * members where sizes differ, so that all own about equally much. False where the vector would be
 * cut into too many cells, because groups differ too much in size. */
bool weft_hierarchy_init(struct weft_hierarchy *hierarchy, const struct weft_layout *layout,
                         unsigned levels, bool is_fine);

/* Members of group `group` of tier `tier`: numbers of groups of the tier below (of the lowest tier:
 * places of the layout's order), from the first on. */
int weft_hierarchy_first(const struct weft_hierarchy *hierarchy, int tier, int group);
static inline int weft_hierarchy_members(const struct weft_hierarchy *hierarchy, int tier,
                                         int group)
{
    int end = weft_hierarchy_first(hierarchy, tier, group + 1);
    return end - weft_hierarchy_first(hierarchy, tier, group);
}
/* Which member of its group of tier `tier` holds `rank`. */
int weft_hierarchy_member(const struct weft_hierarchy *hierarchy, int tier, int rank);
/* The rank that owns index `index` (below tiers[tier].indices) in a group of a tier; tier -1: the
 * rank at a place. */
int weft_hierarchy_owner(const struct weft_hierarchy *hierarchy, int tier, int group,
                         uint32_t index);
/* An index of the whole vector that `rank` owns, and no other rank has this one. */
uint32_t weft_hierarchy_home(const struct weft_hierarchy *hierarchy, int rank);

/* Of `shares` shares, member `member` of `count` owns those from this one up to the next member's
 * first. */
static inline uint32_t weft_share_first(uint32_t shares, int count, int member)
{
    uint64_t product = (uint64_t)shares * (uint64_t)member;
    return (uint32_t)((product + (uint64_t)count - 1) / (uint64_t)count);
}

/* Sums of all groups: sums[tier][group * indices + index]. Cells are left 0. */
struct weft_hierarchy_sums {
    struct weft_label *of[WEFT_LEVELS_LIMIT];
};
weft_status weft_hierarchy_sums_create(const struct weft_hierarchy *hierarchy,
                                       struct weft_hierarchy_sums *sums, struct weft_error *error);
void weft_hierarchy_sums_destroy(struct weft_hierarchy_sums *sums);
/* What a member of a group of `tier` contributes to index `index` of the tier below; member as
 * numbered by weft_hierarchy_first. */
struct weft_label weft_hierarchy_contribution(const struct weft_hierarchy *hierarchy,
                                              const struct weft_hierarchy_sums *sums, int tier,
                                              int member, uint32_t index);

#endif
