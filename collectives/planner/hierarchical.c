/*
 * SPDX-License-Identifier: Apache-2.0
 * hierarchical: reduce-scatter inside the innermost groups, then across groups among the ranks that
 * own the same share, and so on up; all-gathers on the way back. What crosses a slow level is only
 * a share of the vector. Which levels are told apart, how members of a group exchange and into how
 * many chunks the vector is cut follows from the prices; chunks follow one another through the
 * phases, so that all levels work at the same time.
 *
 * Stamps: phase p of chunk c begins at (c + p) * rounds of the longest phase.
 */
#include <stdlib.h>

#include "collectives/planner/costs.h"
#include "collectives/planner/emit.h"
#include "collectives/planner/exchange.h"

enum {
    PHASES_LIMIT = 2 * WEFT_LEVELS_LIMIT,
    CHUNKS_LIMIT = 32,
    CELLS_LIMIT = 1 << 16, // of all chunks
    STEPS_LIMIT = 20000,
    MANY_MEMBERS = 32,
};

struct plan {
    struct weft_hierarchy hierarchy;
    uint32_t chunks;
    int num_phases;
    struct weft_phase phases[PHASES_LIMIT];
    __int128 price; // -1: none
};

static bool is_to_root(const struct weft_key *key)
{
    return key->collective == WEFT_GATHER || key->collective == WEFT_GATHER_V;
}

static bool is_from_root(const struct weft_key *key)
{
    return key->collective == WEFT_SCATTER || key->collective == WEFT_SCATTER_V;
}

static bool has_blocks(const struct weft_key *key)
{
    switch (key->collective) {
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
        return true;
    default:
        return is_to_root(key) || is_from_root(key);
    }
}

/* ---- price ---- */

// From the bottom up, and back.
static void add_phases(struct plan *plan, enum weft_phase_kind kind)
{
    bool goes_up = kind == WEFT_PHASE_REDUCE_SCATTER || kind == WEFT_PHASE_SCATTER;
    for (int i = 0; i < plan->hierarchy.num_tiers; i++) {
        int tier = goes_up ? i : plan->hierarchy.num_tiers - 1 - i;
        plan->phases[plan->num_phases++] = (struct weft_phase){kind, tier};
    }
}

static void find_phases(struct plan *plan, const struct weft_key *key)
{
    bool reduces = weft_collective_reduces(key->collective);
    plan->num_phases = 0;
    if (reduces)
        add_phases(plan, WEFT_PHASE_REDUCE_SCATTER);
    if (key->collective == WEFT_BROADCAST || is_from_root(key))
        add_phases(plan, WEFT_PHASE_SCATTER);
    if (key->collective == WEFT_REDUCE || is_to_root(key))
        add_phases(plan, WEFT_PHASE_GATHER);
    else if (is_from_root(key))
        return;
    else if (!reduces || key->collective == WEFT_ALL_REDUCE)
        add_phases(plan, WEFT_PHASE_ALL_GATHER);
}

// What the busiest rank of a tier has to do with one chunk.
struct work {
    __int128 bytes; // of all its segments
    int64_t segments;
    int64_t runs; // steps that a share takes
};

static struct work work_at(const struct plan *plan, const struct weft_key *key, int tier)
{
    const struct weft_hierarchy *hierarchy = &plan->hierarchy;
    struct work work = {weft_key_bytes(key) / plan->chunks, 1, 1};
    for (int t = 0; t < tier; t++) {
        const struct weft_tier *below = &hierarchy->tiers[t];
        int64_t most = (below->shares + below->smallest - 1) / below->smallest;
        work.segments *= most;
        work.bytes = (work.bytes * most + below->shares - 1) / below->shares;
    }
    if (has_blocks(key))
        work.runs = hierarchy->cells / hierarchy->tiers[tier].indices;
    return work;
}

