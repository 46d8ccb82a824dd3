/*
 * SPDX-License-Identifier: Apache-2.0
 * direct: every pair of ranks exchanges what one has for the other. A reduction gives each rank one
 * block, which it combines alone in a fixed order: its own value, then those of the ranks above it.
 * Few hops and the least bytes, but as many lanes as ranks.
 *
 * Rank r starts with its neighbour r - 1, then r - 2, and so on, which is also the order in which
 * those peers (to whom it is the first, second, ... rank above) take the messages in; so nobody is
 * everybody's first.
 */
#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"
#include "collectives/planner/one_hop.h"

struct direct {
    struct weft_builder *builder;
    int num_ranks;
    int rank;
};

static const char *direct_supports(const struct weft_key *key)
{
    if (weft_collective_reduces(key->collective) && key->order == WEFT_ORDER_REPRODUCIBLE)
        return "each rank combines in an order that begins with itself";
    return NULL;
}

static uint32_t pieces_of(const struct weft_key *key)
{
    return key->collective == WEFT_ALL_REDUCE ? (uint32_t)key->num_ranks : 1;
}

// Everybody's block r to rank r, which combines them into its output.
static void scatter_and_combine(const struct direct *direct)
{
    uint32_t own = (uint32_t)direct->rank;
    for (int i = 1; i < direct->num_ranks; i++) {
        int to = weft_circle(direct->rank, -i, direct->num_ranks);
        weft_builder_move(direct->builder, 0, 1, weft_cells(WEFT_INPUT, (uint32_t)to),
                          weft_to(to, weft_emit_fold_round(i)));
    }
    struct weft_emit_fold fold = {.builder = direct->builder, .into = weft_cells(WEFT_OUTPUT, own)};
    weft_emit_fold_cell(&fold, WEFT_INPUT, own);
    for (int i = 1; i < direct->num_ranks; i++) {
        int from = weft_circle(direct->rank, i, direct->num_ranks);
        weft_emit_fold_message(&fold, from, weft_emit_fold_round(i), weft_label_leaf(from, own));
    }
    weft_emit_fold_end(&fold);
}

static weft_status all_reduce(const struct direct *direct, struct weft_error *error)
{
    struct weft_folds *folds = weft_folds_create(direct->num_ranks, NULL);
    if (!folds)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    scatter_and_combine(direct);
    uint32_t stamp = weft_emit_fold_rounds(direct->num_ranks);
    for (int i = 1; i < direct->num_ranks; i++) {
        int to = weft_circle(direct->rank, -i, direct->num_ranks);
        int from = weft_circle(direct->rank, i, direct->num_ranks);
        struct weft_label result = weft_folds_label(folds, from, direct->num_ranks, (uint32_t)from);
        weft_builder_move(direct->builder, 0, 1, weft_cells(WEFT_OUTPUT, (uint32_t)direct->rank),
                          weft_to(to, stamp));
        weft_builder_move(direct->builder, 0, 1, weft_from(from, stamp, &result),
                          weft_cells(WEFT_OUTPUT, (uint32_t)from));
    }
    weft_folds_destroy(&folds);
    return WEFT_OK;
}

static void reduce(const struct direct *direct, int root)
{
    if (direct->rank != root) {
        int distance = weft_circle(direct->rank, -root, direct->num_ranks);
        weft_builder_move(direct->builder, 0, 1, weft_cells(WEFT_INPUT, 0),
                          weft_to(root, weft_emit_fold_round(distance)));
        return;
    }
    struct weft_emit_fold fold = {.builder = direct->builder, .into = weft_cells(WEFT_OUTPUT, 0)};
    weft_emit_fold_cell(&fold, WEFT_INPUT, 0);
    for (int i = 1; i < direct->num_ranks; i++) {
        int from = weft_circle(root, i, direct->num_ranks);
        weft_emit_fold_message(&fold, from, weft_emit_fold_round(i), weft_label_leaf(from, 0));
    }
    weft_emit_fold_end(&fold);
}

// In place, what arrives waits in scratch until the block it replaces has left.
static void all_to_all(const struct direct *direct, unsigned aliasing)
{
    struct weft_builder *builder = direct->builder;
    uint32_t own = (uint32_t)direct->rank, num_ranks = (uint32_t)direct->num_ranks, waiting = 0;
    bool is_in_place = aliasing & WEFT_IN_PLACE;
    if (is_in_place)
        waiting = weft_builder_scratch(builder, WEFT_OUTPUT, 0, num_ranks);
    weft_emit_copy(builder, own, 1);
    for (int i = 1; i < direct->num_ranks; i++) {
        int to = weft_circle(direct->rank, -i, direct->num_ranks);
        int from = weft_circle(direct->rank, i, direct->num_ranks);
        uint32_t block = (uint32_t)from;
        struct weft_label value = weft_label_leaf(from, own);
        weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, (uint32_t)to), weft_to(to, 0));
        weft_builder_move(builder, 0, 1, weft_from(from, 0, &value),
                          is_in_place ? weft_cells(WEFT_SCRATCH, waiting + block)
                                      : weft_cells(WEFT_OUTPUT, block));
    }
    for (uint32_t block = 0; is_in_place && block < num_ranks; block++)
        if (block != own)
            weft_builder_move(builder, 0, 1, weft_cells(WEFT_SCRATCH, waiting + block),
                              weft_cells(WEFT_OUTPUT, block));
}

