/*
 * SPDX-License-Identifier: Apache-2.0
 * The progress thread: operations end while the caller stays out of the library, many at once, and
 * through shared memory as through sockets; aborts, deaths, deadlines and the end of a context find
 * it at work. Made to be run under the thread sanitizer, too.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pthread.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/comm/processes.h"

enum { RANKS = 3, MANY = 40, NEVER_ENDED = 10, WRONG_DATA = 11, WRONG_STATUS = 12 };

static const int64_t timeout_ns = INT64_C(20000000000);

static const char *const transports[] = {"", "tcp", "shm"};

static int run_everywhere(int (*body)(struct rank_process *process), int *codes)
{
    for (size_t i = 0; i < sizeof transports / sizeof *transports; i++) {
        setenv("WEFT_TRANSPORTS", transports[i], 1);
        // Without slots, shared memory carries messages.
        for (int has_slots = 0; has_slots < 2; has_slots++) {
            setenv("WEFT_FLAT_BYTES", has_slots ? "2K" : "0", 1);
            run_ranks(RANKS, timeout_ns, 60, body, shared_by_ranks(), codes);
            for (int rank = 0; rank < RANKS; rank++)
                if (codes[rank] != 0)
                    return rank;
        }
    }
    return -1;
}

// Looks at the result without a call that would make progress: weft_test only looks.
static bool ends_by_itself(weft_request *request, weft_status *status)
{
    const struct timespec nap = {.tv_nsec = 1000000};
    int64_t deadline_ns = weft_deadline_after(timeout_ns);
    while ((*status = weft_test(request)) == WEFT_IN_PROGRESS && weft_clock_ns() < deadline_ns)
        nanosleep(&nap, NULL);
    return *status != WEFT_IN_PROGRESS;
}

static int many(struct rank_process *process)
{
    static const size_t counts[] = {1, 100, 5000, 300000};
    weft_request requests[MANY];
    float *data[MANY];
    int code = process->create_status == WEFT_OK ? 0 : WRONG_STATUS;
    for (int i = 0; i < MANY; i++) {
        size_t count = counts[i % 4];
        data[i] = malloc(count * sizeof *data[i]);
        for (size_t e = 0; e < count; e++)
            data[i][e] = (float)(process->rank + i + (int)(e % 7));
        if (weft_all_reduce(data[i], data[i], count, WEFT_FLOAT32, WEFT_SUM, process->comm,
                            &requests[i]) != WEFT_OK)
            return WRONG_STATUS;
    }
    for (int i = MANY; i-- > 0;) {
        weft_status status;
        if (!ends_by_itself(&requests[i], &status))
            return NEVER_ENDED;
        if (status != WEFT_OK)
            code = WRONG_STATUS;
        for (size_t e = 0; e < counts[i % 4]; e++)
            if (data[i][e] != (float)(RANKS * (RANKS - 1) / 2 + RANKS * (i + (int)(e % 7))))
                code = WRONG_DATA;
        free(data[i]);
    }
    return code;
}

static void test_many(void **state)
{
    (void)state;
    int codes[RANKS], bad = run_everywhere(many, codes);
    if (bad >= 0)
        fail_msg("rank %d ended with code %d", bad, codes[bad]);
}

// Blocking and other calls among those that the thread moves; what they make goes away again.
static int mixed(struct rank_process *process)
{
    for (int i = 0; i < 20; i++) {
        int sent = process->rank + i, sum = 0, other = 0;
        weft_request request, in_group;
        weft_comm *child = NULL;
        if (weft_all_reduce(&sent, &sum, 1, WEFT_INT32, WEFT_SUM, process->comm, &request) !=
                WEFT_OK ||
            weft_comm_duplicate(process->comm, &child, NULL) != WEFT_OK ||
            weft_all_reduce(&sent, &other, 1, WEFT_INT32, WEFT_MAX, child, NULL) != WEFT_OK ||
            weft_wait(&request) != WEFT_OK)
            return WRONG_STATUS;
        if (sum != RANKS * (RANKS - 1) / 2 + RANKS * i || other != RANKS - 1 + i)
            return WRONG_DATA;
        weft_status status;
        if (weft_group_begin(process->context) != WEFT_OK || weft_barrier(child, NULL) != WEFT_OK ||
            weft_barrier(process->comm, NULL) != WEFT_OK ||
            weft_group_end(process->context, &in_group) != WEFT_OK)
            return WRONG_STATUS;
        if (!ends_by_itself(&in_group, &status))
            return NEVER_ENDED;
        if (status != WEFT_OK || weft_comm_finalize(child, NULL) != WEFT_OK)
            return WRONG_STATUS;
        weft_comm_destroy(&child);
    }
    return 0;
}

static void test_mixed(void **state)
{
    (void)state;
    int codes[RANKS], bad = run_everywhere(mixed, codes);
    if (bad >= 0)
        fail_msg("rank %d ended with code %d", bad, codes[bad]);
}

/* ---- failures ---- */

static void *abort_it(void *comm)
{
    weft_comm_abort(comm);
    return NULL;
}

