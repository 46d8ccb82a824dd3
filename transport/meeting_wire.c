/*
 * SPDX-License-Identifier: Apache-2.0
 * Readers and writers of the meeting's messages and of unique ids.
 */
#include <sodium.h>
#include <stdio.h>

#include "transport/meeting.h"

size_t weft_meeting_write_register(unsigned char *message, size_t limit,
                                   const struct weft_meeting_register *value)
{
    struct weft_writer writer = {message, limit, false};
    weft_put_integer(&writer, WEFT_MEETING_REGISTER, 1);
    weft_put_integer(&writer, value->rank, 4);
    weft_put_integer(&writer, value->num_ranks, 4);
    weft_put_integer(&writer, value->pid, 4);
    weft_put_integer(&writer, (uint64_t)value->remaining_ns, 8);
    weft_put(&writer, value->host, sizeof value->host);
    weft_put_integer(&writer, value->blob_bytes, 4);
    weft_put(&writer, value->blob, value->blob_bytes);
    return writer.bad ? 0 : limit - writer.left;
}

weft_status weft_meeting_read_register(const unsigned char *message, size_t bytes,
                                       struct weft_meeting_register *value,
                                       struct weft_error *error)
{
    struct weft_reader reader = {message, bytes, false};
    struct weft_meeting_register read = {0};
    uint64_t type = weft_take_integer(&reader, 1);
    read.rank = (uint32_t)weft_take_integer(&reader, 4);
    read.num_ranks = (uint32_t)weft_take_integer(&reader, 4);
    read.pid = (uint32_t)weft_take_integer(&reader, 4);
    uint64_t remaining = weft_take_integer(&reader, 8);
    const unsigned char *host = weft_take(&reader, sizeof read.host);
    read.blob_bytes = weft_take_integer(&reader, 4);
    read.blob = weft_take(&reader, read.blob_bytes);
    if (reader.bad || reader.left || type != WEFT_MEETING_REGISTER ||
        read.blob_bytes > WEFT_BLOB_LIMIT_BYTES || read.num_ranks > WEFT_MEETING_LIMIT_RANKS ||
        read.rank >= read.num_ranks || remaining > INT64_MAX)
        return weft_fail(error, WEFT_INVALID_FORMAT, "malformed registration");
    read.remaining_ns = (int64_t)remaining;
    weft_text_clean(read.host, host, sizeof read.host - 1);
    *value = read;
    return WEFT_OK;
}

size_t weft_meeting_write_welcome(unsigned char *message, size_t limit,
                                  const struct weft_meeting_welcome *value)
{
    struct weft_writer writer = {message, limit, false};
    weft_put_integer(&writer, WEFT_MEETING_WELCOME, 1);
    weft_put_integer(&writer, value->pid, 4);
    weft_put(&writer, value->host, sizeof value->host);
    return writer.bad ? 0 : limit - writer.left;
}

weft_status weft_meeting_read_welcome(const unsigned char *message, size_t bytes,
                                      struct weft_meeting_welcome *value, struct weft_error *error)
{
    struct weft_reader reader = {message, bytes, false};
    struct weft_meeting_welcome read = {0};
    uint64_t type = weft_take_integer(&reader, 1);
    read.pid = (uint32_t)weft_take_integer(&reader, 4);
    const unsigned char *host = weft_take(&reader, sizeof read.host);
    if (reader.bad || reader.left || type != WEFT_MEETING_WELCOME)
        return weft_fail(error, WEFT_INVALID_FORMAT, "malformed welcome");
    weft_text_clean(read.host, host, sizeof read.host - 1);
    *value = read;
    return WEFT_OK;
}

size_t weft_meeting_write_failed(unsigned char *message, size_t limit,
                                 const struct weft_meeting_failed *value)
{
    struct weft_writer writer = {message, limit, false};
    size_t length = strnlen(value->text, sizeof value->text);
    weft_put_integer(&writer, WEFT_MEETING_FAILED, 1);
    weft_put_integer(&writer, (uint64_t)value->status, 1);
    weft_put(&writer, value->text, length);
    return writer.bad ? 0 : limit - writer.left;
}

weft_status weft_meeting_read_failed(const unsigned char *message, size_t bytes,
                                     struct weft_meeting_failed *value, struct weft_error *error)
{
    struct weft_reader reader = {message, bytes, false};
    uint64_t type = weft_take_integer(&reader, 1);
    uint64_t status = weft_take_integer(&reader, 1);
    size_t length = reader.left;
    const unsigned char *text = weft_take(&reader, length);
    if (reader.bad || type != WEFT_MEETING_FAILED || length >= sizeof value->text ||
        (status != WEFT_TIMEOUT && status != WEFT_REMOTE && status != WEFT_MISMATCH &&
         status != WEFT_SYSTEM && status != WEFT_OUT_OF_MEMORY))
        return weft_fail(error, WEFT_INVALID_FORMAT, "malformed failure");
    value->status = (weft_status)status;
    weft_text_clean(value->text, text, length);
    return WEFT_OK;
}

