/*
 * SPDX-License-Identifier: Apache-2.0
 * TCP: checksums of packets, for wires and memories that the ones of TCP and Ethernet do not catch.
 * The header's is looked at before anything in it is believed; the payload's before its last bytes
 * are handed on, so no message that arrived damaged is ever completed.
 */
#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>

#include <xxhash.h>

#include "transport/tcp_parts.h"

bool weft_tcp_check_want(struct tcp_checks *checks)
{
    checks->state = XXH3_createState();
    return checks->state;
}

void weft_tcp_check_free(struct tcp_checks *checks)
{
    XXH3_freeState(checks->state);
    checks->state = NULL;
}

static uint32_t header_sum(const struct tcp_frame *frame)
{
    return (uint32_t)XXH3_64bits(frame, offsetof(struct tcp_frame, header_sum));
}

void weft_tcp_check_seal(const struct tcp_checks *checks, struct tcp_frame *frame,
                         const void *payload)
{
    frame->payload_sum = frame->header_sum = 0;
    if (!checks->state)
        return;
    if (frame->packet.payload_bytes)
        frame->payload_sum = (uint32_t)XXH3_64bits(payload, frame->packet.payload_bytes);
    frame->header_sum = header_sum(frame);
}

void weft_tcp_door_text(const struct tcp_link *link, unsigned number, char *text, size_t bytes)
{
    char ip[INET6_ADDRSTRLEN] = "";
    const struct tcp_door *door = &link->peer.doors[number];
    inet_ntop(door->family, door->ip, ip, sizeof ip);
    snprintf(text, bytes, "%.*s port %u", (int)sizeof ip, ip, door->port);
}

static bool fail_payload(struct tcp_link *link, const struct tcp_checks *checks,
                         const struct tcp_frame *frame)
{
    const struct weft_message_key *key = &frame->packet.key;
    char peer[INET6_ADDRSTRLEN + 16], reason[WEFT_PACKET_REASON_BYTES];
    weft_tcp_door_text(link, checks->door, peer, sizeof peer);
    snprintf(reason, sizeof reason,
             "message %u of lane %u of operation %u from %s arrived damaged (wrong checksum)",
             key->index, key->lane, key->sequence, peer);
    weft_tcp_link_fail(link, reason);
    return false;
}

bool weft_tcp_check_header(struct tcp_link *link, const struct tcp_checks *checks,
                           const struct tcp_frame *frame)
{
    char peer[INET6_ADDRSTRLEN + 16], reason[WEFT_PACKET_REASON_BYTES];
    if (!checks->state || header_sum(frame) == frame->header_sum)
        return true;
    weft_tcp_door_text(link, checks->door, peer, sizeof peer);
    snprintf(reason, sizeof reason,
             "the header of a message from %s arrived damaged (wrong checksum)", peer);
    weft_tcp_link_fail(link, reason);
    return false;
}

bool weft_tcp_check_whole(struct tcp_link *link, const struct tcp_checks *checks,
                          const struct tcp_frame *frame, const void *payload)
{
    size_t bytes = frame->packet.payload_bytes;
    if (!checks->state || !bytes || (uint32_t)XXH3_64bits(payload, bytes) == frame->payload_sum)
        return true;
    return fail_payload(link, checks, frame);
}

void weft_tcp_check_begin(struct tcp_checks *checks, const struct tcp_frame *frame)
{
    if (!checks->state)
        return;
    checks->frame = *frame;
    XXH3_64bits_reset(checks->state);
}

void weft_tcp_check_add(struct tcp_checks *checks, const void *bytes, size_t count)
{
    if (checks->state)
        XXH3_64bits_update(checks->state, bytes, count);
}

bool weft_tcp_check_end(struct tcp_link *link, struct tcp_checks *checks, const void *bytes,
                        size_t count)
{
    if (!checks->state)
        return true;
    XXH3_64bits_update(checks->state, bytes, count);
    if ((uint32_t)XXH3_64bits_digest(checks->state) == checks->frame.payload_sum)
        return true;
    return fail_payload(link, checks, &checks->frame);
}
