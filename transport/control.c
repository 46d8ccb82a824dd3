/*
 * SPDX-License-Identifier: Apache-2.0
 * The control plane. A pair of neighbours has one link, made by the lower rank; if that does not
 * come up soon, the higher one connects too, so that somebody finds out when a rank died before it
 * connected to anyone (then a pair may have two, which does no harm). A process that is merely slow
 * never looks dead: its kernel accepts connections for it, and there is no deadline after that.
 *
 * Flooding. A rank forwards each notice the first time it hears it, to all neighbours but the one
 * it came from. Links keep order, so notices of one origin arrive in order and the highest sequence
 * number tells what is new. Deaths and departures are facts about a rank: known or not, whoever
 * says so.
 */
#include "transport/control.h"

#include <assert.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/bytes.h"
#include "transport/control_wire.h"
#include "transport/door.h"

enum { QUEUE_LIMIT_BYTES = 1 << 20, REFUSALS_THAT_KILL = 3, MAX_NEIGHBOURS = 64 };
static const int64_t reach_ns = 2000000000;   // to get a connection
static const int64_t patience_ns = 300000000; // of the higher rank, before it connects too
static const int64_t retry_ns = 30000000;
static const int64_t refused_ns = 300000000; // a goodbye may still be on its way, through others
static const int64_t goodbye_ns = 100000000;
enum { GOODBYE_POLL_MS = 2 }; // nothing wakes up when a peer's kernel acknowledges

enum life { ALIVE, LEFT, DEAD };
enum direction { OUTWARD, INWARD };

struct link {
    struct weft_watch watch;
    struct neighbour *neighbour;
    struct weft_sealed *sealed; // NULL: buried
    struct link *next_buried;
    bool is_up; // both ends have said who they are
    enum direction direction;
};

struct neighbour {
    struct weft_control *control;
    uint32_t rank;
    struct link *links[2]; // by direction
    struct link *sender;   // the first that came up
    int64_t connect_at_ns; // INT64_MAX: no need
    int64_t reach_until_ns;
    int num_refusals;
    int64_t refused_since_ns;
    bool was_dropping;
    unsigned char *queue; // messages for which there is no link yet, each behind its length
    size_t queue_bytes;
    size_t queue_capacity;
};

struct rank_state {
    enum life life;
    uint32_t sequence; // the highest heard of this origin
};

struct weft_control {
    int epoll;
    struct weft_timer timer;
    struct weft_door *door;
    struct weft_endpoint endpoint;
    unsigned char key[WEFT_SECRET_BYTES];
    struct weft_control_events events;
    uint32_t rank;
    uint32_t num_ranks; // 0: not started
    uint32_t sequence;
    struct weft_control_address *addresses; // (num_ranks)
    struct rank_state *ranks;               // (num_ranks)
    struct neighbour neighbours[MAX_NEIGHBOURS];
    int num_neighbours;
    int num_happened; // in this turn
    bool is_leaving;
    bool must_pass_on;   // the goodbye: some neighbour cannot hear it directly
    struct link *buried; // until the end of the turn
};

/* ---- sending ---- */

static bool keep_in_queue(struct neighbour *neighbour, const unsigned char *message, size_t bytes)
{
    size_t needed = neighbour->queue_bytes + bytes + 2;
    if (needed > neighbour->queue_capacity) {
        size_t capacity = needed * 2;
        unsigned char *queue = realloc(neighbour->queue, capacity);
        if (!queue)
            return false;
        neighbour->queue = queue;
        neighbour->queue_capacity = capacity;
    }
    struct weft_writer writer = {neighbour->queue + neighbour->queue_bytes, bytes + 2, false};
    weft_put_integer(&writer, bytes, 2);
    weft_put(&writer, message, bytes);
    neighbour->queue_bytes = needed;
    return true;
}

static void send_to(struct neighbour *neighbour, const unsigned char *message, size_t bytes,
                    bool must_arrive)
{
    struct link *link = neighbour->sender;
    if (neighbour->control->ranks[neighbour->rank].life != ALIVE)
        return;
    size_t queued = link ? weft_sealed_queued_bytes(link->sealed) : neighbour->queue_bytes;
    // Facts about ranks are at most one per rank; everything else can be cut off.
    if (queued + bytes > QUEUE_LIMIT_BYTES && !must_arrive) {
        if (!neighbour->was_dropping)
            WEFT_LOG(WEFT_LOG_WARN, "rank %u takes no notices; further ones to it are dropped",
                     neighbour->rank);
        neighbour->was_dropping = true;
        return;
    }
    bool kept = link ? weft_sealed_send(link->sealed, message, bytes, NULL) == WEFT_OK
                     : keep_in_queue(neighbour, message, bytes);
    if (!kept)
        WEFT_LOG(WEFT_LOG_ERROR, "no memory for a notice to rank %u", neighbour->rank);
}