// The work of a phase on one chunk, and in how many messages at a time.
static struct weft_load load_of(const struct plan *plan, const struct weft_key *key,
                                const struct weft_phase *phase, int64_t *messages)
{
    const struct weft_tier *tier = &plan->hierarchy.tiers[phase->tier];
    struct work work = work_at(plan, key, phase->tier);
    int64_t n = tier->largest, many = work.segments * work.runs;
    struct weft_load load = {.level = tier->level, .is_crowd = true};
    bool reduces = phase->kind == WEFT_PHASE_REDUCE_SCATTER;
    bool is_rooted = phase->kind == WEFT_PHASE_SCATTER || phase->kind == WEFT_PHASE_GATHER;
    bool is_direct = !is_rooted && tier->exchange == WEFT_EXCHANGE_DIRECT;
    load.rounds = weft_phase_rounds(tier, phase->kind, tier->largest);
    load.moved = work.bytes * (n - 1) / n;
    load.combined = reduces ? load.moved : 0;
    load.steps = 2 * (work.runs > 1 ? n - 1 : load.rounds) * many;
    if (is_rooted)
        load.steps = (n - 1) * many;
    if (is_direct)
        load.steps = (n - 1 + (reduces ? load.rounds : 1 + (n - 1) / WEFT_REFS_LIMIT)) * many;
    *messages = many;
    if (is_direct || is_rooted)
        *messages = many * (n - 1) / (load.rounds > 0 ? load.rounds : 1);
    *messages = *messages < 1 ? 1 : *messages;
    return load;
}

// What a phase takes, and for how long it keeps the links and the processor from other phases.
struct times {
    __int128 all, fixed, links, processor;
};

static struct times price_phase(const struct plan *plan, const struct weft_key *key,
                                const struct weft_phase *phase)
{
    const struct weft_layout *layout = plan->hierarchy.layout;
    const struct weft_costs *costs = &layout->costs;
    int64_t messages;
    struct weft_load load = load_of(plan, key, phase, &messages);
    const struct weft_level_costs *level = &costs->levels[load.level];
    struct times times = {0, 0, 0, 0};
    if (load.rounds == 0)
        return times;
    struct weft_round_price round = weft_price_round(
        level, (load.moved + load.rounds - 1) / load.rounds, messages, load.is_crowd);
    times.links = load.rounds * round.links;
    times.fixed = load.rounds * round.fixed;
    __int128 moving = times.fixed + times.links;
    __int128 sent = (__int128)load.rounds * messages * key->num_ranks;
    load.rounds = 0;
    times.processor = weft_price(key, layout, &load);
    if (weft_level_overlaps(costs, level))
        times.all = moving > times.processor ? moving : times.processor;
    else
        times.all = times.processor + moving * weft_level_sharing(level, costs->sharing);
    // A processor that moves the bytes itself can do only one phase at a time.
    if (!costs->overlaps && !level->leaves_host)
        times.processor = times.all;
    times.processor += weft_level_busy(level, sent, key->num_ranks);
    times.all = times.all > times.processor ? times.all : times.processor;
    return times;
}

/* The links of a level are busy with all chunks of all its phases, from when the first chunk gets
 * there until the last one has only the phases of other levels ahead; messages are on their way
 * while those before them move. Never faster than one chunk through all phases while the others
 * follow through the longest of them, nor than the processor. */
static __int128 price_of_phases(const struct plan *plan, const struct weft_key *key, int64_t *steps)
{
    __int128 one = 0, processor = 0, longest = 0, widest = 0;
    __int128 until[WEFT_LEVELS_LIMIT] = {0};  // the level's own part, and what comes before it
    __int128 passed[WEFT_LEVELS_LIMIT] = {0}; // when the chunk leaves the level for the last time
    *steps = 0;
    for (int p = 0; p < plan->num_phases; p++) {
        int tier = plan->phases[p].tier;
        int64_t messages;
        struct times times = price_phase(plan, key, &plan->phases[p]);
        if (passed[tier] == 0)
            until[tier] = one + times.fixed;
        one += times.all;
        processor += times.processor;
        widest = times.links > widest ? times.links : widest;
        until[tier] += plan->chunks * times.links;
        passed[tier] = one;
        *steps += load_of(plan, key, &plan->phases[p], &messages).steps;
    }
    *steps *= plan->chunks;
    for (int t = 0; t < plan->hierarchy.num_tiers; t++)
        if (until[t] + one - passed[t] > longest)
            longest = until[t] + one - passed[t];
    processor *= plan->chunks;
    longest = processor > longest ? processor : longest;
    __int128 chain = one + (plan->chunks - 1) * widest;
    longest = chain > longest ? chain : longest;
    const struct weft_load own = {.copied =
                                      has_blocks(key) ? weft_key_bytes(key) / key->num_ranks : 0};
    bool copies = !weft_collective_reduces(key->collective);
    return longest + (copies ? weft_price(key, plan->hierarchy.layout, &own) : 0);
}

static bool can_exchange(const struct weft_tier *tier, enum weft_exchange exchange)
{
    bool is_power = (tier->largest & (tier->largest - 1)) == 0;
    return exchange != WEFT_EXCHANGE_HALVING || (tier->smallest == tier->largest && is_power);
}

