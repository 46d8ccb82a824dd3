/*
 * SPDX-License-Identifier: Apache-2.0
 * Going on after a failure. When a rail can do no more, or a port comes back, both ends stop all
 * rails of the link, so that nothing is written any more; take out what has arrived; and tell each
 * other over the inner connection which records those are. Then the rails whose ports work at both
 * ends are joined as new, and what had not arrived is sent again, in order. Nothing is lost,
 * because a record stays with its sender until the peer has taken it; nothing comes twice, because
 * only what the peer does not have is sent, after nothing of old can come any more.
 *
 * Each time has a number (epoch); an end may hear of the next one before it is done with this one.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/verbs_parts.h"

static const int64_t drain_ns = 200000000; // a device that has failed may never flush its queues
static const int64_t first_backoff_ns = 1000000000, most_backoff_ns = 64000000000;

static void pause(struct verbs_link *link, bool is_deliberate)
{
    link->is_deliberate = is_deliberate;
    weft_verbs_rails_stop(link);
    link->has_ready = false;
    link->is_troubled = false;
    link->is_finished = false;
    link->epoch++;
    link->drained_ns = weft_deadline_after(drain_ns);
    weft_verbs_link_turn(link, VERBS_PAUSING);
}

void weft_verbs_trouble(struct verbs_link *link, struct verbs_rail *rail, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (rail)
        rail->is_bad = true;
    if (link->state <= VERBS_UP)
        vsnprintf(link->cause, sizeof link->cause, format, arguments);
    va_end(arguments);
    if (link->state == VERBS_UP)
        pause(link, !rail);
    else if (link->state == VERBS_PAUSING)
        link->is_deliberate |= !rail;
    else if (link->state < VERBS_UP)
        link->is_troubled = true; // one thing after the other
}

/* The rails whose port here works; those that have failed. */
static uint64_t usable_rails(const struct verbs_link *link, uint64_t *failed)
{
    uint64_t usable = 0;
    *failed = 0;
    for (int i = 0; i < link->num_rails; i++) {
        if (!weft_verbs_device_of(link)->is_down[link->paths[i].own])
            usable |= UINT64_C(1) << i;
        if (link->rails[i]->is_bad)
            *failed |= UINT64_C(1) << i;
    }
    return usable;
}

/* What both reckon from what both have told. Where one end stopped the rails itself, work of the
 * other may have failed because of that. Where no other rails are left, those that failed are tried
 * again: a crowded network, or an emulated one, may just have been slow. */
static uint64_t common_rails(const struct verbs_link *link)
{
    const struct verbs_sync *own = &link->own_sync, *peer = &link->peer_sync;
    bool is_last = own->attempts >= VERBS_ATTEMPTS || peer->attempts >= VERBS_ATTEMPTS;
    uint64_t failed = (own->failed & ~(peer->is_deliberate ? own->joined : 0)) |
                      (peer->failed & ~(own->is_deliberate ? peer->joined : 0));
    uint64_t working = own->usable & peer->usable;
    uint64_t good = working & ~(failed & ~(own->renewed | peer->renewed));
    return good || is_last ? good : working;
}

/* ---- trying again ---- */

static void schedule(struct verbs_link *link)
{
    int64_t now = weft_clock_ns();
    link->backoff_ns = !link->backoff_ns || now - link->tried_ns > 4 * link->backoff_ns
                           ? first_backoff_ns
                           : 2 * link->backoff_ns;
    if (link->backoff_ns > most_backoff_ns)
        link->backoff_ns = most_backoff_ns;
    link->retry_ns = now + link->backoff_ns;
}

/* Those that come back beside others carry a word first. */
static void put_on_trial(struct verbs_link *link, uint64_t usable)
{
    uint64_t renewed = link->own_sync.renewed | link->peer_sync.renewed;
    uint64_t excluded = link->own_sync.usable & link->peer_sync.usable & ~usable;
    link->joined = usable & ~renewed ? usable & ~renewed : usable;
    for (int i = 0; i < link->num_rails; i++)
        link->rails[i]->is_tried = (usable & ~link->joined) >> i & 1;
    link->peer_usable = link->peer_sync.usable;
    if (!excluded)
        link->retry_ns = 0;
    else if (!link->retry_ns)
        schedule(link);
}

