/*
 * SPDX-License-Identifier: Apache-2.0
 * See gradcheck.h.
 */
#include "trainer/gradcheck.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/random.h"
#include "trainer/reference.h"

// With h = 1e-5 the error of a central difference is about h^2 (truncation) and 1e-16 loss / h
// (rounding): both far below what a wrong gradient would show.
static const double STEP = 1e-5;

struct buffers {
    double *parameters;
    double *gradients;
    float *narrow; // fp32 gradients
};

static void release(struct buffers *buffers)
{
    free(buffers->parameters);
    free(buffers->gradients);
    free(buffers->narrow);
}

static weft_status allocate(const struct weft_model *model, const float *parameters,
                            struct buffers *buffers, struct weft_error *error)
{
    buffers->parameters = calloc(model->num_floats, sizeof(double));
    buffers->gradients = calloc(model->num_floats, sizeof(double));
    buffers->narrow = calloc(model->num_floats, sizeof(float));
    if (!buffers->parameters || !buffers->gradients || !buffers->narrow) {
        release(buffers);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a gradient check");
    }
    for (size_t i = 0; i < model->num_floats; i++)
        buffers->parameters[i] = (double)parameters[i];
    return WEFT_OK;
}

// The gradient of the middle third of a QKV bias is 0 in exact arithmetic.
static bool has_gradient(const struct weft_parameter *row, size_t index)
{
    bool qkv_bias = row->split_parts == 3 && row->columns == 1;
    return !qkv_bias || index < row->count / 3 || index >= row->count / 3 * 2;
}

static void compare_tensors(const struct weft_model *model, const struct buffers *buffers,
                            struct weft_gradcheck *result)
{
    double difference = 0, size = 0;
    for (size_t t = 0; t < model->num_parameters; t++) {
        const struct weft_parameter *row = &model->table[t];
        double own_difference = 0, own_size = 0;
        for (size_t i = 0; i < row->count; i++) {
            double wide = buffers->gradients[row->offset + i];
            double d = (double)buffers->narrow[row->offset + i] - wide;
            difference += d * d;
            size += wide * wide;
            if (has_gradient(row, i)) {
                own_difference += d * d;
                own_size += wide * wide;
            }
        }
        double relative = sqrt(own_difference / own_size);
        if (!isnan(result->worst_tensor) && !(relative <= result->worst_tensor)) { // NaN is worst
            result->worst_tensor = relative;
            memcpy(result->worst_name, row->name, sizeof row->name);
        }
    }
    result->whole = sqrt(difference / size);
}

weft_status weft_gradcheck_reference(const struct weft_model *model, const float *parameters,
                                     const struct weft_batch *batch, struct weft_gradcheck *result,
                                     struct weft_error *error)
{
    struct buffers buffers;
    struct weft_workspace *workspace = NULL;
    WEFT_TRY(allocate(model, parameters, &buffers, error));
    weft_status status =
        weft_workspace_create(model, batch->sequences * batch->length, &workspace, error);
    double wide = 0;
    if (status == WEFT_OK)
        status =
            weft_reference_run(model, buffers.parameters, batch, buffers.gradients, &wide, error);
    if (status == WEFT_OK) {
        struct weft_gradcheck measured = {0};
        double narrow = weft_model_forward(model, workspace, parameters, batch);
        weft_model_backward(model, workspace, buffers.narrow, NULL, NULL);
        compare_tensors(model, &buffers, &measured);
        measured.loss = fabs(narrow - wide) / wide;
        *result = measured;
    }
    weft_workspace_destroy(&workspace);
    release(&buffers);
    return status;
}

static weft_status difference_at(const struct weft_model *model, struct buffers *buffers,
                                 const struct weft_batch *batch, size_t at, double *difference,
                                 struct weft_error *error)
{
    double keep = buffers->parameters[at], above, below;
    buffers->parameters[at] = keep + STEP;
    WEFT_TRY(weft_reference_run(model, buffers->parameters, batch, NULL, &above, error));
    buffers->parameters[at] = keep - STEP;
    WEFT_TRY(weft_reference_run(model, buffers->parameters, batch, NULL, &below, error));
    buffers->parameters[at] = keep;
    *difference = (above - below) / (2 * STEP);
    return WEFT_OK;
}

static weft_status check_tensor(const struct weft_model *model, struct buffers *buffers,
                                const struct weft_batch *batch, size_t tensor, size_t per_tensor,
                                struct weft_differences *result, struct weft_error *error)
{
    const struct weft_parameter *row = &model->table[tensor];
    size_t tries = row->count < per_tensor ? row->count : per_tensor;
    double largest = 0;
    for (size_t i = 0; i < row->count; i++)
        largest = fmax(largest, fabs(buffers->gradients[row->offset + i]));
    for (size_t i = 0; i < tries; i++) {
        // Spread over the tensor: one element from each of `tries` equal stretches.
        size_t begin = row->count * i / tries, length = row->count * (i + 1) / tries - begin;
        size_t at = row->offset + begin + weft_random_below(tensor, i, length);
        double difference;
        WEFT_TRY(difference_at(model, buffers, batch, at, &difference, error));
        double relative = fabs(buffers->gradients[at] - difference) / largest;
        if (!isnan(result->worst) && !(relative <= result->worst)) {
            result->worst = relative;
            memcpy(result->worst_name, row->name, sizeof row->name);
        }
        result->num_elements++;
    }
    result->num_tensors++;
    return WEFT_OK;
}

weft_status weft_gradcheck_differences(const struct weft_model *model, const float *parameters,
                                       const struct weft_batch *batch, size_t per_tensor,
                                       struct weft_differences *result, struct weft_error *error)
{
    struct buffers buffers;
    WEFT_TRY(allocate(model, parameters, &buffers, error));
    struct weft_differences measured = {0};
    double loss;
    weft_status status =
        weft_reference_run(model, buffers.parameters, batch, buffers.gradients, &loss, error);
    for (size_t t = 0; status == WEFT_OK && t < model->num_parameters; t++)
        status = check_tensor(model, &buffers, batch, t, per_tensor, &measured, error);
    if (status == WEFT_OK)
        *result = measured;
    release(&buffers);
    return status;
}
