/*
 * SPDX-License-Identifier: Apache-2.0
 * direct: every pair of ranks exchanges what one has for the other. A reduction gives each rank one
 * block, which it combines alone in a fixed order: its own value, then those of the ranks above it,
 * or the canonical tree where the order must be reproducible. Few hops and the least bytes, but as
 * many lanes as ranks.
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
    uint32_t cells;               // of the logical vector
    int width;                    // of the reduction; 0: canonical order
    struct weft_emit_parts parts; // with width 0
};

static const char *direct_supports(const struct weft_key *key, const struct weft_layout *layout)
{
    (void)layout;
    (void)key;
    return NULL;
}

static uint32_t pieces_of(const struct weft_key *key)
{
    return key->collective == WEFT_ALL_REDUCE ? (uint32_t)key->num_ranks : 1;
}

// Of the messages that a rank combines.
static int width_of(const struct weft_key *key)
{
    bool is_whole = key->collective == WEFT_REDUCE || key->collective == WEFT_BARRIER;
    return weft_emit_fold_width(key, weft_key_bytes(key) / (is_whole ? 1 : key->num_ranks));
}

static uint32_t cells_of(const struct weft_key *key)
{
    return key->collective == WEFT_REDUCE || key->collective == WEFT_BARRIER
               ? 1
               : (uint32_t)key->num_ranks;
}

// The values of output cell `cell` of this rank: from itself on around the circle, or canonically.
static void combine_cell(const struct direct *direct, uint32_t cell)
{
    struct weft_operand into = weft_cells(WEFT_OUTPUT, cell);
    struct weft_emit_fold fold;
    if (direct->width == 0) {
        weft_one_hop_fold_parts(direct->builder, &direct->parts, direct->rank, cell, direct->cells,
                                into);
        return;
    }
    weft_emit_fold_begin(&fold, direct->builder, into, direct->num_ranks, direct->width, cell);
    for (int i = 0; i < direct->num_ranks; i++) {
        int from = weft_circle(direct->rank, i, direct->num_ranks);
        if (from == direct->rank)
            weft_emit_fold_cell(&fold, WEFT_INPUT, cell);
        else
            weft_emit_fold_message(&fold, from, weft_emit_fold_round(direct->width, i),
                                   weft_label_leaf(from, cell));
    }
    weft_emit_fold_end(&fold);
}

static void send_input(const struct direct *direct, int to, uint32_t cell)
{
    int place = weft_circle(direct->rank, -to, direct->num_ranks);
    if (direct->width == 0)
        weft_one_hop_send_parts(direct->builder, &direct->parts, direct->rank, to, cell,
                                direct->cells);
    else
        weft_builder_move(direct->builder, 0, 1, weft_cells(WEFT_INPUT, cell),
                          weft_to(to, weft_emit_fold_round(direct->width, place)));
}

// Everybody's block r to rank r, which combines them into its output.
static void scatter_and_combine(const struct direct *direct)
{
    for (int i = 1; i < direct->num_ranks; i++) {
        int to = weft_circle(direct->rank, -i, direct->num_ranks);
        send_input(direct, to, (uint32_t)to);
    }
    combine_cell(direct, (uint32_t)direct->rank);
}

static weft_status all_reduce(const struct direct *direct, struct weft_error *error)
{
    int n = direct->num_ranks;
    struct weft_folds *folds = weft_folds_create(n, NULL);
    if (!folds)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    struct weft_label canonical = {.is_defined = 0};
    if (direct->width == 0)
        canonical = weft_emit_tree_label(0, (int)direct->parts.num_leaves, 0);
    scatter_and_combine(direct);
    uint32_t stamp = direct->width ? weft_emit_fold_rounds(direct->width, n)
                                   : weft_emit_part_stamps(&direct->parts);
    for (int i = 1; i < n; i++) {
        int to = weft_circle(direct->rank, -i, n), from = weft_circle(direct->rank, i, n);
        struct weft_label result = direct->width ? weft_folds_label(folds, from, n, (uint32_t)from)
                                                 : weft_label_at(canonical, (uint32_t)from);
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
    if (direct->rank == root)
        combine_cell(direct, 0);
    else
        send_input(direct, root, 0);
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
        weft_one_hop_reduce(direct->builder, key, &direct->parts, direct->rank, direct->width);
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
        weft_one_hop_all_to_all(direct->builder, direct->num_ranks, direct->rank, aliasing);
        break;
    case WEFT_GATHER:
    case WEFT_GATHER_V:
        weft_one_hop_to_root(direct->builder, direct->num_ranks, direct->rank, key->root);
        break;
    case WEFT_SCATTER:
    case WEFT_SCATTER_V:
        weft_one_hop_from_root(direct->builder, direct->num_ranks, direct->rank, key->root);
        break;
    case WEFT_SEND:
    case WEFT_RECV:
        point_to_point(direct, key->collective, key->root);
        break;
    }
    return WEFT_OK;
}

static weft_status direct_emit(const struct weft_key *key, const struct weft_layout *layout,
                               int rank, unsigned aliasing, struct weft_program **program,
                               struct weft_error *error)
{
    (void)layout;
    bool is_pair = key->collective == WEFT_SEND || key->collective == WEFT_RECV;
    if (is_pair && key->root == rank)
        return weft_fail(error, WEFT_UNSUPPORTED, "rank %d cannot send to or receive from itself",
                         rank);
    WEFT_TRY(weft_emit_check_aliasing(key, aliasing, error));
    struct direct direct = {
        .num_ranks = key->num_ranks, .rank = rank, .cells = cells_of(key), .width = width_of(key)};
    WEFT_TRY(
        weft_emit_begin(key, rank, pieces_of(key), "direct", aliasing, &direct.builder, error));
    weft_status status = WEFT_OK;
    if (direct.width == 0)
        status = weft_emit_parts_make(key, &direct.parts, error);
    if (status != WEFT_OK) {
        weft_builder_destroy(&direct.builder);
        return status;
    }
    if (key->num_ranks == 1)
        weft_emit_alone(direct.builder, key, 1);
    else
        status = write_steps(&direct, key, aliasing, error);
    weft_emit_parts_free(&direct.parts);
    if (status != WEFT_OK) {
        weft_builder_destroy(&direct.builder);
        return status;
    }
    return weft_builder_finish(&direct.builder, program, error);
}

// Ranks that share memory leave there what is for others, and each works on its share: a copy in,
// a copy or a sum out, and of a sum for all another copy. 0: they do not.
static __int128 price_in_memory(const struct weft_key *key, const struct weft_layout *layout)
{
    const struct weft_costs *costs = &layout->costs;
    int64_t n = key->num_ranks, exchanges = 1;
    __int128 bytes = weft_key_bytes(key), others = bytes * (n - 1) / n;
    struct weft_load load = {.copied = 2 * others};
    if (n < 2 || costs->flat_ps < 0 || !costs->flat_bytes || weft_layout_top(layout) > 0 ||
        key->num_leaves)
        return 0;
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_REDUCE:
        exchanges = 2;
        load.combined = others;
        break;
    case WEFT_REDUCE_SCATTER:
        load = (struct weft_load){.copied = others, .combined = others};
        break;
    case WEFT_BROADCAST:
        load.copied = 2 * bytes;
        break;
    case WEFT_ALL_GATHER:
        load.copied = bytes + bytes / n;
        break;
    case WEFT_ALL_TO_ALL:
        break;
    default:
        return 0;
    }
    return exchanges * (__int128)costs->flat_ps * costs->sharing + weft_price(key, layout, &load);
}

static int64_t direct_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    __int128 in_memory = price_in_memory(key, layout);
    if (in_memory > 0)
        return weft_price_clamp(in_memory);
    int64_t n = key->num_ranks, bytes = weft_key_bytes(key), hop = n > 1;
    int64_t parts = weft_emit_count_parts(key);
    int64_t rounds = hop ? weft_emit_fold_rounds(width_of(key), (int)parts) : 0;
    __int128 others = (__int128)bytes * (n - 1) / n, whole = (__int128)bytes * (n - 1);
    __int128 in = (__int128)bytes * parts * (n - 1) / n / n; // to combine a block
    int top = weft_layout_top(layout);
    struct weft_load load = {top, true, hop, 2 * n, others, 0, 0, 0, 0}, own = {.level = top};
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
        load =
            (struct weft_load){top, true, rounds + hop, 3 * n + rounds, in + others, in, 0, 0, 0};
        break;
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
        load = (struct weft_load){top, true, rounds, n + rounds, in, in, 0, 0, 0};
        break;
    case WEFT_REDUCE: // the root is busy, the others only send
        whole = (__int128)bytes * (parts - 1);
        load = (struct weft_load){top, true, rounds, 1 + rounds, whole, whole, 0, 1, 0};
        break;
    case WEFT_BARRIER:
        load = (struct weft_load){top, true, rounds, n + rounds, whole, whole, 0, 0, 0};
        break;
    case WEFT_BROADCAST:
        load = (struct weft_load){top, true, hop, n, whole, 0, 0, 1, 0};
        break;
    case WEFT_GATHER:
    case WEFT_GATHER_V:
    case WEFT_SCATTER:
    case WEFT_SCATTER_V:
        return weft_one_hop_root_estimate(key, layout);
    case WEFT_SEND:
    case WEFT_RECV:
        load = (struct weft_load){top, false, 1, 1, bytes, 0, 0, 2, 1};
        return weft_price_clamp(weft_price(key, layout, &load));
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
    case WEFT_ALL_TO_ALL:
    case WEFT_ALL_TO_ALL_V:
        load.messages = n - 1;
        if (key->collective == WEFT_ALL_GATHER || key->collective == WEFT_ALL_GATHER_V)
            own.copied = bytes / n; // what others get is sent once the own copy of it is made
        else
            load.copied = bytes / n;
        return weft_price_clamp(weft_price_at_once(key, layout, &load) +
                                weft_price(key, layout, &own));
    }
    int64_t messages = (n - 1) * (key->collective == WEFT_ALL_REDUCE ? 2 : 1);
    load.messages = load.rounds > 0 ? (messages + load.rounds - 1) / load.rounds : 0;
    return weft_price_clamp(weft_price(key, layout, &load));
}

const struct weft_algorithm weft_algorithm_direct = {
    .name = "direct",
    .description = "every pair exchanges; each rank combines its block alone",
    .counts = WEFT_COUNTS_PAIRWISE,
    .supports = direct_supports,
    .estimate = direct_estimate,
    .emit = direct_emit,
    .takes_spans = true,
};
