/*
 * SPDX-License-Identifier: Apache-2.0
 * See model_reference.h. One loop per index of the formula, in the order of the formula.
 */
#include "kernels/model_reference.h"

#include <math.h>
#include <string.h>

void weft_reference_linear_forward(const double *x, const double *weight, const double *bias,
                                   double *y, size_t rows, size_t in, size_t out)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < out; o++) {
            double sum = bias ? bias[o] : 0.0;
            for (size_t i = 0; i < in; i++)
                sum += x[r * in + i] * weight[o * in + i];
            y[r * out + o] = sum;
        }
}

void weft_reference_linear_backward(const double *x, const double *weight, const double *dy,
                                    double *dx, double *dweight, double *dbias, size_t rows,
                                    size_t in, size_t out)
{
    if (dx)
        memset(dx, 0, rows * in * sizeof *dx);
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < out; o++) {
            double g = dy[r * out + o];
            for (size_t i = 0; i < in; i++) {
                if (dx)
                    dx[r * in + i] += g * weight[o * in + i];
                dweight[o * in + i] += g * x[r * in + i];
            }
            if (dbias)
                dbias[o] += g;
        }
}

static void row_statistics(const double *x, size_t width, double *mean, double *inverse)
{
    double sum = 0, squares = 0;
    for (size_t c = 0; c < width; c++)
        sum += x[c];
    *mean = sum / (double)width;
    for (size_t c = 0; c < width; c++)
        squares += (x[c] - *mean) * (x[c] - *mean);
    *inverse = 1.0 / sqrt(squares / (double)width + 1e-5);
}

void weft_reference_layernorm_forward(const double *x, const double *gain, const double *bias,
                                      double *y, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++) {
        double mean, inverse;
        row_statistics(x + r * width, width, &mean, &inverse);
        for (size_t c = 0; c < width; c++)
            y[r * width + c] = (x[r * width + c] - mean) * inverse * gain[c] + bias[c];
    }
}

void weft_reference_layernorm_backward(const double *x, const double *gain, const double *dy,
                                       double *dx, double *dgain, double *dbias, size_t rows,
                                       size_t width)
{
    for (size_t r = 0; r < rows; r++) {
        const double *in = x + r * width, *g = dy + r * width;
        double mean, inverse, sum = 0, product = 0;
        row_statistics(in, width, &mean, &inverse);
        for (size_t c = 0; c < width; c++) {
            double normalised = (in[c] - mean) * inverse;
            sum += g[c] * gain[c];
            product += g[c] * gain[c] * normalised;
            dgain[c] += g[c] * normalised;
            dbias[c] += g[c];
        }
        for (size_t c = 0; c < width; c++) {
            double normalised = (in[c] - mean) * inverse;
            dx[r * width + c] =
                inverse * (g[c] * gain[c] - (sum + normalised * product) / (double)width);
        }
    }
}

static const double GELU_ROOT = 0.79788456080286535588; // sqrt(2 / pi)

void weft_reference_gelu_forward(const double *x, double *y, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = 0.5 * x[i] * (1 + tanh(GELU_ROOT * (x[i] + 0.044715 * x[i] * x[i] * x[i])));
}

void weft_reference_gelu_backward(const double *x, const double *dy, double *dx, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double t = tanh(GELU_ROOT * (x[i] + 0.044715 * x[i] * x[i] * x[i]));
        double slope = GELU_ROOT * (1 + 3 * 0.044715 * x[i] * x[i]);
        dx[i] = dy[i] * (0.5 * (1 + t) + 0.5 * x[i] * (1 - t * t) * slope);
    }
}

// Where row `t` of one head of one sequence starts in qkv; keys lie `width` further, values twice.
static size_t qkv_at(const struct weft_attention_shape *shape, size_t s, size_t h, size_t t)
{
    size_t width = shape->heads * shape->head_width;
    return (s * shape->length + t) * 3 * width + h * shape->head_width;
}

