/*
 * SPDX-License-Identifier: Apache-2.0
 * Letting strangers in, one by one, and out again.
 */
#include "transport/door.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"

enum { MAX_STRANGERS = 64, ACCEPTS_PER_TURN = 64 };
static const int64_t stranger_ns = 2000000000;     // to authenticate and say something
static const int64_t stranger_grace_ns = 50000000; // that the next one may not cut short
static const int64_t pause_ns = 100000000;         // when the process is out of descriptors

struct stranger {
    struct weft_watch watch;
    struct weft_door *door;
    struct weft_sealed *sealed; // NULL: buried
    struct stranger *next;
    int64_t since_ns;
};

struct weft_door {
    struct weft_watch watch;
    struct weft_door_options options;
    unsigned char secret[WEFT_SECRET_BYTES];
    int listener;
    bool somebody_waits;
    struct stranger *first; // oldest
    struct stranger **end;
    struct stranger *buried; // until the end of the turn
    int num_strangers;
    int64_t accept_at_ns; // INT64_MAX: whenever somebody comes
};

static void bury(struct stranger *stranger)
{
    struct weft_door *door = stranger->door;
    struct stranger **link = &door->first;
    while (*link != stranger)
        link = &(*link)->next;
    *link = stranger->next;
    if (!*link)
        door->end = link;
    door->num_strangers--;
    weft_sealed_close(&stranger->sealed);
    stranger->next = door->buried;
    door->buried = stranger;
}

static void drop(struct stranger *stranger, const char *reason)
{
    WEFT_LOG(WEFT_LOG_DEBUG, "a stranger is dropped: %s", reason);
    bury(stranger);
}

static void serve_stranger(struct weft_watch *watch)
{
    struct stranger *stranger = (struct stranger *)watch;
    struct weft_door *door = stranger->door;
    struct weft_error why;
    const unsigned char *message;
    size_t bytes;
    if (!stranger->sealed)
        return;
    weft_status status = weft_sealed_progress(stranger->sealed, &why);
    if (status == WEFT_OK)
        status = weft_sealed_receive(stranger->sealed, &message, &bytes, &why);
    if (status == WEFT_IN_PROGRESS)
        return;
    if (status != WEFT_OK) {
        drop(stranger, why.text);
        return;
    }
    door->options.admit(door->options.user, &stranger->sealed, message, bytes);
    bury(stranger);
}

static void note_listener(struct weft_watch *watch)
{
    ((struct weft_door *)watch)->somebody_waits = true;
}

static void watch_listener(struct weft_door *door, int64_t accept_at_ns)
{
    struct epoll_event event = {.events = accept_at_ns == INT64_MAX ? EPOLLIN : 0,
                                .data.ptr = &door->watch};
    door->accept_at_ns = accept_at_ns;
    int ignored = epoll_ctl(door->options.epoll, EPOLL_CTL_MOD, door->listener, &event);
    (void)ignored; // cannot fail for a descriptor that is in the set
}

void weft_door_hold(struct weft_door *door, bool hold)
{
    watch_listener(door, hold ? INT64_MAX - 1 : INT64_MAX);
}

/* False: nobody else waits, or nobody can come in now. */
static bool accept_stranger(struct weft_door *door, int64_t now_ns)
{
    int connection = weft_endpoint_accept(door->listener);
    if (connection < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            WEFT_LOG(WEFT_LOG_WARN, "cannot accept a connection: %s", strerror(errno));
            watch_listener(door, now_ns + pause_ns);
            return false;
        }
        return errno == EINTR || errno == ECONNABORTED;
    }
    struct stranger *stranger = calloc(1, sizeof *stranger);
    if (!stranger) {
        close(connection);
        return true;
    }
    struct weft_sealed_options options = {.role = WEFT_HANDSHAKE_SERVER,
                                          .secret = door->secret,
                                          .purpose = door->options.purpose,
                                          .epoll = door->options.epoll,
                                          .watch = &stranger->watch,
                                          .frame_limit = door->options.frame_limit};
    if (weft_sealed_open(connection, false, &options, &stranger->sealed, NULL) != WEFT_OK) {
        free(stranger);
        return true;
    }
    stranger->watch.ready = serve_stranger;
    stranger->door = door;
    stranger->since_ns = now_ns;
    *door->end = stranger;
    door->end = &stranger->next;
    door->num_strangers++;
    return true;
}

static void accept_strangers(struct weft_door *door, int64_t now_ns)
{
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (door->num_strangers >= MAX_STRANGERS) {
            if (now_ns < door->first->since_ns + stranger_grace_ns) {
                watch_listener(door, door->first->since_ns + stranger_grace_ns);
                return;
            }
            drop(door->first, "too many strangers");
        }
        if (!accept_stranger(door, now_ns))
            return;
    }
}

void weft_door_settle(struct weft_door *door, int64_t now_ns)
{
    while (door->first && now_ns >= door->first->since_ns + stranger_ns)
        drop(door->first, "it did not introduce itself in time");
    if (now_ns >= door->accept_at_ns) {
        watch_listener(door, INT64_MAX);
        door->somebody_waits = true;
    }
    if (door->somebody_waits)
        accept_strangers(door, now_ns);
    door->somebody_waits = false;
    while (door->buried) {
        struct stranger *stranger = door->buried;
        door->buried = stranger->next;
        free(stranger);
    }
}

int64_t weft_door_deadline(const struct weft_door *door)
{
    int64_t at = door->accept_at_ns;
    if (door->first && door->first->since_ns + stranger_ns < at)
        at = door->first->since_ns + stranger_ns;
    return at;
}

weft_status weft_door_open(struct weft_endpoint *endpoint, const struct weft_door_options *options,
                           struct weft_door **door, struct weft_error *error)
{
    struct weft_door *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a listener");
    made->watch.ready = note_listener;
    made->options = *options;
    made->listener = -1;
    made->end = &made->first;
    made->accept_at_ns = INT64_MAX;
    memcpy(made->secret, options->secret, sizeof made->secret);
    weft_status status = weft_endpoint_listen(endpoint, &made->listener, error);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &made->watch};
    if (status == WEFT_OK && epoll_ctl(options->epoll, EPOLL_CTL_ADD, made->listener, &event) != 0)
        status = weft_fail(error, WEFT_SYSTEM, "epoll_ctl: %s", strerror(errno));
    if (status != WEFT_OK) {
        weft_door_close(&made);
        return status;
    }
    *door = made;
    return WEFT_OK;
}

void weft_door_close(struct weft_door **door)
{
    struct weft_door *old = *door;
    if (!old)
        return;
    *door = NULL;
    while (old->first)
        bury(old->first);
    while (old->buried) {
        struct stranger *stranger = old->buried;
        old->buried = stranger->next;
        free(stranger);
    }
    if (old->listener >= 0)
        close(old->listener);
    sodium_memzero(old->secret, sizeof old->secret);
    free(old);
}
