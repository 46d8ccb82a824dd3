/*
 * SPDX-License-Identifier: Apache-2.0
 * Shared memory between processes of one machine. Each connection end owns the ring of what it
 * receives, in anonymous memory (memfd) that only the two ends map: no file, no /dev/shm limit, and
 * no third process can write into it. Packets move without system calls; the sockets of shm_meet.c
 * are looked at now and then, and always while this process is about to sleep.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "transport/no_memory.h"
#include "transport/shm_parts.h"
#include "transport/transport.h"

enum {
    LOOK_EVERY = 256,       // progress calls between two looks at the sockets
    LOOK_WHEN_MEETING = 4,  // the same while a connection is being made
    READY_LIMIT = 64,       // sockets served in one look
    PACKETS_PER_VISIT = 16, // taken from and put into one ring before the next link's turn
};

static const uint64_t address_magic = 0x6d68737466657701u;

/* ---- descriptors ---- */

weft_status weft_shm_watch(struct shm_device *device, int descriptor, struct shm_source *source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    return epoll_ctl(device->epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 ? WEFT_OK : WEFT_SYSTEM;
}

void weft_shm_unwatch(struct shm_device *device, int descriptor)
{
    epoll_ctl(device->epoll, EPOLL_CTL_DEL, descriptor, NULL);
}

static struct shm_device *device_of(struct shm_link *link)
{
    return (struct shm_device *)link->packets.device;
}

/* ---- packets ---- */

static void ring_bell(struct shm_link *link)
{
    if (weft_shm_must_wake(link->writer.ring))
        (void)!send(link->socket, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT); // full: it is awake anyway
}

static enum weft_push push(struct weft_packet_link *packets, const struct weft_packet *packet,
                           const void *payload)
{
    struct shm_link *link = (struct shm_link *)packets;
    if (link->state != SHM_UP)
        return WEFT_PUSH_BUSY;
    switch (weft_shm_write(&link->writer, packet, payload)) {
    case WEFT_SHM_DONE:
        ring_bell(link);
        return WEFT_PUSH_DONE;
    case WEFT_SHM_BROKEN:
        weft_shm_link_fail(link, "peer broke the protocol: impossible credit");
        break;
    case WEFT_SHM_NOTHING:
        break;
    }
    return WEFT_PUSH_BUSY;
}

static void unborrow(struct weft_packet_link *packets)
{
    (void)packets; // nothing is ever borrowed: payloads are copied at once
}

static const struct weft_packet_port port = {.push = push, .unborrow = unborrow};

static int receive(struct shm_link *link)
{
    int count = 0;
    for (; count < PACKETS_PER_VISIT; count++) {
        struct weft_packet packet;
        const void *payload;
        enum weft_shm_result result = weft_shm_peek(&link->reader, &packet, &payload);
        if (result == WEFT_SHM_NOTHING)
            break;
        if (result == WEFT_SHM_BROKEN) {
            weft_shm_link_fail(link, "peer broke the protocol: impossible packet");
            break;
        }
        if (!weft_packet_deliver(&link->packets, &packet, payload)) {
            weft_shm_link_fail(link, "");
            break;
        }
        if (weft_shm_take(&link->reader, &packet) && link->state == SHM_UP)
            ring_bell(link);
    }
    return count;
}

/* ---- life of a link ---- */

static void ended(struct shm_device *device, struct shm_link *link)
{
    weft_shm_unwatch(device, link->socket);
    if (link->death >= 0)
        weft_shm_unwatch(device, link->death);
    if (link->state == SHM_UP)
        link->state = SHM_ENDED;
}

static void death_ready(struct shm_device *device, struct shm_source *source)
{
    ended(device, (struct shm_link *)((char *)source - offsetof(struct shm_link, death_source)));
}

/* The socket of a dead peer stays open where a child that it forked lives on, so the process itself
 * is watched too, where it can be seen (not from another PID namespace). */
static void watch_process(struct shm_device *device, struct shm_link *link)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(link->socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.pid <= 0)
        return;
    link->death = (int)syscall(SYS_pidfd_open, peer.pid, 0);
    link->death_source.ready = death_ready;
    if (link->death >= 0)
        (void)!weft_shm_watch(device, link->death, &link->death_source);
}

static void bell_ready(struct shm_device *device, struct shm_source *source)
{
    struct shm_link *link = (struct shm_link *)((char *)source - offsetof(struct shm_link, source));
    char bells[16];
    ssize_t got = 0;
    for (int i = 0; i < 16; i++) {
        got = recv(link->socket, bells, sizeof bells, MSG_DONTWAIT);
        if (got <= 0)
            break;
    }
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        ended(device, link);
}

static void sleep_flag(struct shm_link *link, bool sleeping)
{
    atomic_store(&link->reader.ring->sleeping, sleeping);
}

void weft_shm_link_up(struct shm_device *device, struct shm_link *link)
{
    link->state = SHM_UP;
    link->source.ready = bell_ready;
    device->num_meeting--;
    sleep_flag(link, device->sleeping);
    watch_process(device, link);
}