static void attend_row(const struct weft_attention_shape *shape, const double *qkv, size_t s,
                       size_t h, size_t t, double *out, double *p)
{
    size_t width = shape->heads * shape->head_width, inner = shape->head_width;
    const double *query = qkv + qkv_at(shape, s, h, t);
    double high = -INFINITY, sum = 0;
    for (size_t k = 0; k <= t; k++) {
        const double *key = qkv + qkv_at(shape, s, h, k) + width;
        double score = 0;
        for (size_t c = 0; c < inner; c++)
            score += query[c] * key[c];
        p[k] = score / sqrt((double)inner);
        high = fmax(high, p[k]);
    }
    for (size_t k = 0; k <= t; k++)
        sum += p[k] = exp(p[k] - high);
    for (size_t k = 0; k < shape->length; k++)
        p[k] = k <= t ? p[k] / sum : 0.0;
    for (size_t c = 0; c < inner; c++) {
        double value = 0;
        for (size_t k = 0; k <= t; k++)
            value += p[k] * qkv[qkv_at(shape, s, h, k) + 2 * width + c];
        out[c] = value;
    }
}

void weft_reference_attention_forward(const struct weft_attention_shape *shape, const double *qkv,
                                      double *out, double *probabilities)
{
    size_t width = shape->heads * shape->head_width, length = shape->length;
    for (size_t s = 0; s < shape->sequences; s++)
        for (size_t h = 0; h < shape->heads; h++)
            for (size_t t = 0; t < length; t++)
                attend_row(shape, qkv, s, h, t,
                           out + (s * length + t) * width + h * shape->head_width,
                           probabilities + ((s * shape->heads + h) * length + t) * length);
}

static void attend_row_backward(const struct weft_attention_shape *shape, const double *qkv,
                                size_t s, size_t h, size_t t, const double *p, const double *dout,
                                double *dqkv)
{
    size_t width = shape->heads * shape->head_width, inner = shape->head_width;
    size_t query = qkv_at(shape, s, h, t);
    double mixed = 0; // sum over keys of p dp
    for (size_t pass = 0; pass < 2; pass++)
        for (size_t k = 0; k <= t; k++) {
            size_t key = qkv_at(shape, s, h, k) + width, value = key + width;
            double dp = 0;
            for (size_t c = 0; c < inner; c++)
                dp += dout[c] * qkv[value + c];
            if (pass == 0) {
                mixed += p[k] * dp;
                continue;
            }
            double dscore = p[k] * (dp - mixed) / sqrt((double)inner);
            for (size_t c = 0; c < inner; c++) {
                dqkv[value + c] += p[k] * dout[c];
                dqkv[query + c] += dscore * qkv[key + c];
                dqkv[key + c] += dscore * qkv[query + c];
            }
        }
}

void weft_reference_attention_backward(const struct weft_attention_shape *shape, const double *qkv,
                                       const double *probabilities, const double *dout,
                                       double *dqkv)
{
    size_t width = shape->heads * shape->head_width, length = shape->length;
    memset(dqkv, 0, shape->sequences * length * 3 * width * sizeof *dqkv);
    for (size_t s = 0; s < shape->sequences; s++)
        for (size_t h = 0; h < shape->heads; h++)
            for (size_t t = 0; t < length; t++)
                attend_row_backward(shape, qkv, s, h, t,
                                    probabilities + ((s * shape->heads + h) * length + t) * length,
                                    dout + (s * length + t) * width + h * shape->head_width, dqkv);
}

void weft_reference_embedding_forward(const uint8_t *input, const double *tokens,
                                      const double *positions, double *y, size_t rows,
                                      size_t length, size_t width)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < width; c++)
            y[r * width + c] = tokens[input[r] * width + c] + positions[r % length * width + c];
}

void weft_reference_embedding_backward(const uint8_t *input, const double *dy, double *dtokens,
                                       double *dpositions, size_t rows, size_t length, size_t width)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < width; c++) {
            dtokens[input[r] * width + c] += dy[r * width + c];
            dpositions[r % length * width + c] += dy[r * width + c];
        }
}

double weft_reference_cross_entropy(double *logits, const uint8_t *target, size_t rows,
                                    size_t classes)
{
    double loss = 0;
    for (size_t r = 0; r < rows; r++) {
        double *row = logits + r * classes, high = -INFINITY, sum = 0;
        for (size_t c = 0; c < classes; c++)
            high = fmax(high, row[c]);
        for (size_t c = 0; c < classes; c++)
            sum += exp(row[c] - high);
        loss += high + log(sum) - row[target[r]];
        for (size_t c = 0; c < classes; c++)
            row[c] = exp(row[c] - high) / sum - (c == target[r] ? 1.0 : 0.0);
    }
    return loss;
}
