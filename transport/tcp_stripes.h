/*
 * SPDX-License-Identifier: Apache-2.0
 * Stripes: further sockets of a TCP connection, one for each pair of interfaces of two processes
 * that have several. Large messages are sent over all of them at once, each taking what it can
 * carry; everything else stays on the connection's own socket. Nobody but the files of tcp includes
 * this.
 *
 * A message is cut into fragments, which the sender gives to the stripes in order. The receiver
 * takes them in order, too: a stripe whose next fragment is not due yet is not read, and the
 * kernel keeps what comes. So nothing is copied, and sinks see what they always see. It cannot
 * stand still: of all fragments that have not been taken, the one sent first is next on its stripe,
 * and is due.
 *
 * The sender keeps a message until the receiver has all of it (DONE). When a stripe fails, it asks
 * how far the receiver is with each message that was on it (REWIND, REWOUND) and sends the rest
 * over the stripes that are left, or in packets where none is. The receiver gives the message
 * a new handle before it answers, so that fragments of before are thrown away: nothing is
 * lost, and nothing comes twice. The end that called calls the stripe again, after a while.
 */
#ifndef WEFT_TRANSPORT_TCP_STRIPES_H
#define WEFT_TRANSPORT_TCP_STRIPES_H

#include "transport/tcp_parts.h"

enum {
    TCP_STRIPED_BYTES = 128 << 10, // messages from this size on
    TCP_STRIPE_BYTES = 64 << 10,   // a fragment
    TCP_RATES_KEPT = 9,
    TCP_LOADS = 64, // messages at a time; others go in packets
};

/* Packets on the connection's own socket, without payload. */
enum tcp_packet_type {
    TCP_PACKET_CALL = 0x80, // the end that accepts would like stripes
    TCP_PACKET_DOWN,        // value: name of a stripe that has failed
    TCP_PACKET_REWIND,      // handle: the receiver's. value: name of the load
    TCP_PACKET_REWOUND,     // handle: name of the load. value: new handle, 0: none. call: offset
    TCP_PACKET_DONE,        // handle: name of the load
};

enum tcp_stripe_state {
    TCP_STRIPE_RESTS, // the end that calls does so when it is time; the other one waits
    TCP_STRIPE_CONNECTS,
    TCP_STRIPE_CHALLENGED,
    TCP_STRIPE_ASKS,
    TCP_STRIPE_IS_UP,
};

struct tcp_load {
    struct weft_transfer *transfer; // NULL: free
    uint64_t name;                  // here
    uint64_t handle;                // the receiver's
    uint64_t offset;                // what comes before was given to stripes
    uint8_t unit;
    uint8_t stripes; // bits: that have carried some of it
    bool rewinding;  // the receiver was asked how far it is
};

struct tcp_stripe {
    struct tcp_source source;
    struct tcp_link *link;
    enum tcp_stripe_state state;
    int socket;
    uint64_t name; // TCP_DOORS_LIMIT times how often it was called, and its number

    int64_t deadline_ns; // of the meeting
    int64_t retry_ns;    // INT64_MAX: never
    int64_t pause_ns;    // before the next try
    bool bound;          // to the address of the same number here
    struct tcp_challenge challenge;
    struct tcp_hello hello;
    struct tcp_welcome welcome;
    size_t filled;

    uint32_t watched;      // events that epoll looks for
    struct tcp_load *load; // whose fragment is partly written
    bool blocked;          // the socket took no more
    struct tcp_out out;

    uint64_t rate; // bytes per second; 0: not known yet
    uint64_t room; // that the kernel was told to have for it; 0: as it likes
    uint64_t rates[TCP_RATES_KEPT];
    unsigned num_rates;
    int64_t reckoned_ns;
    bool ran_dry; // there was nothing to send for a while since it was looked at; and then:
    int64_t looked_ns;
    uint64_t acked_bytes, limited_us;
    uint64_t heard_bytes; // what the peer's kernel has,
    int64_t heard_ns;     // since when there was no word from it

    struct tcp_frame in;
    size_t in_done; // bytes of the header; 0: none
    bool waiting;   // for its turn
    size_t left;    // of the payload, in the socket
    struct weft_packet_open open;
    unsigned char kept[WEFT_PACKET_UNIT_LIMIT]; // of an element that is not whole
    size_t kept_bytes;
    struct tcp_checks checks;
};

struct tcp_stripes {
    struct tcp_stripe each[TCP_DOORS_LIMIT]; // to the peer's doors, of the end that accepts
    bool calls;                              // this end does
    unsigned num_calls;
    int num_up;
    struct tcp_load loads[TCP_LOADS];
    int num_loads;
    int next_load; // in turn
    uint64_t num_named;
    int64_t looked_ns;
};

static inline struct tcp_device *weft_tcp_device_of(const struct tcp_link *link)
{
    return (struct tcp_device *)link->packets.device;
}

/* tcp_stripes.c: messages */
extern const struct weft_packet_direct weft_tcp_stripes_direct;
/* A packet of the types above. */
void weft_tcp_stripes_told(struct tcp_link *link, const struct weft_packet *packet);
bool weft_tcp_stripes_are_sending(const struct tcp_link *link);
/* Meets, reads (all, if this round does not ask epoll), writes. Returns how many things happened.
 * Whether something has a deadline: *hurried, which it leaves alone otherwise. */
int weft_tcp_stripes_progress(struct tcp_link *link, bool simple, bool *hurried);
/* A stripe cannot go on. `is_told`: the peer knows. */
void weft_tcp_stripe_fail(struct tcp_stripe *stripe, const char *reason, bool is_told);
/* The link fails, or goes. */
void weft_tcp_stripes_close(struct tcp_link *link);
void weft_tcp_stripes_free(struct tcp_link *link);

/* tcp_stripe_meet.c */
/* Where both ends have several addresses and there are no stripes yet, makes (or asks for) them. */
void weft_tcp_stripes_begin(struct tcp_link *link);
/* A socket that the peer calls so. */
void weft_tcp_stripe_adopt(struct tcp_link *link, uint64_t name, int socket);
/* Calls, and gives up. Whether something has a deadline. */
bool weft_tcp_stripes_meet(struct tcp_link *link, int64_t now);
/* Closes the socket, if there is one; called again after a while, if this end does. */
void weft_tcp_stripe_hang_up(struct tcp_stripe *stripe);

/* tcp_stripe_wire.c */
/* What epoll says of a stripe that is up. */
void weft_tcp_stripe_ready(struct tcp_device *device, struct tcp_source *source, uint32_t events);
/* Asks epoll for what matters now. */
void weft_tcp_stripe_watch(struct tcp_stripe *stripe);
/* Reads what has come and is due. Returns how many things happened. */
int weft_tcp_stripe_read(struct tcp_stripe *stripe);
/* Sends the next fragment of a load. False: the socket takes nothing. */
bool weft_tcp_stripe_send(struct tcp_stripe *stripe, struct tcp_load *load);
/* Makes a private copy of what is left of the fragment of a load, or fails the stripe. */
void weft_tcp_stripe_unborrow(struct tcp_stripe *stripe);
/* Bytes that the peer's kernel does not have yet. */
uint64_t weft_tcp_stripe_queued(const struct tcp_stripe *stripe);
/* Reckons the rate. False: the network is silent. */
bool weft_tcp_stripe_look(struct tcp_stripe *stripe, int64_t now);

#endif
