/*
 * SPDX-License-Identifier: Apache-2.0
 * Meetings over real sockets on the loopback interface: ranks as state machines of one thread or as
 * processes, strangers, missing and dying ranks, disagreement. Waiting always goes through the
 * descriptors, so a descriptor that does not wake its owner makes a test run into its limit.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "transport/bootstrap.h"
#include "transport/endpoint.h"
#include "transport/meeting.h"

enum { MAX_RANKS = 256 };
static const int64_t second_ns = 1000000000;

/* A meeting point and ranks in one thread. */
struct hall {
    struct weft_meeting *meeting;
    weft_unique_id id;
    weft_status meeting_status;
    struct weft_error meeting_error;
    int num_ranks;
    struct weft_bootstrap *ranks[MAX_RANKS];
    weft_status status[MAX_RANKS];
    struct weft_error error[MAX_RANKS];
    int wakes; // of the poll below
};

static void open_hall(struct hall *hall, const char *address)
{
    struct weft_error error = {0};
    memset(hall, 0, sizeof *hall);
    hall->meeting_status = WEFT_IN_PROGRESS;
    if (weft_meeting_open(address, 0, NULL, &hall->meeting, &hall->id, &error) != WEFT_OK)
        fail_msg("%s", error.text);
}

static void join(struct hall *hall, int rank, int num_ranks, size_t blob_bytes, int64_t timeout_ns)
{
    struct weft_error error = {0};
    char *blob = malloc(blob_bytes + 1);
    assert_non_null(blob);
    memset(blob, 'a' + rank % 26, blob_bytes);
    int i = hall->num_ranks++;
    hall->status[i] = WEFT_IN_PROGRESS;
    if (weft_bootstrap_start(&hall->id, rank, num_ranks, blob, blob_bytes,
                             weft_deadline_after(timeout_ns), &hall->ranks[i], &error) != WEFT_OK)
        fail_msg("%s", error.text);
    free(blob);
}

/* One turn: sleeps on the descriptors of those that are still at it; false: all are done. */
static bool turn(struct hall *hall, int limit_ms)
{
    struct pollfd polls[MAX_RANKS + 1];
    int which[MAX_RANKS + 1], num = 0;
    if (hall->meeting && hall->meeting_status == WEFT_IN_PROGRESS) {
        which[num] = -1;
        polls[num++] =
            (struct pollfd){.fd = weft_meeting_descriptor(hall->meeting), .events = POLLIN};
    }
    bool rank_left = false;
    for (int i = 0; i < hall->num_ranks; i++) {
        if (!hall->ranks[i] || hall->status[i] != WEFT_IN_PROGRESS)
            continue;
        rank_left = true;
        which[num] = i;
        polls[num++] =
            (struct pollfd){.fd = weft_bootstrap_descriptor(hall->ranks[i]), .events = POLLIN};
    }
    if (num == 0)
        return false;
    int ready = poll(polls, (nfds_t)num, limit_ms);
    if (ready == 0)
        fail_msg("nothing happened for %d ms (%d ranks waiting)", limit_ms, rank_left);
    hall->wakes++;
    for (int k = 0; k < num; k++) {
        if (!polls[k].revents)
            continue;
        int i = which[k];
        if (i < 0)
            hall->meeting_status = weft_meeting_progress(hall->meeting, &hall->meeting_error);
        else
            hall->status[i] = weft_bootstrap_progress(hall->ranks[i], &hall->error[i]);
    }
    return true;
}

static void run(struct hall *hall, int64_t limit_ns)
{
    int64_t until = weft_deadline_after(limit_ns);
    while (turn(hall, (int)(limit_ns / 1000000)))
        if (weft_clock_ns() > until)
            fail_msg("the meeting did not end in %lld ms", (long long)(limit_ns / 1000000));
}

static void close_hall(struct hall *hall)
{
    for (int i = 0; i < hall->num_ranks; i++)
        weft_bootstrap_close(&hall->ranks[i]);
    weft_meeting_close(&hall->meeting);
}

static void check_blobs(struct hall *hall, int num_ranks, size_t (*size_of)(int rank))
{
    for (int i = 0; i < hall->num_ranks; i++) {
        if (hall->status[i] != WEFT_OK)
            fail_msg("rank %d: %s", i, hall->error[i].text);
        for (int rank = 0; rank < num_ranks; rank++) {
            size_t bytes = 1;
            const char *blob = weft_bootstrap_blob(hall->ranks[i], rank, &bytes);
            assert_int_equal(bytes, size_of(rank));
            for (size_t k = 0; k < bytes; k++)
                assert_int_equal(blob[k], 'a' + rank % 26);
        }
    }
}

