/*
 * SPDX-License-Identifier: Apache-2.0
 * ring: ranks stand in a circle, and each only sends to the next. Blocks travel around it,
 * gathering each rank's contribution and then the result; rooted collectives are chains of pieces
 * that follow one another. Two lanes per rank and the least bytes on every link, but as many hops
 * as ranks. Where the layout has several circles, each is a channel of its own and takes its share
 * of every block.
 */
#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"

enum {
    steps_limit = 1 << 15, // ranks times circles; beyond, one circle is enough
    cells_limit = 1 << 18,
};

// One circle, as `rank` sees it.
struct ring {
    struct weft_builder *builder;
    const struct weft_folds *folds;
    const int *order; // NULL: 0, 1, 2, ...
    int num_ranks;
    int place; // of this rank
    int next;
    int previous;
    uint16_t channel;
    uint32_t weight; // cells that travel together
    uint32_t before; // weights of the circles before
    uint32_t total;  // of all weights
    bool is_one_block;
    /* Each receive is posted before the send of its round, which waits for the receive before: the
     * next message is under way while the last one arrives. */
    bool is_ready_early;
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

static bool has_circles(const struct weft_layout *layout)
{
    const struct weft_rings *rings = &layout->rings;
    return rings->num_rings > 0 && rings->num_rings <= steps_limit / layout->num_ranks &&
           rings->total_weight <= cells_limit / layout->num_ranks;
}

static int rank_at(const struct ring *ring, int place)
{
    return ring->order ? ring->order[place] : place;
}

// The first cell of what this circle carries: of the rank that stands at `place`, or of the piece
// of that number where all is one block.
static uint32_t cell_at(const struct ring *ring, int place)
{
    if (ring->is_one_block)
        return (uint32_t)ring->num_ranks * ring->before + (uint32_t)place * ring->weight;
    return (uint32_t)rank_at(ring, place) * ring->total + ring->before;
}

static void send_cells(const struct ring *ring, enum weft_space space, uint32_t cell,
                       uint32_t stamp)
{
    weft_builder_move(ring->builder, ring->channel, ring->weight, weft_cells(space, cell),
                      weft_to(ring->next, stamp));
}

// One value in all cells that travel together.
static const struct weft_label *spread(const struct ring *ring, struct weft_label label,
                                       struct weft_label cells[WEFT_RINGS_WEIGHT])
{
    for (uint32_t i = 0; i < ring->weight; i++)
        cells[i] = weft_label_at(label, label.cell + i);
    return cells;
}

static void receive_cells(const struct ring *ring, struct weft_label label, uint32_t stamp)
{
    struct weft_label cells[WEFT_RINGS_WEIGHT];
    weft_builder_move(ring->builder, ring->channel, ring->weight,
                      weft_from(ring->previous, stamp, spread(ring, label, cells)),
                      weft_cells(WEFT_OUTPUT, label.cell));
}

// What arrives, combined with the own input, into cells.
static void combine_cells(const struct ring *ring, struct weft_label label, uint32_t stamp,
                          struct weft_operand into)
{
    struct weft_label cells[WEFT_RINGS_WEIGHT];
    weft_builder_combine(ring->builder, ring->channel, ring->weight,
                         weft_from(ring->previous, stamp, spread(ring, label, cells)),
                         weft_cells(WEFT_INPUT, label.cell), into);
}

// Block b starts at place b and is complete at b - 1, from where it goes around once more.
static void all_reduce(const struct ring *ring)
{
    int n = ring->num_ranks;
    uint32_t round = 0;
    for (int k = 0; k < n - 1; k++, round++) {
        uint32_t out = cell_at(ring, weft_circle(ring->place, -k, n));
        int in = weft_circle(ring->place, -k - 1, n);
        if (!ring->is_ready_early)
            send_cells(ring, k ? WEFT_OUTPUT : WEFT_INPUT, out, round);
        combine_cells(ring, weft_folds_label(ring->folds, in, k + 1, cell_at(ring, in)), round,
                      weft_cells(WEFT_OUTPUT, cell_at(ring, in)));
        if (ring->is_ready_early)
            send_cells(ring, k ? WEFT_OUTPUT : WEFT_INPUT, out, round);
    }
    for (int k = 0; k < n - 1; k++, round++) {
        int in = weft_circle(ring->place, -k, n);
        if (!ring->is_ready_early)
            send_cells(ring, WEFT_OUTPUT, cell_at(ring, weft_circle(in, 1, n)), round);
        receive_cells(ring, weft_folds_label(ring->folds, in, n, cell_at(ring, in)), round);
        if (ring->is_ready_early)
            send_cells(ring, WEFT_OUTPUT, cell_at(ring, weft_circle(in, 1, n)), round);
    }
}

// Block b starts at place b + 1 and ends at b. Between its arrival and its departure it lies in
// scratch: two blocks that take turns, or as many as there are where those differ in size.
static void reduce_scatter(const struct ring *ring, bool is_uniform)
{
    int n = ring->num_ranks, turns = ring->is_ready_early ? 3 : 2;
    int num_scratch = is_uniform ? turns : n;
    uint32_t scratch = 0;
    for (int i = 0; n > 2 && i < num_scratch; i++) {
        uint32_t like = (uint32_t)(i % n) * ring->total + ring->before;
        uint32_t made = weft_builder_scratch(ring->builder, WEFT_INPUT, like, ring->weight);
        scratch = i == 0 ? made : scratch;
    }
    for (int k = 0; k < n - 1; k++) {
        int out = weft_circle(ring->place, -k - 1, n), in = weft_circle(ring->place, -k - 2, n);
        int from = is_uniform ? (k + turns - 1) % turns : rank_at(ring, out);
        int into = is_uniform ? k % turns : rank_at(ring, in);
        uint32_t sent = k ? scratch + (uint32_t)from * ring->weight : cell_at(ring, out);
        if (!ring->is_ready_early)
            send_cells(ring, k ? WEFT_SCRATCH : WEFT_INPUT, sent, (uint32_t)k);
        combine_cells(
            ring, weft_folds_label(ring->folds, weft_circle(in, 1, n), k + 1, cell_at(ring, in)),
            (uint32_t)k,
            in == ring->place ? weft_cells(WEFT_OUTPUT, cell_at(ring, in))
                              : weft_cells(WEFT_SCRATCH, scratch + (uint32_t)into * ring->weight));
        if (ring->is_ready_early)
            send_cells(ring, k ? WEFT_SCRATCH : WEFT_INPUT, sent, (uint32_t)k);
    }
}

static void all_gather(const struct ring *ring)
{
    int n = ring->num_ranks;
    if (ring->before == 0) // of all circles together
        weft_emit_copy(ring->builder, cell_at(ring, ring->place), ring->total);
    for (int k = 0; k < n - 1; k++) {
        int in = weft_circle(ring->place, -k - 1, n);
        uint32_t out = cell_at(ring, weft_circle(ring->place, -k, n));
        if (!ring->is_ready_early)
            send_cells(ring, k ? WEFT_OUTPUT : WEFT_INPUT, out, (uint32_t)k);
        receive_cells(ring, weft_label_leaf(rank_at(ring, in), cell_at(ring, in)), (uint32_t)k);
        if (ring->is_ready_early)
            send_cells(ring, k ? WEFT_OUTPUT : WEFT_INPUT, out, (uint32_t)k);
    }
}

// The chain from the root around to the one before it. Piece by piece: `pieces` times the weight.
static void broadcast(const struct ring *ring, int root, int root_place, uint32_t pieces)
{
    int place = weft_circle(ring->place, -root_place, ring->num_ranks);
    uint32_t first = pieces * ring->before;
    if (place == 0 && ring->before == 0)
        weft_emit_copy(ring->builder, 0, pieces * ring->total);
    for (uint32_t piece = 0; piece < pieces; piece++) {
        uint32_t stamp = (uint32_t)place + piece, cell = first + piece * ring->weight;
        if (place > 0)
            receive_cells(ring, weft_label_leaf(root, cell), stamp - 1);
        if (place < ring->num_ranks - 1)
            send_cells(ring, place ? WEFT_OUTPUT : WEFT_INPUT, cell, stamp);
    }
}

// The chain from the one after the root around to the root.
static void reduce(const struct ring *ring, int root_place, uint32_t pieces)
{
    int n = ring->num_ranks, place = weft_circle(ring->place, -root_place - 1, n);
    bool is_root = place == n - 1;
    uint32_t scratch = 0, first = pieces * ring->before;
    if (place > 0 && !is_root)
        scratch = weft_builder_scratch(ring->builder, WEFT_INPUT, first, pieces * ring->weight);
    for (uint32_t piece = 0; piece < pieces; piece++) {
        uint32_t stamp = (uint32_t)place + piece, cell = first + piece * ring->weight;
        uint32_t kept = scratch + piece * ring->weight;
        if (place > 0)
            combine_cells(ring,
                          weft_folds_label(ring->folds, weft_circle(root_place, 1, n), place, cell),
                          stamp - 1,
                          is_root ? weft_cells(WEFT_OUTPUT, cell) : weft_cells(WEFT_SCRATCH, kept));
        if (!is_root)
            send_cells(ring, place ? WEFT_SCRATCH : WEFT_INPUT, place ? kept : cell, stamp);
    }
}

static void write_steps(const struct ring *ring, const struct weft_key *key, int root_place)
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
        broadcast(ring, key->root, root_place, pieces_of(key));
        break;
    case WEFT_REDUCE:
        reduce(ring, root_place, pieces_of(key));
        break;
    default:
        all_gather(ring);
        break;
    }
}

