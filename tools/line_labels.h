/*
 * SPDX-License-Identifier: Apache-2.0
 * Copies what a process writes, line by line, with "[rank] " before each line, so that lines of
 * several ranks never mix. A line longer than the buffer is cut into several.
 */
#ifndef WEFT_TOOLS_LINE_LABELS_H
#define WEFT_TOOLS_LINE_LABELS_H

#include "base/error.h"

struct weft_line_label;

/* `to` is the descriptor written to (1 or 2). *write_end is for the process and the caller's to
 * close. Errors: SYSTEM, OUT_OF_MEMORY. */
weft_status weft_line_label_open(int rank, int to, struct weft_line_label **label, int *write_end,
                                 struct weft_error *error);
/* The descriptor to poll; -1 once everything was read. */
int weft_line_label_descriptor(const struct weft_line_label *label);
/* Copies what is there without waiting for more. NULL is allowed. */
void weft_line_label_pump(struct weft_line_label *label);
/* Writes an unfinished last line. NULL and pointer to NULL are allowed; clears *label. Returns the
 * errno of the first write that failed, 0 if none did. */
int weft_line_label_close(struct weft_line_label **label);

#endif