static void flood(struct weft_control *control, const struct weft_control_message *value,
                  const struct neighbour *from)
{
    unsigned char message[WEFT_CONTROL_MESSAGE_LIMIT];
    size_t bytes = weft_control_write(value, message);
    bool is_fact = value->type == WEFT_CONTROL_LEFT || value->notice.kind == WEFT_NOTICE_DEATH;
    for (int i = 0; i < control->num_neighbours; i++)
        if (&control->neighbours[i] != from)
            send_to(&control->neighbours[i], message, bytes, is_fact);
}

static void send_queue(struct neighbour *neighbour)
{
    struct weft_reader reader = {neighbour->queue, neighbour->queue_bytes, false};
    while (reader.left > 0) {
        size_t bytes = weft_take_integer(&reader, 2);
        const unsigned char *message = weft_take(&reader, bytes);
        assert(message);
        if (weft_sealed_send(neighbour->sender->sealed, message, bytes, NULL) != WEFT_OK)
            WEFT_LOG(WEFT_LOG_ERROR, "no memory for a notice to rank %u", neighbour->rank);
    }
    free(neighbour->queue);
    neighbour->queue = NULL;
    neighbour->queue_bytes = neighbour->queue_capacity = 0;
}

/* ---- links ---- */

static void bury_link(struct link *link)
{
    struct neighbour *neighbour = link->neighbour;
    struct weft_control *control = neighbour->control;
    if (neighbour->sender == link)
        neighbour->sender = NULL;
    neighbour->links[link->direction] = NULL;
    weft_sealed_close(&link->sealed);
    link->next_buried = control->buried;
    control->buried = link;
}

static void bury_links(struct neighbour *neighbour)
{
    for (int i = 0; i < 2; i++)
        if (neighbour->links[i])
            bury_link(neighbour->links[i]);
    free(neighbour->queue);
    neighbour->queue = NULL;
    neighbour->queue_bytes = neighbour->queue_capacity = 0;
}

static void free_buried(struct weft_control *control)
{
    while (control->buried) {
        struct link *link = control->buried;
        control->buried = link->next_buried;
        free(link);
    }
}

static void say_left(struct weft_control *control, struct link *link)
{
    struct weft_control_message value = {
        .type = WEFT_CONTROL_LEFT, .rank = control->rank, .forward = control->must_pass_on};
    unsigned char message[WEFT_CONTROL_MESSAGE_LIMIT];
    size_t bytes = weft_control_write(&value, message);
    // Without memory for it the neighbour will believe in a death, which is the safe side.
    weft_status ignored = weft_sealed_send(link->sealed, message, bytes, NULL);
    (void)ignored;
}

/* ---- facts about ranks ---- */

/* `from`: who said so, NULL: this rank itself found out. */
static void learn_death(struct weft_control *control, const struct weft_control_message *value,
                        const struct neighbour *from, bool tell_user)
{
    struct rank_state *state = &control->ranks[value->notice.subject];
    if (state->life != ALIVE)
        return;
    flood(control, value, from);
    state->life = DEAD;
    control->num_happened++;
    if (tell_user && !control->is_leaving)
        control->events.notice(control->events.user, &value->notice);
}

static struct weft_control_message make_notice(struct weft_control *control,
                                               const struct weft_notice *notice)
{
    struct weft_control_message value = {.type = WEFT_CONTROL_NOTICE,
                                         .rank = control->rank,
                                         .sequence = ++control->sequence,
                                         .notice = *notice};
    value.notice.text[sizeof value.notice.text - 1] = '\0';
    return value;
}

