/*
 * SPDX-License-Identifier: Apache-2.0
 * What can go wrong between ranks, with real processes: deaths (SIGKILL in the meeting, after it,
 * in split, in collectives; every rank, rank 0 too), calls that do not match, ranks that do not
 * call, aborts. Every other rank gets an error that says what happened, in time, and nothing is
 * left.
 */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/comm/processes.h"
#include "tests/patience.h"

enum { RANKS = 4, LIMIT_S = 100, WRONG_STATUS = 10, WRONG_TEXT = 11, TOO_LATE = 12 };

// Longer than anything may take that shall be known at once.
static const int64_t timeout_ns = INT64_C(60000000000);

static const char *error_text(struct rank_process *process)
{
    return process->comm ? weft_comm_error_text(process->comm)
                         : weft_context_error_text(process->context);
}

static int expect(struct rank_process *process, weft_status status, weft_status wanted,
                  const char *text, int64_t began_ns, int64_t limit_ns)
{
    int64_t took_ns = weft_clock_ns() - began_ns;
    if (status != wanted) {
        fprintf(stderr, "rank %d: %s, not %s: %s\n", process->rank, weft_status_name(status),
                weft_status_name(wanted), error_text(process));
        return WRONG_STATUS;
    }
    if (text && !strstr(error_text(process), text)) {
        fprintf(stderr, "rank %d: '%s' lacks '%s'\n", process->rank, error_text(process), text);
        return WRONG_TEXT;
    }
    if (took_ns > patience(limit_ns)) {
        fprintf(stderr, "rank %d: took %lld ms\n", process->rank, (long long)(took_ns / 1000000));
        return TOO_LATE;
    }
    return 0;
}

/* ---- deaths ---- */

struct death {
    const char *phase;
    int victim;
    size_t count;
    int collective; // called when the victim dies
};

enum { NUM_CALLS = 9, NUM_MISMATCHES = 12 };

// One of the collectives on blocks of `count` elements.
static weft_status call_one(struct rank_process *process, int which, float *data, size_t count)
{
    float *other = data + count * RANKS;
    weft_comm *comm = process->comm;
    switch (which) {
    case 0:
        return weft_all_reduce(data, data, count, WEFT_FLOAT32, WEFT_SUM, comm, NULL);
    case 1:
        return weft_all_gather(data, other, count, WEFT_FLOAT32, comm, NULL);
    case 2:
        return weft_reduce_scatter(data, other, count, WEFT_FLOAT32, WEFT_SUM, comm, NULL);
    case 3:
        return weft_broadcast(data, data, count, WEFT_FLOAT32, 1, comm, NULL);
    case 4:
        return weft_reduce(data, other, count, WEFT_FLOAT32, WEFT_MAX, 2, comm, NULL);
    case 5:
        return weft_all_to_all(data, other, count, WEFT_FLOAT32, comm, NULL);
    case 6:
        return weft_gather(data, other, count, WEFT_FLOAT32, 2, comm, NULL);
    case 7:
        return weft_scatter(data, other, count, WEFT_FLOAT32, 1, comm, NULL);
    default:
        return weft_barrier(comm, NULL);
    }
}

// Works until something fails; the failure must name the victim.
static int survive(struct rank_process *process)
{
    const struct death *death = process->argument;
    char name[16];
    snprintf(name, sizeof name, "rank %d", death->victim);
    int64_t began_ns = weft_clock_ns();
    weft_status status = process->create_status;
    float *data = calloc(2 * RANKS * death->count + 1, sizeof *data);
    if (status == WEFT_OK && !strcmp(death->phase, "split")) {
        weft_comm *child;
        began_ns = weft_clock_ns();
        status = weft_comm_split(process->comm, process->rank % 2, 0, &child, NULL);
    }
    // The victim dies in the middle of the second one, others may still finish that.
    for (int i = 0; status == WEFT_OK && i < 1000; i++) {
        began_ns = weft_clock_ns();
        if (i == 1 && process->rank == death->victim)
            raise(SIGKILL);
        status = call_one(process, i < 2 ? death->collective : i % NUM_CALLS, data, death->count);
    }
    free(data);
    return expect(process, status, WEFT_REMOTE, name, began_ns, INT64_C(2000000000));
}

