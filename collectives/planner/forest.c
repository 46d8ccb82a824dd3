/*
 * SPDX-License-Identifier: Apache-2.0
 * forest: spanning trees packed into the links of the fabric, so that all of them are full at once.
 * A vector is cut into units; each unit goes up a tree to its root (reductions) and down a tree to
 * everybody (gathers, broadcast), in chunks that follow one another. Chunk q of unit u of root r is
 * cell first[r] * chunks + q * (units of r) + u, so that trees of several units move consecutive
 * cells, and the way down of one chunk overlaps the way up of the next.
 *
 * Stamps. The root has chunk q at stamp q + D, D being the rise of the plan; on the way up a rank
 * at depth d sends it at q + D - d, and on the way down at D + q + d. Steps that send at one stamp
 * are in the order of trees; going down, those deeper in their trees come first, since they post a
 * stamp earlier, for their receives, than a root that only sends. A receiver is one deeper than its
 * sender, so both ends of a lane have the same order.
 */
#include <stdlib.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"
#include "collectives/planner/forests.h"

enum { COPY_CHANNEL = WEFT_FOREST_CHANNELS, FUSED_CHILDREN = WEFT_FOREST_FUSED };

// This rank in one tree.
struct member {
    int root;
    int depth;
    int parent; // -1: the root
    int num_children, first_child;
    uint32_t unit; // first of the tree among those of its root
    uint32_t weight;
    struct weft_label whole; // going up: what the root gets
    int turns;               // how many steps the root needs for its children
    int inner_turns;         // and the widest other rank
    int turn;                // in which of those its parent takes this rank in
    int branch;              // turn of the root's child above it, or itself
    uint16_t channel;
    uint32_t scratch; // of wide trees: where sums grow, chunk after chunk
};

struct forest {
    struct weft_builder *builder;
    const struct weft_forest_plan *plan;
    int rank;
    uint32_t chunks;
    struct member *up, *down;
    int num_up, num_down;
    int *children;                // ranks
    struct weft_label *subtotals; // going up: what each child sends
    struct weft_label *labels;    // (widest message) spread over its cells
};

static const char *forest_supports(const struct weft_key *key, const struct weft_layout *layout)
{
    bool reduces = weft_collective_reduces(key->collective);
    const char *reason = NULL;
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_REDUCE:
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
    case WEFT_BROADCAST:
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
        break;
    default:
        return "only reductions, gathers and broadcast";
    }
    if (reduces && key->order == WEFT_ORDER_REPRODUCIBLE)
        return "combines along trees of the fabric, not the canonical one";
    if (!layout)
        return NULL;
    return weft_forests_count(layout, key->collective, key->root, &reason) ? NULL : reason;
}

static int64_t forest_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    return weft_price_clamp(key->num_ranks > 1 ? weft_forests_choose(key, layout).price : 1);
}

/* ---- program ---- */

// Of all ranks in one tree.
struct work {
    int *depths, *children, *turn, *branch;
    struct weft_label *sums;
};

// Where this rank is in a tree. Children are in the reverse order of the edges, so that walking the
// edges backwards adds them up in their order.
static void find_member(struct forest *forest, const struct weft_forest *trees, int number,
                        struct work *work, struct member *member, int *room)
{
    int *depths = work->depths;
    struct weft_label *sums = work->sums;
    const struct weft_forest_tree *tree = &trees->trees[number];
    int n = trees->num_terminals;
    *member = (struct member){
        .root = tree->root, .parent = -1, .first_child = *room, .weight = (uint32_t)tree->weight};
    depths[tree->root] = 0;
    for (int i = 0; i < n; i++) {
        sums[i] = weft_label_leaf(i, 0);
        work->children[i] = 0;
    }
    for (int e = 0; e < n - 1; e++) {
        const struct weft_forest_edge *edge = &trees->edges[tree->first_edge + e];
        depths[edge->to] = depths[edge->from] + 1;
        if (edge->to == forest->rank)
            member->parent = edge->from;
    }
    for (int e = n - 2; e >= 0; e--) {
        const struct weft_forest_edge *edge = &trees->edges[tree->first_edge + e];
        int sibling = work->children[edge->from]++;
        int *turns = edge->from == tree->root ? &member->turns : &member->inner_turns;
        if (sibling / FUSED_CHILDREN >= *turns)
            *turns = sibling / FUSED_CHILDREN + 1;
        work->turn[edge->to] = sibling / FUSED_CHILDREN;
        if (edge->to == forest->rank)
            member->turn = sibling / FUSED_CHILDREN;
        if (edge->from == forest->rank) {
            forest->children[*room] = edge->to;
            forest->subtotals[(*room)++] = sums[edge->to];
            member->num_children++;
        }
        sums[edge->from] = weft_label_combine(sums[edge->from], sums[edge->to]);
    }
    member->depth = depths[forest->rank];
    for (int e = 0; e < n - 1; e++) { // the first hop decides for all below it
        const struct weft_forest_edge *edge = &trees->edges[tree->first_edge + e];
        if (edge->from != tree->root)
            work->branch[edge->to] = work->branch[edge->from];
        else
            work->branch[edge->to] = work->turn[edge->to];
    }
    member->branch = work->branch[forest->rank];
    member->whole = sums[tree->root];
}

