/*
 * SPDX-License-Identifier: Apache-2.0
 * TCP: one socket per connection, packets as header and payload in a row. Payloads are written from
 * the caller's memory and, where there is no sink, read straight into it. A packet that the socket
 * takes only in part keeps its payload borrowed until epoll finds room.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <sodium.h>

#include "base/clock.h"
#include "transport/tcp_parts.h"
#include "transport/transport.h"

enum {
    EVENTS_LIMIT = 16,
    READS_PER_EVENT = 8,
    PACKETS_PER_VISIT = 16,
    READ_AHEAD_BYTES = 16 << 10, // behind a header or a landing payload
    HEADER_BYTES = sizeof(struct weft_packet),
    TICK_NS = 20000000,
    FLUSH_MS = 100, // close waits at most this long for bytes on their way
};

static const uint64_t address_magic = 0x7063747466657701u;
static const int64_t reach_ns = 10000000000;
static const int64_t linger_ns = 2000000000;

bool weft_tcp_watch(struct tcp_device *device, int descriptor, struct tcp_source *source,
                    uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    return epoll_ctl(device->epoll, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

void weft_tcp_unwatch(struct tcp_device *device, int descriptor)
{
    epoll_ctl(device->epoll, EPOLL_CTL_DEL, descriptor, NULL);
}

static struct tcp_device *device_of(struct tcp_link *link)
{
    return (struct tcp_device *)link->packets.device;
}

static void close_socket(struct tcp_link *link)
{
    if (link->socket < 0)
        return;
    weft_tcp_unwatch(device_of(link), link->socket);
    close(link->socket);
    link->socket = -1;
}

void weft_tcp_link_fail(struct tcp_link *link, const char *reason)
{
    if (link->state < TCP_UP)
        device_of(link)->num_meeting--;
    link->state = TCP_DEAD;
    link->sending = false;
    close_socket(link);
    weft_packet_fail(&link->packets, "%s", reason);
}

/* ---- sending ---- */

static void set_blocked(struct tcp_link *link, bool blocked)
{
    struct epoll_event event = {.events = blocked ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                .data.ptr = &link->source};
    if (link->blocked == blocked)
        return;
    link->blocked = blocked;
    epoll_ctl(device_of(link)->epoll, EPOLL_CTL_MOD, link->socket, &event);
}

/* Writes what the socket takes of link->out. True when all is written. */
static bool write_out(struct tcp_link *link)
{
    size_t total = HEADER_BYTES + link->out.payload_bytes;
    size_t header = link->out_done < HEADER_BYTES ? HEADER_BYTES - link->out_done : 0;
    size_t payload_done = header ? 0 : link->out_done - HEADER_BYTES;
    struct iovec pieces[2] = {
        {.iov_base = (unsigned char *)&link->out + HEADER_BYTES - header, .iov_len = header},
        {.iov_base = (unsigned char *)(uintptr_t)link->out_payload + payload_done,
         .iov_len = link->out.payload_bytes - payload_done},
    };
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = link->out.payload_bytes ? 2 : 1};
    ssize_t sent = sendmsg(link->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0)
        link->out_done += (size_t)sent;
    // Other errors are found by reading, after what the peer sent before is read.
    if (link->out_done < total)
        set_blocked(link, true);
    return link->out_done == total;
}

static enum weft_push push(struct weft_packet_link *packets, const struct weft_packet *packet,
                           const void *payload)
{
    struct tcp_link *link = (struct tcp_link *)packets;
    if (link->state != TCP_UP || link->blocked || link->sending)
        return WEFT_PUSH_BUSY;
    link->out = *packet;
    link->out_payload = payload;
    link->out_done = 0;
    if (write_out(link))
        return WEFT_PUSH_DONE;
    link->sending = link->out_done > 0;
    return link->sending ? WEFT_PUSH_BORROWED : WEFT_PUSH_BUSY;
}

