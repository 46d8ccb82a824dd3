/*
 * SPDX-License-Identifier: Apache-2.0
 * What verbs.c (devices, connections), verbs_meet.c (how two ends learn of each other's queues),
 * verbs_rail.c (queues of work), verbs_stream.c (packets in a ring), verbs_direct.c (large messages
 * in their place) and verbs_resync.c (going on over what is left of the rails) share. Nobody else
 * includes this, except tests.
 *
 * A link owns an inner TCP connection, over which both ends say what RDMA needs to know and by
 * which a dead peer is noticed, and one queue pair per path between its ports and the peer's: a
 * rail. A packet is one write with immediate data into the ring that the peer gave; so is a chunk
 * of a large message, into the memory of its receive.
 */
#ifndef WEFT_TRANSPORT_VERBS_PARTS_H
#define WEFT_TRANSPORT_VERBS_PARTS_H

#include <string.h>

#include "base/verbs.h"
#include "transport/packet.h"
#include "transport/transport.h"
#include "transport/verbs_match.h"
#include "transport/verbs_memory.h"
#include "transport/verbs_ports.h"

enum {
    VERBS_UNIT_BYTES = 64,    // records begin at multiples of it
    VERBS_RING_UNITS = 16384, // of one direction of a link
    VERBS_RING_BYTES = VERBS_RING_UNITS * VERBS_UNIT_BYTES,
    VERBS_WINDOW = 256,     // records on their way that the peer has not yet taken, per direction
    VERBS_RECEIVES = 320,   // work requests for them, on each rail: the window, credits, and those
                            // that are yet to be posted again
    VERBS_SENDS = 128,      // work requests of a rail that are not known to be done
    VERBS_SENDS_KEPT = 8,   // of them, for credits
    VERBS_BATCH = 32,       // work requests per post
    VERBS_SIGNAL_EVERY = 8, // work requests per completion
    VERBS_POLL = 16,        // completions per poll
    VERBS_QUEUE_ENTRIES = 8192, // of a completion queue
    VERBS_QUEUES_LIMIT = 64,    // of an HCA
    VERBS_FRAGMENT_BYTES = 64 << 10,
    VERBS_CHUNK_BYTES = 128 << 10,  // of a message that is written into its place
    VERBS_DIRECT_BYTES = 128 << 10, // the least that is worth registering memory for
    VERBS_PLACES = 64,              // such messages at a time, that are received
    VERBS_LOADS = 128,              // and sent: some wait for their completions only
    VERBS_PACKET_PLACE = 0x80,      // type of the packet that says where one goes
    VERBS_INLINE_BYTES = 256,       // asked for
    VERBS_CAUSE_BYTES = 192,
    VERBS_ATTEMPTS = 2, // with rails that have failed, where no others are left
    VERBS_WINDOW_WORDS = VERBS_WINDOW / 64,
};

/* Of what the peer may write to. */
enum { VERBS_WRITE_ACCESS = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE };

/* Immediate data: what arrived. Kind in the upper two bits; of a record, 16 bits of its number, and
 * 14 bits. */
enum { VERBS_KIND_SHIFT = 30, VERBS_NUMBER_SHIFT = 14 };
enum verbs_kind {
    VERBS_PACKET, // its place in the ring
    VERBS_CREDIT, // no record: 15 bits of the units, 15 bits of the records that were taken
    VERBS_CHUNK,  // part of a large message: which one
    VERBS_VOID,   // stands for a chunk that was given up
};

static inline uint32_t weft_verbs_word(enum verbs_kind kind, uint32_t number, uint32_t place)
{
    return (uint32_t)kind << VERBS_KIND_SHIFT | (number & 0xffff) << VERBS_NUMBER_SHIFT | place;
}

/* A record in the ring; the payload follows. */
struct verbs_record {
    uint32_t units; // taken so far by the writer of this, of what comes the other way
    uint32_t records;
    struct weft_packet packet;
};
_Static_assert(sizeof(struct verbs_record) == VERBS_UNIT_BYTES, "a unit, without padding");

