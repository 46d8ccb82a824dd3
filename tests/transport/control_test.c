/*
 * SPDX-License-Identifier: Apache-2.0
 * The control plane over real sockets: worlds in one thread for what is said and heard, worlds of
 * processes for deaths. Waiting goes through the descriptors.
 */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/bootstrap.h"
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
    int64_t until = weft_deadline_after(10 * second_ns);
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

static void test_idle_costs_one_call(void **state)
{
    (void)state;
    enum { TURNS = 200000 };
    make_world(16);
    settle(400); // patience is over, too
    int64_t start = weft_clock_ns();
    int happened = 0;
    for (int i = 0; i < TURNS; i++)
        happened += weft_control_progress(world.members[5].control);
    double each = (double)(weft_clock_ns() - start) / TURNS;
    print_message("idle progress: %.0f ns\n", each);
    assert_int_equal(happened, 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(each < 5000); // 1000 is the aim; a busy machine may be slower
#endif
    close_world();
}

/* A rank that never reads: nobody blocks, nothing grows without bound, and deaths still come. */
static void test_slow_consumer(void **state)
{
    (void)state;
    enum { NOTICES = 60000 };
    make_world(4);
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
            settle(0);
    }
    settle(50);
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

/* ---- processes that are killed ---- */

enum { PROCESSES = 16 };

struct record {
    int32_t observer;
    int32_t subject; // -1: this observer has started; -2: it failed
    int64_t at_ns;
    char text[160];
};

struct observer {
    int rank;
    int out;
};

static void report(const struct observer *observer, int subject, const char *text)
{
    struct record record = {observer->rank, subject, weft_clock_ns(), ""};
    snprintf(record.text, sizeof record.text, "%.150s", text);
    if (write(observer->out, &record, sizeof record) != (ssize_t)sizeof record)
        _exit(3);
}

static void observe(void *user, const struct weft_notice *notice)
{
    const struct observer *observer = user;
    if (notice->kind == WEFT_NOTICE_DEATH)
        report(observer, notice->subject, notice->text);
}

/* Ends when the parent closes `stop`. */
static void live(const weft_unique_id *id, int rank, int out, int stop)
{
    struct observer observer = {rank, out};
    struct weft_error error = {0};
    struct weft_control *control = NULL;
    struct weft_bootstrap *bootstrap = NULL;
    unsigned char address[WEFT_CONTROL_ADDRESS_BYTES];
    const void *addresses[PROCESSES];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    weft_status status = weft_control_open("127.0.0.1", &control, address, &error);
    if (status == WEFT_OK)
        status = weft_bootstrap_start(id, rank, PROCESSES, address, sizeof address,
                                      weft_deadline_after(10 * second_ns), &bootstrap, &error);
    while (status == WEFT_OK) {
        struct pollfd ready = {.fd = weft_bootstrap_descriptor(bootstrap), .events = POLLIN};
        poll(&ready, 1, 10000);
        status = weft_bootstrap_progress(bootstrap, &error);
        if (status == WEFT_OK)
            break;
        if (status == WEFT_IN_PROGRESS)
            status = WEFT_OK;
    }
    for (int i = 0; status == WEFT_OK && i < PROCESSES; i++) {
        size_t bytes;
        addresses[i] = weft_bootstrap_blob(bootstrap, i, &bytes);
        if (bytes != sizeof address)
            status = WEFT_INTERNAL;
    }
    struct weft_control_events events = {&observer, observe};
    if (status == WEFT_OK)
        status = weft_control_start(control, rank, PROCESSES, addresses, events, &error);
    weft_bootstrap_close(&bootstrap);
    report(&observer, status == WEFT_OK ? -1 : -2, error.text);
    while (status == WEFT_OK) {
        struct pollfd ready[2] = {{.fd = weft_control_descriptor(control), .events = POLLIN},
                                  {.fd = stop, .events = POLLIN}};
        poll(ready, 2, 10000);
        weft_control_progress(control);
        if (ready[1].revents)
            break;
    }
    weft_control_close(&control);
    _exit(status == WEFT_OK ? 0 : 1);
}

static bool are_neighbours(int a, int b)
{
    for (int hop = 1; hop < PROCESSES; hop *= 2)
        if ((a + hop) % PROCESSES == b || (b + hop) % PROCESSES == a)
            return true;
    return false;
}

/* Which survivors can know of the death of `subject`: those joined to a neighbour of it by
 * survivors. */
static void who_can_know(const bool *killed, int subject, bool *can)
{
    bool grew = true;
    for (int i = 0; i < PROCESSES; i++)
        can[i] = !killed[i] && are_neighbours(i, subject);
    while (grew) {
        grew = false;
        for (int i = 0; i < PROCESSES; i++)
            for (int k = 0; k < PROCESSES && !killed[i] && !can[i]; k++)
                if (can[k] && are_neighbours(i, k))
                    can[i] = grew = true;
    }
}

/* One world; `victims` of it die, each `delays_us` after the one before, the first so long after
 * the meeting. Rank `stopped` (-1: none) stands still for 2.5 s from the meeting on. Returns the
 * longest time from a kill to the notice. */
static int64_t kill_some(const int *victims, const int *delays_us, int num_victims, int stopped)
{
    struct weft_meeting *meeting = NULL;
    struct weft_error error = {0};
    weft_unique_id id;
    pid_t pids[PROCESSES];
    int out[2], stop[2];
    bool killed[PROCESSES] = {false};
    int64_t killed_ns[PROCESSES] = {0}, worst = 0;
    static int64_t heard_ns[PROCESSES][PROCESSES]; // (observer, subject)
    memset(heard_ns, 0, sizeof heard_ns);
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(stop), 0);
    assert_int_equal(weft_meeting_open("127.0.0.1", 0, NULL, &meeting, &id, &error), WEFT_OK);
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            close(stop[1]);
            close(out[0]);
            live(&id, i, out[1], stop[0]);
        }
    }
    close(out[1]);
    close(stop[0]);
    weft_status status = WEFT_IN_PROGRESS;
    int64_t until = weft_deadline_after(10 * second_ns);
    while (status == WEFT_IN_PROGRESS && weft_clock_ns() < until) {
        struct pollfd ready = {.fd = weft_meeting_descriptor(meeting), .events = POLLIN};
        poll(&ready, 1, 10000);
        status = weft_meeting_progress(meeting, &error);
    }
    if (status != WEFT_OK)
        fail_msg("%s", error.text);
    if (stopped >= 0) {
        kill(pids[stopped], SIGSTOP);
        usleep(2500000);
        kill(pids[stopped], SIGCONT);
    }
    for (int i = 0; i < num_victims; i++) {
        usleep((useconds_t)delays_us[i]);
        killed[victims[i]] = true;
        killed_ns[victims[i]] = weft_clock_ns();
        kill(pids[victims[i]], SIGKILL);
    }
    // Collect until all that must be known is known, and a moment longer for what must not be.
    bool can[PROCESSES];
    int missing = 1;
    until = weft_deadline_after(3 * second_ns);
    while (missing > 0 && weft_clock_ns() < until) {
        struct record record;
        struct pollfd ready = {.fd = out[0], .events = POLLIN};
        if (poll(&ready, 1, 100) > 0) {
            assert_int_equal(read(out[0], &record, sizeof record), (ssize_t)sizeof record);
            if (record.subject == -2)
                fail_msg("rank %d: %s", record.observer, record.text);
            if (record.subject >= 0) {
                if (!killed[record.subject])
                    fail_msg("rank %d took rank %d for dead: %s", record.observer, record.subject,
                             record.text);
                char expected[64];
                snprintf(expected, sizeof expected, "rank %d (pid %d on ", record.subject,
                         (int)pids[record.subject]);
                if (!strstr(record.text, expected) || !strstr(record.text, " died: "))
                    fail_msg("the notice says: %s", record.text);
                assert_int_equal(heard_ns[record.observer][record.subject], 0);
                heard_ns[record.observer][record.subject] = record.at_ns;
            }
        }
        missing = 0;
        for (int v = 0; v < num_victims; v++) {
            who_can_know(killed, victims[v], can);
            for (int i = 0; i < PROCESSES; i++)
                missing += can[i] && heard_ns[i][victims[v]] == 0;
        }
    }
    if (missing > 0)
        fail_msg("%d notices did not come (%d victims, first %d)", missing, num_victims,
                 victims[0]);
    for (int v = 0; v < num_victims; v++)
        for (int i = 0; i < PROCESSES; i++)
            if (heard_ns[i][victims[v]] && !killed[i] &&
                heard_ns[i][victims[v]] - killed_ns[victims[v]] > worst)
                worst = heard_ns[i][victims[v]] - killed_ns[victims[v]];
    close(stop[1]);
    for (int i = 0; i < PROCESSES; i++) {
        int code = 0;
        assert_int_equal(waitpid(pids[i], &code, 0), pids[i]);
        assert_true(killed[i] ? WIFSIGNALED(code) : WIFEXITED(code) && WEXITSTATUS(code) == 0);
    }
    // Nobody took a leaver for dead.
    struct record record;
    while (read(out[0], &record, sizeof record) == (ssize_t)sizeof record)
        if (record.subject >= 0 && !killed[record.subject])
            fail_msg("rank %d took rank %d, who left, for dead: %s", record.observer,
                     record.subject, record.text);
    close(out[0]);
    weft_meeting_close(&meeting);
    return worst;
}

