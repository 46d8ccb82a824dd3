/*
 * SPDX-License-Identifier: Apache-2.0
 * The control plane in worlds of real processes: whoever is killed is known to be dead to everybody
 * who can know, and nobody else is taken for dead.
 */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/patience.h"
#include "transport/bootstrap.h"
#include "transport/control.h"

static const int64_t second_ns = 1000000000;

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
    until = weft_deadline_after(patience(3 * second_ns));
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
    assert_true(worst < patience(2 * second_ns));
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

/* ---- news of who leaves ---- */

static void hear(void *user, const struct weft_notice *notice)
{
    *(bool *)user |= notice->kind == WEFT_NOTICE_FAILURE;
}

/* Posts a failure and is gone. */
static void fail_and_leave(const void *peer_address, int out)
{
    unsigned char address[WEFT_CONTROL_ADDRESS_BYTES];
    const void *addresses[2] = {peer_address, address};
    struct weft_control *control;
    bool unused = false;
    struct weft_notice notice = {
        .kind = WEFT_NOTICE_FAILURE, .subject = 1, .status = WEFT_MISMATCH};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (weft_control_open("127.0.0.1", &control, address, NULL) != WEFT_OK ||
        write(out, address, sizeof address) != sizeof address ||
        weft_control_start(control, 1, 2, addresses, (struct weft_control_events){&unused, hear},
                           NULL) != WEFT_OK)
        _exit(1);
    weft_control_post(control, &notice);
    weft_control_close(&control);
    _exit(0);
}

/* A neighbour that is slow, and not yet joined, hears why before it hears that nobody is there. */
static void test_news_of_who_leaves(void **state)
{
    (void)state;
    unsigned char own[WEFT_CONTROL_ADDRESS_BYTES], other[WEFT_CONTROL_ADDRESS_BYTES];
    const void *addresses[2] = {own, other};
    struct weft_control *control;
    bool has_heard = false;
    int ends[2], status;
    assert_int_equal(weft_control_open("127.0.0.1", &control, own, NULL), WEFT_OK);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        fail_and_leave(own, ends[1]);
    assert_int_equal(read(ends[0], other, sizeof other), sizeof other);
    assert_int_equal(weft_control_start(control, 0, 2, addresses,
                                        (struct weft_control_events){&has_heard, hear}, NULL),
                     WEFT_OK);
    usleep(300000);
    int64_t deadline_ns = weft_deadline_after(10 * second_ns);
    while (!has_heard && weft_clock_ns() < deadline_ns)
        weft_control_progress(control);
    assert_true(has_heard);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    weft_control_close(&control);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_processes),
        cmocka_unit_test(test_nobody_is_killed),
        cmocka_unit_test(test_stopped_process),
        cmocka_unit_test(test_news_of_who_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
