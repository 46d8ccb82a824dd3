/*
 * SPDX-License-Identifier: Apache-2.0
 * See costs.h. The assumed numbers are those of a common x86 server over shared memory; they decide
 * nothing but the choice, and reports call them assumed.
 */
#include "collectives/planner/costs.h"

enum { bytes_per_kib = 1024 };

static const int64_t price_limit_ps = INT64_C(3600) * 1000000000000;

struct weft_costs weft_costs_assumed(int num_ranks, int cores)
{
    bool has_slots = num_ranks <= 64; // as the flat path does
    return (struct weft_costs){
        .message_ps = 1500000,         // 1.5 us from post to completion
        .transfer_ps_per_kib = 200000, // 5 GB/s: in and out of a shared buffer
        .combine_ps_per_kib = 120000,
        .copy_ps_per_kib = 100000,
        .step_ps = 150000,
        .flat_ps = has_slots ? 800000 + INT64_C(100000) * num_ranks : -1,
        .flat_bytes = has_slots ? 4096 : 0,
        .sharing = cores < 1 || num_ranks <= cores ? 1 : (num_ranks + cores - 1) / cores,
        .crossing = 1,
    };
}

void weft_costs_use_route(struct weft_costs *costs, int64_t latency_ps,
                          int64_t bandwidth_bytes_per_s)
{
    if (latency_ps >= 0)
        costs->message_ps = latency_ps;
    if (bandwidth_bytes_per_s > 0) {
        __int128 ps = (__int128)bytes_per_kib * 1000000000000 / bandwidth_bytes_per_s;
        costs->transfer_ps_per_kib = ps < 1                ? 1
                                     : ps > price_limit_ps ? price_limit_ps
                                                           : (int64_t)ps;
    }
}

weft_status weft_costs_check(const struct weft_costs *costs, struct weft_error *error)
{
    const struct {
        const char *name;
        int64_t value;
        int64_t low;
    } rows[] = {
        {"message_ps", costs->message_ps, 0},
        {"transfer_ps_per_kib", costs->transfer_ps_per_kib, 0},
        {"combine_ps_per_kib", costs->combine_ps_per_kib, 0},
        {"copy_ps_per_kib", costs->copy_ps_per_kib, 0},
        {"step_ps", costs->step_ps, 0},
        {"flat_ps", costs->flat_ps, -1},
        {"flat_bytes", costs->flat_bytes, 0},
        {"sharing", costs->sharing, 1},
        {"crossing", costs->crossing, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].value < rows[i].low || rows[i].value > price_limit_ps)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "cost %s is %lld", rows[i].name,
                             (long long)rows[i].value);
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

__int128 weft_price(const struct weft_key *key, const struct weft_costs *costs,
                    const struct weft_load *load)
{
    int64_t active = load->active ? load->active : key->num_ranks;
    // Fewer busy ranks share less; never less than alone.
    int64_t sharing = ((int64_t)costs->sharing * active + key->num_ranks - 1) / key->num_ranks;
    __int128 moved = price_bytes(load->moved, costs->transfer_ps_per_kib);
    __int128 local = price_bytes(load->combined, costs->combine_ps_per_kib) +
                     price_bytes(load->copied, costs->copy_ps_per_kib);
    __int128 fixed =
        (__int128)load->messages * costs->message_ps + (__int128)load->steps * costs->step_ps;
    if (load->crosses)
        moved *= costs->crossing;
    return (moved + local + fixed) * (sharing > 1 ? sharing : 1);
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
