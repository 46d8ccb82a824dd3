/*
 * SPDX-License-Identifier: Apache-2.0
 * RDMA ports that come and go, links that lose packets, keys that are wrong: what must arrive
 * arrives once, and what cannot go on says why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/transport/verbs_faults.h"

/* ---- traffic ---- */

/* Messages of many sizes in both directions, some through sinks; in their midst an HCA is turned
 * `how` (NULL: none is). */
static void busy(struct fault *fault, uint32_t first, int when, int hca, const char *how)
{
    enum { COUNT = 60 };
    struct rig *rig = &fault->rig;
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
            fault_turn(fault, hca, how);
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
    int64_t deadline = weft_deadline_after(20000000000);
    for (int end = 0; end < 2; end++) {
        const struct verbs_link *link = fault_link(rig, end);
        while ((link->rails[1]->is_used && !link->rails[1]->is_tried) != second_is_used ||
               link->state != VERBS_UP) {
            rig_poll(rig);
            assert_true(weft_clock_ns() < deadline);
        }
    }
}

/* The second rail comes back, and carries bytes again. */
static void end_on_both_rails(struct fault *fault)
{
    struct rig *rig = &fault->rig;
    const struct verbs_rail *second = fault_link(rig, 0)->rails[1];
    wait_for_rails(rig, true);
    uint64_t before = second->counts.bytes;
    busy(fault, 2000, 0, 0, NULL);
    assert_true(second->counts.bytes > before + 100000);
    assert_int_equal(rig->ends[0][1].num_failed + rig->ends[1][0].num_failed, 0);
    fault_end(fault);
}

/* ---- ports ---- */

/* Everything arrives once, over what is left; a port that comes back is used again. The port is one
 * of either end, so that the other end must be told. */
static void lose_port(void **state, bool have_met)
{
    struct fault fault;
    struct rig *rig = &fault.rig;
    fault_begin(&fault, state);
    if (have_met)
        fault_connect(&fault);
    else
        fault_call(&fault);
    int hca = fault_hca_of(&fault, fault.given->end, 1);
    if (!have_met)
        fault_turn(&fault, hca, "down");
    busy(&fault, 0, (int)(rig_random(&rig->random) % 60), hca, have_met ? "down" : NULL);
    wait_for_rails(rig, false);
    busy(&fault, 1000, (int)(rig_random(&rig->random) % 60), hca, "up");
    end_on_both_rails(&fault);
}

void fault_port_down(void **state)
{
    lose_port(state, true);
}

void fault_port_down_meeting(void **state)
{
    lose_port(state, false);
}

/* A path falls silent without a word of its ports, and works again: without an event it is tried
 * after a while, at first in vain, and then it is used. */
void fault_silent(void **state)
{
    struct fault fault;
    struct rig *rig = &fault.rig;
    char command[200];
    fault_begin(&fault, state);
    fault.gives_up_soon = true;
    fault_connect(&fault);
    const struct verbs_link *link = fault_link(rig, 0);
    const char *interface = fault.given->hcas[fault_hca_of(&fault, fault.given->end, 1)].interface;
    snprintf(command, sizeof command, "tc qdisc add dev %s root netem loss 100%%", interface);
    assert_int_equal(system(command), 0);
    busy(&fault, 0, 0, 0, NULL);
    wait_for_rails(rig, false);
    uint32_t epoch = link->epoch;
    int64_t deadline = weft_deadline_after(20000000000);
    while (fault.given->seed / 2 % 2 && (link->epoch == epoch || link->rails[1]->is_tried)) {
        rig_poll(rig);
        assert_true(weft_clock_ns() < deadline);
    }
    busy(&fault, 1000, 0, 0, NULL);
    assert_false(link->rails[1]->is_used && !link->rails[1]->is_tried);
    snprintf(command, sizeof command, "tc qdisc del dev %s root", interface);
    assert_int_equal(system(command), 0);
    end_on_both_rails(&fault);
}

/* Both ends are told, with port and cause, and all that is pending ends: in the midst of traffic.
 */