/* What the ends tell each other over TCP. */
struct verbs_hello_rail {
    uint32_t queue_number;
    uint32_t packet_number; // the first
    uint32_t ring_key;
    uint32_t mtu;  // enum ibv_mtu
    char port[32]; // its name, which may fill it
};

struct verbs_hello {
    uint64_t magic;
    uint64_t ring;
    uint64_t num_rails;
    struct verbs_hello_rail rails[WEFT_VERBS_MAX_PATHS];
};

/* Payload of VERBS_PACKET_PLACE, ahead of the grant; its `handle` is the granter's. */
struct verbs_where {
    uint64_t start, bytes;
    uint32_t keys[WEFT_VERBS_MAX_PATHS]; // of the memory, by rail
    uint32_t place;
    uint32_t zero;
};

/* What they tell each other when they begin anew after a failure: what has come so far. */
struct verbs_sync {
    uint64_t usable;        // rails whose port works, one bit each
    uint64_t failed;        // rails that could do no more
    uint64_t attempts;      // in a row, with nothing but rails that had failed and nothing achieved
    uint64_t is_deliberate; // this end stopped the rails; to the other it may look like a failure
    uint64_t renewed;       // those whose port has come back
    uint64_t joined;        // those that were in use until now
    uint32_t head, records;
    uint64_t revoked;                     // places whose message was cancelled
    uint64_t handles[VERBS_PLACES];       // of those messages
    uint64_t arrived[VERBS_WINDOW_WORDS]; // of the records from there on: here already
    uint32_t packet_numbers[WEFT_VERBS_MAX_PATHS];
    char cause[VERBS_CAUSE_BYTES];
};

struct verbs_address {
    uint64_t magic;
    unsigned char side[WEFT_TCP_ADDRESS_BYTES];
    unsigned char ports[WEFT_VERBS_WIRE_BYTES];
};
_Static_assert(sizeof(struct verbs_address) <= WEFT_ADDRESS_BYTES, "fits");

struct verbs_device;
struct verbs_link;

struct verbs_queue {
    struct ibv_cq *cq;
    int room; // entries that no rail may need
};

/* What a device has on one HCA. */
struct verbs_hca {
    struct ibv_pd *pd;
    struct ibv_comp_channel *channel;
    struct weft_verbs_memory *memory;
    struct verbs_queue queues[VERBS_QUEUES_LIMIT];
    int num_queues;
};

/* Visible to tests. */
struct verbs_counts {
    uint64_t work_requests, signalled, posts, chunks, bytes;
};

struct verbs_rail {
    struct verbs_link *link;
    struct verbs_hca *hca;
    struct verbs_queue *queue;
    const struct weft_verbs_path *path;
    struct ibv_qp *qp;
    uint32_t number; // place and generation in the device's table
    uint32_t packet_number;
    uint32_t inline_bytes;
    uint32_t ring_key; // the peer's
    uint32_t local_key;
    uint64_t load; // bytes taken over, in proportion to the rate

    uint32_t sent, done; // work requests, pending ones included; those known to be done
    uint32_t unsignalled;
    uint32_t num_pending;
    struct verbs_rail *next_dirty;
    bool is_dirty;
    uint32_t receives_owed, receives_posted;
    bool wants_signal; // somebody waits for the last of its work requests
    bool is_used;      // joined with the peer's
    bool is_bad;       // has failed, until it is tried again
    bool is_tried;     // joined, but carries nothing until a first word has got through
    struct ibv_send_wr pending[VERBS_BATCH];
    struct ibv_sge parts[VERBS_BATCH];
    struct verbs_counts counts;
};

enum verbs_state {
    VERBS_MEETING,  // waits for the peer's hello
    VERBS_PAUSING,  // the rails are stopped; what had arrived is taken out
    VERBS_SYNCING,  // has told the peer what arrived, waits for the same
    VERBS_READYING, // can receive; waits for the peer to say the same
    VERBS_UP,
    VERBS_ENDED, // the peer has closed; what it sent is still taken out
    VERBS_DEAD,
};

