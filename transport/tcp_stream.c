/*
 * SPDX-License-Identifier: Apache-2.0
 * TCP: packets on a socket, as header and payload in a row. Payloads are written from the caller's
 * memory and, where there is no sink, read straight into it; sinks are fed from a buffer that stays
 * in the cache, as the bytes come. A packet that the socket takes only in part keeps its payload
 * borrowed until epoll finds room.
 */
#include <errno.h>
#include <linux/tcp.h> // tells more than <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "transport/tcp_parts.h"
#include "transport/tcp_stripes.h"

enum {
    READS_PER_EVENT = 8,
    AHEAD_OF_HEADER_BYTES = 16 << 10, // read with it: small messages whole
    AHEAD_OF_PLACE_BYTES = 4 << 10,   // read behind a payload that is read into its place
    HEADER_BYTES = sizeof(struct tcp_frame),
    KEPT_LEAST = 256,
    UNSENT_BYTES = 256 << 10, // to other hosts: what the kernel takes beyond what it sends
    WAKE_BYTES = 256 << 10,   // the rest of a fragment
};
_Static_assert(TCP_BUFFER_BYTES > HEADER_BYTES + WEFT_PACKET_PAYLOAD_LIMIT, "holds what is kept");

static struct tcp_device *device_of(struct tcp_link *link)
{
    return (struct tcp_device *)link->packets.device;
}

/* ---- sending ---- */

static void watch_anew(struct tcp_link *link)
{
    struct epoll_event event = {.events = link->blocked ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                .data.ptr = &link->source};
    int operation = link->hot ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    link->hot = false;
    link->heat = 0;
    if (epoll_ctl(device_of(link)->epoll, operation, link->socket, &event) != 0)
        weft_tcp_link_fail(link, "cannot watch the socket");
}

static void set_blocked(struct tcp_link *link, bool blocked)
{
    if (link->blocked == blocked)
        return;
    link->blocked = blocked;
    watch_anew(link);
}

void weft_tcp_link_heat(struct tcp_link *link)
{
    if (link->hot || link->blocked || link->state != TCP_UP)
        return;
    weft_tcp_unwatch(device_of(link), link->socket);
    link->hot = true;
}

void weft_tcp_link_cool(struct tcp_link *link)
{
    if (link->hot && link->state == TCP_UP)
        watch_anew(link);
}

