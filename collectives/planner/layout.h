/*
 * SPDX-License-Identifier: Apache-2.0
 * How ranks lie on a machine, and what it costs to reach one another: all that an algorithm knows
 * of a topology. Ranks form groups within groups (GPUs of an NVLink domain, hosts, pods); the level
 * of two ranks is that of the smallest group that holds both, and each level has its prices. Level
 * 0 is the innermost; the top level holds all ranks in one group.
 *
 * A layout is a function of facts that all ranks agree on, so plans made from it fit together. It
 * is read-only once made, and used by one thread at a time.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_LAYOUT_H
#define WEFT_COLLECTIVES_PLANNER_LAYOUT_H

#include <stdbool.h>

#include "base/error.h"
#include "collectives/planner/curve.h"

enum { WEFT_LEVELS_LIMIT = 5 };

enum { WEFT_APART_LIMIT = 8 };

/* Between ranks that stand some places apart in their group, all of them at once. */
struct weft_level_apart {
    int64_t ps_per_mib;
    int64_t latency_ps;
};

/* Between ranks of one level. */
struct weft_level_costs {
    struct weft_curve message; // one message end to end, nobody else sending
    /* Moving bytes while all ranks of a group send to another group of this level at once, as each
     * of them sees it; what they share on the way makes it slower than the curve. */
    int64_t crowd_ps_per_mib;
    int64_t latency_ps; // of the longest way, which is part of the curve; 0: not known
    /* Ranks are processes on several hosts: bytes flow while their processors do other things. But
     * a message keeps the processors at its ends busy, and what all ranks send at once waits for
     * them: so long for each message of every rank; 0: not known. */
    int64_t busy_ps;
    int32_t leaves_host;
    /* Where links lead from rank to rank, and are shared on the way; 0: not known. For a MiB that
     * leaves a rank: to all others alike, alone (on average) or while they do the same; by the
     * logarithm of a distance, around a circle and (1) between numbers that differ in one bit. */
    int64_t fan_ps_per_mib;
    int64_t all_ps_per_mib;
    struct weft_level_apart apart[2][WEFT_APART_LIMIT];
};

/* Integers: costs computed from them are equal on all machines. */
struct weft_costs {
    int32_t num_levels; // >= 1
    struct weft_level_costs levels[WEFT_LEVELS_LIMIT];
    int64_t combine_ps_per_kib; // combining 1024 bytes with 1024 bytes
    int64_t copy_ps_per_kib;
    int64_t step_ps;    // executor overhead per step
    int64_t flat_ps;    // one exchange through flat shared-memory slots; -1: not available
    int64_t flat_bytes; // what one rank may put into such a slot
    int64_t launch_ps;  // once per operation, whatever the algorithm
    int32_t sharing;    // ranks that share one core at the same time, >= 1
    int32_t overlaps;   // 1: moving bytes needs no processor, so combining goes on at the same time
};

/* The groups of one level. */
struct weft_groups {
    int num_groups;
    int smallest, largest; // ranks in a group
    int *of_rank;          // (ranks) group of each; groups are numbered in order
    int *members; // (ranks) those of group g: members[first[g]] .. members[first[g + 1] - 1]
    int *first;   // (groups + 1)
    int *place;   // (ranks) place of each among the members of its group
};

/* One message from a rank to the next of a circle, while all circles run. */
struct weft_ring_hops {
    struct weft_curve near; // the slowest within a box
    struct weft_curve far;  // the slowest between boxes
    int num_far;            // hops between boxes; the others are near
    int64_t ps_per_mib;     // of the circle's own bytes on its slowest hop
};

/* Circles of ranks that together use the links well: circle c is order[c * num_ranks ...] and takes
 * weight[c] of the sum of all weights of the bytes. */
struct weft_rings {
    int num_rings; // 0: one circle, in the order of the layout
    int total_weight;
    int *order;
    int *place; // [c * num_ranks + rank]: where the rank stands in circle c
    int *weight;
    struct weft_ring_hops *hops;
};
enum { WEFT_RINGS_WEIGHT = 64 }; // the most that all weights may sum up to

struct weft_network;
struct weft_forests;
struct weft_tuned;

struct weft_layout {
    int num_ranks;
    struct weft_costs costs;
    /* levels[costs.num_levels - 1] is one group of all ranks. Its members are in order: neighbours
     * in it are near, and every group of every level is consecutive. */
    struct weft_groups levels[WEFT_LEVELS_LIMIT];
    bool is_in_order; // members are 0, 1, 2, ...
    struct weft_rings rings;
    struct weft_network *network; // terminal r is rank r; NULL: not known
    /* In groups below this level, ways keep to links from rank to rank where those lead to the end.
     * 0, and elsewhere: ways pass through ranks only where there is no other. */
    int linked_levels;
    struct weft_tuned *tuned;     // measured times, which count more than prices; NULL: none
    struct weft_forests *forests; // found when first asked for: the one thing that changes
};

/* Of num_ranks ranks with `costs`. group_of[l][rank], l below costs->num_levels - 1: names of
 * groups, any numbers; ranks of one group at one level must be together at the next. NULL with one
 * level. Levels that join nobody are dropped. Errors: INVALID_ARGUMENT (costs, groups that are not
 * nested), OUT_OF_MEMORY. */
weft_status weft_layout_create(int num_ranks, const struct weft_costs *costs,
                               const int *const *group_of, struct weft_layout **layout,
                               struct weft_error *error);
/* One that nobody has measured: assumed prices, in groups of `group` consecutive ranks (< 2: none)
 * and groups of `groups` such groups (< 2: none). Errors: as above. */
weft_status weft_layout_assumed(int num_ranks, int group, int groups, struct weft_layout **layout,
                                struct weft_error *error);
void weft_layout_destroy(struct weft_layout **layout);
/* Gives it circles in place of those it had; everything is copied. Errors: INVALID_ARGUMENT (a
 * circle that does not visit every rank once, weights below 1 or too large a sum), OUT_OF_MEMORY.
 */
weft_status weft_layout_set_rings(struct weft_layout *layout, int num_rings, const int *order,
                                  const int *weight, const struct weft_ring_hops *hops,
                                  struct weft_error *error);
/* The same of some of its ranks, in the order given; without rings and network, and without
 * measured times unless it is the same ranks again. Errors: INVALID_ARGUMENT (a rank twice or out
 * of range), OUT_OF_MEMORY. */
weft_status weft_layout_select(const struct weft_layout *layout, const int *ranks, int num_ranks,
                               struct weft_layout **selected, struct weft_error *error);

static inline int weft_layout_top(const struct weft_layout *layout)
{
    return layout->costs.num_levels - 1;
}
/* The rank at `place` of the order, and the other way round. */
static inline int weft_layout_at(const struct weft_layout *layout, int place)
{
    return layout->levels[weft_layout_top(layout)].members[place];
}
static inline int weft_layout_place(const struct weft_layout *layout, int rank)
{
    return layout->levels[weft_layout_top(layout)].place[rank];
}
/* The lowest level at which every block of `span` ranks (0 .. span - 1, span .. 2 span - 1, ...)
 * lies within one group. */
int weft_layout_block_level(const struct weft_layout *layout, int64_t span);
/* Level of the smallest group that holds both. */
static inline int weft_layout_level(const struct weft_layout *layout, int a, int b)
{
    int level = 0;
    while (layout->levels[level].of_rank[a] != layout->levels[level].of_rank[b])
        level++;
    return level;
}

#endif
