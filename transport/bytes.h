/*
 * SPDX-License-Identifier: Apache-2.0
 * Little-endian fields in and out of byte buffers, with bounds: the one way in which messages of
 * the meeting and of the control plane are read and written. A cursor that runs over its end turns
 * `bad` and yields zeros from then on, so a parser checks once, at its end.
 */
#ifndef WEFT_TRANSPORT_BYTES_H
#define WEFT_TRANSPORT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct weft_reader {
    const unsigned char *next;
    size_t left;
    bool bad;
};

struct weft_writer {
    unsigned char *next;
    size_t left;
    bool bad;
};

/* `bytes` bytes of the input, or NULL. */
static inline const unsigned char *weft_take(struct weft_reader *reader, size_t bytes)
{
    if (reader->bad || bytes > reader->left) {
        reader->bad = true;
        return NULL;
    }
    const unsigned char *taken = reader->next;
    reader->next += bytes;
    reader->left -= bytes;
    return taken;
}

static inline uint64_t weft_take_integer(struct weft_reader *reader, size_t bytes)
{
    const unsigned char *taken = weft_take(reader, bytes);
    uint64_t value = 0;
    for (size_t i = 0; taken && i < bytes; i++)
        value |= (uint64_t)taken[i] << (8 * i);
    return value;
}

static inline void weft_put(struct weft_writer *writer, const void *data, size_t bytes)
{
    if (writer->bad || bytes > writer->left) {
        writer->bad = true;
        return;
    }
    if (bytes)
        memcpy(writer->next, data, bytes);
    writer->next += bytes;
    writer->left -= bytes;
}

static inline void weft_put_integer(struct weft_writer *writer, uint64_t value, size_t bytes)
{
    unsigned char buffer[8];
    for (size_t i = 0; i < bytes; i++)
        buffer[i] = (unsigned char)(value >> (8 * i));
    weft_put(writer, buffer, bytes);
}

#endif
