/*
 * SPDX-License-Identifier: Apache-2.0
 * Prices: from routes of a topology, from explicit numbers, or assumed; and what algorithms do with
 * them. An algorithm describes the load of its critical path, one phase at a time; weft_price turns
 * a load into picoseconds. Everything is integer arithmetic in 128 bits, so that all machines agree
 * and 8 GiB on 16,384 ranks do not overflow.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_COSTS_H
#define WEFT_COLLECTIVES_PLANNER_COSTS_H

#include "collectives/planner/algorithm.h"

/* The work of the busiest rank in one phase. */
struct weft_load {
    int level;         // messages cross groups of this level
    bool is_crowd;     // all ranks of a group do so at once; else few enough not to share a way
    int64_t rounds;    // messages that wait for one another
    int64_t steps;     // in all
    __int128 moved;    // bytes to or from peers, the larger of the two, in all rounds together
    __int128 combined; // bytes
    __int128 copied;   // bytes
    int64_t active;    // ranks busy at the same time, half of them sending; 0: all, who do both
    int64_t messages;  // that a round's bytes come in, all at once; 0: one
};

enum weft_cost_source { WEFT_COST_ASSUMED, WEFT_COST_ROUTE, WEFT_COST_MEASURED };

/* One machine nobody has measured, of one level. `cores` that the ranks share; < 1: as many as
 * ranks. */
struct weft_costs weft_costs_assumed(int num_ranks, int cores);
/* Puts a route's price in place of the assumed one at a level. `bandwidth_bytes_per_s` <= 0 or
 * `latency_ps` < 0: not known, what stands stays. */
void weft_level_use_route(struct weft_level_costs *level, int64_t latency_ps,
                          int64_t bandwidth_bytes_per_s);
/* Ranks whose bytes wait for one another at a core while they cross a level, of `sharing` that have
 * it: between hosts bytes flow by themselves. */
static inline int64_t weft_level_sharing(const struct weft_level_costs *level, int64_t sharing)
{
    return level->leaves_host ? 1 : sharing;
}
/* How long processors are busy with `messages` that all ranks together send across a level. */
static inline __int128 weft_level_busy(const struct weft_level_costs *level, __int128 messages,
                                       int num_ranks)
{
    return level->busy_ps * messages / num_ranks;
}
/* Whether ranks combine and copy while their bytes cross a level: links move those of GPUs, but
 * between hosts of processes a processor does. */
static inline bool weft_level_overlaps(const struct weft_costs *costs,
                                       const struct weft_level_costs *level)
{
    return costs->overlaps && !level->leaves_host;
}
/* What crosses a level in a crowd shares its links with so many times as much. */
void weft_level_share(struct weft_level_costs *level, int factor);
/* INVALID_ARGUMENT unless every price is usable (not negative, below an hour per message or MiB).
 */
weft_status weft_costs_check(const struct weft_costs *costs, struct weft_error *error);

/* Bytes of the whole logical vector at the lower edge of the key's size class. */
int64_t weft_key_bytes(const struct weft_key *key);
/* One round of `bytes` in `messages` (>= 1) messages at once: each has the line of the level's
 * curve that is best for it alone, and together they fill the link. */
struct weft_round_price {
    __int128 fixed, links;
};
struct weft_round_price weft_price_round(const struct weft_level_costs *level, __int128 bytes,
                                         int64_t messages, bool is_crowd);
__int128 weft_price(const struct weft_key *key, const struct weft_layout *layout,
                    const struct weft_load *load);
/* The same where partners stand `distance` places apart in their group, `is_across`: have numbers
 * there that differ in this power of two. */
__int128 weft_price_apart(const struct weft_key *key, const struct weft_layout *layout,
                          const struct weft_load *load, int64_t distance, bool is_across);
/* The same where load->moved goes to all other ranks alike: only what leaves the groups of a level
 * crosses the links of the next. */
__int128 weft_price_spread(const struct weft_key *key, const struct weft_layout *layout,
                           const struct weft_load *load);
/* The same again where all messages are under way at once: between groups, bytes flow while the
 * rank goes on with its steps and copies. */
__int128 weft_price_at_once(const struct weft_key *key, const struct weft_layout *layout,
                            const struct weft_load *load);
/* To int64_t, at least 1. */
int64_t weft_price_clamp(__int128 picoseconds);
/* Smallest k with 2^k >= n. */
int weft_log2_ceil(int64_t n);

#endif