// The best way to exchange at one tier.
static void choose_exchange(struct plan *plan, const struct weft_key *key, int t, bool is_short)
{
    struct weft_tier *tier = &plan->hierarchy.tiers[t];
    struct weft_tier best = *tier;
    __int128 least = -1;
    struct work work = work_at(plan, key, t);
    for (int e = 0; e < WEFT_NUM_EXCHANGES; e++) {
        if (!can_exchange(tier, (enum weft_exchange)e))
            continue;
        // Rounds of many small messages that wait for one another on a lane are slow.
        if (has_blocks(key) && e == WEFT_EXCHANGE_HALVING)
            continue;
        tier->exchange = (enum weft_exchange)e;
        tier->width = WEFT_REFS_LIMIT;
        // Messages wait for one another less often where holding them costs the processor nothing.
        if (!is_short && work.runs == 1 && !plan->hierarchy.layout->costs.overlaps)
            tier->width = weft_emit_fold_width(
                key, (int64_t)(work.bytes / (work.segments * work.runs * tier->largest)));
        __int128 price = 0;
        for (int p = 0; p < plan->num_phases; p++)
            if (plan->phases[p].tier == t)
                price += price_phase(plan, key, &plan->phases[p]).all;
        if (least < 0 || price < least) {
            least = price;
            best = *tier;
        }
    }
    *tier = best;
}

// Among many, halving and doubling takes far fewer messages; it is taken where it costs no more
// than a sixty-fourth.
static void prefer_halving(struct plan *plan, const struct weft_key *key, int64_t *steps)
{
    struct plan halving = *plan;
    int64_t fewer = 0;
    if (has_blocks(key))
        return;
    for (int t = 0; t < halving.hierarchy.num_tiers; t++)
        if (halving.hierarchy.tiers[t].largest > MANY_MEMBERS &&
            can_exchange(&halving.hierarchy.tiers[t], WEFT_EXCHANGE_HALVING))
            halving.hierarchy.tiers[t].exchange = WEFT_EXCHANGE_HALVING;
    halving.price = price_of_phases(&halving, key, &fewer);
    if (fewer <= *steps && halving.price <= plan->price + plan->price / 64) {
        *plan = halving;
        *steps = fewer;
    }
}

// `is_short`: in fewer steps, where others are too many.
static void try_chunks(struct plan *plan, const struct weft_key *key, bool is_short,
                       struct plan *best)
{
    uint64_t cells = plan->hierarchy.cells;
    for (plan->chunks = 1; plan->chunks <= CHUNKS_LIMIT; plan->chunks *= 2) {
        int64_t steps = 0;
        if (plan->chunks > 1 && cells * plan->chunks > CELLS_LIMIT)
            break;
        for (int t = 0; t < plan->hierarchy.num_tiers; t++)
            choose_exchange(plan, key, t, is_short);
        plan->price = price_of_phases(plan, key, &steps);
        prefer_halving(plan, key, &steps);
        if (steps <= STEPS_LIMIT &&
            (best->price < 0 || plan->price + plan->price / 64 < best->price))
            *best = *plan;
    }
}

// All sets of levels but the top alone, which is no hierarchy.
static void choose(const struct weft_key *key, const struct weft_layout *layout, struct plan *best)
{
    struct plan plan;
    best->price = -1;
    for (unsigned levels = 1; levels < 1u << weft_layout_top(layout); levels++) {
        if (!weft_hierarchy_init(&plan.hierarchy, layout, levels, !has_blocks(key)))
            continue;
        find_phases(&plan, key);
        try_chunks(&plan, key, false, best);
        if (best->price < 0)
            try_chunks(&plan, key, true, best);
    }
}

static const char *hierarchical_supports(const struct weft_key *key,
                                         const struct weft_layout *layout)
{
    struct plan plan;
    switch (key->collective) {
    case WEFT_ALL_REDUCE:
    case WEFT_REDUCE:
    case WEFT_REDUCE_SCATTER:
    case WEFT_REDUCE_SCATTER_V:
    case WEFT_BROADCAST:
    case WEFT_ALL_GATHER:
    case WEFT_ALL_GATHER_V:
    case WEFT_GATHER:
    case WEFT_GATHER_V:
    case WEFT_SCATTER:
    case WEFT_SCATTER_V:
        break;
    default:
        return "only reductions, gathers, scatters and broadcast";
    }
    if (weft_collective_reduces(key->collective) && key->order == WEFT_ORDER_REPRODUCIBLE)
        return "combines group by group, not as the tree";
    if (!layout)
        return NULL;
    if (layout->costs.num_levels < 2)
        return "the ranks lie in one group";
    choose(key, layout, &plan);
    return plan.price < 0 ? "groups differ too much in size, or programs would be too long" : NULL;
}

