/*
 * SPDX-License-Identifier: Apache-2.0
 * How much of an all-reduce a computing caller still notices. Prints, for rank 0 of a world from
 * the environment: the all-reduce alone, arithmetic of the same length alone, and both together
 * with the caller out of the library; exposed = (both - compute) / all-reduce. With the processor
 * time that other threads of the process took, which is the progress thread's, and how often it was
 * put to sleep. Between two ranks also what the sockets alone cost (bare_exchange.h), in the same
 * turns: where every rank computes on a core of its own and none is left, the processor time of the
 * network is exposed, whatever the library does. With COMPUTING only so many ranks compute, the
 * others wait for the all-reduce. No test.
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
#include "tests/comm/bare_exchange.h"
#include "weft/weft.h"

enum { ROUNDS_LIMIT = 1000, BAR_PERCENT = 10 }; // the limit holds for ranks that compute, too

/* What moves in a round: nothing, an all-reduce, or as many bytes through a bare socket. */
enum traffic { NOTHING, LIBRARY, BARE };

// Registers only: it competes for the core, not for memory. The seed keeps it from being dropped.
static uint64_t compute(uint64_t seed, uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++)
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return seed;
}

/* Of a thread, or of the process. */
struct usage {
    int64_t cpu_ns, sleeps;
};

