/*
 * SPDX-License-Identifier: Apache-2.0
 * How the control plane begins and ends. Who leaves says so on every link and waits, briefly, until
 * the words have arrived: otherwise the end of a link would be a death.
 */
#include "transport/control_parts.h"

#include <assert.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/bytes.h"

static const int64_t patience_ns = 300000000; // of the higher rank, before it connects too
static const int64_t goodbye_ns = 100000000;
static const int64_t news_ns = 1000000000; // the same, where somebody does not know of a failure

enum { GOODBYE_POLL_MS = 2 }; // nothing wakes up when a peer's kernel acknowledges

static weft_status open_parts(struct weft_control *control, struct weft_error *error)
{
    WEFT_TRY(weft_watch_open(&control->epoll, error));
    WEFT_TRY(weft_timer_open(&control->timer, control->epoll, error));
    struct weft_door_options options = {.epoll = control->epoll,
                                        .secret = control->key,
                                        .purpose = WEFT_CONTROL_PURPOSE,
                                        .frame_limit = WEFT_CONTROL_MESSAGE_LIMIT,
                                        .user = control,
                                        .admit = weft_control_admit};
    WEFT_TRY(weft_door_open(&control->endpoint, &options, &control->door, error));
    weft_door_hold(control->door, true); // until start says who may come
    return WEFT_OK;
}

weft_status weft_control_open(const char *listen_address, struct weft_control **control,
                              void *address, struct weft_error *error)
{
    struct weft_endpoint endpoint;
    if (sodium_init() < 0)
        return weft_fail(error, WEFT_SYSTEM, "libsodium cannot be initialised");
    WEFT_TRY(weft_endpoint_parse(listen_address, 0, &endpoint, error));
    if (weft_endpoint_is_wildcard(&endpoint))
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "'%s' is no address that peers could connect to", listen_address);
    struct weft_control *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the control plane");
    made->epoll = made->timer.descriptor = -1;
    made->endpoint = endpoint;
    randombytes_buf(made->key, sizeof made->key);
    weft_status status = open_parts(made, error);
    if (status != WEFT_OK) {
        weft_control_close(&made);
        return status;
    }
    char host[WEFT_HOST_NAME_BYTES];
    struct weft_control_address value = {.endpoint = made->endpoint, .pid = (uint32_t)getpid()};
    memcpy(value.key, made->key, sizeof value.key);
    weft_host_name(host);
    weft_text_clean(value.host, host, WEFT_CONTROL_HOST_BYTES);
    weft_control_write_address(&value, address);
    sodium_memzero(&value, sizeof value);
    *control = made;
    return WEFT_OK;
}

static void add_neighbour(struct weft_control *control, uint32_t rank, int64_t now)
{
    for (int i = 0; i < control->num_neighbours; i++)
        if (control->neighbours[i].rank == rank)
            return;
    if (rank == control->rank)
        return;
    assert(control->num_neighbours < MAX_NEIGHBOURS);
    control->neighbours[control->num_neighbours++] = (struct control_neighbour){
        .control = control,
        .rank = rank,
        .connect_at_ns = control->rank < rank ? now : now + patience_ns,
        .reach_until_ns = INT64_MAX,
    };
}

