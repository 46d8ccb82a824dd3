/*
 * SPDX-License-Identifier: Apache-2.0
 * See samples.h.
 */
#include "tests/program/samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BOTH = WEFT_OUT_OF_PLACE | WEFT_IN_PLACE };

static int modulo(int a, int n)
{
    return (a % n + n) % n;
}

// One direction of a ring over cells base + place * stride; `sign` +1 or -1 is the direction.
struct ring {
    struct weft_builder *builder;
    const struct weft_shape *shape;
    struct weft_folds *folds;
    uint16_t channel;
    int sign;
    uint32_t base;
};

static struct ring open_ring(struct weft_builder *builder, const struct weft_shape *shape,
                             uint16_t channel, int sign, uint32_t base)
{
    int order[8];
    for (int i = 0; i < shape->num_ranks; i++)
        order[i] = modulo(sign * i, shape->num_ranks);
    struct weft_folds *folds = weft_folds_create(shape->num_ranks, order);
    assert_non_null(folds);
    return (struct ring){builder, shape, folds, channel, sign, base};
}

// My place on the circle of this direction; piece p is reduced starting at place p.
static int place_of(const struct ring *ring)
{
    return modulo(ring->sign * ring->shape->rank, ring->shape->num_ranks);
}
static int neighbour(const struct ring *ring, int distance)
{
    return modulo(ring->shape->rank + ring->sign * distance, ring->shape->num_ranks);
}
static uint32_t piece(const struct ring *ring, int place)
{
    return ring->base + (uint32_t)modulo(place, ring->shape->num_ranks);
}

static void reduce_around(struct ring *ring)
{
    int n = ring->shape->num_ranks, me = place_of(ring), to = neighbour(ring, 1);
    for (int s = 0; s < n - 1; s++) {
        uint32_t out = piece(ring, me - s), in = piece(ring, me - 1 - s);
        struct weft_label label = weft_folds_label(ring->folds, modulo(me - 1 - s, n), s + 1, in);
        weft_builder_move(ring->builder, ring->channel, 1,
                          weft_cells(s ? WEFT_OUTPUT : WEFT_INPUT, out), weft_to(to, (uint32_t)s));
        weft_builder_combine(ring->builder, ring->channel, 1,
                             weft_from(neighbour(ring, -1), (uint32_t)s, &label),
                             weft_cells(WEFT_INPUT, in), weft_cells(WEFT_OUTPUT, in));
    }
}

static void gather_around(struct ring *ring)
{
    int n = ring->shape->num_ranks, me = place_of(ring);
    for (int s = 0; s < n - 1; s++) {
        uint32_t out = piece(ring, me + 1 - s), in = piece(ring, me - s),
                 stamp = (uint32_t)(n - 1 + s);
        struct weft_label label = weft_folds_label(ring->folds, modulo(me - s, n), n, in);
        weft_builder_move(ring->builder, ring->channel, 1, weft_cells(WEFT_OUTPUT, out),
                          weft_to(neighbour(ring, 1), stamp));
        weft_builder_move(ring->builder, ring->channel, 1,
                          weft_from(neighbour(ring, -1), stamp, &label),
                          weft_cells(WEFT_OUTPUT, in));
    }
}

static void write_ring(struct weft_builder *builder, const struct weft_shape *shape)
{
    struct ring ring = open_ring(builder, shape, 0, 1, 0);
    reduce_around(&ring);
    gather_around(&ring);
    weft_folds_destroy(&ring.folds);
}

static void write_two_rings(struct weft_builder *builder, const struct weft_shape *shape)
{
    for (int c = 0; c < 2; c++) {
        struct ring ring =
            open_ring(builder, shape, (uint16_t)c, c ? -1 : 1, (uint32_t)(c * shape->num_ranks));
        reduce_around(&ring);
        gather_around(&ring);
        weft_folds_destroy(&ring.folds);
    }
}

