/*
 * SPDX-License-Identifier: Apache-2.0
 * How stripes come about: after the connection is up, the end that called calls every address of
 * the other one. Which interface that leads through is the kernel's choice; where two calls would
 * leave by the same one, the later is made from this end's address of the same number, and is left
 * alone if that is taken too. Whatever does not connect is tried again, at most 4 s later.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/tcp_stripes.h"

static const int64_t call_ns = 1000000000;
static const int64_t first_pause_ns = 500000000, longest_pause_ns = 4000000000;

static unsigned number_of(const struct tcp_stripe *stripe)
{
    return (unsigned)(stripe - stripe->link->stripes->each);
}

void weft_tcp_stripe_hang_up(struct tcp_stripe *stripe)
{
    if (stripe->socket >= 0) {
        weft_tcp_unwatch(weft_tcp_device_of(stripe->link), stripe->socket);
        close(stripe->socket);
    }
    stripe->socket = -1;
    stripe->state = TCP_STRIPE_RESTS;
    stripe->retry_ns = weft_deadline_after(stripe->pause_ns);
    stripe->pause_ns =
        stripe->pause_ns * 2 < longest_pause_ns ? stripe->pause_ns * 2 : longest_pause_ns;
}

/* All that belongs to one socket begins anew. */
static bool come_up(struct tcp_stripe *stripe)
{
    struct tcp_link *link = stripe->link;
    if (link->checks.state && !stripe->checks.state && !weft_tcp_check_want(&stripe->checks))
        return false;
    weft_tcp_suit(weft_tcp_device_of(link), link, stripe->socket);
    stripe->checks.door = link->stripes->calls ? number_of(stripe) : 0;
    stripe->source.ready = weft_tcp_stripe_ready;
    stripe->state = TCP_STRIPE_IS_UP;
    stripe->pause_ns = first_pause_ns;
    stripe->load = NULL;
    stripe->blocked = stripe->waiting = false;
    stripe->in_done = stripe->left = stripe->kept_bytes = stripe->open.left = 0;
    stripe->rate = stripe->acked_bytes = stripe->heard_bytes = 0;
    stripe->heard_ns = stripe->looked_ns = 0;
    stripe->ran_dry = true;
    stripe->room = 0;
    stripe->num_rates = 0;
    link->stripes->num_up++;
    char peer[WEFT_PACKET_REASON_BYTES];
    weft_tcp_door_text(link, stripe->checks.door, peer, sizeof peer);
    WEFT_LOG(WEFT_LOG_INFO, "tcp: stripe %u of the connection to %s: up, %d in all",
             number_of(stripe), peer, link->stripes->num_up);
    weft_tcp_stripe_watch(stripe);
    return true;
}

/* ---- the end that calls ---- */

static bool is_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return memcmp(&((const struct sockaddr_in *)a)->sin_addr,
                      &((const struct sockaddr_in *)b)->sin_addr, sizeof(struct in_addr)) == 0;
    return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

/* Whether another stripe leaves from the same address. */
static bool is_taken(const struct tcp_stripe *stripe)
{
    struct sockaddr_storage own = {0}, others = {0};
    socklen_t length = sizeof own;
    if (getsockname(stripe->socket, (struct sockaddr *)&own, &length) != 0)
        return true;
    for (int i = 0; i < TCP_DOORS_LIMIT; i++) {
        const struct tcp_stripe *other = &stripe->link->stripes->each[i];
        length = sizeof others;
        if (other != stripe && other->state > TCP_STRIPE_CONNECTS &&
            getsockname(other->socket, (struct sockaddr *)&others, &length) == 0 &&
            is_same_host(&own, &others))
            return true;
    }
    return false;
}

/* From the address of the same number, or not at all. */
static void try_otherwise(struct tcp_stripe *stripe)
{
    const struct tcp_door *door = &weft_tcp_device_of(stripe->link)->self.doors[number_of(stripe)];
    bool can_bind = !stripe->bound && door->family;
    weft_tcp_stripe_hang_up(stripe);
    stripe->bound = true;
    stripe->retry_ns = can_bind ? 0 : INT64_MAX;
}

static void connected(struct tcp_device *device, struct tcp_stripe *stripe)
{
    int failure = 0;
    socklen_t length = sizeof failure;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &stripe->source};
    if (getsockopt(stripe->socket, SOL_SOCKET, SO_ERROR, &failure, &length) != 0 || failure ||
        epoll_ctl(device->epoll, EPOLL_CTL_MOD, stripe->socket, &event) != 0) {
        weft_tcp_stripe_hang_up(stripe);
    } else if (is_taken(stripe)) {
        try_otherwise(stripe);
    } else {
        stripe->watched = EPOLLIN;
        stripe->state = TCP_STRIPE_CHALLENGED;
        stripe->filled = 0;
    }
}

static void challenged(struct tcp_stripe *stripe)
{
    stripe->name =
        (uint64_t)++stripe->link->stripes->num_calls * TCP_DOORS_LIMIT + number_of(stripe);
    stripe->state = TCP_STRIPE_ASKS;
    stripe->filled = 0;
    if (!weft_tcp_hello_make(stripe->link, &stripe->challenge, stripe->name, &stripe->hello) ||
        !weft_tcp_say(stripe->socket, &stripe->hello, sizeof stripe->hello))
        weft_tcp_stripe_hang_up(stripe);
}

