/*
 * SPDX-License-Identifier: Apache-2.0
 * Who must not get in, and what an accepted peer must not be able to do: strangers on the TCP port
 * and on the abstract socket, forged and replayed hellos, memory that could be taken back, garbage
 * packets, scribbled rings. Each time the device lives on and honest peers still connect.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/transport/rig.h"
#include "transport/shm_parts.h"
#include "transport/tcp_parts.h"

static void ping(struct rig *rig, uint32_t index)
{
    for (uint32_t from = 0; from < 2; from++) {
        struct message send, recv;
        message_init_send(&send, 2 * index + from, 20000);
        message_init_recv(&recv, 2 * index + from, 20000);
        message_post_send(rig->ends[from][!from].connection, &send);
        message_post_recv(rig->ends[!from][from].connection, &recv);
        rig_wait(rig, &recv);
        rig_wait(rig, &send);
        message_check(&recv);
        message_free(&send);
        message_free(&recv);
    }
}

/* Polls the rig until the other end closes `socket`. */
static bool is_dropped(struct rig *rig, int socket, int64_t timeout_ns)
{
    int64_t deadline = weft_deadline_after(timeout_ns);
    char bytes[256];
    while (weft_clock_ns() < deadline) {
        rig_poll(rig);
        ssize_t got = recv(socket, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return true;
    }
    return false;
}

/* ---- TCP ---- */

static int call_tcp(const struct tcp_address *address)
{
    struct sockaddr_in endpoint = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)address->doors[0].port)};
    memcpy(&endpoint.sin_addr, address->doors[0].ip, sizeof endpoint.sin_addr);
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(made >= 0);
    assert_int_equal(connect(made, (struct sockaddr *)&endpoint, sizeof endpoint), 0);
    return made;
}

static void tcp_address_of(struct rig *rig, int number, struct tcp_address *address)
{
    unsigned char bytes[WEFT_ADDRESS_BYTES];
    rig->transport->address(rig->devices[number], bytes);
    memcpy(address, bytes, sizeof *address);
}

static void test_tcp_strangers(void **state)
{
    (void)state;
    struct rig rig;
    struct tcp_address address;
    int before = count_descriptors();
    rig_open(&rig, &weft_tcp_transport, 2, 1);
    tcp_address_of(&rig, 1, &address);
    int garbage = call_tcp(&address), silent = call_tcp(&address);
    int64_t began = weft_clock_ns();
    static char noise[4096];
    memset(noise, 0x5a, sizeof noise);
    assert_true(write(garbage, noise, sizeof noise) > 0);
    ping(&rig, 1); // in spite of them
    assert_true(is_dropped(&rig, garbage, 1000000000));
    assert_true(is_dropped(&rig, silent, 4000000000));
    assert_true(weft_clock_ns() - began > 1900000000);
    close(garbage);
    close(silent);
    int open_before = count_descriptors();
    enum { FLOOD = 150 };
    int flood[FLOOD];
    for (int i = 0; i < FLOOD; i++) {
        flood[i] = call_tcp(&address);
        rig_poll(&rig);
    }
    assert_true(count_descriptors() <= open_before + FLOOD + TCP_STRANGERS_LIMIT);
    ping(&rig, 2);
    for (int i = 0; i < FLOOD; i++)
        close(flood[i]);
    rig_close(&rig);
    assert_int_equal(count_descriptors(), before);
}

static void wait_challenge(struct rig *rig, int socket, struct tcp_challenge *challenge)
{
    size_t filled = 0;
    int64_t deadline = weft_deadline_after(5000000000);
    while (filled < sizeof *challenge) {
        rig_poll(rig);
        ssize_t got =
            recv(socket, (char *)challenge + filled, sizeof *challenge - filled, MSG_DONTWAIT);
        if (got > 0)
            filled += (size_t)got;
        assert_true(weft_clock_ns() < deadline);
    }
}

/* A hello that was valid on another socket, and one with the right form and no key. */
static void test_tcp_forged(void **state)
{
    (void)state;
    struct rig rig;
    struct tcp_address address;
    rig_open(&rig, &weft_tcp_transport, 2, 1);
    tcp_address_of(&rig, 1, &address);
    ping(&rig, 1);
    struct tcp_hello hello = ((struct tcp_link *)rig.ends[0][1].connection)->hello;
    assert_int_not_equal(hello.magic, 0); // device 0 is the one that calls
    for (int i = 0; i < 2; i++) {
        struct tcp_challenge challenge;
        int socket = call_tcp(&address);
        wait_challenge(&rig, socket, &challenge);
        if (i == 1)
            memset(hello.mac, 0, sizeof hello.mac);
        assert_int_equal(write(socket, &hello, sizeof hello), sizeof hello);
        assert_true(is_dropped(&rig, socket, 1000000000));
        close(socket);
    }
    ping(&rig, 2);
    rig_close(&rig);
}

