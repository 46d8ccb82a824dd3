/*
 * SPDX-License-Identifier: Apache-2.0
 * RDMA ports that come and go, links that lose packets, memory and queues that are not there: what
 * must arrive arrives once, and what cannot go on says why. It takes network interfaces of
 * Soft-RoCE HCAs down, so it does nothing without --faults: only for virtual machines. Arguments:
 * --faults [REPEATS [SEED [TEST]]].
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rdma_sysfs.h"
#include "tests/transport/rig.h"
#include "transport/verbs_parts.h"

enum { MOST_HCAS = 4 };

static bool may_break;
static int num_repeats = 5;
static uint64_t seed = 1;

static struct verbs_link *link_of(struct rig *rig, int end)
{
    return (struct verbs_link *)rig->ends[end][!end].connection;
}

/* ---- HCAs ---- */

static struct {
    char name[32], interface[32];
} hcas[MOST_HCAS];
static int num_hcas;
static char lists[2][80]; // of the two ends

static void find_hcas(void)
{
    struct rig rig;
    struct weft_sysfs files;
    rig_open(&rig, &weft_verbs_transport, 1, 1);
    assert_int_equal(weft_sysfs_open("/", &files, NULL), WEFT_OK);
    const struct weft_verbs_ports *ports = &((struct verbs_device *)rig.devices[0])->ports;
    for (num_hcas = 0; num_hcas < ports->num_devices && num_hcas < MOST_HCAS; num_hcas++) {
        snprintf(hcas[num_hcas].name, sizeof hcas[0].name, "%.31s", ports->devices[num_hcas].name);
        assert_true(weft_rdma_interface(&files, hcas[num_hcas].name, hcas[num_hcas].interface,
                                        sizeof hcas[0].interface)); // Soft-RoCE
    }
    weft_sysfs_close(&files);
    rig_close(&rig);
}

static void turn(int hca, const char *how)
{
    char command[100];
    snprintf(command, sizeof command, "ip link set %s %s", hcas[hca].interface, how);
    assert_int_equal(system(command), 0);
}

/* Two devices, each with HCAs of its own: 0 and 1, 2 and 3. */
static void open_apart(struct rig *rig)
{
    if (!may_break)
        skip();
    rig_require(&weft_verbs_transport);
    find_hcas();
    if (num_hcas < MOST_HCAS) {
        print_message("%d HCAs are not enough\n", num_hcas);
        skip();
    }
    for (int i = 0; i < 2; i++)
        snprintf(lists[i], sizeof lists[i], "=%s,%s", hcas[2 * i].name, hcas[2 * i + 1].name);
    rig_open_hcas(rig, &weft_verbs_transport, 2, seed, (const char *[]){lists[0], lists[1]});
    rig_exchange(rig, 5000, 10, 0);
    assert_int_equal(link_of(rig, 0)->num_rails, 2);
}

/* The HCA of an end's second rail. */
static int second_of(struct rig *rig, int end)
{
    const struct weft_verbs_ports *ports = &((struct verbs_device *)rig->devices[end])->ports;
    const char *name = ports->devices[ports->ports[link_of(rig, end)->paths[1].own].device].name;
    for (int i = 0; i < num_hcas; i++)
        if (strcmp(hcas[i].name, name) == 0)
            return i;
    fail();
    return -1;
}

/* ---- traffic ---- */

/* Messages of many sizes in both directions, some through sinks; in their midst an HCA is turned
 * `how` (NULL: none is). */
static void busy(struct rig *rig, uint32_t first, int when, int hca, const char *how)
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
        if (how && (int)k == when)
            turn(hca, how);
    }
    for (int k = 0; k < COUNT; k++) {
        for (int i = 0; i < 2; i++) {
            rig_wait(rig, &messages[i][k][1]);
            rig_wait(rig, &messages[i][k][0]);
            if (rig->ends[0][1].num_failed + rig->ends[1][0].num_failed > 0)
                fail_msg("%s; %s", rig->ends[0][1].reason, rig->ends[1][0].reason);
            message_check(&messages[i][k][1]);
            assert_int_equal(messages[i][k][0].transfer.status, WEFT_OK);
            assert_int_equal(messages[i][k][0].num_completed, 1);
            message_free(&messages[i][k][0]);
            message_free(&messages[i][k][1]);
        }
    }
}

