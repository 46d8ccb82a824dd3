/*
 * SPDX-License-Identifier: Apache-2.0
 * How two processes come to trust a socket. Each device listens; the process with the lower id
 * calls the other one. The one that accepts sends a nonce, the one that calls answers with a MAC
 * under the accept key (which it was given with the address), and gets a MAC back, so both know
 * whom they talk to. What follows is neither encrypted nor authenticated.
 *
 *   accepts: challenge{nonce}                            welcome{mac(2, ...)}
 *   calls:                     hello{ids, tag, nonce, mac(1, ...)}
 *
 * Strangers get two seconds and one of a bounded number of sockets.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <sodium.h>

#include "base/clock.h"
#include "transport/tcp_parts.h"
#include "transport/tcp_stripes.h"

_Static_assert(crypto_auth_KEYBYTES == TCP_KEY_BYTES && crypto_auth_BYTES == TCP_MAC_BYTES,
               "sizes of crypto_auth");

static const uint64_t wire_magic = 0x3370637474666577u; // with version and byte order
static const int64_t stranger_ns = 2000000000;
static const int64_t retry_ns = 50000000;
static const int64_t door_ns = 1000000000; // for one of several

enum role { ROLE_CALLS = 1, ROLE_ACCEPTS = 2 };

static void make_mac(unsigned char *mac, enum role role, const struct tcp_challenge *challenge,
                     const struct tcp_hello *hello, const unsigned char *key)
{
    struct {
        uint64_t role;
        uint64_t tag;
        uint64_t stripe;
        unsigned char challenge[TCP_NONCE_BYTES];
        unsigned char answer[TCP_NONCE_BYTES];
        unsigned char from[WEFT_PROCESS_ID_BYTES];
        unsigned char to[WEFT_PROCESS_ID_BYTES];
    } signed_text = {.role = role, .tag = hello->tag, .stripe = hello->stripe};
    memcpy(signed_text.challenge, challenge->nonce, TCP_NONCE_BYTES);
    memcpy(signed_text.answer, hello->nonce, TCP_NONCE_BYTES);
    memcpy(signed_text.from, hello->from, WEFT_PROCESS_ID_BYTES);
    memcpy(signed_text.to, hello->to, WEFT_PROCESS_ID_BYTES);
    crypto_auth(mac, (const unsigned char *)&signed_text, sizeof signed_text, key);
}

static bool is_mac(const unsigned char *mac, enum role role, const struct tcp_challenge *challenge,
                   const struct tcp_hello *hello, const unsigned char *key)
{
    unsigned char expected[TCP_MAC_BYTES];
    make_mac(expected, role, challenge, hello, key);
    return sodium_memcmp(mac, expected, sizeof expected) == 0;
}

weft_status weft_tcp_fill(int socket, void *message, size_t bytes, size_t *filled)
{
    while (*filled < bytes) {
        ssize_t got =
            recv(socket, (unsigned char *)message + *filled, bytes - *filled, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return WEFT_AGAIN;
        if (got <= 0)
            return WEFT_REMOTE;
        *filled += (size_t)got;
    }
    return WEFT_OK;
}

bool weft_tcp_say(int socket, const void *message, size_t bytes)
{
    return send(socket, message, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)bytes;
}

static bool is_between(const struct tcp_device *device, const struct tcp_link *link,
                       const struct tcp_hello *hello)
{
    return memcmp(hello->from, link->peer.process_id, sizeof hello->from) == 0 &&
           memcmp(hello->to, device->self.process_id, sizeof hello->to) == 0 &&
           hello->tag == link->tag;
}

void weft_tcp_prepare(int socket)
{
    int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

socklen_t weft_tcp_endpoint(struct sockaddr_storage *endpoint, const struct tcp_door *door)
{
    memset(endpoint, 0, sizeof *endpoint);
    if (door->family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)endpoint;
        in->sin_family = AF_INET;
        in->sin_port = htons(door->port);
        memcpy(&in->sin_addr, door->ip, sizeof in->sin_addr);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)endpoint;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(door->port);
    memcpy(&in6->sin6_addr, door->ip, sizeof in6->sin6_addr);
    return sizeof *in6;
}

/* ---- the calling end ---- */

static bool has_doors(const struct tcp_link *link)
{
    return link->peer.doors[1].family != 0;
}

/* The next door is tried at once; the first one again after a while. */
static void hang_up(struct tcp_device *device, struct tcp_link *link)
{
    weft_tcp_unwatch(device, link->socket);
    close(link->socket);
    link->socket = -1;
    link->state = TCP_CALLING;
    link->door++;
    if (link->door == TCP_DOORS_LIMIT || !link->peer.doors[link->door].family)
        link->door = 0;
    link->retry_ns = link->door ? 0 : weft_deadline_after(retry_ns);
}

