/*
 * SPDX-License-Identifier: Apache-2.0
 * Fuzz target for what a hostile peer can send: a link with a port that leads nowhere, operated by
 * the input. Each step is a local operation (post, cancel, make room) or an arriving packet whose
 * fields come from the input, many of them near what the link expects, so that the input gets past
 * the first check. Payloads are exactly as long as they claim, so an overrun is seen.
 */
#include <stdlib.h>
#include <string.h>

#include "transport/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { MESSAGES = 16, MESSAGE_BYTES = 300 };

static const uint16_t message_bytes[4] = {0, 8, 160, MESSAGE_BYTES};

struct input {
    const uint8_t *data;
    size_t left;
};

struct fuzzed {
    struct weft_packet_device device;
    struct weft_packet_link link;
    struct input *input;
    uint64_t handles[8]; // that the link has told its peer
    unsigned num_handles;
    bool borrowed;
    unsigned char *expected[MESSAGES];
    struct weft_transfer transfers[MESSAGES];
    bool posted[MESSAGES];
    bool sends[MESSAGES];
};

static uint8_t next_byte(struct input *input)
{
    if (!input->left)
        return 0;
    input->left--;
    return *input->data++;
}

static enum weft_push push(struct weft_packet_link *link, const struct weft_packet *packet,
                           const void *payload)
{
    struct fuzzed *fuzzed = (struct fuzzed *)((char *)link - offsetof(struct fuzzed, link));
    uint8_t choice = next_byte(fuzzed->input);
    if (fuzzed->borrowed || choice % 4 == 0)
        return WEFT_PUSH_BUSY;
    uint64_t told = packet->type == WEFT_PACKET_ANNOUNCE ? packet->handle : packet->value;
    if (packet->type == WEFT_PACKET_ANNOUNCE || packet->type == WEFT_PACKET_GRANT)
        fuzzed->handles[fuzzed->num_handles++ % 8] = told;
    unsigned char sum = 0; // the payload must be readable
    for (uint32_t i = 0; i < packet->payload_bytes; i++)
        sum ^= ((const unsigned char *)payload)[i];
    if (choice % 4 == 1 && packet->payload_bytes && sum < 255) {
        fuzzed->borrowed = true;
        return WEFT_PUSH_BORROWED;
    }
    return WEFT_PUSH_DONE;
}

static void unborrow(struct weft_packet_link *link)
{
    (void)link; // the copy that a port keeps makes no difference here
}

static const struct weft_packet_port port = {.push = push, .unborrow = unborrow};

static void completed(struct weft_transfer *transfer)
{
    *(bool *)transfer->sink_argument = false;
}

static void sink(void *argument, size_t offset, const void *payload, size_t bytes)
{
    (void)argument;
    unsigned char copy[WEFT_PACKET_PAYLOAD_LIMIT];
    if (offset + bytes > MESSAGE_BYTES)
        abort();
    memcpy(copy, payload, bytes);
}

static struct weft_message_key small_key(uint8_t choice)
{
    return (struct weft_message_key){.comm = 1, .index = choice % 4};
}

static void post(struct fuzzed *fuzzed, uint8_t choice)
{
    unsigned index = choice % MESSAGES;
    struct weft_transfer *transfer = &fuzzed->transfers[index];
    uint8_t shape = next_byte(fuzzed->input);
    if (fuzzed->posted[index]) {
        weft_packet_cancel(&fuzzed->link.base, transfer);
        fuzzed->posted[index] = false;
        return;
    }
    fuzzed->sends[index] = shape & 1;
    memset(transfer, 0, sizeof *transfer);
    transfer->key = small_key(shape >> 1);
    transfer->bytes = message_bytes[shape >> 3 & 3];
    free(fuzzed->expected[index]);
    fuzzed->expected[index] = calloc(1, transfer->bytes ? transfer->bytes : 1);
    transfer->data = fuzzed->expected[index];
    transfer->sink = shape & 1 || !(shape & 32) ? NULL : sink;
    transfer->sink_argument = &fuzzed->posted[index];
    transfer->sink_unit = 4;
    transfer->complete = completed;
    fuzzed->posted[index] = true;
    weft_status status = shape & 1 ? weft_packet_post_send(&fuzzed->link.base, transfer)
                                   : weft_packet_post_recv(&fuzzed->link.base, transfer);
    if (status != WEFT_OK)
        fuzzed->posted[index] = false;
}