// The same ring, every step but the first and the last receives, combines and forwards.
static void write_fused_ring(struct weft_builder *builder, const struct weft_shape *shape)
{
    struct ring ring = open_ring(builder, shape, 0, 1, 0);
    int n = shape->num_ranks, me = shape->rank, to = modulo(me + 1, n), from = modulo(me - 1, n);
    weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, (uint32_t)me), weft_to(to, 0));
    for (int s = 0; s < 2 * (n - 1); s++) {
        uint32_t stamp = (uint32_t)s;
        bool reduces = s < n - 1, is_last = s == 2 * (n - 1) - 1;
        int place = reduces ? me - 1 - s : me - (s - (n - 1));
        uint32_t cell = piece(&ring, place);
        struct weft_label label =
            weft_folds_label(ring.folds, (int)cell, reduces ? s + 1 : n, cell);
        struct weft_operand sources[2] = {weft_from(from, stamp, &label),
                                          weft_cells(WEFT_INPUT, cell)};
        struct weft_operand into[2];
        int count = 0;
        if (!is_last)
            into[count++] = weft_to(to, stamp + 1);
        if (s >= n - 2)
            into[count++] = weft_cells(WEFT_OUTPUT, cell);
        if (count == 1 && s < n - 2) { // gives the step its extent and its own copy
            uint32_t scratch = weft_builder_scratch(builder, WEFT_INPUT, cell, 1);
            into[count++] = weft_cells(WEFT_SCRATCH, scratch);
        }
        weft_builder_step(builder, 0, 1, sources, reduces ? 2 : 1, into, count);
    }
    weft_folds_destroy(&ring.folds);
}

// Everyone sends everyone its part; the owner combines all of them in one step, in rank order.
static void reduce_at_owner(struct weft_builder *builder, const struct weft_shape *shape,
                            uint32_t cells, uint32_t stamp)
{
    int n = shape->num_ranks, me = shape->rank;
    uint32_t own = (uint32_t)me * cells;
    struct weft_operand sources[8];
    struct weft_label labels[16];
    for (int d = 1; d < n; d++) {
        int to = modulo(me + d, n), from = modulo(me - d, n);
        weft_builder_move(builder, 0, cells, weft_cells(WEFT_INPUT, (uint32_t)to * cells),
                          weft_to(to, stamp));
        for (uint32_t c = 0; c < cells; c++)
            labels[c] = weft_label_leaf(from, own + c);
        uint32_t scratch = weft_builder_scratch(builder, WEFT_INPUT, own, cells);
        weft_builder_move(builder, 0, cells, weft_from(from, stamp, labels),
                          weft_cells(WEFT_SCRATCH, scratch));
        sources[from] = weft_cells(WEFT_SCRATCH, scratch);
    }
    sources[me] = weft_cells(WEFT_INPUT, own);
    const struct weft_operand into = weft_cells(WEFT_OUTPUT, own);
    weft_builder_step(builder, 0, cells, sources, n, &into, 1);
}

static void write_direct_reduce_scatter(struct weft_builder *builder,
                                        const struct weft_shape *shape)
{
    reduce_at_owner(builder, shape, shape->pieces, 0);
}

static void write_direct_all_reduce(struct weft_builder *builder, const struct weft_shape *shape)
{
    int n = shape->num_ranks, me = shape->rank;
    struct weft_folds *folds = weft_folds_create(n, NULL);
    assert_non_null(folds);
    reduce_at_owner(builder, shape, 1, 0);
    for (int d = 1; d < n; d++) {
        int to = modulo(me + d, n), from = modulo(me - d, n);
        struct weft_label label = weft_folds_label(folds, 0, n, (uint32_t)from);
        weft_builder_move(builder, 0, 1, weft_cells(WEFT_OUTPUT, (uint32_t)me), weft_to(to, 1));
        weft_builder_move(builder, 0, 1, weft_from(from, 1, &label),
                          weft_cells(WEFT_OUTPUT, (uint32_t)from));
    }
    weft_folds_destroy(&folds);
}

static void write_direct_all_gather(struct weft_builder *builder, const struct weft_shape *shape)
{
    int n = shape->num_ranks, me = shape->rank;
    uint32_t cells = shape->pieces, own = (uint32_t)me * cells;
    weft_builder_move(builder, 0, cells, weft_cells(WEFT_INPUT, own), weft_cells(WEFT_OUTPUT, own));
    for (int d = 1; d < n; d++) {
        int to = modulo(me + d, n), from = modulo(me - d, n);
        struct weft_label labels[16];
        for (uint32_t c = 0; c < cells; c++)
            labels[c] = weft_label_leaf(from, (uint32_t)from * cells + c);
        uint16_t channel = (uint16_t)(d % 2);
        weft_builder_move(builder, channel, cells, weft_cells(WEFT_INPUT, own), weft_to(to, 0));
        weft_builder_move(builder, channel, cells, weft_from(from, 0, labels),
                          weft_cells(WEFT_OUTPUT, (uint32_t)from * cells));
    }
}