static size_t odd_size(int rank)
{
    static const size_t sizes[] = {0, 1, 300, 65536, 17};
    return sizes[rank % 5];
}

static size_t plain_size(int rank)
{
    (void)rank;
    return 300;
}

static void test_meets(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 3, 8, 17};
    static const char *const addresses[] = {"127.0.0.1", "::1", "0.0.0.0", "::"};
    for (size_t a = 0; a < 4; a++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            struct hall hall;
            open_hall(&hall, addresses[a]);
            for (int rank = counts[c] - 1; rank >= 0; rank--)
                join(&hall, rank, counts[c], odd_size(rank), 10 * second_ns);
            run(&hall, 10 * second_ns);
            assert_int_equal(hall.meeting_status, WEFT_OK);
            check_blobs(&hall, counts[c], odd_size);
            close_hall(&hall);
        }
    }
}

/* An idle meeting sleeps: nothing wakes it until something can be done. */
static void test_sleeps_while_waiting(void **state)
{
    (void)state;
    struct hall hall;
    open_hall(&hall, "127.0.0.1");
    join(&hall, 0, 2, 10, second_ns / 2);
    run(&hall, 5 * second_ns);
    assert_int_equal(hall.status[0], WEFT_TIMEOUT);
    assert_true(hall.wakes < 40);
    close_hall(&hall);
}

static void test_timeout_names_the_missing(void **state)
{
    (void)state;
    struct hall hall;
    open_hall(&hall, "127.0.0.1");
    int64_t start = weft_clock_ns();
    join(&hall, 0, 9, 10, second_ns / 2);
    join(&hall, 4, 9, 10, 5 * second_ns);
    join(&hall, 8, 9, 10, 5 * second_ns);
    run(&hall, 5 * second_ns);
    assert_true(weft_clock_ns() - start < 2 * second_ns);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hall.status[i], WEFT_TIMEOUT);
        assert_string_equal(hall.error[i].text,
                            "6 of 9 ranks did not come to the meeting in time: 1-3, 5-7");
    }
    assert_int_equal(hall.meeting_status, WEFT_TIMEOUT);
    close_hall(&hall);
}

static void test_no_meeting_point(void **state)
{
    (void)state;
    struct hall hall;
    open_hall(&hall, "127.0.0.1");
    weft_meeting_close(&hall.meeting);
    join(&hall, 1, 2, 10, second_ns / 3);
    run(&hall, 2 * second_ns);
    assert_int_equal(hall.status[0], WEFT_TIMEOUT);
    assert_non_null(
        strstr(hall.error[0].text, "rank 1 did not reach the meeting point at 127.0.0.1:"));
    assert_non_null(strstr(hall.error[0].text, "Connection refused"));
    assert_true(hall.wakes < 60);
    close_hall(&hall);
}

static void test_meeting_point_comes_later(void **state)
{
    (void)state;
    struct hall hall;
    unsigned char secret[32];
    struct weft_error error = {0};
    weft_unique_id later;
    struct weft_id_contents contents;
    open_hall(&hall, "127.0.0.1");
    assert_int_equal(weft_id_unpack(&hall.id, &contents, &error), WEFT_OK);
    int port = contents.endpoint.port;
    weft_meeting_close(&hall.meeting);
    assert_int_equal(weft_unique_id_from_address("localhost", port, "a phrase", &hall.id, &error),
                     WEFT_OK);
    for (int rank = 0; rank < 4; rank++)
        join(&hall, rank, 4, plain_size(rank), 5 * second_ns);
    int64_t until = weft_deadline_after(second_ns / 3);
    while (weft_clock_ns() < until)
        turn(&hall, 1000);
    weft_secret_from_text("a phrase", secret);
    assert_int_equal(weft_meeting_open("127.0.0.1", port, secret, &hall.meeting, &later, &error),
                     WEFT_OK);
    // "localhost" may be ::1 first; the id of the meeting itself is the same only for IPv4.
    if (memcmp(&later, &hall.id, sizeof later) == 0)
        run(&hall, 5 * second_ns);
    else
        fail_msg("localhost is not 127.0.0.1 here");
    check_blobs(&hall, 4, plain_size);
    close_hall(&hall);
}

