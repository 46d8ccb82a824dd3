/*
 * SPDX-License-Identifier: Apache-2.0
 * What the clients of tools/compare share, in C and C++: arguments, inputs whose sum is exact, the
 * check of outputs, and the timed loop, which is that of `weft bench`: one checked call per size,
 * warm-ups, then the mean over the loop, averaged over the ranks. A client brings four functions.
 *
 * Arguments: COLLECTIVE MIN MAX FACTOR ITERATIONS WARM-UPS. Rank 0 prints a line for each size,
 * "BYTES MICROSECONDS CHECKED": CHECKED elements were compared, on all ranks together.
 */
#ifndef WEFT_TOOLS_PEERS_PEER_H
#define WEFT_TOOLS_PEERS_PEER_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

// How many elements are wrong, over all ranks.
static inline double peer_time_size(const struct peer *peer, struct peer_case sized, size_t bytes,
                                    int iterations, int warmups)
{
    struct peer_case *c = &sized;
    peer->prepare(c);
    peer_fill(c);
    peer->barrier();
    peer->run(c);
    double wrong = peer->sum((double)peer_count_wrong(c));
    double checked = peer->sum((double)c->recv_elements);
    for (int i = 0; i < warmups; i++)
        peer->run(c);
    peer->barrier();
    double begin = peer_now_us();
    for (int i = 0; i < iterations; i++)
        peer->run(c);
    double mean_us = peer->sum((peer_now_us() - begin) / iterations) / c->num_ranks;
    if (c->rank == 0 && wrong == 0)
        printf("%zu %.4f %.0f\n", bytes, mean_us, checked);
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
    int code = 0;
    if (collective == PEER_NUM_COLLECTIVES || least < sizeof(float) || factor < 2 ||
        iterations < 1 || !c.send || !c.recv) {
        fprintf(stderr, "rank %d: bad arguments or no memory\n", rank);
        code = 2;
    }
    for (size_t bytes = least; code == 0 && bytes <= most; bytes *= factor) {
        peer_set_size(&c, bytes);
        double wrong = peer_time_size(peer, c, bytes, iterations, warmups);
        if (wrong != 0) {
            fprintf(stderr, "rank %d: %.0f elements of %zu bytes are wrong\n", rank, wrong, bytes);
            code = 1;
        }
    }
    free(c.send);
    free(c.recv);
    return code;
}

#endif