static uint32_t find_members(struct forest *forest, const struct weft_forest *trees,
                             struct member *members, struct work *work, int *room)
{
    uint32_t unit = 0, widest = 1;
    for (int t = 0; trees && t < trees->num_trees; t++) {
        find_member(forest, trees, t, work, &members[t], room);
        if (t > 0 && members[t].root != members[t - 1].root)
            unit = 0;
        members[t].unit = unit;
        unit += members[t].weight;
        widest = members[t].weight > widest ? members[t].weight : widest;
    }
    return widest;
}

static uint32_t cell_of(const struct forest *forest, const struct member *member, uint32_t chunk)
{
    int64_t first = forest->plan->first[member->root];
    int64_t own = forest->plan->first[member->root + 1] - first;
    return (uint32_t)(first * forest->chunks + chunk * own + member->unit);
}

static const struct weft_label *spread(const struct forest *forest, struct weft_label label,
                                       uint32_t cell, uint32_t count)
{
    for (uint32_t c = 0; c < count; c++)
        forest->labels[c] = weft_label_at(label, cell + c);
    return forest->labels;
}

static struct weft_operand from_child(const struct forest *forest, const struct member *member,
                                      int child, uint32_t cell, uint32_t stamp,
                                      struct weft_label *labels)
{
    for (uint32_t c = 0; c < member->weight; c++)
        labels[c] = weft_label_at(forest->subtotals[member->first_child + child], cell + c);
    return weft_from(forest->children[member->first_child + child], stamp, labels);
}

// Where a sum goes: to the parent, or it is the result.
static struct weft_operand above(const struct member *member, uint32_t cell, uint32_t stamp)
{
    return member->parent < 0 ? weft_cells(WEFT_OUTPUT, cell) : weft_to(member->parent, stamp);
}

// What the children send and the own input, in one step; at a root, those of one turn.
static void go_up(struct forest *forest, const struct member *member, uint32_t chunk, int turn,
                  uint32_t stamp)
{
    uint32_t cell = cell_of(forest, member, chunk), weight = member->weight;
    struct weft_operand into = above(member, cell, stamp), sources[WEFT_REFS_LIMIT];
    bool is_root = member->parent < 0;
    int num_sources = 0, first = is_root ? turn * FUSED_CHILDREN : 0;
    sources[num_sources++] = weft_cells(is_root && turn ? WEFT_OUTPUT : WEFT_INPUT, cell);
    for (int i = first; i < member->num_children && num_sources < WEFT_REFS_LIMIT; i++) {
        sources[num_sources] = from_child(forest, member, i, cell, stamp - 1,
                                          forest->labels + (size_t)(num_sources - 1) * weight);
        num_sources++;
    }
    weft_builder_step(forest->builder, member->channel, weight, sources, num_sources, &into, 1);
}

// All that a fused tree does at a stamp: the branches of the root's later turns come as much later.
static void go_up_fused(struct forest *forest, const struct member *member, int rise, int stamp)
{
    int chunks = (int)forest->chunks, ready = rise - (member->turns - 1) - member->depth;
    for (int turn = 0; turn < member->turns; turn++) {
        int chunk = stamp - ready - turn;
        if ((member->parent < 0 || turn == member->branch) && chunk >= 0 && chunk < chunks)
            go_up(forest, member, (uint32_t)chunk, turn, (uint32_t)stamp);
    }
}

