/*
 * SPDX-License-Identifier: Apache-2.0
 * Which tree goes on which channel. Lanes are in order, and links are shared equally by lanes: two
 * trees with an edge in common had better have channels of their own, or the lane that they share
 * would get half of what each of them needs. Trees without a common edge may share a channel.
 *
 * Trees that go up and that go down, and narrow and wide ones, are kept apart: their steps are not
 * in the same order at both ends of a lane.
 */
#include <stdlib.h>
#include <string.h>

#include "collectives/planner/forests_private.h"

enum { UP, UP_WIDE, DOWN, DOWN_WIDE, NUM_KINDS };

struct dealer {
    size_t n;
    uint64_t *taken; // (n, n) channels on which some tree has this edge
    int first[NUM_KINDS], count[NUM_KINDS], num_trees[NUM_KINDS];
    int load[WEFT_FOREST_CHANNELS]; // trees on it
    bool shares_lanes;
};

static bool find_kinds(const struct weft_forest *forest, int narrow, uint8_t *kinds,
                       struct dealer *dealer)
{
    for (int t = 0; forest && t < forest->num_trees; t++) {
        int root, inner;
        if (!weft_forests_turns(forest, t, &root, &inner))
            return false;
        kinds[t] = (uint8_t)(inner > 1 ? narrow + 1 : narrow);
        dealer->num_trees[kinds[t]]++;
    }
    return true;
}

// One for each tree, or by how many trees there are of a kind.
static void share_out(struct dealer *dealer)
{
    int trees = 0, given = 0, largest = 0;
    for (int k = 0; k < NUM_KINDS; k++)
        trees += dealer->num_trees[k];
    for (int k = 0; k < NUM_KINDS; k++) {
        int count = dealer->num_trees[k];
        if (trees > WEFT_FOREST_CHANNELS && count > 0) {
            count = (int)((int64_t)count * (WEFT_FOREST_CHANNELS - NUM_KINDS) / trees) + 1;
            largest = dealer->num_trees[k] > dealer->num_trees[largest] ? k : largest;
        }
        dealer->count[k] = count;
        given += count;
    }
    if (trees > WEFT_FOREST_CHANNELS)
        dealer->count[largest] += WEFT_FOREST_CHANNELS - given;
    for (int k = 1; k < NUM_KINDS; k++)
        dealer->first[k] = dealer->first[k - 1] + dealer->count[k - 1];
}

// The channel of a kind on which fewest edges of a tree are taken, of these the one with fewest
// trees.
static uint16_t deal_one(struct dealer *dealer, const struct weft_forest *forest,
                         const struct weft_forest_tree *tree, int kind)
{
    const struct weft_forest_edge *edges = &forest->edges[tree->first_edge];
    int taken[WEFT_FOREST_CHANNELS] = {0}, best = dealer->first[kind];
    for (size_t e = 0; e + 1 < dealer->n; e++) {
        uint64_t set = dealer->taken[(size_t)edges[e].from * dealer->n + (size_t)edges[e].to];
        for (; set; set &= set - 1)
            taken[__builtin_ctzll(set)]++;
    }
    for (int c = best; c < dealer->first[kind] + dealer->count[kind]; c++)
        if (taken[c] != taken[best] ? taken[c] < taken[best] : dealer->load[c] < dealer->load[best])
            best = c;
    dealer->load[best]++;
    dealer->shares_lanes |= taken[best] > 0;
    for (size_t e = 0; e + 1 < dealer->n; e++)
        dealer->taken[(size_t)edges[e].from * dealer->n + (size_t)edges[e].to] |= (uint64_t)1
                                                                                  << best;
    return (uint16_t)best;
}

static void deal(struct dealer *dealer, const struct weft_forest *forest, const uint8_t *kinds,
                 uint16_t *channels)
{
    memset(dealer->taken, 0, dealer->n * dealer->n * sizeof *dealer->taken);
    for (int t = 0; forest && t < forest->num_trees; t++)
        channels[t] = deal_one(dealer, forest, &forest->trees[t], kinds[t]);
}

bool weft_forests_deal(struct weft_forest_plan *plan)
{
    _Static_assert(WEFT_FOREST_CHANNELS <= 64, "sets of channels are words");
    struct dealer dealer = {.n = (size_t)plan->num_ranks};
    int up = plan->up ? plan->up->num_trees : 0, down = plan->down ? plan->down->num_trees : 0;
    uint8_t *kinds = calloc((size_t)up + (size_t)down + 1, sizeof *kinds);
    dealer.taken = calloc(dealer.n * dealer.n, sizeof *dealer.taken);
    plan->channels = calloc((size_t)up + (size_t)down + 1, sizeof *plan->channels);
    bool is_made = kinds && dealer.taken && plan->channels &&
                   find_kinds(plan->up, UP, kinds, &dealer) &&
                   find_kinds(plan->down, DOWN, kinds + up, &dealer);
    if (is_made) {
        share_out(&dealer);
        deal(&dealer, plan->up, kinds, plan->channels);
        deal(&dealer, plan->down, kinds + up, plan->channels + up);
        bool has_turns = plan->up && plan->rise > plan->up->depth;
        bool is_shared = up + down > WEFT_FOREST_CHANNELS;
        plan->shares_lanes = dealer.shares_lanes;
        plan->is_in_lockstep = plan->is_wide || (has_turns && is_shared);
    }
    free(kinds);
    free(dealer.taken);
    return is_made;
}
