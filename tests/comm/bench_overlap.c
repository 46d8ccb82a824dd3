/*
 * SPDX-License-Identifier: Apache-2.0
 * How much of an all-reduce a computing caller still notices. Prints, for rank 0 of a world from
 * the environment: the all-reduce alone, arithmetic of the same length alone, and both together
 * with the caller out of the library; exposed = (both - compute) / all-reduce. With the processor
 * time that other threads of the process took, which is the progress thread's. With COMPUTING only
 * so many ranks compute, the others wait for the all-reduce: where every rank computes on a core of
 * its own and none is left, the progress thread's time is exposed, whatever the library does. No
 * test.
 *
 *   WEFT_PROGRESS=thread tools/netcluster -n 2 -- bench_overlap [BYTES [ROUNDS [COMPUTING]]]
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "collectives/comm/describe.h"
#include "weft/weft.h"

enum { ROUNDS_LIMIT = 1000, BAR_PERCENT = 10 }; // the limit holds for ranks that compute, too

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
    int64_t cpu_others_ns, waited_ns; // of the last round: others' time; after the compute
};

/* Medians. */
struct figures {
    int64_t call_ns, compute_ns, both_ns, waited_ns, others_ns, exposed_ns;
};

static void must(weft_status status, const char *what)
{
    if (status == WEFT_OK)
        return;
    fprintf(stderr, "bench_overlap: %s: %s\n", what, weft_status_text(status));
    exit(1);
}

static int64_t time_once(struct bench *bench, bool has_call, bool has_compute)
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
    bench->waited_ns = weft_clock_ns();
    if (has_call)
        must(weft_wait(&request), "wait");
    int64_t end = weft_clock_ns();
    bench->waited_ns = end - bench->waited_ns;
    bench->cpu_others_ns = cpu_ns(RUSAGE_SELF) - cpu_ns(RUSAGE_THREAD) - others;
    return end - begin;
}

// All ranks compute a fifth longer than the slowest all-reduce took.
static void calibrate(struct bench *bench)
{
    static int64_t calls[ROUNDS_LIMIT], computes[ROUNDS_LIMIT];
    bench->steps = 10000000;
    for (int i = -2; i < bench->rounds; i++) { // two to warm up
        calls[i < 0 ? 0 : i] = time_once(bench, true, false);
        computes[i < 0 ? 0 : i] = time_once(bench, false, true);
    }
    int64_t longest = median(calls, bench->rounds), took = median(computes, bench->rounds);
    must(weft_all_reduce(&longest, &longest, 1, WEFT_INT64, WEFT_MAX, bench->comm, NULL), "agree");
    if (weft_comm_rank(bench->comm) >= bench->computing)
        bench->steps = 1;
    else
        bench->steps = (uint64_t)((double)bench->steps * (double)longest / (double)took * 1.2) + 1;
    must(weft_all_reduce(&bench->steps, &bench->steps, 1, WEFT_UINT64, WEFT_MAX, bench->comm, NULL),
         "agree");
}

static double ms(int64_t ns)
{
    return (double)ns / 1e6;
}

static void report(const struct bench *bench, const struct figures *figures)
{
    int ranks = weft_comm_num_ranks(bench->comm);
    const char *transport = weft_comm_transport(bench->comm);
    double exposed = (double)figures->exposed_ns / (double)figures->call_ns * 100;
    printf("%d ranks over %s, of which %d compute, %zu bytes, medians of %d rounds of rank 0\n",
           ranks, transport, bench->computing < ranks ? bench->computing : ranks,
           bench->count * sizeof *bench->data, bench->rounds);
    printf("all-reduce %.3f ms, compute %.3f ms, both %.3f ms, of which waiting at the end %.3f\n",
           ms(figures->call_ns), ms(figures->compute_ns), ms(figures->both_ns),
           ms(figures->waited_ns));
    printf(
        "processor time of the progress thread while both run: %.3f ms, %.1f %% of the compute\n",
        ms(figures->others_ns), (double)figures->others_ns / (double)figures->compute_ns * 100);
    printf("exposed of the all-reduce: %.1f %%", exposed);
    if (!strcmp(transport, "tcp") && figures->compute_ns >= figures->call_ns)
        printf(", bar %d %%: %s", BAR_PERCENT, exposed <= BAR_PERCENT ? "met" : "not met");
    printf("\n");
    if (figures->compute_ns < figures->call_ns)
        printf("void: the machine was busy, and the compute is shorter than the all-reduce\n");
}

static void measure(struct bench *bench)
{
    static int64_t calls[ROUNDS_LIMIT], computes[ROUNDS_LIMIT], both[ROUNDS_LIMIT];
    static int64_t others[ROUNDS_LIMIT], waited[ROUNDS_LIMIT], exposed[ROUNDS_LIMIT];
    int rounds = bench->rounds;
    calibrate(bench);
    for (int i = 0; i < rounds;
         i++) { // in turns, and differences of neighbours: the machine drifts
        calls[i] = time_once(bench, true, false);
        int64_t before = time_once(bench, false, true);
        both[i] = time_once(bench, true, true);
        others[i] = bench->cpu_others_ns;
        waited[i] = bench->waited_ns;
        computes[i] = (before + time_once(bench, false, true)) / 2;
        exposed[i] = both[i] - computes[i];
    }
    const struct figures figures = {
        .call_ns = median(calls, rounds),
        .compute_ns = median(computes, rounds),
        .both_ns = median(both, rounds),
        .waited_ns = median(waited, rounds),
        .others_ns = median(others, rounds),
        .exposed_ns = median(exposed, rounds),
    };
    if (weft_comm_rank(bench->comm) == 0)
        report(bench, &figures);
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
