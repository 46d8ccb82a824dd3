/*
 * SPDX-License-Identifier: Apache-2.0
 * Every transport of the table between real processes, and between threads with a device each (for
 * the thread sanitizer): traffic both ways, sleeping ends, a clean exit, a death in mid-transfer.
 * Children and threads report by exit code, since cmocka's assertions belong to the main thread.
 */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/patience.h"
#include "tests/transport/rig.h"

enum { ENDS = 3 };

/* Where the ends find each other. */
struct meeting {
    unsigned char addresses[ENDS][WEFT_ADDRESS_BYTES];
    atomic_int num_there;
    atomic_int stage;
};

struct end {
    const struct weft_transport *transport;
    struct meeting *meeting;
    int number;
    int num_ends;
    struct weft_device *device;
    struct weft_connection *connections[ENDS];
    int num_failed;
};

static const int64_t patience_ns = 60000000000;

static void count_failed(void *user, struct weft_connection *connection, const char *reason)
{
    (void)connection;
    (void)reason;
    ((struct end *)user)->num_failed++;
}

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: end %d: %s\n", __FILE__, __LINE__, end->number, #condition);   \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

static bool end_open(struct end *end)
{
    struct weft_device_options options;
    struct weft_error error = {0};
    rig_fill_options(&options, end->number);
    options.events = (struct weft_device_events){.user = end, .failed = count_failed};
    REQUIRE(end->transport->open(&options, &end->device, &error) == WEFT_OK);
    end->transport->address(end->device, end->meeting->addresses[end->number]);
    atomic_fetch_add(&end->meeting->num_there, 1);
    int64_t deadline = weft_deadline_after(patience_ns);
    while (atomic_load(&end->meeting->num_there) < end->num_ends)
        REQUIRE(weft_clock_ns() < deadline);
    for (int i = 0; i < end->num_ends; i++) {
        const char *reason = NULL;
        struct weft_device_options peer;
        const void *address = end->meeting->addresses[i];
        if (i == end->number)
            continue;
        rig_fill_options(&peer, i);
        REQUIRE(end->transport->reachable(end->device, address, &reason));
        REQUIRE(end->transport->connect(end->device, address, peer.process_id, 1, NULL,
                                        &end->connections[i], &error) == WEFT_OK);
    }
    return true;
}

static void end_close(struct end *end)
{
    for (int i = 0; i < end->num_ends; i++)
        end->transport->disconnect(&end->connections[i]);
    end->transport->close(&end->device);
}

static bool end_wait(struct end *end, const struct message *message, bool sleeps)
{
    const struct weft_transport *transport = end->transport;
    int64_t deadline = weft_deadline_after(patience_ns);
    while (!message->num_completed) {
        REQUIRE(weft_clock_ns() < deadline);
        if (transport->progress(end->device) || !sleeps)
            continue;
        transport->arm(end->device, true);
        if (!transport->progress(end->device) && !message->num_completed) {
            // With a missed wake-up this is the second in which nothing happens.
            struct pollfd waited = {.fd = transport->descriptor(end->device), .events = POLLIN};
            REQUIRE(poll(&waited, 1, 20000) == 1);
        }
        transport->arm(end->device, false);
    }
    return true;
}

