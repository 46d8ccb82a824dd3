/*
 * SPDX-License-Identifier: Apache-2.0
 * What is special to RDMA: work requests per packet, several ports at once, and going on when ports
 * come and go. Devices of one process, over the HCAs of this machine. With --faults it takes the
 * network interfaces of Soft-RoCE HCAs down and up: only for virtual machines.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/transport/rig.h"
#include "transport/verbs_parts.h"

static bool may_break;
static int num_repeats = 5;

static struct verbs_link *link_of(struct rig *rig, int end)
{
    return (struct verbs_link *)rig->ends[end][!end].connection;
}

static int num_hcas(struct rig *rig)
{
    return ((struct verbs_device *)rig->devices[0])->ports.num_ports;
}

/* ---- work requests ---- */

static struct verbs_counts count(const struct verbs_link *link)
{
    struct verbs_counts sum = {0};
    for (int i = 0; i < link->num_rails; i++) {
        const struct verbs_counts *one = &link->rails[i]->counts;
        sum.work_requests += one->work_requests;
        sum.signalled += one->signalled;
        sum.posts += one->posts;
        sum.chunks += one->chunks;
        sum.credits += one->credits;
        sum.bytes += one->bytes;
    }
    return sum;
}

/* Many messages at once: few posts, few completions. */
static void test_counts(void **state)
{
    (void)state;
    enum { COUNT = 800 };
    rig_require(&weft_verbs_transport);
    struct rig rig;
    struct message *sends = calloc(COUNT, sizeof *sends), *recvs = calloc(COUNT, sizeof *recvs);
    assert_true(sends && recvs);
    rig_open(&rig, &weft_verbs_transport, 2, 1);
    rig_exchange(&rig, 5000, 10, 0);
    struct verbs_counts before = count(link_of(&rig, 0));
    for (uint32_t i = 0; i < COUNT; i++) {
        message_init_send(&sends[i], i, 64);
        message_init_recv(&recvs[i], i, 64);
        message_post_recv(rig.ends[1][0].connection, &recvs[i]);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        message_post_send(rig.ends[0][1].connection, &sends[i]);
        if (i % 32 == 31)
            rig_poll(&rig);
    }
    for (int i = 0; i < COUNT; i++) {
        rig_wait(&rig, &recvs[i]);
        rig_wait(&rig, &sends[i]);
        message_check(&recvs[i]);
        message_free(&sends[i]);
        message_free(&recvs[i]);
    }
    struct verbs_counts after = count(link_of(&rig, 0));
    uint64_t requests = after.work_requests - before.work_requests;
    uint64_t posts = after.posts - before.posts;
    uint64_t signalled = after.signalled - before.signalled;
    print_message("%d messages: %llu work requests, %llu completions, %llu posts\n", COUNT,
                  (unsigned long long)requests, (unsigned long long)signalled,
                  (unsigned long long)posts);
    assert_true(requests >= COUNT && requests <= COUNT + COUNT / 8);
    assert_true(signalled <= requests / 8 + 1);
    assert_true(posts <= requests / 8 + 1);
    free(sends);
    free(recvs);
    rig_close(&rig);
}

/* ---- several ports ---- */

/* Messages of many sizes in both directions, some through sinks; a call in their midst. */
static void busy(struct rig *rig, uint32_t first, int when, void (*what)(void))
{
    enum { COUNT = 60 };
    static const size_t sizes[] = {0, 8, 100, 5000, 8192, 60000, 200000, 262144, 40, 131072};
    struct message messages[2][COUNT][2];
    for (uint32_t k = 0; k < COUNT; k++) {
        for (int i = 0; i < 2; i++) {
            size_t bytes = sizes[(k * 7 + (uint32_t)i) % 10];
            message_init_send(&messages[i][k][0], first + k, bytes);
            if (k % 3 && bytes % 8 == 0)
                message_init_sink(&messages[!i][k][1], first + k, bytes, 8);
            else
                message_init_recv(&messages[!i][k][1], first + k, bytes);
            message_post_recv(rig->ends[!i][i].connection, &messages[!i][k][1]);
            message_post_send(rig->ends[i][!i].connection, &messages[i][k][0]);
        }
        rig_poll(rig);
        if (what && (int)k == when)
            what();
    }
    for (int k = 0; k < COUNT; k++) {
        for (int i = 0; i < 2; i++) {
            rig_wait(rig, &messages[i][k][1]);
            rig_wait(rig, &messages[i][k][0]);
            message_check(&messages[i][k][1]);
            assert_int_equal(messages[i][k][0].transfer.status, WEFT_OK);
            assert_int_equal(messages[i][k][0].num_completed, 1);
            message_free(&messages[i][k][0]);
            message_free(&messages[i][k][1]);
        }
    }
}