/* Wide trees. Where a rank below the root has more children than a step takes, it adds them up in
 * turns, FUSED_CHILDREN at a stamp, and sends the sum by a step of its own, on a channel of its
 * own: there a step that only sends may stand before one that receives. Every rank of such a tree
 * waits for as many turns as the widest one needs. */

// Where the sum of a chunk grows.
static struct weft_operand sum_place(const struct member *member, uint32_t cell, uint32_t chunk)
{
    return member->parent < 0 ? weft_cells(WEFT_OUTPUT, cell)
                              : weft_cells(WEFT_SCRATCH, member->scratch + chunk * member->weight);
}

static int turns_of(const struct member *member)
{
    return member->turns > member->inner_turns ? member->turns : member->inner_turns;
}

static void receive_wide(struct forest *forest, const struct member *member, uint32_t chunk,
                         int turn, uint32_t stamp)
{
    uint32_t cell = cell_of(forest, member, chunk), weight = member->weight;
    struct weft_operand sum = sum_place(member, cell, chunk), sources[WEFT_REFS_LIMIT];
    int num_sources = 0;
    sources[num_sources++] = turn ? sum : weft_cells(WEFT_INPUT, cell);
    for (int i = turn * FUSED_CHILDREN; i < member->num_children && num_sources < WEFT_REFS_LIMIT;
         i++, num_sources++)
        sources[num_sources] = from_child(forest, member, i, cell, stamp,
                                          forest->labels + (size_t)(num_sources - 1) * weight);
    if (num_sources > 1)
        weft_builder_step(forest->builder, member->channel, weight, sources, num_sources, &sum, 1);
}

static void send_wide(struct forest *forest, const struct member *member, uint32_t chunk,
                      uint32_t stamp)
{
    uint32_t cell = cell_of(forest, member, chunk);
    weft_builder_move(forest->builder, member->channel, member->weight,
                      member->num_children ? sum_place(member, cell, chunk)
                                           : weft_cells(WEFT_INPUT, cell),
                      weft_to(member->parent, stamp));
}

// All that happens at a stamp; the root has everything at stamp `rise` + chunk.
static void go_up_wide(struct forest *forest, const struct member *member, int rise, int stamp)
{
    int chunks = (int)forest->chunks, turns = turns_of(member);
    int ready = rise - member->depth * turns;
    int sending = stamp - ready - member->turn;
    for (int turn = 0; turn < turns && member->num_children; turn++) {
        int chunk = stamp - (ready - turns + turn);
        if (chunk >= 0 && chunk < chunks)
            receive_wide(forest, member, (uint32_t)chunk, turn, (uint32_t)stamp);
    }
    if (member->parent >= 0 && sending >= 0 && sending < chunks)
        send_wide(forest, member, (uint32_t)sending, (uint32_t)stamp);
}

// The label of the cells of one step going down: whose tree brought each of them up.
static void find_results(const struct forest *forest, const struct member *member, uint32_t cell)
{
    for (int t = 0; t < forest->num_up; t++) {
        const struct member *up = &forest->up[t];
        for (uint32_t c = 0; up->root == member->root && c < up->weight; c++)
            if (up->unit + c - member->unit < member->weight)
                forest->labels[up->unit + c - member->unit] =
                    weft_label_at(up->whole, cell + up->unit + c - member->unit);
    }
    if (!forest->num_up)
        spread(forest, weft_label_leaf(member->root, 0), cell, member->weight);
}

