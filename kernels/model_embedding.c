/*
 * SPDX-License-Identifier: Apache-2.0
 * The two ends of the model: embedding of bytes and positions, and softmax with cross-entropy fused
 * into one pass that leaves the gradient where the logits were.
 */
#include <math.h>

#include "kernels/model_ops.h"
#include "kernels/model_vector.h"

WEFT_VECTOR_CLONES
void weft_embedding_forward(const uint8_t *input, const float *tokens, const float *positions,
                            float *y, size_t rows, size_t length, size_t width)
{
    for (size_t row = 0; row < rows; row++) {
        const float *token = tokens + input[row] * width;
        const float *position = positions + row % length * width;
        for (size_t c = 0; c < width; c++)
            y[row * width + c] = token[c] + position[c];
    }
}

// Positions outside, sequences inside, in double: a position's gradient is one long sum. A byte's
// gradient collects rows in no order that could be blocked; it is summed in the order of the rows.
WEFT_VECTOR_CLONES
void weft_embedding_backward(const uint8_t *input, const float *dy, float *dtokens,
                             float *dpositions, size_t rows, size_t length, size_t width)
{
    for (size_t row = 0; row < rows; row++) {
        float *token = dtokens + input[row] * width;
        for (size_t c = 0; c < width; c++)
            token[c] += dy[row * width + c];
    }
    for (size_t position = 0; position < length; position++)
        for (size_t c = 0; c < width; c++) {
            double sum = (double)dpositions[position * width + c];
            for (size_t row = position; row < rows; row += length)
                sum += (double)dy[row * width + c];
            dpositions[position * width + c] = (float)sum;
        }
}

WEFT_VECTOR_CLONES
double weft_cross_entropy(float *logits, const uint8_t *target, size_t rows, size_t classes)
{
    double loss = 0;
    for (size_t r = 0; r < rows; r++) {
        float *row = logits + r * classes;
        float high = row[0];
#pragma omp simd reduction(max : high)
        for (size_t c = 0; c < classes; c++)
            high = row[c] > high ? row[c] : high;
        double chosen = (double)(row[target[r]] - high);
        for (size_t c = 0; c < classes; c++)
            row[c] = weft_exp(row[c] - high);
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t c = 0; c < classes; c++)
            sum += (double)row[c];
        float inverse = (float)(1.0 / sum);
        for (size_t c = 0; c < classes; c++)
            row[c] *= inverse;
        row[target[r]] -= 1.0f;
        loss += log(sum) - chosen;
    }
    return loss;
}
