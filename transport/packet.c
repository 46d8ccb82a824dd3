/*
 * SPDX-License-Identifier: Apache-2.0
 * Messages over packets: posting, sending, cancelling, failing. Control packets go first, then
 * eager messages, then one fragment of each granted message in turn, so no message waits for
 * another one to be matched. Completions are put aside and their callbacks run when the outermost
 * call is about to return: callbacks may post without recursion, however long the chain.
 */
#include "transport/packet.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/packet_parts.h"

void weft_list_append(struct weft_transfer_list *list, struct weft_transfer *transfer)
{
    transfer->next = NULL;
    transfer->previous = list->last;
    if (list->last)
        list->last->next = transfer;
    else
        list->first = transfer;
    list->last = transfer;
}

void weft_list_remove(struct weft_transfer_list *list, struct weft_transfer *transfer)
{
    if (transfer->next)
        transfer->next->previous = transfer->previous;
    else
        list->last = transfer->previous;
    if (transfer->previous)
        transfer->previous->next = transfer->next;
    else
        list->first = transfer->next;
}

/* ---- completion and callbacks ---- */

void weft_packet_complete(struct weft_packet_link *link, struct weft_transfer *transfer,
                          weft_status status)
{
    transfer->status = status;
    transfer->private_words[WORD_STATE] = STATE_DONE;
    transfer->private_words[WORD_LINK] = (uintptr_t)link;
    weft_list_append(&link->device->done, transfer);
}

void weft_packet_enter(struct weft_packet_device *device)
{
    device->depth++;
}

void weft_packet_leave(struct weft_packet_device *device)
{
    while (device->depth == 1) {
        struct weft_transfer *transfer = device->done.first;
        struct weft_packet_link *link = device->failing;
        if (transfer) {
            weft_list_remove(&device->done, transfer);
            transfer->private_words[WORD_STATE] = 0;
            transfer->complete(transfer);
        } else if (link) {
            device->failing = link->next_failing;
            if (device->events.failed)
                device->events.failed(device->events.user, &link->base, link->reason);
        } else {
            break;
        }
    }
    device->depth--;
}

/* ---- handles: numbers by which the peer names a message ---- */

static bool reserve_handle(struct weft_packet_link *link)
{
    if (link->free_handle)
        return true;
    uint32_t count = link->num_handles ? link->num_handles * 2 : 16;
    if (count > 1u << 24)
        return false;
    struct weft_packet_handle *handles = realloc(link->handles, count * sizeof *handles);
    if (!handles)
        return false;
    link->handles = handles;
    for (uint32_t i = count; i-- > link->num_handles;) {
        memset(&handles[i], 0, sizeof handles[i]);
        handles[i].next_free = link->free_handle;
        link->free_handle = i + 1;
    }
    link->num_handles = count;
    return true;
}

uint64_t weft_packet_handle_take(struct weft_packet_link *link, enum handle_kind kind,
                                 struct weft_transfer *transfer)
{
    uint32_t number = link->free_handle;
    struct weft_packet_handle *handle = &link->handles[number - 1];
    link->free_handle = handle->next_free;
    handle->generation++;
    link->num_busy_handles++;
    handle->kind = (uint8_t)kind;
    handle->unit = 1;
    handle->transfer = transfer;
    handle->peer = 0;
    handle->bytes = transfer->bytes;
    handle->offset = 0;
    uint64_t id = (uint64_t)handle->generation << 32 | number;
    transfer->private_words[WORD_HANDLE] = id;
    return id;
}

struct weft_packet_handle *weft_packet_handle_find(struct weft_packet_link *link, uint64_t id)
{
    uint32_t number = (uint32_t)id;
    if (number == 0 || number > link->num_handles)
        return NULL;
    struct weft_packet_handle *handle = &link->handles[number - 1];
    if (handle->kind == HANDLE_FREE || handle->generation != id >> 32)
        return NULL;
    return handle;
}

