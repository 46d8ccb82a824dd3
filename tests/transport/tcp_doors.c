/*
 * SPDX-License-Identifier: Apache-2.0
 * Processes with several addresses: whoever calls one tries them in turn, past one that refuses,
 * one that says nothing, and one behind which somebody else sits, and keeps what connects.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
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

static void on_failed(void *user, struct weft_connection *connection, const char *reason)
{
    (void)user;
    (void)reason;
    ((struct rig_end *)connection->user)->num_failed++;
}

static weft_status open_device(int number, const char *more, struct weft_device **device,
                               struct weft_error *error)
{
    struct weft_device_options options;
    rig_fill_options(&options, number);
    options.more_addresses = more;
    options.events.failed = on_failed;
    return weft_tcp_transport.open(&options, device, error);
}

/* Device 0, which calls, and 1, which has three doors. */
static void open_pair(struct rig *rig, struct tcp_address addresses[2])
{
    struct weft_error error;
    unsigned char bytes[WEFT_ADDRESS_BYTES];
    *rig = (struct rig){.transport = &weft_tcp_transport, .num_devices = 2};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(open_device(i, i ? "127.0.0.2,127.0.0.3" : NULL, &rig->devices[i], &error),
                         WEFT_OK);
        rig->transport->address(rig->devices[i], bytes);
        memcpy(&addresses[i], bytes, sizeof addresses[i]);
    }
}

static void connect_pair(struct rig *rig, const struct tcp_address addresses[2])
{
    for (int i = 0; i < 2; i++) {
        struct weft_error error;
        struct weft_device_options peer;
        unsigned char bytes[WEFT_ADDRESS_BYTES] = {0};
        struct rig_end *end = &rig->ends[i][!i];
        memcpy(bytes, &addresses[!i], sizeof addresses[!i]);
        *end = (struct rig_end){.rig = rig, .to = !i};
        rig_fill_options(&peer, !i);
        assert_int_equal(rig->transport->connect(rig->devices[i], bytes, peer.process_id, 7, end,
                                                 &end->connection, &error),
                         WEFT_OK);
    }
}

/* A message arrives, through the door at `ip`. */
static void check_pair(struct rig *rig, const char *ip)
{
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    char text[INET_ADDRSTRLEN];
    rig_exchange(rig, 1, 100, 0);
    int socket = ((struct tcp_link *)rig->ends[0][1].connection)->socket;
    assert_int_equal(getpeername(socket, (struct sockaddr *)&peer, &length), 0);
    assert_string_equal(inet_ntop(AF_INET, &peer.sin_addr, text, sizeof text), ip);
    assert_int_equal(rig->ends[0][1].num_failed + rig->ends[1][0].num_failed, 0);
    rig_close(rig);
}

static void close_door(struct rig *rig, int number)
{
    struct tcp_device *device = (struct tcp_device *)rig->devices[1];
    close(device->listeners[number].socket);
    device->listeners[number].socket = -1;
}

static void test_first(void **state)
{
    (void)state;
    struct rig rig;
    struct tcp_address addresses[2];
    open_pair(&rig, addresses);
    connect_pair(&rig, addresses);
    check_pair(&rig, "127.0.0.1");
}

static void test_refused(void **state)
{
    (void)state;
    for (int num_closed = 1; num_closed <= 2; num_closed++) {
        struct rig rig;
        struct tcp_address addresses[2];
        open_pair(&rig, addresses);
        for (int i = 0; i < num_closed; i++)
            close_door(&rig, i);
        connect_pair(&rig, addresses);
        check_pair(&rig, num_closed == 1 ? "127.0.0.2" : "127.0.0.3");
    }
}

/* Somebody else behind the first door, who takes calls and says `words`, or nothing. */
static void try_stranger(const char *words)
{
    struct rig rig;
    struct tcp_address addresses[2];
    struct sockaddr_in endpoint = {.sin_family = AF_INET};
    socklen_t length = sizeof endpoint;
    int before = count_descriptors(), taken = -1;
    int other = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    endpoint.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(other, (struct sockaddr *)&endpoint, length), 0);
    assert_int_equal(listen(other, 8), 0);
    assert_int_equal(getsockname(other, (struct sockaddr *)&endpoint, &length), 0);
    open_pair(&rig, addresses);
    addresses[1].doors[0].port = ntohs(endpoint.sin_port);
    connect_pair(&rig, addresses);
    int64_t deadline = weft_deadline_after(5000000000);
    while (taken < 0 && weft_clock_ns() < deadline) {
        rig_poll(&rig);
        taken = accept4(other, NULL, NULL, SOCK_CLOEXEC);
    }
    assert_true(taken >= 0);
    assert_int_equal(send(taken, words, strlen(words), MSG_NOSIGNAL), (ssize_t)strlen(words));
    check_pair(&rig, "127.0.0.2");
    close(taken);
    close(other);
    assert_int_equal(count_descriptors(), before);
}

static void test_strangers(void **state)
{
    (void)state;
    try_stranger("");
    try_stranger("220 mail.example.org ESMTP: what can we do for you today?");
}

static void test_lists(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "nonsense",
        "127.0.0.2,,127.0.0.3",
        "0.0.0.0",
        "127.0.0.2, 127.0.0.3",
        "127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5",
        "127.0.0.2.................................................................",
    };
    int before = count_descriptors();
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct weft_device *device = NULL;
        struct weft_error error = {0};
        assert_int_equal(open_device(0, refused[i], &device, &error), WEFT_UNSUPPORTED);
        assert_non_null(strstr(error.text, "tcp"));
        assert_null(device);
    }
    assert_int_equal(count_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
