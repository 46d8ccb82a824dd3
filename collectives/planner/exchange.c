/*
 * SPDX-License-Identifier: Apache-2.0
 * See exchange.h. A member's part of a segment is a range of indices. Where the vector is one
 * block, their cells are consecutive too, in every buffer, and the range is one message. Blocks of
 * ranks lie anywhere: each is a message of its own, with the same stamp.
 */
#include "collectives/planner/exchange.h"

#include <stdlib.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"

enum { NONE = UINT32_MAX };

// What this rank and its peers have of one index of the tier below.
struct segment {
    uint32_t first;              // index of the whole vector at which it begins
    int *peers;                  // (members) rank of each
    struct weft_label *parts;    // (members) what each contributes; NULL: nothing is combined
    struct weft_label *partners; // halving: what the partner of each round has by then
};

struct side {
    int members, me;
    uint32_t num_segments;
    struct segment *segments;
    bool is_raw; // nothing has been combined in the tiers below
};

struct weft_exchanger {
    struct weft_exchange_request request;
    struct weft_builder *builder;
    struct side sides[WEFT_LEVELS_LIMIT];
    uint32_t *own; // indices of the whole vector that this rank owns in the end
    uint32_t num_own;
    struct weft_hierarchy_sums sums; // where something is combined
    struct weft_window output;
    uint32_t *scratch;         // (all cells) where sums outside the output lie; NONE: nowhere yet
    struct weft_label *labels; // (WEFT_REFS_LIMIT, all cells of a chunk)
    // Of the phase that is being written:
    const struct side *side;
    const struct weft_tier *tier;
    uint32_t unit; // cells of one share
    uint32_t chunk;
    uint16_t channel;
    uint32_t stamp;
};

/* ---- places ---- */

static uint32_t cell_of(const struct weft_exchanger *exchanger, uint32_t index)
{
    const struct weft_exchange_request *request = &exchanger->request;
    if (!request->blocks)
        return exchanger->chunk * request->hierarchy->cells + index;
    uint32_t block = request->blocks[index];
    return block == NONE ? NONE : block * request->chunks + exchanger->chunk;
}

static bool is_output(const struct weft_exchanger *exchanger, uint32_t cell)
{
    return cell - exchanger->output.first < exchanger->output.cells;
}

// Where sums grow: in the output where it has the cell.
static struct weft_operand sum_at(struct weft_exchanger *exchanger, uint32_t cell)
{
    if (is_output(exchanger, cell))
        return weft_cells(WEFT_OUTPUT, cell);
    if (exchanger->scratch[cell] == NONE)
        exchanger->scratch[cell] = weft_builder_scratch(exchanger->builder, WEFT_INPUT, cell, 1);
    return weft_cells(WEFT_SCRATCH, exchanger->scratch[cell]);
}

// Where a value is that a phase begins with.
static struct weft_operand value_at(struct weft_exchanger *exchanger, uint32_t cell, bool is_raw)
{
    return is_raw ? weft_cells(WEFT_INPUT, cell) : sum_at(exchanger, cell);
}

struct range {
    uint32_t first, count; // indices
};

static struct range share_of(const struct weft_exchanger *exchanger, const struct segment *segment,
                             int member, int count)
{
    int members = exchanger->side->members;
    uint32_t from = weft_share_first(exchanger->tier->shares, members, member);
    uint32_t to = weft_share_first(exchanger->tier->shares, members, member + count);
    return (struct range){segment->first + from * exchanger->unit, (to - from) * exchanger->unit};
}

/* ---- steps on ranges ---- */

enum { VALUE, SUM, MESSAGE };

// An operand of a step on a range.
struct end {
    int kind; // VALUE: where the phase begins; SUM; or MESSAGE
    bool is_raw;
    int peer;
    uint32_t stamp;
    const struct weft_label
        *label; // message in: of all cells, but for their numbers; NULL: results
};

static struct end value(bool is_raw)
{
    return (struct end){.kind = VALUE, .is_raw = is_raw};
}

static struct end sum(void)
{
    return (struct end){.kind = SUM};
}

static struct end message(int peer, uint32_t stamp, const struct weft_label *label)
{
    return (struct end){.kind = MESSAGE, .peer = peer, .stamp = stamp, .label = label};
}

