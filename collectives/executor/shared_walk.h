/*
 * SPDX-License-Identifier: Apache-2.0
 * What a rank does in an exchange through shared memory, in three phases, as actions on places. It
 * is compiled twice: with actions that move bytes (shared_move.c) and with actions that record a
 * program (shared_trace.c). Sums have one slice for each rank; elsewhere "block" is one of the
 * collective.
 */
#ifndef WEFT_COLLECTIVES_EXECUTOR_SHARED_WALK_H
#define WEFT_COLLECTIVES_EXECUTOR_SHARED_WALK_H

#include "collectives/executor/shared.h"

struct weft_shared_form {
    weft_collective collective;
    int root;
    int rank;
    int num_ranks;
};

struct weft_shared_actions {
    /* Shows a block or slice of the own contribution to the others. */
    void (*show)(void *argument, int block);
    /* Combines everybody's slice or block of the own number. */
    void (*fold)(void *argument);
    /* Block `from` of rank `peer` into block `to` of the output. */
    void (*copy)(void *argument, int peer, int from, int to);
    /* The slice that rank `peer` has combined into the output. */
    void (*fetch)(void *argument, int peer);
};

static inline bool weft_shared_is_sliced(weft_collective collective)
{
    return collective == WEFT_ALL_REDUCE || collective == WEFT_REDUCE;
}

static inline __attribute__((always_inline)) void weft_shared_show(
    const struct weft_shared_form *form, const struct weft_shared_actions *actions, void *argument)
{
    switch (form->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_REDUCE:
    case WEFT_REDUCE_SCATTER:
    case WEFT_ALL_TO_ALL:
        for (int peer = 0; peer < form->num_ranks; peer++)
            if (peer != form->rank)
                actions->show(argument, peer);
        return;
    case WEFT_ALL_GATHER:
        actions->show(argument, form->rank);
        return;
    case WEFT_GATHER:
        if (form->rank != form->root)
            actions->show(argument, form->rank);
        return;
    case WEFT_SCATTER:
        for (int peer = 0; form->rank == form->root && peer < form->num_ranks; peer++)
            if (peer != form->rank)
                actions->show(argument, peer);
        return;
    case WEFT_BROADCAST:
        if (form->rank == form->root)
            actions->show(argument, 0);
        return;
    default:
        return;
    }
}

static inline __attribute__((always_inline)) void weft_shared_combine(
    const struct weft_shared_form *form, const struct weft_shared_actions *actions, void *argument)
{
    switch (form->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_REDUCE:
    case WEFT_REDUCE_SCATTER:
        actions->fold(argument);
        return;
    case WEFT_ALL_GATHER:
        for (int peer = 0; peer < form->num_ranks; peer++)
            actions->copy(argument, peer, peer, peer);
        return;
    case WEFT_GATHER:
        for (int peer = 0; form->rank == form->root && peer < form->num_ranks; peer++)
            actions->copy(argument, peer, peer, peer);
        return;
    case WEFT_SCATTER:
        actions->copy(argument, form->root, form->rank, form->rank);
        return;
    case WEFT_ALL_TO_ALL:
        for (int peer = 0; peer < form->num_ranks; peer++)
            actions->copy(argument, peer, form->rank, peer);
        return;
    case WEFT_BROADCAST:
        actions->copy(argument, form->root, 0, 0);
        return;
    default:
        return;
    }
}

static inline __attribute__((always_inline)) void weft_shared_collect(
    const struct weft_shared_form *form, const struct weft_shared_actions *actions, void *argument)
{
    bool is_wanted = form->collective == WEFT_ALL_REDUCE ||
                     (form->collective == WEFT_REDUCE && form->rank == form->root);
    for (int peer = 0; is_wanted && peer < form->num_ranks; peer++)
        if (peer != form->rank)
            actions->fetch(argument, peer);
}

#endif
