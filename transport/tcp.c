/*
 * SPDX-License-Identifier: Apache-2.0
 * TCP: devices, connections and the round of progress. One socket per connection, and more where
 * both ends have several interfaces (tcp_stripes.c). Where only a few
 * sockets matter because something is expected from them, a round reads those; epoll is asked where
 * there are many, and every so often.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <sodium.h>

#include "base/clock.h"
#include "transport/no_memory.h"
#include "transport/tcp_parts.h"
#include "transport/tcp_stripes.h"
#include "transport/transport.h"

enum {
    EVENTS_LIMIT = 16,
    PACKETS_PER_VISIT = 16,
    ASKED_LIMIT = 4,   // sockets that are read without asking epoll
    ASKED_ROUNDS = 16, // of them, before epoll is asked again
    HOT_RECEIVES = 32, // of messages waited for, before epoll forgets the socket; a pause of so
                       // many rounds, and it is watched again
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
    weft_tcp_out_drop(&link->out);
    close_socket(link);
    weft_tcp_stripes_close(link);
    weft_packet_fail(&link->packets, "%s", reason);
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

/* Everything that may have happened. Whether something has a deadline: *hurried. */
static int look_everywhere(struct tcp_device *device, bool *hurried)
{
    struct epoll_event events[EVENTS_LIMIT];
    int num_events = epoll_wait(device->epoll, events, EVENTS_LIMIT, 0);
    for (int i = 0; i < num_events; i++) {
        struct tcp_source *source = events[i].data.ptr;
        source->ready(device, source, events[i].events);
    }
    *hurried = weft_tcp_meet(device);
    return num_events > 0 ? num_events : 0;
}

/* Whether it is enough, and cheaper, to read the few sockets from which something is expected. */
static bool is_simple(struct tcp_device *device)
{
    int num_expecting = 0;
    if (device->num_meeting || device->num_strangers || device->num_introduced ||
        ++device->rounds % ASKED_ROUNDS == 0)
        return false;
    for (struct tcp_link *link = device->links; link; link = link->next) {
        if (link->blocked || num_expecting > ASKED_LIMIT || weft_tcp_stripes_are_sending(link))
            return false;
        num_expecting += weft_packet_is_expecting(&link->packets);
    }
    return num_expecting > 0 && num_expecting <= ASKED_LIMIT;
}

/* A socket in epoll makes each packet dearer, at the sender's end if that is on this machine. One
 * that is read all the time needs no watching, until it is not read any more, or all sleep. */
static int read_link(struct tcp_link *link, bool simple)
{
    bool expecting = weft_packet_is_expecting(&link->packets);
    if (link->state != TCP_UP || (simple ? !expecting : !link->hot))
        return 0;
    int count = weft_tcp_receive(link);
    if (simple && count && link->heat < HOT_RECEIVES && ++link->heat == HOT_RECEIVES)
        weft_tcp_link_heat(link);
    else if (!expecting && (!link->heat || --link->heat == 0))
        weft_tcp_link_cool(link);
    return count;
}

