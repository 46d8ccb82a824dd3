/*
 * SPDX-License-Identifier: Apache-2.0
 * Readers and writers of the control plane's addresses and messages.
 */
#include "transport/control_wire.h"

#include <assert.h>
#include <string.h>

#include "transport/bytes.h"

enum { ADDRESS_VERSION = 1 };

void weft_control_write_address(const struct weft_control_address *value, void *address)
{
    struct weft_writer writer = {address, WEFT_CONTROL_ADDRESS_BYTES, false};
    memset(address, 0, WEFT_CONTROL_ADDRESS_BYTES);
    weft_put_integer(&writer, ADDRESS_VERSION, 1);
    weft_put_integer(&writer, value->endpoint.family, 1);
    weft_put_integer(&writer, value->endpoint.port, 2);
    weft_put_integer(&writer, value->pid, 4);
    weft_put(&writer, value->endpoint.address, sizeof value->endpoint.address);
    weft_put(&writer, value->key, sizeof value->key);
    weft_put(&writer, value->host, strnlen(value->host, WEFT_CONTROL_HOST_BYTES));
    assert(!writer.bad);
}

weft_status weft_control_read_address(const void *address, struct weft_control_address *value,
                                      struct weft_error *error)
{
    struct weft_reader reader = {address, WEFT_CONTROL_ADDRESS_BYTES, false};
    struct weft_control_address read;
    uint64_t version = weft_take_integer(&reader, 1);
    read.endpoint.family = (uint8_t)weft_take_integer(&reader, 1);
    read.endpoint.port = (uint16_t)weft_take_integer(&reader, 2);
    read.pid = (uint32_t)weft_take_integer(&reader, 4);
    memcpy(read.endpoint.address, weft_take(&reader, 16), 16);
    memcpy(read.key, weft_take(&reader, WEFT_SECRET_BYTES), WEFT_SECRET_BYTES);
    weft_text_clean(read.host, weft_take(&reader, WEFT_CONTROL_HOST_BYTES),
                    WEFT_CONTROL_HOST_BYTES);
    if (version != ADDRESS_VERSION)
        return weft_fail(error, WEFT_INVALID_FORMAT, "control address of version %u",
                         (unsigned)version);
    if ((read.endpoint.family != 4 && read.endpoint.family != 6) || read.endpoint.port == 0)
        return weft_fail(error, WEFT_INVALID_FORMAT, "malformed control address");
    *value = read;
    return WEFT_OK;
}

size_t weft_control_write(const struct weft_control_message *value, unsigned char *message)
{
    struct weft_writer writer = {message, WEFT_CONTROL_MESSAGE_LIMIT, false};
    const struct weft_notice *notice = &value->notice;
    weft_put_integer(&writer, (uint64_t)value->type, 1);
    weft_put_integer(&writer, value->rank, 4);
    if (value->type == WEFT_CONTROL_HELLO) {
        weft_put_integer(&writer, value->num_ranks, 4);
    } else if (value->type == WEFT_CONTROL_LEFT) {
        weft_put_integer(&writer, value->forward, 1);
    } else {
        size_t length = strnlen(notice->text, sizeof notice->text - 1);
        weft_put_integer(&writer, value->sequence, 4);
        weft_put_integer(&writer, (uint64_t)notice->kind, 1);
        weft_put_integer(&writer, notice->comm, 4);
        weft_put_integer(&writer, notice->epoch, 4);
        weft_put_integer(&writer, (uint32_t)notice->subject, 4);
        weft_put_integer(&writer, (uint32_t)notice->status, 4);
        weft_put(&writer, notice->text, length);
        weft_put_integer(&writer, 0, 1);
    }
    assert(!writer.bad);
    return WEFT_CONTROL_MESSAGE_LIMIT - writer.left;
}

static weft_status read_notice(struct weft_reader *reader, uint32_t num_ranks,
                               struct weft_control_message *value, struct weft_error *error)
{
    struct weft_notice *notice = &value->notice;
    value->sequence = (uint32_t)weft_take_integer(reader, 4);
    uint64_t kind = weft_take_integer(reader, 1);
    notice->comm = (uint32_t)weft_take_integer(reader, 4);
    notice->epoch = (uint32_t)weft_take_integer(reader, 4);
    uint64_t subject = weft_take_integer(reader, 4);
    uint64_t status = weft_take_integer(reader, 4);
    size_t length = reader->left;
    const unsigned char *text = weft_take(reader, length);
    if (reader->bad)
        return weft_fail(error, WEFT_INVALID_FORMAT, "a notice that is cut short");
    if (kind < WEFT_NOTICE_DEATH || kind > WEFT_NOTICE_FAILURE)
        return weft_fail(error, WEFT_INVALID_FORMAT, "a notice of unknown kind %u", (unsigned)kind);
    if (subject >= num_ranks || value->sequence == 0)
        return weft_fail(error, WEFT_INVALID_FORMAT, "a notice about rank %u of %u",
                         (unsigned)subject, num_ranks);
    // A notice that ends operations must not end them well, or not at all.
    bool is_failure = status > WEFT_AGAIN && status <= WEFT_INTERNAL;
    if (kind == WEFT_NOTICE_DEATH ? status > WEFT_INTERNAL : !is_failure)
        return weft_fail(error, WEFT_INVALID_FORMAT, "a notice of unknown status %u",
                         (unsigned)status);
    if (length == 0 || length > sizeof notice->text || memchr(text, 0, length) != text + length - 1)
        return weft_fail(error, WEFT_INVALID_FORMAT, "a notice whose text has no proper end");
    notice->kind = (enum weft_notice_kind)kind;
    notice->subject = (int32_t)subject;
    notice->status = (int32_t)status;
    weft_text_clean(notice->text, text, length - 1);
    return WEFT_OK;
}

weft_status weft_control_read(const unsigned char *message, size_t bytes, uint32_t num_ranks,
                              struct weft_control_message *value, struct weft_error *error)
{
    struct weft_reader reader = {message, bytes, false};
    struct weft_control_message read = {.type = (int)weft_take_integer(&reader, 1)};
    read.rank = (uint32_t)weft_take_integer(&reader, 4);
    if (reader.bad || read.rank >= num_ranks)
        return weft_fail(error, WEFT_INVALID_FORMAT, "a message of no rank of this world");
    if (read.type == WEFT_CONTROL_NOTICE) {
        WEFT_TRY(read_notice(&reader, num_ranks, &read, error));
    } else if (read.type == WEFT_CONTROL_HELLO) {
        read.num_ranks = (uint32_t)weft_take_integer(&reader, 4);
    } else if (read.type == WEFT_CONTROL_LEFT) {
        read.forward = weft_take_integer(&reader, 1) & 1;
    } else {
        return weft_fail(error, WEFT_INVALID_FORMAT, "a message of unknown type %d", read.type);
    }
    if (reader.bad || reader.left)
        return weft_fail(error, WEFT_INVALID_FORMAT, "a message of wrong length");
    *value = read;
    return WEFT_OK;
}