// What an index holds when nothing is left to combine.
static struct weft_label result_at(const struct weft_exchanger *exchanger, uint32_t index,
                                   uint32_t cell)
{
    const struct weft_exchange_request *request = &exchanger->request;
    const struct weft_hierarchy *hierarchy = request->hierarchy;
    if (weft_collective_reduces(request->key->collective))
        return weft_label_at(exchanger->sums.of[hierarchy->num_tiers - 1][index], cell);
    bool is_scatter =
        request->key->collective == WEFT_SCATTER || request->key->collective == WEFT_SCATTER_V;
    bool is_own = request->blocks && !is_scatter;
    int from = is_own ? (int)request->blocks[index] : request->key->root;
    return weft_label_leaf(from, cell);
}

static struct weft_operand operand(struct weft_exchanger *exchanger, const struct end *end,
                                   uint32_t cell, const struct weft_label *labels)
{
    if (end->kind == MESSAGE)
        return (struct weft_operand){WEFT_LANE, (uint32_t)end->peer, end->stamp, labels};
    return end->kind == SUM ? sum_at(exchanger, cell) : value_at(exchanger, cell, end->is_raw);
}

// Rounds have channels of their own: one that waits for the one before it must not hold up those of
// the next chunk.
static uint16_t channel_of(const struct weft_exchanger *exchanger, const struct end *ends,
                           int num_ends)
{
    uint32_t round = 0;
    for (int i = 0; i < num_ends; i++)
        if (ends[i].kind == MESSAGE)
            round = ends[i].stamp - exchanger->stamp;
    return (uint16_t)(exchanger->channel + round % exchanger->request.channels);
}

static void write_run(struct weft_exchanger *exchanger, uint32_t at, uint32_t length,
                      const struct end *ends, int num_sources, int num_ends)
{
    struct weft_operand operands[2 * WEFT_REFS_LIMIT];
    uint32_t cell = cell_of(exchanger, at);
    for (int i = 0; i < num_ends; i++) {
        struct weft_label *labels = NULL;
        if (ends[i].kind == MESSAGE && i < num_sources) {
            labels = exchanger->labels + (size_t)i * exchanger->request.hierarchy->cells;
            for (uint32_t c = 0; c < length; c++)
                labels[c] = ends[i].label ? weft_label_at(*ends[i].label, cell + c)
                                          : result_at(exchanger, at + c, cell + c);
        }
        operands[i] = operand(exchanger, &ends[i], cell, labels);
    }
    weft_builder_step(exchanger->builder, channel_of(exchanger, ends, num_ends), length, operands,
                      num_sources, operands + num_sources, num_ends - num_sources);
}

// Sources, then destinations.
static void write_range(struct weft_exchanger *exchanger, struct range range,
                        const struct end *ends, int num_sources, int num_ends)
{
    if (!exchanger->request.blocks)
        write_run(exchanger, range.first, range.count, ends, num_sources, num_ends);
    for (uint32_t i = 0; exchanger->request.blocks && i < range.count; i++)
        if (cell_of(exchanger, range.first + i) != NONE)
            write_run(exchanger, range.first + i, 1, ends, num_sources, num_ends);
}

static void move_range(struct weft_exchanger *exchanger, struct range range, struct end from,
                       struct end into)
{
    const struct end ends[] = {from, into};
    write_range(exchanger, range, ends, 1, 2);
}

/* ---- reduce-scatter ---- */

static void send_all(struct weft_exchanger *exchanger, const struct segment *segment)
{
    const struct side *side = exchanger->side;
    for (int i = 1; i < side->members; i++) {
        int to = weft_circle(side->me, -i, side->members);
        uint32_t stamp = exchanger->stamp + weft_emit_fold_round(exchanger->tier->width, i);
        move_range(exchanger, share_of(exchanger, segment, to, 1), value(side->is_raw),
                   message(segment->peers[to], stamp, NULL));
    }
}

// Everybody's values of a share to its owner, who combines them from itself on around the circle.
static void reduce_direct(struct weft_exchanger *exchanger, const struct segment *segment,
                          uint32_t round)
{
    const struct side *side = exchanger->side;
    struct end ends[WEFT_REFS_LIMIT + 1] = {round ? sum() : value(side->is_raw)};
    int count = 1, width = exchanger->tier->width;
    if (round == 0)
        send_all(exchanger, segment);
    for (int i = 1 + (int)round * (width - 1); i < side->members && count < width; i++) {
        int from = weft_circle(side->me, i, side->members);
        ends[count++] =
            message(segment->peers[from], exchanger->stamp + round, &segment->parts[from]);
    }
    ends[count] = sum();
    write_range(exchanger, share_of(exchanger, segment, side->me, 1), ends, count, count + 1);
}

