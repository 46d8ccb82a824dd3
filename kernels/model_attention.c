/*
 * SPDX-License-Identifier: Apache-2.0
 * Causal attention by blocks of query rows. A block's scores against all keys up to its last row
 * are one matrix product; softmax runs over the rows; a second product gives the output. Backward
 * computes the probabilities again from the kept log-sums, so nothing of size length^2 is stored.
 * BLAS reads queries, keys and values in place, by their row stride.
 */
#include <cblas.h>
#include <math.h>

#include "kernels/model_ops.h"
#include "kernels/model_vector.h"

enum { QUERY_BLOCK = 64 };

// One head of one sequence: where its rows start and how far apart they are.
struct head {
    size_t stride; // of qkv rows
    size_t keys;   // offset of the keys from the queries, and of the values from the keys
    size_t width;
    float scale;
};

static struct head head_of(const struct weft_attention_shape *shape)
{
    size_t width = shape->heads * shape->head_width;
    return (struct head){3 * width, width, shape->head_width,
                         (float)(1.0 / sqrt((double)shape->head_width))};
}

static size_t block_rows(const struct weft_attention_shape *shape, size_t first)
{
    size_t left = shape->length - first;
    return left < QUERY_BLOCK ? left : QUERY_BLOCK;
}

size_t weft_attention_scratch_floats(const struct weft_attention_shape *shape)
{
    return 2 * (size_t)QUERY_BLOCK * shape->length;
}

// scores (rows, end) = scale * queries keys^T
static void compute_scores(const struct head *head, const float *query, const float *key,
                           float *scores, size_t rows, size_t end)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)end, (int)head->width,
                head->scale, query, (int)head->stride, key, (int)head->stride, 0.0f, scores,
                (int)end);
}

// Turns scores into probabilities; row r of the block may see columns up to first + r.
WEFT_VECTOR_CLONES
static void softmax_rows(float *scores, float *log_sum, size_t first, size_t rows, size_t end)
{
    for (size_t r = 0; r < rows; r++) {
        float *row = scores + r * end;
        size_t visible = first + r + 1;
        float high = row[0];
#pragma omp simd reduction(max : high)
        for (size_t c = 0; c < visible; c++)
            high = row[c] > high ? row[c] : high;
        for (size_t c = 0; c < visible; c++)
            row[c] = weft_exp(row[c] - high);
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t c = 0; c < visible; c++)
            sum += (double)row[c];
        float inverse = (float)(1.0 / sum);
        for (size_t c = 0; c < visible; c++)
            row[c] *= inverse;
        for (size_t c = visible; c < end; c++)
            row[c] = 0.0f;
        log_sum[r] = (float)((double)high + log(sum));
    }
}

void weft_attention_forward(const struct weft_attention_shape *shape, const float *qkv, float *out,
                            float *log_sum, float *scratch)
{
    struct head head = head_of(shape);
    for (size_t s = 0; s < shape->sequences; s++) {
        for (size_t h = 0; h < shape->heads; h++) {
            const float *query = qkv + s * shape->length * head.stride + h * head.width;
            const float *key = query + head.keys, *value = key + head.keys;
            float *result = out + s * shape->length * head.keys + h * head.width;
            float *sums = log_sum + (s * shape->heads + h) * shape->length;
            for (size_t first = 0; first < shape->length; first += QUERY_BLOCK) {
                size_t rows = block_rows(shape, first), end = first + rows;
                compute_scores(&head, query + first * head.stride, key, scratch, rows, end);
                softmax_rows(scratch, sums + first, first, rows, end);
                cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)head.width,
                            (int)end, 1.0f, scratch, (int)end, value, (int)head.stride, 0.0f,
                            result + first * head.keys, (int)head.keys);
            }
        }
    }
}

// scores become probabilities, dp (their gradient) becomes the gradient of the scores:
// ds = p (dp - sum(p dp)).
WEFT_VECTOR_CLONES
static void softmax_backward_rows(float *scores, float *dp, const float *log_sum, size_t first,
                                  size_t rows, size_t end)
{
    for (size_t r = 0; r < rows; r++) {
        float *p = scores + r * end, *d = dp + r * end;
        size_t visible = first + r + 1;
        float sums = log_sum[r];
        for (size_t c = 0; c < visible; c++)
            p[c] = weft_exp(p[c] - sums);
        double total = 0;
#pragma omp simd reduction(+ : total)
        for (size_t c = 0; c < visible; c++)
            total += (double)p[c] * (double)d[c];
        float shift = (float)total;
        for (size_t c = 0; c < visible; c++)
            d[c] = p[c] * (d[c] - shift);
        for (size_t c = visible; c < end; c++)
            p[c] = d[c] = 0.0f;
    }
}

// Blocks run from the last to the first: the last one reaches every key, so it overwrites the
// gradients of keys and values and the others add to them.
static void backward_head(const struct weft_attention_shape *shape, const struct head *head,
                          const float *query, const float *sums, const float *dresult,
                          float *dquery, float *scratch)
{
    const float *key = query + head->keys, *value = key + head->keys;
    float *dkey = dquery + head->keys, *dvalue = dkey + head->keys;
    int width = (int)head->width, stride = (int)head->stride, across = (int)head->keys;
    float *p = scratch, *dp = scratch + QUERY_BLOCK * shape->length;
    float keep = 0.0f;
    for (size_t first = (shape->length - 1) / QUERY_BLOCK * QUERY_BLOCK;; first -= QUERY_BLOCK) {
        size_t rows = block_rows(shape, first), end = first + rows;
        const float *q = query + first * head->stride, *d = dresult + first * head->keys;
        compute_scores(head, q, key, p, rows, end);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)end, width, 1.0f, d,
                    across, value, stride, 0.0f, dp, (int)end);
        softmax_backward_rows(p, dp, sums + first, first, rows, end);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)end, width, (int)rows, 1.0f, p,
                    (int)end, d, across, keep, dvalue, stride);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)end, width, (int)rows,
                    head->scale, dp, (int)end, q, stride, keep, dkey, stride);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, width, (int)end,
                    head->scale, dp, (int)end, key, stride, 0.0f, dquery + first * head->stride,
                    stride);
        keep = 1.0f;
        if (first == 0)
            break;
    }
}

void weft_attention_backward(const struct weft_attention_shape *shape, const float *qkv,
                             const float *log_sum, const float *dout, float *dqkv, float *scratch)
{
    struct head head = head_of(shape);
    for (size_t s = 0; s < shape->sequences; s++)
        for (size_t h = 0; h < shape->heads; h++) {
            size_t start = s * shape->length * head.stride + h * head.width;
            backward_head(
                shape, &head, qkv + start, log_sum + (s * shape->heads + h) * shape->length,
                dout + s * shape->length * head.keys + h * head.width, dqkv + start, scratch);
        }
}
