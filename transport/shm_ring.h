/*
 * SPDX-License-Identifier: Apache-2.0
 * One direction of a shared-memory connection: packets from one writer to one reader. The memory is
 * the reader's; both map it. An entry is ready when its sequence word says so, so a small message
 * costs the reader two cache lines: header with sequence, and payload beside it. Larger payloads go
 * through a second ring of cache-sized slots. The reader returns room in batches.
 *
 * Each end trusts only its own counters: shared words are loaded once, checked, then used.
 */
#ifndef WEFT_TRANSPORT_SHM_RING_H
#define WEFT_TRANSPORT_SHM_RING_H

#include <stdalign.h>
#include <stdatomic.h>

#include "transport/packet.h"

enum {
    WEFT_SHM_ENTRIES = 64,
    WEFT_SHM_INLINE_BYTES = 192, // payloads up to this lie beside their header
    WEFT_SHM_SLOTS = 16,
    WEFT_SHM_SLOT_BYTES = 32 << 10,
    WEFT_SHM_LAYOUT = 2, // to be raised when anything here changes
};

struct weft_shm_entry {
    _Atomic uint64_t sequence; // number of the packet + 1 once it is complete
    uint64_t header[7];        // struct weft_packet
    unsigned char payload[WEFT_SHM_INLINE_BYTES];
};
_Static_assert(sizeof(struct weft_shm_entry) == 256, "whole cache lines");

struct weft_shm_ring {
    alignas(64) _Atomic uint64_t consumed; // by the reader: packets taken out
    alignas(64) _Atomic uint32_t sleeping; // by the reader: wake me; the writer clears it
    alignas(256) struct weft_shm_entry entries[WEFT_SHM_ENTRIES];
    alignas(4096) unsigned char slots[WEFT_SHM_SLOTS][WEFT_SHM_SLOT_BYTES];
};

struct weft_shm_writer {
    struct weft_shm_ring *ring;
    uint64_t sent;
    uint64_t consumed; // last seen
    uint64_t slots_sent;
    uint64_t uses_slot; // bit n: the packet in entry n uses a slot
    unsigned slots_used;
};

struct weft_shm_reader {
    struct weft_shm_ring *ring;
    uint64_t taken;
    uint64_t published;
    uint64_t slots_taken;
    unsigned slots_unpublished;
};

enum weft_shm_result {
    WEFT_SHM_NOTHING, // no room, no packet
    WEFT_SHM_DONE,
    WEFT_SHM_BROKEN, // the other end wrote what no honest one writes
};

/* payload_bytes is at most SLOT_BYTES. */
enum weft_shm_result weft_shm_write(struct weft_shm_writer *writer,
                                    const struct weft_packet *packet, const void *payload);
/* The next packet: its header is copied out, its payload lies where the writer put it (and could
 * still be changed by a hostile one) until weft_shm_take. */
enum weft_shm_result weft_shm_peek(const struct weft_shm_reader *reader, struct weft_packet *packet,
                                   const void **payload);
/* Done with the packet just peeked. True: room was returned, the writer may want to know. */
bool weft_shm_take(struct weft_shm_reader *reader, const struct weft_packet *packet);
/* Whether the other process, whose inbound ring this is, sleeps; if so it is now ours to wake. Call
 * after write or a take that returned true. */
bool weft_shm_must_wake(struct weft_shm_ring *ring);

#endif
