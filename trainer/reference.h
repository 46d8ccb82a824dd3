/*
 * SPDX-License-Identifier: Apache-2.0
 * The whole model in float64 and plain loops, written straight down instead of as a list of layers:
 * the yardstick of the fp32 path, itself measured against finite differences.
 */
#ifndef WEFT_TRAINER_REFERENCE_H
#define WEFT_TRAINER_REFERENCE_H

#include "trainer/model.h"

/* *loss: summed over rows, in nats. `gradients` (num_floats) is added to; NULL: loss only.
 * Parameters lie as in the fp32 buffer. Errors: OUT_OF_MEMORY. */
weft_status weft_reference_run(const struct weft_model *model, const double *parameters,
                               const struct weft_batch *batch, double *gradients, double *loss,
                               struct weft_error *error);

#endif
