/*
 * SPDX-License-Identifier: Apache-2.0
 * The meeting point. Connections are strangers until they have proved the secret and registered a
 * rank; strangers are few, short-lived, and dropping them harms nobody, since a rank tries again.
 * Registered ranks stay until the end: losing one, or any disagreement, fails the meeting for all,
 * and the meeting point lingers a moment to tell those who come late.
 */
#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/meeting.h"
#include "transport/sealed.h"

enum { MAX_STRANGERS = 64, EVENTS_PER_TURN = 64, ACCEPTS_PER_TURN = 64 };
static const int64_t stranger_ns = 2000000000;     // to authenticate and register
static const int64_t stranger_grace_ns = 50000000; // that the next one may not cut short
static const int64_t linger_ns = 1000000000;       // telling late ranks of a failure
static const int64_t accept_pause_ns = 100000000;  // when the process is out of descriptors

enum phase { GATHERING, SENDING, RELEASING, FAILING, ENDED };

struct peer {
    struct peer *next; // in one of the meeting's lists
    struct peer **link;
    struct weft_sealed *sealed;
    int64_t since_ns;
    bool registered;
    bool received;
    uint32_t rank;
    uint32_t pid;
    char host[WEFT_HOST_NAME_BYTES];
    unsigned char *blob;
    size_t blob_bytes;
    uint32_t next_chunk; // of the table
};

struct list {
    struct peer *first;
    struct peer **end; // oldest first
};

struct chunk {
    unsigned char *data;
    size_t bytes;
};

struct weft_meeting {
    int epoll;
    int listener;
    struct weft_timer timer;
    struct weft_endpoint endpoint;
    unsigned char secret[WEFT_SECRET_BYTES];
    char host[WEFT_HOST_NAME_BYTES];
    enum phase phase;
    weft_status result; // of phases FAILING and ENDED
    char text[WEFT_ERROR_TEXT_BYTES];
    struct list strangers;
    struct list members; // registered, whether the claim was good or not
    struct list buried;  // closed during this turn; epoll may still have named them
    int num_strangers;
    int64_t accept_at_ns; // INT64_MAX: whenever somebody comes
    int64_t deadline_ns;  // the first of the members'
    int64_t linger_until_ns;
    uint32_t num_ranks; // 0: nobody has said yet
    uint32_t num_present;
    uint32_t num_received;
    struct peer **ranks; // (num_ranks)
    bool *accounted;     // (num_ranks): came, or is known to be dead
    uint32_t num_accounted;
    struct chunk *chunks;
    uint32_t num_chunks;
};

/* ---- lists ---- */

static void list_append(struct list *list, struct peer *peer)
{
    peer->next = NULL;
    peer->link = list->end;
    *list->end = peer;
    list->end = &peer->next;
}

static void list_remove(struct list *list, struct peer *peer)
{
    *peer->link = peer->next;
    if (peer->next)
        peer->next->link = peer->link;
    else
        list->end = peer->link;
}

static void free_list(struct list *list)
{
    while (list->first) {
        struct peer *peer = list->first;
        list_remove(list, peer);
        weft_sealed_close(&peer->sealed);
        free(peer->blob);
        free(peer);
    }
}

static void bury(struct weft_meeting *meeting, struct peer *peer)
{
    if (peer->registered && meeting->ranks && peer->rank < meeting->num_ranks &&
        meeting->ranks[peer->rank] == peer)
        meeting->ranks[peer->rank] = NULL;
    list_remove(peer->registered ? &meeting->members : &meeting->strangers, peer);
    meeting->num_strangers -= !peer->registered;
    weft_sealed_close(&peer->sealed);
    list_append(&meeting->buried, peer);
}

/* ---- failing ---- */

static void account(struct weft_meeting *meeting, uint32_t rank)
{
    if (rank < meeting->num_ranks && !meeting->accounted[rank]) {
        meeting->accounted[rank] = true;
        meeting->num_accounted++;
    }
}

