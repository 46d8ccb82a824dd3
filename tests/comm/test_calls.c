/*
 * SPDX-License-Identifier: Apache-2.0
 * The public API with real processes over shared memory and TCP: every collective, types and
 * operations in rotation, several sizes (flat, eager, large), in and out of place, blocking,
 * non-blocking and grouped, on several communicators.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "collectives/comm/describe.h"
#include "tests/comm/processes.h"

enum { LARGEST = WEFT_RUNS_SLOWLY ? 150011 : 600011 };

static const int64_t timeout_ns = INT64_C(20000000000);

static int32_t value(int rank, size_t element)
{
    return (int32_t)((element * 31 + (size_t)rank * 17) % 97) - 20;
}

static int32_t sum_of(int num_ranks, size_t element)
{
    int32_t sum = 0;
    for (int r = 0; r < num_ranks; r++)
        sum += value(r, element);
    return sum;
}

// Gather and scatter; `counts` are of the vector forms, or all alike.
static int check_rooted(struct rank_process *process, const size_t *counts, bool is_vector,
                        int root, bool in_place)
{
    int n = process->num_ranks, me = process->rank;
    size_t begins[PROCESSES_MAX + 1] = {0};
    for (int r = 0; r < n; r++)
        begins[r + 1] = begins[r] + counts[r];
    int32_t *whole = me == root ? malloc((begins[n] + 1) * 4) : NULL;
    int32_t *own = malloc((counts[me] + 1) * 4);
    int32_t *block = whole && in_place ? whole + begins[me] : own;
    for (size_t e = 0; e < counts[me]; e++)
        block[e] = value(me, e);
    CHECK((is_vector ? weft_gather_v(block, whole, counts, WEFT_INT32, root, process->comm, NULL)
                     : weft_gather(block, whole, counts[0], WEFT_INT32, root, process->comm,
                                   NULL)) == WEFT_OK);
    for (int r = 0; whole && r < n; r++)
        for (size_t e = 0; e < counts[r]; e++)
            CHECK(whole[begins[r] + e] == value(r, e));
    for (size_t e = 0; whole && e < begins[n]; e++)
        whole[e] = value(root + 7, e);
    for (size_t e = 0; e < counts[me]; e++)
        own[e] = -1;
    CHECK((is_vector ? weft_scatter_v(whole, block, counts, WEFT_INT32, root, process->comm, NULL)
                     : weft_scatter(whole, block, counts[0], WEFT_INT32, root, process->comm,
                                    NULL)) == WEFT_OK);
    for (size_t e = 0; e < counts[me]; e++)
        CHECK(block[e] == value(root + 7, begins[me] + e));
    for (size_t e = 0; whole && e < begins[n]; e++)
        CHECK(whole[e] == value(root + 7, e));
    free(whole);
    free(own);
    return 0;
}

static int check_roots(struct rank_process *process, const size_t *counts, bool is_vector)
{
    for (int root = 0; root < process->num_ranks; root++)
        if (check_rooted(process, counts, is_vector, root, false) ||
            check_rooted(process, counts, is_vector, root, true))
            return 1;
    return 0;
}

static int check_size(struct rank_process *process, size_t count, bool in_place)
{
    int n = process->num_ranks, me = process->rank;
    size_t total = count * (size_t)n;
    int32_t *a = malloc((total + 1) * 4), *b = malloc((total + 1) * 4);
    int32_t *send = in_place ? b : a;
    // all_reduce
    for (size_t e = 0; e < count; e++)
        send[e] = value(me, e);
    CHECK(weft_all_reduce(send, b, count, WEFT_INT32, WEFT_SUM, process->comm, NULL) == WEFT_OK);
    for (size_t e = 0; e < count; e++)
        CHECK(b[e] == sum_of(n, e));
    // reduce and broadcast, from the last rank
    for (size_t e = 0; e < count; e++)
        send[e] = value(me, e);
    CHECK(weft_reduce(send, b, count, WEFT_INT32, WEFT_MAX, n - 1, process->comm, NULL) == WEFT_OK);
    for (size_t e = 0; me == n - 1 && e < count; e++) {
        int32_t most = value(0, e);
        for (int r = 1; r < n; r++)
            most = value(r, e) > most ? value(r, e) : most;
        CHECK(b[e] == most);
    }
    for (size_t e = 0; e < count; e++)
        send[e] = me == n - 1 ? value(5, e) : -1;
    CHECK(weft_broadcast(send, b, count, WEFT_INT32, n - 1, process->comm, NULL) == WEFT_OK);
    for (size_t e = 0; e < count; e++)
        CHECK(b[e] == value(5, e));
    // all_gather
    int32_t *own = in_place ? b + count * (size_t)me : a;
    for (size_t e = 0; e < count; e++)
        own[e] = value(me, e);
    CHECK(weft_all_gather(own, b, count, WEFT_INT32, process->comm, NULL) == WEFT_OK);
    for (size_t e = 0; e < total; e++)
        CHECK(b[e] == value((int)(e / count), e % count));
    // reduce_scatter
    for (size_t e = 0; e < total; e++)
        a[e] = value(me, e);
    int32_t *shard = in_place ? a + count * (size_t)me : b;
    CHECK(weft_reduce_scatter(a, shard, count, WEFT_INT32, WEFT_SUM, process->comm, NULL) ==
          WEFT_OK);
    for (size_t e = 0; e < count; e++)
        CHECK(shard[e] == sum_of(n, e + count * (size_t)me));
    // all_to_all
    for (size_t e = 0; e < total; e++)
        send[e] = value(me, e);
    CHECK(weft_all_to_all(send, b, count, WEFT_INT32, process->comm, NULL) == WEFT_OK);
    for (size_t e = 0; e < total; e++)
        CHECK(b[e] == value((int)(e / count), e % count + count * (size_t)me));
    free(a);
    free(b);
    return 0;
}

static int check_vectors(struct rank_process *process, size_t scale)
{
    int n = process->num_ranks, me = process->rank;
    size_t counts[PROCESSES_MAX], begins[PROCESSES_MAX + 1] = {0}, sends[PROCESSES_MAX],
                                                         receives[PROCESSES_MAX];
    for (int r = 0; r < n; r++) {
        counts[r] = r % 3 == 1 ? 0 : scale * (size_t)(r + 1);
        begins[r + 1] = begins[r] + counts[r];
        sends[r] = scale * (size_t)((me * 2 + r) % 4);
        receives[r] = scale * (size_t)((r * 2 + me) % 4);
    }
    float *a = malloc((begins[n] + 64 * scale + 1) * 4),
          *b = malloc((begins[n] + 64 * scale + 1) * 4);
    for (size_t e = 0; e < counts[me]; e++)
        a[e] = (float)value(me, e);
    CHECK(weft_all_gather_v(a, b, counts, WEFT_FLOAT32, process->comm, NULL) == WEFT_OK);
    for (int r = 0; r < n; r++)
        for (size_t e = 0; e < counts[r]; e++)
            CHECK(b[begins[r] + e] == (float)value(r, e));
    for (size_t e = 0; e < begins[n]; e++)
        a[e] = (float)value(me, e);
    CHECK(weft_reduce_scatter_v(a, b, counts, WEFT_FLOAT32, WEFT_AVG, process->comm, NULL) ==
          WEFT_OK);
    for (size_t e = 0; e < counts[me]; e++)
        CHECK(b[e] == (float)sum_of(n, begins[me] + e) / (float)n);
    size_t out = 0;
    for (int r = 0; r < n; r++)
        for (size_t e = 0; e < sends[r]; e++)
            a[out++] = (float)value(me * 8 + r, e);
    CHECK(weft_all_to_all_v(a, sends, b, receives, WEFT_FLOAT32, process->comm, NULL) == WEFT_OK);
    size_t in = 0;
    for (int r = 0; r < n; r++)
        for (size_t e = 0; e < receives[r]; e++)
            CHECK(b[in++] == (float)value(r * 8 + me, e));
    free(a);
    free(b);
    return check_roots(process, counts, true);
}

static int check_pairs(struct rank_process *process)
{
    int n = process->num_ranks, me = process->rank;
    int right = (me + 1) % n, left = (me + n - 1) % n;
    enum { COUNT = 50000 };
    double *a = malloc(COUNT * 8), *b = malloc(COUNT * 8);
    weft_request requests[20];
    // To itself: in a group, and receive first.
    a[0] = 42 + me, b[0] = 0;
    CHECK(weft_group_begin(process->context) == WEFT_OK);
    CHECK(weft_recv(b, 1, WEFT_FLOAT64, me, process->comm, NULL) == WEFT_OK);
    CHECK(weft_send(a, 1, WEFT_FLOAT64, me, process->comm, NULL) == WEFT_OK);
    CHECK(weft_group_end(process->context, NULL) == WEFT_OK);
    CHECK(b[0] == 42 + me);
    CHECK(weft_send(a, 2, WEFT_FLOAT64, me, process->comm, &requests[0]) == WEFT_OK);
    CHECK(weft_test(&requests[0]) == WEFT_IN_PROGRESS);
    CHECK(weft_recv(b, 2, WEFT_FLOAT64, me, process->comm, NULL) == WEFT_OK);
    CHECK(weft_wait(&requests[0]) == WEFT_OK);
    if (n == 1) {
        free(a);
        free(b);
        return 0;
    }
    for (int i = 0; i < 10; i++) {
        a[i] = me * 100 + i;
        CHECK(weft_send(&a[i], 1, WEFT_FLOAT64, right, process->comm, &requests[2 * i]) == WEFT_OK);
        CHECK(weft_recv(&b[i], 1, WEFT_FLOAT64, left, process->comm, &requests[2 * i + 1]) ==
              WEFT_OK);
    }
    for (int i = 19; i >= 0; i--)
        CHECK(weft_wait(&requests[i]) == WEFT_OK);
    for (int i = 0; i < 10; i++)
        CHECK(b[i] == left * 100 + i);
    for (int i = 0; i < COUNT; i++)
        a[i] = me + i;
    CHECK(weft_group_begin(process->context) == WEFT_OK);
    CHECK(weft_send(a, COUNT, WEFT_FLOAT64, right, process->comm, NULL) == WEFT_OK);
    CHECK(weft_recv(b, COUNT, WEFT_FLOAT64, left, process->comm, NULL) == WEFT_OK);
    CHECK(weft_group_end(process->context, NULL) == WEFT_OK);
    for (int i = 0; i < COUNT; i++)
        CHECK(b[i] == left + i);
    free(a);
    free(b);
    return 0;
}

// Two halves, a duplicate, groups over all of them in crossed order, 100 operations outstanding.
static int check_communicators(struct rank_process *process)
{
    int n = process->num_ranks, me = process->rank;
    enum { OPERATIONS = 100, COUNT = 700 };
    weft_comm *half, *twin, *none = process->comm;
    CHECK(weft_comm_split(process->comm, me % 2, -me, &half, NULL) == WEFT_OK);
    CHECK(weft_comm_num_ranks(half) == (n + 1 - me % 2) / 2);
    CHECK(weft_comm_rank(half) == weft_comm_num_ranks(half) - 1 - me / 2);
    CHECK(weft_comm_duplicate(process->comm, &twin, NULL) == WEFT_OK);
    CHECK(weft_comm_split(process->comm, me == 0 ? -1 : 3, 0, &none, NULL) == WEFT_OK);
    CHECK((me == 0) == (none == NULL));
    int32_t(*data)[COUNT] = malloc(3 * OPERATIONS * sizeof *data);
    weft_request requests[OPERATIONS];
    for (int i = 0; i < OPERATIONS; i++) {
        size_t count = i % 3 == 0 ? 5 : COUNT;
        for (size_t e = 0; e < COUNT; e++)
            data[i][e] = value(me + i, e);
        CHECK(weft_all_reduce(data[i], data[i], count, WEFT_INT32, WEFT_SUM,
                              i % 2 ? process->comm : twin, &requests[i]) == WEFT_OK);
    }
    for (int i = OPERATIONS - 1; i >= 0; i--)
        CHECK(weft_wait(&requests[i]) == WEFT_OK);
    for (int i = 0; i < OPERATIONS; i++)
        for (size_t e = 0; e < (i % 3 == 0 ? 5 : COUNT); e++) {
            int32_t sum = 0;
            for (int r = 0; r < n; r++)
                sum += value(r + i, e);
            CHECK(data[i][e] == sum);
        }
    // Crossed order: even ranks name the communicators one way round, odd ranks the other.
    for (int round = 0; round < 10; round++) {
        weft_comm *order[3] = {process->comm, twin, half};
        CHECK(weft_group_begin(process->context) == WEFT_OK);
        for (int i = 0; i < 3; i++) {
            int which = me % 2 ? 2 - i : i;
            size_t count = round % 2 ? COUNT : 3;
            for (size_t e = 0; e < COUNT; e++)
                data[which][e] = 1 + which;
            CHECK(weft_all_reduce(data[which], data[which], count, WEFT_INT32, WEFT_SUM,
                                  order[which], NULL) == WEFT_OK);
        }
        CHECK(weft_group_end(process->context, NULL) == WEFT_OK);
        CHECK(data[0][2] == n && data[1][2] == 2 * n);
        CHECK(data[2][2] == 3 * weft_comm_num_ranks(half));
    }
    CHECK(weft_comm_finalize(twin, NULL) == WEFT_OK);
    CHECK(weft_barrier(twin, NULL) == WEFT_INVALID_USAGE);
    weft_comm_destroy(&twin);
    weft_comm_destroy(&none);
    CHECK(weft_barrier(half, NULL) == WEFT_OK);
    weft_comm_destroy(&half);
    free(data);
    return 0;
}

// Another world of the same processes in the same context, agreed on by the caller's own means.
static int gather_ids(void *argument, const void *mine, void *all, size_t bytes)
{
    return weft_all_gather(mine, all, bytes, WEFT_UINT8, argument, NULL) != WEFT_OK;
}

static bool has_progress_thread(void)
{
    const char *progress = getenv("WEFT_PROGRESS");
    return progress && !strcmp(progress, "thread");
}

static int check_second_world(struct rank_process *process)
{
    int n = process->num_ranks;
    weft_comm *second = NULL;
    weft_request request;
    int32_t *data = malloc(40000 * sizeof *data);
    const weft_comm_options options = {.struct_bytes = sizeof options,
                                       .rank = process->rank,
                                       .num_ranks = n,
                                       .transports = "tcp",
                                       .exchange = gather_ids,
                                       .exchange_argument = process->comm};
    weft_comm_options pigeon = options;
    pigeon.transports = "shm,pigeon";
    CHECK(weft_comm_create(process->context, &pigeon, &second, NULL) == WEFT_INVALID_ARGUMENT);
    bool has_tcp = !strstr(getenv("WEFT_TRANSPORTS"), "shm");
    weft_status status = weft_comm_create(process->context, &options, &second, &request);
    CHECK(status == (has_tcp ? WEFT_OK : WEFT_UNSUPPORTED));
    if (!has_tcp) {
        free(data);
        return 0;
    }
    // It has not blocked. A progress thread may be writing the output by now.
    CHECK(has_progress_thread() || second == NULL);
    CHECK(weft_wait(&request) == WEFT_OK);
    CHECK(weft_comm_num_ranks(second) == n);
    for (size_t e = 0; e < 40000; e++)
        data[e] = value(process->rank, e);
    CHECK(weft_all_reduce(data, data, 40000, WEFT_INT32, WEFT_SUM, second, NULL) == WEFT_OK);
    for (size_t e = 0; e < 40000; e++)
        CHECK(data[e] == sum_of(n, e));
    CHECK(process->num_ranks == 1 || !strcmp(weft_comm_transport(second), "tcp"));
    CHECK(weft_comm_finalize(second, NULL) == WEFT_OK);
    weft_comm_destroy(&second);
    free(data);
    return 0;
}

static int body(struct rank_process *process)
{
    static const size_t sizes[] = {1, 3, 100, 1023, 5000, 40001, LARGEST};
    CHECK(process->create_status == WEFT_OK);
    CHECK(weft_barrier(process->comm, NULL) == WEFT_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t count = process->num_ranks > 5 ? sizes[i] / 4 + 1 : sizes[i];
        for (int in_place = 0; in_place < 2; in_place++)
            if (check_size(process, count, in_place))
                return 1;
        const size_t c = count, counts[PROCESSES_MAX] = {c, c, c, c, c, c, c};
        if (check_roots(process, counts, false))
            return 1;
    }
    if (check_vectors(process, 1) || check_vectors(process, 3001) || check_pairs(process))
        return 1;
    if (process->num_ranks > 1 && check_communicators(process))
        return 1;
    if (check_second_world(process))
        return 1;
    CHECK(weft_comm_finalize(process->comm, NULL) == WEFT_OK);
    return 0;
}

static void run_with(const char *transports, const char *algorithm, const char *flat)
{
    static const int rank_counts[] = {1, 2, 3, 4, 7};
    setenv("WEFT_TRANSPORTS", transports, 1);
    setenv("WEFT_ALGORITHM", algorithm, 1);
    setenv("WEFT_FLAT_BYTES", flat, 1);
    for (size_t i = 0; i < sizeof rank_counts / sizeof *rank_counts; i++) {
        int codes[PROCESSES_MAX];
        run_ranks(rank_counts[i], timeout_ns, 60, body, NULL, codes);
        assert_all_zero(codes, rank_counts[i], transports);
    }
}

static void test_shared_memory(void **state)
{
    (void)state;
    run_with("shm", "", "4K");
}

static void test_shared_memory_not_flat(void **state)
{
    (void)state;
    run_with("shm", "", "0");
    run_with("shm", "ring", "0");
    run_with("shm", "tree", "0");
}

static void test_tcp(void **state)
{
    (void)state;
    run_with("tcp", "", "4K");
    run_with("", "", "4K"); // both open; the second world uses tcp alone
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_memory),
        cmocka_unit_test(test_shared_memory_not_flat),
        cmocka_unit_test(test_tcp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
