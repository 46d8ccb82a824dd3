/*
 * SPDX-License-Identifier: Apache-2.0
 * Messages over packets: the half of a transport that is the same for all of them. A transport
 * below gives each link one function, "take this packet if you have room", keeps packets in order,
 * and hands over what arrives. Everything the contract in transport.h says about messages (matching
 * by key, eager and announced messages, mismatch, cancel, failure) is done here, once.
 *
 *   EAGER     sent at once; kept by the receiver until its receive is posted
 *   ANNOUNCE  "I have this message"; GRANT "send it to this handle"; DATA one fragment, in order
 *   REFUSE    the announced message does not fit its receive; CANCEL: it will not be sent
 *   CREDIT    that many bytes of eager messages have been consumed
 *
 * Arriving packets are hostile. Whoever breaks the rules loses the link, with a reason.
 */
#ifndef WEFT_TRANSPORT_PACKET_H
#define WEFT_TRANSPORT_PACKET_H

#include "transport/match.h"

enum weft_packet_type {
    WEFT_PACKET_EAGER = 1,
    WEFT_PACKET_ANNOUNCE,
    WEFT_PACKET_GRANT,
    WEFT_PACKET_DATA,
    WEFT_PACKET_REFUSE,
    WEFT_PACKET_CANCEL,
    WEFT_PACKET_CREDIT,
    WEFT_PACKET_NUM_TYPES
};

enum {
    WEFT_PACKET_PAYLOAD_LIMIT = 64 << 10, // most bytes of an eager message
    WEFT_PACKET_FRAGMENT_LIMIT = 1 << 20, // fragment_bytes is at most this,
    WEFT_PACKET_FRAGMENT_LEAST = 64,      // at least this, and
    WEFT_PACKET_UNIT_LIMIT = 64,          // a sink's unit is at most this
    WEFT_PACKET_EAGER_BUDGET = 1 << 20,   // of eager bytes not yet credited, per direction
    WEFT_PACKET_EAGER_OVERHEAD = 128,     // what an eager message costs beyond its bytes
    WEFT_PACKET_ARRIVED_LIMIT = 1 << 20,  // unmatched messages per link before it fails
    WEFT_PACKET_REASON_BYTES = 320,       // two ports of IPv6 addresses, and what is wrong
};

/* Header of a packet; host byte order (links between different orders are refused at hello). */
struct weft_packet {
    uint8_t type;
    uint8_t unit; // GRANT: fragments are multiples of this
    uint16_t zero;
    uint32_t payload_bytes; // that follow the header
    struct weft_message_key key;
    uint64_t call;
    uint64_t plan;
    uint64_t value;  // EAGER, ANNOUNCE: bytes. DATA: offset. GRANT: granter's handle. CREDIT: bytes
    uint64_t handle; // ANNOUNCE, CANCEL: the sender's own. Others: the addressee's
};
_Static_assert(sizeof(struct weft_packet) == 56, "fits a cache line with a sequence word");

enum weft_push {
    WEFT_PUSH_BUSY,     // not taken
    WEFT_PUSH_DONE,     // taken; the payload is not needed any more
    WEFT_PUSH_BORROWED, // taken; the payload is needed until weft_packet_pushed
};

struct weft_packet_link;

/* For transports that write large messages into their place at the peer, past packets. */
struct weft_packet_direct {
    /* A receive has accepted an announced message, and the grant is about to be sent: the port may
     * tell the peer where the message goes. `handle` is the granter's. */
    void (*accept)(struct weft_packet_link *link, struct weft_transfer *transfer, uint64_t handle);
    /* The grant has come. True: the port sends all of it, in multiples of `unit` but for the last,
     * and calls weft_packet_sent once, or leaves the rest to weft_packet_resume. */
    bool (*take)(struct weft_packet_link *link, struct weft_transfer *transfer, uint64_t handle,
                 uint8_t unit);
    /* The memory of a transfer that was accepted or taken goes: nothing touches it from now on.
     * is_over: the peer has given the message up already. */
    void (*revoke)(struct weft_packet_link *link, struct weft_transfer *transfer, bool is_over);
    /* The same for all transfers: the link fails. */
    void (*stop)(struct weft_packet_link *link);
};

struct weft_packet_port {
    /* Takes one packet if there is room. Answers BUSY until a borrowed payload is given back, and
     * when it fails the link. */
    enum weft_push (*push)(struct weft_packet_link *link, const struct weft_packet *packet,
                           const void *payload);
    /* Makes a private copy of what is left of a borrowed payload, or fails the link. */
    void (*unborrow)(struct weft_packet_link *link);
    const struct weft_packet_direct *direct; // NULL: everything goes in packets
};

struct weft_transfer_list {
    struct weft_transfer *first;
    struct weft_transfer *last;
};

struct weft_packet_device {
    struct weft_device base;
    struct weft_device_events events;
    size_t eager_bytes;
    unsigned depth;                   // of enter; callbacks run when the outermost leaves
    struct weft_transfer_list done;   // completed, callback due
    struct weft_packet_link *failing; // links whose failure is yet to be told
};

struct weft_packet_handle {
    struct weft_transfer *transfer;
    uint64_t peer;   // the other end's handle
    uint64_t bytes;  // of the message
    uint64_t offset; // how far it is
    uint32_t generation;
    uint32_t next_free; // index + 1
    uint8_t kind;
    uint8_t unit;
};

/* A payload that comes in parts: whose it is, where its next bytes go in the message, and how much
 * of it is still to come. */
struct weft_packet_open {
    uint64_t handle;
    uint64_t offset;
    size_t left;
};