static void find_dead(struct neighbour *neighbour, const char *reason)
{
    struct weft_control *control = neighbour->control;
    const struct weft_control_address *address = &control->addresses[neighbour->rank];
    struct weft_notice notice = {
        .kind = WEFT_NOTICE_DEATH, .subject = (int32_t)neighbour->rank, .status = WEFT_REMOTE};
    if (control->ranks[neighbour->rank].life == ALIVE) {
        snprintf(notice.text, sizeof notice.text, "rank %u (pid %u on %s) died: %.120s",
                 neighbour->rank, address->pid, address->host, reason);
        struct weft_control_message value = make_notice(control, &notice);
        learn_death(control, &value, neighbour, true);
    }
    neighbour->connect_at_ns = INT64_MAX;
    // Should it live after all, it must not take this rank for dead, which only broke with it.
    for (int i = 0; i < 2; i++)
        if (neighbour->links[i] && weft_sealed_is_open(neighbour->links[i]->sealed))
            say_left(control, neighbour->links[i]);
    bury_links(neighbour);
}

/* Nobody listens there: dead, or gone. Those who leave say so to everybody that they are joined to,
 * who pass it on; that may take longer than three refusals. */
static void count_refusal(struct neighbour *neighbour, const char *reason)
{
    int64_t now = weft_clock_ns();
    if (neighbour->num_refusals++ == 0)
        neighbour->refused_since_ns = now;
    if (neighbour->num_refusals >= REFUSALS_THAT_KILL &&
        now >= neighbour->refused_since_ns + refused_ns)
        find_dead(neighbour, reason);
    else
        neighbour->connect_at_ns = now + retry_ns;
}

static void learn_departure(struct weft_control *control, const struct weft_control_message *value,
                            const struct neighbour *from)
{
    struct rank_state *state = &control->ranks[value->rank];
    if (state->life != ALIVE || value->rank == control->rank)
        return;
    if (value->forward)
        flood(control, value, from);
    state->life = LEFT;
    control->num_happened++;
}

/* ---- messages ---- */

static weft_status on_message(struct link *link, const unsigned char *data, size_t bytes,
                              struct weft_error *error)
{
    struct neighbour *neighbour = link->neighbour;
    struct weft_control *control = neighbour->control;
    struct weft_control_message value;
    WEFT_TRY(weft_control_read(data, bytes, control->num_ranks, &value, error));
    if (value.type == WEFT_CONTROL_HELLO) {
        if (link->is_up || value.rank != neighbour->rank || value.num_ranks != control->num_ranks)
            return weft_fail(error, WEFT_INVALID_FORMAT, "a wrong introduction");
        link->is_up = true;
        neighbour->connect_at_ns = INT64_MAX;
        if (!neighbour->sender) {
            neighbour->sender = link;
            send_queue(neighbour);
        }
        control->num_happened++;
        return WEFT_OK;
    }
    if (!link->is_up)
        return weft_fail(error, WEFT_INVALID_FORMAT, "a message before the introduction");
    if (value.type == WEFT_CONTROL_LEFT) {
        learn_departure(control, &value, neighbour);
    } else if (value.notice.kind == WEFT_NOTICE_DEATH) {
        learn_death(control, &value, neighbour, true);
    } else if (value.rank != control->rank &&
               value.sequence > control->ranks[value.rank].sequence) {
        control->ranks[value.rank].sequence = value.sequence;
        flood(control, &value, neighbour);
        control->num_happened++;
        if (!control->is_leaving)
            control->events.notice(control->events.user, &value.notice);
    }
    return WEFT_OK;
}

static void lose_link(struct link *link, weft_status status, const char *reason)
{
    struct neighbour *neighbour = link->neighbour;
    struct weft_control *control = neighbour->control;
    char text[200];
    control->num_happened++;
    if (control->ranks[neighbour->rank].life != ALIVE) {
        bury_links(neighbour);
    } else if (status == WEFT_INVALID_FORMAT) {
        snprintf(text, sizeof text, "protocol violation: %.150s", reason);
        find_dead(neighbour, text);
    } else if (link->is_up || status == WEFT_PERMISSION) {
        find_dead(neighbour, reason);
    } else {
        // It may have been dropped in a flood of strangers; a refusal means that nobody listens.
        bool was_refused = !weft_sealed_is_connected(link->sealed);
        bury_link(link);
        if (was_refused)
            count_refusal(neighbour, reason);
        else
            neighbour->connect_at_ns = weft_deadline_after(retry_ns);
    }
}

static void say_hello(struct weft_control *control, struct link *link)
{
    struct weft_control_message value = {
        .type = WEFT_CONTROL_HELLO, .rank = control->rank, .num_ranks = control->num_ranks};
    unsigned char message[WEFT_CONTROL_MESSAGE_LIMIT];
    size_t bytes = weft_control_write(&value, message);
    if (weft_sealed_send(link->sealed, message, bytes, NULL) != WEFT_OK)
        WEFT_LOG(WEFT_LOG_ERROR, "no memory for a message to rank %u", link->neighbour->rank);
    if (control->is_leaving)
        say_left(control, link);
}

