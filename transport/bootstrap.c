/*
 * SPDX-License-Identifier: Apache-2.0
 * One rank on its way through a meeting. Until the meeting point has welcomed it, the rank may lose
 * any number of connections and tries again; afterwards the end of the connection is the end of the
 * meeting.
 */
#include "transport/bootstrap.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/meeting.h"
#include "transport/sealed.h"

static const int64_t first_pause_ns = 5000000;
static const int64_t longest_pause_ns = 100000000;
static const int64_t attempt_ns = 2000000000;
static const int64_t absence_ns = 1000000000; // of a meeting point that was there before

enum phase { PAUSING, ASKING, REGISTERED, JOINED, HOLDING, ENDED };

struct blob {
    unsigned char *data; // NULL: not here yet
    size_t bytes;
};

struct weft_bootstrap {
    struct weft_watch watch; // of the connection
    int epoll;
    struct weft_timer timer;
    struct weft_id_contents id;
    struct weft_sealed *sealed;
    enum phase phase;
    int64_t deadline_ns;
    int64_t pause_ns;
    int64_t attempt_until_ns;
    int64_t retry_at_ns;
    int64_t proved_ns; // when the meeting point last proved the secret; 0: never
    uint32_t rank;
    uint32_t num_ranks;
    unsigned char *message; // REGISTER, as sent; its clock is filled in each time
    size_t message_limit;
    struct weft_meeting_register registration;
    struct weft_meeting_welcome point;
    struct blob *blobs; // (num_ranks)
    uint32_t num_blobs;
    struct weft_error error;    // of phase ENDED; status OK: all is well
    struct weft_error last_try; // why the last attempt failed
};

static void end(struct weft_bootstrap *bootstrap, weft_status status)
{
    bootstrap->phase = ENDED;
    bootstrap->error.status = status;
    weft_sealed_close(&bootstrap->sealed);
}

static const char *where(const struct weft_bootstrap *bootstrap, char *text)
{
    return weft_endpoint_text(&bootstrap->id.endpoint, text);
}

/* ---- attempts ---- */

static void pause_after_failure(struct weft_bootstrap *bootstrap)
{
    char text[WEFT_ENDPOINT_TEXT_BYTES];
    int64_t now = weft_clock_ns();
    weft_sealed_close(&bootstrap->sealed);
    if (bootstrap->proved_ns && now > bootstrap->proved_ns + absence_ns) {
        end(bootstrap, weft_fail(&bootstrap->error, WEFT_REMOTE,
                                 "the meeting point at %s was there and is gone: %.300s",
                                 where(bootstrap, text), bootstrap->last_try.text));
        return;
    }
    // The random half keeps many ranks from knocking in step.
    bootstrap->retry_at_ns = now + bootstrap->pause_ns / 2 +
                             (int64_t)randombytes_uniform((uint32_t)(bootstrap->pause_ns / 2 + 1));
    bootstrap->pause_ns =
        bootstrap->pause_ns * 2 < longest_pause_ns ? bootstrap->pause_ns * 2 : longest_pause_ns;
    bootstrap->phase = PAUSING;
}

static void attempt(struct weft_bootstrap *bootstrap)
{
    int connection;
    struct weft_sealed_options options = {.role = WEFT_HANDSHAKE_CLIENT,
                                          .secret = bootstrap->id.secret,
                                          .purpose = WEFT_MEETING_PURPOSE,
                                          .epoll = bootstrap->epoll,
                                          .watch = &bootstrap->watch,
                                          .frame_limit = WEFT_MEETING_TABLE_LIMIT};
    weft_status status =
        weft_endpoint_connect(&bootstrap->id.endpoint, &connection, &bootstrap->last_try);
    if (status == WEFT_OK)
        status =
            weft_sealed_open(connection, true, &options, &bootstrap->sealed, &bootstrap->last_try);
    if (status == WEFT_OK) {
        bootstrap->attempt_until_ns = weft_deadline_after(attempt_ns);
        bootstrap->phase = ASKING;
    } else {
        pause_after_failure(bootstrap);
    }
}

