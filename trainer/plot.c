/*
 * SPDX-License-Identifier: Apache-2.0
 * See plot.h. The curve is averaged over each column of dots and neighbouring columns are joined,
 * so many noisy steps read as one line.
 */
#include "trainer/plot.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOTS_ACROSS = 2, DOTS_DOWN = 4, MARK = 0xff };

struct canvas {
    size_t columns, rows;
    unsigned char *cells; // one byte of dots each; MARK in `marks` wins
    unsigned char *marks;
    double low_x, high_x, low_y, high_y;
};

static const unsigned char dot_bits[DOTS_DOWN][DOTS_ACROSS] = {
    {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};

static void widen(const double *x, const double *y, size_t count, struct canvas *canvas)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i]) || !isfinite(y[i]))
            continue;
        canvas->low_x = fmin(canvas->low_x, x[i]);
        canvas->high_x = fmax(canvas->high_x, x[i]);
        canvas->low_y = fmin(canvas->low_y, y[i]);
        canvas->high_y = fmax(canvas->high_y, y[i]);
    }
}

static size_t place(double value, double low, double high, size_t places)
{
    double at = (value - low) / (high - low) * (double)(places - 1) + 0.5;
    return at < 0 ? 0 : at >= (double)places ? places - 1 : (size_t)at;
}

static void set_dot(struct canvas *canvas, size_t across, size_t up)
{
    size_t down = canvas->rows * DOTS_DOWN - 1 - up;
    canvas->cells[down / DOTS_DOWN * canvas->columns + across / DOTS_ACROSS] |=
        dot_bits[down % DOTS_DOWN][across % DOTS_ACROSS];
}

// The part of a column that the curve passes through between heights `from` and `to`.
static void draw_column(struct canvas *canvas, size_t column, size_t from, size_t to)
{
    for (size_t dot = from < to ? from : to; dot <= (from < to ? to : from); dot++)
        set_dot(canvas, column, dot);
}

static void draw_curve(struct canvas *canvas, const struct weft_plot *plot)
{
    size_t across = canvas->columns * DOTS_ACROSS, up = canvas->rows * DOTS_DOWN;
    size_t point = 0, last_column = 0, last = 0;
    bool joined = false;
    for (size_t column = 0; column < across; column++) {
        double sum = 0;
        size_t count = 0;
        for (; point < plot->count; point++) {
            if (!isfinite(plot->x[point]) || !isfinite(plot->y[point]))
                continue;
            if (place(plot->x[point], canvas->low_x, canvas->high_x, across) > column)
                break;
            sum += plot->y[point];
            count++;
        }
        if (count == 0)
            continue;
        size_t at = place(sum / (double)count, canvas->low_y, canvas->high_y, up);
        // Straight on from the last column that had points, through those that had none.
        size_t height = joined ? last : at, first = joined ? last_column + 1 : column;
        for (size_t between = first; between <= column; between++) {
            double part = (double)(between - first + 1) / (double)(column - first + 1);
            size_t next =
                joined ? (size_t)((double)last * (1 - part) + (double)at * part + 0.5) : at;
            draw_column(canvas, between, height, next);
            height = next;
        }
        last = at;
        last_column = column;
        joined = true;
    }
}

static void draw_marks(struct canvas *canvas, const struct weft_plot *plot)
{
    for (size_t i = 0; i < plot->num_marks; i++) {
        if (!isfinite(plot->marks_x[i]) || !isfinite(plot->marks_y[i]))
            continue;
        size_t across = place(plot->marks_x[i], canvas->low_x, canvas->high_x, canvas->columns);
        size_t up = place(plot->marks_y[i], canvas->low_y, canvas->high_y, canvas->rows);
        canvas->marks[(canvas->rows - 1 - up) * canvas->columns + across] = MARK;
    }
}

static void print_cell(FILE *out, const struct canvas *canvas, size_t cell)
{
    unsigned code = 0x2800u + canvas->cells[cell];
    if (canvas->marks[cell] == MARK)
        fputc('o', out);
    else if (canvas->cells[cell] == 0)
        fputc(' ', out);
    else
        fprintf(out, "%c%c%c", (int)(0xe0 | code >> 12), (int)(0x80 | (code >> 6 & 0x3f)),
                (int)(0x80 | (code & 0x3f)));
}

static void print(FILE *out, const struct canvas *canvas, const char *x_label)
{
    for (size_t row = 0; row < canvas->rows; row++) {
        double y = canvas->high_y -
                   (canvas->high_y - canvas->low_y) * (double)row / (double)(canvas->rows - 1);
        bool labelled = row == 0 || row == canvas->rows - 1 || row == canvas->rows / 2;
        if (labelled)
            fprintf(out, "%8.3f ┤", y);
        else
            fprintf(out, "%8s │", "");
        for (size_t column = 0; column < canvas->columns; column++)
            print_cell(out, canvas, row * canvas->columns + column);
        fputc('\n', out);
    }
    fprintf(out, "%8s └", "");
    for (size_t column = 0; column < canvas->columns; column++)
        fputs("─", out);
    char low[24], high[24];
    int left = snprintf(low, sizeof low, "%.0f", canvas->low_x);
    snprintf(high, sizeof high, "%.0f", canvas->high_x);
    int right = (int)canvas->columns - left;
    fprintf(out, "\n%10s%s%*s  %s\n", "", low, right > 0 ? right : 1, high, x_label);
}

weft_status weft_plot_draw(const struct weft_plot *plot, char **text, struct weft_error *error)
{
    if (plot->columns < 8 || plot->columns > 400 || plot->rows < 3 || plot->rows > 100)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "plot: %zu x %zu is not a size",
                         plot->columns, plot->rows);
    struct canvas canvas = {plot->columns, plot->rows, NULL,     NULL,
                            INFINITY,      -INFINITY,  INFINITY, -INFINITY};
    widen(plot->x, plot->y, plot->count, &canvas);
    widen(plot->marks_x, plot->marks_y, plot->num_marks, &canvas);
    if (!(canvas.low_x <= canvas.high_x))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "plot: no finite point");
    canvas.high_x += canvas.high_x == canvas.low_x;
    canvas.high_y += canvas.high_y == canvas.low_y;
    canvas.cells = calloc(plot->columns * plot->rows, 1);
    canvas.marks = calloc(plot->columns * plot->rows, 1);
    char *printed = NULL;
    size_t bytes;
    FILE *out = canvas.cells && canvas.marks ? open_memstream(&printed, &bytes) : NULL;
    bool failed = !out;
    if (out) {
        draw_curve(&canvas, plot);
        draw_marks(&canvas, plot);
        print(out, &canvas, plot->x_label);
        failed = fclose(out) != 0;
    }
    free(canvas.cells);
    free(canvas.marks);
    if (failed) {
        free(printed);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a plot");
    }
    *text = printed;
    return WEFT_OK;
}
