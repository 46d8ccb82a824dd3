/*
 * SPDX-License-Identifier: Apache-2.0
 * Connections with stripes: large messages of both ways go over several sockets at once and arrive
 * whole, in order where a sink takes them, through failures of some or all stripes at seeded
 * moments and cancelled transfers; what breaks the rules of stripes fails the connection.
 */
#include <linux/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/transport/rig.h"
#include "transport/tcp_stripes.h"

enum { LARGE = 2400000, FLOWS = 6, SEEDS = 24 };

static void on_failed(void *user, struct weft_connection *connection, const char *reason)
{
    struct rig_end *end = connection->user;
    (void)user;
    end->num_failed++;
    snprintf(end->reason, sizeof end->reason, "%s", reason);
}

static struct tcp_link *link_of(struct rig *rig, int from)
{
    return (struct tcp_link *)rig->ends[from][!from].connection;
}

static void wait_for_stripes(struct rig *rig, int num_up)
{
    int64_t deadline = weft_deadline_after(10000000000);
    for (int i = 0; i < 2; i++) {
        while (!link_of(rig, i)->stripes || link_of(rig, i)->stripes->num_up != num_up) {
            rig_poll(rig);
            assert_true(weft_clock_ns() < deadline);
        }
    }
}

/* Two devices with as many addresses each, connected; the first large message has asked for
 * stripes. */
static void open_pair(struct rig *rig, const char *const more[2], bool checksums)
{
    unsigned char addresses[2][WEFT_ADDRESS_BYTES];
    struct weft_device_options options[2];
    struct weft_error error;
    *rig = (struct rig){.transport = &weft_tcp_transport, .num_devices = 2, .random = 1};
    for (int i = 0; i < 2; i++) {
        rig_fill_options(&options[i], i);
        options[i].more_addresses = more[i];
        options[i].checksums = checksums;
        options[i].events.failed = on_failed;
        assert_int_equal(weft_tcp_transport.open(&options[i], &rig->devices[i], &error), WEFT_OK);
        weft_tcp_transport.address(rig->devices[i], addresses[i]);
    }
    for (int i = 0; i < 2; i++) {
        struct rig_end *end = &rig->ends[i][!i];
        *end = (struct rig_end){.rig = rig, .to = !i};
        assert_int_equal(weft_tcp_transport.connect(rig->devices[i], addresses[!i],
                                                    options[!i].process_id, 7, end,
                                                    &end->connection, &error),
                         WEFT_OK);
    }
    rig_exchange(rig, 1000000, LARGE, 2);
}

static void open_striped(struct rig *rig, bool checksums)
{
    static const char *const more[] = {"127.0.0.2,127.0.0.3", "127.0.0.2,127.0.0.3"};
    open_pair(rig, more, checksums);
    wait_for_stripes(rig, 3);
}

/* So that fragments are written in parts. */
static void narrow(struct rig *rig)
{
    const int room = 8192;
    for (int i = 0; i < 2; i++)
        for (int number = 0; number < 3; number++)
            setsockopt(link_of(rig, i)->stripes->each[number].socket, SOL_SOCKET, SO_SNDBUF, &room,
                       sizeof room);
}

