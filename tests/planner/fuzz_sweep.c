/*
 * SPDX-License-Identifier: Apache-2.0
 * Any bytes given to the reader of sweeps: refused with a sentence, or a sweep to which a curve of
 * one to four lines is fitted, dearer to start and cheaper per byte from line to line.
 */
#include <stdlib.h>
#include <string.h>

#include "collectives/planner/fit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weft_sweep sweep;
    struct weft_curve curve;
    struct weft_fit_check check;
    struct weft_error error = {0};
    char *text = calloc(size + 1, 1);
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    weft_status status = weft_sweep_read(text, "input", &sweep, &error);
    free(text);
    if (status != WEFT_OK) {
        if (error.status != status || !error.text[0])
            abort();
        return 0;
    }
    if (weft_curve_fit(&sweep, &curve, &error) != WEFT_OK || curve.num_lines < 1 ||
        curve.num_lines > WEFT_CURVE_LINES)
        abort();
    for (int i = 0; i < curve.num_lines; i++) {
        const struct weft_line *line = &curve.lines[i];
        if (line->fixed_ps < 0 || line->ps_per_mib < 0)
            abort();
        if (i > 0 &&
            (line->fixed_ps < line[-1].fixed_ps || line->ps_per_mib >= line[-1].ps_per_mib))
            abort();
    }
    if (weft_fit_check(&sweep, &check, &error) == WEFT_OK && check.num_hidden < 1)
        abort();
    return 0;
}
