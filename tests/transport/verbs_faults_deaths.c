/*
 * SPDX-License-Identifier: Apache-2.0
 * Peers that are killed: a process with a device of its own, at a seeded moment of its set-up or in
 * the midst of messages. Whoever is left gets one failure that says so, every message ends, and the
 * kernel takes back what the dead one had.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/comm/processes.h"
#include "tests/transport/verbs_faults.h"

enum { MESSAGES = 4, CALLER = 0 };

/* Where the two find each other. */
struct hall {
    unsigned char addresses[2][WEFT_ADDRESS_BYTES];
    atomic_bool is_there[2];
    atomic_int num_moved; // messages that the victim has had
};

/* How far the victim gets before it is killed. */
enum moment { PUBLISHED, CALLED, JOINED, READY, RECORD, NUM_MOMENTS };
static const char *const moments[] = {"had published its address", "had called",
                                      "had joined its queues", "was ready", "had taken a record"};

static struct hall *make_hall(void)
{
    struct hall *hall =
        mmap(NULL, sizeof *hall, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(hall != MAP_FAILED);
    return hall;
}

/* Each process has its own rig of one device, whose number is its end. */
static void publish(struct fault *fault, struct hall *hall, int end)
{
    struct rig *rig = &fault->rig;
    rig->devices[0] = rig_open_device(rig->transport, rig, end);
    rig->num_devices = 1;
    rig->transport->address(rig->devices[0], hall->addresses[end]);
    fault_opened(fault);
    atomic_store(&hall->is_there[end], true);
}

static void connect_to(struct fault *fault, struct hall *hall, int peer)
{
    struct rig *rig = &fault->rig;
    struct weft_device_options options;
    struct weft_error error = {0};
    int64_t deadline = weft_deadline_after(20000000000);
    rig_fill_options(&options, peer);
    while (!atomic_load(&hall->is_there[peer]))
        assert_true(weft_clock_ns() < deadline);
    rig->ends[0][1] = (struct rig_end){.rig = rig, .to = peer};
    if (rig->transport->connect(rig->devices[0], hall->addresses[peer], options.process_id, 7,
                                &rig->ends[0][1], &rig->ends[0][1].connection, &error) != WEFT_OK)
        fail_msg("%s", error.text);
}

static void poll_times(struct rig *rig, uint64_t times)
{
    for (uint64_t i = 0; i < times; i++)
        rig_poll(rig);
}

/* The same messages at both ends; the number of the other end's in the opposite order. */
static void post_messages(struct fault *fault, struct message messages[MESSAGES][2], uint32_t first)
{
    static const size_t sizes[MESSAGES] = {10, 300000, 8192, 2 << 20};
    struct weft_connection *peer = fault->rig.ends[0][1].connection;
    for (uint32_t k = 0; k < MESSAGES; k++) {
        message_init_send(&messages[k][0], first + k, sizes[k]);
        message_init_recv(&messages[k][1], first + k, sizes[k]);
        message_post_send(peer, &messages[k][0]);
        message_post_recv(peer, &messages[k][1]);
    }
}

/* Waits for all; false: some have failed, all in the same way. */
static bool finish_messages(struct fault *fault, struct message messages[MESSAGES][2])
{
    bool is_good = true;
    for (int i = 0; i < 2 * MESSAGES; i++) {
        struct message *message = &messages[i / 2][i % 2];
        rig_wait(&fault->rig, message);
        assert_int_equal(message->num_completed, 1);
        if (message->transfer.status != WEFT_OK) {
            assert_int_equal(message->transfer.status, WEFT_REMOTE);
            is_good = false;
        }
        message_free(message);
    }
    return is_good;
}

static bool has_come_to(const struct verbs_link *link, enum moment moment)
{
    return moment == JOINED  ? link->peer.magic != 0
           : moment == READY ? link->state == VERBS_UP
                             : link->in_records > 0;
}

/* Dies at a moment and a bit later. */
static void die_at(struct fault *fault, struct hall *hall, int end, enum moment moment)
{
    struct rig *rig = &fault->rig;
    struct message messages[MESSAGES][2];
    publish(fault, hall, end);
    if (moment == PUBLISHED) {
        usleep((useconds_t)(rig_random(&rig->random) % 20000));
        raise(SIGKILL);
    }
    connect_to(fault, hall, !end);
    post_messages(fault, messages, 0);
    int64_t deadline = weft_deadline_after(20000000000);
    while (moment > CALLED &&
           !has_come_to((struct verbs_link *)rig->ends[0][1].connection, moment) &&
           weft_clock_ns() < deadline)
        rig_poll(rig);
    poll_times(rig, rig_random(&rig->random) % (moment == CALLED ? 200 : 8));
    raise(SIGKILL);
}

static pid_t fork_peer(void)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

static void end_peer(pid_t peer, struct hall *hall)
{
    int status = 0;
    assert_int_equal(waitpid(peer, &status, 0), peer);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    munmap(hall, sizeof *hall);
}

/* One failure, that tells of the peer. */
static void check_failure(struct fault *fault)
{
    const struct rig_end *end = &fault->rig.ends[0][1];
    fault_wait_failed(fault, 0);
    rig_settle(&fault->rig);
    assert_int_equal(end->num_failed, 1);
    fault_says(end->reason);
    if (!strstr(end->reason, "peer") || strstr(end->reason, "memory"))
        fail_msg("not the reason: %s", end->reason);
}

/* Who waits to be called cannot tell a dead peer from one that will call later: the control plane
 * tells (fault_rank_killed). The messages are given up. */
static void give_up(struct fault *fault, struct message messages[MESSAGES][2])
{
    struct rig *rig = &fault->rig;
    int64_t until = weft_deadline_after(500000000);
    while (weft_clock_ns() < until)
        rig_poll(rig);
    for (int i = 0; i < 2 * MESSAGES; i++) {
        struct message *message = &messages[i / 2][i % 2];
        if (!message->num_completed)
            rig->transport->cancel(rig->ends[0][1].connection, &message->transfer);
        message_free(message);
    }
}

void fault_killed_meeting(void **state)
{
    struct fault fault;
    struct message messages[MESSAGES][2];
    fault_begin(&fault, state);
    struct hall *hall = make_hall();
    int end = fault.given->end; // of the victim; the ends have different parts in the meeting
    enum moment moment = fault.given->seed / 2 % NUM_MOMENTS;
    pid_t peer = fork_peer();
    if (peer == 0)
        die_at(&fault, hall, end, moment);
    fault.rig.random += 77;
    publish(&fault, hall, !end);
    if (rig_random(&fault.rig.random) % 2)
        usleep((useconds_t)(rig_random(&fault.rig.random) % 20000));
    connect_to(&fault, hall, end);
    post_messages(&fault, messages, 0);
    print_message("end %d was killed when it %s\n", end, moments[moment]);
    if (end == CALLER && moment <= CALLED) {
        end_peer(peer, hall);
        give_up(&fault, messages);
    } else {
        finish_messages(&fault, messages);
        check_failure(&fault);
        end_peer(peer, hall);
    }
    fault_end(&fault);
}

void fault_killed_moving(void **state)
{
    struct fault fault;
    struct message messages[MESSAGES][2];
    fault_begin(&fault, state);
    struct hall *hall = make_hall();
    int end = fault.given->end;
    pid_t peer = fork_peer();
    publish(&fault, hall, peer == 0 ? end : !end);
    connect_to(&fault, hall, peer == 0 ? !end : end);
    for (uint32_t k = 0; peer == 0; k++) { // until it is killed
        post_messages(&fault, messages, k * MESSAGES);
        if (!finish_messages(&fault, messages))
            _exit(1);
    }
    uint32_t rounds = (uint32_t)(rig_random(&fault.rig.random) % 3), k = 0;
    bool is_good = true;
    for (; is_good; k++) {
        assert_true(k < 100);
        post_messages(&fault, messages, k * MESSAGES);
        if (k == rounds) {
            // Before the meeting is over, one of the ends cannot know: see give_up.
            const void *link = fault.rig.ends[0][1].connection;
            for (int64_t until = weft_deadline_after(20000000000);
                 !has_come_to(link, READY) && weft_clock_ns() < until;)
                rig_poll(&fault.rig);
            poll_times(&fault.rig, rig_random(&fault.rig.random) % 2000);
            assert_int_equal(kill(peer, SIGKILL), 0);
        }
        is_good = finish_messages(&fault, messages);
    }
    check_failure(&fault);
    end_peer(peer, hall);
    fault_end(&fault);
}

/* ---- ranks ---- */

struct death {
    const char *phase;
    int victim, round;
    size_t count;
};

/* All-reduces until one fails, which must name who died. */
static int survive(struct rank_process *process)
{
    const struct death *death = process->argument;
    weft_status status = process->create_status;
    float *data = calloc(death->count, sizeof *data);
    char name[16];
    snprintf(name, sizeof name, "rank %d", death->victim);
    for (int i = 0; status == WEFT_OK && i < 1000; i++) {
        if (i == death->round && !death->phase[0] && process->rank == death->victim)
            raise(SIGKILL);
        status =
            weft_all_reduce(data, data, death->count, WEFT_FLOAT32, WEFT_SUM, process->comm, NULL);
    }
    free(data);
    const char *text = process->comm ? weft_comm_error_text(process->comm)
                                     : weft_context_error_text(process->context);
    if (process->rank == !death->victim)
        fault_says(text);
    if (status == WEFT_REMOTE && strstr(text, name))
        return 0;
    print_message("rank %d: %s: %s\n", process->rank, weft_status_name(status), text);
    return 1;
}

void fault_rank_killed(void **state)
{
    enum { RANKS = 3 };
    static const char *const phases[] = {"init", "collective", "", "meeting"};
    const struct fault_seed *given = *state;
    uint64_t random = given->seed * 0x9e3779b97f4a7c15u;
    struct death death = {.phase = phases[given->seed % 4],
                          .victim = (int)(rig_random(&random) % RANKS),
                          .round = (int)(rig_random(&random) % 3),
                          .count = 1000 + rig_random(&random) % 300000};
    char fault[64] = "";
    int codes[RANKS], descriptors = count_descriptors();
    if (death.phase[0])
        snprintf(fault, sizeof fault, "kill:%s:%d", death.phase, death.victim);
    setenv("WEFT_FAULT", fault, 1);
    setenv("WEFT_TRANSPORTS", "verbs", 1);
    setenv("WEFT_FLAT_BYTES", "0", 1);
    print_message("rank %d is killed: %s, round %d, %zu elements\n", death.victim, death.phase,
                  death.round, death.count);
    run_ranks(RANKS, INT64_C(30000000000), 60, survive, &death, codes);
    for (int rank = 0; rank < RANKS; rank++)
        assert_int_equal(codes[rank], rank == death.victim ? EXIT_SIGNALLED + SIGKILL : 0);
    assert_int_equal(count_descriptors(), descriptors);
}

/* ---- links of ranks, with HCAs of their own ---- */

static void run_script(void **state, const char *part)
{
    const struct fault_seed *given = *state;
    char command[1000];
    snprintf(command, sizeof command, "%s %s %s %llu", given->script, given->weft, part,
             (unsigned long long)given->seed);
    fflush(NULL);
    assert_int_equal(system(command), 0);
}

void fault_ranks_one_link(void **state)
{
    run_script(state, "one_link");
}

void fault_ranks_no_link(void **state)
{
    run_script(state, "no_link");
}