/* Writes raw bytes where device 0 would write packets, in the state that ping leaves. */
static void test_tcp_garbage_packets(void **state)
{
    (void)state;
    uint64_t random = 99;
    for (int round = 0; round < 40; round++) {
        struct rig rig;
        unsigned char bytes[300];
        rig_open(&rig, &weft_tcp_transport, 2, 1);
        ping(&rig, 1);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (unsigned char)rig_random(&random);
        if (round % 2) { // a packet that is nearly right
            struct weft_packet packet = {.type = (uint8_t)(round / 2 % 8)};
            packet.payload_bytes = round % 4 == 1 ? 0 : 0xffffffff;
            packet.zero = 1;
            memcpy(bytes, &packet, sizeof packet);
        }
        struct message pending;
        message_init_recv(&pending, 77, 10);
        message_post_recv(rig.ends[1][0].connection, &pending);
        int socket = ((struct tcp_link *)rig.ends[0][1].connection)->socket;
        assert_int_equal(write(socket, bytes, sizeof bytes), sizeof bytes);
        int64_t deadline = weft_deadline_after(5000000000);
        // A random length may be waited for; then the end of the socket decides.
        for (int i = 0; i < 300 && !pending.num_completed; i++)
            rig_poll(&rig);
        if (!pending.num_completed)
            rig.transport->disconnect(&rig.ends[0][1].connection);
        while (!pending.num_completed && weft_clock_ns() < deadline)
            rig_poll(&rig);
        assert_int_equal(pending.transfer.status, WEFT_REMOTE);
        rig_settle(&rig);
        assert_int_equal(rig.ends[1][0].num_failed, 1);
        assert_non_null(strstr(rig.ends[1][0].reason, "tcp"));
        message_free(&pending);
        rig_close(&rig);
    }
}

/* A peer that never listens is given up; shortened by moving the deadline. */
static void test_tcp_refused(void **state)
{
    (void)state;
    struct rig rig = {.transport = &weft_tcp_transport, .num_devices = 1};
    struct weft_device_options peer;
    struct weft_error error;
    unsigned char address[WEFT_ADDRESS_BYTES];
    rig.devices[0] = rig_open_device(rig.transport, &rig, 0);
    struct weft_device *other = rig_open_device(rig.transport, &rig, 1);
    rig.transport->address(other, address);
    rig.transport->close(&other); // the port is free again
    rig_fill_options(&peer, 1);
    assert_int_equal(rig.transport->connect(rig.devices[0], address, peer.process_id, 7,
                                            &rig.ends[0][1], &rig.ends[0][1].connection, &error),
                     WEFT_OK);
    for (int i = 0; i < 2000; i++)
        rig_poll(&rig);
    assert_int_equal(rig.ends[0][1].num_failed, 0); // it may come yet
    struct tcp_link *link = (struct tcp_link *)rig.ends[0][1].connection;
    assert_true(link->deadline_ns > weft_clock_ns() + 8000000000);
    link->deadline_ns = weft_clock_ns() + 200000000;
    struct pollfd waited = {.fd = rig.transport->descriptor(rig.devices[0]), .events = POLLIN};
    int64_t deadline = weft_deadline_after(5000000000);
    while (!rig.ends[0][1].num_failed && weft_clock_ns() < deadline) {
        assert_int_equal(poll(&waited, 1, 1000), 1); // deadlines wake a sleeper
        rig_poll(&rig);
    }
    assert_int_equal(rig.ends[0][1].num_failed, 1);
    assert_non_null(strstr(rig.ends[0][1].reason, "10 s"));
    rig_close(&rig);
}

static void test_tcp_addresses(void **state)
{
    (void)state;
    const char *const bad[] = {"localhost", "", "0.0.0.0", "::", "300.1.1.1", NULL};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct weft_device_options options;
        struct weft_device *device = NULL;
        struct weft_error error = {0};
        rig_fill_options(&options, 1);
        options.listen_address = bad[i];
        assert_int_equal(weft_tcp_transport.open(&options, &device, &error), WEFT_UNSUPPORTED);
        assert_null(device);
        assert_true(error.text[0] != '\0');
    }
    struct weft_device_options options;
    struct weft_device *device = NULL;
    struct weft_error error = {0};
    rig_fill_options(&options, 1);
    options.listen_address = "203.0.113.7"; // not ours
    assert_int_equal(weft_tcp_transport.open(&options, &device, &error), WEFT_SYSTEM);
    assert_non_null(strstr(error.text, "203.0.113.7"));
}