static void test_killed_processes(void **state)
{
    (void)state;
    enum { ROUNDS = 15 };
    unsigned seed = 20240607;
    int64_t worst = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int order[PROCESSES], delays[PROCESSES];
        for (int i = 0; i < PROCESSES; i++)
            order[i] = i;
        for (int i = PROCESSES - 1; i > 0; i--) {
            int k = (int)(rand_r(&seed) % (unsigned)(i + 1));
            int kept = order[i];
            order[i] = order[k];
            order[k] = kept;
        }
        int num_victims = 1 + round % 15;
        if (round % 4 == 0) { // rank 0 is among them
            for (int i = 0; i < PROCESSES; i++)
                if (order[i] == 0)
                    order[i] = order[0];
            order[0] = 0;
        }
        // From "before anyone has connected" to "long after".
        for (int i = 0; i < num_victims; i++)
            delays[i] =
                round % 3 == 0 ? 0 : (int)(rand_r(&seed) % (round % 3 == 1 ? 3000u : 30000u));
        int64_t took = kill_some(order, delays, num_victims, -1);
        worst = took > worst ? took : worst;
    }
    print_message("%d worlds of %d processes: the last survivor heard of a death after %.0f ms\n",
                  ROUNDS, PROCESSES, (double)worst / 1e6);
    assert_true(worst < 2 * second_ns);
}

static void test_nobody_is_killed(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        kill_some(NULL, NULL, 0, -1);
}

/* A process that stands still right after the meeting, before it has connected to anyone, is not
 * taken for dead (nobody's record says so), and takes nobody for dead; a real death is still seen.
 */
static void test_stopped_process(void **state)
{
    (void)state;
    static const int victim = 6, delay_us = 300000;
    kill_some(&victim, &delay_us, 1, 0);
    kill_some(&victim, &delay_us, 1, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood_reaches_all_once),
        cmocka_unit_test(test_posted_death),
        cmocka_unit_test(test_goodbye),
        cmocka_unit_test(test_idle_costs_one_call),
        cmocka_unit_test(test_slow_consumer),
        cmocka_unit_test(test_hostile_member),
        cmocka_unit_test(test_stranger),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_killed_processes),
        cmocka_unit_test(test_nobody_is_killed),
        cmocka_unit_test(test_stopped_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
