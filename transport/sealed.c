/*
 * SPDX-License-Identifier: Apache-2.0
 * Frame: length of the text (4 bytes, little endian, authenticated), then ChaCha20-Poly1305 of the
 * text under the direction's session key with the frame's number as nonce.
 */
#include "transport/sealed.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/bytes.h"
#include "transport/endpoint.h"

enum { LENGTH_BYTES = 4, TAG_BYTES = crypto_aead_chacha20poly1305_ietf_ABYTES };
enum { FRAME_EXTRA_BYTES = LENGTH_BYTES + TAG_BYTES, READ_BYTES = 16 << 10, READS_PER_TURN = 16 };

enum phase { CONNECTING, AUTHENTICATING, OPEN };

struct buffer {
    unsigned char *data;
    size_t capacity;
    size_t begin;
    size_t end;
};

struct weft_sealed {
    int connection;
    int epoll;
    struct weft_watch *watch;
    uint32_t interest;
    enum phase phase;
    bool write_failed; // what is queued can go nowhere; reading tells why
    bool shut_down;    // once the queue is empty
    int reads_left;
    size_t frame_limit;
    uint64_t sent_frames;
    uint64_t received_frames;
    struct buffer in;
    struct buffer out;
    struct weft_handshake handshake; // its keys serve the session
};

static weft_status reserve(struct buffer *buffer, size_t bytes, struct weft_error *error)
{
    if (buffer->begin == buffer->end)
        buffer->begin = buffer->end = 0;
    if (buffer->capacity - buffer->end >= bytes)
        return WEFT_OK;
    size_t used = buffer->end - buffer->begin;
    if (buffer->begin > 0) {
        memmove(buffer->data, buffer->data + buffer->begin, used);
        buffer->begin = 0;
        buffer->end = used;
    }
    if (buffer->capacity - used >= bytes)
        return WEFT_OK;
    size_t capacity = buffer->capacity * 2 > used + bytes ? buffer->capacity * 2 : used + bytes;
    unsigned char *data = realloc(buffer->data, capacity);
    if (!data)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a message of %zu bytes", bytes);
    buffer->data = data;
    buffer->capacity = capacity;
    return WEFT_OK;
}

static void update_interest(struct weft_sealed *sealed)
{
    bool writes = sealed->phase == CONNECTING || weft_handshake_wants_write(&sealed->handshake) ||
                  sealed->out.begin < sealed->out.end;
    // While connecting, a socket that is not connected yet must not poll readable.
    uint32_t interest =
        (sealed->phase == CONNECTING ? 0 : (uint32_t)EPOLLIN) | (writes ? (uint32_t)EPOLLOUT : 0);
    if (interest == sealed->interest)
        return;
    struct epoll_event event = {.events = interest, .data.ptr = sealed->watch};
    if (epoll_ctl(sealed->epoll, EPOLL_CTL_MOD, sealed->connection, &event) == 0)
        sealed->interest = interest;
}

weft_status weft_sealed_open(int connection, bool connecting,
                             const struct weft_sealed_options *options, struct weft_sealed **sealed,
                             struct weft_error *error)
{
    struct weft_sealed *made = calloc(1, sizeof *made);
    if (!made) {
        close(connection);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a connection");
    }
    made->connection = connection;
    made->epoll = options->epoll;
    made->watch = options->watch;
    made->phase = connecting ? CONNECTING : AUTHENTICATING;
    made->reads_left = READS_PER_TURN;
    made->frame_limit = options->frame_limit;
    made->interest = connecting ? EPOLLOUT : EPOLLIN;
    weft_status status = weft_handshake_init(&made->handshake, options->role, options->secret,
                                             options->purpose, error);
    struct epoll_event event = {.events = made->interest, .data.ptr = made->watch};
    if (status == WEFT_OK && epoll_ctl(made->epoll, EPOLL_CTL_ADD, connection, &event) != 0)
        status = weft_fail(error, WEFT_SYSTEM, "epoll_ctl: %s", strerror(errno));
    if (status != WEFT_OK) {
        weft_sealed_close(&made);
        return status;
    }
    *sealed = made;
    return WEFT_OK;
}

static void flush(struct weft_sealed *sealed)
{
    struct buffer *out = &sealed->out;
    while (out->begin < out->end && !sealed->write_failed) {
        ssize_t sent =
            send(sealed->connection, out->data + out->begin, out->end - out->begin, MSG_NOSIGNAL);
        if (sent >= 0)
            out->begin += (size_t)sent;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            break;
        else if (errno != EINTR)
            sealed->write_failed = true;
    }
    if (sealed->write_failed)
        out->begin = out->end;
    if (sealed->shut_down && out->begin == out->end)
        shutdown(sealed->connection, SHUT_WR);
}

weft_status weft_sealed_progress(struct weft_sealed *sealed, struct weft_error *error)
{
    weft_status status = WEFT_OK;
    sealed->reads_left = READS_PER_TURN;
    if (sealed->phase == CONNECTING) {
        status = weft_endpoint_connected(sealed->connection, error);
        if (status == WEFT_OK)
            sealed->phase = AUTHENTICATING;
    }
    if (sealed->phase == AUTHENTICATING) {
        status = weft_handshake_progress(&sealed->handshake, sealed->connection, error);
        if (status == WEFT_OK)
            sealed->phase = OPEN;
    }
    if (sealed->phase == OPEN)
        flush(sealed);
    update_interest(sealed);
    return status;
}