struct weft_packet_link {
    struct weft_connection base;
    const struct weft_packet_port *port;
    struct weft_packet_device *device;
    size_t fragment_bytes; // most payload of the next DATA packet; the port may change it any time
    bool failed;
    char reason[WEFT_PACKET_REASON_BYTES];
    struct weft_packet_link *next_failing;

    struct weft_match posted;  // receives without a message
    struct weft_match arrived; // messages without a receive
    struct weft_packet_handle *handles;
    uint32_t num_handles;
    uint32_t free_handle; // index + 1

    struct weft_packet *control; // ring of packets without payload that wait for room
    uint32_t control_first;
    uint32_t control_count;
    uint32_t control_capacity;
    struct weft_transfer_list eager;   // wait for room
    struct weft_transfer_list granted; // being sent, round robin
    struct weft_transfer *borrower;

    uint64_t eager_sent;                  // not yet credited by the peer
    uint64_t eager_received;              // not yet credited to the peer
    uint64_t eager_consumed;              // part of eager_received to be credited next
    struct weft_transfer *spare_arrivals; // small ones, kept for reuse
    uint32_t num_spare_arrivals;

    uint32_t num_busy_handles;
};

void weft_packet_device_init(struct weft_packet_device *device,
                             const struct weft_transport *transport,
                             const struct weft_device_options *options);
/* `seed` is hard to guess. fragment_bytes is within LEAST .. FRAGMENT_LIMIT. */
void weft_packet_link_init(struct weft_packet_link *link, struct weft_packet_device *device,
                           const struct weft_packet_port *port, size_t fragment_bytes, void *user,
                           uint64_t seed);
/* Drops everything posted without completing it. */
void weft_packet_link_fini(struct weft_packet_link *link);

/* Brackets everything below: callbacks run when the outermost bracket closes. */
void weft_packet_enter(struct weft_packet_device *device);
void weft_packet_leave(struct weft_packet_device *device);

/* One packet with its whole payload has arrived. `packet` is private memory; payload_bytes bytes
 * can be read at `payload`. False: the link has failed. */
bool weft_packet_deliver(struct weft_packet_link *link, const struct weft_packet *packet,
                         const void *payload);
/* Before the whole payload is there: true if it can be taken in parts, of a fragment or of an eager
 * message that a receive waits for; then feed it until open->left is 0, and deliver nothing of this
 * stream meanwhile. False: collect the payload (if it is not longer than PAYLOAD_LIMIT) and
 * deliver.
 */
bool weft_packet_open(struct weft_packet_link *link, const struct weft_packet *packet,
                      struct weft_packet_open *open);
/* Where the next bytes of the open payload go; NULL: they have to be fed from elsewhere. Ask before
 * each write: the receive may have been cancelled. */
unsigned char *weft_packet_place(struct weft_packet_link *link,
                                 const struct weft_packet_open *open);
/* Takes the next bytes of the open payload, which may be in their place already. Returns how many:
 * all but the rest of an element that is not whole. Fails the link when another stream has brought
 * them. */
size_t weft_packet_feed(struct weft_packet_link *link, struct weft_packet_open *open,
                        const unsigned char *payload, size_t bytes);

/* For ports that bring the fragments of a message over several streams: when it is a fragment's
 * turn. What no honest peer sends is NEVER, and fails the link. */
enum weft_packet_turn {
    WEFT_PACKET_NOW,
    WEFT_PACKET_LATER, // others come before it
    WEFT_PACKET_NEVER, // nobody wants it any more
};
enum weft_packet_turn weft_packet_turn(struct weft_packet_link *link,
                                       const struct weft_packet *packet);
/* Gives a message that is being received another handle, so that no fragment for the old one is
 * taken any more, and says how far it is. 0: it is not being received any more. */
uint64_t weft_packet_rename(struct weft_packet_link *link, uint64_t handle, uint64_t *offset);
/* The rest of a transfer that the port took goes in packets, from `offset` on. */
void weft_packet_resume(struct weft_packet_link *link, struct weft_transfer *transfer,
                        uint64_t handle, uint64_t offset);
/* Sends a packet without payload, when there is room. Fails the link when memory is lacking. */
void weft_packet_control_put(struct weft_packet_link *link, const struct weft_packet *packet);

/* Pushes what waits, at most `limit` packets; returns how many. */
int weft_packet_send_pending(struct weft_packet_link *link, int limit);
bool weft_packet_has_pending(const struct weft_packet_link *link);
/* Whether something from the peer is waited for. */
bool weft_packet_is_expecting(const struct weft_packet_link *link);
/* The borrowed payload is not needed any more. */
void weft_packet_pushed(struct weft_packet_link *link);
/* A transfer that the port took has been sent. */
void weft_packet_sent(struct weft_packet_link *link, struct weft_transfer *transfer);
/* The rest of it is not sent, because the peer wants it no more. */
void weft_packet_unwanted(struct weft_packet_link *link, struct weft_transfer *transfer);
/* Whether the message of a handle that a port was told of is still being received. */
bool weft_packet_is_open(struct weft_packet_link *link, uint64_t handle);
/* Completes everything with REMOTE and reports the failure, once. */
void weft_packet_fail(struct weft_packet_link *link, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The slots of the same names. */
weft_status weft_packet_post_send(struct weft_connection *connection,
                                  struct weft_transfer *transfer);
weft_status weft_packet_post_recv(struct weft_connection *connection,
                                  struct weft_transfer *transfer);
void weft_packet_cancel(struct weft_connection *connection, struct weft_transfer *transfer);

#endif
