/*
 * SPDX-License-Identifier: Apache-2.0
 * How bytes move. A transport is one table of functions; a device is one transport opened in this
 * process; a connection joins two processes over it. Everything above (executor, communicators)
 * knows only this header.
 *
 * Messages are matched by key: the send and the receive with equal keys on the two ends of a
 * connection meet, whatever the order in which they were posted. Nothing else orders messages: a
 * transport may finish them in any order, and must finish a matched message however many unmatched
 * ones came before it (so two plans that are proved alone cannot deadlock together).
 *
 * A message up to the eager limit may be sent before its receive is posted; the transport buffers
 * it. A larger one is announced, and its data moves only after the receive is posted.
 *
 * Threads: a device and its connections are used by one thread at a time. Blocking: nothing here
 * waits for a peer; things happen inside progress. Callbacks may post and cancel, not disconnect or
 * close; a sink does neither. Memory order: words that two processes share are accessed with
 * acquire/release, never with plain loads and stores.
 */
#ifndef WEFT_TRANSPORT_TRANSPORT_H
#define WEFT_TRANSPORT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "transport/verbs_options.h"

enum {
    WEFT_ADDRESS_BYTES = 408,       // opaque address of a device, published at the meeting
    WEFT_TCP_ADDRESS_BYTES = 192,   // as much of it as tcp uses; the rest is 0
    WEFT_PROCESS_ID_BYTES = 16,     // random identity of a process
    WEFT_TRANSPORT_SHARES = 1u << 0 // capability: share and map give memory that both ends see
};

/* A block of memory that `share` gave, as peers name it. */
struct weft_shared_block {
    uint64_t offset, bytes;
};

/* Which message this is; equal at both ends. */
struct weft_message_key {
    uint32_t comm;     // communicator, unique in its world
    uint32_t sequence; // operation number within the communicator
    uint16_t epoch;    // generation of the communicator; stale ones never match
    uint16_t lane;     // channel of the program
    uint32_t index;    // k-th message of the lane
};

/* Consumes `bytes` bytes of an arriving message that start `offset` bytes into it. Called in order
 * of offset, from progress or from post_recv. `offset` and `bytes` are multiples of sink_unit. */
typedef void (*weft_sink_fn)(void *argument, size_t offset, const void *data, size_t bytes);

/* One message, from the end that posts it. In the caller's memory, which stays valid until
 * `complete` is called (or cancel returns). */
struct weft_transfer {
    struct weft_message_key key;
    uint64_t call;     // signature of the call; must be equal at both ends
    uint64_t plan;     // hash of the lane's proved contents; must be equal at both ends
    void *data;        // send: read, never written. recv: destination; unused with a sink
    size_t bytes;      // 0 is allowed: a message that only signals
    weft_sink_fn sink; // recv only; NULL: copy into data
    void *sink_argument;
    size_t sink_unit; // recv with a sink: element size, 1..64; divides bytes
    /* Called once from progress, post_send or post_recv, when `data` may be reused (send) or has
     * arrived (recv). May post further transfers. Not called after cancel. */
    void (*complete)(struct weft_transfer *transfer);
    weft_status status; // valid in complete: OK, MISMATCH (call, plan or bytes differ), REMOTE
    /* Valid with MISMATCH on a receive: what the peer sent. */
    uint64_t peer_call;
    uint64_t peer_plan;
    uint64_t peer_bytes;
    /* Private to the transport. */
    struct weft_transfer *next;
    struct weft_transfer *previous;
    uint64_t private_words[4];
};

struct weft_device {
    const struct weft_transport *transport;
};

struct weft_connection {
    struct weft_device *device;
    void *user; // as given to connect
};

/* What a device tells the layer above; called from progress, post_send and post_recv. */
struct weft_device_events {
    void *user;
    /* A message arrived or was announced for which no receive is posted (yet). Informative: lets
     * the communicator notice at once that a peer makes another call than this rank. */
    void (*unexpected)(void *user, struct weft_connection *connection,
                       const struct weft_message_key *key, uint64_t call, uint64_t plan,
                       uint64_t bytes);
    /* The connection is unusable (peer gone, protocol violation). Its transfers have completed with
     * REMOTE; later posts do so at once, except receives of messages that had already arrived
     * whole. Called at most once per connection. */
    void (*failed)(void *user, struct weft_connection *connection, const char *reason);
};

struct weft_device_options {
    unsigned char process_id[WEFT_PROCESS_ID_BYTES]; // of this process
    const char *listen_address;                      // numeric IPv4/IPv6 address for TCP
    const char *more_addresses; // further ones, separated by commas; NULL or empty: none
    const char *congestion;     // control of TCP sockets; NULL or empty: what suits the connection
    bool checksums; // over TCP, of every packet, if either end of a connection wants them
    const struct weft_verbs_options *verbs; // RDMA; NULL: defaults
    size_t eager_bytes;
    struct weft_device_events events;
};

/* All slots are mandatory. No slot blocks. */
struct weft_transport {
    const char *name;      // as in WEFT_TRANSPORTS
    unsigned capabilities; // WEFT_TRANSPORT_*
    size_t eager_bytes;    // what suits it, for options.eager_bytes

