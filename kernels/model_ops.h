/*
 * SPDX-License-Identifier: Apache-2.0
 * The fp32 kernels of a GPT on the CPU: what one layer computes, forward and backward. Matrix
 * products go to BLAS; sums that lose digits in fp32 are kept in double. Plain functions over plain
 * arrays: no state, no allocation, no communication, deterministic for one machine.
 *
 * Shapes are row-major. `rows` counts token positions, sequences one after another. A gradient
 * named d<parameter> is added to; a gradient of an activation (dx) is overwritten.
 * Every kernel has a plain float64 twin in model_reference.h.
 */
#ifndef WEFT_KERNELS_MODEL_OPS_H
#define WEFT_KERNELS_MODEL_OPS_H

#include <stddef.h>
#include <stdint.h>

/* Tells the BLAS to use one thread per process: ranks are the parallelism. */
void weft_blas_use_one_thread(void);

/* y (rows, out) = x (rows, in) weight^T + bias; weight (out, in), bias (out). */
void weft_linear_forward(const float *x, const float *weight, const float *bias, float *y,
                         size_t rows, size_t in, size_t out);
/* dx may be NULL (not wanted); dbias may be NULL (no bias). */
void weft_linear_backward(const float *x, const float *weight, const float *dy, float *dx,
                          float *dweight, float *dbias, size_t rows, size_t in, size_t out);

/* y = (x - mean) / sqrt(variance + 1e-5) * gain + bias, over `width`. Keeps mean and 1/sqrt(...).
 */
void weft_layernorm_forward(const float *x, const float *gain, const float *bias, float *y,
                            float *mean, float *inverse_deviation, size_t rows, size_t width);
/* dx is added to `dresidual` when that is not NULL (dx = dresidual + ...); they may be equal. */
void weft_layernorm_backward(const float *x, const float *gain, const float *mean,
                             const float *inverse_deviation, const float *dy,
                             const float *dresidual, float *dx, float *dgain, float *dbias,
                             size_t rows, size_t width);

/* The tanh form of GELU. dx may equal dy. */
void weft_gelu_forward(const float *x, float *y, size_t count);
void weft_gelu_backward(const float *x, const float *dy, float *dx, size_t count);

/* y = a + b; y may equal either. */
void weft_add(const float *a, const float *b, float *y, size_t count);

struct weft_attention_shape {
    size_t sequences;
    size_t length; // tokens of a sequence
    size_t heads;
    size_t head_width;
};

/* Floats of scratch that the attention kernels need. */
size_t weft_attention_scratch_floats(const struct weft_attention_shape *shape);
/* Causal attention. qkv (rows, 3 * heads * head_width): queries, keys, values side by side.
 * out (rows, heads * head_width); log_sum (sequences, heads, length) is kept for backward. */
void weft_attention_forward(const struct weft_attention_shape *shape, const float *qkv, float *out,
                            float *log_sum, float *scratch);
void weft_attention_backward(const struct weft_attention_shape *shape, const float *qkv,
                             const float *log_sum, const float *dout, float *dqkv, float *scratch);

/* y (rows, width) = tokens[token] + positions[row % length]. */
void weft_embedding_forward(const uint8_t *input, const float *tokens, const float *positions,
                            float *y, size_t rows, size_t length, size_t width);
void weft_embedding_backward(const uint8_t *input, const float *dy, float *dtokens,
                             float *dpositions, size_t rows, size_t length, size_t width);

/* Sum over rows of -log softmax(logits)[target], in nats; logits (rows, classes) become the
 * gradient of that sum. */
double weft_cross_entropy(float *logits, const uint8_t *target, size_t rows, size_t classes);

struct weft_adamw {
    float learning_rate;
    float beta1;
    float beta2;
    float epsilon;
    float weight_decay;
    float gradient_scale; // multiplies every gradient first: 1/tokens times the clipping factor
    int64_t step;         // 1 for the first update
};

void weft_adamw_update(const struct weft_adamw *adamw, float *parameter, const float *gradient,
                       float *mean, float *variance, size_t count);

double weft_sum_of_squares(const float *x, size_t count);

#endif
