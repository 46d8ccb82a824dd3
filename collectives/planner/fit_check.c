/*
 * SPDX-License-Identifier: Apache-2.0
 * Sweeps: reading them, and how well a fit foretells the sizes that it has not seen; see fit.h.
 * Floating point only in the control on logarithmic axes, which decides nothing.
 */
#include "collectives/planner/fit.h"

#include <math.h>
#include <stdlib.h>

#include "topology/lines.h"

/* ---- reading ---- */

/* Microseconds with up to six decimals that count, as picoseconds. */
static bool read_time(struct weft_span *rest, int64_t *time_ps)
{
    int64_t whole, part = 0, scale = 1000000;
    if (!weft_span_number(rest, 0, 100000000, &whole))
        return false;
    if (weft_span_take(rest, ".")) {
        size_t digits = 0;
        for (; rest->bytes > 0 && rest->at[0] >= '0' && rest->at[0] <= '9'; digits++) {
            scale /= 10;
            part += scale * (rest->at[0] - '0');
            rest->at++;
            rest->bytes--;
        }
        if (digits == 0)
            return false;
    }
    *time_ps = whole * 1000000 + part;
    return *time_ps > 0 && *time_ps <= 100000000000000;
}

static weft_status read_point(struct weft_lines *lines, struct weft_sweep *sweep)
{
    struct weft_span rest = lines->line;
    struct weft_sweep_point p;
    if (sweep->num_points == WEFT_SWEEP_POINTS)
        return weft_lines_refuse(lines, "more than %d sizes", WEFT_SWEEP_POINTS);
    if (!weft_span_number(&rest, 1, (int64_t)1 << 44, &p.bytes))
        return weft_lines_refuse(lines, "does not start with a size of 1 to 2^44 bytes");
    rest = weft_span_trim(rest);
    if (!weft_span_take(&rest, ","))
        return weft_lines_refuse(lines, "no comma after the size");
    rest = weft_span_trim(rest);
    if (!read_time(&rest, &p.time_ps))
        return weft_lines_refuse(lines, "no time above 0 and up to 100 s, in microseconds");
    if (rest.bytes > 0)
        return weft_lines_refuse(lines, "more than size and time");
    if (sweep->num_points > 0 && p.bytes <= sweep->points[sweep->num_points - 1].bytes)
        return weft_lines_refuse(lines, "sizes do not ascend");
    sweep->points[sweep->num_points++] = p;
    return WEFT_OK;
}

weft_status weft_sweep_read(const char *text, const char *name, struct weft_sweep *sweep,
                            struct weft_error *error)
{
    struct weft_lines lines = weft_lines_start(text, name, error);
    struct weft_sweep made = {0};
    while (weft_lines_next(&lines))
        if (lines.line.bytes > 0 && lines.line.at[0] != '#')
            WEFT_TRY(read_point(&lines, &made));
    lines.number += lines.number == 0; // an empty file ends on its first line
    if (made.num_points < 2)
        return weft_lines_refuse(&lines, "a sweep has two sizes at least");
    *sweep = made;
    return WEFT_OK;
}

/* ---- foretelling ---- */