/* ---- shared memory ---- */

static int call_shm(const struct shm_address *address)
{
    struct sockaddr_un endpoint = {.sun_family = AF_UNIX};
    int length = snprintf(endpoint.sun_path + 1, sizeof endpoint.sun_path - 1, "weft-");
    for (int i = 0; i < SHM_NAME_BYTES; i++)
        length += snprintf(endpoint.sun_path + 1 + length, 3, "%02x", address->name[i]);
    int made = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(made >= 0);
    assert_int_equal(
        connect(made, (struct sockaddr *)&endpoint,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)),
        0);
    return made;
}

static void shm_address_of(struct rig *rig, int number, struct shm_address *address)
{
    unsigned char bytes[WEFT_ADDRESS_BYTES];
    rig->transport->address(rig->devices[number], bytes);
    memcpy(address, bytes, sizeof *address);
}

static void send_with(int socket, const void *body, size_t bytes, const int *descriptors, int num)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    struct iovec piece = {.iov_base = (void *)(uintptr_t)body, .iov_len = bytes};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (num) {
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE((size_t)num * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN((size_t)num * sizeof(int));
        memcpy(CMSG_DATA(header), descriptors, (size_t)num * sizeof(int));
    }
    assert_int_equal(sendmsg(socket, &message, MSG_NOSIGNAL), bytes);
}

static void test_shm_strangers(void **state)
{
    (void)state;
    struct rig rig;
    struct shm_address address;
    int before = count_descriptors();
    rig_open(&rig, &weft_shm_transport, 2, 1);
    shm_address_of(&rig, 1, &address);
    int garbage = call_shm(&address), many = call_shm(&address), silent = call_shm(&address);
    int zeros[4];
    for (int i = 0; i < 4; i++)
        zeros[i] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    struct shm_hello hello = {.magic = 1};
    send_with(garbage, "go away", 7, zeros, 1);
    send_with(many, &hello, sizeof hello, zeros, 4); // more descriptors than anybody expects
    ping(&rig, 1);
    assert_true(is_dropped(&rig, garbage, 1000000000));
    assert_true(is_dropped(&rig, many, 1000000000));
    assert_true(is_dropped(&rig, silent, 4000000000));
    ping(&rig, 2);
    close(garbage);
    close(many);
    close(silent);
    for (int i = 0; i < 4; i++)
        close(zeros[i]);
    rig_close(&rig);
    assert_int_equal(count_descriptors(), before);
}

