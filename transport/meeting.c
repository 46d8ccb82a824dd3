/*
 * SPDX-License-Identifier: Apache-2.0
 * The meeting point. Who comes through the door and registers a rank is a member until the end:
 * losing one, or any disagreement, fails the meeting for all, and the meeting point lingers a
 * moment to tell those who come late.
 */
#include <assert.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport/door.h"
#include "transport/meeting.h"

static const int64_t linger_ns = 1000000000; // telling late ranks of a failure

enum phase { GATHERING, SENDING, RELEASING, FAILING, ENDED };

struct peer {
    struct weft_watch watch;
    struct weft_meeting *meeting;
    struct peer *next; // in one of the meeting's lists
    struct peer **link;
    struct weft_sealed *sealed; // NULL: buried
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
    struct weft_door *door;
    struct weft_timer timer;
    struct weft_endpoint endpoint;
    unsigned char secret[WEFT_SECRET_BYTES];
    char host[WEFT_HOST_NAME_BYTES];
    enum phase phase;
    weft_status result; // of phases FAILING and ENDED
    char text[WEFT_ERROR_TEXT_BYTES];
    struct list members; // whether their claims were good or not
    struct list buried;  // closed during this turn
    int64_t deadline_ns; // the first of the members'
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
    if (peer->rank < meeting->num_ranks && meeting->ranks[peer->rank] == peer)
        meeting->ranks[peer->rank] = NULL;
    list_remove(&meeting->members, peer);
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
    bury(meeting, peer);
    fail_meeting(meeting, WEFT_REMOTE, "rank %u (pid %u on %s) left the meeting: %s", peer->rank,
                 peer->pid, peer->host, reason);
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

static weft_status on_received(struct weft_meeting *meeting, struct peer *peer,
                               const unsigned char *message, size_t bytes, struct weft_error *error)
{
    if (meeting->phase == FAILING)
        return WEFT_OK;
    if (bytes != 1 || message[0] != WEFT_MEETING_RECEIVED || meeting->phase != SENDING ||
        peer->received || peer->next_chunk != meeting->num_chunks)
        return weft_fail(error, WEFT_INVALID_FORMAT, "it sent a message out of turn");
    peer->received = true;
    meeting->num_received++;
    return WEFT_OK;
}

static void serve_peer(struct weft_watch *watch)
{
    struct peer *peer = (struct peer *)watch;
    struct weft_meeting *meeting = peer->meeting;
    struct weft_error why;
    const unsigned char *message;
    size_t bytes;
    if (!peer->sealed)
        return;
    weft_status status = weft_sealed_progress(peer->sealed, &why);
    while (status == WEFT_OK) {
        feed(meeting, peer);
        status = weft_sealed_receive(peer->sealed, &message, &bytes, &why);
        if (status == WEFT_OK)
            status = on_received(meeting, peer, message, bytes, &why);
    }
    if (status != WEFT_IN_PROGRESS)
        lose_peer(meeting, peer, why.text);
}

static struct peer *make_peer(struct weft_meeting *meeting,
                              const struct weft_meeting_register *value)
{
    struct peer *peer = calloc(1, sizeof *peer);
    unsigned char *blob = malloc(value->blob_bytes + 1);
    if (!peer || !blob ||
        (!meeting->num_ranks && set_num_ranks(meeting, value->num_ranks) != WEFT_OK)) {
        free(peer);
        free(blob);
        return NULL;
    }
    memcpy(blob, value->blob, value->blob_bytes);
    peer->meeting = meeting;
    peer->blob = blob;
    peer->blob_bytes = value->blob_bytes;
    peer->rank = value->rank;
    peer->pid = value->pid;
    memcpy(peer->host, value->host, sizeof peer->host);
    return peer;
}

/* From the door. Who is not taken comes again, until its own deadline. */
static void on_register(void *user, struct weft_sealed **sealed, const unsigned char *message,
                        size_t bytes)
{
    struct weft_meeting *meeting = user;
    struct weft_meeting_register value;
    static const unsigned char later = WEFT_MEETING_LATER;
    if (weft_meeting_read_register(message, bytes, &value, NULL) != WEFT_OK)
        return;
    if (meeting->phase == RELEASING || meeting->phase == ENDED) {
        weft_status ignored = weft_sealed_send(*sealed, &later, 1, NULL);
        (void)ignored; // it tries again in any case
        return;
    }
    struct peer *peer = make_peer(meeting, &value);
    if (!peer)
        return;
    peer->watch.ready = serve_peer;
    peer->sealed = *sealed;
    *sealed = NULL;
    weft_sealed_set_watch(peer->sealed, &peer->watch);
    list_append(&meeting->members, peer);
    if (meeting->phase == FAILING) {
        account(meeting, peer->rank);
        tell_failure(meeting, peer);
    } else if (welcome(meeting, peer, NULL) != WEFT_OK) {
        lose_peer(meeting, peer, "the meeting point is out of memory");
    } else {
        note_deadline(meeting, value.remaining_ns);
        place_rank(meeting, peer, value.num_ranks);
        serve_peer(&peer->watch); // more may have come behind it, which wakes nobody
    }
}

/* ---- turns ---- */

static void set_timer(struct weft_meeting *meeting)
{
    int64_t at = weft_door_deadline(meeting->door);
    int64_t phase_at = meeting->phase == FAILING   ? meeting->linger_until_ns
                       : meeting->phase <= SENDING ? meeting->deadline_ns
                                                   : INT64_MAX;
    weft_timer_set(&meeting->timer, phase_at < at ? phase_at : at);
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
                // While nobody has registered, nobody knows who is still to come.
                (meeting->num_ranks > 0 && !meeting->members.first &&
                 meeting->num_accounted == meeting->num_ranks))) {
        meeting->phase = ENDED;
    }
}