static int64_t hierarchical_estimate(const struct weft_key *key, const struct weft_layout *layout)
{
    struct plan plan;
    choose(key, layout, &plan);
    return weft_price_clamp(plan.price);
}

/* ---- program ---- */

static uint32_t most_rounds(const struct plan *plan)
{
    uint32_t rounds = 1;
    for (int p = 0; p < plan->num_phases; p++) {
        const struct weft_tier *tier = &plan->hierarchy.tiers[plan->phases[p].tier];
        uint32_t needed = weft_phase_rounds(tier, plan->phases[p].kind, tier->largest);
        rounds = needed > rounds ? needed : rounds;
    }
    return rounds;
}

// Of one phase. A single chunk has nothing to overtake.
static uint32_t channels_of(const struct plan *plan)
{
    uint32_t rounds = plan->chunks > 1 ? most_rounds(plan) : 1;
    uint32_t most = WEFT_CHANNELS_LIMIT / (uint32_t)plan->num_phases;
    return rounds < most ? rounds : most;
}

static void write_phases(const struct plan *plan, struct weft_exchanger *exchanger)
{
    uint32_t rounds = most_rounds(plan), channels = channels_of(plan);
    uint32_t phases = (uint32_t)plan->num_phases;
    for (uint32_t slot = 0; slot < plan->chunks + phases - 1; slot++)
        for (uint32_t p = 0; p < phases; p++)
            if (slot - p < plan->chunks)
                weft_exchanger_write(exchanger, &plan->phases[p], slot - p,
                                     (uint16_t)(plan->chunks > 1 ? p * channels : 0),
                                     slot * rounds);
}

static weft_status write_program(const struct plan *plan,
                                 const struct weft_exchange_request *request,
                                 struct weft_builder *builder, struct weft_error *error)
{
    struct weft_exchanger *exchanger = NULL;
    WEFT_TRY(weft_exchanger_create(request, builder, &exchanger, error));
    const struct weft_key *key = request->key;
    bool is_gather = request->blocks && !is_from_root(key);
    if (!weft_collective_reduces(key->collective) && (is_gather || request->rank == key->root))
        weft_exchanger_copy_own(exchanger);
    write_phases(plan, exchanger);
    weft_exchanger_destroy(&exchanger);
    return WEFT_OK;
}

// Where the vector has a block for each rank: which block each index is.
static uint32_t *find_blocks(const struct weft_hierarchy *hierarchy)
{
    uint32_t *blocks = malloc((size_t)hierarchy->cells * sizeof *blocks);
    for (uint32_t i = 0; blocks && i < hierarchy->cells; i++)
        blocks[i] = UINT32_MAX;
    for (int r = 0; blocks && r < hierarchy->layout->num_ranks; r++)
        blocks[weft_hierarchy_home(hierarchy, r)] = (uint32_t)r;
    return blocks;
}

static weft_status hierarchical_emit(const struct weft_key *key, const struct weft_layout *layout,
                                     int rank, unsigned aliasing, struct weft_program **program,
                                     struct weft_error *error)
{
    struct plan plan;
    struct weft_builder *builder = NULL;
    choose(key, layout, &plan);
    uint32_t *blocks = has_blocks(key) ? find_blocks(&plan.hierarchy) : NULL;
    if (has_blocks(key) && !blocks)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a program");
    const struct weft_exchange_request request = {.key = key,
                                                  .hierarchy = &plan.hierarchy,
                                                  .rank = rank,
                                                  .chunks = plan.chunks,
                                                  .channels = channels_of(&plan),
                                                  .blocks = blocks};
    uint32_t pieces = plan.chunks * (blocks ? 1 : plan.hierarchy.cells);
    weft_status status =
        weft_emit_begin(key, rank, pieces, "hierarchical", aliasing, &builder, error);
    if (status == WEFT_OK)
        status = write_program(&plan, &request, builder, error);
    free(blocks);
    if (status != WEFT_OK) {
        weft_builder_destroy(&builder);
        return status;
    }
    return weft_builder_finish(&builder, program, error);
}

const struct weft_algorithm weft_algorithm_hierarchical = {
    .name = "hierarchical",
    .description = "inside groups, then across among equal shares, and back",
    .counts = WEFT_COUNTS_AGREED,
    .supports = hierarchical_supports,
    .estimate = hierarchical_estimate,
    .emit = hierarchical_emit,
};