// Sends `from` to all children, and puts it into `output` where there is one: in one step, or in as
// many as that needs. In place, a step that writes what later ones read would hold them up, so the
// copy then comes last, where nothing waits for it.
static void pass_down(struct forest *forest, const struct member *member, struct weft_operand from,
                      const struct weft_operand *output, uint32_t stamp)
{
    struct weft_operand into[WEFT_REFS_LIMIT];
    bool fits = member->num_children < WEFT_REFS_LIMIT;
    int num_into = 0;
    if (output && fits)
        into[num_into++] = *output;
    for (int i = 0; i < member->num_children; i++) {
        if (num_into == WEFT_REFS_LIMIT) {
            weft_builder_step(forest->builder, member->channel, member->weight, &from, 1, into,
                              num_into);
            num_into = 0;
        }
        into[num_into++] = weft_to(forest->children[member->first_child + i], stamp);
    }
    if (num_into)
        weft_builder_step(forest->builder, member->channel, member->weight, &from, 1, into,
                          num_into);
    if (output && !fits)
        weft_builder_move(forest->builder, COPY_CHANNEL, member->weight, from, *output);
}

static struct weft_operand from_parent(struct forest *forest, const struct member *member,
                                       uint32_t cell, uint32_t stamp)
{
    find_results(forest, member, cell);
    return weft_from(member->parent, stamp, forest->labels);
}

// What a root spreads.
static struct weft_operand root_source(const struct forest *forest, uint32_t cell)
{
    return weft_cells(forest->num_up ? WEFT_OUTPUT : WEFT_INPUT, cell);
}

static void go_down(struct forest *forest, const struct member *member, uint32_t chunk,
                    uint32_t stamp)
{
    uint32_t cell = cell_of(forest, member, chunk);
    struct weft_operand output = weft_cells(WEFT_OUTPUT, cell);
    if (member->parent < 0) // its own copy comes with the first messages
        pass_down(forest, member, root_source(forest, cell), forest->num_up ? NULL : &output,
                  stamp);
    else
        pass_down(forest, member, from_parent(forest, member, cell, stamp - 1), &output, stamp);
}

// All that happens at a stamp in a tree where some rank below the root cannot receive and pass on
// in one step.
static void go_down_wide(struct forest *forest, const struct member *member, int rise, int stamp)
{
    int chunks = (int)forest->chunks, sending = stamp - rise - member->depth;
    int receiving = sending + 1;
    if (member->parent >= 0 && receiving >= 0 && receiving < chunks) {
        uint32_t cell = cell_of(forest, member, (uint32_t)receiving);
        weft_builder_move(forest->builder, member->channel, member->weight,
                          from_parent(forest, member, cell, (uint32_t)stamp),
                          weft_cells(WEFT_OUTPUT, cell));
    }
    if (sending >= 0 && sending < chunks) {
        uint32_t cell = cell_of(forest, member, (uint32_t)sending);
        struct weft_operand output = weft_cells(WEFT_OUTPUT, cell);
        bool is_root = member->parent < 0;
        pass_down(forest, member, is_root ? root_source(forest, cell) : output,
                  is_root && !forest->num_up ? &output : NULL, (uint32_t)stamp);
    }
}

// All steps, in the order of the stamps at which they send.
static void write_steps(struct forest *forest)
{
    int rise = forest->plan->rise;
    int fall = forest->plan->down ? forest->plan->down->depth : 0;
    int chunks = (int)forest->chunks;
    for (int stamp = 0; stamp < rise + fall + chunks; stamp++) {
        for (int t = 0; t < forest->num_up; t++) {
            const struct member *up = &forest->up[t];
            (up->inner_turns > 1 ? go_up_wide : go_up_fused)(forest, up, rise, stamp);
        }
        for (int t = 0; t < forest->num_down; t++)
            if (forest->down[t].inner_turns > 1)
                go_down_wide(forest, &forest->down[t], rise, stamp);
        for (int depth = fall; depth >= 0; depth--)
            for (int t = 0; t < forest->num_down; t++)
                if (forest->down[t].depth == depth && forest->down[t].inner_turns < 2 &&
                    stamp >= rise + depth && stamp < rise + depth + chunks)
                    go_down(forest, &forest->down[t], (uint32_t)(stamp - rise - depth),
                            (uint32_t)stamp);
    }
}

// A sum has the extent of its own cells, so each chunk has a place of its own.
static void reserve(struct forest *forest, struct member *member)
{
    for (uint32_t chunk = 0; chunk < forest->chunks; chunk++) {
        uint32_t first = weft_builder_scratch(forest->builder, WEFT_INPUT,
                                              cell_of(forest, member, chunk), member->weight);
        member->scratch = chunk ? member->scratch : first;
    }
}

