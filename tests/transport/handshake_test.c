/*
 * SPDX-License-Identifier: Apache-2.0
 * The handshake and sealed frames over socket pairs: what is accepted, and every single altered
 * byte, reflected message, replayed message and wrong purpose refused.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport/handshake.h"
#include "transport/sealed.h"

static const unsigned char secret[32] = "a secret of thirty-two bytes!!!";

static void make_pair(int *ends)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
}

static void make(struct weft_handshake *handshake, enum weft_handshake_role role,
                 const char *purpose)
{
    assert_int_equal(weft_handshake_init(handshake, role, secret, purpose, NULL), WEFT_OK);
}

/* Client and server joined by hand: `message` of the three is altered by `flip` at `offset`. */
static void join(int message, size_t offset, unsigned char flip, const char *client_purpose,
                 weft_status *client_status, weft_status *server_status)
{
    struct weft_handshake client, server;
    int c[2], s[2];
    unsigned char bytes[200];
    make_pair(c);
    make_pair(s);
    make(&client, WEFT_HANDSHAKE_CLIENT, client_purpose);
    make(&server, WEFT_HANDSHAKE_SERVER, "test");
    *client_status = *server_status = WEFT_IN_PROGRESS;
    for (int i = 0; i < 3; i++) {
        bool from_client = i % 2 == 0;
        weft_status *status = from_client ? client_status : server_status;
        if (*status == WEFT_IN_PROGRESS)
            *status = weft_handshake_progress(from_client ? &client : &server,
                                              from_client ? c[0] : s[0], NULL);
        ssize_t got = read(from_client ? c[1] : s[1], bytes, sizeof bytes);
        if (got <= 0)
            break;
        if (i == message && offset < (size_t)got)
            bytes[offset] ^= flip;
        // In two pieces, so that partial messages are always among what is tested.
        int to = from_client ? s[1] : c[1];
        assert_int_equal(write(to, bytes, (size_t)got / 2), got / 2);
        status = from_client ? server_status : client_status;
        *status = weft_handshake_progress(from_client ? &server : &client,
                                          from_client ? s[0] : c[0], NULL);
        if (*status != WEFT_IN_PROGRESS)
            break;
        assert_int_equal(write(to, bytes + got / 2, (size_t)(got - got / 2)), got - got / 2);
    }
    if (*server_status == WEFT_IN_PROGRESS)
        *server_status = weft_handshake_progress(&server, s[0], NULL);
    if (*client_status == WEFT_OK && *server_status == WEFT_OK) {
        assert_memory_equal(client.send_key, server.receive_key, 32);
        assert_memory_equal(client.receive_key, server.send_key, 32);
        assert_memory_not_equal(client.send_key, client.receive_key, 32);
    }
    for (int i = 0; i < 2; i++) {
        close(c[i]);
        close(s[i]);
    }
    weft_handshake_clear(&client);
    weft_handshake_clear(&server);
}

static void test_agrees(void **state)
{
    (void)state;
    weft_status client, server;
    join(-1, 0, 0, "test", &client, &server);
    assert_int_equal(client, WEFT_OK);
    assert_int_equal(server, WEFT_OK);
    join(-1, 0, 0, "another purpose", &client, &server);
    assert_int_equal(client, WEFT_PERMISSION);
    assert_int_not_equal(server, WEFT_OK);
}

static void test_every_altered_byte(void **state)
{
    (void)state;
    static const size_t sizes[] = {40, 72, 32};
    for (int message = 0; message < 3; message++) {
        for (size_t offset = 0; offset < sizes[message]; offset++) {
            weft_status client, server;
            join(message, offset, 0x10, "test", &client, &server);
            assert_int_not_equal(server, WEFT_OK);
            if (message < 2)
                assert_int_not_equal(client, WEFT_OK);
        }
    }
}

/* What the server says, sent back to it or to another server, proves nothing. */
static void test_reflection_and_replay(void **state)
{
    (void)state;
    struct weft_handshake client, server, second;
    int c[2], s[2], t[2];
    unsigned char hello[40], challenge[72], proof[32];
    make_pair(c);
    make_pair(s);
    make_pair(t);
    make(&client, WEFT_HANDSHAKE_CLIENT, "test");
    make(&server, WEFT_HANDSHAKE_SERVER, "test");
    make(&second, WEFT_HANDSHAKE_SERVER, "test");
    assert_int_equal(weft_handshake_progress(&client, c[0], NULL), WEFT_IN_PROGRESS);
    assert_int_equal(read(c[1], hello, 40), 40);
    assert_int_equal(write(s[1], hello, 40), 40);
    assert_int_equal(weft_handshake_progress(&server, s[0], NULL), WEFT_IN_PROGRESS);
    assert_int_equal(read(s[1], challenge, 72), 72);
    assert_int_equal(write(c[1], challenge, 72), 72);
    assert_int_equal(weft_handshake_progress(&client, c[0], NULL), WEFT_OK);
    assert_int_equal(read(c[1], proof, 32), 32);
    // Reflection: the server's own proof as the client's.
    assert_int_equal(write(s[1], challenge + 40, 32), 32);
    assert_int_equal(weft_handshake_progress(&server, s[0], NULL), WEFT_PERMISSION);
    // Replay: the same client messages at another server.
    assert_int_equal(write(t[1], hello, 40), 40);
    assert_int_equal(write(t[1], proof, 32), 32);
    assert_int_equal(weft_handshake_progress(&second, t[0], NULL), WEFT_PERMISSION);
    for (int i = 0; i < 2; i++) {
        close(c[i]);
        close(s[i]);
        close(t[i]);
    }
}