static void tell_failure(struct weft_meeting *meeting, struct peer *peer)
{
    unsigned char message[WEFT_ERROR_TEXT_BYTES + 16];
    struct weft_meeting_failed failed = {.status = meeting->result};
    snprintf(failed.text, sizeof failed.text, "%s", meeting->text);
    size_t bytes = weft_meeting_write_failed(message, sizeof message, &failed);
    assert(bytes > 0);
    // Out of memory: the peer sees the end of the connection instead of the reason.
    weft_status ignored = weft_sealed_send(peer->sealed, message, bytes, NULL);
    (void)ignored;
    weft_sealed_shutdown(peer->sealed);
}

static void fail_meeting(struct weft_meeting *meeting, weft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void fail_meeting(struct weft_meeting *meeting, weft_status status, const char *format, ...)
{
    if (meeting->phase >= RELEASING)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(meeting->text, sizeof meeting->text, format, arguments);
    va_end(arguments);
    meeting->result = status;
    meeting->phase = FAILING;
    meeting->linger_until_ns = weft_deadline_after(linger_ns);
    for (struct peer *peer = meeting->members.first; peer; peer = peer->next)
        tell_failure(meeting, peer);
}

static void lose_peer(struct weft_meeting *meeting, struct peer *peer, const char *reason)
{
    if (!peer->registered)
        WEFT_LOG(WEFT_LOG_DEBUG, "a stranger at the meeting point is dropped: %s", reason);
    struct peer gone = *peer;
    bury(meeting, peer);
    if (gone.registered)
        fail_meeting(meeting, WEFT_REMOTE, "rank %u (pid %u on %s) left the meeting: %s", gone.rank,
                     gone.pid, gone.host, reason);
}

/* Appends "3, 5-9" and the like: the ranks for which `is_in` holds. */
static void list_ranks(const struct weft_meeting *meeting, char *text, size_t limit,
                       bool (*is_in)(const struct peer *peer))
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t rank = 0; rank < meeting->num_ranks; rank++) {
        if (!is_in(meeting->ranks[rank]))
            continue;
        uint32_t last = rank;
        while (last + 1 < meeting->num_ranks && is_in(meeting->ranks[last + 1]))
            last++;
        if (used + 32 > limit) {
            snprintf(text + used, limit - used, ", ...");
            return;
        }
        used += (size_t)snprintf(text + used, limit - used, used ? ", %u" : "%u", rank);
        if (last > rank)
            used += (size_t)snprintf(text + used, limit - used, "-%u", last);
        rank = last;
    }
}

static bool is_absent(const struct peer *peer)
{
    return !peer;
}

static bool is_silent(const struct peer *peer)
{
    return !peer || !peer->received;
}

static void fail_by_deadline(struct weft_meeting *meeting)
{
    char ranks[256];
    bool gathering = meeting->phase == GATHERING;
    list_ranks(meeting, ranks, sizeof ranks, gathering ? is_absent : is_silent);
    uint32_t present = gathering ? meeting->num_present : meeting->num_received;
    fail_meeting(meeting, WEFT_TIMEOUT,
                 gathering ? "%u of %u ranks did not come to the meeting in time: %s"
                           : "%u of %u ranks stopped answering in the meeting: %s",
                 meeting->num_ranks - present, meeting->num_ranks, ranks);
}

/* ---- the table ---- */

static weft_status build_table(struct weft_meeting *meeting)
{
    size_t limit = WEFT_MEETING_TABLE_LIMIT;
    meeting->chunks = calloc(meeting->num_ranks, sizeof *meeting->chunks);
    unsigned char *message = malloc(limit);
    weft_status status = meeting->chunks && message ? WEFT_OK : WEFT_OUT_OF_MEMORY;
    uint32_t rank = 0;
    while (status == WEFT_OK && rank < meeting->num_ranks) {
        struct weft_writer writer = {message, limit, false};
        weft_put_integer(&writer, WEFT_MEETING_TABLE, 1);
        for (; rank < meeting->num_ranks && limit - writer.left < WEFT_MEETING_TABLE_BYTES;
             rank++) {
            const struct peer *peer = meeting->ranks[rank];
            weft_put_integer(&writer, rank, 4);
            weft_put_integer(&writer, peer->blob_bytes, 4);
            weft_put(&writer, peer->blob, peer->blob_bytes);
        }
        assert(!writer.bad);
        struct chunk *chunk = &meeting->chunks[meeting->num_chunks];
        chunk->bytes = limit - writer.left;
        chunk->data = malloc(chunk->bytes);
        if (!chunk->data) {
            status = WEFT_OUT_OF_MEMORY;
            break;
        }
        memcpy(chunk->data, message, chunk->bytes);
        meeting->num_chunks++;
    }
    free(message);
    return status;
}

