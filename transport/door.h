/*
 * SPDX-License-Identifier: Apache-2.0
 * A listening socket for those who know a secret. Whoever connects is a stranger until it has
 * authenticated and sent its first message; then the owner decides. Strangers are few (64, the
 * oldest goes first), have 2 s, and harm nothing: who knows the secret and is dropped in a flood
 * tries again. Used by the meeting and by the control plane.
 */
#ifndef WEFT_TRANSPORT_DOOR_H
#define WEFT_TRANSPORT_DOOR_H

#include "transport/endpoint.h"
#include "transport/sealed.h"
#include "transport/watch.h"

struct weft_door;

struct weft_door_options {
    int epoll;
    const unsigned char *secret; // copied
    const char *purpose;         // static text
    size_t frame_limit;
    void *user;
    /* A stranger proved the secret and sent `message`. Takes *sealed over by setting it to NULL
     * (and gives it a watch of its own with weft_sealed_set_watch); otherwise it is dropped. Must
     * not close the door. */
    void (*admit)(void *user, struct weft_sealed **sealed, const unsigned char *message,
                  size_t bytes);
};

/* Listens on `endpoint` (port 0 is filled in). Errors: SYSTEM, OUT_OF_MEMORY. */
weft_status weft_door_open(struct weft_endpoint *endpoint, const struct weft_door_options *options,
                           struct weft_door **door, struct weft_error *error);
/* While held, nobody is let in and nothing wakes the owner; who connects waits in the system. */
void weft_door_hold(struct weft_door *door, bool hold);
/* At the end of each turn: lets new strangers in, drops those whose time is over. */
void weft_door_settle(struct weft_door *door, int64_t now_ns);
/* When settle has something to do by time alone; INT64_MAX: never. */
int64_t weft_door_deadline(const struct weft_door *door);
void weft_door_close(struct weft_door **door);

#endif