/* Both ways between all ends: a sliding window of messages of many sizes. */
static bool traffic(struct end *end)
{
    enum { WINDOW = 6, COUNT = 240 };
    static const size_t sizes[] = {0, 1, 8, 100, 192, 193, 4000, 8192, 8193, 33000, 100001, 500000};
    struct message(*messages)[ENDS][2] = calloc(COUNT, sizeof *messages);
    REQUIRE(messages);
    for (uint32_t k = 0; k < COUNT + WINDOW; k++) {
        for (int i = 0; i < end->num_ends; i++) {
            if (i == end->number)
                continue;
            if (k >= WINDOW) {
                struct message *old = messages[k - WINDOW][i];
                REQUIRE(end_wait(end, &old[0], false) && end_wait(end, &old[1], false));
                REQUIRE(old[0].transfer.status == WEFT_OK && message_is_right(&old[1]));
                message_free(&old[0]);
                message_free(&old[1]);
            }
            if (k < COUNT) {
                struct message *pair = messages[k][i];
                size_t bytes = sizes[k * 7 % (sizeof sizes / sizeof *sizes)];
                message_init_send(&pair[0], k, bytes);
                if (k % 3 && bytes % 8 == 0)
                    message_init_sink(&pair[1], k, bytes, 8);
                else
                    message_init_recv(&pair[1], k, bytes);
                weft_status sent =
                    end->transport->post_send(end->connections[i], &pair[0].transfer);
                weft_status received =
                    end->transport->post_recv(end->connections[i], &pair[1].transfer);
                REQUIRE(sent == WEFT_OK && received == WEFT_OK);
            }
        }
    }
    free(messages);
    return true;
}

static bool ping_pong(struct end *end)
{
    struct weft_connection *peer = end->connections[!end->number];
    for (uint32_t k = 0; k < 300; k++) {
        struct message message;
        size_t bytes = k % 10 == 9 ? 200000 : k;
        bool sends = (int)(k % 2) == end->number;
        if (sends)
            message_init_send(&message, k, bytes);
        else
            message_init_recv(&message, k, bytes);
        weft_status posted = sends ? end->transport->post_send(peer, &message.transfer)
                                   : end->transport->post_recv(peer, &message.transfer);
        REQUIRE(posted == WEFT_OK && end_wait(end, &message, true));
        REQUIRE(sends ? message.transfer.status == WEFT_OK : message_is_right(&message));
        message_free(&message);
    }
    return true;
}

/* End 1 leaves as soon as its sends are complete; end 0 looks later and must get them all. */
static bool leaving(struct end *end)
{
    enum { COUNT = 40 };
    struct weft_connection *peer = end->connections[!end->number];
    struct message messages[COUNT], hello;
    if (end->number == 0)
        message_init_recv(&hello, 1000, 1);
    else
        message_init_send(&hello, 1000, 1);
    weft_status posted = end->number ? end->transport->post_send(peer, &hello.transfer)
                                     : end->transport->post_recv(peer, &hello.transfer);
    REQUIRE(posted == WEFT_OK && end_wait(end, &hello, false));
    message_free(&hello);
    if (end->number == 0)
        usleep(100000);
    for (uint32_t k = 0; k < COUNT; k++) {
        if (end->number == 1) {
            message_init_send(&messages[k], k, 8000);
            REQUIRE(end->transport->post_send(peer, &messages[k].transfer) == WEFT_OK);
        } else {
            message_init_recv(&messages[k], k, 8000);
            REQUIRE(end->transport->post_recv(peer, &messages[k].transfer) == WEFT_OK);
        }
    }
    for (int k = 0; k < COUNT; k++) {
        REQUIRE(end_wait(end, &messages[k], false));
        REQUIRE(messages[k].transfer.status == WEFT_OK);
        REQUIRE(end->number == 1 || message_is_right(&messages[k]));
        message_free(&messages[k]);
    }
    return true;
}

/* Keeps a large transfer in flight for ever; to be killed. */
static bool doomed(struct end *end)
{
    struct weft_connection *peer = end->connections[!end->number];
    for (uint32_t k = 0;; k++) {
        struct message pair[2];
        message_init_send(&pair[0], k, 8 << 20);
        message_init_recv(&pair[1], k, 8 << 20);
        REQUIRE(end->transport->post_send(peer, &pair[0].transfer) == WEFT_OK);
        REQUIRE(end->transport->post_recv(peer, &pair[1].transfer) == WEFT_OK);
        for (int i = 0; i < 2; i++) {
            REQUIRE(end_wait(end, &pair[i], false));
            message_free(&pair[i]);
        }
        atomic_store(&end->meeting->stage, (int)k + 1);
    }
}

/* ---- running the ends ---- */