/* What a process that knows the address may still try: `trick` spoils one thing. */
static void try_hello(int trick)
{
    struct rig rig = {.transport = &weft_shm_transport, .num_devices = 1};
    struct weft_device_options peer;
    struct weft_error error;
    struct shm_address address;
    int before = count_descriptors();
    rig.devices[0] = rig_open_device(rig.transport, &rig, 1); // the one that is called
    shm_address_of(&rig, 0, &address);
    struct shm_address forged = address; // as if process 0 had published it
    rig_fill_options(&peer, 0);
    memcpy(forged.process_id, peer.process_id, sizeof forged.process_id);
    unsigned char bytes[WEFT_ADDRESS_BYTES] = {0};
    memcpy(bytes, &forged, sizeof forged);
    assert_int_equal(rig.transport->connect(rig.devices[0], bytes, peer.process_id, 7,
                                            &rig.ends[0][1], &rig.ends[0][1].connection, &error),
                     WEFT_OK);
    struct shm_hello hello = {.layout = WEFT_SHM_LAYOUT, .tag = 7};
    memcpy(&hello.magic, "wgfthello", sizeof hello.magic);
    int mine = call_shm(&address);
    // An honest hello, learned from an honest device that calls.
    struct rig_end end = {.rig = &rig};
    struct weft_device *honest = rig_open_device(rig.transport, &rig, 0);
    struct weft_connection *caller = NULL;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int trap = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct shm_address trapped = address;
    memset(trapped.name, 0xab, sizeof trapped.name);
    trapped.name[0] = (unsigned char)getpid();
    int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "weft-");
    for (int i = 0; i < SHM_NAME_BYTES; i++)
        length += snprintf(name.sun_path + 1 + length, 3, "%02x", trapped.name[i]);
    assert_int_equal(bind(trap, (struct sockaddr *)&name,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)),
                     0);
    assert_int_equal(listen(trap, 1), 0);
    memcpy(bytes, &trapped, sizeof trapped);
    assert_int_equal(
        rig.transport->connect(honest, bytes, trapped.process_id, 7, &end, &caller, &error),
        WEFT_OK);
    rig.transport->progress(honest);
    int caught = accept(trap, NULL, NULL);
    assert_int_equal(recv(caught, &hello, sizeof hello, MSG_DONTWAIT), sizeof hello);

    int memory = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t size = trick == 1 ? 4096 : sizeof(struct weft_shm_ring);
    assert_int_equal(ftruncate(memory, (off_t)size), 0);
    if (trick != 2)
        assert_int_equal(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    int files[2] = {trick == 3 ? open("/proc/self/exe", O_RDONLY | O_CLOEXEC) : dup(memory),
                    memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (trick != 7) // a pool that the peer could cut off
        assert_int_equal(fcntl(files[1], F_ADD_SEALS, F_SEAL_SHRINK), 0);
    if (trick == 4)
        hello.key[3] ^= 1;
    if (trick == 6)
        hello.tag++;
    send_with(mine, &hello, sizeof hello, files, trick == 5 ? 1 : 2);
    for (int i = 0; i < 2000; i++)
        rig_poll(&rig);
    struct shm_link *link = (struct shm_link *)rig.ends[0][1].connection;
    bool refused_early = trick >= 4 && trick <= 6; // the connection still waits for the real one
    assert_int_equal(link->state, trick == 0 ? SHM_UP : refused_early ? SHM_WAITING : SHM_DEAD);
    assert_int_equal(rig.ends[0][1].num_failed, trick != 0 && !refused_early);
    const int descriptors[] = {mine, memory, files[0], files[1], trap, caught};
    for (int i = 0; i < 6; i++)
        close(descriptors[i]);
    rig.transport->disconnect(&caller);
    rig.transport->close(&honest);
    rig_close(&rig);
    if (count_descriptors() != before)
        fail_msg("trick %d: %d descriptors, %d before", trick, count_descriptors(), before);
}

static void test_shm_tricks(void **state)
{
    (void)state;
    for (int trick = 0; trick <= 7; trick++)
        try_hello(trick);
}

/* An accepted peer scribbles over everything that is shared. */
static void test_shm_scribbled(void **state)
{
    (void)state;
    uint64_t random = 5;
    for (int round = 0; round < 60; round++) {
        struct rig rig;
        rig_open(&rig, &weft_shm_transport, 2, 1);
        ping(&rig, 1);
        struct shm_link *link = (struct shm_link *)rig.ends[0][1].connection;
        struct weft_shm_ring *ring = link->writer.ring; // that device 1 reads
        struct message recv, sends[100];
        message_init_recv(&recv, 70, 100000);
        message_post_recv(rig.ends[1][0].connection, &recv);
        for (unsigned i = 0; i < WEFT_SHM_ENTRIES; i++) {
            struct weft_shm_entry *entry = &ring->entries[i];
            for (int k = 0; k < 7; k++)
                entry->header[k] = rig_random(&random) >> rig_random(&random) % 64;
            if (round % 2) // gets past the first look
                entry->header[0] = 1 + rig_random(&random) % 7;
            uint64_t number = link->writer.sent - link->writer.sent % WEFT_SHM_ENTRIES + i + 1;
            atomic_store(&entry->sequence,
                         number +
                             (i < link->writer.sent % WEFT_SHM_ENTRIES ? WEFT_SHM_ENTRIES : 0));
        }
        atomic_store(&((struct shm_link *)rig.ends[0][1].connection)->reader.ring->consumed,
                     rig_random(&random) >> 1); // that device 1 writes against
        for (uint32_t i = 0; i < 100; i++) {
            message_init_send(&sends[i], 200 + i, 10);
            message_post_send(rig.ends[1][0].connection, &sends[i]);
        }
        for (int i = 0; i < 100; i++)
            rig.transport->progress(rig.devices[1]);
        assert_int_equal(rig.ends[1][0].num_failed, 1);
        assert_non_null(strstr(rig.ends[1][0].reason, "protocol"));
        assert_int_equal(recv.num_completed, 1);
        assert_int_equal(recv.transfer.status, WEFT_REMOTE);
        rig_close(&rig);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(sends[i].num_completed, 1);
            message_free(&sends[i]);
        }
        message_free(&recv);
    }
}

/* ---- addresses that cannot be meant ---- */

