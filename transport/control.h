/*
 * SPDX-License-Identifier: Apache-2.0
 * The control plane of a world (the ranks that met): a redundant overlay of authenticated TCP
 * connections, rank r to r +- 2^k, over which notices are flooded. It carries deaths, aborts and
 * mismatches, and survives the death of any ranks as long as the overlay of the others is
 * connected. A connection that ends without a goodbye is a death; its neighbours flood the notice.
 * Single threaded, nothing blocks.
 */
#ifndef WEFT_TRANSPORT_CONTROL_H
#define WEFT_TRANSPORT_CONTROL_H

#include "base/error.h"

enum weft_notice_kind {
    WEFT_NOTICE_DEATH = 1, // `subject` is dead
    WEFT_NOTICE_ABORT,     // communicator `comm` was aborted by `subject`
    WEFT_NOTICE_FAILURE,   // an operation of `comm` failed at rank `subject`: `status`, `text`
};

enum { WEFT_NOTICE_TEXT_BYTES = 240, WEFT_CONTROL_ADDRESS_BYTES = 96 };

struct weft_notice {
    enum weft_notice_kind kind;
    uint32_t comm;
    uint32_t epoch;
    int32_t subject; // world rank
    int32_t status;  // weft_status; ABORT and FAILURE: one that is a failure
    char text[WEFT_NOTICE_TEXT_BYTES];
};

struct weft_control;

struct weft_control_events {
    void *user;
    /* Called from progress and from post, once per notice, never for one's own. A death is reported
     * once per rank, however many neighbours saw it. `notice` is valid during the call. */
    void (*notice)(void *user, const struct weft_notice *notice);
};

/* Opens the listener before the meeting; `address` (WEFT_CONTROL_ADDRESS_BYTES) goes into the blob.
 * An address is a secret. Errors: SYSTEM; INVALID_ARGUMENT: not a numeric address, or a wildcard,
 * which nobody could connect to. Nothing happens, and the descriptor is quiet, until start. */
weft_status weft_control_open(const char *listen_address, struct weft_control **control,
                              void *address, struct weft_error *error);
/* After the meeting: addresses[r] of every rank. Connections are made in the background; a
 * neighbour to whose host no connection comes about within 2 s, or that refuses for 0.3 s, is
 * dead; one that is merely slow or stopped is not. Errors: INVALID_FORMAT (an address),
 * OUT_OF_MEMORY. */
weft_status weft_control_start(struct weft_control *control, int rank, int num_ranks,
                               const void *const *addresses, struct weft_control_events events,
                               struct weft_error *error);
/* Whether every neighbour that is alive can be heard and told. Until then a notice may be lost with
 * the rank that posted it. */
int weft_control_is_connected(const struct weft_control *control);
/* Floods `notice` to every rank; queued where a connection is not up or its socket is full. Deaths
 * always; other notices are dropped for a neighbour that leaves 1 MiB unread. A bad subject, or a
 * death that is known, is ignored. May be called from the event. */
void weft_control_post(struct weft_control *control, const struct weft_notice *notice);
/* The number of things that happened. Cheap when nothing did (one epoll_wait with no time-out). */
int weft_control_progress(struct weft_control *control);
int weft_control_descriptor(const struct weft_control *control);
/* Whether `rank` is known to be dead. */
int weft_control_is_dead(const struct weft_control *control, int rank);
/* Says goodbye (so that leaving is no death), flushes for at most 100 ms, 1 s where a neighbour
 * that is not yet heard has not been told of a failure; closes. */
void weft_control_close(struct weft_control **control);

#endif