static void test_striping(void **state)
{
    (void)state;
    rig_require(&weft_verbs_transport);
    struct rig rig;
    rig_open(&rig, &weft_verbs_transport, 2, 1);
    if (num_hcas(&rig) < 2) {
        rig_close(&rig);
        print_message("one port only\n");
        skip();
    }
    for (uint32_t i = 0; i < 8; i++)
        rig_exchange(&rig, i, 1 << 20, (int)i);
    struct verbs_link *link = link_of(&rig, 0);
    uint64_t bytes[2] = {link->rails[0]->counts.bytes, link->rails[1]->counts.bytes};
    print_message("%llu and %llu bytes\n", (unsigned long long)bytes[0],
                  (unsigned long long)bytes[1]);
    assert_true(bytes[0] * 20 >= bytes[1] * 19 && bytes[1] * 20 >= bytes[0] * 19);
    rig_close(&rig);
}

/* ---- ports that come and go ---- */

static char interfaces[WEFT_VERBS_MAX_PORTS][32]; // of the HCAs, by port

static void find_interfaces(struct rig *rig)
{
    const struct weft_verbs_ports *ports = &((struct verbs_device *)rig->devices[0])->ports;
    for (int i = 0; i < ports->num_ports; i++) {
        char path[200];
        snprintf(path, sizeof path, "/sys/class/infiniband/%s/parent",
                 ports->devices[ports->ports[i].device].name);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        assert_int_equal(fscanf(file, "%31s", interfaces[i]), 1);
        fclose(file);
    }
}

static void turn(int port, const char *how)
{
    char command[100];
    snprintf(command, sizeof command, "ip link set %s %s", interfaces[port], how);
    assert_int_equal(system(command), 0);
}

static void second_down(void)
{
    turn(1, "down");
}

static void second_up(void)
{
    turn(1, "up");
}

static void all_down(void)
{
    turn(0, "down");
    turn(1, "down");
}

static bool need_faults(struct rig *rig)
{
    rig_require(&weft_verbs_transport);
    if (!may_break)
        skip();
    rig_open(rig, &weft_verbs_transport, 2, 1);
    if (num_hcas(rig) < 2) {
        rig_close(rig);
        return false;
    }
    find_interfaces(rig);
    return true;
}

/* Everything arrives once, over what is left; a port that comes back is used again. */
static void test_port_down(void **state)
{
    (void)state;
    struct rig rig;
    if (!need_faults(&rig))
        skip();
    struct verbs_link *link = link_of(&rig, 0);
    for (int i = 0; i < num_repeats; i++) {
        busy(&rig, 10000u * (uint32_t)i, (int)(rig_random(&rig.random) % 60), second_down);
        assert_false(link->rails[1]->is_used);
        assert_int_equal(rig.ends[0][1].num_failed + rig.ends[1][0].num_failed, 0);
        busy(&rig, 10000u * (uint32_t)i + 1000, (int)(rig_random(&rig.random) % 60), second_up);
        int64_t deadline = weft_deadline_after(5000000000);
        while (!link->rails[1]->is_used || link->state != VERBS_UP) {
            rig_poll(&rig);
            assert_true(weft_clock_ns() < deadline);
        }
        uint64_t before = link->rails[1]->counts.bytes;
        busy(&rig, 10000u * (uint32_t)i + 2000, 0, NULL);
        assert_true(link->rails[1]->counts.bytes > before + 100000);
    }
    print_message("%d times; epoch %u\n", num_repeats, link->epoch);
    rig_close(&rig);
}

/* Nothing left: both ends are told, with port, peer and cause. */
static void test_all_down(void **state)
{
    (void)state;
    struct rig rig;
    if (!need_faults(&rig))
        skip();
    struct message pending[2];
    rig_exchange(&rig, 1, 10, 0);
    for (int i = 0; i < 2; i++) {
        message_init_recv(&pending[i], 99, 10);
        message_post_recv(rig.ends[i][!i].connection, &pending[i]);
    }
    all_down();
    for (int i = 0; i < 2; i++) {
        rig_wait(&rig, &pending[i]);
        assert_int_equal(pending[i].transfer.status, WEFT_REMOTE);
        message_free(&pending[i]);
    }
    rig_settle(&rig);
    for (int i = 0; i < 2; i++) {
        print_message("%s\n", rig.ends[i][!i].reason);
        assert_int_equal(rig.ends[i][!i].num_failed, 1);
        assert_non_null(strstr(rig.ends[i][!i].reason, "no path to the peer is left"));
        assert_non_null(strstr(rig.ends[i][!i].reason, "port"));
    }
    rig_close(&rig);
    turn(0, "up");
    turn(1, "up");
}

int main(int num_arguments, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_striping),
        cmocka_unit_test(test_port_down),
        cmocka_unit_test(test_all_down),
    };
    may_break = num_arguments > 1 && strcmp(arguments[1], "--faults") == 0;
    if (num_arguments > 2)
        num_repeats = atoi(arguments[2]);
    return _cmocka_run_group_tests("verbs_rails", tests, sizeof tests / sizeof *tests, NULL, NULL);
}
