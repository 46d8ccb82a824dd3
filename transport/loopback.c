/*
 * SPDX-License-Identifier: Apache-2.0
 * Loopback: all ends in one process, for tests. An address is a pointer to the device with a random
 * check value; nothing is global. Each progress delivers a random few of the packets that wait, in
 * random order across connections, in fragments of random size, and now and then refuses a packet
 * or borrows its payload, all from a seed: so one thread that polls all ranks meets interleavings
 * that real transports show once in a million runs. Never used between processes.
 */
#include "transport/transport.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "transport/no_memory.h"
#include "transport/packet.h"

enum { FLIGHTS_LIMIT = 8, FRAGMENT_LIMIT = 4096 };

static const uint64_t magic = 0x6b636162706f6f6cu;

struct flight {
    struct flight *next;
    struct weft_packet packet;
    struct loopback_link *lender; // whose payload is borrowed, or NULL: it is in `copy`
    const void *borrowed;
    unsigned char copy[]; // payload_bytes, exactly, so that sanitizers see an overrun
};

struct loopback_link {
    struct weft_packet_link packets;
    struct loopback_link *next; // of the device
    struct loopback_device *peer;
    struct loopback_link *partner; // NULL until the peer has connected, and after it has gone
    uint64_t tag;
    bool partner_gone;
    struct flight *first; // to be delivered here
    struct flight *last;
    int num_flights;
    struct flight *lent;   // one of the partner's flights reads our payload
    bool payload_returned; // and does not need it any more
};

struct loopback_device {
    struct weft_packet_device packets;
    uint64_t check;
    uint64_t random;
    bool seeded;
    unsigned char process_id[WEFT_PROCESS_ID_BYTES];
    struct loopback_link *links;
};

struct loopback_address {
    uint64_t magic;
    uint64_t pid;
    uint64_t check;
    struct loopback_device *device;
};
_Static_assert(sizeof(struct loopback_address) <= WEFT_ADDRESS_BYTES, "fits");

