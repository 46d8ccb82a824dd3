/*
 * SPDX-License-Identifier: Apache-2.0
 * What TCP puts on the wire: checksums, against a relay in the middle of an established connection
 * that damages one byte; and sockets that epoll has forgotten while they were read all the time.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/transport/rig.h"
#include "transport/tcp_parts.h"

enum { NOWHERE = -1, HEADER = sizeof(struct tcp_frame), RELAY_BYTES = 1 << 20 };

/* Stands between device 0 and the end of device 1. */
struct relay {
    int near, far; // what device 0 writes comes out of near; far is the other end of 1's new socket
    long harmed_at; // which byte on its way to 1 is damaged
    long passed;
    size_t hold; // passes on so many bytes at least, so that they arrive at once; 0: what comes
    size_t held;
    unsigned char bytes[RELAY_BYTES];
};

static struct tcp_link *link_of(struct rig *rig, int from, int to)
{
    return (struct tcp_link *)rig->ends[from][to].connection;
}

/* Two devices, of which the first wants checksums, or neither. */
static void open_pair(struct rig *rig, bool checksums)
{
    unsigned char addresses[2][WEFT_ADDRESS_BYTES];
    struct weft_error error;
    *rig = (struct rig){.transport = &weft_tcp_transport, .num_devices = 2};
    for (int i = 0; i < 2; i++) {
        rig->devices[i] = rig_open_device(rig->transport, rig, i);
        if (i == 0)
            ((struct tcp_device *)rig->devices[0])->self.wants_checks = checksums;
        rig->transport->address(rig->devices[i], addresses[i]);
    }
    for (int i = 0; i < 2; i++) {
        struct weft_device_options peer;
        struct rig_end *end = &rig->ends[i][!i];
        *end = (struct rig_end){.rig = rig, .to = !i};
        rig_fill_options(&peer, !i);
        assert_int_equal(rig->transport->connect(rig->devices[i], addresses[!i], peer.process_id, 7,
                                                 end, &end->connection, &error),
                         WEFT_OK);
    }
    int64_t deadline = weft_deadline_after(5000000000);
    while (link_of(rig, 0, 1)->state != TCP_UP || link_of(rig, 1, 0)->state != TCP_UP) {
        rig_poll(rig);
        assert_true(weft_clock_ns() < deadline);
    }
}

static void relay_open(struct relay *relay, struct rig *rig, long harmed_at, size_t hold)
{
    int pair[2], socket = link_of(rig, 1, 0)->socket, room = RELAY_BYTES;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room); // else in parts
    relay->near = dup(socket);
    relay->far = pair[1];
    relay->harmed_at = harmed_at;
    relay->hold = hold;
    relay->passed = 0;
    relay->held = 0;
    assert_true(relay->near >= 0);
    assert_int_equal(dup2(pair[0], socket), socket);
    close(pair[0]);
}

static void relay_close(struct relay *relay)
{
    close(relay->near);
    close(relay->far);
}

static void relay_pass(struct relay *relay)
{
    unsigned char *end = relay->bytes + relay->held;
    ssize_t got = recv(relay->near, end, RELAY_BYTES - relay->held, MSG_DONTWAIT);
    if (got > 0) {
        if (relay->harmed_at >= relay->passed && relay->harmed_at < relay->passed + got)
            end[relay->harmed_at - relay->passed] ^= 0x10;
        relay->passed += got;
        relay->held += (size_t)got;
    }
    if (relay->held && (relay->passed <= HEADER || relay->held >= relay->hold)) {
        ssize_t sent = send(relay->far, relay->bytes, relay->held, MSG_NOSIGNAL);
        (void)sent; // to a socket that its owner has closed, for instance
        relay->held = 0;
    }
    unsigned char back[8192];
    got = recv(relay->far, back, sizeof back, MSG_DONTWAIT);
    if (got > 0)
        assert_int_equal(send(relay->near, back, (size_t)got, MSG_NOSIGNAL), got);
}

/* Sends a message of `bytes` from 0 to 1; its status there. `unit`: of a sink, 0: none. */
static weft_status pass_message(struct rig *rig, struct relay *relay, size_t bytes, size_t unit)
{
    struct message send, recv;
    int64_t deadline = weft_deadline_after(10000000000);
    message_init_send(&send, 5, bytes);
    if (unit)
        message_init_sink(&recv, 5, bytes, unit);
    else
        message_init_recv(&recv, 5, bytes);
    message_post_recv(rig->ends[1][0].connection, &recv);
    message_post_send(rig->ends[0][1].connection, &send);
    while (!recv.num_completed) {
        rig_poll(rig);
        relay_pass(relay);
        assert_true(weft_clock_ns() < deadline);
    }
    weft_status status = recv.transfer.status;
    if (status == WEFT_OK)
        message_check(&recv);
    if (!send.num_completed)
        rig->transport->cancel(rig->ends[0][1].connection, &send.transfer);
    message_free(&send);
    message_free(&recv);
    return status;
}

static void try_damage(size_t bytes, size_t unit, long harmed_at, size_t hold, const char *what)
{
    struct rig rig;
    static struct relay relay;
    int before = count_descriptors();
    open_pair(&rig, true);
    relay_open(&relay, &rig, harmed_at, hold);
    weft_status status = pass_message(&rig, &relay, bytes, unit);
    if (harmed_at == NOWHERE) {
        assert_int_equal(status, WEFT_OK);
        assert_int_equal(rig.ends[1][0].num_failed, 0);
    } else {
        assert_int_equal(status, WEFT_REMOTE);
        assert_int_equal(rig.ends[1][0].num_failed, 1);
        assert_non_null(strstr(rig.ends[1][0].reason, "from 127.0.0.1 port"));
        assert_non_null(strstr(rig.ends[1][0].reason, "damaged"));
        assert_non_null(strstr(rig.ends[1][0].reason, what));
    }
    relay_close(&relay);
    rig_close(&rig);
    assert_int_equal(count_descriptors(), before);
}

