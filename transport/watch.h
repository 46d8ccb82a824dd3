/*
 * SPDX-License-Identifier: Apache-2.0
 * The event loop of the meeting and of the control plane: an epoll descriptor in which every entry
 * is a weft_watch, and a timer that makes it poll readable when a deadline comes. An owner's
 * progress is one turn; when nothing is ready it costs one epoll_wait and nothing else.
 */
#ifndef WEFT_TRANSPORT_WATCH_H
#define WEFT_TRANSPORT_WATCH_H

#include "base/error.h"

/* First member of everything that is registered (epoll_event.data.ptr). It must live until the end
 * of the turn in which it was closed, since the same turn's events may still name it. */
struct weft_watch {
    void (*ready)(struct weft_watch *watch);
};

/* A new epoll descriptor. Errors: SYSTEM. */
weft_status weft_watch_open(int *epoll, struct weft_error *error);
/* One epoll_wait without time-out; calls what is ready. The number of events. */
int weft_watch_turn(int epoll);

/* When it fires, a turn has at least one event; the owner then looks at its own deadlines. */
struct weft_timer {
    struct weft_watch watch;
    int descriptor;
    int64_t deadline_ns; // INT64_MAX: off
};

/* Errors: SYSTEM. */
weft_status weft_timer_open(struct weft_timer *timer, int epoll, struct weft_error *error);
/* `deadline_ns` in weft_clock_ns time. Free when it is the same as before. */
void weft_timer_set(struct weft_timer *timer, int64_t deadline_ns);
void weft_timer_close(struct weft_timer *timer);

#endif
