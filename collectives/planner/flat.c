/*
 * SPDX-License-Identifier: Apache-2.0
 * flat: one hop, for small sizes. Everybody sends all it has to everybody, and everybody combines
 * all of it alone, in rank order. Where ranks share memory, a communicator may replace the messages
 * by slots; the price says so.
 */
#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"
#include "collectives/planner/one_hop.h"

static const char *flat_supports(const struct weft_key *key)
{
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_BARRIER:
        return key->order == WEFT_ORDER_REPRODUCIBLE ? "combines in rank order, not as a tree"
                                                     : NULL;
    case WEFT_ALL_GATHER:
    case WEFT_BROADCAST:
        return NULL;
    default:
        return "only all_reduce, all_gather, broadcast and barrier";
    }
}

static int64_t flat_estimate(const struct weft_key *key, const struct weft_costs *costs)
{
    int64_t n = key->num_ranks, bytes = weft_key_bytes(key);
    int64_t reads = key->collective == WEFT_BROADCAST ? 1 : n - 1;
    int64_t each = key->collective == WEFT_ALL_GATHER ? bytes / n : bytes;
    bool is_reduction = weft_collective_reduces(key->collective);
    struct weft_load load = {.copied = each,
                             .moved = (__int128)(n - 1) * each,
                             .combined = is_reduction ? (__int128)reads * each : 0,
                             .crosses = true};
    __int128 price;
    if (n > 1 && costs->flat_ps >= 0 && key->collective == WEFT_ALL_REDUCE) {
        price = costs->flat_ps;
        load.moved = (__int128)reads * each;
    } else {
        load.messages = n > 1;
        load.steps = n > 1 ? 2 * (n - 1) + 1 : 1;
        price = 0;
    }
    return weft_price_clamp(price + weft_price(key, costs, &load));
}

static weft_status flat_emit(const struct weft_key *key, int rank, unsigned aliasing,
                             struct weft_program **program, struct weft_error *error)
{
    struct weft_builder *builder = NULL;
    WEFT_TRY(weft_emit_begin(key, rank, 1, "flat", aliasing, &builder, error));
    if (key->num_ranks == 1)
        weft_emit_alone(builder, key, 1);
    else if (weft_collective_reduces(key->collective))
        weft_one_hop_reduce(builder, key->num_ranks, rank);
    else if (key->collective == WEFT_ALL_GATHER)
        weft_one_hop_gather(builder, key->num_ranks, rank);
    else
        weft_one_hop_broadcast(builder, key->num_ranks, rank, key->root);
    return weft_builder_finish(&builder, program, error);
}

const struct weft_algorithm weft_algorithm_flat = {
    .name = "flat",
    .description = "everybody sends everything to everybody; one hop, for small sizes",
    .counts = WEFT_COUNTS_AGREED,
    .supports = flat_supports,
    .estimate = flat_estimate,
    .emit = flat_emit,
};