// Circle c of the layout, or its only one.
static weft_status write_circle(struct weft_builder *builder, const struct weft_key *key,
                                const struct weft_layout *layout, int rank, int c,
                                struct weft_error *error)
{
    int n = key->num_ranks, place = rank, root_place = key->root;
    struct ring ring = {.builder = builder, .num_ranks = n, .weight = 1, .total = 1};
    if (has_circles(layout)) {
        const struct weft_rings *rings = &layout->rings;
        size_t first = (size_t)c * (size_t)n;
        ring.order = rings->order + first;
        place = rings->place[first + (size_t)rank];
        root_place = rings->place[first + (size_t)key->root];
        ring.weight = (uint32_t)rings->weight[c];
        ring.total = (uint32_t)rings->total_weight;
        for (int i = 0; i < c; i++)
            ring.before += (uint32_t)rings->weight[i];
    } else if (!layout->is_in_order) {
        ring.order = layout->levels[weft_layout_top(layout)].members;
        place = weft_layout_place(layout, rank);
        root_place = weft_layout_place(layout, key->root);
    }
    struct weft_folds *folds = weft_folds_create(n, ring.order);
    if (!folds)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    ring.folds = folds;
    ring.place = place;
    ring.next = rank_at(&ring, weft_circle(place, 1, n));
    ring.previous = rank_at(&ring, weft_circle(place, -1, n));
    ring.channel = (uint16_t)c;
    ring.is_one_block = key->collective == WEFT_ALL_REDUCE;
    ring.is_ready_early = has_circles(layout);
    write_steps(&ring, key, root_place);
    weft_folds_destroy(&folds);
    return WEFT_OK;
}

