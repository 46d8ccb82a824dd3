/*
 * SPDX-License-Identifier: Apache-2.0
 * TCP: a frame on its way to a socket, which may take it in parts. The payload stays where it is
 * until all is written, unless its owner wants it back.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "transport/tcp_parts.h"

enum {
    HEADER_BYTES = sizeof(struct tcp_frame),
    SMALL_BYTES = 8 << 10, // payloads up to this are copied behind their header
};

/* A small packet in one piece, which the kernel takes faster than two. */
static ssize_t write_small(const struct tcp_out *out, int socket)
{
    _Alignas(64) unsigned char whole[HEADER_BYTES + SMALL_BYTES];
    size_t bytes = out->frame.packet.payload_bytes;
    memcpy(whole, &out->frame, HEADER_BYTES);
    if (bytes)
        memcpy(whole + HEADER_BYTES, out->payload, bytes);
    return send(socket, whole, HEADER_BYTES + bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static ssize_t write_rest(const struct tcp_out *out, int socket)
{
    size_t header = out->done < HEADER_BYTES ? HEADER_BYTES - out->done : 0;
    size_t payload_done = header ? 0 : out->done - HEADER_BYTES;
    struct iovec pieces[2] = {
        {.iov_base = (unsigned char *)&out->frame + HEADER_BYTES - header, .iov_len = header},
        {.iov_base = (unsigned char *)(uintptr_t)out->payload + payload_done,
         .iov_len = out->frame.packet.payload_bytes - payload_done},
    };
    struct msghdr message = {.msg_iov = pieces,
                             .msg_iovlen = out->frame.packet.payload_bytes ? 2 : 1};
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool weft_tcp_out_continue(struct tcp_out *out, int socket)
{
    bool is_small = out->done == 0 && out->frame.packet.payload_bytes <= SMALL_BYTES;
    ssize_t sent = is_small ? write_small(out, socket) : write_rest(out, socket);
    if (sent > 0)
        out->done += (size_t)sent;
    // Errors are found by reading, after what the peer sent before is read.
    out->is_partial = out->done > 0 && weft_tcp_out_left(out) > 0;
    if (out->is_partial || out->done == 0)
        return false;
    weft_tcp_out_drop(out);
    return true;
}

bool weft_tcp_out_begin(struct tcp_out *out, const struct tcp_checks *checks, int socket,
                        const struct weft_packet *packet, const void *payload)
{
    out->frame.packet = *packet;
    weft_tcp_check_seal(checks, &out->frame, payload);
    out->payload = payload;
    out->done = 0;
    return weft_tcp_out_continue(out, socket);
}

bool weft_tcp_out_keep(struct tcp_out *out)
{
    if (!out->frame.packet.payload_bytes)
        return true;
    out->copy = malloc(out->frame.packet.payload_bytes);
    if (!out->copy)
        return false;
    memcpy(out->copy, out->payload, out->frame.packet.payload_bytes);
    out->payload = out->copy;
    return true;
}

void weft_tcp_out_drop(struct tcp_out *out)
{
    out->is_partial = false;
    free(out->copy);
    out->copy = NULL;
}
