/*
 * SPDX-License-Identifier: Apache-2.0
 * The control plane over real sockets, worlds in one thread: what is said and heard, slow, hostile
 * and strange peers. Waiting goes through the descriptors. Deaths of processes: control_deaths.c.
 */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "tests/patience.h"
#include "transport/control.h"
#include "transport/control_wire.h"
#include "transport/sealed.h"

enum { MAX_WORLD = 64, MAX_HEARD = 4096 };
static const int64_t second_ns = 1000000000;

struct member {
    struct weft_control *control;
    unsigned char address[WEFT_CONTROL_ADDRESS_BYTES];
    struct weft_notice heard[MAX_HEARD];
    int num_heard;
};

struct world {
    int num_ranks;
    struct member members[MAX_WORLD];
};

static struct world world; // large; cleared by make_world

static void hear(void *user, const struct weft_notice *notice)
{
    struct member *member = user;
    if (member->num_heard < MAX_HEARD)
        member->heard[member->num_heard] = *notice;
    member->num_heard++;
}

static void make_world(int num_ranks)
{
    struct weft_error error = {0};
    const void *addresses[MAX_WORLD];
    memset(&world, 0, sizeof world);
    world.num_ranks = num_ranks;
    for (int i = 0; i < num_ranks; i++) {
        struct member *member = &world.members[i];
        if (weft_control_open(i % 2 ? "::1" : "127.0.0.1", &member->control, member->address,
                              &error) != WEFT_OK)
            fail_msg("%s", error.text);
        addresses[i] = member->address;
    }
    for (int i = 0; i < num_ranks; i++) {
        struct weft_control_events events = {&world.members[i], hear};
        if (weft_control_start(world.members[i].control, i, num_ranks, addresses, events, &error) !=
            WEFT_OK)
            fail_msg("%s", error.text);
    }
}

/* Polls and progresses until nothing happens for `quiet_ms`. Returns the number of turns. */
static int settle(int quiet_ms)
{
    int turns = 0;
    int64_t until = weft_deadline_after(patience(10 * second_ns));
    for (;;) {
        struct pollfd polls[MAX_WORLD];
        for (int i = 0; i < world.num_ranks; i++)
            polls[i] = (struct pollfd){.fd = world.members[i].control
                                                 ? weft_control_descriptor(world.members[i].control)
                                                 : -1,
                                       .events = POLLIN};
        if (poll(polls, (nfds_t)world.num_ranks, quiet_ms) == 0)
            return turns;
        if (weft_clock_ns() > until)
            fail_msg("the world does not come to rest");
        for (int i = 0; i < world.num_ranks; i++)
            if (polls[i].revents)
                weft_control_progress(world.members[i].control);
        turns++;
    }
}

static void close_world(void)
{
    for (int i = 0; i < world.num_ranks; i++)
        weft_control_close(&world.members[i].control);
}

static void test_flood_reaches_all_once(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 3, 5, 16, 33};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        int n = counts[c];
        make_world(n);
        // Half of the notices before any connection is up.
        for (int phase = 0; phase < 2; phase++) {
            for (int i = 0; i < n; i++) {
                struct weft_notice notice = {.kind = WEFT_NOTICE_FAILURE,
                                             .comm = (uint32_t)(7 + phase),
                                             .epoch = 3,
                                             .subject = i,
                                             .status = WEFT_TIMEOUT};
                snprintf(notice.text, sizeof notice.text, "notice %d of %d", phase, i);
                weft_control_post(world.members[i].control, &notice);
            }
            settle(50);
        }
        for (int i = 0; i < n; i++) {
            const struct member *member = &world.members[i];
            bool seen[2][MAX_WORLD] = {0};
            assert_int_equal(member->num_heard, 2 * (n - 1));
            for (int k = 0; k < member->num_heard; k++) {
                const struct weft_notice *notice = &member->heard[k];
                char text[64];
                int phase = (int)notice->comm - 7;
                assert_in_range(phase, 0, 1);
                assert_int_not_equal(notice->subject, i);
                assert_false(seen[phase][notice->subject]);
                seen[phase][notice->subject] = true;
                assert_int_equal(notice->kind, WEFT_NOTICE_FAILURE);
                assert_int_equal(notice->status, WEFT_TIMEOUT);
                assert_int_equal(notice->epoch, 3);
                snprintf(text, sizeof text, "notice %d of %d", phase, notice->subject);
                assert_string_equal(notice->text, text);
            }
        }
        close_world();
    }
}

