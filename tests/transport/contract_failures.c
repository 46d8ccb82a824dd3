/*
 * SPDX-License-Identifier: Apache-2.0
 * The contract of transport.h: ends that do not agree, that give a message up, and that go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/transport/contract.h"

/* ---- disagreement and cancel ---- */

static void mismatch(struct rig *rig)
{
    for (uint32_t i = 0; i < 24; i++) {
        struct message send, recv;
        size_t bytes = i / 3 % 2 ? 100 : 50000;
        message_init_send(&send, i, bytes);
        message_init_recv(&recv, i, bytes + (i % 3 == 0 ? 8 : 0));
        recv.transfer.call += i % 3 == 1;
        recv.transfer.plan += i % 3 == 2;
        if (i / 6 % 2) {
            message_post_recv(rig->ends[1][0].connection, &recv);
            message_post_send(rig->ends[0][1].connection, &send);
        } else {
            message_post_send(rig->ends[0][1].connection, &send);
            if (i >= 12)
                rig_settle(rig);
            message_post_recv(rig->ends[1][0].connection, &recv);
        }
        rig_wait(rig, &recv);
        rig_wait(rig, &send);
        assert_int_equal(recv.transfer.status, WEFT_MISMATCH);
        assert_int_equal(recv.transfer.peer_call, send.transfer.call);
        assert_int_equal(recv.transfer.peer_plan, send.transfer.plan);
        assert_int_equal(recv.transfer.peer_bytes, send.transfer.bytes);
        assert_int_equal(send.transfer.status, bytes == 100 ? WEFT_OK : WEFT_MISMATCH);
        message_free(&send);
        message_free(&recv);
    }
    rig_exchange(rig, 500, 1000, 0);
    rig_exchange(rig, 501, 100000, 1);
}

/* Cancels one end of a transfer after `polls` polls, frees its buffer, and goes on. */
static void cancel_after(struct rig *rig, uint32_t index, size_t bytes, int polls, bool sender)
{
    const struct weft_transport *transport = rig->transport;
    struct weft_connection *from = rig->ends[0][1].connection;
    struct weft_connection *to = rig->ends[1][0].connection;
    struct message send, recv;
    message_init_send(&send, index, bytes);
    message_init_recv(&recv, index, bytes);
    message_post_send(from, &send);
    message_post_recv(to, &recv);
    for (int i = 0; i < polls; i++)
        rig_poll(rig);
    int completed = sender ? send.num_completed : recv.num_completed;
    if (!completed)
        transport->cancel(sender ? from : to, sender ? &send.transfer : &recv.transfer);
    message_free(sender ? &send : &recv); // a touch from now on is a use after free
    rig_exchange(rig, 5000, 100, 0);
    rig_exchange(rig, 5001, 70000, 0);
    assert_int_equal(sender ? send.num_completed : recv.num_completed, completed);
    struct message *other = sender ? &recv : &send;
    if (!other->num_completed)
        transport->cancel(sender ? to : from, &other->transfer);
    message_free(other);
    rig_exchange(rig, 5002, 100, 1);
    rig_exchange(rig, 5003, 70000, 1);
}

static void cancel(struct rig *rig)
{
    for (uint32_t i = 0; i < 32; i++) {
        cancel_after(rig, i, 700000, (int)i / 2, i % 2);
        cancel_after(rig, i, 3000, (int)i / 4, i % 2);
    }
}

static void cancel_unmatched(struct rig *rig)
{
    struct message send, recv;
    for (uint32_t i = 0; i < 4; i++) {
        size_t bytes = i % 2 ? 10 : 100000;
        message_init_send(&send, i, bytes);
        message_init_recv(&recv, 100 + i, bytes);
        message_post_recv(rig->ends[1][0].connection, &recv);
        message_post_send(rig->ends[0][1].connection, &send);
        if (i / 2)
            rig_settle(rig);
        if (!send.num_completed)
            rig->transport->cancel(rig->ends[0][1].connection, &send.transfer);
        rig->transport->cancel(rig->ends[1][0].connection, &recv.transfer);
        message_free(&send);
        message_free(&recv);
        rig_exchange(rig, 100 + i, bytes, 0); // neither stale half is met
    }
}