static struct usage usage_of(int who)
{
    struct rusage usage;
    if (getrusage(who, &usage) != 0)
        return (struct usage){0, 0};
    return (struct usage){
        ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
            ((int64_t)usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000,
        usage.ru_nvcsw,
    };
}

// Of all threads but the caller's.
static struct usage usage_of_others(void)
{
    struct usage all = usage_of(RUSAGE_SELF), own = usage_of(RUSAGE_THREAD);
    return (struct usage){all.cpu_ns - own.cpu_ns, all.sleeps - own.sleeps};
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
    struct bare_exchange *bare; // NULL: not two ranks
    float *data;
    size_t count;
    int rounds, computing;
    uint64_t steps, sink;
    struct usage others; // of the last round
    int64_t waited_ns;   // of the last round, after the compute
};

static void must(bool is_well, const char *what)
{
    if (is_well)
        return;
    fprintf(stderr, "bench_overlap: %s has failed\n", what);
    exit(1);
}

static int64_t time_once(struct bench *bench, enum traffic traffic, bool has_compute)
{
    weft_request request;
    must(weft_barrier(bench->comm, NULL) == WEFT_OK, "barrier");
    struct usage before = usage_of_others();
    int64_t begin = weft_clock_ns();
    if (traffic == LIBRARY)
        must(weft_all_reduce(bench->data, bench->data, bench->count, WEFT_FLOAT32, WEFT_MAX,
                             bench->comm, &request) == WEFT_OK,
             "all-reduce");
    else if (traffic == BARE)
        bare_exchange_begin(bench->bare);
    if (has_compute && weft_comm_rank(bench->comm) < bench->computing)
        bench->sink += compute(bench->sink, bench->steps);
    bench->waited_ns = weft_clock_ns();
    if (traffic == LIBRARY)
        must(weft_wait(&request) == WEFT_OK, "wait");
    else if (traffic == BARE)
        must(bare_exchange_wait(bench->bare) == 0, "exchange");
    int64_t end = weft_clock_ns();
    bench->waited_ns = end - bench->waited_ns;
    struct usage after = usage_of_others();
    bench->others = (struct usage){after.cpu_ns - before.cpu_ns, after.sleeps - before.sleeps};
    return end - begin;
}

// All ranks compute a fifth longer than the slowest all-reduce took.
static void calibrate(struct bench *bench)
{
    static int64_t calls[ROUNDS_LIMIT], computes[ROUNDS_LIMIT];
    bench->steps = 10000000;
    for (int i = -2; i < bench->rounds; i++) { // two to warm up
        calls[i < 0 ? 0 : i] = time_once(bench, LIBRARY, false);
        computes[i < 0 ? 0 : i] = time_once(bench, NOTHING, true);
        if (bench->bare && i < 0)
            time_once(bench, BARE, false);
    }
    int64_t longest = median(calls, bench->rounds), took = median(computes, bench->rounds);
    must(weft_all_reduce(&longest, &longest, 1, WEFT_INT64, WEFT_MAX, bench->comm, NULL) == WEFT_OK,
         "agree");
    if (weft_comm_rank(bench->comm) >= bench->computing)
        bench->steps = 1;
    else
        bench->steps = (uint64_t)((double)bench->steps * (double)longest / (double)took * 1.2) + 1;
    must(weft_all_reduce(&bench->steps, &bench->steps, 1, WEFT_UINT64, WEFT_MAX, bench->comm,
                         NULL) == WEFT_OK,
         "agree");
}

/* Of one kind of traffic, a figure for each round. */
struct series {
    int64_t alone_ns[ROUNDS_LIMIT], both_ns[ROUNDS_LIMIT], exposed_ns[ROUNDS_LIMIT];
    int64_t waited_ns[ROUNDS_LIMIT], others_ns[ROUNDS_LIMIT], sleeps[ROUNDS_LIMIT];
};

/* Medians: of all ranks' mean, or of each round's worst rank. */
struct figures {
    double alone_ms, both_ms, waited_ms, others_ms, sleeps, exposed, exposed_worst; // in percent
};

static double over_ranks(struct bench *bench, const int64_t *values, weft_op op)
{
    static int64_t all[ROUNDS_LIMIT];
    must(weft_all_reduce(values, all, (size_t)bench->rounds, WEFT_INT64, op, bench->comm, NULL) ==
             WEFT_OK,
         "agree");
    return (double)median(all, bench->rounds);
}

static struct figures figures_of(struct bench *bench, const struct series *series)
{
    const double ms = 1e-6;
    double alone_ns = over_ranks(bench, series->alone_ns, WEFT_MAX);
    return (struct figures){
        .alone_ms = ms * alone_ns,
        .both_ms = ms * over_ranks(bench, series->both_ns, WEFT_MAX),
        .waited_ms = ms * over_ranks(bench, series->waited_ns, WEFT_MAX),
        .others_ms = ms * over_ranks(bench, series->others_ns, WEFT_AVG),
        .sleeps = over_ranks(bench, series->sleeps, WEFT_AVG),
        .exposed = 100 * over_ranks(bench, series->exposed_ns, WEFT_AVG) / alone_ns,
        .exposed_worst = 100 * over_ranks(bench, series->exposed_ns, WEFT_MAX) / alone_ns,
    };
}

static void report_row(const char *name, const struct figures *figures)
{
    printf("%-10s %8.3f %8.3f %8.3f %8.3f %7.0f %8.1f %8.1f\n", name, figures->alone_ms,
           figures->both_ms, figures->waited_ms, figures->others_ms, figures->sleeps,
           figures->exposed, figures->exposed_worst);
}

// `bare`: NULL where there is none.
static void report(const struct bench *bench, const struct figures *library,
                   const struct figures *bare, double compute_ms)
{
    int ranks = weft_comm_num_ranks(bench->comm);
    const char *transport = weft_comm_transport(bench->comm);
    printf("%d ranks over %s, of which %d compute, %zu bytes, medians of %d rounds, compute alone "
           "%.3f ms\n",
           ranks, transport, bench->computing < ranks ? bench->computing : ranks,
           bench->count * sizeof *bench->data, bench->rounds, compute_ms);
    printf("%-10s %8s %8s %8s %8s %7s %8s %8s\n", "", "alone", "both", "waiting", "thread",
           "sleeps", "exposed", "exposed");
    printf("%-10s %8s %8s %8s %8s %7s %8s %8s\n", "", "ms", "ms", "ms", "ms", "", "mean %",
           "worst %");
    report_row("all-reduce", library);
    if (bare)
        report_row("bare loop", bare);
    bool is_void = compute_ms < library->alone_ms || library->exposed < -BAR_PERCENT;
    if (is_void)
        printf("void: the machine was busy, and the compute took as long as it liked\n");
    else if (!strcmp(transport, "tcp"))
        printf("exposed of the all-reduce, on the worst rank: %.1f %%, bar %d %%: %s\n",
               library->exposed_worst, BAR_PERCENT,
               library->exposed_worst <= BAR_PERCENT ? "met" : "not met");
}

// In turns, and differences of neighbours: the machine drifts. `before` and what is returned: the
// compute alone.
static int64_t measure_round(struct bench *bench, enum traffic traffic, struct series *series,
                             int round, int64_t before)
{
    series->alone_ns[round] = time_once(bench, traffic, false);
    series->both_ns[round] = time_once(bench, traffic, true);
    series->others_ns[round] = bench->others.cpu_ns;
    series->sleeps[round] = bench->others.sleeps;
    series->waited_ns[round] = bench->waited_ns;
    int64_t after = time_once(bench, NOTHING, true);
    series->exposed_ns[round] = series->both_ns[round] - (before + after) / 2;
    return after;
}

static void measure(struct bench *bench)
{
    static int64_t computes[ROUNDS_LIMIT];
    static struct series library, bare;
    calibrate(bench);
    int64_t compute_ns = time_once(bench, NOTHING, true);
    for (int i = 0; i < bench->rounds; i++) {
        compute_ns = measure_round(bench, LIBRARY, &library, i, compute_ns);
        if (bench->bare)
            compute_ns = measure_round(bench, BARE, &bare, i, compute_ns);
        computes[i] = compute_ns;
    }
    double compute_ms = over_ranks(bench, computes, WEFT_MAX) / 1e6;
    struct figures of_library = figures_of(bench, &library), of_bare = {0};
    if (bench->bare)
        of_bare = figures_of(bench, &bare);
    if (weft_comm_rank(bench->comm) == 0)
        report(bench, &of_library, bench->bare ? &of_bare : NULL, compute_ms);
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
    must(weft_context_create(&context) == WEFT_OK, "context");
    must(weft_comm_create_from_environment(context, &bench.comm, NULL) == WEFT_OK, "communicator");
    bench.data = calloc(bench.count, sizeof *bench.data);
    must(bench.data != NULL, "memory");
    if (weft_comm_num_ranks(bench.comm) == 2) {
        bench.bare = bare_exchange_open(bench.comm, bench.count * sizeof *bench.data);
        must(bench.bare != NULL, "bare exchange");
    }
    measure(&bench);
    bare_exchange_close(&bench.bare);
    must(weft_comm_finalize(bench.comm, NULL) == WEFT_OK, "finalize");
    weft_comm_destroy(&bench.comm);
    weft_context_destroy(&context);
    free(bench.data);
    return bench.sink == 0;
}