/* Whole, or in two parts; in between, the same packet may come on another stream. */
static void land(struct fuzzed *fuzzed, const struct weft_packet *packet)
{
    size_t bytes = packet->payload_bytes;
    unsigned char *payload = malloc(bytes ? bytes : 1);
    memset(payload, 7, bytes);
    uint8_t landing = next_byte(fuzzed->input);
    struct weft_packet_open open;
    if (landing & 1 && weft_packet_open(&fuzzed->link, packet, &open)) {
        if (landing & 2)
            post(fuzzed, next_byte(fuzzed->input)); // may cancel the receive of the open payload
        if (landing & 4)
            land(fuzzed, packet);
        unsigned char *place = weft_packet_place(&fuzzed->link, &open);
        size_t part = bytes > 1u + landing ? 1u + landing : bytes;
        if (place)
            memcpy(place, payload, part);
        part = weft_packet_feed(&fuzzed->link, &open, place ? place : payload, part);
        weft_packet_feed(&fuzzed->link, &open, payload + part, bytes - part);
    } else {
        weft_packet_deliver(&fuzzed->link, packet, payload);
    }
    free(payload);
}

static void arrive(struct fuzzed *fuzzed)
{
    struct input *input = fuzzed->input;
    struct weft_packet packet = {.type = next_byte(input) % 9};
    uint8_t choice = next_byte(input);
    packet.unit = choice & 1 ? 1 : next_byte(input);
    packet.zero = choice & 2 && choice & 64 ? next_byte(input) : 0;
    packet.key = small_key(choice >> 2);
    uint8_t length = next_byte(input);
    packet.payload_bytes = length & 1 ? message_bytes[length >> 1 & 3] : (length & 2) * 32u;
    if (choice & 16)
        packet.payload_bytes = length * next_byte(input);
    packet.value = packet.payload_bytes;
    if (packet.type == WEFT_PACKET_ANNOUNCE)
        packet.value = choice & 16 ? UINT64_MAX / 2 - length : message_bytes[length & 3];
    else if (choice & 32)
        packet.value = next_byte(input) % 16 * 32u; // an offset
    packet.handle = fuzzed->handles[next_byte(input) % 8];
    if (choice & 128)
        packet.handle ^= (uint64_t)next_byte(input) << next_byte(input) % 57;
    if (packet.type == WEFT_PACKET_ANNOUNCE && !packet.handle)
        packet.handle = 1 + (choice & 3);
    if (packet.payload_bytes > WEFT_PACKET_PAYLOAD_LIMIT)
        return; // ports look after that
    if (packet.type != WEFT_PACKET_EAGER && packet.type != WEFT_PACKET_DATA)
        packet.payload_bytes = choice & 64 ? packet.payload_bytes : 0;
    land(fuzzed, &packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct input input = {data, bytes};
    struct fuzzed *fuzzed = calloc(1, sizeof *fuzzed);
    struct weft_device_options options = {.eager_bytes = 64};
    fuzzed->input = &input;
    weft_packet_device_init(&fuzzed->device, NULL, &options);
    weft_packet_link_init(&fuzzed->link, &fuzzed->device, &port, 64, NULL, 1);
    while (input.left) {
        uint8_t choice = next_byte(&input);
        weft_packet_enter(&fuzzed->device);
        if (choice % 4 == 0) {
            post(fuzzed, choice / 4);
        } else if (choice % 4 == 1) {
            if (fuzzed->borrowed)
                weft_packet_pushed(&fuzzed->link);
            fuzzed->borrowed = false;
            weft_packet_send_pending(&fuzzed->link, choice / 16);
        } else {
            arrive(fuzzed);
        }
        weft_packet_leave(&fuzzed->device);
    }
    // After a failure nothing may be left posted.
    for (int i = 0; i < MESSAGES; i++) {
        if (fuzzed->link.failed && fuzzed->posted[i])
            abort();
        free(fuzzed->expected[i]);
    }
    weft_packet_link_fini(&fuzzed->link);
    free(fuzzed);
    return 0;
}