static weft_status register_rank(struct weft_bootstrap *bootstrap, struct weft_error *error)
{
    int64_t now = weft_clock_ns();
    bootstrap->proved_ns = now;
    bootstrap->registration.remaining_ns =
        bootstrap->deadline_ns > now ? bootstrap->deadline_ns - now : 0;
    size_t bytes = weft_meeting_write_register(bootstrap->message, bootstrap->message_limit,
                                               &bootstrap->registration);
    assert(bytes > 0);
    bootstrap->phase = REGISTERED;
    return weft_sealed_send(bootstrap->sealed, bootstrap->message, bytes, error);
}

/* ---- messages of the meeting point ---- */

static weft_status on_welcome(struct weft_bootstrap *bootstrap, const unsigned char *message,
                              size_t bytes, struct weft_error *error)
{
    WEFT_TRY(weft_meeting_read_welcome(message, bytes, &bootstrap->point, error));
    bootstrap->phase = JOINED;
    return WEFT_OK;
}

static weft_status take_blob(struct weft_bootstrap *bootstrap, struct weft_reader *reader,
                             struct weft_error *error)
{
    uint64_t rank = weft_take_integer(reader, 4);
    size_t bytes = weft_take_integer(reader, 4);
    const unsigned char *data = weft_take(reader, bytes);
    if (reader->bad || rank >= bootstrap->num_ranks || bytes > WEFT_BLOB_LIMIT_BYTES ||
        bootstrap->blobs[rank].data)
        return weft_fail(error, WEFT_INVALID_FORMAT, "malformed table");
    struct blob *blob = &bootstrap->blobs[rank];
    blob->data = malloc(bytes + 1);
    if (!blob->data)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the blob of rank %u",
                         (unsigned)rank);
    memcpy(blob->data, data, bytes);
    blob->bytes = bytes;
    bootstrap->num_blobs++;
    return WEFT_OK;
}

/* The end of the connection follows; that nobody listens for a while then is no alarm. */
static weft_status on_later(struct weft_bootstrap *bootstrap, const unsigned char *message,
                            size_t bytes, struct weft_error *error)
{
    (void)message;
    (void)bytes;
    (void)error;
    bootstrap->proved_ns = 0;
    return WEFT_OK;
}

static weft_status on_table(struct weft_bootstrap *bootstrap, const unsigned char *message,
                            size_t bytes, struct weft_error *error)
{
    static const unsigned char received = WEFT_MEETING_RECEIVED;
    struct weft_reader reader = {message + 1, bytes - 1, false};
    while (reader.left > 0)
        WEFT_TRY(take_blob(bootstrap, &reader, error));
    if (bootstrap->num_blobs < bootstrap->num_ranks)
        return WEFT_OK;
    bootstrap->phase = HOLDING;
    return weft_sealed_send(bootstrap->sealed, &received, 1, error);
}

static weft_status on_go(struct weft_bootstrap *bootstrap, const unsigned char *message,
                         size_t bytes, struct weft_error *error)
{
    (void)message;
    (void)bytes;
    (void)error;
    end(bootstrap, WEFT_OK);
    return WEFT_OK;
}

static weft_status on_failed(struct weft_bootstrap *bootstrap, const unsigned char *message,
                             size_t bytes, struct weft_error *error)
{
    struct weft_meeting_failed failed;
    WEFT_TRY(weft_meeting_read_failed(message, bytes, &failed, error));
    end(bootstrap, weft_fail(&bootstrap->error, failed.status, "%s", failed.text));
    return WEFT_OK;
}

/* Which message may come in which phase. */
static const struct {
    unsigned phases; // bits
    weft_status (*act)(struct weft_bootstrap *bootstrap, const unsigned char *message, size_t bytes,
                       struct weft_error *error);
} messages[] = {
    [WEFT_MEETING_WELCOME] = {1u << REGISTERED, on_welcome},
    [WEFT_MEETING_TABLE] = {1u << JOINED, on_table},
    [WEFT_MEETING_GO] = {1u << HOLDING, on_go},
    [WEFT_MEETING_FAILED] = {1u << REGISTERED | 1u << JOINED | 1u << HOLDING, on_failed},
    [WEFT_MEETING_LATER] = {1u << REGISTERED, on_later},
};

static weft_status on_message(struct weft_bootstrap *bootstrap, const unsigned char *message,
                              size_t bytes, struct weft_error *error)
{
    size_t type = message[0];
    if (type >= sizeof messages / sizeof *messages || !messages[type].act ||
        !(messages[type].phases >> bootstrap->phase & 1))
        return weft_fail(error, WEFT_INVALID_FORMAT, "it sent message type %zu out of turn", type);
    return messages[type].act(bootstrap, message, bytes, error);
}

