/*
 * SPDX-License-Identifier: Apache-2.0
 * ring: rank r only sends to r + 1. Blocks travel around the circle, gathering each rank's
 * contribution and then the result; rooted collectives are chains of pieces that follow one
 * another. Two lanes per rank and the least bytes on every link, but as many hops as ranks.
 */
#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"

struct ring {
    struct weft_builder *builder;
    const struct weft_folds *folds;
    int num_ranks;
    int rank;
    int next;
    int previous;
};

static const char *ring_supports(const struct weft_key *key, const struct weft_layout *layout)
{
    (void)layout;
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
    case WEFT_REDUCE:
        return key->order == WEFT_ORDER_REPRODUCIBLE ? "combines along the circle, not as a tree"
                                                     : NULL;
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
    case WEFT_BROADCAST:
        return NULL;
    default:
        return "only reductions, gathers and broadcast";
    }
}

// Chains follow one another in pieces of about 128 KiB.
static uint32_t pieces_of(const struct weft_key *key)
{
    if (key->collective == WEFT_ALL_REDUCE)
        return (uint32_t)key->num_ranks;
    if (key->collective != WEFT_BROADCAST && key->collective != WEFT_REDUCE)
        return 1;
    int doublings = key->size_class - 17;
    return doublings < 0 ? 1 : doublings > 6 ? 64 : UINT32_C(1) << doublings;
}

static void send_cell(const struct ring *ring, enum weft_space space, uint32_t cell, uint32_t stamp)
{
    weft_builder_move(ring->builder, 0, 1, weft_cells(space, cell), weft_to(ring->next, stamp));
}

static void receive_cell(const struct ring *ring, struct weft_label label, uint32_t stamp)
{
    weft_builder_move(ring->builder, 0, 1, weft_from(ring->previous, stamp, &label),
                      weft_cells(WEFT_OUTPUT, label.cell));
}

// What arrives, combined with the own input, into a cell.
static void combine_cell(const struct ring *ring, struct weft_label label, uint32_t stamp,
                         struct weft_operand into)
{
    weft_builder_combine(ring->builder, 0, 1, weft_from(ring->previous, stamp, &label),
                         weft_cells(WEFT_INPUT, label.cell), into);
}

// Block b starts at rank b and is complete at b - 1, from where it goes around once more.
static void all_reduce(const struct ring *ring)
{
    int n = ring->num_ranks;
    uint32_t round = 0;
    for (int k = 0; k < n - 1; k++, round++) {
        uint32_t out = (uint32_t)weft_circle(ring->rank, -k, n);
        int in = weft_circle(ring->rank, -k - 1, n);
        send_cell(ring, k ? WEFT_OUTPUT : WEFT_INPUT, out, round);
        combine_cell(ring, weft_folds_label(ring->folds, in, k + 1, (uint32_t)in), round,
                     weft_cells(WEFT_OUTPUT, (uint32_t)in));
    }
    for (int k = 0; k < n - 1; k++, round++) {
        int in = weft_circle(ring->rank, -k, n);
        send_cell(ring, WEFT_OUTPUT, (uint32_t)weft_circle(in, 1, n), round);
        receive_cell(ring, weft_folds_label(ring->folds, in, n, (uint32_t)in), round);
    }
}

// Block b starts at rank b + 1 and ends at b. Between its arrival and its departure it lies in
// scratch: two cells that take turns, or as many as blocks where those differ in size.
static void reduce_scatter(const struct ring *ring, bool is_uniform)
{
    int n = ring->num_ranks;
    uint32_t scratch = 0;
    if (n > 2)
        scratch = weft_builder_scratch(ring->builder, WEFT_INPUT, 0, is_uniform ? 2 : (uint32_t)n);
    for (int k = 0; k < n - 1; k++) {
        uint32_t out = (uint32_t)weft_circle(ring->rank, -k - 1, n);
        int in = weft_circle(ring->rank, -k - 2, n);
        uint32_t from = scratch + (is_uniform ? (uint32_t)(k + 1) % 2 : out);
        uint32_t into = scratch + (is_uniform ? (uint32_t)k % 2 : (uint32_t)in);
        send_cell(ring, k ? WEFT_SCRATCH : WEFT_INPUT, k ? from : out, (uint32_t)k);
        combine_cell(ring,
                     weft_folds_label(ring->folds, weft_circle(in, 1, n), k + 1, (uint32_t)in),
                     (uint32_t)k,
                     in == ring->rank ? weft_cells(WEFT_OUTPUT, (uint32_t)in)
                                      : weft_cells(WEFT_SCRATCH, into));
    }
}

