/*
 * SPDX-License-Identifier: Apache-2.0
 * How much of an all-reduce a computing caller still notices. Prints, for rank 0 of a world from
 * the environment: the all-reduce alone, arithmetic of the same length alone, and both together
 * with the caller out of the library; exposed = (both - compute) / all-reduce. With the processor
 * time that others of the process than the computing thread took. With COMPUTING only so many ranks
 * compute, the others wait for the all-reduce: where every rank computes on a core of its own and
 * none is left, the progress thread's time is exposed, whatever the library does. No test.
 *
 *   WEFT_PROGRESS=thread tools/netcluster -n 2 -- bench_overlap [BYTES [ROUNDS [COMPUTING]]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "weft/weft.h"

enum { ROUNDS_LIMIT = 1000 }; // and of ranks that compute

// Registers only: it competes for the core, not for memory. The seed keeps it from being dropped.
static uint64_t compute(uint64_t seed, uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++)
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return seed;
}

static int64_t cpu_ns(int who)
{
    struct rusage usage;
    if (getrusage(who, &usage) != 0)
        return 0;
    return ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
           ((int64_t)usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t median(int64_t *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

struct bench {
    weft_comm *comm;
    float *data;
    size_t count;
    int rounds, computing;
    uint64_t steps, sink;
    int64_t cpu_others_ns, computed_ns; // of the last round: others' time; end of the compute
};

static void must(weft_status status, const char *what)
{
    if (status == WEFT_OK)
        return;
    fprintf(stderr, "bench_overlap: %s: %s\n", what, weft_status_text(status));
    exit(1);
}

static int64_t time_once(struct bench *bench, int has_call, int has_compute)
{
    weft_request request;
    must(weft_barrier(bench->comm, NULL), "barrier");
    int64_t others = cpu_ns(RUSAGE_SELF) - cpu_ns(RUSAGE_THREAD), begin = weft_clock_ns();
    if (has_call)
        must(weft_all_reduce(bench->data, bench->data, bench->count, WEFT_FLOAT32, WEFT_MAX,
                             bench->comm, &request),
             "all-reduce");
    if (has_compute && weft_comm_rank(bench->comm) < bench->computing)
        bench->sink += compute(bench->sink, bench->steps);
    bench->computed_ns = weft_clock_ns() - begin;
    if (has_call)
        must(weft_wait(&request), "wait");
    int64_t took = weft_clock_ns() - begin;
    bench->cpu_others_ns = cpu_ns(RUSAGE_SELF) - cpu_ns(RUSAGE_THREAD) - others;
    return took;
}

// All ranks compute as long as the slowest all-reduce took.
static void calibrate(struct bench *bench)
{
    static int64_t alone[ROUNDS_LIMIT];
    int64_t longest;
    for (int i = 0; i < bench->rounds + 2; i++) // two to warm up
        alone[i < 2 ? 0 : i - 2] = time_once(bench, 1, 0);
    longest = median(alone, bench->rounds);
    must(weft_all_reduce(&longest, &longest, 1, WEFT_INT64, WEFT_MAX, bench->comm, NULL), "agree");
    bench->steps = 10000000;
    for (int i = 0; i < bench->rounds; i++)
        alone[i] = time_once(bench, 0, 1);
    int64_t took = median(alone, bench->rounds);
    if (weft_comm_rank(bench->comm) >= bench->computing)
        bench->steps = 1;
    else
        bench->steps = (uint64_t)((double)bench->steps * (double)longest / (double)took * 1.2) + 1;
    must(weft_all_reduce(&bench->steps, &bench->steps, 1, WEFT_UINT64, WEFT_MAX, bench->comm, NULL),
         "agree");
}

static void measure(struct bench *bench)
{
    static int64_t calls[ROUNDS_LIMIT], computes[ROUNDS_LIMIT], both[ROUNDS_LIMIT];
    static int64_t others[ROUNDS_LIMIT], computed[ROUNDS_LIMIT];
    calibrate(bench);
    for (int i = 0; i < bench->rounds; i++) { // in turns: the machine drifts
        calls[i] = time_once(bench, 1, 0);
        computes[i] = time_once(bench, 0, 1);
        both[i] = time_once(bench, 1, 1);
        others[i] = bench->cpu_others_ns;
        computed[i] = bench->computed_ns;
    }
    if (weft_comm_rank(bench->comm) != 0)
        return;
    double call = (double)median(calls, bench->rounds) / 1e6;
    double alone = (double)median(computes, bench->rounds) / 1e6;
    double together = (double)median(both, bench->rounds) / 1e6;
    int ranks = weft_comm_num_ranks(bench->comm);
    printf("%d ranks, of which %d compute, %zu bytes, %d rounds, medians of rank 0\n", ranks,
           bench->computing < ranks ? bench->computing : ranks, bench->count * sizeof *bench->data,
           bench->rounds);
    printf("all-reduce %.3f ms, compute %.3f ms, both %.3f ms, exposed %.1f %%\n", call, alone,
           together, (together - alone) / call * 100);
    if (alone < call)
        printf("void: the machine was busy, and the compute is shorter than the all-reduce\n");
    printf("of both, until the compute ended: %.3f ms\n",
           (double)median(computed, bench->rounds) / 1e6);
    printf("processor time of other threads while both run: %.3f ms\n",
           (double)median(others, bench->rounds) / 1e6);
}

int main(int argc, char **argv)
{
    long bytes = argc > 1 ? atol(argv[1]) : 8 << 20, rounds = argc > 2 ? atol(argv[2]) : 15;
    long computing = argc > 3 ? atol(argv[3]) : ROUNDS_LIMIT;
    if (bytes < 4 || rounds < 1 || rounds > ROUNDS_LIMIT || computing < 1 ||
        computing > ROUNDS_LIMIT) {
        fprintf(stderr, "usage: bench_overlap [BYTES [ROUNDS [COMPUTING]]], up to %d rounds\n",
                ROUNDS_LIMIT);
        return 2;
    }
    weft_context *context;
    struct bench bench = {.count = (size_t)bytes / sizeof(float),
                          .rounds = (int)rounds,
                          .computing = (int)computing,
                          .sink = 1};
    must(weft_context_create(&context), "context");
    must(weft_comm_create_from_environment(context, &bench.comm, NULL), "communicator");
    bench.data = calloc(bench.count, sizeof *bench.data);
    if (!bench.data)
        return 1;
    measure(&bench);
    must(weft_comm_finalize(bench.comm, NULL), "finalize");
    weft_comm_destroy(&bench.comm);
    weft_context_destroy(&context);
    free(bench.data);
    return bench.sink == 0;
}
