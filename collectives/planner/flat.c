/*
 * SPDX-License-Identifier: Apache-2.0
 * flat: one hop, for small sizes. Everybody sends all it has to everybody, and everybody combines
 * all of it alone, in rank order, or as the canonical tree where the order must be reproducible.
 * Where ranks share memory, a communicator may replace the messages by slots (not with spans of
 * leaves); the price says so.
 */
#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"
#include "collectives/planner/one_hop.h"

static const char *flat_supports(const struct weft_key *key, const struct weft_layout *layout)
{
    (void)layout;
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_BARRIER:
    case WEFT_REDUCE:
    case WEFT_REDUCE_SCATTER:
    case WEFT_ALL_GATHER:
    case WEFT_BROADCAST:
    case WEFT_ALL_TO_ALL:
    case WEFT_GATHER:
    case WEFT_SCATTER:
        return NULL;
    default:
        return "only collectives whose blocks have one size";
    }
}

static bool moves_at_root(const struct weft_key *key)
{
    return key->collective == WEFT_GATHER || key->collective == WEFT_SCATTER;
}

// Of what a rank sends each other rank.
static int64_t message_bytes(const struct weft_key *key)
{
    bool has_blocks = key->collective == WEFT_ALL_GATHER || key->collective == WEFT_ALL_TO_ALL ||
                      key->collective == WEFT_REDUCE_SCATTER || moves_at_root(key);
    return weft_key_bytes(key) / (has_blocks ? key->num_ranks : 1);
}

static int64_t flat_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    const struct weft_costs *costs = &layout->costs;
    int64_t n = key->num_ranks, bytes = message_bytes(key);
    bool is_reduction = weft_collective_reduces(key->collective);
    struct weft_load load = {.level = weft_layout_top(layout), .is_crowd = true, .copied = bytes};
    // Slots: write one, read the others. They must have room for the class's upper edge.
    bool is_own = key->collective == WEFT_ALL_GATHER || key->collective == WEFT_GATHER;
    int64_t slot = is_own ? bytes : weft_key_bytes(key);
    if (n > 1 && costs->flat_ps >= 0 && !key->num_leaves && slot <= costs->flat_bytes / 2) {
        load.copied += is_reduction ? 0 : bytes * (n - 1);
        load.combined = is_reduction ? bytes * (n - 1) : 0;
        return weft_price_clamp((__int128)costs->flat_ps * costs->sharing +
                                weft_price(key, layout, &load));
    }
    if (moves_at_root(key))
        return weft_one_hop_root_estimate(key, layout);
    int64_t parts = weft_emit_count_parts(key);
    int64_t rounds = weft_emit_fold_rounds(weft_emit_fold_width(key, bytes), (int)parts);
    bool is_spread = !is_reduction;
    if (n > 1) {
        load.rounds = is_reduction ? rounds : 1;
        load.steps = is_spread && key->collective != WEFT_BROADCAST ? 2 * n : n + load.rounds + 1;
        load.moved = (__int128)bytes * (n - 1) * parts / n;
        load.combined = is_reduction ? load.moved : 0;
        load.messages = (n - 1 + load.rounds - 1) / load.rounds;
        // All combine in rank order, so in every round all want something of the same few ranks.
        if (is_reduction && key->collective != WEFT_REDUCE) {
            load.moved *= rounds;
            load.is_crowd = false;
        }
    }
    bool sums_at_all = is_reduction && key->collective != WEFT_REDUCE;
    if ((sums_at_all || key->collective == WEFT_BROADCAST) &&
        costs->levels[load.level].fan_ps_per_mib > 0)
        load.active = 1; // what one sender's links bear counts
    // Values come in rank order: as many rounds as a host has of them are rounds within it.
    __int128 near = 0;
    if (is_reduction && load.level > 0 && load.rounds > 1) {
        struct weft_load inside = {.rounds = load.rounds * layout->levels[0].smallest / n};
        load.rounds -= inside.rounds;
        near = weft_price(key, layout, &inside);
    }
    // In place or not, what others get is sent once the own copy of it is made.
    if (key->collective == WEFT_ALL_GATHER && n > 1) {
        struct weft_load own = {.copied = load.copied};
        near = weft_price(key, layout, &own);
        load.copied = 0;
    }
    return weft_price_clamp(near +
                            (is_spread ? weft_price_at_once : weft_price)(key, layout, &load));
}

static weft_status flat_emit(const struct weft_key *key, const struct weft_layout *layout, int rank,
                             unsigned aliasing, struct weft_program **program,
                             struct weft_error *error)
{
    (void)layout;
    struct weft_builder *builder = NULL;
    struct weft_emit_parts parts = {.parts = NULL};
    int width = weft_emit_fold_width(key, message_bytes(key));
    WEFT_TRY(weft_emit_check_aliasing(key, aliasing, error));
    WEFT_TRY(weft_emit_begin(key, rank, 1, "flat", aliasing, &builder, error));
    weft_status status = width || !weft_collective_reduces(key->collective)
                             ? WEFT_OK
                             : weft_emit_parts_make(key, &parts, error);
    if (status != WEFT_OK) {
        weft_builder_destroy(&builder);
        return status;
    }
    if (key->num_ranks == 1)
        weft_emit_alone(builder, key, 1);
    else if (weft_collective_reduces(key->collective))
        weft_one_hop_reduce(builder, key, &parts, rank, width);
    else if (key->collective == WEFT_ALL_GATHER)
        weft_one_hop_gather(builder, key->num_ranks, rank);
    else if (key->collective == WEFT_GATHER)
        weft_one_hop_to_root(builder, key->num_ranks, rank, key->root);
    else if (key->collective == WEFT_SCATTER)
        weft_one_hop_from_root(builder, key->num_ranks, rank, key->root);
    else if (key->collective == WEFT_ALL_TO_ALL)
        weft_one_hop_all_to_all(builder, key->num_ranks, rank, aliasing);
    else
        weft_one_hop_broadcast(builder, key->num_ranks, rank, key->root);
    weft_emit_parts_free(&parts);
    return weft_builder_finish(&builder, program, error);
}

const struct weft_algorithm weft_algorithm_flat = {
    .name = "flat",
    .description = "everybody sends everything to everybody; one hop, for small sizes",
    .counts = WEFT_COUNTS_AGREED,
    .supports = flat_supports,
    .estimate = flat_estimate,
    .emit = flat_emit,
    .takes_spans = true,
};
