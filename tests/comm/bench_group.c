/*
 * SPDX-License-Identifier: Apache-2.0
 * What a group is worth. Prints, for rank 0 of a world from the environment, per size: so many
 * all-reduces one after another, all of them outstanding at once, and all in one group, in turns;
 * medians. WEFT_JOIN_BYTES says up to which size those of a group travel as one. No test.
 *
 *   weft launch -n 2 bench_group [CALLS [ROUNDS [LEAST [MOST [malloc|mem]]]]]
 *   tools/netcluster -n 4 -- bench_group
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "weft/weft.h"

enum { CALLS_LIMIT = 1024, ROUNDS_LIMIT = 10000, NUM_WAYS = 3 };

struct bench {
    weft_context *context;
    weft_comm *comm;
    float *data; // (calls, count)
    size_t count;
    int calls, rounds;
    weft_request requests[CALLS_LIMIT];
};

static void must(weft_status status, const char *what)
{
    if (status == WEFT_OK)
        return;
    fprintf(stderr, "bench_group: %s: %s\n", what, weft_status_text(status));
    exit(1);
}

static void call(struct bench *bench, int i, weft_request *request)
{
    float *place = bench->data + (size_t)i * bench->count;
    must(weft_all_reduce(place, place, bench->count, WEFT_FLOAT32, WEFT_MAX, bench->comm, request),
         "all-reduce");
}

static void in_a_row(struct bench *bench)
{
    for (int i = 0; i < bench->calls; i++)
        call(bench, i, NULL);
}

static void outstanding(struct bench *bench)
{
    for (int i = 0; i < bench->calls; i++)
        call(bench, i, &bench->requests[i]);
    for (int i = 0; i < bench->calls; i++)
        must(weft_wait(&bench->requests[i]), "wait");
}

static void grouped(struct bench *bench)
{
    must(weft_group_begin(bench->context), "group");
    for (int i = 0; i < bench->calls; i++)
        call(bench, i, NULL);
    must(weft_group_end(bench->context, NULL), "group");
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void measure(struct bench *bench, double medians_us[NUM_WAYS])
{
    static void (*const ways[NUM_WAYS])(struct bench *) = {in_a_row, outstanding, grouped};
    static int64_t took_ns[NUM_WAYS][ROUNDS_LIMIT];
    for (int round = -3; round < bench->rounds; round++) // three to warm up
        for (int way = 0; way < NUM_WAYS; way++) {
            must(weft_barrier(bench->comm, NULL), "barrier");
            int64_t begin_ns = weft_clock_ns();
            ways[way](bench);
            took_ns[way][round < 0 ? 0 : round] = weft_clock_ns() - begin_ns;
        }
    for (int way = 0; way < NUM_WAYS; way++) {
        qsort(took_ns[way], (size_t)bench->rounds, sizeof *took_ns[way], by_value);
        medians_us[way] = (double)took_ns[way][bench->rounds / 2] / 1e3;
    }
}

static long argument(int argc, char **argv, int i, long fallback)
{
    return argc > i ? atol(argv[i]) : fallback;
}

int main(int argc, char **argv)
{
    long calls = argument(argc, argv, 1, 32), rounds = argument(argc, argv, 2, 51);
    long least = argument(argc, argv, 3, 64), most = argument(argc, argv, 4, 64 << 10);
    bool is_shared = argc > 5 && !strcmp(argv[5], "mem");
    if (calls < 1 || calls > CALLS_LIMIT || rounds < 1 || rounds > ROUNDS_LIMIT || least < 4 ||
        most < least || most > 1 << 20) {
        fprintf(stderr,
                "usage: bench_group [CALLS [ROUNDS [LEAST [MOST [malloc|mem]]]]]; up to %d calls, "
                "%d rounds, sizes from 4 bytes to 1 MiB, mem: buffers of weft_mem_alloc\n",
                CALLS_LIMIT, ROUNDS_LIMIT);
        return 2;
    }
    static struct bench bench;
    bench.calls = (int)calls;
    bench.rounds = (int)rounds;
    must(weft_context_create(&bench.context), "context");
    must(weft_comm_create_from_environment(bench.context, &bench.comm, NULL), "communicator");
    void *memory = NULL;
    if (is_shared)
        must(weft_mem_alloc(bench.context, (size_t)(calls * most), &memory), "memory");
    else if (!(memory = calloc((size_t)calls, (size_t)most)))
        return 1;
    bench.data = memory;
    if (weft_comm_rank(bench.comm) == 0)
        printf("%ld all-reduces, %d ranks, us for all of them, medians of %ld rounds\n"
               "%8s %10s %12s %10s %8s %8s\n",
               calls, weft_comm_num_ranks(bench.comm), rounds, "bytes", "in a row", "outstanding",
               "group", "row/g", "outst/g");
    for (long bytes = least; bytes <= most; bytes *= 2) {
        double us[NUM_WAYS];
        bench.count = (size_t)bytes / sizeof *bench.data;
        measure(&bench, us);
        if (weft_comm_rank(bench.comm) == 0)
            printf("%8ld %10.1f %12.1f %10.1f %8.2f %8.2f\n", bytes, us[0], us[1], us[2],
                   us[0] / us[2], us[1] / us[2]);
    }
    must(weft_comm_finalize(bench.comm, NULL), "finalize");
    weft_comm_destroy(&bench.comm);
    weft_context_destroy(&bench.context);
    if (!is_shared)
        free(memory);
    return 0;
}