// Rank 0 never makes the call that the others have made; another thread of it aborts.
static int aborted(struct rank_process *process)
{
    weft_request request;
    weft_status status;
    pthread_t thread;
    float data = 1;
    if (process->rank == 0) {
        if (pthread_create(&thread, NULL, abort_it, process->comm) != 0)
            return NEVER_ENDED;
        pthread_join(thread, NULL);
        while (weft_comm_async_error(process->comm) == WEFT_OK)
            ;
        return weft_comm_async_error(process->comm) == WEFT_ABORTED ? 0 : WRONG_STATUS;
    }
    if (process->create_status == WEFT_ABORTED) // rank 0 was faster than the end of it here
        return 0;
    status = weft_all_reduce(&data, &data, 1, WEFT_FLOAT32, WEFT_SUM, process->comm, &request);
    if (status == WEFT_OK && !ends_by_itself(&request, &status))
        return NEVER_ENDED;
    return status == WEFT_ABORTED && strstr(weft_comm_error_text(process->comm), "rank 0")
               ? 0
               : WRONG_STATUS;
}

static void test_abort(void **state)
{
    (void)state;
    int codes[RANKS], bad = run_everywhere(aborted, codes);
    if (bad >= 0)
        fail_msg("rank %d ended with code %d", bad, codes[bad]);
}

static int bereaved(struct rank_process *process)
{
    weft_request request;
    weft_status status;
    float data = 1;
    atomic_int *ready = process->argument;
    if (process->create_status != WEFT_OK)
        return WRONG_STATUS;
    atomic_fetch_add(ready, 1);
    if (!await_at_least(ready, RANKS))
        return NEVER_ENDED;
    if (process->rank == 1)
        raise(SIGKILL);
    status = weft_all_reduce(&data, &data, 1, WEFT_FLOAT32, WEFT_SUM, process->comm, &request);
    if (status == WEFT_OK && !ends_by_itself(&request, &status))
        return NEVER_ENDED;
    return status == WEFT_REMOTE ? 0 : WRONG_STATUS;
}

static void test_death(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof transports / sizeof *transports; i++) {
        int codes[RANKS];
        setenv("WEFT_TRANSPORTS", transports[i], 1);
        run_ranks(RANKS, timeout_ns, 60, bereaved, shared_by_ranks(), codes);
        assert_int_equal(codes[1], EXIT_SIGNALLED + SIGKILL);
        assert_int_equal(codes[0], 0);
        assert_int_equal(codes[2], 0);
    }
}

// The deadline passes while nobody is in the library.
static int late(struct rank_process *process)
{
    weft_request request;
    weft_status status;
    float data = 1;
    const weft_op_desc desc = {.struct_bytes = sizeof desc,
                               .collective = WEFT_ALL_REDUCE,
                               .send = &data,
                               .recv = &data,
                               .count = 1,
                               .dtype = WEFT_FLOAT32,
                               .op = WEFT_SUM,
                               .timeout_ns = 50000000};
    if (process->create_status != WEFT_OK)
        return WRONG_STATUS;
    // All have their communicators before it is late for anyone.
    atomic_int *ready = process->argument;
    atomic_fetch_add(ready, 1);
    if (!await_at_least(ready, RANKS))
        return NEVER_ENDED;
    if (process->rank == 0) {
        while (weft_comm_async_error(process->comm) == WEFT_OK)
            usleep(1000);
        return weft_comm_async_error(process->comm) == WEFT_TIMEOUT ? 0 : WRONG_STATUS;
    }
    status = weft_submit(process->comm, &desc, &request);
    if (status == WEFT_OK && !ends_by_itself(&request, &status))
        return NEVER_ENDED;
    return status == WEFT_TIMEOUT ? 0 : WRONG_STATUS;
}

static void test_deadline(void **state)
{
    (void)state;
    int codes[RANKS], bad = run_everywhere(late, codes);
    if (bad >= 0)
        fail_msg("rank %d ended with code %d", bad, codes[bad]);
}

// A context that goes while its thread moves an operation.
static int destroyed(struct rank_process *process)
{
    weft_request request;
    float data = 1;
    if (process->rank == 0)
        return 0; // its communicator is destroyed at once
    // The other one may have gone already, before the creation ended here.
    weft_status status = process->create_status;
    if (status == WEFT_OK)
        status = weft_all_reduce(&data, &data, 1, WEFT_FLOAT32, WEFT_SUM, process->comm, &request);
    weft_context_destroy(&process->context);
    process->comm = NULL;
    if (status == WEFT_OK)
        status = weft_test(&request);
    return status == WEFT_ABORTED || status == WEFT_REMOTE ? 0 : WRONG_STATUS;
}

static void test_destroy(void **state)
{
    (void)state;
    int codes[RANKS], bad = run_everywhere(destroyed, codes);
    if (bad >= 0)
        fail_msg("rank %d ended with code %d", bad, codes[bad]);
    for (int i = 0; i < 200; i++) {
        weft_context *context;
        assert_int_equal(weft_context_create(&context), WEFT_OK);
        weft_context_destroy(&context);
    }
}

int main(void)
{
    setenv("WEFT_PROGRESS", "thread", 1);
    setenv("WEFT_LOG", "none", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),     cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_abort),    cmocka_unit_test(test_death),
        cmocka_unit_test(test_deadline), cmocka_unit_test(test_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
