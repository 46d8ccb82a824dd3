/*
 * SPDX-License-Identifier: Apache-2.0
 * See evaluate.h: emission, and which ranks may stand for all. Shifts keep the level of two ranks
 * where blocks are the groups right below the top; XORs do where there are powers of two of
 * everything. The rest is compared on samples.
 */
#include "collectives/planner/evaluate.h"

#include <stdlib.h>

#include "collectives/planner/evaluate_private.h"

enum { all_limit = 2048, block_limit = 2048, steps_limit = 1 << 24 };

struct cast {
    const struct weft_algorithm *algorithm;
    const struct weft_key *key;
    const struct weft_layout *layout;
    struct weft_program **programs; // (ranks) as far as written
    int64_t bytes;
    int64_t limit_ps;
    uint64_t num_steps;
};

static weft_status write_program(struct cast *cast, int rank, struct weft_error *error)
{
    // Of exchanges and spans of leaves, programs in place are others or none.
    bool is_apart = cast->key->collective == WEFT_ALL_TO_ALL ||
                    cast->key->collective == WEFT_ALL_TO_ALL_V || cast->key->num_leaves;
    if (cast->programs[rank])
        return WEFT_OK;
    WEFT_TRY(cast->algorithm->emit(cast->key, cast->layout, rank,
                                   is_apart ? WEFT_OUT_OF_PLACE : WEFT_OUT_OF_PLACE | WEFT_IN_PLACE,
                                   &cast->programs[rank], error));
    cast->num_steps += cast->programs[rank]->num_steps;
    if (cast->num_steps > steps_limit)
        return weft_fail(error, WEFT_UNSUPPORTED, "more than %d steps to evaluate", steps_limit);
    return WEFT_OK;
}

/* ---- folds ---- */

// Where rank `rank` lies as seen from block `block`.
static int move(const struct weft_fold *fold, int rank, int block)
{
    return weft_fold_add(fold, rank / fold->block, block) * fold->block + rank % fold->block;
}

// Of the dependencies of a step, whatever their order.
static uint64_t sum_dependencies(const struct weft_program *program, const struct weft_step *step)
{
    uint64_t sum = 0;
    for (uint32_t d = 0; d < step->num_dependencies; d++)
        sum += weft_hash_mix(0, program->dependencies[step->first_dependency + d]);
    return sum;
}

static bool is_alike_step(const struct cast *cast, const struct weft_fold *fold, int block,
                          const struct weft_program *a, const struct weft_program *b, uint32_t i)
{
    const struct weft_step *x = &a->steps[i], *y = &b->steps[i];
    if (x->num_cells != y->num_cells || x->channel != y->channel ||
        x->num_sources != y->num_sources || x->num_destinations != y->num_destinations ||
        x->num_dependencies != y->num_dependencies ||
        sum_dependencies(a, x) != sum_dependencies(b, y))
        return false;
    for (int r = 0; r < x->num_sources + x->num_destinations; r++) {
        const struct weft_ref *p = &a->refs[x->first_ref + (uint32_t)r];
        const struct weft_ref *q = &b->refs[y->first_ref + (uint32_t)r];
        if ((p->space == WEFT_LANE) != (q->space == WEFT_LANE))
            return false;
        if (p->space == WEFT_LANE &&
            (p->stamp != q->stamp || move(fold, (int)p->index, block) != (int)q->index))
            return false;
    }
    // Pieces that do not come out even differ by a byte.
    int64_t more =
        weft_evaluate_step_bytes(a, x, cast->bytes) - weft_evaluate_step_bytes(b, y, cast->bytes);
    return more <= x->num_cells && -more <= x->num_cells;
}