static struct meeting *make_meeting(void)
{
    struct meeting *meeting =
        mmap(NULL, sizeof *meeting, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(meeting != MAP_FAILED);
    return meeting;
}

static void free_meeting(struct meeting *meeting)
{
    munmap(meeting, sizeof *meeting);
}

static pid_t fork_end(struct end *end, bool (*body)(struct end *end))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool good = end_open(end) && body(end);
        end_close(end);
        _exit(good ? 0 : 1);
    }
    return child;
}

static void run_processes(const struct weft_transport *transport, int num_ends,
                          bool (*body)(struct end *end))
{
    struct meeting *meeting = make_meeting();
    pid_t children[ENDS];
    for (int i = 0; i < num_ends; i++) {
        struct end end = {
            .transport = transport, .meeting = meeting, .number = i, .num_ends = num_ends};
        children[i] = fork_end(&end, body);
    }
    for (int i = 0; i < num_ends; i++) {
        int status = -1;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    free_meeting(meeting);
}

struct thread {
    struct end end;
    bool (*body)(struct end *end);
    bool good;
};

static void *thread_main(void *argument)
{
    struct thread *thread = argument;
    thread->good = end_open(&thread->end) && thread->body(&thread->end);
    end_close(&thread->end);
    return NULL;
}

static void run_threads(const struct weft_transport *transport, int num_ends,
                        bool (*body)(struct end *end))
{
    struct meeting *meeting = make_meeting();
    struct thread threads[ENDS] = {0};
    pthread_t ids[ENDS];
    for (int i = 0; i < num_ends; i++) {
        threads[i].end = (struct end){
            .transport = transport, .meeting = meeting, .number = i, .num_ends = num_ends};
        threads[i].body = body;
        assert_int_equal(pthread_create(&ids[i], NULL, thread_main, &threads[i]), 0);
    }
    for (int i = 0; i < num_ends; i++)
        pthread_join(ids[i], NULL);
    for (int i = 0; i < num_ends; i++)
        assert_true(threads[i].good);
    free_meeting(meeting);
}

static void test_traffic(void **state)
{
    rig_require(*state);
    run_processes(*state, 3, traffic);
}

static void test_ping_pong(void **state)
{
    rig_require(*state);
    run_processes(*state, 2, ping_pong);
}

static void test_leaving(void **state)
{
    rig_require(*state);
    run_processes(*state, 2, leaving);
}

static void test_threads(void **state)
{
    rig_require(*state);
    run_threads(*state, 2, traffic);
    run_threads(*state, 2, ping_pong);
}

static void test_killed(void **state)
{
    rig_require(*state);
    for (int round = 0; round < 6; round++) {
        int before = count_descriptors();
        struct meeting *meeting = make_meeting();
        struct end theirs = {
            .transport = *state, .meeting = meeting, .number = round % 2, .num_ends = 2};
        pid_t child = fork_end(&theirs, doomed);
        struct end ours = theirs;
        ours.number = !theirs.number;
        assert_true(end_open(&ours));
        struct weft_connection *peer = ours.connections[!ours.number];
        struct message pair[2];
        uint32_t k = 0;
        int64_t killed_ns = 0;
        do { // go on until the peer has died under a transfer
            message_init_send(&pair[0], k, 8 << 20);
            message_init_recv(&pair[1], k, 8 << 20);
            message_post_send(peer, &pair[0]);
            message_post_recv(peer, &pair[1]);
            if (k++ == 3) {
                for (int i = 0; i < 50 * round; i++)
                    ours.transport->progress(ours.device);
                assert_int_equal(kill(child, SIGKILL), 0);
                killed_ns = weft_clock_ns();
            }
            for (int i = 0; i < 2; i++)
                assert_true(end_wait(&ours, &pair[i], round % 3 == 0));
            for (int i = 0; i < 2; i++)
                message_free(&pair[i]);
            assert_true(k < 100);
        } while (pair[0].transfer.status == WEFT_OK && pair[1].transfer.status == WEFT_OK);
        assert_true(weft_clock_ns() - killed_ns < patience(2000000000));
        assert_true(killed_ns != 0);
        assert_true(pair[0].transfer.status == WEFT_OK || pair[0].transfer.status == WEFT_REMOTE);
        assert_true(pair[1].transfer.status == WEFT_OK || pair[1].transfer.status == WEFT_REMOTE);
        for (int i = 0; i < 2000; i++)
            ours.transport->progress(ours.device);
        assert_int_equal(ours.num_failed, 1);
        end_close(&ours);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        free_meeting(meeting);
        assert_int_equal(count_descriptors(), before);
    }
}

/* The peer has forked, and its child lives on with every descriptor when the peer is killed. Over
 * TCP nobody can tell; there the control plane has to. */
static bool doomed_parent(struct end *end)
{
    struct weft_connection *peer = end->connections[!end->number];
    struct message hello;
    message_init_send(&hello, 1, 1);
    REQUIRE(end->transport->post_send(peer, &hello.transfer) == WEFT_OK);
    REQUIRE(end_wait(end, &hello, false));
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) { // lives until it is killed, ten seconds at most
        sleep(10);
        _exit(0);
    }
    atomic_store(&end->meeting->stage, child);
    sleep(10);
    return true;
}

