/*
 * SPDX-License-Identifier: Apache-2.0
 * What packet.c (posting, sending, ending) and packet_receive.c (arriving packets) share. Nobody
 * else includes this.
 */
#ifndef WEFT_TRANSPORT_PACKET_PARTS_H
#define WEFT_TRANSPORT_PACKET_PARTS_H

#include "transport/packet.h"

/* Private words of a transfer. */
enum {
    WORD_STATE,
    WORD_HANDLE,
    WORD_LINK, // state DONE: where it came from
    WORD_HASH, // of the match table
};

/* Where a transfer is; WORD_STATE. */
enum transfer_state {
    STATE_DONE = 1,  // in device->done
    STATE_QUEUED,    // eager, in link->eager
    STATE_ANNOUNCED, // waits for GRANT, in a handle
    STATE_GRANTED,   // being sent, in a handle and in link->granted
    STATE_TAKEN,     // being sent by the port, in a handle
    STATE_POSTED,    // in link->posted
    STATE_ACCEPTED,  // being received, in a handle
};

enum handle_kind {
    HANDLE_FREE,
    HANDLE_SEND,    // announced or granted
    HANDLE_RECEIVE, // granted by us
    HANDLE_DISCARD, // receive was cancelled; its data is thrown away
    HANDLE_ORPHAN,  // receive whose sender has cancelled: waits for cancel or failure
};

/* A message without a receive. */
struct weft_arrival {
    struct weft_transfer message; // WORD_STATE: packet type. WORD_HANDLE: the sender's
    unsigned char payload[];
};

void weft_list_append(struct weft_transfer_list *list, struct weft_transfer *transfer);
void weft_list_remove(struct weft_transfer_list *list, struct weft_transfer *transfer);

/* The transfer must be in no list. Its callback runs later. */
void weft_packet_complete(struct weft_packet_link *link, struct weft_transfer *transfer,
                          weft_status status);

/* Makes the next handle_take and control_put succeed. False: no memory. */
bool weft_packet_reserve(struct weft_packet_link *link);
/* After reserve. */
uint64_t weft_packet_handle_take(struct weft_packet_link *link, enum handle_kind kind,
                                 struct weft_transfer *transfer);
/* NULL when `id` is not in use. Not valid after the next reserve. */
struct weft_packet_handle *weft_packet_handle_find(struct weft_packet_link *link, uint64_t id);
void weft_packet_handle_give(struct weft_packet_link *link, uint64_t id);

/* packet_receive.c: takes a message that arrived before its receive, or NULL. */
struct weft_arrival *weft_packet_arrival_find(struct weft_packet_link *link,
                                              const struct weft_message_key *key);
/* Whether it brought its bytes along (else it is only announced). */
bool weft_packet_arrival_is_whole(const struct weft_arrival *arrival);
/* Lets `transfer` receive `arrival`, which is freed. After reserve. */
void weft_packet_arrival_accept(struct weft_packet_link *link, struct weft_arrival *arrival,
                                struct weft_transfer *transfer);
void weft_packet_arrivals_free(struct weft_packet_link *link);

#endif
