/*
 * SPDX-License-Identifier: Apache-2.0
 * The handshake as a table: a stage reads one message of fixed length and acts on it.
 */
#include "transport/handshake.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>

#include "transport/bytes.h"

enum { MAGIC_BYTES = 8, NONCE_BYTES = 32, MAC_BYTES = crypto_auth_BYTES };
enum { HELLO_BYTES = MAGIC_BYTES + NONCE_BYTES, CHALLENGE_BYTES = HELLO_BYTES + MAC_BYTES };
static_assert((int)CHALLENGE_BYTES == (int)WEFT_HANDSHAKE_MESSAGE_BYTES, "the longest message");
static_assert((int)crypto_auth_KEYBYTES == (int)WEFT_SECRET_BYTES, "the secret is the MAC's key");

// The last character is the version of the protocol.
static const unsigned char magics[2][MAGIC_BYTES] = {
    [WEFT_HANDSHAKE_CLIENT] = "weftask1",
    [WEFT_HANDSHAKE_SERVER] = "weftans1",
};

enum { TRANSCRIPT_BYTES = 1 + WEFT_PURPOSE_BYTES + 2 * NONCE_BYTES };

static void write_transcript(const struct weft_handshake *handshake, unsigned char label,
                             unsigned char *transcript)
{
    struct weft_writer writer = {transcript, TRANSCRIPT_BYTES, false};
    weft_put(&writer, &label, 1);
    weft_put(&writer, handshake->purpose, WEFT_PURPOSE_BYTES);
    weft_put(&writer, handshake->nonces, 2 * NONCE_BYTES);
    assert(!writer.bad && writer.left == 0);
}

static void prove(const struct weft_handshake *handshake, enum weft_handshake_role role,
                  unsigned char *mac)
{
    unsigned char transcript[TRANSCRIPT_BYTES];
    write_transcript(handshake, role == WEFT_HANDSHAKE_CLIENT ? 'c' : 's', transcript);
    crypto_auth(mac, transcript, sizeof transcript, handshake->secret);
}

static bool has_proof(const struct weft_handshake *handshake, enum weft_handshake_role role,
                      const unsigned char *mac)
{
    unsigned char transcript[TRANSCRIPT_BYTES];
    write_transcript(handshake, role == WEFT_HANDSHAKE_CLIENT ? 'c' : 's', transcript);
    return crypto_auth_verify(mac, transcript, sizeof transcript, handshake->secret) == 0;
}

static void make_key(const struct weft_handshake *handshake, enum weft_handshake_role sender,
                     unsigned char *key)
{
    unsigned char transcript[TRANSCRIPT_BYTES];
    write_transcript(handshake, sender == WEFT_HANDSHAKE_CLIENT ? 'C' : 'S', transcript);
    crypto_generichash(key, 32, transcript, sizeof transcript, handshake->secret,
                       WEFT_SECRET_BYTES);
}

static void make_keys(struct weft_handshake *handshake)
{
    enum weft_handshake_role other =
        handshake->role == WEFT_HANDSHAKE_CLIENT ? WEFT_HANDSHAKE_SERVER : WEFT_HANDSHAKE_CLIENT;
    make_key(handshake, handshake->role, handshake->send_key);
    make_key(handshake, other, handshake->receive_key);
}

static void put_out(struct weft_handshake *handshake, const void *data, size_t bytes)
{
    assert(handshake->out_bytes + bytes <= sizeof handshake->out);
    memcpy(handshake->out + handshake->out_bytes, data, bytes);
    handshake->out_bytes += bytes;
}

static weft_status on_hello(struct weft_handshake *handshake, struct weft_error *error)
{
    (void)error;
    unsigned char mac[MAC_BYTES];
    memcpy(handshake->nonces[WEFT_HANDSHAKE_CLIENT], handshake->in + MAGIC_BYTES, NONCE_BYTES);
    prove(handshake, WEFT_HANDSHAKE_SERVER, mac);
    put_out(handshake, magics[WEFT_HANDSHAKE_SERVER], MAGIC_BYTES);
    put_out(handshake, handshake->nonces[WEFT_HANDSHAKE_SERVER], NONCE_BYTES);
    put_out(handshake, mac, MAC_BYTES);
    return WEFT_OK;
}

static weft_status refuse(struct weft_error *error)
{
    return weft_fail(error, WEFT_PERMISSION, "the other end does not know the secret");
}

static weft_status on_challenge(struct weft_handshake *handshake, struct weft_error *error)
{
    unsigned char mac[MAC_BYTES];
    memcpy(handshake->nonces[WEFT_HANDSHAKE_SERVER], handshake->in + MAGIC_BYTES, NONCE_BYTES);
    if (!has_proof(handshake, WEFT_HANDSHAKE_SERVER, handshake->in + HELLO_BYTES))
        return refuse(error);
    prove(handshake, WEFT_HANDSHAKE_CLIENT, mac);
    put_out(handshake, mac, MAC_BYTES);
    make_keys(handshake);
    return WEFT_OK;
}