static void unborrow(struct weft_packet_link *packets)
{
    struct tcp_link *link = (struct tcp_link *)packets;
    if (!link->out.payload_bytes)
        return;
    link->out_copy = malloc(link->out.payload_bytes);
    if (!link->out_copy) {
        weft_tcp_link_fail(link, "out of memory");
        return;
    }
    memcpy(link->out_copy, link->out_payload, link->out.payload_bytes);
    link->out_payload = link->out_copy;
}

static const struct weft_packet_port port = {.push = push, .unborrow = unborrow};

static void found_room(struct tcp_link *link)
{
    set_blocked(link, false);
    if (!link->sending || !write_out(link))
        return;
    link->sending = false;
    free(link->out_copy);
    link->out_copy = NULL;
    weft_packet_pushed(&link->packets);
}

/* ---- receiving ---- */

/* Puts bytes that have been read ahead where the landing packet belongs. */
static void land_buffered(struct tcp_link *link)
{
    size_t available = link->in_end - link->in_first;
    size_t bytes = available < link->landing_left ? available : link->landing_left;
    if (link->packets.landing) {
        memcpy(link->packets.landing, link->in + link->in_first, bytes);
        link->packets.landing += bytes;
    }
    link->in_first += bytes;
    link->landing_left -= bytes;
}

static void finish_landing(struct tcp_link *link)
{
    if (!link->landing || link->landing_left)
        return;
    link->landing = false;
    weft_packet_landed(&link->packets, &link->in_packet);
}

/* Takes one packet, or a part of a landing one, out of the buffer. False: more must be read. */
static bool parse_one(struct tcp_link *link)
{
    if (link->landing) {
        land_buffered(link);
        finish_landing(link);
        return !link->landing;
    }
    size_t available = link->in_end - link->in_first;
    if (available < HEADER_BYTES)
        return false;
    struct weft_packet *packet = &link->in_packet;
    memcpy(packet, link->in + link->in_first, HEADER_BYTES);
    if (packet->payload_bytes > WEFT_PACKET_PAYLOAD_LIMIT) {
        weft_tcp_link_fail(link, "peer broke the protocol: packet too long");
        return false;
    }
    if (available < HEADER_BYTES + packet->payload_bytes &&
        weft_packet_land(&link->packets, packet)) {
        link->landing = true;
        link->landing_left = packet->payload_bytes;
        link->in_first += HEADER_BYTES;
        return true;
    }
    if (available < HEADER_BYTES + packet->payload_bytes)
        return false;
    const unsigned char *payload = link->in + link->in_first + HEADER_BYTES;
    link->in_first += HEADER_BYTES + packet->payload_bytes;
    if (!weft_packet_deliver(&link->packets, packet, payload)) {
        weft_tcp_link_fail(link, "");
        return false;
    }
    return true;
}

/* Reads once: the rest of a landing payload to its place, what follows into the buffer. */
static ssize_t read_some(struct tcp_link *link)
{
    size_t kept = link->in_end - link->in_first;
    if (kept && link->in_first)
        memmove(link->in, link->in + link->in_first, kept);
    link->in_first = 0;
    link->in_end = kept;
    // While a packet is being collected read all there is room for, else a little ahead.
    size_t room = TCP_BUFFER_BYTES - kept;
    bool collecting = kept >= HEADER_BYTES;
    struct iovec pieces[2] = {
        {.iov_base = link->packets.landing, .iov_len = link->landing_left},
        {.iov_base = link->in + kept,
         .iov_len = collecting || room < READ_AHEAD_BYTES ? room : READ_AHEAD_BYTES},
    };
    bool direct = link->landing && link->packets.landing;
    struct msghdr message = {.msg_iov = direct ? pieces : pieces + 1, .msg_iovlen = direct ? 2 : 1};
    ssize_t got = recvmsg(link->socket, &message, MSG_DONTWAIT);
    if (got <= 0)
        return got;
    size_t bytes = (size_t)got;
    if (direct) {
        size_t landed = bytes < link->landing_left ? bytes : link->landing_left;
        link->packets.landing += landed;
        link->landing_left -= landed;
        bytes -= landed;
        finish_landing(link);
    }
    link->in_end += bytes;
    return got;
}