weft_status weft_meeting_progress(struct weft_meeting *meeting, struct weft_error *error)
{
    bool was_complete = weft_meeting_is_complete(meeting);
    if (meeting->phase != ENDED && weft_watch_turn(meeting->epoll) > 0) {
        int64_t now = weft_clock_ns();
        bool all_received =
            meeting->phase == SENDING && meeting->num_received == meeting->num_ranks;
        if (all_received && was_complete)
            release_ranks(meeting);
        if (meeting->phase <= SENDING && now >= meeting->deadline_ns)
            fail_by_deadline(meeting);
        weft_door_settle(meeting->door, now);
        maybe_end(meeting, now);
        free_list(&meeting->buried);
        set_timer(meeting);
        if (all_received && !was_complete)
            weft_timer_set(&meeting->timer, now); // the owner sees completeness first
    }
    if (meeting->phase != ENDED)
        return WEFT_IN_PROGRESS;
    if (meeting->result == WEFT_OK)
        return WEFT_OK;
    return weft_fail(error, meeting->result, "%s", meeting->text);
}

bool weft_meeting_is_complete(const struct weft_meeting *meeting)
{
    return meeting->phase != GATHERING;
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
    set_timer(meeting);
}

/* ---- open and close ---- */

static weft_status open_parts(struct weft_meeting *meeting, struct weft_error *error)
{
    WEFT_TRY(weft_watch_open(&meeting->epoll, error));
    WEFT_TRY(weft_timer_open(&meeting->timer, meeting->epoll, error));
    struct weft_door_options options = {.epoll = meeting->epoll,
                                        .secret = meeting->secret,
                                        .purpose = WEFT_MEETING_PURPOSE,
                                        .frame_limit = WEFT_MEETING_REGISTER_LIMIT,
                                        .user = meeting,
                                        .admit = on_register};
    return weft_door_open(&meeting->endpoint, &options, &meeting->door, error);
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
    made->epoll = made->timer.descriptor = -1;
    made->deadline_ns = made->linger_until_ns = INT64_MAX;
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
    free_list(&old->members);
    free_list(&old->buried);
    weft_door_close(&old->door);
    weft_timer_close(&old->timer);
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