static void test_posted_death(void **state)
{
    (void)state;
    make_world(8);
    struct weft_notice notice = {.kind = WEFT_NOTICE_DEATH, .subject = 5, .text = "5 is no more"};
    weft_control_post(world.members[0].control, &notice);
    weft_control_post(world.members[3].control, &notice); // several may see it
    settle(50);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(world.members[i].num_heard, i != 0 && i != 3);
        assert_true(weft_control_is_dead(world.members[i].control, 5));
        assert_false(weft_control_is_dead(world.members[i].control, 4));
    }
    assert_false(weft_control_is_dead(world.members[1].control, -1));
    assert_false(weft_control_is_dead(world.members[1].control, 8));
    close_world();
}

/* Leaving, one after another, in any state of the connections, is no death. */
static void test_goodbye(void **state)
{
    (void)state;
    make_world(16);
    settle(50);
    for (int i = 0; i < 16; i++) {
        int leaver = i * 7 % 16;
        weft_control_close(&world.members[leaver].control);
        settle(10);
    }
    for (int i = 0; i < 16; i++)
        assert_int_equal(world.members[i].num_heard, 0);
    close_world();
}

/* Two ranks that were slow, so that each has called the other and they have two connections. One
 * tells of a failure and leaves: the other hears it, whichever connection it reads first. */