    /* Errors: UNSUPPORTED (not on this machine, with the reason), SYSTEM, OUT_OF_MEMORY. */
    weft_status (*open)(const struct weft_device_options *options, struct weft_device **device,
                        struct weft_error *error);
    /* Connections must have been disconnected. May take up to 100 ms for bytes that completed sends
     * left on their way (tcp). Clears *device; NULL is allowed. */
    void (*close)(struct weft_device **device);
    /* Fills WEFT_ADDRESS_BYTES bytes. An address is a secret: it lets its holder connect. */
    void (*address)(struct weft_device *device, void *address);
    /* Whether the process behind `address` can be reached; if not, *reason (static text) says why.
     * `address` is read as hostile. Symmetric: both ends decide alike. */
    bool (*reachable)(struct weft_device *device, const void *address, const char **reason);
    /* Zero-filled memory of this process that peers can map, at the beginning of a page; `block` is
     * what they map. Goes with unshare, at the latest with the device. Errors: UNSUPPORTED (without
     * WEFT_TRANSPORT_SHARES), OUT_OF_MEMORY. */
    weft_status (*share)(struct weft_device *device, size_t bytes, void **memory,
                         struct weft_shared_block *block, struct weft_error *error);
    /* Peers that still have it mapped read zeros, and what they write is lost. */
    void (*unshare)(struct weft_device *device, void *memory);
    /* Whether `bytes` bytes lie in one shared block; which, and how far from its beginning. */
    bool (*locate)(struct weft_device *device, const void *memory, size_t bytes,
                   struct weft_shared_block *block, size_t *within);
    /* A block of the peer as seen here. Valid until 256 others have been mapped, or with `keep`
     * until it is asked for without, at the latest until disconnect. IN_PROGRESS until the
     * connection is up (call again after progress). Errors: UNSUPPORTED, INVALID_FORMAT (the peer
     * shares no such block), OUT_OF_MEMORY, REMOTE (the connection has failed). */
    weft_status (*map)(struct weft_connection *connection, const struct weft_shared_block *block,
                       bool keep, void **memory);
    /* Memory that the caller will say goes: until then a device may keep it ready for transfers. */
    void (*remember)(struct weft_device *device, void *memory, size_t bytes);
    /* It goes now; no posted transfer is in it. What was not remembered is ignored. */
    void (*forget)(struct weft_device *device, void *memory);
    /* Moves what can be moved now. Returns how many things happened; 0: nothing to do. */
    int (*progress)(struct weft_device *device);
    /* A descriptor that polls readable when progress may have something to do; -1: none. */
    int (*descriptor)(struct weft_device *device);
    /* Before sleeping on the descriptor: arm(true), then one more progress; after waking:
     * arm(false). While armed, peers wake this process through the descriptor. */
    void (*arm)(struct weft_device *device, bool sleeping);

    /* Begins a connection to the process behind `address`; both ends call it, in any order. It is
     * usable for posts at once: they move when the other end has connected too. `peer_id` is the
     * peer's process id, `user` comes back in events. Errors: UNSUPPORTED, SYSTEM, OUT_OF_MEMORY.
     */
    weft_status (*connect)(struct weft_device *device, const void *address,
                           const unsigned char *peer_id, uint64_t tag, void *user,
                           struct weft_connection **connection, struct weft_error *error);
    /* Transfers still posted are dropped without completing. The peer's transfers on it complete
     * with REMOTE once what was already sent is consumed; a peer whose end was not up yet may learn
     * it only when the device is closed. Clears *connection; NULL is allowed. */
    void (*disconnect)(struct weft_connection **connection);
    /* Take ownership of `transfer` until it completes. Errors (then not taken): OUT_OF_MEMORY. */
    weft_status (*post_send)(struct weft_connection *connection, struct weft_transfer *transfer);
    weft_status (*post_recv)(struct weft_connection *connection, struct weft_transfer *transfer);
    /* Gives back a posted transfer that has not completed; `data` is not touched afterwards. The
     * peer's half may never complete: cancel is for operations that have failed. */
    void (*cancel)(struct weft_connection *connection, struct weft_transfer *transfer);
};

/* Every transport of this build, best first; NULL at the end. Loopback (all ends in this process,
 * seeded delivery order; for tests) is weft_loopback_transport and is not in the table. */
extern const struct weft_transport *const weft_transports[];
extern const struct weft_transport weft_shm_transport;
extern const struct weft_transport weft_tcp_transport;
extern const struct weft_transport weft_verbs_transport;
extern const struct weft_transport weft_loopback_transport;
/* Verbs only: what the near ports of the device with this address carry together, one way, in Mb/s:
 * as measured, else nominal. 0: not known, or no such address. */
int64_t weft_verbs_address_mbps(const void *address);
/* TCP only: on how many interfaces the device with this address listens; two ends that both have
 * several send large messages over as many as the one that has fewer. 0: no such address. */
int weft_tcp_address_interfaces(const void *address);
/* Loopback only: the seed of the delivery order of a device and everything it is connected to. */
void weft_loopback_seed(struct weft_device *device, uint64_t seed);

#endif
