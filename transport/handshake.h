/*
 * SPDX-License-Identifier: Apache-2.0
 * Mutual authentication of the two ends of a stream socket that share a 32-byte secret. Three
 * messages:
 *
 *   client -> server   magic, client's nonce
 *   server -> client   magic, server's nonce, MAC(secret; "server", purpose, both nonces)
 *   client -> server   MAC(secret; "client", purpose, both nonces)
 *
 * Role and purpose are under the MAC, so no message can be reflected or used elsewhere; both nonces
 * are fresh, so none can be replayed. Afterwards each direction has a key of its own, made from the
 * secret and the nonces. Exactly the bytes of the handshake are read. Nothing blocks, nothing is
 * allocated; deadlines are the caller's.
 */
#ifndef WEFT_TRANSPORT_HANDSHAKE_H
#define WEFT_TRANSPORT_HANDSHAKE_H

#include <stdbool.h>

#include "base/error.h"

enum { WEFT_SECRET_BYTES = 32, WEFT_PURPOSE_BYTES = 32, WEFT_HANDSHAKE_MESSAGE_BYTES = 72 };

enum weft_handshake_role { WEFT_HANDSHAKE_CLIENT, WEFT_HANDSHAKE_SERVER };

/* In the caller's memory; holds secrets: weft_handshake_clear it. */
struct weft_handshake {
    enum weft_handshake_role role;
    int stage; // index into the table of handshake.c
    unsigned char secret[WEFT_SECRET_BYTES];
    unsigned char purpose[WEFT_PURPOSE_BYTES];
    unsigned char nonces[2][32]; // indexed by role
    unsigned char in[WEFT_HANDSHAKE_MESSAGE_BYTES];
    unsigned char out[WEFT_HANDSHAKE_MESSAGE_BYTES];
    size_t in_bytes;
    size_t out_bytes;
    size_t out_sent;
    unsigned char send_key[32];    // valid after OK
    unsigned char receive_key[32]; // valid after OK
};

/* `purpose` is at most WEFT_PURPOSE_BYTES - 1 characters; equal at both ends.
 * Errors: SYSTEM (libsodium cannot start). */
weft_status weft_handshake_init(struct weft_handshake *handshake, enum weft_handshake_role role,
                                const unsigned char *secret, const char *purpose,
                                struct weft_error *error);
/* IN_PROGRESS; OK: both ends know the secret; PERMISSION: the other end does not, or speaks
 * something else; REMOTE: it closed the connection; SYSTEM. After a failure: call it no more. */
weft_status weft_handshake_progress(struct weft_handshake *handshake, int connection,
                                    struct weft_error *error);
/* Whether bytes wait to be written (poll for writing). */
bool weft_handshake_wants_write(const struct weft_handshake *handshake);
void weft_handshake_clear(struct weft_handshake *handshake);

#endif