static void test_last_words(void **state)
{
    (void)state;
    const struct weft_notice notice = {
        .kind = WEFT_NOTICE_FAILURE, .subject = 0, .status = WEFT_MISMATCH};
    for (int leaver = 0; leaver < 2; leaver++) {
        make_world(2);
        usleep(320000);
        int64_t deadline_ns = weft_deadline_after(10 * second_ns);
        struct weft_control *leaves = world.members[leaver].control;
        for (int turn = 0; !weft_control_is_connected(leaves); turn++) { // over one of the two
            assert_true(weft_clock_ns() < deadline_ns);
            weft_control_progress(world.members[turn % 2 ? !leaver : leaver].control);
        }
        weft_control_post(leaves, &notice);
        weft_control_close(&world.members[leaver].control);
        settle(50);
        assert_int_equal(world.members[!leaver].num_heard, 1);
        close_world();
    }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // which have their own
#define COUNTS_WAITS 1
static int num_waits;
int epoll_wait(int epoll, struct epoll_event *events, int limit, int timeout_ms)
{
    num_waits++;
    return (int)syscall(SYS_epoll_pwait, epoll, events, limit, timeout_ms, NULL, _NSIG / 8);
}
#else
#define COUNTS_WAITS 0
static int num_waits;
#endif

static void test_idle_costs_one_call(void **state)
{
    (void)state;
    enum { TURNS = 200000 };
    make_world(16);
    settle(400); // patience is over, too
    int64_t start = weft_clock_ns();
    int happened = 0, waits = num_waits;
    for (int i = 0; i < TURNS; i++)
        happened += weft_control_progress(world.members[5].control);
    print_message("idle progress: %.0f ns\n", (double)(weft_clock_ns() - start) / TURNS);
    assert_int_equal(happened, 0);
    if (COUNTS_WAITS)
        assert_int_equal(num_waits - waits, TURNS);
    close_world();
}

/* Members 1 and 3 hear all of so many notices. */
static void catch_up(int num_notices)
{
    int64_t until = weft_deadline_after(patience(10 * second_ns));
    settle(0);
    while (world.members[1].num_heard + world.members[3].num_heard < 2 * num_notices &&
           weft_clock_ns() < until)
        settle(1);
    assert_true(world.members[1].num_heard + world.members[3].num_heard >= 2 * num_notices);
}

/* A rank that never reads: nobody blocks, nothing grows without bound, and deaths still come. */
static void test_slow_consumer(void **state)
{
    (void)state;
    enum { NOTICES = 60000 };
    make_world(4);
    int64_t until = weft_deadline_after(patience(10 * second_ns));
    for (int i = 0; i < 4 && weft_clock_ns() < until;
         i += weft_control_is_connected(world.members[i].control))
        settle(10);
    settle(50);
    weft_log_set_level(WEFT_LOG_ERROR);
    struct weft_control *asleep = world.members[2].control;
    world.members[2].control = NULL; // no one progresses it
    int64_t worst = 0;
    for (int i = 0; i < NOTICES; i++) {
        struct weft_notice notice = {
            .kind = WEFT_NOTICE_ABORT, .comm = (uint32_t)i, .subject = 0, .status = WEFT_ABORTED};
        memset(notice.text, 'x', sizeof notice.text - 1);
        int64_t start = weft_clock_ns();
        weft_control_post(world.members[0].control, &notice);
        int64_t took = weft_clock_ns() - start;
        worst = took > worst ? took : worst;
        if (i % 100 == 0)
            catch_up(i + 1);
    }
    catch_up(NOTICES);
    weft_log_set_level(WEFT_LOG_WARN);
    assert_int_equal(world.members[1].num_heard, NOTICES);
    assert_int_equal(world.members[3].num_heard, NOTICES);
    struct weft_notice death = {.kind = WEFT_NOTICE_DEATH, .subject = 3, .text = "gone"};
    weft_control_post(world.members[1].control, &death);
    world.members[2].control = asleep;
    settle(100);
    print_message("slow consumer heard %d of %d; worst post %.1f ms\n", world.members[2].num_heard,
                  NOTICES, (double)worst / 1e6);
    assert_true(world.members[2].num_heard < NOTICES);
    assert_true(world.members[2].num_heard > 1000);
    assert_true(weft_control_is_dead(asleep, 3));
    close_world();
}

/* ---- a hostile member: it knows the key and says wrong things ---- */

struct hostile {
    struct weft_watch watch;
    int epoll;
    struct weft_sealed *sealed;
};

static void do_nothing(struct weft_watch *watch)
{
    (void)watch;
}

static void connect_hostile(struct hostile *hostile, int victim)
{
    struct weft_control_address address;
    struct weft_error error = {0};
    int connection;
    hostile->watch.ready = do_nothing;
    assert_int_equal(weft_watch_open(&hostile->epoll, &error), WEFT_OK);
    assert_int_equal(weft_control_read_address(world.members[victim].address, &address, &error),
                     WEFT_OK);
    assert_int_equal(weft_endpoint_connect(&address.endpoint, &connection, &error), WEFT_OK);
    struct weft_sealed_options options = {.role = WEFT_HANDSHAKE_CLIENT,
                                          .secret = address.key,
                                          .purpose = WEFT_CONTROL_PURPOSE,
                                          .epoll = hostile->epoll,
                                          .watch = &hostile->watch,
                                          .frame_limit = 1000};
    assert_int_equal(weft_sealed_open(connection, true, &options, &hostile->sealed, &error),
                     WEFT_OK);
    int64_t until = weft_deadline_after(2 * second_ns);
    while (weft_sealed_progress(hostile->sealed, &error) != WEFT_OK) {
        settle(2);
        assert_true(weft_clock_ns() < until);
    }
}

static void disconnect_hostile(struct hostile *hostile)
{
    weft_sealed_close(&hostile->sealed);
    close(hostile->epoll);
}

static void test_hostile_member(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_control_message hello = {.type = WEFT_CONTROL_HELLO, .rank = 0, .num_ranks = 4};
    struct weft_control_message good = {
        .type = WEFT_CONTROL_NOTICE,
        .rank = 0,
        .sequence = 9,
        .notice = {
            .kind = WEFT_NOTICE_ABORT, .subject = 1, .status = WEFT_ABORTED, .text = "text"}};
    unsigned char base[WEFT_CONTROL_MESSAGE_LIMIT];
    size_t base_bytes = weft_control_write(&good, base);
    // (what, offset of a byte in the message, its value, bytes to cut off)
    static const struct {
        const char *reason;
        size_t offset;
        unsigned char value;
        size_t cut;
    } rows[] = {
        {"unknown type 9", 0, 9, 0},         {"no rank of this world", 1, 77, 0},
        {"unknown kind 4", 9, 4, 0},         {"about rank 200", 18, 200, 0},
        {"unknown status", 23, 200, 0},      {"unknown status", 22, WEFT_IN_PROGRESS, 0},
        {"unknown status", 22, WEFT_OK, 0},  {"no proper end", 27, 0, 0},
        {"no proper end", 26, 'x', 1},       {"cut short", 0, 2, 12},
        {"no rank of this world", 0, 2, 28},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned char message[WEFT_CONTROL_MESSAGE_LIMIT], text[WEFT_CONTROL_MESSAGE_LIMIT];
        struct hostile hostile = {0};
        make_world(4);
        struct weft_control *replaced = world.members[0].control;
        world.members[0].control = NULL; // never gets to speak
        settle(30);
        connect_hostile(&hostile, 1); // rank 1 believes it to be rank 0
        size_t bytes = weft_control_write(&hello, text);
        assert_int_equal(weft_sealed_send(hostile.sealed, text, bytes, &error), WEFT_OK);
        memcpy(message, base, base_bytes);
        // The message that all the others are made from is good.
        assert_int_equal(weft_sealed_send(hostile.sealed, message, base_bytes, &error), WEFT_OK);
        settle(30);
        assert_int_equal(world.members[1].num_heard, 1);
        assert_int_equal(world.members[2].num_heard, 1);
        message[rows[i].offset] = rows[i].value;
        assert_int_equal(
            weft_sealed_send(hostile.sealed, message, base_bytes - rows[i].cut, &error), WEFT_OK);
        settle(30);
        assert_int_equal(world.members[2].num_heard, 2);
        const struct weft_notice *death = &world.members[2].heard[1];
        assert_int_equal(death->kind, WEFT_NOTICE_DEATH);
        assert_int_equal(death->subject, 0);
        if (!strstr(death->text, rows[i].reason) || !strstr(death->text, "protocol violation"))
            fail_msg("row %zu: %s", i, death->text);
        disconnect_hostile(&hostile);
        world.members[0].control = replaced;
        close_world();
    }
}

/* Without the key nobody gets in, and the world does not notice. */
static void test_stranger(void **state)
{
    (void)state;
    struct weft_control_address address;
    struct weft_error error = {0};
    make_world(4);
    assert_int_equal(weft_control_read_address(world.members[1].address, &address, &error),
                     WEFT_OK);
    int sockets[150];
    for (int i = 0; i < 150; i++) {
        assert_int_equal(weft_endpoint_connect(&address.endpoint, &sockets[i], &error), WEFT_OK);
        if (i % 2)
            assert_int_equal(write(sockets[i], "GET / HTTP/1.0\r\n\r\n", 18), 18);
    }
    settle(300);
    struct weft_notice notice = {.kind = WEFT_NOTICE_ABORT, .subject = 1, .status = WEFT_ABORTED};
    weft_control_post(world.members[1].control, &notice);
    settle(50);
    for (int i = 0; i < 4; i++)
        assert_int_equal(world.members[i].num_heard, i != 1);
    for (int i = 0; i < 150; i++)
        close(sockets[i]);
    settle(50);
    close_world();
}

static void test_bad_arguments(void **state)
{
    (void)state;
    struct weft_error error = {0};
    struct weft_control *control = NULL;
    unsigned char address[WEFT_CONTROL_ADDRESS_BYTES], wrong[WEFT_CONTROL_ADDRESS_BYTES];
    assert_int_equal(weft_control_open("0.0.0.0", &control, address, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_control_open("nowhere", &control, address, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_control_open("8.8.8.8", &control, address, &error), WEFT_SYSTEM);
    assert_null(control);
    assert_int_equal(weft_control_open("127.0.0.1", &control, address, &error), WEFT_OK);
    memset(wrong, 0xff, sizeof wrong);
    const void *addresses[] = {address, wrong};
    struct weft_control_events events = {&world.members[0], hear};
    assert_int_equal(weft_control_start(control, 0, 2, addresses, events, &error),
                     WEFT_INVALID_FORMAT);
    assert_non_null(strstr(error.text, "rank 1"));
    weft_control_close(&control);
    weft_control_close(&control);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood_reaches_all_once),
        cmocka_unit_test(test_posted_death),
        cmocka_unit_test(test_goodbye),
        cmocka_unit_test(test_last_words),
        cmocka_unit_test(test_idle_costs_one_call),
        cmocka_unit_test(test_slow_consumer),
        cmocka_unit_test(test_hostile_member),
        cmocka_unit_test(test_stranger),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