static void test_killed_with_child(void **state)
{
    const struct weft_transport *transport = *state;
    if (strcmp(transport->name, "shm") != 0)
        skip();
    struct meeting *meeting = make_meeting();
    struct end ours = {.transport = transport, .meeting = meeting, .num_ends = 2};
    struct end theirs = ours;
    theirs.number = 1;
    pid_t peer = fork_end(&theirs, doomed_parent);
    struct message hello, pending;
    assert_true(end_open(&ours));
    message_init_recv(&hello, 1, 1);
    message_init_recv(&pending, 2, 1);
    message_post_recv(ours.connections[1], &hello);
    message_post_recv(ours.connections[1], &pending);
    assert_true(end_wait(&ours, &hello, false));
    int64_t deadline = weft_deadline_after(10000000000);
    while (!atomic_load(&meeting->stage))
        assert_true(weft_clock_ns() < deadline);
    pid_t grandchild = atomic_load(&meeting->stage);
    assert_int_equal(kill(peer, SIGKILL), 0);
    int64_t killed_ns = weft_clock_ns();
    bool told = end_wait(&ours, &pending, true);
    int64_t took_ns = weft_clock_ns() - killed_ns;
    assert_int_equal(kill(grandchild, SIGKILL), 0); // it was alive
    assert_true(told && took_ns < patience(2000000000));
    assert_int_equal(pending.transfer.status, WEFT_REMOTE);
    message_free(&hello);
    message_free(&pending);
    end_close(&ours);
    int status;
    assert_int_equal(waitpid(peer, &status, 0), peer);
    free_meeting(meeting);
}

int main(int num_arguments, char **arguments)
{
    static const struct {
        const char *name;
        void (*test)(void **state);
    } all[] = {{"traffic between processes", test_traffic},
               {"sleeping processes", test_ping_pong},
               {"peer leaves", test_leaving},
               {"peer is killed", test_killed},
               {"peer is killed, its child lives", test_killed_with_child},
               {"between threads", test_threads}};
    enum { COUNT = sizeof all / sizeof *all, MOST_TRANSPORTS = 8 };
    static struct CMUnitTest tests[COUNT * MOST_TRANSPORTS];
    static char names[COUNT * MOST_TRANSPORTS][80];
    size_t count = 0;
    for (int t = 0; weft_transports[t] && t < MOST_TRANSPORTS; t++) {
        for (size_t i = 0; i < COUNT; i++, count++) {
            snprintf(names[count], sizeof names[count], "%s over %s", all[i].name,
                     weft_transports[t]->name);
            tests[count] = (struct CMUnitTest){.name = names[count],
                                               .test_func = all[i].test,
                                               .initial_state = (void *)weft_transports[t]};
        }
    }
    if (num_arguments > 1)
        cmocka_set_test_filter(arguments[1]);
    return _cmocka_run_group_tests("processes", tests, count, NULL, NULL);
}