static int device_progress(struct weft_device *base)
{
    struct tcp_device *device = (struct tcp_device *)base;
    bool simple = is_simple(device), hurried = device->ticking;
    weft_packet_enter(&device->packets);
    int count = simple ? 0 : look_everywhere(device, &hurried);
    for (struct tcp_link *link = device->links; link; link = link->next) {
        count += read_link(link, simple);
        if (weft_packet_has_pending(&link->packets))
            count += weft_packet_send_pending(&link->packets, PACKETS_PER_VISIT);
        if (link->stripes)
            count += weft_tcp_stripes_progress(link, simple, &hurried);
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
    struct tcp_device *device = (struct tcp_device *)base;
    weft_packet_enter(&device->packets);
    for (struct tcp_link *link = device->links; link; link = link->next) {
        if (sleeping)
            weft_tcp_link_cool(link); // watched sockets wake whoever polls
        weft_tcp_link_doze(link, sleeping);
    }
    weft_packet_leave(&device->packets);
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
    for (int i = 0; i < TCP_DOORS_LIMIT; i++)
        if (device->listeners[i].socket >= 0)
            close(device->listeners[i].socket);
    if (device->timer >= 0)
        close(device->timer);
    if (device->epoll >= 0)
        close(device->epoll);
    sodium_memzero(&device->self, sizeof device->self);
    free(device->in);
    free(device);
}

/* A name that the kernel does not take here, or not from this user, is refused now. */
static weft_status choose_congestion(struct tcp_device *device, const char *name,
                                     struct weft_error *error)
{
    size_t length = name ? strlen(name) : 0;
    if (length == 0)
        return WEFT_OK;
    if (length >= sizeof device->congestion)
        return weft_fail(error, WEFT_UNSUPPORTED, "tcp: no congestion control '%.32s'", name);
    if (setsockopt(device->listeners[0].socket, IPPROTO_TCP, TCP_CONGESTION, name,
                   (socklen_t)length) != 0)
        return weft_fail(error, WEFT_UNSUPPORTED, "tcp: congestion control '%s': %s", name,
                         strerror(errno));
    memcpy(device->congestion, name, length + 1);
    return WEFT_OK;
}

static weft_status fill_device(struct tcp_device *device, const struct weft_device_options *options,
                               struct weft_error *error)
{
    if (sodium_init() < 0)
        return weft_fail(error, WEFT_SYSTEM, "tcp: libsodium does not start");
    device->self.magic = address_magic;
    memcpy(device->self.process_id, options->process_id, sizeof device->self.process_id);
    device->self.wants_checks = options->checksums;
    if (weft_machine_identify(&device->self.machine, error) != WEFT_OK)
        return weft_fail_prefix(error, "tcp");
    device->epoll = epoll_create1(EPOLL_CLOEXEC);
    device->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    device->timer_source.ready = timer_ready;
    if (device->epoll < 0 || device->timer < 0 ||
        !weft_tcp_watch(device, device->timer, &device->timer_source, EPOLLIN))
        return weft_fail(error, WEFT_SYSTEM, "tcp: cannot make descriptors: %s", strerror(errno));
    WEFT_TRY(weft_tcp_listen(device, options->listen_address, options->more_addresses, error));
    return choose_congestion(device, options->congestion, error);
}

static weft_status device_open(const struct weft_device_options *options, struct weft_device **base,
                               struct weft_error *error)
{
    struct tcp_device *device = calloc(1, sizeof *device);
    if (!device)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "tcp: no memory for a device");
    device->epoll = device->timer = -1;
    for (int i = 0; i < TCP_DOORS_LIMIT; i++)
        device->listeners[i].socket = -1;
    device->in = aligned_alloc(64, TCP_BUFFER_BYTES);
    if (!device->in) {
        free(device);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "tcp: no memory for a buffer");
    }
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
    const struct tcp_door *first = &address->doors[0];
    return first->family == AF_INET ? first->ip[0] == 127
                                    : memcmp(first->ip, loopback6, sizeof loopback6) == 0;
}

static bool are_doors(const struct tcp_door *doors, int limit)
{
    for (int i = 0; i < limit; i++)
        if (doors[i].family && doors[i].family != AF_INET && doors[i].family != AF_INET6)
            return false;
    return true;
}

static bool device_reachable(struct weft_device *base, const void *address, const char **reason)
{
    const struct tcp_address *self = &((struct tcp_device *)base)->self;
    struct tcp_address peer;
    memcpy(&peer, address, sizeof peer);
    uint16_t family = peer.doors[0].family;
    if (peer.magic != self->magic || (family != AF_INET && family != AF_INET6) ||
        peer.doors[0].port == 0 || !are_doors(peer.doors + 1, TCP_DOORS_LIMIT - 1))
        *reason = "not an address of tcp";
    else if (family != self->doors[0].family)
        *reason = "one end has an IPv4 address, the other an IPv6 address";
    else if ((is_loopback(&peer) || is_loopback(self)) &&
             !weft_machine_same_network(&peer.machine, &self->machine))
        *reason = "one end listens on a loopback address, the other is elsewhere";
    else
        return true;
    return false;
}

int weft_tcp_address_interfaces(const void *address)
{
    struct tcp_address read;
    memcpy(&read, address, sizeof read);
    return read.magic == address_magic ? weft_tcp_count_doors(&read) : 0;
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
    if ((link->peer.wants_checks || device->self.wants_checks) &&
        !weft_tcp_check_want(&link->checks)) {
        free(link);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "tcp: no memory for checksums");
    }
    weft_packet_link_init(&link->packets, &device->packets, &weft_tcp_port, TCP_FRAGMENT_BYTES,
                          user, device->seed);
    link->tag = tag;
    link->socket = -1;
    link->source.ready = weft_tcp_link_ready;
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
    weft_tcp_stripes_free(link);
    weft_packet_link_fini(&link->packets);
    sodium_memzero(&link->peer, sizeof link->peer);
    weft_tcp_check_free(&link->checks);
    weft_tcp_out_drop(&link->out);
    free(link->kept);
    free(link);
}

const struct weft_transport weft_tcp_transport = {
    .name = "tcp",
    .capabilities = 0,
    .eager_bytes = WEFT_PACKET_PAYLOAD_LIMIT,
    .open = device_open,
    .close = device_close,
    .address = device_address,
    .reachable = device_reachable,
    .share = weft_no_share,
    .unshare = weft_no_unshare,
    .locate = weft_no_locate,
    .map = weft_no_map,
    .remember = weft_no_remember,
    .forget = weft_no_forget,
    .progress = device_progress,
    .descriptor = device_descriptor,
    .arm = device_arm,
    .connect = link_connect,
    .disconnect = link_disconnect,
    .post_send = weft_packet_post_send,
    .post_recv = weft_packet_post_recv,
    .cancel = weft_packet_cancel,
};
