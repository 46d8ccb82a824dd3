/*
 * SPDX-License-Identifier: Apache-2.0
 * What the flat path reads in which order: the one description, which flat.c compiles with actions
 * that move bytes and flat_trace.c with actions that record a program.
 *
 * Few ranks: one stage, in which everybody reads everybody's contribution. Many ranks, where what
 * is read is one value: groups of consecutive ranks. The first rank of a group, its leader, reads
 * the contributions of the group and shows what they make (a partial); leaders read one another's
 * partials and show the result; all read the result of their leader. Groups are powers of two, so
 * a group is a node of the canonical tree over all ranks, and leaders combine what is above them.
 */
#ifndef WEFT_COLLECTIVES_EXECUTOR_FLAT_WALK_H
#define WEFT_COLLECTIVES_EXECUTOR_FLAT_WALK_H

#include "collectives/executor/flat.h"

// What a rank shows, by level; each level has slots of its own.
enum weft_flat_level { WEFT_FLAT_CONTRIBUTIONS, WEFT_FLAT_PARTIALS, WEFT_FLAT_RESULTS };

enum { WEFT_FLAT_STACK = 8 }; // 64 ranks: 7 finished subtrees at most, of falling sizes, and a leaf

// Blocks of what is shown: block `from` of rank `peer` into block `to` of what the stage makes. In
// canonical order through a stack: push a value, combine the two on top, take the last one out.
struct weft_flat_actions {
    void (*copy)(void *argument, int peer, int from, int to);
    void (*begin)(void *argument, int a, int b, int from, int to); // ranks a and b combined
    void (*combine)(void *argument, int peer, int from, int to);
    void (*push)(void *argument, int depth, int peer, int from);
    void (*merge)(void *argument, int depth);
    void (*take)(void *argument, int to);
};

struct weft_flat_form {
    weft_collective collective;
    int root;
    int rank;
    int num_ranks;
    int group; // ranks of a group; num_ranks: one stage
    bool is_canonical;
};

// The slots of a level that a rank reads: of ranks first, first + step, ...
struct weft_flat_stage {
    enum weft_flat_level level;
    int first, step, count;
    bool is_last; // it makes the output; others what the rank shows at the next level
};

static inline struct weft_flat_form weft_flat_form_make(weft_collective collective, int root,
                                                        int rank, int num_ranks, int group,
                                                        bool is_canonical)
{
    bool is_one_value = collective == WEFT_ALL_REDUCE || collective == WEFT_REDUCE ||
                        collective == WEFT_BARRIER || collective == WEFT_BROADCAST;
    return (struct weft_flat_form){
        collective, root, rank, num_ranks, is_one_value ? group : num_ranks, is_canonical};
}

static inline int weft_flat_leader(const struct weft_flat_form *form, int rank)
{
    return rank - rank % form->group;
}

/* Stage `number` of the rank, in order; false: it has no more. */
static inline bool weft_flat_stage_find(const struct weft_flat_form *form, int number,
                                        struct weft_flat_stage *stage)
{
    int n = form->num_ranks, group = form->group;
    if (group >= n) {
        *stage = (struct weft_flat_stage){WEFT_FLAT_CONTRIBUTIONS, 0, 1, n, true};
        return number == 0;
    }
    int leader = weft_flat_leader(form, form->rank);
    int level = form->rank == leader ? number : number + WEFT_FLAT_RESULTS;
    int in_group = n - leader < group ? n - leader : group;
    if (level == WEFT_FLAT_CONTRIBUTIONS)
        *stage = (struct weft_flat_stage){WEFT_FLAT_CONTRIBUTIONS, leader, 1, in_group, false};
    else if (level == WEFT_FLAT_PARTIALS)
        *stage =
            (struct weft_flat_stage){WEFT_FLAT_PARTIALS, 0, group, (n + group - 1) / group, false};
    else
        *stage = (struct weft_flat_stage){WEFT_FLAT_RESULTS, leader, 1, 1, true};
    return level <= WEFT_FLAT_RESULTS;
}

