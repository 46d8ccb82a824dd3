/*
 * SPDX-License-Identifier: Apache-2.0
 * What a forest takes, and which one in how many chunks is the best for a request; see
 * forests_measure.c for what is known of its links.
 */
#include "collectives/planner/costs.h"
#include "collectives/planner/forests.h"

enum { CHUNKS_LIMIT = 512, CELLS_LIMIT = 1 << 17, STEPS_LIMIT = 1 << 15 };

static int64_t num_trees(const struct weft_forest_plan *plan)
{
    return (plan->up ? plan->up->num_trees : 0) + (plan->down ? plan->down->num_trees : 0);
}

// Of one level.
struct pace {
    __int128 fixed; // of a message
    __int128 alone; // until one has passed, on links that nobody shares
    __int128 chunk; // while links are shared by chunks of other trees
    __int128 lane;  // the busiest one, for all bytes
};

static void find_paces(const struct weft_key *key, const struct weft_layout *layout,
                       const struct weft_forest_plan *plan, uint32_t chunks, struct pace *paces)
{
    __int128 bytes = weft_key_bytes(key);
    int64_t trees = plan->up ? plan->up->num_trees : plan->down->num_trees;
    __int128 message = bytes / (trees * (int64_t)chunks);
    for (int l = 0; l < layout->costs.num_levels; l++) {
        const struct weft_curve *curve = &layout->costs.levels[l].message;
        const struct weft_line *line = weft_curve_best(curve, message);
        // A protocol that is half as fast as the fastest one fills half of a lane.
        __int128 fastest = curve->lines[curve->num_lines - 1].ps_per_mib;
        __int128 slope = fastest ? line->ps_per_mib : 0;
        fastest = fastest ? fastest : 1;
        __int128 alone = weft_curve_slope(message, plan->hop_ps_per_mib[l]) * slope / fastest;
        paces[l] =
            (struct pace){line->fixed_ps, alone, alone,
                          weft_curve_slope(bytes, plan->lane_ps_per_mib[l]) * slope / fastest};
    }
    for (int i = 0; i < plan->num_pressures; i++) {
        struct pace *pace = &paces[plan->pressures[i].level];
        __int128 shared = weft_curve_slope(bytes, plan->pressures[i].ps_per_mib) / chunks;
        shared /= plan->up && plan->down ? 2 : 1; // of trees that go the same way
        if (pace->lane > 0)
            pace->chunk = shared > pace->chunk ? shared : pace->chunk;
    }
}

// The busiest links or lanes take their time for all bytes, once the first chunk is there; and the
// last one has to go on from there.
static __int128 price_of(const struct weft_key *key, const struct weft_layout *layout,
                         const struct weft_forest_plan *plan, uint32_t chunks)
{
    const struct weft_costs *costs = &layout->costs;
    __int128 bytes = weft_key_bytes(key), longest = 0, all = 0;
    int top = weft_layout_top(layout), hops = 0;
    bool is_weightless = costs->levels[top].message.lines[0].ps_per_mib == 0;
    struct pace paces[WEFT_LEVELS_LIMIT];
    find_paces(key, layout, plan, chunks, paces);
    for (int i = 0; i < plan->num_pressures; i++) {
        const struct weft_forest_pressure *pressure = &plan->pressures[i];
        const struct pace *own = &paces[pressure->level];
        __int128 time = is_weightless ? 0 : weft_curve_slope(bytes, pressure->ps_per_mib);
        time = (own->lane > time ? own->lane : time) + own->fixed - pressure->shorter_ps;
        for (int l = 0; l <= top; l++)
            time += pressure->hops[l] * (paces[l].fixed + paces[l].chunk);
        longest = time > longest ? time : longest;
    }
    for (int l = 0; l <= top; l++) {
        all += plan->hops[l] * (paces[l].fixed + paces[l].alone);
        hops += plan->hops[l];
    }
    all -= plan->shorter_ps;
    // On a lane that trees share, what one of them is late with holds up the others, stamp by
    // stamp.
    if (plan->shares_lanes && hops > 0)
        all += (chunks - 1) * all / hops;
    longest = all > longest ? all : longest;
    // A sum of many children grows turn by turn, each a message's latency after the one before.
    if (plan->up)
        longest += (plan->rise - plan->up->depth) * paces[0].fixed;
    // Where trees that take turns share channels, each stamp waits for the one before.
    if (plan->is_in_lockstep)
        longest += (__int128)(chunks - 1) * paces[top].fixed;
    __int128 local = (__int128)(hops + (int)chunks) * 2 * costs->step_ps;
    if (!costs->overlaps && plan->up)
        local += bytes * costs->combine_ps_per_kib / 1024;
    longest *= weft_level_sharing(&costs->levels[top], costs->sharing);
    // All messages of all ranks, a tree's edges a chunk.
    __int128 sent = (__int128)num_trees(plan) * chunks * (plan->num_ranks - 1);
    __int128 busy = weft_level_busy(&costs->levels[top], sent, plan->num_ranks);
    longest = busy > longest ? busy : longest;
    return longest + local * costs->sharing;
}

// The best number of chunks of one plan; more only where they are worth it.
static struct weft_forest_choice choose_chunks(const struct weft_key *key,
                                               const struct weft_layout *layout,
                                               const struct weft_forest_plan *plan)
{
    struct weft_forest_choice best = {plan, 1, price_of(key, layout, plan, 1)};
    for (uint32_t chunks = 2; chunks <= CHUNKS_LIMIT; chunks *= 2) {
        if (weft_forest_units(plan) * chunks > CELLS_LIMIT ||
            num_trees(plan) * chunks > STEPS_LIMIT)
            break;
        __int128 price = price_of(key, layout, plan, chunks);
        if (price + price / 64 < best.price)
            best = (struct weft_forest_choice){plan, chunks, price};
    }
    return best;
}

// What full links lose, about, and no price sees: they are shared evenly by lanes, so heavy trees
// fall behind light ones; and trees on one lane wait for one another.
static __int128 handicap_of(const struct weft_key *key, const struct weft_forest_plan *plan)
{
    int64_t slowest = 0, trees = weft_forest_units(plan);
    for (int i = 0; i < plan->num_pressures; i++)
        if (plan->pressures[i].ps_per_mib > slowest)
            slowest = plan->pressures[i].ps_per_mib;
    bool is_even = (!plan->up || plan->up->num_trees == trees) &&
                   (!plan->down || plan->down->num_trees == trees);
    __int128 busy = weft_curve_slope(weft_key_bytes(key), slowest);
    return !is_even ? busy / 8 : plan->shares_lanes ? busy / 12 : 0;
}

// The best of the plans.
struct weft_forest_choice weft_forests_choose(const struct weft_key *key,
                                              const struct weft_layout *layout)
{
    const char *reason;
    struct weft_forest_choice best = {NULL, 1, -1};
    __int128 least = -1;
    int count = weft_forests_count(layout, key->collective, key->root, &reason);
    for (int i = 0; i < count; i++) {
        const struct weft_forest_plan *plan =
            weft_forests_get(layout, key->collective, key->root, i);
        if (!plan)
            continue;
        struct weft_forest_choice choice = choose_chunks(key, layout, plan);
        __int128 price = choice.price + handicap_of(key, plan);
        if (least < 0 || price + price / 64 < least) {
            least = price;
            best = choice;
        }
    }
    return best;
}
