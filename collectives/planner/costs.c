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
        .flat_bytes = has_slots ? 4096 : 0,
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
    const struct priced crowd[] = {{"crowd_ps_per_mib", level->crowd_ps_per_mib, 0}};
    WEFT_TRY(check_prices(crowd, 1, where, error));
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

__int128 weft_price(const struct weft_key *key, const struct weft_layout *layout,
                    const struct weft_load *load)
{
    const struct weft_costs *costs = &layout->costs;
    const struct weft_level_costs *level = &costs->levels[load->level];
    int64_t active = load->active ? load->active : key->num_ranks;
    // Fewer busy ranks share less; never less than alone.
    int64_t sharing = ((int64_t)costs->sharing * active + key->num_ranks - 1) / key->num_ranks;
    __int128 local = price_bytes(load->combined, costs->combine_ps_per_kib) +
                     price_bytes(load->copied, costs->copy_ps_per_kib);
    __int128 moving = 0;
    if (load->rounds > 0)
        moving = load->rounds * weft_curve_time(&level->message,
                                                (load->moved + load->rounds - 1) / load->rounds,
                                                load->is_crowd ? level->crowd_ps_per_mib : 0);
    __int128 both = !costs->overlaps ? moving + local : moving > local ? moving : local;
    return (both + (__int128)load->steps * costs->step_ps) * (sharing > 1 ? sharing : 1);
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
        __int128 price = weft_price(key, layout, &part);
        most = price > most ? price : most;
        inside = layout->levels[l].largest;
    }
    return n > 1 ? most : weft_price(key, layout, load);
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