static weft_status on_proof(struct weft_handshake *handshake, struct weft_error *error)
{
    if (!has_proof(handshake, WEFT_HANDSHAKE_CLIENT, handshake->in))
        return refuse(error);
    make_keys(handshake);
    return WEFT_OK;
}

enum stage { AWAIT_CHALLENGE, AWAIT_HELLO, AWAIT_PROOF, FLUSH };

struct stage_row {
    size_t bytes;               // of the message that ends the stage
    const unsigned char *magic; // that it begins with; NULL: none
    weft_status (*act)(struct weft_handshake *handshake, struct weft_error *error);
    enum stage next;
};

static const struct stage_row stages[] = {
    [AWAIT_CHALLENGE] = {CHALLENGE_BYTES, magics[WEFT_HANDSHAKE_SERVER], on_challenge, FLUSH},
    [AWAIT_HELLO] = {HELLO_BYTES, magics[WEFT_HANDSHAKE_CLIENT], on_hello, AWAIT_PROOF},
    [AWAIT_PROOF] = {MAC_BYTES, NULL, on_proof, FLUSH},
};

weft_status weft_handshake_init(struct weft_handshake *handshake, enum weft_handshake_role role,
                                const unsigned char *secret, const char *purpose,
                                struct weft_error *error)
{
    if (sodium_init() < 0)
        return weft_fail(error, WEFT_SYSTEM, "libsodium cannot be initialised");
    memset(handshake, 0, sizeof *handshake);
    handshake->role = role;
    handshake->stage = role == WEFT_HANDSHAKE_CLIENT ? AWAIT_CHALLENGE : AWAIT_HELLO;
    memcpy(handshake->secret, secret, WEFT_SECRET_BYTES);
    assert(strlen(purpose) < WEFT_PURPOSE_BYTES);
    memcpy(handshake->purpose, purpose, strnlen(purpose, WEFT_PURPOSE_BYTES - 1));
    randombytes_buf(handshake->nonces[role], NONCE_BYTES);
    if (role == WEFT_HANDSHAKE_CLIENT) {
        put_out(handshake, magics[role], MAGIC_BYTES);
        put_out(handshake, handshake->nonces[role], NONCE_BYTES);
    }
    return WEFT_OK;
}

static weft_status write_some(struct weft_handshake *handshake, int connection,
                              struct weft_error *error)
{
    while (handshake->out_sent < handshake->out_bytes) {
        ssize_t sent = send(connection, handshake->out + handshake->out_sent,
                            handshake->out_bytes - handshake->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return WEFT_IN_PROGRESS;
        if (sent < 0)
            return weft_fail(error, WEFT_REMOTE, "connection lost while authenticating: %s",
                             strerror(errno));
        handshake->out_sent += (size_t)sent;
    }
    handshake->out_bytes = handshake->out_sent = 0;
    return WEFT_OK;
}

static weft_status read_message(struct weft_handshake *handshake, int connection,
                                struct weft_error *error)
{
    const struct stage_row *row = &stages[handshake->stage];
    while (handshake->in_bytes < row->bytes) {
        ssize_t got = recv(connection, handshake->in + handshake->in_bytes,
                           row->bytes - handshake->in_bytes, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return WEFT_IN_PROGRESS;
        if (got < 0)
            return weft_fail(error, WEFT_REMOTE, "connection lost while authenticating: %s",
                             strerror(errno));
        if (got == 0)
            return weft_fail(error, WEFT_REMOTE, "connection closed while authenticating");
        handshake->in_bytes += (size_t)got;
        size_t check = handshake->in_bytes < MAGIC_BYTES ? handshake->in_bytes : MAGIC_BYTES;
        if (row->magic && memcmp(handshake->in, row->magic, check) != 0)
            return weft_fail(error, WEFT_PERMISSION,
                             check == MAGIC_BYTES &&
                                     memcmp(handshake->in, row->magic, MAGIC_BYTES - 1) == 0
                                 ? "the other end speaks another version of the protocol"
                                 : "the other end does not speak Weft's protocol");
    }
    return WEFT_OK;
}

weft_status weft_handshake_progress(struct weft_handshake *handshake, int connection,
                                    struct weft_error *error)
{
    for (;;) {
        WEFT_TRY(write_some(handshake, connection, error));
        if (handshake->stage == FLUSH)
            return WEFT_OK;
        WEFT_TRY(read_message(handshake, connection, error));
        WEFT_TRY(stages[handshake->stage].act(handshake, error));
        handshake->stage = (int)stages[handshake->stage].next;
        handshake->in_bytes = 0;
    }
}

bool weft_handshake_wants_write(const struct weft_handshake *handshake)
{
    return handshake->out_sent < handshake->out_bytes;
}

void weft_handshake_clear(struct weft_handshake *handshake)
{
    sodium_memzero(handshake, sizeof *handshake);
}