static weft_status has_like_ways(struct weft_ways *ways, int block, const struct weft_program *a,
                                 bool *is_alike, struct weft_error *error)
{
    int last = -1, rank = a->shape.rank;
    for (uint32_t r = 0; r < a->num_refs && *is_alike; r++) {
        int peer = (int)a->refs[r].index, here[WEFT_ROUTE_LIMIT], there[WEFT_ROUTE_LIMIT];
        struct weft_way near, far;
        if (a->refs[r].space != WEFT_LANE || peer == last)
            continue;
        last = peer;
        WEFT_TRY(weft_ways_route(ways, rank, peer, here, &near, error));
        WEFT_TRY(weft_ways_route(ways, move(&ways->fold, rank, block),
                                 move(&ways->fold, peer, block), there, &far, error));
        *is_alike = near.num_arcs == far.num_arcs && near.latency_ps == far.latency_ps;
        for (int i = 0; i < near.num_arcs && *is_alike; i++)
            *is_alike = here[i] == there[i];
    }
    return WEFT_OK;
}

// Whether the rank at `place` of block `block` does what that of the first block does.
static weft_status compare(struct cast *cast, struct weft_ways *ways, int block, int place,
                           bool *is_alike, struct weft_error *error)
{
    const struct weft_fold *fold = &ways->fold;
    int like = move(fold, place, block);
    WEFT_TRY(write_program(cast, place, error));
    WEFT_TRY(write_program(cast, like, error));
    const struct weft_program *a = cast->programs[place], *b = cast->programs[like];
    *is_alike = a->num_steps == b->num_steps && a->num_channels == b->num_channels;
    for (uint32_t i = 0; i < a->num_steps && *is_alike; i++)
        *is_alike = is_alike_step(cast, fold, block, a, b, i);
    if (*is_alike && cast->layout->network)
        WEFT_TRY(has_like_ways(ways, block, a, is_alike, error));
    return WEFT_OK;
}

static weft_status is_good(struct cast *cast, struct weft_fold fold, bool *is_alike,
                           struct weft_error *error)
{
    const int blocks[] = {1, fold.num_blocks - 1, fold.num_blocks / 2, 2, fold.num_blocks / 3};
    const int places[] = {0, fold.block - 1, fold.block / 2, 1};
    struct weft_ways *ways = NULL;
    WEFT_TRY(weft_ways_create(cast->layout, fold, &ways, error));
    weft_status status = WEFT_OK;
    *is_alike = weft_ways_are_even(ways);
    for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++)
        for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
            bool is_needed = status == WEFT_OK && *is_alike && blocks[b] > 0 &&
                             blocks[b] < fold.num_blocks && places[p] < fold.block;
            if (is_needed)
                status = compare(cast, ways, blocks[b], places[p], is_alike, error);
        }
    weft_ways_destroy(&ways);
    return status;
}

// Groups stay together when blocks are shifted within the groups of each level above `level`.
static void find_digits(const struct weft_layout *layout, int level, struct weft_fold *fold)
{
    int below = fold->block;
    for (int l = level + 1; l <= weft_layout_top(layout); l++) {
        fold->radix[fold->num_digits++] = layout->levels[l].largest / below;
        below = layout->levels[l].largest;
    }
}

static bool can_xor(const struct weft_fold *fold)
{
    bool can = true;
    for (int d = 0; d < fold->num_digits; d++)
        can &= !(fold->xor_digits >> d & 1) || (fold->radix[d] & (fold->radix[d] - 1)) == 0;
    return can;
}

// All ways to move blocks of one size: by XOR, or digit by digit, some by XOR, since levels may
// exchange in different ways. *fold stays where none does it.
static weft_status try_moves(struct cast *cast, struct weft_fold tried, int level,
                             struct weft_fold *fold, struct weft_error *error)
{
    bool is_alike = false;
    tried.is_xor = true;
    if ((tried.num_blocks & (tried.num_blocks - 1)) == 0)
        WEFT_TRY(is_good(cast, tried, &is_alike, error));
    if (!is_alike) {
        tried.is_xor = false;
        find_digits(cast->layout, level, &tried);
    }
    for (unsigned digits = 0; !is_alike && digits < 1u << tried.num_digits; digits++) {
        tried.xor_digits = digits;
        if (can_xor(&tried))
            WEFT_TRY(is_good(cast, tried, &is_alike, error));
    }
    if (is_alike)
        *fold = tried;
    return WEFT_OK;
}