/* One chunk at a time per member, so memory does not grow with the square of the ranks. */
static void feed(struct weft_meeting *meeting, struct peer *peer)
{
    while (meeting->phase == SENDING && peer->next_chunk < meeting->num_chunks &&
           weft_sealed_queued_bytes(peer->sealed) == 0) {
        const struct chunk *chunk = &meeting->chunks[peer->next_chunk++];
        if (weft_sealed_send(peer->sealed, chunk->data, chunk->bytes, NULL) != WEFT_OK)
            fail_meeting(meeting, WEFT_OUT_OF_MEMORY, "the meeting point is out of memory");
    }
}

static void send_table(struct weft_meeting *meeting)
{
    meeting->phase = SENDING;
    if (build_table(meeting) != WEFT_OK) {
        fail_meeting(meeting, WEFT_OUT_OF_MEMORY, "the meeting point is out of memory");
        return;
    }
    for (struct peer *peer = meeting->members.first; peer; peer = peer->next)
        feed(meeting, peer);
}

static void release_ranks(struct weft_meeting *meeting)
{
    static const unsigned char go = WEFT_MEETING_GO;
    for (struct peer *peer = meeting->members.first; peer; peer = peer->next) {
        if (weft_sealed_send(peer->sealed, &go, 1, NULL) != WEFT_OK) {
            // Nobody has returned OK unless told so before; those see the control plane fail.
            fail_meeting(meeting, WEFT_OUT_OF_MEMORY, "the meeting point is out of memory");
            return;
        }
        weft_sealed_shutdown(peer->sealed);
    }
    meeting->phase = RELEASING;
}

/* ---- messages of ranks ---- */

static weft_status set_num_ranks(struct weft_meeting *meeting, uint32_t num_ranks)
{
    meeting->ranks = calloc(num_ranks, sizeof(struct peer *));
    meeting->accounted = calloc(num_ranks, sizeof(bool));
    if (!meeting->ranks || !meeting->accounted) {
        free(meeting->ranks);
        free(meeting->accounted);
        meeting->ranks = NULL;
        meeting->accounted = NULL;
        return WEFT_OUT_OF_MEMORY;
    }
    meeting->num_ranks = num_ranks;
    return WEFT_OK;
}

static void note_deadline(struct weft_meeting *meeting, int64_t remaining_ns)
{
    // Early enough for the answer to arrive before the rank gives up by itself.
    int64_t margin = remaining_ns / 10 < 200000000 ? remaining_ns / 10 : 200000000;
    int64_t deadline = weft_deadline_after(remaining_ns - margin);
    if (deadline < meeting->deadline_ns)
        meeting->deadline_ns = deadline;
}

static void place_rank(struct weft_meeting *meeting, struct peer *peer, uint32_t num_ranks)
{
    const struct peer *first = meeting->members.first;
    if (num_ranks != meeting->num_ranks) {
        fail_meeting(
            meeting, WEFT_MISMATCH,
            "rank %u (pid %u on %s) says there are %u ranks, rank %u (pid %u on %s) says %u",
            peer->rank, peer->pid, peer->host, num_ranks, first->rank, first->pid, first->host,
            meeting->num_ranks);
        return;
    }
    const struct peer *other = meeting->ranks[peer->rank];
    if (other) {
        fail_meeting(meeting, WEFT_MISMATCH, "rank %u is claimed by pid %u on %s and pid %u on %s",
                     peer->rank, other->pid, other->host, peer->pid, peer->host);
        return;
    }
    meeting->ranks[peer->rank] = peer;
    account(meeting, peer->rank);
    if (++meeting->num_present == meeting->num_ranks)
        send_table(meeting);
}

