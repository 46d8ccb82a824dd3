/*
 * SPDX-License-Identifier: Apache-2.0
 * What `weft train` prints on rank 0: header, progress, and at the end the curve and the figures,
 * or all of it as one JSON document. No decision is taken here.
 */
#ifndef WEFT_TOOLS_TRAIN_PRINT_H
#define WEFT_TOOLS_TRAIN_PRINT_H

#include "tools/train_run.h"

void weft_train_print_header(const struct weft_train_progress *progress);
/* One line that rewrites itself on a terminal, else a line every print_every steps. */
void weft_train_print_step(const struct weft_train_progress *progress,
                           const struct weft_step *step);
weft_status weft_train_print_summary(const struct weft_train_progress *progress,
                                     struct weft_error *error);
weft_status weft_train_print_json(const struct weft_train_progress *progress,
                                  struct weft_error *error);

#endif