static void release(struct forest *forest)
{
    free(forest->up);
    free(forest->down);
    free(forest->children);
    free(forest->subtotals);
    free(forest->labels);
}

// Looks this rank up in all trees.
static weft_status look_up(struct forest *forest, struct weft_error *error)
{
    const struct weft_forest_plan *plan = forest->plan;
    size_t n = (size_t)plan->num_ranks;
    forest->num_up = plan->up ? plan->up->num_trees : 0;
    forest->num_down = plan->down ? plan->down->num_trees : 0;
    size_t trees = (size_t)forest->num_up + (size_t)forest->num_down;
    struct work work = {calloc(n, sizeof(int)), calloc(n, sizeof(int)), calloc(n, sizeof(int)),
                        calloc(n, sizeof(int)), calloc(n, sizeof(struct weft_label))};
    forest->up = calloc((size_t)forest->num_up + 1, sizeof *forest->up);
    forest->down = calloc((size_t)forest->num_down + 1, sizeof *forest->down);
    forest->children = calloc(trees * n, sizeof *forest->children);
    forest->subtotals = calloc(trees * n, sizeof *forest->subtotals);
    bool is_made = work.depths && work.children && work.turn && work.branch && work.sums &&
                   forest->up && forest->down && forest->children && forest->subtotals;
    if (is_made) {
        int room = 0;
        uint32_t up = find_members(forest, plan->up, forest->up, &work, &room);
        uint32_t down = find_members(forest, plan->down, forest->down, &work, &room);
        for (int t = 0; t < forest->num_up + forest->num_down; t++)
            (t < forest->num_up ? &forest->up[t] : &forest->down[t - forest->num_up])->channel =
                plan->channels[t];
        uint32_t widest = up > down ? up : down;
        forest->labels = calloc((size_t)widest * WEFT_REFS_LIMIT, sizeof *forest->labels);
        is_made = forest->labels != NULL;
    }
    free(work.depths);
    free(work.children);
    free(work.turn);
    free(work.branch);
    free(work.sums);
    return is_made ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
}

static weft_status write_program(struct forest *forest, const struct weft_key *key,
                                 unsigned aliasing, struct weft_program **program,
                                 struct weft_error *error)
{
    bool has_blocks = key->collective != WEFT_ALL_REDUCE && key->collective != WEFT_REDUCE &&
                      key->collective != WEFT_BROADCAST;
    uint32_t pieces = (uint32_t)(weft_forest_units(forest->plan) * forest->chunks);
    pieces /= has_blocks ? (uint32_t)key->num_ranks : 1;
    WEFT_TRY(look_up(forest, error));
    WEFT_TRY(
        weft_emit_begin(key, forest->rank, pieces, "forest", aliasing, &forest->builder, error));
    for (int t = 0; t < forest->num_up; t++)
        if (forest->up[t].inner_turns > 1 && forest->up[t].num_children &&
            forest->up[t].parent >= 0)
            reserve(forest, &forest->up[t]);
    write_steps(forest);
    return weft_builder_finish(&forest->builder, program, error);
}

static weft_status forest_emit(const struct weft_key *key, const struct weft_layout *layout,
                               int rank, unsigned aliasing, struct weft_program **program,
                               struct weft_error *error)
{
    if (key->num_ranks == 1) {
        struct weft_builder *builder = NULL;
        WEFT_TRY(weft_emit_begin(key, rank, 1, "forest", aliasing, &builder, error));
        weft_emit_alone(builder, key, 1);
        return weft_builder_finish(&builder, program, error);
    }
    struct weft_forest_choice choice = weft_forests_choose(key, layout);
    if (!choice.plan)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a forest");
    struct forest forest = {.plan = choice.plan, .rank = rank, .chunks = choice.chunks};
    weft_status status = write_program(&forest, key, aliasing, program, error);
    release(&forest);
    return status;
}

const struct weft_algorithm weft_algorithm_forest = {
    .name = "forest",
    .description = "spanning trees packed into the links of the fabric until all are full",
    .counts = WEFT_COUNTS_AGREED,
    .supports = forest_supports,
    .estimate = forest_estimate,
    .emit = forest_emit,
};