/* ---- disconnect ---- */

/* What was sent before a disconnect still arrives; the rest ends with REMOTE, reported once. */
static void disconnect(struct rig *rig)
{
    struct message sent[3], recv[3], lost, late;
    struct weft_connection *to = rig->ends[1][0].connection;
    rig_exchange(rig, 900, 10, 0);
    for (uint32_t i = 0; i < 3; i++) {
        message_init_send(&sent[i], i, 100);
        message_init_recv(&recv[i], i, 100);
        message_post_send(rig->ends[0][1].connection, &sent[i]);
    }
    message_init_recv(&lost, 50, 10);
    message_init_send(&late, 51, 10);
    message_post_recv(to, &lost);
    message_post_recv(to, &recv[0]);
    for (int i = 0; i < 3; i++)
        rig_wait(rig, &sent[i]);
    rig->transport->disconnect(&rig->ends[0][1].connection);
    assert_null(rig->ends[0][1].connection);
    message_post_recv(to, &recv[1]);
    rig_wait(rig, &lost);
    assert_int_equal(lost.transfer.status, WEFT_REMOTE);
    message_post_recv(to, &recv[2]);
    for (int i = 0; i < 3; i++) {
        rig_wait(rig, &recv[i]);
        message_check(&recv[i]);
        message_free(&sent[i]);
        message_free(&recv[i]);
    }
    message_post_send(to, &late);
    assert_int_equal(late.num_completed, 1);
    assert_int_equal(late.transfer.status, WEFT_REMOTE);
    rig_settle(rig);
    assert_int_equal(rig->ends[1][0].num_failed, 1);
    assert_true(rig->ends[1][0].reason[0] != '\0');
    message_free(&lost);
    message_free(&late);
}

/* Everything posted at the survivor ends, in whatever state it is. */
static void disconnect_in_flight(struct rig *rig)
{
    enum { COUNT = 12 };
    struct message sends[COUNT], recvs[COUNT], halves[COUNT];
    rig_exchange(rig, 900, 10, 0);
    rig_exchange(rig, 901, 10, 1);
    for (uint32_t i = 0; i < COUNT; i++) {
        size_t bytes = i % 3 ? 300000 : 4000;
        message_init_send(&sends[i], i, bytes);
        message_init_recv(&recvs[i], 100 + i, bytes);
        message_init_send(&halves[i], 100 + i, bytes);
        message_post_send(rig->ends[0][1].connection, &sends[i]);
        message_post_recv(rig->ends[0][1].connection, &recvs[i]);
        if (i % 2)
            message_post_send(rig->ends[1][0].connection, &halves[i]);
    }
    for (uint64_t i = rig_random(&rig->random) % 8; i > 0; i--)
        rig_poll(rig);
    rig->transport->disconnect(&rig->ends[1][0].connection);
    for (int i = 0; i < COUNT; i++)
        message_free(&halves[i]);
    for (int i = 0; i < COUNT; i++) {
        rig_wait(rig, &sends[i]);
        rig_wait(rig, &recvs[i]);
        assert_int_equal(sends[i].num_completed, 1);
        assert_int_equal(recvs[i].num_completed, 1);
        if (recvs[i].transfer.status != WEFT_REMOTE)
            message_check(&recvs[i]);
        message_free(&sends[i]);
        message_free(&recvs[i]);
    }
    rig_settle(rig);
    assert_int_equal(rig->ends[0][1].num_failed, 1);
}

const struct contract contract_failures[] = {
    {"mismatch", mismatch, 2, 40},
    {"cancel", cancel, 2, 20},
    {"cancel_unmatched", cancel_unmatched, 2, 40},
    {"disconnect", disconnect, 2, 40},
    {"disconnect_in_flight", disconnect_in_flight, 2, 100},
    {0},
};
