/*
 * SPDX-License-Identifier: Apache-2.0
 * Packets of a link: each is put together in an image of the peer's ring and written to the same
 * place there. The immediate word, which comes after the data, says which packet it is and where
 * it lies; with several rails packets may overtake one another, and are delivered in order. The
 * receiver trusts only its own counters: where a packet must lie follows from those before it.
 *
 * Room comes back with every packet that goes the other way, and in a word of its own where none
 * does. What has not come back is still in the image.
 */
#include <stdio.h>
#include <string.h>

#include "transport/verbs_parts.h"

enum { PLACE_MASK = 0x3fff, HALF_MASK = 0x7fff };
_Static_assert(VERBS_RING_UNITS == PLACE_MASK + 1, "a place has 14 bits");
_Static_assert(VERBS_WINDOW < 1 << 14 && 65536 % VERBS_WINDOW == 0, "numbers are unambiguous");
_Static_assert(sizeof(struct verbs_record) + VERBS_FRAGMENT_BYTES <= VERBS_RING_BYTES / 4,
               "several packets fit at once");

static uint32_t units_of(uint32_t payload_bytes)
{
    return 1 + (payload_bytes + VERBS_UNIT_BYTES - 1) / VERBS_UNIT_BYTES;
}

/* Units left unused at the end of the ring because a packet does not fit there. */
static uint32_t gap_before(uint32_t head, uint32_t units)
{
    uint32_t place = head % VERBS_RING_UNITS;
    return place + units > VERBS_RING_UNITS ? VERBS_RING_UNITS - place : 0;
}

/* The rail that has least to do, of those that have room; small packets stay on the first. */
static struct verbs_rail *choose_rail(struct verbs_link *link, uint32_t bytes)
{
    struct verbs_rail *best = NULL;
    bool has_own = false; // one that is no spare
    for (int i = 0; i < link->num_rails; i++) {
        struct verbs_rail *rail = link->rails[i];
        if (!rail->is_used || rail->is_tried || (rail->path->is_spare && has_own))
            continue;
        has_own |= !rail->path->is_spare;
        if (!weft_verbs_rail_has_room(rail, VERBS_SENDS_KEPT))
            continue;
        if (!best || rail->load < best->load)
            best = rail;
        if (bytes <= VERBS_INLINE_BYTES)
            break;
    }
    if (best)
        best->load += ((uint64_t)bytes << 16) / (best->path->rate_mbps ? best->path->rate_mbps : 1);
    return best;
}

static void write_record(struct verbs_link *link, struct verbs_rail *rail,
                         const struct verbs_sent *sent)
{
    struct verbs_write write = {.from = sent->from,
                                .bytes = sent->bytes,
                                .local_key = rail->local_key,
                                .remote_key = rail->ring_key,
                                .immediate = sent->immediate,
                                .to = sent->to};
    if (sent->load >= 0) {
        struct verbs_load *load = &link->loads[sent->load];
        int number = (int)(rail->path - link->paths);
        write.local_key = load->regions[rail->hca - weft_verbs_device_of(link)->hcas]->local_key;
        write.remote_key = load->where.keys[number];
        load->rails |= UINT64_C(1) << number;
        load->last[number] = rail->sent + 1;
        rail->counts.chunks++;
    }
    weft_verbs_rail_write(rail, &write);
}

bool weft_verbs_send_record(struct verbs_link *link, uint32_t number)
{
    const struct verbs_sent *sent = &link->log[number % VERBS_WINDOW];
    struct verbs_rail *rail = choose_rail(link, sent->bytes);
    if (rail)
        write_record(link, rail, sent);
    return rail != NULL;
}

