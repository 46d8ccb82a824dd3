/*
 * SPDX-License-Identifier: Apache-2.0
 * Internet addresses and the sockets on them, as the meeting and the control plane use them:
 * non-blocking, close-on-exec, no delay.
 */
#ifndef WEFT_TRANSPORT_ENDPOINT_H
#define WEFT_TRANSPORT_ENDPOINT_H

#include <stdbool.h>

#include "base/error.h"

enum { WEFT_ENDPOINT_TEXT_BYTES = 64, WEFT_HOST_NAME_BYTES = 64 };

struct weft_endpoint {
    uint8_t family; // 4 or 6
    uint16_t port;
    unsigned char address[16]; // network order; IPv4: the first four
};

/* Numeric addresses only: never blocks. Errors: INVALID_ARGUMENT. */
weft_status weft_endpoint_parse(const char *address, int port, struct weft_endpoint *endpoint,
                                struct weft_error *error);
/* Host names too, by the system's resolver: may block. Errors: INVALID_ARGUMENT, NOT_FOUND. */
weft_status weft_endpoint_resolve(const char *host, int port, struct weft_endpoint *endpoint,
                                  struct weft_error *error);
/* "10.0.0.1:80" or "[::1]:80" into WEFT_ENDPOINT_TEXT_BYTES bytes; returns `text`. */
const char *weft_endpoint_text(const struct weft_endpoint *endpoint, char *text);
/* 0.0.0.0 or ::. */
bool weft_endpoint_is_wildcard(const struct weft_endpoint *endpoint);

/* Listens; port 0 becomes the one the system chose. Errors: SYSTEM, with the reason. */
weft_status weft_endpoint_listen(struct weft_endpoint *endpoint, int *listener,
                                 struct weft_error *error);
/* A new connection of `listener`; -1 with errno set when there is none (EAGAIN) or none can be. */
int weft_endpoint_accept(int listener);
/* Begins to connect. REMOTE: refused at once; SYSTEM: this process can make no socket. */
weft_status weft_endpoint_connect(const struct weft_endpoint *endpoint, int *connection,
                                  struct weft_error *error);
/* IN_PROGRESS, OK, or REMOTE with the reason. A socket that the system connected to itself (it may,
 * when nobody listens on a port of the ephemeral range) counts as refused. */
weft_status weft_endpoint_connected(int connection, struct weft_error *error);

/* This host's name, printable and cut to WEFT_HOST_NAME_BYTES - 1 characters. */
void weft_host_name(char *name);
/* Copies a name that came from elsewhere: `bytes` bytes, cut at a NUL, anything unprintable
 * replaced. `name` has room for `bytes` + 1. */
void weft_text_clean(char *name, const void *from, size_t bytes);

#endif