static void test_checksums(void **state)
{
    (void)state;
    // Whole in the buffer; in parts through a sink, whose units straddle reads; straight to its
    // place.
    static const struct {
        size_t bytes, unit;
    } cases[] = {{8, 0}, {3000, 0}, {60000, 12}, {60000, 0}, {3000000, 0}, {3000000, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t bytes = cases[i].bytes, unit = cases[i].unit;
        bool is_announced = bytes > RIG_EAGER_BYTES; // then a header of its own comes first
        long first = HEADER + (is_announced ? HEADER : 0);
        try_damage(bytes, unit, NOWHERE, 0, "");
        try_damage(bytes, unit, 0, 0, "header");
        try_damage(bytes, unit, HEADER - 1, 0, "header");
        try_damage(bytes, unit, first, 0, "message 5 of lane");
        try_damage(bytes, unit, first + 7, 0, "message 5 of lane");
        if (!is_announced)
            try_damage(bytes, unit, first + (long)bytes - 1, 0, "message 5 of lane");
    }
    try_damage(3000000, 0, 2000000, 0, "message 5 of lane");
    // The end of a payload in its place, in one read that is larger than the buffer
    // (valgrind sees what is read beyond it).
    try_damage(3000000, 0, 200000, HEADER + TCP_FRAGMENT_BYTES, "message 5 of lane");
}

/* Where nobody wants them, damage is the wire's business, and sums are 0. */
static void test_no_checksums(void **state)
{
    (void)state;
    struct rig rig;
    open_pair(&rig, false);
    assert_null(link_of(&rig, 0, 1)->checks.state);
    assert_null(link_of(&rig, 1, 0)->checks.state);
    struct message send, recv;
    message_init_send(&send, 1, 100);
    message_init_recv(&recv, 1, 100);
    message_post_send(rig.ends[0][1].connection, &send);
    message_post_recv(rig.ends[1][0].connection, &recv);
    rig_wait(&rig, &recv);
    message_check(&recv);
    assert_int_equal(link_of(&rig, 0, 1)->out.frame.payload_sum, 0);
    assert_int_equal(link_of(&rig, 0, 1)->out.frame.header_sum, 0);
    message_free(&send);
    message_free(&recv);
    rig_close(&rig);
}

/* Messages one by one until the receiving socket is read without epoll. */
static void heat_up(struct rig *rig)
{
    for (uint32_t i = 0; i < 1000 && !link_of(rig, 1, 0)->hot; i++) {
        rig_exchange(rig, i, 16, 2);
    }
    assert_true(link_of(rig, 1, 0)->hot);
}

/* What nobody expects is found on a hot socket, too. */
static void test_hot_unexpected(void **state)
{
    (void)state;
    struct rig rig;
    struct message send, recv;
    open_pair(&rig, false);
    heat_up(&rig);
    message_init_send(&send, 5000, 16);
    message_post_send(rig.ends[0][1].connection, &send);
    int64_t deadline = weft_deadline_after(5000000000);
    while (!rig.ends[1][0].num_unexpected && weft_clock_ns() < deadline)
        rig_poll(&rig);
    assert_int_equal(rig.ends[1][0].num_unexpected, 1);
    message_init_recv(&recv, 5000, 16);
    message_post_recv(rig.ends[1][0].connection, &recv);
    rig_wait(&rig, &recv);
    message_check(&recv);
    message_free(&send);
    message_free(&recv);
    rig_close(&rig);
}

/* A sleeper that waits for a message is woken by it, though its socket was hot. */
static void test_hot_sleeper(void **state)
{
    (void)state;
    struct rig rig;
    struct message send, recv;
    open_pair(&rig, false);
    heat_up(&rig);
    struct weft_device *receiver = rig.devices[1];
    struct pollfd waited = {.fd = rig.transport->descriptor(receiver), .events = POLLIN};
    message_init_recv(&recv, 5000, 16);
    message_post_recv(rig.ends[1][0].connection, &recv);
    rig.transport->arm(receiver, true);
    rig.transport->progress(receiver);
    message_init_send(&send, 5000, 16);
    message_post_send(rig.ends[0][1].connection, &send);
    assert_int_equal(poll(&waited, 1, 5000), 1);
    rig.transport->arm(receiver, false);
    rig_wait(&rig, &recv);
    message_check(&recv);
    message_free(&send);
    message_free(&recv);
    rig_close(&rig);
}

/* The end of a peer is found on a hot socket too. */
static void test_hot_end(void **state)
{
    (void)state;
    struct rig rig;
    open_pair(&rig, false);
    heat_up(&rig);
    rig.transport->disconnect(&rig.ends[0][1].connection);
    int64_t deadline = weft_deadline_after(5000000000);
    while (!rig.ends[1][0].num_failed && weft_clock_ns() < deadline)
        rig_poll(&rig);
    assert_int_equal(rig.ends[1][0].num_failed, 1);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksums),      cmocka_unit_test(test_no_checksums),
        cmocka_unit_test(test_hot_unexpected), cmocka_unit_test(test_hot_sleeper),
        cmocka_unit_test(test_hot_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
