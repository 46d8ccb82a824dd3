/*
 * SPDX-License-Identifier: Apache-2.0
 * The messages of a meeting and the contents of a unique id, for bootstrap.c (a rank) and meeting.c
 * (the meeting point). Internal to the folder. Every reader here takes hostile bytes.
 *
 *   rank -> point   REGISTER  who I am, how long I wait, my blob
 *   point -> rank   WELCOME   pid and host of the meeting point
 *   point -> rank   TABLE     some blobs; repeated until all were sent
 *   rank -> point   RECEIVED  I have all blobs
 *   point -> rank   GO        everybody has
 *   point -> rank   FAILED    status and sentence, instead of any of the above
 *   point -> rank   LATER     this meeting is complete; yours may come at the same address
 */
#ifndef WEFT_TRANSPORT_MEETING_H
#define WEFT_TRANSPORT_MEETING_H

#include "transport/bootstrap.h"
#include "transport/bytes.h"
#include "transport/endpoint.h"
#include "transport/handshake.h"

#define WEFT_MEETING_PURPOSE "weft meeting"

enum {
    WEFT_MEETING_REGISTER = 1,
    WEFT_MEETING_WELCOME,
    WEFT_MEETING_TABLE,
    WEFT_MEETING_RECEIVED,
    WEFT_MEETING_GO,
    WEFT_MEETING_FAILED,
    WEFT_MEETING_LATER,
};

enum {
    WEFT_MEETING_LIMIT_RANKS = 1 << 16,
    WEFT_MEETING_REGISTER_LIMIT = WEFT_BLOB_LIMIT_BYTES + 256,
    WEFT_MEETING_TABLE_BYTES = 128 << 10, // a TABLE message is closed when it has grown so long
    WEFT_MEETING_TABLE_LIMIT = WEFT_MEETING_TABLE_BYTES + WEFT_BLOB_LIMIT_BYTES + 64,
};

struct weft_meeting_register {
    uint32_t rank;
    uint32_t num_ranks;
    uint32_t pid;
    int64_t remaining_ns;
    char host[WEFT_HOST_NAME_BYTES];
    const unsigned char *blob; // into the message
    size_t blob_bytes;
};

struct weft_meeting_welcome {
    uint32_t pid;
    char host[WEFT_HOST_NAME_BYTES];
};

struct weft_meeting_failed {
    weft_status status;
    char text[WEFT_ERROR_TEXT_BYTES];
};

/* Writers return the message's length, 0 when it does not fit. */
size_t weft_meeting_write_register(unsigned char *message, size_t limit,
                                   const struct weft_meeting_register *value);
size_t weft_meeting_write_welcome(unsigned char *message, size_t limit,
                                  const struct weft_meeting_welcome *value);
size_t weft_meeting_write_failed(unsigned char *message, size_t limit,
                                 const struct weft_meeting_failed *value);
/* Errors: INVALID_FORMAT. */
weft_status weft_meeting_read_register(const unsigned char *message, size_t bytes,
                                       struct weft_meeting_register *value,
                                       struct weft_error *error);
weft_status weft_meeting_read_welcome(const unsigned char *message, size_t bytes,
                                      struct weft_meeting_welcome *value, struct weft_error *error);
weft_status weft_meeting_read_failed(const unsigned char *message, size_t bytes,
                                     struct weft_meeting_failed *value, struct weft_error *error);

/* Whether nobody else is waited for: all came, or it failed. True at least one turn before any rank
 * is released. */
bool weft_meeting_is_complete(const struct weft_meeting *meeting);

/* ---- the contents of a unique id ---- */

struct weft_id_contents {
    struct weft_endpoint endpoint;
    unsigned char secret[WEFT_SECRET_BYTES];
};

void weft_id_pack(const struct weft_id_contents *contents, weft_unique_id *id);
/* Errors: INVALID_ARGUMENT with the reason. */
weft_status weft_id_unpack(const weft_unique_id *id, struct weft_id_contents *contents,
                           struct weft_error *error);

#endif