bool weft_tcp_hello_make(const struct tcp_link *link, const struct tcp_challenge *challenge,
                         uint64_t stripe, struct tcp_hello *hello)
{
    const struct tcp_device *device = (struct tcp_device *)link->packets.device;
    if (challenge->magic != wire_magic)
        return false;
    hello->magic = wire_magic;
    hello->tag = link->tag;
    hello->stripe = stripe;
    memcpy(hello->from, device->self.process_id, sizeof hello->from);
    memcpy(hello->to, link->peer.process_id, sizeof hello->to);
    randombytes_buf(hello->nonce, sizeof hello->nonce);
    make_mac(hello->mac, ROLE_CALLS, challenge, hello, link->peer.key);
    return true;
}

bool weft_tcp_welcome_is_good(const struct tcp_link *link, const struct tcp_challenge *challenge,
                              const struct tcp_hello *hello, const struct tcp_welcome *welcome)
{
    return welcome->magic == wire_magic &&
           is_mac(welcome->mac, ROLE_ACCEPTS, challenge, hello, link->peer.key);
}

static void take_challenge(struct tcp_device *device, struct tcp_link *link)
{
    bool is_weft = weft_tcp_hello_make(link, &link->challenge, 0, &link->hello);
    if (!is_weft && has_doors(link)) {
        hang_up(device, link);
        return;
    }
    if (!is_weft) {
        weft_tcp_link_fail(link, "what listens there is not this version of weft");
        return;
    }
    link->filled = 0;
    link->state = TCP_ASKING;
    if (!weft_tcp_say(link->socket, &link->hello, sizeof link->hello))
        hang_up(device, link);
}

static void take_welcome(struct tcp_device *device, struct tcp_link *link)
{
    if (!weft_tcp_welcome_is_good(link, &link->challenge, &link->hello, &link->welcome))
        weft_tcp_link_fail(link, "what listens there is not the peer");
    else
        weft_tcp_link_up(device, link);
}

static void calling_ready(struct tcp_device *device, struct tcp_source *source, uint32_t events)
{
    (void)events;
    struct tcp_link *link = (struct tcp_link *)((char *)source - offsetof(struct tcp_link, source));
    if (link->state == TCP_CONNECTING) {
        int failure = 0;
        socklen_t length = sizeof failure;
        if (getsockopt(link->socket, SOL_SOCKET, SO_ERROR, &failure, &length) != 0 || failure) {
            hang_up(device, link);
            return;
        }
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
        epoll_ctl(device->epoll, EPOLL_CTL_MOD, link->socket, &event);
        link->state = TCP_CHALLENGED;
        link->filled = 0;
        return;
    }
    bool asking = link->state == TCP_ASKING;
    weft_status status =
        asking
            ? weft_tcp_fill(link->socket, &link->welcome, sizeof link->welcome, &link->filled)
            : weft_tcp_fill(link->socket, &link->challenge, sizeof link->challenge, &link->filled);
    if (status == WEFT_AGAIN)
        return;
    if (status == WEFT_OK && asking)
        take_welcome(device, link);
    else if (status == WEFT_OK)
        take_challenge(device, link);
    else if (asking)
        weft_tcp_link_fail(link, "peer has closed before it connected");
    else
        hang_up(device, link);
}

static void call(struct tcp_device *device, struct tcp_link *link)
{
    struct sockaddr_storage endpoint;
    socklen_t length = weft_tcp_endpoint(&endpoint, &link->peer.doors[link->door]);
    link->socket = socket(endpoint.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->socket < 0) {
        link->retry_ns = weft_deadline_after(retry_ns);
        return;
    }
    weft_tcp_prepare(link->socket);
    link->source.ready = calling_ready;
    link->state = TCP_CONNECTING;
    link->door_ns = weft_deadline_after(door_ns);
    int result = connect(link->socket, (struct sockaddr *)&endpoint, length);
    if ((result != 0 && errno != EINPROGRESS) ||
        !weft_tcp_watch(device, link->socket, &link->source, EPOLLOUT))
        hang_up(device, link);
}

static void check_deadline(struct tcp_device *device, struct tcp_link *link, int64_t now)
{
    if (link->state > TCP_CHALLENGED)
        return;
    if (now > link->deadline_ns)
        weft_tcp_link_fail(link, "peer could not be reached within 10 s");
    else if ((link->state == TCP_CONNECTING || link->state == TCP_CHALLENGED) &&
             now > link->door_ns && has_doors(link))
        hang_up(device, link);
    else if (link->state == TCP_CALLING && now >= link->retry_ns)
        call(device, link);
}

/* ---- the accepting end ---- */

