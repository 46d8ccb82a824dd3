/*
 * SPDX-License-Identifier: Apache-2.0
 * A curve for the terminal, drawn with braille characters (2 x 4 dots each), with axes. Pure:
 * points in, UTF-8 text out.
 */
#ifndef WEFT_TRAINER_PLOT_H
#define WEFT_TRAINER_PLOT_H

#include <stddef.h>

#include "base/error.h"

struct weft_plot {
    const double *x; // ascending
    const double *y;
    size_t count;
    const double *marks_x; // a second series, drawn as single marks; may be empty
    const double *marks_y;
    size_t num_marks;
    size_t columns; // characters of the drawing area, 8 .. 400
    size_t rows;    // 3 .. 100
    const char *x_label;
};

/* *text is NUL-terminated, lines end with \n; the caller frees it. Points that are not finite are
 * left out. Errors: INVALID_ARGUMENT (size; no finite point), OUT_OF_MEMORY. */
weft_status weft_plot_draw(const struct weft_plot *plot, char **text, struct weft_error *error);

#endif