static void kill_one(const char *phase, int victim, size_t count, const char *transports,
                     int collective)
{
    struct death death = {phase, victim, count, collective};
    int codes[RANKS];
    char fault[64];
    snprintf(fault, sizeof fault, "kill:%s:%d", phase, victim);
    setenv("WEFT_FAULT", strcmp(phase, "call") ? fault : "", 1);
    setenv("WEFT_TRANSPORTS", transports, 1);
    run_ranks(RANKS, timeout_ns, LIMIT_S, survive, &death, codes);
    setenv("WEFT_FAULT", "", 1);
    for (int rank = 0; rank < RANKS; rank++)
        if (codes[rank] != (rank == victim ? EXIT_SIGNALLED + SIGKILL : 0))
            fail_msg("%s %d, rank %d killed, %zu elements, %s: rank %d ended with %d", phase,
                     collective, victim, count, transports, rank, codes[rank]);
}

static int count_entries(const char *path)
{
    int count = 0;
    DIR *directory = opendir(path);
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

static void test_deaths(void **state)
{
    (void)state;
    static const char *const phases[] = {"meeting", "init", "split", "collective", "call"};
    int shared_files = count_entries("/dev/shm"), descriptors = count_entries("/proc/self/fd");
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        for (int victim = 0; victim < RANKS; victim++) {
            kill_one(phases[i], victim, 4, "shm", 0);
            kill_one(phases[i], victim, 300000, i % 2 ? "shm" : "tcp", 0);
        }
    for (int collective = 1; collective < NUM_CALLS; collective++)
        for (int victim = 0; victim < RANKS; victim++)
            kill_one("call", victim, victim % 2 ? 4 : 70000, collective % 2 ? "shm" : "tcp",
                     collective);
    assert_int_equal(count_entries("/dev/shm"), shared_files);
    assert_int_equal(count_entries("/proc/self/fd"), descriptors);
}

/* ---- calls that do not match ---- */

static weft_status call(struct rank_process *process, int which, float *data)
{
    static const size_t counts[RANKS] = {3, 9000}, odd_counts[RANKS] = {3, 8999};
    bool is_odd_one = process->rank == 2;
    weft_comm *comm = process->comm;
    switch (which) {
    case 0: // counts, both small
        return weft_all_reduce(data, data, is_odd_one ? 5 : 4, WEFT_FLOAT32, WEFT_SUM, comm, NULL);
    case 1: // counts, one of them large
        return weft_all_reduce(data, data, is_odd_one ? 100000 : 4, WEFT_FLOAT32, WEFT_SUM, comm,
                               NULL);
    case 2: // types of one size
        return weft_all_reduce(data, data, 50000, is_odd_one ? WEFT_INT32 : WEFT_FLOAT32, WEFT_SUM,
                               comm, NULL);
    case 3: // operations
        return weft_all_reduce(data, data, 50000, WEFT_FLOAT32, is_odd_one ? WEFT_MAX : WEFT_SUM,
                               comm, NULL);
    case 4: // roots
        return weft_broadcast(data, data, 50000, WEFT_FLOAT32, is_odd_one ? 1 : 0, comm, NULL);
    case 5: // order of calls
        if (is_odd_one) {
            weft_status status = weft_broadcast(data, data, 50000, WEFT_FLOAT32, 0, comm, NULL);
            return status != WEFT_OK
                       ? status
                       : weft_all_reduce(data, data, 50000, WEFT_FLOAT32, WEFT_SUM, comm, NULL);
        } else {
            weft_status status =
                weft_all_reduce(data, data, 50000, WEFT_FLOAT32, WEFT_SUM, comm, NULL);
            return status != WEFT_OK
                       ? status
                       : weft_broadcast(data, data, 50000, WEFT_FLOAT32, 0, comm, NULL);
        }
    case 6: // small and large counts of one collective
        return weft_all_reduce(data, data, is_odd_one ? 40000 : 50000, WEFT_FLOAT32, WEFT_SUM, comm,
                               NULL);
    case 7: // roots of a gather
        return weft_gather(data, data + 50000, 10000, WEFT_FLOAT32, is_odd_one ? 1 : 0, comm, NULL);
    case 8: // tables of counts
        return weft_scatter_v(data, data + 50000, is_odd_one ? odd_counts : counts, WEFT_FLOAT32, 0,
                              comm, NULL);
    case 9: // the same, when whoever is sent to has only sent, and goes on: 1 before 2 before 3
        usleep(process->rank > 1 ? (unsigned)(process->rank - 1) * 200000 : 0);
        return weft_gather(data, data + 50000, 10000, WEFT_FLOAT32, is_odd_one ? 1 : 0, comm, NULL);
    case 10: // small ones, of which everybody is the root and needs nobody
        return weft_broadcast(data, data, 4, WEFT_FLOAT32, process->rank, comm, NULL);
    case 11: // roots that need nobody, and one who only contributes
        return is_odd_one ? weft_reduce(data, data, 4, WEFT_FLOAT32, WEFT_SUM, 0, comm, NULL)
                          : weft_broadcast(data, data, 4, WEFT_FLOAT32, 0, comm, NULL);
    default:
        return WEFT_OK;
    }
}

static int mismatch(struct rank_process *process)
{
    float *data = calloc(100000, sizeof *data);
    int64_t began_ns = weft_clock_ns();
    weft_status status = process->create_status;
    if (status == WEFT_OK)
        status = call(process, *(int *)process->argument, data);
    // Who could finish without the odd one (a broadcast from another root) learns it in the next.
    if (status == WEFT_OK)
        status = weft_barrier(process->comm, NULL);
    free(data);
    return expect(process, status, WEFT_MISMATCH, "rank", began_ns, INT64_C(3000000000));
}

static void test_mismatches(void **state)
{
    (void)state;
    int codes[RANKS];
    for (int which = 0; which < NUM_MISMATCHES; which++)
        for (int tcp = 0; tcp < 2; tcp++) {
            char what[32];
            snprintf(what, sizeof what, "mismatch %d over %s", which, tcp ? "tcp" : "shm");
            setenv("WEFT_TRANSPORTS", tcp ? "tcp" : "shm", 1);
            run_ranks(RANKS, timeout_ns, LIMIT_S, mismatch, &which, codes);
            assert_all_zero(codes, RANKS, what);
        }
}

/* ---- ranks that do not call ---- */

struct vain {
    weft_collective collective;
    size_t count;
    const char *text;
    atomic_int has_ended; // the call of the other one
};

// What another rank's failure makes of a communicator here.
static weft_status await_error(weft_comm *comm)
{
    int64_t deadline_ns = weft_deadline_after(timeout_ns);
    while (weft_comm_async_error(comm) == WEFT_OK && weft_clock_ns() < deadline_ns)
        usleep(1000);
    return weft_comm_async_error(comm);
}

static int wait_for_nothing(struct rank_process *process)
{
    struct vain *vain = process->argument;
    if (process->create_status != WEFT_OK)
        return 1;
    if (process->rank == 1) { // computes all the time, but alive: its connections stay
        if (!await_at_least(&vain->has_ended, 1))
            return 2;
        return await_error(process->comm) == WEFT_TIMEOUT ? 0 : 3;
    }
    float *data = calloc(vain->count, sizeof *data);
    const weft_op_desc desc = {.struct_bytes = sizeof desc,
                               .collective = vain->collective,
                               .send = data,
                               .recv = data,
                               .count = vain->count,
                               .peer = 1,
                               .timeout_ns = INT64_C(500000000)};
    int64_t began_ns = weft_clock_ns();
    weft_status status = weft_submit(process->comm, &desc, NULL);
    free(data);
    int code = expect(process, status, WEFT_TIMEOUT, vain->text, began_ns, INT64_C(1500000000));
    atomic_store(&vain->has_ended, 1);
    return code;
}

static void test_timeouts(void **state)
{
    (void)state;
    static const struct vain vains[] = {{WEFT_ALL_REDUCE, 2, "rank 1", 0},
                                        {WEFT_ALL_REDUCE, 100002, "rank 1", 0},
                                        {WEFT_RECV, 2, "recv #0", 0}};
    int codes[2];
    setenv("WEFT_TRANSPORTS", "", 1);
    for (size_t i = 0; i < sizeof vains / sizeof *vains; i++) {
        struct vain *vain = shared_by_ranks();
        memcpy(vain, &vains[i], sizeof *vain);
        run_ranks(2, timeout_ns, LIMIT_S, wait_for_nothing, vain, codes);
        assert_all_zero(codes, 2, "timeout");
    }
}

/* ---- aborts ---- */

static int abort_one(struct rank_process *process)
{
    weft_comm *twin;
    size_t count = *(size_t *)process->argument;
    float *data = calloc(300000, sizeof *data);
    if (process->create_status != WEFT_OK ||
        weft_comm_duplicate(process->comm, &twin, NULL) != WEFT_OK ||
        weft_barrier(twin, NULL) != WEFT_OK) // all have made it before anyone aborts
        return 1;
    int64_t began_ns = weft_clock_ns();
    weft_request request;
    weft_status status = WEFT_OK;
    if (process->rank == 0)
        weft_comm_abort(process->comm);
    else if (process->rank == 1)
        status = weft_all_reduce(data, data, count, WEFT_FLOAT32, WEFT_SUM, process->comm, NULL);
    else
        status =
            weft_all_reduce(data, data, count, WEFT_FLOAT32, WEFT_SUM, process->comm, &request);
    if (process->rank > 1 && status == WEFT_OK)
        status = weft_wait(&request);
    if (process->rank == 0)
        status = weft_comm_async_error(process->comm);
    int code = expect(process, status, WEFT_ABORTED, "rank 0", began_ns, INT64_C(2000000000));
    // The other communicator of the same processes goes on.
    if (code == 0 &&
        weft_all_reduce(data, data, 70000, WEFT_FLOAT32, WEFT_SUM, twin, NULL) != WEFT_OK)
        code = 3;
    if (code == 0 && weft_comm_finalize(twin, NULL) != WEFT_OK)
        code = 4;
    weft_comm_destroy(&twin);
    free(data);
    return code;
}

static void test_abort(void **state)
{
    (void)state;
    int codes[RANKS];
    setenv("WEFT_TRANSPORTS", "", 1);
    for (size_t count = 3; count <= 300000; count += 299997) { // flat, and over the transports
        run_ranks(RANKS, timeout_ns, LIMIT_S, abort_one, &count, codes);
        assert_all_zero(codes, RANKS, "abort");
    }
}

/* ---- what a review found; each was wrong once ---- */

enum { SHORT_NS = 400000000 };

struct nested {
    int which;
    atomic_int has_ended; // the call of the other one
};

// Rank 1 lives but never calls: the inner operation and the outer one are late in the same round.
static int nested_timeout(struct rank_process *process)
{
    struct nested *nested = process->argument;
    int which = nested->which;
    weft_comm *child;
    if (process->create_status != WEFT_OK)
        return 1;
    if (process->rank == 1)
        return await_at_least(&nested->has_ended, 1) ? 0 : 2;
    int64_t began_ns = weft_clock_ns();
    weft_status status = which == 0   ? weft_comm_finalize(process->comm, NULL)
                         : which == 1 ? weft_comm_split(process->comm, 0, 0, &child, NULL)
                                      : weft_comm_duplicate(process->comm, &child, NULL);
    int code = expect(process, status, WEFT_TIMEOUT, "deadline", began_ns, INT64_C(3000000000));
    atomic_store(&nested->has_ended, 1);
    return code;
}

static void test_nested_timeouts(void **state)
{
    (void)state;
    int codes[2];
    for (int i = 0; i < 6; i++) {
        struct nested *nested = shared_by_ranks();
        nested->which = i % 3;
        setenv("WEFT_FLAT_BYTES", i < 3 ? "4K" : "0", 1);
        run_ranks(2, patience(INT64_C(2) * SHORT_NS), LIMIT_S, nested_timeout, nested, codes);
        assert_all_zero(codes, 2, "nested timeout");
    }
    unsetenv("WEFT_FLAT_BYTES");
}

// The second of two queued small operations must not take over what the first one, which failed,
// has left in the slots.
static int queue_after_mismatch(struct rank_process *process)
{
    int32_t a[1] = {100}, b[2] = {process->rank ? 2 : 1000, process->rank ? 2 : 1000};
    weft_request first, second;
    if (process->create_status != WEFT_OK)
        return 1;
    if (process->rank == 1) {
        weft_status status = weft_all_reduce(b, b, 2, WEFT_INT32, WEFT_SUM, process->comm, NULL);
        return status == WEFT_MISMATCH ? 0 : 2;
    }
    if (weft_all_reduce(a, a, 1, WEFT_INT32, WEFT_SUM, process->comm, &first) != WEFT_OK)
        return 3;
    weft_status status = weft_all_reduce(b, b, 2, WEFT_INT32, WEFT_SUM, process->comm, &second);
    if (weft_wait(&first) != WEFT_MISMATCH)
        return 4;
    if (status == WEFT_OK) // else a progress thread has found the mismatch before
        status = weft_wait(&second);
    return status == WEFT_MISMATCH ? 0 : 5;
}

static void test_queue_after_mismatch(void **state)
{
    (void)state;
    int codes[2];
    run_ranks(2, timeout_ns, LIMIT_S, queue_after_mismatch, NULL, codes);
    assert_all_zero(codes, 2, "queue after a mismatch");
}

// Rank 0 aborts, or gives up its context, and is gone: the others hear of it at once.
static int leave(struct rank_process *process)
{
    int which = *(int *)process->argument;
    float *data = calloc(300000, sizeof *data);
    size_t count = which == 0 ? 300000 : 5;
    weft_request request;
    weft_status status = process->create_status;
    int64_t began_ns = weft_clock_ns();
    if (status == WEFT_OK && process->rank == 0 && which < 2) {
        weft_comm_abort(process->comm);
        weft_comm_destroy(&process->comm);
        usleep(300000);
        free(data);
        return 0;
    }
    if (status == WEFT_OK && process->rank == 0) {
        status =
            weft_all_reduce(data, data, 300000, WEFT_FLOAT32, WEFT_SUM, process->comm, &request);
        process->comm = NULL; // goes with the context
        weft_context_destroy(&process->context);
        free(data);
        return status == WEFT_OK && weft_test(&request) == WEFT_ABORTED ? 0 : 1;
    }
    usleep(50000);
    if (status == WEFT_OK)
        status = weft_all_reduce(data, data, which == 2 ? 300000 : count, WEFT_FLOAT32, WEFT_SUM,
                                 process->comm, NULL);
    free(data);
    return expect(process, status, WEFT_ABORTED, "rank 0", began_ns, INT64_C(2000000000));
}

static void test_leaving(void **state)
{
    (void)state;
    int codes[RANKS];
    for (int which = 0; which < 3; which++) {
        run_ranks(RANKS, timeout_ns, LIMIT_S, leave, &which, codes);
        assert_all_zero(codes, RANKS, "leaving");
    }
}

// After an abort no further call succeeds, however small and fast.
static int call_after_abort(struct rank_process *process)
{
    float one = 1;
    if (process->create_status != WEFT_OK)
        return 1;
    if (process->rank == 0)
        weft_comm_abort(process->comm);
    weft_status status = WEFT_OK;
    for (int i = 0; i < 1000000 && status == WEFT_OK; i++) {
        status = weft_all_reduce(&one, &one, 1, WEFT_FLOAT32, WEFT_MAX, process->comm, NULL);
        if (process->rank == 0 && status == WEFT_OK)
            return 2;
    }
    return status == WEFT_ABORTED ? 0 : 3;
}

static void test_call_after_abort(void **state)
{
    (void)state;
    int codes[2];
    run_ranks(2, timeout_ns, LIMIT_S, call_after_abort, NULL, codes);
    assert_all_zero(codes, 2, "call after abort");
}

// A root that needs nobody (small, through the slots) among receivers who expect more: they find
// the mismatch, and the root's next call tells it.
static int small_root(struct rank_process *process)
{
    float *data = calloc(300000, sizeof *data);
    int64_t began_ns = weft_clock_ns();
    weft_status status = process->create_status;
    if (status == WEFT_OK)
        status = weft_broadcast(data, data, process->rank == 0 ? 4 : 300000, WEFT_FLOAT32, 0,
                                process->comm, NULL);
    free(data);
    if (process->rank == 0 && status == WEFT_OK)
        status = weft_barrier(process->comm, NULL);
    return expect(process, status, WEFT_MISMATCH, "broadcast", began_ns, INT64_C(2000000000));
}

static void test_small_root(void **state)
{
    (void)state;
    int codes[3];
    run_ranks(3, timeout_ns, LIMIT_S, small_root, NULL, codes);
    assert_all_zero(codes, 3, "small root");
}

// Finalize ends after everybody's operations, not only after everybody's call of it.
static int finalize_last(struct rank_process *process)
{
    enum { COUNT = 2000000 };
    int32_t *data = calloc(COUNT, sizeof *data);
    atomic_int *has_received = process->argument;
    weft_request request, twice;
    if (process->create_status != WEFT_OK)
        return 1;
    if (process->rank == 1) {
        for (int i = 0; i < COUNT; i++)
            data[i] = i;
        if (weft_send(data, COUNT, WEFT_INT32, 2, process->comm, &request) != WEFT_OK)
            return 2;
    }
    if (process->rank == 2) {
        usleep(200000);
        atomic_store(has_received, 1);
        if (weft_recv(data, COUNT, WEFT_INT32, 1, process->comm, &request) != WEFT_OK)
            return 3;
    }
    if (weft_group_begin(process->context) != WEFT_OK ||
        weft_comm_finalize(process->comm, NULL) != WEFT_OK ||
        weft_comm_finalize(process->comm, &twice) != WEFT_OK ||
        weft_group_end(process->context, NULL) != WEFT_INVALID_USAGE ||
        weft_test(&twice) != WEFT_INVALID_USAGE)
        return 4;
    if (!atomic_load(has_received))
        return 5; // before the message from 1 to 2 can have moved
    if (process->rank > 0 && weft_test(&request) != WEFT_OK)
        return 6;
    int code = process->rank == 2 && data[COUNT - 1] != COUNT - 1 ? 7 : 0;
    free(data);
    return code;
}

static void test_finalize_last(void **state)
{
    (void)state;
    int codes[3];
    run_ranks(3, timeout_ns, LIMIT_S, finalize_last, shared_by_ranks(), codes);
    assert_all_zero(codes, 3, "finalize");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deaths),          cmocka_unit_test(test_mismatches),
        cmocka_unit_test(test_timeouts),        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_nested_timeouts), cmocka_unit_test(test_queue_after_mismatch),
        cmocka_unit_test(test_leaving),         cmocka_unit_test(test_call_after_abort),
        cmocka_unit_test(test_small_root),      cmocka_unit_test(test_finalize_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