// The smallest block that does it; num_blocks 1: none does.
static weft_status find_fold(struct cast *cast, struct weft_fold *fold, struct weft_error *error)
{
    const struct weft_layout *layout = cast->layout;
    int n = layout->num_ranks, top = weft_layout_top(layout);
    *fold = (struct weft_fold){.block = n, .num_blocks = 1};
    if (!layout->is_in_order || n < 2)
        return WEFT_OK;
    int even = top; // from here on groups of a level are of one size
    while (even > 0 && layout->levels[even - 1].smallest == layout->levels[even - 1].largest)
        even--;
    for (int l = even - 1; l < top; l++) {
        if (l < 0 && even > 0)
            continue;
        int block = l < even ? 1 : layout->levels[l].largest;
        if (block > block_limit || (l < even && even > 0))
            continue;
        WEFT_TRY(try_moves(cast, (struct weft_fold){.block = block, .num_blocks = n / block}, l,
                           fold, error));
        if (fold->num_blocks > 1)
            return WEFT_OK;
    }
    return WEFT_OK;
}

static weft_status evaluate(struct cast *cast, enum weft_evaluate_how how,
                            struct weft_evaluation *evaluation, struct weft_error *error)
{
    struct weft_fold fold = {.block = cast->layout->num_ranks, .num_blocks = 1};
    if (how != WEFT_EVALUATE_ALL)
        WEFT_TRY(find_fold(cast, &fold, error));
    if (fold.num_blocks == 1 && how == WEFT_EVALUATE_FOLDED)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: no few ranks stand for all %d",
                         cast->algorithm->name, cast->layout->num_ranks);
    if (fold.num_blocks == 1 && fold.block > all_limit)
        return weft_fail(error, WEFT_UNSUPPORTED,
                         "%s: no few ranks stand for all %d, and at most %d are evaluated one by "
                         "one",
                         cast->algorithm->name, fold.block, all_limit);
    for (int r = 0; r < fold.block; r++)
        WEFT_TRY(write_program(cast, r, error));
    return weft_eval_programs_within(cast->layout, fold, cast->programs, cast->bytes,
                                     cast->limit_ps, evaluation, error);
}

static weft_status cast_and_evaluate(struct cast *cast, enum weft_evaluate_how how,
                                     struct weft_evaluation *evaluation, struct weft_error *error)
{
    const struct weft_key *key = cast->key;
    int num_ranks = cast->layout->num_ranks;
    if (weft_collective_is_pair(key->collective))
        return weft_fail(error, WEFT_UNSUPPORTED, "a pair of ranks is not evaluated");
    if (cast->bytes < 0 || num_ranks != key->num_ranks)
        return weft_fail(error, WEFT_UNSUPPORTED, "%lld bytes on %d ranks", (long long)cast->bytes,
                         num_ranks);
    cast->programs = calloc((size_t)num_ranks, sizeof *cast->programs);
    if (!cast->programs)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for an evaluation");
    weft_status status = evaluate(cast, how, evaluation, error);
    for (int r = 0; r < num_ranks; r++)
        weft_program_destroy(&cast->programs[r]);
    free(cast->programs);
    return status;
}

weft_status weft_evaluate(const struct weft_algorithm *algorithm, const struct weft_key *key,
                          const struct weft_layout *layout, int64_t bytes,
                          enum weft_evaluate_how how, struct weft_evaluation *evaluation,
                          struct weft_error *error)
{
    struct cast cast = {.algorithm = algorithm,
                        .key = key,
                        .layout = layout,
                        .bytes = bytes,
                        .limit_ps = INT64_MAX};
    return cast_and_evaluate(&cast, how, evaluation, error);
}

weft_status weft_evaluate_within(const struct weft_algorithm *algorithm, const struct weft_key *key,
                                 const struct weft_layout *layout, int64_t bytes, int64_t limit_ps,
                                 struct weft_evaluation *evaluation, struct weft_error *error)
{
    struct cast cast = {
        .algorithm = algorithm, .key = key, .layout = layout, .bytes = bytes, .limit_ps = limit_ps};
    return cast_and_evaluate(&cast, WEFT_EVALUATE_FOLDED_OR_ALL, evaluation, error);
}
