/*
 * SPDX-License-Identifier: Apache-2.0
 * Meetings over real sockets on the loopback interface: missing and leaving ranks, disagreement,
 * ids. Many ranks, strangers and deaths: bootstrap_crowd.c.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/patience.h"
#include "tests/transport/hall.h"
#include "transport/endpoint.h"

static size_t odd_size(int rank)
{
    static const size_t sizes[] = {0, 1, 300, 65536, 17};
    return sizes[rank % 5];
}

static void test_meets(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 3, 8, 17};
    static const char *const addresses[] = {"127.0.0.1", "::1", "0.0.0.0", "::"};
    for (size_t a = 0; a < 4; a++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            struct hall hall;
            hall_open(&hall, addresses[a]);
            for (int rank = counts[c] - 1; rank >= 0; rank--)
                hall_join(&hall, rank, counts[c], odd_size(rank), 10 * second_ns);
            hall_run(&hall, 10 * second_ns);
            assert_int_equal(hall.meeting_status, WEFT_OK);
            hall_check_blobs(&hall, counts[c], odd_size);
            hall_close(&hall);
        }
    }
}

/* An idle meeting sleeps: nothing wakes it until something can be done. */
static void test_sleeps_while_waiting(void **state)
{
    (void)state;
    struct hall hall;
    hall_open(&hall, "127.0.0.1");
    hall_join(&hall, 0, 2, 10, second_ns / 2);
    hall_run(&hall, 5 * second_ns);
    assert_int_equal(hall.status[0], WEFT_TIMEOUT);
    assert_true(hall.wakes < 40);
    hall_close(&hall);
}

static void test_timeout_names_the_missing(void **state)
{
    (void)state;
    struct hall hall;
    hall_open(&hall, "127.0.0.1");
    int64_t start = weft_clock_ns();
    hall_join(&hall, 0, 9, 10, second_ns / 2);
    hall_join(&hall, 4, 9, 10, 5 * second_ns);
    hall_join(&hall, 8, 9, 10, 5 * second_ns);
    hall_run(&hall, 5 * second_ns);
    assert_true(weft_clock_ns() - start < patience(2 * second_ns));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hall.status[i], WEFT_TIMEOUT);
        assert_string_equal(hall.error[i].text,
                            "6 of 9 ranks did not come to the meeting in time: 1-3, 5-7");
    }
    assert_int_equal(hall.meeting_status, WEFT_TIMEOUT);
    hall_close(&hall);
}

static void test_no_meeting_point(void **state)
{
    (void)state;
    struct hall hall;
    hall_open(&hall, "127.0.0.1");
    weft_meeting_close(&hall.meeting);
    hall_join(&hall, 1, 2, 10, second_ns / 3);
    hall_run(&hall, 2 * second_ns);
    assert_int_equal(hall.status[0], WEFT_TIMEOUT);
    assert_non_null(
        strstr(hall.error[0].text, "rank 1 did not reach the meeting point at 127.0.0.1:"));
    assert_non_null(strstr(hall.error[0].text, "Connection refused"));
    assert_true(hall.wakes < 60);
    hall_close(&hall);
}

static void test_meeting_point_comes_later(void **state)
{
    (void)state;
    struct hall hall;
    unsigned char secret[32];
    struct weft_error error = {0};
    weft_unique_id later;
    struct weft_id_contents contents;
    hall_open(&hall, "127.0.0.1");
    assert_int_equal(weft_id_unpack(&hall.id, &contents, &error), WEFT_OK);
    int port = contents.endpoint.port;
    weft_meeting_close(&hall.meeting);
    assert_int_equal(weft_unique_id_from_address("localhost", port, "a phrase", &hall.id, &error),
                     WEFT_OK);
    for (int rank = 0; rank < 4; rank++)
        hall_join(&hall, rank, 4, hall_plain_size(rank), 5 * second_ns);
    int64_t until = weft_deadline_after(second_ns / 3);
    while (weft_clock_ns() < until)
        hall_turn(&hall, 1000);
    weft_secret_from_text("a phrase", secret);
    assert_int_equal(weft_meeting_open("127.0.0.1", port, secret, &hall.meeting, &later, &error),
                     WEFT_OK);
    // "localhost" may be ::1 first; the id of the meeting itself is the same only for IPv4.
    if (memcmp(&later, &hall.id, sizeof later) == 0)
        hall_run(&hall, 5 * second_ns);
    else
        fail_msg("localhost is not 127.0.0.1 here");
    hall_check_blobs(&hall, 4, hall_plain_size);
    hall_close(&hall);
}