static void reduce_halving(struct weft_exchanger *exchanger, const struct segment *segment,
                           uint32_t round)
{
    const struct side *side = exchanger->side;
    int half = side->members >> (round + 1), partner = side->me ^ half;
    int kept = side->me / half * half;
    uint32_t stamp = exchanger->stamp + round;
    struct end from = round ? sum() : value(side->is_raw);
    const struct end combined[] = {
        from, message(segment->peers[partner], stamp, &segment->partners[round]), sum()};
    move_range(exchanger, share_of(exchanger, segment, kept ^ half, half), from,
               message(segment->peers[partner], stamp, NULL));
    write_range(exchanger, share_of(exchanger, segment, kept, half), combined, 2, 3);
}

/* ---- all-gather ---- */

static void gather_direct(struct weft_exchanger *exchanger, const struct segment *segment)
{
    const struct side *side = exchanger->side;
    struct end ends[WEFT_REFS_LIMIT + 1] = {sum()};
    int count = 1;
    for (int i = 1; i < side->members; i++) {
        int to = weft_circle(side->me, -i, side->members);
        ends[count++] = message(segment->peers[to], exchanger->stamp, NULL);
        if (count > WEFT_REFS_LIMIT || i == side->members - 1) {
            write_range(exchanger, share_of(exchanger, segment, side->me, 1), ends, 1, count);
            count = 1;
        }
    }
    for (int i = 1; i < side->members; i++) {
        int from = weft_circle(side->me, i, side->members);
        move_range(exchanger, share_of(exchanger, segment, from, 1),
                   message(segment->peers[from], exchanger->stamp, NULL), sum());
    }
}

static void gather_doubling(struct weft_exchanger *exchanger, const struct segment *segment,
                            uint32_t round)
{
    const struct side *side = exchanger->side;
    int half = 1 << round, partner = side->me ^ half, own = side->me / half * half;
    uint32_t stamp = exchanger->stamp + round;
    move_range(exchanger, share_of(exchanger, segment, own, half), sum(),
               message(segment->peers[partner], stamp, NULL));
    move_range(exchanger, share_of(exchanger, segment, own ^ half, half),
               message(segment->peers[partner], stamp, NULL), sum());
}

/* ---- to and from a root ---- */

static void scatter(struct weft_exchanger *exchanger, const struct segment *segment, int root)
{
    const struct side *side = exchanger->side;
    bool is_raw = exchanger->request.rank == exchanger->request.key->root;
    for (int i = 1; i < side->members && side->me == root; i++) {
        int to = weft_circle(root, i, side->members);
        move_range(exchanger, share_of(exchanger, segment, to, 1), value(is_raw),
                   message(segment->peers[to], exchanger->stamp, NULL));
    }
    if (side->me != root)
        move_range(exchanger, share_of(exchanger, segment, side->me, 1),
                   message(segment->peers[root], exchanger->stamp, NULL), sum());
}

static void gather(struct weft_exchanger *exchanger, const struct segment *segment, int root)
{
    const struct side *side = exchanger->side;
    for (int i = 1; i < side->members && side->me == root; i++) {
        int from = weft_circle(root, i, side->members);
        move_range(exchanger, share_of(exchanger, segment, from, 1),
                   message(segment->peers[from], exchanger->stamp, NULL), sum());
    }
    if (side->me != root)
        move_range(exchanger, share_of(exchanger, segment, side->me, 1), sum(),
                   message(segment->peers[root], exchanger->stamp, NULL));
}

/* ---- phases ---- */

uint32_t weft_phase_rounds(const struct weft_tier *tier, enum weft_phase_kind kind, int members)
{
    if (members < 2)
        return 0;
    if (kind == WEFT_PHASE_SCATTER || kind == WEFT_PHASE_GATHER)
        return 1;
    switch (tier->exchange) {
    case WEFT_EXCHANGE_HALVING:
        return (uint32_t)weft_log2_ceil(members);
    default:
        return kind == WEFT_PHASE_ALL_GATHER ? 1 : weft_emit_fold_rounds(tier->width, members);
    }
}

