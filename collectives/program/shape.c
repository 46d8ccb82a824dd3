/*
 * SPDX-License-Identifier: Apache-2.0
 * The table of collectives. A new one is a row here and an enum value.
 */
#include "collectives/program/shape.h"

#include "base/dtype.h"

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
    [WEFT_ALL_TO_ALL] = {true, WHOLE, WHOLE, UNIFORM, TRANSPOSED, false, false, false},
    [WEFT_ALL_TO_ALL_V] = {true, WHOLE, WHOLE, BY_PAIR, TRANSPOSED, false, false, false},
};

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
    return WEFT_OK;
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
    return window(shape, forms[shape->collective].input);
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
