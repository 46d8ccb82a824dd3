/*
 * SPDX-License-Identifier: Apache-2.0
 * Messages over packets: what arrives. Every field of a packet is checked before it is used; a
 * packet that no honest peer can send fails the link. A grant or refusal for a message that was
 * cancelled meanwhile is honest, and ignored.
 */
#include "transport/packet.h"

#include <stdlib.h>
#include <string.h>

#include "transport/packet_parts.h"

enum {
    SMALL_ARRIVAL = 256,  // payloads up to this are kept in arrivals that are used again
    SPARE_ARRIVALS = 1024 // at most this many wait for that
};

/* ---- messages without a receive ---- */

static struct weft_arrival *arrival_make(struct weft_packet_link *link, size_t payload_bytes)
{
    if (payload_bytes <= SMALL_ARRIVAL && link->spare_arrivals) {
        struct weft_transfer *spare = link->spare_arrivals;
        link->spare_arrivals = spare->next;
        link->num_spare_arrivals--;
        return (struct weft_arrival *)spare;
    }
    size_t room = payload_bytes > SMALL_ARRIVAL ? payload_bytes : SMALL_ARRIVAL;
    return malloc(sizeof(struct weft_arrival) + room);
}

static void arrival_free(struct weft_packet_link *link, struct weft_arrival *arrival)
{
    size_t payload_bytes = weft_packet_arrival_is_whole(arrival) ? arrival->message.bytes : 0;
    if (payload_bytes > SMALL_ARRIVAL || link->num_spare_arrivals == SPARE_ARRIVALS) {
        free(arrival);
        return;
    }
    arrival->message.next = link->spare_arrivals;
    link->spare_arrivals = &arrival->message;
    link->num_spare_arrivals++;
}

void weft_packet_arrivals_free(struct weft_packet_link *link)
{
    struct weft_transfer *message;
    while ((message = weft_match_pop(&link->arrived)))
        free(message);
    while ((message = link->spare_arrivals)) {
        link->spare_arrivals = message->next;
        free(message);
    }
}

struct weft_arrival *weft_packet_arrival_find(struct weft_packet_link *link,
                                              const struct weft_message_key *key)
{
    return (struct weft_arrival *)weft_match_find(&link->arrived, key);
}

bool weft_packet_arrival_is_whole(const struct weft_arrival *arrival)
{
    return arrival->message.private_words[WORD_STATE] == WEFT_PACKET_EAGER;
}

static bool keep_arrival(struct weft_packet_link *link, const struct weft_packet *packet,
                         const void *payload)
{
    if (link->arrived.count >= WEFT_PACKET_ARRIVED_LIMIT) {
        weft_packet_fail(link, "peer sent more than %d messages that nobody receives",
                         WEFT_PACKET_ARRIVED_LIMIT);
        return false;
    }
    struct weft_arrival *arrival = arrival_make(link, packet->payload_bytes);
    if (!arrival) {
        weft_packet_fail(link, "out of memory for a message of %u bytes", packet->payload_bytes);
        return false;
    }
    arrival->message = (struct weft_transfer){
        .key = packet->key, .call = packet->call, .plan = packet->plan, .bytes = packet->value};
    arrival->message.private_words[WORD_STATE] = packet->type;
    arrival->message.private_words[WORD_HANDLE] = packet->handle;
    if (packet->payload_bytes)
        memcpy(arrival->payload, payload, packet->payload_bytes);
    weft_match_insert(&link->arrived, &arrival->message);
    struct weft_device_events *events = &link->device->events;
    if (events->unexpected)
        events->unexpected(events->user, &link->base, &packet->key, packet->call, packet->plan,
                           packet->value);
    return true;
}

/* ---- a message meets its receive ---- */

static bool agree(struct weft_transfer *transfer, uint64_t call, uint64_t plan, uint64_t bytes)
{
    if (transfer->call == call && transfer->plan == plan && transfer->bytes == bytes)
        return true;
    transfer->peer_call = call;
    transfer->peer_plan = plan;
    transfer->peer_bytes = bytes;
    return false;
}