static void ignore(struct weft_watch *watch)
{
    (void)watch;
}

/* Two sealed ends whose bytes pass through the test. */
struct wire {
    struct weft_watch watch;
    int epoll;
    int client_end;
    int server_end;
    struct weft_sealed *client;
    struct weft_sealed *server;
};

static size_t carry(int from, int to, unsigned char *bytes, size_t limit)
{
    ssize_t got = read(from, bytes, limit);
    if (got <= 0)
        return 0;
    if (to >= 0)
        assert_int_equal(write(to, bytes, (size_t)got), got);
    return (size_t)got;
}

static void open_wire(struct wire *wire)
{
    int c[2], s[2];
    unsigned char bytes[400];
    make_pair(c);
    make_pair(s);
    wire->watch.ready = ignore;
    wire->client_end = c[1];
    wire->server_end = s[1];
    assert_int_equal(weft_watch_open(&wire->epoll, NULL), WEFT_OK);
    struct weft_sealed_options options = {.role = WEFT_HANDSHAKE_CLIENT,
                                          .secret = secret,
                                          .purpose = "test",
                                          .epoll = wire->epoll,
                                          .watch = &wire->watch,
                                          .frame_limit = 1000};
    assert_int_equal(weft_sealed_open(c[0], false, &options, &wire->client, NULL), WEFT_OK);
    options.role = WEFT_HANDSHAKE_SERVER;
    assert_int_equal(weft_sealed_open(s[0], false, &options, &wire->server, NULL), WEFT_OK);
    for (int i = 0; i < 4; i++) {
        weft_status ignored = weft_sealed_progress(wire->client, NULL);
        carry(c[1], s[1], bytes, sizeof bytes);
        ignored = weft_sealed_progress(wire->server, NULL);
        carry(s[1], c[1], bytes, sizeof bytes);
        (void)ignored;
    }
    assert_true(weft_sealed_is_open(wire->client));
    assert_true(weft_sealed_is_open(wire->server));
}

static void close_wire(struct wire *wire)
{
    weft_sealed_close(&wire->client);
    weft_sealed_close(&wire->server);
    close(wire->client_end);
    close(wire->server_end);
    close(wire->epoll);
}

static void test_frames(void **state)
{
    (void)state;
    enum { WHOLE, ALTERED, SWAPPED, REPEATED, TOO_LONG, REFLECTED, NUM_WAYS };
    for (int way = 0; way < NUM_WAYS; way++) {
        for (size_t offset = 0; offset < (way == ALTERED ? 25u : 1u); offset++) {
            struct wire wire;
            unsigned char one[64], two[64], big[1100] = {0};
            const unsigned char *data;
            size_t bytes = 0;
            open_wire(&wire);
            assert_int_equal(weft_sealed_send(wire.client, "first", 5, NULL), WEFT_OK);
            size_t one_bytes = carry(wire.client_end, -1, one, sizeof one);
            assert_int_equal(one_bytes, 25);
            assert_null(memmem(one, one_bytes, "first", 5));
            if (way == ALTERED)
                one[offset] ^= 1;
            if (way == SWAPPED) {
                assert_int_equal(weft_sealed_send(wire.client, "second", 6, NULL), WEFT_OK);
                size_t two_bytes = carry(wire.client_end, -1, two, sizeof two);
                assert_int_equal(write(wire.server_end, two, two_bytes), two_bytes);
            }
            struct weft_sealed *receiver = wire.server;
            int end = wire.server_end;
            if (way == TOO_LONG) {
                assert_int_equal(weft_sealed_send(wire.client, big, 1001, NULL), WEFT_OK);
                assert_int_equal(write(end, one, 25), 25);
                carry(wire.client_end, end, big, sizeof big);
            } else if (way == REFLECTED) {
                receiver = wire.client;
                end = wire.client_end;
            }
            if (way != TOO_LONG)
                assert_int_equal(write(end, one, 25), 25);
            if (way == REPEATED)
                assert_int_equal(write(end, one, 25), 25);
            if (way == ALTERED && offset < 4) // a longer frame may just not be complete yet
                shutdown(end, SHUT_WR);
            weft_status status = weft_sealed_receive(receiver, &data, &bytes, NULL);
            if (way == WHOLE || way == REPEATED || way == TOO_LONG) {
                assert_int_equal(status, WEFT_OK);
                assert_int_equal(bytes, 5);
                assert_memory_equal(data, "first", 5);
                status = weft_sealed_receive(receiver, &data, &bytes, NULL);
                assert_int_equal(status, way == WHOLE ? WEFT_IN_PROGRESS : WEFT_INVALID_FORMAT);
            } else if (way == ALTERED && offset < 4) {
                assert_true(status == WEFT_INVALID_FORMAT || status == WEFT_REMOTE);
            } else {
                assert_int_equal(status, WEFT_INVALID_FORMAT);
            }
            close_wire(&wire);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees),
        cmocka_unit_test(test_every_altered_byte),
        cmocka_unit_test(test_reflection_and_replay),
        cmocka_unit_test(test_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
