/*
 * SPDX-License-Identifier: Apache-2.0
 * The progress thread of a context (WEFT_PROGRESS=thread): operations in flight move while the
 * caller computes. One lock per context: public calls hold it from entry to return, the thread
 * around each round. Without the thread there is no lock, and entering is one branch.
 */
#ifndef WEFT_COLLECTIVES_COMM_PROGRESS_H
#define WEFT_COLLECTIVES_COMM_PROGRESS_H

#include "collectives/comm/internal.h"

/* If the configuration asks for it; the context is complete by then.
 * Errors: INVALID_ARGUMENT (WEFT_PROGRESS), OUT_OF_MEMORY, SYSTEM. */
weft_status weft_progress_start(struct weft_context *context, struct weft_error *error);
/* Wakes the thread, waits for it, frees it; without one nothing. Not from the thread itself. */
void weft_progress_stop(struct weft_context *context);
void weft_progress_lock(struct weft_context *context);
void weft_progress_unlock(struct weft_context *context);
/* What `error` says now, in memory that the thread does not write: good for the next few calls. */
const char *weft_progress_text(struct weft_progress *progress, const struct weft_error *error);

/* Takes the lock, if there is one; again in calls within calls. NULL is ignored. */
static inline struct weft_context *weft_context_enter(struct weft_context *context)
{
    if (!context || !context->progress)
        return NULL;
    weft_progress_lock(context);
    return context;
}

static inline void weft_context_leave(struct weft_context **entered)
{
    if (*entered)
        weft_progress_unlock(*entered);
}

/* First thing in a public call: holds the context until the function returns. */
#define WEFT_ENTER(context)                                                                        \
    struct weft_context *entered_context __attribute__((cleanup(weft_context_leave), unused)) =    \
        weft_context_enter(context)

#endif
