/*
 * SPDX-License-Identifier: Apache-2.0
 * Large messages, written by the sender straight into the memory of the receive. When a receive
 * accepts one, its memory is registered and the peer is told where it is, ahead of the grant; the
 * peer registers what it sends and writes chunks, over all rails. Chunks are records like packets:
 * numbered, taken in order, sent again after a failure.
 *
 * Whoever cancels such a transfer needs its memory back at once: the rails are stopped before
 * cancel returns, and both ends begin anew (verbs_resync.c), with chunks that became void.
 */
#include <string.h>

#include "base/array.h"
#include "transport/verbs_parts.h"

/* ---- registered memory ---- */

static void release(struct verbs_link *link, const struct weft_verbs_region **regions)
{
    for (int i = 0; i < WEFT_VERBS_MAX_PORTS; i++) {
        if (regions[i])
            weft_verbs_memory_release(weft_verbs_device_of(link)->hcas[i].memory, regions[i]);
        regions[i] = NULL;
    }
}

void weft_verbs_remember(struct verbs_device *device, void *memory, size_t bytes)
{
    struct verbs_remembered *larger = weft_array_grow(device->remembered, device->num_remembered,
                                                      &device->remembered_room, sizeof *larger);
    if (!larger)
        return; // it is registered for as long as it is in use, like any memory
    device->remembered = larger;
    device->remembered[device->num_remembered++] =
        (struct verbs_remembered){.start = (uintptr_t)memory, .bytes = bytes};
}

void weft_verbs_forget(struct verbs_device *device, const void *memory)
{
    for (int i = 0; i < device->num_remembered; i++) {
        const struct verbs_remembered one = device->remembered[i];
        if (one.start != (uintptr_t)memory)
            continue;
        device->remembered[i] = device->remembered[--device->num_remembered];
        for (int hca = 0; hca < device->ports.num_devices; hca++)
            weft_verbs_memory_forget(device->hcas[hca].memory, memory, one.bytes);
        return;
    }
}

static const struct verbs_remembered *find_remembered(const struct verbs_device *device,
                                                      const void *start, uint64_t bytes)
{
    for (int i = 0; i < device->num_remembered; i++) {
        const struct verbs_remembered *one = &device->remembered[i];
        uintptr_t within = (uintptr_t)start - one->start;
        if (within < one->bytes && bytes <= one->bytes - within)
            return one;
    }
    return NULL;
}

/* All of memory that stays, once and for both ways; of other memory what is used, while it is. */
static weft_status acquire_on(struct verbs_device *device, int hca,
                              const struct weft_verbs_range *range,
                              const struct weft_verbs_region **region)
{
    struct weft_error error;
    struct weft_verbs_memory *memory = device->hcas[hca].memory;
    const struct verbs_remembered *stays = find_remembered(device, range->start, range->bytes);
    if (stays) {
        const struct weft_verbs_range all = {.start = (void *)stays->start,
                                             .bytes = stays->bytes,
                                             .access = VERBS_WRITE_ACCESS,
                                             .is_kept = true,
                                             .dmabuf = -1};
        if (weft_verbs_memory_acquire(memory, &all, region, &error) == WEFT_OK)
            return WEFT_OK;
    }
    return weft_verbs_memory_acquire(memory, range, region, &error);
}

/* On every HCA that a rail of the link uses. False: packets have to do. */
static bool acquire(struct verbs_link *link, void *start, uint64_t bytes, int access,
                    const struct weft_verbs_region **regions)
{
    const struct weft_verbs_range range = {
        .start = start, .bytes = bytes, .access = access, .dmabuf = -1};
    for (int i = 0; i < link->num_rails; i++) {
        int hca = (int)(link->rails[i]->hca - weft_verbs_device_of(link)->hcas);
        if (!regions[hca] &&
            acquire_on(weft_verbs_device_of(link), hca, &range, &regions[hca]) != WEFT_OK) {
            release(link, regions);
            return false;
        }
    }
    return true;
}

/* ---- receiving ---- */

static void free_place(struct verbs_link *link, struct verbs_place *place)
{
    release(link, place->regions);
    place->transfer = NULL;
    link->num_places--;
}

static void accept(struct weft_packet_link *packets, struct weft_transfer *transfer,
                   uint64_t handle)
{
    struct verbs_link *link = (struct verbs_link *)packets;
    int number = 0;
    while (number < VERBS_PLACES && (link->places[number].transfer || link->revoked >> number & 1))
        number++;
    if (transfer->bytes < VERBS_DIRECT_BYTES || number == VERBS_PLACES || link->state != VERBS_UP ||
        packets->control_count)
        return;
    struct verbs_place *place = &link->places[number];
    if (!acquire(link, transfer->data, transfer->bytes, VERBS_WRITE_ACCESS, place->regions))
        return;
    struct verbs_where where = {
        .start = (uintptr_t)transfer->data, .bytes = transfer->bytes, .place = (uint32_t)number};
    for (int i = 0; i < link->num_rails; i++)
        where.keys[i] =
            place->regions[link->rails[i]->hca - weft_verbs_device_of(link)->hcas]->remote_key;
    const struct weft_packet packet = {
        .type = VERBS_PACKET_PLACE, .payload_bytes = sizeof where, .handle = handle};
    if (weft_verbs_port.push(packets, &packet, &where) == WEFT_PUSH_BUSY) {
        release(link, place->regions); // no room ahead of the grant: it comes in packets
        return;
    }
    place->transfer = transfer;
    place->handle = handle;
    place->offset = 0;
    link->num_places++;
}