void weft_packet_handle_give(struct weft_packet_link *link, uint64_t id)
{
    struct weft_packet_handle *handle = weft_packet_handle_find(link, id);
    handle->kind = HANDLE_FREE;
    handle->transfer = NULL;
    link->num_busy_handles--;
    handle->next_free = link->free_handle;
    link->free_handle = (uint32_t)id;
}

/* ---- control packets ---- */

static bool reserve_control(struct weft_packet_link *link)
{
    if (link->control_count < link->control_capacity)
        return true;
    uint32_t capacity = link->control_capacity ? link->control_capacity * 2 : 16;
    if (capacity > 1u << 24)
        return false;
    struct weft_packet *control = malloc(capacity * sizeof *control);
    if (!control)
        return false;
    for (uint32_t i = 0; i < link->control_count; i++)
        control[i] = link->control[(link->control_first + i) % link->control_capacity];
    free(link->control);
    link->control = control;
    link->control_first = 0;
    link->control_capacity = capacity;
    return true;
}

bool weft_packet_reserve(struct weft_packet_link *link)
{
    return reserve_handle(link) && reserve_control(link);
}

void weft_packet_control_put(struct weft_packet_link *link, const struct weft_packet *packet)
{
    if (link->failed)
        return;
    if (!link->control_count && link->port->push(link, packet, NULL) != WEFT_PUSH_BUSY)
        return;
    if (link->failed) // pushing may find out
        return;
    if (!reserve_control(link)) {
        weft_packet_fail(link, "out of memory");
        return;
    }
    link->control[(link->control_first + link->control_count++) % link->control_capacity] = *packet;
}

/* ---- sending ---- */

static struct weft_packet message_packet(enum weft_packet_type type,
                                         const struct weft_transfer *transfer)
{
    return (struct weft_packet){.type = (uint8_t)type,
                                .key = transfer->key,
                                .call = transfer->call,
                                .plan = transfer->plan,
                                .value = transfer->bytes};
}

static enum weft_push push_eager(struct weft_packet_link *link, struct weft_transfer *transfer)
{
    struct weft_packet packet = message_packet(WEFT_PACKET_EAGER, transfer);
    packet.payload_bytes = (uint32_t)transfer->bytes;
    enum weft_push pushed = link->port->push(link, &packet, transfer->data);
    if (pushed == WEFT_PUSH_BORROWED)
        link->borrower = transfer;
    return pushed;
}

static void finish_send(struct weft_packet_link *link, struct weft_transfer *transfer)
{
    weft_list_remove(&link->granted, transfer);
    weft_packet_handle_give(link, transfer->private_words[WORD_HANDLE]);
    weft_packet_complete(link, transfer, WEFT_OK);
}

static enum weft_push push_data(struct weft_packet_link *link, struct weft_transfer *transfer)
{
    struct weft_packet_handle *handle =
        weft_packet_handle_find(link, transfer->private_words[WORD_HANDLE]);
    uint64_t left = handle->bytes - handle->offset;
    size_t most = link->fragment_bytes - link->fragment_bytes % handle->unit;
    struct weft_packet packet = {.type = WEFT_PACKET_DATA,
                                 .payload_bytes = (uint32_t)(left < most ? left : most),
                                 .key = transfer->key,
                                 .value = handle->offset,
                                 .handle = handle->peer};
    enum weft_push pushed =
        link->port->push(link, &packet, (const unsigned char *)transfer->data + handle->offset);
    if (pushed == WEFT_PUSH_BUSY)
        return pushed;
    handle->offset += packet.payload_bytes;
    if (pushed == WEFT_PUSH_BORROWED) {
        link->borrower = transfer;
    } else if (handle->offset == handle->bytes) {
        finish_send(link, transfer);
    } else if (link->granted.first != link->granted.last) {
        weft_list_remove(&link->granted, transfer);
        weft_list_append(&link->granted, transfer);
    }
    return pushed;
}