static enum weft_push push(struct weft_packet_link *packets, const struct weft_packet *packet,
                           const void *payload)
{
    struct verbs_link *link = (struct verbs_link *)packets;
    uint32_t units = units_of(packet->payload_bytes);
    uint32_t gap = gap_before(link->out_head, units);
    uint32_t bytes = (uint32_t)sizeof(struct verbs_record) + packet->payload_bytes;
    if (link->state != VERBS_UP || !weft_verbs_is_replayed(link) ||
        link->out_records - link->out_consumed >= VERBS_WINDOW ||
        link->out_head + gap + units - link->out_taken > VERBS_RING_UNITS)
        return WEFT_PUSH_BUSY;
    struct verbs_rail *rail = choose_rail(link, bytes);
    if (!rail)
        return WEFT_PUSH_BUSY;
    uint32_t place = (link->out_head + gap) % VERBS_RING_UNITS;
    size_t offset = (size_t)place * VERBS_UNIT_BYTES;
    unsigned char *image = link->memory + VERBS_RING_BYTES + offset;
    struct verbs_sent *sent = &link->log[link->out_records % VERBS_WINDOW];
    *sent =
        (struct verbs_sent){.from = image,
                            .to = link->peer.ring + offset,
                            .bytes = bytes,
                            .load = -1,
                            .immediate = weft_verbs_word(VERBS_PACKET, link->out_records, place)};
    struct verbs_record record = {
        .units = link->in_head, .records = link->in_records, .packet = *packet};
    memcpy(image, &record, sizeof record);
    if (packet->payload_bytes)
        memcpy(image + sizeof record, payload, packet->payload_bytes);
    link->told_head = link->in_head;
    link->told_records = link->in_records;
    link->out_head += gap + units;
    link->replayed = ++link->out_records;
    write_record(link, rail, sent);
    return WEFT_PUSH_DONE;
}

static void unborrow(struct weft_packet_link *packets)
{
    (void)packets; // nothing is ever borrowed: payloads are copied at once
}

const struct weft_packet_port weft_verbs_port = {
    .push = push, .unborrow = unborrow, .direct = &weft_verbs_direct};

/* ---- credits ---- */

void weft_verbs_take_credit(struct verbs_link *link, uint32_t units, uint32_t records,
                            uint32_t mask)
{
    uint32_t new_units = (units - link->out_taken) & mask;
    uint32_t new_records = (records - link->out_consumed) & mask;
    if (new_units > link->out_head - link->out_taken ||
        new_records > link->out_records - link->out_consumed)
        return;
    link->out_taken += new_units;
    link->out_consumed += new_records;
}

static void tell(struct verbs_rail *rail, bool is_signalled)
{
    struct verbs_link *link = rail->link;
    link->told_head = link->in_head;
    link->told_records = link->in_records;
    const struct verbs_write write = {.to = link->peer.ring,
                                      .remote_key = rail->ring_key,
                                      .immediate = (uint32_t)VERBS_CREDIT << VERBS_KIND_SHIFT |
                                                   (link->in_head & HALF_MASK) << 15 |
                                                   (link->in_records & HALF_MASK),
                                      .is_signalled = is_signalled};
    weft_verbs_rail_write(rail, &write);
}

void weft_verbs_credit(struct verbs_link *link)
{
    if (link->in_head - link->told_head < VERBS_RING_UNITS / 4 &&
        link->in_records - link->told_records < VERBS_WINDOW / 4)
        return;
    for (int i = 0; i < link->num_rails; i++) {
        struct verbs_rail *rail = link->rails[i];
        if (rail->is_used && !rail->is_tried && weft_verbs_rail_has_room(rail, 0)) {
            tell(rail, false);
            return;
        }
    }
}

void weft_verbs_mark(struct verbs_rail *rail)
{
    tell(rail, true);
}

void weft_verbs_probe(struct verbs_rail *rail)
{
    struct verbs_link *link = rail->link;
    uint32_t head = link->told_head, records = link->told_records;
    tell(rail, true);
    link->told_head = head;
    link->told_records = records;
}

/* ---- what arrives ---- */

static void violation(struct verbs_link *link, const char *what)
{
    weft_verbs_link_fail(link, "peer broke the protocol: %s", what);
}