bool weft_verbs_chunk_landed(struct verbs_link *link, uint32_t number, uint32_t bytes)
{
    struct verbs_place *place = &link->places[number % VERBS_PLACES];
    if (number < VERBS_PLACES && link->revoked >> number & 1)
        return true;
    if (number >= VERBS_PLACES || !place->transfer || bytes == 0)
        return false;
    const struct weft_packet packet = {.type = WEFT_PACKET_DATA,
                                       .payload_bytes = bytes,
                                       .value = place->offset,
                                       .handle = place->handle};
    struct weft_packet_open open;
    if (!weft_packet_open(&link->packets, &packet, &open))
        return false;
    place->offset += bytes;
    // It is in its place already.
    weft_packet_feed(&link->packets, &open, weft_packet_place(&link->packets, &open), bytes);
    if (!weft_packet_is_open(&link->packets, place->handle))
        free_place(link, place);
    return true;
}

void weft_verbs_place_sweep(struct verbs_link *link)
{
    for (int i = 0, left = link->num_places; left > 0; i++) {
        struct verbs_place *place = &link->places[i];
        left -= place->transfer != NULL;
        if (place->transfer && !weft_packet_is_open(&link->packets, place->handle))
            free_place(link, place);
    }
}

void weft_verbs_places_revoked(struct verbs_link *link)
{
    // What has come for them and is not yet taken counts as void.
    for (int i = 0; i < VERBS_WINDOW; i++) {
        struct verbs_slot *slot = &link->window[i];
        if (slot->is_here && slot->kind == VERBS_CHUNK && slot->place < VERBS_PLACES &&
            link->revoked >> slot->place & 1)
            slot->kind = VERBS_VOID;
    }
    link->revoked = 0;
}

/* ---- sending ---- */

static void free_load(struct verbs_link *link, struct verbs_load *load)
{
    release(link, load->regions);
    link->num_loads -= load->transfer != NULL;
    load->transfer = NULL;
    load->is_known = false;
}

bool weft_verbs_place_told(struct verbs_link *link, const struct weft_packet *packet,
                           const void *payload)
{
    struct verbs_where where;
    struct verbs_load *unused = NULL;
    if (packet->payload_bytes != sizeof where)
        return false;
    memcpy(&where, payload, sizeof where);
    if (where.place >= VERBS_PLACES)
        return false;
    for (int i = 0; i < VERBS_LOADS; i++) {
        struct verbs_load *load = &link->loads[i];
        // A message that was cancelled before its grant came never used its place.
        if (load->is_known && !load->transfer && load->where.place == where.place)
            load->is_known = false;
        if (!load->is_known && !unused)
            unused = load;
    }
    if (!unused)
        return false;
    if (link->unwanted[where.place] == packet->handle) // what is granted next goes in packets
        return true;
    *unused = (struct verbs_load){.is_known = true, .handle = packet->handle, .where = where};
    return true;
}

static bool take(struct weft_packet_link *packets, struct weft_transfer *transfer, uint64_t handle,
                 uint8_t unit)
{
    (void)unit;
    struct verbs_link *link = (struct verbs_link *)packets;
    for (int i = 0; i < VERBS_LOADS; i++) {
        struct verbs_load *load = &link->loads[i];
        if (!load->is_known || load->transfer || load->handle != handle)
            continue;
        if (load->where.bytes != transfer->bytes ||
            !acquire(link, transfer->data, transfer->bytes, 0, load->regions)) {
            load->is_known = false;
            return false;
        }
        load->transfer = transfer;
        link->num_loads++;
        return true;
    }
    return false;
}

/* Whether all its work requests are done; asks for completions where they are not. */
static bool is_done(struct verbs_link *link, struct verbs_load *load)
{
    for (int i = 0; i < link->num_rails; i++) {
        struct verbs_rail *rail = link->rails[i];
        if (!(load->rails >> i & 1))
            continue;
        if ((int32_t)(rail->done - load->last[i]) >= 0)
            load->rails &= ~(UINT64_C(1) << i);
        else
            weft_verbs_rail_want(rail);
    }
    return load->rails == 0;
}

/* One chunk. False: no room. */
static bool write_chunk(struct verbs_link *link, int number)
{
    struct verbs_load *load = &link->loads[number];
    uint64_t left = load->transfer->bytes - load->offset;
    uint32_t bytes = (uint32_t)(left < VERBS_CHUNK_BYTES ? left : VERBS_CHUNK_BYTES);
    if (link->out_records - link->out_consumed >= VERBS_WINDOW)
        return false;
    link->log[link->out_records % VERBS_WINDOW] = (struct verbs_sent){
        .from = (unsigned char *)load->transfer->data + load->offset,
        .to = load->where.start + load->offset,
        .bytes = bytes,
        .load = number,
        .immediate = weft_verbs_word(VERBS_CHUNK, link->out_records, load->where.place)};
    if (!weft_verbs_send_record(link, link->out_records))
        return false;
    load->offset += bytes;
    link->replayed = ++link->out_records;
    return true;
}