static int64_t error_ppm(int64_t predicted, int64_t actual)
{
    __int128 off = predicted > actual ? predicted - actual : actual - predicted;
    __int128 ppm = off * 1000000 / actual;
    return ppm > INT64_MAX / 4 ? INT64_MAX / 4 : (int64_t)ppm;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void summarize(int64_t *errors, int count, int64_t *median, int64_t *worst)
{
    qsort(errors, (size_t)count, sizeof *errors, compare);
    *median = (errors[(count - 1) / 2] + errors[count / 2]) / 2;
    *worst = errors[count - 1];
}

/* `low` and `high` were seen, `bytes` is between. */
static int64_t on_line(const struct weft_sweep_point *low, const struct weft_sweep_point *high,
                       int64_t bytes)
{
    return low->time_ps + (int64_t)((__int128)(high->time_ps - low->time_ps) *
                                    (bytes - low->bytes) / (high->bytes - low->bytes));
}

static int64_t on_power(const struct weft_sweep_point *low, const struct weft_sweep_point *high,
                        int64_t bytes)
{
    double share =
        log((double)bytes / (double)low->bytes) / log((double)high->bytes / (double)low->bytes);
    return (int64_t)((double)low->time_ps *
                     exp(share * log((double)high->time_ps / (double)low->time_ps)));
}

static void foretell(const struct weft_sweep *sweep, struct weft_fit_check *check)
{
    int64_t errors[3][WEFT_SWEEP_POINTS];
    int low = 0;
    for (int i = 0; i < sweep->num_points; i++) {
        const struct weft_sweep_point *p = &sweep->points[i];
        struct weft_fit_row *row = &check->rows[i];
        __int128 predicted = weft_curve_time(&check->curve, p->bytes, 0);
        row->predicted_ps = predicted < INT64_MAX / 4 ? (int64_t)predicted : INT64_MAX / 4;
        row->error_ppm = error_ppm(row->predicted_ps, p->time_ps);
        if (row->is_seen) {
            row->linear_ps = row->power_ps = p->time_ps;
            low = i;
            continue;
        }
        int high = i;
        while (high < sweep->num_points - 1 && !check->rows[high].is_seen)
            high++;
        if (check->rows[high].is_seen) {
            row->linear_ps = on_line(&sweep->points[low], &sweep->points[high], p->bytes);
            row->power_ps = on_power(&sweep->points[low], &sweep->points[high], p->bytes);
        } else { // above all that was seen: as much as the largest, in proportion
            __int128 scaled =
                (__int128)sweep->points[low].time_ps * p->bytes / sweep->points[low].bytes;
            row->linear_ps = row->power_ps =
                scaled < INT64_MAX / 4 ? (int64_t)scaled : INT64_MAX / 4;
        }
        row->linear_error_ppm = error_ppm(row->linear_ps, p->time_ps);
        row->power_error_ppm = error_ppm(row->power_ps, p->time_ps);
        errors[0][check->num_hidden] = row->error_ppm;
        errors[1][check->num_hidden] = row->linear_error_ppm;
        errors[2][check->num_hidden++] = row->power_error_ppm;
    }
    summarize(errors[0], check->num_hidden, &check->median_ppm, &check->worst_ppm);
    summarize(errors[1], check->num_hidden, &check->linear_median_ppm, &check->linear_worst_ppm);
    summarize(errors[2], check->num_hidden, &check->power_median_ppm, &check->power_worst_ppm);
}

weft_status weft_fit_check_with(const struct weft_sweep *sweep, int large_1, int large_2,
                                struct weft_fit_check *check, struct weft_error *error)
{
    struct weft_fit_check made = {0};
    struct weft_sweep seen = {0};
    for (int i = 0; i < sweep->num_points; i++) {
        made.rows[i].is_seen = sweep->points[i].bytes <= 1 << 20 || i == large_1 || i == large_2;
        if (made.rows[i].is_seen)
            seen.points[seen.num_points++] = sweep->points[i];
    }
    if (seen.num_points == sweep->num_points || !made.rows[0].is_seen)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "a check needs sizes up to 1 MiB and three above");
    WEFT_TRY(weft_curve_fit(&seen, &made.curve, error));
    foretell(sweep, &made);
    *check = made;
    return WEFT_OK;
}

weft_status weft_fit_check(const struct weft_sweep *sweep, struct weft_fit_check *check,
                           struct weft_error *error)
{
    int largest = sweep->num_points - 1, below = -1, above = -1;
    if (largest < 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "no size is left to foretell");
    __int128 square = (__int128)sweep->points[largest].bytes << 20; // of the middle
    for (int i = 0; i < largest; i++) {
        __int128 bytes = sweep->points[i].bytes;
        if (bytes > 1 << 20 && bytes * bytes <= square)
            below = i;
        if (bytes > 1 << 20 && bytes * bytes > square && above < 0)
            above = i;
    }
    bool is_below = above < 0 || (below >= 0 && square <= (__int128)sweep->points[below].bytes *
                                                              sweep->points[above].bytes);
    return weft_fit_check_with(sweep, is_below ? below : above, largest, check, error);
}
