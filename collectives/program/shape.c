/*
 * SPDX-License-Identifier: Apache-2.0
 * The table of collectives. A new one is a row here and an enum value.
 */
#include "collectives/program/shape.h"

#include "base/dtype.h"
#include "weft/weft.h"

enum buffer { NONE, WHOLE, OWN_BLOCK, WHOLE_AT_ROOT };
enum extent { UNIFORM, BY_TABLE, BY_PAIR };
enum goal { FROM_ALL, FROM_BLOCK_OWNER, FROM_ROOT, TRANSPOSED };

struct form {
    bool has_blocks; // one block per rank; else one block
    enum buffer input;
    enum buffer output;
    enum extent extent;
    enum goal goal;
    bool is_replicated;
    bool reduces;
    bool is_rooted;
};

static const struct form forms[WEFT_NUM_COLLECTIVES] = {
    [WEFT_ALL_REDUCE] = {false, WHOLE, WHOLE, UNIFORM, FROM_ALL, true, true, false},
    [WEFT_BARRIER] = {false, WHOLE, WHOLE, UNIFORM, FROM_ALL, true, true, false},
    [WEFT_REDUCE] = {false, WHOLE, WHOLE_AT_ROOT, UNIFORM, FROM_ALL, false, true, true},
    [WEFT_BROADCAST] = {false, WHOLE_AT_ROOT, WHOLE, UNIFORM, FROM_ROOT, true, false, true},
    [WEFT_SEND] = {false, WHOLE, NONE, UNIFORM, FROM_ROOT, false, false, true},
    [WEFT_RECV] = {false, NONE, WHOLE, UNIFORM, FROM_ROOT, false, false, true},
    [WEFT_ALL_GATHER] = {true, OWN_BLOCK, WHOLE, UNIFORM, FROM_BLOCK_OWNER, true, false, false},
    [WEFT_ALL_GATHER_V] = {true, OWN_BLOCK, WHOLE, BY_TABLE, FROM_BLOCK_OWNER, true, false, false},
    [WEFT_REDUCE_SCATTER] = {true, WHOLE, OWN_BLOCK, UNIFORM, FROM_ALL, false, true, false},
    [WEFT_REDUCE_SCATTER_V] = {true, WHOLE, OWN_BLOCK, BY_TABLE, FROM_ALL, false, true, false},
    [WEFT_GATHER] = {true, OWN_BLOCK, WHOLE_AT_ROOT, UNIFORM, FROM_BLOCK_OWNER, false, false, true},
    [WEFT_GATHER_V] = {true, OWN_BLOCK, WHOLE_AT_ROOT, BY_TABLE, FROM_BLOCK_OWNER, false, false,
                       true},
    [WEFT_SCATTER] = {true, WHOLE_AT_ROOT, OWN_BLOCK, UNIFORM, FROM_ROOT, false, false, true},
    [WEFT_SCATTER_V] = {true, WHOLE_AT_ROOT, OWN_BLOCK, BY_TABLE, FROM_ROOT, false, false, true},
    [WEFT_ALL_TO_ALL] = {true, WHOLE, WHOLE, UNIFORM, TRANSPOSED, false, false, false},
    [WEFT_ALL_TO_ALL_V] = {true, WHOLE, WHOLE, BY_PAIR, TRANSPOSED, false, false, false},
};

void weft_shape_set_leaves(struct weft_shape *shape, uint32_t num_leaves, const uint32_t *bounds)
{
    shape->is_canonical = true;
    shape->num_leaves = num_leaves;
    shape->leaf_bounds = num_leaves ? bounds : NULL;
    shape->num_parts = 1;
    if (num_leaves)
        shape->num_parts = (uint32_t)weft_leaf_parts(bounds[shape->rank], bounds[shape->rank + 1],
                                                     num_leaves, NULL);
}

weft_status weft_leaf_bounds_check(int num_ranks, uint32_t num_leaves, const uint32_t *bounds,
                                   struct weft_error *error)
{
    if (num_leaves < 1 || num_leaves > WEFT_LEAVES_LIMIT || !bounds)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%u leaves%s: 1 to %d, with bounds",
                         num_leaves, bounds ? "" : " without bounds", WEFT_LEAVES_LIMIT);
    if (bounds[0] != 0 || bounds[num_ranks] != num_leaves)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "leaf bounds go from %u to %u, not from 0 to %u", bounds[0],
                         bounds[num_ranks], num_leaves);
    for (int r = 0; r < num_ranks; r++)
        if (bounds[r] > bounds[r + 1])
            return weft_fail(error, WEFT_INVALID_ARGUMENT,
                             "leaf bounds fall from %u to %u at rank %d", bounds[r], bounds[r + 1],
                             r);
    return WEFT_OK;
}

static weft_status check_leaves(const struct weft_shape *shape, struct weft_error *error)
{
    if (!shape->is_canonical && !shape->num_leaves)
        return WEFT_OK;
    if (!shape->is_canonical || !forms[shape->collective].reduces)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s combines nothing in canonical order",
                         weft_collective_names[shape->collective]);
    if (!shape->num_leaves)
        return WEFT_OK;
    if (shape->collective == WEFT_BARRIER)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a barrier has no leaves");
    return weft_leaf_bounds_check(shape->num_ranks, shape->num_leaves, shape->leaf_bounds, error);
}