static void close_descriptor(struct shm_device *device, int *descriptor)
{
    if (*descriptor < 0)
        return;
    weft_shm_unwatch(device, *descriptor);
    close(*descriptor);
    *descriptor = -1;
}

static void close_socket(struct shm_link *link)
{
    close_descriptor(device_of(link), &link->socket);
    close_descriptor(device_of(link), &link->death);
}

void weft_shm_link_fail(struct shm_link *link, const char *reason)
{
    if (link->state < SHM_UP)
        device_of(link)->num_meeting--;
    link->state = SHM_DEAD;
    close_socket(link); // so that the peer learns of it
    weft_packet_fail(&link->packets, "%s", reason);
}

/* ---- progress ---- */

static int look_at_sockets(struct shm_device *device)
{
    int count = 0;
    device->since_look = 0;
    // One at a time: serving one source may free another.
    for (; count < READY_LIMIT; count++) {
        struct epoll_event event;
        if (epoll_wait(device->epoll, &event, 1, 0) != 1)
            break;
        struct shm_source *source = event.data.ptr;
        source->ready(device, source);
    }
    weft_shm_meet(device);
    return count;
}

static int device_progress(struct weft_device *base)
{
    struct shm_device *device = (struct shm_device *)base;
    int count = 0;
    weft_packet_enter(&device->packets);
    unsigned every = device->num_meeting ? LOOK_WHEN_MEETING : LOOK_EVERY;
    if (++device->since_look >= every || device->sleeping)
        count += look_at_sockets(device);
    for (struct shm_link *link = device->links; link; link = link->next) {
        if (link->state != SHM_UP && link->state != SHM_ENDED)
            continue;
        int received = receive(link);
        if (link->state == SHM_ENDED && !received) {
            weft_shm_link_fail(link, "peer has closed or died");
            received = 1;
        }
        count += received;
        if (weft_packet_has_pending(&link->packets))
            count += weft_packet_send_pending(&link->packets, PACKETS_PER_VISIT);
        if (link->packets.failed && link->state != SHM_DEAD) // failed above, or in a post
            weft_shm_link_fail(link, "");
    }
    weft_packet_leave(&device->packets);
    return count;
}

static int device_descriptor(struct weft_device *base)
{
    return ((struct shm_device *)base)->epoll;
}

static void device_arm(struct weft_device *base, bool sleeping)
{
    struct shm_device *device = (struct shm_device *)base;
    device->sleeping = sleeping;
    if (!sleeping)
        device->since_look = LOOK_EVERY; // what woke us is on a socket
    for (struct shm_link *link = device->links; link; link = link->next)
        if (link->state == SHM_UP)
            sleep_flag(link, sleeping);
}

/* ---- devices ---- */

static void device_close(struct weft_device **base)
{
    struct shm_device *device = (struct shm_device *)*base;
    *base = NULL;
    if (!device)
        return;
    weft_shm_guests_drop(device);
    weft_shm_pool_close(&device->pool);
    const int descriptors[] = {device->listener, device->epoll};
    for (int i = 0; i < 2; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    free(device);
}

static weft_status fill_self(struct shm_device *device, const struct weft_device_options *options,
                             struct weft_error *error)
{
    struct shm_address *self = &device->self;
    self->magic = address_magic;
    self->layout = WEFT_SHM_LAYOUT;
    self->uid = geteuid();
    memcpy(self->process_id, options->process_id, sizeof self->process_id);
    if (weft_machine_identify(&self->machine, error) != WEFT_OK)
        return weft_fail_prefix(error, "shm");
    if (getrandom(self->name, sizeof self->name, 0) != sizeof self->name ||
        getrandom(self->key, sizeof self->key, 0) != sizeof self->key ||
        getrandom(&device->seed, sizeof device->seed, 0) != sizeof device->seed)
        return weft_fail(error, WEFT_SYSTEM, "shm: no random numbers");
    return WEFT_OK;
}

static weft_status fill_device(struct shm_device *device, const struct weft_device_options *options,
                               struct weft_error *error)
{
    WEFT_TRY(fill_self(device, options, error));
    WEFT_TRY(weft_shm_pool_open(&device->pool, error));
    device->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (device->epoll < 0)
        return weft_fail(error, WEFT_SYSTEM, "shm: epoll: %s", strerror(errno));
    return weft_shm_listen(device, error);
}

static weft_status device_open(const struct weft_device_options *options, struct weft_device **base,
                               struct weft_error *error)
{
    struct shm_device *device = calloc(1, sizeof *device);
    if (!device)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "shm: no memory for a device");
    device->epoll = device->listener = device->pool.descriptor = -1;
    weft_packet_device_init(&device->packets, &weft_shm_transport, options);
    if (device->packets.eager_bytes > WEFT_SHM_SLOT_BYTES)
        device->packets.eager_bytes = WEFT_SHM_SLOT_BYTES;
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
    memcpy(address, &((struct shm_device *)base)->self, sizeof(struct shm_address));
}

