/*
 * SPDX-License-Identifier: Apache-2.0
 * Meetings in a crowd: strangers at the door, 256 ranks in one thread and as processes, processes
 * that are killed.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/patience.h"
#include "tests/transport/hall.h"
#include "transport/endpoint.h"

/* ---- strangers ---- */

enum { NUM_STRANGERS = 200 };

struct flood {
    struct weft_endpoint endpoint;
    _Atomic bool stop;
    _Atomic int opened;
};

/* Opens connections without end, keeps the last 200, sends nothing, garbage, or a good beginning.
 */
static void *flood_main(void *argument)
{
    struct flood *flood = argument;
    int sockets[NUM_STRANGERS];
    for (int i = 0; i < NUM_STRANGERS; i++)
        sockets[i] = -1;
    for (int i = 0; !atomic_load(&flood->stop); i++) {
        static const char hello[] = "weftask1 but then comes nothing";
        char garbage[200];
        int *slot = &sockets[i % NUM_STRANGERS];
        if (*slot >= 0)
            close(*slot);
        *slot = -1;
        if (weft_endpoint_connect(&flood->endpoint, slot, NULL) != WEFT_OK)
            continue;
        memset(garbage, i, sizeof garbage);
        struct pollfd ready = {.fd = *slot, .events = POLLOUT};
        poll(&ready, 1, 20);
        ssize_t sent = 0;
        if (i % 3 == 1)
            sent = send(*slot, garbage, sizeof garbage, MSG_NOSIGNAL);
        else if (i % 3 == 2)
            sent = send(*slot, hello, sizeof hello, MSG_NOSIGNAL);
        (void)sent;
        atomic_fetch_add(&flood->opened, 1);
        if (i > NUM_STRANGERS)
            poll(NULL, 0, 1);
    }
    for (int i = 0; i < NUM_STRANGERS; i++)
        if (sockets[i] >= 0)
            close(sockets[i]);
    return NULL;
}

static void test_strangers(void **state)
{
    (void)state;
    struct hall hall;
    struct weft_error error = {0};
    struct weft_id_contents contents;
    struct flood flood = {0};
    pthread_t thread;
    hall_open(&hall, "127.0.0.1");
    assert_int_equal(weft_id_unpack(&hall.id, &contents, &error), WEFT_OK);
    flood.endpoint = contents.endpoint;
    assert_int_equal(pthread_create(&thread, NULL, flood_main, &flood), 0);
    int64_t until = weft_deadline_after(5 * second_ns);
    while (atomic_load(&flood.opened) < NUM_STRANGERS && weft_clock_ns() < until)
        hall_turn(&hall, 1000);
    assert_true(atomic_load(&flood.opened) >= NUM_STRANGERS);
    int64_t start = weft_clock_ns();
    for (int rank = 0; rank < 8; rank++)
        hall_join(&hall, rank, 8, hall_plain_size(rank), 15 * second_ns);
    hall_run(&hall, 15 * second_ns);
    int64_t took = weft_clock_ns() - start;
    atomic_store(&flood.stop, true);
    pthread_join(thread, NULL);
    print_message("8 ranks met within %.1f ms among %d strangers\n", (double)took / 1e6,
                  atomic_load(&flood.opened));
    hall_check_blobs(&hall, 8, hall_plain_size);
    assert_int_equal(hall.meeting_status, WEFT_OK);
    hall_close(&hall);
}

/* ---- processes ---- */

static weft_status meet_as_process(const weft_unique_id *id, int rank, int num_ranks,
                                   int64_t timeout_ns, struct weft_error *error)
{
    struct weft_bootstrap *bootstrap = NULL;
    char blob[300];
    memset(blob, 'a' + rank % 26, sizeof blob);
    weft_status status = weft_bootstrap_start(id, rank, num_ranks, blob, sizeof blob,
                                              weft_deadline_after(timeout_ns), &bootstrap, error);
    while (status == WEFT_OK || status == WEFT_IN_PROGRESS) {
        struct pollfd ready = {.fd = weft_bootstrap_descriptor(bootstrap), .events = POLLIN};
        poll(&ready, 1, (int)(2 * timeout_ns / 1000000));
        status = weft_bootstrap_progress(bootstrap, error);
        if (status == WEFT_OK)
            break;
    }
    for (int other = 0; status == WEFT_OK && other < num_ranks; other++) {
        size_t bytes = 0;
        const char *data = weft_bootstrap_blob(bootstrap, other, &bytes);
        if (bytes != sizeof blob || data[0] != 'a' + other % 26 || data[299] != data[0])
            status = WEFT_INTERNAL;
    }
    weft_bootstrap_close(&bootstrap);
    return status;
}

static void serve(struct hall *hall, int64_t limit_ns)
{
    int64_t until = weft_deadline_after(limit_ns);
    while (hall->meeting_status == WEFT_IN_PROGRESS && weft_clock_ns() < until) {
        struct pollfd ready = {.fd = weft_meeting_descriptor(hall->meeting), .events = POLLIN};
        poll(&ready, 1, (int)(limit_ns / 1000000));
        hall->meeting_status = weft_meeting_progress(hall->meeting, &hall->meeting_error);
    }
}