static void test_wrong_secret(void **state)
{
    (void)state;
    struct hall hall;
    struct weft_error error = {0};
    struct weft_id_contents contents;
    open_hall(&hall, "127.0.0.1");
    weft_unique_id good = hall.id;
    assert_int_equal(weft_id_unpack(&good, &contents, &error), WEFT_OK);
    contents.secret[5] ^= 1;
    weft_id_pack(&contents, &hall.id);
    join(&hall, 1, 2, 10, 5 * second_ns);
    while (hall.status[0] == WEFT_IN_PROGRESS)
        turn(&hall, 2000);
    assert_int_equal(hall.status[0], WEFT_PERMISSION);
    assert_non_null(strstr(hall.error[0].text, "does not know the secret"));
    // And the meeting goes on without having noticed.
    hall.id = good;
    join(&hall, 0, 2, 300, 5 * second_ns);
    join(&hall, 1, 2, 300, 5 * second_ns);
    run(&hall, 5 * second_ns);
    assert_int_equal(hall.status[1], WEFT_OK);
    assert_int_equal(hall.status[2], WEFT_OK);
    close_hall(&hall);
}

static void test_rank_leaves(void **state)
{
    (void)state;
    struct hall hall;
    open_hall(&hall, "127.0.0.1");
    for (int rank = 0; rank < 3; rank++)
        join(&hall, rank, 4, 10, 10 * second_ns);
    int64_t until = weft_deadline_after(second_ns / 5);
    while (weft_clock_ns() < until)
        if (poll(NULL, 0, 5) == 0)
            for (int i = 0; i < 3; i++) {
                hall.meeting_status = weft_meeting_progress(hall.meeting, &hall.meeting_error);
                hall.status[i] = weft_bootstrap_progress(hall.ranks[i], &hall.error[i]);
                assert_int_equal(hall.status[i], WEFT_IN_PROGRESS);
            }
    weft_bootstrap_close(&hall.ranks[1]);
    // A rank that comes only now hears of it too.
    for (int i = 0; i < 20; i++)
        hall.meeting_status = weft_meeting_progress(hall.meeting, &hall.meeting_error);
    join(&hall, 3, 4, 10, 10 * second_ns);
    int64_t start = weft_clock_ns();
    run(&hall, 5 * second_ns);
    assert_true(weft_clock_ns() - start < second_ns);
    char expected[64];
    snprintf(expected, sizeof expected, "rank 1 (pid %d on ", (int)getpid());
    for (int i = 0; i < 4; i++) {
        if (i == 1)
            continue;
        assert_int_equal(hall.status[i], WEFT_REMOTE);
        assert_non_null(strstr(hall.error[i].text, expected));
        assert_non_null(strstr(hall.error[i].text, "left the meeting"));
    }
    assert_int_equal(hall.meeting_status, WEFT_REMOTE);
    close_hall(&hall);
}

static void test_reported_death(void **state)
{
    (void)state;
    struct hall hall;
    open_hall(&hall, "127.0.0.1");
    join(&hall, 0, 3, 10, 10 * second_ns);
    join(&hall, 1, 3, 10, 10 * second_ns);
    for (int i = 0; i < 50; i++)
        if (poll(NULL, 0, 1) == 0) {
            hall.meeting_status = weft_meeting_progress(hall.meeting, &hall.meeting_error);
            hall.status[0] = weft_bootstrap_progress(hall.ranks[0], &hall.error[0]);
            hall.status[1] = weft_bootstrap_progress(hall.ranks[1], &hall.error[1]);
        }
    weft_meeting_report_death(hall.meeting, 2, "rank 2 (pid 77) was killed by signal 9");
    run(&hall, 5 * second_ns);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hall.status[i], WEFT_REMOTE);
        assert_string_equal(hall.error[i].text, "rank 2 (pid 77) was killed by signal 9");
    }
    assert_int_equal(hall.meeting_status, WEFT_REMOTE);
    close_hall(&hall);
}

