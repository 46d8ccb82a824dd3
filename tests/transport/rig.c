/*
 * SPDX-License-Identifier: Apache-2.0
 * The rig: devices, connections, messages with a pattern, and waiting with a deadline.
 */
#include "tests/transport/rig.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

enum { GUARD = 16, GUARD_BYTE = 0xa7 };

uint64_t rig_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void on_unexpected(void *user, struct weft_connection *connection,
                          const struct weft_message_key *key, uint64_t call, uint64_t plan,
                          uint64_t bytes)
{
    (void)user;
    (void)call;
    (void)plan;
    struct rig_end *end = connection->user;
    end->num_unexpected++;
    end->unexpected_key = *key;
    end->unexpected_bytes = bytes;
}

static void on_failed(void *user, struct weft_connection *connection, const char *reason)
{
    (void)user;
    struct rig_end *end = connection->user;
    end->num_failed++;
    snprintf(end->reason, sizeof end->reason, "%s", reason);
}

void rig_fill_options(struct weft_device_options *options, int number)
{
    memset(options, 0, sizeof *options);
    memset(options->process_id, 0x40 + (number * 37) % 11, sizeof options->process_id);
    options->process_id[15] = (unsigned char)number;
    options->listen_address = "127.0.0.1";
    options->eager_bytes = RIG_EAGER_BYTES;
}

bool rig_has(const struct weft_transport *transport, struct weft_error *error)
{
    struct weft_device_options options;
    struct weft_device *device = NULL;
    rig_fill_options(&options, 0);
    weft_status status = transport->open(&options, &device, error);
    transport->close(&device);
    return status != WEFT_UNSUPPORTED;
}

void rig_require(const struct weft_transport *transport)
{
    struct weft_error error = {0};
    if (!rig_has(transport, &error)) {
        print_message("%s\n", error.text);
        skip();
    }
}

struct weft_device *rig_open_device(const struct weft_transport *transport, struct rig *rig,
                                    int number)
{
    struct weft_device_options options;
    struct weft_error error = {0};
    struct weft_device *device = NULL;
    struct weft_verbs_options verbs = WEFT_VERBS_OPTIONS_DEFAULT;
    verbs.hca = rig->hcas[number];
    rig_fill_options(&options, number);
    options.verbs = &verbs;
    options.events =
        (struct weft_device_events){.user = rig, .unexpected = on_unexpected, .failed = on_failed};
    if (transport->open(&options, &device, &error) != WEFT_OK)
        fail_msg("%s: %s", transport->name, error.text);
    return device;
}

void rig_open_hcas(struct rig *rig, const struct weft_transport *transport, int num_devices,
                   uint64_t seed, const char *const *hcas)
{
    memset(rig, 0, sizeof *rig);
    for (int i = 0; hcas && i < num_devices; i++)
        rig->hcas[i] = hcas[i];
    rig->transport = transport;
    rig->num_devices = num_devices;
    rig->random = seed;
    unsigned char addresses[RIG_LIMIT][WEFT_ADDRESS_BYTES];
    for (int i = 0; i < num_devices; i++) {
        rig->devices[i] = rig_open_device(transport, rig, i);
        transport->address(rig->devices[i], addresses[i]);
    }
    for (int i = 0; i < num_devices; i++) {
        for (int j = 0; j < num_devices; j++) {
            struct weft_device_options peer;
            struct weft_error error = {0};
            const char *reason = NULL;
            struct rig_end *end = &rig->ends[i][j];
            if (i == j)
                continue;
            *end = (struct rig_end){.rig = rig, .to = j};
            rig_fill_options(&peer, j);
            assert_true(transport->reachable(rig->devices[i], addresses[j], &reason));
            if (transport->connect(rig->devices[i], addresses[j], peer.process_id, 7, end,
                                   &end->connection, &error) != WEFT_OK)
                fail_msg("%s: %s", transport->name, error.text);
            assert_ptr_equal(end->connection->user, end);
            assert_ptr_equal(end->connection->device, rig->devices[i]);
        }
        if (transport == &weft_loopback_transport)
            weft_loopback_seed(rig->devices[i], seed);
    }
}

void rig_open(struct rig *rig, const struct weft_transport *transport, int num_devices,
              uint64_t seed)
{
    rig_open_hcas(rig, transport, num_devices, seed, NULL);
}

void rig_close(struct rig *rig)
{
    for (int i = 0; i < rig->num_devices; i++)
        for (int j = 0; j < RIG_LIMIT; j++)
            rig->transport->disconnect(&rig->ends[i][j].connection);
    for (int i = 0; i < rig->num_devices; i++) {
        rig->transport->close(&rig->devices[i]);
        assert_null(rig->devices[i]);
    }
}

int rig_poll(struct rig *rig)
{
    int count = 0;
    for (int i = 0; i < rig->num_devices; i++)
        count += rig->transport->progress(rig->devices[i]);
    return count;
}

void rig_wait(struct rig *rig, const struct message *message)
{
    int64_t deadline = weft_deadline_after(20000000000);
    while (message->num_completed == 0) {
        rig_poll(rig);
        if (weft_clock_ns() > deadline)
            fail_msg("%s: message %u of %zu bytes did not complete in 20 s", rig->transport->name,
                     message->transfer.key.index, message->transfer.bytes);
    }
}