static void send_away(struct tcp_device *device, struct tcp_guest *guest, bool keep_socket)
{
    if (guest->socket < 0)
        return;
    if (guest->introduced)
        device->num_introduced--;
    else
        device->num_strangers--;
    if (!keep_socket) {
        weft_tcp_unwatch(device, guest->socket);
        close(guest->socket);
    }
    guest->socket = -1; // freed later: an event for it may be in hand
}

static void free_guests(struct tcp_device *device, int64_t now, bool all)
{
    struct tcp_guest **place = &device->guests;
    while (*place) {
        struct tcp_guest *guest = *place;
        if (all || (!guest->introduced && now > guest->deadline_ns))
            send_away(device, guest, false);
        if (guest->socket < 0) {
            *place = guest->next;
            free(guest);
        } else {
            place = &guest->next;
        }
    }
}

void weft_tcp_guests_drop(struct tcp_device *device)
{
    free_guests(device, 0, true);
}

static void guest_ready(struct tcp_device *device, struct tcp_source *source, uint32_t events)
{
    (void)events;
    struct tcp_guest *guest =
        (struct tcp_guest *)((char *)source - offsetof(struct tcp_guest, source));
    if (guest->socket < 0)
        return;
    if (guest->introduced) { // it has no more to say: this is its end, found when it is adopted
        weft_tcp_unwatch(device, guest->socket);
        return;
    }
    const struct tcp_hello *hello = &guest->hello;
    weft_status status =
        weft_tcp_fill(guest->socket, &guest->hello, sizeof guest->hello, &guest->filled);
    if (status == WEFT_AGAIN)
        return;
    if (status != WEFT_OK || hello->magic != wire_magic ||
        memcmp(hello->to, device->self.process_id, sizeof hello->to) != 0 ||
        !is_mac(hello->mac, ROLE_CALLS, &guest->challenge, hello, device->self.key) ||
        device->num_introduced == TCP_GUESTS_LIMIT) {
        send_away(device, guest, false);
        return;
    }
    guest->introduced = true;
    device->num_strangers--;
    device->num_introduced++;
}

static void drop_oldest_stranger(struct tcp_device *device)
{
    struct tcp_guest *oldest = NULL;
    for (struct tcp_guest *guest = device->guests; guest; guest = guest->next)
        if (guest->socket >= 0 && !guest->introduced &&
            (!oldest || guest->deadline_ns < oldest->deadline_ns))
            oldest = guest;
    if (oldest)
        send_away(device, oldest, false);
}

static void listener_ready(struct tcp_device *device, struct tcp_source *source, uint32_t events)
{
    (void)events;
    const struct tcp_listener *listener =
        (struct tcp_listener *)((char *)source - offsetof(struct tcp_listener, source));
    int accepted = accept4(listener->socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0)
        return;
    if (device->num_strangers == TCP_STRANGERS_LIMIT)
        drop_oldest_stranger(device);
    struct tcp_guest *guest = calloc(1, sizeof *guest);
    if (!guest) {
        close(accepted);
        return;
    }
    weft_tcp_prepare(accepted);
    guest->source.ready = guest_ready;
    guest->socket = accepted;
    guest->deadline_ns = weft_deadline_after(stranger_ns);
    guest->challenge.magic = wire_magic;
    randombytes_buf(guest->challenge.nonce, sizeof guest->challenge.nonce);
    guest->next = device->guests;
    device->guests = guest;
    device->num_strangers++;
    if (!weft_tcp_say(accepted, &guest->challenge, sizeof guest->challenge) ||
        !weft_tcp_watch(device, accepted, &guest->source, EPOLLIN))
        send_away(device, guest, false);
}

/* Welcomes the guest, and gives its socket. Whether it is still there. */
static bool welcome_guest(struct tcp_device *device, struct tcp_guest *guest, int *socket)
{
    struct tcp_welcome welcome = {.magic = wire_magic};
    make_mac(welcome.mac, ROLE_ACCEPTS, &guest->challenge, &guest->hello, device->self.key);
    weft_tcp_unwatch(device, guest->socket);
    *socket = guest->socket;
    send_away(device, guest, true);
    return weft_tcp_say(*socket, &welcome, sizeof welcome);
}

/* The guest becomes the connection. */
static void adopt(struct tcp_device *device, struct tcp_link *link, struct tcp_guest *guest)
{
    if (!welcome_guest(device, guest, &link->socket))
        weft_tcp_link_fail(link, "peer has closed before it was connected");
    else if (!weft_tcp_watch(device, link->socket, &link->source, EPOLLIN))
        weft_tcp_link_fail(link, "cannot watch the socket");
    else
        weft_tcp_link_up(device, link);
}