static weft_status check_parts(const struct weft_shape *shape, struct weft_error *error)
{
    const uint32_t *bounds = shape->leaf_bounds;
    if (!shape->num_leaves)
        return WEFT_OK;
    if (shape->num_parts !=
        weft_leaf_parts(bounds[shape->rank], bounds[shape->rank + 1], shape->num_leaves, NULL))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "leaves %u to %u are not %u parts",
                         bounds[shape->rank], bounds[shape->rank + 1], shape->num_parts);
    if ((uint64_t)shape->num_parts * shape->pieces * weft_shape_blocks(shape) > WEFT_CELLS_LIMIT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%u parts of %u cells: at most %d cells",
                         shape->num_parts, shape->pieces * weft_shape_blocks(shape),
                         WEFT_CELLS_LIMIT);
    return WEFT_OK;
}

weft_status weft_shape_check(const struct weft_shape *shape, struct weft_error *error)
{
    if ((unsigned)shape->collective >= WEFT_NUM_COLLECTIVES)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "collective %d does not exist",
                         (int)shape->collective);
    if (shape->num_ranks < 1 || shape->rank < 0 || shape->rank >= shape->num_ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "rank %d of %d ranks", shape->rank,
                         shape->num_ranks);
    if (shape->root < 0 || shape->root >= shape->num_ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "root or peer %d of %d ranks", shape->root,
                         shape->num_ranks);
    if (shape->pieces < 1 || (uint64_t)shape->pieces * weft_shape_blocks(shape) > WEFT_CELLS_LIMIT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%u pieces in %u blocks: at most %d cells",
                         shape->pieces, weft_shape_blocks(shape), WEFT_CELLS_LIMIT);
    WEFT_TRY(check_leaves(shape, error));
    return check_parts(shape, error);
}

uint32_t weft_shape_blocks(const struct weft_shape *shape)
{
    return forms[shape->collective].has_blocks ? (uint32_t)shape->num_ranks : 1;
}

static struct weft_window window(const struct weft_shape *shape, enum buffer buffer)
{
    struct weft_window whole = {0, weft_shape_blocks(shape) * shape->pieces};
    struct weft_window own = {(uint32_t)shape->rank * shape->pieces, shape->pieces};
    struct weft_window none = {0, 0};
    switch (buffer) {
    case NONE:
        return none;
    case WHOLE:
        return whole;
    case OWN_BLOCK:
        return own;
    case WHOLE_AT_ROOT:
        return shape->rank == shape->root ? whole : none;
    }
    return none;
}

struct weft_window weft_shape_input(const struct weft_shape *shape)
{
    struct weft_window input = window(shape, forms[shape->collective].input);
    input.cells *= weft_shape_parts(shape);
    return input;
}

uint32_t weft_shape_cell(const struct weft_shape *shape, uint32_t input_cell)
{
    return shape->num_leaves ? input_cell % (weft_shape_blocks(shape) * shape->pieces) : input_cell;
}

void weft_shape_part(const struct weft_shape *shape, uint32_t part, uint32_t *first,
                     uint32_t *count)
{
    weft_leaf_part parts[WEFT_LEAF_PARTS_LIMIT];
    *first = (uint32_t)shape->rank;
    *count = 1;
    if (!shape->num_leaves)
        return;
    const uint32_t *span = shape->leaf_bounds + shape->rank;
    weft_leaf_parts(span[0], span[1], shape->num_leaves, parts);
    *first = (uint32_t)parts[part].begin;
    *count = (uint32_t)(parts[part].end - parts[part].begin);
}

struct weft_window weft_shape_output(const struct weft_shape *shape)
{
    return window(shape, forms[shape->collective].output);
}

struct weft_goal weft_shape_goal(const struct weft_shape *shape, uint32_t output_cell)
{
    struct weft_goal goal = {output_cell, WEFT_ALL_RANKS};
    uint32_t block = output_cell / shape->pieces;
    switch (forms[shape->collective].goal) {
    case FROM_ALL:
        break;
    case FROM_BLOCK_OWNER:
        goal.rank = (int)block;
        break;
    case FROM_ROOT:
        goal.rank = shape->root;
        break;
    case TRANSPOSED: // block b of my output is what rank b put into its block for me
        goal.rank = (int)block;
        goal.cell = (uint32_t)shape->rank * shape->pieces + output_cell % shape->pieces;
        break;
    }
    return goal;
}

uint64_t weft_shape_extent(const struct weft_shape *shape, enum weft_space space, uint32_t cell)
{
    uint32_t piece = cell % shape->pieces;
    if (space == WEFT_INPUT)
        cell = weft_shape_cell(shape, cell);
    switch (forms[shape->collective].extent) {
    case UNIFORM:
        return piece;
    case BY_TABLE:
        return cell;
    case BY_PAIR:
        break;
    }
    uint64_t block = cell / shape->pieces, me = (uint64_t)shape->rank;
    uint64_t from = space == WEFT_OUTPUT ? block : me;
    uint64_t to = space == WEFT_OUTPUT ? me : block;
    return (from * (uint64_t)shape->num_ranks + to) * shape->pieces + piece;
}

bool weft_shape_has_extent(const struct weft_shape *shape, enum weft_space space, uint32_t cell)
{
    struct weft_window buffer =
        space == WEFT_INPUT ? weft_shape_input(shape) : weft_shape_output(shape);
    if (cell >= buffer.first && cell - buffer.first < buffer.cells)
        return true;
    return forms[shape->collective].extent != BY_PAIR &&
           cell < weft_shape_blocks(shape) * shape->pieces;
}

bool weft_shape_is_replicated(const struct weft_shape *shape)
{
    return forms[shape->collective].is_replicated;
}

bool weft_collective_reduces(weft_collective collective)
{
    return forms[collective].reduces;
}

bool weft_collective_is_pair(weft_collective collective)
{
    return collective == WEFT_SEND || collective == WEFT_RECV;
}

bool weft_collective_is_rooted(weft_collective collective)
{
    return forms[collective].is_rooted;
}

bool weft_collective_has_table(weft_collective collective)
{
    return forms[collective].extent == BY_TABLE;
}
