/*
 * SPDX-License-Identifier: Apache-2.0
 * See costs.h. The assumed numbers are those of a common x86 server over shared memory; they decide
 * nothing but the choice, and reports call them assumed.
 */
#include "collectives/planner/costs.h"

#include <stdio.h>

enum { bytes_per_kib = 1024 };

static const int64_t price_limit_ps = INT64_C(3600) * 1000000000000;

struct weft_costs weft_costs_assumed(int num_ranks, int cores)
{
    bool has_slots = num_ranks <= 64; // as the flat path does
    struct weft_costs costs = {
        .num_levels = 1,
        .combine_ps_per_kib = 120000,
        .copy_ps_per_kib = 100000,
        .step_ps = 150000,
        .flat_ps = has_slots ? 800000 + INT64_C(100000) * num_ranks : -1,
        .flat_bytes = has_slots ? 2048 : 0,
        .sharing = cores < 1 || num_ranks <= cores ? 1 : (num_ranks + cores - 1) / cores,
    };
    // 1.5 us from post to completion; 5 GB/s: in and out of a shared buffer.
    weft_level_use_route(&costs.levels[0], 1500000, INT64_C(5242880000));
    return costs;
}

void weft_level_use_route(struct weft_level_costs *level, int64_t latency_ps,
                          int64_t bandwidth_bytes_per_s)
{
    struct weft_line *line = &level->message.lines[0];
    level->message.num_lines = 1;
    if (latency_ps >= 0)
        line->fixed_ps = latency_ps;
    if (bandwidth_bytes_per_s > 0) {
        line->ps_per_mib = weft_curve_slope_of(bandwidth_bytes_per_s);
        if (line->ps_per_mib > price_limit_ps)
            line->ps_per_mib = price_limit_ps;
        level->crowd_ps_per_mib = line->ps_per_mib;
    }
}

void weft_level_share(struct weft_level_costs *level, int factor)
{
    __int128 shared = (__int128)level->crowd_ps_per_mib * factor;
    level->crowd_ps_per_mib = shared > price_limit_ps ? price_limit_ps : (int64_t)shared;
}

struct priced {
    const char *name;
    int64_t value;
    int64_t low;
};

static weft_status check_prices(const struct priced *prices, size_t count, const char *where,
                                struct weft_error *error)
{
    for (size_t i = 0; i < count; i++)
        if (prices[i].value < prices[i].low || prices[i].value > price_limit_ps)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "cost %s%s is %lld", prices[i].name,
                             where, (long long)prices[i].value);
    return WEFT_OK;
}

static weft_status check_level(const struct weft_level_costs *level, int number,
                               struct weft_error *error)
{
    char where[32];
    snprintf(where, sizeof where, " of level %d", number);
    const struct priced crowd[] = {{"crowd_ps_per_mib", level->crowd_ps_per_mib, 0},
                                   {"busy_ps", level->busy_ps, 0}};
    WEFT_TRY(check_prices(crowd, 2, where, error));
    if (level->message.num_lines < 1 || level->message.num_lines > WEFT_CURVE_LINES)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a curve of %d lines at level %d",
                         level->message.num_lines, number);
    for (int i = 0; i < level->message.num_lines; i++) {
        const struct priced line[] = {{"fixed_ps", level->message.lines[i].fixed_ps, 0},
                                      {"ps_per_mib", level->message.lines[i].ps_per_mib, 0}};
        WEFT_TRY(check_prices(line, 2, where, error));
    }
    return WEFT_OK;
}

weft_status weft_costs_check(const struct weft_costs *costs, struct weft_error *error)
{
    const struct priced prices[] = {
        {"combine_ps_per_kib", costs->combine_ps_per_kib, 0},
        {"copy_ps_per_kib", costs->copy_ps_per_kib, 0},
        {"step_ps", costs->step_ps, 0},
        {"flat_ps", costs->flat_ps, -1},
        {"flat_bytes", costs->flat_bytes, 0},
        {"launch_ps", costs->launch_ps, 0},
        {"sharing", costs->sharing, 1},
    };
    if (costs->num_levels < 1 || costs->num_levels > WEFT_LEVELS_LIMIT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "costs of %d levels", costs->num_levels);
    WEFT_TRY(check_prices(prices, sizeof prices / sizeof *prices, "", error));
    for (int l = 0; l < costs->num_levels; l++)
        WEFT_TRY(check_level(&costs->levels[l], l, error));
    return WEFT_OK;
}

int64_t weft_key_bytes(const struct weft_key *key)
{
    return key->size_class < 0 ? 0 : INT64_C(1) << (key->size_class > 62 ? 62 : key->size_class);
}

static __int128 price_bytes(__int128 bytes, int64_t ps_per_kib)
{
    return (bytes * ps_per_kib + bytes_per_kib - 1) / bytes_per_kib;
}

