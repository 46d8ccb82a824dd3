/*
 * SPDX-License-Identifier: Apache-2.0
 * What the clients of tools/compare share, in C and C++: arguments, inputs whose sum is exact, the
 * check of outputs, and the timed loop, which is that of `weft bench`: one checked call per size,
 * warm-ups, then the mean over the loop, averaged over the ranks, and the median of the slowest
 * rank's time of each iteration. A client brings five functions.
 *
 * Arguments: COLLECTIVE MIN MAX FACTOR ITERATIONS WARM-UPS. Rank 0 prints a line for each size,
 * "BYTES MEAN P50 CHECKED": microseconds; CHECKED elements were compared, on all ranks together.
 */
#ifndef WEFT_TOOLS_PEERS_PEER_H
#define WEFT_TOOLS_PEERS_PEER_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PEER_CLOCK_MATTERS_BELOW_US = 5 }; // as in weft bench

enum peer_collective {
    PEER_ALL_REDUCE,
    PEER_ALL_GATHER,
    PEER_REDUCE_SCATTER,
    PEER_BROADCAST, // from rank 0, in `recv`
    PEER_ALL_TO_ALL,
    PEER_NUM_COLLECTIVES
};

struct peer_case {
    enum peer_collective collective;
    int rank, num_ranks;
    size_t count;         // elements of a block
    size_t send_elements; // count, or as many blocks as there are ranks
    size_t recv_elements; // the same
    float *send, *recv;
};

struct peer {
    /* Before the first run of a size, not timed. May set `recv` to where the output will be. */
    void (*prepare)(struct peer_case *c);
    void (*run)(const struct peer_case *c);
    void (*barrier)(void);
    double (*sum)(double mine); // over the ranks, known to all
    double (*max)(double mine); // the same
};

static inline double peer_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* ---- elements ---- */

// What `source` gives for element `i` of its block for `destination` (0 where all get the same).
static inline float peer_element(int source, int destination, size_t i)
{
    return (float)((i * 7 + (size_t)source * 31 + (size_t)destination * 5) % 509);
}

static inline void peer_fill(const struct peer_case *c)
{
    memset(c->recv, 0xa5, c->recv_elements * sizeof *c->recv);
    if (c->collective == PEER_BROADCAST) {
        for (size_t i = 0; c->rank == 0 && i < c->count; i++)
            c->recv[i] = peer_element(0, 0, i);
        return;
    }
    for (size_t i = 0; i < c->send_elements; i++)
        c->send[i] = peer_element(c->rank, (int)(i / c->count), i % c->count);
}

static inline float peer_expected(const struct peer_case *c, size_t i)
{
    float sum = 0;
    switch (c->collective) {
    case PEER_ALL_GATHER:
        return peer_element((int)(i / c->count), 0, i % c->count);
    case PEER_ALL_TO_ALL:
        return peer_element((int)(i / c->count), c->rank, i % c->count);
    case PEER_ALL_REDUCE:
    case PEER_REDUCE_SCATTER:
        for (int rank = 0; rank < c->num_ranks; rank++)
            sum += peer_element(rank, c->collective == PEER_ALL_REDUCE ? 0 : c->rank, i);
        return sum;
    default:
        return peer_element(0, 0, i);
    }
}

static inline size_t peer_count_wrong(const struct peer_case *c)
{
    size_t wrong = 0;
    for (size_t i = 0; i < c->recv_elements; i++)
        wrong += c->recv[i] != peer_expected(c, i);
    return wrong;
}

/* ---- the sweep ---- */

static inline void peer_set_size(struct peer_case *c, size_t bytes)
{
    size_t count = bytes / sizeof(float), ranks = (size_t)c->num_ranks;
    int has_blocks = c->collective != PEER_ALL_REDUCE && c->collective != PEER_BROADCAST;
    c->count = has_blocks ? count / ranks / 4 * 4 : count; // as nccl-tests and weft bench do it
    c->send_elements = c->count * (has_blocks && c->collective != PEER_ALL_GATHER ? ranks : 1);
    c->recv_elements = c->count * (has_blocks && c->collective != PEER_REDUCE_SCATTER ? ranks : 1);
}