static void test_disagreement(void **state)
{
    (void)state;
    struct hall hall;
    open_hall(&hall, "127.0.0.1");
    join(&hall, 0, 3, 10, 10 * second_ns);
    join(&hall, 2, 3, 10, 10 * second_ns);
    join(&hall, 2, 3, 10, 10 * second_ns);
    run(&hall, 5 * second_ns);
    assert_int_equal(hall.meeting_status, WEFT_MISMATCH);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hall.status[i], WEFT_MISMATCH);
        assert_non_null(strstr(hall.error[i].text, "rank 2 is claimed by pid "));
    }
    close_hall(&hall);

    open_hall(&hall, "127.0.0.1");
    join(&hall, 0, 3, 10, 10 * second_ns);
    join(&hall, 1, 4, 10, 10 * second_ns);
    run(&hall, 5 * second_ns);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hall.status[i], WEFT_MISMATCH);
        assert_non_null(strstr(hall.error[i].text, "says there are "));
        assert_non_null(strstr(hall.error[i].text, "rank 0 (pid "));
        assert_non_null(strstr(hall.error[i].text, "rank 1 (pid "));
    }
    close_hall(&hall);
}

static void test_port_in_use(void **state)
{
    (void)state;
    struct hall hall;
    struct weft_error error = {0};
    struct weft_id_contents contents;
    struct weft_meeting *second = NULL;
    char expected[64];
    open_hall(&hall, "127.0.0.1");
    assert_int_equal(weft_id_unpack(&hall.id, &contents, &error), WEFT_OK);
    assert_int_equal(
        weft_meeting_open("127.0.0.1", contents.endpoint.port, NULL, &second, &hall.id, &error),
        WEFT_SYSTEM);
    snprintf(expected, sizeof expected, "port %d on 127.0.0.1 is in use", contents.endpoint.port);
    assert_string_equal(error.text, expected);
    assert_null(second);
    assert_int_equal(weft_meeting_open("8.8.8.8", 0, NULL, &second, &hall.id, &error), WEFT_SYSTEM);
    assert_int_equal(weft_meeting_open("no address", 0, NULL, &second, &hall.id, &error),
                     WEFT_INVALID_ARGUMENT);
    close_hall(&hall);
}

static void refuse_id(const weft_unique_id *id, const char *reason)
{
    struct weft_error error = {0};
    struct weft_bootstrap *bootstrap = NULL;
    assert_int_equal(
        weft_bootstrap_start(id, 0, 1, NULL, 0, weft_deadline_after(second_ns), &bootstrap, &error),
        WEFT_INVALID_ARGUMENT);
    assert_null(bootstrap);
    if (!strstr(error.text, reason))
        fail_msg("'%s' does not say '%s'", error.text, reason);
}