/* A chunk of each message in turn, while there is room. */
static int write_chunks(struct verbs_link *link)
{
    int count = 0, before;
    do {
        before = count;
        for (int i = 0, seen = 0; seen < link->num_loads && link->state == VERBS_UP; i++) {
            const struct verbs_load *load = &link->loads[i];
            seen += load->transfer != NULL;
            if (load->transfer && load->offset < load->transfer->bytes)
                count += write_chunk(link, i);
        }
    } while (count > before);
    return count;
}

int weft_verbs_loads_serve(struct verbs_link *link)
{
    if (link->state != VERBS_UP || !weft_verbs_is_replayed(link))
        return 0;
    int count = write_chunks(link);
    for (int i = 0, left = link->num_loads; left > 0 && link->state == VERBS_UP; i++) {
        struct verbs_load *load = &link->loads[i];
        struct weft_transfer *transfer = load->transfer;
        left -= transfer != NULL;
        if (!transfer || load->offset < transfer->bytes || !is_done(link, load))
            continue;
        free_load(link, load);
        weft_packet_sent(&link->packets, transfer);
        count++;
    }
    return count;
}

/* Chunks that the peer has not taken stand for nothing from now on. */
static void void_chunks(struct verbs_link *link, int number)
{
    for (uint32_t n = link->out_consumed; n != link->out_records; n++) {
        struct verbs_sent *sent = &link->log[n % VERBS_WINDOW];
        if (sent->load == number)
            *sent = (struct verbs_sent){
                .to = link->peer.ring, .load = -1, .immediate = weft_verbs_word(VERBS_VOID, n, 0)};
    }
}

void weft_verbs_loads_rejoin(struct verbs_link *link, const struct verbs_sync *peer)
{
    for (int i = 0; i < VERBS_PLACES; i++)
        if (peer->revoked >> i & 1) // the word of such a place may still be on its way
            link->unwanted[i] = peer->handles[i];
    for (int i = 0; i < VERBS_LOADS; i++) {
        struct verbs_load *load = &link->loads[i];
        struct weft_transfer *transfer = load->transfer;
        load->rails = 0; // what the peer does not have is written again
        if (!load->is_known || !(peer->revoked >> load->where.place & 1) ||
            load->handle != peer->handles[load->where.place])
            continue;
        void_chunks(link, i);
        free_load(link, load);
        if (transfer)
            weft_packet_unwanted(&link->packets, transfer);
    }
}

/* ---- cancel, failure ---- */

static void revoke_place(struct verbs_link *link, int number)
{
    weft_verbs_rails_stop(link);
    link->revoked |= UINT64_C(1) << number;
    link->revoked_handles[number] = link->places[number].handle;
    free_place(link, &link->places[number]);
}

static void revoke_load(struct verbs_link *link, int number)
{
    weft_verbs_rails_stop(link);
    void_chunks(link, number);
    free_load(link, &link->loads[number]);
}

static void revoke(struct weft_packet_link *packets, struct weft_transfer *transfer, bool is_over)
{
    struct verbs_link *link = (struct verbs_link *)packets;
    bool is_stopped = false;
    for (int i = 0; i < VERBS_PLACES; i++) {
        if (link->places[i].transfer != transfer)
            continue;
        is_stopped = !is_over;
        if (is_over) // the peer writes nothing more
            free_place(link, &link->places[i]);
        else
            revoke_place(link, i);
    }
    for (int i = 0; i < VERBS_LOADS; i++) {
        if (link->loads[i].transfer != transfer)
            continue;
        is_stopped = true;
        revoke_load(link, i);
    }
    if (is_stopped)
        weft_verbs_trouble(link, NULL, "a message was cancelled while it was written");
}

void weft_verbs_direct_leave(struct verbs_link *link)
{
    bool is_stopped = link->num_places || link->num_loads;
    for (int i = 0; i < VERBS_PLACES; i++)
        if (link->places[i].transfer)
            revoke_place(link, i);
    for (int i = 0; i < VERBS_LOADS; i++)
        if (link->loads[i].transfer)
            revoke_load(link, i);
    if (is_stopped)
        weft_verbs_trouble(link, NULL, "the peer has disconnected while it was written to");
}

static void stop(struct weft_packet_link *packets)
{
    struct verbs_link *link = (struct verbs_link *)packets;
    weft_verbs_rails_stop(link);
    weft_verbs_direct_free(link);
}

void weft_verbs_direct_free(struct verbs_link *link)
{
    for (int i = 0; i < VERBS_PLACES; i++)
        if (link->places[i].transfer)
            free_place(link, &link->places[i]);
    for (int i = 0; i < VERBS_LOADS; i++)
        free_load(link, &link->loads[i]);
}

const struct weft_packet_direct weft_verbs_direct = {
    .accept = accept, .take = take, .revoke = revoke, .stop = stop};