static void write_round(struct weft_exchanger *exchanger, enum weft_phase_kind kind,
                        const struct segment *segment, uint32_t round, int root)
{
    bool reduces = kind == WEFT_PHASE_REDUCE_SCATTER;
    if (kind == WEFT_PHASE_SCATTER) {
        scatter(exchanger, segment, root);
        return;
    }
    if (kind == WEFT_PHASE_GATHER) {
        gather(exchanger, segment, root);
        return;
    }
    switch (exchanger->tier->exchange) {
    case WEFT_EXCHANGE_HALVING:
        (reduces ? reduce_halving : gather_doubling)(exchanger, segment, round);
        break;
    default:
        if (reduces)
            reduce_direct(exchanger, segment, round);
        else
            gather_direct(exchanger, segment);
        break;
    }
}

void weft_exchanger_write(struct weft_exchanger *exchanger, const struct weft_phase *phase,
                          uint32_t chunk, uint16_t channel, uint32_t stamp)
{
    const struct weft_hierarchy *hierarchy = exchanger->request.hierarchy;
    const struct weft_tier *tier = &hierarchy->tiers[phase->tier];
    const struct side *side = &exchanger->sides[phase->tier];
    int root = exchanger->request.key->root;
    bool has_root = phase->kind == WEFT_PHASE_SCATTER || phase->kind == WEFT_PHASE_GATHER;
    if (has_root && tier->groups->of_rank[root] != tier->groups->of_rank[exchanger->request.rank])
        return;
    int member = has_root ? weft_hierarchy_member(hierarchy, phase->tier, root) : 0;
    uint32_t rounds = weft_phase_rounds(tier, phase->kind, side->members);
    exchanger->side = side;
    exchanger->tier = tier;
    exchanger->unit = hierarchy->cells / tier->indices;
    exchanger->chunk = chunk;
    exchanger->channel = channel;
    exchanger->stamp = stamp;
    for (uint32_t round = 0; round < rounds; round++)
        for (uint32_t s = 0; s < side->num_segments; s++)
            write_round(exchanger, phase->kind, &side->segments[s], round, member);
}

void weft_exchanger_copy_own(struct weft_exchanger *exchanger)
{
    exchanger->channel = 0;
    for (exchanger->chunk = 0; exchanger->chunk < exchanger->request.chunks; exchanger->chunk++)
        for (uint32_t i = 0; i < exchanger->num_own; i++)
            move_range(exchanger, (struct range){exchanger->own[i], 1}, value(true), sum());
}

/* ---- setting up ---- */

// Before each round, what the partner has combined by then.
static weft_status find_partners(struct segment *segment, int members, int me,
                                 struct weft_error *error)
{
    int rounds = weft_log2_ceil(members);
    segment->partners = malloc(((size_t)rounds + 1) * sizeof *segment->partners);
    struct weft_label *have = malloc((size_t)members * sizeof *have);
    if (!segment->partners || !have) {
        free(have);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    }
    for (int m = 0; m < members; m++)
        have[m] = segment->parts[m];
    for (int round = 0; round < rounds; round++) {
        int half = members >> (round + 1);
        segment->partners[round] = have[me ^ half];
        for (int m = 0; m < members; m++)
            if (!(m & half))
                have[m] = have[m ^ half] = weft_label_combine(have[m], have[m ^ half]);
    }
    free(have);
    return WEFT_OK;
}

static weft_status open_segment(struct weft_exchanger *exchanger, int t, uint32_t index,
                                struct segment *segment, struct weft_error *error)
{
    const struct weft_hierarchy *hierarchy = exchanger->request.hierarchy;
    const struct weft_tier *tier = &hierarchy->tiers[t];
    const struct side *side = &exchanger->sides[t];
    int group = tier->groups->of_rank[exchanger->request.rank];
    int first = weft_hierarchy_first(hierarchy, t, group);
    bool reduces = weft_collective_reduces(exchanger->request.key->collective);
    segment->first = index * (hierarchy->cells / (tier->indices / tier->shares));
    segment->peers = malloc((size_t)side->members * sizeof *segment->peers);
    if (reduces)
        segment->parts = malloc((size_t)side->members * sizeof *segment->parts);
    if (!segment->peers || (reduces && !segment->parts))
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    for (int m = 0; m < side->members; m++) {
        segment->peers[m] = weft_hierarchy_owner(hierarchy, t - 1, first + m, index);
        if (reduces)
            segment->parts[m] =
                weft_hierarchy_contribution(hierarchy, &exchanger->sums, t, first + m, index);
    }
    if (!reduces || side->members < 2)
        return WEFT_OK;
    if (tier->exchange == WEFT_EXCHANGE_HALVING)
        return find_partners(segment, side->members, side->me, error);
    return WEFT_OK;
}

