/*
 * SPDX-License-Identifier: Apache-2.0
 * Are the gradients right? Two measurements, each a number the caller judges: the fp32 path against
 * the float64 reference, and the reference against central finite differences on every tensor.
 * Local: no communication.
 */
#ifndef WEFT_TRAINER_GRADCHECK_H
#define WEFT_TRAINER_GRADCHECK_H

#include "trainer/model.h"

struct weft_gradcheck {
    double whole;                               // |g32 - g64| / |g64| over the whole gradient
    double worst_tensor;                        // the same for the worst single tensor ...
    char worst_name[WEFT_PARAMETER_NAME_BYTES]; // ... and which one
    double loss;                                // |loss32 - loss64| / loss64
};

/* `batch` has targets; `parameters` is a whole buffer. Key biases are left out of worst_tensor (not
 * of `whole`): softmax does not see them, so their true gradient is 0 and has no relative error.
 * Errors: OUT_OF_MEMORY. */
weft_status weft_gradcheck_reference(const struct weft_model *model, const float *parameters,
                                     const struct weft_batch *batch, struct weft_gradcheck *result,
                                     struct weft_error *error);

struct weft_differences {
    double worst; // largest |g64 - difference| over the tensor's elements tried, relative to the
                  // tensor's largest gradient
    char worst_name[WEFT_PARAMETER_NAME_BYTES];
    size_t num_tensors;
    size_t num_elements; // tried in all
};

/* Tries up to `per_tensor` elements of every tensor; each costs two runs of the reference. */
weft_status weft_gradcheck_differences(const struct weft_model *model, const float *parameters,
                                       const struct weft_batch *batch, size_t per_tensor,
                                       struct weft_differences *result, struct weft_error *error);

#endif