void weft_packet_pushed(struct weft_packet_link *link)
{
    struct weft_transfer *transfer = link->borrower;
    link->borrower = NULL;
    if (!transfer)
        return;
    if (transfer->private_words[WORD_STATE] == STATE_QUEUED) {
        weft_list_remove(&link->eager, transfer);
        weft_packet_complete(link, transfer, WEFT_OK);
        return;
    }
    struct weft_packet_handle *handle =
        weft_packet_handle_find(link, transfer->private_words[WORD_HANDLE]);
    if (handle->offset == handle->bytes) {
        finish_send(link, transfer);
    } else {
        weft_list_remove(&link->granted, transfer);
        weft_list_append(&link->granted, transfer);
    }
}

void weft_packet_sent(struct weft_packet_link *link, struct weft_transfer *transfer)
{
    weft_packet_handle_give(link, transfer->private_words[WORD_HANDLE]);
    weft_packet_complete(link, transfer, WEFT_OK);
}

void weft_packet_unwanted(struct weft_packet_link *link, struct weft_transfer *transfer)
{
    const struct weft_packet packet = {.type = WEFT_PACKET_CANCEL,
                                       .key = transfer->key,
                                       .handle = transfer->private_words[WORD_HANDLE]};
    weft_packet_sent(link, transfer);
    weft_packet_control_put(link, &packet);
}

void weft_packet_resume(struct weft_packet_link *link, struct weft_transfer *transfer,
                        uint64_t peer, uint64_t offset)
{
    struct weft_packet_handle *handle =
        weft_packet_handle_find(link, transfer->private_words[WORD_HANDLE]);
    handle->peer = peer;
    handle->offset = offset;
    transfer->private_words[WORD_STATE] = STATE_GRANTED;
    weft_list_append(&link->granted, transfer);
}

/* One packet of what waits; BUSY also when nothing does. */
static enum weft_push push_next(struct weft_packet_link *link)
{
    enum weft_push pushed;
    if (link->failed || link->borrower)
        return WEFT_PUSH_BUSY;
    if (link->control_count) {
        pushed = link->port->push(link, &link->control[link->control_first], NULL);
        if (pushed != WEFT_PUSH_BUSY) {
            link->control_first = (link->control_first + 1) % link->control_capacity;
            link->control_count--;
        }
        return pushed;
    }
    struct weft_transfer *transfer = link->eager.first;
    if (transfer) {
        pushed = push_eager(link, transfer);
        if (pushed == WEFT_PUSH_DONE) {
            weft_list_remove(&link->eager, transfer);
            weft_packet_complete(link, transfer, WEFT_OK);
        }
        return pushed;
    }
    return link->granted.first ? push_data(link, link->granted.first) : WEFT_PUSH_BUSY;
}

int weft_packet_send_pending(struct weft_packet_link *link, int limit)
{
    int count = 0;
    while (count < limit && push_next(link) != WEFT_PUSH_BUSY)
        count++;
    return count;
}

bool weft_packet_has_pending(const struct weft_packet_link *link)
{
    return link->control_count || link->eager.first || link->granted.first;
}

bool weft_packet_is_expecting(const struct weft_packet_link *link)
{
    return link->posted.count || link->num_busy_handles;
}

static weft_status post_announced(struct weft_packet_link *link, struct weft_transfer *transfer)
{
    if (!weft_packet_reserve(link))
        return WEFT_OUT_OF_MEMORY;
    struct weft_packet packet = message_packet(WEFT_PACKET_ANNOUNCE, transfer);
    packet.handle = weft_packet_handle_take(link, HANDLE_SEND, transfer);
    transfer->private_words[WORD_STATE] = STATE_ANNOUNCED;
    weft_packet_control_put(link, &packet);
    return WEFT_OK;
}

