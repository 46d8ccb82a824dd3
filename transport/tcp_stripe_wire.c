/*
 * SPDX-License-Identifier: Apache-2.0
 * Fragments on the socket of a stripe: a frame with the header of a DATA packet and the payload,
 * one after the other. A payload is read straight into its place where there is no sink, and only
 * when it is its turn. How fast a stripe is, acknowledgements tell. The kernel may keep no more on
 * it than goes within some milliseconds: when a message ends, the other stripes wait for what is
 * kept on one.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h> // tells more than <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "transport/tcp_stripes.h"

enum {
    HEADER_BYTES = sizeof(struct tcp_frame),
    READS_PER_VISIT = 16,
    AHEAD_US = 10000,       // so much is kept on a stripe, and what is on its way,
    ROOM_LEAST = 512 << 10, // but not less than some fragments,
    ROOM_MOST = 64 << 20,   // nor more than that
};

static const int64_t silence_ns = 3000000000, forget_ns = 2000000000;

/* ---- epoll ---- */

void weft_tcp_stripe_watch(struct tcp_stripe *stripe)
{
    uint32_t wanted = (stripe->waiting ? 0 : EPOLLIN) | (stripe->blocked ? EPOLLOUT : 0);
    struct epoll_event event = {.events = wanted, .data.ptr = &stripe->source};
    if (stripe->state != TCP_STRIPE_IS_UP || stripe->watched == wanted)
        return; // not up: what it brought has just failed the connection
    stripe->watched = wanted;
    if (epoll_ctl(weft_tcp_device_of(stripe->link)->epoll, EPOLL_CTL_MOD, stripe->socket, &event))
        weft_tcp_stripe_fail(stripe, "cannot watch the socket", false);
}

static void set_blocked(struct tcp_stripe *stripe, bool blocked)
{
    stripe->blocked = blocked;
    weft_tcp_stripe_watch(stripe);
}

static void set_waiting(struct tcp_stripe *stripe, bool waiting)
{
    stripe->waiting = waiting;
    weft_tcp_stripe_watch(stripe);
}

/* ---- sending ---- */

bool weft_tcp_stripe_send(struct tcp_stripe *stripe, struct tcp_load *load)
{
    uint64_t left = load->transfer->bytes - load->offset;
    uint32_t most = TCP_STRIPE_BYTES - TCP_STRIPE_BYTES % load->unit;
    const struct weft_packet packet = {.type = WEFT_PACKET_DATA,
                                       .payload_bytes = left < most ? (uint32_t)left : most,
                                       .key = load->transfer->key,
                                       .value = load->offset,
                                       .handle = load->handle,
                                       .call = load->name};
    bool is_whole = weft_tcp_out_begin(&stripe->out, &stripe->checks, stripe->socket, &packet,
                                       (const unsigned char *)load->transfer->data + load->offset);
    bool is_given = is_whole || stripe->out.is_partial;
    if (is_given) { // before the stripe may fail
        stripe->load = is_whole ? NULL : load;
        load->offset += packet.payload_bytes;
        load->stripes |= (uint8_t)(1 << (stripe - stripe->link->stripes->each));
    }
    set_blocked(stripe, !is_whole);
    return is_given;
}

void weft_tcp_stripe_unborrow(struct tcp_stripe *stripe)
{
    stripe->load = NULL;
    if (!weft_tcp_out_keep(&stripe->out))
        weft_tcp_stripe_fail(stripe, "out of memory", false);
}

static void found_room(struct tcp_stripe *stripe)
{
    if (stripe->out.is_partial && !weft_tcp_out_continue(&stripe->out, stripe->socket))
        return;
    stripe->load = NULL;
    set_blocked(stripe, false);
}

uint64_t weft_tcp_stripe_queued(const struct tcp_stripe *stripe)
{
    int left = 0;
    uint64_t rest = stripe->out.is_partial ? weft_tcp_out_left(&stripe->out) : 0;
    return ioctl(stripe->socket, SIOCOUTQ, &left) == 0 ? rest + (uint64_t)left : rest;
}