static inline int peer_compare_times(const void *a, const void *b)
{
    const double *x = (const double *)a, *y = (const double *)b;
    return (*x > *y) - (*x < *y);
}

// Both figures. The clock is read at every iteration, unless that would be seen in the mean.
static inline void peer_time_loop(const struct peer *peer, const struct peer_case *c,
                                  int iterations, double *times_us, double *mean_us, double *p50_us)
{
    peer->barrier();
    double begin = peer_now_us(), last = begin;
    for (int i = 0; i < iterations; i++) {
        peer->run(c);
        double now = peer_now_us();
        times_us[i] = now - last;
        last = now;
    }
    *mean_us = peer->sum((last - begin) / iterations) / c->num_ranks;
    for (int i = 0; i < iterations; i++)
        times_us[i] = peer->max(times_us[i]);
    qsort(times_us, (size_t)iterations, sizeof *times_us, peer_compare_times);
    *p50_us = times_us[(iterations - 1) / 2];
    if (*mean_us >= PEER_CLOCK_MATTERS_BELOW_US)
        return;
    peer->barrier();
    begin = peer_now_us();
    for (int i = 0; i < iterations; i++)
        peer->run(c);
    *mean_us = peer->sum((peer_now_us() - begin) / iterations) / c->num_ranks;
}

// How many elements are wrong, over all ranks.
static inline double peer_time_size(const struct peer *peer, struct peer_case sized, size_t bytes,
                                    int iterations, int warmups, double *times_us)
{
    struct peer_case *c = &sized;
    double mean_us, p50_us;
    peer->prepare(c);
    peer_fill(c);
    peer->barrier();
    peer->run(c);
    double wrong = peer->sum((double)peer_count_wrong(c));
    double checked = peer->sum((double)c->recv_elements);
    for (int i = 0; i < warmups; i++)
        peer->run(c);
    peer_time_loop(peer, c, iterations, times_us, &mean_us, &p50_us);
    if (c->rank == 0 && wrong == 0)
        printf("%zu %.4f %.4f %.0f\n", bytes, mean_us, p50_us, checked);
    return wrong;
}

/* All of a client but its start and end: the exit code. `arguments` are the six. */
static inline int peer_sweep(const struct peer *peer, int rank, int num_ranks, char **arguments)
{
    static const char *const names[] = {"all_reduce", "all_gather", "reduce_scatter", "broadcast",
                                        "all_to_all"};
    int collective = 0;
    while (collective < PEER_NUM_COLLECTIVES && strcmp(names[collective], arguments[0]) != 0)
        collective++;
    size_t least = strtoull(arguments[1], NULL, 10), most = strtoull(arguments[2], NULL, 10);
    size_t factor = strtoull(arguments[3], NULL, 10);
    int iterations = atoi(arguments[4]), warmups = atoi(arguments[5]);
    struct peer_case c;
    memset(&c, 0, sizeof c);
    c.collective = (enum peer_collective)collective;
    c.rank = rank;
    c.num_ranks = num_ranks;
    c.send = (float *)malloc(most);
    c.recv = (float *)malloc(most);
    double *times_us =
        iterations > 0 ? (double *)calloc((size_t)iterations, sizeof *times_us) : NULL;
    int code = 0;
    if (collective == PEER_NUM_COLLECTIVES || least < sizeof(float) || factor < 2 || !times_us ||
        !c.send || !c.recv) {
        fprintf(stderr, "rank %d: bad arguments or no memory\n", rank);
        code = 2;
    }
    for (size_t bytes = least; code == 0 && bytes <= most; bytes *= factor) {
        peer_set_size(&c, bytes);
        double wrong = peer_time_size(peer, c, bytes, iterations, warmups, times_us);
        if (wrong != 0) {
            fprintf(stderr, "rank %d: %.0f elements of %zu bytes are wrong\n", rank, wrong, bytes);
            code = 1;
        }
    }
    free(times_us);
    free(c.send);
    free(c.recv);
    return code;
}

#endif