static void post_eager(struct weft_packet_link *link, struct weft_transfer *transfer)
{
    bool first = !link->control_count && !link->eager.first && !link->borrower;
    link->eager_sent += transfer->bytes + WEFT_PACKET_EAGER_OVERHEAD;
    enum weft_push pushed = first ? push_eager(link, transfer) : WEFT_PUSH_BUSY;
    if (link->failed) { // found while pushing
        link->borrower = NULL;
        weft_packet_complete(link, transfer, WEFT_REMOTE);
    } else if (pushed == WEFT_PUSH_DONE) {
        weft_packet_complete(link, transfer, WEFT_OK);
    } else {
        transfer->private_words[WORD_STATE] = STATE_QUEUED;
        weft_list_append(&link->eager, transfer);
    }
}

weft_status weft_packet_post_send(struct weft_connection *connection,
                                  struct weft_transfer *transfer)
{
    struct weft_packet_link *link = (struct weft_packet_link *)connection;
    struct weft_packet_device *device = link->device;
    weft_status status = WEFT_OK;
    weft_packet_enter(device);
    if (link->failed)
        weft_packet_complete(link, transfer, WEFT_REMOTE);
    else if (transfer->bytes <= device->eager_bytes &&
             link->eager_sent + transfer->bytes + WEFT_PACKET_EAGER_OVERHEAD <=
                 WEFT_PACKET_EAGER_BUDGET)
        post_eager(link, transfer);
    else
        status = post_announced(link, transfer);
    weft_packet_leave(device);
    return status;
}

weft_status weft_packet_post_recv(struct weft_connection *connection,
                                  struct weft_transfer *transfer)
{
    struct weft_packet_link *link = (struct weft_packet_link *)connection;
    struct weft_packet_device *device = link->device;
    struct weft_arrival *arrival;
    weft_status status = WEFT_OK;
    weft_packet_enter(device);
    // What arrived whole before the link failed can still be received.
    arrival = weft_packet_arrival_find(link, &transfer->key);
    if (link->failed && (!arrival || !weft_packet_arrival_is_whole(arrival))) {
        weft_packet_complete(link, transfer, WEFT_REMOTE);
    } else if (arrival) {
        if (weft_packet_reserve(link))
            weft_packet_arrival_accept(link, arrival, transfer);
        else
            status = WEFT_OUT_OF_MEMORY;
    } else {
        transfer->private_words[WORD_STATE] = STATE_POSTED;
        weft_match_insert(&link->posted, transfer);
    }
    weft_packet_leave(device);
    return status;
}

/* ---- cancel ---- */

static void cancel_send(struct weft_packet_link *link, struct weft_transfer *transfer)
{
    if (link->borrower == transfer) {
        link->borrower = NULL;
        link->port->unborrow(link);
    }
    if (transfer->private_words[WORD_STATE] == STATE_GRANTED)
        weft_list_remove(&link->granted, transfer);
    if (transfer->private_words[WORD_STATE] == STATE_TAKEN)
        link->port->direct->revoke(link, transfer, false);
    uint64_t id = transfer->private_words[WORD_HANDLE];
    weft_packet_handle_give(link, id);
    struct weft_packet packet = {.type = WEFT_PACKET_CANCEL, .key = transfer->key, .handle = id};
    weft_packet_control_put(link, &packet);
}

static void cancel_receive(struct weft_packet_link *link, struct weft_transfer *transfer)
{
    uint64_t id = transfer->private_words[WORD_HANDLE];
    struct weft_packet_handle *handle = weft_packet_handle_find(link, id);
    if (link->port->direct)
        link->port->direct->revoke(link, transfer, handle->kind == HANDLE_ORPHAN);
    if (handle->kind == HANDLE_ORPHAN) {
        weft_packet_handle_give(link, id);
        return;
    }
    handle->kind = HANDLE_DISCARD;
    handle->transfer = NULL;
}