static bool device_reachable(struct weft_device *base, const void *address, const char **reason)
{
    const struct shm_address *self = &((struct shm_device *)base)->self;
    struct shm_address peer;
    memcpy(&peer, address, sizeof peer);
    if (peer.magic != self->magic)
        *reason = "not an address of shm";
    else if (!weft_machine_same_boot(&peer.machine, &self->machine))
        *reason = "on another machine";
    else if (!weft_machine_same_network(&peer.machine, &self->machine))
        *reason = "in another network namespace";
    else if (peer.uid != self->uid)
        *reason = "process of another user";
    else if (peer.layout != self->layout)
        *reason = "another version of weft";
    else
        return true;
    return false;
}

static weft_status device_share(struct weft_device *base, size_t bytes, void **memory,
                                struct weft_shared_block *block, struct weft_error *error)
{
    return weft_shm_pool_share(&((struct shm_device *)base)->pool, bytes, memory, block, error);
}

static void device_unshare(struct weft_device *base, void *memory)
{
    weft_shm_pool_unshare(&((struct shm_device *)base)->pool, memory);
}

static bool device_locate(struct weft_device *base, const void *memory, size_t bytes,
                          struct weft_shared_block *block, size_t *within)
{
    return weft_shm_pool_locate(&((struct shm_device *)base)->pool, memory, bytes, block, within);
}

static weft_status link_map(struct weft_connection *connection,
                            const struct weft_shared_block *block, bool keep, void **memory)
{
    struct shm_link *link = (struct shm_link *)connection;
    if (link->state < SHM_UP)
        return WEFT_IN_PROGRESS;
    if (link->state == SHM_DEAD)
        return WEFT_REMOTE;
    return weft_shm_view_map(&link->view, block, keep, memory);
}

/* ---- connections ---- */

static void link_disconnect(struct weft_connection **connection)
{
    struct shm_link *link = (struct shm_link *)*connection;
    *connection = NULL;
    if (!link)
        return;
    struct shm_device *device = device_of(link);
    struct shm_link **place = &device->links;
    while (*place && *place != link)
        place = &(*place)->next;
    if (*place)
        *place = link->next;
    if (link->state < SHM_UP)
        device->num_meeting--;
    close_socket(link);
    if (link->ring >= 0)
        close(link->ring);
    if (link->reader.ring)
        munmap(link->reader.ring, sizeof *link->reader.ring);
    if (link->writer.ring)
        munmap(link->writer.ring, sizeof *link->writer.ring);
    weft_shm_view_close(&link->view);
    weft_packet_link_fini(&link->packets);
    free(link);
}

static weft_status link_connect(struct weft_device *base, const void *address,
                                const unsigned char *peer_id, uint64_t tag, void *user,
                                struct weft_connection **connection, struct weft_error *error)
{
    struct shm_device *device = (struct shm_device *)base;
    const char *reason = NULL;
    if (!device_reachable(base, address, &reason))
        return weft_fail(error, WEFT_UNSUPPORTED, "shm: cannot connect: %s", reason);
    struct shm_link *link = calloc(1, sizeof *link);
    if (!link)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "shm: no memory for a connection");
    weft_packet_link_init(&link->packets, &device->packets, &port, WEFT_SHM_SLOT_BYTES, user,
                          device->seed);
    memcpy(&link->peer, address, sizeof link->peer);
    link->tag = tag;
    link->socket = link->ring = link->death = link->view.descriptor = -1;
    bool calls = memcmp(device->self.process_id, peer_id, WEFT_PROCESS_ID_BYTES) < 0;
    link->state = SHM_DEAD; // not counted among those that meet until the end
    struct weft_connection *made = &link->packets.base;
    weft_status status = WEFT_OK;
    if (memcmp(link->peer.process_id, peer_id, WEFT_PROCESS_ID_BYTES) != 0 ||
        memcmp(device->self.process_id, peer_id, WEFT_PROCESS_ID_BYTES) == 0)
        status = weft_fail(error, WEFT_UNSUPPORTED, "shm: the address is not the peer's");
    void *ring = NULL;
    if (status == WEFT_OK)
        status = weft_shm_memory_make(sizeof *link->reader.ring, &link->ring, &ring, error);
    link->reader.ring = ring;
    if (status == WEFT_OK && calls) {
        link->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (link->socket < 0)
            status = weft_fail(error, WEFT_SYSTEM, "shm: socket: %s", strerror(errno));
    }
    if (status != WEFT_OK) {
        link_disconnect(&made);
        return status;
    }
    link->state = calls ? SHM_CALLING : SHM_WAITING;
    link->next = device->links;
    device->links = link;
    device->num_meeting++;
    device->since_look = LOOK_EVERY; // all else happens in progress
    *connection = made;
    return WEFT_OK;
}

const struct weft_transport weft_shm_transport = {
    .name = "shm",
    .capabilities = WEFT_TRANSPORT_SHARES,
    .eager_bytes = 8 << 10,
    .open = device_open,
    .close = device_close,
    .address = device_address,
    .reachable = device_reachable,
    .share = device_share,
    .unshare = device_unshare,
    .locate = device_locate,
    .map = link_map,
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
