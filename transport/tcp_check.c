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

bool weft_tcp_check_want(struct tcp_link *link)
{
    link->checks = XXH3_createState();
    return link->checks;
}

void weft_tcp_check_free(struct tcp_link *link)
{
    XXH3_freeState(link->checks);
    link->checks = NULL;
}

static uint32_t header_sum(const struct tcp_frame *frame)
{
    return (uint32_t)XXH3_64bits(frame, offsetof(struct tcp_frame, header_sum));
}

void weft_tcp_check_seal(const struct tcp_link *link, struct tcp_frame *frame, const void *payload)
{
    frame->payload_sum = frame->header_sum = 0;
    if (!link->checks)
        return;
    if (frame->packet.payload_bytes)
        frame->payload_sum = (uint32_t)XXH3_64bits(payload, frame->packet.payload_bytes);
    frame->header_sum = header_sum(frame);
}

static void peer_text(const struct tcp_link *link, char *text, size_t bytes)
{
    char ip[INET6_ADDRSTRLEN] = "";
    const struct tcp_door *door = &link->peer.doors[link->door];
    inet_ntop(door->family, door->ip, ip, sizeof ip);
    snprintf(text, bytes, "%.*s port %u", (int)sizeof ip, ip, door->port);
}

static bool fail_payload(struct tcp_link *link, const struct tcp_frame *frame)
{
    const struct weft_message_key *key = &frame->packet.key;
    char peer[INET6_ADDRSTRLEN + 16], reason[WEFT_PACKET_REASON_BYTES];
    peer_text(link, peer, sizeof peer);
    snprintf(reason, sizeof reason,
             "message %u of lane %u of operation %u from %s arrived damaged (wrong checksum)",
             key->index, key->lane, key->sequence, peer);
    weft_tcp_link_fail(link, reason);
    return false;
}

bool weft_tcp_check_header(struct tcp_link *link, const struct tcp_frame *frame)
{
    char peer[INET6_ADDRSTRLEN + 16], reason[WEFT_PACKET_REASON_BYTES];
    if (!link->checks || header_sum(frame) == frame->header_sum)
        return true;
    peer_text(link, peer, sizeof peer);
    snprintf(reason, sizeof reason,
             "the header of a message from %s arrived damaged (wrong checksum)", peer);
    weft_tcp_link_fail(link, reason);
    return false;
}

bool weft_tcp_check_whole(struct tcp_link *link, const struct tcp_frame *frame, const void *payload)
{
    size_t bytes = frame->packet.payload_bytes;
    if (!link->checks || !bytes || (uint32_t)XXH3_64bits(payload, bytes) == frame->payload_sum)
        return true;
    return fail_payload(link, frame);
}

void weft_tcp_check_begin(struct tcp_link *link, const struct tcp_frame *frame)
{
    if (!link->checks)
        return;
    link->checked = *frame;
    XXH3_64bits_reset(link->checks);
}

void weft_tcp_check_add(struct tcp_link *link, const void *bytes, size_t count)
{
    if (link->checks)
        XXH3_64bits_update(link->checks, bytes, count);
}

bool weft_tcp_check_end(struct tcp_link *link, const void *bytes, size_t count)
{
    if (!link->checks)
        return true;
    XXH3_64bits_update(link->checks, bytes, count);
    if ((uint32_t)XXH3_64bits_digest(link->checks) == link->checked.payload_sum)
        return true;
    return fail_payload(link, &link->checked);
}