static int receive(struct tcp_link *link)
{
    int count = 0;
    for (int reads = 0; reads < READS_PER_EVENT && link->state == TCP_UP; reads++) {
        ssize_t got = read_some(link);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            break;
        if (got <= 0) {
            weft_tcp_link_fail(link, got == 0 ? "peer has closed or died" : strerror(errno));
            return count + 1;
        }
        count++;
        while (link->state == TCP_UP && parse_one(link))
            count++;
    }
    return count;
}

static void link_ready(struct tcp_device *device, struct tcp_source *source, uint32_t events)
{
    (void)device;
    struct tcp_link *link = (struct tcp_link *)((char *)source - offsetof(struct tcp_link, source));
    if (link->state == TCP_UP && events & EPOLLOUT)
        found_room(link);
    if (link->state == TCP_UP && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(link);
}

void weft_tcp_link_up(struct tcp_device *device, struct tcp_link *link)
{
    link->in = malloc(TCP_BUFFER_BYTES);
    if (!link->in) {
        weft_tcp_link_fail(link, "out of memory");
        return;
    }
    link->source.ready = link_ready;
    link->state = TCP_UP;
    device->num_meeting--;
}

/* ---- progress ---- */

static void timer_ready(struct tcp_device *device, struct tcp_source *source, uint32_t events)
{
    (void)source;
    (void)events;
    uint64_t ticks;
    (void)!read(device->timer, &ticks, sizeof ticks); // what is due is looked up anyway
}

static void set_ticking(struct tcp_device *device, bool ticking)
{
    const struct itimerspec tick = {{0, ticking ? TICK_NS : 0}, {0, ticking ? TICK_NS : 0}};
    if (device->ticking == ticking)
        return;
    device->ticking = ticking;
    timerfd_settime(device->timer, 0, &tick, NULL);
}

/* Whether the peer's kernel has every byte that was written. */
static bool is_flushed(int socket)
{
    int left = 0;
    return ioctl(socket, SIOCOUTQ, &left) != 0 || left == 0;
}

static void reap_lingering(struct tcp_device *device, int64_t now)
{
    struct tcp_lingering **place = &device->lingering;
    while (*place) {
        struct tcp_lingering *lingering = *place;
        if (now > lingering->deadline_ns || is_flushed(lingering->socket)) {
            *place = lingering->next;
            close(lingering->socket);
            free(lingering);
        } else {
            place = &lingering->next;
        }
    }
}

static int device_progress(struct weft_device *base)
{
    struct tcp_device *device = (struct tcp_device *)base;
    struct epoll_event events[EVENTS_LIMIT];
    weft_packet_enter(&device->packets);
    int num_events = epoll_wait(device->epoll, events, EVENTS_LIMIT, 0);
    for (int i = 0; i < num_events; i++) {
        struct tcp_source *source = events[i].data.ptr;
        source->ready(device, source, events[i].events);
    }
    int count = num_events > 0 ? num_events : 0;
    bool hurried = weft_tcp_meet(device);
    for (struct tcp_link *link = device->links; link; link = link->next) {
        if (weft_packet_has_pending(&link->packets))
            count += weft_packet_send_pending(&link->packets, PACKETS_PER_VISIT);
        if (link->packets.failed && link->state != TCP_DEAD) // failed above, or in a post
            weft_tcp_link_fail(link, "");
    }
    if (device->lingering)
        reap_lingering(device, weft_clock_ns());
    set_ticking(device, hurried || device->lingering);
    weft_packet_leave(&device->packets);
    return count;
}

static int device_descriptor(struct weft_device *base)
{
    return ((struct tcp_device *)base)->epoll;
}

static void device_arm(struct weft_device *base, bool sleeping)
{
    (void)base; // sockets wake whoever polls
    (void)sleeping;
}

/* ---- devices ---- */

static void device_close(struct weft_device **base)
{
    struct tcp_device *device = (struct tcp_device *)*base;
    *base = NULL;
    if (!device)
        return;
    for (int i = 0; i < FLUSH_MS && device->lingering; i++) {
        reap_lingering(device, weft_clock_ns());
        if (device->lingering)
            poll(NULL, 0, 1);
    }
    reap_lingering(device, INT64_MAX);
    weft_tcp_guests_drop(device);
    const int descriptors[] = {device->listener, device->timer, device->epoll};
    for (int i = 0; i < 3; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    sodium_memzero(&device->self, sizeof device->self);
    free(device);
}

static weft_status fill_device(struct tcp_device *device, const struct weft_device_options *options,
                               struct weft_error *error)
{
    if (sodium_init() < 0)
        return weft_fail(error, WEFT_SYSTEM, "tcp: libsodium does not start");
    device->self.magic = address_magic;
    memcpy(device->self.process_id, options->process_id, sizeof device->self.process_id);
    if (weft_machine_identify(&device->self.machine, error) != WEFT_OK)
        return weft_fail_prefix(error, "tcp");
    device->epoll = epoll_create1(EPOLL_CLOEXEC);
    device->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    device->timer_source.ready = timer_ready;
    if (device->epoll < 0 || device->timer < 0 ||
        !weft_tcp_watch(device, device->timer, &device->timer_source, EPOLLIN))
        return weft_fail(error, WEFT_SYSTEM, "tcp: cannot make descriptors: %s", strerror(errno));
    return weft_tcp_listen(device, options->listen_address, error);
}

static weft_status device_open(const struct weft_device_options *options, struct weft_device **base,
                               struct weft_error *error)
{
    struct tcp_device *device = calloc(1, sizeof *device);
    if (!device)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "tcp: no memory for a device");
    device->epoll = device->listener = device->timer = -1;
    weft_packet_device_init(&device->packets, &weft_tcp_transport, options);
    weft_status status = fill_device(device, options, error);
    struct weft_device *made = &device->packets.base;
    if (status != WEFT_OK) {
        device_close(&made);
        return status;
    }
    *base = made;
    return WEFT_OK;
}

static void device_address(struct weft_device *base, void *address)
{
    memset(address, 0, WEFT_ADDRESS_BYTES);
    memcpy(address, &((struct tcp_device *)base)->self, sizeof(struct tcp_address));
}

static bool is_loopback(const struct tcp_address *address)
{
    static const unsigned char loopback6[16] = {[15] = 1};
    return address->family == AF_INET ? address->ip[0] == 127
                                      : memcmp(address->ip, loopback6, sizeof loopback6) == 0;
}

static bool device_reachable(struct weft_device *base, const void *address, const char **reason)
{
    const struct tcp_address *self = &((struct tcp_device *)base)->self;
    struct tcp_address peer;
    memcpy(&peer, address, sizeof peer);
    if (peer.magic != self->magic || (peer.family != AF_INET && peer.family != AF_INET6) ||
        peer.port == 0 || peer.port > UINT16_MAX)
        *reason = "not an address of tcp";
    else if (peer.family != self->family)
        *reason = "one end has an IPv4 address, the other an IPv6 address";
    else if ((is_loopback(&peer) || is_loopback(self)) &&
             !weft_machine_same_network(&peer.machine, &self->machine))
        *reason = "one end listens on a loopback address, the other is elsewhere";
    else
        return true;
    return false;
}

static weft_status device_share(struct weft_device *base, size_t bytes, void **memory,
                                struct weft_shared_block *block, struct weft_error *error)
{
    (void)base, (void)bytes, (void)memory, (void)block;
    return weft_fail(error, WEFT_UNSUPPORTED, "tcp shares no memory");
}

static void device_unshare(struct weft_device *base, void *memory)
{
    (void)base, (void)memory;
}

static bool device_locate(struct weft_device *base, const void *memory, size_t bytes,
                          struct weft_shared_block *block, size_t *within)
{
    (void)base, (void)memory, (void)bytes, (void)block, (void)within;
    return false;
}

static weft_status link_map(struct weft_connection *connection,
                            const struct weft_shared_block *block, bool keep, void **memory)
{
    (void)connection, (void)block, (void)keep, (void)memory;
    return WEFT_UNSUPPORTED;
}

/* ---- connections ---- */

static weft_status link_connect(struct weft_device *base, const void *address,
                                const unsigned char *peer_id, uint64_t tag, void *user,
                                struct weft_connection **connection, struct weft_error *error)
{
    struct tcp_device *device = (struct tcp_device *)base;
    const char *reason = NULL;
    if (!device_reachable(base, address, &reason))
        return weft_fail(error, WEFT_UNSUPPORTED, "tcp: cannot connect: %s", reason);
    struct tcp_link *link = calloc(1, sizeof *link);
    if (!link)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "tcp: no memory for a connection");
    memcpy(&link->peer, address, sizeof link->peer);
    int order = memcmp(device->self.process_id, peer_id, WEFT_PROCESS_ID_BYTES);
    if (memcmp(link->peer.process_id, peer_id, WEFT_PROCESS_ID_BYTES) != 0 || order == 0) {
        free(link);
        return weft_fail(error, WEFT_UNSUPPORTED, "tcp: the address is not the peer's");
    }
    weft_packet_link_init(&link->packets, &device->packets, &port, WEFT_PACKET_PAYLOAD_LIMIT, user,
                          device->seed);
    link->tag = tag;
    link->socket = -1;
    link->source.ready = link_ready;
    link->state = order < 0 ? TCP_CALLING : TCP_WAITING; // all else happens in progress
    link->deadline_ns = weft_deadline_after(reach_ns);
    device->num_meeting++;
    link->next = device->links;
    device->links = link;
    *connection = &link->packets.base;
    return WEFT_OK;
}