static uint64_t random_next(struct loopback_device *device)
{
    uint64_t z = device->random += 0x9e3779b97f4a7c15u; // splitmix64
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static unsigned random_below(struct loopback_device *device, unsigned limit)
{
    return (unsigned)(random_next(device) >> 32) % limit;
}

static void seed_device(struct loopback_device *device, uint64_t seed)
{
    uint64_t id[2];
    memcpy(id, device->process_id, sizeof id);
    device->random = seed * 0x2545f4914f6cdd1du ^ id[0] ^ id[1];
    device->seeded = true;
}

/* ---- packets ---- */

static struct loopback_link *link_of(struct weft_packet_link *packets)
{
    return (struct loopback_link *)packets;
}

static struct loopback_device *device_of(struct loopback_link *link)
{
    return (struct loopback_device *)link->packets.device;
}

static enum weft_push push(struct weft_packet_link *packets, const struct weft_packet *packet,
                           const void *payload)
{
    struct loopback_link *link = link_of(packets);
    struct loopback_device *device = device_of(link);
    struct loopback_link *partner = link->partner;
    if (!partner || link->lent || link->payload_returned || partner->num_flights == FLIGHTS_LIMIT ||
        random_below(device, 8) == 0)
        return WEFT_PUSH_BUSY;
    struct flight *flight = malloc(sizeof *flight + packet->payload_bytes);
    if (!flight)
        return WEFT_PUSH_BUSY;
    *flight = (struct flight){.packet = *packet};
    if (packet->payload_bytes && random_below(device, 4) == 0) {
        flight->lender = link;
        flight->borrowed = payload;
        link->lent = flight;
    } else if (packet->payload_bytes) {
        memcpy(flight->copy, payload, packet->payload_bytes);
    }
    if (partner->last)
        partner->last->next = flight;
    else
        partner->first = flight;
    partner->last = flight;
    partner->num_flights++;
    link->packets.fragment_bytes =
        WEFT_PACKET_FRAGMENT_LEAST +
        random_below(device, FRAGMENT_LIMIT + 1 - WEFT_PACKET_FRAGMENT_LEAST);
    return flight->lender ? WEFT_PUSH_BORROWED : WEFT_PUSH_DONE;
}

/* Ends the loan of `flight`: the payload is in the flight now. */
static void settle(struct flight *flight)
{
    memcpy(flight->copy, flight->borrowed, flight->packet.payload_bytes);
    flight->lender->lent = NULL;
    flight->lender = NULL;
}

static void unborrow(struct weft_packet_link *packets)
{
    struct loopback_link *link = link_of(packets);
    link->payload_returned = false;
    if (link->lent)
        settle(link->lent);
}

static const struct weft_packet_port port = {.push = push, .unborrow = unborrow};

static void feed_in_parts(struct loopback_device *device, struct weft_packet_link *packets,
                          const struct flight *flight, struct weft_packet_open *open)
{
    for (size_t fed = 0, end = 0; open->left;) {
        end += 1 + random_below(device, flight->packet.payload_bytes - (uint32_t)end);
        const unsigned char *part = flight->copy + fed;
        unsigned char *place = weft_packet_place(packets, open);
        if (place && random_below(device, 2) == 0)
            part = memcpy(place, part, end - fed);
        fed += weft_packet_feed(packets, open, part, end - fed);
    }
}

static void deliver_first(struct loopback_link *link)
{
    struct flight *flight = link->first;
    struct loopback_link *lender = flight->lender;
    if (lender) {
        settle(flight);
        lender->payload_returned = true; // told in the lender's own progress
    }
    link->first = flight->next;
    if (!link->first)
        link->last = NULL;
    link->num_flights--;
    struct weft_packet_link *packets = &link->packets;
    struct loopback_device *device = (struct loopback_device *)packets->device;
    struct weft_packet_open open = {0};
    if (random_below(device, 2) == 0 && weft_packet_open(packets, &flight->packet, &open)) {
        feed_in_parts(device, packets, flight, &open);
    } else {
        weft_packet_deliver(packets, &flight->packet, flight->copy);
    }
    free(flight);
}

static void drop_flights(struct loopback_link *link)
{
    struct flight *flight;
    while ((flight = link->first)) {
        link->first = flight->next;
        if (flight->lender)
            flight->lender->lent = NULL;
        free(flight);
    }
    link->last = NULL;
    link->num_flights = 0;
}

/* The other end learns, like a process whose peer has closed its socket. */
static void part(struct loopback_link *link)
{
    drop_flights(link);
    if (link->lent)
        settle(link->lent);
    if (link->partner) {
        link->partner->partner = NULL;
        link->partner->partner_gone = true;
    }
    link->partner = NULL;
    link->partner_gone = true;
}

/* ---- progress ---- */

/* Delivers a few packets, each to a random link. Returns how many. */
static int deliver_some(struct loopback_device *device)
{
    int delivered = 0;
    for (unsigned round = random_below(device, 12); round > 0; round--) {
        unsigned waiting = 0;
        for (struct loopback_link *link = device->links; link; link = link->next)
            waiting += link->first && !link->packets.failed;
        if (!waiting)
            break;
        unsigned chosen = random_below(device, waiting);
        struct loopback_link *link = device->links;
        while (!link->first || link->packets.failed || chosen--)
            link = link->next;
        deliver_first(link);
        delivered++;
    }
    return delivered;
}

static int progress_link(struct loopback_device *device, struct loopback_link *link)
{
    int count = 0;
    if (link->payload_returned && random_below(device, 2) == 0) {
        link->payload_returned = false;
        weft_packet_pushed(&link->packets);
        count++;
    }
    if (random_below(device, 4) != 0)
        count += weft_packet_send_pending(&link->packets, 1 + (int)random_below(device, 4));
    if (link->packets.failed) {
        part(link);
        return count;
    }
    if (link->partner_gone && !link->first) {
        weft_packet_fail(&link->packets, "peer has disconnected");
        return count + 1;
    }
    bool movable = link->partner && weft_packet_has_pending(&link->packets);
    return count + (link->first || movable || link->payload_returned);
}

static int loopback_progress(struct weft_device *base)
{
    struct loopback_device *device = (struct loopback_device *)base;
    weft_packet_enter(&device->packets);
    int count = deliver_some(device);
    for (struct loopback_link *link = device->links; link; link = link->next)
        count += progress_link(device, link);
    weft_packet_leave(&device->packets);
    return count;
}

static int loopback_descriptor(struct weft_device *base)
{
    (void)base;
    return -1;
}

static void loopback_arm(struct weft_device *base, bool sleeping)
{
    (void)base;
    (void)sleeping;
}

/* ---- devices ---- */

static void loopback_close(struct weft_device **base)
{
    struct loopback_device *device = (struct loopback_device *)*base;
    *base = NULL;
    if (!device)
        return;
    device->check = 0;
    free(device);
}

static weft_status loopback_open(const struct weft_device_options *options,
                                 struct weft_device **base, struct weft_error *error)
{
    struct loopback_device *device = calloc(1, sizeof *device);
    if (!device)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "loopback: no memory for a device");
    weft_packet_device_init(&device->packets, &weft_loopback_transport, options);
    memcpy(device->process_id, options->process_id, sizeof device->process_id);
    seed_device(device, 0);
    device->seeded = false;
    struct weft_device *made = &device->packets.base;
    if (getrandom(&device->check, sizeof device->check, 0) != sizeof device->check) {
        loopback_close(&made);
        return weft_fail(error, WEFT_SYSTEM, "loopback: no random numbers");
    }
    *base = made;
    return WEFT_OK;
}