static void wait_for_rails(struct rig *rig, bool second_is_used)
{
    int64_t deadline = weft_deadline_after(10000000000);
    for (int end = 0; end < 2; end++) {
        const struct verbs_link *link = link_of(rig, end);
        while (link->rails[1]->is_used != second_is_used || link->state != VERBS_UP) {
            rig_poll(rig);
            assert_true(weft_clock_ns() < deadline);
        }
    }
}

/* ---- the tests ---- */

/* Everything arrives once, over what is left; a port that comes back is used again. The port is one
 * of either end, so that the other end must be told. */
static void test_port_down(void **state)
{
    (void)state;
    struct rig rig;
    open_apart(&rig);
    struct verbs_link *link = link_of(&rig, 0);
    for (int i = 0; i < num_repeats; i++) {
        int hca = second_of(&rig, i % 2);
        uint32_t first = 10000u * (uint32_t)i;
        busy(&rig, first, (int)(rig_random(&rig.random) % 60), hca, "down");
        wait_for_rails(&rig, false);
        busy(&rig, first + 1000, (int)(rig_random(&rig.random) % 60), hca, "up");
        wait_for_rails(&rig, true);
        uint64_t before = link->rails[1]->counts.bytes;
        busy(&rig, first + 2000, 0, 0, NULL);
        assert_true(link->rails[1]->counts.bytes > before + 100000);
        assert_int_equal(rig.ends[0][1].num_failed + rig.ends[1][0].num_failed, 0);
    }
    print_message("%d times; began anew %u times\n", num_repeats, link->epoch);
    rig_close(&rig);
}

/* Nothing left: both ends are told, with port and cause. */
static void test_all_down(void **state)
{
    (void)state;
    struct rig rig;
    open_apart(&rig);
    struct message pending[2];
    for (int i = 0; i < 2; i++) {
        message_init_recv(&pending[i], 99, 10);
        message_post_recv(rig.ends[i][!i].connection, &pending[i]);
    }
    turn(0, "down");
    turn(1, "down");
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
        assert_true(strstr(rig.ends[i][!i].reason, hcas[0].name) ||
                    strstr(rig.ends[i][!i].reason, hcas[1].name));
    }
    rig_close(&rig);
    turn(0, "up");
    turn(1, "up");
}

/* One packet in fifty is lost on every interface. */
static void test_loss(void **state)
{
    (void)state;
    struct rig rig;
    char command[200];
    open_apart(&rig);
    for (int i = 0; i < num_hcas; i++) {
        snprintf(command, sizeof command, "tc qdisc add dev %s root netem loss 2%%",
                 hcas[i].interface);
        assert_int_equal(system(command), 0);
    }
    for (int i = 0; i < num_repeats; i++)
        busy(&rig, 1000u * (uint32_t)i, 0, 0, NULL);
    assert_int_equal(rig.ends[0][1].num_failed + rig.ends[1][0].num_failed, 0);
    for (int i = 0; i < num_hcas; i++) {
        snprintf(command, sizeof command, "tc qdisc del dev %s root", hcas[i].interface);
        assert_int_equal(system(command), 0);
    }
    rig_close(&rig);
}

/* The peer's memory does not allow the write: said so, with the ports, at the end that wrote. */
static void test_bad_key(void **state)
{
    (void)state;
    struct rig rig;
    struct message send;
    open_apart(&rig);
    struct verbs_link *link = link_of(&rig, 0);
    for (int i = 0; i < link->num_rails; i++)
        link->rails[i]->ring_key ^= 0x5500;
    message_init_send(&send, 1, 3000);
    message_post_send(&link->packets.base, &send);
    int64_t deadline = weft_deadline_after(10000000000);
    while (!rig.ends[0][1].num_failed || !rig.ends[1][0].num_failed) {
        rig_poll(&rig);
        assert_true(weft_clock_ns() < deadline);
    }
    print_message("%s\n%s\n", rig.ends[0][1].reason, rig.ends[1][0].reason);
    assert_true(strstr(rig.ends[0][1].reason, hcas[0].name) ||
                strstr(rig.ends[0][1].reason, hcas[1].name));
    assert_non_null(strstr(rig.ends[0][1].reason, "memory"));
    message_free(&send);
    rig_close(&rig);
}

int main(int num_arguments, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_port_down),
        cmocka_unit_test(test_all_down),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_bad_key),
    };
    may_break = num_arguments > 1 && strcmp(arguments[1], "--faults") == 0;
    if (num_arguments > 2)
        num_repeats = atoi(arguments[2]);
    if (num_arguments > 3)
        seed = strtoull(arguments[3], NULL, 10);
    if (num_arguments > 4)
        cmocka_set_test_filter(arguments[4]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