static weft_status welcome(struct weft_meeting *meeting, struct peer *peer,
                           struct weft_error *error)
{
    unsigned char message[128];
    struct weft_meeting_welcome value = {.pid = (uint32_t)getpid()};
    memcpy(value.host, meeting->host, sizeof value.host);
    size_t bytes = weft_meeting_write_welcome(message, sizeof message, &value);
    assert(bytes > 0);
    return weft_sealed_send(peer->sealed, message, bytes, error);
}

static weft_status on_register(struct weft_meeting *meeting, struct peer *peer,
                               const unsigned char *message, size_t bytes, struct weft_error *error)
{
    struct weft_meeting_register value;
    if (peer->registered)
        return weft_fail(error, WEFT_INVALID_FORMAT, "it registered twice");
    WEFT_TRY(weft_meeting_read_register(message, bytes, &value, error));
    unsigned char *blob = malloc(value.blob_bytes + 1);
    if (!blob || (!meeting->num_ranks && set_num_ranks(meeting, value.num_ranks) != WEFT_OK)) {
        free(blob);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "the meeting point is out of memory");
    }
    memcpy(blob, value.blob, value.blob_bytes);
    peer->blob = blob;
    peer->blob_bytes = value.blob_bytes;
    peer->rank = value.rank;
    peer->pid = value.pid;
    memcpy(peer->host, value.host, sizeof peer->host);
    list_remove(&meeting->strangers, peer);
    meeting->num_strangers--;
    list_append(&meeting->members, peer);
    peer->registered = true;
    if (meeting->phase == FAILING) {
        account(meeting, peer->rank);
        tell_failure(meeting, peer);
        return WEFT_OK;
    }
    WEFT_TRY(welcome(meeting, peer, error));
    note_deadline(meeting, value.remaining_ns);
    place_rank(meeting, peer, value.num_ranks);
    return WEFT_OK;
}

static weft_status on_received(struct weft_meeting *meeting, struct peer *peer,
                               const unsigned char *message, size_t bytes, struct weft_error *error)
{
    (void)message;
    if (meeting->phase == FAILING)
        return WEFT_OK;
    if (bytes != 1 || meeting->phase != SENDING || peer->received ||
        peer->next_chunk != meeting->num_chunks)
        return weft_fail(error, WEFT_INVALID_FORMAT, "it acknowledged what it was not sent");
    peer->received = true;
    if (++meeting->num_received == meeting->num_ranks)
        release_ranks(meeting);
    return WEFT_OK;
}

static weft_status on_message(struct weft_meeting *meeting, struct peer *peer,
                              const unsigned char *message, size_t bytes, struct weft_error *error)
{
    if (message[0] == WEFT_MEETING_REGISTER)
        return on_register(meeting, peer, message, bytes, error);
    if (message[0] == WEFT_MEETING_RECEIVED && peer->registered)
        return on_received(meeting, peer, message, bytes, error);
    return weft_fail(error, WEFT_INVALID_FORMAT, "it sent message type %d out of turn", message[0]);
}

static void serve_peer(struct weft_meeting *meeting, struct peer *peer)
{
    struct weft_error why;
    const unsigned char *message;
    size_t bytes;
    if (!peer->sealed)
        return; // buried in this turn
    weft_status status = weft_sealed_progress(peer->sealed, &why);
    while (status == WEFT_OK) {
        feed(meeting, peer);
        status = weft_sealed_receive(peer->sealed, &message, &bytes, &why);
        if (status == WEFT_OK)
            status = on_message(meeting, peer, message, bytes, &why);
    }
    if (status != WEFT_IN_PROGRESS)
        lose_peer(meeting, peer, why.text);
}

/* ---- strangers ---- */

static void watch_listener(struct weft_meeting *meeting, bool watch)
{
    struct epoll_event event = {.events = watch ? EPOLLIN : 0, .data.ptr = &meeting->listener};
    int ignored = epoll_ctl(meeting->epoll, EPOLL_CTL_MOD, meeting->listener, &event);
    (void)ignored; // only memory can be short: then the next turn does the same again
}

static void pause_accepting(struct weft_meeting *meeting, int64_t until_ns)
{
    meeting->accept_at_ns = until_ns;
    watch_listener(meeting, false);
}