/* ---- turns ---- */

static void on_lost(struct weft_bootstrap *bootstrap, weft_status status,
                    const struct weft_error *why)
{
    char text[WEFT_ENDPOINT_TEXT_BYTES];
    where(bootstrap, text);
    if (status == WEFT_PERMISSION) {
        end(bootstrap, weft_fail(&bootstrap->error, WEFT_PERMISSION,
                                 "the meeting point at %s: %.300s", text, why->text));
    } else if (status == WEFT_OUT_OF_MEMORY) {
        end(bootstrap, weft_fail(&bootstrap->error, status, "%.400s", why->text));
    } else if (bootstrap->phase >= JOINED) {
        end(bootstrap,
            weft_fail(
                &bootstrap->error, WEFT_REMOTE,
                "the meeting point (pid %u on %s, at %s) left before the meeting was over: %.200s",
                bootstrap->point.pid, bootstrap->point.host, text, why->text));
    } else {
        bootstrap->last_try = *why;
        pause_after_failure(bootstrap);
    }
}

static void serve_connection(struct weft_watch *watch)
{
    struct weft_bootstrap *bootstrap = (struct weft_bootstrap *)watch;
    struct weft_error why;
    const unsigned char *message;
    size_t bytes;
    if (!bootstrap->sealed)
        return;
    weft_status status = weft_sealed_progress(bootstrap->sealed, &why);
    if (status == WEFT_OK && bootstrap->phase == ASKING)
        status = register_rank(bootstrap, &why);
    while (status == WEFT_OK && bootstrap->phase != ENDED) {
        status = weft_sealed_receive(bootstrap->sealed, &message, &bytes, &why);
        if (status == WEFT_OK)
            status = on_message(bootstrap, message, bytes, &why);
    }
    if (status != WEFT_OK && status != WEFT_IN_PROGRESS)
        on_lost(bootstrap, status, &why);
}

static void fail_by_deadline(struct weft_bootstrap *bootstrap)
{
    char text[WEFT_ENDPOINT_TEXT_BYTES];
    where(bootstrap, text);
    if (bootstrap->phase >= JOINED)
        end(bootstrap,
            weft_fail(&bootstrap->error, WEFT_TIMEOUT,
                      "the meeting point (pid %u on %s, at %s) did not answer by the deadline",
                      bootstrap->point.pid, bootstrap->point.host, text));
    else
        end(bootstrap,
            weft_fail(&bootstrap->error, WEFT_TIMEOUT,
                      "rank %u did not reach the meeting point at %s by the deadline%s%.300s",
                      bootstrap->rank, text, bootstrap->last_try.text[0] ? ": " : "",
                      bootstrap->last_try.text));
}

static void keep_deadlines(struct weft_bootstrap *bootstrap, int64_t now)
{
    if (now >= bootstrap->deadline_ns) {
        fail_by_deadline(bootstrap);
    } else if (bootstrap->phase == PAUSING && now >= bootstrap->retry_at_ns) {
        attempt(bootstrap);
    } else if (bootstrap->phase == ASKING && now >= bootstrap->attempt_until_ns) {
        // Only before registering: afterwards the other end may count on this rank already.
        weft_status ignored = weft_fail(&bootstrap->last_try, WEFT_TIMEOUT, "no answer within 2 s");
        (void)ignored;
        pause_after_failure(bootstrap);
    }
}

static void set_timer(struct weft_bootstrap *bootstrap)
{
    int64_t at = bootstrap->deadline_ns;
    if (bootstrap->phase == PAUSING && bootstrap->retry_at_ns < at)
        at = bootstrap->retry_at_ns;
    if (bootstrap->phase == ASKING && bootstrap->attempt_until_ns < at)
        at = bootstrap->attempt_until_ns;
    weft_timer_set(&bootstrap->timer, at);
}

weft_status weft_bootstrap_progress(struct weft_bootstrap *bootstrap, struct weft_error *error)
{
    if (bootstrap->phase != ENDED && weft_watch_turn(bootstrap->epoll) > 0) {
        if (bootstrap->phase != ENDED)
            keep_deadlines(bootstrap, weft_clock_ns());
        if (bootstrap->phase != ENDED)
            set_timer(bootstrap);
    }
    if (bootstrap->phase != ENDED)
        return WEFT_IN_PROGRESS;
    if (bootstrap->error.status != WEFT_OK && error)
        *error = bootstrap->error;
    return bootstrap->error.status;
}