void rig_settle(struct rig *rig)
{
    int64_t deadline = weft_deadline_after(20000000000);
    int64_t quiet_since = weft_clock_ns();
    int polls = 0;
    // TCP needs a moment in the kernel between progresses
    int64_t quiet_ns = rig->transport == &weft_loopback_transport ? 0 : 3000000;
    while (polls < 1000 || weft_clock_ns() < quiet_since + quiet_ns) {
        polls++;
        if (rig_poll(rig)) {
            polls = 0;
            quiet_since = weft_clock_ns();
        }
        if (weft_clock_ns() > deadline)
            fail_msg("%s: still busy after 20 s", rig->transport->name);
    }
}

/* ---- messages ---- */

static unsigned char pattern(uint32_t index, size_t offset)
{
    return (unsigned char)(index * 131 + offset * 7 + (offset >> 8) * 13 + (offset >> 16));
}

static void on_complete(struct weft_transfer *transfer)
{
    ((struct message *)transfer)->num_completed++;
}

struct weft_message_key rig_key(uint32_t index)
{
    return (struct weft_message_key){.comm = 3,
                                     .sequence = index / 5,
                                     .epoch = 1,
                                     .lane = (uint16_t)(index % 3),
                                     .index = index};
}

static void init_message(struct message *message, uint32_t index, size_t bytes)
{
    memset(message, 0, sizeof *message);
    message->buffer = malloc(bytes + GUARD);
    assert_non_null(message->buffer);
    memset(message->buffer, GUARD_BYTE, bytes + GUARD);
    message->transfer.key = rig_key(index);
    message->transfer.call = 77;
    message->transfer.plan = 1000 + index;
    message->transfer.data = message->buffer;
    message->transfer.bytes = bytes;
    message->transfer.complete = on_complete;
    message->transfer.status = WEFT_INTERNAL;
}

void message_init_send(struct message *message, uint32_t index, size_t bytes)
{
    init_message(message, index, bytes);
    for (size_t i = 0; i < bytes; i++)
        message->buffer[i] = pattern(index, i);
}

void message_init_recv(struct message *message, uint32_t index, size_t bytes)
{
    init_message(message, index, bytes);
}

static void sink(void *argument, size_t offset, const void *data, size_t bytes)
{
    struct message *message = argument;
    size_t unit = message->transfer.sink_unit;
    if (offset != message->sunk || bytes == 0 || offset % unit || bytes % unit ||
        offset + bytes > message->transfer.bytes) {
        message->sunk_badly = true;
        return;
    }
    memcpy(message->buffer + offset, data, bytes);
    message->sunk += bytes;
}

void message_init_sink(struct message *message, uint32_t index, size_t bytes, size_t unit)
{
    init_message(message, index, bytes);
    message->transfer.data = NULL;
    message->transfer.sink = sink;
    message->transfer.sink_argument = message;
    message->transfer.sink_unit = unit;
}

void message_free(struct message *message)
{
    free(message->buffer);
    message->buffer = NULL;
}

void message_post_send(struct weft_connection *connection, struct message *message)
{
    assert_int_equal(connection->device->transport->post_send(connection, &message->transfer),
                     WEFT_OK);
}

void message_post_recv(struct weft_connection *connection, struct message *message)
{
    assert_int_equal(connection->device->transport->post_recv(connection, &message->transfer),
                     WEFT_OK);
}

bool message_is_right(const struct message *message)
{
    const struct weft_transfer *transfer = &message->transfer;
    if (message->num_completed != 1 || transfer->status != WEFT_OK || message->sunk_badly ||
        (transfer->sink && message->sunk != transfer->bytes))
        return false;
    for (size_t i = 0; i < transfer->bytes; i++)
        if (message->buffer[i] != pattern(transfer->key.index, i))
            return false;
    for (size_t i = 0; i < GUARD; i++)
        if (message->buffer[transfer->bytes + i] != GUARD_BYTE)
            return false;
    return true;
}

void message_check(const struct message *message)
{
    assert_int_equal(message->num_completed, 1);
    assert_int_equal(message->transfer.status, WEFT_OK);
    if (!message_is_right(message))
        fail_msg("message %u of %zu bytes arrived damaged", message->transfer.key.index,
                 message->transfer.bytes);
}

int count_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

void rig_exchange(struct rig *rig, uint32_t index, size_t bytes, int order)
{
    struct message send, recv;
    message_init_send(&send, index, bytes);
    message_init_recv(&recv, index, bytes);
    int from = order & 1;
    if (order & 2) {
        message_post_recv(rig->ends[!from][from].connection, &recv);
        if (order & 4)
            rig_settle(rig);
        message_post_send(rig->ends[from][!from].connection, &send);
    } else {
        message_post_send(rig->ends[from][!from].connection, &send);
        if (order & 4)
            rig_settle(rig);
        message_post_recv(rig->ends[!from][from].connection, &recv);
    }
    rig_wait(rig, &recv);
    rig_wait(rig, &send);
    message_check(&recv);
    assert_int_equal(send.num_completed, 1);
    assert_int_equal(send.transfer.status, WEFT_OK);
    message_free(&send);
    message_free(&recv);
}