weft_status weft_control_start(struct weft_control *control, int rank, int num_ranks,
                               const void *const *addresses, struct weft_control_events events,
                               struct weft_error *error)
{
    assert(num_ranks > 0 && rank >= 0 && rank < num_ranks && control->num_ranks == 0);
    size_t count = (size_t)num_ranks;
    struct weft_control_address *read = calloc(count, sizeof *read);
    struct control_rank *ranks = calloc(count, sizeof *ranks);
    weft_status status = read && ranks ? WEFT_OK
                                       : weft_fail(error, WEFT_OUT_OF_MEMORY,
                                                   "no memory for a world of %d ranks", num_ranks);
    for (size_t i = 0; status == WEFT_OK && i < count; i++) {
        status = weft_control_read_address(addresses[i], &read[i], error);
        if (status != WEFT_OK)
            weft_fail_prefix(error, "rank %zu", i);
    }
    if (status != WEFT_OK) {
        free(read);
        free(ranks);
        return status;
    }
    control->addresses = read;
    control->ranks = ranks;
    control->rank = (uint32_t)rank;
    control->num_ranks = (uint32_t)num_ranks;
    control->events = events;
    int64_t now = weft_clock_ns();
    for (uint32_t hop = 1; hop < control->num_ranks; hop *= 2) {
        add_neighbour(control, (control->rank + hop) % control->num_ranks, now);
        add_neighbour(control, (control->rank + control->num_ranks - hop) % control->num_ranks,
                      now);
    }
    weft_door_hold(control->door, false);
    // The first turn connects; it comes at once, even to an owner that sleeps.
    weft_timer_set(&control->timer, now);
    return WEFT_OK;
}

/* Whether a neighbour has not been told yet that this rank leaves. Closing a connection on which
 * something lies unread resets it, and drops what the other end has not acknowledged, so the words
 * must have arrived; those who leave too would spread the news of a death. */
static bool has_untold(const struct control_neighbour *neighbour)
{
    enum control_life life = neighbour->control->ranks[neighbour->rank].life;
    bool any_open = false, all_arrived = true;
    for (int i = 0; i < 2; i++) {
        const struct control_link *link = neighbour->links[i];
        if (!link || !weft_sealed_is_open(link->sealed))
            continue;
        any_open = true;
        all_arrived = all_arrived && weft_sealed_has_arrived(link->sealed);
    }
    return life != DEAD && (!all_arrived || (life == ALIVE && !any_open));
}

/* Whether notices wait for a link to a neighbour. Over one that has not been answered yet only the
 * goodbye goes. */
static bool any_news(const struct weft_control *control)
{
    for (int i = 0; i < control->num_neighbours; i++) {
        const struct control_neighbour *neighbour = &control->neighbours[i];
        if (control->ranks[neighbour->rank].life == ALIVE && neighbour->queue_bytes > 0)
            return true;
    }
    return false;
}

static bool any_untold(const struct weft_control *control)
{
    for (int i = 0; i < control->num_neighbours; i++)
        if (has_untold(&control->neighbours[i]))
            return true;
    return false;
}

/* Every link says goodbye, also a second one and one that the other end has not answered yet: its
 * end would be a death otherwise. Links that come up while this rank is leaving say it then. Where
 * a neighbour has no link at all, the others carry the word. */
static void say_goodbye(struct weft_control *control)
{
    control->must_pass_on = any_untold(control);
    control->is_leaving = true;
    for (int i = 0; i < control->num_neighbours; i++)
        for (int k = 0; k < 2; k++) {
            struct control_link *link = control->neighbours[i].links[k];
            if (link && weft_sealed_is_open(link->sealed))
                weft_control_say_left(control, link);
        }
    int64_t began = weft_clock_ns();
    while (any_news(control) ? weft_clock_ns() < began + news_ns
                             : any_untold(control) && weft_clock_ns() < began + goodbye_ns) {
        struct pollfd ready = {.fd = control->epoll, .events = POLLIN};
        poll(&ready, 1, GOODBYE_POLL_MS);
        weft_control_progress(control);
    }
}

void weft_control_close(struct weft_control **control)
{
    struct weft_control *old = *control;
    if (!old)
        return;
    *control = NULL;
    if (old->num_ranks > 0)
        say_goodbye(old);
    for (int i = 0; i < old->num_neighbours; i++)
        weft_control_bury_links(&old->neighbours[i]);
    weft_control_free_buried(old);
    weft_door_close(&old->door);
    weft_timer_close(&old->timer);
    if (old->epoll >= 0)
        close(old->epoll);
    if (old->addresses)
        sodium_memzero(old->addresses, old->num_ranks * sizeof *old->addresses);
    free(old->addresses);
    free(old->ranks);
    sodium_memzero(old->key, sizeof old->key);
    free(old);
}