static void write_direct_all_to_all(struct weft_builder *builder, const struct weft_shape *shape)
{
    int n = shape->num_ranks, me = shape->rank;
    bool uses_scratch = shape->collective == WEFT_ALL_TO_ALL;
    uint32_t scratch =
        uses_scratch ? weft_builder_scratch(builder, WEFT_OUTPUT, 0, (uint32_t)n * shape->pieces)
                     : 0;
    uint32_t cells = shape->pieces;
    weft_builder_move(builder, 0, cells, weft_cells(WEFT_INPUT, (uint32_t)me * cells),
                      weft_cells(WEFT_OUTPUT, (uint32_t)me * cells));
    for (int d = 1; d < n; d++) {
        int to = modulo(me + d, n), from = modulo(me - d, n);
        struct weft_label labels[16];
        for (uint32_t c = 0; c < cells; c++)
            labels[c] = weft_label_leaf(from, (uint32_t)me * cells + c);
        weft_builder_move(builder, 0, cells, weft_cells(WEFT_INPUT, (uint32_t)to * cells),
                          weft_to(to, 0));
        weft_builder_move(builder, 0, cells, weft_from(from, 0, labels),
                          uses_scratch ? weft_cells(WEFT_SCRATCH, scratch + (uint32_t)from * cells)
                                       : weft_cells(WEFT_OUTPUT, (uint32_t)from * cells));
    }
    for (int from = 0; uses_scratch && from < n; from++)
        if (from != me)
            weft_builder_move(builder, 0, cells,
                              weft_cells(WEFT_SCRATCH, scratch + (uint32_t)from * cells),
                              weft_cells(WEFT_OUTPUT, (uint32_t)from * cells));
}

// A chain from the root on; the last but one forwards in one step with its own copy.
static void write_chain_broadcast(struct weft_builder *builder, const struct weft_shape *shape)
{
    int n = shape->num_ranks, place = modulo(shape->rank - shape->root, n);
    uint32_t cells = shape->pieces;
    for (uint32_t c = 0; c < cells; c++) {
        uint32_t stamp = c + (uint32_t)place;
        struct weft_label label = weft_label_leaf(shape->root, c);
        struct weft_operand source = place == 0
                                         ? weft_cells(WEFT_INPUT, c)
                                         : weft_from(modulo(shape->rank - 1, n), stamp - 1, &label);
        const struct weft_operand into[] = {weft_cells(WEFT_OUTPUT, c),
                                            weft_to(modulo(shape->rank + 1, n), stamp)};
        weft_builder_step(builder, (uint16_t)(c % 2), 1, &source, 1, into, place == n - 1 ? 1 : 2);
    }
}

// To the root along a chain, which adds in chain order; the last place is the root.
static void write_chain_reduce(struct weft_builder *builder, const struct weft_shape *shape)
{
    int n = shape->num_ranks, place = modulo(shape->rank - shape->root - 1, n), order[8];
    for (int i = 0; i < n; i++)
        order[i] = modulo(shape->root + 1 + i, n);
    struct weft_folds *folds = weft_folds_create(n, order);
    assert_non_null(folds);
    for (uint32_t c = 0; c < shape->pieces; c++) {
        uint32_t stamp = c + (uint32_t)place;
        struct weft_operand own = weft_cells(WEFT_INPUT, c);
        struct weft_operand into = place == n - 1 ? weft_cells(WEFT_OUTPUT, c)
                                                  : weft_to(modulo(shape->rank + 1, n), stamp);
        if (place == 0) {
            weft_builder_move(builder, 0, 1, own, into);
        } else {
            struct weft_label label = weft_folds_label(folds, 0, place, c);
            weft_builder_combine(
                builder, 0, 1, weft_from(modulo(shape->rank - 1, n), stamp - 1, &label), own, into);
        }
    }
    weft_folds_destroy(&folds);
}