/* A record that has arrived. */
struct verbs_slot {
    uint8_t is_here;
    uint8_t kind;
    uint16_t place; // in the ring, in units; or number of a place
    uint32_t bytes;
};

/* A large message that the peer writes into memory of a receive. */
struct verbs_place {
    struct weft_transfer *transfer; // NULL: free
    uint64_t handle;
    uint64_t offset;                                               // bytes before it have come
    const struct weft_verbs_region *regions[WEFT_VERBS_MAX_PORTS]; // by HCA
};

/* A large message that is written into the peer's memory. */
struct verbs_load {
    bool is_known;                  // the peer has said where it goes
    struct weft_transfer *transfer; // taken: is being sent
    uint64_t handle;                // the granter's
    uint64_t offset;                // bytes before it are written
    struct verbs_where where;
    uint64_t rails;                      // that carry some of it, and are not known to have done it
    uint32_t last[WEFT_VERBS_MAX_PATHS]; // work request, by rail
    const struct weft_verbs_region *regions[WEFT_VERBS_MAX_PORTS]; // by HCA
};

/* A record that was sent and that the peer has not yet taken. */
struct verbs_sent {
    const void *from;
    uint64_t to;
    uint32_t bytes;
    uint32_t immediate;
    int load; // which one it is part of; -1: none
};

/* A message on the inner connection. */
struct verbs_note {
    struct weft_transfer transfer;
    struct verbs_link *link;
};

struct verbs_link {
    struct weft_packet_link packets;
    struct verbs_link *next;
    enum verbs_state state;
    struct weft_connection *side;
    bool is_side_gone;
    bool is_leaving;  // disconnected here; what was sent is still on its way
    bool is_finished; // and its last work request is posted
    int64_t ended_ns; // state ENDED: when it becomes dead; leaving: when it is given up
    uint32_t epoch;   // how often the rails have been joined
    bool has_sync, has_ready;
    uint64_t attempts;
    uint32_t attempted; // records that were taken, both ways, by the last one
    uint64_t renewed;   // rails whose port has come back since the last time
    bool is_deliberate; // what stopped the rails was no failure of theirs
    uint64_t joined;    // rails that are in use, or were until they stopped
    uint64_t peer_usable;
    int64_t retry_ns; // when those that have failed are tried again; 0: there are none
    int64_t tried_ns; // when that was done the last time
    int64_t backoff_ns;
    bool is_troubled;   // to be synchronised once it is up
    int64_t drained_ns; // state PAUSING: at the latest
    char cause[VERBS_CAUSE_BYTES];
    struct verbs_note hello_out, hello_in, sync_out, sync_in, ready_out, ready_in;
    struct verbs_hello own, peer;
    struct verbs_sync own_sync, peer_sync;

    struct weft_verbs_description peer_ports;
    struct weft_verbs_path paths[WEFT_VERBS_MAX_PATHS];
    struct verbs_rail *rails[WEFT_VERBS_MAX_PATHS];
    int num_rails;
    unsigned char *memory; // ring of what arrives, then the image of the peer's
    const struct weft_verbs_region *regions[WEFT_VERBS_MAX_PORTS]; // by HCA

    uint32_t out_head, out_taken;       // units: written; consumed by the peer
    uint32_t out_records, out_consumed; // the same in records
    uint32_t in_head, in_records;       // consumed
    uint32_t told_head, told_records;   // of it, the peer knows
    int num_received;                   // in this round
    uint32_t replayed;                  // records up to this one are on their way (again)
    struct verbs_slot window[VERBS_WINDOW];
    struct verbs_sent log[VERBS_WINDOW];
    uint64_t revoked;                       // places that the peer is yet to be told of
    uint64_t revoked_handles[VERBS_PLACES]; // of those, or of the last ones
    uint64_t unwanted[VERBS_PLACES];        // the last handles that the peer has revoked
    int num_places, num_loads;
    struct verbs_place places[VERBS_PLACES];
    struct verbs_load loads[VERBS_LOADS];
};

