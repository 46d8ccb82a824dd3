/*
 * SPDX-License-Identifier: Apache-2.0
 * How two ends come to write into each other's memory. Both know the paths between their ports
 * from their addresses. Over an inner TCP connection, which is authenticated, each says hello: the
 * numbers of its queue pairs and where its ring is. Once its queues can receive it says ready; who
 * has heard that sends. The inner connection stays: its end is the peer's end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "transport/verbs_parts.h"

enum { LANE_HELLO = 1, LANE_SYNC, LANE_READY };
enum { RINGS_BYTES = 2 * VERBS_RING_BYTES };

static const uint64_t hello_magic = 0x6f6c6c6568627201u;
static const int64_t drain_ns = 2000000; // for what the network still delivers from who has closed

/* ---- notes on the inner connection ---- */

static void prepare_note(struct verbs_link *link, struct verbs_note *note, int lane, void *data,
                         size_t bytes, void (*complete)(struct weft_transfer *transfer))
{
    note->link = link;
    note->transfer = (struct weft_transfer){
        .key = {.lane = (uint16_t)lane}, .data = data, .bytes = bytes, .complete = complete};
}

bool weft_verbs_note_send(struct verbs_link *link, struct verbs_note *note)
{
    note->transfer.key.index = link->epoch;
    return weft_tcp_transport.post_send(link->side, &note->transfer) == WEFT_OK;
}

bool weft_verbs_note_expect(struct verbs_link *link, struct verbs_note *note, uint32_t epoch)
{
    note->transfer.key.index = epoch;
    return weft_tcp_transport.post_recv(link->side, &note->transfer) == WEFT_OK;
}

static void sent(struct weft_transfer *transfer)
{
    (void)transfer; // a failure is told by weft_verbs_side_failed
}

static void meet_first(struct verbs_link *link)
{
    if (link->peer.magic != hello_magic || link->peer.num_rails != (uint64_t)link->num_rails) {
        weft_verbs_link_fail(link,
                             "the peer speaks another version, or sees other ports: it has "
                             "%llu paths, not %d",
                             (unsigned long long)link->peer.num_rails, link->num_rails);
        return;
    }
    link->joined = (UINT64_C(1) << link->num_rails) - 1;
    if (!weft_verbs_join(link, link->joined))
        return;
    if (link->joined)
        weft_verbs_come_up(link);
    else
        weft_verbs_link_fail(link, "%s", link->cause);
}

static void hello_came(struct weft_transfer *transfer)
{
    struct verbs_link *link = ((struct verbs_note *)transfer)->link;
    if (transfer->status == WEFT_OK && link->state == VERBS_MEETING)
        meet_first(link);
    else if (transfer->status == WEFT_MISMATCH)
        weft_verbs_link_fail(link, "the peer speaks another version");
}

static void ready_came(struct weft_transfer *transfer)
{
    struct verbs_link *link = ((struct verbs_note *)transfer)->link;
    if (transfer->status != WEFT_OK)
        return;
    link->has_ready = true;
    weft_verbs_come_up(link);
}

static void sync_came(struct weft_transfer *transfer)
{
    if (transfer->status == WEFT_OK)
        weft_verbs_sync_came(((struct verbs_note *)transfer)->link);
}

void weft_verbs_side_failed(void *user, struct weft_connection *connection, const char *reason)
{
    (void)user;
    struct verbs_link *link = connection->user;
    if (link->is_side_gone)
        return;
    link->is_side_gone = true;
    char path[WEFT_VERBS_PATH_TEXT_BYTES];
    weft_verbs_rail_text(link->rails[0], path, sizeof path);
    const char *why = weft_verbs_unnamed(reason, "tcp: ");
    if (link->state == VERBS_MEETING) {
        weft_verbs_link_fail(link, "%.140s: %s", path, why);
    } else if (link->state != VERBS_DEAD) {
        snprintf(link->cause, sizeof link->cause, "%.140s: %s", path, why);
        weft_verbs_link_turn(link, VERBS_ENDED);
        link->ended_ns = weft_deadline_after(drain_ns);
    }
}