static void test_256_ranks(void **state)
{
    (void)state;
    struct hall hall;
    hall_open(&hall, "127.0.0.1");
    int64_t start = weft_clock_ns();
    for (int rank = 0; rank < 256; rank++)
        hall_join(&hall, rank, 256, 300, 20 * second_ns);
    hall_run(&hall, 20 * second_ns);
    print_message("256 ranks of one thread met in %.0f ms\n",
                  (double)(weft_clock_ns() - start) / 1e6);
    hall_check_blobs(&hall, 256, hall_plain_size);
    hall_close(&hall);

    hall_open(&hall, "127.0.0.1");
    pid_t pids[256];
    start = weft_clock_ns();
    for (int rank = 0; rank < 256; rank++) {
        pids[rank] = fork();
        assert_true(pids[rank] >= 0);
        if (pids[rank] == 0) {
            struct weft_error error = {0};
            _exit(meet_as_process(&hall.id, rank, 256, 30 * second_ns, &error) == WEFT_OK ? 0 : 1);
        }
    }
    int64_t forked = weft_clock_ns();
    serve(&hall, 30 * second_ns);
    int64_t met = weft_clock_ns();
    int failures = 0;
    for (int rank = 0; rank < 256; rank++) {
        int code = 0;
        assert_int_equal(waitpid(pids[rank], &code, 0), pids[rank]);
        failures += code != 0;
    }
    print_message("256 processes met in %.0f ms (after %.0f ms of forking)\n",
                  (double)(met - forked) / 1e6, (double)(forked - start) / 1e6);
    if (hall.meeting_status != WEFT_OK)
        fail_msg("%s", hall.meeting_error.text);
    assert_int_equal(failures, 0);
    hall_close(&hall);
}

/* A process is killed while it waits: all others, and the meeting point, name it and its pid. */
static void test_killed_process(void **state)
{
    (void)state;
    enum { NUM = 6, VICTIM = 4 };
    struct hall hall;
    pid_t pids[NUM];
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    hall_open(&hall, "127.0.0.1");
    for (int rank = 0; rank < NUM - 1; rank++) { // the last one never comes
        pids[rank] = fork();
        assert_true(pids[rank] >= 0);
        if (pids[rank] == 0) {
            struct weft_error error = {0};
            char line[700];
            weft_status status = meet_as_process(&hall.id, rank, NUM, 20 * second_ns, &error);
            int bytes =
                snprintf(line, sizeof line, "%s|%s\n", weft_status_name(status), error.text);
            _exit(write(pipes[1], line, (size_t)bytes) == bytes ? 0 : 1);
        }
    }
    close(pipes[1]);
    int64_t until = weft_deadline_after(second_ns / 2);
    while (weft_clock_ns() < until) {
        struct pollfd ready = {.fd = weft_meeting_descriptor(hall.meeting), .events = POLLIN};
        poll(&ready, 1, 20);
        assert_int_equal(weft_meeting_progress(hall.meeting, &hall.meeting_error),
                         WEFT_IN_PROGRESS);
    }
    kill(pids[VICTIM], SIGKILL);
    int64_t start = weft_clock_ns();
    serve(&hall, 5 * second_ns);
    for (int rank = 0; rank < NUM - 1; rank++)
        assert_int_equal(waitpid(pids[rank], NULL, 0), pids[rank]);
    assert_true(weft_clock_ns() - start < patience(2 * second_ns));
    assert_int_equal(hall.meeting_status, WEFT_REMOTE);
    char expected[64], text[8192];
    snprintf(expected, sizeof expected, "WEFT_REMOTE|rank %d (pid %d on ", VICTIM,
             (int)pids[VICTIM]);
    ssize_t bytes = read(pipes[0], text, sizeof text - 1);
    assert_true(bytes > 0);
    text[bytes] = '\0';
    int found = 0;
    for (char *at = text; (at = strstr(at, expected)); at++)
        found++;
    assert_int_equal(found, NUM - 2);
    close(pipes[0]);
    hall_close(&hall);
}

/* The process of the meeting point is killed: the ranks that had registered say so. */
static void test_killed_meeting_point(void **state)
{
    (void)state;
    struct hall hall;
    hall_open(&hall, "127.0.0.1");
    pid_t point = fork();
    assert_true(point >= 0);
    if (point == 0) {
        serve(&hall, 20 * second_ns);
        _exit(0);
    }
    weft_meeting_close(&hall.meeting);
    hall_join(&hall, 1, 3, 10, 20 * second_ns);
    hall_join(&hall, 2, 3, 10, 20 * second_ns);
    int64_t until = weft_deadline_after(second_ns / 3);
    while (weft_clock_ns() < until)
        if (poll(NULL, 0, 5) == 0)
            for (int i = 0; i < 2; i++)
                assert_int_equal(weft_bootstrap_progress(hall.ranks[i], &hall.error[i]),
                                 WEFT_IN_PROGRESS);
    kill(point, SIGKILL);
    int64_t start = weft_clock_ns();
    hall_run(&hall, 5 * second_ns);
    assert_true(weft_clock_ns() - start < patience(2 * second_ns));
    assert_int_equal(waitpid(point, NULL, 0), point);
    char expected[64];
    snprintf(expected, sizeof expected, "the meeting point (pid %d on ", (int)point);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hall.status[i], WEFT_REMOTE);
        assert_non_null(strstr(hall.error[i].text, expected));
    }
    hall_close(&hall);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_256_ranks),
        cmocka_unit_test(test_killed_process),
        cmocka_unit_test(test_killed_meeting_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
