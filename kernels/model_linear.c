/*
 * SPDX-License-Identifier: Apache-2.0
 * Linear layers: three matrix products handed to BLAS, and the bias. Nearly all the arithmetic of
 * training happens here, so nothing else may copy or transpose what BLAS can read in place.
 */
#include "kernels/model_ops.h"

#include <cblas.h>
#include <string.h>

#include "kernels/model_vector.h"

enum { COLUMN_BLOCK = 256 };

// Only OpenBLAS has it; with another BLAS the symbol is absent and the call is skipped.
extern void openblas_set_num_threads(int num_threads) __attribute__((weak));

void weft_blas_use_one_thread(void)
{
    if (openblas_set_num_threads)
        openblas_set_num_threads(1);
}

void weft_linear_forward(const float *x, const float *weight, const float *bias, float *y,
                         size_t rows, size_t in, size_t out)
{
    for (size_t row = 0; bias && row < rows; row++)
        memcpy(y + row * out, bias, out * sizeof *y);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)out, (int)in, 1.0f, x,
                (int)in, weight, (int)in, bias ? 1.0f : 0.0f, y, (int)out);
}

// Column sums in double, a block of columns at a time so that the sums stay in the first cache.
WEFT_VECTOR_CLONES
static void add_column_sums(const float *dy, float *dbias, size_t rows, size_t out)
{
    for (size_t first = 0; first < out; first += COLUMN_BLOCK) {
        size_t columns = out - first < COLUMN_BLOCK ? out - first : COLUMN_BLOCK;
        double sum[COLUMN_BLOCK] = {0};
        for (size_t row = 0; row < rows; row++) {
            const float *line = dy + row * out + first;
            for (size_t c = 0; c < columns; c++)
                sum[c] += (double)line[c];
        }
        for (size_t c = 0; c < columns; c++)
            dbias[first + c] = (float)((double)dbias[first + c] + sum[c]);
    }
}

void weft_linear_backward(const float *x, const float *weight, const float *dy, float *dx,
                          float *dweight, float *dbias, size_t rows, size_t in, size_t out)
{
    if (dx)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)in, (int)out, 1.0f,
                    dy, (int)out, weight, (int)in, 0.0f, dx, (int)in);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)out, (int)in, (int)rows, 1.0f, dy,
                (int)out, x, (int)in, 1.0f, dweight, (int)in);
    if (dbias)
        add_column_sums(dy, dbias, rows, out);
}