static void set_mark(struct tcp_link *link, int bytes)
{
    if (link->low_mark == bytes)
        return;
    link->low_mark = bytes;
    setsockopt(link->socket, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
}

void weft_tcp_link_doze(struct tcp_link *link, bool sleeping)
{
    size_t left = sleeping ? link->open.left : 0;
    left -= left > link->kept_bytes ? link->kept_bytes : left;
    if (link->state == TCP_UP)
        set_mark(link, left > WAKE_BYTES ? WAKE_BYTES : left > 0 ? (int)left : 1);
}

static enum weft_push push(struct weft_packet_link *packets, const struct weft_packet *packet,
                           const void *payload)
{
    struct tcp_link *link = (struct tcp_link *)packets;
    if (link->state != TCP_UP || link->blocked || link->out.is_partial)
        return WEFT_PUSH_BUSY;
    if (weft_tcp_out_begin(&link->out, &link->checks, link->socket, packet, payload))
        return WEFT_PUSH_DONE;
    set_blocked(link, true);
    return link->out.is_partial ? WEFT_PUSH_BORROWED : WEFT_PUSH_BUSY;
}

static void unborrow(struct weft_packet_link *packets)
{
    struct tcp_link *link = (struct tcp_link *)packets;
    if (!weft_tcp_out_keep(&link->out))
        weft_tcp_link_fail(link, "out of memory");
}

const struct weft_packet_port weft_tcp_port = {
    .push = push, .unborrow = unborrow, .direct = &weft_tcp_stripes_direct};

static void found_room(struct tcp_link *link)
{
    bool was_partial = link->out.is_partial;
    if (was_partial && !weft_tcp_out_continue(&link->out, link->socket))
        return;
    set_blocked(link, false);
    if (was_partial)
        weft_packet_pushed(&link->packets);
}

/* ---- receiving ---- */

/* The next bytes of the open payload, which may be in their place already. Returns how many. */
static size_t take_part(struct tcp_link *link, const unsigned char *bytes, size_t available)
{
    size_t left = link->open.left;
    if (available >= left)
        return weft_tcp_check_end(link, &link->checks, bytes, left)
                   ? weft_packet_feed(&link->packets, &link->open, bytes, left)
                   : 0;
    size_t taken = weft_packet_feed(&link->packets, &link->open, bytes, available);
    weft_tcp_check_add(&link->checks, bytes, taken);
    return taken;
}

/* Takes what it can of the bytes: one packet, or a part of an open payload. 0: nothing. */
static size_t take_one(struct tcp_link *link, const unsigned char *bytes, size_t available)
{
    struct tcp_frame frame;
    if (link->open.left)
        return take_part(link, bytes, available);
    if (available < HEADER_BYTES)
        return 0;
    memcpy(&frame, bytes, HEADER_BYTES);
    if (!weft_tcp_check_header(link, &link->checks, &frame))
        return 0;
    size_t whole = HEADER_BYTES + (size_t)frame.packet.payload_bytes;
    if (available < whole && weft_packet_open(&link->packets, &frame.packet, &link->open)) {
        weft_tcp_check_begin(&link->checks, &frame);
        return HEADER_BYTES;
    }
    if (frame.packet.payload_bytes > WEFT_PACKET_PAYLOAD_LIMIT && available < whole)
        weft_packet_fail(&link->packets, "peer broke the protocol: packet too long");
    if (available < whole ||
        !weft_tcp_check_whole(link, &link->checks, &frame, bytes + HEADER_BYTES))
        return 0;
    if (frame.packet.type < TCP_PACKET_CALL)
        weft_packet_deliver(&link->packets, &frame.packet, bytes + HEADER_BYTES);
    else
        weft_tcp_stripes_told(link, &frame.packet);
    return whole;
}

static void keep(struct tcp_link *link, const unsigned char *bytes, size_t count)
{
    link->kept_bytes = 0;
    if (count > link->kept_room) {
        size_t room = count > KEPT_LEAST ? HEADER_BYTES + WEFT_PACKET_PAYLOAD_LIMIT : KEPT_LEAST;
        free(link->kept);
        link->kept = malloc(room);
        link->kept_room = link->kept ? room : 0;
        if (!link->kept) {
            weft_tcp_link_fail(link, "out of memory");
            return;
        }
    }
    if (count)
        memcpy(link->kept, bytes, count);
    link->kept_bytes = count;
}

/* Returns how many things happened. */
static int take_all(struct tcp_link *link, size_t end)
{
    const unsigned char *in = device_of(link)->in;
    size_t first = 0;
    int count = 0;
    for (size_t taken = 1; taken && first < end; first += taken) {
        taken = take_one(link, in + first, end - first);
        count += taken > 0;
        if (link->packets.failed) {
            weft_tcp_link_fail(link, "");
            return count + 1;
        }
    }
    keep(link, in + first, end - first);
    return count;
}

/* Reads once: the next bytes of an open payload to their place, what follows into the buffer.
 * Adds to *count what happened. Whether there may be more to read. */
static bool read_once(struct tcp_link *link, int *count)
{
    unsigned char *in = device_of(link)->in;
    size_t kept = link->kept_bytes, open = link->open.left;
    unsigned char *place = weft_packet_place(&link->packets, &link->open); // then nothing is kept
    size_t most = place                          ? AHEAD_OF_PLACE_BYTES
                  : open || kept >= HEADER_BYTES ? TCP_BUFFER_BYTES - kept
                                                 : AHEAD_OF_HEADER_BYTES;
    struct iovec pieces[2] = {{.iov_base = place, .iov_len = open},
                              {.iov_base = in + kept, .iov_len = most}};
    struct msghdr message = {.msg_iov = place ? pieces : pieces + 1, .msg_iovlen = place ? 2 : 1};
    ssize_t got = place ? recvmsg(link->socket, &message, MSG_DONTWAIT)
                        : recv(link->socket, in + kept, most, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR)
        return true;
    if (got < 0 && errno == EAGAIN)
        return false;
    ++*count;
    if (got <= 0) {
        weft_tcp_link_fail(link, got == 0 ? "peer has closed or died" : strerror(errno));
        return false;
    }
    set_mark(link, 1); // or it might be more than what is left
    size_t bytes = (size_t)got;
    bool is_full = bytes == most + (place ? open : 0);
    if (place)
        bytes -= take_part(link, place, bytes < open ? bytes : open);
    if (link->packets.failed) { // the payload was not what it should be: the buffer holds nothing
        weft_tcp_link_fail(link, "");
        return false;
    }
    if (kept)
        memcpy(in, link->kept, kept);
    *count += take_all(link, kept + bytes);
    return is_full;
}

int weft_tcp_receive(struct tcp_link *link)
{
    int count = 0;
    for (int reads = 0; reads < READS_PER_EVENT && link->state == TCP_UP; reads++)
        if (!read_once(link, &count))
            break;
    return count;
}

void weft_tcp_link_ready(struct tcp_device *device, struct tcp_source *source, uint32_t events)
{
    (void)device;
    struct tcp_link *link = (struct tcp_link *)((char *)source - offsetof(struct tcp_link, source));
    // After a failure, what is half written may be lent no more: progress closes the socket.
    if (link->state == TCP_UP && !link->packets.failed && events & EPOLLOUT)
        found_room(link);
    if (link->state == TCP_UP && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        weft_tcp_receive(link);
}

const char *weft_tcp_congestion(const char *system, int64_t shortest_ns, bool is_same_machine)
{
    enum { NEAR_NS = 1000000 };
    bool is_near = shortest_ns > 0 && shortest_ns <= NEAR_NS && strncmp(system, "bbr", 3) == 0;
    return is_same_machine || is_near ? "reno" : NULL;
}

static void choose_congestion_control(const struct tcp_device *device, const struct tcp_link *link,
                                      int socket)
{
    char system[TCP_CONGESTION_BYTES + 1] = "";
    struct tcp_info info = {.tcpi_min_rtt = 0}; // stays 0 where the kernel does not tell
    socklen_t length = TCP_CONGESTION_BYTES, info_length = sizeof info;
    const char *name = device->congestion;
    if (!*name && getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, system, &length) == 0 &&
        getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &info_length) == 0)
        name = weft_tcp_congestion(
            system, (int64_t)info.tcpi_min_rtt * 1000,
            weft_machine_same_network(&link->peer.machine, &device->self.machine));
    if (name && *name)
        setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name));
}

/* A kernel that takes megabytes more than the network does makes grants and credits wait behind
 * them: on a link of 250 Mbit/s for a tenth of a second, in which the other way may stand still. */
static void limit_unsent(const struct tcp_device *device, const struct tcp_link *link, int socket)
{
    const int unsent = UNSENT_BYTES;
    if (!weft_machine_same_network(&link->peer.machine, &device->self.machine))
        setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
}

void weft_tcp_suit(const struct tcp_device *device, const struct tcp_link *link, int socket)
{
    choose_congestion_control(device, link, socket);
    limit_unsent(device, link, socket);
}

void weft_tcp_link_up(struct tcp_device *device, struct tcp_link *link)
{
    weft_tcp_suit(device, link, link->socket);
    link->low_mark = 1;
    link->checks.door = link->door;
    link->source.ready = weft_tcp_link_ready;
    link->state = TCP_UP;
    device->num_meeting--;
}