static void all_gather(const struct ring *ring)
{
    int n = ring->num_ranks;
    weft_emit_copy(ring->builder, (uint32_t)ring->rank, 1);
    for (int k = 0; k < n - 1; k++) {
        int in = weft_circle(ring->rank, -k - 1, n);
        uint32_t out = (uint32_t)weft_circle(ring->rank, -k, n);
        send_cell(ring, k ? WEFT_OUTPUT : WEFT_INPUT, out, (uint32_t)k);
        receive_cell(ring, weft_label_leaf(in, (uint32_t)in), (uint32_t)k);
    }
}

// The chain root, root + 1, ..., root - 1.
static void broadcast(const struct ring *ring, int root, uint32_t pieces)
{
    int place = weft_circle(ring->rank, -root, ring->num_ranks);
    if (place == 0)
        weft_emit_copy(ring->builder, 0, pieces);
    for (uint32_t piece = 0; piece < pieces; piece++) {
        uint32_t stamp = (uint32_t)place + piece;
        if (place > 0)
            receive_cell(ring, weft_label_leaf(root, piece), stamp - 1);
        if (place < ring->num_ranks - 1)
            send_cell(ring, place ? WEFT_OUTPUT : WEFT_INPUT, piece, stamp);
    }
}

// The chain root + 1, ..., root - 1, root.
static void reduce(const struct ring *ring, int root, uint32_t pieces)
{
    int n = ring->num_ranks, place = weft_circle(ring->rank, -root - 1, n);
    bool is_root = place == n - 1;
    uint32_t scratch = 0;
    if (place > 0 && !is_root)
        scratch = weft_builder_scratch(ring->builder, WEFT_INPUT, 0, pieces);
    for (uint32_t piece = 0; piece < pieces; piece++) {
        uint32_t stamp = (uint32_t)place + piece;
        if (place > 0)
            combine_cell(ring, weft_folds_label(ring->folds, weft_circle(root, 1, n), place, piece),
                         stamp - 1,
                         is_root ? weft_cells(WEFT_OUTPUT, piece)
                                 : weft_cells(WEFT_SCRATCH, scratch + piece));
        if (!is_root)
            send_cell(ring, place ? WEFT_SCRATCH : WEFT_INPUT, place ? scratch + piece : piece,
                      stamp);
    }
}

static void write_steps(const struct ring *ring, const struct weft_key *key)
{
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
        all_reduce(ring);
        break;
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
        reduce_scatter(ring, key->collective == WEFT_REDUCE_SCATTER);
        break;
    case WEFT_BROADCAST:
        broadcast(ring, key->root, pieces_of(key));
        break;
    case WEFT_REDUCE:
        reduce(ring, key->root, pieces_of(key));
        break;
    default:
        all_gather(ring);
        break;
    }
}

static weft_status ring_emit(const struct weft_key *key, const struct weft_layout *layout, int rank,
                             unsigned aliasing, struct weft_program **program,
                             struct weft_error *error)
{
    (void)layout;
    int n = key->num_ranks;
    struct weft_folds *folds = weft_folds_create(n, NULL);
    if (!folds)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    struct ring ring = {NULL, folds, n, rank, weft_circle(rank, 1, n), weft_circle(rank, -1, n)};
    weft_status status =
        weft_emit_begin(key, rank, pieces_of(key), "ring", aliasing, &ring.builder, error);
    if (status == WEFT_OK) {
        if (n == 1)
            weft_emit_alone(ring.builder, key, pieces_of(key));
        else
            write_steps(&ring, key);
        status = weft_builder_finish(&ring.builder, program, error);
    }
    weft_folds_destroy(&folds);
    return status;
}

static int64_t ring_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    int64_t n = key->num_ranks, bytes = weft_key_bytes(key), pieces = pieces_of(key);
    __int128 others = (__int128)bytes * (n - 1) / n;
    // A rank neither receives nor sends in fewer rounds than these.
    int64_t chain = n > 1 ? n - 2 + pieces : 0;
    __int128 chained = (__int128)bytes * chain / pieces;
    int top = weft_layout_top(layout);
    struct weft_load load = {top, false, n - 1, 2 * (n - 1), others, 0, 0, 0};
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
        load = (struct weft_load){top, false, 2 * (n - 1), 4 * (n - 1), 2 * others, others, 0, 0};
        break;
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
        load.combined = others;
        break;
    case WEFT_BROADCAST:
        load = (struct weft_load){top, false, chain, 2 * chain, chained, 0, 0, 0};
        break;
    case WEFT_REDUCE:
        load = (struct weft_load){top, false, chain, 2 * chain, chained, chained, 0, 0};
        break;
    default:
        load.copied = bytes / n;
        break;
    }
    return weft_price_clamp(weft_price(key, layout, &load));
}

const struct weft_algorithm weft_algorithm_ring = {
    .name = "ring",
    .description = "blocks travel around a circle of neighbours",
    .counts = WEFT_COUNTS_AGREED,
    .supports = ring_supports,
    .estimate = ring_estimate,
    .emit = ring_emit,
};
