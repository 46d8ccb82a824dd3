/*
 * SPDX-License-Identifier: Apache-2.0
 * What moving bytes costs: the cheapest of a few protocols, each a line fixed + bytes * slope. One
 * line cannot describe a link from 8 B to 8 GiB; the envelope of two or three can. Integers in 128
 * bits: the same on every machine.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_CURVE_H
#define WEFT_COLLECTIVES_PLANNER_CURVE_H

#include <stdint.h>

enum { WEFT_CURVE_LINES = 4 };

struct weft_line {
    int64_t fixed_ps;
    int64_t ps_per_mib;
};

struct weft_curve {
    int32_t num_lines; // >= 1
    struct weft_line lines[WEFT_CURVE_LINES];
};

/* Picoseconds for `bytes` at `ps_per_mib`, rounded up. */
static inline __int128 weft_curve_slope(__int128 bytes, int64_t ps_per_mib)
{
    return (bytes * ps_per_mib + ((1 << 20) - 1)) >> 20;
}

/* The line that is cheapest for `bytes` alone. */
static inline const struct weft_line *weft_curve_best(const struct weft_curve *curve,
                                                      __int128 bytes)
{
    const struct weft_line *best = &curve->lines[0];
    __int128 least = best->fixed_ps + weft_curve_slope(bytes, best->ps_per_mib);
    for (int i = 1; i < curve->num_lines; i++) {
        const struct weft_line *line = &curve->lines[i];
        __int128 time = line->fixed_ps + weft_curve_slope(bytes, line->ps_per_mib);
        if (time < least) {
            least = time;
            best = line;
        }
    }
    return best;
}

/* Picoseconds by the cheapest line, none of which is faster than `least_ps_per_mib`. */
static inline __int128 weft_curve_time(const struct weft_curve *curve, __int128 bytes,
                                       int64_t least_ps_per_mib)
{
    __int128 best = -1;
    for (int i = 0; i < curve->num_lines; i++) {
        const struct weft_line *line = &curve->lines[i];
        int64_t slope = line->ps_per_mib > least_ps_per_mib ? line->ps_per_mib : least_ps_per_mib;
        __int128 time = line->fixed_ps + weft_curve_slope(bytes, slope);
        if (best < 0 || time < best)
            best = time;
    }
    return best;
}

/* Bytes per second at `ps_per_mib`; INT64_MAX at 0. */
static inline int64_t weft_curve_bandwidth(int64_t ps_per_mib)
{
    return ps_per_mib > 0 ? (int64_t)(((__int128)1000000000000 << 20) / ps_per_mib) : INT64_MAX;
}

/* ps per MiB of `bytes_per_s` > 0, at least 1. */
static inline int64_t weft_curve_slope_of(int64_t bytes_per_s)
{
    __int128 ps = ((__int128)1000000000000 << 20) / bytes_per_s;
    return ps < 1 ? 1 : ps > INT64_MAX / 4 ? INT64_MAX / 4 : (int64_t)ps;
}

#endif
