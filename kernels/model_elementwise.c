/*
 * SPDX-License-Identifier: Apache-2.0
 * Element by element: GELU, sums of two arrays, the AdamW update, the sum of squares. Each is one
 * pass over memory that the compiler vectorises.
 */
#include <math.h>

#include "kernels/model_ops.h"
#include "kernels/model_vector.h"

// GELU(x) = x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3). As (1 + tanh(u)) / 2 is
// the logistic function of 2u, no tanh is needed and nothing cancels near zero.
static const float GELU_SCALE = 1.5957691216057308f; // 2 sqrt(2 / pi)
static const float GELU_CUBIC = 0.044715f;

WEFT_VECTOR_CLONES
void weft_gelu_forward(const float *x, float *y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float v = x[i];
        float s = 1.0f / (1.0f + weft_exp(-GELU_SCALE * (v + GELU_CUBIC * v * v * v)));
        y[i] = v * s;
    }
}

WEFT_VECTOR_CLONES
void weft_gelu_backward(const float *x, const float *dy, float *dx, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float v = x[i];
        float e = weft_exp(-GELU_SCALE * (v + GELU_CUBIC * v * v * v));
        float s = 1.0f / (1.0f + e);
        float slope = GELU_SCALE * (1.0f + 3.0f * GELU_CUBIC * v * v);
        dx[i] = dy[i] * (s + v * s * (e * s) * slope);
    }
}

WEFT_VECTOR_CLONES
void weft_add(const float *a, const float *b, float *y, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = a[i] + b[i];
}

WEFT_VECTOR_CLONES
static void update(float *parameter, const float *gradient, float *mean, float *variance,
                   size_t count, const float *k)
{
    float scale = k[0], beta1 = k[1], beta2 = k[2], step = k[3], root = k[4], epsilon = k[5];
    float keep = k[6];
    for (size_t i = 0; i < count; i++) {
        float g = gradient[i] * scale;
        float m = beta1 * mean[i] + (1.0f - beta1) * g;
        float v = beta2 * variance[i] + (1.0f - beta2) * g * g;
        mean[i] = m;
        variance[i] = v;
        parameter[i] = parameter[i] * keep - step * m / (sqrtf(v) * root + epsilon);
    }
}

void weft_adamw_update(const struct weft_adamw *adamw, float *parameter, const float *gradient,
                       float *mean, float *variance, size_t count)
{
    // Both bias corrections are one number per step, computed in double outside the loop.
    double first = 1.0 - pow((double)adamw->beta1, (double)adamw->step);
    double second = 1.0 - pow((double)adamw->beta2, (double)adamw->step);
    const float constants[] = {
        adamw->gradient_scale,
        adamw->beta1,
        adamw->beta2,
        (float)((double)adamw->learning_rate / first),
        (float)(1.0 / sqrt(second)),
        adamw->epsilon,
        1.0f - adamw->learning_rate * adamw->weight_decay,
    };
    update(parameter, gradient, mean, variance, count, constants);
}

WEFT_VECTOR_CLONES
double weft_sum_of_squares(const float *x, size_t count)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}
