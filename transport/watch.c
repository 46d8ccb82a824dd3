/*
 * SPDX-License-Identifier: Apache-2.0
 * Turns of the event loop, and its timer.
 */
#include "transport/watch.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { EVENTS_PER_TURN = 64 };

weft_status weft_watch_open(int *epoll, struct weft_error *error)
{
    int descriptor = epoll_create1(EPOLL_CLOEXEC);
    if (descriptor < 0)
        return weft_fail(error, WEFT_SYSTEM, "epoll_create1: %s", strerror(errno));
    *epoll = descriptor;
    return WEFT_OK;
}

int weft_watch_turn(int epoll)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int num_events = epoll_wait(epoll, events, EVENTS_PER_TURN, 0);
    for (int i = 0; i < num_events; i++) {
        struct weft_watch *watch = events[i].data.ptr;
        watch->ready(watch);
    }
    return num_events > 0 ? num_events : 0;
}

static void disarm(struct weft_watch *watch)
{
    weft_timer_set((struct weft_timer *)watch, INT64_MAX);
}

weft_status weft_timer_open(struct weft_timer *timer, int epoll, struct weft_error *error)
{
    timer->watch.ready = disarm;
    timer->deadline_ns = INT64_MAX;
    timer->descriptor = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer->descriptor < 0)
        return weft_fail(error, WEFT_SYSTEM, "timerfd_create: %s", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &timer->watch};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, timer->descriptor, &event) != 0)
        return weft_fail(error, WEFT_SYSTEM, "epoll_ctl: %s", strerror(errno));
    return WEFT_OK;
}

void weft_timer_set(struct weft_timer *timer, int64_t deadline_ns)
{
    if (timer->deadline_ns == deadline_ns)
        return;
    timer->deadline_ns = deadline_ns;
    struct itimerspec when = {0};
    if (deadline_ns != INT64_MAX) {
        int64_t at = deadline_ns > 0 ? deadline_ns : 1; // all zero would turn it off
        when.it_value.tv_sec = at / 1000000000;
        when.it_value.tv_nsec = at % 1000000000;
    }
    int ignored = timerfd_settime(timer->descriptor, TFD_TIMER_ABSTIME, &when, NULL);
    (void)ignored; // fails only for bad arguments
}

void weft_timer_close(struct weft_timer *timer)
{
    if (timer->descriptor >= 0)
        close(timer->descriptor);
    timer->descriptor = -1;
}