static void credit_eager(struct weft_packet_link *link, uint64_t bytes)
{
    link->eager_consumed += bytes + WEFT_PACKET_EAGER_OVERHEAD;
    if (link->eager_consumed < WEFT_PACKET_EAGER_BUDGET / 4)
        return;
    struct weft_packet packet = {.type = WEFT_PACKET_CREDIT, .value = link->eager_consumed};
    link->eager_received -= link->eager_consumed;
    link->eager_consumed = 0;
    weft_packet_control_put(link, &packet);
}

static void place(const struct weft_transfer *transfer, uint64_t offset, const void *payload,
                  size_t bytes)
{
    if (bytes == 0)
        return;
    if (transfer->sink)
        transfer->sink(transfer->sink_argument, offset, payload, bytes);
    else
        memcpy((unsigned char *)transfer->data + offset, payload, bytes);
}

static void accept_eager(struct weft_packet_link *link, struct weft_transfer *transfer,
                         uint64_t call, uint64_t plan, uint64_t bytes, const void *payload)
{
    weft_status status = WEFT_MISMATCH;
    if (agree(transfer, call, plan, bytes)) {
        place(transfer, 0, payload, bytes);
        status = WEFT_OK;
    }
    weft_packet_complete(link, transfer, status);
    credit_eager(link, bytes);
}

/* After reserve. */
static void accept_announced(struct weft_packet_link *link, struct weft_transfer *transfer,
                             uint64_t call, uint64_t plan, uint64_t bytes, uint64_t peer)
{
    struct weft_packet packet = {
        .type = WEFT_PACKET_GRANT, .unit = 1, .key = transfer->key, .handle = peer};
    if (!agree(transfer, call, plan, bytes)) {
        packet.type = WEFT_PACKET_REFUSE;
        weft_packet_complete(link, transfer, WEFT_MISMATCH);
    } else if (bytes == 0) { // nothing will follow: the grant ends it at both ends
        weft_packet_complete(link, transfer, WEFT_OK);
    } else {
        if (transfer->sink && transfer->sink_unit)
            packet.unit = (uint8_t)transfer->sink_unit;
        packet.value = weft_packet_handle_take(link, HANDLE_RECEIVE, transfer);
        struct weft_packet_handle *handle = weft_packet_handle_find(link, packet.value);
        handle->peer = peer;
        handle->unit = packet.unit;
        transfer->private_words[WORD_STATE] = STATE_ACCEPTED;
        if (link->port->direct && !transfer->sink)
            link->port->direct->accept(link, transfer, packet.value);
    }
    weft_packet_control_put(link, &packet);
}

void weft_packet_arrival_accept(struct weft_packet_link *link, struct weft_arrival *arrival,
                                struct weft_transfer *transfer)
{
    struct weft_transfer *message = &arrival->message;
    weft_match_remove(&link->arrived, message);
    if (message->private_words[WORD_STATE] == WEFT_PACKET_EAGER)
        accept_eager(link, transfer, message->call, message->plan, message->bytes,
                     arrival->payload);
    else
        accept_announced(link, transfer, message->call, message->plan, message->bytes,
                         message->private_words[WORD_HANDLE]);
    arrival_free(link, arrival);
}

/* ---- one function per type of packet; false: the link has failed ---- */

static bool violation(struct weft_packet_link *link, const char *what)
{
    weft_packet_fail(link, "peer broke the protocol: %s", what);
    return false;
}

static bool on_eager(struct weft_packet_link *link, const struct weft_packet *packet,
                     const void *payload)
{
    if (packet->value != packet->payload_bytes)
        return violation(link, "eager message of another length than its packet");
    link->eager_received += packet->value + WEFT_PACKET_EAGER_OVERHEAD;
    if (link->eager_received > WEFT_PACKET_EAGER_BUDGET)
        return violation(link, "more eager bytes than allowed");
    struct weft_transfer *transfer = weft_match_find(&link->posted, &packet->key);
    if (!transfer)
        return keep_arrival(link, packet, payload);
    weft_match_remove(&link->posted, transfer);
    accept_eager(link, transfer, packet->call, packet->plan, packet->value, payload);
    return !link->failed;
}