/* Id: magic 6, version 1, family 1, port 2, address 16, secret 32, zeros, checksum 8. */
enum { ID_VERSION = 1, ID_CHECKSUM_BYTES = 8, ID_BODY = WEFT_UNIQUE_ID_BYTES - ID_CHECKSUM_BYTES };
static const unsigned char id_magic[6] = {'W', 'e', 'f', 't', 'I', 'd'};

static void id_checksum(const unsigned char *id, unsigned char *checksum)
{
    unsigned char hash[crypto_generichash_BYTES_MIN];
    crypto_generichash(hash, sizeof hash, id, ID_BODY, NULL, 0);
    memcpy(checksum, hash, ID_CHECKSUM_BYTES);
}

void weft_id_pack(const struct weft_id_contents *contents, weft_unique_id *id)
{
    unsigned char *bytes = (unsigned char *)id->bytes;
    struct weft_writer writer = {bytes, ID_BODY, false};
    memset(id, 0, sizeof *id);
    weft_put(&writer, id_magic, sizeof id_magic);
    weft_put_integer(&writer, ID_VERSION, 1);
    weft_put_integer(&writer, contents->endpoint.family, 1);
    weft_put_integer(&writer, contents->endpoint.port, 2);
    weft_put(&writer, contents->endpoint.address, sizeof contents->endpoint.address);
    weft_put(&writer, contents->secret, sizeof contents->secret);
    id_checksum(bytes, bytes + ID_BODY);
}

weft_status weft_id_unpack(const weft_unique_id *id, struct weft_id_contents *contents,
                           struct weft_error *error)
{
    const unsigned char *bytes = (const unsigned char *)id->bytes;
    struct weft_reader reader = {bytes, ID_BODY, false};
    struct weft_id_contents read;
    unsigned char checksum[ID_CHECKSUM_BYTES];
    if (memcmp(weft_take(&reader, sizeof id_magic), id_magic, sizeof id_magic) != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "this is no unique id of Weft");
    int version = (int)weft_take_integer(&reader, 1);
    if (version != ID_VERSION)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "unique id of version %d; this library reads version %d", version,
                         ID_VERSION);
    id_checksum(bytes, checksum);
    if (memcmp(checksum, bytes + ID_BODY, ID_CHECKSUM_BYTES) != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "damaged unique id (wrong checksum)");
    read.endpoint.family = (uint8_t)weft_take_integer(&reader, 1);
    read.endpoint.port = (uint16_t)weft_take_integer(&reader, 2);
    memcpy(read.endpoint.address, weft_take(&reader, 16), 16);
    memcpy(read.secret, weft_take(&reader, WEFT_SECRET_BYTES), WEFT_SECRET_BYTES);
    if (read.endpoint.family != 4 && read.endpoint.family != 6)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "unique id with unknown address family %d",
                         read.endpoint.family);
    if (read.endpoint.port == 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "unique id with port 0");
    *contents = read;
    return WEFT_OK;
}

void weft_secret_from_text(const char *text, unsigned char *secret)
{
    crypto_generichash(secret, WEFT_SECRET_BYTES, (const unsigned char *)text, strlen(text),
                       (const unsigned char *)"weft secret from text", 21);
}

weft_status weft_unique_id_from_address(const char *address, int port, const char *secret,
                                        weft_unique_id *id, struct weft_error *error)
{
    struct weft_id_contents contents;
    if (sodium_init() < 0)
        return weft_fail(error, WEFT_SYSTEM, "libsodium cannot be initialised");
    if (port < 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "port %d is not one of 1 to 65535", port);
    if (!*secret)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the secret of a meeting is empty");
    WEFT_TRY(weft_endpoint_resolve(address, port, &contents.endpoint, error));
    weft_secret_from_text(secret, contents.secret);
    weft_id_pack(&contents, id);
    sodium_memzero(&contents, sizeof contents);
    return WEFT_OK;
}

void weft_unique_id_to_hex(const weft_unique_id *id, char *hex)
{
    sodium_bin2hex(hex, 2 * WEFT_UNIQUE_ID_BYTES + 1, (const unsigned char *)id->bytes,
                   WEFT_UNIQUE_ID_BYTES);
}

weft_status weft_unique_id_from_hex(const char *hex, weft_unique_id *id, struct weft_error *error)
{
    weft_unique_id read;
    struct weft_id_contents contents;
    size_t bytes = 0, length = strlen(hex);
    if (sodium_init() < 0)
        return weft_fail(error, WEFT_SYSTEM, "libsodium cannot be initialised");
    if (length != 2 * WEFT_UNIQUE_ID_BYTES)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "a unique id has %d hexadecimal digits, this text %zu",
                         2 * WEFT_UNIQUE_ID_BYTES, length);
    if (sodium_hex2bin((unsigned char *)read.bytes, sizeof read.bytes, hex, length, NULL, &bytes,
                       NULL) != 0 ||
        bytes != sizeof read.bytes)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "character %zu of the unique id is no hexadecimal digit",
                         strspn(hex, "0123456789abcdefABCDEF") + 1);
    WEFT_TRY(weft_id_unpack(&read, &contents, error));
    sodium_memzero(&contents, sizeof contents);
    *id = read;
    return WEFT_OK;
}