/* Closing a socket with bytes unread resets it, and bytes on their way to the peer would be lost.
 */
static void linger(struct tcp_device *device, struct tcp_link *link)
{
    if (link->state != TCP_UP || is_flushed(link->socket))
        return;
    struct tcp_lingering *lingering = malloc(sizeof *lingering);
    if (!lingering)
        return;
    shutdown(link->socket, SHUT_WR);
    weft_tcp_unwatch(device, link->socket);
    *lingering = (struct tcp_lingering){.next = device->lingering,
                                        .socket = link->socket,
                                        .deadline_ns = weft_deadline_after(linger_ns)};
    device->lingering = lingering;
    link->socket = -1;
}

static void link_disconnect(struct weft_connection **connection)
{
    struct tcp_link *link = (struct tcp_link *)*connection;
    *connection = NULL;
    if (!link)
        return;
    struct tcp_device *device = device_of(link);
    struct tcp_link **place = &device->links;
    while (*place != link)
        place = &(*place)->next;
    *place = link->next;
    if (link->state < TCP_UP)
        device->num_meeting--;
    linger(device, link);
    close_socket(link);
    weft_packet_link_fini(&link->packets);
    sodium_memzero(&link->peer, sizeof link->peer);
    free(link->out_copy);
    free(link->in);
    free(link);
}

const struct weft_transport weft_tcp_transport = {
    .name = "tcp",
    .capabilities = 0,
    .open = device_open,
    .close = device_close,
    .address = device_address,
    .reachable = device_reachable,
    .share = device_share,
    .unshare = device_unshare,
    .locate = device_locate,
    .map = link_map,
    .progress = device_progress,
    .descriptor = device_descriptor,
    .arm = device_arm,
    .connect = link_connect,
    .disconnect = link_disconnect,
    .post_send = weft_packet_post_send,
    .post_recv = weft_packet_post_recv,
    .cancel = weft_packet_cancel,
};
