/*
 * SPDX-License-Identifier: Apache-2.0
 * The progress thread: rounds of progress while something happens, else asleep on the context's
 * epoll descriptor and a bell of its own. It never spins, and gives way to a caller at once: it
 * holds the lock for one round, sees who waits for it, and sleeps until that call rings on leaving.
 */
#include "collectives/comm/progress.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    HOUSEKEEPING_ROUNDS = 16,   // rounds between looks at control planes and clocks
    SLEEP_LIMIT_NS = 100000000, // with operations in flight
    NAP_STEP_NS = 50000,        // nobody rings for flat slots
    NAPS_PER_STEP = 16,         // without effect; then they are longer by a step
    NAP_LIMIT_NS = 1000000,
    FRUITLESS_LIMIT = 16, // rings without effect in a row; then naps
    TEXTS = 8,
    NO_LIMIT = -1,
};

struct weft_progress {
    pthread_t thread;
    pthread_mutex_t mutex;   // recursive: public calls within others
    _Atomic int num_callers; // that want the lock
    int bell;                // eventfd
    _Atomic bool is_stopping;
    // Under the lock:
    int depth;
    bool is_asleep; // the thread sleeps, or is about to
    bool is_armed;  // transports wake this process; only while no call is inside
    unsigned fruitless_rings, fruitless_naps; // since anything happened
    unsigned num_texts;
    struct weft_error texts[TEXTS];
};

static void ring(struct weft_progress *progress)
{
    uint64_t one = 1;
    ssize_t ignored = write(progress->bell, &one, sizeof one);
    (void)ignored; // full: rung already
}

static void empty(int eventfd_descriptor)
{
    uint64_t count;
    ssize_t ignored = read(eventfd_descriptor, &count, sizeof count);
    (void)ignored; // it does not block
}

// With the lock. A caller looks for itself.
static void disarm(struct weft_context *context)
{
    if (context->progress->is_armed)
        weft_context_arm(context, false);
    context->progress->is_armed = false;
}

void weft_progress_lock(struct weft_context *context)
{
    struct weft_progress *progress = context->progress;
    atomic_fetch_add(&progress->num_callers, 1);
    pthread_mutex_lock(&progress->mutex);
    atomic_fetch_sub(&progress->num_callers, 1);
    if (progress->depth++ == 0)
        disarm(context);
}

void weft_progress_unlock(struct weft_context *context)
{
    struct weft_progress *progress = context->progress;
    bool is_last = --progress->depth == 0;
    bool must_ring = is_last && progress->is_asleep && context->operations;
    if (must_ring)
        progress->is_asleep = false;
    // What this call has disarmed, or begun, is the thread's again.
    pthread_mutex_unlock(&progress->mutex);
    if (must_ring)
        ring(progress);
}

const char *weft_progress_text(struct weft_progress *progress, const struct weft_error *error)
{
    pthread_mutex_lock(&progress->mutex);
    struct weft_error *shown = &progress->texts[progress->num_texts++ % TEXTS];
    *shown = *error;
    pthread_mutex_unlock(&progress->mutex);
    return shown->text;
}

/* How the thread sleeps. */
struct sleep {
    bool hears_all; // not the bell alone
    int64_t limit_ns;
};

static bool is_wanted(const struct weft_progress *progress)
{
    return atomic_load(&progress->num_callers) > 0;
}

static int64_t until_deadline(const struct weft_context *context)
{
    int64_t left_ns = weft_operations_next_deadline(context) - weft_clock_ns();
    return left_ns < 0 ? 0 : left_ns < SLEEP_LIMIT_NS ? left_ns + 1000 : SLEEP_LIMIT_NS;
}

// With the lock; `events` of the last round.
static struct sleep plan_sleep(struct weft_context *context, int events)
{
    struct weft_progress *progress = context->progress;
    // A caller looks for itself. It rings on leaving if anything is left to do.
    if (is_wanted(progress))
        return (struct sleep){false, SLEEP_LIMIT_NS};
    if (progress->fruitless_rings > FRUITLESS_LIMIT) // what is readable stays so: no reason to spin
        return (struct sleep){false, NAP_LIMIT_NS};
    if (events > 0) // came between arming and sleeping
        return (struct sleep){true, 0};
    if (context->flat_waiters > 0) {
        int64_t nap_ns = NAP_STEP_NS * (1 + progress->fruitless_naps / NAPS_PER_STEP);
        return (struct sleep){true, nap_ns < NAP_LIMIT_NS ? nap_ns : NAP_LIMIT_NS};
    }
    return (struct sleep){true, context->operations ? until_deadline(context) : NO_LIMIT};
}