static void meet_guest(struct tcp_device *device, struct tcp_link *link)
{
    struct tcp_guest *oldest = NULL; // guests are kept youngest first
    for (struct tcp_guest *guest = device->guests; guest; guest = guest->next)
        if (guest->introduced && guest->socket >= 0 && !guest->hello.stripe &&
            is_between(device, link, &guest->hello))
            oldest = guest;
    if (oldest)
        adopt(device, link, oldest);
}

/* Guests that are stripes of connections that are up; those of others go. */
static void meet_stripes(struct tcp_device *device)
{
    for (struct tcp_guest *guest = device->guests; guest; guest = guest->next) {
        struct tcp_link *link = device->links;
        if (!guest->introduced || guest->socket < 0 || !guest->hello.stripe)
            continue;
        while (link && !(link->state == TCP_UP && is_between(device, link, &guest->hello)))
            link = link->next;
        uint64_t name = guest->hello.stripe;
        int socket;
        if (!link)
            send_away(device, guest, false);
        else if (welcome_guest(device, guest, &socket))
            weft_tcp_stripe_adopt(link, name, socket);
        else
            close(socket);
    }
}

bool weft_tcp_meet(struct tcp_device *device)
{
    if (!device->num_meeting && !device->guests)
        return false;
    int64_t now = weft_clock_ns();
    bool hurried = false;
    for (struct tcp_link *link = device->links; link && device->num_meeting; link = link->next) {
        check_deadline(device, link, now);
        if (link->state == TCP_WAITING && device->num_introduced)
            meet_guest(device, link);
        hurried |= link->state <= TCP_CHALLENGED;
    }
    if (device->num_introduced)
        meet_stripes(device);
    free_guests(device, now, false);
    return hurried || device->num_strangers;
}

/* ---- listening ---- */

static weft_status parse_address(struct tcp_door *door, const char *text, struct weft_error *error)
{
    static const unsigned char any[16];
    if (text && inet_pton(AF_INET, text, door->ip) == 1)
        door->family = AF_INET;
    else if (text && inet_pton(AF_INET6, text, door->ip) == 1)
        door->family = AF_INET6;
    else
        return weft_fail(error, WEFT_UNSUPPORTED, "tcp: '%s' is not a numeric IPv4 or IPv6 address",
                         text ? text : "");
    if (memcmp(door->ip, any, sizeof any) == 0)
        return weft_fail(error, WEFT_UNSUPPORTED,
                         "tcp: peers cannot connect to '%s': give the address of one interface",
                         text);
    return WEFT_OK;
}

static weft_status open_door(struct tcp_device *device, int number, const char *address,
                             struct weft_error *error)
{
    struct sockaddr_storage endpoint;
    struct tcp_door door = {.family = 0};
    struct tcp_listener *listener = &device->listeners[number];
    WEFT_TRY(parse_address(&door, address, error));
    socklen_t length = weft_tcp_endpoint(&endpoint, &door);
    listener->source.ready = listener_ready;
    listener->socket = socket(endpoint.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener->socket < 0 || bind(listener->socket, (struct sockaddr *)&endpoint, length) != 0 ||
        listen(listener->socket, SOMAXCONN) != 0 ||
        getsockname(listener->socket, (struct sockaddr *)&endpoint, &length) != 0 ||
        !weft_tcp_watch(device, listener->socket, &listener->source, EPOLLIN))
        return weft_fail(error, WEFT_SYSTEM, "tcp: cannot listen on %s: %s", address,
                         strerror(errno));
    door.port =
        ntohs(endpoint.ss_family == AF_INET ? ((struct sockaddr_in *)&endpoint)->sin_port
                                            : ((struct sockaddr_in6 *)&endpoint)->sin6_port);
    device->self.doors[number] = door;
    return WEFT_OK;
}

weft_status weft_tcp_listen(struct tcp_device *device, const char *listen_address,
                            const char *others, struct weft_error *error)
{
    randombytes_buf(device->self.key, sizeof device->self.key);
    randombytes_buf(&device->seed, sizeof device->seed);
    WEFT_TRY(open_door(device, 0, listen_address, error));
    const char *rest = others ? others : "";
    for (int number = 1; *rest; number++) {
        char address[INET6_ADDRSTRLEN];
        size_t length = strcspn(rest, ",");
        if (number == TCP_DOORS_LIMIT || length >= sizeof address)
            return weft_fail(error, WEFT_UNSUPPORTED,
                             "tcp: '%.64s' is not a list of at most %d addresses", others,
                             TCP_DOORS_LIMIT - 1);
        memcpy(address, rest, length);
        address[length] = '\0';
        WEFT_TRY(open_door(device, number, address, error));
        rest += length + (rest[length] == ',');
    }
    return WEFT_OK;
}
