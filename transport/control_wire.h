/*
 * SPDX-License-Identifier: Apache-2.0
 * Addresses and messages of the control plane. Internal to the folder; every reader takes hostile
 * bytes.
 *
 *   HELLO   who I am; from the end that connected, answered by the other
 *   NOTICE  a weft_notice, with its origin and the origin's sequence number
 *   LEFT    `subject` says goodbye; forwarded only when its flag says so
 */
#ifndef WEFT_TRANSPORT_CONTROL_WIRE_H
#define WEFT_TRANSPORT_CONTROL_WIRE_H

#include "transport/control.h"
#include "transport/endpoint.h"
#include "transport/handshake.h"

#define WEFT_CONTROL_PURPOSE "weft control"

enum { WEFT_CONTROL_HELLO = 1, WEFT_CONTROL_NOTICE, WEFT_CONTROL_LEFT };
enum { WEFT_CONTROL_MESSAGE_LIMIT = 320, WEFT_CONTROL_HOST_BYTES = 35 };

struct weft_control_address {
    struct weft_endpoint endpoint;
    uint32_t pid;
    unsigned char key[WEFT_SECRET_BYTES];
    char host[WEFT_CONTROL_HOST_BYTES + 1];
};

struct weft_control_message {
    int type;
    uint32_t rank;      // HELLO: sender; NOTICE: origin; LEFT: subject
    uint32_t num_ranks; // HELLO
    uint32_t sequence;  // NOTICE
    bool forward;       // LEFT
    struct weft_notice notice;
};

void weft_control_write_address(const struct weft_control_address *value, void *address);
/* Errors: INVALID_FORMAT. */
weft_status weft_control_read_address(const void *address, struct weft_control_address *value,
                                      struct weft_error *error);
/* Into WEFT_CONTROL_MESSAGE_LIMIT bytes; returns the length. */
size_t weft_control_write(const struct weft_control_message *value, unsigned char *message);
/* Errors: INVALID_FORMAT with the reason. Ranks in *value are below `num_ranks`. */
weft_status weft_control_read(const unsigned char *message, size_t bytes, uint32_t num_ranks,
                              struct weft_control_message *value, struct weft_error *error);

#endif