static weft_status ring_emit(const struct weft_key *key, const struct weft_layout *layout, int rank,
                             unsigned aliasing, struct weft_program **program,
                             struct weft_error *error)
{
    struct weft_builder *builder = NULL;
    int num_rings = has_circles(layout) ? layout->rings.num_rings : 1;
    uint32_t pieces = pieces_of(key);
    if (has_circles(layout))
        pieces *= (uint32_t)layout->rings.total_weight;
    WEFT_TRY(weft_emit_begin(key, rank, pieces, "ring", aliasing, &builder, error));
    weft_status status = WEFT_OK;
    if (key->num_ranks == 1)
        weft_emit_alone(builder, key, pieces);
    for (int c = 0; key->num_ranks > 1 && c < num_rings && status == WEFT_OK; c++)
        status = write_circle(builder, key, layout, rank, c, error);
    if (status != WEFT_OK) {
        weft_builder_destroy(&builder);
        return status;
    }
    return weft_builder_finish(&builder, program, error);
}

/* ---- price ---- */

// Two messages are under way on every hop, so a round takes half as long as the slowest hop, but
// not less than its bytes, nor than a block needs on average from hop to hop.
static __int128 round_of_circle(const struct weft_layout *layout, int c, __int128 bytes)
{
    const struct weft_ring_hops *hops = &layout->rings.hops[c];
    __int128 n = layout->num_ranks, num_far = hops->num_far, far = 0, near = 0;
    if (num_far > 0)
        far = weft_curve_time(&hops->far, bytes, hops->ps_per_mib);
    if (num_far < n)
        near = weft_curve_time(&hops->near, bytes, num_far > 0 ? 0 : hops->ps_per_mib);
    __int128 round = (near > far ? near : far) / 2;
    __int128 around = (num_far * far + (n - num_far) * near) / n;
    // A lane carries its messages one after another, each no faster than its protocol.
    const struct weft_line *line = weft_curve_best(num_far > 0 ? &hops->far : &hops->near, bytes);
    __int128 busy = weft_curve_slope(bytes, hops->ps_per_mib > line->ps_per_mib ? hops->ps_per_mib
                                                                                : line->ps_per_mib);
    round = round > around ? round : around;
    return round > busy ? round : busy;
}

