/*
 * SPDX-License-Identifier: Apache-2.0
 * A stream socket as a sequence of sealed frames: the handshake of handshake.h, then frames that
 * are encrypted and authenticated with the session's keys and numbered, so none can be forged,
 * altered, replayed, reordered or dropped unnoticed. Registers itself in the owner's epoll
 * descriptor for exactly what it waits for. Nothing blocks.
 */
#ifndef WEFT_TRANSPORT_SEALED_H
#define WEFT_TRANSPORT_SEALED_H

#include <stdbool.h>

#include "transport/handshake.h"
#include "transport/watch.h"

struct weft_sealed;

struct weft_sealed_options {
    enum weft_handshake_role role;
    const unsigned char *secret; // WEFT_SECRET_BYTES; copied
    const char *purpose;         // copied
    int epoll;                   // where the socket is registered
    struct weft_watch *watch;    // that is called when progress has something to do
    size_t frame_limit;          // longest frame that is accepted
};

/* Takes `connection` over, on failure too. `connecting`: connect was begun, may not be through.
 * Errors: OUT_OF_MEMORY, SYSTEM. */
weft_status weft_sealed_open(int connection, bool connecting,
                             const struct weft_sealed_options *options, struct weft_sealed **sealed,
                             struct weft_error *error);
/* Does what the socket allows: connects, authenticates, writes what is queued. IN_PROGRESS: not
 * authenticated yet; OK: frames can be sent and received; else the connection is lost, with the
 * reason: REMOTE, PERMISSION, SYSTEM. Once open it fails no more: what is lost then shows in
 * receive, behind the frames that still came. */
weft_status weft_sealed_progress(struct weft_sealed *sealed, struct weft_error *error);
/* Another watch from the next turn on. */
void weft_sealed_set_watch(struct weft_sealed *sealed, struct weft_watch *watch);
/* Whether the socket itself is connected (authenticated or not). */
bool weft_sealed_is_connected(const struct weft_sealed *sealed);
bool weft_sealed_is_open(const struct weft_sealed *sealed);
/* Queues a frame of `bytes` (> 0) bytes and writes what the socket takes now. After open only.
 * Errors: OUT_OF_MEMORY. */
weft_status weft_sealed_send(struct weft_sealed *sealed, const void *data, size_t bytes,
                             struct weft_error *error);
/* Bytes that the socket has not taken yet. */
size_t weft_sealed_queued_bytes(const struct weft_sealed *sealed);
/* Whether the other end's system has acknowledged all that was sent. */
bool weft_sealed_has_arrived(const struct weft_sealed *sealed);
/* The next frame; *data is valid until the next call. IN_PROGRESS: none now; REMOTE: the
 * connection ended; INVALID_FORMAT: not a frame of the peer; OUT_OF_MEMORY. Reads the socket a
 * bounded number of times between two calls of weft_sealed_progress, so nobody can keep its owner
 * busy for ever; call it until it does not return OK. */
weft_status weft_sealed_receive(struct weft_sealed *sealed, const unsigned char **data,
                                size_t *bytes, struct weft_error *error);
/* Ends the sending direction once all is written (the peer then sees the end). */
void weft_sealed_shutdown(struct weft_sealed *sealed);
void weft_sealed_close(struct weft_sealed **sealed);

#endif