/* The room that the kernel has for what is sent. */
static void set_room(struct tcp_stripe *stripe, uint64_t room)
{
    room = room < ROOM_LEAST ? ROOM_LEAST : room > ROOM_MOST ? ROOM_MOST : room;
    if (room >= stripe->room - stripe->room / 8 && room <= stripe->room + stripe->room / 8)
        return;
    const int half = (int)(room / 2); // the kernel doubles it
    stripe->room = room;
    setsockopt(stripe->socket, SOL_SOCKET, SO_SNDBUF, &half, sizeof half);
}

static int compare_rates(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

/* What was acknowledged since the last look, if there was something to send all the while and the
 * peer had room. Bursts, which pass faster, are few: the median of the last figures counts. What is
 * old says nothing about what the network carries now, and would keep a stripe that was slow once
 * from being tried again. */
static void reckon(struct tcp_stripe *stripe, const struct tcp_info *info, int64_t now)
{
    uint64_t sorted[TCP_RATES_KEPT];
    int64_t us = (now - stripe->looked_ns) / 1000;
    uint64_t acked = info->tcpi_bytes_acked - stripe->acked_bytes;
    bool ran_dry = stripe->ran_dry || info->tcpi_rwnd_limited != stripe->limited_us;
    stripe->looked_ns = now;
    stripe->acked_bytes = info->tcpi_bytes_acked;
    stripe->limited_us = info->tcpi_rwnd_limited;
    stripe->ran_dry = weft_tcp_stripe_queued(stripe) == 0;
    if (stripe->rate && now - stripe->reckoned_ns > forget_ns)
        stripe->rate = stripe->num_rates = 0;
    if (ran_dry || stripe->ran_dry || us <= 0 || !acked)
        return;
    stripe->reckoned_ns = now;
    stripe->rates[stripe->num_rates++ % TCP_RATES_KEPT] = acked * 1000000 / (uint64_t)us;
    unsigned count = stripe->num_rates < TCP_RATES_KEPT ? stripe->num_rates : TCP_RATES_KEPT;
    memcpy(sorted, stripe->rates, sizeof sorted);
    qsort(sorted, count, sizeof *sorted, compare_rates);
    stripe->rate = sorted[count / 2];
    set_room(stripe, stripe->rate / 1000 * (AHEAD_US + 2 * (uint64_t)info->tcpi_min_rtt) / 1000);
}

bool weft_tcp_stripe_look(struct tcp_stripe *stripe, int64_t now)
{
    struct tcp_info info = {.tcpi_unacked = 0};
    socklen_t length = sizeof info;
    if (getsockopt(stripe->socket, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
        return true;
    reckon(stripe, &info, now);
    // A peer that has no room is not silent: then nothing is on its way.
    if (!info.tcpi_unacked || info.tcpi_bytes_acked != stripe->heard_bytes || !stripe->heard_ns) {
        stripe->heard_bytes = info.tcpi_bytes_acked;
        stripe->heard_ns = now;
    }
    return now - stripe->heard_ns < silence_ns ||
           (int64_t)info.tcpi_last_ack_recv * 1000000 < silence_ns;
}

/* ---- receiving ---- */

/* The payload of stripe->in begins, or waits for its turn. */
static void begin_payload(struct tcp_stripe *stripe)
{
    struct weft_packet_link *packets = &stripe->link->packets;
    enum weft_packet_turn turn = weft_packet_turn(packets, &stripe->in.packet);
    set_waiting(stripe, turn == WEFT_PACKET_LATER);
    if (turn == WEFT_PACKET_LATER)
        return;
    stripe->open.left = 0; // then what comes is thrown away
    if (turn == WEFT_PACKET_NOW && weft_packet_open(packets, &stripe->in.packet, &stripe->open))
        weft_tcp_check_begin(&stripe->checks, &stripe->in);
    stripe->left = stripe->in.packet.payload_bytes;
    stripe->kept_bytes = 0;
}

/* recv; 0: nothing to read now, or the stripe has failed. */
static size_t read_some(struct tcp_stripe *stripe, void *to, size_t most)
{
    ssize_t got = recv(stripe->socket, to, most, MSG_DONTWAIT);
    if (got > 0)
        return (size_t)got;
    if (got == 0 || (errno != EAGAIN && errno != EINTR))
        weft_tcp_stripe_fail(stripe, got == 0 ? "the peer has closed it" : strerror(errno),
                             got == 0);
    return 0;
}

/* Whether anything came. */
static bool read_header(struct tcp_stripe *stripe)
{
    struct tcp_link *link = stripe->link;
    const struct weft_packet *packet = &stripe->in.packet;
    size_t got = read_some(stripe, (unsigned char *)&stripe->in + stripe->in_done,
                           HEADER_BYTES - stripe->in_done);
    stripe->in_done += got;
    if (!got || stripe->in_done < HEADER_BYTES)
        return got > 0;
    if (!weft_tcp_check_header(link, &stripe->checks, &stripe->in))
        return true;
    if (packet->type != WEFT_PACKET_DATA || packet->zero || packet->payload_bytes == 0 ||
        packet->payload_bytes > TCP_STRIPE_BYTES)
        weft_tcp_link_fail(link, "peer broke the protocol: something else than data on a stripe");
    else
        begin_payload(stripe);
    return true;
}

/* Bytes that continue the payload, some of which may not be a whole element. */
static void feed(struct tcp_stripe *stripe, const unsigned char *bytes, size_t count)
{
    struct tcp_link *link = stripe->link;
    bool is_last = count == stripe->open.left;
    if (is_last && !weft_tcp_check_end(link, &stripe->checks, bytes, count))
        return;
    bool was_open = weft_packet_is_open(&link->packets, stripe->open.handle);
    size_t taken = weft_packet_feed(&link->packets, &stripe->open, bytes, count);
    if (!is_last)
        weft_tcp_check_add(&stripe->checks, bytes, taken);
    stripe->kept_bytes = is_last ? 0 : count - taken;
    memcpy(stripe->kept, bytes + taken, stripe->kept_bytes);
    if (!was_open || weft_packet_is_open(&link->packets, stripe->open.handle))
        return;
    const struct weft_packet done = {.type = TCP_PACKET_DONE, .handle = stripe->in.packet.call};
    weft_packet_control_put(&link->packets, &done);
}

static bool read_payload(struct tcp_stripe *stripe)
{
    struct tcp_link *link = stripe->link;
    unsigned char *in = weft_tcp_device_of(link)->in;
    unsigned char *place = weft_packet_place(&link->packets, &stripe->open); // then nothing is kept
    size_t kept = stripe->kept_bytes;
    size_t got = read_some(stripe, place ? place : in + kept, stripe->left);
    if (!got)
        return false;
    stripe->left -= got;
    if (place)
        feed(stripe, place, got);
    else if (stripe->open.left) {
        memcpy(in, stripe->kept, kept);
        feed(stripe, in, kept + got);
    }
    if (!stripe->left)
        stripe->in_done = 0;
    return true;
}

int weft_tcp_stripe_read(struct tcp_stripe *stripe)
{
    int count = 0;
    for (; count < READS_PER_VISIT && stripe->state == TCP_STRIPE_IS_UP; count++) {
        if (stripe->in_done < HEADER_BYTES) {
            if (!read_header(stripe))
                break;
        } else if (stripe->left) {
            if (!read_payload(stripe))
                break;
        } else {
            begin_payload(stripe);
            if (stripe->waiting)
                break;
        }
    }
    return count;
}

void weft_tcp_stripe_ready(struct tcp_device *device, struct tcp_source *source, uint32_t events)
{
    (void)device;
    struct tcp_stripe *stripe =
        (struct tcp_stripe *)((char *)source - offsetof(struct tcp_stripe, source));
    if (stripe->state == TCP_STRIPE_IS_UP && events & EPOLLOUT)
        found_room(stripe);
    if (stripe->state == TCP_STRIPE_IS_UP && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        weft_tcp_stripe_read(stripe);
    if (stripe->state == TCP_STRIPE_IS_UP && stripe->waiting && events & (EPOLLHUP | EPOLLERR))
        weft_tcp_stripe_fail(stripe, "the connection is lost", false);
}