static void point_to_point(const struct direct *direct, weft_collective collective, int peer)
{
    struct weft_label value = weft_label_leaf(peer, 0);
    if (collective == WEFT_SEND)
        weft_builder_move(direct->builder, 0, 1, weft_cells(WEFT_INPUT, 0), weft_to(peer, 0));
    else
        weft_builder_move(direct->builder, 0, 1, weft_from(peer, 0, &value),
                          weft_cells(WEFT_OUTPUT, 0));
}

static weft_status write_steps(const struct direct *direct, const struct weft_key *key,
                               unsigned aliasing, struct weft_error *error)
{
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
        return all_reduce(direct, error);
    case WEFT_BARRIER:
        weft_one_hop_reduce(direct->builder, direct->num_ranks, direct->rank);
        break;
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
        scatter_and_combine(direct);
        break;
    case WEFT_REDUCE:
        reduce(direct, key->root);
        break;
    case WEFT_BROADCAST:
        weft_one_hop_broadcast(direct->builder, direct->num_ranks, direct->rank, key->root);
        break;
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
        weft_one_hop_gather(direct->builder, direct->num_ranks, direct->rank);
        break;
    case WEFT_ALL_TO_ALL:
    case WEFT_ALL_TO_ALL_V:
        all_to_all(direct, aliasing);
        break;
    case WEFT_SEND:
    case WEFT_RECV:
        point_to_point(direct, key->collective, key->root);
        break;
    }
    return WEFT_OK;
}

static weft_status direct_emit(const struct weft_key *key, int rank, unsigned aliasing,
                               struct weft_program **program, struct weft_error *error)
{
    bool is_pair = key->collective == WEFT_SEND || key->collective == WEFT_RECV;
    bool is_exchange = key->collective == WEFT_ALL_TO_ALL || key->collective == WEFT_ALL_TO_ALL_V;
    if (is_pair && key->root == rank)
        return weft_fail(error, WEFT_UNSUPPORTED, "rank %d cannot send to or receive from itself",
                         rank);
    if (is_exchange && aliasing == (WEFT_OUT_OF_PLACE | WEFT_IN_PLACE))
        return weft_fail(error, WEFT_UNSUPPORTED,
                         "all-to-all in place and out of place are two programs");
    struct direct direct = {NULL, key->num_ranks, rank};
    WEFT_TRY(
        weft_emit_begin(key, rank, pieces_of(key), "direct", aliasing, &direct.builder, error));
    weft_status status = WEFT_OK;
    if (key->num_ranks == 1)
        weft_emit_alone(direct.builder, key, 1);
    else
        status = write_steps(&direct, key, aliasing, error);
    if (status != WEFT_OK) {
        weft_builder_destroy(&direct.builder);
        return status;
    }
    return weft_builder_finish(&direct.builder, program, error);
}

static int64_t direct_estimate(const struct weft_key *key, const struct weft_costs *costs)
{
    int64_t n = key->num_ranks, bytes = weft_key_bytes(key);
    __int128 others = (__int128)bytes * (n - 1) / n;
    struct weft_load load = {.messages = n > 1, .steps = 2 * n, .moved = others, .crosses = true};
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
        load = (struct weft_load){2 * (n > 1), 4 * n, 2 * others, others, 0, 0, true};
        break;
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
        load.combined = others;
        break;
    case WEFT_REDUCE:
        load = (struct weft_load){
            n > 1, n, (__int128)bytes * (n - 1), (__int128)bytes * (n - 1), 0, 1, true};
        break;
    case WEFT_BARRIER:
        load.moved = load.combined = (__int128)bytes * (n - 1);
        break;
    case WEFT_BROADCAST:
        load.moved = (__int128)bytes * (n - 1);
        load.steps = n;
        load.active = 1;
        break;
    case WEFT_SEND:
    case WEFT_RECV:
        load = (struct weft_load){1, 1, bytes, 0, 0, 2, false};
        break;
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
    case WEFT_ALL_TO_ALL:
    case WEFT_ALL_TO_ALL_V:
        load.copied = bytes / n;
        break;
    }
    return weft_price_clamp(weft_price(key, costs, &load));
}

const struct weft_algorithm weft_algorithm_direct = {
    .name = "direct",
    .description = "every pair exchanges; each rank combines its block alone",
    .counts = WEFT_COUNTS_PAIRWISE,
    .supports = direct_supports,
    .estimate = direct_estimate,
    .emit = direct_emit,
};