static void calling_ready(struct tcp_device *device, struct tcp_source *source, uint32_t events)
{
    (void)events;
    struct tcp_stripe *stripe =
        (struct tcp_stripe *)((char *)source - offsetof(struct tcp_stripe, source));
    if (stripe->state == TCP_STRIPE_CONNECTS) {
        connected(device, stripe);
        return;
    }
    if (stripe->state != TCP_STRIPE_CHALLENGED && stripe->state != TCP_STRIPE_ASKS)
        return; // an event from before it hung up
    bool asks = stripe->state == TCP_STRIPE_ASKS;
    weft_status status = asks ? weft_tcp_fill(stripe->socket, &stripe->welcome,
                                              sizeof stripe->welcome, &stripe->filled)
                              : weft_tcp_fill(stripe->socket, &stripe->challenge,
                                              sizeof stripe->challenge, &stripe->filled);
    if (status == WEFT_AGAIN)
        return;
    if (status == WEFT_OK && !asks)
        challenged(stripe);
    else if (status != WEFT_OK ||
             !weft_tcp_welcome_is_good(stripe->link, &stripe->challenge, &stripe->hello,
                                       &stripe->welcome) ||
             !come_up(stripe))
        weft_tcp_stripe_hang_up(stripe);
}

static void call(struct tcp_stripe *stripe)
{
    struct tcp_device *device = weft_tcp_device_of(stripe->link);
    unsigned number = number_of(stripe);
    struct sockaddr_storage there, here;
    socklen_t length = weft_tcp_endpoint(&there, &stripe->link->peer.doors[number]);
    struct tcp_door door = device->self.doors[number];
    door.port = 0;
    stripe->socket = socket(there.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (stripe->socket < 0) {
        weft_tcp_stripe_hang_up(stripe);
        return;
    }
    weft_tcp_prepare(stripe->socket);
    stripe->source.ready = calling_ready;
    stripe->state = TCP_STRIPE_CONNECTS;
    stripe->deadline_ns = weft_deadline_after(call_ns);
    if (stripe->bound) {
        socklen_t here_length = weft_tcp_endpoint(&here, &door);
        if (bind(stripe->socket, (struct sockaddr *)&here, here_length) != 0) {
            weft_tcp_stripe_hang_up(stripe);
            return;
        }
    }
    int result = connect(stripe->socket, (struct sockaddr *)&there, length);
    if ((result != 0 && errno != EINPROGRESS) ||
        !weft_tcp_watch(device, stripe->socket, &stripe->source, EPOLLOUT))
        weft_tcp_stripe_hang_up(stripe);
}

bool weft_tcp_stripes_meet(struct tcp_link *link, int64_t now)
{
    struct tcp_stripes *stripes = link->stripes;
    bool hurried = false;
    for (int i = 0; stripes->calls && i < TCP_DOORS_LIMIT; i++) {
        struct tcp_stripe *stripe = &stripes->each[i];
        if (stripe->state == TCP_STRIPE_IS_UP)
            continue;
        if (stripe->state == TCP_STRIPE_RESTS && now >= stripe->retry_ns)
            call(stripe);
        else if (stripe->state != TCP_STRIPE_RESTS && now > stripe->deadline_ns)
            weft_tcp_stripe_hang_up(stripe);
        hurried |= stripe->state != TCP_STRIPE_RESTS;
    }
    return hurried;
}

/* ---- both ends ---- */

static struct tcp_stripes *make_stripes(struct tcp_link *link)
{
    struct tcp_stripes *stripes = calloc(1, sizeof *stripes);
    if (!stripes)
        return NULL;
    stripes->calls = memcmp(weft_tcp_device_of(link)->self.process_id, link->peer.process_id,
                            WEFT_PROCESS_ID_BYTES) < 0;
    int num_doors = weft_tcp_count_doors(&link->peer);
    for (int i = 0; i < TCP_DOORS_LIMIT; i++) {
        struct tcp_stripe *stripe = &stripes->each[i];
        stripe->link = link;
        stripe->socket = -1;
        stripe->pause_ns = first_pause_ns;
        stripe->retry_ns = i < num_doors ? 0 : INT64_MAX;
    }
    link->stripes = stripes;
    return stripes;
}

void weft_tcp_stripes_begin(struct tcp_link *link)
{
    if (link->stripes || link->state != TCP_UP || weft_tcp_count_doors(&link->peer) < 2 ||
        weft_tcp_count_doors(&weft_tcp_device_of(link)->self) < 2 || !make_stripes(link) ||
        link->stripes->calls)
        return;
    const struct weft_packet packet = {.type = TCP_PACKET_CALL};
    weft_packet_control_put(&link->packets, &packet);
}

void weft_tcp_stripe_adopt(struct tcp_link *link, uint64_t name, int socket)
{
    struct tcp_stripe *stripe = NULL;
    if (link->stripes || make_stripes(link))
        stripe = &link->stripes->each[name % TCP_DOORS_LIMIT];
    if (!stripe || link->stripes->calls) {
        close(socket);
        return;
    }
    if (stripe->state == TCP_STRIPE_IS_UP) // the peer knows already that it is not
        weft_tcp_stripe_fail(stripe, "called again", true);
    stripe->socket = socket;
    stripe->name = name;
    stripe->source.ready = weft_tcp_stripe_ready;
    stripe->watched = EPOLLIN;
    if (!weft_tcp_watch(weft_tcp_device_of(link), socket, &stripe->source, EPOLLIN) ||
        !come_up(stripe))
        weft_tcp_stripe_hang_up(stripe);
}