struct weft_round_price weft_price_round(const struct weft_level_costs *level, __int128 bytes,
                                         int64_t messages, bool is_crowd)
{
    const struct weft_curve *curve = &level->message;
    __int128 alone = (bytes + messages - 1) / messages;
    const struct weft_line *line = weft_curve_best(curve, alone);
    int64_t slope = is_crowd ? level->crowd_ps_per_mib : 0, fastest = line->ps_per_mib;
    for (int i = 0; i < curve->num_lines; i++)
        fastest = curve->lines[i].ps_per_mib < fastest ? curve->lines[i].ps_per_mib : fastest;
    slope = fastest > slope ? fastest : slope;
    if (messages > 1 && level->all_ps_per_mib > 0)
        slope = level->all_ps_per_mib;
    __int128 together = weft_curve_slope(bytes, slope);
    __int128 single = weft_curve_slope(alone, line->ps_per_mib);
    return (struct weft_round_price){line->fixed_ps, together > single ? together : single};
}

// Of a round: until the last byte is there, or the processors have done all messages.
static __int128 price_of_round(const struct weft_level_costs *level, __int128 bytes,
                               const struct weft_load *load, int num_ranks)
{
    int64_t messages = load->messages > 0 ? load->messages : 1;
    int64_t senders = load->active ? (load->active + 1) / 2 : num_ranks;
    struct weft_round_price round = weft_price_round(level, bytes, messages, load->is_crowd);
    __int128 moving = round.fixed + round.links;
    __int128 busy = weft_level_busy(level, (__int128)messages * senders, num_ranks);
    return busy > moving ? busy : moving;
}

static __int128 price(const struct weft_key *key, const struct weft_layout *layout,
                      const struct weft_load *load, const struct weft_level_costs *level)
{
    const struct weft_costs *costs = &layout->costs;
    int64_t active = load->active ? load->active : key->num_ranks;
    // Fewer busy ranks share less; never less than alone.
    int64_t sharing = ((int64_t)costs->sharing * active + key->num_ranks - 1) / key->num_ranks;
    __int128 local = price_bytes(load->combined, costs->combine_ps_per_kib) +
                     price_bytes(load->copied, costs->copy_ps_per_kib);
    __int128 moving = 0;
    if (load->rounds > 0) {
        __int128 bytes = (load->moved + load->rounds - 1) / load->rounds;
        moving = load->rounds * price_of_round(level, bytes, load, key->num_ranks);
    }
    __int128 steps = (__int128)load->steps * costs->step_ps;
    sharing = sharing > 1 ? sharing : 1;
    if (weft_level_overlaps(costs, level))
        return ((moving > local ? moving : local) + steps) * sharing;
    return moving * weft_level_sharing(level, sharing) + (local + steps) * sharing;
}

__int128 weft_price(const struct weft_key *key, const struct weft_layout *layout,
                    const struct weft_load *load)
{
    struct weft_level_costs level = layout->costs.levels[load->level];
    if (load->active == 1)
        level.all_ps_per_mib = level.fan_ps_per_mib;
    return price(key, layout, load, &level);
}

__int128 weft_price_apart(const struct weft_key *key, const struct weft_layout *layout,
                          const struct weft_load *load, int64_t distance, bool is_across)
{
    struct weft_level_costs level = layout->costs.levels[load->level];
    struct weft_load crowd = *load;
    int k = weft_log2_ceil(distance);
    if (k >= WEFT_APART_LIMIT || level.apart[is_across][k].latency_ps == 0)
        return weft_price(key, layout, load);
    for (int i = 0; i < level.message.num_lines; i++)
        level.message.lines[i].fixed_ps -= level.latency_ps - level.apart[is_across][k].latency_ps;
    level.crowd_ps_per_mib = level.apart[is_across][k].ps_per_mib;
    crowd.is_crowd = true;
    return price(key, layout, &crowd, &level);
}

__int128 weft_price_spread(const struct weft_key *key, const struct weft_layout *layout,
                           const struct weft_load *load)
{
    int n = layout->num_ranks, inside = 1; // ranks of the groups below
    __int128 most = 0;
    for (int l = 0; l <= load->level && n > 1; l++) {
        struct weft_load part = *load;
        part.level = l;
        part.moved = load->moved * (n - inside) / (n - 1);
        part.messages = load->messages * (n - inside) / (n - 1);
        __int128 price = weft_price(key, layout, &part);
        most = price > most ? price : most;
        inside = layout->levels[l].largest;
    }
    return n > 1 ? most : weft_price(key, layout, load);
}

__int128 weft_price_at_once(const struct weft_key *key, const struct weft_layout *layout,
                            const struct weft_load *load)
{
    struct weft_load busy = *load, flowing = *load;
    if (load->level == 0)
        return weft_price_spread(key, layout, load);
    busy.moved = 0;
    flowing.steps = 0;
    flowing.copied = 0;
    __int128 steps = weft_price(key, layout, &busy);
    __int128 bytes = weft_price_spread(key, layout, &flowing);
    return steps > bytes ? steps : bytes;
}

int64_t weft_price_clamp(__int128 picoseconds)
{
    const int64_t most = INT64_MAX / 4; // sums of a few stay in range
    return picoseconds < 1 ? 1 : picoseconds > most ? most : (int64_t)picoseconds;
}

int weft_log2_ceil(int64_t n)
{
    int k = 0;
    while (k < 62 && (INT64_C(1) << k) < n)
        k++;
    return k;
}