static uint64_t bytes_on(const struct tcp_stripe *stripe)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    assert_int_equal(getsockopt(stripe->socket, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
    return info.tcpi_bytes_acked;
}

/* Messages of both ways at once, every other one through a sink whose elements straddle reads. */
struct traffic {
    struct message sends[FLOWS], recvs[FLOWS];
};

static void post_traffic(struct rig *rig, struct traffic *traffic, uint32_t first)
{
    for (uint32_t i = 0; i < FLOWS; i++) {
        size_t bytes = LARGE - i * 300000;
        int from = (int)i & 1;
        message_init_send(&traffic->sends[i], first + i, bytes);
        if (i & 2)
            message_init_sink(&traffic->recvs[i], first + i, bytes, 12);
        else
            message_init_recv(&traffic->recvs[i], first + i, bytes);
        message_post_recv(rig->ends[!from][from].connection, &traffic->recvs[i]);
        message_post_send(rig->ends[from][!from].connection, &traffic->sends[i]);
    }
}

static bool is_over(const struct traffic *traffic)
{
    for (int i = 0; i < FLOWS; i++)
        if (!traffic->sends[i].num_completed || !traffic->recvs[i].num_completed)
            return false;
    return true;
}

static void finish_traffic(struct rig *rig, struct traffic *traffic)
{
    for (int i = 0; i < FLOWS; i++) {
        rig_wait(rig, &traffic->sends[i]);
        rig_wait(rig, &traffic->recvs[i]);
        message_check(&traffic->recvs[i]);
        assert_int_equal(traffic->sends[i].transfer.status, WEFT_OK);
        message_free(&traffic->sends[i]);
        message_free(&traffic->recvs[i]);
    }
    assert_int_equal(rig->ends[0][1].num_failed + rig->ends[1][0].num_failed, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(link_of(rig, i)->stripes ? link_of(rig, i)->stripes->num_loads : 0, 0);
}

static void test_striped(void **state)
{
    (void)state;
    for (int checksums = 0; checksums < 2; checksums++) {
        struct rig rig;
        struct traffic traffic;
        int before = count_descriptors();
        open_striped(&rig, checksums);
        post_traffic(&rig, &traffic, 0);
        finish_traffic(&rig, &traffic);
        for (int i = 0; i < 2; i++)
            for (int number = 0; number < 3; number++)
                assert_true(bytes_on(&link_of(&rig, i)->stripes->each[number]) > TCP_STRIPE_BYTES);
        rig_close(&rig);
        assert_int_equal(count_descriptors(), before);
    }
}

/* Each stripe carries what it can: the network takes four times as much on the first as on each of
 * the others. */
static void test_shares(void **state)
{
    (void)state;
    enum { BYTES = 4 << 20, LEARNING = 2, MESSAGES = 6 };
    static const uint64_t rates[] = {40000000, 10000000, 10000000};
    struct rig rig;
    uint64_t before[3], carried[3], all = 0;
    open_striped(&rig, false);
    struct tcp_stripe *stripes = link_of(&rig, 0)->stripes->each;
    for (int i = 0; i < 3; i++)
        assert_int_equal(setsockopt(stripes[i].socket, SOL_SOCKET, SO_MAX_PACING_RATE, &rates[i],
                                    sizeof rates[i]),
                         0);
    for (uint32_t i = 0; i < LEARNING; i++) // each as much as the others at first
        rig_exchange(&rig, i, BYTES, 0);
    for (int i = 0; i < 3; i++)
        before[i] = bytes_on(&stripes[i]);
    int64_t start = weft_clock_ns();
    for (uint32_t i = LEARNING; i < LEARNING + MESSAGES; i++)
        rig_exchange(&rig, i, BYTES, 0);
    for (int i = 0; i < 3; i++)
        all += carried[i] = bytes_on(&stripes[i]) - before[i];
    print_message("shares of 40, 10 and 10 MB/s: %.0f, %.0f, %.0f %%; %.1f MB/s\n",
                  100. * (double)carried[0] / (double)all, 100. * (double)carried[1] / (double)all,
                  100. * (double)carried[2] / (double)all,
                  1e3 * MESSAGES * BYTES / (double)(weft_clock_ns() - start));
    assert_in_range(100 * carried[0] / all, 45, 90);
    assert_in_range(100 * carried[1] / all, 4, 40);
    assert_in_range(100 * carried[2] / all, 4, 40);
    rig_close(&rig);
}

/* Who is thought to be slow has enough to do all the same, and so shows how fast it is. */
static void test_busy(void **state)
{
    (void)state;
    enum { BYTES = 16 << 20, THOUGHT_FAST = 100000000, THOUGHT_SLOW = 20000000 };
    const int room = 128 << 10;
    struct rig rig;
    struct message send, recv;
    open_striped(&rig, false);
    rig_settle(&rig);
    struct tcp_stripes *stripes = link_of(&rig, 0)->stripes;
    for (int i = 0; i < 3; i++) {
        setsockopt(stripes->each[i].socket, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        stripes->each[i].rate = i ? THOUGHT_SLOW : THOUGHT_FAST;
        stripes->each[i].reckoned_ns = weft_clock_ns();
    }
    message_init_send(&send, 5, BYTES);
    message_init_recv(&recv, 5, BYTES);
    message_post_recv(rig.ends[1][0].connection, &recv);
    message_post_send(rig.ends[0][1].connection, &send);
    int64_t deadline = weft_deadline_after(5000000000);
    while (!stripes->num_loads && weft_clock_ns() < deadline)
        rig_poll(&rig);
    for (int i = 0; i < 100; i++) // nobody reads
        weft_tcp_transport.progress(rig.devices[0]);
    for (int i = 0; i < 3; i++)
        assert_true(stripes->each[i].blocked);
    rig_wait(&rig, &recv);
    rig_wait(&rig, &send);
    message_check(&recv);
    message_free(&send);
    message_free(&recv);
    rig_close(&rig);
}

/* Where one end has one address, or the other has, there is nothing to stripe over. */
static void test_one_address(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct rig rig;
        struct traffic traffic;
        const char *const more[] = {i ? "127.0.0.2" : NULL, i ? NULL : "127.0.0.2"};
        open_pair(&rig, more, false);
        post_traffic(&rig, &traffic, 0);
        finish_traffic(&rig, &traffic);
        assert_null(link_of(&rig, 0)->stripes);
        assert_null(link_of(&rig, 1)->stripes);
        rig_close(&rig);
    }
}

/* Small messages stay on the connection's own socket. */
static void test_small(void **state)
{
    (void)state;
    struct rig rig;
    open_striped(&rig, false);
    uint64_t before[3];
    for (int i = 0; i < 3; i++)
        before[i] = bytes_on(&link_of(&rig, 0)->stripes->each[i]);
    for (uint32_t i = 0; i < 50; i++)
        rig_exchange(&rig, i, i % 2 ? 100 : TCP_STRIPED_BYTES - 1, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(bytes_on(&link_of(&rig, 0)->stripes->each[i]), before[i]);
    rig_close(&rig);
}

/* Ends `count` stripes, at one end or the other, in the middle of traffic. */
static void try_failure(uint64_t seed, int count)
{
    struct rig rig;
    struct traffic traffic;
    uint64_t random = seed;
    open_striped(&rig, seed % 5 == 0);
    if (seed % 2)
        narrow(&rig);
    post_traffic(&rig, &traffic, 0);
    for (uint64_t i = rig_random(&random) % 60; i > 0 && !is_over(&traffic); i--)
        rig_poll(&rig);
    for (int i = 0; i < count; i++) {
        struct tcp_stripe *stripe =
            &link_of(&rig, (int)(rig_random(&random) % 2))->stripes->each[i];
        if (stripe->socket >= 0)
            shutdown(stripe->socket, seed % 3 ? SHUT_RDWR : SHUT_WR);
        for (uint64_t pause = rig_random(&random) % 8; pause > 0; pause--)
            rig_poll(&rig);
    }
    finish_traffic(&rig, &traffic);
    if (seed % 8 == 0) { // they are called again
        wait_for_stripes(&rig, 3);
        post_traffic(&rig, &traffic, 100);
        finish_traffic(&rig, &traffic);
    }
    rig_close(&rig);
}

static void test_one_fails(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        try_failure(seed, 1);
}

static void test_all_fail(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        try_failure(seed, 3);
}

/* A stripe that cannot be watched any more, which is found when it has taken a part of a fragment.
 * The peer has that part before it hears of the end. */
static void test_unwatched(void **state)
{
    (void)state;
    struct rig rig;
    struct message send, recv;
    open_striped(&rig, false);
    narrow(&rig);
    rig_settle(&rig);
    struct tcp_link *link = link_of(&rig, 0);
    weft_tcp_unwatch((struct tcp_device *)rig.devices[0], link->stripes->each[0].socket);
    message_init_send(&send, 5, LARGE);
    message_init_recv(&recv, 5, LARGE);
    message_post_recv(rig.ends[1][0].connection, &recv);
    message_post_send(rig.ends[0][1].connection, &send);
    link->blocked = true; // says nothing more for now
    int64_t deadline = weft_deadline_after(5000000000);
    while (link->stripes->num_up == 3 || link_of(&rig, 1)->stripes->num_up == 3) {
        rig_poll(&rig);
        assert_true(weft_clock_ns() < deadline);
    }
    link->blocked = false;
    rig_wait(&rig, &recv);
    rig_wait(&rig, &send);
    message_check(&recv);
    assert_int_equal(send.transfer.status, WEFT_OK);
    message_free(&send);
    message_free(&recv);
    rig_close(&rig);
}

/* Transfers cancelled in the middle, at either end; those beside them are not touched. */
static void test_cancel(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rig rig;
        struct traffic traffic;
        struct message send, recv;
        uint64_t random = seed;
        open_striped(&rig, true); // finds bytes that were sent after they changed
        narrow(&rig);
        message_init_send(&send, 500, LARGE);
        message_init_recv(&recv, 500, LARGE);
        message_post_recv(rig.ends[1][0].connection, &recv);
        message_post_send(rig.ends[0][1].connection, &send);
        post_traffic(&rig, &traffic, 0);
        for (uint64_t i = rig_random(&random) % 40; i > 0; i--)
            rig_poll(&rig);
        bool cancels_first = seed % 2;
        for (int i = 0; i < 2; i++) {
            bool is_send = (i == 0) == cancels_first;
            struct message *message = is_send ? &send : &recv;
            if (!message->num_completed)
                rig.transport->cancel(rig.ends[!is_send][is_send].connection, &message->transfer);
            memset(message->buffer, 0, LARGE); // ours again
            for (uint64_t pause = rig_random(&random) % 8; pause > 0; pause--)
                rig_poll(&rig);
        }
        finish_traffic(&rig, &traffic);
        for (size_t i = 0; i < LARGE; i++)
            assert_int_equal(recv.buffer[i], 0);
        message_free(&send);
        message_free(&recv);
        rig_close(&rig);
    }
}

static void say(int socket, const struct weft_packet *packet)
{
    const struct tcp_frame frame = {.packet = *packet};
    assert_int_equal(send(socket, &frame, sizeof frame, MSG_NOSIGNAL), sizeof frame);
}

/* One frame from device 0 on its stripe, or on its own socket, that no honest peer sends. */
static void try_offence(bool on_stripe, const struct weft_packet *packet, const char *reason)
{
    struct rig rig;
    open_striped(&rig, false);
    rig_settle(&rig);
    struct tcp_link *link = link_of(&rig, 0);
    say(on_stripe ? link->stripes->each[1].socket : link->socket, packet);
    int64_t deadline = weft_deadline_after(5000000000);
    while (!rig.ends[1][0].num_failed && weft_clock_ns() < deadline)
        rig_poll(&rig);
    assert_int_equal(rig.ends[1][0].num_failed, 1);
    assert_non_null(strstr(rig.ends[1][0].reason, reason));
    rig_close(&rig);
}

static void test_offences(void **state)
{
    (void)state;
    static const struct {
        bool on_stripe;
        struct weft_packet packet;
        const char *reason;
    } offences[] = {
        {true, {.type = WEFT_PACKET_EAGER, .payload_bytes = 4, .value = 4}, "than data"},
        {true, {.type = WEFT_PACKET_DATA, .payload_bytes = 0}, "than data"},
        {true, {.type = WEFT_PACKET_DATA, .payload_bytes = TCP_STRIPE_BYTES + 1}, "than data"},
        {true, {.type = WEFT_PACKET_DATA, .payload_bytes = 4, .zero = 1}, "than data"},
        {false, {.type = TCP_PACKET_DONE + 1}, "malformed"},
        {false, {.type = 0xff}, "malformed"},
    };
    for (size_t i = 0; i < sizeof offences / sizeof *offences; i++)
        try_offence(offences[i].on_stripe, &offences[i].packet, offences[i].reason);
}

/* Announces a message to device 1, which receives it. Returns the handle that is granted. */
static uint64_t announce(struct rig *rig, const struct weft_transfer *transfer)
{
    int socket = link_of(rig, 0)->socket;
    struct tcp_frame grant;
    const struct weft_packet packet = {.type = WEFT_PACKET_ANNOUNCE,
                                       .key = transfer->key,
                                       .call = transfer->call,
                                       .plan = transfer->plan,
                                       .value = transfer->bytes,
                                       .handle = 1};
    int64_t deadline = weft_deadline_after(5000000000);
    say(socket, &packet);
    while (recv(socket, &grant, sizeof grant, MSG_DONTWAIT) != sizeof grant) {
        weft_tcp_transport.progress(rig->devices[1]);
        assert_true(weft_clock_ns() < deadline);
    }
    assert_int_equal(grant.packet.type, WEFT_PACKET_GRANT);
    return grant.packet.value;
}

/* Two sockets bring the same fragment at once: each fits the message, both together do not. */
static void test_twice(void **state)
{
    (void)state;
    static const unsigned char payload[TCP_STRIPE_BYTES];
    for (int own_socket = 0; own_socket < 2; own_socket++) {
        struct rig rig;
        struct message message;
        open_striped(&rig, false);
        rig_settle(&rig); // from here on device 0 says only what is said by hand
        struct tcp_link *link = link_of(&rig, 0);
        const int sockets[] = {link->stripes->each[1].socket,
                               own_socket ? link->socket : link->stripes->each[2].socket};
        message_init_recv(&message, 5, sizeof payload + 1000);
        message_post_recv(rig.ends[1][0].connection, &message);
        const struct weft_packet data = {.type = WEFT_PACKET_DATA,
                                         .payload_bytes = sizeof payload,
                                         .handle = announce(&rig, &message.transfer)};
        for (int i = 0; i < 2; i++)
            say(sockets[i], &data);
        for (int i = 0; i < 100; i++)
            weft_tcp_transport.progress(rig.devices[1]);
        for (int i = 0; i < 2; i++)
            assert_int_equal(send(sockets[i], payload, sizeof payload, MSG_NOSIGNAL),
                             sizeof payload);
        int64_t deadline = weft_deadline_after(5000000000);
        while (!rig.ends[1][0].num_failed && weft_clock_ns() < deadline)
            weft_tcp_transport.progress(rig.devices[1]);
        assert_int_equal(rig.ends[1][0].num_failed, 1);
        assert_non_null(strstr(rig.ends[1][0].reason, "out of place"));
        assert_int_equal(message.num_completed, 1);
        assert_int_equal(message.transfer.status, WEFT_REMOTE);
        message_free(&message);
        rig_close(&rig);
    }
}

/* The receiver says that it has what was not sent, or that it is where no fragment was. */
static void test_lies(void **state)
{
    (void)state;
    for (int rewound = 0; rewound < 2; rewound++) {
        struct rig rig;
        struct message send, recv;
        open_striped(&rig, false);
        message_init_send(&send, 5, 50 * LARGE);
        message_init_recv(&recv, 5, 50 * LARGE);
        message_post_recv(rig.ends[1][0].connection, &recv);
        message_post_send(rig.ends[0][1].connection, &send);
        int64_t deadline = weft_deadline_after(5000000000);
        while (!link_of(&rig, 0)->stripes->num_loads && weft_clock_ns() < deadline)
            rig_poll(&rig);
        assert_int_equal(link_of(&rig, 0)->stripes->num_loads, 1);
        const struct weft_packet lie = {.type = rewound ? TCP_PACKET_REWOUND : TCP_PACKET_DONE,
                                        .handle = link_of(&rig, 0)->stripes->num_named,
                                        .value = 1,
                                        .call = LARGE};
        say(link_of(&rig, 1)->socket, &lie);
        while (!rig.ends[0][1].num_failed && weft_clock_ns() < deadline)
            rig_poll(&rig);
        assert_int_equal(send.num_completed, 1);
        assert_int_equal(send.transfer.status, WEFT_REMOTE);
        assert_non_null(strstr(rig.ends[0][1].reason, "was sent"));
        rig_wait(&rig, &recv);
        message_free(&send);
        message_free(&recv);
        rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_striped),  cmocka_unit_test(test_one_address),
        cmocka_unit_test(test_small),    cmocka_unit_test(test_shares),
        cmocka_unit_test(test_busy),     cmocka_unit_test(test_one_fails),
        cmocka_unit_test(test_all_fail), cmocka_unit_test(test_unwatched),
        cmocka_unit_test(test_cancel),   cmocka_unit_test(test_offences),
        cmocka_unit_test(test_twice),    cmocka_unit_test(test_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