static bool on_announce(struct weft_packet_link *link, const struct weft_packet *packet,
                        const void *payload)
{
    (void)payload;
    if (packet->value > SIZE_MAX / 2 || packet->handle == 0)
        return violation(link, "impossible announcement");
    struct weft_transfer *transfer = weft_match_find(&link->posted, &packet->key);
    if (!transfer)
        return keep_arrival(link, packet, NULL);
    if (!weft_packet_reserve(link)) {
        weft_packet_fail(link, "out of memory");
        return false;
    }
    weft_match_remove(&link->posted, transfer);
    accept_announced(link, transfer, packet->call, packet->plan, packet->value, packet->handle);
    return !link->failed;
}

static bool on_grant(struct weft_packet_link *link, const struct weft_packet *packet,
                     const void *payload)
{
    (void)payload;
    if (packet->unit == 0 || packet->unit > WEFT_PACKET_UNIT_LIMIT)
        return violation(link, "grant with an impossible unit");
    struct weft_packet_handle *handle = weft_packet_handle_find(link, packet->handle);
    if (!handle || handle->kind != HANDLE_SEND)
        return true; // cancelled meanwhile
    struct weft_transfer *transfer = handle->transfer;
    if (transfer->private_words[WORD_STATE] != STATE_ANNOUNCED)
        return violation(link, "a message granted twice");
    if (transfer->bytes == 0) {
        weft_packet_handle_give(link, packet->handle);
        weft_packet_complete(link, transfer, WEFT_OK);
        return true;
    }
    handle->peer = packet->value;
    handle->unit = packet->unit;
    if (link->port->direct &&
        link->port->direct->take(link, transfer, packet->value, packet->unit)) {
        transfer->private_words[WORD_STATE] = STATE_TAKEN;
        return true;
    }
    transfer->private_words[WORD_STATE] = STATE_GRANTED;
    weft_list_append(&link->granted, transfer);
    return true;
}

/* Whether a DATA packet continues this handle's message. */
static bool is_in_place(const struct weft_packet_handle *handle, const struct weft_packet *packet)
{
    uint64_t left = handle->bytes - handle->offset;
    return (handle->kind == HANDLE_RECEIVE || handle->kind == HANDLE_DISCARD) &&
           packet->value == handle->offset && packet->payload_bytes > 0 &&
           packet->payload_bytes <= WEFT_PACKET_FRAGMENT_LIMIT && packet->payload_bytes <= left &&
           (packet->payload_bytes == left || packet->payload_bytes % handle->unit == 0);
}

/* The handle that a DATA packet is for, checked; NULL: violation, reported. */
static struct weft_packet_handle *data_handle(struct weft_packet_link *link,
                                              const struct weft_packet *packet)
{
    struct weft_packet_handle *handle = weft_packet_handle_find(link, packet->handle);
    if (!handle || (handle->kind != HANDLE_RECEIVE && handle->kind != HANDLE_DISCARD)) {
        violation(link, "data that nobody granted");
        return NULL;
    }
    if (!is_in_place(handle, packet)) {
        violation(link, "data out of place");
        return NULL;
    }
    return handle;
}

static void advance(struct weft_packet_link *link, struct weft_packet_handle *handle, uint64_t id,
                    size_t bytes)
{
    handle->offset += bytes;
    if (handle->offset < handle->bytes)
        return;
    struct weft_transfer *transfer = handle->transfer;
    weft_packet_handle_give(link, id);
    if (transfer)
        weft_packet_complete(link, transfer, WEFT_OK);
}

static bool on_data(struct weft_packet_link *link, const struct weft_packet *packet,
                    const void *payload)
{
    struct weft_packet_handle *handle = data_handle(link, packet);
    if (!handle)
        return false;
    if (handle->transfer)
        place(handle->transfer, handle->offset, payload, packet->payload_bytes);
    advance(link, handle, packet->handle, packet->payload_bytes);
    return true;
}