// The rank whose slot of the level holds what comes from the root.
static inline int weft_flat_holder(const struct weft_flat_form *form, enum weft_flat_level level)
{
    if (level == WEFT_FLAT_CONTRIBUTIONS)
        return form->root;
    return weft_flat_leader(form, level == WEFT_FLAT_PARTIALS ? form->root : form->rank);
}

/* Whether what `rank` shows is needed: for its data, or, in groups, as word that it has begun. */
static inline bool weft_flat_is_read(const struct weft_flat_form *form, int rank)
{
    if (form->group < form->num_ranks)
        return true;
    switch (form->collective) {
    case WEFT_BROADCAST:
    case WEFT_SCATTER:
        return rank == form->root;
    case WEFT_GATHER:
    case WEFT_REDUCE:
        return form->rank == form->root;
    default:
        return true;
    }
}

// Whether a reduction to one root needs what the stage makes here.
static inline bool weft_flat_is_wanted(const struct weft_flat_form *form,
                                       const struct weft_flat_stage *stage)
{
    if (form->collective != WEFT_REDUCE)
        return true;
    if (stage->is_last)
        return form->rank == form->root;
    return stage->level == WEFT_FLAT_CONTRIBUTIONS ||
           form->rank == weft_flat_leader(form, form->root);
}

#define WEFT_FLAT_INLINE static inline __attribute__((always_inline))

// The tree over all values of the stage: a node is complete when it cannot grow.
WEFT_FLAT_INLINE void weft_flat_gather_tree(const struct weft_flat_stage *stage,
                                            const struct weft_flat_actions *actions, void *argument,
                                            int from, int to)
{
    int depth = 0;
    for (int i = 0; i < stage->count; i++) {
        bool is_last = i == stage->count - 1;
        actions->push(argument, depth++, stage->first + i * stage->step, from);
        for (int twos = i + 1; depth > 1 && (twos % 2 == 0 || is_last); twos /= 2)
            actions->merge(argument, --depth);
    }
    actions->take(argument, to);
}

// Values are combined in rank order wherever they are, so all get the same bits.
WEFT_FLAT_INLINE void weft_flat_combine(const struct weft_flat_form *form,
                                        const struct weft_flat_stage *stage,
                                        const struct weft_flat_actions *actions, void *argument)
{
    int block = form->collective == WEFT_REDUCE_SCATTER ? form->rank : 0;
    if (!weft_flat_is_wanted(form, stage))
        return;
    if (stage->count == 1) {
        actions->copy(argument, stage->first, block, block);
        return;
    }
    if (form->is_canonical && stage->count > 2) { // two are a tree
        weft_flat_gather_tree(stage, actions, argument, block, block);
        return;
    }
    actions->begin(argument, stage->first, stage->first + stage->step, block, block);
    for (int i = 2; i < stage->count; i++)
        actions->combine(argument, stage->first + i * stage->step, block, block);
}

WEFT_FLAT_INLINE void weft_flat_gather(const struct weft_flat_form *form,
                                       const struct weft_flat_stage *stage,
                                       const struct weft_flat_actions *actions, void *argument)
{
    int n = form->num_ranks, me = form->rank;
    int holder = weft_flat_holder(form, stage->level);
    switch (form->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_BARRIER:
    case WEFT_REDUCE:
    case WEFT_REDUCE_SCATTER:
        weft_flat_combine(form, stage, actions, argument);
        return;
    case WEFT_BROADCAST:
        if (holder >= stage->first && holder < stage->first + stage->count * stage->step)
            actions->copy(argument, holder, 0, 0);
        return;
    case WEFT_ALL_GATHER:
    case WEFT_GATHER:
        for (int peer = 0; peer < n && (form->collective != WEFT_GATHER || me == form->root);
             peer++)
            actions->copy(argument, peer, peer, peer);
        return;
    case WEFT_SCATTER:
        actions->copy(argument, form->root, me, me);
        return;
    case WEFT_ALL_TO_ALL:
        for (int peer = 0; peer < n; peer++)
            actions->copy(argument, peer, me, peer);
        return;
    default:
        return;
    }
}

#endif
