/*
 * SPDX-License-Identifier: Apache-2.0
 * The forests of a layout: for a collective, trees that reduce towards roots and trees that
 * broadcast from them, which together load no link beyond what the rate allows. They are found once
 * and kept with the layout; what is kept depends on the layout alone, not on who asked first.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_FORESTS_H
#define WEFT_COLLECTIVES_PLANNER_FORESTS_H

#include "collectives/planner/algorithm.h"
#include "topology/forest.h"

enum {
    WEFT_FOREST_RANKS_LIMIT = 128,
    WEFT_FOREST_FUSED = WEFT_REFS_LIMIT - 1, // children that one step adds up
    WEFT_FOREST_CHANNELS = WEFT_CHANNELS_LIMIT - 1,
    WEFT_FOREST_PRESSURES = 16,
};

/* Links that are used alike: busy for so long with a MiB of vector, after the first chunk has come
 * and before the last one has gone the hops from there on. */
struct weft_forest_pressure {
    int64_t ps_per_mib;
    int level;                   // of the hop over the link itself
    int hops[WEFT_LEVELS_LIMIT]; // before it, at least, and after it, at most
    int64_t shorter_ps; // by how much all of them are less far than their levels' prices say
};

struct weft_forest_plan {
    int num_ranks;
    const struct weft_forest *up;   // edges from parent to child, carried the other way; or NULL
    const struct weft_forest *down; // or NULL
    /* (num_ranks + 1) units: root r owns units first[r] .. first[r + 1] - 1 of the vector (of
     * all-gather and reduce-scatter: of its own block, equally many each). */
    const int64_t *first;
    /* What keeps it busy longest. */
    int num_pressures;
    struct weft_forest_pressure pressures[WEFT_FOREST_PRESSURES];
    /* By level of the two ranks. What the busiest lane from one to another, up or down, takes for a
     * MiB of vector; the narrowest lane; and the hops of the slowest way to a root and from one,
     * together. */
    int64_t lane_ps_per_mib[WEFT_LEVELS_LIMIT];
    int64_t hop_ps_per_mib[WEFT_LEVELS_LIMIT];
    int hops[WEFT_LEVELS_LIMIT];
    int64_t shorter_ps; // by how much these hops are less far than their levels' prices say
    /* Stamps until the first result is at a root: hops, and one more for each further turn in which
     * a root adds its children up; if another rank needs several turns, as many for each level. */
    int rise;
    bool is_wide; // that is so
    /* Of the trees that go up, then of those that go down: below WEFT_FOREST_CHANNELS. */
    uint16_t *channels;
    bool is_in_lockstep; // trees that take turns share channels, and wait for one another
    bool shares_lanes;   // trees with common edges share channels
};

static inline int64_t weft_forest_units(const struct weft_forest_plan *plan)
{
    return plan->first[plan->num_ranks];
}

struct weft_forests *weft_forests_create(void);
void weft_forests_destroy(struct weft_forests **forests);

/* How many plans there are to choose from for a collective, from few units (short trees, little
 * bookkeeping) to the optimum. 0: none, and *reason says why. */
int weft_forests_count(const struct weft_layout *layout, weft_collective collective, int root,
                       const char **reason);
/* Plan `number` of them; NULL without memory. Borrowed from the layout. */
const struct weft_forest_plan *weft_forests_get(const struct weft_layout *layout,
                                                weft_collective collective, int root, int number);

/* The best plan and number of chunks, and the price of both in picoseconds; a NULL plan and a price
 * of -1 where there is none. */
struct weft_forest_choice {
    const struct weft_forest_plan *plan;
    uint32_t chunks;
    __int128 price;
};
struct weft_forest_choice weft_forests_choose(const struct weft_key *key,
                                              const struct weft_layout *layout);

#endif