/* An eager message whose receive is posted becomes a granted one. False: deliver looks after it. */
static bool open_eager(struct weft_packet_link *link, const struct weft_packet *packet,
                       struct weft_packet_open *open)
{
    struct weft_transfer *transfer = weft_match_find(&link->posted, &packet->key);
    uint64_t cost = packet->value + WEFT_PACKET_EAGER_OVERHEAD;
    if (packet->payload_bytes == 0 || packet->payload_bytes > WEFT_PACKET_PAYLOAD_LIMIT ||
        packet->value != packet->payload_bytes || packet->zero ||
        link->eager_received + cost > WEFT_PACKET_EAGER_BUDGET || !transfer ||
        !agree(transfer, packet->call, packet->plan, packet->value) || !weft_packet_reserve(link))
        return false;
    link->eager_received += cost;
    weft_match_remove(&link->posted, transfer);
    open->handle = weft_packet_handle_take(link, HANDLE_RECEIVE, transfer);
    open->offset = 0;
    if (transfer->sink && transfer->sink_unit)
        weft_packet_handle_find(link, open->handle)->unit = (uint8_t)transfer->sink_unit;
    transfer->private_words[WORD_STATE] = STATE_ACCEPTED;
    open->left = packet->payload_bytes;
    credit_eager(link, packet->value);
    return true;
}

bool weft_packet_open(struct weft_packet_link *link, const struct weft_packet *packet,
                      struct weft_packet_open *open)
{
    if (link->failed)
        return false;
    if (packet->type == WEFT_PACKET_EAGER)
        return open_eager(link, packet, open);
    struct weft_packet_handle *handle =
        packet->type == WEFT_PACKET_DATA ? weft_packet_handle_find(link, packet->handle) : NULL;
    if (!handle || packet->zero || !is_in_place(handle, packet))
        return false; // deliver will say what is wrong
    open->handle = packet->handle;
    open->offset = packet->value;
    open->left = packet->payload_bytes;
    return true;
}

bool weft_packet_is_open(struct weft_packet_link *link, uint64_t id)
{
    const struct weft_packet_handle *handle = weft_packet_handle_find(link, id);
    return handle && (handle->kind == HANDLE_RECEIVE || handle->kind == HANDLE_DISCARD);
}

unsigned char *weft_packet_place(struct weft_packet_link *link, const struct weft_packet_open *open)
{
    struct weft_packet_handle *handle = weft_packet_handle_find(link, open->handle);
    if (!open->left || !handle || !handle->transfer || handle->transfer->sink ||
        handle->offset != open->offset)
        return NULL;
    return (unsigned char *)handle->transfer->data + handle->offset;
}

size_t weft_packet_feed(struct weft_packet_link *link, struct weft_packet_open *open,
                        const unsigned char *payload, size_t bytes)
{
    struct weft_packet_handle *handle = weft_packet_handle_find(link, open->handle);
    size_t taken = bytes < open->left ? bytes : open->left;
    if (handle && handle->offset != open->offset) // another stream has brought it
        violation(link, "data out of place");
    if (link->failed || !handle) {
        open->left -= taken;
        return taken;
    }
    taken -= taken % handle->unit;
    if (handle->transfer && payload != weft_packet_place(link, open))
        place(handle->transfer, handle->offset, payload, taken);
    open->offset += taken;
    open->left -= taken;
    advance(link, handle, open->handle, taken);
    return taken;
}

enum weft_packet_turn weft_packet_turn(struct weft_packet_link *link,
                                       const struct weft_packet *packet)
{
    const struct weft_packet_handle *handle = weft_packet_handle_find(link, packet->handle);
    if (!handle || (handle->kind != HANDLE_RECEIVE && handle->kind != HANDLE_DISCARD))
        return WEFT_PACKET_NEVER;
    if (packet->value > handle->offset && packet->value < handle->bytes)
        return WEFT_PACKET_LATER;
    if (is_in_place(handle, packet))
        return WEFT_PACKET_NOW;
    violation(link, "data out of place");
    return WEFT_PACKET_NEVER;
}

