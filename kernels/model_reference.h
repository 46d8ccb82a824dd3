/*
 * SPDX-License-Identifier: Apache-2.0
 * The kernels of model_ops.h once more, in float64 and plain loops that follow the formulas: the
 * yardstick of tests and of `weft train --gradcheck`. Never made fast, never used in training.
 * Shapes and rules are those of model_ops.h; what a forward pass kept is computed again here.
 */
#ifndef WEFT_KERNELS_MODEL_REFERENCE_H
#define WEFT_KERNELS_MODEL_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/model_ops.h"

void weft_reference_linear_forward(const double *x, const double *weight, const double *bias,
                                   double *y, size_t rows, size_t in, size_t out);
void weft_reference_linear_backward(const double *x, const double *weight, const double *dy,
                                    double *dx, double *dweight, double *dbias, size_t rows,
                                    size_t in, size_t out);
void weft_reference_layernorm_forward(const double *x, const double *gain, const double *bias,
                                      double *y, size_t rows, size_t width);
/* dx is overwritten; there is no residual here. */
void weft_reference_layernorm_backward(const double *x, const double *gain, const double *dy,
                                       double *dx, double *dgain, double *dbias, size_t rows,
                                       size_t width);
void weft_reference_gelu_forward(const double *x, double *y, size_t count);
void weft_reference_gelu_backward(const double *x, const double *dy, double *dx, size_t count);
/* probabilities (sequences, heads, length, length) is written by forward, read by backward. */
void weft_reference_attention_forward(const struct weft_attention_shape *shape, const double *qkv,
                                      double *out, double *probabilities);
void weft_reference_attention_backward(const struct weft_attention_shape *shape, const double *qkv,
                                       const double *probabilities, const double *dout,
                                       double *dqkv);
void weft_reference_embedding_forward(const uint8_t *input, const double *tokens,
                                      const double *positions, double *y, size_t rows,
                                      size_t length, size_t width);
void weft_reference_embedding_backward(const uint8_t *input, const double *dy, double *dtokens,
                                       double *dpositions, size_t rows, size_t length,
                                       size_t width);
double weft_reference_cross_entropy(double *logits, const uint8_t *target, size_t rows,
                                    size_t classes);

#endif