static bool hand_over(struct verbs_link *link, const struct weft_packet *packet,
                      const unsigned char *payload)
{
    if (link->is_leaving)
        return true;
    if (packet->type == VERBS_PACKET_PLACE)
        return weft_verbs_place_told(link, packet, payload);
    bool is_good = weft_packet_deliver(&link->packets, packet, payload);
    if (packet->type == WEFT_PACKET_DATA && link->num_places)
        weft_verbs_place_sweep(link);
    return is_good;
}

static void packet_is_next(struct verbs_link *link, const struct verbs_slot *slot)
{
    struct verbs_record record;
    const unsigned char *place = link->memory + (size_t)slot->place * VERBS_UNIT_BYTES;
    memcpy(&record, place, sizeof record);
    uint32_t payload = record.packet.payload_bytes;
    if (payload > WEFT_PACKET_FRAGMENT_LIMIT || slot->bytes != sizeof record + payload) {
        violation(link, "a packet of another length than its write");
        return;
    }
    uint32_t units = units_of(payload), gap = gap_before(link->in_head, units);
    if ((link->in_head + gap) % VERBS_RING_UNITS != slot->place) {
        violation(link, "a packet out of place");
        return;
    }
    weft_verbs_take_credit(link, record.units, record.records, UINT32_MAX);
    if (!hand_over(link, &record.packet, place + sizeof record)) {
        weft_verbs_link_fail(link, "%s", "");
        return;
    }
    link->in_head += gap + units;
    link->in_records++;
}

/* Takes what is here, in order. */
static void take_window(struct verbs_link *link)
{
    for (;;) {
        struct verbs_slot *slot = &link->window[link->in_records % VERBS_WINDOW];
        if (!slot->is_here || link->state == VERBS_DEAD)
            return;
        slot->is_here = false;
        if (slot->kind == VERBS_PACKET) {
            packet_is_next(link, slot);
            continue;
        }
        if (slot->kind == VERBS_CHUNK && !link->is_leaving &&
            !weft_verbs_chunk_landed(link, slot->place, slot->bytes)) {
            violation(link, "data that nobody granted");
            return;
        }
        link->in_records++;
    }
}

/* A queue pair has delivered a record twice, and may have lost another one: Soft-RoCE does when it
 * repeats what was only slow. Both ends begin anew, and what is missing is sent again. */
static void came_out_of_turn(struct verbs_rail *rail, uint32_t number)
{
    char text[WEFT_VERBS_PATH_TEXT_BYTES];
    weft_verbs_trouble(rail->link, rail, "%s: record %u came when %u was next",
                       weft_verbs_rail_text(rail, text, sizeof text), number,
                       rail->link->in_records & 0xffff);
}

static void record_arrived(struct verbs_rail *rail, enum verbs_kind kind, uint32_t word,
                           uint32_t bytes)
{
    struct verbs_link *link = rail->link;
    uint32_t number = word >> VERBS_NUMBER_SHIFT & 0xffff, place = word & PLACE_MASK;
    struct verbs_slot *slot = &link->window[number % VERBS_WINDOW];
    uint32_t ahead = (number - link->in_records) & 0xffff;
    bool is_packet = kind == VERBS_PACKET;
    if (is_packet && (bytes < sizeof(struct verbs_record) ||
                      (uint64_t)place * VERBS_UNIT_BYTES + bytes > VERBS_RING_BYTES)) {
        violation(link, "an impossible packet");
        return;
    }
    if (ahead >= VERBS_WINDOW || slot->is_here) {
        came_out_of_turn(rail, number);
        return;
    }
    *slot = (struct verbs_slot){
        .is_here = true, .kind = (uint8_t)kind, .place = (uint16_t)place, .bytes = bytes};
    take_window(link);
}

void weft_verbs_arrived(struct verbs_rail *rail, uint32_t immediate, uint32_t bytes)
{
    struct verbs_link *link = rail->link;
    enum verbs_kind kind = (enum verbs_kind)(immediate >> VERBS_KIND_SHIFT);
    link->num_received++;
    if (kind == VERBS_CREDIT)
        weft_verbs_take_credit(link, immediate >> 15 & HALF_MASK, immediate & HALF_MASK, HALF_MASK);
    else
        record_arrived(rail, kind, immediate, bytes);
}