uint64_t weft_packet_rename(struct weft_packet_link *link, uint64_t id, uint64_t *offset)
{
    struct weft_packet_handle *handle = weft_packet_handle_find(link, id);
    if (!handle || (handle->kind != HANDLE_RECEIVE && handle->kind != HANDLE_DISCARD))
        return 0;
    *offset = handle->offset;
    uint64_t renamed = (uint64_t)++handle->generation << 32 | (uint32_t)id;
    if (handle->transfer)
        handle->transfer->private_words[WORD_HANDLE] = renamed;
    return renamed;
}

static bool on_refuse(struct weft_packet_link *link, const struct weft_packet *packet,
                      const void *payload)
{
    (void)payload;
    struct weft_packet_handle *handle = weft_packet_handle_find(link, packet->handle);
    if (!handle || handle->kind != HANDLE_SEND)
        return true; // cancelled meanwhile
    struct weft_transfer *transfer = handle->transfer;
    if (transfer->private_words[WORD_STATE] != STATE_ANNOUNCED)
        return violation(link, "a granted message refused");
    weft_packet_handle_give(link, packet->handle);
    weft_packet_complete(link, transfer, WEFT_MISMATCH);
    return true;
}

static bool on_cancel(struct weft_packet_link *link, const struct weft_packet *packet,
                      const void *payload)
{
    (void)payload;
    struct weft_transfer *message = weft_match_find(&link->arrived, &packet->key);
    for (; message; message = weft_match_next(&link->arrived, message)) {
        if (message->private_words[WORD_STATE] == WEFT_PACKET_ANNOUNCE &&
            message->private_words[WORD_HANDLE] == packet->handle) {
            weft_match_remove(&link->arrived, message);
            arrival_free(link, (struct weft_arrival *)message);
            return true;
        }
    }
    for (uint32_t i = 0; i < link->num_handles; i++) {
        struct weft_packet_handle *handle = &link->handles[i];
        if (handle->peer != packet->handle)
            continue;
        if (handle->kind == HANDLE_RECEIVE)
            handle->kind = HANDLE_ORPHAN;
        else if (handle->kind == HANDLE_DISCARD)
            weft_packet_handle_give(link, (uint64_t)handle->generation << 32 | (i + 1));
        else
            continue;
        break;
    }
    return true; // nothing found: it was refused meanwhile
}

static bool on_credit(struct weft_packet_link *link, const struct weft_packet *packet,
                      const void *payload)
{
    (void)payload;
    if (packet->value > link->eager_sent)
        return violation(link, "credit for more than was sent");
    link->eager_sent -= packet->value;
    return true;
}

static bool (*const handlers[WEFT_PACKET_NUM_TYPES])(struct weft_packet_link *link,
                                                     const struct weft_packet *packet,
                                                     const void *payload) = {
    [WEFT_PACKET_EAGER] = on_eager,   [WEFT_PACKET_ANNOUNCE] = on_announce,
    [WEFT_PACKET_GRANT] = on_grant,   [WEFT_PACKET_DATA] = on_data,
    [WEFT_PACKET_REFUSE] = on_refuse, [WEFT_PACKET_CANCEL] = on_cancel,
    [WEFT_PACKET_CREDIT] = on_credit,
};

bool weft_packet_deliver(struct weft_packet_link *link, const struct weft_packet *packet,
                         const void *payload)
{
    if (link->failed)
        return false;
    uint32_t most = packet->type == WEFT_PACKET_EAGER  ? WEFT_PACKET_PAYLOAD_LIMIT
                    : packet->type == WEFT_PACKET_DATA ? WEFT_PACKET_FRAGMENT_LIMIT
                                                       : 0;
    if (packet->type == 0 || packet->type >= WEFT_PACKET_NUM_TYPES || packet->zero ||
        packet->payload_bytes > most)
        return violation(link, "malformed packet");
    return handlers[packet->type](link, packet, payload);
}