static bool admit_stranger(struct weft_meeting *meeting, int64_t now)
{
    int connection = weft_endpoint_accept(meeting->listener);
    if (connection < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            WEFT_LOG(WEFT_LOG_WARN, "the meeting point cannot accept a connection: %s",
                     strerror(errno));
            pause_accepting(meeting, now + accept_pause_ns);
            return false;
        }
        return errno == EINTR || errno == ECONNABORTED;
    }
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer) {
        close(connection);
        return true;
    }
    struct weft_sealed_options options = {.role = WEFT_HANDSHAKE_SERVER,
                                          .secret = meeting->secret,
                                          .purpose = WEFT_MEETING_PURPOSE,
                                          .epoll = meeting->epoll,
                                          .tag = peer,
                                          .frame_limit = WEFT_MEETING_REGISTER_LIMIT};
    if (weft_sealed_open(connection, false, &options, &peer->sealed, NULL) != WEFT_OK) {
        free(peer);
        return true;
    }
    peer->since_ns = now;
    list_append(&meeting->strangers, peer);
    meeting->num_strangers++;
    return true;
}

static void admit_strangers(struct weft_meeting *meeting, int64_t now)
{
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct peer *oldest = meeting->strangers.first;
        if (meeting->num_strangers >= MAX_STRANGERS) {
            if (now < oldest->since_ns + stranger_grace_ns) {
                pause_accepting(meeting, oldest->since_ns + stranger_grace_ns);
                return;
            }
            lose_peer(meeting, oldest, "too many strangers");
        }
        if (!admit_stranger(meeting, now))
            return;
    }
}

/* ---- turns ---- */

static int64_t next_deadline(const struct weft_meeting *meeting)
{
    int64_t at = meeting->accept_at_ns;
    if (meeting->strangers.first && meeting->strangers.first->since_ns + stranger_ns < at)
        at = meeting->strangers.first->since_ns + stranger_ns;
    int64_t phase_at = meeting->phase == FAILING   ? meeting->linger_until_ns
                       : meeting->phase <= SENDING ? meeting->deadline_ns
                                                   : INT64_MAX;
    return phase_at < at ? phase_at : at;
}

static void keep_deadlines(struct weft_meeting *meeting, int64_t now)
{
    while (meeting->strangers.first && now >= meeting->strangers.first->since_ns + stranger_ns)
        lose_peer(meeting, meeting->strangers.first, "it did not register in time");
    if (meeting->phase <= SENDING && now >= meeting->deadline_ns)
        fail_by_deadline(meeting);
    if (now >= meeting->accept_at_ns) {
        meeting->accept_at_ns = INT64_MAX;
        watch_listener(meeting, true);
    }
}

static bool all_is_written(const struct weft_meeting *meeting)
{
    for (const struct peer *peer = meeting->members.first; peer; peer = peer->next)
        if (weft_sealed_queued_bytes(peer->sealed) > 0)
            return false;
    return true;
}

static void maybe_end(struct weft_meeting *meeting, int64_t now)
{
    if (meeting->phase == RELEASING && all_is_written(meeting)) {
        meeting->phase = ENDED;
        meeting->result = WEFT_OK;
    } else if (meeting->phase == FAILING &&
               (now >= meeting->linger_until_ns ||
                (!meeting->members.first && meeting->num_accounted == meeting->num_ranks))) {
        meeting->phase = ENDED;
    }
}

weft_status weft_meeting_progress(struct weft_meeting *meeting, struct weft_error *error)
{
    struct epoll_event events[EVENTS_PER_TURN];
    if (meeting->phase != ENDED) {
        bool somebody_came = false;
        int num_events = epoll_wait(meeting->epoll, events, EVENTS_PER_TURN, 0);
        if (num_events <= 0)
            return WEFT_IN_PROGRESS;
        for (int i = 0; i < num_events; i++) {
            if (events[i].data.ptr == &meeting->listener)
                somebody_came = true;
            else if (events[i].data.ptr == &meeting->timer)
                weft_timer_set(&meeting->timer, INT64_MAX);
            else
                serve_peer(meeting, events[i].data.ptr);
        }
        int64_t now = weft_clock_ns();
        keep_deadlines(meeting, now);
        if (somebody_came)
            admit_strangers(meeting, now);
        maybe_end(meeting, now);
        free_list(&meeting->buried);
        weft_timer_set(&meeting->timer, next_deadline(meeting));
    }
    if (meeting->phase != ENDED)
        return WEFT_IN_PROGRESS;
    if (meeting->result == WEFT_OK)
        return WEFT_OK;
    return weft_fail(error, meeting->result, "%s", meeting->text);
}

