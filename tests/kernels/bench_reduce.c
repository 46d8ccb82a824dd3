/*
 * SPDX-License-Identifier: Apache-2.0
 * Times the reductions: every type and operation in the first cache, each instruction set against
 * the plain loops; then sums of many vectors from memory against a plain copy. Medians of rounds in
 * which all that is compared takes turns. Only ratios of one run count.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kernels/reduce_variant.h"

enum { ROUNDS = 11, CACHED_BYTES = 8192, REPEATS = 64, MOST_VARIANTS = 4, MOST_SOURCES = 8 };
static const size_t large_bytes = (size_t)64 << 20;

static int compare(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median_ns(int64_t *times)
{
    qsort(times, ROUNDS, sizeof *times, compare);
    return (double)times[ROUNDS / 2];
}

static void time_operation(weft_dtype dtype, weft_op op, unsigned char *memory)
{
    const struct weft_reduce_variant *variant;
    int64_t times[MOST_VARIANTS][ROUNDS];
    size_t count = CACHED_BYTES / weft_dtype_bytes(dtype);
    int num_variants = 0;
    for (int round = 0; round < ROUNDS; round++)
        for (int v = 0; v < MOST_VARIANTS && (variant = weft_reduce_variant_at(v)); v++) {
            int64_t begin = weft_clock_ns();
            for (int i = 0; i < REPEATS; i++)
                variant->reduce[dtype][op](memory, memory + CACHED_BYTES, memory + 2 * CACHED_BYTES,
                                           count);
            times[v][round] = weft_clock_ns() - begin;
            num_variants = v + 1;
        }
    printf("%-7s %-7s", weft_dtypes[dtype].name, weft_ops[op].name);
    double plain_ns = median_ns(times[num_variants - 1]);
    for (int v = num_variants - 1; v >= 0; v--) {
        double ns = v == num_variants - 1 ? plain_ns : median_ns(times[v]);
        printf("  %s %6.1f GB/s (%.1fx)", weft_reduce_variant_at(v)->name,
               3.0 * CACHED_BYTES * REPEATS / ns, plain_ns / ns);
    }
    printf("\n");
}

struct pass {
    int num_sources, num_destinations;
    bool streams;
};

static void time_pass(const struct pass *pass, unsigned char *const *buffers)
{
    weft_reduce_all_fn sum = weft_reduce_all_lookup(WEFT_FLOAT32, WEFT_SUM);
    int64_t times[ROUNDS], copies[ROUNDS], streams[ROUNDS];
    const void *sources[MOST_SOURCES];
    void *destinations[2] = {buffers[MOST_SOURCES], buffers[MOST_SOURCES + 1]};
    for (int s = 0; s < pass->num_sources; s++)
        sources[s] = buffers[s];
    for (int round = 0; round < ROUNDS; round++) {
        int64_t begin = weft_clock_ns();
        sum(destinations, pass->num_destinations, sources, pass->num_sources, large_bytes / 4,
            pass->streams ? UINT64_MAX : 0);
        int64_t middle = weft_clock_ns();
        memmove(destinations[0], sources[0], large_bytes);
        int64_t later = weft_clock_ns();
        sum(destinations, 1, sources, 1, large_bytes / 4, UINT64_MAX);
        times[round] = middle - begin;
        copies[round] = later - middle;
        streams[round] = weft_clock_ns() - later;
    }
    double bytes = (double)large_bytes;
    printf("%d to %d%s: %.1f GB/s; copied by libc: %.1f GB/s; streamed copy: %.1f GB/s\n",
           pass->num_sources, pass->num_destinations, pass->streams ? ", streamed" : "",
           bytes * (pass->num_sources + pass->num_destinations) / median_ns(times),
           2 * bytes / median_ns(copies), 2 * bytes / median_ns(streams));
}

int main(void)
{
    static const struct pass passes[] = {{2, 1, false}, {2, 1, true}, {2, 2, false}, {2, 2, true},
                                         {4, 1, true},  {8, 1, true}, {4, 2, true}};
    static unsigned char memory[3 * CACHED_BYTES];
    unsigned char *buffers[MOST_SOURCES + 2];
    memset(memory, 0x3c, sizeof memory); // an ordinary number in every floating type
    for (int dtype = 0; dtype < WEFT_NUM_DTYPES; dtype++)
        for (int op = 0; op < WEFT_NUM_OPS; op++)
            if (op != WEFT_AVG && op != WEFT_PREMUL_SUM &&
                weft_op_takes((weft_op)op, (weft_dtype)dtype))
                time_operation((weft_dtype)dtype, (weft_op)op, memory);
    for (int i = 0; i < MOST_SOURCES + 2; i++) {
        // Vectors that all begin at the same place of a page would fall on the same cache lines.
        unsigned char *room = malloc(large_bytes + 64 * 1024);
        if (!room)
            return 1;
        buffers[i] = room + (size_t)i * 4160;
        memset(buffers[i], 0x3c, large_bytes);
    }
    printf("float32 sums of %zu MiB, bytes read and written:\n", large_bytes >> 20);
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        time_pass(&passes[i], buffers);
    return 0;
}
