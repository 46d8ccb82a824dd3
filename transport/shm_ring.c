/*
 * SPDX-License-Identifier: Apache-2.0
 * The ring of shm. Memory order: a sequence word is stored after what it covers, `consumed` after
 * the reads it ends; both sequentially consistent, because whoever publishes then looks whether the
 * other end sleeps, while the other end says that it sleeps and then looks for what is published.
 */
#include "transport/shm_ring.h"

#include <string.h>

_Static_assert(WEFT_SHM_ENTRIES == 64, "uses_slot has one bit per entry");

static enum weft_shm_result see_consumed(struct weft_shm_writer *writer)
{
    uint64_t consumed = atomic_load(&writer->ring->consumed);
    if (consumed < writer->consumed || consumed > writer->sent)
        return WEFT_SHM_BROKEN;
    for (; writer->consumed < consumed; writer->consumed++)
        writer->slots_used -= writer->uses_slot >> writer->consumed % WEFT_SHM_ENTRIES & 1;
    return WEFT_SHM_DONE;
}

static bool has_room(const struct weft_shm_writer *writer, bool slot)
{
    return writer->sent - writer->consumed < WEFT_SHM_ENTRIES &&
           (!slot || writer->slots_used < WEFT_SHM_SLOTS);
}

enum weft_shm_result weft_shm_write(struct weft_shm_writer *writer,
                                    const struct weft_packet *packet, const void *payload)
{
    bool slot = packet->payload_bytes > WEFT_SHM_INLINE_BYTES;
    if (!has_room(writer, slot)) {
        if (see_consumed(writer) == WEFT_SHM_BROKEN)
            return WEFT_SHM_BROKEN;
        if (!has_room(writer, slot))
            return WEFT_SHM_NOTHING;
    }
    unsigned index = (unsigned)(writer->sent % WEFT_SHM_ENTRIES);
    struct weft_shm_entry *entry = &writer->ring->entries[index];
    memcpy(entry->header, packet, sizeof entry->header);
    if (slot) {
        memcpy(writer->ring->slots[writer->slots_sent++ % WEFT_SHM_SLOTS], payload,
               packet->payload_bytes);
        writer->slots_used++;
        writer->uses_slot |= (uint64_t)1 << index;
    } else {
        if (packet->payload_bytes)
            memcpy(entry->payload, payload, packet->payload_bytes);
        writer->uses_slot &= ~((uint64_t)1 << index);
    }
    atomic_store(&entry->sequence, ++writer->sent);
    return WEFT_SHM_DONE;
}

enum weft_shm_result weft_shm_peek(const struct weft_shm_reader *reader, struct weft_packet *packet,
                                   const void **payload)
{
    struct weft_shm_entry *entry = &reader->ring->entries[reader->taken % WEFT_SHM_ENTRIES];
    if (atomic_load(&entry->sequence) != reader->taken + 1)
        return WEFT_SHM_NOTHING;
    // Volatile: what is checked below must be what is used later, not a second load.
    uint64_t header[7];
    const volatile uint64_t *words = entry->header;
    for (int i = 0; i < 7; i++)
        header[i] = words[i];
    memcpy(packet, header, sizeof header);
    if (packet->payload_bytes > WEFT_SHM_SLOT_BYTES)
        return WEFT_SHM_BROKEN;
    *payload = packet->payload_bytes > WEFT_SHM_INLINE_BYTES
                   ? reader->ring->slots[reader->slots_taken % WEFT_SHM_SLOTS]
                   : entry->payload;
    return WEFT_SHM_DONE;
}

bool weft_shm_take(struct weft_shm_reader *reader, const struct weft_packet *packet)
{
    reader->taken++;
    if (packet->payload_bytes > WEFT_SHM_INLINE_BYTES) {
        reader->slots_taken++;
        reader->slots_unpublished++;
    }
    if (reader->taken - reader->published < WEFT_SHM_ENTRIES / 4 &&
        reader->slots_unpublished < WEFT_SHM_SLOTS / 4)
        return false;
    reader->published = reader->taken;
    reader->slots_unpublished = 0;
    atomic_store(&reader->ring->consumed, reader->taken);
    return true;
}

bool weft_shm_must_wake(struct weft_shm_ring *ring)
{
    return atomic_load(&ring->sleeping) && atomic_exchange(&ring->sleeping, 0);
}