static weft_status connect_side(struct verbs_link *link, const struct verbs_address *peer,
                                const unsigned char *peer_id, uint64_t tag,
                                struct weft_error *error)
{
    const struct weft_transport *tcp = &weft_tcp_transport;
    unsigned char address[WEFT_ADDRESS_BYTES] = {0};
    memcpy(address, peer->side, sizeof peer->side);
    WEFT_TRY(tcp->connect(weft_verbs_device_of(link)->side, address, peer_id, tag, link,
                          &link->side, error));
    prepare_note(link, &link->hello_out, LANE_HELLO, &link->own, sizeof link->own, sent);
    prepare_note(link, &link->hello_in, LANE_HELLO, &link->peer, sizeof link->peer, hello_came);
    prepare_note(link, &link->sync_out, LANE_SYNC, &link->own_sync, sizeof link->own_sync, sent);
    prepare_note(link, &link->sync_in, LANE_SYNC, &link->peer_sync, sizeof link->peer_sync,
                 sync_came);
    prepare_note(link, &link->ready_out, LANE_READY, NULL, 0, sent);
    prepare_note(link, &link->ready_in, LANE_READY, NULL, 0, ready_came);
    if (!weft_verbs_note_expect(link, &link->hello_in, 0) ||
        !weft_verbs_note_expect(link, &link->ready_in, 0) ||
        !weft_verbs_note_expect(link, &link->sync_in, 1) ||
        !weft_verbs_note_send(link, &link->hello_out))
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "verbs: no memory for a connection");
    return WEFT_OK;
}

/* ---- memory and rails ---- */

/* The ring of what arrives, then the image of the peer's; NULL: no memory. */
static void *map_rings(struct weft_error *error)
{
    void *memory =
        mmap(NULL, RINGS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        (void)!weft_fail(error, WEFT_OUT_OF_MEMORY, "verbs: no memory for a connection: %s",
                         strerror(errno));
        return NULL;
    }
    // A child that is forked must not make the pages move.
    (void)!madvise(memory, RINGS_BYTES, MADV_DONTFORK);
    return memory;
}

static weft_status register_rings(struct verbs_device *device, int hca, void *memory,
                                  const struct weft_verbs_region **region, struct weft_error *error)
{
    const struct weft_verbs_range range = {
        .start = memory, .bytes = RINGS_BYTES, .access = VERBS_WRITE_ACCESS, .dmabuf = -1};
    return weft_verbs_memory_acquire(device->hcas[hca].memory, &range, region, error);
}

static weft_status make_memory(struct verbs_link *link, struct weft_error *error)
{
    struct verbs_device *device = weft_verbs_device_of(link);
    link->memory = map_rings(error);
    if (!link->memory)
        return WEFT_OUT_OF_MEMORY;
    for (int i = 0; i < link->num_rails; i++) {
        int hca = device->ports.ports[link->paths[i].own].device;
        if (!link->regions[hca])
            WEFT_TRY(register_rings(device, hca, link->memory, &link->regions[hca], error));
    }
    return WEFT_OK;
}

weft_status weft_verbs_meet_try(struct verbs_device *device, int hca, struct weft_error *error)
{
    const struct weft_verbs_region *region;
    void *memory = map_rings(error);
    if (!memory)
        return WEFT_OUT_OF_MEMORY;
    weft_status status = register_rings(device, hca, memory, &region, error);
    if (status == WEFT_OK) {
        status = weft_verbs_rail_try(device, hca, error);
        weft_verbs_memory_release(device->hcas[hca].memory, region);
    }
    munmap(memory, RINGS_BYTES);
    return status;
}

weft_status weft_verbs_meet(struct verbs_link *link, const struct verbs_address *peer,
                            const unsigned char *peer_id, uint64_t tag, struct weft_error *error)
{
    struct verbs_device *device = weft_verbs_device_of(link);
    WEFT_TRY(make_memory(link, error));
    link->own = (struct verbs_hello){.magic = hello_magic,
                                     .ring = (uintptr_t)link->memory,
                                     .num_rails = (uint64_t)link->num_rails};
    for (int i = 0; i < link->num_rails; i++) {
        WEFT_TRY(weft_verbs_rail_open(link, i, &link->rails[i], error));
        struct verbs_hello_rail *own = &link->own.rails[i];
        int port = link->paths[i].own, hca = device->ports.ports[port].device;
        *own = (struct verbs_hello_rail){.queue_number = link->rails[i]->qp->qp_num,
                                         .packet_number = link->rails[i]->packet_number,
                                         .ring_key = link->regions[hca]->remote_key,
                                         .mtu = (uint32_t)link->paths[i].mtu};
        weft_verbs_port_name(&device->ports, port, own->port, sizeof own->port);
    }
    return connect_side(link, peer, peer_id, tag, error);
}

void weft_verbs_part(struct verbs_link *link)
{
    struct verbs_device *device = weft_verbs_device_of(link);
    for (int i = 0; i < WEFT_VERBS_MAX_PATHS; i++)
        weft_verbs_rail_close(&link->rails[i]);
    weft_verbs_direct_free(link);
    for (int i = 0; i < WEFT_VERBS_MAX_PORTS; i++) {
        if (link->regions[i])
            weft_verbs_memory_release(device->hcas[i].memory, link->regions[i]);
        link->regions[i] = NULL;
    }
    if (link->memory)
        munmap(link->memory, RINGS_BYTES);
    link->memory = NULL;
    weft_tcp_transport.disconnect(&link->side);
}