/* Memory of which this device is told when it goes. */
struct verbs_remembered {
    uintptr_t start;
    size_t bytes;
};

struct verbs_device {
    struct weft_packet_device packets;
    struct weft_verbs verbs;
    struct weft_verbs_ports ports;
    struct weft_verbs_description described;     // as peers get it
    struct verbs_hca hcas[WEFT_VERBS_MAX_PORTS]; // as ports.devices
    struct weft_device *side;
    struct verbs_address self;
    int epoll;
    uint64_t seed;
    struct verbs_link *links;
    struct verbs_link *leaving;
    struct verbs_rail *dirty;
    struct verbs_rail **rails; // by number
    uint16_t *generations;
    uint32_t num_rails;
    struct verbs_remembered *remembered;
    int num_remembered, remembered_room;
    unsigned num_meeting; // links that are not up
    bool is_down[WEFT_VERBS_MAX_PORTS];
    unsigned since_look;
    bool is_sleeping;
};

static inline struct verbs_device *weft_verbs_device_of(const struct verbs_link *link)
{
    return (struct verbs_device *)link->packets.device;
}

/* The text of an error without the name of the transport, such as "tcp: ", if that is in front: it
 * becomes a part of another text. */
static inline const char *weft_verbs_unnamed(const char *text, const char *name)
{
    size_t bytes = strlen(name);
    return strncmp(text, name, bytes) == 0 ? text + bytes : text;
}

