/*
 * SPDX-License-Identifier: Apache-2.0
 * See requests.h. The first digit of the walk turns fastest.
 */
#include "tests/planner/requests.h"

#include "base/dtype.h"

enum { num_rank_counts = 20, num_classes = 3, num_spans = 3 };

static const int class_values[num_classes] = {-1, 10, 19};

static int rank_count(int i)
{
    const int large[] = {32, 33, 64};
    return i < 17 ? i + 1 : large[i - 17];
}

// All roots of few ranks, three of many. Send: all peers of rank 0.
static int num_roots(const struct weft_key *key)
{
    int n = key->num_ranks;
    if (!weft_collective_is_rooted(key->collective))
        return 1;
    return n <= 9 ? n : 3;
}

static int root(const struct weft_key *key, int i)
{
    const int few[] = {0, 1, key->num_ranks - 1};
    return key->num_ranks <= 9 ? i : few[i];
}

static bool is_exchange(weft_collective collective)
{
    return collective == WEFT_ALL_TO_ALL || collective == WEFT_ALL_TO_ALL_V;
}

static const unsigned aliasing_values[] = {WEFT_OUT_OF_PLACE, WEFT_IN_PLACE,
                                           WEFT_OUT_OF_PLACE | WEFT_IN_PLACE, mixed_aliasing};

// No spans; one leaf or none for each rank; spans of several parts, some of them empty.
static void set_spans(struct request_walk *walk, int kind)
{
    uint32_t leaf = 0;
    for (int r = 0; r < walk->key.num_ranks; r++) {
        uint32_t odd = (uint32_t)(r * 7 + 3) % 11;
        walk->bounds[r] = leaf;
        leaf += kind == 1 ? r % 3 != 1 : odd < 3 ? 0 : odd;
    }
    walk->bounds[walk->key.num_ranks] = leaf;
    if (kind == 0)
        return;
    walk->key.num_leaves = leaf;
    walk->key.leaf_bounds = walk->bounds;
}

static void set_key(struct request_walk *walk)
{
    const int *state = walk->state;
    walk->key = (struct weft_key){.collective = (weft_collective)state[5],
                                  .num_ranks = rank_count(state[4]),
                                  .element_bytes = 4,
                                  .size_class = class_values[state[1]],
                                  .order = (weft_order)state[2]};
    walk->key.root = root(&walk->key, state[3]);
    walk->aliasing = aliasing_values[state[0]];
    set_spans(walk, state[6]);
}

static bool advance(struct request_walk *walk)
{
    const int limits[7] = {
        4, num_classes, 2, num_roots(&walk->key), num_rank_counts, WEFT_NUM_COLLECTIVES, num_spans};
    for (int digit = 0; digit < 7; digit++) {
        if (++walk->state[digit] < limits[digit])
            return true;
        walk->state[digit] = 0;
    }
    return false;
}

static bool is_wanted(const struct request_walk *walk)
{
    const struct weft_key *key = &walk->key;
    bool is_both = walk->aliasing == (WEFT_OUT_OF_PLACE | WEFT_IN_PLACE);
    if (key->collective == WEFT_RECV) // tested with send
        return false;
    if (key->collective == WEFT_SEND && key->root == 0)
        return false;
    if (is_exchange(key->collective) && is_both)
        return false;
    bool takes_spans = weft_collective_reduces(key->collective) &&
                       key->collective != WEFT_BARRIER && key->order == WEFT_ORDER_REPRODUCIBLE;
    if (key->num_leaves && !takes_spans)
        return false;
    if (walk->state[6] == 2 && walk->aliasing != WEFT_OUT_OF_PLACE) // several parts
        return false;
    if (key->num_ranks > 9 && key->size_class > 0 && walk->aliasing != WEFT_IN_PLACE &&
        walk->state[6] != 2)
        return false;
    return weft_collective_reduces(key->collective) || key->order == WEFT_ORDER_FREE;
}

bool next_request(struct request_walk *walk)
{
    do {
        if (!walk->has_begun)
            walk->has_begun = true;
        else if (!advance(walk))
            return false;
        set_key(walk);
    } while (!is_wanted(walk));
    return true;
}

struct request_end request_end(const struct weft_key *key, int rank)
{
    struct request_end end = {*key, true};
    if (key->collective != WEFT_SEND)
        return end;
    end.takes_part = rank == 0 || rank == key->root;
    if (rank == key->root) {
        end.key.collective = WEFT_RECV;
        end.key.root = 0;
    }
    return end;
}

unsigned request_aliasing(unsigned aliasing, int rank)
{
    if (aliasing != mixed_aliasing)
        return aliasing;
    return rank % 2 ? WEFT_IN_PLACE : WEFT_OUT_OF_PLACE;
}