static void lose_all(struct fault *fault, const int *hcas, int num_hcas)
{
    enum { COUNT = 30 };
    struct message messages[COUNT][2][2];
    struct rig *rig = &fault->rig;
    uint32_t when = (uint32_t)(rig_random(&rig->random) % COUNT), downs = 0;
    for (uint32_t k = 0; k < COUNT; k++) {
        for (int i = 0; i < 2; i++) {
            size_t bytes = k % 3 ? 5000 * k : 300000;
            message_init_recv(&messages[k][i][1], k, bytes);
            message_init_send(&messages[k][i][0], k, bytes);
            message_post_recv(rig->ends[!i][i].connection, &messages[k][i][1]);
            message_post_send(rig->ends[i][!i].connection, &messages[k][i][0]);
        }
        rig_poll(rig);
        while (downs < (uint32_t)num_hcas && k >= when + downs)
            fault_turn(fault, hcas[downs++], "down");
    }
    while (downs < (uint32_t)num_hcas)
        fault_turn(fault, hcas[downs++], "down");
    fault_wait_failed(fault, -1);
    for (uint32_t k = 0; k < COUNT; k++) {
        for (int i = 0; i < 4; i++) {
            struct message *message = &messages[k][i / 2][i % 2];
            rig_wait(rig, message);
            if (message->transfer.status != WEFT_REMOTE)
                assert_int_equal(message->transfer.status, WEFT_OK);
            assert_int_equal(message->num_completed, 1);
            message_free(message);
        }
    }
    rig_settle(rig);
    for (int i = 0; i < 2; i++) {
        const struct rig_end *end = &rig->ends[i][!i];
        fault_says(end->reason);
        assert_int_equal(end->num_failed, 1);
        assert_non_null(strstr(end->reason, "no path to the peer is left"));
        bool is_named = false;
        for (int h = 0; h < FAULT_HCAS; h++)
            is_named |= strstr(end->reason, fault->given->hcas[h].name) != NULL;
        assert_true(is_named);
        assert_non_null(strstr(end->reason, " (rxe")); // the other end's port
        if (num_hcas == 2) {
            bool is_here = i == fault->given->end;
            assert_non_null(strstr(end->reason, is_here ? "left, the ports here are down: "
                                                        : "left, its ports are down: "));
        }
    }
    fault_end(fault);
    for (int i = 0; i < num_hcas; i++)
        fault_turn(fault, hcas[i], "up");
}

void fault_all_of_one(void **state)
{
    struct fault fault;
    fault_begin(&fault, state);
    fault_connect(&fault);
    int first = 2 * fault.given->end, order = (int)(fault.given->seed / 2 % 2);
    lose_all(&fault, (const int[]){first + order, first + !order}, 2);
}

void fault_all_of_both(void **state)
{
    struct fault fault;
    fault_begin(&fault, state);
    fault_connect(&fault);
    int order = (int)(fault.given->seed % 4);
    lose_all(&fault, (const int[]){order, order ^ 2, order ^ 1, order ^ 3}, 4);
}

/* One packet in fifty is lost on every interface. */
void fault_loss(void **state)
{
    struct fault fault;
    char command[200];
    fault_begin(&fault, state);
    fault_connect(&fault);
    for (int i = 0; i < FAULT_HCAS; i++) {
        snprintf(command, sizeof command, "tc qdisc add dev %s root netem loss 2%%",
                 fault.given->hcas[i].interface);
        assert_int_equal(system(command), 0);
    }
    busy(&fault, 1000, 0, 0, NULL);
    assert_int_equal(fault.rig.ends[0][1].num_failed + fault.rig.ends[1][0].num_failed, 0);
    for (int i = 0; i < FAULT_HCAS; i++) {
        snprintf(command, sizeof command, "tc qdisc del dev %s root",
                 fault.given->hcas[i].interface);
        assert_int_equal(system(command), 0);
    }
    fault_end(&fault);
}

/* The peer's memory does not allow the write: said so, with the port, at the end that wrote. */
void fault_bad_key(void **state)
{
    struct fault fault;
    struct message send;
    fault_begin(&fault, state);
    fault_connect(&fault);
    int end = fault.given->end;
    struct verbs_link *link = fault_link(&fault.rig, end);
    for (int i = 0; i < link->num_rails; i++)
        link->rails[i]->ring_key ^= 0x5500;
    message_init_send(&send, 1, rig_random(&fault.rig.random) % 8000);
    message_post_send(&link->packets.base, &send);
    fault_wait_failed(&fault, -1);
    const char *reason = fault.rig.ends[end][!end].reason;
    fault_says(reason);
    assert_true(strstr(reason, fault.given->hcas[2 * end].name) ||
                strstr(reason, fault.given->hcas[2 * end + 1].name));
    assert_non_null(strstr(reason, "memory"));
    message_free(&send);
    fault_end(&fault);
}