static void test_unreachable(void **state)
{
    (void)state;
    for (int t = 0; weft_transports[t]; t++) {
        struct rig rig = {.transport = weft_transports[t], .num_devices = 1};
        if (!rig_has(rig.transport, NULL))
            continue;
        rig.devices[0] = rig_open_device(rig.transport, &rig, 0);
        unsigned char address[WEFT_ADDRESS_BYTES];
        const char *reason = NULL;
        struct weft_connection *connection = NULL;
        struct weft_error error;
        uint64_t random = 4;
        rig.transport->address(rig.devices[0], address);
        for (int i = 0; i < 200; i++) {
            unsigned char bytes[WEFT_ADDRESS_BYTES];
            memcpy(bytes, address, sizeof bytes);
            for (size_t k = (size_t)i % 8; k < (i < 100 ? 8 : sizeof bytes); k++)
                bytes[k] = (unsigned char)rig_random(&random);
            if (memcmp(bytes, address, 8) == 0)
                continue;
            reason = NULL;
            assert_false(rig.transport->reachable(rig.devices[0], bytes, &reason));
            assert_non_null(reason);
            assert_int_equal(
                rig.transport->connect(rig.devices[0], bytes, bytes, 1, NULL, &connection, &error),
                WEFT_UNSUPPORTED);
            assert_null(connection);
        }
        struct weft_device_options self;
        rig_fill_options(&self, 0);
        assert_int_equal(rig.transport->connect(rig.devices[0], address, self.process_id, 1, NULL,
                                                &connection, &error),
                         WEFT_UNSUPPORTED); // itself
        rig_close(&rig);
        rig.transport->close(&rig.devices[0]); // NULL is allowed
        rig.transport->disconnect(&connection);
    }
}

/* Elsewhere: another machine, another network namespace, another user. Both ends decide alike. */
static void test_elsewhere(void **state)
{
    (void)state;
    struct rig rig = {.transport = &weft_shm_transport, .num_devices = 1};
    rig.devices[0] = rig_open_device(rig.transport, &rig, 0);
    const size_t places[] = {offsetof(struct shm_address, machine.boot_id),
                             offsetof(struct shm_address, machine.network_inode),
                             offsetof(struct shm_address, uid)};
    const char *const reasons[] = {"machine", "network namespace", "user"};
    for (int i = 0; i < 3; i++) {
        unsigned char address[WEFT_ADDRESS_BYTES];
        const char *reason = NULL;
        rig.transport->address(rig.devices[0], address);
        assert_true(rig.transport->reachable(rig.devices[0], address, &reason));
        address[places[i]] ^= 1;
        assert_false(rig.transport->reachable(rig.devices[0], address, &reason));
        assert_non_null(strstr(reason, reasons[i]));
    }
    rig_close(&rig);
}

/* A congestion control that the kernel does not have is refused with its name; every kernel has
 * reno, for everybody. */
static void test_tcp_congestion(void **state)
{
    (void)state;
    struct weft_device_options options = {.listen_address = "127.0.0.1", .congestion = "nonsense"};
    struct weft_device *device = NULL;
    struct weft_error error = {0};
    assert_int_equal(weft_tcp_transport.open(&options, &device, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.text, "nonsense"));
    options.congestion = "longer than any name can be";
    assert_int_equal(weft_tcp_transport.open(&options, &device, &error), WEFT_UNSUPPORTED);
    options.congestion = "reno";
    assert_int_equal(weft_tcp_transport.open(&options, &device, &error), WEFT_OK);
    char name[TCP_CONGESTION_BYTES] = "";
    socklen_t length = sizeof name;
    assert_int_equal(getsockopt(((struct tcp_device *)device)->listeners[0].socket, IPPROTO_TCP,
                                TCP_CONGESTION, name, &length),
                     0);
    assert_string_equal(name, "reno");
    weft_tcp_transport.close(&device);
    assert_string_equal(weft_tcp_congestion("dctcp", 0, true), "reno");
    assert_string_equal(weft_tcp_congestion("bbr", 80000, false), "reno");
    assert_null(weft_tcp_congestion("bbr", 5000000, false));
    assert_null(weft_tcp_congestion("bbr", 0, false)); // the kernel does not tell
    assert_null(weft_tcp_congestion("dctcp", 80000, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp_strangers),       cmocka_unit_test(test_tcp_forged),
        cmocka_unit_test(test_tcp_garbage_packets), cmocka_unit_test(test_tcp_refused),
        cmocka_unit_test(test_tcp_addresses),       cmocka_unit_test(test_shm_strangers),
        cmocka_unit_test(test_shm_tricks),          cmocka_unit_test(test_shm_scribbled),
        cmocka_unit_test(test_unreachable),         cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_tcp_congestion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