int weft_bootstrap_descriptor(const struct weft_bootstrap *bootstrap)
{
    return bootstrap->epoll;
}

const void *weft_bootstrap_blob(const struct weft_bootstrap *bootstrap, int rank, size_t *bytes)
{
    assert(rank >= 0 && (uint32_t)rank < bootstrap->num_ranks);
    *bytes = bootstrap->blobs[rank].bytes;
    return bootstrap->blobs[rank].data;
}

/* ---- start and close ---- */

static weft_status make_parts(struct weft_bootstrap *bootstrap, const void *blob,
                              struct weft_error *error)
{
    struct weft_meeting_register *registration = &bootstrap->registration;
    size_t blob_bytes = registration->blob_bytes;
    bootstrap->blobs = calloc(bootstrap->num_ranks, sizeof *bootstrap->blobs);
    bootstrap->message_limit = WEFT_MEETING_REGISTER_LIMIT;
    // The blob is kept behind the message that carries it.
    bootstrap->message = malloc(bootstrap->message_limit + blob_bytes);
    if (!bootstrap->blobs || !bootstrap->message)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a meeting of %u ranks",
                         bootstrap->num_ranks);
    unsigned char *copy = bootstrap->message + bootstrap->message_limit;
    if (blob_bytes)
        memcpy(copy, blob, blob_bytes);
    registration->blob = copy;
    weft_host_name(registration->host);
    WEFT_TRY(weft_watch_open(&bootstrap->epoll, error));
    return weft_timer_open(&bootstrap->timer, bootstrap->epoll, error);
}

weft_status weft_bootstrap_start(const weft_unique_id *id, int rank, int num_ranks,
                                 const void *blob, size_t blob_bytes, int64_t deadline_ns,
                                 struct weft_bootstrap **bootstrap, struct weft_error *error)
{
    struct weft_id_contents contents;
    if (sodium_init() < 0)
        return weft_fail(error, WEFT_SYSTEM, "libsodium cannot be initialised");
    if (num_ranks < 1 || num_ranks > WEFT_MEETING_LIMIT_RANKS || rank < 0 || rank >= num_ranks)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "rank %d of %d ranks: a meeting has 1 to %d ranks", rank, num_ranks,
                         WEFT_MEETING_LIMIT_RANKS);
    if (blob_bytes > WEFT_BLOB_LIMIT_BYTES)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "a blob of %zu bytes; at most %d are allowed", blob_bytes,
                         WEFT_BLOB_LIMIT_BYTES);
    WEFT_TRY(weft_id_unpack(id, &contents, error));
    struct weft_bootstrap *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a meeting");
    made->watch.ready = serve_connection;
    made->epoll = made->timer.descriptor = -1;
    made->id = contents;
    made->deadline_ns = deadline_ns;
    made->pause_ns = first_pause_ns;
    made->rank = (uint32_t)rank;
    made->num_ranks = (uint32_t)num_ranks;
    made->registration = (struct weft_meeting_register){.rank = made->rank,
                                                        .num_ranks = made->num_ranks,
                                                        .pid = (uint32_t)getpid(),
                                                        .blob_bytes = blob_bytes};
    weft_status status = make_parts(made, blob, error);
    if (status != WEFT_OK) {
        weft_bootstrap_close(&made);
        return status;
    }
    attempt(made);
    set_timer(made);
    *bootstrap = made;
    return WEFT_OK;
}

void weft_bootstrap_close(struct weft_bootstrap **bootstrap)
{
    struct weft_bootstrap *old = *bootstrap;
    if (!old)
        return;
    *bootstrap = NULL;
    weft_sealed_close(&old->sealed);
    weft_timer_close(&old->timer);
    if (old->epoll >= 0)
        close(old->epoll);
    for (uint32_t i = 0; old->blobs && i < old->num_ranks; i++) {
        if (old->blobs[i].data)
            sodium_memzero(old->blobs[i].data, old->blobs[i].bytes);
        free(old->blobs[i].data);
    }
    free(old->blobs);
    if (old->message)
        sodium_memzero(old->message, old->message_limit + old->registration.blob_bytes);
    free(old->message);
    sodium_memzero(&old->id, sizeof old->id);
    free(old);
}