// The same of the only circle, in the order of the layout, which leaves each group once.
static __int128 round_of_layout(const struct weft_layout *layout, __int128 bytes)
{
    const struct weft_costs *costs = &layout->costs;
    __int128 slowest = 0;
    int below = layout->num_ranks;
    for (int l = 0; l < costs->num_levels; l++) {
        int64_t least = l == 0 ? costs->levels[0].crowd_ps_per_mib : 0;
        __int128 time = weft_curve_time(&costs->levels[l].message, bytes, least);
        if (layout->levels[l].num_groups < below && time > slowest)
            slowest = time;
        below = layout->levels[l].num_groups;
    }
    return slowest;
}

// Where moving bytes keeps no processor busy.
static int64_t price_devices(const struct weft_layout *layout, const struct weft_load *load)
{
    const struct weft_costs *costs = &layout->costs;
    __int128 moving = 0, rounds = load->rounds;
    if (rounds > 0 && has_circles(layout))
        for (int c = 0; c < layout->rings.num_rings; c++) {
            __int128 share = load->moved * layout->rings.weight[c] / layout->rings.total_weight;
            __int128 time = rounds * round_of_circle(layout, c, (share + rounds - 1) / rounds);
            moving = time > moving ? time : moving;
        }
    else if (rounds > 0)
        moving = rounds * round_of_layout(layout, (load->moved + rounds - 1) / rounds);
    __int128 combining = (load->combined * costs->combine_ps_per_kib) >> 10;
    __int128 copying = (load->copied * costs->copy_ps_per_kib) >> 10;
    return weft_price_clamp((moving > combining ? moving : combining) + copying +
                            (__int128)load->steps * costs->step_ps);
}

static int64_t ring_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    int64_t n = key->num_ranks, bytes = weft_key_bytes(key), pieces = pieces_of(key);
    __int128 others = (__int128)bytes * (n - 1) / n;
    // A rank neither receives nor sends in fewer rounds than these.
    int64_t chain = n > 1 ? n - 2 + pieces : 0;
    __int128 chained = (__int128)bytes * chain / pieces;
    int top = weft_layout_top(layout);
    struct weft_load load = {top, false, n - 1, 2 * (n - 1), others, 0, 0, 0, 0};
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
        load =
            (struct weft_load){top, false, 2 * (n - 1), 4 * (n - 1), 2 * others, others, 0, 0, 0};
        break;
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
        load.combined = others;
        break;
    case WEFT_BROADCAST:
        load = (struct weft_load){top, false, chain, 2 * chain, chained, 0, 0, 0, 0};
        break;
    case WEFT_REDUCE:
        load = (struct weft_load){top, false, chain, 2 * chain, chained, chained, 0, 0, 0};
        break;
    default:
        load.copied = bytes / n;
        break;
    }
    if (layout->costs.overlaps && layout->costs.sharing == 1)
        return price_devices(layout, &load);
    return weft_price_clamp(weft_price(key, layout, &load));
}

const struct weft_algorithm weft_algorithm_ring = {
    .name = "ring",
    .description = "blocks travel around circles of neighbours",
    .counts = WEFT_COUNTS_AGREED,
    .supports = ring_supports,
    .estimate = ring_estimate,
    .emit = ring_emit,
};
