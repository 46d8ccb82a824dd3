/*
 * SPDX-License-Identifier: Apache-2.0
 * The contract of transport.h: that messages arrive, whatever their sizes, order and number, and
 * what else connections can do.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/transport/contract.h"

/* ---- plain messages ---- */

static void sizes(struct rig *rig)
{
    static const size_t bytes[] = {0,    1,    7,     64,    193,   4095,  4096,   4097,
                                   8191, 8192, 8193,  16385, 32768, 65535, 65536,  65537,
                                   191,  192,  32767, 32769, 98304, 98305, 200001, (1 << 20) + 1};
    for (uint32_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
        for (int order = 0; order < 4; order++)
            rig_exchange(rig, 8 * i + (uint32_t)order, bytes[i], order);
    for (int order = 4; order < 8; order++) {
        rig_exchange(rig, 900 + (uint32_t)order, 100, order);
        rig_exchange(rig, 910 + (uint32_t)order, 100000, order);
    }
}

static void large(struct rig *rig)
{
    rig_exchange(rig, 1, (33 << 20) + 3, 0);
}

/* Many keys between all devices, posted in random order, polled now and then. */
static void many(struct rig *rig)
{
    enum { EACH = 60 };
    int pairs = rig->num_devices * (rig->num_devices - 1);
    int count = pairs * EACH * 2;
    struct message *messages = calloc((size_t)count, sizeof *messages);
    int *order = calloc((size_t)count, sizeof *order);
    struct weft_connection **where = calloc((size_t)count, sizeof(struct weft_connection *));
    assert_true(messages && order && where);
    int n = 0;
    for (int i = 0; i < rig->num_devices; i++) {
        for (int j = 0; j < rig->num_devices; j++) {
            for (uint32_t k = 0; i != j && k < EACH; k++) {
                uint64_t random = rig_random(&rig->random);
                size_t bytes = random % 5 == 0 ? random / 8 % 40000 : random / 8 % 600;
                where[n] = rig->ends[i][j].connection;
                message_init_send(&messages[n], k, bytes);
                order[n] = n;
                n++;
                where[n] = rig->ends[j][i].connection;
                message_init_recv(&messages[n], k, bytes);
                order[n] = n;
                n++;
            }
        }
    }
    for (int i = count - 1; i > 0; i--) {
        int other = (int)(rig_random(&rig->random) % (uint64_t)(i + 1));
        int swap = order[i];
        order[i] = order[other];
        order[other] = swap;
    }
    for (int i = 0; i < count; i++) {
        if (order[i] % 2)
            message_post_recv(where[order[i]], &messages[order[i]]);
        else
            message_post_send(where[order[i]], &messages[order[i]]);
        if (rig_random(&rig->random) % 4 == 0)
            rig_poll(rig);
    }
    for (int i = 0; i < count; i++)
        rig_wait(rig, &messages[i]);
    for (int i = 0; i < count; i++) {
        if (i % 2)
            message_check(&messages[i]);
        assert_int_equal(messages[i].num_completed, 1);
        assert_int_equal(messages[i].transfer.status, WEFT_OK);
        message_free(&messages[i]);
    }
    free(messages);
    free(order);
    free(where);
}

/* Far more eager bytes than are buffered, unmatched, and large ones: none blocks the last. */
static void unmatched(struct rig *rig)
{
    enum { SMALL = 600, LARGE = 40, COUNT = SMALL + LARGE, BYTES = 4096 };
    struct message *sends = calloc(COUNT, sizeof *sends);
    struct message *recvs = calloc(COUNT, sizeof *recvs);
    assert_true(sends && recvs);
    struct weft_connection *from = rig->ends[0][1].connection;
    struct weft_connection *to = rig->ends[1][0].connection;
    for (uint32_t i = 0; i < COUNT; i++) {
        message_init_send(&sends[i], i, i < SMALL ? BYTES : 50000);
        message_init_recv(&recvs[i], i, i < SMALL ? BYTES : 50000);
        message_post_send(from, &sends[i]);
        if (i % 16 == 0)
            rig_poll(rig);
    }
    rig_exchange(rig, 10000, 10, 0);
    rig_exchange(rig, 10001, 100000, 2);
    rig_settle(rig);
    assert_int_equal(rig->ends[1][0].num_unexpected >= COUNT, 1);
    assert_int_equal(sends[COUNT - 1].num_completed, 0); // announced only
    for (int i = COUNT - 1; i >= 0; i--)
        message_post_recv(to, &recvs[i]);
    for (int i = 0; i < COUNT; i++) {
        rig_wait(rig, &recvs[i]);
        rig_wait(rig, &sends[i]);
        message_check(&recvs[i]);
        message_free(&recvs[i]);
        message_free(&sends[i]);
    }
    free(sends);
    free(recvs);
}

static void equal_keys(struct rig *rig)
{
    // The same key again and again: first sent, first received.
    enum { COUNT = 20 };
    struct message sends[COUNT], recvs[COUNT];
    for (int i = 0; i < COUNT; i++) {
        message_init_send(&sends[i], 5, 16);
        memset(sends[i].buffer, i, 16);
        message_post_send(rig->ends[0][1].connection, &sends[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        message_init_recv(&recvs[i], 5, 16);
        message_post_recv(rig->ends[1][0].connection, &recvs[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        rig_wait(rig, &recvs[i]);
        assert_int_equal(recvs[i].transfer.status, WEFT_OK);
        assert_int_equal(recvs[i].buffer[0], i);
        rig_wait(rig, &sends[i]);
        message_free(&sends[i]);
        message_free(&recvs[i]);
    }
}

static void sinks(struct rig *rig)
{
    static const size_t units[] = {1, 2, 4, 8, 12, 64};
    uint32_t index = 0;
    for (uint32_t i = 0; i < sizeof units / sizeof *units; i++) {
        static const size_t counts[] = {0, 1, 5, 333, 1366, 20001};
        for (uint32_t j = 0; j < sizeof counts / sizeof *counts; j++) {
            for (int first = 0; first < 2; first++) {
                struct message send, recv;
                message_init_send(&send, ++index, units[i] * counts[j]);
                message_init_sink(&recv, index, units[i] * counts[j], units[i]);
                if (first)
                    message_post_recv(rig->ends[1][0].connection, &recv);
                message_post_send(rig->ends[0][1].connection, &send);
                if (!first) {
                    rig_poll(rig);
                    message_post_recv(rig->ends[1][0].connection, &recv);
                }
                rig_wait(rig, &recv);
                rig_wait(rig, &send);
                message_check(&recv);
                message_free(&send);
                message_free(&recv);
            }
        }
    }
}

/* ---- events ---- */

static void unexpected(struct rig *rig)
{
    struct message send, recv;
    message_init_send(&send, 42, 123);
    message_init_recv(&recv, 42, 123);
    message_post_send(rig->ends[0][1].connection, &send);
    rig_settle(rig);
    assert_int_equal(rig->ends[1][0].num_unexpected, 1);
    assert_int_equal(rig->ends[1][0].unexpected_key.index, 42);
    assert_int_equal(rig->ends[1][0].unexpected_bytes, 123);
    message_post_recv(rig->ends[1][0].connection, &recv);
    rig_wait(rig, &recv);
    message_check(&recv);
    rig_wait(rig, &send);
    message_free(&send);
    message_free(&recv);
}

struct chain {
    struct message message;
    struct weft_connection *connection;
    bool sends;
    int left;
    int depth;
    int deepest;
};

static void next_of_chain(struct weft_transfer *transfer)
{
    struct chain *chain = (struct chain *)transfer;
    chain->depth++;
    chain->deepest = chain->depth > chain->deepest ? chain->depth : chain->deepest;
    assert_int_equal(transfer->status, WEFT_OK);
    if (--chain->left > 0) {
        transfer->key.index++;
        if (chain->sends)
            message_post_send(chain->connection, &chain->message);
        else
            message_post_recv(chain->connection, &chain->message);
    }
    chain->depth--;
}

static void callbacks_post(struct rig *rig)
{
    struct chain chains[2] = {{.connection = rig->ends[0][1].connection, .sends = true},
                              {.connection = rig->ends[1][0].connection}};
    for (int i = 0; i < 2; i++) {
        if (chains[i].sends)
            message_init_send(&chains[i].message, 0, 8);
        else
            message_init_recv(&chains[i].message, 0, 8);
        chains[i].message.transfer.complete = next_of_chain;
        chains[i].left = 5000;
    }
    message_post_send(chains[0].connection, &chains[0].message);
    for (int i = 0; i < 200; i++)
        rig_poll(rig);
    message_post_recv(chains[1].connection, &chains[1].message);
    for (int i = 0; i < 1000000 && (chains[0].left || chains[1].left); i++)
        rig_poll(rig);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(chains[i].left, 0);
        assert_int_equal(chains[i].deepest, 1); // no recursion
        message_free(&chains[i].message);
    }
}

/* ---- more than messages ---- */

// The block of one end as the other end sees it.
static unsigned char *see(struct rig *rig, int end, const struct weft_shared_block *block,
                          bool keep)
{
    void *memory;
    assert_int_equal(rig->transport->map(rig->ends[end][!end].connection, block, keep, &memory),
                     WEFT_OK);
    return memory;
}

static void shares(struct rig *rig)
{
    enum { BYTES = 10000, MANY = 600 };
    const struct weft_transport *transport = rig->transport;
    struct weft_shared_block blocks[2], found, past;
    struct weft_error error;
    void *mine[2], *theirs;
    size_t within;
    if (!(transport->capabilities & WEFT_TRANSPORT_SHARES)) {
        assert_int_equal(transport->share(rig->devices[0], BYTES, mine, blocks, &error),
                         WEFT_UNSUPPORTED);
        return;
    }
    rig_exchange(rig, 1, 1, 0);
    rig_exchange(rig, 2, 1, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(transport->share(rig->devices[i], BYTES, &mine[i], &blocks[i], &error),
                         WEFT_OK);
        for (int j = 0; j < BYTES; j++)
            assert_int_equal(((unsigned char *)mine[i])[j], 0);
    }
    for (int i = 0; i < 2; i++) {
        memset(see(rig, i, &blocks[!i], true), 50 + i, BYTES);
        assert_int_equal(((unsigned char *)mine[!i])[0], 50 + i);
        assert_int_equal(((unsigned char *)mine[!i])[BYTES - 1], 50 + i);
    }
    assert_true(transport->locate(rig->devices[0], (char *)mine[0] + 70, 9000, &found, &within));
    assert_memory_equal(&found, &blocks[0], sizeof found);
    assert_int_equal(within, 70);
    assert_false(transport->locate(rig->devices[0], mine[0], blocks[0].bytes + 1, &found, &within));
    assert_false(transport->locate(rig->devices[0], &error, 1, &found, &within));
    // What the peer does not have.
    past = (struct weft_shared_block){UINT64_C(1) << 40, 4096};
    assert_int_equal(transport->map(rig->ends[0][1].connection, &past, false, &theirs),
                     WEFT_INVALID_FORMAT);
    past = (struct weft_shared_block){UINT64_MAX - 4095, 4096};
    assert_int_equal(transport->map(rig->ends[0][1].connection, &past, false, &theirs),
                     WEFT_INVALID_FORMAT);
    past = (struct weft_shared_block){blocks[1].offset + 1, 1};
    assert_int_equal(transport->map(rig->ends[0][1].connection, &past, false, &theirs),
                     WEFT_INVALID_FORMAT);
    // Blocks come and go; a kept mapping stays, a new block in an old place is zero again.
    unsigned char *kept = see(rig, 0, &blocks[1], true);
    for (int i = 0; i < MANY; i++) {
        void *memory;
        assert_int_equal(
            transport->share(rig->devices[1], 4096 * (1 + (size_t)i % 5), &memory, &found, &error),
            WEFT_OK);
        assert_int_equal(see(rig, 0, &found, false)[found.bytes - 1], 0);
        memset(memory, 77, found.bytes);
        assert_int_equal(see(rig, 0, &found, false)[found.bytes - 1], 77);
        if (i % 3)
            transport->unshare(rig->devices[1], memory);
    }
    assert_ptr_equal(see(rig, 0, &blocks[1], true), kept);
    assert_int_equal(kept[BYTES - 1], 50);
}

static void tags(struct rig *rig)
{
    const struct weft_transport *transport = rig->transport;
    unsigned char addresses[2][WEFT_ADDRESS_BYTES];
    struct weft_connection *more[2][2];
    struct rig_end end = {.rig = rig};
    struct weft_error error;
    for (int i = 0; i < 2; i++)
        transport->address(rig->devices[i], addresses[i]);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++) {
            struct weft_device_options peer;
            rig_fill_options(&peer, !i);
            int tag = i ? k : !k; // connected in another order at the other end
            assert_int_equal(transport->connect(rig->devices[i], addresses[!i], peer.process_id,
                                                100 + (uint64_t)tag, &end, &more[i][tag], &error),
                             WEFT_OK);
        }
    }
    struct message send[2], recv[2];
    for (uint32_t k = 0; k < 2; k++) { // the same key on both: only the connection differs
        message_init_send(&send[k], 5, 8 + k);
        message_init_recv(&recv[k], 5, 8 + k);
        message_post_send(more[0][k], &send[k]);
        message_post_recv(more[1][k], &recv[k]);
    }
    for (int k = 0; k < 2; k++) {
        rig_wait(rig, &recv[k]);
        rig_wait(rig, &send[k]);
        message_check(&recv[k]);
        message_free(&send[k]);
        message_free(&recv[k]);
    }
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            transport->disconnect(&more[i][k]);
    rig_exchange(rig, 6, 10, 0);
}

static bool is_readable(int descriptor, int timeout_ms)
{
    struct pollfd waited = {.fd = descriptor, .events = POLLIN};
    return poll(&waited, 1, timeout_ms) == 1;
}

/* A device that sleeps is woken by a message, by room for its own, and by the peer's end. */
static void sleeping(struct rig *rig)
{
    const struct weft_transport *transport = rig->transport;
    int descriptor = transport->descriptor(rig->devices[1]);
    if (descriptor < 0)
        return;
    rig_exchange(rig, 1, 1, 0);
    for (uint32_t i = 0; i < 5; i++) {
        struct message send, recv;
        size_t bytes = i % 2 ? 1000000 : 10;
        message_init_send(&send, 10 + i, bytes);
        message_init_recv(&recv, 10 + i, bytes);
        message_post_recv(rig->ends[1][0].connection, &recv);
        rig_settle(rig);
        transport->arm(rig->devices[1], true);
        while (transport->progress(rig->devices[1]))
            ;
        assert_false(is_readable(descriptor, 0));
        message_post_send(rig->ends[0][1].connection, &send);
        while (!recv.num_completed) { // only a wake-up makes device 1 look
            for (int j = 0; j < 100; j++)
                transport->progress(rig->devices[0]);
            assert_true(is_readable(descriptor, 5000));
            transport->arm(rig->devices[1], false);
            transport->progress(rig->devices[1]);
            transport->arm(rig->devices[1], true);
            while (transport->progress(rig->devices[1]))
                ;
        }
        message_check(&recv);
        rig_wait(rig, &send);
        message_free(&send);
        message_free(&recv);
        transport->arm(rig->devices[1], false);
    }
    transport->arm(rig->devices[1], true);
    rig_settle(rig);
    transport->disconnect(&rig->ends[0][1].connection);
    assert_true(is_readable(descriptor, 5000));
    transport->progress(rig->devices[1]);
    rig_settle(rig);
    assert_int_equal(rig->ends[1][0].num_failed, 1);
}

const struct contract contract_messages[] = {
    {"sizes", sizes, 2, 10},
    {"large", large, 2, 1},
    {"many", many, 4, 20},
    {"unmatched", unmatched, 2, 10},
    {"equal_keys", equal_keys, 2, 20},
    {"sinks", sinks, 2, 20},
    {"unexpected", unexpected, 2, 20},
    {"callbacks_post", callbacks_post, 2, 10},
    {"shares", shares, 2, 10},
    {"tags", tags, 2, 20},
    {"sleeping", sleeping, 2, 1},
    {0},
};