static void loopback_address(struct weft_device *base, void *address)
{
    struct loopback_device *device = (struct loopback_device *)base;
    struct loopback_address made = {
        .magic = magic, .pid = (uint64_t)getpid(), .check = device->check, .device = device};
    memset(address, 0, WEFT_ADDRESS_BYTES);
    memcpy(address, &made, sizeof made);
}

/* The device behind `address`, or NULL and why not. */
static struct loopback_device *find_device(const void *address, const char **reason)
{
    struct loopback_address read;
    memcpy(&read, address, sizeof read);
    if (read.magic != magic)
        *reason = "not an address of loopback";
    else if (read.pid != (uint64_t)getpid())
        *reason = "in another process";
    else if (read.device->check != read.check)
        *reason = "device is closed";
    else
        return read.device;
    return NULL;
}

static bool loopback_reachable(struct weft_device *base, const void *address, const char **reason)
{
    (void)base;
    return find_device(address, reason) != NULL;
}

/* ---- connections ---- */

static void pair(struct loopback_link *link)
{
    struct loopback_device *device = device_of(link);
    struct loopback_link *other = link->peer->links;
    while (other && (other->peer != device || other->partner || other->partner_gone ||
                     other->tag != link->tag))
        other = other->next;
    if (!other)
        return;
    link->partner = other;
    other->partner = link;
    if (link->peer->seeded && !device->seeded)
        seed_device(device, link->peer->random);
}

static weft_status loopback_connect(struct weft_device *base, const void *address,
                                    const unsigned char *peer_id, uint64_t tag, void *user,
                                    struct weft_connection **connection, struct weft_error *error)
{
    struct loopback_device *device = (struct loopback_device *)base;
    const char *reason = NULL;
    struct loopback_device *peer = find_device(address, &reason);
    if (!peer)
        return weft_fail(error, WEFT_UNSUPPORTED, "loopback: cannot connect: %s", reason);
    if (peer == device || memcmp(peer->process_id, peer_id, WEFT_PROCESS_ID_BYTES) != 0)
        return weft_fail(error, WEFT_UNSUPPORTED, "loopback: the address is not the peer's");
    struct loopback_link *link = calloc(1, sizeof *link);
    if (!link)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "loopback: no memory for a connection");
    weft_packet_link_init(&link->packets, &device->packets, &port, WEFT_PACKET_FRAGMENT_LEAST, user,
                          device->check);
    link->peer = peer;
    link->tag = tag;
    pair(link);
    struct loopback_link **end = &device->links;
    while (*end)
        end = &(*end)->next;
    *end = link;
    *connection = &link->packets.base;
    return WEFT_OK;
}

static void loopback_disconnect(struct weft_connection **connection)
{
    struct loopback_link *link = (struct loopback_link *)*connection;
    *connection = NULL;
    if (!link)
        return;
    struct loopback_link **place = &device_of(link)->links;
    while (*place != link)
        place = &(*place)->next;
    *place = link->next;
    part(link);
    weft_packet_link_fini(&link->packets);
    free(link);
}

void weft_loopback_seed(struct weft_device *base, uint64_t seed)
{
    struct loopback_device *device = (struct loopback_device *)base;
    seed_device(device, seed);
    for (struct loopback_link *link = device->links; link; link = link->next)
        if (link->partner)
            seed_device(link->peer, seed);
}

const struct weft_transport weft_loopback_transport = {
    .name = "loopback",
    .capabilities = 0,
    .eager_bytes = 8 << 10,
    .open = loopback_open,
    .close = loopback_close,
    .address = loopback_address,
    .reachable = loopback_reachable,
    .share = weft_no_share,
    .unshare = weft_no_unshare,
    .locate = weft_no_locate,
    .map = weft_no_map,
    .remember = weft_no_remember,
    .forget = weft_no_forget,
    .progress = loopback_progress,
    .descriptor = loopback_descriptor,
    .arm = loopback_arm,
    .connect = loopback_connect,
    .disconnect = loopback_disconnect,
    .post_send = weft_packet_post_send,
    .post_recv = weft_packet_post_recv,
    .cancel = weft_packet_cancel,
};
