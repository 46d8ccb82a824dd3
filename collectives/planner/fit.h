/*
 * SPDX-License-Identifier: Apache-2.0
 * Prices from measured sweeps: a curve of up to four lines, of which the cheapest counts, is fitted
 * to times over sizes. Each line is a protocol or algorithm of its own: what costs more to start
 * costs less per byte. The sum of relative errors is minimised, not of their squares, so that one
 * bad sample moves nothing. Integers throughout: the same points give the same curve everywhere.
 */
#ifndef WEFT_COLLECTIVES_PLANNER_FIT_H
#define WEFT_COLLECTIVES_PLANNER_FIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "collectives/planner/curve.h"

enum { WEFT_SWEEP_POINTS = 48 };

struct weft_sweep_point {
    int64_t bytes;   // 1 to 2^44
    int64_t time_ps; // 1 to 10^14
};
struct weft_sweep {
    int num_points;
    struct weft_sweep_point points[WEFT_SWEEP_POINTS]; // ascending in bytes
};

/* Lines "size in bytes,time in us"; '#' starts a comment line. Errors: INVALID_FORMAT "name:LINE:
 * reason". `text` ends with NUL. */
weft_status weft_sweep_read(const char *text, const char *name, struct weft_sweep *sweep,
                            struct weft_error *error);

/* Where neighbouring sizes are more than a factor of 4 apart, the lines in between are not
 * measured; they are taken from the law fixed + bytes * slope + root * sqrt(bytes), which pipelines
 * follow whose pieces grow with the vector. It is fitted to the points from three octaves below the
 * first such gap upwards. Errors: INVALID_ARGUMENT (fewer than two points, or out of the ranges
 * above). */
weft_status weft_curve_fit(const struct weft_sweep *sweep, struct weft_curve *curve,
                           struct weft_error *error);

/* How well a fit foretells what it has not seen. The fit sees the sizes up to 1 MiB and two more:
 * the largest, and the one nearest to the geometric middle between 1 MiB and the largest. */
struct weft_fit_row {
    bool is_seen;
    int64_t predicted_ps, error_ppm;
    int64_t linear_ps, linear_error_ppm; // between neighbours that were seen: the control
    int64_t power_ps, power_error_ppm;   // the same on logarithmic axes
};
struct weft_fit_check {
    struct weft_curve curve;
    struct weft_fit_row rows[WEFT_SWEEP_POINTS];
    int num_hidden;
    int64_t median_ppm, worst_ppm; // of the hidden sizes
    int64_t linear_median_ppm, linear_worst_ppm;
    int64_t power_median_ppm, power_worst_ppm;
};
/* Errors: INVALID_ARGUMENT (no size is left to foretell); those of weft_curve_fit. */
weft_status weft_fit_check(const struct weft_sweep *sweep, struct weft_fit_check *check,
                           struct weft_error *error);

/* The same with a choice of the two large sizes, by index. */
weft_status weft_fit_check_with(const struct weft_sweep *sweep, int large_1, int large_2,
                                struct weft_fit_check *check, struct weft_error *error);

#endif