int weft_meeting_descriptor(const struct weft_meeting *meeting)
{
    return meeting->epoll;
}

void weft_meeting_report_death(struct weft_meeting *meeting, int rank, const char *text)
{
    fail_meeting(meeting, WEFT_REMOTE, "%s", text);
    if (rank >= 0)
        account(meeting, (uint32_t)rank);
    // Even if nothing else happens, progress must be called to end the lingering.
    weft_timer_set(&meeting->timer, next_deadline(meeting));
}

/* ---- open and close ---- */

static weft_status open_parts(struct weft_meeting *meeting, struct weft_error *error)
{
    WEFT_TRY(weft_endpoint_listen(&meeting->endpoint, &meeting->listener, error));
    WEFT_TRY(weft_epoll_open(&meeting->epoll, error));
    WEFT_TRY(weft_timer_open(&meeting->timer, meeting->epoll, &meeting->timer, error));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &meeting->listener};
    if (epoll_ctl(meeting->epoll, EPOLL_CTL_ADD, meeting->listener, &event) != 0)
        return weft_fail(error, WEFT_SYSTEM, "epoll_ctl: %s", strerror(errno));
    return WEFT_OK;
}

static void make_id(const struct weft_meeting *meeting, weft_unique_id *id)
{
    struct weft_id_contents contents = {.endpoint = meeting->endpoint};
    memcpy(contents.secret, meeting->secret, sizeof contents.secret);
    if (weft_endpoint_is_wildcard(&contents.endpoint)) {
        static const unsigned char loopback_v4[4] = {127, 0, 0, 1}, loopback_v6[16] = {[15] = 1};
        if (contents.endpoint.family == 6)
            memcpy(contents.endpoint.address, loopback_v6, sizeof loopback_v6);
        else
            memcpy(contents.endpoint.address, loopback_v4, sizeof loopback_v4);
    }
    weft_id_pack(&contents, id);
    sodium_memzero(&contents, sizeof contents);
}

weft_status weft_meeting_open(const char *address, int port, const unsigned char *secret,
                              struct weft_meeting **meeting, weft_unique_id *id,
                              struct weft_error *error)
{
    struct weft_endpoint endpoint;
    if (sodium_init() < 0)
        return weft_fail(error, WEFT_SYSTEM, "libsodium cannot be initialised");
    WEFT_TRY(weft_endpoint_parse(address, port, &endpoint, error));
    struct weft_meeting *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a meeting");
    made->endpoint = endpoint;
    made->epoll = made->listener = made->timer.descriptor = -1;
    made->accept_at_ns = made->deadline_ns = made->linger_until_ns = INT64_MAX;
    made->strangers.end = &made->strangers.first;
    made->members.end = &made->members.first;
    made->buried.end = &made->buried.first;
    weft_host_name(made->host);
    if (secret)
        memcpy(made->secret, secret, sizeof made->secret);
    else
        randombytes_buf(made->secret, sizeof made->secret);
    weft_status status = open_parts(made, error);
    if (status != WEFT_OK) {
        weft_meeting_close(&made);
        return status;
    }
    make_id(made, id);
    *meeting = made;
    return WEFT_OK;
}

void weft_meeting_close(struct weft_meeting **meeting)
{
    struct weft_meeting *old = *meeting;
    if (!old)
        return;
    *meeting = NULL;
    if (old->strangers.end) {
        free_list(&old->strangers);
        free_list(&old->members);
        free_list(&old->buried);
    }
    weft_timer_close(&old->timer);
    if (old->listener >= 0)
        close(old->listener);
    if (old->epoll >= 0)
        close(old->epoll);
    for (uint32_t i = 0; i < old->num_chunks; i++)
        free(old->chunks[i].data);
    free(old->chunks);
    free(old->ranks);
    free(old->accounted);
    sodium_memzero(old->secret, sizeof old->secret);
    free(old);
}