void weft_verbs_tried(struct verbs_rail *rail, bool is_good)
{
    struct verbs_link *link = rail->link;
    rail->is_tried = false;
    if (!is_good) {
        rail->is_used = false;
        rail->is_bad = true;
        schedule(link);
        return;
    }
    link->joined |= UINT64_C(1) << (rail->path - link->paths);
    rail->load = UINT64_MAX; // no more than the others carry from now on
    for (int i = 0; i < link->num_rails; i++)
        if (link->rails[i]->is_used && link->rails[i]->load < rail->load)
            rail->load = link->rails[i]->load;
}

void weft_verbs_try_again(struct verbs_link *link, int64_t now)
{
    char text[WEFT_VERBS_PATH_TEXT_BYTES] = "";
    if (link->state != VERBS_UP || now < link->retry_ns)
        return;
    link->retry_ns = 0;
    for (int i = 0; i < link->num_rails; i++) {
        struct verbs_rail *rail = link->rails[i];
        if (rail->is_used || weft_verbs_device_of(link)->is_down[rail->path->own] ||
            !(link->peer_usable >> i & 1))
            continue;
        link->renewed |= UINT64_C(1) << i;
        rail->is_bad = false;
        weft_verbs_rail_text(rail, text, sizeof text);
    }
    link->tried_ns = now;
    if (link->renewed)
        weft_verbs_trouble(link, NULL, "%s: is tried again", text);
}

/* ---- the steps ---- */

static bool is_drained(const struct verbs_link *link)
{
    for (int i = 0; i < link->num_rails; i++)
        if (link->rails[i]->receives_posted > 0)
            return false;
    return true;
}

/* Nothing arrives any more: new queues, and the peer is told what has come. */
static void report(struct verbs_link *link)
{
    struct verbs_sync *own = &link->own_sync;
    struct weft_error error;
    *own = (struct verbs_sync){.is_deliberate = link->is_deliberate,
                               .renewed = link->renewed,
                               .joined = link->joined,
                               .revoked = link->revoked,
                               .head = link->in_head,
                               .records = link->in_records};
    own->usable = usable_rails(link, &own->failed);
    if (link->attempted != link->in_records + link->out_consumed)
        link->attempts = 0;
    link->attempted = link->in_records + link->out_consumed;
    own->attempts = link->attempts++;
    memcpy(own->handles, link->revoked_handles, sizeof own->handles);
    for (uint32_t i = 0; i < VERBS_WINDOW; i++)
        if (link->window[(link->in_records + i) % VERBS_WINDOW].is_here)
            own->arrived[i / 64] |= UINT64_C(1) << i % 64;
    for (int i = 0; i < link->num_rails; i++) {
        if (!(own->usable >> i & 1)) {
            weft_verbs_rail_forget(link->rails[i]);
            continue;
        }
        if (weft_verbs_rail_reset(link->rails[i], &error) != WEFT_OK) {
            weft_verbs_link_fail(link, "%s", error.text);
            return;
        }
        own->packet_numbers[i] = link->rails[i]->packet_number;
    }
    snprintf(own->cause, sizeof own->cause, "%s", link->cause);
    link->told_head = link->in_head;
    link->told_records = link->in_records;
    weft_verbs_link_turn(link, VERBS_SYNCING);
    link->renewed = 0;
    weft_verbs_places_revoked(link);
    if (!weft_verbs_note_expect(link, &link->ready_in, link->epoch) ||
        !weft_verbs_note_send(link, &link->sync_out))
        weft_verbs_link_fail(link, "out of memory");
}

bool weft_verbs_join(struct verbs_link *link, uint64_t rails)
{
    bool is_news = false; // not where it is only tried again
    for (int i = 0; i < link->num_rails; i++) {
        struct verbs_rail *rail = link->rails[i];
        struct weft_error error;
        if (!(rails >> i & 1))
            continue;
        rail->is_bad = false;
        if (weft_verbs_rail_join(rail, &link->peer.rails[i], &error) == WEFT_OK)
            continue;
        link->joined &= ~(UINT64_C(1) << i);
        is_news |= !rail->is_tried;
        weft_verbs_trouble(link, rail, "%s", weft_verbs_unnamed(error.text, "verbs: "));
    }
    if (is_news && link->joined)
        WEFT_LOG(WEFT_LOG_WARN, "verbs: %s: goes on without", link->cause);
    weft_verbs_link_turn(link, VERBS_READYING);
    if (weft_verbs_note_send(link, &link->ready_out))
        return true;
    weft_verbs_link_fail(link, "out of memory");
    return false;
}