static void serve_link(struct weft_watch *watch)
{
    struct link *link = (struct link *)watch;
    struct weft_error why;
    const unsigned char *data;
    size_t bytes;
    if (!link->sealed)
        return;
    bool was_open = weft_sealed_is_open(link->sealed);
    weft_status status = weft_sealed_progress(link->sealed, &why);
    if (weft_sealed_is_connected(link->sealed))
        link->neighbour->reach_until_ns = INT64_MAX;
    if (status == WEFT_OK && !was_open)
        say_hello(link->neighbour->control, link);
    while (status == WEFT_OK) {
        status = weft_sealed_receive(link->sealed, &data, &bytes, &why);
        if (status == WEFT_OK)
            status = on_message(link, data, bytes, &why);
        if (!link->sealed)
            return;
    }
    if (status != WEFT_IN_PROGRESS)
        lose_link(link, status, why.text);
}

static struct link *make_link(struct neighbour *neighbour, enum direction direction)
{
    struct link *link = calloc(1, sizeof *link);
    if (!link)
        return NULL;
    link->watch.ready = serve_link;
    link->neighbour = neighbour;
    link->direction = direction;
    return link;
}

/* From the door: a rank introduces itself. */
static void on_hello(void *user, struct weft_sealed **sealed, const unsigned char *data,
                     size_t bytes)
{
    struct weft_control *control = user;
    struct weft_control_message value;
    if (weft_control_read(data, bytes, control->num_ranks, &value, NULL) != WEFT_OK ||
        value.type != WEFT_CONTROL_HELLO)
        return;
    struct neighbour *neighbour = NULL;
    for (int i = 0; i < control->num_neighbours && !neighbour; i++)
        if (control->neighbours[i].rank == value.rank)
            neighbour = &control->neighbours[i];
    if (!neighbour || control->ranks[value.rank].life != ALIVE || neighbour->links[INWARD])
        return;
    struct link *link = make_link(neighbour, INWARD);
    if (!link)
        return;
    neighbour->links[INWARD] = link;
    link->sealed = *sealed;
    *sealed = NULL;
    weft_sealed_set_watch(link->sealed, &link->watch);
    say_hello(control, link);
    struct weft_error why;
    weft_status status = on_message(link, data, bytes, &why);
    if (status != WEFT_OK)
        lose_link(link, status, why.text);
    else
        serve_link(&link->watch); // more may have come behind it, which wakes nobody
}

/* ---- turns ---- */

static void connect_to(struct neighbour *neighbour, int64_t now)
{
    struct weft_control *control = neighbour->control;
    const struct weft_control_address *address = &control->addresses[neighbour->rank];
    struct weft_error why;
    int connection;
    neighbour->connect_at_ns = now + retry_ns;
    struct link *link = make_link(neighbour, OUTWARD);
    if (!link)
        return;
    struct weft_sealed_options options = {.role = WEFT_HANDSHAKE_CLIENT,
                                          .secret = address->key,
                                          .purpose = WEFT_CONTROL_PURPOSE,
                                          .epoll = control->epoll,
                                          .watch = &link->watch,
                                          .frame_limit = WEFT_CONTROL_MESSAGE_LIMIT};
    weft_status status = weft_endpoint_connect(&address->endpoint, &connection, &why);
    if (status == WEFT_OK)
        status = weft_sealed_open(connection, true, &options, &link->sealed, &why);
    if (status != WEFT_OK) {
        free(link);
        if (status == WEFT_REMOTE)
            count_refusal(neighbour, why.text);
        return;
    }
    neighbour->links[OUTWARD] = link;
    neighbour->connect_at_ns = INT64_MAX;
    if (neighbour->reach_until_ns == INT64_MAX && neighbour->num_refusals == 0)
        neighbour->reach_until_ns = now + reach_ns;
}