/* verbs.c */
void weft_verbs_link_turn(struct verbs_link *link, enum verbs_state state);
void weft_verbs_link_fail(struct verbs_link *link, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* verbs_meet.c */
/* Makes memory, queues and the inner connection of a link whose paths are known. */
weft_status weft_verbs_meet(struct verbs_link *link, const struct verbs_address *peer,
                            const unsigned char *peer_id, uint64_t tag, struct weft_error *error);
/* Whether an HCA has what one connection needs: better known while there are other transports. */
weft_status weft_verbs_meet_try(struct verbs_device *device, int hca, struct weft_error *error);
/* Everything that weft_verbs_meet made. */
void weft_verbs_part(struct verbs_link *link);
/* Events of the inner device. */
void weft_verbs_side_failed(void *user, struct weft_connection *connection, const char *reason);

/* Sends a note of this epoch, expects one of `epoch`. False: no memory. */
bool weft_verbs_note_send(struct verbs_link *link, struct verbs_note *note);
bool weft_verbs_note_expect(struct verbs_link *link, struct verbs_note *note, uint32_t epoch);

/* verbs_resync.c */
/* A rail (NULL: none in particular) cannot go on, or one can again: both ends stop all rails, say
 * what has come, and go on over those that are usable. */
void weft_verbs_trouble(struct verbs_link *link, struct verbs_rail *rail, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Goes on with that. */
void weft_verbs_resync_step(struct verbs_link *link);
/* Rails that have failed are joined again, if it is time; each time it takes longer. */
void weft_verbs_try_again(struct verbs_link *link, int64_t now);
/* How the first word on such a rail has fared. */
void weft_verbs_tried(struct verbs_rail *rail, bool is_good);
void weft_verbs_sync_came(struct verbs_link *link);
/* Joins these rails with the peer's, as it has told, and says that this end can receive. Those that
 * cannot be joined, because their port has gone meanwhile, are troubled. False: the link has
 * failed. */
bool weft_verbs_join(struct verbs_link *link, uint64_t rails);
/* Both ends can receive. */
void weft_verbs_come_up(struct verbs_link *link);
/* Whether all that was sent before the last failure is on its way again. */
bool weft_verbs_is_replayed(const struct verbs_link *link);

/* verbs_rail.c */
weft_status weft_verbs_rail_open(struct verbs_link *link, int path, struct verbs_rail **rail,
                                 struct weft_error *error);
/* Whether an HCA has what a rail needs; makes its first completion queue. */
weft_status weft_verbs_rail_try(struct verbs_device *device, int hca, struct weft_error *error);
void weft_verbs_rail_close(struct verbs_rail **rail);
/* To ready-to-receive and ready-to-send. On RoCE the kernel looks up the peer's link address: where
 * nobody answers, for seconds. */
weft_status weft_verbs_rail_join(struct verbs_rail *rail, const struct verbs_hello_rail *peer,
                                 struct weft_error *error);
/* All rails that there are: nothing leaves or comes in any more; completions tell what had. */
void weft_verbs_rails_stop(struct verbs_link *link);
/* As new: to be joined with packet_number as its first. Completions of old are not its own. */
weft_status weft_verbs_rail_reset(struct verbs_rail *rail, struct weft_error *error);
/* One that cannot be reset now: completions of old count for nothing any more. */
void weft_verbs_rail_forget(struct verbs_rail *rail);
/* Whether one more work request fits, leaving `kept` for others. */
bool weft_verbs_rail_has_room(const struct verbs_rail *rail, uint32_t kept);
/* After has_room: a write of `bytes` bytes at `from` (none: 0) to `to` that the peer is told of. */
struct verbs_write {
    const void *from;
    uint32_t bytes, local_key, remote_key, immediate;
    uint64_t to;
    bool is_signalled;
};
void weft_verbs_rail_write(struct verbs_rail *rail, const struct verbs_write *write);
/* Sees to it that a completion comes for all that was written so far. */
void weft_verbs_rail_want(struct verbs_rail *rail);
/* Posts what is pending on all rails. */
void weft_verbs_flush(struct verbs_device *device);
/* Takes completions; returns how many. */
int weft_verbs_poll(struct verbs_device *device);
/* "rxe0:1 to 10.9.0.11", for reasons. */
const char *weft_verbs_rail_text(const struct verbs_rail *rail, char *text, size_t size);

/* verbs_stream.c */
extern const struct weft_packet_port weft_verbs_port;
/* What a completed receive tells. */
void weft_verbs_arrived(struct verbs_rail *rail, uint32_t immediate, uint32_t bytes);
/* Tells the peer what was consumed, if that is due. */
void weft_verbs_credit(struct verbs_link *link);
/* Tells it on this rail; a completion will say when all that was written on it has arrived. */
void weft_verbs_mark(struct verbs_rail *rail);
/* The same as a trial of the rail: nothing is lost if it does not arrive. */
void weft_verbs_probe(struct verbs_rail *rail);
/* What the peer says it has taken; an old word overtaken by a newer one changes nothing. */
void weft_verbs_take_credit(struct verbs_link *link, uint32_t units, uint32_t records,
                            uint32_t mask);
/* Sends a record of the log (again). False: no room now. */
bool weft_verbs_send_record(struct verbs_link *link, uint32_t number);

/* verbs_direct.c */
extern const struct weft_packet_direct weft_verbs_direct;
/* A packet that says where a message goes. False: the link has failed. */
bool weft_verbs_place_told(struct verbs_link *link, const struct weft_packet *packet,
                           const void *payload);
/* Memory that is registered once, as a whole, when it is first used. */
void weft_verbs_remember(struct verbs_device *device, void *memory, size_t bytes);
void weft_verbs_forget(struct verbs_device *device, const void *memory);
/* The next chunk of a place is there. False: no honest peer sends it. */
bool weft_verbs_chunk_landed(struct verbs_link *link, uint32_t place, uint32_t bytes);
/* Frees what belongs to a message that has come in packets instead. */
void weft_verbs_place_sweep(struct verbs_link *link);
/* Writes chunks while there is room, completes what is done. Returns how many things happened. */
int weft_verbs_loads_serve(struct verbs_link *link);
/* Work requests of old say nothing any more. */
void weft_verbs_loads_rejoin(struct verbs_link *link, const struct verbs_sync *peer);
/* The peer is told: these places can be used again. */
void weft_verbs_places_revoked(struct verbs_link *link);
void weft_verbs_direct_free(struct verbs_link *link);
/* Disconnecting: gives back the memory of all of them; the rest of the records still arrives. */
void weft_verbs_direct_leave(struct verbs_link *link);

#endif