/* Both have told: what can be used is joined. */
static void rejoin(struct verbs_link *link)
{
    struct verbs_sync *peer = &link->peer_sync;
    uint64_t usable = common_rails(link);
    peer->cause[sizeof peer->cause - 1] = '\0';
    link->has_sync = false;
    if (!usable) {
        weft_verbs_link_fail(link, "no path to the peer is left%s: %s",
                             !link->own_sync.usable ? ", the ports here are down"
                             : !peer->usable        ? ", its ports are down"
                                                    : "",
                             link->cause[0] ? link->cause : peer->cause);
        return;
    }
    if (peer->records - link->out_consumed > link->out_records - link->out_consumed ||
        peer->head - link->out_taken > link->out_head - link->out_taken) {
        weft_verbs_link_fail(link, "peer broke the protocol: it has more than was sent");
        return;
    }
    weft_verbs_take_credit(link, peer->head, peer->records, UINT32_MAX);
    link->replayed = link->out_consumed;
    weft_verbs_loads_rejoin(link, peer);
    put_on_trial(link, usable);
    for (int i = 0; i < link->num_rails; i++)
        link->peer.rails[i].packet_number = peer->packet_numbers[i];
    if (!weft_verbs_join(link, usable))
        return;
    if (!weft_verbs_note_expect(link, &link->sync_in, link->epoch + 1)) {
        weft_verbs_link_fail(link, "out of memory");
        return;
    }
    if (link->revoked) { // cancelled meanwhile: what is not yet known there must not be written to
        weft_verbs_rails_stop(link);
        link->is_troubled = true;
    }
    weft_verbs_come_up(link);
}

void weft_verbs_sync_came(struct verbs_link *link)
{
    link->has_sync = true;
    if (link->peer_sync.renewed)
        link->tried_ns = weft_clock_ns();
    for (int i = 0; i < link->num_rails && link->rails[i]; i++)
        if (link->peer_sync.renewed >> i & 1)
            link->rails[i]->is_bad = false;
    if (link->state == VERBS_UP || link->state == VERBS_READYING) {
        if (!link->cause[0])
            snprintf(link->cause, sizeof link->cause, "%.*s",
                     (int)strnlen(link->peer_sync.cause, sizeof link->peer_sync.cause - 1),
                     link->peer_sync.cause);
        pause(link, false);
    }
}

void weft_verbs_come_up(struct verbs_link *link)
{
    if (link->state != VERBS_READYING || !link->has_ready)
        return;
    weft_verbs_link_turn(link, VERBS_UP);
    for (int i = 0; i < link->num_rails; i++) {
        link->rails[i]->load = 0;
        if (link->rails[i]->is_tried && link->rails[i]->is_used)
            weft_verbs_probe(link->rails[i]);
    }
    if (link->is_troubled)
        pause(link, true);
}

/* Sends again what the peer does not have. */
static void replay(struct verbs_link *link)
{
    for (; link->replayed != link->out_records; link->replayed++) {
        uint32_t ahead = link->replayed - link->peer_sync.records;
        bool is_there =
            ahead < VERBS_WINDOW && link->peer_sync.arrived[ahead / 64] >> ahead % 64 & 1;
        if (!is_there && !weft_verbs_send_record(link, link->replayed))
            return;
    }
}

bool weft_verbs_is_replayed(const struct verbs_link *link)
{
    return link->replayed == link->out_records;
}

void weft_verbs_resync_step(struct verbs_link *link)
{
    if (link->state == VERBS_PAUSING && (is_drained(link) || weft_clock_ns() > link->drained_ns))
        report(link);
    if (link->state == VERBS_SYNCING && link->has_sync)
        rejoin(link);
    if (link->state == VERBS_UP)
        replay(link);
}
