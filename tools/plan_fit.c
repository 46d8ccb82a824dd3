/*
 * SPDX-License-Identifier: Apache-2.0
 * `weft plan --fit`; see plan.h.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "collectives/planner/fit.h"
#include "tools/command.h"
#include "tools/plan.h"

enum { LIMIT_PPM = 60000, FILE_LIMIT_BYTES = 1 << 20 };

static weft_status load(const char *path, struct weft_sweep *sweep, struct weft_fit_check *check,
                        struct weft_error *error)
{
    char *text;
    size_t bytes;
    WEFT_TRY(weft_file_read(path, FILE_LIMIT_BYTES, &text, &bytes, error));
    weft_status status =
        strlen(text) == bytes
            ? weft_sweep_read(text, path, sweep, error)
            : weft_fail(error, WEFT_INVALID_FORMAT, "%.200s:1: byte 0 at %zu; this is no text file",
                        path, strlen(text));
    free(text);
    WEFT_TRY(status);
    return weft_fit_check(sweep, check, error);
}

static double us(int64_t ps)
{
    return (double)ps / 1e6;
}

static double percent(int64_t ppm)
{
    return (double)ppm / 1e4;
}

static void print_text(const struct weft_sweep *sweep, const struct weft_fit_check *check)
{
    printf("Fitted to sizes up to 1 MiB, the largest, and the one nearest to the geometric middle "
           "between\n");
    for (int i = 0; i < check->curve.num_lines; i++) {
        const struct weft_line *line = &check->curve.lines[i];
        printf("  line %d: %10.2f us + %10.3f us per MiB (%.2f GB/s)\n", i + 1, us(line->fixed_ps),
               us(line->ps_per_mib), (double)weft_curve_bandwidth(line->ps_per_mib) / 1e9);
    }
    printf("%12s %12s %12s %8s %22s %22s\n", "bytes", "measured us", "predicted us", "error",
           "linear interpolation", "on logarithmic axes");
    for (int i = 0; i < sweep->num_points; i++) {
        const struct weft_fit_row *row = &check->rows[i];
        printf("%12lld %12.2f %12.2f %7.2f%%", (long long)sweep->points[i].bytes,
               us(sweep->points[i].time_ps), us(row->predicted_ps), percent(row->error_ppm));
        if (row->is_seen)
            printf("  fitted to\n");
        else
            printf(" %13.2f %7.2f%% %13.2f %7.2f%%\n", us(row->linear_ps),
                   percent(row->linear_error_ppm), us(row->power_ps),
                   percent(row->power_error_ppm));
    }
    printf("%d sizes foretold: median error %.2f%%, worst %.2f%%\n"
           "control: linear %.2f%%, %.2f%%; on logarithmic axes %.2f%%, %.2f%%\n",
           check->num_hidden, percent(check->median_ppm), percent(check->worst_ppm),
           percent(check->linear_median_ppm), percent(check->linear_worst_ppm),
           percent(check->power_median_ppm), percent(check->power_worst_ppm));
}

static json_t *rows_json(const struct weft_sweep *sweep, const struct weft_fit_check *check)
{
    json_t *rows = json_array();
    for (int i = 0; i < sweep->num_points; i++) {
        const struct weft_fit_row *row = &check->rows[i];
        json_t *object = json_pack(
            "{s:I, s:I, s:I, s:I, s:b}", "bytes", (json_int_t)sweep->points[i].bytes, "measured_ps",
            (json_int_t)sweep->points[i].time_ps, "predicted_ps", (json_int_t)row->predicted_ps,
            "error_ppm", (json_int_t)row->error_ppm, "fitted_to", row->is_seen);
        if (object && !row->is_seen) {
            json_object_set_new(object, "linear_ps", json_integer(row->linear_ps));
            json_object_set_new(object, "logarithmic_ps", json_integer(row->power_ps));
        }
        json_array_append_new(rows, object);
    }
    return rows;
}

static void print_json(const struct weft_sweep *sweep, const struct weft_fit_check *check,
                       bool is_passed)
{
    json_t *lines = json_array();
    for (int i = 0; i < check->curve.num_lines; i++)
        json_array_append_new(
            lines, json_pack("{s:I, s:I}", "fixed_ps", (json_int_t)check->curve.lines[i].fixed_ps,
                             "ps_per_mib", (json_int_t)check->curve.lines[i].ps_per_mib));
    json_t *json = json_pack(
        "{s:s, s:i, s:b, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "format",
        "weft-plan-fit", "version", 1, "passed", is_passed, "limit_ppm", (json_int_t)LIMIT_PPM,
        "foretold", check->num_hidden, "median_ppm", (json_int_t)check->median_ppm, "worst_ppm",
        (json_int_t)check->worst_ppm, "linear_median_ppm", (json_int_t)check->linear_median_ppm,
        "linear_worst_ppm", (json_int_t)check->linear_worst_ppm, "logarithmic_median_ppm",
        (json_int_t)check->power_median_ppm, "logarithmic_worst_ppm",
        (json_int_t)check->power_worst_ppm, "lines", lines, "rows", rows_json(sweep, check));
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    printf("%s\n", text ? text : "");
    free(text);
    json_decref(json);
}

int weft_plan_fit(const char *command, const char *path, bool wants_json)
{
    struct weft_sweep sweep;
    struct weft_fit_check check;
    struct weft_error error = {0};
    if (load(path, &sweep, &check, &error) != WEFT_OK)
        return weft_command_fail(command, &error);
    bool is_passed = check.median_ppm <= LIMIT_PPM;
    if (wants_json)
        print_json(&sweep, &check, is_passed);
    else
        print_text(&sweep, &check);
    return weft_command_finish(command, is_passed ? WEFT_EXIT_OK : WEFT_EXIT_FAILED);
}