/* What time alone brings. Returns when to look again. */
static int64_t keep_deadlines(struct weft_control *control, int64_t now)
{
    int64_t at = weft_door_deadline(control->door);
    for (int i = 0; i < control->num_neighbours; i++) {
        struct neighbour *neighbour = &control->neighbours[i];
        if (control->ranks[neighbour->rank].life != ALIVE || neighbour->sender)
            continue;
        if (now >= neighbour->reach_until_ns)
            find_dead(neighbour, "it cannot be reached");
        else if (now >= neighbour->connect_at_ns)
            connect_to(neighbour, now);
        if (control->ranks[neighbour->rank].life != ALIVE)
            continue;
        at = neighbour->connect_at_ns < at ? neighbour->connect_at_ns : at;
        at = neighbour->reach_until_ns < at ? neighbour->reach_until_ns : at;
    }
    return at;
}

int weft_control_progress(struct weft_control *control)
{
    if (control->num_ranks == 0 || weft_watch_turn(control->epoll) == 0)
        return 0;
    int64_t now = weft_clock_ns();
    weft_door_settle(control->door, now);
    weft_timer_set(&control->timer, keep_deadlines(control, now));
    free_buried(control);
    int happened = control->num_happened;
    control->num_happened = 0;
    return happened;
}

int weft_control_descriptor(const struct weft_control *control)
{
    return control->epoll;
}

int weft_control_is_connected(const struct weft_control *control)
{
    for (int i = 0; i < control->num_neighbours; i++)
        if (!control->neighbours[i].sender &&
            control->ranks[control->neighbours[i].rank].life == ALIVE)
            return 0;
    return 1;
}

int weft_control_is_dead(const struct weft_control *control, int rank)
{
    return rank >= 0 && (uint32_t)rank < control->num_ranks && control->ranks[rank].life == DEAD;
}

void weft_control_post(struct weft_control *control, const struct weft_notice *notice)
{
    if (control->num_ranks == 0 || notice->subject < 0 ||
        (uint32_t)notice->subject >= control->num_ranks)
        return;
    struct weft_control_message value = make_notice(control, notice);
    if (notice->kind == WEFT_NOTICE_DEATH)
        learn_death(control, &value, NULL, false);
    else
        flood(control, &value, NULL);
}

/* ---- open, start, close ---- */

static weft_status open_parts(struct weft_control *control, struct weft_error *error)
{
    WEFT_TRY(weft_watch_open(&control->epoll, error));
    WEFT_TRY(weft_timer_open(&control->timer, control->epoll, error));
    struct weft_door_options options = {.epoll = control->epoll,
                                        .secret = control->key,
                                        .purpose = WEFT_CONTROL_PURPOSE,
                                        .frame_limit = WEFT_CONTROL_MESSAGE_LIMIT,
                                        .user = control,
                                        .admit = on_hello};
    WEFT_TRY(weft_door_open(&control->endpoint, &options, &control->door, error));
    weft_door_hold(control->door, true); // until start says who may come
    return WEFT_OK;
}

weft_status weft_control_open(const char *listen_address, struct weft_control **control,
                              void *address, struct weft_error *error)
{
    struct weft_endpoint endpoint;
    if (sodium_init() < 0)
        return weft_fail(error, WEFT_SYSTEM, "libsodium cannot be initialised");
    WEFT_TRY(weft_endpoint_parse(listen_address, 0, &endpoint, error));
    if (weft_endpoint_is_wildcard(&endpoint))
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "'%s' is no address that peers could connect to", listen_address);
    struct weft_control *made = calloc(1, sizeof *made);
    if (!made)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the control plane");
    made->epoll = made->timer.descriptor = -1;
    made->endpoint = endpoint;
    randombytes_buf(made->key, sizeof made->key);
    weft_status status = open_parts(made, error);
    if (status != WEFT_OK) {
        weft_control_close(&made);
        return status;
    }
    char host[WEFT_HOST_NAME_BYTES];
    struct weft_control_address value = {.endpoint = made->endpoint, .pid = (uint32_t)getpid()};
    memcpy(value.key, made->key, sizeof value.key);
    weft_host_name(host);
    weft_text_clean(value.host, host, WEFT_CONTROL_HOST_BYTES);
    weft_control_write_address(&value, address);
    sodium_memzero(&value, sizeof value);
    *control = made;
    return WEFT_OK;
}

static void add_neighbour(struct weft_control *control, uint32_t rank, int64_t now)
{
    for (int i = 0; i < control->num_neighbours; i++)
        if (control->neighbours[i].rank == rank)
            return;
    if (rank == control->rank)
        return;
    assert(control->num_neighbours < MAX_NEIGHBOURS);
    control->neighbours[control->num_neighbours++] = (struct neighbour){
        .control = control,
        .rank = rank,
        .connect_at_ns = control->rank < rank ? now : now + patience_ns,
        .reach_until_ns = INT64_MAX,
    };
}

