/*
 * SPDX-License-Identifier: Apache-2.0
 * Layer normalisation. Means, variances and the sums over rows are kept in double: they are a
 * small share of the time and a large share of the rounding error.
 */
#include <math.h>
#include <stddef.h>

#include "kernels/model_ops.h"
#include "kernels/model_vector.h"

enum { COLUMN_BLOCK = 256 };

static const double VARIANCE_FLOOR = 1e-5;

WEFT_VECTOR_CLONES
void weft_layernorm_forward(const float *x, const float *gain, const float *bias, float *y,
                            float *mean, float *inverse_deviation, size_t rows, size_t width)
{
    for (size_t row = 0; row < rows; row++) {
        const float *in = x + row * width;
        float *out = y + row * width;
        double sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t c = 0; c < width; c++)
            sum += (double)in[c];
        double m = sum / (double)width;
#pragma omp simd reduction(+ : squares)
        for (size_t c = 0; c < width; c++)
            squares += ((double)in[c] - m) * ((double)in[c] - m);
        double inverse = 1.0 / sqrt(squares / (double)width + VARIANCE_FLOOR);
        float mean_f = (float)m, inverse_f = (float)inverse;
        for (size_t c = 0; c < width; c++)
            out[c] = (in[c] - mean_f) * inverse_f * gain[c] + bias[c];
        mean[row] = mean_f;
        inverse_deviation[row] = inverse_f;
    }
}

// dx of one row, from normalised = (x - mean) * inverse and dn = dy * gain:
// dx = inverse * (dn - average(dn) - normalised * average(dn * normalised)).
WEFT_VECTOR_CLONES
static void backward_rows(const float *x, const float *gain, const float *mean,
                          const float *inverse_deviation, const float *dy, const float *dresidual,
                          float *dx, size_t rows, size_t width)
{
    for (size_t row = 0; row < rows; row++) {
        const float *in = x + row * width, *g = dy + row * width;
        float m = mean[row], inverse = inverse_deviation[row];
        double sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
        for (size_t c = 0; c < width; c++) {
            double dn = (double)(g[c] * gain[c]);
            sum += dn;
            product += dn * (double)((in[c] - m) * inverse);
        }
        float average = (float)(sum / (double)width);
        float slope = (float)(product / (double)width);
        const float *base = dresidual ? dresidual + row * width : NULL;
        float *out = dx + row * width;
        for (size_t c = 0; c < width; c++) {
            float d = inverse * (g[c] * gain[c] - average - (in[c] - m) * inverse * slope);
            out[c] = base ? base[c] + d : d;
        }
    }
}

WEFT_VECTOR_CLONES
static void backward_parameters(const float *x, const float *mean, const float *inverse_deviation,
                                const float *dy, float *dgain, float *dbias, size_t rows,
                                size_t width)
{
    for (size_t first = 0; first < width; first += COLUMN_BLOCK) {
        size_t columns = width - first < COLUMN_BLOCK ? width - first : COLUMN_BLOCK;
        double gain_sum[COLUMN_BLOCK] = {0}, bias_sum[COLUMN_BLOCK] = {0};
        for (size_t row = 0; row < rows; row++) {
            const float *in = x + row * width + first, *g = dy + row * width + first;
            float m = mean[row], inverse = inverse_deviation[row];
            for (size_t c = 0; c < columns; c++) {
                gain_sum[c] += (double)(g[c] * ((in[c] - m) * inverse));
                bias_sum[c] += (double)g[c];
            }
        }
        for (size_t c = 0; c < columns; c++) {
            dgain[first + c] = (float)((double)dgain[first + c] + gain_sum[c]);
            dbias[first + c] = (float)((double)dbias[first + c] + bias_sum[c]);
        }
    }
}

void weft_layernorm_backward(const float *x, const float *gain, const float *mean,
                             const float *inverse_deviation, const float *dy,
                             const float *dresidual, float *dx, float *dgain, float *dbias,
                             size_t rows, size_t width)
{
    // Parameters first: dx may share memory with neither, but dy stays untouched either way.
    backward_parameters(x, mean, inverse_deviation, dy, dgain, dbias, rows, width);
    backward_rows(x, gain, mean, inverse_deviation, dy, dresidual, dx, rows, width);
}