// Segments of one tier, and the indices that this rank owns after it.
static weft_status open_side(struct weft_exchanger *exchanger, int t, struct weft_error *error)
{
    const struct weft_hierarchy *hierarchy = exchanger->request.hierarchy;
    const struct weft_tier *tier = &hierarchy->tiers[t];
    struct side *side = &exchanger->sides[t];
    int rank = exchanger->request.rank;
    side->members = weft_hierarchy_members(hierarchy, t, tier->groups->of_rank[rank]);
    side->me = weft_hierarchy_member(hierarchy, t, rank);
    side->is_raw =
        t == 0 || (exchanger->sides[t - 1].is_raw && exchanger->sides[t - 1].members == 1);
    side->segments = calloc(exchanger->num_own, sizeof *side->segments);
    uint32_t from = weft_share_first(tier->shares, side->members, side->me);
    uint32_t count = weft_share_first(tier->shares, side->members, side->me + 1) - from;
    uint32_t *own = malloc((size_t)exchanger->num_own * count * sizeof *own);
    if (!side->segments || !own) {
        free(own);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    }
    weft_status status = WEFT_OK;
    side->num_segments = exchanger->num_own;
    for (uint32_t s = 0; s < side->num_segments && status == WEFT_OK; s++) {
        status = open_segment(exchanger, t, exchanger->own[s], &side->segments[s], error);
        for (uint32_t i = 0; i < count; i++)
            own[s * count + i] = exchanger->own[s] * tier->shares + from + i;
    }
    free(exchanger->own);
    exchanger->own = own;
    exchanger->num_own *= count;
    return status;
}

static weft_status open_all(struct weft_exchanger *exchanger, struct weft_error *error)
{
    const struct weft_exchange_request *request = &exchanger->request;
    const struct weft_hierarchy *hierarchy = request->hierarchy;
    const struct weft_key *key = request->key;
    uint32_t pieces = request->chunks * (request->blocks ? 1 : hierarchy->cells);
    const struct weft_shape shape = {.collective = key->collective,
                                     .num_ranks = key->num_ranks,
                                     .rank = request->rank,
                                     .root = key->root,
                                     .pieces = pieces};
    size_t all = (size_t)weft_shape_blocks(&shape) * pieces;
    exchanger->output = weft_shape_output(&shape);
    exchanger->own = calloc(1, sizeof *exchanger->own);
    exchanger->num_own = 1;
    exchanger->scratch = malloc(all * sizeof *exchanger->scratch);
    exchanger->labels =
        malloc((size_t)hierarchy->cells * WEFT_REFS_LIMIT * sizeof *exchanger->labels);
    if (!exchanger->own || !exchanger->scratch || !exchanger->labels)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    bool needs_window = !request->blocks && exchanger->output.cells == 0;
    for (uint32_t i = 0; i < all; i++)
        exchanger->scratch[i] = needs_window ? i : NONE;
    if (needs_window)
        weft_builder_scratch(exchanger->builder, WEFT_INPUT, 0, (uint32_t)all);
    if (weft_collective_reduces(key->collective))
        WEFT_TRY(weft_hierarchy_sums_create(hierarchy, &exchanger->sums, error));
    for (int t = 0; t < hierarchy->num_tiers; t++)
        WEFT_TRY(open_side(exchanger, t, error));
    return WEFT_OK;
}

weft_status weft_exchanger_create(const struct weft_exchange_request *request,
                                  struct weft_builder *builder, struct weft_exchanger **exchanger,
                                  struct weft_error *error)
{
    struct weft_exchanger *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    made->request = *request;
    made->builder = builder;
    weft_status status = open_all(made, error);
    if (status != WEFT_OK) {
        weft_exchanger_destroy(&made);
        return status;
    }
    *exchanger = made;
    return WEFT_OK;
}

void weft_exchanger_destroy(struct weft_exchanger **exchanger)
{
    struct weft_exchanger *old = *exchanger;
    if (!old)
        return;
    for (int t = 0; t < WEFT_LEVELS_LIMIT; t++) {
        struct side *side = &old->sides[t];
        for (uint32_t s = 0; side->segments && s < side->num_segments; s++) {
            free(side->segments[s].peers);
            free(side->segments[s].parts);
            free(side->segments[s].partners);
        }
        free(side->segments);
    }
    weft_hierarchy_sums_destroy(&old->sums);
    free(old->own);
    free(old->scratch);
    free(old->labels);
    free(old);
    *exchanger = NULL;
}