weft_status weft_control_start(struct weft_control *control, int rank, int num_ranks,
                               const void *const *addresses, struct weft_control_events events,
                               struct weft_error *error)
{
    assert(num_ranks > 0 && rank >= 0 && rank < num_ranks && control->num_ranks == 0);
    size_t count = (size_t)num_ranks;
    struct weft_control_address *read = calloc(count, sizeof *read);
    struct rank_state *ranks = calloc(count, sizeof *ranks);
    weft_status status = read && ranks ? WEFT_OK
                                       : weft_fail(error, WEFT_OUT_OF_MEMORY,
                                                   "no memory for a world of %d ranks", num_ranks);
    for (size_t i = 0; status == WEFT_OK && i < count; i++) {
        status = weft_control_read_address(addresses[i], &read[i], error);
        if (status != WEFT_OK)
            weft_fail_prefix(error, "rank %zu", i);
    }
    if (status != WEFT_OK) {
        free(read);
        free(ranks);
        return status;
    }
    control->addresses = read;
    control->ranks = ranks;
    control->rank = (uint32_t)rank;
    control->num_ranks = (uint32_t)num_ranks;
    control->events = events;
    int64_t now = weft_clock_ns();
    for (uint32_t hop = 1; hop < control->num_ranks; hop *= 2) {
        add_neighbour(control, (control->rank + hop) % control->num_ranks, now);
        add_neighbour(control, (control->rank + control->num_ranks - hop) % control->num_ranks,
                      now);
    }
    weft_door_hold(control->door, false);
    // The first turn connects; it comes at once, even to an owner that sleeps.
    weft_timer_set(&control->timer, now);
    return WEFT_OK;
}

/* Whether a neighbour has not been told yet that this rank leaves. Closing a connection on which
 * something lies unread resets it, and drops what the other end has not acknowledged, so the words
 * must have arrived; those who leave too would spread the news of a death. */
static bool has_untold(const struct neighbour *neighbour)
{
    enum life life = neighbour->control->ranks[neighbour->rank].life;
    bool any_open = false, all_arrived = true;
    for (int i = 0; i < 2; i++) {
        const struct link *link = neighbour->links[i];
        if (!link || !weft_sealed_is_open(link->sealed))
            continue;
        any_open = true;
        all_arrived = all_arrived && weft_sealed_has_arrived(link->sealed);
    }
    return life != DEAD && (!all_arrived || (life == ALIVE && !any_open));
}

static bool any_untold(const struct weft_control *control)
{
    for (int i = 0; i < control->num_neighbours; i++)
        if (has_untold(&control->neighbours[i]))
            return true;
    return false;
}

/* Every link says goodbye, also a second one and one that the other end has not answered yet: its
 * end would be a death otherwise. Links that come up while this rank is leaving say it then. Where
 * a neighbour has no link at all, the others carry the word. */
static void say_goodbye(struct weft_control *control)
{
    control->must_pass_on = any_untold(control);
    control->is_leaving = true;
    for (int i = 0; i < control->num_neighbours; i++)
        for (int k = 0; k < 2; k++) {
            struct link *link = control->neighbours[i].links[k];
            if (link && weft_sealed_is_open(link->sealed))
                say_left(control, link);
        }
    int64_t until = weft_deadline_after(goodbye_ns);
    while (any_untold(control) && weft_clock_ns() < until) {
        struct pollfd ready = {.fd = control->epoll, .events = POLLIN};
        poll(&ready, 1, GOODBYE_POLL_MS);
        weft_control_progress(control);
    }
}

void weft_control_close(struct weft_control **control)
{
    struct weft_control *old = *control;
    if (!old)
        return;
    *control = NULL;
    if (old->num_ranks > 0)
        say_goodbye(old);
    for (int i = 0; i < old->num_neighbours; i++)
        bury_links(&old->neighbours[i]);
    free_buried(old);
    weft_door_close(&old->door);
    weft_timer_close(&old->timer);
    if (old->epoll >= 0)
        close(old->epoll);
    if (old->addresses)
        sodium_memzero(old->addresses, old->num_ranks * sizeof *old->addresses);
    free(old->addresses);
    free(old->ranks);
    sodium_memzero(old->key, sizeof old->key);
    free(old);
}