// Rounds while anything happens; with the lock.
static struct sleep make_progress(struct weft_context *context, bool is_rung)
{
    struct weft_progress *progress = context->progress;
    int total = 0, events;
    unsigned rounds = 0;
    empty(context->wake);
    do {
        events = weft_context_progress(context, rounds++ % HOUSEKEEPING_ROUNDS == 0);
        total += events;
    } while (events > 0 && !is_wanted(progress));
    if (!is_wanted(progress) && context->operations && !context->flat_waiters) {
        weft_context_arm(context, true);
        progress->is_armed = true;
        total += events = weft_context_progress(context, true);
    }
    if (total > 0)
        progress->fruitless_rings = progress->fruitless_naps = 0;
    else if (is_rung)
        progress->fruitless_rings++;
    else
        progress->fruitless_naps++;
    return plan_sleep(context, events);
}

// Whether anything but the bell has ended the sleep.
static bool sleep_until_event(const struct weft_context *context, struct sleep sleep)
{
    const struct timespec limit = {sleep.limit_ns / 1000000000, sleep.limit_ns % 1000000000};
    struct pollfd waits[] = {{.fd = context->progress->bell, .events = POLLIN},
                             {.fd = context->poll, .events = POLLIN}};
    int ready =
        ppoll(waits, sleep.hears_all ? 2 : 1, sleep.limit_ns == NO_LIMIT ? NULL : &limit, NULL);
    if (ready > 0 && waits[0].revents)
        empty(context->progress->bell);
    return ready > 0 && sleep.hears_all && waits[1].revents;
}

static void *run(void *argument)
{
    struct weft_context *context = argument;
    struct weft_progress *progress = context->progress;
    bool is_rung = false;
    while (!atomic_load(&progress->is_stopping)) {
        pthread_mutex_lock(&progress->mutex);
        progress->depth++;
        progress->is_asleep = false;
        disarm(context);
        struct sleep sleep = make_progress(context, is_rung);
        progress->is_asleep = true;
        progress->depth--;
        pthread_mutex_unlock(&progress->mutex);
        is_rung = sleep_until_event(context, sleep);
    }
    return NULL;
}

// The process's signals are its other threads'; what the thread itself does wrong is not masked.
static int start_thread(struct weft_context *context)
{
    sigset_t all, before;
    sigfillset(&all);
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&context->progress->thread, NULL, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0)
        pthread_setname_np(context->progress->thread, "weft-progress");
    return failure;
}

static void free_progress(struct weft_context *context)
{
    struct weft_progress *progress = context->progress;
    if (progress->bell >= 0)
        close(progress->bell);
    pthread_mutex_destroy(&progress->mutex);
    free(progress);
    context->progress = NULL;
}

weft_status weft_progress_start(struct weft_context *context, struct weft_error *error)
{
    const char *wanted = context->config.progress;
    pthread_mutexattr_t attributes;
    if (!strcmp(wanted, "calls"))
        return WEFT_OK;
    if (strcmp(wanted, "thread") != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "WEFT_PROGRESS: '%.32s' is neither calls nor thread", wanted);
    struct weft_progress *progress = calloc(1, sizeof *progress);
    if (!progress)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a progress thread");
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&progress->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    progress->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    context->progress = progress;
    int failure = progress->bell < 0 ? errno : start_thread(context);
    if (failure) {
        free_progress(context);
        return weft_fail(error, WEFT_SYSTEM, "progress thread: %s", strerror(failure));
    }
    return WEFT_OK;
}

void weft_progress_stop(struct weft_context *context)
{
    if (!context->progress)
        return;
    atomic_store(&context->progress->is_stopping, true);
    atomic_fetch_add(&context->progress->num_callers, 1); // ends its rounds, whatever happens
    ring(context->progress);
    pthread_join(context->progress->thread, NULL);
    free_progress(context);
}