void weft_sealed_set_watch(struct weft_sealed *sealed, struct weft_watch *watch)
{
    sealed->watch = watch;
    sealed->interest = 0; // whatever it is, it must be registered anew
    update_interest(sealed);
}

bool weft_sealed_is_connected(const struct weft_sealed *sealed)
{
    return sealed->phase != CONNECTING;
}

bool weft_sealed_is_open(const struct weft_sealed *sealed)
{
    return sealed->phase == OPEN;
}

static void make_nonce(uint64_t number, unsigned char *nonce)
{
    struct weft_writer writer = {nonce, crypto_aead_chacha20poly1305_ietf_NPUBBYTES, false};
    weft_put_integer(&writer, 0, 4);
    weft_put_integer(&writer, number, 8);
}

weft_status weft_sealed_send(struct weft_sealed *sealed, const void *data, size_t bytes,
                             struct weft_error *error)
{
    unsigned char nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    assert(sealed->phase == OPEN && bytes > 0 && bytes <= UINT32_MAX);
    if (sealed->write_failed || sealed->shut_down)
        return WEFT_OK;
    WEFT_TRY(reserve(&sealed->out, bytes + FRAME_EXTRA_BYTES, error));
    unsigned char *frame = sealed->out.data + sealed->out.end;
    struct weft_writer writer = {frame, LENGTH_BYTES, false};
    weft_put_integer(&writer, bytes, LENGTH_BYTES);
    make_nonce(sealed->sent_frames++, nonce);
    crypto_aead_chacha20poly1305_ietf_encrypt(frame + LENGTH_BYTES, NULL, data, bytes, frame,
                                              LENGTH_BYTES, NULL, nonce,
                                              sealed->handshake.send_key);
    sealed->out.end += bytes + FRAME_EXTRA_BYTES;
    flush(sealed);
    update_interest(sealed);
    return WEFT_OK;
}

size_t weft_sealed_queued_bytes(const struct weft_sealed *sealed)
{
    return sealed->out.end - sealed->out.begin;
}

bool weft_sealed_has_arrived(const struct weft_sealed *sealed)
{
    int unacknowledged = 0;
    if (weft_sealed_queued_bytes(sealed) > 0)
        return false;
    return ioctl(sealed->connection, SIOCOUTQ, &unacknowledged) != 0 || unacknowledged == 0;
}

/* OK: `in` grew. */
static weft_status read_some(struct weft_sealed *sealed, size_t wanted, struct weft_error *error)
{
    struct buffer *in = &sealed->in;
    WEFT_TRY(reserve(in, wanted > READ_BYTES ? wanted : READ_BYTES, error));
    for (;;) {
        if (sealed->reads_left <= 0)
            return WEFT_IN_PROGRESS;
        ssize_t got = recv(sealed->connection, in->data + in->end, in->capacity - in->end, 0);
        if (got > 0) {
            sealed->reads_left--;
            in->end += (size_t)got;
            return WEFT_OK;
        }
        if (got == 0)
            return weft_fail(error, WEFT_REMOTE, "connection closed");
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return WEFT_IN_PROGRESS;
        if (errno != EINTR)
            return weft_fail(error, WEFT_REMOTE, "%s", strerror(errno));
    }
}

weft_status weft_sealed_receive(struct weft_sealed *sealed, const unsigned char **data,
                                size_t *bytes, struct weft_error *error)
{
    struct buffer *in = &sealed->in;
    unsigned char nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    assert(sealed->phase == OPEN);
    for (;;) {
        size_t have = in->end - in->begin, wanted = LENGTH_BYTES;
        if (have >= LENGTH_BYTES) {
            struct weft_reader reader = {in->data + in->begin, LENGTH_BYTES, false};
            size_t length = weft_take_integer(&reader, LENGTH_BYTES);
            if (length == 0 || length > sealed->frame_limit)
                return weft_fail(error, WEFT_INVALID_FORMAT,
                                 "a message of %zu bytes where at most %zu are allowed", length,
                                 sealed->frame_limit);
            wanted = length + FRAME_EXTRA_BYTES;
        }
        if (have >= wanted)
            break;
        WEFT_TRY(read_some(sealed, wanted - have, error));
    }
    unsigned char *frame = in->data + in->begin;
    struct weft_reader reader = {frame, LENGTH_BYTES, false};
    size_t length = weft_take_integer(&reader, LENGTH_BYTES);
    make_nonce(sealed->received_frames++, nonce);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(
            frame + LENGTH_BYTES, NULL, NULL, frame + LENGTH_BYTES, length + TAG_BYTES, frame,
            LENGTH_BYTES, nonce, sealed->handshake.receive_key) != 0)
        return weft_fail(error, WEFT_INVALID_FORMAT, "a message that is not authentic");
    in->begin += length + FRAME_EXTRA_BYTES;
    *data = frame + LENGTH_BYTES;
    *bytes = length;
    return WEFT_OK;
}

void weft_sealed_shutdown(struct weft_sealed *sealed)
{
    sealed->shut_down = true;
    flush(sealed);
    update_interest(sealed);
}

void weft_sealed_close(struct weft_sealed **sealed)
{
    struct weft_sealed *old = *sealed;
    if (!old)
        return;
    *sealed = NULL;
    close(old->connection); // leaves the epoll set with it
    weft_handshake_clear(&old->handshake);
    if (old->in.data)
        sodium_memzero(old->in.data, old->in.capacity);
    free(old->in.data);
    free(old->out.data);
    free(old);
}