static void test_ids(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_id_contents contents = {.endpoint = {4, 80, {127, 0, 0, 1}}};
    char hex[2 * WEFT_UNIQUE_ID_BYTES + 1];
    weft_unique_id id, back;
    weft_id_pack(&contents, &id);
    weft_unique_id_to_hex(&id, hex);
    assert_int_equal(strlen(hex), 2 * WEFT_UNIQUE_ID_BYTES);
    assert_int_equal(weft_unique_id_from_hex(hex, &back, &error), WEFT_OK);
    assert_memory_equal(&id, &back, sizeof id);
    hex[7] = 'x';
    assert_int_equal(weft_unique_id_from_hex(hex, &back, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "character 8 "));
    hex[20] = '\0';
    assert_int_equal(weft_unique_id_from_hex(hex, &back, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.text, "this text 20"));

    for (size_t byte = 0; byte < WEFT_UNIQUE_ID_BYTES; byte++) {
        back = id;
        back.bytes[byte] ^= 4;
        refuse_id(&back, byte < 6 ? "no unique id" : byte == 6 ? "version 5" : "checksum");
    }
    contents.endpoint.port = 0;
    weft_id_pack(&contents, &back);
    refuse_id(&back, "port 0");
    contents.endpoint = (struct weft_endpoint){.family = 5, .port = 80};
    weft_id_pack(&contents, &back);
    refuse_id(&back, "address family 5");

    struct weft_bootstrap *bootstrap = NULL;
    static char big[WEFT_BLOB_LIMIT_BYTES + 1];
    assert_int_equal(weft_bootstrap_start(&id, 2, 2, NULL, 0, 0, &bootstrap, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_bootstrap_start(&id, -1, 2, NULL, 0, 0, &bootstrap, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_bootstrap_start(&id, 0, 0, NULL, 0, 0, &bootstrap, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_bootstrap_start(&id, 0, 1, big, sizeof big, 0, &bootstrap, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_null(bootstrap);
    assert_int_equal(weft_unique_id_from_address("127.0.0.1", 70000, "s", &id, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_unique_id_from_address("127.0.0.1", 0, "s", &id, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_unique_id_from_address("127.0.0.1", 80, "", &id, &error),
                     WEFT_INVALID_ARGUMENT);
}

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
    open_hall(&hall, "127.0.0.1");
    assert_int_equal(weft_id_unpack(&hall.id, &contents, &error), WEFT_OK);
    flood.endpoint = contents.endpoint;
    assert_int_equal(pthread_create(&thread, NULL, flood_main, &flood), 0);
    int64_t until = weft_deadline_after(5 * second_ns);
    while (atomic_load(&flood.opened) < NUM_STRANGERS && weft_clock_ns() < until)
        turn(&hall, 1000);
    assert_true(atomic_load(&flood.opened) >= NUM_STRANGERS);
    int64_t start = weft_clock_ns();
    for (int rank = 0; rank < 8; rank++)
        join(&hall, rank, 8, plain_size(rank), 15 * second_ns);
    run(&hall, 15 * second_ns);
    int64_t took = weft_clock_ns() - start;
    atomic_store(&flood.stop, true);
    pthread_join(thread, NULL);
    print_message("8 ranks met within %.1f ms among %d strangers\n", (double)took / 1e6,
                  atomic_load(&flood.opened));
    check_blobs(&hall, 8, plain_size);
    assert_int_equal(hall.meeting_status, WEFT_OK);
    close_hall(&hall);
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
    open_hall(&hall, "127.0.0.1");
    int64_t start = weft_clock_ns();
    for (int rank = 0; rank < 256; rank++)
        join(&hall, rank, 256, 300, 20 * second_ns);
    run(&hall, 20 * second_ns);
    print_message("256 ranks of one thread met in %.0f ms\n",
                  (double)(weft_clock_ns() - start) / 1e6);
    check_blobs(&hall, 256, plain_size);
    close_hall(&hall);

    open_hall(&hall, "127.0.0.1");
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
    close_hall(&hall);
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
    open_hall(&hall, "127.0.0.1");
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
    assert_true(weft_clock_ns() - start < 2 * second_ns);
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
    close_hall(&hall);
}

/* The process of the meeting point is killed: the ranks that had registered say so. */
static void test_killed_meeting_point(void **state)
{
    (void)state;
    struct hall hall;
    open_hall(&hall, "127.0.0.1");
    pid_t point = fork();
    assert_true(point >= 0);
    if (point == 0) {
        serve(&hall, 20 * second_ns);
        _exit(0);
    }
    weft_meeting_close(&hall.meeting);
    join(&hall, 1, 3, 10, 20 * second_ns);
    join(&hall, 2, 3, 10, 20 * second_ns);
    int64_t until = weft_deadline_after(second_ns / 3);
    while (weft_clock_ns() < until)
        if (poll(NULL, 0, 5) == 0)
            for (int i = 0; i < 2; i++)
                assert_int_equal(weft_bootstrap_progress(hall.ranks[i], &hall.error[i]),
                                 WEFT_IN_PROGRESS);
    kill(point, SIGKILL);
    int64_t start = weft_clock_ns();
    run(&hall, 5 * second_ns);
    assert_true(weft_clock_ns() - start < 2 * second_ns);
    assert_int_equal(waitpid(point, NULL, 0), point);
    char expected[64];
    snprintf(expected, sizeof expected, "the meeting point (pid %d on ", (int)point);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hall.status[i], WEFT_REMOTE);
        assert_non_null(strstr(hall.error[i].text, expected));
    }
    close_hall(&hall);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meets),
        cmocka_unit_test(test_sleeps_while_waiting),
        cmocka_unit_test(test_timeout_names_the_missing),
        cmocka_unit_test(test_no_meeting_point),
        cmocka_unit_test(test_meeting_point_comes_later),
        cmocka_unit_test(test_wrong_secret),
        cmocka_unit_test(test_rank_leaves),
        cmocka_unit_test(test_reported_death),
        cmocka_unit_test(test_disagreement),
        cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_256_ranks),
        cmocka_unit_test(test_killed_process),
        cmocka_unit_test(test_killed_meeting_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