static void test_wrong_secret(void **state)
{
    (void)state;
    struct hall hall;
    struct weft_error error = {0};
    struct weft_id_contents contents;
    hall_open(&hall, "127.0.0.1");
    weft_unique_id good = hall.id;
    assert_int_equal(weft_id_unpack(&good, &contents, &error), WEFT_OK);
    contents.secret[5] ^= 1;
    weft_id_pack(&contents, &hall.id);
    hall_join(&hall, 1, 2, 10, 5 * second_ns);
    while (hall.status[0] == WEFT_IN_PROGRESS)
        hall_turn(&hall, 2000);
    assert_int_equal(hall.status[0], WEFT_PERMISSION);
    assert_non_null(strstr(hall.error[0].text, "does not know the secret"));
    // And the meeting goes on without having noticed.
    hall.id = good;
    hall_join(&hall, 0, 2, 300, 5 * second_ns);
    hall_join(&hall, 1, 2, 300, 5 * second_ns);
    hall_run(&hall, 5 * second_ns);
    assert_int_equal(hall.status[1], WEFT_OK);
    assert_int_equal(hall.status[2], WEFT_OK);
    hall_close(&hall);
}

static void test_rank_leaves(void **state)
{
    (void)state;
    struct hall hall;
    hall_open(&hall, "127.0.0.1");
    for (int rank = 0; rank < 3; rank++)
        hall_join(&hall, rank, 4, 10, 10 * second_ns);
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
    hall_join(&hall, 3, 4, 10, 10 * second_ns);
    int64_t start = weft_clock_ns();
    hall_run(&hall, 5 * second_ns);
    assert_true(weft_clock_ns() - start < patience(second_ns));
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
    hall_close(&hall);
}

static void test_reported_death(void **state)
{
    (void)state;
    struct hall hall;
    hall_open(&hall, "127.0.0.1");
    hall_join(&hall, 0, 3, 10, 10 * second_ns);
    hall_join(&hall, 1, 3, 10, 10 * second_ns);
    for (int i = 0; i < 50; i++)
        if (poll(NULL, 0, 1) == 0) {
            hall.meeting_status = weft_meeting_progress(hall.meeting, &hall.meeting_error);
            hall.status[0] = weft_bootstrap_progress(hall.ranks[0], &hall.error[0]);
            hall.status[1] = weft_bootstrap_progress(hall.ranks[1], &hall.error[1]);
        }
    weft_meeting_report_death(hall.meeting, 2, "rank 2 (pid 77) was killed by signal 9");
    hall_run(&hall, 5 * second_ns);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hall.status[i], WEFT_REMOTE);
        assert_string_equal(hall.error[i].text, "rank 2 (pid 77) was killed by signal 9");
    }
    assert_int_equal(hall.meeting_status, WEFT_REMOTE);
    hall_close(&hall);
}

static void test_disagreement(void **state)
{
    (void)state;
    struct hall hall;
    hall_open(&hall, "127.0.0.1");
    hall_join(&hall, 0, 3, 10, 10 * second_ns);
    hall_join(&hall, 2, 3, 10, 10 * second_ns);
    hall_join(&hall, 2, 3, 10, 10 * second_ns);
    hall_run(&hall, 5 * second_ns);
    assert_int_equal(hall.meeting_status, WEFT_MISMATCH);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hall.status[i], WEFT_MISMATCH);
        assert_non_null(strstr(hall.error[i].text, "rank 2 is claimed by pid "));
    }
    hall_close(&hall);

    hall_open(&hall, "127.0.0.1");
    hall_join(&hall, 0, 3, 10, 10 * second_ns);
    hall_join(&hall, 1, 4, 10, 10 * second_ns);
    hall_run(&hall, 5 * second_ns);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hall.status[i], WEFT_MISMATCH);
        assert_non_null(strstr(hall.error[i].text, "says there are "));
        assert_non_null(strstr(hall.error[i].text, "rank 0 (pid "));
        assert_non_null(strstr(hall.error[i].text, "rank 1 (pid "));
    }
    hall_close(&hall);
}

static void test_port_in_use(void **state)
{
    (void)state;
    struct hall hall;
    struct weft_error error = {0};
    struct weft_id_contents contents;
    struct weft_meeting *second = NULL;
    char expected[64];
    hall_open(&hall, "127.0.0.1");
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
    hall_close(&hall);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