void weft_packet_cancel(struct weft_connection *connection, struct weft_transfer *transfer)
{
    struct weft_packet_link *link = (struct weft_packet_link *)connection;
    struct weft_packet_device *device = link->device;
    weft_packet_enter(device);
    switch ((enum transfer_state)transfer->private_words[WORD_STATE]) {
    case STATE_DONE:
        weft_list_remove(&device->done, transfer);
        break;
    case STATE_QUEUED:
        weft_list_remove(&link->eager, transfer);
        if (link->borrower == transfer) {
            link->borrower = NULL;
            link->port->unborrow(link);
        } else {
            link->eager_sent -= transfer->bytes + WEFT_PACKET_EAGER_OVERHEAD;
        }
        break;
    case STATE_ANNOUNCED:
    case STATE_GRANTED:
    case STATE_TAKEN:
        cancel_send(link, transfer);
        break;
    case STATE_POSTED:
        weft_match_remove(&link->posted, transfer);
        break;
    case STATE_ACCEPTED:
        cancel_receive(link, transfer);
        break;
    }
    transfer->private_words[WORD_STATE] = 0;
    weft_packet_leave(device);
}

/* ---- failure, beginning and end ---- */

void weft_packet_fail(struct weft_packet_link *link, const char *format, ...)
{
    if (link->failed)
        return;
    struct weft_packet_device *device = link->device;
    weft_packet_enter(device);
    link->failed = true;
    const char *name = device->base.transport ? device->base.transport->name : "packets";
    int used = snprintf(link->reason, sizeof link->reason, "%s: ", name);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(link->reason + used, sizeof link->reason - (size_t)used, format, arguments);
    va_end(arguments);
    link->borrower = NULL;
    if (link->port->direct)
        link->port->direct->stop(link);
    struct weft_transfer *transfer;
    while ((transfer = link->eager.first)) {
        weft_list_remove(&link->eager, transfer);
        weft_packet_complete(link, transfer, WEFT_REMOTE);
    }
    link->granted = (struct weft_transfer_list){NULL, NULL};
    for (uint32_t i = 0; i < link->num_handles; i++) {
        transfer = link->handles[i].transfer;
        link->handles[i].transfer = NULL;
        if (transfer)
            weft_packet_complete(link, transfer, WEFT_REMOTE);
    }
    while ((transfer = weft_match_pop(&link->posted)))
        weft_packet_complete(link, transfer, WEFT_REMOTE);
    link->next_failing = device->failing;
    device->failing = link;
    weft_packet_leave(device);
}

void weft_packet_device_init(struct weft_packet_device *device,
                             const struct weft_transport *transport,
                             const struct weft_device_options *options)
{
    memset(device, 0, sizeof *device);
    device->base.transport = transport;
    device->events = options->events;
    device->eager_bytes = options->eager_bytes < WEFT_PACKET_PAYLOAD_LIMIT
                              ? options->eager_bytes
                              : WEFT_PACKET_PAYLOAD_LIMIT;
}

void weft_packet_link_init(struct weft_packet_link *link, struct weft_packet_device *device,
                           const struct weft_packet_port *port, size_t fragment_bytes, void *user,
                           uint64_t seed)
{
    memset(link, 0, sizeof *link);
    link->base.device = &device->base;
    link->base.user = user;
    link->port = port;
    link->device = device;
    link->fragment_bytes = fragment_bytes;
    weft_match_init(&link->posted, seed);
    weft_match_init(&link->arrived, seed);
}

void weft_packet_link_fini(struct weft_packet_link *link)
{
    struct weft_packet_device *device = link->device;
    struct weft_transfer *next;
    for (struct weft_transfer *transfer = device->done.first; transfer; transfer = next) {
        next = transfer->next;
        if (transfer->private_words[WORD_LINK] == (uintptr_t)link)
            weft_list_remove(&device->done, transfer);
    }
    struct weft_packet_link **failing = &device->failing;
    while (*failing && *failing != link)
        failing = &(*failing)->next_failing;
    if (*failing)
        *failing = link->next_failing;
    weft_packet_arrivals_free(link);
    weft_match_fini(&link->posted);
    weft_match_fini(&link->arrived);
    free(link->handles);
    free(link->control);
    link->handles = NULL;
    link->control = NULL;
}
