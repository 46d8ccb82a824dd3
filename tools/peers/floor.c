/*
 * SPDX-License-Identifier: Apache-2.0
 * No peer but the floor under a collective of S bytes on two cores, of two processes, each on a
 * core of its own. Of memory: all buffers are shared, each process reads what it needs and writes
 * what comes of it once, and there is one barrier. In an all-reduce each adds up half of two
 * vectors and writes the sum to two others, 4*S of memory traffic. Stores that bypass the caches
 * are used where a trial finds them faster. Of TCP: they send each other S bytes over one
 * connection, in one go where the socket takes it, ask for what comes until it has come, and add.
 * Arguments: shm or tcp, then those of peer.h; over tcp for all_reduce.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __SSE__
#include <immintrin.h>
#endif

#include "tools/peers/peer.h"

enum { NUM_RANKS = 2, LINE = 64, FLOATS = LINE / sizeof(float) };

struct shared {
    _Alignas(LINE) atomic_uint arrived;
    _Alignas(LINE) double terms[NUM_RANKS];
};
static struct shared *shared;
static float *vectors[2 * NUM_RANKS]; // two inputs, two outputs
static int rank;
static bool bypass;
static unsigned turn;
static int sockets[NUM_RANKS] = {-1, -1}; // the ends of one connection; shm: none

typedef float line __attribute__((vector_size(LINE), aligned(4)));

static void barrier(void)
{
    turn += NUM_RANKS;
    atomic_fetch_add(&shared->arrived, 1);
    for (int spins = 0; (int)(atomic_load(&shared->arrived) - turn) < 0; spins++)
        if (spins > 1000)
            sched_yield();
}

static double sum(double mine)
{
    shared->terms[rank] = mine;
    barrier();
    double total = shared->terms[0] + shared->terms[1];
    barrier();
    return total;
}

static double max(double mine)
{
    shared->terms[rank] = mine;
    barrier();
    double largest = shared->terms[shared->terms[1] > shared->terms[0]];
    barrier();
    return largest;
}

static void store(float *to, const line *value)
{
    memcpy(to, value, LINE);
}

static void store_past_caches(float *to, const line *value)
{
#ifdef __SSE__
    for (int i = 0; i < FLOATS; i += 4)
        _mm_stream_ps(to + i, _mm_loadu_ps((const float *)value + i));
#else
    store(to, value);
#endif
}

typedef void (*store_line)(float *, const line *);

// The sum of both inputs from element `first` on, to one or two places.
static inline __attribute__((always_inline)) void add_up(size_t first, size_t count, float *one,
                                                         float *other, store_line put)
{
    for (size_t i = 0; i < count; i += FLOATS) {
        line a, b;
        memcpy(&a, vectors[0] + first + i, LINE);
        memcpy(&b, vectors[1] + first + i, LINE);
        a += b;
        put(one + i, &a);
        if (other)
            put(other + i, &a);
    }
}

static inline __attribute__((always_inline)) void copy(float *to, const float *from, size_t count,
                                                       store_line put)
{
    for (size_t i = 0; i < count; i += FLOATS) {
        line a;
        memcpy(&a, from + i, LINE);
        put(to + i, &a);
    }
}

static inline __attribute__((always_inline)) void move(const struct peer_case *c, store_line put)
{
    size_t half = c->count / 2 / FLOATS * FLOATS, first = rank == 0 ? 0 : half;
    size_t mine = (size_t)rank * c->count; // of the blocks of an input
    switch (c->collective) {
    case PEER_ALL_REDUCE:
        add_up(first, rank == 0 ? half : c->count - half, vectors[2] + first, vectors[3] + first,
               put);
        return;
    case PEER_REDUCE_SCATTER:
        add_up(mine, c->count, c->recv, NULL, put);
        return;
    case PEER_BROADCAST: // in place
        if (rank == 1)
            copy(c->recv, vectors[NUM_RANKS], c->count, put);
        return;
    default:
        for (size_t peer = 0; peer < NUM_RANKS; peer++)
            copy(c->recv + peer * c->count,
                 vectors[peer] + (c->collective == PEER_ALL_TO_ALL ? mine : 0), c->count, put);
    }
}

static void run_memory(const struct peer_case *c)
{
    if (bypass)
        move(c, store_past_caches);
    else
        move(c, store);
#ifdef __SSE__
    _mm_sfence();
#endif
    barrier();
}

static void advance(size_t *done, ssize_t moved)
{
    if (moved == 0 || (moved < 0 && errno != EAGAIN && errno != EINTR)) {
        perror("floor: the connection");
        _exit(1);
    }
    *done += moved > 0 ? (size_t)moved : 0;
}

static void run_tcp(const struct peer_case *c)
{
    size_t bytes = c->count * sizeof(float), sent = 0, came = 0;
    float *theirs = vectors[rank]; // room that is shared with nobody here
    while (sent < bytes || came < bytes) {
        if (sent < bytes)
            advance(&sent, send(sockets[rank], (char *)c->send + sent, bytes - sent, MSG_NOSIGNAL));
        if (came < bytes)
            advance(&came, recv(sockets[rank], (char *)theirs + came, bytes - came, 0));
    }
    for (size_t i = 0; i < c->count; i++)
        c->recv[i] = c->send[i] + theirs[i];
}

static double try_out(const struct peer_case *c)
{
    double least_us = 1e9;
    for (int i = 0; i < 5; i++) {
        double begin = peer_now_us();
        run_memory(c);
        double took_us = peer_now_us() - begin;
        least_us = took_us < least_us ? took_us : least_us;
    }
    return sum(least_us);
}

static void prepare_tcp(struct peer_case *c)
{
    memset(vectors[rank], 0, c->count * sizeof(float));
}

static void prepare_memory(struct peer_case *c)
{
    c->send = vectors[rank];
    c->recv = vectors[NUM_RANKS + rank];
    memset(c->send, 0, c->send_elements * sizeof(float));
    memset(c->recv, 0, c->recv_elements * sizeof(float));
    barrier();
    bypass = false;
    double ordinary_us = try_out(c);
    bypass = true;
    bypass = try_out(c) < ordinary_us;
}

static void bind_to_core(const cpu_set_t *allowed)
{
    cpu_set_t own;
    int left = rank;
    CPU_ZERO(&own);
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, allowed) && left-- == 0)
            CPU_SET(core, &own);
    sched_setaffinity(0, sizeof own, &own);
}

/* A connection over loopback, both ends in this process until it forks. */
static bool connect_ends(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    sockets[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0 ||
        connect(sockets[0], (struct sockaddr *)&address, size) != 0 ||
        (sockets[1] = accept(listener, NULL, NULL)) < 0)
        return false;
    close(listener);
    for (int i = 0; i < NUM_RANKS; i++) {
        setsockopt(sockets[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        setsockopt(sockets[i], IPPROTO_TCP, TCP_CONGESTION, "reno", sizeof "reno" - 1);
        fcntl(sockets[i], F_SETFL, O_NONBLOCK);
    }
    return true;
}

static void *map_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED)
        madvise(memory, bytes, MADV_HUGEPAGE); // where the system has them for shared memory
    return memory == MAP_FAILED ? NULL : memory;
}