// Both parts of a pair come in through scratch, so that their order on the lane does not matter to
// the result: promises can go stale without harm.
static void write_halves(struct weft_builder *builder, const struct weft_shape *shape)
{
    int n = shape->num_ranks, me = shape->rank, peer = 1 - me;
    if (n != 2)
        return;
    uint32_t scratch = weft_builder_scratch(builder, WEFT_INPUT, 0, 2);
    const struct weft_label labels[2] = {weft_label_leaf(peer, 0), weft_label_leaf(peer, 1)};
    for (uint32_t c = 0; c < 2; c++)
        weft_builder_move(builder, 0, 1, weft_cells(WEFT_INPUT, c), weft_to(peer, c));
    for (uint32_t c = 0; c < 2; c++)
        weft_builder_move(builder, 0, 1, weft_from(peer, c, &labels[c]),
                          weft_cells(WEFT_SCRATCH, scratch + c));
    for (uint32_t c = 0; c < 2; c++)
        weft_builder_combine(builder, 1, 1, weft_cells(WEFT_SCRATCH, scratch + c),
                             weft_cells(WEFT_INPUT, c), weft_cells(WEFT_OUTPUT, c));
}

const struct sample samples[] = {
    {"ring", WEFT_ALL_REDUCE, 1, 8, write_ring},
    {"two_rings", WEFT_ALL_REDUCE, 2, 8, write_two_rings},
    {"fused_ring", WEFT_ALL_REDUCE, 1, 8, write_fused_ring},
    {"direct_all_reduce", WEFT_ALL_REDUCE, 1, 8, write_direct_all_reduce},
    {"direct_reduce_scatter", WEFT_REDUCE_SCATTER, 0, 8, write_direct_reduce_scatter},
    {"direct_reduce_scatter_v", WEFT_REDUCE_SCATTER_V, 0, 8, write_direct_reduce_scatter},
    {"direct_all_gather", WEFT_ALL_GATHER, 0, 8, write_direct_all_gather},
    {"direct_all_gather_v", WEFT_ALL_GATHER_V, 0, 8, write_direct_all_gather},
    {"direct_all_to_all", WEFT_ALL_TO_ALL, 0, 8, write_direct_all_to_all},
    {"direct_all_to_all_v", WEFT_ALL_TO_ALL_V, 0, 8, write_direct_all_to_all},
    {"chain_broadcast", WEFT_BROADCAST, 1, 8, write_chain_broadcast},
    {"chain_reduce", WEFT_REDUCE, 1, 8, write_chain_reduce},
    {"short_broadcast", WEFT_BROADCAST, 0, 8, write_chain_broadcast},
    {"short_reduce", WEFT_REDUCE, 0, 8, write_chain_reduce},
    {"halves", WEFT_ALL_REDUCE, 1, 2, write_halves},
};
const int num_samples = sizeof samples / sizeof *samples;

struct weft_program *sample_program(const struct sample *sample, int num_ranks, int rank,
                                    unsigned aliasing)
{
    struct weft_shape shape = {
        .collective = sample->collective,
        .num_ranks = num_ranks,
        .rank = rank,
        .pieces = sample->pieces_per_rank ? sample->pieces_per_rank * (uint32_t)num_ranks : 2};
    if (weft_collective_is_rooted(sample->collective))
        shape.root = 1;
    if (sample->collective == WEFT_ALL_TO_ALL_V) // in place its cells would not fit one another
        aliasing = WEFT_OUT_OF_PLACE;
    struct weft_builder *builder;
    struct weft_program *program;
    struct weft_error error;
    if (weft_builder_create(&shape, sample->name, aliasing ? aliasing : BOTH, &builder, &error) !=
        WEFT_OK)
        fail_msg("%s: %s", sample->name, error.text);
    sample->write(builder, &shape);
    if (weft_builder_finish(&builder, &program, &error) != WEFT_OK)
        fail_msg("%s: %s", sample->name, error.text);
    return program;
}

void sample_programs(const struct sample *sample, int num_ranks, unsigned aliasing,
                     struct weft_program **programs)
{
    for (int rank = 0; rank < num_ranks; rank++)
        programs[rank] = sample_program(sample, num_ranks, rank, aliasing);
}

void destroy_programs(struct weft_program **programs, int num_ranks)
{
    for (int rank = 0; rank < num_ranks; rank++)
        weft_program_destroy(&programs[rank]);
}