int main(int argc, char **argv)
{
    static const struct peer memory = {prepare_memory, run_memory, barrier, sum, max};
    static const struct peer tcp = {prepare_tcp, run_tcp, barrier, sum, max};
    bool is_tcp = argc == 8 && strcmp(argv[1], "tcp") == 0;
    size_t most = argc == 8 ? strtoull(argv[4], NULL, 10) : 0;
    bool ready = most > 0 && (!is_tcp || strcmp(argv[2], "all_reduce") == 0);
    for (int i = 0; ready && i < 2 * NUM_RANKS; i++)
        ready = (vectors[i] = map_shared(most)) != NULL;
    if (!ready || !(shared = map_shared(sizeof *shared))) {
        fprintf(stderr, "shm|tcp COLLECTIVE MIN MAX FACTOR ITERATIONS WARM-UPS\n");
        return 2;
    }
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < NUM_RANKS) {
        fprintf(stderr, "the floor needs a core for each of two processes\n");
        return 2;
    }
    if (is_tcp && !connect_ends()) {
        perror("the floor needs a connection over loopback");
        return 2;
    }
    pid_t child = fork();
    if (child < 0)
        return 2;
    rank = child == 0;
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL); // it would spin
    if (is_tcp)
        close(sockets[!rank]); // so that the end of one is seen by the other
    bind_to_core(&allowed);
    int code = peer_sweep(is_tcp ? &tcp : &memory, rank, NUM_RANKS, argv + 2), status = 0;
    if (child == 0)
        _exit(code);
    return waitpid(child, &status, 0) == child && status == 0 ? code : 1;
}
